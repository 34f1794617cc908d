"""An index by parent: what was merged into an incident is asked for by every message, among tens of thousands."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only an index; no row changes."""
    merged = sa.text("parent_id IS NOT NULL")
    op.create_index(
        "ix_incident_parent", "incident", ["parent_id"], postgresql_where=merged, sqlite_where=merged
    )
