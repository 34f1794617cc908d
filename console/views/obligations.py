"""The register 公开义务台账: what each unit owes by when, overdue first; people enter what sets a duty off and its evidence."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import RedirectResponse, Response

from alerts import obligations as duties
from alerts.calendar import load_calendar
from alerts.desk import Desk
from console.context import Forbidden, RowId, Visit, member
from console.forms import Posted, own_form
from console.render import page
from console.rights import DESK
from incidents import obligations
from incidents.session import Session
from incidents.states import Refused

router = APIRouter(include_in_schema=False)
STATES = ("open", "overdue", "met", "late", "cancelled", "all")
SHOWN = 300


def desk_for(here: Visit, session: Session) -> Desk:
    """What the engine needs to work for a person at the console, in one transaction."""
    bundle = here.console.bundle
    calendar = load_calendar(bundle.settings.config_dir, bundle.settings.city.timezone)
    return Desk(session, bundle, here.console.keys, calendar, here.now)


def may_keep(here: Visit, unit: str) -> bool:
    """Who may enter for a unit: the desk for all, a clerk for the own one."""
    if here.account.role == "department":
        return unit == here.account.department
    return here.account.role in DESK


def local_time(here: Visit, raw: str) -> datetime:
    """A local time as it was typed; now when the field was left empty. Raises Refused."""
    if not raw:
        return here.now
    try:
        at = datetime.fromisoformat(raw)
    except ValueError:
        raise Refused(
            "时间格式不对，应为 2026-11-24T09:30。", "the time must look like 2026-11-24T09:30"
        ) from None
    return at if at.tzinfo else at.replace(tzinfo=here.console.zone)


def _show(
    here: Visit,
    *,
    state: str = "open",
    unit: str = "",
    rule: str = "",
    status: int = 200,
    error: str = "",
    draft: Posted | None = None,
) -> Response:
    bundle = here.console.bundle
    wanted = cast("obligations.Wanted", state if state in STATES else "open")
    own = here.department or unit
    with here.console.db.reading() as session:
        rows = obligations.listed(session, here.now, state=wanted, unit=own, rule_id=rule, limit=SHOWN + 1)
        late = obligations.listed(session, here.now, state="overdue", unit=here.department, limit=SHOWN + 1)
    rules: dict[str, Any] = {one.id: one for one in bundle.rules.rules()}
    units = [
        one for one in bundle.departments.departments if not here.department or one.id == here.department
    ]
    return page(
        here,
        "obligations.html",
        status=status,
        rows=rows[:SHOWN],
        more=len(rows) > SHOWN,
        late=len(late),
        rules=rules,
        recurring=[one for one in bundle.rules.rules() if duties.rhythm(one)],
        triggered=duties.triggered(bundle),
        uncounted=duties.uncounted(bundle),
        units=units,
        states=STATES,
        state=wanted,
        unit=own,
        rule=rule,
        may_keep=lambda name: may_keep(here, name),
        may_enter=here.account.role in DESK or bool(here.department),
        error=error,
        draft=draft or {},
        done=here.done,
    )


@router.get("/obligations")
def obligations_page(
    here: Annotated[Visit, Depends(member)], state: str = "open", unit: str = "", rule: str = ""
) -> Response:
    """The register; open duties with the oldest end on top unless something else is asked for."""
    return _show(here, state=state, unit=unit, rule=rule)


@router.post("/obligations")
def add(here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]) -> Response:
    """Enter what set a duty off."""

    def act(session: Session) -> None:
        at = local_time(here, form.text("at", 30))
        unit = form.text("unit", 60)
        duties.add(
            desk_for(here, session),
            form.text("rule", 20),
            unit,
            form.text("trigger", 200),
            at,
            actor=here.account.login,
            channel="console",
        )

    if not may_keep(here, form.text("unit", 60)):
        raise Forbidden("您的角色不能执行此操作。")
    return _done(here, form, act, "entered")


@router.post("/obligations/{number}/met")
def met(
    number: RowId, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Enter the evidence that a duty was met."""

    def act(session: Session) -> None:
        obligations.meet(
            session,
            number,
            evidence=form.text("evidence", 500),
            met_at=local_time(here, form.text("met_at", 30)),
            actor=here.account.login,
            channel="console",
            now=here.now,
        )

    _check(here, number)
    return _done(here, form, act, "met")


@router.post("/obligations/{number}/cancel")
def cancel(
    number: RowId, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Take back what does not exist; supervisors and leaders only."""
    if here.account.role not in ("supervisor", "leader"):
        raise Forbidden("您的角色不能执行此操作。")

    def act(session: Session) -> None:
        obligations.cancel(
            session,
            number,
            reason=form.text("reason", 500),
            actor=here.account.login,
            channel="console",
            now=here.now,
        )

    _check(here, number)
    return _done(here, form, act, "taken_back")


def _check(here: Visit, number: int) -> None:
    with here.console.db.reading() as session:
        row = obligations.get(session, number)
    if row is None:
        raise HTTPException(404)
    if not may_keep(here, row.unit):
        raise Forbidden("您的角色不能执行此操作。")


def _done(here: Visit, form: Posted, act: Callable[[Session], None], name: str) -> Response:
    try:
        with here.console.db.transaction() as session:
            act(session)
    except Refused as refusal:
        sentence = refusal.en if here.lang == "en" else refusal.zh
        return _show(here, state=form.text("state", 20) or "open", status=409, error=sentence, draft=form)
    return RedirectResponse(f"/obligations?done={name}", 303)
