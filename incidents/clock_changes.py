"""Rare changes of a running clock: a merge that brings it forward, a holiday notice that settles a provisional day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents.models import Deadline


def move_deadline(
    session: Session,
    deadline_id: int,
    *,
    started_at: datetime,
    due_at: datetime,
    provisional: bool,
    calendar_version: str,
    trace: Sequence[str],
) -> None:
    """Give an open clock another end. The caller records old and new in an event of the same transaction."""
    row = session.get_one(Deadline, deadline_id)
    row.started_at, row.due_at, row.provisional = started_at, due_at, provisional
    row.calendar_version, row.trace = calendar_version, list(trace)
    session.flush()


def open_under_other_calendar(session: Session, calendar_version: str, limit: int = 500) -> list[int]:
    """Ids of open clocks with provisional days that were counted with another calendar, the most urgent first."""
    query = select(Deadline.id).where(
        Deadline.state == "open", Deadline.provisional, Deadline.calendar_version != calendar_version
    )
    return list(session.scalars(query.order_by(Deadline.due_at, Deadline.id).limit(limit)))


def cancel_deadline(session: Session, deadline_id: int, now: datetime) -> None:
    """Take one open clock back (the grade that had started it was lowered by a person)."""
    row = session.get_one(Deadline, deadline_id)
    row.state, row.closed_at = "cancelled", now
    session.flush()
