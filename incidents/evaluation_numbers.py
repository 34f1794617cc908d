"""What evaluating a response needs to know of incidents: acts, clocks, posts as bare numbers, matched unanswered matters.

Pseudonyms of authors leave this file only as small numbers that mean nothing beyond one incident: who is the same, never who.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from incidents import call_backs, ratings
from incidents.call_backs import Entry
from incidents.chunks import chunks
from incidents.models import (
    Accountability,
    CallBack,
    Deadline,
    Incident,
    IncidentEvent,
    IncidentPost,
    Judgement,
    Post,
    Promise,
)
from incidents.queries import family
from incidents.ratings import Rating
from incidents.states import State
from incidents.weekly_numbers import Story, StoryEvent

#: events by which something was told to the public
PUBLISHED = ("informed", "press_held", "responded")
#: unanswered matters that are looked at for a comparison, and how far back
PEERS, PEERS_BACK = 200, timedelta(days=730)
#: a matter so much bigger in the end is read no further: it was no small one at the same age
_PEER_POSTS = 5000


@dataclass(frozen=True)
class CaseEvent(StoryEvent):
    """One event with its number in the record, which is what an evaluation cites."""

    seq: int = 0
    actor: str = ""


@dataclass(frozen=True)
class CaseClock:
    """One clock that was not cancelled, of the incident or of one merged into it."""

    incident_id: int
    rule_id: str
    round: int
    stops_on: str
    started_at: datetime
    due_at: datetime
    closed_at: datetime | None


@dataclass(frozen=True)
class CasePost:
    """A post as a number. `author` is the same for posts of one author of this incident, None when the source names none."""

    at: datetime
    author: int | None
    negative: bool | None  # None: not judged
    gone: bool  # it is no longer where it was


@dataclass(frozen=True)
class Order:
    """A supervision order (L3) that a person approved."""

    key: str
    department: str
    decided_at: datetime


@dataclass(frozen=True)
class Case:
    """One incident with everything that its evaluation rests on, those merged into it included."""

    id: int
    number: str
    domain: str
    district: str
    level: str
    state: State
    round: int
    version: int
    department: str
    restricted: bool
    parent_id: int | None
    first_posted_at: datetime
    members: tuple[int, ...]
    story: Story
    events: tuple[CaseEvent, ...]  # of the incident itself, oldest first
    member_events: tuple[tuple[int, CaseEvent], ...]  # (incident, event) of those merged into it
    clocks: tuple[CaseClock, ...]
    posts: tuple[CasePost, ...]
    posts_counted: int  # that ever were counted; more than `posts` when retention has taken some
    orders: tuple[Order, ...]
    ratings: tuple[Rating, ...]
    call_backs: tuple[Entry, ...]


@dataclass(frozen=True)
class Peer:
    """Another matter of the same domain. `told_at`: when the public was first told something; None: never."""

    id: int
    first_posted_at: datetime
    told_at: datetime | None
    posts: tuple[CasePost, ...]


def case(session: Session, incident_id: int, as_of: datetime) -> Case | None:
    """One incident as it stands at `as_of` (its cached row is today's; acts after `as_of` are left out). None: not raised."""
    row = session.get(Incident, incident_id)
    if row is None or row.number is None:
        return None
    members = family(session, incident_id)
    told: dict[int, list[CaseEvent]] = {member: [] for member in members}
    for chunk in chunks(members):
        query = select(IncidentEvent).where(
            IncidentEvent.incident_id.in_(chunk), IncidentEvent.occurred_at <= as_of
        )
        for event in session.scalars(query.order_by(IncidentEvent.seq)):
            if event.incident_id is not None and event.version is not None:
                told[event.incident_id].append(_event(event))
    own = tuple(told[incident_id])
    return Case(
        id=row.id,
        number=row.number,
        domain=row.domain,
        district=row.district,
        level=row.level,
        state=State(row.state),
        round=row.round,
        version=row.version,
        department=row.department,
        restricted=row.restricted,
        parent_id=row.parent_id,
        first_posted_at=row.first_posted_at,
        members=tuple(members),
        story=Story(row.id, row.number, "", row.domain, row.district, row.first_posted_at, own),
        events=own,
        member_events=tuple((member, event) for member in members[1:] for event in told[member]),
        clocks=tuple(_clocks(session, members)),
        posts=tuple(_posts(session, members, as_of)),
        posts_counted=_counted(session, members),
        orders=tuple(_orders(session, members, as_of)),
        ratings=tuple(
            one for one in _mine(ratings.ratings_of(session, [incident_id])) if one.rated_at <= as_of
        ),
        call_backs=tuple(
            one for one in _mine(call_backs.entries_of(session, members)) if one.made_at <= as_of
        ),
    )


def _mine(found: dict[int, tuple[Any, ...]]) -> list[Any]:
    return [one for rows in found.values() for one in rows]


def _event(row: IncidentEvent) -> CaseEvent:
    return CaseEvent(row.kind, row.epoch, row.round, row.occurred_at, row.payload, row.seq, row.actor)


def _clocks(session: Session, members: Sequence[int]) -> Iterable[CaseClock]:
    for chunk in chunks(members):
        query = select(Deadline).where(Deadline.incident_id.in_(chunk), Deadline.state != "cancelled")
        for row in session.scalars(query.order_by(Deadline.due_at, Deadline.id)):
            yield CaseClock(
                row.incident_id,
                row.rule_id,
                row.round,
                row.stops_on,
                row.started_at,
                row.due_at,
                row.closed_at,
            )


def _posts(session: Session, ids: Sequence[int], as_of: datetime) -> list[CasePost]:
    numbers: dict[str, int] = {}
    found: list[CasePost] = []
    for chunk in chunks(ids):
        query = (
            select(Post.published_at, Post.author_key, Judgement.tone, Post.unavailable_at)
            .join(IncidentPost, IncidentPost.post_id == Post.id)
            .outerjoin(Judgement, Judgement.post_id == Post.id)
            .where(IncidentPost.incident_id.in_(chunk), Post.published_at <= as_of)
            .order_by(Post.published_at, Post.id)
        )
        for at, author, tone, gone in session.execute(query):
            found.append(
                CasePost(
                    at,
                    numbers.setdefault(author, len(numbers)) if author else None,
                    None if tone is None else tone == "neg",
                    gone is not None and gone <= as_of,
                )
            )
    return sorted(found, key=lambda post: post.at)


def _counted(session: Session, ids: Sequence[int]) -> int:
    return sum(
        int(
            session.scalar(select(func.coalesce(func.sum(Incident.posts), 0)).where(Incident.id.in_(chunk)))
            or 0
        )
        for chunk in chunks(ids)
    )


def _orders(session: Session, ids: Sequence[int], as_of: datetime) -> Iterable[Order]:
    for chunk in chunks(ids):
        query = select(Accountability).where(
            Accountability.incident_id.in_(chunk),
            Accountability.level == "L3",
            Accountability.state == "approved",
        )
        for row in session.scalars(query.order_by(Accountability.decided_at)):
            if row.decided_at is not None and row.decided_at <= as_of:
                yield Order(row.key, row.department, row.decided_at)


def peers(session: Session, about: Case, as_of: datetime, *, least: int) -> list[Peer]:
    """Other matters of the domain with at least `least` posts in the end, the nearest in size first; who of them was
    answered when is told, whom to compare with is decided by who asks."""
    size = len(about.posts)
    query = (
        select(Incident.id, Incident.first_posted_at)
        .where(
            Incident.domain == about.domain,
            Incident.number.is_not(None),
            Incident.id.not_in(about.members),
            Incident.state.not_in([str(State.MERGED), str(State.FALSE_ALARM)]),
            Incident.posts >= least,
            Incident.posts <= _PEER_POSTS,
            Incident.first_posted_at <= as_of,
            Incident.first_posted_at >= about.first_posted_at - PEERS_BACK,
        )
        .order_by(func.abs(Incident.posts - size), Incident.id)
        .limit(PEERS)
    )
    rows = [(row[0], row[1]) for row in session.execute(query)]
    ids = [number for number, _ in rows]
    told = told_at(session, ids)
    posts: dict[int, list[CasePost]] = {number: [] for number in ids}
    authors: dict[tuple[int, str], int] = {}
    for chunk in chunks(ids):
        every = (
            select(
                IncidentPost.incident_id,
                Post.published_at,
                Post.author_key,
                Judgement.tone,
                Post.unavailable_at,
            )
            .join(Post, IncidentPost.post_id == Post.id)
            .outerjoin(Judgement, Judgement.post_id == Post.id)
            .where(IncidentPost.incident_id.in_(chunk), Post.published_at <= as_of)
            .order_by(Post.published_at, Post.id)
        )
        for number, at, author, tone, gone in session.execute(every):
            who = authors.setdefault((number, author), len(authors)) if author else None
            posts[number].append(CasePost(at, who, None if tone is None else tone == "neg", gone is not None))
    return [Peer(number, first, told.get(number), tuple(posts[number])) for number, first in rows]


def told_at(session: Session, ids: Sequence[int]) -> dict[int, datetime]:
    """When the public was first told something about each of these matters; those never told are left out."""
    found: dict[int, datetime] = {}
    for chunk in chunks(ids):
        query = select(IncidentEvent).where(
            IncidentEvent.incident_id.in_(chunk), IncidentEvent.kind.in_(PUBLISHED)
        )
        for event in session.scalars(query):
            given = event.payload.get("published_at") or event.payload.get("held_at")
            at = min(datetime.fromisoformat(given), event.occurred_at) if given else event.occurred_at
            number = event.incident_id or 0
            found[number] = min(at, found.get(number, at))
    return found


def touched(session: Session, since: datetime, until: datetime) -> list[int]:
    """Incidents (roots of merged ones) that a period has something to say of: clocks that ended in it or ran out, answers,
    calls, promises whose day it was. An answer counts three days longer: only then is its trend known."""
    clocks = select(Deadline.incident_id).where(
        Deadline.state != "cancelled",
        or_(
            (Deadline.closed_at >= since) & (Deadline.closed_at < until),
            (Deadline.due_at >= since) & (Deadline.due_at < until),
        ),
    )
    acts = select(IncidentEvent.incident_id).where(
        IncidentEvent.kind.in_((*PUBLISHED, "rated")),
        IncidentEvent.occurred_at >= since - timedelta(days=3),
        IncidentEvent.occurred_at < until,
        IncidentEvent.incident_id.is_not(None),
    )
    due = select(Promise.incident_id).where(
        Promise.state.in_(("open", "kept", "broken")), Promise.due_at >= since, Promise.due_at < until
    )
    calls = select(CallBack.incident_id).where(CallBack.made_at >= since, CallBack.made_at < until)
    found = {
        int(one) for query in (clocks, acts, calls, due) for one in session.scalars(query) if one is not None
    }
    return sorted(roots(session, found))


@dataclass(frozen=True)
class Human:
    """What people said of one incident: the score of its evaluation (0 to 100; None: none in force) and ratings of the latest
    round that anybody rated."""

    number: str
    score: float | None
    ratings: tuple[Rating, ...]


def human(session: Session, numbers: Sequence[str], as_of: datetime) -> dict[str, Human]:
    """What people had said of these incidents by `as_of`; a reopening takes the score away. Incidents without a word are left out."""
    names: dict[int, str] = {}
    scores: dict[int, float] = {}
    for chunk in chunks(sorted(set(numbers))):
        known = select(Incident.id, Incident.number).where(Incident.number.in_(chunk))
        names |= {row[0]: row[1] or "" for row in session.execute(known)}
    for part in chunks(sorted(names)):
        query = select(IncidentEvent.incident_id, IncidentEvent.kind, IncidentEvent.payload).where(
            IncidentEvent.incident_id.in_(part),
            IncidentEvent.kind.in_(("evaluated", "reopened")),
            IncidentEvent.occurred_at <= as_of,
        )
        for incident_id, kind, payload in session.execute(query.order_by(IncidentEvent.seq)):
            number = incident_id or 0
            scores.pop(number, None)
            if kind == "evaluated" and payload.get("score") is not None:
                scores[number] = float(payload["score"])
    found = {}
    given = ratings.ratings_of(session, sorted(names))
    for number, name in names.items():
        rated = [one for one in given.get(number, ()) if one.rated_at <= as_of]
        latest = max((one.round for one in rated), default=0)
        mine = tuple(one for one in rated if one.round == latest)
        if number in scores or mine:
            found[name] = Human(name, scores.get(number), mine)
    return found


def answered_in(session: Session, since: datetime, until: datetime) -> dict[str, str]:
    """Incidents (roots of merged ones) that were answered between these instants: number -> title."""
    answered = select(IncidentEvent.incident_id).where(
        IncidentEvent.kind == "responded",
        IncidentEvent.occurred_at >= since,
        IncidentEvent.occurred_at < until,
        IncidentEvent.incident_id.is_not(None),
    )
    ids = roots(session, {int(one) for one in session.scalars(answered) if one is not None})
    found: dict[str, str] = {}
    for chunk in chunks(sorted(ids)):
        query = select(Incident.number, Incident.title).where(
            Incident.id.in_(chunk), Incident.number.is_not(None)
        )
        found |= {row[0] or "": row[1] for row in session.execute(query)}
    return found


def roots(session: Session, ids: Iterable[int]) -> set[int]:
    """Where these incidents' matters are now: themselves, or what they were merged into; false alarms are left out."""
    todo, found, seen = set(ids), set[int](), set[int]()
    while todo:
        seen |= todo
        following: set[int] = set()
        for chunk in chunks(sorted(todo)):
            query = select(Incident.id, Incident.state, Incident.parent_id).where(Incident.id.in_(chunk))
            for number, state, parent in session.execute(query):
                if state == State.MERGED and parent is not None:
                    following.add(parent)
                elif state not in (State.FALSE_ALARM, State.WATCHING):
                    found.add(number)
        todo = following - seen
    return found
