"""What each event of the record means for clocks, ladder and messages. One function for each kind of event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from alerts import accountability, cards, duties, facts, ladder, moves, paging, promises, units
from alerts.desk import Desk
from alerts.ladder import Asked
from alerts.message import Occasion, escape
from incidents import clocks, lifecycle, outbox, queries
from incidents.clocks import DeadlineView
from incidents.models import IncidentEvent
from incidents.queries import IncidentView
from incidents.states import LEVELS

#: messages that are withdrawn when the incident is done with
_ABOUT_OPEN = ("page", "copy", "remind", "yellow", "red", "assignment", "co_assignment", "update")


def on_event(desk: Desk, event: IncidentEvent) -> None:
    """Carry out what one event asks for; events of no incident and of no interest are passed over."""
    reaction = _REACTIONS.get(event.kind)
    if reaction is None or event.incident_id is None:
        return
    incident = queries.get_incident(desk.session, event.incident_id)
    if incident is not None:
        # after an outage the incident may be a round further on: clocks belong to the round of their event
        reaction(desk, replace(incident, round=event.round), event)
        desk.counts.events += 1


def _then(desk: Desk, incident: IncidentView, event: IncidentEvent) -> IncidentView:
    """The incident with the grade that it had after `event`: clocks go by what was, not by what has become of it since."""
    now = lifecycle.situation_of(desk.session, incident.id)
    if event.version is None or now.level_version <= event.version:
        return incident
    return replace(incident, level=lifecycle.situation_then(desk.session, incident.id, event.seq).level)


def actor_name(desk: Desk, actor: str) -> str:
    """The name of a person of the roster, else what the event calls the actor."""
    person = desk.bundle.roster.person(actor)
    return person.name if person else actor


def _detected(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    # clocks first: the page says when they run out
    duties.open_for(desk, _then(desk, incident, event), "detected", event.occurred_at)
    _start_ladder(desk, incident, event, "new")


def _start_ladder(desk: Desk, incident: IncidentView, event: IncidentEvent, cause: paging.Cause) -> None:
    """A new epoch asks again, unless people have moved on since (after an outage of ours)."""
    if paging.waiting(desk, incident, event.epoch):
        paging.fire(desk, incident, 1, cause)


def _page_acknowledged(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    done = paging.acknowledged(desk, incident, event.epoch)
    if not event.payload.get("first") and not (done and desk.route(incident).required):
        return
    name = actor_name(desk, event.actor)
    when = desk.say.at(event.occurred_at)
    headline = desk.say("已确认收到")
    because = desk.say("{name}于 {when} 确认收到，不再逐级提醒；法定时限照常计算", name=name, when=when)
    if not done:
        by = lifecycle.situation_of(desk.session, incident.id).acknowledged_by
        roles = paging.missing(desk.session, incident.id, event.epoch, by)
        because = desk.say(
            "{name}于 {when} 确认收到，仍须{roles}确认",
            name=name,
            when=when,
            roles=desk.say.join(desk.say.role(role) for role in roles),
        )
    if event.payload.get("on_behalf"):
        because += desk.say("（代签收）")
    _refresh_slack(desk, incident, Occasion(headline, because), event)
    # those who were woken up as well learn that it is taken care of
    others = [person for person in _paged(desk, incident, event.epoch) if person.person_id != event.actor]
    desk.tell(
        incident,
        others,
        Occasion(headline, because),
        kind="update",
        step=event.version or 0,
        priority=5,
        slack=False,
    )


def _paged(desk: Desk, incident: IncidentView, epoch: int) -> list[Asked]:
    """People to whom a page of this epoch has gone out."""
    ids = {
        row.message.get("person")
        for row in outbox.messages_of(desk.session, incident.id)
        if row.kind == "page" and row.epoch == epoch and row.state == "sent"
    }
    people = [desk.bundle.roster.person(str(found)) for found in sorted(filter(None, ids))]
    return [ladder.asked(person) for person in people if person]


def _refresh_slack(desk: Desk, incident: IncidentView, occasion: Occasion, event: IncidentEvent) -> None:
    """Rewrite the incident's first Slack message and add one line to its thread."""
    if not ladder.slack_ready(desk.bundle):
        return
    target = ladder.slack_target(desk.bundle, desk.route(incident))
    if not target:
        return
    message = desk.message(incident, occasion)
    way = ladder.Way("slack", target)
    version = event.version or 0
    # only the latest state is worth showing
    outbox.supersede(desk.session, incident.id, desk.now, kinds=("edit",))
    desk.post(incident, way, message, kind="edit", step=version, priority=4, extra={"edit": True})
    words = escape(f"{occasion.headline}: {occasion.because}")
    line = {"text": words, "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": words}}]}
    desk.post(incident, way, message, kind="thread", step=version, priority=5, extra=line)


def _confirmed(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    paging.stop(desk, incident.id, event.epoch)
    paging.watch_progress(desk, incident, event.epoch, anew=True)
    duties.stopped_by(desk, incident, "confirmed", event.occurred_at)
    duties.open_for(desk, _then(desk, incident, event), "confirmed", event.occurred_at)
    name = actor_name(desk, event.actor)
    _refresh_slack(desk, incident, Occasion(desk.say("属实"), desk.say("{name}研判属实", name=name)), event)


def _assigned(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    paging.stop(desk, incident.id, event.epoch)
    outbox.supersede(
        desk.session,
        incident.id,
        desk.now,
        kinds=("page", "copy", units.LEAD, units.HELPER),
        below_epoch=event.epoch,
    )
    duties.stopped_by(desk, incident, "assigned", event.occurred_at)
    duties.open_for(desk, _then(desk, incident, event), "assigned", event.occurred_at)
    if incident.epoch != event.epoch:
        return  # assigned anew since: that event tells the right department
    unit = desk.bundle.departments.zh(incident.department)
    by = actor_name(desk, event.actor)
    again = bool(event.payload.get("reassigned"))
    headline = desk.say("转办") if again else desk.say("交办")
    because = desk.say("{by}交由{unit}办理", by=by, unit=unit)
    if event.payload.get("reason"):
        because += desk.say("，理由：{reason}", reason=event.payload["reason"])
    occasion = Occasion(
        headline,
        because,
        ask=desk.say("请在工作台签收；不属于本单位职责的，请注明原因退回。"),
        urgent=True,
    )
    told = cards.tell_department(desk, incident, occasion, kind="assignment", step=1, priority=2)
    if not told:
        lacking = Occasion(
            headline,
            because,
            ask=desk.say("{unit}没有配置邮箱或群组（departments.yaml），请值班人员另行通知。", unit=unit),
            urgent=True,
        )
        desk.tell(
            incident,
            [ladder.on_duty(desk.bundle, "primary", desk.now)],
            lacking,
            kind="assignment",
            step=1,
            priority=2,
            slack=False,
        )
    units.tell_helpers(desk, incident, by)
    units.release(desk, incident, event)
    _refresh_slack(desk, incident, occasion, event)


def _signed(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    duties.stopped_by(desk, incident, "signed", event.occurred_at)
    duties.open_for(desk, _then(desk, incident, event), "signed", event.occurred_at)
    # who signs keeps the matter: the time for sending it back is no longer of interest
    duties.cancel(desk, incident, "signed", event.occurred_at, stops_on="returned")
    unit = desk.bundle.departments.zh(incident.department)
    _refresh_slack(desk, incident, Occasion(desk.say("签收"), desk.say("{unit}已签收", unit=unit)), event)


def _returned(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    duties.stopped_by(desk, incident, "returned", event.occurred_at)
    outbox.supersede(
        desk.session, incident.id, desk.now, kinds=(units.LEAD, units.HELPER), below_epoch=event.epoch
    )
    if incident.epoch == event.epoch:
        units.release(desk, incident, event)
    _start_ladder(desk, incident, event, "returned")


def _responded(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    published = datetime.fromisoformat(event.payload["published_at"])
    duties.stopped_by(desk, incident, "responded", published)
    duties.stopped_by(desk, incident, "informed", published)  # an answer is authoritative information too
    paging.stop(desk, incident.id, event.epoch)
    because = desk.say("已于 {when} 回应：{url}", when=desk.say.at(published), url=event.payload["url"])
    _refresh_slack(desk, incident, Occasion(desk.say("已回应"), because), event)


def _informed(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    published = datetime.fromisoformat(event.payload["published_at"])
    duties.stopped_by(desk, incident, "informed", published)
    because = desk.say(
        "已于 {when} 发布权威信息：{url}", when=desk.say.at(published), url=event.payload["url"]
    )
    _refresh_slack(desk, incident, Occasion(desk.say("已发布权威信息"), because), event)


def _press_held(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    held = datetime.fromisoformat(event.payload["held_at"])
    duties.stopped_by(desk, incident, "press_held", held)
    because = desk.say("已于 {when} 举行新闻发布会：{url}", when=desk.say.at(held), url=event.payload["url"])
    _refresh_slack(desk, incident, Occasion(desk.say("已举行新闻发布会"), because), event)


def _clock_moved(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    """The department and the duty officer learn of a new end; one that only became certain is no news."""
    _annulled(desk, incident, event)
    given = event.payload
    if given["old_due_at"] == given["due_at"] or not incident.is_open:
        return
    rule = facts.rule_of(desk.bundle, given["rule"])
    due = datetime.fromisoformat(given["due_at"])
    because = desk.say(
        "“{action}”的截止时间由 {old} 改为 {new}",
        action=desk.say(rule.action) if rule else given["rule"],
        old=desk.say.at(datetime.fromisoformat(given["old_due_at"])),
        new=desk.say.at(due),
    )
    why = {
        "extended": desk.say("已批准延期"),
        "calendar": desk.say("放假安排有变"),
        "merged": desk.say("并入的事件起算在先"),
    }[given["why"]]
    occasion = Occasion(desk.say("时限变更"), f"{because}（{why}）")
    step = event.version or 0
    cards.tell_department(desk, incident, occasion, kind="update", step=step, priority=4)
    people = [ladder.on_duty(desk.bundle, "primary", desk.now)]
    desk.tell(incident, people, occasion, kind="update", step=step, priority=4)


def _caller_told(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    given = event.payload
    because = desk.say(
        "已告知来电人办理进度，承诺 {until} 前解决：{url}",
        until=desk.say.at(datetime.fromisoformat(given["until"])),
        url=given["url"],
    )
    _refresh_slack(desk, incident, Occasion(desk.say("已告知来电人"), because), event)


def _asked_again(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    _start_ladder(desk, incident, event, "asked_again")


def _closed(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    duties.stopped_by(desk, incident, "closed", event.occurred_at)
    _done(desk, incident, event, desk.say("办结"), "closed")


def _false_alarm(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    accountability.on_gone(desk, incident, desk.say("误报"))
    _done(desk, incident, event, desk.say("误报"), "false_alarm")


def _done(desk: Desk, incident: IncidentView, event: IncidentEvent, headline: str, why: str) -> None:
    """Nothing about this incident is to be said or counted any more."""
    paging.stop(desk, incident.id, event.epoch)
    outbox.supersede(desk.session, incident.id, desk.now, kinds=_ABOUT_OPEN)
    duties.cancel(desk, incident, why, event.occurred_at)
    because = desk.say("{name}：{headline}", name=actor_name(desk, event.actor), headline=headline)
    _refresh_slack(desk, incident, Occasion(headline, because), event)


def _merged(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    accountability.on_gone(desk, incident, desk.say("并入"))
    paging.stop(desk, incident.id, event.epoch)
    outbox.supersede(desk.session, incident.id, desk.now, kinds=_ABOUT_OPEN)
    given = duties.cancel(desk, incident, "merged", event.occurred_at)
    parent = queries.get_incident(desk.session, int(event.payload["parent_id"]))
    if parent is None:
        return
    moves.inherit(desk, parent, given, lifecycle.situation_then(desk.session, parent.id, event.seq))
    because = desk.say("已并入 {number}", number=parent.number)
    _refresh_slack(desk, incident, Occasion(desk.say("并入"), because), event)


def _recount(desk: Desk, resumed: list[DeadlineView]) -> None:
    """A clock that stood still may have slept through a change of the calendar."""
    for clock in resumed:
        moves.recount(desk, clock)


def _unmerged(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    _recount(desk, duties.resume(desk, incident, "merged"))
    paging.watch_outer(desk, incident)
    _start_ladder(desk, incident, event, "unmerged")


def _restored(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    _recount(desk, duties.resume(desk, incident, "false_alarm"))
    _start_ladder(desk, incident, event, "restored")


def _reopened(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    duties.open_for(desk, _then(desk, incident, event), "detected", event.occurred_at)
    accountability.on_reopened(desk, incident)
    _start_ladder(desk, incident, event, "reopened")


def _level_set(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    lower = bool(event.payload.get("lower"))
    then = replace(incident, level=event.payload["level"])
    _recount(desk, duties.level_changed(desk, then, _began(desk, incident, event), event))
    if not lower:
        paging.resume(desk, incident)
        paging.hasten_outer(desk, then)
    if then.level != incident.level or not incident.is_open:
        return  # changed again since, or done: nobody needs to hear of it
    was = str(event.payload.get("from", LEVELS[0]))
    because = desk.say(
        "{name}将等级由{was}调整为{level}",
        name=actor_name(desk, event.actor),
        was=desk.say.level(was),
        level=desk.say.level(incident.level),
    )
    headline = desk.say("等级下调") if lower else desk.say("等级上调")
    if was == incident.level:  # a person stands by what the machine proposed
        headline = desk.say("等级确定")
        because = desk.say(
            "{name}确定等级为{level}",
            name=actor_name(desk, event.actor),
            level=desk.say.level(incident.level),
        )
    occasion = Occasion(headline, because, urgent=not lower)
    people = ladder.asked_at(desk.bundle, desk.route(incident), 1, desk.now)
    if not lower:
        people.append(ladder.on_duty(desk.bundle, "leader", desk.now))
    once = list({person.person_id: person for person in people}.values())
    desk.tell(incident, once, occasion, kind="update", step=event.version or 0, priority=2)


def _began(desk: Desk, incident: IncidentView, event: IncidentEvent) -> datetime:
    """When the round of `event` began: with the detection, or with its reopening."""
    now = lifecycle.situation_of(desk.session, incident.id)
    if now.round != event.round:
        now = lifecycle.situation_then(desk.session, incident.id, event.seq)
    return now.began_at or event.occurred_at


def _deadline_missed(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    for clock in clocks.deadlines_of(desk.session, incident.id):
        mine = (clock.rule_id, clock.round) == (event.payload["rule"], event.payload["round"])
        # that a unit did not send a matter back is no failing
        if mine and clock.stops_on != "returned" and incident.is_open:
            accountability.on_missed(desk, incident, clock)


def _annulled(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    if event.payload.get("annuls"):
        accountability.on_annulled(desk, incident, event.payload["rule"], event.payload["round"])


def _decided(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    accountability.on_decided(desk, incident, event.payload)


_REACTIONS: dict[str, Callable[[Desk, IncidentView, IncidentEvent], Any]] = {
    "detected": _detected,
    "page_acknowledged": _page_acknowledged,
    "confirmed": _confirmed,
    "assigned": _assigned,
    "complained_named": units.on_complained,
    "signed": _signed,
    "returned": _returned,
    "deadline_missed": _deadline_missed,
    "deadline_met": _annulled,
    "accountability_decided": _decided,
    "informed": _informed,
    "press_held": _press_held,
    "deadline_moved": _clock_moved,
    "caller_told": _caller_told,
    "asked_again": _asked_again,
    "responded": _responded,
    "closed": _closed,
    "false_alarm": _false_alarm,
    "merged": _merged,
    "unmerged": _unmerged,
    "restored": _restored,
    "reopened": _reopened,
    "level_set": _level_set,
    "promise_confirmed": promises.on_confirmed,
}


def asks(event: IncidentEvent) -> bool:
    """Whether an event of this kind asks for anything."""
    return event.incident_id is not None and event.kind in _REACTIONS
