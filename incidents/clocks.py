"""Rows of clocks (deadlines) and of things to do at a time (timers). Each has a unique key: opened once, done once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents.models import Deadline, Timer


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

    def overdue(self, now: datetime) -> bool:
        """Whether the time has passed and nothing stopped the clock before it."""
        return self.due_at < (self.closed_at or now) and self.state != "cancelled"


def _view(row: Deadline) -> DeadlineView:
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
) -> bool:
    """Start a clock; False when this rule already has one in this round."""
    exists = session.scalar(
        select(Deadline.id).where(
            Deadline.incident_id == incident_id, Deadline.rule_id == rule_id, Deadline.round == round
        )
    )
    if exists is not None:
        return False
    session.add(
        Deadline(
            incident_id=incident_id,
            rule_id=rule_id,
            round=round,
            stops_on=stops_on,
            started_at=started_at,
            due_at=due_at,
            provisional=provisional,
            calendar_version=calendar_version,
            trace=list(trace),
        )
    )
    session.flush()
    return True


def close_deadlines(
    session: Session,
    incident_id: int,
    *,
    at: datetime,
    stops_on: str | None = None,
    outcome: Literal["answered", "cancelled"] = "answered",
) -> list[DeadlineView]:
    """Stop the open clocks of one incident (only those that `stops_on` stops, if given).

    "answered" makes each met or missed by comparing `at` with its due time; returns the clocks closed.
    """
    query = select(Deadline).where(Deadline.incident_id == incident_id, Deadline.state == "open")
    if stops_on is not None:
        query = query.where(Deadline.stops_on == stops_on)
    closed = []
    for row in session.scalars(query):
        row.closed_at = at
        row.state = "cancelled" if outcome == "cancelled" else ("met" if at <= row.due_at else "missed")
        closed.append(_view(row))
    session.flush()
    return closed


def reopen_cancelled(session: Session, incident_id: int, round: int) -> list[DeadlineView]:
    """Let cancelled clocks of this round run on from where they started (a merge or false alarm was taken back)."""
    rows = session.scalars(
        select(Deadline).where(
            Deadline.incident_id == incident_id, Deadline.round == round, Deadline.state == "cancelled"
        )
    )
    opened = []
    for row in rows:
        row.state, row.closed_at = "open", None
        opened.append(_view(row))
    session.flush()
    return opened


def passed_deadlines(session: Session, now: datetime, limit: int = 200) -> list[DeadlineView]:
    """Open clocks whose time has passed and that nobody has noticed yet, earliest first."""
    query = select(Deadline).where(
        Deadline.state == "open", Deadline.due_at < now, Deadline.overdue_noticed_at.is_(None)
    )
    return [_view(row) for row in session.scalars(query.order_by(Deadline.due_at, Deadline.id).limit(limit))]


def notice_overdue(session: Session, deadline_id: int, now: datetime) -> None:
    """Note that our tick saw the clock run out; the true time stays due_at."""
    session.get_one(Deadline, deadline_id).overdue_noticed_at = now


def deadlines_of(session: Session, incident_id: int) -> list[DeadlineView]:
    """All clocks of one incident, the most urgent first."""
    return [
        _view(row)
        for row in session.scalars(
            select(Deadline).where(Deadline.incident_id == incident_id).order_by(Deadline.due_at, Deadline.id)
        )
    ]


def open_deadlines(session: Session) -> list[DeadlineView]:
    """All open clocks, the most urgent first."""
    return [
        _view(row)
        for row in session.scalars(
            select(Deadline).where(Deadline.state == "open").order_by(Deadline.due_at, Deadline.id)
        )
    ]


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
    exists = session.scalar(
        select(Timer.id).where(
            Timer.incident_id == incident_id, Timer.kind == kind, Timer.epoch == epoch, Timer.step == step
        )
    )
    if exists is not None:
        return False
    session.add(
        Timer(
            incident_id=incident_id, kind=kind, epoch=epoch, step=step, due_at=due_at, payload=payload or {}
        )
    )
    session.flush()
    return True


def due_timers(session: Session, now: datetime, limit: int = 200) -> list[TimerView]:
    """Timers whose time has come, earliest first."""
    rows = session.scalars(
        select(Timer)
        .where(Timer.done_at.is_(None), Timer.due_at <= now)
        .order_by(Timer.due_at, Timer.id)
        .limit(limit)
    )
    return [
        TimerView(row.id, row.incident_id, row.kind, row.epoch, row.step, row.due_at, row.payload)
        for row in rows
    ]


def finish_timer(
    session: Session, timer_id: int, result: Literal["fired", "superseded"], now: datetime
) -> None:
    """Mark a timer as done."""
    row = session.get_one(Timer, timer_id)
    row.done_at, row.result = now, result


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
