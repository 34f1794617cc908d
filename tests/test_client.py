"""quansheng.client: pages, frames, errors by kind, patience; and the notebook, run as a person would."""

from __future__ import annotations

import ast
import json
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from incidents import snapshot
from incidents.session import Database
from quansheng.client import (
    Client,
    Failed,
    Invalid,
    NotAllowed,
    NotFound,
    NotReached,
    NotSignedIn,
    QuanshengError,
    TooMany,
)
from tests.console_city import served
from tests.console_world import NOW, World, _InProcess, jinan, world
from tests.test_api import token

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "client"


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(db, tmp_path, api=jinan().settings.api.model_copy(update={"sql": True}))
    made.account("wen", "analyst")
    made.incident("学校食堂问题", ["食堂停水", "食堂又来了", "学校食堂，再查"], copies=1)
    made.sources()
    made.run()
    return made


@pytest.fixture
def city(town: World) -> Iterator[Client]:
    with Client("http://console.test", token(town), transport=_InProcess(town.app())) as made:
        yield made


def test_lists_fetch_their_pages_and_become_frames(city: Client) -> None:
    rows = city._list("posts", page=1, q="食堂")
    assert len(list(rows)) == 4 == city.count("食堂")
    frame = city.posts("食堂").frame()
    assert list(frame["id"]) == [row["id"] for row in rows]
    assert str(frame["published_at"].dtype).startswith("datetime64[")
    assert "UTC" in str(frame["published_at"].dtype)
    assert len(city.posts("食堂").frame(limit=2)) == 2
    assert city.posts("没有这样的话").frame().empty
    number = city.incidents().first(1)[0]["number"]
    assert city.incident(number)["why"]["expected"] == 1.3
    assert next(iter(city.events(number)))["kind"] == "detected"
    assert city.clocks(number).frame()["due_at"].iloc[0].tzinfo is not None
    assert len(list(city.posts_of(number))) == 4
    assert list(city.incidents(state=["closed"])) == []
    assert city.me()["login"] == "wen"
    assert {"sources", "departments", "rules"} <= set(dir(city))
    assert len(city.rules()) > 5 < len(city.departments())
    assert list(city.reports()) == []


def test_times_go_with_their_zone(city: Client) -> None:
    assert city.count("食堂", until=datetime(2026, 11, 1, tzinfo=UTC)) == 0
    assert city.count("食堂", since="2026-11-01T00:00:00+08:00") == 4
    with pytest.raises(QuanshengError, match="a time without a zone"):
        city.count(since=datetime(2026, 11, 1))  # noqa: DTZ001 (this is the mistake)


def test_sql_becomes_a_frame(town: World, city: Client) -> None:
    with town.db.reading() as session:
        snapshot.write(session, town.bundle, town.bundle.settings.data_path / snapshot.NAME, NOW)
    answer = city.sql("SELECT tone, count(*) AS posts FROM post GROUP BY tone ORDER BY tone")
    assert [row["posts"] for row in answer] == list(answer.frame()["posts"])
    assert sum(row["posts"] for row in answer) == 4
    assert not answer.more
    assert {table["name"] for table in city.sql_schema()["tables"]} == set(snapshot.SCHEMA)
    with pytest.raises(Invalid, match=r"body\.sql"):
        city.sql("DROP TABLE post")


def test_what_goes_wrong_has_a_kind(town: World, city: Client) -> None:
    with pytest.raises(Invalid) as wrong:
        city.count("食堂 (历下区")
    assert wrong.value.position == 3
    assert wrong.value.errors[0]["at"] == "query.q"
    with pytest.raises(NotFound):
        city.incident("QS-2026-999999/../me")
    app = town.app()
    with (
        Client("http://console.test", "qst_wrong", transport=_InProcess(app)) as stranger,
        pytest.raises(NotSignedIn),
    ):
        stranger.me()
    narrow = token(town, "read:sources")
    with (
        Client("http://console.test", narrow, transport=_InProcess(app)) as script,
        pytest.raises(NotAllowed),
    ):
        script.count()
    with (
        Client("http://127.0.0.1:9", "x", timeout_s=2) as nobody,
        pytest.raises(NotReached, match=r"127\.0\.0\.1:9"),
    ):
        nobody.me()


def test_what_has_not_changed_is_not_sent_again(city: Client) -> None:
    sent: list[int] = []
    city._http.event_hooks["response"] = [lambda answer: sent.append(answer.status_code)]
    assert city.rules() == city.rules()
    assert sent == [200, 304]


def answering(*answers: httpx.Response) -> tuple[Client, list[float]]:
    waits: list[float] = []
    left = list(answers)
    transport = httpx.MockTransport(lambda _request: left.pop(0))
    return Client("http://x.test", "t", transport=transport, patience_s=30, sleep=waits.append), waits


def test_too_many_requests_are_waited_out_once() -> None:
    slow = httpx.Response(429, headers={"Retry-After": "7"}, json={"detail": "slower"})
    city, waits = answering(slow, httpx.Response(200, json={"total": 3}))
    assert city.count() == 3
    assert waits == [7.0]
    city, waits = answering(slow, slow)
    with pytest.raises(TooMany, match="slower"):
        city.count()
    city, waits = answering(httpx.Response(429, headers={"Retry-After": "600"}, json={"detail": "later"}))
    with pytest.raises(TooMany):
        city.count()
    assert waits == []


def test_an_answer_that_is_no_json_is_still_told() -> None:
    city, _ = answering(httpx.Response(502, text="<html>proxy</html>"))
    with pytest.raises(Failed, match="502"):
        city.count()


def test_the_environment_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QUANSHENG_TOKEN", raising=False)
    monkeypatch.setenv("QUANSHENG_URL", "http://x.test")
    with pytest.raises(QuanshengError, match="set QUANSHENG_TOKEN"):
        Client.from_environment()


def test_the_notebook_runs_against_an_installation(town: World, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = json.loads((PACKAGE / "examples" / "weekly.ipynb").read_text("utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in cells), (
        "no outputs are kept"
    )
    names: dict[str, Any] = {}
    with served(town) as address:
        monkeypatch.setenv("QUANSHENG_URL", address)
        monkeypatch.setenv("QUANSHENG_TOKEN", token(town, "read:incidents", "read:posts", "read:sources"))
        for cell in cells:
            exec(compile("".join(cell["source"]), "weekly.ipynb", "exec"), names)  # the notebook itself
    assert names["days"]["posts"].sum() == 4
    assert next(iter(names["clocks"]["hours"])) == 48.0
    assert "blocked" in set(names["sources"]["state"])
    assert names["tones"].empty


def test_the_package_needs_httpx_only_and_nothing_of_the_application() -> None:
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    assert [name.split(">")[0] for name in project["dependencies"]] == ["httpx"]
    imported = set()
    for file in (PACKAGE / "quansheng").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    ours = {path.stem for path in ROOT.glob("*.py")} | {
        path.parent.name for path in ROOT.glob("*/__init__.py")
    }
    assert not imported & ours
    assert imported & {"httpx", "pandas"} == {"httpx", "pandas"}
