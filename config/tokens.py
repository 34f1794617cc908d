"""Signed acknowledgement links. console and alerts are strangers to each other, so what both need lies here.

A token says: this person was paged for this incident in this epoch at this rung. It proves who was asked,
it does not act: only a POST with it acknowledges, and the life cycle refuses an old epoch.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime


class BadToken(Exception):
    """The link is not ours, was changed, or is too old. `reason` is "forged" or "expired"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class AckClaim:
    """What a link says."""

    incident_id: int
    epoch: int
    step: int
    person: str  # id in roster.yaml
    expires_at: datetime


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def sign_ack(key: bytes, claim: AckClaim) -> str:
    """The token of a link: claim and a 128-bit signature, URL-safe."""
    body = json.dumps(
        [claim.incident_id, claim.epoch, claim.step, claim.person, int(claim.expires_at.timestamp())],
        ensure_ascii=False,
        separators=(",", ":"),
    ).encode()
    return f"{_encode(body)}.{_encode(hmac.digest(key, body, hashlib.sha256)[:16])}"


def verify_ack(key: bytes, token: str, now: datetime) -> AckClaim:
    """The claim of a genuine, fresh token; raises BadToken otherwise."""
    try:
        body_text, _, signature = token.partition(".")
        body = base64.urlsafe_b64decode(body_text + "=" * (-len(body_text) % 4))
    except ValueError as exc:
        raise BadToken("forged") from exc
    if _encode(body) != body_text:  # spare bits of the last digit: one claim has one spelling
        raise BadToken("forged")
    if not hmac.compare_digest(
        _encode(hmac.digest(key, body, hashlib.sha256)[:16]).encode(), signature.encode()
    ):
        raise BadToken("forged")
    incident_id, epoch, step, person, expires = json.loads(body)
    claim = AckClaim(incident_id, epoch, step, person, datetime.fromtimestamp(expires, UTC))
    if now > claim.expires_at:
        raise BadToken("expired")
    return claim
