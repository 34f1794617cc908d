"""The watched time to answer a supervision order 督办单: ten working days, then supervision is told that no answer came."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from alerts import units
from alerts.calendar import WorkCalendar
from alerts.clocks import DueAt, Text, compute_deadline
from alerts.desk import Desk
from alerts.ladder import Way
from alerts.message import Occasion
from incidents import clocks, letters, queries
from incidents.clocks import TimerView


@dataclass(frozen=True)
class WorkingDays:
    """So many working days, as a rule that can be counted."""

    id: str
    amount: int
    unit: str = "workdays"


def working_days_after(
    days: int, start: datetime, calendar: WorkCalendar, name: str, text: Text | None = None
) -> DueAt:
    """The end of `days` working days after `start`, with its trace (民法典第201条: the first day is not counted)."""
    rule = WorkingDays(name, days)
    return compute_deadline(rule, start, calendar, text) if text else compute_deadline(rule, start, calendar)


def on_timer(desk: Desk, timer: TimerView) -> None:
    """The time to answer is over: an event, and one message to supervision, unless the answer is there."""
    letter = letters.notice_overdue(desk.session, timer.step, desk.now)
    incident = queries.get_incident(desk.session, timer.incident_id)
    if letter is not None and incident is not None and letter.reply_due_at is not None:
        desk.counts.overdue += 1
        office = desk.bundle.departments.get(desk.bundle.departments.supervision)
        if office is not None and office.contact.email and not units.kept_from(desk, incident, [office.id]):
            occasion = Occasion(
                desk.say("督办单逾期未复"),
                desk.say(
                    "{unit}应于 {due} 前回复督办单，仍未回复",
                    unit=desk.bundle.departments.zh(letter.department),
                    due=desk.say.at(letter.reply_due_at),
                ),
                ask=desk.say("请在工作台“问责”页查看。"),
            )
            desk.post(
                incident,
                Way("email", office.contact.email),
                desk.message(incident, occasion),
                kind="letter",
                step=letter.id,
                priority=3,
            )
    clocks.finish_timer(desk.session, timer.id, "fired" if letter is not None else "superseded", desk.now)
