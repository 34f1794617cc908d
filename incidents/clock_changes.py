"""Rare changes of a running clock: a merge, an extension, a holiday notice that changes a day it was counted with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents.clocks import DeadlineView, view_of
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
    original_due_at: datetime | None,
    extended_by: int,
    unmiss: bool = False,
) -> DeadlineView:
    """Give an open clock another end. The caller records old and new in an event of the same transaction.

    `unmiss`: it had been noticed as run out and no longer is; it will be noticed anew at its new end.
    """
    row = session.get_one(Deadline, deadline_id)
    row.started_at, row.due_at, row.provisional = started_at, due_at, provisional
    row.calendar_version, row.trace = calendar_version, list(trace)
    row.original_due_at, row.extended_by = original_due_at, extended_by
    if unmiss:
        row.overdue_noticed_at = None
    session.flush()
    return view_of(row)


def open_after(session: Session, after_id: int, limit: int) -> list[DeadlineView]:
    """Open clocks with a number above `after_id`, ascending: for going through all of them in steps."""
    query = select(Deadline).where(Deadline.state == "open", Deadline.id > after_id)
    return [view_of(row) for row in session.scalars(query.order_by(Deadline.id).limit(limit))]
