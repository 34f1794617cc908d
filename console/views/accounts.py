"""Accounts of the people who work here: an administrator adds them and gives out new passwords."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import RedirectResponse, Response

from config.accounts import ROLES
from console.context import Forbidden, Visit, member
from console.forms import Posted, own_form
from console.passwords import generate_password, hash_password
from console.render import page
from incidents import accounts, lifecycle
from incidents.session import Session

router = APIRouter(include_in_schema=False)
_LOGIN = re.compile(r"^[a-z0-9][a-z0-9_.-]{1,39}$")


def administrator(here: Annotated[Visit, Depends(member)]) -> Visit:
    """Dependency: only administrators come here."""
    if here.account.role != "administrator":
        raise Forbidden("只有管理员可以管理账号。")
    return here


def _show(here: Visit, *, status: int = 200, error: str = "", **values: str) -> Response:
    with here.console.db.reading() as session:
        known = accounts.list_accounts(session)
    return page(
        here,
        "accounts.html",
        status=status,
        accounts=known,
        roles=ROLES,
        departments=here.console.bundle.departments.departments,
        error=here.t(error) if error else "",
        given={"login": "", "password": "", **values},
        done=here.done,
    )


@router.get("/accounts")
def accounts_page(here: Annotated[Visit, Depends(administrator)]) -> Response:
    """Everybody who may log in."""
    return _show(here)


def _wrong(here: Visit, form: Posted) -> str:
    """What is wrong with a new account (a msgid), or an empty text."""
    if not _LOGIN.match(form.text("login", 60)):
        return "登录名须为 2 至 40 位小写字母、数字、点、横线或下划线，以字母或数字开头。"
    if not form.text("display_name", 80):
        return "请填写姓名。"
    if form.text("role", 20) not in ROLES:
        return "请选择角色。"
    departments = {item.id for item in here.console.bundle.departments.departments}
    if form.text("role") == "department" and form.text("department", 60) not in departments:
        return "部门承办人须选择所属部门。"
    return ""


@router.post("/accounts")
def add_account(
    here: Annotated[Visit, Depends(administrator)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Add a person; the generated password is shown this once and must be replaced at the first log-in."""
    login = form.text("login", 60)
    error = _wrong(here, form)
    if error:
        return _show(here, status=422, error=error)
    password = generate_password()
    hashed = hash_password(password)
    with here.console.db.transaction() as session:
        if accounts.get_by_login(session, login) is not None:
            error = "该登录名已被使用，请换一个。"
        else:
            accounts.create_account(
                session,
                login=login,
                display_name=form.text("display_name", 80),
                role=form.text("role", 20),
                department=form.text("department", 60) if form.text("role") == "department" else "",
                password_hash=hashed,
                now=here.now,
            )
            _record(here, session, "account_created", login)
    if error:
        return _show(here, status=409, error=error)
    return _show(here, login=login, password=password)


@router.post("/accounts/{login}/password")
def renew_password(
    login: str, here: Annotated[Visit, Depends(administrator)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """A new generated password; every session of the account ends and a lock is lifted."""
    password = generate_password()
    hashed = hash_password(password)
    with here.console.db.transaction() as session:
        account = accounts.get_by_login(session, login)
        if account is not None and account.origin == "local":
            keep = here.console.bundle.settings.signin.password_history
            accounts.set_password(session, account.id, hashed, must_change=True, now=here.now, keep=keep)
            accounts.record_success(session, account.id)
            _record(here, session, "password_reset", login)
    if account is None:
        return _show(here, status=404, error="没有这个登录名。")
    if account.origin != "local":
        return _show(here, status=409, error="该账号由统一认证管理，没有本系统的密码。")
    return _show(here, login=login, password=password)


def _other(here: Visit, session: Session, login: str) -> accounts.AccountView:
    """The account that is changed: never one's own, so that nobody raises or locks out themselves."""
    account = accounts.get_by_login(session, login)
    if account is None:
        raise HTTPException(404)
    if account.id == here.account.id:
        raise Forbidden("不能更改自己的账号，请由另一名管理员操作。")
    return account


@router.post("/accounts/{login}/disable")
def disable_account(
    login: str, here: Annotated[Visit, Depends(administrator)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Switch an account off or on again. Off: its sessions end at once; what the person did stays on the record."""
    off = form.get("off") == "1"
    with here.console.db.transaction() as session:
        account = _other(here, session, login)
        if account.disabled != off:
            accounts.change(session, account.id, disabled=off)
            _record(here, session, "account_disabled" if off else "account_enabled", login)
    return RedirectResponse("/accounts?done=account", 303)


@router.post("/accounts/{login}/role")
def change_role(
    login: str, here: Annotated[Visit, Depends(administrator)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Another role or department; the person's sessions end, so that no page of the old role stays open."""
    role, department = form.text("role", 20), form.text("department", 60)
    known = {item.id for item in here.console.bundle.departments.departments}
    if role not in ROLES:
        return _show(here, status=422, error="请选择角色。")
    if role == "department" and department not in known:
        return _show(here, status=422, error="部门承办人须选择所属部门。")
    with here.console.db.transaction() as session:
        account = _other(here, session, login)
        accounts.change(session, account.id, role=role, department=department if role == "department" else "")
        lifecycle.record_act(
            session,
            "account_changed",
            {"login": login, "role": role, "before": account.role},
            actor=here.account.login,
            channel="console",
            now=here.now,
        )
    return RedirectResponse("/accounts?done=account", 303)


@router.post("/accounts/{login}/factor")
def reset_factor(
    login: str, here: Annotated[Visit, Depends(administrator)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """The telephone is lost and no recovery code is left: the person binds a new one at the next log-in."""
    with here.console.db.transaction() as session:
        account = _other(here, session, login)
        accounts.set_totp(session, account.id, "", on=False)
        accounts.end_sessions(session, account.id)
        _record(here, session, "second_factor_off", login)
    return RedirectResponse("/accounts?done=account", 303)


def _record(here: Visit, session: Session, kind: str, login: str) -> None:
    lifecycle.record_act(
        session, kind, {"login": login}, actor=here.account.login, channel="console", now=here.now
    )
