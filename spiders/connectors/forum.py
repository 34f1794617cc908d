"""A forum of any make, described by CSS selectors: its lists of threads, and every post of a thread as a post of its own.

A thread is read again when its row in the list changed (one reply more), and then from the last page that was read on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urldefrag

from lxml.html import HtmlElement  # type: ignore[import-untyped]
from scrapy import Request
from scrapy.http import Response

from config.sources import ForumSource
from incidents.revisits import KnownPost
from spiders.connectors.base import Found, canonical, joined, page_id, provenance, wall_problem, why_no_text
from spiders.connectors.column import ColumnConnector
from spiders.dates import is_future, parse_when
from spiders.extract import select
from spiders.items import PostItem, Unusable
from spiders.page_class import wall_of
from spiders.pagetext import element_text, parse_html
from spiders.pipelines import external_id
from spiders.problems import Changed

#: threads whose activity is remembered; one that falls out is read again, and its posts are known
MAX_THREADS = 2000
#: pages of threads without a single post, and none with one, after which the selector is held to be wrong
MAX_EMPTY = 3
_MEMORY = "threads"
#: stands for the activity of a thread whose pages were not read to their end
_MORE = "…"


@dataclass(frozen=True)
class _Thread:
    """One thread that is to be read."""

    ident: str
    link: str
    title: str
    activity: str


class ForumConnector(ColumnConnector):
    """See config.sources.ForumSource."""

    def no_way_back(self) -> str:
        """See Connector: what is old is bounded by max_age_days, and a thread is read for its newest replies."""
        return "a forum source reads the threads that have something new; raise max_age_days and max_pages for one reading instead"

    def visit(self, known: KnownPost) -> None:
        """See Connector: many posts share the page of a thread, whose text is none of theirs."""

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        #: thread -> (activity at its last complete reading, address of the last page that was read)
        self._memory: dict[str, list[str]] = dict(run.cursor.get(_MEMORY, {}))
        self._read = 0
        self._empty = 0

    @property
    def source(self) -> ForumSource:
        """The source with its own fields."""
        return cast("ForumSource", self.run.source)

    # --- the list

    async def parse_column(self, response: Response, url: str, number: int) -> AsyncIterator[Found]:
        """Requests for threads that are new or have new replies, and for the next page of the list."""
        self.check_list(response)
        if not self.run.list_changed(url, response):
            return
        text, _ = self.text_of(response)
        root = parse_html(text)
        if root is None:
            raise self.not_expected(text, "a list of threads")
        try:
            links = self._links(root, response.url)
            activity = self._activity(root, response.url)
            following = self._next(root, response.url, number)
        except ValueError as exc:
            raise Changed(f"sources.yaml, {self.source.id}: {exc}") from exc
        if not links and number == 1:
            raise self._nothing_matches(text)
        if links and self.source.row_selector and not any(activity.values()):
            raise Changed(
                f"{self.source.url}: no row of row_selector {self.source.row_selector!r} holds a thread and something at activity_selector {self.source.activity_selector!r}; new replies would be missed"
            )
        self.run.tally.found += len(links)
        readable = await self.run.unknown(list(links))  # without those that turned out to be gone
        due = [
            _Thread(ident, links[ident][0], " ".join(links[ident][1].split()), activity.get(ident, ""))
            for ident in readable
            if ident not in self._memory or self._memory[ident][0] != activity.get(ident, "")
        ]
        for thread in due:
            yield self._ask_thread(thread, self._memory.get(thread.ident, ["", ""])[1] or thread.link, 1)
        # threads without anything new end the reading, if the last one came to its end
        if following and (due or self.run.was_unfinished):
            yield self._ask_column(following, number + 1)

    def _activity(self, root: HtmlElement, base: str) -> dict[str, str]:
        """External id of a thread -> what its row shows of its activity. Raises ValueError for a wrong selector."""
        if not self.source.row_selector:
            return {}
        found: dict[str, str] = {}
        for row in select(root, self.source.row_selector):
            shown = " ".join(
                f"{element_text(one)} {one.get('title') or ''}".strip()
                for one in select(row, self.source.activity_selector)
            )
            for anchor in row.iter("a"):
                found.setdefault(page_id(joined(base, anchor.get("href") or "")), shown)
        return found

    # --- threads

    def _ask_thread(self, thread: _Thread, url: str, number: int) -> Request:
        """Page `number` of this reading of a thread."""

        async def step(response: Response) -> AsyncIterator[Found]:
            async for found in self.parse_thread(response, thread, url, number):
                yield found

        return self.ask(url, step, page=thread.ident)

    async def parse_thread(
        self, response: Response, thread: _Thread, url: str, number: int
    ) -> AsyncIterator[Found]:
        """The posts of one page of a thread, and the request for the next page."""
        if response.status in (404, 410):
            if url == thread.link:
                self.run.skip(thread.ident, str(response.status))
            else:  # replies were deleted and the last page with them: from the beginning, once
                yield self._ask_thread(thread, thread.link, 1)
            return
        if response.status != 200:
            self.run.page_failed(thread.ident, response.url, f"status {response.status}")
            return
        html, charset = self.text_of(response)
        root = parse_html(html)
        try:
            posts = select(root, self.source.post_selector) if root is not None else []
            following = self._next_page(root, response.url) if root is not None else ""
            items = [
                self._post(post, thread, response.url, charset, opens=at == 0 and url == thread.link)
                for at, post in enumerate(posts)
            ]
        except ValueError as exc:
            raise Changed(f"sources.yaml, {self.source.id}: {exc}") from exc
        if not posts:
            self._no_posts(response, thread, html)
            return
        self._read += 1
        self.run.seen.page(text=True, wall=False)
        wanted = [item for item in items if item is not None]
        wanted = self.wanted(wanted, await self.new_posts(wanted))
        cut = self.run.room < len(wanted)
        for item in wanted:
            yield item
        if cut:
            self.run.truncated = True
            return  # the thread stays due
        self.run.page_read(thread.ident)
        if following and self.source.replies:
            if number < self.source.thread_pages:
                yield self._ask_thread(thread, following, number + 1)
                return
            # goes on from here in the next reading
            self._remember(thread, _MORE, following)
            self.run.truncated = True
            return
        self._remember(thread, thread.activity, url)

    def _remember(self, thread: _Thread, activity: str, page: str) -> None:
        # stored with the posts in one transaction; the newest stand last
        self._memory.pop(thread.ident, None)
        self._memory[thread.ident] = [activity, page]
        self.run.cursor[_MEMORY] = dict(list(self._memory.items())[-MAX_THREADS:])

    def _no_posts(self, response: Response, thread: _Thread, html: str) -> None:
        """A page of a thread on which nothing is a post. Raises the problem when it is not this thread's alone."""
        asked = response.request.url if response.request is not None else thread.link
        wall = wall_of(asked, response.url, html)
        if wall is not None and not self._read:
            raise wall_problem(thread.link, *wall)
        why = why_no_text(html)
        self.run.seen.page(text=False, wall=why.startswith("the page says"))
        self._empty += 1
        if not self._read and self._empty >= MAX_EMPTY:
            raise Changed(
                f"{self.source.url}: post_selector {self.source.post_selector!r} finds no post on {self._empty} threads ({why}); the forum was rebuilt, or the entry in sources.yaml is wrong"
            )
        self.run.page_failed(thread.ident, response.url, f"no post found: {why}")

    def _next_page(self, root: HtmlElement, base: str) -> str:
        if not self.source.thread_next_selector:
            return ""
        for element in select(root, self.source.thread_next_selector):
            href = (element.get("href") or "").strip()
            target = str(urldefrag(joined(base, href)).url)
            if (
                href
                and target
                and not href.startswith(("#", "javascript:"))
                and target != urldefrag(base).url
            ):
                return target
        return ""

    def _post(
        self, post: HtmlElement, thread: _Thread, page: str, charset: str, *, opens: bool
    ) -> PostItem | Unusable | None:
        """One post; None for one that is not wanted. `opens`: it opens the thread. Raises ValueError for a wrong selector."""
        source = self.source
        if not opens and not source.replies:
            return None
        author = _words(post, source.post_author_selector)
        when, future = self._when(post)
        if when is not None and self.run.clock() - when > timedelta(days=source.max_age_days):
            return None
        key = (post.get(source.post_key) or "").strip()
        bodies = select(post, source.post_text_selector) if source.post_text_selector else [post]
        for body in bodies:
            for junk in select(body, source.post_drop_selector) if source.post_drop_selector else []:
                if junk is not body:
                    junk.drop_tree()  # what stands behind it belongs to the post
        text = "\n".join(filter(None, map(element_text, bodies)))
        if not bodies:
            return None  # a note of the forum's own in a post's place: removed, moved, closed
        if not text and not (opens and thread.title):
            return None  # only a picture or a quotation
        # keys are numbers of the forum, or count within the thread: the thread makes them one of a kind
        ident = external_id(thread.ident, key) if key else external_id(thread.ident, author, text)
        origin = provenance(self.run, charset)
        if future:
            origin["future_date"] = True
        if opens and not text:
            origin["title_only"] = True
        if not opens:
            origin["reply"] = True
        anchor = "" if opens or not post.get("id") else f"#{post.get('id')}"
        return PostItem(
            source_id=source.id,
            external_id=ident,
            url=canonical(page) + anchor,
            title=thread.title if opens else "",
            text=text or thread.title,
            published_at=when,
            author_raw=author or None,
            place_hint=source.district_hint,
            provenance=origin,
        )

    def _when(self, post: HtmlElement) -> tuple[datetime | None, bool]:
        """The date of a post, and whether it shows one that lies ahead of us."""
        if not self.source.post_date_selector:
            return None, False
        now, future = self.run.clock(), False
        for element in select(post, self.source.post_date_selector):
            for raw in (element.get("datetime"), element.get("title"), element_text(element)):
                if raw and (when := parse_when(raw, now, self.run.zone)) is not None:
                    return when, False
                future = future or bool(raw and is_future(raw, now, self.run.zone))
        return None, future


def _words(post: HtmlElement, selector: str) -> str:
    elements = select(post, selector) if selector else []
    return " ".join(element_text(elements[0]).split()) if elements else ""
