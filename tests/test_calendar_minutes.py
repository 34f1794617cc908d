"""G5: deadlines of 2019 to 2026 against a count of minutes over the notices as typed, not over the package's days."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from alerts import holidays
from alerts.calendar import Override, WorkCalendar
from benchmarks import calendar_minutes as g5

CALENDAR = WorkCalendar(g5.ZONE)


def test_the_notices_as_typed_and_the_package_agree_on_every_day_of_2018_to_2026() -> None:
    assert sorted(holidays.notices()) == list(range(2018, 2027))
    assert holidays.disagreements(CALENDAR) == []


def test_a_disagreement_is_told_with_its_day() -> None:
    broken = replace(CALENDAR, notices={})
    object.__setattr__(broken, "_packaged", lambda day: replace(CALENDAR.day(day), working=not CALENDAR.day(day).working) if day == date(2024, 2, 18) else CALENDAR.day(day))  # fmt: skip
    (told,) = holidays.disagreements(broken)
    assert told.startswith("calendar: 2024-02-18: a day off by the calendar in force")
    assert "alerts/holidays.yaml" in told


def test_an_order_of_the_city_is_no_disagreement() -> None:
    day = date(2026, 11, 27)
    ordered = replace(CALENDAR, overrides={day: Override(day=day, working=False, reason="市政府通知")})
    assert holidays.disagreements(ordered) == []


@pytest.mark.parametrize(("unit", "amount"), g5.CASES)
def test_within_one_day_every_minute_of_the_second_count_ends_alike(unit: str, amount: int) -> None:
    """So that three minutes of a day stand for all 1,440 of it; for hours each minute has its own end."""
    starts = np.arange(g5.minute_of(date(2019, 1, 1)), g5.minute_of(date(2027, 1, 1)))
    ends = g5.expected(unit, amount, starts).reshape(-1, g5.DAY)
    if unit == "calendar_hours":
        assert (ends - starts.reshape(-1, g5.DAY) == amount * 60).all()
    else:
        assert (ends == ends[:, :1]).all()


@pytest.mark.parametrize(("unit", "amount"), g5.CASES)
def test_every_start_day_of_2019_to_2026_equals_the_count_of_minutes(unit: str, amount: int) -> None:
    """The first, the last and one minute in between of every day; all minutes: python -m benchmarks.calendar_minutes."""
    chance = random.Random(amount)
    starts = []
    for n in range((date(2027, 1, 1) - date(2019, 1, 1)).days):
        first = g5.minute_of(date(2019, 1, 1) + timedelta(days=n))
        starts += [first, first + chance.randrange(1, g5.DAY - 1), first + g5.DAY - 1]
    compared, beyond, wrong = g5.differences(unit, amount, starts)
    assert compared == 3 * 2922
    assert wrong == []
    assert (beyond > 0) == (unit != "calendar_hours")
