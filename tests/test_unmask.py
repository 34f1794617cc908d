"""Every look is on the record without flooding it; two people unmask; every file says who took it."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from console import casefile
from incidents import outbox, queries, rebuild
from incidents.session import Database
from incidents.states import Assign, Confirm
from tests.console_world import World, client, hidden, submit, world

TEXTS = ["第三小学食堂的饭菜变质了", "孩子吃完肚子疼", "食堂没人管"]


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(db, tmp_path)
    made.account()
    for login, role, name in (
        ("du", "supervisor", "杜宁"),
        ("wang", "leader", "王斌"),
        ("shen", "auditor", "沈岩"),
    ):
        made.account(login, role, name=name)
    made.account("ke", "department", "health", name="柯敏")
    return made


def said(town: World, kind: str) -> list[dict[str, object]]:
    with town.db.reading() as session:
        return [event.payload for event in queries.latest_events(session, 500, [kind])]


def test_a_look_is_one_event_an_hour_and_one_more_when_there_is_something_new(town: World) -> None:
    incident = town.incident("学校食堂", TEXTS)
    browser = client(town)
    address = f"/incidents/{incident.number}"
    for _ in range(3):
        assert browser.get(address).status_code == 200
    assert len(said(town, "viewed")) == 1
    client(town, "wang").get(address)
    assert len(said(town, "viewed")) == 2, "another person"
    town.now += timedelta(minutes=60)
    client(town).get(address)
    assert len(said(town, "viewed")) == 3, "another hour"


def test_turning_pages_is_no_new_search_but_another_question_is(town: World) -> None:
    town.incident("学校食堂", TEXTS)
    browser = client(town)
    for path in ("/search?q=食堂", "/search?q=食堂&before=3", "/search?q=食堂", "/search?q=肚子"):
        browser.get(path)
    assert [one["query"] for one in said(town, "posts_searched")] == ["肚子", "食堂"]


def test_every_export_is_recorded_and_says_who_took_it(town: World, monkeypatch: pytest.MonkeyPatch) -> None:
    printed: list[str] = []

    def on_each_page(paper: casefile._Paper) -> None:
        printed.append(paper.mark)

    monkeypatch.setattr(casefile._Paper, "footer", on_each_page)
    incident = town.incident("学校食堂", TEXTS)
    browser = client(town)
    rows = list(csv.reader(io.StringIO(browser.get("/search/export.csv?q=食堂").text.lstrip("\ufeff"))))
    assert len(rows) == 1 + 2, "no row of data more than the page says"
    mark = rows[0][-1]
    for part in ("林东（lin）", "2026-11-24 10:20", "查询“食堂”"):
        assert part in mark
    case = json.loads(browser.get(f"/incidents/{incident.number}/case.json").text)
    assert incident.number in case["taken_by"]
    assert "林东（lin）" in case["taken_by"]
    assert browser.get(f"/incidents/{incident.number}/case.pdf").content.startswith(b"%PDF-")
    assert "林东（lin）" in printed[0]
    with town.db.reading() as session:
        seqs = [event.seq for event in queries.latest_events(session, 10, ["exported"])]
    assert re.findall(r"第 (\d+) 条", mark) == [str(min(seqs))]
    assert len(seqs) == 3


def ask(town: World, login: str, number: str, reason: str = "核查举报") -> None:
    browser = client(town, login)
    page = browser.get(f"/incidents/{number}").text
    assert submit(browser, page, f"/unmask/ask/{number}", reason=reason).status_code == 303


def test_two_people_unmask_for_a_while(town: World) -> None:
    incident = town.incident("学校食堂", TEXTS)
    address = f"/incidents/{incident.number}"
    ask(town, "shen", incident.number)
    assert "变质" not in client(town, "shen").get(address).text, "asking shows nothing"
    leader = client(town, "wang")
    assert "有 1 项查看申请" in leader.get(address).text
    page = leader.get("/unmask").text
    assert "核查举报" in page
    assert submit(leader, page, "/unmask/1/grant").status_code == 303
    auditor = client(town, "shen")
    assert "变质" in auditor.get(address).text
    assert auditor.get("/search?q=变质&kind=posts").status_code == 403, "this incident, nothing else"
    assert said(town, "viewed")[0]["unmasked_by"] == 1
    town.now += timedelta(minutes=61)
    assert "变质" not in client(town, "shen").get(address).text
    assert [len(said(town, kind)) for kind in ("unmask_asked", "unmask_granted")] == [1, 1]
    with town.db.reading() as session:
        assert list(rebuild.differences(session)) == []


def test_a_clerk_gets_address_and_number_and_never_what_complains_about_the_unit(town: World) -> None:
    incident = town.incident("学校食堂", TEXTS)
    town.act(incident, Confirm(), Assign("health"))
    address = f"/incidents/{incident.number}"
    assert "bbs.example.invalid" not in client(town, "ke").get(address).text
    ask(town, "ke", incident.number, "需回访来电人")
    leader = client(town, "du")
    assert submit(leader, leader.get("/unmask").text, "/unmask/1/grant").status_code == 303
    assert "bbs.example.invalid" in client(town, "ke").get(address).text


def test_nobody_grants_their_own_request_and_only_supervision_grants(town: World) -> None:
    incident = town.incident("学校食堂", TEXTS)
    ask(town, "shen", incident.number)
    for login in ("shen", "lin", "ke"):
        browser = client(town, login)
        assert browser.get("/unmask").status_code == 403
        token = hidden(browser.get("/account").text, "/logout")
        assert browser.post("/unmask/1/grant", data=token).status_code == 403, login
    duty = client(town)
    token = hidden(duty.get("/").text, "/logout")
    assert duty.post(f"/unmask/ask/{incident.number}", data={**token, "reason": "x"}).status_code == 403
    leader = client(town, "wang")
    page = leader.get("/unmask").text
    token = hidden(page, "/unmask/1/grant")
    assert leader.post("/unmask/1/refuse", data=token).status_code == 409, "a refusal needs a reason"
    assert leader.post("/unmask/1/refuse", data={**token, "reason": "与审计无关"}).status_code == 303
    assert submit(leader, page, "/unmask/1/grant").status_code == 409
    assert "与审计无关" in client(town, "shen").get(f"/incidents/{incident.number}").text


def test_a_request_needs_a_reason_and_expires(town: World) -> None:
    incident = town.incident("学校食堂", TEXTS)
    browser = client(town, "shen")
    page = browser.get(f"/incidents/{incident.number}").text
    assert submit(browser, page, f"/unmask/ask/{incident.number}", reason=" ").status_code == 409
    ask(town, "shen", incident.number)
    assert submit(browser, page, f"/unmask/ask/{incident.number}", reason="again").status_code == 409
    town.now += timedelta(hours=25)
    leader = client(town, "wang")
    token = hidden(leader.get("/unmask").text, "/logout")
    assert leader.post("/unmask/1/grant", data=token).status_code == 409


def test_nobody_reads_the_signed_links_of_others(town: World) -> None:
    """Whoever holds one acknowledges in the name of whom it was sent to."""
    incident = town.incident("学校食堂", TEXTS)
    town.run()
    with town.db.reading() as session:
        sent = [json.dumps(row.message) for row in outbox.messages_of(session, incident.id)]
    signed = re.compile(r"/a/[\w.~=-]{16,}")
    assert any(signed.search(text) for text in sent), "a page carries one"
    for address in (
        f"/incidents/{incident.number}",
        f"/incidents/{incident.number}/case.json",
        "/messages",
    ):
        told = client(town).get(address).text
        assert "/a/…" in told or address == "/messages", address
        assert not signed.search(told), address
