"""Collecting without rounds, for the running house: whatever is due begins as soon as there is room, whoever else is still being read.

`spiders.job.run` waits until all its crawls have ended; with thousands of sources one slow host would hold up all others until then.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import heap
from config.bundle import Bundle
from config.keys import Keys
from incidents.session import Database
from incidents.sources import due_states, fetched_sources
from spiders.hostlock import HostLocks
from spiders.job import (
    CrawlSummary,
    SourceSummary,
    by_host,
    due_sources,
    host_pauses,
    resting_sources,
    runs_of,
    stopped_sources,
    store_for,
    summary_of,
)
from spiders.reactor import MAX_CRAWLS, crawler_thread, longest_s, stop_crawls
from spiders.source_run import SourceRun
from spiders.stopping import StopBoard, load_stops, watched
from spiders.writer import DatabaseStore

log = logging.getLogger(__name__)

#: seconds between two lines in the log
TELL_S = 60.0


@dataclass
class _Flight:
    """One group of sources under way."""

    runs: list[SourceRun]
    hosts: frozenset[str]
    begun: float = field(default_factory=time.monotonic)
    end: Future[None] | None = None


class Collector:
    """Crawls of one installation. `step` is called every few seconds by one thread; crawls end in the crawler's."""

    def __init__(
        self,
        db: Database,
        bundle: Bundle,
        keys: Keys,
        env: Mapping[str, str] | None = None,
        *,
        at_once: int = MAX_CRAWLS,
    ) -> None:
        self._db, self._bundle, self._keys = db, bundle, keys
        self._env = os.environ if env is None else env
        self._at_once = at_once
        self._writer: DatabaseStore | None = None
        self._locks: HostLocks | None = None
        self._fetched: set[str] = set()
        #: source -> when it may be read again after its posts could not be saved
        self._not_before: dict[str, datetime] = {}
        self._flights: list[_Flight] = []
        self._done: list[SourceSummary] = []
        self._told: list[SourceSummary] = []
        self._told_at = time.monotonic()
        self._guard = threading.Lock()
        self._stopping = False
        self._board: StopBoard | None = None
        self._watching = ExitStack()

    def step(self, now: datetime, clock: Callable[[], datetime]) -> CrawlSummary:
        """Begin what is due and has room; returns what ended since the last call. Never waits for a crawl.

        Sources that wait longest come first. A host is read by one crawl at a time; what else is due on it waits for that to end.
        Raises TimeoutError when a crawl is under way far beyond its limit: the crawler's loop is stuck.
        """
        self._check_stuck()
        with self._guard:
            under_way = {run.source.id for flight in self._flights for run in flight.runs}
            busy = frozenset(host for flight in self._flights for host in flight.hosts)
            room = self._at_once - len(self._flights)
        if room > 0 and not self._stopping:
            self._begin(now, clock, under_way, busy, room)
        with self._guard:
            done, self._done = tuple(self._done), []
        self._told += done
        if self._told and time.monotonic() - self._told_at >= TELL_S:
            log.info(
                "crawl: %s", CrawlSummary(tuple(self._told), time.monotonic() - self._told_at).describe()
            )
            self._told, self._told_at = [], time.monotonic()
            heap.give_back()
        return CrawlSummary(done)

    def stop(self, timeout_s: float = 30.0) -> None:
        """Begin nothing more, end what is under way and wait until it is saved."""
        self._stopping = True
        with self._guard:
            flights = list(self._flights)
        if flights:
            stop_crawls()
            wait([flight.end for flight in flights if flight.end is not None], timeout_s)
        self._watching.close()
        if self._writer is not None:
            self._writer.close()
        with self._guard:
            locks, self._locks = self._locks, None
        if locks is not None:
            locks.close()

    def _begin(
        self,
        now: datetime,
        clock: Callable[[], datetime],
        under_way: set[str],
        busy: frozenset[str],
        room: int,
    ) -> None:
        with self._db.reading() as session:
            timings = due_states(session, now)
            if not self._fetched:
                self._fetched = fetched_sources(session)
        self._fetched |= timings.keys()
        due = due_sources(self._bundle.sources, timings, self._fetched, now)
        with self._guard:
            waits = {name for name, until in self._not_before.items() if until > now}
        due = [source for source in due if source.id not in under_way and source.id not in waits]
        if not due:
            return
        stops = load_stops(self._db)
        resting = {
            **resting_sources(due, host_pauses(self._bundle.sources, timings, now), busy),
            **stopped_sources(due, stops),
        }
        due = [source for source in due if source.id not in resting]
        hosts: set[str] = set()
        chosen = []
        for source in due:  # a group is a host; sources of a chosen host go along, however many
            if hosts.isdisjoint(source.hosts):
                if room <= 0:
                    continue
                room -= 1
            hosts |= source.hosts
            chosen.append(source)
        locks = self._locks = self._locks or HostLocks(self._bundle.settings.data_path / "locks")
        writer = self._writer = self._writer or store_for(self._db, self._bundle, self._keys)
        if self._board is None:  # halts and objections reach what is under way
            self._board = self._watching.enter_context(watched(self._db, stops))
        settings = self._bundle.settings.crawl
        runs = runs_of(
            self._db, self._bundle, self._keys, by_host(chosen), writer, clock, self._env, self._note
        )
        for group in runs:
            flight = _Flight(group, frozenset().union(*(run.source.hosts for run in group)))
            if not locks.take_all(flight.hosts):
                continue  # another process reads there: next time
            with self._guard:
                self._flights.append(flight)
            flight.end = crawler_thread().begin([group], settings, clock, self._board)
            flight.end.add_done_callback(partial(self._landed, flight))

    def _note(self, done: SourceRun) -> None:
        with self._guard:
            self._done.append(summary_of(done))

    def _landed(self, flight: _Flight, end: Future[None]) -> None:
        """In the crawler's thread."""
        if not end.cancelled() and (exc := end.exception()) is not None:
            log.error("crawl of %s failed", flight.runs[0].source.host, exc_info=exc)
        with self._guard:
            if self._locks is not None:
                self._locks.free(flight.hosts)
            self._flights.remove(flight)
            for run in flight.runs:
                name = run.source.id
                if run.stopped or run.unread:
                    pass  # stays as it was: due
                elif run.error or run.ending is None:
                    # nothing says in the database that it was read: without a pause its site would be asked every two seconds
                    self._not_before[name] = run.clock() + timedelta(minutes=run.source.every_min)
                else:
                    self._fetched.add(name)
                    self._not_before.pop(name, None)
                    continue  # told by `_note`
                self._done.append(summary_of(run))

    def _check_stuck(self) -> None:
        limit = 2 * longest_s(self._bundle.settings.crawl)  # it may have waited for its turn
        with self._guard:
            late = [flight for flight in self._flights if time.monotonic() - flight.begun > limit]
        if late:
            raise TimeoutError(
                f"the crawl of {late[0].runs[0].source.host} has not ended after {limit:g} s; the crawler is stuck"
            )


__all__ = ["Collector"]
