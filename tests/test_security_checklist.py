"""docs/security-checklist.md names tests that exist; here are those that have no better home."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from config.settings import CasSettings
from console.passwords import hash_password
from console.security import CSP
from console.services import Errand, NotKnown
from console.services.cas import Cas
from incidents.session import Database
from tests.console_world import PASSWORD, World, client, submit, world

ROOT = Path(__file__).parent.parent


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(db, tmp_path)
    made.account()
    return made


def test_every_test_of_the_checklist_is_there() -> None:
    text = (ROOT / "docs" / "security-checklist.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/\w+\.py)::(test_\w+)`", text)
    lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith("| ASVS")]
    assert len(named) == len(lines) > 40
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not (ROOT / file).exists() or f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]
    assert missing == []


def test_passwords_are_hashed_with_the_cost_that_owasp_names() -> None:
    found = re.match(r"\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$", hash_password("Abcdef-123"))
    assert found
    memory, passes, lanes = map(int, found.groups())
    assert memory >= 19 * 1024
    assert passes >= 2
    assert lanes == 1


def test_a_cookie_from_before_log_in_is_never_taken_over(town: World) -> None:
    browser = client(town, None)
    browser.cookies.set("qs_session", "chosen-by-the-attacker")
    submit(browser, browser.get("/login").text, "/login", login="lin", password=PASSWORD)
    first = [one.value for one in browser.cookies.jar if one.name == "qs_session"][-1]
    assert first != "chosen-by-the-attacker"
    thief = client(town, None)
    thief.cookies.set("qs_session", "chosen-by-the-attacker")
    assert thief.get("/").status_code == 303


def test_every_cookie_is_closed_to_scripts_other_sites_and_the_clear(db: Database, tmp_path: Path) -> None:
    town = world(db, tmp_path)
    town.account()
    settings = town.bundle.settings
    alerts = settings.alerts.model_copy(update={"link_base": "https://quansheng.example"})
    object.__setattr__(town.bundle, "settings", settings.model_copy(update={"alerts": alerts}))
    browser = client(town, None)
    shown = browser.get("/login?lang=zh")
    answer = browser.post(
        "/login",
        data={
            "csrf": re.findall(r'name="csrf" value="([^"]+)"', shown.text)[0],
            "login": "lin",
            "password": PASSWORD,
        },
        headers={"Cookie": "; ".join(one.split(";")[0] for one in shown.headers.get_list("set-cookie"))},
    )
    cookies = shown.headers.get_list("set-cookie") + answer.headers.get_list("set-cookie")
    kept = [one.lower() for one in cookies if "max-age=0" not in one.lower()]
    assert len(kept) >= 2
    for one in kept:
        assert "httponly" in one, one
        assert "samesite=lax" in one, one
        assert "secure" in one, one
    assert shown.headers["strict-transport-security"].startswith("max-age=")


def test_the_content_policy_has_no_hole(town: World) -> None:
    assert client(town).get("/").headers["content-security-policy"] == CSP
    said = dict(part.strip().split(" ", 1) for part in CSP.split(";"))
    assert said["default-src"] == "'self'"
    assert {said[name] for name in ("object-src", "frame-ancestors", "base-uri")} == {"'none'"}
    assert said["form-action"] == "'self'"
    assert "unsafe" not in CSP
    assert "*" not in CSP
    assert "http" not in CSP


def test_entities_in_a_service_s_xml_are_not_unfolded(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = (
        "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/hostname'>]>"
        "<cas:serviceResponse xmlns:cas='http://www.yale.edu/tp/cas'><cas:authenticationSuccess>"
        "<cas:user>&a;</cas:user></cas:authenticationSuccess></cas:serviceResponse>"
    )

    def get(self: httpx.Client, url: str, **_: object) -> httpx.Response:
        return httpx.Response(200, content=bomb.encode(), request=httpx.Request("GET", url))

    monkeypatch.setattr(httpx.Client, "get", get)
    cas = Cas(CasSettings(url="https://cas.example/cas"))
    with pytest.raises(NotKnown):
        cas.person(Errand("s", "n", "v", "https://x.example/back"), {"ticket": "ST-1"}, 0.0)
