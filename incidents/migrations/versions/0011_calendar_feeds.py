"""Secret addresses of calendars of shifts, which a calendar program subscribes to."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0016"
branch_labels = None
depends_on = None

#: SQLite numbers rows by itself only for INTEGER keys
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """One table more."""
    op.create_table(
        "calendar_feed",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("person", sa.String(length=60), nullable=False),
        sa.Column("made_by", sa.String(length=80), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.Column("revoked_by", sa.String(length=80), nullable=False),
        sa.Column("revoked_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
