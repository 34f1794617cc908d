"""Compute evaluations and keep them: incidents that were answered and then moved, and the last whole weeks and months.

What was kept stays: late data give a new revision, marked as a correction where the old one was final. Other reports take
`stored_case` and `stored_period` (the models as they were kept, never computed anew), or `case_now` and `period_now` for
figures of this moment that are not kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from config.bundle import Bundle
from config.evaluation import EvaluationSettings
from incidents import evaluation_numbers, evaluation_runs, imported_calls, promises, ratings, reply_readings
from incidents.evaluation_numbers import Case
from incidents.promises import Promise
from incidents.ratings import ITEMS, Rating
from incidents.reply_readings import StoredReading
from incidents.session import Database, Session
from incidents.states import State
from reports.agreement import alpha, interval_distance, nominal_distance
from reports.evaluation import evaluate
from reports.evaluation_facts import Facts, Pledge, Reply, facts_of
from reports.evaluation_model import Agreement, CaseEvaluation, PeriodEvaluation, line
from reports.evaluation_units import rows
from reports.period import Length, Period, name_before, named, period_of
from reports.trend import AFTER_TO, HOUR, WATCHED_DAYS

#: incidents of one turn, so that one turn is short; the next turn takes the next ones
AT_ONCE = 25
#: a period is looked at again once a day for so long after its end
LATE_DATA = timedelta(days=35)
AGAIN = timedelta(hours=24)
PERIODS: tuple[Length, ...] = ("weekly", "monthly")
#: a year is long to compute: only where a yearly report is wanted, and looked at again so seldom
AGAIN_YEAR = timedelta(days=7)


@dataclass(frozen=True)
class EvaluationSummary:
    """What a run did. `corrections` are revisions that changed what had been final, `calls` entries of imported call-backs."""

    looked_at: int = 0
    incidents: tuple[str, ...] = ()
    periods: tuple[str, ...] = ()
    corrections: tuple[str, ...] = ()
    calls: int = 0


def run_due(db: Database, bundle: Bundle, now: datetime) -> EvaluationSummary | None:
    """What the scheduler calls: everything that is due, each in a transaction of its own. None: nothing was."""
    calls = _count_calls(db, bundle, now)
    with db.reading() as session:
        waiting = evaluation_runs.due(session, now, AT_ONCE)
        spans = [span for span in _spans(bundle, now) if _period_due(session, span, now)]
    new: list[str] = []
    written: list[str] = []
    corrected: list[str] = []
    for incident_id in waiting:
        kind, subject = _keep_case(db, bundle, incident_id, now)
        new += [subject] if kind else []
        corrected += [subject] if kind == "correction" else []
    for span in spans:
        kind = _keep_period(db, bundle, span, now)
        written += [span.name] if kind else []
        corrected += [span.name] if kind == "correction" else []
    if not waiting and not spans and not calls:
        return None
    return EvaluationSummary(len(waiting), tuple(new), tuple(written), tuple(corrected), calls)


def _count_calls(db: Database, bundle: Bundle, now: datetime) -> int:
    """Count imported call-backs where they belong; writers are waited for only when there are any."""
    with db.reading() as session:
        if not imported_calls.waiting(session, now):
            return 0
    written, moved = 0, imported_calls.AT_ONCE
    while moved >= imported_calls.AT_ONCE:
        with db.transaction() as session:
            moved, entries = imported_calls.settle(session, now, ZoneInfo(bundle.settings.city.timezone))
        written += entries
    return written


def stored_case(session: Session, number: str) -> CaseEvaluation | None:
    """The newest evaluation of an incident that was kept; for reports."""
    run = evaluation_runs.latest(session, "incident", number)
    return CaseEvaluation.model_validate(run.model) if run else None


def stored_period(session: Session, name: str) -> PeriodEvaluation | None:
    """The newest evaluation of a week (2026-W47) or month (2026-11) that was kept; for reports."""
    run = evaluation_runs.latest(session, "period", name)
    return PeriodEvaluation.model_validate(run.model) if run else None


# --- incidents -------------------------------------------------------------------------------------------------------


def case_now(session: Session, bundle: Bundle, incident_id: int, now: datetime) -> CaseEvaluation | None:
    """An incident at this moment; None for one that was never raised, was a false alarm or is part of another one."""
    facts = _facts(session, bundle.settings.evaluation, incident_id, now)
    return _evaluated(session, facts, bundle.settings.evaluation) if facts else None


def _evaluated(session: Session, facts: Facts, settings: EvaluationSettings) -> CaseEvaluation:
    return evaluate(facts, settings, agreement_of(ratings.all_ratings(session), settings))


def _facts(session: Session, settings: EvaluationSettings, incident_id: int, as_of: datetime) -> Facts | None:
    case = evaluation_numbers.case(session, incident_id, as_of)
    if case is None or case.state in (State.FALSE_ALARM, State.MERGED, State.WATCHING):
        return None
    read = reply_readings.readings_of(session, case.members)
    promised = promises.promises_of(session, case.members)
    answered = any(event.kind == "responded" for event in case.events)
    return facts_of(
        case,
        settings,
        as_of,
        replies=[reply_of(one) for found in read.values() for one in found],
        pledges=[
            pledge
            for found in promised.values()
            for one in found
            if (pledge := pledge_of(one, case, as_of)) is not None
        ],
        peers=evaluation_numbers.peers(session, case, as_of, least=settings.min_posts) if answered else (),
    )


def reply_of(one: StoredReading) -> Reply:
    """An answer as the machine read it, in the terms of the formulas."""
    return Reply(
        published_at=one.published_at,
        department=one.department,
        relevance=one.relevance,
        coverage=one.coverage,
        elements=dict(one.elements),
        citations=one.citations,
        figures=one.figures,
        buck_passing=one.buck_passing,
        template_of=one.template_of,
        blame=one.blame,
        courtesy=one.courtesy,
        seq=one.seq,
    )


def pledge_of(one: Promise, case: Case, as_of: datetime) -> Pledge | None:
    """A promise that a person confirmed, with the events that say what became of it; None for one that counts for nothing."""
    if one.state not in ("open", "kept", "broken") or one.due_at is None or one.made_at > as_of:
        return None
    events = tuple(
        event.seq
        for event in (*case.events, *(event for _, event in case.member_events))
        if event.kind in ("promise_kept", "promise_broken") and event.payload.get("key") == one.key
    )
    return Pledge(one.due_at, one.state, one.department, one.key, events)


def _keep_case(db: Database, bundle: Bundle, incident_id: int, now: datetime) -> tuple[str, str]:
    """Kind of the new revision ("" for none) and the incident's number."""
    settings = bundle.settings.evaluation
    with db.reading() as session:
        case = evaluation_numbers.case(session, incident_id, now)
        facts = _facts(session, settings, incident_id, now)
        if case is None or facts is None:
            return "", ""
        found = _evaluated(session, facts, settings)
        known = evaluation_runs.latest(session, "incident", found.number)
    with db.transaction() as session:
        run, new = evaluation_runs.save(
            session,
            scope="incident",
            subject=found.number,
            incident_id=incident_id,
            digest=found.digest(),
            model=found.stored(),
            final_before=bool(known and known.model.get("final")),
            version=case.version,
            next_at=next_look(facts),
            now=now,
        )
    return (run.kind if new else ""), found.number


def next_look(facts: Facts) -> datetime | None:
    """When time alone changes something: the windows after the answer, the next end of a clock or promise, each day of being late."""
    moments = [duty.due_at for duty in (*facts.duties, *facts.reports) if duty.closed_at is None]
    moments += [pledge.due_at for pledge in facts.pledges if pledge.state == "open"]
    if facts.answer is not None:
        at = facts.answer[1]
        moments += [at + AFTER_TO * HOUR, at + timedelta(days=WATCHED_DAYS)]
    coming = [at + timedelta(seconds=1) for at in moments if at >= facts.as_of]
    late = any(
        duty.closed_at is None and duty.due_at < facts.as_of for duty in (*facts.duties, *facts.reports)
    )
    return min([*coming, *([facts.as_of + AGAIN] if late else [])], default=None)


def agreement_of(
    given: Mapping[int, Sequence[Rating]], settings: EvaluationSettings
) -> tuple[Agreement, ...]:
    """Agreement on each item over all rounds that several people rated; below the minimum nothing is said."""
    units: dict[tuple[int, int], list[Rating]] = {}
    for found in given.values():
        for one in found:
            units.setdefault((one.incident_id, one.round), []).append(one)
    several = [rated for rated in units.values() if len(rated) > 1]
    items: dict[str, list[list[float]]] = {
        item: [[one.scores[item] for one in rated] for rated in several] for item in ITEMS
    }
    items["total"] = [[one.total for one in rated] for rated in several]
    items["improper"] = [[float(one.improper) for one in rated] for rated in several]
    result = []
    for item, values in items.items():
        measured = alpha(values, nominal_distance if item == "improper" else interval_distance)
        missing = None
        if len(several) < settings.min_cases:
            text = "多人评分的事件 {n} 件，不足 {least} 件，数据不足"
            missing = line(text, n=len(several), least=settings.min_cases)
        elif measured.value is None:
            missing = line("所有评分都相同，无从计算")
        value = None if missing or measured.value is None else round(measured.value, 4)
        result.append(Agreement(item=item, alpha=value, units=len(several), missing=missing))
    return tuple(result)


# --- periods ---------------------------------------------------------------------------------------------------------


def period_now(
    session: Session, bundle: Bundle, name: str, now: datetime, department: str | None = None
) -> PeriodEvaluation:
    """A period as it looks at this moment. Raises reports.period.PeriodError for one that does not exist or has not begun."""
    span = named(name, now, ZoneInfo(bundle.settings.city.timezone))
    settings = bundle.settings.evaluation
    found = evaluation_numbers.touched(session, span.since, span.until)
    cases = (facts for one in found if (facts := _facts(session, settings, one, span.as_of)) is not None)
    every = rows(
        cases,
        span.since,
        span.until,
        span.as_of,
        settings,
        [one.id for one in bundle.departments.departments],
    )
    return PeriodEvaluation(
        period=name,
        since=span.since,
        until=span.until,
        as_of=span.as_of,
        min_cases=settings.min_cases,
        rows=tuple(one for one in every if department is None or one.department == department),
        agreement=agreement_of(_before(ratings.all_ratings(session), span.as_of), settings),
        final=not span.running,
    )


def _before(given: Mapping[int, Sequence[Rating]], as_of: datetime) -> dict[int, tuple[Rating, ...]]:
    return {key: tuple(one for one in found if one.rated_at <= as_of) for key, found in given.items()}


def _spans(bundle: Bundle, now: datetime) -> Iterable[Period]:
    """Whole weeks and months, and years where a report of them is wanted, that ended not long ago."""
    zone = ZoneInfo(bundle.settings.city.timezone)
    for kind in (*PERIODS, *(("yearly",) if bundle.settings.reports.yearly_at else ())):
        span = period_of(kind, name_before(kind, now.astimezone(zone).date()), now, zone)
        while now < span.until + LATE_DATA:
            yield span
            span = period_of(kind, name_before(kind, span.since.date()), now, zone)


def _period_due(session: Session, span: Period, now: datetime) -> bool:
    known = evaluation_runs.latest(session, "period", span.name)
    return known is None or (known.next_at is not None and known.next_at <= now)


def _keep_period(db: Database, bundle: Bundle, span: Period, now: datetime) -> str:
    """Kind of the new revision, "" for none."""
    with db.reading() as session:
        found = period_now(session, bundle, span.name, now)
        known = evaluation_runs.latest(session, "period", span.name)
    if not found.rows and known is None:
        return ""  # nothing happened then, or nobody was here yet
    with db.transaction() as session:
        run, new = evaluation_runs.save(
            session,
            scope="period",
            subject=span.name,
            incident_id=None,
            digest=found.digest(),
            model=found.stored(),
            final_before=bool(known and known.model.get("final")),
            version=0,
            next_at=now + (AGAIN_YEAR if span.kind == "yearly" else AGAIN)
            if now < span.until + LATE_DATA
            else None,
            now=now,
        )
    return run.kind if new else ""
