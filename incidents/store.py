"""Open the database of an installation: migrated to this code's schema, with the key that signs its events."""

from __future__ import annotations

from incidents.migrate import upgrade
from incidents.session import Database


def open_database(url: str, *, audit_key: bytes, busy_timeout_s: float = 10.0) -> Database:
    """Open and migrate. Raises SchemaTooNew (incidents.migrate) when a newer version of Quansheng has used it."""
    db = Database(url, audit_key=audit_key, busy_timeout_s=busy_timeout_s)
    upgrade(db.engine)
    return db
