"""Saved searches and their alerts; searches side by side; samples that can be drawn again."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text as sql

from console.views.searches import drawn_ids
from incidents import outbox, queries, saved_searches
from incidents.saved_searches import SavedView
from incidents.session import Database
from tests.console_world import NOW, World, client, submit, world


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(db, tmp_path)
    officer = made.bundle.roster.people[0]
    assert officer.email
    made.account(officer.id)
    made.account("zhao", "analyst")
    with made.db.transaction() as session:
        for number in range(30):
            text = f"第{number}号楼停水了" if number % 2 else f"第{number}号楼通了暖气"
            made.post(session, text, NOW - timedelta(hours=number))
    return made


def keep(town: World, login: str, **more: str) -> SavedView:
    browser = client(town, login)
    html = browser.get("/search?q=停水&since=2026-11-23").text
    fields = {"name": "停水", "threshold": "3", "window_h": "6", **more}
    assert submit(browser, html, "/searches", **fields).status_code == 303
    with town.db.reading() as session:
        return next(one for one in saved_searches.of_person(session, login) if one.name == fields["name"])


def told(town: World) -> list[outbox.OutboxRow]:
    with town.db.reading() as session:
        ids = session.scalars(sql("SELECT id FROM outbox WHERE kind = 'search' ORDER BY created_at")).all()
        return [row for id_ in ids if (row := outbox.get(session, id_)) is not None]


def looked(town: World, one: SavedView) -> SavedView:
    with town.db.reading() as session:
        return next(row for row in saved_searches.of_person(session, one.owner) if row.id == one.id)


def test_a_saved_search_keeps_the_whole_view_for_its_owner_or_for_all(town: World) -> None:
    owner = town.bundle.roster.people[0].id
    one = keep(town, owner)
    assert one.asked == {"kind": "posts", "q": "停水", "since": "2026-11-23"}
    assert "还没有保存的检索" in client(town, "zhao").get("/searches").text
    keep(town, owner, shared="1")
    shared = client(town, "zhao").get("/searches").text
    assert "q=%E5%81%9C%E6%B0%B4&amp;since=2026-11-23" in shared
    assert "/remove" not in shared, "only the owner removes it"
    with town.db.reading() as session:
        events = queries.latest_events(session, kinds=["search_saved"])
    assert [event.payload["shared"] for event in events] == [True, False]


def test_only_the_owner_removes_a_search(town: World) -> None:
    owner = town.bundle.roster.people[0].id
    one = keep(town, owner, shared="1")
    other = client(town, "zhao")
    html = other.get("/search?q=停水").text
    token = re.findall(r'name="csrf" value="([^"]+)"', html)[0]
    headers = {"Origin": "http://console.test"}
    assert other.post(f"/searches/{one.id}/remove", data={"csrf": token}, headers=headers).status_code == 404
    mine = client(town, owner)
    page = mine.get("/searches").text
    assert submit(mine, page, f"/searches/{one.id}/remove").status_code == 303
    assert "还没有保存的检索" in mine.get("/searches").text


@pytest.mark.parametrize(("name", "q"), [("", "停水"), ("x", "停水 (")])
def test_what_cannot_be_kept_is_told(town: World, name: str, q: str) -> None:
    browser = client(town, "zhao")
    html = browser.get("/search?q=停水").text
    answer = submit(browser, html, "/searches", name=name, q=q)
    assert answer.status_code == 422
    assert "没有保存" in answer.text


def test_an_alert_tells_its_owner_once_a_window(town: World) -> None:
    owner = town.bundle.roster.people[0]
    one = keep(town, owner.id)
    town.run()
    (row,) = told(town)
    assert (row.recipient, row.channel, row.priority) == (owner.email, "email", 8)
    assert "【检索提醒】停水：3 条" in str(row.message)
    assert "号楼" not in str(row.message), "no word of a post leaves the desk"
    assert looked(town, one).found == 3
    for minutes in (5, 15, 120):
        town.now = NOW + timedelta(minutes=minutes)
        town.run()
    assert len(told(town)) == 1
    town.now = NOW + timedelta(hours=6)
    with town.db.transaction() as session:
        for number in range(3):
            town.post(session, f"又停水{number}", town.now - timedelta(minutes=number))
    town.run()
    assert len(told(town)) == 2


def test_too_few_hits_say_nothing(town: World) -> None:
    one = keep(town, town.bundle.roster.people[0].id, threshold="4")
    town.run()
    assert told(town) == []
    assert looked(town, one).found == 3


@pytest.mark.parametrize(
    ("now", "morning"), [("2026-11-24T23:30", "2026-11-25T08:00"), ("2026-11-24T03:00", "2026-11-24T08:00")]
)
def test_at_night_an_alert_waits_for_the_morning(town: World, now: str, morning: str) -> None:
    town.now = NOW.fromisoformat(now).replace(tzinfo=NOW.tzinfo)
    with town.db.transaction() as session:
        for number in range(3):
            town.post(session, f"夜里停水{number}", town.now - timedelta(minutes=number))
    keep(town, town.bundle.roster.people[0].id)
    town.run()
    (row,) = told(town)
    assert row.not_before == NOW.fromisoformat(morning).replace(tzinfo=NOW.tzinfo)
    assert row.state == "pending"


def test_an_owner_without_an_address_is_told_on_the_page(town: World) -> None:
    keep(town, "zhao")
    town.run()
    assert told(town) == []
    assert "值班表里没有这个账号的邮箱" in client(town, "zhao").get("/searches").text


def test_who_may_not_search_any_more_gets_no_numbers(town: World) -> None:
    owner = town.bundle.roster.people[0].id
    one = keep(town, owner)
    with town.db.transaction() as session:
        session.execute(sql("UPDATE account SET role = 'auditor' WHERE login = :login"), {"login": owner})
    town.run()
    assert told(town) == []
    assert looked(town, one).trouble


def test_queries_stand_side_by_side_on_one_scale(town: World) -> None:
    browser = client(town, "zhao")
    answer = browser.get("/search/compare?q=停水&q=暖气&q=没有的词&since=2026-11-24")
    assert answer.status_code == 200
    table = dict(re.findall(r'<a href="[^"]+">([^<]+)</a></td><td class="num">([^<]+)</td>', answer.text))
    assert table == {"停水": "5", "暖气": "6", "没有的词": "0"}
    wrong = browser.get("/search/compare?q=停水&q=暖气 (")
    assert wrong.status_code == 422
    assert "查询在这里中断" in wrong.text
    assert "▲" in wrong.text
    assert "填写两到四个查询" in browser.get("/search/compare").text


def test_a_sample_is_drawn_again_by_its_seed(town: World) -> None:
    browser = client(town, "zhao")

    def drawn(address: str) -> list[str]:
        return re.findall(r'id="p-(\d+)"', browser.get(address).text)

    first = drawn("/search/sample?q=停水&n=5&seed=7")
    assert len(first) == 5
    assert drawn("/search/sample?q=停水&n=5&seed=7") == first
    assert any(drawn(f"/search/sample?q=停水&n=5&seed={seed}") != first for seed in (8, 9))
    assert len(drawn("/search/sample?q=停水&n=400&seed=1")) == 15
    assert browser.get("/search/sample?q=(&n=x&seed=y").status_code == 422


def test_every_post_has_the_same_chance() -> None:
    ids = np.arange(1, 101, dtype=np.int64)
    drawn = np.zeros(101, np.int64)
    for seed in range(2_000):
        drawn[drawn_ids(ids, 10, seed)] += 1
    # 2,000 draws of 10 in 100: 200 each, standard deviation 13.4
    assert drawn[0] == 0
    assert drawn[1:].min() > 140
    assert drawn[1:].max() < 260
