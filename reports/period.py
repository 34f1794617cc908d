"""ISO weeks in local time: 2026-W47 is Monday 00:00 to Monday 00:00 of the city's zone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

_WEEK = re.compile(r"^(\d{4})-W(\d{2})$")


class WeekError(ValueError):
    """The week is not an ISO week, or lies in the future."""


@dataclass(frozen=True)
class Period:
    """One ISO week in local time. `as_of` is its end, or now while it runs."""

    week: str
    days: tuple[datetime, ...]  # eight local midnights
    before: tuple[datetime, ...]  # of the week before, cut at the same hour while this week runs
    as_of: datetime
    zone: ZoneInfo

    @property
    def since(self) -> datetime:
        """Monday 00:00."""
        return self.days[0]

    @property
    def until(self) -> datetime:
        """Monday 00:00 of the next week."""
        return self.days[-1]

    @property
    def seen(self) -> tuple[datetime, ...]:
        """The days' bounds as far as the week has run: a post dated into the future waits for its day."""
        return tuple(min(day, self.as_of) for day in self.days)


def week_of(day: date) -> str:
    """The ISO week of a day, as `2026-W47`."""
    year, week, _ = day.isocalendar()
    return f"{year}-W{week:02d}"


def week_before(now: datetime, zone: ZoneInfo) -> str:
    """The last whole week."""
    return week_of(now.astimezone(zone).date() - timedelta(days=7))


def period_of(week: str, now: datetime, zone: ZoneInfo) -> Period:
    """Bounds of an ISO week. Raises WeekError with what was expected."""
    found = _WEEK.match(week)
    try:
        monday = date.fromisocalendar(int(found[1]), int(found[2]), 1) if found else None
        if monday is not None:
            # the week before and the Monday after have to exist too: years 1 and 9999 are no weeks of ours
            _ = monday - timedelta(days=8), monday + timedelta(days=8)
    except (ValueError, OverflowError):
        monday = None
    if monday is None:
        raise WeekError(
            f"week {week!r} does not exist: write an ISO week as YYYY-Www, for example {week_before(now, zone)}"
        )

    def midnights(first: date) -> tuple[datetime, ...]:
        return tuple(
            datetime.combine(first + timedelta(days=index), time(), tzinfo=zone) for index in range(8)
        )

    days = midnights(monday)
    if days[0] > now:
        raise WeekError(
            f"week {week} has not begun: the latest one is {week_of(now.astimezone(zone).date())}"
        )
    as_of = min(days[-1], now)
    # a running week is compared with the same part of the week before
    before = tuple(min(day, as_of - timedelta(days=7)) for day in midnights(monday - timedelta(days=7)))
    return Period(week, days, before, as_of, zone)


def reached_by_retention(period: Period, post_days: int, now: datetime) -> bool:
    """Whether posts of this week or the one before may have been deleted: they cannot be counted any more."""
    return period.before[0] < now - timedelta(days=post_days)
