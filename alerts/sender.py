"""Takes messages from the outbox, hands them to their channel outside any transaction, and writes down what it said.

A crash between handing over and writing down leaves a claimed row whose lease runs out; it comes back marked as
uncertain. Slack is then read before anything is sent; a mail is sent again under its old Message-ID and marked.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from alerts import bundling, canary, channels, ladder, paging
from alerts.channel import Channel, Letter
from alerts.desk import Desk
from alerts.ladder import Way
from alerts.results import Refused, Retry, SendResult, Sent, Unknown
from config.bundle import Bundle
from incidents import outbox, queries
from incidents.outbox import OutboxRow
from incidents.session import Session

#: messages claimed at once; a lease outlives sending all of them
BATCH = 5
#: waiting messages looked at when the room of their robots is measured
_LOOKED_AT = 500
#: a page that no channel has taken for so long is given to the next channels as well
_ELSEWHERE = timedelta(seconds=8)
#: seconds that no page waits for its channel: the next channels have it at once
_TOO_LONG = 20.0
_LEASE_MARGIN_S = 30.0
_FIRST_RETRY_S, LONGEST_RETRY_S = 15.0, 900.0
#: after this a message has lost its meaning; the record says that it was given up
_GIVE_UP = timedelta(hours=24)
_PAGES = ("page", "copy")
#: what only makes sense under an incident's first Slack message
_ON_ROOT = ("edit", "thread")
#: note in a message to Slack: the thread of its last try
_PLACE = "root"
_KINDS: dict[type, outbox.Result] = {Sent: "sent", Refused: "refused", Retry: "retry", Unknown: "unknown"}
_log = logging.getLogger(__name__)


@dataclass
class SendSummary:
    """What one round of sending did."""

    sent: int = 0
    retry: int = 0
    refused: int = 0
    unknown: int = 0
    withdrawn: int = 0
    bundled: int = 0


@dataclass(frozen=True)
class Job:
    """One claimed message with what its channel needs to know."""

    row: OutboxRow
    until: datetime  # end of the lease: afterwards another sender may have it
    root: str = ""  # the incident's first Slack message


@dataclass
class Channels:
    """The channels of this installation. `resting` says until when a robot is to be left alone."""

    bundle: Bundle
    resting: dict[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.table: dict[str, Channel] = channels.build(self.bundle)

    def resting_now(self, now: datetime) -> tuple[str, ...]:
        """Robots that asked to be left alone, or cannot be reached."""
        return tuple(sorted(robot for robot, until in self.resting.items() if until > now))

    def rests(self, robot: str, now: datetime) -> datetime | None:
        """Until when this robot is to be left alone, None when it may be used."""
        until = self.resting.get(robot)
        return until if until is not None and until > now else None

    def rest(self, robot: str, now: datetime, seconds: float | None) -> None:
        """The robot asked to wait, or its provider cannot be reached at all."""
        self.resting[robot] = now + timedelta(seconds=_FIRST_RETRY_S if seconds is None else seconds)

    def send(self, job: Job, now: datetime) -> SendResult:
        """Hand one message to its channel."""
        row = job.row
        channel = self.table.get(row.channel) or (self.table["folder"] if row.channel == "email" else None)
        if channel is None:
            return Refused(f"the channel {row.channel!r} is not set up any more")
        uncertain = row.uncertain
        if channel.key_window is not None and now - row.created_at < channel.key_window:
            uncertain = False  # the provider drops a message whose key it remembers
        if channel.resend == "keyed" and channel.key_window is None:
            uncertain = False
        letter = Letter(
            outbox_id=row.id,
            kind=row.kind,
            recipient=row.recipient,
            message=row.message,
            attempt=row.attempts,
            created_at=row.created_at,
            now=now,
            uncertain=uncertain,
            root=job.root,
            incident_id=row.incident_id,
            epoch=row.epoch,
            step=row.step,
        )
        result = channel.send(letter)
        if row.kind == canary.KIND and isinstance(result, Sent) and isinstance(channel, channels.Slack):
            return channel.came_back(letter)
        return result


def claim(
    session: Session,
    bundle: Bundle,
    now: datetime,
    ways: Channels,
    only: list[str] | None,
    presence: int = 0,
) -> tuple[list[Job], int]:
    """Take the next messages under a lease, as many as their robots bear; needless ones are withdrawn and counted."""
    lease = BATCH * bundle.settings.alerts.send_timeout_s + _LEASE_MARGIN_S
    jobs, withdrawn = [], 0
    outbox.hold(session, only)
    if presence:
        outbox.free_orphans(session, now, only)
    waiting = outbox.due(session, now, channels=only, limit=_LOOKED_AT)
    if not waiting:
        return [], 0
    space = bundling.room(session, waiting, ways.table, now)
    taken = outbox.claim(
        session,
        now,
        lease_s=lease,
        limit=BATCH,
        channels=only,
        not_robots=(*space.full, *ways.resting_now(now)),
        lanes=space.lanes,
        left=space.left,
        presence=presence,
    )
    for row in taken:
        reason = _needless(session, bundle, row)
        if reason:
            outbox.withdraw(session, row.id, reason, now)
            withdrawn += 1
            continue
        jobs.append(Job(row, now + timedelta(seconds=lease), _slack_root(session, row)))
    return jobs, withdrawn


def _needless(session: Session, bundle: Bundle, row: OutboxRow) -> str:
    """Why a message must not go out any more; empty when it must. A try that may have arrived is cleared up first."""
    if row.incident_id is None:
        return ""
    if row.kind in _ON_ROOT and not _has_root(session, row):
        return "nothing was said on Slack yet, so there is nothing to add to"
    if row.kind not in _PAGES:
        return ""
    incident = queries.get_incident(session, row.incident_id)
    if incident is None:
        return "its incident is gone"
    if not paging.still_asks(session, incident, row.epoch, str(row.message.get("person", ""))):
        return "acknowledged, moved on or closed before it was sent"
    return ""


def _has_root(session: Session, row: OutboxRow) -> bool:
    """Whether the incident's first Slack message was sent or still will be. A bundle is answered to, never rewritten."""
    assert row.incident_id is not None
    return any(
        other.recipient == row.recipient
        and other.kind not in _ON_ROOT
        and other.state in ("sent", "pending", "sending", "bundled")
        and (row.kind != "edit" or other.bundled_in is None)
        for other in outbox.messages_of(session, row.incident_id, "slack")
    )


def _slack_root(session: Session, row: OutboxRow) -> str:
    """Ref of the incident's first message in the same Slack channel, "" when this one is to be the first.

    A try that may have arrived keeps the place of that try: only there can it be found.
    """
    if row.channel != "slack" or row.incident_id is None:
        return ""
    if row.uncertain and row.kind != "edit" and _PLACE in row.message:
        return str(row.message[_PLACE])
    sent = [
        other.provider_ref
        for other in outbox.messages_of(session, row.incident_id, "slack")
        if other.recipient == row.recipient
        and other.id != row.id
        and other.state == "sent"
        and not other.message.get("edit")
        and (row.kind != "edit" or other.bundled_in is None)
    ]
    # by Slack's own time: a message that was written down later never takes the place of the first
    return min(sent, key=lambda ref: ref.rpartition(":")[2], default="")


def with_root(session: Session, job: Job) -> Job:
    """The same job with the place where it goes, written down before it goes there."""
    root = job.root or _slack_root(session, job.row)
    if root != job.row.message.get(_PLACE):
        outbox.note(session, job.row.id, _PLACE, root)
    return replace(job, root=root)


def write_down(desk: Desk, row: OutboxRow, result: SendResult, summary: SendSummary) -> None:
    """Record the outcome of one try, and what follows from it, in one transaction that holds the chain.

    Nothing follows from a try whose message somebody else has taken since: that sender's outcome counts.
    """
    now = desk.now
    if isinstance(result, Retry) and row.uncertain:
        # this try certainly failed, the earlier one still may have arrived
        result = Unknown(result.reason, result.after_s)
    if isinstance(result, Retry | Unknown) and now - row.created_at > _GIVE_UP:
        result = Refused(f"given up after {row.attempts} tries: {result.reason}")
    wait = 0.0
    if isinstance(result, Retry | Unknown):
        wait = result.after_s if result.after_s is not None else _pause(row.attempts)
    changed = outbox.record(
        desk.session,
        row.id,
        _KINDS[type(result)],
        now=now,
        detail="" if isinstance(result, Sent) else result.reason,
        provider_ref=result.ref if isinstance(result, Sent) else "",
        retry_at=now + timedelta(seconds=wait),
        attempt=row.attempts,
    )
    if not changed:
        return
    if isinstance(result, Sent):
        summary.sent += 1
        _after_sent(desk, row)
        for said in outbox.bundled(desk.session, row.id) if row.kind == bundling.BUNDLE else ():
            _after_sent(desk, said, bundle=row.id)
    elif isinstance(result, Refused):
        summary.refused += 1
        _log.warning("message %s to %s by %s refused: %s", row.id, row.recipient, row.channel, result.reason)
        outbox.unbundle(desk.session, row.id, now)
        _after_refused(desk, row, result.reason)
    else:
        summary.retry += isinstance(result, Retry)
        summary.unknown += isinstance(result, Unknown)
        if wait > _TOO_LONG or now - row.created_at >= _ELSEWHERE:
            _elsewhere_too(desk, row)


def _pause(attempts: int) -> float:
    """Seconds until the next try: 15, 30, 60 ... at most 15 minutes."""
    return min(LONGEST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(max(0, attempts - 1), 10))


def _after_sent(desk: Desk, row: OutboxRow, bundle: str = "") -> None:
    if row.incident_id is None or row.kind != "page":
        return
    incident = queries.get_incident(desk.session, row.incident_id)
    if incident is None:
        return
    payload = {
        "epoch": row.epoch,
        "step": row.step,
        "person": row.message.get("person", ""),
        "channel": row.channel,
        "outbox": row.id,
        "attempts": row.attempts,
        **({"bundle": bundle} if bundle else {}),
        "waited_s": round((desk.now - row.created_at).total_seconds(), 1),
    }
    desk.record(incident, "page_sent", payload, key=f"sent:{row.id}")
    paging.accepted(desk, incident, row.epoch, row.step, desk.now)


def _after_refused(desk: Desk, row: OutboxRow, reason: str) -> None:
    """A page goes on to the next channel; a mail that nobody takes is at least kept as a file."""
    incident = queries.get_incident(desk.session, row.incident_id) if row.incident_id is not None else None
    if incident is not None and row.kind == "page":
        payload = {
            "epoch": row.epoch,
            "step": row.step,
            "person": row.message.get("person", ""),
            "channel": row.channel,
            "reason": reason,
        }
        desk.record(incident, "page_refused", payload, key=f"refused:{row.id}")
        _fail_over(desk, incident, row)
    if row.channel == "email":
        _enqueue_copy(desk, row, Way("folder", row.recipient), row.message)


def reroute(desk: Desk, ways: Channels, only: list[str] | None) -> None:
    """Pages whose robot rests for long go through other channels now; they would not even be tried."""
    resting = {
        robot
        for robot in ways.resting_now(desk.now)
        if (ways.resting[robot] - desk.now).total_seconds() > _TOO_LONG
    }
    for row in outbox.due(desk.session, desk.now, channels=only, robots=sorted(resting)) if resting else ():
        _elsewhere_too(desk, row)


def _elsewhere_too(desk: Desk, row: OutboxRow) -> None:
    """A page that its channel keeps waiting goes through the next ones as well: better twice than late."""
    if row.kind == bundling.BUNDLE:
        for said in outbox.bundled(desk.session, row.id):
            _elsewhere_too(desk, said)
    if row.kind != "page" or row.incident_id is None:
        return
    incident = queries.get_incident(desk.session, row.incident_id)
    if incident is not None and incident.epoch == row.epoch:
        _next_ways(desk, incident, row, _mates(desk, incident, row))


def _mates(desk: Desk, incident: queries.IncidentView, row: OutboxRow) -> list[OutboxRow]:
    """Pages of the same rung through other channels or to other people."""
    return [
        other
        for other in outbox.messages_of(desk.session, incident.id)
        if other.kind == "page" and other.epoch == row.epoch and other.step == row.step and other.id != row.id
    ]


def _next_ways(desk: Desk, incident: queries.IncidentView, row: OutboxRow, mates: list[OutboxRow]) -> bool:
    """The page through the channels that were not tried for this person; False when there are none left."""
    person = desk.bundle.roster.person(str(row.message.get("person", "")))
    if person is None or any(other.state == "sent" for other in mates):
        return False
    asked = ladder.asked(person)
    tried = {row.channel, *(other.channel for other in mates)}
    ways = ladder.other_ways(desk.bundle, desk.route(incident), asked, tried)
    new = False
    for way in ways[:1]:
        new = _enqueue_copy(desk, row, way, _converted(desk, incident, row, way))
    return new


def _fail_over(desk: Desk, incident: queries.IncidentView, row: OutboxRow) -> None:
    """The same page through a channel that was not tried; if there is none left, the next rung at once."""
    if incident.epoch != row.epoch:
        return
    mates = _mates(desk, incident, row)
    if any(other.state == "sent" for other in mates) or _next_ways(desk, incident, row, mates):
        return
    if any(other.state in ("pending", "sending", "bundled") for other in mates):
        return
    if paging.waiting(desk, incident, row.epoch):
        paging.fire(desk, incident, row.step + 1, "unreachable")


def _converted(desk: Desk, incident: queries.IncidentView, row: OutboxRow, way: Way) -> dict[str, object]:
    """The page written again for another channel, with the person who was asked."""
    message = paging.rewrite(desk, incident, row.step, str(row.message.get("person", "")))
    return {**message.for_channel(way.channel, incident.number), "person": row.message.get("person", "")}


def _enqueue_copy(desk: Desk, row: OutboxRow, way: Way, message: dict[str, object]) -> bool:
    return outbox.enqueue(
        desk.session,
        id=outbox.message_id(
            row.incident_id, row.epoch, row.step, way.recipient, way.channel, row.kind, period=row.id
        ),
        incident_id=row.incident_id,
        kind=row.kind if way.channel != "folder" else "copy-file",
        epoch=row.epoch,
        step=row.step,
        recipient=way.recipient,
        channel=way.channel,
        priority=row.priority,
        message=dict(message),
        now=desk.now,
    )
