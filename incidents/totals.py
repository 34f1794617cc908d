"""How much there is: whole numbers of the database, for summaries and proofs."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from incidents.models import Incident, IncidentEvent, Outbox, Post


@dataclass(frozen=True)
class Totals:
    """`alerts` are pages to officers, whatever became of them; `watched` are clusters that have not emerged."""

    posts: int
    unjudged: int
    incidents: int
    watched: int
    events: int
    messages: int
    alerts: int


def totals(session: Session) -> Totals:
    """Count everything."""

    def count(table: type, *where: object) -> int:
        return session.scalar(select(func.count()).select_from(table).where(*where)) or 0  # type: ignore[arg-type]

    return Totals(
        posts=count(Post),
        unjudged=count(Post, Post.judged_at.is_(None)),
        incidents=count(Incident, Incident.version > 0),
        watched=count(Incident, Incident.version == 0),
        events=count(IncidentEvent),
        messages=count(Outbox),
        alerts=count(Outbox, Outbox.kind == "page"),
    )
