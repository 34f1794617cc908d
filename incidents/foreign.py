"""Rows of a table or view in another system's database: by SELECT only, in the order of a watermark, a batch at a time.

The URL holds a password and stands in no sentence. What goes wrong is a ForeignTrouble with the source's state and one sentence.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    TableClause,
    and_,
    column,
    create_engine,
    event,
    inspect,
    or_,
    select,
    table,
    text,
)
from sqlalchemy.engine import make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    NoSuchModuleError,
    NoSuchTableError,
    SQLAlchemyError,
)

#: seconds until a server that does not answer counts as gone
CONNECT_S = 10
#: what each driver calls that limit
_CONNECT_KEYS = {"psycopg": "connect_timeout", "psycopg2": "connect_timeout", "pymysql": "connect_timeout"}


class ForeignTrouble(Exception):
    """The other database cannot be used. `state` is the source's state (incidents.source_health), `sentence` says what to do."""

    def __init__(self, state: str, sentence: str) -> None:
        super().__init__(sentence)
        self.state = state
        self.sentence = sentence


@dataclass(frozen=True)
class Position:
    """A place in the order of the rows. `kind` is that of the watermark: time, instant (a time with its zone), day, number or text."""

    kind: str
    value: Any
    key: Any = None

    def dump(self) -> dict[str, str]:
        """As JSON, without loss."""
        key = {} if self.key is None else {"key_kind": kind_of(self.key), "key": _as_text(self.key)}
        return {"kind": self.kind, "value": _as_text(self.value), **key}

    @classmethod
    def load(cls, raw: Mapping[str, str]) -> Position:
        """From `dump`."""
        key = _from_text(raw["key_kind"], raw["key"]) if "key" in raw else None
        return cls(raw["kind"], _from_text(raw["kind"], raw["value"]), key)


def kind_of(value: Any) -> str:
    """What can be ordered and kept, as Position names it; "" for anything else."""
    if isinstance(value, bool):
        return ""
    if isinstance(value, datetime):
        return "instant" if value.tzinfo else "time"
    if isinstance(value, date):
        return "day"
    if isinstance(value, int | Decimal | float):
        return "number"
    return "text" if isinstance(value, str) else ""


def _as_text(value: Any) -> str:
    return value.isoformat() if isinstance(value, date) else str(value)


def _from_text(kind: str, raw: str) -> Any:
    if kind in ("time", "instant"):
        return datetime.fromisoformat(raw)
    if kind == "day":
        return date.fromisoformat(raw)
    if kind == "number":
        return int(raw) if raw.lstrip("-").isdigit() else Decimal(raw)
    return raw


class View:
    """An open table or view. `columns` are its columns as the database names them."""

    def __init__(self, connection: Connection, name: str, timeout_s: int) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        schema, _, plain = name.rpartition(".")
        self.name = name
        try:
            with self._limited():
                found = inspect(connection).get_columns(plain, schema or None)
        except NoSuchTableError as exc:
            raise ForeignTrouble(
                "changed", f"there is no table or view {name}, or this account may not see it"
            ) from exc
        self.columns = tuple(str(one["name"]) for one in found)
        # bare names: the driver's own values, no conversion that could fail on one odd row
        self._table: TableClause = table(
            plain, *(column(name) for name in self.columns), **({"schema": schema} if schema else {})
        )

    def column(self, name: str) -> str:
        """The column of this name, whatever its case. Raises ForeignTrouble when there is none."""
        for wanted in (lambda one: one == name, lambda one: one.casefold() == name.casefold()):
            if found := next(filter(wanted, self.columns), None):
                return found
        raise ForeignTrouble(
            "changed", f"{self.name} has no column {name}; it has: {', '.join(self.columns)[:300]}"
        )

    def rows(
        self,
        columns: Sequence[str],
        watermark: str,
        key: str,
        *,
        since: Any = None,
        after: Position | None = None,
        limit: int,
    ) -> list[dict[str, Any]]:
        """The next rows in the order of watermark and key: after a position, or with a watermark of at least `since`, or from the first."""
        mark, tie = self._table.c[watermark], self._table.c[key]
        wanted = [self._table.c[name] for name in dict.fromkeys((*columns, watermark, key))]
        if after is not None:
            begin = or_(mark > after.value, and_(mark == after.value, tie > after.key))
        elif since is not None:
            begin = mark >= since
        else:
            begin = mark.is_not(None)
        query = select(*wanted).where(begin).order_by(mark, tie).limit(limit)
        with self._limited():
            return [dict(row) for row in self._connection.execute(query).mappings()]

    def any_without(self, name: str) -> bool:
        """Whether a row has no value in this column."""
        query = select(self._table.c[name]).where(self._table.c[name].is_(None)).limit(1)
        with self._limited():
            return self._connection.execute(query).first() is not None

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """One short transaction that can only read, and only for so long."""
        with self._connection.begin():
            began = time.monotonic()
            _limit(self._connection, self._timeout_s)
            try:
                yield
            except DBAPIError as exc:
                if time.monotonic() - began >= self._timeout_s * 0.9:
                    raise ForeignTrouble(
                        "error",
                        f"a SELECT from {self.name} took longer than timeout_s = {self._timeout_s}; "
                        "an index on watermark and key makes it fast",
                    ) from exc
                raise


def _limit(connection: Connection, timeout_s: int) -> None:
    name = connection.dialect.name
    if name == "postgresql":
        connection.execute(text("SET TRANSACTION READ ONLY"))
        connection.execute(text(f"SET LOCAL statement_timeout = {timeout_s * 1000}"))
    elif name in ("mysql", "mariadb"):
        limit = "max_statement_time" if name == "mariadb" else "max_execution_time"
        connection.execute(
            text(f"SET SESSION {limit} = {timeout_s if name == 'mariadb' else timeout_s * 1000}")
        )
    elif name == "sqlite":
        deadline = time.monotonic() + timeout_s
        raw: Any = connection.connection.driver_connection
        raw.set_progress_handler(lambda: int(time.monotonic() > deadline), 10_000)


@contextmanager
def open_view(url: str, name: str, timeout_s: int) -> Iterator[View]:
    """Connect and find the view. Raises ForeignTrouble, also from what is done with the view inside."""
    secret = ""
    try:
        parsed = make_url(url)
        secret = str(parsed.password or "")
        engine = _engine(parsed)
        try:
            with engine.connect() as connection:
                yield View(connection, name, timeout_s)
        finally:
            engine.dispose()
    except (NoSuchModuleError, ImportError) as exc:
        raise ForeignTrouble(
            "error",
            f"no driver for {url.partition(':')[0][:40]} is installed here; install it beside quansheng",
        ) from exc
    except ArgumentError as exc:
        raise ForeignTrouble(
            "error",
            "`database` is no SQLAlchemy URL; expected for example postgresql+psycopg://reader:...@host/db",
        ) from exc
    except DBAPIError as exc:
        raise ForeignTrouble(
            "error", f"the database does not answer as it should: {_words(exc, secret)}"
        ) from exc
    except SQLAlchemyError as exc:
        raise ForeignTrouble(
            "error", f"the database cannot be read: {type(exc).__name__}: {_clean(str(exc), secret)}"
        ) from exc


def _engine(url: URL) -> Engine:
    options: dict[str, Any] = {}
    if url.get_backend_name() == "sqlite":
        path = Path(str(url.database or ""))
        if not path.is_file():
            raise ForeignTrouble("error", f"there is no database file {path}")
        url = url.set(database=f"file:{quote(str(path.resolve()))}", query={"mode": "ro", "uri": "true"})
        options["connect_args"] = {"timeout": CONNECT_S}
    elif key := _CONNECT_KEYS.get(url.get_driver_name()):
        options["connect_args"] = {key: CONNECT_S}
    engine = create_engine(url, pool_size=1, max_overflow=0, **options)
    if url.get_backend_name() in ("mysql", "mariadb"):

        @event.listens_for(engine, "connect")
        def only_read(connection: Any, _record: Any) -> None:
            with connection.cursor() as cursor:
                cursor.execute("SET SESSION TRANSACTION READ ONLY")

    return engine


def _words(exc: DBAPIError, secret: str) -> str:
    """The database's own words: without our statement, its values and the password."""
    return _clean(str(exc.orig or type(exc).__name__), secret)


def _clean(words: str, secret: str) -> str:
    line = " ".join(words.split())
    return (line.replace(secret, "***") if secret else line)[:300]
