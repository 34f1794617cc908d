"""The outbox: one row for each message to one recipient through one channel.

A row is written in the transaction of its event, then claimed (a lease, committed), then sent, then recorded.
A crash at any point leaves either a pending row or a `sending` row whose lease runs out; the sender then knows
that the outcome of the earlier try is unknown (`attempts` > 0) and looks before it sends again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid5

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from incidents.models import Outbox, OutboxAttempt

_NAMESPACE = UUID("6d1f6a52-5a0e-5f8e-9d0b-8d2f1c0a7e11")
Result = Literal["sent", "retry", "refused", "unknown"]


@dataclass(frozen=True)
class OutboxRow:
    """A message as the sender and the console see it."""

    id: str
    incident_id: int | None
    kind: str
    epoch: int
    step: int
    recipient: str
    channel: str
    priority: int
    message: dict[str, Any]
    state: str
    attempts: int  # tries begun, this one included
    created_at: datetime
    not_before: datetime
    sent_at: datetime | None
    provider_ref: str
    error: str
    #: True when an earlier try was cut off: the message may have arrived already
    uncertain: bool = False


def message_id(
    incident_id: int | None,
    epoch: int,
    step: int,
    recipient: str,
    channel: str,
    kind: str = "page",
    period: str = "",
) -> str:
    """The row's key: the same message always has the same id, so it can be enqueued once only."""
    return str(uuid5(_NAMESPACE, f"{incident_id}/{epoch}/{step}/{recipient}/{channel}/{kind}/{period}"))


def _row(outbox: Outbox, *, uncertain: bool = False) -> OutboxRow:
    return OutboxRow(
        id=outbox.id,
        incident_id=outbox.incident_id,
        kind=outbox.kind,
        epoch=outbox.epoch,
        step=outbox.step,
        recipient=outbox.recipient,
        channel=outbox.channel,
        priority=outbox.priority,
        message=outbox.message,
        state=outbox.state,
        attempts=outbox.attempts,
        created_at=outbox.created_at,
        not_before=outbox.not_before,
        sent_at=outbox.sent_at,
        provider_ref=outbox.provider_ref,
        error=outbox.error,
        uncertain=uncertain,
    )


def enqueue(
    session: Session,
    *,
    id: str,
    incident_id: int | None,
    kind: str,
    recipient: str,
    channel: str,
    message: dict[str, Any],
    now: datetime,
    epoch: int = 0,
    step: int = 0,
    priority: int = 5,
    not_before: datetime | None = None,
) -> bool:
    """Add a message; False when a row with this id exists already (nothing is changed then)."""
    if session.get(Outbox, id) is not None:
        return False
    session.add(
        Outbox(
            id=id,
            incident_id=incident_id,
            kind=kind,
            epoch=epoch,
            step=step,
            recipient=recipient,
            channel=channel,
            priority=priority,
            message=message,
            created_at=now,
            not_before=not_before or now,
        )
    )
    session.flush()
    return True


def claim(
    session: Session, now: datetime, *, lease_s: float, limit: int = 20, channels: Sequence[str] | None = None
) -> list[OutboxRow]:
    """Take up to `limit` due messages, the most urgent first, under a lease of `lease_s` seconds.

    The lease must be much longer than a send. Two senders never hold one row at once.
    """
    due = or_(Outbox.state == "pending", (Outbox.state == "sending") & (Outbox.lease_until < now))
    query = select(Outbox).where(due, Outbox.not_before <= now)
    if channels is not None:
        query = query.where(Outbox.channel.in_(channels))
    query = (
        query.order_by(Outbox.priority, Outbox.created_at, Outbox.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    taken = []
    for outbox in session.scalars(query):
        # the last try left no result: cut off between send and record
        uncertain = outbox.state == "sending" or outbox.error.startswith("unknown:")
        outbox.state = "sending"
        outbox.attempts += 1
        outbox.lease_until = now + timedelta(seconds=lease_s)
        session.add(OutboxAttempt(outbox_id=outbox.id, attempt=outbox.attempts, started_at=now))
        taken.append(_row(outbox, uncertain=uncertain))
    session.flush()
    return taken


def record(
    session: Session,
    id: str,
    result: Result,
    *,
    now: datetime,
    detail: str = "",
    provider_ref: str = "",
    retry_at: datetime | None = None,
) -> None:
    """Write down what the channel said. `retry` and `unknown` need `retry_at`, the time of the next try."""
    outbox = session.get_one(Outbox, id)
    attempt = session.scalar(
        select(OutboxAttempt).where(OutboxAttempt.outbox_id == id).order_by(OutboxAttempt.id.desc()).limit(1)
    )
    if attempt is not None:
        attempt.finished_at, attempt.result, attempt.detail = now, result, detail[:2000]
    outbox.lease_until = None
    if result == "sent":
        outbox.state, outbox.sent_at, outbox.provider_ref, outbox.error = "sent", now, provider_ref[:200], ""
    elif result == "refused":
        outbox.state, outbox.error = "refused", detail[:2000]
    else:
        if retry_at is None:
            raise ValueError(f"result {result!r} of message {id} needs retry_at")
        outbox.state, outbox.not_before = "pending", retry_at
        outbox.error = f"{result}: {detail}"[:2000]


def supersede(
    session: Session,
    incident_id: int,
    now: datetime,
    *,
    kinds: Sequence[str] | None = None,
    below_epoch: int | None = None,
) -> int:
    """Withdraw messages that were not sent yet and are no longer needed; returns how many."""
    change = update(Outbox).where(Outbox.incident_id == incident_id, Outbox.state == "pending")
    if kinds is not None:
        change = change.where(Outbox.kind.in_(kinds))
    if below_epoch is not None:
        change = change.where(Outbox.epoch < below_epoch)
    done = session.execute(change.values(state="superseded", error=f"superseded at {now.isoformat()}"))
    return int(done.rowcount)  # type: ignore[attr-defined]


def withdraw(session: Session, id: str, reason: str, now: datetime) -> None:
    """Withdraw one claimed message just before it would have been sent."""
    outbox = session.get_one(Outbox, id)
    outbox.state, outbox.lease_until, outbox.error = "superseded", None, f"{reason} at {now.isoformat()}"


def get(session: Session, id: str) -> OutboxRow | None:
    """One message, or None."""
    outbox = session.get(Outbox, id)
    return _row(outbox) if outbox else None


def messages_of(session: Session, incident_id: int) -> list[OutboxRow]:
    """All messages about one incident, oldest first."""
    return [
        _row(row)
        for row in session.scalars(
            select(Outbox)
            .where(Outbox.incident_id == incident_id)
            .order_by(Outbox.created_at, Outbox.step, Outbox.id)
        )
    ]


def latest(session: Session, limit: int = 100, state: str | None = None) -> list[OutboxRow]:
    """The newest messages, newest first."""
    query = select(Outbox).order_by(Outbox.created_at.desc(), Outbox.id).limit(limit)
    return [_row(row) for row in session.scalars(query.where(Outbox.state == state) if state else query)]


@dataclass(frozen=True)
class Backlog:
    """How much waits. `oldest_due` is the earliest time at which a waiting message could have gone out."""

    waiting: int
    overdue: int
    refused: int
    oldest_due: datetime | None


def backlog(session: Session, now: datetime) -> Backlog:
    """Messages waiting, and those that could have gone out more than a minute ago."""
    todo = Outbox.state.in_(("pending", "sending"))
    late = now - timedelta(minutes=1)
    count = select(func.count()).select_from(Outbox)
    return Backlog(
        waiting=session.scalar(count.where(todo)) or 0,
        overdue=session.scalar(count.where(todo, Outbox.not_before < late)) or 0,
        refused=session.scalar(count.where(Outbox.state == "refused")) or 0,
        oldest_due=session.scalar(select(func.min(Outbox.not_before)).where(todo)),
    )
