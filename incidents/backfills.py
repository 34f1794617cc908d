"""Back-fills: which range of the past is read from which source, and how far it has come.

`advance` is called in the transaction of the posts that a page gave: whatever kills the process, the next one goes on at a page
whose posts are all stored or all still to be read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents.models import Backfill, JsonDict


@dataclass(frozen=True)
class BackfillView:
    """One back-fill. The range is [start, until)."""

    id: int
    source_id: str
    start: datetime
    until: datetime
    state: str  # running | done
    progress: JsonDict
    pages: int
    found: int
    saved: int
    oldest_at: datetime | None
    seconds: float
    evidence: str
    started_at: datetime
    updated_at: datetime
    finished_at: datetime | None

    @property
    def share(self) -> float | None:
        """How much of the way from its beginning back to `start` lies behind it, 0 to 1; None before the first dated page."""
        if self.state == "done":
            return 1.0
        if self.oldest_at is None:
            return None
        whole = (self.started_at - self.start).total_seconds()
        return (
            min(1.0, max(0.0, (self.started_at - self.oldest_at).total_seconds() / whole)) if whole else 1.0
        )

    @property
    def remaining(self) -> timedelta | None:
        """An estimate of the time it still needs, as if posts were spread evenly; None while nothing can be said."""
        if not self.share:
            return None
        return timedelta(seconds=self.seconds * (1 - self.share) / self.share)


@dataclass(frozen=True)
class Step:
    """What one reading changes. `pages` is 1 when its page was read to the end, else 0."""

    backfill_id: int
    progress: JsonDict
    pages: int
    found: int
    oldest_at: datetime | None
    seconds: float
    evidence: str
    done: bool
    at: datetime


def _view(row: Backfill) -> BackfillView:
    return BackfillView(
        **{name: getattr(row, name) for name in BackfillView.__dataclass_fields__ if name != "progress"},
        progress=dict(row.progress),
    )


def open_backfill(
    session: Session, source_id: str, start: datetime, until: datetime, now: datetime
) -> BackfillView:
    """The back-fill of this range, begun if there is none: asking again for the same range goes on with it."""
    row = session.scalar(
        select(Backfill).where(
            Backfill.source_id == source_id, Backfill.start == start, Backfill.until == until
        )
    )
    if row is None:
        row = Backfill(
            source_id=source_id,
            start=start,
            until=until,
            state="running",
            progress={},
            pages=0,
            found=0,
            saved=0,
            seconds=0.0,
            evidence="",
            started_at=now,
            updated_at=now,
        )
        session.add(row)
        session.flush()
    return _view(row)


def get_backfill(session: Session, backfill_id: int) -> BackfillView:
    """One back-fill. Raises KeyError for an unknown number."""
    row = session.get(Backfill, backfill_id)
    if row is None:
        raise KeyError(backfill_id)
    return _view(row)


def list_backfills(session: Session) -> list[BackfillView]:
    """All of them, the newest first."""
    return [_view(row) for row in session.scalars(select(Backfill).order_by(Backfill.id.desc()))]


def count(session: Session, backfill_id: int, saved: int) -> None:
    """Count new posts of a page that is not yet read to its end."""
    row = session.get(Backfill, backfill_id, with_for_update=True)
    if row is not None:
        row.saved += saved
        session.flush()


def advance(session: Session, step: Step, saved: int) -> None:
    """Note how far a back-fill has come. `saved`: new posts of this batch."""
    row = session.get(Backfill, step.backfill_id, with_for_update=True)
    if row is None:
        raise KeyError(step.backfill_id)
    row.progress = dict(step.progress)
    row.pages += step.pages
    row.found += step.found
    row.saved += saved
    row.seconds += step.seconds
    row.evidence = step.evidence
    row.updated_at = step.at
    if step.oldest_at is not None and (row.oldest_at is None or step.oldest_at < row.oldest_at):
        row.oldest_at = step.oldest_at
    if step.done:
        row.state, row.finished_at = "done", step.at
    session.flush()
