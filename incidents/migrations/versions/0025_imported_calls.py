"""Call-backs out of exports of a hotline: what each work order says of its caller, and the source of an entry that was made of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0026"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Nothing was imported of calls before: what stands in call_back was entered by people."""
    op.add_column("call_back", sa.Column("source", sa.String(80), nullable=False, server_default=""))
    op.create_table(
        "imported_call",
        sa.Column("post_id", ID, primary_key=True, autoincrement=False),
        sa.Column("solved", sa.String(12), nullable=False),
        sa.Column("satisfied", sa.String(16), nullable=False),
        sa.Column("called_at", TIME, nullable=False),
        sa.Column("timed", sa.Boolean(), nullable=False),
        sa.Column("noticed_at", TIME, nullable=False),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("incident_id", ID),
        sa.Column("holder_id", ID),
        sa.Column("round", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("source_id", sa.String(80), nullable=False, server_default=""),
        sa.Column("entry", sa.String(80), nullable=False, server_default=""),
    )
    op.create_index("ix_imported_call_entry", "imported_call", ["incident_id", "entry"])
