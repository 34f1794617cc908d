"""When each moving part was last well, and how far a reader of events has come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents.models import Heartbeat


@dataclass(frozen=True)
class Beat:
    """The last sign of life of one part."""

    name: str
    ok_at: datetime
    value: dict[str, Any]


def beat(session: Session, name: str, now: datetime, value: dict[str, Any] | None = None) -> None:
    """Write a sign of life; `value` replaces the old one, None keeps it."""
    row = session.get(Heartbeat, name)
    if row is None:
        session.add(Heartbeat(name=name, ok_at=now, value=value or {}))
    else:
        row.ok_at = now
        if value is not None:
            row.value = value
    session.flush()


def get_beat(session: Session, name: str) -> Beat | None:
    """The last sign of life of `name`, or None."""
    row = session.get(Heartbeat, name)
    return Beat(row.name, row.ok_at, row.value) if row else None


def all_beats(session: Session) -> list[Beat]:
    """Every part's last sign of life."""
    return [
        Beat(row.name, row.ok_at, row.value)
        for row in session.scalars(select(Heartbeat).order_by(Heartbeat.name))
    ]


def cursor(session: Session, reader: str) -> int:
    """Number of the last event that `reader` has worked off; 0 at first."""
    found = get_beat(session, f"cursor:{reader}")
    return int(found.value["seq"]) if found else 0


def move_cursor(session: Session, reader: str, seq: int, now: datetime) -> None:
    """Note in the reader's own transaction that events up to `seq` are worked off."""
    beat(session, f"cursor:{reader}", now, {"seq": seq})
