"""Messages of one officer, and of one bundle, by an index: each send asked for them among all that were ever sent."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only indexes; no row changes."""
    op.create_index("ix_outbox_person", "outbox", ["person", "created_at"])
    bundled = sa.text("bundled_in IS NOT NULL")
    op.create_index(
        "ix_outbox_bundled", "outbox", ["bundled_in"], postgresql_where=bundled, sqlite_where=bundled
    )
