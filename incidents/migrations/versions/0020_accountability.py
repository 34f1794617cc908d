"""Appeals of units, and letters of supervision from draft to answer; both are folds of events."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0020"
down_revision = "0018"
branch_labels = None
depends_on = None

#: SQLite numbers rows by itself only for INTEGER keys
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Both tables begin empty."""
    op.create_table(
        "appeal",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("unit", sa.String(60), nullable=False),
        sa.Column("about", sa.String(80), nullable=False),
        sa.Column("incident_id", ID, nullable=True),
        sa.Column("filed_by", sa.String(80), nullable=False),
        sa.Column("filed_at", TIME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("decide_due_at", TIME, nullable=False),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        sa.Column("trace", JSON, nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("decided_by", sa.String(80), nullable=False),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=False),
        sa.Column("changed_to", sa.String(60), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_appeal_unit", "appeal", ["unit", "state"])
    op.create_table(
        "letter",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("incident_id", ID, nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("department", sa.String(60), nullable=False),
        sa.Column("proposal_key", sa.String(60), nullable=False),
        sa.Column("level", sa.String(4), nullable=False),
        sa.Column("body", JSON, nullable=False),
        sa.Column("evidence", JSON, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(12), nullable=False),
        sa.Column("made_by", sa.String(80), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.Column("edited_by", sa.String(80), nullable=False),
        sa.Column("decided_by", sa.String(80), nullable=False),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=False),
        sa.Column("reply_due_at", TIME, nullable=True),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        sa.Column("trace", JSON, nullable=False),
        sa.Column("received_at", TIME, nullable=True),
        sa.Column("received_by", sa.String(80), nullable=False),
        sa.Column("answered_at", TIME, nullable=True),
        sa.Column("answered_by", sa.String(80), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("answer_url", sa.Text(), nullable=False),
        sa.Column("overdue_noticed_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_letter_department", "letter", ["department", "state"])
