"""The process in which one query of an analyst runs. It imports nothing of ours, holds no key, and is thrown away.

A request comes as JSON on stdin, the answer goes as JSON to stdout. The process has its own limits of memory, CPU time and files;
SQLite opens the copy read-only and its authorizer lets nothing through but reading the listed tables with the listed functions.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import sys
import time
from typing import Any

#: bytes of one answer; more rows are cut off
_ANSWER_BYTES = 16_000_000
#: longest text that a query may make (bytes)
_LENGTH = 1_000_000
_LIMITS = (
    (sqlite3.SQLITE_LIMIT_LENGTH, _LENGTH),
    (sqlite3.SQLITE_LIMIT_SQL_LENGTH, 20_000),
    (sqlite3.SQLITE_LIMIT_COLUMN, 200),
    (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 100),
    (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 50),
    (sqlite3.SQLITE_LIMIT_VDBE_OP, 50_000),
    (sqlite3.SQLITE_LIMIT_FUNCTION_ARG, 50),
    (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
    (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 200),
    (sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 0),
    (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 0),
    (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
)
_FUNCTIONS = frozenset(
    """
    -> ->> abs acos acosh asin asinh atan atan2 atanh avg ceil ceiling char coalesce cos cosh count cume_dist
    date datetime degrees dense_rank exp first_value floor format glob
    group_concat hex ifnull iif instr json json_array json_array_length json_each json_extract json_group_array
    json_group_object json_object json_quote json_type json_valid julianday lag last_value lead length like ln log
    log10 log2 lower ltrim max min mod nth_value ntile nullif percent_rank pi pow power printf quote radians
    random rank replace round row_number rtrim sign sin sinh sqrt strftime substr substring sum tan tanh time
    total trim trunc typeof unicode unixepoch upper
    """.split()  # noqa: SIM905 (a list of 90 names, one a line, is unreadable)
)


def _fence(memory_mb: int, seconds: float) -> None:
    """Limits of this process that nothing inside it can lift."""
    memory, cpu = memory_mb * 2**20, int(seconds) + 2
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    resource.setrlimit(resource.RLIMIT_FSIZE, (memory, memory))  # of temporary files, which a big sort writes
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))


class _Query:
    """One connection with everything shut that a SELECT does not need."""

    def __init__(self, file: str, tables: list[str], seconds: float) -> None:
        self.tables = frozenset(tables)
        self.refused = ""
        self.end = time.monotonic() + seconds
        self.connection = sqlite3.connect(f"{file}?mode=ro&immutable=1", uri=True, isolation_level=None)
        self.connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
        self.connection.execute("PRAGMA query_only=ON")
        self.connection.execute("PRAGMA trusted_schema=OFF")
        self.connection.execute("PRAGMA temp_store=FILE")
        self.connection.execute("PRAGMA cache_size=-16000")
        for name, value in _LIMITS:
            self.connection.setlimit(name, value)
        self.connection.set_authorizer(self._may)
        self.connection.set_progress_handler(self._over, 2000)

    def _may(self, action: int, one: str | None, two: str | None, *_where: str | None) -> int:
        if action in (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_RECURSIVE):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_READ and self._readable(one or "", two or ""):
            return sqlite3.SQLITE_OK
        if action == sqlite3.SQLITE_FUNCTION and (two or "").lower() in _FUNCTIONS:
            return sqlite3.SQLITE_OK
        if not self.refused:
            if action == sqlite3.SQLITE_READ:
                self.refused = f"table {one}"
            elif action == sqlite3.SQLITE_FUNCTION:
                self.refused = f"function {two}"
            else:
                self.refused = "statement"
        return sqlite3.SQLITE_DENY

    def _readable(self, table: str, column: str) -> bool:
        # without a column (`count(*)`) SQLite names subqueries in the same way as tables, and only rows are counted
        return table in self.tables or (not column and not table.startswith(("sqlite_", "pragma_")))

    def _over(self) -> int:
        return int(time.monotonic() > self.end)

    def run(self, sql: str, rows: int) -> dict[str, Any]:
        """The answer, or what was wrong."""
        try:
            cursor = self.connection.execute(sql)
            names = [column[0] for column in cursor.description or ()]
            found: list[list[Any]] = []
            size, more = 0, False
            for row in cursor:
                plain = [_plain(cell) for cell in row]
                size += sum(len(cell) if isinstance(cell, str) else 8 for cell in plain)
                if len(found) >= rows or size > _ANSWER_BYTES:
                    more = True
                    break
                found.append(plain)
        except sqlite3.OperationalError as exc:
            if str(exc) == "interrupted":
                return {"problem": "time"}
            if str(exc) in (
                "disk I/O error",
                "database or disk is full",
            ):  # its temporary files reached their limit
                return {"problem": "memory"}
            return {"problem": "sql", "detail": str(exc)}
        except (sqlite3.Error, sqlite3.Warning) as exc:
            if self.refused:
                return {"problem": "refused", "detail": self.refused}
            if "one statement" in str(exc):
                return {"problem": "statements"}
            return {"problem": "sql", "detail": str(exc)}
        return {"columns": names, "rows": found, "more": more}


def _plain(cell: Any) -> Any:
    if isinstance(cell, bytes):
        return cell.hex()
    if isinstance(cell, float) and (cell != cell or cell in (float("inf"), float("-inf"))):
        return str(cell)
    return cell


def main() -> None:
    """One query."""
    asked = json.load(sys.stdin)
    _fence(asked["memory_mb"], asked["seconds"])
    try:
        query = _Query(asked["file"], asked["tables"], asked["seconds"])
        answer = query.run(asked["sql"], asked["rows"])
        text = json.dumps(answer, ensure_ascii=False)
    except MemoryError:
        text = json.dumps({"problem": "memory"})
    sys.stdout.buffer.write(text.encode("utf-8", "replace"))


if __name__ == "__main__":
    main()
