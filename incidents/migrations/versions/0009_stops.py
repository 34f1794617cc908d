"""Halts of collecting and objections in a table of their own; objections to pages stood in `meta` until now."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

#: SQLite numbers rows by itself only for INTEGER keys
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Every objection that was in force stays in force, as its first event tells it."""
    table = op.create_table(
        "crawl_stop",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("scope", sa.String(length=8), nullable=False),
        sa.Column("target", sa.String(length=600), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.Column("lifted_at", TIME, nullable=True),
        sa.Column("lifted_by", sa.String(length=80), nullable=False),
        sa.Column("lifted_reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("kind", "scope", "target", name="uq_crawl_stop"),
    )
    op.create_index("ix_crawl_stop_lifted", "crawl_stop", ["lifted_at"])
    op.bulk_insert(table, _objections())
    op.execute("DELETE FROM meta WHERE key LIKE 'objection:%'")


def _objections() -> list[dict[str, Any]]:
    events = sa.table(
        "incident_event",
        sa.column("seq", sa.BigInteger()),
        sa.column("kind", sa.String()),
        sa.column("actor", sa.String()),
        sa.column("channel", sa.String()),
        sa.column("occurred_at", TIME),
        sa.column("payload", sa.JSON()),
    )
    found: dict[str, dict[str, Any]] = {}
    query = sa.select(events).where(events.c.kind == "objection").order_by(events.c.seq)
    for row in op.get_bind().execute(query):
        payload = json.loads(row.payload) if isinstance(row.payload, str) else row.payload
        target = str(payload.get("address_sha256", ""))
        found.setdefault(
            target,
            {
                "kind": "objection",
                "scope": "page",
                "target": target,
                "reason": "",
                "actor": row.actor,
                "channel": row.channel,
                "made_at": row.occurred_at,
                "lifted_at": None,
                "lifted_by": "",
                "lifted_reason": "",
            },
        )
    return list(found.values())
