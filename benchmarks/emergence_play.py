"""Plays a stream through the burst track with the counts that job.py reads from the database, and through two simpler rules.

`Player` is the product's own arithmetic and ledger. `Ewma` (as SigniTrend: deviation from a moving average, an hour at a
time) and `Fixed` (so many authors within so many hours) get the same clusters, the same authors and the same messages.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from analysis.alarms import Ledger, Limit, by_model
from analysis.counts import Profile
from analysis.emerge import (
    MIN_SIGNAL_SHARE,
    PAST,
    WARM_VOICES,
    Background,
    Growth,
    Hour,
    Policy,
    burst,
    tests_per_week,
)
from benchmarks.emergence_streams import Message

ZONE = ZoneInfo("Asia/Shanghai")
RECENT, BASELINE, PROFILE = timedelta(days=14), timedelta(days=84), timedelta(days=56)
#: a cell that lives for ever may alarm again after so long, as a new incident
AGAIN = timedelta(days=14)
NEVER = timedelta(days=9999)
INJECTED_DOMAIN = "housing"


@dataclass
class Cluster:
    """What is known of one cluster."""

    first: datetime
    hours: dict[datetime, list[int]] = field(default_factory=dict)
    authors: set[str] = field(default_factory=set)
    domains: Counter[str] = field(default_factory=Counter)
    posts: int = 0
    signals: int = 0
    episode: Counter[float] = field(default_factory=Counter)  # by setting

    def take(self, m: Message) -> bool:
        """Count one message; True when its author is new."""
        new = m.author not in self.authors
        self.authors.add(m.author)
        cell = self.hours.setdefault(m.at.replace(minute=0, second=0, microsecond=0), [0, 0, 0])
        for position, more in enumerate((new, 1, m.negative)):
            cell[position] += more
        self.domains[m.domain] += 1
        self.posts += 1
        self.signals += m.signal
        return new

    @property
    def domain(self) -> str:
        """The domain of most of its messages."""
        real = {d: n for d, n in self.domains.items() if d != "none"}
        return min(real, key=lambda d: (-real[d], d)) if real else "none"


class Player:
    """The burst track as the product runs it, for several settings at once: the count model's score is the same for all.

    What is ordinary leaves out what the first setting raised. `alarms[setting]`: (cluster, time).
    """

    def __init__(self, rates: Sequence[float], watched: frozenset[str], *, again: bool = False) -> None:
        self.policy, self.again = Policy(rates[0], watched), again
        self.ledgers = {rate: Ledger.for_rate(rate) for rate in rates}
        self.limits: dict[float, Limit] = {rate: by_model(rate) for rate in rates}
        self.alarms: dict[float, list[tuple[int, datetime]]] = {rate: [] for rate in rates}
        self.clusters: dict[int, Cluster] = {}
        #: by day: what is ordinary for a new cluster of this domain, and the limits, to put incidents into
        self.days: dict[date, tuple[Background, dict[float, Limit]]] = {}
        self._quiet: dict[tuple[float, int], datetime] = {}
        self._recent: deque[tuple[datetime, str]] = deque()
        self._opened: deque[tuple[datetime, int]] = deque()
        self._hours: Counter[datetime] = Counter()
        self._today: date | None = None
        self._ordinary: dict[str, tuple[int, int, int]] = {}
        self._volumes: dict[str, tuple[int, int]] = {}
        self._profile = Profile.flat(ZONE)

    def play(self, m: Message) -> None:
        """One message."""
        cluster = self.clusters.get(m.cluster)
        if cluster is None:
            cluster = self.clusters[m.cluster] = Cluster(m.at)
            self._opened.append((m.at, m.cluster))
        cluster.take(m)
        self._recent.append((m.at, m.domain))
        self._hours[m.at.replace(minute=0, second=0, microsecond=0)] += 1
        self._day(m.at)
        for ledger in self.ledgers.values():
            ledger.saw(m.at)
        if len(cluster.authors) < WARM_VOICES:
            return
        decision, chance = score(
            self._growth(m, cluster), self._background(cluster), self.policy, self.limits
        )
        for rate, ledger in self.ledgers.items():
            quiet = self._quiet.get((rate, m.cluster))
            if quiet is not None and m.at < quiet:
                if not self.again and len(cluster.authors) <= 30 and decision is not None:
                    ledger.note(m.cluster, m.at, decision)
                continue
            episode = m.cluster * 1000 + cluster.episode[rate] if self.again else m.cluster
            if quiet is not None:
                cluster.episode[rate] += 1
                del self._quiet[rate, m.cluster]
            if decision is not None:
                ledger.note(episode, m.at, decision)
            if chance is not None and chance >= self.limits[rate].score:
                self.alarms[rate].append((m.cluster, m.at))
                self._quiet[rate, m.cluster] = m.at + (AGAIN if self.again else NEVER)
                self.limits[rate] = ledger.limit(m.at, rate)

    def _growth(self, m: Message, cluster: Cluster) -> Growth:
        since = m.at - PAST
        for hour in [h for h in cluster.hours if h < since]:
            del cluster.hours[hour]
        hours = [Hour(h, *v) for h, v in cluster.hours.items()]
        return Growth(m.at, cluster.first, hours, cluster.domain, cluster.signals / cluster.posts)

    def _background(self, cluster: Cluster | None, domain: str = "") -> Background:
        domain = cluster.domain if cluster else domain
        recent = sum(n for n, _ in self._volumes.values())
        before = sum(n for _, n in self._volumes.values())
        new, base = self._volumes.get(domain, (0, 0))
        surge = 1.0
        if base >= 24:
            surge = max(1.0, (max(0, new - (cluster.posts if cluster else 0)) / 2) / (base / 12))
        count, joined, squares = self._ordinary.get(domain, (0, 0, 0))
        return Background(
            max(recent / 2, (recent + before) / 14), count, joined, surge, squares, self._profile
        )

    def _day(self, at: datetime) -> None:
        if at.date() == self._today:
            return
        self._today = at.date()
        while self._recent and self._recent[0][0] < at - RECENT - BASELINE:
            self._recent.popleft()
        while self._opened and self._opened[0][0] < at - RECENT - BASELINE:
            self._opened.popleft()
        split = at - RECENT
        new, old = Counter[str](), Counter[str]()
        for time, domain in self._recent:
            (new if time >= split else old)[domain] += 1
        self._volumes = {d: (new[d], old[d]) for d in new | old}
        sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for time, number in self._opened:
            if time < split and (self.policy.false_alarms_per_week, number) not in self._quiet:
                cluster = self.clusters[number]
                more = len(cluster.authors) - 1
                for position, value in enumerate((1, more, more * more)):
                    sums[cluster.domain][position] += value
        self._ordinary = {d: (v[0], v[1], v[2]) for d, v in sums.items()}
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
        first = min(self._hours)
        for hour in [h for h in self._hours if h < midnight - PROFILE]:
            del self._hours[hour]
        self._profile = Profile.learn(self._hours, max(first, midnight - PROFILE), midnight, ZONE)
        for rate, ledger in self.ledgers.items():
            ledger.forget(at)
            self.limits[rate] = ledger.limit(at, rate)
        self.days[at.date()] = (self._background(None, INJECTED_DOMAIN), dict(self.limits))


def score(
    growth: Growth, background: Background, policy: Policy, limits: Mapping[float, Limit]
) -> tuple[float | None, float | None]:
    """What the ledger notes, and the score that may raise the cluster now; None when nothing could."""
    warm = any(limit.warm for limit in limits.values())
    decision = burst(growth, background, policy, Limit(-3.0, warm=warm))
    if not decision.raised:
        return decision.score, None
    tests = tests_per_week(background, bool(decision.why["watched"]))
    return decision.score, -math.log10(float(decision.why["p"]) * tests)


class Rule:
    """Base of the two simple rules: a cluster's score at each message; the threshold is chosen afterwards."""

    def __init__(self, watched: frozenset[str]) -> None:
        self.watched = watched
        self.clusters: dict[int, Cluster] = {}

    def play(self, m: Message) -> float:
        """The score after this message; 0 when most of the cluster's messages are no complaints or its domain is off the list."""
        cluster = self.clusters.setdefault(m.cluster, Cluster(m.at))
        new = cluster.take(m)
        real = cluster.signals / cluster.posts >= MIN_SIGNAL_SHARE and cluster.domain in self.watched
        score = self.score(m, new)
        return score if real else 0.0

    def score(self, m: Message, new: bool) -> float:
        """To be raised from a threshold on."""
        raise NotImplementedError


class Ewma(Rule):
    """Voices of the running hour against their moving average: (x - mean) / (sd + bias), averages halved every `half_h` hours."""

    def __init__(self, watched: frozenset[str], half_h: float = 24.0, bias: float = 0.1) -> None:
        super().__init__(watched)
        self.alpha, self.bias = 1 - 0.5 ** (1 / half_h), bias
        self._state: dict[int, tuple[int, float, float, float]] = {}

    def score(self, m: Message, new: bool) -> float:
        hour = int(m.at.timestamp() // 3600)
        last, now, mean, variance = self._state.get(m.cluster, (hour, 0.0, 0.0, 0.0))
        if hour > last:
            for value, steps in ((now, 1), (0.0, hour - last - 1)):
                if steps == 1:
                    off = value - mean
                    mean += self.alpha * off
                    variance = (1 - self.alpha) * (variance + self.alpha * off * off)
                elif steps > 1:  # silent hours at once
                    keep = (1 - self.alpha) ** steps
                    variance = keep * (variance + (1 - keep) * mean * mean)
                    mean *= keep
            now = 0.0
        now += new
        self._state[m.cluster] = (hour, now, mean, variance)
        if len(self.clusters[m.cluster].authors) < 2:  # as ours: one author is no burst
            return 0.0
        return (now - mean) / (math.sqrt(variance) + self.bias)


class Fixed(Rule):
    """`count` authors in the shortest time: the score is minus the hours that the newest `count` took, plus a constant."""

    def __init__(self, watched: frozenset[str], count: int) -> None:
        super().__init__(watched)
        self.count = count
        self._times: dict[int, list[float]] = defaultdict(list)

    def score(self, m: Message, new: bool) -> float:
        times = self._times[m.cluster]
        if new:
            times.append(m.at.timestamp() / 3600)
        if len(times) < self.count:
            return 0.0
        return 10000.0 - (m.at.timestamp() / 3600 - times[-self.count])
