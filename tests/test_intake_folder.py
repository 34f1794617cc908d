"""A watched folder: what is finished goes in once, what cannot be read is told and put aside, and no crash loses or doubles a row."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from alerts.resolver import ways_in
from commands.check import check_mappings, check_warnings
from config.settings import ConfigError
from config.sources import FolderSource
from incidents import stops
from incidents.posts import list_quarantine, unjudged
from incidents.session import Database, Session
from incidents.sources import get_state
from spiders import importer, pipelines, tables
from spiders.importer import retry_set_aside
from spiders.intake import folder as module
from spiders.intake import job, reading
from spiders.intake.mapping import mapping_of_origin
from tests.console_world import KEYS, World, world

NOW = datetime(2026, 11, 29, 4, 0, tzinfo=UTC)
HEADER = "工单编号,来电时间,诉求内容,区县,联系电话,姓名"
NOTES: dict[str, Any] = {
    "legal_basis": "法定职责",
    "impact_note": "本单位数据",
    "owner_unit": "市热线办",
}


def orders(*numbers: int, text: str = "停水第{}天") -> str:
    rows = [f"G{n},2026-11-28 09:{n % 60:02},{text.format(n)},历下区,13812345678,张三" for n in numbers]
    return "\n".join([HEADER, *rows]) + "\n"


class Town:
    """A city with one watched folder, at a time that a test moves."""

    def __init__(self, db: Database, tmp_path: Path, **fields: Any) -> None:
        self.db, self.root = db, tmp_path
        self.box = tmp_path / "box"
        self.box.mkdir(exist_ok=True)
        values: dict[str, Any] = {"folder": "box", "way": "hotline", "name": "12345工单", "enabled": True}
        self.source = FolderSource(id="orders", kind="folder", **(NOTES | values | fields))
        town: World = world(db, tmp_path)
        self.bundle = replace(town.bundle, sources=(self.source,))
        self.now = NOW

    def drop(self, name: str, content: str | bytes) -> Path:
        path = self.box / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def look(self) -> Any:
        """One look, whether due or not."""
        summary = job.run(self.db, self.bundle, KEYS, self.now, only=["orders"], due=False)
        return summary.sources[0]

    def looks(self) -> Any:
        """One look that notices what lies there, and one a minute later, when it is finished."""
        self.look()
        self.now += timedelta(minutes=1)
        return self.look()

    def names(self, where: str = "") -> list[str]:
        folder = self.box / where
        return sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []

    def report(self, where: str) -> dict[str, Any]:
        found = next(name for name in self.names(where) if name.endswith(".report.json"))
        report: dict[str, Any] = json.loads((self.box / where / found).read_text())
        return report

    def texts(self) -> list[str]:
        with self.db.reading() as session:
            return [row.text for row in unjudged(session, 10_000)]


@pytest.fixture
def town(db: Database, tmp_path: Path) -> Town:
    return Town(db, tmp_path)


def test_a_finished_file_goes_in_and_is_filed_with_its_report(any_db: Database, tmp_path: Path) -> None:
    town = Town(any_db, tmp_path)
    town.drop("工单.csv", orders(1, 2) + "G3,什么时候,停电,历下区,13912345678,李四\n")
    first = town.look()
    assert (first.state, town.texts()) == ("unchanged", []), first
    assert "1 files are waited for until they are finished" in first.evidence
    town.now += timedelta(seconds=10)
    done = town.look()
    assert (done.state, done.new_posts, done.set_aside) == ("ok", 2, 1)
    assert "row 4, 来电时间" in done.evidence
    assert town.texts() == ["停水第1天", "停水第2天"]
    assert town.names() == []
    assert [name for name in town.names("done") if not name.endswith(".json")] == ["20261129-120010_工单.csv"]
    report = town.report("done")
    assert (report["file"], report["state"], report["rows"], report["new posts"]) == (
        "工单.csv",
        "taken",
        3,
        2,
    )
    assert report["bad rows"] == [
        {
            "row": 4,
            "field": "来电时间",
            "reason": "'什么时候' is no time that can be read; expected for example 2026-11-20 09:30",
        }
    ]
    with any_db.reading() as session:
        aside = list_quarantine(session)
        view = get_state(session, "orders")
        sources = {row.source_id for row in unjudged(session, 10)}
    assert (view.posts_total, view.last_new_post_at) == (2, town.now)
    everything = json.dumps(report, ensure_ascii=False) + repr(aside) + repr(view)
    assert not any(secret in everything for secret in ("13912345678", "13812345678", "李四", "张三"))
    assert ways_in(town.bundle, sources) == ("hotline",), "the clocks of the hotline run"


def test_a_file_that_grows_is_not_read(town: Town) -> None:
    path = town.drop("a.csv", orders(1))
    town.look()
    for n in range(2, 5):
        town.now += timedelta(minutes=1)
        with path.open("a") as stream:
            stream.write(orders(n).partition("\n")[2])
        assert town.look().new_posts == 0
    town.now += timedelta(minutes=1)
    assert town.look().new_posts == 4


def test_the_next_look_at_an_unfinished_file_comes_soon(town: Town) -> None:
    town.drop("a.csv", orders(1))
    assert town.look().new_posts == 0
    town.now += timedelta(seconds=10)
    done = job.run(town.db, town.bundle, KEYS, town.now).sources
    assert [one.new_posts for one in done] == [1]


@pytest.mark.parametrize(
    "name", ["a.csv.part", "a.tmp", ".hidden.csv", "~$a.xlsx", ".~lock.a.csv#", "a.filepart"]
)
def test_what_is_no_delivery_is_left_alone(town: Town, name: str) -> None:
    town.drop(name, orders(1))
    assert town.looks().state == "unchanged"
    assert (town.names(), town.texts()) == ([name], [])


def test_the_same_content_again_is_told_and_changes_nothing(town: Town) -> None:
    town.drop("a.csv", orders(1, 2))
    town.looks()
    town.drop("b.csv", orders(1, 2))
    again = town.looks()
    assert again.new_posts == 0
    assert "the same content was taken at 2026-11-29 12:01 as a.csv" in again.evidence
    assert len(town.texts()) == 2
    assert len([name for name in town.names("done") if name.endswith("b.csv")]) == 1


def test_one_name_every_day_loses_no_bad_row(town: Town) -> None:
    for day in (1, 2):
        town.drop(
            "export.csv",
            f"{HEADER}\nG{day},什么时候,停电第{day}次,历下区,,\n" + orders(10 + day).partition("\n")[2],
        )
        town.looks()
    with town.db.reading() as session:
        assert len(list_quarantine(session)) == 2
    assert len(town.texts()) == 2


def bomb(path: Path) -> None:
    from zipfile import ZIP_DEFLATED, ZipFile

    with (
        ZipFile(path, "w", ZIP_DEFLATED) as packed,
        packed.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as part,
    ):
        for _ in range(1100):
            part.write(b" " * 1_000_000)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "empty (0 bytes)"),
        ("a.zip", b"PK\x03\x04 and more", "an archive; unpack it"),
        ("a.csv", b"PK\x03\x04\x14\x00\x06\x00", "under the name .csv"),
        ("a.csv", b"a,b\xff\xff\n" * 9, "not readable as text"),
        ("a.csv", "列一,列二\n1,2\n".encode(), "no header found"),
        ("a.xlsx", b"no workbook at all", "not readable as a workbook"),
        ("a.pdf", b"%PDF-1.7", ".pdf is not known"),
        ("noname", b"x", "without suffix is not known"),
        ("a.json", b'{"a": ', "not JSON"),
        ("a.csv", f"{HEADER}\nG1,什么时候,停电,历下区,,\n".encode(), "none of its 1 rows could be used"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_and_the_others_go_on(
    town: Town, name: str, content: bytes, words: str
) -> None:
    town.drop(name, content)
    bad = town.looks()
    assert (bad.state, bad.new_posts) == ("changed", 0)
    assert words in bad.evidence, bad.evidence
    assert name in bad.evidence
    assert words in town.report("failed")["sentence"]
    assert town.names() == []
    town.drop("good.csv", orders(1))
    good = town.looks()
    assert (good.state, good.new_posts) == ("ok", 1)
    assert "1 files lie in failed/" in good.evidence


def test_the_trouble_stands_until_somebody_has_cleared_it(town: Town) -> None:
    town.drop("a.zip", b"PK\x03\x04")
    town.looks()
    town.now += timedelta(minutes=1)
    later = town.look()
    assert (later.state, "an archive" in later.evidence) == ("changed", True)
    for path in (town.box / "failed").iterdir():
        path.unlink()
    town.now += timedelta(minutes=1)
    assert town.look().state == "unchanged"


def test_a_huge_file_is_not_read(db: Database, tmp_path: Path) -> None:
    town = Town(db, tmp_path, max_file_mb=0.0001)
    town.drop("a.csv", orders(*range(9)))
    assert "more than max_file_mb" in town.looks().evidence
    assert town.texts() == []


def test_a_workbook_that_would_fill_all_memory_is_not_unpacked(town: Town) -> None:
    bomb(town.box / "a.xlsx")
    assert (town.box / "a.xlsx").stat().st_size < 2_000_000
    assert "unpacks to" in town.looks().evidence


def test_a_link_out_of_the_folder_is_not_followed(town: Town) -> None:
    secret = town.root / "secret.csv"
    secret.write_text(orders(1))
    (town.box / "a.csv").symlink_to(secret)
    (town.box / "dead.csv").symlink_to(town.root / "nowhere")
    seen = town.looks()
    assert "a.csv: a link; only files that lie in the folder itself are read" in seen.evidence
    assert town.texts() == []
    assert secret.exists()
    assert town.names() == []


def test_a_pipe_holds_nothing_up(town: Town) -> None:
    os.mkfifo(town.box / "a.csv")
    assert "no regular file" in town.looks().evidence


def test_a_file_without_permission_stays_and_is_told(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.drop("a.csv", orders(1))
    town.drop("b.csv", orders(2))
    true_open = os.open

    def refuse(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if str(path).endswith("a.csv"):
            raise PermissionError(13, "Permission denied")
        return true_open(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", refuse)
    seen = town.looks()
    assert seen.new_posts == 1
    assert "a.csv: cannot be read: Permission denied" in seen.evidence
    alone = town.looks()
    assert (alone.state, town.names()) == ("changed", ["a.csv"])
    monkeypatch.undo()
    assert town.look().new_posts == 1
    assert town.look().state == "unchanged"


def test_a_locked_file_is_waited_for(town: Town) -> None:
    path = town.drop("a.csv", orders(1))
    with path.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert "locked by another program" in town.looks().evidence
        assert town.names() == ["a.csv"]
    town.drop("~$b.xlsx", b"")
    town.drop("b.xlsx", b"PK")
    assert "b.xlsx is open in an office program" in town.looks().evidence
    assert town.texts() == ["停水第1天"]


def test_a_file_written_to_while_it_is_read_is_read_again(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = town.drop("a.csv", orders(*range(900)))
    true_store = reading.store

    def meanwhile(*given: Any, **named: Any) -> None:
        true_store(*given, **named)
        with path.open("a") as stream:
            stream.write(orders(1000).partition("\n")[2])

    monkeypatch.setattr(module, "store", meanwhile)
    seen = town.looks()
    assert "was written to while it was read" in seen.evidence
    assert town.names() == ["a.csv"]
    monkeypatch.undo()
    town.looks()
    assert len(town.texts()) == 901
    assert town.names() == []


@pytest.mark.parametrize("there", [False, True])
def test_a_folder_that_is_not_there_or_cannot_be_filed_in(town: Town, there: bool) -> None:
    if there:
        (town.box / "done").write_text("a file where a folder should be")
        town.drop("a.csv", orders(1))
        seen = town.looks()
        assert "a.csv: cannot be moved to done/" in seen.evidence
        assert "its rows are stored and it is not read again" in seen.evidence
        assert (town.look().new_posts, len(town.texts())) == (0, 1)
        (town.box / "done").unlink()
        town.look()
        report = town.report("done")
        assert (report["state"], report["new posts"]) == ("taken", 1), (
            "the report of the reading, not of the move"
        )
        return
    town.box.rmdir()
    gone = town.look()
    assert (gone.state, "is not there: make it, or mount it again" in gone.evidence) == ("error", True)
    town.box.mkdir()
    assert town.look().state == "unchanged"


def test_old_deliveries_are_deleted_and_reports_stay(town: Town) -> None:
    town.drop("a.csv", orders(1))
    town.drop("a.zip", b"PK\x03\x04")
    town.looks()
    town.now += timedelta(days=31)
    town.look()
    assert [name for name in town.names("done") if name.endswith("a.csv")] == []
    assert len(town.names("done")) == 1
    assert len(town.names("failed")) == 2, "nothing that was not taken is deleted"


def test_a_silent_folder_is_told_like_any_silent_source(db: Database, tmp_path: Path) -> None:
    town = Town(db, tmp_path, stable_s=0)
    for hour in range(24 * 3):
        town.now = NOW + timedelta(hours=hour)
        town.drop(f"{hour}.csv", orders(2 * hour, 2 * hour + 1))
        assert town.look().state == "ok"
    for half in range(1, 48):
        town.now = NOW + timedelta(hours=24 * 3, minutes=30 * half)
        seen = town.look()
        if seen.state == "frozen":
            break
        assert seen.state == "unchanged"
    assert seen.state == "frozen"
    assert "nothing new for" in seen.evidence
    assert 4 <= half / 2 <= 16, "four of its longest gaps at least, and no day"


def test_set_aside_rows_are_tried_again_with_the_profile_of_their_source(town: Town, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        "name: own\ncolumns: {id: [单号], text: [内容], published_at: [时间]}\n"
    )
    town.source = town.source.model_copy(update={"profile": "own.yaml"})
    town.bundle = replace(town.bundle, sources=(town.source,))
    town.drop("a.csv", "单号,内容,时间\nA1,停水,改日\nA2,停电,2026-11-28\n")
    assert town.looks().set_aside == 1
    with town.db.transaction() as session:
        entry = list_quarantine(session)[0]
        from incidents.models import Quarantine

        row = session.get_one(Quarantine, entry.id)
        row.payload = {**row.payload, "时间": "2026-11-27 08:00"}  # as somebody puts it right
    outcome = retry_set_aside(
        town.db,
        None,
        KEYS.pseudonym,
        NOW,
        own=lambda origin: mapping_of_origin(town.bundle.sources, tmp_path, origin),
    )
    assert (outcome.tried, outcome.saved, outcome.still_bad) == (1, 1, ())
    with town.db.reading() as session:
        assert {row.source_id for row in unjudged(session, 10)} == {"orders"}


def test_check_tells_what_is_missing(town: Town, tmp_path: Path) -> None:
    from alerts.calendar import load_calendar

    town.box.rmdir()
    warnings = check_warnings(town.bundle, load_calendar(tmp_path, "Asia/Shanghai"))
    assert any("orders: the folder" in one for one in warnings)
    wrong = town.source.model_copy(update={"profile": "missing.yaml"})
    with pytest.raises(ConfigError, match=r"orders: profile: .*missing\.yaml"):
        check_mappings(replace(town.bundle, sources=(wrong,)))
    town.bundle = replace(town.bundle, sources=(wrong,))
    town.box.mkdir()
    seen = town.look()
    assert (seen.state, "missing.yaml" in seen.evidence) == ("error", True)


def test_workbooks_of_every_kind_are_read(town: Town) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.append(HEADER.split(","))
    book.active.append(["G1", datetime(2026, 11, 28, 9, 0), "暖气不热", "历下区", 13812345678, "张三"])  # noqa: DTZ001
    book.save(town.box / "a.xlsx")
    assert town.looks().new_posts == 1
    with town.db.reading() as session:
        row = unjudged(session, 10)[0]
    assert row.published_at == datetime(2026, 11, 28, 1, 0, tzinfo=UTC)
    assert row.author_key is None


def test_two_processes_do_not_read_one_folder_at_once(town: Town, tmp_path: Path) -> None:
    from spiders.hostlock import host_locks

    with host_locks(tmp_path / "var" / "locks", ["source:orders"]):
        assert town.look().state == "paused"


@pytest.mark.parametrize("death", ["batch:2", "receipt", "move", "filed"])
def test_kill_9_at_any_point_loses_and_doubles_nothing(db: Database, tmp_path: Path, death: str) -> None:
    town = Town(db, tmp_path, stable_s=0)
    town.drop("a.csv", orders(*range(1000)) + "G9999,什么时候,停电,历下区,,\n")
    child = subprocess.run(
        [sys.executable, "-m", "tests.fakes.intake_child", db.url, str(tmp_path), death],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    for _ in range(3):
        town.now += timedelta(minutes=1)
        town.look()
    assert sorted(town.texts()) == sorted(f"停水第{n}天" for n in range(1000))
    with db.reading() as session:
        assert len(list_quarantine(session)) == 1
    assert town.names() == []
    assert len([name for name in town.names("done") if name.endswith("a.csv")]) == 1
    assert town.report("done")["set aside"] == 1


def test_a_halt_reaches_a_long_file_between_two_batches(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importer, "BATCH", 10)
    town.drop("a.csv", orders(*range(100)))
    act: dict[str, Any] = {"reason": "核查授权", "actor": "lin", "channel": "cli", "now": town.now}
    saved = importer.save_found

    def then_halt(session: Session, *rest: Any) -> Any:
        if not stops.active(session):
            stops.make(session, "halt", "source", "orders", **act)
        return saved(session, *rest)

    monkeypatch.setattr(reading, "save_found", then_halt)
    seen = town.looks()
    assert (seen.state, "核查授权" in seen.evidence) == ("halted", True)
    assert (len(town.texts()), town.names()) == (10, ["a.csv"])
    with town.db.transaction() as session:
        stops.lift(session, "halt", "source", "orders", **act)
    monkeypatch.setattr(reading, "save_found", saved)
    town.looks()
    assert (len(town.texts()), town.names()) == (100, [])


def test_names_of_other_systems_and_names_without_end_hold_up_nobody(
    any_db: Database, tmp_path: Path
) -> None:
    town = Town(any_db, tmp_path, stable_s=0)
    names = [
        os.fsencode(town.box) + b"/" + "工单一.csv".encode("gb18030"),
        os.fsencode(town.box) + b"/" + ("长" * 83 + ".csv").encode(),
        os.fsencode(town.box) + b"/" + "坏\ud8ff.csv".encode("utf-8", "surrogatepass"),
    ]
    for number, name in enumerate(names):
        Path(os.fsdecode(name)).write_text(orders(number))
    Path(os.fsdecode(os.fsencode(town.box) + b"/" + "空.csv".encode("gb18030"))).write_bytes(b"")
    seen = town.look()
    assert sorted(town.texts()) == ["停水第0天", "停水第1天", "停水第2天"]
    assert town.names() == []
    done = [name for name in town.names("done") if not name.endswith(".report.json")]
    assert len(done) == 3
    assert any(name.endswith("_工单一.csv") for name in done)
    assert all(len(os.fsencode(name)) <= 255 and name.endswith(".csv") for name in done)
    assert any(name.endswith("_空.csv") for name in town.names("failed"))
    assert "空.csv: the file is empty" in str(seen.evidence)


def test_a_damaged_file_waits_in_failed_and_the_others_are_read(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = tables.read_rows

    def breaks(path: Path, *rest: Any) -> Any:
        if path.name == "a.csv":
            yield from itertools.islice(made(path, *rest), 1)
            raise RuntimeError("no reader foresaw this")
        yield from made(path, *rest)

    reads = pipelines.to_post

    def odd(item: Any, *rest: Any) -> Any:
        if "第7天" in item.text:
            raise ValueError("nor this")
        return reads(item, *rest)

    monkeypatch.setattr(importer, "read_rows", breaks)
    monkeypatch.setattr(importer, "to_post", odd)
    town.drop("a.csv", orders(1, 2))
    town.drop("b.csv", orders(*range(5, 10)))
    town.looks()
    assert sorted(town.texts()) == [f"停水第{n}天" for n in (5, 6, 8, 9)]
    assert town.report("failed")["sentence"].startswith("damaged (RuntimeError)")
    with town.db.reading() as session:
        (aside,) = list_quarantine(session)
    assert "could not be read (ValueError)" in aside.reason
    assert "13812345678" not in str(aside.payload)


def test_files_of_a_halted_folder_wait(town: Town) -> None:
    act: dict[str, Any] = {"reason": "核查授权", "actor": "lin", "channel": "cli", "now": town.now}
    with town.db.transaction() as session:
        stops.make(session, "halt", "source", "orders", **act)
    town.drop("a.csv", orders(1))
    assert town.looks().state == "halted"
    assert (town.names(), town.texts()) == (["a.csv"], [])
    with town.db.transaction() as session:
        stops.lift(session, "halt", "source", "orders", **act)
    assert town.looks().new_posts == 1
