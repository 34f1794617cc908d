"""`quansheng roster`: who is on duty and why, the coming days with their gaps, duty tables in and out, calendars, a test message."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from alerts import calendar_feeds, job, rota, trial
from alerts.calendar import load_calendar
from alerts.rota import Unready
from config.bundle import Bundle
from config.duty_tables import read as read_table
from config.roster import ROLE_ZH, ROLES, OnDuty, Override, Role, Roster
from incidents import beats
from incidents import calendar_feeds as feeds
from incidents import rota as changes
from incidents.installation import Installation, Problem
from incidents.states import Refused

#: senders of a running house that were well so lately are at work: they take the test messages, not we
_SENDERS, _AT_WORK = "job:send", timedelta(seconds=30)


def in_force(home: Installation, now: datetime) -> Bundle:
    """The configuration with the roster that holds now, changes of the console included."""
    with home.db.reading() as session:
        return rota.in_force(session, home.bundle, now)


@dataclass(frozen=True)
class Row:
    """One stretch of one role."""

    role: Role
    start: datetime | None  # None: earlier than was looked
    until: datetime | None
    duty: OnDuty
    language: str

    def cells(self) -> list[str]:
        """For a terminal."""
        who = self.duty.person.name + (" (fallback: a gap)" if self.duty.fallback else "")
        span = [f"{at:%Y-%m-%d %H:%M}" if at else "a week or more" for at in (self.start, self.until)]
        return [self.role, *span, who, self.duty.why(self.language)]

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "role": self.role,
            "from": self.start.isoformat() if self.start else None,
            "until": self.until.isoformat() if self.until else None,
            "person": self.duty.person.id,
            "name": self.duty.person.name,
            "gap": self.duty.fallback,
            "why": self.duty.why(self.language),
        }


def on_duty(home: Installation, at: datetime) -> list[Row]:
    """Who is told at an instant in each role, from when to when; looked for a week either way."""
    roster, week = in_force(home, at).roster, timedelta(days=7)
    language = home.settings.city.language
    found = []
    for role in ROLES:
        for start, until, _ in roster.stretches(role, at - week, at + week):
            if start <= at < until:
                begin = start.astimezone(home.zone) if start > at - week else None
                end = until.astimezone(home.zone) if until < at + week else None
                found.append(Row(role, begin, end, roster.on_duty(at, role), language))
    return found


def coming(
    home: Installation, now: datetime, days: int, role: str, person: str
) -> tuple[list[Row], list[Unready]]:
    """The stretches of the next days in the order of their beginnings, and what somebody should mend about them.

    Raises Problem for a role or a person that does not exist.
    """
    roster = in_force(home, now).roster
    if role and role not in ROLES:
        raise Problem(f"--role {role}: one of {', '.join(ROLES)}")
    if person and roster.person(person) is None:
        raise Problem(f"--person {person}: nobody of the roster; there are {_people(roster)}")
    language, zone = home.settings.city.language, home.zone
    found = [
        (start, one, until, duty)
        for one in ROLES
        if role in ("", one)
        for start, until, duty in roster.stretches(one, now, now + timedelta(days=days))
        if person in ("", duty.person.id)
    ]
    found.sort(key=lambda item: (item[0], ROLES.index(item[1])))
    rows = [
        Row(one, start.astimezone(zone), until.astimezone(zone), duty, language)
        for start, one, until, duty in found
    ]
    calendar = load_calendar(home.settings.config_dir, home.settings.city.timezone)
    return rows, rota.readiness(roster, calendar, now, days)


def _people(roster: Roster) -> str:
    return ", ".join(person.id for person in roster.people)


# --- in ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Imported:
    """What a duty table changed, or would change."""

    lines: tuple[str, ...]
    same: int
    over: int

    def describe(self) -> str:
        """One line."""
        return f"{len(self.lines)} changes, {self.same} as they are already, {self.over} over already"


class _UndoneError(Exception):
    """Leaves a transaction without keeping what was written in it."""


def take_over(home: Installation, file: Path, now: datetime, *, by: str, dry_run: bool) -> Imported:
    """Enter the dated duties of a file as stand-ins, wherever they differ from the roster in force; all of them or none.

    Raises ConfigError for a file that cannot be read, Problem with every duty that cannot be entered.
    """
    roster = in_force(home, now).roster
    lines: list[str] = []
    refused: list[str] = []
    same = over = 0
    try:
        with home.db.transaction() as session:
            for duty in read_table(file, roster):
                start, until = (at.replace(tzinfo=home.zone) for at in (duty.start, duty.until))
                if until <= now:
                    over += 1
                    continue
                differing = _differing(roster, duty, max(start, now), until)
                same += not differing
                for begin, end, person in differing:
                    span = " - ".join(f"{at.astimezone(home.zone):%Y-%m-%d %H:%M}" for at in (begin, end))
                    lines.append(f"{duty.role} {span}: {person or 'nobody'} -> {duty.person}")
                    try:
                        changes.add(
                            session,
                            kind="override",
                            role=duty.role,
                            person=person,
                            stand_in=duty.person,
                            start=begin,
                            until=end,
                            reason=duty.reason or file.name,
                            by=by,
                            channel="cli",
                            now=now,
                        )
                    except Refused as refusal:
                        refused.append(f"{lines[-1]}: {refusal.en}")
            if refused or dry_run:
                raise _UndoneError
    except _UndoneError:
        pass  # rolled back on the way out
    if refused:
        raise Problem(
            f"{file}: nothing was entered; {len(refused)} of its duties cannot be: " + "; ".join(refused[:10])
        )
    return Imported(tuple(lines), same, over)


def _differing(
    roster: Roster, duty: Override, start: datetime, until: datetime
) -> list[tuple[datetime, datetime, str]]:
    """The parts of a duty in which somebody else stands on the roster, with that person's id ("" for nobody)."""
    return [
        (begin, end, "" if found.fallback else found.person.id)
        for begin, end, found in roster.stretches(duty.role, start, until)
        if found.fallback or found.person.id != duty.person
    ]


# --- out -----------------------------------------------------------------------------------------------------------


def written(home: Installation, file: Path, now: datetime, days: int, person: str) -> tuple[bytes, int]:
    """The roster of the next days, from today's midnight, in the form that the file's name asks for, and the number of its lines.

    A sheet that is written here can be read by `take_over`. Raises Problem for an unknown form or person.
    """
    roster = in_force(home, now).roster
    if person and roster.person(person) is None:
        raise Problem(f"--person {person}: nobody of the roster; there are {_people(roster)}")
    begin = now.astimezone(home.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    if file.suffix.lower() == ".ics":
        content = rota.as_ical(roster, begin, days, person)
        return content, content.count(b"BEGIN:VEVENT")
    if file.suffix.lower() != ".csv":
        raise Problem(f"{file}: name a .csv (spreadsheet programs open it) or an .ics file")
    rows = _sheet(roster, begin, begin + timedelta(days=days), person)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(["日期", "班次", *(ROLE_ZH[role] for role in ROLES)])
    writer.writerows(rows)
    return text.getvalue().encode("utf-8-sig"), len(rows)  # with a mark, so that spreadsheets see the charset


def _sheet(roster: Roster, begin: datetime, until: datetime, person: str) -> list[list[str]]:
    """One line for each stretch in which nobody changes, of a day at most; a gap is an empty cell."""
    by_role = {role: roster.stretches(role, begin, until) for role in ROLES}
    edges = {begin, until} | {start for stretches in by_role.values() for start, _, _ in stretches}
    # a line of a sheet lasts a day at most
    day = begin
    while day < until:
        edges.add(day)
        day += timedelta(days=1)
    ordered = sorted(edges)
    rows = []
    for start, end in pairwise(ordered):
        names = []
        for role in ROLES:
            duty = roster.on_duty(start, role)
            shown = not duty.fallback and person in ("", duty.person.id)
            names.append(duty.person.name if shown else "")
        if any(names):
            local, last = start.astimezone(begin.tzinfo), end.astimezone(begin.tzinfo)
            rows.append([f"{local:%Y-%m-%d}", f"{local:%H:%M}-{_end(local, last)}", *names])
    return rows


def _end(start: datetime, end: datetime) -> str:
    return "24:00" if end.date() > start.date() and (end.hour, end.minute) == (0, 0) else f"{end:%H:%M}"


# --- calendars -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CalendarAddress:
    """The secret address of one calendar. `person` "" is everybody's."""

    person: str
    address: str
    made_by: str
    made_at: datetime

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "person": self.person,
            "address": self.address,
            "made_by": self.made_by,
            "made_at": self.made_at.isoformat(),
        }


def _calendar(home: Installation, feed: feeds.FeedView) -> CalendarAddress:
    address = calendar_feeds.address(home.bundle, home.keys, feed)
    return CalendarAddress(feed.person, address, feed.made_by, feed.made_at)


def calendars(home: Installation) -> list[CalendarAddress]:
    """Every address that works."""
    with home.db.reading() as session:
        return [_calendar(home, feed) for feed in feeds.live(session)]


def calendar(home: Installation, person: str, now: datetime, *, by: str, new: bool) -> CalendarAddress:
    """The address of one person's calendar, or of everybody's (""); made when there is none, or anew.

    Raises Problem for a person that does not exist.
    """
    if person and home.bundle.roster.person(person) is None:
        raise Problem(f"{person}: nobody of the roster; there are {_people(home.bundle.roster)}")
    with home.db.transaction() as session:
        feed = next((one for one in feeds.live(session) if one.person == person), None)
        if feed is None or new:
            feed = feeds.make(session, person, by=by, channel="cli", now=now)
    return _calendar(home, feed)


def revoke_calendar(home: Installation, person: str, now: datetime, *, by: str) -> None:
    """The address of one person's calendar, or of everybody's (""), stops working. Raises Problem when there is none."""
    try:
        with home.db.transaction() as session:
            feeds.revoke(session, person, by=by, channel="cli", now=now)
    except Refused as refusal:
        raise Problem(f"{person or 'team'}: {refusal.en}") from refusal


# --- test ----------------------------------------------------------------------------------------------------------


def test(
    home: Installation,
    person: str,
    channel: str,
    clock: Callable[[], datetime],
    *,
    by: str,
    wait_s: float,
) -> list[trial.Trial]:
    """Send a test message to one person through each channel, or one; what each of them said.

    The senders of a running house take them; without one they are sent from here. Raises Refused.
    """
    now = clock()
    with home.db.transaction() as session:
        bundle = rota.in_force(session, home.bundle, now)
        ids = trial.start(session, bundle, person, channel, by=by, through="cli", now=now)
        beat = beats.get_beat(session, _SENDERS)
    running = beat is not None and now - beat.ok_at < _AT_WORK
    end = time.monotonic() + wait_s
    if not running:
        with home.db.reading() as session:
            ways = sorted({found.row.channel for found in trial.results(session, now, ids)})
        job.send(home.db, home.bundle, home.keys, clock, only=ways)
    while True:
        with home.db.reading() as session:
            found = trial.results(session, now, ids)
        if all(one.settled for one in found) or not running or time.monotonic() > end:
            return found
        time.sleep(0.2)
