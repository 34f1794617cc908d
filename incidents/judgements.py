"""Judgements and clusters: what the judges said, and which posts make one matter.

A cluster is an `incident` row in state `watching`; it gets a number and its first event only when it emerges
(incidents.lifecycle). Counts and hours are caches that follow its posts, in whatever order these arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import Insert, Integer, bindparam, case, func, or_, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.util import identity_key

from incidents import evidence_due, labels
from incidents.chunks import chunks
from incidents.dialect import dialect_insert, insert_into
from incidents.models import (
    Incident,
    IncidentHour,
    IncidentPost,
    JsonDict,
    Judgement,
    Meta,
    Post,
    UtcDateTime,
)


@dataclass(frozen=True)
class NewJudgement:
    """What the models said about one post; field meanings are those of models.Judgement."""

    post_id: int
    domain: str
    domain_score: float
    tone: str
    tone_score: float
    snownlp_score: float
    signal: bool
    signal_score: float
    risk: int
    risk_score: float
    model_version: str
    abstain: bool = False
    districts: Sequence[str] = ()
    places: Sequence[JsonDict] = ()
    reasons: JsonDict = field(default_factory=dict)
    near_copy_of: int | None = None
    about: str = ""


@dataclass(frozen=True)
class LiveIncident:
    """A cluster or incident that a new post may join. State `merged`: its posts belong to `parent_id`."""

    id: int
    title: str
    domain: str
    district: str
    state: str
    parent_id: int | None
    sketch: JsonDict
    last_post_at: datetime
    posts: int
    voices: int
    first_posted_at: datetime


@dataclass(frozen=True)
class HourCount:
    """Posts, voices and negative posts in the hour that begins at `hour`."""

    hour: datetime
    posts: int
    voices: int
    negative: int


def save_judgements(session: Session, items: Sequence[NewJudgement], now: datetime) -> int:
    """Store one judgement a post, replacing an earlier one, and mark the posts as judged.

    Posts that were purged meanwhile are passed over; returns how many judgements were stored.
    """
    ids = [item.post_id for item in items]
    there: set[int] = set()
    for chunk in chunks(ids):
        there.update(session.scalars(select(Post.id).where(Post.id.in_(chunk))))
    rows = {item.post_id: _values(item, now) for item in items if item.post_id in there}
    if not rows:
        return 0
    insert = insert_into(session, Judgement)
    columns = [column.name for column in Judgement.__table__.columns if column.name != "post_id"]
    statement: Insert = insert.on_conflict_do_update(
        index_elements=["post_id"], set_={name: insert.excluded[name] for name in columns}
    )
    values = list(rows.values())
    for part in chunks(values):
        session.execute(statement, list(part))
        done = [row["post_id"] for row in part]
        session.execute(
            update(Post)
            .where(Post.id.in_(done))
            .values(judged_at=now)
            .execution_options(synchronize_session=False)
        )
    # a judgement made anew does not undo what people corrected
    labels.reapply(session, list(rows))
    return len(rows)


def _values(item: NewJudgement, now: datetime) -> dict[str, Any]:
    row = asdict(item)
    row["districts"], row["places"] = list(row["districts"]), list(row["places"])
    return row | {"judged_at": now}


def open_watching(
    session: Session,
    *,
    title: str,
    domain: str,
    district: str,
    first_posted_at: datetime,
    sketch: JsonDict,
) -> int:
    """Begin a cluster without posts; returns its id."""
    incident = Incident(
        title=title,
        domain=domain,
        district=district,
        state="watching",
        first_posted_at=first_posted_at,
        last_post_at=first_posted_at,
        sketch=sketch,
    )
    session.add(incident)
    session.flush()
    return incident.id


def add_post(
    session: Session,
    incident_id: int,
    post_id: int,
    *,
    similarity: float,
    voice: bool,
    published_at: datetime,
    negative: bool,
    now: datetime,
) -> bool:
    """Put one post into an incident and count it; False when the post is in an incident already.

    `voice`: the author is new here and the post no near-copy. Late arrivals are welcome: they count in the hour
    in which they were published, and may move `first_posted_at` back.
    """
    session.flush()  # the statements below are of the tables themselves and do not ask for it
    dialect = session.get_bind().dialect.name
    member = {"post_id": post_id, "incident_id": incident_id, "similarity": similarity, "added_at": now}
    if session.scalar(_member(dialect), member) is None:
        return False
    told = {"incident": incident_id, "voice": int(voice), "moment": published_at}
    state = session.scalar(_grown(), told)
    if state != "watching":
        evidence_due.of_posts(session, [post_id])
    session.execute(
        _hour_count(dialect),
        {
            "incident_id": incident_id,
            "hour": _hour(published_at),
            "posts": 1,
            "voices": int(voice),
            "negative": int(negative),
        },
    )
    _forget(session, incident_id)
    return True


# one post after the other comes through here while the writer's lock is held: building a statement anew costs ten times what
# running it does, so each is built once


@lru_cache(maxsize=2)
def _member(dialect: str) -> Any:
    table: Any = IncidentPost.__table__
    return (
        dialect_insert(dialect, table)
        .on_conflict_do_nothing(index_elements=["post_id"])
        .returning(table.c.post_id)
    )


@lru_cache(maxsize=1)
def _grown() -> Any:
    table: Any = Incident.__table__
    # bound with our type: a plain bind would store local time on SQLite
    moment = bindparam("moment", type_=UtcDateTime())
    # a cluster begun for this post has no posts yet: its first post sets both ends
    first = (or_(table.c.posts == 0, table.c.first_posted_at > moment), moment)
    last = (or_(table.c.posts == 0, table.c.last_post_at < moment), moment)
    return (
        update(table)
        .where(table.c.id == bindparam("incident"))
        .values(
            posts=table.c.posts + 1,
            voices=table.c.voices + bindparam("voice", type_=Integer()),
            first_posted_at=case(first, else_=table.c.first_posted_at),
            last_post_at=case(last, else_=table.c.last_post_at),
        )
        .returning(table.c.state)
    )


@lru_cache(maxsize=2)
def _hour_count(dialect: str) -> Any:
    table: Any = IncidentHour.__table__
    count = dialect_insert(dialect, table)
    return count.on_conflict_do_update(
        index_elements=["incident_id", "hour"],
        set_={name: table.c[name] + count.excluded[name] for name in ("posts", "voices", "negative")},
    )


def _hour(when: datetime) -> datetime:
    return when.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _forget(session: Session, incident_id: int) -> None:
    # counted in SQL: an Incident that this session has loaded is read again when it is looked at
    loaded = session.identity_map.get(identity_key(Incident, incident_id))
    if loaded is not None:
        session.expire(loaded)


def live_incidents(session: Session, since: datetime, ids: Sequence[int] | None = None) -> list[LiveIncident]:
    """Every cluster and incident (of `ids`, when given), in whatever state, with a post since then; by id."""
    query = select(
        Incident.id,
        Incident.title,
        Incident.domain,
        Incident.district,
        Incident.state,
        Incident.parent_id,
        Incident.sketch,
        Incident.last_post_at,
        Incident.posts,
        Incident.voices,
        Incident.first_posted_at,
    )
    query = query.where(Incident.last_post_at >= since).order_by(Incident.id)
    if ids is not None:
        query = query.where(Incident.id.in_(list(ids)))
    return [LiveIncident(*row) for row in session.execute(query)]


def update_sketch(
    session: Session, incident_id: int, sketch: JsonDict, title: str, domain: str, district: str
) -> None:
    """Store the clustering state of an incident and what it is about by now."""
    session.execute(
        update(Incident)
        .where(Incident.id == incident_id)
        .values(sketch=sketch, title=title, domain=domain, district=district)
        .execution_options(synchronize_session=False)
    )
    _forget(session, incident_id)


#: key of a sketch that no longer fits the incident's posts
STALE_SKETCH = "stale"
_RESHAPED, _RESHAPED_KEPT = "reshaped", 200


def reshaped(session: Session, incident: Incident) -> None:
    """People changed which posts make this incident: its sketch is to be computed again from them.

    Also noted for `reshapings`, so that a process that keeps sketches in memory takes up these alone.
    """
    incident.sketch = {**incident.sketch, STALE_SKETCH: True}
    held = session.get(Meta, _RESHAPED, with_for_update=True, populate_existing=True)
    was = _reshapings(held.value if held is not None else "")
    now = f"{was.count + 1}:{','.join(map(str, [*was.last, incident.id][-_RESHAPED_KEPT:]))}"
    if held is None:
        session.add(Meta(key=_RESHAPED, value=now))
    else:
        held.value = now
    session.flush()


@dataclass(frozen=True)
class Reshapings:
    """How often people changed which posts make an incident, and which incidents it was last, oldest first."""

    count: int
    last: tuple[int, ...]

    def since(self, count: int) -> list[int] | None:
        """The incidents changed after the first `count` changes; None when that is too long ago to know."""
        missed = self.count - count
        if not 0 <= missed <= len(self.last):
            return None
        return sorted(set(self.last[len(self.last) - missed :]))


def reshapings(session: Session) -> Reshapings:
    """What a process that keeps sketches in memory compares with what it knew."""
    return _reshapings(session.scalar(select(Meta.value).where(Meta.key == _RESHAPED)) or "")


def _reshapings(value: str) -> Reshapings:
    count, _, ids = value.partition(":")
    return Reshapings(int(count or 0), tuple(int(id_) for id_ in ids.split(",") if id_))


@dataclass(frozen=True)
class Member:
    """A post of an incident as clustering reads it."""

    id: int
    title: str
    text: str
    published_at: datetime
    author_key: str | None
    places: list[JsonDict]
    districts: list[str]


def members(session: Session, incident_id: int, limit: int = 400) -> list[Member]:
    """The last posts of one incident (those merged into it left out), in order of saving."""
    query = (
        select(
            Post.id,
            Post.title,
            Post.text,
            Post.published_at,
            Post.author_key,
            Judgement.places,
            Judgement.districts,
        )
        .join(IncidentPost, IncidentPost.post_id == Post.id)
        .join(Judgement, Judgement.post_id == Post.id)
        .where(IncidentPost.incident_id == incident_id)
        .order_by(Post.id.desc())
        .limit(limit)
    )
    return [Member(*row) for row in reversed(session.execute(query).all())]


def hour_counts(session: Session, incident_id: int, since: datetime) -> list[HourCount]:
    """Hours with posts from `since` on (the hour it lies in included), oldest first."""
    query = (
        select(IncidentHour.hour, IncidentHour.posts, IncidentHour.voices, IncidentHour.negative)
        .where(IncidentHour.incident_id == incident_id, IncidentHour.hour >= _hour(since))
        .order_by(IncidentHour.hour)
    )
    return [HourCount(*row) for row in session.execute(query)]


def authors(session: Session, incident_id: int) -> set[str]:
    """Pseudonyms of the authors in an incident: only to know whether a voice is new, never shown."""
    query = (
        select(Post.author_key)
        .join(IncidentPost, IncidentPost.post_id == Post.id)
        .where(IncidentPost.incident_id == incident_id, Post.author_key.is_not(None))
        .distinct()
    )
    return {key for key in session.scalars(query) if key is not None}


def post_ids(session: Session, incident_id: int) -> list[int]:
    """Ids of the posts in one incident, by id."""
    query = select(IncidentPost.post_id).where(IncidentPost.incident_id == incident_id)
    return list(session.scalars(query.order_by(IncidentPost.post_id)))


def homes_of(session: Session, post_ids: Sequence[int]) -> dict[int, tuple[int, int | None]]:
    """Of posts that belong to an incident already (they are judged again): the incident, and what they are a near-copy of."""
    query = (
        select(IncidentPost.post_id, IncidentPost.incident_id, Judgement.near_copy_of)
        .outerjoin(Judgement, Judgement.post_id == IncidentPost.post_id)
        .where(IncidentPost.post_id.in_(list(post_ids)))
    )
    return {row[0]: (row[1], row[2]) for row in session.execute(query)}


def count_judged(session: Session) -> dict[str, int]:
    """How many judgements each model version made."""
    query = select(Judgement.model_version, func.count()).group_by(Judgement.model_version)
    return {row[0]: row[1] for row in session.execute(query)}
