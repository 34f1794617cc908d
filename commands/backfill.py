"""`quansheng backfill`: read a range of the past from one source, with progress and an estimate of what is left."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, time, timedelta, tzinfo
from typing import Any

from commands.lengths import span
from config.settings import ConfigError
from incidents.backfills import BackfillView, list_backfills
from incidents.installation import Installation

COLUMNS = ["source", "from", "to", "state", "pages", "new posts", "back to", "done", "time left", "evidence"]


def day_range(first: str, last: str, zone: tzinfo) -> tuple[datetime, datetime]:
    """The moments [start of `first`, end of `last`) in the city's zone. Raises ConfigError for what is no date."""
    days = []
    for name, raw in (("--from", first), ("--to", last)):
        try:
            days.append(datetime.strptime(raw, "%Y-%m-%d").date())  # noqa: DTZ007 (a day, the zone follows)
        except ValueError:
            raise ConfigError([f"{name} {raw!r} is no date; write it as 2026-11-01"]) from None
    start, end = (datetime.combine(day, time(), zone) for day in days)
    return start, end + timedelta(days=1)


def line(view: BackfillView, zone: tzinfo) -> str:
    """Progress in one line."""
    back = f", back to {view.oldest_at.astimezone(zone):%Y-%m-%d %H:%M}" if view.oldest_at else ""
    share = f", {view.share:.0%}" if view.share is not None else ""
    left = (
        f", about {span(view.remaining)} left" if view.remaining is not None and view.state != "done" else ""
    )
    return f"{view.source_id}: {view.pages} pages, {view.found} entries, {view.saved} new posts{back}{share}{left}"


def run(
    home: Installation,
    source: str,
    first: str,
    last: str,
    clock: Callable[[], datetime],
    say: Callable[[str], None],
    max_pages: int | None = None,
) -> bool:
    """Read it to the end or until it has to stop; whether it is done. Raises ConfigError when it cannot be read at all."""
    import spiders.backfill  # loads the crawler

    start, until = day_range(first, last, home.zone)
    stop = spiders.backfill.run(
        home.db,
        home.bundle,
        home.keys,
        source,
        start,
        until,
        clock,
        progress=lambda view: say(line(view, home.zone)),
        max_pages=max_pages,
    )
    say(f"{stop.state}: {stop.sentence}")
    return stop.state == "done"


def table(home: Installation) -> list[list[str]]:
    """Every back-fill for a terminal, the newest first."""
    with home.db.reading() as session:
        views = list_backfills(session)
    return [
        [
            view.source_id,
            f"{view.start.astimezone(home.zone):%Y-%m-%d}",
            f"{view.until.astimezone(home.zone) - timedelta(days=1):%Y-%m-%d}",
            view.state,
            str(view.pages),
            str(view.saved),
            f"{view.oldest_at.astimezone(home.zone):%Y-%m-%d %H:%M}" if view.oldest_at else "",
            f"{view.share:.0%}" if view.share is not None else "",
            span(view.remaining) if view.remaining is not None and view.state != "done" else "",
            view.evidence,
        ]
        for view in views
    ]


def rows(home: Installation) -> list[dict[str, Any]]:
    """The same for scripts."""
    with home.db.reading() as session:
        views = list_backfills(session)
    return [
        {name: getattr(view, name) for name in view.__dataclass_fields__ if name != "progress"}
        for view in views
    ]
