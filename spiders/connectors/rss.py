"""RSS and Atom feeds: conditional GET, any charset, zoneless times as local time, full text of the page on wish."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import feedparser  # type: ignore[import-untyped]
from scrapy import Request
from scrapy.http import Response

from spiders.connectors.base import Connector, Found, canonical, provenance
from spiders.dates import is_future, parse_when
from spiders.items import PostItem, Unusable
from spiders.pagetext import plain, without_declaration
from spiders.pipelines import external_id

ACCEPT = "application/atom+xml, application/rss+xml, application/rdf+xml;q=0.9, application/xml;q=0.8, text/xml;q=0.8, */*;q=0.1"


class RssConnector(Connector):
    """See config.sources.RssSource."""

    def start(self) -> Iterator[Request]:
        """The feed."""
        yield self.ask_list(self.run.source.url, self.parse_feed, accept=ACCEPT)

    async def parse_feed(self, response: Response) -> AsyncIterator[Found]:
        """Items of the feed; with `full_text` a request for each new entry's page."""
        self.check_list(response)
        if not self.run.list_changed(self.run.source.url, response):
            return
        text, charset = self.text_of(response)
        feed = read_feed(text)
        if not feed.entries and not feed.get("version"):
            raise self.not_expected(text, "a feed")
        self.run.tally.found += len(feed.entries)
        items = [self._item(entry, charset) for entry in feed.entries]
        if getattr(self.run.source, "full_text", False):
            async for found in self._with_pages(items):
                yield found
            return
        for item in items:
            yield item

    async def _with_pages(self, items: list[PostItem | Unusable]) -> AsyncIterator[Found]:
        """Known entries go on as they are (their likes may have changed); new ones get the text of their page."""
        new = set(await self.run.unknown([item.external_id for item in items if isinstance(item, PostItem)]))
        for item in items:
            host_allowed = isinstance(item, PostItem) and item.url.startswith(("http://", "https://"))
            if not isinstance(item, PostItem) or item.external_id not in new or not host_allowed:
                yield item
                continue
            hint = {
                "title": item.title,
                "text": item.text,
                "published_at": item.published_at,
                "author": item.author_raw,
                "engagement": item.engagement,
            }
            yield self.ask(item.url, self.article_step(item.external_id, hint), page=item.external_id)

    def _item(self, entry: Any, charset: str) -> PostItem | Unusable:
        link = canonical(str(entry.get("link", ""))) if entry.get("link") else ""
        title = plain(str(entry.get("title", "")))
        contents = [str(part.get("value", "")) for part in entry.get("content", [])] + [
            str(entry.get("summary", ""))
        ]
        text = max((plain(part) for part in contents), key=len)
        raw_date = str(entry.get("published") or entry.get("updated") or entry.get("created") or "")
        key = str(entry.get("id") or "").strip() or link
        ident = external_id(key) if key else external_id(title, raw_date, text)
        if not title and not text:
            return Unusable(
                source_id=self.run.source.id,
                external_id=ident,
                field="text",
                reason="the entry has neither title nor text",
                payload={"link": link},
            )
        now = self.run.clock()
        origin = provenance(self.run, charset)
        if is_future(raw_date, now, self.run.zone):
            origin["future_date"] = True
        return PostItem(
            source_id=self.run.source.id,
            external_id=ident,
            url=link,
            title=title,
            text=text,
            published_at=parse_when(raw_date, now, self.run.zone),
            author_raw=str(entry.get("author") or "") or None,
            place_hint=self.run.source.district_hint,
            engagement=_engagement(entry),
            provenance=origin,
        )


def read_feed(text: str) -> Any:
    """feedparser's reading of a decoded feed. Its charset guessing is bypassed: we know better (see pagetext.decode)."""
    body = without_declaration(text).strip()
    return feedparser.parse(
        body.encode(),
        response_headers={"content-type": "application/xml; charset=utf-8"},
        sanitize_html=False,
    )


def _engagement(entry: Any) -> dict[str, int]:
    raw = str(entry.get("slash_comments") or "")
    return {"comments": int(raw)} if raw.isdigit() else {}
