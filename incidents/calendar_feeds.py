"""Addresses of calendars of shifts: made for one person or for everybody, revoked when lost; rows that are folds of their acts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents import lifecycle
from incidents.models import CalendarFeed, IncidentEvent
from incidents.states import Refused


@dataclass(frozen=True)
class FeedView:
    """One address. `person` is an id of the roster, "" for the shifts of everybody."""

    id: int
    person: str
    made_by: str
    made_at: datetime
    revoked_by: str
    revoked_at: datetime | None


_FIELDS = ("person", "made_by", "revoked_by")
_TIMES = ("made_at", "revoked_at")


def _view(row: CalendarFeed) -> FeedView:
    return FeedView(row.id, row.person, row.made_by, row.made_at, row.revoked_by, row.revoked_at)


def find(session: Session, feed_id: int) -> FeedView | None:
    """The address of a number, revoked or not."""
    row = session.get(CalendarFeed, feed_id)
    return _view(row) if row is not None else None


def live(session: Session) -> list[FeedView]:
    """Addresses that work, by person; that of everybody first."""
    rows = session.scalars(
        select(CalendarFeed)
        .where(CalendarFeed.revoked_at.is_(None))
        .order_by(CalendarFeed.person, CalendarFeed.id)
    )
    return [_view(row) for row in rows]


def make(session: Session, person: str, *, by: str, channel: str, now: datetime) -> FeedView:
    """A new address for one person, or for everybody (""). The former one stops working: an address is replaced by making it anew."""
    _revoke(session, person, by, channel, now)
    row = CalendarFeed(person=person, made_by=by, made_at=now, revoked_by="", revoked_at=None)
    session.add(row)
    session.flush()
    _note(session, "calendar_feed_made", row, by, channel, now)
    return _view(row)


def revoke(session: Session, person: str, *, by: str, channel: str, now: datetime) -> None:
    """The address of one person, or of everybody (""), stops working. Raises Refused when there is none."""
    if not _revoke(session, person, by, channel, now):
        raise Refused("没有可作废的日历订阅地址。", "there is no calendar address to revoke")


def _revoke(session: Session, person: str, by: str, channel: str, now: datetime) -> int:
    rows = session.scalars(
        select(CalendarFeed)
        .where(CalendarFeed.person == person, CalendarFeed.revoked_at.is_(None))
        .order_by(CalendarFeed.id)
        .with_for_update()
    ).all()
    for row in rows:
        row.revoked_by, row.revoked_at = by, now
        session.flush()
        _note(session, "calendar_feed_revoked", row, by, channel, now)
    return len(rows)


def _note(session: Session, kind: str, row: CalendarFeed, by: str, channel: str, now: datetime) -> None:
    payload: dict[str, Any] = {"id": row.id} | {name: getattr(row, name) for name in _FIELDS}
    payload |= {name: at.isoformat() if (at := getattr(row, name)) else None for name in _TIMES}
    lifecycle.record_act(session, kind, payload, actor=by, channel=channel, now=now)


def fold(rows: dict[tuple[Any, ...], dict[str, Any]], event: IncidentEvent) -> None:
    """The table of addresses as its events give it."""
    if event.kind in ("calendar_feed_made", "calendar_feed_revoked"):
        given = event.payload
        rows[given["id"],] = {name: given[name] for name in _FIELDS} | {
            name: datetime.fromisoformat(given[name]) if given[name] else None for name in _TIMES
        }
