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
from datetime import datetime
from typing import Any

from scrapy.crawler import AsyncCrawlerRunner, Crawler
from scrapy.settings import Settings as ScrapySettings
from twisted.internet import asyncioreactor

from config.settings import CrawlSettings
from spiders.guard import GuardedResolver
from spiders.host_spider import HostSpider, Shared, delay_of
from spiders.problems import SourceProblem
from spiders.robots import RobotsGate, agent_token
from spiders.source_run import SourceRun

log = logging.getLogger(__name__)

#: crawls at once in one process
MAX_CRAWLS = 16
#: seconds that a stopped crawl gets to end by itself before it is cancelled
GRACE_S = 5.0
#: with no delay at all Scrapy 2.19 starts every queued request of a host at once, whatever its concurrency
MIN_DELAY_S = 0.001


class CrawlerThread:
    """Made by `crawler_thread()` only: a process has one."""

    def __init__(self) -> None:
        self._ready = threading.Event()
        self._failed: BaseException | None = None
        self._gates: dict[tuple[str, float], RobotsGate] = {}
        self._hosts: dict[str, asyncio.Lock] = {}
        self._private: frozenset[str] = frozenset()
        self._stopping = False
        self._thread = threading.Thread(target=self._live, name="crawler", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failed is not None:
            raise RuntimeError("the crawler's reactor could not be started") from self._failed

    def crawl(
        self, groups: Sequence[Sequence[SourceRun]], settings: CrawlSettings, clock: Callable[[], datetime]
    ) -> None:
        """Run one crawl for each group of sources that share hosts, at most MAX_CRAWLS at once; returns when all have ended.

        Every run is finished afterwards (its `ending` is set, or its `error` says why not). May be called from several
        threads: a host that another call is crawling is waited for. Raises TimeoutError if the loop is stuck.
        """
        rounds = -(-len(groups) // MAX_CRAWLS)
        longest = rounds * (settings.crawl_limit_s + settings.timeout_s + 2 * GRACE_S) + 60.0
        work = asyncio.run_coroutine_threadsafe(self._crawl_all(groups, settings, clock), self._loop)
        try:
            work.result(longest)
        except KeyboardInterrupt:
            self.stop()
            raise

    def forget_robots(self) -> None:
        """Drop what is known of every robots.txt, so that the next crawl asks again."""
        self._loop.call_soon_threadsafe(self._gates.clear)

    def stop(self, timeout_s: float = 10.0) -> None:
        """End running crawls; what they have read is saved. The thread stays: the reactor cannot be started twice."""
        self._stopping = True
        try:
            asyncio.run_coroutine_threadsafe(self._runner.stop(), self._loop).result(timeout_s)
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
            self._runner = AsyncCrawlerRunner(ScrapySettings())
            self._limit = asyncio.Semaphore(MAX_CRAWLS)
            reactor.callWhenRunning(self._ready.set)
        except BaseException as exc:  # noqa: BLE001  # told to the thread that waits
            self._failed = exc
            self._ready.set()
            return
        reactor.run(installSignalHandlers=False)

    async def _crawl_all(
        self, groups: Sequence[Sequence[SourceRun]], settings: CrawlSettings, clock: Callable[[], datetime]
    ) -> None:
        self._stopping = False
        self._private = frozenset(host.lower() for host in settings.allow_private_hosts)
        shared = Shared(self._gate(settings), settings, clock, self._resolver, self._private)
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
                await self._crawl_one(runs, shared)
        finally:
            for lock in locks:
                lock.release()
            for run in runs:
                if run.ending is None and self._stopping:
                    run.truncated = True
                    # a source that was not read yet stays as it was: due
                    run.stopped = not run.tally.lists_read
                if run.ending is None and not run.error and not run.stopped:
                    await self._finish(run)

    async def _crawl_one(self, runs: list[SourceRun], shared: Shared) -> None:
        if self._stopping:
            return
        crawler = Crawler(HostSpider, scrapy_settings(runs, shared.settings))
        task = self._runner.crawl(crawler, runs=runs, shared=shared)
        done, _ = await asyncio.wait({task}, timeout=shared.settings.crawl_limit_s)
        if not done:
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
            stopping = asyncio.ensure_future(crawler.stop_async())
            await asyncio.wait({task, stopping}, timeout=shared.settings.timeout_s + GRACE_S)
            task.cancel()
            await asyncio.wait({task, stopping}, timeout=GRACE_S)
        if task.done() and not task.cancelled() and (exc := task.exception()) is not None:
            log.error("crawl of %s failed", runs[0].source.host, exc_info=exc)
            for run in runs:
                run.fail(SourceProblem(f"the crawl failed: {type(exc).__name__}: {exc}"))

    async def _finish(self, run: SourceRun) -> None:
        try:
            await run.finish()
        except Exception as exc:  # border: see HostSpider._finish
            log.exception("source %s: its posts could not be saved", run.source.id)
            run.error = f"{type(exc).__name__}: {exc}"


def scrapy_settings(runs: Sequence[SourceRun], settings: CrawlSettings) -> dict[str, Any]:
    """Scrapy's settings for one crawl, each with its reason."""
    slots = {
        host: {
            "concurrency": 1,
            "delay": max([MIN_DELAY_S, *(delay_of(run) for run in runs if host in run.source.hosts)]),
            "jitter": 0.0,
        }
        for host in set().union(*(run.source.hosts for run in runs))
    }
    return {
        "USER_AGENT": settings.user_agent,
        "ROBOTSTXT_OBEY": False,  # Scrapy's own middleware leaks; RobotsMiddleware obeys
        "DOWNLOADER_MIDDLEWARES": {
            "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware": None,
            "scrapy.downloadermiddlewares.httpproxy.HttpProxyMiddleware": None,  # a proxy would resolve names behind the guard
            "scrapy.downloadermiddlewares.httpauth.HttpAuthMiddleware": None,  # no log-ins
            "scrapy.downloadermiddlewares.offsite.OffsiteMiddleware": None,  # GuardMiddleware knows the hosts of each source
            "spiders.middlewares.GuardMiddleware": 50,
            "spiders.middlewares.RobotsMiddleware": 100,
            "spiders.middlewares.BlockMiddleware": 900,  # nearest to the network: before retries and redirects
        },
        "SPIDER_MIDDLEWARES": {
            "scrapy.spidermiddlewares.httperror.HttpErrorMiddleware": None,  # connectors judge the status
            "scrapy.spidermiddlewares.urllength.UrlLengthMiddleware": None,
            "scrapy.spidermiddlewares.depth.DepthMiddleware": None,
        },
        "EXTENSIONS": {
            "scrapy.extensions.telnet.TelnetConsole": None,  # no open port
            "scrapy.extensions.memusage.MemoryUsage": None,
            "scrapy.extensions.logstats.LogStats": None,
        },
        "TELNETCONSOLE_ENABLED": False,
        "COOKIES_ENABLED": False,  # we keep no session with anybody
        "METAREFRESH_ENABLED": False,
        "REFERRER_POLICY": "no-referrer",  # where we come from is nobody's business
        "REDIRECT_MAX_TIMES": 5,
        "RETRY_TIMES": 1,
        "RETRY_HTTP_CODES": [500, 502, 503, 504, 522, 524, 408],  # 429 is an order to stop, not to retry
        "RETRY_GIVE_UP_LOG_LEVEL": "INFO",
        "DOWNLOAD_TIMEOUT": settings.timeout_s,
        "DOWNLOAD_MAXSIZE": int(settings.max_body_mb * 1024 * 1024),
        "DOWNLOAD_WARNSIZE": 0,
        "DOWNLOAD_DELAY": max(MIN_DELAY_S, settings.delay_s),
        "DOWNLOAD_DELAY_JITTER": 0.0,
        "DOWNLOAD_SLOTS": slots,
        "CONCURRENT_REQUESTS": 8,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
        "SCHEDULER_MEMORY_QUEUE": "scrapy.squeues.FifoMemoryQueue",  # in the order of the list, newest first
        "LOG_LEVEL": "INFO",
        "STATS_DUMP": False,
        "DEFAULT_REQUEST_HEADERS": {
            "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "Accept-Language": "zh-CN,zh;q=0.9,en;q=0.5",
        },
    }


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


__all__ = ["CrawlerThread", "crawler_thread", "scrapy_settings", "stop_crawls"]
