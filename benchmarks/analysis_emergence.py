"""False alarms as set, and how early: `QUANSHENG_DATA=... python -m benchmarks.analysis_emergence [rates|early|hot]`.

`rates`: alarms a week against the setting, on streams as they are and with their times shuffled. `early`: incidents of
5 to 50 authors put into the background, median delay and recall, against two simpler rules at the same number of
false alarms. `hot`: which known matters of the complaint stream are raised, and at which message.
"""

from __future__ import annotations

import csv
import os
import random
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from analysis.emerge import Growth, Hour, Policy
from analysis.playback import Message, score
from benchmarks.emergence_play import INJECTED_DOMAIN, ZONE, Ewma, Fixed, Player, Rule
from benchmarks.emergence_streams import complaints, hot_titles, questions, shuffled, weeks_of
from config.settings import AnalysisSettings

RATES = (1.0, 0.25, 4.0)
WARM = timedelta(weeks=4)
AUTHORS, DURATIONS_H, INJECTIONS = (5, 10, 20, 50), (6, 48, 168), 200
WATCHED = frozenset(AnalysisSettings().watched_domains)
COUNTS = (2, 3, 4, 5, 6)


def everything(messages: Sequence[Message]) -> list[Message]:
    """The same stream with every domain watched and every message a complaint: background in its full noise."""
    return [replace(m, signal=True, domain=INJECTED_DOMAIN) for m in messages]


def played(messages: Sequence[Message], *, again: bool = False) -> Player:
    """The product's burst track over a whole stream."""
    player = Player(RATES, WATCHED, again=again)
    for m in messages:
        player.play(m)
    return player


def after_warm_up(player: Player, messages: Sequence[Message], rate: float) -> int:
    """Alarms after the first four weeks."""
    return sum(alarm.at >= messages[0].at + WARM for alarm in player.alarms[rate])


def rates(streams: dict[str, tuple[list[Message], bool, int]]) -> None:
    """One line a stream and setting."""
    print("stream | weeks | setting | alarms/week, first 4 weeks | alarms/week after them | measured / set")
    for name, (messages, again, seeds) in streams.items():
        copies = [shuffled(messages, seed) for seed in range(seeds)] if seeds else [messages]
        players = [played(copy, again=again) for copy in copies]
        weeks = weeks_of(messages)
        for rate in sorted(RATES):
            late = statistics.mean(after_warm_up(p, c, rate) for p, c in zip(players, copies, strict=True))
            early = statistics.mean(len(p.alarms[rate]) for p in players) - late
            thin = all(p.limits[rate].thin for p in players)
            print(
                f"{name} | {weeks:.0f} | {rate:g} | {early / 4:.2f} | {late / (weeks - 4):.2f} | "
                f"{late / (weeks - 4) / rate:.2f}{' (thin: upper bound)' if thin else ''}",
                flush=True,
            )


def simple_rules() -> dict[str, Rule]:
    """The rules to compare with, fresh."""
    found: dict[str, Rule] = {"EWMA": Ewma(WATCHED)}
    return found | {f"{n} authors": Fixed(WATCHED, n) for n in COUNTS}


def thresholds(messages: Sequence[Message], alarms: int) -> dict[str, float]:
    """For each simple rule the threshold at which it raises as many clusters after the first weeks; chosen in hindsight."""
    found = {}
    for name, rule in simple_rules().items():
        highest: dict[int | None, float] = {}
        for m in messages:
            value = rule.play(m)
            if m.at >= messages[0].at + WARM and value > highest.get(m.cluster, 0.0):
                highest[m.cluster] = value
        # equal scores are raised together or not at all: never more false alarms than ours
        values = sorted(highest.values(), reverse=True)
        allowed = [v for v in sorted(set(values)) if sum(x >= v for x in values) <= alarms]
        found[name] = 1e-9 if len(values) <= alarms else (allowed[0] if allowed else 1e9)
    return found


def arrivals(
    start: datetime, authors: int, hours: int, player: Player, draw: random.Random
) -> list[datetime]:
    """When the authors of one incident write: evenly over its length, but as the hours of the week have it."""
    near = min(player.ordinary, key=lambda day: abs((day - start.date()).days))
    profile = player.ordinary[near].profile
    assert profile is not None
    times: list[datetime] = []
    while len(times) < authors:
        at = start + timedelta(hours=hours) * draw.random()
        if draw.random() * 4 < profile.hours(at, at + timedelta(hours=1)):
            times.append(at)
    return sorted(times)


def ours(times: Sequence[datetime], player: Player, rate: float) -> datetime | None:
    """When the product raises an incident of one message from each author."""
    hours: dict[datetime, int] = defaultdict(int)
    for at in times:
        hours[at.replace(minute=0, second=0, microsecond=0)] += 1
        limits, ordinary = player.days.get(at.date()), player.ordinary.get(at.date())
        if limits is None or ordinary is None or sum(hours.values()) < 2:
            continue
        growth = Growth(at, times[0], [Hour(h, n, n, 0) for h, n in hours.items()], INJECTED_DOMAIN, 1.0)
        _, chance = score(growth, ordinary, Policy(rate, WATCHED), {rate: limits[rate]})
        if chance is not None and chance >= limits[rate].score:
            return at
    return None


def theirs(times: Sequence[datetime], name: str, limit: float) -> datetime | None:
    """When a simple rule raises the same incident."""
    rule = simple_rules()[name]
    for number, at in enumerate(times):
        if rule.play(Message(str(number), at, str(number), 1, INJECTED_DOMAIN, True, True)) >= limit:
            return at
    return None


def early(name: str, messages: Sequence[Message], rate: float) -> None:
    """Recall and median delay by number of authors and length of the incident."""
    player = played(messages)
    alarms = after_warm_up(player, messages, rate)
    limits = thresholds(messages, alarms)
    print(f"\n{name}: setting {rate:g}, {alarms} alarms in {weeks_of(messages) - 4:.0f} weeks for every rule")
    print("authors | hours | " + " | ".join(f"{rule}: recall, median h" for rule in ("ours", *limits)))
    draw = random.Random(7)
    days = [day for day in player.days if day >= (messages[0].at + 2 * WARM).date()]
    for authors in AUTHORS:
        for hours in DURATIONS_H:
            delays: dict[str, list[float]] = {rule: [] for rule in ("ours", *limits)}
            for _ in range(INJECTIONS):
                day = days[draw.randrange(len(days))]
                start = datetime(
                    day.year, day.month, day.day, draw.randrange(24), draw.randrange(60), tzinfo=ZONE
                )
                times = arrivals(start, authors, hours, player, draw)
                for rule in delays:
                    found = ours(times, player, rate) if rule == "ours" else theirs(times, rule, limits[rule])
                    if found is not None:
                        delays[rule].append((found - times[0]) / timedelta(hours=1))
            cells = [
                f"{len(d) / INJECTIONS:.2f}, {statistics.median(d):.1f}" if d else "0.00, –"
                for d in delays.values()
            ]
            print(f"{authors} | {hours} | " + " | ".join(cells), flush=True)


def hot(messages: Sequence[Message], data: Path) -> None:
    """Gold matters with five messages or more within 30 days: which are raised, and at which message."""
    with (data / "complaints_events.csv").open(encoding="utf-8") as stream:
        events = {row["id"]: row["event"] for row in csv.DictReader(stream)}
    by: dict[str, list[Message]] = defaultdict(list)
    for m in messages:
        if m.id in events:
            by[events[m.id]].append(m)
    matters = [
        ms
        for ms in by.values()
        if any(ms[i + 4].at - ms[i].at <= timedelta(days=30) for i in range(len(ms) - 4))
    ]
    player = played(messages)
    print("\nsetting | alarms/week, true ones included | hot matters raised | at message (median)")
    for rate in sorted(RATES):
        raised = {alarm.cluster: alarm.at for alarm in reversed(player.alarms[rate])}
        found = []
        for ms in matters:
            cluster = Counter(m.cluster for m in ms).most_common(1)[0][0]
            if cluster is not None and cluster in raised:
                found.append(sum(m.at <= raised[cluster] for m in ms))
        middle = statistics.median(found) if found else 0
        print(
            f"{rate:g} | {len(raised) / weeks_of(messages):.2f} | {len(found)}/{len(matters)} | {middle:g}",
            flush=True,
        )


def main() -> int:
    """Print the tables that were asked for; all of them without an argument."""
    data = os.environ.get("QUANSHENG_DATA")
    if not data:
        print("QUANSHENG_DATA is not set; it names the folder with the streams", file=sys.stderr)
        return 2
    asked, folder = set(sys.argv[1:]) or {"rates", "early", "hot"}, Path(data)
    city = complaints(folder)
    titles: list[Message] = []
    if asked & {"rates", "early"}:
        clustered, cells = hot_titles(folder)
        titles = everything(clustered)
    if "rates" in asked:
        rates(
            {
                "complaints": (city, False, 0),
                "complaints, shuffled x 4": (city, False, 4),
                "hot list, keyword clusters": (titles, False, 0),
                "hot list, keyword clusters, shuffled x 2": (titles, False, 2),
                "hot list, cells of category and domain, shuffled x 1": (everything(cells), True, 1),
                "questions 2022": (everything(questions(folder, "2022-01-01", "2023-01-01")), False, 0),
            }
        )
    if "early" in asked:
        early("complaints, shuffled", shuffled(city, 0), 1.0)
        early("hot list, keyword clusters, shuffled", shuffled(titles, 0), 4.0)
    if "hot" in asked:
        hot(city, folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
