"""审计: the whole record for auditors, newest first; that they read it stands in it too."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends
from fastapi.responses import Response

from console.context import Forbidden, Visit, clean, member
from console.render import page
from console.words import EVENTS
from incidents import accounts, beats, events, looks, queries, trail

router = APIRouter(include_in_schema=False)
SHOWN = 100
#: the scheduler's own check of the chain
CHECKED = "watch.chain"


def auditor(here: Annotated[Visit, Depends(member)]) -> Visit:
    """Dependency: the record is read by auditors; who keeps accounts or decides does not look over it."""
    if here.account.role != "auditor":
        raise Forbidden("只有审计员可以查阅审计记录。")
    return here


@router.get("/audit")
def audit_page(here: Annotated[Visit, Depends(auditor)]) -> Response:
    """The record. What cannot be understood in the address narrows nothing and is told."""
    get = here.request.query_params.get
    problems: list[str] = []

    def day(name: str, *, end: bool = False) -> datetime | None:
        raw = clean(get(name) or "")[:20]
        if not raw:
            return None
        try:
            found = date.fromisoformat(raw)
            return datetime.combine(found + timedelta(days=1) if end else found, time(), here.console.zone)
        except (ValueError, OverflowError):
            problems.append(here.t("日期“{raw}”不对，应为 2026-11-24 这样的格式。", raw=raw))
            return None

    asked: dict[str, Any] = {
        "kind": clean(get("kind") or "")[:40],
        "actor": clean(get("actor") or "")[:80],
        "number": clean(get("number") or "")[:24],
    }
    raw = clean(get("before") or "")[:18]
    before = int(raw) if raw.isascii() and raw.isdigit() else None
    since, until = day("since"), day("until", end=True)
    looks.note(
        here.console.db,
        "audit_read",
        {name: value for name, value in asked.items() if value},
        about=urlencode(sorted(item for item in here.request.query_params.items() if item[0] != "before")),
        actor=here.account.login,
        channel="console",
        now=here.now,
    )
    with here.console.db.reading() as session:
        incident = queries.get_incident(session, asked["number"]) if asked["number"] else None
        if asked["number"] and incident is None:
            problems.append(here.t("没有编号为“{number}”的事件。", number=asked["number"]))
        found = trail.read(
            session,
            kind=asked["kind"],
            actor=asked["actor"],
            incident_id=incident.id if incident else None,
            since=since,
            until=until,
            before=before,
            limit=SHOWN,
        )
        head = events.head(session)
        checked = beats.get_beat(session, CHECKED)
        people = accounts.list_accounts(session)
    return page(
        here,
        "audit.html",
        asked=asked | {"since": get("since") or "", "until": get("until") or ""},
        problems=problems,
        found=found,
        about=trail.about_of,
        head=head,
        checked=checked,
        kinds=sorted(EVENTS),
        people=people,
        before=before,
    )
