"""The console's speed as one table: what officer, clerk, supervisor and analyst keep open, the API, eight clients, acknowledging, the index and its peers.

    QUANSHENG_DATA=... python -m benchmarks.console_speed [--posts 1000000] [--incidents 10000] [--folder FOLDER] [--only pages,search,clients,ack,index]

The stock of `benchmarks.search_stock` is made in FOLDER when it is missing (at 1,000,000 posts some 15 minutes of CPU). Its incidents get
two running clocks each here: all are open at once. The console is served in a process of its own over HTTP; CPU is what that
process used for one request, all threads together, so that a busy machine does not blur it. The load average stands beside each part.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
from sqlalchemy import func, insert, select

from benchmarks import search_speed
from benchmarks.search_stock import BEGIN, SPAN, place, stock
from console.passwords import hash_password
from incidents import accounts
from incidents.models import Deadline, Incident
from incidents.session import Database

PARTS = ("pages", "search", "clients", "ack", "index")
#: login -> role; the clerk's department has a share of the incidents
PEOPLE = {"b-duty": "duty", "b-clerk": "department", "b-zhou": "supervisor", "b-mei": "analyst"}
#: analysts who ask at once; the API's pace is one person's, so each is a person
CROWD = [f"b-mei{number}" for number in range(8)]
CLERKS = "market-regulation"
#: milliseconds that are wished for, 95 of 100 requests
PAGE_MS, API_MS, CLIENTS_MS, CLIENTS_PER_S = 100, 60, 300, 80


@dataclass(frozen=True)
class Ask:
    """One line of the table: what is asked how often, by whom."""

    name: str
    login: str
    paths: tuple[str, ...]
    target_ms: int
    times: int = 12


def pages(numbers: Sequence[str]) -> list[Ask]:
    """What people keep open. `numbers` are incidents to look at."""
    looked = tuple(f"/incidents/{number}" for number in numbers)
    return [
        Ask("duty: desk", "b-duty", ("/",), PAGE_MS),
        Ask("duty: incident", "b-duty", looked, PAGE_MS),
        Ask("duty: sources", "b-duty", ("/sources",), PAGE_MS),
        Ask("duty: messages", "b-duty", ("/messages",), PAGE_MS),
        Ask("clerk: desk", "b-clerk", ("/",), PAGE_MS),
        Ask("supervisor: desk", "b-zhou", ("/",), PAGE_MS),
        Ask("supervisor: supervision", "b-zhou", ("/supervision",), PAGE_MS),
        Ask("supervisor: obligations", "b-zhou", ("/obligations",), PAGE_MS),
        Ask("supervisor: coverage", "b-zhou", ("/coverage",), PAGE_MS),
        Ask("analyst: topics", "b-mei", ("/topics",), PAGE_MS),
        Ask("API: incidents", "b-mei", ("/api/incidents", "/api/incidents?q=停水&state=detected"), API_MS),
        Ask("API: facets of incidents", "b-mei", ("/api/incidents/facets",), API_MS),
        Ask("API: sources", "b-mei", ("/api/sources",), API_MS),
    ]


def searches() -> list[Ask]:
    """The search page and the same by the API."""

    def asks(path: str, queries: Sequence[str], **more: str) -> tuple[str, ...]:
        return tuple(str(httpx.URL(path, params={"q": query, **more})) for query in queries)

    words, frequent = search_speed.QUERIES, search_speed.FREQUENT
    incidents = ("停水", "小区 物业", "停水 | 停电", "")
    fields = ("状态:发现", "停水 情绪:负面", "区县:历下 风险:>=2", "领域:就学 信源:forum-column")
    return [
        Ask("search: posts, 25 queries", "b-mei", asks("/search", words), PAGE_MS, 2 * len(words)),
        Ask("search: posts, a frequent character", "b-mei", asks("/search", frequent), PAGE_MS),
        Ask("search: incidents by words", "b-mei", asks("/search", incidents, kind="incidents"), PAGE_MS),
        Ask("search: incidents by fields", "b-mei", asks("/search", fields, kind="incidents"), PAGE_MS),
        Ask("API: posts, 25 queries", "b-mei", asks("/api/posts", words), API_MS, 2 * len(words)),
        Ask("API: posts, a frequent character", "b-mei", asks("/api/posts", frequent), API_MS),
        Ask("API: facets of posts", "b-mei", asks("/api/posts/facets", words[:8]), API_MS),
        Ask("API: posts over time", "b-mei", asks("/api/posts/over-time", words[:8]), API_MS),
    ]


def prepare(database: Database) -> list[str]:
    """Accounts and clocks; numbers of some incidents."""
    now = BEGIN + SPAN
    with database.transaction() as session:
        known = {row.login for row in accounts.list_accounts(session)}
        password = hash_password(search_speed.PASSWORD)
        for login, role in (*PEOPLE.items(), *((login, "analyst") for login in CROWD)):
            if login not in known:
                accounts.create_account(
                    session,
                    login=login,
                    display_name=login,
                    role=role,
                    department=CLERKS if role == "department" else "",
                    password_hash=password,
                    must_change=False,
                    now=now,
                )
        bare = select(Incident.id).where(Incident.id.not_in(select(Deadline.incident_id)))
        clocks = [
            {
                "incident_id": id_,
                "rule_id": rule,
                "round": 1,
                "stops_on": "responded",
                "started_at": now,
                "due_at": now + timedelta(hours=hours, seconds=id_ * 37 % 90000),
                "provisional": False,
                "calendar_version": "bench",
                "trace": [],
                "state": "open",
            }
            for id_ in session.scalars(bare)
            for rule, hours in (("R03", 24), ("R09", 120))
        ]
        if clocks:
            session.execute(insert(Deadline), clocks)
        last = session.scalar(select(func.max(Incident.id))) or 0
        rows = session.scalars(select(Incident.number).where(Incident.id > last - 6))
        return [number for number in rows if number]


@contextmanager
def console(url: str) -> Iterator[tuple[str, int]]:
    """Address and process of the console over this database."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.search_speed", "serve", url, str(port)])
    try:
        base = f"http://127.0.0.1:{port}"
        search_speed.wait(base)
        yield base, server.pid
    finally:
        server.terminate()
        server.wait()


def used_s(process: int) -> float:
    """Seconds of processor of all threads that the process has now, in nanoseconds told by the kernel."""
    total = 0
    for task in Path(f"/proc/{process}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except OSError:
            continue  # a thread that has just ended
    return total / 1e9


def ms(values: Sequence[float], share: float) -> str:
    """A quantile in milliseconds."""
    ordered = sorted(values)
    return f"{ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1e3:.0f}"


def row(ask: Ask, base: str, pid: int, cookies: httpx.Cookies) -> None:
    """Ask and tell one line."""
    wall: list[float] = []
    cpu: list[float] = []
    size = 0
    with httpx.Client(base_url=base, cookies=cookies, timeout=120) as client:
        for turn in range(ask.times + len(ask.paths)):
            path = ask.paths[turn % len(ask.paths)]
            before, began = used_s(pid), time.perf_counter()
            answer = client.get(path)
            took, spent = time.perf_counter() - began, used_s(pid) - before
            if answer.status_code != 200:
                raise SystemExit(f"{path} answered {answer.status_code}: {answer.text[:300]}")
            if turn >= len(ask.paths):  # the first look at each reads from the disk and compiles templates
                wall.append(took)
                cpu.append(spent)
                size = max(size, len(answer.content))
    say(
        f"| {ask.name} | {ms(wall, 0.5)} / {ms(wall, 0.95)} | {ms(cpu, 0.5)} / {ms(cpu, 0.95)} | {ask.target_ms} | {size / 1000:.0f} | {len(wall)} |"
    )


def clients(base: str, pid: int) -> None:
    """Eight analysts at once, who turn through the queries of the API list."""
    wall: list[float] = []
    entered = [search_speed.log_in(base, login) for login in CROWD]
    many = len(entered)

    def one(number: int) -> None:
        queries = search_speed.QUERIES
        with httpx.Client(base_url=base, cookies=entered[number], timeout=120) as client:
            for query in (*queries[number:], *queries[:number]):
                began = time.perf_counter()
                answer = client.get("/api/posts", params={"q": query})
                assert answer.status_code == 200, answer.status_code
                wall.append(time.perf_counter() - began)

    used, began = used_s(pid), time.perf_counter()
    threads = [threading.Thread(target=one, args=(number,)) for number in range(many)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, spent = time.perf_counter() - began, used_s(pid) - used
    say(
        f"{many} clients at once, API list: wall p50 {ms(wall, 0.5)} / p95 {ms(wall, 0.95)} ms (target {CLIENTS_MS}), {len(wall) / took:.0f} requests/s "
        f"(target {CLIENTS_PER_S}); CPU {spent / len(wall) * 1e3:.1f} ms a request: one core alone would answer {len(wall) / spent:.0f} a second; load {load()}"
    )


def load() -> str:
    """How many wanted a processor in the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def say(line: str) -> None:
    """One line at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def measure(folder: Path, posts: int, incidents: int, only: Sequence[str]) -> None:
    """Everything once."""
    database = stock(folder, posts, incidents)
    numbers = prepare(database)
    url = f"sqlite:///{place(folder, posts)}"
    if "index" in only:
        search_speed.sizes(database)
    database.close()
    if {"pages", "search", "clients"} & set(only):
        with console(url) as (base, pid):
            cookies = {login: search_speed.log_in(base, login) for login in PEOPLE}
            asks = [*(pages(numbers) if "pages" in only else ()), *(searches() if "search" in only else ())]
            if asks:
                say(f"{posts} posts, {incidents} incidents; load before {load()}")
                say("| what | wall p50 / p95 ms | CPU p50 / p95 ms | target p95 ms | kB | times |")
                say("|---|---|---|---|---|---|")
            for ask in asks:
                row(ask, base, pid, cookies[ask.login])
            say(f"load after {load()}")
            if "clients" in only:
                clients(base, pid)
    if "ack" in only:
        desk = [sys.executable, "-m", "benchmarks.console_desk", "--incidents", str(incidents)]
        for more in ([], ["--postgres"]):
            say(f"acknowledging during ingest{''.join(more).replace('--', ', ')}:")
            subprocess.run([*desk, "--acks", "200", "--looks", "0", "--pause", "0.1", *more], check=False)
    if "index" in only:
        search_speed.peers(folder, posts)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--posts", type=int, default=1_000_000)
    parser.add_argument("--incidents", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="where the stock lies or is made; default: a new one")
    parser.add_argument("--only", default=",".join(PARTS), help=f"of {', '.join(PARTS)}")
    args = parser.parse_args()
    folder = args.folder or Path(tempfile.mkdtemp(prefix="quansheng-stock-"))
    measure(folder, args.posts, args.incidents, args.only.split(","))


if __name__ == "__main__":
    main()
