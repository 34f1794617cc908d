"""OpenID Connect: authorization code with PKCE; the ID token's signature, issuer, audience, time and nonce are checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.discovery import get_well_known_url
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from config.settings import OidcSettings
from console.services import Errand, NotKnown, Person, groups_of

#: seconds to wait for the service
WAIT = 8.0
#: signatures that are taken; "none" and shared secrets never
ALGORITHMS = ("RS256", "PS256", "ES256")
#: seconds that clocks may differ
LEEWAY = 60


class Oidc:
    """One issuer."""

    id = "oidc"

    def __init__(self, settings: OidcSettings) -> None:
        self.settings = settings

    def _known(self, http: httpx.Client) -> dict[str, Any]:
        found = _json(http.get(get_well_known_url(self.settings.issuer, external=True)))
        if found.get("issuer") != self.settings.issuer:
            raise NotKnown("the discovery document names another issuer")
        return found

    def address(self, errand: Errand) -> str:
        """The issuer's authorization page."""
        with _client() as http:
            known = self._known(http)
        return str(
            prepare_grant_uri(
                known["authorization_endpoint"],
                self.settings.client_id,
                "code",
                errand.back,
                self.settings.scope,
                errand.state,
                nonce=errand.nonce,
                code_challenge=create_s256_code_challenge(errand.verifier),
                code_challenge_method="S256",
            )
        )

    def person(self, errand: Errand, answer: Mapping[str, str], now: float) -> Person:
        """Change the code for an ID token and read it."""
        if answer.get("error") or not answer.get("code"):
            raise NotKnown(f"the issuer answered: {answer.get('error', 'no code')[:80]}")
        with _client() as http:
            known = self._known(http)
            token = _json(
                http.post(
                    known["token_endpoint"],
                    data={
                        "grant_type": "authorization_code",
                        "code": answer["code"],
                        "redirect_uri": errand.back,
                        "code_verifier": errand.verifier,
                    },
                    auth=(self.settings.client_id, self.settings.client_secret.get_secret_value()),
                )
            )
            keys = KeySet.import_key_set(_json(http.get(known["jwks_uri"])))  # type: ignore[arg-type]
        try:
            claims = jwt.decode(str(token.get("id_token", "")), keys, algorithms=ALGORITHMS).claims
            jwt.JWTClaimsRegistry(
                now=int(now),
                leeway=LEEWAY,
                iss={"essential": True, "value": self.settings.issuer},
                aud={"essential": True, "value": self.settings.client_id},
                exp={"essential": True},
                sub={"essential": True},
                nonce={"essential": True, "value": errand.nonce},
            ).validate(claims)
        except (JoseError, ValueError) as exc:
            raise NotKnown(f"the ID token does not hold: {exc}") from exc
        name = str(claims.get(self.settings.name_claim) or claims["sub"])
        return Person(str(claims["sub"]), name, groups_of(claims.get(self.settings.groups_claim)))


def _client() -> httpx.Client:
    # no redirect is followed and no proxy of the environment used: what is asked is what is configured
    return httpx.Client(timeout=WAIT, follow_redirects=False, trust_env=False)


def _json(answer: httpx.Response) -> dict[str, Any]:
    if answer.status_code != 200:
        raise NotKnown(f"{answer.request.url.path}: HTTP {answer.status_code}")
    try:
        found = answer.json()
    except ValueError as exc:
        raise NotKnown(f"{answer.request.url.path}: no JSON") from exc
    if not isinstance(found, dict):
        raise NotKnown(f"{answer.request.url.path}: no JSON object")
    return found
