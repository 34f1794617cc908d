"""Scrapy's way in and out: where we may go, what robots.txt says, and when a site has had enough of us."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from scrapy import Request, signals
from scrapy.crawler import Crawler
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Response
from scrapy.http.request import NO_CALLBACK

from spiders.browser import SUB
from spiders.connectors.base import RUN
from spiders.exchange import ROBOTS
from spiders.guard import check_url
from spiders.problems import Blocked, LoginWall, RobotsDenied
from spiders.robots import RETRY_S, RobotsAnswer, Verdict

if TYPE_CHECKING:
    from spiders.host_spider import HostSpider
    from spiders.source_run import SourceRun

log = logging.getLogger(__name__)

#: request.meta flag of the request for /robots.txt itself
ROBOTS_REQUEST = "robots_request"
#: answers by which a site tells a robot to stay away; 418 and 432 are what Chinese platforms use
BLOCKING = frozenset({403, 418, 429, 432})
#: the longest that a Retry-After is believed
MAX_PAUSE = timedelta(days=7)


class _Base:
    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler
        self.spider = cast("HostSpider", crawler.spider)

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> _Base:
        """Scrapy's constructor."""
        return cls(crawler)


class GuardMiddleware(_Base):
    """Refuses private addresses, other protocols, hosts of no source and what a person stopped; stops at once when the host blocked us."""

    def process_request(self, request: Request) -> None:
        """Raises Refused, Stopped, Blocked or LoginWall."""
        run: SourceRun | None = request.meta.get(RUN)
        if run is not None and isinstance(run.problem, Blocked | LoginWall):
            raise run.problem  # a wall was met: what waits in the queue is not asked any more
        robots = bool(request.meta.get(ROBOTS_REQUEST))
        if not robots:  # robots.txt is asked for right after a request that passed here
            self.spider.check_stops(request)
        hosts = None if robots else self.spider.hosts_of(request)
        check_url(request.url, hosts, self.spider.shared.private_allowed)
        blocked = self.spider.blocked.get(_host(request.url))
        if blocked is not None and not robots:
            raise blocked


class RobotsMiddleware(_Base):
    """Asks the gate of the process; applies Crawl-delay to the host's download slot."""

    async def process_request(self, request: Request) -> None:
        """Raises RobotsDenied, or Stopped."""
        if request.meta.get(ROBOTS_REQUEST):
            return
        parts = urlsplit(request.url)
        verdict = await self.spider.shared.gate.verdict(f"{parts.scheme}://{parts.netloc}", self._fetch)
        self.spider.check_stops(request)  # it may have waited long for robots.txt
        self._apply_delay(request, verdict)
        if verdict.allowed(request.url):
            request.meta[ROBOTS] = verdict.describe()
            return
        if verdict.unreachable:
            raise RobotsDenied(
                f"{verdict.origin}/robots.txt cannot be read ({verdict.unreachable}), so nothing may be fetched (RFC 9309); asked again in 5 minutes",
                pause=timedelta(seconds=RETRY_S),
            )
        raise RobotsDenied(
            f"{verdict.origin}/robots.txt forbids {parts.path or '/'} for {verdict.agent}; ask the site's owner, or disable the source",
            pause=timedelta(hours=self.spider.shared.settings.robots_ttl_h),
        )

    async def _fetch(self, url: str) -> RobotsAnswer:
        request = Request(
            url,
            priority=1000,
            callback=NO_CALLBACK,
            meta={
                ROBOTS_REQUEST: True,
                "dont_retry": True,
                "dont_obey_robotstxt": True,
                "handle_httpstatus_all": False,
            },
        )
        try:
            response = await self.crawler.engine.download_async(request)
        except asyncio.CancelledError:
            raise
        except IgnoreRequest as exc:
            return RobotsAnswer(0, detail=str(exc) or "refused")
        except Exception as exc:  # noqa: BLE001  # every kind of network failure means the same here: forbidden
            return RobotsAnswer(0, detail=self.spider.shared.explain(exc, url))
        return RobotsAnswer(response.status, response.body)

    def _apply_delay(self, request: Request, verdict: Verdict) -> None:
        delay = verdict.crawl_delay
        if not delay:
            return
        downloader = self.crawler.engine.downloader
        key = downloader.get_slot_key(request)
        wanted = max(delay, self.spider.delay_of(_host(request.url)))
        run: SourceRun | None = request.meta.get(RUN)
        if run is not None:
            run.crawl_delay = max(run.crawl_delay, wanted)
        downloader.per_slot_settings[key] = {
            **downloader.per_slot_settings.get(key, {}),
            "concurrency": 1,
            "delay": wanted,
            "jitter": 0.0,
        }
        slot = downloader.slots.get(key)
        if slot is not None and slot.delay < wanted:
            slot.delay, slot.jitter = wanted, 0.0


class BlockMiddleware(_Base):
    """Sees every answer first. 403, 429 and the like end all work on that host and start its pause."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        # sent before the next queued request starts, so that not one more goes out
        crawler.signals.connect(self.downloaded, signal=signals.response_downloaded)

    def downloaded(self, response: Response, request: Request) -> None:
        """Note a refusal and drop what waits in the host's queue."""
        if request.meta.get(ROBOTS_REQUEST) or not _refusal(request, response):
            return
        host = _host(request.url)
        if host not in self.spider.blocked:
            self.spider.blocked[host] = self._block(host, response, request)
            log.warning("%s", self.spider.blocked[host].sentence)
        downloader = self.crawler.engine.downloader
        slot = downloader.slots.get(downloader.get_slot_key(request))
        while slot is not None and slot.queue:
            _, waiting = slot.queue.popleft()
            waiting.errback(self.spider.blocked[host])

    def _block(self, host: str, response: Response, request: Request) -> Blocked:
        settings = self.spider.shared.settings
        asked = retry_after(
            (response.headers.get("Retry-After") or b"").decode("latin-1"), self.spider.shared.clock()
        )
        run: SourceRun | None = request.meta.get(RUN)
        said = ""
        if run is not None and run.read_refusal is not None:
            said, pause = run.read_refusal(response)
            asked = asked or pause
        words = (
            f"it asks for {_words(asked)}" if asked else f"it names no time, so {settings.block_pause_h:g} h"
        )
        return Blocked(
            f"{host} answered {response.status} to {urlsplit(response.url).path or '/'}{f' ({said})' if said else ''}; we leave the host alone ({words})",
            pause=asked or timedelta(hours=settings.block_pause_h),
        )

    def process_response(self, request: Request, response: Response) -> Response:
        """Raises Blocked; other answers pass."""
        if request.meta.get(ROBOTS_REQUEST) or not _refusal(request, response):
            return response
        raise self.spider.blocked[_host(request.url)]


def _refusal(request: Request, response: Response) -> bool:
    """Whether an answer tells us to stay away. To a script's request only 429 does: pages ask for things they may not have."""
    if request.meta.get(SUB):
        return response.status == 429
    return response.status in BLOCKING


def retry_after(value: str, now: datetime) -> timedelta | None:
    """The pause a Retry-After header asks for (seconds or a date), at most seven days; None without a usable one."""
    raw = value.strip()
    if raw.isascii() and raw.isdigit():
        # whatever has so many digits is longer than the longest pause
        pause = timedelta(seconds=min(int(raw[:12]), int(MAX_PAUSE.total_seconds())))
    else:
        try:
            until = parsedate_to_datetime(raw)
        except (ValueError, TypeError):
            return None
        pause = (until if until.tzinfo else until.replace(tzinfo=UTC)) - now
    return min(pause, MAX_PAUSE) if pause > timedelta(0) else None


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").lower()


def _words(pause: timedelta) -> str:
    seconds = int(pause.total_seconds())
    return f"{seconds} s" if seconds < 120 else f"{seconds // 60} min"
