"""The product's side of the crawl benchmarks: an installation in a folder of its own, with sources in the invented town."""

from __future__ import annotations

import gc
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast
from urllib.request import urlopen

import heap
from benchmarks.crawl_stock import resolve_locally
from config.bundle import load_bundle
from config.sources import ColumnSource, DiscuzSource, JsonSource, RssSource, Source
from incidents.installation import Installation, open_bundle
from spiders.job import run

PAPERS: dict[str, Any] = {
    "enabled": True,
    "every_min": 5,
    "legal_basis": "法定职责",
    "impact_note": "每五分钟一次",
    "owner_unit": "测试单位",
}
#: kind of list -> its source's class and fields
KINDS: dict[str, tuple[type, dict[str, Any]]] = {
    "feed": (RssSource, {"kind": "rss"}),
    "column": (ColumnSource, {"kind": "column", "list_selector": "ul.list", "link_pattern": "/a/"}),
    "api": (JsonSource, {"kind": "json", "items": "data", "fields": {"id": "id", "url": "url", "title": "title", "text": "text", "published_at": "at", "likes": "likes"}}),
    "forum": (DiscuzSource, {"kind": "discuz", "tier": "B", "reason": "没有订阅源"}),
}  # fmt: skip


#: list and validators of every twentieth source: mostly feeds that answer 304, as in a city
MIX = (
    *[("feed", True)] * 12,
    *[("feed", False)] * 3,
    *[("column", True)] * 2,
    *[("api", True)] * 2,
    ("forum", True),
)


def source(number: int, host: str, port: int, kind: str, *, validators: bool) -> Source:
    """A source in the town."""
    cls, fields = KINDS[kind]
    url = f"http://{host}:{port}/{'v' if validators else 'p'}/{kind}"
    return cast("Source", cls(**{"id": f"s{number}", "name": host, "url": url, **PAPERS, **fields}))


def mixed(number: int, port: int, *, troubled: bool) -> Source:
    """Source `number` of a city. `troubled`: two of a hundred hosts are slow, one never answers, one is out of order."""
    begin = {7: "dead", 23: "err", 51: "slow", 87: "slow"}.get(number % 100, "n") if troubled else "n"
    kind, validators = MIX[number % len(MIX)]
    return source(number, f"{begin}-{number}.bench", port, kind, validators=validators)


def installation(folder: Path, sources: Sequence[Source], **crawl: Any) -> Installation:
    """An installation with these sources. Names of the town are resolved on this machine from now on."""
    resolve_locally()
    folder.mkdir(parents=True, exist_ok=True)
    values = {"delay_s": 0, "allow_private_hosts": ["127.0.0.1"], **crawl}
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    (folder / "quansheng.toml").write_text("[crawl]\n" + "\n".join(lines) + "\n", "utf-8")
    return open_bundle(replace(load_bundle(folder / "quansheng.toml"), sources=tuple(sources)))


def readings(home: Installation, rounds: int, before: Callable[[], None], begin: datetime) -> float:
    """CPU seconds of `rounds` readings of all sources, five simulated minutes apart; `before` each, the town moves on."""
    spent = 0.0
    for number in range(rounds):
        before()
        now = begin + timedelta(minutes=5 * number)
        started = time.process_time()
        done = run(home.db, home.bundle, home.keys, now)
        spent += time.process_time() - started
        if len(done.sources) != len(home.bundle.sources) or done.failed:
            raise RuntimeError(
                f"{len(done.sources)} of {len(home.bundle.sources)} sources read; {done.failed[:3]}"
            )
    return spent


def memory(folder: Path, port: int, crawls: int, hosts: int) -> None:
    """A line of JSON for each thousand crawls."""
    heap.few()  # as the command does
    home = installation(folder, [mixed(number, port, troubled=False) for number in range(hosts)])
    done, reported, at = 0, 0, datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
    spent = time.process_time()
    while done < crawls:
        urlopen(f"http://127.0.0.1:{port}/_set?count={20 + done // hosts}", timeout=10).read()
        done += len(run(home.db, home.bundle, home.keys, at).sources)
        at += timedelta(minutes=5)
        heap.give_back()  # as the collector does every minute
        if done // 1000 > reported:
            cpu, spent = time.process_time() - spent, time.process_time()
            gc.collect()
            rss = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
            files = len(list(Path("/proc/self/fd").iterdir()))
            line = {
                "crawls": done,
                "rss": rss,
                "files": files,
                "threads": threading.active_count(),
                "ms": 1000 * cpu / 1000 / (done // 1000 - reported),
            }
            print(json.dumps(line), flush=True)
            reported = done // 1000


def main(folder: str, port: int, kind: str, validators: bool, new: int, hosts: int, rounds: int) -> None:
    """Print the CPU milliseconds of one poll that finds `new` new posts."""
    logging.disable(logging.WARNING)
    count = [20]

    def grow(by: int) -> None:
        count[0] += by
        urlopen(f"http://127.0.0.1:{port}/_set?count={count[0]}", timeout=10).read()

    grow(0)
    home = installation(
        Path(folder), [source(n, f"n{n}.bench", port, kind, validators=validators) for n in range(hosts)]
    )
    begin = datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
    readings(home, 2, lambda: grow(new), begin)  # robots.txt, the first posts, first use of everything
    gc.collect()
    spent = readings(home, rounds, lambda: grow(new), begin + timedelta(minutes=10))
    print(json.dumps({"ms": 1000 * spent / rounds / hosts}))
    sys.stdout.flush()
    os._exit(0)  # the reactor's thread has no end


if __name__ == "__main__":
    a = sys.argv[1:]
    if a[0] == "memory":
        memory(Path(a[1]), int(a[2]), int(a[3]), int(a[4]))
        os._exit(0)
    main(a[0], int(a[1]), a[2], a[3] == "v", int(a[4]), int(a[5]), int(a[6]))
