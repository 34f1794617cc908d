"""A server that wishes us ill, and a process of its own that crawls all of it and tells states and peak memory.

python -m tests.fakes.hostile DATABASE_URL PORT   prints one JSON object
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import threading
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from functools import cache
from types import TracebackType
from typing import Any

import brotli  # type: ignore[import-untyped]
from backports import zstd

from incidents.session import Database
from spiders.job import run
from tests.fakes.crawl import CRAWL, KEYS, NOW, bundle, folder_of, source
from tests.fakes.site import rss

MB = 1024 * 1024
GOOD = rss([{"title": "历下区停水两天", "guid": "good", "text": "自来水公司电话打不通"}])
#: billion laughs: 10^9 times three letters
LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a0 "lol">'
    + "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    + "]><rss><channel><item><guid>l</guid><title>停水&a9;</title></item></channel></rss>"
).encode()
#: quadratic: one long entity, many times
QUADRATIC = (
    f'<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a "{"x" * 50_000}">]><rss><channel><item><guid>q</guid>'
    f"<title>停水{'&a;' * 20_000}</title></item></channel></rss>"
).encode()
OUTSIDE = (
    b'<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY x SYSTEM "file:///etc/hostname">]><rss><channel><item>'
    b"<guid>x</guid><title>a&x;b</title></item></channel></rss>"
)
LAUGHING_MAP = LAUGHS.replace(b"rss", b"urlset").replace(b"<item>", b"<url>")


def _zeros(pack: Callable[[bytes], bytes], end: Callable[[], bytes], size: int = 200) -> bytes:
    block = b" " * MB
    return b"".join(pack(block) for _ in range(size)) + end()


@cache
def bombs() -> dict[str, bytes]:
    """200 MB of blanks in each of the encodings that we accept."""
    packer = zlib.compressobj(9, wbits=31)
    br, zs = brotli.Compressor(quality=5), zstd.ZstdCompressor()
    return {
        "gzip": _zeros(packer.compress, packer.flush),
        "br": _zeros(br.process, br.finish),
        "zstd": _zeros(zs.compress, zs.flush),
    }


@cache
def many_entries(number: int = 100_000) -> bytes:
    """A feed of so many entries, the newest first, small enough to be taken."""
    items = "".join(f"<item><title>s{n}</title></item>" for n in range(number))
    return f'<rss version="2.0"><channel>{items}</channel></rss>'.encode()


class Hostile:
    """Serves on a port of its own; `hits` counts requests by path."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Hostile:
        bombs()  # made beforehand: it takes seconds
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result(10)
        self.port = int(self._server.sockets[0].getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        mine = asyncio.current_task()
        others = [task for task in asyncio.all_tasks() if task is not mine]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            path = head.split(b" ")[1].decode()
            self.hits[path] += 1
            async for piece in self._answer(path):
                writer.write(piece)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the crawler has had enough
        finally:
            writer.close()

    async def _answer(self, path: str) -> AsyncIterator[bytes]:
        name = path.strip("/").split(".")[0]
        if name in bombs():
            yield _head(len(bombs()[name]), f"Content-Encoding: {name}")
            yield bombs()[name]
        elif name == "mapgz":
            yield _whole(bombs()["gzip"], kind="application/x-gzip")
        elif name in ("huge", "bigjson"):
            yield _head(200 * MB)
            block = (b'{"a":' if name == "bigjson" else b"<rss>") + b" " * MB
            for _ in range(200):
                yield block[:MB]
        elif name == "liar":  # promises little, sends without end
            yield b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nTransfer-Encoding: chunked\r\n\r\n"
            while True:
                yield b"10000\r\n" + b" " * 0x10000 + b"\r\n"
        elif name == "loris":
            yield b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: 1000\r\n\r\n"
            while True:
                yield b" "
                await asyncio.sleep(0.2)
        elif name == "lorishead":
            yield b"HTTP/1.1 200 OK\r\n"
            while True:
                yield b"X-A: b\r\n"
                await asyncio.sleep(0.2)
        elif name == "headers":
            yield b"HTTP/1.1 200 OK\r\n"
            while True:
                yield b"X-A: " + b"b" * 8000 + b"\r\n"
        elif name == "nonsense":
            yield b"\x16\x03\x01 this is no HTTP\r\n\r\n" + b"\x00" * 1000
        elif name in _REDIRECTS:
            yield f"HTTP/1.1 302 Found\r\nLocation: {_REDIRECTS[name]}\r\nContent-Length: 0\r\n\r\n".encode()
        elif name in PAGES:
            body = PAGES[name]
            yield _whole(body() if callable(body) else body)
        else:
            yield b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


def _head(length: int, *more: str, kind: str = "text/xml; charset=utf-8") -> bytes:
    lines = ["HTTP/1.1 200 OK", f"Content-Type: {kind}", f"Content-Length: {length}", *more, "", ""]
    return "\r\n".join(lines).encode()


def _whole(body: bytes, kind: str = "text/xml; charset=utf-8") -> bytes:
    return _head(len(body), kind=kind) + body


_REDIRECTS = {
    "loop": "/loop2",
    "loop2": "/loop",
    "private": "http://10.0.0.1/",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "mapped": "http://[::ffff:10.0.0.1]/",
    "decimal": "http://167772161/",
    "file": "file:///etc/passwd",
}
PAGES: dict[str, bytes | Callable[[], bytes]] = {
    "good1": GOOD,
    "good2": GOOD,
    "laughs": LAUGHS,
    "quadratic": QUADRATIC,
    "outside": OUTSIDE,
    "lolmap": LAUGHING_MAP,
    "entries": many_entries,
    "noise": bytes(range(256)) * 2000,
    "broken": GOOD.replace(b"</title>", b"<<b>&&").replace(b"</channel></rss>", b""),
    "charset": GOOD.decode().replace("utf-8", "gb2312").encode("gb18030"),
    "future": rss(
        [{"title": "停水", "guid": "f", "date": "Tue, 24 Nov 2099 09:00:00 +0800", "text": "明年的事"}]
    ),
    "nested": b"[" * 200_000,
    "flat": b'{"items":[' + b",".join(b'{"id":%d,"t":"x%d"}' % (n, n) for n in range(30_000)) + b"]}",
    "deep": b"<ul>" + b"<div>" * 100_000 + b'<a href="/a/1.html">x</a>',
    "links": lambda: b"<ul>" + b"".join(b'<li><a href="/a/%d.html">x</a>' % n for n in range(30_000)),
    "urls": lambda: (
        b"<urlset>" + b"".join(b"<url><loc>/b/%d</loc></url>" % n for n in range(30_000)) + b"</urlset>"
    ),
}
JSON = {"fields": {"id": "id", "text": "t"}, "items": "items"}


def sources(site: str) -> list[Any]:
    """One source for each trick, good ones around them; their pages would be too many to ask for, so none is allowed."""
    feeds = [
        "good1", "gzip", "br", "zstd", "huge", "liar", "loris", "lorishead", "headers", "nonsense", "loop", "private",
        "metadata", "mapped", "decimal", "file", "laughs", "quadratic", "outside", "entries", "noise", "broken", "charset",
        "future",
    ]  # fmt: skip
    away = ["10.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "167772161"]
    return [
        *(source(name, "rss", f"{site}/{name}", allow_hosts=away) for name in feeds),
        source("bigjson", "json", f"{site}/bigjson", **JSON),
        source("nested", "json", f"{site}/nested", **JSON),
        source("flat", "json", f"{site}/flat", **JSON),
        source("mapgz", "sitemap", f"{site}/mapgz.xml.gz"),
        source("lolmap", "sitemap", f"{site}/lolmap"),
        source("deep", "column", f"{site}/deep", link_pattern="nothing"),
        source("links", "column", f"{site}/links", max_items=1),
        source("urls", "sitemap", f"{site}/urls", max_items=1),
        source("good2", "rss", f"{site}/good2"),
    ]


def main(url: str, port: str) -> None:
    """Crawl all once and print what came of it."""
    db = Database(url, audit_key=b"a key that signs nothing but tests")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    chosen = sources(f"http://127.0.0.1:{port}")
    setting = CRAWL.model_copy(update={"timeout_s": 3.0})
    done = run(db, bundle(*chosen, crawl=setting, data_dir=folder_of(db)), KEYS, NOW, env={})
    again = {}
    if port:
        for name in ("entries", "good1"):
            (told,) = run(
                db, bundle(*chosen, crawl=setting, data_dir=folder_of(db)), KEYS, NOW, only=(name,), env={}
            ).sources
            again[name] = [told.state, told.evidence, told.new_posts]
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    db.close()
    told_all = {s.source_id: [s.state, s.evidence, s.new_posts] for s in done.sources}
    report = {"before_mb": before / 1024, "peak_mb": after / 1024, "seconds": done.seconds}
    sys.stdout.write(json.dumps({**report, "sources": told_all, "again": again}))


if __name__ == "__main__":
    main(*sys.argv[1:])
