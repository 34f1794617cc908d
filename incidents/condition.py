"""How the installation itself is: space, keys, signs of life, lag of the judge, sources, the record. Sends nothing."""

from __future__ import annotations

import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from incidents import beats, events, posts, retention, sources, stops
from incidents.installation import Installation
from incidents.session import Session

Level = Literal["ok", "warning", "error"]
#: free disk below which writing may soon fail
LOW_DISK_GB = 2.0
#: unjudged posts that a healthy judge never has before it (ten batches)
JUDGE_LAG = 2000
#: how long a stage may be silent; each runs at least every 15 s
SILENT = timedelta(minutes=10)
STAGES = ("crawl", "judge")


@dataclass(frozen=True)
class Finding:
    """One thing looked at: how it is, and what to do when it is not well."""

    check: str
    level: Level
    text: str


def condition(home: Installation, now: datetime) -> list[Finding]:
    """Look at everything that needs no network."""
    found = [*_files(home)]
    with home.db.reading() as session:
        found += [
            *_stages(session, now),
            _judging(session),
            *_stopped(session),
            *_sources(session, home),
            _record(session, home.keys.audit),
        ]
    return found


def _files(home: Installation) -> Iterator[Finding]:
    folder = home.settings.data_path
    free = shutil.disk_usage(folder).free / 1e9
    if free < LOW_DISK_GB:
        yield Finding("disk", "error", f"{free:.1f} GB free in {folder}; make room")
    else:
        yield Finding("disk", "ok", f"{free:.0f} GB free in {folder}")
    key = folder / "secret.key"
    if key.exists() and stat.S_IMODE(key.stat().st_mode) & 0o077:
        yield Finding("key", "error", f"{key} can be read by others; chmod 600 it")


def _stages(session: Session, now: datetime) -> Iterator[Finding]:
    for stage in STAGES:
        last = beats.get_beat(session, f"job:{stage}")
        if last is None:
            yield Finding(stage, "warning", "has not run yet; start `quansheng run`")
        elif now - last.ok_at > SILENT:
            ago = (now - last.ok_at).total_seconds() / 60
            yield Finding(
                stage, "error", f"went well last {ago:.0f} min ago; the log of `quansheng run` has the reason"
            )
        else:
            yield Finding(stage, "ok", f"went well at {last.ok_at:%H:%M:%S} UTC")


def _judging(session: Session) -> Finding:
    waiting = posts.count_unjudged(session)
    if waiting > JUDGE_LAG:
        return Finding(
            "lag",
            "warning",
            f"{waiting} posts wait for judgement; a big import needs minutes, else see the log",
        )
    return Finding("lag", "ok", f"{waiting} posts wait for judgement")


def _stopped(session: Session) -> Iterator[Finding]:
    for stop in stops.active(session, "halt"):
        yield Finding("halt", "warning", stop.sentence)
    for stop, number in retention.overlooked(session):
        yield Finding(
            "objections",
            "error",
            f"{number} posts are stored although {stop.what} objected; run `quansheng objections check --remove`",
        )


def _sources(session: Session, home: Installation) -> Iterator[Finding]:
    known = {view.source_id: view for view in sources.list_states(session)}
    enabled = [source for source in home.bundle.sources if source.enabled]
    if not enabled:
        yield Finding("sources", "warning", "none is enabled; choose in sources.yaml what to read")
    healthy = 0
    for source in enabled:
        view = known.get(source.id)
        if view is None:
            yield Finding(f"source {source.id}", "warning", "not fetched yet")
        elif view.failures:
            yield Finding(
                f"source {source.id}",
                "warning",
                f"{view.state} {view.failures} times in a row: {view.evidence}",
            )
        else:
            healthy += 1
    if healthy:
        yield Finding("sources", "ok", f"{healthy} of {len(enabled)} answer as they should")


def _record(session: Session, key: bytes) -> Finding:
    verdict = events.verify(session, key)
    if verdict.ok:
        return Finding("record", "ok", f"{verdict.events} events, chain whole, head {verdict.head.hash[:16]}")
    return Finding(
        "record",
        "error",
        f"broken at event {verdict.broken_at}: {verdict.reason}; see `quansheng audit verify`",
    )
