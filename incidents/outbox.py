"""The outbox: one row for each message to one recipient through one channel.

A row is written in the transaction of its event, then claimed (a lease, committed), then sent, then recorded.
A crash at any point leaves either a pending row or a `sending` row whose lease runs out; the sender then knows
that the outcome of the earlier try is unknown (`attempts` > 0) and looks before it sends again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid5
from zlib import crc32

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    union,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from incidents.events import let_go_when_idle
from incidents.models import Outbox, OutboxAttempt
from incidents.session import lives

_NAMESPACE = UUID("6d1f6a52-5a0e-5f8e-9d0b-8d2f1c0a7e11")
Result = Literal["sent", "retry", "refused", "unknown"]
#: begins the note of an open try: number of the process that makes it
_BY = "by "
#: after so long a call of a dead process has come through, or never will
_LAST_CALL = timedelta(seconds=10)
#: first number of the advisory locks of this file on PostgreSQL ("out")
_LOCKS = 0x6F7574
#: states of a message that is not done with; literals, for a database proves only by them that its partial index will do
_OPEN: tuple[ColumnElement[str], ...] = (literal_column("'pending'"), literal_column("'sending'"))
#: note of a message whose bundle was refused: it goes by itself from now on
FELL_APART = "its bundle was refused"


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
    robot: str = ""  # whose limit it uses up
    person: str = ""  # officer for whom it is
    bundled_in: str | None = None  # the message that says this one too


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


def robot_of(channel: str, recipient: str) -> str:
    """The counter of a channel's limits that a message to this recipient uses up."""
    return f"{channel}:{recipient}"[:120]


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
        robot=outbox.robot,
        person=outbox.person,
        bundled_in=outbox.bundled_in,
    )


#: one statement, and no quarrel with another process that writes the same message
_TABLE: Any = Outbox.__table__
_NEW = {
    name: insert(_TABLE).on_conflict_do_nothing(index_elements=["id"]).returning(_TABLE.c.id)
    for name, insert in (("postgresql", postgresql.insert), ("sqlite", sqlite.insert))
}


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
    row = {
        "id": id,
        "incident_id": incident_id,
        "kind": kind,
        "epoch": epoch,
        "step": step,
        "recipient": recipient,
        "channel": channel,
        "priority": priority,
        "message": message,
        "created_at": now,
        "not_before": not_before or now,
        "robot": robot_of(channel, recipient),
        "person": str(message.get("person") or "")[:60],
    }
    done = session.execute(_NEW[session.get_bind().dialect.name], row)
    return done.scalar() is not None


def hold(session: Session, channels: Sequence[str] | None = None) -> None:
    """Until the end of this transaction nobody else chooses messages of these channels (None: of any), nor counts them.

    Needed wherever a choice rests on a count: what one sender takes must be counted by the next. On SQLite BEGIN
    IMMEDIATE has done that already. Who needs the chain as well (events.lock_chain) takes this lock first.
    """
    if session.get_bind().dialect.name != "postgresql":
        return
    everything = func.pg_advisory_xact_lock_shared if channels is not None else func.pg_advisory_xact_lock
    session.execute(select(everything(_LOCKS, 0), let_go_when_idle()))
    for key in sorted({_lock_of(name) for name in channels or ()}):
        session.execute(select(func.pg_advisory_xact_lock(_LOCKS, key)))


def _lock_of(channel: str) -> int:
    """Number of a channel's lock, 1 to 2^31-1."""
    return crc32(channel.encode()) % 0x7FFFFFFE + 1


def claim(
    session: Session,
    now: datetime,
    *,
    lease_s: float,
    limit: int = 20,
    channels: Sequence[str] | None = None,
    not_robots: Sequence[str] = (),
    lanes: Sequence[tuple[str, int]] = (),
    left: Mapping[str, int] | None = None,
    presence: int = 0,
) -> list[OutboxRow]:
    """Take up to `limit` due messages, the most urgent first, under a lease of `lease_s` seconds.

    `not_robots` are left alone; of a robot in `lanes` only messages up to that priority are taken, of one in `left`
    at most so many. The lease must be much longer than a send. Two senders never hold one row at once. `presence` is
    the number of this process, by which `free_orphans` knows later whether it still lives.
    """
    query = select(Outbox).where(_due(now))
    if channels is not None:
        query = query.where(Outbox.channel.in_(channels))
    if not_robots:
        query = query.where(Outbox.robot.not_in(not_robots))
    for robot, priority in lanes:
        query = query.where(or_(Outbox.robot != robot, Outbox.priority <= priority))
    room = dict(left or {})
    # a robot with little room must not hide the messages of the others behind its own
    query = query.order_by(Outbox.priority, Outbox.created_at, Outbox.id).limit(limit * (20 if room else 1))
    taken: list[OutboxRow] = []
    for outbox in session.scalars(query.with_for_update(skip_locked=True)):
        if len(taken) == limit:
            break
        if outbox.robot in room:
            if room[outbox.robot] == 0:
                continue
            room[outbox.robot] -= 1
        # the last try left no result: cut off between send and record
        uncertain = outbox.state == "sending" or outbox.error.startswith("unknown:")
        outbox.state = "sending"
        outbox.attempts += 1
        outbox.lease_until = now + timedelta(seconds=lease_s)
        session.add(
            OutboxAttempt(
                outbox_id=outbox.id,
                attempt=outbox.attempts,
                started_at=now,
                detail=f"{_BY}{presence}" if presence else "",
            )
        )
        taken.append(_row(outbox, uncertain=uncertain))
    session.flush()
    return taken


def under_way(session: Session, channels: Sequence[str] | None = None) -> bool:
    """Whether a sender has claimed a message of these channels and has not said yet what became of it."""
    query = select(Outbox.id).where(Outbox.state == "sending")
    if channels is not None:
        query = query.where(Outbox.channel.in_(channels))
    return session.scalar(query.limit(1)) is not None


def free_orphans(session: Session, now: datetime, channels: Sequence[str] | None = None) -> int:
    """End the leases of senders whose process is gone (PostgreSQL; see Database.presence); returns how many.

    Not before their last call had some time to come through: what it brought is looked for before the next try.
    """
    query = (
        select(Outbox, OutboxAttempt.detail)
        .join(
            OutboxAttempt,
            and_(OutboxAttempt.outbox_id == Outbox.id, OutboxAttempt.attempt == Outbox.attempts),
        )
        .where(
            Outbox.state == "sending",
            Outbox.lease_until >= now,
            OutboxAttempt.result == "",
            OutboxAttempt.detail.startswith(_BY),
            OutboxAttempt.started_at <= now - _LAST_CALL,
        )
    )
    if channels is not None:
        query = query.where(Outbox.channel.in_(channels))
    known: dict[int, bool] = {}
    freed = 0
    for outbox, by in session.execute(query):
        presence = int(by.removeprefix(_BY))
        if presence not in known:
            known[presence] = lives(session, presence)
        if not known[presence]:
            outbox.lease_until = now - timedelta(microseconds=1)
            freed += 1
    session.flush()
    return freed


def _due(now: datetime | BindParameter[Any]) -> ColumnElement[bool]:
    """Rows that may be sent now: waiting, or claimed by a sender whose lease has run out."""
    open_rows = Outbox.state.in_(_OPEN)
    free = or_(Outbox.state == "pending", Outbox.lease_until < now)
    return and_(open_rows, free, Outbox.not_before <= now)


#: asked all the time: built once
_DUE = (
    select(Outbox)
    .where(_due(bindparam("now")))
    .order_by(Outbox.priority, Outbox.created_at, Outbox.id)
    .limit(bindparam("most"))
)
_LOCKED = select(Outbox).where(Outbox.id == bindparam("wanted")).with_for_update()
_TRIED = (
    select(OutboxAttempt)
    .where(OutboxAttempt.outbox_id == bindparam("wanted"), OutboxAttempt.attempt == bindparam("number"))
    .order_by(OutboxAttempt.id.desc())
    .limit(1)
)
_OF_INCIDENT = (
    select(Outbox)
    .where(Outbox.incident_id == bindparam("about"))
    .order_by(Outbox.created_at, Outbox.step, Outbox.id)
)
_IN_CHANNEL = _OF_INCIDENT.where(Outbox.channel == bindparam("through"))
_MINE = (Outbox.person == bindparam("whose"), Outbox.created_at >= bindparam("since"))
_SENT = Outbox.state == "sent"
_TOLD = select(
    func.count().filter(_SENT, Outbox.bundled_in.is_(None)),
    func.count().filter(_SENT, Outbox.bundled_in.is_not(None)),
    func.count().filter(Outbox.state == "refused"),
).where(*_MINE)


def due(
    session: Session,
    now: datetime,
    *,
    channels: Sequence[str] | None = None,
    robots: Sequence[str] | None = None,
    limit: int = 5000,
) -> list[OutboxRow]:
    """Messages that could be claimed now, the most urgent first; nothing is claimed."""
    query = _DUE
    if robots is not None:
        query = query.where(Outbox.robot.in_(robots))
    if channels is not None:
        query = query.where(Outbox.channel.in_(channels))
    rows = session.scalars(query, {"now": now, "most": limit})
    return [_row(row, uncertain=row.state == "sending" or row.error.startswith("unknown:")) for row in rows]


def used(session: Session, robots: Sequence[str], since: datetime, now: datetime) -> dict[str, int]:
    """How many messages each of these robots was given, or may have been given, since then; those under way included.

    A try that was cut off counts for as long as a finished one: a sender that died must not shut its robot for ever.
    """
    doubtful = (
        select(1)
        .where(
            OutboxAttempt.outbox_id == Outbox.id,
            or_(
                and_(OutboxAttempt.result == "unknown", OutboxAttempt.finished_at > since),
                # cut off: it left some time after it was claimed, if at all
                and_(OutboxAttempt.result == "", OutboxAttempt.started_at > since - _LAST_CALL),
            ),
        )
        .exists()
    )
    may_have_left = or_(
        and_(Outbox.state == "sending", Outbox.lease_until >= now), and_(Outbox.attempts > 0, doubtful)
    )
    row = select(Outbox.id, Outbox.robot).where(Outbox.bundled_in.is_(None))
    # two questions, each with its index: one with OR reads all that a robot was ever sent, and so does one for the open
    # messages of a robot, whose index a database without statistics prefers. Asked in one statement: what another process
    # sends between two would be open no more and not sent yet
    both = union(
        row.where(Outbox.robot.in_(robots), Outbox.sent_at > since),
        row.where(Outbox.state.in_(_OPEN), may_have_left),
    ).subquery()
    counts = session.execute(select(both.c.robot, func.count()).group_by(both.c.robot))
    return {robot: number for robot, number in counts if robot in robots}


@dataclass(frozen=True)
class Told:
    """Messages of one officer since an instant."""

    messages: int
    bundled: int
    refused: int


def told(session: Session, person: str, since: datetime) -> Told:
    """How much one officer got since then; a bundle is one message."""
    return Told(*session.execute(_TOLD, {"whose": person, "since": since}).one())


def bundle(session: Session, ids: Sequence[str], into: str) -> None:
    """Let the message `into` say these waiting messages too. They are sent when it is."""
    session.execute(
        update(Outbox)
        .where(Outbox.id.in_(ids), Outbox.state == "pending")
        .values(state="bundled", bundled_in=into)
    )


def bundled(session: Session, into: str) -> list[OutboxRow]:
    """The messages that `into` says, the most urgent first."""
    rows = session.scalars(
        select(Outbox)
        .where(Outbox.bundled_in == into)
        .order_by(Outbox.priority, Outbox.created_at, Outbox.id)
    )
    return [_row(row) for row in rows]


def unbundle(session: Session, into: str, now: datetime) -> None:
    """The message that should have said them was refused: each goes its own way again."""
    session.execute(
        update(Outbox)
        .where(Outbox.bundled_in == into, Outbox.state == "bundled")
        .values(state="pending", bundled_in=None, not_before=now, error=FELL_APART)
    )


def record(
    session: Session,
    id: str,
    result: Result,
    *,
    now: datetime,
    detail: str = "",
    provider_ref: str = "",
    retry_at: datetime | None = None,
    attempt: int | None = None,
) -> bool:
    """Write down what the channel said. `retry` and `unknown` need `retry_at`, the time of the next try.

    `attempt` is the number of the try that has ended. When somebody else has taken the message since (this sender stood
    still for longer than its lease) only "sent" still counts; returns whether the message was changed.
    """
    session.flush()
    outbox = session.execute(
        _LOCKED, {"wanted": id}, execution_options={"populate_existing": True}
    ).scalar_one()
    number = outbox.attempts if attempt is None else attempt
    tried = session.scalar(_TRIED, {"wanted": id, "number": number})
    if tried is not None:
        tried.finished_at, tried.result, tried.detail = now, result, detail[:2000]
    mine = outbox.state == "sending" and outbox.attempts == number
    if attempt is not None and not mine and (result != "sent" or outbox.state == "sent"):
        session.flush()
        return False
    outbox.lease_until = None
    if result == "sent":
        outbox.state, outbox.sent_at, outbox.provider_ref, outbox.error = "sent", now, provider_ref[:200], ""
        session.execute(
            update(Outbox)
            .where(Outbox.bundled_in == id, Outbox.state == "bundled")
            .values(state="sent", sent_at=now, provider_ref=provider_ref[:200])
        )
    elif result == "refused":
        outbox.state, outbox.error = "refused", detail[:2000]
    else:
        if retry_at is None:
            raise ValueError(f"result {result!r} of message {id} needs retry_at")
        outbox.state, outbox.not_before = "pending", retry_at
        outbox.error = f"{result}: {detail}"[:2000]
    session.flush()
    return True


def hurry(session: Session, now: datetime, longest_s: float) -> int:
    """After the clock was set back: tries and leases that would now last longer than `longest_s` end then; returns how many."""
    latest = now + timedelta(seconds=longest_s)
    waiting = update(Outbox).where(Outbox.state == "pending", Outbox.attempts > 0, Outbox.not_before > latest)
    leased = update(Outbox).where(Outbox.state == "sending", Outbox.lease_until > latest)
    done = (
        session.execute(waiting.values(not_before=latest)),
        session.execute(leased.values(lease_until=latest)),
    )
    return sum(int(result.rowcount) for result in done)  # type: ignore[attr-defined, misc]


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


def note(session: Session, id: str, name: str, value: str) -> None:
    """Keep a word about sending with a claimed message."""
    outbox = session.get_one(Outbox, id)
    outbox.message = {**outbox.message, name: value}


def withdraw(session: Session, id: str, reason: str, now: datetime) -> None:
    """Withdraw one claimed message just before it would have been sent."""
    outbox = session.get_one(Outbox, id)
    outbox.state, outbox.lease_until, outbox.error = "superseded", None, f"{reason} at {now.isoformat()}"


def get(session: Session, id: str) -> OutboxRow | None:
    """One message, or None."""
    outbox = session.get(Outbox, id)
    return _row(outbox) if outbox else None


def messages_of(session: Session, incident_id: int, channel: str = "") -> list[OutboxRow]:
    """All messages about one incident, or those in one channel, oldest first."""
    query = _IN_CHANNEL if channel else _OF_INCIDENT
    return [
        _row(row)
        for row in session.scalars(query, {"about": incident_id, **({"through": channel} if channel else {})})
    ]


def of_kind(session: Session, kind: str, since: datetime, limit: int = 200) -> list[OutboxRow]:
    """Messages of one kind that were written since then, newest first."""
    query = (
        select(Outbox)
        .where(Outbox.kind == kind, Outbox.created_at >= since)
        .order_by(Outbox.created_at.desc(), Outbox.id)
        .limit(limit)
    )
    return [_row(row) for row in session.scalars(query)]


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
