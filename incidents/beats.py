"""When each moving part was last well, and how far a reader of events has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from incidents.dialect import insert_into
from incidents.models import Heartbeat

#: asked at every tick: built once
_NAMED = select(Heartbeat).where(Heartbeat.name.in_(bindparam("names", expanding=True)))


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
        # two processes may write the first sign of life at once
        first = insert_into(session, Heartbeat).values(name=name, ok_at=now, value=value or {})
        session.execute(first.on_conflict_do_nothing(index_elements=["name"]))
        row = session.get_one(Heartbeat, name)
    row.ok_at = now
    if value is not None:
        row.value = value
    session.flush()


def look_up(session: Session, names: Sequence[str]) -> None:
    """Read these in one go; until the transaction ends, `get_beat` finds them without asking the database."""
    session.info["beats"] = list(session.scalars(_NAMED, {"names": list(names)}))


def is_fresh(session: Session, name: str, now: datetime, within: timedelta) -> bool:
    """Whether the last sign of life is no older than that (and not of a time to come: the clock was set back)."""
    last = get_beat(session, name)
    return last is not None and timedelta(0) <= now - last.ok_at < within


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
