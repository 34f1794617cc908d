"""One source in one crawl: what it asks, what it found, how it ended. Holds no connection; `Store` writes.

Posts are saved in batches while the crawl runs. Validators, watermark and state go with the last batch in one
transaction, so after a kill the next crawl asks again and finds the saved posts as repeats: nothing lost, nothing doubled.
While a crawl is unfinished its cursor says so, and then no page is taken for "known, stop here".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from scrapy.http import Response

from config.settings import CrawlSettings
from config.sources import Source
from incidents.posts import NewPost, SaveResult
from spiders.items import PostItem, Unusable
from spiders.pipelines import aside, to_post
from spiders.problems import SourceProblem

#: stands in an evidence for a number that only the last transaction knows
NEW = "{new}"
#: posts in one transaction; keeps SQLite's lock under 0.1 s
BATCH = 100
#: the longest that a failing source is left alone
MAX_BACKOFF = timedelta(hours=6)
#: addresses that gave no post; remembered so that they are not fetched again and again
MAX_SKIPPED = 2000
#: times a page may fail before it is skipped for good
MAX_TRIES = 5


@dataclass(frozen=True)
class Ending:
    """How a source's crawl ended, ready to be recorded. NEW in `evidence` stands for the number of new posts."""

    state: str
    evidence: str
    at: datetime
    next_due_at: datetime


@dataclass(frozen=True)
class Batch:
    """What goes into one transaction. `ending` is None while the crawl goes on."""

    source_id: str
    posts: tuple[NewPost, ...]
    asides: tuple[Unusable, ...]
    cursor: dict[str, Any]
    ending: Ending | None
    #: new posts of earlier batches of the same crawl
    saved_before: int = 0


class Store(Protocol):
    """Where a crawl asks and writes. Each call is one transaction."""

    async def known(self, source_id: str, external_ids: Sequence[str]) -> set[str]:
        """Which of these posts are stored."""

    async def save(self, batch: Batch) -> SaveResult:
        """Write a batch."""


@dataclass
class Tally:
    """Counts of one source in one crawl."""

    saved: int = 0
    repeats: int = 0
    set_aside: int = 0
    requests: int = 0
    found: int = 0  # entries that the lists held, known ones included
    lists_read: int = 0
    lists_unchanged: int = 0
    indexes: int = 0
    page_failures: int = 0
    skipped: int = 0


@dataclass
class SourceRun:
    """See the module. Made by job.py for one crawl and thrown away after it."""

    source: Source
    settings: CrawlSettings
    store: Store
    key: bytes
    clock: Callable[[], datetime]
    cursor: dict[str, Any] = field(default_factory=dict)
    failures: int = 0
    env: Mapping[str, str] = field(default_factory=dict)
    on_finish: Callable[[SourceRun], None] | None = None

    def __post_init__(self) -> None:
        self.started_at = self.clock()
        self.tally = Tally()
        self.problem: SourceProblem | None = None
        self.notes: list[str] = []
        self.ending: Ending | None = None
        self.error = ""  # the database's own failure
        self.stopped = False  # the process is being stopped before this source was read
        #: requests under way; the source is finished when none is left
        self.pending = 0
        #: an earlier crawl did not come to its end, so known posts do not prove that older ones are known
        self.was_unfinished = bool(self.cursor.get("unfinished"))
        self.truncated = False
        self.zone: tzinfo = zone_of(self.source.timezone)
        self._posts: list[NewPost] = []
        self._asides: list[Unusable] = []
        self._validators: dict[str, dict[str, Any]] = {
            url: dict(v) for url, v in dict(self.cursor.get("validators", {})).items()
        }
        self._seen_validators: dict[str, dict[str, Any]] = {}
        self._skip: dict[str, str] = dict(self.cursor.get("skip", {}))
        self._tries: dict[str, int] = dict(self.cursor.get("tries", {}))
        self._newest: datetime | None = None

    # --- what connectors ask

    @property
    def max_items(self) -> int:
        """New posts that may be taken in this crawl."""
        return self.source.max_items or self.settings.max_items

    @property
    def room(self) -> int:
        """New posts that may still be taken."""
        return max(0, self.max_items - self.tally.saved - len(self._posts))

    @property
    def watermark(self) -> datetime | None:
        """Publication time of the newest post of the last complete crawl."""
        raw = self.cursor.get("watermark")
        return datetime.fromisoformat(raw) if raw else None

    def conditional_headers(self, url: str) -> dict[str, str]:
        """If-None-Match and If-Modified-Since for a list page, unless a full answer is needed.

        A full answer is needed the first time, once in `force_full_h`, after an unfinished crawl, and always from a
        server that was caught calling changed pages unchanged.
        """
        kept = self._validators.get(url)
        if not kept or self.was_unfinished or self.cursor.get("etag_unreliable"):
            return {}
        full_at = datetime.fromisoformat(kept["full_at"])
        if self.clock() - full_at >= timedelta(hours=self.settings.force_full_h):
            return {}
        headers = {}
        if kept.get("etag"):
            headers["If-None-Match"] = kept["etag"]
        if kept.get("last_modified"):
            headers["If-Modified-Since"] = kept["last_modified"]
        return headers

    def list_changed(self, url: str, response: Response) -> bool:
        """Note a list page's answer; False when it is the one we know (304, or the same bytes) and nothing is to do.

        `url` is the address that was asked for: validators are kept under it.
        """
        self.tally.lists_read += 1
        kept = self._validators.get(url, {})
        if response.status == 304:
            self.tally.lists_unchanged += 1
            self._seen_validators[url] = kept
            return False
        digest = hashlib.sha256(response.body).hexdigest()
        fresh = {
            "etag": _header(response, "ETag"),
            "last_modified": _header(response, "Last-Modified"),
            "sha256": digest,
            "full_at": self.clock().astimezone(UTC).isoformat(),
        }
        self._seen_validators[url] = fresh
        same = kept.get("sha256") == digest and not self.was_unfinished
        if same:
            self.tally.lists_unchanged += 1
        elif (
            kept
            and (fresh["etag"] or fresh["last_modified"])
            and all(fresh[k] == kept.get(k, "") for k in ("etag", "last_modified"))
        ):
            self.cursor["etag_unreliable"] = True
            self.notes.append(
                "the server calls a changed list unchanged (same ETag and Last-Modified); it is read in full from now on"
            )
        return not same

    def is_index(self, url: str) -> None:
        """`url` only lists other lists. It is read in full each time: an index often stays the same while they change."""
        self._seen_validators.pop(url, None)
        self.tally.lists_read -= 1
        self.tally.indexes += 1

    async def unknown(self, external_ids: Sequence[str]) -> list[str]:
        """Those ids that are neither stored nor known to give no post, in their order, each once."""
        wanted = [i for i in dict.fromkeys(external_ids) if i not in self._skip]
        known = await self.store.known(self.source.id, wanted) if wanted else set()
        return [i for i in wanted if i not in known]

    # --- what connectors tell

    async def take(self, found: PostItem | Unusable) -> None:
        """Redact and keep one item, or set it aside; saves a batch when one is full."""
        if isinstance(found, PostItem):
            if self.room <= 0:
                self.truncated = True
                return
            post = to_post(found, self.key, self.clock())
            if isinstance(post, NewPost):
                self._posts.append(post)
                if not post.published_estimated and (
                    self._newest is None or post.published_at > self._newest
                ):
                    self._newest = post.published_at
            else:
                found = post
        if isinstance(found, Unusable):
            self._set_aside(found)
        if len(self._posts) >= BATCH:
            await self._save(None)

    def _set_aside(self, bad: Unusable) -> None:
        mark = bad.external_id or hashlib.sha256(repr(sorted(bad.payload.items())).encode()).hexdigest()
        if mark in self._skip:
            return  # told once
        self._skip[mark] = bad.field
        self._asides.append(aside(bad))
        self.tally.set_aside += 1

    def skip(self, external_id: str, why: str) -> None:
        """Remember an address that has no post and needs no mention (404, a list page)."""
        self._skip[external_id] = why
        self.tally.skipped += 1

    def page_failed(self, external_id: str, url: str, why: str) -> None:
        """An article page failed: asked again in later crawls, set aside after MAX_TRIES."""
        self.tally.page_failures += 1
        tries = self._tries.get(external_id, 0) + 1
        self._tries[external_id] = tries
        if tries >= MAX_TRIES:
            self._tries.pop(external_id)
            self._set_aside(
                Unusable(
                    source_id=self.source.id,
                    external_id=external_id,
                    field="page",
                    reason=f"{why} (tried {tries} times)",
                    payload={"url": url},
                )
            )
        else:
            self.truncated = True

    def fail(self, problem: SourceProblem) -> None:
        """The source itself failed; the first problem is the one that counts, except that a block outranks all."""
        if self.problem is None or (problem.state == "blocked" and self.problem.state != "blocked"):
            self.problem = problem

    # --- the end

    async def finish(self) -> None:
        """Save what is left with validators, watermark and state, once."""
        if self.ending is not None:
            return
        at = self.clock()
        state, evidence = self._state()
        self.ending = Ending(state, evidence, at, at + self._pause(state))
        await self._save(self.ending)
        if self.on_finish is not None:
            self.on_finish(self)

    def _state(self) -> tuple[str, str]:
        t = self.tally
        waiting = f"{NEW} new posts" + (f", {t.set_aside} set aside" if t.set_aside else "")
        if self.problem is not None:
            kept = f"; {waiting} before that" if t.saved + len(self._posts) else ""
            return self.problem.state, self.problem.sentence + kept
        if not t.lists_read and not t.indexes:
            return "error", "the crawl ended before the source was asked; it is asked again next time"
        notes = list(self.notes)
        if t.page_failures:
            notes.append(f"{t.page_failures} pages failed and are asked again")
        elif self.truncated:
            notes.append("stopped at its limit, goes on next time")
        if t.lists_read and t.lists_read == t.lists_unchanged:
            return "unchanged", "; ".join(["nothing changed since the last reading", *notes])
        if not t.found:
            return "empty", "; ".join(["the list holds no entry", *notes])
        return "ok", "; ".join([f"{t.found} entries, {waiting}", *notes])

    def _pause(self, state: str) -> timedelta:
        every = timedelta(minutes=self.source.every_min)
        asked = (
            self.problem.pause
            if self.problem is not None and self.problem.pause is not None
            else timedelta(0)
        )
        if state in ("error", "changed"):
            backoff = min(every * int(2 ** min(self.failures, 10)), max(MAX_BACKOFF, every))
            return max(backoff, asked)
        return max(every, asked)

    def _cursor(self, final: bool) -> dict[str, Any]:
        """The cursor as it is to be stored with what was saved so far."""
        complete = final and self.problem is None and not self.truncated
        cursor = {**self.cursor, "unfinished": not complete if final else True}
        if final and self.problem is not None and not self.tally.saved and not self._posts:
            cursor["unfinished"] = self.was_unfinished  # nothing was begun
        cursor["skip"] = dict(list(self._skip.items())[-MAX_SKIPPED:])
        cursor["tries"] = dict(list(self._tries.items())[-MAX_SKIPPED:])
        if complete:
            cursor["validators"] = self._seen_validators
            newest = max(filter(None, (self._newest, self.watermark)), default=None)
            if newest is not None:
                cursor["watermark"] = newest.astimezone(UTC).isoformat()
        return cursor

    async def _save(self, ending: Ending | None) -> None:
        batch = Batch(
            self.source.id,
            tuple(self._posts),
            tuple(self._asides),
            self._cursor(ending is not None),
            ending,
            self.tally.saved,
        )
        self._posts, self._asides = [], []
        result = await self.store.save(batch)
        self.tally.saved += result.saved
        self.tally.repeats += result.repeats


def zone_of(name: str) -> tzinfo:
    """The zone of "+08:00" or "Asia/Shanghai"."""
    if name[:1] in "+-":
        sign = -1 if name[0] == "-" else 1
        return timezone(sign * timedelta(hours=int(name[1:3]), minutes=int(name[4:6])))
    return ZoneInfo(name)


def _header(response: Response, name: str) -> str:
    raw = response.headers.get(name)
    return raw.decode("latin-1") if isinstance(raw, bytes) else ""
