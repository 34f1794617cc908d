"""Engine and transactions, built from a URL and never at import."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session, sessionmaker

from incidents.trouble import explain

#: other rooms annotate with this name, so that the ORM is imported in this folder only
__all__ = ["Database", "Session"]


class Database:
    """One database. `transaction()` writes, `reading()` only reads; both close what they opened.

    Both raise DatabaseTrouble (incidents.trouble) when it is locked, full, read-only, damaged or unreachable.
    """

    def __init__(self, url: str, *, audit_key: bytes, busy_timeout_s: float = 10.0) -> None:
        self.url = url
        #: signs the chain of events; sessions carry it as session.info["audit_key"]
        self.audit_key = audit_key
        parsed = make_url(url)
        #: where it is, as sentences name it: never with a password
        self.place = str(parsed.database) if parsed.get_backend_name() == "sqlite" else repr(parsed)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        options: dict[str, Any] = {}
        if self.is_sqlite:
            if parsed.database not in (None, "", ":memory:"):
                Path(str(parsed.database)).parent.mkdir(parents=True, exist_ok=True)
            options["connect_args"] = {"timeout": busy_timeout_s, "check_same_thread": False}
        self.engine: Engine = create_engine(url, **options)
        if self.is_sqlite:
            _prepare_sqlite(self.engine, busy_timeout_s)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False, info={"audit_key": audit_key})

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A write transaction: committed at the end, rolled back on any error."""
        with self.telling(), self._sessions() as session, session.begin():
            if self.is_sqlite:
                # BEGIN IMMEDIATE: a reader that turns writer would get SQLITE_BUSY without waiting
                session.execute(text("BEGIN IMMEDIATE"))
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A consistent read; nothing is written."""
        with self.telling(), self._sessions() as session:
            if self.is_sqlite:
                session.execute(text("BEGIN"))
            yield session
            session.rollback()

    @contextmanager
    def telling(self) -> Iterator[None]:
        """Errors that a person can put right become DatabaseTrouble; all others pass as they are."""
        try:
            yield
        except DBAPIError as exc:
            trouble = explain(exc, self.place)
            if trouble is None:
                raise
            raise trouble from exc

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _prepare_sqlite(engine: Engine, busy_timeout_s: float) -> None:
    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")  # events and outbox survive a power cut
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.execute(f"PRAGMA busy_timeout={int(busy_timeout_s * 1000)}")
        cursor.execute("PRAGMA cache_size=-32000")
        cursor.close()
