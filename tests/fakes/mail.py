"""A real SMTP server on loopback (aiosmtpd) that can refuse, break off and remember."""

from __future__ import annotations

import socket
from email import message_from_bytes, policy
from email.message import EmailMessage
from types import TracebackType
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session


class FakeMailServer:
    """Use as a context manager; `received` are the mails it has accepted, one entry per try."""

    def __init__(self) -> None:
        self.received: list[EmailMessage] = []
        self.recipients: list[str] = []
        self.refuse: set[str] = set()  # recipients answered with 550
        self.answer = ""  # said after DATA instead of 250, the mail is not taken then
        self.drop_after_accept = 0  # how many times the connection breaks after the mail was taken
        with socket.socket() as probe:  # the controller cannot tell which free port it got
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._controller: Any = Controller(self, hostname="127.0.0.1", port=self.port)

    def __enter__(self) -> FakeMailServer:
        self._controller.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._controller.stop()

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        """Refuses one recipient, not the others."""
        if address in self.refuse:
            return "550 5.1.1 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Takes the mail, or answers as told."""
        if self.answer:
            return self.answer
        content = envelope.content or b""
        raw = content.encode() if isinstance(content, str) else content
        self.received.append(message_from_bytes(raw, policy=policy.default))
        self.recipients += envelope.rcpt_tos
        if self.drop_after_accept:
            self.drop_after_accept -= 1
            transport: Any = server.transport
            transport.abort()
        return "250 OK"
