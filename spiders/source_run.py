"""One source in one crawl: what it asks, what it found, how it ended. Holds no connection; `Store` writes.

Posts are saved in batches while the crawl runs. Validators, watermark and state go with the last batch in one
transaction, so after a kill the next crawl asks again and finds the saved posts as repeats: nothing lost, nothing doubled.
While a crawl is unfinished its cursor says so, and then no page is taken for "known, stop here".
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any, Protocol
from zoneinfo import ZoneInfo

from scrapy.http import Response

from config.settings import CrawlSettings
from config.sources import Source
from incidents import source_health
from incidents.backfills import Step
from incidents.evidence import Wanted
from incidents.grams import storable
from incidents.posts import BACKFILL, NewPost, SaveResult
from incidents.revisits import KnownPost, Visit, What
from incidents.warc import Exchange
from spiders.feed_memory import HAVE, Known
from spiders.feed_memory import KEY as ENTRIES
from spiders.items import PostItem, Unusable
from spiders.pageback import MAX_ARTICLES, PageBack
from spiders.pipelines import aside, to_post
from spiders.problems import SourceProblem, Stopped

#: stands in an evidence for a number that only the last transaction knows
NEW = "{new}"
#: posts in one transaction; keeps SQLite's lock under 0.1 s
BATCH = 100
#: bytes of answers that may wait in memory for a transaction
BATCH_BYTES = 4_000_000
#: the longest that a failing source is left alone
MAX_BACKOFF = timedelta(hours=6)
#: addresses that gave no post; remembered so that they are not fetched again and again
MAX_SKIPPED = 2000
#: the same for the pages of a back-fill that lay outside its range (a sitemap holds up to 50,000 addresses)
MAX_SKIPPED_BACK = 20_000
#: a post is missing from a list that holds so many older ones
OLDER_ROWS = 3
#: so many visits that all find their page gone say nothing without a page that could be read
ALL_GONE = 5
#: times a page may fail before it is skipped for good
MAX_TRIES = 5
_ENV = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class Ending:
    """How a source's crawl ended, ready to be recorded. NEW in `evidence` stands for the number of new posts."""

    state: str
    evidence: str
    at: datetime
    next_due_at: datetime


@dataclass(frozen=True)
class Again:
    """What came of fetching the page of a stored post again: an answer, or the reason why not."""

    post_id: int
    at: datetime
    exchange: Exchange | None = None
    reason: str = ""
    final: bool = False


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
    #: the answers that `posts` came from, in their order
    exchanges: tuple[Exchange | None, ...] = ()
    #: pages of stored posts that were fetched again for the evidence
    again: tuple[Again, ...] = ()
    #: a back-fill's page: nothing of the source's own cursor changes
    back: Step | None = None
    backfill_id: int = 0
    visits: tuple[Visit, ...] = ()
    #: whether the source tells counts, so that its young posts are looked at again
    counts: bool = False


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
class Seen:
    """What one crawl saw of a source, beyond what was saved: the evidence for its state."""

    status: int = 0
    final: str = ""
    marker: str = ""
    body: str = ""
    length: int = 0
    garbled: float = 0.0
    pages: int = 0
    unreadable: int = 0
    walls: int = 0
    taken: int = 0
    future: int = 0
    have: dict[str, int] = field(default_factory=dict)
    dates: list[datetime] = field(default_factory=list)
    keys: dict[str, None] = field(default_factory=dict)

    def list_answered(self, status: int, url: str, body: bytes) -> None:
        """A list came back. A query may hold a key and is not kept."""
        self.status, self.final = status, url.split("?")[0]
        if not self.body and body:
            self.body, self.length = hashlib.sha256(body).hexdigest()[:12], len(body)

    def digest(self) -> str:
        """Hash of the keys that were seen; "" of none."""
        return hashlib.sha256("\n".join(sorted(self.keys)).encode()).hexdigest()[:12] if self.keys else ""

    def page(self, *, text: bool, wall: bool) -> None:
        """An article page came back, with or without a text; `wall`: with the words of a login or a captcha instead."""
        self.pages += 1
        self.unreadable += not text
        self.walls += wall

    def post(self, item: PostItem) -> None:
        """A post was read, known or not."""
        self.future += bool(item.provenance.get("future_date"))
        there = (item.title, item.text, item.published_at, item.author_raw)
        have = tuple(name for name, value in zip(HAVE, there, strict=True) if value)
        self.known(Known(item.external_id, item.published_at, have))

    def known(self, entry: Known) -> None:
        """An entry that stands as it was read before."""
        self.taken += 1
        self.keys[entry.external_id] = None
        if entry.published_at is not None:
            self.dates.append(entry.published_at)
        for name in entry.have:
            self.have[name] = self.have.get(name, 0) + 1


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
    #: stored posts whose page is to be fetched again for the evidence
    wanted: Sequence[Wanted] = ()
    #: set: this reading is one page of a back-fill, and `cursor` belongs to it
    back: PageBack | None = None
    #: known posts that are to be looked at again in this reading
    visits: tuple[KnownPost, ...] = ()
    #: when it was to be read; None: never read before
    due_at: datetime | None = None

    def __post_init__(self) -> None:
        self.started_at = self.clock()
        self.tally = Tally()
        self.seen = Seen()
        self.problem: SourceProblem | None = None
        self.notes: list[str] = []
        self.ending: Ending | None = None
        self.error = ""  # the database's own failure
        self.stopped = False  # the process is being stopped before this source was read
        self.halted: Stopped | None = None  # a person stopped it while it was read
        #: requests under way; the source is finished when none is left
        self.pending = 0
        #: an earlier crawl did not come to its end, so known posts do not prove that older ones are known
        self.was_unfinished = bool(self.cursor.get("unfinished")) or self.back is not None
        self.truncated = False
        #: state -> advice of the connector, added to the sentence when the source ends in that state
        self.hints: dict[str, str] = {}
        #: values that stand in addresses and must not be told to anybody
        self.secrets: tuple[str, ...] = ()
        self._filled: set[str] = set()
        #: the source's answer is good for so long; it is not read again before
        self.fresh_for = timedelta(0)
        #: seconds between two requests as robots.txt wants it; 0 when it says nothing
        self.crawl_delay = 0.0
        #: makes the reader of this run, where it is not the connector of the source's kind (spiders.trial)
        self.reader: Callable[[SourceRun], Any] | None = None
        #: page -> why it came to nothing in this crawl
        self.failed_pages: dict[str, str] = {}
        #: tells what a refusing answer says (words, pause asked for), where the source says more than its status
        self.read_refusal: Callable[[Response], tuple[str, timedelta | None]] | None = None
        #: told by the connector: whether the source gives counts, and whether its list holds every post that it reaches back to
        self.counts = self.list_covers = False
        #: posts whose own page was asked for: without an answer they stay due
        self.asked_again: set[int] = set()
        #: what the entries of the list are, for the next reading (spiders.feed_memory); kept when this one comes to its end
        self.entries_read: dict[str, Any] | None = None
        self._visited: dict[int, Visit] = {}
        self._marks: dict[str, str] = {}
        self.zone: tzinfo = zone_of(self.source.timezone)
        self._posts: list[NewPost] = []
        self._exchanges: list[Exchange | None] = []
        self._again: list[Again] = []
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
        if self.back is not None:
            return MAX_ARTICLES
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

    def mark(self, name: str) -> str:
        """How far the last complete reading came, in the source's own terms (its newest key); "" at first."""
        return str(dict(self.cursor.get("marks", {})).get(name, ""))

    def set_mark(self, name: str, value: str) -> None:
        """Keep `value` for `mark`. It counts only if this reading comes to its end: what lies before it is then known."""
        self._marks[name] = storable(value)

    def secret(self, text: str, where: str) -> str:
        """`text` with each `${NAME}` taken from the environment. Raises SourceProblem when one is not set; `where` names the key."""

        def fill(match: re.Match[str]) -> str:
            if match.group(1) not in self.env:
                raise SourceProblem(
                    f"sources.yaml, {self.source.id}: {where} needs ${{{match.group(1)}}}, which is not set in the environment"
                )
            value = self.env[match.group(1)]
            self._filled.add(value)
            return value

        return _ENV.sub(fill, text)

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
        if self.back is not None:
            return True
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
        self.seen.keys.update(dict.fromkeys(external_ids))
        wanted = [i for i in dict.fromkeys(external_ids) if i not in self._skip]
        known = await self.store.known(self.source.id, wanted) if wanted else set()
        return [i for i in wanted if i not in known]

    # --- what connectors tell

    def unchanged(self, entry: Known) -> None:
        """An entry of a list that was read and stored before and stands there as it was, to the last character."""
        self.seen.known(entry)
        if entry.published_at is not None and (self._newest is None or entry.published_at > self._newest):
            self._newest = entry.published_at

    async def take(self, found: PostItem | Unusable, exchange: Exchange | None = None) -> None:
        """Redact and keep one item, or set it aside; saves a batch when one is full. `exchange` is the answer it came from."""
        if isinstance(found, PostItem):
            self.seen.post(found)
            if self.back is None and self.room <= 0:
                self.truncated = True
                return
            post = to_post(found, self.key, self.clock())
            if isinstance(post, NewPost):
                post = replace(post, whole=not found.partial)
            if isinstance(post, NewPost) and self.back is not None:
                kept = self._of_the_past(post, self.back)
                if kept is None:
                    self.skip(found.external_id, "outside the range")
                    return
                post = kept
            if isinstance(post, NewPost):
                received = f"sha256:{exchange.digest}" if exchange is not None else ""
                self._posts.append(replace(post, received=received))
                self._exchanges.append(exchange)
                if not post.published_estimated and (
                    self._newest is None or post.published_at > self._newest
                ):
                    self._newest = post.published_at
            else:
                found = post
        if isinstance(found, Unusable):
            self._set_aside(found)
        if len(self._posts) >= BATCH or self._bytes() >= BATCH_BYTES:
            await self._save(None)

    def _bytes(self) -> int:
        return sum({id(one): len(one.body) for one in self._exchanges if one is not None}.values())

    def again(self, post_id: int, exchange: Exchange) -> None:
        """The page of a stored post was fetched again."""
        self._again.append(Again(post_id, exchange.at, exchange))

    def not_again(self, post_id: int, reason: str, *, final: bool = False) -> None:
        """The page of a stored post could not be fetched again; `final`: it never will."""
        self._again.append(Again(post_id, self.clock(), None, self.masked(reason), final))

    async def take_again(self, known: KnownPost, found: PostItem | Unusable) -> None:
        """A known post that was looked at again: it is there, with its words and counts of now."""
        if isinstance(found, Unusable):
            self.visited(known, "unclear", why=found.reason)
            return
        post = to_post(found, self.key, self.clock())
        if isinstance(post, Unusable):
            self.visited(known, "unclear", why=post.reason)
            return
        self.visited(known, "there")
        self._posts.append(
            replace(
                post,
                external_id=known.external_id,
                whole=not found.partial,
                provenance={**post.provenance, "visit": True},
            )
        )
        self._exchanges.append(None)

    def visited(self, known: KnownPost, what: What, **evidence: Any) -> None:
        """What one look at a known post showed; the first answer counts."""
        self._visited.setdefault(known.id, Visit(known.id, what, self.clock(), evidence))

    def _look_in_the_list(self) -> None:
        """Posts that have no page or interface of their own: is each still in the list that reaches back to it?"""
        if self.problem is not None or not self.tally.lists_read:
            return  # they stay due
        read = self.tally.lists_read > self.tally.lists_unchanged
        for known in self.visits:
            if known.id in self._visited or known.id in self.asked_again:
                continue
            older = sum(when < known.published_at for when in self.seen.dates)
            if known.external_id in self.seen.keys:
                self.visited(known, "there")
            elif self.list_covers and read and older >= OLDER_ROWS:
                self.visited(known, "missing", why=f"{older} older posts are in its list")
            else:
                self.visited(known, "unclear", why="its list does not reach back to it")

    def _visits(self) -> tuple[Visit, ...]:
        """All visits; when every page asked for is gone and no other could be read, the site is to blame and not the posts."""
        found = tuple(self._visited.values())
        gone = sum(visit.what == "gone" for visit in found)
        if gone >= ALL_GONE and gone == len(found) and self.seen.pages == self.seen.unreadable:
            why = f"all {gone} pages that were asked for are gone: the site may have moved"
            return tuple(replace(visit, what="unclear", evidence={"why": why}) for visit in found)
        return found

    def _of_the_past(self, post: NewPost, back: PageBack) -> NewPost | None:
        """The post as a back-fill keeps it; None when it lies outside its range.

        Marked, so that it is not taken for news; a post without a date stands at the end of the range and not at this moment.
        """
        if not post.published_estimated:
            back.note_read(post.published_at)
            if not back.holds(post.published_at):
                return None
        when = min(back.until, post.fetched_at) if post.published_estimated else post.published_at
        return replace(post, published_at=when, provenance={**post.provenance, BACKFILL: back.backfill_id})

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
        self.failed_pages[external_id] = why
        self.tally.skipped += 1

    def page_read(self, external_id: str) -> None:
        """A page that may be read again and again was read: its earlier failures no longer count."""
        self._tries.pop(external_id, None)

    def page_failed(self, external_id: str, url: str, why: str) -> None:
        """An article page failed: asked again in later crawls, set aside after MAX_TRIES."""
        self.tally.page_failures += 1
        self.failed_pages[external_id] = why
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

    def halt(self, problem: Stopped) -> None:
        """A person stopped the source while it was read: no failure; what was read before is kept, the rest comes later."""
        if self.halted is None:
            self.halted = problem
            self.truncated = True
            self.notes.append(problem.sentence)

    @property
    def unread(self) -> bool:
        """A person stopped it before anything was read: it stays as it was, due when the stop is lifted."""
        return self.halted is not None and not self.tally.lists_read

    # --- the end

    async def finish(self) -> None:
        """Save what is left with validators, watermark and state, once."""
        if self.ending is not None:
            return
        at = self.clock()
        if self.back is not None:
            await self._finish_page(self.back, at)
            return
        self._look_in_the_list()
        state, evidence = await self._state(at)
        if hint := self.hints.get(state):
            evidence = f"{evidence}; {hint}"
        evidence = self.masked(evidence)
        self.ending = Ending(state, evidence, at, self._next_due(state, at))
        await self._save(self.ending)
        if self.on_finish is not None:
            self.on_finish(self)

    def masked(self, text: str) -> str:
        """`text` without the keys of the operator that stand in addresses, and as a database can hold it."""
        for secret in filter(None, {*self.secrets, *self._filled}):
            text = text.replace(secret, "***")
        return storable(text)  # it may quote a server's words

    async def _finish_page(self, back: PageBack, at: datetime) -> None:
        """The end of a back-fill's page: on to the next one only when all of this one is stored."""
        asked = self.tally.lists_read > 0
        problem = self.problem
        if problem is None and not asked and not self.truncated:
            problem = SourceProblem("the page was not asked for; it is asked for again")
        complete = problem is None and not self.truncated
        keys = self.seen.digest()
        following = back.next_place(keys) if complete else back.place
        done = complete and following is None
        waiting = [f"{NEW} new posts", f"{self.tally.found} entries", *self.notes]
        evidence = problem.sentence if problem is not None else "; ".join(waiting)
        state = problem.state if problem is not None else "ok"
        self.ending = Ending(state, self.masked(evidence), at, at + self._pause(state))
        progress: dict[str, Any] = {
            "place": following,
            "old_pages": (back.behind() if following == back.following else 0)
            if complete
            else back.old_pages,
            "before": keys if complete else back.before,
            "skip": {} if complete else self._kept(self._skip),
            "tries": self._kept(self._tries),
        }
        step = Step(
            back.backfill_id,
            progress,
            int(complete),
            self.tally.found if complete else 0,
            back.oldest if complete else None,
            max(0.0, (at - self.started_at).total_seconds()),
            self.ending.evidence,
            done,
            at,
        )
        await self._save(self.ending, step)
        if self.on_finish is not None:
            self.on_finish(self)

    def _kept(self, what: Mapping[str, Any]) -> dict[str, Any]:
        most = MAX_SKIPPED if self.back is None else MAX_SKIPPED_BACK
        return dict(list(what.items())[-most:])

    async def _state(self, at: datetime) -> tuple[str, str]:
        """State and its reason, and what is learnt from this reading for the next ones."""
        memory = source_health.Memory.load(self.cursor.get(source_health.KEY))
        poll = await self._poll(at)
        verdict = source_health.judge(memory, poll, timedelta(minutes=self.source.every_min))
        self.cursor[source_health.KEY] = source_health.learn(memory, poll, verdict).dump()
        return verdict.state, self._words(verdict)

    async def _poll(self, at: datetime) -> source_health.Poll:
        t, seen, problem = self.tally, self.seen, self.problem
        waiting = [post.external_id for post in self._posts]
        if waiting and set(waiting) - await self.store.known(self.source.id, waiting):
            # an unknown key is not yet a new post (the same words of the same author may be stored under another):
            # only the database knows, and a list that repeats itself under new keys must not pass for alive
            await self._save(None)
        return source_health.Poll(
            at=at,
            requests=t.requests,
            status=seen.status,
            final=self.masked(seen.final),
            marker=seen.marker,
            body=seen.body,
            items=seen.digest(),
            length=seen.length,
            lists=t.lists_read,
            unchanged=t.lists_unchanged,
            indexes=t.indexes,
            found=t.found,
            new=t.saved,
            taken=seen.taken,
            have=seen.have,
            future=seen.future,
            pages=seen.pages,
            unreadable=seen.unreadable,
            walls=seen.walls,
            garbled=round(seen.garbled, 3),
            problem=problem.state if problem is not None else "",
            sentence=self.masked(problem.sentence) if problem is not None else "",
        )

    def _words(self, verdict: source_health.Verdict) -> str:
        t = self.tally
        waiting = f"{NEW} new posts" + (f", {t.set_aside} set aside" if t.set_aside else "")
        if self.problem is not None:
            kept = f"; {waiting} before that" if t.saved + len(self._posts) else ""
            return self.problem.sentence + kept
        notes = list(self.notes)
        if t.page_failures:
            notes.append(f"{t.page_failures} pages failed and are asked again")
        elif self.truncated:
            notes.append("stopped at its limit, goes on next time")
        if verdict.why:
            return "; ".join([verdict.why, *([f"{t.found} entries, {waiting}"] if t.found else []), *notes])
        if verdict.state == "unchanged":
            return "; ".join(["nothing changed since the last reading", *notes])
        return "; ".join([f"{t.found} entries, {waiting}", *notes])

    def _next_due(self, state: str, at: datetime) -> datetime:
        """When to read again. A source that was read a little late keeps its rhythm; its pause is never below nine tenths of its interval.

        Without that every wait in the queue would be added to the interval, and what was once spread over time would bunch up.
        """
        pause, every = self._pause(state), timedelta(minutes=self.source.every_min)
        late = at - self.due_at if self.due_at is not None else timedelta(0)
        return at + pause - (late if pause == every and timedelta(0) < late <= every / 10 else timedelta(0))

    def _pause(self, state: str) -> timedelta:
        every = timedelta(minutes=self.source.every_min)
        asked = (
            self.problem.pause
            if self.problem is not None and self.problem.pause is not None
            else timedelta(0)
        )
        if state in ("error", "login") or (state == "changed" and self.problem is not None):
            backoff = min(every * int(2 ** min(self.failures, 10)), max(MAX_BACKOFF, every))
            return max(backoff, asked)
        return max(every, asked, min(self.fresh_for, MAX_BACKOFF))

    def _cursor(self, final: bool) -> dict[str, Any]:
        """The cursor as it is to be stored with what was saved so far."""
        complete = final and self.problem is None and not self.truncated
        cursor = {**self.cursor, "unfinished": not complete if final else True}
        if final and self.problem is not None and not self.tally.saved and not self._posts:
            cursor["unfinished"] = self.was_unfinished  # nothing was begun
        cursor["skip"] = self._kept(self._skip)
        cursor["tries"] = self._kept(self._tries)
        if complete:
            cursor["validators"] = self._seen_validators
            if self.entries_read is not None:
                cursor[ENTRIES] = self.entries_read
            if self._marks:
                cursor["marks"] = {**dict(self.cursor.get("marks", {})), **self._marks}
            newest = max(filter(None, (self._newest, self.watermark)), default=None)
            if newest is not None:
                cursor["watermark"] = newest.astimezone(UTC).isoformat()
        return cursor

    async def _save(self, ending: Ending | None, back: Step | None = None) -> None:
        batch = Batch(
            self.source.id,
            tuple(self._posts),
            tuple(self._asides),
            self._cursor(ending is not None),
            ending,
            self.tally.saved,
            tuple(self._exchanges),
            tuple(self._again),
            back,
            self.back.backfill_id if self.back is not None else 0,
            self._visits() if ending is not None else (),
            self.counts,
        )
        self._posts, self._asides, self._exchanges, self._again = [], [], [], []
        try:
            result = await self.store.save(batch)
        except (
            BaseException
        ):  # nothing of it is stored: it goes with the next batch, before what came meanwhile
            self._posts[:0], self._asides[:0] = batch.posts, batch.asides
            self._exchanges[:0], self._again[:0] = batch.exchanges, batch.again
            raise
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
