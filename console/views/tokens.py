"""接口: a person's tokens for scripts, made once, shown once, revoked at any time; an administrator revokes anybody's."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import Response

from console.context import Visit, member
from console.forms import Posted, own_form
from console.render import page
from incidents import api_tokens
from incidents.states import Refused

router = APIRouter(include_in_schema=False)


def _show(
    here: Visit, *, status: int = 200, error: str = "", value: str = "", draft: Posted | None = None
) -> Response:
    everybody = here.account.role == "administrator"
    with here.console.db.reading() as session:
        rows = api_tokens.list_tokens(session, None if everybody else here.account.id)
    values: dict[str, Any] = {
        "tokens": [(row, row.state(here.now)) for row in rows],
        "everybody": everybody,
        "scopes": api_tokens.allowed(here.account.role),
        "days": here.console.bundle.settings.api.token_days,
        "per_minute": here.console.bundle.settings.api.per_minute,
        "sql_on": here.console.bundle.settings.api.sql and "sql" in api_tokens.allowed(here.account.role),
    }
    return page(here, "tokens.html", status=status, error=error, value=value, draft=draft or {}, **values)


@router.get("/tokens")
def tokens_page(here: Annotated[Visit, Depends(member)]) -> Response:
    """Tokens, the newest first."""
    return _show(here)


@router.post("/tokens")
def make_token(
    here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """A new token; its value is on this answer and nowhere else."""
    most = here.console.bundle.settings.api.token_days
    days = form.integer("days")
    if days is None or not 1 <= days <= most:
        return _show(here, status=422, error=here.t("有效期须为 1 至 {most} 天。", most=most), draft=form)
    try:
        with here.console.db.transaction() as session:
            value, _ = api_tokens.make(
                session,
                here.account,
                name=form.text("name", 80),
                scopes=[scope for scope in api_tokens.SCOPES if form.get(f"scope-{scope}")],
                valid=timedelta(days=days),
                actor=here.account.login,
                channel="console",
                now=here.now,
            )
    except Refused as refused:
        return _show(here, status=422, error=refused.en if here.lang == "en" else refused.zh, draft=form)
    return _show(here, value=value)


@router.post("/tokens/{token_id}/revoke")
def revoke_token(
    token_id: str, here: Annotated[Visit, Depends(member)], _form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """End a token at once: one's own, or as an administrator anybody's."""
    number = int(token_id) if token_id.isascii() and token_id.isdigit() and len(token_id) < 18 else -1
    with here.console.db.transaction() as session:
        token = api_tokens.get_token(session, number)
        if token is None or (token.account.id != here.account.id and here.account.role != "administrator"):
            raise HTTPException(404)
        api_tokens.revoke(session, number, actor=here.account.login, channel="console", now=here.now)
    return _show(here)
