"""Public posts of the AT protocol: the records of given accounts (listRecords), or a search (searchPosts), newest first."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode

from scrapy import Request
from scrapy.http import Response

from config.sources import AtprotoSource, Source
from incidents.revisits import KnownPost
from spiders.connectors.base import Connector, Found, provenance
from spiders.dates import FUTURE_TOLERANCE, is_future, parse_when
from spiders.items import PostItem, Unusable
from spiders.pageback import PageBack, Place
from spiders.pagetext import tidy
from spiders.pipelines import external_id
from spiders.problems import Blocked, Changed

#: a search finds posts late: it is asked again from this far behind the watermark
OVERLAP = timedelta(hours=1)
_DIGITS = "234567abcdefghijklmnopqrstuvwxyz"
_TIMED_KEY = re.compile(rf"[2-7a-j][{_DIGITS}]{{12}}")
#: label by which people ask not to be shown to those who are not logged in
_NOT_IN_PUBLIC = "!no-unauthenticated"


class AtprotoConnector(Connector):
    """See config.sources.AtprotoSource."""

    def __init__(self, run: Any) -> None:
        super().__init__(run)
        self._newest: dict[str, str] = {}
        self._gone: list[str] = []
        self._hidden = 0

    @property
    def source(self) -> AtprotoSource:
        """The source with its own fields."""
        return cast("AtprotoSource", self.run.source)

    def start(self) -> Iterator[Request]:
        """The newest page of each account, or of the search. Raises SourceProblem when the token is not set."""
        if self.source.search:
            yield self._ask_search(1, "")
        else:
            for repo in self.source.repos:
                yield self._ask_repo(repo, 1, "")

    @classmethod
    def counts_of(cls, source: Source) -> bool:
        """See Connector: a search tells counts, the records of an account do not."""
        return bool(getattr(source, "search", ""))

    def visit(self, known: KnownPost) -> Request | None:
        """See Connector: one request to the interface."""
        if not known.external_id.startswith("at://"):
            return None

        async def step(response: Response) -> AsyncIterator[Found]:
            if response.status == 400 and b"notfound" in response.body.lower().replace(b" ", b""):
                self.run.visited(known, "gone", status=response.status)
                return
            if response.status != 200:
                self.run.visited(known, "unclear", status=response.status)
                return
            answer, charset = self.json_of(response)
            posts = answer.get("posts") if isinstance(answer, dict) else None
            if self.source.search and posts == []:
                self.run.visited(known, "gone", status=response.status)
            else:
                yield self._record(posts[0] if isinstance(posts, list) and posts else answer, charset)

        if self.source.search:
            return self._ask("app.bsky.feed.getPosts", {"uris": known.external_id}, step)
        repo, _, rest = known.external_id.removeprefix("at://").partition("/")
        collection, _, rkey = rest.partition("/")
        return self._ask(
            "com.atproto.repo.getRecord", {"repo": repo, "collection": collection, "rkey": rkey}, step
        )

    def no_way_back(self) -> str:
        """See Connector: records and searches are paged by a cursor."""
        return ""

    def page_back(self, place: Place | None) -> Iterator[Request]:
        """See Connector; one account after the other."""
        at = place or {"repo": "" if self.source.search else self.source.repos[0], "number": 1, "cursor": ""}
        number, cursor = int(at["number"]), str(at["cursor"])
        if self.source.search:
            yield self._ask_search(number, cursor)
        else:
            yield self._ask_repo(str(at["repo"]), number, cursor)

    def _page_said(
        self, back: PageBack, repo: str, items: list[PostItem | Unusable], number: int, cursor: str
    ) -> None:
        """Where a back-fill goes on behind a page."""
        for item in items:
            back.note(item.published_at if isinstance(item, PostItem) else None)
        if cursor and items:
            back.following = {"repo": repo, "number": number + 1, "cursor": cursor}
        repos = self.source.repos
        after = repos[repos.index(repo) + 1 :] if repo in repos else ()
        if after:
            back.other = {"repo": after[0], "number": 1, "cursor": ""}

    def _ask(self, method: str, query: dict[str, str], step: Any) -> Request:
        headers = {"Accept": "application/json"}
        if self.source.token:
            headers["Authorization"] = f"Bearer {self.run.secret(self.source.token, 'token')}"
        url = f"{self.source.url.rstrip('/')}/xrpc/{method}?{urlencode(query)}"
        return self.ask(url, step, headers=headers, priority=10)

    # --- records of an account

    def _ask_repo(self, repo: str, number: int, cursor: str) -> Request:
        query = {"repo": repo, "collection": self.source.collection, "limit": str(self.source.size)}
        if cursor:
            query["cursor"] = cursor

        async def step(response: Response) -> AsyncIterator[Found]:
            async for found in self.parse_records(response, repo, number):
                yield found

        return self._ask("com.atproto.repo.listRecords", query, step)

    async def parse_records(self, response: Response, repo: str, number: int) -> AsyncIterator[Found]:
        """Records of one page, down to the last one known, and the request for the next page."""
        if response.status == 400 and number == 1:
            self._lost(repo, response)
            if self.run.back is not None:
                self._page_said(self.run.back, repo, [], number, "")
            return
        answer, records, charset = self._list(response, "records")
        # record keys are made from the time and grow; the newest one of the last complete reading is the mark
        mark = self.run.mark(repo)
        keys = [_key(record, self.run.clock()) for record in records]
        fresh = [
            record for record, key in zip(records, keys, strict=True) if not mark or not key or key > mark
        ]
        self.run.tally.found += len(fresh)
        if number == 1 and mark and not fresh:
            self.run.tally.lists_unchanged += 1
        self._newest[repo] = max([self._newest.get(repo, mark), *keys])
        items = [self._record(record, charset) for record in fresh]
        for item in self.wanted(items, await self.new_posts(items)):
            yield item
        cursor = str(answer.get("cursor") or "")
        if self.run.back is not None:
            self._page_said(self.run.back, repo, items, number, cursor)
            return
        if cursor and fresh and len(fresh) == len(records):
            if self.run.room <= 0:
                self.run.truncated = True
            elif number < self.source.max_pages:
                yield self._ask_repo(repo, number + 1, cursor)
                return
            elif mark:
                self.run.notes.append(
                    f"{repo}: older posts lie behind the {number} pages of max_pages and were not read"
                )
        if self._newest[repo]:
            self.run.set_mark(repo, self._newest[repo])

    def _lost(self, repo: str, response: Response) -> None:
        """One account that is gone does not cost the others; all of them gone is a problem. Raises Changed."""
        self.run.tally.lists_read += 1
        self._gone.append(repo)
        if len(self._gone) == len(self.source.repos):
            raise Changed(
                f"{self.source.url} does not have {', '.join(self._gone[:5])} (it says “{_error(response)}”); correct `repos` in sources.yaml, or name the server that holds them"
            )
        self.run.notes.append(f"{repo}: the server does not have this account")

    # --- search

    def _ask_search(self, number: int, cursor: str) -> Request:
        query = {"q": self.source.search, "limit": str(self.source.size), "sort": "latest"}
        if (back := self.run.back) is not None:
            query["since"], query["until"] = (
                when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for when in (back.start, back.until)
            )
        elif (mark := self.run.watermark) is not None:
            query["since"] = (mark - OVERLAP).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if cursor:
            query["cursor"] = cursor

        async def step(response: Response) -> AsyncIterator[Found]:
            async for found in self.parse_search(response, number):
                yield found

        self.run.hints["blocked"] = (
            "servers give searches to members only: name a `token`, or list accounts in `repos`"
        )
        return self._ask("app.bsky.feed.searchPosts", query, step)

    async def parse_search(self, response: Response, number: int) -> AsyncIterator[Found]:
        """Posts of one page of a search and the request for the next page."""
        if response.status == 400 and number > 1:
            # some servers refuse the cursor of a search
            self.run.notes.append("the server refuses further pages of a search")
            self.run.tally.lists_read += 1
            return
        answer, posts, charset = self._list(response, "posts")
        self.run.tally.found += len(posts)
        shown = [post for post in posts if not _asks_for_privacy(post)]
        self._hidden += len(posts) - len(shown)
        items = [self._record(post, charset) for post in shown]
        new = await self.new_posts(items)
        for item in self.wanted(items, new):
            yield item
        cursor = str(answer.get("cursor") or "")
        if self.run.back is not None:
            self._page_said(self.run.back, "", items, number, cursor)
            return
        if cursor and posts and (new or self.run.was_unfinished):
            if self.run.room <= 0:
                self.run.truncated = True
            elif number < self.source.max_pages:
                yield self._ask_search(number + 1, cursor)
                return
        if self._hidden:
            self.run.notes.append(f"{self._hidden} posts left out: their author shows them to members only")

    # --- both

    def _list(self, response: Response, name: str) -> tuple[dict[str, Any], list[Any], str]:
        if response.status == 400:
            raise Changed(f"{self.source.url} refuses the question (it says “{_error(response)}”)")
        if response.status == 401:
            raise Blocked(
                f"{self.source.url} asks for a token (it says “{_error(response)}”); name one in `token`"
            )
        self.check_list(response)
        self.run.tally.lists_read += 1
        answer, charset = self.json_of(response)
        entries = answer.get(name) if isinstance(answer, dict) else None
        if not isinstance(entries, list):
            raise Changed(
                f"{self.source.url}: the answer has no list `{name}`; is this a server of the AT protocol?"
            )
        return answer, entries, charset

    def _record(self, entry: Any, charset: str) -> PostItem | Unusable:
        uri = str(entry.get("uri") or "") if isinstance(entry, dict) else ""
        if not uri.startswith("at://") or uri.count("/") < 4:
            return self.odd_entry(entry, "id", "no at:// address")
        value = entry.get("value") or entry.get("record")
        text = tidy(str(value.get("text") or "")) if isinstance(value, dict) else ""
        if not isinstance(value, dict) or not text:
            return self.odd_entry(value, "text", "no words (a picture, a repost)", external_id(uri))
        did, _, rkey = uri.removeprefix("at://").split("/", 2)
        now = self.run.clock()
        raw = value.get("createdAt")
        origin = provenance(self.run, charset)
        if is_future(raw, now, self.run.zone):
            origin["future_date"] = True
        if value.get("reply"):
            origin["reply"] = True
        counts = {"likes": "likeCount", "comments": "replyCount", "reposts": "repostCount"}
        return PostItem(
            source_id=self.source.id,
            external_id=external_id(uri),
            url=f"{self.source.web.rstrip('/')}/profile/{did}/post/{rkey}",
            text=text,
            published_at=parse_when(raw, now, self.run.zone),
            author_raw=did,
            place_hint=self.source.district_hint,
            engagement={
                name: max(0, entry[key]) for name, key in counts.items() if isinstance(entry.get(key), int)
            },
            provenance=origin,
        )


def _key(record: Any, now: datetime) -> str:
    """The record's key if it is made from a time that is not in the future, else "": such a key must not become the mark."""
    key = str(record.get("uri") or "").rsplit("/", 1)[-1] if isinstance(record, dict) else ""
    if not _TIMED_KEY.fullmatch(key):
        return ""
    number = 0
    for letter in key:
        number = number * 32 + _DIGITS.index(letter)
    micros = number >> 10  # the last ten bits tell the writer's clock
    return key if micros <= (now + FUTURE_TOLERANCE).timestamp() * 1_000_000 else ""


def _asks_for_privacy(post: Any) -> bool:
    author = post.get("author") if isinstance(post, dict) else None
    labels = author.get("labels") if isinstance(author, dict) else None
    known = labels if isinstance(labels, list) else []
    return any(isinstance(label, dict) and label.get("val") == _NOT_IN_PUBLIC for label in known)


def _error(response: Response) -> str:
    try:
        answer = json.loads(response.body)
        return str(answer.get("message") or answer.get("error") or "")[:120]
    except (ValueError, AttributeError):
        return f"status {response.status}"
