"""Every kind of source, read from a loopback site: what is found, what state it ends in, what it costs the site."""

from __future__ import annotations

import gzip
import json
import threading
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from config.settings import ConfigError
from incidents.posts import list_quarantine, unjudged
from incidents.session import Database
from incidents.sources import SourceView, get_state, list_states
from spiders.importer import retry_set_aside
from spiders.job import CrawlSummary, stop
from tests.fakes.crawl import KEYS, NOW, crawl, source
from tests.fakes.site import Answer, Hit, Site, article, rss

BODY = "历下区某小区自来水发黄已经三天，居民多次拨打热线反映，物业表示正在检修。\n" * 4


def entries(site: Site, count: int, first: int = 0) -> list[dict[str, str]]:
    return [
        {
            "title": f"停水{n}",
            "link": f"{site.url}/p/{n}",
            "guid": f"g{n}",
            "date": "Tue, 24 Nov 2026 09:00:00",
            "text": f"停水第{n}次",
            "author": "张三",
        }
        for n in range(first, first + count)
    ]


def state(db: Database, source_id: str) -> SourceView:
    with db.reading() as session:
        return get_state(session, source_id)


def texts(db: Database) -> list[str]:
    with db.reading() as session:
        return sorted(row.text for row in unjudged(session, 10_000))


def only(summary: CrawlSummary) -> tuple[str, str]:
    (one,) = summary.sources
    return one.state, one.evidence


# --- feeds


def test_a_feed_becomes_redacted_posts_with_local_time(db: Database) -> None:
    with Site() as site:
        site.feed(
            "/f",
            [
                {
                    "title": "停水",
                    "link": f"{site.url}/p?utm_source=x&id=1#top",
                    "guid": "g",
                    "date": "Tue, 24 Nov 2026 09:00:00",
                    "text": "我叫王小明，电话13812345678",
                    "author": "王小明",
                }
            ],
        )
        assert crawl(db, source("f", "rss", site.url + "/f")).new_posts == 1
        with db.reading() as session:
            (row,) = unjudged(session, 5)
        assert row.text == "我叫[姓名]，电话[手机号]"
        assert row.published_at == datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
        assert row.author_key is not None
        assert "王小明" not in repr(row)


def test_an_unchanged_feed_costs_one_conditional_request(db: Database) -> None:
    with Site() as site:
        site.feed("/f", entries(site, 3))
        feed = source("f", "rss", site.url + "/f")
        assert only(crawl(db, feed))[0] == "ok"
        assert only(crawl(db, feed, now=NOW + timedelta(hours=1)))[0] == "unchanged"
        assert "if-none-match" in site.log("/f")[1].headers
        assert len(texts(db)) == 3


def test_a_full_answer_is_asked_for_every_24_hours(db: Database) -> None:
    with Site() as site:
        site.feed("/f", entries(site, 1))
        feed = source("f", "rss", site.url + "/f")
        for hours in (0, 12, 25, 30):
            crawl(db, feed, now=NOW + timedelta(hours=hours))
        assert ["if-none-match" in hit.headers for hit in site.log("/f")] == [False, True, False, True]


def test_a_server_that_lies_about_change_is_found_out_and_read_in_full(db: Database) -> None:
    with Site() as site:
        count = [1]

        def lying(hit: Hit) -> Answer:
            if hit.headers.get("if-none-match") == '"same"':
                return Answer(304, headers={"ETag": '"same"'})
            return Answer(200, rss(entries(site, count[0])), {"Content-Type": "text/xml", "ETag": '"same"'})

        site.on("/f", lying)
        feed = source("f", "rss", site.url + "/f")
        crawl(db, feed)
        count[0] = 3
        assert only(crawl(db, feed, now=NOW + timedelta(hours=1)))[0] == "unchanged"
        assert "calls a changed list unchanged" in only(crawl(db, feed, now=NOW + timedelta(hours=25)))[1]
        count[0] = 4
        assert crawl(db, feed, now=NOW + timedelta(hours=26)).new_posts == 1


@pytest.mark.parametrize(
    ("encoding", "header"),
    [("gbk", "text/xml"), ("gb2312", "text/xml; charset=gb2312"), ("gb18030", "text/xml; charset=utf-8")],
)
def test_chinese_feeds_of_any_charset_are_read(db: Database, encoding: str, header: str) -> None:
    with Site() as site:
        site.page(
            "/f",
            rss([{"title": "自来水发黄", "guid": "g", "text": "三天没人管"}], encoding=encoding),
            kind=header,
        )
        crawl(db, source("f", "rss", site.url + "/f"))
        assert texts(db) == ["三天没人管"]


def test_broken_xml_and_dates_lose_no_entry(db: Database) -> None:
    with Site() as site:
        feed = rss(
            [
                {"title": "A & B \x0b", "guid": "1", "date": "gestern"},
                {"title": "未来", "guid": "2", "date": "Fri, 01 Jan 2027 00:00:00 GMT"},
            ]
        ).replace(b"&amp;", b"&")
        site.page("/f", feed, kind="text/xml")
        assert crawl(db, source("f", "rss", site.url + "/f")).new_posts == 2
        with db.reading() as session:
            assert {row.published_at for row in unjudged(session, 5)} == {NOW}


def test_an_empty_feed_an_html_page_and_a_wall_are_three_different_states(db: Database) -> None:
    with Site() as site:
        site.page("/empty", rss([]), kind="text/xml")
        site.page("/html", "<!doctype html><html><body>首页</body></html>")
        site.page("/wall", "<html><body>请完成安全验证</body></html>")
        assert only(crawl(db, source("a", "rss", site.url + "/empty")))[0] == "empty"
        changed = only(crawl(db, source("b", "rss", site.url + "/html")))
        assert changed[0] == "changed"
        assert "HTML page instead of a feed" in changed[1]
        wall = only(crawl(db, source("c", "rss", site.url + "/wall")))
        assert wall[0] == "blocked"
        assert "安全验证" in wall[1]


def test_an_entry_without_words_is_set_aside_once_and_can_be_retried(db: Database) -> None:
    with Site() as site:
        site.page("/f", rss([{"guid": "empty"}, {"guid": "ok", "title": "停水"}]), kind="text/xml")
        feed = source("f", "rss", site.url + "/f")
        assert only(crawl(db, feed))[1] == "2 entries, 1 new posts, 1 set aside"
        site.page(
            "/f",
            rss([{"guid": "empty"}, {"guid": "ok", "title": "停水"}, {"guid": "3", "title": "停电"}]),
            kind="text/xml",
        )
        crawl(db, feed, now=NOW + timedelta(hours=1))
        with db.reading() as session:
            (aside,) = list_quarantine(session)
        assert (aside.origin, aside.field) == ("f", "text")
        assert retry_set_aside(db, None, KEYS.pseudonym, NOW).asked_again == 1
        site.page("/f", rss([{"guid": "empty", "title": "现在有字了"}]), kind="text/xml")
        assert crawl(db, feed, now=NOW + timedelta(hours=2)).new_posts == 1


def test_a_feed_with_pages_is_read_down_to_what_is_known(db: Database) -> None:
    with Site() as site:
        every = entries(site, 23)

        def publish(posts: list[dict[str, str]]) -> None:
            for number in range(1, 5):
                part = posts[(number - 1) * 10 : number * 10]
                path = "/feed/" if number == 1 else f"/feed/?paged={number}"
                site.page(
                    path, rss(part) if part else "no page", status=200 if part else 404, kind="text/xml"
                )

        publish(every)
        feed = source("f", "rss", site.url + "/feed/", max_pages=9, page_param="paged")
        first = crawl(db, feed)
        assert first.new_posts == 23
        assert site.hits("/feed/?paged=4") == 1  # the answer 404 is the end and no failure
        assert only(first)[0] == "ok"
        publish([{"guid": "fresh", "title": "新的一条", "text": "刚刚停水"}, *every])
        before = len(site.log())
        assert crawl(db, feed, now=NOW + timedelta(hours=1)).new_posts == 1
        assert [hit.path for hit in site.log()[before:]] == ["/feed/", "/feed/?paged=2"]


def test_a_feed_that_names_its_next_page_is_followed(db: Database) -> None:
    with Site() as site:
        head = '<feed xmlns="http://www.w3.org/2005/Atom"><title>t</title>'
        entry = "<entry><id>{0}</id><title>第{0}条</title><updated>2026-11-24T01:00:00Z</updated></entry>"
        for number in (1, 2, 3):
            link = f'<link rel="next" href="/atom?page={number + 1}"/>' if number < 3 else ""
            path = "/atom" if number == 1 else f"/atom?page={number}"
            site.page(path, f"{head}{link}{entry.format(number)}</feed>", kind="application/atom+xml")
        assert crawl(db, source("one", "rss", site.url + "/atom")).new_posts == 1
        assert crawl(db, source("two", "rss", site.url + "/atom", max_pages=5, max_items=2)).new_posts == 2
        again = crawl(db, source("two", "rss", site.url + "/atom", max_pages=5), now=NOW + timedelta(hours=1))
        assert again.new_posts == 1


def test_full_text_comes_from_the_page_and_only_for_new_entries(db: Database) -> None:
    with Site() as site:
        site.feed("/f", entries(site, 2))
        for n in range(3):
            site.page(f"/p/{n}", article(f"停水{n}", f"{BODY}第{n}篇"))
        feed = source("f", "rss", site.url + "/f", full_text=True)
        crawl(db, feed)
        site.feed("/f", entries(site, 3))
        crawl(db, feed, now=NOW + timedelta(hours=1))
        assert [site.hits(f"/p/{n}") for n in range(3)] == [1, 1, 1]
        assert all("居民多次拨打热线" in text for text in texts(db))


# --- sitemaps


def sitemap(urls: list[tuple[str, str]], tag: str = "urlset") -> str:
    inner = "url" if tag == "urlset" else "sitemap"
    rows = "".join(
        f"<{inner}><loc>{loc}</loc>{f'<lastmod>{mod}</lastmod>' if mod else ''}</{inner}>"
        for loc, mod in urls
    )
    return f'<?xml version="1.0"?><{tag} xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{rows}</{tag}>'


def test_a_sitemap_index_leads_to_new_pages_only(db: Database) -> None:
    with Site() as site:
        site.page(
            "/robots.txt", f"User-agent: *\nDisallow:\nSitemap: {site.url}/index.xml\n", kind="text/plain"
        )
        site.page("/index.xml", sitemap([(f"{site.url}/posts.xml.gz", "")], "sitemapindex"), kind="text/xml")
        pages = [(f"{site.url}/art/{n}.html", "2026-11-23T08:00:00+08:00") for n in range(3)]
        old = [(f"{site.url}/art/old.html", "2026-01-01"), (f"{site.url}/about", "")]
        site.page("/posts.xml.gz", gzip.compress(sitemap(pages + old).encode()), kind="application/gzip")
        for n in range(4):
            site.page(f"/art/{n}.html", article(f"自来水发黄第{n}天", f"{BODY}{n}"))
        place = source("m", "sitemap", site.url + "/robots.txt", link_pattern="/art/")
        assert only(crawl(db, place)) == ("ok", "3 entries, 3 new posts")
        # the index stays as it is while the map behind it changes
        site.page(
            "/posts.xml.gz",
            gzip.compress(sitemap([*pages, (f"{site.url}/art/3.html", "")]).encode()),
            kind="application/gzip",
        )
        assert crawl(db, place, now=NOW + timedelta(hours=1)).new_posts == 1
        assert site.hits("/art/0.html") == 1
        assert site.hits("/art/old.html") == site.hits("/about") == 0
        assert only(crawl(db, place, now=NOW + timedelta(hours=2)))[0] == "unchanged"


def test_a_failing_page_is_asked_again_and_set_aside_after_five_tries(db: Database) -> None:
    with Site() as site:
        site.page(
            "/s.xml",
            sitemap([(f"{site.url}/a/1", ""), (f"{site.url}/a/2", ""), (f"{site.url}/a/3", "")]),
            kind="text/xml",
        )
        site.page("/a/1", article("自来水发黄", BODY))
        site.page("/a/2", "oops", status=500)
        place = source("m", "sitemap", site.url + "/s.xml")
        first = only(crawl(db, place))
        assert first[0] == "ok"
        assert "1 pages failed" in first[1]
        for hour in range(1, 7):
            crawl(db, place, now=NOW + timedelta(hours=hour))
        with db.reading() as session:
            (aside,) = list_quarantine(session)
        assert "tried 5 times" in aside.reason
        assert site.hits("/a/2") == 10  # five crawls, each with one retry
        assert site.hits("/a/1") == site.hits("/a/3") == 1  # 404 needs no second look


def test_no_sitemap_no_entities_no_other_hosts(db: Database) -> None:
    with Site() as site:
        bomb = '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]>' + sitemap(
            [(f"{site.url}/&e;", ""), ("http://elsewhere.example/a", "")]
        ).removeprefix('<?xml version="1.0"?>')
        site.page("/s.xml", bomb, kind="text/xml")
        crawl(db, source("m", "sitemap", site.url + "/s.xml"))
        assert {hit.path for hit in site.log()} <= {"/robots.txt", "/s.xml", "/"}


# --- columns


def test_a_column_is_read_page_by_page_until_known(db: Database) -> None:
    with Site() as site:

        def listing(numbers: range, following: str) -> str:
            rows = "".join(
                f'<li><a href="/art/2026/11/{n}.html">自来水发黄第{n}篇</a><span>11-{n:02d}</span></li>'
                for n in numbers
            )
            return f'<div class="list"><ul>{rows}</ul></div><a class="next" href="{following}">下一页</a><a href="/art/2026/11/99.html">广告</a>'

        site.page("/col", listing(range(10, 15), "/col?page=2"))
        site.page("/col?page=2", listing(range(5, 10), "/col?page=3"))
        site.page("/col?page=3", listing(range(1, 5), ""))
        for n in range(1, 17):
            site.page(f"/art/2026/11/{n}.html", article(f"自来水发黄第{n}篇", f"{BODY}{n}"))
        place = source(
            "c",
            "column",
            site.url + "/col",
            link_pattern=r"/art/\d+/\d+/\d+\.html$",
            list_selector=".list",
            next_selector="a.next",
            max_pages=3,
        )
        assert crawl(db, place).new_posts == 14
        with db.reading() as session:
            dates = {row.published_at.astimezone(NOW.tzinfo).day for row in unjudged(session, 50)}
        assert dates == set(range(1, 15))
        site.page("/col", listing(range(11, 16), "/col?page=2"))
        assert crawl(db, place, now=NOW + timedelta(hours=1)).new_posts == 1
        assert site.hits("/col?page=2") == 2
        assert site.hits("/col?page=3") == 1  # page 2 held nothing new
        assert site.hits("/art/2026/11/99.html") == 0


def test_a_rebuilt_column_page_is_told_by_name(db: Database) -> None:
    with Site() as site:
        site.page("/col", '<ul><li><a href="/new-style/1">一</a></li></ul>')
        told = only(crawl(db, source("c", "column", site.url + "/col", link_pattern=r"/art/")))
        assert told[0] == "changed"
        assert "/art/" in told[1]
        told = only(crawl(db, source("d", "column", site.url + "/col", list_selector="ul[[")))
        assert told[0] == "changed"
        assert "no CSS selector" in told[1]


# --- JSON


FIELDS = {
    "id": "id",
    "title": "title.rendered",
    "text": "content.rendered",
    "published_at": "date",
    "url": "link",
    "author": "author",
    "likes": "meta.likes",
}


def wordpress(site: Site, total: int, size: int) -> None:
    """The REST API of WordPress: page numbers, 400 behind the last page, Link headers."""

    def page(number: int) -> Answer:
        begin = (number - 1) * size
        rows = [
            {
                "id": total - n,
                "title": {"rendered": f"停水&amp;{total - n}"},
                "content": {"rendered": f"<p>停水第{total - n}次</p>"},
                "date": "2026-11-23T09:00:00",
                "link": f"{site.url}/?p={total - n}",
                "author": 7,
                "meta": {"likes": n},
            }
            for n in range(begin, min(begin + size, total))
        ]
        if not rows:
            return Answer(
                400, b'{"code":"rest_post_invalid_page_number"}', {"Content-Type": "application/json"}
            )
        headers = {"Content-Type": "application/json"}
        if begin + size < total:
            headers["Link"] = f'<{site.url}/wp?page={number + 1}&per_page={size}>; rel="next"'
        return Answer(200, json.dumps(rows).encode(), headers)

    for number in range(1, total // size + 3):
        site.on(f"/wp?page={number}&per_page={size}", page(number))


@pytest.mark.parametrize("kind", ["page", "link"])
def test_wordpress_rest_is_read_to_its_end_and_then_only_its_news(db: Database, kind: str) -> None:
    with Site() as site:
        wordpress(site, 12, 5)
        url = f"{site.url}/wp?page={{page}}&per_page={{size}}"
        place = source("w", "json", url, fields=FIELDS, pagination={"kind": kind, "size": 5})
        assert only(crawl(db, place)) == ("ok", "12 entries, 12 new posts")
        assert "停水第12次" in texts(db)
        wordpress(site, 13, 5)
        before = site.hits()
        assert crawl(db, place, now=NOW + timedelta(hours=1)).new_posts == 1
        assert site.hits() - before == 2  # page 1 has news, page 2 has none: stop


def test_offset_cursor_post_and_secret_headers(db: Database) -> None:
    with Site() as site:
        for offset in (0, 2, 4):
            rows = [{"id": f"o{n}", "t": f"停水{n}"} for n in range(offset, min(offset + 2, 5))]
            site.page(f"/o?from={offset}", json.dumps({"data": {"rows": rows}}), kind="application/json")
        place = source(
            "o",
            "json",
            site.url + "/o?from={offset}",
            items="data.rows",
            fields={"id": "id", "text": "t"},
            pagination={"kind": "offset", "start": 0, "size": 2},
        )
        assert crawl(db, place).new_posts == 5

        def threads(hit: Hit) -> Answer:
            last = json.loads(hit.body)["last"]
            answer = {
                "": {"rows": [{"id": 1, "t": "漏水"}], "next": "c1"},
                "c1": {"rows": [{"id": 2, "t": "漏电"}], "next": None},
            }[last]
            return Answer(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

        site.on("/threads", threads)
        place = source(
            "t",
            "json",
            site.url + "/threads",
            method="POST",
            body='{"last":"{cursor}","q":{"a":1}}',
            items="rows",
            fields={"id": "id", "text": "t"},
            headers={"X-Token": "${CITY_TOKEN}"},
            pagination={"kind": "cursor", "cursor": "next"},
        )
        assert "CITY_TOKEN" in only(crawl(db, place))[1]
        assert site.hits("/threads") == 0
        assert crawl(db, place, env={"CITY_TOKEN": "s3cret"}, only=("t",)).new_posts == 2
        assert site.log("/threads")[0].headers["x-token"] == "s3cret"


def test_json_entries_that_cannot_be_used_are_set_aside_and_a_changed_api_is_told(db: Database) -> None:
    with Site() as site:
        site.page(
            "/a",
            json.dumps([{"id": 1, "t": "停水"}, {"t": "没有编号", "phone": "13812345678"}, 7]),
            kind="application/json",
        )
        site.page("/b", json.dumps({"code": 401}), kind="application/json")
        site.page("/c", json.dumps([{"key": 1}, {"key": 2}]), kind="application/json")
        site.page("/d", "<html>维护中</html>")
        fields = {"id": "id", "text": "t"}
        assert only(crawl(db, source("a", "json", site.url + "/a", fields=fields))) == (
            "ok",
            "3 entries, 1 new posts, 2 set aside",
        )
        with db.reading() as session:
            assert "13812345678" not in repr(list_quarantine(session))
        assert (
            "finds no list"
            in only(crawl(db, source("b", "json", site.url + "/b", items="rows", fields=fields)))[1]
        )
        assert (
            "none of 2 entries has id and text"
            in only(crawl(db, source("c", "json", site.url + "/c", fields=fields)))[1]
        )
        assert only(crawl(db, source("d", "json", site.url + "/d", fields=fields)))[0] == "changed"


# --- trouble


@pytest.mark.parametrize(
    ("status", "headers", "hours"),
    [
        (403, {}, 6.0),
        (429, {"Retry-After": "7200"}, 2.0),
        (429, {"Retry-After": format_datetime(NOW + timedelta(hours=3))}, 3.0),
        (418, {}, 6.0),
    ],
)
def test_a_refusal_stops_the_host_for_as_long_as_it_asks(
    db: Database, status: int, headers: dict[str, str], hours: float
) -> None:
    with Site() as site:
        site.page("/a", "no", status=status, headers=headers)
        site.page("/b", rss(entries(site, 1)), kind="text/xml")
        one, two = source("a", "rss", site.url + "/a"), source("b", "rss", site.url + "/b")
        assert only(crawl(db, one))[0] == "blocked"
        assert state(db, "a").next_due_at == NOW + timedelta(hours=hours)
        assert site.hits("/a") == 1  # no retry
        # the other source of the host waits too, even when it is named
        assert crawl(db, one, two, now=NOW + timedelta(hours=hours - 0.1)).sources == ()
        assert (
            crawl(db, one, two, only=("b",), now=NOW + timedelta(hours=hours - 0.1)).sources[0].state
            == "paused"
        )
        assert site.hits("/b") == 0
        site.page("/a", rss([]), kind="text/xml")
        assert crawl(db, one, two, now=NOW + timedelta(hours=hours + 0.1)).new_posts == 1


def test_a_refusal_in_the_middle_keeps_what_was_read(db: Database) -> None:
    with Site() as site:
        site.page("/s.xml", sitemap([(f"{site.url}/a/{n}", "") for n in range(6)]), kind="text/xml")
        for n in range(6):
            site.page(f"/a/{n}", article("自来水发黄", f"{BODY}{n}"), status=200 if n < 3 else 429)
        summary = crawl(db, source("m", "sitemap", site.url + "/s.xml"))
        assert (only(summary)[0], summary.new_posts) == ("blocked", 3)
        assert "3 new posts before that" in only(summary)[1]
        assert site.hits("/a/4") == 0


def test_redirect_loops_huge_bodies_cut_bodies_and_silence_have_a_sentence_each(db: Database) -> None:
    with Site() as site:
        site.on("/loop", Answer(302, headers={"Location": "/loop2"}))
        site.on("/loop2", Answer(302, headers={"Location": "/loop"}))
        site.page("/huge", b"x" * 300_000, kind="text/xml")
        site.page(
            "/zip", gzip.compress(b"x" * 3_000_000), kind="text/xml", headers={"Content-Encoding": "gzip"}
        )
        site.page("/cut", b"<rss>" + b"x" * 1000, kind="text/xml", cut=100)
        never = threading.Event()
        site.page("/silent", "late", wait=never)
        expected = {
            "loop": "circle",
            "huge": "max_body_mb",
            "zip": "max_body_mb",
            "cut": "broke off",
            "silent": "no answer within",
        }
        for name, words in expected.items():
            told = only(crawl(db, source(name, "rss", f"{site.url}/{name}"), max_body_mb=0.1, timeout_s=1.0))
            assert told[0] == "error", name
            assert words in told[1], told
        never.set()


def test_a_moved_page_is_followed_within_the_sources_hosts_only(db: Database) -> None:
    with Site() as site:
        site.on("/old", Answer(301, headers={"Location": "/new"}))
        site.page("/new", rss(entries(site, 1)), kind="text/xml")
        site.on("/away", Answer(302, headers={"Location": "http://elsewhere.example/"}))
        assert crawl(db, source("a", "rss", site.url + "/old")).new_posts == 1
        told = only(crawl(db, source("b", "rss", site.url + "/away")))
        assert told[0] == "error"
        assert "elsewhere.example" in told[1]


def test_failures_are_asked_again_later_and_later(db: Database) -> None:
    with Site() as site:
        site.page("/f", "x", status=500)
        feed = source("f", "rss", site.url + "/f", every_min=30)
        now, waits = NOW, []
        for _ in range(6):
            crawl(db, feed, now=now)
            due = state(db, "f").next_due_at
            assert due is not None
            waits.append((due - now).total_seconds() / 60)
            now = due
        assert waits == [30, 60, 120, 240, 360, 360]


def test_one_bad_source_does_not_stop_the_others(db: Database) -> None:
    with Site() as site:
        site.page("/ok", rss(entries(site, 1)), kind="text/xml")
        summary = crawl(
            db,
            source("bad", "rss", "http://127.0.0.1:9/feed"),
            source("ok", "rss", site.url + "/ok"),
            source("gone", "rss", site.url + "/gone"),
        )
        assert {s.source_id: s.state for s in summary.sources} == {
            "bad": "robots",
            "ok": "ok",
            "gone": "changed",
        }


def test_sources_are_read_when_due_and_named_ones_at_once(db: Database) -> None:
    with Site() as site:
        site.page("/f", rss(entries(site, 1)), kind="text/xml")
        feed = source("f", "rss", site.url + "/f", every_min=30)
        off = source("off", "rss", site.url + "/f", enabled=False)
        crawl(db, feed, off)
        assert crawl(db, feed, off, now=NOW + timedelta(minutes=29)).sources == ()
        assert len(crawl(db, feed, off, now=NOW + timedelta(minutes=1), only=("f",)).sources) == 1
        assert len(crawl(db, feed, off, now=NOW + timedelta(minutes=31)).sources) == 1
        with pytest.raises(ConfigError, match=r"(?s)'nowhere'.*'off' is not enabled"):
            crawl(db, feed, off, only=("nowhere", "off"))


def test_one_request_at_a_time_with_an_honest_name_and_no_cookies(db: Database) -> None:
    with Site() as site:
        under_way, most = [0], [0]
        lock = threading.Lock()

        def slow(hit: Hit) -> Answer:
            with lock:
                under_way[0] += 1
                most[0] = max(most[0], under_way[0])
            threading.Event().wait(0.03)
            with lock:
                under_way[0] -= 1
            return Answer(
                200,
                rss([{"title": "停水", "guid": hit.path}]),
                {"Content-Type": "text/xml", "Set-Cookie": "id=1"},
            )

        for n in range(6):
            site.on(f"/{n}", slow)
        crawl(db, *(source(f"s{n}", "rss", f"{site.url}/{n}") for n in range(6)))
        assert most == [1]
        assert {hit.headers["user-agent"] for hit in site.log()} == {
            "QuanshengBot/0.1 (+https://example.invalid/quansheng-bot)"
        }
        assert not any("cookie" in hit.headers or "referer" in hit.headers for hit in site.log())


def test_a_long_crawl_is_stopped_saved_and_goes_on_next_time(db: Database) -> None:
    with Site() as site:
        site.page("/s.xml", sitemap([(f"{site.url}/a/{n}", "") for n in range(30)]), kind="text/xml")
        for n in range(30):
            site.page(f"/a/{n}", article("自来水发黄", f"{BODY}{n}"))
        place = source("m", "sitemap", site.url + "/s.xml", max_rate=5)
        first = crawl(db, place, crawl_limit_s=1.5)
        assert 0 < first.new_posts < 30
        assert "crawl_limit_s" in only(first)[1]
        rest = crawl(db, source("m", "sitemap", site.url + "/s.xml"), now=NOW + timedelta(hours=1))
        assert first.new_posts + rest.new_posts == 30
        assert max(site.hits(f"/a/{n}") for n in range(30)) <= 2


def test_no_more_than_the_limit_is_taken_and_the_rest_comes_next_time(db: Database) -> None:
    with Site() as site:
        site.feed("/f", entries(site, 250))
        feed = source("f", "rss", site.url + "/f", max_items=120)
        assert [crawl(db, feed, now=NOW + timedelta(hours=h)).new_posts for h in range(4)] == [
            120,
            120,
            10,
            0,
        ]


def test_spiders_work_on_both_databases(any_db: Database, tmp_path: Path) -> None:
    with Site() as site:
        site.feed("/f", entries(site, 3))
        feed = source("f", "rss", site.url + "/f")
        assert crawl(any_db, feed).new_posts == 3
        assert only(crawl(any_db, feed, now=NOW + timedelta(hours=1)))[0] == "unchanged"


def test_a_host_that_another_crawl_is_reading_is_left_alone(db: Database) -> None:
    with Site() as site:
        arrived, go_on = threading.Event(), threading.Event()

        def slow(hit: Hit) -> Answer:
            arrived.set()
            go_on.wait(20)
            return Answer(200, rss(entries(site, 1)), {"Content-Type": "text/xml"})

        site.on("/f", slow)
        feed = source("f", "rss", site.url + "/f")
        first: list[CrawlSummary] = []
        thread = threading.Thread(target=lambda: first.append(crawl(db, feed)))
        thread.start()
        assert arrived.wait(20)
        second = crawl(db, feed, only=("f",))
        assert only(second) == ("paused", "another crawl is reading its host at this moment")
        assert crawl(db, feed).sources == ()
        go_on.set()
        thread.join(30)
        assert first[0].new_posts == 1
        assert site.hits("/f") == 1


def test_a_clean_stop_ends_the_crawl_and_blames_no_source(db: Database) -> None:
    with Site() as site:
        arrived, go_on = threading.Event(), threading.Event()

        def slow(hit: Hit) -> Answer:
            arrived.set()
            go_on.wait(20)
            return Answer(200, rss(entries(site, 1)), {"Content-Type": "text/xml"})

        site.on("/0", slow)
        for n in range(1, 4):
            site.on(f"/{n}", slow)
        feeds = [source(f"f{n}", "rss", f"{site.url}/{n}") for n in range(4)]
        summaries: list[CrawlSummary] = []
        thread = threading.Thread(target=lambda: summaries.append(crawl(db, *feeds)))
        thread.start()
        assert arrived.wait(20)
        stopping = threading.Thread(target=stop)
        stopping.start()
        go_on.set()
        thread.join(30)
        stopping.join(30)
        assert {s.state for s in summaries[0].sources} <= {"ok", "stopped"}
        with db.reading() as session:
            assert all(state.failures == 0 for state in list_states(session))
        assert crawl(db, *feeds, now=NOW + timedelta(hours=1)).failed == ()
        assert len(texts(db)) == 4


def test_half_characters_of_an_api_cost_nothing(db: Database) -> None:
    rows = [
        {"id": "1\ud800", "t": "停水三天\ud83d", "who": "\ud83d", "at": "\udfff", "url": "/p/\ud800"},
        {"id": 2, "t": "停电\u0000两天", "at": "0001-01-01 00:00:00"},
    ]
    fields = {"id": "id", "text": "t", "author": "who", "published_at": "at", "url": "url"}
    with Site() as site:
        site.page("/a", json.dumps(rows), kind="application/json")
        assert only(crawl(db, source("a", "json", site.url + "/a", fields=fields)))[0] == "ok"
    assert texts(db) == ["停水三天\ufffd", "停电两天"]
