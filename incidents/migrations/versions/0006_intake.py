"""Receipts of files and pushes that were handed over."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

#: SQLite numbers rows by itself only for INTEGER keys
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Only a new table; nothing was handed over before."""
    op.create_table(
        "intake_receipt",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("source_id", sa.String(length=80), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("received_at", TIME, nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("rows", "saved", "known", "aside")),
        sa.Column("report", JSON, nullable=False),
        sa.Column("filed_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("source_id", "digest", name="uq_intake_receipt"),
    )
    unfiled = sa.text("filed_at IS NULL")
    op.create_index(
        "ix_intake_receipt_open",
        "intake_receipt",
        ["source_id"],
        postgresql_where=unfiled,
        sqlite_where=unfiled,
    )
