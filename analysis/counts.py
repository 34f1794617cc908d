"""How many voices the background explains: hours of the week and holidays, own past, domain and place, over-dispersion.

Time is measured in ordinary hours: an hour in which twice as much is written as on average counts twice, a night
hour hardly at all. In that time an ordinary cluster gathers follow-up voices ever more slowly; how many differs from
cluster to cluster (gamma), so their number is negative binomial. What a cluster gathered before its newest voices
moves the expectation and narrows it.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from functools import lru_cache

import chinese_calendar

#: longest window, hours; real matters of a city needed it (3 voices in 14 days)
LONGEST_H = 336.0
BASELINE_DAYS = 28
#: follow-up voices that an ordinary cluster gathers in 14 days, and their dispersion (size of the negative
#: binomial); from the complaint messages before July 2019 of `complaints_stream.jsonl`, see docs/quality.md
PRIOR_FOLLOW_UPS = 0.05
PRIOR_SIZE = 0.8
#: a smaller size would make any count likely and hide how fast it came; the ledger sees to the rest
LEAST_SIZE = 0.3
PRIOR_WEIGHT = 200.0  # clusters' worth of belief in both
#: a window opens with the newest hour that is at least so many hours old
_AGES_H = (1, 2, 3, 4, 6, 8, 12, 16, 24, 36, 48, 72, 96, 120, 168, 240, 336)
#: posts' worth of belief that an hour is like its kind of day, and a kind of day like the average
_SMOOTHING = 20.0
#: hours of its own past that a cluster is taken to have been silent before we looked
_SILENT_H = 168.0
#: squared coefficient of variation of a cluster's daily rate, and days' worth of belief in it
_UNSTEADY, _UNSTEADY_DAYS = 0.25, 7.0
_HOUR = timedelta(hours=1)


def nb_tail(k: int, mean: float, size: float = PRIOR_SIZE) -> float:
    """P(N >= k) for a negative binomial with this mean and size (variance mean + mean^2/size)."""
    if k <= 0:
        return 1.0
    if mean <= 0:
        return 0.0
    log_p, log_q = math.log(size / (size + mean)), math.log(mean / (size + mean))
    log_term = math.lgamma(k + size) - math.lgamma(size) - math.lgamma(k + 1) + size * log_p + k * log_q
    q = mean / (size + mean)
    if k > mean + 1:  # the tail itself, added up
        term = total = math.exp(log_term) if log_term > -690 else 0.0
        n = k
        while term > total * 1e-9:
            term *= (n + size) / (n + 1) * q
            total += term
            n += 1
        return max(total, 1e-300)
    term = total = math.exp(size * log_p)
    for n in range(1, k):
        term *= (n - 1 + size) / n * q
        total += term
    return min(1.0, max(1.0 - total, 1e-300))


@lru_cache(maxsize=4096)
def working(day: date) -> bool:
    """Whether people work on that day in China, make-up days included; beyond the published notices by weekday."""
    try:
        return bool(chinese_calendar.is_workday(day))
    except NotImplementedError:
        return day.weekday() < 5


class Profile:
    """How much is written in each hour of the week, mean 1; days off in the week and make-up days have their own."""

    def __init__(
        self, week: Sequence[float], on: Sequence[float], off: Sequence[float], zone: tzinfo
    ) -> None:
        self.week, self.on, self.off, self.zone = tuple(week), tuple(on), tuple(off), zone
        self._days: dict[date, tuple[float, ...]] = {}
        self._sums: dict[date, float] = {}

    @classmethod
    def flat(cls, zone: tzinfo) -> Profile:
        """Every hour alike: nothing is known yet."""
        return cls([1.0] * 168, [1.0] * 24, [1.0] * 24, zone)

    @classmethod
    def learn(cls, posts: Mapping[datetime, float], start: datetime, end: datetime, zone: tzinfo) -> Profile:
        """From posts by hour between two times; thin data stay near the average."""
        hours = max(1, int((end - start) / _HOUR))
        total = float(sum(posts.values()))
        if total <= 0 or hours < 168:
            return cls.flat(zone)
        mean = total / hours
        seen, expected = [0.0] * 168, [0.0] * 168
        kinds: dict[bool, list[list[float]]] = {k: [[0.0] * 24, [0.0] * 24] for k in (True, False)}
        at = start.replace(minute=0, second=0, microsecond=0)
        for _ in range(hours):
            local = at.astimezone(zone)
            day, count = local.date(), posts.get(at, 0.0)
            works, hour = working(day), local.hour
            kinds[works][0][hour] += count
            kinds[works][1][hour] += mean
            if works == (day.weekday() < 5):
                seen[day.weekday() * 24 + hour] += count
                expected[day.weekday() * 24 + hour] += mean
            at += _HOUR
        on, off = (
            [(n + _SMOOTHING) / (e + _SMOOTHING) for n, e in zip(*kinds[kind], strict=True)]
            for kind in (True, False)
        )
        week = [
            (seen[i] + _SMOOTHING * (on if i < 120 else off)[i % 24]) / (expected[i] + _SMOOTHING)
            for i in range(168)
        ]
        scale = 168 / sum(week)
        return cls([w * scale for w in week], [w * scale for w in on], [w * scale for w in off], zone)

    def _day(self, day: date) -> tuple[float, ...]:
        """Ordinary hours from midnight to each full hour of that day."""
        held = self._days.get(day)
        if held is None:
            weekday = day.weekday()
            if working(day) == (weekday < 5):
                weights: Sequence[float] = self.week[weekday * 24 : weekday * 24 + 24]
            else:
                weights = self.on if working(day) else self.off
            total, sums = 0.0, [0.0]
            for weight in weights:
                total += weight
                sums.append(total)
            held = self._days[day] = tuple(sums)
        return held

    def hours(self, start: datetime, end: datetime) -> float:
        """Ordinary hours between two times; 0 when the end comes first."""
        if end <= start:
            return 0.0
        a, b = start.astimezone(self.zone), end.astimezone(self.zone)
        return self._until(b.date()) - self._until(a.date()) + self._within(b) - self._within(a)

    def _until(self, day: date) -> float:
        """Ordinary hours from a fixed day to that day's midnight."""
        held = self._sums.get(day)
        if held is None:
            if not self._sums:
                self._sums[day] = 0.0
            near = min(self._sums, key=lambda other: abs((other - day).days))
            held = self._sums[near]
            step = timedelta(days=1 if near < day else -1)
            while near != day:
                held += self._day(near)[24] if near < day else -self._day(near + step)[24]
                near += step
                self._sums[near] = held
        return held

    def _within(self, local: datetime) -> float:
        sums = self._day(local.date())
        part = (local.minute * 60 + local.second) / 3600
        return sums[local.hour] + part * (sums[local.hour + 1] - sums[local.hour])


@dataclass(frozen=True)
class Ordinary:
    """What is ordinary for a cluster of this domain and place: follow-ups in 14 days, their dispersion, the surge now."""

    follow_ups: float
    size: float
    surge: float


def ordinary_of(clusters: float, follow_ups: float, squares: float, surge: float) -> Ordinary:
    """Estimate from the clusters of the domain, drawn towards the prior by PRIOR_WEIGHT clusters.

    `follow_ups` and `squares`: sums of their follow-up voices and of the squares. Size by moments: mean^2 / (variance - mean).
    """
    total = clusters + PRIOR_WEIGHT
    mean = (follow_ups + PRIOR_FOLLOW_UPS * PRIOR_WEIGHT) / total
    prior_square = PRIOR_FOLLOW_UPS + PRIOR_FOLLOW_UPS**2 * (1 + 1 / PRIOR_SIZE)
    variance = (squares + prior_square * PRIOR_WEIGHT) / total - mean**2
    size = mean**2 / (variance - mean) if variance > mean * 1.001 else 1000 * mean
    return Ordinary(mean, min(max(size, LEAST_SIZE), 20.0), max(1.0, surge))


def _gathered(age_h: float) -> float:
    """Share of its 14 days' follow-ups that an ordinary cluster of this age has: half of them within 3.5 days."""
    if age_h <= LONGEST_H:
        return math.sqrt(max(0.0, age_h) / LONGEST_H)
    return 1.0 + 0.5 * (age_h - LONGEST_H) / LONGEST_H


@dataclass(frozen=True)
class Look:
    """One look at the newest voices: `extra` of them followed the one at `start`; the background explains `expected`."""

    start: datetime
    extra: int
    expected: float
    size: float
    p: float
    yesterday: int
    last_week: int


def looks(
    voices: Iterable[tuple[datetime, int]],
    first: datetime,
    at: datetime,
    ordinary: Ordinary,
    profile: Profile,
) -> list[Look]:
    """The looks at a cluster at time `at`, from its newest hour to all of the last 14 days.

    `voices`: (hour, number), oldest first, of the last 42 days; `first`: when the cluster's first post was published.
    """
    hours = sorted((min(hour + _HOUR / 2, at), number) for hour, number in voices if number > 0)
    if not hours:
        return []
    times, sums, total = [hour for hour, _ in hours], [0], 0
    for _, number in hours:
        total += number
        sums.append(total)  # sums[i]: voices before times[i]
    past = _Past(times, sums, first, ordinary, profile)
    oldest = bisect_left(times, at - timedelta(hours=LONGEST_H))
    # chosen by age and not by number: another voice now may add a window but never take one away
    starts = set(range(bisect_left(times, at - timedelta(hours=2)), len(times)))
    starts |= {bisect_right(times, at - timedelta(hours=age)) - 1 for age in _AGES_H} | {oldest}
    extras = {index: total - sums[index] - 1 for index in starts if oldest <= index < len(times)}
    return [past.look(extra, times[index], at) for index, extra in sorted(extras.items()) if extra > 0]


@dataclass(frozen=True)
class _Past:
    """One cluster's voices: `sums[i]` of them came before `times[i]`."""

    times: Sequence[datetime]
    sums: Sequence[int]
    first: datetime
    ordinary: Ordinary
    profile: Profile

    def look(self, extra: int, start: datetime, at: datetime) -> Look:
        """One window: `extra` voices after the one at `start`."""
        span = max(0.5, self.profile.hours(start, at))
        # the cluster's own past before the window, its first voice left out: that one opened it
        since = max(self.first, start - timedelta(days=BASELINE_DAYS))
        past_h = self.profile.hours(since, start)
        before = self.sums[-1] - extra
        past = max(0, before - max(1, self._before(since))) if past_h > 24 else 0
        age = self.profile.hours(self.first, start)
        mean = self.ordinary.follow_ups * (_gathered(age + span) - _gathered(age)) * self.ordinary.surge
        own = past / (past_h + _SILENT_H / (1 + past / 3)) * span
        window = at - start
        yesterday = self._between(start, at, timedelta(days=1)) if window <= timedelta(days=1) else 0
        last_week = self._between(start, at, timedelta(days=7)) if window <= timedelta(days=7) else 0
        expected = max(mean, own, (yesterday + last_week) / 2, 1e-6)
        size = min(self.ordinary.size + past, self._steadiness(since, start))
        return Look(start, extra, expected, size, nb_tail(extra, expected, size), yesterday, last_week)

    def _before(self, when: datetime) -> int:
        return self.sums[bisect_left(self.times, when)]

    def _between(self, start: datetime, end: datetime, back: timedelta) -> int:
        """Voices of the same span, `back` earlier; the first voice of a cluster is no sign of a habit."""
        return max(0, self._before(end - back) - max(1, self._before(start - back)))

    def _steadiness(self, since: datetime, start: datetime) -> float:
        """Size of the negative binomial of the cluster's own days; few days stay near what is usual."""
        days = (start - since) // timedelta(days=1)
        if days < 2:
            return 1 / _UNSTEADY
        bounds = [self._before(start - timedelta(days=n)) for n in range(days + 1)]
        counts = [bounds[n] - bounds[n + 1] for n in range(days)]
        mean = sum(counts) / days
        variance = sum((n - mean) ** 2 for n in counts) / (days - 1)
        own = max(0.0, variance - mean) / mean**2 if mean > 0 else _UNSTEADY
        weight = min(1.0, mean)  # days of hardly a voice say nothing of steadiness
        spread = (own * days * weight + _UNSTEADY * _UNSTEADY_DAYS) / (days * weight + _UNSTEADY_DAYS)
        return 1 / max(spread, 0.01)
