"""The clock of the house: one table JOBS (name, work, when) in the order of the stages, and what keeps it turning.

APScheduler is only the metronome. Its store is memory: no deadline, page or report is a job; each is a row that a
tick finds. Watchdogs on the monotonic clock end the process (code 70) when the tick or a sender has been silent too
long, so that a supervisor starts it anew: a dead process is seen, a hung one is not. Before it ends it cries by every
channel without the database. A database that a newer version has migrated ends it too.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import signal
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import FrameType
from zoneinfo import ZoneInfo

import structlog
import uvicorn
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

import alerts.job
import alerts.last_resort
import alerts.watch
import analysis.job
import analysis.replies_job
import analysis.topics_job
import backtest
import heap
import reports.accountability_job
import reports.evaluation_job
import reports.job
import spiders.evidence_job
import spiders.intake.job
import spiders.job
from alerts.facts import wording_of
from alerts.sender import Channels
from alerts.slack_socket import SlackSocket
from config.routes import CHANNELS
from config.settings import Settings
from console.app import create_app
from incidents import beats, index, retention, snapshot
from incidents.installation import Installation, Problem
from incidents.letter_text import LetterText
from incidents.trouble import SchemaTooNew
from spiders.collector import Collector

log = structlog.get_logger("scheduler")

Clock = Callable[[], datetime]
#: seconds without a good tick after which the process is held for hung; a tick comes every 2 s and waits 10 s for locks
SILENCE_LIMIT_S = 30.0
#: the same for a sender and for the watch, which wait for slow services within their time limits
SENDER_LIMIT_S = 180.0
#: the watch looks first when tick and senders had time to show that they are well: no false alarm at each start
FIRST_WATCH = timedelta(seconds=20)
#: when what is loaded is taken for what stays (heap.settle)
SETTLE_AFTER_S = (3.0, 15.0, 60.0, 600.0, 3600.0)
#: code of a process that its watchdog ended (EX_SOFTWARE)
EXIT_HUNG = 70
#: a wall clock that falls back by more than this makes the metronome wait for times long gone
CLOCK_JUMP_S = 0.5
#: a purge sweeps the evidence folder so often before it gives up, and waits so long in between
SWEEPS, SWEEP_PAUSE_S = 5, 1.0
#: signs of life are written at most this often, so that an idle house does not write all the time
BEAT_EVERY = timedelta(seconds=15)


# --- jobs --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """One stage: `work` does what is due at clock() and returns a summary; `when` makes its trigger, given
    the settings and the time at which the house starts."""

    name: str
    work: Callable[[Installation, Clock], object]
    when: Callable[[Settings, datetime], BaseTrigger]
    #: the same stage in parts that do not wait for each other; the running house works with these
    parts: Callable[[Installation], Sequence[Job]] | None = None
    #: ends what goes on between two runs; called once when the house stops
    end: Callable[[], None] | None = None


def _crawl(home: Installation, clock: Clock) -> object:
    return spiders.job.run(home.db, home.bundle, home.keys, clock(), clock=clock)


def _intake(home: Installation, clock: Clock) -> object:
    return spiders.intake.job.run(home.db, home.bundle, home.keys, clock(), clock=clock)


def _intakes(home: Installation) -> Sequence[Job]:
    """One for each source that hands rows over: a file of a million rows, or a database that hangs, holds up nobody else."""

    def part(name: str) -> Callable[[Installation, Clock], object]:
        return lambda home, clock: spiders.intake.job.run(
            home.db, home.bundle, home.keys, clock(), only=[name], clock=clock
        )

    own = spiders.intake.job.own_sources(home.bundle.sources)
    return [Job(f"intake:{one.id}", part(one.id), every(5)) for one in own if one.enabled]


def _collector(home: Installation) -> Sequence[Job]:
    """Crawls that do not wait for each other: a look every two seconds begins what has become due."""
    collector = Collector(home.db, home.bundle, home.keys)
    return [Job("crawl", lambda _, clock: collector.step(clock(), clock), every(2), end=collector.stop)]


def _judge(home: Installation, clock: Clock) -> object:
    return analysis.job.run(home.db, home.bundle, clock())


def _replies(home: Installation, clock: Clock) -> object:
    return analysis.replies_job.run(home.db, home.bundle, clock())


def _evidence(home: Installation, clock: Clock) -> object:
    return spiders.evidence_job.run(home.db, home.bundle, home.keys, clock())


def _tick(home: Installation, clock: Clock) -> object:
    return alerts.job.tick(home.db, home.bundle, home.keys, clock())


def _send(home: Installation, clock: Clock) -> object:
    return alerts.job.send(home.db, home.bundle, home.keys, clock)


def _senders(home: Installation) -> Sequence[Job]:
    """One sender for each channel, so that one that hangs holds up nobody else; the folder's takes what is left over."""
    ways = Channels(home.bundle)
    names = [name for name in ways.table if name != "folder"]
    rest = [name for name in CHANNELS if name not in names]

    def sender(only: Sequence[str]) -> Callable[[Installation, Clock], object]:
        return lambda home, clock: alerts.job.send(
            home.db, home.bundle, home.keys, clock, only=list(only), ways=ways
        )

    return [
        *(Job(f"send:{name}", sender([name]), every(2)) for name in names),
        Job("send:folder", sender(rest), every(2)),
    ]


def _watch(home: Installation, clock: Clock) -> object:
    return alerts.watch.run(home.db, home.bundle, home.keys.audit, clock())


def _topics(home: Installation, clock: Clock) -> object:
    return analysis.topics_job.run_due(home.db, home.bundle, clock())


def _weekly(home: Installation, clock: Clock) -> object:
    now = clock()
    with home.db.transaction() as session:
        start = beats.get_beat(session, "installed")
        if start is None:
            beats.beat(session, "installed", now)
    # no report about the time before this house was there
    if start is None:
        return None
    return reports.job.run_due(home.db, home.bundle, home.keys, now, installed=start.ok_at)


def _accountability(home: Installation, clock: Clock) -> object:
    return reports.accountability_job.run_due(home.db, home.bundle, clock())


def _evaluate(home: Installation, clock: Clock) -> object:
    return reports.evaluation_job.run_due(home.db, home.bundle, clock())


def _backtest(home: Installation, clock: Clock) -> object:
    return backtest.run_waiting(home, clock)


def _index(home: Installation, clock: Clock) -> object:
    return index.compact(home.db)


def _purge(home: Installation, clock: Clock) -> object:
    now = clock()
    with home.db.transaction() as session:
        report = retention.purge(session, now, home.settings.privacy)
    with home.db.reading() as session:
        missed = retention.overlooked(session)
    with home.db.transaction() as session:
        retention.note_check(session, missed, now)
    for attempt in range(SWEEPS):
        if attempt:
            time.sleep(SWEEP_PAUSE_S)  # the evidence job holds the folder for moments only
        swept = spiders.evidence_job.sweep(home.db, home.bundle, home.keys, now)
        if not swept.trouble:
            return report
    raise Problem(
        f"what was to be deleted is gone from the database, but the evidence folder could not be brought into line: "
        f"{swept.trouble}; `quansheng purge` does it again"
    )


def _copy(home: Installation, clock: Clock) -> object:
    """The de-identified copy for the analysts' SQL, when it is wanted and has become old."""
    file, now = home.settings.data_path / snapshot.NAME, clock()
    wanted = home.settings.api
    if not wanted.sql:
        return None
    with home.db.reading() as session:
        if not snapshot.due(session, file, timedelta(minutes=wanted.sql_refresh_min), now):
            return None
        return snapshot.write(session, home.bundle, file, now)


def every(seconds: float) -> Callable[[Settings, datetime], BaseTrigger]:
    """The trigger of a job that runs every so many seconds."""
    return lambda settings, start: IntervalTrigger(seconds=seconds, start_date=start, timezone=UTC)


def _daily(hour: int, minute: int) -> Callable[[Settings, datetime], BaseTrigger]:
    return lambda settings, start: CronTrigger(
        hour=hour, minute=minute, timezone=ZoneInfo(settings.city.timezone)
    )


#: Every stage in the order in which a post passes them.
JOBS: tuple[Job, ...] = (
    Job("crawl", _crawl, every(15), _collector),  # the sources that are due; each has its own interval
    Job("intake", _intake, every(5), _intakes),  # folders, pushes and views; each has its own interval too
    Job("judge", _judge, every(5)),
    Job("replies", _replies, every(15)),  # what official answers say and promise
    Job("evidence", _evidence, every(30)),  # originals of posts that joined an incident
    Job("tick", _tick, every(2)),  # deadlines, ladder, daily heartbeat: messages into the outbox
    Job("send", _send, every(2), _senders),
    Job("watch", _watch, every(30)),  # a clean audit, then the outside ping
    Job("topics", _topics, every(300)),  # once a day in fact; before the weekly report, which tells them
    Job(
        "weekly", _weekly, every(300)
    ),  # looks whether the week's report is still missing: downtime loses none
    Job("accountability", _accountability, every(300)),  # once an hour in fact: the tables of each period
    Job("evaluate", _evaluate, every(300)),  # incidents that were answered and then moved; weeks and months
    Job("backtest", _backtest, every(10)),  # what somebody wants tried on the past; beside everything else
    Job("copy", _copy, every(60)),  # what analysts ask by SQL
    Job("purge", _purge, _daily(3, 17)),
    Job(
        "index", _index, every(60)
    ),  # what a purge or an objection removed goes from the index too, in small steps
)


def summary(result: object) -> str:
    """A job's result in a few words: its fields that are not empty."""
    if result is None:
        return "nothing due"
    describe = getattr(result, "describe", None)
    if callable(describe):
        return str(describe())
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        shown = [
            f"{field.name} {len(value) if isinstance(value, (list, tuple, dict, set)) else value}"
            for field in dataclasses.fields(result)
            if (value := getattr(result, field.name)) not in (None, 0, "", (), [], {})
        ]
        return ", ".join(shown) or "nothing to do"
    return str(result)


# --- simulated time ----------------------------------------------------------------------------------------------


class Metronome:
    """Runs jobs at times that the caller gives: demo and replay walk through a day with it.

    Jobs that became due since the last step run once each, in the order of the table. An error is the caller's.
    """

    def __init__(self, home: Installation, start: datetime, jobs: Sequence[Job] = JOBS) -> None:
        self.home = home
        self.jobs = tuple(jobs)
        self._triggers = {job.name: job.when(home.settings, start) for job in self.jobs}
        self._next = {job.name: self._triggers[job.name].get_next_fire_time(None, start) for job in self.jobs}

    def advance(self, now: datetime) -> dict[str, object]:
        """Let it be `now`; returns the result of each job that ran."""
        done: dict[str, object] = {}
        for job in self.jobs:
            due = self._next[job.name]
            if due is None or due > now:
                continue
            done[job.name] = job.work(self.home, lambda: now)
            self._next[job.name] = self._triggers[job.name].get_next_fire_time(
                now, now + timedelta(microseconds=1)
            )
        return done


def _log_failure(job: Job, failure: Exception) -> None:
    """A trouble that a person can put right is one sentence; a bug keeps its traceback."""
    if isinstance(failure, Problem):
        log.error("job_failed", job=job.name, reason=str(failure))
    else:
        log.error("job_failed", job=job.name, exc_info=failure)


def run_once(
    home: Installation, clock: Clock, echo: Callable[[str], None], jobs: Sequence[Job] = JOBS
) -> bool:
    """Every job once, in order. A job that fails is told and does not stop the others; returns whether all went well."""
    good = True
    for job in jobs:
        begun = time.monotonic()
        try:
            result = job.work(home, clock)
        except Exception as exc:  # noqa: BLE001 (the border: the next stage has work of its own)
            _log_failure(job, exc)
            echo(f"{job.name}: failed: {exc or type(exc).__name__}; the log has the details")
            good = False
        else:
            echo(f"{job.name}: {summary(result)} ({time.monotonic() - begun:.1f} s)")
    return good


# --- watchdog ----------------------------------------------------------------------------------------------------


class Watchdog:
    """Ends the process when nothing has called `alive` for `limit_s`, and tells when the wall clock was set back."""

    def __init__(
        self,
        expire: Callable[[float], None],
        jumped: Callable[[float], None],
        *,
        limit_s: float = SILENCE_LIMIT_S,
        monotonic: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._expire = expire
        self._jumped = jumped
        self._limit_s = limit_s
        self._monotonic = monotonic
        self._wall = wall
        self._last = monotonic()
        self._offset = wall() - monotonic()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    @property
    def awake(self) -> bool:
        """Whether it still looks; somebody must watch the watchdog."""
        return self._stop.is_set() or self._thread.is_alive()

    def alive(self) -> None:
        """The tick went well just now."""
        self._last = self._monotonic()

    def check(self) -> None:
        """Look once."""
        offset = self._wall() - self._monotonic()
        if offset < self._offset - CLOCK_JUMP_S:
            self._jumped(self._offset - offset)
        self._offset = offset
        silent = self._monotonic() - self._last
        if silent > self._limit_s:
            self._expire(silent)

    def start(self) -> None:
        """Look every second from now on."""
        self._last = self._monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Look no longer."""
        self._stop.set()

    def _watch(self) -> None:
        while not self._stop.wait(1.0):
            self.check()


def end_process(job: str, silent_s: float) -> None:
    """Leave at once with EXIT_HUNG, whatever the other threads do."""
    log.critical("watchdog", job=job, silent_s=round(silent_s), exit_code=EXIT_HUNG)
    os._exit(EXIT_HUNG)  # threads may hang for ever: nothing that could wait for them


# --- the running house -------------------------------------------------------------------------------------------


class House:
    """Jobs on the metronome, guarded. `start` and `stop` are its life."""

    def __init__(
        self,
        home: Installation,
        clock: Clock,
        jobs: Sequence[Job] = JOBS,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.home = home
        self._clock = clock
        self._wall = wall
        #: why a job failed last time, while it fails
        self._failing: dict[str, str] = {}
        #: set when this process must end: another version has taken over its database
        self.ended: SchemaTooNew | None = None
        self._jobs = tuple(
            part for job in jobs for part in (job.parts(home) if job.parts is not None else (job,))
        )
        self._beats: dict[str, datetime] = {}
        #: with the roster in force as the watch last saw it: a last cry cannot ask the database who stands in
        self._bundle = home.bundle
        self._socket: SlackSocket | None = None
        self._scheduler = BackgroundScheduler(
            timezone=UTC,
            # a thread for each job: ten that hang must not keep the tick waiting
            executors={"default": ThreadPoolExecutor(len(self._jobs) + 1)},
            # a late run is run, late runs are one run, no job runs twice at once
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )
        #: the tick, each sender, and the watch that would tell of everything else: a hung one is seen by nobody else
        self._watchdogs = {
            job.name: Watchdog(
                partial(self._hung, job.name),
                self._clock_was_set_back if job.name == "tick" else lambda seconds: None,
                limit_s=SILENCE_LIMIT_S if job.name == "tick" else SENDER_LIMIT_S,
                monotonic=monotonic,
                wall=wall,
            )
            for job in self._jobs
            if job.name in ("tick", "watch") or job.name.startswith("send")
        }

    def start(self) -> None:
        """Begin; the first run of every repeated job is now."""
        spiders.intake.job.begin()
        alerts.last_resort.prepare(self.home.bundle, self._watchdogs)
        wall = self._real()  # the metronome beats in real time, whatever time its jobs are told
        for job in self._jobs:
            trigger = job.when(self.home.settings, wall)
            begin = wall + FIRST_WATCH if job.name == "watch" else wall
            first = {"next_run_time": begin} if isinstance(trigger, IntervalTrigger) else {}
            self._scheduler.add_job(self._guarded, trigger, args=(job,), id=job.name, name=job.name, **first)
        self._scheduler.start()
        if self.home.settings.slack.app_token.get_secret_value():
            self._socket = SlackSocket(self.home.db, self.home.bundle, self.home.keys, self._clock).start()
        for watchdog in self._watchdogs.values():
            watchdog.start()

    def stop(self) -> None:
        """Let running jobs finish, start no more."""
        for watchdog in self._watchdogs.values():
            watchdog.stop()
        for job in self._jobs:
            if job.end is not None:
                job.end()
        spiders.intake.job.stop()
        spiders.job.stop()
        if self._socket is not None:
            self._socket.stop()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=True)

    def look(self) -> None:
        """Called every second from outside the metronome. Raises SchemaTooNew when this process must end."""
        if self.ended is not None:
            raise self.ended
        for name, watchdog in self._watchdogs.items():
            if not watchdog.awake:
                self._hung(f"watchdog of {name}", 0.0)

    def _real(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC)

    def _hung(self, job: str, silent_s: float) -> None:
        """Say it by every channel that does not hang, then leave."""
        say = wording_of(self.home.bundle)
        why = self._failing.get(job)
        if why is None:
            # a job that hangs cannot say on what; those that fail meanwhile often can
            others = Counter(self._failing.values()).most_common(1)
            why = say("没有响应；其他任务报告：{why}", why=others[0][0]) if others else say("没有响应")
        if job.startswith("send:"):
            what = say("{name} 的发送", name=job.removeprefix("send:"))
        else:
            what = {"tick": say("时钟"), "watch": say("系统自检")}.get(job, job)
        text = say(
            "{what}已{n}秒没有正常运行，进程自行结束等待重启：{why}", what=what, n=round(silent_s), why=why
        )
        alerts.last_resort.cry(self._bundle, text, self._real(), [job.removeprefix("send:")], kind=job)
        end_process(job, silent_s)

    def _guarded(self, job: Job) -> None:
        if self.ended is not None:
            return
        try:
            result = job.work(self.home, self._clock)
            self._beat(job.name)
        except SchemaTooNew as exc:
            _log_failure(job, exc)
            self.ended = exc
            return
        except Exception as exc:  # noqa: BLE001 (the border: a dead metronome is worse than a late stage)
            _log_failure(job, exc)
            self._failing[job.name] = str(exc)[:300] or type(exc).__name__
            return
        if isinstance(result, alerts.watch.Audit) and result.bundle is not None:
            self._bundle = result.bundle
        self._failing.pop(job.name, None)
        if job.name in self._watchdogs:
            self._watchdogs[job.name].alive()
        log.debug("job_done", job=job.name, result=summary(result))

    def _beat(self, name: str) -> None:
        now = self._clock()
        last = self._beats.get(name)
        if last is not None and timedelta(0) <= now - last < BEAT_EVERY:
            return
        with self.home.db.transaction() as session:
            beats.beat(session, f"job:{name}", now)
            if (
                ":" in name
            ):  # one part of a stage: the stage lives while any part does, the parts are watched too
                beats.beat(session, f"job:{name.partition(':')[0]}", now)
        self._beats[name] = now

    def _clock_was_set_back(self, seconds: float) -> None:
        log.warning("clock_jump", seconds=-round(seconds, 1))
        wall = self._real()
        try:
            alerts.job.clock_set_back(self.home.db, self._clock())
        except Problem as exc:
            log.error("clock_jump", reason=str(exc))  # the tick will meet the same trouble and say so
        for job in self._jobs:
            if isinstance(job.when(self.home.settings, wall), IntervalTrigger):
                self._scheduler.modify_job(job.name, next_run_time=wall)


def _letter_docx(letter: LetterText, at: datetime) -> bytes:
    from reports.letter_docx import letter_docx  # loads the maker of DOCX, which few days need

    return letter_docx(letter, at)


class ConsoleServer:
    """The console in a thread of this process. `address` is where it answers."""

    def __init__(self, home: Installation, clock: Clock) -> None:
        settings = home.settings.console
        self._socket = listen(settings.host, settings.port)
        host = "127.0.0.1" if settings.host in ("", "0.0.0.0") else settings.host  # noqa: S104 (for showing)
        self.address = f"http://{host}:{self._socket.getsockname()[1]}"
        app = create_app(home.db, home.bundle, home.keys, clock, _letter_docx)
        self._live = app.state.live
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=5,
                # whoever names people in headers is told by the true address, not by one in a header
                proxy_headers=not home.settings.gateway.header,
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, name="console", daemon=True
        )

    def start(self) -> None:
        """Serve from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Finish open requests and close the port."""
        self._live.close()
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()


def listen(host: str, port: int) -> socket.socket:
    """A socket bound there. Raises Problem when the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)  # only a listening socket keeps others off the port
    except OSError as exc:
        listener.close()
        raise Problem(
            f"the console cannot listen on {host}:{port}: {exc.strerror}; set console.port (demo: --port) to a free one"
        ) from exc
    return listener


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the data folder: a second process on it would page everybody twice. Raises Problem if it is held."""
    path = folder / "run.lock"
    with path.open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            raise Problem(
                f"{folder}: Quansheng is running on this folder already (process {holder}); stop it first"
            ) from exc
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@contextmanager
def stop_signal() -> Iterator[threading.Event]:
    """An event that SIGTERM and SIGINT set; the old handlers are back afterwards."""
    stop = threading.Event()

    def handler(number: int, frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def until(stop: threading.Event, look: Callable[[], object] = lambda: None) -> None:
    """Wait for `stop` and look every second. Settles some times in the first hour, as models are loaded when first needed.

    Not for ever: what is alive at such a moment and becomes a circle of garbage later is never found.
    """
    begun, times = time.monotonic(), deque(SETTLE_AFTER_S)
    while not stop.wait(1.0):
        look()
        if times and time.monotonic() - begun >= times[0]:
            times.popleft()
            heap.settle()


def run(home: Installation, clock: Clock, echo: Callable[[str], None], banner: Callable[[str], None]) -> None:
    """Everything on schedule, and the console, until SIGTERM or Ctrl-C. `banner` gets the console's address."""
    with alone(home.settings.data_path), stop_signal() as stop:
        console = ConsoleServer(home, clock)
        house = House(home, clock)
        console.start()
        banner(console.address)
        house.start()
        try:
            until(stop, house.look)
        finally:
            echo("Stopping: running work is being finished ...")
            house.stop()
            console.stop()
            home.db.close()
    echo("Stopped.")
