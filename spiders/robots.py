"""robots.txt as RFC 9309 wants it; stands in for Scrapy's own middleware.

Scrapy 2.19 lets all but the first of several simultaneous first requests through, and takes an unreachable robots.txt
for "everything allowed". Here one fetch per origin is shared by an asyncio.Future among all crawls of the process:
5xx, 429 and network errors forbid everything for five minutes, 4xx allows everything, the rest is parsed
and believed for `ttl_s`. The gate knows nothing of Scrapy: `fetch` is handed in.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from protego import Protego

log = logging.getLogger(__name__)

#: bytes of a robots.txt that are read (RFC 9309 asks for at least 500 KiB)
MAX_BODY = 512 * 1024
#: seconds until an unreachable robots.txt is asked for again
RETRY_S = 300.0
#: seconds between two requests; a longer wait means the same, one request in each crawl
LONGEST_DELAY_S = 86_400.0


@dataclass(frozen=True)
class RobotsAnswer:
    """What came back for /robots.txt. `status` 0 means that nothing came back, `detail` says why."""

    status: int
    body: bytes = b""
    detail: str = ""


@dataclass(frozen=True)
class Verdict:
    """The rules of one origin. `unreachable` is a reason in words, and then everything is forbidden."""

    origin: str
    agent: str
    rules: Protego | None = None
    unreachable: str = ""
    expires: float = 0.0
    #: the answer that the rules come from: its status and the SHA-256 of its body
    status: int = 0
    digest: str = ""

    def describe(self) -> str:
        """Why our agent may fetch, in words for the evidence."""
        if self.rules is None:
            return (
                f"allowed: {self.origin}/robots.txt answered {self.status}, so there are no rules (RFC 9309)"
            )
        return f"allowed for {self.agent} by {self.origin}/robots.txt (sha256 {self.digest})"

    def allowed(self, url: str) -> bool:
        """Whether our agent may fetch `url`."""
        if self.unreachable:
            return False
        return self.rules is None or bool(self.rules.can_fetch(url, self.agent))

    @property
    def crawl_delay(self) -> float:
        """Seconds that the site asks for between two requests; 0 when it asks for none."""
        if self.rules is None:
            return 0.0
        delay = min(float(self.rules.crawl_delay(self.agent) or 0.0), LONGEST_DELAY_S)
        rate = self.rules.request_rate(self.agent)
        # the number of seconds may have four hundred digits
        return max(
            delay, min(rate.seconds, LONGEST_DELAY_S) / rate.requests if rate and rate.requests else 0.0
        )

    @property
    def sitemaps(self) -> tuple[str, ...]:
        """Addresses in its Sitemap lines."""
        return tuple(self.rules.sitemaps) if self.rules is not None else ()


Fetch = Callable[[str], Awaitable[RobotsAnswer]]


class RobotsGate:
    """The robots.txt of every origin this process talks to. Belongs to one event loop."""

    def __init__(
        self, agent: str, ttl_s: float = 86400.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.agent = agent_token(agent)
        self._ttl_s = ttl_s
        self._clock = clock
        self._verdicts: dict[str, Verdict] = {}
        self._fetching: dict[str, asyncio.Future[Verdict]] = {}
        #: fetches of robots.txt so far
        self.fetches = 0

    async def verdict(self, origin: str, fetch: Fetch) -> Verdict:
        """The rules of `origin` ("https://example.cn"), fetched by whoever asks first; all others wait for that fetch."""
        known = self._verdicts.get(origin)
        if known is not None and known.expires > self._clock():
            return known
        running = self._fetching.get(origin)
        if running is not None:
            return await asyncio.shield(running)
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._fetching[origin] = future
        # whatever happens, the waiters get an answer, and that answer is "forbidden" until we know better
        verdict = self._unreachable(origin, "the crawl ended before it was read")
        try:
            self.fetches += 1
            verdict = self._read(origin, await fetch(f"{origin}/robots.txt"))
        finally:
            self._verdicts[origin] = verdict
            del self._fetching[origin]
            future.set_result(verdict)
        return verdict

    def known(self, origin: str) -> Verdict | None:
        """What is known of an origin without asking it."""
        return self._verdicts.get(origin)

    def _read(self, origin: str, answer: RobotsAnswer) -> Verdict:
        if answer.status == 0:
            return self._unreachable(origin, answer.detail or "no answer")
        if answer.status == 429 or answer.status >= 500:
            return self._unreachable(origin, f"status {answer.status}")
        expires = self._clock() + self._ttl_s
        if (
            answer.status >= 300
        ):  # 4xx: there are no rules; a redirect that led nowhere counts the same (RFC 9309 2.3.1.2)
            return Verdict(origin, self.agent, expires=expires, status=answer.status)
        rules = Protego.parse(answer.body[:MAX_BODY].decode("utf-8-sig", "replace"))
        digest = hashlib.sha256(answer.body).hexdigest()
        return Verdict(origin, self.agent, rules, expires=expires, status=answer.status, digest=digest)

    def _unreachable(self, origin: str, why: str) -> Verdict:
        return Verdict(origin, self.agent, unreachable=why, expires=self._clock() + RETRY_S)


def agent_token(user_agent: str) -> str:
    """The product token that robots.txt rules name: "QuanshengBot" of "QuanshengBot/0.1 (+https://...)"."""
    return user_agent.split("/")[0].split("(")[0].strip() or "QuanshengBot"
