"""Mail: one message for each recipient, with a Message-ID that stays the same however often it is tried.

SMTP has no way to ask whether a message has arrived. When the connection breaks after DATA it is sent again
under the same Message-ID, which many servers fold into one, and marked 【补发】 for those that do not.
"""

from __future__ import annotations

import mimetypes
import smtplib
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, parseaddr
from pathlib import Path

import dkim

from alerts.results import Refused, Retry, SendResult, Sent, Unknown


@dataclass(frozen=True)
class Inline:
    """A picture inside the HTML part: <img src="cid:...">."""

    cid: str
    path: Path


@dataclass(frozen=True)
class Attachment:
    """A file beside the text."""

    path: Path
    name: str


@dataclass(frozen=True)
class Mail:
    """One mail to one person."""

    outbox_id: str
    recipient: str
    sender: str
    subject: str
    text: str
    date: datetime
    html: str = ""
    inline: Sequence[Inline] = ()
    attachments: Sequence[Attachment] = ()
    thread: str = ""  # mails with one thread name lie together in a mail program
    repeat: int = 0  # 2 for the second try of a mail that may have arrived
    headers: Mapping[str, str] = field(default_factory=dict)


def domain_of(sender: str) -> str:
    """The domain of an address, for Message-IDs."""
    return parseaddr(sender)[1].rpartition("@")[2] or "localhost"


def message_id(mail: Mail) -> str:
    """The same for every try of one outbox row."""
    return f"<{mail.outbox_id}@{domain_of(mail.sender)}>"


def compose(mail: Mail) -> EmailMessage:
    """The message with plain text, HTML and pictures. Raises ValueError for a header with a line break,
    OSError for a picture that cannot be read."""
    message = EmailMessage(policy=SMTP)
    mark = f"【补发·第{mail.repeat}次】" if mail.repeat > 1 else ""
    message["Subject"] = mark + mail.subject
    message["From"] = mail.sender
    message["To"] = mail.recipient
    message["Date"] = format_datetime(mail.date)
    message["Message-ID"] = message_id(mail)
    message["Auto-Submitted"] = "auto-generated"
    message["X-Auto-Response-Suppress"] = "All"
    if mail.thread:
        root = f"<{mail.thread}@{domain_of(mail.sender)}>"
        message["In-Reply-To"] = root
        message["References"] = root
    for name, value in mail.headers.items():
        if name not in message:
            message[name] = value
    message.set_content(mail.text, cte="base64" if not mail.text.isascii() else None)
    if mail.html:
        message.add_alternative(mail.html, subtype="html", cte="base64")
        page = message.get_payload()[-1]  # type: ignore[index]
        for picture in mail.inline:
            kind = (mimetypes.guess_type(picture.path.name)[0] or "image/png").partition("/")
            page.add_related(  # type: ignore[union-attr]
                picture.path.read_bytes(),
                kind[0],
                kind[2],
                cid=f"<{picture.cid}>",
                filename=picture.path.name,
                disposition="inline",
            )
    for attachment in mail.attachments:
        kind = (mimetypes.guess_type(attachment.name)[0] or "application/octet-stream").partition("/")
        message.add_attachment(attachment.path.read_bytes(), kind[0], kind[2], filename=attachment.name)
    return message


@dataclass(frozen=True)
class Signer:
    """DKIM (RFC 6376): the sender's domain vouches for the mail."""

    key: bytes
    selector: str
    domain: str

    @classmethod
    def load(cls, path: Path, selector: str, sender: str) -> Signer:
        """Read the key. Raises OSError when the file cannot be read."""
        return cls(path.read_bytes(), selector, domain_of(sender))

    def sign(self, content: bytes) -> bytes:
        """The mail with its signature before it. Raises ValueError when the key is none."""
        try:
            header = dkim.sign(
                content,
                self.selector.encode(),
                self.domain.encode(),
                self.key,
                canonicalize=(b"relaxed", b"relaxed"),
                include_headers=[b"from", b"to", b"subject", b"date", b"message-id", b"references"],
            )
        except dkim.DKIMException as error:
            raise ValueError(f"DKIM: {error}; check mail.dkim_key") from error
        return bytes(header) + content


@dataclass(frozen=True)
class Server:
    """Where and how to hand mail over."""

    host: str
    port: int
    security: str  # none | starttls | tls
    user: str
    password: str
    timeout_s: float


class EmailChannel:
    """An SMTP server."""

    name = "email"

    def __init__(self, server: Server, signer: Signer | None = None) -> None:
        self._server = server
        self._signer = signer

    def check(self) -> SendResult:
        """Whether the server answers and lets us in; sends nothing."""
        try:
            smtp = self._connect()
            smtp.close()
        except (smtplib.SMTPException, OSError) as error:
            return _before_data(error)
        return Sent(self._server.host)

    def send(self, mail: Mail) -> SendResult:
        """Hand one mail over. After DATA a broken connection is Unknown: the server may have it."""
        try:
            content = compose(mail).as_bytes()
            if self._signer is not None:
                content = self._signer.sign(content)
        except (ValueError, MessageError) as error:
            return Refused(f"the mail cannot be written: {error}")
        except OSError as error:
            return Refused(f"a picture or file of the mail is missing: {error}")
        try:
            smtp = self._connect()
        except (smtplib.SMTPException, OSError) as error:
            return _before_data(error)
        try:
            return self._hand_over(smtp, mail, content)
        finally:
            # the mail's fate is known by now: a server that fails at good-bye changes nothing
            with suppress(smtplib.SMTPException, OSError):
                smtp.quit()
            smtp.close()

    def _hand_over(self, smtp: smtplib.SMTP, mail: Mail, content: bytes) -> SendResult:
        try:
            for step, address in ((smtp.mail, mail.sender), (smtp.rcpt, mail.recipient)):
                code, answer = step(parseaddr(address)[1])
                if code not in (250, 251):
                    return _coded(code, answer)
        except (smtplib.SMTPException, OSError, UnicodeError) as error:
            return _before_data(error)
        try:
            code, answer = smtp.data(content)
        except smtplib.SMTPDataError as error:
            return _coded(error.smtp_code, error.smtp_error)
        except (smtplib.SMTPException, OSError) as error:
            return Unknown(f"{self._server.host} broke off after the mail was handed over: {error}")
        if code == 250:
            return Sent(message_id(mail))
        if not 400 <= code < 600:  # smtplib gives -1 for what is no answer
            return Unknown(f"{self._server.host} answered the mail with {code} {_plain(answer)}")
        return _coded(code, answer)

    def _connect(self) -> smtplib.SMTP:
        server = self._server
        smtp: smtplib.SMTP
        if server.security == "tls":
            smtp = smtplib.SMTP_SSL(
                server.host, server.port, timeout=server.timeout_s, context=ssl.create_default_context()
            )
        else:
            smtp = smtplib.SMTP(server.host, server.port, timeout=server.timeout_s)
        try:
            smtp.ehlo_or_helo_if_needed()
            if server.security == "starttls":
                smtp.starttls(context=ssl.create_default_context())
                smtp.ehlo()
            if server.user:
                smtp.login(server.user, server.password)
        except (smtplib.SMTPException, OSError):
            smtp.close()
            raise
        return smtp


def _before_data(error: Exception) -> SendResult:
    """An error before the mail's text was given away: certainly not delivered."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return Refused(
            f"the mail server refuses the login ({error.smtp_code}); check mail.user and mail.password"
        )
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Refused(f"the mail server cannot do what mail.security asks for: {error}")
    if isinstance(error, smtplib.SMTPResponseException) and error.smtp_code >= 500:
        return Refused(f"mail server: {error.smtp_code} {_plain(error.smtp_error)}")
    if isinstance(error, UnicodeError):
        return Refused(f"the address has letters that the mail server cannot take: {error}")
    return Retry(f"mail server: {error or type(error).__name__}", whole_channel=True)


def _coded(code: int, answer: bytes | str) -> SendResult:
    """4xx passes, 5xx stays (RFC 5321, 4.2.1)."""
    text = f"mail server: {code} {_plain(answer)}"
    return Refused(text) if code >= 500 else Retry(text)


def _plain(answer: bytes | str) -> str:
    return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
