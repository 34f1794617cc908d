"""Need to know on incidents; passwords with a history, one-time codes, sign-in services, sessions people can list; unmasking."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0014"
branch_labels = None
depends_on = None

#: SQLite numbers rows by itself only for INTEGER keys
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def _json() -> sa.types.TypeEngine[object]:
    if op.get_bind().dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import JSONB

        return JSONB()
    return sa.JSON()


def _account() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["account_id"], ["account.id"], ondelete="CASCADE")


def upgrade() -> None:
    """Nobody is restricted, nobody has a code yet, every account is a local one."""
    op.add_column(
        "incident", sa.Column("restricted", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.add_column("incident", sa.Column("readers", _json(), nullable=False, server_default="[]"))
    op.create_index(
        "ix_incident_restricted",
        "incident",
        ["id"],
        postgresql_where=sa.text("restricted"),
        sqlite_where=sa.text("restricted = 1"),
    )
    for column in (
        sa.Column("password_set_at", TIME, nullable=True),
        sa.Column("origin", sa.String(length=12), nullable=False, server_default="local"),
        sa.Column("subject", sa.String(length=200), nullable=False, server_default=""),
        sa.Column("totp_sealed", sa.Text(), nullable=False, server_default=""),
        sa.Column("totp_on", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("totp_step", sa.BigInteger(), nullable=False, server_default="0"),
    ):
        op.add_column("account", column)
    op.create_table(
        "used_password",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("set_at", TIME, nullable=False),
        _account(),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_used_password", "used_password", ["account_id", "id"])
    op.create_table(
        "recovery_code",
        sa.Column("account_id", ID, nullable=False),
        sa.Column("code_sha256", sa.String(length=64), nullable=False),
        _account(),
        sa.PrimaryKeyConstraint("account_id", "code_sha256"),
    )
    op.create_table(
        "unmask",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("incident_id", ID, nullable=False),
        sa.Column("asked_by", sa.String(length=60), nullable=False),
        sa.Column("asked_at", TIME, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("decided_by", sa.String(length=60), nullable=False),
        sa.Column("decided_at", TIME, nullable=True),
        sa.Column("decision_reason", sa.Text(), nullable=False),
        sa.Column("until", TIME, nullable=True),
        sa.ForeignKeyConstraint(["incident_id"], ["incident.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_unmask_incident", "unmask", ["incident_id", "asked_by"])
    op.create_index("ix_unmask_state", "unmask", ["state"])
    for column in (
        sa.Column("handle", sa.String(length=24), nullable=False, server_default=""),
        sa.Column("device", sa.String(length=160), nullable=False, server_default=""),
        sa.Column("origin", sa.String(length=12), nullable=False, server_default="local"),
        sa.Column("pending", sa.String(length=8), nullable=False, server_default=""),
    ):
        op.add_column("login_session", column)
