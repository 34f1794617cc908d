"""Pages that only a browser builds: handed to a process of its own (spiders.render), at most 50 each, ended when it is stuck or fat.

The page itself and everything its scripts ask for is fetched here, by the crawler: robots.txt, rate, guard, halts, host lease and
the robot's name hold for all of it. What comes back goes on as any other page.
"""

from __future__ import annotations

import asyncio
import base64
import importlib.util
import json
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from scrapy import Request, signals
from scrapy.crawler import Crawler
from scrapy.http import HtmlResponse, Response
from scrapy.http.request import NO_CALLBACK

from config.settings import CrawlSettings
from spiders.problems import SourceProblem
from spiders.render import family

if TYPE_CHECKING:
    from spiders.host_spider import HostSpider
    from spiders.source_run import SourceRun

log = logging.getLogger(__name__)

#: request.meta flags: this page is to be rendered; this request was made by a page's script
RENDER, SUB = "quansheng_render", "quansheng_sub"
#: pages that one browser renders before it is ended: browsers leak
PAGES = 50
#: requests that the scripts of one page may make
MOST_REQUESTS = 60
#: proxy that browsers are given instead of the network, empty: one that does not exist; tests listen here
PROXY = ""
#: seconds between two looks at the browser's memory
LOOK_S = 1.0
#: seconds until a browser has started
START_S = 40.0
_LINE = 64 * 1024 * 1024
_ROOT = Path(__file__).resolve().parent.parent


class BrowserMissing(SourceProblem):
    """There is no browser, or not the library that drives it."""


def missing(settings: CrawlSettings) -> str:
    """What is missing for `render: browser`, as a sentence; empty when nothing is."""
    if importlib.util.find_spec("playwright") is None:
        return "render: browser needs the optional extra; install it with pip install 'quansheng[browser]'"
    if shutil.which(settings.browser) is None:
        return f"render: browser needs Chromium, and there is none at {settings.browser}; apt-get install chromium, or set crawl.browser"
    return ""


@dataclass
class Tally:
    """What rendering has cost and refused in one crawl."""

    pages: int = 0
    requests: int = 0
    browsers: int = 0
    peak_mb: float = 0.0
    cpu_s: float = 0.0
    refused: Counter[str] = field(default_factory=Counter)


class Browser:
    """One browser process and the conversation with it."""

    def __init__(self, settings: CrawlSettings, tally: Tally, proxy: str = "") -> None:
        self._settings = settings
        self._tally = tally
        self._proxy = proxy
        self._process: asyncio.subprocess.Process | None = None
        self._said = b""
        self._cpu = 0.0
        self.pages = 0

    async def start(self) -> None:
        """Start the process; a session of its own, an environment without our secrets. Raises BrowserMissing."""
        config = {
            "executable": shutil.which(self._settings.browser),
            "user_agent": self._settings.user_agent,
            "proxy": self._proxy,
        }
        env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8", "PYTHONPATH": str(_ROOT)}
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "spiders.render",
            json.dumps(config),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
            env=env,
            cwd=tempfile.gettempdir(),
            limit=_LINE,
        )
        self._tally.browsers += 1
        try:
            ready = await asyncio.wait_for(self._hear(), START_S)
        except TimeoutError:
            ready = {}
        if not ready.get("ready"):
            self.kill()
            raise BrowserMissing(
                f"the browser {self._settings.browser} does not start; try it by hand: {self._settings.browser} --headless --dump-dom about:blank"
            )

    async def render(self, job: dict[str, Any], fetch: Any) -> dict[str, Any]:
        """Render one page. `fetch` answers what its scripts ask for. Raises SourceProblem when the browser has gone."""
        self.pages += 1
        self._say(**job)
        tasks: set[asyncio.Task[None]] = set()
        try:
            while True:
                told = await self._hear()
                if "rendered" in told:
                    self._tally.peak_mb = max(self._tally.peak_mb, told.get("memory_mb", 0.0))
                    now = told.get("cpu_s", self._cpu)
                    self._tally.cpu_s += max(0.0, now - self._cpu)
                    self._cpu = now
                    return told
                if "fetch" in told:
                    task = asyncio.ensure_future(self._serve(told, fetch))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
        finally:
            for task in tasks:
                task.cancel()

    async def _serve(self, wanted: dict[str, Any], fetch: Any) -> None:
        answer = await fetch(wanted)
        self._say(fetched=wanted["fetch"], **answer)

    def _say(self, **message: Any) -> None:
        process = self._process
        if process is not None and process.stdin is not None and not process.stdin.is_closing():
            process.stdin.write(json.dumps(message).encode() + b"\n")

    async def _hear(self) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            raise SourceProblem("the browser has ended while it built the page")
        return cast("dict[str, Any]", json.loads(line))

    @property
    def memory_mb(self) -> float:
        """Resident memory of the browser's processes, MB."""
        return sum(one.mb for one in family(self._process.pid)) if self._process is not None else 0.0

    def kill(self) -> None:
        """End the process and all that it started."""
        if self._process is None:
            return
        for one in family(self._process.pid):
            try:
                os.kill(one.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self._process = None


class RenderMiddleware:
    """Between the rules and the network: a request with RENDER comes back as the page that a browser built from it."""

    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler
        self.spider = cast("HostSpider", crawler.spider)
        self.tally = Tally()
        self._one = asyncio.Lock()
        self._browser: Browser | None = None
        self._scripts: dict[str, dict[str, Any]] = {}
        crawler.signals.connect(self.closed, signal=signals.spider_closed)
        self.spider.at_end.append(self._end)  # a crawl that is cut off sends no signal

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> RenderMiddleware:
        """Scrapy's constructor."""
        return cls(crawler)

    async def process_request(self, request: Request) -> Response | None:
        """The rendered page; None lets a request go its usual way."""
        if not request.meta.get(RENDER):
            return None
        settings = self.spider.shared.settings
        if why := missing(settings):
            raise BrowserMissing(why)
        plain = request.replace(
            meta={**request.meta, RENDER: False, "dont_retry": False}, callback=NO_CALLBACK, errback=None
        )
        response = await self.crawler.engine.download_async(plain)
        kind = (response.headers.get("Content-Type") or b"").decode("latin-1")
        if response.status != 200 or "html" not in kind.lower():
            return response
        async with self._one:
            html, url = await self._build(request, response, kind)
        return HtmlResponse(
            url,
            status=200,
            headers={"Content-Type": "text/html; charset=utf-8"},
            body=html.encode("utf-8", "replace"),
            encoding="utf-8",
            request=request,
        )

    async def _build(self, request: Request, response: Response, kind: str) -> tuple[str, str]:
        from spiders.connectors.base import RUN

        run: SourceRun = request.meta[RUN]
        settings = self.spider.shared.settings
        limit = settings.browser_page_s
        browser = await self._ready()
        asked: list[str] = []
        self.tally.pages += 1
        job = {
            "render": self.tally.pages,
            "url": response.url,
            "content_type": kind,
            "body": base64.b64encode(response.body).decode(),
            "timeout_ms": int(limit * 1000 * 0.8),
            "wait_for": getattr(run.source, "list_selector", "")
            if not request.meta.get("quansheng_page")
            else "",
        }
        work = asyncio.ensure_future(browser.render(job, lambda wanted: self._fetch(run, wanted, asked)))
        watch = asyncio.ensure_future(self._fat(browser))
        try:
            done, _ = await asyncio.wait({work, watch}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
            if work in done:
                told = work.result()
            elif watch in done:
                raise SourceProblem(
                    f"{response.url}: the browser took more than crawl.browser_memory_mb = {settings.browser_memory_mb} MB and was ended"
                )
            else:
                raise SourceProblem(
                    f"{response.url}: the browser was not done within crawl.browser_page_s = {limit:g} s and was ended"
                )
        except BaseException:
            self._end()
            raise
        finally:
            work.cancel()
            watch.cancel()
        self._note(run)
        if "error" in told:
            raise SourceProblem(f"{response.url}: the browser could not build the page ({told['error']})")
        html = str(told["html"])
        if len(html) > settings.max_body_mb * 1024 * 1024:
            raise SourceProblem(
                f"{response.url}: the built page is larger than crawl.max_body_mb = {settings.max_body_mb:g} MB"
            )
        return html, str(told["url"])

    async def _ready(self) -> Browser:
        """A browser that has pages left."""
        if self._browser is not None and self._browser.pages >= PAGES:
            self._end()
        if self._browser is None:
            browser = Browser(self.spider.shared.settings, self.tally, PROXY)
            self._browser = browser
            try:
                await browser.start()
            except BaseException:
                self._end()
                raise
        return self._browser

    async def _fat(self, browser: Browser) -> None:
        """Returns when the browser has grown beyond its limit."""
        while browser.memory_mb <= self.spider.shared.settings.browser_memory_mb:
            self.tally.peak_mb = max(self.tally.peak_mb, browser.memory_mb)
            await asyncio.sleep(LOOK_S)

    async def _fetch(self, run: SourceRun, wanted: dict[str, Any], asked: list[str]) -> dict[str, Any]:
        """What a script asked for, through the crawler; an empty answer refuses it."""
        from spiders.connectors.base import PAGE, RUN

        url = str(wanted["url"])
        if wanted["kind"] == "script" and url in self._scripts:
            return self._scripts[url]
        asked.append(url)
        if len(asked) > MOST_REQUESTS:
            self.tally.refused["too many requests"] += 1
            return {}
        request = Request(
            url,
            method=str(wanted["method"]),
            body=base64.b64decode(wanted["body"]),
            headers={"Content-Type": str(wanted["type"])} if wanted["type"] else {},
            callback=NO_CALLBACK,
            dont_filter=True,
            meta={RUN: run, PAGE: "", SUB: True, "handle_httpstatus_all": True},
        )
        try:
            run.tally.requests += 1
            self.tally.requests += 1
            response = await self.crawler.engine.download_async(request)
        except asyncio.CancelledError:
            raise
        except Exception as exc:  # noqa: BLE001  # refused by the guard, by robots.txt, or by the network: the page goes without
            self.tally.refused[url.split("?")[0][:120]] += 1
            log.info("source %s: a script's request was refused: %s", run.source.id, str(exc)[:200])
            return {}
        answer = {
            "status": response.status,
            "type": (response.headers.get("Content-Type") or b"text/plain").decode("latin-1"),
            "body": base64.b64encode(response.body).decode(),
        }
        if wanted["kind"] == "script" and response.status == 200:
            self._scripts[url] = answer
        return answer

    def _note(self, run: SourceRun) -> None:
        if not self.tally.refused:
            return
        shown = ", ".join(url for url, _ in self.tally.refused.most_common(2))
        note = f"requests of the page's scripts were refused ({shown}); hosts that it needs belong into allow_hosts"
        if not any(one.startswith("requests of the page's scripts") for one in run.notes):
            run.notes.append(note)

    def _end(self) -> None:
        if self._browser is not None:
            self._browser.kill()
            self._browser = None

    def closed(self) -> None:
        """The crawl has ended: so does its browser."""
        self._end()
        if self.tally.pages:
            log.info(
                "browser: %d pages, %d requests of scripts, %d processes, %.1f CPU s, %.0f MB at most",
                self.tally.pages,
                self.tally.requests,
                self.tally.browsers,
                self.tally.cpu_s,
                self.tally.peak_mb,
            )
