"""Engine and transactions, built from a URL and never at import."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.orm import Session, sessionmaker

from config.departments import Departments
from incidents.line import Line, Turn
from incidents.trouble import SchemaTooNew, explain, is_locked

#: other rooms annotate with this name, so that the ORM is imported in this folder only
__all__ = ["Database", "Session", "others_wait"]


#: first number of the advisory locks by which processes see each other ("own")
_LIVES = 0x6F776E
#: schema and engine version as the database itself says; one look-up in two tables of one row each
_STAMP = text(
    "SELECT (SELECT max(version_num) FROM alembic_version) || '/' ||"
    " (SELECT value FROM meta WHERE key = 'engine_version')"
)


#: statements that are asked all the time are built once: building one anew costs more than running it
_BEGIN, _BEGIN_IMMEDIATE = text("BEGIN"), text("BEGIN IMMEDIATE")
#: whoever waits for other writers of ours is more patient than for strangers, by this factor of the busy timeout:
#: they end their batches, and a person's click that comes late is better than one that is refused
_PATIENCE = 3
_TURN = "turn"


class Database:
    """One database. `transaction()` writes, `reading()` only reads; both close what they opened.

    Both raise DatabaseTrouble (incidents.trouble) when it is locked, full, read-only, damaged or unreachable; a write
    transaction raises SchemaTooNew when a newer version has migrated the database under this running process.
    """

    def __init__(
        self,
        url: str,
        *,
        audit_key: bytes,
        busy_timeout_s: float = 10.0,
        departments: Departments | None = None,
    ) -> None:
        self.url = url
        #: signs the chain of events; sessions carry it as session.info["audit_key"]
        self.audit_key = audit_key
        #: schema and engine version that this process was opened with ("0003/1"); "" when it does not guard them
        self.stamp = ""
        parsed = make_url(url)
        #: where it is, as sentences name it: never with a password
        self.place = str(parsed.database) if parsed.get_backend_name() == "sqlite" else repr(parsed)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        options: dict[str, Any] = {}
        #: where writers of an SQLite file queue; PostgreSQL keeps the order of those who wait itself
        self._line: Line | None = None
        if self.is_sqlite:
            if parsed.database not in (None, "", ":memory:"):
                file = Path(str(parsed.database))
                file.parent.mkdir(parents=True, exist_ok=True)
                self._line = Line(file, _PATIENCE * busy_timeout_s, busy_timeout_s)
            options["connect_args"] = {"timeout": busy_timeout_s, "check_same_thread": False}
        self.engine: Engine = create_engine(url, **options)
        self._presence: tuple[int, Connection] | None = None
        self._presence_lock = threading.Lock()
        if self.is_sqlite:
            _prepare_sqlite(self.engine, busy_timeout_s)
        else:
            _prepare_postgresql(self.engine, _PATIENCE * busy_timeout_s)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False, info={"audit_key": audit_key})
        if departments is not None:
            self.know(departments)

    def know(self, departments: Departments) -> None:
        """Sessions carry the units as session.info["departments"]: no way in assigns to one that is complained of."""
        self._sessions.configure(info={"audit_key": self.audit_key, "departments": departments})

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A write transaction: committed at the end, rolled back on any error. Writers come in the order of their calls."""
        with self.telling(), self.turn() as turn, self._sessions() as session, session.begin():
            session.info[_TURN] = turn
            if self.is_sqlite:
                # BEGIN IMMEDIATE: a reader that turns writer would get SQLITE_BUSY without waiting
                try:
                    session.execute(_BEGIN_IMMEDIATE)
                except OperationalError as exc:
                    if is_locked(exc):
                        turn.in_vain()
                    raise
            self._guard(session)
            yield session

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A consistent read; nothing is written."""
        with self.telling(), self._sessions() as session:
            if self.is_sqlite:
                session.execute(_BEGIN)
            yield session
            session.rollback()

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Wait in the line of writers; for what writes without `transaction`."""
        if self._line is None:
            yield Turn()
            return
        with self._line.turn() as turn:
            yield turn

    def _guard(self, session: Session) -> None:
        """Refuse to write what a newer program has taken over while this one ran."""
        if self.stamp and (found := session.scalar(_STAMP)) != self.stamp:
            raise SchemaTooNew(
                f"{self.place}: another version of Quansheng has taken over this database (schema/engine {found}; "
                f"this process was started with {self.stamp}): this process writes nothing more; "
                "start the newer version instead"
            )

    def presence(self) -> int:
        """Number under which other processes see that this one lives (`session.lives`); 0 on SQLite, where nobody looks.

        It is a lock that the PostgreSQL server itself takes away as soon as this process is gone, however it ended.
        """
        if self.is_sqlite:
            return 0
        with self.telling(), self._presence_lock:
            number, connection = self._presence or (0, None)
            if connection is not None:
                try:
                    connection.execute(text("SELECT 1"))
                    return number
                except DBAPIError:
                    connection.close()  # and with it the old number, which others may hold for dead by now
            connection = self.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            connection.detach()
            number = secrets.randbelow(2**31 - 1) + 1
            connection.execute(
                text("SELECT pg_advisory_lock(:kind, :number)"), {"kind": _LIVES, "number": number}
            )
            self._presence = number, connection
            return number

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
        with self._presence_lock:
            if self._presence is not None:
                self._presence[1].close()
                self._presence = None
        self.engine.dispose()


#: whether this transaction of PostgreSQL has what somebody else is waiting for
_BLOCKS = text(
    "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid)))"
)


def others_wait(session: Session) -> bool:
    """Whether somebody waits for this write transaction: long work commits what it has and goes on in another one."""
    if session.get_bind().dialect.name == "postgresql":
        return bool(session.scalar(_BLOCKS))
    turn: Turn | None = session.info.get(_TURN)
    return turn is not None and turn.wanted


def lives(session: Session, presence: int) -> bool:
    """Whether the process of this number (Database.presence) is still connected to this PostgreSQL."""
    free = text("SELECT pg_try_advisory_xact_lock(:kind, :number)")
    return not session.scalar(free, {"kind": _LIVES, "number": presence})


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


def _prepare_postgresql(engine: Engine, busy_timeout_s: float) -> None:
    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        settings = {
            # locks are waited for as long as on SQLite
            "lock_timeout": f"{int(busy_timeout_s * 1000)}ms",
            # the server notices within half a minute that a machine is gone, and gives its locks to the others
            "tcp_keepalives_idle": "10",
            "tcp_keepalives_interval": "5",
            "tcp_keepalives_count": "3",
        }
        calls = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in settings.items())
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT {calls}")
        connection.commit()
