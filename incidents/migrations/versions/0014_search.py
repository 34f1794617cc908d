"""Narrow rows to count by (kept by triggers, so that no way of writing forgets them), and saved searches.

A later migration that copies `post` or `judgement` (batch mode on SQLite) has to make the triggers again: `facet_triggers`.
"""

# ruff: noqa: S608 (all SQL here is made of texts of this file)

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0011"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """New tables, filled with what is there, then triggers that keep them."""
    op.create_table(
        "facet_combo",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("source_id", sa.String(length=80), nullable=False),
        sa.Column("domain", sa.String(length=24), nullable=False),
        sa.Column("tone", sa.String(length=8), nullable=False),
        sa.Column("risk", sa.Integer(), nullable=False),
        sa.Column("districts", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("source_id", "domain", "tone", "risk", "districts", name="uq_facet_combo"),
    )
    op.create_table(
        "post_facet",
        sa.Column("post_id", ID, autoincrement=False, nullable=False),
        sa.Column("at", ID, nullable=False),
        sa.Column("combo", ID, nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("post_id"),
    )
    op.create_index("ix_post_facet_combo", "post_facet", ["combo", "post_id"])
    op.create_table(
        "saved_search",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("owner", sa.String(length=60), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("asked", JSON, nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("threshold", sa.Integer(), nullable=False),
        sa.Column("window_h", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.Column("checked_at", TIME, nullable=True),
        sa.Column("found", sa.Integer(), nullable=False),
        sa.Column("told_at", TIME, nullable=True),
        sa.Column("trouble", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("owner", "name", name="uq_saved_search"),
    )
    postgres = op.get_bind().dialect.name == "postgresql"
    nothing = "'[]'::jsonb" if postgres else "'[]'"
    seconds = (
        "floor(extract(epoch from p.published_at))::bigint"
        if postgres
        else "CAST(strftime('%s', substr(p.published_at, 1, 19)) AS INTEGER)"
    )
    judged = (
        "post p LEFT JOIN judgement j ON j.post_id = p.id",
        f"p.source_id, coalesce(j.domain, ''), coalesce(j.tone, ''), coalesce(j.risk, 0), coalesce(j.districts, {nothing})",
    )
    op.execute(
        "INSERT INTO facet_combo(source_id, domain, tone, risk, districts) "
        f"SELECT DISTINCT {judged[1]} FROM {judged[0]}"
    )
    op.execute(
        f"INSERT INTO post_facet(post_id, at, combo) SELECT p.id, {seconds}, c.id FROM {judged[0]} "
        "JOIN facet_combo c ON c.source_id = p.source_id AND c.domain = coalesce(j.domain, '') "
        "AND c.tone = coalesce(j.tone, '') AND c.risk = coalesce(j.risk, 0) "
        f"AND c.districts = coalesce(j.districts, {nothing})"
    )
    facet_triggers(postgres)


def facet_triggers(postgres: bool) -> None:
    """Every new post gets its narrow row, every judgement and correction changes it."""
    for statement in _POSTGRES if postgres else _SQLITE:
        op.execute(statement)


_SAME = (
    "c.source_id = p.source_id AND c.domain = NEW.domain AND c.tone = NEW.tone "
    "AND c.risk = NEW.risk AND c.districts = NEW.districts"
)
_BARE = "source_id = NEW.source_id AND domain = '' AND tone = '' AND risk = 0 AND districts = '[]'"


def _sqlite_judged(when: str, name: str) -> str:
    return (
        f"CREATE TRIGGER {name} AFTER {when} ON judgement BEGIN "
        "INSERT INTO facet_combo(source_id, domain, tone, risk, districts) "
        "SELECT p.source_id, NEW.domain, NEW.tone, NEW.risk, NEW.districts FROM post p "
        f"WHERE p.id = NEW.post_id AND NOT EXISTS (SELECT 1 FROM facet_combo c WHERE {_SAME}); "
        "UPDATE post_facet SET combo = (SELECT c.id FROM facet_combo c JOIN post p ON p.id = NEW.post_id "
        f"WHERE {_SAME}) WHERE post_id = NEW.post_id; END"
    )


_SQLITE = (
    "CREATE TRIGGER post_facet_new AFTER INSERT ON post BEGIN "
    "INSERT INTO facet_combo(source_id, domain, tone, risk, districts) "
    f"SELECT NEW.source_id, '', '', 0, '[]' WHERE NOT EXISTS (SELECT 1 FROM facet_combo WHERE {_BARE}); "
    "INSERT INTO post_facet(post_id, at, combo) VALUES (NEW.id, "
    "CAST(strftime('%s', substr(NEW.published_at, 1, 19)) AS INTEGER), "
    f"(SELECT id FROM facet_combo WHERE {_BARE})); END",
    "CREATE TRIGGER post_facet_moved AFTER UPDATE OF published_at ON post BEGIN "
    "UPDATE post_facet SET at = CAST(strftime('%s', substr(NEW.published_at, 1, 19)) AS INTEGER) "
    "WHERE post_id = NEW.id; END",
    _sqlite_judged("INSERT", "post_facet_judged"),
    _sqlite_judged("UPDATE OF domain, tone, risk, districts", "post_facet_corrected"),
)
_POSTGRES = (
    "CREATE FUNCTION post_facet_new() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "INSERT INTO facet_combo(source_id, domain, tone, risk, districts) "
    "VALUES (NEW.source_id, '', '', 0, '[]'::jsonb) ON CONFLICT DO NOTHING; "
    "INSERT INTO post_facet(post_id, at, combo) SELECT NEW.id, "
    "floor(extract(epoch from NEW.published_at))::bigint, c.id FROM facet_combo c "
    "WHERE c.source_id = NEW.source_id AND c.domain = '' AND c.tone = '' AND c.risk = 0 "
    "AND c.districts = '[]'::jsonb; RETURN NULL; END $$",
    "CREATE FUNCTION post_facet_moved() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "UPDATE post_facet SET at = floor(extract(epoch from NEW.published_at))::bigint WHERE post_id = NEW.id; "
    "RETURN NULL; END $$",
    "CREATE FUNCTION post_facet_judged() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "INSERT INTO facet_combo(source_id, domain, tone, risk, districts) "
    "SELECT p.source_id, NEW.domain, NEW.tone, NEW.risk, NEW.districts FROM post p "
    f"WHERE p.id = NEW.post_id AND NOT EXISTS (SELECT 1 FROM facet_combo c WHERE {_SAME}) "
    "ON CONFLICT DO NOTHING; "
    "UPDATE post_facet SET combo = c.id FROM facet_combo c, post p "
    f"WHERE post_facet.post_id = NEW.post_id AND p.id = NEW.post_id AND {_SAME}; RETURN NULL; END $$",
    "CREATE TRIGGER post_facet_new AFTER INSERT ON post FOR EACH ROW EXECUTE FUNCTION post_facet_new()",
    "CREATE TRIGGER post_facet_moved AFTER UPDATE OF published_at ON post "
    "FOR EACH ROW EXECUTE FUNCTION post_facet_moved()",
    "CREATE TRIGGER post_facet_judged AFTER INSERT OR UPDATE OF domain, tone, risk, districts ON judgement "
    "FOR EACH ROW EXECUTE FUNCTION post_facet_judged()",
)
