"""Heads of the chain at the end of each day: told outside (mail, report), they make every cut tail visible."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents import events, lifecycle
from incidents.models import AuditHead, IncidentEvent


@dataclass(frozen=True)
class NotedHead:
    """The end of the chain as it was noted for one local day."""

    day: str
    seq: int
    hash: str
    noted_at: datetime

    def __str__(self) -> str:
        return f"{self.day} {self.seq}:{self.hash}"


def note(session: Session, day: str, ends_at: datetime, now: datetime) -> bool:
    """Note the last event recorded before `ends_at` as the head of `day`; False when that was done before."""
    events.lock_chain(session)
    if session.get(AuditHead, day) is not None:
        return False
    last = session.execute(
        select(IncidentEvent.seq, IncidentEvent.hash)
        .where(IncidentEvent.recorded_at < ends_at)
        .order_by(IncidentEvent.seq.desc())
        .limit(1)
    ).first()
    seq, digest = (last.seq, last.hash) if last else (0, events.GENESIS)
    lifecycle.record_act(
        session,
        "head_noted",
        {"day": day, "seq": seq, "hash": digest, "noted_at": now.isoformat()},
        actor="system",
        channel="system",
        now=now,
    )
    session.add(AuditHead(day=day, seq=seq, hash=digest, noted_at=now, anchors=[]))
    session.flush()
    return True


def noted(session: Session, since: str = "", until: str = "9999") -> list[NotedHead]:
    """Heads of the days from `since` to `until` (ISO days, both included), oldest first."""
    rows = session.scalars(
        select(AuditHead).where(AuditHead.day >= since, AuditHead.day <= until).order_by(AuditHead.day)
    )
    return [NotedHead(row.day, row.seq, row.hash, row.noted_at) for row in rows]


def broken(session: Session, since: str = "") -> str:
    """The first head noted for `since` (an ISO day) or later that the chain does not hold any more, in words; "" when all are there."""
    for head in noted(session, since):
        if head.seq == 0:
            continue
        stored = session.scalar(select(IncidentEvent.hash).where(IncidentEvent.seq == head.seq))
        if stored != head.hash:
            return f"the head noted for {head.day} ({head.seq}) is not in this chain: events were cut off or rewritten"
    return ""


def fold(rows: dict[tuple[Any, ...], dict[str, Any]], event: IncidentEvent) -> None:
    """The table as its events give it."""
    if event.kind == "head_noted":
        given = event.payload
        rows[given["day"],] = {
            "seq": given["seq"],
            "hash": given["hash"],
            "noted_at": datetime.fromisoformat(given["noted_at"]),
            "anchors": [],
        }
