"""What people teach: labels, proposals to merge or split, whom a complaint is about; and the topics of a week."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

#: SQLite numbers rows by itself only for INTEGER keys
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Existing judgements get an empty `about`: nobody has asked them whom they complain about."""
    op.add_column(
        "judgement", sa.Column("about", sa.String(length=16), nullable=False, server_default=sa.text("''"))
    )
    _labels()
    _proposals()
    _topics()
    if op.get_context().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION label_append_only() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'label is append-only'; END $$"
        )
        op.execute(
            "CREATE TRIGGER label_append_only BEFORE UPDATE ON label "
            "FOR EACH STATEMENT EXECUTE FUNCTION label_append_only()"
        )
    else:
        op.execute(
            "CREATE TRIGGER label_no_update BEFORE UPDATE ON label "
            "BEGIN SELECT RAISE(ABORT, 'label is append-only'); END"
        )


def _labels() -> None:
    op.create_table(
        "label",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("post_id", ID, nullable=True),
        sa.Column("incident_id", ID, nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("value", sa.String(length=40), nullable=False),
        sa.Column("was", sa.String(length=40), nullable=False),
        sa.Column("model_version", sa.String(length=80), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        # deleting a post is the one way in which its labels go
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
        # the latest is the one with the highest number: none is given twice
        sqlite_autoincrement=True,
    )
    op.create_index("ix_label_post", "label", ["post_id", "kind"])
    op.create_index("ix_label_incident", "label", ["incident_id"])


def _proposals() -> None:
    op.create_table(
        "proposal",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("incident_id", ID, nullable=False),
        sa.Column("other_id", ID, nullable=True),
        sa.Column("posts", JSON, nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("reasons", JSON, nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("made_at", TIME, nullable=False),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("decided_by", sa.String(length=80), nullable=False),
        sa.Column("decision_reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("kind", "incident_id", "other_id", name="uq_proposal"),
    )
    op.create_index("ix_proposal_state", "proposal", ["state"])
    where = sa.text("kind = 'split' AND state = 'open'")
    op.create_index(
        "uq_proposal_split",
        "proposal",
        ["incident_id"],
        unique=True,
        postgresql_where=where,
        sqlite_where=where,
    )


def _topics() -> None:
    op.create_table(
        "topic_week",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("week", sa.String(length=10), nullable=False),
        sa.Column("domain", sa.String(length=24), nullable=False),
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("title", sa.String(length=120), nullable=False),
        sa.Column("words", JSON, nullable=False),
        sa.Column("posts", sa.Integer(), nullable=False),
        sa.Column("voices", sa.Integer(), nullable=False),
        sa.Column("before", sa.Integer(), nullable=False),
        sa.Column("examples", JSON, nullable=False),
        sa.Column("model", sa.String(length=80), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("week", "domain", "key", name="uq_topic_week"),
    )
