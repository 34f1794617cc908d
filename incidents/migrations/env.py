"""Run by Alembic. The connection (already inside a locked transaction) comes from `incidents.migrate`."""

from __future__ import annotations

from alembic import context

from incidents.models import Base

connection = context.config.attributes.get("connection")
if connection is None:
    raise SystemExit(
        "Migrations run through incidents.migrate.upgrade(engine), not through the alembic command."
    )
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    # SQLite cannot ALTER most things: later migrations copy the table
    render_as_batch=True,
    # one transaction for the whole upgrade, on SQLite too: it began with BEGIN IMMEDIATE
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
