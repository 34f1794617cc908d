"""Feed dated posts through the whole pipeline at simulated time: what would have been flagged, when, how loudly?

The same functions run as in a living house (redaction, storing, judging, clustering, alerts, outbox); only the clock
is moved by hand. Nobody is told: Slack and mail are switched off, messages stay in the replay's own folder.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import scheduler
from config.bundle import Bundle
from config.settings import DatabaseSettings, MailSettings, SlackSettings
from incidents import clocks, queries
from incidents.installation import Installation, Problem, open_bundle
from incidents.posts import NewPost, save_posts
from incidents.states import State
from incidents.totals import totals
from spiders.importer import BadRow, read_posts
from spiders.profiles import load_profile
from spiders.tables import UnreadableFile

#: posts of this long arrive together, at its end: what a crawl every quarter of an hour brings
STEP = timedelta(minutes=15)
#: bad rows that are told one by one
LISTED = 20
#: a clock or timer that a tick does not finish must not hold the walk for ever
_MAX_TICKS = 10_000
_STAGES = ("judge", "tick", "send")


@dataclass(frozen=True)
class Outcome:
    """What a replay found and what it cost. `report` is what --report writes."""

    report: dict[str, Any]
    read: int
    bad: int
    seconds: float
    peak_mb: float

    @property
    def per_second(self) -> float:
        """Posts in a second of this machine, everything included."""
        return self.report["posts"] / self.seconds if self.seconds else 0.0


def main(
    file: Path,
    bundle: Bundle,
    *,
    url: str,
    speed: float,
    report: Path | None,
    profile: Path | None,
    echo: Callable[[str], None],
) -> Outcome:
    """Replay `file`, tell how it went, write the report. Raises Problem for a database that is in use."""
    with tempfile.TemporaryDirectory(prefix="quansheng-replay-") as folder:
        home = open_bundle(quiet(bundle, Path(folder), url))
        try:
            with home.db.reading() as session:
                held = totals(session)
            if held.events or held.posts:
                raise Problem(
                    f"{home.settings.database_url}: holds {held.posts} posts and {held.events} events already; "
                    "a replay needs an empty database: give another --db or none"
                )
            outcome = replay(home, file, speed=speed, profile=profile, echo=echo)
        finally:
            home.db.close()
    if report is not None:
        try:
            report.write_text(json.dumps(outcome.report, ensure_ascii=False, indent=2), "utf-8")
        except OSError as exc:
            raise Problem(f"{report}: cannot be written: {exc.strerror}; give another path") from exc
    found = outcome.report["incidents"]
    for item in found:
        delay = datetime.fromisoformat(item["detected_at"]) - datetime.fromisoformat(item["first_posted_at"])
        echo(
            f"{item['detected_at'][:16]}  {item['track']:<5} {item['posts']:>4} posts  "
            f"{delay.total_seconds() / 3600:.1f} h after the first  {item['title']}"
        )
    echo(
        f"{outcome.report['posts']} posts, {len(found)} incidents, {outcome.report['alerts']} alerts in "
        f"{outcome.seconds:.1f} s: {outcome.per_second:.0f} posts/s, peak memory {outcome.peak_mb:.0f} MB"
    )
    if outcome.bad:
        echo(f"{outcome.bad} of {outcome.read} rows could not be read as posts")
    return outcome


def quiet(bundle: Bundle, folder: Path, url: str) -> Bundle:
    """The same configuration with its own data folder and database, and no channel that reaches a person."""
    settings = bundle.settings.model_copy(
        update={
            "data_dir": folder,
            "database": DatabaseSettings(url=url, busy_timeout_s=bundle.settings.database.busy_timeout_s),
            "slack": SlackSettings(),
            "mail": MailSettings(),
            # nobody waits for the lock here, and a slow machine must not cut the posts into other batches
            "analysis": bundle.settings.analysis.model_copy(update={"hold_s": 0.0}),
        }
    )
    return replace(bundle, settings=settings)


def replay(
    home: Installation,
    file: Path,
    *,
    speed: float = 0,
    profile: Path | None = None,
    echo: Callable[[str], None] = print,
) -> Outcome:
    """Walk through the posts of `file` in the order of their times."""
    begun = time.monotonic()
    good, bad = _read(home, file, profile, echo)
    jobs = [job for job in scheduler.JOBS if job.name in _STAGES]
    walk = _Walk(home, jobs, speed, echo, len(good))
    for end, batch in groupby(good, key=lambda post: cell_end(post.published_at)):
        walk.to(end, list(batch))
    with home.db.reading() as session:
        count = totals(session)
        found = list(_incidents(home, session))
    return Outcome(
        report={"incidents": found, "posts": count.posts, "alerts": count.alerts},
        read=len(good) + bad,
        bad=bad,
        seconds=time.monotonic() - begun,
        peak_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def _read(
    home: Installation, file: Path, profile: Path | None, echo: Callable[[str], None]
) -> tuple[list[NewPost], int]:
    mapping = load_profile(profile)
    good: list[NewPost] = []
    bad = 0
    try:
        for item in read_posts(file, home.keys.pseudonym, datetime.now(UTC), mapping):
            if isinstance(item, BadRow):
                bad += 1
                if bad <= LISTED:
                    echo(item.sentence())
            else:
                good.append(item)
    except UnreadableFile as exc:
        raise Problem(str(exc)) from exc
    good.sort(key=lambda post: post.published_at)
    return good, bad


def cell_end(at: datetime) -> datetime:
    """When a post of this time arrives: at the end of its step."""
    step = STEP.total_seconds()
    return datetime.fromtimestamp((at.timestamp() // step + 1) * step, UTC)


class _Walk:
    """Simulated time, moved from one batch of posts to the next; timers and clocks in between run at their own time."""

    def __init__(
        self,
        home: Installation,
        jobs: Sequence[scheduler.Job],
        speed: float,
        echo: Callable[[str], None],
        posts: int,
    ) -> None:
        self.home = home
        self._jobs = jobs
        self._speed = speed
        self._echo = echo
        self._posts = posts
        self._done = 0
        self._now: datetime | None = None
        self._told = time.monotonic()

    def to(self, now: datetime, batch: Sequence[NewPost]) -> None:
        """Let time pass until `now`, then take in `batch`."""
        if self._now is not None:
            if self._speed:
                time.sleep((now - self._now).total_seconds() / self._speed)
            self._between(now)
        with self.home.db.transaction() as session:
            save_posts(session, [replace(post, fetched_at=now) for post in batch])
        self._round(now, ("judge", "tick", "send"))
        self._now = now
        self._done += len(batch)
        if time.monotonic() - self._told > 2:
            self._told = time.monotonic()
            self._echo(f"{now:%Y-%m-%d}  {self._done} of {self._posts} posts")

    def _between(self, until: datetime) -> None:
        for _ in range(_MAX_TICKS):
            due = self._next_due(until)
            if due is None:
                return
            self._round(due + timedelta(seconds=1), ("tick", "send"))
        raise RuntimeError(f"clocks before {until} do not come to an end")

    def _next_due(self, until: datetime) -> datetime | None:
        with self.home.db.reading() as session:
            timers = clocks.due_timers(session, until, limit=1)
            passed = clocks.passed_deadlines(session, until, limit=1)
        due = [row.due_at for row in timers] + [row.due_at for row in passed]
        return min(due) if due else None

    def _round(self, now: datetime, names: Sequence[str]) -> None:
        for job in self._jobs:
            if job.name in names:
                job.work(self.home, lambda: now)


def _incidents(home: Installation, session: Any) -> Iterator[dict[str, Any]]:
    states = [str(state) for state in State if state != State.WATCHING]
    rows = queries.list_incidents(session, states=states, limit=1_000_000)
    for row in sorted(rows, key=lambda row: (row.detected_at or row.first_posted_at, row.id)):
        posts = queries.posts_of(session, row.id, limit=1_000_000, fold_copies=False)
        assert row.detected_at is not None
        yield {
            "id": row.number,
            "title": row.title,
            "domain": row.domain,
            "first_posted_at": row.first_posted_at.astimezone(home.zone).isoformat(),
            "detected_at": row.detected_at.astimezone(home.zone).isoformat(),
            "track": row.track,
            "posts": len(posts),
            "post_ids": [post.external_id for post in posts],
        }
