"""The kill switch and the objection list: at once, for good, on record, and lifted by a person only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from incidents import events, rebuild, retention, stops
from incidents.posts import NewPost, save_posts, set_aside
from incidents.session import Database
from incidents.sources import get_state
from incidents.states import Refused
from incidents.stops import Kind, Scope, Stop, Stops
from spiders.job import SourceSummary
from spiders.redact import pseudonym
from tests.fakes.crawl import KEYS, NOW, crawl, source
from tests.fakes.site import Answer, Hit, Site, article, rss

Factory = Callable[..., NewPost]


def halt(db: Database, scope: Scope = "all", target: str = "", reason: str = "站点来电要求停采") -> Stop:
    with db.transaction() as session:
        return stops.make(
            session, "halt", scope, target, reason=reason, actor="lin", channel="console", now=NOW
        )


def resume(db: Database, scope: Scope = "all", target: str = "") -> Stop:
    with db.transaction() as session:
        return stops.lift(
            session, "halt", scope, target, reason="已与站点说明", actor="wang", channel="cli", now=NOW
        )


def objection(db: Database, scope: Scope, target: str) -> retention.ObjectionReport:
    with db.transaction() as session:
        return retention.objection(
            session, scope, target, NOW, reason="来函要求删除", actor="lin", channel="cli"
        )


def stored(db: Database) -> list[str]:
    with db.reading() as session:
        return list(session.execute(text("SELECT text FROM post ORDER BY id")).scalars())


# --- what is covered


def stop(scope: Scope, target: str, kind: Kind = "objection") -> Stops:
    return Stops((Stop(kind, scope, stops.target_of(scope, target), "r", "lin", NOW),))


@pytest.mark.parametrize(
    ("scope", "target", "url", "covered"),
    [
        ("host", "bbs.a.cn", "http://bbs.a.cn/x", True),
        ("host", "BBS.a.cn", "https://bbs.A.cn:8443/x", True),
        ("host", "https://bbs.a.cn/any/page", "http://bbs.a.cn/", True),
        ("host", "a.cn", "http://bbs.a.cn/x", False),
        ("host", "*.a.cn", "http://bbs.a.cn/x", True),
        ("host", "*.a.cn", "http://a.cn/x", True),
        ("host", "*.a.cn", "http://ba.cn/x", False),
        ("prefix", "http://a.cn/u/12", "https://a.cn/u/12?page=2", True),
        ("prefix", "http://a.cn/u/12", "http://a.cn/u/12/posts", True),
        ("prefix", "http://a.cn/u/12", "http://a.cn/u/123", False),
        ("prefix", "http://a.cn/u/", "http://a.cn/u/123", True),
        ("prefix", "http://a.cn/u/", "http://b.cn/u/123", False),
        ("page", "http://a.cn/t/7", "https://a.cn/t/7/#reply", True),
        ("page", "http://a.cn/t/7", "https://a.cn/t/70", False),
        # written differently, as files from elsewhere do
        ("host", "bbs.a.cn", "bbs.a.cn/t/7", True),
        ("host", "bbs.a.cn", "http://bbs.a.cn./t/7", True),
        ("host", "a.cn", "a.cnn/t/7", False),
        ("prefix", "https://a.cn:443/u/12", "http://lin@A.cn:80/u/12/1", True),
        ("prefix", "http://a.cn:8080/u/", "http://a.cn/u/1", False),
        ("page", "http://A.cn/t/7", "a.cn/t/7/", True),
        ("page", "a.cn/t/7", "https://a.cn:443/t/7", True),
        ("page", "http://a.cn/T/7", "http://a.cn/t/7", False),
    ],
)
def test_an_address_is_covered_by_host_prefix_or_page(
    scope: Scope, target: str, url: str, covered: bool
) -> None:
    assert (stop(scope, target).of_url(url) is not None) == covered


@pytest.mark.parametrize(
    ("kind", "scope", "target"),
    [
        ("objection", "all", ""),
        ("halt", "page", "http://a.cn/"),
        ("halt", "host", "a b"),
        ("objection", "host", "*.cn"),
        ("objection", "prefix", "a.cn/u"),
        ("objection", "author", "张三"),
        ("halt", "source", " "),
    ],
)
def test_a_target_that_cannot_be_meant_is_refused(
    db: Database, kind: Kind, scope: Scope, target: str
) -> None:
    with db.transaction() as session, pytest.raises(Refused):
        stops.make(session, kind, scope, target, reason="r", actor="lin", channel="cli", now=NOW)


def test_neither_stop_nor_lift_goes_without_a_reason(db: Database) -> None:
    with pytest.raises(Refused, match="reason"):
        halt(db, reason="  ")
    with db.transaction() as session, pytest.raises(Refused, match="reason"):
        retention.objection(session, "host", "a.cn", NOW, reason="", actor="lin", channel="cli")
    with pytest.raises(Refused, match="no halt of all is in force"):
        resume(db)


def test_every_act_is_an_event_with_actor_and_reason_and_the_table_is_their_fold(any_db: Database) -> None:
    halt(any_db, "host", "a.cn")
    halt(any_db)
    halt(any_db, "host", "a.cn", reason="again")  # in force already: the row keeps its first reason
    resume(any_db, "host", "a.cn")
    halt(any_db, "host", "a.cn", reason="neu")
    objection(any_db, "prefix", "http://a.cn/u/1")
    with any_db.transaction() as session:
        found = {(row.scope, row.target): row for row in stops.active(session)}
        assert found["host", "a.cn"].reason == "neu"
        assert found["all", ""].actor == "lin"
        kinds = [event.kind for event in events.events_after(session, 0)]
        assert kinds[:5] == [*["crawl_halted"] * 3, "crawl_resumed", "crawl_halted"]
        assert kinds[5:] == ["objection", "objection_enforced"]
        assert list(rebuild.differences(session)) == []
        session.execute(text("DELETE FROM crawl_stop WHERE scope = 'all'"))  # somebody's hand in the table
        (wrong,) = rebuild.repair(session)
        assert wrong.table == "crawl_stop"
        assert {row.scope for row in stops.active(session)} == {"all", "host", "prefix"}


# --- the kill switch


def test_nothing_is_asked_of_a_halted_house_host_or_source(db: Database) -> None:
    with Site() as site:
        site.page("/f", rss([{"title": "停水", "guid": "g"}]), kind="text/xml")
        feed = source("a", "rss", site.url + "/f")
        for scope, target in (("all", ""), ("host", "127.0.0.1"), ("source", "a")):
            halt(db, scope, target)  # type: ignore[arg-type]
            (told,) = crawl(db, feed, only=("a",)).sources
            assert told.state == "halted"
            assert "lin" in told.evidence
            assert "站点来电要求停采" in told.evidence
            assert crawl(db, feed).sources == ()  # when it is due it is simply not read
            resume(db, scope, target)  # type: ignore[arg-type]
        assert site.hits() == 0
        with db.reading() as session:
            assert get_state(session, "a").failures == 0  # a halt is no failure of the source
        assert crawl(db, feed).new_posts == 1  # and it is due as soon as the last halt is lifted


def test_a_halt_of_one_source_leaves_the_others_of_its_host_alone(db: Database) -> None:
    with Site() as site:
        for name in "ab":
            site.page(f"/{name}", rss([{"title": f"停水{name}", "guid": name}]), kind="text/xml")
        halt(db, "source", "a")
        summary = crawl(db, *(source(name, "rss", f"{site.url}/{name}") for name in "ab"))
        assert [(s.source_id, s.new_posts) for s in summary.sources] == [("b", 1)]
        assert site.hits("/a") == 0


@pytest.mark.parametrize(("scope", "target"), [("all", ""), ("host", "127.0.0.1"), ("source", "c")])
def test_a_crawl_under_way_stops_within_seconds_and_loses_nothing(
    db: Database, scope: Scope, target: str
) -> None:
    """Forty pages at four a second; the halt is written by another session after the third page."""
    halted_at: list[float] = []

    def slow(hit: Hit) -> Answer:
        if hit.path == "/p/2.html" and not halted_at:
            halt(db, scope, target)
            halted_at.append(time.monotonic())
        body = article(f"停水{hit.path}", "历下区某小区停水，居民多次反映无人处理。" * 5 + hit.path)
        return Answer(200, body.encode(), {"Content-Type": "text/html; charset=utf-8"})

    with Site() as site:
        links = "".join(f'<li><a href="/p/{n}.html">停水{n}</a></li>' for n in range(40))
        site.page("/list", f"<ul>{links}</ul>")
        for n in range(40):
            site.on(f"/p/{n}.html", slow)
        column = source("c", "column", site.url + "/list", link_pattern=r"/p/", max_rate=4)
        (told,) = crawl(db, column).sources
        last = max(hit.at for hit in site.log())
        assert (
            last - halted_at[0] < 5
        )  # two seconds on a machine that is not overloaded; forty pages take ten
        assert "halted by lin" in told.evidence
        pages = site.hits() - 2
        assert 3 <= told.new_posts <= pages < 30
        resume(db, scope, target)
        later = crawl(db, column, now=NOW + timedelta(hours=1), max_items=40)
        assert told.new_posts + later.new_posts == 40


def test_a_halt_does_not_wait_for_a_site_that_holds_its_answer_back(db: Database) -> None:
    never = threading.Event()
    with Site() as site:
        site.page("/f", rss([{"title": "停水", "guid": "g"}]), kind="text/xml", wait=never)
        timer = threading.Timer(0.5, halt, [db])
        timer.start()
        began = time.monotonic()
        (told,) = crawl(db, source("a", "rss", site.url + "/f"), timeout_s=60).sources
        timer.join()
        never.set()
        assert told.state == "halted"
        assert time.monotonic() - began < 30  # the site would be waited for twice 60 s
        with db.reading() as session:
            state = get_state(session, "a")
        assert (state.state, state.failures) == ("new", 0)


def test_a_halt_survives_the_process(sqlite_db: Database) -> None:
    halt(sqlite_db)
    again = Database(sqlite_db.url, audit_key=sqlite_db.audit_key)
    with again.reading() as session:
        (found,) = stops.active(session, "halt")
    again.close()
    assert (found.actor, found.reason) == ("lin", "站点来电要求停采")


# --- objections


def test_an_objection_removes_what_is_stored_and_lets_nothing_in_again(
    any_db: Database, post: Factory
) -> None:
    author = pseudonym(KEYS.pseudonym, "forum", "爱吃面")
    site = [
        post("停水一", url="http://bbs.a.cn/t/1"),
        post("停水二", url="https://bbs.a.cn:443/t/2"),
        post("停水三", url="http://a.cn/u/12/post/3"),
        post("停水四", url="http://a.cn/u/123"),
        post("停水五", author_key=author, url="http://c.cn/5"),
        post("停水六", source_id="wanted-off", url="http://d.cn/6"),
        post("停水七", url="http://bbs.a.cn.evil.example/t/1"),
        post("停水八", url="BBS.a.cn/t/8"),
        post("停水九", url="f.cn/t/9/"),
    ]
    with any_db.transaction() as session:
        assert save_posts(session, site).saved == 9
        set_aside(session, "forum", None, "text", "no text", {"url": "http://bbs.a.cn/t/9"}, NOW)
        set_aside(session, "wanted-off", 3, "text", "no text", {"text": "停水"}, NOW)
        set_aside(session, "forum", None, "text", "no text", {"url": "http://e.cn/t/9"}, NOW)
        # of a file that a source hands over, and a row with its own name for the address
        set_aside(session, "wanted-off/a.csv#1f", 4, "text", "no text", {"text": "停水"}, NOW)
        set_aside(session, "a.csv", 5, "时间", "no time", {"原文地址": "http://bbs.a.cn/t/8"}, NOW)
    assert objection(any_db, "host", "bbs.a.cn") == retention.ObjectionReport(3, set_aside=2)
    assert objection(any_db, "page", "https://F.cn/t/9") == retention.ObjectionReport(1)
    assert objection(any_db, "prefix", "https://a.cn/u/12") == retention.ObjectionReport(1)
    assert objection(any_db, "author", str(author)) == retention.ObjectionReport(1)
    assert objection(any_db, "source", "wanted-off") == retention.ObjectionReport(1, set_aside=2)
    with any_db.transaction() as session:
        again = save_posts(session, site)
        assert (again.saved, again.objected) == (0, 7)
        assert session.execute(text("SELECT count(*) FROM quarantine")).scalar() == 1
        assert retention.overlooked(session) == []
    assert stored(any_db) == [site[3].text, site[6].text]


def test_an_objection_that_is_taken_back_lets_new_posts_in(db: Database, post: Factory) -> None:
    objection(db, "host", "a.cn")
    with db.transaction() as session:
        assert save_posts(session, [post("停水", url="http://a.cn/1")]).objected == 1
        stops.lift(session, "objection", "host", "a.cn", reason="误登", actor="wang", channel="cli", now=NOW)
        assert save_posts(session, [post("停水", url="http://a.cn/1")]).saved == 1


def test_posts_that_an_objection_missed_are_found_by_the_check(db: Database, post: Factory) -> None:
    objection(db, "host", "a.cn")
    with db.transaction() as session:
        stops.lift(session, "objection", "host", "a.cn", reason="r", actor="w", channel="cli", now=NOW)
        save_posts(session, [post("停水", url="http://a.cn/1")])
        session.execute(text("UPDATE crawl_stop SET lifted_at = NULL"))  # as after a restored backup
        ((found, number),) = retention.overlooked(session)
        assert (found.target, number) == ("a.cn", 1)
        assert retention.enforce(session, found, NOW, actor="w", channel="cli").posts == 1
        assert retention.overlooked(session) == []


def test_pages_under_an_objection_are_not_even_asked_for(db: Database) -> None:
    with Site() as site:
        links = "".join(f'<li><a href="/u/{n}/a.html">停水{n}</a></li>' for n in range(4))
        site.page("/list", f"<ul>{links}</ul>")
        for n in range(4):
            site.page(f"/u/{n}/a.html", article(f"停水{n}", f"历下区某小区停水{n}，居民多次反映。" * 5))
        objection(db, "prefix", f"{site.url}/u/1/")
        objection(db, "page", f"{site.url}/u/2/a.html")
        column = source("c", "column", site.url + "/list", link_pattern="/u/")
        (told,) = crawl(db, column).sources
        assert (told.state, told.new_posts) == ("ok", 2)
        assert site.hits("/u/1/a.html") == site.hits("/u/2/a.html") == 0
        objection(db, "host", "127.0.0.1")
        summary = crawl(db, column, only=("c",))
        assert summary.sources[0] == SourceSummary("c", "objected", summary.sources[0].evidence)
        assert "objected" in summary.sources[0].evidence
        assert stored(db) == []


def test_objections_of_the_first_version_stay_in_force(tmp_path: Path, post: Factory) -> None:
    from incidents.migrate import upgrade
    from tests.test_migrations import upgrade_to

    db = Database(f"sqlite:///{tmp_path / 'old.db'}", audit_key=b"key")
    upgrade_to(db, "0008")
    key = stops.page_key("http://a.cn/t/7")
    with db.transaction() as session:
        session.execute(text("INSERT INTO meta VALUES (:k, '2026-11-01')"), {"k": f"objection:{key}"})
        for _ in range(2):
            events.append(
                session,
                db.audit_key,
                kind="objection",
                actor="operator",
                channel="cli",
                now=NOW,
                payload={"posts": 0, "address_sha256": key},
            )
    upgrade(db.engine)
    with db.transaction() as session:
        again = save_posts(session, [post("停水", url="https://a.cn/t/7/")])
        assert (again.saved, again.objected) == (0, 1)
        assert list(rebuild.differences(session)) == []
        assert session.execute(text("SELECT count(*) FROM meta WHERE key LIKE 'objection:%'")).scalar() == 0
    db.close()
