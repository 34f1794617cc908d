"""A view of another database: every row once, late commits too, and whatever is wrong there is a state and a sentence."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, event, text

from config.sources import SqlSource
from incidents.posts import list_quarantine, unjudged
from incidents.session import Database
from incidents.sources import get_state
from spiders.intake import job, reading, sql
from spiders.intake.reading import Stopped
from tests.conftest import as_admin, database_at
from tests.console_world import KEYS, world

NOW = datetime(2026, 11, 29, 4, 0, tzinfo=UTC)
NOTES: dict[str, Any] = {
    "legal_basis": "法定职责",
    "impact_note": "只读视图，每5分钟一次查询",
    "owner_unit": "市热线办",
}


class Hotline:
    """The other system: a table of orders, a view over it, and a city that reads it."""

    def __init__(self, db: Database, tmp_path: Path, engine: Engine, url: str, **fields: Any) -> None:
        self.db, self.engine, self.url, self.root = db, engine, url, tmp_path
        self.time = "timestamp" if engine.dialect.name == "postgresql" else "text"
        self.run(
            f"CREATE TABLE gd (bh integer PRIMARY KEY, nr text, qx text, xm text, dh text, sj {self.time}, gx {self.time})",
            'CREATE VIEW v_gd AS SELECT bh AS "工单编号", nr AS "诉求内容", qx AS "区县", xm AS "姓名", '
            'dh AS "联系电话", sj AS "来电时间", gx AS "更新时间" FROM gd',
        )
        values: dict[str, Any] = {
            "database": "${HOTLINE_DB}",
            "table": "v_gd",
            "watermark": "更新时间",
            "key": "工单编号",
            "way": "hotline",
            "name": "12345工单视图",
            "enabled": True,
        }
        self.source = SqlSource(id="view", kind="sql", **(NOTES | values | fields))
        self.bundle = replace(world(db, tmp_path).bundle, sources=(self.source,))
        self.now = NOW
        self.statements: list[str] = []

    def run(self, *statements: str) -> None:
        with self.engine.begin() as connection:
            for one in statements:
                connection.execute(text(one))

    def order(
        self, number: int, when: str | None, words: str = "停水第{}次", called: str | None = None
    ) -> None:
        with self.engine.begin() as connection:
            connection.execute(
                text("INSERT INTO gd VALUES (:n, :w, '历下区', '张三', '13812345678', :c, :g)"),
                {
                    "n": number,
                    "w": words.format(number),
                    "c": called or when or "2026-11-28 09:00:00",
                    "g": when,
                },
            )

    def look(self, **env: str) -> Any:
        names = {"HOTLINE_DB": self.url, **env}
        summary = job.run(self.db, self.bundle, KEYS, self.now, due=False, env=names)
        return summary.sources[0]

    def due(self) -> Any:
        return job.run(self.db, self.bundle, KEYS, self.now, env={"HOTLINE_DB": self.url}).sources

    def numbers(self) -> list[int]:
        with self.db.reading() as session:
            return sorted(int(row.text[3:-1]) for row in unjudged(session, 100_000))


@pytest.fixture(params=["sqlite", "postgresql"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Engine, str]]:
    """Another system's database of each kind: an engine that may write, and the URL by which it is read."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'hotline.db'}"
        engine = create_engine(url)
        yield engine, url
        engine.dispose()
        return
    server = request.getfixturevalue("postgres_server")
    name = f"hotline_{uuid.uuid4().hex[:12]}"
    as_admin(server, f"CREATE DATABASE {name}")
    url = database_at(server, name)
    engine = create_engine(url)
    yield engine, url
    engine.dispose()
    as_admin(server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def hotline(db: Database, tmp_path: Path, other: tuple[Engine, str]) -> Hotline:
    return Hotline(db, tmp_path, *other)


@pytest.fixture
def lite(db: Database, tmp_path: Path) -> Iterator[Hotline]:
    """One on SQLite alone, where the kind of database does not matter."""
    engine = create_engine(f"sqlite:///{tmp_path / 'hotline.db'}")
    yield Hotline(db, tmp_path, engine, f"sqlite:///{tmp_path / 'hotline.db'}")
    engine.dispose()


def test_rows_come_once_and_without_their_callers(hotline: Hotline) -> None:
    for number in range(1, 6):
        hotline.order(number, f"2026-11-29 09:0{number}:00")
    first = hotline.look()
    assert (first.state, first.new_posts) == ("ok", 5)
    with hotline.db.reading() as session:
        rows = unjudged(session, 10)
        view = get_state(session, "view")
    assert {row.source_id for row in rows} == {"view"}
    assert rows[0].published_at == datetime(2026, 11, 29, 1, 1, tzinfo=UTC)
    assert rows[0].place_hint == "历下区"
    assert not any(word in repr(rows) + repr(view) for word in ("张三", "13812345678"))
    hotline.now += timedelta(minutes=5)
    second = hotline.look()
    assert (second.state, second.new_posts) == ("ok", 0)
    hotline.order(6, "2026-11-29 12:04:00")
    hotline.now += timedelta(minutes=5)
    assert hotline.look().new_posts == 1
    assert hotline.numbers() == [1, 2, 3, 4, 5, 6]


def test_callers_columns_are_not_even_asked_for(lite: Hotline, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    from incidents import foreign

    true_engine = create_engine

    def watched(*given: Any, **named: Any) -> Engine:
        engine = true_engine(*given, **named)
        event.listen(engine, "before_cursor_execute", lambda c, cu, statement, *more: asked.append(statement))
        return engine

    monkeypatch.setattr(foreign, "create_engine", watched)
    lite.order(1, "2026-11-29 09:00:00")
    assert lite.look().new_posts == 1
    selects = [one for one in asked if one.startswith("SELECT") and "gd" in one]
    assert any("诉求内容" in one for one in selects)
    assert not any("姓名" in one or "联系电话" in one for one in selects)


def test_many_rows_of_one_time_are_all_read(db: Database, tmp_path: Path, other: tuple[Engine, str]) -> None:
    hotline = Hotline(db, tmp_path, *other, batch=7, max_items=20)
    for number in range(1, 101):
        hotline.order(number, "2026-11-29 09:00:00")
    looks = []
    for _ in range(8):
        done = hotline.due()
        looks.append(sum(one.new_posts for one in done))
        hotline.now += timedelta(seconds=2)
    assert hotline.numbers() == list(range(1, 101))
    assert looks[:5] == [20, 20, 20, 20, 20], "a reading at its limit goes on at once"


def test_a_late_commit_is_not_lost(hotline: Hotline) -> None:
    hotline.order(1, "2026-11-29 11:50:00")
    hotline.look()
    hotline.order(2, "2026-11-29 11:40:00")  # began earlier, committed later
    hotline.now += timedelta(minutes=5)
    assert hotline.look().new_posts == 1


def test_a_time_in_the_future_does_not_make_everything_look_old(hotline: Hotline) -> None:
    hotline.order(1, "2099-01-01 00:00:00", called="2026-11-29 09:00:00")
    assert hotline.look().new_posts == 1
    hotline.now += timedelta(minutes=5)
    hotline.order(2, "2026-11-29 12:03:00")
    assert hotline.look().new_posts == 1


def test_the_first_reading_goes_back_first_days_only(hotline: Hotline) -> None:
    hotline.order(1, "2026-09-01 09:00:00")
    hotline.order(2, "2026-11-20 09:00:00")
    assert hotline.look().new_posts == 1
    assert hotline.numbers() == [2]


def test_rows_without_a_watermark_are_told(hotline: Hotline) -> None:
    hotline.order(1, "2026-11-29 09:00:00")
    hotline.order(2, None)
    seen = hotline.look()
    assert seen.new_posts == 1
    assert "some rows have no 更新时间 and are never read" in seen.evidence
    hotline.now += timedelta(minutes=5)
    assert "some rows have no 更新时间" in hotline.look().evidence


def test_an_empty_view_is_told(hotline: Hotline) -> None:
    assert hotline.look().state == "empty"
    hotline.order(1, "2026-11-29 09:00:00")
    assert hotline.look().state == "ok"


def test_bad_rows_are_set_aside_once_although_they_are_read_again(hotline: Hotline) -> None:
    hotline.order(1, "2026-11-29 11:50:00", words="")
    hotline.order(2, "2026-11-29 11:51:00")
    assert hotline.look().set_aside == 1
    hotline.now += timedelta(minutes=1)
    hotline.look()
    with hotline.db.reading() as session:
        aside = list_quarantine(session)
    assert [(entry.origin, entry.row, entry.field) for entry in aside] == [("view/v_gd", 1, "诉求内容")]
    assert not any(word in repr(aside) for word in ("张三", "13812345678"))


def test_a_number_serves_as_watermark(db: Database, tmp_path: Path, other: tuple[Engine, str]) -> None:
    hotline = Hotline(db, tmp_path, *other, watermark="工单编号", overlap_ids=5, batch=3)
    for number in range(1, 11):
        hotline.order(number, "2026-11-29 09:00:00")
    assert hotline.look().new_posts == 10
    hotline.order(11, "2026-11-29 09:00:00")
    assert hotline.look().new_posts == 1


# --- what is wrong over there


def test_a_column_that_is_gone(hotline: Hotline) -> None:
    hotline.order(1, "2026-11-29 09:00:00")
    hotline.look()
    hotline.run("DROP VIEW v_gd", 'CREATE VIEW v_gd AS SELECT bh AS "工单编号", gx AS "更新时间" FROM gd')
    gone = hotline.look()
    assert (gone.state, "v_gd has no column for text" in gone.evidence) == ("changed", True)
    hotline.run("DROP VIEW v_gd", 'CREATE VIEW v_gd AS SELECT bh AS "工单编号", nr AS "诉求内容" FROM gd')
    gone = hotline.look()
    assert (gone.state, "v_gd has no column 更新时间" in gone.evidence) == ("changed", True)
    hotline.run("DROP VIEW v_gd")
    gone = hotline.look()
    assert (gone.state, "no table or view v_gd" in gone.evidence) == ("changed", True)


def test_a_type_that_changed(hotline: Hotline) -> None:
    hotline.order(1, "2026-11-29 09:00:00")
    assert hotline.look().state == "ok"
    hotline.run(
        "DROP VIEW v_gd",
        'CREATE VIEW v_gd AS SELECT bh AS "工单编号", nr AS "诉求内容", 7 AS "更新时间" FROM gd',
    )
    seen = hotline.look()
    assert (seen.state, "the column 更新时间 is now a number" in seen.evidence) == ("changed", True), seen


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "HOTLINE_DB"),
        ("no url at all", "no SQLAlchemy URL"),
        ("nonsense://u:geheim@h/db", "no driver for nonsense"),
        ("oracle+oracledb://u:geheim@h/db", "no driver for oracle"),
        ("sqlite:////nowhere/hotline.db", "no database file"),
        ("postgresql+psycopg://u:geheim@127.0.0.1:9/db", "does not answer as it should"),
    ],
)
def test_a_database_that_cannot_be_reached(lite: Hotline, url: str, words: str) -> None:
    seen = lite.look(HOTLINE_DB=url)
    assert seen.state == "error"
    assert words in seen.evidence, seen.evidence
    assert "geheim" not in seen.evidence
    assert lite.look().state == "empty", "it heals by itself"


def test_nothing_is_written_over_there(hotline: Hotline) -> None:
    from incidents.foreign import ForeignTrouble, open_view

    hotline.order(1, "2026-11-29 09:00:00")
    with pytest.raises(ForeignTrouble, match=r"read-only|readonly"), open_view(hotline.url, "v_gd", 5) as view, view._limited():  # fmt: skip
        view._connection.execute(text("DELETE FROM gd"))


def test_a_slow_view_is_given_up(hotline: Hotline) -> None:
    slow = (
        "SELECT count(*) FROM generate_series(1, 1000000000)"
        if hotline.engine.dialect.name == "postgresql"
        else "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    )
    hotline.run("DROP VIEW v_gd", f'CREATE VIEW v_gd AS SELECT 1 AS "工单编号", \'停水\' AS "诉求内容", ({slow}) AS "更新时间"')  # fmt: skip
    hotline.source = hotline.source.model_copy(update={"timeout_s": 1})
    hotline.bundle = replace(hotline.bundle, sources=(hotline.source,))
    seen = hotline.look()
    assert (seen.state, "took longer than timeout_s = 1" in seen.evidence) == ("error", True), seen


def test_a_reading_that_is_broken_off_goes_on_behind_its_last_row(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'hotline.db'}")
    hotline = Hotline(db, tmp_path, engine, f"sqlite:///{tmp_path / 'hotline.db'}", batch=10)
    for number in range(1, 51):
        hotline.order(number, f"2026-11-29 09:00:{number:02}")
    true_store, left = reading.store, [2]

    def breaks(*given: Any, **named: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise Stopped
        true_store(*given, **named)

    monkeypatch.setattr(sql, "store", breaks)
    assert hotline.look().state == "stopped"
    assert hotline.numbers() == list(range(1, 21))
    monkeypatch.undo()
    seen = hotline.look()
    assert (seen.new_posts, seen.known) == (30, 0)
    assert hotline.numbers() == list(range(1, 51))
    engine.dispose()
