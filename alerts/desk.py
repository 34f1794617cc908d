"""What every part of a tick needs: one transaction, the configuration, the calendar and one `now`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from alerts import facts, ladder
from alerts.calendar import WorkCalendar
from alerts.ladder import Asked, Way
from alerts.message import Message, Occasion, write
from alerts.wording import Wording
from config.bundle import Bundle
from config.keys import Keys
from config.routes import Route
from config.tokens import AckClaim, sign_ack
from incidents import ladders, lifecycle, outbox
from incidents.complained import Complained
from incidents.queries import IncidentView
from incidents.session import Session


@dataclass
class Counts:
    """What one tick did."""

    events: int = 0
    deadlines: int = 0
    messages: int = 0
    rungs: int = 0
    overdue: int = 0


@dataclass(frozen=True)
class Desk:
    """One tick's view of the world. Nothing below it reads the clock or the configuration on its own."""

    session: Session
    bundle: Bundle
    keys: Keys
    calendar: WorkCalendar
    now: datetime
    counts: Counts = field(default_factory=Counts)
    #: whom incidents complain about, as far as it was read in this transaction (alerts.units)
    complaints: dict[int, Complained] = field(default_factory=dict)

    @property
    def say(self) -> Wording:
        """Language and zone of messages."""
        return facts.wording_of(self.bundle)

    def route(self, incident: IncidentView) -> Route:
        """The route of an incident: as it was frozen when the ladder of its epoch began, else as it is configured."""
        frozen = ladders.get(self.session, incident.id, incident.epoch)
        return (
            ladder.route_of(self.bundle, incident) if frozen is None else Route.model_validate(frozen.frozen)
        )

    def record(
        self,
        incident: IncidentView,
        kind: str,
        payload: dict[str, Any],
        *,
        key: str,
        occurred_at: datetime | None = None,
    ) -> bool:
        """Add an event of this room once; `key` names it for ever."""
        event = lifecycle.record(
            self.session,
            incident.id,
            kind,
            payload,
            now=self.now,
            occurred_at=occurred_at,
            idempotency_key=f"{incident.id}:{key}",
        )
        return event is not None

    def link(self, incident: IncidentView, step: int, person: str) -> str:
        """The signed link by which one person acknowledges one page."""
        expires = self.now + timedelta(hours=self.bundle.settings.alerts.link_valid_h)
        claim = AckClaim(incident.id, incident.epoch, step, person, expires)
        return f"{self.bundle.settings.link_base}/a/{sign_ack(self.keys.links, claim)}"

    def message(self, incident: IncidentView, occasion: Occasion, *, quote: bool = True) -> Message:
        """The message about an incident as it stands now; without `quote` it holds no line of a post."""
        about = facts.facts_of(self.session, self.bundle, incident)
        if not quote:
            about = replace(about, example="")
        return write(about, occasion, now=self.now, language=self.say.language, zone=self.say.zone)

    def post(
        self,
        incident: IncidentView,
        way: Way,
        message: Message,
        *,
        kind: str,
        step: int,
        priority: int,
        extra: dict[str, Any] | None = None,
    ) -> bool:
        """Put one message into the outbox, once for ever."""
        content = {**message.for_channel(way.channel, incident.number), **(extra or {})}
        new = outbox.enqueue(
            self.session,
            id=outbox.message_id(incident.id, incident.epoch, step, way.recipient, way.channel, kind),
            incident_id=incident.id,
            kind=kind,
            epoch=incident.epoch,
            step=step,
            recipient=way.recipient,
            channel=way.channel,
            priority=priority,
            message=content,
            # messages of one tick leave in the order in which they were written
            now=self.now + timedelta(microseconds=self.counts.messages),
            not_before=self.now,
        )
        self.counts.messages += new
        return new

    def tell(
        self,
        incident: IncidentView,
        people: Sequence[Asked],
        occasion: Occasion,
        *,
        kind: str,
        step: int,
        priority: int,
        slack: bool = True,
        message: Message | None = None,
    ) -> None:
        """A message that asks for no acknowledgement, to some people and into the incident's thread.

        `message`: what `occasion` says of the incident, where it has been written already.
        """
        message = message or self.message(incident, occasion)
        route = self.route(incident)
        for person in people:
            for way in ladder.ways_to(self.bundle, route, person):
                if way.channel == "slack" and not slack:
                    continue
                extra: dict[str, Any] = {}
                if way.channel == "slack":
                    extra = {"broadcast": occasion.urgent, "blocks": message.brief}
                self.post(incident, way, message, kind=kind, step=step, priority=priority, extra=extra)


def mention(message: Message, people: Sequence[Asked]) -> Message:
    """The same message with the people of a rung named first, so that Slack calls them."""
    users = " ".join(f"<@{person.slack_user}>" for person in people if person.slack_user)
    if not users:
        return message
    first = {"type": "section", "text": {"type": "mrkdwn", "text": users}}
    return replace(message, blocks=[first, *message.blocks])
