"""The crawler's thread: one asyncio reactor that lives as long as the process and runs every crawl.

Scrapy's reactor can be started once in a process and never again, and starting a process for each crawl costs 1.4 s of CPU against
0.05 s here. So one daemon thread owns the loop; `crawl()` may be called from any other thread.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from typing import Any

from twisted.internet import asyncioreactor

from config.settings import CrawlSettings
from spiders.crawler import HostCrawler, ready_settings
from spiders.guard import GuardedResolver, limit_headers
from spiders.host_spider import HostSpider, Shared
from spiders.problems import SourceProblem
from spiders.robots import RobotsGate, Verdict, agent_token
from spiders.source_run import SourceRun
from spiders.stopping import StopBoard

log = logging.getLogger(__name__)

#: crawls at once in one process; nearly all of their time is waiting, and a slow host must not keep quick ones from their turn
MAX_CRAWLS = 120
#: crawls that begin however busy the loop is
FEW_CRAWLS = 8
#: seconds by which the loop may be late before no further crawl begins: waiting costs nothing, but without CPU healthy sites would time out
MAX_LAG_S = 0.3
#: seconds that a stopped crawl gets to end by itself before it is cancelled
GRACE_S = 5.0
#: seconds between two looks at the board of stops
LOOK_S = 0.5


class CrawlerThread:
    """Made by `crawler_thread()` only: a process has one."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._gates: dict[tuple[str, float], RobotsGate] = {}
        self._hosts: dict[str, asyncio.Lock] = {}
        self._private: frozenset[str] = frozenset()
        self._stopping = False
        self._crawlers: set[HostCrawler] = set()
        #: seconds by which the loop was late of late
        self._lag = 0.0
        self._thread = threading.Thread(target=self._live, name="crawler", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise RuntimeError("the crawler's reactor could not be started") from self._failed

    def crawl(
        self,
        groups: Sequence[Sequence[SourceRun]],
        settings: CrawlSettings,
        clock: Callable[[], datetime],
        board: StopBoard | None = None,
    ) -> None:
        """Run one crawl for each group of sources that share hosts, at most MAX_CRAWLS at once; returns when all have ended.

        Every run is finished afterwards (its `ending` is set, or its `error` says why not). May be called from several
        threads: a host that another call is crawling is waited for. Raises TimeoutError if the loop is stuck.
        """
        rounds = -(-len(groups) // MAX_CRAWLS)
        work = self.begin(groups, settings, clock, board)
        try:
            work.result(rounds * longest_s(settings))
        except KeyboardInterrupt:
            self.stop()
            raise

    def begin(
        self,
        groups: Sequence[Sequence[SourceRun]],
        settings: CrawlSettings,
        clock: Callable[[], datetime],
        board: StopBoard | None = None,
    ) -> Future[None]:
        """`crawl` without waiting for its end; a group ends within `longest_s`, or the loop is stuck."""
        return asyncio.run_coroutine_threadsafe(
            self._crawl_all(groups, settings, clock, board or StopBoard()), self._loop
        )

    def robots_of(self, origin: str, settings: CrawlSettings) -> Verdict | None:
        """What robots.txt of `origin` said when it was last asked; None before that."""
        return self._gate(settings).known(origin)

    def forget_robots(self) -> None:
        """Drop what is known of every robots.txt, so that the next crawl asks again."""
        self._loop.call_soon_threadsafe(self._gates.clear)

    def stop(self, timeout_s: float = 10.0) -> None:
        """End running crawls; what they have read is saved. The thread stays: the reactor cannot be started twice."""
        self._stopping = True
        try:
            asyncio.run_coroutine_threadsafe(self._stop_all(), self._loop).result(timeout_s)
        except TimeoutError:
            log.warning("crawls did not end within %g s; they are left to the end of the process", timeout_s)

    # --- inside the thread

    def _live(self) -> None:
        try:
            if "twisted.internet.reactor" in sys.modules:
                raise RuntimeError("another Twisted reactor is installed in this process already")
            self._loop = asyncio.SelectorEventLoop()
            asyncio.set_event_loop(self._loop)
            asyncioreactor.install(self._loop)  # type: ignore[no-untyped-call]
            # only now may the reactor be imported: importing it earlier would install another kind
            from twisted.internet import reactor as installed

            reactor: Any = installed
            self._resolver = GuardedResolver(reactor.nameResolver, lambda: self._private)
            reactor.installNameResolver(self._resolver)
            limit_headers()
            self._limit = asyncio.Semaphore(MAX_CRAWLS)
            self._door = asyncio.Lock()
            reactor.callWhenRunning(self._begin_living)
        except BaseException as exc:  # noqa: BLE001  # told to the thread that waits
            self._failed = exc
            self._ready.set()
            return
        reactor.run(installSignalHandlers=False)

    def _begin_living(self) -> None:
        self._pulse = asyncio.ensure_future(self._watch_lag())
        self._ready.set()

    async def _watch_lag(self) -> None:
        while True:
            asleep = self._loop.time()
            await asyncio.sleep(0.1)
            self._lag = max(self._loop.time() - asleep - 0.1, 0.7 * self._lag)

    async def _breathe(self) -> None:
        """Wait until the loop keeps up, one crawl after the other."""
        async with self._door:
            while self._lag > MAX_LAG_S and len(self._crawlers) >= FEW_CRAWLS and not self._stopping:
                await asyncio.sleep(0.1)

    async def _stop_all(self) -> None:
        await asyncio.gather(*(crawler.stop_async() for crawler in list(self._crawlers)))

    async def _crawl_all(
        self,
        groups: Sequence[Sequence[SourceRun]],
        settings: CrawlSettings,
        clock: Callable[[], datetime],
        board: StopBoard,
    ) -> None:
        self._stopping = False
        self._private = frozenset(host.lower() for host in settings.allow_private_hosts)
        shared = Shared(self._gate(settings), settings, clock, self._resolver, self._private, board)
        await asyncio.gather(*(self._crawl_group(list(group), shared) for group in groups))

    def _gate(self, settings: CrawlSettings) -> RobotsGate:
        """One gate for each agent name: its cache outlives single crawls."""
        key = (agent_token(settings.user_agent), settings.robots_ttl_h)
        if key not in self._gates:
            self._gates[key] = RobotsGate(settings.user_agent, settings.robots_ttl_h * 3600)
        return self._gates[key]

    async def _crawl_group(self, runs: list[SourceRun], shared: Shared) -> None:
        locks = [
            self._hosts.setdefault(host, asyncio.Lock())
            for host in sorted(set().union(*(run.source.hosts for run in runs)))
        ]
        for lock in locks:  # in sorted order, so that two groups cannot wait for each other
            await lock.acquire()
        try:
            async with self._limit:
                await self._breathe()
                await self._crawl_one(runs, shared)
        finally:
            for lock in locks:
                lock.release()
            for run in runs:
                if run.ending is None and self._stopping:
                    run.truncated = True
                    # a source that was not read yet stays as it was: due
                    run.stopped = not run.tally.lists_read
                if run.ending is None and not run.error and not run.stopped and not run.unread:
                    await self._finish(run)

    async def _crawl_one(self, runs: list[SourceRun], shared: Shared) -> None:
        if self._stopping:
            return
        crawler = HostCrawler(ready_settings(shared.settings), runs)
        self._crawlers.add(crawler)
        task = asyncio.ensure_future(crawler.crawl_async(runs=runs, shared=shared))
        task.add_done_callback(lambda _: self._crawlers.discard(crawler))
        halted = await self._until_done(task, crawler, shared)
        if not task.done() and not halted:
            log.info(
                "crawl of %s stopped after %g s; it goes on next time",
                runs[0].source.host,
                shared.settings.crawl_limit_s,
            )
            for run in runs:
                if run.ending is None:
                    run.truncated = True
                    run.notes.append(
                        f"stopped after crawl.crawl_limit_s = {shared.settings.crawl_limit_s:g} s"
                    )
        if halted and isinstance(crawler.spider, HostSpider):
            for end in crawler.spider.at_end:
                end()  # a stuck page would keep the crawl from ending
        if not task.done():
            stopping = asyncio.ensure_future(crawler.stop_async())
            patience = 0.0 if halted else shared.settings.timeout_s  # a halt waits for no answer
            await asyncio.wait({task, stopping}, timeout=patience + GRACE_S)
            task.cancel()
            await asyncio.wait({task, stopping}, timeout=GRACE_S)
        if isinstance(crawler.spider, HostSpider):
            for end in crawler.spider.at_end:
                end()
        if task.done() and not task.cancelled() and (exc := task.exception()) is not None:
            log.error("crawl of %s failed", runs[0].source.host, exc_info=exc)
            for run in runs:
                run.fail(SourceProblem(f"the crawl failed: {type(exc).__name__}: {exc}"))

    async def _until_done(self, task: asyncio.Future[Any], crawler: HostCrawler, shared: Shared) -> bool:
        """Wait for the crawl's end or its limit; True when a person has stopped all of its sources meanwhile."""
        ends = self._loop.time() + shared.settings.crawl_limit_s
        while not task.done() and (left := ends - self._loop.time()) > 0:
            await asyncio.wait({task}, timeout=min(left, LOOK_S))
            if isinstance(crawler.spider, HostSpider) and crawler.spider.enforce() and not task.done():
                await asyncio.wait({task}, timeout=LOOK_S)  # its last answers are being written
                return True
        return False

    async def _finish(self, run: SourceRun) -> None:
        try:
            await run.finish()
        except Exception as exc:  # border: see HostSpider._finish
            log.exception("source %s: its posts could not be saved", run.source.id)
            run.error = f"{type(exc).__name__}: {exc}"


def longest_s(settings: CrawlSettings) -> float:
    """Seconds after which a crawl has ended, unless the loop is stuck."""
    return settings.crawl_limit_s + settings.timeout_s + 2 * GRACE_S + 60.0


_lock = threading.Lock()
_thread: CrawlerThread | None = None


def crawler_thread() -> CrawlerThread:
    """The crawler's thread of this process, started at the first call."""
    global _thread  # the reactor is a singleton of the process whether we like it or not
    with _lock:
        if _thread is None:
            _thread = CrawlerThread()
        return _thread


def stop_crawls(timeout_s: float = 10.0) -> None:
    """End running crawls, if there are any; for a clean stop of the process."""
    if _thread is not None:
        _thread.stop(timeout_s)


__all__ = ["CrawlerThread", "crawler_thread", "longest_s", "stop_crawls"]
