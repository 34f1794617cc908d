"""G5: every start minute of 2019 to 2026 counted by the product and by a second way that knows nothing of it.

The second way counts minutes, not days: an array says of each minute whether it lies in a working day (from the
notices as typed in alerts/holidays.yaml, not from the package that the product asks), a running sum says how many
working minutes have passed, and the end of N working days is the minute at which N x 1440 more have passed.

    python -m benchmarks.calendar_minutes [--years 2019 2020 ...] [--amounts workdays:20 calendar_hours:24 ...] [--workers 2]

prints one line a year and exits with 1 if any minute differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from alerts.calendar import WorkCalendar
from alerts.clocks import compute_deadline
from alerts.holidays import is_workday

ZONE = ZoneInfo("Asia/Shanghai")
YEARS = range(2019, 2027)
WORKDAYS = (1, 2, 3, 5, 7, 10, 15, 20)
NATURAL_DAYS = (15, 30, 60, 90)
HOURS = (2, 5, 24, 48)
CASES = (
    *(("workdays", amount) for amount in WORKDAYS),
    *(("natural_days", amount) for amount in NATURAL_DAYS),
    *(("calendar_hours", amount) for amount in HOURS),
)
DAY = 1440
#: the array begins a little before the first start and ends where the last notice does
FIRST, LAST = date(2018, 12, 1), date(2026, 12, 31)
#: beyond this day the next year's notice may still change what is known
SURE = date(2026, 12, 27)
_EPOCH = datetime.combine(FIRST, datetime.min.time(), ZONE)
Minutes = npt.NDArray[np.int64]


@dataclass(frozen=True)
class RuleOf:
    """A rule with nothing but its time."""

    unit: str
    amount: int
    id: str = "G5"


@lru_cache(maxsize=1)
def _arrays() -> tuple[Minutes, Minutes]:
    """(working minutes passed up to and with each minute, the first working minute from each minute on)."""
    days = (LAST - FIRST).days + 1
    working = np.repeat(np.array([is_workday(FIRST + timedelta(days=n)) for n in range(days)]), DAY)
    number = np.where(working, np.arange(len(working)), len(working))
    onward = np.minimum.accumulate(number[::-1])[::-1]
    return np.cumsum(working, dtype=np.int64), onward


def minute_of(day: date) -> int:
    """Number of the first minute of a local day; the zone has had no summer time since 1991."""
    return (day - FIRST).days * DAY


def expected(unit: str, amount: int, starts: Minutes) -> Minutes:
    """The end of each clock as a minute number; -1 where it lies beyond the last notice."""
    passed, onward = _arrays()
    total = len(passed)
    if unit == "calendar_hours":
        return starts + amount * 60
    # the minute at which the day of the event is over
    over = (starts // DAY + 1) * DAY
    if unit == "workdays":
        wanted = passed[over - 1] + amount * DAY
        ends = np.searchsorted(passed, wanted, side="left") + 1
        return np.where(wanted <= passed[-1], ends, -1)
    last = over + amount * DAY - 1
    inside = last < total
    moved = np.where(inside, onward[np.minimum(last, total - 1)], total)
    ends = np.where(moved == last, last + 1, (moved // DAY + 1) * DAY)
    return np.where(moved < total, ends, -1)


def instant(minute: int) -> datetime:
    """A minute number as UTC."""
    return (_EPOCH + timedelta(minutes=minute)).astimezone(UTC)


def differences(unit: str, amount: int, starts: Iterable[int]) -> tuple[int, int, list[str]]:
    """(minutes compared, of them beyond the notices, sentences about those that differ)."""
    calendar = WorkCalendar(ZONE)
    rule = RuleOf(unit, amount)
    chosen = np.fromiter(starts, dtype=np.int64)
    wanted = expected(unit, amount, chosen)
    sure = minute_of(SURE + timedelta(days=1))
    wrong: list[str] = []
    beyond = 0
    for start, end in zip(chosen.tolist(), wanted.tolist(), strict=True):
        due = compute_deadline(rule, instant(start), calendar)
        if end < 0:
            beyond += 1
            good = due.provisional
        else:
            # who looked at a day that the next notice may change must say so
            good = due.due_at == instant(end) and due.provisional == (unit != "calendar_hours" and end > sure)
        if not good or due.counted != amount or not due.trace:
            wrong.append(f"{amount} {unit} from {instant(start)}: {due.due_at}, expected minute {end}")
    return len(chosen), beyond, wrong


def _year(job: tuple[int, str, int]) -> tuple[int, str, int, int, int, list[str]]:
    year, unit, amount = job
    starts = range(minute_of(date(year, 1, 1)), minute_of(date(year + 1, 1, 1)))
    compared, beyond, wrong = differences(unit, amount, starts)
    return year, unit, amount, compared, beyond, wrong


def main() -> int:
    """Compare every minute of the years asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--years", nargs="*", type=int, default=list(YEARS))
    parser.add_argument("--workers", type=int, default=2)
    names = [f"{unit}:{amount}" for unit, amount in CASES]
    parser.add_argument("--amounts", nargs="*", choices=names, default=names, metavar="UNIT:N")
    given = parser.parse_args()
    began = time.monotonic()
    total = beyond = 0
    wrong: list[str] = []
    cases = [case for case, name in zip(CASES, names, strict=True) if name in given.amounts]
    jobs = [(year, unit, amount) for unit, amount in cases for year in given.years]
    with ProcessPoolExecutor(given.workers) as pool:
        for year, unit, amount, compared, past, bad in pool.map(_year, jobs):
            total, beyond, wrong = total + compared, beyond + past, wrong + bad
            print(
                f"{year} {amount} {unit}: {compared} minutes, {past} beyond the notices, {len(bad)} differ",
                flush=True,
            )
    print(
        f"{total} comparisons, {beyond} beyond the notices and all provisional, {len(wrong)} differ, {time.monotonic() - began:.0f} s"
    )
    for line in wrong[:20]:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
