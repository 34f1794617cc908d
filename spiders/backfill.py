"""Reading a range of the past from one source, page by page, as gently as an ordinary reading.

Each page is a crawl of its own: same robots.txt, same rate, same lock of the host, and between two pages the ordinary readings
of the host get their turn. Posts and the place of the next page go into one transaction, so the process may be killed at any moment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from config.bundle import Bundle
from config.keys import Keys
from config.settings import ConfigError
from config.sources import Source
from incidents.backfills import BackfillView, get_backfill, open_backfill
from incidents.posts import SaveResult
from incidents.session import Database
from incidents.sources import get_state, list_states
from spiders import job
from spiders.connectors.kinds import KINDS, connector_for
from spiders.host_spider import delay_of
from spiders.hostlock import host_locks
from spiders.pageback import PageBack
from spiders.reactor import crawler_thread
from spiders.source_run import SourceRun
from spiders.stopping import load_stops, watched

#: readings in a row that fail before the back-fill stops and waits for somebody to start it again
MAX_FAILURES = 5
#: seconds before a failed page is asked for again, doubled each time; and while another process reads the host
RETRY_S, BUSY_S = 30.0, 10.0
#: times in a row that another process may hold the host
MAX_BUSY = 60


@dataclass(frozen=True)
class Stop:
    """Why a back-fill returned: `done`, `paused` (its host wants to be left alone) or `stopped` (it can go on)."""

    state: str
    sentence: str
    view: BackfillView


def refuse(bundle: Bundle, source_id: str, start: datetime, until: datetime, now: datetime) -> Source:
    """The source, if this range can be read from it. Raises ConfigError with the reason when it cannot."""
    source = job.named_sources(bundle, [source_id])[0]
    if start >= until:
        raise ConfigError(["the range is empty: --from must not be later than --to"])
    if start >= now:
        raise ConfigError(["the range lies in the future"])
    oldest = now - timedelta(days=bundle.settings.privacy.post_days)
    if start < oldest:
        raise ConfigError(
            [
                f"the range begins before {oldest.date()}: older posts are past privacy.post_days = {bundle.settings.privacy.post_days} and must not be collected again"
            ]
        )
    if source.kind not in KINDS:
        raise ConfigError(
            [
                f"{source_id} cannot be back-filled: what it holds is handed over, so hand over the older part in the same way"
            ]
        )
    probe = SourceRun(source, bundle.settings.crawl, _Nowhere(), b"", lambda: now)
    if why := connector_for(probe).no_way_back():
        raise ConfigError([f"{source_id} cannot be back-filled: {why}"])
    return source


class _Nowhere:
    """A store for a run that asks nothing."""

    async def known(self, source_id: str, external_ids: object) -> set[str]:
        raise NotImplementedError

    async def save(self, batch: object) -> SaveResult:
        raise NotImplementedError


def run(
    db: Database,
    bundle: Bundle,
    keys: Keys,
    source_id: str,
    start: datetime,
    until: datetime,
    clock: Callable[[], datetime],
    *,
    sleep: Callable[[float], None] = time.sleep,
    progress: Callable[[BackfillView], None] | None = None,
    env: Mapping[str, str] | None = None,
    max_pages: int | None = None,
) -> Stop:
    """Back-fill [start, until) of one source; goes on where an earlier call for the same range ended.

    `sleep` waits between pages (seconds), `progress` is told after each page, `max_pages` ends this call early.
    Raises ConfigError when the source or the range cannot be read at all; failures of the source are told in the result.
    """
    source = refuse(bundle, source_id, start, until, clock())
    with db.transaction() as session:
        view = open_backfill(session, source_id, start, until, clock())
    failures = busy = pages = 0
    while view.state != "done":
        now = clock()
        with db.reading() as session:
            states = {state.source_id: state for state in list_states(session)}
        board = load_stops(db)
        if (stop := board.of(source)) is not None:
            return Stop("stopped", f"{stop.sentence}; it goes on from here when it is started again", view)
        pauses = job.host_pauses(bundle.sources, states, now)
        if resting := [pauses[host] for host in source.hosts if host in pauses]:
            return Stop(
                "paused",
                f"{source.host} asked to be left alone until {max(resting).isoformat(timespec='minutes')}; start it again then",
                view,
            )
        _let_others_read(db, bundle, keys, source, now, clock, env)
        with host_locks(bundle.settings.data_path / "locks", source.hosts) as taken:
            page = None if taken else _read_page(db, bundle, keys, source, view, clock, env)
        if page is None:
            busy += 1
            if busy >= MAX_BUSY:
                return Stop("stopped", f"another crawl holds {source.host}; start it again later", view)
            sleep(BUSY_S)
            continue
        busy = 0
        before, view = view, _again(db, view.id)
        if progress is not None:
            progress(view)
        if page.halted is not None:
            continue  # a person stopped it while it was read: told above
        if page.stopped:
            return Stop("stopped", "stopped; start it again and it goes on", view)
        moved = view.pages > before.pages or view.saved > before.saved or page.tally.skipped
        failures = 0 if moved else failures + 1
        if failures >= MAX_FAILURES:
            why = page.error or view.evidence
            return Stop("stopped", f"{why}; it goes on from here when it is started again", view)
        pages += view.pages - before.pages
        if max_pages is not None and pages >= max_pages and view.state != "done":
            return Stop(
                "stopped", "as many pages read as were asked for; start it again and it goes on", view
            )
        if view.state != "done":
            wait = max(
                delay_of(page), page.crawl_delay, page.back.pause.total_seconds() if page.back else 0.0
            )
            sleep(max(wait, RETRY_S * 2 ** (failures - 1)) if failures else wait)
    return Stop("done", "the start of the range is reached, or the list ended before it", view)


def _again(db: Database, backfill_id: int) -> BackfillView:
    with db.reading() as session:
        return get_backfill(session, backfill_id)


def _let_others_read(
    db: Database,
    bundle: Bundle,
    keys: Keys,
    source: Source,
    now: datetime,
    clock: Callable[[], datetime],
    env: Mapping[str, str] | None,
) -> None:
    """Ordinary readings of the same host come first: news must not wait for the past."""
    with db.reading() as session:
        states = {state.source_id: state for state in list_states(session)}
    neighbours = [other for other in bundle.sources if other.hosts & source.hosts]
    due = [other.id for other in job.due_sources(neighbours, states, states, now)]
    if due:
        job.run(db, bundle, keys, now, only=due, clock=clock, env=env)


def _read_page(
    db: Database,
    bundle: Bundle,
    keys: Keys,
    source: Source,
    view: BackfillView,
    clock: Callable[[], datetime],
    env: Mapping[str, str] | None,
) -> SourceRun:
    """One page and its articles."""
    with db.reading() as session:
        own = get_state(session, source.id).cursor or {}
    kept = view.progress
    back = PageBack(
        view.id,
        view.start,
        view.until,
        kept.get("place"),
        dict(own.get("marks", {})),
        int(kept.get("old_pages", 0)),
        str(kept.get("before", "")),
    )
    cursor = {"skip": {**own.get("skip", {}), **kept.get("skip", {})}, "tries": kept.get("tries", {})}
    store = job.store_for(db, bundle, keys)
    page = SourceRun(
        source,
        bundle.settings.crawl,
        store,
        keys.pseudonym,
        clock,
        cursor,
        env=os.environ if env is None else env,
        back=back,
    )
    try:
        with watched(db, load_stops(db)) as board:
            crawler_thread().crawl([[page]], bundle.settings.crawl, clock, board)
    finally:
        store.close()
    return page
