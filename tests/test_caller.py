"""Who wrote or called reaches no department: a name, an account, a telephone and an order number, planted in posts of
every kind of source, and looked for in every message to a department and in everything its clerks can open."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import httpx
import pytest
from fastapi import APIRouter
from fastapi.routing import APIRoute

from config.departments import Departments
from console import casefile as document
from console import views
from console.context import Reader
from incidents import casefile, judgements, lifecycle, outbox, queries
from incidents.casefile import CaseFile
from incidents.judgements import save_judgements
from incidents.posts import unjudged
from incidents.session import Database
from incidents.states import Assign, Confirm, Detect, NameComplained
from spiders.importer import import_file
from tests.console_world import KEYS, NOW, World, client, submit, world
from tests.fakes.crawl import crawl, source
from tests.fakes.site import Site, article
from tests.judged import judged

NAME, ACCOUNT, PHONE, ORDER = "欧阳流云", "liuyun_quan88", "13812345678", "GD20261124007788"
#: what must not come out, however it is written
PLANTED = (NAME, ACCOUNT, PHONE, "138 1234 5678", ORDER)
TEXT = (
    f"历下区某小学食堂的肉有味道，孩子吃完就吐。我叫{NAME}，电话{PHONE}，也可打138 1234 5678，加微信{ACCOUNT}。"
    f"转自@{ACCOUNT}：大家看看。——{NAME}"
)
NO_ROUTER = APIRouter()
#: what a page says below its headline
PAGE = f"作者：{ACCOUNT}\n{TEXT}\n" + "食堂的卫生一直不好，家长多次反映，希望尽快查清。\n" * 4


def everything(site: Site, folder: Path, db: Database) -> list[int]:
    """One post from each kind of source, with everything planted; returns their ids."""
    site.feed(
        "/feed",
        [
            {
                "title": f"食堂 {NAME}",
                "link": f"{site.url}/u/{ACCOUNT}/1",
                "guid": f"{ACCOUNT}-1",
                "date": "Tue, 24 Nov 2026 09:00:00",
                "text": TEXT,
                "author": NAME,
            },
            {
                "title": "食堂的肉",
                "link": f"{site.url}/u/{ACCOUNT}/2",
                "guid": f"{ACCOUNT}-2",
                "date": "Tue, 24 Nov 2026 09:05:00",
                "text": f"{TEXT} {ACCOUNT}",
                "author": ACCOUNT,
            },
        ],
    )
    column = f'<ul class="list"><li><a href="/art/{ACCOUNT}.html">食堂的肉有味道，家长很担心</a></li></ul>'
    site.page("/column", column)
    site.page(f"/art/{ACCOUNT}.html", article("食堂的肉有味道，家长很担心", PAGE))
    site.page(
        "/map.xml",
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"><url><loc>{site.url}/n/{ACCOUNT}.html</loc></url></urlset>',
        kind="text/xml",
    )
    site.page(f"/n/{ACCOUNT}.html", article("学校食堂卫生问题引发家长担忧", PAGE + "学校尚未说明。"))
    row = {"id": f"j-{ACCOUNT}", "t": TEXT, "who": NAME, "tel": PHONE, "link": f"{site.url}/{ACCOUNT}"}
    site.page("/api", json.dumps([row]), kind="application/json")
    crawl(
        db,
        source("feed", "rss", f"{site.url}/feed"),
        source("column", "column", f"{site.url}/column", link_pattern="/art/"),
        source("map", "sitemap", f"{site.url}/map.xml"),
        source(
            "api", "json", f"{site.url}/api", fields={"id": "id", "text": "t", "author": "who", "url": "link"}
        ),
    )
    orders = folder / "orders.csv"
    orders.write_text(
        "工单编号,来电时间,诉求内容,区县,街道,联系电话,姓名\n"
        f"{ORDER},2026-11-24 09:30,{TEXT.replace(',', '，')},历下区,{NAME}家,{PHONE},{NAME}\n",
        "utf-8",
    )
    assert import_file(db, orders, None, KEYS.pseudonym, NOW).saved == 1
    with db.reading() as session:
        rows = unjudged(session, 50)
    assert {row.source_id for row in rows} >= {"feed", "column", "map", "api"}
    assert len(rows) == 6
    return [row.id for row in rows]


def town_with(db: Database, folder: Path) -> World:
    """A city whose departments have addresses, and a clerk in each of two."""
    made = world(db, folder)
    data = made.bundle.departments.model_dump()
    for one in data["departments"]:
        one["contact"] = {"email": f"{one['id']}@dept.example"}
    made.bundle = replace(made.bundle, departments=Departments.model_validate(data))
    db.know(made.bundle.departments)
    made.account()
    made.account("leads", "department", "market-regulation", "主办科员")
    made.account("helps", "department", "lixia", "协办科员")
    made.account("other", "department", "education", "旁人")
    return made


def raised(town: World, ids: list[int], title: str) -> queries.IncidentView:
    """A confirmed incident of these posts."""
    with town.db.transaction() as session:
        incident = judgements.open_watching(
            session, title=title, domain="food_safety", district="历下区", first_posted_at=NOW, sketch={}
        )
        save_judgements(session, [judged(post_id, risk=2, risk_score=0.7) for post_id in ids], NOW)
        for post_id in ids:
            judgements.add_post(
                session,
                incident,
                post_id,
                similarity=0.9,
                voice=True,
                published_at=NOW,
                negative=True,
                now=NOW,
            )
        why = {"sentence_zh": "多人反映"}
        lifecycle.handle(
            session, incident, Detect("burst", why), actor="lin", channel="console", now=town.now
        )
    town.run()
    return town.act(town.get(incident), Confirm())


def pages(browser: httpx.Client, town: World, incident: queries.IncidentView) -> Iterator[tuple[str, str]]:
    """Every page and file that a GET can ask for, filled in with this incident."""
    seen = 0
    values = {
        "number": incident.number,
        "form": "json",
        "post_id": "1",
        "incident_id": str(incident.id),
        "path": "2026-W47/report.html",
        "proposal_id": "1",
        "token": "x.y",
        "seq": "1",
    }
    modules = [import_module(f"console.views.{found.name}") for found in iter_modules(views.__path__)]
    routes = [route for module in modules for route in getattr(module, "router", NO_ROUTER).routes]
    for route in routes:
        if not isinstance(route, APIRoute) or "GET" not in (route.methods or ()):
            continue
        address = route.path_format.format_map(Filled(values))
        if address == STREAM:
            continue
        for query in ("", "?lang=en"):
            answer = browser.get(f"{address}{query}")
            seen += answer.status_code == 200
            yield address, answer.text
    assert seen > 10, "hardly any page opened: are the addresses right?"


#: never ends while somebody listens; what it says is numbers and the time (tests/test_live.py)
STREAM = "/desk/events"


class Filled(dict[str, str]):
    """Path parameters; an unknown one is 1."""

    def __missing__(self, key: str) -> str:
        return "1"


def leaks(text: str) -> list[str]:
    return [word for word in PLANTED if word in text]


def department_messages(town: World) -> list[outbox.OutboxRow]:
    with town.db.reading() as session:
        rows = outbox.latest(session, 1000)
    return [row for row in rows if row.recipient.endswith("@dept.example")]


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    return town_with(db, tmp_path)


def test_nothing_of_who_wrote_reaches_a_department(town: World, tmp_path: Path) -> None:
    with Site() as site:
        ids = everything(site, tmp_path, town.db)
    incident = raised(town, ids, "某小学食堂的肉有味道")
    browser, page = client(town), f"/incidents/{incident.number}"
    html = browser.get(page).text
    # the desk itself can follow a post to its source, so the probe does find what is there
    assert ACCOUNT in html
    # and an officer who copies what the caller said hands nothing on
    fields = {"reason": f"请联系来电人{NAME}，电话{PHONE}", "co-lixia": "1"}
    assert (
        submit(browser, html, f"{page}/assign", department="market-regulation", **fields).status_code == 303
    )
    note = f"来电人{NAME}，手机{PHONE}，微信{ACCOUNT}"
    assert submit(browser, browser.get(page).text, f"{page}/note", text=note).status_code == 303
    town.run()
    for _hour in range(55):
        town.now += timedelta(hours=1)
        town.run()
    told = department_messages(town)
    assert {row.kind for row in told} >= {"assignment", "co_assignment", "remind", "yellow", "red"}
    for row in told:
        assert not leaks(json.dumps(row.message, ensure_ascii=False)), row.kind
        assert site.url not in json.dumps(row.message), row.kind
    eml = [file.read_bytes() for file in (tmp_path / "var" / "outbox").glob("*.eml")]
    assert eml, "mails lie in the folder"
    for login in ("leads", "helps"):
        browser = client(town, login)
        html = browser.get(page).text
        assert html.count("食堂的肉有味道，孩子吃完就吐") == 6, "what happened is told all the same"
        for address, text in pages(browser, town, incident):
            assert not leaks(text), (login, address)
            assert not re.search(r"/a/[A-Za-z0-9_-]{20}", text), (login, address)


def test_a_case_file_is_made_of_the_same_rows_on_paper(
    town: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Site() as site:
        ids = everything(site, tmp_path, town.db)
    incident = town.act(raised(town, ids, "食堂"), Assign("market-regulation"))
    town.act(incident, NameComplained(("police",), (), "来电人说的"))
    printed: list[CaseFile] = []

    def as_pdf(here: Reader, case: CaseFile, mark: str = "") -> bytes:
        printed.append(case)  # the PDF holds glyphs, not letters: look at what it is made of
        return document.as_pdf(here, case, mark)

    monkeypatch.setattr("console.views.casefile.as_pdf", as_pdf)
    browser, page = client(town, "leads"), f"/incidents/{incident.number}"
    assert browser.get(f"{page}/case.pdf").content.startswith(b"%PDF-")
    shown = browser.get(f"{page}/case.json").text
    for text in (shown, document.as_json(printed[0], town.bundle).decode()):
        assert text.count("食堂的肉有味道，孩子吃完就吐") >= 6
        assert not leaks(text)
        # what was left out of the events was left out of the proof: the rest holds
        assert casefile.check(json.loads(text), town.db.audit_key).ok
        assert "complained_named" not in text


def test_posts_that_complain_about_the_unit_itself_are_left_out(town: World) -> None:
    ours = "食堂的肉有味道"
    with town.db.transaction() as session:
        ids = [town.post(session, text, NOW) for text in [ours] * 5]
        ids.append(town.post(session, "市场监管局的抽检结果到底算不算数", NOW))
    incident = raised(town, ids, "食堂")
    with town.db.transaction() as session:
        save_judgements(session, [judged(ids[-1], about="department", risk=2, risk_score=0.7)], NOW)
    incident = town.act(incident, Assign("market-regulation", co=("lixia",)))
    page = f"/incidents/{incident.number}"
    for login, sees in (("leads", False), ("helps", True), ("lin", True)):
        browser = client(town, login)
        for address in (page, f"{page}/case.json"):
            assert ("抽检结果到底算不算数" in browser.get(address).text) is sees, (login, address)
    assert "另有 1 帖涉及本单位，依法不予转交" in client(town, "leads").get(page).text


def test_a_unit_that_is_complained_of_opens_nothing_of_it(town: World, tmp_path: Path) -> None:
    with town.db.transaction() as session:
        ids = [town.post(session, "食堂的肉有味道", NOW) for _ in range(3)]
    incident = town.act(raised(town, ids, "某小学食堂的肉"), Assign("market-regulation", co=("lixia",)))
    page = f"/incidents/{incident.number}"
    assert client(town, "leads").get(page).status_code == 200
    town.act(incident, NameComplained(("market-regulation",), (), "来电人投诉该局"))
    browser = client(town, "leads")
    for address in (page, f"{page}/clocks", f"{page}/case.json", f"{page}/case.pdf", f"/api{page}"):
        assert browser.get(address).status_code == 404, address
    for address in ("/", "/desk/live", "/api/incidents", "/messages"):
        text = browser.get(address).text
        assert "某小学食堂的肉" not in text, address
        assert incident.number not in text, address
    # the unit that helps goes on, and learns nothing of whom it is about
    browser = client(town, "helps")
    for address in (page, f"{page}/case.json", f"/api{page}"):
        answer = browser.get(address)
        assert answer.status_code == 200, address
        assert "来电人投诉该局" not in answer.text, address
        assert "complained_named" not in answer.text, address


def test_a_helper_reads_and_notes_and_does_not_sign(town: World) -> None:
    with town.db.transaction() as session:
        ids = [town.post(session, "食堂的肉有味道", NOW) for _ in range(2)]
    incident = town.act(raised(town, ids, "食堂"), Assign("market-regulation", co=("lixia",)))
    page = f"/incidents/{incident.number}"
    browser = client(town, "helps")
    assert "食堂" in browser.get("/").text
    assert incident.number in browser.get("/api/incidents").text
    html = browser.get(page).text
    assert f"{page}/note" in html
    assert f"{page}/sign" not in html
    assert submit(browser, html, f"{page}/note", text="已派人到校").status_code == 303
    fields = {"csrf": html.split('name="csrf" value="', 1)[1].split('"', 1)[0]}
    for act in ("sign", "return", "respond", "assign", "complained", "clocks/told"):
        assert browser.post(f"{page}/{act}", data=fields).status_code == 403, act
    # whoever neither leads nor helps finds nothing
    assert client(town, "other").get(page).status_code == 404
    # dropped, it sees it no more
    town.act(incident, Assign("health-commission", reason="转办"))
    assert browser.get(page).status_code == 404


def test_clerks_read_no_report_and_no_other_messages(town: World) -> None:
    with town.db.transaction() as session:
        ids = [town.post(session, "食堂的肉有味道", NOW) for _ in range(2)]
    incident = town.act(raised(town, ids, "食堂"), Assign("market-regulation", co=("lixia",)))
    browser = client(town, "leads")
    assert browser.get("/reports").status_code == 403
    assert browser.get("/reports/2026-W47/report.html").status_code == 403
    assert 'href="/reports"' not in browser.get("/").text
    for address in ("/messages", f"/incidents/{incident.number}"):
        text = browser.get(address).text
        assert "lin-dong" not in text.split("<main", 1)[-1] or address != "/messages"
        assert "lixia@dept.example" not in text, address
    with town.db.reading() as session:
        links = [
            row
            for row in outbox.messages_of(session, incident.id)
            if row.message.get("link", "").count("/a/")
        ]
    assert links, "the duty officer's page holds a signed link"
    assert "/a/" not in browser.get(f"/incidents/{incident.number}").text
