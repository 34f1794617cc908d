"""Keep the accountability table of every running and every last period as a row, so that the console shows the same numbers.

The row of a running period is written anew when its figures change. Once a period is over its first whole table stands; another
one is a correction 更正, with an event that says which figures changed: never a silent change.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from config.bundle import Bundle
from incidents import beats, report_runs
from incidents.lifecycle import record_act
from incidents.report_runs import RunView
from incidents.session import Database
from reports.accountability import build_accountability
from reports.accountability_model import AccountabilityModel
from reports.period import TABLES, Length, name_before, name_of

REPORT = "accountability"
#: tables of weeks and months are looked at again every hour, those of quarters and years once a day
BEATS: dict[str, tuple[timedelta, tuple[Length, ...]]] = {
    "reports.accountability": (timedelta(hours=1), ("weekly", "monthly")),
    "reports.accountability.long": (timedelta(hours=24), ("quarterly", "yearly")),
}
_FIGURES = (
    "led",
    "co",
    "shared",
    "others",
    "returned",
    "reassigned",
    "yellow",
    "red",
    "reopened",
    "measures",
)


@dataclass(frozen=True)
class TableSummary:
    """What a run did: periods that got a new revision, and those of them that were corrected."""

    written: tuple[str, ...] = ()
    corrected: tuple[str, ...] = ()


def periods(now: datetime, zone: ZoneInfo, kinds: Collection[Length] = TABLES) -> list[str]:
    """The last and the running period of each kind."""
    day = now.astimezone(zone).date()
    return [name for kind in kinds for name in (name_before(kind, day), name_of(kind, day))]


def run_due(db: Database, bundle: Bundle, now: datetime) -> TableSummary | None:
    """What the scheduler calls; None when the tables were looked at a moment ago."""
    with db.reading() as session:
        due = [name for name, (often, _) in BEATS.items() if not beats.is_fresh(session, name, now, often)]
    if not due:
        return None
    kinds = [kind for name in due for kind in BEATS[name][1]]
    names = periods(now, ZoneInfo(bundle.settings.city.timezone), kinds)
    done = [one for name in names if (one := run(db, bundle, name, now)) is not None]
    with db.transaction() as session:
        for name in due:
            beats.beat(session, name, now, {})
    return TableSummary(tuple(one.period for one in done), tuple(one.period for one in done if corrects(one)))


def run(db: Database, bundle: Bundle, period: str, now: datetime) -> RunView | None:
    """Build one table and keep it; None when nothing has changed. Raises PeriodError."""
    with db.reading() as session:
        model = build_accountability(session, bundle, period, now)
        known = report_runs.runs(session, REPORT, period)
    digest = model.digest()
    if (known and known[-1].digest == digest) or (not known and model.empty):
        return None
    before = known[-1] if known and not _running(known[-1]) else None
    stored = model.stored() | {"corrects": before.revision if before else 0}
    with db.transaction() as session:
        if known and before is None and model.running:
            return report_runs.refresh_run(session, known[-1].id, digest=digest, model=stored, now=now)
        saved = report_runs.save_run(
            session, report=REPORT, period=period, digest=digest, model=stored, now=now
        )
        if before is not None and saved.revision > before.revision:
            record_act(
                session,
                "accountability_corrected",
                {
                    "period": period,
                    "revision": saved.revision,
                    "replaces": before.revision,
                    "digest": digest,
                    "changes": changes(before.model, stored),
                },
                actor="system",
                channel="system",
                now=now,
            )
    return saved


def read(run_: RunView) -> AccountabilityModel:
    """The table that a revision holds."""
    return AccountabilityModel.model_validate({k: v for k, v in run_.model.items() if k != "corrects"})


def corrects(run_: RunView) -> bool:
    """Whether a revision replaced a whole one."""
    return bool(run_.model.get("corrects"))


def _running(run_: RunView) -> bool:
    return datetime.fromisoformat(run_.model["as_of"]) < datetime.fromisoformat(run_.model["until"])


def changes(old: dict[str, Any], new: dict[str, Any]) -> list[dict[str, Any]]:
    """Figures of departments that differ: {unit, figure, was, now}."""
    was, now = ({line["id"]: _figures(line) for line in model["departments"]} for model in (old, new))
    return [
        {"unit": unit, "figure": figure, "was": before, "now": after}
        for unit in sorted(was.keys() | now.keys())
        for figure in ("kept", "missed", "missed_after", *_FIGURES)
        if (before := was.get(unit, {}).get(figure, 0)) != (after := now.get(unit, {}).get(figure, 0))
    ]


def _figures(line: dict[str, Any]) -> dict[str, int]:
    own = {"kept": line["rate"]["kept"], "missed": line["rate"]["missed"]}
    return {**own, "missed_after": line["after"]["missed"], **{name: line[name] for name in _FIGURES}}
