"""China's working days, with make-up days, and how certain each of them is.

Order of knowledge for one day: overrides of this office, then a government notice written into
`calendar.yaml`, then the package `chinesecalendar` (official notices of 2004 to its last year), then the
statutory holidays that `holidays` computes, which are *provisional*: make-up days of that year are not known
yet. A plain Monday-to-Friday week is never assumed in silence.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import lru_cache
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

import chinese_calendar
import holidays
from pydantic import Field

from config.files import Record, parse, read_yaml
from config.settings import ConfigError

#: The notice for year N has changed the last days of December N-1 (2011-12-31, 2018-12-29, 2018-12-31).
_LAST_SURE_DAY = (12, 27)
_PACKAGE = package_version("chinesecalendar")
_LAST_PACKAGED_YEAR = max(chinese_calendar.holidays).year
_FIRST_PACKAGED_YEAR = min(chinese_calendar.holidays).year
_ZH_NAMES = {item.value: str(item.chinese) for item in chinese_calendar.Holiday}
_STATUTORY = {
    "zh_CN": holidays.country_holidays("CN", language="zh_CN"),
    "en": holidays.country_holidays("CN", language="en_US"),
}

Reason = Literal["workday", "makeup", "weekend", "holiday", "override"]


@dataclass(frozen=True)
class Day:
    """One day: whether people work, why, and whether an official notice says so."""

    date: date
    working: bool
    certain: bool
    reason: Reason
    name: str = ""  # name of the holiday or of the override, Chinese
    name_en: str = ""


class Notice(Record):
    """A year's holiday notice of 国务院办公厅, for years that the package does not know yet."""

    year: int = Field(ge=2004, le=2100)
    title: str = Field(min_length=1)
    rest: Mapping[date, str] = Field(min_length=1)  # day off on a weekday or weekend -> holiday's name
    work: tuple[date, ...] = ()  # make-up days


class Override(Record):
    """A day on which this office differs, with the reason (an order of the city, for instance)."""

    day: date
    working: bool
    reason: str = Field(min_length=1)


class CalendarFile(Record):
    """`calendar.yaml`; every part may be absent."""

    notices: tuple[Notice, ...] = ()
    overrides: tuple[Override, ...] = ()


@dataclass(frozen=True)
class WorkCalendar:
    """Answers for every day; `zone` is where a day begins and ends."""

    zone: ZoneInfo
    notices: Mapping[int, Notice] = field(default_factory=dict)
    overrides: Mapping[date, Override] = field(default_factory=dict)

    @property
    def last_official_year(self) -> int:
        """The last year without a gap for which an official notice is loaded."""
        year = _LAST_PACKAGED_YEAR
        while year + 1 in self.notices:
            year += 1
        return year

    @property
    def version(self) -> str:
        """Identifies what the calendar knows, e.g. "chinesecalendar-1.11.0/2026" or ".../2027+3fa2b1"."""
        base = f"chinesecalendar-{_PACKAGE}/{self.last_official_year}"
        if not self.notices and not self.overrides:
            return base
        content = json.dumps(
            [
                [self.notices[year].model_dump(mode="json") for year in sorted(self.notices)],
                [self.overrides[day].model_dump(mode="json") for day in sorted(self.overrides)],
            ],
            sort_keys=True,
        )
        return f"{base}+{hashlib.sha256(content.encode()).hexdigest()[:8]}"

    def day(self, day: date) -> Day:
        """What is known about one day."""
        if day in self.overrides:
            override = self.overrides[day]
            return Day(day, override.working, True, "override", override.reason, override.reason)
        if day.year in self.notices:
            return self._noticed(day, self.notices[day.year])
        if _FIRST_PACKAGED_YEAR <= day.year <= _LAST_PACKAGED_YEAR:
            return self._packaged(day)
        return _statutory(day)

    def is_workday(self, day: date) -> tuple[bool, bool]:
        """(people work on this day, an official notice says so)."""
        found = self.day(day)
        return found.working, found.certain

    def next_workday(self, day: date) -> Day:
        """The first working day after `day`."""
        found = self.day(day + timedelta(days=1))
        while not found.working:
            found = self.day(found.date + timedelta(days=1))
        return found

    def local_day(self, instant: datetime) -> date:
        """The day, here, to which an instant belongs."""
        return instant.astimezone(self.zone).date()

    def _sure(self, day: date) -> bool:
        """Late December is sure only once the next year's notice is known."""
        return (day.month, day.day) <= _LAST_SURE_DAY or day.year < self.last_official_year

    def _noticed(self, day: date, notice: Notice) -> Day:
        if day in notice.work:
            return Day(day, True, self._sure(day), "makeup", "调休上班", "make-up working day")
        if day in notice.rest:
            return Day(day, False, self._sure(day), "holiday", notice.rest[day], notice.rest[day])
        return _plain(day, certain=self._sure(day))

    def _packaged(self, day: date) -> Day:
        if day in chinese_calendar.workdays:
            return Day(day, True, self._sure(day), "makeup", "调休上班", "make-up working day")
        if day in chinese_calendar.holidays:
            name = chinese_calendar.holidays[day]
            return Day(day, False, self._sure(day), "holiday", _ZH_NAMES[name], name)
        return _plain(day, certain=self._sure(day))


def _plain(day: date, *, certain: bool) -> Day:
    if day.weekday() < 5:
        return Day(day, True, certain, "workday")
    return Day(day, False, certain, "weekend")


@lru_cache(maxsize=4096)
def _statutory(day: date) -> Day:
    """A day of a year without a notice: statutory holidays only, hence provisional."""
    name = _STATUTORY["zh_CN"].get(day)
    if name:
        return Day(day, False, False, "holiday", name, _STATUTORY["en"].get(day) or name)
    return _plain(day, certain=False)


def load_calendar(folder: Path | None, timezone: str) -> WorkCalendar:
    """The calendar of an office: packaged knowledge plus `calendar.yaml` in its configuration folder, if any.

    Raises ConfigError naming file, key and expectation.
    """
    file = folder / "calendar.yaml" if folder else None
    zone = ZoneInfo(timezone)
    if file is None or not file.is_file():
        return WorkCalendar(zone)
    document = read_yaml(file)
    parsed = parse(CalendarFile, document)
    problems = [
        document.problem(("notices", number), f"{day} lies outside {notice.year}")
        for number, notice in enumerate(parsed.notices)
        for day in (*notice.rest, *notice.work)
        # a notice may settle the days around New Year's Eve of the year before
        if not date(notice.year - 1, 12, 20) <= day <= date(notice.year, 12, 31)
    ]
    if problems:
        raise ConfigError(problems)
    overrides = {item.day: item for item in parsed.overrides}
    for notice in parsed.notices:
        for day, name in notice.rest.items():
            if day.year != notice.year:
                overrides.setdefault(day, Override(day=day, working=False, reason=name))
        for day in notice.work:
            if day.year != notice.year:
                overrides.setdefault(day, Override(day=day, working=True, reason="调休上班"))
    return WorkCalendar(zone, {notice.year: notice for notice in parsed.notices}, overrides)
