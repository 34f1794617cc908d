"""Public posts of a Mastodon server: a tag or the public timeline, newest first, back to the last post that is known."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import parse_qs, quote, urlencode, urlsplit

from scrapy import Request
from scrapy.http import Response

from config.sources import MastodonSource, Source
from incidents.revisits import KnownPost
from spiders.connectors.base import Connector, Found, canonical, provenance
from spiders.dates import is_future, parse_when
from spiders.items import PostItem, Unusable
from spiders.pageback import Place
from spiders.pagetext import plain
from spiders.pipelines import external_id
from spiders.problems import Blocked, Changed

_NEXT = re.compile(r"<([^>]+)>\s*;[^,]*\brel\s*=\s*\"?next\"?", re.IGNORECASE)
_MARK = "since_id"
#: how late, in milliseconds, a post of another server may arrive; its id tells when it was written
_LATE_MS = 3_600_000


class MastodonConnector(Connector):
    """See config.sources.MastodonSource."""

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self._newest = run.mark(_MARK)
        self._hidden = 0

    @property
    def source(self) -> MastodonSource:
        """The source with its own fields."""
        return cast("MastodonSource", self.run.source)

    def start(self) -> Iterator[Request]:
        """The newest page. Raises SourceProblem when the token is not set."""
        yield self._ask_page(1, "")

    @classmethod
    def counts_of(cls, source: Source) -> bool:
        """See Connector: the interface tells all three."""
        return True

    def visit(self, known: KnownPost) -> Request:
        """See Connector: one request to the interface."""

        url = f"{self.source.url.rstrip('/')}/api/v1/statuses/{quote(known.external_id, safe='')}"
        step = self.one_answer(known, self._item)
        return self.ask(url, step, page=known.external_id, headers=self._headers())

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if self.source.token:
            headers["Authorization"] = f"Bearer {self.run.secret(self.source.token, 'token')}"
        return headers

    def no_way_back(self) -> str:
        """See Connector: a timeline is paged by max_id."""
        return ""

    def page_back(self, place: Place | None) -> Iterator[Request]:
        """See Connector. Where ids are made from the time, the first page is the one at the end of the range."""
        back = self.run.back
        first = _id_at(back.until, back.marks.get(_MARK, "")) if back is not None else ""
        at = place or {"number": 1, "max_id": first}
        yield self._ask_page(int(at["number"]), str(at["max_id"]))

    def _ask_page(self, number: int, max_id: str) -> Request:
        source = self.source
        path = f"tag/{quote(source.tag, safe='')}" if source.timeline == "tag" else "public"
        query = {"limit": str(source.size)}
        if source.local:
            query["local"] = "true"
        # an unfinished reading left a gap behind its newest posts, so since_id stays at the last complete one
        if since := _back(self.run.mark(_MARK)):
            query["since_id"] = since
        if max_id:
            query["max_id"] = max_id

        async def step(response: Response) -> AsyncIterator[Found]:
            async for found in self.parse_page(response, number):
                yield found

        url = f"{source.url.rstrip('/')}/api/v1/timelines/{path}?{urlencode(query)}"
        return self.ask(url, step, headers=self._headers(), priority=10)

    def check_list(self, response: Response) -> None:
        """Raise a SourceProblem unless the answer is 200; 422 is how servers ask for a token."""
        if response.status == 422:
            raise Blocked(
                f"{self.source.url} shows this timeline only with a token (status 422); ask its owner for one and name it in `token`, or choose another server"
            )
        super().check_list(response)

    async def parse_page(self, response: Response, number: int) -> AsyncIterator[Found]:
        """Posts of one page and the request for the next."""
        self.check_list(response)
        self.run.tally.lists_read += 1
        statuses, charset = self.json_of(response)
        if not isinstance(statuses, list):
            raise Changed(
                f"{self.source.url}: the timeline is no list; is this a server that speaks Mastodon's API?"
            )
        mark = self.run.mark(_MARK)
        fresh = [s for s in statuses if not mark or _order(_id_of(s)) > _order(_back(mark))]
        self.run.tally.found += len(fresh)
        self._newest = max([self._newest, *map(_id_of, fresh)], key=_order)
        shown = [status for status in fresh if _open(status)]
        self._hidden += len(fresh) - len(shown)
        items = [self._item(status, charset) for status in shown]
        new = await self.new_posts(items)
        if number == 1 and mark and not new:
            self.run.tally.lists_unchanged += 1
        for item in self.wanted(items, new):
            yield item
        max_id = self._following(response)
        if (back := self.run.back) is not None:
            for item in items:
                back.note(item.published_at if isinstance(item, PostItem) else None)
            back.pause = _wait(response, self) or back.pause
            if max_id and statuses:
                back.following = {"number": number + 1, "max_id": max_id}
            return
        if max_id and fresh and len(fresh) == len(statuses):
            wait = _wait(response, self)
            if self.run.room <= 0 or wait is not None:
                self.run.truncated = True
                if wait is not None:
                    self.run.fresh_for = wait
                    self.run.notes.append("the server's limit of requests is reached")
            elif number < self.source.max_pages:
                yield self._ask_page(number + 1, max_id)
                return
            elif mark:
                self.run.notes.append(
                    f"older posts lie behind the {number} pages of max_pages and were not read"
                )
        if self._newest:
            self.run.set_mark(_MARK, self._newest)
        if self._hidden:
            self.run.notes.append(
                f"{self._hidden} posts left out: not public, or their author does not want to be indexed"
            )

    def _following(self, response: Response) -> str:
        """max_id of the Link header's next page. Its address drops since_id, so ours is built anew."""
        header = b",".join(response.headers.getlist("Link")).decode("latin-1")
        match = _NEXT.search(header)
        return parse_qs(urlsplit(match.group(1)).query).get("max_id", [""])[0] if match else ""

    def _item(self, status: Any, charset: str) -> PostItem | Unusable:
        ident = _id_of(status)
        if not ident:
            return self.odd_entry(status, "id", "no id")
        warning, text = plain(str(status.get("spoiler_text") or "")), plain(str(status.get("content") or ""))
        if not warning and not text:
            return self.odd_entry(status, "text", "no words (a picture, a poll)", external_id(ident))
        now = self.run.clock()
        account = status.get("account")
        origin = provenance(self.run, charset)
        if is_future(status.get("created_at"), now, self.run.zone):
            origin["future_date"] = True
        if status.get("in_reply_to_id"):
            origin["reply"] = True
        counts = {"likes": "favourites_count", "comments": "replies_count", "reposts": "reblogs_count"}
        return PostItem(
            source_id=self.source.id,
            external_id=external_id(ident),
            url=canonical(str(status.get("url") or status.get("uri") or ""))
            if status.get("url") or status.get("uri")
            else "",
            title=warning,
            text=text or warning,
            published_at=parse_when(status.get("created_at"), now, self.run.zone),
            author_raw=str(account.get("acct") or "") or None if isinstance(account, dict) else None,
            place_hint=self.source.district_hint,
            engagement={
                name: max(0, status[key]) for name, key in counts.items() if isinstance(status.get(key), int)
            },
            provenance=origin,
        )


def _id_of(status: Any) -> str:
    return str(status.get("id") or "") if isinstance(status, dict) else ""


def _back(mark: str) -> str:
    """`mark` an hour earlier, where ids are made from the time (Mastodon): a post from another server may arrive late."""
    if not (mark.isascii() and mark.isdigit() and 17 <= len(mark) < 30):
        return mark
    return str(max(0, int(mark) - (_LATE_MS << 16)))


def _id_at(when: datetime, known: str) -> str:
    """The smallest id of a post written later, if `known` shows that ids are made from the time; else ""."""
    if not (known.isascii() and known.isdigit()) or len(known) < 17:
        return ""
    return str(int(when.timestamp() * 1000) << 16)


def _order(ident: str) -> tuple[int, str]:
    """Ids are numbers that grow, written as text; other servers use sortable texts of one length."""
    return len(ident), ident


def _open(status: Any) -> bool:
    """Whether the post is public and its author did not ask robots to stay away. What has no such words is judged later."""
    if not isinstance(status, dict):
        return True
    account = status.get("account")
    noindex = isinstance(account, dict) and account.get("noindex") is True
    return status.get("visibility", "public") == "public" and not noindex


def _wait(response: Response, connector: Connector) -> timedelta | None:
    """How long to wait when this answer used up the server's limit (X-RateLimit-*); None when requests are left."""
    left = (response.headers.get("X-RateLimit-Remaining") or b"").decode("latin-1").strip()
    if left != "0":
        return None
    now = connector.run.clock()
    raw = (response.headers.get("X-RateLimit-Reset") or b"").decode("latin-1")
    reset = parse_when(raw, now + timedelta(days=1), connector.run.zone)
    return max(timedelta(minutes=1), reset - now) if reset is not None else timedelta(minutes=5)
