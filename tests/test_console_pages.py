"""All pages: safe headers, nothing from outside, no inline script or style, both languages complete, human errors."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from babel.messages.extract import extract

from config.i18n import catalogue
from console import words
from console.render import STATIC
from incidents import outbox
from incidents.session import Database
from incidents.states import FALSE_ALARM_REASONS, LEVELS, Restrict, State
from tests.console_world import World, client, hidden, world

CONSOLE = STATIC.parent
PAGES = (
    "/",
    "/search",
    "/search?kind=incidents",
    "/sources",
    "/messages",
    "/rules",
    "/reports",
    "/password",
    "/tokens",
    "/api/docs",
)


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(db, tmp_path)
    made.account()
    return made


def full(town: World) -> str:
    """Fill the world; returns the address of its incident."""
    incident = town.incident("学校食堂问题", ["食堂", "食堂又来了", "再查食堂"], level="major", copies=1)
    town.sources()
    town.run()
    folder = town.bundle.settings.data_path / "reports" / "2026-W47"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("<style>p{color:red}</style><p>周报</p>")
    return f"/incidents/{incident.number}"


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_every_page_opens_empty_and_full_in_both_languages(town: World, lang: str) -> None:
    browser = client(town)
    for path in PAGES:
        assert browser.get(path, params={"lang": lang}).status_code == 200, f"empty {path}"
    for path in (*PAGES, full(town)):
        answer = browser.get(path)
        assert answer.status_code == 200, f"full {path}"
        assert f'<html lang="{"en" if lang == "en" else "zh-CN"}"' in answer.text


def test_every_page_opens_on_both_databases(any_db: Database, tmp_path: Path) -> None:
    town = world(any_db, tmp_path)
    town.account()
    town.account("admin", "administrator", name="管理员")
    assert client(town, "admin").get("/accounts").status_code == 200
    browser = client(town)
    for path in (
        *PAGES,
        full(town),
        "/search?q=食堂&district=历下区",
        "/api/incidents",
        "/api/posts?q=食堂",
    ):
        assert browser.get(path).status_code == 200, path


NASTY = (
    "\x00",
    "'\"--",
    "\ud7ff\U0002a6d6",
    "%",
    "a" * 3000,
    "9" * 40,
    "-1",
    "2026-13-45",
    "<b>",
    "🙂",
    "\u202e",
    "((((",
    "~",
)


def test_no_value_in_an_address_or_form_breaks_a_page(any_db: Database, tmp_path: Path) -> None:
    town = world(any_db, tmp_path)
    town.account("wang", "leader", name="王斌")
    incident = town.incident("学校食堂问题", ["食堂", "食堂又来了"])
    browser = client(town, "wang")
    names = (
        "q",
        "domain",
        "district",
        "source",
        "tone",
        "state",
        "since",
        "until",
        "before",
        "incident",
        "lang",
        "done",
        "n",
        "limit",
    )
    token = hidden(browser.get("/").text, "/logout")
    for value in NASTY:
        every = dict.fromkeys(names, value)
        for path in (
            "/",
            "/search",
            "/search?kind=incidents",
            "/messages",
            "/api/posts",
            "/api/incidents",
            f"/incidents/{incident.number}",
        ):
            status = browser.get(path, params=every).status_code
            assert status < 500, (path, value)
        for name in ("q", "domain", "since", "before"):
            for path in ("/search", "/search/export.csv", "/api/posts", "/api/incidents"):
                assert browser.get(path, params={name: value}).status_code < 500, (path, name, value)
        assert browser.get(f"/incidents/{quote(value)}").status_code == 404
        for act in ("ack", "confirm", "false_alarm", "assign", "merge", "respond", "level", "note"):
            fields = dict.fromkeys(
                (
                    "version",
                    "epoch",
                    "key",
                    "reason",
                    "note",
                    "department",
                    "parent",
                    "url",
                    "published_at",
                    "level",
                    "text",
                ),
                value,
            )
            answer = browser.post(f"/incidents/{incident.number}/{act}", data={**token, **fields})
            assert answer.status_code < 500, (act, value)


def test_words_in_the_address_do_not_get_onto_the_page(town: World) -> None:
    html = client(town).get("/?done=Send+money&n=call+0531").text
    shown = re.sub(r"<[^>]+>", " ", html)
    assert "Send money" not in shown
    assert "0531" not in shown


def test_every_answer_carries_the_safe_headers(town: World) -> None:
    browser = client(town)
    for path in (*PAGES, "/login", "/healthz", "/nowhere", "/api/incidents", "/static/css/console.css"):
        headers = browser.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"], path
        assert "unsafe" not in headers["content-security-policy"], path
        assert headers["x-content-type-options"] == "nosniff", path
        assert headers["x-frame-options"] == "DENY", path
        assert headers["referrer-policy"] == "same-origin", path
        kept = path.startswith("/static/")
        assert ("immutable" if kept else "no-store") in headers["cache-control"], path


def test_no_page_has_inline_script_or_style_or_asks_another_host(town: World) -> None:
    browser, stranger = client(town), client(town, None)
    for path in (*PAGES, "/login", full(town)):
        html = (stranger if path == "/login" else browser).get(path).text
        assert html
        assert not re.search(r"<script(?![^>]*\bsrc=)", html), path
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=", html), path
        for address in re.findall(r'(?:src|<link[^>]*href|action)="([^"]+)"', html):
            assert address.startswith("/"), (path, address)


def test_size_of_text_and_colours_are_chosen_by_a_link_and_remembered(town: World) -> None:
    browser = client(town)
    assert 'data-theme="auto" data-text="normal"' in browser.get("/").text
    chosen = browser.get("/?text=huge&theme=dark")
    assert 'data-theme="dark" data-text="huge"' in chosen.text
    assert "httponly" in chosen.headers["set-cookie"].lower()
    assert 'data-theme="dark" data-text="huge"' in browser.get("/search").text
    assert 'data-theme="dark" data-text="large"' in browser.get("/?text=large").text, (
        "one choice keeps the other"
    )
    assert 'data-theme="dark" data-text="large"' in browser.get("/?text=%22onload&theme=x").text, (
        "no other value"
    )
    browser.cookies.set("qs_look", "text-<b>.theme.x-")
    html = browser.get("/").text
    assert 'data-theme="auto"' in html
    assert "text-<b>" not in html


def test_every_asset_that_pages_name_exists(town: World) -> None:
    browser = client(town)
    for path in ("/", "/login", full(town)):
        for address in set(re.findall(r'"(/static/[^"#]+)', browser.get(path).text)):
            assert browser.get(address).status_code == 200, address


def test_a_first_load_stays_small(town: World) -> None:
    browser = client(town)
    path = full(town)
    html = browser.get(path)
    size = len(html.content)
    for address in set(re.findall(r'(?:src|href)="(/static/[^"#]+)', html.text)):
        with browser.stream("GET", address, headers={"Accept-Encoding": "gzip"}) as answer:
            size += sum(len(chunk) for chunk in answer.iter_raw())
    assert 200_000 < size <= 300_000, "bytes on the wire of the heaviest page, chart library included"


def test_forms_have_labels_and_pages_have_one_heading(town: World) -> None:
    browser, stranger = client(town), client(town, None)
    for path in (*PAGES, "/login", full(town)):
        html = (stranger if path == "/login" else browser).get(path).text
        assert len(re.findall(r"<h1\b", html)) == 1, path
        fields = re.findall(r'<(?:input|select|textarea)(?![^>]*type="hidden")[^>]*\bid="([^"]+)"', html)
        labels = set(re.findall(r'<label[^>]*for="([^"]+)"', html))
        assert set(fields) <= labels, path
        ids = re.findall(r'\bid="([^"]+)"', html)
        assert len(ids) == len(set(ids)), (path, "an id stands twice")


def test_language_is_chosen_by_address_and_remembered(town: World) -> None:
    browser = client(town)
    assert "值班台" in browser.get("/").text
    assert "Duty desk" in browser.get("/?lang=en").text
    assert "Duty desk" in browser.get("/").text
    assert "值班台" in browser.get("/?lang=zh").text


def texts() -> Iterator[str]:
    """Every text of the console that is meant for people."""
    for file in (CONSOLE / "templates").rglob("*.html"):
        with file.open("rb") as stream:
            for _, text, _, _ in extract("jinja2.ext:babel_extract", stream, keywords={"_": None}):
                yield str(text)
    for table in words.TABLES.values():
        yield from table.values()
    for file in [*CONSOLE.rglob("*.py"), CONSOLE.parent / "incidents" / "querylang.py"]:
        yield from _sentences(ast.parse(file.read_text(encoding="utf-8")))


def _sentences(tree: ast.Module) -> Iterator[str]:
    """Chinese literals with a full stop, or passed to `t()`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            given = [
                arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)
            ]
            if given and name in ("t", "QueryError", "Forbidden", "ApiProblem", "_say"):
                yield given[0]


def test_every_text_has_its_english(town: World) -> None:
    known = catalogue("console", "en")
    assert known is not None
    translated = {message.id for message in known if message.id and message.string}
    missing = {text for text in texts() if re.search(r"[\u4e00-\u9fff]", text)} - translated
    assert missing == set()


def test_english_texts_keep_the_places_to_fill(town: World) -> None:
    def places(said: object) -> set[str]:
        return set(re.findall(r"{(\w+)(?::\w+)?}", str(said)))

    for message in catalogue("console", "en") or ():
        assert places(message.id) == places(message.string), message.id


def test_english_pages_have_chinese_only_where_the_data_is(town: World) -> None:
    html = client(town, lang="en").get("/").text
    shown = re.sub(r"<[^>]+>", " ", html)
    assert set(re.findall(r"[\u4e00-\u9fff]+", shown)) <= {"济南市", "中文", "林东", "示例"}


def test_every_code_has_a_word() -> None:
    assert {str(state) for state in State} <= set(words.STATES)
    assert set(LEVELS) == set(words.LEVELS)
    assert set(FALSE_ALARM_REASONS) == set(words.FALSE_ALARMS)
    assert words.word("event", "something_new") == "something_new"


@pytest.mark.parametrize(
    ("path", "status", "sentence"),
    [
        ("/nowhere", 404, "没有这个页面"),
        ("/incidents/QS-2026-999999", 404, "没有这个页面"),
        ("/reports/../secret.key", 404, "没有这个页面"),
    ],
)
def test_errors_are_pages_in_words(town: World, path: str, status: int, sentence: str) -> None:
    answer = client(town).get(path)
    assert answer.status_code == status
    assert sentence in answer.text
    assert "Traceback" not in answer.text


def test_a_failure_inside_shows_a_number_and_no_details(town: World) -> None:
    browser = client(town)
    town.db.close()
    with town.db.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE deadline RENAME TO deadline_lost")
    answer = browser.get("/")
    assert answer.status_code in (500, 503)
    assert "编号" in answer.text
    assert "deadline_lost" not in answer.text
    assert "default-src 'self'" in answer.headers["content-security-policy"]


def test_a_report_is_shown_without_scripts_and_nothing_else_of_the_folder(town: World) -> None:
    full(town)
    (town.bundle.settings.data_path / "secret.key").write_text("secret")
    browser = client(town)
    assert "2026-W47" in browser.get("/reports").text
    answer = browser.get("/reports/2026-W47/report.html")
    assert answer.status_code == 200
    assert "default-src 'none'" in answer.headers["content-security-policy"], "so no script either"
    for path in (
        "/reports/%2e%2e/secret.key",
        "/reports/2026-W47/%2e%2e/%2e%2e/secret.key",
        "/reports//etc/passwd",
    ):
        assert browser.get(path).status_code == 404, path


def test_messages_say_where_they_went(town: World) -> None:
    full(town)
    html = client(town).get("/messages").text
    assert "没有配置邮件服务器" in html
    assert "本地文件夹" in html
    assert ".eml" in html


def test_the_desk_tells_of_messages_that_cannot_go_out(town: World) -> None:
    with town.db.transaction() as session:
        outbox.enqueue(
            session,
            id=outbox.message_id(None, 0, 0, "x@example.invalid", "email"),
            incident_id=None,
            kind="report",
            recipient="x@example.invalid",
            channel="email",
            message={"subject": "周报"},
            now=town.now - timedelta(hours=1),
        )
    assert "1 条滞留" in client(town).get("/").text


def test_vendored_files_are_what_the_manifest_says() -> None:
    manifest = json.loads((STATIC / "manifest.json").read_text())
    listed = {entry["file"] for entry in manifest["files"]}
    there = {
        path.relative_to(STATIC).as_posix()
        for path in (STATIC / "vendor").rglob("*")
        if path.suffix in (".js", ".css")
    }
    assert there == listed
    for entry in manifest["files"]:
        assert hashlib.sha256((STATIC / entry["file"]).read_bytes()).hexdigest() == entry["sha256"], entry[
            "name"
        ]
        assert entry["version"] in entry["file"]
        assert entry["licence"]
        assert (STATIC / entry["file"]).with_name("LICENSE").is_file()


def test_reports_stand_by_kind_and_a_restricted_matter_s_is_not_shown(town: World) -> None:
    case = town.incident("学校食堂问题", ["食堂", "食堂又来了"])
    town.account("du", "supervisor")
    root = town.bundle.settings.data_path / "reports"
    days = [f"2026-11-{day:02d}" for day in range(1, 16)]
    for name in ("2026-W47", "2026-10", "2025", case.number, *days):
        (root / name).mkdir(parents=True)
        (root / name / "report.html").write_text(f"<p>{name}</p>")
    browser = client(town)
    page = browser.get("/reports").text
    headings = [page.index(f"<h2>{kind}</h2>") for kind in ("周报", "专报", "日报", "月报", "年报")]
    assert headings == sorted(headings)
    assert page.index(days[-1]) < page.index("更早的 3 份") < page.index(days[0])
    assert browser.get(f"/reports/{case.number}/report.html").status_code == 200
    town.act(case, Restrict(("du",), "涉及未成年人"))
    assert case.number not in browser.get("/reports").text
    assert browser.get(f"/reports/{case.number}/report.html").status_code == 404
    assert case.number in client(town, "du").get("/reports").text
