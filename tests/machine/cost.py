"""What a step of the state machine costs: `python -m tests.machine.cost [HISTORIES]`."""

from __future__ import annotations

import logging
import sys
import time

from sqlalchemy import event
from sqlalchemy.engine import Engine

from tests.machine import world
from tests.machine.harness import harness
from tests.machine.machine import explore


def main(histories: int) -> None:
    """Processor time and statements of a step, and of a tick and a sender that find nothing."""
    logging.disable(logging.WARNING)
    explore(99, 1, 100)  # everything is loaded and compiled once
    asked = 0

    @event.listens_for(Engine, "before_cursor_execute")
    def count(*_: object) -> None:
        nonlocal asked
        asked += 1

    begun = time.process_time()
    steps = explore(0, histories, 100)
    took = time.process_time() - begun
    sys.stdout.write(
        f"{steps} steps: {took / steps * 1000:.1f} ms of CPU, {asked / steps:.1f} statements each\n"
    )
    with harness() as told:
        told.detect("major", "hotline")
        told.tick()
        told.send()
        for name, do in (("tick", told.world.tick), ("sender", told.world.send)):
            begun = time.process_time()
            for _ in range(300):
                do()
            sys.stdout.write(
                f"{name} without work: {(time.process_time() - begun) / 300 * 1000:.2f} ms of CPU\n"
            )
    world.remove()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
