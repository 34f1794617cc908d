"""One database with several matters, channels without a network, several configurations and one clock."""

from __future__ import annotations

import shutil
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args
from uuid import uuid4

from sqlalchemy import event

from alerts import extensions, job
from alerts.calendar import WorkCalendar, load_calendar
from alerts.channel import Letter, Limit, Resend
from alerts.desk import Desk
from alerts.results import Refused as Rejected
from alerts.results import Retry, SendResult, Sent, Unknown
from alerts.sender import Channels
from config.bundle import Bundle
from config.sources import WayIn
from console.passwords import hash_password
from incidents import accounts, lifecycle
from incidents.migrate import upgrade
from incidents.posts import NewPost
from incidents.session import Database
from incidents.states import Command
from tests.alert_office import KEYS, T0, bundle_for, emerge
from tests.conftest import AUDIT_KEY, as_admin, database_at

Mood = Literal["ok", "retry", "refused", "lost", "taken", "crash_before", "crash_after"]
WAYS: tuple[str, ...] = get_args(WayIn)
PEOPLE = """
version: v{number}
fallback: zhou
people:
  - {{id: lin, name: 林东, email: lin@jinan.example}}
  - {{id: he, name: 何南, email: he@jinan.example}}
  - {{id: zhou, name: 周北, email: zhou@jinan.example}}
"""
_SHIFTS = """weekly:
  - {name: 白班, from: "08:00", until: "20:00", primary: lin, secondary: he, leader: zhou}
  - {name: 夜班, from: "20:00", until: "08:00", primary: he, secondary: lin, leader: zhou}
"""
_ROUTE = "routes:\n  - {{name: 其他, channels: [slack, email], ladder: [{ladder}], required: [{required}]}}\n"
_NOTICE = (
    "notices: [{year: 2027, title: 通知, rest: {2027-01-01: 元旦, 2027-01-02: 元旦, 2027-01-03: 元旦, 2027-01-04: 元旦,"
    " 2027-02-05: 春节, 2027-02-06: 春节, 2027-02-07: 春节, 2027-02-08: 春节, 2027-02-09: 春节,"
    " 2027-02-10: 春节, 2027-02-11: 春节, 2027-02-12: 春节}, work: [2027-01-30, 2027-02-14]}]"
)
#: configurations that may be put in force at any moment: roster, ladder, roles that must acknowledge, holiday notice
VARIANTS: tuple[tuple[str, str, str, str], ...] = (
    (_SHIFTS, "primary, secondary, leader", "", ""),
    (_SHIFTS, "primary, leader", "", ""),
    (_SHIFTS, "primary, secondary, leader", "primary, leader", ""),
    ("", "primary, secondary, leader", "", ""),  # nobody is on duty: the fallback is asked
    (_SHIFTS, "primary, secondary, leader", "", _NOTICE),
)


class Crash(Exception):
    """The process ends here."""


@dataclass(frozen=True)
class Arrived:
    """One message as its reader has it."""

    channel: str
    outbox_id: str
    kind: str
    incident_id: int | None
    epoch: int
    step: int
    person: str
    at: datetime
    marked: bool


class Line:
    """A channel that does what it is told."""

    limits: tuple[Limit, ...] = ()
    key_window: timedelta | None = None

    def __init__(self, name: str, resend: Resend) -> None:
        self.name, self.resend = name, resend
        self.moods: deque[Mood] = deque()
        self.arrived: list[Arrived] = []
        self._there: dict[str, str] = {}
        self._taken = 0

    def robot(self, recipient: str) -> str:
        """One counter a recipient."""
        return f"{self.name}:{recipient}"

    def forget(self, most: int) -> None:
        """Remember only the newest messages, as every service does; for runs of many days."""
        self.arrived.clear()
        self._there = dict(list(self._there.items())[-most:])

    def check(self) -> SendResult:
        """Always well."""
        return Sent("")

    def send(self, letter: Letter) -> SendResult:
        """One try, in the next mood."""
        mood = self.moods.popleft() if self.moods else "ok"
        if mood == "crash_before":
            raise Crash
        if mood == "retry":
            return Retry("not now")
        if mood == "refused":
            return Rejected("never")
        if mood == "lost":
            return Unknown("no answer")
        known = letter.outbox_id in self._there
        if not (known and (self.resend == "keyed" or (self.resend == "readable" and letter.uncertain))):
            self._take(letter)
        if mood == "crash_after":
            raise Crash
        return Unknown("no answer") if mood == "taken" else Sent(self._there[letter.outbox_id])

    def _take(self, letter: Letter) -> None:
        self._taken += 1
        self._there.setdefault(letter.outbox_id, f"{letter.recipient}:{self._taken:06d}")
        self.arrived.append(
            Arrived(
                self.name,
                letter.outbox_id,
                letter.kind,
                letter.incident_id,
                letter.epoch,
                letter.step,
                str(letter.message.get("person", "")),
                letter.now,
                letter.uncertain,
            )
        )


_SERVER: list[str] = []


@contextmanager
def on_server(url: str) -> Iterator[None]:
    """Worlds of this process live on a PostgreSQL server (its user may create databases), not in files."""
    template = f"quansheng_machine_{uuid4().hex[:12]}"
    as_admin(url, f"CREATE DATABASE {template}")
    database = Database(database_at(url, template), audit_key=AUDIT_KEY)
    _fill(database)
    _SERVER[:] = [url, template]
    try:
        yield
    finally:
        _SERVER.clear()
        as_admin(url, f"DROP DATABASE {template} WITH (FORCE)")


def _fill(database: Database) -> None:
    """The tables, and three people who may or may not approve."""
    upgrade(database.engine)
    with database.transaction() as session:
        for login, role in (("wang", "leader"), ("du", "supervisor"), ("an", "analyst")):
            accounts.create_account(
                session,
                login=login,
                display_name=login,
                role=role,
                password_hash=hash_password("not-a-real-password"),
                now=T0,
            )
    database.close()


@lru_cache(maxsize=1)
def _base() -> Path:
    """A folder of this process: an empty migrated database and the configurations."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="quansheng-machine-", dir=memory if memory.is_dir() else None))
    _fill(Database(f"sqlite:///{folder / 'empty.db'}", audit_key=AUDIT_KEY))
    return folder


@lru_cache(maxsize=len(VARIANTS))
def bundle(number: int) -> Bundle:
    """Configuration `number` of VARIANTS, with a source for each way in."""
    shifts, steps, required, notice = VARIANTS[number]
    folder = _base() / f"config-{number}"
    folder.mkdir(exist_ok=True)
    if notice:
        (folder / "calendar.yaml").write_text(notice, "utf-8")
    made = bundle_for(
        folder,
        slack="http://127.0.0.1:9/api/",
        mail_port=9,
        roster=PEOPLE.format(number=number) + shifts,
        routes=_ROUTE.format(ladder=steps, required=required),
    )
    first = made.sources[0]
    return replace(made, sources=tuple(first.model_copy(update={"id": way, "way": way}) for way in WAYS))


@lru_cache(maxsize=len(VARIANTS))
def calendar(number: int) -> WorkCalendar:
    """The calendar of configuration `number`."""
    settings = bundle(number).settings
    return load_calendar(settings.config_dir, settings.city.timezone)


def remove() -> None:
    """Delete what this process has made."""
    if _base.cache_info().currsize:
        shutil.rmtree(_base(), ignore_errors=True)
        for cached in (_base, _only, bundle, calendar):
            cached.cache_clear()


@dataclass
class World:
    """What one history happens in."""

    folder: Path
    db: Database
    now: datetime = T0
    variant: int = 0
    matters: list[int] = field(default_factory=list)
    lines: dict[str, Line] = field(default_factory=dict)
    _posts: int = 0

    @property
    def bundle(self) -> Bundle:
        """The configuration in force."""
        return bundle(self.variant)

    @property
    def calendar(self) -> WorkCalendar:
        """Its calendar."""
        return calendar(self.variant)

    def detect(self, level: str, way: str, track: str = "burst") -> int:
        """A new matter that came on this way."""
        self._posts += 1
        with self.db.transaction() as session:
            title = f"某小学食堂多人呕吐{self._posts}"
            number = emerge(session, [self._post(way)], now=self.now, level=level, track=track, title=title)
        self.matters.append(number)
        return number

    def _post(self, way: str) -> NewPost:
        return NewPost(
            source_id=way,
            external_id=f"m{self._posts}",
            url="",
            title="",
            text=f"孩子吃完饭回来就吐{self._posts}",
            published_at=self.now - timedelta(minutes=30),
            published_estimated=False,
            fetched_at=self.now,
            author_key=f"author-{self._posts}",
            place_hint="",
            engagement={},
            provenance={},
        )

    def do(self, matter: int, command: Command, actor: str = "lin", channel: str = "console") -> None:
        """A person acts. Raises states.Refused."""
        with self.db.transaction() as session:
            lifecycle.handle(session, matter, command, actor=actor, channel=channel, now=self.now)

    def extend(self, matter: int, rule: str, units: int, approver: str) -> None:
        """A clock gets `units` more. Raises states.Refused."""
        with self.db.transaction() as session:
            desk = Desk(session, self.bundle, KEYS, self.calendar, self.now)
            extensions.extend(
                desk, matter, rule, units, approver=approver, reason="情况复杂", late_reason="补办",
                actor="lin", channel="console",
            )  # fmt: skip

    def tick(self) -> job.TickSummary:
        """One tick."""
        return job.tick(self.db, self.bundle, KEYS, self.now)

    def send(self, moods: tuple[Mood, ...] = ()) -> None:
        """Send what is due; the first tries go as `moods` say. A crash leaves what a crash leaves."""
        ways = Channels(self.bundle)
        ways.table = dict(self.lines)
        for line in self.lines.values():
            line.moods = deque(moods)
        try:
            job.send(self.db, self.bundle, KEYS, lambda: self.now, ways=ways)
        except Crash:
            pass
        finally:
            for line in self.lines.values():
                line.moods.clear()


@contextmanager
def _database(folder: Path) -> Iterator[Database]:
    """An empty database of one world."""
    if _SERVER:
        url, template = _SERVER
        name = f"quansheng_world_{uuid4().hex[:12]}"
        as_admin(url, f"CREATE DATABASE {name} TEMPLATE {template}")
        db = Database(database_at(url, name), audit_key=AUDIT_KEY)
        try:
            yield db
        finally:
            db.close()
            as_admin(url, f"DROP DATABASE {name} WITH (FORCE)")
        return
    db = _only()
    for ending in ("", "-wal", "-shm"):
        (_base() / f"only.db{ending}").unlink(missing_ok=True)
    shutil.copyfile(_base() / "empty.db", _base() / "only.db")
    try:
        yield db
    finally:
        db.close()  # the next world's connections are new ones


@lru_cache(maxsize=1)
def _only() -> Database:
    """The database of this process's only world: a new one would compile every statement anew."""
    db = Database(f"sqlite:///{_base() / 'only.db'}", audit_key=AUDIT_KEY)

    @event.listens_for(db.engine, "connect")
    def careless(connection: Any, _record: Any) -> None:
        # nothing here outlives a power cut, so nothing needs to wait for a disk
        connection.execute("PRAGMA synchronous=OFF")

    return db


@contextmanager
def world() -> Iterator[World]:
    """A new world."""
    folder = Path(tempfile.mkdtemp(prefix="w-", dir=_base()))
    try:
        with _database(folder) as db:
            made = World(folder, db)
            made.lines = {
                "slack": Line("slack", "readable"),
                "email": Line("email", "blind"),
                "folder": Line("folder", "keyed"),
            }
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)
