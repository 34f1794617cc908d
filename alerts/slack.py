"""Slack: one root message for each incident, everything later in its thread, never one message twice.

Slack promises nothing about repeats, so every message carries its outbox id as metadata, and after a broken
connection the history is read before anything is sent again. The library's own retries are off: they would
re-send a message whose answer got lost.
"""

from __future__ import annotations

import http.client
import logging
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.error import URLError

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError

from alerts.results import Refused, Retry, SendResult, Sent, Unknown

#: names our metadata among that of other apps
EVENT_TYPE = "quansheng_message"
#: answers of Slack that pass by themselves
_TEMPORARY = frozenset(
    {
        "internal_error",
        "fatal_error",
        "service_unavailable",
        "request_timeout",
        "team_added_to_org",
        "accesslimited",
    }
)
_HISTORY_PAGES = 5
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SlackPost:
    """One message to Slack. `root` is the ref of the incident's first message; with `edit` it is rewritten."""

    outbox_id: str
    channel: str
    text: str  # what notifications and screen readers show
    blocks: list[dict[str, Any]]
    first_tried_at: datetime
    root: str = ""  # "C123:1700000000.000100"
    edit: bool = False
    broadcast: bool = False  # show a reply in the channel too: it is a page, not a remark


def split_ref(ref: str) -> tuple[str, str]:
    """Channel and timestamp of a ref ("C123:1700000000.000100")."""
    channel, _, timestamp = ref.partition(":")
    return channel, timestamp


class SlackChannel:
    """The Web API of one workspace."""

    name = "slack"

    def __init__(self, token: str, base_url: str, timeout_s: float) -> None:
        self._client = WebClient(
            token=token,
            base_url=base_url if base_url.endswith("/") else f"{base_url}/",
            timeout=max(1, round(timeout_s)),
            retry_handlers=[],
            logger=_log,
        )

    def check(self) -> SendResult:
        """Whether the token works; sends nothing."""
        return self._guarded(lambda: Sent(str(self._client.auth_test()["user"])))

    def send(self, post: SlackPost, *, uncertain: bool) -> SendResult:
        """Send or edit one message. `uncertain`: an earlier try may have arrived, look first."""
        if post.edit:
            return self._guarded(lambda: self._edit(post))
        if uncertain:
            found = self._guarded(lambda: self._find(post))
            if isinstance(found, Sent):
                if found.ref:
                    return found
            elif isinstance(found, Retry):
                # not looked up yet: the doubt stays
                return Unknown(f"could not look for the earlier try: {found.reason}", found.after_s)
            else:
                return found
        return self._guarded(lambda: self._post(post))

    def came_back(self, outbox_id: str, channel: str, first_tried_at: datetime) -> SendResult:
        """Read an accepted message back; Unknown when it is not there."""
        post = SlackPost(outbox_id, channel, "", [], first_tried_at)
        found = self._guarded(lambda: self._find(post))
        if isinstance(found, Sent) and not found.ref:
            return Unknown("Slack accepted the message and does not show it")
        return found

    def _post(self, post: SlackPost) -> SendResult:
        _, thread = split_ref(post.root)
        answer = self._client.chat_postMessage(
            channel=post.channel,
            text=post.text,
            blocks=post.blocks,
            thread_ts=thread or None,
            reply_broadcast=(post.broadcast and bool(thread)) or None,
            unfurl_links=False,
            unfurl_media=False,
            metadata={"event_type": EVENT_TYPE, "event_payload": {"outbox_id": post.outbox_id}},
            client_msg_id=post.outbox_id,
        )
        return Sent(f"{answer['channel']}:{answer['ts']}")

    def _edit(self, post: SlackPost) -> SendResult:
        channel, timestamp = split_ref(post.root)
        self._client.chat_update(channel=channel, ts=timestamp, text=post.text, blocks=post.blocks)
        return Sent(post.root)

    def _find(self, post: SlackPost) -> SendResult:
        """Sent with the ref of an earlier try, or Sent("") when there is none."""
        for message in self._history(post):
            metadata = message.get("metadata") or {}
            if (metadata.get("event_payload") or {}).get("outbox_id") == post.outbox_id:
                return Sent(f"{post.channel}:{message['ts']}")
        return Sent("")

    def _history(self, post: SlackPost) -> Iterator[dict[str, Any]]:
        _, thread = split_ref(post.root)
        # an hour of slack for clocks that differ; Slack's own time decides there
        oldest = f"{(post.first_tried_at - timedelta(hours=1)).timestamp():.6f}"
        cursor = ""
        for _ in range(_HISTORY_PAGES):
            if thread:
                page = self._client.conversations_replies(
                    channel=post.channel,
                    ts=thread,
                    include_all_metadata=True,
                    limit=200,
                    cursor=cursor or None,
                )
            else:
                page = self._client.conversations_history(
                    channel=post.channel,
                    include_all_metadata=True,
                    oldest=oldest,
                    limit=200,
                    cursor=cursor or None,
                )
            yield from page.get("messages") or []
            cursor = (page.get("response_metadata") or {}).get("next_cursor") or ""
            if not cursor:
                return

    def _guarded(self, call: Any) -> SendResult:
        """The result of a call, its errors sorted into certain and uncertain ones."""
        try:
            result: SendResult = call()
        except SlackApiError as error:
            return _sorted(error)
        except URLError as error:
            # the connection never came about: nothing was sent
            if isinstance(error.reason, ConnectionRefusedError | socket.gaierror):
                return Retry(f"Slack cannot be reached: {error.reason}", whole_channel=True)
            return Unknown(f"connection to Slack broke: {error.reason}")
        except (http.client.HTTPException, OSError) as error:
            return Unknown(f"no answer from Slack: {error or type(error).__name__}")
        return result


def _sorted(error: SlackApiError) -> SendResult:
    """What an answer of Slack means for the message."""
    response = error.response
    status = response.status_code
    name = str(response.get("error") or "")
    if status == 429 or name in ("ratelimited", "rate_limited"):
        return Retry("Slack asks to wait", _seconds(response.headers), whole_channel=True)
    if status >= 500:
        # a gateway may have passed the call on before it failed
        return Unknown(f"Slack answered HTTP {status}", _seconds(response.headers))
    if name == "duplicate_client_msg_id":
        return Unknown("Slack knows this message already")
    if name in _TEMPORARY:
        return Retry(f"Slack: {name}")
    if name.startswith("Received a response in a non-JSON format"):
        return Unknown(f"Slack's address answered something that is no JSON (HTTP {status}); a proxy?")
    details = "; ".join((response.get("response_metadata") or {}).get("messages") or [])
    return Refused(f"Slack: {name or f'HTTP {status}'}{f' ({details})' if details else ''}")


def _seconds(headers: Any) -> float | None:
    value = next((value for key, value in dict(headers).items() if key.lower() == "retry-after"), None)
    if isinstance(value, list):
        value = value[0]
    try:
        return max(0.0, float(value)) if value is not None else None
    except ValueError:
        return None
