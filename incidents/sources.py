"""How each source did last time, and where its next fetch goes on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents.models import JsonDict, SourceState

#: states in which the source answered as it should; any other counts as a failure in a row
HEALTHY = ("ok", "unchanged", "empty")


@dataclass(frozen=True)
class SourceView:
    """The state of one source. `failures` counts failed fetches in a row; `cursor` belongs to its spider."""

    source_id: str
    state: str = "new"
    evidence: str = ""
    last_fetch_at: datetime | None = None
    last_ok_at: datetime | None = None
    last_new_post_at: datetime | None = None
    next_due_at: datetime | None = None
    failures: int = 0
    posts_total: int = 0
    cursor: JsonDict | None = None


def _view(row: SourceState) -> SourceView:
    return SourceView(
        source_id=row.source_id,
        state=row.state,
        evidence=row.evidence,
        last_fetch_at=row.last_fetch_at,
        last_ok_at=row.last_ok_at,
        last_new_post_at=row.last_new_post_at,
        next_due_at=row.next_due_at,
        failures=row.failures,
        posts_total=row.posts_total,
        cursor=dict(row.cursor),
    )


def get_state(session: Session, source_id: str) -> SourceView:
    """What is known of one source; state `new` when it was never fetched."""
    row = session.get(SourceState, source_id)
    return _view(row) if row is not None else SourceView(source_id, cursor={})


def list_states(session: Session) -> list[SourceView]:
    """Every source that was ever fetched, by id."""
    return [_view(row) for row in session.scalars(select(SourceState).order_by(SourceState.source_id))]


def record_crawl(
    session: Session,
    source_id: str,
    *,
    state: str,
    evidence: str,
    now: datetime,
    next_due_at: datetime | None,
    new_posts: int = 0,
    cursor: JsonDict | None = None,
) -> SourceView:
    """Note the end of one fetch, in the transaction of the posts it brought.

    States in HEALTHY reset the failures in a row. `cursor` None keeps the stored one.
    """
    row = session.get(SourceState, source_id)
    if row is None:
        row = SourceState(source_id=source_id, failures=0, posts_total=0, cursor={})
        session.add(row)
    row.state = state
    row.evidence = evidence
    row.last_fetch_at = now
    row.next_due_at = next_due_at
    row.posts_total += new_posts
    if state in HEALTHY:
        row.last_ok_at = now
        row.failures = 0
    else:
        row.failures += 1
    if new_posts:
        row.last_new_post_at = now
    if cursor is not None:
        row.cursor = dict(cursor)
    session.flush()
    return _view(row)
