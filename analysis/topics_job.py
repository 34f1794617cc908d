"""The job behind the topics of a week: posts of each domain -> topics, kept with their trend.

Topics are made in a process of their own: scikit-learn takes 100 MB that the running product need not hold.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from analysis.topics import MIN_POSTS, MODEL, KnownTopic, TopicPost, Topics, find_topics
from config.bundle import Bundle
from incidents import topics as store
from incidents.beats import beat, get_beat
from incidents.session import Database, Session

#: when the topics were last made, and on which local day
BEAT = "cursor:topics"
#: between two runs on one day
AGAIN = timedelta(hours=1)


@dataclass(frozen=True)
class DomainPosts:
    """The posts of one domain in one week, and the topics of the weeks before."""

    domain: str
    salt: str
    posts: tuple[TopicPost, ...]
    known: tuple[KnownTopic, ...]


@dataclass(frozen=True)
class TopicsSummary:
    """What one run did."""

    weeks: tuple[str, ...]
    topics: int
    posts: int


Find = Callable[[Sequence[DomainPosts]], list[Topics]]


def here(work: Sequence[DomainPosts]) -> list[Topics]:
    """Make the topics in this process."""
    return [find_topics(part.posts, part.known, salt=part.salt) for part in work]


def apart(work: Sequence[DomainPosts]) -> list[Topics]:
    """Make the topics in a process that ends with its memory."""
    if not any(part.posts for part in work):
        return here(work)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(here, list(work)).result()


def run_due(db: Database, bundle: Bundle, now: datetime) -> TopicsSummary | None:
    """What the scheduler calls: the last whole week and the running one, once a local day.

    On a day that brings twice the posts the running week is looked at again, an hour later at the earliest.
    """
    zone = ZoneInfo(bundle.settings.city.timezone)
    running = store.week_of(now, zone)
    with db.reading() as session:
        last = get_beat(session, BEAT)
        posts = sum(store.domain_posts(session, store.bounds(running, zone)[0], now).values())
    if last is None or last.ok_at.astimezone(zone).date() != now.astimezone(zone).date():
        return run(db, bundle, now, (store.week_of(now - timedelta(days=7), zone), running))
    if posts >= max(MIN_POSTS, 2 * int(last.value.get("posts", 0))) and now - last.ok_at >= AGAIN:
        return run(db, bundle, now, (running,))
    return None


def run(
    db: Database, bundle: Bundle, now: datetime, weeks: Sequence[str], *, find: Find = apart
) -> TopicsSummary:
    """Make the topics of these weeks anew, in the order given, and store them.

    Raises ValueError for a week that does not exist.
    """
    zone = ZoneInfo(bundle.settings.city.timezone)
    topics = posts = 0
    for week in weeks:
        since, until = store.bounds(week, zone)
        as_of = min(until, now)
        with db.reading() as session:
            work = _work(session, week, since, as_of)
        rows = list(zip(work, find(work), strict=True))
        with db.transaction() as session:
            before = {
                (topic.domain, topic.key): topic
                for topic in store.topics_of(session, store.week_of(since - timedelta(days=3), zone))
            }
            cut = as_of - timedelta(days=7)
            made = [
                store.Topic(
                    domain=part.domain,
                    key=topic.key,
                    title=topic.title,
                    words=topic.words,
                    posts=len(topic.posts),
                    voices=topic.voices,
                    before=_before(session, before.get((part.domain, topic.key)), cut),
                    examples=topic.posts,
                    model=MODEL,
                )
                for part, found in rows
                for topic in found.topics
            ]
            topics += store.save_topics(session, week, made)
            looked_at = sum(len(part.posts) for part in work)
            posts += looked_at
            if since <= now < until:
                beat(session, BEAT, now, {"seq": 0, "posts": looked_at})
    return TopicsSummary(tuple(weeks), topics, posts)


def _before(session: Session, earlier: store.Topic | None, cut: datetime) -> int:
    return store.published_before(session, earlier.examples, cut) if earlier else 0


def _work(session: Session, week: str, since: datetime, until: datetime) -> list[DomainPosts]:
    parts: dict[str, list[TopicPost]] = {}
    for post in store.week_posts(session, since, until):
        parts.setdefault(post.domain, []).append(TopicPost(post.id, post.title, post.text, post.author_key))
    known: dict[str, list[KnownTopic]] = {}
    for topic in store.remembered(session, week):
        known.setdefault(topic.domain, []).append(KnownTopic(topic.key, topic.title, topic.words))
    return [
        DomainPosts(domain, f"{week}/{domain}", tuple(posts), tuple(known.get(domain, ())))
        for domain, posts in sorted(parts.items())
    ]
