"""Scrapy's Crawler for one crawl of one host, made cheaply: a poll of an unchanged list costs less than what Scrapy copies to begin it.

`scrapy.crawler.Crawler` makes a deep copy of some three hundred settings for each crawl. Ours are the same for all crawls of the process but
for the delays of the hosts, so they are made once and frozen. Leans on the inside of the pinned Scrapy; tests/test_crawl_scale.py holds it to that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import scrapy.middleware
from scrapy.addons import AddonManager
from scrapy.core.engine import ExecutionEngine
from scrapy.crawler import Crawler
from scrapy.extension import ExtensionManager
from scrapy.logformatter import LogFormatter
from scrapy.settings import Settings as ScrapySettings
from scrapy.signalmanager import SignalManager
from scrapy.statscollectors import MemoryStatsCollector
from scrapy.utils.deprecate import argument_is_required
from scrapy.utils.misc import build_from_crawler, load_object

from config.settings import CrawlSettings
from spiders.host_spider import HostSpider, delay_of
from spiders.source_run import SourceRun

#: with no delay at all Scrapy 2.19 starts every queued request of a host at once, whatever its concurrency
MIN_DELAY_S = 0.001


@lru_cache(maxsize=256)
def _asks_for(function: Callable[..., Any], argument: str) -> bool:
    return argument_is_required(function, argument)


def asks_for(func: Callable[..., Any], arg_name: str) -> bool:
    """Scrapy's `argument_is_required`, asked once of each method: it looks at fifteen signatures of our middlewares for each crawl."""
    # only what belongs to a class: a function made for one object would keep that object, and with it its crawl, alive
    method = getattr(func, "__func__", None)
    return argument_is_required(func, arg_name) if method is None else _asks_for(method, arg_name)


scrapy.middleware.argument_is_required = asks_for  # type: ignore[attr-defined]


class HostCrawler(Crawler):
    """One crawl. `settings` are frozen and shared, see `ready_settings`."""

    def __init__(self, settings: ScrapySettings, runs: Sequence[SourceRun]) -> None:
        # without Crawler.__init__, which copies the settings; these are its other lines
        self.spidercls = HostSpider
        self.settings = settings
        self.addons = AddonManager(self)
        self.signals = SignalManager(self)
        self._init_reactor = False
        self.crawling = False
        self._started = False
        self.spider = None
        self._engine = None
        self._extensions = None
        self._logformatter = None
        self._request_fingerprinter = None
        self._stats = None
        self._slots = slots_of(runs)

    def _apply_settings(self) -> None:
        self.stats = MemoryStatsCollector(self)
        self.logformatter = build_from_crawler(LogFormatter, self)
        self.request_fingerprinter = build_from_crawler(
            load_object(self.settings["REQUEST_FINGERPRINTER_CLASS"]), self
        )
        self.extensions = build_from_crawler(ExtensionManager, self)

    def _create_engine(self) -> ExecutionEngine:
        engine = super()._create_engine()
        engine.downloader.per_slot_settings = self._slots
        return engine


def slots_of(runs: Sequence[SourceRun]) -> dict[str, dict[str, Any]]:
    """Host -> how Scrapy waits between two requests to it: one at a time, by the slowest of its sources."""
    return {
        host: {
            "concurrency": 1,
            "delay": max([MIN_DELAY_S, *(delay_of(run) for run in runs if host in run.source.hosts)]),
            "jitter": 0.0,
        }
        for host in set().union(*(run.source.hosts for run in runs))
    }


@lru_cache(maxsize=4)
def ready_settings(settings: CrawlSettings) -> ScrapySettings:
    """`scrapy_settings` as Scrapy wants them, frozen; the same object for the same settings."""
    made = ScrapySettings(scrapy_settings(settings))
    made.freeze()
    return made


def scrapy_settings(settings: CrawlSettings) -> dict[str, Any]:
    """Scrapy's settings for every crawl, each with its reason. What is switched off here is not built for each crawl."""
    return {
        "USER_AGENT": settings.user_agent,
        "ROBOTSTXT_OBEY": False,  # Scrapy's own middleware leaks; RobotsMiddleware obeys
        # lists of what is wanted, not of what is not: a new release of Scrapy can bring no part along unasked (2.19 brought a server that
        # runs code), and what is not in them is not even imported
        "DOWNLOADER_MIDDLEWARES_BASE": {
            f"scrapy.downloadermiddlewares.{name}": place
            for name, place in (
                ("downloadtimeout.DownloadTimeoutMiddleware", 350),
                ("defaultheaders.DefaultHeadersMiddleware", 400),
                ("useragent.UserAgentMiddleware", 500),
                ("retry.RetryMiddleware", 550),
                ("httpcompression.HttpCompressionMiddleware", 590),
                ("redirect.RedirectMiddleware", 600),
            )
        },
        "DOWNLOADER_MIDDLEWARES": {
            "spiders.middlewares.GuardMiddleware": 50,
            "spiders.middlewares.RobotsMiddleware": 100,
            "spiders.browser.RenderMiddleware": 150,
            "spiders.middlewares.BlockMiddleware": 900,  # nearest to the network: before retries and redirects
        },
        "SPIDER_MIDDLEWARES_BASE": {
            f"scrapy.spidermiddlewares.{name}": place
            for name, place in (
                ("start.StartSpiderMiddleware", 25),
                ("referer.RefererMiddleware", 700),
                ("metacopy.MetaCopyDetectionMiddleware", 1000),
            )
        },
        "EXTENSIONS_BASE": {"scrapy.extensions.logcount.LogCount": 0},
        "DOWNLOAD_HANDLERS": {
            "data": None,
            "file": None,
            "ftp": None,
            "s3": None,
        },  # the guard refuses them anyway
        "DUPEFILTER_CLASS": "scrapy.dupefilters.BaseDupeFilter",  # connectors know what they asked for
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,  # a server on this machine that runs whatever code it is sent
        "COOKIES_ENABLED": False,  # we keep no session with anybody
        "METAREFRESH_ENABLED": False,
        "REFERRER_POLICY": "no-referrer",  # where we come from is nobody's business
        "REDIRECT_MAX_TIMES": 5,
        "RETRY_TIMES": 1,
        "RETRY_HTTP_CODES": [500, 502, 503, 504, 522, 524, 408],  # 429 is an order to stop, not to retry
        "RETRY_GIVE_UP_LOG_LEVEL": "DEBUG",  # its line shows the address, which may hold a key; the state tells the failure
        "DOWNLOAD_TIMEOUT": settings.timeout_s,
        "DOWNLOAD_MAXSIZE": int(settings.max_body_mb * 1024 * 1024),
        "DOWNLOAD_WARNSIZE": 0,
        "DOWNLOAD_DELAY": max(MIN_DELAY_S, settings.delay_s),
        "DOWNLOAD_DELAY_JITTER": 0.0,
        # tasks that Scrapy starts for what each answer gives, however little it is: ours give requests only
        "CONCURRENT_ITEMS": 4,
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
