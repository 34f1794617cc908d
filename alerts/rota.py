"""The roster in force: the file, what people changed at the console, and China's calendar; hand-overs and readiness.

Everything that asks who is on duty gets a bundle whose roster is the one in force, so the answer is one and the same
for pages, console and reports. The page's event keeps the line that named the person.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

from icalendar import Calendar, Event

from alerts import ladder
from alerts.calendar import WorkCalendar, load_calendar
from alerts.desk import Desk
from alerts.ladder import Way
from alerts.message import notice
from config.bundle import Bundle
from config.roster import ROLES, DayClass, DayClasses, Leave, Override, Role, Roster
from incidents import beats, outbox, queries, rota
from incidents.rota import Change, HandoverView
from incidents.session import Session

HANDOVER = "handover"
BEAT = "alerts.handover"
#: nobody has taken over for so long: said once more
_REMIND = timedelta(minutes=15)
_LOOK_EVERY = timedelta(minutes=1)
#: readiness looks so far ahead
_AHEAD_DAYS = 30
_LONGEST = timedelta(hours=26)
_BLUE = "#1f4e79"


def _classes_of(calendar: WorkCalendar) -> DayClasses:
    def classes(day: date) -> DayClass:
        found = calendar.day(day)
        if not found.working:
            return "holiday"
        return "makeup" if found.reason == "makeup" else "workday"

    return classes


def in_force(session: Session, bundle: Bundle, now: datetime, calendar: WorkCalendar | None = None) -> Bundle:
    """The same configuration with the roster that holds now: changes of the console and the calendar are in it."""
    calendar = calendar or load_calendar(bundle.settings.config_dir, bundle.settings.city.timezone)
    roster = effective(bundle.roster, rota.changes(session, now - timedelta(days=1)), calendar)
    if bundle.settings.alerts.handover_required:
        roster = _held(session, roster, now)
    return replace(bundle, roster=roster)


def effective(roster: Roster, changes: list[Change], calendar: WorkCalendar) -> Roster:
    """File and changes as one roster; who is unknown to the file by now is left out."""
    known = {person.id for person in roster.people}
    zone = calendar.zone
    overrides, leaves = list(roster.overrides), list(roster.leaves)
    for change in changes:
        start, until = (at.astimezone(zone).replace(tzinfo=None) for at in (change.start, change.until))
        if change.kind == "leave" and change.person in known:
            leaves.append(
                Leave.model_validate(
                    {"from": start, "until": until, "person": change.person, "reason": change.reason}
                )
            )
        elif change.stand_in in known and change.kind != "leave":
            word = "换班" if change.kind == "swap" else "代班"
            overrides.append(
                Override.model_validate(
                    {
                        "from": start,
                        "until": until,
                        "role": change.role,
                        "person": change.stand_in,
                        "reason": f"{word}: {change.reason}",
                    }
                )
            )
    changed = roster.model_copy(update={"overrides": tuple(overrides), "leaves": tuple(leaves)})
    return changed.with_calendar(_classes_of(calendar))


def _held(session: Session, roster: Roster, now: datetime) -> Roster:
    """Until somebody takes over, the outgoing officer stays responsible (alerts.handover_required)."""
    waiting = rota.untaken(session, "primary")
    if waiting is None or roster.person(waiting.outgoing) is None or waiting.outgoing in roster.away(now):
        return roster
    zone = ZoneInfo(roster.timezone)
    held = Override.model_validate(
        {
            "from": waiting.shift_end.astimezone(zone).replace(tzinfo=None),
            "until": (now + timedelta(minutes=5)).astimezone(zone).replace(tzinfo=None),
            "role": "primary",
            "person": waiting.outgoing,
            "reason": "尚未接班",
        }
    )
    return roster.model_copy(update={"overrides": (*roster.overrides, held)})


# --- hand-over -----------------------------------------------------------------------------------------------------


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
        roster = effective(desk.bundle.roster, rota.changes(desk.session, since), desk.calendar)
        stretches = (
            roster.stretches("primary", since, desk.now + timedelta(seconds=1)) if since < desk.now else []
        )
        for before, after in pairwise(stretches):
            wrote |= _offer(desk, before[2].person.id, after[2].person.id, after[0])
        beats.beat(desk.session, BEAT, desk.now)
    return wrote | _remind(desk)


def _offer(desk: Desk, outgoing: str, incoming: str, at: datetime) -> bool:
    numbers = [incident.number for incident in queries.list_incidents(desk.session, limit=200)]
    made = rota.offer(
        desk.session,
        role="primary",
        shift_end=at,
        outgoing=outgoing,
        incoming=incoming,
        open_incidents=numbers,
        now=desk.now,
    )
    if made is None:
        return False
    names = {person.id: person.name for person in desk.bundle.roster.people}
    head = desk.say(
        "【交接班】{out} → {into}，未办结{n}件",
        out=names.get(outgoing, outgoing),
        into=names.get(incoming, incoming),
        n=len(numbers),
    )
    lines = [
        desk.say("交班时间 {when}。请双方在工作台“值班表”页分别确认交班、接班。", when=desk.say.at(at)),
        desk.say("未办结：{numbers}", numbers=desk.say.join(numbers[:20]))
        if numbers
        else desk.say("没有未办结事件。"),
    ]
    _send(desk, [outgoing, incoming], head, lines, f"{at.isoformat()}", 0)
    return True


def _nobody_took(desk: Desk) -> HandoverView | None:
    """A hand-over that should have been taken a while ago."""
    waiting = rota.untaken(desk.session, "primary")
    late = waiting is not None and _REMIND <= desk.now - waiting.shift_end < timedelta(hours=8)
    return waiting if late else None


def _remind(desk: Desk) -> bool:
    waiting = _nobody_took(desk)
    if waiting is None:
        return False
    head = desk.say("【交接班】交班{span}仍无人接班", span=desk.say.span(_REMIND))
    line = desk.say("请接班人员在工作台“值班表”页确认接班。")
    return _send(desk, [waiting.incoming, waiting.outgoing], head, [line], waiting.shift_end.isoformat(), 1)


def _send(desk: Desk, people: list[str], head: str, lines: list[str], period: str, step: int) -> bool:
    route = desk.bundle.routes.routes[-1]
    link = f"{desk.bundle.settings.link_base}/roster"
    message = notice(head, lines, desk.say.language, _BLUE, link)
    new = False
    for name in dict.fromkeys(people):
        person = desk.bundle.roster.person(name)
        if person is None:
            continue
        ways = [
            way for way in ladder.ways_to(desk.bundle, route, ladder.asked(person)) if way.channel != "slack"
        ]
        for way in ways[:1] or [Way("folder", person.email or person.id)]:
            new |= outbox.enqueue(
                desk.session,
                id=outbox.message_id(None, 0, step, way.recipient, way.channel, HANDOVER, period),
                incident_id=None,
                kind=HANDOVER,
                step=step,
                recipient=way.recipient,
                channel=way.channel,
                priority=4,
                message={**message.for_channel(way.channel, "handover"), "person": name},
                now=desk.now,
            )
    return new


# --- readiness -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unready:
    """One thing about the coming month that somebody should mend."""

    kind: Literal["gap", "unreachable", "away", "double", "long", "holiday"]
    text: str
    at: datetime | None = None


def readiness(
    roster: Roster, calendar: WorkCalendar, now: datetime, days: int = _AHEAD_DAYS
) -> list[Unready]:
    """Gaps, people whom no channel reaches, the same person in two roles, shifts that never end, holidays without a leader."""
    until = now + timedelta(days=days)
    found = [
        Unready("gap", f"{gap.role} {gap.start:%Y-%m-%d %H:%M} - {gap.until:%Y-%m-%d %H:%M}", gap.start)
        for gap in roster.gaps(now, until)
    ]
    by_role = {role: roster.stretches(role, now, until) for role in ROLES}
    for person in roster.people:
        if not person.reachable and any(
            duty.person.id == person.id for stretches in by_role.values() for _, _, duty in stretches
        ):
            found.append(Unready("unreachable", person.name))
    for role, stretches in by_role.items():
        for begin, end, duty in stretches:
            if role == "primary" and not duty.fallback and end - begin > _LONGEST:
                hours = round((end - begin).total_seconds() / 3600)
                found.append(Unready("long", f"{duty.person.name} {begin:%m-%d %H:%M}, {hours} h", begin))
    for begin, end, duty in by_role["primary"]:
        middle = begin + (end - begin) / 2
        if duty.person.id == roster.on_duty(middle, "secondary").person.id:
            found.append(Unready("double", f"{duty.person.name} {begin:%m-%d %H:%M}", begin))
            break  # usually the whole pattern: one line is enough
    day = calendar.local_day(now)
    for number in range(days):
        at = datetime.combine(day + timedelta(days=number), datetime.min.time(), calendar.zone) + timedelta(
            hours=10
        )
        if calendar.day(at.date()).reason == "holiday" and roster.rostered(at, "leader") is None:
            found.append(Unready("holiday", f"{at:%Y-%m-%d}", at))
    return found


# --- calendars out -------------------------------------------------------------------------------------------------

_ROLE_WORD: dict[Role, str] = {"primary": "主班", "secondary": "副班", "leader": "带班领导"}


def as_ical(roster: Roster, now: datetime, days: int = 60, person: str = "") -> bytes:
    """Shifts of one person, or of everybody, for a calendar program."""
    calendar = Calendar()
    calendar.add("prodid", "-//Quansheng//duty roster//")
    calendar.add("version", "2.0")
    calendar.add("x-wr-calname", "泉声值班表")
    for role in ROLES:
        for begin, end, duty in roster.stretches(role, now, now + timedelta(days=days)):
            if person and duty.person.id != person:
                continue
            event = Event()
            event.add("uid", f"{role}-{begin:%Y%m%dT%H%M}-{duty.person.id}@quansheng")
            event.add("summary", f"{_ROLE_WORD[role]} {duty.person.name}")
            event.add("description", duty.reason)
            event.add("dtstart", begin)
            event.add("dtend", end)
            event.add("dtstamp", now)
            calendar.add_component(event)
    return bytes(calendar.to_ical())


def pending(session: Session) -> HandoverView | None:
    """The hand-over of 主班 that waits for somebody."""
    return rota.untaken(session, "primary")
