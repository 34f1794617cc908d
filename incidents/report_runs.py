"""Reports that were written: which period, which revision, what they said, when they were sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents.models import ReportRun


@dataclass(frozen=True)
class RunView:
    """One revision of one report."""

    id: int
    report: str
    period: str
    revision: int
    created_at: datetime
    sent_at: datetime | None
    digest: str
    model: dict[str, Any]


def _view(row: ReportRun) -> RunView:
    return RunView(
        row.id, row.report, row.period, row.revision, row.created_at, row.sent_at, row.digest, row.model
    )


def runs(session: Session, report: str, period: str) -> list[RunView]:
    """All revisions of one report, the first one first."""
    query = select(ReportRun).where(ReportRun.report == report, ReportRun.period == period)
    return [_view(row) for row in session.scalars(query.order_by(ReportRun.revision))]


def all_runs(
    session: Session, *, limit: int, before_id: int | None = None, report: str = ""
) -> list[RunView]:
    """Revisions of all reports (or of one kind), the newest first, without what they say."""
    row = ReportRun
    query = select(row.id, row.report, row.period, row.revision, row.created_at, row.sent_at, row.digest)
    if before_id is not None:
        query = query.where(row.id < before_id)
    if report:
        query = query.where(row.report == report)
    return [
        RunView(*found, model={}) for found in session.execute(query.order_by(row.id.desc()).limit(limit))
    ]


def save_run(
    session: Session, *, report: str, period: str, digest: str, model: dict[str, Any], now: datetime
) -> RunView:
    """Keep a revision. The same digest as the newest one returns that one: nothing new is written."""
    known = runs(session, report, period)
    if known and known[-1].digest == digest:
        return known[-1]
    row = ReportRun(
        report=report, period=period, revision=len(known) + 1, created_at=now, digest=digest, model=model
    )
    session.add(row)
    session.flush()
    return _view(row)


def refresh_run(
    session: Session, run_id: int, *, digest: str, model: dict[str, Any], now: datetime
) -> RunView:
    """A report of a period that still runs says something newer: its row is written anew, it was nobody's last word."""
    row = session.get_one(ReportRun, run_id)
    row.created_at, row.digest, row.model = now, digest, model
    session.flush()
    return _view(row)


def mark_sent(session: Session, run_id: int, now: datetime) -> None:
    """Note that this revision was handed to the outbox; the first time stays."""
    row = session.get_one(ReportRun, run_id)
    row.sent_at = row.sent_at or now
