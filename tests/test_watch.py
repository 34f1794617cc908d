"""Silence is never ambiguous: canary, clean audit before a ping, heads of each day."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy import text

from alerts import doors, watch
from alerts.channel import Channel
from alerts.results import SendResult, Sent, Unknown
from demo.fake_slack import FakeSlack
from incidents import events, heads, lifecycle, outbox, rebuild
from incidents.outbox import OutboxRow
from incidents.posts import NewPost
from incidents.session import Database
from tests.alert_office import KEYS, T0, Office, bundle_for
from tests.fakes.mail import FakeMailServer
from tests.test_events import lift_triggers

Posts = Callable[..., NewPost]


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    with FakeSlack(channels={"C0QUANSHENG", "C0CANARY"}) as fake:
        yield fake


@pytest.fixture
def office(db: Database, tmp_path: Path, slack: FakeSlack, mail: FakeMailServer) -> Office:
    more = {"watch": {"canary": {"slack": "C0CANARY", "email": "canary@jinan.example"}}}
    return Office(
        db, bundle_for(tmp_path, slack=slack.base_url, mail_port=mail.port, more=more, send_timeout_s=1)
    )


def rows(office: Office, kind: str) -> list[OutboxRow]:
    with office.db.reading() as session:
        return [row for row in outbox.latest(session, 500) if row.kind == kind]


def minutes(office: Office, count: int) -> None:
    for _ in range(count):
        office.later(minutes=1).work()
        watch.run(office.db, office.bundle, office.db.audit_key, office.now)


# --- canary --------------------------------------------------------------------------------------------------------


def test_a_canary_flies_every_quarter_of_an_hour_and_disturbs_nobody(
    office: Office, slack: FakeSlack, mail: FakeMailServer
) -> None:
    minutes(office, 60)
    assert {message["channel"] for message in slack.messages} == {"C0CANARY"}
    assert len(slack.messages) == len(mail.received) == 5
    assert set(mail.recipients) == {"canary@jinan.example"}
    assert rows(office, "system_alarm") == []


def test_two_dead_canaries_alarm_the_officer_by_the_other_channels_once_and_recovery_is_told(
    office: Office, slack: FakeSlack, mail: FakeMailServer
) -> None:
    def told() -> list[tuple[str, str, str]]:
        found = [row for row in rows(office, "system_alarm") if "slack" in str(row.message["subject"])]
        return sorted((str(row.message["subject"]), row.channel, row.recipient) for row in found)

    office.work()
    slack.token = "revoked"
    minutes(office, 40)
    failed = "【系统故障】渠道 slack 不可用：Slack: invalid_auth"
    assert [(subject[: len(failed)], *way) for subject, *way in told()] == [
        (failed, "email", "lin@jinan.example")
    ]
    assert sum(str(item["Subject"]).startswith(failed) for item in mail.received) == 1
    slack.token = "xoxb-demo-not-secret"
    minutes(office, 20)
    minutes(office, 60)
    assert [subject[:6] for subject, *_ in told()] == ["【系统恢复】", "【系统恢复】", "【系统故障】"]
    assert sum(str(item["Subject"]).startswith("【系统恢复】渠道 slack") for item in mail.received) == 1


def test_a_message_that_slack_accepts_and_does_not_show_is_a_dead_canary(
    office: Office, slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack, "_history", lambda arguments: {"ok": True, "messages": [], "has_more": False})
    minutes(office, 40)
    alarms = rows(office, "system_alarm")
    assert [(row.channel, row.recipient) for row in alarms] == [("email", "lin@jinan.example")]
    assert str(alarms[0].message["subject"]).startswith("【系统故障】渠道 slack 自检未通过")


# --- the outside ping ----------------------------------------------------------------------------------------------


class Outside(ThreadingHTTPServer):
    """Somebody outside who counts pings."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        outside = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

            def do_GET(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outside.paths.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET

        super().__init__(("127.0.0.1", 0), Handler)
        self.daemon_threads = True
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()


@pytest.fixture
def outside() -> Iterator[Outside]:
    server = Outside()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def watched(db: Database, tmp_path: Path, outside: Outside) -> Office:
    more = {"watch": {"ping_url": f"http://127.0.0.1:{outside.server_port}/ping"}}
    return Office(db, bundle_for(tmp_path, more=more))


def look(office: Office) -> watch.Audit:
    return watch.run(office.db, office.bundle, office.db.audit_key, office.now)


def test_a_clean_audit_is_told_outside_every_minute(watched: Office, outside: Outside) -> None:
    for _ in range(10):
        watched.work()
        assert look(watched).reasons == ()
        watched.later(seconds=30)
    assert outside.paths == ["/ping"] * 5


@pytest.mark.parametrize(
    "spoil",
    ["no tick", "no sender", "stuck message", "roster empty", "event changed", "tail cut"],
)
def test_an_unclean_audit_is_told_as_a_failure_with_its_reason(
    watched: Office, outside: Outside, post: Posts, tmp_path: Path, spoil: str
) -> None:
    watched.detect(post).work()
    assert look(watched).reasons == ()
    watched.later(minutes=6)
    if spoil != "no tick":
        watched.tick()
    if spoil != "no sender":
        watched.send()
    if spoil == "stuck message":
        with watched.db.transaction() as session:
            outbox.enqueue(
                session,
                id="00000000-0000-5000-8000-000000000009",
                incident_id=None,
                kind="page",
                recipient="x",
                channel="folder",
                message={},
                now=watched.now - timedelta(minutes=2),
            )
    elif spoil == "roster empty":
        watched.bundle = bundle_for(
            tmp_path,
            roster="version: v1\nfallback: lin\npeople:\n  - {id: lin, name: 林东, email: lin@jinan.example}\n",
            more={"watch": {"ping_url": f"http://127.0.0.1:{outside.server_port}/ping"}},
        )
    elif spoil == "event changed":
        with watched.db.transaction() as session:
            lifecycle.record_act(session, "viewed", {}, actor="x", channel="cli", now=watched.now)
        lift_triggers(watched.db)
        with watched.db.transaction() as session:
            session.execute(text("UPDATE incident_event SET actor = 'y' WHERE actor = 'x'"))
    elif spoil == "tail cut":
        lift_triggers(watched.db)
        with watched.db.transaction() as session:
            session.execute(text("DELETE FROM incident_event WHERE seq > 3"))
    found = look(watched)
    assert len(found.reasons) == 1, found.reasons
    assert outside.paths == ["/ping", "/ping/fail"]


def test_a_disk_that_is_nearly_full_is_told_outside_and_to_the_officer(
    watched: Office, outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.work()
    assert look(watched).reasons == ()
    monkeypatch.setattr("alerts.troubles.shutil.disk_usage", lambda folder: SimpleNamespace(free=5_000_000))
    for _ in range(4):
        watched.later(seconds=30).work()
        found = look(watched)
    assert len(found.reasons) == 1
    assert "仅剩5 MB" in found.reasons[0]
    assert outside.paths == ["/ping", *["/ping/fail"] * 4]
    (alarm,) = rows(watched, "system_alarm")
    assert "仅剩5 MB" in alarm.message["subject"]


def test_a_revoked_token_is_told_within_four_minutes_whenever_it_happens(
    office: Office, slack: FakeSlack
) -> None:
    for lag in range(0, 120, 30):
        slack.token = "xoxb-demo-not-secret"
        for _ in range(20 + lag // 30):  # all is well, and told to be well; then another moment of the rhythm
            office.later(seconds=30).work()
            watch.run(office.db, office.bundle, office.db.audit_key, office.now)
        slack.token, since, before = "revoked", office.now, len(rows(office, "system_alarm"))
        while len(rows(office, "system_alarm")) == before:
            office.later(seconds=30).work()
            watch.run(office.db, office.bundle, office.db.audit_key, office.now)
            assert office.now - since <= timedelta(minutes=4), f"{lag} s after the last round"


class Deaf:
    """A channel that takes the knock and never answers."""

    name = "deaf"

    def __init__(self) -> None:
        self.asked = 0
        self.free = threading.Event()

    def check(self) -> SendResult:
        """Waits for ever."""
        self.asked += 1
        self.free.wait(60)
        return Sent("late")


class Well(Deaf):
    """A channel that answers at once."""

    def check(self) -> SendResult:
        """Good."""
        self.asked += 1
        return Sent("me")


class Broken(Deaf):
    """A channel with a bug."""

    def check(self) -> SendResult:
        """Raises."""
        raise KeyError("user")


def test_a_channel_that_never_answers_holds_up_nobody_and_is_not_asked_twice_at_once() -> None:
    deaf, well = Deaf(), Well()
    table = cast(dict[str, Channel], {"deaf": deaf, "well": well, "broken": Broken()})
    for times in (1, 2):
        found = doors.ask_all(table, "here", patience_s=0.2)
        assert list(found) == ["deaf", "well", "broken"]
        assert isinstance(found["deaf"], Unknown)
        assert found["well"] == Sent("me")
        assert found["broken"] == Unknown("KeyError: 'user'")
        assert (deaf.asked, well.asked) == (1, times)
    deaf.free.set()
    doors._waiting["here", "deaf"].join(10)
    assert doors.ask_all(table, "here", patience_s=10)["deaf"] == Sent("late")
    assert deaf.asked == 2


def test_without_an_address_nothing_is_called(db: Database, tmp_path: Path) -> None:
    office = Office(db, bundle_for(tmp_path))
    office.work()
    assert look(office) == watch.Audit(())


# --- heads ---------------------------------------------------------------------------------------------------------


def test_each_day_ends_with_a_head_that_is_told_and_held_against_the_chain(
    db: Database, tmp_path: Path, post: Posts
) -> None:
    office = Office(db, bundle_for(tmp_path, heartbeat_at="08:30")).detect(post)
    office.work()
    for _ in range(3):
        office.later(days=1).work()
    with db.reading() as session:
        noted = heads.noted(session)
        assert [head.day for head in noted] == ["2026-11-23", "2026-11-24", "2026-11-25", "2026-11-26"]
        assert heads.broken(session) == ""
        assert list(rebuild.differences(session)) == []
        told = [row for row in outbox.latest(session, 100) if row.kind == "heartbeat"]
        assert f"{noted[-1].seq}:{noted[-1].hash}" in told[0].message["text"]
    lift_triggers(db)
    with db.transaction() as session:
        session.execute(text("DELETE FROM incident_event WHERE seq >= :n"), {"n": noted[-1].seq})
    with db.reading() as session:
        assert "2026-11-26" in heads.broken(session)
        assert office.now > T0
        assert events.verify(session, KEYS.audit).ok is False
