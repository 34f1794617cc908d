"""A list of the posts whose originals have still to be looked at, and the originals that a source still owes by its id.

Until now the evidence job asked every stored post each time.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0017"
branch_labels = None
depends_on = None

#: SQLite numbers rows by itself only for INTEGER keys
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """The list begins with what the job would have found by asking every post."""
    op.create_table(
        "evidence_due",
        sa.Column("post_id", ID, nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("post_id"),
    )
    op.execute(
        """
        INSERT INTO evidence_due (post_id)
        SELECT post.id
          FROM post
          JOIN incident_post ON incident_post.post_id = post.id
          JOIN incident ON incident.id = incident_post.incident_id
          LEFT JOIN evidence_want ON evidence_want.post_id = post.id
         WHERE incident.state != 'watching'
           AND post.received LIKE 'sha256:%'
           AND (evidence_want.post_id IS NULL OR evidence_want.name != '')
           AND NOT EXISTS (
               SELECT 1 FROM evidence
                WHERE evidence.post_id = post.id
                  AND (evidence.purged_at IS NULL OR evidence.purged_at > post.fetched_at)
                  AND evidence.purge_rule != 'objection to another post in the file')
        """
    )
    open_ones = sa.text("given_up_at IS NULL")
    op.create_index(
        "ix_evidence_want_source",
        "evidence_want",
        ["source_id"],
        postgresql_where=open_ones,
        sqlite_where=open_ones,
    )
