"""The two jobs of this room: `tick` turns events and passing time into clocks and outbox rows, `send` empties the outbox.

Both may be run at any time, as often as one likes, by several processes at once, and be killed at any point: a tick
writes everything it does in one transaction with its place in the record, a message is claimed before and recorded
after it is sent. Nobody is elected: who finds work takes the lock that the work needs and looks once more. Both look
by reading first and write only when there is something to do, or when their sign of life is BEAT_EVERY old.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from jinja2 import TemplateError

from alerts import (
    accountability,
    bundling,
    canary,
    cards,
    duties,
    handover,
    heartbeat,
    letters,
    obligations,
    paging,
    promises,
    react,
    recount,
    rota,
    searches,
    sender,
)
from alerts.calendar import WorkCalendar, load_calendar
from alerts.desk import Counts, Desk
from alerts.health import FAILED, SENDER, TICK
from alerts.results import Retry, SendResult
from alerts.sender import Channels, SendSummary
from config.bundle import Bundle
from config.keys import Keys
from incidents import beats, clocks, events, lifecycle, outbox
from incidents.clocks import TimerView
from incidents.letters import TIMER
from incidents.session import Database
from incidents.states import Refused

READER = "alerts"
#: events and timers read at once, and worked off in one transaction; keeps the lock short
_EVENTS, _TIMERS, _WORK = 20, 20, 20
#: saved searches looked at in one tick
_SEARCHES = 20
#: signs of life are written at most this often (alerts.troubles asks for one a minute)
BEAT_EVERY = timedelta(seconds=15)
#: signs of life that every tick looks at
_BEATS = (
    TICK,
    f"cursor:{READER}",
    obligations.BEAT,
    obligations.REMINDED,
    recount.BEAT,
    heartbeat.BEAT,
    handover.BEAT,
)
#: after so long a round of sending begins no further batch: a slow server must not look like a hung sender
_ROUND = timedelta(seconds=20)
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
    with db.reading() as session:
        bundle = rota.in_force(session, bundle, now, calendar)
        beats.look_up(session, _BEATS)
        if _quiet(Desk(session, bundle, keys, calendar, now, counts)):
            return TickSummary()
    more = True
    beaten = recounted = False
    while more:
        with db.transaction() as session:
            # another process may have done it all by now: what is read from here on is final
            events.lock_chain(session)
            beats.look_up(session, _BEATS)
            desk = Desk(session, bundle, keys, calendar, now, counts)
            more = _work(desk)
            if not more and not recounted:
                recounted = True  # one step a tick: a change of the calendar must not keep pages waiting
                more = recount.check(desk)
            if not more:
                beaten = heartbeat.beat_once(desk)
                canary.work(desk)
                handover.work(desk)
                beats.beat(session, TICK, now, {})
    for _ in range(_SEARCHES):
        # each in a transaction of its own, after everything that is urgent
        with db.transaction() as session:
            if not searches.work(Desk(session, bundle, keys, calendar, now, counts)):
                break
    return TickSummary(counts.events, counts.deadlines, counts.messages, counts.rungs, counts.overdue, beaten)


def _quiet(desk: Desk) -> bool:
    """Whether a tick would find nothing to do at all; only reads."""
    session, now = desk.session, desk.now
    return (
        beats.is_fresh(session, TICK, now, BEAT_EVERY)
        and not events.events_after(session, beats.cursor(session, READER), 1)
        and not clocks.due_timers(session, now, 1)
        and not clocks.passed_deadlines(session, now, 1)
        and not obligations.due(desk)
        and not recount.due(desk)
        and not heartbeat.due(desk)
        and not canary.due(desk)
        and not handover.due(desk)
        and not searches.due(desk)
    )


def _work(desk: Desk) -> bool:
    """One transaction's worth: round after round, as one causes the next; True when there may be more."""
    begun = seen = beats.cursor(desk.session, READER)
    done, found = 0, -1
    while found and done < _WORK:
        found, seen = _step(desk, seen)
        done += found
    if seen > begun:
        # our own events of the last round come after these and are read next time
        beats.move_cursor(desk.session, READER, seen, desk.now)
    return True if found else obligations.work(desk)


def _step(desk: Desk, seen: int) -> tuple[int, int]:
    """One round, from the events after number `seen` on: how many things were worked off, and the last event's number."""
    session = desk.session
    new = events.events_after(session, seen, _EVENTS)
    for event in new:
        _guarded(desk, f"event {event.seq} ({event.kind})", partial(react.on_event, desk, event))
    seen = new[-1].seq if new else seen
    if len(new) == _EVENTS:
        return len(new), seen  # an acknowledgement further on may stop a timer: read everything first
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
    if not timers and not passed and not any(react.asks(event) for event in new):
        return 0, seen  # nothing was written that a further round could find
    # what a timer has written (asked again) is worked off at once
    return len(new) + len(timers) + len(passed), seen


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
    elif timer.kind == paging.PROGRESS:
        paging.on_progress(desk, timer)
    elif timer.kind == paging.OUTER:
        paging.on_outer(desk, timer)
    elif timer.kind == accountability.FOLLOW:
        accountability.on_timer(desk, timer)
    elif timer.kind == TIMER:
        letters.on_timer(desk, timer)
    elif timer.kind in (cards.REMIND, cards.YELLOW):
        cards.on_timer(desk, timer)
    elif timer.kind == cards.RED:
        cards.on_red_timer(desk, timer)
    elif timer.kind == promises.KIND:
        promises.on_timer(desk, timer)
    else:
        clocks.finish_timer(desk.session, timer.id, "superseded", desk.now)


def send(
    db: Database,
    bundle: Bundle,
    keys: Keys,
    now_fn: Callable[[], datetime],
    *,
    limit: int = 200,
    only: list[str] | None = None,
    ways: Channels | None = None,
) -> SendSummary:
    """Send what is due, the most urgent first, at most `limit` messages or 20 s. No transaction is open while sending.

    `only` names channels: with a sender for each of them a hanging one holds up nobody else. `ways` keeps its
    memory of resting robots and tokens between calls.
    """
    ways = ways or Channels(bundle)
    calendar = load_calendar(bundle.settings.config_dir, bundle.settings.city.timezone)
    summary = SendSummary()
    left = limit
    with db.reading() as session:
        now = now_fn()
        due = bool(outbox.due(session, now, channels=only, limit=1))
        due = due or (not db.is_sqlite and outbox.under_way(session, only))
        well = beats.is_fresh(session, SENDER, now, BEAT_EVERY)
        if due:
            bundle = rota.in_force(session, bundle, now, calendar)
    presence = db.presence() if due else 0
    if due:
        with db.transaction() as session:
            # before the chain's lock, which bundles need as well
            outbox.hold(session, only)
            events.lock_chain(session)
            now = now_fn()
            sender.reroute(Desk(session, bundle, keys, calendar, now), ways, only)
            summary.bundled = bundling.put_together(session, bundle, now, only)
    while due and left > 0 and now_fn() - now < _ROUND:
        with db.transaction() as session:
            jobs, withdrawn = sender.claim(session, bundle, now_fn(), ways, only, presence)
        summary.withdrawn += withdrawn
        left -= len(jobs) + withdrawn
        if not jobs and not withdrawn:
            break
        for job in jobs:
            _send_one(db, bundle, keys, calendar, ways, job, now_fn, summary)
    if not well:
        with db.transaction() as session:
            beats.beat(session, SENDER, now_fn(), {})
    return summary


def clock_set_back(db: Database, now: datetime) -> int:
    """Messages that wait for their next try would wait for the old time of day: they wait no longer than a try ever does."""
    with db.transaction() as session:
        outbox.hold(session)
        return outbox.hurry(session, now, sender.LONGEST_RETRY_S)


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
    until = channels.rests(job.row.robot, started)
    if until is not None:
        # claimed together with the message that was told to wait
        result: SendResult = Retry("its robot rests", (until - started).total_seconds())
    elif started + timedelta(seconds=bundle.settings.alerts.send_timeout_s) > job.until:
        # this process stood still: another one may have taken the message by now, and will say so
        result = Retry("its lease ran out before its turn came", 0.0)
    else:
        job = _refreshed(db, job)
        result = channels.send(job, started)
    now = now_fn()
    if isinstance(result, Retry) and result.whole_channel:
        channels.rest(job.row.robot, now, result.after_s)
    with db.transaction() as session:
        events.lock_chain(session)
        sender.write_down(Desk(session, bundle, keys, calendar, now), job.row, result, summary)


def _refreshed(db: Database, job: sender.Job) -> sender.Job:
    """The root of the thread may have been sent in this very batch."""
    if job.row.channel != "slack" or job.row.incident_id is None:
        return job
    with db.transaction() as session:
        return sender.with_root(session, job)
