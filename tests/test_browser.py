"""Pages that a browser builds: the list comes in, and nothing leaves the rules. With a real Chromium where one is installed."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.sources import Source
from incidents import stops
from incidents.session import Database
from spiders import browser
from spiders.render import family
from tests.fakes.crawl import CRAWL, NOW, crawl, source
from tests.fakes.site import Site, article

REAL = importlib.util.find_spec("playwright") is not None and shutil.which(CRAWL.browser) is not None
real = pytest.mark.skipif(
    not REAL, reason="needs the extra [browser] and Chromium; the other tests of this file do not"
)
BUILD = (
    "fetch('/api/list.json').then(r => r.json()).then(l => { document.querySelector('#list').innerHTML = "
    "l.map(x => '<li><a href=\"/a/' + x + '.html\">停水通知第' + x + '号</a></li>').join('') })"
)


def board(site: Site, **more: object) -> Source:
    entry = {
        "link_pattern": r"/a/\d+",
        "render": "browser",
        "render_reason": "列表由脚本生成",
        "tier": "B",
        "reason": "没有订阅源",
        **more,
    }
    return source("js", "column", site.url + "/list", **entry)


def pages(site: Site, script: str = BUILD, number: int = 2) -> None:
    site.page("/app.js", script, kind="text/javascript")
    site.page("/api/list.json", json.dumps(list(range(number))), kind="application/json")
    site.page(
        "/list",
        '<html><head><link rel="stylesheet" href="/s.css"></head><body><img src="/x.png"><video src="/v.mp4"></video>'
        '<ul id="list">加载中</ul><script src="/app.js"></script></body></html>',
    )
    for n in range(number):
        site.page(
            f"/a/{n}.html", article(f"停水通知第{n}号", f"历下区某小区停水{n}，居民多次反映无人处理。" * 5)
        )


def children() -> list[int]:
    return [one.pid for one in family(os.getpid()) if one.pid != os.getpid()]


@pytest.fixture(autouse=True)
def _no_browser_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    before = set(children())
    yield
    for _ in range(100):
        left = {pid for pid in children() if pid not in before and _alive(pid)}
        if not left:
            return
        threading.Event().wait(0.1)
    raise AssertionError(f"processes left: {left}")


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@real
@pytest.mark.slow
def test_a_list_that_a_script_builds_is_read_like_any_other(db: Database) -> None:
    with Site() as site:
        pages(site)
        (told,) = crawl(db, board(site)).sources
        assert (told.state, told.new_posts) == ("ok", 2), told
        asked = [hit.path for hit in site.log()]
        assert asked.count("/robots.txt") == asked.count("/list") == asked.count("/api/list.json") == 1
        assert not {"/x.png", "/v.mp4", "/s.css", "/favicon.ico"} & set(asked)  # nothing that has no words
        agents = {hit.headers["user-agent"] for hit in site.log()}
        assert agents == {CRAWL.user_agent}
        # the same page without a browser holds no link: the script's work was needed
        plain = board(site, render="", render_reason="").model_copy(update={"id": "plain"})
        assert crawl(db, plain, only=("plain",)).sources[0].state == "changed"


@real
@pytest.mark.slow
def test_scripts_are_held_to_robots_guard_and_rate_and_nothing_goes_around(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Private addresses, other hosts, forbidden paths, sockets, beacons, workers: the list still comes, and the proxy hears nothing."""
    with Site() as site, Site() as inside, socket.create_server(("127.0.0.1", 0)) as proxy:
        heard: list[bytes] = []
        proxy.settimeout(0.2)
        ended = threading.Event()

        def listen() -> None:
            while not ended.is_set():
                try:
                    connection, _ = proxy.accept()
                except TimeoutError:
                    continue
                with connection:
                    connection.settimeout(1)
                    heard.append(connection.recv(200))

        ear = threading.Thread(target=listen)
        ear.start()
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        monkeypatch.setattr(browser, "PROXY", address)
        tricks = [
            "fetch('http://10.0.0.1/secret')", "fetch('http://169.254.169.254/latest/meta-data')", "fetch('http://[::ffff:10.0.0.1]/')",
            f"fetch('http://localhost:{inside.port}/inside')", "fetch('/forbidden/x')", "navigator.sendBeacon('/beacon', 'x')",
            "new Image().src = '/pixel.png'", "document.body.append(Object.assign(document.createElement('iframe'), {src: 'http://10.0.0.2/'}))",
            "fetch('file:///etc/passwd')", "new WebSocket('ws://10.0.0.4/')", "new EventSource('/events')", "window.open('http://10.0.0.3/')",
        ]  # fmt: skip
        pages(site, "".join(f"try {{ {one} }} catch (e) {{}}\n" for one in tricks) + BUILD)
        site.page("/robots.txt", "User-agent: *\nDisallow: /forbidden/\n", kind="text/plain")
        (told,) = crawl(db, board(site, allow_hosts=["10.0.0.1", "169.254.169.254"], max_rate=4)).sources
        ended.set()
        ear.join()
        assert (told.state, told.new_posts) == ("ok", 2), told
        assert "were refused" in told.evidence
        asked = {hit.path for hit in site.log()}
        assert not asked & {"/forbidden/x", "/beacon", "/pixel.png", "/events"}
        assert inside.hits() == 0
        assert heard == []  # no background traffic of the browser's own
        assert len(site.arrivals()) >= 4
        assert site.too_near(0.25) == []


@real
@pytest.mark.slow
def test_a_browser_that_is_stuck_is_ended_and_the_others_go_on(db: Database) -> None:
    with Site() as site:
        pages(site, "while (true) {}")
        site.page("/good", '<ul><li><a href="/a/1.html">停水</a></li></ul>')
        good = source("good", "column", site.url + "/good", link_pattern=r"/a/\d+")
        summary = crawl(db, board(site), good, browser_page_s=15.0)
        told = {one.source_id: one for one in summary.sources}
        assert told["js"].state == "error"
        assert "browser" in told["js"].evidence
        assert told["good"].new_posts == 1


@real
@pytest.mark.slow
def test_a_browser_that_eats_memory_is_ended(db: Database) -> None:
    with Site() as site:
        pages(
            site,
            "const a = []; function eat() { for (let i = 0; i < 20; i++) a.push(new Array(1e6).fill(Math.random()));"
            " setTimeout(eat, 5) } fetch('/api/list.json').then(eat); setInterval(() => fetch('/api/list.json'), 300)",
        )
        (told,) = crawl(db, board(site), browser_page_s=120.0, browser_memory_mb=900).sources
        assert told.state == "error"
        assert "browser_memory_mb = 900" in told.evidence or "ended" in told.evidence, told


@real
@pytest.mark.slow
def test_a_halt_ends_the_browser_at_once(db: Database) -> None:
    with Site() as site:
        pages(site, "while (true) {}")

        def halt() -> None:
            with db.transaction() as session:
                stops.make(session, "halt", "all", "", reason="r", actor="lin", channel="cli", now=NOW)

        timer = threading.Timer(6, halt)
        timer.start()
        began = time.monotonic()
        (told,) = crawl(db, board(site), browser_page_s=120.0).sources
        timer.join()
        assert told.state == "halted"
        assert time.monotonic() - began < 60


def test_without_browser_or_extra_the_state_says_what_to_install(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Site() as site:
        pages(site)
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
        (told,) = crawl(db, board(site)).sources
        assert told.state == "error"
        assert "quansheng[browser]" in told.evidence
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
        (told,) = crawl(db, board(site), only=("js",), browser="/no/such/chromium").sources
        assert "apt-get install chromium" in told.evidence
        assert site.hits("/list") == 0


def test_a_browser_needs_a_reason() -> None:
    with Site() as site, pytest.raises(ValueError, match="render_reason"):
        board(site, render_reason=" ")
