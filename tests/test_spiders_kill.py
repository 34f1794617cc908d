"""`kill -9` in the middle of a crawl or an import: nothing lost, nothing doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from incidents.posts import unjudged
from incidents.session import Database
from tests.fakes.site import Answer, Hit, Site, article

FEED, API, MAP = 230, 150, 12
BODY = "历下区某小区自来水发黄已经三天，居民多次拨打热线反映，物业表示正在检修。\n" * 4
EXPECTED = sorted(
    [f"feed g{n}" for n in range(FEED)] + [f"api {n}" for n in range(API)] + [f"map {n}" for n in range(MAP)]
)


def fill(site: Site) -> None:
    site.feed(
        "/feed.xml", [{"title": f"停水{n}", "guid": f"g{n}", "text": f"停水第{n}次"} for n in range(FEED)]
    )
    for page in range(1, 6):
        rows = [{"id": n, "t": f"停电第{n}次"} for n in range((page - 1) * 40, min(page * 40, API))]
        site.page(f"/api?page={page}", json.dumps(rows), kind="application/json")
    urls = "".join(f"<url><loc>{site.url}/art/{n}</loc></url>" for n in range(MAP))
    site.page(
        "/map.xml",
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{urls}</urlset>',
        kind="text/xml",
    )
    for n in range(MAP):
        site.page(f"/art/{n}", article(f"自来水发黄{n}", f"{BODY}{n}"))


def start(db: Database, site: str, death: str = "") -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.crawl_child", db.url, site, *([death] if death else [])],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


def stored(db: Database, site: Site) -> list[str]:
    with db.reading() as session:
        rows = unjudged(session, 100_000)
    names = []
    for row in rows:
        number = (
            row.text.rsplit("\n", 1)[-1]
            if row.source_id == "map"
            else "".join(c for c in row.text if c.isdigit())
        )
        names.append(f"{row.source_id} {'g' if row.source_id == 'feed' else ''}{number}")
    return sorted(names)


def finish(db: Database, site: Site) -> None:
    last = start(db, site.url)
    _, errors = last.communicate(timeout=60)
    assert last.returncode == 0, errors.decode()
    assert stored(db, site) == EXPECTED


def killing(
    pid: list[int], after: int, path: Callable[[Hit], bool], answer: Answer
) -> Callable[[Hit], Answer]:
    """Kills the crawler when the `after`th matching request has arrived."""
    seen = [0]

    def handler(hit: Hit) -> Answer:
        if path(hit):
            seen[0] += 1
            if seen[0] == after and pid:
                os.kill(pid[0], signal.SIGKILL)
        return answer

    return handler


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/robots.txt", "/feed.xml", "/api?page=3", "/map.xml", "/art/7"])
def test_a_crawl_killed_at_a_request_loses_and_doubles_nothing(db: Database, path: str) -> None:
    with Site() as site:
        fill(site)
        healthy = site._answers.get(path, Answer(404))
        pid: list[int] = []
        base = healthy if isinstance(healthy, Answer) else healthy(Hit(path, {}, b"", 0.0))
        site.on(path, killing(pid, 1, lambda hit: True, base))
        child = start(db, site.url)
        pid.append(child.pid)
        child.communicate(timeout=60)
        assert child.returncode == -signal.SIGKILL
        site.on(path, healthy)
        finish(db, site)


@pytest.mark.slow
@pytest.mark.parametrize("death", ["before:1", "commit:1", "before:3", "commit:3", "before:5"])
def test_a_crawl_killed_at_a_commit_loses_and_doubles_nothing(db: Database, death: str) -> None:
    with Site() as site:
        fill(site)
        child = start(db, site.url, death)
        child.communicate(timeout=60)
        assert child.returncode == -signal.SIGKILL
        assert len(stored(db, site)) == len(set(stored(db, site)))
        finish(db, site)


@pytest.mark.slow
@pytest.mark.parametrize("death", ["commit:2", "before:3"])
def test_an_import_killed_at_a_commit_loses_and_doubles_nothing(
    db: Database, tmp_path: Path, death: str
) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("工单编号,诉求内容\n" + "".join(f"G{n},停水第{n}次\n" for n in range(1000)), "utf-8")
    child = start(db, str(path), death)
    child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL
    again = start(db, str(path))
    _, errors = again.communicate(timeout=60)
    assert again.returncode == 0, errors.decode()
    with db.reading() as session:
        rows = unjudged(session, 5000)
    assert len(rows) == len({row.text for row in rows}) == 1000
