"""Every address of the console takes garbage where it expects a number or a name, and answers with a page, never with a failure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi.routing import APIRoute

from incidents.session import Database
from tests.console_world import World, client, world

#: longer than any number a database takes, beside it, below it, no number, a way out of the folder
GARBAGE = ("9" * 30, str(2**63), "-1", "0", "x", "２", "..", "%00", "a" * 500)
#: ends the session, which would leave the rest of the addresses unasked
_LEFT_OUT = {"/logout", "/desk/events"}


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(db, tmp_path)
    made.account()
    made.account("du", "supervisor")
    made.account("root", "administrator")
    made.account("clerk", "department", "education")
    made.incident("实验小学食堂", ["饭菜变质", "孩子肚子疼"])
    return made


def addresses(town: World) -> list[tuple[str, str]]:
    """Method and address of every route of the pages and of the API, parameters still in braces."""
    pending, found = list(town.app().routes), set()
    while pending:
        route = pending.pop()
        if isinstance(route, APIRoute):
            found |= {(method, route.path) for method in route.methods or () if method in ("GET", "POST")}
        elif inner := getattr(route, "original_router", None):  # FastAPI keeps what was included as it was
            pending += inner.routes
    found = {(method, path) for method, path in found if path not in _LEFT_OUT}
    return sorted(found)


@pytest.mark.parametrize("login", ["lin", "du", "root", "clerk"])
def test_garbage_in_an_address_is_no_failure(town: World, login: str) -> None:
    browser = client(town, login)
    token = re.search(r'name="csrf" value="([^"]+)"', browser.get("/account").text)
    assert token is not None
    asked = 0
    for method, path in addresses(town):
        for garbage in GARBAGE if "{" in path else ("",):
            address = re.sub(r"\{[^}]*\}", garbage, path)
            if method == "GET":
                answer = browser.get(address)
            elif "{" in path:
                answer = browser.post(
                    address, data={"csrf": token[1]}, headers={"Origin": "http://console.test"}
                )
            else:
                continue  # a form without a parameter would be sent as it is meant
            asked += 1
            assert answer.status_code < 500, (method, address, answer.text[:300])
    assert asked > 500
