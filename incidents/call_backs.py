"""Call-backs 回访: how many of the people who were called say that the matter is solved and that they are satisfied. Numbers only.

One entry is one caller or many; nobody's name, number or work order is asked for or kept. Rows are a fold of the events
`called_back` and `call_back_withdrawn`. Entries with a source were brought by an export (incidents.imported_calls): a later event of
the same key puts them right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents import lifecycle
from incidents.chunks import chunks
from incidents.models import CallBack, Incident, IncidentEvent
from incidents.states import Refused, State

ENTERED, WITHDRAWN = "called_back", "call_back_withdrawn"
#: states in which a caller can be asked what became of the matter
ASKED_IN = (State.RESPONDED, State.EVALUATED, State.CLOSED)
#: more callers than this in one entry are a slip of the finger
MOST = 100_000


@dataclass(frozen=True)
class Said:
    """What callers said: solved 已解决, unsolved 未解决, unknown 不清楚; satisfied 满意, basically 基本满意, dissatisfied 不满意."""

    solved: int = 0
    unsolved: int = 0
    unknown: int = 0
    satisfied: int = 0
    basically: int = 0
    dissatisfied: int = 0

    def __add__(self, other: Said) -> Said:
        return Said(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(Said)))

    @property
    def answered(self) -> int:
        """Callers who said whether the matter is solved: 有效回访."""
        return self.solved + self.unsolved

    @property
    def judged(self) -> int:
        """Callers who said whether they are satisfied: 有效评价."""
        return self.satisfied + self.basically + self.dissatisfied


COUNTS = tuple(one.name for one in fields(Said))


@dataclass(frozen=True)
class Entry:
    """One entry in force."""

    incident_id: int
    key: str
    round: int
    said: Said
    note: str
    made_at: datetime
    entered_by: str
    seq: int
    #: id of the source whose export brought it; "": a person entered it
    source: str = ""


def enter(
    session: Session,
    incident_id: int,
    said: Said,
    *,
    key: str,
    note: str = "",
    made_at: datetime | None = None,
    by: str,
    channel: str,
    now: datetime,
) -> bool:
    """Enter what callers said; False when an entry of this key stands already. `note` is redacted by the caller.

    Raises Refused: no answer yet, nothing said, a negative number, calls in the future.
    """
    incident = session.get(Incident, incident_id)
    if incident is None:
        raise Refused("没有这个事件。", f"there is no incident {incident_id}")
    if incident.state not in ASKED_IN:
        raise Refused(
            "事件尚未回应，不能登记回访。", f"incident {incident.number} has no answer in this round yet"
        )
    counts = {name: getattr(said, name) for name in COUNTS}
    if any(count < 0 or count > MOST for count in counts.values()):
        raise Refused(f"人数须为 0 至 {MOST}。", f"numbers of callers lie between 0 and {MOST}")
    if not any(counts.values()):
        raise Refused("请至少填写一项人数。", "give at least one number of callers")
    asked = said.answered + said.unknown
    if asked and said.judged > asked:
        raise Refused(
            "评价人数不能多于回访人数。", "more people judged than were asked whether the matter is solved"
        )
    made = made_at or now
    if made > now:
        raise Refused("回访时间不能晚于现在。", "the calls lie in the future")
    if session.get(CallBack, (incident_id, key)) is not None:
        return False
    payload = {
        "key": key,
        "round": incident.round,
        **counts,
        "note": note.strip(),
        "made_at": made.isoformat(),
    }
    _enter(session, incident_id, payload, by, channel, now)
    return True


def enter_imported(
    session: Session,
    incident_id: int,
    said: Said,
    *,
    key: str,
    source: str,
    round_: int,
    made_at: datetime,
    now: datetime,
) -> bool:
    """Write what an export says in all under this key, in place of what it said before; no caller at all takes the entry away.

    False when the entry says so already, or a person withdrew it: a person's word stands against every export.
    """
    row = session.get(CallBack, (incident_id, key))
    if row is None and not any(getattr(said, name) for name in COUNTS):
        return False
    if row is not None and (
        row.withdrawn_at is not None or all(getattr(row, name) == getattr(said, name) for name in COUNTS)
    ):
        return False
    payload = {
        "key": key,
        "round": row.round if row is not None else round_,
        **{name: getattr(said, name) for name in COUNTS},
        "note": "",
        "made_at": made_at.isoformat(),
        "source": row.source if row is not None else source,
    }
    _enter(session, incident_id, payload, "system", "system", now)
    return True


def _enter(
    session: Session, incident_id: int, payload: dict[str, Any], by: str, channel: str, now: datetime
) -> None:
    event = lifecycle.record(session, incident_id, ENTERED, payload, actor=by, channel=channel, now=now)
    assert event is not None  # no key of once only
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    fold(rows, event)
    for (about, name), values in rows.items():
        row = session.get(CallBack, (about, name)) or CallBack(incident_id=about, key=name)
        for column, value in values.items():
            setattr(row, column, value)
        session.add(row)
    session.flush()


def withdraw(
    session: Session, incident_id: int, key: str, *, reason: str, by: str, channel: str, now: datetime
) -> None:
    """Take a wrong entry back; it stays in the record. Raises Refused without a reason or without such an entry."""
    row = session.get(CallBack, (incident_id, key))
    if row is None or row.withdrawn_at is not None:
        raise Refused("没有这条回访记录，或已撤回。", "there is no such entry, or it was withdrawn")
    if not reason.strip():
        raise Refused("撤回须写明理由。", "a withdrawal needs a reason")
    payload = {"key": key, "reason": reason.strip(), "withdrawn_at": now.isoformat()}
    lifecycle.record(session, incident_id, WITHDRAWN, payload, actor=by, channel=channel, now=now)
    row.withdrawn_at = now
    session.flush()


def entries_of(session: Session, incident_ids: Sequence[int]) -> dict[int, tuple[Entry, ...]]:
    """Entries in force of these incidents, oldest first; incidents without one are left out."""
    found: dict[int, list[Entry]] = {}
    for chunk in chunks(sorted(set(incident_ids))):
        query = select(CallBack).where(CallBack.incident_id.in_(chunk), CallBack.withdrawn_at.is_(None))
        for row in session.scalars(query.order_by(CallBack.made_at, CallBack.seq)):
            said = Said(**{name: getattr(row, name) for name in COUNTS})
            if said == Said():
                continue  # an export that had brought callers took them back
            found.setdefault(row.incident_id, []).append(
                Entry(
                    row.incident_id,
                    row.key,
                    row.round,
                    said,
                    row.note,
                    row.made_at,
                    row.entered_by,
                    row.seq,
                    row.source,
                )
            )
    return {key: tuple(rows) for key, rows in found.items()}


def fold(rows: dict[tuple[Any, ...], dict[str, Any]], event: IncidentEvent) -> None:
    """The row that an event gives (incidents.rebuild)."""
    given = event.payload
    if event.kind == ENTERED:
        rows[event.incident_id, given["key"]] = {
            **{name: given[name] for name in COUNTS},
            "round": given["round"],
            "note": given["note"],
            "made_at": datetime.fromisoformat(given["made_at"]),
            "entered_by": event.actor,
            "withdrawn_at": None,
            "source": given.get("source", ""),
            "seq": event.seq,
        }
    elif event.kind == WITHDRAWN:
        rows[event.incident_id, given["key"]]["withdrawn_at"] = datetime.fromisoformat(given["withdrawn_at"])
