"""Dated duty out of files that offices keep anyway: a sheet (CSV, XLSX) or a calendar (.ics)."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import recurring_ical_events
from icalendar import Calendar

from config.roster import ROLE_ZH, ROLES, Override, Role, Roster
from config.settings import ConfigError
from config.workbook import BrokenBook, read_book

_MOST_BYTES, _MOST_EVENTS, _MOST_ROWS = 1_000_000, 10_000, 20_000
_COLUMNS: dict[str, Role] = {ROLE_ZH[role]: role for role in ROLES}
#: how far a calendar with endless repetition is written out
_AHEAD = timedelta(days=400)
#: shifts by name where a sheet gives no times
_TIMES = {
    "白班": ("08:00", "20:00"),
    "夜班": ("20:00", "08:00"),
    "全天": ("00:00", "24:00"),
    "": ("00:00", "24:00"),
}


def read(path: Path, roster: Roster) -> list[Override]:
    """Every dated duty of one file. Raises ConfigError with one entry per wrong row."""
    if not path.is_file():
        raise ConfigError([f"{path}: no such file; correct `tables` in roster.yaml"])
    if path.stat().st_size > _MOST_BYTES:
        raise ConfigError([f"{path}: more than 1 MB; a duty table is small, is this the right file?"])
    kind = path.suffix.lower()
    if kind == ".ics":
        return list(_calendar(path, roster))
    if kind in (".csv", ".xlsx", ".xls", ".ods"):
        return _sheet(path, roster)
    raise ConfigError([f"{path}: a duty table is .csv, .xlsx or .ics"])


# --- sheets --------------------------------------------------------------------------------------------------------


def _rows(path: Path) -> list[list[Any]]:
    if path.suffix.lower() == ".csv":
        raw = path.read_bytes()
        for charset in ("utf-8-sig", "gb18030"):
            try:
                return list(csv.reader(io.StringIO(raw.decode(charset), newline="")))
            except UnicodeDecodeError:
                continue
        raise ConfigError([f"{path}: neither UTF-8 nor GB18030"])
    try:
        with closing(read_book(path)) as book:
            first = itertools.takewhile(lambda row: row.sheet == 0, book)
            rows = [row.cells for row in itertools.islice(first, _MOST_ROWS + 1)]
    except BrokenBook as error:
        raise ConfigError([f"{path}: cannot be read as a sheet: {error}"]) from error
    if len(rows) > _MOST_ROWS:
        raise ConfigError(
            [f"{path}: more than {_MOST_ROWS} rows; a duty table is small, is this the right file?"]
        )
    return list(itertools.dropwhile(lambda cells: not any(str(cell).strip() for cell in cells), rows))


def _sheet(path: Path, roster: Roster) -> list[Override]:
    rows = _rows(path)
    names = {person.name: person.id for person in roster.people} | {p.id: p.id for p in roster.people}
    heads = [str(cell).strip() for cell in rows[0]] if rows else []
    wanted = [name for name in _COLUMNS if name in heads]
    if "日期" not in heads or not wanted:
        raise ConfigError(
            [
                f"{path}, row 1: expected the columns 日期, 班次 and 主班, 副班 or 带班领导; found {', '.join(heads)}"
            ]
        )
    found: list[Override] = []
    problems: list[str] = []
    for number, cells in enumerate(rows[1:], 2):
        row = {head: cells[i] if i < len(cells) else "" for i, head in enumerate(heads)}
        if not any(str(cell).strip() for cell in cells):
            continue
        day = _day(row["日期"])
        if day is None:
            problems.append(f"{path}, row {number}, 日期: {row['日期']!r} is no date; write 2026-10-01")
            continue
        shift = str(row.get("班次", "")).strip()
        hours = _hours(shift)
        if hours is None:
            problems.append(
                f"{path}, row {number}, 班次: {shift!r} is unknown; write 白班, 夜班, 全天 or 08:00-20:00"
            )
            continue
        begins, ends = _span(day, hours)
        for name in wanted:
            who = str(row[name]).strip()
            if not who:
                continue
            if who not in names:
                problems.append(f"{path}, row {number}, {name}: {who!r} is nobody of roster.yaml")
                continue
            found.append(
                _duty(begins, ends, _COLUMNS[name], names[who], f"{path.name} 第{number}行 {shift}".strip())
            )
    if problems:
        raise ConfigError(problems)
    return found


def _day(cell: Any) -> date | None:
    if isinstance(cell, datetime):
        return cell.date()
    if isinstance(cell, date):
        return cell
    for form in ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y年%m月%d日"):
        try:
            return datetime.strptime(str(cell).strip(), form).replace(tzinfo=UTC).date()
        except ValueError:
            continue
    return None


def _hours(shift: str) -> tuple[str, str] | None:
    if shift in _TIMES:
        return _TIMES[shift]
    start, dash, end = shift.replace("—", "-").replace("–", "-").replace("~", "-").partition("-")
    try:
        time.fromisoformat(start.strip())
        if end.strip() != "24:00":
            time.fromisoformat(end.strip())
    except ValueError:
        return None
    return (start.strip(), end.strip()) if dash else None


def _span(day: date, hours: tuple[str, str]) -> tuple[datetime, datetime]:
    begins = datetime.combine(day, time.fromisoformat(hours[0]))
    if hours[1] == "24:00":
        return begins, datetime.combine(day + timedelta(days=1), time())
    ends = datetime.combine(day, time.fromisoformat(hours[1]))
    return begins, ends if ends > begins else ends + timedelta(days=1)


def _duty(start: datetime, until: datetime, role: Role, person: str, reason: str) -> Override:
    return Override.model_validate(
        {"from": start, "until": until, "role": role, "person": person, "reason": reason[:200]}
    )


# --- calendars -----------------------------------------------------------------------------------------------------


def _calendar(path: Path, roster: Roster) -> Iterator[Override]:
    """Events whose title names a person, and with one of the role words its role (主班 when it names none)."""
    zone = ZoneInfo(roster.timezone)
    try:
        calendar = Calendar.from_ical(path.read_bytes())
        starts = [event.decoded("DTSTART") for event in calendar.walk("VEVENT")]
        first = min((_instant(at, zone) for at in starts), default=None)
        if first is None:
            return
        until = max(_instant(at, zone) for at in starts) + _AHEAD
        events: Sequence[Any] = recurring_ical_events.of(calendar).between(first, until)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise ConfigError([f"{path}: no calendar file: {error}"]) from error
    if len(events) > _MOST_EVENTS:
        raise ConfigError([f"{path}: more than {_MOST_EVENTS} shifts; limit the repetition"])
    problems = []
    found = []
    for event in events:
        title = str(event.get("SUMMARY", "")).strip()
        people = [person for person in roster.people if person.name in title or person.id in title.split()]
        if len(people) != 1:
            problems.append(
                f"{path}, {_instant(event.start, zone):%Y-%m-%d %H:%M} {title!r}: names nobody, or more than one, of roster.yaml"
            )
            continue
        role: Role = next((role for zh, role in _COLUMNS.items() if zh in title), "primary")
        begins, ends = _instant(event.start, zone), _instant(event.end, zone)
        found.append(
            _duty(begins.replace(tzinfo=None), ends.replace(tzinfo=None), role, people[0].id, path.name)
        )
    if problems:
        raise ConfigError(problems[:50])
    yield from found


def _instant(at: date | datetime, zone: ZoneInfo) -> datetime:
    """A calendar's time in the roster's zone; a floating one is meant to be there, a date is its midnight."""
    if not isinstance(at, datetime):
        return datetime.combine(at, time(), zone)
    return at.replace(tzinfo=zone) if at.tzinfo is None else at.astimezone(zone)
