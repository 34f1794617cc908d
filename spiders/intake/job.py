"""The sources that hand rows over: who is due, one look each. A failure of one is its state and no other's."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from config.bundle import Bundle
from config.keys import Keys
from config.settings import ConfigError
from config.sources import FolderSource, OwnSource, PushSource, Source, SqlSource
from incidents.session import Database
from incidents.sources import HEALTHY, SourceView, list_states
from incidents.trouble import DatabaseTrouble
from spiders.hostlock import host_locks
from spiders.intake.folder import look_at_folder
from spiders.intake.push import look_at_pushes
from spiders.intake.reading import IntakeResult, Look, SourceUnusable, Stopped, Surroundings, record, view_of
from spiders.intake.sql import look_at_view
from spiders.stopping import load_stops, state_of

log = logging.getLogger(__name__)
_stopping = threading.Event()
#: states of a source that was not looked at
_RESTING = ("paused", "stopped", "halted", "objected")


@dataclass(frozen=True)
class IntakeSummary:
    """What one call of `run` did."""

    sources: tuple[IntakeResult, ...] = ()

    @property
    def new_posts(self) -> int:
        """Posts that were not there before."""
        return sum(source.new_posts for source in self.sources)

    def describe(self) -> str:
        """One line for the log: counts only."""
        failed = sum(source.state not in (*HEALTHY, *_RESTING) for source in self.sources)
        return f"{len(self.sources)} sources looked at, {self.new_posts} new posts, {failed} with a problem"


def run(
    db: Database,
    bundle: Bundle,
    keys: Keys,
    now: datetime,
    *,
    only: Sequence[str] = (),
    due: bool = True,
    clock: Callable[[], datetime] | None = None,
    env: Mapping[str, str] | None = None,
) -> IntakeSummary:
    """Look at every enabled source of these kinds that is due at `now`; `only` names some, with `due` False whether due or not.

    `clock` tells the time meanwhile (default: `now`); `env` fills `${NAME}`. Failures of sources are states, never exceptions;
    DatabaseTrouble of our own database is raised.
    """
    with db.reading() as session:
        states = {state.source_id: state for state in list_states(session)}
    chosen = [
        source
        for source in own_sources(bundle.sources)
        if source.enabled
        and (not only or source.id in only)
        and (not due or _due(states.get(source.id), now))
    ]
    around = Surroundings(
        db,
        keys.pseudonym,
        bundle.settings.config_dir,
        os.environ if env is None else env,
        clock or (lambda: now),
        _stopping.is_set,
    )
    results = [
        IntakeResult(source.id, state_of(why), why.sentence)
        if (why := load_stops(db).of_source(source.id))
        is not None  # asked anew: the one before may have taken hours
        else _look(around, source, bundle)
        for source in chosen
    ]
    for one in results:
        log.info("intake: %s: %s, %d new posts", one.source_id, one.state, one.new_posts)
    return IntakeSummary(tuple(results))


def own_sources(sources: Iterable[Source]) -> list[OwnSource]:
    """Those that hand rows over."""
    return [source for source in sources if isinstance(source, OwnSource)]


def stop() -> None:
    """End at the next batch: the process is being stopped."""
    _stopping.set()


def begin() -> None:
    """Looks are wanted (again)."""
    _stopping.clear()


def _due(state: SourceView | None, now: datetime) -> bool:
    return state is None or state.next_due_at is None or state.next_due_at <= now


def _look(around: Surroundings, source: OwnSource, bundle: Bundle) -> IntakeResult:
    name = f"source:{source.id}"
    with host_locks(bundle.settings.data_path / "locks", [name]) as busy:
        if busy:
            return IntakeResult(source.id, "paused", "another process looks at it at this moment")
        state = view_of(around.db, source.id)

        def stopping() -> bool:
            """Also between two batches: a halt reaches a file of a million rows."""
            return _stopping.is_set() or load_stops(around.db).of_source(source.id) is not None

        around = replace(around, stopping=stopping)
        try:
            if isinstance(source, PushSource):
                return _pushes(around, source, state)
            if isinstance(source, FolderSource):
                zone = ZoneInfo(bundle.settings.city.timezone)
                look, cursor = look_at_folder(around, source, state, zone)
            else:
                assert isinstance(source, SqlSource)
                look, cursor = look_at_view(around, source, state)
        except Stopped:
            if (why := load_stops(around.db).of_source(source.id)) is not None:
                return IntakeResult(source.id, state_of(why), why.sentence)
            return IntakeResult(source.id, "stopped", "the process is being stopped; it goes on next time")
        except DatabaseTrouble:
            raise
        except Exception as exc:  # noqa: BLE001 (the border of one source: the others go on)
            look, cursor = _trouble(source, exc), dict(view_of(around.db, source.id).cursor or {})
        with around.db.transaction() as session:
            return record(session, source, look, cursor, state.failures, around.clock())


def _pushes(around: Surroundings, source: PushSource, state: SourceView) -> IntakeResult:
    """In one transaction: a push is counted once, in the state that tells of it."""
    with around.db.transaction() as session:
        try:
            look, cursor = look_at_pushes(around, source, state, session)
        except (SourceUnusable, ConfigError) as exc:
            look, cursor = _trouble(source, exc), dict(state.cursor or {})
        return record(session, source, look, cursor, state.failures, around.clock())


def _trouble(source: OwnSource, exc: Exception) -> Look:
    if isinstance(exc, SourceUnusable):
        return Look(problem=exc.state, sentence=exc.sentence)
    if isinstance(exc, ConfigError):
        return Look(problem="error", sentence="; ".join(exc.problems))
    log.error("intake: %s failed", source.id, exc_info=exc)
    return Look(problem="error", sentence=f"it could not be read: {type(exc).__name__}")
