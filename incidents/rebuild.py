"""Rebuild from events alone: what each cached row should say, and where the tables say something else.

`incident_event` is the truth. Everything that is derived from it can be folded anew; a table that says otherwise was
changed by hand, damaged, or written by a bug. `differences` compares, `repair` writes the fold into the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents import (
    appeals,
    calendar_feeds,
    call_backs,
    evidence,
    heads,
    hot_verdicts,
    letters,
    obligations,
    promises,
    ratings,
    reply_readings,
    rota,
    stops,
    unmask,
)
from incidents.lifecycle import INSTANTS, fold, project
from incidents.models import (
    Accountability,
    Appeal,
    AuditHead,
    Base,
    CalendarFeed,
    CallBack,
    CrawlStop,
    Deadline,
    DutyObligation,
    Evidence,
    Handover,
    HotVerdict,
    Incident,
    IncidentEvent,
    IncidentRating,
    Ladder,
    Letter,
    Promise,
    ReplyReading,
    RosterChange,
    Unmask,
)

Row = dict[str, Any]
Key = tuple[Any, ...]
#: cached columns of an incident; what counts posts is no fold of events
INCIDENT = (
    "state",
    "version",
    "epoch",
    "round",
    "level",
    "track",
    "why",
    "department",
    "officer",
    "parent_id",
    "restricted",
    "readers",
    *INSTANTS,
)


@dataclass(frozen=True)
class Difference:
    """One value that the table has and the record does not give. `row` names it for a person."""

    table: str
    row: str
    column: str
    stored: Any
    folded: Any

    def __str__(self) -> str:
        stored, folded = (str(v) if isinstance(v, str) else v for v in (self.stored, self.folded))
        return f"{self.table} {self.row}: {self.column} is {stored!r}, by its events {folded!r}"


@dataclass
class Folded:
    """Rows of one table as the events give them, by key."""

    rows: dict[Key, Row] = field(default_factory=dict)


def _time(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


# --- folds: one function for each kind of event, given all events of one incident or of none ---------------------


def _deadline(rows: dict[Key, Row], event: IncidentEvent) -> None:
    given = event.payload
    key = (event.incident_id, given.get("rule"), given.get("round"))
    row = rows.get(key)
    if event.kind == "deadline_opened" and not given.get("resumed"):
        rows[key] = {
            "stops_on": given["stops_on"],
            "started_at": _time(given["started_at"]),
            "due_at": _time(given["due_at"]),
            "provisional": given["provisional"],
            "calendar_version": given["calendar"],
            "trace": given["trace"],
            "state": "open",
            "closed_at": None,
            "overdue_noticed_at": None,
            "original_due_at": None,
            "extended_by": 0,
        }
    elif row is not None and event.kind in _DEADLINE:
        row.update(_DEADLINE[event.kind](row, given))


def _moved(row: Row, given: Row) -> Row:
    return {
        "started_at": _time(given["started_at"]),
        "due_at": _time(given["due_at"]),
        "provisional": given["provisional"],
        "calendar_version": given["calendar"],
        "trace": given["trace"],
        "original_due_at": _time(given["original_due_at"])
        if "original_due_at" in given
        else row["original_due_at"],
        "extended_by": given.get("extended_by", row["extended_by"]),
        # the miss that had been noted is taken back by this event
        "overdue_noticed_at": None if "annuls" in given else row["overdue_noticed_at"],
    }


_DEADLINE: dict[str, Callable[[Row, Row], Row]] = {
    "deadline_opened": lambda row, given: {"state": "open", "closed_at": None},  # resumed
    "deadline_moved": _moved,
    "deadline_met": lambda row, given: {"state": "met", "closed_at": _time(given["closed_at"])},
    "deadline_answered_late": lambda row, given: {"state": "missed", "closed_at": _time(given["closed_at"])},
    "deadline_cancelled": lambda row, given: {"state": "cancelled", "closed_at": _time(given["closed_at"])},
    "deadline_missed": lambda row, given: {"overdue_noticed_at": _time(given["noticed_at"])},
}


def _ladder(rows: dict[Key, Row], event: IncidentEvent) -> None:
    key = (event.incident_id, event.epoch)
    given = event.payload
    if event.kind == "ladder_started":
        rows[key] = {
            "route": given["route"],
            "steps": [given["frozen"]],
            "started_at": _time(given["started_at"]),
            "outer_due_at": _time(given["outer_due_at"]),
            "stopped_at": None,
        }
    elif event.kind == "ladder_stopped":
        for epoch in given["epochs"]:
            rows[event.incident_id, epoch]["stopped_at"] = _time(given["at"])


def _accountability(rows: dict[Key, Row], event: IncidentEvent) -> None:
    given = event.payload
    key = (event.incident_id, given.get("key"))
    if event.kind == "accountability_proposed":
        rows[key] = {
            "level": given["level"],
            "department": given["department"],
            "evidence": given["evidence"],
            "made_at": _time(given["made_at"]),
            "state": "open",
            "ground": "",
            "decided_at": None,
            "decided_by": "",
            "decision_reason": "",
        }
    elif event.kind == "accountability_decided":
        rows[key].update(
            state=given["state"],
            ground=given["ground"],
            decided_at=_time(given["decided_at"]),
            decided_by=given["by"],
            decision_reason=given["reason"],
        )
    elif event.kind == "accountability_withdrawn":
        rows[key].update(
            state="withdrawn",
            decided_at=_time(given["decided_at"]),
            decided_by="system",
            decision_reason=given["why"],
        )


@dataclass(frozen=True)
class Table:
    """How one table is folded. `key` names the columns that its `fold` uses as key, in order."""

    model: type[Base]
    key: tuple[str, ...]
    fold: Callable[[dict[Key, Row], IncidentEvent], None]


#: every table that is a fold of events, besides `incident` itself
TABLES: tuple[Table, ...] = (
    Table(Deadline, ("incident_id", "rule_id", "round"), _deadline),
    Table(RosterChange, ("id",), rota.fold_changes),
    Table(CalendarFeed, ("id",), calendar_feeds.fold),
    Table(Handover, ("role", "shift_end"), rota.fold_handovers),
    Table(AuditHead, ("day",), heads.fold),
    Table(Accountability, ("incident_id", "key"), _accountability),
    Table(Appeal, ("id",), appeals.fold),
    Table(Letter, ("id",), letters.fold),
    Table(Ladder, ("incident_id", "epoch"), _ladder),
    Table(DutyObligation, ("rule_id", "unit", "period"), obligations.fold),
    Table(Evidence, ("post_id", "name"), evidence.fold),
    Table(HotVerdict, ("title_id",), hot_verdicts.fold),
    Table(CrawlStop, ("kind", "scope", "target"), stops.fold),
    Table(Unmask, ("id",), unmask.fold),
    Table(ReplyReading, ("incident_id", "key"), reply_readings.fold),
    Table(Promise, ("incident_id", "key"), promises.fold),
    Table(IncidentRating, ("incident_id", "round", "reviewer"), ratings.fold),
    Table(CallBack, ("incident_id", "key"), call_backs.fold),
)


def fold_all(session: Session) -> dict[str, dict[Key, Row]]:
    """Every derived table as the events give it: {table: {key: {column: value}}}; `incident` by (id,)."""
    found: dict[str, dict[Key, Row]] = {table.model.__tablename__: {} for table in TABLES}
    histories: dict[int, list[IncidentEvent]] = {}
    for event in session.scalars(select(IncidentEvent).order_by(IncidentEvent.seq)):
        if event.incident_id is not None and event.version is not None:
            histories.setdefault(event.incident_id, []).append(event)
        for table in TABLES:
            table.fold(found[table.model.__tablename__], event)
    incidents: dict[Key, Row] = {}
    for number, history in histories.items():
        blank = Incident()
        project(blank, fold(history))
        incidents[(number,)] = {name: getattr(blank, name) for name in INCIDENT}
    found["incident"] = incidents
    return found


def differences(session: Session) -> Iterator[Difference]:
    """Where the tables differ from their events. Nothing is written."""
    folded = fold_all(session)
    for stored in session.scalars(select(Incident).where(Incident.version > 0)):
        wanted = folded["incident"].pop((stored.id,), None)
        yield from _compare("incident", stored.number or str(stored.id), stored, wanted)
    for key in folded["incident"]:
        yield Difference("incident", str(key[0]), "row", None, "there")
    for table in TABLES:
        name = table.model.__tablename__
        rows = folded[name]
        for row in session.scalars(select(table.model)):
            key = tuple(getattr(row, column) for column in table.key)
            yield from _compare(name, " ".join(map(str, key)), row, rows.pop(key, None))
        for key in rows:
            yield Difference(name, " ".join(map(str, key)), "row", None, "there")


def _compare(table: str, row: str, stored: Base, wanted: Row | None) -> Iterator[Difference]:
    if wanted is None:
        yield Difference(table, row, "row", "there", None)
        return
    for column, value in wanted.items():
        if getattr(stored, column) != value:
            yield Difference(table, row, column, getattr(stored, column), value)


def repair(session: Session) -> list[Difference]:
    """Write what the events give into the tables; returns what was wrong. Rows without an event are removed."""
    wrong = list(differences(session))
    if not wrong:
        return []
    folded = fold_all(session)
    for stored in session.scalars(select(Incident).where(Incident.version > 0)):
        for column, value in folded["incident"].get((stored.id,), {}).items():
            setattr(stored, column, value)
    for table in TABLES:
        rows = folded[table.model.__tablename__]
        for row in session.scalars(select(table.model)):
            wanted = rows.pop(tuple(getattr(row, column) for column in table.key), None)
            if wanted is None:
                session.delete(row)
                continue
            for column, value in wanted.items():
                setattr(row, column, value)
        for key, wanted in rows.items():
            session.add(table.model(**dict(zip(table.key, key, strict=True)), **wanted))
    session.flush()
    return wrong
