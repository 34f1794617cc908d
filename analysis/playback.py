"""A stream of judged messages played through both tracks at its own times: what would have been raised, and when.

`Player` counts in memory what job.py reads from the database, with the product's own arithmetic and ledger. A change of
settings is tried with it before it is switched on (`quansheng backtest`), and the promised rate of false alarms is measured.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo

from analysis.alarms import Ledger, Limit, by_model
from analysis.counts import Profile
from analysis.emerge import (
    BASELINE,
    FOLLOWED_VOICES,
    PAST,
    PROFILE,
    RECENT,
    WARM_VOICES,
    Background,
    Growth,
    Hour,
    Policy,
    burst,
    surge_of,
    tests_per_week,
)

#: a cell that lives for ever may alarm again after so long, as a new incident
AGAIN = timedelta(days=14)
NEVER = timedelta(days=9999)


@dataclass(frozen=True)
class Message:
    """One message with what judging and clustering said. `cluster` None: it tells of nothing and only counts as volume."""

    id: str
    at: datetime
    author: str
    cluster: int | None
    domain: str
    signal: bool
    negative: bool
    district: str = ""
    #: repeats another message word for word, so its author is no further voice
    copy: bool = False
    #: False: it came too late to raise anything and counts in its own hour only
    news: bool = True
    source: str = ""


@dataclass(frozen=True)
class Raised:
    """One alarm: which cluster, when, on which track, at which message, and the arithmetic in a sentence of each language."""

    cluster: int
    at: datetime
    track: str
    message: str
    sentence_zh: str = ""
    sentence_en: str = ""


@dataclass
class Cluster:
    """What is known of one cluster."""

    first: datetime
    hours: dict[datetime, list[int]] = field(default_factory=dict)
    authors: set[str] = field(default_factory=set)
    domains: Counter[str] = field(default_factory=Counter)
    sources: set[str] = field(default_factory=set)
    posts: int = 0
    signals: int = 0
    voices: int = 0
    episode: Counter[float] = field(default_factory=Counter)  # by setting

    def take(self, m: Message) -> bool:
        """Count one message; True when it is a new voice."""
        new = not m.copy and m.author not in self.authors
        self.authors.add(m.author)
        self.sources.add(m.source)
        cell = self.hours.setdefault(_hour(m.at), [0, 0, 0])
        for position, more in enumerate((new, 1, m.negative)):
            cell[position] += more
        self.domains[m.domain] += 1
        self.posts += 1
        self.signals += m.signal
        self.voices += new
        return new

    @property
    def domain(self) -> str:
        """The domain of most of its messages."""
        real = {d: n for d, n in self.domains.items() if d != "none"}
        return min(real, key=lambda d: (-real[d], d)) if real else "none"


class Player:
    """Both tracks as the product runs them, for several settings of `false_alarms_per_week` at once.

    `again`: a cluster may alarm anew after 14 days (cells that live for ever). `fast`: ids of messages that page at once in a
    watched domain. `real`: clusters that a person confirmed, since when. `places`: a surge of the district counts, too.
    What is ordinary leaves out what the first setting raised. Messages come in the order of their times.
    """

    def __init__(
        self,
        rates: Sequence[float],
        watched: frozenset[str],
        zone: tzinfo,
        *,
        again: bool = False,
        fast: Collection[str] = (),
        real: Mapping[int, datetime] | None = None,
        places: bool = False,
    ) -> None:
        self.policy, self.again, self.zone = Policy(rates[0], watched), again, zone
        self.ledgers = {rate: Ledger.for_rate(rate) for rate in rates}
        self.limits: dict[float, Limit] = {rate: by_model(rate) for rate in rates}
        self.alarms: dict[float, list[Raised]] = {rate: [] for rate in rates}
        self.clusters: dict[int, Cluster] = {}
        #: by day: the limits, to put incidents into
        self.days: dict[date, dict[float, Limit]] = {}
        self._fast, self._real, self._by_place = frozenset(fast), dict(real or {}), places
        self._quiet: dict[tuple[float, int], datetime] = {}
        self._recent: deque[tuple[datetime, str]] = deque()
        self._voiced: deque[tuple[datetime, str]] = deque()
        self._opened: deque[tuple[datetime, int]] = deque()
        self._hours: Counter[datetime] = Counter()
        self._today: date | None = None
        self._ordinary: dict[str, tuple[int, int, int]] = {}
        self._volumes: dict[str, tuple[int, int]] = {}
        self._place_volumes: dict[str, tuple[int, int]] = {}
        self._profile = Profile.flat(zone)

    def play(self, m: Message) -> None:
        """One message."""
        self._recent.append((m.at, m.domain))
        if m.cluster is None:
            self._day(m.at)
            return
        cluster = self.clusters.get(m.cluster)
        if cluster is None:
            cluster = self.clusters[m.cluster] = Cluster(m.at)
            self._opened.append((m.at, m.cluster))
        if cluster.take(m) and m.district and self._by_place:
            self._voiced.append((m.at, m.district))
        self._hours[_hour(m.at)] += 1
        self._day(m.at)
        for ledger in self.ledgers.values():
            ledger.saw(m.at)
        if not m.news:
            return
        if m.id in self._fast and m.domain in self.policy.watched:
            self._page_at_once(m, m.cluster)
        if cluster.voices >= WARM_VOICES:
            self._look(m, m.cluster, cluster)

    def _page_at_once(self, m: Message, number: int) -> None:
        for rate in self.ledgers:
            quiet = self._quiet.get((rate, number))
            if quiet is None or m.at >= quiet:
                self.alarms[rate].append(Raised(number, m.at, "fast", m.id))
                self._quiet[rate, number] = m.at + (AGAIN if self.again else NEVER)

    def _look(self, m: Message, number: int, cluster: Cluster) -> None:
        growth = self._growth(m, cluster)
        background = self.background(cluster.domain, cluster, m.district)
        noted, chance = score(growth, background, self.policy, self.limits)
        for rate, ledger in self.ledgers.items():
            quiet = self._quiet.get((rate, number))
            if quiet is not None and m.at < quiet:
                if not self.again and cluster.voices <= FOLLOWED_VOICES and noted is not None:
                    ledger.note(number, m.at, noted)
                continue
            episode = number * 1000 + cluster.episode[rate] if self.again else number
            if quiet is not None:
                cluster.episode[rate] += 1
                del self._quiet[rate, number]
            if noted is not None:
                ledger.note(episode, m.at, noted)
            if chance is not None and chance >= self.limits[rate].score:
                said = burst(growth, background, Policy(rate, self.policy.watched), self.limits[rate]).why
                self.alarms[rate].append(
                    Raised(number, m.at, "burst", m.id, said["sentence_zh"], said["sentence_en"])
                )
                self._quiet[rate, number] = m.at + (AGAIN if self.again else NEVER)
                self.limits[rate] = ledger.limit(m.at, rate, self._confirmed(m.at))

    def _confirmed(self, at: datetime) -> set[int]:
        return {cluster for cluster, since in self._real.items() if since <= at}

    def _growth(self, m: Message, cluster: Cluster) -> Growth:
        since = m.at - PAST
        for hour in [h for h in cluster.hours if h < since]:
            del cluster.hours[hour]
        hours = [Hour(h, *v) for h, v in cluster.hours.items()]
        share = cluster.signals / cluster.posts
        return Growth(m.at, cluster.first, hours, cluster.domain, share, max(1, len(cluster.sources)))

    def background(self, domain: str, cluster: Cluster | None = None, district: str = "") -> Background:
        """What is ordinary today for a cluster of this domain (None: a new one)."""
        recent = sum(n for n, _ in self._volumes.values())
        before = sum(n for _, n in self._volumes.values())
        new, base = self._volumes.get(domain, (0, 0))
        voices, voices_before = self._place_volumes.get(district, (0, 0))
        surge = max(
            surge_of(new - (cluster.posts if cluster else 0), base),
            surge_of(voices - (cluster.voices if cluster else 0), voices_before),
        )
        count, joined, squares = self._ordinary.get(domain, (0, 0, 0))
        return Background(
            max(recent / 2, (recent + before) / 14), count, joined, surge, squares, self._profile
        )

    def _day(self, at: datetime) -> None:
        if at.date() == self._today:
            return
        self._today = at.date()
        split = at - RECENT
        for queue in (self._recent, self._voiced, self._opened):
            while queue and queue[0][0] < split - BASELINE:
                queue.popleft()
        self._volumes = _halves(self._recent, split)
        self._place_volumes = _halves(self._voiced, split)
        sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        for time, number in self._opened:
            if time < split and (self.policy.false_alarms_per_week, number) not in self._quiet:
                cluster = self.clusters[number]
                more = cluster.voices - 1
                for position, value in enumerate((1, more, more * more)):
                    sums[cluster.domain][position] += value
        self._ordinary = {d: (v[0], v[1], v[2]) for d, v in sums.items()}
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
        first = min(self._hours, default=midnight)
        for hour in [h for h in self._hours if h < midnight - PROFILE]:
            del self._hours[hour]
        self._profile = Profile.learn(self._hours, max(first, midnight - PROFILE), midnight, self.zone)
        real = self._confirmed(at)
        for rate, ledger in self.ledgers.items():
            ledger.forget(at)
            self.limits[rate] = ledger.limit(at, rate, real)
        self.days[at.date()] = dict(self.limits)


def _hour(at: datetime) -> datetime:
    return at.replace(minute=0, second=0, microsecond=0)


def _halves(events: Collection[tuple[datetime, str]], split: datetime) -> dict[str, tuple[int, int]]:
    """By name: how many since `split`, and how many before."""
    new, old = Counter[str](), Counter[str]()
    for time, name in events:
        (new if time >= split else old)[name] += 1
    return {name: (new[name], old[name]) for name in new | old}


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
