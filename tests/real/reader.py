"""`quansheng crawl` on a configuration of its own, and what it left in the database."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import select

from config.keys import load_keys
from incidents.models import Post, Quarantine, SourceState
from incidents.session import Database

ROOT = Path(__file__).parent.parent.parent
#: the papers of a source on loopback
PAPERS = (
    "    enabled: true\n    reason: 本机回环上的试验服务\n    legal_basis: 履行法定职责\n"
    "    impact_note: 本机回环\n    owner_unit: 市政府办公厅\n"
)


def command(config: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """A `quansheng` command on the installation in `config`, which must succeed. Raises AssertionError with what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "cli", "-c", str(config), *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=os.environ | dict(environment or {}),
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(
            f"quansheng {' '.join(arguments)}: exit code {done.returncode}: {done.stdout[-500:]} {done.stderr[-1000:]}"
        )
    return done.stdout


class Reader:
    """An installation that reads servers on loopback. `sources` is the text of its sources.yaml, below `sources:`."""

    def __init__(self, config: Path, sources: str, hosts: tuple[str, ...] = ("127.0.0.1",)) -> None:
        self.config = config
        config.mkdir(parents=True)
        allowed = ", ".join(f"'{host}'" for host in hosts)
        (config / "quansheng.toml").write_text(
            f"[crawl]\ndelay_s = 0.02\nallow_private_hosts = [{allowed}]\n", "utf-8"
        )
        (config / "sources.yaml").write_text(f"sources:\n{sources}", "utf-8")

    def crawl(self, *sources: str) -> None:
        """Read the named sources once, whether due or not. A source with a problem is no failure here: see `state`."""
        done = subprocess.run(
            [sys.executable, "-m", "cli", "-c", str(self.config), "crawl", *sources],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
        if "Traceback" in done.stderr:
            raise AssertionError(f"quansheng crawl: {done.stderr[-1500:]}")

    def posts(self, source: str) -> list[Post]:
        """Every stored post of a source. Raises AssertionError when something was set aside."""
        db = self._open()
        try:
            with db.reading() as session:
                aside = session.scalars(select(Quarantine.reason).where(Quarantine.origin == source)).all()
                assert not aside, f"{len(aside)} entries were set aside, such as {aside[0]}"
                found = list(session.scalars(select(Post).where(Post.source_id == source)))
                session.expunge_all()
                return found
        finally:
            db.close()

    def state(self, source: str) -> tuple[str, str]:
        """State of a source and the sentence that explains it."""
        db = self._open()
        try:
            with db.reading() as session:
                row = session.get(SourceState, source)
                return (row.state, row.evidence) if row is not None else ("", "")
        finally:
            db.close()

    def _open(self) -> Database:
        var = self.config / "var"
        return Database(f"sqlite:///{var / 'quansheng.db'}", audit_key=load_keys(var).audit)
