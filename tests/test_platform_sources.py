"""Connectors of platforms: hot lists, RSSHub routes, Mastodon, the AT protocol and Weibo's open API, from a loopback site."""

from __future__ import annotations

import hashlib
import json
import logging
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from pydantic import ValidationError
from sqlalchemy import select

from config.settings import ConfigError
from config.sources import load_sources
from incidents.models import HotTitle, Post
from incidents.posts import list_quarantine
from incidents.session import Database
from incidents.sources import SourceView, get_state
from spiders.job import CrawlSummary
from tests.fakes.crawl import NOW, crawl, source
from tests.fakes.site import Answer, Hit, Site, rss

HOUR = timedelta(hours=1)
REASON = "平台无公开订阅源，经主管领导批准"


def state(db: Database, source_id: str) -> SourceView:
    with db.reading() as session:
        return get_state(session, source_id)


def posts(db: Database) -> list[Post]:
    with db.reading() as session:
        rows = list(session.query(Post).order_by(Post.external_id))
        session.expunge_all()
    return rows


def only(summary: CrawlSummary) -> tuple[str, str]:
    (one,) = summary.sources
    return one.state, one.evidence


def answer(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})


def query(hit: Hit) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(hit.path).query).items()}


class Api:
    """Answers every query of one path by a function; Site knows whole paths only."""

    def __init__(self, site: Site, path: str, reply: Any) -> None:
        self.asked: list[dict[str, str]] = []
        site._answers = _Routes(path, self._reply, site._answers)
        self._function = reply

    def _reply(self, hit: Hit) -> Answer:
        self.asked.append(query(hit))
        found = self._function(query(hit), hit)
        assert isinstance(found, Answer)
        return found


class _Routes(dict[str, Any]):
    def __init__(self, path: str, reply: Any, rest: dict[str, Any]) -> None:
        super().__init__(rest)
        self._path, self._reply, self._rest = path, reply, rest

    def get(self, key: str, default: Any = None) -> Any:
        return self._reply if urlsplit(key).path == self._path else self._rest.get(key, default)


# --- newsnow


def hot(titles: list[str], at: datetime, status: str = "success") -> Answer:
    items = [
        {"id": f"k{title}", "title": title, "url": f"https://s.example/{n}", "extra": {"info": f"{n}万"}}
        for n, title in enumerate(titles)
    ]
    return answer(
        {"status": status, "id": "weibo", "updatedTime": int(at.timestamp() * 1000), "items": items}
    )


def test_a_hot_list_gives_the_titles_that_name_the_city_as_signs_of_a_trend(db: Database) -> None:
    with Site() as site:
        site.on("/api/s?id=weibo", hot(["某地晚霞", "济南暴雨多路段积水", "趵突泉水位"], NOW))
        place = source("n", "newsnow", site.url, list_id="weibo", words=["济南", "趵突泉"])
        assert only(crawl(db, place)) == ("ok", "3 entries, 2 new posts")
        assert posts(db) == []  # nobody in the city said it: a list is no citizen
        with db.reading() as session:
            rows = session.scalars(select(HotTitle).order_by(HotTitle.id)).all()
            session.expunge_all()
        assert [row.title for row in rows] == ["济南暴雨多路段积水", "趵突泉水位"]
        assert (rows[0].list_name, rows[0].best_rank, rows[0].sightings) == ("weibo", 2, 1)
        site.on("/api/s?id=weibo", hot(["济南暴雨多路段积水", "某地晚霞"], NOW + HOUR))
        assert only(crawl(db, place, now=NOW + HOUR, only=("n",))) == ("ok", "2 entries, 0 new posts")
        with db.reading() as session:
            again = session.get(HotTitle, rows[0].id)
            assert again is not None
            assert (again.best_rank, again.sightings, again.first_seen_at) == (1, 2, rows[0].first_seen_at)
            assert again.last_seen_at - again.first_seen_at == HOUR


def test_a_route_of_a_hot_list_is_kept_apart_like_one_of_newsnow(db: Database) -> None:
    with Site() as site:
        entries = [
            {"title": name, "link": f"{site.url}/{n}", "text": name}
            for n, name in enumerate(["济南一小学多名学生腹泻", "某地晚霞"])
        ]
        site.on("/weibo/search/hot", Answer(200, rss(entries), {"Content-Type": "application/xml"}))
        place = source(
            "h",
            "rsshub",
            site.url,
            route="/weibo/search/hot",
            hot_list=True,
            words=["济南"],
            tier="B",
            reason="热榜",
        )
        crawl(db, place)
        assert posts(db) == []
        with db.reading() as session:
            found = session.scalars(select(HotTitle)).all()
            session.expunge_all()
        assert [(row.title, row.list_name, row.best_rank) for row in found] == [
            ("济南一小学多名学生腹泻", "/weibo/search/hot", 1)
        ]
    for wrong in (
        {"hot_list": True},
        {"words": ["济南"]},
        {"hot_list": True, "words": ["济南"], "full_text": True},
    ):
        with pytest.raises(ValidationError, match="hot_list"):
            source("h", "rsshub", "http://h.example", route="/a", **wrong)


def test_a_list_that_never_changes_is_a_problem_although_it_answers_200_and_calls_itself_new(
    db: Database,
) -> None:
    with Site() as site:
        place = source("n", "newsnow", site.url, list_id="weibo", words=["济南"], every_min=30)
        told = []
        for half_hours in range(7):
            now = NOW + half_hours * HOUR / 2
            site.on("/api/s?id=weibo", hot(["济南暴雨"], now))  # updatedTime is always now
            told.append(only(crawl(db, place, now=now, only=("n",)))[0])
        assert told == ["ok", "unchanged", "unchanged", "unchanged", "unchanged", "error", "error"]
        assert "the same for 3.0 h" in state(db, "n").evidence
        now = NOW + 4 * HOUR
        site.on("/api/s?id=weibo", hot(["济南暴雨", "济南地铁停运"], now))
        assert only(crawl(db, place, now=now, only=("n",))) == ("ok", "2 entries, 1 new posts")


def test_the_age_that_newsnow_admits_counts_from_the_first_reading_and_bytes_that_stay_equal_too(
    db: Database,
) -> None:
    with Site() as site:
        site.on("/api/s?id=weibo", hot(["济南暴雨"], NOW - 3 * HOUR, "cache"))
        old = source("old", "newsnow", site.url, list_id="weibo", words=["济南"])
        kind, words = only(crawl(db, old))
        assert (kind, "old copy" in words, "1 new posts before that" in words) == ("error", True, True)
        site.on("/api/s?id=baidu", hot(["济南暴雨"], NOW, "cache"))
        same = source("same", "newsnow", site.url, list_id="baidu", words=["济南"])
        assert only(crawl(db, same))[0] == "ok"
        assert only(crawl(db, same, now=NOW + HOUR, only=("same",)))[0] == "unchanged"
        assert only(crawl(db, same, now=NOW + 3 * HOUR, only=("same",)))[0] == "error"


def test_a_slow_list_is_not_stale_before_its_own_interval_and_a_wrong_id_is_named(db: Database) -> None:
    with Site() as site:
        site.on("/api/s?id=thepaper", hot(["济南暴雨"], NOW))
        slow = source("s", "newsnow", site.url, list_id="thepaper", words=["济南"], refresh_min=720)
        crawl(db, slow)
        site.on("/api/s?id=thepaper", hot(["济南暴雨"], NOW + 40 * HOUR))
        assert only(crawl(db, slow, now=NOW + 40 * HOUR))[0] == "unchanged"
        site.on("/api/s?id=nolist", answer({"error": True, "message": "Invalid source id"}, 500))
        site.on("/api/s?id=zhihu", answer({"error": True, "message": "fetch failed"}, 500))
        wrong = source("w", "newsnow", site.url, list_id="nolist", words=["济南"])
        assert only(crawl(db, wrong)) == (
            "changed",
            "newsnow has no list 'nolist'; correct list_id in sources.yaml",
        )
        down = only(crawl(db, source("d", "newsnow", site.url, list_id="zhihu", words=["济南"])))
        assert down[0] == "error"
        assert "fetch failed" in down[1]


def test_odd_entries_of_a_hot_list_are_set_aside(db: Database) -> None:
    with Site() as site:
        body = {
            "status": "success",
            "items": [7, {"id": "x", "title": ""}, {"title": "济南停电", "extra": None}],
        }
        site.on("/api/s?id=weibo", answer(body))
        place = source("n", "newsnow", site.url, list_id="weibo", words=["济南"])
        assert only(crawl(db, place)) == ("ok", "3 entries, 1 new posts, 2 set aside")
        site.on("/api/s?id=weibo", answer({"hello": 1}))
        assert only(crawl(db, place, now=NOW + HOUR))[0] == "changed"


# --- RSSHub

FEED = rss([{"title": "停水公告", "guid": "1", "link": "https://gov.example/1", "text": "历下区停水"}])
ERROR_PAGE = """<!doctype html><html><body><h1>Looks like something went wrong</h1><p class="message">Error Message:<br/>
<code class="mt-2">{}</code></p><p class="message">Route: <code>/a/:id</code></p></body></html>"""


def feed(cache: int = 300) -> Answer:
    return Answer(200, FEED, {"Content-Type": "application/xml", "Cache-Control": f"public, max-age={cache}"})


def test_a_route_is_read_with_a_code_that_opens_only_it_and_the_key_is_told_to_nobody(
    db: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with Site() as site:
        code = hashlib.md5(b"/gov/jinan/notices" + b"k3y-of-ours", usedforsecurity=False).hexdigest()
        site.on(f"/gov/jinan/notices?limit=20&code={code}", feed())
        more: dict[str, Any] = {
            "route": "/gov/jinan/notices",
            "params": {"limit": "20"},
            "access_key": "${RSSHUB_KEY}",
        }
        place = source("r", "rsshub", site.url, **more)
        assert "RSSHUB_KEY" in only(crawl(db, place))[1]
        env = {"RSSHUB_KEY": "k3y-of-ours"}
        assert crawl(db, place, env=env, only=("r",)).new_posts == 1
        assert "k3y-of-ours" not in site.log()[-1].path
        gone = source("g", "rsshub", site.url, **{**more, "route": "/gone", "key_as": "key"})
        kind, words = only(crawl(db, gone, env=env))
        assert kind == "changed"
        assert any("key=k3y-of-ours" in hit.path for hit in site.log())
        assert "k3y" not in words
        site.on("/down?limit=20&key=k3y-of-ours", Answer(drop=True))
        down = source("d", "rsshub", site.url, **{**more, "route": "/down", "key_as": "key"})
        kind, words = only(crawl(db, down, env=env))
        assert (kind, "/down?limit=20&key=***" in words) == ("error", True)
        told = json.dumps([state(db, name).cursor for name in ("r", "g", "d")])
        assert "k3y" not in told
        assert code not in told
        quiet = "\n".join(r.getMessage() for r in caplog.records if r.levelno >= logging.INFO)
        assert "k3y-of-ours" not in quiet


def test_a_route_of_chinese_words_and_a_transformed_page_are_asked_for_as_rsshub_reads_them(
    db: Database,
) -> None:
    with Site() as site:
        site.on("/bendibao/news/" + quote("济南"), feed())
        assert crawl(db, source("c", "rsshub", site.url, route="/bendibao/news/济南")).new_posts == 1
        page, rules = (
            "https://www.gov.example/list?c=1&p=2",
            {"item": ".list li", "itemTitle": "a", "itemLink": "a"},
        )
        inner = quote("item=.list%20li&itemTitle=a&itemLink=a", safe="")
        site.on(f"/rsshub/transform/html/{quote(page, safe='')}/{inner}", feed())
        place = source(
            "t",
            "rsshub",
            site.url,
            transform={"form": "html", "page": page, "rules": rules},
            tier="B",
            reason=REASON,
        )
        assert only(crawl(db, place))[0] == "ok"


def test_the_instances_cache_sets_the_pace(db: Database) -> None:
    with Site() as site:
        site.on("/a", feed(cache=7200))
        place = source("r", "rsshub", site.url, route="/a", every_min=30)
        crawl(db, place)
        assert state(db, "r").next_due_at == NOW + 2 * HOUR
        with pytest.raises(ValidationError, match="faster than the instance's cache"):
            source("r", "rsshub", site.url, route="/a", every_min=3)


@pytest.mark.parametrize(
    ("status", "message", "kind", "words"),
    [
        (
            503,
            "FetchError: [GET] &quot;https://m.example/api&quot;: 432",
            "error",
            "turns RSSHub away (it says “FetchError",
        ),
        (503, "TypeError: fetch failed", "error", "(status 503, it says “TypeError: fetch failed”)"),
        (
            404,
            "NotFoundError: The route does not exist or has been deleted.",
            "changed",
            "RSSHub has no route /a/b",
        ),
        (200, "odd", "changed", "HTML page instead of a feed"),
    ],
)
def test_rsshubs_error_page_says_what_is_wrong(
    db: Database, status: int, message: str, kind: str, words: str
) -> None:
    with Site() as site:
        site.page("/a/b", ERROR_PAGE.format(message), status=status)
        site.on("/other", feed())
        told = only(crawl(db, source("r", "rsshub", site.url, route="/a/b")))
        assert told[0] == kind
        assert words in told[1]
        # the other routes of the instance go on
        assert crawl(db, source("o", "rsshub", site.url, route="/other")).new_posts == 1


def test_an_old_instances_error_page_is_read_without_its_trace(db: Database) -> None:
    with Site() as site:
        trace = "Response code 418 (Unknown)\n    at Request.x (/app/lib/index.js:8:11)"
        site.page(
            "/a",
            f'<html><body><h1>Looks like something went wrong</h1><pre class="message">HTTPError: {trace}</pre>',
            status=503,
        )
        kind, words = only(crawl(db, source("r", "rsshub", site.url, route="/a")))
        assert kind == "error"
        assert "(it says “HTTPError: Response code 418 (Unknown)”)" in words
        page = '<html><body><pre class="message">Error: {}\n    at x</pre>'
        for name, said, expected in (("b", "timeout", "error"), ("c", "wrong path", "changed")):
            site.page(
                f"/{name}", page.format(said), status=404
            )  # such an instance answers 404 to every error
            assert only(crawl(db, source(name, "rsshub", site.url, route=f"/{name}")))[0] == expected


def test_an_instance_that_forbids_robots_is_told_with_the_remedy(db: Database) -> None:
    with Site() as site:
        site.page("/robots.txt", "User-agent: *\nDisallow: /\n", kind="text/plain")
        site.on("/a", feed())
        kind, words = only(crawl(db, source("r", "rsshub", site.url, route="/a")))
        assert kind == "robots"
        assert "DISALLOW_ROBOT=false" in words
        assert site.hits("/a") == 0


def test_a_refused_key_is_told_with_the_remedy(db: Database) -> None:
    with Site() as site:
        site.page("/a", ERROR_PAGE.format("RejectError: Authentication failed. Access denied."), status=403)
        kind, words = only(crawl(db, source("r", "rsshub", site.url, route="/a")))
        assert (kind, "ACCESS_KEY" in words) == ("blocked", True)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"route": "/weibo/keyword/x"}, "/weibo therefore needs `tier: B`"),
        ({"transform": {"form": "html", "page": "https://a.example/"}}, "a transformed page therefore needs"),
        ({"route": "/rsshub/transform/html/x/y"}, "/rsshub therefore needs"),
        ({"route": "/weibo/keyword/x", "tier": "B"}, "needs `reason`"),
        ({}, "needs either `route` or `transform`"),
        ({"route": "/a?limit=3"}, "belongs into `params`"),
        ({"route": "/a", "access_key": "open"}, "holds a secret"),
        ({"route": "/a", "params": {"key": "x"}}, "key is not for `params`"),
    ],
)
def test_a_route_needs_its_papers(more: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as caught:
        source("r", "rsshub", "http://rsshub.example", **more)
    assert words in str(caught.value)


# --- Mastodon


def toot(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": str(number),
        "created_at": f"2026-11-23T0{number % 10}:00:00.000Z",
        "content": f'<p>停水第{number}天 <a href="https://m.example/tags/x">#<span>济南</span></a></p>',
        "spoiler_text": "",
        "visibility": "public",
        "url": f"https://m.example/@lee/{number}",
        "uri": f"https://m.example/users/lee/statuses/{number}",
        "account": {"acct": "lee@m.example", "noindex": False},
        "in_reply_to_id": None,
        "replies_count": 1,
        "reblogs_count": 2,
        "favourites_count": 3,
        **more,
    }


class Server:
    """A Mastodon server's timeline: since_id, max_id, limit, and a Link header that forgets since_id."""

    def __init__(
        self, site: Site, toots: list[dict[str, Any]], path: str = "/api/v1/timelines/tag/" + quote("济南")
    ) -> None:
        self.toots = toots
        self.headers: dict[str, str] = {}
        self.site, self.path = site, path
        self.api = Api(site, path, self._reply)

    def _reply(self, asked: dict[str, str], hit: Hit) -> Answer:
        low, high = int(asked.get("since_id", 0)), int(asked.get("max_id", 10**9))
        inside = sorted((t for t in self.toots if low < int(t["id"]) < high), key=lambda t: -int(t["id"]))
        page = inside[: int(asked["limit"])]
        headers = dict(self.headers)
        if page:
            base = f"{self.site.url}{self.path}?limit={asked['limit']}"
            headers["Link"] = (
                f'<{base}&max_id={page[-1]["id"]}>; rel="next", <{base}&min_id={page[0]["id"]}>; rel="prev"'
            )
        return answer(page, headers=headers)


def test_a_tag_is_read_to_its_end_and_then_only_what_is_newer(db: Database) -> None:
    with Site() as site:
        server = Server(site, [toot(n) for n in range(101, 106)])
        place = source("m", "mastodon", site.url, tag="济南", size=2)
        assert only(crawl(db, place)) == ("ok", "5 entries, 5 new posts")
        assert [a.get("max_id") for a in server.api.asked] == [None, "104", "102", "101"]
        row = posts(db)[0]
        assert row.text == "停水第101天 #济南"
        assert row.published_at == datetime(2026, 11, 23, 1, tzinfo=UTC)
        assert row.engagement == {"likes": 3, "comments": 1, "reposts": 2}
        assert row.url == "https://m.example/@lee/101"
        assert "lee@m.example" not in repr(vars(row))
        server.toots += [toot(n) for n in range(106, 109)]
        server.api.asked.clear()
        assert crawl(db, place, now=NOW + HOUR).new_posts == 3
        assert [(a["since_id"], a.get("max_id")) for a in server.api.asked] == [
            ("105", None),
            ("105", "107"),
            ("105", "106"),
        ]
        assert only(crawl(db, place, now=NOW + 2 * HOUR))[0] == "unchanged"


def test_a_reading_cut_short_leaves_no_gap(db: Database) -> None:
    with Site() as site:
        server = Server(site, [toot(n) for n in range(101, 110)])
        place = source("m", "mastodon", site.url, tag="济南", size=2, max_items=4)
        told = only(crawl(db, place))
        assert told[0] == "ok"
        assert "goes on next time" in told[1]
        server.toots += [toot(110)]
        for hour in range(1, 5):
            crawl(db, place, now=NOW + hour * HOUR)
        assert sorted(int(row.external_id) for row in posts(db)) == list(range(101, 111))


def test_the_servers_limit_of_requests_ends_the_reading_until_it_opens_again(db: Database) -> None:
    with Site() as site:
        server = Server(site, [toot(n) for n in range(101, 106)])
        server.headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": (NOW + 2 * HOUR).isoformat()}
        place = source("m", "mastodon", site.url, tag="济南", size=2)
        assert "limit of requests" in only(crawl(db, place))[1]
        assert len(server.api.asked) == 1
        assert state(db, "m").next_due_at == NOW + 2 * HOUR
        server.headers = {}
        crawl(db, place, now=NOW + 2 * HOUR)
        assert len(posts(db)) == 5


def test_a_post_of_another_server_that_arrives_late_is_found(db: Database) -> None:
    with Site() as site:

        def at(minutes: int) -> dict[str, Any]:
            number = (int(NOW.timestamp()) + minutes * 60) * 1000 << 16
            return {**toot(1), "id": str(number), "content": f"停水{minutes}"}

        server = Server(site, [at(-60), at(-1)])
        server.api._function = lambda asked, hit: answer(
            [t for t in server.toots if int(asked.get("since_id", 0)) < int(t["id"])]
            if "max_id" not in asked
            else []
        )
        place = source("m", "mastodon", site.url, tag="济南")
        assert crawl(db, place).new_posts == 2
        server.toots = [at(-1), at(-30), at(-60)]
        assert crawl(db, place, now=NOW + HOUR / 2).new_posts == 1
        assert only(crawl(db, place, now=NOW + HOUR))[0] == "unchanged"


def test_who_does_not_want_to_be_indexed_is_left_out_and_odd_entries_are_set_aside(db: Database) -> None:
    with Site() as site:
        hidden = toot(102, account={"acct": "shy", "noindex": True})
        odd = [toot(103, content="<p></p>"), toot(104, visibility="private"), {"content": "无编号"}]
        server = Server(site, [toot(101), hidden, *odd[:2]])
        server.api._function = lambda asked, hit: answer([*odd, hidden, toot(101)])
        place = source("m", "mastodon", site.url, tag="济南")
        kind, words = only(crawl(db, place))
        assert kind == "ok"
        assert "1 new posts, 2 set aside" in words
        assert "2 posts left out" in words
        with db.reading() as session:
            assert {row.field for row in list_quarantine(session)} == {"id", "text"}


def test_a_public_timeline_may_need_a_token(db: Database) -> None:
    with Site() as site:

        def guarded(asked: dict[str, str], hit: Hit) -> Answer:
            if hit.headers.get("authorization") != "Bearer t0ken":
                return answer({"error": "This method requires an authenticated user"}, 422)
            assert asked["local"] == "true"
            return answer([toot(101)])

        Api(site, "/api/v1/timelines/public", guarded)
        bare = source("a", "mastodon", site.url, timeline="public", local=True)
        kind, words = only(crawl(db, bare))
        assert (kind, "name it in `token`" in words) == ("blocked", True)
        place = source("b", "mastodon", site.url, timeline="public", local=True, token="${MASTO}")
        later = NOW + 7 * HOUR
        assert crawl(db, place, now=later, env={"MASTO": "t0ken"}).new_posts == 1
        with pytest.raises(ValidationError, match="holds a secret"):
            source("c", "mastodon", site.url, timeline="public", token="t0ken")
        with pytest.raises(ValidationError, match="without #"):
            source("c", "mastodon", site.url, tag="#济南")


# --- AT protocol

DID = "did:plc:abcdefghijklmnop"


def key_of(when: datetime, digits: str = "234567abcdefghijklmnopqrstuvwxyz") -> str:
    """A record key as clients make it: microseconds, ten bits of a clock's number, in sortable base 32."""
    number, key = int(when.timestamp() * 1_000_000) << 10 | 7, ""
    for _ in range(13):
        number, rest = divmod(number, 32)
        key = digits[rest] + key
    return key


def key(number: int) -> str:
    return key_of(NOW - 48 * HOUR + number * HOUR / 60)


def record(number: int, did: str = DID, text: str = "") -> dict[str, Any]:
    return {
        "uri": f"at://{did}/app.bsky.feed.post/{key(number)}",
        "cid": f"bafy{number}",
        "value": {
            "$type": "app.bsky.feed.post",
            "text": text or f"停电第{number}次",
            "langs": ["zh"],
            "createdAt": "2026-11-23T01:00:00.000Z",
        },
    }


def repo_server(site: Site, repos: dict[str, list[dict[str, Any]]]) -> Api:
    """listRecords: newest first, cursor = last record key, 400 for an unknown account."""

    def reply(asked: dict[str, str], hit: Hit) -> Answer:
        if asked["repo"] not in repos:
            return answer(
                {"error": "InvalidRequest", "message": f"Could not find repo: {asked['repo']}"}, 400
            )
        keys = {r["uri"].rsplit("/", 1)[-1]: r for r in repos[asked["repo"]]}
        rest = [k for k in sorted(keys, reverse=True) if not asked.get("cursor") or k < asked["cursor"]]
        page = rest[: int(asked["limit"])]
        return answer({"records": [keys[k] for k in page], **({"cursor": page[-1]} if page else {})})

    return Api(site, "/xrpc/com.atproto.repo.listRecords", reply)


def test_an_accounts_records_are_read_by_cursor_down_to_the_last_one_known(db: Database) -> None:
    with Site() as site:
        repos = {DID: [record(n) for n in range(5)]}
        api = repo_server(site, repos)
        place = source("a", "atproto", site.url, repos=[DID], size=2)
        assert only(crawl(db, place)) == ("ok", "5 entries, 5 new posts")
        assert [a.get("cursor") for a in api.asked] == [None, key(3), key(1), key(0)]
        row = posts(db)[0]
        assert row.url == f"https://bsky.app/profile/{DID}/post/{key(0)}"
        assert row.author_key
        assert row.published_at == datetime(2026, 11, 23, 1, tzinfo=UTC)
        repos[DID] += [record(n) for n in range(5, 8)]
        api.asked.clear()
        assert crawl(db, place, now=NOW + HOUR).new_posts == 3
        assert len(api.asked) == 2  # the second page holds a known record
        assert only(crawl(db, place, now=NOW + 2 * HOUR))[0] == "unchanged"


def test_a_key_of_the_future_or_of_no_time_does_not_hide_what_comes_after_it(db: Database) -> None:
    with Site() as site:
        names = ("zzz", key_of(NOW + 900 * HOUR))
        odd = [
            {**record(1, text=f"停电在{name}"), "uri": f"at://{DID}/app.bsky.feed.post/{name}"}
            for name in names
        ]
        repos = {DID: [record(1), *odd]}
        repo_server(site, repos)
        place = source("a", "atproto", site.url, repos=[DID])
        assert crawl(db, place).new_posts == 3
        repos[DID].append(record(2))
        assert crawl(db, place, now=NOW + HOUR).new_posts == 1


def test_one_account_that_is_gone_costs_only_itself(db: Database) -> None:
    with Site() as site:
        repo_server(site, {DID: [record(1), {**record(2), "value": {"text": ""}}, {"uri": "x"}]})
        place = source("a", "atproto", site.url, repos=["gone.example.com", DID])
        kind, words = only(crawl(db, place))
        assert kind == "ok"
        assert "1 new posts, 2 set aside" in words
        assert "gone.example.com: the server does not have this account" in words
        alone = source("b", "atproto", site.url, repos=["gone.example.com"])
        kind, words = only(crawl(db, alone))
        assert kind == "changed"
        assert "Could not find repo: gone.example.com" in words


def test_a_search_goes_on_from_its_watermark_and_leaves_out_who_asks_for_it(db: Database) -> None:
    with Site() as site:
        shy = {"val": "!no-unauthenticated"}

        def found(number: int, *labels: dict[str, str]) -> dict[str, Any]:
            one = record(number)
            author = {"did": DID, "handle": "lee.example.com", "labels": list(labels)}
            return {
                "uri": one["uri"],
                "author": author,
                "record": one["value"],
                "likeCount": 4,
                "replyCount": 0,
            }

        def reply(asked: dict[str, str], hit: Hit) -> Answer:
            if hit.headers.get("authorization") != "Bearer t0ken":
                return answer({"error": "AuthMissing", "message": "Authentication Required"}, 401)
            if "cursor" in asked:
                return answer({"posts": [found(1)]})
            return answer({"posts": [found(3), found(2, shy)], "cursor": "2"})

        api = Api(site, "/xrpc/app.bsky.feed.searchPosts", reply)
        kind, words = only(crawl(db, source("x", "atproto", site.url, search="济南 停电")))
        assert (kind, "Authentication Required" in words) == ("blocked", True)
        place = source("s", "atproto", site.url, search="济南 停电", token="${SKY}")
        env, later = {"SKY": "t0ken"}, NOW + 7 * HOUR
        assert only(crawl(db, place, now=later, env=env)) == (
            "ok",
            "3 entries, 2 new posts; 1 posts left out: their author shows them to members only",
        )
        assert posts(db)[0].engagement == {"likes": 4, "comments": 0}
        api.asked.clear()
        crawl(db, place, now=later + HOUR, env=env)
        assert api.asked == [
            {"q": "济南 停电", "limit": "100", "sort": "latest", "since": "2026-11-23T00:00:00Z"}
        ]


# --- Weibo


def status(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": 5100000000000000 + number,
        "idstr": str(5100000000000000 + number),
        "mid": str(5100000000000000 + number),
        "created_at": "Mon Nov 23 15:18:31 +0800 2026",
        "text": f"@某办公室 停水第{number}天 http://t.cn/x",
        "reposts_count": 1,
        "comments_count": 2,
        "attitudes_count": 3,
        "user": {"id": 1234567890, "idstr": "1234567890", "screen_name": "泉边人"},
        **more,
    }


def weibo(site: Site, **more: Any) -> Any:
    papers = {"endpoint": "statuses/mentions", "token": "${WEIBO}", "reason": REASON, **more}
    return source("w", "weibo", site.url + "/2", **papers)


ENV = {"WEIBO": "2.00token"}


def test_mentions_come_by_the_open_api_and_the_token_stays_out_of_the_address(db: Database) -> None:
    with Site() as site:
        rows = [status(n) for n in range(5, 0, -1)]

        def reply(asked: dict[str, str], hit: Hit) -> Answer:
            assert hit.headers["authorization"] == "OAuth2 2.00token"
            since = int(asked.get("since_id", 0))
            fresh = [r for r in rows if r["id"] > since]
            begin = (int(asked["page"]) - 1) * int(asked["count"])
            return answer(
                {"statuses": fresh[begin : begin + int(asked["count"])], "total_number": len(fresh)}
            )

        api = Api(site, "/2/statuses/mentions.json", reply)
        place = weibo(site, size=2, max_pages=4)
        assert only(crawl(db, place, env=ENV)) == ("ok", "5 entries, 5 new posts")
        row = posts(db)[0]
        assert row.published_at == datetime(2026, 11, 23, 7, 18, 31, tzinfo=UTC)
        assert row.engagement == {"likes": 3, "comments": 2, "reposts": 1}
        assert row.url == "https://m.weibo.cn/detail/5100000000000001"
        assert "泉边人" not in repr(vars(row))
        assert "2.00token" not in "".join(hit.path for hit in site.log())
        rows.insert(0, status(6))
        api.asked.clear()
        assert crawl(db, place, now=NOW + HOUR, env=ENV).new_posts == 1
        assert api.asked[0]["since_id"] == "5100000000000005"


def test_the_days_requests_are_counted_across_readings_and_nothing_is_asked_beyond_them(db: Database) -> None:
    with Site() as site:
        api = Api(site, "/2/statuses/mentions.json", lambda asked, hit: answer({"statuses": [status(1)]}))
        place = weibo(site, daily_requests=3, every_min=480)
        for minutes in range(3):
            crawl(db, place, now=NOW + timedelta(minutes=minutes), env=ENV, only=("w",))
        kind, words = only(crawl(db, place, now=NOW + timedelta(minutes=3), env=ENV, only=("w",)))
        assert (kind, "3 requests of today are spent" in words) == ("error", True)
        assert len(api.asked) == 3
        due = state(db, "w").next_due_at
        assert due is not None
        assert due >= NOW.replace(hour=0) + timedelta(days=1)
        assert only(crawl(db, place, now=NOW + timedelta(hours=14), env=ENV, only=("w",)))[0] == "ok"


@pytest.mark.parametrize(
    ("code", "words", "http", "hours"),
    [
        (10023, "User requests out of rate limit!", 403, 14.0),
        (10022, "IP requests out of rate limit!", 403, 1.0),
        (21327, "expired_token", 400, 6.0),
        (10014, "Insufficient app permissions!", 403, 6.0),
    ],
)
def test_what_the_platform_refuses_is_told_with_its_own_words(
    db: Database, code: int, words: str, http: int, hours: float
) -> None:
    with Site() as site:
        refusal = answer({"error": words, "error_code": code, "request": "/2/statuses/mentions.json"}, http)
        Api(site, "/2/statuses/mentions.json", lambda asked, hit: refusal)
        kind, told = only(crawl(db, weibo(site), env=ENV))
        assert kind == "blocked"
        assert str(code) in told
        assert words in told
        if http == 403:
            assert state(db, "w").next_due_at == NOW + timedelta(hours=hours)


def test_comments_topics_deleted_posts_and_bare_reposts(db: Database) -> None:
    with Site() as site:
        remark = {**status(9), "text": "什么时候修好", "status": status(1)}
        Api(
            site,
            "/2/comments/to_me.json",
            lambda asked, hit: answer({"comments": [remark, {"text": "无编号"}]}),
        )
        place = weibo(site, endpoint="comments/to_me")
        assert only(crawl(db, place, env=ENV)) == ("ok", "2 entries, 1 new posts, 1 set aside")
        assert posts(db)[0].url.endswith("/5100000000000001")
    with Site() as site:
        rows = [
            status(3, text="转发微博"),
            status(4, deleted=1),
            status(5, text="路灯坏了", retweeted_status=status(1)),
        ]
        api = Api(site, "/2/search/topics.json", lambda asked, hit: answer({"statuses": rows}))
        topic = source(
            "t",
            "weibo",
            site.url + "/2",
            endpoint="search/topics",
            topic="济南暴雨",
            token="${WEIBO}",
            reason=REASON,
        )
        kind, words = only(crawl(db, topic, env=ENV))
        assert kind == "ok"
        assert "1 new posts" in words
        assert "2 deleted posts and reposts without words left out" in words
        assert api.asked[0]["q"] == "#济南暴雨#"


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"reason": ""}, "needs `reason`"),
        ({"tier": "A"}, "always tier B"),
        ({"token": "2.00abc"}, "holds a secret"),
        ({"token": ""}, "authorised account"),
        ({"topic": "x"}, "search/topics needs `topic`"),
        ({"every_min": 10}, "144 requests a day at least"),
        ({"endpoint": "friendships/friends"}, "endpoint"),
    ],
)
def test_weibo_needs_its_papers(more: dict[str, Any], words: str) -> None:
    with Site() as site, pytest.raises(ValidationError) as caught:
        weibo(site, **more)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "more", "told"),
    [
        ("newsnow", "list_id: weibo\n    words: []", "sources.0.words = "),
        ("rsshub", "route: /a\n    every_min: 2", "sources.0 = "),
        ("mastodon", "tag: x\n    size: 400", "sources.0.size = 400"),
        ("atproto", "repos: [not a did]", "sources.0.repos = "),
        ("weibo", "endpoint: statuses/mentions\n    token: '2.00abc'\n    reason: x", "sources.0.token = "),
    ],
)
def test_a_wrong_entry_says_line_and_key_and_no_secret(
    tmp_path: Path, kind: str, more: str, told: str
) -> None:
    path = tmp_path / "sources.yaml"
    papers = "legal_basis: a\n    impact_note: b\n    owner_unit: c"
    path.write_text(
        f"sources:\n  - id: s\n    kind: {kind}\n    name: n\n    url: https://a.example.invalid/\n    {papers}\n    {more}\n",
        "utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        load_sources(path)
    (problem,) = caught.value.problems
    assert told in problem
    assert re.search(r", line \d+: ", problem)
    assert "2.00abc" not in problem


# --- JSON: the next page's address in the answer


@pytest.mark.parametrize("absolute", [True, False])
def test_a_next_address_in_the_answer_is_followed(db: Database, absolute: bool) -> None:
    with Site() as site:
        base = site.url if absolute else ""
        first = {"data": [{"id": 1, "t": "漏水"}], "links": {"next": f"{base}/api?page%5Boffset%5D=1"}}
        site.on("/api", answer(first))
        site.on("/api?page%5Boffset%5D=1", answer({"data": [{"id": 2, "t": "漏电"}], "links": {}}))
        place = source(
            "j",
            "json",
            site.url + "/api",
            items="data",
            fields={"id": "id", "text": "t"},
            pagination={"kind": "next", "cursor": "links.next"},
        )
        assert only(crawl(db, place)) == ("ok", "2 entries, 2 new posts")


def test_a_next_address_does_not_lead_to_another_host(db: Database) -> None:
    with Site() as site:
        site.on("/api", answer({"data": [{"id": 1, "t": "漏水"}], "next": "http://elsewhere.example/api"}))
        place = source(
            "j",
            "json",
            site.url + "/api",
            items="data",
            fields={"id": "id", "text": "t"},
            pagination={"kind": "next", "cursor": "next"},
        )
        kind, words = only(crawl(db, place))
        assert (kind, "elsewhere.example" in words) == ("error", True)
