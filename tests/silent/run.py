"""Six ways in which the product can fall silent, each on a real product in a process of its own: who notices, and when?

Everything runs at once: nine products on SQLite under a supervisor, each with a fake Slack; one mail server and one
outside service that expects a ping every minute. When all are healthy each gets its failure, all in the same moment.
A failure counts as noticed when a person can see it: a message to the officer on duty (mail or Slack), or an alarm of
the outside service. `make test-silent` runs this; it needs root for a small disk that can be frozen, and Linux.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiosmtpd.controller import Controller

from config.keys import load_keys
from demo.fake_slack import CHANNEL, TOKEN, FakeSlack
from incidents import rota
from incidents.session import Database
from tests.real.wordpress import free_port
from tests.silent.world import GRACE_S, PERIOD_S, ROOT, Mailbox, Outside, Supervisor

LIMIT_S = 300.0
#: messages to one officer through one channel about one failure
MOST_MESSAGES = 3
FAILED = "【系统故障】"
_BEGUN = time.monotonic()


def say(text: str) -> None:
    """One line, with the seconds since the beginning."""
    sys.stdout.write(f"[{time.monotonic() - _BEGUN:6.1f} s] {text}\n")
    sys.stdout.flush()


@dataclass
class Stage:
    """One product with everything around it."""

    name: str
    folder: Path
    mailbox: Mailbox
    outside: Outside
    slack: FakeSlack
    supervisor: Supervisor
    #: undoes the failure, so that everything can be taken down
    undo: list[Callable[[], object]] = field(default_factory=list)
    injected: float = 0.0
    slack_seen: list[tuple[float, str]] = field(default_factory=list)

    @property
    def officer(self) -> str:
        """The mail address of the officer on duty here."""
        return f"lin@{self.name}.invalid"

    def look(self) -> None:
        """Note new Slack messages with their time."""
        for message in self.slack.messages[len(self.slack_seen) :]:
            self.slack_seen.append((time.monotonic(), str(message.get("text", ""))))

    def told(self) -> dict[str, list[tuple[float, str]]]:
        """Every sign that a person sees, by the way on which it came: time and words."""
        people = {self.officer, f"zhou@{self.name}.invalid"}
        mails = [(at, words) for at, who, words in self.mailbox.mails if who in people and FAILED in words]
        silent = self.outside.silent_at(self.name, time.monotonic())
        return {
            "mail": mails,
            "Slack": [(at, words) for at, words in self.slack_seen if FAILED in words],
            "outside: told of the failure": self.outside.fails(self.name),
            "outside: ping missing": [(silent, "no ping")] if silent is not None else [],
        }


@dataclass(frozen=True)
class Failure:
    """One failure: how it comes about, which word the message to the officer holds, and whether there can be one at all."""

    name: str
    title: str
    inject: Callable[[Stage], object]
    word: str = ""  # "": nobody is left who could send a message; the missing ping has to do
    prepare: Callable[[Path], Callable[[], object]] | None = None


# --- disks ---------------------------------------------------------------------------------------------------------


def _mounted(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def small_disk(folder: Path) -> Callable[[], object]:
    """A data folder on a disk of 400 MB."""
    (folder / "var").mkdir()
    _mounted("mount", "-t", "tmpfs", "-o", "size=400m,mode=700", "tmpfs", str(folder / "var"))
    return lambda: subprocess.run(["umount", str(folder / "var")], check=False)


def disk_of_its_own(folder: Path) -> Callable[[], object]:
    """A data folder on an ext4 disk that can be frozen."""
    (folder / "var").mkdir()
    image = folder / "disk.img"
    with image.open("wb") as file:
        file.truncate(500_000_000)
    _mounted("mkfs.ext4", "-q", str(image))
    _mounted("mount", "-o", "loop", str(image), str(folder / "var"))
    return lambda: subprocess.run(["umount", str(folder / "var")], check=False)


# --- failures ------------------------------------------------------------------------------------------------------


def freeze_disk(at: Stage) -> None:
    """The disk takes no write any more and does not say so: the tick hangs in its commit, in the kernel."""
    var = str(at.folder / "var")
    _mounted("fsfreeze", "-f", var)
    # thawed even if this process dies, or nothing could ever be unmounted
    thaw = subprocess.Popen(["sh", "-c", 'sleep 900; exec fsfreeze -u "$1"', "sh", var])

    def undo() -> None:
        thaw.kill()
        thaw.wait()
        subprocess.run(["fsfreeze", "-u", var], check=False, capture_output=True)

    at.undo.append(undo)


def stop_process(at: Stage) -> None:
    """The whole process stands still, its watchdogs too, as on a machine that was suspended."""
    at.supervisor.process.send_signal(signal.SIGSTOP)


def hang_sender(at: Stage) -> None:
    """The mail server never comes to the end of its answer: every read succeeds, so no time limit ends it."""
    at.mailbox.tarpit.add(at.officer)
    command = [sys.executable, "-m", "cli", "-c", str(at.folder), "roster", "test", "lin"]
    done = subprocess.run(
        [*command, "--channel", "email", "--wait", "0"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if "email" not in done.stdout:
        raise RuntimeError(f"no test mail was begun: {done.stderr[-500:]}")


def lock_database(at: Stage) -> None:
    """Another process holds the database and does not let go."""
    code = (
        "import sqlite3, sys, time; db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None);"
        "db.execute('BEGIN EXCLUSIVE'); print('held', flush=True); time.sleep(900)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(at.folder / "var" / "quansheng.db")],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    at.undo.append(holder.kill)


def fill_disk(at: Stage) -> None:
    """Something else fills the disk to the last byte."""
    with (at.folder / "var" / "other.log").open("wb", buffering=0) as file:
        for size in (1_000_000, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def revoke_token(at: Stage) -> None:
    """Slack's token is revoked just after it was asked for: the worst moment."""
    begun = len(at.slack.calls)
    end = time.monotonic() + 200
    while not any(method == "auth.test" for method, _ in at.slack.calls[begun:]):
        if time.monotonic() > end:
            raise RuntimeError("the product does not ask Slack")
        time.sleep(0.02)
    at.slack.token = "revoked"
    at.injected = time.monotonic()


def everybody_away(at: Stage) -> None:
    """Leave is entered for everybody, as at the console: the roster names nobody."""
    db = Database(
        f"sqlite:///{at.folder / 'var' / 'quansheng.db'}", audit_key=load_keys(at.folder / "var").audit
    )
    now = datetime.now(UTC)
    with db.transaction() as session:
        for person in ("lin", "he"):
            rota.add(
                session,
                kind="leave",
                role="",
                person=person,
                stand_in="",
                start=now - timedelta(minutes=1),
                until=now + timedelta(days=1),
                reason="培训",
                by="admin",
                channel="console",
                now=now,
            )
    db.close()


def empty_roster(at: Stage) -> None:
    """Somebody empties the week in roster.yaml, and the product is started anew."""
    (at.folder / "roster.yaml").write_text(roster_of(at.name, week=False), "utf-8")
    at.supervisor.process.send_signal(signal.SIGTERM)


def ruin_roster(at: Stage) -> None:
    """Somebody deletes everybody from roster.yaml: the product does not start any more."""
    (at.folder / "roster.yaml").write_text("people: []\nfallback: lin\n", "utf-8")
    at.supervisor.process.send_signal(signal.SIGTERM)


FAILURES = (
    Failure("tick", "tick hung (its disk is frozen)", freeze_disk, "时钟", disk_of_its_own),
    Failure("stopped", "tick hung with the whole process (SIGSTOP)", stop_process),
    Failure("sender", "sender hung (mail server never ends its answer)", hang_sender, "email"),
    Failure("locked", "database locked by another process", lock_database, "another process"),
    Failure("full", "disk full", fill_disk, "", small_disk),
    Failure("revoked", "channel revoked (Slack token)", revoke_token, "slack"),
    Failure("away", "roster empty (everybody on leave)", everybody_away, "没有主班"),
    Failure("emptied", "roster empty (the week was deleted in the file, restart)", empty_roster, "没有主班"),
    Failure("ruined", "roster empty (everybody was deleted in the file, restart)", ruin_roster),
)
#: the disk says that it is full in one of two ways: our own look at it, or the database's word
_ANY_WORD = {"full": ("磁盘", "disk")}
#: failures after which nobody is left who could send a message
_MUTE = frozenset({"stopped", "ruined"})


# --- the run -------------------------------------------------------------------------------------------------------


def roster_of(name: str, *, week: bool = True) -> str:
    """A roster as an office would write it."""
    people = "".join(
        f"  - {{id: {id}, name: {zh}, email: {id}@{name}.invalid}}\n"
        for id, zh in (("lin", "林东"), ("he", "何南"), ("zhou", "周北"))
    )
    shift = '  - {name: 全天, from: "00:00", until: "24:00", primary: lin, secondary: he, leader: zhou}\n'
    return f"version: v1\nfallback: zhou\npeople:\n{people}" + (
        f"weekly:\n{shift}" if week else "weekly: []\n"
    )


def write_config(folder: Path, name: str, smtp_port: int, slack: str) -> None:
    """A configuration with two channels and nothing to read."""
    (folder / "quansheng.toml").write_text(
        f"[mail]\nhost = '127.0.0.1'\nport = {smtp_port}\nsender = 'quansheng@city.invalid'\n"
        f"[slack]\nchannel = '{CHANNEL}'\nbase_url = '{slack}'\n[console]\nport = 0\n",
        "utf-8",
    )
    (folder / "sources.yaml").write_text("sources: []\n", "utf-8")
    (folder / "roster.yaml").write_text(roster_of(name), "utf-8")


def healthy(stages: list[Stage], patience_s: float) -> None:
    """Every product has told outside that all is well, and has asked its channels; nothing was told to anybody."""
    end = time.monotonic() + patience_s
    while not all(stage.outside.pings(stage.name) for stage in stages):
        if time.monotonic() > end:
            ill = [stage.name for stage in stages if not stage.outside.pings(stage.name)]
            raise AssertionError(f"never became healthy: {', '.join(ill)}")
        time.sleep(0.2)
    for stage in stages:
        stage.look()
        early = {way: signs for way, signs in stage.told().items() if signs}
        assert not early, f"{stage.name}: a false alarm while all was well: {early}"


def inject(failure: Failure, stage: Stage, wrong: list[str]) -> None:
    """Let it fail; what goes wrong in that goes into the list."""
    stage.injected = time.monotonic()
    try:
        failure.inject(stage)
    except Exception as error:  # noqa: BLE001 (the border of a thread; the run ends with it)
        wrong.append(f"{failure.name}: the failure could not be brought about: {error!r}")


def seconds(stage: Stage, signs: list[tuple[float, str]]) -> float | None:
    """From the failure to its first sign."""
    after = [at - stage.injected for at, _ in signs if at >= stage.injected]
    return min(after, default=None)


def verdict(failure: Failure, stage: Stage) -> tuple[str, list[str]]:
    """A row of the table, and what is wrong."""
    told = stage.told()
    found = {way: seconds(stage, signs) for way, signs in told.items()}
    ends = [(at - stage.injected, code) for at, code in stage.supervisor.ends if at >= stage.injected]
    messages = [s for way in ("mail", "Slack") if (s := found[way]) is not None]
    outside = [s for way, s in found.items() if way.startswith("outside") and s is not None]
    first = min([*messages, *outside], default=None)
    problems = []
    if first is None or first > LIMIT_S:
        problems.append(f"{failure.name}: nobody could see it within {LIMIT_S:.0f} s")
    if failure.name not in _MUTE:
        if min(messages, default=LIMIT_S + 1) > LIMIT_S:
            problems.append(f"{failure.name}: no message to an officer within {LIMIT_S:.0f} s")
        words = [text for way in ("mail", "Slack") for _, text in told[way]]
        wanted = _ANY_WORD.get(failure.name, (failure.word,))
        if words and not any(word in text for word in wanted for text in words):
            problems.append(f"{failure.name}: the message does not name the cause: {words[0][:120]}")
    if min(outside, default=LIMIT_S + 1) > LIMIT_S:
        problems.append(f"{failure.name}: the outside service did not raise within {LIMIT_S:.0f} s")
    for way in ("mail", "Slack"):
        if len(told[way]) > MOST_MESSAGES:
            problems.append(f"{failure.name}: {len(told[way])} messages by {way}")
    ways = [f"{way} {s:.0f} s ({len(told[way])}x)" for way, s in found.items() if s is not None]
    process = ", ".join(f"{code} after {at:.0f} s" for at, code in ends[:3]) or "lives on"
    noticed = f"{first:.0f} s" if first is not None else "never"
    return f"| {failure.title} | {noticed} | {'; '.join(ways)} | {process} |", problems


def build(
    base: Path,
    smtp_port: int,
    mailbox: Mailbox,
    outside: Outside,
    failures: tuple[Failure, ...],
    stages: list[Stage],
) -> None:
    """Every product, started; `stages` gets each at once, so that it is taken down whatever happens to the next."""
    for failure in failures:
        folder = base / failure.name
        folder.mkdir()
        slack = FakeSlack().start()
        write_config(folder, failure.name, smtp_port, slack.base_url)
        undo = [failure.prepare(folder)] if failure.prepare else []
        environment = {
            "QUANSHENG_SLACK__TOKEN": TOKEN,
            "QUANSHENG_WATCH__PING_URL": f"{outside.base}/{failure.name}",
        }
        supervisor = Supervisor(folder, environment)
        stages.append(Stage(failure.name, folder, mailbox, outside, slack, supervisor, undo))


def take_down(stages: list[Stage]) -> None:
    """End every product, undo every failure, give every disk back."""
    for stage in stages:
        stage.supervisor.stop()
    for stage in stages:
        for undo in reversed(stage.undo[1:] if _has_disk(stage) else stage.undo):
            undo()
    for stage in stages:
        try:
            stage.supervisor.wait()
        except subprocess.TimeoutExpired:
            say(f"{stage.name}: the process {stage.supervisor.process.pid} does not end")
        if _has_disk(stage):
            stage.undo[0]()
        stage.slack.stop()


def _has_disk(stage: Stage) -> bool:
    return any(failure.name == stage.name and failure.prepare for failure in FAILURES)


def run(base: Path, failures: tuple[Failure, ...], watch_s: float) -> list[str]:
    """The whole proof; returns what was wrong."""
    mailbox, outside = Mailbox(), Outside()
    smtp = Controller(mailbox, hostname="127.0.0.1", port=free_port())
    smtp.start()
    stages: list[Stage] = []
    wrong: list[str] = []
    try:
        build(base, smtp.port, mailbox, outside, failures, stages)
        say(f"{len(stages)} products started")
        healthy(stages, 240)
        say("all healthy, nobody was told anything")
        pairs = list(zip(failures, stages, strict=True))
        threads = [threading.Thread(target=inject, args=(failure, stage, wrong)) for failure, stage in pairs]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads) or any(
            time.monotonic() < stage.injected + watch_s for stage in stages
        ):
            for stage in stages:
                stage.look()
            time.sleep(0.25)
        rows = []
        for failure, stage in pairs:
            row, problems = verdict(failure, stage)
            rows.append(row)
            wrong += problems
        say(f"outside service: period {PERIOD_S:.0f} s, grace {GRACE_S:.0f} s")
        head = "| failure | noticed after | signs (number in the time watched) | process |\n|---|---|---|---|"
        sys.stdout.write("\n".join([head, *rows]) + "\n")
        for stage in stages:
            for way, signs in stage.told().items():
                for at, words in signs[:1]:
                    line = words.split("\n")[0][:140]
                    sys.stdout.write(f"{stage.name}: {way} after {at - stage.injected:.0f} s: {line}\n")
    finally:
        take_down(stages)
        smtp.stop()
        outside.stop()
    if wrong:
        for stage in stages:
            if any(line.startswith(f"{stage.name}:") for line in wrong):
                end = stage.supervisor.log.read_text("utf-8", "replace")[-3000:]
                sys.stdout.write(f"--- end of the log of {stage.name}\n{end}\n")
    return wrong


def main() -> int:
    """Run the proof; 0 if everything was noticed in time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", choices=[failure.name for failure in FAILURES], default=None)
    parser.add_argument(
        "--without-disks", action="store_true", help="leave out the failures that need a disk of their own"
    )
    parser.add_argument("--keep", action="store_true", help="keep the folder of the run")
    given = parser.parse_args()
    failures = tuple(f for f in FAILURES if given.only is None or f.name in given.only)
    if given.without_disks:
        left_out = ", ".join(failure.name for failure in failures if failure.prepare)
        failures = tuple(failure for failure in failures if not failure.prepare)
        say(f"left out, for they need disks of their own: {left_out}")
    if any(failure.prepare for failure in failures):
        missing = [name for name in ("fsfreeze", "mkfs.ext4", "mount") if shutil.which(name) is None]
        if missing or os.geteuid() != 0:
            say(
                f"WRONG: small disks need root and util-linux, e2fsprogs; missing: {', '.join(missing) or 'root'}"
            )
            return 1
    base = Path(tempfile.mkdtemp(prefix="quansheng-silent-"))
    try:
        wrong = run(base, failures, LIMIT_S + 5)
    except (AssertionError, OSError, subprocess.CalledProcessError, sqlite3.Error) as error:
        wrong = [str(error) or type(error).__name__]
    finally:
        if not given.keep:
            subprocess.run(["rm", "-rf", "--one-file-system", str(base)], check=False)
    for line in wrong:
        say(f"WRONG: {line}")
    if not wrong:
        say(f"Proved: each of {len(failures)} failures is seen by a person within {LIMIT_S:.0f} s.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
