"""`quansheng topics`: what the posts of a week were about, by domain; makes them when nobody has yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from analysis import topics_job
from config.domains import domain_label
from incidents import access
from incidents import topics as store
from incidents.installation import Installation, Problem
from incidents.topics import Topic

_TREND = {
    "first": ("首周", "first week"),
    "new": ("新话题", "new"),
    "growing": ("升温", "growing"),
    "steady": ("平稳", "steady"),
    "fading": ("降温", "fading"),
}


@dataclass(frozen=True)
class TopicsOfWeek:
    """Topics of one week with their trend, by domain, the biggest first; and posts of each domain, topic or not."""

    week: str
    rows: tuple[tuple[Topic, str], ...]
    posts: dict[str, int]

    def table(self, lang: str) -> list[list[str]]:
        """One row a topic for a terminal."""
        english = lang.startswith("en")
        return [
            [
                domain_label(topic.domain, lang),
                topic.title,
                str(topic.posts),
                str(topic.before) if trend not in ("new", "first") else "-",
                _TREND[trend][english],
                str(topic.voices),
                topic.key,
            ]
            for topic, trend in self.rows
        ]

    def summary(self, lang: str) -> str:
        """One line below the table."""
        held, whole = sum(topic.posts for topic, _ in self.rows), sum(self.posts.values())
        if lang.startswith("en"):
            return f"{self.week}: {len(self.rows)} topics hold {held} of {whole} posts (near-copies once)"
        return f"{self.week}：{len(self.rows)}个话题，含{whole}条帖文中的{held}条（近似转发计一次）"

    def as_dict(self) -> dict[str, Any]:
        """For scripts; `posts` are ids, the most typical first."""
        return {
            "week": self.week,
            "posts": self.posts,
            "topics": [
                {
                    "domain": topic.domain,
                    "key": topic.key,
                    "title": topic.title,
                    "words": topic.words,
                    "count": topic.posts,
                    "before": topic.before,
                    "trend": trend,
                    "voices": topic.voices,
                    "posts": topic.examples,
                    "model": topic.model,
                }
                for topic, trend in self.rows
            ],
        }


def topics_of_week(
    home: Installation, week: str | None, now: datetime, *, anew: bool = False
) -> TopicsOfWeek:
    """Topics of `week` (default: the running one), made now if they were not or with `anew`.

    Raises Problem for a week that does not exist or lies ahead.
    """
    week = week or store.week_of(now, home.zone)
    try:
        since, until = store.bounds(week, home.zone)
    except ValueError as exc:
        raise Problem(f"--week: {exc}") from exc
    if since > now:
        raise Problem(f"--week {week}: has not begun; the latest is {store.week_of(now, home.zone)}")
    with home.db.reading() as session:
        there = week in store.weeks(session)
    if anew or not there:
        topics_job.run(home.db, home.bundle, now, (week,))
    with home.db.reading() as session:
        known = {(topic.domain, topic.key) for topic in store.remembered(session, week)}
        rows = access.tell_topics(session, store.topics_of(session, week), access.restricted(session))
        posts = store.domain_posts(session, since, min(until, now))
    return TopicsOfWeek(
        week,
        tuple(
            (row, store.trend(row.posts, row.before, known=(row.domain, row.key) in known, ever=bool(known)))
            for row in rows
        ),
        posts,
    )
