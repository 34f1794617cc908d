"""Looking again at posts: their counts while they are young, and whether those of open incidents are still there.

A post that is gone is `unavailable`, with the time and the evidence of two visits apart. It is never solved by that, it stays in every
count, and when it comes back that is noticed too. Everything works in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, case, exists, func, or_, select
from sqlalchemy.orm import Session

from incidents.beats import beat, is_fresh
from incidents.chunks import chunks
from incidents.dialect import insert_into
from incidents.models import Incident, IncidentPost, JsonDict, Post, Revisit
from incidents.states import OPEN_STATES

#: ages at which a post is looked at again
AGES = tuple(timedelta(hours=h) for h in (1, 3, 9, 24, 72, 168))
#: a post of an open incident is looked at this often at least
OPEN_EVERY = timedelta(days=1)
#: one that is unavailable, in the hope of its coming back
GONE_EVERY = timedelta(days=3)
#: two visits that do not find a post are this far apart before it counts as unavailable
APART = timedelta(hours=6)
#: evidence entries that are kept of one post
KEPT = 12
#: how often the posts to be looked at are gathered anew
PLAN_EVERY = timedelta(minutes=10)
BEAT = "revisits"

#: there: found in its place. gone: 404, 410, "已被删除". missing: its list, which reaches back to it, does not hold it.
#: unclear: a wall, an error, a page without a text: says nothing
What = Literal["there", "gone", "missing", "unclear"]


@dataclass(frozen=True)
class KnownPost:
    """A stored post that is to be looked at again."""

    id: int
    source_id: str
    external_id: str
    url: str
    title: str
    published_at: datetime


@dataclass(frozen=True)
class Visit:
    """What one look at a post showed. `evidence`: status, place, words; nothing personal."""

    post_id: int
    what: What
    at: datetime
    evidence: JsonDict = field(default_factory=dict)


def next_due(published_at: datetime, visited_at: datetime, *, is_open: bool, counts: bool) -> datetime | None:
    """When a post is looked at after a visit; None: not any more.

    With `counts` at the ages of AGES; of an open incident at least daily.
    """
    ages = (
        [published_at + age for age in AGES if published_at + age > visited_at] if counts or is_open else []
    )
    daily = [visited_at + OPEN_EVERY] if is_open else []
    return min([*ages[:1], *daily], default=None)


def plan(session: Session, now: datetime, counting: Sequence[str]) -> int:
    """Gather posts that are to be looked at: those of open incidents, and young ones of the sources in `counting`; how many.

    Done once in PLAN_EVERY, whoever asks.
    """
    if is_fresh(session, BEAT, now, PLAN_EVERY):
        return 0
    rows = []
    for id_, source, published, fetched in session.execute(_of_open_incidents()):
        due = next_due(published, fetched, is_open=True, counts=True)
        rows.append({"post_id": id_, "source_id": source, "due_at": due, "visits": 0, "evidence": []})
    taken = {row["post_id"] for row in rows}
    for id_, source, published, fetched in session.execute(_young(sorted(counting), now)) if counting else ():
        due = next_due(published, fetched, is_open=False, counts=True)
        if due is not None and id_ not in taken:
            rows.append({"post_id": id_, "source_id": source, "due_at": due, "visits": 0, "evidence": []})
    known = _known(session, [row["post_id"] for row in rows])
    if new := [row for row in rows if row["post_id"] not in known]:
        # another process may have planned the same moment
        session.execute(insert_into(session, Revisit).on_conflict_do_nothing(index_elements=["post_id"]), new)
    for row in rows:
        if (held := known.get(row["post_id"])) is not None:
            held.due_at = now
    session.flush()
    beat(session, BEAT, now, {"followed": len(rows)})
    return len(rows)


def planned(session: Session, now: datetime) -> bool:
    """Whether `plan` has nothing to do now."""
    return is_fresh(session, BEAT, now, PLAN_EVERY)


def _open_ids() -> Any:
    """Open incidents, and those that were merged into one."""
    parents = select(Incident.id).where(Incident.state.in_(OPEN_STATES))
    return select(Incident.id).where(
        or_(
            Incident.state.in_(OPEN_STATES),
            and_(Incident.state == "merged", Incident.parent_id.in_(parents)),
        )
    )


def _of_open_incidents() -> Any:
    """Posts of open incidents that are not looked at."""
    followed = select(Revisit.post_id).where(Revisit.post_id == Post.id, Revisit.due_at.is_not(None))
    return (
        select(Post.id, Post.source_id, Post.published_at, Post.fetched_at)
        .join(IncidentPost, IncidentPost.post_id == Post.id)
        .where(IncidentPost.incident_id.in_(_open_ids()), ~followed.exists())
    )


def _young(sources: Sequence[str], now: datetime) -> Any:
    """Young posts of these sources that were never looked at again."""
    ever = select(Revisit.post_id).where(Revisit.post_id == Post.id)
    return select(Post.id, Post.source_id, Post.published_at, Post.fetched_at).where(
        Post.published_at > now - AGES[-1], Post.source_id.in_(sources), ~ever.exists()
    )


def _known(session: Session, ids: Sequence[int]) -> dict[int, Revisit]:
    found: dict[int, Revisit] = {}
    for chunk in chunks(ids):
        rows = session.scalars(select(Revisit).where(Revisit.post_id.in_(chunk)))
        found.update({row.post_id: row for row in rows})
    return found


def due(session: Session, source_ids: Sequence[str], now: datetime, limit: int) -> dict[str, list[KnownPost]]:
    """Posts of these sources whose time has come, at most `limit` of each: those of open incidents first, then the longest waiting.

    Whether a post of an incident is still there matters more than the counts of a young one: many of these must not hold it up.
    """
    found: dict[str, list[KnownPost]] = {}
    for chunk in chunks(source_ids):
        query = (
            select(
                Revisit.post_id,
                func.row_number()
                .over(
                    partition_by=Revisit.source_id,
                    order_by=(_of_open_incident().desc(), Revisit.due_at, Revisit.post_id),
                )
                .label("place"),
            )
            .where(Revisit.source_id.in_(chunk), Revisit.due_at <= now)
            .subquery()
        )
        rows = session.execute(
            select(Post.id, Post.source_id, Post.external_id, Post.url, Post.title, Post.published_at)
            .join(query, query.c.post_id == Post.id)
            .where(query.c.place <= limit)
            .order_by(Post.source_id, query.c.place)
        )
        for row in rows:
            found.setdefault(row[1], []).append(KnownPost(*row))
    return found


def _of_open_incident() -> ColumnElement[int]:
    """1 for a followed post of an open incident, else 0."""
    held = exists().where(IncidentPost.post_id == Revisit.post_id, IncidentPost.incident_id.in_(_open_ids()))
    return case((held, 1), else_=0)


def record(session: Session, visits: Sequence[Visit], *, counts: bool) -> list[int]:
    """Note what visits showed; ids of the posts that became unavailable or came back."""
    changed = []
    for visit in visits:
        row = session.get(Revisit, visit.post_id)
        post = session.get(Post, visit.post_id)
        if row is None or post is None:
            continue
        row.visits += 1
        row.visited_at = visit.at
        is_open = _is_open(session, post.id)
        row.due_at = next_due(post.published_at, visit.at, is_open=is_open, counts=counts)
        told = {"at": visit.at.astimezone(UTC).isoformat(), "what": visit.what, **visit.evidence}
        if visit.what == "there":
            row.there_at = visit.at
            if post.unavailable_at is not None:
                post.unavailable_at = None
                row.evidence = [*row.evidence, told | {"what": "back"}][-KEPT:]
                changed.append(post.id)
            elif row.evidence and row.evidence[-1]["what"] in ("gone", "missing"):
                row.evidence = [one for one in row.evidence if one["what"] == "back"]
        elif visit.what in ("gone", "missing"):
            if _missed_before(row.evidence, visit.at):
                row.evidence = [*row.evidence, told][-KEPT:]
                if post.unavailable_at is None:
                    post.unavailable_at = visit.at
                    changed.append(post.id)
            elif not _missing_since(row.evidence):
                row.evidence = [*row.evidence, told][-KEPT:]
            if post.unavailable_at is None:
                row.due_at = visit.at + APART  # one 404 is no deletion: the second look comes soon
            elif is_open:
                row.due_at = visit.at + GONE_EVERY
    session.flush()
    return changed


def _missing_since(evidence: Sequence[JsonDict]) -> datetime | None:
    """Since when visits in a row have not found the post."""
    since = None
    for one in reversed(evidence):
        if one["what"] not in ("gone", "missing"):
            break
        since = datetime.fromisoformat(one["at"])
    return since


def _missed_before(evidence: Sequence[JsonDict], at: datetime) -> bool:
    since = _missing_since(evidence)
    return since is not None and at - since >= APART


def _is_open(session: Session, post_id: int) -> bool:
    query = select(IncidentPost.post_id).where(
        IncidentPost.post_id == post_id, IncidentPost.incident_id.in_(_open_ids())
    )
    return session.scalar(query) is not None


def evidence_of(session: Session, post_id: int) -> list[JsonDict]:
    """What visits showed of a post that is or was gone, oldest first."""
    row = session.get(Revisit, post_id)
    return list(row.evidence) if row is not None else []
