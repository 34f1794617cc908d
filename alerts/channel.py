"""What every channel promises to the sender: how it may be repeated, how many messages a minute, and what it says.

A channel never retries by itself, never opens a transaction and never reads the clock: it makes one try and returns
`Sent`, `Retry`, `Refused` or `Unknown`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from alerts.results import SendResult

#: what may be done after an unknown result. keyed (A): send again with the same key inside `key_window`; readable (B):
#: look whether it is there, then send; blind (C): send again, marked as a repeat
Resend = Literal["keyed", "readable", "blind"]


@dataclass(frozen=True)
class Limit:
    """At most `messages` in any window of `seconds`, counted for each robot."""

    messages: int
    seconds: float


@dataclass(frozen=True)
class Letter:
    """One try to deliver one outbox row."""

    outbox_id: str
    kind: str  # page | update | remind | heartbeat | canary ...
    recipient: str
    message: dict[str, Any]
    attempt: int  # 1 for the first try
    created_at: datetime
    now: datetime
    #: an earlier try may have arrived
    uncertain: bool = False
    #: reference of the incident's first message in this place, "" when this one is to be the first
    root: str = ""
    incident_id: int | None = None
    epoch: int = 0
    step: int = 0
    extra: dict[str, Any] = field(default_factory=dict)


class Channel(Protocol):
    """One way to reach people."""

    name: str
    resend: Resend
    limits: tuple[Limit, ...]
    #: how long the provider remembers a key (keyed channels only)
    key_window: timedelta | None

    def robot(self, recipient: str) -> str:
        """The counter of `limits` that a message to `recipient` uses up."""

    def send(self, letter: Letter) -> SendResult:
        """One try; every network call has a hard timeout."""

    def check(self) -> SendResult:
        """Whether the channel would let us in; nothing is sent to people."""
