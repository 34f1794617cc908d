"""What figures are read with: sources and how they are, departments and their duties, the rules in force; and who asks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path
from pydantic import AfterValidator, BaseModel, Field

from config.sources import Source
from console.api import cursor as cursors
from console.api.caller import Tagged, may, needs
from console.api.problems import NOT_FOUND, RESPONSES
from console.api.shapes import Cursor, Limit, Out, Page, absent
from console.context import Visit, clean
from incidents import sources, stops
from incidents.api_tokens import SCOPES
from incidents.sources import SourceView
from incidents.stops import Stops

router = APIRouter(prefix="/api", route_class=Tagged, responses=RESPONSES)


class SourceOut(BaseModel):
    """One configured source and how it did last time."""

    id: str
    name: str
    kind: str
    enabled: bool
    halted: bool = Field(description="a person has stopped it, or it objected")
    every_min: float
    state: str = Field(
        description="new, ok, unchanged, few, frozen, empty, blocked, login, robots, error, changed, halted ..."
    )
    evidence: str
    last_fetch_at: datetime | None
    last_ok_at: datetime | None
    last_new_post_at: datetime | None
    next_due_at: datetime | None
    failures: int = Field(description="failed readings in a row")
    posts_total: int


class DepartmentOut(BaseModel):
    """One unit that handles matters: an office, never a person."""

    id: str
    name: str
    name_2018: tuple[str, ...]
    kind: str
    districts: tuple[str, ...]
    superior: str
    leads: list[str] = Field(description="domains that it leads")
    helps: list[str] = Field(description="domains with which it helps")


class RuleOut(Out):
    """One rule in force, with its clause word for word."""

    id: str
    kind: str
    action: str
    applies: str
    unit: str
    amount: int | None = Field(description="hours, working days or natural days, as `unit` says")
    extension: int | None
    limit_zh: str
    starts_on: str
    stops_on: str
    levels: tuple[str, ...]
    basis: str
    source: str
    quote: str


class Rules(BaseModel):
    """The rule file in force."""

    version: str
    notice: str
    rules: list[RuleOut]


class Me(BaseModel):
    """Who asks, and what they may ask."""

    login: str
    role: str
    department: str
    scopes: list[str]
    token: str | None = Field(description="name of the token, null with a session")
    expires_at: datetime | None
    per_minute: int


@router.get("/me", tags=["account"])
def me(here: Annotated[Visit, Depends(needs())]) -> Me:
    """Who asks, with which scopes, until when."""
    account, token = here.account, here.token
    return Me(
        login=account.login,
        role=account.role,
        department=account.department,
        scopes=[scope for scope in SCOPES if may(here, scope)],
        token=token.name if token else None,
        expires_at=token.expires_at if token else None,
        per_minute=here.console.bundle.settings.api.per_minute,
    )


@router.get("/sources", tags=["reference"])
def list_sources(
    here: Annotated[Visit, Depends(needs("read:sources"))], limit: Limit = 100, cursor: Cursor = ""
) -> Page[SourceOut]:
    """Configured sources by id, with the state that their last readings give evidence of."""
    place = cursors.decode("sources", {}, cursor, (str,))
    rows = sorted(here.console.bundle.sources, key=lambda source: source.id)
    rows = [source for source in rows if place is None or source.id > place[0]]
    shown = rows[:limit]
    with here.console.db.reading() as session:
        known = sources.states_of(session, [source.id for source in shown])
        board = stops.in_force(session)
    return Page(
        items=[_source(source, known.get(source.id), board) for source in shown],
        next=cursors.encode("sources", {}, [shown[-1].id]) if len(rows) > limit else None,
    )


@router.get("/sources/{source_id}", tags=["reference"], responses=NOT_FOUND)
def get_source(
    source_id: Annotated[str, AfterValidator(clean), Path(max_length=80)],
    here: Annotated[Visit, Depends(needs("read:sources"))],
) -> SourceOut:
    """One source."""
    source = next((one for one in here.console.bundle.sources if one.id == source_id), None)
    if source is None:
        raise absent(source_id)
    with here.console.db.reading() as session:
        known = sources.states_of(session, [source.id])
        board = stops.in_force(session)
    return _source(source, known.get(source.id), board)


def _source(source: Source, state: SourceView | None, board: Stops) -> SourceOut:
    state = state or SourceView(source.id)
    stop = board.of_source(source.id, source.hosts) or board.of_url(source.url)
    return SourceOut(
        id=source.id,
        name=source.name,
        kind=source.kind,
        enabled=source.enabled,
        halted=stop is not None,
        every_min=source.every_min,
        state=state.state,
        evidence=state.evidence,
        last_fetch_at=state.last_fetch_at,
        last_ok_at=state.last_ok_at,
        last_new_post_at=state.last_new_post_at,
        next_due_at=state.next_due_at,
        failures=state.failures,
        posts_total=state.posts_total,
    )


@router.get("/departments", tags=["reference"])
def list_departments(here: Annotated[Visit, Depends(needs("read:incidents"))]) -> list[DepartmentOut]:
    """Departments, and the domains that each leads or helps with."""
    table = here.console.bundle.departments
    return [
        DepartmentOut(
            id=one.id,
            name=one.name,
            name_2018=one.name_2018,
            kind=one.kind,
            districts=one.districts,
            superior=one.superior,
            leads=sorted({duty.domain for duty in table.duties if duty.lead == one.id}),
            helps=sorted({duty.domain for duty in table.duties if one.id in duty.co}),
        )
        for one in table.departments
    ]


@router.get("/rules", tags=["reference"])
def list_rules(here: Annotated[Visit, Depends(needs("read:incidents"))]) -> Rules:
    """The legal rules in force: what within which time, under which clause."""
    rules = here.console.bundle.rules
    return Rules(
        version=rules.version,
        notice=rules.meta.notice,
        rules=[RuleOut.model_validate(rule) for rule in rules.rules()],
    )
