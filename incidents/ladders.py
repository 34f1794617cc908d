"""Frozen ladders: the rungs that an epoch began with stay what they were, whatever becomes of the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from incidents.models import IncidentEvent, Ladder


@dataclass(frozen=True)
class LadderView:
    """The ladder of one epoch. `frozen` is the route as it was when the ladder began."""

    incident_id: int
    epoch: int
    route: str
    frozen: dict[str, Any]
    started_at: datetime
    outer_due_at: datetime | None
    stopped_at: datetime | None


def begin(
    session: Session,
    incident_id: int,
    epoch: int,
    *,
    route: str,
    frozen: dict[str, Any],
    now: datetime,
    outer_due_at: datetime | None,
) -> None:
    """Freeze the rungs of an epoch; nothing happens when that was done before."""
    if session.get(Ladder, (incident_id, epoch)) is None:
        session.add(
            Ladder(
                incident_id=incident_id,
                epoch=epoch,
                route=route,
                steps=[frozen],
                started_at=now,
                outer_due_at=outer_due_at,
            )
        )
        session.flush()


def get(session: Session, incident_id: int, epoch: int) -> LadderView | None:
    """The ladder of an epoch; None for one that began before ladders were kept."""
    row = session.get(Ladder, (incident_id, epoch))
    if row is None or not row.steps:
        return None
    return LadderView(
        row.incident_id, row.epoch, row.route, row.steps[0], row.started_at, row.outer_due_at, row.stopped_at
    )


def stop(session: Session, incident_id: int, up_to_epoch: int, now: datetime) -> list[int]:
    """Note that nobody needs to be asked any more in these epochs; returns the epochs whose ladder ended just now."""
    mine = (Ladder.incident_id == incident_id, Ladder.epoch <= up_to_epoch, Ladder.stopped_at.is_(None))
    epochs = list(session.scalars(select(Ladder.epoch).where(*mine)))
    if epochs:
        session.execute(update(Ladder).where(*mine).values(stopped_at=now))
    return epochs


def asked_roles(session: Session, incident_id: int, epoch: int) -> dict[str, set[str]]:
    """Who was asked in this epoch, and in which roles."""
    found: dict[str, set[str]] = {}
    rows = session.scalars(
        select(IncidentEvent.payload).where(
            IncidentEvent.incident_id == incident_id,
            IncidentEvent.kind == "rung_fired",
            IncidentEvent.epoch == epoch,
        )
    )
    for payload in rows:
        for person in payload.get("people") or []:
            found.setdefault(str(person.get("id")), set()).add(str(person.get("role")))
    return found
