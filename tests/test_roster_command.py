"""`quansheng roster`: duty now and next, tables in and out, a test message; and what doctor says about the coming month."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import openpyxl
import pytest

from alerts.health import health
from commands import roster as command
from config.settings import ConfigError
from demo.fake_slack import CHANNEL, TOKEN, FakeSlack
from incidents import beats, outbox, rota
from incidents.installation import Installation, Problem, open_installation
from incidents.states import Refused
from tests.alert_office import ROSTER, T0

ROOT = Path(__file__).parent.parent


@pytest.fixture
def home(tmp_path: Path, slack: FakeSlack) -> Iterator[Installation]:
    (tmp_path / "quansheng.toml").write_text(
        f"[slack]\nchannel = '{CHANNEL}'\nbase_url = '{slack.base_url}'\n", "utf-8"
    )
    (tmp_path / "roster.yaml").write_text(ROSTER, "utf-8")
    found = open_installation(
        tmp_path / "quansheng.toml", slack={"token": TOKEN, "channel": CHANNEL, "base_url": slack.base_url}
    )
    yield found
    found.db.close()


def test_now_says_who_until_when_and_why(home: Installation) -> None:
    rows = command.on_duty(home, T0)
    assert [(row.role, row.duty.person.id) for row in rows] == [
        ("primary", "lin"),
        ("secondary", "he"),
        ("leader", "zhou"),
    ]
    role, start, until, name, why = rows[0].cells()
    assert (role, start, until, name) == ("primary", "2026-11-24 08:00", "2026-11-24 20:00", "林东")
    assert why == "值班表 v3 11月24日 周二 白班 主班: 林东"
    assert rows[2].cells()[1:3] == ["a week or more"] * 2, "the leader never changes"
    assert rows[2].as_dict()["until"] is None


def test_next_shows_the_coming_days_and_what_is_wrong_with_them(home: Installation) -> None:
    rows, unready = command.coming(home, T0, 2, "primary", "")
    assert [row.duty.person.id for row in rows] == ["lin", "he", "lin", "he", "lin"]
    assert unready == []
    only, _ = command.coming(home, T0, 2, "", "zhou")
    assert {row.role for row in only} == {"leader"}
    with home.db.transaction() as session:
        for person in ("lin", "he"):
            rota.add(
                session,
                kind="leave",
                role="",
                person=person,
                stand_in="",
                start=T0 + timedelta(hours=1),
                until=T0 + timedelta(hours=3),
                reason="培训",
                by="x",
                channel="cli",
                now=T0,
            )
    rows, unready = command.coming(home, T0, 1, "", "")
    gaps = [row for row in rows if row.duty.fallback]
    assert [(row.role, *(cell[11:] for cell in row.cells()[1:3])) for row in gaps] == [
        ("primary", "16:10", "18:10"),
        ("secondary", "16:10", "18:10"),
    ]
    assert gaps[0].cells()[3] == "周北 (fallback: a gap)"
    assert [item.kind for item in unready] == ["gap", "gap", "double"]
    with pytest.raises(Problem, match="one of primary, secondary, leader"):
        command.coming(home, T0, 1, "boss", "")
    with pytest.raises(Problem, match="there are lin, he, zhou"):
        command.coming(home, T0, 1, "", "ghost")


def test_a_sheet_becomes_stand_ins_once_all_or_none_and_what_is_over_is_left_alone(
    home: Installation, tmp_path: Path
) -> None:
    file = tmp_path / "december.xlsx"
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for line in (
        ["日期", "班次", "主班", "副班"],
        ["2026-11-20", "白班", "何南", ""],
        ["2026-12-01", "白班", "何南", "林东"],
        ["2026-12-02", "白班", "林东", "何南"],
    ):
        sheet.append(line)
    book.save(file)
    dry = command.take_over(home, file, T0, by="wang", dry_run=True)
    assert dry.describe() == "2 changes, 2 as they are already, 1 over already"
    assert dry.lines[0] == "primary 2026-12-01 08:00 - 2026-12-01 20:00: lin -> he"
    with home.db.reading() as session:
        assert rota.changes(session, T0) == []
    assert command.take_over(home, file, T0, by="wang", dry_run=False).lines == dry.lines
    with home.db.reading() as session:
        first = rota.changes(session, T0)[0]
    assert (first.person, first.stand_in, first.made_by) == ("lin", "he", "wang")
    at = datetime(2026, 12, 1, 4, tzinfo=UTC)
    assert command.on_duty(home, at)[0].duty.person.id == "he"
    again = command.take_over(home, file, T0, by="wang", dry_run=False)
    assert again.describe() == "0 changes, 4 as they are already, 1 over already"

    other = tmp_path / "other.csv"
    other.write_text("日期,班次,主班\n2026-12-05,白班,何南\n2026-12-01,白班,周北\n", "utf-8")
    with pytest.raises(Problem, match=r"nothing was entered; 1 of its duties.*withdraw it first"):
        command.take_over(home, other, T0, by="wang", dry_run=False)
    with home.db.reading() as session:
        assert len(rota.changes(session, T0)) == 2
    other.write_text("日期,班次,主班\n2026-12-05,白班,路人\n", "utf-8")
    with pytest.raises(ConfigError, match="nobody of roster"):
        command.take_over(home, other, T0, by="wang", dry_run=False)


def test_a_gap_that_a_sheet_fills_is_filled_also_by_the_fallback_person(
    home: Installation, tmp_path: Path
) -> None:
    (tmp_path / "roster.yaml").write_text(ROSTER.split("weekly:")[0], "utf-8")
    empty = open_installation(tmp_path / "quansheng.toml")
    file = tmp_path / "filled.csv"
    file.write_text("日期,班次,主班\n2026-12-01,全天,周北\n", "utf-8")
    assert command.take_over(empty, file, T0, by="x", dry_run=False).lines == (
        "primary 2026-12-01 00:00 - 2026-12-02 00:00: nobody -> zhou",
    )
    duty = command.on_duty(empty, datetime(2026, 12, 1, 4, tzinfo=UTC))[0].duty
    assert (duty.person.id, duty.fallback) == ("zhou", False)
    empty.db.close()


def test_what_is_exported_says_the_same_when_it_is_imported(home: Installation, tmp_path: Path) -> None:
    file = tmp_path / "out.csv"
    content, lines = command.written(home, file, T0, 10, "")
    file.write_bytes(content)
    text = content.decode("utf-8-sig").splitlines()
    assert text[:4] == [
        "日期,班次,主班,副班,带班领导",
        "2026-11-24,00:00-08:00,何南,林东,周北",
        "2026-11-24,08:00-20:00,林东,何南,周北",
        "2026-11-24,20:00-24:00,何南,林东,周北",
    ]
    assert lines == len(text) - 1 == 30
    back = command.take_over(home, file, T0, by="x", dry_run=False)
    assert (back.lines, back.over) == ((), 3), "what stands on the roster already changes nothing"
    calendar, events = command.written(home, tmp_path / "out.ics", T0, 10, "lin")
    assert calendar.startswith(b"BEGIN:VCALENDAR")
    assert events == calendar.count("班 林东".encode()) == 21
    assert "何南".encode() not in calendar
    with pytest.raises(Problem, match=r"name a \.csv"):
        command.written(home, tmp_path / "out.doc", T0, 10, "")


def test_a_test_message_is_sent_from_here_or_by_the_running_house(
    home: Installation, slack: FakeSlack
) -> None:
    def clock() -> datetime:
        return T0

    (sent,) = command.test(home, "lin", "", clock, by="wang", wait_s=0)
    assert (sent.row.state, sent.row.channel) == ("sent", "slack")
    assert len(slack.messages) == 1
    (sent,) = command.test(home, "zhou", "", clock, by="wang", wait_s=0)
    assert sent.row.state == "sent", "what we sent ourselves is no running house"
    with home.db.transaction() as session:
        beats.beat(session, "job:send", T0, {})  # a house is at work: its sender takes them
    (waiting,) = command.test(home, "he", "", clock, by="wang", wait_s=0)
    assert (waiting.row.state, waiting.settled) == ("pending", False)
    assert len(slack.messages) == 2
    with pytest.raises(Refused, match="ghost"):
        command.test(home, "ghost", "", clock, by="wang", wait_s=0)
    with home.db.reading() as session:
        assert len(outbox.of_kind(session, "test", T0)) == 3


def test_doctor_tells_of_the_coming_month_and_of_a_missing_outside_ping(
    home: Installation, tmp_path: Path
) -> None:
    def found(installation: Installation) -> dict[str, tuple[str, str]]:
        return {
            item.check: (item.level, item.text)
            for item in health(installation.db, installation.bundle, T0)
            if item.check.startswith(("roster", "watch"))
        }

    assert found(home)["roster"] == ("ok", "未来30天值班无空档")
    assert found(home)["watch.ping"][0] == "warning"
    # mail is not set up, and he has only a mail address
    (tmp_path / "quansheng.toml").write_text("")
    (tmp_path / "roster.yaml").write_text(
        "fallback: lin\npeople:\n  - {id: lin, name: 林东, slack_user: U0LIN}\n  - {id: he, name: 何南, email: he@jinan.example}\n"
        "weekly:\n  - {from: '00:00', until: '24:00', primary: lin, secondary: lin}\n"
        "  - {from: '00:00', until: '24:00', leader: he, days: [mon]}\n",
        "utf-8",
    )
    ill = open_installation(
        tmp_path / "quansheng.toml",
        watch={"ping_url": "https://ping.example/x"},
        slack={"token": TOKEN, "base_url": home.settings.slack.base_url},
    )
    bad = found(ill)
    assert bad["roster"][0] == "warning"
    assert bad["roster.unreachable"] == ("error", "值班人员没有可用联系方式：何南")
    assert bad["roster.double"][0] == bad["roster.long"][0] == "warning"
    assert "林东" in bad["roster.long"][1]
    assert bad["watch.ping"][0] == "ok"
    ill.db.close()


def test_the_command_prints_for_people_and_scripts(home: Installation, tmp_path: Path) -> None:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "cli", "-c", str(tmp_path), "roster", *words],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=os.environ | {"QUANSHENG_SLACK__TOKEN": TOKEN},
            check=False,
        )

    now = run("now", "--at", "2026-11-24T15:10", "--json")
    assert now.returncode == 0, now.stderr
    assert [row["person"] for row in json.loads(now.stdout)] == ["lin", "he", "zhou"]
    assert "Good: no gap in 3 days" in run("next", "--days", "3").stdout
    test = run("test", "lin", "--channel", "slack")
    assert test.returncode == 0, test.stderr
    assert test.stdout.startswith(f"slack\t{CHANNEL}\tsent\t{CHANNEL}:")
    again = run("test", "lin")
    assert (again.returncode, again.stdout) == (1, "")
    assert "less than a minute ago" in again.stderr
    out = run("export", str(tmp_path / "out.ics"), "--days", "3")
    assert out.returncode == 0, out.stderr
    assert (tmp_path / "out.ics").read_bytes().startswith(b"BEGIN:VCALENDAR")
