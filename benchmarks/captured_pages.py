"""Captured real pages through the whole crawl and the importer: `QUANSHENG_DATA=... python -m benchmarks.captured_pages [-v]`.

Needs `pages` below QUANSHENG_DATA: a Discuz! 7.2 board, news and government pages of some thirty Chinese sites, list pages,
Tieba threads, weibo.cn pages and answers of m.weibo.cn. A server on loopback gives out the pages that are crawled as the sites do:
gzip, session cookies, a Content-Type without charset, the board in the GBK that it declares. Each row of the table says how many
posts stand in the pages (counted in their markup, without our parsers) and how many came into the database. -v names the others.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from incidents.migrate import upgrade
from incidents.models import Post, Quarantine, SourceState
from incidents.session import Database
from spiders.importer import UnreadableFile, import_file
from spiders.profiles import load_profile
from spiders.reactor import crawler_thread
from tests.conftest import AUDIT_KEY
from tests.fakes.crawl import NOW, crawl, source
from tests.fakes.site import Answer, Site

HEADERS = {
    "Content-Type": "text/html",
    "Content-Encoding": "gzip",
    "Server": "nginx/1.14.0",
    "Set-Cookie": "JSESSIONID=2C1F0A9E; Path=/; HttpOnly",
}


def served(site: Site, path: str, body: bytes) -> None:
    """Give `body` out at `path` as the sites do."""
    site.on(path, Answer(200, gzip.compress(body), HEADERS))


class Bench:
    """One database for each set of pages."""

    def __init__(self, folder: Path, verbose: bool) -> None:
        self.folder = folder
        self.verbose = verbose
        self.wrong = 0

    def run(self, name: str, work: Callable[[Database], int]) -> None:
        """Print one row; `work` returns how many posts stand in the pages."""
        db = Database(f"sqlite:///{self.folder / (re.sub('[^a-z]', '', name) + '.db')}", audit_key=AUDIT_KEY)
        upgrade(db.engine)
        began = time.process_time()
        there = work(db)
        spent = time.process_time() - began
        with db.reading() as session:
            posts = list(session.scalars(select(Post)))
            dated = sum(not post.published_estimated for post in posts)
            named = sum(bool(post.title) for post in posts)
            aside = session.scalars(select(Quarantine)).all()
            states = {f"{row.state}: {row.evidence}" for row in session.scalars(select(SourceState))}
            print(f"| {name} | {there} | {len(posts)} | {named} | {dated} | {len(aside)} | {spent:.1f} |")
            if self.verbose:
                for line in [*sorted(states), *(f"{row.field}: {row.reason} {row.payload}" for row in aside)]:
                    print(f"    {line[:300]}")
        db.close()


def discuz(pages: Path) -> Callable[[Database], int]:
    """The captured board as it was served: in the GBK that it declares."""
    text = (pages / "discuz" / "hipda_debug_crawler.html").read_text("utf-8")

    def work(db: Database) -> int:
        path = "/forum/forumdisplay.php?fid=2&orderby=dateline"
        with Site() as site:
            served(site, path, text.encode("gb18030"))
            board = source("board", "discuz", site.url + path, reason="测量", threads=False)
            crawl(db, board, now=NOW.replace(year=2015, month=11, day=15))
        return len(set(re.findall(r'<tbody id="normalthread_(\d+)', text)))

    return work


def articles(pages: Path) -> Callable[[Database], int]:
    """Every captured article behind one column page, each in its own bytes."""
    root = pages / "gne_news_pages" / "tests"
    found = {
        f"/{path.relative_to(root).as_posix()}": path.read_bytes() for path in sorted(root.rglob("*.html"))
    }

    def work(db: Database) -> int:
        with Site() as site:
            links = "".join(f'<li><a href="{path}">{path}</a></li>' for path in found)
            served(site, "/list", f"<html><body><ul>{links}</ul></body></html>".encode())
            for path, body in found.items():
                served(site, path, body)
            crawl(db, source("column", "column", site.url + "/list", link_pattern=r"\.html$"))
        return len(found)

    return work


def imported(files: list[Path], profile: str, count: Callable[[str], int]) -> Callable[[Database], int]:
    """Captured pages that come in as files."""

    def work(db: Database) -> int:
        there = 0
        taken = load_profile(Path(profile)).model_copy(update={"captured_at": NOW - timedelta(days=1)})
        for path in files:
            there += count(path.read_text("utf-8", "replace"))
            try:
                import_file(db, path, taken, b"a key of no city", NOW)
            except UnreadableFile as exc:
                print(f"    {path.name}: {exc}")
        return there

    return work


def _weibo_answers(text: str) -> int:
    """Posts in answers of m.weibo.cn: objects with an id, words and a time, each once."""
    seen: set[str] = set()

    def walk(node: object) -> None:
        if isinstance(node, dict):
            if {"id", "text", "created_at"} <= set(node):
                seen.add(str(node.get("mid") or node["id"]))
            for inner in node.values():
                walk(inner)
        elif isinstance(node, list):
            for inner in node:
                walk(inner)

    walk(json.loads(text))
    return len(seen)


def main() -> int:
    """Print the table; 1 when the pages are not there."""
    pages = Path(os.environ.get("QUANSHENG_DATA", "")) / "pages"
    if not os.environ.get("QUANSHENG_DATA") or not pages.is_dir():
        print("QUANSHENG_DATA names no folder with `pages`; captured pages were not read", file=sys.stderr)
        return 1
    crawler_thread().forget_robots()
    print("| pages | posts in them | stored | with title | with a time of their own | set aside | CPU s |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="quansheng-captured-") as base:
        bench = Bench(Path(base), "-v" in sys.argv)
        bench.run("Discuz! 7.2 board, GBK (`discuz`)", discuz(pages))
        bench.run("news and government articles (`column`)", articles(pages))
        tieba = sorted((pages / "tieba_mediacrawler").glob("*.html"))
        bench.run(
            "Tieba pages (import)",
            imported(
                tieba,
                "tieba",
                lambda text: len(
                    re.findall(r'class="[^"]*(?:l_post |lzl_single_post|j_thread_list|s_post)', text)
                ),
            ),
        )
        cn = sorted((pages / "weibo_cn_weiboSpider" / "testdata").glob("*.html"))
        bench.run(
            "weibo.cn pages (import)",
            imported(cn, "weibo", lambda text: len(re.findall(r'class="c" id="M_', text))),
        )
        answers = sorted((pages / "weibo_m_json").glob("*.json"))
        bench.run("m.weibo.cn answers (import)", imported(answers, "weibo", _weibo_answers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
