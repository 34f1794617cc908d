"""Pages, charsets and dates as Chinese sites write them."""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta, timezone

import pytest

from benchmarks import extraction
from spiders.dates import is_future, parse_when
from spiders.extract import extract
from spiders.pagetext import BodyTooLarge, decode, gunzip, plain
from tests.fakes.site import article

CST = timezone(timedelta(hours=8))
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=CST)
BODY = "\n".join(
    ["历下区某小区自来水发黄已经三天，居民多次拨打热线反映。", "物业表示正在联系水务部门检修，预计周五恢复。"]
    * 3
)

DATES = [
    ("3分钟前", "2026-11-24 09:57"),
    ("半小时前", "2026-11-24 09:30"),
    ("2 小时前", "2026-11-24 08:00"),
    ("刚刚", "2026-11-24 10:00"),
    ("昨天 12:30", "2026-11-23 12:30"),
    ("前天下午3:05", "2026-11-22 15:05"),
    ("11-20 09:00", "2026-11-20 09:00"),
    ("11-20", "2026-11-20 00:00"),
    ("11月20日 14:22", "2026-11-20 14:22"),
    ("12-31 23:00", "2025-12-31 23:00"),
    ("发表于 2026-11-20 09:00", "2026-11-20 09:00"),
    ("发布时间：2026年11月20日 09:05", "2026-11-20 09:05"),
    ("编辑于 昨天 12:30", "2026-11-23 12:30"),
    ("11-20 08:00 来自 微博网页版", "2026-11-20 08:00"),
    ("Sun Nov 22 09:33:57 +0800 2026", "2026-11-22 09:33"),
    ("Tue, 24 Nov 2026 01:00:00 GMT", "2026-11-24 09:00"),
    ("Tue, 24 Nov 2026 09:00:00", "2026-11-24 09:00"),
    ("2026-11-24T01:00:00Z", "2026-11-24 09:00"),
    ("2026-11-24 09:00:00", "2026-11-24 09:00"),
    ("2026/11/4 9:05", "2026-11-04 09:05"),
    ("2026年11月4日下午3点", "2026-11-04 15:00"),
    ("20261120083000", "2026-11-20 08:30"),
    ("二〇二六年十一月二十日", "2026-11-20 00:00"),
    ("二零二六年十月三十一日", "2026-10-31 00:00"),
    ("发布日期：二○二六年三月九日", "2026-03-09 00:00"),
    (1795482000, "2026-11-24 09:00"),
    ("1795482000000", "2026-11-24 09:00"),
]


@pytest.mark.parametrize(("raw", "expected"), DATES)
def test_dates_are_read_as_local_people_mean_them(raw: object, expected: str) -> None:
    found = parse_when(raw, NOW)
    assert found is not None
    assert found.astimezone(CST).strftime("%Y-%m-%d %H:%M") == expected


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "abc",
        "2026-02-30",
        "2026-13-01 00:00",
        "12345",
        None,
        True,
        "二〇二六年",
        "二〇二六年十三月一日",
        "二〇二六年十一月十十十日",
        0,
        "0000-00-00",
        "99999999999999999",
    ],
)
def test_what_is_no_date_is_none(raw: object) -> None:
    assert parse_when(raw, NOW) is None


@pytest.mark.parametrize("raw", ["2027-01-01", "2026-11-24 10:11", "2026-11-25T00:00:00+08:00"])
def test_dates_ahead_of_now_are_refused(raw: str) -> None:
    assert parse_when(raw, NOW) is None
    assert is_future(raw, NOW)


def test_a_clock_that_goes_five_minutes_fast_is_forgiven() -> None:
    assert parse_when("2026-11-24 10:05", NOW) is not None


@pytest.mark.parametrize(
    ("body", "content_type", "charset"),
    [
        ("停水".encode(), "", "utf-8"),
        ("停水".encode("gb18030"), "text/html; charset=gb2312", "gb18030"),
        ("停水了，物业不管".encode("gb18030"), "text/html; charset=utf-8", "gb18030"),  # the header lies
        ("停水".encode(), "text/html; charset=gbk", "gb18030"),
        ("停水了".encode(), "text/html; charset=ISO-8859-1", "utf-8"),  # Apache's default
        ("\ufeff停水".encode("utf-16-le"), "", "utf-16-le"),
        (b'<meta charset="gbk">' + "停水".encode("gbk"), "", "gb18030"),
        (b'<?xml version="1.0" encoding="GB2312"?>' + "停水".encode("gbk"), "", "gb18030"),
    ],
)
def test_a_wrong_charset_is_found_out(body: bytes, content_type: str, charset: str) -> None:
    text, found = decode(body, content_type)
    if (
        content_type != "text/html; charset=gbk"
    ):  # two utf-8 characters are six bytes, which gb18030 can read too
        assert "停水" in text
    assert found == charset


def test_a_body_cut_inside_a_character_keeps_its_charset() -> None:
    text, charset = decode("停水了".encode()[:-1], "text/html; charset=utf-8")
    assert (text, charset) == ("停水", "utf-8")


def test_fragments_become_lines() -> None:
    assert (
        plain("<p>停水&nbsp;了</p><div>三天<br>没人管<script>x()</script></div>") == "停水 了\n三天\n没人管"
    )
    assert plain("a < b & c") == "a < b & c"
    assert plain("") == ""


def test_gzip_bombs_are_refused() -> None:
    with pytest.raises(BodyTooLarge):
        gunzip(gzip.compress(b"0" * 1_000_000), 1000)
    assert gunzip(b"plain", 10) == b"plain"


@pytest.mark.parametrize("container", ["zoom", "UCAP-CONTENT", "vsb_content", "js_content", ""])
def test_the_main_text_is_found_without_navigation(container: str) -> None:
    found = extract(
        article("自来水发黄三天无人处理", BODY, date="2026-11-23 08:30", container=container), NOW
    )
    assert found.title == "自来水发黄三天无人处理"
    assert "居民多次拨打热线反映" in found.text
    assert "别的新闻" not in found.text
    assert "版权所有" not in found.text
    assert found.published_at == datetime(2026, 11, 23, 8, 30, tzinfo=CST)


def test_the_sources_own_selector_comes_first_and_a_wrong_one_is_named() -> None:
    page = article("标题在这里", BODY).replace("<article>", '<article class="own">')
    assert extract(page, NOW, text_selector=".own").extractor == "selector"
    with pytest.raises(ValueError, match=r"p\[\["):
        extract(page, NOW, text_selector="p[[")


def test_a_selector_that_finds_nothing_falls_back_and_says_so() -> None:
    assert extract(article("标题在这里", BODY), NOW, text_selector=".gone").extractor not in (
        "selector",
        "none",
    )


@pytest.mark.parametrize(
    "html",
    [
        "",
        "<html></html>",
        "<p>短</p>",
        "<!-- -->",
        "\x00\x01",
        "<html><body><a href='/'>只有链接</a></body></html>",
    ],
)
def test_pages_without_an_article_give_no_text(html: str) -> None:
    assert extract(html, NOW).text == ""


def test_linked_data_and_meta_dates_are_read() -> None:
    page = '<html><head><script type="application/ld+json">{"@graph":[{"datePublished":"2026-11-20T08:00:00+08:00"}]}</script></head><body></body></html>'
    assert extract(page, NOW).published_at == datetime(2026, 11, 20, 8, 0, tzinfo=CST)
    page = '<html><head><meta name="PubDate" content="2026-11-21 07:00"></head><body></body></html>'
    assert extract(page, NOW).published_at == datetime(2026, 11, 21, 7, 0, tzinfo=CST)


def test_a_date_in_the_future_is_told_not_believed() -> None:
    found = extract(article("标题在这里", BODY, date="2027-01-01 08:00"), NOW)
    assert found.published_at is None
    assert found.future_date


HEADLINES = [f"别处的新闻标题第{n}条\n2026-11-{n:02d}" for n in range(20, 24)]


@pytest.mark.parametrize(
    ("above", "below"),
    [
        (
            "首页 > 新闻 > 民生\n某小区停水\n2026-11-24 09:05 来源：泉城早报 作者：记者\n字号",
            "我要跟帖\n评论（15）",
        ),
        (
            "您所在的位置： 首页 > 快讯",
            "本文来源：泉城早报\n责任编辑：王某_NB1\n【1】【2】【3】\n(责编：某某、某某)",
        ),
        ("某小区停水", "推荐阅读\n别处的新闻一\n别处的新闻二，写得很长，比一行还长\n版权所有"),
        ("", "声明：本报力求准确，据此操作风险自担。\n泉城早报APP\n微信公众号"),
        ("", "\n".join(HEADLINES)),
    ],
)
def test_lines_of_the_page_s_own_above_and_below_an_article_go(above: str, below: str) -> None:
    text = f"{BODY}\n" * 4
    page = article("某小区停水", f"{above}\n{text}{below}", container="zoom")
    assert extract(page, NOW).text == text.strip()


@pytest.mark.parametrize(
    "text",
    [
        # a signature, a list of days that is the matter itself, and a short text that only looks like a page's own line
        f"{BODY}\n济南市某局\n2026年11月20日",
        "计划停水安排如下，请居民提前储水，给您带来的不便请谅解。\n" + "\n".join(HEADLINES),
        f"声明：{'本小区从未同意涨价，' * 3}请核实",
        f"{BODY}\n推荐阅读区没有书，图书馆也不管，请尽快解决。",
    ],
)
def test_lines_of_an_article_that_look_like_the_page_s_own_stay(text: str) -> None:
    assert extract(article("某小区停水", text, container="zoom"), NOW).text == text


def test_the_benchmark_reads_all_dates_and_says_what_it_lacks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("QUANSHENG_DATA", raising=False)
    assert extraction.main([]) == 1
    told = capsys.readouterr()
    assert "dates: ours 31 of 31" in told.out
    assert "QUANSHENG_DATA names no folder" in told.err


def test_agreement_falls_with_what_is_missing_and_with_what_is_too_much() -> None:
    assert extraction.agreement(BODY, BODY) == (1.0, 1.0, 1.0)
    f1, precision, recall = extraction.agreement(BODY[: len(BODY) // 2], BODY)
    assert precision == 1.0
    assert recall < 0.6
    assert f1 < 0.75
    assert extraction.agreement(BODY + "导航" * 100, BODY)[1] < 0.8
    assert extraction.agreement("", BODY) == (0.0, 0.0, 0.0)


def test_gold_is_the_picked_container_without_what_is_no_text() -> None:
    page = "<div id=nav>首页</div><div id=endText><p class=otitle>原标题</p><p>正文一段</p><div class=ep-source>来源</div></div>"
    assert extraction.gold("163/1.html", page) == "正文一段"
    assert extraction.gold("163/1.html", page, whole=True) == "原标题\n正文一段\n来源"
    assert extraction.gold("toutiao/2.html", page) == ""
