"""How fast a token or a person may ask. Lives in memory: each console counts its own."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from threading import Lock

_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Turn:
    """Whether a request may go on, how many are left in this minute, and how long to wait for the next (seconds)."""

    go: bool
    left: int
    wait_s: int


class Pace:
    """Requests of the last minute by name. There are as many names as accounts and tokens: few."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._times: dict[str, deque[datetime]] = {}

    def ask(self, name: str, limit: int, now: datetime) -> Turn:
        """One more request of `name`; a refused one does not count."""
        with self._lock:
            times = self._times.setdefault(name, deque())
            # a clock that was set back must not lock anybody out
            while times and not timedelta(0) <= now - times[0] < _MINUTE:
                times.popleft()
            if len(times) >= limit:
                return Turn(False, 0, max(1, ceil((times[0] + _MINUTE - now).total_seconds())))
            times.append(now)
            return Turn(True, limit - len(times), 0)
