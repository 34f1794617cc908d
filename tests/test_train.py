"""`quansheng train` and `quansheng eval`: from corrections to a model in force, to a refusal, and back."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import cli
from analysis import adapt, job
from analysis.adapt import Guess
from analysis.linear import MODEL, LinearModel
from analysis.model_store import folder_of, in_force
from analysis.verdict import Paired, compare_taught, refusals
from commands import train as training
from incidents import corrections, queries
from incidents.dossier import dossier
from incidents.installation import Installation, Problem, open_installation
from incidents.posts import NewPost, save_posts

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
NURSERIES = ("红星", "蓝天", "朝阳", "金果", "小鹿", "春芽", "星河", "百灵")
TROUBLES = ("门口太吵", "又涨了八百块", "说关就关", "没有地方停车", "要排队两个月")
ESTATES = ("泉景家园", "明湖小区", "历山苑", "丽水新村", "金牛花园")
MATTERS = (
    "小区物业三个月没打扫楼道",
    "门口的公交车等了五十分钟没来",
    "旁边工地拖欠工资半年",
    "今天的晚霞真美",
    "门口超市卖过期酸奶",
    "停水两天没有通知",
    "一楼饭店的油烟直排居民家",
    "附近小学的家长反映收费补课",
    "的电梯坏了，老人被困半小时",
    "门口发生车祸，有人受伤送医",
    "的社区医院排队三个小时",
    "的居民感谢社区工作人员",
)
OTHERS = tuple(f"{estate}{matter}" for estate in ESTATES for matter in MATTERS)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installation]:
    """An installation with judged posts of which people corrected some: here nurseries are called 苗圃."""
    monkeypatch.chdir(tmp_path)
    opened = open_installation()
    yield opened
    opened.db.close()


def add(home: Installation, texts: list[str], now: datetime = NOW) -> None:
    with home.db.transaction() as session:
        save_posts(
            session,
            [
                NewPost(
                    "board",
                    f"{now:%d%H}-{n}",
                    f"https://board.example/{now:%d%H}/{n}",
                    "",
                    text,
                    now - timedelta(minutes=n),
                    False,
                    now,
                    None,
                )
                for n, text in enumerate(texts)
            ],
        )
    job.run(home.db, home.bundle, now)


def teach(home: Installation, domain: str = "schooling") -> None:
    add(home, [f"{name}苗圃{trouble}" for name in NURSERIES for trouble in TROUBLES] + list(OTHERS))
    with home.db.transaction() as session:
        for post in range(1, len(NURSERIES) * len(TROUBLES) + 1):
            corrections.correct(session, post, {"domain": domain}, actor="zhang", channel="console", now=NOW)


@pytest.fixture
def quansheng(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Calls the command as the console script does."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    monkeypatch.delenv("QUANSHENG_DATA", raising=False)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["quansheng", *arguments])
        capsys.readouterr()
        try:
            cli.main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(bool(end.code))
        shown = capsys.readouterr()
        assert "Traceback" not in shown.err, shown.err
        return code, shown.out, shown.err

    yield call
    root.handlers[:] = handlers
    root.setLevel(level)


def test_from_corrections_to_a_model_in_force_and_back(
    home: Installation, quansheng: Callable[..., tuple[int, str, str]]
) -> None:
    teach(home)
    code, out, err = quansheng("train")
    assert code == 0, err
    assert "not installed; --yes" in err
    assert in_force(folder_of(home.settings.data_path)).stored is None
    code, out, err = quansheng("train", "--yes")
    assert code == 0, err
    assert "corrections   domain" in out
    assert "what would be judged otherwise" in out
    version = f"{LinearModel.load().version}-city1"
    # the judge of this process takes it from the next batch on, without a restart
    later = NOW + timedelta(hours=1)
    add(home, ["银杏苗圃又涨了八百块"], later)
    with home.db.reading() as session:
        post = dossier(session, len(NURSERIES) * len(TROUBLES) + len(OTHERS) + 1)
        assert post is not None
        assert post.judgement is not None
        assert post.judgement.model_version.startswith(version)
        assert post.judgement.domain == "schooling"
        event = queries.latest_events(session, kinds=["model_installed"])[0]
        assert event.payload["version"] == version
        assert event.payload["table"]
    code, out, _ = quansheng("doctor", "--json")
    found = {row["check"]: row for row in json.loads(out)}
    assert found["model"]["level"] == "ok"
    code, out, err = quansheng("train", "--rollback")
    assert code == 0, err
    assert "judges from the next batch" in out
    add(home, ["海棠苗圃说关就关"], later + timedelta(hours=1))
    with home.db.reading() as session:
        post = dossier(session, len(NURSERIES) * len(TROUBLES) + len(OTHERS) + 2)
        assert post is not None
        assert post.judgement is not None
        assert not post.judgement.model_version.startswith(version)
        assert queries.latest_events(session, kinds=["model_rolled_back"])
    code, _, err = quansheng("train", "--rollback")
    assert code == 1
    assert "nothing to go back from" in err


def test_too_few_corrections_say_so(
    home: Installation, quansheng: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, err = quansheng("train", "--yes")
    assert code == 1
    assert "at least 20" in err


def test_a_folder_without_labelled_posts_says_so(
    home: Installation, quansheng: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    code, _, err = quansheng("train", "--data", str(tmp_path / "nothing"))
    assert code == 1
    assert "posts_gold.jsonl" in err
    code, _, err = quansheng("eval", "--data", str(tmp_path / "nothing"))
    assert code == 1
    assert "posts_gold.jsonl" in err


def test_a_worse_model_is_refused_and_nothing_changes(
    home: Installation, quansheng: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    teach(home)
    # a change without measure: everything is pulled towards one class
    plain = adapt.adapt

    def spoiled(*args: Any, **kwargs: Any) -> adapt.Adapted:
        monkeypatch.setattr(adapt._Work, "choose", everything_is_schooling)
        return plain(*args, **kwargs)

    def everything_is_schooling(work: Any, rows: Any) -> Any:
        offsets = {task: values.copy() for task, values in work.offsets.items()}
        offsets["domain"][list(work.model.labels["domain"]).index("schooling")] += 9.0
        return dict.fromkeys(offsets), offsets

    monkeypatch.setattr(adapt, "adapt", spoiled)
    code, out, err = quansheng("train", "--yes")
    assert code == 1
    assert "WORSE" in out
    assert "not installed" in err
    assert "domain on the frozen" in err
    assert in_force(folder_of(home.settings.data_path)).stored is None


def test_a_whole_refit_holds_a_fifth_out_and_is_refused_when_worse_on_gold(
    home: Installation,
    quansheng: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    import analysis.train  # scikit-learn: only here

    teach(home)
    with home.db.transaction() as session:
        for post in range(41, 61):
            corrections.correct(session, post, {}, actor="li", channel="console", now=NOW, confirm=True)
    given: list[dict[str, Any]] = []
    shipped = LinearModel.load().figures
    worse = {**shipped, "tone": {**shipped["tone"], "with_offsets": {**shipped["tone"]["with_offsets"]}}}
    worse["tone"]["with_offsets"]["accuracy"] -= 0.02

    def fit(data: Path, version: str, say: Any, extra: Any = ()) -> tuple[bytes, dict[str, Any]]:
        given.extend(extra)
        return MODEL.read_bytes(), worse

    monkeypatch.setattr(analysis.train, "train", fit)
    code, out, err = quansheng("train", "--data", str(tmp_path), "--yes")
    assert code == 1
    assert "tone on the shared labelled posts" in err
    assert "gold, 5 folds tone" in out
    assert len(given) == 60 - 12
    assert {"title", "text", "domain"} <= set(given[0])
    assert not any("苗圃" in row["text"] and "tone" in row for row in given), "only what a person said"


def test_a_city_with_a_whole_refit_needs_the_data_again(
    home: Installation, quansheng: Callable[..., tuple[int, str, str]]
) -> None:
    models = training.store(home)
    packed = MODEL.read_bytes()
    models.use(models.put(packed, version="posts-9-city1", base=training.GOLD, now=NOW, figures={}))
    code, _, err = quansheng("train")
    assert code == 1
    assert "--data" in err


def test_two_trainings_at_once_are_refused(
    home: Installation, quansheng: Callable[..., tuple[int, str, str]]
) -> None:
    with training.store(home).lock():
        code, _, err = quansheng("train")
    assert code == 1
    assert "another `quansheng train`" in err


def test_worse_is_more_than_chance() -> None:
    assert not Paired("frozen", "tone", 100, 0.9, 0.88, 2, 4).worse  # 2 lost on balance, of 6 that differ
    assert Paired("frozen", "tone", 100, 0.9, 0.85, 1, 6).worse
    assert not Paired("frozen", "tone", 100, 0.9, 0.9, 0, 0).worse
    assert refusals([Paired("corrections", "tone", 50, 0.8, 0.8, 0, 0)], [])
    assert not refusals([Paired("corrections", "tone", 50, 0.8, 0.84, 2, 0)], [])
    assert refusals([], ["食物中毒"])


def test_tasks_nobody_spoke_of_are_not_counted() -> None:
    import numpy as np

    p = {task: np.array([[0.9, 0.1]]) for task in ("tone", "signal", "domain", "risk")}
    guess = Guess(p, dict.fromkeys(p, ("a", "b")))
    table = compare_taught(guess, guess, [{"tone": "a"}])
    assert {row.task: row.n for row in table} == {"tone": 1, "signal": 0, "domain": 0, "risk": 0}


def test_eval_without_data_and_without_an_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quansheng: Callable[..., tuple[int, str, str]]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = quansheng("eval", "--quick", "--json")
    assert code == 0, err
    report = json.loads(out)
    assert not (tmp_path / "var").exists(), "looking makes no database"
    by_name = {(f["area"], f["name"], f["how"][:3]): f for f in report["figures"]}
    assert by_name["tone", "macro_f1", "sto"]["least"] == 0.86
    assert 0.6 < by_name["domain", "accuracy", "now"]["value"] <= 1
    assert by_name["incidents", "BCubed F1", "abs"]["value"] is None
    assert "QUANSHENG_DATA not set" in by_name["incidents", "BCubed F1", "abs"]["how"]
    assert all(
        f["value"] is not None or "absent" in f["how"] or "not computed" in f["how"]
        for f in report["figures"]
    )


def test_eval_tells_how_often_people_had_to_correct(
    home: Installation, quansheng: Callable[..., tuple[int, str, str]]
) -> None:
    teach(home, "elderly")
    with home.db.transaction() as session:
        corrections.correct(
            session, 41, {"domain": "housing"}, actor="li", channel="console", now=NOW, confirm=True
        )
    code, out, err = quansheng("eval", "--quick", "--json")
    assert code == 0, err
    report = json.loads(out)
    domain = next(row for row in report["corrections"] if row["kind"] == "domain")
    assert domain["n"] >= 36
    assert domain["right"] <= 1
    assert domain["interval"][0] <= domain["right"] / domain["n"] <= domain["interval"][1]
    assert report["domain_confusions"][0]["person"] == "elderly"
    code, out, _ = quansheng("eval", "--quick")
    assert "people say elderly" in out
    assert "lower bounds" in out


def test_a_refused_model_cannot_be_installed_by_the_back_door(home: Installation) -> None:
    trial = training.Trial("x-city1", "x", b"", (), (), ("it is worse",), (), training.Agreement(), 0, 0)
    with pytest.raises(Problem, match="it is worse"):
        training.install(home, trial, actor="zhang", now=NOW)
