"""Inserts that both databases understand alike."""

from __future__ import annotations

from typing import Any

from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session


def insert_into(session: Session, table: Any) -> Any:
    """An INSERT into `table` that knows ON CONFLICT, in the dialect of the session's database."""
    return dialect_insert(session.get_bind().dialect.name, table)


def dialect_insert(dialect: str, table: Any) -> Any:
    """The same for a dialect by name: to build a statement once."""
    return (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)
