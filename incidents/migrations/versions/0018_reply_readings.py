"""What official answers say and what they promise: one row for each answer that was read, one for each promise."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0018"
down_revision = "0010"
branch_labels = None
depends_on = None

#: SQLite numbers rows by itself only for INTEGER keys
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Two tables, both folds of events; answers that are there already are read by the job."""
    op.create_table(
        "reply_reading",
        sa.Column("incident_id", ID, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=60), nullable=False),
        sa.Column("seq", ID, nullable=True),
        sa.Column("post_id", ID, nullable=True),
        sa.Column("department", sa.String(length=60), nullable=False),
        sa.Column("published_at", TIME, nullable=False),
        sa.Column("read_at", TIME, nullable=False),
        sa.Column("model", sa.String(length=40), nullable=False),
        sa.Column("mark", sa.String(length=64), nullable=False),
        sa.Column("relevance", sa.Float(), nullable=True),
        sa.Column("coverage", sa.Float(), nullable=True),
        sa.Column("elements", JSON, nullable=False),
        sa.Column("citations", sa.Integer(), nullable=False),
        sa.Column("figures", sa.Integer(), nullable=False),
        sa.Column("buck_passing", sa.Boolean(), nullable=False),
        sa.Column("template_of", sa.Integer(), nullable=False),
        sa.Column("blame", sa.Boolean(), nullable=False),
        sa.Column("courtesy", sa.Boolean(), nullable=False),
        sa.Column("details", JSON, nullable=False),
        sa.PrimaryKeyConstraint("incident_id", "key"),
    )
    op.create_table(
        "promise",
        sa.Column("incident_id", ID, autoincrement=False, nullable=False),
        sa.Column("key", sa.String(length=60), nullable=False),
        sa.Column("answer", sa.String(length=60), nullable=False),
        sa.Column("department", sa.String(length=60), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("workdays", sa.Integer(), nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("decided_by", sa.String(length=80), nullable=False),
        sa.Column("link", sa.Text(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("overdue_noticed_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("incident_id", "key"),
    )
