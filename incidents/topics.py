"""Topics of a week, as the analysis found them: stored by week, read by report and console."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from incidents.models import Post, TopicWeek

_WEEK = re.compile(r"[0-9]{4}-W(0[1-9]|[1-4][0-9]|5[0-3])")


@dataclass(frozen=True)
class Topic:
    """One topic of one domain in one week. `examples` are ids of posts, the most typical first."""

    domain: str
    key: str  # the same topic has the same key in every week
    title: str
    words: tuple[str, ...] = ()  # strongest first
    posts: int = 0
    voices: int = 0
    before: int = 0  # posts in the week before
    examples: tuple[int, ...] = ()
    model: str = ""


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
        for at in range(0, len(wanted), 400)
        for post in session.scalars(select(Post.id).where(Post.id.in_(wanted[at : at + 400])))
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
