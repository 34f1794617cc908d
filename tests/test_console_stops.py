"""Halts and objections at the console and the command line: who may, what is shown, what is on record."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import cli
from alerts import troubles
from config.bundle import load_bundle
from incidents import beats, events, retention, stops
from incidents.installation import Installation
from incidents.posts import count_unjudged
from incidents.session import Database
from incidents.sources import record_crawl
from spiders import traces
from spiders.redact import pseudonym
from tests.console_world import KEYS, World, client
from tests.fakes.crawl import source

_TOKEN = re.compile(r'name="csrf" value="([^"]+)"')


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    made = World(db, load_bundle(None, config_dir=tmp_path, data_dir=tmp_path))
    made.account("admin", "administrator", name="管理员")
    made.account("lin", "duty", name="林东")
    made.account("clerk", "department", "market-regulation", "赵办")
    return made


def send(world: World, login: str, address: str, fields: dict[str, str]) -> tuple[int, str]:
    browser = client(world, login)
    found = _TOKEN.search(browser.get("/password").text)
    assert found
    answer = browser.post(address, data={"csrf": found[1], **fields}, follow_redirects=False)
    return answer.status_code, answer.text


def kinds(world: World) -> list[tuple[str, str]]:
    with world.db.reading() as session:
        return [
            (event.kind, event.actor)
            for event in events.events_after(session, 0)
            if event.kind in {*stops.MADE.values(), *stops.LIFTED.values()}
        ]


def test_an_administrator_halts_and_every_page_says_so_until_it_is_lifted(world: World) -> None:
    assert send(world, "admin", "/stops/halt", {"what": "all:", "reason": "上级要求停采"})[0] == 303
    for login in ("admin", "lin", "clerk"):
        for address in ("/", "/obligations"):
            page = client(world, login).get(address).text
            assert "停止了采集：全部信源" in page
            assert "上级要求停采" in page
    english = client(world, "lin").get("/sources?lang=en").text
    assert "halted collecting at" in english
    with world.db.reading() as session:
        found, _ = troubles.find(session, world.bundle, world.db.audit_key, world.now)
    assert any(one.key == "halt.all." and "上级要求停采" in one.text for one in found)
    lifted = {"kind": "halt", "scope": "all", "target": "", "reason": "已解除"}
    assert send(world, "admin", "/stops/lift", lifted)[0] == 303
    page = client(world, "lin").get("/stops").text
    assert "停止了采集" not in page
    assert "上级要求停采" in page  # among the lifted ones
    assert kinds(world) == [("crawl_halted", "admin"), ("crawl_resumed", "admin")]


def test_what_else_holds_a_page_is_looked_for_before_the_database_is_locked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with world.db.transaction() as session:
        world.post(session, "停水", world.now, url="http://bbs.example.cn/1")

    def mentions(home: Installation, url: str) -> set[str]:
        with home.db.transaction() as session:  # another writer gets its turn while files are read
            beats.beat(session, f"looked for {url[-1]}", world.now)
        return set()

    monkeypatch.setattr(traces, "mentions", mentions)
    form = {"scope": "page", "target": "http://bbs.example.cn/1", "reason": "来函", "sure": "1"}
    assert send(world, "admin", "/stops/objection", form)[0] == 303
    with world.db.reading() as session:
        assert beats.get_beat(session, "looked for 1") is not None
        assert count_unjudged(session) == 0


def test_a_stopped_source_is_among_the_troubled_and_a_clerk_does_not_read_why_somebody_objected(
    world: World,
) -> None:
    papers = {"legal_basis": "法定职责", "impact_note": "一次一页", "owner_unit": "测试单位"}
    made = [
        source(name, "rss", f"https://{name}.example.cn/f", enabled=name != "aa-off", **papers)
        for name in ("aa-off", "ab-well", "zz-stopped")
    ]
    world.bundle = replace(world.bundle, sources=tuple(made))
    with world.db.transaction() as session:
        for one in made:
            record_crawl(session, one.id, state="ok", evidence="20 entries", now=world.now, next_due_at=None)
        act: dict[str, Any] = {
            "reason": "张先生来函：涉及本人女儿",
            "actor": "admin",
            "channel": "console",
            "now": world.now,
        }
        stops.make(session, "objection", "source", "zz-stopped", **act)
        for name in ("door.slack", "revisits", "hot_titles", "job:intake:zz-stopped"):
            beats.beat(session, name, world.now)
    page = client(world, "lin").get("/sources").text
    assert page.index("zz-stopped · rss") < page.index("ab-well · rss") < page.index("aa-off · rss")
    assert "其中 1 个异常" in page
    assert "zz-stopped · rss" in client(world, "lin").get("/sources?only=bad").text
    assert "ab-well · rss" not in client(world, "lin").get("/sources?only=bad").text
    assert "管理员" in page  # by name, as everywhere
    assert "涉及本人女儿" in page
    for part in ("渠道应答 · ", "回看帖子", "热榜对照", "接收数据 · "):
        assert part in page
    for code in ("door.slack", ">revisits<", ">hot_titles<"):
        assert code not in page
    assert "涉及本人女儿" not in client(world, "clerk").get("/sources").text


def test_only_administrators_may_and_a_reason_is_needed(world: World) -> None:
    for login in ("lin", "clerk"):
        for address in ("/stops/halt", "/stops/objection", "/stops/lift"):
            assert send(world, login, address, {"what": "all:", "reason": "x"})[0] == 403
    assert client(world, "clerk").get("/stops").status_code == 403
    assert client(world, "lin").get("/stops").status_code == 200
    status, page = send(world, "admin", "/stops/halt", {"what": "all:", "reason": " "})
    assert (status, "请填写理由" in page) == (409, True)
    assert send(world, "admin", "/stops/halt", {"what": "planet:earth", "reason": "x"})[0] == 409
    assert kinds(world) == []


def test_an_author_who_objects_is_known_by_the_pseudonym_only(world: World) -> None:
    source = world.bundle.sources[0].id
    author = pseudonym(KEYS.pseudonym, source, "泉城老张")
    with world.db.transaction() as session:
        world.post(session, "停水", world.now, source_id=source, author_key=author)
        world.post(session, "没水", world.now, source_id=source)
    form = {"scope": "author", "target": "泉城老张", "source": source, "reason": "本人来函"}
    assert send(world, "admin", "/stops/objection", form)[0] == 409  # not ticked
    assert send(world, "admin", "/stops/objection", {**form, "sure": "1"})[0] == 303
    with world.db.reading() as session:
        assert count_unjudged(session) == 1
        assert "泉城老张" not in str([event.payload for event in events.events_after(session, 0)])
    page = client(world, "lin").get("/stops").text
    assert "本人来函" in page
    assert "泉城老张" not in page
    assert str(author) not in page


def test_the_page_tells_what_the_last_check_found_and_asks_no_stored_address(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "仍存于库中" not in client(world, "lin").get("/stops").text, "nothing was checked yet"
    with world.db.transaction() as session:
        stop = stops.make(
            session, "objection", "host", "a.cn", reason="r", actor="w", channel="cli", now=world.now
        )
        retention.note_check(session, [(stop, 2)], world.now)
    monkeypatch.setattr(retention, "overlooked", None)  # asking every stored address is not for a page
    page = client(world, "lin").get("/stops").text
    assert "有 2 条帖子在异议生效后仍存于库中" in page
    assert "核查时间" in page
    with world.db.transaction() as session:
        retention.note_check(session, (), world.now)
    assert "仍存于库中" not in client(world, "lin").get("/stops").text


def test_the_page_speaks_english(world: World) -> None:
    page = client(world, "admin").get("/stops?lang=en").text
    body = page.split('<main id="main">')[1]
    body = re.sub(r"<option.*?</option>", "", body)
    assert not re.search("[\u4e00-\u9fff]", body)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    runner = CliRunner()
    assert runner.invoke(cli.app, ["init", str(tmp_path)]).exit_code == 0
    return tmp_path


def run(home: Path, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app, ["--config", str(home), *words])
    return result.exit_code, result.output + (str(result.exception) if result.exception else "")


def test_the_commands_halt_resume_and_enter_objections(home: Path) -> None:
    code, said = run(home, "halt", "--reason", "站点来电")
    assert (code, "collecting of everything was halted" in said) == (0, True)
    papers = "enabled: true, legal_basis: 法定职责, impact_note: 一次一页, owner_unit: 测试单位"
    entry = f"{{id: forum-column, name: 论坛, kind: rss, url: 'https://news.example.cn/f', {papers}}}"
    (home / "sources.yaml").write_text(f"sources:\n  - {entry}\n", "utf-8")
    code, said = run(home, "sources", "--json")
    (told,) = json.loads(said.partition("SystemExit")[0].rsplit("]", 1)[0] + "]")
    assert (code, told["state"]) == (1, "halted")
    assert "站点来电" in told["evidence"]
    code, said = run(home, "doctor", "--json")
    assert "站点来电" in said
    code, said = run(home, "halt", "forum-column")
    assert code != 0
    assert "reason is needed" in said
    assert "neither a source" in run(home, "halt", "nonsense", "--reason", "x")[1]
    assert run(home, "resume", "--reason", "好了")[0] == 0
    assert "no halt of all is in force" in run(home, "resume", "--reason", "好了")[1]
    assert "--author needs --source" in run(home, "objections", "add", "--author", "张", "--reason", "x")[1]
    code, said = run(home, "objections", "add", "--host", "bbs.example.cn", "--reason", "来函")
    assert (code, "0 posts" in said) == (0, True)
    assert "bbs.example.cn" in run(home, "objections", "list", "--json")[1]
    assert run(home, "objections", "check")[0] == 0
    assert run(home, "objections", "withdraw", "--host", "bbs.example.cn", "--reason", "误登")[0] == 0
