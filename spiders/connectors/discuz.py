"""Discuz! forums, X and 7.x: a board's list of threads or its feed, and the first post of each new thread."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from lxml.html import HtmlElement  # type: ignore[import-untyped]
from scrapy import Request
from scrapy.http import Response

from config.sources import DiscuzSource
from incidents.revisits import KnownPost
from incidents.stops import hostname
from spiders.connectors.base import Connector, Found, canonical, joined, provenance
from spiders.connectors.rss import ACCEPT, read_feed
from spiders.dates import is_future, parse_when
from spiders.items import PostItem, Unusable
from spiders.pageback import Place
from spiders.pagetext import element_text, parse_html, plain
from spiders.problems import Blocked, Changed, LoginWall

#: thread pages in turn that only members may read, after which the board counts as closed to us
MAX_WALLS = 3

_THREAD = re.compile(r"[?&;]tid[=-](\d+)|thread-(\d+)-")
_REWRITTEN = re.compile(r"(forum-[^/]+-)(\d+)(\.html)$")
_CLOCK = re.compile(r"\d{1,2}[:：]\d{2}")
#: the system's own page in place of what was asked for
_MESSAGES = ("#messagetext", ".alert_error", ".alert_info", ".nfl .f_c")
_LOGIN = re.compile(
    r"(?:需要|未|没有|必须|请)先?登[录陆]|登[录陆]后才?(?:能|可|方可|查看|继续)|游客.{0,20}(?:无法|没有|不能)|没有权限|无权(?:访问|阅读|查看|进行)|阅读权限|仅限.{0,6}会员"
)
_GONE = re.compile(r"不存在|已被?删除|正在被?审核|已被?(?:关闭|移动)|自动屏蔽")
_NO_THREADS = re.compile(r"尚无主题|没有找到主题|暂无主题")
#: a script that lets browsers pass and robots not
_CHECK = re.compile(
    r"安全验证|安全检[查测]|人机验证|滑动验证|访问过于频繁|访问频率|[?&]_dsign=|(?:开启|启用|打开)\s*JavaScript|enable JavaScript|checking your browser",
    re.IGNORECASE,
)
#: inside a post and yet not its author's words: notes of editing, quotations, hints to guests, filler against copying
_NOT_WORDS = (
    ".pstatus, .quote, .blockcode em, .locked, .showhide, .attach_nopermission, .attach_popup, .tip, ignore_js_op, .jammer, "
    "[style*='display:none'], [style*='display: none'], .modact, .rate, .sign, .aimg_tip"
)


@dataclass(frozen=True)
class Thread:
    """One line of a board's list."""

    ident: str
    link: str
    title: str
    author: str
    when: datetime | None
    future: bool
    engagement: dict[str, int]
    text: str = ""


class DiscuzConnector(Connector):
    """See config.sources.DiscuzSource."""

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self._read = 0
        self._walls = 0

    @property
    def source(self) -> DiscuzSource:
        """The source with its own fields."""
        return cast("DiscuzSource", self.run.source)

    def start(self) -> Iterator[Request]:
        """The feed, or the first page of the list."""
        if is_feed(self.source.url):
            yield self.ask_list(self.source.url, self.parse_feed, accept=ACCEPT)
        else:
            yield self._ask_page(self.source.url, 1)

    async def parse_visit(self, response: Response, known: KnownPost) -> AsyncIterator[Found]:
        """See Connector: the forum says in its own words that a thread is no more."""
        text, charset = self.text_of(response) if response.status == 200 else ("", "")
        root = parse_html(text) if text else None
        bodies = root.cssselect("[id^=postmessage_]") if root is not None else []
        words = _message(root) if root is not None and not bodies else ""
        if bodies:
            for junk in bodies[0].cssselect(_NOT_WORDS):
                junk.drop_tree()
            thread = Thread(known.external_id, known.url, known.title, "", known.published_at, False, {})
            words = element_text(bodies[0])
            yield self._post(thread, words or known.title, charset, known.url, words_missing=not words)
        elif words and _LOGIN.search(words):
            self.run.visited(known, "unclear", why=f"for members only: “{words[:60]}”")
        elif words and _GONE.search(words):
            self.run.visited(known, "gone", status=response.status, words=words[:60])
        else:
            async for found in super().parse_visit(response, known):
                yield found

    def no_way_back(self) -> str:
        """See Connector: a feed has no older pages, a board's list has."""
        if not is_feed(self.source.url):
            return ""
        return "its address is a forum's feed, which holds the newest threads only; name the board's list (mod=forumdisplay) instead"

    def page_back(self, place: Place | None) -> Iterator[Request]:
        """See Connector."""
        number = int((place or {"number": 1})["number"])
        url = self.source.url if number == 1 else _page(self.source.url, number)
        yield self._ask_page(url, number)

    # --- lists

    def _ask_page(self, url: str, number: int) -> Request:
        async def step(response: Response) -> AsyncIterator[Found]:
            async for found in self.parse_list(response, url, number):
                yield found

        return self.ask_list(url, step)

    async def parse_list(self, response: Response, url: str, number: int) -> AsyncIterator[Found]:
        """Requests for new threads, and the next page of the list while there are any."""
        self.check_list(response)
        if not self.run.list_changed(url, response):
            return
        text, charset = self.text_of(response)
        root = parse_html(text)
        if root is None:
            raise self.not_expected(text, "a list of threads")
        rows = root.cssselect("tbody[id^=normalthread_]")
        if not rows:
            self._why_no_list(root, text, number)
            return
        found = [self._thread(row, _base(root, response.url)) for row in rows]
        threads = {one.ident: one for one in found if isinstance(one, Thread)}
        for bad in found:
            if isinstance(bad, Unusable):
                yield bad
        if not threads:
            raise Changed(
                f"{self.source.url}: none of {len(rows)} rows names a thread; the template of the forum changed"
            )
        new = False
        async for item in self._new_threads(threads, charset):
            new = True
            yield item
        if (back := self.run.back) is not None:
            for row in rows:
                # the list is sorted by the last reply, and no thread is younger than its last reply
                replied = row.cssselect("td.by, td.lastpost")
                back.note(self._when(replied[-1].cssselect("em")[:1])[0] if replied else None)
            back.following = {"number": number + 1}
            return
        if number < self.source.max_pages and (new or self.run.was_unfinished):
            yield self._ask_page(_page(self.source.url, number + 1), number + 1)

    def _why_no_list(self, root: HtmlElement, text: str, number: int) -> None:
        """Return for a board without threads; raise the problem of everything else."""
        words = _message(root)
        if not words and _NO_THREADS.search(element_text(root)):
            return
        self._raise_walls(words, text, "a list of threads")
        if words:
            raise Changed(f"{self.source.url} says “{words}”; check the board's number in sources.yaml")
        if number == 1:
            raise self.not_expected(text, "a list of threads")

    def _raise_walls(self, words: str, text: str, expected: str) -> None:
        pause = timedelta(hours=self.run.settings.block_pause_h)
        if words and _LOGIN.search(words):
            raise LoginWall(
                f"{self.source.url} is for members only: it says “{words}” instead of {expected}; this product reads public pages only",
                pause=pause,
            )
        check = None if words else _CHECK.search(text)
        if check:
            raise Blocked(
                f"{self.source.url} answers with a check of the browser (“{check.group().lstrip('?&')}”) instead of {expected}; we do not get around walls",
                pause=pause,
            )

    def _thread(self, row: HtmlElement, base: str) -> Thread | Unusable:
        tid = row.get("id", "").partition("_")[2]
        anchors = row.cssselect("a.xst") or row.cssselect("span[id^=thread_] a")
        anchors = anchors or [a for a in row.cssselect("th a") if _THREAD.search(a.get("href") or "")]
        if not (tid.isascii() and tid.isdigit()) or not anchors or not element_text(anchors[0]):
            return Unusable(
                source_id=self.source.id,
                external_id=tid if tid.isdigit() else "",
                field="title",
                reason="the row names no thread",
                payload={"row": element_text(row)[:200]} if not tid.isdigit() else {},
            )
        link = thread_url(joined(base, anchors[0].get("href") or ""))
        if foreign := self.elsewhere(link, tid, "the thread"):
            return foreign
        cells = row.cssselect("td.by, td.author")
        when, future = self._when(cells[0].cssselect("em")[:1]) if cells else (None, False)
        author = cells[0].cssselect("cite") if cells else []
        return Thread(
            tid,
            link,
            " ".join(element_text(anchors[0]).split()),
            element_text(author[0]) if author else "",
            when,
            future,
            _counts(row),
        )

    async def parse_feed(self, response: Response) -> AsyncIterator[Found]:
        """Requests for the new threads of a feed."""
        self.check_list(response)
        if not self.run.list_changed(self.source.url, response):
            return
        text, charset = self.text_of(response)
        feed = read_feed(text)
        if not feed.entries and not feed.get("version"):
            root = parse_html(text)
            self._raise_walls(_message(root) if root is not None else "", text, "a feed")
            raise self.not_expected(text, "a feed")
        threads: dict[str, Thread] = {}
        for entry in feed.entries:
            link = thread_url(joined(response.url, str(entry.get("link", ""))))
            tid = _THREAD.search(link)
            if not tid or hostname(link) not in self.source.hosts:
                yield Unusable(
                    source_id=self.source.id,
                    field="url",
                    reason="the entry leads to no thread of this forum",
                    payload={"url": link},
                )
                continue
            raw = str(entry.get("published") or entry.get("updated") or "")
            now = self.run.clock()
            one = Thread(
                tid.group(1) or tid.group(2),
                link,
                plain(str(entry.get("title", ""))),
                str(entry.get("author") or ""),
                parse_when(raw, now, self.run.zone),
                is_future(raw, now, self.run.zone),
                {},
                plain(str(entry.get("summary", ""))),
            )
            threads.setdefault(one.ident, one)
        async for item in self._new_threads(threads, charset):
            yield item

    async def _new_threads(self, threads: Mapping[str, Thread], charset: str) -> AsyncIterator[Found]:
        self.run.tally.found += len(threads)
        new = [i for i in await self.run.unknown(list(threads)) if self.wants(threads[i].when)]
        if len(new) > self.run.room:
            self.run.truncated = True
        for ident in new[: self.run.room]:
            thread = threads[ident]
            if self.source.threads:
                yield self.ask(thread.link, self._thread_step(thread), page=ident)
            else:
                yield self._post(thread, thread.text or thread.title, charset, thread.link)

    # --- threads

    def _thread_step(self, thread: Thread) -> Any:
        def step(response: Response) -> AsyncIterator[Found]:
            return self.parse_thread(response, thread)

        return step

    async def parse_thread(self, response: Response, thread: Thread) -> AsyncIterator[Found]:
        """The first post of a thread. A page for members only is asked for again; several in turn close the board."""
        text, charset = self.text_of(response) if response.status == 200 else ("", "")
        root = parse_html(text) if text else None
        bodies = root.cssselect("[id^=postmessage_]") if root is not None else []
        if root is None or not bodies:
            words = _message(root) if root is not None else ""
            if words and _LOGIN.search(words):
                self._walls += 1
                if not self._read and (self._walls >= MAX_WALLS or self.run.pending <= 1):
                    self._raise_walls(words, text, "a thread")
                self.run.page_failed(thread.ident, response.url, f"for members only: “{words[:100]}”")
                return
            if words and _GONE.search(words):
                self.run.skip(thread.ident, "gone")
                return
            if root is not None and not root.cssselect("article, #postlist"):
                self._raise_walls(words, text, "a thread")
            hint = {
                "title": thread.title,
                "published_at": thread.when,
                "author": thread.author or None,
                "engagement": thread.engagement,
            }
            async for found in self.parse_article(response, thread.ident, hint):
                yield found
            return
        self._read += 1
        body = bodies[0]
        for junk in body.cssselect(_NOT_WORDS):
            # what stands behind a note belongs to the post
            junk.drop_tree()
        words = element_text(body)
        posted = root.cssselect("[id^=authorposton]")[:1]
        when, future = self._when(posted)
        names = root.cssselect(".authi a.xw1, td.postauthor .postinfo a, .postauthor cite a")
        yield self._post(
            Thread(
                thread.ident,
                thread.link,
                thread.title or _title(root),
                thread.author or (element_text(names[0]) if names else ""),
                when or thread.when,
                future or (when is None and thread.future),
                thread.engagement,
            ),
            words or thread.title,
            charset,
            canonical(thread.link),
            words_missing=not words,
        )

    def _post(
        self, thread: Thread, text: str, charset: str, url: str, *, words_missing: bool = False
    ) -> PostItem | Unusable:
        origin = provenance(self.run, charset)
        if thread.future:
            origin["future_date"] = True
        if words_missing:
            origin["title_only"] = True  # pictures, or words that only members see
        return PostItem(
            source_id=self.source.id,
            external_id=thread.ident,
            url=url,
            title=thread.title,
            text=text,
            published_at=thread.when,
            author_raw=thread.author or None,
            place_hint=self.source.district_hint,
            engagement=thread.engagement,
            provenance=origin,
        )

    def _when(self, elements: list[HtmlElement]) -> tuple[datetime | None, bool]:
        """The time that the forum shows, and whether it lies ahead of us."""
        if not elements:
            return None, False
        raw = shown_time(elements[0])
        now = self.run.clock()
        found = parse_when(raw, now, self.run.zone)
        return found, found is None and is_future(raw, now, self.run.zone)


def shown_time(element: HtmlElement) -> str:
    """The date as text: "昨天 12:30" with the true day in @title becomes that day with that clock."""
    titles = [node.get("title", "").strip() for node in element.iter() if isinstance(node.tag, str)]
    title = next((one for one in titles if re.search(r"\d{2,4}-\d{1,2}-\d{1,2}", one)), "")
    text = " ".join(element_text(element).split())
    if not title:
        return text
    clock = _CLOCK.search(text)
    if _CLOCK.search(title) or not clock:
        # "3 小时前" is as exact as its title only if that holds no clock
        return text if not _CLOCK.search(title) and re.search(r"[秒分时]钟?前", text) else title
    return f"{title} {clock.group()}"


def is_feed(url: str) -> bool:
    """Whether the address is the forum's feed and not a list page."""
    parts = urlsplit(url)
    return dict(parse_qsl(parts.query)).get("mod") == "rss" or parts.path.endswith("/rss.php")


def thread_url(url: str) -> str:
    """The thread's address without session, list page and way here."""
    parts = urlsplit(url)
    query = [(key, value) for key, value in parse_qsl(parts.query) if key in ("mod", "tid")]
    if not any(key == "tid" for key, _ in query):
        return canonical(url)
    return canonical(urlunsplit((parts.scheme, parts.netloc, parts.path, urlencode(query), "")))


def _page(url: str, number: int) -> str:
    """Page `number` of the list at `url`."""
    parts = urlsplit(url)
    if _REWRITTEN.search(parts.path):
        path = _REWRITTEN.sub(rf"\g<1>{number}\g<3>", parts.path)
        return urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
    query = [(key, value) for key, value in parse_qsl(parts.query) if key != "page"]
    return urlunsplit(
        (parts.scheme, parts.netloc, parts.path, urlencode([*query, ("page", str(number))]), "")
    )


def _base(root: HtmlElement, url: str) -> str:
    bases = root.cssselect("base[href]")
    return joined(url, bases[0].get("href")) or url if bases else url


def _message(root: HtmlElement) -> str:
    for selector in _MESSAGES:
        for element in root.cssselect(selector):
            if words := " ".join(element_text(element).split()):
                return words[:120]
    return ""


def _title(root: HtmlElement) -> str:
    for element in root.cssselect("#thread_subject, #threadtitle h1, h1"):
        if words := " ".join(element_text(element).split()):
            return words[:300]
    return ""


def _counts(row: HtmlElement) -> dict[str, int]:
    """Replies and views, where the list shows them."""
    found = {}
    for name, selector in (
        ("comments", "td.num a, td.nums strong"),
        ("views", "td.num em, td.nums em"),
    ):
        cells = row.cssselect(selector)
        digits = element_text(cells[0]) if cells else ""
        if digits.isascii() and digits.isdigit() and len(digits) < 10:
            found[name] = int(digits)
    return found
