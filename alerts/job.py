"""The two jobs of this room: `tick` turns events and passing time into clocks and outbox rows, `send` empties the outbox.

Both may be run at any time, as often as one likes, and be killed at any point: a tick writes everything it does in
one transaction with its place in the record, a message is claimed before and recorded after it is sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from jinja2 import TemplateError

from alerts import cards, duties, heartbeat, paging, react, sender
from alerts.calendar import WorkCalendar, load_calendar
from alerts.desk import Counts, Desk
from alerts.health import FAILED, SENDER, TICK
from alerts.results import Retry, SendResult
from alerts.sender import Channels, SendSummary
from config.bundle import Bundle
from config.keys import Keys
from incidents import beats, clocks, events, lifecycle
from incidents.clocks import TimerView
from incidents.session import Database
from incidents.states import Refused

READER = "alerts"
#: events and timers worked off in one transaction; keeps SQLite's lock short
_EVENTS, _TIMERS = 20, 20
_CALENDAR = "alerts.calendar"
#: wrong data or a bug of ours: it would fail the same way at every tick
_BUGS = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError, TemplateError, Refused)
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TickSummary:
    """What one tick did; all zero when there was nothing to do."""

    events: int = 0
    deadlines: int = 0
    messages: int = 0
    rungs: int = 0
    overdue: int = 0
    heartbeat: bool = False


def tick(db: Database, bundle: Bundle, keys: Keys, now: datetime) -> TickSummary:
    """Work off new events, timers and clocks that have run out. Running it again at the same `now` does nothing."""
    calendar = load_calendar(bundle.settings.config_dir, bundle.settings.city.timezone)
    counts = Counts()
    more = True
    beaten = False
    while more:
        with db.transaction() as session:
            desk = Desk(session, bundle, keys, calendar, now, counts)
            more = _step(desk)
            if not more:
                beaten = heartbeat.beat_once(desk)
                beats.beat(session, TICK, now, {})
    return TickSummary(counts.events, counts.deadlines, counts.messages, counts.rungs, counts.overdue, beaten)


def _step(desk: Desk) -> bool:
    """One transaction's worth; True when there may be more."""
    session = desk.session
    seen = beats.cursor(session, READER)
    new = events.events_after(session, seen, _EVENTS)
    for event in new:
        _guarded(desk, f"event {event.seq} ({event.kind})", partial(react.on_event, desk, event))
    if new:
        # our own events of this transaction come after these and are read next time
        beats.move_cursor(session, READER, new[-1].seq, desk.now)
    if len(new) == _EVENTS:
        return True  # an acknowledgement further on may stop a timer: read everything first
    timers = clocks.due_timers(session, desk.now, _TIMERS)
    for timer in timers:
        if not _guarded(desk, f"timer {timer.id} ({timer.kind})", partial(_on_timer, desk, timer)):
            clocks.finish_timer(session, timer.id, "superseded", desk.now)
    passed = clocks.passed_deadlines(session, desk.now, _TIMERS)
    for clock in passed:
        if not _guarded(
            desk, f"clock {clock.id} ({clock.rule_id})", partial(duties.notice_passed, desk, clock)
        ):
            clocks.notice_overdue(session, clock.id, desk.now)
    _check_calendar(desk)
    return bool(new) or len(timers) == _TIMERS or len(passed) == _TIMERS


def _guarded(desk: Desk, what: str, action: Callable[[], None]) -> bool:
    """Do one thing in a savepoint. One that cannot be done must not keep all others from being done.

    Errors of the database itself are not caught: they end the whole transaction, which is then tried again.
    """
    try:
        with desk.session.begin_nested():
            action()
    except _BUGS as error:
        _log.exception("%s could not be worked off", what)
        reason = f"{type(error).__name__}: {error}"[:300]
        lifecycle.record_act(
            desk.session,
            "alert_failed",
            {"what": what, "reason": reason},
            actor="system",
            channel="system",
            now=desk.now,
        )
        beats.beat(desk.session, FAILED, desk.now, {"what": what, "reason": reason})
        return False
    return True


def _on_timer(desk: Desk, timer: TimerView) -> None:
    if timer.kind in (paging.LADDER, paging.REACHED):
        paging.on_timer(desk, timer)
    elif timer.kind in (cards.REMIND, cards.YELLOW):
        cards.on_timer(desk, timer)
    elif timer.kind == cards.RED:
        cards.on_red_timer(desk, timer)
    else:
        clocks.finish_timer(desk.session, timer.id, "superseded", desk.now)


def _check_calendar(desk: Desk) -> None:
    """Once after each change of the calendar: count provisional clocks again."""
    known = beats.get_beat(desk.session, _CALENDAR)
    version = desk.calendar.version
    if known is not None and known.value.get("version") == version:
        return
    if known is not None:
        duties.recount_provisional(desk)
    beats.beat(desk.session, _CALENDAR, desk.now, {"version": version})


def send(
    db: Database, bundle: Bundle, keys: Keys, now_fn: Callable[[], datetime], *, limit: int = 200
) -> SendSummary:
    """Send what is due, the most urgent first, at most `limit` messages. No transaction is open while sending."""
    channels = Channels(bundle)
    calendar = load_calendar(bundle.settings.config_dir, bundle.settings.city.timezone)
    summary = SendSummary()
    left = limit
    while left > 0:
        jobs, withdrawn = _claim(db, bundle, channels, now_fn())
        summary.withdrawn += withdrawn
        left -= len(jobs) + withdrawn
        if not jobs and not withdrawn:
            break
        for job in jobs:
            _send_one(db, bundle, keys, calendar, channels, job, now_fn, summary)
    with db.transaction() as session:
        beats.beat(session, SENDER, now_fn(), {})
    return summary


def _claim(db: Database, bundle: Bundle, channels: Channels, now: datetime) -> tuple[list[sender.Job], int]:
    awake = [name for name in ("slack", "email", "folder", "webhook") if not channels.rests(name, now)]
    with db.transaction() as session:
        return sender.claim(session, bundle, now, awake)


def _send_one(
    db: Database,
    bundle: Bundle,
    keys: Keys,
    calendar: WorkCalendar,
    channels: Channels,
    job: sender.Job,
    now_fn: Callable[[], datetime],
    summary: SendSummary,
) -> None:
    started = now_fn()
    until = channels.rests(job.row.channel, started)
    if until is not None:
        # claimed together with the message that was told to wait
        result: SendResult = Retry("its channel rests", (until - started).total_seconds())
    else:
        job = _refreshed(db, job)
        result = channels.send(job, started)
    now = now_fn()
    if isinstance(result, Retry) and result.whole_channel:
        channels.rest(job.row.channel, now, result.after_s)
    with db.transaction() as session:
        sender.write_down(Desk(session, bundle, keys, calendar, now), job.row, result, summary)


def _refreshed(db: Database, job: sender.Job) -> sender.Job:
    """The root of the thread may have been sent in this very batch."""
    if job.row.channel != "slack" or job.root:
        return job
    with db.reading() as session:
        return sender.with_root(session, job)
