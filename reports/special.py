"""The special report 专报 about one incident, as it stands now: its posts, steps, response times, clocks, departments.

A report travels further than a page, so there is none about an incident that is restricted to named people. Later
content after one was sent is a sequel 续报, never a silent change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from config.bundle import Bundle
from config.keys import Keys
from incidents import access, queries, report_runs
from incidents import weekly_numbers as numbers
from incidents.queries import HourView
from incidents.session import Database, Session
from incidents.trouble import Problem
from incidents.weekly_numbers import FamilyCell
from reports import evaluation_part
from reports.delivery import Issue, ReportSummary, font_dir, hand_out
from reports.duties import by_rule, departments, links
from reports.files import write
from reports.layout import Edition
from reports.matters import Desk
from reports.model import AuditHead, DayRow, ReportModel, SourceRow, StepLine, Volume
from reports.period import Period

#: days that the chart shows, the newest
DAYS = 31
#: events that a reader of the report wants to know of
STEPS = (
    "detected", "page_sent", "page_acknowledged", "confirmed", "assigned", "acknowledged", "returned", "responded",
    "evaluated", "closed", "reopened", "merged", "false_alarm",
)  # fmt: skip


def build_special(session: Session, bundle: Bundle, number: str, now: datetime) -> ReportModel:
    """The report about one incident. Raises Problem when there is no such incident or it may not be told."""
    incident = queries.get_incident(session, number)
    if incident is None or not incident.number:
        raise Problem(f"{number}: no such incident; `quansheng incidents` lists them")
    if incident.id in access.restricted(session):
        raise Problem(
            f"{number} is restricted to named people: a report travels further, so none is written about it"
        )
    city, zone = bundle.settings.city, ZoneInfo(bundle.settings.city.timezone)
    first = incident.first_posted_at.astimezone(zone).date()
    days = [first]
    while days[-1] <= now.astimezone(zone).date():
        days.append(days[-1] + timedelta(days=1))
    bounds = tuple(datetime.combine(day, time(), tzinfo=zone) for day in days)
    period = Period("daily", number, bounds, (bounds[0], bounds[0]), now, zone)
    desk = Desk(session, period)
    try:
        desk.narrow(incident.number)
    except KeyError:
        raise Problem(
            f"{number} has been merged or was never raised: report on the incident it went into"
        ) from None
    cells = numbers.family_cells(session, sorted(desk.by_id), period.seen)
    # the counters that the console draws: posts that retention has taken stay in them
    hours = queries.growth_of(session, incident.id)
    lost = max(0, sum(hour.posts for hour in hours) - sum(cell.posts for cell in cells))
    names = {entry.id: entry.zh for entry in bundle.departments.departments}
    clocks = [
        clock
        for clock in numbers.clocks(session, period.since, period.as_of)
        if clock.incident_id in desk.by_id
    ]
    rules, missed, outcomes = by_rule(desk, bundle, clocks)
    head = numbers.head_before(session, now)
    story = next(story for story in desk.stories if story.number == incident.number)
    return ReportModel(
        kind="special",
        period=incident.number,
        city=city.name,
        timezone=city.timezone,
        since=period.since,
        until=now,
        as_of=now,
        generated_at=now,
        min_sample=bundle.settings.reports.min_sample,
        volume=_volume(cells, hours),
        days=_days(days[:-1], cells, hours, zone),
        domains=(),
        districts=(),
        no_district=0,
        detected=1,
        manual=0,
        confirmed=0,
        new=(desk.line(story),),
        growing=(),
        closed=(),
        other_open=(),
        reopened=(),
        false_alarms=(),
        merged=tuple(desk.merges()),
        links=links(desk),
        rules=rules,
        missed=missed,
        departments=departments(desk, outcomes, names),
        sources=_sources(bundle, cells),
        rules_version=bundle.rules.version,
        department_names=names,
        audit=AuditHead(seq=head.seq, hash=head.hash),
        partly_deleted=lost > 0,
        steps=_steps(desk),
        evaluation=evaluation_part.of_incident(session, bundle, incident.id, now),
    )


def _volume(cells: Sequence[FamilyCell], hours: Sequence[HourView]) -> Volume:
    """Posts and negative ones by the counters; the other tones only of posts that are still stored."""
    tones = Counter[str]()
    for cell in cells:
        tones[cell.tone] += cell.posts
    negative = sum(hour.negative for hour in hours)
    return Volume(
        posts=sum(hour.posts for hour in hours),
        before=0,
        copies=sum(cell.copies for cell in cells),
        judged=negative + tones["neu"] + tones["pos"],
        negative=negative,
        neutral=tones["neu"],
        positive=tones["pos"],
        judged_before=0,
        negative_before=0,
    )


def _days(
    days: Sequence[date], cells: Sequence[FamilyCell], hours: Sequence[HourView], zone: ZoneInfo
) -> tuple[DayRow, ...]:
    posts, negative, tones = Counter[date](), Counter[date](), Counter[tuple[int, str]]()
    for hour in hours:
        day = hour.hour.astimezone(zone).date()
        posts[day] += hour.posts
        negative[day] += hour.negative
    for cell in cells:
        tones[cell.day, cell.tone] += cell.posts
    return tuple(
        DayRow(
            day=day,
            posts=posts[day],
            negative=negative[day],
            neutral=tones[index, "neu"],
            positive=tones[index, "pos"],
            before=None,
        )
        for index, day in enumerate(days)
    )[-DAYS:]


def _sources(bundle: Bundle, cells: Sequence[FamilyCell]) -> tuple[SourceRow, ...]:
    known = {source.id: source for source in bundle.sources}
    rows = []
    for source_id in sorted({cell.source_id for cell in cells}):
        mine = [cell for cell in cells if cell.source_id == source_id]
        source = known.get(source_id)
        rows.append(
            SourceRow(
                id=source_id,
                name=source.name if source else source_id,
                enabled=source.enabled if source else False,
                posts=sum(cell.posts for cell in mine),
                days=len({cell.day for cell in mine}),
                last_at=max(cell.last_at for cell in mine),
            )
        )
    return tuple(sorted(rows, key=lambda row: (-row.posts, row.id)))


def _steps(desk: Desk) -> tuple[StepLine, ...]:
    """What was done, in order; of repeated pages the first one only."""
    found: list[StepLine] = []
    paged: set[tuple[str, int]] = set()
    for story in desk.stories:
        for event in story.events:
            if event.kind not in STEPS or event.occurred_at >= desk.period.as_of:
                continue
            if event.kind in ("page_sent", "page_acknowledged"):
                key = (story.number + event.kind, event.round)
                if key in paged:
                    continue
                paged.add(key)
            said = event.payload
            note = said.get("summary") or said.get("note") or said.get("reason") or ""
            found.append(
                StepLine(
                    at=event.occurred_at,
                    number=story.number,
                    what=event.kind,
                    department=str(said.get("department") or "") if event.kind == "assigned" else "",
                    note=str(note) if event.kind != "detected" else "",
                )
            )
    return tuple(sorted(found, key=lambda step: step.at))


def run_special(
    db: Database, bundle: Bundle, keys: Keys, now: datetime, number: str, send: bool = False
) -> ReportSummary:
    """Write the special report and, with `send`, hand it to the outbox. The same content again makes no new mail."""
    settings = bundle.settings
    with db.reading() as session:
        model = build_special(session, bundle, number, now)
        known = report_runs.runs(session, "special", model.period)
    digest = model.digest()
    repeated = bool(known) and known[-1].digest == digest
    earlier = known[:-1] if repeated else known
    sent = [run.sent_at for run in earlier if run.sent_at is not None]
    edition = Edition(
        known[-1].revision if repeated else len(known) + 1,
        "sequel" if sent else "first",
        sent[-1] if sent else None,
    )
    written = write(model, edition, settings.city.language, settings.reports.issuer, font_dir(settings))
    issue = Issue("special", model.period, digest, model.stored(), edition, repeated)
    return hand_out(db, settings, issue, written, now, send=send)
