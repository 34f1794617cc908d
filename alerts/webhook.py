"""A webhook of one's own: JSON with an id, signed with HMAC-SHA256; the receiver drops an id that it knows.

Headers: X-Quansheng-Id (the same for every try of one message), X-Quansheng-Attempt, X-Quansheng-Timestamp (Unix
seconds) and X-Quansheng-Signature: `sha256=` and the hex HMAC of "<timestamp>.<body>" under the shared secret.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import timedelta

import httpx

from alerts.channel import Letter, Limit, Resend
from alerts.results import Refused, SendResult, Sent
from alerts.robots import Caller, by_status, words

_TEXT_BYTES = 64_000
#: form of the JSON; a new number means that a field changed its meaning
FORM = 1


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """What the receiver must find in X-Quansheng-Signature."""
    return "sha256=" + hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


class Webhook:
    """Addresses by name; the recipient is such a name."""

    name = "webhook"
    resend: Resend = "blind"
    limits: tuple[Limit, ...] = (Limit(60, 60.0),)
    key_window: timedelta | None = None

    def __init__(self, targets: Mapping[str, str], secret: str, caller: Caller) -> None:
        self._targets, self._secret, self._caller = targets, secret, caller

    def robot(self, recipient: str) -> str:
        """Each address has its own limit."""
        return f"webhook:{recipient}"

    def send(self, letter: Letter) -> SendResult:
        """One try: any 2xx is success, 410 and other 4xx are for good."""
        url = self._targets.get(letter.recipient)
        if not url:
            return Refused(f"webhook.targets has no address {letter.recipient!r}")
        message = letter.message
        body = json.dumps(
            {
                "form": FORM,
                "id": letter.outbox_id,
                "attempt": letter.attempt,
                "repeat": letter.uncertain,
                "kind": letter.kind,
                "number": message.get("number", ""),
                "incident_id": letter.incident_id,
                "epoch": letter.epoch,
                "step": letter.step,
                "person": message.get("person", ""),
                "subject": message.get("subject", ""),
                "text": words(letter, _TEXT_BYTES),
                "link": message.get("link", ""),
                "sent_at": letter.now.isoformat(),
            },
            ensure_ascii=False,
        ).encode()
        stamp = int(letter.now.timestamp())
        headers = {
            "X-Quansheng-Id": letter.outbox_id,
            "X-Quansheng-Attempt": str(letter.attempt),
            "X-Quansheng-Timestamp": str(stamp),
        }
        if self._secret:
            headers["X-Quansheng-Signature"] = signature(self._secret, stamp, body)
        response = self._caller.request("POST", url, body, headers)
        if not isinstance(response, httpx.Response):
            return response
        if response.is_success:
            return Sent(letter.outbox_id)
        return by_status(f"webhook {letter.recipient}", response)

    def check(self) -> SendResult:
        """An address cannot be asked without sending: only whether it is one."""
        bad = [name for name, url in self._targets.items() if not url.startswith(("http://", "https://"))]
        return Refused(f"no web address: {', '.join(bad)}") if bad else Sent(", ".join(self._targets))
