"""Posts of the past: stored with both times, counted in their own hour, and no alarm of today."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import select

from analysis import job
from config.bundle import Bundle
from incidents import judgements, queries
from incidents.models import Post
from incidents.posts import PostRow
from incidents.session import Database
from tests.fakes.crawl import NOW, crawl, source
from tests.fakes.site import Site
from tests.test_emerge import AT, bundle, growing, new_post, save

__all__ = ["bundle"]  # the fixture of the other file

GRAVE = "历下区某幼儿园多名孩子午饭后食物中毒，正在医院抢救"
BACK = {"backfill": 1}


def test_a_back_filled_burst_of_last_week_is_no_alarm(any_db: Database, bundle: Bundle) -> None:
    late = AT + timedelta(days=6)
    save(any_db, [replace(one, provenance=BACK, fetched_at=late) for one in growing(6)])
    assert job.run(any_db, bundle, late).detected == []
    with any_db.reading() as session:
        (cluster,) = judgements.live_incidents(session, AT - timedelta(days=1))
        assert (cluster.state, cluster.posts, cluster.voices) == ("watching", 6, 6)
        assert cluster.last_post_at < AT + timedelta(hours=6)  # by the posted time


def test_the_same_burst_that_only_came_late_is_one(db: Database, bundle: Bundle) -> None:
    late = AT + timedelta(days=6)
    save(db, [replace(one, fetched_at=late) for one in growing(6)])
    assert len(job.run(db, bundle, late).detected) == 1


@pytest.mark.parametrize(
    ("days", "backfilled", "estimated", "news"),
    [
        (3, False, False, True),  # it came three days late by itself: nobody was told yet
        (3, True, False, False),  # somebody fetched the past
        (0.5, True, False, True),  # and found what is of today
        (0.5, True, True, False),  # which an unknown date does not prove
        (20, False, False, False),
    ],
)
def test_a_post_is_news_by_the_time_it_was_posted(
    days: float, backfilled: bool, estimated: bool, news: bool
) -> None:
    row = PostRow(1, "", GRAVE, AT, AT + timedelta(days=days), "hall", "a", "", estimated, backfilled)
    assert job.is_news(row, AT + timedelta(days=days)) is news


def test_a_grave_post_of_a_back_fill_pages_nobody(db: Database, bundle: Bundle) -> None:
    post = new_post(1, "", GRAVE, author="a")
    now = AT + timedelta(days=3)
    save(db, [replace(post, fetched_at=now, provenance=BACK)])
    assert job.run(db, bundle, now).detected == []


def test_an_old_post_that_joins_a_living_matter_does_not_raise_it(db: Database, bundle: Bundle) -> None:
    save(db, growing(2))
    job.run(db, bundle, AT + timedelta(hours=3))
    with db.reading() as session:
        (cluster,) = judgements.live_incidents(session, AT - timedelta(days=1))
    old = replace(growing(9)[8], published_at=AT - timedelta(days=20), fetched_at=AT + timedelta(hours=4))
    dire = replace(old, text=f"{old.text}，昨晚楼上坠落死亡一人，业主{old.text}")
    save(db, [dire])
    assert job.run(db, bundle, AT + timedelta(hours=4)).detected == []
    with db.reading() as session:
        hours = judgements.hour_counts(session, cluster.id, AT - timedelta(days=30))
        after = queries.get_incident(session, cluster.id)
        stored = session.get_one(Post, 3)
        times = stored.published_at, stored.fetched_at
    assert after is not None
    assert (after.posts, after.state) == (3, "watching")
    assert after.first_posted_at == dire.published_at
    assert hours[0].hour <= dire.published_at < hours[0].hour + timedelta(hours=1)
    assert times == (dire.published_at, dire.fetched_at)


def test_a_post_that_appears_days_late_in_the_middle_of_a_list_is_found_within_a_day(db: Database) -> None:
    def rows(numbers: list[int]) -> str:
        return json.dumps(
            [
                {"id": n, "t": f"停水第{n}次", "at": (NOW - timedelta(hours=6 * n)).isoformat()}
                for n in numbers
            ]
        )

    def show(numbers: list[int]) -> None:
        for page in range(5):
            site.page(
                f"/api?page={page + 1}", rows(numbers[page * 5 : page * 5 + 5]), kind="application/json"
            )

    with Site() as site:
        show([n for n in range(20) if n != 12])
        fields = {"id": "id", "text": "t", "published_at": "at"}
        pages = {"kind": "page", "size": 5}
        one = source("api", "json", f"{site.url}/api?page={{page}}", fields=fields, pagination=pages)
        crawl(db, one)
        show(list(range(20)))  # post 12 appears under the date of three days ago
        for hours in (1, 12, 26):
            crawl(db, one, now=NOW + timedelta(hours=hours))
            with db.reading() as session:
                found = session.scalars(select(Post.published_at).where(Post.external_id == "12")).all()
            assert len(found) == (hours == 26)
        assert found[0] == NOW - timedelta(hours=72)
        assert site.hits("/api?page=3") == 2  # the first reading and the one that looked back
