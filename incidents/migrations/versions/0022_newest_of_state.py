"""Incidents of a state by the time of their detection, so that the newest ones are found without reading them all."""

from __future__ import annotations

from alembic import op

revision = "0022"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """One index grows by the order in which it is asked."""
    op.drop_index("ix_incident_state", "incident")
    op.create_index("ix_incident_state", "incident", ["state", "detected_at", "id"])
