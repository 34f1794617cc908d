"""POST /api/intake/<source>: rows that another system signs and sends. No login and no form: the signature is the right to write.

Answers are JSON. Garbage is answered 4xx; 503 means that nothing could be stored and the same rows may be sent again.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterable
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from threading import Lock

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from config.sources import PushSource
from console.context import Console, console_of
from incidents.trouble import DatabaseTrouble
from spiders.intake import push
from spiders.intake.reading import SourceUnusable, Surroundings
from spiders.stopping import load_stops

log = logging.getLogger("quansheng.intake")
router = APIRouter(include_in_schema=False)
_MINUTE = timedelta(minutes=1)
#: unsigned requests of one address in a minute; more are not looked at
_STRANGERS = 30
#: addresses that are remembered for it
_ADDRESSES = 10_000


class Gate:
    """How many requests came in the last minute, and what was refused. Lives in memory: each console counts its own."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._times: dict[str, deque[datetime]] = {}
        self._refused: dict[str, tuple[int, datetime | None]] = {}

    def full(self, name: str, limit: int, now: datetime) -> bool:
        """Whether `limit` was reached in the last minute."""
        with self._lock:
            return len(self._recent(name, now)) >= limit

    def count(self, name: str, now: datetime) -> None:
        """One more."""
        with self._lock:
            if len(self._times) > _ADDRESSES:
                self._times.clear()
            self._recent(name, now).append(now)

    def _recent(self, name: str, now: datetime) -> deque[datetime]:
        times = self._times.setdefault(name, deque())
        while times and not timedelta(0) <= now - times[0] < _MINUTE:
            times.popleft()
        return times

    def refused(self, source_id: str, now: datetime) -> int:
        """Count a refusal; returns how many are to be written down now, at most once a minute: strangers must not make us write."""
        with self._lock:
            number, written = self._refused.get(source_id, (0, None))
            if written is not None and timedelta(0) <= now - written < _MINUTE:
                self._refused[source_id] = (number + 1, written)
                return 0
            self._refused[source_id] = (0, now)
            return number + 1


@router.post("/api/intake/{source_id}")
async def take(source_id: str, request: Request) -> Response:
    """One request: all its rows, or a sentence why not."""
    console, gate = console_of(request), gate_of(request)
    now = console.now()
    source = console.bundle.source(source_id)
    if not isinstance(source, PushSource) or not source.enabled:
        return JSONResponse({"detail": "no such endpoint"}, 404)
    address = request.client.host if request.client is not None else ""
    try:
        if not allowed(address, source.allow_from):
            raise push.Refusal(403, f"the address {address} may not send here", unsigned=True)
        if gate.full(f"stranger/{address}", _STRANGERS, now):
            return _wait("too many requests without a right signature")
        body = await _body(request, int(source.max_body_mb * 1e6))
        answer = await run_in_threadpool(_taken, console, gate, source, request, body, now)
    except push.Refusal as refusal:
        await run_in_threadpool(_refused, console, gate, source, refusal, address, now)
        return JSONResponse({"detail": refusal.sentence, **refusal.more}, refusal.status)
    except SourceUnusable as exc:
        log.error("push: source %s cannot take anything: %s", source.id, exc.sentence)
        return _wait("this endpoint is not set up; its operator has to look at it", 503)
    except DatabaseTrouble:
        log.error("push: source %s: the database takes nothing at present", source.id)
        return _wait("nothing can be stored at present; send the same rows again later", 503)
    except ClientDisconnect:
        return JSONResponse({"detail": "the connection ended before the body did"}, 400)
    if answer is None:
        return _wait(f"more than {source.per_minute} requests a minute")
    return JSONResponse(answer.as_dict(), 202)


def gate_of(request: Request) -> Gate:
    """The counters of this console."""
    gate: Gate = request.app.state.intake_gate
    return gate


def allowed(address: str, networks: Iterable[str]) -> bool:
    """Whether requests are taken from there; no network named: from anywhere."""
    named = [ip_network(text) for text in networks]
    if not named:
        return True
    try:
        given = ip_address(address)
    except ValueError:
        return False
    mapped = getattr(given, "ipv4_mapped", None)  # an IPv4 client on a socket for both
    return any(one in network for network in named for one in (given, mapped) if one is not None)


async def _body(request: Request, limit: int) -> bytes:
    too_long = push.Refusal(413, f"longer than {limit / 1e6:g} MB; send fewer rows at once", unsigned=True)
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit:
        raise too_long
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise too_long
        parts.append(part)
    return b"".join(parts)


def _taken(
    console: Console, gate: Gate, source: PushSource, request: Request, body: bytes, now: datetime
) -> push.Answer | None:
    """What became of the rows; None when too many requests came."""
    around = Surroundings(
        console.db,
        console.keys.pseudonym,
        console.bundle.settings.config_dir,
        os.environ,
        lambda: now,
    )
    timestamp = request.headers.get("x-quansheng-timestamp", "")
    push.verify(around, source, timestamp, request.headers.get("x-quansheng-signature", ""), body, now)
    if (stop := load_stops(console.db).of_source(source.id)) is not None:
        # a halt is lifted one day, an objection is for good
        raise push.Refusal(503 if stop.kind == "halt" else 403, stop.sentence)
    if gate.full(f"source/{source.id}", source.per_minute, now):
        return None
    gate.count(f"source/{source.id}", now)
    answer = push.take(around, source, timestamp, request.headers.get("content-type", ""), body, now)
    log.info(
        "push: %s: %d rows, %d new, %d known, %d set aside",
        source.id,
        answer.received,
        answer.taken,
        answer.known,
        answer.aside,
    )
    return answer


def _refused(
    console: Console, gate: Gate, source: PushSource, refusal: push.Refusal, address: str, now: datetime
) -> None:
    if refusal.unsigned:
        gate.count(f"stranger/{address}", now)
    if refusal.status == 409:  # a request that came twice is no trouble of the source
        return
    number = gate.refused(source.id, now)
    log.warning("push: %s: refused with %d", source.id, refusal.status)
    if not number:
        return
    try:
        with console.db.transaction() as session:
            push.note_refusal(session, source.id, refusal.sentence, number, now)
    except DatabaseTrouble:
        log.error("push: %s: the refusal could not be noted", source.id)


def _wait(sentence: str, status: int = 429) -> Response:
    return JSONResponse({"detail": sentence}, status, {"Retry-After": "60"})
