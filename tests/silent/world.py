"""What surrounds a product whose failures must be noticed: a mail server, a service that expects its pings, a supervisor."""

from __future__ import annotations

import asyncio
import email
import email.policy
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
#: how the outside service is set up, as docs/operations.md says
PERIOD_S, GRACE_S = 60.0, 120.0
#: as in the unit of docs/operations.md
RESTART_S = 2.0


@dataclass
class Mailbox:
    """Handler of a real SMTP server: keeps every mail with its time. Who stands in `tarpit` gets an answer without end."""

    mails: list[tuple[float, str, str]] = field(default_factory=list)  # time, recipient, subject
    tarpit: set[str] = field(default_factory=set)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """Accept everything, or never come to the end of the answer (RFC 5321: a line with a dash has a next one)."""
        while self.tarpit & set(envelope.rcpt_tos):
            await server.push("250-one moment please")
            await asyncio.sleep(1)
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        for recipient in envelope.rcpt_tos:
            self.mails.append((time.monotonic(), recipient, str(message["Subject"])))
        return "250 OK"


class Outside:
    """A dead-man service: it raises an alarm at /fail, and when the ping has not come for a period and its grace."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, str, str]] = []  # time, path, body
        outside = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                outside.calls.append((time.monotonic(), self.path, body.decode()))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_POST = do_GET

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.base = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def pings(self, name: str) -> list[float]:
        """Times at which all was well."""
        return [at for at, path, _ in self.calls if path == f"/{name}"]

    def fails(self, name: str) -> list[tuple[float, str]]:
        """Times at which something was wrong, with the reasons."""
        return [(at, body) for at, path, body in self.calls if path == f"/{name}/fail"]

    def silent_at(self, name: str, now: float) -> float | None:
        """When the missing ping raised the alarm; None while it has not."""
        pings = self.pings(name)
        due = (pings[-1] if pings else now) + PERIOD_S + GRACE_S
        return due if due <= now else None

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()


class Supervisor:
    """Keeps `quansheng run` alive as systemd would, and notes each end."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.ends: list[tuple[float, int]] = []  # time, exit code
        self._folder = folder
        self._environment = os.environ | environment
        self._stop = threading.Event()
        self.process = self._start()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def log(self) -> Path:
        """What the product said."""
        return self._folder / "product.log"

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as out:
            return subprocess.Popen(
                [sys.executable, "-m", "cli", "-c", str(self._folder), "run"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=ROOT,
                env=self._environment,
            )

    def _watch(self) -> None:
        while not self._stop.is_set():
            code = self.process.wait()
            self.ends.append((time.monotonic(), code))
            if not self._stop.wait(RESTART_S):
                self.process = self._start()

    def stop(self) -> None:
        """End the product for good; it may be stopped or hang in the kernel."""
        self._stop.set()
        self.process.send_signal(signal.SIGKILL)

    def wait(self) -> None:
        """Until it has ended."""
        self.process.wait(30)
