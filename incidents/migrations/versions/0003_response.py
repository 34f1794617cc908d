"""Frozen ladders, accountability proposals, obligations, roster changes, hand-overs, extensions and daily chain heads."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

#: SQLite numbers rows by itself only for INTEGER keys
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Running clocks and waiting messages stay as they are: nothing was extended, no robot is known yet."""
    op.add_column("deadline", sa.Column("original_due_at", TIME, nullable=True))
    op.add_column(
        "deadline", sa.Column("extended_by", sa.Integer(), nullable=False, server_default=sa.text("0"))
    )
    for name, length in (("robot", 120), ("person", 60)):
        empty = sa.Column(name, sa.String(length=length), nullable=False, server_default=sa.text("''"))
        op.add_column("outbox", empty)
    op.add_column("outbox", sa.Column("bundled_in", sa.String(length=36), nullable=True))
    op.create_index("ix_outbox_robot", "outbox", ["robot", "sent_at"])
    _ladders()
    _obligations()
    _roster()
    op.create_table(
        "audit_head",
        sa.Column("day", sa.String(length=10), nullable=False),
        sa.Column("seq", ID, nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("noted_at", TIME, nullable=False),
        sa.Column("anchors", JSON, nullable=False),
        sa.PrimaryKeyConstraint("day"),
    )


def _ladders() -> None:
    op.create_table(
        "ladder",
        sa.Column("incident_id", ID, nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("route", sa.String(length=120), nullable=False),
        sa.Column("steps", JSON, nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("outer_due_at", TIME, nullable=True),
        sa.Column("stopped_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"]),
        sa.PrimaryKeyConstraint("incident_id", "epoch"),
    )
    op.create_table(
        "accountability",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("incident_id", ID, nullable=False),
        sa.Column("key", sa.String(length=60), nullable=False),
        sa.Column("level", sa.String(length=4), nullable=False),
        sa.Column("department", sa.String(length=60), nullable=False),
        sa.Column("ground", sa.String(length=24), nullable=False),
        sa.Column("evidence", JSON, nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("decided_by", sa.String(length=80), nullable=False),
        sa.Column("decision_reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("incident_id", "key", name="uq_accountability"),
    )
    op.create_index("ix_accountability_state", "accountability", ["state"])


def _obligations() -> None:
    op.create_table(
        "obligation",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("rule_id", sa.String(length=20), nullable=False),
        sa.Column("unit", sa.String(length=60), nullable=False),
        sa.Column("period", sa.String(length=60), nullable=False),
        sa.Column("trigger", sa.Text(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        sa.Column("calendar_version", sa.String(length=60), nullable=False),
        sa.Column("trace", JSON, nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("met_at", TIME, nullable=True),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("entered_by", sa.String(length=80), nullable=False),
        sa.Column("overdue_noticed_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("rule_id", "unit", "period", name="uq_obligation"),
    )
    op.create_index("ix_obligation_due", "obligation", ["state", "due_at"])


def _roster() -> None:
    op.create_table(
        "roster_change",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("role", sa.String(length=12), nullable=False),
        sa.Column("person", sa.String(length=60), nullable=False),
        sa.Column("stand_in", sa.String(length=60), nullable=False),
        sa.Column("start", TIME, nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("made_by", sa.String(length=80), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.Column("decided_by", sa.String(length=80), nullable=False),
        sa.Column("decided_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_roster_change_time", "roster_change", ["until", "start"])
    op.create_table(
        "handover",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("role", sa.String(length=12), nullable=False),
        sa.Column("shift_end", TIME, nullable=False),
        sa.Column("outgoing", sa.String(length=60), nullable=False),
        sa.Column("incoming", sa.String(length=60), nullable=False),
        sa.Column("offered_at", TIME, nullable=False),
        sa.Column("given_at", TIME, nullable=True),
        sa.Column("given_note", sa.Text(), nullable=False),
        sa.Column("taken_at", TIME, nullable=True),
        sa.Column("taken_note", sa.Text(), nullable=False),
        sa.Column("open_incidents", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("role", "shift_end", name="uq_handover"),
    )
