"""A web site on loopback that behaves, and misbehaves, as the test tells it. One thread per request, no sleep of its own.

with Site() as site:
    site.feed("/feed.xml", entries)
    site.page("/slow", "text", wait=gate)     # answered when the event `gate` is set
    ... crawl site.url + "/feed.xml" ...
    assert site.hits("/robots.txt") == 1
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from xml.sax.saxutils import escape


@dataclass
class Answer:
    """One canned answer. `wait` holds it back until the event is set (at most 20 s)."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    wait: threading.Event | None = None
    drop: bool = False  # close the connection without an answer
    cut: int | None = None  # send only so many bytes of the promised body


@dataclass(frozen=True)
class Hit:
    """One request that arrived."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float  # time.monotonic()
    method: str = "GET"


Handler = Callable[[Hit], Answer]


class Site:
    """The site. Paths include the query; a path without an answer gives 404. It listens on `host` ("": every address of this machine)."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self._answers: dict[str, Answer | Handler] = {}
        self._hits: list[Hit] = []
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer((host, 0), _handler(self))
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Site:
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def on(self, path: str, answer: Answer | Handler) -> None:
        """Answer `path` with a canned answer or by a function of the request."""
        self._answers[path] = answer

    def page(
        self,
        path: str,
        body: str | bytes,
        *,
        status: int = 200,
        kind: str = "text/html; charset=utf-8",
        **more: Any,
    ) -> None:
        """Answer with a text; `headers`, `wait`, `cut` as in Answer."""
        data = body if isinstance(body, bytes) else body.encode()
        headers = {"Content-Type": kind, **more.pop("headers", {})}
        self.on(path, Answer(status, data, headers, **more))

    def validated(
        self,
        path: str,
        body: str | bytes,
        *,
        kind: str = "application/rss+xml; charset=utf-8",
        last_modified: str = "",
    ) -> None:
        """Answer with ETag (and Last-Modified); 304 when the request names the same."""
        data = body if isinstance(body, bytes) else body.encode()
        etag = '"' + hashlib.sha256(data).hexdigest()[:16] + '"'
        headers = {
            "Content-Type": kind,
            "ETag": etag,
            **({"Last-Modified": last_modified} if last_modified else {}),
        }

        def answer(hit: Hit) -> Answer:
            if hit.headers.get("if-none-match") == etag:
                return Answer(304, b"", {"ETag": etag})
            return Answer(200, data, headers)

        self.on(path, answer)

    def feed(self, path: str, entries: list[dict[str, str]], **more: Any) -> None:
        """Answer with an RSS feed, with validators."""
        self.validated(path, rss(entries), **more)

    def hits(self, path: str = "") -> int:
        """Requests for a path, or all."""
        with self._lock:
            return sum(1 for hit in self._hits if not path or hit.path == path)

    def log(self, path: str = "") -> list[Hit]:
        """The requests themselves, oldest first."""
        with self._lock:
            return [hit for hit in self._hits if not path or hit.path == path]

    def arrivals(self) -> list[float]:
        """When each page but robots.txt was asked for, earliest first."""
        return sorted(hit.at for hit in self.log() if hit.path != "/robots.txt")

    def too_near(self, gap_s: float, *, late_s: float = 0.1) -> list[tuple[int, int, float]]:
        """Pairs of requests nearer than `gap_s` a step. An arrival is noted by a thread of the test's own, which a busy processor
        may wake late by `late_s`: forgiven once between any two requests, never once a step, so that a rate too high by little shows, too."""
        times = self.arrivals()
        return [
            (first, last, times[last] - times[first])
            for first in range(len(times))
            for last in range(first + 1, len(times))
            if times[last] - times[first] < (last - first) * gap_s - late_s
        ]

    def _answer(self, hit: Hit) -> Answer:
        with self._lock:
            self._hits.append(hit)
            found = self._answers.get(hit.path)
        if found is None:
            return Answer(404, b"not here", {"Content-Type": "text/plain"})
        return found if isinstance(found, Answer) else found(hit)


def _handler(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handling(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else b""
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = site._answer(Hit(self.path, headers, body, time.monotonic(), self.command))
            if answer.wait is not None:
                answer.wait.wait(20)
            if answer.drop:
                self.close_connection = True
                self.connection.close()
                return
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                if answer.status != 304:
                    self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body if answer.cut is None else answer.body[: answer.cut])
            except OSError:
                self.close_connection = True
            if answer.cut is not None:
                self.close_connection = True

        do_POST = do_GET

        def log_message(self, format: str, *args: Any) -> None:
            """Silent."""

    return Handling


def rss(entries: list[dict[str, str]], *, encoding: str = "utf-8") -> bytes:
    """An RSS 2.0 feed. Keys of an entry: title, link, guid, date, text, author; each may be missing."""
    items = []
    for entry in entries:
        parts = [f"<{tag}>{escape(entry[key])}</{tag}>" for key, tag in _RSS_TAGS if key in entry]
        items.append("<item>" + "".join(parts) + "</item>")
    text = f'<?xml version="1.0" encoding="{encoding}"?><rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/"><channel><title>t</title>{"".join(items)}</channel></rss>'
    return text.encode(encoding)


_RSS_TAGS = (
    ("title", "title"),
    ("link", "link"),
    ("guid", "guid"),
    ("date", "pubDate"),
    ("text", "description"),
    ("author", "dc:creator"),
)


def article(title: str, text: str, *, date: str = "", container: str = "") -> str:
    """A news page with navigation around its main text."""
    paragraphs = "".join(f"<p>{line}</p>" for line in text.split("\n"))
    body = f'<div id="{container}">{paragraphs}</div>' if container else f"<article>{paragraphs}</article>"
    links = "".join(f'<li><a href="/other/{n}">别的新闻标题第{n}条</a></li>' for n in range(20))
    return f"<html><head><title>{title} - 泉城论坛</title></head><body><ul>{links}</ul><h1>{title}</h1><span>{date}</span>{body}<div>版权所有</div></body></html>"
