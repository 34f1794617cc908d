"""Evaluations that were computed: of which incident or period, which revision, what they said. Old revisions are kept.

`kind` of a revision: first; update (people acted or time passed since); correction (late data changed what had been final).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session, aliased

from incidents.chunks import chunks
from incidents.models import EvaluationRun, Incident
from incidents.states import State

#: what a row can be about
SCOPES = ("incident", "period")


@dataclass(frozen=True)
class Run:
    """One revision."""

    id: int
    scope: str
    subject: str
    incident_id: int | None
    revision: int
    kind: str
    created_at: datetime
    digest: str
    model: dict[str, Any]
    next_at: datetime | None


def _view(row: EvaluationRun) -> Run:
    return Run(
        row.id,
        row.scope,
        row.subject,
        row.incident_id,
        row.revision,
        row.kind,
        row.created_at,
        row.digest,
        row.model,
        row.next_at,
    )


def runs(session: Session, scope: str, subject: str) -> list[Run]:
    """All revisions about one incident (by its number) or one period, the first one first."""
    query = select(EvaluationRun).where(EvaluationRun.scope == scope, EvaluationRun.subject == subject)
    return [_view(row) for row in session.scalars(query.order_by(EvaluationRun.revision))]


def latest(session: Session, scope: str, subject: str) -> Run | None:
    """The newest revision, or None."""
    row = _latest(session, scope, subject)
    return _view(row) if row else None


def _latest(session: Session, scope: str, subject: str) -> EvaluationRun | None:
    query = select(EvaluationRun).where(EvaluationRun.scope == scope, EvaluationRun.subject == subject)
    return session.scalars(query.order_by(EvaluationRun.revision.desc()).limit(1)).first()


def periods(session: Session, limit: int = 60) -> list[str]:
    """Periods that were evaluated, the latest first."""
    query = (
        select(EvaluationRun.subject)
        .where(EvaluationRun.scope == "period")
        .group_by(EvaluationRun.subject)
        .order_by(func.max(EvaluationRun.created_at).desc(), EvaluationRun.subject.desc())
    )
    return list(session.scalars(query.limit(limit)))


def save(
    session: Session,
    *,
    scope: str,
    subject: str,
    incident_id: int | None,
    digest: str,
    model: dict[str, Any],
    final_before: bool,
    version: int,
    next_at: datetime | None,
    now: datetime,
) -> tuple[Run, bool]:
    """Keep a revision; the same digest as the newest one writes nothing new. Returns the revision and whether it is new.

    `final_before`: what the newest revision said was not to change any more; if it does, this one is a correction.
    """
    known = _latest(session, scope, subject)
    if known is not None and known.digest == digest:
        known.version, known.next_at = version, next_at
        session.flush()
        return _view(known), False
    row = EvaluationRun(
        scope=scope,
        subject=subject,
        incident_id=incident_id,
        revision=known.revision + 1 if known else 1,
        kind="first" if known is None else "correction" if final_before else "update",
        created_at=now,
        digest=digest,
        model=model,
        version=version,
        next_at=next_at,
    )
    session.add(row)
    session.flush()
    return _view(row), True


def due(session: Session, now: datetime, limit: int) -> list[int]:
    """Incidents to be evaluated: answered ones without an evaluation, evaluated ones that moved or whose time has come."""
    newer = aliased(EvaluationRun)
    newest = (
        select(func.max(newer.id))
        .where(newer.scope == "incident", newer.incident_id == Incident.id)
        .correlate(Incident)
        .scalar_subquery()
    )
    over = [str(State.MERGED), str(State.FALSE_ALARM), str(State.WATCHING)]
    query = (
        select(Incident.id)
        .outerjoin(EvaluationRun, EvaluationRun.id == newest)
        .where(
            Incident.number.is_not(None),
            Incident.state.not_in(over),
            or_(
                EvaluationRun.id.is_(None) & Incident.responded_at.is_not(None),
                EvaluationRun.version != Incident.version,
                EvaluationRun.next_at <= now,
            ),
        )
        .order_by(EvaluationRun.created_at, Incident.id)
        .limit(limit)
    )
    return list(session.scalars(query))


def of_incidents(session: Session, numbers: Sequence[str]) -> dict[str, Run]:
    """The newest revision of each of these incidents that was evaluated."""
    found: dict[str, Run] = {}
    for chunk in chunks(sorted(set(numbers))):
        newest = (
            select(func.max(EvaluationRun.id))
            .where(EvaluationRun.scope == "incident", EvaluationRun.subject.in_(chunk))
            .group_by(EvaluationRun.subject)
        )
        for row in session.scalars(select(EvaluationRun).where(EvaluationRun.id.in_(newest))):
            found[row.subject] = _view(row)
    return found
