"""Read-only questions about incidents, asked by console, alerts, reports and the command line."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, bindparam, cast, func, or_, select
from sqlalchemy.orm import Session, aliased

from incidents.chunks import chunks
from incidents.models import Deadline, Incident, IncidentEvent, IncidentHour, IncidentPost, Judgement, Post
from incidents.revisions import RevisionView, last_edits
from incidents.states import OPEN_STATES, State


@dataclass(frozen=True)
class IncidentView:
    """One incident as people see it. Counts include the incidents merged into it."""

    id: int
    number: str
    title: str
    domain: str
    district: str
    state: State
    version: int
    epoch: int
    round: int
    level: str
    track: str
    why: dict[str, Any]
    department: str
    officer: str
    parent_id: int | None
    posts: int
    voices: int
    first_posted_at: datetime
    last_post_at: datetime
    detected_at: datetime | None
    alerted_at: datetime | None
    acknowledged_at: datetime | None
    confirmed_at: datetime | None
    assigned_at: datetime | None
    responded_at: datetime | None
    evaluated_at: datetime | None
    closed_at: datetime | None
    #: departments that help 协办; read by get_incident only
    co: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether something is still to be done."""
        return self.state in OPEN_STATES


#: kinds of place names that say nothing of where: a brand is everywhere, a district stands in `districts`
UNPLACED = ("brand", "district")
#: near-copies of a post that are named one by one
COPIES_NAMED = 20


@dataclass(frozen=True)
class Copy:
    """A near-copy that is folded into its original."""

    source_id: str
    published_at: datetime
    url: str


@dataclass(frozen=True)
class PostView:
    """One post of an incident with its judgement; `copies` are near-copies folded into it."""

    id: int
    source_id: str
    external_id: str
    url: str
    title: str
    text: str
    published_at: datetime
    fetched_at: datetime
    tone: str
    tone_score: float
    risk: int
    domain: str
    districts: tuple[str, ...]
    near_copy_of: int | None
    unavailable_at: datetime | None
    engagement: dict[str, Any]
    copies: int = 0
    #: the first of the folded near-copies: source, time of posting, address
    copied: tuple[Copy, ...] = ()
    #: names of places that the text speaks of
    places: tuple[str, ...] = ()
    signal: bool = False
    about: str = ""
    abstain: bool = False
    #: when other words were last noticed, and the words before them
    edited_at: datetime | None = None
    words_before: str = ""


@dataclass(frozen=True)
class EventView:
    """One event of the record."""

    seq: int
    incident_id: int | None
    version: int | None
    kind: str
    epoch: int
    round: int
    actor: str
    channel: str
    occurred_at: datetime
    recorded_at: datetime
    payload: dict[str, Any]
    hash: str


@dataclass(frozen=True)
class HourView:
    """Posts and voices in one hour."""

    hour: datetime
    posts: int
    voices: int
    negative: int


def view_of(row: Incident, posts: int | None = None, voices: int | None = None) -> IncidentView:
    return IncidentView(
        id=row.id,
        number=row.number or "",
        title=row.title,
        domain=row.domain,
        district=row.district,
        state=State(row.state),
        version=row.version,
        epoch=row.epoch,
        round=row.round,
        level=row.level,
        track=row.track,
        why=row.why,
        department=row.department,
        officer=row.officer,
        parent_id=row.parent_id,
        posts=row.posts if posts is None else posts,
        voices=row.voices if voices is None else voices,
        first_posted_at=row.first_posted_at,
        last_post_at=row.last_post_at,
        detected_at=row.detected_at,
        alerted_at=row.alerted_at,
        acknowledged_at=row.acknowledged_at,
        confirmed_at=row.confirmed_at,
        assigned_at=row.assigned_at,
        responded_at=row.responded_at,
        evaluated_at=row.evaluated_at,
        closed_at=row.closed_at,
    )


#: asked for every message: built once
_CHILDREN = select(Incident.id).where(Incident.parent_id.in_(bindparam("parents", expanding=True)))
_CHILD = aliased(Incident)
_WITH_CHILDREN = select(Incident, select(_CHILD.id).where(_CHILD.parent_id == Incident.id).exists())
_BY_ID = _WITH_CHILDREN.where(Incident.id == bindparam("key"))
_BY_NUMBER = _WITH_CHILDREN.where(Incident.number == bindparam("key"))
_GLIMPSED = (
    select(Post, Judgement.near_copy_of)
    .join(IncidentPost, IncidentPost.post_id == Post.id)
    .outerjoin(Judgement, Judgement.post_id == Post.id)
    .where(IncidentPost.incident_id.in_(bindparam("members", expanding=True)))
)
#: an original rather than a copy of one
_FIRST_WORDS = (
    _GLIMPSED.with_only_columns(Post.title, Post.text)
    .order_by(Judgement.near_copy_of.is_not(None), Post.published_at, Post.id)
    .limit(1)
)
_SOURCES = _GLIMPSED.with_only_columns(func.count(Post.source_id.distinct()))


def family(session: Session, incident_id: int) -> list[int]:
    """The incident and everything merged into it, directly or through another one."""
    found, todo = [incident_id], [incident_id]
    while todo:
        children = list(session.scalars(_CHILDREN, {"parents": todo}))
        todo = [child for child in children if child not in found]
        found += todo
    return found


def families(session: Session, heads: Collection[int]) -> dict[int, int]:
    """Each of these incidents, and each that was merged into one of them, with the one that holds its posts now."""
    found = {id_: id_ for id_ in heads}
    todo = sorted(heads)
    while todo:
        merged: list[tuple[int, int]] = []
        for chunk in chunks(todo):
            query = select(Incident.id, Incident.parent_id).where(Incident.parent_id.in_(chunk))
            merged += [(id_, found[parent]) for id_, parent in session.execute(query) if parent is not None]
        todo = [id_ for id_, _ in merged if id_ not in found]
        found.update((id_, root) for id_, root in merged if id_ not in found)
    return found


def get_incident(session: Session, key: int | str) -> IncidentView | None:
    """One incident by row id or by number ("QS-2026-000017"), or None."""
    query = _BY_ID if isinstance(key, int) else _BY_NUMBER
    found = session.execute(query, {"key": key}).one_or_none()
    if found is None:
        return None
    row: Incident = found[0]
    members = family(session, row.id) if found[1] else [row.id]
    co = _helpers(session, row) if row.department else ()
    if len(members) == 1:
        return replace(view_of(row), co=co)
    totals = session.execute(
        select(func.sum(Incident.posts), func.sum(Incident.voices)).where(Incident.id.in_(members))
    ).one()
    return replace(view_of(row, int(totals[0]), int(totals[1])), co=co)


def get_incidents(session: Session, ids: Collection[int]) -> list[IncidentView]:
    """Incidents by row id, in any order, without their helpers: a page of a list in three queries."""
    parents = set(session.scalars(select(Incident.parent_id).where(Incident.parent_id.in_(ids)).distinct()))
    rows = session.scalars(select(Incident).where(Incident.id.in_(ids)))
    found = [get_incident(session, row.id) if row.id in parents else view_of(row) for row in rows]
    return [view for view in found if view is not None]


def numbers_of(session: Session, ids: Collection[int]) -> dict[int, str]:
    """Numbers of incidents by row id; those that never emerged have none."""
    query = select(Incident.id, Incident.number).where(Incident.id.in_(ids), Incident.number.is_not(None))
    return {row.id: row.number for row in session.execute(query)} if ids else {}


def _helpers(session: Session, row: Incident) -> tuple[str, ...]:
    """Departments that the assignment of the present epoch names as helpers; found by the incident's own events."""
    payload = session.scalar(
        select(IncidentEvent.payload)
        .where(
            IncidentEvent.incident_id == row.id,
            IncidentEvent.kind == "assigned",
            IncidentEvent.epoch == row.epoch,
        )
        .order_by(IncidentEvent.seq.desc())
        .limit(1)
    )
    return tuple(payload.get("co", ())) if payload else ()


def _assigned(session: Session, which: ColumnElement[bool]) -> dict[int, tuple[str, ...]]:
    """Helpers of incidents that are in the hands of a department: the assignment of the present epoch names them."""
    query = (
        select(IncidentEvent.incident_id, IncidentEvent.payload)
        .join(Incident, Incident.id == IncidentEvent.incident_id)
        .where(
            IncidentEvent.kind == "assigned", IncidentEvent.epoch == Incident.epoch, Incident.department != ""
        )
    )
    return {row[0]: tuple(row[1].get("co", ())) for row in session.execute(query.where(which)) if row[0]}


def helped_by(
    session: Session, department: str, states: Sequence[str] = tuple(OPEN_STATES)
) -> frozenset[int]:
    """Ids of incidents in these states that a department helps with."""
    # most assignments name no helper or others: the name as it is written tells which are worth reading
    named = cast(IncidentEvent.payload, Text).contains(f'"{department}"', autoescape=True)
    found = _assigned(session, and_(named, Incident.state.in_([str(state) for state in states])))
    return frozenset(incident for incident, co in found.items() if department in co)


def list_incidents(
    session: Session,
    *,
    states: Sequence[str] = tuple(OPEN_STATES),
    domain: str = "",
    district: str = "",
    department: str = "",
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 200,
    before_id: int | None = None,
    before: tuple[datetime, int] | None = None,
) -> list[IncidentView]:
    """Incidents in these states, newest detection first. `since`/`until` bound the detection time.

    `department`: those that it leads or helps with. `before`: detection and id of the last row of the page before.
    """
    query = select(Incident).where(Incident.state.in_([str(state) for state in states]))
    if domain:
        query = query.where(Incident.domain == domain)
    if district:
        query = query.where(Incident.district == district)
    if department:
        helped = helped_by(session, department, states)
        query = query.where(or_(Incident.department == department, Incident.id.in_(helped)))
    if since is not None:
        query = query.where(Incident.detected_at >= since)
    if until is not None:
        query = query.where(Incident.detected_at < until)
    if before_id is not None:
        query = query.where(Incident.id < before_id)
    if before is not None:
        # written out: SQLite walks the index for an OR of this shape, and NULLs never come after a time
        at, id_ = before
        query = query.where(Incident.detected_at <= at, or_(Incident.detected_at < at, Incident.id < id_))
    return [
        view_of(row)
        for row in session.scalars(
            query.order_by(Incident.detected_at.desc(), Incident.id.desc()).limit(limit)
        )
    ]


#: open clocks are read in the order in which they end, so many at first for each incident that is wanted
_CLOCKS_EACH = 4


def list_by_urgency(
    session: Session, *, limit: int = 200, department: str = ""
) -> list[tuple[IncidentView, datetime | None]]:
    """Open incidents with the due time of their earliest open clock, the most urgent first; those without a clock last.

    `department`: those that it leads or helps with.
    """
    states = [str(state) for state in OPEN_STATES]
    among: list[ColumnElement[bool]] = []
    if department:
        helped = helped_by(session, department)
        among = [or_(Incident.department == department, Incident.id.in_(helped))]
    due = _first_due(session, states, limit, among)
    rows = {row.id: row for row in session.scalars(select(Incident).where(Incident.id.in_(list(due))))}
    found: list[tuple[IncidentView, datetime | None]] = [(view_of(rows[id_]), due[id_]) for id_ in due]
    if len(found) < limit:
        clock = select(Deadline.id).where(Deadline.incident_id == Incident.id, Deadline.state == "open")
        timeless = (
            select(Incident)
            .where(Incident.state.in_(states), ~clock.exists(), *among)
            .order_by(Incident.id)
            .limit(limit - len(found))
        )
        found += [(view_of(row), None) for row in session.scalars(timeless)]
    return found


def _first_due(
    session: Session, states: Sequence[str], limit: int, among: Sequence[ColumnElement[bool]]
) -> dict[int, datetime]:
    """Earliest due time of the `limit` most urgent incidents that have an open clock, in their order.

    The index of open clocks is walked from its beginning and left early: grouping all clocks of all open incidents cost 25 ms at 10,000.
    """
    take = limit * _CLOCKS_EACH
    while True:
        query = (
            select(Deadline.incident_id, Deadline.due_at)
            .join(Incident, Incident.id == Deadline.incident_id)
            # an expression, so that no database begins with the index of states: then it had to sort
            .where(Deadline.state == "open", func.coalesce(Incident.state, "").in_(states), *among)
            .order_by(Deadline.due_at, Deadline.incident_id)
            .limit(take)
        )
        found: dict[int, datetime] = {}
        rows = session.execute(query).all()
        for id_, due_at in rows:
            found.setdefault(id_, due_at)
        if len(found) >= limit or len(rows) < take:
            return dict(list(found.items())[:limit])
        take *= 4


def count_by_state(session: Session) -> dict[str, int]:
    """How many incidents are in each state (`watching` included)."""
    rows = session.execute(select(Incident.state, func.count()).group_by(Incident.state))
    return {row[0]: row[1] for row in rows}


def facets_of_incidents(
    session: Session,
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    hidden: Collection[int] = (),
) -> dict[str, dict[str, int]]:
    """How many incidents by state, domain, district, level and department; clusters that never emerged are left out,
    and so are the `hidden` ones."""
    columns = (Incident.state, Incident.domain, Incident.district, Incident.level, Incident.department)
    query = select(*columns, func.count()).where(Incident.state != str(State.WATCHING))
    if since is not None:
        query = query.where(Incident.detected_at >= since)
    if until is not None:
        query = query.where(Incident.detected_at < until)
    if hidden:
        query = query.where(Incident.id.not_in(hidden))
    names = ("state", "domain", "district", "level", "department")
    found: dict[str, dict[str, int]] = {name: {} for name in names}
    for *values, number in session.execute(query.group_by(*columns)):
        for name, value in zip(names, values, strict=True):
            found[name][value] = found[name].get(value, 0) + number
    return {
        name: dict(sorted(counts.items(), key=lambda one: (-one[1], one[0])))
        for name, counts in found.items()
    }


def events_of(session: Session, incident_id: int) -> list[EventView]:
    """The history of one incident, oldest first."""
    rows = session.scalars(
        select(IncidentEvent).where(IncidentEvent.incident_id == incident_id).order_by(IncidentEvent.seq)
    )
    return [event_view(row) for row in rows]


def latest_events(session: Session, limit: int = 100, kinds: Sequence[str] | None = None) -> list[EventView]:
    """The newest events of all incidents, newest first."""
    query = select(IncidentEvent).order_by(IncidentEvent.seq.desc()).limit(limit)
    return [
        event_view(row)
        for row in session.scalars(query.where(IncidentEvent.kind.in_(kinds)) if kinds else query)
    ]


def event_view(row: IncidentEvent) -> EventView:
    """One event as pages and documents show it."""
    return EventView(
        seq=row.seq,
        incident_id=row.incident_id,
        version=row.version,
        kind=row.kind,
        epoch=row.epoch,
        round=row.round,
        actor=row.actor,
        channel=row.channel,
        occurred_at=row.occurred_at,
        recorded_at=row.recorded_at,
        payload=row.payload,
        hash=row.hash,
    )


def posts_of(
    session: Session, incident_id: int, *, limit: int = 200, fold_copies: bool = True
) -> list[PostView]:
    """Posts of one incident and of those merged into it, oldest first; near-copies are folded into their original."""
    query = (
        select(Post, Judgement)
        .join(IncidentPost, IncidentPost.post_id == Post.id)
        .outerjoin(Judgement, Judgement.post_id == Post.id)
        .where(IncidentPost.incident_id.in_(family(session, incident_id)))
        .order_by(Post.published_at, Post.id)
    )
    rows = session.execute(query).all()
    known = {post.id for post, _ in rows}
    copies: dict[int, list[Copy]] = {}
    shown = []
    for post, judgement in rows:
        original = judgement.near_copy_of if judgement else None
        if fold_copies and original in known:
            copies.setdefault(original, []).append(Copy(post.source_id, post.published_at, post.url))
        else:
            shown.append((post, judgement))
    edits = last_edits(session, [post.id for post, _ in shown[:limit]])
    return [
        _post(post, judgement, copies.get(post.id, []), edits.get(post.id))
        for post, judgement in shown[:limit]
    ]


def posts_page(
    session: Session, incident_id: int, *, limit: int, after: tuple[datetime, int] | None = None
) -> list[PostView]:
    """A page of the posts of one incident and of those merged into it, oldest first, near-copies not folded.

    `after`: publication and id of the last post of the page before.
    """
    query = (
        select(Post, Judgement)
        .join(IncidentPost, IncidentPost.post_id == Post.id)
        .outerjoin(Judgement, Judgement.post_id == Post.id)
        .where(IncidentPost.incident_id.in_(family(session, incident_id)))
    )
    if after is not None:
        at, id_ = after
        query = query.where(Post.published_at >= at, or_(Post.published_at > at, Post.id > id_))
    rows = session.execute(query.order_by(Post.published_at, Post.id).limit(limit)).all()
    edits = last_edits(session, [post.id for post, _ in rows])
    return [_post(post, judgement, (), edits.get(post.id)) for post, judgement in rows]


def _post(
    post: Post, judgement: Judgement | None, copies: Sequence[Copy], edit: RevisionView | None = None
) -> PostView:
    return PostView(
        id=post.id,
        source_id=post.source_id,
        external_id=post.external_id,
        url=post.url,
        title=post.title,
        text=post.text,
        published_at=post.published_at,
        fetched_at=post.fetched_at,
        tone=judgement.tone if judgement else "",
        tone_score=judgement.tone_score if judgement else 0.0,
        risk=judgement.risk if judgement else 0,
        domain=judgement.domain if judgement else "",
        districts=tuple(judgement.districts) if judgement else (),
        near_copy_of=judgement.near_copy_of if judgement else None,
        unavailable_at=post.unavailable_at,
        engagement=post.engagement,
        copies=len(copies),
        copied=tuple(copies[:COPIES_NAMED]),
        places=tuple(
            str(place["norm"] or place["name"])
            for place in judgement.places
            if place.get("kind") not in UNPLACED
        )
        if judgement
        else (),
        signal=judgement.signal if judgement else False,
        about=judgement.about if judgement else "",
        abstain=judgement.abstain if judgement else False,
        edited_at=edit.noticed_at if edit else None,
        words_before=f"{edit.old_title}\n{edit.old_text}".strip() if edit else "",
    )


@dataclass(frozen=True)
class Glimpse:
    """The little that a message says of an incident's posts: the words of the first one, and how many sources there are."""

    words: str
    sources: int


def glimpse(session: Session, incident_id: int) -> Glimpse:
    """What a message says of the posts of an incident and of those merged into it, without reading them all."""
    members = family(session, incident_id)
    first = session.execute(_FIRST_WORDS, {"members": members}).first()
    if first is None:
        return Glimpse("", 0)
    sources = session.scalar(_SOURCES, {"members": members})
    return Glimpse(first.title or first.text, sources or 0)


def sources_of(session: Session, incident_id: int) -> dict[str, int]:
    """How many posts each source gave to an incident."""
    query = (
        select(Post.source_id, func.count())
        .join(IncidentPost, IncidentPost.post_id == Post.id)
        .where(IncidentPost.incident_id.in_(family(session, incident_id)))
        .group_by(Post.source_id)
        .order_by(func.count().desc(), Post.source_id)
    )
    return {row[0]: row[1] for row in session.execute(query)}


def growth_of(session: Session, incident_id: int) -> list[HourView]:
    """Hourly counts of an incident and of those merged into it, oldest first; hours without posts are left out."""
    query = (
        select(
            IncidentHour.hour,
            func.sum(IncidentHour.posts),
            func.sum(IncidentHour.voices),
            func.sum(IncidentHour.negative),
        )
        .where(IncidentHour.incident_id.in_(family(session, incident_id)))
        .group_by(IncidentHour.hour)
        .order_by(IncidentHour.hour)
    )
    return [
        HourView(hour, int(posts), int(voices), int(negative))
        for hour, posts, voices, negative in session.execute(query)
    ]


def merge_candidates(session: Session, incident_id: int, limit: int = 20) -> list[IncidentView]:
    """Open incidents of the same domain that this one could be part of, the latest first."""
    me = session.get(Incident, incident_id)
    if me is None:
        return []
    query = (
        select(Incident)
        .where(
            Incident.id != incident_id,
            Incident.state.in_([str(state) for state in OPEN_STATES]),
            or_(Incident.domain == me.domain, Incident.district == me.district),
        )
        .order_by(Incident.last_post_at.desc(), Incident.id.desc())
        .limit(limit)
    )
    return [view_of(row) for row in session.scalars(query)]
