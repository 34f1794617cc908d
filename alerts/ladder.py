"""The acknowledgement ladder: who is asked at which rung, and through which channels that person is reached.

Rungs come from the incident's route (usually 主班, 副班, 带班领导). When all were asked in vain, everybody is asked
once more together; the legal clocks and their reminders run on whatever happens here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from config.bundle import Bundle
from config.roster import ROLES, OnDuty, Role
from config.routes import Route
from incidents.queries import IncidentView


@dataclass(frozen=True)
class Asked:
    """One person asked at one rung."""

    person_id: str
    name: str
    role: str  # a role of the roster, or "" for a person whom the route names
    reason: str  # the line of the roster
    email: str
    slack_user: str
    fallback: bool = False


@dataclass(frozen=True)
class Way:
    """One channel with the address to use there."""

    channel: str
    recipient: str


def route_of(bundle: Bundle, incident: IncidentView) -> Route:
    """The route of an incident; there always is one."""
    return bundle.routes.find(incident.domain, incident.district, incident.level, incident.track)


def last_step(route: Route) -> int:
    """Number of the round in which all rungs are asked together."""
    return len(route.ladder) + 1


def asked_at(bundle: Bundle, route: Route, step: int, at: datetime) -> list[Asked]:
    """The people of rung `step` (1 is the first), each once. Beyond the last rung: everybody."""
    names = route.ladder[step - 1 : step] if step <= len(route.ladder) else route.ladder
    found: dict[str, Asked] = {}
    for name in names:
        one = _asked(bundle, name, at)
        found.setdefault(one.person_id, one)
    return list(found.values())


def on_duty(bundle: Bundle, role: Role, at: datetime) -> Asked:
    """The person in one role of the roster, or its fallback."""
    return _from_roster(bundle.roster.on_duty(at, role))


def _asked(bundle: Bundle, name: str, at: datetime) -> Asked:
    for role in ROLES:
        if name == role:
            return on_duty(bundle, role, at)
    person = bundle.roster.person(name)
    if person is None:  # the check of the configuration refuses this; a page must go out all the same
        return on_duty(bundle, "primary", at)
    return Asked(person.id, person.name, "", person.name, person.email, person.slack_user)


def _from_roster(found: OnDuty) -> Asked:
    person = found.person
    return Asked(
        person.id, person.name, found.role, found.reason, person.email, person.slack_user, found.fallback
    )


def slack_ready(bundle: Bundle) -> bool:
    """Whether Slack has a token."""
    return bool(bundle.settings.slack.token.get_secret_value())


def slack_target(bundle: Bundle, route: Route) -> str:
    """The channel that gets incidents of this route, or nothing."""
    return route.slack_channel or bundle.settings.slack.channel


def ways_to(bundle: Bundle, route: Route, person: Asked) -> list[Way]:
    """How one person is reached, in the route's order; the local folder when nothing else is set up."""
    ways = []
    for channel in route.channels:
        if channel == "slack" and slack_ready(bundle):
            target = slack_target(bundle, route) or person.slack_user
            if target:
                ways.append(Way("slack", target))
        elif channel == "email" and person.email:
            ways.append(Way("email", person.email))
        elif channel == "folder":
            ways.append(Way("folder", person.email or person.person_id))
    return ways or [Way("folder", person.email or person.person_id)]


def other_ways(bundle: Bundle, route: Route, person: Asked, tried: set[str]) -> list[Way]:
    """Channels that the route does not use for this person but that could still carry a page."""
    ways = []
    if "email" not in tried and person.email:
        ways.append(Way("email", person.email))
    if "slack" not in tried and slack_ready(bundle):
        target = slack_target(bundle, route) or person.slack_user
        if target:
            ways.append(Way("slack", target))
    return ways
