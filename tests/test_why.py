"""`quansheng why`: answers from what was stored, in both languages, and one sentence for what is not there."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from analysis import job
from analysis.judge import Thresholds
from analysis.why import graded_so, placed_so
from incidents import corrections, lifecycle, queries
from incidents.dossier import dossier
from incidents.installation import open_installation
from incidents.judgements import NewJudgement, save_judgements
from incidents.posts import NewPost, save_posts
from incidents.states import Confirm, Detect, FalseAlarm, Merge
from tests.test_cli import Quansheng, quansheng

__all__ = ["quansheng"]  # the fixture

NOW = datetime.now(UTC) - timedelta(hours=1)
POISON = "历下区某小学食堂午饭后三十多个孩子上吐下泻，已经送医院，疑似食物中毒，请市场监管局马上来查"
WATER = "市中区伊景园小区停水三天了，物业没人管，老人没法做饭，请求尽快恢复供水"
DRILL = "历下区某商场昨天举行消防演练，模拟火灾疏散，大家积极参加"


@pytest.fixture
def town(tmp_path: Path) -> dict[str, int]:
    """Three posts in the working folder's database, judged; their ids by subject."""
    (tmp_path / "quansheng.toml").write_text("")
    home = open_installation(tmp_path / "quansheng.toml")
    texts = {"poison": POISON, "water": WATER, "drill": DRILL}
    with home.db.transaction() as session:
        saved = save_posts(
            session,
            [
                NewPost(
                    source_id="forum",
                    external_id=name,
                    url=f"https://bbs.example/t/{name}",
                    title="",
                    text=text,
                    published_at=NOW,
                    published_estimated=False,
                    fetched_at=NOW,
                    author_key=name,
                )
                for name, text in texts.items()
            ],
        )
    job.run(home.db, home.bundle, NOW + timedelta(minutes=5))
    home.db.close()
    return dict(zip(texts, saved.ids, strict=True))


def test_a_post_by_id_or_address_tells_scores_words_thresholds_and_place(
    quansheng: Quansheng, town: dict[str, int]
) -> None:
    by_id = quansheng("why", str(town["poison"]), "--lang", "zh")
    assert by_id.code == 0, by_id.err
    assert "（负面概率" in by_id.out
    assert "指向该领域的词：" in by_id.out
    assert "危险词“" in by_id.out
    assert by_id.out == quansheng("why", "http://bbs.example/t/poison/", "--lang", "zh").out
    english = quansheng("why", str(town["poison"]), "--lang", "en").out
    assert "(negative with" in english
    assert "Danger word" in english


def test_data_for_scripts_holds_the_numbers(quansheng: Quansheng, town: dict[str, int]) -> None:
    (answer,) = json.loads(quansheng("why", str(town["water"]), "--json").out)
    assert answer["post"] == town["water"]
    assert 0 <= answer["judgement"]["tone_score"] <= 1
    assert answer["thresholds"]["cluster_signal"] > 0
    assert answer["cluster"]
    assert len(answer["sentences"]["zh"]) == len(answer["sentences"]["en"]) > 5


def test_what_silenced_a_danger_word_is_told(quansheng: Quansheng, town: dict[str, int]) -> None:
    assert "被排除" in quansheng("why", str(town["drill"]), "--lang", "zh").out


def test_a_cluster_says_why_it_was_not_raised(quansheng: Quansheng, town: dict[str, int]) -> None:
    (answer,) = json.loads(quansheng("why", str(town["water"]), "--json").out)
    ran = quansheng("why", f"cluster:{answer['cluster']}", "--lang", "en")
    assert ran.code == 0, ran.err
    assert "It was not raised; it is watched." in ran.out
    assert "not raised:" in ran.out
    assert "Fast track: no danger word." in ran.out


def test_an_incident_tells_its_arithmetic_its_grade_and_its_end(
    quansheng: Quansheng, town: dict[str, int], tmp_path: Path
) -> None:
    home = open_installation(tmp_path / "quansheng.toml")
    with home.db.transaction() as session:
        held = {name: dossier(session, id_) for name, id_ in town.items()}
        poison, water = held["poison"], held["water"]
        assert poison is not None
        assert water is not None
        assert poison.incident_id is not None
        assert water.incident_id is not None
        view = queries.get_incident(session, poison.incident_id)
        assert view is not None
        why = {
            "sentence_zh": "算式。",
            "sentence_en": "arithmetic.",
            "grade": {"severity": 36.0, "score": 36.0},
        }
        for one in (poison.incident_id, water.incident_id):
            found = queries.get_incident(session, one)
            if found is not None and found.state == "watching":
                lifecycle.handle(
                    session, one, Detect("manual", why), actor="system", channel="system", now=NOW
                )
        lifecycle.handle(
            session, water.incident_id, Merge(poison.incident_id), actor="lin", channel="cli", now=NOW
        )
        parent = queries.get_incident(session, poison.incident_id)
        child = queries.get_incident(session, water.incident_id)
        assert parent is not None
        assert child is not None
    assert f"Merged into {parent.number}" in quansheng("why", child.number, "--lang", "en").out
    assert "算式。" in quansheng("why", child.number.lower(), "--lang", "zh").out
    assert "Grade score 36 of 100: severity 36/40." in quansheng("why", child.number, "--lang", "en").out
    with home.db.transaction() as session:
        lifecycle.handle(session, parent.id, Confirm(), actor="lin", channel="cli", now=NOW)
        lifecycle.handle(
            session, parent.id, FalseAlarm("wrong_place", "在外省"), actor="lin", channel="cli", now=NOW
        )
    assert "lin 判为误报：不在本市（在外省）。" in quansheng("why", parent.number, "--lang", "zh").out
    home.db.close()


def test_what_a_person_said_is_told(quansheng: Quansheng, town: dict[str, int], tmp_path: Path) -> None:
    home = open_installation(tmp_path / "quansheng.toml")
    with home.db.transaction() as session:
        corrections.correct(
            session,
            town["water"],
            {"about": "company"},
            actor="lin",
            channel="console",
            now=NOW,
            reason="反讽",
        )
    home.db.close()
    out = quansheng("why", str(town["water"]), "--lang", "zh").out
    assert "投诉对象由 lin 于" in out
    assert "改为“企业”，系统判为“未写明”（反讽）" in out


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        ("999999", "no post has this id or address"),
        ("https://nowhere.example/1", "no post has this id or address"),
        ("QS-2026-999999", "no such incident"),
        ("cluster:999999", "no such cluster"),
        ("9" * 40, "no post has this id or address"),
        ("²", "no post has this id or address"),
        ("", "give a post id"),
    ],
)
def test_what_is_not_there_is_one_sentence(
    quansheng: Quansheng, town: dict[str, int], key: str, sentence: str
) -> None:
    ran = quansheng("why", key)
    assert ran.code == 1
    assert sentence in ran.err
    assert ran.err.count("\n") == 1


def test_a_wrong_language_is_refused(quansheng: Quansheng, town: dict[str, int]) -> None:
    ran = quansheng("why", "1", "--lang", "fr")
    assert (ran.code, ran.err) == (1, "quansheng: --lang fr: zh or en\n")


def test_a_waiting_post_and_a_detection_without_grade_have_answers_too(
    tmp_path: Path, town: dict[str, int]
) -> None:
    home = open_installation(tmp_path / "quansheng.toml")
    with home.db.transaction() as session:
        (waiting,) = save_posts(
            session,
            [
                NewPost(
                    source_id="forum",
                    external_id="late",
                    url="",
                    title="",
                    text="等待研判",
                    published_at=NOW,
                    published_estimated=False,
                    fetched_at=NOW,
                    author_key=None,
                )
            ],
        ).ids
        post = dossier(session, waiting)
        assert post is not None
        assert placed_so(post, frozenset(), Thresholds.load()) == []
        made = NewJudgement(waiting, "none", 0.9, "neu", 0.1, 0.5, False, 0.01, 0, 0.9, "m1")
        save_judgements(session, [made], NOW)
        post = dossier(session, waiting)
        assert post is not None
        (outside,) = placed_so(post, frozenset({"housing"}), Thresholds.load())
        assert "1%" in outside.en
    assert graded_so({}) == []
    home.db.close()
