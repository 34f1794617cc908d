"""Searching and exporting: what is counted is what is shown is what is exported."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from datetime import timedelta
from pathlib import Path

import openpyxl
import pytest

from console import sheets
from console.render import marked
from console.sheets import guarded
from console.views import search
from console.views.search import FORMATS, needles
from incidents import queries
from incidents.judgements import NewJudgement, save_judgements
from incidents.querylang import parse
from incidents.search import search_posts
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
    assert html.count('class="bar"') == 5, "a bar for each of five days"


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


def test_what_was_found_is_marked_however_it_is_written() -> None:
    assert str(marked("某某學校<b>", ["学校"])) == "某某<mark>學校</mark>&lt;b&gt;"
    assert str(marked("Ａ區 a區", ["a区"])) == "Ａ區 <mark>a區</mark>"
    assert str(marked("1.5元 [x]", ["1.5", "[x]"])) == "<mark>1.5</mark>元 <mark>[x]</mark>"


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


def links(html: str) -> list[str]:
    return [part.split('"')[0].replace("&amp;", "&") for part in html.split('href="')[1:]]


def test_every_number_leads_to_as_many_posts(town: World) -> None:
    with town.db.transaction() as session:
        ids = [row.id for row in search_posts(session, "停水").rows[:6]]
        save_judgements(
            session, [_judged(id_, ("neg", "neu")[n % 2], n % 4) for n, id_ in enumerate(ids)], town.now
        )
    browser = client(town)
    html = browser.get("/search?q=停水").text
    facet = re.findall(r'<a[^>]* href="([^"]+)">([^<]+)<span>([0-9,]+)</span></a>', html)
    assert {label for _, label, _ in facet} >= {"负面", "中性", "食品安全", "历下区", "高风险"}
    for href, label, count in facet:
        if label != "未研判":
            assert f"{count} 帖" in browser.get(href.replace("&amp;", "&")).text, label
    bars = re.findall(r'<th scope="row"><a href="([^"]+)">[^<]+</a></th><td class="num">([0-9]+)</td>', html)
    assert sum(int(count) for _, count in bars) == 30
    for href, count in bars:
        assert f"{count} 帖" in browser.get(href.replace("&amp;", "&")).text, href


@pytest.mark.parametrize(("unit", "bars"), [("hour", 30), ("day", 5), ("week", 2), ("month", 1)])
def test_the_timeline_is_drawn_by_hour_day_week_or_month(town: World, unit: str, bars: int) -> None:
    html = client(town).get("/search", params={"q": "停水", "unit": unit}).text
    assert len(re.findall(r'<th scope="row"><a href="[^"]*since=', html)) == html.count('class="bar"')
    assert 1 <= html.count('class="bar"') <= bars


@pytest.mark.parametrize("kind", ["csv", "jsonl", "xlsx", "parquet"])
def test_each_file_holds_what_the_page_showed_although_more_comes_in(town: World, kind: str) -> None:
    browser = client(town)
    html = browser.get("/search?q=停水").text
    (href,) = [link for link in links(html) if f"export.{kind}?" in link]
    with town.db.transaction() as session:
        town.post(session, "又停水了", NOW)
    answer = browser.get(href)
    assert answer.headers["x-quansheng-rows"] == "30"
    if kind == "csv":
        texts = [row["正文"] for row in csv.DictReader(io.StringIO(answer.text.lstrip("\ufeff")))]
    elif kind == "jsonl":
        texts = [json.loads(line)["text"] for line in answer.text.splitlines()]
    elif kind == "xlsx":
        rows = list(openpyxl.load_workbook(io.BytesIO(answer.content))["quansheng"].values)
        texts = [str(row[4]) for row in rows[1:]]
        assert rows[0][:3] == ("编号", "发布时间", "信源")
    else:
        assert answer.content[:4] == answer.content[-4:] == b"PAR1"
        texts = re.findall("第[0-9]+号楼停水了", answer.content.decode("utf-8", "ignore"))
    assert len(texts) == len(set(texts)) == 30
    assert all("停水" in text for text in texts)
    with town.db.reading() as session:
        said = queries.latest_events(session, kinds=["exported"])[0].payload
    assert (said["format"], said["rows"]) == (kind, 30)


def test_a_parquet_file_is_byte_for_byte_one_that_pyarrow_has_read() -> None:
    stream = io.BytesIO()
    rows = [(n, f"停水{n}\U00020000", -n) for n in range(12_000)]
    assert sheets.parquet(stream, ["编号", "文", "负"], rows) == 12_000
    # read back with pyarrow 26 as the same 12,000 rows; the digest says that nothing has changed since
    assert (
        hashlib.sha256(stream.getvalue()).hexdigest()
        == "9479429904ddbaaa74994a1ff1a01e48c12c906c144680579e3e980440a3a052"
    )


def test_a_workbook_holds_texts_and_never_a_formula() -> None:
    stream = io.BytesIO()
    sheets.xlsx(stream, ["a", "b"], [("=1+1", 7), ("停\x0b水 <b>&", -3), ("x" * 40_000, 0)])
    rows = list(openpyxl.load_workbook(io.BytesIO(stream.getvalue()))["quansheng"].iter_rows())
    assert [(cell.data_type, cell.value) for cell in rows[1]] == [("s", "=1+1"), ("n", 7)]
    assert rows[2][0].value == "停水 <b>&"
    assert len(str(rows[3][0].value)) <= 32_767


def test_too_many_rows_for_a_format_are_refused_not_cut(town: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "xlsx", 29)
    answer = client(town).get("/search/export.xlsx?q=停水")
    assert answer.status_code == 422
    assert "最多 29 条" in answer.text
    assert client(town).get("/search/export.exe").status_code == 404


def test_a_word_of_too_many_posts_is_counted_in_part_and_says_so(
    town: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "CAP", 20)
    browser = client(town)
    html = browser.get("/search?q=停水").text
    assert "至少 20 帖" in html
    assert "全部统计" in html
    assert "第1号楼" in html, "the list holds all of them"
    assert "30 帖" in browser.get("/search?q=停水&all=1").text


def test_conditions_are_shown_and_taken_away_one_by_one(town: World) -> None:
    browser = client(town)
    html = browser.get("/search?q=停水&domain=housing&since=2026-11-23T10:00&tone=neg").text
    assert html.count('class="chip"') == 3
    assert 'type="datetime-local" value="2026-11-23T10:00"' in html
    removed = next(link for link in links(html) if "domain=" not in link and "tone=neg" in link)
    assert "q=" in removed


def test_incidents_have_counts_and_a_timeline_that_lead_further(town: World) -> None:
    town.incident("学校食堂问题", ["食堂", "食堂又来了"])
    town.incident("小区停车位", ["车位", "车位"], domain="housing", district="市中区")
    browser = client(town)
    html = browser.get("/search?kind=incidents").text
    facet = re.findall(r'<a[^>]* href="([^"]+)">([^<]+)<span>([0-9,]+)</span></a>', html)
    assert {label for _, label, _ in facet} >= {"待研判", "一般", "食品安全", "住房", "市中区"}
    for href, label, count in facet:
        assert f"{count} 起事件" in browser.get(href.replace("&amp;", "&")).text, label
    assert 'class="bar"' in html
    for kind in ("csv", "jsonl", "xlsx", "parquet"):
        assert browser.get(f"/search/export.{kind}?kind=incidents").headers["x-quansheng-rows"] == "2"


def _judged(post_id: int, tone: str, risk: int) -> NewJudgement:
    return NewJudgement(
        post_id, "food_safety", 0.9, tone, 0.8, 0.2, True, 0.7, risk, 0.3, "test-1", districts=["历下区"]
    )
