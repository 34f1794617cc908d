"""RSS and Atom feeds, page by page where they have pages: conditional GET, any charset, zoneless times as local time, full text of the page on wish."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import feedparser  # type: ignore[import-untyped]
from scrapy import Request
from scrapy.http import Response

from incidents.grams import storable
from spiders import feed_memory
from spiders.connectors.base import Connector, Found, canonical, joined, provenance
from spiders.dates import is_future, parse_when
from spiders.feed_memory import entry_starts
from spiders.items import PostItem, Unusable
from spiders.pageback import Place
from spiders.pagetext import plain, real_characters, without_declaration
from spiders.pipelines import external_id

#: entries of a feed that are read in one part; feedparser needs 2 ms for each
PART = 1000
ACCEPT = "application/atom+xml, application/rss+xml, application/rdf+xml;q=0.9, application/xml;q=0.8, text/xml;q=0.8, */*;q=0.1"


class RssConnector(Connector):
    """See config.sources.RssSource."""

    def start(self) -> Iterator[Request]:
        """The feed."""
        yield self.ask_list(self.run.source.url, self.parse_feed, accept=ACCEPT)

    list_covers = True

    def no_way_back(self) -> str:
        """See Connector: few feeds have older pages."""
        if getattr(self.run.source, "page_param", ""):
            return ""
        return "a feed holds its newest entries only, unless page_param names how its older pages are asked for; else name the site's sitemap, its column page or its JSON interface as a source and back-fill that one"

    def page_back(self, place: Place | None) -> Iterator[Request]:
        """See Connector."""
        at = place or {"url": self.run.source.url, "number": 1}
        yield self._ask_page(str(at["url"]), int(at["number"]))

    async def parse_feed(self, response: Response, url: str = "", number: int = 1) -> AsyncIterator[Found]:
        """Items of one page of the feed and the request for the next; with `full_text` a request for each new entry's page.

        `url`: the address asked for, if not the source's.
        """
        if number > 1 and response.status in (400, 404, 410):
            self.run.tally.lists_read += 1
            return  # how WordPress and others say that there is no further page
        self.check_list(response)
        if not self.run.list_changed(url or self.run.source.url, response):
            return
        text, charset = self.text_of(response)
        text = self._part_of(text, number)
        full_text = getattr(self.run.source, "full_text", False)
        one_page = getattr(self.run.source, "max_pages", 1) == 1
        plain_feed = number == 1 and one_page and not full_text and self.run.back is None
        if plain_feed and (items := self._changed(text, charset)) is not None:
            for item in items:
                yield item
            return
        feed = read_feed(text)
        if not feed.entries and not feed.get("version"):
            raise self.not_expected(text, "a feed")
        self.run.tally.found += len(feed.entries)
        items = [self._item(entry, charset) for entry in feed.entries]
        if plain_feed:
            self._remember(text, items)
        following = self._next_page(feed, response.url, number)
        # a plain feed of one page asks nothing of the database: most sources are one
        known_matter = full_text or following or number > 1 or self.run.back is not None
        new = await self.new_posts(items) if known_matter else set()
        if full_text:
            for found in self._with_pages(items, new):
                yield found
        else:
            for item in self.wanted(items, new) if number > 1 or self.run.back is not None else items:
                yield item
        if (back := self.run.back) is not None:
            for item in items:
                back.note(item.published_at if isinstance(item, PostItem) else None)
            back.following = {"url": following, "number": number + 1} if following and items else None
            return
        if following and feed.entries and (new or self.run.was_unfinished):
            if self.run.room <= 0:
                self.run.truncated = True
            else:
                yield self._ask_page(following, number + 1)

    def _changed(self, text: str, charset: str) -> list[PostItem | Unusable] | None:
        """The entries that were not there, or were otherwise, at the last reading; None when all have to be read.

        All are read the first time, once in `force_full_h`, and after an unfinished reading.
        """
        run = self.run
        memory = dict(run.cursor.get(feed_memory.KEY, {}))
        if not memory or run.was_unfinished:
            return None
        whole_at = datetime.fromisoformat(memory["at"])
        parts = feed_memory.parts_of(text)
        if parts is None or run.clock() - whole_at >= timedelta(hours=run.settings.force_full_h):
            return None
        known = feed_memory.remembered(memory)
        marks = [feed_memory.digest(entry) for entry in parts.entries]
        fresh = [place for place, mark in enumerate(marks) if mark not in known]
        entries = read_feed(parts.only(fresh)).entries if fresh else []
        if len(entries) != len(fresh):
            return None  # an entry by itself is not what it is among the others
        run.tally.found += len(marks)
        for mark in marks:
            if mark in known:
                run.unchanged(known[mark])
        items = [self._item(entry, charset) for entry in entries]
        self._note(memory["at"], marks, dict(zip(fresh, items, strict=True)), known)
        return items

    def _remember(self, text: str, items: list[PostItem | Unusable]) -> None:
        """Keep what all entries are, for the next reading."""
        parts = feed_memory.parts_of(text)
        if parts is not None and len(parts.entries) == len(items) <= PART:
            marks = [feed_memory.digest(entry) for entry in parts.entries]
            self._note(self.run.clock().astimezone(UTC).isoformat(), marks, dict(enumerate(items)), {})
        else:
            self.run.entries_read = {}

    def _note(
        self,
        whole_at: str,
        marks: list[str],
        read: Mapping[int, PostItem | Unusable],
        known: Mapping[str, feed_memory.Known],
    ) -> None:
        seen = {}
        for place, mark in enumerate(marks):
            item = read.get(place)
            entry = known.get(mark) if item is None else None
            if isinstance(item, PostItem):
                entry = feed_memory.worth_remembering(item)
            if entry is not None:
                seen[mark] = feed_memory.row(entry)
        self.run.entries_read = {"at": whole_at, "seen": seen}

    def _ask_page(self, url: str, number: int) -> Request:
        async def step(response: Response) -> AsyncIterator[Found]:
            async for found in self.parse_feed(response, url, number):
                yield found

        return self.ask_list(url, step, accept=ACCEPT)

    def _next_page(self, feed: Any, base: str, number: int) -> str:
        """Address of the next page, "" when there is none or no more are wanted."""
        source = self.run.source
        if self.run.back is None and number >= getattr(source, "max_pages", 1):
            return ""
        for link in feed.feed.get("links", []):
            if link.get("rel") == "next" and link.get("href"):
                return joined(base, str(link["href"]))
        param: str = getattr(source, "page_param", "")
        if not param:
            return ""
        parts = urlsplit(source.url)
        query = [(key, value) for key, value in parse_qsl(parts.query) if key != param]
        return urlunsplit(parts._replace(query=urlencode([*query, (param, str(number + 1))])))

    def _part_of(self, text: str, number: int) -> str:
        """The feed, or of one with very many entries its newest and the next part: reading all at once would hold up every other crawl.

        How far it came stands in the cursor, and until the end is reached the feed is read in full again each time.
        """
        key = f"feed_at.{number}"  # where in the cursor stands how far this page of the feed was read
        starts = entry_starts(text)
        if len(starts) <= 2 * PART:
            self.run.cursor.pop(key, None)
            return text
        at = max(PART, int(self.run.cursor.get(key, PART)))
        if at >= len(starts):
            at = PART
        end = min(at + PART, len(starts))
        starts.append(len(text))
        self.run.cursor[key] = end
        if end < len(starts) - 1:
            self.run.truncated = True
        self.run.notes.append(
            f"the feed holds {len(starts) - 1} entries; read are the first {PART} and those from {at + 1} to {end}"
        )
        tail = text[text.rfind("</", 0, text.rfind("</")) :] if text.rstrip().endswith(">") else ""
        return text[: starts[PART]] + text[starts[at] : starts[end]] + (tail if end < len(starts) - 1 else "")

    def _with_pages(self, items: list[PostItem | Unusable], new: set[str]) -> Iterator[Found]:
        """Known entries go on as they are (their likes may have changed); new ones get the text of their page."""
        for item in items:
            host_allowed = isinstance(item, PostItem) and item.url.startswith(("http://", "https://"))
            if not isinstance(item, PostItem) or item.external_id not in new or not host_allowed:
                # the feed's words are not those of the page
                yield item if isinstance(item, Unusable) else item.model_copy(update={"partial": True})
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
        raw_link = str(entry.get("link") or "")
        if raw_link == entry.get("id") and not raw_link.startswith(("http://", "https://")):
            raw_link = ""  # feedparser takes a guid for a link: "g-17" is no page of the site
        link = canonical(joined(self.run.source.url, raw_link)) if raw_link else ""
        title = plain(str(entry.get("title", "")))
        contents = [str(part.get("value", "")) for part in entry.get("content", [])] + [
            str(entry.get("summary", ""))
        ]
        text = max((plain(part) for part in contents), key=len)
        raw_date = str(entry.get("published") or entry.get("updated") or entry.get("created") or "")
        # by the link as it stands in the feed: what was stored under it before stays the same post
        key = str(entry.get("id") or "").strip() or (raw_link and (canonical(raw_link) or raw_link))
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
    body = real_characters(storable(without_declaration(text))).strip()
    try:
        return feedparser.parse(
            body.encode(),
            response_headers={"content-type": "application/xml; charset=utf-8"},
            sanitize_html=False,
        )
    except Exception:  # noqa: BLE001 (broken markup that feedparser did not foresee: told as no feed)
        return feedparser.FeedParserDict(entries=[], feed=feedparser.FeedParserDict(), version="")


def _engagement(entry: Any) -> dict[str, int]:
    raw = str(entry.get("slash_comments") or "")
    return {"comments": int(raw)} if raw.isascii() and raw.isdigit() and len(raw) < 10 else {}
