"""Titles of hot lists get a table of their own: they are no posts of citizens and must not be counted as such."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

#: SQLite numbers rows by itself only for INTEGER keys
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """An empty table; titles that were stored as posts are moved by the next purge (incidents.hot_titles.move_old)."""
    op.create_table(
        "hot_title",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("source_id", sa.String(length=80), nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=False),
        sa.Column("list_name", sa.String(length=120), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("first_seen_at", TIME, nullable=False),
        sa.Column("last_seen_at", TIME, nullable=False),
        sa.Column("best_rank", sa.Integer(), nullable=False),
        sa.Column("sightings", sa.Integer(), nullable=False),
        sa.Column("judged_at", TIME, nullable=True),
        sa.Column("domain", sa.String(length=24), nullable=False),
        sa.Column("domain_score", sa.Float(), nullable=False),
        sa.Column("districts", JSON, nullable=False),
        sa.Column("places", JSON, nullable=False),
        sa.Column("model_version", sa.String(length=80), nullable=False),
        sa.Column("elsewhere", sa.Boolean(), nullable=False),
        sa.Column("incident_id", ID, nullable=True),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("matched_at", TIME, nullable=True),
        sa.Column("near_id", ID, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("source_id", "external_id", name="uq_hot_title"),
    )
    op.create_index("ix_hot_title_first_seen", "hot_title", ["first_seen_at"])
    op.create_table(
        "hot_verdict",
        sa.Column("title_id", ID, autoincrement=False, nullable=False),
        sa.Column("verdict", sa.String(length=12), nullable=False),
        sa.Column("incident_id", ID, nullable=True),
        sa.Column("decided_by", sa.String(length=80), nullable=False),
        sa.Column("decided_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("title_id"),
    )
