"""Bars over time that lead further: each is a link to its own hour, day, week or month. Drawn without a script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np

from incidents.counting import UNITS, Counted

#: more bars than this are drawn by the next longer unit
MOST = 370
_HEIGHT = 100


@dataclass(frozen=True)
class Bar:
    """One bar; `since` and `until` are what the address of its search says."""

    label: str
    count: int
    since: str
    until: str
    x: int
    y: int
    height: int


@dataclass(frozen=True)
class Timeline:
    """Bars without gaps. `asked` is the unit that was wished for and could not be drawn, else empty."""

    unit: str
    bars: tuple[Bar, ...]
    top: int
    asked: str = ""

    @property
    def ends(self) -> tuple[str, str, str]:
        """Labels of the first, the middle and the last bar."""
        return self.bars[0].label, self.bars[len(self.bars) // 2].label, self.bars[-1].label


def drawn(
    count: Callable[[str], Sequence[tuple[datetime, int]]], wish: str, since: str = "", until: str = ""
) -> Timeline | None:
    """`count` gives beginnings and numbers by a unit; `wish` is a unit or empty. None when nothing was found."""
    days = count("day")
    if not days:
        return None
    length = (days[-1][0] - days[0][0]).days + 1
    unit = (
        wish
        if wish in UNITS
        else "hour"
        if length <= 3
        else "day"
        if length <= 120
        else "week"
        if length <= 900
        else "month"
    )
    while len(begins := _between(unit, count(unit))) > MOST and unit != "month":
        unit = UNITS[UNITS.index(unit) + 1]
    numbers = {_naive(begin): number for begin, number in count(unit)}
    top = max(numbers.values())
    bars = []
    for index, begin in enumerate(begins[-2 * MOST :]):
        number = numbers.get(begin, 0)
        height = max(round(number / top * _HEIGHT), 2) if number else 0
        first, last = _bounds(unit, begin)
        # a bar at the edge of the present bounds must not lead beyond them
        first = max(first, since) if since and "T" not in since and "T" not in first else first
        last = min(last, until) if until and "T" not in until and "T" not in last else last
        bars.append(Bar(label(unit, begin), number, first, last, index * 10, _HEIGHT - height, height))
    return Timeline(unit, tuple(bars), top, wish if wish in UNITS and wish != unit else "")


def _naive(value: datetime) -> datetime:
    return value.replace(tzinfo=None)


def _next(unit: str, begin: datetime) -> datetime:
    if unit == "month":
        return (begin.replace(day=1) + timedelta(days=32)).replace(day=1)
    return begin + {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(days=7)}[unit]


def _between(unit: str, counted: Sequence[tuple[datetime, int]]) -> list[datetime]:
    begin, end = _naive(counted[0][0]), _naive(counted[-1][0])
    found = [begin]
    # one more than may be drawn is enough to see that it is too many
    while found[-1] < end and (len(found) <= MOST or unit == "month"):
        found.append(_next(unit, found[-1]))
    return found


def _bounds(unit: str, begin: datetime) -> tuple[str, str]:
    end = _next(unit, begin)
    if unit == "hour":
        return begin.isoformat(timespec="minutes"), end.isoformat(timespec="minutes")
    return begin.date().isoformat(), (end - timedelta(days=1)).date().isoformat()


def label(unit: str, begin: datetime) -> str:
    """What a beginning is called by its unit."""
    return {
        "hour": f"{begin:%Y-%m-%d %H:00}",
        "day": f"{begin:%Y-%m-%d}",
        "week": f"{begin:%Y-%m-%d}–{begin + timedelta(days=6):%m-%d}",
        "month": f"{begin:%Y-%m}",
    }[unit]


def counted(instants: Sequence[int], zone: ZoneInfo, unit: str) -> list[tuple[datetime, int]]:
    """The same numbers of instants in seconds since 1970, for `drawn`."""
    at = np.array(instants, np.int64)
    return Counted(at, at, at).timeline(zone, unit)
