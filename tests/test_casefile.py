"""The case file: complete, the same bytes for the same case, checkable with the key alone, readable on paper."""

from __future__ import annotations

import copy
import json
import re
import zlib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from console.casefile import as_json, as_pdf, reader
from incidents import casefile, queries
from incidents.casefile import CaseFile
from incidents.session import Database
from incidents.states import Acknowledge, Assign, Confirm, Merge, Respond, SignFor
from tests.console_world import World, client, world


def a_case(town: World) -> CaseFile:
    """A food incident with another one merged into it, answered after a day."""
    other = town.incident("食堂外卖变质", ["外卖馊了"], began=timedelta(hours=3))
    incident = town.incident(
        "多名学生餐后呕吐", ["孩子中午在学校吃完饭就吐", "我家也是，三年级好几个"], level="serious", copies=2
    )
    town.run()
    town.act(other, Merge(incident.id, "同一件事"))
    incident = town.act(
        incident, Acknowledge(epoch=1), Confirm("属实", "serious"), Assign("education", reason="对口")
    )
    town.now += timedelta(hours=20)
    incident = town.act(incident, SignFor("王"), Respond("https://gov.example.invalid/1", "已停供并送检"))
    with town.db.reading() as session:
        return casefile.collect(session, incident)


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    return world(db, tmp_path)


def test_it_holds_everything_about_the_incident_and_those_merged_into_it(town: World) -> None:
    case = a_case(town)
    kinds = [event.kind for event in case.events]
    assert kinds.count("detected") == 2
    assert {"merged", "page_sent", "assigned", "responded", "deadline_opened"} <= set(kinds)
    assert [event.seq for event in case.events] == sorted(event.seq for event in case.events)
    assert len(case.signed) == len(case.events)
    assert len(case.posts) == 5
    assert len(case.merged) == 1
    assert case.messages
    assert {attempt["result"] for attempt in case.attempts} == {"sent"}
    assert {clock.rule_id for clock in case.deadlines} >= {"R03"}


def test_the_same_case_gives_the_same_bytes_and_names_no_author(town: World) -> None:
    case = a_case(town)
    first = as_json(case, town.bundle)
    assert first == as_json(case, town.bundle)
    assert b"author-" not in first
    assert "author_key" not in json.loads(first)["posts"][0]
    rules = json.loads(first)["rules"]
    assert "48小时内予以回应" in rules["R03"]["quote"]


def _change(document: dict[str, Any], path: list[Any], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return changed


def test_whoever_has_the_key_finds_every_change(town: World) -> None:
    case = a_case(town)
    document = json.loads(as_json(case, town.bundle))
    key = town.db.audit_key
    good = casefile.check(document, key)
    assert (good.ok, good.events, good.wrong) == (True, len(case.events), "")
    assert not casefile.check(document, b"another key").ok
    for path, value in (
        (["events", 3, "actor"], "nobody"),
        (["events", 3, "payload"], {}),
        (["events", 2, "occurred_at"], "2026-11-24T00:00:00+00:00"),
        (["events", 2, "recorded_at"], "long ago"),
        (["events", 1, "seq"], 9999),
        (["signed", 4, "hash"], "0" * 64),
        (["signed", 4, "prev_hash"], "0" * 64),
        (["signed", 4, "signed"], "e30="),
        (["signed", 4, "signed"], "no base64!"),
        (["signed", 4, "seq"], 1),
    ):
        verdict = casefile.check(_change(document, path, value), key)
        assert not verdict.ok, path
        assert verdict.wrong
    shorter = copy.deepcopy(document)
    del shorter["signed"][-1]
    assert "shown but not signed" in casefile.check(shorter, key).wrong
    with pytest.raises(ValueError, match="no case file"):
        casefile.check({"incident": 1}, key)


def _pages(pdf: bytes) -> int:
    return len(re.findall(rb"/Type /Page\b", pdf))


@pytest.mark.parametrize("lang", ["zh_CN", "en"])
def test_the_pdf_is_made_in_both_languages_with_its_font_inside(town: World, lang: str) -> None:
    case = a_case(town)
    pdf = as_pdf(reader(town.db, town.bundle, town.keys, town.now, lang), case)
    assert pdf.startswith(b"%PDF-")
    assert _pages(pdf) >= 2
    assert b"NotoSansSC" in pdf
    assert b"/FontFile" in pdf


def test_hostile_post_texts_do_not_break_the_pdf(town: World) -> None:
    texts = ["\x00\x08 **粗体** <b>x</b> ]]> \\ 😷😷 " + "长" * 5000, "x" * 3000, "\u202e反向 \ufeff"]
    incident = town.incident("\x07响铃 😀" + "题" * 300, texts)
    town.run()
    with town.db.reading() as session:
        case = casefile.collect(session, incident)
    pdf = as_pdf(reader(town.db, town.bundle, town.keys, town.now), case)
    assert _pages(pdf) >= 2
    streams = re.findall(rb"stream\r?\n(.*?)endstream", pdf, re.DOTALL)
    assert any(len(zlib.decompressobj().decompress(stream)) > 500 for stream in streams if stream[:1] == b"x")


def test_the_console_gives_it_to_whoever_may_see_the_incident_and_records_it(town: World) -> None:
    case = a_case(town)
    number = case.incident.number
    town.account()
    town.account("wang", "department", "housing-construction", "王")
    browser = client(town)
    assert f"/incidents/{number}/case.pdf" in browser.get(f"/incidents/{number}").text
    pdf = browser.get(f"/incidents/{number}/case.pdf")
    assert pdf.content.startswith(b"%PDF-")
    assert pdf.headers["content-disposition"] == f'attachment; filename="{number}.pdf"'
    document = browser.get(f"/incidents/{number}/case.json").json()
    assert casefile.check(document, town.db.audit_key).ok
    assert browser.get(f"/incidents/{number}/case.docx").status_code in (404, 422)
    assert client(town, "wang").get(f"/incidents/{number}/case.json").status_code == 404
    with town.db.reading() as session:
        acts = [event for event in queries.latest_events(session) if event.kind == "exported"]
    assert [event.payload["kind"] for event in acts] == ["case.json", "case.pdf"]
