"""Hanweb (大汉 jpage) columns, read from a loopback site with pages of the real shape: list page, datastore, article."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from sqlalchemy import select

from incidents.models import Post
from incidents.posts import list_quarantine, unjudged
from incidents.session import Database
from tests.fakes.crawl import NOW, crawl, source
from tests.fakes.site import Answer, Hit, Site

PER_PAGE = 3
WINDOW = 3 * PER_PAGE
PROXY = "/module/web/jpage/dataproxy.jsp"
BODY = "因供水管道改造，历下区部分路段将于夜间停水，请居民提前储水，供水服务热线昼夜有人值守。"


def row(number: int, *, style: str = "li") -> str:
    title = f"关于第{number}号路段停水的通知"
    link = f"/art/2026/11/{1 + number % 20}/art_85285_{number}.html"
    if style == "td":
        return f"<table><tr><td width='10'>·</td><td><a style='color:#333' target='_blank' title='{title}' href='{link}'>{title[:8]}...</a></td><td align=right>[2026-11-{1 + number % 20:02d}]</td></tr></table>"
    return f'<li><a href="{link}" target="_blank" title="{title}">{title}</a><span>2026-11-{1 + number % 20:02d}</span></li>'


def datastore(numbers: list[int], total: int, *, style: str = "li", records: tuple[str, ...] = ()) -> str:
    following = f'<a href="{PROXY}?page=2&amp;appid=1&amp;webid=1&amp;path=/&amp;columnid=85285&amp;unitid=564862&amp;webname=%25E6%25B5%258E&amp;permissiontype=0"></a>'
    rows = [*records, *(row(number, style=style) for number in numbers)]
    return (
        f"<datastore>\n<nextgroup><![CDATA[{following}]]></nextgroup>\n<totalrecord>{total}</totalrecord>\n"
        f"<totalpage>{-(-total // PER_PAGE)}</totalpage>\n<recordset>"
        + "".join(f"<record><![CDATA[\n{one}\n]]></record>" for one in rows)
        + "</recordset></datastore>"
    )


def list_page(store: str = "", script: str = "") -> str:
    return (
        '<!DOCTYPE html><html><head><meta http-equiv="Content-Type" content="text/html; charset=utf-8"><title>通知公告</title>'
        '<meta name="ColumnName" content="通知公告"></head><body><ul class="nav"><li><a href="/col/col1/index.html">首页</a></li></ul>'
        f'<div id="564862" class="default_pgContainer"><script type="text/xml">{store}</script></div>{script}</body></html>'
    )


SCRIPT = (
    "<script>$(function(){$('#564862').jpage({perPage:3,totalRecord:9,groupSize:3,proxyUrl:'/module/jpage/dataproxy.jsp',"
    "ajaxParam:{col:1,appid:1,webid:22,path:'/',columnid:85285,sourceContentType:1,unitid:'564862',webname:'某市某局',permissiontype:0}})});</script>"
)


def article(number: int, *, body: str = "zoom") -> str:
    holder = {"zoom": 'id="zoom"', "main": 'class="main-txt"', "ucap": 'id="UCAP-CONTENT"'}[body]
    return (
        f'<html><head><title>第{number}号 - 某市某局</title><meta name="ArticleTitle" content="关于第{number}号路段停水的通知">'
        f'<meta name="PubDate" content="2026-11-{1 + number % 20:02d} 16:45"><meta name="ContentSource" content="某市供水管理处"></head>'
        f'<body><div class="nav"><a href="/">首页</a></div><div {holder}><p>{BODY}</p><p>第{number}号路段。</p></div><div>版权所有</div></body></html>'
    )


def column(site: Site, numbers: list[int], *, proxy: str = PROXY, style: str = "li") -> None:
    """Windows of the list `numbers` (newest first) as the proxy gives them, and the articles."""
    for first in range(1, len(numbers) + WINDOW + 1, WINDOW):
        part = numbers[first - 1 : first - 1 + WINDOW]
        answer = Answer(
            200,
            datastore(part, len(numbers), style=style).encode(),
            {
                "Content-Type": "text/xml;charset=UTF-8",
                "Set-Cookie": "JSESSIONID=0A1B; Path=/; HttpOnly",
                "Server": "nginx",
            },
        )
        site.on(f"{proxy}?startrecord={first}&endrecord={first + WINDOW - 1}&perpage={PER_PAGE}", answer)
    articles(site, numbers)


def articles(site: Site, numbers: list[int]) -> None:
    for number in numbers:
        site.page(
            f"/art/2026/11/{1 + number % 20}/art_85285_{number}.html", article(number), kind="text/html"
        )


def windows(site: Site) -> list[Hit]:
    return [hit for hit in site.log() if "dataproxy.jsp" in hit.path]


IDS = {"webid": 1, "columnid": 85285, "unitid": 564862, "per_page": PER_PAGE}


def test_a_column_is_read_window_by_window_and_then_only_its_news(db: Database) -> None:
    with Site() as site:
        column(site, list(range(120, 100, -1)))
        place = source("h", "hanweb", site.url + "/col/col85285/index.html", max_windows=9, **IDS)
        first = crawl(db, place)
        assert [(s.state, s.evidence) for s in first.sources] == [("ok", "20 entries, 20 new posts")]
        assert len(windows(site)) == 3
        form = parse_qs(windows(site)[0].body.decode())
        assert (form["webid"], form["columnid"], form["unitid"]) == (["1"], ["85285"], ["564862"])
        assert windows(site)[0].method == "POST"
        assert not any("cookie" in hit.headers for hit in site.log())
        with db.reading() as session:
            post = next(row for row in unjudged(session, 50) if "第120号" in row.title)
        assert BODY in post.text
        assert post.published_at == datetime(2026, 11, 1, 8, 45, tzinfo=UTC)

        asked = len(windows(site))
        again = crawl(db, place, now=NOW + timedelta(hours=1))
        assert [s.state for s in again.sources] == ["unchanged"]
        column(site, list(range(122, 100, -1)))
        assert crawl(db, place, now=NOW + timedelta(hours=2)).new_posts == 2
        assert len(windows(site)) - asked == 3  # one unchanged; then one with news and one without
        assert site.hits("/art/2026/11/1/art_85285_120.html") == 1


def test_the_numbers_and_the_first_window_are_taken_from_the_list_page(db: Database) -> None:
    with Site() as site:
        numbers = list(range(60, 48, -1))
        column(site, numbers)
        sidebar = datastore([7], 1).replace("columnid=85285", "columnid=3").replace("564862", "77")
        page = list_page(datastore(numbers[:WINDOW], 12)).replace(
            "<body>", f"<body><script type='text/xml'>{sidebar}</script>"
        )
        site.validated("/col/col85285/index.html", page, kind="text/html")
        place = source("h", "hanweb", site.url + "/col/col85285/index.html", per_page=PER_PAGE)
        assert crawl(db, place).new_posts == 12
        assert [hit.path.partition("?")[2] for hit in windows(site)] == [
            "startrecord=10&endrecord=18&perpage=3"
        ]
        assert parse_qs(windows(site)[0].body.decode())["webname"] == ["%E6%B5%8E"]
        assert [s.state for s in crawl(db, place, now=NOW + timedelta(hours=1)).sources] == ["unchanged"]
        assert "if-none-match" in site.log("/col/col85285/index.html")[-1].headers


def test_a_page_that_only_names_the_numbers_is_no_proof_that_nothing_is_new(db: Database) -> None:
    with Site() as site:
        site.validated("/col/col85285/index.html", list_page(script=SCRIPT), kind="text/html")
        column(site, [12, 11], proxy="/module/jpage/dataproxy.jsp", style="td")
        place = source("h", "hanweb", site.url + "/col/col85285/index.html?uid=564862&pageNum=1")
        site.validated(
            "/col/col85285/index.html?uid=564862&pageNum=1", list_page(script=SCRIPT), kind="text/html"
        )
        assert crawl(db, place).new_posts == 2
        column(site, [13, 12, 11], proxy="/module/jpage/dataproxy.jsp", style="td")
        assert crawl(db, place, now=NOW + timedelta(hours=1)).new_posts == 1
        assert parse_qs(windows(site)[0].body.decode())["webid"] == ["22"]


def test_a_proxy_link_beside_the_page_and_a_cut_title_are_understood(db: Database) -> None:
    with Site() as site:
        store = datastore([], 1).replace(f'href="{PROXY}', 'href="./dataproxy.jsp')
        site.page("/col/col85285/index.html", list_page(store), kind="text/html")
        cut = (
            '<li><a href="/art/2026/11/9/art_85285_8.html">关于第8号路段停...</a><span>2026-11-09</span></li>'
        )
        answer = datastore([], 1, records=(cut,))
        site.page(f"{PROXY}?startrecord=1&endrecord=9&perpage=3", answer, kind="text/xml")
        articles(site, [8])
        assert (
            crawl(db, source("h", "hanweb", site.url + "/col/col85285/index.html", per_page=3)).new_posts == 1
        )
        with db.reading() as session:
            assert [row.title for row in unjudged(session, 5)] == ["关于第8号路段停水的通知"]


def test_a_page_of_open_marks_costs_no_more_than_its_length(db: Database) -> None:
    hostile = "".join(
        mark * 40_000
        for mark in ("<datastore>", "<record>", "<nextgroup>", "{unitid:", "a/b", "<totalrecord>")
    )
    with Site() as site:
        site.page("/col/col85285/index.html", hostile, kind="text/html")
        site.page(f"{PROXY}?startrecord=1&endrecord=9&perpage=3", hostile, kind="text/xml")
        began = time.process_time()
        for place in ({}, IDS):
            (told,) = crawl(
                db, source("h" + str(len(place)), "hanweb", site.url + "/col/col85285/index.html", **place)
            ).sources
            assert told.state == "changed"
        assert time.process_time() - began < 20


def test_a_list_longer_than_the_limit_is_read_over_several_readings(db: Database) -> None:
    with Site() as site:
        column(site, list(range(120, 100, -1)))
        place = source(
            "h", "hanweb", site.url + "/col/col85285/index.html", max_windows=9, max_items=8, **IDS
        )
        assert [crawl(db, place, now=NOW + timedelta(hours=n)).new_posts for n in range(4)] == [8, 8, 4, 0]


def test_older_sites_are_asked_by_get(db: Database) -> None:
    with Site() as site:
        form = "col=1&appid=1&webid=1&path=%2F&columnid=85285&sourceContentType=1&unitid=564862&webname=&permissiontype=0"
        path = f"{PROXY}?startrecord=1&endrecord=9&perpage=3&{form}"
        site.page(path, datastore([5], 1).encode("gbk"), kind="text/html;charset=GBK")
        articles(site, [5])
        place = source("h", "hanweb", site.url + "/col/col85285/index.html", method="GET", **IDS)
        assert crawl(db, place).new_posts == 1
        assert windows(site)[0].method == "GET"


@pytest.mark.parametrize("body", ["zoom", "main", "ucap"])
def test_articles_are_read_from_the_usual_containers_with_their_office(db: Database, body: str) -> None:
    with Site() as site:
        column(site, [8])
        site.page("/art/2026/11/9/art_85285_8.html", article(8, body=body))
        crawl(db, source("h", "hanweb", site.url + "/col/col85285/index.html", **IDS))
        with db.reading() as session:
            (post,) = unjudged(session, 5)
        assert post.text == f"{BODY}\n第8号路段。"
        assert provenance(db)["publisher"] == "某市供水管理处"


def provenance(db: Database) -> dict[str, object]:
    with db.reading() as session:
        return dict(session.scalars(select(Post.provenance)).one())


def test_rows_that_lead_nowhere_are_set_aside_with_their_reason(db: Database) -> None:
    with Site() as site:
        column(site, [4])
        store = datastore(
            [4],
            3,
            records=(
                "<li>(此处空缺)</li>",
                '<li><a href="https://mp.example.com/s/1" title="转发">转发</a></li>',
            ),
        )
        site.page(f"{PROXY}?startrecord=1&endrecord=9&perpage=3", store, kind="text/xml;charset=UTF-8")
        assert crawl(db, source("h", "hanweb", site.url + "/col/col85285/index.html", **IDS)).new_posts == 1
        with db.reading() as session:
            reasons = sorted(aside.reason for aside in list_quarantine(session))
        assert reasons == [
            "the row has no link",
            "the row leads to mp.example.com, which is not in allow_hosts",
        ]


def test_an_article_that_retention_removed_is_not_fetched_again_but_a_late_draft_is(db: Database) -> None:
    with Site() as site:
        column(site, [120, 119])
        place = source("h", "hanweb", site.url + "/col/col85285/index.html", **IDS)
        crawl(db, place)
        # below the mark: one of last year (as after retention), one of this week whose draft had an early number
        old = '<li><a href="/art/2025/3/1/art_85285_50.html" title="去年的停水通知">去年</a><span>2025-03-01</span></li>'
        late = '<li><a href="/art/2026/11/21/art_85285_90.html" title="迟发的停水通知">迟发</a><span>2026-11-21</span></li>'
        store = datastore([120, 119], 4, records=(late, old))
        site.page(f"{PROXY}?startrecord=1&endrecord=9&perpage=3", store, kind="text/xml;charset=UTF-8")
        site.page("/art/2026/11/21/art_85285_90.html", article(90))
        site.page("/art/2025/3/1/art_85285_50.html", article(50))
        assert crawl(db, place, now=NOW + timedelta(hours=1)).new_posts == 1
        assert site.hits("/art/2025/3/1/art_85285_50.html") == 0


def test_a_rebuilt_site_is_told_and_never_read_as_empty(db: Database) -> None:
    with Site() as site:
        url = site.url + "/col/col85285/index.html"
        site.page(f"{PROXY}?startrecord=1&endrecord=9&perpage=3", datastore([], 0), kind="text/xml")
        (told,) = crawl(db, source("a", "hanweb", url, **IDS)).sources
        assert (told.state, "unitid=564862 holds no row" in told.evidence) == ("changed", True)

        site.page("/col/col85285/index.html", "<html><body><div id='app'></div></body></html>")
        (told,) = crawl(db, source("b", "hanweb", url)).sources
        assert (told.state, "webid, unitid not found" in told.evidence) == ("changed", True)

        site.page("/col/col85285/index.html", "<html><body>请完成安全验证</body></html>")
        (told,) = crawl(db, source("c", "hanweb", url)).sources
        assert told.state == "blocked"

        site.page(f"{PROXY}?startrecord=1&endrecord=9&perpage=3", "<html><body>系统出错</body></html>")
        (told,) = crawl(db, source("d", "hanweb", url, **IDS)).sources
        assert (told.state, "instead of a jpage datastore" in told.evidence) == ("changed", True)

        site.page("/col/col85285/index.html", list_page(datastore([], 0)))
        site.page(f"{PROXY}?startrecord=1&endrecord=45&perpage=15", datastore([], 0), kind="text/xml")
        (told,) = crawl(db, source("e", "hanweb", url)).sources
        assert told.state == "empty"


def test_news_beyond_the_windows_is_told(db: Database) -> None:
    with Site() as site:
        column(site, [101, 100])
        place = source("h", "hanweb", site.url + "/col/col85285/index.html", max_windows=1, **IDS)
        crawl(db, place)
        column(site, list(range(130, 99, -1)))
        (told,) = crawl(db, place, now=NOW + timedelta(hours=1)).sources
        assert told.state == "ok"
        assert "older new ones may have been missed" in told.evidence
