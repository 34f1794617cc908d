"""Rows that were set aside: once each, and tried again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents.models import JsonDict, Quarantine
from incidents.posts import set_aside, storable_json


def set_aside_once(
    session: Session, origin: str, row: int | None, field: str, reason: str, payload: JsonDict, now: datetime
) -> bool:
    """Set a row aside unless the same row of the same origin waits already for the same field. True when it is new.

    The row's number is not enough: tomorrow's file may have the same name and another bad row in that place.
    """
    query = select(Quarantine.id).where(
        Quarantine.origin == origin,
        Quarantine.row == row if row is not None else Quarantine.row.is_(None),
        Quarantine.field == field[:120],
        Quarantine.resolved_at.is_(None),
    )
    kept = storable_json(payload)
    for waiting in session.scalars(query):
        entry = session.get(Quarantine, waiting)
        if entry is not None and entry.payload == kept:
            return False
    set_aside(session, origin, row, field, reason, payload, now)
    return True


def waiting(session: Session, ids: Sequence[int] = (), limit: int = 10_000) -> list[Quarantine]:
    """Rows that wait, oldest first: the given ones, or all."""
    query = select(Quarantine).where(Quarantine.resolved_at.is_(None)).order_by(Quarantine.id).limit(limit)
    if ids:
        query = query.where(Quarantine.id.in_(list(ids)))
    return list(session.scalars(query))
