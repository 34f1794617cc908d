"""人民网领导留言板: citizens' messages to leaders, by forum (fid), newest first, from the list that the site's own pages read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import urlencode, urljoin

from scrapy import Request
from scrapy.http import Response

from config.sources import LiuyanSource
from incidents.revisits import KnownPost
from spiders.connectors.base import Connector, Found, provenance
from spiders.dates import is_future, parse_when
from spiders.items import PostItem, Unusable
from spiders.pageback import PageBack, Place
from spiders.pagetext import plain
from spiders.pipelines import external_id
from spiders.problems import Blocked, Changed, LoginWall
from spiders.redact import redact, without_author

#: a message with a number below the mark is still new when it is no older: it is shown after a check that can take days
LATE = timedelta(days=30)
#: characters of an official answer that are kept
MAX_ANSWER = 4000
#: how often the list is read further down for answers, and where the last time is kept
LOOK_EVERY = timedelta(hours=24)
_LOOKED = "answers_looked_at"
_REFUSALS = ("频繁", "验证", "非法", "限制")


class LiuyanConnector(Connector):
    """See config.sources.LiuyanSource."""

    #: this reading goes down the list for later answers
    _looking = False

    @property
    def source(self) -> LiuyanSource:
        """The source with its own fields."""
        return cast("LiuyanSource", self.run.source)

    def start(self) -> Iterator[Request]:
        """The newest page of every forum."""
        now, last = self.run.clock(), self.run.cursor.get(_LOOKED)
        if last and self.source.answers_days:
            self._looking = now - datetime.fromisoformat(last) >= LOOK_EVERY
        if self._looking or last is None:  # the first reading itself has just read the list
            self.run.cursor[_LOOKED] = now.isoformat()
        for fid in self.source.fids:
            yield self._ask_page(fid, 0, 1)

    list_covers = True

    def visit(self, known: KnownPost) -> None:
        """See Connector: a message's page is a script; its list tells."""

    def no_way_back(self) -> str:
        """See Connector: each page names the last message of the one before."""
        return ""

    def page_back(self, place: Place | None) -> Iterator[Request]:
        """See Connector; one forum after the other."""
        at = place or {"fid": self.source.fids[0], "last": 0, "number": 1}
        yield self._ask_page(int(at["fid"]), int(at["last"]), int(at["number"]))

    def _page_said(self, back: PageBack, fid: int, posts: list[PostItem], last: int, number: int) -> None:
        """Where a back-fill goes on behind a page."""
        for post in posts:
            back.note(post.published_at)
        deeper = int(posts[-1].external_id) if posts else last
        if deeper != last:
            back.following = {"fid": fid, "last": deeper, "number": number + 1}
        fids = self.source.fids
        after = fids[fids.index(fid) + 1 :] if fid in fids else ()
        if after:
            back.other = {"fid": after[0], "last": 0, "number": 1}

    def _ask_page(self, fid: int, last: int, number: int) -> Request:
        """Page `number` of a forum in this reading: the messages behind message `last`."""
        form = urlencode({"fid": fid, "lastItem": last, "pageSize": self.source.page_size})

        async def step(response: Response) -> AsyncIterator[Found]:
            async for found in self.parse_page(response, fid, last, number):
                yield found

        headers = {
            "Accept": "application/json, text/javascript, */*; q=0.01",
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "X-Requested-With": "XMLHttpRequest",
            "Referer": urljoin(self.source.url, f"../forum/list?fid={fid}"),
        }
        return self.ask(self.source.url, step, headers=headers, method="POST", body=form, priority=10)

    async def parse_page(self, response: Response, fid: int, last: int, number: int) -> AsyncIterator[Found]:
        """The messages of one page, and the next page while there are new ones."""
        self.check_list(response)
        changed = self.run.list_changed(f"{self.source.url}#fid={fid}&lastItem={last}", response)
        if not changed and not self._looking:
            return
        answer, charset = self.json_of(response)
        entries = self._entries(answer, fid)
        self.run.tally.found += len(entries)
        found = [self._item(entry, fid, charset) for entry in entries]
        posts = {item.external_id: item for item in found if isinstance(item, PostItem)}
        if len(entries) > 1 and not posts:
            for item in found:
                yield item
            raise Changed(
                f"{self.source.url}: none of {len(entries)} messages has a tid and words; the answer's form changed"
            )
        unknown = await self.run.unknown(list(posts))
        new = {ident for ident in unknown if self._is_new(posts[ident], fid)}
        known = [ident for ident in posts if ident not in set(unknown)]
        for item in found:
            # what retention removed stays removed
            if isinstance(item, Unusable) or item.external_id in new:
                yield item
        if self.run.back is not None:
            self._page_said(self.run.back, fid, list(posts.values()), last, number)
            return
        for ident in known:
            # their likes may have changed; they must not take the place of what an unfinished reading left
            if not self.run.was_unfinished and self.run.room > 0:
                yield posts[ident]
        for ident in posts:
            self.raise_mark(_mark(fid), int(ident))
        following = next((int(ident) for ident in reversed(posts)), 0)
        if not following or following == last:
            return
        if not (new or self.run.was_unfinished):
            if self._looks_further(list(posts.values()), number):
                yield self._ask_page(fid, following, number + 1)
            return
        if self.run.room <= 0:
            self.run.truncated = True
        elif number < self.source.max_pages or self._looks_further(list(posts.values()), number):
            yield self._ask_page(fid, following, number + 1)
        elif self.mark(_mark(fid)) is not None and len(new) == len(posts):
            self.run.notes.append(
                f"forum {fid}: the {number} pages of max_pages held new messages only; older new ones may have been missed"
            )

    def _looks_further(self, posts: list[PostItem], number: int) -> bool:
        """Whether the daily look for later answers goes on behind this page."""
        if not self._looking or number >= self.source.answers_pages or self.run.room <= 0:
            return False
        times = [post.published_at for post in posts if post.published_at is not None]
        return bool(times) and self.run.clock() - min(times) <= timedelta(days=self.source.answers_days)

    def _entries(self, answer: Any, fid: int) -> list[Any]:
        if not isinstance(answer, dict) or "result" not in answer:
            raise Changed(
                f"{self.source.url}: the answer names no result; the address or the site's interface changed"
            )
        if str(answer["result"]).lower() != "success":
            words = " ".join(redact(plain(str(answer.get("resultDesc") or ""))).text.split())[:120]
            sentence = (
                f"{self.source.url} answers “{words or answer['result']}” for forum {fid} instead of a list"
            )
            if "登录" in words:
                raise LoginWall(f"{sentence}; this product reads public pages only")
            if any(word in words for word in _REFUSALS):
                pause = timedelta(hours=self.run.settings.block_pause_h)
                raise Blocked(f"{sentence}; we do not get around walls", pause=pause)
            raise Changed(f"{sentence}; check fids in sources.yaml")
        entries = answer.get("responseData")
        if entries is None:
            return []
        if not isinstance(entries, list):
            raise Changed(f"{self.source.url}: responseData is no list; the site's interface changed")
        return entries

    def _item(self, entry: Any, fid: int, charset: str) -> PostItem | Unusable:
        """The message. Name and network address of its author are not read into anything that is written."""
        if not isinstance(entry, dict):
            return self._unusable("id", "the message is no record", {"type": type(entry).__name__})
        tid = str(entry.get("tid") or "")
        title, text = plain(_text(entry, "subject")), plain(_text(entry, "content"))
        if not (tid.isascii() and tid.isdigit()) or len(tid) > 18:
            return self._unusable("id", "no tid", {"keys": sorted(map(str, entry))[:60]})
        if not title and not text:
            return self._unusable(
                "text", "neither title nor text", {"keys": sorted(map(str, entry))[:60]}, external_id(tid)
            )
        nick = _text(entry, "nickName") or None
        now = self.run.clock()
        raw = entry.get("dateline") or entry.get("threadsCheckTime")
        origin = provenance(self.run, charset) | {"fid": fid}
        if is_future(raw, now, self.run.zone):
            origin["future_date"] = True
        for name, key in (("category", "domainName"), ("type", "typeName"), ("state", "stateInfo")):
            if value := _text(entry, key):
                origin[name] = redact(value).text[:40]
        answer = _answer(entry, nick)
        if answer:
            origin["answer"] = answer
        likes = entry.get("favNum")
        return PostItem(
            source_id=self.source.id,
            external_id=external_id(tid),
            url=urljoin(self.source.url, f"/threads/content?tid={tid}"),
            title=title,
            text=text or title,
            published_at=parse_when(raw, now, self.run.zone),
            author_raw=nick,
            place_hint=self.source.district_hint,
            engagement={"likes": likes} if isinstance(likes, int) and likes >= 0 else {},
            provenance=origin,
        )

    def _unusable(self, field: str, reason: str, payload: dict[str, Any], ident: str = "") -> Unusable:
        # the names of an entry's keys, not their values: among them are its author's name and network address
        return Unusable(
            source_id=self.source.id, external_id=ident, field=field, reason=reason, payload=payload
        )

    def _is_new(self, post: PostItem, fid: int) -> bool:
        """Whether a message that is not stored is to be taken: old ones that retention removed are not."""
        mark = self.mark(_mark(fid))
        if mark is None or int(post.external_id) > mark or self.run.was_unfinished:
            return True
        when: datetime | None = post.published_at
        return when is not None and self.run.clock() - when <= LATE


def _mark(fid: int) -> str:
    return f"fid:{fid}"


def _text(entry: dict[str, Any], key: str) -> str:
    value = entry.get(key)
    return str(value).strip() if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _answer(entry: dict[str, Any], nick: str | None) -> dict[str, str]:
    """The official answer, redacted: it often repeats the author's name, telephone or door number. Empty without one."""
    words = without_author(redact(plain(_text(entry, "answerContent"))).text, nick)
    if not words:
        return {}
    office = redact(plain(_text(entry, "answerOrganization"))).text[:80]
    return {"organization": office, "text": words[:MAX_ANSWER]}
