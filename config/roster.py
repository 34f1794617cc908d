"""The duty roster 值班表: who is told, at what time, in which role.

The ladder has three rungs: primary 主班, secondary 副班, leader 带班领导. A weekly pattern gives the usual shifts; dated
overrides (代班, holidays) come before it, later lines before earlier ones. Where nobody stands, the fallback is told:
somebody is always responsible.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

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

    @property
    def reachable(self) -> bool:
        """Whether any channel leads to this person."""
        return bool(self.email or self.slack_user)


class Shift(Record):
    """One line of the weekly pattern. `until` not after `from` ends on the next day."""

    name: str = Field("", description="Name of the shift: 白班, 夜班.")
    days: tuple[Day, ...] = Field(DAYS, min_length=1, description="Days on which it begins.")
    start: str = Field(alias="from", pattern=_CLOCK, description="Local time of the beginning.")
    until: str = Field(pattern=_CLOCK, description="Local time of the end; 24:00 is midnight.")
    primary: str = Field("", description="Person id of 主班.")
    secondary: str = Field("", description="Person id of 副班.")
    leader: str = Field("", description="Person id of 带班领导.")

    def run_at(self, local: datetime) -> tuple[datetime, datetime] | None:
        """The run of this shift that holds a local time: beginning and end; None if it does not run then."""
        return next((run for run in self.around(local.date(), local) if run[0] <= local < run[1]), None)

    def around(self, day: date, like: datetime) -> Iterator[tuple[datetime, datetime]]:
        """The runs that begin on `day` or the day before."""
        for begins in (day - timedelta(days=1), day):
            if DAYS[begins.weekday()] in self.days:
                yield _at(begins, self.start, like), self._end(begins, like)

    def _end(self, begins: date, like: datetime) -> datetime:
        next_day = _minutes(self.until) <= _minutes(self.start)
        return _at(begins + timedelta(days=1) if next_day else begins, self.until, like)


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
    overrides: tuple[Override, ...] = Field((), description="Dated changes; a later line wins.")
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
        for change in reversed(self.overrides):
            begins, ends = (moment.replace(tzinfo=local.tzinfo) for moment in (change.start, change.until))
            if change.role == role and begins <= local < ends:
                zh = f"{_day_zh(local)} {ROLE_ZH[role]}, {change.reason or '代班'}"
                en = f"{local:%Y-%m-%d}, {ROLE_EN[role]}, {change.reason or 'stand-in'}"
                return self._found(change.person, role, zh, en)
        for shift in self.weekly:
            person_id, run = getattr(shift, role), shift.run_at(local)
            if person_id and run is not None:
                begin, hours = run[0], f"{shift.start}–{shift.until}"
                zh = f"{_day_zh(begin)} 周{_DAY_ZH[begin.weekday()]} {shift.name or hours} {ROLE_ZH[role]}"
                en = f"{begin:%Y-%m-%d} {DAYS[begin.weekday()].title()} {hours}, {ROLE_EN[role]}"
                return self._found(person_id, role, zh, en)
        return None

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
        for change in self.overrides:
            edges |= {change.start.replace(tzinfo=start.tzinfo), change.until.replace(tzinfo=start.tzinfo)}
        day = start.date()
        while day <= until.date():
            for shift in self.weekly:
                for run in shift.around(day, start):
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
    if wrong := roster.unknown():
        known = ", ".join(person.id for person in roster.people)
        raise ConfigError(
            [document.problem(at, f"no such person; expected one of {known}", name) for at, name in wrong]
        )
    return roster
