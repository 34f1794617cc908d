"""Rows of clocks (deadlines) and of things to do at a time (timers). Each has a unique key: opened once, done once."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.orm import Session

from incidents.models import Deadline, Incident, Timer
from incidents.states import OPEN_STATES


@dataclass(frozen=True)
class DeadlineView:
    """One clock of one incident."""

    id: int
    incident_id: int
    rule_id: str
    round: int
    stops_on: str
    started_at: datetime
    due_at: datetime
    provisional: bool
    calendar_version: str
    trace: tuple[str, ...]
    state: str
    closed_at: datetime | None
    overdue_noticed_at: datetime | None
    original_due_at: datetime | None = None  # the end before an extension
    extended_by: int = 0  # units of the rule that an approver added

    def overdue(self, now: datetime) -> bool:
        """Whether the time has passed and nothing stopped the clock before it."""
        return self.due_at < (self.closed_at or now) and self.state != "cancelled"


#: asked at every tick or for every message: built once
_PASSED = (
    select(Deadline)
    .where(
        Deadline.state == "open", Deadline.due_at < bindparam("now"), Deadline.overdue_noticed_at.is_(None)
    )
    .order_by(Deadline.due_at, Deadline.id)
    .limit(bindparam("most"))
)
_OF_INCIDENT = (
    select(Deadline).where(Deadline.incident_id == bindparam("about")).order_by(Deadline.due_at, Deadline.id)
)
_DUE = (
    select(Timer)
    .where(Timer.done_at.is_(None), Timer.due_at <= bindparam("now"))
    .order_by(Timer.due_at, Timer.id)
    .limit(bindparam("most"))
)
_ONE_TIMER = (
    Timer.incident_id == bindparam("about"),
    Timer.kind == bindparam("kind"),
    Timer.epoch == bindparam("epoch"),
    Timer.step == bindparam("step"),
)
_TIMER, _TIMER_ID = select(Timer).where(*_ONE_TIMER), select(Timer.id).where(*_ONE_TIMER)


def view_of(row: Deadline) -> DeadlineView:
    """One row as others see it."""
    return DeadlineView(
        id=row.id,
        incident_id=row.incident_id,
        rule_id=row.rule_id,
        round=row.round,
        stops_on=row.stops_on,
        started_at=row.started_at,
        due_at=row.due_at,
        provisional=row.provisional,
        calendar_version=row.calendar_version,
        trace=tuple(row.trace),
        state=row.state,
        closed_at=row.closed_at,
        overdue_noticed_at=row.overdue_noticed_at,
        original_due_at=row.original_due_at,
        extended_by=row.extended_by or 0,
    )


def open_deadline(
    session: Session,
    *,
    incident_id: int,
    rule_id: str,
    round: int,
    stops_on: str,
    started_at: datetime,
    due_at: datetime,
    provisional: bool,
    calendar_version: str,
    trace: Sequence[str],
    restart: bool = False,
) -> bool:
    """Start a clock; False when this rule already has one in this round.

    `restart`: a clock that belongs to the present holder (time to send back) begins anew with the next holder.
    """
    row = session.scalar(
        select(Deadline).where(
            Deadline.incident_id == incident_id, Deadline.rule_id == rule_id, Deadline.round == round
        )
    )
    if row is not None and not (restart and row.started_at < started_at):
        return False
    if row is None:
        row = Deadline(incident_id=incident_id, rule_id=rule_id, round=round)
        session.add(row)
    row.stops_on, row.started_at, row.due_at = stops_on, started_at, due_at
    row.provisional, row.calendar_version, row.trace = provisional, calendar_version, list(trace)
    row.state, row.closed_at, row.overdue_noticed_at = "open", None, None
    row.original_due_at, row.extended_by = None, 0
    session.flush()
    return True


def close_deadlines(
    session: Session,
    incident_id: int,
    *,
    at: datetime,
    stops_on: str | None = None,
    outcome: Literal["answered", "cancelled"] = "answered",
    rules: Collection[str] | None = None,
) -> list[DeadlineView]:
    """Stop the open clocks of one incident (only those that `stops_on` stops, or of `rules`, if given).

    "answered" makes each met or missed by comparing `at` with its due time; returns the clocks closed.
    """
    query = select(Deadline).where(Deadline.incident_id == incident_id, Deadline.state == "open")
    if stops_on is not None:
        query = query.where(Deadline.stops_on == stops_on)
    if rules is not None:
        query = query.where(Deadline.rule_id.in_(rules))
    closed = []
    for row in session.scalars(query):
        row.closed_at = at
        row.state = "cancelled" if outcome == "cancelled" else ("met" if at <= row.due_at else "missed")
        closed.append(view_of(row))
    session.flush()
    return closed


def reopen_cancelled(
    session: Session, incident_id: int, round: int, rules: Collection[str]
) -> list[DeadlineView]:
    """Let cancelled clocks of these rules in this round run on from where they started."""
    rows = session.scalars(
        select(Deadline).where(
            Deadline.incident_id == incident_id,
            Deadline.round == round,
            Deadline.state == "cancelled",
            Deadline.rule_id.in_(sorted(rules)),
        )
    )
    opened = []
    for row in rows:
        row.state, row.closed_at = "open", None
        opened.append(view_of(row))
    session.flush()
    return opened


def passed_deadlines(session: Session, now: datetime, limit: int = 200) -> list[DeadlineView]:
    """Open clocks whose time has passed and that nobody has noticed yet, earliest first."""
    return [view_of(row) for row in session.scalars(_PASSED, {"now": now, "most": limit})]


def notice_overdue(session: Session, deadline_id: int, now: datetime) -> None:
    """Note that our tick saw the clock run out; the true time stays due_at."""
    session.execute(update(Deadline).where(Deadline.id == deadline_id).values(overdue_noticed_at=now))


def deadlines_of(session: Session, incident_id: int) -> list[DeadlineView]:
    """All clocks of one incident, the most urgent first."""
    return [view_of(row) for row in session.scalars(_OF_INCIDENT, {"about": incident_id})]


def earliest_due(session: Session, incidents: Collection[int]) -> dict[int, datetime]:
    """When the most urgent open clock of each of these incidents runs out; those without one are left out."""
    rows = session.execute(
        select(Deadline.incident_id, func.min(Deadline.due_at))
        .where(Deadline.state == "open", Deadline.incident_id.in_(sorted(incidents)))
        .group_by(Deadline.incident_id)
    )
    return {row[0]: row[1] for row in rows}


def count_open(session: Session, now: datetime) -> tuple[int, int]:
    """How many clocks are open, and how many of them have run out."""
    late = func.count().filter(Deadline.due_at < now)
    running, overdue = session.execute(select(func.count(), late).where(Deadline.state == "open")).one()
    return running, overdue


@dataclass(frozen=True)
class Running:
    """A running clock of an open incident without its arithmetic: what a list of many needs."""

    id: int
    incident_id: int
    department: str
    started_at: datetime
    due_at: datetime

    def used(self, now: datetime) -> float:
        """Share of its time that is gone; above 1 when it ran out."""
        whole = (self.due_at - self.started_at) / timedelta(seconds=1)
        return ((now - self.started_at) / timedelta(seconds=1)) / whole if whole > 0 else 1.0


def running(session: Session, limit: int) -> list[Running]:
    """The clocks of open incidents that end first; those that only wait for a return are left out."""
    query = (
        select(Deadline.id, Deadline.incident_id, Incident.department, Deadline.started_at, Deadline.due_at)
        .join(Incident, Incident.id == Deadline.incident_id)
        .where(
            Deadline.state == "open",
            Deadline.stops_on != "returned",
            # an expression, so that the index of open clocks is walked and left early
            func.coalesce(Incident.state, "").in_([str(state) for state in OPEN_STATES]),
        )
        .order_by(Deadline.due_at, Deadline.id)
        .limit(limit)
    )
    return [Running(*row) for row in session.execute(query)]


def deadlines(session: Session, ids: Sequence[int]) -> dict[int, DeadlineView]:
    """Clocks by row id."""
    return {row.id: view_of(row) for row in session.scalars(select(Deadline).where(Deadline.id.in_(ids)))}


def first_open(session: Session, incident_ids: Sequence[int]) -> dict[int, DeadlineView]:
    """The earliest open clock of each of these incidents; those without one are left out."""
    rows = session.scalars(
        select(Deadline)
        .where(Deadline.state == "open", Deadline.incident_id.in_(incident_ids))
        .order_by(Deadline.due_at, Deadline.id)
    )
    found: dict[int, DeadlineView] = {}
    for row in rows:
        if row.incident_id not in found:
            found[row.incident_id] = view_of(row)
    return found


@dataclass(frozen=True)
class TimerView:
    """A thing to do at a time."""

    id: int
    incident_id: int
    kind: str
    epoch: int
    step: int
    due_at: datetime
    payload: dict[str, Any]


def add_timer(
    session: Session,
    *,
    incident_id: int,
    kind: str,
    epoch: int,
    step: int,
    due_at: datetime,
    payload: dict[str, Any] | None = None,
) -> bool:
    """Set a timer; False when it exists already (done or not)."""
    exists = session.scalar(_TIMER_ID, {"about": incident_id, "kind": kind, "epoch": epoch, "step": step})
    if exists is not None:
        return False
    session.add(
        Timer(
            incident_id=incident_id, kind=kind, epoch=epoch, step=step, due_at=due_at, payload=payload or {}
        )
    )
    session.flush()
    return True


def set_timer(
    session: Session,
    *,
    incident_id: int,
    kind: str,
    epoch: int,
    step: int,
    due_at: datetime,
    payload: dict[str, Any] | None = None,
) -> None:
    """Set a timer, or set it to another time: one that was done already is set anew when its time has changed."""
    row = session.scalar(_TIMER, {"about": incident_id, "kind": kind, "epoch": epoch, "step": step})
    if row is None:
        add_timer(
            session,
            incident_id=incident_id,
            kind=kind,
            epoch=epoch,
            step=step,
            due_at=due_at,
            payload=payload,
        )
    elif row.due_at != due_at:
        row.due_at, row.payload, row.done_at, row.result = due_at, payload or {}, None, ""
        session.flush()


def hasten_timer(
    session: Session, *, incident_id: int, kind: str, epoch: int, step: int, due_at: datetime
) -> None:
    """A timer that is not done yet is due earlier; one that is due before then stays."""
    session.execute(
        update(Timer)
        .where(
            Timer.incident_id == incident_id,
            Timer.kind == kind,
            Timer.epoch == epoch,
            Timer.step == step,
            Timer.done_at.is_(None),
            Timer.due_at > due_at,
        )
        .values(due_at=due_at)
    )


def revive_timer(session: Session, *, incident_id: int, kind: str, epoch: int, step: int) -> None:
    """A timer that was passed over is to be looked at again."""
    row = session.scalar(
        select(Timer).where(
            Timer.incident_id == incident_id,
            Timer.kind == kind,
            Timer.epoch == epoch,
            Timer.step == step,
            Timer.result == "superseded",
        )
    )
    if row is not None:
        row.done_at, row.result = None, ""
        session.flush()


def due_timers(session: Session, now: datetime, limit: int = 200) -> list[TimerView]:
    """Timers whose time has come, earliest first."""
    rows = session.scalars(_DUE, {"now": now, "most": limit})
    return [
        TimerView(row.id, row.incident_id, row.kind, row.epoch, row.step, row.due_at, row.payload)
        for row in rows
    ]


def finish_timer(
    session: Session, timer_id: int, result: Literal["fired", "superseded"], now: datetime
) -> None:
    """Mark a timer as done."""
    session.execute(update(Timer).where(Timer.id == timer_id).values(done_at=now, result=result))


def cancel_timers(
    session: Session,
    incident_id: int,
    now: datetime,
    *,
    kinds: Sequence[str] | None = None,
    up_to_epoch: int | None = None,
) -> int:
    """Mark open timers of one incident as superseded; returns how many."""
    query = select(Timer).where(Timer.incident_id == incident_id, Timer.done_at.is_(None))
    if kinds is not None:
        query = query.where(Timer.kind.in_(kinds))
    if up_to_epoch is not None:
        query = query.where(Timer.epoch <= up_to_epoch)
    rows = list(session.scalars(query))
    for row in rows:
        row.done_at, row.result = now, "superseded"
    session.flush()
    return len(rows)
