"""From an answer that Scrapy hands over to what is kept of it: bytes, headers, and how it was allowed and read."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from scrapy.http import Response

from incidents.warc import Exchange

#: request.meta key: the decision of robots.txt in words (set by spiders.middlewares.RobotsMiddleware)
ROBOTS = "quansheng_robots"


def exchange_of(response: Response, source_id: str, at: datetime, mask: Callable[[str], str]) -> Exchange:
    """The answer with the request that brought it; `mask` takes the operator's keys out of an address."""
    request = response.request
    meta: Mapping[str, Any] = request.meta if request is not None else {}
    moved = meta.get("redirect_urls") or []
    return Exchange(
        source_id=source_id,
        url=mask(response.url),
        at=at,
        status=response.status,
        body=response.body,
        headers=_pairs(response.headers),
        method=request.method if request is not None else "GET",
        request_headers=_pairs(request.headers) if request is not None else (),
        request_body=mask(request.body.decode("latin-1")).encode("latin-1") if request is not None else b"",
        about={
            "robots": str(meta.get(ROBOTS, "")),
            "redirected-from": mask(str(moved[0])) if moved else "",
            "collector": f"quansheng {product_version()}",
            "body": "after removal of the transfer's compression",
        },
    )


def row_digest(key: bytes, values: Mapping[str, Any]) -> str:
    """The digest of an imported row, all its columns. Keyed: a plain hash would let anybody who sees the redacted text
    try telephone numbers until it fits."""
    plain = json.dumps(values, ensure_ascii=False, sort_keys=True, default=str, separators=(",", ":"))
    return "hmac-sha256:" + hmac.digest(key, b"row" + plain.encode("utf-8", "replace"), sha256).hex()


@cache
def product_version() -> str:
    """The version that this program was installed as."""
    try:
        return version("quansheng")
    except PackageNotFoundError:
        return "unknown"


def _pairs(headers: Any) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, values in headers.items()
        for value in values
    )
