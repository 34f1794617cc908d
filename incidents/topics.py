"""Topics of a week, as the analysis found them: stored by week, read by report and console."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from incidents.chunks import chunks
from incidents.models import Judgement, Post, TopicWeek

_WEEK = re.compile(r"[0-9]{4}-W(0[1-9]|[1-4][0-9]|5[0-3])")


@dataclass(frozen=True)
class Topic:
    """One topic of one domain in one week; near-copies count once. `examples` are ids of posts, the most typical first.

    The job stores all posts of a topic there, so that every figure can be recounted and every post be read.
    """

    domain: str
    key: str  # the same topic has the same key in every week
    title: str
    words: tuple[str, ...] = ()  # strongest first
    posts: int = 0
    voices: int = 0
    before: int = 0  # posts in the week before; while the week runs, in the same part of it
    examples: tuple[int, ...] = ()
    model: str = ""


def week_of(at: datetime, zone: ZoneInfo) -> str:
    """ISO week of an instant in local time, as `2026-W47`."""
    year, week, _ = at.astimezone(zone).date().isocalendar()
    return f"{year}-W{week:02d}"


def bounds(week: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Monday 00:00 of the week and of the next one, local time. Raises ValueError for a week that does not exist."""
    if not _WEEK.fullmatch(week):
        raise ValueError(f"{week!r} is no ISO week: write it as 2026-W47")
    try:
        monday = date.fromisocalendar(int(week[:4]), int(week[6:]), 1)
        after = monday + timedelta(days=7)
        _before = monday - timedelta(days=8)  # years 1 and 9999 are no weeks of ours
    except (ValueError, OverflowError):
        raise ValueError(f"{week!r}: this year has no such week") from None
    return datetime.combine(monday, time(), zone), datetime.combine(after, time(), zone)


def trend(posts: int, before: int, *, known: bool, ever: bool = True) -> str:
    """first | new | growing | fading | steady: a change counts when larger than chance (twice the root of the sum).

    `ever`: whether there were topics in any week before; without them nothing is "new".
    """
    if not ever:
        return "first"
    if not known:
        return "new"
    if abs(posts - before) <= 2 * (posts + before) ** 0.5:
        return "steady"
    return "growing" if posts > before else "fading"


def save_topics(session: Session, week: str, rows: Sequence[Topic]) -> int:
    """Replace the topics of `week` ("2026-W47") by these; returns how many there are now.

    Raises ValueError for a week that is not written in ISO form.
    """
    if not _WEEK.fullmatch(week):
        raise ValueError(f"{week!r} is no ISO week: write it as 2026-W47")
    session.execute(
        delete(TopicWeek).where(TopicWeek.week == week).execution_options(synchronize_session=False)
    )
    for row in rows:
        values: dict[str, Any] = asdict(row)
        values["words"], values["examples"] = list(row.words), list(row.examples)
        session.add(TopicWeek(week=week, **values))
    session.flush()
    return len(rows)


def topics_of(session: Session, week: str, domain: str = "") -> list[Topic]:
    """The topics of one week, by domain, the biggest first. Examples that were purged are left out."""
    query = select(TopicWeek).where(TopicWeek.week == week)
    if domain:
        query = query.where(TopicWeek.domain == domain)
    rows = list(session.scalars(query.order_by(TopicWeek.domain, TopicWeek.posts.desc(), TopicWeek.key)))
    wanted = sorted({post for row in rows for post in row.examples})
    there = {
        post
        for chunk in chunks(wanted)
        for post in session.scalars(select(Post.id).where(Post.id.in_(chunk)))
    }
    return [
        Topic(
            domain=row.domain,
            key=row.key,
            title=row.title,
            words=tuple(row.words),
            posts=row.posts,
            voices=row.voices,
            before=row.before,
            examples=tuple(post for post in row.examples if post in there),
            model=row.model,
        )
        for row in rows
    ]


def weeks(session: Session) -> list[str]:
    """Weeks for which topics are stored, newest first."""
    return list(session.scalars(select(TopicWeek.week).distinct().order_by(TopicWeek.week.desc())))


def remembered(session: Session, week: str, last: int = 4) -> list[Topic]:
    """Topics of the `last` stored weeks before `week`, each key once as it stood last, the latest week first."""
    earlier = session.scalars(
        select(TopicWeek.week)
        .where(TopicWeek.week < week)
        .distinct()
        .order_by(TopicWeek.week.desc())
        .limit(last)
    ).all()
    found: dict[tuple[str, str], Topic] = {}
    for one in earlier:
        for topic in topics_of(session, one):
            found.setdefault((topic.domain, topic.key), topic)
    return list(found.values())


@dataclass(frozen=True)
class WeekPost:
    """One judged post of a period; of near-copies only the earliest one in the period."""

    id: int
    domain: str
    title: str
    text: str
    author_key: str | None


def week_posts(session: Session, since: datetime, until: datetime) -> list[WeekPost]:
    """Judged posts published in [since, until) that belong to a domain, near-copies once, the oldest first."""
    query = (
        select(Post.id, Judgement.domain, Post.title, Post.text, Post.author_key, Judgement.near_copy_of)
        .join(Judgement, Judgement.post_id == Post.id)
        .where(Post.published_at >= since, Post.published_at < until, Judgement.domain != "none")
        .order_by(Post.published_at, Post.id)
    )
    found: dict[int, WeekPost] = {}
    for id_, domain, title, text, author, copy_of in session.execute(query):
        found.setdefault(id_ if copy_of is None else copy_of, WeekPost(id_, domain, title, text, author))
    return list(found.values())


def domain_posts(session: Session, since: datetime, until: datetime) -> dict[str, int]:
    """Posts by domain that `week_posts` would give: those that the topics are drawn from."""
    # a copy judged into another domain than its original would count in both: the earliest decides
    first = (
        select(
            Judgement.domain,
            func.row_number()
            .over(
                partition_by=func.coalesce(Judgement.near_copy_of, Judgement.post_id),
                order_by=(Post.published_at, Post.id),
            )
            .label("place"),
        )
        .join(Post, Post.id == Judgement.post_id)
        .where(Post.published_at >= since, Post.published_at < until, Judgement.domain != "none")
        .subquery()
    )
    query = select(first.c.domain, func.count()).where(first.c.place == 1).group_by(first.c.domain)
    return {row[0]: row[1] for row in session.execute(query)}


def published_before(session: Session, ids: Iterable[int], until: datetime) -> int:
    """How many of these posts were published before `until`; purged ones do not count."""
    wanted = sorted(set(ids))
    return sum(
        session.execute(
            select(func.count()).select_from(Post).where(Post.id.in_(chunk), Post.published_at < until)
        ).scalar_one()
        for chunk in chunks(wanted)
    )


def headings(session: Session, ids: Iterable[int]) -> dict[int, str]:
    """Title of each of these posts, or the beginning of its text where it has none."""
    wanted = sorted(set(ids))
    return {
        row.id: row.title or row.text[:200]
        for chunk in chunks(wanted)
        for row in session.execute(select(Post.id, Post.title, Post.text).where(Post.id.in_(chunk)))
    }
