"""Posts by the time they were collected: coverage, the weekly report and the purge ask for a span of it among all posts."""

from __future__ import annotations

from alembic import op

revision = "0027"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Only an index; no row changes."""
    op.create_index("ix_post_fetched", "post", ["fetched_at"])
