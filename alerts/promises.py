"""Promises 承诺 of official answers: when their day has passed and nobody has said what became of them, somebody is asked."""

from __future__ import annotations

from datetime import datetime, time, timedelta

from alerts import ladder, units
from alerts.calendar import WorkCalendar
from alerts.desk import Desk
from alerts.message import Occasion
from incidents import clocks, promises, queries
from incidents.clocks import TimerView
from incidents.models import IncidentEvent
from incidents.promises import Promise
from incidents.queries import IncidentView

#: kind of timer and of message
KIND = "promise"
#: most working days that are counted: more is a misread number
_MOST = 250


def due_of(promise: Promise, calendar: WorkCalendar) -> datetime | None:
    """The end of its last day: as proposed, or so many working days after the day of the answer, by the calendar."""
    if promise.due_at is not None or promise.workdays is None or promise.workdays > _MOST:
        return promise.due_at
    day = calendar.local_day(promise.made_at)
    for _ in range(promise.workdays):
        day = calendar.next_workday(day).date
    return datetime.combine(day + timedelta(days=1), time(), calendar.zone)


def on_confirmed(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    """A person confirmed a promise, or moved its date: it is looked at when its day has passed."""
    clocks.add_timer(
        desk.session,
        incident_id=incident.id,
        kind=KIND,
        epoch=0,
        step=event.seq,
        due_at=datetime.fromisoformat(event.payload["due_at"]),
        payload={"key": event.payload["key"]},
    )


def on_timer(desk: Desk, timer: TimerView) -> None:
    """Its day has passed: if nothing was entered, the duty officer and the department are asked, once."""
    key = str(timer.payload["key"])
    incident = queries.get_incident(desk.session, timer.incident_id)
    told = incident is not None and promises.notice_overdue(desk.session, incident.id, key, desk.now)
    if told and incident is not None:
        promise = promises.get(desk.session, incident.id, key)
        if promise is not None:
            _tell(desk, incident, promise, timer.step)
    clocks.finish_timer(desk.session, timer.id, "fired" if told else "superseded", desk.now)


def _tell(desk: Desk, incident: IncidentView, promise: Promise, step: int) -> None:
    departments = desk.bundle.departments
    name = departments.zh(promise.department) if promise.department else desk.say("尚未交办")
    because = desk.say(
        "{unit}答复中承诺“{text}”，期限 {due} 已过，是否兑现尚未登记",
        unit=name,
        text=promise.text,
        due=desk.say.at(promise.due_at) if promise.due_at else "",
    )
    occasion = Occasion(
        desk.say("承诺到期"),
        because,
        ask=desk.say("请核实后在事件页登记已兑现或未兑现，并附链接或文号。"),
    )
    people = [ladder.on_duty(desk.bundle, "primary", desk.now)]
    desk.tell(incident, people, occasion, kind=KIND, step=step, priority=5, slack=False)
    unit = Occasion(desk.say("承诺到期"), because, ask=desk.say("请将办理结果和凭证报值班台，由值班台登记。"))
    units.tell(desk, incident, promise.department, unit, kind=KIND, step=step, priority=5)
