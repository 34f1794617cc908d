"""G13: databases that older versions wrote, with incidents under way, go on under this version as if nothing had happened."""

from __future__ import annotations

import gzip
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, MetaData, create_engine, insert, text
from sqlalchemy.engine import make_url

from incidents import events, judgements
from incidents.migrate import SchemaTooNew, stamp, upgrade
from incidents.session import Database
from incidents.store import open_database
from incidents.trouble import Problem
from tests.alert_office import Office, bundle_for
from tests.conftest import AUDIT_KEY
from tests.test_migrations import admin, upgrade_to

#: written by the code of that schema: five incidents (waiting for the third rung, acknowledged, assigned, false alarm, page
#: not yet sent) at 2026-11-24 07:29 UTC
OLD = Path(__file__).parent / "data" / "old"
VERSIONS = sorted(file.name.removesuffix(".db.gz") for file in OLD.glob("*.db.gz"))
LEFT_AT = datetime(2026, 11, 24, 7, 29, tzinfo=UTC)
KEPT = {
    "deadline": "id, incident_id, rule_id, round, stops_on, started_at, due_at, state, closed_at",
    "timer": "id, incident_id, kind, epoch, step, due_at, done_at, result",
    "outbox": "id, incident_id, kind, epoch, step, recipient, channel, state, not_before, sent_at, attempts",
    "incident": "id, number, state, version, epoch, round, department",
    "incident_event": "seq, kind, recorded_at, prev_hash, hash",
}


def test_every_older_schema_has_a_database_here() -> None:
    assert VERSIONS == ["0001", "0002"], "a new migration needs a database written by the version before it"


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database that does not exist yet, or is empty."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'quansheng.db'}"
        return
    server = request.getfixturevalue("postgres_server")
    name = f"quansheng_up_{uuid.uuid4().hex[:12]}"
    admin(server, f"CREATE DATABASE {name}")
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    admin(server, f"DROP DATABASE {name} WITH (FORCE)")


def lay_down(version: str, url: str, tmp_path: Path) -> None:
    """The old database at `url`; on PostgreSQL its rows in the old schema."""
    content = gzip.decompress((OLD / f"{version}.db.gz").read_bytes())
    if url.startswith("sqlite"):
        Path(str(make_url(url).database)).write_bytes(content)
        return
    copy = tmp_path / "copy.db"
    copy.write_bytes(content)
    database = Database(url, audit_key=AUDIT_KEY)
    upgrade_to(database, version)
    copy_rows(create_engine(f"sqlite:///{copy}"), database.engine)
    database.close()


def copy_rows(source: Engine, target: Engine) -> None:
    old, new = MetaData(), MetaData()
    old.reflect(source)
    new.reflect(target)
    with source.connect() as reading, target.begin() as writing:
        writing.execute(text("DELETE FROM meta"))
        for table in new.sorted_tables:
            if table.name == "alembic_version" or table.name not in old.tables:
                continue
            rows = [
                {name: aware(value) for name, value in row._mapping.items()}
                for row in reading.execute(old.tables[table.name].select())
            ]
            if rows:
                writing.execute(insert(table), rows)
            if "id" in table.columns and table.columns["id"].autoincrement is True:
                writing.execute(
                    text(
                        f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), "
                        f"(SELECT coalesce(max(id), 0) + 1 FROM {table.name}), false)"
                    )
                )
    source.dispose()


def aware(value: Any) -> Any:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def rows_of(url: str) -> dict[str, list[Any]]:
    engine = create_engine(url)
    with engine.connect() as connection:
        found = {
            table: [tuple(row) for row in connection.execute(text(f"SELECT {what} FROM {table} ORDER BY 1"))]
            for table, what in KEPT.items()
        }
    engine.dispose()
    return found


@pytest.mark.parametrize("version", VERSIONS)
def test_clocks_timers_and_open_pages_are_the_same_after_the_upgrade(
    version: str, place: str, tmp_path: Path
) -> None:
    lay_down(version, place, tmp_path)
    before = rows_of(place)
    assert len(before["deadline"]) == 5
    assert len(before["timer"]) >= 18
    open_database(place, audit_key=AUDIT_KEY).close()
    assert rows_of(place) == before


@pytest.mark.parametrize("version", VERSIONS)
def test_the_new_version_goes_on_where_the_old_one_left(version: str, place: str, tmp_path: Path) -> None:
    lay_down(version, place, tmp_path)
    db = open_database(place, audit_key=AUDIT_KEY)
    office = Office(db, bundle_for(tmp_path), now=LEFT_AT)
    due = {clock.rule_id: clock.due_at for clock in at(office, 1).deadlines().values()}
    office.work()
    assert at(office, 5).paged("sent") == [(1, "lin@jinan.example")], "the page that waited is sent once"
    office.now = datetime(2026, 11, 24, 7, 39, 59, tzinfo=UTC)
    office.work()
    assert len(at(office, 1).paged()) == 2, "no rung comes early"
    office.later(seconds=2).work()
    assert [step for step, _ in at(office, 1).paged()] == [1, 2, 3], "the rung that was due is asked"
    assert at(office, 2).paged() == [(1, "lin@jinan.example")], "the acknowledged one asks nobody"
    office.now = due["R03"] - timedelta(seconds=1)
    office.work()
    assert at(office, 1).deadlines()["R03"].due_at == due["R03"]
    assert at(office, 1).deadlines()["R03"].overdue_noticed_at is None
    office.later(seconds=2).work()
    assert at(office, 1).deadlines()["R03"].overdue_noticed_at == office.now
    with db.reading() as session:
        assert events.verify(session, AUDIT_KEY).ok
    db.close()


def at(office: Office, incident_id: int) -> Office:
    office.incident_id = incident_id
    return office


# --- an old program beside a new database ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE alembic_version SET version_num = '0099'",
        "UPDATE meta SET value = '99' WHERE key = 'engine_version'",
    ],
)
def test_a_process_that_runs_while_a_newer_version_migrates_writes_nothing_more(
    place: str, change: str
) -> None:
    db = open_database(place, audit_key=AUDIT_KEY)
    with db.transaction() as session:
        session.execute(text(change))
    with (
        pytest.raises(SchemaTooNew, match=r"taken over.*start the newer version"),
        db.transaction() as session,
    ):
        judgements.open_watching(
            session, title="x", domain="health", district="", first_posted_at=LEFT_AT, sketch={}
        )
    with pytest.raises(Problem, match="newer Quansheng"):
        open_database(place, audit_key=AUDIT_KEY)
    with db.engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM incident")) == 0
    db.close()


def test_the_stamp_is_that_of_the_schema(tmp_path: Path) -> None:
    db = open_database(f"sqlite:///{tmp_path / 'x.db'}", audit_key=AUDIT_KEY)
    assert db.stamp == stamp(upgrade(db.engine))
    db.close()
