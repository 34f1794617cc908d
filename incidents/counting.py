"""Counting what a search found: by field and by time, in numpy over three numbers a post.

The database hands all of them over as one text (one row): a row at a time would take and give back the interpreter's
lock for each, and several searches at once would wait for each other most of the time.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary
from zoneinfo import ZoneInfo

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from incidents.models import FacetCombo

Numbers = np.ndarray[Any, np.dtype[np.int64]]
FACETS = ("domain", "tone", "source", "district", "risk")
UNITS = ("hour", "day", "week", "month")
_DAY, _HOUR = 86400, 3600


@dataclass(frozen=True)
class Counted:
    """The posts that were counted, newest saved first. `capped`: there are more; the counts are of the newest ones."""

    ids: Numbers
    at: Numbers  # seconds since 1970
    combo: Numbers
    capped: bool = False

    @property
    def total(self) -> int:
        """How many were counted: all, or as many as the cap."""
        return len(self.ids)

    def facets(self, session: Session) -> dict[str, dict[str, int]]:
        """Field -> code -> posts, the most frequent first."""
        known, numbers = np.unique(self.combo, return_counts=True)
        return _table(session).fold(session, known, numbers)

    def timeline(self, zone: ZoneInfo, unit: str = "day") -> list[tuple[datetime, int]]:
        """Local beginnings of hours, days, weeks (Monday) or months with posts, oldest first, and how many."""
        if not len(self.at):
            return []
        local = self.at + _offsets(self.at, zone)
        if unit == "month":
            months = local.astype("datetime64[s]").astype("datetime64[M]")
            begins, numbers = np.unique(months.astype("datetime64[s]").astype(np.int64), return_counts=True)
        else:
            size = {"hour": _HOUR, "day": _DAY, "week": 7 * _DAY}[unit]
            # 1970 began on a Thursday
            shift = 3 * _DAY if unit == "week" else 0
            begins, numbers = np.unique((local + shift) // size * size - shift, return_counts=True)
        # what was counted are local clocks: their zone is put on, not converted to
        epoch = datetime(1970, 1, 1, tzinfo=zone)
        return [
            (epoch + timedelta(seconds=int(begin)), int(number))
            for begin, number in zip(begins, numbers, strict=True)
        ]

    def days(self, zone: ZoneInfo) -> list[tuple[date, int]]:
        """The timeline by local day."""
        return [(begin.date(), number) for begin, number in self.timeline(zone)]


def counted(text: str | None, cap: int | None) -> Counted:
    """From `id,at,combo,id,at,combo,...` in any order; what goes beyond the cap is dropped, the oldest saved first."""
    flat = np.fromstring(text, dtype=np.int64, sep=",") if text else np.zeros(0, np.int64)
    rows = flat.reshape(-1, 3)
    rows = rows[np.argsort(-rows[:, 0], kind="stable")]
    capped = cap is not None and len(rows) > cap
    rows = rows[:cap] if capped else rows
    return Counted(rows[:, 0], rows[:, 1], rows[:, 2], capped)


def _offsets(at: Numbers, zone: ZoneInfo) -> Numbers:
    """Seconds that local time is ahead of UTC at each instant."""
    days, where = np.unique(at // _DAY, return_inverse=True)
    ends = np.array([_day_offsets(int(day), zone) for day in days], np.int64)
    first, last = ends[:, 0], ends[:, 1]
    found: Numbers = first[where]
    # a day on which the clocks change is looked at second by second
    for index in np.flatnonzero((first != last)[where]):
        found[index] = _offset(int(at[index]), zone)
    return found


@lru_cache(maxsize=20_000)
def _day_offsets(day: int, zone: ZoneInfo) -> tuple[int, int]:
    """Of the first and the last second of a day of UTC; every search asks it of the same days."""
    return _offset(day * _DAY, zone), _offset((day + 1) * _DAY - 1, zone)


def _offset(at: int, zone: ZoneInfo) -> int:
    utc = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at)
    offset = utc.astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset is not None else 0


class _Combos:
    """What the numbers of facet_combo mean. Its rows are never changed nor deleted, so each is read once a process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._codes: dict[str, dict[Any, int]] = {name: {} for name in (*FACETS, "districts")}
        #: combo -> code of each field; -1: not read yet
        self._of: dict[str, Numbers] = {
            name: np.full(64, -1, np.int64) for name in ("domain", "tone", "source", "risk", "districts")
        }

    def fold(self, session: Session, known: Numbers, numbers: Numbers) -> dict[str, dict[str, int]]:
        """Posts by field and code, given how many have each combination."""
        with self._lock:
            self._read(session, known)
            found = {name: self._count(name, known, numbers) for name in ("domain", "tone", "source", "risk")}
            places: dict[str, int] = {}
            for listed, number in self._count("districts", known, numbers).items():
                for district in listed:
                    places[district] = places.get(district, 0) + number
        found["district"] = places
        return {
            name: {str(code): n for code, n in sorted(found[name].items(), key=_frequent_first)}
            for name in FACETS
        }

    def _count(self, name: str, known: Numbers, numbers: Numbers) -> dict[Any, int]:
        sums = np.bincount(self._of[name][known], weights=numbers)
        return {
            code: int(sums[index])
            for code, index in self._codes[name].items()
            if index < len(sums) and sums[index]
        }

    def _read(self, session: Session, known: Numbers) -> None:
        if len(known) and known[-1] >= len(self._of["tone"]):
            room = int(known[-1]) + 1
            for name, old in self._of.items():
                self._of[name] = np.concatenate([old, np.full(room * 2 - len(old), -1, np.int64)])
        missing = known[self._of["tone"][known] < 0]
        for at in range(0, len(missing), 500):
            chunk = [int(id_) for id_ in missing[at : at + 500]]
            for row in session.execute(select(FacetCombo).where(FacetCombo.id.in_(chunk))).scalars():
                values = {
                    "domain": row.domain,
                    "tone": row.tone,
                    "source": row.source_id,
                    "risk": row.risk,
                    "districts": tuple(row.districts),
                }
                for name, value in values.items():
                    codes = self._codes[name]
                    self._of[name][row.id] = codes.setdefault(value, len(codes))


def _frequent_first(item: tuple[Any, int]) -> tuple[int, str]:
    return -item[1], str(item[0])


_tables: WeakKeyDictionary[Any, _Combos] = WeakKeyDictionary()
_tables_lock = threading.Lock()


def _table(session: Session) -> _Combos:
    with _tables_lock:
        return _tables.setdefault(session.get_bind(), _Combos())


def joined(session: Session, ids: Any, at: Any, combo: Any) -> Any:
    """The aggregate that `counted` reads."""
    if session.get_bind().dialect.name == "sqlite":
        return func.group_concat(ids.op("||")(",").op("||")(at).op("||")(",").op("||")(combo))
    return func.string_agg(func.concat(ids, ",", at, ",", combo), ",")


def histogram(columns: Sequence[Sequence[str]], names: Sequence[str]) -> dict[str, dict[str, int]]:
    """Counts of each column's values, the most frequent first."""
    return {
        name: dict(sorted(Counter(column).items(), key=_frequent_first))
        for name, column in zip(names, columns, strict=True)
    }
