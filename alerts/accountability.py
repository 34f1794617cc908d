"""From a missed clock to a supervision order and beyond: what the rule file's ladder L3 to L7 asks for, as proposals.

Reminder, yellow and red card (L0 to L2) are dealt by `alerts.cards` alone. From L3 on the software only proposes: it
gathers the evidence, tells supervision, and a named person decides. How much of a delay was the system's own stands in
the evidence: nobody answers for a page that went out late.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from alerts import facts, units
from alerts.desk import Desk
from alerts.ladder import Way
from alerts.message import Occasion
from incidents import accountability, clocks, queries
from incidents.clocks import DeadlineView, TimerView
from incidents.queries import IncidentView

#: proposes the next step when the one before has not helped
FOLLOW = "follow"
#: working days after an approved step until the next one is proposed
_AFTER_ORDER, _AFTER_CENSURE = 5, 10
_GRAVE = ("major", "critical")


def on_missed(desk: Desk, incident: IncidentView, clock: DeadlineView) -> None:
    """A clock has run out: a supervision order (L3), and for grave matters the question of the notice's grounds (L6)."""
    about = f"{clock.rule_id}:{clock.round}"
    _propose(desk, incident, "L3", f"L3:{about}", clock)
    if incident.level in _GRAVE:
        _propose(desk, incident, "L6", f"L6:{about}", clock)


def on_annulled(desk: Desk, incident: IncidentView, rule_id: str, round_: int) -> None:
    """The clock was met after all: an answer that had been published in time was entered late."""
    accountability.withdraw(
        desk.session,
        incident.id,
        why=desk.say("已查明时限内完成"),
        now=desk.now,
        about=f":{rule_id}:{round_}",
    )


def on_reopened(desk: Desk, incident: IncidentView) -> None:
    """A matter that comes back again and again is one for coordination (L4)."""
    if incident.round >= 3:
        _propose(desk, incident, "L4", f"L4:reopened:{incident.round}", None)


def on_gone(desk: Desk, incident: IncidentView, why: str) -> None:
    """False alarm or merged: nothing is to be answered for here."""
    accountability.withdraw(desk.session, incident.id, why=why, now=desk.now)


def on_decided(desk: Desk, incident: IncidentView, given: dict[str, Any]) -> None:
    """After an approved step the next one is looked at some working days later."""
    following = {"L3": ("L4", _AFTER_ORDER), "L6": ("L7", _AFTER_CENSURE)}.get(str(given["level"]))
    if given["state"] != "approved" or following is None:
        return
    level, days = following
    clocks.add_timer(
        desk.session,
        incident_id=incident.id,
        kind=FOLLOW,
        epoch=incident.round,
        step=int(level[1:]),
        due_at=_working_days_on(desk, desk.now, days),
        payload={"level": level, "key": str(given["key"]).replace(str(given["level"]), level, 1)},
    )


def on_timer(desk: Desk, timer: TimerView) -> None:
    """An order was given a while ago: if the matter is still open and unanswered, the next step is proposed."""
    incident = queries.get_incident(desk.session, timer.incident_id)
    needed = incident is not None and incident.is_open and incident.responded_at is None
    if needed and incident is not None:
        _propose(desk, incident, timer.payload["level"], timer.payload["key"], None)
    clocks.finish_timer(desk.session, timer.id, "fired" if needed else "superseded", desk.now)


def _working_days_on(desk: Desk, start: datetime, days: int) -> datetime:
    day = desk.calendar.local_day(start)
    for _ in range(days):
        day = desk.calendar.next_workday(day).date
    return start + timedelta(days=(day - desk.calendar.local_day(start)).days)


def _propose(desk: Desk, incident: IncidentView, level: str, key: str, clock: DeadlineView | None) -> None:
    rung = desk.bundle.rules.rung(level)
    if rung is None:
        return  # this city's rules have no such step
    evidence = _evidence(desk, incident, clock)
    new = accountability.propose(
        desk.session,
        incident.id,
        key=key,
        level=level,
        department=incident.department,
        evidence=evidence,
        now=desk.now,
    )
    if not new:
        return
    office = desk.bundle.departments.get(desk.bundle.departments.supervision)
    if office is None or not office.contact.email or units.kept_from(desk, incident, [office.id]):
        return
    unit = desk.bundle.departments.zh(incident.department) if incident.department else desk.say("尚未交办")
    occasion = Occasion(
        desk.say("建议{step}", step=rung.name),
        desk.say("{unit}：{what}", unit=unit, what=evidence["sentence"]),
        ask=desk.say("系统只提建议，由{approver}决定；请在工作台“督办”页处理。", approver=rung.approver),
    )
    message = desk.message(incident, occasion)
    desk.post(
        incident,
        Way("email", office.contact.email),
        message,
        kind="proposal",
        step=int(level[1:]) * 1000 + (clock.id if clock else incident.round),
        priority=3,
    )


def _evidence(desk: Desk, incident: IncidentView, clock: DeadlineView | None) -> dict[str, Any]:
    """What the proposal rests on: clock with clause, the acts of the unit, and the share that was our own."""
    events = queries.events_of(desk.session, incident.id)
    kinds = (
        "assigned",
        "signed",
        "returned",
        "informed",
        "press_held",
        "responded",
        "clock_extended",
        "reopened",
    )
    found: dict[str, Any] = {
        "events": [event.seq for event in events if event.kind in (*kinds, "deadline_missed")],
        "system": _system_share(incident, events),
        "rounds": incident.round,
    }
    if clock is None:
        found["sentence"] = desk.say("第{n}轮办理，仍未解决", n=incident.round)
        return found
    rule = facts.rule_of(desk.bundle, clock.rule_id)
    late = max(timedelta(0), desk.now - clock.due_at)
    found |= {
        "rule": clock.rule_id,
        "due_at": clock.due_at.isoformat(),
        "late_s": round(late.total_seconds()),
        "source": rule.source if rule else "",
        "quote": rule.quote if rule else "",
    }
    found["sentence"] = desk.say(
        "“{action}”应于 {due} 前完成，未完成",
        action=desk.say(rule.action) if rule else clock.rule_id,
        due=desk.say.at(clock.due_at),
    )
    return found


def _system_share(incident: IncidentView, events: list[queries.EventView]) -> dict[str, Any]:
    """Delays that are the system's or the duty desk's, not the department's."""
    unreachable = [
        e.seq for e in events if e.kind == "rung_fired" and e.payload.get("cause") == "unreachable"
    ]
    found: dict[str, Any] = {"unreachable": unreachable}
    if incident.detected_at and incident.assigned_at:
        found["until_assigned_s"] = round((incident.assigned_at - incident.detected_at).total_seconds())
    waits = [float(e.payload.get("waited_s") or 0) for e in events if e.kind == "page_sent"]
    found["longest_page_wait_s"] = max(waits, default=0.0)
    return found
