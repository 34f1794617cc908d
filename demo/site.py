"""The invented city's web server on loopback. Its clock is set from outside; a post is served from its time on."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Sequence
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, urlsplit

from demo import city
from demo.city import CityPost

ROBOTS = "User-agent: *\nDisallow: /clock\nAllow: /\n"


class CitySite:
    """The running server. `clock(now)` moves its time; leaving the `with` block stops it.

    POST /clock with an ISO time does the same, so that the city can outlive the process that walks through its day.
    """

    def __init__(self, posts: Sequence[CityPost], now: datetime, port: int = 0) -> None:
        self.posts = posts
        self.now = now
        self.requests = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="city", daemon=True)
        self._thread.start()

    @property
    def base(self) -> str:
        """Address without a closing slash."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def clock(self, now: datetime) -> None:
        """Let it be `now` in the city."""
        self.now = now

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)

    def __enter__(self) -> CitySite:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def answer(self, path: str, query: dict[str, list[str]]) -> tuple[str, str] | None:
        """Content type and body of one address, None if there is nothing."""
        posts, now, base = self.posts, self.now, self.base
        match path:
            case "/":
                return "text/html", city.front(now)
            case "/robots.txt":
                return "text/plain", ROBOTS
            case "/forum/feed.xml":
                return "application/rss+xml", city.feed(posts, base, now)
            case "/board/posts.json":
                page = query.get("page", ["1"])[0]
                return "application/json", city.board(posts, base, now, int(page) if page.isdigit() else 1)
            case "/news/":
                return "text/html", city.column(posts, now)
            case "/sitemap.xml":
                return "application/xml", city.sitemap(posts, base, now)
        found = re.fullmatch(r"/(forum|board|news|community)/(\d{1,6})\.html", path)
        page_text = city.article(posts, int(found[2]), now) if found else None
        return ("text/html", page_text) if page_text is not None else None


def _handler(site: CitySite) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            site.requests += 1
            parts = urlsplit(self.path)
            found = site.answer(parts.path, parse_qs(parts.query))
            if found is None:
                self._send(404, "text/plain", "没有这一页\n")
                return
            kind, body = found
            self._send(200, kind, body, etag=hashlib.sha256(body.encode()).hexdigest()[:16])

        def do_POST(self) -> None:
            size = int(self.headers.get("content-length") or 0)
            text = self.rfile.read(size).decode("utf-8", "replace")
            try:
                if self.path != "/clock":
                    raise ValueError(self.path)
                site.clock(datetime.fromisoformat(text))
            except ValueError:
                self._send(400, "text/plain", "POST /clock with an ISO 8601 time\n")
                return
            self._send(200, "text/plain", "ok\n")

        def _send(self, status: int, kind: str, body: str, etag: str = "") -> None:
            tag = f'"{etag}"'
            if etag and self.headers.get("if-none-match") == tag:
                status, body = 304, ""
            raw = body.encode()
            self.send_response(status)
            self.send_header("content-type", f"{kind}; charset=utf-8")
            self.send_header("content-length", str(len(raw)))
            if etag:
                self.send_header("etag", tag)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:
            """Silent: the product's own log tells what it fetched."""

    return Handler
