"""Pages and their ladder: one rung after the other until somebody acknowledges.

A rung's window begins when a channel has *accepted* the page, so nobody is blamed for a page that went out late.
A rung whose page no channel accepted within two minutes is `unreachable`, not `unanswered`, and the next one is asked.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from alerts import facts, ladder, slack_actions, units
from alerts.desk import Desk, mention
from alerts.ladder import Asked, Way
from alerts.message import Message, Occasion
from config.bundle import Bundle
from config.routes import Route
from incidents import clocks, ladders, lifecycle, outbox, queries
from incidents.clocks import TimerView
from incidents.queries import IncidentView
from incidents.session import Session
from incidents.states import AskAgain, State

#: time in which some channel must have accepted a page
REACH = timedelta(minutes=2)
LADDER, REACHED = "ladder", "reach"
#: acknowledged, but is anything done? / was it confirmed or dismissed at all?
PROGRESS, OUTER = "progress", "outer"
Cause = Literal[
    "new", "unanswered", "unreachable", "returned", "reopened", "restored", "unmerged", "asked_again", "joint"
]
#: states in which a page still asks for something: a person who assigned or closed it has seen it
_WAITING = (State.DETECTED, State.CONFIRMED)


def waiting(desk: Desk, incident: IncidentView, epoch: int) -> bool:
    """Whether the ladder of `epoch` still runs: those who must have not all acknowledged, and the incident is where it was."""
    return still_asks(desk.session, incident, epoch)


def still_asks(session: Session, incident: IncidentView, epoch: int, person: str = "") -> bool:
    """The same for a sender, just before a page goes out; who has acknowledged is not asked again."""
    if incident.epoch != epoch or incident.state not in _WAITING:
        return False
    now = lifecycle.situation_of(session, incident.id)
    if now.confirmed_epoch >= epoch:  # whoever found it real has seen it
        return False
    if now.page_acknowledged_epoch < epoch:
        return True
    return (
        bool(missing(session, incident.id, epoch, now.acknowledged_by)) and person not in now.acknowledged_by
    )


def missing(session: Session, incident_id: int, epoch: int, by: tuple[str, ...]) -> tuple[str, ...]:
    """Roles whose acknowledgement is still required. Somebody who was not asked stands in for one of them."""
    frozen = ladders.get(session, incident_id, epoch)
    required = tuple(frozen.frozen.get("required") or ()) if frozen is not None else ()
    if not required:
        return ()
    asked = ladders.asked_roles(session, incident_id, epoch)
    given = {role for person in by for role in asked.get(person, ())}
    strangers = sum(person not in asked for person in by)
    return tuple(role for role in required if role not in given)[strangers:]


def _freeze(desk: Desk, incident: IncidentView) -> None:
    """Keep the rungs of this epoch as they are configured now."""
    if ladders.get(desk.session, incident.id, incident.epoch) is not None:
        return
    route = ladder.route_of(desk.bundle, incident)
    frozen = route.model_dump(mode="json")
    detected = incident.detected_at or desk.now
    outer = detected + timedelta(minutes=_minutes(desk.bundle, "outer_min", incident.level))
    payload = {
        "route": route.name,
        "frozen": frozen,
        "started_at": desk.now.isoformat(),
        "outer_due_at": outer.isoformat(),
    }
    if not desk.record(incident, "ladder_started", payload, key=f"ladder:{incident.epoch}"):
        return
    ladders.begin(
        desk.session,
        incident.id,
        incident.epoch,
        route=route.name,
        frozen=frozen,
        now=desk.now,
        outer_due_at=outer,
    )
    clocks.add_timer(
        desk.session, incident_id=incident.id, kind=OUTER, epoch=incident.round, step=0, due_at=outer
    )


def _minutes(bundle: Bundle, name: str, level: str) -> int:
    """A number of the settings that goes by grade; an unnamed grade has the strictest one's."""
    table: dict[str, int] = getattr(bundle.settings.alerts, name)
    return table.get(level, min(table.values(), default=60))


def joint_rounds(bundle: Bundle, route: Route, level: str) -> int:
    """Number of the last step: the rungs, one joint round, and its repeats for grave matters."""
    return ladder.last_step(route) + bundle.settings.alerts.joint_repeats.get(level, 0)


def fire(desk: Desk, incident: IncidentView, step: int, cause: Cause, *, after_old_end: bool = False) -> bool:
    """Ask rung `step` of the present epoch; False when that was done before.

    `after_old_end`: an older version has kept the end of the ladder under the name of this rung.
    """
    if step == 1:
        _freeze(desk, incident)
    route = desk.route(incident)
    by = lifecycle.situation_of(desk.session, incident.id).acknowledged_by
    people = [
        person for person in ladder.asked_at(desk.bundle, route, step, desk.now) if person.person_id not in by
    ]
    before = ladder.asked_at(desk.bundle, route, step - 1, desk.now) if step > 1 else []
    if step > joint_rounds(desk.bundle, route, incident.level):
        # not a rung: a higher grade may still ask this one
        ended = {"step": step, "cause": cause, "level": incident.level}
        return desk.record(incident, "ladder_ended", ended, key=f"ladder-ended:{incident.epoch}:{step}")
    payload = {
        "step": step,
        "cause": cause,
        "route": route.name,
        "people": [{"id": p.person_id, "role": p.role, "reason": p.reason} for p in people],
    }
    key = f"rung:{incident.epoch}:{step}" + (":after-end" if after_old_end else "")
    if not desk.record(incident, "rung_fired", payload, key=key):
        return False
    desk.counts.rungs += 1
    if not people:  # everybody of this rung has acknowledged already: those who are missing stand further up
        return fire(desk, incident, step + 1, cause)
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


def resume(desk: Desk, incident: IncidentView) -> None:
    """A higher grade asks more often: a ladder that had come to its end goes on."""
    if not waiting(desk, incident, incident.epoch):
        return
    rungs = [
        event
        for event in lifecycle.history_of(desk.session, incident.id)
        if event.kind in ("rung_fired", "ladder_ended") and event.epoch == incident.epoch
    ]
    if not rungs:
        return
    # until ladder_ended was an event of its own, the end was kept as a rung that asked nobody
    old_end = bool(rungs[-1].payload.get("exhausted"))
    step = int(rungs[-1].payload["step"])
    if (rungs[-1].kind == "ladder_ended" or old_end) and step <= joint_rounds(
        desk.bundle, desk.route(incident), incident.level
    ):
        fire(desk, incident, step, "joint", after_old_end=old_end)


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
            elif called := ladder.mention_in(person, way.channel):
                extra["mention"] = called
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
        press=_press(desk, incident, step),
        # the roster's own line is Chinese
        duty=desk.say.person(person.role, person.name) if desk.say.english else person.reason,
        urgent=True,
    )


def _press(desk: Desk, incident: IncidentView, step: int) -> tuple[dict[str, Any], ...]:
    """Slack's own buttons, where presses can reach us."""
    if not slack_actions.interactive(desk.bundle):
        return ()
    token = slack_actions.value(desk.keys, desk.bundle, incident.id, incident.epoch, step, desk.now)
    return tuple(slack_actions.buttons(desk.say, token))


def rewrite(desk: Desk, incident: IncidentView, step: int, person_id: str) -> Message:
    """The page of a rung written again, because its first channel refused it or keeps it waiting."""
    people = ladder.asked_at(desk.bundle, desk.route(incident), step, desk.now)
    asked = next((one for one in people if one.person_id == person_id), people[0])
    headline = _headline(desk, step, "new")
    return desk.message(
        incident, _occasion(desk, incident, step, asked, headline, desk.say("原渠道未能送达，改由本渠道发送"))
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
        suggestion = facts.suggestion_of(desk.session, desk.bundle, incident)
        if not units.kept_from(desk, incident, [suggestion.department.id]):
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
        "unmerged": desk.say("取消并入"),
        "asked_again": desk.say("确认后无进展"),
    }
    if step > 1 and cause == "joint":
        return desk.say("全体再次提醒")
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
    if step < joint_rounds(desk.bundle, route, incident.level):
        every = desk.bundle.settings.alerts.joint_every_min if step > len(route.ladder) else minutes
        return desk.say(
            "打开链接后按“确认收到”才算签收；{minutes}分钟内无人确认将再次提醒全部值班人员。", minutes=every
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
        due_at=at + timedelta(minutes=_window(desk, incident, step)),
    )


def _window(desk: Desk, incident: IncidentView, step: int) -> int:
    """Minutes that a rung has to acknowledge; joint rounds come further apart."""
    alerts = desk.bundle.settings.alerts
    joint = step >= ladder.last_step(desk.route(incident))
    return alerts.joint_every_min if joint else alerts.ack_timeout_min


def acknowledged(desk: Desk, incident: IncidentView, epoch: int) -> bool:
    """Somebody has acknowledged. True when nobody is missing: the ladder ends, and progress is watched from now on."""
    if incident.epoch != epoch:
        stop(desk, incident.id, epoch)
        return True
    by = lifecycle.situation_of(desk.session, incident.id).acknowledged_by
    if missing(desk.session, incident.id, epoch, by):
        return False
    stop(desk, incident.id, epoch)
    watch_progress(desk, incident, epoch)
    return True


def watch_progress(desk: Desk, incident: IncidentView, epoch: int, *, anew: bool = False) -> None:
    """Somebody has seen it: something must be done within the grade's time from now, or from what was done (`anew`)."""
    if incident.epoch == epoch and incident.state in _WAITING:
        set_timer = clocks.set_timer if anew else clocks.add_timer
        set_timer(
            desk.session,
            incident_id=incident.id,
            kind=PROGRESS,
            epoch=epoch,
            step=0,
            due_at=desk.now + timedelta(minutes=_minutes(desk.bundle, "progress_min", incident.level)),
        )


def on_progress(desk: Desk, timer: TimerView) -> None:
    """Acknowledged a while ago: if nothing was done since, the ladder begins anew in the next epoch."""
    incident = queries.get_incident(desk.session, timer.incident_id)
    idle = incident is not None and incident.epoch == timer.epoch and incident.state in _WAITING
    if idle and incident is not None:
        minutes = _minutes(desk.bundle, "progress_min", incident.level)
        lifecycle.handle(
            desk.session,
            incident.id,
            AskAgain(desk.say("确认后{minutes}分钟无进展", minutes=minutes)),
            actor="system",
            channel="system",
            now=desk.now,
            idempotency_key=f"{incident.id}:ask-again:{timer.epoch}",
        )
    clocks.finish_timer(desk.session, timer.id, "fired" if idle else "superseded", desk.now)


def on_outer(desk: Desk, timer: TimerView) -> None:
    """The outer clock: whoever acknowledged or was asked again, by now somebody must have confirmed or dismissed it."""
    incident = queries.get_incident(desk.session, timer.incident_id)
    late = incident is not None and incident.round == timer.epoch and incident.state == State.DETECTED
    if late and incident is not None:
        _outer(desk, incident)
    clocks.finish_timer(desk.session, timer.id, "fired" if late else "superseded", desk.now)


def hasten_outer(desk: Desk, incident: IncidentView) -> None:
    """A higher grade must be assessed sooner: the outer clock ends as if the matter had come with it, never later."""
    if incident.state != State.DETECTED or incident.detected_at is None:
        return
    due = incident.detected_at + timedelta(minutes=_minutes(desk.bundle, "outer_min", incident.level))
    clocks.hasten_timer(
        desk.session, incident_id=incident.id, kind=OUTER, epoch=incident.round, step=0, due_at=due
    )


def watch_outer(desk: Desk, incident: IncidentView) -> None:
    """A merge was taken back: if the outer clock ran out meanwhile, it was passed over and is due now."""
    if incident.state == State.DETECTED:
        clocks.revive_timer(desk.session, incident_id=incident.id, kind=OUTER, epoch=incident.round, step=0)


def _outer(desk: Desk, incident: IncidentView) -> None:
    route = desk.route(incident)
    people = {
        person.person_id: person
        for person in (
            *ladder.asked_at(desk.bundle, route, ladder.last_step(route), desk.now),
            ladder.on_duty(desk.bundle, "leader", desk.now),
        )
    }
    since = desk.now - (incident.detected_at or desk.now)
    payload = {"people": sorted(people), "since_s": round(since.total_seconds())}
    if not desk.record(incident, "outer_passed", payload, key=f"outer:{incident.round}"):
        return
    occasion = Occasion(
        desk.say("至今无人研判"),
        desk.say("发现后{span}仍未研判属实或误报", span=desk.say.span(since)),
        ask=desk.say("请立即研判：属实则交办，误报则注明原因。"),
        urgent=True,
    )
    desk.tell(incident, list(people.values()), occasion, kind="outer", step=incident.round, priority=1)
    office = desk.bundle.departments.get(desk.bundle.departments.supervision)
    if office is not None and office.contact.email and not units.kept_from(desk, incident, [office.id]):
        message = desk.message(incident, occasion)
        desk.post(
            incident,
            Way("email", office.contact.email),
            message,
            kind="outer",
            step=incident.round,
            priority=1,
        )


def on_timer(desk: Desk, timer: TimerView) -> None:
    """The window of a rung, or the time to reach it, is over."""
    incident = queries.get_incident(desk.session, timer.incident_id)
    fired = False
    if incident is not None and waiting(desk, incident, timer.epoch):
        if timer.kind == LADDER:
            last = ladder.last_step(desk.route(incident))
            fired = fire(desk, incident, timer.step + 1, "joint" if timer.step >= last else "unanswered")
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
    if ended := ladders.stop(desk.session, incident_id, up_to_epoch, desk.now):
        lifecycle.record(
            desk.session,
            incident_id,
            "ladder_stopped",
            {"epochs": ended, "at": desk.now.isoformat()},
            now=desk.now,
            idempotency_key=f"{incident_id}:ladder-stopped:{max(ended)}",
        )
    clocks.cancel_timers(
        desk.session, incident_id, desk.now, kinds=(LADDER, REACHED), up_to_epoch=up_to_epoch
    )
    outbox.supersede(desk.session, incident_id, desk.now, kinds=("page", "copy"), below_epoch=up_to_epoch + 1)
