"""Coverage ledger 覆盖台账: who saw what first, what gives nothing, what nobody watches; and hot titles for a person to decide."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import RedirectResponse, Response

from console.context import Forbidden, Visit, member
from console.forms import Posted, own_form
from console.render import page
from console.rights import hidden, may_teach, need_all
from incidents import coverage, hot_titles, hot_verdicts
from incidents.proportions import wilson
from incidents.states import Refused

router = APIRouter(include_in_schema=False)
#: periods that can be chosen, in weeks
PERIODS = (1, 4, 12)
#: rows shown of each part; the rest is told by number and by `quansheng coverage`
ENTRIES, SOURCES, ZEROS, TITLES = 50, 50, 50, 60


@router.get("/coverage")
def coverage_page(here: Annotated[Visit, Depends(member)], weeks: str = "4") -> Response:
    """The ledger of the last weeks."""
    need_all(here)
    return _show(here, weeks)


def _show(here: Visit, weeks: str, *, status: int = 200, error: str = "") -> Response:
    bundle = here.console.bundle
    span = int(weeks) if weeks in {str(n) for n in PERIODS} else 4
    since = here.now - timedelta(weeks=span)
    watched = bundle.settings.analysis.watched_domains
    districts = [district.name for district in bundle.places.districts]
    away = hidden(here)
    with here.console.db.reading() as session:
        ledger = coverage.ledger(session, since, here.now)
        watch = coverage.watch(session, bundle.sources, watched, districts, here.now, span)
        recall = hot_titles.recall(session, since, here.now, watched)
    cells = {(cell.domain, cell.district): cell for cell in watch.cells}
    order = {"open": 0, "missed": 1, "unraised": 2, "after": 3, "before": 4}
    return page(
        here,
        "coverage.html",
        status=status,
        error=error,
        done=here.done,
        weeks=span,
        periods=PERIODS,
        since=since,
        ledger=ledger,
        entries=[entry for entry in ledger.entries if entry.id not in away][:ENTRIES],
        lines=ledger.sources[:SOURCES],
        rows=ledger.cells[:SOURCES],
        watch=watch,
        zeros=watch.zeros[:ZEROS],
        domains=watched,
        districts=districts,
        cells=cells,
        recall=recall,
        titles=sorted(recall.titles, key=lambda title: (order[title.outcome], title.id))[:TITLES],
        others=recall.others[:TITLES],
        interval=wilson(recall.before, recall.n),
        feeds=any(
            source.enabled and (source.kind == "newsnow" or getattr(source, "hot_list", False))
            for source in bundle.sources
        ),
    )


@router.post("/coverage/titles/{number}")
def decide_title(
    number: str, here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]
) -> Response:
    """A person says what a hot title is: the matter of an incident, missed, or not ours."""
    need_all(here)
    if not may_teach(here):
        raise Forbidden("您的角色不能执行此操作。")
    if not (number.isascii() and number.isdigit()) or len(number) > 18:
        raise HTTPException(404)
    weeks = form.text("weeks", 3)
    try:
        with here.console.db.transaction() as session:
            hot_verdicts.decide(
                session,
                int(number),
                form.text("verdict", 12),
                number=form.text("number", 24),
                actor=here.account.login,
                channel="console",
                now=here.now,
            )
    except Refused as refusal:
        return _show(here, weeks, status=409, error=refusal.en if here.lang == "en" else refusal.zh)
    return RedirectResponse(f"/coverage?{urlencode({'weeks': weeks, 'done': 'hot_title'})}#hot", 303)
