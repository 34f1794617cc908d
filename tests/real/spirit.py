"""A real django-spirit forum: in a virtual environment of its own, SQLite, Django's server on loopback.

The environment lies in `.venv/servers` and is kept from run to run; the site itself lies in one folder and is gone after it.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.real.wordpress import free_port, wait_for

HERE = Path(__file__).parent
LOCK = HERE / "spirit-requirements.lock"
SERVERS = HERE.parent.parent / ".venv" / "servers"

#: as a Chinese operator would set it up; the shown dates are Shanghai's
_SETTINGS = """
from site1.settings.dev import *
DEBUG = False
LANGUAGE_CODE = "zh-hans"
LANGUAGES = [("zh-hans", "简体中文")]
TIME_ZONE = "Asia/Shanghai"
HAYSTACK_SIGNAL_PROCESSOR = "haystack.signals.BaseSignalProcessor"
LOGGING = {"version": 1, "disable_existing_loggers": False}
"""


def installed(place: Path, lock: Path) -> bool:
    """Make `place` a virtual environment with the packages of a lock file; returns whether anything was installed."""
    mark, wanted = place / "installed", hashlib.sha256(lock.read_bytes()).hexdigest()
    if mark.is_file() and mark.read_text() == wanted:
        return False
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
    pip = [str(place / "bin" / "python"), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
    subprocess.run([*pip, "--require-hashes", "-r", str(lock)], check=True)
    mark.write_text(wanted)
    return True


def ensure_environment() -> bool:
    """Install the forum's locked packages unless they are there; returns whether anything was installed."""
    return installed(SERVERS / "spirit", LOCK)


class Spirit:
    """A running forum. `base` is its address; `write` puts topics and posts into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "spirit"
        self.folder.mkdir()
        self.base = f"http://127.0.0.1:{free_port()}"
        self._python = str(SERVERS / "spirit" / "bin" / "python")
        self._server: subprocess.Popen[bytes] | None = None
        binaries = str(SERVERS / "spirit" / "bin")
        path = os.pathsep.join([binaries, os.environ.get("PATH", "")])
        self._env = os.environ | {"PATH": path, "DJANGO_SETTINGS_MODULE": "site1.settings.local"}
        self._env.pop("PYTHONPATH", None)
        try:
            self._run([str(SERVERS / "spirit" / "bin" / "spirit"), "startproject", "site1"], self.folder, {})
            self._site = self.folder / "site1"
            (self._site / "site1" / "settings" / "local.py").write_text(_SETTINGS, "utf-8")
            self._run([self._python, "manage.py", "spiritinstall"], self._site, self._env)
            self._start()
        except BaseException:
            self.close()
            raise

    def _run(self, command: Sequence[str], cwd: Path, env: dict[str, str], given: str = "") -> str:
        done = subprocess.run(
            command, cwd=cwd, env=env or self._env, input=given, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command[-2:])}: {done.stdout[-500:]} {done.stderr[-1500:]}")
        return done.stdout

    def _start(self) -> None:
        address = self.base.removeprefix("http://")
        with (self.folder / "access.log").open("ab") as out:
            self._server = subprocess.Popen(
                [self._python, "manage.py", "runserver", address, "--noreload", "--insecure"],
                cwd=self._site,
                env=self._env,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

        def answers() -> bool:
            assert self._server is not None
            if self._server.poll() is not None:
                raise RuntimeError(f"the forum ended: {self.log()[-1500:]}")
            try:
                return httpx.get(f"{self.base}/topic/active/", timeout=20).status_code == 200
            except httpx.TransportError:
                return False

        wait_for("the forum", answers)

    def write(self, topics: Sequence[dict[str, Any]]) -> list[int]:
        """Write topics with their posts (see spirit_seed.py); returns the topics' numbers."""
        command = [self._python, "-P", str(HERE / "spirit_seed.py")]
        env = self._env | {"PYTHONPATH": str(self._site)}
        numbers: list[int] = json.loads(
            self._run(command, self._site, env, json.dumps(topics, ensure_ascii=False))
        )
        return numbers

    def log(self) -> str:
        """What the server wrote: one line for each request."""
        return (self.folder / "access.log").read_text("utf-8", "replace")

    def close(self) -> None:
        """Stop the server by its own process group."""
        if self._server is not None and self._server.poll() is None:
            os.killpg(self._server.pid, 15)
            try:
                self._server.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self._server.pid, 9)
                self._server.wait(5)
