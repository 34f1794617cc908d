"""Posts through the API: search, how many, over time, facets. Each search is written into the audit chain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from console.api import cursor as cursors
from console.api.caller import Tagged, needs
from console.api.incidents import by_token
from console.api.problems import RESPONSES, ApiProblem
from console.api.shapes import Cursor, Instant, Limit, Out, Page, Short, Words
from console.context import Visit
from console.rights import hidden, need_posts
from incidents import looks, queries, search
from incidents.counting import Counted
from incidents.fields import names_of
from incidents.querylang import QueryError
from incidents.search import PostFilter, parse
from incidents.search import Query as ParsedQuery
from incidents.session import Session

router = APIRouter(prefix="/api/posts", tags=["posts"], route_class=Tagged, responses=RESPONSES)
Tone = Literal["", "neg", "neu", "pos"]
Unit = Literal["hour", "day", "week", "month"]


class PostOut(Out):
    """One post with its judgement. Nothing about who wrote it."""

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


class Count(BaseModel):
    """How many posts."""

    total: int
    at_least: bool = Field(
        description="only so many were counted, the newest; there are more (`exact=false`)"
    )


class Bucket(BaseModel):
    """Posts of one local hour or day, of the week that begins on it (a Monday), or of the month that begins on it."""

    start: date | datetime = Field(description="a day, or for hours a time with its zone")
    posts: int


class OverTime(BaseModel):
    """Posts over time; hours and days without any are there with 0."""

    unit: Unit
    total: int
    at_least: bool
    buckets: list[Bucket]


class Facets(BaseModel):
    """Value -> how many posts, the most frequent first. A post in two districts counts in both."""

    total: int
    at_least: bool
    domain: dict[str, int]
    tone: dict[str, int]
    source: dict[str, int]
    district: dict[str, int]
    risk: dict[str, int]


class Asked:
    """The words and filters that all operations of this page share."""

    def __init__(
        self,
        here: Annotated[Visit, Depends(needs("read:posts"))],
        q: Words = "",
        domain: Short = "",
        district: Short = "",
        source: Short = "",
        tone: Tone = "",
        incident: Annotated[Short, Query(description="number of an incident: only its posts")] = "",
        since: Instant = None,
        until: Instant = None,
    ) -> None:
        need_posts(here)
        self.here, self.q = here, q
        self.values = {
            "q": q,
            "domain": domain,
            "district": district,
            "source": source,
            "tone": tone,
            "incident": incident,
            "since": since,
            "until": until,
        }
        within: int | None = None
        if incident:
            with here.console.db.reading() as session:
                found = queries.get_incident(session, incident)
            # an unknown number, or one that may not be seen, finds nothing instead of everything
            within = found.id if found is not None and found.id not in hidden(here) else -1
        self.filters = PostFilter(
            domain=domain,
            district=district,
            source=source,
            tone=tone,
            since=since,
            until=until,
            incident_id=within,
            hidden=hidden(here),
        )

    @property
    def query(self) -> ParsedQuery:
        """The parsed words. Raises ApiProblem 422 that points at the mistake."""
        try:
            return parse(self.q, names_of(self.here.console.bundle, self.here.now))
        except QueryError as wrong:
            raise ApiProblem(
                422, wrong.template, at="query.q", position=wrong.position, values=wrong.values
            ) from wrong

    @contextmanager
    def counted(self, exact: bool) -> Iterator[tuple[Session, Counted]]:
        """What the query holds for, counted in one short read, and the search in the record."""
        query = self.query
        with self.here.console.db.reading() as session:
            found = search.count_posts(
                session, query, filters=self.filters, cap=None if exact else search.CAP
            )
            yield session, found
        self.record(found.total)

    def record(self, found: int) -> None:
        """Who asked what, in the audit chain."""
        looks.note(
            self.here.console.db,
            "posts_searched",
            {"query": self.q, "found": found, **by_token(self.here)},
            about=repr(sorted((name, str(value)) for name, value in self.values.items()))
            + repr(by_token(self.here)),
            actor=self.here.account.login,
            channel="api",
            now=self.here.now,
        )


Asking = Annotated[Asked, Depends()]
Exact = Annotated[
    bool,
    Query(
        description=f"false: count the newest {search.CAP} at most, which is fast however common the words are"
    ),
]
#: days (hours) between the first and the last post up to which empty ones are filled in: a wrong date must not make a million rows
LONGEST_GAPLESS = 4000


@router.get("")
def list_posts(asked: Asking, limit: Limit = 50, cursor: Cursor = "") -> Page[PostOut]:
    """Posts for which the query holds, newest first. Nothing is counted here: see /api/posts/count."""
    place = cursors.decode("posts", asked.values, cursor, (int,))
    query = asked.query
    with asked.here.console.db.reading() as session:
        hits = search.search_posts(
            session,
            query,
            filters=asked.filters,
            limit=limit,
            before_id=place[0] if place else None,
            counts=False,
        )
    asked.record(len(hits.rows))
    return Page(
        items=[PostOut.model_validate(row) for row in hits.rows],
        next=None
        if hits.next_before_id is None
        else cursors.encode("posts", asked.values, [hits.next_before_id]),
    )


@router.get("/count")
def count_posts(asked: Asking, exact: Exact = True) -> Count:
    """How many posts there are for which the query holds."""
    with asked.counted(exact) as (_, found):
        return Count(total=found.total, at_least=found.capped)


@router.get("/over-time")
def posts_over_time(asked: Asking, unit: Unit = "day", exact: Exact = True) -> OverTime:
    """Posts by local hour, day, week (from Monday) or month."""
    zone = asked.here.console.zone
    with asked.counted(exact) as (_, found):
        counts = dict(found.timeline(zone, unit))
    if counts and unit in ("hour", "day"):
        first, last = min(counts), max(counts)
        step = timedelta(hours=1) if unit == "hour" else timedelta(days=1)
        if (last - first) / step <= LONGEST_GAPLESS:
            at = first
            while at < last:
                counts.setdefault(at, 0)
                at += step  # days of the city's own clock
    return OverTime(
        unit=unit,
        total=found.total,
        at_least=found.capped,
        buckets=[
            Bucket(start=at if unit == "hour" else at.date(), posts=number)
            for at, number in sorted(counts.items())
        ],
    )


@router.get("/facets")
def post_facets(asked: Asking, exact: Exact = True) -> Facets:
    """Posts by domain, tone, source, district and risk."""
    with asked.counted(exact) as (session, found):
        return Facets(total=found.total, at_least=found.capped, **found.facets(session))
