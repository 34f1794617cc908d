"""One crawl of one host (or of a few that share sources): all its due sources, one request at a time for each host."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scrapy import Request, Spider
from scrapy.exceptions import DownloadCancelledError, DownloadTimeoutError, IgnoreRequest
from scrapy.http import Response
from twisted.python.failure import Failure

from config.settings import CrawlSettings
from spiders.connectors.base import PAGE, RUN, STEP
from spiders.connectors.kinds import connector_for
from spiders.guard import GuardedResolver
from spiders.problems import Blocked, RobotsDenied, SourceProblem
from spiders.robots import RobotsGate
from spiders.source_run import SourceRun

log = logging.getLogger(__name__)


@dataclass
class Shared:
    """What all crawls of the process share."""

    gate: RobotsGate
    settings: CrawlSettings
    clock: Callable[[], datetime]
    resolver: GuardedResolver
    private_allowed: frozenset[str] = field(default_factory=frozenset)

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
                requests = [self._bind(request) for request in connector_for(run).start()]
            except SourceProblem as problem:
                run.fail(problem)
                await self._finish(run)
                continue
            run.pending += len(requests)
            for request in requests:
                yield request

    def _bind(self, request: Request) -> Request:
        request.meta[RUN].tally.requests += 1
        return request.replace(callback=self.answered, errback=self.failed)

    async def answered(self, response: Response) -> AsyncIterator[Request]:
        """Hand an answer to its connector; items are taken here, requests go on to Scrapy."""
        meta = response.request.meta if response.request is not None else response.meta
        run: SourceRun = meta[RUN]
        try:
            async for found in meta[STEP](response):
                if isinstance(found, Request):
                    run.pending += 1
                    yield self._bind(found)
                else:
                    await run.take(found)
        except SourceProblem as problem:
            run.fail(problem)
        except Exception as exc:  # a connector's bug must cost one source one reading, not the process
            log.exception("source %s: reading %s failed", run.source.id, response.url)
            run.fail(
                SourceProblem(
                    f"internal error while reading {response.url}: {type(exc).__name__}: {exc}; please report it"
                )
            )
        finally:
            await self._done(run)

    async def failed(self, failure: Failure) -> None:
        """A request came to nothing: one page, or the source."""
        request: Request = failure.request  # type: ignore[attr-defined]
        run: SourceRun = request.meta[RUN]
        exc = failure.value
        page: str = request.meta[PAGE]
        try:
            if isinstance(exc, Blocked):
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

    async def _done(self, run: SourceRun) -> None:
        run.pending -= 1
        if run.pending <= 0:
            await self._finish(run)

    async def _finish(self, run: SourceRun) -> None:
        if run.stopped:
            return
        try:
            await run.finish()
        except Exception as exc:  # border: the database refused; the next crawl reads the same posts again
            log.exception("source %s: its posts could not be saved", run.source.id)
            run.error = f"{type(exc).__name__}: {exc}"


def delay_of(run: SourceRun) -> float:
    """Seconds between two requests that a source's entry asks for."""
    return 1.0 / run.source.max_rate if run.source.max_rate else run.settings.delay_s
