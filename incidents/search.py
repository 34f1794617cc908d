"""Ask the full-text index: posts by words, filters, counts and a timeline; incidents by title and number.

On SQLite the FTS5 index gives a superset (exact for words without punctuation) and what it cannot decide is
asked of incidents.querylang itself. On PostgreSQL the GIN index narrows and the
stored comparable text decides. Both give exactly the posts for which `Query.matches` is true.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, column, func, literal_column, select, table, text
from sqlalchemy.orm import Session

from incidents.grams import grams
from incidents.index import add_to_index as index_posts
from incidents.match import fts_condition, gin_condition, recheck
from incidents.models import Incident, IncidentPost, Judgement, Post, PostSearch
from incidents.queries import IncidentView, family, get_incident
from incidents.querylang import Query, QueryError, parse

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
    `facets`: domain, tone, source, district -> value -> posts, the most frequent first.
    """

    total: int
    rows: list[PostHit]
    timeline: list[tuple[date, int]]
    facets: dict[str, dict[str, int]]
    next_before_id: int | None = None


@dataclass(frozen=True)
class IncidentHits:
    """Found incidents, newest first; `next_before_id` as in PostHits."""

    total: int
    rows: list[IncidentView]
    next_before_id: int | None = None


def search_posts(
    session: Session,
    query: Query | str,
    *,
    filters: PostFilter = PostFilter(),
    limit: int = 50,
    before_id: int | None = None,
    counts: bool = True,
    zone: str = "Asia/Shanghai",
) -> PostHits:
    """Posts for which the query holds. `counts` False leaves total, timeline and facets empty (further pages).

    Raises QueryError for a text that is no query. Days of the timeline are those of `zone`.
    """
    asked = parse(query) if isinstance(query, str) else query
    scope = _Scope(session, asked, filters, counts)
    rows = scope.page(limit + 1, before_id)
    more = rows[limit - 1].id if len(rows) > limit else None
    if not counts:
        return PostHits(0, rows[:limit], [], {}, more)
    facets = scope.facets()
    total = sum(facets["source"].values())
    return PostHits(total, rows[:limit], scope.timeline(ZoneInfo(zone)), facets, more)


@dataclass
class _Scope:
    """All posts of one search: the same joins and conditions for the page and for every count."""

    session: Session
    query: Query
    filters: PostFilter
    counts: bool
    sqlite: bool = field(init=False)
    #: the index is the driving table when it narrows at all
    indexed: bool = field(init=False, default=False)
    where: list[ColumnElement[bool]] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        self.sqlite = self.session.get_bind().dialect.name == "sqlite"
        if self.sqlite:
            self._ask_fts()
        elif self.query.node is not None:
            # a plan made for any words scans the table; one made for these words uses the index
            self.session.execute(text("SET LOCAL plan_cache_mode = force_custom_plan"))
            self.indexed, self.where = True, [gin_condition(self.query.node), *self._filters()]
        else:
            self.where = self._filters()

    def _ask_fts(self) -> None:
        plan = fts_condition(self.query)
        self.indexed, self.where = plan.joined, [*plan.where, *self._filters()]
        if plan.exact:
            return
        if not self.counts:
            self.where.append(recheck(self.session, self.query))
            return
        # page, facets and timeline want the same posts: look at each candidate once
        candidates = self.session.execute(self._from(select(Post.id, Post.title, Post.text)))
        ids = [id_ for id_, title, body in candidates if self.query.matches(title, body)]
        each = func.json_each(json.dumps(ids)).table_valued("value", name="each_found")
        self.indexed, self.where = False, [Post.id.in_(select(each.c.value))]

    def _filters(self) -> list[ColumnElement[bool]]:
        wanted = self.filters
        found: list[ColumnElement[bool]] = []
        if wanted.domain:
            found.append(Judgement.domain == wanted.domain)
        if wanted.tone:
            found.append(Judgement.tone == wanted.tone)
        if wanted.source:
            found.append(Post.source_id == wanted.source)
        if wanted.since is not None:
            found.append(Post.published_at >= wanted.since)
        if wanted.until is not None:
            found.append(Post.published_at < wanted.until)
        if wanted.incident_id is not None:
            found.append(IncidentPost.incident_id.in_(family(self.session, wanted.incident_id)))
        if wanted.district:
            each = self._districts()
            found.append(select(1).select_from(each).where(each.c.value == wanted.district).exists())
        return found

    def _districts(self) -> Any:
        if self.sqlite:
            return func.json_each(Judgement.districts).table_valued("value", name="each_district")
        listed = func.jsonb_array_elements_text(Judgement.districts)
        return listed.table_valued("value", name="each_district")

    def _from(self, statement: Any) -> Any:
        if not self.indexed:
            statement = statement.select_from(Post)
        elif self.sqlite:
            statement = statement.select_from(_FTS).join(Post, Post.id == _FTS.c.rowid)
        else:
            statement = statement.select_from(PostSearch).join(Post, Post.id == PostSearch.post_id)
        return (
            statement.outerjoin(Judgement, Judgement.post_id == Post.id)
            .outerjoin(IncidentPost, IncidentPost.post_id == Post.id)
            .where(*self.where)
        )

    def page(self, limit: int, before_id: int | None) -> list[PostHit]:
        """The newest posts. Ids grow with time, so this stops early instead of sorting everything."""
        key: Any = _FTS.c.rowid if self.indexed and self.sqlite else Post.id
        statement = self._from(
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
        )
        if before_id is not None:
            statement = statement.where(key < before_id)
        return [_hit(row) for row in self.session.execute(statement.order_by(key.desc()).limit(limit))]

    def facets(self) -> dict[str, dict[str, int]]:
        """Posts by domain, tone, source and district."""
        counts: dict[str, Counter[str]] = {
            name: Counter() for name in ("domain", "tone", "source", "district")
        }
        columns = (Judgement.domain, Judgement.tone, Post.source_id)
        statement = self._from(select(*columns, func.count())).group_by(*columns)
        for domain, tone, source, number in self.session.execute(statement):
            counts["domain"][domain or ""] += number
            counts["tone"][tone or ""] += number
            counts["source"][source] += number
        each = self._districts()
        by_district = self._from(select(each.c.value, func.count())).join(each, literal_column("true"))
        for district, number in self.session.execute(by_district.group_by(each.c.value)):
            counts["district"][district] += number
        return {name: dict(sorted(count.items(), key=_frequent_first)) for name, count in counts.items()}

    def timeline(self, zone: ZoneInfo) -> list[tuple[date, int]]:
        """Posts by local day, oldest first; days without posts are left out."""
        days: Counter[date] = Counter()
        if self.sqlite:
            # stored as UTC text: the quarter of an hour is enough for every zone on earth
            quarter: Any = literal_column(
                "substr(post.published_at, 1, 14) || (substr(post.published_at, 15, 2) / 15)"
            )
            for text, number in self.session.execute(
                self._from(select(quarter, func.count())).group_by(quarter)
            ):
                utc = datetime.fromisoformat(f"{text[:14]}{int(text[14:]) * 15:02}:00+00:00")
                days[utc.astimezone(zone).date()] += number
        else:
            day: Any = func.date(func.timezone(zone.key, Post.published_at)).label("day")
            for local, number in self.session.execute(self._from(select(day, func.count())).group_by("day")):
                days[local] += number
        return sorted(days.items())


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


def _frequent_first(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


def search_incidents(
    session: Session,
    query: Query | str,
    *,
    states: Sequence[str] = (),
    domain: str = "",
    district: str = "",
    limit: int = 50,
    before_id: int | None = None,
) -> IncidentHits:
    """Incidents whose title or number has what is asked for; clusters that never emerged only when asked by state.

    There are few incidents (10^4 to 10^6 a year in a city): the titles are read and judged by the query itself.
    """
    asked = parse(query) if isinstance(query, str) else query
    statement = select(Incident.id, Incident.number, Incident.title).order_by(Incident.id.desc())
    if states:
        statement = statement.where(Incident.state.in_([str(state) for state in states]))
    else:
        statement = statement.where(Incident.state != "watching")
    if domain:
        statement = statement.where(Incident.domain == domain)
    if district:
        statement = statement.where(Incident.district == district)
    found = [row.id for row in session.execute(statement) if asked.matches(row.title, row.number or "")]
    page = [id_ for id_ in found if before_id is None or id_ < before_id]
    views = [get_incident(session, id_) for id_ in page[:limit]]
    more = page[limit - 1] if len(page) > limit else None
    return IncidentHits(len(found), [view for view in views if view is not None], more)
