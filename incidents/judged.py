"""What judging needs to know of what was judged before: recent texts, how incidents stand, ordinary volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from incidents.chunks import chunks
from incidents.counts import interactions
from incidents.models import Incident, IncidentHour, IncidentPost, Judgement, Post


@dataclass(frozen=True)
class JudgedText:
    """A judged post's words, to find near-copies of it."""

    id: int
    title: str
    text: str


@dataclass(frozen=True)
class Standing:
    """How an incident stands now."""

    id: int
    state: str
    parent_id: int | None
    title: str
    domain: str
    district: str
    posts: int
    voices: int
    first_posted_at: datetime
    last_post_at: datetime


@dataclass(frozen=True)
class Mix:
    """Of an incident's posts: how many were judged, tell of something real, from how many sources, the gravest risk."""

    posts: int
    signals: int
    sources: int
    risk: int


@dataclass(frozen=True)
class DomainVolume:
    """Posts of one domain in the last days and in the baseline before, clusters opened and voices that joined them."""

    recent: int
    baseline: int
    clusters: int
    follow_ups: int
    squares: int = 0  # sum of the squared follow-ups of each cluster


@dataclass(frozen=True)
class Part:
    """One post of an incident as grading looks at it. `interactions`: likes, comments and reposts together."""

    text: str
    url: str
    interactions: int


def recent_texts(session: Session, limit: int) -> list[JudgedText]:
    """The last judged posts, oldest first."""
    query = select(Post.id, Post.title, Post.text).where(Post.judged_at.is_not(None))
    rows = session.execute(query.order_by(Post.id.desc()).limit(limit)).all()
    return [JudgedText(*row) for row in reversed(rows)]


def standings(session: Session, ids: Sequence[int]) -> dict[int, Standing]:
    """How the incidents of these ids stand; unknown ids are left out."""
    found: dict[int, Standing] = {}
    for chunk in chunks(ids):
        query = select(
            Incident.id,
            Incident.state,
            Incident.parent_id,
            Incident.title,
            Incident.domain,
            Incident.district,
            Incident.posts,
            Incident.voices,
            Incident.first_posted_at,
            Incident.last_post_at,
        ).where(Incident.id.in_(chunk))
        rows: list[Any] = list(session.execute(query))
        found.update({row[0]: Standing(*row) for row in rows})
    return found


def root_of(session: Session, incident_id: int) -> int:
    """The incident that holds the posts of this one: itself, or where it was merged into, however often."""
    seen: set[int] = set()
    while incident_id not in seen:
        seen.add(incident_id)
        row = session.execute(
            select(Incident.state, Incident.parent_id).where(Incident.id == incident_id)
        ).one_or_none()
        if row is None or row[0] != "merged" or row[1] is None:
            return incident_id
        incident_id = row[1]
    return incident_id


def mix_of(session: Session, incident_id: int) -> Mix:
    """What the posts of one incident are made of."""
    query = (
        select(
            func.count(),
            func.coalesce(func.sum(case((Judgement.signal, 1), else_=0)), 0),
            func.count(Post.source_id.distinct()),
            func.coalesce(func.max(Judgement.risk), 0),
        )
        .select_from(IncidentPost)
        .join(Judgement, Judgement.post_id == IncidentPost.post_id)
        .join(Post, Post.id == IncidentPost.post_id)
        .where(IncidentPost.incident_id == incident_id)
    )
    return Mix(*session.execute(query).one())


def domains_of(session: Session, incident_id: int) -> dict[str, int]:
    """How many posts of an incident were judged into each domain."""
    query = (
        select(Judgement.domain, func.count())
        .join(IncidentPost, IncidentPost.post_id == Judgement.post_id)
        .where(IncidentPost.incident_id == incident_id)
        .group_by(Judgement.domain)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def domain_volumes(
    session: Session, at: datetime, recent: timedelta, baseline: timedelta
) -> dict[str, DomainVolume]:
    """Per domain: posts in `recent` before `at`, and posts, clusters and follow-ups in the `baseline` before that."""
    start, end = at - recent - baseline, at - recent
    posts = (
        select(Judgement.domain, func.sum(case((Post.published_at >= end, 1), else_=0)), func.count())
        .join(Post, Post.id == Judgement.post_id)
        .where(Post.published_at >= start, Post.published_at <= at)
        .group_by(Judgement.domain)
    )
    # detected incidents are no background: their growth must not raise the limit for the next one
    clusters = (
        select(
            Incident.domain,
            func.count(),
            func.sum(Incident.voices - 1),
            func.sum((Incident.voices - 1) * (Incident.voices - 1)),
        )
        .where(
            Incident.first_posted_at >= start,
            Incident.first_posted_at < end,
            Incident.state == "watching",
            Incident.voices > 0,
        )
        .group_by(Incident.domain)
    )
    opened = {row[0]: (int(row[1]), int(row[2] or 0), int(row[3] or 0)) for row in session.execute(clusters)}
    volumes = {}
    for domain, new, total in session.execute(posts):
        volumes[domain] = DomainVolume(int(new), int(total) - int(new), *opened.get(domain, (0, 0, 0)))
    return volumes


def place_volumes(
    session: Session, at: datetime, recent: timedelta, baseline: timedelta
) -> dict[str, tuple[int, int]]:
    """Per district of the incidents: voices in `recent` before `at`, and in the `baseline` before that."""
    start, end = at - recent - baseline, at - recent
    query = (
        select(
            Incident.district,
            func.sum(case((IncidentHour.hour >= end, IncidentHour.voices), else_=0)),
            func.sum(IncidentHour.voices),
        )
        .join(IncidentHour, IncidentHour.incident_id == Incident.id)
        .where(IncidentHour.hour >= start, IncidentHour.hour <= at, Incident.district != "")
        .group_by(Incident.district)
    )
    return {row[0]: (int(row[1]), int(row[2]) - int(row[1])) for row in session.execute(query)}


def hour_volumes(session: Session, start: datetime, end: datetime) -> dict[datetime, float]:
    """Posts of all incidents and clusters by hour: what the week's profile is learnt from."""
    query = (
        select(IncidentHour.hour, func.sum(IncidentHour.posts))
        .where(IncidentHour.hour >= start, IncidentHour.hour < end)
        .group_by(IncidentHour.hour)
    )
    return {row[0]: float(row[1]) for row in session.execute(query)}


def found_real(session: Session, ids: Sequence[int]) -> set[int]:
    """Those of these incidents that a person confirmed, whatever became of them, a false alarm excepted."""
    found: set[int] = set()
    for chunk in chunks(ids):
        query = select(Incident.id).where(
            Incident.id.in_(chunk),
            Incident.confirmed_at.is_not(None),
            Incident.state != "false_alarm",
        )
        found.update(session.scalars(query))
    return found


def parts_of(session: Session, incident_id: int, limit: int) -> list[Part]:
    """The newest posts of an incident."""
    query = (
        select(Post.title, Post.text, Post.url, Post.engagement)
        .join(IncidentPost, IncidentPost.post_id == Post.id)
        .where(IncidentPost.incident_id == incident_id)
        .order_by(Post.id.desc())
        .limit(limit)
    )
    return [Part(f"{row[0]}\n{row[1]}", row[2], interactions(row[3] or {})) for row in session.execute(query)]


def recent_interactions(session: Session, limit: int) -> list[int]:
    """Likes, comments and reposts of the last judged posts."""
    query = select(Post.engagement).where(Post.judged_at.is_not(None)).order_by(Post.id.desc()).limit(limit)
    return [interactions(value or {}) for value in session.scalars(query)]
