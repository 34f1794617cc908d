"""The schema: made by migrations alone, the same as the models on both databases, guarded against the future."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from incidents import events
from incidents.migrate import SchemaTooNew, upgrade
from incidents.models import Base
from incidents.session import Database

T0 = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


def test_migrations_give_exactly_the_models(any_db: Database) -> None:
    def ours(thing: object, name: str | None, kind: str, _reflected: bool, _other: object) -> bool:
        foreign = kind == "table" and (name or "").startswith(("post_fts", "alembic_version"))
        return not foreign and not (kind == "table" and name == "post_search" and any_db.is_sqlite)

    with any_db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": ours, "compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_upgrading_twice_changes_nothing(any_db: Database) -> None:
    assert upgrade(any_db.engine) == upgrade(any_db.engine) == "0001"


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
