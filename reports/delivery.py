"""Puts a written report on its way: files beside each other, one outbox row for each recipient, the act in the record.

A process that dies anywhere between leaves files (written again the same next time) or a whole transaction: row of the
report, mails and act come together or not at all. From then on the outbox has each mail, sends and repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from config.settings import Settings
from incidents import outbox, report_runs
from incidents.lifecycle import record_act
from incidents.report_runs import RunView
from incidents.session import Database, Session
from incidents.trouble import Problem
from reports.files import Written
from reports.layout import Edition

#: reports wait behind every page and reminder
_PRIORITY = 9


@dataclass(frozen=True)
class Issue:
    """Which report this is. `report`: daily, weekly, monthly, yearly or special; `period`: or the incident's number."""

    report: str
    period: str
    digest: str
    model: dict[str, Any]
    edition: Edition
    repeated: bool  # the newest revision says the same


@dataclass(frozen=True)
class ReportSummary:
    """What a run did. `queued` are the recipients that got a new outbox row; `files` lie in `folder`."""

    report: str
    period: str
    revision: int
    edition: str
    new_revision: bool
    folder: Path
    files: tuple[Path, ...]
    queued: tuple[str, ...]
    subject: str
    summary: tuple[str, ...]


def font_dir(settings: Settings) -> Path | None:
    """The office's own fonts, when it has named their folder."""
    return settings.config_dir / settings.reports.font_dir if settings.reports.font_dir else None


def hand_out(
    db: Database, settings: Settings, issue: Issue, written: Written, now: datetime, *, send: bool
) -> ReportSummary:
    """Write the files and, with `send`, hand the report to the outbox. Raises Problem for a folder that takes no file."""
    folder = settings.data_path / "reports" / issue.period
    files = _write(folder, issue.report, written)
    queued: list[str] = []
    stem = f"{issue.report}-{issue.period}-r{issue.edition.revision}"
    name = f"{written.rendered.title} {issue.period}"
    waiting = settings.data_path / "outbox-files"
    parts = _parts(waiting, stem, written, settings.reports.attach, name) if send else {}
    with db.transaction() as session:
        saved = report_runs.save_run(
            session,
            report=issue.report,
            period=issue.period,
            digest=issue.digest,
            model=issue.model,
            now=now,
        )
        if send:
            queued = _enqueue(session, written, saved, issue.edition, settings, parts, now)
            if saved.sent_at is None and (queued or not settings.reports.recipients):
                report_runs.mark_sent(session, saved.id, now)
                record_act(
                    session,
                    "report_sent",
                    {
                        "report": issue.report,
                        "period": issue.period,
                        "revision": saved.revision,
                        "edition": issue.edition.kind,
                        "digest": issue.digest,
                        "recipients": len(settings.reports.recipients),
                    },
                    actor="system",
                    channel="system",
                    now=now,
                )
    return ReportSummary(
        report=issue.report,
        period=issue.period,
        revision=saved.revision,
        edition=issue.edition.kind,
        new_revision=not issue.repeated,
        folder=folder,
        files=files,
        queued=tuple(queued),
        subject=written.rendered.subject,
        summary=tuple(written.rendered.text.split("\n\n")[1].splitlines()),
    )


def _step(edition: Edition) -> int:
    """Part of the outbox id: a preview and the report itself go out once; each correction or sequel once more."""
    return {"preview": 0, "first": 1, "final": 1}.get(edition.kind, 1 + edition.revision)


def _enqueue(
    session: Session,
    written: Written,
    saved: RunView,
    edition: Edition,
    settings: Settings,
    parts: dict[str, list[dict[str, str]]],
    now: datetime,
) -> list[str]:
    """One outbox row for each recipient; returns those that had none yet."""
    step = _step(edition)
    message = {
        "subject": written.rendered.subject,
        "text": written.rendered.mail_text,
        "html": written.rendered.mail,
        **parts,
        "headers": {"X-Quansheng-Report": f"{saved.report} {saved.period} r{saved.revision}"},
    }
    return [
        recipient
        for recipient in dict.fromkeys(settings.reports.recipients)
        if outbox.enqueue(
            session,
            id=outbox.message_id(
                None, 0, step, recipient, "email", "report", f"{saved.report}/{saved.period}"
            ),
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


def _write(folder: Path, report: str, written: Written) -> tuple[Path, ...]:
    """The report as files to open: the charts first, so that the page never points at a missing one."""
    rendered = written.rendered
    contents = {
        **{image.name: image.png for image in rendered.images},
        **{f"{report}.{suffix}": paper for suffix, paper in written.papers.items()},
        f"{report}.txt": rendered.text.encode(),
        f"{report}.html": rendered.page.encode(),
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
