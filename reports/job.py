"""Write and send the weekly report. The row in `report_run` is the truth of what was written and sent.

A report is handed to the outbox once for each recipient, period and edition: the outbox id says so, not this code's
memory. Late data gives a new revision; one that replaces a report already sent is marked 更正 and says what changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from config.bundle import Bundle
from config.keys import Keys
from config.settings import Settings
from incidents import outbox, report_runs
from incidents.lifecycle import record_act
from incidents.report_runs import RunView
from incidents.session import Database, Session
from incidents.trouble import Problem
from reports.files import Written, write
from reports.layout import Edition, change_names
from reports.model import WeeklyModel
from reports.period import period_of, reached_by_retention, week_before
from reports.render import Rendered
from reports.weekly import build_weekly

REPORT = "weekly"
#: reports wait behind every page and reminder
_PRIORITY = 9
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True)
class ReportSummary:
    """What a run did. `queued` are the recipients that got a new outbox row; `files` lie in `folder`."""

    week: str
    revision: int
    edition: str
    new_revision: bool
    folder: Path
    files: tuple[Path, ...]
    queued: tuple[str, ...]
    subject: str
    summary: tuple[str, ...]


def due_weekly(session: Session, settings: Settings, now: datetime) -> str | None:
    """The last whole week, if its report is due (`reports.weekly_at` has passed) and was not sent; else None.

    A machine that was off on Monday morning sends on the next tick; nothing is sent for older weeks by itself.
    Without recipients the report is due once too: it then is written, and counts as sent.
    """
    zone = ZoneInfo(settings.city.timezone)
    week = week_before(now, zone)
    weekday, _, clock = settings.reports.weekly_at.partition(" ")
    hour, minute = (int(part) for part in clock.split(":"))
    ended = period_of(week, now, zone).until.astimezone(zone)
    due = (ended + timedelta(days=_WEEKDAYS.index(weekday))).replace(hour=hour, minute=minute)
    if now < due:
        return None
    sent = [run for run in report_runs.runs(session, REPORT, week) if run.sent_at and not _preview(run)]
    return None if sent else week


def run_due(db: Database, bundle: Bundle, keys: Keys, now: datetime) -> ReportSummary | None:
    """What the scheduler calls: write and send the report if one is due."""
    with db.reading() as session:
        week = due_weekly(session, bundle.settings, now)
    return run(db, bundle, keys, now, week=week, send=True) if week else None


def run(
    db: Database, bundle: Bundle, keys: Keys, now: datetime, week: str | None = None, send: bool = False
) -> ReportSummary:
    """Write the report of `week` (default: the last whole week) and, with `send`, hand it to the outbox.

    Writes `weekly.html`, `.txt`, `.pdf`, `.docx`, `.xlsx` and the charts into `data_path/reports/<week>/`. The same content again makes
    no new revision and no new mail. Raises WeekError for a week that does not exist or lies ahead.
    """
    settings = bundle.settings
    zone = ZoneInfo(settings.city.timezone)
    week = week or week_before(now, zone)
    with db.reading() as session:
        known = report_runs.runs(session, REPORT, week)
        model = _content(session, bundle, week, now, known)
    digest = model.digest()
    repeated = bool(known) and known[-1].digest == digest
    edition = _edition(model, known, repeated=repeated, language=settings.city.language)
    written = write(
        model,
        edition,
        settings.city.language,
        settings.reports.issuer,
        settings.config_dir / settings.reports.font_dir if settings.reports.font_dir else None,
    )
    rendered = written.rendered
    folder = settings.data_path / "reports" / week
    files = _write(folder, written)
    queued: list[str] = []
    waiting = settings.data_path / "outbox-files"
    stem = f"{REPORT}-{week}-r{edition.revision}"
    parts = (
        _parts(waiting, stem, written, settings.reports.attach, f"{rendered.title} {week}") if send else {}
    )
    with db.transaction() as session:
        saved = report_runs.save_run(
            session, report=REPORT, period=week, digest=digest, model=model.stored(), now=now
        )
        if send:
            queued = _enqueue(session, rendered, saved, edition, settings, parts, now)
            if saved.sent_at is None and (queued or not settings.reports.recipients):
                report_runs.mark_sent(session, saved.id, now)
                record_act(
                    session,
                    "report_sent",
                    {
                        "report": REPORT,
                        "period": week,
                        "revision": saved.revision,
                        "edition": edition.kind,
                        "digest": digest,
                        "recipients": len(settings.reports.recipients),
                    },
                    actor="system",
                    channel="system",
                    now=now,
                )
    from_words = rendered.text.split("\n\n")
    return ReportSummary(
        week=week,
        revision=saved.revision,
        edition=edition.kind,
        new_revision=not repeated,
        folder=folder,
        files=files,
        queued=tuple(queued),
        subject=rendered.subject,
        summary=tuple(from_words[1].splitlines()),
    )


def _content(
    session: Session, bundle: Bundle, week: str, now: datetime, known: Sequence[RunView]
) -> WeeklyModel:
    """What the report says now; once retention has reached its posts, what it said last: the posts are gone."""
    period = period_of(week, now, ZoneInfo(bundle.settings.city.timezone))
    if known and reached_by_retention(period, bundle.settings.privacy.post_days, now):
        return WeeklyModel.model_validate(known[-1].model)
    return build_weekly(session, bundle, week, now)


def _preview(run_: RunView) -> bool:
    return str(run_.model["as_of"]) < str(run_.model["until"])


def _edition(model: WeeklyModel, known: Sequence[RunView], *, repeated: bool, language: str) -> Edition:
    """Which edition this content is, given what was written and sent before."""
    earlier = list(known[:-1] if repeated else known)
    revision = known[-1].revision if repeated else len(known) + 1
    sent = [run_ for run_ in earlier if run_.sent_at is not None]
    if model.preliminary:
        return Edition(revision, "preview")
    if not sent:
        return Edition(revision, "first")
    replaced = sent[-1]
    changes = _changes(WeeklyModel.model_validate(replaced.model), model, language)
    return Edition(revision, "final" if _preview(replaced) else "correction", replaced.sent_at, changes)


def _changes(old: WeeklyModel, new: WeeklyModel, language: str) -> tuple[tuple[str, str, str], ...]:
    """Headline figures that differ."""

    def figures(model: WeeklyModel) -> dict[str, int]:
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


def _step(edition: Edition) -> int:
    """Part of the outbox id: a preview and the report itself go out once; each correction once more."""
    return {"preview": 0, "first": 1, "final": 1, "correction": 1 + edition.revision}[edition.kind]


def _enqueue(
    session: Session,
    rendered: Rendered,
    saved: RunView,
    edition: Edition,
    settings: Settings,
    parts: dict[str, list[dict[str, str]]],
    now: datetime,
) -> list[str]:
    """One outbox row for each recipient; returns those that had none yet."""
    step = _step(edition)
    message = {
        "subject": rendered.subject,
        "text": rendered.mail_text,
        "html": rendered.mail,
        **parts,
        "headers": {"X-Quansheng-Report": f"{REPORT} {saved.period} r{saved.revision}"},
    }
    return [
        recipient
        for recipient in dict.fromkeys(settings.reports.recipients)
        if outbox.enqueue(
            session,
            id=outbox.message_id(None, 0, step, recipient, "email", "report", f"{REPORT}/{saved.period}"),
            incident_id=None,
            kind="report",
            step=step,
            recipient=recipient,
            channel="email",
            priority=_PRIORITY,
            message=message,
            now=now,
        )
    ]


def _write(folder: Path, written: Written) -> tuple[Path, ...]:
    """The report as files to open: the charts first, so that the page never points at a missing one."""
    rendered = written.rendered
    contents = {
        **{image.name: image.png for image in rendered.images},
        **{f"{REPORT}.{suffix}": paper for suffix, paper in written.papers.items()},
        f"{REPORT}.txt": rendered.text.encode(),
        f"{REPORT}.html": rendered.page.encode(),
    }
    for name, content in contents.items():
        _replace(folder / name, content)
    return tuple(folder / name for name in contents)


def _parts(
    folder: Path, stem: str, written: Written, attach: Sequence[str], title: str
) -> dict[str, list[dict[str, str]]]:
    """Charts and attachments of a mail under names of their own: a later revision changes no mail that waits."""
    inline, attachments = [], []
    for image in written.rendered.images:
        path = folder / f"{stem}-{image.name}"
        _replace(path, image.png)
        inline.append({"cid": image.cid, "path": str(path)})
    for suffix in dict.fromkeys(attach):
        path = folder / f"{stem}.{suffix}"
        _replace(path, written.papers[suffix])
        attachments.append({"path": str(path), "name": f"{title}.{suffix}"})
    return {"inline": inline, "attachments": attachments}


def _replace(path: Path, content: bytes) -> None:
    """Whole or not at all: a reader never sees half a file."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as exc:
        raise Problem(
            f"{path}: cannot be written: {exc.strerror}; make room or give this account the right to write there"
        ) from exc
