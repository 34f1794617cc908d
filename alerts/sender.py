"""Takes messages from the outbox, hands them to their channel outside any transaction, and writes down what it said.

A crash between handing over and writing down leaves a claimed row whose lease runs out; it comes back marked as
uncertain. Slack is then read before anything is sent; a mail is sent again under its old Message-ID and marked.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

from alerts import ladder, paging
from alerts.desk import Desk
from alerts.email import Attachment, EmailChannel, Inline, Mail, Server
from alerts.folder import FolderChannel
from alerts.ladder import Asked, Way
from alerts.results import Refused, Retry, SendResult, Sent, Unknown
from alerts.slack import SlackChannel, SlackPost
from config.bundle import Bundle
from incidents import outbox, queries
from incidents.outbox import OutboxRow
from incidents.session import Session

#: messages claimed at once; a lease outlives sending all of them
BATCH = 5
_LEASE_MARGIN_S = 30.0
_FIRST_RETRY_S, _LONGEST_RETRY_S = 15.0, 900.0
#: after this a message has lost its meaning; the record says that it was given up
_GIVE_UP = timedelta(hours=24)
_PAGES = ("page", "copy")
#: what only makes sense under an incident's first Slack message
_ON_ROOT = ("edit", "thread")
_log = logging.getLogger(__name__)


@dataclass
class SendSummary:
    """What one round of sending did."""

    sent: int = 0
    retry: int = 0
    refused: int = 0
    unknown: int = 0
    withdrawn: int = 0


@dataclass(frozen=True)
class Job:
    """One claimed message with what its channel needs to know."""

    row: OutboxRow
    root: str = ""  # the incident's first Slack message


@dataclass
class Channels:
    """The channels of this installation. `resting` says until when a channel is to be left alone."""

    bundle: Bundle
    resting: dict[str, datetime] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = self.bundle.settings
        self.folder = FolderChannel(settings.data_path / "outbox")
        timeout = settings.alerts.send_timeout_s
        mail = settings.mail
        self.email: EmailChannel | None = None
        if mail.host:
            secret = mail.password.get_secret_value()
            self.email = EmailChannel(Server(mail.host, mail.port, mail.security, mail.user, secret, timeout))
        self.slack: SlackChannel | None = None
        if token := settings.slack.token.get_secret_value():
            self.slack = SlackChannel(token, settings.slack.base_url, timeout)

    def rests(self, channel: str, now: datetime) -> datetime | None:
        """Until when the channel asked to be left alone, None when it may be used."""
        until = self.resting.get(channel)
        return until if until is not None and until > now else None

    def rest(self, channel: str, now: datetime, seconds: float | None) -> None:
        """The channel asked to wait, or cannot be reached at all."""
        self.resting[channel] = now + timedelta(seconds=_FIRST_RETRY_S if seconds is None else seconds)

    def send(self, job: Job, now: datetime) -> SendResult:
        """Hand one message to its channel."""
        row = job.row
        if row.channel == "slack":
            return self._slack(job)
        if row.channel in ("email", "folder"):
            mail = self._mail(row, now)
            if row.channel == "email" and self.email is not None:
                return self.email.send(mail)
            return self.folder.send(mail)
        return Refused(f"there is no channel {row.channel!r}")

    def _slack(self, job: Job) -> SendResult:
        if self.slack is None:
            return Refused("Slack has no token any more (slack.token)")
        row, message = job.row, job.row.message
        if message.get("edit") and not job.root:
            return Refused("no Slack message of this incident to rewrite")
        post = SlackPost(
            outbox_id=row.id,
            channel=row.recipient,
            text=str(message.get("text", "")),
            blocks=list(message.get("blocks") or []),
            first_tried_at=row.created_at,
            root=job.root,
            edit=bool(message.get("edit")),
            broadcast=bool(message.get("broadcast")),
        )
        return self.slack.send(post, uncertain=row.uncertain)

    def _mail(self, row: OutboxRow, now: datetime) -> Mail:
        message = row.message
        settings = self.bundle.settings
        base = settings.data_path / "outbox-files"
        return Mail(
            outbox_id=row.id,
            recipient=row.recipient,
            sender=settings.mail.sender,
            subject=str(message.get("subject") or message.get("text", ""))[:300],
            text=str(message.get("text", "")),
            html=str(message.get("html", "")),
            date=row.created_at if row.channel == "folder" or self.email is None else now,
            inline=[Inline(item["cid"], _inside(base, item["path"])) for item in message.get("inline") or []],
            attachments=[
                Attachment(_inside(base, item["path"]), item.get("name") or Path(item["path"]).name)
                for item in message.get("attachments") or []
            ],
            thread=str(message.get("thread", "")),
            repeat=row.attempts if row.uncertain else 0,
            headers=message.get("headers") or {},
        )


def _inside(base: Path, path: str) -> Path:
    """Files of a mail lie in the folder outbox-files; an absolute path is taken as it is."""
    return Path(path) if Path(path).is_absolute() else base / path


def claim(
    session: Session, bundle: Bundle, now: datetime, channels: list[str] | None
) -> tuple[list[Job], int]:
    """Take the next messages under a lease; those that nobody needs any more are withdrawn and counted."""
    lease = BATCH * bundle.settings.alerts.send_timeout_s + _LEASE_MARGIN_S
    jobs, withdrawn = [], 0
    for row in outbox.claim(session, now, lease_s=lease, limit=BATCH, channels=channels):
        reason = _needless(session, bundle, row)
        if reason:
            outbox.withdraw(session, row.id, reason, now)
            withdrawn += 1
            continue
        jobs.append(Job(row, _slack_root(session, row)))
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
    if not paging.still_asks(session, incident, row.epoch):
        return "acknowledged, moved on or closed before it was sent"
    return ""


def _has_root(session: Session, row: OutboxRow) -> bool:
    """Whether the incident's first Slack message was sent or still will be."""
    assert row.incident_id is not None
    return any(
        other.channel == "slack"
        and other.recipient == row.recipient
        and other.kind not in _ON_ROOT
        and other.state in ("sent", "pending", "sending")
        for other in outbox.messages_of(session, row.incident_id)
    )


def _slack_root(session: Session, row: OutboxRow) -> str:
    """Ref of the incident's first message in the same Slack channel, "" when this one is to be the first."""
    if row.channel != "slack" or row.incident_id is None:
        return ""
    for other in outbox.messages_of(session, row.incident_id):
        mine = other.channel == "slack" and other.recipient == row.recipient
        if mine and other.id != row.id and other.state == "sent" and not other.message.get("edit"):
            return other.provider_ref
    return ""


def with_root(session: Session, job: Job) -> Job:
    """The same job with the incident's first Slack message as it is known now."""
    return replace(job, root=_slack_root(session, job.row))


def write_down(desk: Desk, row: OutboxRow, result: SendResult, summary: SendSummary) -> None:
    """Record the outcome of one try, and what follows from it, in one transaction."""
    now = desk.now
    if isinstance(result, Retry) and row.uncertain:
        # this try certainly failed, the earlier one still may have arrived
        result = Unknown(result.reason, result.after_s)
    if isinstance(result, Retry | Unknown) and now - row.created_at > _GIVE_UP:
        result = Refused(f"given up after {row.attempts} tries: {result.reason}")
    if isinstance(result, Sent):
        outbox.record(desk.session, row.id, "sent", now=now, provider_ref=result.ref)
        summary.sent += 1
        _after_sent(desk, row)
    elif isinstance(result, Refused):
        outbox.record(desk.session, row.id, "refused", now=now, detail=result.reason)
        summary.refused += 1
        _log.warning("message %s to %s by %s refused: %s", row.id, row.recipient, row.channel, result.reason)
        _after_refused(desk, row, result.reason)
    else:
        wait = result.after_s if result.after_s is not None else _pause(row.attempts)
        retry_at = now + timedelta(seconds=wait)
        kind: outbox.Result = "retry" if isinstance(result, Retry) else "unknown"
        outbox.record(desk.session, row.id, kind, now=now, detail=result.reason, retry_at=retry_at)
        if isinstance(result, Retry):
            summary.retry += 1
        else:
            summary.unknown += 1


def _pause(attempts: int) -> float:
    """Seconds until the next try: 15, 30, 60 ... at most 15 minutes."""
    return min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2.0 ** min(max(0, attempts - 1), 10))


def _after_sent(desk: Desk, row: OutboxRow) -> None:
    incident = queries.get_incident(desk.session, row.incident_id) if row.incident_id is not None else None
    if incident is None or row.kind != "page":
        return
    payload = {
        "epoch": row.epoch,
        "step": row.step,
        "person": row.message.get("person", ""),
        "channel": row.channel,
        "outbox": row.id,
        "attempts": row.attempts,
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


def _fail_over(desk: Desk, incident: queries.IncidentView, row: OutboxRow) -> None:
    """The same page through a channel that was not tried; if there is none left, the next rung at once."""
    if incident.epoch != row.epoch:
        return
    mates = [
        other
        for other in outbox.messages_of(desk.session, incident.id)
        if other.kind == "page" and other.epoch == row.epoch and other.step == row.step and other.id != row.id
    ]
    if any(other.state in ("pending", "sending", "sent") for other in mates):
        return
    person = desk.bundle.roster.person(str(row.message.get("person", "")))
    if person is not None:
        asked = Asked(person.id, person.name, "", "", person.email, person.slack_user)
        tried = {row.channel, *(other.channel for other in mates)}
        for way in ladder.other_ways(desk.bundle, desk.route(incident), asked, tried):
            if _enqueue_copy(desk, row, way, _converted(desk, incident, row, way)):
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
