"""Acts of people: one form, one command through the life cycle, then back to the page it came from."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import RedirectResponse, Response

from alerts import rota
from console.context import Forbidden, Visit, member
from console.forms import Posted, own_form
from console.rights import complained_of, may_act
from console.views.desk import show_desk
from console.views.incident import find, show_incident
from incidents import access
from incidents.lifecycle import handle_or_refuse
from incidents.queries import IncidentView
from incidents.states import (
    Acknowledge,
    Assign,
    Close,
    Command,
    Confirm,
    Evaluate,
    FalseAlarm,
    HoldPress,
    Inform,
    Merge,
    NameComplained,
    Note,
    Refused,
    Reopen,
    Respond,
    Restore,
    Restrict,
    Return,
    SetLevel,
    SignFor,
    Unmerge,
    Unrestrict,
)
from spiders.redact import redact

router = APIRouter(include_in_schema=False)
#: characters of an answer that are taken
MAX_ANSWER = 20_000


def _acknowledge(here: Visit, incident: IncidentView, form: Posted) -> Command:
    epoch = form.integer("epoch")
    with here.console.db.reading() as session:
        roster = rota.in_force(session, here.console.bundle, here.now).roster
    paged = {roster.on_duty(here.now, role).person.id for role in ("primary", "secondary", "leader")}
    return Acknowledge(
        epoch=incident.epoch if epoch is None else epoch, on_behalf=here.account.login not in paged
    )


def _assign(here: Visit, incident: IncidentView, form: Posted) -> Command:
    department = form.text("department", 60)
    known = [item.id for item in here.console.bundle.departments.departments]
    if department and department not in known:
        raise Refused("部门表中没有该部门，请重新选择。", f"there is no department {department!r}")
    # the box of the unit that was made the lead may still be ticked
    co = tuple(sorted(name for name in known if name != department and form.get(f"co-{name}") == "1"))
    # the words go to departments: nothing in them may tell who called
    reason = redact(form.text("reason")).text
    return Assign(department, form.text("officer", 60), reason, co, form.text("decided_by", 80))


def _complained(here: Visit, incident: IncidentView, form: Posted) -> Command:
    """The boxes of the units that the person saw, and one unit to add; what was found since is left as it is."""
    departments, about = here.console.bundle.departments, complained_of(here, incident)
    found = {one.unit for one in about.found}
    seen = {unit.id for unit in departments.departments if form.get(f"seen-{unit.id}") == "1"}
    ticked = {unit for unit in seen if form.get(f"is-{unit}") == "1"}
    named = (set(about.named) - seen) | (ticked - found)
    cleared = (set(about.cleared) - seen) | ((seen & found) - ticked)
    added = form.text("add", 60)
    if added and departments.get(added) is None:
        raise Refused("部门表中没有该部门，请重新选择。", f"there is no department {added!r}")
    if added:
        named.add(added)
        cleared.discard(added)
    return NameComplained(tuple(sorted(named)), tuple(sorted(cleared)), redact(form.text("reason")).text)


def _merge(here: Visit, incident: IncidentView, form: Posted) -> Command:
    parent = form.integer("parent")
    if parent is None:
        raise Refused("请选择要并入的事件。", "choose the incident to merge into")
    return Merge(parent, form.text("note"))


def _published(here: Visit, form: Posted) -> datetime | None:
    """The local time of a publication as it was typed; None when the field was left empty."""
    raw = form.text("published_at", 30)
    if not raw:
        return None
    try:
        published = datetime.fromisoformat(raw)
    except ValueError:
        raise Refused(
            "发布时间格式不对，应为 2026-11-24T09:30。",
            "the time of publication must look like 2026-11-24T09:30",
        ) from None
    return published if published.tzinfo else published.replace(tzinfo=here.console.zone)


def _respond(here: Visit, incident: IncidentView, form: Posted) -> Command:
    # answers name the person who called, with telephone and door
    text = redact(form.text("text", MAX_ANSWER)).text
    return Respond(form.text("url"), form.text("summary"), _published(here, form), text)


def _inform(here: Visit, incident: IncidentView, form: Posted) -> Command:
    return Inform(form.text("url"), form.text("summary"), _published(here, form))


def _hold_press(here: Visit, incident: IncidentView, form: Posted) -> Command:
    return HoldPress(form.text("url"), form.text("summary"), _published(here, form))


def _evaluate(here: Visit, incident: IncidentView, form: Posted) -> Command:
    try:
        score = float(form.text("score", 10))
    except ValueError:
        raise Refused("请填写0到100之间的评分。", "give a score between 0 and 100") from None
    return Evaluate(score, form.text("note"))


def _restrict(here: Visit, incident: IncidentView, form: Posted) -> Command:
    """Whoever restricts always knows: nobody locks themselves out by a forgotten tick."""
    people = {name.removeprefix("who-") for name in form if name.startswith("who-") and form[name] == "1"}
    named = tuple(sorted(people | {here.account.login}))
    with here.console.db.reading() as session:
        access.check_people(session, named)
    return Restrict(named, redact(form.text("reason", 500)).text)


def _reason(form: Posted) -> str:
    return form.text("reason")


BUILDERS: dict[str, Callable[[Visit, IncidentView, Posted], Command]] = {
    "ack": _acknowledge,
    "confirm": lambda here, incident, form: Confirm(form.text("note"), form.text("level", 20)),
    "false_alarm": lambda here, incident, form: FalseAlarm(
        form.text("reason", 40), form.text("note"), form.text("approver", 60)
    ),
    "assign": _assign,
    "complained": _complained,
    "merge": _merge,
    "unmerge": lambda here, incident, form: Unmerge(form.text("note")),
    "sign": lambda here, incident, form: SignFor(form.text("officer", 60)),
    "return": lambda here, incident, form: Return(_reason(form), form.text("late_approved_by", 60)),
    "inform": _inform,
    "press": _hold_press,
    "respond": _respond,
    "evaluate": _evaluate,
    "close": lambda here, incident, form: Close(form.text("note")),
    "reopen": lambda here, incident, form: Reopen(_reason(form)),
    "restore": lambda here, incident, form: Restore(_reason(form)),
    "level": lambda here, incident, form: SetLevel(form.text("level", 12), _reason(form)),
    "note": lambda here, incident, form: Note(redact(form.text("text")).text),
    "restrict": _restrict,
    "unrestrict": lambda here, incident, form: Unrestrict(_reason(form)),
}


@router.post("/incidents/{number}/{act}")
def act_on_incident(
    number: str,
    act: str,
    here: Annotated[Visit, Depends(member)],
    form: Annotated[Posted, Depends(own_form)],
) -> Response:
    """Carry out one act. A refusal shows its sentence on the page it came from and keeps what was typed."""
    if act not in BUILDERS:
        raise HTTPException(404)
    incident = find(here, number)
    if not may_act(here, act, incident):
        raise Forbidden("您的角色不能执行此操作。")
    to_desk = form.get("back") == "desk"
    key = form.text("key", 40)
    try:
        handle_or_refuse(
            here.console.db,
            incident.id,
            BUILDERS[act](here, incident, form),
            actor=here.account.login,
            channel="console",
            now=here.now,
            expected_version=form.integer("version"),
            idempotency_key=f"console:{incident.id}:{act}:{key}" if key else None,
        )
    except Refused as refusal:
        sentence = refusal.en if here.lang == "en" else refusal.zh
        if to_desk:
            return show_desk(here, status=409, error=sentence, about=number)
        return show_incident(here, number, status=409, error=sentence, failed=act, draft=form)
    address = (
        f"/?done={act}&n={quote(number)}#i-{incident.id}"
        if to_desk
        else f"/incidents/{quote(number)}?done={act}"
    )
    return RedirectResponse(address, 303)
