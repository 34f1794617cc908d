"""Numbers of one period for the weekly report: posts counted, incidents told by their events, clocks, sources.

Every function takes half-open periods [since, until) of aware datetimes and looks at nothing recorded later
than `until`, so that the report of a past week comes out the same whenever it is written. What can still
change it is late data (a post that arrives afterwards, a clock cancelled afterwards): a marked correction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, case, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from incidents.access import UNTOLD
from incidents.events import GENESIS, Head
from incidents.models import Deadline, Incident, IncidentEvent, IncidentPost, Judgement, Post
from incidents.states import State

_FINISHED = (State.CLOSED, State.FALSE_ALARM, State.MERGED)


@dataclass(frozen=True)
class PostCell:
    """How many posts of one day share domain, tone and districts. Empty domain and tone: not judged yet."""

    day: int  # index into the bounds given, 0 = first day
    domain: str
    tone: str
    districts: tuple[str, ...]
    posts: int
    copies: int  # of these, near-copies of an earlier post


@dataclass(frozen=True)
class StoryEvent:
    """One event of an incident, as far as the report needs it."""

    kind: str
    epoch: int
    round: int
    occurred_at: datetime
    payload: dict[str, Any]


@dataclass(frozen=True)
class Story:
    """One incident with its events before the end of the period."""

    id: int
    number: str
    title: str
    domain: str
    district: str
    first_posted_at: datetime
    events: tuple[StoryEvent, ...]


@dataclass(frozen=True)
class Clock:
    """One legal clock that ran in the period."""

    incident_id: int
    rule_id: str
    round: int
    stops_on: str
    started_at: datetime
    due_at: datetime
    closed_at: datetime | None
    provisional: bool
    id: int = 0


@dataclass(frozen=True)
class SourceCount:
    """What one source gave in the period, by the time of fetching."""

    source_id: str
    posts: int
    days: int  # days of the period with at least one new post
    last_at: datetime


def _day_index(column: InstrumentedAttribute[datetime], bounds: Sequence[datetime]) -> ColumnElement[int]:
    """Index of the day in which `column` lies; `bounds` are the days' starts and the end of the last one."""
    return case(*((column < end, index) for index, end in enumerate(bounds[1:])), else_=len(bounds) - 2)


def post_cells(session: Session, bounds: Sequence[datetime]) -> list[PostCell]:
    """Posts by the day they were published in, domain, tone and districts.

    `bounds`: n+1 ascending instants for n days (local midnights, so that days with a clock change are whole).
    """
    day = _day_index(Post.published_at, bounds).label("day")
    query = (
        select(
            day,
            Judgement.domain,
            Judgement.tone,
            Judgement.districts,
            func.count(),
            func.count(Judgement.near_copy_of),
        )
        .select_from(Post)
        .outerjoin(Judgement, Judgement.post_id == Post.id)
        .where(Post.published_at >= bounds[0], Post.published_at < bounds[-1])
        .group_by(day, Judgement.domain, Judgement.tone, Judgement.districts)
    )
    return [
        PostCell(index, domain or "", tone or "", tuple(districts or ()), posts, copies)
        for index, domain, tone, districts, posts, copies in session.execute(query)
    ]


def source_counts(session: Session, bounds: Sequence[datetime]) -> list[SourceCount]:
    """New posts of each source by the day they were fetched in, the richest source first."""
    day = _day_index(Post.fetched_at, bounds).label("day")
    query = (
        select(Post.source_id, day, func.count(), func.max(Post.fetched_at))
        .where(Post.fetched_at >= bounds[0], Post.fetched_at < bounds[-1])
        .group_by(Post.source_id, day)
    )
    found: dict[str, SourceCount] = {}
    for source_id, _day, posts, last_at in session.execute(query):
        was = found.get(source_id)
        found[source_id] = SourceCount(
            source_id,
            posts + (was.posts if was else 0),
            1 + (was.days if was else 0),
            max(last_at, was.last_at) if was else last_at,
        )
    return sorted(found.values(), key=lambda count: (-count.posts, count.source_id))


def _ran_in(since: datetime, until: datetime) -> tuple[ColumnElement[bool], ...]:
    """Conditions of a clock that was open at some time of the period and was not cancelled."""
    return (
        Deadline.state != "cancelled",
        Deadline.started_at < until,
        or_(Deadline.closed_at.is_(None), Deadline.closed_at >= since),
    )


def stories(session: Session, since: datetime, until: datetime) -> list[Story]:
    """Incidents that were open or moved in the period, each with its events before `until`.

    Left out are incidents detected after the period and those that were finished before it and rested, with no
    clock of theirs running.
    """
    moved = select(IncidentEvent.incident_id).where(
        IncidentEvent.incident_id.is_not(None), IncidentEvent.occurred_at >= since
    )
    ticking = select(Deadline.incident_id).where(*_ran_in(since, until))
    chosen = (
        Incident.number.is_not(None),
        Incident.detected_at < until,
        or_(
            Incident.state.not_in([str(state) for state in _FINISHED]),
            Incident.id.in_(moved),
            Incident.id.in_(ticking),
        ),
    )
    rows = session.scalars(select(Incident).where(*chosen).order_by(Incident.id)).all()
    events: dict[int, list[StoryEvent]] = {row.id: [] for row in rows}
    told = (
        select(IncidentEvent)
        .join(Incident, Incident.id == IncidentEvent.incident_id)
        .where(*chosen, IncidentEvent.occurred_at < until)
        .order_by(IncidentEvent.incident_id, IncidentEvent.version)
    )
    for event in session.scalars(told):
        if event.incident_id is not None:
            events[event.incident_id].append(
                StoryEvent(event.kind, event.epoch, event.round, event.occurred_at, event.payload)
            )
    return [
        Story(
            row.id,
            row.number or "",
            # a report travels further than a page: what is restricted is counted, not told
            UNTOLD if row.restricted else row.title,
            row.domain,
            row.district,
            row.first_posted_at,
            tuple(told_),
        )
        for row in rows
        if (told_ := events[row.id])
    ]


@dataclass(frozen=True)
class FamilyCell:
    """Posts of one incident and those merged into it: by day, source and tone ("" not judged yet)."""

    day: int  # index into the bounds given
    source_id: str
    tone: str
    posts: int
    copies: int
    last_at: datetime


def family_cells(session: Session, ids: Sequence[int], bounds: Sequence[datetime]) -> list[FamilyCell]:
    """Posts of a few incidents published within `bounds` (n+1 ascending instants for n days)."""
    day = _day_index(Post.published_at, bounds).label("day")
    query = (
        select(
            day,
            Post.source_id,
            Judgement.tone,
            func.count(),
            func.count(Judgement.near_copy_of),
            func.max(Post.fetched_at),
        )
        .select_from(IncidentPost)
        .join(Post, Post.id == IncidentPost.post_id)
        .outerjoin(Judgement, Judgement.post_id == Post.id)
        .where(
            IncidentPost.incident_id.in_(list(ids)),
            Post.published_at >= bounds[0],
            Post.published_at < bounds[-1],
        )
        .group_by(day, Post.source_id, Judgement.tone)
    )
    return [
        FamilyCell(index, source, tone or "", posts, copies, last_at)
        for index, source, tone, posts, copies, last_at in session.execute(query)
    ]


def incident_posts(session: Session, since: datetime, until: datetime) -> dict[int, int]:
    """Posts published in the period, by the incident they belong to (merged incidents stay apart here)."""
    query = (
        select(IncidentPost.incident_id, func.count())
        .join(Post, Post.id == IncidentPost.post_id)
        .where(Post.published_at >= since, Post.published_at < until)
        .group_by(IncidentPost.incident_id)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def clocks(session: Session, since: datetime, until: datetime) -> list[Clock]:
    """Clocks that were open at some time of the period; cancelled ones are left out."""
    query = select(Deadline).where(*_ran_in(since, until)).order_by(Deadline.due_at, Deadline.id)
    return [
        Clock(
            row.incident_id,
            row.rule_id,
            row.round,
            row.stops_on,
            row.started_at,
            row.due_at,
            row.closed_at,
            row.provisional,
            row.id,
        )
        for row in session.scalars(query)
    ]


def count_events(session: Session, kinds: Sequence[str], since: datetime, until: datetime) -> dict[str, int]:
    """Events of these kinds that happened in the period."""
    query = (
        select(IncidentEvent.kind, func.count())
        .where(
            IncidentEvent.kind.in_(list(kinds)),
            IncidentEvent.occurred_at >= since,
            IncidentEvent.occurred_at < until,
        )
        .group_by(IncidentEvent.kind)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def head_before(session: Session, until: datetime) -> Head:
    """The end of the event chain as it stood at `until`; (0, zeros) when nothing had been recorded."""
    row = session.execute(
        select(IncidentEvent.seq, IncidentEvent.hash)
        .where(IncidentEvent.recorded_at < until)
        .order_by(IncidentEvent.seq.desc())
        .limit(1)
    ).first()
    return Head(row.seq, row.hash) if row else Head(0, GENESIS)
