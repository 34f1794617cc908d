"""Discuz! and Hanweb as real servers send them: GBK that nobody declares, gzip, chunks, session cookies, sessions in addresses.

The pages are invented; headers and encodings are those of the captured sites (nginx with PHP 5, Tomcat behind nginx).
"""

from __future__ import annotations

import gzip
from datetime import timedelta

import pytest
from sqlalchemy import select

from incidents.models import Post
from incidents.session import Database
from tests.fakes.crawl import NOW, crawl, source
from tests.fakes.site import Answer, Hit, Site

PHP = {
    "Server": "nginx/1.14.0",
    "X-Powered-By": "PHP/5.6.40",
    "Set-Cookie": "pPq8_2132_saltkey=Ab3Xy9; expires=Thu, 24-Dec-2026 02:00:00 GMT; Max-Age=2592000; path=/; httponly",
    "Cache-Control": "private, max-age=0",
    "Pragma": "no-cache",
    "Vary": "Accept-Encoding",
}
TOMCAT = {
    "Server": "Apache-Coyote/1.1",
    "Set-Cookie": "JSESSIONID=2C1F0A9E; Path=/; HttpOnly",
    "X-Frame-Options": "SAMEORIGIN",
    "Vary": "Accept-Encoding",
}


def packed(text: str, headers: dict[str, str], charset: str, kind: str = "text/html") -> Answer:
    """As the servers answer: gzip, and a Content-Type that names no charset."""
    body = gzip.compress(text.encode(charset))
    return Answer(200, body, {**headers, "Content-Type": kind, "Content-Encoding": "gzip"})


def stored(db: Database) -> dict[str, Post]:
    with db.reading() as session:
        found = {post.title: post for post in session.scalars(select(Post))}
        session.expunge_all()
    return found


@pytest.mark.parametrize("declared", ["", '<meta charset="gbk">', '<meta charset="utf-8">'])
def test_a_discuz_board_in_gbk_that_nobody_or_a_wrong_word_declares(db: Database, declared: str) -> None:
    head = f"<html><head>{declared}<title>民生版</title></head><body>"
    rows = "".join(
        f'<tbody id="normalthread_{tid}"><tr><th><a href="thread-{tid}-1-1.html?sid=Ab3Xy9" class="s xst">楼道漏水第{tid}帖㙍</a></th>'
        f'<td class="by"><cite><a href="space-uid-7.html">散步的人</a></cite><em><span>2026-11-23</span></em></td>'
        f'<td class="num"><a class="xi2">3</a><em>20</em></td></tr></tbody>'
        for tid in (11, 12)
    )
    with Site() as site:
        site.on("/forum-2-1.html", packed(f"{head}<table>{rows}</table></body></html>", PHP, "gb18030"))
        for tid in (11, 12):
            thread = (
                f'{head}<h1><span id="thread_subject">楼道漏水第{tid}帖㙍</span></h1><div id="postlist"><div id="post_1">'
                f'<em id="authorposton1">发表于 <span title="2026-11-23 12:30:45">昨天&nbsp;12:30</span></em>'
                f'<div id="postmessage_1">楼道漏水已经一周，物业没有人来修，第{tid}帖。</div></div></div></body></html>'
            )
            site.on(f"/thread-{tid}-1-1.html", packed(thread, PHP, "gb18030"))
        (told,) = crawl(db, source("bbs", "discuz", f"{site.url}/forum-2-1.html", reason="无订阅源")).sources
        assert (told.state, told.new_posts) == ("ok", 2), told.evidence
        found = stored(db)
        assert set(found) == {
            "楼道漏水第11帖㙍",
            "楼道漏水第12帖㙍",
        }  # the last character is outside GBK: only GB18030 has it
        post = found["楼道漏水第11帖㙍"]
        assert post.text == "楼道漏水已经一周，物业没有人来修，第11帖。"
        assert (post.url, post.provenance["charset"]) == (f"{site.url}/thread-11-1-1.html", "gb18030")
        assert not any("cookie" in hit.headers for hit in site.log())
        assert all("gzip" in hit.headers["accept-encoding"] for hit in site.log())


def test_a_jpage_column_by_post_in_gbk_behind_gzip_with_a_session_in_its_addresses(db: Database) -> None:
    path = "/module/web/jpage/dataproxy.jsp"
    rows = "".join(
        f'<record><![CDATA[<li><a href="/art/2026/11/{day}/art_85285_{4800 + day}.html;jsessionid=2C1F0A9E" title="关于第{day}号路段停水的通知">关于第{day}号…</a><span>2026-11-{day}</span></li>]]></record>'
        for day in (23, 22)
    )
    forms: list[str] = []

    def proxy(hit: Hit) -> Answer:
        forms.append(f"{hit.method} {hit.body.decode('ascii')}")
        answer = f"<datastore><nextgroup><![CDATA[]]></nextgroup><totalrecord>2</totalrecord><totalpage>1</totalpage><recordset>{rows}</recordset></datastore>"
        return packed(answer, TOMCAT, "gbk", "text/xml")

    with Site() as site:
        site.on(f"{path}?startrecord=1&endrecord=45&perpage=15", proxy)
        for day in (23, 22):
            page = (
                f'<html><head><meta name="ArticleTitle" content="关于第{day}号路段停水的通知"><meta name="PubDate" content="2026-11-{day} 09:05">'
                f'<meta name="ContentSource" content="某市供水管理处"></head><body><div id="zoom"><p>因管网检修，自八时起停水，请储水备用，不便之处敬请谅解。</p><p>第{day}号路段。</p></div></body></html>'
            )
            site.on(f"/art/2026/11/{day}/art_85285_{4800 + day}.html", packed(page, TOMCAT, "gbk"))
        place = source(
            "col", "hanweb", f"{site.url}/col/col85285/index.html", webid=1, columnid=85285, unitid=564862
        )
        (told,) = crawl(db, place).sources
        assert (told.state, told.new_posts) == ("ok", 2), told.evidence
        assert forms[0].startswith("POST ")
        assert "&columnid=85285&" in forms[0]
        post = stored(db)["关于第23号路段停水的通知"]
        assert post.text.endswith("第23号路段。")
        assert (post.provenance["publisher"], post.provenance["charset"]) == ("某市供水管理处", "gb18030")
        assert post.url == f"{site.url}/art/2026/11/23/art_85285_4823.html"
        assert not any("cookie" in hit.headers for hit in site.log())
        assert crawl(db, place, now=NOW + timedelta(hours=1)).new_posts == 0
