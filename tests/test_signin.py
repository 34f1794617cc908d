"""Passwords with a memory, one-time codes, sessions that people see and end, accounts that administrators keep."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import httpx
import pyotp
import pytest

from console import totp
from incidents import accounts, queries
from incidents.models import Account
from incidents.session import Database
from tests.console_world import KEYS, PASSWORD, World, client, hidden, submit, world

NEXT = "Neu-2026-wort"


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(db, tmp_path)
    made.account()
    return made


def kinds(town: World) -> list[str]:
    with town.db.reading() as session:
        return [event.kind for event in queries.latest_events(session, 100)]


def change(browser: httpx.Client, old: str, new: str) -> httpx.Response:
    return submit(browser, browser.get("/password").text, "/password", old=old, new=new, again=new)


def policy(town: World, **values: object) -> None:
    """Other settings of signing in."""
    signin = town.bundle.settings.signin.model_copy(update=values)
    settings = town.bundle.settings.model_copy(update={"signin": signin})
    object.__setattr__(town.bundle, "settings", settings)


def test_a_password_that_was_used_lately_is_not_taken_again(town: World) -> None:
    policy(town, password_history=2)
    browser = client(town)
    assert change(browser, PASSWORD, NEXT).status_code == 303
    again = change(browser, NEXT, PASSWORD)
    assert again.status_code == 422
    assert "最近用过" in again.text
    assert change(browser, NEXT, "Drei-2026-wort").status_code == 303
    assert change(browser, "Drei-2026-wort", PASSWORD).status_code == 303, "only the last two are remembered"


def test_an_old_password_must_be_replaced_before_anything_else(town: World) -> None:
    town.now += timedelta(days=91)
    browser = client(town)
    assert browser.get("/").headers["location"] == "/password"
    assert "90 天" in browser.get("/password").text
    assert change(browser, PASSWORD, NEXT).status_code == 303
    assert browser.get("/").status_code == 200


def test_settings_change_the_policy(town: World) -> None:
    policy(town, password_length=14, failures=3, lock_min=5)
    assert "至少 14 位" in change(client(town), PASSWORD, NEXT).text
    stranger = client(town, None)
    for _ in range(3):
        submit(stranger, stranger.get("/login").text, "/login", login="lin", password="wrong")
    right = submit(stranger, stranger.get("/login").text, "/login", login="lin", password=PASSWORD)
    assert right.status_code == 401
    town.now += timedelta(minutes=6)
    right = submit(stranger, stranger.get("/login").text, "/login", login="lin", password=PASSWORD)
    assert right.status_code == 303


def test_one_session_more_than_allowed_ends_the_oldest(town: World) -> None:
    browsers = []
    for _ in range(4):
        browsers.append(client(town))
        town.now += timedelta(minutes=1)
    assert [browser.get("/rules").status_code for browser in browsers] == [303, 200, 200, 200]


def test_people_see_where_they_are_logged_in_and_end_it(town: World) -> None:
    here, lost = client(town), client(town)
    page = here.get("/account").text
    assert page.count("使其退出</button>") == 1
    address = re.findall(r'action="(/account/sessions/[0-9a-f]+/end)"', page)[0]
    assert submit(here, page, address).status_code == 303
    assert lost.get("/rules").status_code == 303
    assert here.get("/rules").status_code == 200
    assert "sessions_ended" in kinds(town)


def test_nobody_ends_the_sessions_of_somebody_else(town: World) -> None:
    town.account("wang", "leader")
    other, mine = client(town, "wang"), client(town)
    with town.db.reading() as session:
        wang = accounts.get_by_login(session, "wang")
        assert wang is not None
        handle = accounts.list_sessions(session, wang.id, town.now, idle=timedelta(hours=1))[0].handle
    token = hidden(mine.get("/account").text, "/logout")
    mine.post(f"/account/sessions/{handle}/end", data=token)
    mine.post("/account/sessions/others/end", data=token)
    assert other.get("/rules").status_code == 200


def enrol(town: World, browser: httpx.Client, address: str = "/account/codes") -> tuple[str, list[str]]:
    """Set up an authenticator; returns its secret and the recovery codes."""
    page = browser.get(address).text
    secret = re.findall(r'<b class="mono">([A-Z2-7 ]+)</b>', page)[0].replace(" ", "")
    code = pyotp.TOTP(secret).at(town.now)
    done = submit(browser, page, address, code=code)
    assert done.status_code == 200, done.text
    return secret, re.findall(r"<li>([a-z2-9]{5}-[a-z2-9]{5})</li>", done.text)


def log_in(town: World, code: str | None = None) -> tuple[httpx.Client, httpx.Response]:
    browser = client(town, None)
    answer = submit(browser, browser.get("/login").text, "/login", login="lin", password=PASSWORD)
    if code is not None:
        answer = submit(browser, browser.get("/login/code").text, "/login/code", code=code)
    return browser, answer


def test_a_second_factor_is_asked_for_and_each_code_is_taken_once(town: World) -> None:
    secret, _ = enrol(town, client(town))
    browser, answer = log_in(town)
    assert answer.headers["location"] == "/login/code"
    for path in ("/", "/password", "/account", "/api/incidents", "/desk/live"):
        assert browser.get(path).status_code in (303, 401), f"{path} with the password alone"
    town.now += timedelta(seconds=60)
    code = pyotp.TOTP(secret).at(town.now)
    browser, answer = log_in(town, code)
    assert answer.status_code == 303
    assert browser.get("/").status_code == 200
    _, again = log_in(town, code)
    assert again.status_code == 401, "used before"
    _, wrong = log_in(town, "000000")
    assert wrong.status_code == 401


def test_wrong_codes_lock_like_wrong_passwords(town: World) -> None:
    secret, _ = enrol(town, client(town))
    town.now += timedelta(minutes=1)
    browser, _ = log_in(town)
    for _ in range(5):
        submit(browser, browser.get("/login/code").text, "/login/code", code="123")
    code = pyotp.TOTP(secret).at(town.now)
    assert submit(browser, browser.get("/login/code").text, "/login/code", code=code).status_code == 401
    assert log_in(town)[1].status_code == 401


def test_a_recovery_code_works_once(town: World) -> None:
    _, codes = enrol(town, client(town))
    assert len(codes) == 10
    assert log_in(town, codes[0].upper())[1].status_code == 303
    assert log_in(town, codes[0])[1].status_code == 401
    assert "recovery_used" in kinds(town)


def test_a_role_that_must_have_codes_sets_them_up_before_anything_else(town: World) -> None:
    policy(town, totp_roles=("duty",))
    browser, answer = log_in(town)
    assert answer.headers["location"] == "/login/enrol"
    assert browser.get("/").status_code == 303
    enrol(town, browser, "/login/enrol")
    assert browser.get("/").status_code == 200


def test_the_secret_lies_sealed_and_only_for_its_account(town: World) -> None:
    secret, codes = enrol(town, client(town))
    with town.db.reading() as session:
        row = session.query(Account).filter_by(login="lin").one()
        sealed, stored = row.totp_sealed, f"{row.totp_sealed}{row.password_hash}"
    assert secret not in stored
    assert codes[0] not in stored
    assert totp.unseal(KEYS.sessions, sealed, "lin") == secret
    with pytest.raises(ValueError, match="cannot be read"):
        totp.unseal(KEYS.sessions, sealed, "wang")


def test_administrators_switch_off_change_and_reset_others_and_never_themselves(town: World) -> None:
    town.account("admin", "administrator", name="管理员")
    enrol(town, client(town))
    lin, admin = client(town, None), client(town, "admin")
    token = hidden(admin.get("/accounts").text, "/logout")
    assert admin.post("/accounts/lin/factor", data=token).status_code == 303
    lin = client(town)
    assert lin.get("/").status_code == 200, "no code any more"
    assert admin.post("/accounts/lin/role", data={**token, "role": "analyst"}).status_code == 303
    assert lin.get("/").status_code == 303, "a new role ends the sessions"
    assert admin.post("/accounts/lin/role", data={**token, "role": "department"}).status_code == 422
    lin = client(town)
    assert admin.post("/accounts/lin/disable", data={**token, "off": "1"}).status_code == 303
    assert lin.get("/").status_code == 303
    assert log_in(town)[1].status_code == 401
    assert admin.post("/accounts/lin/disable", data={**token, "off": "0"}).status_code == 303
    assert log_in(town)[1].status_code == 303
    for act in ("role", "disable", "factor"):
        mine = admin.post(f"/accounts/admin/{act}", data={**token, "role": "leader", "off": "1"})
        assert mine.status_code == 403, act
    assert {"account_changed", "account_disabled", "account_enabled", "second_factor_off"} <= set(kinds(town))
