"""G11: a city's month in fast motion, each minute of it held against the oracle. `python -m tests.machine.soak --days 30`.

Matters come day and night, most by day; officers and departments answer, are late, or do not; channels fail now and
then; roster, ladder and calendar change. After each tick the oracle looks at every ladder, and in the tables at what
was touched and at a sample of the others; once a simulated day at everything.
"""

from __future__ import annotations

import argparse
import heapq
import logging
import random
import resource
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from incidents import states
from incidents.states import Command
from tests.machine.harness import Broken, Harness, harness
from tests.machine.world import VARIANTS, WAYS, Mood

#: share of a day's matters that come in each hour of the local day
_HOURS = (1, 1, 1, 1, 1, 2, 3, 5, 7, 7, 7, 6, 5, 6, 6, 6, 6, 6, 6, 6, 6, 4, 2, 1)
_LEVELS = ("general",) * 12 + ("serious",) * 5 + ("major",) * 2 + ("critical",)
_FAULTS: tuple[Mood, ...] = ("retry", "refused", "lost", "taken", "crash_before", "crash_after")
#: open matters besides the touched ones that are looked at in each minute
_SAMPLE = 5
#: messages that a channel remembers, some two days of them
_MESSAGES = 2000
#: after its end a matter is remembered for so long, then only the database knows it
_REMEMBERED = timedelta(days=2)


@dataclass
class Soak:
    """One run."""

    h: Harness
    chance: random.Random
    a_day: int
    plans: list[tuple[datetime, int, int, Command]] = field(default_factory=list)
    ended: dict[int, datetime] = field(default_factory=dict)
    matters: int = 0
    number: int = 0

    def minute(self) -> None:
        """One simulated minute."""
        world = self.h.world
        world.now += timedelta(minutes=1)
        local = world.now + timedelta(hours=8)
        expected = self.a_day * _HOURS[local.hour] / sum(_HOURS) / 60
        self.h.focus = set()
        for _ in range(int(expected) + (self.chance.random() < expected % 1)):
            self._new()
        while self.plans and self.plans[0][0] <= world.now:
            _, _, matter, command = heapq.heappop(self.plans)
            self._do(matter, command)
        if local.hour == 3 and local.minute == 0:
            self._new_day()
        alive = [id_ for id_ in self.h.model.matters if id_ not in self.ended]
        seen = self.h.touched & set(self.h.model.matters)
        self.h.focus = seen | set(self.chance.sample(alive, min(_SAMPLE, len(alive))))
        self.h.touched.clear()
        self.h.tick()
        moods: tuple[Mood, ...] = (self.chance.choice(_FAULTS),) if self.chance.random() < 0.02 else ()
        self.h.send(moods)

    def _new(self) -> None:
        self.matters += 1
        way = "public" if self.chance.random() < 0.6 else self.chance.choice(WAYS)
        number = self.h.detect(
            self.chance.choice(_LEVELS), way, self.chance.choice(("burst", "burst", "fast"))
        )
        at = self.h.world.now
        if self.chance.random() < 0.9:
            at += timedelta(minutes=self.chance.expovariate(1 / 10))
            self._plan(at, number, states.Acknowledge(epoch=1))
        if self.chance.random() < 0.3:
            end: Command = states.FalseAlarm("no_issue", "核实")
            self._plan(at + timedelta(minutes=self.chance.expovariate(1 / 60)), number, end)
            return
        for command, hours in (
            (states.Confirm(), 1.0),
            (states.Assign("education", reason="对口"), 1.0),
            (states.SignFor("张"), 4.0),
            (states.Respond("http://gov.example/1"), 20.0),
            (states.Evaluate(80), 24.0),
            (states.Close(), 4.0),
        ):
            at += timedelta(hours=self.chance.expovariate(1 / hours))
            self._plan(at, number, command)
        self._sometimes(number, at)

    def _sometimes(self, number: int, end: datetime) -> None:
        """What happens to some matters only."""
        now, chance = self.h.world.now, self.chance
        others: tuple[tuple[float, Command], ...] = (
            (0.05, states.SetLevel("major", "伤情")),
            (0.05, states.SetLevel("general", "无伤情")),
            (0.05, states.Return("不属于本单位职责", late_approved_by="du")),
            (0.05, states.Assign("market-regulation", reason="转办")),
            (0.05, states.Inform("http://gov.example/2")),
            (0.03, states.HoldPress("http://gov.example/3")),
            (0.03, states.Merge(max(1, number - chance.randint(1, 30)))),
            (0.03, states.Unmerge()),
            (0.03, states.Restore("核实后属实")),
        )
        for share, command in others:
            if chance.random() < share:
                self._plan(now + (end - now) * chance.random(), number, command)
        if chance.random() < 0.03:
            self._plan(end + timedelta(hours=chance.uniform(1, 40)), number, states.Reopen("再次发生"))

    def _plan(self, at: datetime, matter: int, command: Command) -> None:
        self.number += 1
        heapq.heappush(self.plans, (at, self.number, matter, command))

    def _do(self, matter: int, command: Command) -> None:
        if matter not in self.h.model.matters:
            return
        if isinstance(command, states.Merge) and command.parent_id not in self.h.model.matters:
            return
        self.h.focus = {matter}
        self.h.do(matter, command)
        if self.h.model.matters[matter].state in ("closed", "false_alarm"):
            self.ended[matter] = self.h.world.now
        else:
            self.ended.pop(matter, None)

    def _new_day(self) -> None:
        """Everything is looked at; another configuration comes into force; what ended long ago is let go."""
        self.h.focus = set(self.h.model.matters)
        self.h.tick()
        self.h.configure(self.chance.choice((0, 0, 0, 1, 2, 4, self.chance.randrange(len(VARIANTS)))))
        parents = {matter.parent for matter in self.h.model.matters.values()}
        for number, at in list(self.ended.items()):
            if self.h.world.now - at > _REMEMBERED and number not in parents:
                del self.h.model.matters[number], self.ended[number]
                self.h.world.matters.remove(number)
        for line in self.h.world.lines.values():
            line.forget(_MESSAGES)


def _memory() -> float:
    """Resident megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def run(days: int, a_day: int, seed: int, say: Any = None) -> dict[str, float]:
    """Play so many days; returns what was measured. Raises Broken at the first difference."""
    with harness() as made:
        soak = Soak(made, random.Random(seed), a_day)
        start, early, busy = time.monotonic(), 0.0, time.process_time()
        for day in range(days):
            for _ in range(24 * 60):
                soak.minute()
            if day == max(0, days // 3 - 1):
                early = _memory()
            if say:
                open_ = sum(m.state in ("detected", "confirmed", "assigned", "acknowledged", "responded", "evaluated")
                            for m in made.model.matters.values())  # fmt: skip
                say(f"day {day + 1}: {soak.matters} matters, {open_} open, {made.seq} events, {_memory():.0f} MB, "
                    f"{(day + 1) * 86400 / (time.monotonic() - start):.0f} times real time")  # fmt: skip
        spent = time.monotonic() - start
        return {
            "matters": soak.matters,
            "events": made.seq,
            "steps": made.steps,
            "delivered": made.delivered,
            "speed": days * 86400 / spent,
            "cpu_s": time.process_time() - busy,
            "memory_growth": _memory() / early - 1,
        }


def main() -> int:
    """Run the soak; 0 if nothing differed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--a-day", type=int, default=100, help="matters a day")
    parser.add_argument("--seed", type=int, default=20261129)
    given = parser.parse_args()
    logging.disable(logging.WARNING)  # channels are meant to fail here

    def say(line: str) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    try:
        found = run(given.days, given.a_day, given.seed, say)
    except Broken as broken:
        say(f"WRONG: {broken}")
        return 1
    say(
        ", ".join(
            f"{name} {value:,.3g}" if value < 100 else f"{name} {value:,.0f}" for name, value in found.items()
        )
    )
    say("Proved: no difference from the oracle.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
