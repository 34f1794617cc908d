"""Posts through the API: search, how many, over time, facets. Each search is written into the audit chain."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel

from console.api import cursor as cursors
from console.api.caller import Tagged, needs
from console.api.incidents import by_token
from console.api.problems import RESPONSES, ApiProblem
from console.api.shapes import Cursor, Instant, Limit, Out, Page, Short, Words
from console.context import Visit
from console.rights import hidden, need_posts
from incidents import lifecycle, queries
from incidents.fields import names_of
from incidents.querylang import QueryError
from incidents.search import PostFilter, PostHits, parse, search_posts

router = APIRouter(prefix="/api/posts", tags=["posts"], route_class=Tagged, responses=RESPONSES)
Tone = Literal["", "neg", "neu", "pos"]
Unit = Literal["day", "week", "month"]


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


class Bucket(BaseModel):
    """Posts of one local day, of the week that begins on it (a Monday), or of the month that begins on it."""

    start: date
    posts: int


class OverTime(BaseModel):
    """Posts over time; days without any are there with 0."""

    unit: Unit
    total: int
    buckets: list[Bucket]


class Facets(BaseModel):
    """Value -> how many posts, the most frequent first. A post in two districts counts in both."""

    total: int
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

    def search(self, *, limit: int, before: int | None = None, counts: bool) -> PostHits:
        """Ask the index. Raises ApiProblem 422 that points at the mistake of a query."""
        console = self.here.console
        try:
            with console.db.reading() as session:
                return search_posts(
                    session,
                    parse(self.q, names_of(console.bundle, self.here.now)),
                    filters=self.filters,
                    limit=limit,
                    before_id=before,
                    counts=counts,
                    zone=console.bundle.settings.city.timezone,
                )
        except QueryError as wrong:
            raise ApiProblem(
                422, wrong.template, at="query.q", position=wrong.position, values=wrong.values
            ) from wrong

    def record(self, found: int) -> None:
        """Who asked what, in the audit chain."""
        with self.here.console.db.transaction() as session:
            lifecycle.record_act(
                session,
                "posts_searched",
                {"query": self.q, "found": found, **by_token(self.here)},
                actor=self.here.account.login,
                channel="api",
                now=self.here.now,
            )


Asking = Annotated[Asked, Depends()]


@router.get("")
def list_posts(asked: Asking, limit: Limit = 50, cursor: Cursor = "") -> Page[PostOut]:
    """Posts for which the query holds, newest first. Nothing is counted here: see /api/posts/count."""
    place = cursors.decode("posts", asked.values, cursor, (int,))
    hits = asked.search(limit=limit, before=place[0] if place else None, counts=False)
    asked.record(len(hits.rows))
    return Page(
        items=[PostOut.model_validate(row) for row in hits.rows],
        next=None
        if hits.next_before_id is None
        else cursors.encode("posts", asked.values, [hits.next_before_id]),
    )


@router.get("/count")
def count_posts(asked: Asking) -> Count:
    """How many posts there are for which the query holds: the same number as the search page's."""
    hits = asked.search(limit=1, counts=True)
    asked.record(hits.total)
    return Count(total=hits.total)


@router.get("/over-time")
def posts_over_time(asked: Asking, unit: Unit = "day") -> OverTime:
    """Posts by local day, week (from Monday) or month."""
    hits = asked.search(limit=1, counts=True)
    asked.record(hits.total)
    first: Callable[[date], date] = {
        "day": lambda day: day,
        "week": lambda day: day - timedelta(days=day.weekday()),
        "month": lambda day: day.replace(day=1),
    }[unit]
    counts: dict[date, int] = {}
    if hits.timeline:
        start, end = hits.timeline[0][0], hits.timeline[-1][0]
        if (end - start).days <= LONGEST_GAPLESS:
            counts = {first(start + timedelta(days=n)): 0 for n in range((end - start).days + 1)}
        for day, number in hits.timeline:
            counts[first(day)] = counts.get(first(day), 0) + number
    return OverTime(
        unit=unit,
        total=hits.total,
        buckets=[Bucket(start=start, posts=number) for start, number in sorted(counts.items())],
    )


#: days between the first and the last post up to which empty ones are filled in: a wrong date must not make a million rows
LONGEST_GAPLESS = 4000


@router.get("/facets")
def post_facets(asked: Asking) -> Facets:
    """Posts by domain, tone, source, district and risk."""
    hits = asked.search(limit=1, counts=True)
    asked.record(hits.total)
    return Facets(total=hits.total, **hits.facets)
