"""The append-only, hash-chained record. Every change of an incident and every act of a person is one row here.

hash(n) = HMAC-SHA256(audit key, hash(n-1) + canonical JSON of row n). Rows are numbered 1, 2, 3 ... without
gaps, so a deleted, changed, inserted or moved row is found by `verify`; a cut tail is found by comparing with
a head that was noted elsewhere (the weekly report prints it).
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Function, bindparam, func, select, true
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, aliased

from incidents.models import Incident, IncidentEvent, Meta
from incidents.stored import oddities

GENESIS = "0" * 64
#: seconds that a silent process may hold a lock for which others wait; a stopped one must not stop the house
HELD_IDLE_S = 15
#: key of PostgreSQL's advisory lock before the chain's row. Those who wait for an advisory lock are served in their order; a row
#: that was just let go goes to whoever asks first, and that may be the job with the next batch and not the person who has to wake up
_LINE = 7_302_018_002
#: note of a session: the transaction in which it holds the chain
_HELD = "chain held in"
#: key in Session.info: this transaction and the last event that it has written
_END = "chain end"


@dataclass(frozen=True)
class Head:
    """The end of the chain: number and hash of the last event."""

    seq: int
    hash: str


@dataclass(frozen=True)
class Verdict:
    """Result of checking the chain. `broken_at` is the first wrong number, with the reason in words."""

    ok: bool
    events: int
    head: Head
    broken_at: int | None = None
    reason: str = ""


def canonical(event: IncidentEvent) -> bytes:
    """The signed form of one row: every column but the hashes, keys sorted, UTC times."""
    return json.dumps(
        {
            "seq": event.seq,
            "incident_id": event.incident_id,
            "version": event.version,
            "kind": event.kind,
            "epoch": event.epoch,
            "round": event.round,
            "actor": event.actor,
            "channel": event.channel,
            "occurred_at": event.occurred_at.astimezone(UTC).isoformat(),
            "recorded_at": event.recorded_at.astimezone(UTC).isoformat(),
            "payload": event.payload,
            "idempotency_key": event.idempotency_key,
        },
        ensure_ascii=False,
        sort_keys=True,
        separators=(",", ":"),
    ).encode()


def chain_hash(key: bytes, previous: str, event: IncidentEvent) -> str:
    """The hash that ties `event` to everything before it."""
    return sign(key, previous, canonical(event))


def sign(key: bytes, previous: str, content: bytes) -> str:
    """The hash of one row in its canonical form."""
    return hmac.new(key, previous.encode() + content, hashlib.sha256).hexdigest()


def read_canonical(content: bytes) -> dict[str, Any]:
    """What a canonical form says. Raises ValueError when it is none."""
    said = json.loads(content)
    if not isinstance(said, dict) or "seq" not in said or "payload" not in said:
        raise ValueError("not the canonical form of an event")
    return said


def head(session: Session) -> Head:
    """Number and hash of the last event; (0, zeros) in an empty database."""
    row = session.execute(
        select(IncidentEvent.seq, IncidentEvent.hash).order_by(IncidentEvent.seq.desc()).limit(1)
    ).first()
    return Head(row.seq, row.hash) if row else Head(0, GENESIS)


#: asked at every tick: built once
_NEWEST = (
    select(IncidentEvent.seq, IncidentEvent.hash, IncidentEvent.recorded_at)
    .order_by(IncidentEvent.seq.desc())
    .limit(1)
)
_AFTER = (
    select(IncidentEvent)
    .where(IncidentEvent.seq > bindparam("seen"))
    .order_by(IncidentEvent.seq)
    .limit(bindparam("most"))
)


def lock_chain(session: Session) -> None:
    """One writer at the end of the chain. On SQLite BEGIN IMMEDIATE has done that already.

    On PostgreSQL a process that stands still with the lock in its hand loses it with its transaction after HELD_IDLE_S.
    """
    held = session.info.get(_HELD)
    if session.get_bind().dialect.name != "postgresql" or (
        held is not None and held is session.get_transaction()
    ):
        return
    turn = select(func.pg_advisory_xact_lock(_LINE).label("had")).cte("turn")
    session.execute(
        select(Meta.key, let_go_when_idle())
        .select_from(turn.join(Meta, true()))
        .where(Meta.key == "chain")
        .with_for_update(of=Meta)
    )
    if not session.in_nested_transaction():
        # a savepoint that is rolled back gives back what was locked after it; this lock lasts to the end
        session.info[_HELD] = session.get_transaction()


def let_go_when_idle() -> Function[str]:
    """Column that ends this transaction of PostgreSQL when its process says nothing for HELD_IDLE_S."""
    return func.set_config("idle_in_transaction_session_timeout", f"{HELD_IDLE_S}s", True)


def append(
    session: Session,
    key: bytes,
    *,
    kind: str,
    actor: str,
    channel: str,
    now: datetime,
    payload: dict[str, Any] | None = None,
    incident_id: int | None = None,
    version: int | None = None,
    epoch: int = 0,
    round: int = 0,
    occurred_at: datetime | None = None,
    idempotency_key: str | None = None,
) -> IncidentEvent:
    """Add one event at the end of the chain, inside the caller's transaction.

    `recorded_at` never falls: when the machine's clock was set back, the last event's time is used.
    """
    lock_chain(session)
    last = _last(session)
    recorded = max(now, last.recorded_at) if last else now
    occurred = min(occurred_at or now, recorded)
    event = IncidentEvent(
        seq=(last.seq if last else 0) + 1,
        incident_id=incident_id,
        version=version,
        kind=kind,
        epoch=epoch,
        round=round,
        actor=actor,
        channel=channel,
        occurred_at=occurred,
        recorded_at=recorded,
        # through JSON once, so that what is signed equals what a reader gets back
        payload=json.loads(json.dumps(payload or {}, ensure_ascii=False)),
        idempotency_key=idempotency_key,
    )
    event.prev_hash = last.hash if last else GENESIS
    event.hash = chain_hash(key, event.prev_hash, event)
    session.add(event)
    session.flush()
    session.info[_END] = (session.get_transaction(), event)
    return event


def _last(session: Session) -> Any:
    """Number, hash and time of the last event; whoever holds the chain has written it or finds it unchanged."""
    transaction, event = session.info.get(_END, (None, None))
    # a savepoint that was rolled back has put its events out of the session
    if event is not None and transaction is session.get_transaction() and event in session:
        return event
    return session.execute(_NEWEST).one_or_none()


def events_after(session: Session, seq: int, limit: int = 1000) -> list[IncidentEvent]:
    """Events with a number above `seq`, oldest first: how a reader follows the record."""
    return list(session.scalars(_AFTER, {"seen": seq, "most": limit}))


def count(session: Session) -> int:
    """How many events there are."""
    return session.scalar(select(func.count()).select_from(IncidentEvent)) or 0


def all_events(session: Session, batch: int = 2000) -> Iterator[IncidentEvent]:
    """Every event, oldest first, read in batches."""
    seq = 0
    while rows := events_after(session, seq, batch):
        yield from rows
        seq = rows[-1].seq
        session.expunge_all()


@dataclass(frozen=True)
class Proof:
    """What checking the events of one incident gave. `wrong`: number of the first event that does not hold, 0 when all do."""

    events: int
    first: int
    last: int
    hash: str  # of the last one
    wrong: int = 0


def proof_of(session: Session, key: bytes, incident_id: int) -> Proof:
    """Check each event of one incident: its own hash, and that it follows the event before it in the chain.

    What stands between them is checked by `verify` over the whole chain.
    """
    before = aliased(IncidentEvent)
    rows = session.execute(
        select(IncidentEvent, before.hash)
        .outerjoin(before, before.seq == IncidentEvent.seq - 1)
        .where(IncidentEvent.incident_id == incident_id)
        .order_by(IncidentEvent.seq)
    ).all()
    wrong = 0
    for event, previous in rows:
        expected = previous if event.seq > 1 else GENESIS
        if event.prev_hash != expected or not _signed(key, event.prev_hash, event):
            wrong = event.seq
            break
    if not rows:
        return Proof(0, 0, 0, GENESIS)
    return Proof(len(rows), rows[0][0].seq, rows[-1][0].seq, rows[-1][0].hash, wrong)


def _signed(key: bytes, previous: str, event: IncidentEvent) -> bool:
    """Whether the hash of a row is that of its content; a row of other types than ours has none."""
    try:
        return hmac.compare_digest(event.hash, chain_hash(key, previous, event))
    except (TypeError, AttributeError):
        return False


def verify(session: Session, key: bytes, *, known_head: Head | None = None) -> Verdict:
    """Walk the whole chain; a cut tail is found where an incident had got further than its events.

    With `known_head` (from a report or printout) every cut tail is found.
    """
    previous, expected, seen_head = GENESIS, 1, False
    rows = all_events(session)
    while True:
        try:
            event = next(rows, None)
        except (ValueError, TypeError, OperationalError) as exc:
            # no JSON, no time, no text: nothing that this program wrote
            if isinstance(exc, OperationalError) and "decode" not in str(exc.orig):
                raise
            at = Head(expected - 1, previous)
            return Verdict(
                False,
                expected - 1,
                at,
                expected,
                f"event {expected} or one soon after it cannot be read: {exc}",
            )
        if event is None:
            break
        at = Head(expected - 1, previous)
        if event.seq != expected:
            return Verdict(False, expected - 1, at, expected, f"event {expected} is missing")
        if event.prev_hash != previous:
            return Verdict(
                False, expected - 1, at, expected, f"event {expected} does not follow event {expected - 1}"
            )
        if not _signed(key, previous, event):
            return Verdict(
                False,
                expected - 1,
                at,
                expected,
                f"event {expected} was changed after it was written, or the key is another one",
            )
        previous, expected = event.hash, expected + 1
        seen_head = seen_head or (known_head is not None and Head(event.seq, event.hash) == known_head)
    end = Head(expected - 1, previous)
    if (odd := next(oddities(session), None)) is not None:
        return Verdict(
            False, end.seq, end, odd[0], f"event {odd[0]} was changed after it was written: {odd[1]}"
        )
    if known_head is not None and known_head.seq > 0 and not seen_head:
        return Verdict(
            False,
            end.seq,
            end,
            known_head.seq,
            f"the noted head {known_head.seq} is not in this chain: events were cut off or rewritten",
        )
    if (number := _ahead_of_its_events(session)) is not None:
        return Verdict(
            False,
            end.seq,
            end,
            end.seq + 1,
            f"incident {number} has got further than its events: events after {end.seq} were cut off",
        )
    return Verdict(True, end.seq, end)


def _ahead_of_its_events(session: Session) -> str | None:
    """Number of an incident whose version no event has: each move of an incident is one event with the next version."""
    newest = (
        select(func.max(IncidentEvent.version))
        .where(IncidentEvent.incident_id == Incident.id)
        .scalar_subquery()
    )
    row = session.execute(
        select(Incident.id, Incident.number)
        .where(Incident.version > func.coalesce(newest, 0))
        .order_by(Incident.id)
        .limit(1)
    ).first()
    return None if row is None else row.number or str(row.id)
