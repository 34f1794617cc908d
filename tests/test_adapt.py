"""Learning from corrections: what is wanted of margins, that it helps on posts like those corrected, and leaves others be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis import adapt
from analysis.adapt import Taught, wanted
from analysis.fastsnow import load_snow
from analysis.judge import Judge, JudgeInput, Thresholds
from analysis.linear import MODEL, LinearModel
from analysis.reading import Reader
from analysis.risk import RiskWords
from analysis.verdict import answer_of, frozen_posts, paired

#: this city calls its nurseries 苗圃 and wants posts about them under schooling; the shipped model cannot know
NURSERIES = ("红星", "蓝天", "朝阳", "金果", "小鹿", "春芽", "星河", "百灵", "银杏", "海棠")
TROUBLES = ("门口太吵", "又涨了八百块", "说关就关", "没有地方停车", "换了三个人看管", "要排队两个月")
ELSEWHERE = tuple(row["text"] for row in frozen_posts()[:40])


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader(load_snow(), RiskWords.load())


def nursery_posts() -> list[str]:
    return [f"{name}苗圃{trouble}" for name in NURSERIES for trouble in TROUBLES]


def taught(posts: list[str]) -> list[Taught]:
    return [Taught(number, "", text, {"domain": "schooling"}) for number, text in enumerate(posts)]


def offsets() -> dict[str, dict[str, float]]:
    return {task: dict(values) for task, values in Thresholds.load().offsets.items()}


def test_wanted_is_what_a_margin_lacks_on_its_side() -> None:
    columns = ("tone:neg", "tone:neu", "signal", "risk>=1", "risk>=2")
    margins = np.array([[2.0, -0.5, 0.25, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0]])
    found = wanted(columns, margins, [{"tone": "neg", "signal": "n", "risk": "1"}, {"signal": "y"}])
    assert found[0].tolist() == [0.0, -0.5, -1.25, 1.0, -1.0]
    assert found[1].tolist() == [0.0, 0.0, 1.0, 0.0, 0.0], "what nobody judged is not moved"


def test_it_learns_a_word_of_the_city_and_leaves_other_posts_be(reader: Reader, tmp_path: Path) -> None:
    posts = nursery_posts()
    learnt, unseen = posts[:40], posts[40:]
    done = adapt.adapt(
        MODEL, offsets(), taught(learnt), [("", text) for text in ELSEWHERE], "posts-9-city1", reader
    )
    path = tmp_path / "new.npz.xz"
    path.write_bytes(done.packed)
    pairs = [("", text) for text in unseen]
    before = adapt.judge_posts(MODEL, offsets(), pairs, reader).best("domain")
    after = adapt.judge_posts(path, done.offsets, pairs, reader).best("domain")
    assert before.count("schooling") < len(unseen) // 2
    assert after.count("schooling") >= len(unseen) - 2
    others = [("", row["text"]) for row in frozen_posts()[40:]]
    was = adapt.judge_posts(MODEL, offsets(), others, reader)
    now = adapt.judge_posts(path, done.offsets, others, reader)
    for task in ("tone", "signal", "domain", "risk"):
        moved = sum(a != b for a, b in zip(was.best(task), now.best(task), strict=True))
        assert moved <= len(others) // 10, task
        truth = [str(row[task]) for row in frozen_posts()[40:]]
        assert not paired("frozen", task, was.best(task), now.best(task), truth).worse
        assert task == "domain" or done.strengths[task] is None, "nobody said anything about it"


def test_figures_come_from_models_that_did_not_see_the_post(reader: Reader) -> None:
    # labels without any rule in them: what is seen can be learnt by heart, what is not cannot
    posts = [row["text"] for row in frozen_posts() if row["domain"] == "none"][:24]
    flip = np.random.RandomState(3).randint(0, 2, len(posts))
    said = [
        Taught(n, "", text, {"domain": "market" if flip[n] else "transport"}) for n, text in enumerate(posts)
    ]
    done = adapt.adapt(MODEL, offsets(), said, [], "posts-9-city1", reader)
    right = sum(g == t.answers["domain"] for g, t in zip(done.after.best("domain"), said, strict=True))
    assert right <= 18


def test_the_new_file_is_read_and_judged_with_like_the_shipped_one(reader: Reader, tmp_path: Path) -> None:
    done = adapt.adapt(MODEL, offsets(), taught(nursery_posts()[:25]), [], "posts-9-city4", reader)
    path = tmp_path / "new.npz.xz"
    path.write_bytes(done.packed)
    model = LinearModel.load(path)
    assert model.version == "posts-9-city4"
    assert model.figures["adapted"] == 25
    assert model.figures["tone"]["offsets"] == done.offsets["tone"]
    judge = Judge(model, reader, Thresholds.load().of(model))
    texts = [row["text"] for row in frozen_posts()[:30]]
    outputs = judge.judge_batch([JudgeInput(n, "", text) for n, text in enumerate(texts)])
    same = adapt.judge_posts(path, done.offsets, [("", text) for text in texts], reader)
    assert [answer_of(o, "domain") for o in outputs] == same.best("domain")
    assert [answer_of(o, "tone") for o in outputs] == same.best("tone")


def test_without_corrections_there_is_nothing_to_learn(reader: Reader) -> None:
    with pytest.raises(ValueError, match="nothing to learn"):
        adapt.adapt(MODEL, offsets(), [], [], "x", reader)
