"""What each event of the record means for clocks, ladder and messages. One function for each kind of event."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from alerts import cards, duties, ladder, paging
from alerts.desk import Desk
from alerts.ladder import Asked
from alerts.message import Occasion, escape
from incidents import outbox, queries
from incidents.models import IncidentEvent
from incidents.queries import IncidentView
from incidents.states import LEVELS

#: messages that are withdrawn when the incident is done with
_ABOUT_OPEN = ("page", "copy", "remind", "yellow", "red", "assignment", "update")


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


def actor_name(desk: Desk, actor: str) -> str:
    """The name of a person of the roster, else what the event calls the actor."""
    person = desk.bundle.roster.person(actor)
    return person.name if person else actor


def _detected(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    # clocks first: the page says when they run out
    duties.open_for(desk, incident, "detected", event.occurred_at)
    _start_ladder(desk, incident, event, "new")


def _start_ladder(desk: Desk, incident: IncidentView, event: IncidentEvent, cause: paging.Cause) -> None:
    """A new epoch asks again, unless people have moved on since (after an outage of ours)."""
    if paging.waiting(desk, incident, event.epoch):
        paging.fire(desk, incident, 1, cause)


def _page_acknowledged(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    paging.stop(desk, incident.id, event.epoch)
    if not event.payload.get("first"):
        return
    name = actor_name(desk, event.actor)
    when = desk.say.at(event.occurred_at)
    headline = desk.say("已确认收到")
    because = desk.say("{name}于 {when} 确认收到，不再逐级提醒；法定时限照常计算", name=name, when=when)
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
    return [
        Asked(person.id, person.name, "", "", person.email, person.slack_user) for person in people if person
    ]


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
    duties.open_for(desk, incident, "confirmed", event.occurred_at)
    name = actor_name(desk, event.actor)
    _refresh_slack(desk, incident, Occasion(desk.say("属实"), desk.say("{name}研判属实", name=name)), event)


def _assigned(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    paging.stop(desk, incident.id, event.epoch)
    outbox.supersede(
        desk.session, incident.id, desk.now, kinds=("page", "copy", "assignment"), below_epoch=event.epoch
    )
    if incident.epoch != event.epoch:
        return  # assigned anew since: that event tells the right department
    duties.open_for(desk, incident, "assigned", event.occurred_at)
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
    _refresh_slack(desk, incident, occasion, event)


def _signed(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    duties.stopped_by(desk, incident, "signed", event.occurred_at)
    # who signs keeps the matter: the time for sending it back is no longer of interest
    duties.cancel(desk, incident, "signed", stops_on="returned")
    unit = desk.bundle.departments.zh(incident.department)
    _refresh_slack(desk, incident, Occasion(desk.say("签收"), desk.say("{unit}已签收", unit=unit)), event)


def _returned(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    duties.stopped_by(desk, incident, "returned", event.occurred_at)
    outbox.supersede(desk.session, incident.id, desk.now, kinds=("assignment",), below_epoch=event.epoch)
    _start_ladder(desk, incident, event, "returned")


def _responded(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    published = datetime.fromisoformat(event.payload["published_at"])
    duties.stopped_by(desk, incident, "responded", published)
    paging.stop(desk, incident.id, event.epoch)
    because = desk.say("已于 {when} 回应：{url}", when=desk.say.at(published), url=event.payload["url"])
    _refresh_slack(desk, incident, Occasion(desk.say("已回应"), because), event)


def _closed(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    duties.stopped_by(desk, incident, "closed", event.occurred_at)
    _done(desk, incident, event, desk.say("办结"), "closed")


def _false_alarm(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    _done(desk, incident, event, desk.say("误报"), "false_alarm")


def _done(desk: Desk, incident: IncidentView, event: IncidentEvent, headline: str, why: str) -> None:
    """Nothing about this incident is to be said or counted any more."""
    paging.stop(desk, incident.id, event.epoch)
    outbox.supersede(desk.session, incident.id, desk.now, kinds=_ABOUT_OPEN)
    duties.cancel(desk, incident, why)
    because = desk.say("{name}：{headline}", name=actor_name(desk, event.actor), headline=headline)
    _refresh_slack(desk, incident, Occasion(headline, because), event)


def _merged(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    paging.stop(desk, incident.id, event.epoch)
    outbox.supersede(desk.session, incident.id, desk.now, kinds=_ABOUT_OPEN)
    given = duties.cancel(desk, incident, "merged")
    parent = queries.get_incident(desk.session, int(event.payload["parent_id"]))
    if parent is None:
        return
    duties.inherit(desk, parent, given)
    because = desk.say("已并入 {number}", number=parent.number)
    _refresh_slack(desk, incident, Occasion(desk.say("并入"), because), event)


def _unmerged(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    duties.resume(desk, incident)


def _restored(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    duties.resume(desk, incident)
    _start_ladder(desk, incident, event, "restored")


def _reopened(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    duties.open_for(desk, incident, "detected", event.occurred_at)
    _start_ladder(desk, incident, event, "reopened")


def _level_set(desk: Desk, incident: IncidentView, event: IncidentEvent) -> None:
    if incident.level != event.payload["level"] or not incident.is_open or incident.detected_at is None:
        return  # changed again since, or done
    lower = bool(event.payload.get("lower"))
    if incident.responded_at is None:
        duties.level_changed(desk, incident, incident.detected_at, lower)
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


_REACTIONS: dict[str, Callable[[Desk, IncidentView, IncidentEvent], Any]] = {
    "detected": _detected,
    "page_acknowledged": _page_acknowledged,
    "confirmed": _confirmed,
    "assigned": _assigned,
    "signed": _signed,
    "returned": _returned,
    "responded": _responded,
    "closed": _closed,
    "false_alarm": _false_alarm,
    "merged": _merged,
    "unmerged": _unmerged,
    "restored": _restored,
    "reopened": _reopened,
    "level_set": _level_set,
}
