"""Sources: which public pages are read, how, how often, on what legal ground and with what burden to the site."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import Field, field_validator, model_validator

from config.domains import IDS
from config.files import Record, parse, read_yaml, repeated

#: begins a field that somebody still has to fill in (written by `quansheng add-source`)
TODO = "待填写"
#: How a matter reaches the city; each way has clocks of its own (`ways` in the rule file).
WayIn = Literal[
    "public",
    "hotline",
    "business_hotline",
    "message_board",
    "correction",
    "market_hotline",
    "market_report",
    "petition",
]
#: words in an id or name that let one expect another way than `public`
_WAY_WORDS: tuple[tuple[str, WayIn], ...] = (
    ("12345", "hotline"),
    ("12315", "market_hotline"),
    ("纠错", "correction"),
    ("留言", "message_board"),
    ("liuyan", "message_board"),
    ("message-board", "message_board"),
    ("信访", "petition"),
    ("xinfang", "petition"),
)

#: Fields of a post that a JSON source may fill. `author` becomes a pseudonym before anything is stored.
POST_FIELDS = (
    "id",
    "url",
    "title",
    "text",
    "published_at",
    "author",
    "place",
    "likes",
    "comments",
    "reposts",
    "views",
)


def _http(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("expected an address that begins with http:// or https://")
    if parts.username or parts.password:
        raise ValueError("an address must not hold a login; this product reads public pages only")
    return url


def _regex(pattern: str | None) -> str | None:
    if pattern:
        try:
            re.compile(pattern)
        except re.error as exc:
            raise ValueError(f"expected a regular expression: {exc}") from exc
    return pattern


def _offset(value: str) -> str:
    if re.fullmatch(r"[+-]\d\d:\d\d", value):
        return value
    try:
        ZoneInfo(value)
    except (ValueError, KeyError, OSError) as exc:
        raise ValueError("expected an offset such as +08:00 or an IANA zone such as Asia/Shanghai") from exc
    return value


class CommonSource(Record):
    """What every source has."""

    id: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,59}$",
        description="Stable name in the database: lower case, digits, - and _.",
    )
    name: str = Field(min_length=1, max_length=80, description="Name for people.")
    url: str = Field(description="Where reading begins; http or https, public.")
    enabled: bool = Field(
        False, description="Whether it is read at all. Off by default: somebody has to decide."
    )
    tier: Literal["A", "B", "C"] = Field(
        "A",
        description="A: made to be read by programs (feed, sitemap, open API). B: public pages read politely. C: licensed or own data.",
    )
    reason: str = Field("", description="Why a tier B source is needed although no feed exists.")
    every_min: float = Field(
        30.0, ge=1, le=10080, description="Minutes between two readings; 30 finds a matter within the hour."
    )
    legal_basis: str = Field(
        min_length=1, description="Legal ground: 法定职责, 已公开信息 (个保法 13 条), contract."
    )
    impact_note: str = Field(
        min_length=1, description="Burden to the site: pages per reading, rate (网络数据安全管理条例 18 条)."
    )
    owner_unit: str = Field(min_length=1, description="Unit that answers for reading this source.")
    max_rate: float | None = Field(
        None, gt=0, le=5, description="Requests per second to this host at most; empty: crawl.delay_s."
    )
    max_items: int | None = Field(
        None, gt=0, le=100_000, description="Posts per reading at most; empty: crawl.max_items."
    )
    charset: str = Field(
        "", description="Encoding, if the site names a wrong one (gb18030); empty: found out."
    )
    timezone: str = Field("+08:00", description="Zone of dates that carry none.")
    way: WayIn = Field(
        "public",
        description="How its matters reach the city, which decides what clocks run: public posts, hotline (12345 work orders), business_hotline (营商环境 complaints by 12345), message_board (网民留言 of a government site), correction (纠错), market_hotline (12315 complaints), market_report (12315 reports), petition (信访).",
    )
    domain_hint: str = Field("", description="Domain its posts usually belong to; empty: none.")
    district_hint: str = Field("", description="District its posts usually speak of; empty: none.")
    allow_hosts: tuple[str, ...] = Field(
        (), description="Further hosts that its links may lead to; the url's own host is always allowed."
    )

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        return _http(value)

    @field_validator("timezone")
    @classmethod
    def _timezone(cls, value: str) -> str:
        return _offset(value)

    @field_validator("charset")
    @classmethod
    def _charset(cls, value: str) -> str:
        if value:
            try:
                "".encode(value)
            except LookupError as exc:
                raise ValueError("expected an encoding such as utf-8 or gb18030") from exc
        return value

    @field_validator("domain_hint")
    @classmethod
    def _domain(cls, value: str) -> str:
        if value and value not in IDS:
            raise ValueError(f"expected one of {', '.join(IDS)}, or nothing")
        return value

    @model_validator(mode="after")
    def _reason_of_tier_b(self) -> CommonSource:
        if self.tier == "B" and not self.reason:
            raise ValueError("a tier B source needs `reason`: why its pages are read although it has no feed")
        return self

    @model_validator(mode="after")
    def _papers_filled_in(self) -> CommonSource:
        blank = [
            name
            for name in ("legal_basis", "impact_note", "owner_unit", "reason")
            if str(getattr(self, name)).startswith(TODO)
        ]
        if self.enabled and blank:
            raise ValueError(f"fill in {', '.join(blank)} before the source is enabled")
        return self

    @property
    def host(self) -> str:
        """Host name of the start address, lower case: one crawl at a time for each."""
        return (urlsplit(self.url).hostname or "").lower()

    @property
    def hosts(self) -> frozenset[str]:
        """Every host that reading may touch."""
        return frozenset({self.host, *(host.lower() for host in self.allow_hosts)})


class _Paged(CommonSource):
    """A source whose posts are pages of their own."""

    text_selector: str = Field(
        "", description="CSS selector of a page's text; empty: the main text is found by itself."
    )
    title_selector: str = Field("", description="CSS selector of a page's title; empty: found by itself.")
    date_selector: str = Field("", description="CSS selector of a page's date; empty: found by itself.")
    render: Literal["", "browser"] = Field(
        "",
        description="browser: pages are built by a browser before they are read, because scripts make them (optional extra [browser]); a hundred times dearer, needs `render_reason`.",
    )
    render_reason: str = Field("", description="Why the pages cannot be read without a browser.")

    @model_validator(mode="after")
    def _reason_of_the_browser(self) -> _Paged:
        if self.render and not self.render_reason.strip():
            raise ValueError("render: browser needs `render_reason`: why no feed, sitemap or API will do")
        return self


class _Linked(_Paged):
    """A source that is a list of links to pages."""

    link_pattern: str = Field(
        "",
        description="Regular expression that the address of a post matches; empty: every link of an allowed host.",
    )

    @field_validator("link_pattern")
    @classmethod
    def _pattern(cls, value: str) -> str:
        return _regex(value) or ""


class RssSource(CommonSource):
    """An RSS or Atom feed."""

    kind: Literal["rss"] = Field(description="Names this kind.")
    full_text: bool = Field(
        False, description="Fetch each entry's page for its full text; off: the feed's own text."
    )
    max_pages: int = Field(
        1,
        gt=0,
        le=100,
        description="Pages of the feed per reading at most: further ones are asked for while a page holds new entries. The feed itself names the next page (RFC 5005), or `page_param` does.",
    )
    page_param: str = Field(
        "",
        pattern=r"^[A-Za-z][\w-]*$|^$",
        description="Query parameter that numbers the pages of a feed which names none: `paged` for WordPress.",
    )

    @model_validator(mode="after")
    def _pages(self) -> RssSource:
        if self.page_param and self.max_pages == 1:
            raise ValueError("page_param does nothing while max_pages is 1")
        return self


class SitemapSource(_Linked):
    """A sitemap or sitemap index; each matching page is fetched and its main text taken."""

    kind: Literal["sitemap"] = Field(description="Names this kind.")
    max_age_days: float = Field(
        7.0, gt=0, le=3650, description="Days: pages with an older lastmod are left alone."
    )


class ListedSource(_Linked):
    """A source that begins with list pages."""

    list_selector: str = Field("", description="CSS selector of the list; empty: the whole page.")
    next_selector: str = Field(
        "", description="CSS selector of the link to the next list page; empty: one page only."
    )
    max_pages: int = Field(1, gt=0, le=50, description="List pages per reading.")


class ColumnSource(ListedSource):
    """A column page (栏目页): a list of links to articles."""

    kind: Literal["column"] = Field(description="Names this kind.")


class ForumSource(ListedSource):
    """A forum of any make, by CSS selectors: `url` is its list of threads, and every post of a thread is a post of its own."""

    kind: Literal["forum"] = Field(description="Names this kind.")
    tier: Literal["A", "B", "C"] = Field(
        "B", description="B: public pages whose reading needs a recorded `reason`."
    )
    row_selector: str = Field("", description="CSS selector of one thread's row in the list.")
    activity_selector: str = Field(
        "",
        description="CSS selector, inside a row, of what changes with every reply: the number of replies or the exact time of the last one, never “3 分钟前”. Empty: a thread is read once.",
    )
    post_selector: str = Field(min_length=1, description="CSS selector of one post on a thread's page.")
    post_key: str = Field(
        "id",
        pattern=r"^[A-Za-z][\w:-]*$",
        description="Attribute of the post's element that holds its lasting key.",
    )
    post_text_selector: str = Field(
        "", description="CSS selector of the words inside a post; empty: the whole post."
    )
    post_drop_selector: str = Field(
        "blockquote, .quote, .signature, .sign",
        description="CSS selector of what stands inside a post and is not its author's word: quotations, signatures.",
    )
    post_author_selector: str = Field(
        "", description="CSS selector of the author's name inside a post; it becomes a pseudonym."
    )
    post_date_selector: str = Field(
        "",
        description="CSS selector of the date inside a post; the attributes datetime and title go before its text.",
    )
    thread_next_selector: str = Field(
        "", description="CSS selector of the link to the next page of a thread; empty: one page only."
    )
    thread_pages: int = Field(5, gt=0, le=100, description="Pages of one thread per reading at most.")
    replies: bool = Field(True, description="Whether replies are posts too; off: only what opens a thread.")
    max_age_days: float = Field(30.0, gt=0, le=3650, description="Days: older posts are left alone.")

    @model_validator(mode="after")
    def _row_and_activity(self) -> ForumSource:
        if bool(self.row_selector) != bool(self.activity_selector):
            raise ValueError("row_selector and activity_selector belong together: name both or neither")
        return self


class HanwebSource(_Paged):
    """A column of a government site made with Hanweb (大汉 jpage): its list comes in windows of three pages."""

    kind: Literal["hanweb"] = Field(description="Names this kind.")
    webid: int | None = Field(
        None, gt=0, description="Number of the site; empty: read from the list page at `url`."
    )
    columnid: int | None = Field(
        None, gt=0, description="Number of the column; empty: read from the list page at `url`."
    )
    unitid: int | None = Field(
        None, gt=0, description="Number of the list on the page; empty: read from the list page at `url`."
    )
    proxy: str = Field(
        "",
        pattern=r"^(/\S*\.jsp)?$",
        description="Path of dataproxy.jsp; empty: read from the list page, else /module/web/jpage/dataproxy.jsp.",
    )
    method: Literal["GET", "POST"] = Field(
        "POST", description="How the list is asked for; older sites know GET only."
    )
    per_page: int | None = Field(
        None,
        gt=0,
        le=200,
        description="Rows of one page as the site shows them; a window has three times as many. Empty: read from the list page, else 15.",
    )
    max_windows: int = Field(2, gt=0, le=50, description="Windows of three pages per reading at most.")


class LiuyanSource(CommonSource):
    """人民网领导留言板: messages of citizens to leaders. Its list is made for the site's own pages, hence tier B."""

    kind: Literal["liuyan"] = Field(description="Names this kind.")
    url: str = Field(
        "https://liuyan.people.com.cn/pro-dfbbs-front/threads/queryThreadsList",
        description="Address of the list of messages.",
    )
    tier: Literal["A", "B", "C"] = Field(
        "B", description="B: public pages whose reading needs a recorded `reason`."
    )
    way: WayIn = Field("message_board", description="Messages to leaders: the clocks of 网民留言 run.")
    fids: tuple[Annotated[int, Field(gt=0)], ...] = Field(
        min_length=1,
        max_length=100,
        description="Numbers of the forums (leaders and places), as in the address /forum/list?fid=.",
    )
    page_size: int = Field(20, gt=0, le=50, description="Messages of one page.")
    max_pages: int = Field(3, gt=0, le=50, description="Pages of each forum per reading at most.")
    answers_days: float = Field(
        30.0,
        ge=0,
        le=365,
        description="Days: once a day the list is read down to messages of this age, for answers given later; 0: only the pages with news are looked at.",
    )
    answers_pages: int = Field(
        20, gt=0, le=200, description="Pages of each forum in that daily look at most."
    )

    @field_validator("fids")
    @classmethod
    def _once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if twice := repeated([str(fid) for fid in value]):
            raise ValueError(f"the forum stands here twice: {', '.join(twice)}")
        return value


class DiscuzSource(CommonSource):
    """A board of a Discuz! forum (X or 7.x): `url` is its list of threads (mod=forumdisplay, forum-2-1.html) or its feed (mod=rss)."""

    kind: Literal["discuz"] = Field(description="Names this kind.")
    tier: Literal["A", "B", "C"] = Field(
        "B", description="B: public pages whose reading needs a recorded `reason`; A fits a feed."
    )
    threads: bool = Field(
        True,
        description="Fetch each new thread for its first post; off: the title of a list, the summary of a feed.",
    )
    max_pages: int = Field(1, gt=0, le=50, description="List pages per reading at most.")


class Pagination(Record):
    """How a JSON API turns pages. The url template holds {page}, {offset} or {cursor} where it goes."""

    kind: Literal["none", "page", "offset", "cursor", "link", "next"] = Field(
        "none",
        description="none, page number, offset, cursor in the answer, Link header, or next: the next page's address in the answer.",
    )
    start: int = Field(1, ge=0, description="First page number or offset.")
    size: int = Field(
        100, gt=0, le=1000, description="Entries per page; fills {size} and is the step of an offset."
    )
    cursor: str = Field(
        "",
        description="JMESPath of the next cursor (kind cursor) or of the next page's address (kind next); an empty answer ends the reading.",
    )
    max_pages: int = Field(10, gt=0, le=1000, description="Pages per reading at most.")

    @model_validator(mode="after")
    def _cursor_named(self) -> Pagination:
        if self.kind in ("cursor", "next") and not self.cursor:
            raise ValueError(f"pagination by {self.kind} needs `cursor`, a JMESPath into the answer")
        return self


class JsonSource(CommonSource):
    """A JSON API over HTTP. `{since}`, `{until}`, `{page}`, `{offset}`, `{cursor}` and `{size}` in url and body are filled in."""

    kind: Literal["json"] = Field(description="Names this kind.")
    method: Literal["GET", "POST"] = Field("GET", description="HTTP method.")
    headers: dict[str, str] = Field(
        {}, description="Further headers; `${NAME}` is taken from the environment, never written here."
    )
    body: str = Field("", description="Body of a POST, a template like the url.")
    pagination: Pagination = Field(Pagination(), description="How pages are turned.")
    items: str = Field("@", description="JMESPath of the list of posts in the answer.")
    fields: dict[str, str] = Field(
        description=f"JMESPath of each field inside one entry: {', '.join(POST_FIELDS)}."
    )
    one_url: str = Field(
        "",
        description="Address of one post, with {id}: known posts are looked at again there (counts, edits, deletions). Empty: their page at `url`, else the list.",
    )
    one_item: str = Field("@", description="JMESPath of the post in the answer of `one_url`.")
    time_format: str = Field("iso", description="iso, epoch_s, epoch_ms, auto, or a strptime pattern.")
    stop: Literal["none", "known", "older"] = Field(
        "known",
        description="When to stop turning pages: never, at a page without a new post, or at posts older than the last reading.",
    )

    @field_validator("headers")
    @classmethod
    def _headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            lower = name.lower()
            if lower in ("cookie", "user-agent"):
                raise ValueError(
                    f"the header {name} is not for sources: no log-in walls are passed, and the robot's own name is sent"
                )
            if any(word in lower for word in ("auth", "token", "key", "secret")) and "${" not in text:
                raise ValueError(
                    f"the header {name} holds a secret: write ${{NAME}} here and set NAME in the environment"
                )
        return value

    @field_validator("one_url")
    @classmethod
    def _one(cls, value: str) -> str:
        if value and "{id}" not in value:
            raise ValueError("expected {id} in the address of one post")
        return _http(value) if value else value

    @field_validator("items", "one_item")
    @classmethod
    def _items(cls, value: str) -> str:
        return _jmespath(value)

    @field_validator("fields")
    @classmethod
    def _fields(cls, value: dict[str, str]) -> dict[str, str]:
        for name, path in value.items():
            if name not in POST_FIELDS:
                raise ValueError(f"unknown field {name!r}; expected {', '.join(POST_FIELDS)}")
            _jmespath(path)
        if missing := [name for name in ("id", "text") if name not in value]:
            raise ValueError(f"missing {', '.join(missing)}")
        return value

    @field_validator("time_format")
    @classmethod
    def _time(cls, value: str) -> str:
        if value not in ("iso", "epoch_s", "epoch_ms", "auto") and "%" not in value:
            raise ValueError(
                "expected iso, epoch_s, epoch_ms, auto, or a strptime pattern such as %Y-%m-%d %H:%M"
            )
        return value

    @model_validator(mode="after")
    def _page_goes_somewhere(self) -> JsonSource:
        mark = {"page": "{page}", "offset": "{offset}", "cursor": "{cursor}"}.get(self.pagination.kind)
        if mark and mark not in self.url + self.body:
            raise ValueError(f"pagination by {self.pagination.kind} needs {mark} in url or body")
        return self


def _jmespath(value: str) -> str:
    try:
        jmespath.compile(value)
    except JMESPathError as exc:
        raise ValueError(f"expected a JMESPath: {' '.join(str(exc).split())}") from exc
    return value


def _secret_name(value: str) -> str:
    if value and not re.fullmatch(r"\$\{\w+\}", value):
        raise ValueError("holds a secret: write ${NAME} here and set NAME in the environment")
    return value


class NewsnowSource(CommonSource):
    """A hot list (热榜) of the city's own newsnow instance: titles only, read as signs of a trend."""

    kind: Literal["newsnow"] = Field(description="Names this kind.")
    list_id: str = Field(
        pattern=r"^[a-z0-9][a-z0-9-]{0,59}$",
        description="The list's name in newsnow: weibo, zhihu, baidu, toutiao, thepaper ...",
    )
    words: tuple[str, ...] = Field(
        min_length=1,
        description="A title is kept if it holds one of these words: names of the city, its districts and well-known places. The lists are national.",
    )
    refresh_min: float = Field(
        30.0,
        ge=1,
        le=1440,
        description="Minutes after which newsnow itself reads the list anew: the longer of the list's interval and its cache time (30). A list that stays the same for four times as long (or four readings of ours) is a problem of the source.",
    )

    @field_validator("words")
    @classmethod
    def _words(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any(not word.strip() for word in value):
            raise ValueError("an empty word would keep every title")
        return value


#: first parts of RSSHub routes to platforms whose own robots.txt keeps robots out, or whose pages RSSHub reads past a wall
_PLATFORM_ROUTES = (
    "weibo",
    "zhihu",
    "xiaohongshu",
    "douyin",
    "kuaishou",
    "bilibili",
    "wechat",
    "dianping",
    "toutiao",
    "baidu",
    "douban",
    "twitter",
    "youtube",
    "instagram",
    "telegram",
)


class Transform(Record):
    """A page that RSSHub turns into a feed by rules (its routes /rsshub/transform/...)."""

    form: Literal["html", "json", "sitemap"] = Field(description="What the page is.")
    page: str = Field(description="Address of the page.")
    rules: dict[str, str] = Field(
        {}, description="RSSHub's parameters: item, itemTitle, itemLink, itemDesc, itemPubDate ..."
    )

    @field_validator("page")
    @classmethod
    def _page(cls, value: str) -> str:
        return _http(value)


class RsshubSource(CommonSource):
    """A route of the city's own RSSHub instance, read as a feed. `url` is the instance."""

    kind: Literal["rsshub"] = Field(description="Names this kind.")
    route: str = Field(
        "", description="The route, /gov/... as RSSHub's documentation writes it; or `transform`."
    )
    transform: Transform | None = Field(
        None, description="Instead of a route: a page and the rules that make it a feed."
    )
    params: dict[str, str] = Field(
        {}, description="Query of the route: limit, filter, filter_title, filter_time, mode."
    )
    access_key: str = Field(
        "",
        description="The instance's ACCESS_KEY as `${NAME}`, taken from the environment; empty: it has none.",
    )
    key_as: Literal["code", "key"] = Field(
        "code",
        description="How the key is shown: code sends md5(path + key), which opens this one route only; key sends the key itself.",
    )
    cache_min: float = Field(
        5.0,
        ge=0,
        le=10080,
        description="Minutes for which the instance keeps an answer (its CACHE_EXPIRE); reading faster only shows the same answer.",
    )
    full_text: bool = Field(
        False, description="Fetch each entry's page for its full text; off: the feed's own text."
    )
    hot_list: bool = Field(
        False,
        description="The route is a hot list (热榜): its titles are signs of a trend, kept apart from posts, and only those with one of `words`.",
    )
    words: tuple[str, ...] = Field(
        (), description="For a hot list: names of the city, its districts and well-known places."
    )

    @model_validator(mode="after")
    def _hot(self) -> RsshubSource:
        if self.hot_list != bool(self.words) or any(not word.strip() for word in self.words):
            raise ValueError("hot_list needs `words` that are not empty, any other route has none")
        if self.hot_list and self.full_text:
            raise ValueError("hot_list reads titles only; it does not go with full_text")
        return self

    @field_validator("route")
    @classmethod
    def _route(cls, value: str) -> str:
        if value and (not value.startswith("/") or re.search(r"[?#\s]", value)):
            raise ValueError("expected a route such as /gov/zhengce/zuixin; its query belongs into `params`")
        return value

    @field_validator("access_key")
    @classmethod
    def _access_key(cls, value: str) -> str:
        return _secret_name(value)

    @field_validator("params")
    @classmethod
    def _params(cls, value: dict[str, str]) -> dict[str, str]:
        if wrong := sorted({"key", "code", "format"} & set(value)):
            raise ValueError(
                f"{wrong[0]} is not for `params`: the key comes from `access_key`, the form is RSS"
            )
        return value

    @model_validator(mode="after")
    def _one_route(self) -> RsshubSource:
        if bool(self.route) == (self.transform is not None):
            raise ValueError("needs either `route` or `transform`")
        if self.every_min < self.cache_min:
            raise ValueError(
                f"every_min {self.every_min:g} is faster than the instance's cache ({self.cache_min:g} min): it would only see the same answer"
            )
        first = self.route.strip("/").split("/")[0].lower()
        if self.tier == "A" and (self.transform is not None or first in (*_PLATFORM_ROUTES, "rsshub")):
            raise ValueError(
                "RSSHub does not ask the robots.txt of the sites it reads; "
                f"{'a transformed page' if self.transform else '/' + first} therefore needs `tier: B` and `reason`"
            )
        return self


class MastodonSource(CommonSource):
    """Public posts of a Mastodon server (or one that speaks its API): a tag's timeline or the public one. `url` is the server."""

    kind: Literal["mastodon"] = Field(description="Names this kind.")
    timeline: Literal["tag", "public"] = Field(
        "tag", description="A tag's posts, or all public posts of the server."
    )
    tag: str = Field("", description="The tag without #; for timeline tag.")
    local: bool = Field(False, description="Only posts of people of this server.")
    token: str = Field(
        "",
        description="Access token as `${NAME}` from the environment, for servers that ask for one; empty: none.",
    )
    size: int = Field(40, gt=0, le=40, description="Posts per page; servers give 40 at most.")
    max_pages: int = Field(5, gt=0, le=50, description="Pages per reading at most.")

    @field_validator("token")
    @classmethod
    def _token(cls, value: str) -> str:
        return _secret_name(value)

    @model_validator(mode="after")
    def _tag_named(self) -> MastodonSource:
        if (self.timeline == "tag") != bool(self.tag) or "#" in self.tag or "/" in self.tag:
            raise ValueError("timeline tag needs `tag` without #, timeline public has none")
        return self


class AtprotoSource(CommonSource):
    """Public posts of the AT protocol (Bluesky and its like): those of given accounts, or of a search. `url` is the server (PDS)."""

    kind: Literal["atproto"] = Field(description="Names this kind.")
    repos: tuple[str, ...] = Field(
        (), description="Accounts (did:plc:..., or handle) whose posts are listed; or `search`."
    )
    search: str = Field(
        "", description="Words to search for, newest first. Most servers ask for a token; prefer `repos`."
    )
    collection: str = Field(
        "app.bsky.feed.post",
        pattern=r"^[a-zA-Z0-9-]+(\.[a-zA-Z0-9-]+)+$",
        description="Collection of records that is listed.",
    )
    web: str = Field(
        "https://bsky.app",
        description="Site on which people read the posts; their addresses are made from it.",
    )
    token: str = Field(
        "", description="Access token as `${NAME}` from the environment, for `search`; empty: none."
    )
    size: int = Field(100, gt=0, le=100, description="Posts per page.")
    max_pages: int = Field(5, gt=0, le=50, description="Pages per reading and account at most.")

    @field_validator("token")
    @classmethod
    def _token(cls, value: str) -> str:
        return _secret_name(value)

    @field_validator("web")
    @classmethod
    def _web(cls, value: str) -> str:
        return _http(value)

    @field_validator("repos")
    @classmethod
    def _repos(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for repo in value:
            if not re.fullmatch(r"did:[a-z]+:[A-Za-z0-9._:%-]+|[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+", repo):
                raise ValueError(f"{repo!r} is neither a did nor a handle")
        if twice := repeated(list(value)):
            raise ValueError(f"the account stands here twice: {', '.join(twice)}")
        return value

    @model_validator(mode="after")
    def _one_way(self) -> AtprotoSource:
        if bool(self.repos) == bool(self.search):
            raise ValueError("needs either `repos` or `search`")
        return self


class WeiboSource(CommonSource):
    """Weibo's open API (open.weibo.com) with the city's own authorised account: what it may see, nothing more. Always tier B."""

    kind: Literal["weibo"] = Field(description="Names this kind.")
    url: str = Field("https://api.weibo.com/2", description="Base address of the API.")
    tier: Literal["A", "B", "C"] = Field("B", description="Always B: it may be read only with `reason`.")
    endpoint: Literal["search/topics", "statuses/user_timeline", "statuses/mentions", "comments/to_me"] = (
        Field(
            description="search/topics: posts of a topic (needs the platform's grant); statuses/user_timeline: the account's own posts; statuses/mentions: posts that @ it; comments/to_me: comments it received."
        )
    )
    topic: str = Field("", description="The topic without #; for search/topics.")
    token: str = Field(
        description="Access token of the authorised account as `${NAME}` from the environment."
    )
    daily_requests: int = Field(
        90,
        gt=0,
        le=100_000,
        description="Requests a day (Beijing time) that this source may spend. The platform allows 100 for each authorised account: sources that share one share this number.",
    )
    size: int = Field(50, gt=0, le=50, description="Posts per page.")
    max_pages: int = Field(2, gt=0, le=4, description="Pages per reading at most; a topic shows 200 posts.")

    @field_validator("token")
    @classmethod
    def _token(cls, value: str) -> str:
        if not value:
            raise ValueError("expected ${NAME}: the token of an authorised account")
        return _secret_name(value)

    @model_validator(mode="after")
    def _terms(self) -> WeiboSource:
        if self.tier != "B":
            raise ValueError("the kind weibo is always tier B and needs `reason`")
        if (self.endpoint == "search/topics") != bool(self.topic) or "#" in self.topic:
            raise ValueError("search/topics needs `topic` without #, the other endpoints have none")
        if 1440 / self.every_min > self.daily_requests:
            raise ValueError(
                f"every_min {self.every_min:g} means {1440 / self.every_min:.0f} requests a day at least, more than daily_requests {self.daily_requests}"
            )
        return self


class OwnSource(CommonSource):
    """What the city's own systems and its vendors hand over: files, pushes, a view of a database. Nothing is crawled, so it has no address."""

    url: str = Field("", description="Stays empty: nothing is fetched from a site.")
    tier: Literal["A", "B", "C"] = Field("C", description="C: licensed or own data.")
    way: WayIn = Field(
        description="How its matters reach the city, which decides what clocks run: hotline for 12345 work orders, message_board for 网民留言, public for bought posts; no default, since a wrong one starts no clock."
    )
    every_min: float = Field(
        1.0, ge=1, le=10080, description="Minutes between two looks; they cost no other site anything."
    )
    profile: str = Field(
        "default",
        min_length=1,
        description="Mapping profile: a packaged one (default, weibo, tieba) or a YAML file, relative to this folder.",
    )

    @field_validator("url")
    @classmethod
    def _url(cls, value: str) -> str:
        if value:
            raise ValueError("this kind has no address: leave `url` out")
        return value

    @property
    def host(self) -> str:
        """No host is touched."""
        return ""

    @property
    def hosts(self) -> frozenset[str]:
        """No host is touched."""
        return frozenset()


class FolderSource(OwnSource):
    """A watched folder: files that the hotline or a vendor puts there are taken in and moved to done/ or failed/ with a report."""

    kind: Literal["folder"] = Field(description="Names this kind.")
    folder: str = Field(
        min_length=1,
        description="The folder, relative to this file's; it must exist and this account must be allowed to write in it.",
    )
    stable_s: float = Field(
        10.0,
        ge=0,
        le=3600,
        description="Seconds for which a file's size and time must stay the same before it is read: until then somebody is still writing it.",
    )
    ignore: tuple[str, ...] = Field(
        (".*", "~$*", "*.part", "*.tmp", "*.partial", "*.filepart", "*.crdownload", "*.swp", "*.lock"),
        description="Names that are no deliveries: unfinished uploads, locks of office programs.",
    )
    max_file_mb: float = Field(
        100.0, gt=0, le=2000, description="Megabytes of one file; a larger one goes to failed/ unread."
    )
    keep_days: float = Field(
        30.0,
        ge=0,
        le=3650,
        description="Days for which a file that was taken in stays in done/: it holds callers' names and telephones. Its report stays. Files in failed/ are never deleted.",
    )


class PushSource(OwnSource):
    """A push endpoint, POST /api/intake/<id> on the console: another system signs its rows and sends them as they arise."""

    kind: Literal["push"] = Field(description="Names this kind.")
    every_min: float = Field(
        10.0, ge=1, le=10080, description="Minutes between two looks at what came; rows are stored at once."
    )
    secret: str = Field(
        min_length=1, description="Shared secret as `${NAME}` from the environment, at least 32 characters."
    )
    old_secret: str = Field(
        "", description="The secret before it, as `${NAME}`, still taken while the other side changes over."
    )
    window_s: int = Field(
        300,
        ge=30,
        le=3600,
        description="Seconds by which a request's timestamp may differ from our clock; within them the same request is not taken twice.",
    )
    max_body_mb: float = Field(5.0, gt=0, le=50, description="Megabytes of one request.")
    max_rows: int = Field(2000, gt=0, le=20_000, description="Rows of one request.")
    per_minute: int = Field(60, gt=0, le=6000, description="Signed requests a minute; more are answered 429.")
    allow_from: tuple[str, ...] = Field(
        (),
        description="Addresses or networks (10.1.2.0/24) from which requests are taken; empty: any. Behind a proxy, see adding-a-source.md.",
    )

    @field_validator("secret", "old_secret")
    @classmethod
    def _secret(cls, value: str) -> str:
        return _secret_name(value)

    @field_validator("allow_from")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            try:
                ip_network(text)
            except ValueError as exc:
                raise ValueError(
                    f"{text!r} is no address or network; expected for example 10.1.2.0/24"
                ) from exc
        return value


class SqlSource(OwnSource):
    """A table or view of another system's database, read by SELECT only."""

    kind: Literal["sql"] = Field(description="Names this kind.")
    every_min: float = Field(5.0, ge=1, le=10080, description="Minutes between two readings.")
    database: str = Field(
        min_length=1,
        description="SQLAlchemy URL as `${NAME}` from the environment, of an account that may only read; PostgreSQL and SQLite work as installed, others need their driver.",
    )
    table: str = Field(
        pattern=r"^[^\s.\"'`;]+(\.[^\s.\"'`;]+)?$", description="Table or view, as name or schema.name."
    )
    watermark: str = Field(
        min_length=1,
        description="Column that grows when a row is written or changed: a time or a number. Rows without a value in it are never read, and the source says so.",
    )
    key: str = Field(
        min_length=1,
        description="Column that tells rows with the same watermark apart, as a primary key does.",
    )
    overlap_min: float = Field(
        15.0,
        ge=0,
        le=1440,
        description="Minutes before the newest time that are read again: a transaction may commit after a later one.",
    )
    overlap_ids: int = Field(
        1000, ge=0, le=1_000_000, description="The same for a watermark that is a number: so far back."
    )
    first_days: float = Field(
        30.0,
        gt=0,
        le=36_500,
        description="Days that the first reading goes back, for a watermark that is a time.",
    )
    batch: int = Field(500, gt=0, le=10_000, description="Rows of one SELECT and one transaction of ours.")
    timeout_s: int = Field(
        30, gt=0, le=600, description="Seconds one SELECT may take (PostgreSQL, MySQL, SQLite)."
    )

    @field_validator("database")
    @classmethod
    def _database(cls, value: str) -> str:
        return _secret_name(value)


Source = Annotated[
    RssSource
    | SitemapSource
    | ColumnSource
    | ForumSource
    | JsonSource
    | HanwebSource
    | LiuyanSource
    | DiscuzSource
    | NewsnowSource
    | RsshubSource
    | MastodonSource
    | AtprotoSource
    | WeiboSource
    | FolderSource
    | PushSource
    | SqlSource,
    Field(discriminator="kind"),
]


class _SourceFile(Record):
    sources: tuple[Source, ...] = ()

    @field_validator("sources")
    @classmethod
    def _each_once(cls, sources: tuple[Source, ...]) -> tuple[Source, ...]:
        if twice := repeated([source.id for source in sources]):
            raise ValueError(f"the id stands here twice: {', '.join(twice)}")
        return sources


def load_sources(path: Path) -> tuple[Source, ...]:
    """Read sources.yaml. Raises ConfigError with one entry per wrong value."""
    return parse(_SourceFile, read_yaml(path)).sources


def doubtful_ways(sources: Sequence[Source]) -> list[str]:
    """One sentence for each source whose name speaks of another way in than the `public` that stands there."""
    found = []
    for source in sources:
        words = f"{source.id} {source.name}"
        likely = next((way for word, way in _WAY_WORDS if word in words), None)
        if source.way == "public" and likely:
            found.append(
                f"sources.yaml: {source.id} ({source.name}): way = public, though its name speaks of {likely}; "
                f"write `way: {likely}` so that its clocks run, or `way: public` by choice and another name"
            )
    return found
