"""A replay runs the whole pipeline at the posts' own times and tells nobody."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

import replay
from config.bundle import Bundle, load_bundle
from config.settings import MailSettings, SlackSettings
from demo.city import load_day
from incidents.installation import Problem

DAY = date(2026, 3, 3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Packaged defaults, with channels that would reach people if anything used them."""
    folder = tmp_path_factory.mktemp("conf")
    (folder / "quansheng.toml").write_text("")
    found = load_bundle(folder / "quansheng.toml")
    loud = found.settings.model_copy(
        update={
            "slack": SlackSettings(
                token=SecretStr("xoxb-real"), channel="C0REAL", base_url="http://127.0.0.1:9/api/"
            ),
            "mail": MailSettings(host="127.0.0.1", port=9),
        }
    )
    return replace(found, settings=loud)


def write_day(folder: Path, *extra: str) -> Path:
    """The invented day as JSON Lines, newest first: a replay must sort."""
    path = folder / "day.jsonl"
    rows = [
        json.dumps(
            {
                "id": f"m{post.number}",
                "published_at": post.at.isoformat(),
                "author": post.author,
                "title": post.title,
                "text": post.text,
            },
            ensure_ascii=False,
        )
        for post in reversed(load_day(DAY))
    ]
    path.write_text("\n".join([*rows, *extra]) + "\n", "utf-8")
    return path


def run(bundle: Bundle, file: Path, told: list[str], **changed: Any) -> replay.Outcome:
    values: dict[str, Any] = {"url": "", "speed": 0, "report": None, "profile": None, "echo": told.append}
    return replay.main(file, bundle, **(values | changed))


@pytest.mark.slow
def test_the_report_says_what_was_flagged_when_and_from_which_posts(bundle: Bundle, tmp_path: Path) -> None:
    told: list[str] = []
    target = tmp_path / "out.json"
    outcome = run(bundle, write_day(tmp_path, '{"id": "x", "title": "no text"'), told, report=target)
    report = json.loads(target.read_text())
    assert set(report) == {"incidents", "posts", "alerts"}
    assert report["posts"] == len(load_day(DAY))
    assert report["alerts"] > 0, "pages are counted although nobody got them"
    assert outcome.bad == 1
    assert any("day.jsonl, row 169" in line for line in told), "the bad row is told with its place"
    by_id = {f"m{post.number}": post for post in load_day(DAY)}
    assert report["incidents"]
    for incident in report["incidents"]:
        assert set(incident) == {
            "id",
            "title",
            "domain",
            "first_posted_at",
            "detected_at",
            "track",
            "posts",
            "post_ids",
        }
        assert incident["posts"] == len(incident["post_ids"]) == len(set(incident["post_ids"]))
        times = [by_id[name].at for name in incident["post_ids"]]
        assert datetime.fromisoformat(incident["first_posted_at"]) == min(times)
        detected = datetime.fromisoformat(incident["detected_at"])
        assert min(times) <= detected <= max(times) + replay.STEP
    canteen = [
        i for i in report["incidents"] if any(by_id[name].matter == "canteen" for name in i["post_ids"])
    ]
    assert canteen
    first = min(datetime.fromisoformat(item["detected_at"]) for item in canteen)
    assert first.hour == 13, f"the canteen was noticed at {first}"


def test_a_replay_tells_nobody(bundle: Bundle, tmp_path: Path) -> None:
    quiet = replay.quiet(bundle, tmp_path, "").settings
    assert quiet.slack.token.get_secret_value() == ""
    assert quiet.mail.host == ""
    assert quiet.database_url == f"sqlite:///{tmp_path / 'quansheng.db'}"
    assert quiet.city == bundle.settings.city


@pytest.mark.slow
def test_a_database_that_is_in_use_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "few.jsonl"
    row = {
        "id": "1",
        "published_at": "2026-03-03T10:00:00+08:00",
        "title": "路灯",
        "text": "历下区路灯坏了三天没人修",
    }
    file.write_text(json.dumps(row, ensure_ascii=False) + "\n")
    url = f"sqlite:///{tmp_path / 'kept.db'}"
    outcome = run(bundle, file, [], url=url)
    assert outcome.report["posts"] == 1
    assert (tmp_path / "kept.db").is_file(), "a database that was named is kept"
    with pytest.raises(Problem, match=r"kept\.db: holds 1 posts.*empty database"):
        run(bundle, file, [], url=url)


def test_an_unreadable_file_is_one_sentence(bundle: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "broken.xlsx"
    file.write_bytes(b"this is no spreadsheet")
    with pytest.raises(Problem, match=r"broken\.xlsx"):
        run(bundle, file, [])


def test_posts_of_one_quarter_of_an_hour_arrive_at_its_end() -> None:
    begin = datetime.fromisoformat("2026-03-03T10:00:00+08:00")
    assert replay.cell_end(begin) == begin + timedelta(minutes=15)
    assert replay.cell_end(begin + timedelta(minutes=14, seconds=59)) == begin + timedelta(minutes=15)
    assert replay.cell_end(begin + timedelta(minutes=15)) == begin + timedelta(minutes=30)
