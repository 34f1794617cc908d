"""What a channel can say about one send. HTTP 200 alone is no success; silence is not failure but `Unknown`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Sent:
    """The provider has accepted the message; `ref` finds it again there."""

    ref: str


@dataclass(frozen=True)
class Retry:
    """Certainly not delivered; try again. `after_s` seconds is the provider's wish (Retry-After), if it has one."""

    reason: str
    after_s: float | None = None
    #: True when the whole channel should rest, not this message alone
    whole_channel: bool = False


@dataclass(frozen=True)
class Refused:
    """Certainly not delivered and never will be by this channel: unknown address, revoked token."""

    reason: str


@dataclass(frozen=True)
class Unknown:
    """The connection broke after the message may have been accepted. Look before sending again."""

    reason: str
    after_s: float | None = None


SendResult = Sent | Retry | Refused | Unknown
