"""The whole product, running through the invented day at many times the speed of a clock.

Everything is real but the city: crawler, judge, alerts, outbox, console and report work on simulated time, which
every job gets as `now`. When the simulated clock has caught up with the real one, both go on together.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

import analysis.topics_job
import reports.job
import scheduler
from config.bundle import Bundle, load_bundle
from console.passwords import ensure_first_account, hash_password
from demo import officer
from demo.city import ZONE, load_day, sources
from demo.fake_slack import CHANNEL, TOKEN, FakeSlack
from demo.site import CitySite
from incidents import accounts, beats, events, queries
from incidents.installation import Installation, Problem, open_bundle
from incidents.states import State
from incidents.totals import totals

MARKER = "demo.json"
#: when the walk begins: what was posted in the night is read at once, and nobody waits for the morning
MORNING = clock_time(6)
#: the usual step: sources are read every five minutes
STEP = timedelta(minutes=5)
CITY_PORT = 8602
SLACK_PORT = 8601
#: who sits at the duty desk of the demo
DUTY = "zhiban"


@dataclass(frozen=True)
class Plan:
    """What the command line asked for. `step` is the simulated time between two rounds of all jobs."""

    folder: Path
    once: bool = False
    serve: bool = True
    speed: float = 600
    resume: bool = False
    port: int = 8600
    city: str = ""
    slack: str = ""
    day: date | None = None
    step: timedelta = STEP


@dataclass
class SimulatedClock:
    """The time inside the demo. Calling it tells it; the loop sets it."""

    now: datetime

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Summary:
    """What the day brought."""

    posts: int = 0
    incidents: int = 0
    alerts: int = 0
    first_alert_delay: timedelta | None = None
    report: Path | None = None
    chain_ok: bool = False
    lines: list[str] = field(default_factory=list)


def main(plan: Plan, echo: Callable[[str], None]) -> Summary:
    """Run the demo as planned. Raises Problem for a folder that is not the demo's and for a broken chain."""
    if plan.serve and plan.port == 0:
        plan = replace(plan, port=_free_port())  # links in messages have to name it
    folder = plan.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with scheduler.alone(folder), scheduler.stop_signal() as stop, ExitStack() as stack:
        day, port = _prepare(plan, folder)
        start = datetime.combine(day, clock_time(), ZONE)
        city = stack.enter_context(_city(plan, day, start, port))
        # addresses of posts hold the port: a day that goes on must find its city where it was
        _mark(folder, day, city.base)
        slack = stack.enter_context(_slack(plan))
        home = open_bundle(bundle_of(plan, folder, city.base, slack))
        stack.callback(home.db.close)
        clock = SimulatedClock(_reached(home, datetime.combine(day, MORNING, ZONE)))
        if plan.serve:
            stack.enter_context(_console(home, clock, plan, city.base, slack, echo))
        walk = Walk(home, city, clock, plan, echo)
        walk.through(start + timedelta(days=1), stop.is_set)
        if stop.is_set():
            echo("Stopped.")
            return Summary()
        summary = finish(home, start, clock.now)
        echo("\n".join(summary.lines))
        if not plan.once:
            walk.on(stop.wait)
            echo("Stopped.")
        if not summary.chain_ok:
            raise Problem(
                f"{folder}: the record of the demo does not verify; `quansheng audit verify` says where"
            )
        return summary


def _free_port() -> int:
    with scheduler.listen("127.0.0.1", 0) as probe:
        port: int = probe.getsockname()[1]
        return port


def _prepare(plan: Plan, folder: Path) -> tuple[date, int]:
    """The day to walk through and the city's port (0: any); empties the folder unless the day that stands in it is gone on with."""
    marker = folder / MARKER
    if marker.is_file() and plan.resume:
        known = json.loads(marker.read_text())
        return date.fromisoformat(known["day"]), urlsplit(known["city"]).port or 0
    others = [path for path in folder.iterdir() if path.name not in ("run.lock", MARKER, f"{MARKER}.part")]
    if others and not marker.is_file():
        raise Problem(f"{folder}: holds files that are not the demo's; give another folder with --data")
    for path in others:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    day = plan.day or datetime.now(ZONE).date() - timedelta(days=1)
    return day, CITY_PORT if plan.serve else 0


def _mark(folder: Path, day: date, city: str) -> None:
    """Note whose folder this is; written whole or not at all."""
    part = folder / f"{MARKER}.part"
    part.write_text(json.dumps({"day": day.isoformat(), "city": city}))
    part.replace(folder / MARKER)


def bundle_of(plan: Plan, folder: Path, city: str, slack: str) -> Bundle:
    """The packaged configuration with the invented city's sources. Whatever stands in the working folder or in the
    environment for Slack and mail is put aside: the demo never tells real people."""
    settings: dict[str, Any] = {
        "data_dir": Path(),
        "database": {"url": ""},
        "crawl": {"delay_s": 0.0, "allow_private_hosts": ("127.0.0.1",)},
        "slack": {"token": TOKEN, "signing_secret": "", "channel": CHANNEL, "base_url": slack},
        "mail": {"host": "", "user": "", "password": "", "sender": "quansheng@demo.invalid"},
        "alerts": {"link_base": f"http://127.0.0.1:{plan.port}"},
        "console": {"host": "127.0.0.1", "port": plan.port},
        "reports": {"recipients": ("office@demo.invalid",)},
    }
    (folder / "quansheng.toml").write_text("# The demo's settings come from the command itself.\n")
    bundle = load_bundle(folder / "quansheng.toml", **settings)
    # a log-in must outlast a person's coffee, and minutes of the invented day are seconds
    patient = bundle.settings.console.model_copy(
        update={"session_h": 24 * plan.speed, "idle_min": int(720 * plan.speed)}
    )
    return replace(
        bundle, sources=sources(city), settings=bundle.settings.model_copy(update={"console": patient})
    )


@dataclass(frozen=True)
class RemoteCity:
    """An invented city that runs in another process; only its clock is ours."""

    base: str

    def clock(self, now: datetime) -> None:
        """Let it be `now` there."""
        httpx.post(f"{self.base}/clock", content=now.isoformat(), timeout=10).raise_for_status()


@contextmanager
def _city(plan: Plan, day: date, start: datetime, port: int) -> Iterator[CitySite | RemoteCity]:
    if plan.city:
        yield RemoteCity(plan.city.rstrip("/"))
        return
    try:
        site = CitySite(load_day(day), start, port)
    except OSError:
        if plan.resume:
            raise Problem(
                f"port {port} is taken, where this day's city was; free it or begin a new day"
            ) from None
        site = CitySite(load_day(day), start)  # the usual port is taken: any other does
    with site:
        yield site


@contextmanager
def _slack(plan: Plan) -> Iterator[str]:
    if plan.slack:
        yield plan.slack
        return
    slack = FakeSlack(port=SLACK_PORT if plan.serve else 0)
    try:
        slack.start()
    except OSError:
        slack = FakeSlack().start()
    try:
        yield slack.base_url
    finally:
        slack.stop()


@contextmanager
def _console(
    home: Installation, clock: SimulatedClock, plan: Plan, city: str, slack: str, echo: Callable[[str], None]
) -> Iterator[None]:
    console = scheduler.ConsoleServer(home, clock)
    console.start()
    password = ensure_first_account(home.db, home.settings.data_path, clock.now, must_change=False)
    if password:
        _duty_account(home, password, clock.now)
    echo(
        f"\n  泉声 Quansheng, demo: an invented day of an invented Jinan at {plan.speed:g} times the speed of a clock"
    )
    echo(
        f"  Console:    {console.address}" + (f"   login: {DUTY}   password: {password}" if password else "")
    )
    echo("              (admin, with the same password, keeps the accounts and decides nothing)")
    echo(f"  Slack:      {slack.removesuffix('/api/')}/   (a fake one: what the officers get)")
    echo(f"  Mails:      {home.settings.data_path / 'outbox'}   (.eml files)")
    echo(f"  The city:   {city}/")
    echo("  The very first start compiles the reader: the first incident then comes half a minute later.")
    echo("  Ctrl-C stops.\n")
    try:
        yield
    finally:
        console.stop()


def _duty_account(home: Installation, password: str, now: datetime) -> None:
    """Who keeps the accounts decides nothing: the visitor of the demo sits at the duty desk."""
    with home.db.transaction() as session:
        accounts.create_account(
            session,
            login=DUTY,
            display_name="演示值班员",
            role="duty",
            password_hash=hash_password(password),
            must_change=False,
            now=now,
        )


def _reached(home: Installation, start: datetime) -> datetime:
    """How far the day has come; its beginning at first."""
    with home.db.reading() as session:
        last = beats.get_beat(session, "demo")
    return last.ok_at if last else start


class Walk:
    """Steps through simulated time; a plan to run once does not wait."""

    def __init__(
        self,
        home: Installation,
        city: CitySite | RemoteCity,
        clock: SimulatedClock,
        plan: Plan,
        echo: Callable[[str], None],
    ) -> None:
        self.home = home
        self.city = city
        self.clock = clock
        self.speed = 0 if plan.once else plan.speed
        self._step = plan.step
        self.echo = echo
        self._metronome = scheduler.Metronome(home, clock.now)
        self._told: dict[int, str] = {}

    def step(self, now: datetime) -> None:
        """One round of everything at `now`."""
        self.city.clock(now)
        self.clock.now = now
        self._metronome.advance(now)
        officer.work(self.home, now)
        with self.home.db.transaction() as session:
            beats.beat(session, "demo", now)
        self._tell(now)

    def through(self, end: datetime, stopped: Callable[[], bool]) -> None:
        """Walk to `end`. A slow machine takes longer steps rather than a longer day."""
        begun, origin = time.monotonic(), self.clock.now
        while self.clock.now < end and not stopped():
            now = self.clock.now + self._step
            if self.speed:
                behind = origin + timedelta(seconds=(time.monotonic() - begun) * self.speed)
                while now + self._step <= behind:
                    now += self._step
                while now > behind and not stopped():
                    time.sleep(min(0.2, (now - behind).total_seconds() / self.speed))
                    behind = origin + timedelta(seconds=(time.monotonic() - begun) * self.speed)
            self.step(min(now, end))

    def on(self, wait: Callable[[float], bool]) -> None:
        """After the day: catch up with the real clock at the same speed, then go on beside it, until `wait` is true."""
        last = time.monotonic()
        while not wait(1.0):
            passed, last = time.monotonic() - last, time.monotonic()
            self.step(min(self.clock.now + timedelta(seconds=passed * self.speed), datetime.now(UTC)))

    def _tell(self, now: datetime) -> None:
        """A line for each incident that is new or has moved."""
        with self.home.db.reading() as session:
            known = queries.list_incidents(
                session, states=[str(state) for state in State if state != State.WATCHING], limit=1000
            )
        for item in sorted(known, key=lambda item: item.id):
            if self._told.get(item.id) != str(item.state):
                self._told[item.id] = str(item.state)
                self.echo(
                    f"{now.astimezone(ZONE):%m-%d %H:%M}  {item.number}  {item.state:<12} {item.posts:>3} posts  {item.title}"
                )


def finish(home: Installation, start: datetime, now: datetime) -> Summary:
    """Write the week's report as it stands, and count what the day brought."""
    year, week, _ = start.isocalendar()
    analysis.topics_job.run(home.db, home.bundle, now, (f"{year}-W{week:02d}",))
    written = reports.job.run(home.db, home.bundle, home.keys, now, period=f"{year}-W{week:02d}", send=True)
    scheduler.run_once(
        home, lambda: now, lambda line: None, [job for job in scheduler.JOBS if job.name == "send"]
    )
    summary = Summary(report=written.folder)
    with home.db.reading() as session:
        known = queries.list_incidents(
            session, states=[str(state) for state in State if state != State.WATCHING], limit=10_000
        )
        summary.chain_ok = events.verify(session, home.keys.audit).ok
        count = totals(session)
    summary.posts, summary.incidents, summary.alerts = count.posts, len(known), count.alerts
    told = sorted((item for item in known if item.alerted_at), key=lambda item: item.alerted_at or now)
    summary.lines = [
        f"{summary.posts} posts, {summary.incidents} incidents, {summary.alerts} alerts, {count.messages} messages"
    ]
    for item in told:
        assert item.alerted_at is not None
        delay = item.alerted_at - item.first_posted_at
        if summary.first_alert_delay is None:
            summary.first_alert_delay = delay
        summary.lines.append(
            f"  {item.number}  {item.track:<6} {item.posts:>3} posts  alert {delay.total_seconds() / 60:.0f} min after "
            f"the first post  {item.state}  {item.title}"
        )
    summary.lines.append(
        f"  weekly report: {written.folder}; record: {'whole' if summary.chain_ok else 'BROKEN'}"
    )
    return summary
