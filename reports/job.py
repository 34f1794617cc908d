"""Write and send the report of a day, week, month or year. The row in `report_run` is the truth of what was written and sent.

A report is handed to the outbox once for each recipient, period and edition: the outbox id says so, not this code's
memory. Late data gives a new revision; one that replaces a report already sent is marked 更正 and says what changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from config.bundle import Bundle
from config.keys import Keys
from config.settings import Settings
from incidents import report_runs
from incidents.report_runs import RunView
from incidents.session import Database, Session
from reports.build import build
from reports.delivery import Issue, ReportSummary, font_dir, hand_out
from reports.files import write
from reports.layout import Edition, change_names
from reports.model import ReportModel
from reports.period import KINDS, Kind, last_whole, period_of, reached_by_retention

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def due_at(settings: Settings, kind: Kind, now: datetime) -> datetime | None:
    """The last instant at or before `now` at which a report of this kind was due; None when none is wanted."""
    zone = ZoneInfo(settings.city.timezone)
    wanted = settings.reports.at(kind)
    if not wanted:
        return None
    for back in (0, 1):
        whole = last_whole(kind, now, zone)
        ended = period_of(kind, whole, now, zone).until.astimezone(zone)
        if back:  # the period before that one: its report was due before this instant in any case
            ended = period_of(kind, last_whole(kind, ended - timedelta(seconds=1), zone), now, zone).until
        due = _moment(kind, wanted, ended)
        if due <= now:
            return due
    return None


def _moment(kind: Kind, wanted: str, ended: datetime) -> datetime:
    """The time of the settings after a period that ended at `ended`, a local midnight."""
    *days, clock = wanted.split(" ")
    hour, minute = (int(part) for part in clock.split(":"))
    if kind == "weekly":
        ended += timedelta(days=_WEEKDAYS.index(days[0]))
    elif kind == "monthly":
        ended = ended.replace(day=int(days[0]))
    elif kind == "yearly":
        month, day = (int(part) for part in days[0].split("-"))
        ended = ended.replace(month=month, day=day)
    return ended.replace(hour=hour, minute=minute)


def due_period(session: Session, settings: Settings, kind: Kind, now: datetime) -> str | None:
    """The last whole period, if its report is due and was not sent; else None.

    A machine that was off on Monday morning sends on the next tick; nothing is sent for older periods by itself.
    Without recipients the report is due once too: it then is written, and counts as sent.
    """
    zone = ZoneInfo(settings.city.timezone)
    name = last_whole(kind, now, zone)
    wanted = settings.reports.at(kind)
    if not wanted or now < _moment(kind, wanted, period_of(kind, name, now, zone).until.astimezone(zone)):
        return None
    sent = [run for run in report_runs.runs(session, kind, name) if run.sent_at and not _preview(run)]
    return None if sent else name


def run_due(
    db: Database, bundle: Bundle, keys: Keys, now: datetime, installed: datetime | None = None
) -> ReportSummary | None:
    """What the scheduler calls: write and send one report that is due; the next one on the next tick.

    `installed`: when this house began. There is no report about the time before.
    """
    for kind in KINDS:
        due = due_at(bundle.settings, kind, now)
        if due is None or (installed is not None and installed > due):
            continue
        with db.reading() as session:
            name = due_period(session, bundle.settings, kind, now)
        if name:
            return run(db, bundle, keys, now, kind, name, send=True)
    return None


def run(
    db: Database,
    bundle: Bundle,
    keys: Keys,
    now: datetime,
    kind: Kind = "weekly",
    period: str | None = None,
    send: bool = False,
) -> ReportSummary:
    """Write the report of a period (default: the last whole one) and, with `send`, hand it to the outbox.

    Writes page, text, PDF, DOCX, XLSX and the charts into `data_path/reports/<period>/`. The same content again makes
    no new revision and no new mail. Raises PeriodError for a period that does not exist or lies ahead.
    """
    settings = bundle.settings
    zone = ZoneInfo(settings.city.timezone)
    period = period or last_whole(kind, now, zone)
    with db.reading() as session:
        known = report_runs.runs(session, kind, period)
        model = _content(session, bundle, kind, period, now, known)
    digest = model.digest()
    repeated = bool(known) and known[-1].digest == digest
    if repeated:  # shown as it was stored: nothing changes without a revision
        model = ReportModel.model_validate(known[-1].model)
    edition = _edition(model, known, repeated=repeated, language=settings.city.language)
    written = write(model, edition, settings.city.language, settings.reports.issuer, font_dir(settings))
    return hand_out(
        db,
        settings,
        Issue(kind, period, digest, model.stored(), edition, repeated),
        written,
        now,
        send=send,
    )


def _content(
    session: Session, bundle: Bundle, kind: Kind, name: str, now: datetime, known: Sequence[RunView]
) -> ReportModel:
    """What the report says now; once retention has reached its posts, what it said last: the posts are gone."""
    period = period_of(kind, name, now, ZoneInfo(bundle.settings.city.timezone))
    if known and reached_by_retention(period, bundle.settings.privacy.post_days, now):
        return ReportModel.model_validate(known[-1].model)
    return build(session, bundle, kind, name, now)


def _preview(run_: RunView) -> bool:
    return str(run_.model["as_of"]) < str(run_.model["until"])


def _edition(model: ReportModel, known: Sequence[RunView], *, repeated: bool, language: str) -> Edition:
    """Which edition this content is, given what was written and sent before."""
    earlier = list(known[:-1] if repeated else known)
    revision = known[-1].revision if repeated else len(known) + 1
    sent = [run_ for run_ in earlier if run_.sent_at is not None]
    if model.preliminary:
        return Edition(revision, "preview")
    if not sent:
        return Edition(revision, "first")
    replaced = sent[-1]
    changes = _changes(ReportModel.model_validate(replaced.model), model, language)
    return Edition(revision, "final" if _preview(replaced) else "correction", replaced.sent_at, changes)


def _changes(old: ReportModel, new: ReportModel, language: str) -> tuple[tuple[str, str, str], ...]:
    """Headline figures that differ."""

    def figures(model: ReportModel) -> dict[str, int]:
        return {
            "posts": model.volume.posts,
            "negative": model.volume.negative,
            "new": len(model.new),
            "closed": len(model.closed),
            "false_alarms": len(model.false_alarms),
            "kept": model.kept,
            "ran_out": model.ran_out,
        }

    was, now = figures(old), figures(new)
    return tuple(
        (name, f"{was[key]:,}", f"{now[key]:,}")
        for key, name in change_names(language).items()
        if was[key] != now[key]
    )
