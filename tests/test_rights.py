"""Who may do what: the roles, three duties apart, and what is restricted to named people."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from sqlalchemy import text

from config.accounts import ROLES
from console.rights import ACTS, DEPARTMENT_ACTS, DESK
from incidents import queries
from incidents.access import hidden_from
from incidents.session import Database
from incidents.states import Assign, Confirm, Merge, Restrict
from tests.console_world import World, client, hidden, submit, world

TEXTS = ["第三小学食堂的饭菜变质了", "孩子吃完肚子疼", "食堂没人管"]


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(db, tmp_path)
    made.account()
    for login, role, name in (
        ("du", "supervisor", "杜宁"),
        ("wang", "leader", "王斌"),
        ("fen", "analyst", "冯静"),
        ("admin", "administrator", "管理员"),
        ("shen", "auditor", "沈岩"),
    ):
        made.account(login, role, name=name)
    made.account("ke", "department", "health", name="柯敏")
    return made


def kinds(town: World) -> list[str]:
    with town.db.reading() as session:
        return [event.kind for event in queries.latest_events(session, 500)]


def routes(town: World) -> list[APIRoute]:
    """Every route of the console."""
    routers = [getattr(route, "original_router", None) for route in town.app().routes]
    return [route for router in routers if router for route in router.routes if isinstance(route, APIRoute)]


def test_every_role_has_exactly_these_acts() -> None:
    can = {role: {act for act, roles in ACTS.items() if role in roles} for role in ROLES}
    everything = set(ACTS) - {"restrict", "unrestrict"}
    assert can == {
        "duty": everything,
        "supervisor": set(ACTS),
        "leader": set(ACTS),
        "analyst": {"note"},
        "department": set(),
        "administrator": set(),
        "auditor": set(),
    }
    assert everything > DEPARTMENT_ACTS
    assert {"administrator", "auditor", "analyst", "department"}.isdisjoint(DESK)


@pytest.mark.parametrize("login", ["admin", "shen"])
def test_who_keeps_accounts_and_who_audits_decide_nothing(town: World, login: str) -> None:
    incident = town.incident("学校食堂问题", TEXTS)
    browser = client(town, login)
    html = browser.get(f"/incidents/{incident.number}").text
    assert 'action="/incidents/' not in html
    token = hidden(html, "/logout")
    before = town.get(incident.id).version
    for act in ACTS:
        answer = browser.post(f"/incidents/{incident.number}/{act}", data={**token, "reason": "x"})
        assert answer.status_code == 403, act
    assert town.get(incident.id).version == before


def test_an_auditor_changes_nothing_by_any_form_of_the_console(town: World) -> None:
    incident = town.incident("学校食堂问题", TEXTS)
    browser = client(town, "shen")
    token = hidden(browser.get("/audit").text, "/logout")
    own = {"/login", "/logout", "/password", "/a/{token}", "/handover/{token}"}
    tried = 0
    for route in routes(town):
        if "POST" not in (route.methods or ()) or route.path.startswith("/api/"):
            continue
        if route.path in own or route.path.startswith(("/slack", "/account/", "/unmask/ask", "/login/")):
            continue
        path = re.sub(r"{number}|{login}|{proposal_id}|{\w+}", incident.number, route.path)
        path = path.replace(f"/supervision/{incident.number}", "/supervision/1").replace(
            f"/obligations/{incident.number}", "/obligations/1"
        )
        answer = browser.post(path, data=token)
        assert answer.status_code in (403, 422), f"{path}: {answer.status_code}"
        tried += 1
    assert tried > 15
    assert set(kinds(town)) & {"confirmed", "note", "roster_changed", "account_created"} == set()


def test_only_the_auditor_reads_the_record_and_that_is_recorded(town: World) -> None:
    town.incident("学校食堂问题", TEXTS)
    for login in ("lin", "du", "wang", "fen", "admin", "ke"):
        assert client(town, login).get("/audit").status_code == 403, login
    browser = client(town, "shen")
    page = browser.get("/audit").text
    assert "系统发现" in page
    assert "audit_read" in kinds(town)
    narrowed = browser.get("/audit?kind=logged_in&actor=du").text
    assert "杜宁" in narrowed
    assert len(re.findall(r'<td class="num mono title">', narrowed)) == 1
    wrong = browser.get("/audit?since=nonsense&number=QS-2026-9&before=x")
    assert wrong.status_code == 200
    assert wrong.text.count('role="alert"') == 2


@pytest.mark.parametrize("login", ["admin", "shen"])
def test_the_words_of_posts_are_masked_for_administrators_and_auditors(town: World, login: str) -> None:
    incident = town.incident("学校食堂问题", TEXTS)
    town.run()
    browser = client(town, login)
    page = browser.get(f"/incidents/{incident.number}").text
    assert "已遮蔽" in page
    assert "变质" not in page
    assert "bbs.example.invalid" not in page
    assert "变质" not in browser.get("/messages").text
    for path in ("/search?kind=posts&q=变质", "/search/export.csv?kind=posts&q=变质", "/posts/1", "/topics"):
        assert browser.get(path).status_code == 403, path
    assert browser.get("/api/posts?q=变质").status_code == 403
    assert incident.number in browser.get("/search?kind=incidents").text
    case = browser.get(f"/incidents/{incident.number}/case.json")
    assert case.status_code == (403 if login == "admin" else 200)
    assert "肚子疼" not in case.text


def restrict(town: World, number: str, *people: str, reason: str = "涉及未成年人") -> None:
    browser = client(town, "du")
    html = browser.get(f"/incidents/{number}").text
    ticks = {f"who-{login}": "1" for login in people}
    answer = submit(browser, html, f"/incidents/{number}/restrict", reason=reason, **ticks)
    assert answer.status_code == 303, answer.text


#: addresses that would show the incident, its title or its posts
SHOWN = (
    "/",
    "/search?q=食堂",
    "/search?kind=incidents",
    "/search/export.csv?q=食堂",
    "/search/export.csv?kind=incidents",
    "/messages",
    "/coverage",
    "/supervision",
    "/api/incidents",
    "/api/posts?q=食堂",
)


def test_a_restricted_incident_is_seen_by_the_people_named_and_nobody_else(town: World) -> None:
    incident = town.incident("实验小学食堂", TEXTS)
    other = town.incident("自来水发黄", ["自来水发黄", "水质太差"])
    town.run()
    duty = client(town, "lin")
    assert "实验小学食堂" in duty.get("/").text
    restrict(town, incident.number, "wang")
    for path in SHOWN:
        text = duty.get(path).text
        assert "实验小学食堂" not in text, path
        assert "变质" not in text, path
        assert incident.number not in text, path
    assert other.number in duty.get("/").text
    for path in (f"/incidents/{incident.number}", f"/api/incidents/{incident.number}", "/posts/1",
                 f"/incidents/{incident.number}/case.json", f"/incidents/{incident.number}/clocks"):  # fmt: skip
        assert duty.get(path).status_code == 404, path
    named = client(town, "wang").get(f"/incidents/{incident.number}")
    assert "变质" in named.text
    assert "限定知悉" in named.text
    assert "restricted" in kinds(town)


def test_restricting_stops_no_clock_and_no_page(town: World) -> None:
    incident = town.incident("实验小学食堂", TEXTS)
    restrict(town, incident.number, "wang")
    town.run()
    assert town.get(incident.id).alerted_at is not None


def test_lifting_needs_a_reason_and_shows_it_to_everybody_again(town: World) -> None:
    incident = town.incident("实验小学食堂", TEXTS)
    restrict(town, incident.number)
    browser = client(town, "du")
    html = browser.get(f"/incidents/{incident.number}").text
    address = f"/incidents/{incident.number}/unrestrict"
    assert submit(browser, html, address, reason=" ").status_code == 409
    assert submit(browser, html, address, reason="已公开通报").status_code == 303
    assert "实验小学食堂" in client(town, "lin").get("/").text


def test_only_supervisors_and_leaders_restrict_with_a_reason_and_known_people(town: World) -> None:
    incident = town.incident("实验小学食堂", TEXTS)
    address = f"/incidents/{incident.number}/restrict"
    duty = client(town, "lin")
    token = hidden(duty.get("/").text, "/logout")
    assert duty.post(address, data={**token, "reason": "x"}).status_code == 403
    browser = client(town, "du")
    html = browser.get(f"/incidents/{incident.number}").text
    assert submit(browser, html, address, reason="").status_code == 409
    stranger = submit(browser, html, address, reason="涉密", **{"who-nobody": "1"})
    assert stranger.status_code == 409
    assert "没有可用账号：nobody" in stranger.text


def test_a_merge_does_not_open_what_was_restricted(town: World) -> None:
    child = town.incident("实验小学食堂", TEXTS)
    parent = town.incident("多所学校食堂", ["多所学校食堂都有问题", "食堂问题很多"])
    restrict(town, child.number)
    town.act(child, Merge(parent.id), actor="du")
    duty = client(town, "lin")
    assert duty.get(f"/incidents/{parent.number}").status_code == 404
    assert "变质" not in duty.get("/search?q=食堂").text


def test_what_is_split_off_stays_restricted(town: World) -> None:
    incident = town.incident("实验小学食堂", TEXTS)
    restrict(town, incident.number, "wang")
    browser = client(town, "du")
    html = browser.get(f"/incidents/{incident.number}").text
    picked = re.findall(r'name="(post-\d+)"', html)[-1]
    answer = submit(
        browser, html, f"/incidents/{incident.number}/split", **{picked: "1", "title": "另一件事"}
    )
    assert answer.status_code == 303
    assert "另一件事" not in client(town, "lin").get("/search?kind=incidents").text
    assert "另一件事" in client(town, "wang").get("/search?kind=incidents").text


def test_a_clerk_who_is_not_named_no_longer_sees_the_own_case(town: World) -> None:
    incident = town.incident("实验小学食堂", TEXTS)
    town.act(incident, Confirm(), Assign("health"))
    clerk = client(town, "ke")
    assert clerk.get(f"/incidents/{incident.number}").status_code == 200
    restrict(town, incident.number)
    assert clerk.get(f"/incidents/{incident.number}").status_code == 404
    assert incident.number not in clerk.get("/").text


def test_when_nobody_is_left_who_could_lift_it_supervision_sees_it(any_db: Database, tmp_path: Path) -> None:
    town = world(any_db, tmp_path)
    town.account("du", "supervisor")
    town.account("wang", "leader")
    town.account("lin", "duty")
    incident = town.incident("实验小学食堂", TEXTS)
    town.act(incident, Restrict(("du",), "涉及未成年人"), actor="du")

    def sees(login: str, role: str) -> bool:
        with town.db.reading() as session:
            return incident.id not in hidden_from(session, login, role)

    assert (sees("du", "supervisor"), sees("wang", "leader"), sees("lin", "duty")) == (True, False, False)
    with town.db.transaction() as session:
        session.execute(text("UPDATE account SET disabled = :yes WHERE login = 'du'"), {"yes": True})
    assert (sees("wang", "leader"), sees("lin", "duty")) == (True, False)
