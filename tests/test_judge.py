"""Judging: floors on an invented corpus, and no text that makes it stumble."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from analysis.judge import Judge, JudgeInput, Thresholds
from analysis.linear import LinearModel
from analysis.measures import report_task
from analysis.verdict import frozen_posts
from config.files import DEFAULTS
from config.places import load_places

MORE_LABELS = Path(__file__).parent.parent / "analysis" / "more_labels.csv"
#: of the frozen posts, those for which the floors below were set
FLOOR_POSTS = 75
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.load(load_places(DEFAULTS / "places" / "jinan.yaml"))


@pytest.fixture(scope="module")
def judged(judge: Judge) -> list[tuple[dict[str, Any], Any]]:
    rows = frozen_posts()[:FLOOR_POSTS]
    outputs = judge.judge_batch([JudgeInput(row["id"], "", row["text"], NOW) for row in rows])
    return list(zip(rows, outputs, strict=True))


def figures(judged: list[tuple[dict[str, Any], Any]], task: str, guess: list[str]) -> dict[str, float]:
    answers = []
    for row, _ in judged:
        answers.append((str(row[task]),))
    return report_task(task, guess, answers)


def test_tone_is_better_than_snownlp_alone(judged: list[tuple[dict[str, Any], Any]]) -> None:
    ours = figures(judged, "tone", [o.tone for _, o in judged])
    snow = figures(judged, "tone", ["neg" if o.snownlp_score < 0.5 else "pos" for _, o in judged])
    assert ours["macro_f1"] >= 0.69
    assert ours["macro_f1"] >= snow["macro_f1"] + 0.2


def test_signal_is_told_from_chat(judged: list[tuple[dict[str, Any], Any]]) -> None:
    assert figures(judged, "signal", ["y" if o.signal else "n" for _, o in judged])["f1_y"] >= 0.93


def test_domain_is_mostly_right(judged: list[tuple[dict[str, Any], Any]]) -> None:
    # decision 0007 moved this from 0.85: the model lost the posts it had no right to
    assert figures(judged, "domain", [o.domain for _, o in judged])["accuracy"] >= 0.81


def test_risk_agrees_with_people(judged: list[tuple[dict[str, Any], Any]]) -> None:
    assert figures(judged, "risk", [str(o.risk) for _, o in judged])["weighted_kappa"] >= 0.80


def test_fast_track_hears_every_emergency_and_nothing_else(judged: list[tuple[dict[str, Any], Any]]) -> None:
    assert {row["id"] for row, o in judged if o.fast} == {row["id"] for row, _ in judged if row["fast"]}


def test_output_does_not_depend_on_the_batch(judge: Judge, judged: list[tuple[dict[str, Any], Any]]) -> None:
    for row, together in judged[:8]:
        alone = judge.judge_batch([JudgeInput(row["id"], "", row["text"], NOW)])[0]
        assert alone == together


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t ",
        "😀😀😀",
        "a",
        "中",
        "\ud800\udfff",
        "\x00\x01\x02物业",
        "學校食堂的飯菜發霉了，學生吃完嘔吐",
        "ｗｕｙｅ　太　差　了",
        "物 业 太 差 了 天 天 停 电",
        "The canteen 食堂 served bad 肉 again!!!",
        "长" * 1_000_000,
        "物业太差。" * 200_000,
        "http://example.invalid/" + "x" * 5000,
        "\u202e\u200b\ufeff" * 100,
        "((((([[[[{{{{" * 50,
    ],
)
def test_any_text_gets_a_judgement(judge: Judge, text: str) -> None:
    output = judge.judge_batch([JudgeInput("x", text[:50], text, NOW)])[0]
    assert output.domain in judge.model.labels["domain"]
    assert 0.0 <= output.tone_score <= 1.0
    json.dumps(output.as_dict())


def test_empty_text_is_sent_to_a_person(judge: Judge) -> None:
    assert judge.judge_batch([JudgeInput("x")])[0].abstain


def test_spaces_between_characters_do_not_hide_a_complaint(judge: Judge) -> None:
    plain, spaced = judge.judge_batch(
        [
            JudgeInput(1, "", "小区物业太差了，天天停电没人管"),
            JudgeInput(2, "", "小 区 物 业 太 差 了，天 天 停 电 没 人 管"),
        ]
    )
    assert plain.domain == spaced.domain == "housing"
    assert plain.signal
    assert spaced.signal


def test_explanation_quotes_the_post(judge: Judge) -> None:
    text = "小区物业三个月不打扫，业主投诉没人管"
    reasons = judge.judge_batch([JudgeInput(1, "", text)])[0].reasons
    assert reasons["domain"]
    for word in (*reasons["domain"], *reasons["signal"]):
        assert word in text


def test_district_is_found_from_district_and_street(judge: Judge) -> None:
    a, b = judge.judge_batch(
        [JudgeInput(1, "", "历城区洪家楼街道停水"), JudgeInput(2, "", "甸柳新村街道停水了")]
    )
    assert a.districts == ("历城区",)
    assert b.districts == ("历下区",)


def test_thresholds_name_the_shipped_model() -> None:
    assert Thresholds.load().model == LinearModel.load().version


def test_shipped_model_was_measured_and_keeps_its_floors() -> None:
    figures = LinearModel.load().figures
    tone, signal, domain, risk = (
        figures[task]["with_offsets"] for task in ("tone", "signal", "domain", "risk")
    )
    assert tone["macro_f1"] >= 0.835
    assert signal["f1_y"] >= 0.904
    # decision 0007 moved these two from 0.785 and 0.825, by leaving training posts out
    assert domain["accuracy"] >= 0.795
    assert risk["weighted_kappa"] >= 0.837
    assert risk["recall_3"] >= 0.75
    assert max(figures[task]["ece"] for task in ("tone", "signal", "domain", "risk")) <= 0.05


def test_every_judgement_names_its_model(judged: list[tuple[dict[str, Any], Any]]) -> None:
    assert all(o.model.startswith("posts-") and "snownlp-" in o.model for _, o in judged)


def test_labels_of_our_own_touch_no_acceptance_row() -> None:
    """Decision 0007: series P and Q of the unlabelled set may be kept aside for acceptance."""
    ids = [line.split(",")[0] for line in MORE_LABELS.read_text("utf-8").splitlines()[1:]]
    assert len(ids) > 7000
    assert len(set(ids)) == len(ids)
    assert {key[0] for key in ids} == set("UZWTCE")
