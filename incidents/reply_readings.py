"""What official answers say, as the analysis read them: one row for each answer of an incident, each a fold of its event `reply_read`.

The event holds numbers and offsets, no word of a citizen: what was asked stands in the posts and goes when they go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents import lifecycle, promises
from incidents.chunks import chunks
from incidents.models import IncidentEvent, ReplyReading

EVENT = "reply_read"
#: the eight elements of a complete answer, in the order of pages
ELEMENTS = ("facts", "cause", "measures", "unit", "time_limit", "basis", "contact", "next_step")


@dataclass(frozen=True)
class StoredReading:
    """One official answer as the machine read it."""

    incident_id: int
    seq: int | None  # event of the answer
    post_id: int | None  # post below which a platform shows it
    department: str  # department id, or the name that the platform gives
    published_at: datetime
    read_at: datetime
    model: str
    relevance: float | None  # 0..1, percentile against answers of other cases; None: nothing to compare with
    coverage: float | None  # 0..1, share of what was asked that is answered; None: no ask was found
    elements: dict[str, bool]  # each of ELEMENTS
    citations: int
    figures: int
    buck_passing: bool
    template_of: int
    blame: bool
    courtesy: bool


#: of a row or an event, in this order
_PLAIN = tuple(StoredReading.__dataclass_fields__)


def save(
    session: Session,
    reading: StoredReading,
    *,
    key: str,
    mark: str,
    details: dict[str, Any],
    proposed: Sequence[promises.Proposed],
    now: datetime,
) -> None:
    """Write one reading as an event of its incident, with the promises it proposes; replaces the one under the same key.

    `mark` is the digest of the text that was read. `details` must hold no text: offsets and numbers only.
    """
    payload: dict[str, Any] = asdict(reading)
    for name in ("published_at", "read_at"):
        payload[name] = payload[name].isoformat()
    # `incident_id` is the event's own
    del payload["incident_id"]
    payload |= {
        "key": key,
        "mark": mark,
        "details": details,
        "promises": [promises.as_payload(one) for one in proposed],
        "withdrawn": promises.withdrawn_by(session, reading.incident_id, key, proposed),
    }
    lifecycle.record(session, reading.incident_id, EVENT, payload, now=now)
    promises.propose(session, reading.incident_id, payload)
    row = session.get(ReplyReading, (reading.incident_id, key))
    values = _values(payload)
    if row is None:
        session.add(ReplyReading(incident_id=reading.incident_id, key=key, **values))
    else:
        for name, value in values.items():
            setattr(row, name, value)
    session.flush()


def readings_of(session: Session, incident_ids: Iterable[int]) -> dict[int, tuple[StoredReading, ...]]:
    """The answers of these incidents that were read, the earliest first; incidents without one are left out."""
    found: dict[int, list[StoredReading]] = {}
    for row in _rows(session, incident_ids):
        found.setdefault(row.incident_id, []).append(_reading(row))
    return {number: tuple(sorted(rows, key=lambda one: one.published_at)) for number, rows in found.items()}


@dataclass(frozen=True)
class Detailed:
    """A reading with what a page needs to show its grounds."""

    reading: StoredReading
    key: str
    mark: str
    details: dict[str, Any]


def detailed(session: Session, incident_id: int) -> list[Detailed]:
    """The answers of one incident with their grounds, the latest first."""
    rows = [Detailed(_reading(row), row.key, row.mark, row.details) for row in _rows(session, [incident_id])]
    return sorted(rows, key=lambda one: (one.reading.published_at, one.key), reverse=True)


def marks_of(session: Session, incident_id: int) -> dict[str, tuple[str, str]]:
    """What was read already: {key: (digest of the text, model)}."""
    return {row.key: (row.mark, row.model) for row in _rows(session, [incident_id])}


def _rows(session: Session, incident_ids: Iterable[int]) -> list[ReplyReading]:
    wanted = sorted(set(incident_ids))
    return [
        row
        for chunk in chunks(wanted)
        for row in session.scalars(select(ReplyReading).where(ReplyReading.incident_id.in_(chunk)))
    ]


def _reading(row: ReplyReading) -> StoredReading:
    return StoredReading(**{name: getattr(row, name) for name in _PLAIN})


def _values(given: dict[str, Any]) -> dict[str, Any]:
    """The columns besides the key that an event gives."""
    values = {name: given[name] for name in _PLAIN if name != "incident_id"}
    for name in ("published_at", "read_at"):
        values[name] = datetime.fromisoformat(values[name])
    return {**values, "mark": given["mark"], "details": given["details"]}


def fold(rows: dict[tuple[Any, ...], dict[str, Any]], event: IncidentEvent) -> None:
    """The row of `reply_reading` that an event gives (incidents.rebuild)."""
    if event.kind == EVENT:
        rows[(event.incident_id, event.payload["key"])] = _values(event.payload)
