"""Emergence: both tracks, their arithmetic, and the job that turns posts into incidents."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from analysis import job
from analysis.counts import nb_tail
from analysis.emerge import Background, Growth, Hour, Policy, burst, fast_track
from analysis.heat import grade, propose_level
from analysis.judge import Judge, JudgeInput
from analysis.risk import RiskWords
from config.bundle import Bundle, load_bundle
from incidents import judgements, posts, queries
from incidents.migrate import upgrade
from incidents.posts import NewPost
from incidents.session import Database

AT = datetime(2026, 3, 10, 12, tzinfo=UTC)
WATCHED = frozenset({"housing", "schooling", "food_safety", "work_safety", "health"})
POLICY = Policy(1.0, WATCHED)


def growth(
    voices: Sequence[int], *, step_h: int = 1, negative: int = 0, domain: str = "housing", signal: float = 1.0
) -> Growth:
    hours = [Hour(AT - timedelta(hours=step_h * i), n, n, min(n, negative)) for i, n in enumerate(voices)]
    first = min(h.hour for h in hours)
    return Growth(AT, first, hours, domain, signal)


def test_tail_of_the_count_model_is_that_of_the_negative_binomial() -> None:
    assert nb_tail(0, 2.0) == 1.0
    assert nb_tail(1, 2.0, 1.0) == pytest.approx(1 - 1 / 3)
    # size 1 is geometric: P(N >= k) = (mean / (1 + mean)) ** k, far into the tail too
    assert nb_tail(40, 0.5, 1.0) == pytest.approx((0.5 / 1.5) ** 40, rel=1e-4)
    assert nb_tail(3, 0.0) == 0.0
    assert nb_tail(5, 1.0) < nb_tail(5, 2.0) < nb_tail(4, 2.0)


def test_many_authors_in_hours_are_raised_with_the_arithmetic() -> None:
    decision = burst(growth([4, 3, 2], negative=2), Background(100.0), POLICY)
    assert decision.raised
    assert decision.why["voices"] == 9
    assert decision.why["p"] < decision.why["limit"]
    assert "9 位作者" in decision.why["sentence_zh"]
    assert "9 authors" in decision.why["sentence_en"]


def test_two_authors_are_never_enough() -> None:
    decision = burst(growth([2]), Background(10.0), POLICY)
    assert not decision.raised
    assert "少于 3 位作者" in decision.why["sentence_zh"]


def test_anger_alone_raises_nothing() -> None:
    calm = burst(growth([1, 1]), Background(100.0), POLICY)
    angry = burst(growth([1, 1], negative=2), Background(100.0), POLICY)
    assert not calm.raised
    assert not angry.raised
    assert calm.why["p"] == angry.why["p"]


def test_a_busier_city_needs_more_voices() -> None:
    small = burst(growth([1, 1, 1], step_h=30), Background(60.0), POLICY)
    large = burst(growth([1, 1, 1], step_h=30), Background(60_000.0), POLICY)
    assert small.raised
    assert not large.raised


def test_more_allowed_false_alarms_raise_earlier() -> None:
    few, many = Policy(0.05, WATCHED), Policy(5.0, WATCHED)
    assert not burst(growth([1, 1, 1], step_h=100), Background(200.0), few).raised
    assert burst(growth([1, 1, 1], step_h=100), Background(200.0), many).raised


def test_chat_is_not_raised_however_many_write() -> None:
    decision = burst(growth([9, 9, 9], signal=0.2), Background(100.0), POLICY)
    assert not decision.raised
    assert "不是诉求" in decision.why["sentence_zh"]


def test_a_steady_drip_is_its_own_baseline() -> None:
    steady = growth([1] * 28, step_h=24)
    assert burst(steady, Background(100.0), POLICY).why["p"] > 0.01


def test_a_domain_off_the_list_must_be_rarer() -> None:
    inside = burst(growth([1, 1, 1], domain="housing"), Background(100.0), POLICY)
    outside = burst(growth([1, 1, 1], domain="market"), Background(100.0), POLICY)
    assert outside.why["limit"] == pytest.approx(inside.why["limit"] * 0.3, rel=0.01)


def test_grades_follow_the_bands() -> None:
    assert propose_level(1, 1.0, 1, frozenset()) == "general"
    assert propose_level(1, 1.0, 2, frozenset({"death"})) == "serious"
    assert propose_level(400, 60.0, 3, frozenset({"death"})) in ("major", "critical")
    parts = grade(1000, 64.0, 3, frozenset({"death"}), media=1.0)
    assert parts["score"] == pytest.approx(36 + 25 + 20 + 15)
    assert math.isclose(sum(v for k, v in parts.items() if k != "score"), parts["score"])


@pytest.mark.parametrize(
    ("words", "silence"),
    [
        ("一旦发生火灾后果不堪设想", "hypothetical"),
        ("没有人受伤", "negation"),
        ("社区举行消防演练，模拟火灾", "drill"),
        ("这部电影里主角死亡了", "fiction"),
        ("网传食物中毒系谣言", "rumour"),
        ("今天加班累死了", "idiom"),
        ("1998年那场火灾", "history"),
    ],
)
def test_not_here_not_now_silences_a_hazard_word(words: str, silence: str) -> None:
    reading = RiskWords.load().read(words, AT)
    assert reading.hits
    assert not reading.fired
    assert {hit.silenced_by.split(":")[0] for hit in reading.hits} == {silence}


def test_another_city_is_elsewhere_unless_ours_is_named() -> None:
    words = RiskWords.load()
    assert words.read("河南一餐馆爆炸", AT, ("济南",)).where == "elsewhere"
    assert words.read("从河南来济南打工，工地塌方", AT, ("济南",)).where == "here"


def test_fast_track_says_why_and_why_not(bundle: Bundle) -> None:
    judge = Judge.load(bundle.places)
    grave, drill = judge.judge_batch(
        [JudgeInput(1, "", "历下区某小学多名学生食物中毒住院", AT), JudgeInput(2, "", "学校组织火灾演练", AT)]
    )
    assert fast_track(grave, WATCHED).raised
    assert "食物中毒" in fast_track(grave, WATCHED).why["sentence_zh"]
    silent = fast_track(drill, WATCHED)
    assert not silent.raised
    assert "drill" in silent.why["sentence_en"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder: Path = tmp_path_factory.mktemp("config")
    (folder / "quansheng.toml").write_text("[analysis]\nbatch = 7\n", "utf-8")
    return load_bundle(folder / "quansheng.toml")


WORDINGS = (
    "要求退车位款",
    "不买车位就不给签合同太霸道",
    "一个车位十二万",
    "求相关部门查处",
    "业主不同意捆绑",
    "开发商必须取消",
    "强制搭售违法",
)


def new_post(number: int, title: str, body: str, *, author: str | None, hours: float = 0) -> NewPost:
    at = AT + timedelta(hours=hours)
    return NewPost(
        "hall", f"p{number}", f"https://example.invalid/{number}", title, body, at, False, at, author
    )


def growing(count: int) -> list[NewPost]:
    return [
        new_post(
            n,
            f"投诉泉景天沅小区捆绑销售车位{WORDINGS[n % len(WORDINGS)]}",
            f"我是泉景天沅的业主，{WORDINGS[n % len(WORDINGS)]}，开发商买房强制捆绑车位。第{n}次反映",
            author=f"a{n}",
            hours=n,
        )
        for n in range(count)
    ]


def chatter() -> list[NewPost]:
    return [
        new_post(100, "", "哈哈今天天气真好", author="x"),
        new_post(101, "咨询落户", "请问大学生落户需要什么材料", author="y"),
        new_post(102, "路灯坏了", "花园路东头的路灯坏了一个月", author="z"),
    ]


def save(db: Database, items: Sequence[NewPost]) -> None:
    with db.transaction() as session:
        posts.save_posts(session, items)


def picture(db: Database) -> list[tuple[object, ...]]:
    with db.reading() as session:
        live = judgements.live_incidents(session, AT - timedelta(days=30))
        return [
            (i.id, i.title, i.domain, i.state, i.posts, i.voices, tuple(judgements.post_ids(session, i.id)))
            for i in live
        ]


def test_a_growing_matter_becomes_one_detected_incident(any_db: Database, bundle: Bundle) -> None:
    save(any_db, [*growing(6), *chatter()])
    summary = job.run(any_db, bundle, AT + timedelta(hours=8))
    assert summary.posts == 9
    assert len(summary.detected) == 1
    with any_db.reading() as session:
        incident = queries.get_incident(session, summary.detected[0])
        assert incident is not None
        assert incident.state == "detected"
        assert incident.domain == "housing"
        assert incident.posts == 6
        assert posts.count_unjudged(session) == 0


def test_running_again_judges_and_doubles_nothing(db: Database, bundle: Bundle) -> None:
    save(db, growing(5))
    job.run(db, bundle, AT + timedelta(hours=6))
    before = picture(db)
    assert job.run(db, bundle, AT + timedelta(hours=7)).posts == 0
    assert picture(db) == before


def test_a_restart_between_batches_changes_nothing(db: Database, bundle: Bundle, tmp_path: Path) -> None:
    everything = [*growing(6), *chatter(), *growing(20)[6:]]
    save(db, everything)
    for _ in range(10):
        job._states.clear()  # what a new process starts with
        job.run(db, bundle, AT + timedelta(hours=24), max_batches=1)
    restarted = picture(db)

    other = Database(f"sqlite:///{tmp_path / 'other.db'}", audit_key=b"another key that signs only tests")
    upgrade(other.engine)
    save(other, everything)
    job.run(other, bundle, AT + timedelta(hours=24))
    assert picture(other) == restarted
    other.close()


def test_a_failure_inside_a_batch_leaves_nothing_behind(db: Database, bundle: Bundle) -> None:
    save(db, growing(5))
    refuse = "CREATE TRIGGER full_disk BEFORE INSERT ON heartbeat BEGIN SELECT RAISE(ABORT, 'disk full'); END"
    with db.engine.begin() as connection:
        connection.execute(text(refuse))
    with pytest.raises(IntegrityError, match="disk full"):
        job.run(db, bundle, AT + timedelta(hours=6))
    assert picture(db) == []
    with db.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER full_disk"))
    assert job.run(db, bundle, AT + timedelta(hours=6)).posts == 5
    assert picture(db)[0][4] == 5


def test_reposts_of_one_text_are_one_voice(db: Database, bundle: Bundle) -> None:
    body = "泉景天沅小区开发商强制捆绑车位销售，不买车位不给签合同，业主强烈反对，请领导查处"
    save(db, [new_post(n, "泉景天沅捆绑车位", body, author=f"a{n}", hours=n) for n in range(5)])
    summary = job.run(db, bundle, AT + timedelta(hours=6))
    assert summary.detected == []
    assert picture(db)[0][4:6] == (5, 1)


def test_a_single_grave_post_is_raised_at_once(db: Database, bundle: Bundle) -> None:
    save(db, [new_post(1, "", "历下区某幼儿园多名孩子午饭后食物中毒，正在医院抢救", author="a")])
    summary = job.run(db, bundle, AT)
    assert len(summary.detected) == 1
    with db.reading() as session:
        incident = queries.get_incident(session, summary.detected[0])
    assert incident is not None
    assert incident.track == "fast"
    assert incident.level in ("serious", "major")


def test_an_old_burst_that_arrives_late_is_history(db: Database, bundle: Bundle) -> None:
    save(db, growing(6))
    assert job.run(db, bundle, AT + timedelta(days=60)).detected == []


def test_why_not_gives_the_arithmetic_of_silence(db: Database, bundle: Bundle) -> None:
    save(db, growing(2))
    job.run(db, bundle, AT + timedelta(hours=3))
    with db.reading() as session:
        incident = judgements.live_incidents(session, AT - timedelta(days=1))[0]
        why = job.why_not(session, bundle, incident.id, AT + timedelta(hours=3))
        assert job.why_not(session, bundle, 999, AT) is None
    assert why is not None
    assert not why["would_raise"]
    assert "未报" in why["sentence_zh"]
