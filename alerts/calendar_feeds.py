"""Shifts as a calendar that programs subscribe to: the content behind a secret address, and that address.

Nothing but shifts stands in it: no reason of a stand-in, no leave, no address of a person. The same roster gives the same
bytes for a week, so that a program that asks each quarter of an hour is told "not modified".
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, time, timedelta
from typing import Any

from icalendar import Calendar, Event, vDuration

from alerts import rota as alerts_rota
from alerts.calendar import load_calendar
from alerts.facts import wording_of
from alerts.wording import Wording
from config.bundle import Bundle
from config.keys import Keys
from config.roster import ROLES, Roster
from config.tokens import FeedClaim, sign_feed
from incidents import rota
from incidents.calendar_feeds import FeedView
from incidents.session import Session

#: from Monday of last week on, so that the last days can be looked up; thirteen weeks ahead
_BACK, _AHEAD = timedelta(weeks=1), timedelta(weeks=13)
#: how often programs are asked to look again
_EVERY = timedelta(minutes=30)


def address(bundle: Bundle, keys: Keys, feed: FeedView) -> str:
    """The secret address of a feed: whoever has it can read the shifts, until it is revoked."""
    token = sign_feed(keys.links, FeedClaim(feed.id, feed.made_at))
    return f"{bundle.settings.link_base}/calendar/{token}.ics"


def subscription(address: str) -> str:
    """The same with the scheme that a calendar program listens to: a tap on it subscribes."""
    return f"webcal://{address.partition('://')[2]}"


def document(session: Session, bundle: Bundle, person: str, now: datetime) -> bytes:
    """The calendar of one person of the roster, or of everybody ("")."""
    calendar = load_calendar(bundle.settings.config_dir, bundle.settings.city.timezone)
    today = now.astimezone(calendar.zone).date()
    monday = datetime.combine(today - timedelta(days=today.weekday()), time(), calendar.zone)
    changes = rota.changes(session, monday - _BACK)
    roster = alerts_rota.effective(bundle.roster, changes, calendar)
    return _written(roster, wording_of(bundle), monday - _BACK, monday + _AHEAD, person)


def tag(content: bytes) -> str:
    """The ETag of a content, quoted."""
    return f'"{hashlib.sha256(content).hexdigest()[:32]}"'


def _written(roster: Roster, say: Wording, start: datetime, until: datetime, person: str) -> bytes:
    calendar = Calendar()
    calendar.add("prodid", "-//Quansheng//duty roster//")
    calendar.add("version", "2.0")
    calendar.add("calscale", "GREGORIAN")
    calendar.add("method", "PUBLISH")
    found = roster.person(person)
    name = say("值班表：{name}", name=found.name) if found is not None else say("值班表")
    # the old names are what Apple, Google and Outlook read, the new one is RFC 7986
    values: dict[str, Any] = {"x-wr-calname": name, "name": name, "x-wr-timezone": roster.timezone}
    for key, value in values.items():
        calendar.add(key, value)
    calendar.add("x-published-ttl", vDuration(_EVERY))
    calendar.add("refresh-interval", _EVERY, parameters={"VALUE": "DURATION"})
    for role in ROLES:
        for begin, end, duty in roster.stretches(role, start, until):
            if person and duty.person.id != person:
                continue
            title = say.role(role) if person else say.person(role, duty.person.name)
            event = Event()
            event.add("uid", f"{role}-{begin.astimezone(UTC):%Y%m%dT%H%M%SZ}-{duty.person.id}@quansheng")
            event.add("summary", say("{title}（空档，由其接收）", title=title) if duty.fallback else title)
            # in UTC: a zone by its name alone would need its rules beside it
            event.add("dtstart", begin.astimezone(UTC))
            event.add("dtend", end.astimezone(UTC))
            event.add("dtstamp", start.astimezone(UTC))
            event.add("transp", "TRANSPARENT" if duty.fallback else "OPAQUE")
            calendar.add_component(event)
    return bytes(calendar.to_ical())
