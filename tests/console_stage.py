"""A browser before the console of the invented city: every step has a name and a time limit, so that nothing hangs unexplained."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from incidents.queries import IncidentView
from tests.console_city import PEOPLE
from tests.console_world import PASSWORD, World, hidden

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page, Playwright

CHROMIUM = "/usr/bin/chromium"
#: containers often have 64 MB of shared memory, in which a renderer dies; the other flags: no sandbox for root, no card, no calls home
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
WIDE, LAPTOP, PHONE = ({"width": w, "height": h} for w, h in ((1366, 768), (1280, 720), (390, 844)))
#: seconds that one step may take: forty times what the slowest takes on a machine with nothing else to do, so that only
#: what hangs is ended and not what waits for a processor that others use
STEP_S = 240.0
#: seconds for everything on one page
JOURNEY_S = 900.0
#: milliseconds that Playwright waits for one thing: it names the thing, so it must end before the step does
WAIT_MS = 120_000
#: seconds between the end of the browser and that of Playwright's own process, should the first not help
GRACE_S = 10.0
#: scripts that answer a resize run before the second frame after it; a page that is not drawn has no frames, hence the time
SETTLED = """() => new Promise((done) => {
  requestAnimationFrame(() => requestAnimationFrame(() => done(true)));
  setTimeout(() => done(false), 2000);
})"""


class StepTooLong(Exception):
    """A step did not end in its time. The message names it and tells what the other threads did."""


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in task.read_text().split()]
        except OSError:
            continue  # the thread ended while we looked
    return found


def _drivers() -> list[int]:
    """Playwright's own processes among our children; the browsers are theirs."""
    found = []
    for pid in _children(os.getpid()):
        try:
            if b"run-driver" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


def _kill(pids: list[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _stacks() -> str:
    """Where each thread stands: the browser's side is told by the exception itself, this is the console's."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    told = []
    for ident, frame in sys._current_frames().items():
        if ident != threading.get_ident() and not _idle(frame):
            told.append(f"-- {names.get(ident, ident)}\n{''.join(traceback.format_stack(frame)[-12:])}")
    return "\n".join(told)


def _idle(frame: FrameType) -> bool:
    """A thread of a pool that waits for work."""
    return frame.f_code.co_filename.endswith(("queue.py", "_worker.py")) and frame.f_code.co_name in (
        "get",
        "run",
    )


class Steps:
    """Ends a step that takes too long by killing the browser: Playwright's call then raises, wherever it was waiting.

    Playwright itself limits clicks and navigation but neither `evaluate` nor the opening, resizing and closing of pages.
    """

    def __init__(self) -> None:
        self.times: list[tuple[str, float]] = []
        self._name = ""
        self._late = ""

    @contextmanager
    def step(self, name: str, limit_s: float = STEP_S) -> Iterator[None]:
        """One named step. Raises StepTooLong when it has not ended after `limit_s` seconds. The innermost name is told."""
        outer, began = self._name, time.perf_counter()
        self._name = f"{outer} / {name}" if outer else name
        told = self._name
        alarm = threading.Timer(limit_s, self._ring, (told, limit_s))
        alarm.daemon = True
        alarm.start()
        try:
            yield
            self._check(None)
        except StepTooLong:
            raise
        except BaseException as error:
            self._check(error)
            raise
        finally:
            alarm.cancel()
            self._name = outer
            self.times.append((told, time.perf_counter() - began))

    def _check(self, error: BaseException | None) -> None:
        if self._late:
            late, self._late = self._late, ""
            raise StepTooLong(late) from error

    def _ring(self, name: str, limit_s: float) -> None:
        self._late = f"“{name}” did not end within {limit_s:.0f} s\n{_stacks()}"
        print(f"\n{self._late}", file=sys.__stderr__, flush=True)
        drivers = _drivers()
        _kill([browser for driver in drivers for browser in _children(driver)])
        time.sleep(GRACE_S)
        if self._late:
            _kill(drivers)


@dataclass
class Stage:
    """A served city, a browser, and what the browser asked for and complained about."""

    town: World
    made: dict[str, IncidentView]
    address: str
    play: Playwright
    steps: Steps = field(default_factory=Steps)
    asked: set[str] = field(default_factory=set)
    complaints: list[str] = field(default_factory=list)
    #: pages of the menus that were looked at already, by whatever role
    seen: set[str] = field(default_factory=set)
    _browser: Browser | None = None

    @property
    def browser(self) -> Browser:
        """The browser; another one when the last was ended by a step that took too long."""
        if self._browser is None or not self._browser.is_connected():
            with self.steps.step("start the browser"):
                self._browser = self.play.chromium.launch(
                    executable_path=CHROMIUM, args=FLAGS, timeout=WAIT_MS
                )
        return self._browser

    def close(self) -> None:
        """End the browser."""
        if self._browser is not None and self._browser.is_connected():
            with self.steps.step("end the browser"):
                self._browser.close()

    @contextmanager
    def context(self, role: str = "", size: dict[str, int] = WIDE, **more: Any) -> Iterator[BrowserContext]:
        """A browser of its own, logged in as the person of this role; closed at the end, with its streams."""
        with self.steps.step(f"log in as {role}" if role else "open a window"):
            context = self.browser.new_context(viewport=size, **more)  # type: ignore[arg-type]
            context.set_default_timeout(WAIT_MS)
            context.on("request", lambda request: self.asked.add("/".join(request.url.split("/")[:3])))
            context.on("console", lambda message: self._hear(message.text))
            context.on("weberror", lambda error: self.complaints.append(str(error.error)))
            if role:
                self._log_in(context, role)
        try:
            yield context
        finally:
            if self._browser is not None and self._browser.is_connected():
                with self.steps.step("close the window"):
                    context.close()

    def _log_in(self, context: BrowserContext, role: str) -> None:
        """By a request, not by the form: the cookie is there when the answer is, however slow the page that follows."""
        form = hidden(context.request.get(f"{self.address}/login").text(), "/login")
        answer = context.request.post(
            f"{self.address}/login",
            form={**form, "login": PEOPLE[role], "password": PASSWORD},
            headers={"Origin": self.address},
            max_redirects=0,
        )
        assert answer.status == 303, f"nobody was logged in as {role}: {answer.status}"

    def _hear(self, text: str) -> None:
        if "Content Security Policy" in text or "Refused to" in text:
            self.complaints.append(text)

    @contextmanager
    def open(self, role: str, path: str = "/", size: dict[str, int] = WIDE, **more: Any) -> Iterator[Page]:
        """A page of somebody of this role, and all that is done on it within JOURNEY_S."""
        with self.context(role, size, **more) as context:
            with self.steps.step(f"open {path} as {role or 'nobody'}"):
                page = context.new_page()
                page.goto(self.address + path)
            with self.steps.step(f"at work as {role or 'nobody'} from {path}", JOURNEY_S):
                yield page
