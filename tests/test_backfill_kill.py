"""`kill -9` again and again (twenty times on SQLite) in the middle of one back-fill: nothing lost, nothing doubled, nothing read that it did not have to."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import select

from incidents.backfills import list_backfills
from incidents.models import Post
from incidents.session import Database
from tests.fakes.site import Site
from tests.test_backfill import WANTED, column


class Tap(dict[str, Any]):
    """The site's answers; kills the child when its nth request arrives."""

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__(answers)
        self.pid = self.left = 0

    def get(self, key: str, default: Any = None) -> Any:
        self.left -= 1
        if self.left == 0 and self.pid:
            os.kill(self.pid, signal.SIGKILL)
        return super().get(key, default)


@pytest.mark.slow
def test_killed_again_and_again_it_loses_and_doubles_nothing(any_db: Database) -> None:
    chance = random.Random(7)
    with Site() as site:
        column(site)
        tap = Tap(site._answers)
        site._answers = tap
        for _ in range(20 if any_db.is_sqlite else 6):  # a start costs seconds
            # at a request (a page has nine), or at a commit: the first opens the back-fill, the next ones end a page each
            death = chance.choice(["", "", "commit:2", "before:2", "before:3"])
            child = start(any_db, site, death)
            tap.pid, tap.left = child.pid, 0 if death else chance.randint(1, 9)
            _, errors = child.communicate(timeout=120)
            tap.pid = 0
            assert child.returncode == -signal.SIGKILL, errors.decode()
        child = start(any_db, site)
        _, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors.decode()
    with any_db.reading() as session:
        posts = session.execute(select(Post.url, Post.provenance).where(Post.source_id == "col")).all()
        (view,) = list_backfills(session)
    numbers = [int(url.rsplit("/", 1)[1]) for url, origin in posts if "backfill" in origin]
    assert sorted(numbers) == WANTED
    assert (view.state, view.saved) == ("done", len(WANTED))


def start(db: Database, site: Site, death: str = "") -> subprocess.Popen[bytes]:
    words = [db.url, site.url, *filter(None, [death])]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.backfill_child", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
