"""A change of settings or time limits tried on the past before it is switched on: `quansheng backtest`, and the job that answers the console."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from alerts import backtest as limits
from alerts.calendar import load_calendar
from analysis import backtest
from analysis.backtest import Comparison
from analysis.emerge import BASELINE, RECENT
from analysis.job import is_news
from analysis.judge import Judge, JudgeInput
from analysis.model_store import folder_of
from analysis.playback import Message, Player
from config.domains import IDS
from config.settings import FAST_LIMITS
from incidents import backtests
from incidents.backtests import Change, Told
from incidents.installation import Installation, Problem
from incidents.posts import PostRow
from incidents.session import Session

#: weeks before the period from which both settings learn what is ordinary
LEARNT = RECENT + BASELINE + timedelta(weeks=12)
_BATCH = 256
#: posts between two signs of how far it is
_TELL_EVERY = 5000

Progress = Callable[[float], None]


@dataclass(frozen=True)
class Answer:
    """What a backtest found."""

    change: Change
    detection: Comparison | None
    rules: tuple[limits.RuleOutcome, ...]

    def as_dict(self) -> dict[str, Any]:
        """For keeping and for scripts."""
        return {
            "change": self.change.as_json(),
            "detection": self.detection.as_dict() if self.detection is not None else None,
            "rules": [one.as_dict() for one in self.rules],
        }

    def lines(self) -> list[str]:
        """For a terminal."""
        out: list[str] = []
        found = self.detection
        if found is not None:
            count = found.of
            out += [
                f"{found.posts} posts in {found.weeks:.1f} weeks",
                f"raised as it is {count('lost', 'same', 'earlier', 'later')}, with the change {count('gained', 'same', 'earlier', 'later')} "
                f"({count('gained', 'same', 'earlier', 'later') / found.weeks:.2f} a week)",
                f"no longer raised {count('lost')}: {count('lost', word='real')} that people confirmed, "
                f"{count('lost', word='false_alarm')} false alarms, {count('lost', word='open') + count('lost', word='unseen')} others",
                f"raised in addition {count('gained')}: {count('gained', word='real')} that people confirmed by another way, "
                f"{count('gained', word='unseen')} that nobody has seen",
                f"later {count('later')}, earlier {count('earlier')}",
            ]
            for line in found.lines:
                if line.outcome == "same":
                    continue
                alarm = line.before or line.after
                assert alarm is not None
                matter = line.matter
                name = (matter.number or f"cluster:{line.cluster}") if matter else f"cluster:{line.cluster}"
                late = f" by {line.delay.total_seconds() / 3600:+.1f} h" if line.delay else ""
                out.append(
                    f"  {line.outcome}{late}  {alarm.at:%Y-%m-%d %H:%M}  {name}  {matter.title if matter else ''}"
                )
        for rule in self.rules:
            out.append(
                f"{rule.rule}: {rule.amount_before} -> {rule.amount_after} {rule.unit}: of {rule.clocks} clocks late {rule.late_before} "
                f"-> {rule.late_after}, {rule.running} still running"
            )
            out += [
                f"  {'late' if one.late else 'in time'}  {one.clock.number}  {one.clock.department or '-'}  due {one.due_at:%Y-%m-%d %H:%M}"
                for one in rule.moved
            ]
        return out


def check(home: Installation, change: Change, since: datetime, until: datetime, now: datetime) -> None:
    """Raises Problem with every fault of a question."""
    faults = backtest.faults_of(
        change, since, until, now, domains=IDS, limits=FAST_LIMITS, rules=home.bundle.rules
    )
    if faults:
        raise Problem("; ".join(en for _, en in faults))


def answer(
    home: Installation,
    change: Change,
    since: datetime,
    until: datetime,
    now: datetime,
    progress: Progress = lambda share: None,
) -> Answer:
    """Try `change` on [since, until). Reads only; nothing of it reaches anybody. Raises Problem."""
    check(home, change, since, until, now)
    with home.db.reading() as session:
        found = _detection(home, session, change, since, until, progress) if change.detects else None
        calendar = load_calendar(home.settings.config_dir, home.settings.city.timezone)
        rules = tuple(
            limits.with_limit(
                home.bundle.rules.rule(rule_id),
                amount,
                backtests.clocks_of(session, rule_id, since, until),
                calendar,
                now,
            )
            for rule_id, amount in sorted(change.rules.items())
        )
    return Answer(change, found, rules)


def _detection(
    home: Installation,
    session: Session,
    change: Change,
    since: datetime,
    until: datetime,
    progress: Progress,
) -> Comparison:
    settings = home.settings.analysis
    start = since - LEARNT
    total = max(1, backtests.count_posts(session, start, until))
    fast_before, fast_after = _fast(home, session, backtests.hazardous(session, start, until), change)
    progress(0.3)
    real = backtests.confirmed(session)
    rate, watched = settings.false_alarms_per_week, frozenset(settings.watched_domains)
    before = Player((rate,), watched, home.zone, fast=fast_before, real=real, places=True)
    other = change.false_alarms_per_week or rate
    if change.watched_domains is not None:
        watched = frozenset(change.watched_domains)
    after = Player((other,), watched, home.zone, fast=fast_after, real=real, places=True)
    inside = 0
    for number, told in enumerate(backtests.history(session, start, until)):
        message = _message(told)
        before.play(message)
        after.play(message)
        inside += told.published_at >= since
        if number % _TELL_EVERY == 0:
            progress(0.3 + 0.7 * number / total)
    was, will = before.alarms[rate], after.alarms[other]
    raised = sorted({alarm.cluster for alarm in (*was, *will)})
    return backtest.compare(was, will, backtests.matters_of(session, raised), since, until, inside)


def _message(told: Told) -> Message:
    row = PostRow(
        told.id,
        "",
        "",
        told.published_at,
        told.fetched_at,
        told.source_id,
        None,
        "",
        told.estimated,
        told.backfilled,
    )
    return Message(
        id=str(told.id),
        at=told.published_at,
        # a post without an author is a voice of its own, as in judging
        author=told.author_key or f"post:{told.id}",
        cluster=told.incident,
        domain=told.domain,
        signal=told.signal,
        negative=told.negative,
        district=told.district,
        copy=told.copy,
        news=is_news(row, told.fetched_at),
        source=told.source_id,
    )


def _fast(
    home: Installation, session: Session, ids: Sequence[int], change: Change
) -> tuple[frozenset[str], frozenset[str]]:
    """Posts that page at once as it is and with the change. Only posts with hazard words are read again."""
    models, places = folder_of(home.settings.data_path), home.bundle.places
    own = dict(home.settings.analysis.fast)
    judge = Judge.load(places, models, own)
    before = _paging(judge, session, ids)
    if not change.fast:
        return before, before
    other = Judge(judge.model, judge.reader, judge.thresholds.with_fast(change.fast))
    return before, _paging(other, session, ids)


def _paging(judge: Judge, session: Session, ids: Sequence[int]) -> frozenset[str]:
    found: set[str] = set()
    held: list[JudgeInput] = []

    def judge_held() -> None:
        found.update(str(out.id) for out in judge.judge_batch(held, explain=False) if out.fast)
        held.clear()

    for post_id, title, text, at, place, source in backtests.words_of(session, ids):
        held.append(JudgeInput(post_id, title, text, at, place, source))
        if len(held) == _BATCH:
            judge_held()
    judge_held()
    return frozenset(found)


# --- questions of the console ------------------------------------------------------------------------------------


def run_waiting(home: Installation, clock: Callable[[], datetime]) -> str | None:
    """Answer the oldest question that waits; None when there is none."""
    with home.db.reading() as session:
        asked = backtests.next_waiting(session)
    if asked is None:
        return None

    def tell(share: float) -> None:
        with home.db.transaction() as session:
            backtests.note_progress(session, asked.id, share)

    tell(0.0)
    begun = time.monotonic()
    result, trouble = None, ""
    try:
        result = answer(home, asked.change, asked.since, asked.until, clock(), tell).as_dict()
    except Problem as problem:
        trouble = str(problem)
    except Exception as error:
        # a question that always fails must not come again every ten seconds
        trouble = f"{type(error).__name__}: {error}"
        raise
    finally:
        if result is not None or trouble:
            with home.db.transaction() as session:
                backtests.finish(
                    session,
                    asked.id,
                    clock(),
                    seconds=time.monotonic() - begun,
                    result=result,
                    trouble=trouble,
                )
    return f"backtest {asked.id} {'failed: ' + trouble if trouble else 'answered'}"


# --- the command line --------------------------------------------------------------------------------------------


def read_changes(pairs: Sequence[str]) -> Change:
    """`--set name=value` as a change. Raises Problem naming the one that cannot be read."""
    rate: float | None = None
    watched: tuple[str, ...] | None = None
    fast: dict[str, float] = {}
    rules: dict[str, int] = {}
    for pair in pairs:
        name, equals, value = (part.strip() for part in pair.partition("="))
        try:
            if not equals or not name:
                raise ValueError
            if name == "false_alarms_per_week":
                rate = float(value)
            elif name == "watched_domains":
                watched = tuple(part.strip() for part in value.split(",") if part.strip())
            elif name.startswith("fast."):
                fast[name.removeprefix("fast.")] = float(value)
            elif name[:1] in "RHS" and name[1:3].isdigit():
                rules[name] = int(value)
            else:
                raise ValueError
        except ValueError:
            raise Problem(
                f"--set {pair}: expected false_alarms_per_week=2, watched_domains=housing,health, fast.min_grave=0.3 or R03=24"
            ) from None
    return Change(rate, watched, fast, rules)


def period_of(home: Installation, first: str, last: str) -> tuple[datetime, datetime]:
    """From the beginning of the first day to the end of the last, in the city's zone. Raises Problem."""
    try:
        start, end = date.fromisoformat(first), date.fromisoformat(last)
    except ValueError:
        raise Problem(f"--from {first} --to {last}: expected days such as 2026-09-01") from None
    midnight = datetime.min.time()
    return (
        datetime.combine(start, midnight, home.zone),
        datetime.combine(end + timedelta(days=1), midnight, home.zone),
    )
