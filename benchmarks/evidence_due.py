"""What the evidence job's look for originals to keep costs among many posts: `python -m benchmarks.evidence_due [POSTS] [--db URL]`.

Invented rows: half of the posts in watched clusters, a tenth in raised incidents and kept as evidence, a hundred of them not yet.
Prints the time of one look (the fastest of five) as it is, and of the question that asks every stored post, which it replaced and
which `mend` still asks once a day; then the plan of the database. Default: SQLite in a folder of its own.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import event, insert, text

from incidents import evidence, evidence_due
from incidents.migrate import upgrade
from incidents.models import Evidence, Incident, IncidentPost, Post
from incidents.session import Database, Session

NOW = datetime(2026, 11, 29, 4, 0, tzinfo=UTC)
PART = 10_000


def build(db: Database, posts: int) -> None:
    """The rows: five posts to a cluster, ten to an incident."""
    made: set[int] = set()
    for start in range(0, posts, PART):
        rows: dict[type, list[dict[str, Any]]] = {Incident: [], Post: [], IncidentPost: [], Evidence: []}
        for n in range(start + 1, min(posts, start + PART) + 1):
            at = NOW - timedelta(minutes=posts - n)
            rows[Post].append(
                {
                    "id": n, "source_id": f"s{n % 500}", "external_id": str(n), "url": f"http://h{n % 500}.example/{n}", "text": "停水", "published_at": at,
                    "fetched_at": at, "content_sha256": "", "received": "sha256:" + "0" * 64, "original": f"{n}.warc.gz", "engagement": {}, "provenance": {},
                }
            )  # fmt: skip
            raised, watched = n % 10 == 0, n % 10 in (1, 2, 3, 4, 5)
            if not raised and not watched:
                continue
            holder = 2 * (n // 100) + 1 if raised else 2 * (n // 10) + 2
            if (raised and n % 100 in (0, 10) and holder not in made) or (watched and n % 10 == 1):
                made.add(holder)
                rows[Incident].append(
                    {
                        "id": holder, "number": f"QS-2026-{holder:07}" if raised else None, "title": "停水", "state": "detected" if raised else "watching",
                        "version": int(raised), "first_posted_at": at, "last_post_at": at, "why": {}, "sketch": {},
                    }
                )  # fmt: skip
            rows[IncidentPost].append(
                {"post_id": n, "incident_id": holder, "similarity": 1.0, "added_at": at}
            )
            if raised and n <= posts - 1000:  # the newest hundred wait
                rows[Evidence].append(
                    {
                        "post_id": n, "name": f"{n}.warc.gz", "incident_id": holder, "source_id": f"s{n % 500}", "size": 1, "file_sha256": "", "payload_sha256": "",
                        "content_sha256": "", "fetched_at": at, "how": "at_fetch", "kept_at": at, "seq": n, "purge_rule": "",
                    }
                )  # fmt: skip
        with db.transaction() as session:
            for table, values in rows.items():
                if values:
                    session.execute(insert(table), values)
    with db.transaction() as session:
        began = time.perf_counter()
        listed = evidence_due.mend(session)
        print(f"mend: {listed} posts listed in {time.perf_counter() - began:.2f} s")
    with db.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))


def fastest(look: Callable[[], int]) -> tuple[float, int]:
    """Milliseconds, and what was found."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        found = look()
        times.append(1000 * (time.perf_counter() - began))
    return min(times), found


def plan(session: Session, look: Callable[[], int]) -> list[str]:
    """How the database finds the rows of the first two statements of `look`."""
    asked: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        asked.append((statement, parameters))

    engine = session.get_bind()
    event.listen(engine, "before_cursor_execute", note)
    look()
    event.remove(engine, "before_cursor_execute", note)
    word = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    found = []
    for statement, parameters in asked[:2]:
        found += [
            str(row[-1]) for row in session.connection().exec_driver_sql(f"{word} {statement}", parameters)
        ]
    return found


def main() -> None:
    """Build, look, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("posts", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--db", default="", help="an empty database")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        db = Database(chosen.db or f"sqlite:///{Path(folder) / 'e.db'}", audit_key=b"k" * 32)
        upgrade(db.engine)
        build(db, chosen.posts)
        with db.reading() as session:
            looks: dict[str, Callable[[], int]] = {
                "the list": lambda: len(evidence.candidates(session, 200)),
                "every post": lambda: len(session.execute(evidence_due.every_post()).all()),
            }
            for name, look in looks.items():
                took, found = fastest(look)
                print(f"{name}: {took:.1f} ms, {found} posts found", flush=True)
                print("".join(f"    {line}\n" for line in plan(session, look)), flush=True)
        db.close()


if __name__ == "__main__":
    main()
