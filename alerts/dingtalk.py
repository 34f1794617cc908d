"""钉钉 DingTalk group robots: signed addresses, 20 messages a minute, and ten minutes of silence for who sends more."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from urllib.parse import urlencode

from alerts.channel import Letter, Limit, Resend
from alerts.results import Refused, Retry, SendResult, Sent
from alerts.robots import Answer, Caller, words

TEXT_BYTES = 16_000
#: after more than 20 messages in a minute a robot is deaf for about ten minutes
_BLOCKED_S = 600.0


def signature(secret: str, milliseconds: int) -> str:
    """The signature of one instant: base64(HMAC-SHA256(secret, "<ms>\\n<secret>"))."""
    text = f"{milliseconds}\n{secret}".encode()
    return base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest()).decode()


class DingtalkRobot:
    """Group robots; the recipient is a robot's name in the settings."""

    name = "dingtalk"
    resend: Resend = "blind"
    limits: tuple[Limit, ...] = (Limit(20, 60.0),)
    key_window: timedelta | None = None

    def __init__(
        self, tokens: Mapping[str, str], secrets: Mapping[str, str], base_url: str, caller: Caller
    ) -> None:
        self._tokens, self._secrets = tokens, secrets
        self._base, self._caller = base_url.rstrip("/"), caller

    def robot(self, recipient: str) -> str:
        """Each robot has its own 20 a minute."""
        return f"dingtalk:{recipient}"

    def _url(self, name: str, token: str, now: datetime) -> str:
        query = {"access_token": token}
        if secret := self._secrets.get(name, ""):
            stamp = int(now.timestamp() * 1000)
            query |= {"timestamp": str(stamp), "sign": signature(secret, stamp)}
        return f"{self._base}/robot/send?{urlencode(query)}"  # encoded once, as DingTalk asks

    def send(self, letter: Letter) -> SendResult:
        """One try."""
        token = self._tokens.get(letter.recipient)
        if not token:
            return Refused(f"dingtalk.robots has no robot {letter.recipient!r} with a token")
        mention = str(letter.message.get("mention") or "")
        body = {
            "msgtype": "text",
            "text": {"content": words(letter, TEXT_BYTES)},
            "at": {"atUserIds": [mention] if mention else [], "isAtAll": False},
        }
        answer = self._caller.post(self._url(letter.recipient, token, letter.now), body)
        if not isinstance(answer, Answer):
            return answer
        code = answer.code("errcode")
        said = f"钉钉 {code}: {answer.words('errmsg')}"
        if code == 0:
            return Sent(letter.outbox_id)
        if code == 130101:
            return Retry(said, _BLOCKED_S, whole_channel=True)
        if code == -1:
            return Retry(said, 15.0)
        if code == 310000:
            return Refused(f"{said} (keyword, signature or address list of the robot)")
        return Refused(
            said if code is not None else f"钉钉 answered without errcode: {str(answer.body)[:200]}"
        )

    def check(self) -> SendResult:
        """A robot cannot be asked without sending: only whether there is a token."""
        empty = [name for name, token in self._tokens.items() if not token]
        return (
            Refused(f"robots without a token: {', '.join(empty)}") if empty else Sent(", ".join(self._tokens))
        )
