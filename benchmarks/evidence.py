"""What evidence costs: `QUANSHENG_DATA=... python -m benchmarks.evidence [posts]`.

Real pages ($QUANSHENG_DATA/pages; without it invented ones, marked so) are written into the spool as the crawler does, moved to
the evidence as the evidence job does, read back and verified as `audit verify` does. Prints records and megabytes a second, CPU
milliseconds a page, the ratio of bytes, and what a thousand posts take on the disk.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from incidents.vault import Vault
from incidents.warc import Exchange, build, read

WHEN = datetime(2026, 11, 29, 4, 0, tzinfo=UTC)


def pages() -> tuple[list[bytes], str]:
    """Bodies of pages, and where they come from."""
    folder = Path(os.environ.get("QUANSHENG_DATA", "/nowhere")) / "pages"
    found = [
        path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.suffix in (".html", ".htm", ".json") and path.is_file()
    ]
    if found:
        return found, f"{len(found)} captured pages"
    line = "<p>历下区某小区自来水发黄已经三天，居民多次拨打热线反映，物业表示正在检修。{}</p>\n"
    return [
        "".join(line.format(number * 7 + row) for row in range(300)).encode() for number in range(20)
    ], "20 invented pages (no $QUANSHENG_DATA)"


def timed(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds by the clock, and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main(count: int) -> None:
    """Measure with `count` posts."""
    bodies, origin = pages()
    total = sum(len(bodies[number % len(bodies)]) for number in range(count))
    with tempfile.TemporaryDirectory() as folder:
        vault = Vault(Path(folder), b"a key of a benchmark, 32 bytes !", min_free_mb=1)
        names: list[str] = []

        def spool() -> None:
            for number in range(count):
                name = vault.new_name(f"source{number % 10}", WHEN)
                made = Exchange(
                    f"source{number % 10}",
                    f"http://bbs.example/t/{number}",
                    WHEN,
                    200,
                    bodies[number % len(bodies)],
                    (("Content-Type", "text/html"), ("Server", "nginx")),
                    request_headers=(("User-Agent", "QuanshengBot/0.1"),),
                    about={"robots": "allowed", "extractor": "column/readability"},
                )
                vault.put(name, build(made))
                names.append(name)

        def keep() -> None:
            for name in names:
                vault.keep(name)

        def verify() -> None:
            for name in names:
                assert read(vault.read(name)).whole

        print(f"{count} answers, {origin}, {total / count / 1000:.1f} kB each")
        for what, work in (("spool", spool), ("keep (fsync)", keep), ("verify", verify)):
            wall, cpu = timed(work)
            print(
                f"{what:13} {count / wall:7.0f} records/s  {total / wall / 1e6:6.1f} MB/s  {cpu / count * 1000:6.2f} ms CPU each"
            )
        disk = sum(vault.kept_path(name).stat().st_size for name in names)
        print(f"bytes: {total / 1e6:.1f} MB -> {disk / 1e6:.1f} MB, {total / disk:.2f}:1")
        print(f"1,000 posts: {disk / count * 1000 / 1e6:.1f} MB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
