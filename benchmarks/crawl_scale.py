"""Collection at the size of a city, on one box: `python -m benchmarks.crawl_scale poll | memory | schedule | kill` (`--help` of each).

    poll       CPU milliseconds of one poll of one source, by kind of list and by what the poll finds; ours against Scrapy with the settings
               of `scrapy startproject`, all crawls in one reactor, and against one `scrapy runspider` process for each crawl
    memory     resident memory, open files and threads of one process at each thousandth crawl
    schedule   10,000 sources on as many hosts, each asked every five minutes: how late each poll is, and what the crawler's process costs
    kill       the running product, killed by signal 9 in the middle of crawls: every post that the sites show is stored once in the end

All use `benchmarks/crawl_site.py`, invented sites in a process of its own. Peers do less for a poll than ours: they store nothing in a database, redact
nothing and know nothing of what they have read before. CPU times include the kernel's part and all threads.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from typing import Any

from benchmarks.crawl_site import Site, running

#: seconds that the first round may take before the measuring begins all the same: whoever does not get through it is late
FIRST_ROUND_S = 900
#: kind of list, with validators, new posts of a poll
CASES = (
    ("feed", True, 0), ("feed", False, 0), ("feed", True, 1), ("feed", True, 20),
    ("column", True, 0), ("column", False, 0), ("column", True, 1), ("column", True, 20),
    ("api", True, 0), ("api", False, 0), ("api", True, 1), ("api", True, 20),
    ("forum", True, 0), ("forum", False, 0), ("forum", True, 1), ("forum", True, 20),
)  # fmt: skip


def _child(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", *map(str, arguments)], stdout=subprocess.PIPE, text=True)


def _last(process: subprocess.Popen[str]) -> Any:
    out, _ = process.communicate()
    if process.returncode or not out.strip():
        raise RuntimeError(f"a process of the benchmark ended with exit code {process.returncode}")
    return json.loads(out.strip().splitlines()[-1])


def _load() -> str:
    return "load " + " ".join(f"{value:.1f}" for value in os.getloadavg())


# --- poll


def poll(hosts: int, rounds: int, subprocesses: int, only: str) -> None:
    """The table of docs/quality.md."""
    print(f"{hosts} hosts, {rounds} polls each; {_load()}")
    print(
        "| list | the poll finds | ours, ms | stock, one reactor | one process a crawl | stock / ours | process / ours |"
    )
    print("|---|---|---|---|---|---|---|")
    for kind, validators, new in CASES:
        if only and kind != only:
            continue
        found = f"{new} new" if new else "304" if validators else "200, the same"
        with tempfile.TemporaryDirectory() as folder, running() as site:
            letter = "v" if validators else "p"
            ours = _last(
                _child(
                    "benchmarks.crawl_ours", Path(folder) / "x", site.port, kind, letter, new, hosts, rounds
                )
            )["ms"]
            urls = [f"http://n{n}.bench:{site.port}/{letter}/{kind}" for n in range(hosts)]
            stock = _last(_child("benchmarks.crawl_stock", kind, rounds, Path(folder) / "out.jl", *urls))[
                "ms"
            ]
            apart = _processes(
                kind, f"http://127.0.0.1:{site.port}/{letter}/{kind}", Path(folder), subprocesses
            )
        print(
            f"| {kind} | {found} | {ours:.1f} | {stock:.1f} | {apart:.0f} | {stock / ours:.1f} | {apart / ours:.0f} |",
            flush=True,
        )
    print(_load())


def _processes(kind: str, url: str, folder: Path, number: int) -> float:
    """CPU milliseconds of one `scrapy runspider`, mean of `number`."""
    before = getrusage(RUSAGE_CHILDREN)
    for _ in range(number):
        subprocess.run(
            [sys.executable, "-m", "scrapy", "runspider", str(Path(__file__).with_name("crawl_stock.py")), "-a", f"url={url}", "-a", f"kind={kind}",
             "-O", str(folder / "one.jl"), "-s", "LOG_ENABLED=False", "-s", "ROBOTSTXT_OBEY=True"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    after = getrusage(RUSAGE_CHILDREN)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) / number


# --- memory


def memory(crawls: int, hosts: int) -> None:
    """A line for each thousand crawls."""
    with tempfile.TemporaryDirectory() as folder, running() as site:
        child = _child("benchmarks.crawl_ours", "memory", Path(folder) / "x", site.port, crawls, hosts)
        assert child.stdout is not None
        print(
            f"{crawls} crawls of {hosts} hosts\n\n| crawls | resident, MB | open files | threads | CPU, ms a crawl |\n|---|---|---|---|---|"
        )
        for line in child.stdout:
            at = json.loads(line)
            print(
                f"| {at['crawls']:,} | {at['rss']:.1f} | {at['files']} | {at['threads']} | {at['ms']:.1f} |",
                flush=True,
            )
        if child.wait():
            raise RuntimeError(f"exit code {child.returncode}")


# --- schedule


def schedule(
    sources: int, interval_s: float, warm_s: float, measure_s: float, delay_s: float, everything: bool
) -> int:
    """Lag of every poll that fell due in the measured time, seen from the site and the database alone. 1 when the target is missed."""
    with tempfile.TemporaryDirectory() as name, running("--latency") as site:
        folder = Path(name) / "x"
        child = _child(
            "benchmarks.crawl_house",
            "schedule",
            folder,
            site.port,
            sources,
            interval_s / 60,
            delay_s,
            int(everything),
        )
        assert child.stdout is not None
        if child.stdout.readline().strip() != "ready":
            raise RuntimeError("the product did not start")
        begun = time.time()
        site.ask(
            "/_set?count=3"
        )  # a first round with twenty posts of each source takes as long as everything else together
        site.ask(f"/_set?period={10 * interval_s}")  # one poll in ten finds a new post
        due: dict[str, set[float]] = {}
        asked: dict[str, list[float]] = {}
        start, settled, loads, cpu, server = 0.0, 0.0, [], 0.0, 0.0
        while not (start and time.time() > start + measure_s + 40) and child.poll() is None:
            time.sleep(min(30.0, interval_s / 4))
            _note_due(folder, due)
            told = json.loads(site.ask("/_log"))
            for host, at in told["log"]:
                asked.setdefault(host, []).append(at)
            if not settled and (len(due) >= 0.99 * sources or time.time() - begun > FIRST_ROUND_S):
                settled = (
                    time.time()
                )  # the first round is another thing: robots.txt of all hosts, twenty new posts of each
            if not start and settled and time.time() - settled >= warm_s:
                start, cpu, server = time.time(), _cpu(child.pid), told["cpu"]
            if start:
                loads.append(os.getloadavg()[0])
            print(f"  {time.time() - begun:5.0f} s: {told['requests']} requests, {len(due)} sources have a state, rss {_rss(child.pid):.0f} MB, cpu {_cpu(child.pid):.0f} s, {_load()}", file=sys.stderr, flush=True)  # fmt: skip
        spent, lasted = _cpu(child.pid) - cpu, time.time() - start
        server = told["cpu"] - server
        rss = _rss(child.pid)
        child.terminate()
        child.wait(60)
        lags, missed = _lags(due, asked, start, start + measure_s)
        polls = sum(1 for times in asked.values() for at in times if at >= start)
    lags.sort()
    p50, p95, p99 = (lags[min(len(lags) - 1, int(len(lags) * share))] for share in (0.50, 0.95, 0.99))
    print(
        f"{sources} sources every {interval_s:g} s, crawl.delay_s = {delay_s:g}, {'the whole house' if everything else 'the crawl job alone'}; first round {settled - begun:.0f} s, then {warm_s:g} s to settle, measured {measure_s:g} s"
    )
    print(
        f"polls due {len(lags) + missed}, never asked {missed}; lag p50 {p50:.1f} s, p95 {p95:.1f} s, p99 {p99:.1f} s, largest {lags[-1]:.1f} s"
    )
    print(
        f"polls {polls} in {lasted:.0f} s; product {spent:.0f} s of CPU = {spent / lasted:.2f} cores, {1000 * spent / max(1, polls):.1f} ms a poll, {rss:.0f} MB; site {server / lasted:.2f} cores"
    )
    print(
        f"load of the machine while measuring: mean {sum(loads) / len(loads):.1f}, highest {max(loads):.1f}"
    )
    return int(p95 >= 30 or missed > len(lags) / 1000)


def _note_due(folder: Path, due: dict[str, set[float]]) -> None:
    """When each source is to be read next, as the product has written it down."""
    with sqlite3.connect(f"file:{folder / 'var' / 'quansheng.db'}?mode=ro", uri=True, timeout=10) as db:
        for id_, at in db.execute(
            "SELECT source_id, next_due_at FROM source_state WHERE next_due_at IS NOT NULL"
        ):
            due.setdefault(id_, set()).add(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp())
    db.close()


def _lags(
    due: dict[str, set[float]], asked: dict[str, list[float]], start: float, end: float
) -> tuple[list[float], int]:
    """Seconds from when a poll was due to its list's request at the site; and polls without one."""
    hosts = {"s" + host.split(".")[0].rsplit("-", 1)[-1]: times for host, times in asked.items()}
    lags, missed = [], 0
    for id_, times in due.items():
        requests = sorted(hosts.get(id_, []))
        for at in sorted(times):
            if not start <= at < end:
                continue
            found = bisect_left(requests, at - 0.05)
            if found < len(requests):
                lags.append(max(0.0, requests[found] - at))
            else:
                missed += 1
    return lags, missed


def _cpu(pid: int) -> float:
    parts = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def _rss(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


# --- kill


def kill(times: int, seed: int) -> int:
    """0 lost, 0 doubled, or 1. Lists are long: what a site itself no longer shows when it is read again is not lost by us."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as name, running("--listed", "200") as site:
        folder, middle = Path(name) / "x", 0
        site.ask("/_set?period=12")
        for number in range(times):
            child = _child("benchmarks.crawl_house", "kill", folder, site.port, 0)
            assert child.stdout is not None
            if child.stdout.readline().strip() != "ready":
                raise RuntimeError("the product did not start")
            site.ask("/_log")
            begun, wait = time.time(), chance.randint(1, 250)
            before = int(site.ask("/_requests"))
            while int(site.ask("/_requests")) < before + wait and time.time() - begun < 60:
                time.sleep(0.005)
            while not _under_way(site) and time.time() - begun < 120:
                time.sleep(0.005)
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            rows = _stored(folder)
            unfinished = _unfinished(folder)
            middle += bool(unfinished)
            doubled = len(rows) - len(set(rows))
            print(
                f"killed {number + 1}: {time.time() - begun:.1f} s and {int(site.ask('/_requests')) - before} requests after the start, {unfinished} of the sources in the middle of a reading, {len(rows)} posts stored, {doubled} doubled",
                flush=True,
            )
        truth = json.loads(site.ask("/_truth"))
        child = _child("benchmarks.crawl_house", "kill", folder, site.port, 1)
        out, _ = child.communicate(timeout=300)
        if child.returncode:
            raise RuntimeError(f"the last run: exit code {child.returncode}: {out[-500:]}")
        rows = _stored(folder)
    wanted = {(f"s{host.split('.')[0][1:]}", mark) for host, mark in truth}
    lost, doubled, invented = wanted - set(rows), len(rows) - len(set(rows)), set(rows) - wanted
    print(
        f"{times} kills, each with a request under way, {middle} of them between the first and the last transaction of a reading; {len(wanted)} posts on the sites, {len(rows)} stored: {len(lost)} lost, {doubled} doubled, {len(invented)} that no site showed"
    )
    return int(bool(lost or doubled or invented))


def _under_way(site: Site) -> bool:
    """Whether the site has heard of the crawler in the last 100 ms."""
    return float(site.ask("/_quiet")) < 0.1


def _stored(folder: Path) -> list[tuple[str, str]]:
    """(site, what the post says in its last line) of every post: the words, not our own keys."""
    with sqlite3.connect(f"file:{folder / 'var' / 'quansheng.db'}?mode=ro", uri=True, timeout=10) as db:
        rows = db.execute("SELECT source_id, text FROM post").fetchall()
    db.close()
    return [(source, text.partition("编号")[2].partition("。")[0]) for source, text in rows]


def _unfinished(folder: Path) -> int:
    with sqlite3.connect(f"file:{folder / 'var' / 'quansheng.db'}?mode=ro", uri=True, timeout=10) as db:
        (number,) = db.execute(
            "SELECT count(*) FROM source_state WHERE json_extract(cursor, '$.unfinished')"
        ).fetchone()
    db.close()
    return int(number)


def main(arguments: Sequence[str]) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts = parser.add_subparsers(dest="part", required=True)
    one = parts.add_parser("poll")
    one.add_argument("--hosts", type=int, default=100)
    one.add_argument("--rounds", type=int, default=5)
    one.add_argument("--processes", type=int, default=5)
    one.add_argument("--only", default="", help="feed, column, api or forum")
    one = parts.add_parser("memory")
    one.add_argument("--crawls", type=int, default=10_000)
    one.add_argument("--hosts", type=int, default=1000)
    one = parts.add_parser("schedule")
    one.add_argument("--sources", type=int, default=10_000)
    one.add_argument("--interval", type=float, default=300.0, help="seconds, 60 at least")
    one.add_argument(
        "--warm",
        type=float,
        default=0.0,
        help="seconds between the end of the first round and the measuring; 0: as long as one interval",
    )
    one.add_argument("--measure", type=float, default=0.0, help="seconds; 0: as long as two intervals")
    one.add_argument("--delay", type=float, default=2.0, help="crawl.delay_s")
    one.add_argument(
        "--everything", action="store_true", help="all jobs of the house, not the crawl job alone"
    )
    one = parts.add_parser("kill")
    one.add_argument("--times", type=int, default=20)
    one.add_argument("--seed", type=int, default=4)
    a = parser.parse_args(arguments)
    if a.part == "poll":
        poll(a.hosts, a.rounds, a.processes, a.only)
    elif a.part == "memory":
        memory(a.crawls, a.hosts)
    elif a.part == "schedule":
        return schedule(
            a.sources, a.interval, a.warm or a.interval, a.measure or 2 * a.interval, a.delay, a.everything
        )
    else:
        return kill(a.times, a.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
