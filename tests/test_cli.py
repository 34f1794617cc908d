"""The command: what it prints, and that every mistake is one sentence with exit code 1 and no traceback."""

from __future__ import annotations

import io
import json
import logging
import sqlite3
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

import cli
from incidents import accounts, lifecycle
from incidents.installation import open_installation
from incidents.judgements import add_post, open_watching
from incidents.posts import NewPost, save_posts
from incidents.states import Confirm, Detect

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Ran:
    """One call of the command."""

    code: int
    out: str
    err: str


Quansheng = Callable[..., Ran]


@pytest.fixture
def quansheng(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Quansheng]:
    """Calls the command in a folder of its own, as the console script does."""
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def call(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "argv", ["quansheng", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err, shown.err
        return Ran(code, shown.out, shown.err)

    yield call
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def incident(tmp_path: Path) -> str:
    """The number of an incident in the database of the working folder: raised from two posts, confirmed."""
    (tmp_path / "quansheng.toml").write_text("")
    home = open_installation(tmp_path / "quansheng.toml")
    with home.db.transaction() as session:
        saved = save_posts(
            session,
            [
                NewPost(
                    source_id="forum",
                    external_id=f"t{n}",
                    url=f"http://bbs.example/t/{n}",
                    title=f"食堂的菜不新鲜{n}",
                    text="历下区某校食堂的菜不新鲜，孩子们肚子疼",
                    published_at=NOW + timedelta(minutes=n),
                    published_estimated=False,
                    fetched_at=NOW + timedelta(minutes=n + 3),
                    author_key=f"a{n}",
                    place_hint="",
                    engagement={},
                    provenance={},
                )
                for n in range(2)
            ],
        )
        found = open_watching(
            session,
            title="食堂的菜不新鲜",
            domain="food_safety",
            district="历下区",
            first_posted_at=NOW,
            sketch={},
        )
        for post_id in saved.ids:
            add_post(
                session, found, post_id, similarity=0.9, voice=True, published_at=NOW, negative=True, now=NOW
            )
        outcome = lifecycle.handle(
            session, found, Detect("manual", {"posts": 2}), actor="system", channel="system", now=NOW
        )
        lifecycle.handle(session, found, Confirm(), actor="lin-dong", channel="console", now=NOW)
    home.db.close()
    return outcome.number


def test_a_configuration_that_was_just_written_is_good(quansheng: Quansheng, tmp_path: Path) -> None:
    first = quansheng("init", "conf")
    assert first.code == 0
    assert "conf/sources.yaml" in first.out
    checked = quansheng("-c", "conf", "check")
    assert checked.code == 0, checked.err
    assert checked.out.startswith("Good:")
    (tmp_path / "conf" / "roster.yaml").write_text("# mine\n")
    again = quansheng("init", "conf")
    assert "everything is there already" in again.out
    assert (tmp_path / "conf" / "roster.yaml").read_text() == "# mine\n", (
        "a file of the user was written over"
    )


def test_the_configuration_may_be_named_behind_the_command_too(quansheng: Quansheng) -> None:
    quansheng("init", "conf")
    assert quansheng("check", "--config", "conf/quansheng.toml").code == 0
    assert quansheng("check", "--config=conf/quansheng.toml").code == 0
    assert "no such file" in quansheng("incidents", "list", "-c", "absent.toml").err


def test_a_broken_holiday_notice_is_found_by_check(quansheng: Quansheng, tmp_path: Path) -> None:
    quansheng("init", ".")
    (tmp_path / "calendar.yaml").write_text("notices: 7\n")
    wrong = quansheng("check")
    assert wrong.code == 1
    assert "calendar.yaml" in wrong.err


def test_every_rule_with_a_countable_deadline_can_be_computed(quansheng: Quansheng) -> None:
    computed = 0
    for rule in [*(f"R{n:02}" for n in range(1, 14)), *(f"H{n:02}" for n in range(1, 11))]:
        ran = quansheng("deadline", rule, "--from", "2026-12-30T10:00:00+08:00")
        if ran.code == 0:
            answer = json.loads(ran.out)
            assert datetime.fromisoformat(answer["due_at"]) > datetime.fromisoformat(answer["from"])
            assert answer["trace"]
            computed += 1
        else:
            assert ran.err.startswith(f"quansheng: {rule}: "), ran.err
    assert computed >= 14


def test_check_tells_every_mistake_of_every_file_at_once(quansheng: Quansheng, tmp_path: Path) -> None:
    quansheng("init", ".")
    (tmp_path / "quansheng.toml").write_text("[alerts]\nack_timeout_min = -5\n")
    (tmp_path / "routes.yaml").write_text("routes: []\n")
    wrong = quansheng("check")
    assert wrong.code == 1
    assert "ack_timeout_min" in wrong.err
    assert "routes" in wrong.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-c", "nowhere/quansheng.toml", "check"], "no such file"),
        (["incidents", "show", "QS-2026-000404"], "no such incident"),
        (["incidents", "list", "--state", "asleep"], "no such state"),
        (["deadline", "R99", "--from", "2026-03-02T09:00"], "no such rule"),
        (["deadline", "R02", "--from", "tomorrow"], "not a time"),
        (["deadline", "R02", "--from", "9999-12-31T23:59:59"], "from 1995 to 2100"),
        (["deadline", "R02", "--from", "0001-01-01"], "from 1995 to 2100"),
        (["incidents", "show", "²"], "no such incident"),
        (["incidents", "show", "99999999999999999999999"], "no such incident"),
        (["audit", "verify", "--head", "12:abc"], "not a head"),
        (["import"], "either a file or --retry"),
        (["crawl", "bbs"], "no source named bbs"),
        (["import", "absent.csv"], "no such file"),
        (["replay", "absent.jsonl"], "no such file"),
        (["audit", "export", "QS-2026-000404", "case.json"], "no such incident"),
        (["audit", "export", "QS-2026-000404", "case.docx"], "ends in .json"),
        (["audit", "export", "QS-2026-000404", "case.pdf", "--language", "fr"], "zh_CN or en"),
        (["audit", "check", "missing.json"], "cannot be read"),
        (["report", "weekly", "--week", "2026-W77"], "2026-W77"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_1(
    quansheng: Quansheng, arguments: list[str], words: str
) -> None:
    ran = quansheng(*arguments)
    assert ran.code == 1, ran.out
    assert ran.err.startswith("quansheng: ")
    assert words in ran.err
    assert len(ran.err.strip().splitlines()) == 1, ran.err


def test_a_mistake_in_a_query_has_a_mark_under_its_place(quansheng: Quansheng) -> None:
    ran = quansheng("incidents", "search", "停水 领域:注房")
    assert ran.code == 1
    said, shown, mark = ran.err.rstrip("\n").splitlines()
    assert "住房" in said
    assert shown == "停水 领域:注房"
    assert mark.index("▲") == shown.index("注房")


def test_a_deadline_skips_the_holiday_and_counts_the_make_up_day(quansheng: Quansheng) -> None:
    ran = quansheng("deadline", "H01", "--from", "2026-09-30T16:20:00")
    answer = json.loads(ran.out)
    assert answer["rule"] == "H01"
    assert answer["from"] == "2026-09-30T16:20:00+08:00", "a time without a zone is the city's"
    assert answer["due_at"] == "2026-10-14T00:00:00+08:00"
    assert answer["provisional"] is False
    assert any("调休" in line for line in answer["trace"])


def test_incidents_are_listed_shown_and_found(quansheng: Quansheng, incident: str) -> None:
    listed = json.loads(quansheng("incidents", "list", "--json").out)
    assert [item["number"] for item in listed] == [incident]
    assert listed[0]["detected_at"] == NOW.isoformat()
    assert incident in quansheng("incidents", "list").out
    assert quansheng("incidents", "list", "--state", "closed").out == ""
    shown = json.loads(quansheng("incidents", "show", incident, "--json").out)
    assert [event["kind"] for event in shown["events"]] == ["detected", "confirmed"]
    assert len(shown["posts"]) == 2
    found = json.loads(quansheng("incidents", "search", "食堂 不新鲜", "--json").out)
    assert found["posts"]["total"] == 2
    assert [row["number"] for row in found["incidents"]["rows"]] == [incident]
    assert "confirmed" in quansheng("incidents", "show", incident).out


def test_an_export_holds_everything_and_is_itself_on_record(
    quansheng: Quansheng, incident: str, tmp_path: Path
) -> None:
    assert quansheng("incidents", "export", "all.jsonl").code == 0
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [row["incident"]["number"] for row in rows] == [incident]
    assert quansheng("audit", "export", incident, "case.json").code == 0
    case = json.loads((tmp_path / "case.json").read_text())
    assert len(case["events"][0]["hash"]) == 64
    kinds = [row[0] for row in _rows(tmp_path, "SELECT kind FROM incident_event ORDER BY seq")]
    assert kinds.count("exported") == 2
    assert "Good" in quansheng("audit", "check", "case.json").out
    case["events"][0]["actor"] = "nobody"
    (tmp_path / "other.json").write_text(json.dumps(case))
    changed = quansheng("audit", "check", "other.json")
    assert (changed.code, "event 1 shows another actor" in changed.err) == (1, True)
    assert quansheng("audit", "export", incident, "case.pdf", "--language", "en").code == 0
    assert (tmp_path / "case.pdf").read_bytes().startswith(b"%PDF")
    refused = quansheng("incidents", "export", "no/such/folder/all.jsonl")
    assert refused.code == 1
    assert "cannot be written" in refused.err


def _rows(folder: Path, statement: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(folder / "var" / "quansheng.db")
    try:
        return connection.execute(statement).fetchall()
    finally:
        connection.close()


def test_tables_that_were_changed_by_hand_are_put_right_from_the_events(
    quansheng: Quansheng, incident: str, tmp_path: Path
) -> None:
    assert "Good" in quansheng("audit", "rebuild").out
    connection = sqlite3.connect(tmp_path / "var" / "quansheng.db")
    connection.execute("UPDATE incident SET state = 'closed'")
    connection.commit()
    connection.close()
    told = quansheng("audit", "rebuild")
    assert told.code == 1
    assert "state is 'closed', by its events 'confirmed'" in told.err
    assert "put right" in quansheng("audit", "rebuild", "--repair").out
    assert "Good" in quansheng("audit", "rebuild").out
    assert "confirmed" in quansheng("incidents", "show", incident).out


def test_a_record_that_was_tampered_with_does_not_verify(
    quansheng: Quansheng, incident: str, tmp_path: Path
) -> None:
    good = quansheng("audit", "verify")
    assert good.code == 0
    assert good.out.startswith("Good: 2 events")
    home = open_installation(tmp_path / "quansheng.toml")
    with home.db.engine.begin() as connection:
        for name in connection.scalars(
            text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'incident_event'")
        ).all():
            connection.execute(text(f"DROP TRIGGER {name}"))
        connection.execute(text("UPDATE incident_event SET actor = 'somebody else' WHERE seq = 2"))
    home.db.close()
    bad = quansheng("audit", "verify", "--json")
    assert bad.code == 1
    assert "broken at event 2" in bad.err
    assert json.loads(bad.out)["ok"] is False


def test_a_cut_tail_is_found_with_the_head_that_was_noted(
    quansheng: Quansheng, incident: str, tmp_path: Path
) -> None:
    home = open_installation(tmp_path / "quansheng.toml")
    with home.db.transaction() as session:
        lifecycle.record_act(session, "logged_in", {}, actor="admin", channel="console", now=NOW)
    home.db.close()
    noted = quansheng("audit", "verify").out.split("head ")[1].strip()
    assert quansheng("audit", "verify", "--head", noted).code == 0
    home = open_installation(tmp_path / "quansheng.toml")
    with home.db.engine.begin() as connection:
        for name in connection.scalars(
            text("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'incident_event'")
        ).all():
            connection.execute(text(f"DROP TRIGGER {name}"))
        connection.execute(text("DELETE FROM incident_event WHERE seq = 3"))
    home.db.close()
    cut = quansheng("audit", "verify", "--head", noted)
    assert cut.code == 1
    assert "cut off" in cut.err


def test_judge_and_cluster_work_without_a_database(quansheng: Quansheng, tmp_path: Path) -> None:
    rows = [
        {
            "id": "1",
            "title": "食堂饭菜发霉",
            "text": "历下区某小学食堂饭菜发霉，孩子吃完肚子疼",
            "published_at": "2026-03-02T12:00:00+08:00",
        },
        {"id": "2", "title": "", "text": "今天天气真好", "published_at": "2026-03-02T12:01:00+08:00"},
    ]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    judged = quansheng("judge", stdin=lines + "not json\n")
    answers = [json.loads(line) for line in judged.out.splitlines()]
    assert [answer["id"] for answer in answers] == ["1", "2"]
    assert {"domain", "tone", "tone_score", "signal", "risk", "places", "model"} <= set(answers[0])
    assert "3" in judged.err, "the bad line is told by its number"
    clustered = [json.loads(line) for line in quansheng("cluster", stdin=lines).out.splitlines()]
    assert [answer["id"] for answer in clustered] == ["1", "2"]
    assert {"incident", "similarity"} <= set(clustered[0])
    assert not (tmp_path / "var").exists(), "a database was made"


def test_posts_are_imported_and_bad_rows_are_told(quansheng: Quansheng, tmp_path: Path) -> None:
    (tmp_path / "orders.csv").write_text(
        "id,published_at,title,text\n1,2026-03-02 08:00,路灯,洪家楼路灯不亮\n2,not a day,路灯,又不亮\n",
        "utf-8",
    )
    tried = quansheng("import", "orders.csv", "--dry-run")
    assert tried.code == 0, tried.err
    assert "would be saved" in tried.out
    done = quansheng("import", "orders.csv")
    assert "orders.csv, row 3" in done.out
    assert "1 posts saved" in done.out
    assert _rows(tmp_path, "SELECT count(*) FROM post") == [(1,)]
    assert "1 known already" in quansheng("import", "orders.csv").out
    again = quansheng("import", "--retry")
    assert "1 rows tried again: 0 saved" in again.out
    assert "1 still kept aside" in again.out


def test_sources_are_listed_with_their_state_and_a_wrong_name_is_one_sentence(quansheng: Quansheng) -> None:
    listed = quansheng("sources")
    assert listed.code == 0, listed.err  # all are switched off
    assert all(line.split("\t")[1] == "停用" for line in listed.out.splitlines())
    told = json.loads(quansheng("sources", "--json").out)
    assert {row["state"] for row in told} == {"off"}
    assert {tuple(row["readings"]) for row in told} == {()}
    wrong = quansheng("sources", "nowhere")
    assert wrong.code != 0
    assert "no source named nowhere" in wrong.err


def test_doctor_says_what_is_missing_before_anything_runs(quansheng: Quansheng) -> None:
    ran = quansheng("doctor", "--json")
    findings = {item["check"]: item for item in json.loads(ran.out)}
    assert findings["record"]["level"] == "ok"
    assert findings["sources"]["level"] == "warning"
    assert findings["crawl"]["level"] == "warning"
    assert {item["level"] for item in findings.values()} <= {"ok", "warning", "error"}
    assert ran.code == int(any(item["level"] == "error" for item in findings.values()))


def test_purge_takes_back_a_post_whose_author_objects(
    quansheng: Quansheng, incident: str, tmp_path: Path
) -> None:
    assert quansheng("purge", "--object-to", "http://bbs.example/t/1").code == 0
    assert _rows(tmp_path, "SELECT count(*) FROM post") == [(1,)]
    assert quansheng("purge").code == 0


def test_a_weekly_report_of_an_empty_week_says_so(quansheng: Quansheng, tmp_path: Path) -> None:
    ran = quansheng("report", "weekly", "--week", "2026-W10")
    assert ran.code == 0, ran.err
    assert (tmp_path / "var" / "reports" / "2026-W10" / "weekly.html").is_file()
    assert "第10周" in ran.out


def test_topics_of_a_week_are_told_and_a_wrong_week_is_one_sentence(
    quansheng: Quansheng, incident: str
) -> None:
    ran = quansheng("topics", "--week", "2026-W09", "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["week"] == "2026-W09"
    assert told["topics"] == []  # two posts are no topic
    assert "2026-W09" in quansheng("topics", "--week", "2026-W09").out
    for week in ("2026-W77", "last", "2099-W01"):
        wrong = quansheng("topics", "--week", week)
        assert wrong.code == 1
        assert "--week" in wrong.err


def test_run_once_tells_each_stage(quansheng: Quansheng) -> None:
    ran = quansheng("run", "--once")
    assert ran.code == 0, ran.err
    stages = [line.split(":")[0] for line in ran.out.splitlines()]
    assert stages == [
        "crawl",
        "intake",
        "judge",
        "replies",
        "evidence",
        "tick",
        "send",
        "watch",
        "topics",
        "weekly",
        "accountability",
        "evaluate",
        "backtest",
        "copy",
        "purge",
        "index",
    ]


# --- the register of duties --------------------------------------------------------------------------------------


def test_the_register_is_kept_on_the_command_line(
    quansheng: Quansheng, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "now", lambda: NOW)
    added = quansheng(
        "obligations", "add", "S01", "--unit", "市市场监督管理局", "--trigger", "召回7号", "--at", "2026-03-02T10:00"
    )  # fmt: skip
    assert added.code == 0, added.err
    assert "due 2026-03-03 10:00" in added.out
    assert "节假日不停" in added.out
    (row,) = json.loads(quansheng("obligations", "list", "--unit", "market-regulation", "--json").out)
    assert (row["rule"], row["trigger"], row["state"]) == ("S01", "召回7号", "open")
    again = quansheng("obligations", "add", "S01", "--unit", "market-regulation", "--trigger", "召回7号")
    assert again.code == 1
    assert "stands there" in again.err
    met = quansheng("obligations", "met", str(row["id"]), "--evidence", "https://gov.example/7")
    assert "met in time" in met.out
    assert json.loads(quansheng("obligations", "list", "--json").out) == []
    assert "召回7号" in quansheng("obligations", "list", "--state", "met").out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("list", "--state", "late-ish"), "--state late-ish: expected one of"),
        (("list", "--unit", "nobody"), "--unit nobody: no such unit"),
        (("add", "S01", "--unit", "nobody", "--trigger", "x"), "--unit nobody: no such unit"),
        (("add", "S04", "--unit", "finance", "--trigger", "x"), "no duty that an act sets off"),
        (("add", "S01", "--unit", "finance", "--trigger", "x", "--at", "soon"), "--at soon: not a time"),
        (("met", "77", "--evidence", "x"), "there is no obligation 77"),
    ],
)
def test_mistakes_about_the_register_are_one_sentence(
    quansheng: Quansheng, arguments: tuple[str, ...], sentence: str
) -> None:
    answer = quansheng("obligations", *arguments)
    assert answer.code == 1
    assert sentence in answer.err.replace("\n", " ")


def test_check_warns_of_a_source_whose_name_speaks_of_another_way(
    quansheng: Quansheng, tmp_path: Path
) -> None:
    (tmp_path / "sources.yaml").write_text(
        """
sources:
  - {id: s12345, name: 12345工单, kind: rss, url: "https://a.example.invalid/feed", legal_basis: 法定职责, impact_note: 每小时1次, owner_unit: 办公厅}
""",
        "utf-8",
    )
    answer = quansheng("check")
    assert answer.code == 0
    assert "s12345 (12345工单): way = public, though its name speaks of hotline" in answer.err.replace(
        "\n", " "
    )
    assert answer.out.startswith("Good:")


def test_a_token_is_made_listed_and_revoked_and_a_copy_is_written(
    quansheng: Quansheng, tmp_path: Path
) -> None:
    assert quansheng("init", ".").code == 0
    home = open_installation(tmp_path / "quansheng.toml")
    with home.db.transaction() as session:
        accounts.create_account(
            session,
            login="wen",
            display_name="文析",
            role="analyst",
            password_hash="x",
            now=datetime.now(UTC),
        )
    home.db.close()
    made = quansheng("token", "make", "wen", "--name", "notebook", "--scope", "read:posts", "--json")
    value = json.loads(made.out)["token"]
    listed = quansheng("token", "list")
    assert "notebook" in listed.out
    assert value not in listed.out
    for wrong, word in (
        (("wen", "--name", "x", "--scope", "everything"), "--scope everything"),
        (("wen", "--name", "x", "--scope", "sql", "--days", "0"), "--days 0"),
        (("nobody", "--name", "x", "--scope", "sql"), "no account nobody"),
    ):
        refused = quansheng("token", "make", *wrong)
        assert (refused.code, word in refused.err) == (1, True), refused.err
    assert "is revoked" in quansheng("token", "revoke", "1").out
    assert json.loads(quansheng("token", "list", "wen", "--json").out)[0]["state"] == "revoked"
    assert quansheng("token", "revoke", "9").code == 1
    written = quansheng("export", "--sqlite", "copy.db", "--json")
    assert json.loads(written.out)["rows"]["post"] == 0
    assert (tmp_path / "copy-metadata.json").is_file()
