"""申请查看: what is masked for a role is shown for a while when a second person agrees. Both stand in the record."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends
from fastapi.responses import RedirectResponse, Response

from console import masks
from console.context import Forbidden, RowId, Visit, member
from console.forms import Posted, own_form, own_form_early
from console.render import page
from console.rights import hidden
from console.views.incident import find, show_incident
from incidents import unmask
from incidents.access import MAY_RESTRICT
from incidents.states import Refused
from spiders.redact import redact

router = APIRouter(include_in_schema=False)


def approver(here: Annotated[Visit, Depends(member)]) -> Visit:
    """Dependency: supervisors and leaders decide."""
    if here.account.role not in MAY_RESTRICT:
        raise Forbidden("只有督办员和带班领导可以批准查看。")
    return here


@router.post("/unmask/ask/{number}")
def ask(
    number: str, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form_early)]
) -> Response:
    """Ask with a reason; the words stay masked until somebody else agrees."""
    incident = find(here, number)
    if not masks.could_ask(here, incident):
        raise Forbidden("您的角色没有被遮蔽的内容。")
    try:
        with here.console.db.transaction() as session:
            unmask.ask(
                session,
                incident.id,
                by=here.account.login,
                reason=redact(form.text("reason", 500)).text,
                channel="console",
                now=here.now,
            )
    except Refused as refusal:
        sentence = refusal.en if here.lang == "en" else refusal.zh
        return show_incident(here, number, status=409, error=sentence)
    return RedirectResponse(f"/incidents/{quote(incident.number)}?done=unmask_asked", 303)


def _show(here: Visit, *, status: int = 200, error: str = "") -> Response:
    away = hidden(here)
    with here.console.db.reading() as session:
        waiting = [one for one in unmask.waiting(session, here.now) if one.incident_id not in away]
        recent = [one for one in unmask.recent(session) if one.incident_id not in away]
    return page(
        here,
        "unmask.html",
        status=status,
        error=error,
        done=here.done,
        waiting=waiting,
        recent=recent,
        minutes=here.console.bundle.settings.console.unmask_min,
    )


@router.get("/unmask")
def requests_page(here: Annotated[Visit, Depends(approver)]) -> Response:
    """Who asks to see what, and what was decided."""
    return _show(here)


@router.post("/unmask/{number}/{answer}")
def decide(
    number: RowId,
    answer: str,
    here: Annotated[Visit, Depends(approver)],
    form: Annotated[Posted, Depends(own_form)],
) -> Response:
    """Grant for the time of the setting, or refuse with a reason. What one may not see one cannot grant."""
    try:
        with here.console.db.transaction() as session:
            waits = {one.id: one for one in unmask.waiting(session, here.now)}
            if number in waits and waits[number].incident_id in hidden(here):
                raise Forbidden("您没有这个权限。")
            unmask.decide(
                session,
                number,
                by=here.account.login,
                grant=answer == "grant",
                reason=redact(form.text("reason", 500)).text,
                lasts=timedelta(minutes=here.console.bundle.settings.console.unmask_min),
                channel="console",
                now=here.now,
            )
    except Refused as refusal:
        return _show(here, status=409, error=refusal.en if here.lang == "en" else refusal.zh)
    return RedirectResponse("/unmask?done=unmask_decided", 303)
