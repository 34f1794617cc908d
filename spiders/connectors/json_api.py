"""Any JSON API that lists posts: pages by number, offset, cursor or Link header; fields by JMESPath (WordPress REST and its like)."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import quote, urljoin

import jmespath
from scrapy import Request
from scrapy.http import Response

from config.sources import JsonSource
from spiders.connectors.base import Connector, Found, canonical, provenance
from spiders.dates import is_future, parse_when
from spiders.items import PostItem, Unusable
from spiders.pagetext import plain
from spiders.pipelines import external_id
from spiders.problems import Changed, SourceProblem

#: {since} of a source that was never read completely
FIRST_LOOK = timedelta(days=7)
#: posts may be published late or edited into place: {since} goes back this far behind the watermark
OVERLAP = timedelta(hours=1)
_COUNTS = ("likes", "comments", "reposts", "views")
_LINK_NEXT = re.compile(r"<([^>]+)>\s*;[^,]*\brel\s*=\s*\"?next\"?", re.IGNORECASE)
_ENV = re.compile(r"\$\{(\w+)\}")


class JsonConnector(Connector):
    """See config.sources.JsonSource."""

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self._items = jmespath.compile(self.source.items)
        self._fields = {name: jmespath.compile(path) for name, path in self.source.fields.items()}

    @property
    def source(self) -> JsonSource:
        """The source with its own fields."""
        return cast("JsonSource", self.run.source)

    def start(self) -> Iterator[Request]:
        """The first page. Raises SourceProblem when a header names a variable that is not set."""
        yield self._ask_page(1, self.source.pagination.start, "")

    def _ask_page(self, number: int, place: int, cursor: str, url: str = "") -> Request:
        """`number` counts pages of this reading from 1; `place` is the page number or offset."""
        values = {
            "page": str(place),
            "offset": str(place),
            "cursor": cursor,
            "size": str(self.source.pagination.size),
            "since": self._since(),
        }
        address = url or _fill(self.source.url, values, quoted=True)
        body = _fill(self.source.body, values, quoted=False)

        async def step(response: Response) -> AsyncIterator[Found]:
            async for found in self.parse_page(response, address, number, place):
                yield found

        headers = {
            "Accept": "application/json",
            **{name: self._secret(value) for name, value in self.source.headers.items()},
        }
        if self.source.method == "POST":
            headers.setdefault(
                "Content-Type",
                "application/json"
                if body.lstrip().startswith(("{", "["))
                else "application/x-www-form-urlencoded",
            )
            return self.ask(address, step, headers=headers, method="POST", body=body, priority=10)
        return self.ask_list(address, step, headers=headers)

    def _since(self) -> str:
        mark = self.run.watermark
        since = mark - OVERLAP if mark is not None else self.run.clock() - FIRST_LOOK
        return since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def _secret(self, value: str) -> str:
        def fill(match: re.Match[str]) -> str:
            if match.group(1) not in self.run.env:
                raise SourceProblem(
                    f"sources.yaml, {self.source.id}: a header needs ${{{match.group(1)}}}, which is not set in the environment"
                )
            return self.run.env[match.group(1)]

        return _ENV.sub(fill, value)

    async def parse_page(self, response: Response, url: str, number: int, place: int) -> AsyncIterator[Found]:
        """Items of one page and the request for the next."""
        if number > 1 and response.status in (400, 404, 416):
            return  # WordPress and others say so when there is no further page
        self.check_list(response)
        if not self.run.list_changed(url, response):
            return
        text, charset = self.text_of(response)
        try:
            answer = json.loads(text)
        except ValueError as exc:
            raise self.not_expected(text, "JSON") from exc
        entries = self._items.search(answer)
        if not isinstance(entries, list):
            if entries is None and number > 1:
                return
            raise Changed(
                f"{self.source.url}: items {self.source.items!r} finds no list in the answer; the API changed, or the entry in sources.yaml is wrong"
            )
        self.run.tally.found += len(entries)
        items = [self._item(entry, charset) for entry in entries]
        posts = [item for item in items if isinstance(item, PostItem)]
        if entries and not posts and number == 1 and len(entries) > 1:
            for item in items:
                yield item
            raise Changed(
                f"{self.source.url}: none of {len(entries)} entries has {self._missing(entries[0])}; check `fields` in sources.yaml"
            )
        go_on = await self._goes_on(posts)
        for item in items:
            yield item
        following = self._next(response, answer, entries, number, place, url) if go_on else None
        if following is not None:
            yield following

    def _missing(self, entry: Any) -> str:
        return (
            " and ".join(name for name in ("id", "text") if not self._fields[name].search(entry))
            or "usable fields"
        )

    async def _goes_on(self, posts: list[PostItem]) -> bool:
        if self.run.room <= len(posts) and posts:
            self.run.truncated = self.run.truncated or self.run.room < len(posts)
        if self.source.stop == "none" or self.run.was_unfinished:
            return True
        if self.source.stop == "older":
            mark = self.run.watermark
            return mark is None or any(
                post.published_at is None or post.published_at > mark for post in posts
            )
        return bool(await self.run.unknown([post.external_id for post in posts])) or not posts

    def _next(
        self, response: Response, answer: Any, entries: list[Any], number: int, place: int, url: str
    ) -> Request | None:
        pages = self.source.pagination
        if pages.kind == "none":
            return None
        if pages.kind == "link":
            header = b",".join(response.headers.getlist("Link")).decode("latin-1")
            match = _LINK_NEXT.search(header)
            target = urljoin(url, match.group(1)) if match else ""
        elif pages.kind == "cursor":
            found = jmespath.search(pages.cursor, answer)
            target = str(found) if found not in (None, "", False) else ""
        else:
            target = "more" if entries else ""
        if not target:
            return None
        if self.run.room <= 0:
            self.run.truncated = True
            return None
        if number >= pages.max_pages:
            return None  # the operator's own limit: older posts are not wanted
        if pages.kind == "link":
            return self._ask_page(number + 1, place, "", url=target)
        if pages.kind == "cursor":
            return self._ask_page(number + 1, place, target)
        if len(entries) < pages.size:
            return None
        return self._ask_page(number + 1, place + (pages.size if pages.kind == "offset" else 1), "")

    def _item(self, entry: Any, charset: str) -> PostItem | Unusable:
        values = {name: path.search(entry) for name, path in self._fields.items()}
        key = values.get("id")
        title, text = (_words(values.get(name)) for name in ("title", "text"))
        reason = "no id" if key in (None, "") else "" if title or text else "neither title nor text"
        if reason:
            ident = external_id(str(key)) if key not in (None, "") else ""
            # the names of its keys, not their values: what stands there is unknown and may be personal
            payload = (
                {"keys": sorted(map(str, entry))[:60]}
                if isinstance(entry, dict)
                else {"type": type(entry).__name__}
            )
            return Unusable(
                source_id=self.source.id,
                external_id=ident,
                field="text" if ident else "id",
                reason=reason,
                payload=payload,
            )
        now = self.run.clock()
        raw = values.get("published_at")
        origin = provenance(self.run, charset)
        when = self._when(raw, now)
        if when is None and is_future(raw, now, self.run.zone):
            origin["future_date"] = True
        author = values.get("author")
        return PostItem(
            source_id=self.source.id,
            external_id=external_id(str(key)),
            url=canonical(urljoin(self.source.url, str(values["url"]))) if values.get("url") else "",
            title=title,
            text=text or title,
            published_at=when,
            author_raw=str(author) if author not in (None, "", 0) else None,
            place_hint=str(values.get("place") or self.source.district_hint),
            engagement={name: number for name in _COUNTS if (number := _count(values.get(name))) is not None},
            provenance=origin,
        )

    def _when(self, raw: Any, now: datetime) -> datetime | None:
        form = self.source.time_format
        if raw in (None, ""):
            return None
        if "%" in form:
            try:
                return parse_when(datetime.strptime(str(raw).strip(), form), now, self.run.zone)  # noqa: DTZ007  (parse_when attaches the source's zone)
            except ValueError:
                return None
        if form in ("epoch_s", "epoch_ms"):
            try:
                seconds = float(raw) / (1000 if form == "epoch_ms" else 1)
                return parse_when(datetime.fromtimestamp(seconds, UTC), now, self.run.zone)
            except (ValueError, OverflowError, OSError):
                return None
        return parse_when(raw, now, self.run.zone)


def _fill(template: str, values: dict[str, str], *, quoted: bool) -> str:
    """`{page}` and its like replaced; other braces (a JSON body has many) stay."""

    def fill(match: re.Match[str]) -> str:
        value = values[match.group(1)]
        return quote(value, safe="") if quoted else value

    return re.sub(r"\{(page|offset|cursor|size|since)\}", fill, template)


def _words(value: Any) -> str:
    return "" if value is None or isinstance(value, dict | list) else plain(str(value))


def _count(value: Any) -> int | None:
    try:
        return max(0, int(value))
    except (TypeError, ValueError):
        return None
