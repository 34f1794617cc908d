"""Column pages (栏目页): a list of links, page by page; each new article is fetched and read."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import cast

from lxml.html import HtmlElement  # type: ignore[import-untyped]
from scrapy import Request
from scrapy.http import Response

from config.sources import ListedSource
from incidents.stops import hostname
from spiders.connectors.base import Connector, Found, canonical, joined, page_id
from spiders.dates import parse_when
from spiders.extract import select
from spiders.pageback import Place
from spiders.pagetext import element_text, parse_html
from spiders.problems import Changed

_ROWS = frozenset({"li", "tr", "dd", "dl", "article"})
_ROW_DATE = re.compile(
    r"(?:20\d{2}\s*[-/.年]\s*)?\d{1,2}\s*[-/.月]\s*\d{1,2}\s*日?(?:\s+\d{1,2}[:：]\d{2})?|\d+\s*(?:分钟|小时|天)前|昨天(?:\s*\d{1,2}[:：]\d{2})?"
)


class ColumnConnector(Connector):
    """See config.sources.ColumnSource."""

    @property
    def source(self) -> ListedSource:
        """The source with its own fields."""
        return cast("ListedSource", self.run.source)

    def start(self) -> Iterator[Request]:
        """The first list page."""
        yield self._ask_column(self.source.url, 1)

    def no_way_back(self) -> str:
        """See Connector: without the link to the next list page there is one page only."""
        if self.source.next_selector:
            return ""
        return "its entry in sources.yaml has no next_selector, so only the first page of the column is known"

    def page_back(self, place: Place | None) -> Iterator[Request]:
        """See Connector."""
        at = place or {"url": self.source.url, "number": 1}
        yield self._ask_column(str(at["url"]), int(at["number"]))

    def _ask_column(self, url: str, number: int) -> Request:
        async def step(response: Response) -> AsyncIterator[Found]:
            async for found in self.parse_column(response, url, number):
                yield found

        return self.ask_list(url, step)

    async def parse_column(self, response: Response, url: str, number: int) -> AsyncIterator[Found]:
        """Requests for new articles and for the next list page."""
        self.check_list(response)
        if not self.run.list_changed(url, response):
            return
        text, _ = self.text_of(response)
        root = parse_html(text)
        if root is None:
            raise self.not_expected(text, "a list of links")
        try:
            links = self._links(root, response.url)
            following = self._next(root, response.url, number)
        except ValueError as exc:
            raise Changed(f"sources.yaml, {self.source.id}: {exc}") from exc
        if not links and number == 1:
            if self.source.link_pattern or self.source.list_selector:
                raise self._nothing_matches(text)
            raise self.not_expected(text, "a list of links")
        self.run.tally.found += len(links)
        dates = {ident: self._row_time(date) for ident, (_, _, date) in links.items()}
        new = [ident for ident in await self.run.unknown(list(links)) if self.wants(dates[ident])]
        if len(new) > self.run.room:
            self.run.truncated = True
        for ident in new[: self.run.room]:
            hint = {"published_at": dates[ident], "title": ""}
            yield self.ask(links[ident][0], self.article_step(ident, hint), page=ident)
        if self.run.back is not None:
            for date in dates.values():
                self.run.back.note(date)
            self.run.back.following = {"url": following, "number": number + 1} if following else None
            return
        # a page of known links only ends the reading, if the last reading came to its end
        if following and (new or self.run.was_unfinished):
            yield self._ask_column(following, number + 1)

    def _row_time(self, date: str) -> datetime | None:
        return parse_when(date, self.run.clock(), self.run.zone) if date else None

    def _nothing_matches(self, text: str) -> Exception:
        problem = self.not_expected(text, "a list of links")
        if problem.state == "blocked":
            return problem
        what = (
            f"link_pattern {self.source.link_pattern!r}"
            if self.source.link_pattern
            else f"list_selector {self.source.list_selector!r}"
        )
        return Changed(
            f"{self.source.url}: no link matches {what}; the page was rebuilt, or the entry in sources.yaml is wrong"
        )

    def _links(self, root: HtmlElement, base: str) -> dict[str, tuple[str, str, str]]:
        """External id -> (address, link text, date beside it), in the order of the page."""
        pattern = re.compile(self.source.link_pattern) if self.source.link_pattern else None
        areas = select(root, self.source.list_selector) if self.source.list_selector else [root]
        links: dict[str, tuple[str, str, str]] = {}
        own = canonical(base)
        for area in areas:
            for anchor in area.iter("a"):
                href = (anchor.get("href") or "").strip()
                if not href or href.startswith(("#", "javascript:", "mailto:", "tel:")):
                    continue
                link = canonical(joined(base, href))
                if (
                    link == own
                    or hostname(link) not in self.source.hosts
                    or (pattern and not pattern.search(link))
                ):
                    continue
                links.setdefault(
                    page_id(link), (link, anchor.get("title") or element_text(anchor), _date_beside(anchor))
                )
        return links

    def _next(self, root: HtmlElement, base: str, number: int) -> str:
        if not self.source.next_selector:
            return ""
        if self.run.back is None and number >= self.source.max_pages:
            return ""
        for element in select(root, self.source.next_selector):
            href = (element.get("href") or "").strip()
            if href and not href.startswith(("#", "javascript:")):
                return joined(base, href)
        return ""


def _date_beside(anchor: HtmlElement) -> str:
    """The date in the row that holds the link, if the row holds no other link's date."""
    node = anchor
    for _ in range(3):
        parent = node.getparent()
        if parent is None:
            return ""
        node = parent
        if node.tag in _ROWS:
            break
    if node.tag not in _ROWS:
        return ""
    title = element_text(anchor)
    found = _ROW_DATE.search(element_text(node).replace(title, " ", 1))
    return str(found.group()) if found else ""
