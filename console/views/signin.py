"""统一认证: there and back to a sign-in service; which account and role the person has here is decided here."""

from __future__ import annotations

import hmac
import json
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Annotated

import httpx
from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import RedirectResponse, Response

from console.context import Visit, visit
from console.services import Elsewhere, Errand, NotKnown, Person
from console.signin import enter, is_locked, local_path
from incidents import accounts, lifecycle
from incidents.accounts import AccountView
from incidents.session import Session

router = APIRouter(include_in_schema=False)
COOKIE = "qs_errand"
#: seconds in which somebody has to come back
ERRAND_S = 600


def service_of(here: Visit, name: str) -> Elsewhere | None:
    """The configured service of this name."""
    from console.services.cas import Cas
    from console.services.oidc import Oidc  # loads a JOSE library: only where it is used

    settings = here.console.bundle.settings
    if name == "oidc" and settings.oidc.issuer:
        return Oidc(settings.oidc)
    if name == "cas" and settings.cas.url:
        return Cas(settings.cas)
    return None


def offered(here: Visit) -> list[str]:
    """Services that the login page leads to."""
    settings = here.console.bundle.settings
    return [name for name, on in (("oidc", settings.oidc.issuer), ("cas", settings.cas.url)) if on]


def _sealed(here: Visit, errand: Errand, name: str, goal: str) -> str:
    said = json.dumps(
        [name, errand.state, errand.nonce, errand.verifier, local_path(goal), int(here.now.timestamp())]
    )
    body = urlsafe_b64encode(said.encode()).decode()
    return f"{body}.{hmac.new(here.console.keys.sessions, b'errand/' + body.encode(), sha256).hexdigest()}"


def _opened(here: Visit, name: str) -> tuple[Errand, str] | None:
    """The errand that this browser is on, if it is ours, of this service, and not too old."""
    body, _, signature = here.request.cookies.get(COOKIE, "").partition(".")
    wanted = hmac.new(here.console.keys.sessions, b"errand/" + body.encode(), sha256).hexdigest()
    if not hmac.compare_digest(signature.encode(), wanted.encode()):
        return None
    service, state, nonce, verifier, goal, at = json.loads(urlsafe_b64decode(body))
    if service != name or here.now.timestamp() - at > ERRAND_S:
        return None
    return Errand(state, nonce, verifier, _back(here, name)), goal


def _back(here: Visit, name: str) -> str:
    return f"{here.console.bundle.settings.link_base}/sign-in/{name}/back"


@router.get("/sign-in/{name}")
def leave(name: str, here: Annotated[Visit, Depends(visit)], goal: str = "/") -> Response:
    """Send the browser to the service."""
    service = service_of(here, name)
    if service is None:
        raise HTTPException(404)
    errand = Errand(
        secrets.token_urlsafe(24), secrets.token_urlsafe(24), secrets.token_urlsafe(48), _back(here, name)
    )
    try:
        address = service.address(errand)
    except (NotKnown, httpx.HTTPError, KeyError) as exc:
        return refused(here, name, str(exc), reachable=False)
    answer = RedirectResponse(address, 303)
    answer.set_cookie(
        COOKIE,
        _sealed(here, errand, name, goal),
        max_age=ERRAND_S,
        httponly=True,
        samesite="lax",
        secure=here.console.secure,
        path="/sign-in",
    )
    return answer


@router.get("/sign-in/{name}/back")
def come_back(name: str, here: Annotated[Visit, Depends(visit)]) -> Response:
    """The browser comes back with an answer: only the one that this browser went out for is taken."""
    service, opened = service_of(here, name), _opened(here, name)
    if service is None:
        raise HTTPException(404)
    given = {key: value[:4000] for key, value in here.request.query_params.items()}
    if opened is None or not hmac.compare_digest(given.get("state", "").encode(), opened[0].state.encode()):
        return refused(here, name, "the answer belongs to no errand of this browser")
    try:
        person = service.person(opened[0], given, here.now.timestamp())
    except (NotKnown, httpx.HTTPError, KeyError) as exc:
        return refused(here, name, str(exc))
    answer = welcome(here, name, person, opened[1])
    answer.delete_cookie(COOKIE, path="/sign-in")
    return answer


def refused(here: Visit, origin: str, why: str, *, reachable: bool = True) -> Response:
    """Nobody is signed in: one sentence for the person, the cause in the record."""
    from console.views.auth import login_page

    with here.console.db.transaction() as session:
        lifecycle.record_act(
            session,
            "login_failed",
            {"login": "", "how": origin, "why": why[:200]},
            actor="unknown",
            channel="console",
            now=here.now,
        )
    sentence = "统一认证没有确认您的身份，请重试。" if reachable else "统一认证暂时无法访问，请稍后再试。"
    return login_page(here, goal="/", error=here.t(sentence), status=401 if reachable else 503)


def welcome(here: Visit, origin: str, person: Person, goal: str) -> Response:
    """Sign the person in, if an account is theirs or a group gives them one."""
    from console.views.auth import login_page

    account = account_of(here, origin, person)
    if account is None or account.disabled or is_locked(account, here):
        with here.console.db.transaction() as session:
            lifecycle.record_act(
                session,
                "login_failed",
                {"login": account.login if account else "", "how": origin, "why": "no role here"},
                actor=account.login if account else "unknown",
                channel="console",
                now=here.now,
            )
        sentence = here.t("您已通过统一认证，但在本系统没有角色，请联系管理员。")
        return login_page(here, goal="/", error=sentence, status=403)
    return enter(here, account, goal, origin=origin)


def account_of(here: Visit, origin: str, person: Person) -> AccountView | None:
    """The account of whom a service vouches for. A local account of the same name is somebody else's until shown otherwise.

    Role and department follow the groups at each sign-in; who is in none that counts has no account, or loses the way in.
    """
    rules = here.console.bundle.settings.signin.group_roles
    found = next((role for group, role in rules.items() if group in person.groups), "")
    role, _, department = found.partition(":")
    with here.console.db.transaction() as session:
        account = accounts.get_by_subject(session, origin, person.subject)
        if not role:
            return None
        if account is None:
            account = accounts.create_account(
                session,
                login=_free(session, origin, person.subject),
                display_name=person.name[:80],
                role=role,
                department=department,
                password_hash="",
                must_change=False,
                origin=origin,
                subject=person.subject[:200],
                now=here.now,
            )
            kind = "account_created"
        elif (account.role, account.department) != (role, department):
            account = accounts.change(session, account.id, role=role, department=department)
            kind = "account_changed"
        else:
            return account
        lifecycle.record_act(
            session,
            kind,
            {"login": account.login, "role": role, "origin": origin},
            actor="system",
            channel="console",
            now=here.now,
        )
    return account


def _free(session: Session, origin: str, subject: str) -> str:
    """A login that is nobody's yet: the name there where it is free, else with the service before it."""
    plain = re.sub(r"[^a-z0-9_.-]", "-", subject.lower())[:32].strip("-._") or secrets.token_hex(6)
    for login in (plain, f"{origin}-{plain}", f"{origin}-{plain[:20]}-{secrets.token_hex(4)}"):
        if accounts.get_by_login(session, login) is None:
            return login
    raise ValueError("no free login")  # pragma: no cover (a random one is free)
