"""Log in, log out, change the password."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends
from fastapi.responses import RedirectResponse, Response

from console.context import COOKIE, Visit, visit
from console.forms import Posted, own_form_early, posted
from console.passwords import FIRST_LOGIN, first_password_file, hash_password, verify_password, weakness
from console.render import page
from console.security import form_token
from incidents import accounts, lifecycle

router = APIRouter(include_in_schema=False)
PRE_COOKIE = "qs_pre"
WRONG = "登录名或密码不正确，或账号已被锁定（连续输错 5 次锁定 30 分钟）。"


def local_path(wish: str) -> str:
    """`wish` if it is a page of ours, else the desk: a login form must not lead elsewhere."""
    try:
        parts = urlsplit(wish)
    except ValueError:  # "/<tab>/[": no address at all
        return "/"
    clean = wish.startswith("/") and not wish.startswith(("//", "/\\")) and "\\" not in wish
    return wish if clean and not parts.scheme and not parts.netloc else "/"


def login_page(here: Visit, *, goal: str, error: str = "", login: str = "", status: int = 200) -> Response:
    """The form, with a token bound to a cookie of this browser."""
    pre = here.request.cookies.get(PRE_COOKIE) or secrets.token_urlsafe(16)
    answer = page(
        here,
        "login.html",
        status=status,
        goal=local_path(goal),
        error=error,
        login=login,
        token=form_token(here.console.keys.sessions, pre),
    )
    answer.set_cookie(PRE_COOKIE, pre, httponly=True, samesite="lax", secure=here.console.secure)
    return answer


@router.get("/login")
def show_login(here: Annotated[Visit, Depends(visit)], goal: str = "/") -> Response:
    """The login form; whoever is logged in goes on."""
    if here.session is not None:
        return RedirectResponse(local_path(goal), 303)
    return login_page(here, goal=goal)


@router.post("/login")
def log_in(here: Annotated[Visit, Depends(visit)], form: Annotated[Posted, Depends(posted)]) -> Response:
    """Check name and password. Which of both was wrong, or whether the account is locked, is not told."""
    form.checked(form_token(here.console.keys.sessions, here.request.cookies.get(PRE_COOKIE, "")))
    login, password = form.text("login", 60), form.get("password", "")[:200]
    with here.console.db.reading() as session:
        account = accounts.get_by_login(session, login)
    locked = account is not None and account.locked_until is not None and account.locked_until > here.now
    usable = account is not None and not account.disabled and not locked
    right = verify_password(account.password_hash if account and usable else None, password)
    if account is None or not right:
        _note_failure(here, account, counts=usable)
        return login_page(here, goal=form.text("goal"), error=here.t(WRONG), login=login, status=401)
    console = here.console
    with console.db.transaction() as session:
        accounts.record_success(session, account.id)
        old = here.request.cookies.get(COOKIE)
        if old:
            accounts.close_session(session, old)
        token, _ = accounts.open_session(
            session, account.id, here.now, valid=timedelta(hours=console.bundle.settings.console.session_h)
        )
        lifecycle.record_act(session, "logged_in", {}, actor=account.login, channel="console", now=here.now)
    answer = RedirectResponse("/password" if account.must_change else local_path(form.text("goal")), 303)
    answer.set_cookie(COOKIE, token, httponly=True, samesite="lax", secure=console.secure)
    answer.delete_cookie(PRE_COOKIE)
    return answer


def _note_failure(here: Visit, account: accounts.AccountView | None, *, counts: bool) -> None:
    """Keep an audit row. An unknown name is not written down: people type passwords into that field."""
    with here.console.db.transaction() as session:
        until = accounts.record_failure(session, account.id, here.now) if account and counts else None
        lifecycle.record_act(
            session,
            "login_failed",
            {"login": account.login if account else "", "locked_until": until.isoformat() if until else ""},
            actor=account.login if account else "unknown",
            channel="console",
            now=here.now,
        )


@router.post("/logout")
def log_out(
    here: Annotated[Visit, Depends(visit)], form: Annotated[Posted, Depends(own_form_early)]
) -> Response:
    """End this session."""
    with here.console.db.transaction() as session:
        accounts.close_session(session, here.request.cookies.get(COOKIE, ""))
        lifecycle.record_act(
            session, "logged_out", {}, actor=here.account.login, channel="console", now=here.now
        )
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


@router.get("/password")
def show_password(here: Annotated[Visit, Depends(visit)]) -> Response:
    """The form for a new password."""
    return page(here, "password.html", error="", must=here.account.must_change)


@router.post("/password")
def change_password(
    here: Annotated[Visit, Depends(visit)], form: Annotated[Posted, Depends(own_form_early)]
) -> Response:
    """Replace the password; every session of the account ends, this browser gets a new one."""
    account, new = here.account, form.get("new", "")
    error = weakness(new, account.login)
    if not error and new != form.get("again", ""):
        error = "两次输入的新密码不一致。"
    if not error and not verify_password(account.password_hash, form.get("old", "")[:200]):
        error = "当前密码不正确。"
        _note_failure(here, account, counts=True)
    if not error and new == form.get("old", ""):
        error = "新密码不能与当前密码相同。"
    if error:
        return page(here, "password.html", status=422, error=here.t(error), must=account.must_change)
    console, hashed = here.console, hash_password(new)
    with console.db.transaction() as session:
        accounts.set_password(session, account.id, hashed)
        token, _ = accounts.open_session(
            session, account.id, here.now, valid=timedelta(hours=console.bundle.settings.console.session_h)
        )
        lifecycle.record_act(
            session, "password_changed", {}, actor=account.login, channel="console", now=here.now
        )
    if account.login == FIRST_LOGIN:
        first_password_file(console.bundle.settings.data_path).unlink(missing_ok=True)
    answer = RedirectResponse("/?done=password", 303)
    answer.set_cookie(COOKIE, token, httponly=True, samesite="lax", secure=console.secure)
    return answer
