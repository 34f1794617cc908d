"""Speed of the duty desk with many open incidents while posts come in: acknowledging, reading the desk, hearing of a change.

    python -m benchmarks.console_desk [--incidents 10000] [--acks 1000] [--officers 4] [--looks 20] [--rate 12] [--postgres] [--quiet]

Three processes: the console as it is served, a writer that stores and judges posts at a steady rate (batches of 20, each
one transaction, `--quiet` leaves it out), and the officers, who press the button of the desk over HTTP. A press counts
when it is answered by a redirect to the desk; everything else is an error, "database is locked" among them.
"""

from __future__ import annotations

import argparse
import http.client
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from sqlalchemy import func, insert, select
from sqlalchemy.orm import DeclarativeBase

from incidents import judgements
from incidents.migrate import upgrade
from incidents.models import Deadline, Incident, IncidentEvent
from incidents.session import Database
from tests.console_city import served
from tests.console_world import AUDIT_KEY, NOW, PASSWORD, World, _judgement, world
from tests.postgres_guard import scratch_database

OFFICERS = "officer"
#: the server closes connections on which nobody asks for five seconds
KEPT_S = 3.0


def say(text: str) -> None:
    """One line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def quantile(values: list[float], share: float) -> float:
    """The value below which `share` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


def told(name: str, seconds: list[float]) -> str:
    """One line of figures, in milliseconds."""
    marks = " ".join(
        f"p{round(share * 100)} {quantile(seconds, share) * 1000:.1f}" for share in (0.5, 0.95, 0.99)
    )
    return f"{name}: n {len(seconds)} {marks} max {max(seconds, default=0) * 1000:.1f} ms"


def fill(town: World, incidents: int) -> None:
    """So many open incidents that wait for an acknowledgement, each with two running clocks.

    One is made by the product, the others are copies of its rows: making each takes longer than measuring.
    """
    one = town.incident("小区停水无人处理", ["停水了，没人管", "又停水了"], domain="housing")
    with town.db.transaction() as session:
        model = _columns(session.get_one(Incident, one.id))
        first = session.scalars(select(IncidentEvent).where(IncidentEvent.kind == "detected")).one()
        event, last = _columns(first), session.scalar(select(func.max(IncidentEvent.seq))) or 0
        ids = range(one.id + 1, one.id + incidents)
        session.execute(
            insert(Incident), [{**model, "id": id_, "number": f"QS-2026-{id_:06d}"} for id_ in ids]
        )
        session.execute(
            insert(IncidentEvent),
            [
                {**event, "seq": last + place, "incident_id": id_, "idempotency_key": None}
                for place, id_ in enumerate(ids, 1)
            ],
        )
        session.execute(
            insert(Deadline),
            [
                {
                    "incident_id": id_,
                    "rule_id": rule,
                    "round": 1,
                    "stops_on": "responded",
                    "started_at": town.now,
                    "due_at": town.now + timedelta(hours=hours, seconds=id_ % 90000),
                    "provisional": False,
                    "calendar_version": "bench",
                    "trace": [],
                    "state": "open",
                }
                for id_ in ids
                for rule, hours in (("R03", 24), ("R09", 120))
            ],
        )


def _columns(row: DeclarativeBase) -> dict[str, Any]:
    return {column.key: getattr(row, column.key) for column in row.__table__.columns}


def busy_s(process: int) -> float:
    """Seconds of processor that a process has used."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def ingest(url: str, incidents: int, rate: float) -> None:
    """Store and judge posts for ever: batches of 20, `rate` posts a second, each batch one transaction."""
    town = world(Database(url, audit_key=AUDIT_KEY), Path(tempfile.mkdtemp()))
    town.numbers = iter(range(10_000_000, 2**40))  # type: ignore[assignment]
    done, begun = 0, time.monotonic()
    while True:
        with town.db.transaction() as session:
            for _ in range(20):
                done += 1
                post = town.post(session, f"又停水了，第{done}次打电话", town.now)
                judgements.save_judgements(
                    session, [_judgement(post, "housing", "历下区", None, risk=1)], town.now
                )
                judgements.add_post(
                    session,
                    1 + done * 7919 % incidents,
                    post,
                    similarity=0.8,
                    voice=True,
                    published_at=town.now,
                    negative=True,
                    now=town.now,
                )
        if done == 20:
            say("ready")
        time.sleep(max(0.0, begun + done / rate - time.monotonic()))


def serve(url: str) -> None:
    """The console over this database until standard input ends."""
    town = world(Database(url, audit_key=AUDIT_KEY), Path(tempfile.mkdtemp()))
    with served(town) as address:
        say(address)
        sys.stdin.read()


class Officer(threading.Thread):
    """Somebody who presses the button of one incident after the other."""

    def __init__(
        self, address: str, login: str, work: list[tuple[int, str, int, int]], pause_s: float, looks: int
    ) -> None:
        super().__init__(daemon=True)
        self.line = http.client.HTTPConnection(urlsplit(address).netloc, timeout=60)
        self.work, self.pause_s, self.login, self.looks = work, pause_s, login, looks
        self.cookie, self.csrf, self.asked_at = "", "", 0.0
        self.took: list[float] = []
        self.desks: list[float] = []
        self.errors: list[str] = []

    def ask(
        self, method: str, path: str, fields: dict[str, str] | None = None
    ) -> tuple[int, str, http.client.HTTPMessage]:
        """One request."""
        headers = {"Cookie": self.cookie}
        if fields is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        if time.monotonic() - self.asked_at > KEPT_S:
            self.line.close()  # the server has closed it already; it opens itself again
        self.line.request(method, path, urlencode(fields) if fields is not None else None, headers)
        answer = self.line.getresponse()
        self.asked_at = time.monotonic()
        return answer.status, answer.read().decode(), answer.headers

    def enter(self) -> None:
        """Log in and learn the token of the forms."""
        _, html, headers = self.ask("GET", "/login")
        self.cookie = "; ".join(line.split(";")[0] for line in headers.get_all("Set-Cookie") or [])
        hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', html))
        status, _, headers = self.ask("POST", "/login", {**hidden, "login": self.login, "password": PASSWORD})
        assert status == 303, status
        self.cookie = "; ".join(line.split(";")[0] for line in headers.get_all("Set-Cookie") or [])
        _, html, _ = self.ask("GET", "/password")
        found = re.search(r'name="csrf" value="([^"]+)"', html)
        assert found is not None
        self.csrf = found[1]

    def run(self) -> None:
        """Press them all; look at the desk after every so many."""
        for count, (_, number, version, epoch) in enumerate(self.work):
            fields = {
                "csrf": self.csrf,
                "key": f"{self.login}-{number}",
                "version": str(version),
                "epoch": str(epoch),
                "back": "desk",
            }
            at = time.perf_counter()
            status, body, _ = self.ask("POST", f"/incidents/{number}/ack", fields)
            self.took.append(time.perf_counter() - at)
            if status != 303:
                self.errors.append(f"{status} {body[:200]}")
            if self.looks and count % self.looks == 0:
                at = time.perf_counter()
                status, _, _ = self.ask("GET", "/")
                self.desks.append(time.perf_counter() - at)
                if status != 200:
                    self.errors.append(f"desk {status}")
            time.sleep(self.pause_s)


def measure(url: str, town: World, args: argparse.Namespace) -> bool:
    """Press, read, and tell the figures; True when nothing was refused."""
    with town.db.reading() as session:
        rows = session.execute(
            select(Incident.id, Incident.number, Incident.version, Incident.epoch).order_by(Incident.id)
        ).all()
    picked = [(row[0], str(row[1]), row[2], row[3]) for row in rows][:: max(1, len(rows) // args.acks)][
        : args.acks
    ]
    me = [sys.executable, "-m", "benchmarks.console_desk", "--url", url, "--incidents", str(args.incidents)]
    with ExitStack() as stack:
        console = stack.enter_context(
            subprocess.Popen([*me, "--serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        assert console.stdout is not None
        address = console.stdout.readline().strip()
        if not args.quiet:
            writer = subprocess.Popen(
                [*me, "--ingest", "--rate", str(args.rate)], stdout=subprocess.PIPE, text=True
            )
            stack.callback(writer.terminate)
            assert writer.stdout is not None
            writer.stdout.readline()  # its first batch is stored: what it imports is there
        crowd = [
            Officer(address, f"{OFFICERS}{index}", picked[index :: args.officers], args.pause, args.looks)
            for index in range(args.officers)
        ]
        for officer in crowd:
            officer.enter()
        load, used = os.getloadavg()[0], busy_s(console.pid)
        for officer in crowd:
            officer.start()
        for officer in crowd:
            officer.join()
        used = busy_s(console.pid) - used
        errors = [error for officer in crowd for error in officer.errors]
        say(told("acknowledge", [second for officer in crowd for second in officer.took]))
        say(told("desk page", [second for officer in crowd for second in officer.desks]))
        say(f"processor of the console: {used:.1f} s for all of it")
        say(f"errors {len(errors)}; load average {load:.1f} before, {os.getloadavg()[0]:.1f} after")
        for error in errors[:5]:
            say(error)
        assert console.stdin is not None
        console.stdin.close()
    return not errors


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--incidents", type=int, default=10_000)
    parser.add_argument("--acks", type=int, default=1_000)
    parser.add_argument("--officers", type=int, default=4)
    parser.add_argument(
        "--pause", type=float, default=0.05, help="seconds between two presses of one officer"
    )
    parser.add_argument(
        "--looks", type=int, default=20, help="presses between two looks at the desk; 0 never looks"
    )
    parser.add_argument(
        "--rate", type=float, default=12.0, help="posts stored and judged a second (12 are a million a day)"
    )
    parser.add_argument("--postgres", action="store_true")
    parser.add_argument("--quiet", action="store_true", help="no posts come in")
    parser.add_argument("--url", help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--ingest", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve(args.url)
        return
    if args.ingest:
        ingest(args.url, args.incidents, args.rate)
        return
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        url = (
            stack.enter_context(scratch_database("desk"))
            if args.postgres
            else f"sqlite:///{folder / 'desk.db'}"
        )
        db = Database(url, audit_key=AUDIT_KEY)
        stack.callback(db.close)
        upgrade(db.engine)
        town = world(db, folder)
        town.now = NOW
        for index in range(args.officers):
            town.account(f"{OFFICERS}{index}", "duty", name=f"值班{index}")
        begun = time.perf_counter()
        fill(town, args.incidents)
        say(f"{args.incidents} incidents made in {time.perf_counter() - begun:.0f} s")
        if not measure(url, town, args):
            sys.exit(1)


if __name__ == "__main__":
    main()
