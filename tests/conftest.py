"""Databases for tests: a migrated, empty one each, on SQLite and on PostgreSQL.

PostgreSQL is started once for all test processes of a run (tests/postgres_guard.py); with
QUANSHENG_TEST_PG_URL an existing server is used instead, in which the user must be allowed to create databases.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from demo.fake_slack import FakeSlack
from incidents.migrate import upgrade
from incidents.posts import NewPost
from incidents.session import Database
from tests.fakes.mail import FakeMailServer
from tests.postgres_guard import shared_server

AUDIT_KEY = b"a key that signs nothing but tests"


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated, empty SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "empty.db"
    database = Database(f"sqlite:///{path}", audit_key=AUDIT_KEY)
    upgrade(database.engine)
    with database.engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    database.close()
    return path


@pytest.fixture(scope="session")
def two_weeks_file(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The invented two weeks of tests.fakes.week, played once; tests copy the file."""
    from tests.fakes.week import two_weeks  # loads the whole product

    path = tmp_path_factory.mktemp("weeks") / "played.db"
    shutil.copyfile(migrated_sqlite, path)
    database = Database(f"sqlite:///{path}", audit_key=AUDIT_KEY)
    two_weeks(database)
    with database.engine.connect() as connection:
        connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
    database.close()
    return path


@pytest.fixture
def sqlite_db(migrated_sqlite: Path, tmp_path: Path) -> Iterator[Database]:
    """A migrated, empty SQLite database of this test's own."""
    path = tmp_path / "quansheng.db"
    shutil.copyfile(migrated_sqlite, path)
    database = Database(f"sqlite:///{path}", audit_key=AUDIT_KEY)
    yield database
    database.close()


@pytest.fixture
def db(sqlite_db: Database) -> Database:
    """The database most tests use."""
    return sqlite_db


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a PostgreSQL server. It is stopped when the last process that uses it ends, killed or not."""
    given = os.environ.get("QUANSHENG_TEST_PG_URL")
    if given:
        yield given.replace("postgresql://", "postgresql+psycopg://")
        return
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # one server for all workers
    with shared_server(hashlib.sha256(str(base).encode()).hexdigest()[:12]) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: str) -> Iterator[str]:
    """Name of a migrated, empty database of this process, to be copied."""
    name = f"quansheng_template_{uuid.uuid4().hex[:12]}"
    as_admin(postgres_server, f"CREATE DATABASE {name}")
    database = Database(database_at(postgres_server, name), audit_key=AUDIT_KEY)
    upgrade(database.engine)
    database.close()
    yield name
    as_admin(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgres_db(postgres_server: str, postgres_template: str) -> Iterator[Database]:
    """A migrated, empty PostgreSQL database of this test's own."""
    name = f"quansheng_test_{uuid.uuid4().hex[:12]}"
    as_admin(postgres_server, f"CREATE DATABASE {name} TEMPLATE {postgres_template}")
    database = Database(database_at(postgres_server, name), audit_key=AUDIT_KEY)
    yield database
    database.close()
    as_admin(postgres_server, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def any_db(request: pytest.FixtureRequest) -> Database:
    """The test runs once on each kind of database."""
    database: Database = request.getfixturevalue("sqlite_db" if request.param == "sqlite" else "postgres_db")
    return database


def database_at(server: str, name: str) -> str:
    return make_url(server).set(database=name).render_as_string(hide_password=False)


def as_admin(server: str, statement: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(statement))
    engine.dispose()


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    """A Slack of this test's own."""
    with FakeSlack() as fake:
        yield fake


@pytest.fixture
def mail() -> Iterator[FakeMailServer]:
    """A mail server of this test's own."""
    with FakeMailServer() as server:
        yield server


class PostFactory(Protocol):
    """Makes invented posts; every field can be given."""

    def __call__(self, text: str = ..., **fields: Any) -> NewPost: ...


@pytest.fixture
def post() -> Callable[..., NewPost]:
    """Makes invented posts, each with its own external id and one minute later than the one before."""
    numbers = itertools.count(1)

    def make(text: str = "历下区某小区停水两天了，没人管", **fields: Any) -> NewPost:
        number = next(numbers)
        when = datetime(2026, 3, 2, 0, 0, tzinfo=UTC) + timedelta(minutes=number)
        values: dict[str, Any] = {
            "source_id": "forum",
            "external_id": f"t{number}",
            "url": f"http://bbs.example/t/{number}",
            "title": "",
            "text": text,
            "published_at": when,
            "published_estimated": False,
            "fetched_at": fields.get("published_at", when) + timedelta(minutes=3),
            "author_key": f"author-{number}",
            "place_hint": "",
            "engagement": {},
            "provenance": {},
        }
        return NewPost(**(values | fields))

    return make


@pytest.fixture(autouse=True)
def _a_stopped_house_stops_no_other_test() -> Iterator[None]:
    """A house tells the readers of its process to end; the process of the tests goes on."""
    yield
    readers = sys.modules.get("spiders.intake.job")
    if readers is not None:
        readers.begin()
