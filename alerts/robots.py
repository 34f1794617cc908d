"""Robots and bots of Chinese chat programs share this: one HTTP call with a sorted outcome, and texts cut to bytes.

HTTP 200 is no success there: a refusal stands in the body. A connection that never came about is `Retry`, one that
broke after the message had been given away is `Unknown`.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx

from alerts.channel import Letter
from alerts.results import Refused, Retry, SendResult, Unknown

#: a token is given up so long before its end
_TOKEN_MARGIN_S = 300.0


@dataclass(frozen=True)
class Answer:
    """A JSON object that a provider answered with HTTP 200."""

    body: dict[str, Any]

    def code(self, *names: str) -> int | None:
        """The first of these fields that holds a whole number."""
        for name in names:
            value = self.body.get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        return None

    def words(self, *names: str) -> str:
        """The first of these fields that holds a text."""
        return next((str(self.body[name]) for name in names if self.body.get(name)), "")[:300]


class Caller:
    """HTTP with a hard time limit, no redirects and no retries."""

    def __init__(self, who: str, timeout_s: float, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self._who = who
        self._timeout = timeout_s
        self._transport = transport

    def post(
        self, url: str, body: dict[str, Any] | bytes, headers: Mapping[str, str] | None = None
    ) -> Answer | SendResult:
        """POST a message. `Answer` when the provider said something in JSON under HTTP 200."""
        response = self.request("POST", url, body, headers)
        return response if not isinstance(response, httpx.Response) else self._read(response)

    def get(self, url: str) -> Answer | SendResult:
        """GET; for tokens and checks."""
        response = self.request("GET", url, None, None)
        return response if not isinstance(response, httpx.Response) else self._read(response)

    def request(
        self, method: str, url: str, body: dict[str, Any] | bytes | None, headers: Mapping[str, str] | None
    ) -> httpx.Response | Retry | Refused | Unknown:
        """One request; errors of the connection sorted into certain and uncertain ones."""
        content = json.dumps(body, ensure_ascii=False).encode() if isinstance(body, dict) else body
        given = {"Content-Type": "application/json; charset=utf-8", **(headers or {})}
        try:
            return asyncio.run(self._within(method, url, content, given))
        except TimeoutError:
            # connecting has a time limit of its own, so the message was under way
            return Unknown(f"{self._who} gave no answer within {self._timeout:g} s")
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Retry(
                f"{self._who} cannot be reached: {error or type(error).__name__}", whole_channel=True
            )
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            return Refused(f"the address of {self._who} is no web address: {error}")
        except httpx.HTTPError as error:
            return Unknown(f"{self._who} gave no answer: {error or type(error).__name__}")

    async def _within(
        self, method: str, url: str, content: bytes | None, headers: Mapping[str, str]
    ) -> httpx.Response:
        """The whole call within the time limit: an answer that comes byte by byte is none."""
        timeout = httpx.Timeout(self._timeout, connect=self._timeout / 2)
        async with httpx.AsyncClient(
            timeout=timeout, follow_redirects=False, transport=self._transport, trust_env=False
        ) as client:
            call = client.request(method, url, content=content, headers=headers)
            return await asyncio.wait_for(call, self._timeout)

    def _read(self, response: httpx.Response) -> Answer | SendResult:
        status = response.status_code
        if status != 200:
            return by_status(self._who, response)
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            return Unknown(f"{self._who} answered HTTP {status} with something that is no JSON; a proxy?")
        return Answer(body)


class AppToken:
    """The access token of an app: asked for when there is none, kept until shortly before its end, for all threads."""

    def __init__(self, ask: Callable[[], tuple[str, float] | SendResult]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._token = ""
        self._until: datetime | None = None

    def get(self, now: datetime) -> str | SendResult:
        """The token, or why there is none."""
        with self._lock:
            if self._token and self._until is not None and now < self._until:
                return self._token
            given = self._ask()
            if not isinstance(given, tuple):
                return given
            self._token, life = given
            self._until = now + timedelta(seconds=life - _TOKEN_MARGIN_S)
            return self._token

    def forget(self) -> None:
        """The provider does not take it any more."""
        self._token = ""


def no_token(answer: SendResult) -> SendResult:
    """Why an app got no token: asking for one gives nothing away, so nothing is uncertain."""
    reason = getattr(answer, "reason", "no token")
    return answer if isinstance(answer, Refused) else Retry(reason, whole_channel=True)


def by_status(who: str, response: httpx.Response) -> SendResult:
    """What a status other than success means."""
    status = response.status_code
    if status in (429, 503):
        return Retry(f"{who} asks to wait (HTTP {status})", seconds(response.headers), whole_channel=True)
    if status >= 500:
        # a gateway may have passed the call on before it failed
        return Unknown(f"{who} answered HTTP {status}", seconds(response.headers))
    if status == 408:
        return Unknown(f"{who} answered HTTP 408")
    if 300 <= status < 400:
        return Refused(f"{who} answered HTTP {status}: a message is never sent on to another address")
    return Refused(f"{who} answered HTTP {status}")


def seconds(headers: Mapping[str, str]) -> float | None:
    """Retry-After in seconds, None when it is absent or a date."""
    try:
        return max(0.0, float(headers["retry-after"]))
    except (KeyError, ValueError):
        return None


def words(letter: Letter, limit: int) -> str:
    """The text of a letter in at most `limit` bytes of UTF-8; a repeat says so in its first line.

    What makes the message useful at night stays: the first line, and the line with the link.
    """
    message = letter.message
    text = str(message.get("text") or message.get("subject") or "").strip()
    if letter.uncertain:
        number = str(message.get("number") or "")
        mark = "·".join(part for part in ("补发", number, f"第{letter.attempt}次") if part)
        text = f"【{mark}】{text}"
    return fit(text, limit, str(message.get("link") or ""))


def fit(text: str, limit: int, link: str = "") -> str:
    """`text` in at most `limit` bytes: lines are dropped from the end, but not the first one nor the one with `link`."""
    if len(text.encode()) <= limit:
        return text
    lines = text.split("\n")
    held = next((line for line in lines[1:] if link and link in line), "")
    end = f"\n…\n{held}" if held else "\n…"
    room = limit - len(end.encode())
    kept = ""
    for line in lines:
        if line == held:
            continue
        more = f"{kept}\n{line}" if kept else line
        if len(more.encode()) > room:
            kept = kept or cut(line, room)
            break
        kept = more
    return kept + end if room > 0 else cut(text, limit)


def cut(text: str, limit: int) -> str:
    """The beginning of `text` in at most `limit` bytes, never half a character."""
    return text.encode()[: max(0, limit)].decode("utf-8", "ignore")
