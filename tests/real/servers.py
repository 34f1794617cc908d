"""Connectors against real servers that are too heavy for every change: two releases of RSSHub, and the AT protocol.

`make test-servers` runs them all; the first run installs Node.js from PyPI and the servers from npm (ten to twenty minutes,
a C++ compiler is needed). The first wrong step of a server ends it; the exit code is 1 when one was wrong.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from tests.real.node import environment, packages
from tests.real.reader import PAPERS, Reader
from tests.real.wordpress import WordPress, ensure_packages, free_port, wait_for

HERE = Path(__file__).parent
#: without the override a dependency would be fetched from a version control site
OVERRIDES = {"difflib": "0.2.4"}
OLD = {"dependencies": {"rsshub": "1.0.0"}, "overrides": OVERRIDES}
NEW = {
    "type": "module",
    "dependencies": {"rsshub": "1.0.0-master.6a664a8", "@hono/node-server": "*"},
    "overrides": OVERRIDES,
}
ATPROTO = {"type": "module", "dependencies": {"@atproto/pds": "0.5.35", "@atproto/dev-env": "0.6.7"}}
RECORDS = {"quanzi": 80, "daming": 50}
_BEGUN = time.monotonic()


def say(text: str) -> None:
    """One step of the proof, with the seconds since the beginning."""
    sys.stdout.write(f"[servers {time.monotonic() - _BEGUN:6.1f} s] {text}\n")
    sys.stdout.flush()


@contextmanager
def server(
    place: Path, log: Path, command: list[str], ready: Callable[[], bool], **more: str
) -> Iterator[None]:
    """A Node.js server in the folder of its packages; stopped by its own process group."""
    with log.open("ab") as out:
        child = subprocess.Popen(
            command,
            cwd=place,
            env=environment(**more),
            stdout=out,
            stderr=out,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def answers() -> bool:
        if child.poll() is not None:
            raise RuntimeError(f"the server ended: {log.read_text('utf-8', 'replace')[-1500:]}")
        try:
            return ready()
        except httpx.TransportError:
            return False

    try:
        wait_for(command[-1], answers, 180)
        yield
    finally:
        if child.poll() is None:
            os.killpg(child.pid, 15)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, 9)
                child.wait(5)


def _answers(url: str) -> Callable[[], bool]:
    return lambda: httpx.get(url, timeout=30).status_code == 200


def rsshub_old(folder: Path) -> None:
    """A release whose robots.txt forbids everything: nothing is read, and the operator is told what to do."""
    place = packages("rsshub-old", OLD)
    base = f"http://127.0.0.1:{(port := free_port())}"
    command = ["node", "node_modules/rsshub/lib/index.js"]
    more = {"PORT": str(port), "LISTEN_INADDR_ANY": "0", "NODE_ENV": "production"}
    with server(place, folder / "old.log", command, _answers(f"{base}/robots.txt"), **more):
        shown = httpx.get(f"{base}/robots.txt").text.split()
        assert shown[-2:] == ["Disallow:", "/"], shown
        assert httpx.get(f"{base}/test/1", timeout=30).status_code == 200, "the route itself works"
        entry = f"  - id: old\n    name: 旧版\n    kind: rsshub\n    url: {base}\n    route: /test/1\n    tier: B\n{PAPERS}"
        reader = Reader(folder / "config", entry)
        reader.crawl("old")
        state, words = reader.state("old")
        assert state == "robots", f"{state}: {words}"
        assert "DISALLOW_ROBOT=false" in words, words
        assert not reader.posts("old")
        asked = (folder / "old.log").read_text("utf-8", "replace")
        say(f"RSSHub 1.0.0: state robots, 0 posts: {words}")
        assert asked.count("/test/1") <= 2, "the route was asked for in spite of robots.txt"


class _Pages(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@contextmanager
def pages(folder: Path) -> Iterator[str]:
    """A site without a feed: its list page and 24 notices."""
    folder.mkdir()
    rows = "".join(
        f'<li><a href="/notice/{n}.html">第{n}号停水通告</a><span>2026-11-{n + 1:02d} 08:30</span></li>'
        for n in range(24)
    )
    (folder / "list.html").write_text(f"<html><meta charset=utf-8><ul class=list>{rows}</ul></html>", "utf-8")
    web = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Pages, directory=str(folder)))
    threading.Thread(target=web.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{web.server_address[1]}"
    finally:
        web.shutdown()
        web.server_close()


def rsshub(folder: Path) -> None:
    """A release of 2026: a route to a real WordPress, and a page without a feed made one by `transform`."""
    if ensure_packages():
        say("WordPress, MariaDB and PHP installed from Debian's packages")
    place = packages("rsshub", NEW, "--omit=optional")
    base = f"http://127.0.0.1:{(port := free_port())}"
    more = {
        "PORT": str(port),
        "NODE_ENV": "production",
        "NO_RANDOM_UA": "true",
        "ALLOW_USER_SUPPLY_UNSAFE_DOMAIN": "true",
    }
    wordpress = WordPress(folder)
    try:
        begun = datetime.now(UTC) - timedelta(days=2)
        for number in range(50):
            wordpress.publish(
                f"第{number}号来帖",
                f"第{number}次反映小区停水，无人处理。",
                begun + timedelta(minutes=number),
            )
        site = wordpress.base.replace(":", "%3A").replace("/", "%2F")
        command = ["node", str(HERE / "rsshub.mjs")]
        with (
            pages(folder / "pages") as plain,
            server(place, folder / "rsshub.log", command, _answers(f"{base}/test/1"), **more),
        ):
            entries = (
                f"  - id: wordpress\n    name: 论坛\n    kind: rsshub\n    url: {base}\n    route: /wordpress/{site}\n{PAPERS}"
                f"  - id: page\n    name: 通告\n    kind: rsshub\n    url: {base}\n    tier: B\n"
                f"    transform: {{form: html, page: '{plain}/list.html',\n"
                "      rules: {item: '.list li', itemTitle: a, itemLink: a, itemPubDate: span}}\n"
                f"{PAPERS}"
            )
            reader = Reader(folder / "config", entries)
            reader.crawl("wordpress", "page")
            found = reader.posts("wordpress")
            state = reader.state("wordpress")
            assert len({post.title for post in found}) == len(found) == 50, f"{len(found)} of 50; {state}"
            assert all("无人处理" in post.text for post in found)
            say(f"RSSHub 2026-08, /wordpress/: {len(found)}/50 posts; {': '.join(state)}")
            # RSSHub itself takes the first 20 of a page
            found = reader.posts("page")
            state = reader.state("page")
            assert {post.title for post in found} == {f"第{n}号停水通告" for n in range(20)}, (
                f"{len(found)}; {state}"
            )
            assert {post.url for post in found} == {f"{plain}/notice/{n}.html" for n in range(20)}
            say(f"RSSHub 2026-08, transform: {len(found)}/20 posts; {': '.join(state)}")
    finally:
        wordpress.close()


def atproto(folder: Path) -> None:
    """A personal data server of the AT protocol: every record of two accounts, then only what is new."""
    place = packages("atproto", ATPROTO, build="better-sqlite3")
    base = f"http://localhost:{(port := free_port())}"
    more = {"PDS_PORT": str(port), "PLC_PORT": str(free_port())}
    command = ["node", str(HERE / "atproto.mjs")]
    with server(place, folder / "atproto.log", command, _answers(f"{base}/xrpc/_health"), **more):
        http = httpx.Client(base_url=base, timeout=60)
        accounts = {name: _account(http, name) for name in RECORDS}
        for name, number in RECORDS.items():
            for n in range(number):
                _write(http, accounts[name], f"{name}第{n}条：小区停水，无人处理。")
        say(f"{sum(RECORDS.values())} posts of {len(RECORDS)} accounts written through XRPC")
        repos = ", ".join(account["did"] for account in accounts.values())
        entry = f"  - id: sky\n    name: 公开账号\n    kind: atproto\n    url: {base}\n    repos: [{repos}]\n    size: 50\n{PAPERS}"
        reader = Reader(folder / "config", entry, hosts=("localhost", "127.0.0.1", "::1"))
        reader.crawl("sky")
        found = reader.posts("sky")
        state = reader.state("sky")
        assert len({post.text for post in found}) == len(found) == sum(RECORDS.values()), (
            f"{len(found)}; {state}"
        )
        assert len({post.author_key for post in found}) == len(RECORDS)
        say(f"AT protocol: {len(found)}/{sum(RECORDS.values())} posts; {': '.join(state)}")
        _write(http, accounts["quanzi"], "刚刚来水了")
        reader.crawl("sky")
        assert len(reader.posts("sky")) == len(found) + 1
        say(f"one new post: found; {': '.join(reader.state('sky'))}")


def _account(http: httpx.Client, name: str) -> dict[str, str]:
    answer = http.post(
        "/xrpc/com.atproto.server.createAccount",
        json={"handle": f"{name}.test", "email": f"{name}@example.invalid", "password": "not a secret"},
    )
    answer.raise_for_status()
    given: dict[str, str] = answer.json()
    return given


def _write(http: httpx.Client, account: dict[str, str], text: str) -> None:
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    record = {"$type": "app.bsky.feed.post", "text": text, "createdAt": now}
    http.post(
        "/xrpc/com.atproto.repo.createRecord",
        json={"repo": account["did"], "collection": "app.bsky.feed.post", "record": record},
        headers={"Authorization": f"Bearer {account['accessJwt']}"},
    ).raise_for_status()


PROOFS = {"rsshub-old": rsshub_old, "rsshub": rsshub, "atproto": atproto}


def main() -> int:
    """Run the named proofs; 0 if everything held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("proofs", nargs="*", help=f"any of {', '.join(PROOFS)}; default: all")
    parser.add_argument("--keep", action="store_true", help="keep the folders of the run")
    given = parser.parse_args()
    wrong = 0
    for name in given.proofs or PROOFS:
        folder = Path(tempfile.mkdtemp(prefix=f"quansheng-{name}-"))
        try:
            PROOFS[name](folder)
        except (AssertionError, TimeoutError, RuntimeError, httpx.HTTPError) as failure:
            say(f"{name}: WRONG: {failure or type(failure).__name__}")
            wrong += 1
        finally:
            if given.keep:
                say(f"kept: {folder}")
            else:
                subprocess.run(["rm", "-rf", str(folder)], check=False)
    say("Proved." if not wrong else f"{wrong} wrong.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
