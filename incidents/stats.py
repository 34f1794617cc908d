"""Numbers over any span of time, for console pages and notebooks: volume, lateness by link, clocks, sources.

Read-only. Spans are half open: from `since`, before `until`. The numbers of the weekly report, which must not
change after it was sent, are in incidents.weekly_numbers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents.models import Deadline, Incident, Judgement, Post

Dimension = Literal["domain", "tone", "source"]
#: the chain of instants; lateness is charged to the link between two neighbours
CHAIN = (
    "first_posted_at",
    "detected_at",
    "alerted_at",
    "acknowledged_at",
    "confirmed_at",
    "assigned_at",
    "responded_at",
    "evaluated_at",
    "closed_at",
)


@dataclass(frozen=True)
class LinkTime:
    """How long one link of the chain took, over `cases` incidents that have both its instants."""

    start: str
    end: str
    cases: int
    median: timedelta
    longest: timedelta


@dataclass(frozen=True)
class RuleOutcome:
    """What became of the clocks of one rule that ran out, or were closed, in the span."""

    rule_id: str
    met: int
    missed: int
    cancelled: int
    open_overdue: int

    @property
    def on_time(self) -> float | None:
        """Share that was met, of those that are decided or overdue; None without any."""
        decided = self.met + self.missed + self.open_overdue
        return self.met / decided if decided else None


@dataclass(frozen=True)
class SourceVolume:
    """What one source brought, and how long after publication we had it (times that a source gave itself)."""

    source_id: str
    posts: int
    median_lag: timedelta | None


def volume_by_day(
    session: Session, since: datetime, until: datetime, *, by: Dimension, zone: str
) -> dict[date, dict[str, int]]:
    """Posts by local day of publication and domain, tone or source; "" stands for not judged yet."""
    column: Any = {"domain": Judgement.domain, "tone": Judgement.tone, "source": Post.source_id}[by]
    query = (
        select(Post.published_at, column)
        .outerjoin(Judgement, Judgement.post_id == Post.id)
        .where(Post.published_at >= since, Post.published_at < until)
    )
    local = ZoneInfo(zone)
    days: dict[date, Counter[str]] = defaultdict(Counter)
    for published, value in session.execute(query):
        days[published.astimezone(local).date()][value or ""] += 1
    return {day: dict(days[day]) for day in sorted(days)}


def volume_by_district(session: Session, since: datetime, until: datetime) -> dict[str, int]:
    """Judged posts by district, the most first; a post that names two districts counts in both."""
    query = (
        select(Judgement.districts)
        .join(Post, Post.id == Judgement.post_id)
        .where(Post.published_at >= since, Post.published_at < until)
    )
    counts = Counter(district for districts in session.scalars(query) for district in set(districts))
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def link_times(session: Session, since: datetime, until: datetime, *, department: str = "") -> list[LinkTime]:
    """Time from each instant of the chain to the next one reached, for incidents detected in the span.

    An incident that skipped an instant (no confirmation, say) counts from the last one that it has.
    """
    query = select(*(getattr(Incident, name) for name in CHAIN)).where(
        Incident.detected_at >= since, Incident.detected_at < until
    )
    if department:
        query = query.where(Incident.department == department)
    found: dict[tuple[str, str], list[timedelta]] = defaultdict(list)
    for row in session.execute(query):
        reached = [(name, when) for name, when in zip(CHAIN, row, strict=True) if when is not None]
        for (start, before), (end, after) in pairwise(reached):
            # people may act out of order (acknowledge a page after the answer): no negative times
            found[start, end].append(max(after - before, timedelta(0)))
    place = {name: number for number, name in enumerate(CHAIN)}
    return [
        LinkTime(start, end, len(times), _median(times), max(times))
        for (start, end), times in sorted(
            found.items(), key=lambda item: (place[item[0][0]], place[item[0][1]])
        )
    ]


def rule_outcomes(session: Session, since: datetime, until: datetime, now: datetime) -> list[RuleOutcome]:
    """Clocks that were due in the span, by rule. A clock that runs on past its time counts as overdue."""
    query = select(Deadline.rule_id, Deadline.state, Deadline.due_at).where(
        Deadline.due_at >= since, Deadline.due_at < until
    )
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for rule, state, due_at in session.execute(query):
        if state != "open" or due_at < now:
            counts[rule][state] += 1
    return [
        RuleOutcome(rule, one["met"], one["missed"], one["cancelled"], one["open"])
        for rule, one in sorted(counts.items())
    ]


def source_volumes(session: Session, since: datetime, until: datetime) -> list[SourceVolume]:
    """What each source brought, the most first; by time of fetching."""
    query = select(Post.source_id, Post.published_at, Post.fetched_at, Post.published_estimated).where(
        Post.fetched_at >= since, Post.fetched_at < until
    )
    posts: Counter[str] = Counter()
    lags: dict[str, list[timedelta]] = defaultdict(list)
    for source, published, fetched, estimated in session.execute(query):
        posts[source] += 1
        if not estimated:
            lags[source].append(fetched - published)
    return [
        SourceVolume(source, number, _median(lags[source]) if lags[source] else None)
        for source, number in sorted(posts.items(), key=lambda item: (-item[1], item[0]))
    ]


def _median(times: Sequence[timedelta]) -> timedelta:
    return timedelta(seconds=median(time.total_seconds() for time in times))
