"""What the accountability table asks the database beyond the stories of incidents: first fetch, cards, measures, clocks by number.

Periods are half-open [since, until) of aware datetimes; nothing recorded later than `until` is looked at, except what
may correct a past period on purpose (appeals, which incidents.appeals answers).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from incidents.chunks import chunks
from incidents.models import Accountability, Incident, IncidentPost, Outbox, Post


@dataclass(frozen=True)
class Card:
    """A yellow or red card that was dealt, counted once whoever read it. `clock`: number of its clock."""

    incident_id: int
    kind: str  # yellow | red
    clock: int
    at: datetime


@dataclass(frozen=True)
class Measure:
    """A step of the ladder that a named person approved in the period."""

    incident_id: int
    number: str
    key: str
    level: str
    department: str
    decided_at: datetime


def first_fetched(session: Session, incident_ids: Collection[int]) -> dict[int, datetime]:
    """When the first post of each incident reached us; incidents whose posts are gone are left out."""
    found: dict[int, datetime] = {}
    for some in chunks(sorted(incident_ids)):
        rows = session.execute(
            select(IncidentPost.incident_id, func.min(Post.fetched_at))
            .join(Post, Post.id == IncidentPost.post_id)
            .where(IncidentPost.incident_id.in_(some))
            .group_by(IncidentPost.incident_id)
        )
        found.update({row[0]: row[1] for row in rows})
    return found


def cards(session: Session, since: datetime, until: datetime) -> list[Card]:
    """Cards of the period: one for each clock and end, however many people were told."""
    rows = session.execute(
        select(Outbox.incident_id, Outbox.kind, Outbox.step, func.min(Outbox.created_at))
        .where(
            Outbox.kind.in_(("yellow", "red")),
            Outbox.incident_id.is_not(None),
            Outbox.state != "superseded",
            Outbox.created_at >= since,
            Outbox.created_at < until,
        )
        .group_by(Outbox.incident_id, Outbox.kind, Outbox.step)
    )
    # alerts.cards numbers a card by its clock; one that was moved by -(clock * 16 + how often)
    return [
        Card(about, kind, step if step > 0 else -step // 16, at)
        for about, kind, step, at in sorted(rows, key=lambda row: (row[3], row[0], row[2]))
        if about is not None
    ]


def measures(session: Session, since: datetime, until: datetime) -> list[Measure]:
    """Steps that were approved in the period, in the order of their decision."""
    rows = session.execute(
        select(Accountability, Incident.number)
        .join(Incident, Incident.id == Accountability.incident_id)
        .where(
            Accountability.state == "approved",
            Accountability.decided_at >= since,
            Accountability.decided_at < until,
        )
        .order_by(Accountability.decided_at, Accountability.id)
    )
    return [
        Measure(row.incident_id, number or "", row.key, row.level, row.department, row.decided_at)
        for row, number in rows
        if row.decided_at is not None
    ]
