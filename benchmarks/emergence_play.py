"""Plays a stream through the burst track as the product does it (analysis.playback), and through two simpler rules.

`Player` is the product's own arithmetic and ledger. `Ewma` (as SigniTrend: deviation from a moving average, an hour at a
time) and `Fixed` (so many authors within so many hours) get the same clusters, the same authors and the same messages.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

from analysis import playback
from analysis.emerge import MIN_SIGNAL_SHARE, Background
from analysis.playback import Cluster, Message

ZONE = ZoneInfo("Asia/Shanghai")
INJECTED_DOMAIN = "housing"


class Player(playback.Player):
    """The product's player, which also keeps what was ordinary on each day, to put incidents into."""

    def __init__(self, rates: Sequence[float], watched: frozenset[str], *, again: bool = False) -> None:
        super().__init__(rates, watched, ZONE, again=again)
        #: by day: what is ordinary for a new cluster of the domain
        self.ordinary: dict[date, Background] = {}

    def _day(self, at: datetime) -> None:
        super()._day(at)
        if at.date() not in self.ordinary:
            self.ordinary[at.date()] = self.background(INJECTED_DOMAIN)


class Rule:
    """Base of the two simple rules: a cluster's score at each message; the threshold is chosen afterwards."""

    def __init__(self, watched: frozenset[str]) -> None:
        self.watched = watched
        self.clusters: dict[int | None, Cluster] = {}

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
        self._state: dict[int | None, tuple[int, float, float, float]] = {}

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
        self._times: dict[int | None, list[float]] = defaultdict(list)

    def score(self, m: Message, new: bool) -> float:
        times = self._times[m.cluster]
        if new:
            times.append(m.at.timestamp() / 3600)
        if len(times) < self.count:
            return 0.0
        return 10000.0 - (m.at.timestamp() / 3600 - times[-self.count])
