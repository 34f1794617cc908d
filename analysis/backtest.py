"""What another setting would have raised in the past: two playbacks of the same posts, compared matter by matter.

Posts are grouped as they are grouped now, with everything that people merged, split and corrected since. Both sides begin
without experience at the first post and learn from there, so they differ by the setting alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from analysis.playback import Raised
from config.rules import RuleSet
from incidents.backtests import Change, Matter

#: an alarm that comes this much earlier or later is the same one, told at the same time
SAME = timedelta(minutes=1)
#: the longest period
LONGEST = timedelta(weeks=52)
#: how a matter's alarm changed, in the order in which it is told
OUTCOMES = ("lost", "gained", "later", "earlier", "same")


@dataclass(frozen=True)
class Line:
    """One matter that at least one of the two settings raises in the period."""

    outcome: str
    cluster: int
    before: Raised | None
    after: Raised | None
    matter: Matter | None = None

    @property
    def delay(self) -> timedelta | None:
        """How much later the other setting raises it; negative: earlier."""
        return self.after.at - self.before.at if self.before and self.after else None


@dataclass(frozen=True)
class Comparison:
    """The two settings over one period."""

    since: datetime
    until: datetime
    posts: int
    lines: tuple[Line, ...] = field(default=())

    @property
    def weeks(self) -> float:
        """Length of the period."""
        return max((self.until - self.since) / timedelta(weeks=1), 1e-9)

    def of(self, *outcomes: str, word: str | None = None) -> int:
        """Matters with one of these outcomes, of which people said `word` (real, false_alarm, open, unseen)."""
        return sum(
            line.outcome in outcomes and (word is None or _word(line.matter) == word) for line in self.lines
        )

    def as_dict(self) -> dict[str, Any]:
        """For keeping: counts, and every matter."""
        return {
            "posts": self.posts,
            "weeks": round(self.weeks, 3),
            "before": self.of("lost", "later", "earlier", "same"),
            "after": self.of("gained", "later", "earlier", "same"),
            "counts": {
                outcome: {word: self.of(outcome, word=word) for word in WORDS} for outcome in OUTCOMES
            },
            "lines": [_line(line) for line in self.lines],
        }


#: what people said of a matter: real (confirmed), false alarm, not yet judged, or never seen because it was not raised
WORDS = ("real", "false_alarm", "open", "unseen")


def _word(matter: Matter | None) -> str:
    if matter is None or not matter.number:
        return "unseen"
    if matter.state == "false_alarm":
        return "false_alarm"
    return "real" if matter.confirmed_at is not None else "open"


def _line(line: Line) -> dict[str, Any]:
    def alarm(raised: Raised | None) -> dict[str, Any] | None:
        if raised is None:
            return None
        return {
            "at": raised.at.isoformat(),
            "track": raised.track,
            "zh": raised.sentence_zh,
            "en": raised.sentence_en,
        }

    matter = line.matter
    return {
        "outcome": line.outcome,
        "word": _word(matter),
        "cluster": line.cluster,
        "number": matter.number if matter else "",
        "title": matter.title if matter else "",
        "domain": matter.domain if matter else "",
        "district": matter.district if matter else "",
        "posts": matter.posts if matter else 0,
        "before": alarm(line.before),
        "after": alarm(line.after),
        "delay_s": line.delay.total_seconds() if line.delay is not None else None,
    }


def compare(
    before: Sequence[Raised],
    after: Sequence[Raised],
    matters: Mapping[int, Matter],
    since: datetime,
    until: datetime,
    posts: int,
) -> Comparison:
    """Hold the alarms of two settings in [since, until) against each other.

    An alarm that one setting gives before the period and the other in it is a change of this period, too: it is told as
    earlier or later.
    """
    first = {alarm.cluster: alarm for alarm in reversed(before)}
    second = {alarm.cluster: alarm for alarm in reversed(after)}
    lines = []
    for cluster in sorted(first.keys() | second.keys()):
        was, will = first.get(cluster), second.get(cluster)
        if not any(alarm is not None and since <= alarm.at < until for alarm in (was, will)):
            continue
        lines.append(Line(_outcome(was, will), cluster, was, will, matters.get(cluster)))
    lines.sort(key=lambda line: (OUTCOMES.index(line.outcome), (line.before or line.after).at))  # type: ignore[union-attr]  # one is there
    return Comparison(since, until, posts, tuple(lines))


def _outcome(was: Raised | None, will: Raised | None) -> str:
    if will is None:
        return "lost"
    if was is None:
        return "gained"
    if abs(will.at - was.at) < SAME:
        return "same"
    return "later" if will.at > was.at else "earlier"


def faults_of(
    change: Change,
    since: datetime,
    until: datetime,
    now: datetime,
    *,
    domains: Sequence[str],
    limits: Sequence[str],
    rules: RuleSet,
) -> list[tuple[str, str]]:
    """What is wrong with a question, as (Chinese, English) sentences: nothing changed, names that there are not, numbers out of range."""
    found: list[tuple[str, str]] = []
    if not change:
        found.append(("没有改动任何设置。", "nothing is changed: name a setting, a limit or a rule"))
    if since >= until or until - since > LONGEST or until > now:
        found.append(
            (
                "时段应早于现在、起点在终点之前，且不超过52周。",
                "the period must lie in the past, begin before it ends and be no longer than 52 weeks",
            )
        )
    rate = change.false_alarms_per_week
    if rate is not None and not 0 < rate <= 100:
        found.append(
            (
                f"每周误报 {rate:g} 超出范围：应大于 0，不超过 100。",
                f"false_alarms_per_week = {rate:g}: expected more than 0, at most 100",
            )
        )
    for domain in change.watched_domains or ():
        if domain not in domains:
            found.append(
                (
                    f"没有领域“{domain}”。",
                    f"watched_domains: no domain {domain}; there are {', '.join(domains)}",
                )
            )
    for name, value in change.fast.items():
        if name not in limits:
            found.append(
                (f"快速通道没有界限“{name}”。", f"fast: no limit {name}; there are {', '.join(limits)}")
            )
        elif not 0 <= value <= 1:
            found.append(
                (
                    f"{name} = {value:g} 应在 0 与 1 之间。",
                    f"{name} = {value:g}: expected a probability, 0 to 1",
                )
            )
    for rule_id, amount in change.rules.items():
        found += _rule_faults(rules, rule_id, amount)
    return found


def _rule_faults(rules: RuleSet, rule_id: str, amount: int) -> list[tuple[str, str]]:
    try:
        rule = rules.rule(rule_id)
    except KeyError:
        return [(f"没有规则 {rule_id}。", f"no rule {rule_id}; `quansheng check` lists the rule file")]
    if not rule.countable:
        return [(f"规则 {rule_id} 没有可计算的时限。", f"rule {rule_id} has no time that could be counted")]
    if not 1 <= amount <= 1000:
        return [
            (
                f"{rule_id} 的时限应在 1 与 1000 之间。",
                f"{rule_id} = {amount}: expected 1 to 1000 of its units",
            )
        ]
    return []
