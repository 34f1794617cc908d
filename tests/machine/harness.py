"""World and model side by side: each step is done in both, and what must hold is looked up after it.

The invariants have the numbers of docs/reliability.md, I1 to I18.
"""

from __future__ import annotations

import hmac
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Text, bindparam, cast, func, select

from alerts import paging
from alerts.job import TickSummary
from incidents import events, lifecycle, rebuild, states
from incidents.events import chain_hash
from incidents.models import Deadline, Incident, IncidentEvent, Outbox
from incidents.session import Session
from incidents.states import Command
from tests.conftest import AUDIT_KEY
from tests.machine import world as worlds
from tests.machine.model import ASKING, LEVELS, OPEN, Clock, Matter, Model, Rung
from tests.machine.world import Mood, World, world

#: what these do depends on rows that a tick writes, or decides on which ways a matter came: a tick is 2 s away at most
NEEDS_TICK = (states.Merge, states.Unmerge, states.Return)
#: what a rung is left without a channel that takes its page
REACH = timedelta(minutes=2)


#: read after every step: columns only, and built once (a query that is built anew costs more than its answer)
_NEW = (
    select(*IncidentEvent.__table__.c)
    .where(IncidentEvent.seq > bindparam("seen"))
    .order_by(IncidentEvent.seq)
)
_INCIDENTS = select(
    Incident.id,
    Incident.state,
    Incident.epoch,
    Incident.round,
    Incident.level,
    Incident.department,
    Incident.parent_id,
    Incident.version,
).where(Incident.version > 0)
_CLOCKS = select(
    Deadline.incident_id,
    Deadline.rule_id,
    Deadline.round,
    Deadline.state,
    Deadline.started_at,
    Deadline.due_at,
    Deadline.closed_at,
    Deadline.provisional,
    Deadline.calendar_version,
    cast(Deadline.trace, Text).label("trace"),
)


class Broken(AssertionError):
    """A promise does not hold. `number` is that of the invariant."""

    def __init__(self, number: str, what: str) -> None:
        super().__init__(f"{number}: {what}")
        self.number = number


def _must(condition: object, number: str, what: str) -> None:
    if not condition:
        raise Broken(number, what)


@dataclass
class Harness:
    """One history."""

    world: World
    model: Model
    steps: int = 0
    seq: int = 0
    head: str = events.GENESIS
    recorded: datetime | None = None
    #: misses that stand, by matter, rule and round; one may be taken back by a later event
    missed: Counter[tuple[int, str, int]] = field(default_factory=Counter)
    keys: dict[str, tuple[int, str, int]] = field(default_factory=dict)
    detected: int = 0
    #: commands since the last tick: until then tables may lag behind
    behind: bool = False
    delivered: int = 0
    #: matters to look at in the tables; None: all of them
    focus: set[int] | None = None
    #: events of each matter, as they were read
    counts: Counter[int] = field(default_factory=Counter)
    #: matters that the last read events spoke of
    touched: set[int] = field(default_factory=set)

    # --- steps --------------------------------------------------------------------------------------------------

    def detect(self, level: str, way: str, track: str = "burst") -> int:
        """A matter emerges."""
        number = self.world.detect(level, way, track)
        self.model.detect(number, way, level, track, self.world.now)
        self.detected += 1
        self._after()
        return number

    def do(self, number: int, command: Command, actor: str = "lin", channel: str = "console") -> bool:
        """A person tries something; True when it was done."""
        if isinstance(command, NEEDS_TICK):
            self.tick()
        before = self._dues(number)
        wanted = self.model.allows(number, command, self.world.now)
        try:
            self.world.do(number, command, actor, channel)
        except states.Refused as refusal:
            _must(not wanted, "I2", f"{command} was refused: {refusal.en}")
            _must(self._events() == self.seq, "I2", f"{command} was refused and left an event")
            self.steps += 1
            return False
        _must(wanted, "I2", f"{command} was done in state {self.model.matters[number].state}")
        self.model.do(number, command, actor, self.world.now)
        self._after()
        if isinstance(command, states.SetLevel):
            self.tick()
            self._no_later(number, before, command.level)
        return True

    def extend(self, number: int, rule: str, units: int, approver: str) -> bool:
        """An approver lengthens a clock."""
        self.tick()
        wanted = self.model.extended(number, rule, units, approver)
        try:
            self.world.extend(number, rule, units, approver)
        except states.Refused as refusal:
            _must(not wanted, "I10", f"{rule} of {number} could not be extended: {refusal.en}")
            self.steps += 1
            return False
        _must(wanted, "I10", f"{rule} of {number} was extended by {units} on the word of {approver}")
        self._after()
        return True

    def wait(self, minutes: float) -> None:
        """Time passes."""
        self.world.now += timedelta(minutes=minutes)
        self.steps += 1

    def configure(self, variant: int) -> None:
        """Another roster, ladder or calendar comes into force."""
        self.tick()  # a tick of the running product is never more than 2 s away
        self.world.variant = variant
        self.model.recount(self.world.bundle, self.world.calendar)
        self.tick()

    def tick(self) -> None:
        """A tick; a second one at the same time does nothing."""
        self.world.tick()
        self.behind = False
        with self.world.db.reading() as session:
            self._read(session)
            self._settle(session)
        self.steps += 1

    def tick_twice(self) -> None:
        """I5."""
        self.tick()
        again = self.world.tick()
        _must(again == TickSummary(), "I5", f"a second tick at the same time did {again}")

    def send(self, moods: tuple[Mood, ...] = ()) -> None:
        """Send what is due."""
        arrived = {name: len(line.arrived) for name, line in self.world.lines.items()}
        waiting = {
            matter.id: self.model.waiting(matter, matter.epoch) for matter in self.model.matters.values()
        }
        self.world.send(moods)
        for name, line in self.world.lines.items():
            for item in line.arrived[arrived[name] :]:
                self._arrived(item, waiting)
        with self.world.db.reading() as session:
            self._read(session)
        self.steps += 1

    def both(self, number: int, one: Command, two: Command) -> None:
        """I18: two people act at the same time through different channels."""
        with self.world.db.reading() as session:
            start = lifecycle.situation_of(session, number)
        possible = {
            self._serial(start, first, second)
            for first, second in (((one, "lin"), (two, "he")), ((two, "he"), (one, "lin")))
        }
        done: list[tuple[Command, str, int]] = []
        threads = [
            threading.Thread(target=self._attempt, args=(number, command, actor, done))
            for command, actor in ((one, "lin"), (two, "he"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        with self.world.db.reading() as session:
            after = lifecycle.situation_of(session, number)
        _must(_gist(after) in possible, "I18", f"{one} and {two} together gave {_gist(after)}: no order does")
        for command, actor, _ in sorted(done, key=lambda item: item[2]):
            _must(self.model.allows(number, command, self.world.now), "I18", f"{command} was done")
            self.model.do(number, command, actor, self.world.now)
        self._after()

    def _attempt(
        self, number: int, command: Command, actor: str, done: list[tuple[Command, str, int]]
    ) -> None:
        try:
            with self.world.db.transaction() as session:
                outcome = lifecycle.handle(
                    session, number, command, actor=actor, channel="slack", now=self.world.now
                )
        except states.Refused:
            return
        done.append((command, actor, outcome.version))

    def _serial(self, start: Any, *order: tuple[Command, str]) -> tuple[Any, ...]:
        now = start
        for command, actor in order:
            try:
                facts = states.decide(now, command, self.world.now)
            except states.Refused:
                continue
            for fact in facts:
                by = {"by": actor} if isinstance(command, states.Acknowledge) else {}
                now = states.evolve(now, replace(fact, payload={**fact.payload, **by}), self.world.now)
        return _gist(now)

    # --- what must hold -------------------------------------------------------------------------------------------

    def _after(self) -> None:
        self.behind = True
        with self.world.db.reading() as session:
            self._read(session)
            self._rows(session)
        self.steps += 1

    def _events(self) -> int:
        with self.world.db.reading() as session:
            return events.head(session).seq

    def _dues(self, number: int) -> dict[str, datetime]:
        clocks = self.model.matters[number].clocks.values()
        return {clock.rule.id: clock.due for clock in clocks if clock.state == "open"}

    def _no_later(self, number: int, before: dict[str, datetime], level: str) -> None:
        """I11: a higher grade never moves an end further away."""
        with self.world.db.reading() as session:
            rows = {
                row.rule_id: row.due_at
                for row in session.scalars(select(Deadline).where(Deadline.incident_id == number))
                if row.round == self.model.matters[number].round
            }
        for rule, due in before.items():
            _must(
                rule not in rows or rows[rule] <= due,
                "I11",
                f"{level} moved {rule} from {due} to {rows.get(rule)}",
            )

    def _rows(self, session: Session) -> None:
        """I1, I15: the cached row says what the commands make of it."""
        query = _INCIDENTS if self.focus is None else _INCIDENTS.where(Incident.id.in_(self.focus))
        for row in session.connection().execute(query):
            matter = self.model.matters[row.id]
            shown = (
                str(row.state),
                row.epoch,
                row.round,
                row.level,
                row.department or "",
                row.parent_id or 0,
            )
            wanted = (
                matter.state,
                matter.epoch,
                matter.round,
                matter.level,
                matter.department,
                matter.parent,
            )
            _must(shown == wanted, "I1", f"row {row.id} is {shown}, by its commands {wanted}")
            _must(row.version == self.counts[row.id], "I1", f"{row.version} is not the number of its events")
            seen, above = {row.id}, matter.parent
            while above:
                _must(above not in seen, "I15", f"{row.id} was merged into itself")
                seen.add(above)
                above = self.model.matters[above].parent

    def _read(self, session: Session) -> None:
        """Every new event, once."""
        new: Sequence[Any] = session.connection().execute(_NEW, {"seen": self.seq}).all()
        for event in new:
            _must(event.seq == self.seq + 1, "I14", f"event {event.seq} follows {self.seq}")
            good = hmac.compare_digest(event.hash, chain_hash(AUDIT_KEY, self.head, event))
            _must(good, "I14", f"event {event.seq} is not signed")
            _must(event.occurred_at <= event.recorded_at, "I14", f"{event.kind} comes before it happened")
            backwards = self.recorded is not None and event.recorded_at < self.recorded
            _must(not backwards, "I14", f"{event.kind} was recorded before the one before it")
            self.seq, self.head, self.recorded = event.seq, event.hash, event.recorded_at
            if event.incident_id is not None:
                self.counts[event.incident_id] += 1
                self.touched.add(event.incident_id)
                if react := _ON.get(event.kind):
                    matter = self.model.matters.get(event.incident_id)
                    _must(
                        matter is not None, "I8", f"{event.kind} of {event.incident_id}, which ended long ago"
                    )
                    if matter is not None:
                        react(self, matter, event)

    def _focused(self) -> list[Matter]:
        matters = self.model.matters
        if self.focus is None:
            return list(matters.values())
        return [matters[number] for number in self.focus if number in matters]

    def _settle(self, session: Session) -> None:
        """After a tick: rows, clocks and ladders are as far as they must be."""
        self._rows(session)
        self._clocks(session)
        for matter in self.model.matters.values():
            self._ladder(matter)

    def _clocks(self, session: Session) -> None:
        """I4, I6, I10, I15, I16: the clocks are those of the commands, each with its true end."""
        now = self.world.now
        query = _CLOCKS if self.focus is None else _CLOCKS.where(Deadline.incident_id.in_(self.focus))
        shown: dict[tuple[int, str, int], Any] = {}
        for row in session.connection().execute(query):
            key = (row.incident_id, row.rule_id, row.round)
            _must(key not in shown, "I4", f"two rows for {key}")
            explained = row.trace not in (None, "", "[]", "null")
            _must(explained and row.calendar_version and row.due_at, "I4", f"{key} is not explained")
            shown[key] = row
        for matter in self._focused():
            for (rule, round_), clock in matter.clocks.items():
                found = shown.pop((matter.id, rule, round_), None)
                name = f"{rule} of {matter.id} round {round_}"
                if found is None:  # came and went between two ticks
                    _must(clock.state == "cancelled", "I4", f"{name} has no row")
                    continue
                self._same(name, found, clock)
                self._noted(matter, name, clock, now)
        for key, row in shown.items():
            _must(row.state == "cancelled", "I4", f"{key} runs and nothing has started it")

    def _same(self, name: str, row: Any, clock: Clock) -> None:
        number = "I15" if clock.why == "merged" else "I10"
        _must(
            row.state == clock.state,
            number,
            f"{name} is {row.state} ({row.due_at}), must be {clock.state} {clock.why}",
        )
        if clock.state == "cancelled":
            return
        _must(
            row.started_at == clock.started, "I10", f"{name} runs from {row.started_at}, must {clock.started}"
        )
        _must(row.due_at == clock.due, "I4", f"{name} ends {row.due_at}, must {clock.due}")
        sure = not self.model.provisional(clock)
        told = row.provisional != sure or clock.state != "open"
        _must(told, "I4", f"{name} is called {'provisional' if sure else 'certain'}")
        _must(
            row.closed_at == clock.closed, "I10", f"{name} was stopped {row.closed_at}, must {clock.closed}"
        )

    def _noted(self, matter: Matter, name: str, clock: Clock, now: datetime) -> None:
        """I16: it ran out, and that stands in the record once, with the true time."""
        key = (matter.id, clock.rule.id, clock.round)
        over = (clock.state == "open" and clock.due < now) or clock.state == "missed"
        if clock.rule.stops_on != "returned":
            _must(
                not over or self.missed[key] == 1,
                "I16",
                f"{name} ran out {clock.due}; noted {self.missed[key]} times",
            )
            standing = clock.state != "cancelled" and not over
            _must(not standing or not self.missed[key], "I16", f"{name} did not run out, and it is said")

    def _ladder(self, matter: Matter) -> None:
        """I8, I9, I12, I13: nobody waits longer than the ladder says."""
        now, epoch = self.world.now, matter.epoch
        seen = matter.found_real == epoch or (
            matter.acked.get(epoch) and not self.model.missing(matter, epoch)
        )
        if matter.state in ASKING and seen:
            minutes = self.world.bundle.settings.alerts.progress_min
            due = matter.progress.setdefault(epoch, now + timedelta(minutes=minutes[matter.level]))
            _must(now < due, "I12", f"{matter.id} was acknowledged, idle since and nobody is asked again")
        outer = self.model.outer(matter)
        if matter.state == "detected" and outer is not None and now >= outer:
            _must(
                matter.round in matter.outer_passed,
                "I12",
                f"{matter.id} was never assessed and nobody learns of it",
            )
        if not self.model.waiting(matter, epoch):
            return
        steps = [step for at, step in matter.rungs if at == epoch]
        _must(steps, "I9", f"{matter.id} waits in epoch {epoch} and nobody was ever asked")
        step = max(steps)
        last = self.model.last(matter, epoch)
        if step > last or (step == last and (epoch, step + 1) in matter.ended):
            return
        _must(
            (epoch, step + 1) not in matter.ended, "I8", f"{matter.id} was raised, its ladder does not go on"
        )
        rung = matter.rungs[epoch, step]
        if rung.accepted is not None:
            end = rung.accepted + self.model.window(matter, epoch, step)
            _must(now < end, "I8", f"rung {step} of {matter.id} had until {end} and nobody further was asked")
        else:
            _must(
                now < rung.at + REACH,
                "I8",
                f"rung {step} of {matter.id} could not be reached since {rung.at}",
            )

    def _arrived(self, item: worlds.Arrived, waiting: dict[int, bool]) -> None:
        """I7: who has acknowledged, or need not, is not woken up."""
        self.delivered += 1
        if item.kind != "page" or item.incident_id is None:
            return
        matter = self.model.matters[item.incident_id]
        asked = waiting[matter.id] and item.epoch == matter.epoch
        _must(
            asked,
            "I7",
            f"{item.channel} paged {item.person} for {matter.id} in {matter.state}, epoch {item.epoch}",
        )
        done = item.person in matter.acked.get(matter.epoch, [])
        _must(not done, "I7", f"{item.person} was paged after acknowledging {matter.id}")

    def end(self) -> None:
        """The whole history: tables equal their events, messages are single and none is lost, counts are those of events."""
        for _ in range(
            2
        ):  # the longest pause between two tries has passed, and the lease of a sender that died
            self.wait(16)
            self.tick()
            self.send()
        self.tick_twice()
        with self.world.db.reading() as session:
            left = session.scalars(
                select(Outbox.kind).where(
                    Outbox.state.in_(("pending", "sending")),
                    Outbox.created_at < self.world.now - timedelta(minutes=20),
                )
            ).all()
        _must(not left, "I3", f"never sent: {left}")
        with self.world.db.transaction() as session:
            wrong = [str(found) for found in rebuild.differences(session)]
            _must(not wrong, "I1", "; ".join(wrong[:3]))
            _must(events.verify(session, AUDIT_KEY).ok, "I14", "the chain is broken")
            doubled = session.execute(
                select(Outbox.incident_id, Outbox.epoch, Outbox.step, Outbox.recipient, Outbox.channel)
                .where(Outbox.kind == "page")
                .group_by(Outbox.incident_id, Outbox.epoch, Outbox.step, Outbox.recipient, Outbox.channel)
                .having(func.count() > 1)
            ).all()
            _must(not doubled, "I3", f"two pages for {doubled}")
            counted = session.scalar(
                select(func.count()).select_from(IncidentEvent).where(IncidentEvent.kind == "detected")
            )
            _must(counted == self.detected, "I17", f"{counted} detections are counted, {self.detected} were")
        for name, line in self.world.lines.items():
            times = Counter(item.outbox_id for item in line.arrived if item.kind != "edit")
            for outbox_id, number in times.items():
                marked = sum(item.marked for item in line.arrived if item.outbox_id == outbox_id)
                good = number == 1 or (line.resend == "blind" and marked >= number - 1)
                _must(good, "I3", f"{name} shows {outbox_id} {number} times, {marked} marked")


def _gist(now: Any) -> tuple[Any, ...]:
    return (
        str(now.state),
        now.epoch,
        now.round,
        now.level,
        now.department,
        now.parent_id or 0,
        frozenset(now.acknowledged_by),
    )


# --- what an event of the system's own must satisfy --------------------------------------------------------------


def _rung_fired(h: Harness, matter: Matter, event: IncidentEvent) -> None:
    given, at = event.payload, event.recorded_at
    step, epoch = int(given["step"]), event.epoch
    people = tuple((person["id"], person["role"]) for person in given["people"])
    name = f"rung {step} of {matter.id} in epoch {epoch}"
    _must((epoch, step) not in matter.rungs, "I3", f"{name} was fired twice")
    _must(h.model.waiting(matter, epoch), "I8", f"{name} was fired although nobody is awaited")
    last = h.model.last(matter, epoch)
    _must(step <= last, "I8", f"{name} is beyond the last, {last}")
    by = matter.acked.get(epoch, [])
    _must(people or by, "I13", f"{name} asks nobody")
    _must(not any(person in by for person, _ in people), "I7", f"{name} asks somebody who acknowledged")
    if (epoch, step) not in matter.ended:  # else a higher grade has taken the ladder up again
        _no_sooner(h, matter, event, name)
    matter.rungs[epoch, step] = Rung(at, people)


def _no_sooner(h: Harness, matter: Matter, event: IncidentEvent, name: str) -> None:
    """The rung before had its time; whoever never got a page has not been silent."""
    step, at, cause = int(event.payload["step"]), event.recorded_at, event.payload["cause"]
    if step == 1:
        return
    before = matter.rungs.get((event.epoch, step - 1))
    _must(before is not None, "I8", f"{name} skips a rung")
    if before is None or not before.people:
        return
    if before.accepted is not None:
        end = before.accepted + h.model.window(matter, event.epoch, step - 1)
        _must(at >= end, "I8", f"{name} was fired {at}, before {end}")
        _must(cause in ("unanswered", "joint"), "I8", f"{name}: {cause}")
        return
    reach = before.at + REACH
    _must(
        at >= reach or before.refused,
        "I8",
        f"{name} was fired {at}; the one before could be reached until {reach}",
    )
    _must(cause == "unreachable", "I8", f"{name}: who never got a page is not {cause}")


def _ladder_ended(h: Harness, matter: Matter, event: IncidentEvent) -> None:
    step, last = int(event.payload["step"]), h.model.last(matter, event.epoch)
    name = f"end {step} of the ladder of {matter.id} in epoch {event.epoch}"
    _must(step > last, "I8", f"{name} comes before the last rung, {last}")
    _must(h.model.waiting(matter, event.epoch), "I8", f"{name} was told although nobody is awaited")
    _no_sooner(h, matter, event, name)
    matter.ended.add((event.epoch, step))


def _ladder_started(h: Harness, matter: Matter, event: IncidentEvent) -> None:
    frozen = event.payload["frozen"]
    matter.ladders[event.epoch] = (len(frozen["ladder"]), tuple(frozen.get("required") or ()))
    due = datetime.fromisoformat(event.payload["outer_due_at"])
    matter.outer.setdefault(event.round, due)


def _page_sent(h: Harness, matter: Matter, event: IncidentEvent) -> None:
    rung = matter.rungs[int(event.payload["epoch"]), int(event.payload["step"])]
    rung.accepted = rung.accepted or event.recorded_at


def _page_refused(h: Harness, matter: Matter, event: IncidentEvent) -> None:
    matter.rungs[int(event.payload["epoch"]), int(event.payload["step"])].refused += 1


def _missed(h: Harness, matter: Matter, event: IncidentEvent) -> None:
    given = event.payload
    key = (matter.id, given["rule"], int(given["round"]))
    _must(event.occurred_at.isoformat() == given["due_at"], "I16", f"{key} is noted at {event.occurred_at}")
    _must(event.occurred_at <= event.recorded_at, "I16", f"{key} was noted before it ran out")
    h.missed[key] += 1
    if event.idempotency_key:
        h.keys[event.idempotency_key] = key


def _annuls(h: Harness, matter: Matter, event: IncidentEvent) -> None:
    if name := event.payload.get("annuls"):
        _must(name in h.keys, "I16", f"{event.kind} annuls {name}, which nobody noted")
        h.missed[h.keys[name]] -= 1


def _asked_again(h: Harness, matter: Matter, event: IncidentEvent) -> None:
    due = matter.progress.get(matter.epoch)
    _must(matter.state in ASKING, "I12", f"{matter.id} is {matter.state} and was asked again")
    _must(
        due is not None and event.recorded_at >= due,
        "I12",
        f"{matter.id} was asked again at {event.recorded_at}, due {due}",
    )
    h.model.asked_again(matter.id)


def _outer_passed(h: Harness, matter: Matter, event: IncidentEvent) -> None:
    due = h.model.outer(matter)
    _must(
        due is not None and event.recorded_at >= due and matter.state == "detected",
        "I12",
        f"{matter.id}: outer clock at {event.recorded_at}, due {due}",
    )
    matter.outer_passed.add(matter.round)


_ON = {
    "rung_fired": _rung_fired,
    "ladder_started": _ladder_started,
    "ladder_ended": _ladder_ended,
    "page_sent": _page_sent,
    "page_refused": _page_refused,
    "deadline_missed": _missed,
    "deadline_met": _annuls,
    "deadline_moved": _annuls,
    "asked_again": _asked_again,
    "outer_passed": _outer_passed,
}


@contextmanager
def harness() -> Iterator[Harness]:
    """A new history."""
    with world() as made:
        yield Harness(made, Model(made.bundle, made.calendar))


__all__ = ["LEVELS", "OPEN", "Broken", "Harness", "harness", "paging"]
