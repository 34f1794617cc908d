"""Bugs on purpose: each one as somebody could write it, the short history that shows it, and the promise it breaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from alerts import (
    clocks,
    duties,
    extensions,
    heartbeat,
    ladder,
    moves,
    paging,
    react,
    recount,
    sender,
)
from incidents import clocks as rows
from incidents import events, lifecycle, outbox, states
from tests.machine.harness import Harness

History = Callable[[Harness], None]


@dataclass(frozen=True)
class Bug:
    """`where` and `name` is what is replaced by `wrong`; `history` must break one of the `promises`."""

    title: str
    promises: tuple[str, ...]
    history: History
    patches: tuple[tuple[Any, str, Any], ...]

    @contextmanager
    def seeded(self) -> Iterator[None]:
        """The product with this bug."""
        with ExitStack() as stack:
            for where, name, wrong in self.patches:
                if isinstance(where, dict):
                    stack.enter_context(patch.dict(where, {name: wrong}))
                else:
                    stack.enter_context(patch.object(where, name, wrong))
            lifecycle._KNOWN.clear()
            yield
        lifecycle._KNOWN.clear()


# --- short histories ---------------------------------------------------------------------------------------------

CONFIRM, ASSIGN = states.Confirm(), states.Assign("education", reason="对口")
RESPOND = states.Respond("http://gov.example/1")


def run(h: Harness, minutes: float) -> None:
    """Time passes, then the engine works."""
    h.wait(minutes)
    h.tick()
    h.send()
    h.tick()


def unanswered(h: Harness) -> None:
    """A page that nobody answers, minute by minute."""
    h.detect("general", "public")
    for _ in range(40):
        run(h, 1)


def unreachable(h: Harness) -> None:
    """A page that no channel takes."""
    h.detect("general", "public")
    h.tick()
    h.send(("retry", "retry"))
    for _ in range(4):
        h.wait(1)
        h.tick()


def answered(h: Harness) -> None:
    """Acknowledged at once, then nothing for a day."""
    number = h.detect("critical", "public")
    run(h, 0)
    h.do(number, states.Acknowledge(epoch=1))
    run(h, 0)
    run(h, 16)
    run(h, 15)


def answered_then_sent_back(h: Harness) -> None:
    """Acknowledged, assigned, sent back: the new epoch must ask."""
    number = h.detect("general", "public")
    run(h, 0)
    h.do(number, states.Acknowledge(epoch=1))
    for command in (CONFIRM, ASSIGN, states.Return("不属于本单位职责")):
        h.do(number, command)
    run(h, 1)
    h.do(number, states.Acknowledge(epoch=1))
    run(h, 16)


def waiting_page(h: Harness) -> None:
    """A page waits for its channel, is acknowledged by somebody else meanwhile, and must not go out."""
    number = h.detect("general", "public")
    h.tick()
    h.send(("retry", "retry"))
    h.do(number, states.Acknowledge(epoch=1), "zhou")
    h.tick()
    run(h, 1)


def life(h: Harness) -> None:
    """From detection to closing, with every kind of clock on the way."""
    for way in ("hotline", "petition", "market_hotline"):
        number = h.detect("major", way)
        run(h, 10)
        for command in (CONFIRM, ASSIGN, states.SignFor("张"), RESPOND, states.Evaluate(80), states.Close()):
            h.do(number, command)
            run(h, 300)


def overdue(h: Harness) -> None:
    """Clocks run out and ticks come late."""
    number = h.detect("major", "message_board")
    run(h, 0)
    h.wait(301)
    h.tick()
    h.tick()
    h.wait(4000)
    h.do(number, CONFIRM)
    h.tick()
    h.tick_twice()
    h.do(number, ASSIGN)
    h.do(number, RESPOND)
    h.tick()


def graded(h: Harness) -> None:
    """Raised, answered, lowered, raised again."""
    number = h.detect("general", "public")
    run(h, 60)
    h.do(number, states.SetLevel("major", "伤情"))
    h.do(number, states.Inform("http://gov.example/2"))
    run(h, 60)
    h.do(number, states.SetLevel("general", "无伤情"))
    run(h, 60)
    h.do(number, states.SetLevel("critical", "伤情"))
    run(h, 1)


def merged(h: Harness) -> None:
    """One matter goes into another one and comes out again."""
    one = h.detect("major", "hotline")
    run(h, 60)
    two = h.detect("serious", "public")
    run(h, 60)
    h.do(one, states.Merge(two))
    h.do(two, states.Merge(one))
    run(h, 1)
    h.do(one, states.Unmerge())
    run(h, 1)
    h.do(two, states.Merge(one))
    run(h, 1)


def false_alarm(h: Harness) -> None:
    """Found to be none, then to be one after all."""
    number = h.detect("major", "public")
    run(h, 1)
    h.do(number, states.FalseAlarm("no_issue"))
    run(h, 1)
    h.do(number, states.Restore("核实后属实"))
    run(h, 1)


def dismissed(h: Harness) -> None:
    """Signed for, then found to be none after all, then taken back."""
    number = h.detect("general", "hotline")
    for command in (CONFIRM, ASSIGN, states.SignFor("张")):
        h.do(number, command)
        run(h, 1)
    h.do(number, states.FalseAlarm("no_issue", "核实", "du"))
    run(h, 1)
    h.do(number, states.Restore("核实后属实"))
    run(h, 1)


def storm(h: Harness) -> None:
    """More at once than one person can read."""
    for _ in range(8):
        h.detect("general", "public")
    run(h, 0)
    run(h, 3)


def petition(h: Harness) -> None:
    """Sixty natural days that end on a Sunday."""
    number = h.detect("general", "petition")
    h.wait(60 * 24)
    for command in (CONFIRM, ASSIGN):
        h.do(number, command)
    h.tick()


def doubtful(h: Harness) -> None:
    """Answers get lost, processes end in the middle."""
    h.detect("general", "public")
    h.tick()
    h.send(("taken", "taken", "taken"))
    run(h, 1)
    h.detect("general", "public")
    h.tick()
    h.send(("crash_after",))
    run(h, 3)
    run(h, 3)


def idle(h: Harness) -> None:
    """Acknowledged and confirmed, and nothing further is done."""
    number = h.detect("serious", "public")
    run(h, 0)
    h.do(number, states.Acknowledge(epoch=1))
    run(h, 0)
    run(h, 121)


def unassessed(h: Harness) -> None:
    """Acknowledged again and again, never confirmed nor dismissed."""
    number = h.detect("serious", "public")
    for _ in range(5):
        run(h, 60)
        h.do(number, states.Acknowledge(epoch=h.model.matters[number].epoch))


def raised_unassessed(h: Harness) -> None:
    """Acknowledged, raised, and still nobody has assessed it an hour later."""
    number = h.detect("general", "public")
    run(h, 0)
    h.do(number, states.Acknowledge(epoch=1))
    h.do(number, states.SetLevel("critical", "伤情"))
    run(h, 1)
    run(h, 60)


def raised_at_its_end(h: Harness) -> None:
    """Everybody was asked in vain; one grade more asks once more, two grades less ask nobody."""
    number = h.detect("general", "public")
    for _ in range(5):
        run(h, 31)
    for level in ("serious", "general", "critical"):
        h.do(number, states.SetLevel(level, "伤情"))
        run(h, 0)
        run(h, 31)


def nobody(h: Harness) -> None:
    """The roster is empty."""
    h.configure(3)
    h.detect("general", "public")
    run(h, 0)


def new_notice(h: Harness) -> None:
    """A holiday notice for next year comes while a clock runs over New Year."""
    h.wait(60 * 24 * 34)
    number = h.detect("general", "hotline")
    h.do(number, CONFIRM)
    h.do(number, ASSIGN)
    run(h, 0)
    h.configure(4)
    h.tick()


def more_time(h: Harness) -> None:
    """More time is asked for by this one and that one, and twice."""
    h.detect("general", "message_board")
    h.tick()
    h.extend(1, "R09", 3, "an")
    h.extend(1, "R09", 3, "wang")
    h.extend(1, "R09", 3, "du")
    h.extend(1, "R09", 40, "wang")


def raised_between_ticks(h: Harness) -> None:
    """Two changes of grade and two assignments before the next tick."""
    number = h.detect("general", "hotline")
    h.do(number, states.SetLevel("major", "伤情"))
    h.tick()
    for command in (CONFIRM, ASSIGN):
        h.do(number, command)
    h.wait(5)
    h.do(number, states.Assign("market-regulation", reason="转办"))
    h.tick()


def sent_back_late(h: Harness) -> None:
    """A department sends a matter back after its two working days."""
    number = h.detect("general", "hotline")
    for command in (CONFIRM, ASSIGN):
        h.do(number, command)
    h.tick()
    h.wait(60 * 24 * 7)
    h.do(number, states.Return("不属于本单位职责"))
    h.do(number, states.Return("不属于本单位职责", late_approved_by="du"))
    h.tick()


def at_once(h: Harness) -> None:
    """Two people act at the same time."""
    for one, two in (
        (states.Acknowledge(epoch=1), states.Acknowledge(epoch=1)),
        (CONFIRM, states.FalseAlarm("no_issue")),
        (ASSIGN, states.Assign("market-regulation")),
    ):
        number = h.detect("general", "public")
        if one == ASSIGN:
            h.do(number, CONFIRM)
        h.both(number, one, two)
        h.tick()


def reopened(h: Harness) -> None:
    """A second round, raised in it."""
    number = h.detect("general", "public")
    for command in (CONFIRM, ASSIGN, RESPOND, states.Evaluate(80), states.Close()):
        h.do(number, command)
    run(h, 60 * 24 * 3)
    h.do(number, states.Reopen("再次发生"))
    run(h, 1)
    h.do(number, states.SetLevel("major", "伤情"))
    run(h, 1)


# --- wrong code --------------------------------------------------------------------------------------------------


def _nothing(*_: Any, **__: Any) -> None:
    return None


_window = paging._window
_record = lifecycle.record
_close = rows.close_deadlines
_closed = duties._closed
_resume = duties.resume
_open_deadline = rows.open_deadline
_claim = outbox.claim
_decide = states.decide
_situation = lifecycle.situation_of
_project = lifecycle.project
_asked_at = ladder.asked_at
_acknowledged = react._page_acknowledged
_compute = clocks.compute_deadline
_level_changed = duties.level_changed
_chain_hash = events.chain_hash


def _half_window(*given: Any) -> int:
    return _window(*given) // 2


def _asks_whoever_answered(session: Any, incident: Any, epoch: int, person: str = "") -> bool:
    return incident.epoch == epoch and incident.state in ("detected", "confirmed")


def _ack_of_later_epochs(now: Any, fact: Any, at: Any) -> Any:
    return replace(now, page_acknowledged_epoch=fact.epoch + 2)


def _old_button_counts(now: Any, command: Any, at: Any) -> Any:
    return states.Fact(
        "page_acknowledged", {"step": 0, "first": True, "on_behalf": False}, now.epoch, now.round
    )


def _ack_stops_clocks(desk: Any, incident: Any, event: Any) -> None:
    _acknowledged(desk, incident, event)
    duties.stopped_by(desk, incident, "informed", event.occurred_at)


def _first_day_counts(rule: Any, start: Any, calendar: Any, text: Any = str) -> Any:
    back = timedelta(days=1) if rule.unit == "workdays" else timedelta(0)
    return _compute(rule, start - back, calendar, text)


def _ends_on_a_day_of_rest(amount: int, start: Any, calendar: Any, writer: Any) -> Any:
    last = calendar.day(calendar.local_day(start) + timedelta(days=amount))
    return clocks._end(start, [last], amount, calendar, writer, [])


def _missed_now(desk: Any, incident: Any, clock: Any) -> None:
    payload = {"rule": clock.rule_id, "round": clock.round, "due_at": clock.due_at.isoformat(),
               "noticed_at": desk.now.isoformat(), "department": ""}  # fmt: skip
    desk.record(incident, "deadline_missed", payload, key=duties.missed_key(clock), occurred_at=desk.now)


def _missed_again(desk: Any, incident: Any, clock: Any, at: Any, **given: Any) -> None:
    duties._missed(desk, incident, clock)
    _closed(desk, incident, clock, at, **given)


def _another_key(clock: Any) -> str:
    return f"missed:{clock.id}:{uuid4()}"


def _raised_from_now(desk: Any, incident: Any, began_at: Any, event: Any) -> None:
    _level_changed(desk, incident, desk.now, event)


def _clock_begins_anew(session: Any, **given: Any) -> bool:
    return _open_deadline(session, **{**given, "restart": True})


def _no_mark(session: Any, now: Any, **given: Any) -> Any:
    return [replace(row, uncertain=False) for row in _claim(session, now, **given)]


def _lease_for_ever(session: Any, now: Any, **given: Any) -> Any:
    return _claim(session, now, **{**given, "lease_s": 1e9})


def _signed_alone(key: bytes, previous: str, event: Any) -> str:
    return _chain_hash(key, events.GENESIS, event)


def _detected_twice(now: Any, command: Any, at: Any) -> Any:
    facts = _decide(now, command, at)
    return facts * 2 if facts[0].kind == "detected" else facts


def _stale(session: Any, incident_id: int) -> Any:
    known = lifecycle._KNOWN.get(incident_id)
    now = _situation(session, incident_id)
    return now if known is None else replace(known[2], version=now.version)


def _forgets_the_grade(row: Any, now: Any) -> None:
    level = row.level
    _project(row, now)
    row.level = level or now.level


def _nobody_when_empty(*given: Any) -> Any:
    return [person for person in _asked_at(*given) if not person.fallback]


def _any_key(*given: Any, **named: Any) -> str:
    return str(uuid4())


def _as_it_is_now(desk: Any, incident: Any, event: Any) -> Any:
    return incident


def _closed_when_noticed(session: Any, incident_id: int, **given: Any) -> Any:
    return _close(session, incident_id, **{**given, "at": given["at"] + timedelta(seconds=1)})


def _resumes_everything(desk: Any, incident: Any, why: str) -> set[str]:
    return {clock.rule_id for clock in rows.deadlines_of(desk.session, incident.id)}


def _resumes_no_grade(desk: Any, incident: Any, why: str, **given: Any) -> Any:
    return [] if why == "level_set" else _resume(desk, incident, why, **given)


def _any_extension(desk: Any, clock: Any, units: int) -> Any:
    rule = desk.bundle.rules.rule(clock.rule_id)
    return extensions.Allowance(clock, rule, rule, 99)


def _first_round(desk: Any, incident: Any, event: Any) -> Any:
    return incident.detected_at


BUGS: tuple[Bug, ...] = (
    Bug("a rung waits half its window", ("I8",), unanswered, ((paging, "_window", _half_window),)),
    Bug("an accepted page starts no window", ("I8",), unanswered, ((paging, "accepted", _nothing),)),
    Bug("an unreachable rung is waited for", ("I8",), unreachable, ((paging, "_was_accepted", lambda *_: True),)),
    Bug("the ladder climbs on after an answer", ("I8", "I7"), answered,
        ((paging, "still_asks", _asks_whoever_answered), (paging, "stop", _nothing))),
    Bug("an answer counts for later epochs too", ("I9",), answered_then_sent_back,
        ((states._EVOLVERS, "page_acknowledged", _ack_of_later_epochs),)),
    Bug("an old button still counts", ("I2", "I9"), answered_then_sent_back,
        ((states._DECIDERS, states.Acknowledge, _old_button_counts),)),  # type: ignore[arg-type]
    Bug("an answer stops the legal clocks", ("I10",), answered,
        ((react._REACTIONS, "page_acknowledged", _ack_stops_clocks),)),
    Bug("the first day counts", ("I4",), life, ((duties, "compute_deadline", _first_day_counts),)),
    Bug("a clock ends on a day of rest", ("I4",), petition, ((clocks, "_natural_days", _ends_on_a_day_of_rest),)),
    Bug("a miss has the time of the tick", ("I16",), overdue, ((duties, "_missed", _missed_now),)),
    Bug("a miss is noted again with the late answer", ("I16",), overdue,
        ((duties, "missed_key", _another_key), (duties, "_closed", _missed_again))),
    Bug("a higher grade counts from now", ("I4", "I10", "I11"), graded, ((duties, "level_changed", _raised_from_now),)),
    Bug("a grade given again leaves its clocks still", ("I4", "I10"), graded, ((duties, "resume", _resumes_no_grade),)),
    Bug("a clock begins anew with each assignment", ("I4", "I10", "I11"), raised_between_ticks,
        ((rows, "open_deadline", _clock_begins_anew),)),
    Bug("a merge loses the earlier clock", ("I4", "I10", "I15"), merged, ((moves, "inherit", _nothing),)),
    Bug("matters may be merged into each other", ("I2", "I15"), merged, ((lifecycle, "_check_merge", _nothing),)),
    Bug("a merge taken back leaves the clocks still", ("I10", "I15"), merged, ((duties, "resume", lambda *_, **__: []),)),
    Bug("a false alarm leaves the clocks running", ("I10",), false_alarm, ((duties, "cancel", lambda *_, **__: []),)),
    Bug("a page goes out after the answer", ("I7",), waiting_page,
        ((outbox, "supersede", lambda *_, **__: 0), (sender, "_needless", lambda *_: ""))),
    Bug("a page has another key each time", ("I3", "I8"), doubtful,
        ((outbox, "message_id", _any_key), (lifecycle, "record", _record))),
    Bug("a doubtful repeat is not marked", ("I3",), doubtful, ((outbox, "claim", _no_mark),)),
    Bug("what a dead sender had taken is never sent", ("I3",), doubtful, ((outbox, "claim", _lease_for_ever),)),
    Bug("nobody is asked again for want of progress", ("I12",), idle, ((paging, "watch_progress", _nothing),)),
    Bug("a higher grade leaves the outer clock", ("I12",), raised_unassessed, ((paging, "hasten_outer", _nothing),)),
    Bug("a higher grade leaves a ladder at its end", ("I8",), raised_at_its_end, ((paging, "resume", _nothing),)),
    Bug("the outer clock is deaf", ("I12",), unassessed, ((paging, "_outer", _nothing),)),
    Bug("an event is signed without those before it", ("I14",), unanswered, ((events, "chain_hash", _signed_alone),)),
    Bug("a detection is written twice", ("I1", "I17", "I3"), unanswered, ((lifecycle, "decide", _detected_twice),)),
    Bug("a fold is not read on", ("I1", "I2", "I18"), answered_then_sent_back, ((lifecycle, "situation_of", _stale),)),
    Bug("the row forgets the grade", ("I1",), graded, ((lifecycle, "project", _forgets_the_grade),)),
    Bug("an empty roster asks nobody", ("I13",), nobody, ((ladder, "asked_at", _nobody_when_empty),)),
    Bug("a holiday notice moves nothing", ("I4",), new_notice, ((recount, "check", lambda *_: False),)),
    Bug("anybody may grant more time", ("I10",), more_time, ((extensions, "_right", _nothing),)),
    Bug("more time is granted twice", ("I10",), more_time, ((extensions, "_limits", _any_extension),)),
    Bug("a late tick takes the present grade", ("I4",), raised_between_ticks, ((react, "_then", _as_it_is_now),)),
    Bug("a late return needs nobody's consent", ("I2",), sent_back_late, ((lifecycle, "_check_return", _nothing),)),
    Bug("a clock stops when it was noticed", ("I10",), life, ((rows, "close_deadlines", _closed_when_noticed),)),
    Bug("a false alarm taken back wakes every clock", ("I10", "I15"), dismissed,
        ((duties, "_cancelled_for", _resumes_everything),)),
    Bug("two acts at once are both from one state", ("I18", "I1", "I2"), at_once, ((lifecycle, "situation_of", _stale),)),
    Bug("a second round counts from the first", ("I4", "I10"), reopened, ((react, "_began", _first_round),)),
    Bug("a tick is never done", ("I5",), overdue, ((heartbeat, "beat_once", lambda *_: True),)),
    Bug("what a bundle says counts for nobody", ("I8",), storm, ((outbox, "bundled", lambda *_: []),)),
)  # fmt: skip
