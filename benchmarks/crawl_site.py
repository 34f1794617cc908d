"""A town of invented sites for the crawl benchmarks, in a process of its own: `python -m benchmarks.crawl_site`.

Prints its port and answers any host name. What a site shows is a function of its name and of a count of published
posts, so that the benchmark knows the truth without asking: post 0 to count-1 exist, lists show the newest LISTED.

    (--listed N shows the newest N instead)
    /v/KIND      a list with ETag, 304 when it is unchanged        KIND: feed, column, api, forum
    /p/KIND      the same list without validators
    /a/N, /t/N   article page and forum thread of post N
    /_set?...    count=N (fixed), or period=S: one more post every S seconds on each site, shifted by its name
    /_truth      stops all growth; JSON of every [site, mark of a post] that was ever published by a site that was asked
    /_requests   requests of crawlers so far
    /_quiet      seconds since a site was last asked
    /_log        JSON lines of the list requests since the last call: [host, seconds since the epoch]

A name that begins with slow- takes 5 s for each answer, dead- never answers, err- answers 500; the others take 20 to 300 ms
with --latency and nothing without.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qsl, urlsplit
from urllib.request import urlopen

LISTED = 20
_PLACES = ("历下区", "市中区", "槐荫区", "天桥区", "历城区", "长清区", "章丘区", "济阳区")
_MATTERS = (
    "自来水发黄",
    "电梯停运",
    "路灯不亮",
    "夜间施工",
    "暖气不热",
    "井盖缺失",
    "垃圾堆积",
    "公交改线",
    "占道停车",
    "油烟扰民",
)
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_ROBOTS = (
    "User-agent: *\n"
    + "".join(
        f"Disallow: /{word}/\n" for word in ("admin", "search", "member", "plugin", "api/private", "tmp")
    )
    + "Allow: /\n"
)
_NAVIGATION = "".join(
    f'<li class="nav"><a href="/channel/{n}.shtml" title="频道第{n}号">频道第{n}号的栏目</a></li>'
    for n in range(40)
)
_FOOT = "<div class='foot'>" + "版权所有 泉城示范网站 未经许可不得转载 联系电话见网站首页。" * 12 + "</div>"


def words(host: str, number: int) -> tuple[str, str]:
    """Title and text of a post: no two are alike."""
    seed = zlib.crc32(f"{host} {number}".encode())
    place, matter = _PLACES[seed % 8], _MATTERS[seed // 8 % 10]
    title = f"{place}{seed % 997}号院{matter}（{host.split('.')[0]}第{number}条）"
    text = f"{place}{seed % 997}号院的住户反映，{matter}已经{seed % 9 + 2}天，多次拨打热线没有结果，涉及{seed % 300 + 20}户人家。"
    return title, f"{text}住户希望有关部门尽快处理，并公布处理时间。编号{host.split('.')[0]}-{number}。"


def when(number: int) -> datetime:
    """When post `number` was published, for all sites the same."""
    return _BEGIN + timedelta(minutes=number % 400_000)


@dataclass
class Town:
    """What all sites share."""

    latency: bool = False
    listed: int = LISTED
    count: int = LISTED
    period: float = 0.0
    since: float = field(default_factory=time.time)
    log: list[tuple[str, float]] = field(default_factory=list)
    requests: int = 0
    asked_at: float = 0.0
    until: float = float("inf")
    known: set[str] = field(default_factory=set)

    def count_of(self, host: str) -> int:
        """Posts that a site has published by now."""
        if not self.period:
            return self.count
        shift = zlib.crc32(host.encode()) % 1000 / 1000
        return self.count + int((min(time.time(), self.until) - self.since) / self.period + shift)

    def control(self, query: str) -> str:
        """/_set."""
        asked = dict(parse_qsl(query))
        if "count" in asked:
            self.count, self.period = int(asked["count"]), 0.0
        if "period" in asked:
            self.period, self.since = float(asked["period"]), time.time()
        return "ok"

    def truth(self) -> list[tuple[str, str]]:
        """/_truth."""
        self.until = time.time()
        names = {host: host.split(".")[0] for host in self.known}
        return [
            (host, f"{name}-{number}")
            for host, name in names.items()
            for number in range(self.count_of(host))
        ]

    def answer(self, path: str, host: str, headers: dict[bytes, bytes]) -> tuple[int, str, bytes, str]:
        """Status, content type, body and ETag."""
        name = host.split(":")[0]
        if path == "/robots.txt":
            return 200, "text/plain", _ROBOTS.encode(), ""
        parts = path.strip("/").split("/")
        if parts[0] in ("a", "t"):
            return (
                200,
                "text/html; charset=utf-8",
                _page(name, int(parts[1]), thread=parts[0] == "t").encode(),
                "",
            )
        self.log.append((name, time.time()))
        self.known.add(name)
        if name.startswith("err-"):
            return 500, "text/plain", b"out of order", ""
        count = self.count_of(name)
        etag = f'"{parts[1]}-{count}"' if parts[0] == "v" else ""
        if etag and headers.get(b"if-none-match") == etag.encode():
            return 304, "", b"", etag
        kind, body = _LISTS[parts[1]](host, range(count - 1, max(-1, count - 1 - self.listed), -1))
        return 200, kind, body.encode(), etag


def _feed(host: str, numbers: range) -> tuple[str, str]:
    items = []
    for number in numbers:
        title, text = words(host, number)
        items.append(
            f"<item><title>{title}</title><link>http://{host}/a/{number}</link><guid>{host.split(':')[0]}-{number}</guid>"
            f"<pubDate>{format_datetime(when(number))}</pubDate><author>用户{number % 50}</author><description><![CDATA[<p>{text}</p>]]></description></item>"
        )
    return (
        "application/rss+xml; charset=utf-8",
        f'<?xml version="1.0" encoding="utf-8"?><rss version="2.0"><channel><title>{host}</title>{"".join(items)}</channel></rss>',
    )


def _column(host: str, numbers: range) -> tuple[str, str]:
    rows = "".join(
        f'<li><a href="/a/{number}" title="{words(host, number)[0]}">{words(host, number)[0]}</a><span>{when(number):%Y-%m-%d}</span></li>'
        for number in numbers
    )
    return (
        "text/html; charset=utf-8",
        f"<html><head><title>民生</title></head><body><ul>{_NAVIGATION}</ul><ul class='list'>{rows}</ul>{_FOOT}</body></html>",
    )


def _api(host: str, numbers: range) -> tuple[str, str]:
    rows = []
    for number in numbers:
        title, text = words(host, number)
        rows.append(
            {
                "id": number,
                "title": title,
                "text": text,
                "at": when(number).isoformat(),
                "url": f"http://{host}/a/{number}",
                "likes": number % 7,
            }
        )
    return "application/json", json.dumps({"data": rows}, ensure_ascii=False)


def _forum(host: str, numbers: range) -> tuple[str, str]:
    rows = "".join(
        f'<tbody id="normalthread_{number + 1}"><tr><td class="icn"><a href="thread-{number + 1}-1-1.html">新</a></td>'
        f'<th class="common"><a href="/t/{number}?tid={number + 1}" class="s xst">{words(host, number)[0]}</a></th>'
        f'<td class="by"><cite><a href="space-uid-{number % 50 + 1}.html">网友{number % 50}</a></cite><em><span>{when(number):%Y-%m-%d %H:%M}</span></em></td>'
        f'<td class="num"><a class="xi2">{number % 9}</a><em>{number % 300}</em></td></tr></tbody>'
        for number in numbers
    )
    return (
        "text/html; charset=utf-8",
        f"<html><head><title>民生 - Powered by Discuz!</title></head><body><ul>{_NAVIGATION}</ul><table id='threadlisttableid'>{rows}</table>{_FOOT}</body></html>",
    )


_LISTS = {"feed": _feed, "column": _column, "api": _api, "forum": _forum}


def _page(host: str, number: int, *, thread: bool) -> str:
    title, text = words(host, number)
    lines = "".join(
        f"<p>{text}第{part}段：{_MATTERS[(number + part) % 10]}的情况仍在了解之中，物业与社区已经到场查看。</p>"
        for part in range(6)
    )
    if thread:
        lines = (
            f"<div id='postlist'><div id='post_{number + 1}'><div class='authi'><em id='authorposton{number + 1}'>发表于 {when(number):%Y-%m-%d %H:%M}</em></div>"
            f"<td class='t_f' id='postmessage_{number + 1}'>{lines}</td></div></div>"
        )
    else:
        lines = f"<span class='date'>发布时间：{when(number):%Y-%m-%d %H:%M}</span><div class='content'>{lines}</div>"
    return f"<html><head><title>{title}</title></head><body><ul>{_NAVIGATION}</ul><h1>{title}</h1>{lines}{_FOOT}</body></html>"


class _Protocol(asyncio.Protocol):
    def __init__(self, town: Town) -> None:
        self._town = town
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head, self._buffer = self._buffer[:end], self._buffer[end + 4 :]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        target, host = first.split(b" ")[1].decode(), headers.get(b"host", b"").decode()
        url = urlsplit(target)
        if not url.path.startswith("/_"):
            self._town.requests += 1
            self._town.asked_at = time.time()
        if url.path == "/_set":
            self._send(200, "text/plain", self._town.control(url.query).encode(), "")
        elif url.path == "/_quiet":
            self._send(200, "text/plain", str(time.time() - self._town.asked_at).encode(), "")
        elif url.path == "/_requests":
            self._send(200, "text/plain", str(self._town.requests).encode(), "")
        elif url.path == "/_truth":
            self._send(200, "application/json", json.dumps(self._town.truth()).encode(), "")
        elif url.path == "/_log":
            log, self._town.log = self._town.log, []
            state = {"cpu": time.process_time(), "requests": self._town.requests, "log": log}
            self._send(200, "application/json", json.dumps(state).encode(), "")
        elif host.startswith("dead-"):
            self._town.log.append((host.split(":")[0], time.time()))
        else:
            answer = self._town.answer(url.path, host, headers)
            wait = 5.0 if host.startswith("slow-") else 0.0
            if self._town.latency and not wait:
                wait = 0.02 + zlib.crc32(host.encode()) % 280 / 1000
            if wait:
                asyncio.get_running_loop().call_later(wait, self._send, *answer)
            else:
                self._send(*answer)

    def _send(self, status: int, kind: str, body: bytes, etag: str) -> None:
        if self._transport.is_closing():
            return
        head = (
            f"HTTP/1.1 {status} Answer\r\nContent-Length: {len(body)}\r\n"
            + (f"Content-Type: {kind}\r\n" if kind else "")
            + (f"ETag: {etag}\r\n" if etag else "")
        )
        self._transport.write(head.encode() + b"\r\n" + body)  # type: ignore[attr-defined]


@dataclass
class Site:
    """The running process, from outside."""

    port: int
    process: subprocess.Popen[str]

    def ask(self, path: str) -> bytes:
        """The answer to a control request."""
        with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            body: bytes = answer.read()
        return body


@contextmanager
def running(*options: str) -> Iterator[Site]:
    """The town in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.crawl_site", *options], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        yield Site(int(process.stdout.readline()), process)
    finally:
        process.terminate()
        process.wait()


async def _serve(town: Town, port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Protocol(town), "127.0.0.1", port, backlog=4096)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    parent = os.getppid()
    while os.getppid() == parent:  # a benchmark that was killed leaves no server behind
        await asyncio.sleep(1)


if __name__ == "__main__":
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--port", type=int, default=0)
    options.add_argument("--latency", action="store_true")
    options.add_argument("--listed", type=int, default=LISTED)
    chosen = options.parse_args()
    asyncio.run(_serve(Town(latency=chosen.latency, listed=chosen.listed), chosen.port))
