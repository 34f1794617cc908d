"""Hot lists (热榜) of the city's own newsnow instance: titles that name the city, kept as signs of a trend.

newsnow answers 200 even when it can no longer read a list: then it hands out its old copy, and within its interval it
even calls the copy new. Only the list itself tells, so its fingerprint is kept with the time of its last change.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode

from scrapy import Request
from scrapy.http import Response

from config.sources import NewsnowSource
from spiders.connectors.base import Connector, Found, canonical, hot_title, provenance
from spiders.dates import is_future, parse_when
from spiders.items import PostItem, Unusable
from spiders.pagetext import plain
from spiders.pipelines import external_id
from spiders.problems import Changed, SourceProblem

#: a list that stays the same for so many of its intervals is no longer read by newsnow
STALE_INTERVALS = 4


class NewsnowConnector(Connector):
    """See config.sources.NewsnowSource."""

    @property
    def source(self) -> NewsnowSource:
        """The source with its own fields."""
        return cast("NewsnowSource", self.run.source)

    def start(self) -> Iterator[Request]:
        """The one list."""
        query = urlencode({"id": self.source.list_id})
        url = f"{self.source.url.rstrip('/')}/api/s?{query}"

        async def step(response: Response) -> AsyncIterator[Found]:
            async for found in self.parse_list(response, url):
                yield found

        yield self.ask_list(url, step, accept="application/json")

    async def parse_list(self, response: Response, url: str) -> AsyncIterator[Found]:
        """Titles of the list that hold one of the source's words."""
        if response.status == 500:
            raise self._server_error(response)
        self.check_list(response)
        fresh = self.run.list_changed(url, response)
        if response.status == 304:
            self._check_age(str(dict(self.run.cursor.get("list", {})).get("sha256", "")), None)
            return
        answer, charset = self.json_of(response)
        entries = answer.get("items") if isinstance(answer, dict) else None
        if not isinstance(entries, list):
            raise Changed(f"{url}: the answer has no list `items`; is this a newsnow instance?")
        self.run.tally.found += len(entries)
        items = [self._item(place, entry, charset) for place, entry in enumerate(entries, start=1)]
        same = self._note(entries)
        if fresh and same and not self.run.was_unfinished:
            self.run.tally.lists_unchanged += 1  # only its time of day changed
        if fresh:
            for item in items:
                if item is not None:
                    yield item
        if entries:
            updated = answer.get("updatedTime") if answer.get("status") == "cache" else None
            self._check_age(str(self.run.cursor["list"]["sha256"]), updated)

    def _server_error(self, response: Response) -> SourceProblem:
        """What newsnow says: a wrong id, or a list that it cannot read and has no copy of."""
        try:
            said = str(json.loads(self.text_of(response)[0])["message"])[:120]
        except (ValueError, KeyError, TypeError):
            said = ""
        if "invalid source id" in said.lower():
            return Changed(f"newsnow has no list {self.source.list_id!r}; correct list_id in sources.yaml")
        return SourceProblem(
            f"newsnow cannot read {self.source.list_id} (status 500{f': {said}' if said else ''})"
        )

    def _note(self, entries: list[Any]) -> bool:
        """Keep the list's fingerprint and since when it is so; whether it is the one of the last reading."""
        digest = _fingerprint(entries)
        kept = dict(self.run.cursor.get("list", {}))
        if kept.get("sha256") == digest:
            return True
        self.run.cursor["list"] = {"sha256": digest, "since": self.run.clock().astimezone(UTC).isoformat()}
        return False

    def _check_age(self, digest: str, updated_ms: Any) -> None:
        """Raise SourceProblem when the list is older than it can be if newsnow still reads it."""
        kept = dict(self.run.cursor.get("list", {}))
        if not digest or "since" not in kept:
            return
        now = self.run.clock()
        since = datetime.fromisoformat(kept["since"])
        if isinstance(updated_ms, int | float):  # newsnow admits the age of its copy
            told = parse_when(updated_ms, now, self.run.zone)
            since = min(since, told) if told is not None else since
        limit = STALE_INTERVALS * timedelta(minutes=max(self.source.refresh_min, self.source.every_min))
        if now - since > limit:
            hours = (now - since).total_seconds() / 3600
            raise SourceProblem(
                f"newsnow answers, but its list {self.source.list_id} has been the same for {hours:.1f} h "
                f"(expected to change within {limit.total_seconds() / 3600:.1f} h): it cannot read the list any more and hands out an old copy; look at its log"
            )

    def _item(self, place: int, entry: Any, charset: str) -> PostItem | Unusable | None:
        source = self.source
        title = plain(str(entry.get("title") or "")) if isinstance(entry, dict) else ""
        if not title:
            return self.odd_entry(entry, "title", "the entry has no title")
        if not any(word in title for word in source.words):
            return None
        raw_extra = entry.get("extra")
        extra: dict[str, Any] = raw_extra if isinstance(raw_extra, dict) else {}
        now = self.run.clock()
        raw_date = entry.get("pubDate") or extra.get("date")
        key = str(entry.get("id") or "") or title
        hover = plain(str(extra.get("hover") or ""))
        origin = provenance(self.run, charset)
        if is_future(raw_date, now, self.run.zone):
            origin["future_date"] = True
        item = PostItem(
            source_id=source.id,
            external_id=external_id(key),
            url=canonical(str(entry["url"])) if entry.get("url") else "",
            title=title,
            text=hover or title,
            published_at=parse_when(raw_date, now, self.run.zone),
            place_hint=source.district_hint,
            provenance=origin,
        )
        return hot_title(item, source.list_id, place)


def _fingerprint(entries: list[Any]) -> str:
    """SHA-256 over keys and titles in their order; counts and icons that move by themselves do not count."""
    lines = [
        f"{entry.get('id')}\t{entry.get('title')}" if isinstance(entry, dict) else repr(entry)
        for entry in entries
    ]
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()
