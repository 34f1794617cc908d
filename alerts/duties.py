"""Legal clocks of incidents: opened with their trace, watched with reminder, yellow and red card, closed by an answer.

A legal clock is absolute: an outage of ours, a silence or a merge never stops it. When it runs out, the event
carries the true time, whenever our tick came to notice it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from alerts import cards, facts, resolver
from alerts.clocks import compute_deadline
from alerts.desk import Desk
from config.rules import Rule
from incidents import clock_changes, clocks, queries
from incidents.clocks import DeadlineView
from incidents.queries import IncidentView


def open_for(desk: Desk, incident: IncidentView, moment: str, started_at: datetime) -> None:
    """Start every clock that `moment` starts for this incident in its present round."""
    sources = tuple(queries.sources_of(desk.session, incident.id))
    for rule in resolver.rules_started_by(desk.bundle.rules, moment, incident.level, sources):
        open_rule(desk, incident, rule, started_at)


def open_rule(desk: Desk, incident: IncidentView, rule: Rule, started_at: datetime) -> bool:
    """Start one clock; False when it runs or ran already in this round."""
    due = compute_deadline(rule, started_at, desk.calendar, desk.say)
    new = clocks.open_deadline(
        desk.session,
        incident_id=incident.id,
        rule_id=rule.id,
        round=incident.round,
        stops_on=resolver.stops_on(rule),
        started_at=started_at,
        due_at=due.due_at,
        provisional=due.provisional,
        calendar_version=due.calendar_version,
        trace=due.trace,
    )
    if not new:
        return False
    desk.counts.deadlines += 1
    payload = {
        "rule": rule.id,
        "round": incident.round,
        "due_at": due.due_at.isoformat(),
        "provisional": due.provisional,
        "calendar": due.calendar_version,
    }
    desk.record(
        incident, "deadline_opened", payload, key=f"opened:{rule.id}:{incident.round}", occurred_at=started_at
    )
    cards.set_timers(desk, _find(desk, incident, rule.id), rule.unit)
    return True


def _find(desk: Desk, incident: IncidentView, rule_id: str) -> DeadlineView:
    return next(
        clock
        for clock in clocks.deadlines_of(desk.session, incident.id)
        if clock.rule_id == rule_id and clock.round == incident.round
    )


def notice_passed(desk: Desk, clock: DeadlineView) -> None:
    """Note that a clock has run out since the last tick: an event with the true time, and the red card."""
    clocks.notice_overdue(desk.session, clock.id, desk.now)
    incident = queries.get_incident(desk.session, clock.incident_id)
    if incident is not None:
        _missed(desk, incident, clock)
        cards.red(desk, incident, clock)


def _missed(desk: Desk, incident: IncidentView, clock: DeadlineView) -> None:
    payload = {
        "rule": clock.rule_id,
        "round": clock.round,
        "due_at": clock.due_at.isoformat(),
        "noticed_at": desk.now.isoformat(),
        "department": incident.department,
    }
    if desk.record(incident, "deadline_missed", payload, key=f"missed:{clock.id}", occurred_at=clock.due_at):
        desk.counts.overdue += 1


def stopped_by(desk: Desk, incident: IncidentView, moment: str, at: datetime) -> None:
    """Stop the clocks that `moment` stops; each is met or missed by comparing `at` with its due time."""
    for clock in clocks.close_deadlines(desk.session, incident.id, at=at, stops_on=moment):
        if clock.state == "missed":
            _missed(desk, incident, clock)
            continue
        payload: dict[str, Any] = {
            "rule": clock.rule_id,
            "round": clock.round,
            "due_at": clock.due_at.isoformat(),
        }
        if clock.overdue_noticed_at is not None:
            # we had called it overdue before we learned of the answer; that event stays, this one annuls it
            payload["annuls"] = f"{incident.id}:missed:{clock.id}"
        desk.record(incident, "deadline_met", payload, key=f"met:{clock.id}", occurred_at=at)


def cancel(
    desk: Desk, incident: IncidentView, why: str, *, stops_on: str | None = None
) -> list[DeadlineView]:
    """Take clocks back because the matter is none (false alarm), is counted elsewhere (merge) or is done."""
    closed = clocks.close_deadlines(
        desk.session, incident.id, at=desk.now, stops_on=stops_on, outcome="cancelled"
    )
    for clock in closed:
        payload = {
            "rule": clock.rule_id,
            "round": clock.round,
            "why": why,
            "due_at": clock.due_at.isoformat(),
        }
        desk.record(incident, "deadline_cancelled", payload, key=f"cancelled:{clock.id}:{incident.version}")
    return closed


def resume(desk: Desk, incident: IncidentView) -> None:
    """A merge or false alarm was taken back: its clocks run on from where they had started."""
    for clock in clocks.reopen_cancelled(desk.session, incident.id, incident.round):
        payload = {
            "rule": clock.rule_id,
            "round": clock.round,
            "due_at": clock.due_at.isoformat(),
            "resumed": True,
        }
        desk.record(incident, "deadline_opened", payload, key=f"resumed:{clock.id}:{incident.version}")


def inherit(desk: Desk, parent: IncidentView, given: Sequence[DeadlineView]) -> None:
    """After a merge the parent answers for both: each clock ends at the earlier of the two due times."""
    if not parent.is_open:
        return
    mine = {
        clock.rule_id: clock
        for clock in clocks.deadlines_of(desk.session, parent.id)
        if clock.state == "open"
    }
    for theirs in given:
        rule = facts.rule_of(desk.bundle, theirs.rule_id)
        own = mine.get(theirs.rule_id)
        if rule is None or parent.responded_at is not None:
            continue
        if own is None:
            open_rule(desk, parent, rule, theirs.started_at)
        elif theirs.due_at < own.due_at:
            _move(desk, parent, own, theirs.started_at, rule, "merged")


def _move(
    desk: Desk, incident: IncidentView, clock: DeadlineView, started_at: datetime, rule: Rule, why: str
) -> None:
    due = compute_deadline(rule, started_at, desk.calendar, desk.say)
    clock_changes.move_deadline(
        desk.session,
        clock.id,
        started_at=started_at,
        due_at=due.due_at,
        provisional=due.provisional,
        calendar_version=due.calendar_version,
        trace=due.trace,
    )
    payload = {
        "rule": clock.rule_id,
        "round": clock.round,
        "why": why,
        "old_due_at": clock.due_at.isoformat(),
        "due_at": due.due_at.isoformat(),
        "old_calendar": clock.calendar_version,
        "calendar": due.calendar_version,
    }
    desk.record(
        incident,
        "deadline_moved",
        payload,
        key=f"moved:{clock.id}:{why}:{due.due_at.isoformat()}:{due.calendar_version}",
    )


def recount_provisional(desk: Desk) -> int:
    """A new holiday notice is loaded: count provisional clocks again, keep the old end in an event."""
    ids = clock_changes.open_under_other_calendar(desk.session, desk.calendar.version)
    wanted = set(ids)
    for clock in clocks.open_deadlines(desk.session) if wanted else ():
        if clock.id not in wanted:
            continue
        incident = queries.get_incident(desk.session, clock.incident_id)
        rule = facts.rule_of(desk.bundle, clock.rule_id)
        if incident is not None and rule is not None:
            _move(desk, incident, clock, clock.started_at, rule, "calendar")
    return len(ids)


def level_changed(desk: Desk, incident: IncidentView, detected_at: datetime, lower: bool) -> None:
    """Another grade: its clocks start from the detection too. Raising a grade never moves an end further away."""
    open_for(desk, incident, "detected", detected_at)
    if not lower:
        return
    wanted = {rule.id for rule in desk.bundle.rules.opened_by("detected", incident.level)}
    for clock in clocks.deadlines_of(desk.session, incident.id):
        rule = facts.rule_of(desk.bundle, clock.rule_id)
        graded = rule is not None and bool(rule.levels)
        if clock.state == "open" and graded and clock.rule_id not in wanted:
            clock_changes.cancel_deadline(desk.session, clock.id, desk.now)
            payload = {
                "rule": clock.rule_id,
                "round": clock.round,
                "why": "level_set",
                "due_at": clock.due_at.isoformat(),
            }
            desk.record(
                incident, "deadline_cancelled", payload, key=f"cancelled:{clock.id}:{incident.version}"
            )
