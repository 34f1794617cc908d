"""A test message to one person through each of their channels, clearly marked, by way of the outbox like any page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from alerts import facts, ladder
from alerts.ladder import Way
from alerts.message import notice
from config.bundle import Bundle
from config.roster import Person
from incidents import lifecycle, outbox
from incidents.outbox import OutboxRow
from incidents.session import Session
from incidents.states import Refused

KIND, EVENT = "test", "channels_tested"
_BLUE = "#1f4e79"
#: one person is tested at most so often: a group robot is read by everybody in its group
_REST = timedelta(minutes=1)


@dataclass(frozen=True)
class Trial:
    """One test message and what became of it."""

    row: OutboxRow

    @property
    def settled(self) -> bool:
        """Whether its channel has given a first answer, good or bad."""
        return self.row.state not in ("pending", "sending") or bool(self.row.error)

    @property
    def said(self) -> str:
        """What the channel said: the reference of the accepted message, or the reason why it was not taken."""
        return self.row.provider_ref if self.row.state == "sent" else self.row.error


def ways_of(bundle: Bundle, person: Person) -> list[Way]:
    """Every channel that is set up and leads to a person; the local folder where none does."""
    asked = ladder.asked(person)
    found = {
        (way.channel, way.recipient): way
        for route in bundle.routes.routes
        for way in ladder.other_ways(bundle, route, asked, _not_set_up(bundle))
    }
    return list(found.values()) or [Way("folder", person.email or person.id)]


def _not_set_up(bundle: Bundle) -> set[str]:
    return set() if bundle.settings.mail.host else {"email"}


def start(
    session: Session, bundle: Bundle, person_id: str, channel: str, *, by: str, through: str, now: datetime
) -> list[str]:
    """Put the test messages into the outbox; returns their ids. `channel` "" means all; `by` and `through` are for the record.

    Raises Refused: nobody of this id, no way by this channel, or a test less than a minute ago.
    """
    person = bundle.roster.person(person_id)
    if person is None:
        raise Refused("值班表中没有该人员。", f"nobody of the roster has the id {person_id!r}")
    ways = [way for way in ways_of(bundle, person) if channel in ("", way.channel)]
    if not ways:
        known = ", ".join(dict.fromkeys(way.channel for way in ways_of(bundle, person)))
        raise Refused(
            f"渠道 {channel} 未配置或不通向{person.name}；可用：{known}。",
            f"the channel {channel} is not set up or does not lead to {person_id}; there are: {known}",
        )
    recent = [trial for trial in results(session, now - _REST) if trial.row.person == person_id]
    if any(channel in ("", trial.row.channel) for trial in recent):
        raise Refused(
            "一分钟内刚测试过，请先看结果。", "tested less than a minute ago; look at its outcome first"
        )
    say = facts.wording_of(bundle)
    ids = []
    for way in ways:
        message = notice(
            say("【测试】值班提醒渠道测试：{name}", name=person.name),
            [
                say("这是一条测试消息，没有发生任何事件，无须处理。"),
                say(
                    "由 {by} 于 {when} 发起，经 {channel} 发出。",
                    by=by,
                    when=say.at(now),
                    channel=way.channel,
                ),
            ],
            say.language,
            _BLUE,
        )
        key = outbox.message_id(
            None, 0, 0, way.recipient, way.channel, KIND, f"{person_id}/{now.isoformat()}"
        )
        outbox.enqueue(
            session,
            id=key,
            incident_id=None,
            kind=KIND,
            recipient=way.recipient,
            channel=way.channel,
            priority=2,
            message={**message.for_channel(way.channel, "test"), "person": person_id},
            now=now,
        )
        ids.append(key)
    lifecycle.record_act(
        session,
        EVENT,
        {"person": person_id, "channels": [way.channel for way in ways]},
        actor=by,
        channel=through,
        now=now,
    )
    return ids


def results(session: Session, since: datetime, ids: Sequence[str] = ()) -> list[Trial]:
    """Test messages begun since then, newest first; only those of `ids` when given."""
    return [Trial(row) for row in outbox.of_kind(session, KIND, since) if not ids or row.id in ids]
