"""The canary: a test message through every channel each quarter of an hour, silent to people; its death is not.

It goes to a recipient of its own for each channel (`watch.canary`), never to a duty group unless somebody configures
that. What two failures in a row mean is known by alerts.troubles and told by alerts.alarms.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from alerts.desk import Desk
from alerts.message import notice
from alerts.troubles import CANARY
from incidents import beats, outbox
from incidents.outbox import OutboxRow

KIND = "canary"
#: a canary that has not come through after so long is dead
_PATIENCE = timedelta(minutes=4)
_GREEN = "#2e7d32"


def due(desk: Desk) -> bool:
    """Whether a canary is out, or one should fly now."""
    slot = _slot(desk)
    for channel in desk.bundle.settings.watch.canary:
        beat = beats.get_beat(desk.session, f"{CANARY}{channel}")
        if beat is None or beat.value.get("out") or beat.value.get("slot") != slot:
            return True
    return False


def work(desk: Desk) -> bool:
    """Let the canaries of this slot fly and see what became of the last ones; True when something was written."""
    table = desk.bundle.settings.watch.canary
    wrote = False
    for channel, recipient in sorted(table.items()):
        wrote |= _fly(desk, channel, recipient)
        wrote |= _look(desk, channel)
    return wrote


def _slot(desk: Desk) -> str:
    every = desk.bundle.settings.watch.canary_min * 60
    return str(int(desk.now.timestamp()) // every)


def _fly(desk: Desk, channel: str, recipient: str) -> bool:
    slot = _slot(desk)
    beat = beats.get_beat(desk.session, f"{CANARY}{channel}")
    value = dict(beat.value) if beat is not None else {}
    if value.get("slot") == slot or value.get("out"):
        return False  # one at a time: the last one is still out
    key = outbox.message_id(None, 0, 0, recipient, channel, KIND, slot)
    words = desk.say("渠道自检 {when}，无须处理", when=desk.say.at(desk.now))
    message = notice(words, [], desk.say.language, _GREEN)
    outbox.enqueue(
        desk.session,
        id=key,
        incident_id=None,
        kind=KIND,
        recipient=recipient,
        channel=channel,
        priority=7,
        message=message.for_channel(channel, "canary"),
        now=desk.now,
    )
    beats.beat(
        desk.session,
        f"{CANARY}{channel}",
        beat.ok_at if beat is not None else desk.now,
        {**value, "slot": slot, "out": key, "since": desk.now.isoformat()},
    )
    return True


def _look(desk: Desk, channel: str) -> bool:
    """What became of the canary that is out."""
    beat = beats.get_beat(desk.session, f"{CANARY}{channel}")
    if beat is None or not beat.value.get("out"):
        return False
    value = dict(beat.value)
    row = outbox.get(desk.session, value["out"])
    if row is not None and row.state == "sent":
        return _alive(desk, channel, value)
    since = datetime.fromisoformat(value["since"])
    if row is not None and row.state in ("pending", "sending") and desk.now - since < _PATIENCE:
        return False
    return _dead(desk, channel, value, row, beat.ok_at)


def _alive(desk: Desk, channel: str, value: dict[str, object]) -> bool:
    beats.beat(desk.session, f"{CANARY}{channel}", desk.now, {"slot": value["slot"], "failures": 0})
    return True


def _dead(desk: Desk, channel: str, value: dict[str, object], row: OutboxRow | None, ok_at: datetime) -> bool:
    reason = (row.error if row is not None else "") or desk.say("超过{minutes}分钟未送达", minutes=4)
    if row is not None and row.state == "pending":
        outbox.withdraw(desk.session, row.id, "the next canary is due", desk.now)
    failures = int(str(value.get("failures") or 0)) + 1
    after = {"slot": value["slot"], "failures": failures, "reason": reason[:300]}
    beats.beat(desk.session, f"{CANARY}{channel}", ok_at, after)
    return True
