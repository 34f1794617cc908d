"""Open the database of an installation: migrated to this code's schema, with the key that signs its events."""

from __future__ import annotations

from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from config.departments import Departments
from incidents.migrate import head, is_current, stamp, upgrade
from incidents.session import Database
from incidents.trouble import Problem


def open_database(
    url: str, *, audit_key: bytes, busy_timeout_s: float = 10.0, departments: Departments | None = None
) -> Database:
    """Open and migrate.

    Raises Problem for a URL that names no database, DatabaseTrouble for one that cannot be used now, and SchemaTooNew
    (incidents.migrate) when a newer version of Quansheng has used it.
    """
    try:
        db = Database(url, audit_key=audit_key, busy_timeout_s=busy_timeout_s, departments=departments)
    except (ArgumentError, NoSuchModuleError, ImportError) as exc:
        # the URL itself may hold a password, so only its beginning is shown
        kind = url.partition(":")[0][:30]
        raise Problem(
            f"database.url ({kind}:...): names no database that is known; "
            "expected sqlite:////path/to/file.db or postgresql+psycopg://user@host/name"
        ) from exc
    except OSError as exc:
        raise Problem(
            f"{exc.filename}: folder of the database cannot be made: {exc.strerror}; correct database.url"
        ) from exc
    try:
        with db.telling():
            if is_current(db.engine):
                db.stamp = stamp(head())
            else:
                with db.turn():
                    db.stamp = stamp(upgrade(db.engine))
    except BaseException:
        db.close()
        raise
    return db
