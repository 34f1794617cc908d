"""Who looked at what: one event for each person, thing and hour, so that the chain tells of every look and is not flooded.

What is new since the last look (`about` names the newest post) is a new look. See docs/decisions/0022.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents import events
from incidents.models import IncidentEvent
from incidents.session import Database


def note(
    db: Database,
    kind: str,
    payload: dict[str, Any],
    *,
    about: str,
    actor: str,
    channel: str,
    now: datetime,
    incident_id: int | None = None,
) -> bool:
    """Record a look in a transaction of its own; False when this hour tells of it already. A repeat writes nothing.

    `about` says what was seen: the same person sees the same thing again within the hour without a second event.
    """
    key = _key(kind, about, actor, channel, now)
    with db.reading() as session:
        if _known(session, key):
            return False
    with db.transaction() as session:
        events.lock_chain(session)
        if _known(session, key):
            return False
        events.append(
            session,
            session.info["audit_key"],
            kind=kind,
            actor=actor,
            channel=channel,
            now=now,
            payload=payload if incident_id is None else {**payload, "incident_id": incident_id},
            idempotency_key=key,
        )
    return True


def _key(kind: str, about: str, actor: str, channel: str, now: datetime) -> str:
    told = hashlib.sha256("\x1f".join((kind, about, actor, channel)).encode()).hexdigest()[:40]
    return f"look:{told}:{now.astimezone(UTC):%Y%m%d%H}"


def _known(session: Session, key: str) -> bool:
    return session.scalar(select(IncidentEvent.seq).where(IncidentEvent.idempotency_key == key)) is not None
