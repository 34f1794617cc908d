"""What keeps `false_alarms_per_week`: the limit of the burst track, learnt from the scores of the weeks before.

Each cluster has a score: -log10 of how often a week pure chance would show it, by the count model. The model is
never quite right, so the highest score of every cluster is remembered for half a year, and the limit is put where as
many of them would have been raised as the setting allows. Before there are enough weeks the model itself decides.
Clusters that a person confirmed are no false alarms and do not count; the others do until somebody says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

#: how long a score is remembered; longer is steadier, shorter follows a changing city
MEMORY_WEEKS = 26
MEMORY = timedelta(weeks=MEMORY_WEEKS)
#: weeks' worth of belief in the count model: at first, and once the city's own weeks speak
PRIOR_WEEKS, LEAST_PRIOR_WEEKS = 2.0, 0.25
#: until then two voices are never enough: nobody knows yet how often two come together by chance
WARM_UP_WEEKS = 4.0
#: a week with less than this share of an average week's posts is no experience
_STRAY = 0.1
_WEEK_S = 7 * 86400.0


@dataclass(frozen=True)
class Limit:
    """The score from which a cluster is raised.

    `weeks` of experience it rests on, `seen` clusters of them whose score is known, `thin`: even with every cluster
    of two voices raised the set rate would not be reached, so the setting is an upper bound.
    """

    score: float
    weeks: float = 0.0
    seen: int = 0
    warm: bool = False
    thin: bool = False


def by_model(rate: float) -> Limit:
    """The limit of the count model alone."""
    return Limit(-math.log10(rate))


class Ledger:
    """The highest score of each cluster in the last half year."""

    def __init__(self, kept: int) -> None:
        self.kept = kept  # scores remembered; lower ones are of no interest
        self._posts: dict[int, int] = {}  # by week since 1970: posts whose clusters were looked at
        self._scores: dict[int, tuple[datetime, float]] = {}

    @classmethod
    def for_rate(cls, rate: float) -> Ledger:
        """With room for what a setting of `rate` a week needs, and for a later change of it."""
        return cls(min(4000, max(300, int(80 * rate))))

    def note(self, cluster: int, at: datetime, score: float) -> None:
        """A cluster was looked at; its highest score counts, when it was reached."""
        held = self._scores.get(cluster)
        if held is None or score > held[1]:
            self._scores[cluster] = (at, score)

    def saw(self, at: datetime) -> None:
        """A post of that time was looked at: its week counts as experience, whether or not a cluster grew in it."""
        week = int(at.timestamp() // _WEEK_S)
        self._posts[week] = self._posts.get(week, 0) + 1

    def weeks(self, at: datetime, memory: float = 2.0 * MEMORY_WEEKS) -> float:
        """Weeks of experience in the `memory` weeks before `at`; weeks with stray posts only do not count."""
        now = at.timestamp() / _WEEK_S
        inside = {week: n for week, n in self._posts.items() if now - memory < week + 1 and week <= now}
        if not inside:
            return 0.0
        least = _STRAY * sum(inside.values()) / len(inside)
        lived = sum(min(week + 1, now) - max(week, now - memory) for week, n in inside.items() if n >= least)
        return min(memory, lived)

    def memory(self, at: datetime) -> float:
        """Weeks that count: the newer half of what was lived through, since what is ordinary was not known at first."""
        return min(float(MEMORY_WEEKS), max(PRIOR_WEEKS, self.weeks(at) / 2))

    def forget(self, at: datetime) -> None:
        """Drop what is too old or too low to matter."""
        last = (at - 2 * MEMORY).timestamp()
        self._posts = {week: n for week, n in self._posts.items() if (week + 1) * _WEEK_S >= last}
        oldest = at - timedelta(weeks=self.memory(at))
        kept = [item for item in self._scores.items() if item[1][0] >= oldest]
        if len(kept) > self.kept:
            kept = sorted(kept, key=lambda item: -item[1][1])[: self.kept]
        self._scores = dict(kept)

    def limit(self, at: datetime, rate: float, real: Collection[int] = ()) -> Limit:
        """The limit at this time for `rate` alarms a week; `real`: clusters that a person confirmed."""
        memory = self.memory(at)
        weeks, lived = self.weeks(at, memory), self.weeks(at)
        oldest = at - timedelta(weeks=memory)
        scores = sorted(
            (s for c, (t, s) in self._scores.items() if oldest <= t <= at and c not in real), reverse=True
        )
        prior = max(LEAST_PRIOR_WEEKS, PRIOR_WEEKS - lived / 2)
        allowed = rate * (prior + weeks)
        warm = lived >= WARM_UP_WEEKS
        for count in range(min(len(scores), math.ceil(allowed) - 1), -1, -1):
            by_prior = -math.log10((allowed - count) / prior)
            below = scores[count] + 1e-9 if count < len(scores) else -math.inf
            limit = max(by_prior, below)
            if count == 0 or limit <= scores[count - 1]:
                thin = warm and len(scores) < rate * weeks * 0.67
                return Limit(limit, weeks, len(scores), warm, thin)
        return by_model(rate)

    def clusters(self) -> list[int]:
        """Clusters whose state matters to the limit."""
        return sorted(self._scores)

    def as_json(self) -> dict[str, Any]:
        """For keeping; hours and thousandths are exact enough."""
        return {
            "posts": sorted(self._posts.items()),
            "scores": [
                [cluster, int(at.timestamp() // 3600), round(score, 3)]
                for cluster, (at, score) in sorted(self._scores.items())
            ],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any], rate: float) -> Ledger:
        """Read back; what cannot be read is left out, the count model stands in for it."""
        ledger = cls.for_rate(rate)
        try:
            ledger._posts = {int(week): int(n) for week, n in data.get("posts", ())}
            for cluster, hour, score in data.get("scores", ()):
                ledger._scores[int(cluster)] = (datetime.fromtimestamp(hour * 3600, UTC), float(score))
        except (TypeError, ValueError, KeyError):
            return cls.for_rate(rate)
        return ledger
