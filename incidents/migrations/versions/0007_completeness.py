"""What a post said before it was edited, its counts over time, when it is looked at again, and back-fills."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """New tables only. Posts that are there already are looked at again when their incident is open; see incidents.revisits."""
    op.create_table(
        "post_revision",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("post_id", ID, nullable=False),
        sa.Column("noticed_at", TIME, nullable=False),
        sa.Column("old_title", sa.Text(), nullable=False),
        sa.Column("old_text", sa.Text(), nullable=False),
        sa.Column("old_sha256", sa.String(length=64), nullable=False),
        sa.Column("new_sha256", sa.String(length=64), nullable=False),
        sa.Column("evidence", JSON, nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_post_revision_post", "post_revision", ["post_id"])
    op.create_table(
        "post_count",
        sa.Column("post_id", ID, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("counts", JSON, nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("post_id", "at"),
    )
    op.create_table(
        "revisit",
        sa.Column("post_id", ID, nullable=False),
        sa.Column("source_id", sa.String(length=80), nullable=False),
        sa.Column("due_at", TIME, nullable=True),
        sa.Column("visits", sa.Integer(), nullable=False),
        sa.Column("visited_at", TIME, nullable=True),
        sa.Column("there_at", TIME, nullable=True),
        sa.Column("evidence", JSON, nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("post_id"),
    )
    due = sa.text("due_at IS NOT NULL")
    op.create_index(
        "ix_revisit_due", "revisit", ["source_id", "due_at"], postgresql_where=due, sqlite_where=due
    )
    op.create_table(
        "backfill",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("source_id", sa.String(length=80), nullable=False),
        sa.Column("start", TIME, nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("progress", JSON, nullable=False),
        sa.Column("pages", sa.Integer(), nullable=False),
        sa.Column("found", sa.Integer(), nullable=False),
        sa.Column("saved", sa.Integer(), nullable=False),
        sa.Column("oldest_at", TIME, nullable=True),
        sa.Column("seconds", sa.Float(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("source_id", "start", "until", name="uq_backfill"),
    )
