"""The duty roster 值班表: who is told, at what time, in which role.

The ladder has three rungs: primary 主班, secondary 副班, leader 带班领导. A weekly pattern gives the usual shifts; dated
overrides (代班, holidays) come before it, later lines before earlier ones. Where nobody stands, the fallback is told:
somebody is always responsible.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, PrivateAttr, field_validator, model_validator

from config.files import Record, parse, read_yaml, repeated
from config.settings import ConfigError

Role = Literal["primary", "secondary", "leader"]
ROLES: tuple[Role, ...] = ("primary", "secondary", "leader")
ROLE_ZH: dict[str, str] = {"primary": "主班", "secondary": "副班", "leader": "带班领导"}
ROLE_EN: dict[str, str] = {"primary": "primary", "secondary": "secondary", "leader": "leader in charge"}
Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_ZH = "一二三四五六日"
_CLOCK = r"^(?:[01]\d|2[0-3]):[0-5]\d$|^24:00$"


class Person(Record):
    """An officer of the duty desk. The only people this product knows by name."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,39}$", description="Stable id in events; lower case.")
    name: str = Field(min_length=1, max_length=40, description="Name as it stands in messages.")
    email: str = Field("", pattern=r"^$|^[^@\s]+@[^@\s]+$", description="Mail address; empty: no mail.")
    slack_user: str = Field(
        "", pattern=r"^$|^[UW][A-Z0-9]+$", description="Slack member id (U...); empty: no direct message."
    )

    wecom_user: str = Field("", max_length=64, description="WeCom user id: messages of the app, @ in groups.")
    dingtalk_user: str = Field("", max_length=64, description="DingTalk user id: @ in groups.")
    feishu_user: str = Field(
        "", max_length=64, description="Feishu open id (ou_...): messages of the app, @ in groups."
    )

    @property
    def reachable(self) -> bool:
        """Whether any channel leads to this person."""
        return bool(self.email or self.slack_user or self.wecom_user or self.feishu_user)


#: what a day is in China's calendar: working day, day of rest (weekend or holiday), make-up working day
DayClass = Literal["workday", "holiday", "makeup"]
DayClasses = Callable[[date], DayClass]


def plain_class(day: date) -> DayClass:
    """Monday to Friday, when no calendar is at hand."""
    return "workday" if day.weekday() < 5 else "holiday"


class Shift(Record):
    """One line of the weekly pattern. `until` not after `from` ends on the next day."""

    name: str = Field("", description="Name of the shift: 白班, 夜班.")
    days: tuple[Day, ...] = Field(DAYS, min_length=1, description="Days on which it begins.")
    on: tuple[DayClass, ...] = Field(
        (),
        description="Only on such days: workday, holiday (weekends too), makeup (调休上班); left out: on all.",
    )
    start: str = Field(alias="from", pattern=_CLOCK, description="Local time of the beginning.")
    until: str = Field(pattern=_CLOCK, description="Local time of the end; 24:00 is midnight.")
    primary: str = Field("", description="Person id of 主班.")
    secondary: str = Field("", description="Person id of 副班.")
    leader: str = Field("", description="Person id of 带班领导.")

    def run_at(self, local: datetime, classes: DayClasses = plain_class) -> tuple[datetime, datetime] | None:
        """The run of this shift that holds a local time: beginning and end; None if it does not run then."""
        return next(
            (run for run in self.around(local.date(), local, classes) if run[0] <= local < run[1]), None
        )

    def around(
        self, day: date, like: datetime, classes: DayClasses = plain_class
    ) -> Iterator[tuple[datetime, datetime]]:
        """The runs that begin on `day` or the day before."""
        for begins in (day - timedelta(days=1), day):
            if DAYS[begins.weekday()] in self.days and (not self.on or classes(begins) in self.on):
                yield _at(begins, self.start, like), self._end(begins, like)

    def _end(self, begins: date, like: datetime) -> datetime:
        next_day = _minutes(self.until) <= _minutes(self.start)
        return _at(begins + timedelta(days=1) if next_day else begins, self.until, like)


class Rotation(Shift):
    """Turns 轮班: the participants take the shift in order, each for so many days, weeks or months; below the weekly pattern."""

    role: Role = Field(description="primary, secondary or leader.")
    people: tuple[str, ...] = Field(min_length=1, description="Person ids in the order of their turns.")
    since: date = Field(description="First day of the first turn.")
    every: int = Field(1, ge=1, le=366, description="Length of a turn in `unit`.")
    unit: Literal["day", "week", "month"] = Field("day", description="day, week or month.")

    def turn(self, day: date) -> str:
        """Whose turn a day is; "" before the first one."""
        if day < self.since:
            return ""
        if self.unit == "month":
            months = (day.year - self.since.year) * 12 + day.month - self.since.month
            # a turn begins on the same day of the month, or on its last day where the month is shorter
            if day.day < min(self.since.day, _last_day(day)):
                months -= 1
            number = months // self.every
        else:
            number = (day - self.since).days // (self.every * (7 if self.unit == "week" else 1))
        return self.people[number % len(self.people)]


def _last_day(day: date) -> int:
    return (day.replace(day=28) + timedelta(days=4)).replace(day=1).toordinal() - day.replace(
        day=1
    ).toordinal()


class Leave(Record):
    """A person who is away 请假: never told in that time, in whatever role; the next line or the fallback is."""

    start: datetime = Field(alias="from", description="Local time of the beginning.")
    until: datetime = Field(description="Local time of the end.")
    person: str = Field(description="Person id.")
    reason: str = Field("", description="Why.")

    @model_validator(mode="after")
    def _forward(self) -> Leave:
        if self.start.tzinfo or self.until.tzinfo:
            raise ValueError("from and until are local times without a zone")
        if self.until <= self.start:
            raise ValueError("until must be after from")
        return self


class Override(Record):
    """A dated change: this person in this role from one local time to another (代班, holiday duty)."""

    start: datetime = Field(alias="from", description="Local time of the beginning, 2026-10-01 08:00.")
    until: datetime = Field(description="Local time of the end.")
    role: Role = Field(description="primary, secondary or leader.")
    person: str = Field(description="Person id.")
    reason: str = Field("", description="Why: 代班, 国庆值班.")

    @model_validator(mode="after")
    def _forward(self) -> Override:
        if self.start.tzinfo or self.until.tzinfo:
            raise ValueError("from and until are local times without a zone")
        if self.until <= self.start:
            raise ValueError("until must be after from")
        return self


@dataclass(frozen=True)
class OnDuty:
    """Who is on duty in a role, and the line of the roster that says so, in Chinese and in English."""

    person: Person
    role: Role
    reason: str
    fallback: bool = False
    reason_en: str = ""

    def why(self, language: str) -> str:
        """The reason for readers of a language."""
        return self.reason_en if language.startswith("en") and self.reason_en else self.reason


@dataclass(frozen=True)
class Gap:
    """A time in which the roster names nobody for a role; the fallback is told then."""

    role: Role
    start: datetime
    until: datetime


class Roster(Record):
    """People, the weekly pattern, dated changes, and whom to tell when nobody stands there."""

    version: str = Field("", description="Name of this roster in messages: v12.")
    timezone: str = Field("Asia/Shanghai", description="IANA zone of its times.")
    people: tuple[Person, ...] = Field(min_length=1, description="Officers.")
    weekly: tuple[Shift, ...] = Field((), description="The usual week; an earlier line wins.")
    rotations: tuple[Rotation, ...] = Field(
        (), description="Turns, where the week names nobody; an earlier line wins."
    )
    overrides: tuple[Override, ...] = Field((), description="Dated changes; a later line wins.")
    leaves: tuple[Leave, ...] = Field((), description="Who is away and when.")
    tables: tuple[str, ...] = Field(
        (),
        description="Files with dated duty beside this one: .csv or .xlsx (日期, 班次, 主班, 副班, 带班领导) or .ics; read before `overrides`.",
    )
    #: what a day is in the working calendar; Monday to Friday until somebody who has the calendar says so
    _classes: DayClasses = PrivateAttr(default_factory=lambda: plain_class)
    fallback: str = Field(description="Person id told when the roster names nobody.")

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ValueError, KeyError, OSError) as exc:
            raise ValueError("expected an IANA zone such as Asia/Shanghai") from exc
        return value

    @field_validator("people")
    @classmethod
    def _each_once(cls, people: tuple[Person, ...]) -> tuple[Person, ...]:
        if twice := repeated([person.id for person in people]):
            raise ValueError(f"the id stands here twice: {', '.join(twice)}")
        return people

    def unknown(self) -> list[tuple[tuple[str | int, ...], str]]:
        """Places of the file that name a person it does not hold: (location, id)."""
        wrong: list[tuple[tuple[str | int, ...], str]] = []
        for i, shift in enumerate(self.weekly):
            wrong += [
                (("weekly", i, r), p) for r in ROLES if (p := getattr(shift, r)) and p not in self._by_id
            ]
        wrong += [
            (("overrides", i, "person"), o.person)
            for i, o in enumerate(self.overrides)
            if o.person not in self._by_id
        ]
        wrong += [
            (("rotations", i, "people", n), person)
            for i, turns in enumerate(self.rotations)
            for n, person in enumerate(turns.people)
            if person not in self._by_id
        ]
        wrong += [
            (("leaves", i, "person"), leave.person)
            for i, leave in enumerate(self.leaves)
            if leave.person not in self._by_id
        ]
        if self.fallback not in self._by_id:
            wrong.append((("fallback",), self.fallback))
        return wrong

    @cached_property
    def _by_id(self) -> dict[str, Person]:
        return {person.id: person for person in self.people}

    def person(self, person_id: str) -> Person | None:
        """The person of an id."""
        return self._by_id.get(person_id)

    def rostered(self, at: datetime, role: Role) -> OnDuty | None:
        """Whom the roster itself names at an instant, None if nobody."""
        local = self._local(at)
        away = self.away(at)
        plain = local.replace(
            tzinfo=None
        )  # a year's duty table has a thousand lines: they are compared as they stand
        for change in reversed(self.overrides):
            if change.start <= plain < change.until and change.role == role and change.person not in away:
                zh = f"{_day_zh(local)} {ROLE_ZH[role]}, {change.reason or '代班'}"
                en = f"{local:%Y-%m-%d}, {ROLE_EN[role]}, {change.reason or 'stand-in'}"
                return self._found(change.person, role, zh, en)
        for shift in self.weekly:
            person_id, run = getattr(shift, role), shift.run_at(local, self._classes)
            if person_id and run is not None and person_id not in away:
                begin, hours = run[0], f"{shift.start}–{shift.until}"
                zh = f"{_day_zh(begin)} 周{_DAY_ZH[begin.weekday()]} {shift.name or hours} {ROLE_ZH[role]}"
                en = f"{begin:%Y-%m-%d} {DAYS[begin.weekday()].title()} {hours}, {ROLE_EN[role]}"
                return self._found(person_id, role, zh, en)
        for turns in self.rotations:
            run = turns.run_at(local, self._classes) if turns.role == role else None
            person_id = turns.turn(run[0].date()) if run is not None else ""
            if run is not None and person_id and person_id not in away:
                zh = f"{_day_zh(run[0])} {turns.name or '轮班'} {ROLE_ZH[role]}"
                en = f"{run[0]:%Y-%m-%d}, turn {turns.name}, {ROLE_EN[role]}"
                return self._found(person_id, role, zh, en)
        return None

    def away(self, at: datetime) -> frozenset[str]:
        """Who is on leave at an instant."""
        plain = self._local(at).replace(tzinfo=None)
        return frozenset(leave.person for leave in self.leaves if leave.start <= plain < leave.until)

    def with_calendar(self, classes: DayClasses) -> Roster:
        """The same roster, knowing what each day is."""
        found = self.model_copy()
        found._classes = classes
        return found

    def stretches(
        self, role: Role, start: datetime, until: datetime
    ) -> list[tuple[datetime, datetime, OnDuty]]:
        """Who is told in a role between two instants, one entry for each unbroken stretch of one person."""
        first, last = self._local(start), self._local(until)
        edges = self._edges(first, last)
        near = self._between(first.replace(tzinfo=None), last.replace(tzinfo=None))
        found: list[tuple[datetime, datetime, OnDuty]] = []
        for begin, end in pairwise(edges):
            duty = near.on_duty(begin, role)
            if found and found[-1][1] == begin and found[-1][2].person.id == duty.person.id:
                found[-1] = (found[-1][0], end, found[-1][2])
            else:
                found.append((begin, end, duty))
        return found

    def _between(self, start: datetime, until: datetime) -> Roster:
        """The same roster without the dated lines that lie outside of a time (local, without a zone)."""
        found = self.model_copy(
            update={
                "overrides": tuple(o for o in self.overrides if o.start < until and start < o.until),
                "leaves": tuple(
                    leave for leave in self.leaves if leave.start < until and start < leave.until
                ),
            }
        )
        found._classes = self._classes
        return found

    def _found(self, person_id: str, role: Role, zh: str, en: str) -> OnDuty:
        person = self._by_id[person_id]
        version = f" {self.version}" if self.version else ""
        reason, reason_en = (
            f"值班表{version} {zh}: {person.name}",
            f"duty roster{version}, {en}: {person.name}",
        )
        return OnDuty(person, role, reason, reason_en=reason_en)

    def on_duty(self, at: datetime, role: Role) -> OnDuty:
        """Who is told at an instant: the rostered person, else the fallback (`fallback` is True then)."""
        found = self.rostered(at, role)
        if found is not None:
            return found
        person = self._by_id[self.fallback]
        local = self._local(at)
        return OnDuty(
            person,
            role,
            f"值班表 {_day_zh(local)} {local:%H:%M} {ROLE_ZH[role]}无人, 由兜底人员接收: {person.name}",
            fallback=True,
            reason_en=f"duty roster {local:%Y-%m-%d %H:%M}, nobody as {ROLE_EN[role]}, so the fallback: {person.name}",
        )

    def gaps(self, start: datetime, until: datetime) -> tuple[Gap, ...]:
        """Uncovered times between two instants, per role, in order; exact to the minute."""
        edges = self._edges(self._local(start), self._local(until))
        found: list[Gap] = []
        for role in ROLES:
            for begin, end in pairwise(edges):
                if self.rostered(begin, role) is not None:
                    continue
                if found and found[-1].role == role and found[-1].until == begin:
                    found[-1] = Gap(role, found[-1].start, end)
                else:
                    found.append(Gap(role, begin, end))
        return tuple(sorted(found, key=lambda gap: (gap.start, ROLES.index(gap.role))))

    def _edges(self, start: datetime, until: datetime) -> list[datetime]:
        """Every instant between two at which the answer may change, both ends included."""
        edges = {start, until}
        dated: list[Override | Leave] = [*self.overrides, *self.leaves]
        for change in dated:
            edges |= {change.start.replace(tzinfo=start.tzinfo), change.until.replace(tzinfo=start.tzinfo)}
        day = start.date()
        while day <= until.date():
            for shift in (*self.weekly, *self.rotations):
                for run in shift.around(day, start, self._classes):
                    edges |= set(run)
            day += timedelta(days=1)
        return sorted(edge for edge in edges if start <= edge <= until)

    def _local(self, at: datetime) -> datetime:
        if at.tzinfo is None:
            raise ValueError("the roster is asked with an aware datetime only")
        return at.astimezone(ZoneInfo(self.timezone))


def _day_zh(at: date) -> str:
    return f"{at.month}月{at.day}日"


def _minutes(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def _at(day: date, clock: str, like: datetime) -> datetime:
    if clock == "24:00":
        return datetime.combine(day + timedelta(days=1), time(), like.tzinfo)
    return datetime.combine(day, time.fromisoformat(clock), like.tzinfo)


def load_roster(path: Path) -> Roster:
    """Read roster.yaml. Raises ConfigError with one entry per wrong value."""
    document = read_yaml(path)
    roster = parse(Roster, document)
    if roster.tables:
        dated = [found for name in roster.tables for found in read_duty_table(path.parent / name, roster)]
        roster = roster.model_copy(update={"overrides": (*dated, *roster.overrides)})
    if wrong := roster.unknown():
        known = ", ".join(person.id for person in roster.people)
        raise ConfigError(
            [document.problem(at, f"no such person; expected one of {known}", name) for at, name in wrong]
        )
    return roster


def read_duty_table(path: Path, roster: Roster) -> list[Override]:
    """Dated duty out of a sheet or a calendar file. Raises ConfigError naming file, row and field."""
    from config.duty_tables import read  # it knows the records of this file

    return read(path, roster)
