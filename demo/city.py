"""What happens in the invented city, and its four public sites as text: a forum's feed, a message board's JSON API,
a newspaper's column pages and a neighbourhood site's sitemap. Pure: the caller says what time it is.

The posts stand in day.yaml; names of districts and streets are real, everything else is invented.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from email.utils import format_datetime
from html import escape
from importlib.resources import files
from zoneinfo import ZoneInfo

import yaml

from config.sources import ColumnSource, JsonSource, Pagination, RssSource, SitemapSource, Source

ZONE = ZoneInfo("Asia/Shanghai")
CHANNELS = ("forum", "board", "news", "community")
#: posts that one answer of feed and column page holds: more than any two hours of the day bring
WINDOW = 60
PAGE = 40
#: a title of the board begins with its district, which its API gives in a field of its own
_PLACE = re.compile(r"^【(..[区县])】")


@dataclass(frozen=True)
class CityPost:
    """One invented post. `matter` names what it is about, for tests; the product never sees it."""

    number: int
    at: datetime
    channel: str
    author: str
    matter: str
    title: str
    text: str
    place: str = ""

    @property
    def path(self) -> str:
        """Path of its own page on the city's site."""
        return f"/{self.channel}/{self.number}.html"


def load_day(day: date) -> tuple[CityPost, ...]:
    """The posts of the invented day, moved to `day`, in order of time; numbers begin with 1."""
    rows = yaml.safe_load(files("demo").joinpath("day.yaml").read_text("utf-8"))["posts"]
    dated = sorted(
        (datetime.combine(day, time.fromisoformat(row[0]), ZONE), index, row)
        for index, row in enumerate(rows)
    )
    posts = []
    for number, (at, _, (_, channel, author, matter, title, text)) in enumerate(dated, start=1):
        place = _PLACE.match(title)
        plain = title.removeprefix(place[0]) if place else title
        posts.append(CityPost(number, at, channel, author, matter, plain, text, place[1] if place else ""))
    return tuple(posts)


def sources(base: str, *, every_min: float = 5) -> tuple[Source, ...]:
    """The four sources of the city as an operator would write them; `base` is the site's address."""
    common = {
        "enabled": True,
        "every_min": every_min,
        "legal_basis": "演示：虚构的公开信息",
        "impact_note": "演示：本机回环地址，每次一至数页",
        "owner_unit": "演示单位",
    }
    return (
        RssSource(id="forum", kind="rss", name="泉边论坛", url=f"{base}/forum/feed.xml", **common),
        JsonSource(
            id="board",
            kind="json",
            name="市民留言板",
            way="message_board",
            url=f"{base}/board/posts.json?page={{page}}",
            items="posts",
            fields={
                "id": "id",
                "url": "url",
                "title": "title",
                "text": "text",
                "published_at": "published_at",
                "author": "author",
                "place": "place",
                "likes": "likes",
            },
            pagination=Pagination(kind="page", start=1, size=PAGE, max_pages=5),
            **common,
        ),
        ColumnSource(
            id="news",
            kind="column",
            name="泉畔日报",
            url=f"{base}/news/",
            link_pattern=r"/news/\d+\.html$",
            list_selector="ul.list",
            text_selector="div.article-body",
            title_selector="h1",
            date_selector="time",
            **common,
        ),
        SitemapSource(
            id="community",
            kind="sitemap",
            name="邻里社区网",
            url=f"{base}/sitemap.xml",
            link_pattern=r"/community/\d+\.html$",
            **common,
        ),
    )


def visible(posts: Sequence[CityPost], channel: str, now: datetime) -> list[CityPost]:
    """The posts of a channel that are out at `now`, newest first."""
    return [post for post in reversed(posts) if post.channel == channel and post.at <= now]


def feed(posts: Sequence[CityPost], base: str, now: datetime) -> str:
    """The forum's RSS feed."""
    items = "".join(
        f"<item><title>{escape(post.title)}</title><link>{base}{post.path}</link>"
        f'<guid isPermaLink="false">forum-{post.number}</guid>'
        f"<dc:creator>{escape(post.author)}</dc:creator>"
        f"<pubDate>{format_datetime(post.at)}</pubDate>"
        f"<description>{escape(post.text)}</description></item>"
        for post in visible(posts, "forum", now)[:WINDOW]
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel>'
        f"<title>泉边论坛</title><link>{base}/forum/</link><description>虚构的论坛</description>"
        f"{items}</channel></rss>"
    )


def board(posts: Sequence[CityPost], base: str, now: datetime, page: int) -> str:
    """One page of the message board's JSON API, newest first."""
    shown = visible(posts, "board", now)[(page - 1) * PAGE : page * PAGE]
    return json.dumps(
        {
            "posts": [
                {
                    "id": f"board-{post.number}",
                    "url": f"{base}{post.path}",
                    "title": post.title,
                    "text": post.text,
                    "published_at": post.at.isoformat(),
                    "author": post.author,
                    "place": post.place,
                    "likes": min(int((now - post.at) / timedelta(minutes=20)), 40),
                }
                for post in shown
            ]
        },
        ensure_ascii=False,
    )


def column(posts: Sequence[CityPost], now: datetime) -> str:
    """The newspaper's column page: a list of links."""
    items = "".join(
        f'<li><a href="{post.path}">{escape(post.title)}</a><span>{post.at:%m-%d %H:%M}</span></li>'
        for post in visible(posts, "news", now)[:WINDOW]
    )
    return _page("泉畔日报 · 要闻", f'<ul class="list">{items}</ul>')


def sitemap(posts: Sequence[CityPost], base: str, now: datetime) -> str:
    """The neighbourhood site's sitemap."""
    urls = "".join(
        f"<url><loc>{base}{post.path}</loc><lastmod>{post.at.isoformat()}</lastmod></url>"
        for post in visible(posts, "community", now)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{urls}</urlset>'
    )


def article(posts: Sequence[CityPost], number: int, now: datetime) -> str | None:
    """The page of one post, None while it is not out."""
    if not 1 <= number <= len(posts) or posts[number - 1].at > now:
        return None
    post = posts[number - 1]
    return _page(
        post.title,
        f"<article><h1>{escape(post.title)}</h1>"
        f'<p class="meta"><span class="author">{escape(post.author)}</span> 发布时间：'
        f'<time datetime="{post.at.isoformat()}">{post.at:%Y-%m-%d %H:%M}</time></p>'
        f'<div class="article-body"><p>{escape(post.text)}</p></div></article>',
        published=post.at,
    )


def front(now: datetime) -> str:
    """The city's front page, for people who look at it in a browser."""
    links = "".join(
        f'<li><a href="{path}">{name}</a></li>'
        for path, name in (
            ("/forum/feed.xml", "泉边论坛（RSS）"),
            ("/board/posts.json", "市民留言板（JSON）"),
            ("/news/", "泉畔日报（栏目页）"),
            ("/sitemap.xml", "邻里社区网（站点地图）"),
        )
    )
    return _page(
        "虚构的泉城",
        f"<h1>虚构的泉城</h1><p>此城此刻：{now.astimezone(ZONE):%Y-%m-%d %H:%M}</p><ul>{links}</ul>",
    )


def _page(title: str, body: str, published: datetime | None = None) -> str:
    meta = (
        f'<meta property="article:published_time" content="{published.isoformat()}">'
        if published is not None
        else ""
    )
    return (
        f'<!doctype html><html lang="zh-CN"><head><meta charset="utf-8"><title>{escape(title)}</title>{meta}</head>'
        f'<body><header><a href="/">虚构的泉城</a></header><main>{body}</main>'
        "<footer>本页内容均为虚构，仅供演示。</footer></body></html>"
    )
