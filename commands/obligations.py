"""`quansheng obligations`: the register of the notice's duties on a terminal: list, enter what set one off, enter evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast, get_args

from alerts import obligations as duties
from alerts.calendar import load_calendar
from alerts.desk import Desk
from incidents import obligations
from incidents.installation import Installation, Problem
from incidents.obligations import ObligationView, Wanted
from incidents.session import Session


@dataclass(frozen=True)
class Register:
    """Rows of the register with what a terminal shows of them."""

    home: Installation
    rows: tuple[ObligationView, ...]
    now: datetime

    def table(self) -> list[list[str]]:
        """One row a duty: number, rule, unit, period, end, state."""
        zone = self.home.zone
        return [
            [
                str(row.id),
                row.rule_id,
                self.home.bundle.departments.zh(row.unit),
                row.trigger or row.period,
                f"{row.due_at.astimezone(zone):%Y-%m-%d %H:%M}" + (" 暂定" if row.provisional else ""),
                "overdue" if row.overdue(self.now) else row.state,
            ]
            for row in self.rows
        ]

    def as_dict(self) -> list[dict[str, Any]]:
        """For scripts."""
        return [as_dict(row, self.now) for row in self.rows]


def as_dict(row: ObligationView, now: datetime) -> dict[str, Any]:
    """One row for scripts."""
    return {
        "id": row.id,
        "rule": row.rule_id,
        "unit": row.unit,
        "period": row.period,
        "trigger": row.trigger,
        "started_at": row.started_at.isoformat(),
        "due_at": row.due_at.isoformat(),
        "provisional": row.provisional,
        "calendar": row.calendar_version,
        "state": row.state,
        "overdue": row.overdue(now),
        "met_at": row.met_at.isoformat() if row.met_at else None,
        "evidence": row.evidence,
        "trace": list(row.trace),
    }


def listed(home: Installation, state: str, unit: str, rule: str, now: datetime) -> Register:
    """The register, overdue ones first. Raises Problem for a state or unit that does not exist."""
    if state not in get_args(Wanted):
        raise Problem(f"--state {state}: expected one of {', '.join(get_args(Wanted))}")
    with home.db.reading() as session:
        rows = obligations.listed(
            session, now, state=cast("Wanted", state), unit=_unit(home, unit) if unit else "", rule_id=rule
        )
    return Register(home, tuple(rows), now)


def _unit(home: Installation, name: str) -> str:
    known = home.bundle.departments
    found = known.get(name) or known.named(name)
    if found is None:
        raise Problem(f"--unit {name}: no such unit in departments.yaml; use its id or name")
    return found.id


def add(
    home: Installation, rule: str, unit: str, trigger: str, at: datetime, *, actor: str, now: datetime
) -> ObligationView:
    """Enter what set a duty off. Raises Refused."""
    with home.db.transaction() as session:
        return duties.add(
            _desk(home, session, now), rule, _unit(home, unit), trigger, at, actor=actor, channel="cli"
        )


def met(
    home: Installation, number: int, evidence: str, at: datetime, *, actor: str, now: datetime
) -> ObligationView:
    """Enter the evidence that a duty was met. Raises Refused."""
    with home.db.transaction() as session:
        return obligations.meet(
            session, number, evidence=evidence, met_at=at, actor=actor, channel="cli", now=now
        )


def _desk(home: Installation, session: Session, now: datetime) -> Desk:
    settings = home.bundle.settings
    return Desk(
        session, home.bundle, home.keys, load_calendar(settings.config_dir, settings.city.timezone), now
    )
