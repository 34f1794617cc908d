"""Pages and their ladder: one rung after the other until somebody acknowledges.

A rung's window begins when a channel has *accepted* the page, so nobody is blamed for a page that went out late.
A rung whose page no channel accepted within two minutes is `unreachable`, not `unanswered`, and the next one is asked.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from alerts import ladder
from alerts.desk import Desk, mention
from alerts.ladder import Asked, Way
from alerts.message import Message, Occasion
from incidents import clocks, lifecycle, outbox, queries
from incidents.clocks import TimerView
from incidents.queries import IncidentView
from incidents.session import Session
from incidents.states import State

#: time in which some channel must have accepted a page
REACH = timedelta(minutes=2)
LADDER, REACHED = "ladder", "reach"
Cause = Literal["new", "unanswered", "unreachable", "returned", "reopened", "restored"]
#: states in which a page still asks for something: a person who assigned or closed it has seen it
_WAITING = (State.DETECTED, State.CONFIRMED)


def waiting(desk: Desk, incident: IncidentView, epoch: int) -> bool:
    """Whether the ladder of `epoch` still runs: nobody has acknowledged, and the incident is where it was."""
    return still_asks(desk.session, incident, epoch)


def still_asks(session: Session, incident: IncidentView, epoch: int) -> bool:
    """The same for a sender, just before a page goes out."""
    if incident.epoch != epoch or incident.state not in _WAITING:
        return False
    return lifecycle.situation_of(session, incident.id).page_acknowledged_epoch < epoch


def fire(desk: Desk, incident: IncidentView, step: int, cause: Cause) -> bool:
    """Ask rung `step` of the present epoch; False when that was done before."""
    route = desk.route(incident)
    people = ladder.asked_at(desk.bundle, route, step, desk.now)
    before = ladder.asked_at(desk.bundle, route, step - 1, desk.now) if step > 1 else []
    payload = {
        "step": step,
        "cause": cause,
        "route": route.name,
        "people": [{"id": p.person_id, "role": p.role, "reason": p.reason} for p in people],
    }
    if step > ladder.last_step(route):
        payload |= {"exhausted": True, "people": []}
        return desk.record(incident, "rung_fired", payload, key=f"rung:{incident.epoch}:{step}")
    if not desk.record(incident, "rung_fired", payload, key=f"rung:{incident.epoch}:{step}"):
        return False
    desk.counts.rungs += 1
    for person in people:
        if person.fallback:
            nobody = {"role": person.role, "step": step, "fallback": person.person_id}
            desk.record(
                incident, "no_one_on_duty", nobody, key=f"nobody:{incident.epoch}:{step}:{person.role}"
            )
    _send_pages(desk, incident, step, people, _headline(desk, step, cause), _because(desk, cause, before))
    if step == 1:
        _copies(desk, incident, cause)
    clocks.add_timer(
        desk.session,
        incident_id=incident.id,
        kind=REACHED,
        epoch=incident.epoch,
        step=step,
        due_at=desk.now + REACH,
    )
    return True


def _send_pages(
    desk: Desk, incident: IncidentView, step: int, people: list[Asked], headline: str, because: str
) -> None:
    """One row for each person and channel; the Slack channel gets one message that names all of them."""
    route = desk.route(incident)
    for person in people:
        message = desk.message(incident, _occasion(desk, incident, step, person, headline, because))
        for way in ladder.ways_to(desk.bundle, route, person):
            shown, extra = message, dict[str, object](person=person.person_id)
            if way.channel == "slack":
                shown, extra["broadcast"] = mention(message, people), step > 1
            desk.post(
                incident, way, shown, kind="page", step=step, priority=0 if step == 1 else 1, extra=extra
            )


def _occasion(
    desk: Desk, incident: IncidentView, step: int, person: Asked, headline: str, because: str
) -> Occasion:
    return Occasion(
        headline=headline,
        because=because,
        ask=_ask(desk, incident, step),
        link=desk.link(incident, step, person.person_id),
        button=desk.say("确认收到"),
        # the roster's own line is Chinese
        duty=desk.say.person(person.role, person.name) if desk.say.english else person.reason,
        urgent=True,
    )


def rewrite(desk: Desk, incident: IncidentView, step: int, person_id: str) -> Message:
    """The page of a rung written again, because its first channel refused it."""
    people = ladder.asked_at(desk.bundle, desk.route(incident), step, desk.now)
    asked = next((one for one in people if one.person_id == person_id), people[0])
    headline = _headline(desk, step, "new")
    return desk.message(
        incident, _occasion(desk, incident, step, asked, headline, desk.say("原渠道拒收，改由本渠道发送"))
    )


def _copies(desk: Desk, incident: IncidentView, cause: Cause) -> None:
    """The first message also goes to those whom the route names, without a request to acknowledge."""
    route = desk.route(incident)
    if incident.epoch > 1 or cause != "new":
        return
    addresses = []
    for name in route.copy_to:
        person = desk.bundle.roster.person(name)
        addresses.append(person.email if person else name)
    if route.tell_department:
        suggestion = desk.bundle.departments.suggest(incident.domain, incident.district)
        addresses.append(suggestion.department.contact.email)
    occasion = Occasion(desk.say("抄送·新事件"), ask=desk.say("抄送供知悉，无须签收。"))
    for address in filter(None, addresses):
        message = desk.message(incident, occasion)
        desk.post(incident, Way("email", address), message, kind="copy", step=1, priority=4)


def _headline(desk: Desk, step: int, cause: Cause) -> str:
    first = {
        "returned": desk.say("部门退回"),
        "reopened": desk.say("重新办理"),
        "restored": desk.say("恢复办理"),
    }
    if step == 1:
        return first.get(cause, desk.say("新事件"))
    return desk.say("第{step}级提醒", step=step)


def _because(desk: Desk, cause: Cause, before: list[Asked]) -> str:
    names = desk.say.join(desk.say.person(person.role, person.name) for person in before)
    minutes = desk.bundle.settings.alerts.ack_timeout_min
    if cause == "unanswered":
        return desk.say("{names}已收到，{minutes}分钟未确认", names=names, minutes=minutes)
    if cause == "unreachable":
        return desk.say("未能送达{names}（非本人未应答）", names=names)
    return ""


def _ask(desk: Desk, incident: IncidentView, step: int) -> str:
    """What happens when nobody presses the button."""
    route = desk.route(incident)
    minutes = desk.bundle.settings.alerts.ack_timeout_min
    if step < len(route.ladder):
        following = ladder.asked_at(desk.bundle, route, step + 1, desk.now)
        names = desk.say.join(desk.say.person(person.role, person.name) for person in following)
        return desk.say(
            "打开链接后按“确认收到”才算签收；{minutes}分钟内无人确认将提醒{names}。",
            minutes=minutes,
            names=names,
        )
    if step == len(route.ladder):
        return desk.say(
            "打开链接后按“确认收到”才算签收；{minutes}分钟内无人确认将再次提醒全部值班人员。", minutes=minutes
        )
    return desk.say("打开链接后按“确认收到”才算签收；各级均未确认，这是最后一次集中提醒，法定时限照常计算。")


def accepted(desk: Desk, incident: IncidentView, epoch: int, step: int, at: datetime) -> None:
    """A channel has taken the page of this rung: its window begins."""
    clocks.add_timer(
        desk.session,
        incident_id=incident.id,
        kind=LADDER,
        epoch=epoch,
        step=step,
        due_at=at + timedelta(minutes=desk.bundle.settings.alerts.ack_timeout_min),
    )


def on_timer(desk: Desk, timer: TimerView) -> None:
    """The window of a rung, or the time to reach it, is over."""
    incident = queries.get_incident(desk.session, timer.incident_id)
    fired = False
    if incident is not None and waiting(desk, incident, timer.epoch):
        if timer.kind == LADDER:
            fired = fire(desk, incident, timer.step + 1, "unanswered")
        elif not _was_accepted(desk, incident, timer.epoch, timer.step):
            fired = fire(desk, incident, timer.step + 1, "unreachable")
    clocks.finish_timer(desk.session, timer.id, "fired" if fired else "superseded", desk.now)


def _was_accepted(desk: Desk, incident: IncidentView, epoch: int, step: int) -> bool:
    return any(
        row.kind == "page" and row.epoch == epoch and row.step == step and row.state == "sent"
        for row in outbox.messages_of(desk.session, incident.id)
    )


def stop(desk: Desk, incident_id: int, up_to_epoch: int) -> None:
    """Nobody needs to be asked any more in these epochs."""
    clocks.cancel_timers(
        desk.session, incident_id, desk.now, kinds=(LADDER, REACHED), up_to_epoch=up_to_epoch
    )
    outbox.supersede(desk.session, incident_id, desk.now, kinds=("page", "copy"), below_epoch=up_to_epoch + 1)
