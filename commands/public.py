"""`quansheng public`: the public edition of a month: made and kept for approval, then written once a named person approved it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from incidents import public_edition, report_runs
from incidents.installation import Installation, Problem
from incidents.lifecycle import record_act
from reports.period import PeriodError
from reports.public import REPORT, build_public, files
from reports.public_model import PublicModel


@dataclass(frozen=True)
class Published:
    """What a run did. `written` is empty while nobody has approved this edition."""

    model: PublicModel
    digest: str
    approved_by: str
    written: tuple[Path, ...]


def publish(home: Installation, period: str, out: Path | None, by: str, now: datetime) -> Published:
    """Make the edition and keep it; with `out`, write it there if exactly this edition was approved.

    Raises Problem for a period that is no whole month, and with `out` when nobody has approved it.
    """
    try:
        with home.db.reading() as session:
            model = build_public(session, home.bundle, period, now)
    except PeriodError as exc:
        raise Problem(str(exc)) from exc
    digest = model.digest()
    with home.db.transaction() as session:
        report_runs.save_run(
            session, report=REPORT, period=period, digest=digest, model=model.stored(), now=now
        )
        said = public_edition.decision(session, period, digest)
    if out is None:
        return Published(model, digest, said.name if said and said.approved else "", ())
    if said is None or not said.approved:
        raise Problem(
            f"nobody has approved this public edition of {period} (SHA-256 {digest[:16]}…): a leader does on the page "
            "问责 of the console; nothing was written"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        written = []
        for name, content in files(model).items():
            (out / name).write_bytes(content)
            written.append(out / name)
    except OSError as exc:
        raise Problem(f"{out}: cannot be written: {exc.strerror}") from exc
    with home.db.transaction() as session:
        record_act(
            session,
            "public_written",
            {"period": period, "digest": digest, "files": len(written), "approved_by": said.name},
            actor=by,
            channel="cli",
            now=now,
        )
    return Published(model, digest, said.name, tuple(written))
