"""The de-identified copy 去标识化副本 that analysts ask by SQL: one SQLite file, whatever the database is.

What is not in the file cannot be asked: no text or title, no address, no author or pseudonym, no key of a source's own, no official's
name, no reason that somebody typed, nothing of an incident that is restricted to named people. A post's time is cut to the hour, so that it cannot be matched with what stands on a public page.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, func, or_, select
from sqlalchemy.orm import Session, aliased

from config.bundle import Bundle
from incidents import access
from incidents.models import (
    Deadline,
    Incident,
    IncidentEvent,
    IncidentHour,
    IncidentPost,
    Judgement,
    Post,
)
from incidents.states import State

#: raised when a table or column changes its meaning or goes
VERSION = 1
NAME = "analysis.db"
_BATCH = 5000

#: table -> what it holds, and column -> type and meaning, for the file itself and for whoever writes a query
SCHEMA: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "about": (
        "when and from what this copy was made",
        {
            "key": ("TEXT", "made_at, version, city, timezone, posts, incidents; restricted: a mark"),
            "value": ("TEXT", ""),
        },
    ),
    "post": (
        "one public post with its judgement; no text, address or author",
        {
            "id": ("INTEGER PRIMARY KEY", "as in the API"),
            "source": ("TEXT", "id in `source`"),
            "hour": ("TEXT", "of publication, UTC, cut to the hour: 2026-11-24T02:00Z"),
            "day": ("TEXT", "local day of publication: 2026-11-24"),
            "domain": ("TEXT", "empty while it waits for its judgement"),
            "domain_score": ("REAL", "0 to 1"),
            "tone": ("TEXT", "neg, neu, pos"),
            "tone_score": ("REAL", "probability of neg"),
            "signal": ("INTEGER", "1: speaks of a concrete matter"),
            "risk": ("INTEGER", "0 to 3"),
            "about": ("TEXT", "department, school, company, other: whom it complains about"),
            "district": ("TEXT", "first district that it names; all are in `post_district`"),
            "near_copy_of": ("INTEGER", "id of the post that it nearly repeats"),
            "incident": ("TEXT", "number of its incident"),
            "chars": ("INTEGER", "length of its text"),
            "model": ("TEXT", "model version that judged it"),
        },
    ),
    "post_district": (
        "districts that a post names, one a row",
        {"post_id": ("INTEGER", "id in `post`"), "district": ("TEXT", "")},
    ),
    "incident": (
        "one incident as it stands; no title",
        {
            "number": ("TEXT PRIMARY KEY", "QS-2026-000017"),
            "domain": ("TEXT", ""),
            "district": ("TEXT", ""),
            "state": (
                "TEXT",
                "detected, confirmed, assigned, acknowledged, responded, evaluated, closed, false_alarm, merged",
            ),
            "level": ("TEXT", "general, serious, major, critical"),
            "track": ("TEXT", "fast, burst, manual"),
            "department": ("TEXT", "id in `department`"),
            "parent": ("TEXT", "number of the incident that it was merged into"),
            "posts": ("INTEGER", ""),
            "voices": ("INTEGER", "different authors, near-copies counted once"),
            **{
                f"{name}_at": ("TEXT", "UTC")
                for name in (
                    "first_posted",
                    "last_post",
                    "detected",
                    "alerted",
                    "acknowledged",
                    "confirmed",
                    "assigned",
                    "responded",
                    "evaluated",
                    "closed",
                )
            },
        },
    ),
    "incident_hour": (
        "growth of an incident by the hour",
        {
            "incident": ("TEXT", ""),
            "hour": ("TEXT", "UTC"),
            "posts": ("INTEGER", ""),
            "voices": ("INTEGER", ""),
            "negative": ("INTEGER", ""),
        },
    ),
    "clock": (
        "one legal clock of one incident",
        {
            "incident": ("TEXT", ""),
            "rule": ("TEXT", "id in `rule`"),
            "round": ("INTEGER", ""),
            "started_at": ("TEXT", "UTC"),
            "due_at": ("TEXT", "UTC"),
            "original_due_at": ("TEXT", "before an extension"),
            "provisional": ("INTEGER", "1: 暂定"),
            "state": ("TEXT", "open, met, missed, cancelled"),
            "closed_at": ("TEXT", "UTC"),
        },
    ),
    "event": (
        "what happened in an incident; no name of an official and no text",
        {
            "seq": ("INTEGER PRIMARY KEY", "number in the record"),
            "incident": ("TEXT", ""),
            "kind": ("TEXT", ""),
            "epoch": ("INTEGER", ""),
            "round": ("INTEGER", ""),
            "channel": ("TEXT", "system, console, slack, link, cli, api"),
            "occurred_at": ("TEXT", "UTC"),
        },
    ),
    "department": (
        "units that handle matters",
        {
            "id": ("TEXT PRIMARY KEY", ""),
            "name": ("TEXT", ""),
            "kind": ("TEXT", "city, district, area, supervision"),
        },
    ),
    "source": (
        "configured sources",
        {
            "id": ("TEXT PRIMARY KEY", ""),
            "name": ("TEXT", ""),
            "kind": ("TEXT", ""),
            "enabled": ("INTEGER", ""),
        },
    ),
    "rule": (
        "legal rules in force",
        {
            "id": ("TEXT PRIMARY KEY", ""),
            "kind": ("TEXT", "response, hotline, obligation"),
            "action": ("TEXT", ""),
            "unit": ("TEXT", "calendar_hours, workdays, natural_days"),
            "amount": ("INTEGER", "in that unit"),
        },
    ),
}
_INDEXES = (
    "post(day)",
    "post(incident)",
    "post(domain, day)",
    "post_district(district)",
    "event(incident)",
    "clock(incident)",
)


def write(session: Session, bundle: Bundle, file: Path, now: datetime) -> dict[str, int]:
    """Write the copy anew and put it in the place of the old one at once; rows by table. Raises OSError."""
    file.parent.mkdir(parents=True, exist_ok=True)
    half = file.with_name(f".{file.name}.{os.getpid()}.new")
    half.unlink(missing_ok=True)
    os.close(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        counts = _fill(session, bundle, half, now)
        half.replace(file)
    except sqlite3.Error as exc:  # a full disk is told by SQLite in its own words
        raise OSError(str(exc)) from exc
    finally:
        half.unlink(missing_ok=True)
    return counts


def made_at(file: Path) -> datetime | None:
    """When the copy was made; None when there is none, or none of this version."""
    return _made(_said(file))


def _made(said: dict[str, str]) -> datetime | None:
    try:
        return datetime.fromisoformat(said["made_at"]) if said.get("version") == str(VERSION) else None
    except (KeyError, ValueError):
        return None


def _said(file: Path) -> dict[str, str]:
    """What the file says of itself; nothing when there is none, or it is none of ours."""
    if not file.is_file():
        return {}
    try:
        connection = sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
        try:
            return dict(connection.execute("SELECT key, value FROM about"))
        finally:
            connection.close()
    except (sqlite3.Error, ValueError, TypeError):
        return {}


def due(session: Session, file: Path, every: timedelta, now: datetime) -> bool:
    """Whether the copy is missing, too old, from the future of a clock that was set back, or holds what is restricted now."""
    said = _said(file)
    made = _made(said)
    if made is None or not timedelta(0) <= now - made < every:
        return True
    return said.get("restricted") != _mark(_restricted(session))


def _restricted(session: Session) -> frozenset[int]:
    """Incidents that a supervisor has restricted to named people: in no copy, whoever asks it."""
    return access.hidden_from(session, "", "")


def _mark(hidden: frozenset[int]) -> str:
    """By which a change of what is restricted is seen; tells no number of an incident."""
    return hashlib.sha256(repr(sorted(hidden)).encode()).hexdigest()[:16]


def create_statements() -> list[str]:
    """The tables as SQL."""
    return [
        f"CREATE TABLE {table} ({', '.join(f'{name} {kind}' for name, (kind, _) in columns.items())})"
        for table, (_, columns) in SCHEMA.items()
    ]


def _fill(session: Session, bundle: Bundle, file: Path, now: datetime) -> dict[str, int]:
    copy = sqlite3.connect(file, isolation_level=None)
    try:
        # a copy that is not whole is never put in place: no journal is needed
        copy.execute("PRAGMA journal_mode=OFF")
        copy.execute("PRAGMA synchronous=OFF")
        copy.execute("BEGIN")
        for statement in create_statements():
            copy.execute(statement)
        zone = ZoneInfo(bundle.settings.city.timezone)
        hidden = _restricted(session)
        counts = {
            table: _insert(copy, table, rows)
            for table, rows in (
                ("post", _posts(session, zone, hidden)),
                ("post_district", _districts(session, hidden)),
                ("incident", _incidents(session, hidden)),
                ("incident_hour", _hours(session, hidden)),
                ("clock", _clocks(session, hidden)),
                ("event", _events(session, hidden)),
                ("department", ((one.id, one.name, one.kind) for one in bundle.departments.departments)),
                ("source", ((one.id, one.name, one.kind, int(one.enabled)) for one in bundle.sources)),
                (
                    "rule",
                    (
                        (one.id, one.kind, one.action, str(one.unit), one.amount)
                        for one in bundle.rules.rules()
                    ),
                ),
            )
        }
        said = {
            "made_at": now.astimezone(UTC).isoformat(),
            "version": str(VERSION),
            "city": bundle.settings.city.name,
            "timezone": bundle.settings.city.timezone,
            "posts": str(counts["post"]),
            "incidents": str(counts["incident"]),
            "restricted": _mark(hidden),
        }
        _insert(copy, "about", said.items())
        for index in _INDEXES:
            copy.execute(
                f"CREATE INDEX ix_{index.split('(')[0]}_{index.split('(')[1][:-1].replace(', ', '_')} ON {index}"
            )
        copy.execute("COMMIT")
        copy.execute("ANALYZE")
    finally:
        copy.close()
    return counts


def _insert(copy: sqlite3.Connection, table: str, rows: Iterable[tuple[Any, ...]]) -> int:
    places = ", ".join("?" * len(SCHEMA[table][1]))
    return copy.executemany(f"INSERT INTO {table} VALUES ({places})", rows).rowcount  # noqa: S608 (names of our own)


def _of_no(hidden: frozenset[int]) -> ColumnElement[bool]:
    """Posts that belong to none of these incidents."""
    return or_(IncidentPost.incident_id.is_(None), IncidentPost.incident_id.not_in(hidden))


def _time(value: datetime | None) -> str | None:
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if value is not None else None


def _posts(session: Session, zone: ZoneInfo, hidden: frozenset[int]) -> Iterator[tuple[Any, ...]]:
    query = (
        select(
            Post.id,
            Post.source_id,
            Post.published_at,
            Judgement.domain,
            Judgement.domain_score,
            Judgement.tone,
            Judgement.tone_score,
            Judgement.signal,
            Judgement.risk,
            Judgement.about,
            Judgement.districts,
            Judgement.near_copy_of,
            Incident.number,
            func.length(Post.text),
            Judgement.model_version,
        )
        .outerjoin(Judgement, Judgement.post_id == Post.id)
        .outerjoin(IncidentPost, IncidentPost.post_id == Post.id)
        .outerjoin(Incident, Incident.id == IncidentPost.incident_id)
        .where(_of_no(hidden))
        .order_by(Post.id)
    )
    days: dict[datetime, str] = {}
    for (
        id_,
        source,
        at,
        domain,
        score,
        tone,
        tone_score,
        signal,
        risk,
        about,
        districts,
        copy,
        number,
        chars,
        model,
    ) in session.execute(query.execution_options(yield_per=_BATCH)):
        hour = at.replace(minute=0, second=0, microsecond=0)
        # every zone on earth keeps to quarters of an hour
        quarter = hour.replace(minute=at.minute // 15 * 15)
        if quarter not in days:
            days[quarter] = at.astimezone(zone).date().isoformat()
        day = days[quarter]
        yield (
            id_,
            source,
            hour.strftime("%Y-%m-%dT%H:00Z"),
            day,
            domain or "",
            score,
            tone or "",
            tone_score,
            None if signal is None else int(signal),
            risk,
            about or "",
            districts[0] if districts else "",
            copy,
            number,
            chars,
            model or "",
        )


def _districts(session: Session, hidden: frozenset[int]) -> Iterator[tuple[Any, ...]]:
    query = (
        select(Judgement.post_id, Judgement.districts)
        .outerjoin(IncidentPost, IncidentPost.post_id == Judgement.post_id)
        .where(_of_no(hidden))
        .order_by(Judgement.post_id)
    )
    for post_id, districts in session.execute(query.execution_options(yield_per=_BATCH)):
        for district in districts or ():
            yield post_id, district


def _incidents(session: Session, hidden: frozenset[int]) -> Iterator[tuple[Any, ...]]:
    parent = aliased(Incident)
    query = (
        select(Incident, parent.number)
        .outerjoin(parent, parent.id == Incident.parent_id)
        .where(
            Incident.state != str(State.WATCHING), Incident.number.is_not(None), Incident.id.not_in(hidden)
        )
        .order_by(Incident.id)
    )
    for row, above in session.execute(query.execution_options(yield_per=_BATCH)):
        yield (
            row.number,
            row.domain,
            row.district,
            row.state,
            row.level,
            row.track,
            row.department,
            above,
            row.posts,
            row.voices,
            _time(row.first_posted_at),
            _time(row.last_post_at),
            _time(row.detected_at),
            _time(row.alerted_at),
            _time(row.acknowledged_at),
            _time(row.confirmed_at),
            _time(row.assigned_at),
            _time(row.responded_at),
            _time(row.evaluated_at),
            _time(row.closed_at),
        )


def _hours(session: Session, hidden: frozenset[int]) -> Iterator[tuple[Any, ...]]:
    row = IncidentHour
    query = (
        select(Incident.number, row.hour, row.posts, row.voices, row.negative)
        .join(Incident, Incident.id == row.incident_id)
        .where(Incident.number.is_not(None), Incident.id.not_in(hidden))
        .order_by(row.incident_id, row.hour)
    )
    for number, hour, posts, voices, negative in session.execute(query.execution_options(yield_per=_BATCH)):
        yield number, hour.astimezone(UTC).strftime("%Y-%m-%dT%H:00Z"), posts, voices, negative


def _clocks(session: Session, hidden: frozenset[int]) -> Iterator[tuple[Any, ...]]:
    row = Deadline
    query = (
        select(
            Incident.number,
            row.rule_id,
            row.round,
            row.started_at,
            row.due_at,
            row.original_due_at,
            row.provisional,
            row.state,
            row.closed_at,
        )
        .join(Incident, Incident.id == row.incident_id)
        .where(Incident.id.not_in(hidden))
        .order_by(row.id)
    )
    for number, rule, turn, started, end, before, provisional, state, closed in session.execute(query):
        yield (
            number,
            rule,
            turn,
            _time(started),
            _time(end),
            _time(before),
            int(provisional),
            state,
            _time(closed),
        )


def _events(session: Session, hidden: frozenset[int]) -> Iterator[tuple[Any, ...]]:
    row = IncidentEvent
    query = (
        select(row.seq, Incident.number, row.kind, row.epoch, row.round, row.channel, row.occurred_at)
        .join(Incident, Incident.id == row.incident_id)
        .where(Incident.id.not_in(hidden))
        .order_by(row.seq)
    )
    for seq, number, kind, epoch, turn, channel, at in session.execute(
        query.execution_options(yield_per=_BATCH)
    ):
        yield seq, number, kind, epoch, turn, channel, _time(at)
