"""Periods of any length by name, in local time: 2026-W47 (ISO week), 2026-11 (month), 2026-Q4 (quarter), 2026 (year)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from reports.period import PeriodError as PeriodError
from reports.period import week_of

KINDS = ("week", "month", "quarter", "year")
_NAMES = {
    "week": re.compile(r"^(\d{4})-W(\d{2})$"),
    "month": re.compile(r"^(\d{4})-(\d{2})$"),
    "quarter": re.compile(r"^(\d{4})-Q([1-4])$"),
    "year": re.compile(r"^(\d{4})$"),
}


@dataclass(frozen=True)
class Span:
    """One period [since, until) in local time. `as_of` is its end, or now while it runs."""

    name: str
    kind: str
    since: datetime
    until: datetime
    as_of: datetime

    @property
    def running(self) -> bool:
        """Whether the period is not over."""
        return self.as_of < self.until


def _days(name: str) -> tuple[str, date, date] | None:
    """Kind, first day and the day after the last; None for a name that is none."""
    try:
        if found := _NAMES["week"].match(name):
            first = date.fromisocalendar(int(found[1]), int(found[2]), 1)
            return "week", first, first + timedelta(days=7)
        if found := _NAMES["month"].match(name):
            return "month", *_months(int(found[1]), int(found[2]), 1)
        if found := _NAMES["quarter"].match(name):
            return "quarter", *_months(int(found[1]), int(found[2]) * 3 - 2, 3)
        if found := _NAMES["year"].match(name):
            return "year", *_months(int(found[1]), 1, 12)
    except (ValueError, OverflowError):
        return None
    return None


def _months(year: int, month: int, count: int) -> tuple[date, date]:
    first = date(year, month, 1)
    index = month - 1 + count
    return first, date(year + index // 12, index % 12 + 1, 1)


def span_of(name: str, now: datetime, zone: ZoneInfo) -> Span:
    """Bounds of a period. Raises PeriodError with what was expected."""
    found = _days(name)
    if found is None:
        raise PeriodError(
            f"period {name!r} does not exist: write a week 2026-W47, a month 2026-11, a quarter 2026-Q4 or a year 2026"
        )
    kind, first, last = found
    since, until = (datetime.combine(day, time(), tzinfo=zone) for day in (first, last))
    if since > now:
        raise PeriodError(f"period {name} has not begun")
    return Span(name, kind, since, until, min(until, now))


def name_of(kind: str, day: date) -> str:
    """The period of this kind in which a local day lies."""
    return {
        "week": week_of(day),
        "month": f"{day:%Y-%m}",
        "quarter": f"{day.year}-Q{(day.month + 2) // 3}",
        "year": f"{day.year}",
    }[kind]


def name_before(kind: str, day: date) -> str:
    """The period of this kind before the one in which a local day lies."""
    found = _days(name_of(kind, day))
    assert found is not None  # a name that we have just made
    return name_of(kind, found[1] - timedelta(days=1))
