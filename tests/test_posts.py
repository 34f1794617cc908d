"""Posts: each stored once whoever saves at the same moment, and rows that cannot be taken are kept with a reason."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from incidents.models import Post
from incidents.posts import (
    NewPost,
    count_unjudged,
    list_quarantine,
    resolve_quarantine,
    save_posts,
    set_aside,
    unjudged,
)
from incidents.search import search_posts
from incidents.session import Database
from incidents.sources import get_state, list_states, record_crawl

T0 = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
Factory = Callable[..., NewPost]


def count(database: Database) -> int:
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(Post)) or 0


def test_a_batch_is_stored_in_its_order_with_every_field(any_db: Database, post: Factory) -> None:
    new = [
        post(f"第{n}帖", title="标题", place_hint="历下区", provenance={"charset": "gbk"}) for n in range(5)
    ]
    with any_db.transaction() as session:
        result = save_posts(session, new)
    assert (result.saved, result.repeats, len(result.ids)) == (5, 0, 5)
    with any_db.reading() as session:
        assert [row.id for row in unjudged(session, 10)] == list(result.ids) == sorted(result.ids)
        row = session.get_one(Post, result.ids[2])
        for field in (
            "source_id",
            "external_id",
            "url",
            "title",
            "text",
            "published_at",
            "fetched_at",
            "author_key",
        ):
            assert getattr(row, field) == getattr(new[2], field)
        assert (row.place_hint, row.provenance, row.judged_at) == ("历下区", {"charset": "gbk"}, None)


def test_an_empty_batch_is_nothing(any_db: Database) -> None:
    with any_db.transaction() as session:
        assert save_posts(session, []).ids == ()


def test_the_same_external_id_is_stored_once_and_its_engagement_refreshed(
    any_db: Database, post: Factory
) -> None:
    first = post(engagement={"likes": 1, "reposts": 2})
    with any_db.transaction() as session:
        id_ = save_posts(session, [first]).ids[0]
        again = save_posts(session, [replace(first, text="改过的正文", engagement={"likes": 9})])
    assert (again.saved, again.repeats) == (0, 1)
    with any_db.reading() as session:
        row = session.get_one(Post, id_)
        assert row.text == first.text
        assert row.engagement == {"likes": 9, "reposts": 2}


def test_the_same_external_id_of_another_source_is_another_post(any_db: Database, post: Factory) -> None:
    with any_db.transaction() as session:
        result = save_posts(session, [post(external_id="7", source_id=source) for source in ("a", "b")])
    assert result.saved == 2


@pytest.mark.parametrize(
    ("change", "stored"),
    [
        ({}, 1),  # same author, same words: a repeat, whatever its id
        ({"url": "http://bbs.example/other"}, 1),
        ({"author_key": "somebody-else"}, 2),
        ({"source_id": "other"}, 2),
        ({"title": "另一个标题"}, 2),
        ({"author_key": None}, 2),
    ],
)
def test_same_content_of_the_same_author_is_a_repeat(
    any_db: Database, post: Factory, change: dict[str, Any], stored: int
) -> None:
    first = post(author_key="a", url="http://bbs.example/1")
    second = replace(first, external_id="another-id", **change)
    with any_db.transaction() as session:
        save_posts(session, [first])
        save_posts(session, [second])
    assert count(any_db) == stored


@pytest.mark.parametrize(("first_url", "second_url", "stored"), [("u", "u", 1), ("u", "v", 2), ("", "", 2)])
def test_without_an_author_the_address_tells_repeats_apart(
    any_db: Database, post: Factory, first_url: str, second_url: str, stored: int
) -> None:
    """Two work orders in the same words, without names and addresses, are two complaints."""
    with any_db.transaction() as session:
        for url in (first_url, second_url):
            save_posts(session, [post(author_key=None, url=url)])
    assert count(any_db) == stored


def test_repeats_within_one_batch_are_seen(any_db: Database, post: Factory) -> None:
    one = post()
    with any_db.transaction() as session:
        result = save_posts(session, [one, one, replace(one, external_id="other"), post("不同")])
    assert (result.saved, result.repeats) == (2, 2)


def test_what_a_database_cannot_hold_is_replaced_not_lost(any_db: Database, post: Factory) -> None:
    with any_db.transaction() as session:
        save_posts(session, [post("停\x00水\ud83d了", title="\x00", external_id="e" * 300)])
        save_posts(session, [post("别的", external_id="e" * 300)])  # cut the same way: still the same post
    with any_db.reading() as session:
        row = session.scalars(select(Post)).one()
        assert (row.text, row.title, len(row.external_id)) == ("停水\ufffd了", "", 200)
        assert search_posts(session, "停水").total == 1


def test_long_ids_that_differ_late_are_different_posts(any_db: Database, post: Factory) -> None:
    with any_db.transaction() as session:
        result = save_posts(session, [post(external_id="e" * 250 + end) for end in ("1", "2")])
    assert result.saved == 2


def test_two_savers_at_once_store_each_post_once(any_db: Database, post: Factory) -> None:
    posts = [post(f"第{n}帖") for n in range(60)]
    together = threading.Barrier(4)
    saved: list[int] = []
    failures: list[Exception] = []

    def save(batch: list[NewPost]) -> None:
        together.wait()
        try:
            for at in range(0, len(batch), 10):
                with any_db.transaction() as session:
                    saved.append(save_posts(session, batch[at : at + 10]).saved)
        except Exception as error:  # noqa: BLE001 (told to the test's own thread)
            failures.append(error)

    threads = [
        threading.Thread(target=save, args=(batch,))
        for batch in (posts, posts[::-1], posts, posts[30:] + posts[:30])
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert count(any_db) == sum(saved) == 60
    with any_db.reading() as session:
        assert search_posts(session, "帖").total == 60


def test_a_transaction_that_fails_leaves_neither_post_nor_index(any_db: Database, post: Factory) -> None:
    def save_and_fail() -> None:
        with any_db.transaction() as session:
            save_posts(session, [post("停水")])
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        save_and_fail()
    with any_db.reading() as session:
        assert search_posts(session, "停水").total == 0
    assert count(any_db) == 0


def test_the_number_of_a_deleted_post_is_not_given_again(sqlite_db: Database, post: Factory) -> None:
    with sqlite_db.transaction() as session:
        first = save_posts(session, [post()]).ids[0]
        session.delete(session.get_one(Post, first))
        session.flush()
        assert save_posts(session, [post()]).ids[0] > first


def test_unjudged_posts_come_oldest_first_and_limited(any_db: Database, post: Factory) -> None:
    with any_db.transaction() as session:
        ids = save_posts(session, [post() for _ in range(3)]).ids
        session.get_one(Post, ids[0]).judged_at = T0
    with any_db.reading() as session:
        assert [row.id for row in unjudged(session, 1)] == [ids[1]]
        assert count_unjudged(session) == 2


def test_a_row_set_aside_waits_until_it_is_resolved(any_db: Database) -> None:
    with any_db.transaction() as session:
        first = set_aside(session, "工单.csv", 17, "时间", "“昨天”不是时间", {"内容": "停\x00水"}, T0)
        second = set_aside(session, "forum", None, "", "no text", {}, T0)
    with any_db.transaction() as session:
        rows = list_quarantine(session, 10)
        assert [row.id for row in rows] == [second, first]
        assert (rows[1].origin, rows[1].row, rows[1].field, rows[1].payload) == (
            "工单.csv",
            17,
            "时间",
            {"内容": "停水"},
        )
        assert resolve_quarantine(session, first, T0)
        assert not resolve_quarantine(session, first, T0)
        assert not resolve_quarantine(session, 999, T0)
        assert [row.id for row in list_quarantine(session)] == [second]


def test_a_source_remembers_its_last_fetch(any_db: Database) -> None:
    later = T0 + timedelta(minutes=10)
    with any_db.transaction() as session:
        assert get_state(session, "forum").state == "new"
        record_crawl(
            session,
            "forum",
            state="ok",
            evidence="3 new",
            now=T0,
            next_due_at=later,
            new_posts=3,
            cursor={"etag": "x"},
        )
        for _ in range(2):
            record_crawl(session, "forum", state="failed", evidence="HTTP 503", now=later, next_due_at=None)
    with any_db.transaction() as session:
        seen = get_state(session, "forum")
        assert (seen.state, seen.failures, seen.posts_total, seen.cursor) == ("failed", 2, 3, {"etag": "x"})
        assert (seen.last_ok_at, seen.last_new_post_at, seen.last_fetch_at) == (T0, T0, later)
        record_crawl(
            session, "forum", state="unchanged", evidence="304", now=later, next_due_at=later, cursor={}
        )
        assert (get_state(session, "forum").failures, get_state(session, "forum").cursor) == (0, {})
        assert [view.source_id for view in list_states(session)] == ["forum"]
