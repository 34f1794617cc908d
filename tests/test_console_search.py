"""Searching and exporting: what is counted is what is shown is what is exported."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from pathlib import Path

import pytest

from console.views.export import guarded
from console.views.search import needles
from incidents import queries
from incidents.querylang import parse
from incidents.session import Database
from tests.console_world import NOW, World, client, world


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(db, tmp_path)
    made.account()
    with made.db.transaction() as session:
        for number in range(60):
            text = f"第{number}号楼停水了" if number % 2 else f"第{number}号楼通了暖气"
            made.post(session, text, NOW - timedelta(days=number % 5, minutes=number))
    return made


def test_a_search_counts_marks_and_links(town: World) -> None:
    html = client(town).get("/search?q=停水").text
    assert "30 帖" in html
    assert "<mark>停水</mark>" in html
    assert "暖气" not in html
    assert "data-chart=" in html


def test_pages_follow_one_another_without_gap_or_repeat(town: World) -> None:
    browser = client(town)
    first = browser.get("/search")
    assert "60 帖" in first.text
    older = [part for part in first.text.split('href="') if "before=" in part.split('"')[0]]
    second = browser.get(older[-1].split('"')[0].replace("&amp;", "&"))
    shown = first.text.count('class="post"'), second.text.count('class="post"')
    assert shown == (50, 10)
    assert "60 帖" in second.text
    assert "回到最新" in second.text


def test_a_mistake_is_explained_with_its_place(town: World) -> None:
    answer = client(town).get("/search", params={"q": "停水 (历下区 -广告"})
    assert answer.status_code == 422
    assert "第 4 个字：括号没有配对" in answer.text
    assert "停水 (历下区 -广告\n\u3000\u3000 ▲" in answer.text
    english = client(town, lang="en").get("/search", params={"q": "停水 ("})
    assert "Character" in english.text


@pytest.mark.parametrize(
    "query",
    [
        "since=gestern",
        "until=9999-12-31",
        "before=abc",
        "before=-1",
        "before=99999999999999999999",
        "domain=%00",
        "q=%27%3B%25",
    ],
)
def test_a_wrong_address_is_no_error_page(town: World, query: str) -> None:
    assert client(town).get(f"/search?{query}").status_code == 200


def test_dates_bound_the_days_of_the_city(town: World) -> None:
    html = client(town).get("/search?since=2026-11-24&until=2026-11-24").text
    assert "12 帖" in html


def test_an_export_holds_exactly_what_was_counted(town: World) -> None:
    browser = client(town)
    answer = browser.get("/search/export.csv", params={"q": "停水"})
    assert answer.content.startswith(b"\xef\xbb\xbf")
    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.text.lstrip("\ufeff"))))
    assert len(rows) == 30
    assert all("停水" in row["正文"] for row in rows)
    with town.db.reading() as session:
        assert queries.latest_events(session, kinds=["exported"])[0].payload["query"] == "停水"


@pytest.mark.parametrize("cell", ["=1+1", "+86", "-2", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(cell: str) -> None:
    assert guarded(cell) == "'" + cell
    assert guarded("停水=没水") == "停水=没水"


def test_formulas_in_posts_are_harmless_in_the_export(town: World) -> None:
    with town.db.transaction() as session:
        town.post(session, '=HYPERLINK("http://evil.invalid","停水通知")', NOW)
    answer = client(town).get("/search/export.csv", params={"q": "HYPERLINK"})
    (row,) = csv.DictReader(io.StringIO(answer.text.lstrip("\ufeff")))
    assert row["正文"].startswith("'=HYPERLINK")


def test_incidents_are_found_by_title_and_number_and_exported(town: World) -> None:
    incident = town.incident("学校食堂问题", ["食堂", "食堂又来了"])
    town.incident("小区停车位", ["车位", "车位"], domain="housing")
    browser = client(town)
    for query in ("食堂", incident.number):
        html = browser.get("/search", params={"kind": "incidents", "q": query}).text
        assert "1 起事件" in html, query
    export = browser.get("/search/export.csv?kind=incidents").text
    assert len(list(csv.reader(io.StringIO(export)))) == 3
    assert "1 起事件" in browser.get("/search?kind=incidents&domain=housing").text


def test_searches_over_posts_are_recorded(town: World) -> None:
    client(town).get("/search?q=停水")
    with town.db.reading() as session:
        event = queries.latest_events(session, kinds=["posts_searched"])[0]
    assert event.payload == {"query": "停水", "found": 30}


def test_excluded_words_are_not_marked() -> None:
    assert needles(parse("停水 -广告 (历下区 | 市中区) 医院 ~10 孩子").node) == [
        "停水",
        "历下区",
        "市中区",
        "医院",
        "孩子",
    ]


def test_the_posts_of_one_incident_can_be_searched(town: World) -> None:
    incident = town.incident("学校食堂问题", ["食堂停水", "食堂又来了"])
    browser = client(town)
    assert "2 帖" in browser.get(f"/search?incident={incident.number}").text
    assert "1 帖" in browser.get(f"/search?incident={incident.number}&q=停水").text
    assert "没有找到帖子" in browser.get("/search?incident=QS-2026-999999").text
