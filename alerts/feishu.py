"""飞书 Feishu: group robots with a signed body, and messages of an app, which a uuid keeps from being shown twice for an hour."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import timedelta

from alerts.channel import Letter, Limit, Resend
from alerts.results import Refused, Retry, SendResult, Sent
from alerts.robots import Answer, AppToken, Caller, no_token, words

#: a request may have 20 KB; the text leaves room for what stands around it
TEXT_BYTES = 18_000
_TOO_FAST = (9499, 11232, 230020, 99991400)
_BUSY = (11233, 1500, 2200)
_TOKEN_OVER = (99991661, 99991663, 99991664, 99991668)


def signature(secret: str, seconds: int) -> str:
    """The signature of one instant: base64(HMAC-SHA256(key="<s>\\n<secret>", nothing))."""
    key = f"{seconds}\n{secret}".encode()
    return base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode()


def harmless(text: str) -> str:
    """Without tags: a post must not be able to call everybody with <at user_id="all">."""
    return text.replace("<", "＜").replace(">", "＞")


def sort(answer: Answer, ref: str) -> SendResult:
    """What the code in the body means."""
    code = answer.code("code", "StatusCode")
    said = f"飞书 {code}: {answer.words('msg', 'StatusMessage')}"
    if code == 0:
        return Sent(ref)
    if code is None:
        return Refused(f"飞书 answered without code: {str(answer.body)[:200]}")
    if code in _TOO_FAST:
        return Retry(said, 60.0, whole_channel=True)
    if code in _BUSY:
        return Retry(said, 15.0)
    return Refused(said)


class FeishuRobot:
    """Group robots; the recipient is a robot's name in the settings."""

    name = "feishu"
    resend: Resend = "blind"
    limits: tuple[Limit, ...] = (Limit(5, 1.0), Limit(100, 60.0))
    key_window: timedelta | None = None

    def __init__(
        self, hooks: Mapping[str, str], secrets: Mapping[str, str], base_url: str, caller: Caller
    ) -> None:
        self._hooks, self._secrets = hooks, secrets
        self._base, self._caller = base_url.rstrip("/"), caller

    def robot(self, recipient: str) -> str:
        """Each robot has its own limits."""
        return f"feishu:{recipient}"

    def send(self, letter: Letter) -> SendResult:
        """One try."""
        hook = self._hooks.get(letter.recipient)
        if not hook:
            return Refused(f"feishu.robots has no robot {letter.recipient!r} with a token")
        text = harmless(words(letter, TEXT_BYTES))
        if mention := str(letter.message.get("mention") or ""):
            text += f'\n<at user_id="{mention}"></at>'
        body: dict[str, object] = {"msg_type": "text", "content": {"text": text}}
        if secret := self._secrets.get(letter.recipient, ""):
            stamp = int(letter.now.timestamp())
            body |= {"timestamp": str(stamp), "sign": signature(secret, stamp)}
        answer = self._caller.post(f"{self._base}/open-apis/bot/v2/hook/{hook}", body)
        return sort(answer, letter.outbox_id) if isinstance(answer, Answer) else answer

    def check(self) -> SendResult:
        """A robot cannot be asked without sending: only whether there is a token."""
        empty = [name for name, hook in self._hooks.items() if not hook]
        return (
            Refused(f"robots without a token: {', '.join(empty)}") if empty else Sent(", ".join(self._hooks))
        )


class FeishuApp:
    """Messages of an app to single persons; the recipient is their open id."""

    name = "feishu_app"
    #: the uuid of a message is remembered for an hour
    resend: Resend = "keyed"
    limits: tuple[Limit, ...] = (Limit(5, 1.0),)
    key_window: timedelta | None = timedelta(hours=1)

    def __init__(self, app_id: str, secret: str, base_url: str, caller: Caller) -> None:
        self._app, self._secret = app_id, secret
        self._base, self._caller = base_url.rstrip("/"), caller
        self._token = AppToken(self._ask)

    def robot(self, recipient: str) -> str:
        """The limit is counted for each person."""
        return f"feishu_app:{recipient}"

    def send(self, letter: Letter) -> SendResult:
        """One try; an expired token is renewed once."""
        answer = self._post(letter)
        if isinstance(answer, Answer) and answer.code("code") in _TOKEN_OVER:
            self._token.forget()
            answer = self._post(letter)
        if not isinstance(answer, Answer):
            return answer
        data = answer.body.get("data")
        ref = (
            str(data.get("message_id"))
            if isinstance(data, dict) and data.get("message_id")
            else letter.outbox_id
        )
        return sort(answer, ref)

    def _post(self, letter: Letter) -> Answer | SendResult:
        token = self._token.get(letter.now)
        if not isinstance(token, str):
            return token
        body = {
            "receive_id": letter.recipient,
            "msg_type": "text",
            "content": json.dumps({"text": harmless(words(letter, TEXT_BYTES))}, ensure_ascii=False),
            "uuid": letter.outbox_id,
        }
        return self._caller.post(
            f"{self._base}/open-apis/im/v1/messages?receive_id_type=open_id",
            body,
            {"Authorization": f"Bearer {token}"},
        )

    def _ask(self) -> tuple[str, float] | SendResult:
        """A new token and its life in seconds."""
        answer = self._caller.post(
            f"{self._base}/open-apis/auth/v3/tenant_access_token/internal",
            {"app_id": self._app, "app_secret": self._secret},
        )
        if not isinstance(answer, Answer):
            return no_token(answer)
        token = answer.body.get("tenant_access_token")
        if answer.code("code") != 0 or not isinstance(token, str):
            return Refused(
                f"飞书 gives no token: {answer.words('msg')}; check feishu.app_id and feishu.app_secret"
            )
        return token, float(answer.code("expire") or 7200)

    def check(self) -> SendResult:
        """Whether the app gets a token."""
        given = self._ask()
        return Sent(self._app) if isinstance(given, tuple) else given
