"""Signed links: acknowledgement, hand-over, calendar feed. Whoever writes a link and whoever reads it need the same, so it lies here.

A token of an acknowledgement says: this person was paged for this incident in this epoch at this rung. It proves who was
asked, it does not act: only a POST with it acknowledges, and the life cycle refuses an old epoch. The token of a hand-over
is of the same kind. The address of a calendar feed has no end of its own; its row in the database can be revoked.

Each purpose signs in its own name, so that a token of one is nothing to the others.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal


class BadToken(Exception):
    """The link is not ours, was changed, or is too old. `reason` is "forged" or "expired"."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class AckClaim:
    """What a link says."""

    incident_id: int
    epoch: int
    step: int
    person: str  # id in roster.yaml
    expires_at: datetime


@dataclass(frozen=True)
class HandoverClaim:
    """What the link of a hand-over says: whose receipt it is, of which change of shift."""

    role: str
    shift_end: datetime  # aware
    side: Literal["given", "taken"]
    person: str  # id in roster.yaml
    expires_at: datetime


@dataclass(frozen=True)
class FeedClaim:
    """What the address of a calendar feed says: nothing but its row."""

    feed_id: int
    made_at: datetime  # a database restored from a backup may give the same number again


def _encode(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _signature(key: bytes, purpose: str, body: bytes) -> str:
    # acknowledgements sign without a name, as they always did: links that are out keep working
    named = body if purpose == "ack" else purpose.encode() + b"\0" + body
    return _encode(hmac.digest(key, named, hashlib.sha256)[:16])


def _sign(key: bytes, purpose: str, values: list[Any]) -> str:
    """The token of some values: they and a 128-bit signature, URL-safe."""
    body = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
    return f"{_encode(body)}.{_signature(key, purpose, body)}"


def _verify(key: bytes, purpose: str, token: str) -> list[Any]:
    """The values of a genuine token; raises BadToken otherwise."""
    try:
        body_text, _, signature = token.partition(".")
        body = base64.urlsafe_b64decode(body_text + "=" * (-len(body_text) % 4))
    except ValueError as exc:
        raise BadToken("forged") from exc
    if _encode(body) != body_text:  # spare bits of the last digit: one claim has one spelling
        raise BadToken("forged")
    if not hmac.compare_digest(_signature(key, purpose, body).encode(), signature.encode()):
        raise BadToken("forged")
    values: list[Any] = json.loads(body)
    return values


def _fresh(expires: int, now: datetime) -> datetime:
    expires_at = datetime.fromtimestamp(expires, UTC)
    if now > expires_at:
        raise BadToken("expired")
    return expires_at


def sign_ack(key: bytes, claim: AckClaim) -> str:
    """The token of an acknowledgement link."""
    expires = int(claim.expires_at.timestamp())
    return _sign(key, "ack", [claim.incident_id, claim.epoch, claim.step, claim.person, expires])


def verify_ack(key: bytes, token: str, now: datetime) -> AckClaim:
    """The claim of a genuine, fresh token; raises BadToken otherwise."""
    incident_id, epoch, step, person, expires = _verify(key, "ack", token)
    return AckClaim(incident_id, epoch, step, person, _fresh(expires, now))


def sign_handover(key: bytes, claim: HandoverClaim) -> str:
    """The token of one side's link to a hand-over."""
    shift_end, expires = claim.shift_end.astimezone(UTC).isoformat(), int(claim.expires_at.timestamp())
    return _sign(key, "handover", [claim.role, shift_end, claim.side, claim.person, expires])


def verify_handover(key: bytes, token: str, now: datetime) -> HandoverClaim:
    """The claim of a genuine, fresh token; raises BadToken otherwise."""
    role, shift_end, side, person, expires = _verify(key, "handover", token)
    return HandoverClaim(role, datetime.fromisoformat(shift_end), side, person, _fresh(expires, now))


def sign_feed(key: bytes, claim: FeedClaim) -> str:
    """The token in the address of a calendar feed."""
    return _sign(key, "feed", [claim.feed_id, int(claim.made_at.timestamp())])


def verify_feed(key: bytes, token: str) -> FeedClaim:
    """The claim of a genuine token; raises BadToken otherwise. Whether it was revoked, its row says."""
    feed_id, made_at = _verify(key, "feed", token)
    return FeedClaim(feed_id, datetime.fromtimestamp(made_at, UTC))
