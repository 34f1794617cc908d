"""The channels of this installation, by name: each one that the settings describe, all with one face to the sender."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from alerts.channel import Channel, Letter, Limit, Resend
from alerts.dingtalk import DingtalkRobot
from alerts.email import Attachment, EmailChannel, Inline, Mail, Server, Signer
from alerts.feishu import FeishuApp, FeishuRobot
from alerts.folder import FolderChannel
from alerts.results import Refused, SendResult
from alerts.robots import Caller
from alerts.slack import SlackChannel, SlackPost
from alerts.webhook import Webhook
from alerts.wecom import WecomApp, WecomRobot
from config.bundle import Bundle
from config.settings import Settings


def build(bundle: Bundle) -> dict[str, Channel]:
    """Every channel that is set up; the local folder always is."""
    settings = bundle.settings
    timeout = settings.alerts.send_timeout_s
    table: dict[str, Channel] = {"folder": Folder(settings)}
    if settings.mail.host:
        table["email"] = Email(settings)
    if settings.slack.token.get_secret_value():
        table["slack"] = Slack(settings)
    wecom = settings.wecom
    if wecom.robots:
        table["wecom"] = WecomRobot(_plain(wecom.robots), wecom.base_url, Caller("企业微信", timeout))
    if wecom.corp_id and wecom.secret.get_secret_value():
        table["wecom_app"] = WecomApp(
            wecom.corp_id,
            wecom.secret.get_secret_value(),
            wecom.agent_id,
            wecom.base_url,
            Caller("企业微信", timeout),
        )
    dingtalk = settings.dingtalk
    if dingtalk.robots:
        table["dingtalk"] = DingtalkRobot(
            _plain(dingtalk.robots), _plain(dingtalk.secrets), dingtalk.base_url, Caller("钉钉", timeout)
        )
    feishu = settings.feishu
    if feishu.robots:
        table["feishu"] = FeishuRobot(
            _plain(feishu.robots), _plain(feishu.secrets), feishu.base_url, Caller("飞书", timeout)
        )
    if feishu.app_id and feishu.app_secret.get_secret_value():
        table["feishu_app"] = FeishuApp(
            feishu.app_id, feishu.app_secret.get_secret_value(), feishu.base_url, Caller("飞书", timeout)
        )
    if settings.webhook.targets:
        secret = settings.webhook.secret.get_secret_value()
        table["webhook"] = Webhook(settings.webhook.targets, secret, Caller("webhook", timeout))
    return table


def _plain(secrets: Mapping[str, SecretStr]) -> dict[str, str]:
    return {name: secret.get_secret_value() for name, secret in secrets.items()}


class Slack:
    """Slack as the sender sees it: readable, so that nothing is shown twice."""

    name = "slack"
    resend: Resend = "readable"
    #: about one message a second in each channel; short bursts are taken
    limits: tuple[Limit, ...] = (Limit(60, 60.0),)
    key_window: timedelta | None = None

    def __init__(self, settings: Settings) -> None:
        slack = settings.slack
        self._inner = SlackChannel(
            slack.token.get_secret_value(), slack.base_url, settings.alerts.send_timeout_s
        )

    def robot(self, recipient: str) -> str:
        """The limit is counted for each channel."""
        return f"slack:{recipient}"

    def send(self, letter: Letter) -> SendResult:
        """One try; an uncertain one looks into the history first."""
        message = letter.message
        if message.get("edit") and not letter.root:
            return Refused("no Slack message of this incident to rewrite")
        post = SlackPost(
            outbox_id=letter.outbox_id,
            channel=letter.recipient,
            text=str(message.get("text", "")),
            blocks=list(message.get("blocks") or []),
            first_tried_at=letter.created_at,
            root=letter.root,
            edit=bool(message.get("edit")),
            broadcast=bool(message.get("broadcast")),
        )
        return self._inner.send(post, uncertain=letter.uncertain)

    def check(self) -> SendResult:
        """Whether the token works."""
        return self._inner.check()

    def came_back(self, letter: Letter) -> SendResult:
        """Whether a message that was accepted can be read in its channel."""
        return self._inner.came_back(letter.outbox_id, letter.recipient, letter.created_at)


class _Mails:
    """What mail server and folder share: the outbox form made into a mail."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def robot(self, recipient: str) -> str:
        """Counted for each recipient: a flood in one mailbox is one too many."""
        return f"mail:{recipient}"

    def _mail(self, letter: Letter, *, dated: bool) -> Mail:
        message = letter.message
        base = self._settings.data_path / "outbox-files"
        return Mail(
            outbox_id=letter.outbox_id,
            recipient=letter.recipient,
            sender=self._settings.mail.sender,
            subject=str(message.get("subject") or message.get("text", ""))[:300],
            text=str(message.get("text", "")),
            html=str(message.get("html", "")),
            date=letter.now if dated else letter.created_at,
            inline=[Inline(item["cid"], _inside(base, item["path"])) for item in message.get("inline") or []],
            attachments=[
                Attachment(_inside(base, item["path"]), item.get("name") or Path(item["path"]).name)
                for item in message.get("attachments") or []
            ],
            thread=str(message.get("thread", "")),
            repeat=letter.attempt if letter.uncertain else 0,
            headers=message.get("headers") or {},
        )


def _inside(base: Path, path: str) -> Path:
    """Files of a mail lie in the folder outbox-files; an absolute path is taken as it is."""
    return Path(path) if Path(path).is_absolute() else base / path


class Email(_Mails):
    """A mail server: cannot be asked, so a repeat is marked and keeps its Message-ID."""

    name = "email"
    resend: Resend = "blind"
    limits: tuple[Limit, ...] = ()
    key_window: timedelta | None = None

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        mail = settings.mail
        secret = mail.password.get_secret_value()
        timeout = settings.alerts.send_timeout_s
        signer = (
            Signer.load(settings.config_dir / mail.dkim_key, mail.dkim_selector, mail.sender)
            if mail.dkim_key
            else None
        )
        self._inner = EmailChannel(
            Server(mail.host, mail.port, mail.security, mail.user, secret, timeout), signer
        )

    def send(self, letter: Letter) -> SendResult:
        """One try."""
        return self._inner.send(self._mail(letter, dated=True))

    def check(self) -> SendResult:
        """Whether the server lets us in."""
        return self._inner.check()


class Folder(_Mails):
    """The local folder: the same row is the same file, however often it is written."""

    name = "folder"
    resend: Resend = "keyed"
    limits: tuple[Limit, ...] = ()
    key_window: timedelta | None = None

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._inner = FolderChannel(settings.data_path / "outbox")

    def send(self, letter: Letter) -> SendResult:
        """Write the file."""
        return self._inner.send(self._mail(letter, dated=False))

    def check(self) -> SendResult:
        """Whether files can be written there."""
        return self._inner.check()
