"""Logging in: what works, what locks, what ends, and that no other site can act in a person's name."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from console.passwords import ensure_first_account, weakness
from console.signin import local_path
from incidents import accounts, queries
from incidents.session import Database
from tests.console_world import PASSWORD, World, client, hidden, submit, world


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(db, tmp_path)
    made.account()
    return made


def test_nothing_but_login_health_and_links_is_shown_to_strangers(town: World) -> None:
    browser = client(town, None)
    for path in ("/", "/search", "/sources", "/messages", "/rules", "/reports", "/incidents/QS-2026-000001"):
        answer = browser.get(path)
        assert answer.status_code == 303, path
        assert answer.headers["location"].startswith("/login?goal=/"), path
    assert browser.get("/api/incidents").status_code == 401
    assert browser.get("/login").status_code == 200
    assert browser.get("/healthz").json()["ok"] is True


def test_login_goes_on_to_the_page_that_was_wanted(town: World) -> None:
    browser = client(town, None)
    html = browser.get("/login?goal=/rules").text
    answer = submit(browser, html, "/login", login="lin", password=PASSWORD)
    assert answer.headers["location"] == "/rules"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=lax" in cookie.lower()
    assert browser.get("/rules").status_code == 200


@pytest.mark.parametrize(
    "evil",
    [
        "https://evil.example/",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "evil",
        "/\t/evil.example",
        "/\t/[",
    ],
)
def test_login_never_leads_to_another_site(evil: str) -> None:
    assert local_path(evil) == "/"


def test_five_wrong_passwords_lock_for_thirty_minutes_and_say_nothing_more(town: World) -> None:
    browser = client(town, None)
    answers = []
    for _ in range(5):
        html = browser.get("/login").text
        answers.append(submit(browser, html, "/login", login="lin", password="wrong"))
    unknown = submit(browser, browser.get("/login").text, "/login", login="nobody", password="wrong")
    assert {answer.status_code for answer in answers} == {401}

    def sentence(html: str) -> str:
        found = re.search(r'role="alert">([^<]+)', html)
        assert found
        return found[1]

    assert {sentence(answer.text) for answer in [*answers, unknown]} == {sentence(unknown.text)}
    right = submit(browser, browser.get("/login").text, "/login", login="lin", password=PASSWORD)
    assert right.status_code == 401, "locked, even with the right password"
    town.now += timedelta(minutes=31)
    right = submit(browser, browser.get("/login").text, "/login", login="lin", password=PASSWORD)
    assert right.status_code == 303


def test_failures_are_recorded_without_the_name_of_a_stranger(town: World) -> None:
    browser = client(town, None)
    submit(browser, browser.get("/login").text, "/login", login="my-secret-password", password="x")
    with town.db.reading() as session:
        events = queries.latest_events(session)
    assert [event.kind for event in events] == ["login_failed"]
    assert "my-secret-password" not in str(events)


def test_idle_sessions_end_and_a_refresh_by_itself_is_no_presence(town: World) -> None:
    browser = client(town)
    for _ in range(4):
        town.now += timedelta(minutes=9)
        assert browser.get("/desk/live", headers={"X-Quansheng-Poll": "1"}).status_code in (200, 303)
    assert browser.get("/").status_code == 303, "36 minutes without a person"
    browser = client(town)
    for _ in range(4):
        town.now += timedelta(minutes=9)
        assert browser.get("/desk/live", headers={"X-Quansheng-Poll": "present"}).status_code == 200
    assert browser.get("/").status_code == 200


def test_a_login_lasts_one_shift_at_most(town: World) -> None:
    browser = client(town)
    for _ in range(60):
        town.now += timedelta(minutes=15)
        browser.get("/rules")
    assert browser.get("/").status_code == 303


def test_logout_ends_the_session_on_the_server(town: World) -> None:
    browser = client(town)
    token = browser.cookies["qs_session"]
    assert submit(browser, browser.get("/").text, "/logout").headers["location"] == "/login"
    browser.cookies.set("qs_session", token)
    assert browser.get("/").status_code == 303


def test_a_generated_password_must_be_replaced_before_anything_else(town: World, tmp_path: Path) -> None:
    with town.db.transaction() as session:
        accounts.create_account(
            session,
            login="new",
            display_name="新人",
            role="duty",
            password_hash=accounts.get_by_login(session, "lin").password_hash,  # type: ignore[union-attr]
            now=town.now,
        )
    browser = client(town, "new")
    assert browser.get("/").headers["location"] == "/password"
    assert browser.get("/api/incidents").status_code == 403
    html = browser.get("/password").text
    short = submit(browser, html, "/password", old=PASSWORD, new="short", again="short")
    assert short.status_code == 422
    assert "至少 8 位" in short.text
    wrong = submit(browser, html, "/password", old="no", new="Abcdef-123", again="Abcdef-123")
    assert "当前密码不正确" in wrong.text
    done = submit(browser, html, "/password", old=PASSWORD, new="Abcdef-123", again="Abcdef-123")
    assert done.status_code == 303
    assert browser.get("/").status_code == 200


@pytest.mark.parametrize(
    ("password", "weak"),
    [
        ("aB3defg", True),
        ("abcdefgh1", True),
        ("Abcdefg1", False),
        ("abc-12345", False),
        ("Lin-2026x", True),
        ("P@ssw0rd", True),
        ("Admin@123", True),
    ],
)
def test_new_passwords_need_length_and_three_kinds(password: str, weak: bool) -> None:
    assert bool(weakness(password, "lin")) is weak


def test_the_first_account_is_made_once_and_its_password_lies_in_a_private_file(
    db: Database, tmp_path: Path
) -> None:
    town = world(db, tmp_path)
    folder = town.bundle.settings.data_path
    password = ensure_first_account(db, folder, town.now)
    assert password is not None
    file = folder / "first-password.txt"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().split() == ["admin", password]
    assert ensure_first_account(db, folder, town.now) is None
    browser = client(town, None)
    answer = submit(browser, browser.get("/login").text, "/login", login="admin", password=password)
    assert answer.headers["location"] == "/password"
    html = browser.get("/password").text
    submit(browser, html, "/password", old=password, new="Neu-2026-wort", again="Neu-2026-wort")
    assert not file.exists(), "no longer true, so no longer there"


Attack = Callable[[dict[str, str]], dict[str, str]]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "null"},
    ],
)
def test_another_site_cannot_act_even_with_the_token(town: World, headers: dict[str, str]) -> None:
    incident = town.incident("测试事件", ["一", "二"])
    browser = client(town)
    address = f"/incidents/{incident.number}/confirm"
    fields = hidden(browser.get("/").text, address)
    answer = browser.post(address, data=fields, headers=headers)
    assert answer.status_code == 403
    assert town.get(incident.id).state == "detected"


def test_a_form_without_its_token_does_nothing(town: World) -> None:
    incident = town.incident("测试事件", ["一", "二"])
    browser = client(town)
    address = f"/incidents/{incident.number}/confirm"
    fields = hidden(browser.get("/").text, address)
    for wrong in ("", "x" * 32):
        answer = browser.post(
            address, data={**fields, "csrf": wrong}, headers={"Origin": "http://console.test"}
        )
        assert answer.status_code == 403
    login = browser.post("/login", data={"login": "lin", "password": PASSWORD})
    assert login.status_code == 403
    assert town.get(incident.id).state == "detected"


def test_an_oversized_form_is_refused_before_it_is_read(town: World) -> None:
    incident = town.incident("测试事件", ["一", "二"])
    browser = client(town)
    answer = browser.post(f"/incidents/{incident.number}/note", data={"text": "长" * 200_000})
    assert answer.status_code == 413


def test_an_administrator_adds_people_who_replace_their_password(town: World) -> None:
    town.account("admin", "administrator", name="管理员")
    browser = client(town, "admin")
    html = browser.get("/accounts").text
    fields = {"login": "he-nan", "display_name": "何南", "role": "duty", "department": ""}
    made = submit(browser, html, "/accounts", **fields)
    found = re.search(r'<b class="mono">([^<]+)</b>', made.text)
    assert found
    again = submit(browser, html, "/accounts", **fields)
    assert again.status_code == 409
    other = client(town, None)
    answer = submit(other, other.get("/login").text, "/login", login="he-nan", password=found[1])
    assert answer.headers["location"] == "/password"
    renewed = submit(browser, browser.get("/accounts").text, "/accounts/he-nan/password")
    assert renewed.status_code == 200
    assert other.get("/password").status_code == 303, "a new password ends every session"


@pytest.mark.parametrize(
    "wrong",
    [{"login": "Ä"}, {"login": ""}, {"display_name": ""}, {"role": "king"}, {"role": "department"}],
)
def test_a_wrong_account_is_refused_in_a_sentence(town: World, wrong: dict[str, str]) -> None:
    town.account("admin", "administrator", name="管理员")
    browser = client(town, "admin")
    fields = {"login": "he-nan", "display_name": "何南", "role": "duty", "department": "", **wrong}
    answer = submit(browser, browser.get("/accounts").text, "/accounts", **fields)
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text


def test_only_administrators_manage_accounts(town: World) -> None:
    browser = client(town)
    assert browser.get("/accounts").status_code == 403
    token = hidden(browser.get("/").text, "/logout")
    assert browser.post("/accounts", data={**token, "login": "x1"}).status_code == 403
    assert browser.post("/accounts/lin/password", data=token).status_code == 403


def test_an_origin_that_is_no_address_is_another_site(town: World) -> None:
    answer = client(town, None).post("/login", data={"login": "lin"}, headers={"Origin": "http://["})
    assert answer.status_code == 403
