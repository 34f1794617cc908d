"""Cost of one look at the states of many sources: `python benchmarks/source_states.py [SOURCES]`.

Every source has eight weeks of its own habit (some 9 KB of cursor). Each look runs in a process of its own; the peak of
memory is that of the look above what the process held before. Times are CPU seconds of the second look
(the first warms caches), so that a busy machine does not blur them. `build FOLDER N` and `look FOLDER NAME` do one step each.
"""

from __future__ import annotations

import importlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from config.bundle import Bundle, load_bundle
from incidents import accounts, source_health
from incidents.migrate import upgrade
from incidents.session import Database
from incidents.sources import record_crawl

NOW = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
ENTRY = """  - id: s{n}
    name: 第{n}个信源
    kind: rss
    url: https://h{n}.example/feed
    enabled: true
    every_min: 30
    legal_basis: 法定职责
    impact_note: 一次一页
    owner_unit: 测试单位
    domain_hint: "{domain}"
"""
DOMAINS = ("schooling", "housing", "food_safety", "")


def memory_of(seed: int) -> dict[str, object]:
    """What eight weeks of half-hourly readings leave in a cursor, made without playing them."""
    chance = random.Random(seed)
    memory = source_health.Memory(first=NOW - timedelta(days=56), last=NOW, last_new=NOW - timedelta(hours=1))
    memory.bins = [[chance.random() * 8, 5.3] for _ in range(168)]
    memory.daily = [chance.random() * 2 for _ in range(24)]
    memory.gaps = [float(chance.randint(30, 400)) for _ in range(source_health.GAPS)]
    memory.spread = [100.0, 20.0]
    memory.polls = [
        source_health.Poll(
            NOW - timedelta(minutes=30 * n), status=200, body="0123456789ab", items="0123456789ab", found=20
        ).dump()
        | {"state": "ok"}
        for n in range(source_health.POLLS)
    ]
    return {"health": memory.dump(), "skip": {f"https://h{seed}.example/{n}": "404" for n in range(20)}}


def database(folder: Path) -> Database:
    """The database of this run."""
    return Database(f"sqlite:///{folder / 'states.db'}", audit_key=b"k" * 32)


def build(folder: Path, sources: int) -> None:
    """A configuration and a database with so many sources; one in a hundred is in trouble."""
    (folder / "sources.yaml").write_text(
        "sources:\n" + "".join(ENTRY.format(n=n, domain=DOMAINS[n % 4]) for n in range(sources)), "utf-8"
    )
    db = database(folder)
    upgrade(db.engine)
    with db.transaction() as session:
        for n in range(sources):
            bad = n % 100 == 0
            record_crawl(
                session,
                f"s{n}",
                state="frozen" if bad else "ok",
                evidence="20 entries, 1 new posts",
                now=NOW - timedelta(hours=5 if bad else 0),
                next_due_at=NOW + timedelta(minutes=30),
                cursor=memory_of(n),
            )
    db.close()


def _alarm(db: Database, bundle: Bundle) -> object:
    from alerts import facts, troubles

    say = facts.wording_of(bundle)
    with db.reading() as session:
        return len(list(troubles._sources(session, bundle, NOW, say)))


def _due(db: Database, bundle: Bundle) -> object:
    from spiders import job

    return len(job.due_sources(bundle.sources, *job._timings(db, NOW), NOW))


def _page(db: Database, bundle: Bundle) -> object:
    from tests.console_world import World, client

    world = World(db, bundle, NOW)
    with db.reading() as session:
        there = accounts.get_by_login(session, "lin") is not None
    if not there:
        world.account()
    return len(client(world).get("/sources").text)


LOOKS: dict[str, Callable[[Database, Bundle], object]] = {"alarm": _alarm, "due": _due, "page": _page}


def look(folder: Path, name: str) -> None:
    """One look, twice; prints JSON."""
    bundle = load_bundle(None, config_dir=folder, data_dir=folder / "var")
    db = database(folder)
    importlib.import_module(
        {"alarm": "alerts.troubles", "due": "spiders.job", "page": "tests.console_world"}[name]
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    LOOKS[name](db, bundle)
    began = time.process_time()
    answer = LOOKS[name](db, bundle)
    took = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(
        json.dumps({"look": name, "answer": answer, "seconds": round(took, 3), "peak_mb": round(peak / 1024)})
    )


def main() -> None:
    """Build once, then look."""
    if len(sys.argv) == 4 and sys.argv[1] == "look":
        look(Path(sys.argv[2]), sys.argv[3])
        return
    if len(sys.argv) == 4 and sys.argv[1] == "build":
        build(Path(sys.argv[2]), int(sys.argv[3]))
        return
    sources = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder), sources)
        for name in LOOKS:
            subprocess.run([sys.executable, __file__, "look", folder, name], check=True)


if __name__ == "__main__":
    main()
