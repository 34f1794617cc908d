"""The metronome holds nothing, goes on after a bad beat, and a hung process ends."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import heap
import scheduler
from config.settings import Settings
from incidents import beats, rota
from incidents.installation import Installation, Problem, open_installation
from incidents.trouble import DatabaseTrouble
from reports.job import due_at
from spiders import evidence_job
from spiders.evidence_job import EvidenceSummary

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Installation]:
    """An installation with packaged defaults and a database of its own."""
    (tmp_path / "quansheng.toml").write_text("")
    found = open_installation(tmp_path / "quansheng.toml", console={"port": 0})
    yield found
    found.db.close()


def job(name: str, work: Callable[[], object], seconds: float = 60) -> scheduler.Job:
    return scheduler.Job(name, lambda home, clock: work(), scheduler.every(seconds))


def test_the_stages_stand_in_the_order_of_a_post_s_way() -> None:
    assert [item.name for item in scheduler.JOBS] == [
        "crawl",
        "intake",
        "judge",
        "replies",
        "evidence",
        "tick",
        "send",
        "watch",
        "topics",
        "weekly",
        "accountability",
        "evaluate",
        "backtest",
        "copy",
        "purge",
        "index",
    ]


def test_a_job_runs_when_its_time_has_come_and_missed_times_are_one_run(home: Installation) -> None:
    seen: list[datetime] = []
    metronome = scheduler.Metronome(
        home, START, [scheduler.Job("it", lambda home, clock: seen.append(clock()), scheduler.every(600))]
    )
    metronome.advance(START + timedelta(seconds=30))
    first = len(seen)
    assert first == 1
    metronome.advance(START + timedelta(hours=3))
    assert len(seen) == first + 1, "eighteen missed times are one run"
    metronome.advance(START + timedelta(hours=3, seconds=1))
    assert len(seen) == first + 1, "it is not due again yet"
    metronome.advance(START + timedelta(hours=3, seconds=601))
    assert len(seen) == first + 2
    assert seen[-1] == START + timedelta(hours=3, seconds=601)


def test_a_stage_that_fails_is_told_and_does_not_stop_the_next(home: Installation) -> None:
    told: list[str] = []

    def broken() -> object:
        raise RuntimeError("no disk")

    good = scheduler.run_once(
        home, lambda: START, told.append, [job("first", broken), job("second", lambda: "done")]
    )
    assert not good
    assert told[0].startswith("first: failed: no disk")
    assert told[1].startswith("second: done")


def test_a_job_that_raises_runs_again(home: Installation) -> None:
    twice = threading.Event()
    calls: list[int] = []

    def broken() -> object:
        calls.append(1)
        if len(calls) == 2:
            twice.set()
        raise SystemError("bad beat")

    house = scheduler.House(home, lambda: datetime.now(UTC), [job("broken", broken, 0.05)])
    house.start()
    try:
        assert twice.wait(10), "the metronome died of one bad beat"
    finally:
        house.stop()


def test_a_stage_that_went_well_leaves_a_sign_of_life(home: Installation) -> None:
    ran = threading.Event()
    again = threading.Event()

    def work() -> object:
        if ran.is_set():
            again.set()
        ran.set()
        return None

    house = scheduler.House(home, lambda: START, [job("tick", work, 0.05)])
    house.start()
    try:
        assert again.wait(10)
    finally:
        house.stop()
    with home.db.reading() as session:
        beat = beats.get_beat(session, "job:tick")
    assert beat is not None
    assert beat.ok_at == START


class FakeTime:
    """A monotonic and a wall clock, moved by hand."""

    def __init__(self) -> None:
        self.monotonic = 100.0
        self.wall = 1_000_000.0

    def pass_(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds


def watched(time: FakeTime) -> tuple[scheduler.Watchdog, list[float], list[float]]:
    expired: list[float] = []
    jumps: list[float] = []
    dog = scheduler.Watchdog(
        expired.append, jumps.append, limit_s=30, monotonic=lambda: time.monotonic, wall=lambda: time.wall
    )
    return dog, expired, jumps


def test_the_watchdog_bites_only_when_the_tick_is_silent_for_too_long() -> None:
    time = FakeTime()
    dog, expired, _ = watched(time)
    for _ in range(10):
        time.pass_(29)
        dog.check()
        dog.alive()
    assert expired == []
    time.pass_(31)
    dog.check()
    assert expired == [31]


def test_a_wall_clock_that_is_set_back_is_noticed_once_and_bites_nobody() -> None:
    time = FakeTime()
    dog, expired, jumps = watched(time)
    time.pass_(1)
    time.wall -= 3600
    dog.check()
    time.pass_(1)
    dog.check()
    assert [round(jump) for jump in jumps] == [3600]
    time.wall += 3600
    dog.check()
    assert len(jumps) == 1, "a clock set forward makes jobs run earlier, not later"
    assert expired == []


def test_a_hung_process_ends_with_code_70() -> None:
    code = (
        "import scheduler; "
        "dog = scheduler.Watchdog(lambda s: scheduler.end_process('tick', s), print, limit_s=0.2); dog.start(); "
        "import threading; threading.Event().wait(60)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert done.returncode == scheduler.EXIT_HUNG, done.stderr.decode()


def test_tick_every_sender_and_the_watch_have_a_watchdog_and_a_failure_is_no_life(
    home: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    time = FakeTime()
    ended: list[tuple[str, float]] = []
    cried: list[tuple[str, str]] = []
    monkeypatch.setattr(scheduler, "end_process", lambda job, silent: ended.append((job, silent)))
    monkeypatch.setattr(
        "alerts.last_resort.cry", lambda bundle, text, now, without, *, kind: cried.append((kind, text))
    )
    house = scheduler.House(home, lambda: START, wall=lambda: time.wall, monotonic=lambda: time.monotonic)
    assert set(house._watchdogs) == {"tick", "send:folder", "watch"}

    def fail() -> object:
        raise Problem("the disk is full")

    limits = {"tick": 30.0, "send:folder": 180.0, "watch": 180.0}
    for _ in range(4):
        time.pass_(29)
        for name in limits:
            house._guarded(job(name, lambda: None))
            house._watchdogs[name].check()
    assert ended == []
    for name, limit in limits.items():
        house._guarded(job(name, fail))
        time.pass_(limit + 1)
        house._watchdogs[name].check()
        assert ended.pop()[0] == name
        kind, text = cried.pop()
        assert kind == name
        assert "the disk is full" in text


def test_the_last_cry_goes_to_who_stood_in_when_the_watch_last_looked(
    home: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    cried: list[str] = []
    monkeypatch.setattr(scheduler, "end_process", lambda job, silent: None)
    monkeypatch.setattr(
        "alerts.last_resort.cry",
        lambda bundle, *_, **__: cried.append(bundle.roster.on_duty(START, "primary").person.id),
    )
    watch = next(item for item in scheduler.JOBS if item.name == "watch")
    house = scheduler.House(home, lambda: START)
    house._hung("tick", 31)
    person = home.bundle.roster.on_duty(START, "primary").person.id
    other = next(found.id for found in home.bundle.roster.people if found.id != person)
    with home.db.transaction() as session:
        rota.add(
            session,
            kind="override",
            role="primary",
            person=person,
            stand_in=other,
            start=START - timedelta(hours=1),
            until=START + timedelta(hours=1),
            reason="看病",
            by="x",
            channel="console",
            now=START,
        )
    house._guarded(watch)
    house._hung("tick", 31)
    assert cried == [person, other]


def test_what_stays_is_looked_through_by_no_collection_again(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    stop = threading.Event()

    def wait(_: float) -> bool:
        looks.append(1)
        return len(looks) > 8

    monkeypatch.setattr(stop, "wait", wait)
    monkeypatch.setattr("scheduler.time.monotonic", lambda: float(len(looks)))
    frozen = gc.get_freeze_count()
    try:
        scheduler.until(stop)
        assert gc.get_freeze_count() > frozen + 10_000  # of this process: modules, at least
    finally:
        gc.unfreeze()


def test_threads_share_two_heaps() -> None:
    """Forty threads that each keep a little would hold sixteen heaps on two cores."""
    code = (
        "import sys, threading, re; import heap; heap.few() if sys.argv[1] == 'few' else None\n"
        "kept, go = [], threading.Barrier(41)\n"
        "def work(): kept.append([object() for _ in range(20000)]); go.wait()\n"
        "threads = [threading.Thread(target=work) for _ in range(40)]\n"
        "[t.start() for t in threads]; go.wait(); [t.join() for t in threads]\n"
        # a heap of a thread is a mapping of 64 MB that is mostly closed
        "print(sum('---p' in line for line in open('/proc/self/maps')))"
    )

    def closed(how: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", code, how],
            capture_output=True,
            text=True,
            check=True,
            cwd=Path(heap.__file__).parent,
        )
        return int(done.stdout)

    assert closed("few") < closed("many")


def test_the_last_cry_of_a_job_that_hangs_says_what_others_fail_of(
    home: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    cried: list[str] = []
    monkeypatch.setattr(scheduler, "end_process", lambda job, silent: None)
    monkeypatch.setattr("alerts.last_resort.cry", lambda _bundle, text, *_, **__: cried.append(text))

    def fail() -> None:
        raise DatabaseTrouble("quansheng.db: another process has held it for too long")

    house = scheduler.House(home, lambda: START)
    house._hung("tick", 31)
    house._guarded(job("copy", fail, 60))
    house._hung("tick", 31)
    assert "没有响应" in cried[0]
    assert "another process" in cried[1]


def test_ten_jobs_that_hang_do_not_keep_the_tick_waiting(home: Installation) -> None:
    hung, ticked = threading.Event(), threading.Event()
    jobs = [job(f"slow{n}", lambda: hung.wait(60), 0.05) for n in range(14)]
    house = scheduler.House(home, lambda: START, [*jobs, job("tick", ticked.set, 0.05)])
    house.start()
    try:
        ticked.wait(10)
        ticked.clear()
        assert ticked.wait(10), "no thread was left for the tick"
    finally:
        hung.set()
        house.stop()


def test_one_data_folder_has_one_running_process(tmp_path: Path) -> None:
    refused = pytest.raises(Problem, match=f"process {os.getpid()}")
    with scheduler.alone(tmp_path), refused, scheduler.alone(tmp_path):
        pytest.fail("a second one was let in")
    with scheduler.alone(tmp_path):
        pass  # free again


def test_a_port_in_use_is_one_sentence_with_the_cure(home: Installation) -> None:
    first = scheduler.ConsoleServer(home, lambda: START)
    first.start()
    try:
        port = int(first.address.rsplit(":", 1)[1])
        taken = home.settings.console.model_copy(update={"port": port})
        with pytest.raises(Problem, match=r"cannot listen on 127\.0\.0\.1.*set console\.port.*free one"):
            scheduler.listen(taken.host, taken.port)
    finally:
        first.stop()


@pytest.mark.parametrize(
    ("now", "due"),
    [
        ("2026-03-02T08:06:00+08:00", "2026-02-23T08:07:00+08:00"),  # Monday, a minute early
        ("2026-03-02T08:07:00+08:00", "2026-03-02T08:07:00+08:00"),
        ("2026-03-08T23:59:00+08:00", "2026-03-02T08:07:00+08:00"),
        ("2026-03-02T00:07:00+00:00", "2026-03-02T08:07:00+08:00"),  # the same Monday, told in UTC
    ],
)
def test_the_weekly_report_is_due_at_the_city_s_own_time(now: str, due: str) -> None:
    found = due_at(Settings.model_construct(), "weekly", datetime.fromisoformat(now))
    assert found == datetime.fromisoformat(due)


def test_a_new_house_writes_no_report_about_the_time_before_it(home: Installation) -> None:
    weekly = next(item for item in scheduler.JOBS if item.name == "weekly")
    wednesday = datetime.fromisoformat("2026-03-04T10:00:00+08:00")
    assert weekly.work(home, lambda: wednesday) is None
    assert weekly.work(home, lambda: wednesday + timedelta(days=4)) is None
    done = weekly.work(home, lambda: wednesday + timedelta(days=5))
    assert done is not None
    assert "2026-W10" in scheduler.summary(done)
    assert weekly.work(home, lambda: wednesday + timedelta(days=5, hours=1)) is None, "it is sent once"


def test_run_serves_the_console_and_stops_cleanly_on_sigterm(tmp_path: Path) -> None:
    (tmp_path / "quansheng.toml").write_text("[console]\nport = 0\n")
    child = subprocess.Popen(
        [sys.executable, "-m", "cli", "-c", str(tmp_path), "run"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(scheduler.__file__).parent,
    )
    killer = threading.Timer(60, child.kill)
    killer.start()
    try:
        assert child.stdout is not None
        lines: list[str] = []
        for line in child.stdout:
            lines.append(line)
            if "Ctrl-C stops" in line:
                break
        child.send_signal(signal.SIGTERM)
        rest, errors = child.communicate(timeout=60)
    finally:
        killer.cancel()
        child.kill()
    assert child.returncode == 0, errors
    assert "password:" in "".join(lines)
    assert "http://127.0.0.1:" in "".join(lines)
    assert "Stopped." in rest
    assert "Traceback" not in errors


def test_a_purge_waits_for_the_evidence_folder_and_cries_when_it_stays_shut(
    home: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [EvidenceSummary(trouble="another process is working in the evidence folder")] * 2
    monkeypatch.setattr(evidence_job, "sweep", lambda *_: answers.pop(0) if answers else EvidenceSummary())
    monkeypatch.setattr(scheduler, "SWEEP_PAUSE_S", 0.0)
    assert scheduler._purge(home, lambda: START)
    assert answers == []
    answers += [EvidenceSummary(trouble="evidence: Permission denied")] * 9
    with pytest.raises(Problem, match=r"Permission denied; `quansheng purge`"):
        scheduler._purge(home, lambda: START)
    assert len(answers) == 9 - scheduler.SWEEPS
