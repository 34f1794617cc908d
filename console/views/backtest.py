"""回测: try another setting or time limit on a past period, before it is switched on. The page asks; the house computes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException
from fastapi.responses import RedirectResponse, Response

from config.domains import IDS
from config.settings import FAST_LIMITS
from console.context import Forbidden, Visit, member
from console.forms import Posted, own_form
from console.render import page
from incidents import backtests
from incidents.backtests import BacktestView, Change

router = APIRouter(include_in_schema=False)
#: who sees what a change would have done, and who may ask
READERS = frozenset({"duty", "analyst", "supervisor", "leader", "administrator", "auditor"})
ASKERS = frozenset({"analyst", "supervisor", "leader"})
#: the period that the form proposes
USUAL = timedelta(weeks=8)
#: matters shown of each kind; the rest is told by number
SHOWN = 100


def _reader(here: Visit) -> None:
    if here.account.role not in READERS:
        raise Forbidden("您的角色不能查看回测。")


@router.get("/backtest")
def backtest_page(here: Annotated[Visit, Depends(member)]) -> Response:
    """The form, and what was asked before."""
    return _show(here)


def _show(here: Visit, *, status: int = 200, errors: list[str] | None = None, draft: Any = None) -> Response:
    from analysis.judge import Thresholds  # loads the models' numbers

    _reader(here)
    bundle = here.console.bundle
    with here.console.db.reading() as session:
        asked = backtests.listed(session)
    today = here.now.astimezone(here.console.zone).date()
    limits = Thresholds.load().with_fast(bundle.settings.analysis.fast).fast
    return page(
        here,
        "backtest.html",
        status=status,
        errors=errors or [],
        draft=draft or {},
        fast_open=any(value for name, value in (draft or {}).items() if name.startswith("f-")),
        asked=asked,
        may_ask=here.account.role in ASKERS,
        first=today - USUAL,
        last=today - timedelta(days=1),
        domains=IDS,
        analysis=bundle.settings.analysis,
        limits={name: getattr(limits, name) for name in FAST_LIMITS},
        rules=[
            rule for kind in ("response", "hotline") for rule in bundle.rules.rules(kind) if rule.countable
        ],
        done=here.done,
    )


@router.post("/backtest")
def ask(here: Annotated[Visit, Depends(member)], form: Annotated[Posted, Depends(own_form)]) -> Response:
    """Put a question into the queue."""
    from analysis.backtest import faults_of  # loads the models' numbers

    if here.account.role not in ASKERS:
        raise Forbidden("您的角色不能执行此操作。")
    bundle = here.console.bundle
    change, unreadable = _change(here, form)
    since, until = _day(here, form.text("first", 10)), _day(here, form.text("last", 10), 1)
    errors = [here.t("“{value}”不是数。", value=value) for value in unreadable]
    if since is None or until is None:
        errors.append(here.t("请填写时段的起止日期。"))
    else:
        until = min(until, here.now)
        errors += [
            en if here.lang == "en" else zh
            for zh, en in faults_of(
                change, since, until, here.now, domains=IDS, limits=FAST_LIMITS, rules=bundle.rules
            )
        ]
    if errors or since is None or until is None:
        return _show(here, status=409, errors=errors, draft=form)
    with here.console.db.transaction() as session:
        number = backtests.ask(
            session,
            change,
            since,
            until,
            note=form.text("note", 500),
            actor=here.account.login,
            channel="console",
            now=here.now,
        )
    return RedirectResponse(f"/backtest/{number}?done=backtest", 303)


def _day(here: Visit, text: str, plus: int = 0) -> datetime | None:
    try:
        day = datetime.fromisoformat(text)
    except ValueError:
        return None
    return day.replace(tzinfo=here.console.zone) + timedelta(days=plus)


def _change(here: Visit, form: Posted) -> tuple[Change, list[str]]:
    """What differs from the settings in force, and what could not be read as a number."""
    settings, unreadable = here.console.bundle.settings.analysis, list[str]()

    def number(name: str) -> float | None:
        text = form.text(name, 20)
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            unreadable.append(text)
            return None
        if value != value or abs(value) > 1e9:
            unreadable.append(text)
            return None
        return value

    rate = number("rate")
    if rate == settings.false_alarms_per_week:
        rate = None
    ticked = tuple(name for name in IDS if form.get(f"d-{name}") == "1")
    watched = ticked if set(ticked) != set(settings.watched_domains) else None
    from analysis.judge import Thresholds

    present = Thresholds.load().with_fast(settings.fast).fast
    fast = {
        name: value
        for name in FAST_LIMITS
        if (value := number(f"f-{name}")) is not None and value != getattr(present, name)
    }
    rules: dict[str, int] = {}
    rule, amount = form.text("rule", 20), number("amount")
    if rule and amount is not None:
        rules[rule] = int(amount)
    return Change(rate, watched, fast, rules), unreadable


@router.get("/backtest/{number}")
def result_page(number: str, here: Annotated[Visit, Depends(member)]) -> Response:
    """One question and its answer."""
    _reader(here)
    found = _find(here, number)
    result = found.result
    detection = result.get("detection")
    lines = detection["lines"] if detection else []
    kinds = {
        kind: [line for line in lines if line["outcome"] == kind]
        for kind in ("lost", "gained", "later", "earlier")
    }
    return page(
        here,
        "backtest_result.html",
        item=found,
        detection=detection,
        kinds={kind: rows[:SHOWN] for kind, rows in kinds.items()},
        sizes={kind: len(rows) for kind, rows in kinds.items()},
        rules=result.get("rules", []),
        when=datetime.fromisoformat,
        done=here.done,
    )


def _find(here: Visit, number: str) -> BacktestView:
    if not (number.isascii() and number.isdigit()) or len(number) > 18:
        raise HTTPException(404)
    with here.console.db.reading() as session:
        found = backtests.get(session, int(number))
    if found is None:
        raise HTTPException(404)
    return found
