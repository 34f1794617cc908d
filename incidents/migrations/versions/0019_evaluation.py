"""Evaluation of the response: ratings of reviewers and call-backs (folds of events), and the evaluations that were computed."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0019"
down_revision = "0020"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Nothing was rated or called back before: the tables begin empty."""
    op.create_table(
        "incident_rating",
        sa.Column("incident_id", ID, primary_key=True, autoincrement=False),
        sa.Column("round", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("reviewer", sa.String(80), primary_key=True),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("scores", JSON, nullable=False),
        sa.Column("improper", sa.Boolean(), nullable=False),
        sa.Column("points", JSON, nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("rated_at", TIME, nullable=False),
        sa.Column("seq", ID, nullable=False),
    )
    op.create_table(
        "call_back",
        sa.Column("incident_id", ID, primary_key=True, autoincrement=False),
        sa.Column("key", sa.String(80), primary_key=True),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("solved", sa.Integer(), nullable=False),
        sa.Column("unsolved", sa.Integer(), nullable=False),
        sa.Column("unknown", sa.Integer(), nullable=False),
        sa.Column("satisfied", sa.Integer(), nullable=False),
        sa.Column("basically", sa.Integer(), nullable=False),
        sa.Column("dissatisfied", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.Column("entered_by", sa.String(80), nullable=False),
        sa.Column("withdrawn_at", TIME),
        sa.Column("seq", ID, nullable=False),
    )
    op.create_index("ix_call_back_made", "call_back", ["made_at"])
    op.create_table(
        "evaluation_run",
        sa.Column("id", ID, primary_key=True, autoincrement=True),
        sa.Column("scope", sa.String(12), nullable=False),
        sa.Column("subject", sa.String(24), nullable=False),
        sa.Column("incident_id", ID),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(12), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("model", JSON, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("next_at", TIME),
        sa.UniqueConstraint("scope", "subject", "revision", name="uq_evaluation_run"),
    )
    op.create_index("ix_evaluation_run_incident", "evaluation_run", ["incident_id"])
