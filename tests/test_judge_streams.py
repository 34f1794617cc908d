"""`judge` and `cluster`: one answer per good line, in order; a bad line is named and costs nothing else."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool

import pytest

from analysis.judge import Judge, JudgeInput
from analysis.streams import (
    AHEAD,
    BadLine,
    Workers,
    cluster_stream,
    judge_items,
    judge_stream,
    read_line,
    read_time,
)


def _die(judge: Judge, number: int) -> None:
    os._exit(number)


def line(**fields: object) -> str:
    return json.dumps(fields, ensure_ascii=False) + "\n"


GOOD = [
    line(id="b", title="小区停水三天没人管", text="物业不接电话", published_at="2026-03-01T08:00:00+08:00"),
    line(id=7, text="今天天气真好", published_at=""),
    line(id="a", title="", text="学校食堂吃出虫子", published_at="2026-03-01"),
]


def test_judgements_come_in_input_order_with_the_ids_echoed() -> None:
    out, err = io.StringIO(), io.StringIO()
    summary = judge_stream(GOOD, out, err=err)
    rows = [json.loads(row) for row in out.getvalue().splitlines()]
    assert [row["id"] for row in rows] == ["b", 7, "a"]
    assert (summary.done, summary.bad, err.getvalue()) == (3, 0, "")
    assert {"id", "domain", "tone", "tone_score", "signal", "risk", "places", "model"} <= set(rows[0])


def test_a_bad_line_is_named_and_the_rest_goes_on() -> None:
    out, err = io.StringIO(), io.StringIO()
    lines = [GOOD[0], "{broken\n", "\n", "[1]\n", line(title="没有编号", text="x"), line(id="q"), GOOD[2]]
    summary = judge_stream(lines, out, err=err)
    assert [json.loads(row)["id"] for row in out.getvalue().splitlines()] == ["b", "a"]
    assert (summary.done, summary.bad) == (2, 4)
    told = err.getvalue().splitlines()
    assert [sentence.split(":")[0] for sentence in told] == ["line 2", "line 4", "line 5", "line 6"]
    assert "id is missing" in told[2]


@pytest.mark.parametrize(
    "bad",
    [
        '"text"',
        "{}",
        '{"id": 1.5, "text": "x"}',
        '{"id": "x", "text": 3}',
        '{"id": "x", "text": "x", "published_at": "yesterday"}',
        '{"id": "x", "text": "x", "published_at": 20260301}',
        "[" * 100_000,
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(bad: str) -> None:
    with pytest.raises(BadLine):
        read_line(bad)


def test_a_time_without_a_zone_is_chinas() -> None:
    when = read_time("2026-03-01T08:00:00")
    assert when is not None
    assert when.isoformat() == "2026-03-01T08:00:00+08:00"


def test_two_workers_give_the_answers_of_one() -> None:
    lines = [line(id=i, text=f"第{i}条 小区物业不管停水") for i in range(600)]
    one, two = io.StringIO(), io.StringIO()
    judge_stream(lines, one)
    judge_stream(lines, two, jobs=2)
    assert one.getvalue() == two.getvalue()


def test_two_workers_name_bad_lines_by_their_number_in_the_whole_file() -> None:
    lines = [line(id=i, text="停水") if i % 300 else "{broken\n" for i in range(900)]
    one, two, told_one, told_two = io.StringIO(), io.StringIO(), io.StringIO(), io.StringIO()
    summary = judge_stream(lines, one, err=told_one, explain=True)
    assert judge_stream(lines, two, err=told_two, jobs=2, explain=True) == summary
    assert (summary.done, summary.bad) == (897, 3)
    assert one.getvalue() == two.getvalue()
    assert told_one.getvalue() == told_two.getvalue()
    assert [row.split(":")[0] for row in told_two.getvalue().splitlines()] == [
        "line 1",
        "line 301",
        "line 601",
    ]


def test_workers_read_only_a_few_batches_ahead() -> None:
    taken = 0

    def endless() -> Iterator[list[JudgeInput]]:
        nonlocal taken
        while True:
            taken += 1
            yield [JudgeInput(taken, "", "停水三天")]

    with Workers(jobs=2) as workers:
        answers = workers.map(judge_items, endless())
        assert [next(answers)[0].id for _ in range(3)] == [1, 2, 3]
        assert taken <= 3 + 2 * AHEAD


def test_a_dead_worker_is_an_error_and_not_a_silence() -> None:
    with Workers(jobs=2) as workers, pytest.raises(BrokenProcessPool):
        list(workers.map(_die, [1, 2, 3]))


def test_same_matter_gets_one_incident_and_a_repost_names_its_origin() -> None:
    text = "泉景天沅小区旁边的搅拌站昼夜施工，噪音和粉尘让人没法开窗，业主要求停工"
    lines = [
        line(id="1", title="泉景天沅小区旁搅拌站扰民", text=text, published_at="2026-03-01T08:00:00+08:00"),
        line(
            id="2",
            title="咨询入学政策",
            text="请问外地户口孩子上小学要什么材料",
            published_at="2026-03-01T09:00:00+08:00",
        ),
        line(id="3", title="泉景天沅小区旁搅拌站扰民", text=text, published_at="2026-03-02T08:00:00+08:00"),
        line(
            id="4",
            title="投诉泉景天沅旁的搅拌站",
            text="泉景天沅三期旁的搅拌站噪音太大，粉尘满天",
            published_at="2026-03-03",
        ),
    ]
    out = io.StringIO()
    cluster_stream(lines, out, err=io.StringIO())
    rows = {row["id"]: row for row in map(json.loads, out.getvalue().splitlines())}
    assert rows["1"]["incident"] == rows["3"]["incident"] == rows["4"]["incident"] != rows["2"]["incident"]
    assert rows["3"]["near_copy_of"] == "1"
    assert "near_copy_of" not in rows["4"]


def test_an_unwritable_character_does_not_stop_the_stream() -> None:
    out = io.StringIO()
    judge_stream(['{"id": "\\ud800", "text": "物业\\udfff"}\n', GOOD[0]], out, err=io.StringIO())
    assert len(out.getvalue().splitlines()) == 2
    out.getvalue().encode("utf-8")


def test_a_line_that_is_not_utf8_is_named_and_the_rest_goes_on() -> None:
    raw = io.BytesIO(
        GOOD[0].encode() + '{"id": "g", "text": "物业很差，没人管"}\n'.encode("gb18030") + GOOD[2].encode()
    )
    out, err = io.StringIO(), io.StringIO()
    summary = judge_stream(io.TextIOWrapper(raw, "utf-8"), out, err=err)
    assert (summary.done, summary.bad) == (2, 1)
    assert err.getvalue().startswith("line 2: not UTF-8")
