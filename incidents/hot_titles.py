"""Titles of hot lists that name the city: kept apart from posts, matched with incidents, and the recall that they show.

A hot title is no voice of a citizen. It says that a matter is known to everybody by now, and so it asks whether this
house knew before. Titles come through `posts.save_posts` like everything that a source gives, and turn off there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, or_, select
from sqlalchemy.orm import Session

from incidents import hot_verdicts
from incidents.chunks import chunks
from incidents.hot_verdicts import Said
from incidents.lifecycle import fold, history_of
from incidents.models import HotTitle, Incident, JsonDict, Meta, Post

if TYPE_CHECKING:
    from incidents.posts import NewPost

#: value of `provenance["signal"]` by which a connector marks a title
MARK = "trend"
#: incidents of so long before and after are held against a title
AROUND = timedelta(days=7)
#: key of `meta`: titles stored as posts by earlier versions were moved
_MOVED = "hot_titles_moved"


def is_title(provenance: JsonDict) -> bool:
    """Whether what a source gave is a hot title."""
    return provenance.get("signal") == MARK


def keep(session: Session, titles: Sequence[NewPost]) -> int:
    """Store new titles and note that known ones are still hot; returns how many were new. Not judged yet."""
    fresh = 0
    for given in titles:
        row = session.scalar(
            select(HotTitle).where(
                HotTitle.source_id == given.source_id, HotTitle.external_id == given.external_id
            )
        )
        rank = int(given.provenance.get("rank") or 0)
        if row is None:
            fresh += 1
            row = HotTitle(
                source_id=given.source_id,
                external_id=given.external_id,
                list_name=str(given.provenance.get("list", ""))[:120],
                title=given.title,
                text=given.text,
                url=given.url,
                first_seen_at=given.fetched_at,
                last_seen_at=given.fetched_at,
                best_rank=rank,
                sightings=1,
                domain="",
                districts=[],
                places=[],
            )
            session.add(row)
        else:
            row.last_seen_at = max(row.last_seen_at, given.fetched_at)
            row.sightings += 1
            row.best_rank = min(filter(None, (row.best_rank, rank)), default=0)
        session.flush()
    return fresh


def known(session: Session, source_id: str, external_ids: Sequence[str]) -> set[str]:
    """Those of the ids under which a title of this source is stored."""
    found: set[str] = set()
    for chunk in chunks(external_ids):
        found.update(
            session.scalars(
                select(HotTitle.external_id).where(
                    HotTitle.source_id == source_id, HotTitle.external_id.in_(chunk)
                )
            )
        )
    return found


def move_old(session: Session) -> list[int]:
    """Once: copy titles that earlier versions stored as posts; returns the posts, which the caller removes."""
    if session.get(Meta, _MOVED) is not None:
        return []
    session.add(Meta(key=_MOVED, value="1"))
    session.flush()
    marked = Post.provenance["signal"].as_string() == MARK
    posts = session.scalars(select(Post).where(marked).order_by(Post.id)).all()
    for post in posts:
        if not known(session, post.source_id, [post.external_id]):
            session.add(
                HotTitle(
                    source_id=post.source_id,
                    external_id=post.external_id,
                    list_name=str(post.provenance.get("list", ""))[:120],
                    title=post.title,
                    text=post.text,
                    url=post.url,
                    first_seen_at=post.fetched_at,
                    last_seen_at=post.fetched_at,
                    best_rank=int(post.provenance.get("rank") or 0),
                    sightings=1,
                    domain="",
                    districts=[],
                    places=[],
                )
            )
    session.flush()
    return [post.id for post in posts]


def forget(session: Session, until: datetime) -> int:
    """Remove titles last seen before `until`; what people said of them stays. Returns how many."""
    gone = session.scalars(delete(HotTitle).where(HotTitle.last_seen_at < until).returning(HotTitle.id)).all()
    return len(gone)


def object_to(session: Session, addresses: Sequence[str]) -> int:
    """Remove titles at these addresses."""
    gone = delete(HotTitle).where(HotTitle.url.in_(list(addresses))).returning(HotTitle.id)
    return len(session.scalars(gone).all())


# --- judging and matching: analysis says what, here it is written


@dataclass(frozen=True)
class Waiting:
    """A title that is to be judged or matched."""

    id: int
    source_id: str
    title: str
    text: str
    first_seen_at: datetime
    judged: bool
    districts: tuple[str, ...]
    places: tuple[JsonDict, ...]


def waiting(session: Session, now: datetime, limit: int = 500) -> list[Waiting]:
    """Titles not judged yet, and those without an incident as long as the week after them runs.

    Those not judged yet come first: however many old ones wait for an incident, a new title waits for none of them.
    """
    query = (
        select(HotTitle)
        .where(
            or_(
                HotTitle.judged_at.is_(None),
                HotTitle.incident_id.is_(None) & (HotTitle.first_seen_at >= now - AROUND),
            )
        )
        .order_by(HotTitle.judged_at.is_not(None), HotTitle.id)
        .limit(limit)
    )
    return [
        Waiting(
            row.id,
            row.source_id,
            row.title,
            row.text,
            row.first_seen_at,
            row.judged_at is not None,
            tuple(row.districts),
            tuple(row.places),
        )
        for row in session.scalars(query)
    ]


@dataclass(frozen=True)
class Judged:
    """What the models said of a title."""

    id: int
    domain: str
    domain_score: float
    districts: Sequence[str]
    places: Sequence[JsonDict]
    model_version: str
    elsewhere: bool = False


def save_judged(session: Session, items: Iterable[Judged], now: datetime) -> None:
    """Store judgements; a title that is gone meanwhile is passed over."""
    for item in items:
        row = session.get(HotTitle, item.id)
        if row is not None:
            row.domain, row.domain_score, row.model_version = (
                item.domain,
                item.domain_score,
                item.model_version,
            )
            row.districts, row.places, row.judged_at = list(item.districts), list(item.places), now
            row.elsewhere = item.elsewhere
    session.flush()


def save_match(
    session: Session, title_id: int, incident_id: int | None, near_id: int | None, score: float, now: datetime
) -> None:
    """Note the incident of a title, or the nearest one when none is near enough. A found one is never replaced:
    the figure of a past week must not change because a later post moved a cluster."""
    row = session.get(HotTitle, title_id)
    if row is None or row.incident_id is not None:
        return
    row.near_id, row.score = near_id, score
    if incident_id is not None:
        row.incident_id, row.matched_at = incident_id, now
    session.flush()


# --- what they show


#: what became of a title: known before it was hot | known later | collected but never raised | confirmed as missed |
#: not matched and not yet looked at | not ours | of no watched subject, or of another place
OUTCOMES = ("before", "after", "unraised", "missed", "open", "not_ours", "aside")
#: outcomes that count in the recall
COUNTED = OUTCOMES[:5]


@dataclass(frozen=True)
class TitleView:
    """One title with what became of it. `incident_id` is the one that holds its posts (merged ones followed)."""

    id: int
    source_id: str
    list_name: str
    title: str
    url: str
    first_seen_at: datetime
    last_seen_at: datetime
    best_rank: int
    domain: str
    districts: tuple[str, ...]
    outcome: str
    incident_id: int | None
    number: str
    near: str  # number of the nearest incident below the limit
    detected_at: datetime | None
    score: float
    by_person: str
    #: titles of other lists about the same matter, folded into this one
    copies: int = 0

    @property
    def lead(self) -> timedelta | None:
        """How long before (negative: after) the list the incident was detected."""
        return self.first_seen_at - self.detected_at if self.detected_at is not None else None


@dataclass(frozen=True)
class Recall:
    """Hot matters of one period by outcome, a matter once however many lists had it."""

    titles: tuple[TitleView, ...]  # one for each matter, the first list's; outcomes of COUNTED
    others: tuple[TitleView, ...]  # not ours, or of no watched subject

    def of(self, outcome: str) -> int:
        """How many matters had this outcome."""
        return sum(title.outcome == outcome for title in self.titles)

    @property
    def n(self) -> int:
        """Matters of the city in a watched subject. Those nobody looked at yet count as not known: the figure never flatters."""
        return len(self.titles)

    @property
    def before(self) -> int:
        """Matters that were known before they were hot."""
        return self.of("before")


def recall(
    session: Session,
    since: datetime,
    until: datetime,
    watched: Iterable[str],
    *,
    as_of: datetime | None = None,
) -> Recall:
    """Titles first seen in [since, until) and what became of them, by what was known at `as_of` (default: now known).

    A matter is held against the incidents of the week before and after its title.
    """
    rows = session.scalars(
        select(HotTitle)
        .where(HotTitle.first_seen_at >= since, HotTitle.first_seen_at < until)
        .order_by(HotTitle.first_seen_at, HotTitle.id)
    ).all()
    said = hot_verdicts.said(session, [row.id for row in rows], as_of)
    wanted = {row.incident_id for row in rows} | {row.near_id for row in rows}
    wanted |= {verdict.incident_id for verdict in said.values()}
    roots = _roots(session, {id_ for id_ in wanted if id_ is not None}, as_of)
    watching = frozenset(watched)
    views = [_view(row, _word_on(row, said), roots, watching, as_of) for row in rows]
    return Recall(
        tuple(_fold([view for view in views if view.outcome in COUNTED])),
        tuple(view for view in views if view.outcome not in COUNTED),
    )


def _word_on(row: HotTitle, said: dict[int, Said]) -> Said | None:
    """What a person said of this title. A word from before it was seen was on a removed one: SQLite gives its id again."""
    found = said.get(row.id)
    return found if found is not None and found.decided_at >= row.first_seen_at else None


@dataclass(frozen=True)
class _Root:
    id: int
    number: str
    detected_at: datetime | None


def _roots(session: Session, ids: set[int], as_of: datetime | None) -> dict[int, _Root]:
    """For each incident the one that holds its posts (at `as_of`, else now); its detection is the earliest of the two."""
    found: dict[int, _Root] = {}
    for start in ids:
        at: int | None = start
        detected: datetime | None = None
        seen: set[int] = set()
        while at is not None and at not in seen:
            seen.add(at)
            row = session.execute(
                select(
                    Incident.id, Incident.number, Incident.detected_at, Incident.state, Incident.parent_id
                ).where(Incident.id == at)
            ).one_or_none()
            if row is None:
                break
            state, parent, when = row.state, row.parent_id, row.detected_at
            if as_of is not None:  # a merge of later days must not turn a late matter into an early one
                then = fold([event for event in history_of(session, at) if event.occurred_at < as_of])
                state, parent, when = then.state, then.parent_id, then.times.get("detected_at")
            detected = min(filter(None, (detected, when)), default=None)
            found[start] = _Root(row.id, row.number or "", detected)
            at = parent if state == "merged" else None
    return found


def _view(
    row: HotTitle,
    said: Said | None,
    roots: dict[int, _Root],
    watched: frozenset[str],
    as_of: datetime | None,
) -> TitleView:
    matched = row.incident_id
    if as_of is not None and row.matched_at is not None and row.matched_at >= as_of:
        matched = None
    target = said.incident_id if said is not None and said.verdict == "same" else matched
    root = roots.get(target) if target is not None else None
    detected = root.detected_at if root is not None else None
    if said is not None and said.verdict in ("missed", "not_ours"):
        outcome, root, detected = said.verdict, None, None
    elif said is None and (row.elsewhere or row.domain not in watched):
        outcome = "aside"
    elif root is None:
        outcome = "open"
    elif detected is None:
        outcome = "unraised"
    else:
        outcome = "before" if detected <= row.first_seen_at else "after"
    near = roots.get(row.near_id) if row.near_id is not None else None
    return TitleView(
        id=row.id,
        source_id=row.source_id,
        list_name=row.list_name,
        title=row.title,
        url=row.url,
        first_seen_at=row.first_seen_at,
        last_seen_at=row.last_seen_at,
        best_rank=row.best_rank,
        domain=row.domain,
        districts=tuple(row.districts),
        outcome=outcome,
        incident_id=root.id if root is not None else None,
        number=root.number if root is not None else "",
        near=near.number if near is not None else "",
        detected_at=detected,
        score=row.score,
        by_person=said.decided_by if said is not None else "",
    )


def _fold(views: Sequence[TitleView]) -> list[TitleView]:
    """One title for each matter: those of one incident together, others when their words are the same."""
    kept: dict[Any, TitleView] = {}
    for view in views:
        key = view.incident_id if view.incident_id is not None else "".join(filter(str.isalnum, view.title))
        first = kept.get(key)
        kept[key] = view if first is None else replace(first, copies=first.copies + 1)
    return list(kept.values())
