"""The working calendar knows make-up days and says when it does not know."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import holidays
import pytest

from alerts.calendar import Override, WorkCalendar, load_calendar
from config.settings import ConfigError

ZONE = ZoneInfo("Asia/Shanghai")
PLAIN = WorkCalendar(ZONE)


def days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def test_every_day_of_2018_to_2026_agrees_with_an_independent_calendar() -> None:
    other = holidays.country_holidays("CN")
    differing = [
        day
        for day in days(date(2018, 1, 1), date(2026, 12, 31))
        if PLAIN.is_workday(day)[0] != other.is_working_day(day)
    ]
    assert differing == []


@pytest.mark.parametrize(
    ("year", "count"),
    [
        (2018, 250),
        (2019, 250),
        (2020, 249),
        (2021, 250),
        (2022, 249),
        (2023, 249),
        (2024, 251),
        (2025, 248),
        (2026, 248),
    ],
)
def test_working_days_of_each_year_are_as_published(year: int, count: int) -> None:
    assert sum(PLAIN.is_workday(day)[0] for day in days(date(year, 1, 1), date(year, 12, 31))) == count


@pytest.mark.parametrize(
    "day", ["2026-01-04", "2026-02-14", "2026-02-28", "2026-05-09", "2026-09-20", "2026-10-10"]
)
def test_make_up_days_are_working_days_and_say_so(day: str) -> None:
    found = PLAIN.day(date.fromisoformat(day))
    assert found.working
    assert found.certain
    assert found.reason == "makeup"


def test_a_year_without_notice_is_provisional_and_never_plain_monday_to_friday() -> None:
    new_year = PLAIN.day(date(2027, 1, 1))  # a Friday
    assert (new_year.working, new_year.certain, new_year.name) == (False, False, "元旦")
    assert not PLAIN.day(date(2027, 3, 3)).certain


def test_late_december_is_provisional_until_the_next_notice_is_known() -> None:
    assert PLAIN.is_workday(date(2026, 12, 24)) == (True, True)
    assert PLAIN.is_workday(date(2026, 12, 30)) == (True, False)
    assert PLAIN.is_workday(date(2025, 12, 30)) == (True, True)


def test_an_override_of_the_office_wins_and_gives_its_reason() -> None:
    day = date(2026, 11, 25)
    calendar = WorkCalendar(ZONE, overrides={day: Override(day=day, working=False, reason="全市停工令")})
    assert calendar.day(day).name == "全市停工令"
    assert calendar.is_workday(day) == (False, True)
    assert calendar.version != PLAIN.version


NOTICE = """
notices:
  - year: 2027
    title: 国务院办公厅关于2027年部分节假日安排的通知
    rest: {2027-01-01: 元旦, 2027-02-08: 春节}
    work: [2026-12-27, 2027-02-14]
overrides:
  - {day: 2027-03-03, working: false, reason: 全市停电}
"""


def test_a_notice_in_calendar_yaml_makes_its_year_certain(tmp_path: Path) -> None:
    (tmp_path / "calendar.yaml").write_text(NOTICE, "utf-8")
    calendar = load_calendar(tmp_path, "Asia/Shanghai")
    assert calendar.last_official_year == 2027
    assert calendar.is_workday(date(2027, 2, 14)) == (True, True)  # a Sunday
    assert calendar.is_workday(date(2027, 2, 8)) == (False, True)
    assert calendar.is_workday(date(2026, 12, 27)) == (
        True,
        True,
    )  # the notice changed a day of the year before
    assert calendar.is_workday(date(2026, 12, 30)) == (True, True)
    assert calendar.is_workday(date(2027, 3, 3)) == (False, True)
    assert calendar.version.startswith("chinesecalendar-")
    assert "/2027+" in calendar.version


def test_without_the_file_the_packaged_calendar_is_used(tmp_path: Path) -> None:
    assert load_calendar(tmp_path, "Asia/Shanghai").version == PLAIN.version
    assert len(PLAIN.version) <= 60


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("notices: [{year: 2027, title: x, rest: {2027-13-01: 元旦}}]", "2027-13-01"),
        ("notices: [{year: 2027, title: x, rest: {2029-01-01: 元旦}}]", "lies outside 2027"),
        ("overrides: [{day: 2026-11-25, working: false}]", "reason"),
        ("holidays: []", "holidays"),
        ("a: [", "not valid YAML"),
    ],
)
def test_a_wrong_calendar_file_is_named_with_its_key(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "calendar.yaml").write_text(content, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_calendar(tmp_path, "Asia/Shanghai")
    assert "calendar.yaml" in str(caught.value)
    assert words in str(caught.value)
