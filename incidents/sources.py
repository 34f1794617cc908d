"""How each source did last time, and where its next fetch goes on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from incidents.chunks import chunks
from incidents.models import JsonDict, SourceState

#: states in which the source answered as it should; any other counts as a failure in a row (incidents.source_health decides)
HEALTHY = ("ok", "unchanged")
#: `few` gives less than it should, and a person should look; but it answers, and is not asked less often
ANSWERING = (*HEALTHY, "few")


@dataclass(frozen=True)
class SourceView:
    """The state of one source. `failures` counts failed fetches in a row.

    `cursor` belongs to its spider and holds kilobytes; None where it was not asked for.
    """

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


#: what is read of a source when nobody asks where its next fetch goes on
_LIGHT: tuple[Any, ...] = (
    SourceState.source_id,
    SourceState.state,
    SourceState.evidence,
    SourceState.last_fetch_at,
    SourceState.last_ok_at,
    SourceState.last_new_post_at,
    SourceState.next_due_at,
    SourceState.failures,
    SourceState.posts_total,
)


def list_states(session: Session) -> list[SourceView]:
    """Every source that was ever fetched, by id, without its cursor: among 10,000 sources these are 100 MB."""
    query = select(*_LIGHT).order_by(SourceState.source_id)
    return [SourceView(*row) for row in session.execute(query)]


def states_of(session: Session, source_ids: Iterable[str]) -> dict[str, SourceView]:
    """Those of `source_ids` that were ever fetched, without their cursors."""
    found: dict[str, SourceView] = {}
    for chunk in chunks(sorted(set(source_ids))):
        query = select(*_LIGHT).where(SourceState.source_id.in_(chunk))
        found.update({row[0]: SourceView(*row) for row in session.execute(query)})
    return found


def with_cursors(session: Session, source_ids: Iterable[str]) -> dict[str, SourceView]:
    """Those of `source_ids` that were ever fetched, with their cursors."""
    ids = sorted(set(source_ids))
    found: dict[str, SourceView] = {}
    for chunk in chunks(ids):
        query = select(*_LIGHT, SourceState.cursor).where(SourceState.source_id.in_(chunk))
        rows: Sequence[Any] = session.execute(query).all()
        found.update({row[0]: SourceView(*row) for row in rows})
    return found


def unwell(session: Session, before: datetime) -> list[SourceView]:
    """Sources that were fetched and have not answered as they should since `before` (or never), by id; without cursors.

    Among thousands of sources that are well only the others leave the database.
    """
    query = select(*_LIGHT).where(
        SourceState.last_fetch_at.is_not(None),
        or_(SourceState.last_ok_at.is_(None), SourceState.last_ok_at <= before),
    )
    return [SourceView(*row) for row in session.execute(query.order_by(SourceState.source_id))]


def fetched_sources(session: Session) -> set[str]:
    """Ids of all sources that have a state."""
    return set(session.scalars(select(SourceState.source_id)))


def due_states(session: Session, now: datetime) -> dict[str, SourceView]:
    """Every source that is due at `now` or blocked, by id, without its cursor and evidence."""
    row = SourceState
    query = select(row.source_id, row.state, row.next_due_at, row.failures).where(
        or_(row.next_due_at.is_(None), row.next_due_at <= now, row.state == "blocked")
    )
    return {
        id_: SourceView(id_, state=state, next_due_at=due, failures=failures)
        for id_, state, due, failures in session.execute(query)
    }


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

    States in ANSWERING reset the failures in a row. `cursor` None keeps the stored one.
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
    if state in ANSWERING:
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
