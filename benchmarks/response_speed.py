"""Speed of the alert engine: lateness with many open incidents (G2), the first minutes after an outage (G3), a stormy day (G8).

    python -m benchmarks.response_speed lateness|outage|storm|idle [--postgres | --postgresql URL]

Simulated time moves on by what each tick and send really took, at least two seconds, as the metronome would.
`--postgres` starts a PostgreSQL of its own, which waits for the disk at every commit. `idle`: what is written in a
minute in which nothing happens.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import event, insert, select

from alerts import job
from alerts.sender import Channels
from config.bundle import Bundle
from demo.fakes.robots import KEY, SECRET, FakeRobots
from incidents import beats, clocks, events, judgements, lifecycle, outbox
from incidents.migrate import upgrade
from incidents.models import Deadline, IncidentEvent, Outbox
from incidents.session import Database
from incidents.states import Acknowledge, Assign, Confirm, Detect, Refused
from tests.alert_office import KEYS, T0, bundle_for
from tests.conftest import AUDIT_KEY
from tests.fakes.mail import FakeMailServer
from tests.postgres_guard import scratch_database

ROUTES = """
routes:
  - name: 其他
    channels: [%s]
    ladder: [primary, secondary, leader]
"""


@dataclass
class Bench:
    """A database, a configuration and a clock that counts what the work took."""

    db: Database
    bundle: Bundle
    now: datetime = T0
    ticks: list[float] = field(default_factory=list)
    #: seconds of processor that the ticks took in this process: what they take where nothing else runs
    ticks_cpu: list[float] = field(default_factory=list)
    ways: Channels | None = None

    def turn(self, at_least_s: float = 2.0) -> None:
        """One tick and one send; the clock moves on by their duration, at least to the next beat."""
        begun, worked = time.perf_counter(), time.thread_time()
        job.tick(self.db, self.bundle, KEYS, self.now)
        self.ticks.append(time.perf_counter() - begun)
        self.ticks_cpu.append(time.thread_time() - worked)
        start = self.now
        job.send(
            self.db,
            self.bundle,
            KEYS,
            lambda: start + timedelta(seconds=time.perf_counter() - begun),
            limit=500,
            ways=self.ways,
        )
        spent = time.perf_counter() - begun
        self.now = start + timedelta(seconds=max(at_least_s, spent))

    def detect(self, number: int, level: str = "general") -> int:
        """One new incident."""
        with self.db.transaction() as session:
            incident = judgements.open_watching(
                session,
                title=f"第{number}件：小区停水无人处理",
                domain="housing",
                district="历下区",
                first_posted_at=self.now - timedelta(hours=1),
                sketch={},
            )
            lifecycle.handle(
                session,
                incident,
                Detect("burst", {"sentence_zh": "近1小时9位发帖人，平常0.4位"}, level),
                actor="analysis",
                channel="system",
                now=self.now,
            )
        return incident

    def act(self, incident: int, command: Any, actor: str = "lin") -> None:
        """A person acts; what is refused changes nothing."""
        try:
            with self.db.transaction() as session:
                lifecycle.handle(session, incident, command, actor=actor, channel="link", now=self.now)
        except Refused:
            return


def say(text: str) -> None:
    """One line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def quantile(values: list[float], share: float) -> float:
    """The value below which `share` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


# --- G2 ------------------------------------------------------------------------------------------------------------


def fill(bench: Bench, incidents: int, clocks_each: int) -> list[int]:
    """So many assigned incidents, each with so many running clocks, every event signed."""
    ids = []
    for start in range(0, incidents, 500):
        with bench.db.transaction() as session:
            for number in range(start, min(incidents, start + 500)):
                incident = judgements.open_watching(
                    session,
                    title=f"第{number}件",
                    domain="housing",
                    district="历下区",
                    first_posted_at=T0,
                    sketch={},
                )
                for command in (Detect("burst", {}, "general"), Confirm(), Assign("housing-construction")):
                    lifecycle.handle(
                        session, incident, command, actor="lin", channel="console", now=T0 - timedelta(days=1)
                    )
                ids.append(incident)
            rows = [
                {
                    "incident_id": incident,
                    "rule_id": f"X{clock:02d}",
                    "round": 1,
                    "stops_on": "responded",
                    "started_at": T0,
                    "due_at": T0 + timedelta(days=30 + clock),
                    "provisional": False,
                    "calendar_version": bench_calendar(bench),
                    "trace": [],
                    "state": "open",
                }
                for incident in ids[start:]
                for clock in range(clocks_each)
            ]
            session.execute(insert(Deadline), rows)
    with bench.db.transaction() as session:
        beats.move_cursor(session, job.READER, events.head(session).seq, T0)
    return ids


def bench_calendar(bench: Bench) -> str:
    """The calendar's version, so that nothing has to be counted again."""
    from alerts.calendar import load_calendar

    return load_calendar(bench.bundle.settings.config_dir, "Asia/Shanghai").version


def lateness(bench: Bench, incidents: int, clocks_each: int, due: int, minutes: float) -> dict[str, float]:
    """Clocks that run out and new incidents among many that rest: seconds from due to accepted."""
    chance = random.Random(2)
    begun = time.perf_counter()
    ids = fill(bench, incidents, clocks_each)
    say(
        f"filled with {incidents} incidents and {incidents * clocks_each} clocks in {time.perf_counter() - begun:.0f} s"
    )
    job.tick(bench.db, bench.bundle, KEYS, bench.now)
    bench.ticks.clear()
    bench.ticks_cpu.clear()
    chosen = chance.sample(ids, due)
    when = {incident: bench.now + timedelta(seconds=chance.uniform(5, minutes * 60)) for incident in chosen}
    with bench.db.transaction() as session:
        for incident, at in when.items():
            clocks.open_deadline(
                session,
                incident_id=incident,
                rule_id="R03",
                round=1,
                stops_on="responded",
                started_at=T0,
                due_at=at,
                provisional=False,
                calendar_version=bench_calendar(bench),
                trace=[],
            )
    end = bench.now + timedelta(minutes=minutes, seconds=20)
    while bench.now < end:
        bench.turn()
    found: list[float] = []
    with bench.db.reading() as session:
        for row in session.scalars(select(Outbox).where(Outbox.kind == "red", Outbox.state == "sent")):
            if row.incident_id in when and row.sent_at is not None:
                found.append((row.sent_at - when[row.incident_id]).total_seconds())
        left = outbox.backlog(session, bench.now).waiting
    return {
        "messages": len(found),
        "p50_s": quantile(found, 0.5),
        "p99_s": quantile(found, 0.99),
        "max_s": max(found, default=0.0),
        "tick_p50_ms": quantile(bench.ticks, 0.5) * 1000,
        "tick_p99_ms": quantile(bench.ticks, 0.99) * 1000,
        "tick_cpu_p99_ms": quantile(bench.ticks_cpu, 0.99) * 1000,
        "waiting": left,
    }


# --- G3 ------------------------------------------------------------------------------------------------------------


def outage(bench: Bench, incidents: int, hours: float) -> dict[str, float]:
    """So many incidents came while nothing ran; what the officers get in the first minutes after the start."""
    chance = random.Random(3)
    before = bench.now
    for number in range(incidents):
        bench.now = before + timedelta(hours=hours * number / incidents)
        bench.detect(number, chance.choice(["general", "general", "serious", "major"]))
    bench.now = before + timedelta(hours=hours)
    start, begun = bench.now, time.perf_counter()
    while bench.now < start + timedelta(minutes=3):
        bench.turn()
    with bench.db.reading() as session:
        rows = list(session.scalars(select(Outbox).where(Outbox.sent_at.is_not(None))))
        missed = list(session.scalars(select(IncidentEvent).where(IncidentEvent.kind == "deadline_missed")))
        session.expunge_all()
    first: dict[str, float] = {}
    told: Counter[str] = Counter()
    for row in rows:
        if row.bundled_in is None and row.sent_at is not None:
            seconds = (row.sent_at - start).total_seconds()
            first[row.robot] = min(seconds, first.get(row.robot, seconds))
            told[row.robot] += 1
    wrong = sum(one.occurred_at.isoformat() != one.payload["due_at"] for one in missed)
    return {
        "real_s": time.perf_counter() - begun,
        "first_page_s": max(first.values(), default=0.0),
        "messages_per_robot": max(told.values(), default=0),
        "pages_said": sum(row.kind == "page" for row in rows),
        "missed": len(missed),
        "missed_with_another_time": wrong,
    }


# --- G8 ------------------------------------------------------------------------------------------------------------


def storm(
    bench: Bench,
    robots: FakeRobots,
    move: Callable[[datetime], None],
    incidents: int,
    hours: float,
    step_s: float,
) -> dict[str, float]:
    """A day with storms: half of the incidents come within one hour. Officers acknowledge after 3 to 25 minutes."""
    chance = random.Random(8)
    start = bench.now
    half = incidents // 2
    arrivals = sorted(
        [chance.uniform(0, hours * 3600) for _ in range(incidents - half)]
        + [hours * 3600 / 2 + chance.uniform(0, 3600) for _ in range(half)]
    )
    waiting: deque[float] = deque(arrivals)
    answers: list[tuple[float, int]] = []
    detected: dict[int, datetime] = {}
    number = 0
    end = start + timedelta(hours=hours, minutes=30)
    while bench.now < end:
        now_s = (bench.now - start).total_seconds()
        while waiting and waiting[0] <= now_s:
            waiting.popleft()
            incident = bench.detect(number, chance.choice(["general"] * 6 + ["serious"] * 3 + ["major"]))
            detected[incident] = bench.now
            answers.append((now_s + chance.uniform(180, 1500), incident))
            number += 1
        for due, incident in [item for item in answers if item[0] <= now_s]:
            answers.remove((due, incident))
            bench.act(incident, Acknowledge(epoch=1))
            bench.act(incident, Confirm())
        move(bench.now)
        bench.turn(step_s)
    per_window = 0
    for service in ("wecom", "dingtalk"):
        times = [item.at for item in robots.taken if item.service == service]
        window: deque[float] = deque()
        for at in times:
            window.append(at)
            while window[0] <= at - 60:
                window.popleft()
            per_window = max(per_window, len(window))
    waits: dict[int, float] = {}
    with bench.db.reading() as session:
        for row in session.scalars(
            select(Outbox).where(Outbox.kind == "page", Outbox.step == 1, Outbox.state == "sent")
        ):
            if row.incident_id in detected and row.sent_at is not None and row.epoch == 1:
                seconds = (row.sent_at - detected[row.incident_id]).total_seconds()
                waits[row.incident_id] = min(seconds, waits.get(row.incident_id, seconds))
        bundled = session.scalars(select(Outbox).where(Outbox.kind == "bundle")).all()
        sizes = [int(row.message.get("items", 0)) for row in bundled]
    found = list(waits.values())
    return {
        "incidents": number,
        "messages": len(robots.taken),
        "most_in_60_s": per_window,
        "refusals": len(robots.refusals),
        "paged": len(found),
        "wait_p50_s": statistics.median(found) if found else 0.0,
        "wait_p99_s": quantile(found, 0.99),
        "wait_max_s": max(found, default=0.0),
        "bundles": len(sizes),
        "messages_in_bundles": sum(sizes),
    }


# --- idle ----------------------------------------------------------------------------------------------------------


def _same(now: datetime) -> datetime:
    return now


def idle(bench: Bench, channels: list[str], minutes: int = 5) -> dict[str, float]:
    """Statements and transactions that write, a minute: one tick and one sender for each channel every 2 s, nothing due."""
    for _ in range(3):
        bench.turn()
    found: Counter[str] = Counter()
    dirty = False

    def executed(_c: object, _k: object, statement: str, *_: object) -> None:
        nonlocal dirty
        if statement.lstrip()[:6].upper() in ("INSERT", "UPDATE", "DELETE"):
            found["statements"] += 1
            dirty = True
        elif statement.startswith("BEGIN IMMEDIATE"):
            found["locked"] += 1

    def committed(_: object) -> None:
        nonlocal dirty
        found["transactions"] += dirty
        dirty = False

    event.listen(bench.db.engine, "before_cursor_execute", executed)
    event.listen(bench.db.engine, "commit", committed)
    begun = time.process_time()
    for _ in range(30 * minutes):
        bench.now += timedelta(seconds=2)
        job.tick(bench.db, bench.bundle, KEYS, bench.now)
        for number, name in enumerate(channels):
            moment = bench.now + timedelta(milliseconds=number)  # no two senders at the very same time
            job.send(bench.db, bench.bundle, KEYS, partial(_same, moment), only=[name], ways=bench.ways)
    return {
        "writing_transactions_a_minute": found["transactions"] / minutes,
        "writing_statements_a_minute": found["statements"] / minutes,
        "write_locks_a_minute": found["locked"] / minutes,
        "cpu_ms_a_minute": (time.process_time() - begun) * 1000 / minutes,
    }


# --- the command ---------------------------------------------------------------------------------------------------


def table(name: str, found: dict[str, float]) -> None:
    """Name and figures."""
    say(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in found.items()))


def main() -> int:
    """Run one measurement."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["lateness", "outage", "storm", "idle"])
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL of its own")
    parser.add_argument("--postgresql", default="", help="URL of an empty database")
    parser.add_argument("--incidents", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--hours", type=float, default=24)
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="quansheng-response-")))
        if given.postgres:
            given.postgresql = stack.enter_context(scratch_database(f"bench-{os.getpid()}", durable=True))
        db = Database(given.postgresql or f"sqlite:///{folder / 'q.db'}", audit_key=AUDIT_KEY)
        stack.callback(db.close)
        upgrade(db.engine)
        clock = {"now": T0}
        with FakeMailServer() as mail, FakeRobots(clock=lambda: clock["now"].timestamp()) as robots:
            more = {
                "wecom": {"robots": {"duty": KEY}, "base_url": robots.base_url},
                "dingtalk": {
                    "robots": {"duty": KEY},
                    "secrets": {"duty": SECRET},
                    "base_url": robots.base_url,
                },
            }
            if given.what == "lateness":
                bench = Bench(db, bundle_for(folder, mail_port=mail.port, routes=ROUTES % "email"))
                table("lateness", lateness(bench, given.incidents or 10_000, 10, 600, given.minutes))
            elif given.what == "idle":
                bench = Bench(
                    db, bundle_for(folder, mail_port=mail.port, routes=ROUTES % "email, wecom", more=more)
                )
                bench.ways = Channels(bench.bundle)
                fill(bench, given.incidents or 300, 10)
                table("idle", idle(bench, list(bench.ways.table)))
            elif given.what == "outage":
                bench = Bench(
                    db, bundle_for(folder, mail_port=mail.port, routes=ROUTES % "email, wecom", more=more)
                )
                move = Moving(bench, clock)
                table("outage", outage(move, given.incidents or 300, 6.0))
                say(f"refusals of the robots: {robots.refusals}")
            else:
                bench = Bench(db, bundle_for(folder, routes=ROUTES % "wecom, dingtalk", more=more))
                bench.ways = Channels(bench.bundle)
                table(
                    "storm",
                    storm(
                        bench,
                        robots,
                        lambda now: clock.update(now=now),
                        given.incidents or 500,
                        given.hours,
                        10.0,
                    ),
                )
    return 0


class Moving(Bench):
    """A bench whose robots live in its own time."""

    def __init__(self, bench: Bench, clock: dict[str, datetime]) -> None:
        super().__init__(bench.db, bench.bundle)
        self._clock = clock

    def turn(self, at_least_s: float = 2.0) -> None:
        """As usual; the robots see the same time."""
        self._clock["now"] = self.now
        super().turn(at_least_s)


if __name__ == "__main__":
    sys.exit(main())
