"""Periods in local time: a day 2026-11-23, an ISO week 2026-W47, a month 2026-11, a quarter 2026-Q4, a year 2026.

Each is cut into slots that its chart shows: hours, days, days, months, months. The week is Monday 00:00 to Monday 00:00.
Reports are about days, weeks, months and years; department tables and evaluations about all but days.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

#: periods that a report is about
Kind = Literal["daily", "weekly", "monthly", "yearly"]
KINDS: tuple[Kind, ...] = ("daily", "weekly", "monthly", "yearly")
#: periods of any length
Length = Kind | Literal["quarterly"]
#: periods that department tables are made of
TABLES: tuple[Length, ...] = ("weekly", "monthly", "quarterly", "yearly")
_FORMS: dict[Length, tuple[str, str, str]] = {
    "daily": (r"^\d{4}-\d{2}-\d{2}$", "day", "a day as YYYY-MM-DD"),
    "weekly": (r"^(\d{4})-W(\d{2})$", "week", "an ISO week as YYYY-Www"),
    "monthly": (r"^(\d{4})-(\d{2})$", "month", "a month as YYYY-MM"),
    "quarterly": (r"^(\d{4})-Q([1-4])$", "quarter", "a quarter as YYYY-Qn"),
    "yearly": (r"^(\d{4})$", "year", "a year as YYYY"),
}


class PeriodError(ValueError):
    """The period does not exist, or lies in the future."""


@dataclass(frozen=True)
class Period:
    """One period in local time. `as_of` is its end, or now while it runs."""

    kind: Length
    name: str
    slots: tuple[datetime, ...]  # local bounds of the chart's bars, ascending: n+1 for n bars
    before: tuple[datetime, ...]  # of the period before, cut at the same hour while this one runs
    as_of: datetime
    zone: ZoneInfo

    @property
    def since(self) -> datetime:
        """Its first local midnight."""
        return self.slots[0]

    @property
    def until(self) -> datetime:
        """The midnight after its last day."""
        return self.slots[-1]

    @property
    def running(self) -> bool:
        """Whether the period is not over."""
        return self.as_of < self.until

    @property
    def noun(self) -> str:
        """day, week, month, quarter or year."""
        return _FORMS[self.kind][1]

    @property
    def seen(self) -> tuple[datetime, ...]:
        """The slots' bounds as far as the period has run: a post dated into the future waits for its day."""
        return tuple(min(slot, self.as_of) for slot in self.slots)

    @property
    def ends(self) -> tuple[tuple[date, datetime], ...]:
        """Whole days (of a quarter or year: whole months) that are over, each with its end."""
        bounds = (self.since, self.until) if self.kind == "daily" else self.slots
        pairs = pairwise(bounds)
        return tuple(
            ((end - timedelta(hours=12)).date() if self.kind in _BY_MONTH else start.date(), end)
            for start, end in pairs
            if end <= self.as_of
        )


#: periods whose slots are months
_BY_MONTH = ("quarterly", "yearly")


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time(), tzinfo=zone)


def _first(kind: Length, day: date) -> date:
    """First day of the period in which `day` lies."""
    if kind == "weekly":
        return day - timedelta(days=day.weekday())
    if kind == "monthly":
        return day.replace(day=1)
    if kind == "quarterly":
        return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
    return day.replace(month=1, day=1) if kind == "yearly" else day


def _next(kind: Length, first: date) -> date:
    """First day of the period after the one that begins on `first`."""
    if kind in ("daily", "weekly"):
        return first + timedelta(days=1 if kind == "daily" else 7)
    return _first(kind, first + timedelta(days={"monthly": 32, "quarterly": 95}.get(kind, 367)))


def _slots(kind: Length, first: date, zone: ZoneInfo) -> tuple[datetime, ...]:
    end = _next(kind, first)
    if kind == "daily":
        hours = tuple(datetime.combine(first, time(hour), tzinfo=zone) for hour in range(24))
        return (*hours, _midnight(end, zone))
    step: Callable[[date], date] = (
        (lambda day: _next("monthly", day)) if kind in _BY_MONTH else (lambda day: day + timedelta(days=1))
    )
    days = [first]
    while days[-1] < end:
        days.append(step(days[-1]))
    return tuple(_midnight(day, zone) for day in days)


def name_of(kind: Length, day: date) -> str:
    """The period of a day: `2026-11-23`, `2026-W47`, `2026-11`, `2026-Q4` or `2026`."""
    if kind == "weekly":
        year, week, _ = day.isocalendar()
        return f"{year}-W{week:02d}"
    if kind == "quarterly":
        return f"{day.year}-Q{(day.month + 2) // 3}"
    return day.isoformat()[: {"daily": 10, "monthly": 7, "yearly": 4}[kind]]


def week_of(day: date) -> str:
    """The ISO week of a day, as `2026-W47`."""
    return name_of("weekly", day)


def name_before(kind: Length, day: date) -> str:
    """The period before the one of a day."""
    return name_of(kind, _first(kind, day) - timedelta(days=1))


def last_whole(kind: Length, now: datetime, zone: ZoneInfo) -> str:
    """The last period that is over."""
    return name_before(kind, now.astimezone(zone).date())


def _begin(kind: Length, name: str) -> date | None:
    """First day of the period; None when there is no such period."""
    found = re.match(_FORMS[kind][0], name)
    try:
        if not found:
            return None
        if kind == "weekly":
            first = date.fromisocalendar(int(found[1]), int(found[2]), 1)
        elif kind == "quarterly":
            first = date(int(found[1]), int(found[2]) * 3 - 2, 1)
        else:
            first = date.fromisoformat(name + {"daily": "", "monthly": "-01", "yearly": "-01-01"}[kind])
        # the periods before, a year before and after have to exist too
        _ = first - timedelta(days=800), first + timedelta(days=800)
    except (ValueError, OverflowError):
        return None
    return first


def named(name: str, now: datetime, zone: ZoneInfo) -> Period:
    """A week, month, quarter or year by its name alone. Raises PeriodError with what was expected."""
    kind = next((kind for kind in TABLES if re.match(_FORMS[kind][0], name)), None)
    if kind is None or _begin(kind, name) is None:
        raise PeriodError(
            f"period {name!r} does not exist: write a week 2026-W47, a month 2026-11, a quarter 2026-Q4 or a year 2026"
        )
    return period_of(kind, name, now, zone)


def period_of(kind: Length, name: str, now: datetime, zone: ZoneInfo) -> Period:
    """Bounds of a period. Raises PeriodError with what was expected."""
    first = _begin(kind, name)
    _, noun, form = _FORMS[kind]
    if first is None:
        raise PeriodError(
            f"{noun} {name!r} does not exist: write {form}, for example {last_whole(kind, now, zone)}"
        )
    slots = _slots(kind, first, zone)
    if slots[0] > now:
        raise PeriodError(
            f"{noun} {name} has not begun: the latest one is {name_of(kind, now.astimezone(zone).date())}"
        )
    as_of = min(slots[-1], now)
    earlier = _slots(kind, _first(kind, first - timedelta(days=1)), zone)
    # a running period is compared with the same part of the one before
    cut = earlier[0] + (as_of - slots[0]) if as_of < slots[-1] else earlier[-1]
    return Period(kind, name, slots, tuple(min(slot, cut) for slot in earlier), as_of, zone)


def year_before(period: Period) -> Period:
    """The same period one year earlier: the same month, or for days and weeks 52 weeks before, with the same weekdays."""
    day = period.since.date()
    if period.kind in ("daily", "weekly"):
        first = day - timedelta(days=364)
    else:
        first = day.replace(year=day.year - 1)
    slots = _slots(period.kind, first, period.zone)
    cut = slots[-1] if period.as_of == period.until else slots[0] + (period.as_of - period.since)
    return Period(period.kind, name_of(period.kind, first), slots, (), min(cut, slots[-1]), period.zone)


def reached_by_retention(period: Period, post_days: int, now: datetime) -> bool:
    """Whether posts of this period or the one before may have been deleted: they cannot be counted any more."""
    return period.before[0] < now - timedelta(days=post_days)
