"""The only way to change an incident: one command, checked and recorded in the caller's transaction.

`handle` folds the incident's events, asks `decide`, appends the events and refreshes the cached row.
`handle_or_refuse` is the same in a transaction of its own, for console, links and Slack: a refusal
leaves nothing but an audit row.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import and_, bindparam, select
from sqlalchemy.orm import Session

from config.departments import Departments
from incidents import complained, events, evidence_due, labels, proposals
from incidents.chunks import chunks
from incidents.complained import Complained
from incidents.models import Deadline, Incident, IncidentEvent, Meta
from incidents.session import Database
from incidents.states import (
    OPEN_STATES,
    Acknowledge,
    Assign,
    Command,
    Detect,
    Fact,
    Merge,
    Refused,
    Return,
    Situation,
    State,
    Unmerge,
    decide,
    evolve,
)

#: numbers carry the year in which people here read times
_NUMBER_ZONE = ZoneInfo("Asia/Shanghai")
#: instants of the chain that the incident row caches
INSTANTS = (
    "detected_at",
    "alerted_at",
    "acknowledged_at",
    "confirmed_at",
    "assigned_at",
    "responded_at",
    "evaluated_at",
    "closed_at",
)


@dataclass(frozen=True)
class Outcome:
    """What a command did. `repeated` means that the same command had been carried out before."""

    incident_id: int
    number: str
    version: int
    state: State
    kinds: tuple[str, ...]
    repeated: bool = False


def fold(history: Iterable[IncidentEvent]) -> Situation:
    """The situation after `history` (the events of one incident, oldest first)."""
    now = Situation()
    for event in history:
        now = evolve(now, Fact(event.kind, event.payload, event.epoch, event.round), event.occurred_at)
    return now


#: asked for every act: built once
_HISTORY = (
    select(IncidentEvent)
    .where(IncidentEvent.incident_id == bindparam("about"))
    .order_by(IncidentEvent.version)
)
_HISTORY_FROM = _HISTORY.where(IncidentEvent.version >= bindparam("first"))
#: the last event of each of these incidents, whose version its row has
_NEWEST = (
    select(Incident.id, IncidentEvent.version, IncidentEvent.hash)
    .join(
        IncidentEvent,
        and_(Incident.id == IncidentEvent.incident_id, Incident.version == IncidentEvent.version),
    )
    .where(Incident.id.in_(bindparam("about", expanding=True)))
)
_LOCKED = select(Incident).where(Incident.id == bindparam("about")).with_for_update()
_DONE = select(IncidentEvent).where(IncidentEvent.idempotency_key == bindparam("key"))


def history_of(session: Session, incident_id: int) -> list[IncidentEvent]:
    """All events of one incident, oldest first."""
    return list(session.scalars(_HISTORY, {"about": incident_id}))


#: folds of long histories, by incident: version, the hash of that event, and the situation after it
_KNOWN: OrderedDict[int, tuple[int, str, Situation]] = OrderedDict()
_KNOWN_MOST = 4096
_KNOWN_LOCK = threading.Lock()


def situation_of(session: Session, incident_id: int) -> Situation:
    """The fold of one incident's events.

    Only events after a fold that is known are read. The chain proves the part before it: an event's hash stands for
    everything that came earlier, so a fold of another history (rolled back, another database) is never used.
    """
    with _KNOWN_LOCK:
        known = _KNOWN.get(incident_id)
    now = Situation()
    last: IncidentEvent | None = None
    if known is not None:
        rows = list(session.scalars(_HISTORY_FROM, {"about": incident_id, "first": known[0]}))
        if rows and (rows[0].version, rows[0].hash) == known[:2]:
            now, last, rows = known[2], rows[0], rows[1:]
        else:
            known = None
    if known is None:
        rows = history_of(session, incident_id)
    for event in rows:
        now = evolve(now, Fact(event.kind, event.payload, event.epoch, event.round), event.occurred_at)
        last = event
    if last is not None and last.version is not None:
        with _KNOWN_LOCK:
            _KNOWN[incident_id] = (last.version, last.hash, now)
            _KNOWN.move_to_end(incident_id)
            while len(_KNOWN) > _KNOWN_MOST:
                _KNOWN.popitem(last=False)
    return now


def situations_of(session: Session, incident_ids: Sequence[int]) -> dict[int, Situation]:
    """The folds of many incidents: one question tells which of them are known already as they are now."""
    found: dict[int, Situation] = {}
    for chunk in chunks(incident_ids):
        for id_, version, hash_ in session.execute(_NEWEST, {"about": chunk}):
            with _KNOWN_LOCK:
                known = _KNOWN.get(id_)
            if known is not None and known[:2] == (version, hash_):
                found[id_] = known[2]
    return {id_: found[id_] if id_ in found else situation_of(session, id_) for id_ in incident_ids}


def complained_of(
    session: Session,
    departments: Departments,
    incident_id: int,
    district: str,
    *,
    limit: int | None = None,
) -> Complained:
    """Whom an incident complains about, by its posts (or its first `limit`) and by what people said."""
    situation = situation_of(session, incident_id)
    return complained.read(session, departments, incident_id, district, situation, limit=limit)


def complained_of_all(
    session: Session, departments: Departments, districts: Mapping[int, str]
) -> dict[int, Complained]:
    """Whom each of these incidents complains about; `districts` has the district of each."""
    situations = situations_of(session, list(districts))
    about = {id_: (district, situations[id_]) for id_, district in districts.items()}
    return complained.read_all(session, departments, about)


def situation_then(session: Session, incident_id: int, seq: int) -> Situation:
    """What the situation was right after event `seq`, whosever event that was."""
    return fold(event for event in history_of(session, incident_id) if event.seq <= seq)


def _load(session: Session, incident_id: int) -> Incident:
    row = session.execute(_LOCKED, {"about": incident_id}).scalar_one_or_none()
    if row is None:
        raise Refused("没有这个事件。", f"there is no incident {incident_id}")
    return row


def _relevant(situation: Situation) -> tuple[object, ...]:
    """What a person decides on. Pages sent meanwhile do not make a form stale."""
    return (
        situation.state,
        situation.epoch,
        situation.round,
        situation.level,
        situation.department,
        situation.parent_id,
    )


def _check_merge(session: Session, incident: Incident, command: Merge) -> None:
    parent = session.get(Incident, command.parent_id)
    if parent is None:
        raise Refused("没有要并入的事件。", f"there is no incident {command.parent_id} to merge into")
    if parent.state in (State.WATCHING, State.MERGED, State.FALSE_ALARM):
        raise Refused(
            "不能并入该事件：它未发现、已并入或为误报。",
            f"incident {parent.number or parent.id} is {parent.state}: nothing can be merged into it",
        )
    if parent.id == incident.id:
        raise Refused("事件不能并入自己。", "an incident cannot be merged into itself")
    # no cycle is possible: a merged incident is never a parent, and a parent that is merged later
    # keeps its children one level down, so follow the chain once more to be sure
    seen = parent
    while seen.parent_id is not None:
        if seen.parent_id == incident.id:
            raise Refused("两个事件不能互相并入。", "the two incidents would be merged into each other")
        seen = session.get_one(Incident, seen.parent_id)


def _check_return(session: Session, incident: Incident, command: Return, now: datetime) -> None:
    """After the rule's time for sending back (热线办法: 2 working days) only with somebody's consent."""
    if command.late_approved_by.strip():
        return
    due = session.scalar(
        select(Deadline.due_at)
        .where(
            Deadline.incident_id == incident.id,
            Deadline.round == incident.round,
            Deadline.stops_on == "returned",
            Deadline.state == "open",
            Deadline.due_at < now,
        )
        .order_by(Deadline.due_at)
        .limit(1)
    )
    if due is not None:
        raise Refused(
            f"退回时限已于{due.astimezone(_NUMBER_ZONE):%Y年%-m月%-d日 %H:%M}届满，须注明同意退回的督办人员。",
            f"the time for sending it back ended at {due.isoformat()}: name who of supervision agrees",
        )


def _next_number(session: Session, now: datetime) -> str:
    year = now.astimezone(_NUMBER_ZONE).year
    counter = session.get(Meta, f"number-{year}")
    if counter is None:
        counter = Meta(key=f"number-{year}", value="0")
        session.add(counter)
    counter.value = str(int(counter.value) + 1)
    return f"QS-{year}-{int(counter.value):06d}"


def project(row: Incident, now: Situation) -> None:
    """Refresh the cached columns from the fold."""
    row.state, row.version, row.epoch, row.round = now.state, now.version, now.epoch, now.round
    row.level, row.track = now.level, now.track
    # no column of its own: shown beside the grade, and gone once a person has said one
    row.why = {**now.why, "level_proposed": True} if now.proposed else now.why
    row.department, row.officer, row.parent_id = now.department, now.officer, now.parent_id
    row.restricted, row.readers = bool(now.readers), list(now.readers)
    for name in INSTANTS:
        setattr(row, name, now.times.get(name))


def handle(
    session: Session,
    incident_id: int,
    command: Command,
    *,
    actor: str,
    channel: str,
    now: datetime,
    expected_version: int | None = None,
    idempotency_key: str | None = None,
) -> Outcome:
    """Carry out one command inside the caller's transaction, or raise Refused and change nothing.

    `expected_version`: the version the person saw; refused if the incident has since been moved by another.
    `idempotency_key`: the same key again returns the first outcome (`repeated`) instead of acting twice.
    """
    events.lock_chain(session)
    row = _load(session, incident_id)
    situation = situation_of(session, incident_id)
    if idempotency_key is not None:
        done = session.scalar(_DONE, {"key": idempotency_key})
        if done is not None:
            return Outcome(
                incident_id, row.number or "", situation.version, situation.state, (done.kind,), repeated=True
            )
    if expected_version is not None and expected_version != situation.version:
        seen = fold(history_of(session, incident_id)[:expected_version])
        if expected_version > situation.version or _relevant(seen) != _relevant(situation):
            raise Refused(
                "事件刚被他人更新，您的操作未执行。请查看最新状态后再试。",
                f"the incident was changed by somebody else (version {situation.version}, you saw {expected_version}); look at it again",
            )
    if isinstance(command, Merge):
        _check_merge(session, row, command)
    if isinstance(command, Return):
        _check_return(session, row, command, now)
    facts = decide(situation, command, now)
    if isinstance(command, Acknowledge):
        facts = [replace(fact, payload={**fact.payload, "by": actor}) for fact in facts]
    if isinstance(command, Assign):
        avoided = complained.check_assign(session, row, situation, command)
        if avoided:
            facts = [replace(fact, payload={**fact.payload, "avoided": list(avoided)}) for fact in facts]
    for fact in facts:
        labels.label_command(session, row, fact.kind, fact.payload, actor=actor, now=now)
    if isinstance(command, Detect) and row.number is None:
        row.number = _next_number(session, now)
    raised = row.state == State.WATCHING
    for index, fact in enumerate(facts):
        _, situation = _append(
            session,
            row,
            situation,
            fact,
            actor=actor,
            channel=channel,
            now=now,
            idempotency_key=idempotency_key if index == 0 else None,
        )
    project(row, situation)
    if raised and row.state != State.WATCHING:
        evidence_due.of_incident(session, row.id)
    if isinstance(command, Merge | Unmerge):
        session.flush()
    if situation.state not in OPEN_STATES:
        session.flush()
        proposals.close_stale(session, now, [row.id])
    return Outcome(
        incident_id, row.number or "", situation.version, situation.state, tuple(fact.kind for fact in facts)
    )


def _append(
    session: Session,
    row: Incident,
    situation: Situation,
    fact: Fact,
    *,
    actor: str,
    channel: str,
    now: datetime,
    occurred_at: datetime | None = None,
    idempotency_key: str | None = None,
) -> tuple[IncidentEvent, Situation]:
    event = events.append(
        session,
        session.info["audit_key"],
        incident_id=row.id,
        version=situation.version + 1,
        kind=fact.kind,
        epoch=fact.epoch,
        round=fact.round,
        actor=actor,
        channel=channel,
        now=now,
        payload=fact.payload,
        occurred_at=occurred_at,
        idempotency_key=idempotency_key,
    )
    after = evolve(situation, Fact(event.kind, event.payload, event.epoch, event.round), event.occurred_at)
    return event, after


def record(
    session: Session,
    incident_id: int,
    kind: str,
    payload: dict[str, Any],
    *,
    now: datetime,
    actor: str = "system",
    channel: str = "system",
    epoch: int | None = None,
    occurred_at: datetime | None = None,
    idempotency_key: str | None = None,
) -> IncidentEvent | None:
    """Add an event that is no person's command: a page sent, a clock opened or run out.

    None when `idempotency_key` was used before: nothing is written then.
    """
    events.lock_chain(session)
    row = _load(session, incident_id)
    if idempotency_key is not None and session.scalar(_DONE, {"key": idempotency_key}) is not None:
        return None
    situation = situation_of(session, incident_id)
    # an event about an earlier epoch must not move the incident back into it
    payload = payload if epoch is None else {**payload, "epoch": epoch}
    fact = Fact(kind, payload, situation.epoch, situation.round)
    event, after = _append(
        session,
        row,
        situation,
        fact,
        actor=actor,
        channel=channel,
        now=now,
        occurred_at=occurred_at,
        idempotency_key=idempotency_key,
    )
    project(row, after)
    return event


def record_act(
    session: Session,
    kind: str,
    payload: dict[str, Any],
    *,
    actor: str,
    channel: str,
    now: datetime,
    incident_id: int | None = None,
) -> IncidentEvent:
    """Add an audit row that concerns no incident's history: log-in, view, export, refusal.

    `incident_id` goes into the payload, so that looking at an incident does not change its version.
    """
    about = payload if incident_id is None else {**payload, "incident_id": incident_id}
    return events.append(
        session, session.info["audit_key"], kind=kind, actor=actor, channel=channel, now=now, payload=about
    )


def handle_or_refuse(
    db: Database,
    incident_id: int,
    command: Command,
    *,
    actor: str,
    channel: str,
    now: datetime,
    expected_version: int | None = None,
    idempotency_key: str | None = None,
) -> Outcome:
    """`handle` in a transaction of its own. A refusal is raised after an audit row `refused` was kept."""
    try:
        with db.transaction() as session:
            return handle(
                session,
                incident_id,
                command,
                actor=actor,
                channel=channel,
                now=now,
                expected_version=expected_version,
                idempotency_key=idempotency_key,
            )
    except Refused as refusal:
        with db.transaction() as session:
            record_act(
                session,
                "refused",
                {"command": type(command).__name__, "arguments": _plain(command), "reason": refusal.en},
                actor=actor,
                channel=channel,
                now=now,
                incident_id=incident_id,
            )
        raise


def _plain(command: Command) -> dict[str, Any]:
    return {
        key: value.isoformat() if isinstance(value, datetime) else value
        for key, value in asdict(command).items()
    }
