"""Live updates: one look a second at the newest change for all listeners of this process, told as server-sent events."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime

from starlette.concurrency import run_in_threadpool

from incidents.trouble import DatabaseTrouble

#: seconds between two looks at the database, however many listen
LOOK_EVERY_S = 1.0
#: seconds after which a listener hears that the line is alive, and its session is looked at again
BEAT_S = 15.0
#: milliseconds after which a browser calls again when the line broke
RETRY_MS = 3000
#: listeners of one process; those beyond poll
MOST = 500


class Beacon:
    """Knows the newest change. Looks only while somebody listens; lives in the event loop that serves the console."""

    def __init__(self, look: Callable[[], int], *, every_s: float = LOOK_EVERY_S, most: int = MOST) -> None:
        self.newest = 0
        self.closed = False
        self._look = look
        self._every_s = every_s
        self._most = most
        self._bells: set[asyncio.Event] = set()
        self._watch: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def full(self) -> bool:
        """Whether nobody more can listen."""
        return self.closed or len(self._bells) >= self._most

    @contextmanager
    def listening(self) -> Iterator[asyncio.Event]:
        """A bell that rings with every change, for as long as somebody listens."""
        bell = asyncio.Event()
        self._bells.add(bell)
        if self._watch is None or self._watch.done():
            self._loop = asyncio.get_running_loop()
            self._watch = self._loop.create_task(self._watching())
        try:
            yield bell
        finally:
            self._bells.discard(bell)

    async def _watching(self) -> None:
        while self._bells and not self.closed:
            # a database in trouble is told by the pages themselves; the line stays up and looks again
            with suppress(DatabaseTrouble):
                newest = await run_in_threadpool(self._look)
                if newest != self.newest:
                    self.newest = newest
                    self._ring()
            await asyncio.sleep(self._every_s)

    def _ring(self) -> None:
        for bell in self._bells:
            bell.set()

    def close(self) -> None:
        """End every stream, so that the server need not wait for them. May be called from any thread."""
        self.closed = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._ring)


async def stream(
    beacon: Beacon,
    *,
    after: int,
    alive: Callable[[], bool],
    now: Callable[[], datetime],
    beat_s: float = BEAT_S,
) -> AsyncIterator[str]:
    """What one browser hears: `change` with the number of the newest change, `beat` when nothing happened, `end` when logged out.

    `after`: the newest change that the page shows already. Nothing but numbers and the time goes over the line: what
    happened is fetched by the page itself, with the rights of whoever sits there.
    """
    with beacon.listening() as bell:
        yield f"retry: {RETRY_MS}\n\n"
        while not beacon.closed:
            bell.clear()
            if not await run_in_threadpool(alive):
                yield "event: end\ndata: end\n\n"
                return
            if beacon.newest not in (0, after):
                after = beacon.newest
                yield f"id: {after}\nevent: change\ndata: {now().isoformat()}\n\n"
            else:
                yield f"event: beat\ndata: {now().isoformat()}\n\n"
            with suppress(TimeoutError):
                await asyncio.wait_for(bell.wait(), beat_s)
