"""The push endpoint: signed rows go in once, anybody else stays out, and no garbage is more than a sentence."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import logging
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from config.files import read_yaml
from config.settings import ConfigError
from config.sources import PushSource, load_sources
from console.views.intake import allowed
from incidents import stops
from incidents.models import Post
from incidents.posts import list_quarantine, unjudged
from incidents.session import Database
from spiders.intake import job
from spiders.intake.push import signature
from tests.console_world import KEYS, World, client, world

SECRET = "a-secret-that-only-tests-know-0123456789"
NOTES: dict[str, Any] = {
    "legal_basis": "法定职责",
    "impact_note": "本单位数据",
    "owner_unit": "市热线办",
}
ROW = {"工单编号": "GD1", "来电时间": "2026-11-24 09:00", "诉求内容": "停水两天，电话13812345678", "姓名": "张三", "联系电话": "13812345678"}  # fmt: skip
PATH = "/api/intake/hotline"


class Line:
    """A hotline that sends to a console, both at times that a test moves."""

    def __init__(self, db: Database, tmp_path: Path, **fields: Any) -> None:
        values: dict[str, Any] = {
            "secret": "${PUSH_SECRET}",
            "way": "hotline",
            "name": "12345推送",
            "enabled": True,
        }
        self.source = PushSource(id="hotline", kind="push", **(NOTES | values | fields))
        self.town: World = world(db, tmp_path)
        self.town.bundle = replace(self.town.bundle, sources=(self.source,))
        self.db = db
        self.browser = client(self.town, None)

    @property
    def stamp(self) -> str:
        return str(int(self.town.now.timestamp()))

    def send(
        self,
        body: Any,
        *,
        kind: str = "application/json",
        stamp: str | None = None,
        secret: str = SECRET,
        path: str = PATH,
        **headers: str,
    ) -> httpx.Response:
        raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        when = self.stamp if stamp is None else stamp
        signed = {"X-Quansheng-Timestamp": when, "X-Quansheng-Signature": signature(secret, when, raw)}
        return self.browser.post(path, content=raw, headers={"Content-Type": kind, **signed, **headers})

    def look(self) -> Any:
        summary = job.run(
            self.db, self.town.bundle, KEYS, self.town.now, due=False, env={"PUSH_SECRET": SECRET}
        )
        return summary.sources[0]

    def texts(self) -> list[str]:
        with self.db.reading() as session:
            return [row.text for row in unjudged(session, 10_000)]


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSH_SECRET", SECRET)


@pytest.fixture
def line(db: Database, tmp_path: Path) -> Line:
    return Line(db, tmp_path)


def test_signed_rows_go_in_and_the_answer_counts_them(
    any_db: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    line = Line(any_db, tmp_path)
    rows = [
        ROW,
        {**ROW, "工单编号": "GD2", "诉求内容": "停电"},
        {**ROW, "工单编号": "GD3", "来电时间": "改日"},
        7,
    ]
    with caplog.at_level(logging.INFO):
        answer = line.send(rows)
    assert answer.status_code == 202
    assert answer.json() == {
        "received": 4,
        "taken": 2,
        "known": 0,
        "set_aside": 2,
        "errors": [
            {
                "row": 3,
                "field": "来电时间",
                "reason": "'改日' is no time that can be read; expected for example 2026-11-20 09:30",
            },
            {"row": 4, "field": "", "reason": "expected an object { ... }"},
        ],
    }
    assert line.texts() == ["停水两天，电话[手机号]", "停电"]
    assert "4 rows, 2 new, 0 known, 2 set aside" in caplog.text
    with any_db.reading() as session:
        kept = repr(unjudged(session, 10)) + repr(list_quarantine(session)) + caplog.text + answer.text
    assert not any(word in kept for word in ("13812345678", "张三"))
    assert "停水" not in caplog.text, "counts only"
    seen = line.look()
    assert (seen.state, seen.new_posts) == ("ok", 2)
    assert "in 1 requests" in seen.evidence
    assert line.look().new_posts == 0, "a push is counted once"


@pytest.mark.parametrize(
    ("kind", "body", "taken"),
    [
        ("application/json", json.dumps(ROW).encode(), 1),
        ("application/json; charset=utf-8", json.dumps({"code": 0, "data": [ROW]}).encode(), 1),
        ("application/json", json.dumps({**ROW, "tags": ["a"]}).encode(), 1),
        (
            "application/x-ndjson",
            (json.dumps(ROW) + "\n\n" + json.dumps({**ROW, "工单编号": "GD2"})).encode(),
            2,
        ),
        ("text/csv; charset=gb18030", "工单编号,诉求内容\nGD1,停水\nGD2,停电\n".encode("gb18030"), 2),
        ("text/csv", "工单编号,诉求内容\nGD1,停水\n".encode("gb18030"), 1),
        ("text/csv", "\ufeff工单编号,诉求内容\nGD1,停水\n".encode(), 1),
        ("application/json", b"[]", 0),
    ],
)
def test_bodies_of_each_form(line: Line, kind: str, body: bytes, taken: int) -> None:
    answer = line.send(body, kind=kind)
    assert (answer.status_code, answer.json().get("taken")) == (202, taken), answer.text
    assert answer.json()["set_aside"] == 0


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/json", b"", 400),
        ("application/json", b"{", 400),
        ("application/json", b"[" * 100_000, 400),
        ("application/json", b'"text"', 202),
        ("application/json", b"null", 202),
        ("application/json", b'{"a": 1e999, "b": NaN}', 202),
        ("application/json", b'[{"\xe8\xaf\x89\xe6\xb1\x82\xe5\x86\x85\xe5\xae\xb9": {"a": [1]}}]', 202),
        ("application/json", b'[{"text": "\\ud800 \\u0000"}]', 202),
        ("application/json", b"1" * 5000, 400),
        ("application/json", b"\xff\xff\xff", 400),
        ("application/json; charset=nonsense", b"{}", 400),
        ("application/x-ndjson", b"{\n]\n7\n", 202),
        ("text/csv", b"a,b\n1,2\n", 400),
        ("text/csv", b'id,text\n1,"open', 202),
        ("text/csv", b"\0\0\0", 400),
        ("application/xml", b"<a/>", 415),
        ("", b"{}", 415),
        ("application/json", b'[{"text":"a"}]' + b" " * 6_000_000, 413),
    ],
)
def test_garbage_is_a_sentence(line: Line, kind: str, body: bytes, status: int) -> None:
    answer = line.send(body, kind=kind)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    if status == 202:
        assert answer.json()["received"] == answer.json()["taken"] + answer.json()["set_aside"]
    else:
        assert answer.json()["detail"]


def test_a_body_of_unknown_length_is_cut_off(line: Line) -> None:
    sent: list[int] = []

    async def endless() -> AsyncIterator[bytes]:
        for number in range(200):
            sent.append(number)
            yield b" " * 100_000

    async def post() -> httpx.Response:
        transport = httpx.ASGITransport(line.town.app())
        async with httpx.AsyncClient(transport=transport, base_url="http://console.test") as browser:
            return await browser.post(PATH, content=endless(), headers={"Content-Type": "application/json"})

    assert asyncio.run(post()).status_code == 413
    assert len(sent) < 60, "it is not read to its end"


def test_too_many_rows(db: Database, tmp_path: Path) -> None:
    line = Line(db, tmp_path, max_rows=2)
    assert line.send([ROW] * 3).status_code == 413
    assert line.texts() == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "another-secret-of-thirty-two-characters"},
        {"stamp": ""},
        {"stamp": "yesterday"},
        {"stamp": "١٧٣٢"},
        {"stamp": "9" * 30},
        {"X-Quansheng-Signature": ""},
        {"X-Quansheng-Signature": "sha256=é"},
        {"X-Quansheng-Timestamp": "1"},
    ],
)
def test_nobody_else_may_write(line: Line, wrong: dict[str, Any]) -> None:
    headers = {name: value.encode("utf-8") for name, value in wrong.items() if name.startswith("X-")}
    named = {name: value for name, value in wrong.items() if not name.startswith("X-")}
    if "stamp" in named and not named["stamp"].isascii():
        named = {}
        headers = {"X-Quansheng-Timestamp": "١٧٣٢".encode()}
    answer = line.send([ROW], **named, **headers)
    assert answer.status_code == 401, answer.text
    assert line.texts() == []


def test_a_body_changed_on_its_way_is_refused(line: Line) -> None:
    raw = json.dumps([ROW]).encode()
    headers = {
        "X-Quansheng-Timestamp": line.stamp,
        "X-Quansheng-Signature": signature(SECRET, line.stamp, raw),
        "Content-Type": "application/json",
    }
    assert line.browser.post(PATH, content=raw + b" ", headers=headers).status_code == 401


def test_old_and_future_requests_are_refused_and_the_answer_tells_our_time(line: Line) -> None:
    for apart in (-301, 301):
        answer = line.send([ROW], stamp=str(int(line.town.now.timestamp()) + apart))
        assert answer.status_code == 401
        assert answer.json()["now"] == int(line.town.now.timestamp())
    assert line.send([ROW], stamp=str(int(line.town.now.timestamp()) - 299)).status_code == 202


def test_a_replayed_request_is_refused_also_by_another_console(any_db: Database, tmp_path: Path) -> None:
    line = Line(any_db, tmp_path)
    stamp = line.stamp
    assert line.send([ROW], stamp=stamp).status_code == 202
    line.browser = client(line.town, None)  # a second console on the same database
    again = line.send([ROW], stamp=stamp)
    assert again.status_code == 409
    assert (again.json()["taken"], again.json()["received"]) == (1, 1)
    line.look()
    line.town.now += timedelta(seconds=200)
    assert line.send([ROW], stamp=stamp).status_code == 409
    line.town.now += timedelta(days=3)
    line.look()  # old receipts go; the timestamp alone refuses now
    assert line.send([ROW], stamp=stamp).status_code == 401


def test_the_same_rows_signed_anew_are_known(line: Line) -> None:
    bad = {**ROW, "工单编号": "GD9", "来电时间": "改日"}
    assert line.send([ROW, bad]).json()["taken"] == 1
    line.town.now += timedelta(seconds=5)
    answer = line.send([ROW, bad]).json()
    assert (answer["taken"], answer["known"], answer["set_aside"]) == (0, 1, 1)
    assert len(line.texts()) == 1
    with line.db.reading() as session:
        assert len(list_quarantine(session)) == 1, "set aside once"


def test_an_order_with_another_text_is_set_aside_and_not_lost(line: Line) -> None:
    line.send([ROW])
    line.town.now += timedelta(seconds=5)
    answer = line.send([{**ROW, "诉求内容": "完全不同的事"}]).json()
    assert answer["set_aside"] == 1
    assert "another text is known already" in answer["errors"][0]["reason"]


def test_both_secrets_work_while_the_other_side_changes_over(
    db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = Line(db, tmp_path, old_secret="${OLD}")
    monkeypatch.setenv("OLD", "the-secret-before-it-0123456789-0123456789")
    assert line.send([ROW], secret="the-secret-before-it-0123456789-0123456789").status_code == 202
    assert line.send([ROW]).status_code in (202, 409)
    assert line.send([ROW, ROW], secret="another-secret-of-thirty-two-characters").status_code == 401


@pytest.mark.parametrize("value", [None, "short"])
def test_an_endpoint_without_a_usable_secret_takes_nothing_and_says_so(
    line: Line, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("PUSH_SECRET")
    if value:
        monkeypatch.setenv("PUSH_SECRET", value)
    assert line.send([ROW], secret="short").status_code == 503
    summary = job.run(line.db, line.town.bundle, KEYS, line.town.now, env={"PUSH_SECRET": value or ""})
    assert summary.sources[0].state == "error"
    assert "PUSH_SECRET" in summary.sources[0].evidence


def test_signed_requests_have_a_limit_and_strangers_cannot_use_it_up(db: Database, tmp_path: Path) -> None:
    line = Line(db, tmp_path, per_minute=3)
    for _ in range(40):
        line.send([ROW], secret="another-secret-of-thirty-two-characters")
    stopped = line.send([ROW], secret="another-secret-of-thirty-two-characters")
    assert (stopped.status_code, stopped.headers["retry-after"]) == (429, "60")
    line.town.now += timedelta(minutes=2)
    for number in range(3):
        assert line.send([{**ROW, "工单编号": f"GD{number}"}]).status_code == 202
    over = line.send([{**ROW, "工单编号": "GD7"}])
    assert (over.status_code, over.headers["retry-after"]) == (429, "60")
    line.town.now += timedelta(minutes=1)
    assert line.send([{**ROW, "工单编号": "GD7"}]).status_code == 202


def test_only_named_addresses_may_send(db: Database, tmp_path: Path) -> None:
    line = Line(db, tmp_path, allow_from=("10.1.2.0/24",))
    assert line.send([ROW]).status_code == 403
    open_ = Line(db, tmp_path, allow_from=("127.0.0.0/8",))
    assert open_.send([ROW]).status_code == 202
    assert allowed("::ffff:10.1.2.3", ["10.1.2.0/24"])
    assert not allowed("::ffff:10.1.3.3", ["10.1.2.0/24"])
    assert not allowed("", ["10.1.2.0/24"])
    with pytest.raises(ValueError, match="no address or network"):
        Line(db, tmp_path, allow_from=("10.1.2.3/24",))


def test_only_an_enabled_push_source_answers(db: Database, tmp_path: Path) -> None:
    line = Line(db, tmp_path, enabled=False)
    for path in (PATH, "/api/intake/nobody", "/api/intake/%00"):
        answer = line.send([ROW], path=path)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")
    assert line.browser.get(PATH).status_code == 405


def test_refused_requests_stand_in_the_state_of_the_source(line: Line) -> None:
    assert line.look().state == "unchanged"
    line.send([ROW], secret="another-secret-of-thirty-two-characters")
    line.town.now += timedelta(minutes=10)
    seen = line.look()
    assert seen.state == "error"
    assert "1 requests were refused, the last one because the signature is wrong" in seen.evidence
    line.send([ROW])
    line.town.now += timedelta(minutes=10)
    assert line.look().state == "ok"


def test_a_full_database_is_503_and_the_rows_may_come_again(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    from incidents.trouble import DatabaseTrouble
    from spiders.intake import reading

    def full(*given: Any) -> Any:
        raise DatabaseTrouble("the disk is full")

    monkeypatch.setattr(reading, "save_found", full)
    answer = line.send([ROW])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "60")
    monkeypatch.undo()
    monkeypatch.setenv("PUSH_SECRET", SECRET)
    assert line.send([ROW]).status_code == 202, "what was not stored is no replay"


def test_other_posts_to_the_console_still_need_their_form(line: Line) -> None:
    line.town.account()
    answer = line.browser.post("/login", content=b"login=lin&password=x", headers={"Content-Type": "application/x-www-form-urlencoded", "Sec-Fetch-Site": "cross-site"})  # fmt: skip
    assert answer.status_code >= 400


# --- what the documentation shows, word for word

DOC = (Path(__file__).parent.parent / "docs" / "adding-a-source.md").read_text("utf-8")


def example(language: str, word: str) -> str:
    found = [text for text in re.findall(rf"```{language}\n(.*?)```", DOC, re.DOTALL) if word in text]
    assert len(found) == 1
    return str(found[0])


def test_the_python_example_signs_as_we_check(line: Line) -> None:
    sent: list[tuple[bytes, dict[str, str]]] = []

    class Sent:
        status = 202

        def __enter__(self) -> Sent:
            return self

        def __exit__(self, *given: object) -> None:
            return None

        def read(self) -> bytes:
            return b"{}"

    def urlopen(request: Any, timeout: float) -> Sent:
        sent.append((request.data, dict(request.headers)))
        return Sent()

    code = example("python", "X-Quansheng-Signature")
    code = code.replace("time.time()", repr(line.town.now.timestamp()))
    space: dict[str, Any] = {}
    import os
    import urllib.request

    old, urllib.request.urlopen = urllib.request.urlopen, urlopen  # type: ignore[assignment]
    os.environ["QUANSHENG_PUSH_SECRET"] = SECRET
    try:
        exec(compile(code, "example", "exec"), space)  # the example of our own documentation
    finally:
        urllib.request.urlopen = old
        del os.environ["QUANSHENG_PUSH_SECRET"]
    assert sent
    body, headers = sent[0]
    answer = line.browser.post(PATH, content=body, headers=headers)
    assert answer.status_code == 202, answer.text
    assert answer.json()["taken"] >= 1, answer.text


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the shell example needs openssl")
def test_the_shell_example_signs_as_we_check(line: Line, tmp_path: Path) -> None:
    code = example("sh", "openssl dgst")
    code = code.replace("$(date +%s)", line.stamp)
    (tmp_path / "orders.json").write_text(json.dumps([ROW], ensure_ascii=False))
    fake = tmp_path / "curl"
    fake.write_text('#!/bin/sh\nfor one in "$@"; do echo "$one"; done > sent\n')
    fake.chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", code],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "SECRET": SECRET},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    words = (tmp_path / "sent").read_text()
    given = re.search(r"X-Quansheng-Signature: (sha256=[0-9a-f]{64})", words)
    assert given, words
    raw = (tmp_path / "orders.json").read_bytes()
    assert given.group(1) == signature(SECRET, line.stamp, raw)
    headers = dict(re.findall(r"^([A-Za-z-]+): (.*)$", words, re.MULTILINE))
    assert line.browser.post(PATH, content=raw, headers=headers).status_code == 202


def test_the_signature_is_what_any_language_makes_of_it() -> None:
    body = b'[{"id": "1"}]'
    plain = hmac.new(b"k" * 32, b"1764000000." + body, hashlib.sha256).hexdigest()
    assert signature("k" * 32, "1764000000", body) == f"sha256={plain}"


def test_the_definition_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "sources.yaml"
    path.write_text(
        "sources:\n- {id: p, kind: push, name: p, way: hotline, secret: plain, url: 'http://a.example', "
        "legal_basis: a, impact_note: b, owner_unit: c}\n- {id: q, kind: push, name: q, secret: '${Q}', legal_basis: a, impact_note: b, owner_unit: c}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_sources(path)
    told = "\n".join(caught.value.problems)
    for words in ("has no address", "write ${NAME} here", "way"):
        assert words in told, told
    assert read_yaml(path).data


def test_a_halted_endpoint_takes_nothing_until_a_person_lifts_it(line: Line) -> None:
    act: dict[str, Any] = {"reason": "站点来电", "actor": "lin", "channel": "console", "now": line.town.now}
    with line.db.transaction() as session:
        stops.make(session, "halt", "all", "", **act)
    answer = line.send(ROW)
    assert answer.status_code == 503
    assert "halted by lin" in answer.json()["detail"]
    assert line.look().state == "halted"
    assert line.texts() == []
    with line.db.transaction() as session:
        stops.lift(session, "halt", "all", "", **act)
    assert line.send(ROW).status_code == 202
    assert len(line.texts()) == 1


def test_a_source_that_objected_is_told_so_for_good(line: Line) -> None:
    act: dict[str, Any] = {"reason": "来函", "actor": "lin", "channel": "console", "now": line.town.now}
    with line.db.transaction() as session:
        stops.make(session, "objection", "source", "hotline", **act)
    assert line.send(ROW).status_code == 403
    assert line.look().state == "objected"
    assert line.texts() == []


def test_a_line_separator_inside_a_text_cuts_no_row(line: Line) -> None:
    rows = [ROW | {"工单编号": f"GD{n}", "诉求内容": f"停水\u2028第{n}天\x85"} for n in range(2)]
    body = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    answer = line.send(body, kind="application/x-ndjson")
    assert (answer.status_code, answer.json()["taken"], answer.json()["set_aside"]) == (202, 2, 0)


def test_a_row_cannot_choose_the_digest_that_it_is_kept_under(line: Line) -> None:
    assert line.send([ROW | {"received digest": "sha256:" + "0" * 64}]).status_code == 202
    with line.db.reading() as session:
        (digest,) = session.scalars(select(Post.received))
    assert digest
    assert "0" * 64 not in digest
    assert line.send([ROW | {"工单编号": "", "诉求内容": "", "received digest": "forged"}]).status_code == 202
    with line.db.reading() as session:
        assert "forged" not in str([row.payload for row in list_quarantine(session)])
