"""Bring a database to the schema of this code, or say why not.

Run from code, so that no alembic.ini has to lie in the working directory. Two programs that start at the
same moment wait for each other: the whole upgrade is one transaction under a lock.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text

from incidents.trouble import SchemaTooNew as SchemaTooNew

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory

#: Raised whenever stored data changes its meaning so that older code would misread it.
ENGINE_VERSION = 1
#: Key of the advisory lock on PostgreSQL; any constant, the same in every version.
_LOCK = 7_302_018_025
_FOLDER = Path(__file__).parent / "migrations"
_MADE = re.compile(r'^revision\b[^=\n]*= "([^"]+)"', re.MULTILINE)
_BUILT_ON = re.compile(r'^down_revision\b[^=\n]*= "([^"]+)"', re.MULTILINE)


def upgrade(engine: Engine) -> str:
    """Create or upgrade all tables; returns the schema revision. Does nothing when all is up to date.

    Raises SchemaTooNew when the database knows a revision or engine version that this code does not.
    """
    if is_current(engine):
        return head()
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    script, newest = ScriptDirectory.from_config(config), head()
    with engine.begin() as connection:
        _lock(connection)
        found = _revision(connection)
        _refuse_newer(connection, script, found, newest)
        if found != newest:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        _note_engine_version(connection)
    return newest


@lru_cache(maxsize=1)
def head() -> str:
    """The newest revision of this code: the one that no other builds on, read from the files without running them."""
    files = [path.read_text("utf-8") for path in sorted((_FOLDER / "versions").glob("[0-9]*.py"))]
    made, built_on = (
        {found[1] for text_ in files if (found := line.search(text_))} for line in (_MADE, _BUILT_ON)
    )
    (newest,) = made - built_on
    return newest


def is_current(engine: Engine) -> bool:
    """Whether there is nothing to upgrade, as most openings find: told without a lock that a writer may hold, and without Alembic."""
    with engine.connect() as connection:
        return _revision(connection) == head() and _engine_version(connection) == str(ENGINE_VERSION)


def stamp(revision: str) -> str:
    """What a database of this code says of itself: schema and engine version."""
    return f"{revision}/{ENGINE_VERSION}"


def _lock(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
    else:
        connection.execute(text("BEGIN IMMEDIATE"))


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return revision


def _engine_version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("meta"):
        return None
    stored: str | None = connection.scalar(text("SELECT value FROM meta WHERE key = 'engine_version'"))
    return stored


def _refuse_newer(connection: Connection, script: ScriptDirectory, found: str | None, head: str) -> None:
    if found is None:
        return
    place = connection.engine.url.render_as_string(hide_password=True)
    stored = _engine_version(connection)
    engine_version = int(stored) if stored and stored.isdigit() else 0
    known = {revision.revision for revision in script.walk_revisions()}
    if found not in known or engine_version > ENGINE_VERSION:
        raise SchemaTooNew(
            f"The database {place} was last used by a newer Quansheng (schema {found}, engine {engine_version}; "
            f"this program knows schema {head}, engine {ENGINE_VERSION}): "
            "install the newer version again, or restore a backup made before the upgrade."
        )


def _note_engine_version(connection: Connection) -> None:
    if _engine_version(connection) == str(ENGINE_VERSION):
        return
    connection.execute(text("DELETE FROM meta WHERE key = 'engine_version'"))
    connection.execute(
        text("INSERT INTO meta (key, value) VALUES ('engine_version', :value)"),
        {"value": str(ENGINE_VERSION)},
    )
