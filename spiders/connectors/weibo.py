"""Weibo's open API with the city's own authorised account. Only what the API gives such an account; no page of the site is read.

The platform counts requests: the day's count is kept with the source, and nothing is asked when it is spent.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode

from scrapy import Request
from scrapy.http import Response

from config.sources import WeiboSource
from incidents.revisits import KnownPost
from spiders.connectors.base import Connector, Found, provenance
from spiders.dates import SHANGHAI, is_future, parse_when
from spiders.items import PostItem, Unusable
from spiders.pagetext import plain
from spiders.pipelines import external_id
from spiders.problems import Blocked, Changed, SourceProblem

_MARK = "since_id"
#: error codes of the platform: limits of the account or the address, a token that no longer opens, a missing grant
_LIMITS = {10022, 10023, 10024}
_TOKEN = {21314, 21315, 21316, 21317, 21319, 21327, 21332}
_GRANT = {10014, 10021, 21321}
#: text of a repost without words of its own
_BARE_REPOST = {"转发微博", "轉發微博", "Repost", "//"}


class WeiboConnector(Connector):
    """See config.sources.WeiboSource."""

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self._newest = run.mark(_MARK)
        self._bare = 0

    @property
    def source(self) -> WeiboSource:
        """The source with its own fields."""
        return cast("WeiboSource", self.run.source)

    def start(self) -> Iterator[Request]:
        """The newest page. Raises SourceProblem when the token is not set or the day's requests are spent."""
        self.run.read_refusal = self._refusal
        self.run.secrets = (self.run.secret(self.source.token, "token"),)
        if self._left() <= 0:
            raise SourceProblem(
                f"the {self.source.daily_requests} requests of today are spent; it goes on after midnight (Beijing time)",
                pause=self._until_midnight(),
            )
        yield self._ask_page(1)

    def visit(self, known: KnownPost) -> None:
        """See Connector: no page of the site is read, and the day's requests are counted."""

    def no_way_back(self) -> str:
        """See Connector: the day's requests are counted, and the ordinary readings need them."""
        return "Weibo's API counts the requests of a day and a back-fill would use up those of the ordinary readings; import the platform's export of that time instead (quansheng import)"

    # --- the day's requests

    def _today(self) -> str:
        return self.run.clock().astimezone(SHANGHAI).date().isoformat()

    def _left(self) -> int:
        kept = dict(self.run.cursor.get("quota", {}))
        used: int = int(kept.get("used", 0)) if kept.get("day") == self._today() else 0
        return self.source.daily_requests - used

    def _count(self) -> None:
        self.run.cursor["quota"] = {
            "day": self._today(),
            "used": self.source.daily_requests - self._left() + 1,
        }

    def _until_midnight(self) -> timedelta:
        now = self.run.clock().astimezone(SHANGHAI)
        return datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), SHANGHAI) - now

    def _ask_page(self, number: int) -> Request:
        source = self.source
        query = {"count": str(source.size), "page": str(number)}
        if source.endpoint == "search/topics":
            query["q"] = f"#{source.topic}#"
        elif since := self.run.mark(_MARK):
            query["since_id"] = since
        self._count()

        async def step(response: Response) -> AsyncIterator[Found]:
            async for found in self.parse_page(response, number):
                yield found

        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",  # a refusal is read before it would be unpacked
            # in a header, so that the token stands in no address and no log
            "Authorization": f"OAuth2 {self.run.secret(source.token, 'token')}",
        }
        url = f"{source.url.rstrip('/')}/{source.endpoint}.json?{urlencode(query)}"
        request = self.ask(url, step, headers=headers, priority=10)
        request.meta["dont_retry"] = True  # each request is counted once
        return request

    # --- answers

    async def parse_page(self, response: Response, number: int) -> AsyncIterator[Found]:
        """Posts or comments of one page and the request for the next."""
        problem = self._told(response)
        if problem is not None:
            raise problem
        self.check_list(response)
        self.run.tally.lists_read += 1
        answer, charset = self.json_of(response)
        name = "comments" if self.source.endpoint == "comments/to_me" else "statuses"
        entries = answer.get(name) if isinstance(answer, dict) else None
        if answer == []:  # how the API says that there is nothing
            entries = []
        if not isinstance(entries, list):
            raise Changed(
                f"{self.source.url}/{self.source.endpoint}: the answer has no list `{name}`; the API changed"
            )
        self.run.tally.found += len(entries)
        items = [found for entry in entries if (found := self._item(entry, charset)) is not None]
        new = await self.new_posts(items)
        for item in self.wanted(items, new):
            yield item
        for entry in entries:
            if (
                (ident := _id_of(entry)).isascii()
                and ident.isdigit()
                and len(ident) < 30
                and int(ident) > int(self._newest or 0)
            ):
                self._newest = ident
        full = len(entries) >= self.source.size and (bool(new) or self.run.was_unfinished)
        if full and number < self.source.max_pages:
            if self.run.room > 0 and self._left() > 0:
                yield self._ask_page(number + 1)
                return
            self.run.truncated = True
            if self._left() <= 0:
                self.run.notes.append("the requests of today are spent")
        elif full and self.run.mark(_MARK):
            self.run.notes.append(f"older posts lie behind the {number} pages of max_pages and were not read")
        if self._newest:
            self.run.set_mark(_MARK, self._newest)
        if self._bare:
            self.run.notes.append(f"{self._bare} deleted posts and reposts without words left out")

    def _told(self, response: Response) -> SourceProblem | None:
        """The problem that an error object names ({"error": ..., "error_code": 10023}); None when there is none."""
        if response.status not in (200, 400, 401):
            return None
        code, words = _error(response)
        if not code:
            return None
        said = f"Weibo's API refuses {self.source.endpoint} ({code}: {words})"
        if code in _LIMITS:
            return Blocked(f"{said}: its limit of requests is reached", pause=self._limit_pause(code))
        if code in _TOKEN:
            return Blocked(f"{said}: the token is no longer valid; have the account authorised anew")
        if code in _GRANT:
            return Blocked(f"{said}: the platform has not granted this endpoint to the application")
        return SourceProblem(said)

    def _limit_pause(self, code: int) -> timedelta:
        return (
            timedelta(hours=1) if code == 10022 else self._until_midnight()
        )  # an address is counted by the hour

    def _refusal(self, response: Response) -> tuple[str, timedelta | None]:
        """What an answer 403 or the like says, for the host's pause."""
        code, words = _error(response)
        if not code:
            return "", None
        return f"{code}: {words}", self._limit_pause(code) if code in _LIMITS else None

    def _item(self, entry: Any, charset: str) -> PostItem | Unusable | None:
        ident = _id_of(entry)
        if not ident:
            return self.odd_entry(entry, "id", "no id")
        text = plain(str(entry.get("text") or ""))
        if entry.get("deleted") in (1, "1", True) or text in _BARE_REPOST:
            self._bare += 1
            return None
        if not text:
            return self.odd_entry(entry, "text", "no words", external_id(ident))
        raw_user, now = entry.get("user"), self.run.clock()
        user: dict[str, Any] = raw_user if isinstance(raw_user, dict) else {}
        author = str(user.get("idstr") or user.get("id") or "")
        origin = provenance(self.run, charset) | {"endpoint": self.source.endpoint}
        if is_future(entry.get("created_at"), now, self.run.zone):
            origin["future_date"] = True
        if entry.get("retweeted_status"):
            origin["repost"] = True
        counts = {"likes": "attitudes_count", "comments": "comments_count", "reposts": "reposts_count"}
        # a comment has no page of its own: the address is that of the post below which it stands
        page = entry.get("status") if self.source.endpoint == "comments/to_me" else entry
        return PostItem(
            source_id=self.source.id,
            external_id=external_id(ident),
            url=post_address(page),
            text=text,
            published_at=parse_when(entry.get("created_at"), now, self.run.zone),
            author_raw=author or None,
            place_hint=self.source.district_hint,
            engagement={
                name: max(0, entry[key]) for name, key in counts.items() if isinstance(entry.get(key), int)
            },
            provenance=origin,
        )


def post_address(status: Any) -> str:
    """The page of a post object, without its author's number; "" when it has no key of its own."""
    key = str(status.get("mid") or _id_of(status)) if isinstance(status, dict) else ""
    return f"https://m.weibo.cn/detail/{key}" if key.isdigit() else ""


def _id_of(entry: Any) -> str:
    return (
        str(entry.get("idstr") or entry.get("mid") or entry.get("id") or "")
        if isinstance(entry, dict)
        else ""
    )


def _error(response: Response) -> tuple[int, str]:
    """Code and words of an error object; (0, "") when the answer is none."""
    try:
        answer = json.loads(response.body)
        return int(answer["error_code"]), str(answer.get("error") or "")[:100]
    except (ValueError, KeyError, TypeError):
        return 0, ""
