"""Build the report of a day, week, month or year: every figure a fold over events or a count of rows.

`build` reads through `incidents.weekly_numbers`, decides nothing and writes nothing. A figure that the data
does not hold is None or an empty tuple, never a guess.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from config.bundle import Bundle
from incidents import weekly_numbers as numbers
from incidents.session import Session
from reports import evaluation_part
from reports.duties import by_rule, departments, links
from reports.hot import hot_lists
from reports.matters import Desk
from reports.model import AuditHead, DayHead, ReportModel
from reports.period import Kind, Period, period_of, reached_by_retention
from reports.self_check import blind_spots, charges, last_year, model_figures
from reports.topics import topic_domains
from reports.volume import counts, days, sources, volume


def build(session: Session, bundle: Bundle, kind: Kind, name: str, now: datetime) -> ReportModel:
    """The report of one period as it stood at its end (or at `now` while it runs).

    Raises PeriodError when there is no such period or it lies ahead.
    """
    city, reports = bundle.settings.city, bundle.settings.reports
    period = period_of(kind, name, now, ZoneInfo(city.timezone))
    cells = numbers.post_cells(session, period.seen)
    cells_before = numbers.post_cells(session, period.before)
    desk = Desk(session, period)
    department_names = {entry.id: entry.zh for entry in bundle.departments.departments}
    rules, missed, outcomes = by_rule(desk, bundle, numbers.clocks(session, period.since, period.as_of))
    head = numbers.head_before(session, period.as_of)
    return ReportModel(
        kind=kind,
        period=name,
        city=city.name,
        timezone=city.timezone,
        since=period.since,
        until=period.until,
        as_of=period.as_of,
        generated_at=now,
        min_sample=reports.min_sample,
        volume=volume(cells, cells_before),
        days=days(period, cells, cells_before),
        domains=counts(cells, cells_before, lambda cell: (cell.domain,) if cell.domain else ()),
        districts=counts(cells, cells_before, lambda cell: cell.districts),
        no_district=sum(cell.posts for cell in cells if not cell.districts),
        links=links(desk),
        rules=rules,
        missed=missed,
        departments=departments(desk, outcomes, department_names),
        sources=sources(bundle, numbers.source_counts(session, period.seen)),
        rules_version=bundle.rules.version,
        department_names=department_names,
        audit=AuditHead(seq=head.seq, hash=head.hash),
        partly_deleted=reached_by_retention(period, bundle.settings.privacy.post_days, now)
        # a house that is younger than its retention has deleted nothing
        and numbers.head_before(session, now - timedelta(days=bundle.settings.privacy.post_days)).seq > 0,
        heads=_heads(session, period),
        # topics are made for weeks
        topics=topic_domains(session, period, bundle.settings.analysis.watched_domains)
        if kind == "weekly"
        else (),
        hot=hot_lists(session, bundle, period),
        last_year=last_year(session, bundle, period, now),
        blind=blind_spots(session, bundle, period),
        judging=model_figures(session, bundle),
        charges=charges(session, bundle, period, now),
        evaluation=evaluation_part.of_period(session, bundle, period, now),
        **desk.matters(),
    )


def build_weekly(session: Session, bundle: Bundle, week: str, now: datetime) -> ReportModel:
    """The report of one ISO week."""
    return build(session, bundle, "weekly", week, now)


def _heads(session: Session, period: Period) -> tuple[DayHead, ...]:
    """Where the record ended on each day that is over: whoever keeps the report can show later that nothing was cut off."""
    found = [(day, numbers.head_before(session, end)) for day, end in period.ends]
    return tuple(DayHead(day=day, seq=head.seq, hash=head.hash) for day, head in found if head.seq)
