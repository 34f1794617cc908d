"""Headers of every answer, and the check that a POST comes from our own pages.

Cross-site requests are told by Sec-Fetch-Site or Origin (every browser since 2020 sends one of them with a
POST); the token in the form is the second, independent check.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CSP = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # a link with a token must not travel to another site; "no-referrer" would blank the Origin of our own forms
    "Referrer-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
#: a weekly report is one HTML file with inline styles, as mail clients need it: shown without any script
REPORT_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
#: no form of ours is longer (bytes)
MAX_BODY = 256 * 1024
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def cross_site(headers: Headers) -> bool:
    """Whether a request was started by another site's page."""
    fetch_site = headers.get("sec-fetch-site")
    if fetch_site is not None and fetch_site not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    if origin is None:
        return False
    # behind a proxy that ends TLS the scheme differs, so only host and port are compared
    try:
        return urlsplit(origin).netloc != headers.get("host", "")
    except ValueError:  # no address of any page
        return True


class Guard:
    """ASGI middleware: refuses cross-site writes, adds the headers to every answer."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self.app = app
        self.https = https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        static = scope["path"].startswith("/static/")

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                document = headers.get("X-Quansheng-Document")
                if document is not None:
                    del headers["X-Quansheng-Document"]
                if document == "report":
                    headers["Content-Security-Policy"] = REPORT_CSP
                if self.https:
                    headers["Strict-Transport-Security"] = "max-age=31536000"
                if static and message["status"] == 200:
                    # addresses carry a hash of the content
                    headers["Cache-Control"] = "public, max-age=31536000, immutable"
                elif document == "feed":
                    # kept by the program that asked, and asked about each time: "not modified" needs a kept copy
                    headers["Cache-Control"] = "private, no-cache"
                else:
                    headers["Cache-Control"] = "no-store"
            await send(message)

        length = Headers(scope=scope).get("content-length", "")
        state = scope.setdefault("state", {})
        state["too_long"] = scope["method"] not in SAFE and (not length.isdigit() or int(length) > MAX_BODY)
        state["cross_site"] = scope["method"] not in SAFE and cross_site(Headers(scope=scope))
        await self.app(scope, receive, with_headers)


def form_token(key: bytes, purpose: str) -> str:
    """A token for forms of people who are not logged in, bound to a cookie or to a link."""
    return hmac.digest(key, f"form/{purpose}".encode(), sha256).hex()


def same(given: str, wanted: str) -> bool:
    """Compare two secrets without telling by time where they differ."""
    return hmac.compare_digest(given.encode(), wanted.encode())
