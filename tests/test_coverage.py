"""Coverage ledger: who saw what first, what gives nothing, what nobody watches; its page and its command."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from config.sources import Source
from incidents import coverage, hot_titles, lifecycle
from incidents.judgements import NewJudgement, add_post, open_watching, save_judgements
from incidents.posts import NewPost, save_posts
from incidents.session import Database, Session
from incidents.sources import record_crawl
from incidents.states import Detect, Merge
from reports.build import build_weekly
from reports.words import Words
from tests.conftest import PostFactory
from tests.console_world import World, client, hidden, jinan, submit
from tests.fakes.crawl import source

NOW = datetime(2026, 3, 30, 9, 0, tzinfo=UTC)
MIN = timedelta(minutes=1)
DISTRICTS = ("历下区", "章丘区", "平阴县")


def judged(session: Session, ids: tuple[int, ...], domain: str, district: str) -> None:
    save_judgements(
        session,
        [
            NewJudgement(
                post_id=id_,
                domain=domain,
                domain_score=0.9,
                tone="neg",
                tone_score=0.9,
                snownlp_score=0.1,
                signal=True,
                signal_score=0.9,
                risk=1,
                risk_score=0.5,
                model_version="t",
                districts=[district] if district else [],
            )
            for id_ in ids
        ],
        NOW,
    )


def incident(
    session: Session, *posts: NewPost, detected: datetime, domain: str = "housing", district: str = "历下区"
) -> int:
    """A raised incident of these posts."""
    ids = save_posts(session, posts).ids
    judged(session, ids, domain, district)
    id_ = open_watching(
        session,
        title="停水",
        domain=domain,
        district=district,
        first_posted_at=posts[0].published_at,
        sketch={},
    )
    for post_id, given in zip(ids, posts, strict=True):
        add_post(
            session,
            id_,
            post_id,
            similarity=1,
            voice=True,
            published_at=given.published_at,
            negative=True,
            now=detected,
        )
    lifecycle.handle(session, id_, Detect("manual", {}), actor="lin", channel="console", now=detected)
    return id_


def test_the_ledger_says_who_saw_what_first_and_how_late(any_db: Database, post: PostFactory) -> None:
    t = NOW - timedelta(days=3)

    def seen(by: str, posted: datetime, collected: datetime, **more: Any) -> NewPost:
        return post(source_id=by, published_at=posted, fetched_at=collected, **more)

    with any_db.transaction() as session:
        one = incident(
            session,
            seen("paper", t - 9 * MIN, t + 60 * MIN),
            seen("forum", t, t + 5 * MIN),
            seen("forum", t + MIN, t + 35 * MIN),
            detected=t + 50 * MIN,
        )
        incident(session, seen("forum", t, t + 10 * MIN), detected=t + 20 * MIN, district="章丘区")
        part = incident(
            session,
            seen("hotline", t - 60 * MIN, t, published_estimated=True),
            detected=t + 90 * MIN,
        )
        incident(session, seen("forum", t, t), detected=NOW - timedelta(days=60))  # before the period
        lifecycle.handle(session, part, Merge(one), actor="lin", channel="console", now=NOW - MIN)
    with any_db.reading() as session:
        found = coverage.ledger(session, NOW - timedelta(weeks=4), NOW)
        alone = coverage.of_incident(session, one)
    assert [len(entry.sightings) for entry in found.entries] == [3, 1]
    whole = found.entries[0]
    assert whole.sightings == alone
    assert [one.source_id for one in whole.sightings] == ["hotline", "forum", "paper"]
    assert (whole.waited_at_source, whole.waited_here) == (None, 50 * MIN)  # the hotline tells no times
    lines = {line.source_id: line for line in found.sources}
    forum = lines["forum"]
    assert (forum.seen, forum.first, forum.only, forum.behind) == (2, 1, 1, 5 * MIN)
    assert forum.posted_lag == 7.5 * MIN  # median of 5 and 10 minutes
    assert (lines["hotline"].first, lines["hotline"].only) == (1, 0)
    assert lines["paper"].behind == 60 * MIN
    cells = {cell.district: cell for cell in found.cells}
    assert (cells["章丘区"].alone, cells["章丘区"].leader, cells["章丘区"].waited_here) == (
        1,
        "forum",
        10 * MIN,
    )
    assert (cells["历下区"].sources, cells["历下区"].alone) == (3, 0)


def test_a_ledger_of_a_past_period_knows_nothing_of_what_was_collected_after_it(
    any_db: Database, post: PostFactory
) -> None:
    t = NOW - timedelta(days=10)
    until = t + timedelta(days=1)

    def seen(by: str, collected: datetime) -> NewPost:
        return post(source_id=by, published_at=collected, fetched_at=collected)

    with any_db.transaction() as session:
        first = seen("forum", t)
        one = incident(session, first, seen("paper", until + MIN), detected=t + MIN)
        child = incident(session, seen("hotline", t + 2 * MIN), detected=t + 3 * MIN)
        grandchild = incident(session, seen("radio", t + 4 * MIN), detected=t + 5 * MIN)
        stranger = incident(session, seen("board", t), detected=t - timedelta(days=40))
        other = incident(session, seen("blog", t), detected=t - timedelta(days=41))
        for part, whole in ((grandchild, child), (child, one), (stranger, other)):
            lifecycle.handle(session, part, Merge(whole), actor="lin", channel="console", now=NOW)
    with any_db.reading() as session:
        (entry,) = coverage.ledger(session, t, until).entries
        assert [s.source_id for s in entry.sightings] == ["forum", "hotline", "radio"]
        (entry,) = coverage.ledger(session, t, NOW).entries
        assert [s.source_id for s in entry.sightings] == ["forum", "hotline", "radio", "paper"]


def watched(session: Session, source_id: str, weeks: float, state: str = "ok") -> None:
    first = (NOW - timedelta(weeks=weeks)).isoformat()
    record_crawl(
        session,
        source_id,
        state=state,
        evidence="",
        now=NOW,
        next_due_at=None,
        cursor={"health": {"first": first, "bins": []}},
    )


def made(id_: str, **more: Any) -> Source:
    return source(id_, "rss", f"http://{id_}.example/feed", **more)


def test_silent_zeros_and_blind_cells(any_db: Database, post: PostFactory) -> None:
    sources = [
        made("forum"),
        made("paper"),
        made("schools", domain_hint="schooling"),
        made("young", domain_hint="housing"),
        made("off", domain_hint="food_safety", enabled=False),
    ]
    with any_db.transaction() as session:
        for name, weeks in (("forum", 9), ("paper", 9), ("schools", 9), ("young", 1)):
            watched(session, name, weeks, "frozen" if name == "schools" else "ok")
        for name, domain, district, n in (
            ("forum", "housing", "历下区", 20),
            ("forum", "schooling", "历下区", 20),
            ("paper", "housing", "历下区", 20),
            ("paper", "housing", "章丘区", 1),
        ):
            ids = save_posts(
                session,
                [post(source_id=name, published_at=NOW - timedelta(days=2)) for _ in range(n)],
            ).ids
            judged(session, ids, domain, district)
    with any_db.reading() as session:
        seen = coverage.watch(session, sources, ("housing", "schooling"), DISTRICTS, NOW, 4)
    zeros = {(zero.source_id, zero.domain, zero.district): zero for zero in seen.zeros}
    silent = zeros["schools", "schooling", ""]
    assert (silent.expected, silent.claimed, silent.weeks) == (None, True, 4)
    # forum gives half of its posts about schooling, so of paper's 21 about ten were to be expected, and none came
    assert zeros["paper", "schooling", ""].expected == pytest.approx(10.5, abs=0.1)
    # one post of 章丘区 among the others: two expected of forum's 40 is chance, not silence
    assert ("forum", "", "章丘区") not in zeros
    assert not any(zero.source_id in ("young", "off") for zero in seen.zeros)
    cells = {(cell.domain, cell.district): cell for cell in seen.cells}
    assert cells["housing", "平阴县"].state == "watched"  # `young` was set up for housing
    assert (cells["schooling", "历下区"].own, cells["schooling", "历下区"].working) == (1, 2)
    assert cells["housing", "历下区"].posts == 40
    with any_db.reading() as session:
        only = coverage.watch(session, sources[2:3], ("housing", "schooling"), DISTRICTS, NOW, 4)
    assert {cell.state for cell in only.cells if cell.domain == "housing"} == {"blind"}
    assert {cell.state for cell in only.cells if cell.domain == "schooling"} == {"dark"}
    with any_db.reading() as session:
        general = coverage.watch(session, sources[:1], ("housing",), DISTRICTS, NOW, 4)
    assert general.of("general") == 3


@pytest.fixture
def town(db: Database, post: PostFactory, tmp_path: Path) -> World:
    """A console over a city with one incident and three hot titles."""
    settings = jinan().settings.model_copy(update={"data_dir": tmp_path / "var"})
    bundle = replace(jinan(), settings=settings, sources=(made("forum"),))
    mark = {"signal": "trend", "list": "weibo", "rank": 4}
    day = NOW - timedelta(days=4)
    with db.transaction() as session:
        watched(session, "forum", 9)
        held = incident(
            session,
            post(source_id="forum", published_at=day - 60 * MIN, fetched_at=day - 50 * MIN),
            detected=day - 40 * MIN,
        )
        titles = ["历下区小区停水", "章丘区楼板开裂", "济南籍歌手"]
        save_posts(
            session,
            [
                post(
                    t,
                    title=t,
                    source_id="weibo-hot",
                    author_key=None,
                    published_at=day,
                    fetched_at=day,
                    provenance=mark,
                )
                for t in titles
            ],
        )
        rows = {title.title: title.id for title in hot_titles.waiting(session, day)}
        hot_titles.save_judged(
            session,
            [
                hot_titles.Judged(rows[t], domain, 0.9, ["历下区"], [], "t")
                for t, domain in zip(titles, ("housing", "housing", "none"), strict=True)
            ],
            day,
        )
        hot_titles.save_match(session, rows[titles[0]], held, held, 0.9, day)
        hot_titles.save_match(session, rows[titles[1]], None, held, 0.3, day)
    world = World(db, bundle, NOW)
    world.account()
    return world


def test_the_page_shows_all_and_takes_a_decision(town: World) -> None:
    town.account("wen", "department", department="education")
    browser = client(town)
    html = browser.get("/coverage").text
    for words in ("覆盖台账", "历下区小区停水", "上榜前已发现", "未匹配，待核对", "监测地图", "长期为零"):
        assert words in html
    with town.db.reading() as session:
        seen = hot_titles.recall(session, NOW - timedelta(weeks=4), NOW, ("housing",))
    cracked = next(title for title in seen.titles if title.outcome == "open")
    action = f"/coverage/titles/{cracked.id}"
    assert f'value="{seen.titles[0].number}"' in html  # the nearest one is offered
    assert submit(browser, html, action, verdict="same", number="QS-9").status_code == 409
    answer = submit(browser, html, action, verdict="missed")
    assert (answer.status_code, "done=hot_title" in answer.headers["location"]) == (303, True)
    after = browser.get(answer.headers["location"]).text
    assert "已记录核对结果" in after
    assert ">漏报</span>" in after
    assert browser.post(action, data={"verdict": "missed"}).status_code in (400, 403)
    assert client(town, "wen").get("/coverage").status_code == 403
    english = client(town, lang="en").get("/coverage").text
    left = re.sub(r"<title>.*?</title>|<header.*?</header>|lang=\"zh-CN\">中文", "", english, flags=re.S)
    for words in ("Coverage ledger", "known before", "Map of what is watched", "Never a post"):
        assert words in left
    assert hidden(english, action)["csrf"]


def test_the_weekly_report_says_what_the_hot_lists_knew(town: World) -> None:
    with town.db.reading() as session:
        model = build_weekly(session, town.bundle, "2026-W13", NOW)
        other = build_weekly(session, town.bundle, "2026-W12", NOW)
    assert model.hot is not None
    assert (model.hot.n, model.hot.before, model.hot.open) == (2, 1, 1)
    told = Words(model, "zh_CN").hot()
    assert "话题2个，其中1个在上榜前已预警（50%" in told[0]
    assert "章丘区楼板开裂" in told[1]
    assert (
        Words(model, "en")
        .hot()[0]
        .startswith("Of 2 hot matters of this city in watched domains, 1 were raised")
    )
    assert other.hot is None
    assert "hot" not in json.dumps(other.stored()["sources"])
    assert other.digest() == other.model_copy(update={"hot": None}).digest() != model.digest()
