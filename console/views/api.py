"""Read-only JSON: the same rows as the pages, for scripts of a logged-in person. Codes stay English."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import AfterValidator, BaseModel, ConfigDict

from console import clerk
from console.context import Visit, clean, member
from console.rights import kept_from, may_see, need_posts
from incidents import clocks, lifecycle, queries
from incidents.querylang import QueryError
from incidents.search import PostFilter, search_posts
from incidents.states import OPEN_STATES, State

router = APIRouter(prefix="/api", tags=["read"])


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class IncidentOut(_Out):
    """One incident."""

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
    voices: int
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


class ClockOut(_Out):
    """One clock of an incident."""

    rule_id: str
    round: int
    started_at: datetime
    due_at: datetime
    provisional: bool
    state: str
    closed_at: datetime | None
    trace: tuple[str, ...]


class EventOut(_Out):
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
    """One incident with its arithmetic, clocks and history."""

    why: dict[str, object]
    clocks: list[ClockOut]
    events: list[EventOut]


class IncidentPage(BaseModel):
    """A page of incidents, newest first; `next_before` asks for the next one."""

    items: list[IncidentOut]
    next_before: int | None


class PostOut(_Out):
    """One post with its judgement. Nothing about who wrote it."""

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


class PostPage(BaseModel):
    """A page of posts, newest first, with the count over all pages."""

    total: int
    items: list[PostOut]
    next_before: int | None


Before = Annotated[int | None, Query(ge=1, lt=2**62, description="`next_before` of the page before")]
Limit = Annotated[int, Query(ge=1, le=500)]
Instant = Annotated[datetime | None, Query(description="with a zone: 2026-11-24T00:00:00+08:00")]
Short = Annotated[str, AfterValidator(clean), Query(max_length=80)]


def _aware(value: datetime | None, name: str) -> datetime | None:
    if value is not None and value.tzinfo is None:
        raise HTTPException(422, f"{name} needs a zone, as in 2026-11-24T00:00:00+08:00")
    return value


@router.get("/incidents")
def list_incidents(
    here: Annotated[Visit, Depends(member)],
    state: Annotated[list[State] | None, Query(description="default: all open states")] = None,
    domain: Short = "",
    district: Short = "",
    since: Instant = None,
    until: Instant = None,
    limit: Limit = 50,
    before: Before = None,
) -> IncidentPage:
    """Incidents by state, newest first; `since` and `until` bound the time of detection."""
    states: Sequence[State] = state or OPEN_STATES
    with here.console.db.reading() as session:
        rows = queries.list_incidents(
            session,
            states=states,
            domain=domain,
            district=district,
            department=here.department,
            since=_aware(since, "since"),
            until=_aware(until, "until"),
            limit=limit + 1,
            before_id=before,
        )
    more, shown = len(rows) > limit, rows[:limit]
    return IncidentPage(
        items=[IncidentOut.model_validate(row) for row in shown if not kept_from(here, row)],
        next_before=min(row.id for row in shown) if more else None,
    )


@router.get("/incidents/{number}")
def get_incident(number: str, here: Annotated[Visit, Depends(member)]) -> IncidentDetail:
    """One incident."""
    with here.console.db.reading() as session:
        incident = queries.get_incident(session, clean(number))
        if incident is None or not may_see(here, incident):
            raise HTTPException(404, "there is no such incident")
        history = queries.events_of(session, incident.id)
        if clerk.is_clerk(here):
            history = clerk.events(history)
        return IncidentDetail(
            **IncidentOut.model_validate(incident).model_dump(),
            why=incident.why,
            clocks=[ClockOut.model_validate(row) for row in clocks.deadlines_of(session, incident.id)],
            events=[EventOut.model_validate(row) for row in history],
        )


@router.get("/posts")
def list_posts(
    here: Annotated[Visit, Depends(member)],
    q: Annotated[str, Query(max_length=500, description="words, 与 或 非, “phrase”, A ~10 B, brackets")] = "",
    domain: Short = "",
    district: Short = "",
    source: Short = "",
    tone: Annotated[str, Query(pattern="^(neg|neu|pos)?$")] = "",
    since: Instant = None,
    until: Instant = None,
    limit: Limit = 50,
    before: Before = None,
) -> PostPage:
    """Posts for which the query holds. The search is written into the audit chain."""
    need_posts(here)
    filters = PostFilter(
        domain=domain,
        district=district,
        source=source,
        tone=tone,
        since=_aware(since, "since"),
        until=_aware(until, "until"),
    )
    q = clean(q)
    try:
        with here.console.db.reading() as session:
            hits = search_posts(session, q, filters=filters, limit=limit, before_id=before)
    except QueryError as wrong:
        raise HTTPException(422, {"message": wrong.message_zh, "position": wrong.position}) from wrong
    with here.console.db.transaction() as session:
        lifecycle.record_act(
            session,
            "posts_searched",
            {"query": q, "found": hits.total},
            actor=here.account.login,
            channel="api",
            now=here.now,
        )
    return PostPage(
        total=hits.total,
        items=[PostOut.model_validate(row) for row in hits.rows],
        next_before=hits.next_before_id,
    )
