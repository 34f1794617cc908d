"""本人账号: one's own role, sessions on other devices, second factor."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import RedirectResponse, Response

from console import totp
from console.context import Forbidden, NeedLogin, Visit, member
from console.forms import Posted, own_form_early
from console.render import page
from console.signin import OWN_FACTOR
from incidents import accounts, lifecycle

router = APIRouter(include_in_schema=False)


@router.get("/account")
def account_page(here: Annotated[Visit, Depends(member)]) -> Response:
    """Who one is here, and from where one is logged in."""
    return _show(here)


def _show(here: Visit, *, status: int = 200, codes: list[str] | None = None, error: str = "") -> Response:
    if here.session is None:
        raise NeedLogin
    settings = here.console.bundle.settings
    with here.console.db.reading() as session:
        live = accounts.list_sessions(
            session, here.account.id, here.now, idle=timedelta(minutes=settings.console.idle_min)
        )
        left = accounts.count_recovery(session, here.account.id)
    return page(
        here,
        "account.html",
        status=status,
        error=error,
        sessions=live,
        current=here.session.handle,
        left=left,
        codes=codes or [],
        own_factor=here.account.origin in OWN_FACTOR,
        must=here.account.role in settings.signin.totp_roles,
        done=here.done,
    )


@router.post("/account/sessions/{handle}/end")
def end_session(
    handle: str, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form_early)]
) -> Response:
    """End one of one's own sessions; "others" ends all but this one."""
    if here.session is None:
        raise NeedLogin
    with here.console.db.transaction() as session:
        if handle == "others":
            ended = accounts.end_sessions(session, here.account.id, but=here.session.handle)
        else:
            ended = int(accounts.end_session(session, here.account.id, handle[:40]))
        if ended:
            lifecycle.record_act(
                session,
                "sessions_ended",
                {"sessions": ended},
                actor=here.account.login,
                channel="console",
                now=here.now,
            )
    return RedirectResponse("/account?done=session_ended" if ended else "/account", 303)


@router.post("/account/recovery")
def new_recovery(
    here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form_early)]
) -> Response:
    """New recovery codes in place of the old ones, for who shows a code of the device."""
    account, keys = here.account, here.console.keys.sessions
    if not account.totp_on:
        raise Forbidden("尚未启用验证码。")
    step = totp.step_of(
        totp.unseal(keys, account.totp_sealed, account.login), form.text("code", 20), here.now
    )
    codes: list[str] = []
    with here.console.db.transaction() as session:
        if step is not None and accounts.take_step(session, account.id, step):
            codes = totp.new_recovery()
            accounts.put_recovery(session, account.id, [totp.recovery_hash(keys, one) for one in codes])
            lifecycle.record_act(
                session, "recovery_made", {}, actor=account.login, channel="console", now=here.now
            )
    if not codes:
        return _show(here, status=401, error=here.t("验证码不正确或已用过，请等下一个。"))
    return _show(here, codes=codes)
