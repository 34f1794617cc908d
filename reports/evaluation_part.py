"""The response evaluation as a report tells it: departments of the period, talk after answers, or the one incident of a special report.

Nothing is computed here a second time: figures are those that were kept (reports.evaluation_job) or, where nothing was kept and
the period is small, those that the same functions give at this moment. They stand as of the writing, like reports.self_check.
A report travels further than a page: what is restricted stays in the figures and is named nowhere, and nobody reads which reviewer said what.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from statistics import mean

from config.bundle import Bundle
from incidents import access, evaluation_numbers, evaluation_runs, queries
from incidents.evaluation_numbers import Human
from incidents.ratings import colour
from incidents.session import Session
from reports.evaluation_job import case_now, period_now, stored_period
from reports.evaluation_model import (
    EvaluationPart,
    HumanForm,
    PeriodEvaluation,
    Trend,
    TrendLine,
    UnitRow,
)
from reports.period import Period
from reports.trend import AFTER_TO, HOUR

#: incidents that a report evaluates itself where nothing was kept; more of them is work for the job of the house
AT_ONCE = 30


def of_period(session: Session, bundle: Bundle, period: Period, now: datetime) -> EvaluationPart | None:
    """Departments and answers of a week, month or year; None for a day, or where there was nothing to evaluate."""
    if period.kind == "daily":
        return None
    secret = _secret(session)
    found = _departments(session, bundle, period, now)
    trends = _trends(session, bundle, period, secret)
    if found is None:
        return EvaluationPart(
            computed=False, min_cases=bundle.settings.evaluation.min_cases, as_of=period.as_of, trends=trends
        )
    if not found.rows and not trends:
        return None
    said = evaluation_numbers.human(
        session, [number for row in found.rows for number in row.numbers], period.as_of
    )
    return EvaluationPart(
        computed=True,
        min_cases=found.min_cases,
        as_of=found.as_of,
        rows=tuple(_told(row, secret) for row in found.rows),
        human={
            row.department: form
            for row in found.rows
            if not row.domain and (form := human_form(said[name] for name in row.numbers if name in said))
        },
        agreement=found.agreement,
        trends=trends,
        untold=len({number for row in found.rows for number in row.numbers} & secret),
    )


def of_incident(session: Session, bundle: Bundle, incident_id: int, now: datetime) -> EvaluationPart | None:
    """One incident at this moment, without who of the reviewers said what; None for one that is not evaluated."""
    found = case_now(session, bundle, incident_id, now)
    if found is None:
        return None
    form = human_form(evaluation_numbers.human(session, [found.number], now).values())
    return EvaluationPart(
        computed=True,
        min_cases=bundle.settings.evaluation.min_cases,
        as_of=now,
        human={"": form} if form else {},
        agreement=found.agreement,
        case=found.model_copy(update={"reviewers": (), "agreement": ()}),
    )


def human_form(said: Iterable[Human]) -> HumanForm | None:
    """What people said of some incidents together; None when nobody said anything."""
    every = list(said)
    scores = [one.score for one in every if one.score is not None]
    rated = [one.ratings for one in every if one.ratings]
    if not scores and not rated:
        return None
    total = mean(mean(one.total for one in given) for given in rated) if rated else None
    return HumanForm(
        scored=len(scores),
        score=round(mean(scores), 2) if scores else None,
        rated=len(rated),
        raters=sum(map(len, rated)),
        total=None if total is None else round(total, 2),
        colour="" if total is None else colour(total),
        improper=sum(one.improper for given in rated for one in given),
    )


def _secret(session: Session) -> frozenset[str]:
    return frozenset(queries.numbers_of(session, access.restricted(session)).values())


def _told(row: UnitRow, secret: Collection[str]) -> UnitRow:
    """A row without the numbers of restricted incidents and without the arithmetic, which the console shows."""
    return row.model_copy(
        update={
            "numbers": tuple(number for number in row.numbers if number not in secret),
            "worst_number": "" if row.worst_number in secret else row.worst_number,
            "indicators": tuple(
                one.model_copy(update={"lines": (), "missing": None}) for one in row.indicators
            ),
        }
    )


def _departments(session: Session, bundle: Bundle, period: Period, now: datetime) -> PeriodEvaluation | None:
    """What was kept of a period that is over; else what it looks like now. None: too much to compute beside a report."""
    over = period.as_of == period.until
    kept = stored_period(session, period.name) if over else None
    if kept is not None:
        return kept
    if len(evaluation_numbers.touched(session, period.since, period.until)) > AT_ONCE:
        return None
    return period_now(session, bundle, period.name, now)


def _trends(
    session: Session, bundle: Bundle, period: Period, secret: Collection[str]
) -> tuple[TrendLine, ...]:
    """Incidents whose three days after the answer ended in the period, the most talked about first."""
    watched = timedelta(hours=AFTER_TO)
    # an answer is entered after it was published: looked for a while longer than it is watched
    answered = evaluation_numbers.answered_in(session, period.since - 2 * watched, period.as_of)
    names = sorted(number for number in answered if number not in secret)
    kept = {
        number: (str(run.model["department"]), _trend(run.model["trend"]))
        for number, run in evaluation_runs.of_incidents(session, names).items()
    }
    every = kept | _now(session, bundle, period, [one for one in names if one not in kept])
    found = [
        TrendLine(
            number=number,
            title=answered[number],
            department=department,
            trend=trend.model_copy(update={"bars": ()}),
        )
        for number, (department, trend) in every.items()
        if trend is not None
        and trend.complete
        and period.since <= trend.answered_at + AFTER_TO * HOUR < period.as_of
    ]
    return tuple(sorted(found, key=_weight))


def _trend(kept: object) -> Trend | None:
    return Trend.model_validate(kept) if kept else None


def _weight(line: TrendLine) -> tuple[int, str]:
    return -(line.trend.before_posts + line.trend.after_posts), line.number


def _now(
    session: Session, bundle: Bundle, period: Period, numbers: Sequence[str]
) -> dict[str, tuple[str, Trend | None]]:
    if len(numbers) > AT_ONCE:
        return {}
    found = {}
    for number in numbers:
        incident = queries.get_incident(session, number)
        case = case_now(session, bundle, incident.id, period.as_of) if incident else None
        if case is not None:
            found[number] = case.department, case.trend
    return found
