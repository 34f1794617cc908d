"""问责: the department table of any period with lateness charged to its link; letters of supervision, appeals, waits for approval.

Clerks see their own line, with the whole city to compare. Administrators see the numbers and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import RedirectResponse, Response

from console import accountable
from console.context import Forbidden, RowId, Visit, member
from console.forms import Posted, own_form
from console.render import page
from console.rights import hidden, may_see
from incidents import accountability, appeals, approvals, letters, public_edition, queries, report_runs
from incidents.appeals import OUTCOMES, AppealView
from incidents.queries import IncidentView
from incidents.report_runs import RunView
from incidents.session import Session
from incidents.states import Refused, State
from spiders.redact import redact

router = APIRouter(include_in_schema=False)
#: who works on letters, appeals and approvals
DECIDERS = frozenset({"supervisor", "leader"})
#: links that an appeal may charge instead of the department
INSTEAD = ("source", "system", "desk", "approver", "shared")
SHOWN = 200
_WORKED_ON = (State.ASSIGNED, State.ACKNOWLEDGED)


@dataclass(frozen=True)
class Wait:
    """A case that waits for an approval."""

    incident: IncidentView
    what: approvals.Waiting


def sentence(here: Visit, refusal: Refused) -> str:
    """Why not, in the reader's language."""
    return refusal.en if here.lang == "en" else refusal.zh


def _clerk(here: Visit) -> bool:
    return here.account.role == "department"


def _need_reader(here: Visit) -> None:
    if not _clerk(here) and here.account.role not in accountable.READERS:
        raise Forbidden("您的角色不能查看问责页。")


def need_decider(here: Visit) -> None:
    """Supervision and leaders only."""
    if here.account.role not in DECIDERS:
        raise Forbidden("您的角色不能执行此操作。")


def visible(here: Visit, session: Session, key: int | str) -> IncidentView | None:
    """The incident, if this person may see it."""
    found = queries.get_incident(session, key)
    if found is None or found.id in hidden(here):
        return None
    return found if not _clerk(here) or may_see(here, found) else None


def _known_numbers(here: Visit, numbers: set[str]) -> dict[str, IncidentView]:
    """Incidents of some numbers that the person may see; others are shown as a number without a way."""
    with here.console.db.reading() as session:
        found = {number: visible(here, session, number) for number in sorted(numbers)[: SHOWN * 2]}
    return {number: incident for number, incident in found.items() if incident is not None}


def show(
    here: Visit, period: str, *, status: int = 200, error: str = "", draft: Posted | None = None
) -> Response:
    """The page; `error` and `draft` after an act that was refused."""
    _need_reader(here)
    choices = accountable.names(here)
    period = period or next(name for kind, name in choices[3:4])
    unit = here.department
    with here.console.db.reading() as session:
        found = accountable.table(session, period)
        filed = (
            [] if here.account.role == "administrator" else appeals.listed(session, unit=unit, limit=SHOWN)
        )
    model = None if found is None else found.model
    if model is not None and unit:
        model = accountable.own_part(model, unit)
    misses = model["misses"][:SHOWN] if model else []
    known = _known_numbers(
        here, {one["number"] for one in misses} | {one.number for one in filed if one.number}
    )
    if _clerk(here):
        misses = [one for one in misses if one["number"] in known]
    away = {one.number for one in filed if one.number} - set(known)
    return page(
        here,
        "accountability.html",
        status=status,
        error=error,
        period=period,
        choices=choices,
        table=found,
        model=model,
        misses=misses,
        known=known,
        filed=[one for one in filed if one.number not in away],
        overdue=[one for one in filed if one.overdue(here.now) and one.state == "filed"],
        own=unit,
        **_papers(here, unit),
        public=_public(here),
        may_publish=here.account.role == "leader",
        may_decide=here.account.role in DECIDERS,
        may_appeal=_clerk(here),
        outcomes=OUTCOMES,
        instead=INSTEAD,
        draft=draft or {},
        done=here.done,
    )


def _papers(here: Visit, unit: str) -> dict[str, Any]:
    """Letters, steps that letters may be made of, and waits for approval, as far as the person may see them."""
    if here.account.role == "administrator":
        return {"letters": [], "steps": [], "waits": [], "askable": [], "measures": []}
    with here.console.db.reading() as session:
        papers = [
            one
            for one in letters.listed(session, department=unit, issued=bool(unit))
            if visible(here, session, one.incident_id) is not None
        ]
        steps = accountability.listed(session, ("open", "approved"))
        steps = [one for one in steps if one.incident_id not in hidden(here)]
        written = {(one.incident_id, one.proposal_key, one.kind) for one in papers if one.state != "rejected"}
        open_ones = [
            one
            for one in queries.list_incidents(session, states=_WORKED_ON, department=unit, limit=SHOWN)
            if (not unit or one.department == unit) and visible(here, session, one.id) is not None
        ]
        waits, askable = [], []
        for one in open_ones:
            waiting = approvals.waiting(session, one.id)
            if waiting is None:
                askable.append(one)
            else:
                waits.append(Wait(one, waiting))
    possible = [
        (step, kind)
        for step in steps
        for kind in letters.KINDS.get(step.level, ())
        if (step.incident_id, step.key, kind) not in written
        and (step.rank < accountability.GROUNDED_FROM or step.state == "approved")
        and step.department
    ]
    return {
        "letters": papers,
        "steps": possible if not unit else [],
        "waits": waits,
        "askable": askable if unit else [],
        "measures": [one for one in steps if one.state == "approved" and one.department == unit]
        if unit
        else [],
    }


def _public(here: Visit) -> list[tuple[RunView, public_edition.Decision | None]]:
    """Public editions that were made, the newest of each month, with what was decided on it."""
    if here.account.role not in DECIDERS | {"auditor"}:
        return []
    with here.console.db.reading() as session:
        newest: dict[str, RunView] = {}
        for run in report_runs.all_runs(session, limit=SHOWN, report=public_edition.REPORT):
            newest.setdefault(run.period, run)
        return [(run, public_edition.decision(session, run.period, run.digest)) for run in newest.values()]


@router.get("/accountability/public/{period}")
def public_page(period: str, here: Annotated[Visit, Depends(member)]) -> Response:
    """The newest public edition of a month, as it would be published."""
    if here.account.role not in DECIDERS | {"auditor"}:
        raise Forbidden("您的角色不能查看问责页。")
    with here.console.db.reading() as session:
        runs = report_runs.runs(session, public_edition.REPORT, period)
    if not runs:
        raise HTTPException(404)
    return page(here, "public_edition.html", run=runs[-1], m=runs[-1].model)


@router.post("/accountability/public/{period}")
def decide_public(
    period: str, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """A leader lets exactly this edition be published, or not."""
    if here.account.role != "leader":
        raise Forbidden("您的角色不能执行此操作。")

    def act(session: Session) -> None:
        public_edition.decide(
            session,
            period,
            form.text("digest", 64),
            approve=form.get("decision") == "approve",
            name=form.text("approver", 60),
            reason=redact(form.text("reason")).text,
            by=here.account.login,
            channel="console",
            now=here.now,
        )

    return _done(here, form, act, "public_decided")


@router.get("/accountability")
def accountability_page(here: Annotated[Visit, Depends(member)], period: str = "") -> Response:
    """The table of one period; the running month unless another one is asked for."""
    return show(here, period)


def _done(here: Visit, form: Posted, act: Callable[[Session], str | None], name: str) -> Response:
    """Carry out an act and go back to where it was asked for, or say why not."""
    period = form.text("period", 16)
    try:
        with here.console.db.transaction() as session:
            where = act(session)
    except Refused as refusal:
        return show(here, period, status=409, error=sentence(here, refusal), draft=form)
    return RedirectResponse(where or f"/accountability?period={quote(period)}&done={name}", 303)


# --- appeals -------------------------------------------------------------------------------------------------------


@router.post("/accountability/appeals")
def appeal(here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]) -> Response:
    """A clerk appeals against a miss, a step or the line of the own unit."""
    if not _clerk(here):
        raise Forbidden("只有部门承办人可以代表本部门申诉。")
    unit, about, number = here.department, form.text("about", 80), form.text("number", 24)
    settings = here.console.bundle.settings.accountability
    known = here.console.bundle.departments.get(unit)
    names = (*known.name_2018, known.name) if known else ()

    def act(session: Session) -> None:
        incident = visible(here, session, number) if number else None
        if number and incident is None:
            raise Refused("没有这个事件。", f"there is no incident {number}")
        about_id = incident.id if incident else None
        notice = appeals.notice_of(session, about, unit, about_id, names)
        until = accountable.working_days(here, settings.appeal_file_days, notice.at, "A15")
        due = accountable.working_days(here, settings.appeal_decide_days, here.now, "A10")
        appeals.file(
            session,
            unit=unit,
            about=about,
            incident_id=about_id,
            names=names,
            reason=redact(form.text("reason")).text,
            evidence=form.text("evidence", 500),
            file_due_at=until.due_at,
            decide_due_at=due.due_at,
            provisional=due.provisional,
            trace=due.trace,
            by=here.account.login,
            channel="console",
            now=here.now,
        )

    return _done(here, form, act, "appealed")


@router.post("/accountability/appeals/{number}")
def decide_appeal(
    number: RowId, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Somebody who neither filed it nor decided first decides."""
    need_decider(here)

    def act(session: Session) -> None:
        found: AppealView | None = appeals.get(session, number)
        if found is not None and found.incident_id in hidden(here):
            raise Refused("没有这项申诉。", f"there is no appeal {number}")
        instead = form.text("changed_to", 60)
        appeals.decide(
            session,
            number,
            outcome=form.text("outcome", 12),
            reason=redact(form.text("reason")).text,
            changed_to=instead if instead in INSTEAD else "",
            by=here.account.login,
            channel="console",
            now=here.now,
        )

    return _done(here, form, act, "appeal_decided")


# --- waits for approval ----------------------------------------------------------------------------------------------


@router.post("/accountability/approvals/{number}")
def approval(
    number: str, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """A clerk hands something in, or supervision enters the approver's word."""
    asks = form.get("act") == "ask"

    def act(session: Session) -> None:
        incident = visible(here, session, number)
        if incident is None:
            raise HTTPException(404)
        if asks and not (_clerk(here) and incident.department == here.department):
            raise Forbidden("您的角色不能执行此操作。")
        if not asks:
            need_decider(here)
        actor, now = here.account.login, here.now
        if asks:
            approvals.ask(
                session,
                incident.id,
                what=redact(form.text("what", 200)).text,
                approver=form.text("approver", 60),
                by=actor,
                channel="console",
                now=now,
            )
        else:
            approvals.give(
                session,
                incident.id,
                granted=form.get("granted") == "yes",
                note=redact(form.text("note", 500)).text,
                by=actor,
                channel="console",
                now=now,
            )

    return _done(here, form, act, "approval_asked" if asks else "approval_given")
