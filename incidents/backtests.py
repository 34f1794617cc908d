"""Backtests: a change of settings that somebody wants tried on the past, the posts it is tried on, and what came out.

A person asks, the house computes (`quansheng backtest`, or the job of the running house), the answer is kept beside the question.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from incidents import lifecycle
from incidents.models import Backtest, Deadline, Incident, IncidentPost, Judgement, Post
from incidents.posts import BACKFILL

_CHUNK = 400


@dataclass(frozen=True)
class Change:
    """What shall be otherwise. None or empty: as it is now. `rules`: rule id -> its new number of hours or days."""

    false_alarms_per_week: float | None = None
    watched_domains: tuple[str, ...] | None = None
    fast: Mapping[str, float] = field(default_factory=dict)
    rules: Mapping[str, int] = field(default_factory=dict)

    @property
    def detects(self) -> bool:
        """Whether anything changes that decides what is raised."""
        return self.false_alarms_per_week is not None or self.watched_domains is not None or bool(self.fast)

    def __bool__(self) -> bool:
        return self.detects or bool(self.rules)

    def as_json(self) -> dict[str, Any]:
        """For keeping; what stays as it is is left out."""
        out: dict[str, Any] = {}
        if self.false_alarms_per_week is not None:
            out["false_alarms_per_week"] = self.false_alarms_per_week
        if self.watched_domains is not None:
            out["watched_domains"] = list(self.watched_domains)
        if self.fast:
            out["fast"] = dict(self.fast)
        if self.rules:
            out["rules"] = dict(self.rules)
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Change:
        """Read back."""
        rate, watched = data.get("false_alarms_per_week"), data.get("watched_domains")
        return cls(
            float(rate) if rate is not None else None,
            tuple(watched) if watched is not None else None,
            {str(name): float(value) for name, value in data.get("fast", {}).items()},
            {str(name): int(value) for name, value in data.get("rules", {}).items()},
        )


@dataclass(frozen=True)
class BacktestView:
    """One backtest. `state`: waiting | running | done | failed."""

    id: int
    change: Change
    since: datetime
    until: datetime
    note: str
    asked_by: str
    asked_at: datetime
    state: str
    progress: float
    finished_at: datetime | None
    seconds: float
    result: dict[str, Any]
    trouble: str


@dataclass(frozen=True)
class Told:
    """One judged post as a backtest reads it. `incident` None: it is in none. Nothing of its words."""

    id: int
    source_id: str
    published_at: datetime
    fetched_at: datetime
    estimated: bool
    backfilled: bool
    author_key: str | None
    incident: int | None
    domain: str
    signal: bool
    negative: bool
    district: str
    copy: bool


@dataclass(frozen=True)
class Matter:
    """What became of an incident or a watched group. `number` "": it was never raised."""

    id: int
    number: str
    title: str
    domain: str
    district: str
    state: str
    posts: int
    detected_at: datetime | None
    confirmed_at: datetime | None


def ask(
    session: Session,
    change: Change,
    since: datetime,
    until: datetime,
    *,
    note: str = "",
    actor: str,
    channel: str,
    now: datetime,
) -> int:
    """Put a question into the queue; returns its id. In the record with its words."""
    row = Backtest(
        change=change.as_json(),
        since=since,
        until=until,
        note=note[:500],
        asked_by=actor,
        asked_at=now,
        state="waiting",
        progress=0.0,
        seconds=0.0,
        result={},
        trouble="",
    )
    session.add(row)
    session.flush()
    lifecycle.record_act(
        session,
        "backtest_asked",
        {
            "backtest": row.id,
            "change": change.as_json(),
            "since": since.isoformat(),
            "until": until.isoformat(),
        },
        actor=actor,
        channel=channel,
        now=now,
    )
    return row.id


def get(session: Session, backtest_id: int) -> BacktestView | None:
    """One of them."""
    row = session.get(Backtest, backtest_id)
    return _view(row) if row is not None else None


def listed(session: Session, limit: int = 30) -> list[BacktestView]:
    """The latest ones first."""
    query = select(Backtest).order_by(Backtest.id.desc()).limit(limit)
    return [_view(row) for row in session.scalars(query)]


def next_waiting(session: Session) -> BacktestView | None:
    """The oldest that is not finished; one whose process ended in the middle comes again."""
    query = select(Backtest).where(Backtest.state.in_(("waiting", "running"))).order_by(Backtest.id).limit(1)
    row = session.scalar(query)
    return _view(row) if row is not None else None


def note_progress(session: Session, backtest_id: int, share: float) -> None:
    """How far it is, 0 to 1."""
    row = session.get(Backtest, backtest_id)
    if row is not None and row.state in ("waiting", "running"):
        row.state, row.progress = "running", share


def finish(
    session: Session,
    backtest_id: int,
    now: datetime,
    *,
    seconds: float,
    result: Mapping[str, Any] | None = None,
    trouble: str = "",
) -> None:
    """Keep the answer, or why there is none."""
    row = session.get(Backtest, backtest_id)
    if row is None:
        return
    row.state = "failed" if trouble else "done"
    row.progress, row.seconds, row.finished_at = 1.0, seconds, now
    row.result, row.trouble = dict(result or {}), trouble[:2000]


def _view(row: Backtest) -> BacktestView:
    return BacktestView(
        id=row.id,
        change=Change.from_json(row.change),
        since=row.since,
        until=row.until,
        note=row.note,
        asked_by=row.asked_by,
        asked_at=row.asked_at,
        state=row.state,
        progress=row.progress,
        finished_at=row.finished_at,
        seconds=row.seconds,
        result=dict(row.result),
        trouble=row.trouble,
    )


# --- what it is tried on -----------------------------------------------------------------------------------------


def count_posts(session: Session, start: datetime, end: datetime) -> int:
    """Judged posts that were posted in [start, end)."""
    query = (
        select(func.count())
        .select_from(Judgement)
        .join(Post, Post.id == Judgement.post_id)
        .where(Post.published_at >= start, Post.published_at < end)
    )
    return session.scalar(query) or 0


def history(session: Session, start: datetime, end: datetime) -> Iterator[Told]:
    """Judged posts in the order of their posting, in the groups of today."""
    merged = select(Incident.id, Incident.parent_id).where(Incident.state == "merged")
    parents = {row[0]: row[1] for row in session.execute(merged) if row[1] is not None}
    query = (
        select(
            Post.id,
            Post.source_id,
            Post.published_at,
            Post.fetched_at,
            Post.published_estimated,
            Post.provenance,
            Post.author_key,
            IncidentPost.incident_id,
            Judgement.domain,
            Judgement.signal,
            Judgement.tone,
            Judgement.districts,
            Judgement.near_copy_of,
        )
        .join(Judgement, Judgement.post_id == Post.id)
        .outerjoin(IncidentPost, IncidentPost.post_id == Post.id)
        .where(Post.published_at >= start, Post.published_at < end)
        .order_by(Post.published_at, Post.id)
        .execution_options(yield_per=1000)
    )
    for row in session.execute(query):
        incident = row[7]
        seen: set[int] = set()
        while incident in parents and incident not in seen:
            seen.add(incident)
            incident = parents[incident]
        yield Told(
            id=row[0],
            source_id=row[1],
            published_at=row[2],
            fetched_at=row[3],
            estimated=row[4],
            backfilled=BACKFILL in (row[5] or {}),
            author_key=row[6],
            incident=incident,
            domain=row[8],
            signal=row[9],
            negative=row[10] == "neg",
            district=row[11][0] if row[11] else "",
            copy=row[12] is not None,
        )


def hazardous(session: Session, start: datetime, end: datetime) -> list[int]:
    """Judged posts of [start, end) in which a hazard word was heard: the only ones that the fast track can raise."""
    query = (
        select(Post.id, Judgement.reasons)
        .join(Judgement, Judgement.post_id == Post.id)
        .where(Post.published_at >= start, Post.published_at < end)
        .order_by(Post.id)
        .execution_options(yield_per=1000)
    )
    return [row[0] for row in session.execute(query) if "hazards" in (row[1] or {})]


def words_of(session: Session, ids: Sequence[int]) -> Iterator[tuple[int, str, str, datetime, str, str]]:
    """Id, title, text, time, place hint and source of these posts, to read them again."""
    for at in range(0, len(ids), _CHUNK):
        query = select(
            Post.id, Post.title, Post.text, Post.published_at, Post.place_hint, Post.source_id
        ).where(Post.id.in_(list(ids[at : at + _CHUNK])))
        for row in session.execute(query.order_by(Post.id)):
            yield (row[0], row[1], row[2], row[3], row[4], row[5])


def matters_of(session: Session, ids: Sequence[int]) -> dict[int, Matter]:
    """What became of these incidents and groups."""
    found: dict[int, Matter] = {}
    for at in range(0, len(ids), _CHUNK):
        query = select(
            Incident.id,
            Incident.number,
            Incident.title,
            Incident.domain,
            Incident.district,
            Incident.state,
            Incident.posts,
            Incident.detected_at,
            Incident.confirmed_at,
        ).where(Incident.id.in_(list(ids[at : at + _CHUNK])))
        for row in session.execute(query):
            found[row[0]] = Matter(row[0], row[1] or "", *row[2:])
    return found


def confirmed(session: Session) -> dict[int, datetime]:
    """Incidents that a person confirmed and nobody took back since, and when."""
    query = select(Incident.id, Incident.confirmed_at).where(Incident.state != "false_alarm")
    query = query.where(Incident.confirmed_at.is_not(None))
    return {row[0]: row[1] for row in session.execute(query) if row[1] is not None}


@dataclass(frozen=True)
class RunClock:
    """One clock that began in the period. `closed_at` None: it still runs."""

    incident_id: int
    number: str
    title: str
    department: str
    started_at: datetime
    due_at: datetime
    closed_at: datetime | None
    extended_by: int


def clocks_of(session: Session, rule_id: str, since: datetime, until: datetime) -> list[RunClock]:
    """Clocks of one rule that began in [since, until); cancelled ones bind nobody and are left out."""
    query = (
        select(
            Incident.id,
            Incident.number,
            Incident.title,
            Incident.department,
            Deadline.started_at,
            Deadline.due_at,
            Deadline.closed_at,
            Deadline.extended_by,
        )
        .join(Incident, Incident.id == Deadline.incident_id)
        .where(
            Deadline.rule_id == rule_id,
            Deadline.started_at >= since,
            Deadline.started_at < until,
            Deadline.state != "cancelled",
        )
        .order_by(Deadline.started_at, Deadline.id)
    )
    return [
        RunClock(row[0], row[1] or "", row[2], row[3], row[4], row[5], row[6], row[7] or 0)
        for row in session.execute(query)
    ]
