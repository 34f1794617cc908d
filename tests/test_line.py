"""Writers of one SQLite file come in the order of their calls: a job that always has another batch keeps no person waiting.

Counted in batches, never in seconds. `Hungry` writes one batch after the other and holds each until it has seen somebody in line
(as a long batch would, only without its work), so every case here is the worst one.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from analysis import job
from analysis.judge import JudgeInput, JudgeOutput
from config.bundle import load_bundle
from incidents import events, line, posts
from incidents import session as session_module
from incidents.posts import save_posts
from incidents.session import Database, Session, others_wait
from incidents.trouble import DatabaseTrouble
from tests.conftest import AUDIT_KEY, PostFactory
from tests.console_world import World, client, hidden, world

#: batches that the hungry writer has ready
BATCHES = 50
_BUMP = text(
    "INSERT INTO meta (key, value) VALUES ('batches', '1') "
    "ON CONFLICT (key) DO UPDATE SET value = CAST(CAST(meta.value AS INTEGER) + 1 AS TEXT)"
)
_COUNT = text("SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'batches'")


def test_who_wants_to_write_an_event_during_a_batch_is_next_on_both_databases(any_db: Database) -> None:
    begun, enough = threading.Event(), threading.Event()

    def write() -> None:
        for number in range(BATCHES):
            if enough.is_set():
                return
            with any_db.transaction() as session:
                note(session, "batch")
                if number == 0:
                    begun.set()
                    while not others_wait(session):
                        pass

    thread = threading.Thread(target=write)
    thread.start()
    begun.wait()
    with any_db.transaction() as session:
        mine = note(session, "person")
    enough.set()
    thread.join()
    assert mine == 2


def note(session: Session, kind: str) -> int:
    """Write an event; its number."""
    now = datetime(2026, 3, 2, tzinfo=UTC)
    return events.append(session, AUDIT_KEY, kind=kind, actor="system", channel="system", now=now).seq


def line_length(db: Database) -> int:
    """The next number that will be drawn."""
    return int.from_bytes(Path(f"{db.place}-line").read_bytes()[:8], sys.byteorder)


def write_on(db: Database, begun: threading.Event, enough: threading.Event, people: int = 1) -> None:
    """Batch after batch without a pause; the first ends when so many people are in line."""
    for number in range(BATCHES):
        if enough.is_set():
            return
        with db.transaction() as session:
            session.execute(_BUMP)
            if number == 0:
                full = line_length(db) + people
                begun.set()
                while not enough.is_set() and not (others_wait(session) and line_length(db) >= full):
                    pass


@contextmanager
def hungry(db: Database, people: int = 1) -> Iterator[None]:
    """A job of this process that is in the middle of its first batch."""
    begun, enough = threading.Event(), threading.Event()
    thread = threading.Thread(target=write_on, args=(db, begun, enough, people))
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        enough.set()
        thread.join()


@contextmanager
def hungry_process(url: str) -> Iterator[subprocess.Popen[str]]:
    """The same in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.test_line", url],
        stdout=subprocess.PIPE,
        stdin=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "in its first batch\n"
    try:
        yield process
    finally:
        process.communicate("enough\n")


def batches_before(db: Database) -> int:
    """How many batches were written before a person's transaction had its turn."""
    with db.transaction() as session:
        return int(session.scalar(_COUNT) or 0)


def test_who_comes_during_a_batch_is_next_in_one_process(db: Database) -> None:
    with hungry(db):
        assert batches_before(db) == 1


def test_who_comes_during_a_batch_is_next_across_processes(db: Database) -> None:
    with hungry_process(db.url):
        assert batches_before(db) == 1


def test_a_batch_longer_than_the_busy_timeout_refuses_nobody(
    sqlite_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    hasty = Database(sqlite_db.url, audit_key=AUDIT_KEY, busy_timeout_s=0.001)
    with (
        pytest.raises(DatabaseTrouble, match="does not let go"),
        sqlite_db.transaction(),
        hasty.transaction(),
    ):
        pass  # nobody moves: told, not waited for without end
    monkeypatch.setattr(session_module, "_PATIENCE", 30_000)
    # SQLite itself would give up after a millisecond
    people = Database(sqlite_db.url, audit_key=AUDIT_KEY, busy_timeout_s=0.001)
    seen: list[int] = []
    with hungry(sqlite_db, people=12):
        crowd = [threading.Thread(target=lambda: seen.append(batches_before(people))) for _ in range(12)]
        for person in crowd:
            person.start()
        for person in crowd:
            person.join()
    assert seen == [1] * 12
    hasty.close()
    people.close()


def test_a_program_outside_the_line_keeps_those_in_it_waiting_once_not_once_each(
    sqlite_db: Database, tmp_path: Path
) -> None:
    hasty = Database(sqlite_db.url, audit_key=AUDIT_KEY, busy_timeout_s=0.2)
    turns: list[int] = []
    vain = line.Turn.in_vain
    refusals: list[str] = []

    def come() -> None:
        try:
            with hasty.transaction():
                pass
        except DatabaseTrouble as trouble:
            refusals.append(str(trouble))

    def noted(turn: line.Turn) -> None:
        turns.append(1)
        vain(turn)

    with pytest.MonkeyPatch.context() as patch, closing(sqlite3.connect(sqlite_db.place)) as stranger:
        patch.setattr(line.Turn, "in_vain", noted)
        stranger.execute("BEGIN EXCLUSIVE")
        people = [threading.Thread(target=come) for _ in range(20)]
        for person in people:
            person.start()
        for person in people:
            person.join()
        assert len(refusals) == 20
        assert all("another process has held it" in told for told in refusals)
        # who came late may have to find it out again, but not all twenty one after the other
        assert 1 <= len(turns) <= 5
        stranger.rollback()
    with hasty.transaction() as session:  # and whoever comes afterwards is not held up by what was
        session.execute(_BUMP)
    hasty.close()


def test_numbers_are_served_in_their_order(db: Database) -> None:
    served: list[int] = []

    def come(number: int) -> None:
        with db.transaction():
            served.append(number)

    people = [threading.Thread(target=come, args=(number,)) for number in range(6)]
    with db.transaction():
        for person in people:
            before = line_length(db)
            person.start()
            while line_length(db) == before:
                pass
    for person in people:
        person.join()
    assert served == [0, 1, 2, 3, 4, 5]


def test_nobody_waits_for_a_process_that_was_killed(db: Database) -> None:
    with hungry_process(db.url) as process:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert batches_before(db) == 0  # its batch was never committed


def test_where_no_line_can_be_made_the_database_works_as_before(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(line, "_held", refused)
    with db.transaction() as session:
        session.execute(_BUMP)
        assert not others_wait(session)
    assert batches_before(db) == 1


def refused(*_: object) -> bool:
    """A file system without locks."""
    raise OSError("No locks available")


def test_a_press_of_the_button_comes_after_one_batch_at_most(sqlite_db: Database, tmp_path: Path) -> None:
    town: World = world(sqlite_db, tmp_path)
    town.account("lin", "duty")
    incident = town.incident("小区停水无人处理", ["停水了，没人管", "又停水了"], domain="housing")
    browser: httpx.Client = client(town, "lin")
    desk = browser.get("/").text
    with hungry_process(sqlite_db.url):
        path = f"/incidents/{incident.number}/ack"
        answer = browser.post(path, data=hidden(desk, path), headers={"Origin": "http://console.test"})
        with sqlite_db.reading() as session:
            written = int(session.scalar(_COUNT) or 0)
    assert answer.status_code == 303
    assert "done=ack" in answer.headers["location"]
    # its transaction came after the first batch; the answer is read a moment later, when one more may be through
    assert 1 <= written <= BATCHES


def test_a_long_batch_of_the_analysis_ends_early_when_somebody_waits(
    sqlite_db: Database, tmp_path: Path, post: PostFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(None)
    with sqlite_db.transaction() as session:
        ids = save_posts(session, [post(text=f"历下区某小区第{n}天停水，没人管") for n in range(90)]).ids
    looks: list[int] = []

    def waits_once(session: object) -> bool:
        looks.append(len(looks))
        return len(looks) == 2

    monkeypatch.setattr(job, "others_wait", waits_once)
    judged: list[int] = []
    judge = job.judge_for(bundle)
    whole = judge.judge_batch

    def counting(items: list[JudgeInput]) -> list[JudgeOutput]:
        judged.extend(item.id for item in items)
        return whole(items)

    monkeypatch.setattr(type(judge), "judge_batch", lambda _self, items: counting(items))
    now = post(text="").published_at
    first = job.run(sqlite_db, bundle, now, max_batches=1)
    assert first.posts == 2 * job.SLICE  # what was done is committed, the rest is left
    with sqlite_db.reading() as session:
        assert len(posts.unjudged(session, 200)) == 90 - 2 * job.SLICE
    looks.clear()
    summary = job.run(sqlite_db, bundle, now)
    assert (summary.posts, summary.batches) == (90 - 2 * job.SLICE, 2)
    assert sorted(set(judged)) == sorted(ids)
    # within one call nothing is judged twice: 90 the first time, then the 50 that were left
    assert len(judged) == 90 + 50


if __name__ == "__main__":
    told = threading.Event()
    stop = threading.Event()

    def tell() -> None:
        told.wait()
        sys.stdout.write("in its first batch\n")
        sys.stdout.flush()

    def listen() -> None:
        sys.stdin.readline()
        stop.set()

    for work in (tell, listen):
        threading.Thread(target=work, daemon=True).start()
    write_on(Database(sys.argv[1], audit_key=AUDIT_KEY), told, stop)
