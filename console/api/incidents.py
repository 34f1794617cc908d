"""Incidents through the API: the list, one, its record, its clocks, its posts. Rights are those of the pages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AfterValidator, BaseModel, Field

from console import clerk, masks
from console.api import cursor as cursors
from console.api.caller import Tagged, needs
from console.api.problems import NOT_FOUND, RESPONSES
from console.api.shapes import Cursor, Instant, Limit, Out, Page, Short, absent
from console.context import Visit, clean
from console.rights import complained_of, hidden, kept_from, may_see, need_all
from incidents import clocks, looks, queries
from incidents.queries import IncidentView
from incidents.session import Session
from incidents.states import OPEN_STATES, State

router = APIRouter(prefix="/api/incidents", tags=["incidents"], route_class=Tagged, responses=RESPONSES)
Reader = Annotated[Visit, Depends(needs("read:incidents"))]
Number = Annotated[str, AfterValidator(clean), Path(max_length=40, description="QS-2026-000017")]


class IncidentOut(Out):
    """One incident. Counts include the incidents merged into it."""

    number: str
    title: str
    domain: str
    district: str
    state: State
    version: int
    level: str
    track: str
    department: str
    posts: int
    voices: int = Field(description="different authors, near-copies counted once")
    first_posted_at: datetime
    last_post_at: datetime
    detected_at: datetime | None
    alerted_at: datetime | None
    acknowledged_at: datetime | None
    confirmed_at: datetime | None
    assigned_at: datetime | None
    responded_at: datetime | None
    evaluated_at: datetime | None
    closed_at: datetime | None


class ClockOut(Out):
    """One clock of an incident."""

    rule_id: str
    round: int
    stops_on: str
    started_at: datetime
    due_at: datetime
    original_due_at: datetime | None = Field(description="the end before an extension")
    provisional: bool = Field(description="暂定: counted past the last published calendar")
    calendar_version: str
    state: str = Field(description="open, met, missed, cancelled")
    closed_at: datetime | None
    trace: tuple[str, ...] = Field(description="how the end was counted")


class EventOut(Out):
    """One event of an incident's history."""

    seq: int
    kind: str
    epoch: int
    round: int
    actor: str
    channel: str
    occurred_at: datetime
    payload: dict[str, object]
    hash: str


class IncidentDetail(IncidentOut):
    """One incident with the arithmetic of its detection, its clocks and its history."""

    why: dict[str, object]
    clocks: list[ClockOut]
    events: list[EventOut]


class HourOut(Out):
    """Posts and voices of one hour; hours without posts are left out."""

    hour: datetime
    posts: int
    voices: int
    negative: int


class IncidentPostOut(Out):
    """One post of an incident. Nothing about who wrote it; a clerk of a department gets no address."""

    id: int
    source_id: str
    url: str
    title: str
    text: str
    published_at: datetime
    domain: str
    tone: str
    risk: int
    districts: tuple[str, ...]
    near_copy_of: int | None = Field(description="id of the post that this one nearly repeats")
    unavailable_at: datetime | None
    edited_at: datetime | None


class Counts(BaseModel):
    """Value -> how many, the most frequent first, for each property."""

    state: dict[str, int]
    domain: dict[str, int]
    district: dict[str, int]
    level: dict[str, int]
    department: dict[str, int]


def find(here: Visit, session: Session, number: str) -> IncidentView:
    """The incident, if there is one and the person may see it. Raises ApiProblem 404."""
    incident = queries.get_incident(session, number) if number else None
    if incident is None or not incident.number or not may_see(here, incident):
        raise absent(number)
    return incident


@router.get("")
def list_incidents(
    here: Reader,
    state: Annotated[list[State] | None, Query(description="default: all open states")] = None,
    domain: Short = "",
    district: Short = "",
    since: Instant = None,
    until: Instant = None,
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Page[IncidentOut]:
    """Incidents by state, newest detection first; `since` and `until` bound the time of detection."""
    states: Sequence[State] = [one for one in state or OPEN_STATES if one != State.WATCHING]
    asked = {
        "states": sorted(str(one) for one in states),
        "domain": domain,
        "district": district,
        "since": since,
        "until": until,
    }
    place = cursors.decode("incidents", asked, cursor, (datetime, int))
    with here.console.db.reading() as session:
        rows = queries.list_incidents(
            session,
            states=states,
            domain=domain,
            district=district,
            department=here.department,
            since=since,
            until=until,
            limit=limit + 1,
            before=(place[0], place[1]) if place else None,
        )
    shown = rows[:limit]
    last = shown[-1] if len(rows) > limit else None
    return Page(
        items=[
            IncidentOut.model_validate(row)
            for row in shown
            if row.id not in hidden(here) and not kept_from(here, row)
        ],
        next=cursors.encode("incidents", asked, [_iso(last.detected_at), last.id]) if last else None,
    )


@router.get("/facets")
def incident_facets(here: Reader, since: Instant = None, until: Instant = None) -> Counts:
    """How many incidents by state, domain, district, level and department; `since` and `until` bound the detection."""
    need_all(here)
    with here.console.db.reading() as session:
        return Counts(**queries.facets_of_incidents(session, since=since, until=until, hidden=hidden(here)))


@router.get("/{number}", responses=NOT_FOUND)
def get_incident(number: Number, here: Reader) -> IncidentDetail:
    """One incident with clocks and history."""
    with here.console.db.reading() as session:
        incident = find(here, session, number)
        return IncidentDetail(
            **IncidentOut.model_validate(incident).model_dump(),
            why=incident.why,
            clocks=[ClockOut.model_validate(row) for row in clocks.deadlines_of(session, incident.id)],
            events=[EventOut.model_validate(row) for row in _history(here, session, incident)],
        )


@router.get("/{number}/events", responses=NOT_FOUND)
def incident_events(number: Number, here: Reader, limit: Limit = 100, cursor: Cursor = "") -> Page[EventOut]:
    """The record of one incident, oldest first. The last cursor can be kept: later events come behind it."""
    place = cursors.decode("events", {"number": number}, cursor, (int,))
    with here.console.db.reading() as session:
        rows = _history(here, session, find(here, session, number))
    rows = [row for row in rows if place is None or row.seq > place[0]]
    return Page(
        items=[EventOut.model_validate(row) for row in rows[:limit]],
        next=cursors.encode("events", {"number": number}, [rows[limit - 1].seq])
        if len(rows) > limit
        else None,
    )


@router.get("/{number}/clocks", responses=NOT_FOUND)
def incident_clocks(number: Number, here: Reader) -> list[ClockOut]:
    """The clocks of one incident, with the trace of each: which days were skipped and why."""
    with here.console.db.reading() as session:
        incident = find(here, session, number)
        return [ClockOut.model_validate(row) for row in clocks.deadlines_of(session, incident.id)]


@router.get("/{number}/growth", responses=NOT_FOUND)
def incident_growth(number: Number, here: Reader) -> list[HourOut]:
    """Posts and voices of one incident by the hour."""
    with here.console.db.reading() as session:
        incident = find(here, session, number)
        return [HourOut.model_validate(row) for row in queries.growth_of(session, incident.id)]


@router.get("/{number}/posts", responses=NOT_FOUND)
def incident_posts(
    number: Number, here: Reader, limit: Limit = 50, cursor: Cursor = ""
) -> Page[IncidentPostOut]:
    """Posts of one incident, oldest first, near-copies included. Reading them is written into the audit chain."""
    place = cursors.decode("incident posts", {"number": number}, cursor, (datetime, int))
    with here.console.db.reading() as session:
        incident = find(here, session, number)
        rows = queries.posts_page(
            session, incident.id, limit=limit + 1, after=(place[0], place[1]) if place else None
        )
    shown = rows[:limit]
    last = shown[-1] if len(rows) > limit else None
    shown = masks.posts(here, incident, shown)
    if clerk.is_clerk(here):
        shown, _ = clerk.posts(
            here,
            incident,
            complained_of(here, incident),
            shown,
            unmasked=masks.granted(here, incident) is not None,
        )
    looks.note(
        here.console.db,
        "viewed",
        {"number": incident.number, "posts": len(shown), **by_token(here)},
        about=f"{incident.id}/{max((row.id for row in shown), default=0)}/{by_token(here)}",
        actor=here.account.login,
        channel="api",
        now=here.now,
        incident_id=incident.id,
    )
    return Page(
        items=[IncidentPostOut.model_validate(row) for row in shown],
        next=cursors.encode("incident posts", {"number": number}, [_iso(last.published_at), last.id])
        if last
        else None,
    )


def by_token(here: Visit) -> dict[str, int]:
    """Which token it was, for the record."""
    return {"token": here.token.id} if here.token is not None else {}


def _history(here: Visit, session: Session, incident: IncidentView) -> list[queries.EventView]:
    rows = queries.events_of(session, incident.id)
    return clerk.events(rows) if clerk.is_clerk(here) else rows


def _iso(value: datetime | None) -> str:
    return value.isoformat() if value is not None else ""
