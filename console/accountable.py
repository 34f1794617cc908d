"""The stored department tables as pages show them: the newest revision, what a correction changed, and one unit's own part."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from alerts.calendar import load_calendar
from alerts.clocks import DueAt
from alerts.letters import working_days_after
from console.context import Visit
from incidents import queries, report_runs
from incidents.report_runs import RunView
from incidents.session import Session

REPORT = "accountability"
#: who sees the whole table
READERS = frozenset({"supervisor", "leader", "auditor", "administrator"})


@dataclass(frozen=True)
class Table:
    """One stored table: `model` is its JSON with times as datetimes."""

    run: RunView
    model: dict[str, Any]
    changes: list[dict[str, Any]]
    replaces: int

    @property
    def running(self) -> bool:
        """Whether the period was not over."""
        return bool(self.model["as_of"] < self.model["until"])


def names(here: Visit) -> list[tuple[str, str]]:
    """Periods to choose from, (kind, name): the last and the running week, month, quarter and year."""
    day = here.now.astimezone(here.console.zone).date()
    month = day.replace(day=1)
    last_month = month - timedelta(days=1)
    quarter = (day.month + 2) // 3
    last_quarter = (day.year, quarter - 1) if quarter > 1 else (day.year - 1, 4)
    last_week = day - timedelta(days=7)

    def week(of: Any) -> str:
        year, number, _ = of.isocalendar()
        return f"{year}-W{number:02d}"

    return [
        ("week", week(last_week)),
        ("week", week(day)),
        ("month", f"{last_month:%Y-%m}"),
        ("month", f"{day:%Y-%m}"),
        ("quarter", f"{last_quarter[0]}-Q{last_quarter[1]}"),
        ("quarter", f"{day.year}-Q{quarter}"),
        ("year", str(day.year - 1)),
        ("year", str(day.year)),
    ]


def table(session: Session, period: str) -> Table | None:
    """The newest table of a period; None when nobody has made one."""
    runs = report_runs.runs(session, REPORT, period)
    if not runs:
        return None
    newest = runs[-1]
    model = _timed(newest.model)
    said: dict[str, Any] = {}
    if newest.model.get("corrects"):
        for event in queries.latest_events(session, 200, ["accountability_corrected"]):
            if (event.payload["period"], event.payload["revision"]) == (period, newest.revision):
                said = event.payload
    return Table(newest, model, list(said.get("changes", [])), int(newest.model.get("corrects") or 0))


def _timed(model: dict[str, Any]) -> dict[str, Any]:
    found = dict(model)
    for name in ("since", "until", "as_of", "generated_at"):
        found[name] = datetime.fromisoformat(model[name])
    found["misses"] = [
        one
        | {
            "due_at": datetime.fromisoformat(one["due_at"]),
            "started_at": datetime.fromisoformat(one["started_at"]),
            "closed_at": datetime.fromisoformat(one["closed_at"]) if one["closed_at"] else None,
        }
        for one in model["misses"]
    ]
    return found


def own_part(model: dict[str, Any], unit: str) -> dict[str, Any]:
    """What a clerk sees: the unit's own line and misses, the whole city for comparison, nothing of another unit."""

    def mine(miss: dict[str, Any]) -> bool:
        return unit in (miss["department"], miss["holder"], *(one["department"] for one in miss["used"]))

    def alone(miss: dict[str, Any]) -> dict[str, Any]:
        # another department's hours stay, its name does not
        def hide(name: str) -> str:
            return name if name in ("", unit) else "other"

        used = [one | {"department": hide(one["department"])} for one in miss["used"]]
        return miss | {
            "used": used,
            "department": hide(miss["department"]),
            "holder": hide(miss["holder"]),
        }

    return model | {
        "departments": [line for line in model["departments"] if line["id"] == unit],
        "misses": [alone(miss) for miss in model["misses"] if mine(miss)],
        "charges": [{**one, "numbers": []} for one in model["charges"]],
        "links": [{**one, "took": {**one["took"], "worst_number": ""}} for one in model["links"]],
    }


def working_days(here: Visit, days: int, start: datetime, name: str) -> DueAt:
    """The end of `days` working days after `start`, by the city's calendar, with its trace."""
    settings = here.console.bundle.settings
    calendar = load_calendar(settings.config_dir, settings.city.timezone)
    return working_days_after(days, start, calendar, name)
