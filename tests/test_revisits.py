"""Posts are looked at again: gone is `unavailable` after two visits apart, never solved; counts are read at growing distances."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from config.sources import Source
from incidents import counts, judgements, queries, revisits
from incidents.models import Incident, Post, Revisit
from incidents.posts import save_posts
from incidents.revisions import revisions_of
from incidents.session import Database
from incidents.sources import get_state
from spiders.connectors.base import gone_words
from spiders.items import PostItem
from tests.conftest import PostFactory
from tests.fakes.crawl import NOW, crawl, source
from tests.fakes.site import Answer, Hit, Site, article, rss

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WORDS = "历下区某小区自来水发黄已经三天，居民多次拨打热线反映，物业表示正在检修。\n" * 4


def column(site: Site, count: int = 3) -> Source:
    links = "".join(f'<li><a href="/art/{n}">自来水发黄{n}</a></li>' for n in range(count))
    site.page("/col", f"<html><body><ul>{links}</ul></body></html>")
    for n in range(count):
        site.page(f"/art/{n}", page(n))
    return source("col", "column", f"{site.url}/col", link_pattern="/art/")


def page(n: int, more: str = "") -> str:
    return article(f"自来水发黄{n}", f"{WORDS}第{n}次{more}")


def incident_of(db: Database, *posts: int, state: str = "detected") -> int:
    with db.transaction() as session:
        number = judgements.open_watching(
            session, title="自来水发黄", domain="water", district="", first_posted_at=NOW, sketch={}
        )
        for post in posts:
            judgements.add_post(
                session, number, post, similarity=1, voice=True, published_at=NOW, negative=True, now=NOW
            )
        session.get_one(Incident, number).state = state
    return number


def post_of(db: Database, number: int) -> tuple[datetime | None, list[dict[str, Any]]]:
    with db.reading() as session:
        return session.get_one(Post, number).unavailable_at, revisits.evidence_of(session, number)


def number_of(db: Database, url: str) -> int:
    with db.reading() as session:
        return session.scalars(select(Post.id).where(Post.url == url)).one()


def test_a_deleted_post_of_an_open_incident_becomes_unavailable(any_db: Database) -> None:
    with Site() as site:
        one = column(site)
        crawl(any_db, one)
        gone = number_of(any_db, f"{site.url}/art/0")
        incident = incident_of(any_db, 1, 2)
        site.page("/art/0", "<html><body>404</body></html>", status=404)
        crawl(any_db, one, now=NOW + 2 * HOUR)
        assert post_of(any_db, gone)[0] is None  # one 404 is no deletion
        crawl(any_db, one, now=NOW + 4 * HOUR)
        assert post_of(any_db, gone)[0] is None  # nor are two at once: it was not asked again so soon
        crawl(any_db, one, now=NOW + 9 * HOUR)
        at, evidence = post_of(any_db, gone)
        assert at == NOW + 9 * HOUR
        assert [(e["what"], e["status"]) for e in evidence] == [("gone", 404), ("gone", 404)]
        with any_db.reading() as session:
            view = queries.get_incident(session, incident)
            assert view is not None
            assert (view.posts, view.voices, view.state) == (2, 2, "detected")
            assert [p.unavailable_at for p in queries.posts_of(session, incident) if p.id == gone] == [at]
            assert get_state(session, "col").state in ("ok", "unchanged")  # the source is well
        # posts of no open incident are not asked for again
        others = {f"/art/{n}" for n in range(3)} - {"/art/0"}
        assert sum(site.hits(path) > 1 for path in others) == 1
        site.page("/art/0", page(0))
        crawl(any_db, one, now=NOW + 4 * DAY)
        at, evidence = post_of(any_db, gone)
        assert at is None  # it came back
        assert [e["what"] for e in evidence] == ["gone", "gone", "back"]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, "down"),
        (503, "busy"),
        (200, "<html><head><title>登录</title></head><body>请登录后查看</body></html>"),
        (200, "<html><body>访问过于频繁，请完成安全验证</body></html>"),
        (200, ""),
    ],
)
def test_walls_and_errors_are_no_deletion(db: Database, status: int, body: str) -> None:
    with Site() as site:
        one = column(site)
        crawl(db, one)
        gone = number_of(db, f"{site.url}/art/0")
        incident_of(db, gone)
        site.page("/art/0", body, status=status)
        for hours in (2, 12, 36, 72):
            crawl(db, one, now=NOW + hours * HOUR)
        assert post_of(db, gone) == (None, [])
        assert site.hits("/art/0") >= 4


def test_a_single_404_between_good_visits_is_forgotten(db: Database) -> None:
    with Site() as site:
        one = column(site)
        crawl(db, one)
        gone = number_of(db, f"{site.url}/art/0")
        incident_of(db, gone)
        for hours, there in ((2, False), (10, True), (40, False), (48, True)):
            if there:
                site.page("/art/0", page(0))
            else:
                site.page("/art/0", "", status=404)
            crawl(db, one, now=NOW + hours * HOUR)
        assert post_of(db, gone) == (None, [])


def test_the_words_of_a_deletion_count_as_one(db: Database) -> None:
    with Site() as site:
        one = column(site)
        crawl(db, one)
        gone = number_of(db, f"{site.url}/art/0")
        incident_of(db, gone)
        site.page("/art/0", "<html><body><p>抱歉，该帖子已被作者删除</p></body></html>")
        crawl(db, one, now=NOW + 2 * HOUR)
        crawl(db, one, now=NOW + 9 * HOUR)
        at, evidence = post_of(db, gone)
        assert at is not None
        assert "删除" in evidence[-1]["words"]


@pytest.mark.parametrize(
    ("words", "gone"),
    [
        ("该内容已被删除", True),
        ("抱歉，指定的主题不存在或已被删除或正在被审核", True),
        ("您访问的页面不存在", True),
        ("居民反映楼道杂物已清理", False),
        (f"{WORDS}我的帖子已被删除，请问为什么", True),
        (f"{WORDS * 4}我的帖子已被删除，请问为什么", False),
    ],
)
def test_what_says_that_a_post_is_gone(words: str, gone: bool) -> None:
    assert bool(gone_words(words)) is gone


def test_a_site_that_lost_all_its_pages_is_not_the_posts_fault(db: Database) -> None:
    with Site() as site:
        one = column(site, 6)
        crawl(db, one)
        incident_of(db, *range(1, 7))
        for n in range(6):
            site.page(f"/art/{n}", "", status=404)
        crawl(db, one, now=NOW + 2 * HOUR)
        crawl(db, one, now=NOW + 30 * HOUR)
        assert [post_of(db, n)[0] for n in range(1, 7)] == [None] * 6


def test_a_post_missing_among_older_ones_of_its_list(db: Database) -> None:
    def feed(*numbers: int) -> bytes:
        return rss(
            [
                {
                    "title": f"停水{n}",
                    "guid": f"g{n}",
                    "text": f"停水第{n}次",
                    "date": f"{NOW - n * HOUR:%a, %d %b %Y %H:%M:%S +0800}",
                }
                for n in numbers
            ]
        )

    with Site() as site:
        one = source("feed", "rss", f"{site.url}/feed.xml")
        site.page("/feed.xml", feed(*range(8)), kind="application/rss+xml")
        crawl(db, one)
        incident_of(db, *range(1, 9))
        # post 2 is gone from the middle; posts 6 and 7 fell off the end, which says nothing
        site.page("/feed.xml", feed(0, 1, 3, 4, 5), kind="application/rss+xml")
        crawl(db, one, now=NOW + 2 * HOUR)
        site.page("/feed.xml", feed(0, 1, 3, 4, 5, -1), kind="application/rss+xml")
        crawl(db, one, now=NOW + 10 * HOUR)
        with db.reading() as session:
            rows = session.execute(select(Post.external_id, Post.unavailable_at).order_by(Post.id)).all()
        assert {ident: at for ident, at in rows if at is not None} == {"g2": NOW + 10 * HOUR}
        site.page("/feed.xml", feed(0, 1, 2, 3, 4, 5), kind="application/rss+xml")
        crawl(db, one, now=NOW + 5 * DAY)
        with db.reading() as session:
            assert session.scalars(select(Post.unavailable_at)).all() == [None] * len(rows)


def test_an_edit_is_noticed_by_a_visit(db: Database) -> None:
    with Site() as site:
        one = column(site)
        crawl(db, one)
        edited = number_of(db, f"{site.url}/art/0")
        incident_of(db, edited)
        crawl(db, one, now=NOW + 2 * HOUR)
        with db.reading() as session:
            assert revisions_of(session, edited) == []
        site.page("/art/0", page(0, "。昨晚有三人送医"))
        crawl(db, one, now=NOW + 4 * HOUR)
        with db.reading() as session:
            (edit,) = revisions_of(session, edited)
            assert "三人送医" in session.get_one(Post, edited).text
        assert edit.evidence["read"]["visit"] is True


def api(site: Site, likes: dict[int, int]) -> Source:
    def one(hit: Hit) -> Answer:
        number = int(hit.path.rsplit("/", 1)[1])
        body = {"id": number, "t": f"停水第{number}次", "n": likes[number], "at": NOW.isoformat()}
        return Answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    rows = [{"id": n, "t": f"停水第{n}次", "n": likes[n], "at": NOW.isoformat()} for n in likes]
    site.page("/api", json.dumps(rows), kind="application/json")
    for n in likes:
        site.on(f"/api/{n}", one)
    return source(
        "api",
        "json",
        f"{site.url}/api",
        fields={"id": "id", "text": "t", "likes": "n", "published_at": "at"},
        one_url=f"{site.url}/api/{{id}}",
    )


def test_counts_are_read_at_growing_distances(db: Database) -> None:
    with Site() as site:
        likes = {1: 3}
        one = api(site, likes)
        crawl(db, one)
        site.page("/api", "[]", kind="application/json")  # the post has left the list
        asked = []
        for hour in range(1, 24 * 9, 1):
            likes[1] += 10
            before = site.hits("/api/1")
            crawl(db, one, now=NOW + hour * HOUR, only=("api",))
            if site.hits("/api/1") > before:
                asked.append(hour)
    assert asked == [1, 3, 9, 24, 72, 168]
    with db.reading() as session:
        series = [((at - NOW) / HOUR, kept["likes"]) for at, kept in counts.series_of(session, 1)]
        assert session.get_one(Post, 1).engagement["likes"] == 3 + 10 * 168
        assert session.get_one(Revisit, 1).due_at is None
    assert series == [(0, 3), *((hour, 3 + 10 * hour) for hour in asked)]


def test_young_posts_of_the_whole_house_are_planned_whoever_is_read_first(db: Database) -> None:
    with Site() as site:
        feeds = []
        for name in ("one", "two"):
            answer = [{"id": name, "title": "停水", "url": f"{site.url}/{name}", "likes": 1}]
            site.page(f"/{name}.json", json.dumps(answer), kind="application/json")
            feeds.append(
                source(
                    name,
                    "json",
                    f"{site.url}/{name}.json",
                    fields={"id": "id", "text": "title", "url": "url", "likes": "likes"},
                    one_url=f"{site.url}/one/{{id}}",
                )
            )
        crawl(db, *feeds)
        # two is not due, or another process reads it: its posts are planned all the same
        crawl(db, *feeds, now=NOW + 2 * HOUR, only=("one",))
        with db.reading() as session:
            assert {row.source_id for row in session.scalars(select(Revisit))} == {"one", "two"}


def test_two_processes_may_plan_at_the_same_moment(
    any_db: Database, monkeypatch: pytest.MonkeyPatch, post: PostFactory
) -> None:
    with any_db.transaction() as session:
        save_posts(session, [post("停水", published_at=NOW, fetched_at=NOW)])
        assert revisits.plan(session, NOW + HOUR, ["forum"]) == 1
    # the other one wrote it after we had looked
    young = select(Post.id, Post.source_id, Post.published_at, Post.fetched_at)
    monkeypatch.setattr(revisits, "_young", lambda *_: young)
    monkeypatch.setattr(revisits, "_known", lambda *_: {})
    with any_db.transaction() as session:
        revisits.plan(session, NOW + DAY, ["forum"])
        assert len(list(session.scalars(select(Revisit)))) == 1


def test_a_reading_looks_at_so_many_at_most(db: Database) -> None:
    with Site() as site:
        one = api(site, dict.fromkeys(range(1, 31), 1))
        crawl(db, one)
        crawl(db, one, now=NOW + HOUR, revisits=4)
        assert sum(site.hits(f"/api/{n}") for n in range(1, 31)) == 4
        crawl(db, one, now=NOW + 2 * HOUR, revisits=0)
        assert sum(site.hits(f"/api/{n}") for n in range(1, 31)) == 4


def test_a_refusal_of_a_visit_is_a_refusal_of_the_host(db: Database) -> None:
    with Site() as site:
        one = api(site, {1: 1, 2: 1})
        crawl(db, one)
        site.page("/api/1", "", status=429)
        crawl(db, one, now=NOW + HOUR)
        assert site.hits("/api/2") == 0
        with db.reading() as session:
            assert get_state(session, "api").state == "blocked"


def test_robots_bind_visits_too(db: Database) -> None:
    with Site() as site:
        site.page("/robots.txt", "User-agent: *\nDisallow: /api/\n", kind="text/plain")
        one = api(site, {1: 1})
        crawl(db, one)
        crawl(db, one, now=NOW + HOUR)
        assert site.hits("/api/1") == 0
        assert post_of(db, 1) == (None, [])
        with db.reading() as session:
            assert get_state(session, "api").state in ("ok", "unchanged")


def test_items_are_whole_unless_said() -> None:
    assert not PostItem(source_id="a", external_id="b").partial


def test_posts_of_incidents_are_visited_before_counts_and_no_more_than_the_limit_is_read(
    any_db: Database, post: PostFactory
) -> None:
    with any_db.transaction() as session:
        ids = save_posts(session, [post(f"停水{n}") for n in range(30)]).ids
        session.add_all(
            Revisit(
                post_id=id_, source_id="forum", due_at=NOW - timedelta(hours=40 - n), visits=0, evidence=[]
            )
            for n, id_ in enumerate(ids)
        )
    incident_of(any_db, ids[28], ids[29])
    incident_of(any_db, ids[27], state="closed")
    with any_db.reading() as session:
        due = revisits.due(session, ["forum", "other"], NOW, 4)
    assert [one.id for one in due.pop("forum")] == [ids[28], ids[29], ids[0], ids[1]]
    assert due == {}
    with any_db.reading() as session:
        assert len(revisits.due(session, ["forum"], NOW, 100)["forum"]) == 30
