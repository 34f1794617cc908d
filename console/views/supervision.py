"""督办: clocks at risk and overdue, by department; proposed steps of the accountability ladder, which a named person decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import RedirectResponse, Response

from config.rules import Escalation
from console.context import Forbidden, RowId, Visit, member
from console.forms import Posted, own_form
from console.render import page
from console.rights import hidden
from incidents import accountability, clocks, queries
from incidents.accountability import GROUNDS, Proposal
from incidents.clocks import DeadlineView, Running
from incidents.queries import IncidentView
from incidents.session import Session
from incidents.states import Refused
from spiders.redact import redact

router = APIRouter(include_in_schema=False)
#: share of a clock's time after which it is at risk
AT_RISK = 0.8
#: who sees this page, who decides an order (L3), who decides what needs an approver (L4 and above), L6 and L7
READERS = frozenset({"duty", "supervisor", "leader", "auditor"})
DECIDERS = {
    3: frozenset({"supervisor", "leader"}),
    4: frozenset({"supervisor", "leader"}),
    6: frozenset({"leader"}),
}
SHOWN = 200


@dataclass(frozen=True)
class Watched:
    """One running clock with its incident."""

    clock: DeadlineView
    incident: IncidentView


def may_decide(here: Visit, proposal: Proposal) -> bool:
    """Whether the person may decide a step of this level; the unit concerned never decides on itself."""
    floor = max(level for level in DECIDERS if level <= proposal.rank)
    return here.account.role in DECIDERS[floor]


def _watched(session: Session, shown: Sequence[Running]) -> list[Watched]:
    found = clocks.deadlines(session, [one.id for one in shown])
    views = {view.id: view for view in queries.get_incidents(session, {one.incident_id for one in shown})}
    return [
        Watched(found[one.id], views[one.incident_id])
        for one in shown
        if one.id in found and one.incident_id in views
    ]


def _show(here: Visit, *, status: int = 200, error: str = "", draft: Posted | None = None) -> Response:
    if here.account.role not in READERS:
        raise Forbidden("您的角色不能查看督办页。")
    away = hidden(here)
    late: list[Running] = []
    risky: list[Running] = []
    units: dict[str, list[int]] = {}
    with here.console.db.reading() as session:
        for clock in clocks.running(session, SHOWN * 5):
            if clock.incident_id in away:
                continue
            used = clock.used(here.now)
            counts = units.setdefault(clock.department, [0, 0, 0])
            counts[0] += 1
            if used > 1:
                counts[2] += 1
                late.append(clock)
            elif used >= AT_RISK:
                counts[1] += 1
                risky.append(clock)
        told_late, told_risky = _watched(session, late[:SHOWN]), _watched(session, risky[:SHOWN])
        waiting = [one for one in accountability.listed(session) if one.incident_id not in away]
        decided = [
            one
            for one in accountability.listed(session, ("approved", "declined", "withdrawn"), 50)
            if one.incident_id not in away
        ]
    return page(
        here,
        "supervision.html",
        status=status,
        error=error,
        late=told_late,
        risky=told_risky,
        units=sorted(units.items(), key=lambda pair: (-pair[1][2], -pair[1][1], pair[0])),
        waiting=waiting,
        decided=decided,
        grounds=GROUNDS,
        rung=lambda level: _rung(here, level),
        may_decide=lambda proposal: may_decide(here, proposal),
        draft=draft or {},
        failed=draft.get("proposal", "") if draft is not None else "",
        done=here.done,
    )


def _rung(here: Visit, level: str) -> Escalation | None:
    return here.console.bundle.rules.rung(level)


@router.get("/supervision")
def supervision(here: Annotated[Visit, Depends(member)]) -> Response:
    """What is late, what will be, and what is to be decided."""
    return _show(here)


@router.post("/supervision/{proposal_id}")
def decide(
    proposal_id: RowId, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Approve or decline one proposed step."""
    with here.console.db.reading() as session:
        found = accountability.get(session, proposal_id)
    if found is not None and (found.incident_id in hidden(here) or not may_decide(here, found)):
        raise Forbidden("您的角色不能决定这一级措施。")
    try:
        with here.console.db.transaction() as session:
            accountability.decide(
                session,
                proposal_id,
                approve=form.get("decision") == "approve",
                by=here.account.login,
                name=form.text("approver", 60),
                reason=redact(form.text("reason")).text,
                ground=form.text("ground", 24),
                channel="console",
                now=here.now,
            )
    except Refused as refusal:
        return _show(here, status=409, error=refusal.en if here.lang == "en" else refusal.zh, draft=form)
    return RedirectResponse("/supervision?done=decided", 303)


@router.get("/supervision/{proposal_id}/order")
def order(proposal_id: RowId, here: Annotated[Visit, Depends(member)]) -> Response:
    """The draft of a 督办单, to print and to send by the unit that supervises."""
    if here.account.role not in READERS:
        raise Forbidden("您的角色不能查看督办页。")
    with here.console.db.reading() as session:
        found = accountability.get(session, proposal_id)
        incident = queries.get_incident(session, found.incident_id) if found else None
        running = clocks.deadlines_of(session, found.incident_id) if found else []
    if found is None or incident is None or incident.id in hidden(here):
        return page(here, "error.html", status=404, title=here.t("没有这项建议"), sentence="", reference="")
    clock = next((item for item in running if item.rule_id == found.evidence.get("rule")), None)
    return page(
        here,
        "order.html",
        proposal=found,
        incident=incident,
        clock=clock,
        rung=_rung(here, found.level),
        due=here.now + timedelta(days=1),
    )
