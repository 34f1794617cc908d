"""The channels of the kill proof in a process of their own: what an officer would see outlives every life."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from email.message import Message
from multiprocessing.connection import Connection
from typing import Any

from demo.fake_slack import FakeSlack
from demo.fakes.robots import APP, APP_SECRET, SECRET, FakeRobots
from tests.fakes.mail import FakeMailServer

#: what each channel can do after an unknown result: no repeat is ever seen in the first two
KINDS = {"slack": "readable", "feishu_app": "keyed", "email": "blind", "webhook": "blind"}


@dataclass(frozen=True)
class Seen:
    """One message as it arrived."""

    channel: str
    outbox_id: str
    marked: bool = False
    edit: bool = False


@dataclass(frozen=True)
class World:
    """Everything that arrived."""

    seen: tuple[Seen, ...]

    @classmethod
    def of(cls, items: list[dict[str, Any]]) -> World:
        """From the other process."""
        return cls(tuple(Seen(**item) for item in items))

    def kind_of(self, channel: str) -> str:
        """keyed, readable or blind."""
        return KINDS[channel]


class SlowRobots(FakeRobots):
    """Answers a little after it has taken a message: the moment in which a sender is best killed."""

    def answer(
        self, method: str, path: str, query: dict[str, str], raw: bytes, headers: Any
    ) -> tuple[int, Any]:
        """As always, at the time that the request tells, and then a pause."""
        if stamp := headers.get("X-Quansheng-Timestamp"):
            self.at = float(stamp)
        found = super().answer(method, path, query, raw, headers)
        time.sleep(0.008)
        return found

    at = 0.0

    def known(self, service: str, recipient: str, key: str, seconds: float) -> bool:
        """A key is never forgotten here: its hour would be one of simulated time."""
        return super().known(service, recipient, key, float("inf"))

    def too_fast(self, robot: str, limit: int, seconds: float, deaf: float = 0.0) -> bool:
        """Limits count in simulated time, which this process does not know."""
        return False


class SlowMail(FakeMailServer):
    """The same for mail."""

    async def handle_DATA(self, *given: Any) -> str:
        """Take the mail, then pause."""
        answer = await super().handle_DATA(*given)
        time.sleep(0.008)
        return answer


class SlowSlack(FakeSlack):
    """The same for Slack."""

    def answer(self, method: str, arguments: dict[str, Any], token: str) -> dict[str, Any]:
        """As always, and then a pause."""
        found = super().answer(method, arguments, token)
        if method == "chat.postMessage":
            time.sleep(0.008)
        return found


def serve_world(pipe: Connection) -> None:
    """Serve until the other side asks what arrived. Time leaps in the end, so the robots live in that of the requests."""
    robots = SlowRobots()
    robots.clock = lambda: robots.at
    with SlowMail() as mail, SlowSlack() as slack, robots:
        pipe.send(
            {
                "slack": slack.base_url,
                "mail": mail.port,
                "channels": ["slack", "email", "feishu_app", "webhook"],
                "more": {
                    "feishu": {"app_id": APP, "app_secret": APP_SECRET, "base_url": robots.base_url},
                    "webhook": {"targets": {"duty": f"{robots.base_url}/hook/ops"}, "secret": SECRET},
                },
            }
        )
        while True:
            try:
                pipe.recv()
            except EOFError:
                return
            seen = [*_slack(slack), *_mails(mail.received), *_robots(robots)]
            pipe.send(json.dumps([asdict(item) for item in seen]))


def _slack(slack: FakeSlack) -> list[Seen]:
    return [
        Seen("slack", message["metadata"]["event_payload"]["outbox_id"])
        for message in slack.messages
        if message.get("metadata")
    ]


def _mails(received: Sequence[Message]) -> list[Seen]:
    return [
        Seen(
            "email",
            str(mail["Message-ID"]).strip("<>").split("@")[0].split(".")[0],
            marked="补发" in str(mail["Subject"]),
        )
        for mail in received
    ]


def _robots(robots: FakeRobots) -> list[Seen]:
    """Feishu shows a uuid once; a webhook gets the id with every try."""
    return [
        Seen(
            item.service,
            str(item.body["uuid"] if item.service == "feishu_app" else item.body["id"]),
            marked="补发" in item.text,
        )
        for item in robots.taken
    ]
