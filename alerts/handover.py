"""Hand-over 交接班 of 主班: both sides are told at the change of shift, each with a signed link to confirm by; a silent one is reminded once."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any, Literal

from alerts import facts, ladder
from alerts import rota as alerts_rota
from alerts.desk import Desk
from alerts.ladder import Way
from alerts.message import Line, Message, first_line, notice
from config.roster import Person
from config.tokens import HandoverClaim, sign_handover
from incidents import beats, outbox, queries, rota
from incidents.rota import HandoverView

HANDOVER = "handover"
BEAT = "alerts.handover"
Side = Literal["given", "taken"]
#: nobody has taken over for so long: said once more
REMIND = timedelta(minutes=15)
_LOOK_EVERY = timedelta(minutes=1)
#: open incidents that a message names; the console has the rest
_SHOWN = 10
_BLUE = "#1f4e79"


def due(desk: Desk) -> bool:
    """Whether `work` might find something: it looks once a minute, and more often while nobody has taken over."""
    last = beats.get_beat(desk.session, BEAT)
    if last is None or not timedelta(0) <= desk.now - last.ok_at < _LOOK_EVERY:
        return True
    return _nobody_took(desk) is not None


def work(desk: Desk) -> bool:
    """Offer the hand-over of each change of 主班 since the last look, and remind of one that nobody takes."""
    last = beats.get_beat(desk.session, BEAT)
    since = last.ok_at if last is not None else desk.now
    wrote = False
    if last is None or desk.now - since >= _LOOK_EVERY:
        changes = rota.changes(desk.session, since)
        roster = alerts_rota.effective(desk.bundle.roster, changes, desk.calendar)
        stretches = (
            roster.stretches("primary", since, desk.now + timedelta(seconds=1)) if since < desk.now else []
        )
        made = None
        for before, after in pairwise(stretches):
            made = rota.offer(
                desk.session,
                role="primary",
                shift_end=after[0],
                outgoing=before[2].person.id,
                incoming=after[2].person.id,
                open_incidents=[one.number for one in queries.list_incidents(desk.session, limit=200)],
                now=desk.now,
            )
            wrote |= made is not None
        # after an outage the changes in between stand in the record; nobody needs to confirm them any more
        if made is not None:
            _tell(desk, made, 0)
        beats.beat(desk.session, BEAT, desk.now)
    waiting = _nobody_took(desk)
    if waiting is not None:
        wrote |= _tell(desk, waiting, 1)
    return wrote


def _nobody_took(desk: Desk) -> HandoverView | None:
    """A hand-over that should have been taken a while ago."""
    waiting = rota.untaken(desk.session, "primary")
    late = waiting is not None and REMIND <= desk.now - waiting.shift_end < timedelta(hours=8)
    return waiting if late else None


def link(desk: Desk, handover: HandoverView, side: Side) -> str:
    """The signed link by which one side confirms."""
    person = handover.outgoing if side == "given" else handover.incoming
    expires = desk.now + timedelta(hours=desk.bundle.settings.alerts.link_valid_h)
    claim = HandoverClaim(handover.role, handover.shift_end, side, person, expires)
    return f"{desk.bundle.settings.link_base}/handover/{sign_handover(desk.keys.links, claim)}"


def _tell(desk: Desk, handover: HandoverView, step: int) -> bool:
    """What each side is told: at the change (`step` 0) and when nobody has taken over (1)."""
    new = False
    used: set[Way] = set()
    opened: list[Line] = []
    sides: tuple[tuple[Side, str], ...] = (("taken", handover.incoming), ("given", handover.outgoing))
    for side, name in sides:
        person = desk.bundle.roster.person(name)
        if person is None:
            continue
        way = _way(desk, person)
        # both may be reached through one group: two messages, not one
        period = handover.shift_end.isoformat() + ("/given" if way in used else "")
        key = outbox.message_id(None, 0, step, way.recipient, way.channel, HANDOVER, period)
        used.add(way)
        if outbox.get(desk.session, key) is not None:
            continue
        opened = opened or _open(desk)
        mention = ladder.mention_in(ladder.asked(person), way.channel)
        content = {
            **_written(desk, handover, side, step, opened).for_channel(way.channel, "handover"),
            "person": name,
        }
        new |= outbox.enqueue(
            desk.session,
            id=key,
            incident_id=None,
            kind=HANDOVER,
            step=step,
            recipient=way.recipient,
            channel=way.channel,
            priority=4,
            message=content | ({"mention": mention} if mention else {}),
            now=desk.now,
        )
    return new


def _way(desk: Desk, person: Person) -> Way:
    """One channel to a person: the route's first one, Slack last and there straight to the person; the folder when nothing is set up."""
    route = desk.bundle.routes.routes[-1]
    ways = ladder.ways_to(desk.bundle, route, ladder.asked(person))
    others = [way for way in ways if way.channel != "slack"]
    if others:
        return others[0]
    return Way("slack", person.slack_user) if person.slack_user else ways[0]


def _written(desk: Desk, handover: HandoverView, side: Side, step: int, opened: list[Line]) -> Message:
    """The message to one side. Its first line says what is asked of whom; then the link, then what is open."""
    say = desk.say
    names = {one.id: one.name for one in desk.bundle.roster.people}
    words = {
        "out": names.get(handover.outgoing, handover.outgoing),
        "into": names.get(handover.incoming, handover.incoming),
        "at": say.at(handover.shift_end),
        "n": len(handover.open_incidents),
        "span": say.span(REMIND),
    }
    taken = side == "taken"
    if step == 0:
        head = (
            say("【接班】{at}起由您任主班（接{out}），未办结{n}件", **words)
            if taken
            else say("【交班】{at}由{into}接您的主班，未办结{n}件", **words)
        )
    elif taken:
        head = say("【接班·再次提醒】{at}起由您任主班，{span}仍未确认接班", **words)
    else:
        head = say("【交班】{into}{span}仍未确认接班，请与其联系", **words)
    lines: list[Line] = [_whose(desk, taken=taken, words=words)]
    button, address = say("确认接班") if taken else say("确认交班"), link(desk, handover, side)
    if not taken and handover.given_at is not None:
        button, address = "", ""
    elif not taken:
        lines.append(say("确认时可写明要交代的事，接班人确认前会看到。"))
    if taken and handover.given_note:
        lines.append(say("交班说明：{note}", note=handover.given_note))
    if step == 0 or taken:
        lines += opened
    return notice(head, lines, say.language, _BLUE, address, button)


def _whose(desk: Desk, *, taken: bool, words: dict[str, Any]) -> str:
    """To whom pages go now: the first thing that both want to know."""
    if desk.bundle.settings.alerts.handover_required:
        if taken:
            return desk.say("确认接班之前，提醒仍发给{out}。", **words)
        return desk.say("{into}确认接班之前，提醒仍发给您。", **words)
    if taken:
        return desk.say("提醒已改发给您；确认接班只作凭证，不影响提醒。", **words)
    return desk.say("提醒已改发给{into}；确认只作凭证，不影响提醒。", **words)


def _open(desk: Desk) -> list[Line]:
    """What is open, the most urgent first, each with its next clock."""
    rows = queries.list_by_urgency(desk.session, limit=_SHOWN + 1)
    if not rows:
        return [desk.say("没有未办结事件。")]
    lines: list[Line] = [desk.say("未办结事件，最急在前：")]
    for incident, _ in rows[:_SHOWN]:
        about = facts.facts_of(desk.session, desk.bundle, incident)
        grade = desk.say.level(about.level, proposed=about.proposed)
        words = first_line(about, desk.say, desk.now)
        lines.append((f"· [{grade}] {words}", about.console_url))
    if len(rows) > _SHOWN:
        lines.append(desk.say("其余见工作台。"))
    return lines
