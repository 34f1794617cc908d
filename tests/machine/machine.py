"""The state machine that hypothesis drives: people, waits, sends with faults, ticks, and changes of the configuration."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from incidents import states
from incidents.states import Command
from tests.machine.harness import NEEDS_TICK, Harness, harness
from tests.machine.model import LEVELS
from tests.machine.world import VARIANTS, WAYS, Mood

_MOODS = st.lists(
    st.sampled_from(("ok", "ok", "retry", "refused", "lost", "taken", "crash_before", "crash_after")),
    max_size=4,
).map(tuple)
_ACTORS = st.sampled_from(("lin", "he", "zhou", "stranger"))
_AGO = st.sampled_from((None, 5, 300, 1500, 4000))
#: minutes: within a rung, a rung, the reach of a page, hours, a day, a weekend
_WAITS = st.sampled_from((1, 2, 3, 10, 15, 16, 31, 61, 121, 241, 300, 725, 1500, 2881, 4000, 9000))
_PLAIN: tuple[Command, ...] = (
    states.Confirm(),
    states.Confirm(level="major", note="伤情"),
    states.Confirm(level="general"),
    states.Assign("education", reason="对口"),
    states.Assign("market-regulation"),
    states.SignFor("张"),
    states.Evaluate(70),
    states.Close(),
    states.Reopen("再次发生"),
    states.Restore("核实后属实"),
    states.FalseAlarm("no_issue"),
    states.FalseAlarm("no_issue", "核实", "du"),
    states.Unmerge(),
    states.Note("电话联系"),
    *(states.SetLevel(level, reason) for level in LEVELS for reason in ("", "伤情")),
)
#: two of these may come at the same moment
_AT_ONCE = tuple(command for command in _PLAIN if not isinstance(command, NEEDS_TICK))


class ResponseMachine(RuleBasedStateMachine):
    """Up to four matters at once."""

    #: steps of all histories of this process
    total = 0

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.h: Harness = self._stack.enter_context(harness())

    def _matter(self, number: int) -> int:
        return self.h.world.matters[number % len(self.h.world.matters)]

    @initialize(level=st.sampled_from(LEVELS), way=st.sampled_from(WAYS))
    def begin(self, level: str, way: str) -> None:
        """There is always one matter."""
        self.h.detect(level, way)

    @rule(
        level=st.sampled_from(LEVELS),
        way=st.sampled_from(WAYS),
        track=st.sampled_from(("burst", "fast", "manual")),
    )
    def detect(self, level: str, way: str, track: str) -> None:
        """Another matter."""
        if len(self.h.world.matters) < 4:
            self.h.detect(level, way, track)

    @rule(number=st.integers(0, 3), command=st.sampled_from(_PLAIN), actor=_ACTORS)
    def act(self, number: int, command: Command, actor: str) -> None:
        """A person tries something."""
        self.h.do(self._matter(number), command, actor)

    @rule(number=st.integers(0, 3), steps=st.integers(1, 5))
    def advance(self, number: int, steps: int) -> None:
        """The long way to the end, which chance alone seldom walks."""
        matter = self._matter(number)
        following: dict[str, Command] = {
            "detected": states.Confirm(),
            "confirmed": states.Assign("education", reason="对口"),
            "assigned": states.SignFor("张"),
            "acknowledged": states.Respond("http://gov.example/1"),
            "responded": states.Evaluate(80),
            "evaluated": states.Close(),
            "closed": states.Reopen("再次发生"),
        }
        for _ in range(steps):
            command = following.get(self.h.model.matters[matter].state)
            if command is None:
                return
            self.h.do(matter, command)

    @rule(number=st.integers(0, 3), back=st.integers(0, 1), actor=_ACTORS)
    def acknowledge(self, number: int, back: int, actor: str) -> None:
        """A press on a button, maybe an old one."""
        matter = self._matter(number)
        epoch = max(1, self.h.model.matters[matter].epoch - back)
        self.h.do(matter, states.Acknowledge(epoch=epoch), actor)

    @rule(number=st.integers(0, 3), kind=st.sampled_from(("respond", "inform", "press")), ago=_AGO)
    def publish(self, number: int, kind: str, ago: int | None) -> None:
        """Something was said in public, maybe a while ago."""
        when = None if ago is None else self.h.world.now - timedelta(minutes=ago)
        command: Command = {
            "respond": states.Respond("http://gov.example/1", published_at=when),
            "inform": states.Inform("http://gov.example/2", published_at=when),
            "press": states.HoldPress("http://gov.example/3", held_at=when),
        }[kind]  # type: ignore[assignment]
        self.h.do(self._matter(number), command)

    @rule(number=st.integers(0, 3), consent=st.sampled_from(("", "du")))
    def send_back(self, number: int, consent: str) -> None:
        """The department says that it is not responsible."""
        self.h.do(self._matter(number), states.Return("不属于本单位职责", late_approved_by=consent))

    @rule(number=st.integers(0, 3), parent=st.integers(0, 3))
    def merge(self, number: int, parent: int) -> None:
        """Two matters are one."""
        self.h.do(self._matter(number), states.Merge(self._matter(parent)))

    @rule(
        number=st.integers(0, 3),
        clock=st.sampled_from(("H01", "H06", "R08", "R09", "R03")),
        units=st.sampled_from((1, 5, 10, 40)),
        approver=st.sampled_from(("wang", "du", "an", "nobody")),
    )
    def extend(self, number: int, clock: str, units: int, approver: str) -> None:
        """More time is asked for."""
        self.h.extend(self._matter(number), clock, units, approver)

    @rule(number=st.integers(0, 3), one=st.sampled_from(_AT_ONCE), two=st.sampled_from(_AT_ONCE))
    def at_once(self, number: int, one: Command, two: Command) -> None:
        """Two people act at the same time."""
        self.h.both(self._matter(number), one, two)

    @rule(minutes=_WAITS)
    def wait(self, minutes: int) -> None:
        """Time passes."""
        self.h.wait(minutes)

    @rule(minutes=_WAITS, moods=_MOODS)
    def run(self, minutes: int, moods: tuple[Mood, ...]) -> None:
        """Time passes and the engine works."""
        self.h.wait(minutes)
        self.h.tick()
        self.h.send(moods)

    @rule()
    def tick(self) -> None:
        """A tick, twice."""
        self.h.tick_twice()

    @rule(moods=_MOODS)
    def send(self, moods: tuple[Mood, ...]) -> None:
        """What is due goes out, or not."""
        self.h.send(moods)

    @rule(variant=st.integers(0, len(VARIANTS) - 1))
    def configure(self, variant: int) -> None:
        """Another roster, ladder or calendar."""
        self.h.configure(variant)

    def teardown(self) -> None:
        """The end of one history."""
        try:
            if self.h.world.matters:
                self.h.end()
        finally:
            ResponseMachine.total += self.h.steps
            self._stack.close()


def explore(seed: int, histories: int, steps: int = 50, **more: Any) -> int:
    """Play so many histories of at most so many rules; returns the number of steps. Raises harness.Broken."""
    before = ResponseMachine.total
    machine = seeded(seed)(type(f"Machine{seed}", (ResponseMachine,), {}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=histories,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
            **more,
        ),
    )
    return ResponseMachine.total - before
