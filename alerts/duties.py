"""Legal clocks of incidents: opened with their trace, watched with reminder, yellow and red card, closed by an answer.

A legal clock is absolute: an outage of ours, a silence or a merge never stops it. When it runs out, the event
carries the true time, whenever our tick came to notice it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from alerts import cards, resolver
from alerts.clocks import DueAt, compute_deadline
from alerts.desk import Desk
from config.rules import Rule
from incidents import clocks, lifecycle, queries
from incidents.clocks import DeadlineView
from incidents.models import IncidentEvent
from incidents.queries import IncidentView
from incidents.states import LEVELS


def open_for(desk: Desk, incident: IncidentView, moment: str, started_at: datetime) -> None:
    """Start every clock that `moment` starts for this incident in its present round."""
    ways = resolver.ways_in(desk.bundle, queries.sources_of(desk.session, incident.id))
    for rule in resolver.rules_started_by(desk.bundle.rules, moment, incident.level, ways):
        # the time to send a matter back is the present holder's: it begins anew with each assignment
        open_rule(desk, incident, rule, started_at, restart=rule.stops_on == "returned")


def open_rule(
    desk: Desk,
    incident: IncidentView,
    rule: Rule,
    started_at: datetime,
    *,
    due: DueAt | None = None,
    restart: bool = False,
) -> bool:
    """Start one clock; False when it runs or ran already in this round. `due`: an end that a person has named."""
    due = due or compute_deadline(rule, started_at, desk.calendar, desk.say)
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
        restart=restart,
    )
    if not new:
        return False
    desk.counts.deadlines += 1
    payload = {
        "rule": rule.id,
        "round": incident.round,
        "stops_on": resolver.stops_on(rule),
        "started_at": started_at.isoformat(),
        "due_at": due.due_at.isoformat(),
        "provisional": due.provisional,
        "calendar": due.calendar_version,
        "trace": list(due.trace),
        # from when one could have known; the clock runs from the detection
        "first_posted_at": incident.first_posted_at.isoformat(),
    }
    key = f"opened:{rule.id}:{incident.round}"
    if not desk.record(incident, "deadline_opened", payload, key=key, occurred_at=started_at):
        again = f"{key}:{started_at.isoformat()}"
        desk.record(incident, "deadline_opened", payload, key=again, occurred_at=started_at)
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
    incident = queries.get_incident(desk.session, clock.incident_id)
    if incident is None or not _missed(desk, incident, clock):
        clocks.notice_overdue(desk.session, clock.id, desk.now)
    if incident is not None:
        cards.red(desk, incident, clock)


def missed_key(clock: DeadlineView) -> str:
    """Names the event that this clock ran out at its present end; one that was moved may run out anew."""
    moved = cards.times_moved(clock)
    return f"missed:{clock.id}" + (f":{moved}" if moved else "")


def _missed(desk: Desk, incident: IncidentView, clock: DeadlineView) -> bool:
    """Record that a clock ran out, and note it with the clock; False when that stands there already."""
    payload = {
        "rule": clock.rule_id,
        "round": clock.round,
        "due_at": clock.due_at.isoformat(),
        "noticed_at": desk.now.isoformat(),
        "department": incident.department,
    }
    if not desk.record(incident, "deadline_missed", payload, key=missed_key(clock), occurred_at=clock.due_at):
        return False
    clocks.notice_overdue(desk.session, clock.id, desk.now)
    desk.counts.overdue += 1
    return True


def stopped_by(desk: Desk, incident: IncidentView, moment: str, at: datetime) -> None:
    """Stop the clocks that `moment` stops; each is met or missed by comparing `at` with its due time."""
    for clock in clocks.close_deadlines(desk.session, incident.id, at=at, stops_on=moment):
        _closed(desk, incident, clock, at)


def _closed(
    desk: Desk, incident: IncidentView, clock: DeadlineView, at: datetime, *, by_rule: str = ""
) -> None:
    payload: dict[str, Any] = {
        "rule": clock.rule_id,
        "round": clock.round,
        "due_at": clock.due_at.isoformat(),
        "closed_at": at.isoformat(),
    }
    if by_rule:
        payload["by_rule"] = by_rule
    # the present holder's clock may be met once by each holder
    holder = f":{clock.started_at.isoformat()}" if clock.stops_on == "returned" else ""
    if clock.state == "missed":
        if clock.overdue_noticed_at is None:
            _missed(desk, incident, clock)
        # that it was missed may stand there already; that it was answered after all does not
        desk.record(
            incident, "deadline_answered_late", payload, key=f"late:{clock.id}{holder}", occurred_at=at
        )
        return
    if clock.overdue_noticed_at is not None:
        # we had called it overdue before we learned of the answer; that event stays, this one annuls it
        payload["annuls"] = f"{incident.id}:{missed_key(clock)}"
    desk.record(incident, "deadline_met", payload, key=f"met:{clock.id}{holder}", occurred_at=at)


def cancel(
    desk: Desk,
    incident: IncidentView,
    why: str,
    at: datetime,
    *,
    stops_on: str | None = None,
    rules: Collection[str] | None = None,
) -> list[DeadlineView]:
    """Take clocks back at `at` because the matter is none (false alarm), is counted elsewhere (merge) or is done.

    What had run out before was missed all the same, whether or not a tick of ours came in between.
    """
    closed = clocks.close_deadlines(
        desk.session, incident.id, at=at, stops_on=stops_on, rules=rules, outcome="cancelled"
    )
    # one clock may be taken back more than once, each time after it was resumed
    version = lifecycle.situation_of(desk.session, incident.id).version
    for clock in closed:
        if clock.due_at < at and clock.overdue_noticed_at is None:
            _missed(desk, incident, clock)
        payload = {
            "rule": clock.rule_id,
            "round": clock.round,
            "why": why,
            "due_at": clock.due_at.isoformat(),
            "closed_at": at.isoformat(),
        }
        desk.record(incident, "deadline_cancelled", payload, key=f"cancelled:{clock.id}:{version}")
    return closed


def _cancelled_for(desk: Desk, incident: IncidentView, why: str) -> set[str]:
    """Rules whose clock of this round was taken back for `why` and for nothing else since."""
    reasons: dict[str, str] = {}
    for event in lifecycle.history_of(desk.session, incident.id):
        if event.kind == "deadline_cancelled" and event.payload["round"] == incident.round:
            reasons[event.payload["rule"]] = event.payload["why"]
    return {rule for rule, reason in reasons.items() if reason == why}


def resume(
    desk: Desk, incident: IncidentView, why: str, *, among: Collection[str] | None = None
) -> list[DeadlineView]:
    """What had stopped clocks (`among` these rules) was taken back: they run on from where they had started."""
    rules = _cancelled_for(desk, incident, why)
    if among is not None:
        rules &= set(among)
    resumed = clocks.reopen_cancelled(desk.session, incident.id, incident.round, rules)
    for clock in resumed:
        payload = {
            "rule": clock.rule_id,
            "round": clock.round,
            "due_at": clock.due_at.isoformat(),
            "resumed": True,
        }
        version = lifecycle.situation_of(desk.session, incident.id).version
        desk.record(incident, "deadline_opened", payload, key=f"resumed:{clock.id}:{version}")
    return resumed


#: events that stop clocks, and where their payload says when
_STOPPED_AT = {"informed": "published_at", "responded": "published_at", "press_held": "held_at"}


def _settle_past(desk: Desk, incident: IncidentView, seq: int) -> None:
    """A clock that was opened late may have been answered before: what this round had seen by event `seq` counts for it."""
    for event in lifecycle.history_of(desk.session, incident.id):
        if event.seq > seq:
            return
        if event.kind not in _STOPPED_AT or event.round != incident.round:
            continue
        at = datetime.fromisoformat(event.payload[_STOPPED_AT[event.kind]])
        stopped_by(desk, incident, event.kind, at)
        if event.kind == "responded":
            stopped_by(desk, incident, "informed", at)


def told(desk: Desk, incident: IncidentView, rule: Rule, at: datetime, until: DueAt) -> None:
    """The caller was told how far it is and by when (H02, H03): that ends the time to answer and starts the promise."""
    replaced = {"H01"} if not rule.extends else {rule.extends}
    for clock in clocks.close_deadlines(desk.session, incident.id, at=at, rules=replaced):
        _closed(desk, incident, clock, at, by_rule=rule.id)
    open_rule(desk, incident, rule, at, due=until)


def level_changed(
    desk: Desk, incident: IncidentView, began_at: datetime, event: IncidentEvent
) -> list[DeadlineView]:
    """Another grade: its clocks start with the round too. Raising a grade never moves an end further away.

    Returns the clocks that a lower grade had stopped and that run on now.
    """
    wanted = {rule.id for rule in desk.bundle.rules.opened_by("detected", incident.level)}
    resumed = resume(desk, incident, "level_set", among=wanted)
    open_for(desk, incident, "detected", began_at)
    _settle_past(desk, incident, event.seq)
    if event.payload.get("lower"):
        graded = {rule.id for level in LEVELS for rule in desk.bundle.rules.opened_by("detected", level)}
        cancel(desk, incident, "level_set", event.occurred_at, rules=graded - wanted)
    return resumed
