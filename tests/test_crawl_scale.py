"""Thousands of sources: what is due begins when there is room, nothing grows with their number, and one slow host holds up nobody."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import scrapy.middleware
from sqlalchemy import event

from config.sources import Source
from incidents import stops
from incidents.posts import NewPost, SaveResult, unjudged
from incidents.session import Database
from incidents.sources import SourceView, get_state
from spiders.collector import Collector
from spiders.crawler import HostCrawler, _asks_for, asks_for, ready_settings
from spiders.hostlock import HostLocks, host_locks
from spiders.items import PostItem, Unusable
from spiders.job import by_host, due_sources
from spiders.reactor import crawler_thread
from spiders.source_run import Batch, Ending, SourceRun
from spiders.writer import DatabaseStore
from tests.fakes.crawl import CRAWL, KEYS, NOW, bundle, crawl, folder_of, source
from tests.fakes.site import Answer, Hit, Site

MINUTE = timedelta(minutes=1)
PRIVATE = ("127.0.0.1", "127.0.0.2", "127.0.0.3")


def feed(name: str, url: str, **more: object) -> Source:
    return source(name, "rss", url, every_min=5, **more)


# --- what is due


def test_the_longest_overdue_comes_first_and_every_fourth_was_never_read() -> None:
    sources = [feed(name, f"http://{name}.example/f") for name in ("new", "late", "later", "future", "begun")]
    timings = {
        "late": SourceView("late", next_due_at=NOW - MINUTE),
        "later": SourceView("later", next_due_at=NOW - 9 * MINUTE),
        "begun": SourceView("begun"),
    }
    due = due_sources(sources, timings, {"late", "later", "future", "begun"}, NOW)
    assert [one.id for one in due] == ["later", "late", "new", "begun"]

    many = [feed(f"{word}{n}", f"http://{word}{n}.example/f") for word in ("known", "new") for n in range(6)]
    overdue = {f"known{n}": SourceView(f"known{n}", next_due_at=NOW - n * MINUTE) for n in range(6)}
    due = due_sources(many, overdue, set(overdue), NOW)
    assert [one.id for one in due][:8] == [
        "known5", "known4", "known3", "new0", "known2", "known1", "known0", "new1",
    ]  # fmt: skip
    assert len(due) == 12


def test_hosts_are_grouped_through_others_in_order() -> None:
    sources = [
        feed("a", "http://a.example/f"),
        feed("b", "http://b.example/f"),
        feed("c", "http://c.example/f", allow_hosts=("a.example", "d.example")),
        feed("d", "http://d.example/f"),
        feed("b2", "http://b.example/g"),
    ]
    assert [[one.id for one in group] for group in by_host(sources)] == [["a", "c", "d"], ["b", "b2"]]


def test_ten_thousand_hosts_are_grouped_in_no_time() -> None:
    sources = [feed(f"s{n}", f"http://h{n}.example/f") for n in range(10_000)]
    begun = time.process_time()
    assert len(by_host(sources)) == 10_000
    assert time.process_time() - begun < 2  # each against each took minutes


# --- rhythm


def run_of(due: datetime | None, at: datetime) -> SourceRun:
    run = SourceRun(feed("f", "http://a.example/f"), CRAWL, None, b"", lambda: at)  # type: ignore[arg-type]
    run.due_at = due
    return run


@pytest.mark.parametrize(
    ("late_s", "pause_s"),
    [(None, 300), (0, 300), (20, 280), (30, 270), (31, 300), (3600, 300), (-60, 300)],
)
def test_a_source_read_a_little_late_keeps_its_rhythm(late_s: int | None, pause_s: int) -> None:
    due = None if late_s is None else NOW - timedelta(seconds=late_s)
    assert run_of(due, NOW)._next_due("ok", NOW) == NOW + timedelta(seconds=pause_s)


def test_a_pause_that_was_asked_for_is_not_shortened() -> None:
    run = run_of(NOW - timedelta(seconds=20), NOW)
    run.fresh_for = timedelta(minutes=20)
    assert run._next_due("ok", NOW) == NOW + timedelta(minutes=20)


# --- locks


def test_a_thousand_hosts_are_locked_with_one_open_file(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with host_locks(tmp_path, (f"h{n}.example" for n in range(1000))) as busy:
        assert not busy
        assert len(list(Path("/proc/self/fd").iterdir())) == before + 1
        with host_locks(tmp_path, ["h7.example", "other.example"]) as refused:
            assert refused == {"h7.example"}
    with host_locks(tmp_path, ["h7.example"]) as busy:
        assert not busy


def test_all_hosts_of_a_group_are_taken_or_none(tmp_path: Path) -> None:
    mine, theirs = HostLocks(tmp_path), HostLocks(tmp_path)
    assert theirs.take("b.example")
    assert not mine.take_all(["a.example", "b.example"])
    assert theirs.take("a.example")
    theirs.free(["a.example", "b.example"])
    assert mine.take_all(["a.example", "b.example"])
    mine.close()
    theirs.close()


# --- writing


def batch(name: str, text: str = "停水") -> Batch:
    post = NewPost(name, "1", "", "", text, NOW, False, NOW, None)
    return Batch(name, (post,), (), {"n": name}, Ending("ok", "{new} new", NOW, NOW + 5 * MINUTE))


@contextmanager
def commits(db: Database) -> Iterator[list[int]]:
    seen: list[int] = []

    def note(_connection: object) -> None:
        seen.append(1)

    event.listen(db.engine, "commit", note)
    yield seen
    event.remove(db.engine, "commit", note)


def test_crawls_that_end_together_share_a_commit(db: Database) -> None:
    store = DatabaseStore(db)

    async def all_at_once() -> None:
        await asyncio.gather(*(store.save(batch(f"s{n}")) for n in range(30)))

    with commits(db) as seen:
        asyncio.run(all_at_once())
    store.close()
    assert len(seen) == 1
    with db.reading() as session:
        assert get_state(session, "s29").evidence == "1 new"
        assert len(unjudged(session, 100)) == 30


def test_a_batch_that_cannot_be_written_costs_only_its_own_source(db: Database) -> None:
    store = DatabaseStore(db)
    bad = batch("bad")
    bad.cursor["n"] = object()  # no JSON

    async def all_at_once() -> list[object]:
        given = [batch("first"), batch("a"), bad, batch("b")]
        return list(await asyncio.gather(*(store.save(one) for one in given), return_exceptions=True))

    results = asyncio.run(all_at_once())
    store.close()
    assert [isinstance(result, Exception) for result in results] == [False, False, True, False]
    with db.reading() as session:
        assert [get_state(session, name).state for name in ("first", "a", "bad", "b")] == [
            "ok",
            "ok",
            "new",
            "ok",
        ]


# --- the crawler


def test_crawls_share_frozen_settings_and_keep_their_own_delays() -> None:
    settings = ready_settings(CRAWL)
    runs = [run_of(None, NOW)]
    one, two = HostCrawler(settings, runs), HostCrawler(ready_settings(CRAWL), runs)
    assert one.settings is two.settings
    assert one._slots is not two._slots
    assert one.settings.frozen
    assert one.settings["ROBOTSTXT_OBEY"] is False


def test_a_crawl_has_the_parts_that_we_name_and_opens_no_port(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ready_settings(CRAWL)
    parts = {
        name: set(settings.getwithbase(name))
        for name in ("EXTENSIONS", "DOWNLOADER_MIDDLEWARES", "SPIDER_MIDDLEWARES")
    }
    named = {
        one if isinstance(one, str) else f"{one.__module__}.{one.__qualname__}" for one in parts["EXTENSIONS"]
    }
    assert named == {"scrapy.extensions.logcount.LogCount"}
    assert (len(parts["DOWNLOADER_MIDDLEWARES"]), len(parts["SPIDER_MIDDLEWARES"])) == (10, 3)
    opened: list[object] = []
    with Site() as site:
        site.feed("/f", [{"title": "停水", "guid": "1", "text": "停水两天"}])
        listen = socket.socket.listen

        def noted(one: socket.socket, *more: int) -> None:
            opened.append(one.getsockname())
            listen(one, *more)

        monkeypatch.setattr(socket.socket, "listen", noted)
        crawl(db, feed("f", f"{site.url}/f"))
    assert site.hits("/f")
    assert opened == [], "a crawl asks and answers nobody"


def collector(db: Database, *sources: Source, **more: int) -> Collector:
    crawler_thread().forget_robots()
    given = bundle(*sources, data_dir=folder_of(db), allow_private_hosts=PRIVATE, timeout_s=60)
    return Collector(db, given, KEYS, {}, **more)


def steps(one: Collector, now: datetime, wanted: int) -> list[str]:
    """Ids of sources that ended, until there are `wanted` of them."""
    ended: list[str] = []
    limit = time.monotonic() + 60
    while len(ended) < wanted and time.monotonic() < limit:
        ended += [done.source_id for done in one.step(now, lambda: now).sources]
        threading.Event().wait(0.01)
    return ended


def at(site: Site, host: str) -> str:
    return f"http://{host}:{site.port}"


@pytest.fixture
def site() -> Iterator[Site]:
    with Site(host="") as running:
        yield running


def test_a_slow_host_does_not_hold_up_the_others(db: Database, site: Site) -> None:
    gate = threading.Event()
    site.feed("/quick", [{"title": "停水", "guid": "q"}])
    site.page("/slow", "", wait=gate)
    one = collector(
        db, feed("slow", at(site, "127.0.0.2") + "/slow"), feed("quick", at(site, "127.0.0.3") + "/quick")
    )
    assert steps(one, NOW, 1) == ["quick"]
    assert steps(one, NOW + 5 * MINUTE, 1) == ["quick"]
    assert site.hits("/slow") == 1  # under way all the time, and not asked twice
    gate.set()
    assert "slow" in steps(one, NOW + 5 * MINUTE, 1)
    one.stop()


def test_no_more_hosts_are_read_at_once_than_there_is_room(db: Database, site: Site) -> None:
    gate = threading.Event()
    site.on("/f", lambda hit: Answer(200, b"<rss version='2.0'/>", {"Content-Type": "text/xml"}, wait=gate))
    one = collector(
        db,
        *(feed(f"s{n}", at(site, f"127.0.0.{n}") + "/f") for n in (1, 2, 3)),
        feed("s4", at(site, "127.0.0.1") + "/f"),
        at_once=2,
    )
    limit = time.monotonic() + 60
    hosts: set[str] = set()
    while len(hosts) < 2 and time.monotonic() < limit:
        one.step(NOW, lambda: NOW)
        threading.Event().wait(0.01)
        hosts = {hit.headers["host"].split(":")[0] for hit in site.log("/f")}
    assert hosts == {"127.0.0.1", "127.0.0.2"}
    assert len(one._flights) <= 2
    gate.set()
    states: set[str] = {"new"}
    while "new" in states and time.monotonic() < limit + 60:
        one.step(NOW, lambda: NOW)
        threading.Event().wait(0.01)
        with db.reading() as session:
            states = {get_state(session, name).state for name in ("s1", "s2", "s3", "s4")}
    assert states == {"empty"}
    one.stop()


def test_stopping_saves_what_was_read_and_begins_nothing(db: Database, site: Site) -> None:
    gate, asked = threading.Event(), threading.Event()

    def page(hit: Hit) -> Answer:
        asked.set()
        return Answer(200, b"", wait=gate)

    site.feed("/f", [{"title": "停水", "guid": "1", "link": at(site, "127.0.0.1") + "/p"}])
    site.on("/p", page)
    one = collector(db, feed("f", at(site, "127.0.0.1") + "/f", full_text=True))
    one.step(NOW, lambda: NOW)
    assert asked.wait(20)
    threading.Timer(0.2, gate.set).start()
    one.stop()
    assert not one.step(NOW + 9 * MINUTE, lambda: NOW).sources or site.hits("/f") == 1
    with db.reading() as session:
        assert get_state(session, "f").cursor is not None
    assert site.hits("/f") == 1


def test_a_halt_reaches_what_the_collector_has_under_way_and_keeps_it_from_beginning_again(
    db: Database, site: Site
) -> None:
    gate, asked = threading.Event(), threading.Event()

    def page(hit: Hit) -> Answer:
        asked.set()
        return Answer(200, b"", wait=gate)

    site.on("/f", page)
    one = collector(db, feed("f", at(site, "127.0.0.1") + "/f"))
    one.step(NOW, lambda: NOW)
    assert asked.wait(20)
    with db.transaction() as session:
        stops.make(
            session, "halt", "all", "", reason="站点来电要求停采", actor="lin", channel="console", now=NOW
        )
    assert steps(one, NOW, 1) == ["f"]
    assert not one.step(NOW, lambda: NOW).sources
    assert not one._flights
    gate.set()
    assert site.hits("/f") == 1
    with db.reading() as session:
        assert get_state(session, "f").failures == 0
    one.stop()


def test_a_new_source_whose_posts_could_not_be_saved_is_read_again_after_its_interval(
    db: Database, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.feed("/f", [{"title": "停水", "guid": "1"}])
    save = DatabaseStore.save

    async def refuse(store: DatabaseStore, batch: Batch) -> SaveResult:
        raise OSError("disk full")

    monkeypatch.setattr(DatabaseStore, "save", refuse)
    one = collector(db, feed("new", at(site, "127.0.0.1") + "/f"))
    assert steps(one, NOW, 1) == ["new"]
    for _ in range(5):
        assert one.step(NOW + MINUTE, lambda: NOW).sources == ()
    assert site.hits("/f") == 1  # its site is not asked every two seconds
    monkeypatch.setattr(DatabaseStore, "save", save)
    assert steps(one, NOW + 6 * MINUTE, 1) == ["new"]
    one.stop()
    with db.reading() as session:
        assert [row.title for row in unjudged(session, 9)] == ["停水"]


def test_a_batch_that_was_not_stored_goes_with_the_next_one() -> None:
    saved: list[Batch] = []

    class Store:
        refuses = True

        async def known(self, source_id: str, external_ids: object) -> set[str]:
            return set()

        async def save(self, batch: Batch) -> SaveResult:
            if self.refuses:
                raise OSError("disk full")
            saved.append(batch)
            return SaveResult(len(batch.posts), 0, ())

    store = Store()
    run = SourceRun(feed("f", "http://a.example/f"), CRAWL, store, b"k" * 32, lambda: NOW)

    async def read() -> None:
        await run.take(PostItem(source_id="f", external_id="1", text="停水"))
        await run.take(Unusable(source_id="f", external_id="2", field="text", reason="empty"))
        with pytest.raises(OSError, match="disk full"):
            await run._save(None)
        store.refuses = False
        await run.take(PostItem(source_id="f", external_id="3", text="停电"))
        await run._save(None)

    asyncio.run(read())
    (batch,) = saved
    assert [post.external_id for post in batch.posts] == ["1", "3"]
    assert [bad.external_id for bad in batch.asides] == ["2"]
    assert len(batch.exchanges) == 2
    assert run.tally.saved == 2


def test_a_crawl_that_is_over_leaves_nothing_alive(db: Database) -> None:
    def alive() -> int:
        gc.collect()
        return sum(isinstance(one, HostCrawler | SourceRun) for one in gc.get_objects())

    with Site() as site:
        site.feed("/f", [{"title": "停水", "guid": "1", "text": "停水两天"}])
        before = alive()
        for step in range(3):
            crawl(db, feed("f", f"{site.url}/f"), now=NOW + step * MINUTE * 10)
        assert alive() <= before


def test_a_middleware_method_is_asked_for_its_arguments_once() -> None:
    class Old:
        def process_request(self, request: object, spider: object) -> None: ...

    class New:
        def process_request(self, request: object, spider: object = None) -> None: ...

    assert (asks_for(Old().process_request, "spider"), asks_for(New().process_request, "spider")) == (
        True,
        False,
    )
    known = _asks_for.cache_info().currsize
    for _ in range(3):
        asks_for(Old().process_request, "spider")
        asks_for(lambda spider: None, "spider")  # made anew each time: it must not be kept
    assert _asks_for.cache_info().currsize == known
    assert vars(scrapy.middleware)["argument_is_required"] is asks_for
