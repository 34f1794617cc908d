"""Reports that were written, through the API: which periods and revisions there are, and what one says as numbers."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import AfterValidator, Field

from console import accountable
from console.api import cursor as cursors
from console.api.caller import Tagged, needs
from console.api.problems import NOT_FOUND, RESPONSES
from console.api.shapes import Cursor, Limit, Out, Page, absent
from console.context import Visit, clean
from console.rights import need_all
from incidents import report_runs

router = APIRouter(prefix="/api/reports", tags=["reports"], route_class=Tagged, responses=RESPONSES)
Reader = Annotated[Visit, Depends(needs("read:reports"))]


class ReportOut(Out):
    """One revision of one report."""

    report: str
    period: str = Field(description="2026-W47")
    revision: int
    created_at: datetime
    sent_at: datetime | None
    digest: str = Field(description="the same digest says the same")


class ReportDetail(ReportOut):
    """One report with its numbers."""

    model: dict[str, object]


@router.get("")
def list_reports(here: Reader, limit: Limit = 50, cursor: Cursor = "") -> Page[ReportOut]:
    """Reports, the newest first."""
    need_all(here)
    place = cursors.decode("reports", {}, cursor, (int,))
    with here.console.db.reading() as session:
        rows = report_runs.all_runs(session, limit=limit + 1, before_id=place[0] if place else None)
    shown = rows[:limit]
    return Page(
        items=[ReportOut.model_validate(row) for row in shown],
        next=cursors.encode("reports", {}, [shown[-1].id]) if len(rows) > limit else None,
    )


@router.get("/{report}/{period}", responses=NOT_FOUND)
def get_report(
    report: Annotated[str, AfterValidator(clean), Path(max_length=24, description="weekly")],
    period: Annotated[str, AfterValidator(clean), Path(max_length=16, description="2026-W47")],
    here: Reader,
) -> ReportDetail:
    """The newest revision of one report, as numbers."""
    need_all(here)
    if report == accountable.REPORT and here.account.role not in accountable.READERS:
        raise absent(f"{report} {period}")
    with here.console.db.reading() as session:
        rows = report_runs.runs(session, report, period)
    if not rows:
        raise absent(f"{report} {period}")
    return ReportDetail.model_validate(rows[-1])
