"""`quansheng report accountability`: the department table of a period, kept for the console and told on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from incidents import report_runs
from incidents.installation import Installation, Problem
from reports import accountability_job
from reports.accountability_model import AccountabilityModel, Rate
from reports.period import PeriodError, name_of


def compute(home: Installation, period: str, now: datetime) -> AccountabilityModel:
    """The table of `period` (the running month when empty), stored as a revision when it says something new."""
    zone = ZoneInfo(home.settings.city.timezone)
    name = period or name_of("monthly", now.astimezone(zone).date())
    try:
        accountability_job.run(home.db, home.bundle, name, now)
    except PeriodError as exc:
        raise Problem(str(exc)) from exc
    with home.db.reading() as session:
        known = report_runs.runs(session, accountability_job.REPORT, name)
    if not known:
        raise Problem(f"there was no incident in {name}: no table is kept; ask for another period")
    return accountability_job.read(known[-1])


def told(table: AccountabilityModel) -> Iterator[str]:
    """The table in lines."""
    running = f", still running, as of {table.as_of:%Y-%m-%d %H:%M}" if table.running else ""
    yield f"{table.period}: {table.cases} cases{running}; departments kept {_share(table.rate)}"
    for line in table.departments:
        expected = f", expected {line.expected:.1%}" if line.expected is not None else ""
        group = f", group {line.group}" if line.group is not None else ""
        yield f"{line.name}: led {line.led}, helped {line.co}, kept {_share(line.rate)}{expected}{group}"
    charged = ", ".join(f"{one.link} {one.missed}" for one in table.charges if one.missed)
    yield f"missed clocks by link: {charged or 'none'}"
    if table.near_ceiling:
        yield f"every department keeps {table.ceiling:.0%} or more: what differs is mostly chance"


def _share(rate: Rate) -> str:
    n = rate.kept + rate.missed
    if rate.share is None:
        return f"{rate.kept} of {n} (not enough data)"
    return f"{rate.kept} of {n} = {rate.share:.1%} [{rate.low:.1%}, {rate.high:.1%}]"
