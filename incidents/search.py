"""Ask the full-text index: posts by words, fields, counts and a timeline. Incidents: incidents.incident_search.

On SQLite the FTS5 index gives a superset (exact for words without punctuation) and what it cannot decide is
asked of incidents.querylang itself. On PostgreSQL the GIN index narrows and the
stored comparable text decides. Both give exactly the posts for which `Query.matches` is true.
What is filtered and counted stands in `post_facet`, so that no count reads a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from math import ceil, floor
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, column, func, literal, select, table, text
from sqlalchemy.orm import Session

from incidents.counting import Counted, counted, joined
from incidents.fields import OF_INCIDENT
from incidents.grams import grams
from incidents.incident_search import IncidentHits, search_incidents
from incidents.index import add_to_index as index_posts
from incidents.match import field_condition, fts_condition, recheck, words_and_fields, written
from incidents.models import IncidentPost, Judgement, Post, PostFacet, PostSearch
from incidents.queries import family
from incidents.querylang import And, Field, Node, Query, QueryError, When, only_words, parse

__all__ = [
    "IncidentHits",
    "PostFilter",
    "PostHit",
    "PostHits",
    "Query",
    "QueryError",
    "grams",
    "index_posts",
    "parse",
    "search_incidents",
    "search_posts",
]

_FTS = table("post_fts", column("rowid"))
#: posts that a page counts; beyond it says "at least"
CAP = 20_000
#: of so many posts saved last it is counted how many satisfy the fields; from this share on their index is not asked
_SAMPLE, _RARE = 2_000, 0.08
#: from this share on one hanzi is looked for in the posts themselves, from the newest on
_COMMON = 0.2


@dataclass(frozen=True)
class PostFilter:
    """Narrowing beside the words. `since`/`until` bound the time of publication, `until` excluded."""

    domain: str = ""
    district: str = ""
    source: str = ""
    tone: str = ""
    since: datetime | None = None
    until: datetime | None = None
    #: the posts of this incident and of those merged into it
    incident_id: int | None = None
    #: incidents whose posts the asker must not see (incidents.access.hidden_from)
    hidden: frozenset[int] = frozenset()
    risk: str = ""
    state: str = ""
    department: str = ""
    level: str = ""
    #: nothing that was saved after this post: what a page counted can be exported although more comes in
    up_to_id: int | None = None

    @property
    def nodes(self) -> list[Node]:
        """The filter as parts of a query; the incident and `up_to_id` are none."""
        names = ("domain", "district", "source", "tone", "risk", "state", "department", "level")
        found: list[Node] = [Field(name, (getattr(self, name),)) for name in names if getattr(self, name)]
        if self.since is not None or self.until is not None:
            found.append(
                When(
                    floor(self.since.timestamp()) if self.since is not None else None,
                    ceil(self.until.timestamp()) if self.until is not None else None,
                )
            )
        return found


@dataclass(frozen=True)
class PostHit:
    """One found post; the fields of a judgement are empty while it waits for one."""

    id: int
    source_id: str
    url: str
    title: str
    text: str
    published_at: datetime
    domain: str
    tone: str
    risk: int
    districts: tuple[str, ...]
    incident_id: int | None
    signal: bool = False
    about: str = ""


@dataclass(frozen=True)
class PostHits:
    """One page of posts, newest saved first, and counts over all pages.

    `next_before_id` asks for the next page; None when this is the last.
    `facets`: domain, tone, source, district, risk -> value -> posts, the most frequent first.
    `capped`: there are more than `total`, and the counts are of the newest so many.
    """

    total: int
    rows: list[PostHit]
    timeline: list[tuple[date, int]]
    facets: dict[str, dict[str, int]]
    next_before_id: int | None = None
    capped: bool = False
    #: what was counted, for timelines by other units
    counted: Counted | None = None


def search_posts(
    session: Session,
    query: Query | str,
    *,
    filters: PostFilter = PostFilter(),
    limit: int = 50,
    before_id: int | None = None,
    counts: bool = True,
    cap: int | None = None,
    zone: str = "Asia/Shanghai",
) -> PostHits:
    """Posts for which the query holds. `counts` False leaves total, timeline and facets empty (further pages).

    `cap`: count at most so many, the newest saved (a word that half of a million posts hold is then answered as fast
    as a rare one); None counts all. Raises QueryError for a text that is no query. Days of the timeline are those of `zone`.
    """
    scope = _Scope(session, parse(query) if isinstance(query, str) else query, filters)
    if not counts:
        ids = scope.newest(limit + 1, before_id)
        rows = _rows(session, ids[:limit])
        return PostHits(0, rows, [], {}, ids[limit - 1] if len(ids) > limit else None)
    found = scope.count(cap)
    if before_id is None and (not found.capped or limit < found.total):
        ids = [int(id_) for id_ in found.ids[: limit + 1]]
    else:
        ids = scope.newest(limit + 1, before_id)
    return PostHits(
        found.total,
        _rows(session, ids[:limit]),
        found.days(ZoneInfo(zone)),
        found.facets(session),
        ids[limit - 1] if len(ids) > limit else None,
        found.capped,
        found,
    )


def count_posts(
    session: Session, query: Query | str, *, filters: PostFilter = PostFilter(), cap: int | None = None
) -> Counted:
    """The same counts without a page: for comparisons, samples and alerts."""
    return _Scope(session, parse(query) if isinstance(query, str) else query, filters).count(cap)


def posts_by_id(session: Session, ids: Sequence[int]) -> list[PostHit]:
    """These posts, newest saved first."""
    return _rows(session, ids)


@dataclass
class _Scope:
    """All posts of one search: the same conditions for the page and for every count."""

    session: Session
    query: Query
    filters: PostFilter
    sqlite: bool = field(init=False)
    #: the index is the driving table when it narrows at all
    indexed: bool = field(init=False, default=False)
    where: list[ColumnElement[bool]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.sqlite = self.session.get_bind().dialect.name == "sqlite"
        given = [self.query.node] if self.query.node is not None else []
        # an And of the query is taken apart, so that its words drive the search
        parts = [inner for node in given for inner in (node.parts if isinstance(node, And) else (node,))]
        parts += self.filters.nodes
        words, fields = words_and_fields(And(tuple(parts)) if parts else None)
        self.where = [field_condition(self.session, node) for node in fields]
        self.where += self._bounds()
        in_many = written(words) if self.sqlite else None
        if in_many is not None and self._share(in_many) >= _COMMON:
            self._read_posts(fields)
            self.where.append(in_many)
        elif self.sqlite:
            plan = fts_condition(words)
            self.indexed = plan.joined
            self.where += plan.where
            if words is not None and not plan.exact:
                self.where.append(recheck(self.session, words))
            by_combo = any(isinstance(node, Field) and node.name not in OF_INCIDENT for node in fields)
            if by_combo and not self.indexed and self._share() >= _RARE:
                self._read_posts(fields)
        elif words is not None or not all(only_words(node) for node in fields):
            # a plan made for any words scans the table; one made for these words uses the index
            self.session.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))
            self.indexed = True
            self.where += [field_condition(self.session, words)] if words is not None else []

    def _read_posts(self, fields: Sequence[Node]) -> None:
        """Many posts satisfy the fields: all are looked at from the newest on, not those of one combination after the other."""
        self.where[: len(fields)] = [field_condition(self.session, node, drives=False) for node in fields]

    def _bounds(self) -> list[ColumnElement[bool]]:
        wanted = self.filters
        found: list[ColumnElement[bool]] = []
        if wanted.up_to_id is not None:
            found.append(PostFacet.post_id <= wanted.up_to_id)
        if wanted.hidden:
            theirs = select(IncidentPost.post_id).where(IncidentPost.incident_id.in_(wanted.hidden))
            found.append(PostFacet.post_id.not_in(theirs))
        if wanted.incident_id is not None:
            members = family(self.session, wanted.incident_id)
            mine = select(IncidentPost.post_id).where(IncidentPost.incident_id.in_(members))
            found.append(PostFacet.post_id.in_(mine))
        # rows hold whole seconds: a bound between two seconds asks the post itself
        for bound, later in ((wanted.since, True), (wanted.until, False)):
            if bound is not None and bound.microsecond:
                exactly = Post.published_at >= bound if later else Post.published_at < bound
                found.append(select(literal(1)).where(Post.id == PostFacet.post_id, exactly).exists())
        return found

    def _share(self, *more: ColumnElement[bool]) -> float:
        """How many of the posts saved last satisfy the conditions, and `more`."""
        newest = select(func.max(PostFacet.post_id)).scalar_subquery()
        sample = select(func.count()).select_from(PostFacet).where(PostFacet.post_id > newest - _SAMPLE)
        return (self.session.scalar(sample.where(*self.where, *more)) or 0) / _SAMPLE

    def _from(self, statement: Any) -> Any:
        if not self.indexed:
            statement = statement.select_from(PostFacet)
        elif self.sqlite:
            statement = statement.select_from(_FTS).join(PostFacet, PostFacet.post_id == _FTS.c.rowid)
        else:
            statement = statement.select_from(PostFacet).join(
                PostSearch, PostSearch.post_id == PostFacet.post_id
            )
        return statement.where(*self.where)

    @property
    def _key(self) -> Any:
        """The number by which the driving table can stop early. Ids grow with time, so nothing is sorted."""
        return _FTS.c.rowid if self.indexed and self.sqlite else PostFacet.post_id

    def newest(self, limit: int, before_id: int | None) -> list[int]:
        """Ids of the newest saved posts."""
        statement = self._from(select(self._key))
        if before_id is not None:
            statement = statement.where(self._key < before_id)
        return list(self.session.scalars(statement.order_by(self._key.desc()).limit(limit)))

    def count(self, cap: int | None) -> Counted:
        """All posts, or the newest `cap`."""
        rows = self._from(select(PostFacet.post_id, PostFacet.at, PostFacet.combo))
        if cap is not None:
            rows = rows.order_by(self._key.desc()).limit(cap + 1)
        found = rows.subquery()
        statement = select(joined(self.session, found.c.post_id, found.c.at, found.c.combo))
        return counted(self.session.scalar(statement), cap)


def _rows(session: Session, ids: Sequence[int]) -> list[PostHit]:
    statement = (
        select(
            Post.id,
            Post.source_id,
            Post.url,
            Post.title,
            Post.text,
            Post.published_at,
            Judgement.domain,
            Judgement.tone,
            Judgement.risk,
            Judgement.districts,
            IncidentPost.incident_id,
            Judgement.signal,
            Judgement.about,
        )
        .outerjoin(Judgement, Judgement.post_id == Post.id)
        .outerjoin(IncidentPost, IncidentPost.post_id == Post.id)
        .order_by(Post.id.desc())
    )
    found: list[PostHit] = []
    for at in range(0, len(ids), 500):
        found += [_hit(row) for row in session.execute(statement.where(Post.id.in_(ids[at : at + 500])))]
    return found


def _hit(row: Any) -> PostHit:
    id_, source, url, title, text, published, domain, tone, risk, districts, incident, signal, about = row
    # no judgement yet: the joined columns are empty
    return PostHit(
        id_,
        source,
        url,
        title,
        text,
        published,
        domain or "",
        tone or "",
        risk or 0,
        tuple(districts or ()),
        incident,
        bool(signal),
        about or "",
    )
