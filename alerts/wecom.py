"""企业微信 WeCom: group robots (no key, no reading back) and messages of an app (the same content is shown once in 4 hours)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from urllib.parse import urlencode

from alerts.channel import Letter, Limit, Resend
from alerts.results import Refused, Retry, SendResult, Sent
from alerts.robots import Answer, AppToken, Caller, no_token, words

#: bytes of a text message; a longer one is refused
TEXT_BYTES = 2048
#: answers that pass by themselves, with the seconds to wait: frequency limits and "system busy"
_PASSING = {45009: 60.0, 45033: 60.0, 45047: 60.0, -1: 15.0}
_TOKEN_OVER = (40001, 40014, 42001)


class WecomRobot:
    """Group robots; the recipient is a robot's name in the settings."""

    name = "wecom"
    resend: Resend = "blind"
    limits: tuple[Limit, ...] = (Limit(20, 60.0),)
    key_window: timedelta | None = None

    def __init__(self, keys: Mapping[str, str], base_url: str, caller: Caller) -> None:
        self._keys, self._base, self._caller = keys, base_url.rstrip("/"), caller

    def robot(self, recipient: str) -> str:
        """Each robot has its own 20 a minute."""
        return f"wecom:{recipient}"

    def send(self, letter: Letter) -> SendResult:
        """One try."""
        key = self._keys.get(letter.recipient)
        if not key:
            return Refused(f"wecom.robots has no robot {letter.recipient!r} with a key")
        text: dict[str, object] = {"content": words(letter, TEXT_BYTES)}
        if mention := str(letter.message.get("mention") or ""):
            text["mentioned_list"] = [mention]
        url = f"{self._base}/cgi-bin/webhook/send?{urlencode({'key': key})}"
        answer = self._caller.post(url, {"msgtype": "text", "text": text})
        if not isinstance(answer, Answer):
            return answer
        return sort(answer, letter.outbox_id)

    def check(self) -> SendResult:
        """A robot cannot be asked without sending: only whether there is a key."""
        empty = [name for name, key in self._keys.items() if not key]
        if empty:
            return Refused(f"robots without a key: {', '.join(empty)}")
        return Sent(", ".join(self._keys))


def sort(answer: Answer, ref: str) -> SendResult:
    """What the code in the body means."""
    code = answer.code("errcode")
    if code == 0:
        return Sent(answer.words("msgid") or ref)
    said = f"企业微信 {code}: {answer.words('errmsg')}"
    if code is None:
        return Refused(f"企业微信 answered without errcode: {str(answer.body)[:200]}")
    if code in _PASSING:
        return Retry(said, _PASSING[code], whole_channel=True)
    return Refused(said)


class WecomApp:
    """Messages of an app to single persons; the recipient is their WeCom user id."""

    name = "wecom_app"
    #: enable_duplicate_check: the same content to the same person is shown once within the interval
    resend: Resend = "keyed"
    limits: tuple[Limit, ...] = (Limit(30, 60.0),)
    key_window: timedelta | None = timedelta(hours=4)

    def __init__(self, corp_id: str, secret: str, agent_id: int, base_url: str, caller: Caller) -> None:
        self._corp, self._secret, self._agent = corp_id, secret, agent_id
        self._base, self._caller = base_url.rstrip("/"), caller
        self._token = AppToken(self._ask)

    def robot(self, recipient: str) -> str:
        """The limit is counted for each person."""
        return f"wecom_app:{recipient}"

    def send(self, letter: Letter) -> SendResult:
        """One try; an expired token is renewed once."""
        answer = self._post(letter)
        if isinstance(answer, Answer) and answer.code("errcode") in _TOKEN_OVER:
            self._token.forget()
            answer = self._post(letter)
        if not isinstance(answer, Answer):
            return answer
        if answer.code("errcode") == 0 and answer.body.get("invaliduser"):
            return Refused(f"企业微信 knows no user {answer.body['invaliduser']}")
        if answer.code("errcode") in _TOKEN_OVER:
            return Refused(f"企业微信 {answer.words('errmsg')}: check wecom.corp_id and wecom.secret")
        return sort(answer, letter.outbox_id)

    def _post(self, letter: Letter) -> Answer | SendResult:
        token = self._token.get(letter.now)
        if not isinstance(token, str):
            return token
        body = {
            "touser": letter.recipient,
            "msgtype": "text",
            "agentid": self._agent,
            # no mark of a repeat: the content is the key
            "text": {"content": words(letter, TEXT_BYTES)},
            "enable_duplicate_check": 1,
            "duplicate_check_interval": 14_400,
        }
        return self._caller.post(
            f"{self._base}/cgi-bin/message/send?{urlencode({'access_token': token})}", body
        )

    def _ask(self) -> tuple[str, float] | SendResult:
        """A new token and its life in seconds."""
        query = urlencode({"corpid": self._corp, "corpsecret": self._secret})
        answer = self._caller.get(f"{self._base}/cgi-bin/gettoken?{query}")
        if not isinstance(answer, Answer):
            return no_token(answer)
        token = answer.body.get("access_token")
        if answer.code("errcode") != 0 or not isinstance(token, str):
            return Refused(
                f"企业微信 gives no token: {answer.words('errmsg')}; check wecom.corp_id and wecom.secret"
            )
        return token, float(answer.code("expires_in") or 7200)

    def check(self) -> SendResult:
        """Whether the app gets a token."""
        given = self._ask()
        return Sent(f"agent {self._agent}") if isinstance(given, tuple) else given
