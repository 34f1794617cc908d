"""A second opinion on holidays: the notices of 2018 to 2026 as typed from the documents, compared with the package.

Never used to count a clock; it only tells where the calendar in force says something else, so that a person looks.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path

from pydantic import Field

from alerts.calendar import WorkCalendar
from config.files import Record, parse, read_yaml

FILE = Path(__file__).parent / "holidays.yaml"


class Year(Record):
    """The holidays of one year as the notice gives them; its days may lie in the year before."""

    document: str = Field(min_length=4, description="Document number of the notice, with later changes.")
    rest: Mapping[str, str] = Field(description="First day/last day of a holiday -> its name.")
    work: tuple[date, ...] = Field(description="Make-up working days.")


class _File(Record):
    years: Mapping[int, Year]


@lru_cache(maxsize=1)
def notices() -> Mapping[int, Year]:
    """The notices by year."""
    return parse(_File, read_yaml(FILE)).years


@lru_cache(maxsize=1)
def special_days() -> Mapping[date, bool]:
    """Every day that a notice names -> whether people work on it."""
    found: dict[date, bool] = {}
    for year in notices().values():
        for span in year.rest:
            first, _, last = span.partition("/")
            day, end = date.fromisoformat(first), date.fromisoformat(last or first)
            while day <= end:
                found[day] = False
                day += timedelta(days=1)
        found.update(dict.fromkeys(year.work, True))
    return found


def is_workday(day: date) -> bool:
    """What the notices say of a day between the first and the last year; other days are Monday to Friday."""
    return special_days().get(day, day.weekday() < 5)


def span() -> tuple[date, date]:
    """First and last day on which there is a second opinion."""
    return date(min(notices()), 1, 1), date(max(notices()), 12, 31)


def disagreements(calendar: WorkCalendar) -> list[str]:
    """One sentence for each day on which the calendar in force and the notices differ; an override is no difference."""
    first, last = span()
    # late December is the next year's notice to change
    last -= timedelta(days=4)
    found = []
    day = first
    while day <= last:
        known = calendar.day(day)
        if known.working != is_workday(day) and known.reason != "override":
            found.append(
                f"calendar: {day}: {'a working day' if known.working else 'a day off'} by the calendar in force "
                f"({known.reason}), the other way round by the notice as typed in alerts/holidays.yaml; look at the notice"
            )
        day += timedelta(days=1)
    return found
