"""Log in, log out, change the password, one-time codes."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import RedirectResponse, Response
from markupsafe import Markup

from console import totp
from console.context import COOKIE, Forbidden, NeedLogin, Visit, member, stale_password, visit
from console.forms import Posted, own_form_early, posted
from console.passwords import (
    FIRST_LOGIN,
    first_password_file,
    hash_password,
    used_before,
    verify_password,
    weakness,
)
from console.render import page
from console.security import form_token
from console.services import NotKnown, gateway
from console.signin import OWN_FACTOR, device_of, enter, is_locked, local_path, note_failure, set_cookie
from console.views import signin
from incidents import accounts, lifecycle

router = APIRouter(include_in_schema=False)
PRE_COOKIE = "qs_pre"
WRONG = "登录名或密码不正确，或账号已被锁定（连续输错 {n} 次锁定 {m} 分钟）。"


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
        services=signin.offered(here),
    )
    answer.set_cookie(PRE_COOKIE, pre, httponly=True, samesite="lax", secure=here.console.secure)
    return answer


@router.get("/login")
def show_login(here: Annotated[Visit, Depends(visit)], goal: str = "/") -> Response:
    """The login form; whoever is logged in goes on."""
    if here.session is not None:
        return RedirectResponse(local_path(goal), 303)
    if here.half is not None:
        return RedirectResponse("/login/" + here.half.pending, 303)
    named = gateway.person(here.console.bundle.settings.gateway, here.request)
    if named is not None:
        return signin.welcome(here, "header", named, goal)
    return login_page(here, goal=goal)


@router.post("/login")
def log_in(here: Annotated[Visit, Depends(visit)], form: Annotated[Posted, Depends(posted)]) -> Response:
    """Check name and password. Which of both was wrong, or whether the account is locked, is not told."""
    form.checked(form_token(here.console.keys.sessions, here.request.cookies.get(PRE_COOKIE, "")))
    login, password = form.text("login", 60), form.get("password", "")[:200]
    with here.console.db.reading() as session:
        account = accounts.get_by_login(session, login)
    usable = account is not None and not account.disabled and not is_locked(account, here)
    right = verify_password(account.password_hash if account and usable else None, password)
    if account is None and here.console.bundle.settings.ldap.url:
        return _by_directory(here, login, password, form.text("goal"))
    if account is not None and account.origin == "ldap" and usable:
        return _by_directory(here, login, password, form.text("goal"))
    if account is None or not right:
        note_failure(here, account, counts=usable)
        rules = here.console.bundle.settings.signin
        error = here.t(WRONG, n=rules.failures, m=rules.lock_min)
        return login_page(here, goal=form.text("goal"), error=error, login=login, status=401)
    answer = enter(here, account, form.text("goal"))
    answer.delete_cookie(PRE_COOKIE)
    return answer


def _by_directory(here: Visit, login: str, password: str, goal: str) -> Response:
    """Somebody without a local password: the directory is asked. Wrong ones count as everywhere."""
    from console.services import directory

    rules = here.console.bundle.settings.signin
    with here.console.db.reading() as session:
        account = accounts.get_by_subject(session, "ldap", login.lower())
    try:
        found = None
        if not is_locked(account, here):
            found = directory.person(here.console.bundle.settings.ldap, login, password)
    except NotKnown as exc:
        return signin.refused(here, "ldap", str(exc), reachable=False)
    if found is None:
        note_failure(here, account, counts=not is_locked(account, here))
        error = here.t(WRONG, n=rules.failures, m=rules.lock_min)
        return login_page(here, goal=goal, error=error, login=login, status=401)
    return signin.welcome(here, "ldap", found, goal)


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
    # another person at the same machine finds nothing of this one
    answer.headers["Clear-Site-Data"] = '"cache", "storage"'
    return answer


def _password_page(here: Visit, *, status: int = 200, error: str = "") -> Response:
    rules = here.console.bundle.settings.signin
    said = here.t(error, length=rules.password_length, classes=rules.password_classes) if error else ""
    return page(
        here,
        "password.html",
        status=status,
        error=said,
        must=here.account.must_change,
        old=stale_password(here) and not here.account.must_change,
        rules=rules,
    )


@router.get("/password")
def show_password(here: Annotated[Visit, Depends(visit)]) -> Response:
    """The form for a new password; there is none for who signs in elsewhere."""
    if here.account.origin != "local":
        return RedirectResponse("/account", 303)
    return _password_page(here)


@router.post("/password")
def change_password(
    here: Annotated[Visit, Depends(visit)], form: Annotated[Posted, Depends(own_form_early)]
) -> Response:
    """Replace the password; every session of the account ends, this browser gets a new one."""
    console, account, new = here.console, here.account, form.get("new", "")
    rules = console.bundle.settings.signin
    if account.origin != "local":
        raise Forbidden("您的账号由统一认证管理，不在这里修改密码。")
    error = weakness(new, account.login, length=rules.password_length, classes=rules.password_classes)
    if not error and new != form.get("again", ""):
        error = "两次输入的新密码不一致。"
    if not error and (
        is_locked(account, here) or not verify_password(account.password_hash, form.get("old", "")[:200])
    ):
        error = "当前密码不正确。"
        note_failure(here, account, counts=not is_locked(account, here))
    if not error and new == form.get("old", ""):
        error = "新密码不能与当前密码相同。"
    if not error and rules.password_history:
        with console.db.reading() as session:
            used = accounts.used_hashes(session, account.id, rules.password_history)
        if used_before(used, new):
            error = "新密码不能与最近用过的密码相同。"
    if error:
        return _password_page(here, status=422, error=error)
    hashed = hash_password(new)
    with console.db.transaction() as session:
        accounts.set_password(session, account.id, hashed, now=here.now, keep=rules.password_history)
        accounts.record_success(session, account.id)
        token, _ = accounts.open_session(
            session,
            account.id,
            here.now,
            valid=timedelta(hours=console.bundle.settings.console.session_h),
            device=device_of(here.request),
        )
        lifecycle.record_act(
            session, "password_changed", {}, actor=account.login, channel="console", now=here.now
        )
    if account.login == FIRST_LOGIN:
        first_password_file(console.bundle.settings.data_path).unlink(missing_ok=True)
    answer = RedirectResponse("/?done=password", 303)
    set_cookie(here, answer, token)
    return answer


# --- second factor --------------------------------------------------------------------------------------------------


def _half(here: Visit, wanted: str) -> accounts.SessionView:
    """The log-in that waits for its second factor."""
    if here.half is None or here.half.pending != wanted:
        raise NeedLogin
    return here.half


def _half_form(here: Visit, form: Posted, wanted: str) -> accounts.SessionView:
    half = _half(here, wanted)
    form.checked(half.csrf)
    return half


def _code_page(here: Visit, half: accounts.SessionView, *, status: int = 200, error: str = "") -> Response:
    return page(here, "code.html", status=status, error=error, csrf=half.csrf)


@router.get("/login/code")
def show_code(here: Annotated[Visit, Depends(visit)]) -> Response:
    """Asks for the one-time code."""
    return _code_page(here, _half(here, "code"))


@router.post("/login/code")
def check_code(here: Annotated[Visit, Depends(visit)], form: Annotated[Posted, Depends(posted)]) -> Response:
    """A code of the device, or one of the recovery codes; each is taken once. Wrong ones lock like wrong passwords."""
    half, keys = _half_form(here, form, "code"), here.console.keys.sessions
    account, code = half.account, form.text("code", 40)
    right = how = ""
    if not is_locked(account, here):
        step = totp.step_of(totp.unseal(keys, account.totp_sealed, account.login), code, here.now)
        with here.console.db.transaction() as session:
            if step is not None and accounts.take_step(session, account.id, step):
                right = "code"
            elif accounts.use_recovery(session, account.id, totp.recovery_hash(keys, code)):
                right, how = "recovery", "recovery"
            if how:
                lifecycle.record_act(
                    session,
                    "recovery_used",
                    {"left": accounts.count_recovery(session, account.id)},
                    actor=account.login,
                    channel="console",
                    now=here.now,
                )
    if not right:
        note_failure(here, account, counts=not is_locked(account, here), how="code")
        rules = here.console.bundle.settings.signin
        error = here.t(
            "验证码不正确或已用过。连续输错 {n} 次锁定 {m} 分钟。", n=rules.failures, m=rules.lock_min
        )
        return _code_page(here, half, status=401, error=error)
    return enter(here, account, "/", origin=half.origin, complete=True)


def _enrol_page(
    here: Visit, view: accounts.SessionView, secret: str, *, action: str, status: int = 200, error: str = ""
) -> Response:
    city = here.console.bundle.settings.city.name
    text = totp.address(secret, view.account.login, f"泉声 {city}")
    return page(
        here,
        "enrol.html",
        status=status,
        error=error,
        action=action,
        csrf=view.csrf,
        secret=" ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
        picture=Markup(totp.picture(text)),  # noqa: S704 (made by us of our own text, which is in it as squares)
        must=action == "/login/enrol",
    )


def _secret_of(here: Visit, account: accounts.AccountView) -> str:
    """The secret that waits to be confirmed; a new one when there is none."""
    keys = here.console.keys.sessions
    if account.totp_sealed and not account.totp_on:
        return totp.unseal(keys, account.totp_sealed, account.login)
    secret = totp.new_secret()
    with here.console.db.transaction() as session:
        accounts.set_totp(session, account.id, totp.seal(keys, secret, account.login), on=False)
    return secret


def _enrolled(here: Visit, account: accounts.AccountView, code: str) -> list[str] | None:
    """Put the secret in force if the code was made from it; returns the recovery codes, shown once."""
    keys = here.console.keys.sessions
    if not account.totp_sealed or account.totp_on or is_locked(account, here):
        return None
    step = totp.step_of(totp.unseal(keys, account.totp_sealed, account.login), code, here.now)
    if step is None:
        note_failure(here, account, counts=True, how="code")
        return None
    codes = totp.new_recovery()
    with here.console.db.transaction() as session:
        accounts.set_totp(session, account.id, account.totp_sealed, on=True)
        accounts.take_step(session, account.id, step)
        accounts.put_recovery(session, account.id, [totp.recovery_hash(keys, one) for one in codes])
        lifecycle.record_act(
            session, "second_factor_on", {}, actor=account.login, channel="console", now=here.now
        )
    return codes


WRONG_CODE = "验证码不正确。请确认手机时间准确，输入最新的 6 位数字。"


@router.get("/login/enrol")
def show_enrol(here: Annotated[Visit, Depends(visit)]) -> Response:
    """The role must use one-time codes and the person has none yet: the picture for the app."""
    half = _half(here, "enrol")
    return _enrol_page(here, half, _secret_of(here, half.account), action="/login/enrol")


@router.post("/login/enrol")
def enrol_at_login(
    here: Annotated[Visit, Depends(visit)], form: Annotated[Posted, Depends(posted)]
) -> Response:
    """The first code: from now on each log-in asks for one. The recovery codes are shown once, then it goes on."""
    half = _half_form(here, form, "enrol")
    codes = _enrolled(here, half.account, form.text("code", 20))
    if codes is None:
        secret = _secret_of(here, half.account)
        return _enrol_page(here, half, secret, action="/login/enrol", status=401, error=here.t(WRONG_CODE))
    answer = enter(here, half.account, "/", origin=half.origin, complete=True)
    shown = page(here, "recovery.html", codes=codes, onward="/password" if half.account.must_change else "/")
    for name, value in answer.headers.items():
        if name == "set-cookie":
            shown.headers.append(name, value)
    return shown


@router.get("/account/codes")
def show_own_enrol(here: Annotated[Visit, Depends(member)]) -> Response:
    """The same for who wants it without having to."""
    if here.session is None:
        raise NeedLogin
    if here.account.totp_on or here.account.origin not in OWN_FACTOR:
        return RedirectResponse("/account", 303)
    return _enrol_page(here, here.session, _secret_of(here, here.account), action="/account/codes")


@router.post("/account/codes")
def enrol_myself(
    here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form_early)]
) -> Response:
    """The first code, typed by who is logged in."""
    if here.session is None:
        raise NeedLogin
    codes = _enrolled(here, here.account, form.text("code", 20))
    if codes is None:
        if here.account.totp_on:
            return RedirectResponse("/account", 303)
        secret = _secret_of(here, here.account)
        return _enrol_page(
            here, here.session, secret, action="/account/codes", status=401, error=here.t(WRONG_CODE)
        )
    return page(here, "recovery.html", codes=codes, onward="/account")
