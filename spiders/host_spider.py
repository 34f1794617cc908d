"""One crawl of one host (or of a few that share sources): all its due sources, one request at a time for each host."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scrapy import Request, Spider
from scrapy.exceptions import DownloadCancelledError, DownloadTimeoutError, IgnoreRequest
from scrapy.http import Response, TextResponse
from twisted.python.failure import Failure

from config.settings import CrawlSettings
from incidents.evidence import Wanted
from incidents.revisits import KnownPost
from incidents.warc import Exchange
from spiders.connectors.base import PAGE, RUN, STEP, VISIT, Connector, wall_problem
from spiders.connectors.kinds import connector_for
from spiders.exchange import exchange_of
from spiders.guard import GuardedResolver
from spiders.page_class import wall_of
from spiders.problems import Blocked, LoginWall, Refused, RobotsDenied, SourceProblem, Stopped
from spiders.robots import RobotsGate
from spiders.source_run import SourceRun
from spiders.stopping import StopBoard, problem_of

log = logging.getLogger(__name__)

#: meta key of a page that is fetched again for the evidence: id of its post
AGAIN = "quansheng_again"


@dataclass
class Shared:
    """What all crawls of the process share."""

    gate: RobotsGate
    settings: CrawlSettings
    clock: Callable[[], datetime]
    resolver: GuardedResolver
    private_allowed: frozenset[str] = field(default_factory=frozenset)
    board: StopBoard = field(default_factory=StopBoard)

    def explain(self, exc: BaseException | None, url: str) -> str:
        """One clause that says why a request failed, for people."""
        host = url.split("/")[2] if url.count("/") >= 2 else url
        dropped = self.resolver.dropped.get(host.rsplit(":", 1)[0])
        if dropped:
            return f"{host} has the private address {dropped}; if that is meant, add the host to crawl.allow_private_hosts"
        if isinstance(exc, DownloadTimeoutError | TimeoutError):
            return f"no answer within {self.settings.timeout_s:g} s"
        if isinstance(exc, DownloadCancelledError) or "DOWNLOAD_MAXSIZE" in str(exc):
            return f"the answer is larger than crawl.max_body_mb = {self.settings.max_body_mb:g} MB"
        text = " ".join(str(exc).split())
        if "max redirections" in text.lower():
            return "it redirects in a circle or too often"
        if (
            "ResponseDataLoss" in type(exc).__name__
            or "dataloss" in text.lower()
            or "PotentialDataLoss" in text
        ):
            return "the answer broke off in the middle"
        if "headers longer than" in text:
            return "its headers have no end"
        if "ParseError" in text:
            return "what comes back is not HTTP"
        name = {
            "CannotResolveHostError": "the host name is not known",
            "DownloadConnectionRefusedError": "connection refused",
        }.get(type(exc).__name__)
        return name or f"{type(exc).__name__}: {text[:160]}".rstrip(": ")


class HostSpider(Spider):
    """Runs the connectors of its sources. A source is recorded as soon as its last request is answered."""

    name = "host"

    def __init__(self, runs: list[SourceRun], shared: Shared, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.runs = runs
        self.shared = shared
        #: host -> its refusal; nothing more is asked of such a host in this crawl
        self.blocked: dict[str, Blocked] = {}
        #: what has to be ended with the crawl, however it ends (browsers)
        self.at_end: list[Callable[[], None]] = []

    def hosts_of(self, request: Request) -> frozenset[str]:
        """Hosts that a request may touch, those of its source."""
        run: SourceRun = request.meta[RUN]
        return run.source.hosts

    def delay_of(self, host: str) -> float:
        """Seconds between two requests to a host by our own configuration."""
        return max(
            (delay_of(run) for run in self.runs if host in run.source.hosts),
            default=self.shared.settings.delay_s,
        )

    async def start(self) -> AsyncIterator[Any]:
        """The first requests of every source."""
        for run in self.runs:
            try:
                connector = connector_for(run)
                first = connector.start() if run.back is None else connector.page_back(run.back.place)
                requests = [self._bind(request) for request in first]
            except SourceProblem as problem:
                run.fail(problem)
                await self._finish(run)
                continue
            except (
                Exception
            ) as exc:  # as in `answered`: the other sources of this crawl are read all the same
                log.exception("source %s: its first requests could not be made", run.source.id)
                run.fail(
                    SourceProblem(
                        f"internal error before reading: {type(exc).__name__}: {exc}; please report it"
                    )
                )
                await self._finish(run)
                continue
            looks = [self._bind(request) for request in self._visits(run, connector)]
            again = [request for post in run.wanted if (request := self._again(run, post)) is not None]
            run.pending += len(requests) + len(looks) + len(again)
            for request in [*requests, *looks, *again]:
                yield request

    def _visits(self, run: SourceRun, connector: Connector) -> list[Request]:
        """Requests for known posts, behind everything else; posts that have none are looked for in the list."""
        run.counts, run.list_covers = connector.counts_of(run.source), connector.list_covers
        found = []
        for known in run.visits:
            try:
                request = connector.visit(known)
            except ValueError:  # an address that no request can be made of: the list may still tell
                request = None
            if request is not None:
                request.meta[VISIT] = known
                run.asked_again.add(known.id)
                found.append(request.replace(priority=-10))
        return found

    def _again(self, run: SourceRun, post: Wanted) -> Request | None:
        """The page of a post whose original is missing: after everything else, under the same rules; None of one without an address."""
        try:
            request = Request(
                post.url,
                dont_filter=True,
                priority=-10,
                meta={RUN: run, PAGE: "", AGAIN: post.post_id},
                callback=self.came_again,
                errback=self.not_again,
            )
        except ValueError:
            run.not_again(post.post_id, "the post has no web address", final=True)
            return None
        run.tally.requests += 1
        return request

    async def came_again(self, response: Response) -> None:
        """The page of a post whose original is missing has come."""
        meta = response.request.meta if response.request is not None else response.meta
        run: SourceRun = meta[RUN]
        try:
            self.check_stops(response.request or response)  # what was on its way is not kept any more
            asked = meta.get("redirect_urls", [response.url])[0]
            exchange = exchange_of(response, run.source.id, run.clock(), run.masked)
            wall = wall_of(asked, response.url, response.text if isinstance(response, TextResponse) else "")
            if response.status != 200:
                run.not_again(meta[AGAIN], f"status {response.status}", final=response.status in (404, 410))
            elif wall is not None:
                run.not_again(meta[AGAIN], f"a wall stands before it (“{wall[1]}”)")
            else:
                run.again(meta[AGAIN], exchange)
        except Stopped as problem:
            self._stopped_again(run, problem, meta[AGAIN])
        finally:
            await self._done(run)

    async def not_again(self, failure: Failure) -> None:
        """The page of a post whose original is missing did not come."""
        request: Request = failure.request  # type: ignore[attr-defined]
        run: SourceRun = request.meta[RUN]
        exc = failure.value
        try:
            if isinstance(exc, Stopped):
                self._stopped_again(run, exc, request.meta[AGAIN])
                return
            if isinstance(exc, Blocked):
                run.fail(exc)
            sentence = (
                exc.sentence if isinstance(exc, SourceProblem) else self.shared.explain(exc, request.url)
            )
            run.not_again(request.meta[AGAIN], sentence, final=isinstance(exc, Refused))
        finally:
            await self._done(run)

    def _bind(self, request: Request) -> Request:
        request.meta[RUN].tally.requests += 1
        return request.replace(callback=self.answered, errback=self.failed)

    async def answered(self, response: Response) -> AsyncIterator[Request]:
        """Hand an answer to its connector; items are taken here, requests go on to Scrapy."""
        meta = response.request.meta if response.request is not None else response.meta
        run: SourceRun = meta[RUN]
        exchange: Exchange | None = None
        known: KnownPost | None = meta.get(VISIT)
        try:
            self.check_stops(response.request or response)  # what was on its way is not read any more
            async for found in meta[STEP](response):
                if known is not None and not isinstance(found, Request):
                    await run.take_again(known, found)
                elif isinstance(found, Request):
                    run.pending += 1
                    yield self._bind(found)
                else:
                    if exchange is None:  # one for all posts of an answer
                        exchange = exchange_of(response, run.source.id, run.clock(), run.masked)
                    await run.take(found, exchange)
        except Stopped as problem:
            self._stopped(run, problem, meta[PAGE])
        except SourceProblem as problem:
            if known is not None and not isinstance(problem, Blocked):
                run.visited(known, "unclear", why=problem.sentence)
                return
            run.fail(problem)
            if isinstance(problem, Blocked | LoginWall):
                self._drop_waiting(run, problem)
        except Exception as exc:  # a connector's bug must cost one source one reading, not the process
            log.exception("source %s: reading %s failed", run.source.id, response.url)
            run.fail(
                SourceProblem(
                    f"internal error while reading {response.url}: {type(exc).__name__}: {exc}; please report it"
                )
            )
        finally:
            await self._done(run)

    def enforce(self) -> bool:
        """Drop what waits for sources that a person has stopped meanwhile; whether all sources of this crawl are stopped."""
        board = self.shared.board.current
        if not board.rows:
            return False
        left = False
        for run in self.runs:
            stop = board.of_source(run.source.id, run.source.hosts)
            if stop is None:
                left = left or run.ending is None
            elif run.ending is None and run.halted is None:
                run.halt(problem_of(stop))
                self._drop_waiting(run, problem_of(stop))
        return not left and any(run.halted is not None for run in self.runs)

    def check_stops(self, asked: Request | Response) -> None:
        """Raises Stopped when a person has halted the source, or its address is under an objection."""
        board = self.shared.board.current
        if not board.rows:
            return
        run: SourceRun = asked.meta[RUN]
        stop = board.of_source(run.source.id, run.source.hosts) or board.of_url(asked.url)
        if stop is not None:
            raise problem_of(stop)

    def _drop_waiting(self, run: SourceRun, wall: SourceProblem) -> None:
        """A wall was met: what the source has in the queue is not asked for any more."""
        for slot in self.crawler.engine.downloader.slots.values():
            for _ in range(len(slot.queue)):
                request, waiting = slot.queue.popleft()
                if request.meta.get(RUN) is run:
                    waiting.errback(wall)
                else:
                    slot.queue.append((request, waiting))

    async def failed(self, failure: Failure) -> None:
        """A request came to nothing: one page, or the source."""
        request: Request = failure.request  # type: ignore[attr-defined]
        run: SourceRun = request.meta[RUN]
        exc = failure.value
        page: str = request.meta[PAGE]
        known: KnownPost | None = request.meta.get(VISIT)
        try:
            if known is not None and not isinstance(exc, Blocked | Stopped):
                why = (
                    exc.sentence if isinstance(exc, SourceProblem) else self.shared.explain(exc, request.url)
                )
                run.visited(known, "unclear", why=why)
                return
            if isinstance(exc, Refused) and not page and (moved := _moved_to_login(request)):
                run.fail(moved)  # to a host of logins, where the guard stopped us
            elif isinstance(exc, Stopped):
                self._stopped(run, exc, page)
            elif isinstance(exc, Blocked | LoginWall):
                run.fail(exc)
            elif (
                isinstance(exc, RobotsDenied)
                and page
                and exc.pause is not None
                and exc.pause.total_seconds() > 3600
            ):
                run.skip(page, "robots")  # a rule forbids this page; the rest of the source goes on
            elif page:
                sentence = (
                    exc.sentence if isinstance(exc, SourceProblem) else self.shared.explain(exc, request.url)
                )
                run.page_failed(page, request.url, sentence)
            elif isinstance(exc, SourceProblem):
                run.fail(exc)
            else:
                run.fail(SourceProblem(f"{request.url}: {self.shared.explain(exc, request.url)}"))
                if not isinstance(exc, IgnoreRequest | OSError):
                    log.debug("source %s: %s", run.source.id, failure)
        finally:
            await self._done(run)

    def _stopped(self, run: SourceRun, problem: Stopped, page: str) -> None:
        """The source was stopped, or one of its addresses: then it goes on without that one, which is asked again later."""
        if self.shared.board.current.of_source(run.source.id, run.source.hosts) is not None:
            run.halt(problem)
        elif page:
            run.tally.skipped += 1
        else:
            run.fail(problem)

    def _stopped_again(self, run: SourceRun, problem: Stopped, post_id: int) -> None:
        """A page for the evidence was stopped: with its whole source it stays due, else it is tried later."""
        if self.shared.board.current.of_source(run.source.id, run.source.hosts) is not None:
            run.halt(problem)
        else:
            run.not_again(post_id, problem.sentence)

    async def _done(self, run: SourceRun) -> None:
        run.pending -= 1
        if run.pending <= 0:
            await self._finish(run)

    async def _finish(self, run: SourceRun) -> None:
        if run.stopped or run.unread:
            return
        try:
            await run.finish()
        except Exception as exc:  # border: the database refused; the next crawl reads the same posts again
            log.exception("source %s: its posts could not be saved", run.source.id)
            run.error = f"{type(exc).__name__}: {exc}"


def _moved_to_login(request: Request) -> SourceProblem | None:
    asked = request.meta.get("redirect_urls")
    wall = wall_of(asked[0], request.url, "") if asked else None
    return wall_problem(asked[0], *wall) if asked and wall is not None else None


def delay_of(run: SourceRun) -> float:
    """Seconds between two requests that a source's entry asks for."""
    return 1.0 / run.source.max_rate if run.source.max_rate else run.settings.delay_s
