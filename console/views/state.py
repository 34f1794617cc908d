"""What the machine itself is doing: sources, messages, rules in force, weekly reports, health."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request
from fastapi.responses import FileResponse, JSONResponse, RedirectResponse, Response

from console import clerk, masks, words
from console.context import Visit, clean, console_of, member
from console.render import page
from console.rights import hidden, kept_from, need_all
from incidents import beats, outbox, queries, source_health, sources, stops

router = APIRouter(include_in_schema=False)
MESSAGES_SHOWN = 100
LOCAL_FILES_SHOWN = 50
#: sources on one page
SOURCES_SHOWN = 100


@router.get("/sources")
def sources_page(
    here: Annotated[Visit, Depends(member)], q: str = "", only: str = "", part: str = "1"
) -> Response:
    """Configured sources with their state, the troubled first; what the configuration no longer names stands below.

    `q` is a piece of a name or id, `only` "bad" or "off"; of the sources found, SOURCES_SHOWN stand on a page (`part`).
    """
    bundle = here.console.bundle
    with here.console.db.reading() as session:
        known = {state.source_id: state for state in sources.list_states(session)}
        parts = [beat for beat in beats.all_beats(session) if not beat.name.startswith("cursor:")]
        board = stops.in_force(session)
    stopped = {source.id: stop for source in bundle.sources if (stop := board.of(source))}
    rows = [(source, known.pop(source.id, sources.SourceView(source.id))) for source in bundle.sources]
    bad = {
        source.id
        for source, state in rows
        if source.enabled
        and (source.id in stopped or (state.state not in sources.HEALTHY and state.state != "new"))
    }
    total = len(rows)
    wish = q.strip().casefold()
    rows = [
        row
        for row in rows
        if (not wish or wish in f"{row[0].id} {row[0].name}".casefold())
        and (only != "bad" or row[0].id in bad)
        and (only != "off" or not row[0].enabled)
    ]
    order = {"ok": 2, "unchanged": 2, "new": 1}
    rows.sort(
        key=lambda row: (
            not row[0].enabled,
            0 if row[0].id in stopped else order.get(row[1].state, 0),
            row[0].id,
        )
    )
    pages = max(1, -(-len(rows) // SOURCES_SHOWN))
    number = min(max(1, int(part) if part.isascii() and part.isdigit() and len(part) < 6 else 1), pages)
    shown = rows[(number - 1) * SOURCES_SHOWN : number * SOURCES_SHOWN]
    with here.console.db.reading() as session:
        full = sources.with_cursors(session, [source.id for source, _ in shown])
    cursors = {name: view.cursor for name, view in full.items()}
    quiet = {
        source.id: source_health.silence_of(cursors.get(source.id), here.now, source.every_min)
        for source, _ in shown
    }
    readings = {source.id: source_health.last_readings(cursors.get(source.id)) for source, _ in shown}
    return page(
        here,
        "sources.html",
        rows=shown,
        total=total,
        found=len(rows),
        q=q[:80],
        only=only if only in ("bad", "off") else "",
        number=number,
        pages=pages,
        gone=list(known.values()),
        quiet=quiet,
        advised=words.SOURCE_ADVICE,
        fields=source_health.FIELDS,
        moment=datetime.fromisoformat,
        readings=readings,
        stopped=stopped,
        parts=parts,
        healthy=sources.HEALTHY,
        bad=len(bad),
    )


@router.get("/messages")
def messages_page(here: Annotated[Visit, Depends(member)], state: str = "") -> Response:
    """The outbox: what waits, what was accepted, what was refused; and the .eml files of the local folder."""
    wanted = state if state in ("pending", "sending", "sent", "refused", "superseded") else ""
    folder = here.console.bundle.settings.data_path / "outbox"
    with here.console.db.reading() as session:
        rows = outbox.latest(session, MESSAGES_SHOWN, wanted or None)
        if clerk.is_clerk(here):
            rows = clerk.messages(here, rows)
        rows = masks.messages(here, rows)
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
        rows=[row for row in rows if not _kept(here, numbers.get(row.incident_id or 0))],
        numbers=numbers,
        backlog=backlog,
        state=wanted,
        folder=folder,
        files=[file.name for file in files[:LOCAL_FILES_SHOWN]],
        files_total=0 if clerk.is_clerk(here) else len(files),
        mail_off=not settings.mail.host,
        slack_off=not settings.slack.token.get_secret_value(),
    )


def _kept(here: Visit, incident: queries.IncidentView | None) -> bool:
    """Whether a message speaks of what is restricted to others, or complains about the clerk's unit by now."""
    return incident is not None and (incident.id in hidden(here) or kept_from(here, incident))


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


#: kind of report -> what its folder is called; the folder of a special report bears the number of its incident
_REPORT_KINDS = {
    "weekly": re.compile(r"\d{4}-W\d{2}"),
    "special": re.compile(r"[A-Z]+-\d{4}-\d+"),
    "daily": re.compile(r"\d{4}-\d{2}-\d{2}"),
    "monthly": re.compile(r"\d{4}-\d{2}"),
    "yearly": re.compile(r"\d{4}"),
}
#: reports of one kind that are shown at once; older ones unfold
_REPORTS_SHOWN = 12


@router.get("/reports")
def reports_page(here: Annotated[Visit, Depends(member)]) -> Response:
    """The reports that were written, by kind, the newest first."""
    need_all(here)
    root = here.console.bundle.settings.data_path / "reports"
    found: dict[str, list[tuple[str, list[str]]]] = {kind: [] for kind in (*_REPORT_KINDS, "other")}
    if root.is_dir():
        for folder in sorted((item for item in root.iterdir() if item.is_dir()), reverse=True):
            names = sorted(file.name for file in folder.iterdir() if _REPORT_FILE.match(file.name))
            if names and _WEEK.match(folder.name) and not _restricted(here, folder.name):
                found[_report_kind(folder.name)].append((folder.name, names))
        loose = sorted((file.name for file in root.iterdir() if _REPORT_FILE.match(file.name)), reverse=True)
        if loose:
            found["other"].append(("", loose))
    groups = [(kind, rows[:_REPORTS_SHOWN], rows[_REPORTS_SHOWN:]) for kind, rows in found.items() if rows]
    return page(here, "reports.html", groups=groups)


def _report_kind(name: str) -> str:
    return next((kind for kind, names in _REPORT_KINDS.items() if names.fullmatch(name)), "other")


def _restricted(here: Visit, name: str) -> bool:
    """Whether this is the special report about a matter that is for others to know."""
    if _report_kind(name) != "special":
        return False
    with here.console.db.reading() as session:
        incident = queries.get_incident(session, name)
    return incident is not None and incident.id in hidden(here)


@router.get("/reports/{path:path}")
def report_file(path: str, here: Annotated[Visit, Depends(member)]) -> Response:
    """One file of a report. A report's HTML has inline styles (mail clients need them), so it is shown without scripts."""
    need_all(here)
    root = (here.console.bundle.settings.data_path / "reports").resolve()
    file = (root / clean(path)).resolve()
    if not file.is_relative_to(root) or not _REPORT_FILE.match(file.name) or not file.is_file():
        raise HTTPException(404)
    if _restricted(here, file.parent.name):
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
