"""What follows once somebody has shown who they are: second factor, a fresh session, the record. Same for every way in."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import urlsplit

from fastapi import Request
from fastapi.responses import RedirectResponse

from console.context import COOKIE, Visit
from incidents import accounts, lifecycle
from incidents.accounts import AccountView

#: how long a log-in may wait for its second factor
HALF_MIN = 10
#: ways in that show a password here: only these ask for our own second factor, the others have their own
OWN_FACTOR = frozenset({"local", "ldap"})
_BROWSERS = (
    ("Edg/", "Edge"),
    ("QIHU 360", "360"),
    ("Qaxbrowser", "奇安信"),
    ("MicroMessenger", "WeChat"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
_SYSTEMS = (
    ("Android", "Android"),
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Windows", "Windows"),
    ("Mac OS", "macOS"),
    ("Linux", "Linux"),
)


def local_path(wish: str) -> str:
    """`wish` if it is a page of ours, else the desk: a login form must not lead elsewhere."""
    try:
        parts = urlsplit(wish)
    except ValueError:  # "/<tab>/[": no address at all
        return "/"
    clean = wish.startswith("/") and not wish.startswith(("//", "/\\")) and "\\" not in wish
    return wish if clean and not parts.scheme and not parts.netloc else "/"


def device_of(request: Request) -> str:
    """Browser, system and address, short enough for a list that its owner reads."""
    agent = request.headers.get("user-agent", "")
    browser = next((name for mark, name in _BROWSERS if mark in agent), "")
    system = next((name for mark, name in _SYSTEMS if mark in agent), "")
    host = request.client.host if request.client else ""
    named = " · ".join(part for part in (browser, system) if part) or re.sub(r"[^\w./ -]", "", agent)[:40]
    return ", ".join(part for part in (named, host) if part)


def missing(here: Visit, account: AccountView, origin: str) -> str:
    """What this log-in still lacks: "" nothing, "code" a one-time code, "enrol" a device that makes them."""
    if origin not in OWN_FACTOR:
        return ""
    if account.totp_on:
        return "code"
    return "enrol" if account.role in here.console.bundle.settings.signin.totp_roles else ""


def enter(
    here: Visit, account: AccountView, goal: str, *, origin: str = "local", complete: bool = False
) -> RedirectResponse:
    """Open a fresh session (an old cookie is never taken over) and lead on. `complete`: the second factor was shown."""
    console, settings = here.console, here.console.bundle.settings
    lacks = "" if complete else missing(here, account, origin)
    valid = timedelta(minutes=HALF_MIN) if lacks else timedelta(hours=settings.console.session_h)
    with console.db.transaction() as session:
        if not lacks:
            accounts.record_success(session, account.id)
        old = here.request.cookies.get(COOKIE)
        if old:
            accounts.close_session(session, old)
        token, _ = accounts.open_session(
            session,
            account.id,
            here.now,
            valid=valid,
            device=device_of(here.request),
            origin=origin,
            pending=lacks,
            most=settings.signin.sessions,
        )
        if not lacks:
            about = {} if origin == "local" else {"origin": origin}
            lifecycle.record_act(
                session, "logged_in", about, actor=account.login, channel="console", now=here.now
            )
    after = local_path(goal)
    if lacks:
        after = {"code": "/login/code", "enrol": "/login/enrol"}[lacks]
    elif account.must_change and origin == "local":
        after = "/password"
    answer = RedirectResponse(after, 303)
    set_cookie(here, answer, token)
    return answer


def set_cookie(here: Visit, answer: RedirectResponse, token: str) -> None:
    """The session's cookie: no script reads it, no other site's form sends it."""
    answer.set_cookie(COOKIE, token, httponly=True, samesite="lax", secure=here.console.secure)


def note_failure(here: Visit, account: AccountView | None, *, counts: bool, how: str = "password") -> None:
    """Keep an audit row. An unknown name is not written down: people type passwords into that field."""
    rules = here.console.bundle.settings.signin
    with here.console.db.transaction() as session:
        until = (
            accounts.record_failure(
                session, account.id, here.now, most=rules.failures, lock=timedelta(minutes=rules.lock_min)
            )
            if account and counts
            else None
        )
        lifecycle.record_act(
            session,
            "login_failed",
            {
                "login": account.login if account else "",
                "locked_until": until.isoformat() if until else "",
                **({"how": how} if how != "password" else {}),
            },
            actor=account.login if account else "unknown",
            channel="console",
            now=here.now,
        )


def is_locked(account: AccountView | None, here: Visit) -> bool:
    """Whether too many wrong tries closed the account for now."""
    return account is not None and account.locked_until is not None and account.locked_until > here.now
