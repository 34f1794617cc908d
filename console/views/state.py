"""What the machine itself is doing: sources, messages, rules in force, weekly reports, health."""

from __future__ import annotations

import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response

from console.context import Visit, console_of, member
from console.render import page
from incidents import beats, outbox, queries, sources

router = APIRouter(include_in_schema=False)
MESSAGES_SHOWN = 100
LOCAL_FILES_SHOWN = 50


@router.get("/sources")
def sources_page(here: Annotated[Visit, Depends(member)]) -> Response:
    """Every configured source with its state; what the configuration no longer names stands below."""
    bundle = here.console.bundle
    with here.console.db.reading() as session:
        known = {state.source_id: state for state in sources.list_states(session)}
        parts = [beat for beat in beats.all_beats(session) if not beat.name.startswith("cursor:")]
    rows = [(source, known.pop(source.id, sources.SourceView(source.id))) for source in bundle.sources]
    order = {"ok": 2, "unchanged": 2, "quiet": 1, "new": 1}
    rows.sort(key=lambda row: (not row[0].enabled, order.get(row[1].state, 0), row[0].id))
    return page(
        here,
        "sources.html",
        rows=rows,
        gone=list(known.values()),
        parts=parts,
        healthy=sources.HEALTHY,
        bad=sum(
            1
            for source, state in rows
            if source.enabled and state.state not in sources.HEALTHY and state.state != "new"
        ),
    )


@router.get("/messages")
def messages_page(here: Annotated[Visit, Depends(member)], state: str = "") -> Response:
    """The outbox: what waits, what was accepted, what was refused; and the .eml files of the local folder."""
    wanted = state if state in ("pending", "sending", "sent", "refused", "superseded") else ""
    folder = here.console.bundle.settings.data_path / "outbox"
    with here.console.db.reading() as session:
        rows = outbox.latest(session, MESSAGES_SHOWN, wanted or None)
        numbers = {
            row.incident_id: queries.get_incident(session, row.incident_id)
            for row in rows
            if row.incident_id is not None
        }
        backlog = outbox.backlog(session, here.now)
    files = sorted(folder.glob("*.eml"), key=lambda file: file.name, reverse=True) if folder.is_dir() else []
    settings = here.console.bundle.settings
    return page(
        here,
        "messages.html",
        rows=[
            row
            for row in rows
            if here.account.role != "department"
            or (
                row.incident_id is not None
                and (seen := numbers.get(row.incident_id)) is not None
                and seen.department == here.department
            )
        ],
        numbers=numbers,
        backlog=backlog,
        state=wanted,
        folder=folder,
        files=[file.name for file in files[:LOCAL_FILES_SHOWN]],
        files_total=len(files),
        mail_off=not settings.mail.host,
        slack_off=not settings.slack.token.get_secret_value(),
    )


@router.get("/rules")
def rules_page(here: Annotated[Visit, Depends(member)]) -> Response:
    """The legal rules in force, each with unit, clause and quotation."""
    bundle = here.console.bundle
    kinds: tuple[Any, ...] = ("response", "hotline", "obligation")
    return page(
        here,
        "rules.html",
        rules=bundle.rules,
        groups=[(kind, bundle.rules.rules(kind)) for kind in kinds],
        roster=bundle.roster,
        duty=[
            bundle.roster.on_duty(here.now, "primary"),
            bundle.roster.on_duty(here.now, "secondary"),
            bundle.roster.on_duty(here.now, "leader"),
        ],
    )


_REPORT_FILE = re.compile(r"^[A-Za-z0-9_.-]{1,80}\.(html|pdf|docx|xlsx|txt|png|svg)$")
_WEEK = re.compile(r"^[A-Za-z0-9_-]{1,40}$")


@router.get("/reports")
def reports_page(here: Annotated[Visit, Depends(member)]) -> Response:
    """The weekly reports that were written, the newest first."""
    root = here.console.bundle.settings.data_path / "reports"
    found: list[tuple[str, list[str]]] = []
    if root.is_dir():
        for folder in sorted((item for item in root.iterdir() if item.is_dir()), reverse=True):
            names = sorted(file.name for file in folder.iterdir() if _REPORT_FILE.match(file.name))
            if names and _WEEK.match(folder.name):
                found.append((folder.name, names))
        loose = sorted((file.name for file in root.iterdir() if _REPORT_FILE.match(file.name)), reverse=True)
        if loose:
            found.append(("", loose))
    return page(here, "reports.html", reports=found)


@router.get("/reports/{path:path}")
def report_file(path: str, here: Annotated[Visit, Depends(member)]) -> Response:
    """One file of a report. A report's HTML has inline styles (mail clients need them), so it is shown without scripts."""
    root = (here.console.bundle.settings.data_path / "reports").resolve()
    file = (root / path).resolve()
    if not file.is_relative_to(root) or not _REPORT_FILE.match(file.name) or not file.is_file():
        raise HTTPException(404)
    answer = FileResponse(file)
    if file.suffix == ".html":
        answer.headers["X-Quansheng-Document"] = "report"
    return answer


@router.get("/healthz")
def healthz(request: Request) -> JSONResponse:
    """For a load balancer: whether the database answers. Tells nothing else."""
    console = console_of(request)
    with console.db.reading() as session:
        beats.all_beats(session)
    return JSONResponse({"ok": True, "time": console.now().isoformat()})


@router.get("/favicon.ico")
def favicon(request: Request) -> Response:
    """Browsers ask for this name beside documents that name no icon."""
    return RedirectResponse(f"/static/img/icon.svg?v={console_of(request).assets['img/icon.svg']}", 308)
