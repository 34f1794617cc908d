"""Fifteen faults on six channels: what each send says, what a person sees in the end, and how soon another channel takes over.

`python -m tests.faults` prints the table of docs/reliability.md and ends with 1 when a cell is not as it must be.
"""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from config.bundle import Bundle
from demo.fake_slack import FakeSlack
from demo.fakes.proxy import Fault, FaultProxy
from demo.fakes.robots import KEY, SECRET, FakeRobots
from incidents.migrate import upgrade
from incidents.models import OutboxAttempt
from incidents.posts import NewPost
from incidents.session import Database
from tests.alert_office import T0, Office, bundle_for
from tests.conftest import AUDIT_KEY
from tests.fakes.mail import FakeMailServer

CHANNELS = ("slack", "email", "wecom", "dingtalk", "feishu", "webhook")
#: fault -> what happens, in words
FAULTS = {
    "down": "nothing listens",
    "reset": "connection reset before a word",
    "reset_in_request": "reset within the request",
    "lost_answer": "taken, the answer is lost",
    "half_close": "taken, closed without an answer",
    "hold": "taken, the answer comes too late",
    "drip": "taken, the answer comes byte by byte",
    "cut_answer": "taken, half an answer",
    "garbage": "taken, the answer is garbage",
    "server_error": "HTTP 500; SMTP 451",
    "unavailable": "HTTP 503; SMTP 421 at the greeting",
    "too_fast": "too many messages; SMTP 450",
    "refuse": "refused for good; SMTP 550",
    "proxy_page": "a proxy's page; SMTP 554 after DATA",
    "empty": "an empty answer; SMTP without a greeting",
}
_NETWORK: dict[str, Fault] = {
    "reset": "reset_on_connect",
    "reset_in_request": "reset_in_request",
    "lost_answer": "reset_after_request",
    "half_close": "half_close",
    "hold": "hold",
    "drip": "drip",
    "cut_answer": "cut_answer",
    "garbage": "garbage",
}
#: the service has the message although we cannot know
TAKEN = ("lost_answer", "half_close", "hold", "drip", "cut_answer", "garbage")
ROSTER = """
version: v3
fallback: lin
people:
  - {id: lin, name: 林东, email: lin@jinan.example, wecom_user: lin, feishu_user: lin}
weekly:
  - {name: 全天, from: "00:00", until: "24:00", primary: lin, secondary: lin, leader: lin}
"""
ROUTES = """
routes:
  - name: 其他
    channels: [%s]
    ladder: [primary]
"""


#: time limit of a send, generous enough for a busy machine; what comes too late comes well after it
LIMIT_S, TOO_LATE_S = 5.0, 8.0


@dataclass(frozen=True)
class Cell:
    """What one fault did on one channel."""

    first: str  # result of the first try: sent, retry, refused, unknown
    seen: int  # messages that a person sees in this channel in the end
    marked: int  # of these, marked as a repeat
    elsewhere_s: float | None  # seconds until the other channel had the page, None when it was not used

    def __str__(self) -> str:
        marked = f", {self.marked} marked" if self.marked else ""
        other = f"; other channel after {self.elsewhere_s:.0f} s" if self.elsewhere_s is not None else ""
        return f"{self.first}, {self.seen} seen{marked}{other}"


def allowed(fault: str, channel: str) -> tuple[Cell, ...]:
    """The outcomes that are right. Where two stand, a library may notice the break at either of two moments."""
    if fault == "refuse" or (fault == "proxy_page" and channel == "email"):
        return (Cell("refused", 0, 0, 0.0),)
    if fault == "too_fast" and channel in ("wecom", "feishu"):
        return (
            Cell("retry", 1, 0, 0.0),
        )  # a minute is too long for a page: the other channel has it at once
    if fault == "too_fast" and channel == "dingtalk":
        return (Cell("retry", 0, 0, 0.0),)  # deaf for ten minutes
    if fault == "down" or fault in ("unavailable", "too_fast"):
        certain = Cell("retry", 1, 0, None)
        # Slack's 503 may be a gateway's that had passed the message on
        return (Cell("unknown", 1, 0, None),) if (fault, channel) == ("unavailable", "slack") else (certain,)
    if channel == "slack":  # looked up before anything is sent again
        calm = Cell("sent", 1, 0, None)
        return (calm,) if fault == "drip" else (Cell("unknown", 1, 0, None),)
    if channel == "email":
        if fault in TAKEN:
            return {
                "drip": (Cell("sent", 1, 0, None),),
                "cut_answer": (Cell("unknown", 2, 1, None), Cell("sent", 1, 0, None)),
            }.get(fault, (Cell("unknown", 2, 1, None),))
        return (Cell("retry", 1, 0, None),)  # nothing was given away before DATA
    if channel == "webhook" and fault in ("proxy_page", "empty"):
        return (Cell("sent", 0, 0, None),)  # 2xx is all that a webhook promises
    if fault == "reset":  # noticed while connecting, or just after
        return Cell("retry", 1, 0, None), Cell("unknown", 1, 1, None)
    return (Cell("unknown", 2, 1, None),) if fault in TAKEN else (Cell("unknown", 1, 1, None),)


@dataclass
class Scene:
    """All services, one broken line, one office whose only page goes over it."""

    channel: str
    fault: str
    slack: FakeSlack
    mail: FakeMailServer
    robots: FakeRobots
    now: datetime = T0
    cleanups: list[Callable[[], object]] = field(default_factory=list)

    def break_line(self, proxy: FaultProxy) -> None:
        """Set the fault up."""
        if self.fault in _NETWORK:
            proxy.fault = _NETWORK[self.fault]
            proxy.delay_s = (
                0.02 if self.fault == "drip" and self.channel in ("slack", "email") else TOO_LATE_S
            )
            if self.channel == "email" and self.fault not in ("reset",):
                proxy.after = b"mail FROM" if self.fault == "reset_in_request" else b"\r\n.\r\n"
        elif self.channel == "slack":
            if self.fault == "refuse":
                self.slack.channels.clear()
                self.cleanups.append(lambda: self.slack.channels.add("C0QUANSHENG"))
            else:
                self.slack.moods.append(
                    {
                        "server_error": "server_error",
                        "unavailable": "server_error",
                        "too_fast": "rate_limited",
                        "proxy_page": "not_json",
                        "empty": "drop_before",
                    }[self.fault]  # type: ignore[arg-type]
                )
        elif self.channel == "email":
            if self.fault == "refuse":
                self.mail.refuse.add("lin@jinan.example")
                self.cleanups.append(self.mail.refuse.clear)
            elif self.fault in ("unavailable", "empty"):
                proxy.fault = "half_close"
            else:
                self.mail.answer = {
                    "server_error": "451 4.3.0 try later",
                    "too_fast": "450 4.2.0 greylisted",
                    "proxy_page": "554 5.7.1 not wanted",
                }[self.fault]
        else:
            mood = {"proxy_page": "not_json"}.get(self.fault, self.fault)
            self.robots.moods.append(mood)  # type: ignore[arg-type]

    def mend_line(self, proxy: FaultProxy) -> None:
        """All is well again, but for what was refused for good."""
        proxy.fault, proxy.after = "pass", b""
        self.mail.answer = ""

    def seen(self) -> tuple[int, int]:
        """Messages in the tested channel and how many of them are marked."""
        if self.channel == "slack":
            return len(self.slack.messages), 0
        if self.channel == "email":
            subjects = [str(mail["Subject"]) for mail in self.mail.received]
            return len(subjects), sum("补发" in subject for subject in subjects)
        texts = [item.text for item in self.robots.taken if item.service == self.channel]
        return len(texts), sum("补发" in text for text in texts)

    def elsewhere(self) -> int:
        """Messages in the other channel."""
        if self.channel == "email":
            return sum(item.service == "wecom" for item in self.robots.taken)
        return len(self.mail.received)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _bundle(folder: Path, scene: Scene, port: int) -> Bundle:
    """The tested channel goes through the proxy; one other channel is healthy."""
    values: dict[str, Any] = {}
    broken = f"http://127.0.0.1:{port}"
    straight = scene.robots.base_url
    mail_port = port if scene.channel == "email" else scene.mail.port
    slack = f"{broken}/api/" if scene.channel == "slack" else ""
    if scene.channel in ("wecom", "email"):
        values["wecom"] = {
            "robots": {"duty": KEY},
            "base_url": straight if scene.channel == "email" else broken,
        }
    if scene.channel in ("dingtalk", "feishu"):
        values[scene.channel] = {
            "robots": {"duty": KEY},
            "secrets": {"duty": SECRET},
            "base_url": broken,
        }
    if scene.channel == "webhook":
        values["webhook"] = {"targets": {"duty": f"{broken}/hook/ops"}, "secret": SECRET}
    return bundle_for(
        folder,
        slack=slack,
        mail_port=mail_port,
        roster=ROSTER,
        routes=ROUTES % scene.channel,
        more=values,
        send_timeout_s=LIMIT_S,
    )


class Lab:
    """Services that outlive single cells, and an empty migrated database to copy."""

    def __init__(self, folder: Path, migrated: Path) -> None:
        self._folder, self._migrated = folder, migrated
        self._stack = ExitStack()
        self._at = T0
        self.slack = self._stack.enter_context(FakeSlack())
        self.mail = self._stack.enter_context(FakeMailServer())
        self.robots = self._stack.enter_context(
            FakeRobots(clock=lambda: self._at.timestamp(), slow_s=TOO_LATE_S)
        )

    def close(self) -> None:
        """Stop every service."""
        self._stack.close()

    def cell(self, fault: str, channel: str) -> Cell:
        """Play one cell."""
        self.slack.messages.clear()
        self.slack.moods.clear()
        self.mail.received.clear()
        self.robots.reset()
        scene = Scene(channel, fault, self.slack, self.mail, self.robots)
        folder = self._folder / f"{fault}-{channel}"
        folder.mkdir()
        shutil.copyfile(self._migrated, folder / "q.db")
        db = Database(f"sqlite:///{folder / 'q.db'}", audit_key=AUDIT_KEY)
        port = _free_port()
        targets = {"slack": self.slack.port, "email": self.mail.port}
        proxy = FaultProxy(("127.0.0.1", targets.get(channel, self.robots.port)), port=port)
        try:
            return self._play(scene, Office(db, _bundle(folder, scene, port)), proxy)
        finally:
            for clean in scene.cleanups:
                clean()
            self.mail.answer = ""
            proxy.stop()
            db.close()
            shutil.rmtree(folder)

    def _play(self, scene: Scene, office: Office, proxy: FaultProxy) -> Cell:
        if scene.fault != "down":
            proxy.start()
            scene.break_line(proxy)
        self._at = office.now
        office.detect(_post)
        office.tick()
        office.send()
        elsewhere = office.now if scene.elsewhere() else None
        if scene.fault == "down":
            proxy.start()
        scene.mend_line(proxy)
        for _ in range(12):  # a minute
            office.later(seconds=5)
            self._at = office.now
            office.tick()
            office.send()
            if elsewhere is None and scene.elsewhere():
                elsewhere = office.now
        seen, marked = scene.seen()
        with office.db.reading() as session:
            first = session.scalars(select(OutboxAttempt.result).order_by(OutboxAttempt.id).limit(1)).one()
        return Cell(first, seen, marked, None if elsewhere is None else (elsewhere - T0).total_seconds())


def _post(text: str, **fields: Any) -> NewPost:
    """An invented post."""
    _post.count += 1  # type: ignore[attr-defined]
    number = _post.count  # type: ignore[attr-defined]
    when = datetime(2026, 11, 24, 6, 0, tzinfo=UTC) + timedelta(minutes=number % 60)
    return NewPost(
        source_id=fields.get("source_id", "forum"),
        external_id=f"f{number}",
        url=f"http://bbs.example/f/{number}",
        title="",
        text=text,
        published_at=when,
        published_estimated=False,
        fetched_at=when,
        author_key=f"author-{number}",
        place_hint="",
        engagement={},
        provenance={},
    )


_post.count = 0  # type: ignore[attr-defined]


@contextmanager
def lab() -> Iterator[Lab]:
    """A laboratory in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="quansheng-faults-") as base:
        migrated = Path(base) / "empty.db"
        database = Database(f"sqlite:///{migrated}", audit_key=AUDIT_KEY)
        upgrade(database.engine)
        database.close()
        made = Lab(Path(base), migrated)
        try:
            yield made
        finally:
            made.close()


def main() -> int:
    """Print the table; 1 when a cell is wrong."""
    wrong = 0
    out = sys.stdout
    out.write(f"| fault | {' | '.join(CHANNELS)} |\n|---|{'---|' * len(CHANNELS)}\n")
    with lab() as made:
        for fault, words in FAULTS.items():
            cells = []
            for channel in CHANNELS:
                cell = made.cell(fault, channel)
                good = cell in allowed(fault, channel)
                wrong += not good
                cells.append(str(cell) if good else f"**WRONG** {cell}")
            out.write(f"| {words} | {' | '.join(cells)} |\n")
            out.flush()
    out.write(
        f"{len(FAULTS) * len(CHANNELS) - wrong} of {len(FAULTS) * len(CHANNELS)} cells as they must be\n"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
