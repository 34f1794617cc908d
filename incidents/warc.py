"""One answer of a server as WARC records (ISO 28500): response, request, and what was known about both.

A file is a few gzip members, one for each record, so files put one after the other are again a WARC that every tool reads.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from http.client import responses
from io import BytesIO
from urllib.parse import urlsplit

from warcio.archiveiterator import ArchiveIterator
from warcio.exceptions import ArchiveLoadFailed
from warcio.recordbuilder import RecordBuilder
from warcio.recordloader import ArcWarcRecord
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

VERSION = "WARC/1.1"
#: stands for a value that must not be kept: a key of the operator, a cookie
REMOVED = "[removed]"
#: headers of ours that hold no secret; every other one is kept by name only
_OWN = frozenset(
    {
        "user-agent",
        "accept",
        "accept-language",
        "accept-encoding",
        "content-type",
        "if-none-match",
        "if-modified-since",
        "x-requested-with",
        "referer",
        "cache-control",
    }
)
#: headers that speak of the transfer, which ended with it: the body is kept as it was after unpacking
_TRANSFER = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection", "keep-alive"})
Pairs = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Exchange:
    """One request with its answer. `body` is what came, unpacked from the transfer's compression, byte for byte."""

    source_id: str
    url: str
    at: datetime
    status: int
    body: bytes = field(repr=False)
    headers: Pairs = ()
    method: str = "GET"
    request_headers: Pairs = ()
    request_body: bytes = field(default=b"", repr=False)
    #: the answer of robots.txt in words, address of a redirect, extractor and version ...
    about: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of `body`, hexadecimal."""
        return hashlib.sha256(self.body).hexdigest()


@dataclass(frozen=True)
class Original:
    """What a WARC of one answer says, read back."""

    url: str
    at: str
    status: int
    body: bytes = field(repr=False)
    #: SHA-256 that the record names for its payload
    named_digest: str
    about: dict[str, str]

    @property
    def whole(self) -> bool:
        """Whether the body has the digest that its record names."""
        return hashlib.sha256(self.body).hexdigest() == self.named_digest


def build(exchange: Exchange) -> bytes:
    """The records of one exchange, compressed."""
    maker = RecordBuilder(warc_version=VERSION)
    when = exchange.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    dated = {"WARC-Date": when}
    answer = maker.create_warc_record(
        exchange.url,
        "response",
        payload=BytesIO(exchange.body),
        length=len(exchange.body),
        warc_headers_dict={**dated, "WARC-Payload-Digest": f"sha256:{exchange.digest}"},
        http_headers=StatusAndHeaders(
            f"{exchange.status} {responses.get(exchange.status, '')}".rstrip(),
            _response_headers(exchange),
            protocol="HTTP/1.1",
        ),
    )
    identity = str(answer.rec_headers.get_header("WARC-Record-ID"))
    together = {**dated, "WARC-Concurrent-To": identity}
    asked = maker.create_warc_record(
        exchange.url,
        "request",
        payload=BytesIO(exchange.request_body),
        length=len(exchange.request_body),
        warc_headers_dict={**together, "WARC-Payload-Digest": _digest(exchange.request_body)},
        http_headers=StatusAndHeaders(
            f"{exchange.method} {_path(exchange.url)} HTTP/1.1",
            _request_headers(exchange),
            is_http_request=True,
        ),
    )
    said = "".join(
        f"{name}: {' '.join(str(value).split())}\r\n"
        for name, value in {"source": exchange.source_id, **exchange.about}.items()
        if value
    ).encode()
    about = maker.create_warc_record(
        exchange.url,
        "metadata",
        payload=BytesIO(said),
        length=len(said),
        warc_content_type="application/warc-fields",
        warc_headers_dict={**together, "WARC-Payload-Digest": _digest(said)},
    )
    return b"".join(_member(record) for record in (answer, asked, about))


def info(filename: str, fields: Mapping[str, str]) -> bytes:
    """The record that stands at the head of a WARC file and says what it is."""
    record = RecordBuilder(warc_version=VERSION).create_warcinfo_record(filename, dict(fields))
    return _member(record)


def read(content: bytes) -> Original:
    """What `build` wrote. Raises ValueError when it is no such WARC."""
    found: dict[str, tuple[ArcWarcRecord, bytes]] = {}
    try:
        for record in ArchiveIterator(BytesIO(content)):
            found[record.rec_type] = record, record.content_stream().read()
    except (ArchiveLoadFailed, zlib.error, EOFError, OSError) as exc:
        raise ValueError(f"no WARC: {exc}") from exc
    if "response" not in found:
        raise ValueError("a WARC without a response")
    answer, body = found["response"]
    headers = answer.rec_headers
    return Original(
        url=str(headers.get_header("WARC-Target-URI")),
        at=str(headers.get_header("WARC-Date")),
        status=int(answer.http_headers.get_statuscode()),
        body=body,
        named_digest=str(headers.get_header("WARC-Payload-Digest")).removeprefix("sha256:"),
        about=dict(_fields(found["metadata"][1])) if "metadata" in found else {},
    )


def _fields(content: bytes) -> Iterator[tuple[str, str]]:
    for line in content.decode("utf-8", "replace").splitlines():
        name, colon, value = line.partition(": ")
        if colon:
            yield name, value


def _member(record: ArcWarcRecord) -> bytes:
    plain = BytesIO()
    WARCWriter(plain, gzip=False, warc_version=VERSION).write_record(record)
    packer = zlib.compressobj(6, zlib.DEFLATED, zlib.MAX_WBITS + 16)
    return packer.compress(plain.getvalue()) + packer.flush()


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _path(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _response_headers(exchange: Exchange) -> list[tuple[str, str]]:
    kept = []
    for name, value in exchange.headers:
        low = name.lower()
        if low in ("set-cookie", "set-cookie2"):
            kept.append((name, REMOVED))
        else:
            kept.append((f"X-Archive-Orig-{name}" if low in _TRANSFER else _name(name), _line(value)))
    return [*kept, ("Content-Length", str(len(exchange.body)))]


def _name(name: str) -> str:
    """A header's name as WARC can hold it; servers do send letters beyond ASCII."""
    return name.encode("ascii", "backslashreplace").decode()


def _request_headers(exchange: Exchange) -> list[tuple[str, str]]:
    kept = [("Host", urlsplit(exchange.url).netloc)]
    for name, value in exchange.request_headers:
        if name.lower() != "host":
            kept.append((name, _line(value) if name.lower() in _OWN else REMOVED))
    return kept


def _line(value: str) -> str:
    return " ".join(value.split())
