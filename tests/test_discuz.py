"""Discuz! forums (X and 7.x), read from a loopback site with pages of the real markup, headers and encodings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from lxml.html import fragment_fromstring  # type: ignore[import-untyped]
from sqlalchemy import select

from config.sources import DiscuzSource
from incidents.models import Post
from incidents.posts import list_quarantine
from incidents.session import Database
from spiders.connectors.discuz import shown_time, thread_url
from tests.fakes.crawl import NOW, crawl, source
from tests.fakes.site import Answer, Site, rss

LIST = "/forum.php?mod=forumdisplay&fid=2&orderby=dateline"
GBK = "text/html; charset=gbk"


def shell(body: str, charset: str = "gbk", generator: str = "Discuz! X3.4") -> bytes:
    page = (
        f'<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN"><html xmlns="http://www.w3.org/1999/xhtml"><head>'
        f'<meta http-equiv="Content-Type" content="text/html; charset={charset}" /><title>民生版 - 泉边论坛</title>'
        f'<meta name="generator" content="{generator}" /></head><body><div id="um">您好，请 <a href="member.php?mod=logging&amp;action=login">登录</a></div>{body}</body></html>'
    )
    return page.encode("gb18030" if charset == "gbk" else charset)


def x_row(tid: int, *, date: str = '<span title="2026-11-23">昨天&nbsp;12:30</span>', link: str = "") -> str:
    link = link or f"forum.php?mod=viewthread&amp;tid={tid}&amp;extra=page%3D1&amp;sid=Ab3Xy9"
    return (
        f'<tbody id="normalthread_{tid}"><tr><td class="icn"><a href="{link}" title="有新回复 - 新窗口打开"><img src="folder_new.gif" /></a></td>'
        f'<th class="new"><a href="javascript:;" class="showcontent y"></a><em>[<a href="forum.php?mod=forumdisplay&fid=2&typeid=1">求助</a>]</em> '
        f'<a href="{link}" onclick="atarget(this)" class="s xst">楼道漏水第{tid}帖</a></th>'
        f'<td class="by"><cite><a href="home.php?mod=space&amp;uid=7" c="1">泉边散步的人{tid}</a></cite><em><span>{date}</span></em></td>'
        f'<td class="num"><a href="{link}" class="xi2">14</a><em>230</em></td>'
        f'<td class="by"><cite><a href="home.php?mod=space&amp;username=x">最后回复的人</a></cite><em><a href="{link}">2026-11-24 09:00</a></em></td></tr></tbody>'
    )


def x_list(*tids: int) -> bytes:
    pinned = '<tbody id="stickthread_1"><tr><th><a href="forum.php?mod=viewthread&tid=1" class="s xst">版规</a></th></tr></tbody>'
    rows = "".join(x_row(tid) for tid in tids)
    return shell(
        f'<div id="threadlist"><form><table id="threadlisttableid">{pinned}{rows}</table></form></div>'
    )


def x_thread(tid: int) -> bytes:
    def post(pid: int, who: str, words: str) -> str:
        return (
            f'<div id="post_{pid}"><table id="pid{pid}"><tr><td class="pls"><div class="authi"><a href="home.php?uid=7" class="xw1">{who}</a></div></td>'
            f'<td class="plc"><em id="authorposton{pid}">发表于 <span title="2026-11-23 12:30:45">昨天&nbsp;12:30</span></em>'
            f'<div class="t_fsz"><table><tr><td class="t_f" id="postmessage_{pid}">{words}</td></tr></table></div></td></tr></table></div>'
        )

    first = (
        f'<i class="pstatus"> 本帖最后由 泉边散步的人{tid} 于 2026-11-23 13:00 编辑 </i><br />楼道漏水已经一周，物业没有人来修。'
        '<font class="jammer">o0 Xk9</font><br /><ignore_js_op><img src="static/image/common/none.gif" file="data/attachment/1.jpg" /><div class="tip">下载附件</div></ignore_js_op>'
        f'<div class="locked">游客，您需要登录后才可以查看附件</div>请社区协调，第{tid}帖。<span style="display:none">复制于论坛</span>'
    )
    posts = post(tid * 10, f"泉边散步的人{tid}", first) + post(tid * 10 + 1, "楼上", "同样的问题")
    return shell(
        f'<h1 class="ts"><span id="thread_subject">楼道漏水第{tid}帖</span></h1><div id="postlist">{posts}</div>'
    )


def message(words: str, kind: str = "alert_info") -> bytes:
    form = '<form id="loginform_L1"><input name="username" />安全提问 <input name="seccode" />验证码</form>'
    return shell(
        f'<div class="nfl"><div class="f_c"><div id="messagetext" class="{kind}"><p>{words}</p></div>{form}</div></div>'
    )


CHECK = (
    "<html><head><meta charset='utf-8'><title>安全验证</title></head><body><script>var a='x';window.location.href='/forum.php?mod=forumdisplay&fid=2&_dsign=1f2e3d4c';"
    "</script><noscript>请开启JavaScript并刷新该页</noscript></body></html>"
).encode()


def forum(site: Site, *tids: int, path: str = LIST) -> None:
    headers = {"Set-Cookie": "pPq8_2132_sid=Ab3Xy9; path=/", "X-Powered-By": "PHP/5.6"}
    site.page(path, x_list(*tids), kind=GBK, headers=headers)
    for tid in tids:
        site.page(f"/forum.php?mod=viewthread&tid={tid}", x_thread(tid), kind=GBK)


def board(site: Site, path: str = LIST, **more: object) -> DiscuzSource:
    found = source("bbs", "discuz", site.url + path, reason="该论坛没有订阅源", **more)
    assert isinstance(found, DiscuzSource)
    return found


def posts(db: Database) -> dict[str, Post]:
    with db.reading() as session:
        found = {post.external_id: post for post in session.scalars(select(Post))}
        session.expunge_all()
    return found


def told(db: Database, place: DiscuzSource, hours: int = 0) -> tuple[str, str]:
    (one,) = crawl(db, place, now=NOW + timedelta(hours=hours), block_pause_h=6).sources
    return one.state, one.evidence


def test_a_board_gives_the_first_post_of_each_new_thread(db: Database) -> None:
    with Site() as site:
        forum(site, 103, 102, 101)
        assert told(db, board(site)) == ("ok", "3 entries, 3 new posts")
        post = posts(db)["103"]
        assert post.title == "楼道漏水第103帖"
        assert post.text == "楼道漏水已经一周，物业没有人来修。\n请社区协调，第103帖。"
        assert post.published_at == datetime(2026, 11, 23, 4, 30, 45, tzinfo=UTC)
        assert post.url == f"{site.url}/forum.php?mod=viewthread&tid=103"
        assert post.engagement == {"comments": 14, "views": 230}
        assert post.author_key is not None
        assert post.provenance["charset"] == "gb18030"
        assert "泉边散步" not in repr([vars(one) for one in posts(db).values()])
        assert not any("cookie" in hit.headers for hit in site.log())

        forum(site, 104, 103, 102, 101)
        assert told(db, board(site), 1) == ("ok", "4 entries, 1 new posts")
        assert site.hits("/forum.php?mod=viewthread&tid=103") == 1
        assert site.hits("/forum.php?mod=viewthread&tid=1") == 0  # pinned: the board's own rules


def test_pages_are_turned_until_one_holds_nothing_new_in_both_spellings_of_addresses(db: Database) -> None:
    with Site() as site:
        forum(site, 9, 8, path="/forum-2-1.html")
        forum(site, 7, 6, path="/forum-2-2.html")
        forum(site, 5, 4, path="/forum-2-3.html")
        assert told(db, board(site, "/forum-2-1.html", max_pages=2))[1] == "4 entries, 4 new posts"
        forum(site, 10, 9, path="/forum-2-1.html")
        told(db, board(site, "/forum-2-1.html", max_pages=3), 1)
        assert site.hits("/forum-2-2.html") == 2
        assert site.hits("/forum-2-3.html") == 0
        forum(site, 3, path=LIST)
        forum(site, 2, path=LIST + "&page=2")
        told(db, board(site, LIST, max_pages=2), 2)
        assert {"2", "3"} <= set(posts(db))


def test_discuz_7_markup_in_gb18030_that_calls_itself_gbk(db: Database) -> None:
    with Site() as site:
        row = (
            '<tbody id="normalthread_1747"><tr><td class="folder"><a href="viewthread.php?tid=1747&extra=page%3D1&sid=A608M0" title="新窗口打开"><img src="f.gif" /></a></td>'
            '<th class="subject new"><label> </label><span id="thread_1747"><a href="viewthread.php?tid=1747&extra=page%3D1&sid=A608M0">小区垃圾𠮷没人清</a></span></th>'
            '<td class="author"><cite><a href="space.php?uid=6">老住户阿明哥</a></cite><em>2026-11-22</em></td><td class="nums"><strong>3</strong>/<em>41</em></td></tr></tbody>'
        )
        thread = (
            '<div id="postlist"><div id="post_9"><table><tr><td class="postauthor"><div class="postinfo"><a href="space.php?uid=6">老住户阿明哥</a></div></td>'
            '<td class="postcontent"><div class="authorinfo"><em id="authorposton9">发表于 2026-11-22 08:05</em></div>'
            '<div class="t_msgfontfix"><table><tr><td class="t_msgfont" id="postmessage_9">垃圾堆了十天，气味很大。</td></tr></table></div></td></tr></table></div></div>'
        )
        site.page(
            "/forumdisplay.php?fid=2",
            shell(f'<form><table class="datatable">{row}</table></form>', generator="Discuz! 7.2"),
            kind="text/html",
        )
        site.page("/viewthread.php?tid=1747", shell(thread, generator="Discuz! 7.2"), kind="text/html")
        assert told(db, board(site, "/forumdisplay.php?fid=2"))[0] == "ok"
        post = posts(db)["1747"]
        assert (post.title, post.text) == ("小区垃圾𠮷没人清", "垃圾堆了十天，气味很大。")
        assert post.published_at == datetime(2026, 11, 22, 0, 5, tzinfo=UTC)
        assert post.engagement == {"comments": 3, "views": 41}


def test_the_feed_of_a_board_leads_to_the_same_threads(db: Database) -> None:
    with Site() as site:
        forum(site, 103, 102)
        entries = [
            {"title": f"楼道漏水第{tid}帖", "link": f"{site.url}/forum.php?mod=viewthread&tid={tid}", "date": "Mon, 23 Nov 2026 04:30:45 +0000", "text": "楼道漏水已经一周 ...", "author": "泉边散步的人"}
            for tid in (104, 103, 102)
        ]  # fmt: skip
        entries.append({"title": "广告", "link": "https://ads.example.com/1"})
        site.page("/forum.php?mod=rss&fid=2&auth=0", rss(entries, encoding="gbk"), kind="application/xml")
        site.page("/forum.php?mod=viewthread&tid=104", x_thread(104), kind=GBK)
        told(db, board(site))
        assert told(db, board(site, "/forum.php?mod=rss&fid=2&auth=0"), 1) == (
            "ok",
            "3 entries, 1 new posts, 1 set aside",
        )
        assert "物业没有人来修" in posts(db)["104"].text


@pytest.mark.parametrize("path", [LIST, "/forum.php?mod=rss&fid=2"])
def test_without_threads_a_board_costs_one_request(db: Database, path: str) -> None:
    with Site() as site:
        forum(site, 103, 102)
        feed = [{"title": "楼道漏水第103帖", "link": f"{site.url}/thread-103-1-1.html", "text": "漏水一周"}]
        site.feed("/forum.php?mod=rss&fid=2", feed)
        crawl(db, board(site, path, threads=False))
        assert {hit.path for hit in site.log()} == {"/robots.txt", path}
        assert posts(db)["103"].text == ("楼道漏水第103帖" if path == LIST else "漏水一周")


@pytest.mark.parametrize("path", [LIST, "/forum.php?mod=rss&fid=2"])
@pytest.mark.parametrize(
    ("page", "state", "words"),
    [
        (message("抱歉，您需要登录才能继续本操作"), "login", "for members only: it says “抱歉，您需要登录"),
        (message("您所在的用户组(游客)无法进行此操作"), "login", "for members only"),
        (message("抱歉，您没有权限访问该版块"), "login", "for members only"),
        (CHECK, "blocked", "check of the browser (“安全验证”)"),
        (b"<html><script>location='/forum.php?mod=x&_dsign=1f2e'</script></html>", "blocked", "check of the browser (“_dsign=”)"),
        (shell("<div id='app'></div>"), "changed", "instead of a"),
    ],
)  # fmt: skip
def test_walls_are_a_problem_of_the_source_and_never_an_empty_success(
    db: Database, path: str, page: bytes, state: str, words: str
) -> None:
    with Site() as site:
        site.page(path, page, kind="text/html")
        found = told(db, board(site, path))
        assert (found[0], words in found[1]) == (state, True), found
        if state == "blocked" and "instead of a" in found[1]:
            assert crawl(db, board(site, path), now=NOW + timedelta(hours=5), block_pause_h=6).sources == ()


def test_an_empty_board_and_a_wrong_number_are_told_apart(db: Database) -> None:
    with Site() as site:
        site.page(
            LIST,
            shell('<div id="threadlist"><p class="emp">本版块或指定的范围内尚无主题</p></div>'),
            kind=GBK,
        )
        assert told(db, board(site))[0] == "empty"
        site.page(LIST, message("抱歉，指定的版块不存在", "alert_error"), kind=GBK)
        found = told(db, board(site), 1)
        assert found[0] == "changed"
        assert "check the board's number" in found[1]


def test_a_thread_for_members_costs_the_thread_and_all_of_them_close_the_board(db: Database) -> None:
    wall = message("本帖要求阅读权限高于 10 才能浏览，您需要登录")
    with Site() as site:
        forum(site, 105, 104, 103)
        site.page("/forum.php?mod=viewthread&tid=104", wall, kind=GBK)
        site.page(
            "/forum.php?mod=viewthread&tid=103",
            message("抱歉，指定的主题不存在或已被删除或正在被审核", "alert_error"),
            kind=GBK,
        )
        assert told(db, board(site)) == ("ok", "3 entries, 1 new posts; 1 pages failed and are asked again")
        forum(site, *range(220, 200, -1))
        for tid in range(201, 221):
            site.page(f"/forum.php?mod=viewthread&tid={tid}", wall, kind=GBK)
        before = site.hits()
        found = told(db, board(site), 1)
        assert found[0] == "login"
        assert "阅读权限" in found[1]
        # the list, three threads, and what was under way by then: the rest is not asked for
        assert 4 <= site.hits() - before <= 6
        assert set(posts(db)) == {"105"}


def test_a_check_of_the_browser_in_the_middle_ends_the_reading(db: Database) -> None:
    with Site() as site:
        tids = range(130, 110, -1)
        forum(site, *tids)
        site.page("/forum.php?mod=viewthread&tid=129", CHECK, kind="text/html")
        found = told(db, board(site))
        assert found[0] == "blocked"
        assert "new posts before that" in found[1]
        assert sum(site.hits(f"/forum.php?mod=viewthread&tid={tid}") for tid in tids) <= 4
        forum(site, *tids)
        assert told(db, board(site), 7)[0] == "ok"
        assert len(posts(db)) == 20


def test_rows_that_name_no_thread_are_set_aside(db: Database) -> None:
    with Site() as site:
        forum(site, 7)
        odd = (
            '<tbody id="normalthread_8"><tr><th><a class="s xst" href="forum.php?mod=viewthread&tid=8"></a></th></tr></tbody>'
            + x_row(9, link="https://other.example.com/thread-9-1-1.html")
        )
        site.page(LIST, shell(f'<div id="threadlist"><table>{x_row(7)}{odd}</table></div>'), kind=GBK)
        assert told(db, board(site)) == ("ok", "1 entries, 1 new posts, 2 set aside")
        with db.reading() as session:
            reasons = sorted(aside.reason for aside in list_quarantine(session))
        assert reasons == [
            "the row names no thread",
            "the thread leads to other.example.com, which is not in allow_hosts",
        ]


@pytest.mark.parametrize(
    ("markup", "expected"),
    [
        ('<em><span title="2026-11-23">昨天&nbsp;12:30</span></em>', "2026-11-23 12:30"),
        (
            '<em><span class="xi1"><span title="2026-11-23 12:30">昨天&nbsp;12:30</span></span></em>',
            "2026-11-23 12:30",
        ),
        ('<em>发表于 <span title="2026-11-21 07:08:09">3&nbsp;天前</span></em>', "2026-11-21 07:08:09"),
        ('<em><span title="2026-11-21">3&nbsp;天前</span></em>', "2026-11-21"),
        ('<em><span title="2026-11-24">半小时前</span></em>', "半小时前"),
        ("<em>2015-11-14</em>", "2015-11-14"),
        ("<em>发表于 2026-11-20 08:11:12</em>", "发表于 2026-11-20 08:11:12"),
    ],
)
def test_the_true_day_in_the_title_meets_the_clock_in_the_text(markup: str, expected: str) -> None:
    assert shown_time(fragment_fromstring(markup)) == expected


def test_a_thread_has_one_address(db: Database) -> None:
    assert (
        thread_url("http://a.cn/forum.php?mod=viewthread&tid=5&extra=page%3D2&sid=x#lastpost")
        == "http://a.cn/forum.php?mod=viewthread&tid=5"
    )
    assert thread_url("http://a.cn/thread-5-1-2.html?sid=x") == "http://a.cn/thread-5-1-2.html"


def test_a_refusal_by_status_is_respected(db: Database) -> None:
    with Site() as site:
        site.on(LIST, Answer(429, b"slow down", {"Retry-After": "600"}))
        found = told(db, board(site))
        assert found[0] == "blocked"
        assert "it asks for 10 min" in found[1]
