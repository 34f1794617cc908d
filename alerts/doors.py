"""Knocking at each channel: a revoked token is seen before the next page needs it. Nothing is sent.

All channels are asked at once and none is waited for longer than a fixed time, so that a server which keeps the
line open and never answers holds up neither the others nor the outside ping.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta

from alerts import channels
from alerts.channel import Channel
from alerts.results import SendResult, Sent, Unknown
from alerts.troubles import DOOR, TWICE
from config.bundle import Bundle
from incidents import beats
from incidents.session import Database

#: the watch looks every 30 s: a channel that dies is refused at most 2 min later, and once more 30 s after that
_EVERY = timedelta(seconds=85)
#: a first refusal is looked at again at the next look; it may have been a moment's
_AGAIN = timedelta(seconds=15)
#: seconds for all doors together
PATIENCE_S = 20.0
_LAST = "watch.doors"
#: knocks that were never answered and still wait, by installation and channel: one at a time
_waiting: dict[tuple[str, str], threading.Thread] = {}


def knock(db: Database, bundle: Bundle, now: datetime) -> list[str]:
    """Ask each channel that can be asked, if that is due; returns those that refused. No transaction is open meanwhile."""
    with db.reading() as session:
        last = beats.get_beat(session, _LAST)
    if last is not None:
        pause = _AGAIN if last.value.get("again") else _EVERY
        if timedelta(0) <= now - last.ok_at < pause:
            return []
    answers = ask_all(channels.build(bundle), str(bundle.settings.data_path))
    shut, again = [], False
    with db.transaction() as session:
        for name, answer in answers.items():
            before = beats.get_beat(session, DOOR + name)
            if isinstance(answer, Sent):
                beats.beat(session, DOOR + name, now, {"failures": 0})
                continue
            shut.append(name)
            failures = int(before.value.get("failures") or 0) + 1 if before is not None else 1
            again |= failures < TWICE
            well = before.ok_at if before is not None else now
            beats.beat(session, DOOR + name, well, {"failures": failures, "reason": answer.reason[:300]})
        beats.beat(session, _LAST, now, {"again": again})
    return shut


def ask_all(table: Mapping[str, Channel], home: str, patience_s: float = PATIENCE_S) -> dict[str, SendResult]:
    """What each channel says to a knock; Unknown for one that has not answered in time, or still owes an earlier answer."""
    answers: dict[str, SendResult] = {}

    def ask(name: str, channel: Channel) -> None:
        try:
            answers[name] = channel.check()
        except Exception as error:  # noqa: BLE001 (the border of a thread: an error is an answer too)
            answers[name] = Unknown(f"{type(error).__name__}: {error}")

    asked: dict[str, threading.Thread] = {}
    for name, channel in table.items():
        before = _waiting.get((home, name))
        if before is not None and before.is_alive():
            continue
        asked[name] = threading.Thread(target=ask, args=(name, channel), name=f"door-{name}", daemon=True)
        asked[name].start()
    end = time.monotonic() + patience_s
    for name, thread in asked.items():
        thread.join(max(0.0, end - time.monotonic()))
        if thread.is_alive():
            _waiting[(home, name)] = thread
        else:
            _waiting.pop((home, name), None)
    # a copy: a late answer must not change what was found
    came = dict(answers)
    late = Unknown(f"no answer to a knock within {patience_s:.0f} s")
    return {name: came.get(name, late) for name in table}
