"""The case file 案卷 of one incident: every row about it, with the signed events and what is needed to check them."""

from __future__ import annotations

import base64
import hmac
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import DeclarativeBase, Session

from incidents import clocks, events, evidence, outbox, queries
from incidents.clocks import DeadlineView
from incidents.events import Head
from incidents.models import (
    Accountability,
    AuditHead,
    Incident,
    IncidentEvent,
    Ladder,
    OutboxAttempt,
)
from incidents.outbox import OutboxRow
from incidents.queries import EventView, HourView, IncidentView, PostView


@dataclass(frozen=True)
class CaseFile:
    """Everything that is known of one incident and of those merged into it. Texts are redacted, authors absent."""

    incident: IncidentView
    merged: tuple[str, ...]  # numbers of the incidents merged into it
    events: list[EventView]
    #: the same events in their signed form, each with the hash before it: `check` needs nothing else but the key
    signed: list[dict[str, Any]]
    deadlines: list[DeadlineView]
    posts: list[PostView]
    growth: list[HourView]
    messages: list[OutboxRow]
    attempts: list[dict[str, Any]]  # each try to send one of them
    ladders: list[dict[str, Any]]
    accountability: list[dict[str, Any]]
    chain_head: Head
    daily_heads: list[dict[str, Any]]  # heads noted on the days of this incident
    #: originals of the posts: digests, time, event that keeps each, and when and by which rule it was removed; no content
    evidence: list[dict[str, Any]] = field(default_factory=list)
    #: posts whose original is not there, with the reason
    evidence_missing: list[dict[str, Any]] = field(default_factory=list)


def collect(session: Session, incident: IncidentView) -> CaseFile:
    """The case file of an incident."""
    family = sorted(queries.family(session, incident.id))
    originals = evidence.of_incidents(session, family)
    # the events of the evidence are acts of no incident: named by its rows
    acts = {seq for row in originals for seq in (row.seq, row.purge_seq) if seq is not None}
    rows = list(
        session.scalars(
            select(IncidentEvent)
            .where(or_(IncidentEvent.incident_id.in_(family), IncidentEvent.seq.in_(acts)))
            .order_by(IncidentEvent.seq)
        )
    )
    messages = [message for member in family for message in outbox.messages_of(session, member)]
    numbers = {
        row.id: row.number or str(row.id)
        for row in session.scalars(select(Incident).where(Incident.id.in_(family)))
    }
    return CaseFile(
        incident=incident,
        merged=tuple(numbers[member] for member in family if member != incident.id),
        events=[queries.event_view(row) for row in rows],
        signed=[_signed(row) for row in rows],
        deadlines=[clock for member in family for clock in clocks.deadlines_of(session, member)],
        posts=queries.posts_of(session, incident.id, limit=100_000, fold_copies=False),
        growth=queries.growth_of(session, incident.id),
        messages=messages,
        attempts=[
            _row(attempt)
            for attempt in session.scalars(
                select(OutboxAttempt)
                .where(OutboxAttempt.outbox_id.in_([message.id for message in messages]))
                .order_by(OutboxAttempt.id)
            )
        ],
        ladders=_rows(session, Ladder, family),
        accountability=_rows(session, Accountability, family),
        chain_head=events.head(session),
        daily_heads=_daily_heads(session, rows),
        evidence=[asdict(row) for row in originals],
        evidence_missing=[asdict(row) for row in evidence.missing_of(session, family)],
    )


def _signed(row: IncidentEvent) -> dict[str, Any]:
    return {
        "seq": row.seq,
        "signed": base64.b64encode(events.canonical(row)).decode(),
        "prev_hash": row.prev_hash,
        "hash": row.hash,
    }


def _rows(
    session: Session, table: type[Ladder] | type[Accountability], family: list[int]
) -> list[dict[str, Any]]:
    query = select(table).where(table.incident_id.in_(family)).order_by(table.incident_id)
    key = "id" if table is Accountability else "epoch"
    return [_row(row) for row in session.scalars(query.order_by(getattr(table, key)))]


def _row(row: DeclarativeBase) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in row.__table__.columns}


def _daily_heads(session: Session, rows: list[IncidentEvent]) -> list[dict[str, Any]]:
    """Every head noted since the first event of the incident, and the last one before it."""
    if not rows:
        return []
    heads = [_row(row) for row in session.scalars(select(AuditHead).order_by(AuditHead.seq))]
    after = [head for head in heads if head["seq"] >= rows[0].seq]
    return [*[head for head in heads if head["seq"] < rows[0].seq][-1:], *after]


@dataclass(frozen=True)
class Checked:
    """Result of checking an exported case file. `wrong` names the first event that does not hold, with the reason."""

    ok: bool
    events: int
    wrong: str = ""


def check(document: dict[str, Any], key: bytes) -> Checked:
    """Whether each event of an exported case file carries the hash that the key gives, and says what it shows.

    Raises ValueError when `document` is no case file.
    """
    signed, shown = document.get("signed"), document.get("events")
    if not isinstance(signed, list) or not isinstance(shown, list):
        raise ValueError("this is no case file: it has no `signed` events")
    by_seq = {event.get("seq"): event for event in shown}
    for number, item in enumerate(signed):
        try:
            content = base64.b64decode(item["signed"], validate=True)
            digest = events.sign(key, item["prev_hash"], content)
            said = events.read_canonical(content)
        except (KeyError, TypeError, ValueError) as exc:
            return Checked(False, number, f"entry {number + 1} of `signed` cannot be read: {exc}")
        if not hmac.compare_digest(digest, str(item.get("hash"))):
            return Checked(False, number, f"event {item.get('seq')} was changed, or the key is another one")
        event = by_seq.pop(said["seq"], None)
        if event is None or item.get("seq") != said["seq"]:
            return Checked(False, number, f"event {said['seq']} is signed but not shown")
        if differs := _differs(event, said):
            return Checked(False, number, f"event {said['seq']} shows another {differs} than was signed")
    if by_seq:
        return Checked(False, len(signed), f"event {next(iter(by_seq))} is shown but not signed")
    return Checked(True, len(signed))


def _differs(shown: dict[str, Any], signed: dict[str, Any]) -> str:
    """Name of the first field that is shown otherwise than it was signed."""
    for name in ("incident_id", "version", "kind", "epoch", "round", "actor", "channel", "payload"):
        if shown.get(name) != signed[name]:
            return name
    for name in ("occurred_at", "recorded_at"):
        try:
            if datetime.fromisoformat(str(shown.get(name))) != datetime.fromisoformat(signed[name]):
                return name
        except ValueError:
            return name
    return ""
