"""A clock that runs gets another end: by merge, by extension, by a holiday notice. Old and new stay in an event.

No move of one clock moves another. A miss that had been noted is never wiped out: the event of the move names it
as annulled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from alerts import cards, duties, facts
from alerts.clocks import compute_deadline
from alerts.desk import Desk
from config.rules import Rule
from incidents import clock_changes, clocks, queries
from incidents.clocks import DeadlineView
from incidents.queries import IncidentView
from incidents.states import OPEN_STATES, Situation

Why = Literal["merged", "calendar", "extended"]


def move(
    desk: Desk,
    incident: IncidentView,
    clock: DeadlineView,
    rule: Rule,
    why: Why,
    note: str,
    *,
    started_at: datetime | None = None,
    units: int = 0,
    extra: dict[str, Any] | None = None,
) -> DeadlineView | None:
    """Count one open clock again; None when its end and its certainty stay what they are.

    `note` is a sentence for the trace; `units` of the rule are added to what an approver had added before.
    """
    began = started_at or clock.started_at
    extended = clock.extended_by + units
    due = compute_deadline(lengthened(rule, extended), began, desk.calendar, desk.say)
    if (due.due_at, due.provisional, began) == (clock.due_at, clock.provisional, clock.started_at):
        return None
    trace = (*due.trace, *(line for line in clock.trace if line.startswith(cards.MOVED)), cards.MOVED + note)
    original = clock.original_due_at or (clock.due_at if units else None)
    unmiss = clock.overdue_noticed_at is not None and due.due_at >= desk.now
    payload: dict[str, Any] = {
        "rule": clock.rule_id,
        "round": clock.round,
        "why": why,
        "old_due_at": clock.due_at.isoformat(),
        "started_at": began.isoformat(),
        "due_at": due.due_at.isoformat(),
        "old_calendar": clock.calendar_version,
        "calendar": due.calendar_version,
        "provisional": due.provisional,
        "trace": list(trace),
        "extended_by": extended,
        "original_due_at": original.isoformat() if original else None,
        **(extra or {}),
    }
    if unmiss:
        payload["annuls"] = f"{incident.id}:{duties.missed_key(clock)}"
    moved = clock_changes.move_deadline(
        desk.session,
        clock.id,
        started_at=began,
        due_at=due.due_at,
        provisional=due.provisional,
        calendar_version=due.calendar_version,
        trace=trace,
        original_due_at=original,
        extended_by=extended,
        unmiss=unmiss,
    )
    number = f"{cards.times_moved(moved)}:{began.isoformat()}"
    desk.record(incident, "deadline_moved", payload, key=f"moved:{clock.id}:{number}")
    cards.set_timers(desk, moved, rule.unit)
    return moved


def _affected(desk: Desk, clock: DeadlineView, rule: Rule) -> bool:
    """Whether the calendar in force gives this clock another end or another certainty."""
    due = compute_deadline(lengthened(rule, clock.extended_by), clock.started_at, desk.calendar, desk.say)
    return (due.due_at, due.provisional) != (clock.due_at, clock.provisional)


def lengthened(rule: Rule, units: int) -> Rule:
    """The rule with `units` more."""
    return rule.model_copy(update={"amount": (rule.amount or 0) + units}) if units else rule


def recount(desk: Desk, clock: DeadlineView) -> bool:
    """Count a clock in days by the calendar in force; False when nothing moves. An end that a person named stays."""
    rule = facts.rule_of(desk.bundle, clock.rule_id)
    if rule is None or not rule.countable or rule.starts_on == "told" or rule.unit == "calendar_hours":
        return False
    incident = queries.get_incident(desk.session, clock.incident_id) if _affected(desk, clock, rule) else None
    if incident is None:
        return False
    note = desk.say(
        "放假安排有变，重新计算：原截止 {due}，原历表 {old}，现历表 {new}",
        due=desk.say.at(clock.due_at),
        old=clock.calendar_version,
        new=desk.calendar.version,
    )
    move(desk, incident, clock, rule, "calendar", note)
    return True


def inherit(desk: Desk, parent: IncidentView, given: Sequence[DeadlineView], then: Situation) -> None:
    """After a merge the parent answers for both: each clock ends at the earlier of the two due times.

    `then`: the parent as it was when the other one was merged into it.
    """
    if then.state not in OPEN_STATES or "responded_at" in then.times:
        return
    parent = replace(parent, round=then.round, level=then.level)
    mine = {
        clock.rule_id: clock
        for clock in clocks.deadlines_of(desk.session, parent.id)
        if clock.state == "open" and clock.round == then.round
    }
    for theirs in given:
        rule = facts.rule_of(desk.bundle, theirs.rule_id)
        own = mine.get(theirs.rule_id)
        if rule is None or not rule.countable:
            continue
        if own is None:
            duties.open_rule(desk, parent, rule, theirs.started_at)
        elif theirs.started_at < own.started_at:
            note = desk.say("并入的事件起算在先，改自 {when} 起算", when=desk.say.at(theirs.started_at))
            move(desk, parent, own, rule, "merged", note, started_at=theirs.started_at)
