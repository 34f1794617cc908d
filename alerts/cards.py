"""Words about a clock that runs: half time, yellow card 黄牌, red card 红牌, to the duty officer and the department."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta

from alerts import facts, ladder, units
from alerts.desk import Desk
from alerts.ladder import Asked
from alerts.message import Message, Occasion
from incidents import clocks, queries
from incidents.clocks import DeadlineView, TimerView
from incidents.queries import IncidentView
from incidents.states import State

REMIND, YELLOW, RED = "remind", "yellow", "red"
#: share of an hour clock after which the yellow card comes (for working days: the morning of the last one)
_YELLOW_SHARE = 0.8
#: cards of day clocks are dealt when offices open, never at midnight
_OFFICE_OPENS = time(8, 30)


#: begins a line of a trace that says how a running clock was moved
MOVED = "＋ "


def times_moved(clock: DeadlineView) -> int:
    """How often this clock got another end."""
    return sum(line.startswith(MOVED) for line in clock.trace)


def _step(clock: DeadlineView) -> int:
    """Number of a clock's cards: after a move there may be a second yellow card, never a second one for one end."""
    moved = times_moved(clock)
    return -(clock.id * 16 + moved % 16) if moved else clock.id


def set_timers(desk: Desk, clock: DeadlineView, unit: str) -> None:
    """Half time and the yellow card, each a timer of its own; `step` is the clock's number."""
    yellow = yellow_at(clock.started_at, clock.due_at, unit, desk)
    half = clock.started_at + (clock.due_at - clock.started_at) / 2
    for kind, due_at in ((REMIND, half), (YELLOW, yellow)):
        if clock.started_at < due_at < clock.due_at:
            clocks.set_timer(
                desk.session,
                incident_id=clock.incident_id,
                kind=kind,
                epoch=clock.round,
                step=clock.id,
                due_at=due_at,
                payload={"yellow_at": yellow.isoformat()},
            )


def yellow_at(started_at: datetime, due_at: datetime, unit: str, desk: Desk) -> datetime:
    """黄牌: one working day before the end; for clocks in hours when four fifths are used (our own choice)."""
    if unit == "calendar_hours":
        return started_at + (due_at - started_at) * _YELLOW_SHARE
    last_day = desk.calendar.local_day(due_at - timedelta(minutes=1))
    return datetime.combine(last_day, _OFFICE_OPENS, desk.calendar.zone)


def red_not_before(due_at: datetime, unit: str, desk: Desk) -> datetime:
    """红牌: for day clocks in the morning of the first working day after the end, else at once."""
    if unit == "calendar_hours":
        return due_at
    last_day = desk.calendar.local_day(due_at - timedelta(minutes=1))
    return datetime.combine(desk.calendar.next_workday(last_day).date, _OFFICE_OPENS, desk.calendar.zone)


def on_timer(desk: Desk, timer: TimerView) -> None:
    """Half time or yellow card of one clock, unless the clock was stopped or a stronger word is due."""
    incident = queries.get_incident(desk.session, timer.incident_id)
    clock = _open_clock(desk, timer.incident_id, timer.step)
    late = timer.kind == REMIND and desk.now >= datetime.fromisoformat(timer.payload["yellow_at"])
    useful = incident is not None and clock is not None and desk.now < clock.due_at and not late
    if useful and incident is not None and clock is not None:
        _remind(desk, incident, clock, timer.kind)
    clocks.finish_timer(desk.session, timer.id, "fired" if useful else "superseded", desk.now)


def _open_clock(desk: Desk, incident_id: int, clock_id: int) -> DeadlineView | None:
    return next(
        (
            clock
            for clock in clocks.deadlines_of(desk.session, incident_id)
            if clock.id == clock_id and clock.state == "open"
        ),
        None,
    )


def _action(desk: Desk, clock: DeadlineView) -> str:
    rule = facts.rule_of(desk.bundle, clock.rule_id)
    return desk.say(rule.action) if rule else clock.rule_id


def _unit(desk: Desk, clock: DeadlineView) -> str:
    rule = facts.rule_of(desk.bundle, clock.rule_id)
    return rule.unit if rule else "calendar_hours"


def _remind(desk: Desk, incident: IncidentView, clock: DeadlineView, kind: str) -> None:
    left = desk.say.span(clock.due_at - desk.now)
    action = _action(desk, clock)
    if kind == REMIND:
        because = desk.say("“{action}”时限已过半，还有{left}", action=action, left=left)
        headline = desk.say("时限过半")
    else:
        because = desk.say("“{action}”时限将到，还有{left}", action=action, left=left)
        headline = desk.say("黄牌")
    if incident.state == State.ASSIGNED:
        because += desk.say("；部门尚未签收")
    because += _stand_back(desk, incident)
    occasion = Occasion(headline, because, ask=desk.say("请尽快办理；时限不因催办、转办而延长。"))
    people = [ladder.on_duty(desk.bundle, "primary", desk.now)]
    _tell_all(desk, incident, people, occasion, kind=kind, step=_step(clock), priority=3)


def _tell_all(
    desk: Desk,
    incident: IncidentView,
    people: Sequence[Asked],
    occasion: Occasion,
    *,
    kind: str,
    step: int,
    priority: int,
) -> None:
    """The department and these people read the same words, written once."""
    message = desk.message(incident, occasion)
    tell_department(desk, incident, occasion, kind=kind, step=step, priority=priority, message=message)
    desk.tell(incident, people, occasion, kind=kind, step=step, priority=priority, message=message)


def tell_department(
    desk: Desk,
    incident: IncidentView,
    occasion: Occasion,
    *,
    kind: str,
    step: int,
    priority: int,
    message: Message | None = None,
) -> bool:
    """The same words to the office of the responsible department; False when it has no address or must not be told."""
    if not incident.department:
        return False
    return units.tell(
        desk,
        incident,
        incident.department,
        occasion,
        kind=kind,
        step=step,
        priority=priority,
        message=message,
    )


def _stand_back(desk: Desk, incident: IncidentView) -> str:
    """What the duty officer has to know of a unit in charge that is complained of by now; usually nothing."""
    barred = units.kept_from(desk, incident, (incident.department, *incident.co))
    if not barred:
        return ""
    return desk.say("；{units}现被投诉，应当回避，请转办", units=desk.bundle.departments.names(barred))


def red(desk: Desk, incident: IncidentView, clock: DeadlineView) -> None:
    occasion = Occasion(
        desk.say("红牌·已超时"),
        desk.say(
            "“{action}”应于 {due} 前完成，仍未完成",
            action=_action(desk, clock),
            due=desk.say.at(clock.due_at),
        )
        + _stand_back(desk, incident),
        ask=desk.say("请立即办理并说明原因；是否督办由负责人决定。"),
        urgent=True,
    )
    people: dict[str, Asked] = {}
    for person in (
        ladder.on_duty(desk.bundle, "primary", desk.now),
        ladder.on_duty(desk.bundle, "leader", desk.now),
    ):
        people.setdefault(person.person_id, person)
    # a red card of a day clock waits for the office to open, an hour clock's does not
    later = red_not_before(clock.due_at, _unit(desk, clock), desk)
    if later > desk.now:
        clocks.set_timer(
            desk.session,
            incident_id=incident.id,
            kind=RED,
            epoch=clock.round,
            step=clock.id,
            due_at=later,
        )
        return
    _tell_all(desk, incident, list(people.values()), occasion, kind=RED, step=_step(clock), priority=2)


def on_red_timer(desk: Desk, timer: TimerView) -> None:
    """The red card of a day clock, on the first working morning after it ran out, if it is still open."""
    incident = queries.get_incident(desk.session, timer.incident_id)
    clock = _open_clock(desk, timer.incident_id, timer.step)
    if incident is not None and clock is not None:
        red(desk, incident, clock)
    clocks.finish_timer(
        desk.session,
        timer.id,
        "fired" if incident is not None and clock is not None else "superseded",
        desk.now,
    )
