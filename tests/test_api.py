"""The HTTP API: who may ask, stable pages, tags, mistakes that say where, and nothing that counts more than the pages."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from console.api.pace import Pace
from incidents import accounts, api_tokens, queries, report_runs
from incidents.events import verify
from incidents.models import ApiToken
from incidents.session import Database
from incidents.states import Refused
from tests.console_world import AUDIT_KEY, NOW, World, _InProcess, client, submit, world

ALL = tuple(api_tokens.SCOPES)


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(db, tmp_path)
    made.account("wen", "analyst", name="文析")
    with made.db.transaction() as session:
        for number in range(60):
            words = f"第{number}号楼停水了" if number % 2 else f"第{number}号楼通了暖气"
            made.post(session, words, NOW - timedelta(days=number % 5, minutes=number))
    return made


def token(town: World, *scopes: str, login: str = "wen", days: int = 30) -> str:
    with town.db.transaction() as session:
        account = accounts.get_by_login(session, login)
        assert account is not None
        value, _ = api_tokens.make(
            session,
            account,
            name="每周笔记本",
            scopes=scopes or api_tokens.allowed(account.role),
            valid=timedelta(days=days),
            actor=login,
            channel="cli",
            now=town.now,
        )
    return value


def script(town: World, value: str, **headers: str) -> httpx.Client:
    """A script with a token and nothing else."""
    return httpx.Client(
        transport=_InProcess(town.app()),
        base_url="http://console.test",
        headers={"Authorization": f"Bearer {value}", **headers},
    )


def everything(asking: httpx.Client, path: str, **params: str) -> list[dict[str, Any]]:
    """All items of a list, by its cursors."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = asking.get(path, params={**params, **({"cursor": cursor} if cursor else {})}).json()
        found += page["items"]
        cursor = page["next"]
        if not cursor:
            return found


# --- tokens --------------------------------------------------------------------------------------------------------


def test_a_token_is_shown_once_stored_hashed_and_recorded(town: World) -> None:
    browser = client(town, "wen")
    html = browser.get("/tokens").text
    assert "还没有令牌" in html
    made = submit(browser, html, "/tokens", name="周报", days="30", **{"scope-read:posts": "1"})
    (value,) = re.findall(r"qst_[\w-]{40,}", made.text)
    assert "qst_" + "x" not in value
    later = browser.get("/tokens").text
    assert value not in later
    assert value[:10] in later
    with town.db.reading() as session:
        stored = session.query(ApiToken).one()
        (event,) = queries.latest_events(session, kinds=["token_made"])
    assert value not in str(vars(stored))
    assert event.payload["scopes"] == ["read:posts"]
    assert event.actor == "wen"
    assert value[:12] not in str(event.payload)
    assert script(town, value).get("/api/posts?q=停水").status_code == 200


def test_a_wrong_token_form_says_what_is_wrong(town: World) -> None:
    browser = client(town, "wen")
    html = browser.get("/tokens").text
    for fields, sentence in (
        ({"name": "x", "days": "0", "scope-sql": "1"}, "有效期须为 1 至 180 天"),
        ({"name": "x", "days": "9999", "scope-sql": "1"}, "有效期须为 1 至 180 天"),
        ({"name": " ", "days": "5", "scope-sql": "1"}, "请写明令牌的用途"),
        ({"name": "x", "days": "5"}, "请至少选择一项范围"),
    ):
        answer = submit(browser, html, "/tokens", **fields)
        assert answer.status_code == 422
        assert sentence in answer.text


def test_a_token_ends_by_revoking_expiry_and_with_its_account(town: World) -> None:
    revoked, expiring, orphan = token(town), token(town, days=2), token(town)
    browser = client(town, "wen")
    html = browser.get("/tokens").text
    with town.db.reading() as session:
        ids = {row.hint: row.id for row in api_tokens.list_tokens(session)}
    submit(browser, html, f"/tokens/{ids[revoked[:10]]}/revoke")
    assert script(town, revoked).get("/api/me").status_code == 401
    assert "已吊销" in browser.get("/tokens").text
    assert script(town, expiring).get("/api/me").status_code == 200
    town.now += timedelta(days=2)
    answer = script(town, expiring).get("/api/me")
    assert answer.status_code == 401
    assert "过期" in answer.json()["detail"]
    assert answer.headers["www-authenticate"].startswith("Bearer")
    with town.db.transaction() as session:
        session.execute(text("UPDATE account SET disabled = 1"))
    assert script(town, orphan).get("/api/me").status_code == 401


def test_only_its_owner_or_an_administrator_ends_a_token(town: World) -> None:
    value = token(town)
    town.account("other", "duty")
    town.account("admin", "administrator")
    with town.db.reading() as session:
        (row,) = api_tokens.list_tokens(session)
    other, admin = client(town, "other"), client(town, "admin")
    form = submit(
        other, other.get("/tokens").text, "/tokens", name="x", days="1", **{"scope-read:posts": "1"}
    )
    assert "qst_" in form.text
    mine = re.search(r'action="(/tokens/\d+/revoke)"', other.get("/tokens").text)
    assert mine is not None
    foreign = f"/tokens/{row.id}/revoke"
    html = other.get("/tokens").text.replace(mine.group(1), foreign)
    assert submit(other, html, foreign).status_code == 404
    assert script(town, value).get("/api/me").status_code == 200
    assert submit(admin, admin.get("/tokens").text, foreign).status_code == 200
    assert script(town, value).get("/api/me").status_code == 401


def test_a_token_never_sees_more_than_its_scope_or_its_owner(town: World) -> None:
    narrow = script(town, token(town, "read:sources"))
    assert narrow.get("/api/sources").status_code == 200
    for path in ("/api/incidents", "/api/posts", "/api/posts/facets", "/api/reports", "/api/rules"):
        answer = narrow.get(path)
        assert answer.status_code == 403, path
        assert "范围" in answer.json()["detail"], path
    wide = token(town)
    assert script(town, wide).get("/api/posts").status_code == 200
    with (
        town.db.transaction() as session
    ):  # the analyst becomes a clerk: the old token does not keep the old rights
        session.execute(text("UPDATE account SET role = 'department', department = 'education'"))
    assert script(town, wide).get("/api/posts").status_code == 403
    assert script(town, wide).get("/api/reports").status_code == 403
    assert script(town, wide).get("/api/incidents/facets").status_code == 403
    assert script(town, wide).get("/api/incidents").json() == {"items": [], "next": None}


def test_a_role_gives_no_scope_that_it_lacks(town: World) -> None:
    town.account("clerk", "department", "education")
    with pytest.raises(Refused, match="not for the role department"):
        token(town, "read:posts", login="clerk")
    for _ in range(api_tokens.MOST):
        token(town, "read:incidents", login="clerk")
    with pytest.raises(Refused, match="revoke those not in use"):
        token(town, "read:incidents", login="clerk")


def test_a_token_opens_no_page_and_changes_nothing(town: World) -> None:
    asking = script(town, token(town))
    for path in ("/", "/search", "/tokens", "/api/docs"):
        answer = asking.get(path)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/login"), path
    assert asking.post("/api/incidents").status_code == 405


def test_a_wrong_token_is_refused_even_beside_a_session(town: World) -> None:
    browser = client(town, "wen")
    for given in ("Bearer", "Bearer nonsense", "Basic eDp5", "Bearer qst_" + "A" * 43, "qst_x"):
        answer = browser.get("/api/me", headers={"Authorization": given})
        assert answer.status_code == 401, given
        assert answer.json()["errors"][0]["at"] == "header.authorization"


def test_the_last_use_is_noted_now_and_then(town: World) -> None:
    asking = script(town, token(town))
    asking.get("/api/me")
    first = town.now
    town.now += timedelta(minutes=1)
    asking.get("/api/me")
    with town.db.reading() as session:
        assert api_tokens.list_tokens(session)[0].last_used_at == first
    town.now += timedelta(minutes=5)
    asking.get("/api/me")
    with town.db.reading() as session:
        assert api_tokens.list_tokens(session)[0].last_used_at == town.now


# --- pace, tags, cursors, mistakes ------------------------------------------------------------------------------------


def test_who_asks_too_often_is_told_how_long_to_wait(db: Database, tmp_path: Path) -> None:
    from tests.console_world import jinan

    town = world(db, tmp_path, api=jinan().settings.api.model_copy(update={"per_minute": 3}))
    town.account("wen", "analyst")
    asking, other = script(town, token(town)), script(town, token(town))
    app = town.app()
    asking._transport = _InProcess(app)
    other._transport = _InProcess(app)
    left = [asking.get("/api/me").headers["ratelimit-remaining"] for _ in range(3)]
    assert left == ["2", "1", "0"]
    town.now += timedelta(seconds=20)
    refused = asking.get("/api/me")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "40"
    assert refused.json()["type"] == "urn:quansheng:problem:too-many-requests"
    assert other.get("/api/me").status_code == 200
    town.now += timedelta(seconds=40)
    assert asking.get("/api/me").status_code == 200


def test_a_clock_that_is_set_back_locks_nobody_out() -> None:
    pace = Pace()
    assert pace.ask("a", 1, NOW).go
    assert not pace.ask("a", 1, NOW + timedelta(seconds=59)).go
    assert pace.ask("a", 1, NOW - timedelta(hours=1)).go


def test_an_answer_that_has_not_changed_is_not_sent_again(town: World) -> None:
    town.incident("学校食堂问题", ["食堂", "食堂又来了"])
    asking = script(town, token(town))
    first = asking.get("/api/incidents")
    tag = first.headers["etag"]
    again = asking.get("/api/incidents", headers={"If-None-Match": f'"other", W/{tag}'})
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == tag
    town.incident("小区停水", ["停水", "又停水"], domain="housing")
    changed = asking.get("/api/incidents", headers={"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["etag"] != tag


def test_pages_are_stable_while_rows_arrive(town: World) -> None:
    asking = script(town, token(town))
    first = asking.get("/api/posts", params={"q": "停水", "limit": "7"}).json()
    with town.db.transaction() as session:
        town.post(session, "第99号楼停水了", NOW)
    seen, cursor = [item["id"] for item in first["items"]], first["next"]
    while cursor:
        page = asking.get("/api/posts", params={"q": "停水", "limit": "7", "cursor": cursor}).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
    assert len(seen) == len(set(seen)) == 30
    assert seen == sorted(seen, reverse=True)
    assert not {key for item in first["items"] for key in item} & {"author", "author_key", "external_id"}


def test_incidents_are_paged_by_detection_whatever_their_number(any_db: Database, tmp_path: Path) -> None:
    town = world(any_db, tmp_path)
    town.account("wen", "analyst")
    hours = (3, 1, 2, 2, 5)
    made = [
        town.incident(f"第{n}件事", ["食堂", "食堂又来了"], at=NOW - timedelta(hours=h)).number
        for n, h in enumerate(hours)
    ]
    asking = script(town, token(town))
    wanted = [made[n] for n in (1, 3, 2, 0, 4)]
    assert [item["number"] for item in everything(asking, "/api/incidents", limit="1")] == wanted
    assert [item["number"] for item in everything(asking, "/api/incidents", limit="2")] == wanted
    assert everything(asking, "/api/incidents", state="closed") == []
    facets = asking.get("/api/incidents/facets").json()
    assert facets["state"] == {"detected": 5}
    posts = everything(asking, f"/api/incidents/{made[0]}/posts", limit="1")
    assert [item["text"] for item in posts] == ["食堂", "食堂又来了"]


def test_a_cursor_belongs_to_its_list_and_filters(town: World) -> None:
    asking = script(town, token(town))
    cursor = asking.get("/api/posts", params={"q": "停水", "limit": "5"}).json()["next"]
    for path, params in (
        ("/api/posts", {"q": "暖气", "cursor": cursor}),
        ("/api/reports", {"cursor": cursor}),
        ("/api/posts", {"q": "停水", "cursor": cursor[:-3]}),
        ("/api/posts", {"cursor": "é" * 5}),
        ("/api/incidents", {"cursor": "W10"}),
    ):
        answer = asking.get(path, params=params)
        assert answer.status_code == 422, params
        assert answer.json()["errors"][0]["at"] == "query.cursor"


MISTAKES = [
    ("/api/incidents/none", 404, ""),
    ("/api/incidents/none/posts", 404, ""),
    ("/api/sources/none", 404, ""),
    ("/api/reports/weekly/2026-W01", 404, ""),
    ("/api/nothing", 404, ""),
    ("/api/incidents?state=nonsense", 422, "query.state.0"),
    ("/api/incidents?since=2026-11-24T00:00:00", 422, "query.since"),
    ("/api/incidents?since=0001-01-01T00:00:00%2B10:00", 422, "query.since"),
    ("/api/incidents?limit=0", 422, "query.limit"),
    ("/api/posts?tone=angry", 422, "query.tone"),
    ("/api/posts?q=停水 (", 422, "query.q"),
    ("/api/posts/over-time?unit=year", 422, "query.unit"),
]


def test_a_mistake_says_what_is_wrong_and_where(town: World) -> None:
    asking = script(town, token(town))
    for path, status, at in MISTAKES:
        answer = asking.get(path)
        assert answer.status_code == status, path
        assert answer.headers["content-type"] == "application/problem+json", path
        problem = answer.json()
        assert problem["status"] == status
        assert problem["detail"], path
        assert problem["type"].startswith("urn:quansheng:problem:")
        assert [fault["at"] for fault in problem.get("errors", [])] == ([at] if at else []), path
        english = asking.get(f"{path}{'&' if '?' in path else '?'}lang=en").json()
        assert not re.search(r"[\u4e00-\u9fff]", english["title"]), path


def test_a_query_that_cannot_be_understood_is_pointed_at(town: World) -> None:
    problem = script(town, token(town)).get("/api/posts/count", params={"q": "停水 (历下区"}).json()
    assert problem["errors"][0]["position"] == 3
    assert "括号没有配对" in problem["detail"]


# --- what is answered ------------------------------------------------------------------------------------------------


def test_counts_are_those_of_the_search_page(town: World) -> None:
    asking = script(town, token(town))
    asked = {"q": "停水", "since": "2026-11-21T00:00:00+08:00"}
    shown = everything(asking, "/api/posts", **asked)
    assert asking.get("/api/posts/count", params=asked).json() == {"total": len(shown), "at_least": False}
    days = asking.get("/api/posts/over-time", params=asked).json()
    assert days["total"] == len(shown) == sum(bucket["posts"] for bucket in days["buckets"])
    assert [bucket["start"] for bucket in days["buckets"]] == sorted(b["start"] for b in days["buckets"])
    weeks = asking.get("/api/posts/over-time", params={**asked, "unit": "week"}).json()
    assert [bucket["start"] for bucket in weeks["buckets"]] == ["2026-11-16", "2026-11-23"]
    hours = asking.get("/api/posts/over-time", params={**asked, "unit": "hour"}).json()["buckets"]
    assert sum(bucket["posts"] for bucket in hours) == len(shown)
    assert all(bucket["start"].endswith(":00:00+08:00") for bucket in hours)
    assert 0 in [bucket["posts"] for bucket in hours], "hours without posts are there"
    facets = asking.get("/api/posts/facets", params=asked).json()
    assert facets["source"] == {"forum-column": len(shown)}
    html = client(town, "wen").get("/search?q=停水&since=2026-11-21").text
    assert f"{len(shown)} 帖" in html


def test_a_quick_count_says_that_it_is_one(town: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("incidents.search.CAP", 10)
    asking = script(town, token(town))
    for path in ("count", "facets", "over-time"):
        quick = asking.get(f"/api/posts/{path}", params={"q": "停水", "exact": "false"}).json()
        assert (quick["total"], quick["at_least"]) == (10, True), path
        exact = asking.get(f"/api/posts/{path}", params={"q": "停水"}).json()
        assert (exact["total"], exact["at_least"]) == (30, False), path


def test_every_operation_answers_on_both_databases(any_db: Database, tmp_path: Path) -> None:
    town = world(any_db, tmp_path)
    town.account("wen", "analyst")
    incident = town.incident("学校食堂问题", ["食堂", "食堂又来了"], copies=1)
    town.sources()
    town.run()
    with town.db.transaction() as session:
        for turn in range(2):
            report_runs.save_run(
                session, report="weekly", period="2026-W47", digest=f"d{turn}", model={"n": turn}, now=NOW
            )
    asking = script(town, token(town))
    number = incident.number
    detail = asking.get(f"/api/incidents/{number}").json()
    assert detail["clocks"][0]["rule_id"] == "R03"
    assert detail["events"][0]["kind"] == "detected"
    assert detail["why"]["expected"] == 1.3
    assert asking.get(f"/api/incidents/{number}/clocks").json() == detail["clocks"]
    assert everything(asking, f"/api/incidents/{number}/events", limit="1") == detail["events"]
    assert sum(hour["posts"] for hour in asking.get(f"/api/incidents/{number}/growth").json()) == 3
    posts = everything(asking, f"/api/incidents/{number}/posts", limit="2")
    assert [post["near_copy_of"] for post in posts] == [None, None, posts[0]["id"]]
    assert asking.get("/api/posts/count", params={"incident": number}).json() == {
        "total": 3,
        "at_least": False,
    }
    assert asking.get("/api/posts/count", params={"incident": "QS-2026-999999"}).json() == {
        "total": 0,
        "at_least": False,
    }
    assert asking.get("/api/posts/facets").json()["domain"] == {"food_safety": 3}
    sources = everything(asking, "/api/sources", limit="2")
    assert [item["id"] for item in sources] == sorted(source.id for source in town.bundle.sources)
    assert {"ok", "blocked"} == {item["state"] for item in sources}
    assert asking.get(f"/api/sources/{sources[0]['id']}").json() == sources[0]
    departments = asking.get("/api/departments").json()
    assert any("food_safety" in one["leads"] for one in departments)
    assert "@" not in str(departments)
    rules = asking.get("/api/rules").json()
    assert next(rule for rule in rules["rules"] if rule["id"] == "R03")["amount"] == 48
    reports = everything(asking, "/api/reports", limit="1")
    assert [item["revision"] for item in reports] == [2, 1]
    assert asking.get("/api/reports/weekly/2026-W47").json()["model"] == {"n": 1}
    me = asking.get("/api/me").json()
    assert (me["login"], me["token"], set(me["scopes"])) == ("wen", "每周笔记本", set(ALL))
    with town.db.reading() as session:
        kinds = {event.kind: event for event in queries.latest_events(session, limit=50)}
        assert kinds["posts_searched"].channel == "api"
        assert kinds["viewed"].payload["number"] == number
        assert kinds["viewed"].payload["token"]
        assert verify(session, AUDIT_KEY).ok


def test_a_session_may_ask_too_but_not_from_another_site(town: World) -> None:
    browser = client(town, "wen")
    assert browser.get("/api/me").json()["token"] is None
    assert client(town, None).get("/api/me").status_code == 401


def test_a_clerk_reads_only_own_cases_and_no_address(town: World) -> None:
    incident = town.incident("学校食堂问题", ["食堂", "食堂又来了"])
    other = town.incident("小区停水", ["停水", "又停水"], domain="housing")
    unit = town.bundle.departments.departments[1].id
    town.account("clerk", "department", unit)
    with town.db.transaction() as session:
        session.execute(
            text("UPDATE incident SET department = :unit WHERE id = :id"), {"unit": unit, "id": incident.id}
        )
    asking = script(town, token(town, login="clerk"))
    assert [item["number"] for item in everything(asking, "/api/incidents")] == [incident.number]
    assert asking.get(f"/api/incidents/{other.number}").status_code == 404
    assert asking.get(f"/api/incidents/{other.number}/posts").status_code == 404
    posts = everything(asking, f"/api/incidents/{incident.number}/posts")
    assert [post["url"] for post in posts] == ["", ""]
    assert asking.get("/api/posts").status_code == 403


# --- the description -------------------------------------------------------------------------------------------------


def test_the_api_describes_itself_to_whoever_may_ask(town: World) -> None:
    assert client(town, None).get("/api/openapi.json").status_code == 401
    described = script(town, token(town)).get("/api/openapi.json").json()
    assert {path for path, operations in described["paths"].items() if "post" in operations} <= {"/api/sql"}
    for path, operations in described["paths"].items():
        assert path.startswith("/api/")
        for operation in operations.values():
            assert {"401", "403", "422", "429"} <= set(operation["responses"]), path
            assert operation["summary"], path
            assert operation["security"], path
    assert "Problem" in described["components"]["schemas"]
    assert not re.search(r'"[^"]*(author|nickname)[^"]*":', str(described))


def test_the_page_of_the_description_asks_only_this_console(town: World) -> None:
    browser = client(town, "wen")
    html = browser.get("/api/docs").text
    assert 'data-from="/api/openapi.json"' in html
    for address in re.findall(r'(?:src|href)="([^"]+\.(?:js|css)(?:\?[^"]*)?)"', html):
        assert address.startswith("/static/"), address
        assert browser.get(address).status_code == 200, address
