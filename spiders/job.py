"""The collecting stage: which sources are due, crawl them, save what they say. The only file here that opens transactions."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from config.bundle import Bundle
from config.keys import Keys
from config.settings import ConfigError
from config.sources import Source
from incidents.crawl_progress import keep_cursor, known_ids
from incidents.posts import SaveResult, save_posts, set_aside
from incidents.session import Database
from incidents.sources import SourceView, list_states, record_crawl
from spiders.hostlock import host_locks
from spiders.reactor import crawler_thread, stop_crawls
from spiders.source_run import NEW, Batch, SourceRun

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceSummary:
    """How one source did. `state` is one of spiders.problems.STATES, "paused" when its host is left alone, "stopped" at a clean stop."""

    source_id: str
    state: str
    evidence: str
    new_posts: int = 0
    repeats: int = 0
    set_aside: int = 0
    requests: int = 0


@dataclass(frozen=True)
class CrawlSummary:
    """What one call of `run` did."""

    sources: tuple[SourceSummary, ...] = ()
    seconds: float = 0.0

    @property
    def new_posts(self) -> int:
        """Posts that were not there before."""
        return sum(source.new_posts for source in self.sources)

    @property
    def failed(self) -> tuple[SourceSummary, ...]:
        """Sources that did not answer as they should."""
        return tuple(s for s in self.sources if s.state not in ("ok", "empty", "unchanged"))

    def describe(self) -> str:
        """One line for the log."""
        return f"{len(self.sources)} sources read, {self.new_posts} new posts, {len(self.failed)} sources with a problem, {self.seconds:.1f} s"


def run(
    db: Database,
    bundle: Bundle,
    keys: Keys,
    now: datetime,
    *,
    only: Sequence[str] = (),
    clock: Callable[[], datetime] | None = None,
    env: Mapping[str, str] | None = None,
    progress: Callable[[SourceSummary], None] | None = None,
) -> CrawlSummary:
    """Crawl every enabled source that is due at `now`, or the sources named in `only` whether due or not.

    Blocks until all have ended (each host at most crawl.crawl_limit_s) and may be called from any thread. Posts are stored
    as each source ends. `clock` tells the time while the crawl runs (default: `now` all the time, so that a simulated run can be
    repeated); `env` fills `${NAME}` in headers (default: the process environment); `progress` is called after
    each source, from the crawler's thread.
    Raises ConfigError for an unknown or disabled source in `only`. A host that blocked us is left alone until its pause is over,
    even for a named source. Failures of sources are states, never exceptions.
    """
    began = time.monotonic()
    clock = clock or (lambda: now)
    named = _named(bundle, only) if only else None
    candidates = due_sources(bundle.sources, _states(db), now) if named is None else named
    if not candidates:
        return CrawlSummary()
    hosts = {host for source in candidates for host in source.hosts}
    with host_locks(bundle.settings.data_path / "locks", hosts) as busy:
        states = _states(db)  # again: another crawl may have just ended with these hosts
        chosen = due_sources(candidates, states, now) if named is None else named
        resting = _resting(chosen, host_pauses(bundle.sources, states, now), busy)
        active = [source for source in chosen if source.id not in resting]
        skipped = tuple(resting.values()) if named is not None else ()
        for one in skipped:
            if progress is not None:
                progress(one)
        done = _crawl(db, bundle, keys, active, states, clock, os.environ if env is None else env, progress)
    summary = CrawlSummary((*skipped, *done), time.monotonic() - began)
    if summary.sources:
        log.info("crawl: %s", summary.describe())
    return summary


def _states(db: Database) -> dict[str, SourceView]:
    with db.reading() as session:
        return {state.source_id: state for state in list_states(session)}


def _crawl(
    db: Database,
    bundle: Bundle,
    keys: Keys,
    sources: Sequence[Source],
    states: Mapping[str, SourceView],
    clock: Callable[[], datetime],
    env: Mapping[str, str],
    progress: Callable[[SourceSummary], None] | None,
) -> list[SourceSummary]:
    """Crawl `sources` now and wait for the end."""
    if not sources:
        return []
    writer = _DatabaseStore(db)
    settings = bundle.settings.crawl

    def finished(done: SourceRun) -> None:
        if progress is not None:
            progress(_summary(done))

    runs = []
    for source in sources:
        state = states.get(source.id) or SourceView(source.id)
        cursor = dict(state.cursor or {})
        runs.append(
            SourceRun(source, settings, writer, keys.pseudonym, clock, cursor, state.failures, env, finished)
        )
    try:
        crawler_thread().crawl(by_host(runs), settings, clock)
    finally:
        writer.close()
    return [_summary(done) for done in runs]


def _resting(
    sources: Iterable[Source], paused_until: Mapping[str, datetime], busy: frozenset[str]
) -> dict[str, SourceSummary]:
    """Source id -> why it is not read now, although it is its turn."""
    resting = {}
    for source in sources:
        pauses = [paused_until[host] for host in source.hosts if host in paused_until]
        if pauses:
            why = f"its host asked to be left alone until {max(pauses).isoformat(timespec='minutes')}"
            resting[source.id] = SourceSummary(source.id, "paused", why)
        elif source.hosts & busy:
            resting[source.id] = SourceSummary(
                source.id, "paused", "another crawl is reading its host at this moment"
            )
    return resting


def stop(timeout_s: float = 10.0) -> None:
    """End running crawls from another thread (a clean stop); what they have read is saved, the rest is read next time."""
    stop_crawls(timeout_s)


def due_sources(sources: Iterable[Source], states: Mapping[str, SourceView], now: datetime) -> list[Source]:
    """Enabled sources whose time has come; a source that was never read is due."""
    due = []
    for source in sources:
        state = states.get(source.id)
        if source.enabled and (state is None or state.next_due_at is None or state.next_due_at <= now):
            due.append(source)
    return due


def host_pauses(
    sources: Iterable[Source], states: Mapping[str, SourceView], now: datetime
) -> dict[str, datetime]:
    """Host -> until when it is left alone, because one of its sources was blocked."""
    pauses: dict[str, datetime] = {}
    for source in sources:
        state = states.get(source.id)
        if (
            state is not None
            and state.state == "blocked"
            and state.next_due_at is not None
            and state.next_due_at > now
        ):
            pauses[source.host] = max(state.next_due_at, pauses.get(source.host, state.next_due_at))
    return pauses


def by_host(runs: Sequence[SourceRun]) -> list[list[SourceRun]]:
    """Runs grouped so that no two groups touch the same host."""
    groups: list[tuple[set[str], list[SourceRun]]] = []
    for item in runs:
        hosts, members = set(item.source.hosts), [item]
        rest = []
        for other_hosts, others in groups:
            if hosts & other_hosts:
                hosts |= other_hosts
                members = [*others, *members]
            else:
                rest.append((other_hosts, others))
        groups = [*rest, (hosts, members)]
    return [members for _, members in groups]


def _named(bundle: Bundle, names: Sequence[str]) -> list[Source]:
    problems, chosen = [], []
    for name in dict.fromkeys(names):
        source = bundle.source(name)
        if source is None:
            known = ", ".join(s.id for s in bundle.sources) or "none"
            problems.append(f"sources.yaml: there is no source {name!r}; known: {known}")
        elif not source.enabled:
            problems.append(
                f"sources.yaml: source {name!r} is not enabled; set `enabled: true` once its legal ground and burden are settled"
            )
        else:
            chosen.append(source)
    if problems:
        raise ConfigError(problems)
    return chosen


def _summary(done: SourceRun) -> SourceSummary:
    tally = done.tally
    if done.stopped:
        return SourceSummary(done.source.id, "stopped", "the process is being stopped; it stays due")
    if done.ending is None or done.error:
        state, evidence = (
            "error",
            f"could not be saved: {done.error or 'the crawl was cut off'}; the next crawl reads the same posts again",
        )
    else:
        state, evidence = done.ending.state, done.ending.evidence.replace(NEW, str(tally.saved))
    return SourceSummary(
        done.source.id, state, evidence, tally.saved, tally.repeats, tally.set_aside, tally.requests
    )


class _DatabaseStore:
    """Writes in one thread of its own, so that the crawler's loop never waits for the disk and batches never meet."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="crawl-writer")

    async def known(self, source_id: str, external_ids: Sequence[str]) -> set[str]:
        """See spiders.source_run.Store."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._known, source_id, list(external_ids)
        )

    async def save(self, batch: Batch) -> SaveResult:
        """See spiders.source_run.Store."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._save, batch)

    def close(self) -> None:
        """Wait for the last write."""
        self._thread.shutdown(wait=True)

    def _known(self, source_id: str, external_ids: list[str]) -> set[str]:
        with self._db.reading() as session:
            return known_ids(session, source_id, external_ids)

    def _save(self, batch: Batch) -> SaveResult:
        with self._db.transaction() as session:
            result = save_posts(session, batch.posts)
            at = batch.ending.at if batch.ending is not None else None
            for bad in batch.asides:
                when = at or (batch.posts[-1].fetched_at if batch.posts else None)
                if when is not None:
                    set_aside(session, batch.source_id, None, bad.field, bad.reason, bad.payload, when)
            if batch.ending is None:
                keep_cursor(session, batch.source_id, batch.cursor)
                return result
            new = batch.saved_before + result.saved
            record_crawl(
                session,
                batch.source_id,
                state=batch.ending.state,
                evidence=batch.ending.evidence.replace(NEW, str(new)),
                now=batch.ending.at,
                next_due_at=batch.ending.next_due_at,
                new_posts=new,
                cursor=batch.cursor,
            )
            return result
