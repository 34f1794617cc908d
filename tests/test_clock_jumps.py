"""G9: the clock is set forward and back at random, on hosts in six zones: nothing early, nothing lost, nothing late after the jump."""

from __future__ import annotations

import ast
import os
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apscheduler.executors.base
import apscheduler.schedulers.base
import pytest
from apscheduler.executors.debug import DebugExecutor
from apscheduler.schedulers.base import BaseScheduler
from sqlalchemy import text

import alerts.job
import scheduler
from incidents import outbox
from incidents.installation import Installation
from incidents.posts import NewPost
from incidents.session import Database
from tests.alert_office import KEYS, Office, bundle_for

JUMPS = 34
TICK_S = 2.0
#: host zone, and a moment just before its clocks change
ZONES = {
    "Asia/Shanghai": "2026-11-24T07:10",
    "America/New_York": "2026-11-01T05:58",
    "Europe/London": "2026-10-25T00:58",
    "Australia/Lord_Howe": "2026-10-03T15:28",
    "Asia/Kolkata": "2026-11-24T07:10",
    "Pacific/Apia": "2026-11-24T10:00",
}


class Hand(BaseScheduler):
    """APScheduler without its thread: the test is the thread."""

    woken = False

    def wakeup(self) -> None:
        """As the real one: look at once."""
        self.woken = True

    def shutdown(self, wait: bool = True) -> None:
        """Nothing runs."""
        super().shutdown(wait)

    def beat(self) -> float:
        """Run what is due; seconds until the next look, as the real loop would wait them."""
        found = self._process_jobs()
        return 3600.0 if found is None else float(found)


class World:
    """A wall clock that is set by hand and a monotonic one that is not."""

    def __init__(self, start: datetime) -> None:
        self.monotonic = 1000.0
        self.wall = start.timestamp()

    def pass_(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.wall, UTC)


@pytest.fixture
def host_zone(request: pytest.FixtureRequest) -> Iterator[str]:
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


def clockwork(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """APScheduler reads this world's clock."""

    class Now(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.fromtimestamp(world.wall, tz)

    for module in (apscheduler.schedulers.base, apscheduler.executors.base):
        monkeypatch.setattr(module, "datetime", Now)


@pytest.mark.parametrize("host_zone", ZONES, indirect=True)
def test_jumps_of_the_clock_make_nothing_early_lost_or_late(
    host_zone: str,
    db: Database,
    tmp_path: Path,
    post: Callable[..., NewPost],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = random.Random(host_zone)
    world = World(datetime.fromisoformat(ZONES[host_zone]).replace(tzinfo=UTC))
    bundle = bundle_for(tmp_path)
    office = Office(db, bundle, now=world.now())
    for number in range(4):
        office.detect(post, title=f"第{number}件事")
    with db.transaction() as session:
        for number in range(120):
            when = world.now() + timedelta(seconds=rng.uniform(-3600, 5 * 86400))
            outbox.enqueue(
                session,
                id=f"00000000-0000-5000-8000-{number:012d}",
                incident_id=None,
                kind="report",
                recipient=f"r{number}@jinan.example",
                channel="folder",
                message={"subject": "x", "text": "x"},
                now=world.now(),
                not_before=when,
            )
    clockwork(world, monkeypatch)
    ticks: list[float] = []

    def tick(home: Installation, clock: scheduler.Clock) -> object:
        ticks.append(world.monotonic)
        return tick_job.work(home, clock)

    tick_job, send_job = (job for job in scheduler.JOBS if job.name in ("tick", "send"))
    house = scheduler.House(
        Installation(db, bundle, KEYS),
        world.now,
        [scheduler.Job("tick", tick, scheduler.every(TICK_S)), send_job],
        wall=lambda: world.wall,
        monotonic=lambda: world.monotonic,
    )
    hand = Hand(timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1})
    hand.add_executor(DebugExecutor(), "default")
    monkeypatch.setattr(house, "_scheduler", hand)
    monkeypatch.setattr(scheduler.Watchdog, "start", lambda dog: dog.alive())
    monkeypatch.setattr(
        scheduler, "end_process", lambda job, silent: pytest.fail(f"{job} silent for {silent} s")
    )
    house.start()
    (dog,) = (dog for name, dog in house._watchdogs.items() if name == "tick")
    late = run(world, hand, dog, rng, ticks)
    world.wall += 12 * 86400
    run(world, hand, dog, rng, ticks, jumps=0)
    assert max(late) <= TICK_S
    check_rows(db, world)


def run(
    world: World,
    hand: Hand,
    dog: scheduler.Watchdog,
    rng: random.Random,
    ticks: list[float],
    jumps: int = JUMPS,
) -> list[float]:
    """Let time pass with `jumps` of the clock; for each, the seconds until the next tick."""
    look_at, check_at = world.monotonic, world.monotonic + 1.0
    jump_at = world.monotonic + rng.uniform(2, 12)
    jumped: list[float] = []
    end = world.monotonic + 10 if jumps == 0 else float("inf")
    while len(jumped) < jumps or world.monotonic < (end if jumps == 0 else jumped[-1] + 5):
        at = min(look_at, check_at, jump_at if len(jumped) < jumps else float("inf"))
        world.pass_(max(0.0, at - world.monotonic))
        if at == jump_at and len(jumped) < jumps:
            size = rng.choice((1, 10, 60, 3600, 86400, rng.uniform(1, 90000)))
            world.wall += rng.choice((-1, 1, 1)) * size
            jumped.append(world.monotonic)
            jump_at = world.monotonic + rng.uniform(2, 12)
        elif at == check_at:
            dog.check()
            check_at = world.monotonic + 1.0
        else:
            look_at = world.monotonic + hand.beat()
        if hand.woken:
            hand.woken, look_at = False, world.monotonic
    return [min(tick for tick in ticks if tick >= jump) - jump for jump in jumped] or [0.0]


def check_rows(db: Database, world: World) -> None:
    """Nothing before its time, nothing left over."""
    with db.engine.connect() as connection:
        early = connection.execute(
            text("SELECT count(*) FROM outbox WHERE kind = 'report' AND sent_at < not_before")
        ).scalar_one()
        early += connection.execute(
            text("SELECT count(*) FROM timer WHERE result = 'fired' AND done_at < due_at")
        ).scalar_one()
        early += connection.execute(
            text("SELECT count(*) FROM deadline WHERE overdue_noticed_at < due_at")
        ).scalar_one()
        lost = connection.execute(
            text("SELECT count(*) FROM outbox WHERE kind = 'report' AND state <> 'sent'")
        ).scalar_one()
        now = world.now().replace(tzinfo=None).isoformat(" ")
        lost += connection.execute(
            text("SELECT count(*) FROM timer WHERE done_at IS NULL AND due_at < :now"), {"now": now}
        ).scalar_one()
        lost += connection.execute(
            text(
                "SELECT count(*) FROM deadline WHERE state = 'open' AND overdue_noticed_at IS NULL AND due_at < :now"
            ),
            {"now": now},
        ).scalar_one()
        worked = connection.execute(text("SELECT count(*) FROM timer WHERE done_at IS NOT NULL")).scalar_one()
    assert (early, lost) == (0, 0)
    assert worked >= 12


def test_a_try_that_waits_does_not_wait_for_the_old_time_of_day(
    db: Database, tmp_path: Path, post: Callable[..., NewPost]
) -> None:
    bundle = bundle_for(tmp_path, mail_port=1)  # nobody listens there
    office = Office(db, bundle).detect(post)
    office.work()
    (waiting,) = [row for row in office.messages("page") if row.state == "pending"]
    office.later(days=-1)
    assert waiting.not_before > office.now + timedelta(hours=23)
    assert alerts.job.clock_set_back(db, office.now) == 1
    (waiting,) = [row for row in office.messages("page") if row.state == "pending"]
    assert waiting.not_before <= office.now + timedelta(minutes=15)


# --- nobody reads the clock on his own ------------------------------------------------------------------------------

ROOT = Path(scheduler.__file__).parent
ROOMS = ("config", "incidents", "spiders", "analysis", "alerts", "reports", "console", "demo", "commands")


def sources() -> Iterator[Path]:
    for room in ROOMS:
        yield from sorted((ROOT / room).rglob("*.py"))
    yield from (ROOT / name for name in ("scheduler.py", "cli.py", "replay.py"))


def test_no_source_takes_a_naive_time_or_asks_the_database_for_one() -> None:
    wrong = []
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            where = f"{file.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                name = node.func.attr
                of = ast.unparse(node.func.value)
                datelike = of.split(".")[-1] in ("datetime", "date")
                if datelike and (name in ("utcnow", "today", "utcfromtimestamp")):
                    wrong.append(f"{where}: {of}.{name}()")
                if datelike and name == "now" and not node.args and not node.keywords:
                    wrong.append(f"{where}: {of}.now() without a zone")
                if datelike and name == "fromtimestamp" and len(node.args) < 2 and not node.keywords:
                    wrong.append(f"{where}: {of}.fromtimestamp() without a zone")
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                small = node.value.lower()
                if any(
                    word in small
                    for word in ("datetime('now", "current_timestamp", "strftime('%s','now", "now()")
                ):
                    wrong.append(f"{where}: {node.value[:60]!r}")
    assert wrong == []
