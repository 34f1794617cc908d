"""Sitemaps and sitemap indexes (also .xml.gz, also named by robots.txt); each new page is fetched and read."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import cast
from urllib.parse import urlsplit

import lxml.etree  # type: ignore[import-untyped]
from scrapy import Request
from scrapy.http import Response

from config.sources import SitemapSource
from incidents.stops import hostname
from spiders.connectors.base import Connector, Found, canonical, joined, page_id
from spiders.dates import SHANGHAI, parse_when
from spiders.pageback import Place
from spiders.pagetext import BodyTooLarge, decode, gunzip, real_characters
from spiders.problems import SourceProblem

#: sitemaps read in one crawl, and how deep an index may nest
MAX_SITEMAPS = 50
MAX_DEPTH = 3


@dataclass(frozen=True)
class Entry:
    """One <url> or <sitemap>."""

    loc: str
    lastmod: datetime | None
    title: str = ""


class SitemapConnector(Connector):
    """See config.sources.SitemapSource."""

    _asked = 0
    _todo: list[tuple[str, int]] = []  # noqa: RUF012 (replaced, never changed)

    @property
    def source(self) -> SitemapSource:
        """The source with its own fields."""
        return cast("SitemapSource", self.run.source)

    def start(self) -> Iterator[Request]:
        """The sitemap, the index, or robots.txt with Sitemap lines."""
        yield self._ask_map(self.source.url, 0)

    def no_way_back(self) -> str:
        """See Connector: a sitemap lists old pages too."""
        return ""

    def page_back(self, place: Place | None) -> Iterator[Request]:
        """One sitemap of those that are still to be read."""
        self._todo = [
            (str(url), int(depth)) for url, depth in (place or {"todo": [(self.source.url, 0)]})["todo"]
        ]
        url, depth = self._todo.pop(0)
        yield self._ask_map(url, depth)

    def _later(self, maps: list[tuple[str, int]]) -> None:
        """Sitemaps that this one named are read next, each in a reading of its own."""
        todo = [*maps, *self._todo]
        if self.run.back is not None and todo:
            self.run.back.following = {"todo": [list(one) for one in todo]}

    def _ask_map(self, url: str, depth: int) -> Request:
        self._asked += 1

        async def step(response: Response) -> AsyncIterator[Found]:
            async for found in self.parse_map(response, url, depth):
                yield found

        return self.ask_list(url, step)

    async def parse_map(self, response: Response, url: str, depth: int) -> AsyncIterator[Found]:
        """Requests for child sitemaps and for new pages."""
        self.check_list(response)
        if not self.run.list_changed(url, response):
            return
        if urlsplit(url).path == "/robots.txt":
            self.run.is_index(url)
            named = re.findall(r"(?im)^\s*sitemap:\s*(\S+)", decode(response.body)[0])
            lines = [found for line in named if (found := joined(url, line))]
            if self.run.back is not None:
                self.run.tally.lists_read += 1
                self._later([(line, depth + 1) for line in lines])
                return
            for line in lines:
                if self._asked < MAX_SITEMAPS:
                    yield self._ask_map(line, depth + 1)
            return
        try:
            body = gunzip(response.body, int(self.run.settings.max_body_mb * 10 * 1024 * 1024))
        except BodyTooLarge as exc:
            raise SourceProblem(f"{url} {exc}") from exc
        kind, entries = read_sitemap(body, self.run.clock(), self.run.zone)
        if kind == "":
            raise self.not_expected(decode(body)[0], "a sitemap")
        fresh = self._fresh(entries)
        if kind == "sitemapindex":
            self.run.is_index(url)
            fresh = [entry for entry in fresh if joined(url, entry.loc)]
            if self.run.back is not None:
                self.run.tally.lists_read += 1
                deeper = fresh if depth < MAX_DEPTH else []
                self._later([(joined(url, entry.loc), depth + 1) for entry in deeper])
                return
            for entry in fresh:
                if depth >= MAX_DEPTH or self._asked >= MAX_SITEMAPS:
                    self.run.notes.append(
                        f"more than {MAX_SITEMAPS} sitemaps or {MAX_DEPTH} levels; the rest is left out"
                    )
                    break
                yield self._ask_map(joined(url, entry.loc), depth + 1)
            return
        async for request in self._pages(url, fresh):
            yield request
        self._later([])

    def _fresh(self, entries: list[Entry]) -> list[Entry]:
        """Those that may hold what is wanted. lastmod is never before the publication, so in a back-fill the range's start binds."""
        back = self.run.back
        oldest = (
            back.start if back is not None else self.run.clock() - timedelta(days=self.source.max_age_days)
        )
        return [entry for entry in entries if entry.lastmod is None or entry.lastmod >= oldest]

    async def _pages(self, base: str, entries: list[Entry]) -> AsyncIterator[Request]:
        pattern = re.compile(self.source.link_pattern) if self.source.link_pattern else None
        pages: dict[str, tuple[str, Entry]] = {}
        for entry in sorted(entries, key=lambda e: e.lastmod.timestamp() if e.lastmod else 0.0, reverse=True):
            link = canonical(joined(base, entry.loc))
            if hostname(link) in self.source.hosts and (pattern is None or pattern.search(link)):
                pages.setdefault(page_id(link), (link, entry))
        self.run.tally.found += len(pages)
        new = await self.run.unknown(list(pages))
        if len(new) > self.run.room:
            self.run.truncated = True
        for ident in new[: self.run.room]:
            link, entry = pages[ident]
            # lastmod is when the page changed, which for a fresh page is near its publication
            yield self.ask(
                link,
                self.article_step(ident, {"title": entry.title, "published_at": entry.lastmod}),
                page=ident,
            )


def read_sitemap(body: bytes, now: datetime, zone: tzinfo = SHANGHAI) -> tuple[str, list[Entry]]:
    """("urlset" | "sitemapindex" | "", entries). Entities are not resolved, the network is not asked, broken XML is mended."""
    parser = lxml.etree.XMLParser(resolve_entities=False, no_network=True, recover=True, huge_tree=False)
    # a title that was cut in the middle of an emoji must not cost the whole map; latin-1 leaves every other byte as it is
    body = real_characters(body.decode("latin-1")).replace("\ufffd", "&#65533;").encode("latin-1")
    try:
        root = lxml.etree.fromstring(body.strip(), parser)
    except lxml.etree.XMLSyntaxError:
        return "", []
    kind = _local(root) if root is not None else ""
    if kind not in ("urlset", "sitemapindex"):
        # a plain text sitemap: one address a line
        lines = [line.strip() for line in body.decode("utf-8", "replace").splitlines() if line.strip()]
        if lines and all(re.match(r"https?://\S+$", line) for line in lines):
            return "urlset", [Entry(line, None) for line in lines]
        return "", []
    entries = []
    for node in root:
        fields: dict[str, str] = {}
        for part in node.iter():
            if isinstance(part.tag, str) and part.text and part.text.strip():
                fields.setdefault(_local(part), part.text.strip())
        if "loc" not in fields:
            continue
        raw = fields.get("publication_date") or fields.get("lastmod") or ""
        entries.append(Entry(fields["loc"], parse_when(raw, now, zone), fields.get("title", "")))
    return kind, entries


def _local(element: lxml.etree._Element) -> str:
    # not by QName, which refuses the tags that broken XML was mended to
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
