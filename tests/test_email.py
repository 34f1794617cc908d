"""Mail: one recipient, one answer; never lost, and a second copy says that it is one."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path

import pytest

from alerts.email import Attachment, EmailChannel, Inline, Mail, Server, compose
from alerts.folder import FolderChannel
from alerts.results import Refused, Retry, Sent, Unknown
from tests.fakes.mail import FakeMailServer

MAIL = Mail(
    outbox_id="0f9a1c1e-0000-5000-8000-000000000001",
    recipient="duty@jinan.example",
    sender="泉声 <quansheng@jinan.example>",
    subject="【重大】历下区 某小学食堂多人呕吐，最迟今天 20:10 前发布信息",
    text="历下区 某小学食堂多人呕吐\n",
    html="<p>历下区 某小学食堂多人呕吐</p>",
    date=datetime(2026, 11, 24, 7, 10, tzinfo=UTC),
    thread="QS-2026-000017",
)


@pytest.fixture
def server() -> Iterator[FakeMailServer]:
    with FakeMailServer() as running:
        yield running


def channel_of(server: FakeMailServer) -> EmailChannel:
    return EmailChannel(Server("127.0.0.1", server.port, "none", "", "", 5))


def png(path: Path) -> Path:
    """A picture of one pixel."""
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in (
            (b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)),
            (b"IDAT", zlib.compress(b"\0\0")),
            (b"IEND", b""),
        )
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def test_a_mail_arrives_with_a_stable_id_and_in_its_thread(server: FakeMailServer) -> None:
    result = channel_of(server).send(MAIL)
    assert result == Sent(f"<{MAIL.outbox_id}@jinan.example>")
    received = server.received[0]
    assert received["Message-ID"] == f"<{MAIL.outbox_id}@jinan.example>"
    assert received["References"] == "<QS-2026-000017@jinan.example>"
    assert received["Auto-Submitted"] == "auto-generated"
    assert received["Subject"] == MAIL.subject
    body = received.get_body(("plain",))
    assert body is not None
    assert body.get_content().strip() == MAIL.text.strip()
    assert server.recipients == ["duty@jinan.example"]


def test_no_line_is_longer_than_smtp_allows(server: FakeMailServer) -> None:
    raw = compose(replace(MAIL, subject="长" * 300, text="字" * 4000)).as_bytes()
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998


def test_charts_lie_inside_the_html_and_files_beside_it(server: FakeMailServer, tmp_path: Path) -> None:
    picture = png(tmp_path / "trend.png")
    mail = replace(
        MAIL,
        html='<img src="cid:trend" alt="走势">',
        inline=[Inline("trend", picture)],
        attachments=[Attachment(picture, "周报.png")],
    )
    assert isinstance(channel_of(server).send(mail), Sent)
    parts = [(p.get_content_type(), p["Content-ID"]) for p in server.received[0].walk()]
    assert ("image/png", "<trend>") in parts
    assert [a.get_filename() for a in server.received[0].iter_attachments()] == ["周报.png"]


def test_a_refused_recipient_is_a_refusal_with_the_servers_words(server: FakeMailServer) -> None:
    server.refuse.add("gone@jinan.example")
    result = channel_of(server).send(replace(MAIL, recipient="gone@jinan.example"))
    assert result == Refused("mail server: 550 5.1.1 no such user here")
    assert server.received == []


@pytest.mark.parametrize(
    ("answer", "kind"), [("451 4.3.0 try later", Retry), ("554 5.7.1 looks like spam", Refused)]
)
def test_an_answer_after_the_text_is_certain(server: FakeMailServer, answer: str, kind: type) -> None:
    server.answer = answer
    assert isinstance(channel_of(server).send(MAIL), kind)


def test_a_connection_that_breaks_after_the_text_is_unknown(server: FakeMailServer) -> None:
    server.drop_after_accept = 1
    channel = channel_of(server)
    assert isinstance(channel.send(MAIL), Unknown)
    assert isinstance(channel.send(replace(MAIL, repeat=2)), Sent)
    ids = {mail["Message-ID"] for mail in server.received}
    assert len(server.received) == 2
    assert len(ids) == 1
    assert server.received[1]["Subject"].startswith("【补发·第2次】")


def test_a_server_that_is_not_there_means_try_again() -> None:
    with FakeMailServer() as gone:
        port = gone.port
    result = EmailChannel(Server("127.0.0.1", port, "none", "", "", 5)).send(MAIL)
    assert isinstance(result, Retry)
    assert result.whole_channel


def test_a_server_without_the_asked_protection_is_refused(server: FakeMailServer) -> None:
    channel = EmailChannel(Server("127.0.0.1", server.port, "starttls", "", "", 5))
    assert isinstance(channel.send(MAIL), Refused)
    assert isinstance(channel.check(), Refused)
    assert isinstance(channel_of(server).check(), Sent)


@pytest.mark.parametrize(
    "change",
    [
        {"subject": "a\nBcc: everybody@example.org"},
        {"inline": [Inline("x", Path("/nowhere/x.png"))]},
    ],
)
def test_a_mail_that_cannot_be_written_is_refused_and_stops_nothing(
    server: FakeMailServer, change: dict[str, object]
) -> None:
    result = channel_of(server).send(replace(MAIL, **change))  # type: ignore[arg-type]
    assert isinstance(result, Refused)
    assert server.received == []


def test_without_a_server_mails_lie_in_the_folder_once_each(tmp_path: Path) -> None:
    folder = FolderChannel(tmp_path / "outbox")
    first, second = folder.send(MAIL), folder.send(replace(MAIL, repeat=2))
    assert first == second == Sent(f"folder:20261124T071000-{MAIL.outbox_id}.eml")
    files = list((tmp_path / "outbox").iterdir())
    assert len(files) == 1
    assert message_from_bytes(files[0].read_bytes(), policy=policy.default)["Subject"].endswith(MAIL.subject)


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("a file stands in the way")
    folder = FolderChannel(tmp_path / "outbox")
    assert isinstance(folder.send(MAIL), Retry)
    assert isinstance(folder.check(), Refused)
