"""Halts and objections reach crawls under way: the database is asked twice a second, whoever wrote it there."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from incidents.session import Database
from incidents.stops import Stop, Stops, in_force
from spiders.problems import Stopped

log = logging.getLogger(__name__)

#: seconds between two looks into the database while a crawl runs
LOOK_EVERY_S = 0.5


class StopBoard:
    """The stops in force as the crawler sees them. Written by the watching thread, read by the crawler's."""

    def __init__(self, current: Stops | None = None) -> None:
        self.current = current or Stops()


def load_stops(db: Database) -> Stops:
    """What is stopped at this moment."""
    with db.reading() as session:
        return in_force(session)


@contextmanager
def watched(
    db: Database, current: Stops, every_s: float = LOOK_EVERY_S, looked: Callable[[], None] | None = None
) -> Iterator[StopBoard]:
    """A board that follows the database until the block ends. A database that cannot be read keeps the last answer."""
    board, ended = StopBoard(current), threading.Event()

    def look() -> None:
        while not ended.wait(every_s):
            try:
                found = load_stops(db)
            except Exception as exc:  # noqa: BLE001  # whatever the database refuses: the crawl's own writes tell it
                log.warning("halts and objections could not be read: %s", exc)
                continue
            if found.rows != board.current.rows:
                log.info("stopped now: %s", ", ".join(row.what for row in found.rows) or "nothing")
                board.current = found
            if looked is not None:
                looked()

    thread = threading.Thread(target=look, name="stop-watch", daemon=True)
    thread.start()
    try:
        yield board
    finally:
        ended.set()
        thread.join()


def problem_of(stop: Stop) -> Stopped:
    """The problem of a request that `stop` forbids."""
    problem = Stopped(stop.sentence)
    problem.state = state_of(stop)
    return problem


def state_of(stop: Stop) -> str:
    """State of a source that is not read because of `stop`."""
    return "halted" if stop.kind == "halt" else "objected"
