"""效果评估: departments by domain and period as they were computed and kept; forms for ratings and call-backs of one incident."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from fastapi.responses import RedirectResponse, Response

from console.context import Forbidden, Visit, member
from console.evaluations import by_department, without
from console.forms import Posted, own_form
from console.render import page
from console.rights import hidden, may_review, need_all
from console.views.incident import find, show_incident
from incidents import call_backs, evaluation_runs, queries, ratings
from incidents.call_backs import COUNTS, Said
from incidents.queries import IncidentView
from incidents.ratings import ITEMS, RUBRIC
from incidents.session import Session
from incidents.states import Refused
from spiders.redact import redact

router = APIRouter(include_in_schema=False)
#: periods that can be chosen on the page; older ones by their address
TABS = 12


@router.get("/evaluation")
def evaluation_page(
    here: Annotated[Visit, Depends(member)], period: str = "", department: str = ""
) -> Response:
    """One week or month, the latest by default. Numbers of incidents that are restricted to others are left out."""
    need_all(here)
    away = hidden(here)
    with here.console.db.reading() as session:
        known = evaluation_runs.periods(session)
        wanted = period or (known[0] if known else "")
        runs = evaluation_runs.runs(session, "period", wanted) if wanted else []
        secret = set(queries.numbers_of(session, away).values()) if away else set()
    run = runs[-1] if runs else None
    every: list[dict[str, Any]] = run.model["rows"] if run else []
    rows = [without(row, secret) for row in every if not department or row["department"] == department]
    return page(
        here,
        "evaluation.html",
        periods=known[:TABS],
        wanted=wanted,
        run=run,
        earlier=list(reversed(runs[:-1])),
        units=by_department(rows),
        names=sorted({row["department"] for row in every if row["department"]}),
        department=department,
    )


def _act(
    here: Visit,
    number: str,
    form: Posted,
    enter: Callable[[Session, IncidentView], object],
    failed: str,
    done: str,
) -> Response:
    """What a reviewer enters about an incident; a refusal shows the page again with what was typed. `failed` names the form."""
    incident = find(here, number)
    if not may_review(here):
        raise Forbidden("您的角色不能执行此操作。")
    try:
        with here.console.db.transaction() as session:
            enter(session, incident)
    except Refused as refusal:
        sentence = refusal.en if here.lang == "en" else refusal.zh
        return show_incident(here, number, status=409, error=sentence, failed=failed, draft=form)
    return RedirectResponse(f"/incidents/{incident.number}?done={done}#evaluation", 303)


@router.post("/incidents/{number}/evaluation/rating")
def rate(
    number: str, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """A named person's rating of this round; a second one replaces the first, which stays in the record."""

    def enter(session: Session, incident: IncidentView) -> None:
        ratings.rate(
            session,
            incident.id,
            scores=_scores(form),
            improper=form.get("improper") == "1",
            points=[point for point in RUBRIC if form.get(f"point-{point}") == "1"],
            note=redact(form.text("note")).text,
            by=here.account.login,
            name=here.account.display_name,
            channel="console",
            now=here.now,
        )

    return _act(here, number, form, enter, "rating", "rated")


def _scores(form: Posted) -> dict[str, float]:
    found = {}
    for item in ITEMS:
        try:
            found[item] = float(form.text(f"score-{item}", 10))
        except ValueError:
            continue  # a missing item is refused as such
    return found


@router.post("/incidents/{number}/evaluation/call-back")
def call_back(
    number: str, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """How many callers said what; one entry may be one caller."""

    def enter(session: Session, incident: IncidentView) -> None:
        call_backs.enter(
            session,
            incident.id,
            Said(**{name: _count(form, name) for name in COUNTS}),
            key=f"console:{form.text('key', 40)}",
            note=redact(form.text("note", 500)).text,
            by=here.account.login,
            channel="console",
            now=here.now,
        )

    return _act(here, number, form, enter, "call_back", "called_back")


def _count(form: Posted, name: str) -> int:
    if not form.text(name, 12):
        return 0
    count = form.integer(name)
    if count is None:
        raise Refused("人数须为整数。", "numbers of callers are whole numbers")
    return count


@router.post("/incidents/{number}/evaluation/withdraw")
def withdraw(
    number: str, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """Take a wrong entry of call-backs back, with a reason."""

    def enter(session: Session, incident: IncidentView) -> None:
        call_backs.withdraw(
            session,
            incident.id,
            form.text("entry", 80),
            reason=redact(form.text("reason", 500)).text,
            by=here.account.login,
            channel="console",
            now=here.now,
        )

    return _act(here, number, form, enter, "withdraw", "call_withdrawn")
