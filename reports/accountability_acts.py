"""What one department did in a period: signings, answers, returns, hand-overs, reopenings. Pure folds over events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from incidents.weekly_numbers import Story
from reports.accountability_model import Took
from reports.story import published_at


def took(lengths: Collection[tuple[int, str]]) -> Took:
    """Median and worst of (seconds, incident number); of equal ones the older incident."""
    worst = min(lengths, key=lambda pair: (-pair[0], pair[1])) if lengths else None
    return Took(
        n=len(lengths),
        median=int(median(seconds for seconds, _ in lengths)) if lengths else None,
        worst=worst[0] if worst else None,
        worst_number=worst[1] if worst else "",
    )


@dataclass(frozen=True)
class Acts:
    """Acts of one department in the period."""

    sign: Took
    answer: Took
    returned: int
    reassigned: int
    reopened: int


def count_acts(
    story: Story,
    unit: str,
    resolve: Callable[[str], str],
    inside: Callable[[datetime], bool],
    sign: list[tuple[int, str]],
    answer: list[tuple[int, str]],
    count: Counter[str],
) -> None:
    """One pass over a case's events: signings, first answers of a round, returns, hand-overs, reopenings after an answer."""
    holder, since, signed = "", story.first_posted_at, False
    answered: dict[int, str] = {}
    for event in story.events:
        at = event.occurred_at
        if event.kind == "assigned":
            if holder == unit and event.payload.get("reassigned") and inside(at):
                count["reassigned"] += 1
            holder, since, signed = resolve(str(event.payload["department"])), at, False
        elif event.kind == "signed" and holder == unit and not signed:
            signed = True
            if inside(at):
                sign.append((round((at - since).total_seconds()), story.number))
        elif event.kind == "returned":
            if holder == unit and inside(at):
                count["returned"] += 1
            holder = ""
        elif event.kind == "responded" and event.round not in answered:
            answered[event.round] = holder
            if holder == unit and inside(at):
                spent = max(timedelta(0), published_at(event) - since)
                answer.append((round(spent.total_seconds()), story.number))
        elif event.kind == "reopened":
            if answered.get(event.round - 1) == unit and inside(at):
                count["reopened"] += 1
            holder = ""
