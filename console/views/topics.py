"""What the posts of a week were about: topics by domain with their change, each a way into the search."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from config.domains import IDS
from console.context import Visit, member
from console.render import page
from console.rights import hidden, need_posts
from incidents import access, topics
from incidents.topics import Topic

router = APIRouter(include_in_schema=False)
#: posts of a topic that its row shows, and weeks drawn
EXAMPLES, WEEKS = 3, 8
#: weeks that can be chosen on the page; older ones by their address
TABS = 10


@dataclass(frozen=True)
class Row:
    """One topic as the page shows it. `weeks`: its posts in the last weeks, this one last."""

    topic: Topic
    trend: str
    weeks: tuple[int, ...]
    examples: tuple[tuple[int, str], ...]
    search: str


@dataclass(frozen=True)
class Part:
    """One domain: posts in all (near-copies once), its topics, titles that are gone since the week before."""

    domain: str
    posts: int
    rows: tuple[Row, ...]
    gone: tuple[str, ...]


@dataclass(frozen=True)
class Span:
    """The week that is shown. `as_of`: its end, or now while it runs."""

    week: str
    before: str
    since: datetime
    until: datetime
    as_of: datetime

    @property
    def last_day(self) -> date:
        """Its Sunday."""
        return (self.until - timedelta(hours=1)).date()


@router.get("/topics")
def topics_page(here: Annotated[Visit, Depends(member)], week: str = "") -> Response:
    """Topics of one week, the latest by default; a week without topics is told, not refused."""
    need_posts(here)
    console = here.console
    with console.db.reading() as session:
        known = topics.weeks(session)
    span = _span(here, week or (known[0] if known else topics.week_of(here.now, console.zone)))
    return page(
        here,
        "topics.html",
        weeks=known[:TABS],
        span=span,
        parts=_parts(here, span, known) if span else [],
        watched=_watched(here),
    )


def _span(here: Visit, week: str) -> Span | None:
    """The week of this name; None when there is none or it lies ahead."""
    zone = here.console.zone
    try:
        since, until = topics.bounds(week, zone)
    except ValueError:
        return None
    if since > here.now:
        return None
    return Span(week, topics.week_of(since - timedelta(days=3), zone), since, until, min(until, here.now))


def _watched(here: Visit) -> tuple[str, ...]:
    return here.console.bundle.settings.analysis.watched_domains


def _parts(here: Visit, span: Span, known: list[str]) -> list[Part]:
    last = [span.week, *(name for name in known if name < span.week)][:WEEKS]
    with here.console.db.reading() as session:
        kept = hidden(here)
        stored = {name: access.tell_topics(session, topics.topics_of(session, name), kept) for name in last}
        now = stored[span.week]
        posts = topics.domain_posts(session, span.since, span.as_of)
        remembered = {(one.domain, one.key) for one in topics.remembered(session, span.week)}
        examples = [post for one in now for post in one.examples[:EXAMPLES]]
        words = topics.headings(session, examples)
    counts = {(name, one.domain, one.key): one.posts for name, rows in stored.items() for one in rows}
    watched = _watched(here)
    order = [*watched, *(domain for domain in IDS if domain not in watched)]
    parts = []
    for domain in order:
        mine = [one for one in now if one.domain == domain]
        if not mine and not posts.get(domain):
            continue
        keys = {one.key for one in mine}
        parts.append(
            Part(
                domain=domain,
                posts=max(posts.get(domain, 0), sum(one.posts for one in mine)),
                rows=tuple(
                    Row(
                        topic=one,
                        trend=topics.trend(
                            one.posts,
                            one.before,
                            known=(domain, one.key) in remembered,
                            ever=bool(remembered),
                        ),
                        weeks=tuple(counts.get((name, domain, one.key), 0) for name in reversed(last)),
                        examples=tuple(
                            (post, words[post]) for post in one.examples[:EXAMPLES] if post in words
                        ),
                        search=_search(one, span),
                    )
                    for one in mine
                ),
                gone=tuple(
                    one.title
                    for one in (stored.get(span.before, []) if span.as_of == span.until else [])
                    if one.domain == domain and one.key not in keys
                ),
            )
        )
    return parts


def _search(topic: Topic, span: Span) -> str:
    """Address of a search for the topic's strongest words in its domain and week; none for what must not be told."""
    if topic.title == access.UNTOLD:
        return ""
    query = " | ".join(f'"{word}"' for word in topic.words[:4]) or f'"{topic.title}"'
    return "/search?" + urlencode(
        {
            "kind": "posts",
            "q": query,
            "domain": topic.domain,
            "since": span.since.date().isoformat(),
            "until": span.last_day.isoformat(),
        }
    )
