"""kill -9 of the alert engine, again and again, at random moments of a few milliseconds; then: did every page arrive, once?

One process after the other ticks and sends, is killed by SIGKILL 0.5 to 250 ms after its birth, and the next one goes
on. The channels live in a process of their own and see what an officer would see. `--shards` repeats it with other
seeds: ten thousand kills are ten shards of a thousand. `--postgres` does it on a PostgreSQL server, which is not
killed: it takes back what the killed process had not committed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from alerts import job
from config.bundle import Bundle
from incidents import events, lifecycle, rebuild
from incidents.migrate import upgrade
from incidents.models import Incident, IncidentEvent, Outbox, Timer
from incidents.session import Database
from incidents.states import Acknowledge, Refused
from tests.alert_office import KEYS, ROSTER, T0, bundle_for, emerge
from tests.conftest import AUDIT_KEY
from tests.kill.world import World, serve_world
from tests.postgres_guard import scratch_database

#: simulated seconds of one real second: a rung of 15 minutes passes in 7.5 s
SPEED = 120.0
#: after so many kills it is looked whether the lives get anything done
LOOK_EVERY = 50
BLIND = "blind"
#: the oldest age at which a life is ended; connecting to a server takes a part of it
LONGEST_S = {"sqlite": 0.25, "postgres": 0.5}
ROUTES = """
routes:
  - name: 其他
    channels: [{channels}]
    ladder: [primary, secondary, leader]
"""


@dataclass
class Run:
    """One shard: its folder, its channels, its time."""

    folder: Path
    bundle: Bundle
    incidents: int
    url: str
    begun: float = field(default_factory=time.monotonic)

    @property
    def enough(self) -> int:
        """With fewer incidents the kills have hit nothing."""
        return self.incidents // 4

    def now(self) -> datetime:
        """The same simulated time in every process."""
        return T0 + timedelta(seconds=(time.monotonic() - self.begun) * SPEED)

    def open(self) -> Database:
        return Database(self.url, audit_key=AUDIT_KEY)


def live(run: Run, seed: int) -> None:
    """One life: work until killed. New incidents come, an officer acknowledges now and then."""
    chance = random.Random(seed)
    db = run.open()
    while True:
        if chance.random() < 0.15:
            _detect(db, run)
        if chance.random() < 0.01:
            _acknowledge(db, run, chance)
        job.tick(db, run.bundle, KEYS, run.now())
        job.send(db, run.bundle, KEYS, run.now, limit=20)


def _detect(db: Database, run: Run) -> None:
    now = run.now()
    with db.transaction() as session:
        if (session.scalar(select(func.count()).select_from(Incident)) or 0) >= run.incidents:
            return
        emerge(session, now=now, level="serious")


def _acknowledge(db: Database, run: Run, chance: random.Random) -> None:
    with db.transaction() as session:
        ids = list(session.scalars(select(Incident.id).where(Incident.state == "detected")))
        if ids:
            number = chance.choice(ids)
            epoch = session.get_one(Incident, number).epoch
            try:
                lifecycle.handle(
                    session, number, Acknowledge(epoch=epoch), actor="lin", channel="link", now=run.now()
                )
            except Refused:
                return


def born(run: Run, seed: int) -> int:
    """Fork one life; returns its process id. The parent has no threads and no open database."""
    pid = os.fork()
    if pid == 0:
        try:
            live(run, seed)
        except BaseException as exc:  # noqa: BLE001 (a child must never walk on into the parent's code)
            sys.stderr.write(f"a life ended by itself: {type(exc).__name__}: {exc}\n")
            sys.stderr.flush()
        finally:
            os._exit(3)
    return pid


def kill_all(run: Run, chance: random.Random, kills: int) -> int:
    """End `kills` lives, each at a random moment of its first LONGEST_S; returns how many ended by themselves (a fault).

    On a machine so busy that lives of that length do next to nothing they grow longer, or the kills would prove nothing.
    """
    faults = 0
    longest = LONGEST_S["sqlite" if run.url.startswith("sqlite") else "postgres"]
    for number in range(kills):
        if number % LOOK_EVERY == LOOK_EVERY - 1 and _made(run) < run.enough * number / kills * 1.5:
            longest *= 1.5
        pid = born(run, chance.randrange(2**31))
        time.sleep(chance.uniform(0.0005, longest))
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        faults += not os.WIFSIGNALED(status)
        if number % 250 == 249:
            say(f"{number + 1} kills, {run.now() - T0} of simulated time")
    return faults


def _made(run: Run) -> int:
    """How many incidents there are by now."""
    db = run.open()
    with db.reading() as session:
        found = session.scalar(select(func.count()).select_from(Incident)) or 0
    db.close()
    return found


def _same(now: datetime) -> datetime:
    return now


def drain(run: Run) -> None:
    """A last life that nobody ends: time leaps on until nothing waits and no rung is left."""
    db = run.open()
    now = run.now()
    for _ in range(2000):
        job.tick(db, run.bundle, KEYS, now)
        job.send(db, run.bundle, KEYS, partial(_same, now), limit=500)
        with db.reading() as session:
            waiting = session.scalar(
                select(func.count()).select_from(Outbox).where(Outbox.state.in_(("pending", "sending")))
            )
            rungs = session.scalar(
                select(func.count())
                .select_from(Timer)
                .where(Timer.done_at.is_(None), Timer.kind.in_(("ladder", "reach")))
            )
        if not waiting and not rungs:
            break
        now += timedelta(minutes=1)
    else:
        raise AssertionError(f"{waiting} messages and {rungs} rungs are left after the drain")
    db.close()


# --- what must hold ----------------------------------------------------------------------------------------------


@dataclass
class Left:
    """What one shard left behind."""

    incidents: int = 0
    pages: int = 0
    arrived: int = 0
    repeats: Counter[str] = field(default_factory=Counter)
    events: int = 0
    wrong: list[str] = field(default_factory=list)


def check(run: Run, world: World) -> Left:
    """Every promise, looked up in the database and at what the channels saw."""
    left = Left()
    db = run.open()
    with db.reading() as session:
        left.wrong += [str(found) for found in rebuild.differences(session)]
        verdict = events.verify(session, AUDIT_KEY)
        if not verdict.ok:
            left.wrong.append(f"the chain is broken at {verdict.broken_at}: {verdict.reason}")
        left.events = verdict.events
        left.incidents = session.scalar(select(func.count()).select_from(Incident)) or 0
        rows = list(session.scalars(select(Outbox)))
        history = list(session.scalars(select(IncidentEvent).order_by(IncidentEvent.seq)))
        session.expunge_all()
    db.close()
    if db.is_sqlite:
        connection = sqlite3.connect(run.folder / "q.db")
        if connection.execute("PRAGMA quick_check").fetchone() != ("ok",):
            left.wrong.append("SQLite's quick_check finds damage")
        connection.close()
    left.wrong += _messages(rows, history, world, left)
    left.wrong += _rungs(history)
    return left


def _messages(rows: list[Outbox], history: list[IncidentEvent], world: World, left: Left) -> list[str]:
    """Nothing lost, nothing early, no repeat where the channel can be asked, no unmarked one elsewhere."""
    wrong = []
    by_id = {row.id: row for row in rows}
    seen = Counter((item.channel, item.outbox_id) for item in world.seen if not item.edit)
    for (channel, outbox_id), times in seen.items():
        row = by_id.get(outbox_id)
        if row is None:
            wrong.append(f"{channel} shows {outbox_id}, which nobody remembers")
            continue
        left.arrived += 1
        if times > 1:
            left.repeats[channel] += times - 1
            if world.kind_of(channel) != BLIND:
                wrong.append(f"{channel} shows {outbox_id} {times} times")
            elif sum(not item.marked for item in world.seen if item.outbox_id == outbox_id) > 1:
                wrong.append(f"{channel} shows {outbox_id} again without the mark of a repeat")
    shown = {outbox_id for _, outbox_id in seen}
    paged = {event.payload["outbox"] for event in history if event.kind == "page_sent"}
    for row in rows:
        left.pages += row.kind == "page"
        carried = row.bundled_in and by_id[row.bundled_in].state == "sent"
        if row.state == "sent" and row.channel != "folder":
            edit = bool(row.message.get("edit"))
            if not edit and row.id not in shown and not carried:
                wrong.append(f"{row.channel} never got {row.kind} {row.id}, which is called sent")
        elif row.state in ("pending", "sending", "refused"):
            wrong.append(f"{row.kind} {row.id} is {row.state}: {row.error}")
        if row.kind == "page" and row.state == "sent" and row.id not in paged:
            wrong.append(f"page {row.id} went out and no event says so")
        if row.sent_at is not None and row.sent_at < row.created_at - timedelta(seconds=1):
            wrong.append(f"{row.kind} {row.id} went out before it was due")
    return wrong


def _rungs(history: list[IncidentEvent]) -> list[str]:
    """Each incident was asked rung by rung until somebody acknowledged; none twice in an epoch, none early."""
    wrong = []
    detected = {event.incident_id for event in history if event.kind == "detected"}
    answered = {event.incident_id for event in history if event.kind == "page_acknowledged"}
    fired: dict[tuple[int | None, int], list[int]] = {}
    accepted: dict[tuple[int | None, int, int], datetime] = {}
    for event in history:
        step = int(event.payload.get("step") or 0)
        if event.kind == "page_sent":
            key = (event.incident_id, event.payload["epoch"], step)
            accepted.setdefault(key, event.occurred_at)
        if event.kind == "rung_fired":
            fired.setdefault((event.incident_id, event.epoch), []).append(step)
            if event.payload.get("cause") == "unanswered":
                first = accepted.get((event.incident_id, event.epoch, step - 1))
                if first is None or event.occurred_at < first + timedelta(minutes=15):
                    wrong.append(f"rung {step} of incident {event.incident_id} came before its time")
    for (incident, epoch), steps in fired.items():
        if steps != list(range(1, len(steps) + 1)):
            wrong.append(f"incident {incident} fired the rungs {steps} in epoch {epoch}")
    for incident in detected - answered:
        steps = fired.get((incident, 1), [])
        if len(steps) < 4:
            wrong.append(f"incident {incident} stopped at rungs {steps} though nobody had acknowledged")
    return wrong


# --- the run -----------------------------------------------------------------------------------------------------


def say(text: str) -> None:
    """One line."""
    sys.stdout.write(f"{datetime.now(UTC):%H:%M:%S} {text}\n")
    sys.stdout.flush()


def shard(seed: int, kills: int, base: Path, postgres: bool) -> Left:
    """One shard from an empty database to the check."""
    folder = base / f"shard-{seed}"
    folder.mkdir()
    with ExitStack() as stack:
        url = f"sqlite:///{folder / 'q.db'}"
        if postgres:
            url = stack.enter_context(scratch_database(f"kill-{os.getpid()}-{seed}"))
        left = _shard(seed, kills, folder, url)
    shutil.rmtree(folder)
    return left


def _shard(seed: int, kills: int, folder: Path, url: str) -> Left:
    here, there = get_context("spawn").Pipe()
    start = time.monotonic()
    outside = get_context("spawn").Process(target=serve_world, args=(there,), daemon=True)
    outside.start()
    ports: dict[str, Any] = here.recv()
    run = Run(folder, _bundle(folder, ports), max(20, kills // 8), url, begun=start)
    db = run.open()
    upgrade(db.engine)
    # what a house writes once when it is new would fill many a short life
    job.tick(db, run.bundle, KEYS, run.now())
    db.close()
    begun = time.monotonic()
    faults = kill_all(run, random.Random(seed), kills)
    spent = time.monotonic() - begun
    drain(run)
    world = _world(here)
    left = check(run, world)
    if left.incidents < run.enough or not left.arrived:
        left.wrong.append(f"only {left.incidents} incidents, {left.arrived} messages: nothing was proved")
    if faults:
        left.wrong.append(f"{faults} lives ended by themselves")
    say(
        f"seed {seed}: {kills} kills in {spent:.0f} s, {left.incidents} incidents, {left.pages} pages, "
        f"{left.arrived} messages arrived, {left.events} events, repeats {dict(left.repeats)}, wrong {len(left.wrong)}"
    )
    outside.terminate()
    outside.join()
    return left


def _world(here: Connection) -> World:
    here.send("dump")
    return World.of(json.loads(here.recv()))


def _bundle(folder: Path, ports: dict[str, Any]) -> Bundle:
    return bundle_for(
        folder,
        slack=ports["slack"],
        mail_port=ports["mail"],
        routes=ROUTES.format(channels=", ".join(ports["channels"])),
        roster=ROSTER.replace(".example}", ".example, feishu_user: lin}", 1)
        .replace("he@jinan.example}", "he@jinan.example, feishu_user: he}")
        .replace("zhou@jinan.example}", "zhou@jinan.example, feishu_user: zhou}"),
        more=ports["more"],
        send_timeout_s=2.0,
    )


def cli() -> int:
    """Run the proof; 0 if everything held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="kills of one shard")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--seed", type=int, default=20261127)
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL server instead of SQLite")
    given = parser.parse_args()
    bad = 0
    with tempfile.TemporaryDirectory(prefix="quansheng-pages-") as base:
        for number in range(given.shards):
            left = shard(given.seed + number, given.kills, Path(base), given.postgres)
            for line in left.wrong[:10]:
                say(f"WRONG: {line}")
            bad += len(left.wrong)
    say("Proved: no page lost, none early, none twice unmarked." if not bad else f"{bad} promises broken.")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(cli())
