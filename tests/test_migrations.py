"""The schema: made by migrations alone, the same as the models on both databases, guarded against the future."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
import uuid
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError

import incidents.migrate
from incidents import events
from incidents.labels import add_label
from incidents.line import Line
from incidents.migrate import SchemaTooNew, head, stamp, upgrade
from incidents.models import Base
from incidents.session import Database
from incidents.store import open_database

T0 = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
#: there is exactly one, or this raises: two migrations after the same one leave nobody knowing where to go
NEWEST = ScriptDirectory(str(Path(incidents.migrate.__file__).parent / "migrations")).get_current_head()


def test_migrations_give_exactly_the_models(any_db: Database) -> None:
    def ours(thing: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
        foreign = kind == "table" and (name or "").startswith(("post_fts", "alembic_version"))
        return not foreign and not (kind == "table" and name == "post_search" and any_db.is_sqlite)

    with any_db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours, "compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_upgrading_twice_changes_nothing(any_db: Database) -> None:
    assert upgrade(any_db.engine) == upgrade(any_db.engine) == NEWEST


def test_the_newest_revision_is_read_from_the_files_as_alembic_reads_it() -> None:
    assert head() == NEWEST


def test_opening_what_is_up_to_date_waits_for_no_writer_and_loads_no_alembic(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'here.db'}"
    open_database(url, audit_key=b"k" * 32).close()
    writer = sqlite3.connect(tmp_path / "here.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    code = (
        "import sys; from incidents.store import open_database; "
        "db = open_database(sys.argv[1], audit_key=b'k' * 32, busy_timeout_s=0.1); "
        "print(db.stamp, 'alembic' in sys.modules)"
    )
    with Line(tmp_path / "here.db", 1, 1).turn():
        ran = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=False)
    writer.close()
    assert ran.stdout.split() == [stamp(NEWEST or ""), "False"], ran.stderr


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE alembic_version SET version_num = '9999'",
        "UPDATE meta SET value = '2' WHERE key = 'engine_version'",
    ],
)
def test_a_database_of_a_newer_version_is_refused(any_db: Database, change: str) -> None:
    with any_db.transaction() as session:
        session.execute(text(change))
    with pytest.raises(SchemaTooNew, match=r"newer Quansheng.*restore a backup"):
        upgrade(any_db.engine)


def test_two_programs_may_start_at_the_same_moment(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    both = threading.Barrier(2)

    def start() -> None:
        engine = create_engine(f"sqlite:///{tmp_path / 'new.db'}", connect_args={"timeout": 20})
        try:
            both.wait()
            upgrade(engine)
        except Exception as error:  # noqa: BLE001 (told to the test's own thread)
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_failed_migration_leaves_no_half_schema(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'half.db'}")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE login_session (old TEXT)"))  # in the way of 0001's last table
    with pytest.raises(DBAPIError):
        upgrade(engine)
    with engine.connect() as connection:
        assert connection.scalars(text("SELECT name FROM sqlite_master WHERE type = 'table'")).all() == [
            "login_session"
        ]
    engine.dispose()


@pytest.mark.parametrize(
    "act",
    [
        "UPDATE incident_event SET actor = 'somebody else'",
        "UPDATE incident_event SET actor = 'somebody else' WHERE seq = 1",
        "DELETE FROM incident_event",
        "DELETE FROM incident_event WHERE seq = 1",
    ],
)
def test_the_record_cannot_be_changed(any_db: Database, act: str) -> None:
    write_event(any_db)
    with pytest.raises(DBAPIError, match="append-only"), any_db.transaction() as session:
        session.execute(text(act))
    with any_db.reading() as session:
        assert events.verify(session, any_db.audit_key).events == 1


def test_the_record_cannot_be_replaced(sqlite_db: Database) -> None:
    write_event(sqlite_db)
    columns = (
        "incident_id, version, kind, epoch, round, actor, channel, occurred_at, recorded_at, payload, "
        "idempotency_key, prev_hash, hash"
    )
    for seq in ("seq", "seq + 1"):
        with pytest.raises(IntegrityError, match="append-only"), sqlite_db.transaction() as session:
            session.execute(
                text(
                    f"INSERT OR REPLACE INTO incident_event (seq, {columns}) SELECT {seq}, {columns} FROM incident_event"
                )
            )


def test_the_record_cannot_be_truncated(postgres_db: Database) -> None:
    write_event(postgres_db)
    with pytest.raises(DBAPIError, match="append-only"), postgres_db.transaction() as session:
        session.execute(text("TRUNCATE incident_event"))


def write_event(database: Database) -> None:
    with database.transaction() as session:
        events.append(
            session,
            database.audit_key,
            kind="note",
            actor="li-na",
            channel="console",
            now=T0,
            idempotency_key="once",
        )


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_an_older_database_is_brought_up_to_date_with_what_it_holds(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    if kind == "sqlite":
        url = f"sqlite:///{tmp_path / 'old.db'}"
    else:
        server = request.getfixturevalue("postgres_server")
        name = f"quansheng_old_{uuid.uuid4().hex[:12]}"
        admin(server, f"CREATE DATABASE {name}")
        request.addfinalizer(lambda: admin(server, f"DROP DATABASE {name} WITH (FORCE)"))
        url = make_url(server).set(database=name).render_as_string(hide_password=False)
    database = Database(url, audit_key=b"key")
    upgrade_to(database, "0001")
    with database.engine.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO post (source_id, external_id, url, title, text, published_at, published_estimated,"
                " fetched_at, place_hint, engagement, content_sha256, provenance) VALUES ('forum', 't1', '', '停水',"
                " '历下区停水', '2026-03-02 01:00:00+00', false, '2026-03-02 01:03:00+00', '', '{}', 'x', '{}')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO judgement (post_id, domain, domain_score, tone, tone_score, snownlp_score, signal,"
                " signal_score, risk, risk_score, abstain, districts, places, reasons, model_version, judged_at)"
                " VALUES (1, 'housing', 0.9, 'neg', 0.9, 0.1, true, 0.9, 1, 0.6, false, '[]', '[]', '{}', 'm1',"
                " '2026-03-02 01:04:00+00')"
            )
        )
    assert upgrade(database.engine) == NEWEST
    with database.engine.connect() as connection:
        assert connection.execute(text("SELECT tone, about FROM judgement")).all() == [("neg", "")]
        assert connection.scalar(text("SELECT count(*) FROM label")) == 0
    with database.transaction() as session:
        add_label(session, "tone", post_id=1, value="neu", was="neg", actor="li-na", now=T0)
    with pytest.raises(DBAPIError, match="append-only"), database.transaction() as session:
        session.execute(text("UPDATE label SET value = 'pos'"))
    database.close()


def upgrade_to(database: Database, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(incidents.migrate.__file__).parent / "migrations"))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def admin(server: str, statement: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()
