"""The roster in force: the file, what people changed at the console, and China's calendar; readiness.

Everything that asks who is on duty gets a bundle whose roster is the one in force, so the answer is one and the same
for pages, console and reports. The page's event keeps the line that named the person.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from icalendar import Calendar, Event

from alerts.calendar import WorkCalendar, load_calendar
from config.bundle import Bundle
from config.roster import ROLES, DayClass, DayClasses, Leave, Override, Role, Roster
from incidents import rota
from incidents.rota import Change
from incidents.session import Session

#: readiness looks so far ahead
_AHEAD_DAYS = 30
_LONGEST = timedelta(hours=26)


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
