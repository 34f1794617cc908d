"""SQL of analysts: only the de-identified copy, only reading, only so long; every query in the record."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from commands import export
from console import words
from console.api import sql as api_sql
from console.views.sql import EXAMPLES
from incidents import analysts_sql, queries, snapshot
from incidents.installation import Installation, Problem
from incidents.models import Incident
from incidents.session import Database
from incidents.states import Refused
from scheduler import JOBS
from tests.console_world import NOW, World, client, jinan, submit, world
from tests.test_api import script, token

SECRET = "张某某说历下区某小区停水"


def on(db: Database, folder: Path, **settings: object) -> World:
    town = world(db, folder, api=jinan().settings.api.model_copy(update={"sql": True, **settings}))
    town.account("wen", "analyst", name="文析")
    town.incident("学校食堂问题张某某", [SECRET, "食堂又来了", "食堂，再查"], copies=1)
    town.sources()
    town.run()
    return town


def copied(town: World) -> Path:
    file = town.bundle.settings.data_path / snapshot.NAME
    with town.db.reading() as session:
        snapshot.write(session, town.bundle, file, town.now)
    return file


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = on(db, tmp_path)
    copied(made)
    return made


def ask(
    town: World, sql: str, *, rows: int = 100, seconds: float = 20, memory_mb: int = 256
) -> list[list[object]]:
    file = town.bundle.settings.data_path / snapshot.NAME
    answer = analysts_sql.ask(file, sql, rows=rows, seconds=seconds, memory_mb=memory_mb)
    return [list(row) for row in answer.rows]


# --- the copy --------------------------------------------------------------------------------------------------------


def test_the_copy_counts_what_the_database_holds_and_names_nobody(any_db: Database, tmp_path: Path) -> None:
    town = on(any_db, tmp_path)
    file = copied(town)
    copy = sqlite3.connect(file)
    try:
        assert copy.execute("SELECT count(*), sum(tone = 'neg') FROM post").fetchone()[0] == 4
        number, posts, detected = copy.execute("SELECT number, posts, detected_at FROM incident").fetchone()
        assert copy.execute("SELECT count(*) FROM post WHERE incident = ?", (number,)).fetchone() == (posts,)
        assert detected.endswith("Z")
        assert copy.execute("SELECT rule FROM clock").fetchall()[0][0].startswith("R")
        assert copy.execute("SELECT kind FROM event ORDER BY seq").fetchone() == ("detected",)
        assert {day for (day,) in copy.execute("SELECT day FROM post")} == {"2026-11-24"}
        assert {hour[-4:] for (hour,) in copy.execute("SELECT hour FROM post")} == {":00Z"}
        names = {column for table in snapshot.SCHEMA.values() for column in table[1]}
        assert not names & {
            "text",
            "title",
            "url",
            "author_key",
            "author",
            "external_id",
            "actor",
            "payload",
            "officer",
        }
    finally:
        copy.close()
    raw = file.read_bytes()
    for word in (SECRET, "张某某", "bbs.example", "author-1", "lin-dong", "食堂"):
        assert word.encode() not in raw, word
    assert file.stat().st_mode & 0o077 == 0
    assert [path.name for path in file.parent.glob(".analysis*")] == []


def test_the_copy_is_made_anew_when_it_is_old(db: Database, tmp_path: Path) -> None:
    town = on(db, tmp_path, sql_refresh_min=60)
    home = Installation(town.db, town.bundle, town.keys)
    (job,) = [job for job in JOBS if job.name == "copy"]
    file = town.bundle.settings.data_path / snapshot.NAME
    assert snapshot.made_at(file) is None
    assert job.work(home, lambda: NOW)
    assert snapshot.made_at(file) == NOW
    assert job.work(home, lambda: NOW + timedelta(minutes=59)) is None
    assert job.work(home, lambda: NOW + timedelta(minutes=60))
    assert job.work(home, lambda: NOW - timedelta(days=1)), "a copy from the future is none"
    off = world(db, tmp_path / "off")
    assert job.work(Installation(off.db, off.bundle, off.keys), lambda: NOW) is None


def test_what_is_restricted_is_in_no_copy(any_db: Database, tmp_path: Path) -> None:
    town = on(any_db, tmp_path)
    home = Installation(town.db, town.bundle, town.keys)
    town.incident("小区停水", ["停水", "又停水"], domain="housing")
    (job,) = [job for job in JOBS if job.name == "copy"]
    assert job.work(home, lambda: NOW)
    assert ask(town, "SELECT count(*) FROM incident UNION ALL SELECT count(*) FROM post") == [[2], [6]]
    with town.db.transaction() as session:
        session.execute(update(Incident).where(Incident.domain == "food_safety").values(restricted=True))
    assert job.work(home, lambda: NOW), "at once, not when the copy has become old"
    assert ask(town, "SELECT DISTINCT domain FROM incident UNION SELECT DISTINCT domain FROM post") == [
        ["housing"]
    ]
    assert ask(town, "SELECT count(*) FROM post_district") == [[2]]
    for table in ("incident_hour", "clock", "event"):
        assert len(ask(town, f"SELECT DISTINCT incident FROM {table}")) <= 1, table
    assert job.work(home, lambda: NOW) is None


def test_an_export_leaves_with_its_description_and_a_record(town: World, tmp_path: Path) -> None:
    home = Installation(town.db, town.bundle, town.keys)
    done = export.write(home, tmp_path / "jinan.db", "wen", NOW)
    assert done.rows["post"] == 4
    assert done.metadata is not None
    described = json.loads(done.metadata.read_text("utf-8"))
    assert set(described["databases"]["jinan"]["tables"]) == set(snapshot.SCHEMA)
    assert export.write(home, tmp_path / "jinan.db", "wen", NOW).rows == done.rows
    with town.db.reading() as session:
        assert queries.latest_events(session, kinds=["exported"])[0].payload["file"] == "jinan.db"
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(Problem, match="no copy of ours"):
        export.write(home, tmp_path / "notes.txt", "wen", NOW)
    assert (tmp_path / "notes.txt").read_text() == "mine"


# --- what a query may do ----------------------------------------------------------------------------------------------


def test_examples_and_ordinary_queries_run(town: World) -> None:
    for sql in EXAMPLES.values():
        ask(town, sql)
    assert ask(town, "SELECT count(*) FROM post") == [[4]]
    assert ask(town, "  -- how many\n WITH t AS (SELECT * FROM post) SELECT count(*) FROM t;") == [[4]]
    assert ask(town, "VALUES (1, 'a', NULL, x'ff', 1e999)") == [[1, "a", None, "ff", "inf"]]
    assert ask(town, "SELECT CAST(x'ff41' AS TEXT)") == [["\ufffdA"]]


HOSTILE = [
    "DELETE FROM post",
    "INSERT INTO post (id) VALUES (1)",
    "UPDATE post SET tone = 'pos'",
    "CREATE TABLE mine (a)",
    "DROP TABLE post",
    "PRAGMA database_list",
    "ATTACH DATABASE '/etc/passwd' AS x",
    "VACUUM INTO '/var/tmp/stolen.db'",
    "SELECT * FROM sqlite_master",
    "SELECT * FROM pragma_table_info('post')",
    "SELECT * FROM sqlite_dbpage",
    "SELECT value FROM json_each('[1,2]')",
    "SELECT load_extension('x')",
    "SELECT readfile('/etc/passwd')",
    "SELECT fts3_tokenizer('a')",
    "SELECT zeroblob(100000000)",
    "SELECT 1; DELETE FROM post",
    "SELECT 1; SELECT 2",
    "WITH t AS (SELECT 1) DELETE FROM post",
    "/* harmless */ DELETE FROM post",
    "-- harmless\nATTACH DATABASE ':memory:' AS x",
    "SELECT text FROM post",
    "SELECT * FROM incident_event",
    "SELECT * FROM post WHERE",
    "SELECT ?",
    "",
    "SELECT '\x00'",
    "explain it to me",
    "SELECT " + "(" * 300 + "1" + ")" * 300,
]


def test_nothing_but_reading_the_listed_tables_is_let_through(town: World) -> None:
    before = (town.bundle.settings.data_path / snapshot.NAME).read_bytes()
    for sql in HOSTILE:
        with pytest.raises(Refused) as refused:
            pytest.fail(f"{sql} gave {ask(town, sql)}")
        assert refused.value.zh, sql
        assert refused.value.en, sql
    assert (town.bundle.settings.data_path / snapshot.NAME).read_bytes() == before


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "


def test_a_query_that_never_ends_is_stopped(town: World) -> None:
    with pytest.raises(Refused, match=r"took more than 0\.3 s"):
        ask(town, ENDLESS + "SELECT count(*) FROM n", seconds=0.3)


def test_a_query_that_wants_all_memory_is_stopped(town: World) -> None:
    hoard = (
        ENDLESS
        + "SELECT group_concat(x) OVER (ORDER BY i) FROM (SELECT i, printf('%900000d', i) AS x FROM n LIMIT 400)"
    )
    with pytest.raises(Refused, match=r"more than 64 MB|string or blob too big"):
        ask(town, hoard, memory_mb=64)
    rows = ask(town, ENDLESS + "SELECT printf('%900000d', i) FROM n LIMIT 100", memory_mb=64)
    assert len(rows) < 20, "an answer is cut off by its size"


def test_rows_are_cut_off_and_it_says_so(town: World) -> None:
    file = town.bundle.settings.data_path / snapshot.NAME
    answer = analysts_sql.ask(file, ENDLESS + "SELECT i FROM n", rows=7, seconds=20, memory_mb=256)
    assert [row[0] for row in answer.rows] == [1, 2, 3, 4, 5, 6, 7]
    assert answer.more


# --- who may ask ------------------------------------------------------------------------------------------------------


def test_it_is_off_until_somebody_switches_it_on(db: Database, tmp_path: Path) -> None:
    town = world(db, tmp_path)
    town.account("wen", "analyst")
    answer = script(town, token(town, "sql")).post("/api/sql", json={"sql": "SELECT 1"})
    assert answer.status_code == 403
    assert "api.sql" in answer.json()["detail"]
    browser = client(town, "wen")
    assert browser.get("/sql").status_code == 403
    assert 'href="/sql"' not in browser.get("/tokens").text


def test_the_api_answers_and_records_each_query(town: World) -> None:
    asking = script(town, token(town, "sql"))
    schema = asking.get("/api/sql/schema").json()
    assert {table["name"] for table in schema["tables"]} == set(snapshot.SCHEMA)
    sql = "SELECT domain, count(*) AS posts FROM post GROUP BY domain"
    answer = asking.post("/api/sql", json={"sql": sql}).json()
    assert (answer["columns"], answer["rows"], answer["more"]) == (
        ["domain", "posts"],
        [["food_safety", 4]],
        False,
    )
    wrong = asking.post("/api/sql", json={"sql": "SELECT * FROM account"})
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["at"] == "body.sql"
    assert script(town, token(town, "read:posts")).post("/api/sql", json={"sql": sql}).status_code == 403
    with town.db.reading() as session:
        second, first = queries.latest_events(session, kinds=["sql_asked"])
    assert (first.payload["sql"], first.payload["outcome"], first.actor) == (sql, "1 rows", "wen")
    assert "no such table" in second.payload["outcome"]


def test_a_session_of_another_site_cannot_ask(town: World) -> None:
    browser = client(town, "wen")
    body = {"sql": "SELECT 1"}
    assert browser.post("/api/sql", json=body, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
    foreign = browser.post("/api/sql", json=body, headers={"Origin": "http://evil.invalid"})
    assert foreign.status_code == 403
    assert browser.post("/api/sql", content=b"x" * 300_000).status_code == 413


def test_only_so_many_ask_at_the_same_time(town: World) -> None:
    app = town.app()
    asking = script(town, token(town, "sql"))
    asking._transport = script(town, "x")._transport.__class__(app)  # type: ignore[call-arg]
    gate: threading.BoundedSemaphore = app.state.sql_gate
    for _ in range(api_sql.AT_ONCE):
        assert gate.acquire(blocking=False)
    busy = asking.post("/api/sql", json={"sql": "SELECT 1"})
    assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
    gate.release()
    assert asking.post("/api/sql", json={"sql": "SELECT 1"}).status_code == 200


def test_the_page_shows_rows_mistakes_and_the_same_as_csv(town: World) -> None:
    browser = client(town, "wen")
    html = browser.get("/sql", params={"sql": "SELECT 1"}).text
    assert ">SELECT 1</textarea>" in html
    with town.db.reading() as session:
        assert queries.latest_events(session, kinds=["sql_asked"]) == [], "a link asks nothing by itself"
    shown = submit(browser, html, "/sql", sql="SELECT tone, count(*) AS n FROM post GROUP BY tone").text
    assert ">neg</td>" in shown
    wrong = submit(browser, html, "/sql", sql="SELECT * FROM posts")
    assert wrong.status_code == 422
    assert "SQL 有误：no such table: posts" in wrong.text
    assert ">SELECT * FROM posts</textarea>" in wrong.text
    file = submit(browser, html, "/sql", sql="SELECT '=1+1' AS a, 2 AS b, NULL AS c", **{"as": "csv"})
    head, row = csv.reader(io.StringIO(file.text.lstrip("\ufeff")))
    assert (head[:3], row) == (["a", "b", "c"], ["'=1+1", "2", ""])
    assert "文析" in head[3] or "wen" in head[3], "the file says who took it"


def test_every_table_and_column_has_a_word() -> None:
    assert set(words.SQL_TABLES) == set(snapshot.SCHEMA)
    described = {
        f"{table}.{column}"
        for table, (_, columns) in snapshot.SCHEMA.items()
        for column, (_, meaning) in columns.items()
        if meaning
    }
    assert set(words.SQL_COLUMNS) == described
    assert set(words.SQL_EXAMPLES) == set(EXAMPLES)


def test_the_page_is_for_analysts(town: World) -> None:
    for role, status in (("duty", 403), ("department", 403), ("supervisor", 200)):
        town.account(role, role, "education" if role == "department" else "")
        assert client(town, role).get("/sql").status_code == status
