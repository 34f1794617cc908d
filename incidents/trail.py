"""The record as an auditor reads it: newest first, narrowed by kind, person, incident and time. Read-only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from incidents.models import Incident, IncidentEvent
from incidents.queries import EventView, event_view


@dataclass(frozen=True)
class TrailPage:
    """One page of the record. `next_before` asks for the page of older events; None when this is the last."""

    rows: list[EventView]
    numbers: dict[int, str]
    next_before: int | None


def read(
    session: Session,
    *,
    kind: str = "",
    actor: str = "",
    incident_id: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    before: int | None = None,
    limit: int = 100,
) -> TrailPage:
    """Events with a number below `before`, newest first. `since` and `until` bound the time of recording, `until` excluded.

    `incident_id`: the incident's own history; looks and exports that name it in their payload are found by kind and person.
    """
    query = select(IncidentEvent)
    if kind:
        query = query.where(IncidentEvent.kind == kind)
    if actor:
        query = query.where(IncidentEvent.actor == actor)
    if incident_id is not None:
        query = query.where(
            or_(
                IncidentEvent.incident_id == incident_id,
                IncidentEvent.payload["incident_id"].as_integer() == incident_id,
            )
        )
    if since is not None:
        query = query.where(IncidentEvent.recorded_at >= since)
    if until is not None:
        query = query.where(IncidentEvent.recorded_at < until)
    if before is not None:
        query = query.where(IncidentEvent.seq < before)
    rows = list(session.scalars(query.order_by(IncidentEvent.seq.desc()).limit(limit + 1)))
    shown = [event_view(row) for row in rows[:limit]]
    about = {about_of(row) for row in shown} - {None}
    numbers = {
        row.id: row.number
        for row in session.execute(select(Incident.id, Incident.number).where(Incident.id.in_(about)))
        if row.number
    }
    return TrailPage(shown, numbers, shown[-1].seq if len(rows) > limit else None)


def about_of(event: EventView) -> int | None:
    """The incident that an event belongs to, or that a look, an export or a refusal was about."""
    if event.incident_id is not None:
        return event.incident_id
    found = event.payload.get("incident_id")
    return found if isinstance(found, int) else None
