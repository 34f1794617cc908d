"""How early and how often the burst track speaks on a dated stream: `python benchmarks/analysis_emergence.py`.

Needs QUANSHENG_DATA (complaints_stream.jsonl, complaints_events.csv). Clusters the stream, then plays it post by
post through `analysis.emerge.burst`, for several settings of false_alarms_per_week; prints alarms a week, the
share of hot matters raised (five posts or more within 30 days, gold labels before July 2019), and the same on copies
whose times were shuffled, where no matter bursts.
"""

from __future__ import annotations

import csv
import json
import os
import random
import sys
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from analysis.cluster import Clusterer, ClusterItem
from analysis.emerge import MIN_VOICES, Background, Growth, Hour, Policy, burst
from analysis.judge import Judge, JudgeInput
from config.settings import AnalysisSettings


@dataclass(frozen=True)
class Message:
    """One message with what clustering and judging said."""

    id: str
    at: datetime
    author: str
    cluster: int
    domain: str
    signal: bool
    negative: bool


def read(data: Path) -> list[Message]:
    """Judge and cluster the whole stream."""
    rows = [
        json.loads(line) for line in (data / "complaints_stream.jsonl").read_text("utf-8").split("\n") if line
    ]
    judge, clusterer, out = Judge.load(), Clusterer(), []
    for start in range(0, len(rows), 256):
        part = rows[start : start + 256]
        items = [
            JudgeInput(
                r["id"], r["title"], r["text"], datetime.fromisoformat(r["published_at"]), author=r["author"]
            )
            for r in part
        ]
        for item, output in zip(items, judge.judge_batch(items, explain=False), strict=True):
            assert item.published_at is not None
            assigned = clusterer.assign(
                ClusterItem(
                    item.id,
                    item.title,
                    item.text,
                    item.published_at,
                    output.places,
                    item.author,
                    output.districts,
                )
            )
            out.append(
                Message(
                    item.id,
                    item.published_at,
                    item.author or "",
                    assigned.incident,
                    output.domain,
                    output.signal,
                    output.tone == "neg",
                )
            )
    return out


class Player:
    """Plays messages in time order and keeps the counts that job.py reads from the database."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.raised: dict[int, datetime] = {}
        self._hours: dict[int, dict[datetime, list[int]]] = defaultdict(dict)
        self._authors: dict[int, set[str]] = defaultdict(set)
        self._first: dict[int, datetime] = {}
        self._domains: dict[int, Counter[str]] = defaultdict(Counter)
        self._posts: Counter[int] = Counter()
        self._signals: Counter[int] = Counter()
        self._recent: deque[tuple[datetime, str]] = deque()
        self._opened: deque[tuple[datetime, int]] = deque()

    def play(self, message: Message) -> None:
        """One message; a cluster is raised once."""
        c, at = message.cluster, message.at
        if c not in self._first:
            self._first[c] = at
            self._opened.append((at, c))
        new = message.author not in self._authors[c]
        self._authors[c].add(message.author)
        cell = self._hours[c].setdefault(at.replace(minute=0, second=0, microsecond=0), [0, 0, 0])
        cell[0] += new
        cell[1] += 1
        cell[2] += message.negative
        self._domains[c][message.domain] += 1
        self._posts[c] += 1
        self._signals[c] += message.signal
        self._recent.append((at, message.domain))
        while self._recent and self._recent[0][0] < at - timedelta(days=98):
            self._recent.popleft()
        while self._opened and self._opened[0][0] < at - timedelta(days=98):
            self._opened.popleft()
        if c in self.raised or len(self._authors[c]) < MIN_VOICES:
            return
        if burst(self._growth(c, at), self._background(c, at), self.policy).raised:
            self.raised[c] = at

    def _domain(self, c: int) -> str:
        real = {d: n for d, n in self._domains[c].items() if d != "none"}
        return min(real, key=lambda d: (-real[d], d)) if real else "none"

    def _growth(self, c: int, at: datetime) -> Growth:
        hours = [Hour(h, v[0], v[1], v[2]) for h, v in sorted(self._hours[c].items())]
        return Growth(at, self._first[c], hours, self._domain(c), self._signals[c] / self._posts[c])

    def _background(self, c: int, at: datetime) -> Background:
        end, domain = at - timedelta(days=14), self._domain(c)
        recent = [d for t, d in self._recent if t >= end]
        before = [d for t, d in self._recent if t < end]
        opened = [
            k for t, k in self._opened if t < end and k not in self.raised and self._domain(k) == domain
        ]
        per_week = max(len(recent) / 2, (len(recent) + len(before)) / 14)
        surge, base = 1.0, before.count(domain)
        if base >= 24:
            surge = max(1.0, (max(0, recent.count(domain) - self._posts[c]) / 2) / (base / 12))
        return Background(per_week, len(opened), sum(len(self._authors[k]) - 1 for k in opened), surge)


def weeks_of(messages: Sequence[Message]) -> float:
    """Length of the dense part of the stream."""
    return max((messages[-1].at - messages[0].at).days / 7, 1.0)


def hot(messages: Sequence[Message], events: dict[str, str]) -> dict[str, list[Message]]:
    """Gold matters with five messages or more within 30 days."""
    by: dict[str, list[Message]] = defaultdict(list)
    for m in messages:
        if m.id in events:
            by[events[m.id]].append(m)
    found = {}
    for event, members in by.items():
        for i in range(len(members) - 4):
            if members[i + 4].at - members[i].at <= timedelta(days=30):
                found[event] = members
                break
    return found


def main() -> int:
    """Print one line a setting."""
    data = os.environ.get("QUANSHENG_DATA")
    if not data:
        print("QUANSHENG_DATA is not set; it names the folder with complaints_stream.jsonl", file=sys.stderr)
        return 2
    messages = [m for m in read(Path(data)) if m.at.year >= 2019]
    with (Path(data) / "complaints_events.csv").open(encoding="utf-8") as stream:
        events = {row["id"]: row["event"] for row in csv.DictReader(stream)}
    weeks, matters = weeks_of(messages), hot(messages, events)
    watched = frozenset(AnalysisSettings().watched_domains)
    everything = frozenset(m.domain for m in messages)
    print(f"{len(messages)} messages, {weeks:.1f} weeks, {len(matters)} hot matters")
    print(
        "watched  false_alarms_per_week  alarms/week  hot raised  at post (median)  alarms/week, shuffled times"
    )
    for name, domains in (("default", watched), ("all", everything)):
        for setting in (0.25, 0.5, 1.0, 2.0, 4.0):
            policy = Policy(setting, domains)
            player = Player(policy)
            for m in messages:
                player.play(m)
            posts_at = []
            for members in matters.values():
                cluster = Counter(m.cluster for m in members).most_common(1)[0][0]
                if cluster in player.raised:
                    posts_at.append(sum(m.at <= player.raised[cluster] for m in members))
            quiet = 0
            for seed in range(3):
                times = [m.at for m in messages]
                order = list(messages)
                random.Random(seed).shuffle(order)
                shuffled = Player(policy)
                for t, m in zip(times, order, strict=True):
                    shuffled.play(Message(m.id, t, m.author, m.cluster, m.domain, m.signal, m.negative))
                quiet += len(shuffled.raised)
            median = sorted(posts_at)[len(posts_at) // 2] if posts_at else 0
            print(
                f"{name:8} {setting:21.2f} {len(player.raised) / weeks:12.2f} {len(posts_at):7}/{len(matters)} "
                f"{median:17} {quiet / 3 / weeks:12.2f}"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
