"""值班台: what needs a person now, the most urgent legal clock first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response, StreamingResponse

from alerts import rota
from config.departments import Suggestion
from config.roster import Roster
from console.context import LIVE_PATH, Visit, member, visit
from console.live import stream
from console.render import page
from console.rights import complained_of, hidden, kept_from, may_act, may_answer
from console.views.proposals import cards
from incidents import beats, desk, lifecycle, outbox, sources
from incidents.complained import Complained
from incidents.queries import IncidentView
from incidents.session import Database, Session
from incidents.states import FALSE_ALARM_REASONS
from incidents.trouble import DatabaseTrouble

_NUMBER = re.compile(r"^[A-Z0-9-]{1,24}$")
router = APIRouter(include_in_schema=False)
#: a moving part that gave no sign of life for so long is told on the desk
SILENT = timedelta(minutes=15)
DAY = timedelta(hours=24)
#: open incidents on one desk, besides new ones that nobody answered
MOST_SHOWN = 100
#: parts whose silence matters within minutes
PULSES = frozenset({"job:crawl", "job:judge", "job:tick", "job:send"})


@dataclass(frozen=True)
class Proposal:
    """Who should handle an incident: the suggestion, whom it complains about, and who may neither lead nor help."""

    suggestion: Suggestion
    about: Complained
    barred: frozenset[str]
    #: who helps now; None while no department has it
    present: frozenset[str] | None = None

    def ticked(self, draft: Mapping[str, str]) -> frozenset[str]:
        """Units whose box is ticked: as it was sent, else who helps now, else who is suggested."""
        if draft:
            return frozenset(name.removeprefix("co-") for name in draft if name.startswith("co-"))
        if self.present is not None:
            return self.present - self.barred
        return frozenset(item.id for item in self.suggestion.co)

    def others_ticked(self, draft: Mapping[str, str]) -> bool:
        """Whether a box beyond the suggested helpers is ticked."""
        return bool(self.ticked(draft) - {item.id for item in self.suggestion.co})


def propose(here: Visit, incident: IncidentView, about: Complained | None = None) -> Proposal:
    """Which department the rules name for this incident, why, and who has to stand back.

    `about`: whom it complains about, where that was read for many incidents at once.
    """
    departments = here.console.bundle.departments
    about = complained_of(here, incident) if about is None else about
    barred = frozenset(
        unit.id for unit in departments.departments if departments.touched(unit.id, about.units)
    )
    found = departments.suggest(incident.domain, incident.district, complained_about=about.units)
    present = frozenset(incident.co) if incident.department else None
    return Proposal(found, about, barred, present)


def _model(here: Visit) -> dict[str, Any]:
    now, settings = here.now, here.console.bundle.settings
    midnight = now.astimezone(here.console.zone).replace(hour=0, minute=0, second=0, microsecond=0)
    away = hidden(here)
    reading = {source.id for source in here.console.bundle.sources if source.enabled}
    with here.console.db.reading() as session:
        found = desk.desk(session, now, department=here.department, limit=MOST_SHOWN)
        rows = [row for row in found if row.incident.id not in away and not kept_from(here, row.incident)]
        confirmed = [row.incident for row in rows if row.incident.state == "confirmed"]
        blamed = lifecycle.complained_of_all(
            session, here.console.bundle.departments, {one.id: one.district for one in confirmed}
        )
        model: dict[str, Any] = {
            "mark": _mark(here, session),
            # a desk that cannot show all still counts all; clerks see all of theirs
            "totals": desk.totals(session, now, DAY)
            if len(found) >= MOST_SHOWN and not here.department
            else None,
            "today": desk.today(session, midnight),
            "backlog": outbox.backlog(session, now),
            "sick": [
                state
                for state in sources.list_states(session)
                if state.source_id in reading and state.state not in sources.HEALTHY
            ],
            "questions": cards(session, hidden=away) if may_answer(here) else [],
            "silent": [
                beat for beat in beats.all_beats(session) if beat.name in PULSES and now - beat.ok_at > SILENT
            ],
        }
    totals = model["totals"]
    groups: dict[str, list[desk.DeskRow]] = {"wait": [], "over": [], "soon": [], "calm": []}
    for row in rows:
        groups[_group(row, now)].append(row)
    return model | {
        "rows": rows,
        "groups": groups,
        "over": totals.over
        if totals
        else sum(row.clock is not None and row.clock.due_at < now for row in rows),
        "soon": totals.soon
        if totals
        else sum(row.clock is not None and now <= row.clock.due_at < now + DAY for row in rows),
        "open": totals.open if totals else len(rows),
        "waiting": len(groups["wait"]),
        "may_ack": [row.incident.id for row in groups["wait"] if may_act(here, "ack", row.incident)],
        "suggest": {one.id: propose(here, one, blamed[one.id]) for one in confirmed},
        "departments": here.console.bundle.departments.departments,
        "reasons": FALSE_ALARM_REASONS,
        "mail_off": not settings.mail.host,
        "slack_off": not settings.slack.token.get_secret_value(),
        "duty": _roster(here).on_duty(now, "primary"),
    }


def _mark(here: Visit, session: Session) -> str:
    """Changes with every event, and once a minute for what only grows or expires."""
    return f"{desk.newest_change(session)}.{int(here.now.timestamp()) // 60}"


def _group(row: desk.DeskRow, now: datetime) -> str:
    """Where a row stands: an unanswered page first (its ladder runs in minutes), then by the legal clock."""
    if row.page.waits(row.incident.state):
        return "wait"
    if row.clock is None or row.clock.due_at >= now + DAY:
        return "calm"
    return "over" if row.clock.due_at < now else "soon"


def show_desk(here: Visit, *, status: int = 200, error: str = "", about: str = "") -> Response:
    """The whole desk; `error` is a refused act's sentence, `about` the incident's number."""
    number = here.request.query_params.get("n", "")
    return page(
        here,
        "desk.html",
        status=status,
        error=error,
        about=about,
        done=here.done,
        done_about=number if _NUMBER.match(number) else "",
        **_model(here),
    )


def _roster(here: Visit) -> Roster:
    """The roster in force, with what people changed."""
    with here.console.db.reading() as session:
        return rota.in_force(session, here.console.bundle, here.now).roster


@router.get("/")
def desk_page(here: Annotated[Visit, Depends(member)]) -> Response:
    """The desk."""
    return show_desk(here)


@router.get("/desk/live")
def desk_live(here: Annotated[Visit, Depends(member)]) -> Response:
    """Only the part that changes; the page asks for it every few seconds and gets nothing when nothing happened."""
    with here.console.db.reading() as session:
        unchanged = here.request.headers.get("x-quansheng-seen") == _mark(here, session)
    if unchanged:
        return Response(status_code=204, headers={"X-Quansheng-Now": here.now.isoformat()})
    return page(here, "part/desk_live.html", **_model(here))


@router.get(LIVE_PATH)
async def desk_events(request: Request, here: Annotated[Visit, Depends(member)], after: str = "") -> Response:
    """Tells as server-sent events that something changed; the page then fetches what. Ends with the session."""
    live = request.app.state.live
    if live.full:
        return Response(status_code=503)  # the browser gives up and the page polls
    seen = request.headers.get("last-event-id") or after

    def alive() -> bool:
        try:
            return visit(request).session is not None
        except DatabaseTrouble:
            return True  # nothing is told meanwhile but the time

    return StreamingResponse(
        stream(
            live,
            after=int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 19 else 0,
            alive=alive,
            now=here.console.now,
        ),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


def newest_change(db: Database) -> int:
    """What the beacon looks at."""
    with db.reading() as session:
        return desk.newest_change(session)
