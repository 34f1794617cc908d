"""What the de-identified copy costs, and how long analysts wait: on a database made by `benchmarks.search_stock`.

    python -m benchmarks.analysts_sql sqlite:////folder/search-1000000.db [ROUNDS]

Reads the database, writes the copy into a folder of its own, asks each example of the SQL page ROUNDS times.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.search_stock import AUDIT_KEY
from config.bundle import load_bundle
from console.views.sql import EXAMPLES
from incidents import analysts_sql, snapshot
from incidents.session import Database


def main() -> None:
    """Print size and seconds of the copy, and milliseconds of each example (median and longest)."""
    url, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 7
    db, bundle = Database(url, audit_key=AUDIT_KEY), load_bundle(None)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / snapshot.NAME
        began, cpu = time.perf_counter(), time.process_time()
        with db.reading() as session:
            counts = snapshot.write(session, bundle, file, datetime(2026, 11, 24, tzinfo=UTC))
        print(
            f"copy: {counts['post']} posts, {counts['incident']} incidents, {file.stat().st_size / 1e6:.1f} MB, "
            f"{time.perf_counter() - began:.1f} s ({time.process_time() - cpu:.1f} s of CPU)"
        )
        for name, sql in {"SELECT 1": "SELECT 1", **EXAMPLES}.items():
            took = []
            for _ in range(rounds):
                began = time.perf_counter()
                analysts_sql.ask(file, sql, rows=10_000, seconds=30, memory_mb=256)
                took.append((time.perf_counter() - began) * 1000)
            print(f"{name}: median {statistics.median(took):.0f} ms, longest {max(took):.0f} ms")
    db.close()


if __name__ == "__main__":
    main()
