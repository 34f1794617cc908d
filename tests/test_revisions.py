"""Edits: noticed once, with the words before them; never for what a site adds or lets run; counts become a series."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from analysis import job
from config.bundle import Bundle
from incidents import counts, judgements, queries, retention
from incidents.models import Judgement, Post, PostCount, PostRevision
from incidents.posts import NewPost, save_posts, unjudged
from incidents.revisions import essence, last_edits, revisions_of, says_the_same
from incidents.search import search_posts
from incidents.session import Database
from tests.fakes.crawl import NOW, crawl, source
from tests.fakes.site import Site, article, rss
from tests.test_emerge import AT, bundle, growing, new_post, save

__all__ = ["bundle"]  # the fixture of the other file

WAY = {"kind": "json", "reader": "1.x"}
WORDS = "历下区某小区停水三天，物业电话没有人接，老人提水上六楼。"


@pytest.mark.parametrize(
    "now",
    [
        WORDS.replace("，", ", ").replace("。", "."),
        f"  {WORDS}\n\n",
        f"{WORDS}\n阅读 1.2万  评论(35)",
        f"本帖最后由 泉城网友 于 2026-11-24 10:30 编辑\n{WORDS}",
        f"{WORDS}\n编辑于 2026-11-24 10:30",
        f"{WORDS}\n最后编辑：昨天 10:30",
        f"{WORDS}\n3分钟前",
        f"{WORDS[:20]}……",
        f"{WORDS[:20]}...展开全文",
        WORDS.replace("三", "三").upper(),
    ],
)
def test_what_a_site_adds_is_no_edit(now: str) -> None:
    assert says_the_same(WORDS, now)
    assert says_the_same(now, WORDS)


@pytest.mark.parametrize(
    "now",
    [
        WORDS.replace("三天", "五天"),
        f"{WORDS}更新：已经来水。",
        WORDS.replace("停水", "停气"),
        f"编辑于深夜的一封信：{WORDS}",
        "此内容已由作者编辑",
    ],
)
def test_other_words_are_an_edit(now: str) -> None:
    assert not says_the_same(WORDS, now)


def test_essence_keeps_numbers_that_are_told() -> None:
    assert essence("12人住院") != essence("20人住院")
    assert essence("涨价到 300 元") != essence("涨价到 500 元")


def again(post: NewPost, hours: float = 1, **changed: Any) -> NewPost:
    return replace(post, fetched_at=post.fetched_at + timedelta(hours=hours), whole=True, **changed)


def first() -> NewPost:
    return replace(new_post(1, "停水三天", WORDS, author="a"), provenance=WAY)


def test_an_edit_is_kept_indexed_and_judged_again(any_db: Database, bundle: Bundle) -> None:
    post = first()
    save(any_db, [post])
    job.run(any_db, bundle, AT)
    with any_db.transaction() as session:
        result = save_posts(session, [again(post, text=f"{WORDS}昨晚楼上坠落死亡一人。")])
    assert (result.saved, result.repeats, len(result.edited)) == (0, 1, 1)
    with any_db.reading() as session:
        (edit,) = revisions_of(session, 1)
        assert (edit.old_text, edit.noticed_at) == (WORDS, AT + timedelta(hours=1))
        assert edit.old_sha256 != edit.new_sha256
        assert edit.evidence["judged"]["risk"] == session.get_one(Judgement, 1).risk
        assert session.get_one(Post, 1).content_sha256 == edit.new_sha256
        assert [row.id for row in unjudged(session, 9)] == [1]
        assert last_edits(session, [1, 2]) == {1: edit}
        assert search_posts(session, "坠落").total == 1
        assert session.scalar(select(func.count()).select_from(Post)) == 1
    job.run(any_db, bundle, AT + timedelta(hours=1))
    with any_db.reading() as session:
        assert session.get_one(Judgement, 1).risk > edit.evidence["judged"]["risk"]


def test_the_same_words_again_are_no_second_edit(db: Database) -> None:
    post = first()
    save(db, [post])
    changed = again(post, text=f"{WORDS}更新：已经来水。")
    save(db, [changed, again(changed), again(changed, text=f"{changed.text}\n阅读 99")])
    with db.reading() as session:
        assert len(revisions_of(session, 1)) <= 1
    save(db, [changed])
    save(db, [again(changed, 3)])
    with db.reading() as session:
        assert len(revisions_of(session, 1)) == 1


def test_only_whole_readings_made_in_the_same_way_are_compared(db: Database) -> None:
    post = first()
    save(db, [post])
    other = f"{WORDS}完全是别的话，与原来不同。"
    save(db, [replace(again(post, text=other), whole=False)])
    save(db, [again(post, text=other, provenance=WAY | {"reader": "2.x"})])
    save(db, [again(post, text=other, provenance=WAY | {"extractor": "paragraphs"})])
    with db.reading() as session:
        assert revisions_of(session, 1) == []


def test_a_page_that_shows_two_texts_in_turn_is_not_edited_for_ever(db: Database) -> None:
    post = first()
    save(db, [post])
    for turn in range(20):
        save(db, [again(post, turn + 1, text=WORDS if turn % 2 else f"{WORDS}推荐阅读的另一段话")])
    with db.reading() as session:
        assert len(revisions_of(session, 1)) == 4


def test_an_edited_post_stays_in_its_incident(db: Database, bundle: Bundle) -> None:
    posts = [replace(one, provenance=WAY) for one in growing(6)]
    save(db, posts)
    (incident,) = job.run(db, bundle, AT + timedelta(hours=8)).detected
    with db.reading() as session:
        before = queries.get_incident(session, incident)
    save(db, [again(posts[2], 9, text="公园的花开了，天气真好，大家都来看看吧")])
    job.run(db, bundle, AT + timedelta(hours=9))
    with db.reading() as session:
        after = queries.get_incident(session, incident)
        assert judgements.post_ids(session, incident) == [1, 2, 3, 4, 5, 6]
        (shown,) = [p for p in queries.posts_of(session, incident) if p.id == 3]
    assert before is not None
    assert after is not None
    assert (after.posts, after.voices, after.state) == (before.posts, before.voices, before.state)
    assert shown.edited_at == AT + timedelta(hours=2 + 9)


def test_an_edit_on_a_source_is_noticed_and_redacted(db: Database) -> None:
    fields = {"id": "id", "text": "t", "likes": "n"}
    with Site() as site:
        one = source("api", "json", f"{site.url}/api", fields=fields)
        site.page("/api", json.dumps([{"id": 1, "t": WORDS, "n": 3}]), kind="application/json")
        crawl(db, one)
        site.page("/api", json.dumps([{"id": 1, "t": f"{WORDS}\n阅读 77", "n": 9}]), kind="application/json")
        crawl(db, one, now=NOW + timedelta(hours=1))
        told = f"{WORDS}请打我电话13805311234"
        site.page("/api", json.dumps([{"id": 1, "t": told, "n": 30}]), kind="application/json")
        crawl(db, one, now=NOW + timedelta(hours=4))
    with db.reading() as session:
        (edit,) = revisions_of(session, 1)
        assert "13805311234" not in session.get_one(Post, 1).text
        assert "电话" in session.get_one(Post, 1).text
        assert edit.old_text == WORDS
        # the newest number on the post, the series behind it
        assert session.get_one(Post, 1).engagement == {"likes": 30}
        assert [row[1] for row in counts.series_of(session, 1)] == [{"likes": 3}, {"likes": 9}, {"likes": 30}]


def test_a_feed_with_full_text_does_not_edit_its_pages(db: Database) -> None:
    with Site() as site:
        entry = {"title": "停水", "guid": "g", "link": f"{site.url}/a", "text": "摘要：停水三天"}
        site.page("/feed.xml", rss([entry]), kind="application/rss+xml")
        site.page("/a", article("停水", f"{WORDS}\n" * 4))
        one = source("feed", "rss", f"{site.url}/feed.xml", full_text=True)
        crawl(db, one)
        site.page("/feed.xml", rss([entry | {"text": "摘要：停水五天"}]), kind="application/rss+xml")
        crawl(db, one, now=NOW + timedelta(hours=1))
    with db.reading() as session:
        assert revisions_of(session, 1) == []
        assert WORDS in session.get_one(Post, 1).text


def test_what_is_purged_takes_its_revisions_and_counts_along(any_db: Database) -> None:
    post = replace(first(), engagement={"likes": 1})
    save(any_db, [post])
    save(any_db, [again(post, 2, text=f"{WORDS}已经来水。", engagement={"likes": 5})])
    with any_db.transaction() as session:
        assert session.scalar(select(func.count()).select_from(PostRevision)) == 1
        assert session.scalar(select(func.count()).select_from(PostCount)) == 2
        retention.object_to(session, post.url, AT)
        assert session.scalar(select(func.count()).select_from(PostRevision)) == 0
        assert session.scalar(select(func.count()).select_from(PostCount)) == 0


def test_the_series_grows_thinner_with_age(db: Database) -> None:
    post = replace(first(), engagement={"likes": 0})
    save(db, [post])
    for hour in range(1, 24 * 8):
        save(db, [again(post, hour, engagement={"likes": hour})])
    with db.reading() as session:
        ages = [(at - AT) / timedelta(hours=1) for at, _ in counts.series_of(session, 1)]
        assert session.get_one(Post, 1).engagement == {"likes": 24 * 8 - 1}
    assert ages[:6] == [0, 1, 2, 4, 8, 16]
    assert len(ages) <= 14
    assert all(later - earlier <= 24 for earlier, later in itertools.pairwise(ages))
