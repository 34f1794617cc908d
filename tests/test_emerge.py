"""Emergence: both tracks, their arithmetic, and the job that turns posts into incidents."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from analysis import job
from analysis.alarms import Ledger, Limit
from analysis.counts import LEAST_SIZE, Look, Profile, looks, nb_tail, ordinary_of, working
from analysis.emerge import Background, Growth, Hour, Policy, burst, fast_track
from analysis.heat import (
    explain,
    grade,
    heat,
    level_of,
    media_share,
    overrides,
    propose_level,
    read_harm,
    robust_growth,
)
from analysis.judge import Judge, JudgeInput
from analysis.risk import RiskWords
from config.bundle import Bundle, load_bundle
from incidents import judgements, posts, queries
from incidents.beats import get_beat
from incidents.migrate import upgrade
from incidents.models import Judgement
from incidents.posts import NewPost
from incidents.session import Database

AT = datetime(2026, 3, 10, 12, tzinfo=UTC)
DAY = Path(__file__).parent.parent / "demo" / "day.yaml"
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


def test_what_is_raised_in_its_first_batch_is_named_by_all_its_posts(db: Database, bundle: Bundle) -> None:
    """The first post says only “又要延期” and is of no domain; those after it in the batch say what it is about."""
    told = [one for one in yaml.safe_load(DAY.read_text("utf-8"))["posts"] if one[3] == "housing"][1:12]
    items = [
        replace(new_post(n, title, text, author=author), published_at=_at(clock), fetched_at=_at(clock))
        for n, (clock, _, author, _, title, text) in enumerate(told)
    ]
    save(db, items)
    summary = job.run(db, bundle, _at("13:00"))
    assert len(summary.detected) == 1
    with db.reading() as session:
        incident = queries.get_incident(session, summary.detected[0])
        history = queries.events_of(session, summary.detected[0])
        first = session.get_one(Judgement, 1).domain
    assert first == "none", "the trap is gone: choose another first post"
    assert incident is not None
    assert (incident.domain, incident.district) == ("housing", "槐荫区")
    assert next(one for one in history if one.kind == "detected").payload["why"]["domain"] == incident.domain


def _at(clock: str) -> datetime:
    hour, minute = clock.split(":")
    return AT.replace(hour=int(hour), minute=int(minute))


def test_running_again_judges_and_doubles_nothing(db: Database, bundle: Bundle) -> None:
    save(db, growing(5))
    job.run(db, bundle, AT + timedelta(hours=6))
    before = picture(db)
    assert job.run(db, bundle, AT + timedelta(hours=7)).posts == 0
    assert picture(db) == before


def test_a_restart_between_batches_changes_nothing(db: Database, bundle: Bundle, tmp_path: Path) -> None:
    everything = [*growing(6), *chatter(), *growing(20)[6:]]
    save(db, everything)
    taken = 1
    while taken:
        job._states.clear()  # what a new process starts with
        taken = job.run(db, bundle, AT + timedelta(hours=24), max_batches=1).posts
    restarted = picture(db)

    other = Database(f"sqlite:///{tmp_path / 'other.db'}", audit_key=b"another key that signs only tests")
    upgrade(other.engine)
    save(other, everything)
    job.run(other, bundle, AT + timedelta(hours=24))
    assert picture(other) == restarted
    other.close()


def test_batches_shrink_while_they_hold_the_writer_for_long_and_grow_again(
    db: Database, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = bundle.settings.analysis.batch
    save(db, growing(6))
    ticks = iter(range(0, 1000, 3))
    monkeypatch.setattr(job, "monotonic", lambda: float(next(ticks)))  # every batch takes three seconds
    assert job.run(db, bundle, AT + timedelta(hours=6), max_batches=1).posts == min(6, most)
    assert job._sizes[db] == max(1, most // 2)
    monkeypatch.setattr(job, "monotonic", lambda: 0.0)
    save(db, growing(20)[6:])
    assert job.run(db, bundle, AT + timedelta(hours=24)).posts == 20 - min(6, most)
    assert job._sizes[db] == most
    settings = bundle.settings.analysis
    assert job._next_size(1, 9.0, settings) == 1
    assert job._next_size(most, 9.0, settings.model_copy(update={"hold_s": 0.0})) == most


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


def scores(times: Sequence[float], *, at_h: float = 400.0, surge: float = 1.0) -> float | None:
    """Score of a cluster whose authors wrote so many hours before `at_h` ended."""
    at = AT + timedelta(hours=at_h)
    hours: dict[datetime, int] = {}
    for hour in times:
        when = (AT + timedelta(hours=hour)).replace(minute=0)
        hours[when] = hours.get(when, 0) + 1
    cells = [Hour(h, n, n, 0) for h, n in sorted(hours.items())]
    growth_now = Growth(at, cells[0].hour, cells, "housing", 1.0)
    return burst(growth_now, Background(100.0, surge=surge), POLICY, Limit(0.0, warm=True)).score


TIMES = st.lists(st.integers(0, 400), min_size=2, max_size=40)


@settings(max_examples=150, deadline=None)
@given(TIMES, st.integers(1, 5))
def test_more_authors_now_never_lower_the_score(times: list[int], more: int) -> None:
    before = scores(times)
    after = scores([*times, *[400] * more])
    assert before is None or (after is not None and after >= before - 1e-9)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(0, 399), min_size=2, max_size=40), st.integers(1, 300))
@example([0, 0, 73, *[160] * 9, 161], 1)
def test_waiting_never_makes_a_look_rarer(times: list[int], wait: int) -> None:
    # Of one window. The best of all windows may change with waiting, for windows begin at fixed ages; and a day or a
    # week of silence ends the comparison with the same hours before.
    hours: dict[datetime, int] = {}
    for hour in times:
        when = AT + timedelta(hours=hour)
        hours[when] = hours.get(when, 0) + 1
    voices = sorted(hours.items())
    ordinary = ordinary_of(100.0, 0.0, 0.0, 1.0)

    def seen(at_h: int) -> dict[datetime, Look]:
        found = looks(voices, voices[0][0], AT + timedelta(hours=at_h), ordinary, Profile.flat(UTC))
        return {look.start: look for look in found}

    now, later = seen(400), seen(400 + wait)
    for start in now.keys() & later.keys():
        assert later[start].extra == now[start].extra
        if now[start].yesterday == now[start].last_week == 0:
            assert later[start].p >= now[start].p - 1e-12


def test_a_surge_of_the_whole_domain_explains_more() -> None:
    calm, stormy = scores([380, 390, 399]), scores([380, 390, 399], surge=8.0)
    assert calm is not None
    assert stormy is not None
    assert stormy < calm


def test_a_holiday_night_counts_for_fewer_hours_than_a_working_morning() -> None:
    zone = ZoneInfo("Asia/Shanghai")
    start = datetime(2026, 1, 5, tzinfo=zone)
    posts = {
        (start + timedelta(hours=h)).astimezone(UTC): 20.0
        for h in range(24 * 56)
        if 8 <= (start + timedelta(hours=h)).hour < 18 and working((start + timedelta(hours=h)).date())
    }
    profile = Profile.learn(posts, start.astimezone(UTC), (start + timedelta(days=56)).astimezone(UTC), zone)
    busy = datetime(2026, 3, 10, 9, tzinfo=zone)
    assert profile.hours(busy, busy + timedelta(hours=3)) > 6
    assert profile.hours(busy.replace(hour=1), busy.replace(hour=4)) < 0.3
    # a day off in the week (Labour Day) is a day off, a make-up Saturday is a working day
    assert profile.hours(datetime(2026, 5, 1, 9, tzinfo=zone), datetime(2026, 5, 1, 12, tzinfo=zone)) < 0.5
    assert profile.hours(datetime(2026, 5, 9, 9, tzinfo=zone), datetime(2026, 5, 9, 12, tzinfo=zone)) > 6
    week = timedelta(days=7)
    assert profile.hours(busy, busy + week) == pytest.approx(168, rel=0.02)
    # beyond the published notices a plain week stands in
    assert working(date(2090, 1, 2))


def test_the_size_of_the_count_model_is_learnt_and_drawn_to_the_prior() -> None:
    prior = ordinary_of(0, 0, 0, 1.0)
    assert prior.follow_ups == pytest.approx(0.05)
    assert prior.size == pytest.approx(0.8, rel=0.01)
    # 10,000 clusters with half a follow-up each, very unequal: the prior hardly counts
    wild = ordinary_of(10_000, 5_000, 100_000, 0.5)
    assert wild.follow_ups == pytest.approx(0.5, rel=0.03)
    assert wild.size == LEAST_SIZE
    assert wild.surge == 1.0


@pytest.mark.parametrize("rate", [0.25, 1.0, 4.0])
def test_the_ledger_keeps_the_set_rate_where_the_model_is_wrong(rate: float) -> None:
    """The model says that scores above 0 come once a week; here they come 40 times as often and far higher."""
    draw = random.Random(5)
    ledger, alarms, weeks = Ledger.for_rate(rate), 0, 150
    limit = ledger.limit(AT, rate)
    for number in range(weeks * 40):
        at = AT + timedelta(weeks=number / 40)
        if number % 8 == 0:
            ledger.forget(at)
            limit = ledger.limit(at, rate)
        ledger.saw(at)
        value = draw.expovariate(0.3)
        ledger.note(number, at, value)
        if value >= limit.score and at >= AT + timedelta(weeks=8):
            alarms += 1
            limit = ledger.limit(at, rate)
    assert rate / 1.5 <= alarms / (weeks - 8) <= rate * 1.5
    assert limit.warm
    assert not limit.thin


def test_the_ledger_says_when_a_stream_is_too_thin_for_the_setting() -> None:
    ledger = Ledger.for_rate(4.0)
    for day in range(140):
        ledger.saw(AT + timedelta(days=day))
    ledger.note(1, AT + timedelta(days=100), 0.5)
    assert ledger.limit(AT + timedelta(days=140), 4.0).thin


def test_what_a_person_confirmed_is_no_false_alarm() -> None:
    ledger = Ledger.for_rate(1.0)
    for day in range(140):
        ledger.saw(AT + timedelta(days=day))
        ledger.note(day, AT + timedelta(days=day), 1.0 + day / 100)
    at = AT + timedelta(days=140)
    assert ledger.limit(at, 1.0, range(100, 140)).score < ledger.limit(at, 1.0).score


def test_the_ledger_survives_being_written_down() -> None:
    ledger = Ledger.for_rate(1.0)
    for day in range(60):
        ledger.saw(AT + timedelta(days=day))
        ledger.note(day, AT + timedelta(days=day), day / 10)
    at = AT + timedelta(days=60)
    again = Ledger.from_json(json.loads(json.dumps(ledger.as_json())), 1.0)
    assert again.limit(at, 1.0) == ledger.limit(at, 1.0)
    assert Ledger.from_json({"scores": "nonsense", "posts": [[1]]}, 1.0).clusters() == []


def test_heat_rises_with_authors_and_cools_by_waiting() -> None:
    hours = [(AT - timedelta(hours=h), 2, 3) for h in range(10)]
    assert heat([*hours, (AT, 1, 1)], AT) > heat(hours, AT)
    assert heat(hours, AT + timedelta(days=2)) < heat(hours, AT)
    assert heat([(AT, 10, 10)], AT) == pytest.approx(26, abs=0.5)
    assert heat([], AT) == 0.0


def test_thirty_ill_in_a_food_case_go_to_a_person_at_once() -> None:
    assert read_harm("学校食堂三十五名学生呕吐腹泻").ill == 35
    assert read_harm("已有42人住院").ill == 42
    assert read_harm("我家孩子肚子疼").ill == 0
    many = overrides(frozenset(), "food_safety", [read_harm("食堂出事，35名学生呕吐")])
    assert many.reasons == ("ill:35",)
    assert level_of(12.0, many) == "serious"
    assert overrides(frozenset(), "food_safety", [read_harm("5名学生呕吐")]).reasons == ()
    assert overrides(frozenset(), "housing", [read_harm("35名业主住院")]).reasons == ()


def test_deaths_focus_and_linked_emergencies_override_the_score() -> None:
    assert level_of(1.0, overrides(frozenset({"death"}), "transport", [])) == "serious"
    focus = overrides(frozenset(), "security", [read_harm("城管暴力执法还打击报复举报人")])
    assert focus.reasons == ("focus:trust",)
    linked = overrides(frozenset(), "disaster", [], "major")
    assert level_of(10.0, linked) == "major"
    why = explain(grade(3, 2.0, 1, frozenset()), 10.0, linked, "major")
    assert why["review_now"]
    assert "重大" in why["grade_zh"]
    assert "proposed grade major" in why["grade_en"]


def test_media_and_interactions_only_add() -> None:
    assert media_share(["https://weibo.com/1"]) == 0.0
    assert media_share(["https://www.iqilu.com/a"]) == 0.5
    assert media_share(["https://www.iqilu.com/a", "http://news.people.com.cn/b"]) == 1.0
    assert media_share(["https://notpeople.com.cn/x", "no address"]) == 0.0
    without = grade(20, 2.0, 2, frozenset())["score"]
    assert grade(20, 2.0, 2, frozenset(), interactions=0.9)["score"] > without
    assert grade(20, 2.0, 2, frozenset(), media=0.5)["score"] == pytest.approx(without + 7.5)


def test_growth_is_a_robust_z_of_the_last_day() -> None:
    steady = [(AT - timedelta(days=d, hours=1), 4) for d in range(15)]
    assert robust_growth(steady, AT) == 0.0
    # one wild day in the baseline does not hide the growth of today
    assert robust_growth([*steady, (AT, 12), (AT - timedelta(days=6, hours=2), 200)], AT) >= 12


def test_a_detection_holds_heat_grade_and_ledger(db: Database, bundle: Bundle) -> None:
    save(db, growing(6))
    summary = job.run(db, bundle, AT + timedelta(hours=8))
    with db.reading() as session:
        incident = queries.get_incident(session, summary.detected[0])
        held = get_beat(session, job.LEDGER)
    assert incident is not None
    assert held is not None
    assert incident.why["heat"] > 0
    assert set(incident.why["grade"]) == {"severity", "reach", "growth", "media", "score"}
    assert "评分" in incident.why["grade_zh"]
    assert [entry[0] for entry in held.value["scores"]] == [summary.detected[0]]
