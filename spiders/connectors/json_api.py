"""Any JSON API that lists posts: pages by number, offset, cursor, Link header or an address in the answer; fields by JMESPath (WordPress REST and its like)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import quote

import jmespath
from jmespath.exceptions import JMESPathError
from scrapy import Request
from scrapy.http import Response

from config.sources import JsonSource, Source
from incidents.revisits import KnownPost
from spiders.connectors.base import Connector, Found, canonical, joined, provenance
from spiders.dates import is_future, parse_when
from spiders.items import PostItem, Unusable
from spiders.pageback import Place
from spiders.pagetext import plain
from spiders.pipelines import external_id
from spiders.problems import Changed

#: {since} of a source that was never read completely
FIRST_LOOK = timedelta(days=7)
#: posts may be published late or edited into place: {since} goes back this far behind the watermark
OVERLAP = timedelta(hours=1)
#: once in crawl.force_full_h the list is read this far back behind the watermark: posts that appear days late under their old date
LOOK_BACK = timedelta(days=7)
_LOOKED = "looked_back_at"
_COUNTS = ("likes", "comments", "reposts", "views")
_LINK_NEXT = re.compile(r"<([^>]+)>\s*;[^,]*\brel\s*=\s*\"?next\"?", re.IGNORECASE)


class JsonConnector(Connector):
    """See config.sources.JsonSource."""

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self._deep = self._looks_back()
        self._items = jmespath.compile(self.source.items)
        self._fields = {name: jmespath.compile(path) for name, path in self.source.fields.items()}

    @property
    def source(self) -> JsonSource:
        """The source with its own fields."""
        return cast("JsonSource", self.run.source)

    def start(self) -> Iterator[Request]:
        """The first page. Raises SourceProblem when a header names a variable that is not set."""
        yield self._ask_page(1, self.source.pagination.start, "")

    list_covers = True

    @classmethod
    def counts_of(cls, source: Source) -> bool:
        """See Connector: with an address of one post, where its fields name counts."""
        return isinstance(source, JsonSource) and bool(
            source.one_url and {"likes", "comments", "reposts"} & set(source.fields)
        )

    def visit(self, known: KnownPost) -> Request | None:
        """See Connector: the interface's answer for one post, if `one_url` names it."""
        if not self.source.one_url:
            return super().visit(known)

        def read(answer: Any, charset: str) -> PostItem | Unusable:
            return self._item(_search(jmespath.compile(self.source.one_item), answer), charset)

        url = self.source.one_url.replace("{id}", quote(known.external_id, safe=""))
        headers = {name: self.run.secret(value, "a header") for name, value in self.source.headers.items()}
        accept = {"Accept": "application/json", **headers}
        return self.ask(url, self.one_answer(known, read), page=known.external_id, headers=accept)

    def no_way_back(self) -> str:
        """See Connector: a list without pages has no older ones."""
        if self.source.pagination.kind != "none":
            return ""
        return "its entry in sources.yaml names no pagination, so only the one page of an ordinary reading is known"

    def page_back(self, place: Place | None) -> Iterator[Request]:
        """See Connector."""
        at = place or {"place": self.source.pagination.start}
        yield self._ask_page(
            int(at.get("number", 1)), int(at["place"]), str(at.get("cursor", "")), str(at.get("url", ""))
        )

    def _looks_back(self) -> bool:
        """Whether this reading goes on behind what is known; the first one of a source has no need to."""
        run = self.run
        if run.back is not None or run.watermark is None:
            return False
        now, last = run.clock(), run.cursor.get(_LOOKED)
        if last and now - datetime.fromisoformat(last) < timedelta(hours=run.settings.force_full_h):
            return False
        run.cursor[_LOOKED] = now.astimezone(UTC).isoformat()
        return bool(last)

    def _known_until(self) -> datetime | None:
        """Posts up to this time are taken for known."""
        mark = self.run.watermark
        return mark - LOOK_BACK if mark is not None and self._deep else mark

    def _ask_page(self, number: int, place: int, cursor: str, url: str = "") -> Request:
        """`number` counts pages of this reading from 1; `place` is the page number or offset."""
        values = {
            "page": str(place),
            "offset": str(place),
            "cursor": cursor,
            "size": str(self.source.pagination.size),
            "since": self._since(),
            "until": _stamp(self.run.back.until if self.run.back is not None else self.run.clock()),
        }
        address = url or _fill(self.source.url, values, quoted=True)
        body = _fill(self.source.body, values, quoted=False)

        async def step(response: Response) -> AsyncIterator[Found]:
            async for found in self.parse_page(response, address, number, place):
                yield found

        headers = {
            "Accept": "application/json",
            **{name: self.run.secret(value, "a header") for name, value in self.source.headers.items()},
        }
        if self.source.method == "POST":
            headers.setdefault(
                "Content-Type",
                "application/json"
                if body.lstrip().startswith(("{", "["))
                else "application/x-www-form-urlencoded",
            )
            return self.ask(address, step, headers=headers, method="POST", body=body, priority=10)
        if self._deep:
            return self.ask(
                address, step, headers=headers, priority=10
            )  # in full: what is late need not be on page 1
        return self.ask_list(address, step, headers=headers)

    def _since(self) -> str:
        if self.run.back is not None:
            return _stamp(self.run.back.start)
        mark = self._known_until()
        since = mark - OVERLAP if mark is not None else self.run.clock() - FIRST_LOOK
        return _stamp(since)

    async def parse_page(self, response: Response, url: str, number: int, place: int) -> AsyncIterator[Found]:
        """Items of one page and the request for the next."""
        if number > 1 and response.status in (400, 404, 416):
            self.run.tally.lists_read += 1
            return  # WordPress and others say so when there is no further page
        self.check_list(response)
        if not self.run.list_changed(url, response) and not self._deep:
            return
        answer, charset = self.json_of(response)
        entries = _search(self._items, answer)
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
        back = self.run.back
        if back is not None:
            for post in posts:
                back.note(post.published_at)
            for item in self.wanted(items, await self.new_posts(items)):
                yield item
            back.following = self._next(response, answer, entries, number, place, url)
            return
        go_on = await self._goes_on(posts)
        for item in items:
            yield item
        following = self._next(response, answer, entries, number, place, url) if go_on else None
        if following is not None:
            yield next(self.page_back(following))

    def _missing(self, entry: Any) -> str:
        return (
            " and ".join(name for name in ("id", "text") if not _search(self._fields[name], entry))
            or "usable fields"
        )

    async def _goes_on(self, posts: list[PostItem]) -> bool:
        if self.run.room <= len(posts) and posts:
            self.run.truncated = self.run.truncated or self.run.room < len(posts)
        if self.source.stop == "none" or self.run.was_unfinished:
            return True
        if self.source.stop == "older" or self._deep:
            mark = self._known_until()
            return mark is None or any(
                post.published_at is None or post.published_at > mark for post in posts
            )
        return bool(await self.run.unknown([post.external_id for post in posts])) or not posts

    def _next(
        self, response: Response, answer: Any, entries: list[Any], number: int, place: int, url: str
    ) -> Place | None:
        """Where the next page lies; None when there is none or it is not to be read."""
        pages = self.source.pagination
        if pages.kind == "none":
            return None
        if pages.kind == "link":
            header = b",".join(response.headers.getlist("Link")).decode("latin-1")
            match = _LINK_NEXT.search(header)
            target = joined(url, match.group(1)) if match else ""
        elif pages.kind in ("cursor", "next"):
            found = _search(jmespath.compile(pages.cursor), answer)
            target = str(found) if found not in (None, "", False) else ""
            if pages.kind == "next" and target:
                target = joined(url, target)
        else:
            target = "more" if entries else ""
        if not target:
            return None
        if self.run.back is None and self.run.room <= 0:
            self.run.truncated = True
            return None
        if self.run.back is None and number >= pages.max_pages:
            return None  # the operator's own limit: older posts are not wanted
        following: Place = {"number": number + 1, "place": place}
        if pages.kind in ("link", "next"):
            return following | {"url": target}
        if pages.kind == "cursor":
            return following | {"cursor": target}
        if len(entries) < pages.size:
            return None
        return following | {"place": place + (pages.size if pages.kind == "offset" else 1)}

    def _item(self, entry: Any, charset: str) -> PostItem | Unusable:
        values = {name: _search(path, entry) for name, path in self._fields.items()}
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
            url=canonical(joined(self.source.url, str(values["url"]))) if values.get("url") else "",
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


def _stamp(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _fill(template: str, values: dict[str, str], *, quoted: bool) -> str:
    """`{page}` and its like replaced; other braces (a JSON body has many) stay."""

    def fill(match: re.Match[str]) -> str:
        value = values[match.group(1)]
        return quote(value, safe="") if quoted else value

    return re.sub(r"\{(page|offset|cursor|size|since|until)\}", fill, template)


def _words(value: Any) -> str:
    return "" if value is None or isinstance(value, dict | list) else plain(str(value))


def _search(path: Any, value: Any) -> Any:
    """What an expression finds; None where a function of it does not fit this entry (`join` over a null)."""
    try:
        return path.search(value)
    except JMESPathError:
        return None


def _count(value: Any) -> int | None:
    try:
        return max(0, int(value))
    except (TypeError, ValueError, OverflowError):
        return None
