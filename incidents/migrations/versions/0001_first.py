"""Every table of the first version, the search index of each database, and the triggers of the event log."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

#: SQLite numbers rows by itself only for INTEGER keys
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    """Create everything; `meta` gets the row that writers of the event chain lock."""
    _posts()
    _judgements()
    _incidents()
    _incident_members()
    _events()
    _clocks()
    _outbox()
    _housekeeping()
    _accounts()
    meta = sa.table("meta", sa.column("key"), sa.column("value"))
    op.bulk_insert(meta, [{"key": "chain", "value": ""}])
    if op.get_context().dialect.name == "postgresql":
        _postgresql()
    else:
        _sqlite()


def _posts() -> None:
    op.create_table(
        "post",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("source_id", sa.String(length=80), nullable=False),
        sa.Column("external_id", sa.String(length=200), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("published_at", TIME, nullable=False),
        sa.Column("published_estimated", sa.Boolean(), nullable=False),
        sa.Column("fetched_at", TIME, nullable=False),
        sa.Column("judged_at", TIME, nullable=True),
        sa.Column("author_key", sa.String(length=64), nullable=True),
        sa.Column("place_hint", sa.Text(), nullable=False),
        sa.Column("engagement", JSON, nullable=False),
        sa.Column("content_sha256", sa.String(length=64), nullable=False),
        sa.Column("provenance", JSON, nullable=False),
        sa.Column("unavailable_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("source_id", "external_id", name="uq_post_source_external"),
        # a number is never given twice, even after its row was purged
        sqlite_autoincrement=True,
    )
    op.create_index("ix_post_content", "post", ["content_sha256"])
    op.create_index("ix_post_published", "post", ["published_at"])
    op.create_index(
        "ix_post_unjudged",
        "post",
        ["id"],
        postgresql_where=sa.text("judged_at IS NULL"),
        sqlite_where=sa.text("judged_at IS NULL"),
    )
    op.create_index("ix_post_url", "post", ["url"])
    op.create_table(
        "quarantine",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("row", sa.Integer(), nullable=True),
        sa.Column("field", sa.String(length=120), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("resolved_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "source_state",
        sa.Column("source_id", sa.String(length=80), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("last_fetch_at", TIME, nullable=True),
        sa.Column("last_ok_at", TIME, nullable=True),
        sa.Column("last_new_post_at", TIME, nullable=True),
        sa.Column("next_due_at", TIME, nullable=True),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("posts_total", sa.Integer(), nullable=False),
        sa.Column("cursor", JSON, nullable=False),
        sa.PrimaryKeyConstraint("source_id"),
    )


def _judgements() -> None:
    op.create_table(
        "judgement",
        sa.Column("post_id", ID, nullable=False),
        sa.Column("domain", sa.String(length=24), nullable=False),
        sa.Column("domain_score", sa.Float(), nullable=False),
        sa.Column("tone", sa.String(length=8), nullable=False),
        sa.Column("tone_score", sa.Float(), nullable=False),
        sa.Column("snownlp_score", sa.Float(), nullable=False),
        sa.Column("signal", sa.Boolean(), nullable=False),
        sa.Column("signal_score", sa.Float(), nullable=False),
        sa.Column("risk", sa.Integer(), nullable=False),
        sa.Column("risk_score", sa.Float(), nullable=False),
        sa.Column("abstain", sa.Boolean(), nullable=False),
        sa.Column("districts", JSON, nullable=False),
        sa.Column("places", JSON, nullable=False),
        sa.Column("reasons", JSON, nullable=False),
        sa.Column("near_copy_of", ID, nullable=True),
        sa.Column("model_version", sa.String(length=80), nullable=False),
        sa.Column("judged_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("post_id"),
    )
    op.create_index("ix_judgement_domain", "judgement", ["domain"])
    op.create_index("ix_judgement_near_copy", "judgement", ["near_copy_of"])


def _incidents() -> None:
    op.create_table(
        "incident",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("number", sa.String(length=24), nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("domain", sa.String(length=24), nullable=False),
        sa.Column("district", sa.String(length=40), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("level", sa.String(length=12), nullable=False),
        sa.Column("track", sa.String(length=8), nullable=False),
        sa.Column("why", JSON, nullable=False),
        sa.Column("department", sa.String(length=60), nullable=False),
        sa.Column("officer", sa.String(length=60), nullable=False),
        sa.Column("parent_id", ID, nullable=True),
        sa.Column("posts", sa.Integer(), nullable=False),
        sa.Column("voices", sa.Integer(), nullable=False),
        sa.Column("first_posted_at", TIME, nullable=False),
        sa.Column("last_post_at", TIME, nullable=False),
        sa.Column("detected_at", TIME, nullable=True),
        sa.Column("alerted_at", TIME, nullable=True),
        sa.Column("acknowledged_at", TIME, nullable=True),
        sa.Column("confirmed_at", TIME, nullable=True),
        sa.Column("assigned_at", TIME, nullable=True),
        sa.Column("responded_at", TIME, nullable=True),
        sa.Column("evaluated_at", TIME, nullable=True),
        sa.Column("closed_at", TIME, nullable=True),
        sa.Column("sketch", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("number"),
        # a number is never given twice, even after its row was purged
        sqlite_autoincrement=True,
    )
    op.create_index("ix_incident_detected", "incident", ["detected_at"])
    op.create_index("ix_incident_last_post", "incident", ["last_post_at"])
    op.create_index("ix_incident_state", "incident", ["state"])


def _incident_members() -> None:
    op.create_table(
        "incident_post",
        sa.Column("post_id", ID, nullable=False),
        sa.Column("incident_id", ID, nullable=False),
        sa.Column("similarity", sa.Float(), nullable=False),
        sa.Column("added_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["incident_id"],
            ["incident.id"],
        ),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("post_id"),
    )
    op.create_index("ix_incident_post_incident", "incident_post", ["incident_id"])
    op.create_table(
        "incident_hour",
        sa.Column("incident_id", ID, nullable=False),
        sa.Column("hour", TIME, nullable=False),
        sa.Column("posts", sa.Integer(), nullable=False),
        sa.Column("voices", sa.Integer(), nullable=False),
        sa.Column("negative", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["incident_id"],
            ["incident.id"],
        ),
        sa.PrimaryKeyConstraint("incident_id", "hour"),
    )


def _events() -> None:
    op.create_table(
        "incident_event",
        sa.Column("seq", ID, autoincrement=False, nullable=False),
        sa.Column("incident_id", ID, nullable=True),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("actor", sa.String(length=80), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("occurred_at", TIME, nullable=False),
        sa.Column("recorded_at", TIME, nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("idempotency_key", sa.String(length=120), nullable=True),
        sa.Column("prev_hash", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("idempotency_key"),
        sa.UniqueConstraint("incident_id", "version", name="uq_event_incident_version"),
    )
    op.create_index("ix_event_incident", "incident_event", ["incident_id", "seq"])
    op.create_index("ix_event_kind", "incident_event", ["kind", "recorded_at"])


def _clocks() -> None:
    op.create_table(
        "deadline",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("incident_id", ID, nullable=False),
        sa.Column("rule_id", sa.String(length=20), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("stops_on", sa.String(length=24), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("provisional", sa.Boolean(), nullable=False),
        sa.Column("calendar_version", sa.String(length=60), nullable=False),
        sa.Column("trace", JSON, nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("closed_at", TIME, nullable=True),
        sa.Column("overdue_noticed_at", TIME, nullable=True),
        sa.ForeignKeyConstraint(
            ["incident_id"],
            ["incident.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("incident_id", "rule_id", "round", name="uq_deadline"),
    )
    op.create_index(
        "ix_deadline_open",
        "deadline",
        ["due_at"],
        postgresql_where=sa.text("state = 'open'"),
        sqlite_where=sa.text("state = 'open'"),
    )
    op.create_table(
        "timer",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("incident_id", ID, nullable=False),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("due_at", TIME, nullable=False),
        sa.Column("done_at", TIME, nullable=True),
        sa.Column("result", sa.String(length=24), nullable=False),
        sa.Column("payload", JSON, nullable=False),
        sa.ForeignKeyConstraint(
            ["incident_id"],
            ["incident.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("incident_id", "kind", "epoch", "step", name="uq_timer"),
    )
    op.create_index(
        "ix_timer_open",
        "timer",
        ["due_at"],
        postgresql_where=sa.text("done_at IS NULL"),
        sqlite_where=sa.text("done_at IS NULL"),
    )


def _outbox() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("incident_id", ID, nullable=True),
        sa.Column("kind", sa.String(length=24), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("recipient", sa.String(length=120), nullable=False),
        sa.Column("channel", sa.String(length=20), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("message", JSON, nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("not_before", TIME, nullable=False),
        sa.Column("lease_until", TIME, nullable=True),
        sa.Column("sent_at", TIME, nullable=True),
        sa.Column("provider_ref", sa.String(length=200), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_outbox_incident", "outbox", ["incident_id"])
    op.create_index(
        "ix_outbox_todo",
        "outbox",
        ["not_before"],
        postgresql_where=sa.text("state IN ('pending','sending')"),
        sqlite_where=sa.text("state IN ('pending','sending')"),
    )
    op.create_table(
        "outbox_attempt",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("outbox_id", sa.String(length=36), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("started_at", TIME, nullable=False),
        sa.Column("finished_at", TIME, nullable=True),
        sa.Column("result", sa.String(length=12), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["outbox_id"],
            ["outbox.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_outbox_attempt_outbox_id", "outbox_attempt", ["outbox_id"])


def _housekeeping() -> None:
    op.create_table(
        "report_run",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("report", sa.String(length=24), nullable=False),
        sa.Column("period", sa.String(length=16), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("sent_at", TIME, nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("model", JSON, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("report", "period", "revision", name="uq_report_run"),
    )
    op.create_table(
        "heartbeat",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("ok_at", TIME, nullable=False),
        sa.Column("value", JSON, nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "meta",
        sa.Column("key", sa.String(length=40), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key"),
    )


def _accounts() -> None:
    op.create_table(
        "account",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("login", sa.String(length=60), nullable=False),
        sa.Column("display_name", sa.String(length=80), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("department", sa.String(length=60), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("must_change", sa.Boolean(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("locked_until", TIME, nullable=True),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("login"),
    )
    op.create_table(
        "login_session",
        sa.Column("token_sha256", sa.String(length=64), nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("csrf", sa.String(length=64), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("last_seen_at", TIME, nullable=False),
        sa.Column("expires_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("token_sha256"),
    )


def _sqlite() -> None:
    # contentless: the tokens are made in Python, the words stay in `post` alone. The ascii tokenizer takes
    # every character above 127 as part of a word, so rare hanzi are not lost to an old Unicode table.
    op.execute("CREATE VIRTUAL TABLE post_fts USING fts5(grams, content='', tokenize='ascii')")
    for act in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER incident_event_no_{act.lower()} BEFORE {act} ON incident_event "
            "BEGIN SELECT RAISE(ABORT, 'incident_event is append-only'); END"
        )
    # INSERT OR REPLACE deletes without firing the delete trigger
    op.execute(
        "CREATE TRIGGER incident_event_no_replace BEFORE INSERT ON incident_event "
        "WHEN EXISTS (SELECT 1 FROM incident_event WHERE seq = NEW.seq OR idempotency_key = NEW.idempotency_key "
        "OR (incident_id = NEW.incident_id AND version = NEW.version)) "
        "BEGIN SELECT RAISE(ABORT, 'incident_event is append-only'); END"
    )


def _postgresql() -> None:
    op.create_table(
        "post_search",
        sa.Column("post_id", ID, nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("grams", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.ForeignKeyConstraint(["post_id"], ["post.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("post_id"),
    )
    op.create_index("ix_post_search_grams", "post_search", ["grams"], postgresql_using="gin")
    op.execute(
        "CREATE FUNCTION incident_event_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'incident_event is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER incident_event_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON incident_event "
        "FOR EACH STATEMENT EXECUTE FUNCTION incident_event_append_only()"
    )
