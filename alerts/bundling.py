"""Budgets and bundles: a robot is never sent more than it bears, and a storm reaches a person as one message.

Each robot (channel and recipient) has limits of its own. A share of them is kept for first pages, so that a new incident
never waits behind reminders. Where more waits for one robot than may go out, or than a person can read, the most urgent
message stays by itself and the others become one; the officer still acknowledges each of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from alerts import budget, facts
from alerts.channel import Channel
from alerts.message import Item, write_bundle
from config.bundle import Bundle
from incidents import clocks, lifecycle, outbox
from incidents.outbox import OutboxRow
from incidents.session import Session

#: this many messages may wait for one robot before they are put together
SEPARATE = 5
#: and this many for an officer whose budget is used up: of two one stays by itself, and a bundle of one spares nobody
SEPARATE_TIRED = 2
#: kinds that only make sense by themselves, or are bundles already
_ALONE = ("edit", "thread", "bundle", "canary", "report", "heartbeat", "test")
#: share of a robot's limit that only first pages may use
RESERVE = 0.25
#: a digest says how long nothing could be sent when its oldest message waited longer than this
_OUTAGE = timedelta(minutes=30)
BUNDLE = "bundle"


@dataclass(frozen=True)
class Room:
    """What may go out now: robots that are full, robots of which only first pages may be taken, and how many each can bear."""

    full: tuple[str, ...] = ()
    lanes: tuple[tuple[str, int], ...] = ()
    left: Mapping[str, int] = field(default_factory=dict)


def room(session: Session, rows: list[OutboxRow], table: Mapping[str, Channel], now: datetime) -> Room:
    """How much each robot of these waiting messages can still be given in its windows."""
    full: set[str] = set()
    lanes: set[tuple[str, int]] = set()
    room_of: dict[str, int] = {}
    by_channel: dict[str, set[str]] = {}
    for row in rows:
        by_channel.setdefault(row.channel, set()).add(row.robot)
    for name, robots in by_channel.items():
        for limit in table[name].limits if name in table else ():
            counts = outbox.used(session, sorted(robots), now - timedelta(seconds=limit.seconds), now)
            for robot in robots:
                left = limit.messages - counts.get(robot, 0)
                room_of[robot] = max(0, min(left, room_of.get(robot, left)))
                if left <= 0:
                    full.add(robot)
                elif left <= limit.messages * RESERVE:
                    lanes.add((robot, 0))
    return Room(tuple(sorted(full)), tuple(sorted(lanes)), room_of)


def put_together(session: Session, bundle: Bundle, now: datetime, channels: list[str] | None = None) -> int:
    """Make one message out of many where too much waits for one robot; returns how many messages were bundled."""
    waiting: dict[str, list[OutboxRow]] = {}
    for row in outbox.due(session, now, channels=channels):
        apart = row.uncertain or row.error == outbox.FELL_APART
        if row.kind not in _ALONE and row.state == "pending" and not apart:
            waiting.setdefault(row.robot, []).append(row)
    done = 0
    tired = budget.over(session, bundle, now) if waiting else frozenset()
    for rows in waiting.values():
        if len(rows) > (SEPARATE_TIRED if rows[0].person in tired else SEPARATE):
            done += _bundle(session, bundle, rows, now)
    return done


def _bundle(session: Session, bundle: Bundle, rows: list[OutboxRow], now: datetime) -> int:
    """The most urgent page stays by itself; everything else that waits for this robot is said by one message."""
    due = _due_times(session, rows)
    ordered = sorted(
        rows, key=lambda row: (row.priority > 1, due.get(row.incident_id or 0, now), row.created_at)
    )
    alone, rest = ordered[0], ordered[1:]
    say = facts.wording_of(bundle)
    items = [
        Item(
            str(row.message.get("number", "")),
            str(row.message.get("subject") or row.message.get("text", "")),
            str(row.message.get("link") or bundle.settings.link_base),
        )
        for row in rest
    ]
    waited = now - min(row.created_at for row in rows)
    message = write_bundle(
        items,
        outage=say.span(waited) if waited > _OUTAGE else "",
        language=say.language,
        zone=say.zone,
        console_url=f"{bundle.settings.link_base}/",
    )
    key = outbox.message_id(
        None, 0, 0, alone.recipient, alone.channel, BUNDLE, period="/".join(sorted(row.id for row in rest))
    )
    new = outbox.enqueue(
        session,
        id=key,
        incident_id=None,
        kind=BUNDLE,
        recipient=alone.recipient,
        channel=alone.channel,
        priority=min(row.priority for row in rest),
        message={**message.for_channel(alone.channel, "bundle"), "person": alone.person, "items": len(rest)},
        now=now,
    )
    if not new:  # the very same bundle was there before: they must not wait for its fate again
        return 0
    outbox.bundle(session, [row.id for row in rest], key)
    lifecycle.record_act(
        session,
        "bundled",
        {"bundle": key, "messages": len(rest), "channel": alone.channel, "person": alone.person},
        actor="system",
        channel="system",
        now=now,
    )
    return len(rest)


def _due_times(session: Session, rows: list[OutboxRow]) -> dict[int, datetime]:
    """When the earliest open clock of each incident runs out."""
    return clocks.earliest_due(session, {row.incident_id for row in rows if row.incident_id is not None})
