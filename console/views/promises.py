"""承诺: a person confirms, dates or dismisses what the machine read as a promise, enters one that it missed, and says what became of it."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import RedirectResponse, Response

from console.context import Forbidden, Visit, member
from console.forms import Posted, own_form
from console.rights import may_answer
from console.views.incident import find, show_incident
from incidents import promises
from incidents.queries import IncidentView
from incidents.session import Session
from incidents.states import Refused
from spiders.redact import redact

router = APIRouter(include_in_schema=False)
ACTS = ("confirm", "dismiss", "kept", "broken", "enter")


def _due(here: Visit, form: Posted) -> datetime:
    """The end of the day that was typed."""
    try:
        day = date.fromisoformat(form.text("due", 10))
        return datetime.combine(day + timedelta(days=1), time(), here.console.zone)
    except (ValueError, OverflowError):
        raise Refused("请填写承诺期限，如 2026-12-31。", "give the day, as 2026-12-31") from None


def _act(here: Visit, session: Session, incident: IncidentView, act: str, form: Posted) -> None:
    by: dict[str, Any] = {"actor": here.account.login, "channel": "console", "now": here.now}
    key, words = form.text("key", 60), redact(form.text("text", promises.LONGEST)).text
    note = redact(form.text("note", 500)).text
    if act == "confirm":
        promises.confirm(session, incident.id, key, due_at=_due(here, form), text=words, **by)
    elif act == "dismiss":
        promises.dismiss(session, incident.id, key, note=note, **by)
    elif act == "enter":
        if not incident.department:
            raise Refused("尚未交办，没有作出承诺的部门。", "no department has this matter yet")
        promises.enter(
            session,
            incident.id,
            department=incident.department,
            text=words,
            made_at=min(here.now, incident.responded_at or here.now),
            due_at=_due(here, form),
            **by,
        )
    else:
        link = form.text("link", 500)
        promises.settle(session, incident.id, key, kept=act == "kept", link=link, note=note, **by)


@router.post("/promises/{number}/{act}")
def act_on_promise(
    number: str,
    act: str,
    here: Annotated[Visit, Depends(member)],
    form: Annotated[Posted, Depends(own_form)],
) -> Response:
    """One act on one promise; a refusal shows its sentence on the incident's page."""
    if act not in ACTS:
        raise HTTPException(404)
    incident = find(here, number)
    if not may_answer(here):
        raise Forbidden("您的角色不能执行此操作。")
    try:
        with here.console.db.transaction() as session:
            _act(here, session, incident, act, form)
    except Refused as refusal:
        sentence = refusal.en if here.lang == "en" else refusal.zh
        return show_incident(here, number, status=409, error=sentence)
    return RedirectResponse(f"/incidents/{quote(number)}?done=promise#replies", 303)
