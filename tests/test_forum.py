"""Forums of any make by CSS selectors: threads, replies, later replies, long threads, walls and wrong selectors."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import select

from config.sources import ForumSource
from incidents.models import Post
from incidents.session import Database
from tests.fakes.crawl import NOW, crawl, source
from tests.fakes.site import Answer, Hit, Site


@dataclass
class Forum:
    """An invented forum: threads (newest activity first) with their posts, `size` of them on a page."""

    site: Site
    size: int = 3
    charset: str = "gb18030"
    threads: dict[str, list[str]] = field(default_factory=dict)

    def publish(self) -> None:
        rows = "".join(
            f'<div class="row"><a href="/t/{name}?sid=abc">{name}号楼停水</a><b class="n">{len(posts)}</b></div>'
            for name, posts in self.threads.items()
        )
        self.site.page("/list", self.page(rows), kind="text/html")
        for name, posts in self.threads.items():
            for number in range(0, len(posts), self.size):
                there = posts[number : number + self.size]
                later = f"/t/{name}?p={number // self.size + 2}"
                link = (
                    f'<a class="next" href="{later}#bottom">下一页</a>' if posts[number + self.size :] else ""
                )
                path = f"/t/{name}" + (f"?p={number // self.size + 1}" if number else "")
                self.site.page(path, self.page("".join(there) + link), kind="text/html")

    def page(self, body: str) -> bytes:
        head = '<html><head><meta charset="gbk"><title>论坛</title></head>'
        return f"{head}<body><a href='/about'>关于</a>{body}</body></html>".encode(self.charset)


def post(key: int, words: str, *, who: str = "泉水", when: str = "2026-11-24 09:00") -> str:
    return (
        f'<div class="post" id="p{key}"><i class="who">{who}{key}</i><time title="{when}">刚刚</time>'
        f'<div class="words"><blockquote>引用别人的话</blockquote>{words}</div></div>'
    )


def forum_source(site: Site, **more: Any) -> ForumSource:
    given = {
        "reason": "该论坛没有订阅源",
        "link_pattern": "/t/",
        "row_selector": ".row",
        "activity_selector": ".n",
        "post_selector": ".post",
        "post_text_selector": ".words",
        "post_author_selector": ".who",
        "post_date_selector": "time",
        "thread_next_selector": "a.next",
    }
    found = source("bbs", "forum", site.url + "/list", **{**given, **more})
    assert isinstance(found, ForumSource)
    return found


def stored(db: Database) -> list[Post]:
    with db.reading() as session:
        found = list(session.scalars(select(Post).order_by(Post.id)))
        session.expunge_all()
        return found


def test_every_post_is_kept_with_its_own_words_and_later_replies_are_found(db: Database) -> None:
    with Site() as site:
        forum = Forum(site)
        forum.threads = {
            "7": [post(n, f"我家第{n}天停水了") for n in range(1, 6)],
            "8": [post(1, "八号楼也停水"), '<div class="post" id="p2">该帖已被移动</div>'],
        }
        forum.publish()
        first = crawl(db, forum_source(site))
        assert [(s.state, s.evidence) for s in first.sources] == [("ok", "2 entries, 6 new posts")]
        found = stored(db)
        assert {post.text for post in found} == {f"我家第{n}天停水了" for n in range(1, 6)} | {"八号楼也停水"}
        opening = next(post for post in found if post.text == "我家第1天停水了")
        reply = next(post for post in found if post.text == "我家第5天停水了")
        assert (opening.title, opening.url) == ("7号楼停水", f"{site.url}/t/7")
        assert (reply.title, reply.url) == ("", f"{site.url}/t/7?p=2#p5")
        assert (reply.provenance["reply"], reply.provenance["charset"]) == (True, "gb18030")
        assert reply.published_at == NOW - timedelta(hours=1)
        assert len({post.author_key for post in found}) == 5  # 泉水1 wrote in both threads

        before = site.hits()
        assert crawl(db, forum_source(site), now=NOW + timedelta(hours=1)).new_posts == 0
        assert site.hits() - before == 1  # the list alone
        forum.threads["7"].append(post(6, "终于来水了", when="2026-11-24 11:30"))
        forum.publish()
        before = len(site.log())
        assert crawl(db, forum_source(site), now=NOW + timedelta(hours=2)).new_posts == 1
        assert [hit.path for hit in site.log()[before:]] == ["/list", "/t/7?p=2"]  # from its last page on


def test_a_thread_that_is_too_long_for_one_reading_goes_on_in_the_next(db: Database) -> None:
    with Site() as site:
        forum = Forum(site, size=2)
        forum.threads = {"7": [post(n, f"第{n}条") for n in range(1, 10)]}
        forum.publish()
        long = forum_source(site, thread_pages=2, activity_selector="", row_selector="")
        news = [crawl(db, long, now=NOW + timedelta(hours=n)).new_posts for n in range(4)]
        assert news == [4, 4, 1, 0]
        assert site.hits("/t/7") == 1


def test_a_reading_that_is_cut_short_loses_nothing(db: Database) -> None:
    with Site() as site:
        forum = Forum(site)
        forum.threads = {str(t): [post(t * 10 + n, f"{t}楼第{n}条") for n in range(4)] for t in range(5)}
        forum.publish()
        small = forum_source(site, max_items=6)
        news = [crawl(db, small, now=NOW + timedelta(hours=n)).new_posts for n in range(6)]
        assert (sum(news), max(news), news[-1]) == (20, 6, 0)
        assert len(stored(db)) == 20


def test_old_posts_and_unwanted_replies_are_left_alone(db: Database) -> None:
    with Site() as site:
        forum = Forum(site)
        forum.threads = {
            "1": [post(1, "老帖", when="2026-01-05 08:00"), post(2, "挖坟")],
            "2": [post(3, "新帖"), post(4, "回复")],
        }
        forum.publish()
        assert crawl(db, forum_source(site, replies=False)).new_posts == 1
        assert [post.text for post in stored(db)] == ["新帖"]


def test_replies_deleted_with_their_page_send_the_reading_back_to_the_first(db: Database) -> None:
    with Site() as site:
        forum = Forum(site)
        forum.threads = {"7": [post(n, f"第{n}条") for n in range(1, 5)]}
        forum.publish()
        assert crawl(db, forum_source(site)).new_posts == 4
        forum.threads = {"7": [*forum.threads["7"][:2], post(9, "新的一条")]}
        site.on("/t/7?p=2", Answer(404, b"", {}))
        forum.publish()
        before = len(site.log())
        assert crawl(db, forum_source(site), now=NOW + timedelta(hours=1)).new_posts == 1
        assert [hit.path for hit in site.log()[before:]] == ["/list", "/t/7?p=2", "/t/7"]
        assert {post.text for post in stored(db)} == {*(f"第{n}条" for n in range(1, 5)), "新的一条"}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"post_selector": ".gone"}, "post_selector '.gone' finds no post on 3 threads"),
        ({"post_selector": "div[["}, "is no CSS selector"),
        ({"activity_selector": ".gone"}, "new replies would be missed"),
        ({"link_pattern": "/thread/"}, "no link matches link_pattern"),
    ],
)
def test_a_wrong_selector_is_told_and_is_no_empty_forum(
    db: Database, changed: dict[str, str], words: str
) -> None:
    with Site() as site:
        forum = Forum(site)
        forum.threads = {str(n): [post(n, f"第{n}条")] for n in range(4)}
        forum.publish()
        (told,) = crawl(db, forum_source(site, **changed)).sources
        assert (told.state, words in told.evidence) == ("changed", True), told.evidence


def test_a_forum_for_members_only_is_told_as_such(db: Database) -> None:
    with Site() as site:
        forum = Forum(site)
        forum.threads = {"7": [post(1, "x")]}
        forum.publish()

        def login(hit: Hit) -> Answer:
            return Answer(302, b"", {"Location": "/login.php"})

        site.on("/t/7", login)
        site.page("/login.php", "<html><title>登录</title><input type=password></html>")
        (told,) = crawl(db, forum_source(site)).sources
        assert told.state == "login", told.evidence


def test_one_broken_thread_costs_no_other(db: Database) -> None:
    with Site() as site:
        forum = Forum(site)
        forum.threads = {"1": [post(1, "甲")], "2": [post(2, "乙")]}
        forum.publish()
        site.page("/t/1", "broken", status=500)
        assert crawl(db, forum_source(site), retries=0).new_posts == 1
        forum.publish()
        assert crawl(db, forum_source(site), now=NOW + timedelta(hours=1)).new_posts == 1


def test_the_entry_says_what_belongs_together() -> None:
    with Site() as site:
        with pytest.raises(ValidationError, match="belong together"):
            forum_source(site, activity_selector="")
        with pytest.raises(ValidationError, match="reason"):
            forum_source(site, reason="")
