"""One look at a source that hands rows over: what it counts, how its rows are saved, and the state that follows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from config.sources import OwnSource
from incidents import source_health
from incidents.posts import NewPost
from incidents.session import Database, Session
from incidents.sources import SourceView, get_state, record_crawl
from spiders.importer import LISTED, BadRow, Found, batches, save_found

#: what a failing source is left alone for at most: asking costs nobody but the city
_LONGEST_PAUSE = timedelta(minutes=15)
_ENV = re.compile(r"\$\{(\w+)\}")


class Stopped(Exception):
    """The process is being stopped; what was saved is known next time."""


class SourceUnusable(Exception):
    """The source cannot be read now. `state` is one of incidents.source_health.STATES."""

    def __init__(self, state: str, sentence: str) -> None:
        super().__init__(sentence)
        self.state = state
        self.sentence = sentence


@dataclass(frozen=True)
class Surroundings:
    """What a look needs to know of the house. `clock` tells the time; `stopping` whether to end at the next batch."""

    db: Database
    key: bytes
    config_dir: Path
    env: Mapping[str, str]
    clock: Callable[[], datetime]
    stopping: Callable[[], bool] = lambda: False

    def secret(self, source: OwnSource, name: str, value: str) -> str:
        """`${NAME}` from the environment. Raises SourceUnusable when it is not set."""
        found = _ENV.fullmatch(value)
        text = self.env.get(found.group(1), "") if found else ""
        if not text:
            raise SourceUnusable(
                "error",
                f"sources.yaml, {source.id}: {name} needs {value}, which is not set in the environment",
            )
        return text


@dataclass
class Counts:
    """Rows of one file, push or reading. `bad` are the first LISTED bad rows."""

    rows: int = 0
    saved: int = 0
    known: int = 0
    aside: int = 0
    #: call-backs of good rows that could not be read
    calls_aside: int = 0
    bad: list[BadRow] = field(default_factory=list)
    #: good rows, and how many of them have each of source_health.FIELDS
    taken: int = 0
    have: dict[str, int] = field(default_factory=dict)

    def describe(self) -> str:
        """Counts only, for people and logs."""
        calls = f", {self.calls_aside} call-backs set aside" if self.calls_aside else ""
        return f"{self.rows} rows, {self.saved} new posts, {self.known} known already, {self.aside} set aside{calls}"

    def add(self, other: Counts) -> None:
        """Count `other` in."""
        self.rows += other.rows
        self.saved += other.saved
        self.known += other.known
        self.aside += other.aside
        self.calls_aside += other.calls_aside
        self.taken += other.taken
        self.bad += other.bad[: max(0, LISTED - len(self.bad))]
        for name, number in other.have.items():
            self.have[name] = self.have.get(name, 0) + number

    def note(self, found: Iterable[Found]) -> None:
        """Count which fields the good rows have."""
        for one, *_ in found:
            if not isinstance(one, NewPost):
                continue
            self.taken += 1
            filled = {
                "title": bool(one.title),
                "text": bool(one.text),
                "published_at": not one.published_estimated,
                "author": one.author_key is not None,
            }
            for name, there in filled.items():
                self.have[name] = self.have.get(name, 0) + there


def store(
    around: Surroundings,
    found: Iterable[Found],
    origin: str,
    counts: Counts,
    after: Callable[[Session, list[Found]], None] = lambda session, batch: None,
) -> None:
    """Save what rows gave, a batch in a transaction; `after` writes into the same one (how far a reading has come).

    Raises Stopped between two batches, DatabaseTrouble, and what reading the rows raises.
    """
    for batch in batches(found):
        if around.stopping():
            raise Stopped
        with around.db.transaction() as session:
            result, bad, unclear = save_found(session, batch, origin, around.clock())
            after(session, batch)
        counts.note(batch)
        counts.rows += len(batch)
        counts.saved += result.saved
        counts.known += result.repeats
        counts.aside += len(bad)
        counts.calls_aside += len(unclear)
        counts.bad += [*bad, *unclear][: max(0, LISTED - len(counts.bad))]


@dataclass
class Look:
    """What one look saw. `problem` is a state with its `sentence`; `again` asks for the next look sooner than usual."""

    counts: Counts = field(default_factory=Counts)
    problem: str = ""
    sentence: str = ""
    notes: list[str] = field(default_factory=list)
    again: timedelta | None = None
    #: an empty answer where there never was a row is told; a quiet hour is not
    nothing_at_all: bool = False


@dataclass(frozen=True)
class IntakeResult:
    """How one source did. `state` is one of source_health.STATES, "paused" when another process looks, "stopped" at a clean stop."""

    source_id: str
    state: str
    evidence: str
    new_posts: int = 0
    known: int = 0
    set_aside: int = 0


def view_of(db: Database, source_id: str) -> SourceView:
    """What is known of the source."""
    with db.reading() as session:
        return get_state(session, source_id)


def record(
    session: Session,
    source: OwnSource,
    look: Look,
    cursor: Mapping[str, Any],
    failures: int,
    at: datetime,
) -> IntakeResult:
    """Judge what was seen, learn from it, and keep it with the cursor. `failures` is how often it failed in a row before."""
    counts = look.counts
    memory = source_health.Memory.load(cursor.get(source_health.KEY))
    silent = not counts.rows and not look.nothing_at_all
    poll = source_health.Poll(
        at=at,
        lists=1,
        unchanged=int(silent),
        found=counts.rows,
        new=counts.saved,
        taken=counts.taken,
        have=counts.have,
        problem=look.problem,
        sentence=look.sentence,
    )
    every = timedelta(minutes=source.every_min)
    verdict = source_health.judge(memory, poll, every)
    kept = {**cursor, source_health.KEY: source_health.learn(memory, poll, verdict).dump()}
    evidence = _evidence(look, verdict)
    pause = every
    if look.problem:
        pause = min(every * int(2 ** min(failures, 10)), max(_LONGEST_PAUSE, every))
    record_crawl(
        session,
        source.id,
        state=verdict.state,
        evidence=evidence,
        now=at,
        next_due_at=at + min(pause, look.again or pause),
        new_posts=counts.saved,
        cursor=kept,
    )
    return IntakeResult(source.id, verdict.state, evidence, counts.saved, counts.known, counts.aside)


def _evidence(look: Look, verdict: source_health.Verdict) -> str:
    counts = [look.counts.describe()] if look.counts.rows else []
    parts = [verdict.why, *counts] if verdict.why else counts or ["nothing new since the last look"]
    return "; ".join([*parts, *look.notes])[:1500]
