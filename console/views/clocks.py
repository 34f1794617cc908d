"""The clocks of one incident, side by side: which one governs, more time by a named approver, a date told to the caller."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends
from fastapi.responses import RedirectResponse, Response

from alerts import extensions, resolver
from console.context import Forbidden, Visit, member
from console.forms import Posted, own_form
from console.render import page
from console.rights import DESK, may_see
from console.views.incident import find, rule_of
from console.views.obligations import desk_for, local_time
from incidents import accounts, clocks, lifecycle
from incidents.queries import IncidentView
from incidents.session import Session
from incidents.states import Refused

router = APIRouter(include_in_schema=False)


def _show(
    here: Visit, number: str, *, status: int = 200, error: str = "", draft: Posted | None = None
) -> Response:
    incident = find(here, number)
    bundle = here.console.bundle
    with here.console.db.reading() as session:
        desk = desk_for(here, session)
        found = clocks.deadlines_of(session, incident.id)
        allowed = extensions.allowances(desk, incident)
        people = accounts.list_accounts(session)
    roles = {role for one in allowed for role in one.clause.approved_by}
    return page(
        here,
        "clocks.html",
        status=status,
        incident=incident,
        clocks=[(clock, rule_of(here, clock.rule_id)) for clock in found],
        governing=resolver.governing(bundle.rules, [c for c in found if c.round == incident.round]),
        allowed=allowed,
        approvers=[one for one in people if one.role in roles and not one.disabled],
        promises=[rule for rule in bundle.rules.rules("hotline") if rule.starts_on == "told"]
        if any(c.rule_id == "H01" and c.round == incident.round for c in found)
        else [],
        may_extend=here.account.role in DESK,
        may_tell=may_tell(here, incident),
        error=error,
        draft=draft or {},
        done=here.done,
    )


def may_tell(here: Visit, incident: IncidentView) -> bool:
    """The desk, and the clerk of the department in charge."""
    leads = here.account.role == "department" and incident.department == here.account.department
    return here.account.role in DESK or (leads and may_see(here, incident))


@router.get("/incidents/{number}/clocks")
def clocks_page(number: str, here: Annotated[Visit, Depends(member)]) -> Response:
    """All clocks of one incident with what can be done about them."""
    return _show(here, number)


@router.post("/incidents/{number}/clocks/extend")
def extend(
    number: str, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Enter an extension that somebody granted."""
    if here.account.role not in DESK:
        raise Forbidden("您的角色不能执行此操作。")
    incident = find(here, number)
    key = form.text("key", 40)

    def act(session: Session) -> None:
        extensions.extend(
            desk_for(here, session),
            incident.id,
            form.text("rule", 20),
            form.integer("units") or 0,
            approver=form.text("approver", 60),
            reason=form.text("reason", 500),
            late_reason=form.text("late_reason", 500),
            actor=here.account.login,
            channel="console",
            expected_version=form.integer("version"),
            idempotency_key=f"console:{incident.id}:extend:{key}" if key else None,
        )

    return _done(here, incident, form, act, "extend")


@router.post("/incidents/{number}/clocks/told")
def told(
    number: str, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Enter that the caller was told how far it is and by when."""
    incident = find(here, number)
    if not may_tell(here, incident):
        raise Forbidden("您的角色不能执行此操作。")

    def act(session: Session) -> None:
        try:
            until = date.fromisoformat(form.text("until", 10))
        except ValueError:
            raise Refused("请填写承诺解决的日期。", "give the day that was promised") from None
        extensions.tell_caller(
            desk_for(here, session),
            incident.id,
            form.text("rule", 20),
            until=until,
            url=form.text("url", 500),
            measures=form.text("measures"),
            told_at=local_time(here, form.text("told_at", 30)),
            actor=here.account.login,
            channel="console",
        )

    return _done(here, incident, form, act, "told")


def _done(
    here: Visit, incident: IncidentView, form: Posted, act: Callable[[Session], None], name: str
) -> Response:
    """Carry it out; a refusal is kept in the record and shown with what had been typed."""
    try:
        with here.console.db.transaction() as session:
            act(session)
    except Refused as refusal:
        with here.console.db.transaction() as session:
            lifecycle.record_act(
                session,
                "refused",
                {"command": name, "rule": form.text("rule", 20), "reason": refusal.en},
                actor=here.account.login,
                channel="console",
                now=here.now,
                incident_id=incident.id,
            )
        sentence = refusal.en if here.lang == "en" else refusal.zh
        return _show(here, incident.number, status=409, error=sentence, draft=form)
    return RedirectResponse(f"/incidents/{quote(incident.number)}/clocks?done={name}", 303)
