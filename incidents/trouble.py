"""What is wrong with the database, in one sentence for the person who can put it right."""

from __future__ import annotations

from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError


class Problem(Exception):
    """Something a person can put right: one sentence with what is wrong, where, and what to do."""


class DatabaseTrouble(Problem):
    """The database cannot be read or written now: locked, full, read-only, damaged, unreachable. Nothing half is stored."""


class SchemaTooNew(Problem):
    """The database was used by a newer version of the program, which this one could damage."""


#: words of SQLite (from its sqlite3_errstr) -> what is wrong and what to do
_SQLITE = {
    "locked": "another process has held it for too long; wait a minute, and end that process if this stays",
    "busy": "another process has held it for too long; wait a minute, and end that process if this stays",
    "readonly": "is read-only; let this account write to the file and to its folder",
    "read-only": "is read-only; let this account write to the file and to its folder",
    "is full": "the disk is full; make room and start again",
    "unable to open": "cannot be opened; check that its folder exists and that this account may write there",
    "disk i/o": "the disk cannot be read or written; check its space and its health",
    "not a database": "is no database or is damaged; move it aside and restore the last good backup",
    "malformed": "is damaged; move it aside and restore the last good backup",
}
#: codes of PostgreSQL: a lock was not given in time, a process fell silent with a lock in its hand
_POSTGRESQL = {
    "55P03": _SQLITE["locked"],
    "25P03": "this process stood still for too long while others waited; what it was writing is taken back and done anew",
}


def is_locked(error: DBAPIError) -> bool:
    """Whether SQLite gave up because somebody else holds the file."""
    return "locked" in str(error.orig).lower()


def explain(error: DBAPIError, place: str) -> DatabaseTrouble | None:
    """The sentence for `error`, None when it is no trouble of the database but a mistake of ours (a bug keeps its traceback)."""
    told = " ".join(str(error.orig).split())
    if what := _POSTGRESQL.get(getattr(error.orig, "sqlstate", None) or ""):
        return DatabaseTrouble(f"{place}: {what} ({told})")
    if not isinstance(error, OperationalError) and type(error) is not DatabaseError:
        return None
    if "sqlite" not in type(error.orig).__module__:
        return DatabaseTrouble(f"{place}: {told}; start the database server, or correct database.url")
    for word, what in _SQLITE.items():
        if word in told.lower():
            return DatabaseTrouble(f"{place}: {what} ({told})")
    return None
