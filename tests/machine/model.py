"""The oracle: what must be, reckoned from the commands and the clock alone, by other code than the product's.

It shares with the product only data: rules, ladders, numbers of minutes, which days are worked. Rungs are checked
as they come (they depend on when a tick runs); states, epochs and legal clocks are foretold.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any

from alerts.calendar import WorkCalendar
from config.bundle import Bundle
from config.rules import Rule
from incidents import states
from incidents.states import Command

LEVELS = ("general", "serious", "major", "critical")
OPEN = {"detected", "confirmed", "assigned", "acknowledged", "responded", "evaluated"}
#: states in which a page still asks for somebody
ASKING = {"detected", "confirmed"}
MOVES: dict[str, tuple[type, ...]] = {
    "detected": (states.Confirm, states.FalseAlarm, states.Merge),
    "confirmed": (states.Assign, states.FalseAlarm, states.Merge),
    "assigned": (states.SignFor, states.Assign, states.Return, states.Respond, states.Merge),
    "acknowledged": (states.Respond, states.Assign, states.Return, states.FalseAlarm),
    "responded": (states.Evaluate, states.Respond),
    "evaluated": (states.Close, states.Respond),
    "closed": (states.Reopen,),
    "false_alarm": (states.Restore,),
    "merged": (states.Unmerge,),
}
#: what any open matter allows
ANYTIME = (states.Acknowledge, states.SetLevel, states.Inform, states.HoldPress, states.Note)


@dataclass
class Clock:
    """One legal clock of one round."""

    rule: Rule
    round: int
    started: datetime
    due: datetime
    state: str = "open"
    closed: datetime | None = None
    why: str = ""  # why it was cancelled
    extended: int = 0


@dataclass
class Rung:
    """One rung as it was fired."""

    at: datetime
    people: tuple[tuple[str, str], ...]  # person, role
    accepted: datetime | None = None
    refused: int = 0


@dataclass
class Matter:
    """One incident."""

    id: int
    way: str
    level: str
    proposed: bool
    began: datetime  # of this round
    state: str = "detected"
    epoch: int = 1
    round: int = 1
    department: str = ""
    parent: int = 0
    before: str = ""
    commands: int = 0
    responded: bool = False
    found_real: int = 0  # epoch in which somebody confirmed it
    acked: dict[int, list[str]] = field(default_factory=dict)
    clocks: dict[tuple[str, int], Clock] = field(default_factory=dict)
    #: what was said in public in this round, in order: kind and the instant that it claims
    public: list[tuple[str, datetime]] = field(default_factory=list)
    rungs: dict[tuple[int, int], Rung] = field(default_factory=dict)
    #: by epoch: the step that was not asked any more
    ended: set[tuple[int, int]] = field(default_factory=set)
    #: by epoch: number of rungs, roles that must acknowledge
    ladders: dict[int, tuple[int, tuple[str, ...]]] = field(default_factory=dict)
    #: by epoch: when somebody is asked again for want of progress
    progress: dict[int, datetime] = field(default_factory=dict)
    outer: dict[int, datetime] = field(default_factory=dict)
    #: when it must be assessed by, had it come with the highest grade that it was given
    sooner: datetime | None = None
    outer_passed: set[int] = field(default_factory=set)


@dataclass
class Model:
    """All matters."""

    bundle: Bundle
    calendar: WorkCalendar
    matters: dict[int, Matter] = field(default_factory=dict)

    # --- who is asked -------------------------------------------------------------------------------------------

    def missing(self, matter: Matter, epoch: int) -> bool:
        """Whether an acknowledgement that is required is still missing, some having been given."""
        required = matter.ladders.get(epoch, (0, ()))[1]
        if not required:
            return False
        roles: dict[str, set[str]] = {}
        for (at, _), rung in matter.rungs.items():
            if at == epoch:
                for person, role in rung.people:
                    roles.setdefault(person, set()).add(role)
        by = matter.acked.get(epoch, [])
        given = {role for person in by for role in roles.get(person, ())}
        strangers = sum(person not in roles for person in by)
        return len([role for role in required if role not in given]) > strangers

    def waiting(self, matter: Matter, epoch: int) -> bool:
        """Whether the ladder of `epoch` still has to be climbed."""
        if matter.epoch != epoch or matter.state not in ASKING or matter.found_real == epoch:
            return False
        return not matter.acked.get(epoch) or self.missing(matter, epoch)

    # --- commands -----------------------------------------------------------------------------------------------

    def detect(self, id_: int, way: str, level: str, track: str, now: datetime) -> None:
        """A matter emerges."""
        proposed = track != "manual" and level in ("major", "critical")
        matter = self.matters[id_] = Matter(id_, way, level, proposed, now)
        self._start(matter, "detected", now)

    def allows(self, id_: int, command: Command, now: datetime) -> bool:
        """Whether the matter lets this be done."""
        matter = self.matters[id_]
        if type(command) not in (
            *MOVES[matter.state],
            *(ANYTIME if matter.state in OPEN else (states.Note,)),
        ):
            return False
        match command:
            case states.Acknowledge(epoch=epoch):
                return epoch == matter.epoch
            case states.Assign(reason=reason):
                return matter.state == "confirmed" or bool(reason)
            case states.FalseAlarm(note=note, approver=approver):
                return matter.state != "acknowledged" or bool(note and approver)
            case states.Confirm(level=level, note=note) if level:
                return bool(note) or LEVELS.index(level) >= LEVELS.index(matter.level)
            case states.SetLevel(level=level, reason=reason):
                lower = LEVELS.index(level) < LEVELS.index(matter.level)
                return (level != matter.level or matter.proposed) and (not lower or bool(reason))
            case states.Merge(parent_id=parent):
                return self._may_merge(matter, parent)
            case states.Return(late_approved_by=consent):
                late = [
                    clock
                    for clock in matter.clocks.values()
                    if clock.rule.stops_on == "returned"
                    and clock.state == "open"
                    and clock.round == matter.round
                    and clock.due < now
                ]
                return not late or bool(consent)
            case states.Respond(published_at=when) | states.Inform(published_at=when):
                return when is None or when <= now
            case states.HoldPress(held_at=when):
                return when is None or when <= now
        return True

    def _may_merge(self, matter: Matter, parent: int) -> bool:
        other = self.matters.get(parent)
        if other is None or other.id == matter.id or other.state in ("merged", "false_alarm"):
            return False
        while other.parent:
            if other.parent == matter.id:
                return False
            other = self.matters[other.parent]
        return True

    def do(self, id_: int, command: Command, actor: str, now: datetime) -> None:
        """The matter after a command that it allows."""
        matter = self.matters[id_]
        matter.commands += 1
        match command:
            case states.Acknowledge(epoch=epoch):
                by = matter.acked.setdefault(epoch, [])
                if actor not in by:
                    by.append(actor)
            case states.Confirm(level=level):
                matter.state, matter.found_real = "confirmed", matter.epoch
                matter.progress.pop(matter.epoch, None)  # this is progress
                self._event(matter, "confirmed", now)
                if level and level != matter.level:
                    matter.commands += 1
                    self._level(matter, level)
                matter.proposed = matter.proposed and not level
            case states.Assign(department=department):
                matter.state, matter.department = "assigned", department
                matter.epoch += 1
                self._event(matter, "assigned", now)
            case states.SignFor():
                matter.state = "acknowledged"
                self._event(matter, "signed", now)
                self._cancel(matter, now, "signed", stops_on="returned")
            case states.Return():
                matter.state, matter.department = "confirmed", ""
                matter.epoch += 1
                self._stop(matter, "returned", now)
            case states.Respond(published_at=when):
                matter.state, matter.responded = "responded", True
                self._public(matter, "responded", when or now)
            case states.Inform(published_at=when):
                self._public(matter, "informed", when or now)
            case states.HoldPress(held_at=when):
                self._public(matter, "press_held", when or now)
            case states.Evaluate():
                matter.state = "evaluated"
            case states.Close():
                matter.state = "closed"
                self._event(matter, "closed", now)
                self._cancel(matter, now, "closed")
            case states.FalseAlarm():
                matter.state = "false_alarm"
                self._cancel(matter, now, "false_alarm")
            case states.Restore():
                matter.state = "confirmed"
                matter.epoch += 1
                self._resume(matter, "false_alarm")
            case states.Merge(parent_id=parent):
                matter.before, matter.state, matter.parent = matter.state, "merged", parent
                self._inherit(self.matters[parent], self._cancel(matter, now, "merged"))
            case states.Unmerge():
                matter.state, matter.before, matter.parent = matter.before, "", 0
                matter.epoch += 1
                self._resume(matter, "merged")
            case states.Reopen():
                matter.state, matter.department = "confirmed", ""
                matter.epoch += 1
                matter.round += 1
                matter.began, matter.responded, matter.public, matter.sooner = now, False, [], None
                self._start(matter, "detected", now)
            case states.SetLevel(level=level):
                self._level(matter, level)
            case _:
                pass

    def asked_again(self, id_: int) -> None:
        """The system itself begins a new epoch for want of progress."""
        matter = self.matters[id_]
        matter.epoch += 1
        matter.commands += 1

    def extended(self, id_: int, rule: str, units: int, approver: str) -> bool:
        """Lengthen one clock, once, within its clause; False when that is not allowed."""
        matter = self.matters[id_]
        clock = matter.clocks.get((rule, matter.round))
        clause = self.bundle.rules.extension_of(rule)
        if clock is None or clock.state != "open" or matter.state not in OPEN or clause is None:
            return False
        role = {"wang": "leader", "du": "supervisor"}.get(approver, "")
        if clock.extended or not 0 < units <= (clause.extension or 0) or role not in clause.approved_by:
            return False
        due = self._due(clock.rule, clock.started, units)
        if due == clock.due:
            return False
        clock.extended, clock.due = units, due
        matter.commands += 1
        return True

    def recount(self, bundle: Bundle, calendar: WorkCalendar) -> None:
        """Another configuration is in force: every open clock in days is counted again."""
        self.bundle, self.calendar = bundle, calendar
        for matter in self.matters.values():
            for clock in matter.clocks.values():
                if clock.state == "open":
                    clock.due = self._due(clock.rule, clock.started, clock.extended)

    # --- clocks -------------------------------------------------------------------------------------------------

    def ways(self, matter: Matter) -> set[str]:
        """Ways in of a matter and of those merged into it."""
        found = {matter.way}
        for other in self.matters.values():
            if other.parent == matter.id:
                found |= self.ways(other)
        return found

    def _rules(self, matter: Matter, moment: str) -> Iterator[Rule]:
        ways = self.ways(matter)
        rules = self.bundle.rules
        parts = [rules.rule(f"{rule.id}.{part}") for rule in rules.rules() for part in rule.extra]
        for rule in (*rules.rules(), *parts):
            if (
                rule.amount
                and rule.starts_on == moment
                and (matter.level in rule.levels or ways & set(rule.ways))
            ):
                yield rule

    def _event(self, matter: Matter, moment: str, at: datetime) -> None:
        self._stop(matter, moment, at)
        self._start(matter, moment, at)

    def _start(self, matter: Matter, moment: str, at: datetime) -> None:
        for rule in self._rules(matter, moment):
            self._open(matter, rule, at)

    def _open(self, matter: Matter, rule: Rule, at: datetime) -> None:
        key = (rule.id, matter.round)
        old = matter.clocks.get(key)
        # the time to send a matter back is its present holder's
        if old is None or (rule.stops_on == "returned" and old.started < at):
            matter.clocks[key] = Clock(rule, matter.round, at, self._due(rule, at))

    def _stop(self, matter: Matter, moment: str, at: datetime) -> None:
        for clock in matter.clocks.values():
            if clock.state == "open" and clock.rule.stops_on == moment:
                clock.state, clock.closed = ("met" if at <= clock.due else "missed"), at

    def _public(self, matter: Matter, kind: str, at: datetime) -> None:
        matter.public.append((kind, at))
        self._stop(matter, kind, at)
        if kind == "responded":  # an answer is authoritative information too
            self._stop(matter, "informed", at)

    def _cancel(self, matter: Matter, at: datetime, why: str, *, stops_on: str = "") -> list[Clock]:
        ended = [
            clock
            for clock in matter.clocks.values()
            if clock.state == "open" and stops_on in ("", clock.rule.stops_on)
        ]
        for clock in ended:
            clock.state, clock.closed, clock.why = "cancelled", at, why
        return ended

    def _resume(self, matter: Matter, why: str, level: str = "") -> None:
        for clock in matter.clocks.values():
            graded = not level or level in clock.rule.levels
            if graded and (clock.state, clock.why, clock.round) == ("cancelled", why, matter.round):
                clock.state, clock.closed, clock.why = "open", None, ""
                clock.due = self._due(clock.rule, clock.started, clock.extended)

    def _inherit(self, parent: Matter, given: list[Clock]) -> None:
        if parent.state not in OPEN or parent.responded:
            return
        for theirs in given:
            own = parent.clocks.get((theirs.rule.id, parent.round))
            if own is None:
                self._open(parent, theirs.rule, theirs.started)
            elif own.state == "open" and theirs.started < own.started:
                own.started = theirs.started
                own.due = self._due(own.rule, own.started, own.extended)

    def _level(self, matter: Matter, level: str) -> None:
        lower = LEVELS.index(level) < LEVELS.index(matter.level)
        matter.level, matter.proposed = level, False
        self._resume(matter, "level_set", level)
        if not lower and matter.state == "detected":
            due = matter.began + timedelta(minutes=self.bundle.settings.alerts.outer_min[level])
            matter.sooner = min(matter.sooner or due, due)
        for rule in list(self._rules(matter, "detected")):
            self._open(matter, rule, matter.began)
        for kind, at in matter.public:
            self._stop(matter, kind, at)
            if kind == "responded":
                self._stop(matter, "informed", at)
        if lower:
            for clock in matter.clocks.values():
                if clock.state == "open" and clock.rule.levels and level not in clock.rule.levels:
                    clock.state, clock.why = "cancelled", "level_set"

    def _due(self, rule: Rule, start: datetime, more: int = 0) -> datetime:
        """The end of a clock, found by walking from day to day."""
        amount = (rule.amount or 0) + more
        if rule.unit == "calendar_hours":
            return start + timedelta(hours=amount)
        day = start.astimezone(self.calendar.zone).date()
        one = timedelta(days=1)
        if rule.unit == "workdays":
            while amount:
                day += one
                amount -= self.calendar.day(day).working
        else:
            day += one * amount
            while not self.calendar.day(day).working:
                day += one
        return datetime.combine(day + one, time(), self.calendar.zone).astimezone(UTC)

    def provisional(self, clock: Clock) -> bool:
        """Whether a day that decided the end is not settled by a notice yet."""
        if clock.rule.unit == "calendar_hours":
            return False
        zone = self.calendar.zone
        first = clock.started.astimezone(zone).date()
        last = clock.due.astimezone(zone).date() - timedelta(days=1)
        if clock.rule.unit == "natural_days":
            first += timedelta(days=(clock.rule.amount or 0) + clock.extended - 1)
        return any(
            not self.calendar.day(first + timedelta(days=n)).certain
            for n in range(1, (last - first).days + 1)
        )

    # --- rungs as they come -------------------------------------------------------------------------------------

    def window(self, matter: Matter, epoch: int, step: int) -> timedelta:
        """How long rung `step` may take once a channel has it."""
        alerts = self.bundle.settings.alerts
        joint = step > matter.ladders[epoch][0]
        return timedelta(minutes=alerts.joint_every_min if joint else alerts.ack_timeout_min)

    def outer(self, matter: Matter) -> datetime | None:
        """By when somebody must have assessed it."""
        due = matter.outer.get(matter.round)
        return due if due is None or matter.sooner is None else min(due, matter.sooner)

    def last(self, matter: Matter, epoch: int) -> int:
        """Number of the last round in which anybody is asked."""
        repeats: dict[str, Any] = self.bundle.settings.alerts.joint_repeats
        return matter.ladders[epoch][0] + 1 + int(repeats.get(matter.level, 0))
