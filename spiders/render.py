"""The browser's own process: renders pages that it is handed, and reaches no network by itself. `python -m spiders.render CONFIG`

It speaks lines of JSON over its standard streams. The crawler hands it a page; for whatever the page's scripts ask, it asks the
crawler, whose robots.txt, rate, guard and halts therefore hold for every request. Chromium itself gets a proxy that does not exist
and no name resolution: what is not handed over this way (web sockets, updates, prefetching) goes nowhere.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

#: kinds of requests that a page may make; pictures, media, fonts, style sheets, beacons and sockets say nothing about its text
ALLOWED = frozenset({"document", "script", "xhr", "fetch"})
#: a proxy on a port that nobody serves
NOWHERE = "http://127.0.0.1:1"
#: longest line of the protocol, bytes
LINE = 64 * 1024 * 1024
#: seconds without a request after which a page counts as built
QUIET_S = 0.5
_FLAGS = (
    "--proxy-bypass-list=<-loopback>",
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--no-pings",
    "--dns-prefetch-disable",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--mute-audio",
)
#: scripts find no way to talk past the routes
_SHUT = "for (const n of ['RTCPeerConnection','webkitRTCPeerConnection','WebTransport','SharedWorker']) delete window[n];"


@dataclass(frozen=True)
class Member:
    """One process: its numbers, resident memory in MB and CPU seconds (of its ended children too)."""

    pid: int
    parent: int
    session: int
    mb: float
    cpu_s: float


def family(root: int) -> list[Member]:
    """The process `root` and all that came from it, also by sessions of their own, as Chromium's do."""
    page, tick = os.sysconf("SC_PAGE_SIZE"), os.sysconf("SC_CLK_TCK")
    everybody = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        cpu = sum(int(fields[at]) for at in (11, 12, 13, 14)) / tick
        everybody.append(
            Member(int(stat.parent.name), int(fields[1]), int(fields[3]), int(fields[21]) * page / 1e6, cpu)
        )
    pids, size = {root}, 0
    while len(pids) > size:
        size = len(pids)
        pids |= {one.pid for one in everybody if one.parent in pids or one.session in pids}
    return [one for one in everybody if one.pid in pids]


@dataclass
class Renderer:
    """Speaks with the crawler and drives one browser."""

    config: dict[str, Any]
    waiting: dict[int, asyncio.Future[dict[str, Any]]] = field(default_factory=dict)
    number: int = 0

    def tell(self, **message: Any) -> None:
        """One line to the crawler."""
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    async def ask(self, **message: Any) -> dict[str, Any]:
        """Ask the crawler for something that a page wants; waits for the answer."""
        self.number += 1
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self.waiting[self.number] = future
        self.tell(fetch=self.number, **message)
        return await future

    async def live(self) -> None:
        """Until the crawler closes our standard input."""
        from playwright.async_api import async_playwright  # the optional extra

        lines = asyncio.StreamReader(limit=LINE)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), sys.stdin
        )
        async with async_playwright() as play:
            browser = await play.chromium.launch(
                executable_path=self.config["executable"],
                proxy={"server": self.config.get("proxy") or NOWHERE},
                args=list(_FLAGS),
                chromium_sandbox=os.geteuid() != 0,
                timeout=30_000,
            )
            self.tell(ready=True)
            tasks: set[asyncio.Task[None]] = set()
            while line := await lines.readline():
                message = json.loads(line)
                if "render" in message:
                    task = asyncio.create_task(self.page(browser, message))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                elif (future := self.waiting.pop(message["fetched"], None)) is not None and not future.done():
                    future.set_result(message)
            _end_all()  # not close(): a page that is stuck would keep it waiting

    async def page(self, browser: Any, job: dict[str, Any]) -> None:
        """Render one page in a context of its own: no page leaves anything behind for the next."""
        context = None
        try:
            context = await browser.new_context(
                user_agent=self.config["user_agent"],
                locale="zh-CN",
                timezone_id="Asia/Shanghai",
                accept_downloads=False,
                service_workers="block",
                ignore_https_errors=True,  # certificates were checked by the crawler, which made the request
            )
            await context.add_init_script(_SHUT)
            page = await context.new_page()
            first = [job]

            async def route(hop: Any) -> None:
                await self.answer(hop, page, first)

            await context.route("**/*", route)
            await context.route_web_socket("**/*", lambda socket: socket.close())
            context.on(
                "page", lambda other: asyncio.ensure_future(other.close()) if other is not page else None
            )
            await page.goto(job["url"], wait_until="domcontentloaded", timeout=job["timeout_ms"])
            await self.settle(page, job)
            html = await page.content()
            self.tell(rendered=job["render"], url=page.url, html=html, **_cost())
        except Exception as exc:  # noqa: BLE001  # whatever the browser says is told to the crawler
            self.tell(rendered=job["render"], error=" ".join(str(exc).split())[:300])
        finally:
            if context is not None:
                await context.close()

    async def settle(self, page: Any, job: dict[str, Any]) -> None:
        """Wait for the list, or until the page has asked for nothing for a while; what is there then is taken."""
        from playwright.async_api import Error

        try:
            if job.get("wait_for"):
                await page.wait_for_selector(job["wait_for"], state="attached", timeout=job["timeout_ms"])
            await page.wait_for_load_state("networkidle", timeout=job["timeout_ms"])
        except Error:
            return

    async def answer(self, hop: Any, page: Any, first: list[dict[str, Any]]) -> None:
        """One request of a page: the page itself comes from the crawler's hand, the rest is asked of it or refused."""
        request = hop.request
        if first and request.is_navigation_request() and request.frame == page.main_frame:
            job = first.pop()
            await hop.fulfill(
                status=200, content_type=job["content_type"], body=base64.b64decode(job["body"])
            )
            return
        if request.resource_type not in ALLOWED or request.method not in ("GET", "POST"):
            await hop.abort("blockedbyclient")
            return
        body = request.post_data_buffer or b""
        told = await self.ask(
            url=request.url,
            method=request.method,
            kind=request.resource_type,
            body=base64.b64encode(body).decode(),
            type=request.headers.get("content-type", ""),
        )
        if "status" not in told:
            await hop.abort("blockedbyclient")
            return
        await hop.fulfill(
            status=told["status"],
            headers={"content-type": told["type"], "access-control-allow-origin": "*"},
            body=base64.b64decode(told["body"]),
        )


def _end_all() -> None:
    """The crawler has gone or wants no more: the browser's processes end at once, then this one."""
    for one in family(os.getpid()):
        if one.pid != os.getpid():
            with suppress(ProcessLookupError):
                os.kill(one.pid, signal.SIGKILL)
    os._exit(0)


def _cost() -> dict[str, float]:
    """Memory and CPU of this process and its browser; shared pages count once for each process."""
    members = family(os.getpid())
    return {"memory_mb": sum(one.mb for one in members), "cpu_s": sum(one.cpu_s for one in members)}


def main() -> None:
    """Entry point of the process."""
    config = json.loads(sys.argv[1])
    os.environ["HOME"] = tempfile.gettempdir()
    asyncio.run(Renderer(config).live())


if __name__ == "__main__":
    main()
