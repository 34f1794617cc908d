"""Several processes tick and send on one PostgreSQL: nothing twice, no robot's limit overshot, a dead one is replaced at once.

Three processes share a simulated clock; one of them is killed while it holds both locks, five claimed messages, and
one that has left without a word in the database. Nobody is elected: each looks, takes the lock of what it found, and
looks again.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from alerts import job, rota, sender
from alerts.results import SendResult
from alerts.sender import Channels
from config.bundle import Bundle
from demo.fakes.robots import KEY, SECRET, FakeRobots
from incidents import beats, events, lifecycle, outbox, rebuild
from incidents.models import IncidentEvent, Outbox, OutboxAttempt
from incidents.session import Database
from incidents.states import Acknowledge
from incidents.trouble import DatabaseTrouble
from tests.alert_office import KEYS, T0, bundle_for, emerge
from tests.conftest import AUDIT_KEY
from tests.fakes.mail import FakeMailServer

#: simulated seconds of one real second
SPEED = 20.0
INCIDENTS = 24
#: messages to one robot that cannot be bundled: more than two of its minutes bear
REPORTS = 35
ROUTES = """
routes:
  - name: 其他
    channels: [email, wecom, webhook]
    ladder: [primary, secondary, leader]
"""


@dataclass(frozen=True)
class House:
    """What a process must know to join in."""

    url: str
    folder: Path
    begun: float
    mail_port: int
    robots: str

    def now(self) -> datetime:
        """The same simulated time in every process."""
        return T0 + timedelta(seconds=(time.monotonic() - self.begun) * SPEED)

    def bundle(self, name: str) -> Bundle:
        """The same configuration, read from a folder of its own."""
        folder = self.folder / name
        folder.mkdir()
        more: dict[str, Any] = {
            "wecom": {"robots": {"duty": KEY}, "base_url": self.robots},
            "webhook": {"targets": {"duty": f"{self.robots}/hook/ops"}, "secret": SECRET},
        }
        return bundle_for(
            folder,
            mail_port=self.mail_port,
            routes=ROUTES,
            more=more,
            send_timeout_s=5.0,
            budget_per_shift=500,
        )


def work(house: House, name: str, pipe: Connection) -> None:
    """A process: tick and send until told otherwise. `die`: claim, send one, take the locks, and wait to be killed."""
    db = Database(house.url, audit_key=AUDIT_KEY)
    bundle = house.bundle(name)
    ways = Channels(bundle)
    done = {"rungs": 0, "sent": 0}
    pipe.send("ready")
    while True:
        done["rungs"] += job.tick(db, bundle, KEYS, house.now()).rungs
        done["sent"] += job.send(db, bundle, KEYS, house.now, limit=10, ways=ways).sent
        if not pipe.poll(0):
            continue
        if pipe.recv() == "stop":
            pipe.send(done)
            return
        die(db, bundle, ways, house, pipe)


def die(db: Database, bundle: Bundle, ways: Channels, house: House, pipe: Connection) -> None:
    """The worst moment: five messages claimed, the first one sent, both locks held."""
    jobs: list[sender.Job] = []
    while not jobs:
        job.tick(db, bundle, KEYS, house.now())
        with db.transaction() as session:
            now = house.now()
            known = rota.in_force(session, bundle, now)
            jobs, _ = sender.claim(session, known, now, ways, ["email"], db.presence())
        time.sleep(0.01)
    ways.send(jobs[0], house.now())
    with db.transaction() as session:
        outbox.hold(session)
        events.lock_chain(session)
        pipe.send([one.row.id for one in jobs])
        while True:
            time.sleep(60)


@dataclass
class Crew:
    """The processes, and what they can be told."""

    house: House
    pipes: dict[str, Connection] = field(default_factory=dict)
    processes: dict[str, BaseProcess] = field(default_factory=dict)

    def hire(self, *names: str) -> None:
        for name in names:
            here, there = get_context("spawn").Pipe()
            process = get_context("spawn").Process(target=work, args=(self.house, name, there), daemon=True)
            process.start()
            self.pipes[name], self.processes[name] = here, process
        for name in names:
            assert self.ask(name) == "ready"

    def ask(self, name: str) -> Any:
        """What it says next."""
        assert self.pipes[name].poll(60), f"{name} says nothing"
        return self.pipes[name].recv()

    def kill(self, name: str) -> None:
        pid = self.processes[name].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        self.processes[name].join()

    def fire(self) -> dict[str, dict[str, int]]:
        """Stop the rest; what each of them did."""
        for name, process in self.processes.items():
            if process.is_alive():
                self.pipes[name].send("stop")
        return {name: self.ask(name) for name, process in self.processes.items() if process.exitcode is None}


@pytest.fixture
def crew(postgres_db: Database, tmp_path: Path, mail: FakeMailServer) -> Iterator[Crew]:
    begun = time.monotonic()
    house = House(postgres_db.url, tmp_path, begun, mail.port, "")
    with FakeRobots(clock=lambda: house.now().timestamp()) as robots:
        found = Crew(House(postgres_db.url, tmp_path, begun, mail.port, robots.base_url))
        found.robots = robots  # type: ignore[attr-defined]
        yield found
        for process in found.processes.values():
            process.kill()
            process.join()


def detect(db: Database, now: datetime) -> int:
    with db.transaction() as session:
        return emerge(session, now=now)


def wait(what: Callable[[], object], seconds: float, name: str) -> float:
    """Until it holds; how long it took."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < seconds, f"after {seconds} s: no {name}"
        time.sleep(0.05)
    return time.monotonic() - begun


def paged_by_mail(db: Database, incident: int) -> bool:
    with db.reading() as session:
        rows = outbox.messages_of(session, incident)
    return any(row.channel == "email" and row.kind == "page" and row.state == "sent" for row in rows)


def resting(db: Database, now: datetime) -> bool:
    """Nothing waits to be sent, and no event to be read."""
    with db.reading() as session:
        busy = session.scalar(
            select(func.count()).select_from(Outbox).where(Outbox.state.in_(("pending", "sending")))
        )
        return not busy and beats.cursor(session, job.READER) == events.head(session).seq


@pytest.mark.slow
def test_three_processes_do_everything_once_and_replace_the_one_that_dies(
    crew: Crew, postgres_db: Database, mail: FakeMailServer
) -> None:
    robots: FakeRobots = crew.robots  # type: ignore[attr-defined]
    db, now = postgres_db, crew.house.now
    crew.hire("first", "second", "third")
    reports = [put(db, now(), "duty", "wecom", f"report-{number}") for number in range(REPORTS)]
    incidents = [detect(db, now()) for _ in range(INCIDENTS // 2)]
    for incident in incidents[::3]:
        with db.transaction() as session:
            lifecycle.handle(session, incident, Acknowledge(epoch=1), actor="lin", channel="link", now=now())
    incidents += [detect(db, now()) for _ in range(INCIDENTS - len(incidents))]
    crew.pipes["first"].send("die")
    orphans = crew.ask("first")
    crew.kill("first")
    late = detect(db, now())
    took = wait(lambda: paged_by_mail(db, late), 30, "page about what came after the death")
    wait(lambda: resting(db, now()), 120, "rest")
    did = crew.fire()

    assert set(did) == {"second", "third"}
    assert all(one["sent"] > 0 for one in did.values()), "one process did everything: nothing was proved"
    assert took < 25, "the dead one still held something"
    with db.reading() as session:
        assert events.verify(session, AUDIT_KEY).ok
        assert list(rebuild.differences(session)) == []
        history = list(session.scalars(select(IncidentEvent)))
        rows = {row.id: row for row in session.scalars(select(Outbox))}
        session.expunge_all()
    once(history)
    arrived_once(rows, mail, robots, orphans)
    assert {rows[key].state for key in reports} == {"sent"}
    within_limits(robots)


def once(history: list[IncidentEvent]) -> None:
    """No event of a kind that happens once stands there twice."""
    keys: Counter[object] = Counter()
    for event in history:
        given = event.payload
        if event.kind == "rung_fired":
            keys["rung", event.incident_id, event.epoch, given["step"]] += 1
        elif event.kind in ("page_sent", "page_refused"):
            keys[event.kind, given.get("outbox")] += 1
        elif event.kind == "bundled":
            keys["bundled", given["bundle"]] += 1
        elif event.kind in ("obligation_opened", "obligation_missed"):
            keys[event.kind, given["rule"], given.get("unit", ""), given["period"]] += 1
        elif event.kind in ("deadline_opened", "deadline_missed"):
            keys[event.kind, event.incident_id, given["rule"], given["round"]] += 1
        elif event.kind in ("heartbeat", "head_noted"):
            keys[event.kind, given["day"]] += 1
    assert [key for key, count in keys.items() if count > 1] == []
    # those that were acknowledged at once may have been asked about no more
    assert sum(isinstance(key, tuple) and key[0] == "rung" for key in keys) >= INCIDENTS // 2


def arrived_once(
    rows: dict[str, Outbox], mail: FakeMailServer, robots: FakeRobots, orphans: list[str]
) -> None:
    """What was sent arrived, once each; only the one that left before the death came again, and says so."""
    sent = [row for row in rows.values() if row.state == "sent" and row.bundled_in is None]
    mails = Counter(str(one["Message-ID"]).strip("<>").split("@")[0].split(".")[0] for one in mail.received)
    hooks = Counter(str(item.body["id"]) for item in robots.taken if item.service == "webhook")
    wecom = [item for item in robots.taken if item.service == "wecom"]
    assert mails.pop(orphans[0]) == 2
    assert sum("补发" in str(one["Subject"]) for one in mail.received) >= 1
    expected = {row.id for row in sent if row.channel == "email"} - {orphans[0]}
    assert mails == Counter(dict.fromkeys(expected, 1))
    assert hooks == Counter({row.id: 1 for row in sent if row.channel == "webhook"})
    assert len(wecom) == sum(row.channel == "wecom" for row in sent)
    said = {row.bundled_in for row in rows.values() if row.state == "sent" and row.bundled_in}
    assert said <= {row.id for row in sent}
    assert {rows[one].state for one in orphans} <= {"sent", "superseded"}


def within_limits(robots: FakeRobots) -> None:
    """The robot never had to refuse; it was worked to its limit, or nothing was proved."""
    assert robots.refusals == []
    most, window = 0, deque[float]()
    for item in (item for item in robots.taken if item.service == "wecom"):
        window.append(item.at)
        while window[0] <= item.at - 60:
            window.popleft()
        most = max(most, len(window))
    assert 12 <= most <= 20


# --- the pieces ------------------------------------------------------------------------------------------------------


def test_a_process_that_stands_still_loses_its_lock(
    postgres_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HELD_IDLE_S", 1)
    held, result = threading.Event(), []

    def stand_still() -> None:
        try:
            with postgres_db.transaction() as session:
                outbox.hold(session, ["email"])
                events.lock_chain(session)
                held.set()
                time.sleep(2.5)
                beats.beat(session, "too late", T0)
        except DatabaseTrouble as trouble:
            result.append(str(trouble))

    thread = threading.Thread(target=stand_still)
    thread.start()
    assert held.wait(10)
    begun = time.monotonic()
    with postgres_db.transaction() as session:
        outbox.hold(session, ["email"])
        events.lock_chain(session)
    waited = time.monotonic() - begun
    thread.join()
    assert 0.5 < waited < 2.4
    assert len(result) == 1, "what it wrote after that is not written"
    with postgres_db.reading() as session:
        assert beats.get_beat(session, "too late") is None


def test_a_lock_is_waited_for_as_long_as_on_sqlite_and_told_in_words(postgres_db: Database) -> None:
    hasty = Database(postgres_db.url, audit_key=AUDIT_KEY, busy_timeout_s=0.2)
    with postgres_db.transaction() as session:
        events.lock_chain(session)
        with (
            pytest.raises(DatabaseTrouble, match="another process has held it"),
            hasty.transaction() as other,
        ):
            events.lock_chain(other)
    hasty.close()


def test_senders_of_two_channels_do_not_wait_for_each_other(postgres_db: Database) -> None:
    hasty = Database(postgres_db.url, audit_key=AUDIT_KEY, busy_timeout_s=0.2)
    with postgres_db.transaction() as session:
        outbox.hold(session, ["email"])
        with hasty.transaction() as other:
            outbox.hold(other, ["slack", "wecom"])
        for same in (["slack", "email"], None):
            with pytest.raises(DatabaseTrouble), hasty.transaction() as other:
                outbox.hold(other, same)
    hasty.close()


def test_what_one_sender_takes_is_counted_by_the_next(postgres_db: Database, tmp_path: Path) -> None:
    """A robot bears one message more and two senders choose at once: the second one waits and finds it full."""
    bundle = House("", tmp_path, 0.0, 0, "http://127.0.0.1:9").bundle("office")
    for number in range(25):
        put(postgres_db, T0, "duty", "wecom", f"{number}", priority=0)
    with postgres_db.transaction() as session:
        for row in outbox.claim(session, T0, lease_s=60, limit=19):
            outbox.record(session, row.id, "sent", now=T0)
    now, taken = T0 + timedelta(seconds=5), []

    def choose() -> None:
        with postgres_db.transaction() as session:
            taken.append(len(sender.claim(session, bundle, now, Channels(bundle), ["wecom"])[0]))

    second = threading.Thread(target=choose)
    with postgres_db.transaction() as session:
        taken.append(len(sender.claim(session, bundle, now, Channels(bundle), ["wecom"])[0]))
        second.start()
        second.join(0.5)
        assert second.is_alive(), "it did not wait"
    second.join()
    assert taken == [1, 0]


def put(
    db: Database,
    now: datetime,
    recipient: str = "lin",
    channel: str = "email",
    name: str = "",
    priority: int = 5,
) -> str:
    """A message that nobody bundles."""
    key = outbox.message_id(None, 0, 0, recipient, channel, period=name or now.isoformat())
    with db.transaction() as session:
        outbox.enqueue(
            session,
            id=key,
            incident_id=None,
            kind="report",
            recipient=recipient,
            channel=channel,
            message={"subject": "测试"},
            now=now,
            priority=priority,
        )
    return key


def test_a_message_of_a_dead_sender_is_free_after_seconds_and_one_of_a_living_one_is_not(
    postgres_db: Database,
) -> None:
    put(postgres_db, T0)
    gone = Database(postgres_db.url, audit_key=AUDIT_KEY)
    with gone.transaction() as session:
        assert outbox.claim(session, T0, lease_s=80, presence=gone.presence())
    later = T0 + timedelta(seconds=15)
    with postgres_db.transaction() as session:
        assert outbox.under_way(session, ["email"])
        assert outbox.free_orphans(session, later) == 0, "it lives"
    gone.close()
    with postgres_db.transaction() as session:
        assert outbox.free_orphans(session, T0 + timedelta(seconds=5)) == 0, "its last call may still arrive"
        assert outbox.free_orphans(session, later, ["slack"]) == 0
        assert outbox.free_orphans(session, later) == 1
        taken = outbox.claim(session, later, lease_s=80, presence=postgres_db.presence())
    assert [(row.attempts, row.uncertain) for row in taken] == [(2, True)]


def test_a_process_whose_presence_was_cut_off_gets_another_number(postgres_db: Database) -> None:
    first = postgres_db.presence()
    assert postgres_db.presence() == first
    with postgres_db.transaction() as session:
        session.execute(
            text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND objid = :n"
            ).bindparams(n=first)
        )
    assert postgres_db.presence() != first


def test_only_the_sender_that_holds_a_message_says_what_became_of_it(any_db: Database) -> None:
    """One that stood still past its lease comes too late with everything but the news that it arrived."""
    key = put(any_db, T0)
    with any_db.transaction() as session:
        slow = outbox.claim(session, T0, lease_s=60)[0]
    then = T0 + timedelta(minutes=2)
    with any_db.transaction() as session:
        quick = outbox.claim(session, then, lease_s=60)[0]
    with any_db.transaction() as session:
        assert not outbox.record(
            session, key, "retry", now=then, detail="cut off", retry_at=then, attempt=slow.attempts
        )
        assert not outbox.record(session, key, "refused", now=then, detail="no", attempt=slow.attempts)
        row = outbox.get(session, key)
        assert row is not None
        assert (row.state, row.attempts) == ("sending", 2)
        assert outbox.record(session, key, "sent", now=then, provider_ref="<1>", attempt=slow.attempts)
        assert not outbox.record(
            session, key, "unknown", now=then, retry_at=then, detail="lost", attempt=quick.attempts
        )
        row = outbox.get(session, key)
        assert row is not None
        assert (row.state, row.provider_ref) == ("sent", "<1>")
        tries = session.scalars(select(OutboxAttempt).order_by(OutboxAttempt.attempt)).all()
    assert [one.result for one in tries] == ["sent", "unknown"]


def test_a_sender_that_stood_still_past_its_lease_sends_nothing(any_db: Database, tmp_path: Path) -> None:
    """Of two claimed messages the first takes ten minutes: the second may be in other hands by then."""
    bundle = bundle_for(tmp_path)
    first, second = put(any_db, T0), put(any_db, T0 + timedelta(seconds=1))
    clock = {"now": T0 + timedelta(seconds=2)}

    class Standing(Channels):
        def send(self, job: sender.Job, now: datetime) -> SendResult:
            clock["now"] += timedelta(minutes=10)
            return super().send(job, now)

    job.send(any_db, bundle, KEYS, lambda: clock["now"], ways=Standing(bundle))
    with any_db.reading() as session:
        rows = {row.id: row for row in outbox.latest(session)}
    assert (rows[first].state, rows[first].attempts) == ("sent", 1)
    assert (rows[second].state, rows[second].attempts) == ("pending", 1)
    assert "its lease ran out" in rows[second].error
    job.send(any_db, bundle, KEYS, lambda: clock["now"])
    with any_db.reading() as session:
        assert {(row.state, row.uncertain) for row in outbox.latest(session)} == {("sent", False)}
