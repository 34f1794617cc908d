"""Digest and name of what was received for each post, originals kept as evidence, and originals that are to be fetched again."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

#: SQLite numbers rows by itself only for INTEGER keys
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Posts stored before keep their text's digest only: what was received for them is not known any more."""
    for name, length in (("received", 80), ("original", 60)):
        empty = sa.Column(name, sa.String(length=length), nullable=False, server_default=sa.text("''"))
        op.add_column("post", empty)
    op.create_table(
        "evidence",
        sa.Column("post_id", ID, autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("incident_id", ID, nullable=False),
        sa.Column("source_id", sa.String(length=80), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("file_sha256", sa.String(length=64), nullable=False),
        sa.Column("payload_sha256", sa.String(length=64), nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("fetched_at", TIME, nullable=False),
        sa.Column("how", sa.String(length=12), nullable=False),
        sa.Column("kept_at", TIME, nullable=False),
        sa.Column("seq", ID, nullable=False),
        sa.Column("purged_at", TIME, nullable=True),
        sa.Column("purge_rule", sa.String(length=40), nullable=False),
        sa.Column("purge_seq", ID, nullable=True),
        sa.PrimaryKeyConstraint("post_id", "name"),
    )
    op.create_index("ix_evidence_incident", "evidence", ["incident_id"])
    op.create_index("ix_evidence_name", "evidence", ["name"])
    op.create_table(
        "evidence_want",
        sa.Column("post_id", ID, nullable=False),
        sa.Column("source_id", sa.String(length=80), nullable=False),
        sa.Column("since", TIME, nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("next_at", TIME, nullable=False),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("fetched_at", TIME, nullable=True),
        sa.Column("given_up_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("post_id"),
    )
