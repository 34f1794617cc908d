"""The acknowledgement ladder: who is asked at which rung, and through which channels that person is reached.

Rungs come from the incident's route (usually 主班, 副班, 带班领导). When all were asked in vain, everybody is asked
once more together; the legal clocks and their reminders run on whatever happens here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from config.bundle import Bundle
from config.roster import ROLES, OnDuty, Person, Role
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
    wecom_user: str = ""
    dingtalk_user: str = ""
    feishu_user: str = ""


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
    return asked(person, "", person.name)


def _from_roster(found: OnDuty) -> Asked:
    return asked(found.person, found.role, found.reason, fallback=found.fallback)


def slack_ready(bundle: Bundle) -> bool:
    """Whether Slack has a token."""
    return bool(bundle.settings.slack.token.get_secret_value())


def slack_target(bundle: Bundle, route: Route) -> str:
    """The channel that gets incidents of this route, or nothing."""
    return route.slack_channel or bundle.settings.slack.channel


def asked(person: Person, role: str = "", reason: str = "", *, fallback: bool = False) -> Asked:
    """A person of the roster as somebody who is asked."""
    return Asked(
        person.id,
        person.name,
        role,
        reason,
        person.email,
        person.slack_user,
        fallback,
        person.wecom_user,
        person.dingtalk_user,
        person.feishu_user,
    )


def way(bundle: Bundle, route: Route, person: Asked, channel: str) -> Way | None:
    """How one person is reached through one channel; None when it is not set up or does not lead to them."""
    settings = bundle.settings
    target = ""
    if channel == "slack" and slack_ready(bundle):
        target = slack_target(bundle, route) or person.slack_user
    elif channel == "email":
        target = person.email
    elif channel == "wecom_app" and settings.wecom.corp_id:
        target = person.wecom_user
    elif channel == "feishu_app" and settings.feishu.app_id:
        target = person.feishu_user
    elif channel in ("wecom", "dingtalk", "feishu"):
        target = route.robots.get(channel) or next(iter(getattr(settings, channel).robots), "")
    elif channel == "webhook":
        target = route.robots.get(channel) or next(iter(settings.webhook.targets), "")
    elif channel == "folder":
        target = person.email or person.person_id
    return Way(channel, target) if target else None


def mention_in(person: Asked, channel: str) -> str:
    """The id by which a group robot calls this person."""
    ids = {"wecom": person.wecom_user, "dingtalk": person.dingtalk_user, "feishu": person.feishu_user}
    return ids.get(channel, "")


def ways_to(bundle: Bundle, route: Route, person: Asked) -> list[Way]:
    """How one person is reached, in the route's order; the local folder when nothing else is set up."""
    ways = [found for channel in route.channels if (found := way(bundle, route, person, channel))]
    return ways or [Way("folder", person.email or person.person_id)]


def other_ways(bundle: Bundle, route: Route, person: Asked, tried: set[str]) -> list[Way]:
    """Channels that were not tried for this person but could still carry a page: first those to the person alone."""
    order = ("email", "wecom_app", "feishu_app", "slack", "wecom", "dingtalk", "feishu", "webhook")
    return [
        found
        for channel in order
        if channel not in tried and (found := way(bundle, route, person, channel)) is not None
    ]
