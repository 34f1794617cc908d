"""The last resort: a cry by every channel at once, without the database, when the process can do nothing else any more.

At most one an hour of each kind for each installation, however often a supervisor starts the process anew: the time of the
last one is that of a small file made beforehand, which can be set even on a full disk. A disk that answers no more is not
waited for. The outside ping is told every time; whoever listens there knows what was told before.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable
from datetime import datetime
from functools import partial
from pathlib import Path
from uuid import uuid4

from alerts import alarms, channels, ladder, watch
from alerts.channel import Letter
from alerts.results import Sent
from config.bundle import Bundle

#: kind of a cry of a process that could not even be started
START = "start"
_FILE = "last-resort"
_REST_S = 3600.0
#: seconds for all channels together; each has its own shorter time limit
_PATIENCE_S = 15.0
#: seconds that the data folder has to say when the last cry was
_DISK_PATIENCE_S = 2.0
_log = logging.getLogger(__name__)


def prepare(bundle: Bundle, kinds: Iterable[str]) -> None:
    """Make the small files while there is room; without room the cry is repeated rather than lost."""
    for kind in (START, *kinds):
        path = _file(bundle, kind)
        try:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("time of the last cry\n")
                os.utime(path, (0, 0))
        except OSError:
            _log.exception("%s cannot be made", path)


def cry(
    bundle: Bundle, reason: str, now: datetime, without: Collection[str] = (), *, kind: str = START
) -> list[str]:
    """Tell the officer on duty and the outside ping; returns the channels that took it. Never raises, never hangs."""
    _log.critical("last resort: %s", reason)
    taken: list[str] = []
    tries = [_aside("ping", lambda: watch.ping(bundle, [reason]))]
    if _may(bundle, kind, now):
        tries += _tell(bundle, reason, now, without, taken)
    end = time.monotonic() + _PATIENCE_S
    for one in tries:
        one.join(max(0.0, end - time.monotonic()))
    return list(taken)


def _tell(
    bundle: Bundle, reason: str, now: datetime, without: Collection[str], taken: list[str]
) -> list[threading.Thread]:
    """One try for each channel, all at once."""
    person = ladder.on_duty(bundle, "primary", now)
    message = alarms.write(bundle, reason, good=False)
    table = channels.build(bundle)

    def send(channel: str, recipient: str) -> None:
        content = {**message.for_channel(channel, "system"), "person": person.person_id}
        letter = Letter(str(uuid4()), alarms.KIND, recipient, content, 1, now, now)
        if isinstance(table[channel].send(letter), Sent):
            taken.append(channel)

    return [
        _aside(way.channel, partial(send, way.channel, way.recipient))
        for way in alarms.ways_of(bundle, person, set(without))
        if way.channel in table
    ]


def _aside(name: str, work: Callable[[], object]) -> threading.Thread:
    """Work in a thread that nobody has to wait for, not even the end of the process."""

    def guarded() -> None:
        try:
            work()
        except Exception:  # noqa: BLE001 (the last resort: the other channels must still be tried)
            _log.exception("last resort by %s failed", name)

    thread = threading.Thread(target=guarded, name=f"last-resort-{name}", daemon=True)
    thread.start()
    return thread


def _file(bundle: Bundle, kind: str) -> Path:
    return bundle.settings.data_path / f"{_FILE}-{kind.replace(':', '-')}"


def _may(bundle: Bundle, kind: str, now: datetime) -> bool:
    """Whether the last cry of this kind is an hour ago; yes when the disk does not say so in time."""
    answer: list[bool] = []
    _aside("file", lambda: answer.append(_rested(bundle, kind, now))).join(_DISK_PATIENCE_S)
    return answer[0] if answer else True


def _rested(bundle: Bundle, kind: str, now: datetime) -> bool:
    path = _file(bundle, kind)
    try:
        if abs(now.timestamp() - path.stat().st_mtime) < _REST_S:
            return False
        os.utime(path, (now.timestamp(), now.timestamp()))
    except OSError:
        try:
            prepare(bundle, [kind])
            os.utime(path, (now.timestamp(), now.timestamp()))
        except OSError:
            _log.exception("%s cannot be written: the cry may be repeated", path)
    return True
