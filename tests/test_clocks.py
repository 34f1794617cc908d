"""Deadlines equal what a person counts by hand, and say how they were counted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import holidays
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.calendar import WorkCalendar
from alerts.clocks import NoClock, compute_deadline

ZONE = ZoneInfo("Asia/Shanghai")
CALENDAR = WorkCalendar(ZONE)


@dataclass(frozen=True)
class RuleOf:
    unit: str
    amount: int | None
    id: str = "T01"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


VECTORS = [
    ("2018-08-07", 3, "2018-08-10"),
    ("2018-09-28", 2, "2018-09-30"),
    ("2018-09-28", 5, "2018-10-10"),
    ("2018-09-30", 1, "2018-10-08"),
    ("2024-02-08", 1, "2024-02-09"),
    ("2024-02-09", 1, "2024-02-18"),
    ("2025-01-24", 5, "2025-02-07"),
    ("2025-09-30", 5, "2025-10-14"),
    ("2025-09-30", 15, "2025-10-28"),
    ("2026-02-13", 3, "2026-02-25"),
    ("2026-02-13", 5, "2026-02-27"),
    ("2026-09-30", 5, "2026-10-13"),
    ("2026-11-20", 5, "2026-11-27"),
    ("2026-11-20", 15, "2026-12-11"),
    ("2026-12-24", 5, "2026-12-31"),
]


@pytest.mark.parametrize(("start", "amount", "last"), VECTORS)
@pytest.mark.parametrize("clock", ["00:00", "09:30", "23:59"])
def test_workdays_end_at_24_of_the_last_day_whatever_the_hour_of_the_start(
    start: str, amount: int, last: str, clock: str
) -> None:
    due = compute_deadline(RuleOf("workdays", amount), at(f"{start}T{clock}"), CALENDAR)
    assert due.last_day == date.fromisoformat(last)
    assert due.due_at == at(f"{last}T00:00") + timedelta(days=1)
    assert due.counted == amount


def test_a_count_into_a_year_without_notice_is_provisional_and_says_so() -> None:
    due = compute_deadline(RuleOf("workdays", 5), at("2026-12-28T10:00"), CALENDAR)
    assert due.provisional
    assert due.last_day == date(2027, 1, 5)
    assert due.trace[-1].startswith("暂定")
    certain = compute_deadline(RuleOf("workdays", 5), at("2026-11-20T10:00"), CALENDAR)
    assert not certain.provisional


def test_hours_run_through_holidays_to_the_second() -> None:
    start = at("2026-09-30T23:10:05")
    due = compute_deadline(RuleOf("calendar_hours", 48), start, CALENDAR)
    assert due.due_at == start + timedelta(hours=48)
    assert not due.provisional


@pytest.mark.parametrize(
    ("start", "amount", "last"),
    [
        (
            "2026-09-16T10:00",
            15,
            "2026-10-08",
        ),  # 10-01 lies in National Day week: on to the first working day
        ("2026-11-05T10:00", 15, "2026-11-20"),  # a Friday stays
        ("2026-11-06T10:00", 15, "2026-11-23"),  # a Saturday moves to Monday
        ("2026-09-25T10:00", 15, "2026-10-10"),  # a make-up Saturday is no day of rest
    ],
)
def test_natural_days_roll_on_when_the_last_day_is_a_day_of_rest(start: str, amount: int, last: str) -> None:
    due = compute_deadline(RuleOf("natural_days", amount), at(start), CALENDAR)
    assert due.last_day == date.fromisoformat(last)


def walk(start: date, amount: int, working: set[date]) -> date:
    """Counting on the fingers, with somebody else's calendar."""
    day = start
    while amount:
        day += timedelta(days=1)
        amount -= day in working
    return day


def test_every_start_day_of_2018_to_2026_equals_a_walk_through_another_calendar() -> None:
    other = holidays.country_holidays("CN")
    every = [date(2018, 1, 1) + timedelta(days=n) for n in range(365 * 9 + 2)]
    working = {day for day in every if other.is_working_day(day)}
    wrong = []
    for amount in (1, 2, 3, 5, 7, 15, 20):
        for start in every[:-60]:
            due = compute_deadline(
                RuleOf("workdays", amount), datetime.combine(start, time(12), ZONE), CALENDAR
            )
            if due.last_day != walk(start, amount, working):
                wrong.append((start, amount, due.last_day))
    assert wrong == []


def test_every_minute_of_a_day_around_a_holiday_gives_the_same_last_day() -> None:
    for day, last in ((date(2026, 2, 13), date(2026, 2, 25)), (date(2026, 9, 30), date(2026, 10, 10))):
        midnight = datetime.combine(day, time(), ZONE)
        ends = {
            compute_deadline(RuleOf("workdays", 3), midnight + timedelta(minutes=minute), CALENDAR).last_day
            for minute in range(24 * 60)
        }
        assert ends == {last}


def test_the_trace_adds_up_and_names_what_was_skipped() -> None:
    due = compute_deadline(RuleOf("workdays", 5), at("2026-09-30T15:20"), CALENDAR)
    assert due.trace == (
        "起算：2026-09-30(周三) 15:20，当日不计入",
        "2026-10-01(周四) - 2026-10-07(周三)：国庆节，不计入",
        "2026-10-08(周四) - 2026-10-09(周五)：第1-2个工作日",
        "2026-10-10(周六)：第3个工作日（调休上班）",
        "2026-10-11(周日)：周末，不计入",
        "2026-10-12(周一) - 2026-10-13(周二)：第4-5个工作日",
        "截止：2026-10-13(周二) 24:00",
    )


UNITS = st.sampled_from(["workdays", "natural_days", "calendar_hours"])
STARTS = st.integers(0, 10 * 365 * 24 * 60).map(
    lambda n: datetime(2018, 1, 1, tzinfo=UTC) + timedelta(minutes=n)
)


@given(unit=UNITS, amount=st.integers(1, 60), first=STARTS, later=st.timedeltas(timedelta(), timedelta(30)))
@settings(max_examples=300, deadline=None)
def test_a_later_start_never_ends_earlier_and_a_clock_always_runs_forward(
    unit: str, amount: int, first: datetime, later: timedelta
) -> None:
    rule = RuleOf(unit, amount)
    one, two = (
        compute_deadline(rule, first, CALENDAR),
        compute_deadline(rule, first + later, CALENDAR),
    )
    assert first < one.due_at <= two.due_at
    numbers = [part for line in one.trace for part in re.findall(r"第(\d+)(?:-(\d+))?个工作日", line)]
    if unit == "workdays":
        assert sum(int(high or low) - int(low) + 1 for low, high in numbers) == amount == one.counted


@pytest.mark.parametrize("rule", [RuleOf("none", None), RuleOf("calendar", 1), RuleOf("workdays", None)])
def test_a_rule_without_a_number_is_no_clock(rule: RuleOf) -> None:
    with pytest.raises(NoClock, match="T01"):
        compute_deadline(rule, at("2026-11-20T10:00"), CALENDAR)


def test_a_naive_start_is_refused() -> None:
    with pytest.raises(ValueError, match="naive"):
        compute_deadline(RuleOf("calendar_hours", 5), datetime(2026, 11, 20), CALENDAR)  # noqa: DTZ001
