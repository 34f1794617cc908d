"""The collecting stage: which sources are due, crawl them, save what they say. Its writer and the running house's collector aside, the only file here that opens transactions."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from config.bundle import Bundle
from config.keys import Keys
from config.settings import ConfigError
from config.sources import OwnSource, Source
from incidents import evidence, revisits
from incidents.session import Database
from incidents.sources import HEALTHY, SourceView, due_states, fetched_sources, with_cursors
from incidents.stops import Stops
from spiders.connectors.kinds import tells_counts
from spiders.evidence_job import vault
from spiders.hostlock import host_locks
from spiders.originals import Originals
from spiders.reactor import crawler_thread, stop_crawls
from spiders.source_run import NEW, SourceRun
from spiders.stopping import StopBoard, load_stops, state_of, watched
from spiders.writer import DatabaseStore

log = logging.getLogger(__name__)

#: hosts whose sources are in memory at once in one call of `run`
SLICE = 1000


@dataclass(frozen=True)
class SourceSummary:
    """How one source did. `state` is one of incidents.source_health.STATES, "paused" when its host is left alone, "halted" or
    "objected" when a person stopped it (incidents.stops), "stopped" at a clean stop of the process."""

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
        return tuple(s for s in self.sources if s.state not in (*HEALTHY, "halted", "objected"))

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
    named = named_sources(bundle, only) if only else None
    candidates = due_sources(bundle.sources, *_timings(db, now), now) if named is None else named
    if not candidates:
        return CrawlSummary()
    hosts = {host for source in candidates for host in source.hosts}
    with host_locks(bundle.settings.data_path / "locks", hosts) as busy:
        timings, fetched = _timings(db, now)  # again: another crawl may have just ended with these hosts
        chosen = due_sources(candidates, timings, fetched, now) if named is None else named
        stops = load_stops(db)
        resting = {
            **resting_sources(chosen, host_pauses(bundle.sources, timings, now), busy),
            **stopped_sources(chosen, stops),
        }
        active = [source for source in chosen if source.id not in resting]
        skipped = tuple(resting.values()) if named is not None else ()
        for one in skipped:
            if progress is not None:
                progress(one)
        with watched(db, stops) as board:
            done = _crawl(
                db, bundle, keys, active, clock, os.environ if env is None else env, progress, board
            )
    summary = CrawlSummary((*skipped, *done), time.monotonic() - began)
    if summary.sources:
        log.info("crawl: %s", summary.describe())
    return summary


def _timings(db: Database, now: datetime) -> tuple[dict[str, SourceView], set[str]]:
    with db.reading() as session:
        return due_states(session, now), fetched_sources(session)


def _crawl(
    db: Database,
    bundle: Bundle,
    keys: Keys,
    sources: Sequence[Source],
    clock: Callable[[], datetime],
    env: Mapping[str, str],
    progress: Callable[[SourceSummary], None] | None,
    board: StopBoard,
) -> list[SourceSummary]:
    """Crawl `sources` now and wait for the end."""
    if not sources:
        return []
    writer = store_for(db, bundle, keys)

    def finished(done: SourceRun) -> None:
        if progress is not None:
            progress(summary_of(done))

    done: list[SourceSummary] = []
    groups = by_host(sources)
    try:
        for at in range(0, len(groups), SLICE):  # the cursors of ten thousand sources would fill the memory
            runs = runs_of(db, bundle, keys, groups[at : at + SLICE], writer, clock, env, finished)
            crawler_thread().crawl(runs, bundle.settings.crawl, clock, board)
            done += [summary_of(run) for group in runs for run in group]
    finally:
        writer.close()
    return done


def _wanted(
    db: Database, bundle: Bundle, sources: Sequence[Source], now: datetime
) -> dict[str, list[evidence.Wanted]]:
    """Source id -> pages to fetch again for the evidence."""
    limit = bundle.settings.evidence.refetch_max
    if not limit:
        return {}
    with db.reading() as session:
        return {source.id: evidence.wanted(session, source.id, now, limit) for source in sources}


def _visits(
    db: Database, bundle: Bundle, sources: Sequence[Source], now: datetime
) -> dict[str, list[revisits.KnownPost]]:
    """Known posts that these readings look at again; they ride along, so that no host is asked more often for them."""
    limit = bundle.settings.crawl.revisits
    if not limit:
        return {}
    with db.reading() as session:
        planned = revisits.planned(session, now)
    if not planned:
        # for the whole house: until the next plan nobody asks for the posts of the sources that are not read just now
        counting = [source.id for source in bundle.sources if source.enabled and tells_counts(source)]
        with db.transaction() as session:
            revisits.plan(session, now, counting)
    with db.reading() as session:
        return revisits.due(session, [source.id for source in sources], now, limit)


def store_for(db: Database, bundle: Bundle, keys: Keys) -> DatabaseStore:
    """Where crawls write, posts and originals; to be closed after them."""
    return DatabaseStore(db, Originals(vault(bundle, keys), spool=bundle.settings.evidence.spool_h > 0))


def runs_of(
    db: Database,
    bundle: Bundle,
    keys: Keys,
    groups: Sequence[Sequence[Source]],
    writer: DatabaseStore,
    clock: Callable[[], datetime],
    env: Mapping[str, str],
    finished: Callable[[SourceRun], None],
) -> list[list[SourceRun]]:
    """A run for each source of each group, going on where its last one ended."""
    sources = [source for group in groups for source in group]
    wanted = _wanted(db, bundle, sources, clock())
    visits = _visits(db, bundle, sources, clock())
    with db.reading() as session:
        states = with_cursors(session, [source.id for source in sources])

    def run_of(source: Source) -> SourceRun:
        state = states.get(source.id) or SourceView(source.id)
        # a page that is fetched for the evidence is not fetched twice in one reading: it stays due
        fetched = {page.post_id for page in wanted.get(source.id, ())}
        return SourceRun(
            source,
            bundle.settings.crawl,
            writer,
            keys.pseudonym,
            clock,
            dict(state.cursor or {}),
            state.failures,
            env,
            finished,
            wanted.get(source.id, ()),
            visits=tuple(one for one in visits.get(source.id, ()) if one.id not in fetched),
            due_at=state.next_due_at,
        )

    return [[run_of(source) for source in group] for group in groups]


def resting_sources(
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


def stopped_sources(sources: Iterable[Source], stops: Stops) -> dict[str, SourceSummary]:
    """Source id -> by whose word it is not read."""
    found = {}
    for source in sources:
        stop = stops.of(source)
        if stop is not None:
            found[source.id] = SourceSummary(source.id, state_of(stop), stop.sentence)
    return found


def stop(timeout_s: float = 10.0) -> None:
    """End running crawls from another thread (a clean stop); what they have read is saved, the rest is read next time."""
    stop_crawls(timeout_s)


def due_sources(
    sources: Iterable[Source], timings: Mapping[str, SourceView], fetched: Collection[str], now: datetime
) -> list[Source]:
    """Enabled sources whose time has come, the one that waits longest first; every fourth is one that was never read.

    So neither starves the other while more is due than can be read: a new source says nothing until its first reading.
    What is handed over needs no crawl (spiders.intake). `timings` are those of `incidents.sources.due_states`, `fetched` the ids of all sources that were ever read.
    """
    due: list[tuple[datetime, Source]] = []
    new: list[Source] = []
    for source in sources:
        if isinstance(source, OwnSource):
            continue
        state = timings.get(source.id)
        when = state.next_due_at if state is not None else None
        if (
            source.enabled
            and (when is None or when <= now)
            and (state is not None or source.id not in fetched)
        ):
            if when is None:
                new.append(source)
            else:
                due.append((when, source))
    known = [source for _, source in sorted(due, key=lambda pair: pair[0])]
    found: list[Source] = []
    while known and new:
        found += [*known[:3], new[0]]
        known, new = known[3:], new[1:]
    return found + known + new


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


def by_host(sources: Sequence[Source]) -> list[list[Source]]:
    """Sources grouped so that no two groups touch the same host, in the order in which each group's first came."""
    parent: dict[str, str] = {}

    def root(host: str) -> str:
        while parent.setdefault(host, host) != host:
            parent[host] = host = parent[parent[host]]
        return host

    for source in sources:
        for host in source.hosts:
            parent[root(host)] = root(source.host)
    groups: dict[str, list[Source]] = {}
    for source in sources:
        groups.setdefault(root(source.host), []).append(source)
    return list(groups.values())


def named_sources(bundle: Bundle, names: Sequence[str]) -> list[Source]:
    """The enabled sources of these ids. Raises ConfigError for one that is unknown or not enabled."""
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


def summary_of(done: SourceRun) -> SourceSummary:
    """How a run did."""
    tally = done.tally
    if done.halted is not None and done.unread:
        return SourceSummary(done.source.id, done.halted.state, done.halted.sentence)
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
