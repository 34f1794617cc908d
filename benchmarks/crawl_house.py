"""The product's process of `benchmarks/crawl_scale.py`: `schedule` and `kill` start it with their own arguments."""

from __future__ import annotations

import logging
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import structlog

import heap
import scheduler
from benchmarks.crawl_ours import installation, mixed, source
from incidents.installation import Installation
from scheduler import House, stop_signal
from spiders.job import run


def now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def house(home: Installation, *, everything: bool) -> None:
    """The running house until SIGTERM, with all of its jobs or with the crawl job alone; no console."""
    jobs = [job for job in scheduler.JOBS if everything or job.name == "crawl"]
    with stop_signal() as stop:
        running = House(home, now, jobs)
        running.start()
        print("ready", flush=True)
        scheduler.until(stop, running.look)
        running.stop()


def main(arguments: list[str]) -> None:
    """See crawl_scale.py for the arguments."""
    logging.disable(logging.WARNING)
    # a line for each run of a job would fill the pipe that nobody reads after "ready", and stop the house for ever
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    heap.few()
    part, folder, port = arguments[0], Path(arguments[1]), int(arguments[2])
    if part == "schedule":
        sources = [
            mixed(number, port, troubled=True).model_copy(update={"every_min": float(arguments[4])})
            for number in range(int(arguments[3]))
        ]
        house(installation(folder, sources, delay_s=float(arguments[5])), everything=bool(int(arguments[6])))
    else:
        kinds = ("feed", "column", "api", "forum")
        sources = [
            source(number, f"n{number}.bench", port, kinds[number % 4], validators=True).model_copy(
                update={"every_min": 1.0}
            )
            for number in range(40)
        ]
        home = installation(folder, sources, delay_s=0.1)
        if arguments[3] == "0":
            house(home, everything=False)
        for _ in range(2 if arguments[3] == "1" else 0):
            run(home.db, home.bundle, home.keys, now(), only=[one.id for one in sources])
    sys.stdout.flush()
    os._exit(0)  # the reactor's thread has no end


if __name__ == "__main__":
    main(sys.argv[1:])
