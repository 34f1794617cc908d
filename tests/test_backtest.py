"""Backtests: a change tried on the past tells what judging would have raised, and what limits would have made late."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from typer.testing import CliRunner

import backtest
import cli
from alerts.backtest import with_limit
from alerts.calendar import load_calendar
from analysis import job
from analysis.backtest import compare
from analysis.judge import Judge, JudgeInput
from analysis.playback import Raised
from config.bundle import Bundle, load_bundle
from config.settings import FAST_LIMITS, AnalysisSettings, ConfigError
from incidents import backtests, events, judged, posts
from incidents.backtests import Change, Matter, RunClock
from incidents.installation import Installation, Problem, open_bundle
from incidents.posts import NewPost
from incidents.session import Database
from tests.console_world import KEYS, World, client, submit

ZONE = ZoneInfo("Asia/Shanghai")
START = datetime(2026, 3, 2, 8, 0, tzinfo=ZONE)
DAY = timedelta(days=1)
WORDINGS = (
    "要求退车位款",
    "不买车位就不给签合同太霸道",
    "一个车位十二万",
    "求相关部门查处",
    "业主不同意捆绑",
)

LIFTS = (
    ("翰林新城3号楼电梯停运", "翰林新城电梯坏了三天，老人下不了楼，物业推脱没人修"),
    ("电梯困人谁来管", "昨晚翰林新城3号楼电梯又把人关在里面四十分钟，孩子吓哭了"),
    ("翰林新城物业不修电梯", "交了物业费，翰林新城的电梯却天天停运，请有关部门督促维修"),
    ("请求检测翰林新城电梯", "翰林新城3号楼电梯运行时晃动异响，住户不敢乘坐，希望质检来人"),
    ("爬十八层楼上班", "翰林新城电梯停运一周，我每天爬十八层，维修基金为什么不能动用"),
)


def post(number: int, title: str, body: str, hours: float) -> NewPost:
    at = START + timedelta(hours=hours)
    return NewPost(
        "hall", f"p{number}", f"https://example.invalid/{number}", title, body, at, False, at, f"a{number}"
    )


def stream() -> list[NewPost]:
    """Five weeks: every day a lamp or a query, one matter that grows in hours, one that drips, one grave post."""
    roads = ("花园路", "工业北路", "经十路", "山大路", "化纤厂路", "旅游路", "二环东路")
    found = [
        post(
            n,
            f"{roads[n % 7]}路灯坏了",
            f"{roads[n % 7]}第{n}根灯杆的路灯坏了一个月，晚上很黑",
            24 * n + n % 9,
        )
        for n in range(35)
    ]
    found += [
        post(
            100 + n,
            f"投诉泉景天沅小区捆绑销售车位{WORDINGS[n % 5]}",
            f"我是泉景天沅的业主，{WORDINGS[n % 5]}，开发商买房强制捆绑车位。第{n}次反映",
            24 * 20 + n * 2,
        )
        for n in range(6)
    ]
    found += [post(200 + n, title, body, 24 * 8 + 30 * n) for n, (title, body) in enumerate(LIFTS)]
    found.append(
        post(
            300,
            "历下区幼儿园多名孩子食物中毒送医",
            "历下区甸柳庄幼儿园今天中午十几名孩子吃完午饭后呕吐腹泻，食物中毒，已送医院抢救",
            24 * 25,
        )
    )
    return sorted(found, key=lambda one: one.published_at)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("data")
    (folder / "quansheng.toml").write_text("[analysis]\nfalse_alarms_per_week = 0.05\n", "utf-8")
    return load_bundle(folder / "quansheng.toml", data_dir=folder)


@pytest.fixture(scope="module")
def home(bundle: Bundle) -> Iterator[Installation]:
    """A house that has judged the stream post by post, as it came. Its tests only read."""
    house = open_bundle(bundle)
    for one in stream():
        with house.db.transaction() as session:
            posts.save_posts(session, [one])
        job.run(house.db, bundle, one.published_at)
    yield house
    house.db.close()


def raised(home: Installation) -> dict[int, datetime]:
    """What the house really raised, and when."""
    with home.db.reading() as session:
        told = list(backtests.history(session, START - DAY, START + 60 * DAY))
        ids = sorted({one.incident for one in told if one.incident is not None})
        matters = backtests.matters_of(session, ids)
    return {key: one.detected_at for key, one in matters.items() if one.detected_at is not None}


END = START + 36 * DAY


def test_as_it_is_a_backtest_raises_what_the_house_raised_and_when(home: Installation) -> None:
    """The whole chain against the playback: the same matters, at the same posts."""
    really = raised(home)
    assert len(really) >= 2
    found = backtest.answer(home, Change(false_alarms_per_week=50.0), START, END, END).detection
    assert found is not None
    before = {line.cluster: line.before.at for line in found.lines if line.before is not None}
    assert before == really
    assert {line.before.track for line in found.lines if line.before} == {"fast", "burst"}
    assert found.posts == len(stream())


def test_more_false_alarms_raise_earlier_and_more(home: Installation) -> None:
    found = backtest.answer(home, Change(false_alarms_per_week=60.0), START, END, END).detection
    assert found is not None
    assert found.of("lost", "later") == 0
    assert found.of("gained", "earlier") >= 1
    told = found.as_dict()
    assert told["after"] >= told["before"] >= 2
    assert all(line["before"] or line["after"] for line in told["lines"])


def test_fewer_domains_lose_matters_and_what_people_confirmed_is_told_apart(home: Installation) -> None:
    found = backtest.answer(home, Change(watched_domains=("schooling",)), START, END, END).detection
    assert found is not None
    lost = [line for line in found.lines if line.outcome == "lost"]
    assert lost
    assert {line.before.track for line in lost if line.before} >= {"fast"}
    assert (found.of("lost", word="open"), found.of("lost", word="real")) == (len(lost), 0)
    confirmed = replace(
        found,
        lines=tuple(
            replace(line, matter=replace(line.matter, confirmed_at=END)) if line.matter else line
            for line in found.lines
        ),
    )
    assert confirmed.of("lost", word="real") == len(lost)


def test_stricter_fast_limits_lose_the_grave_post(home: Installation) -> None:
    strict = {name: 1.0 for name in FAST_LIMITS if not name.startswith("review")}
    found = backtest.answer(home, Change(fast=strict), START, END, END).detection
    assert found is not None
    lost = [line for line in found.lines if line.outcome == "lost"]
    assert [line.before.track for line in lost if line.before] == ["fast"]


def test_nothing_of_a_backtest_changes_the_record(home: Installation) -> None:
    with home.db.reading() as session:
        before = (judged.standings(session, list(range(1, 60))), list(backtests.history(session, START, END)))
    backtest.answer(home, Change(false_alarms_per_week=60.0), START, END, END)
    with home.db.reading() as session:
        assert (
            judged.standings(session, list(range(1, 60))),
            list(backtests.history(session, START, END)),
        ) == before


def test_alarms_are_paired_by_matter_and_only_those_of_the_period_count() -> None:
    at = START
    early, late = Raised(1, at - DAY, "burst", "a"), Raised(1, at + DAY, "burst", "b")
    before = [
        early,
        Raised(2, at + DAY, "fast", "c"),
        Raised(3, at - 2 * DAY, "fast", "d"),
        Raised(5, at + DAY, "burst", "e"),
    ]
    after = [late, Raised(4, at + DAY, "burst", "f"), Raised(5, at + DAY, "burst", "g")]
    matter = Matter(2, "QS-2026-000002", "停水", "housing", "", "false_alarm", 3, at, None)
    found = compare(before, after, {2: matter}, at, at + 7 * DAY, 9)
    assert [(line.outcome, line.cluster) for line in found.lines] == [
        ("lost", 2),
        ("gained", 4),
        ("later", 1),
        ("same", 5),
    ]
    assert (found.of("lost", word="false_alarm"), found.of("gained", word="unseen"), found.weeks) == (
        1,
        1,
        1.0,
    )


def test_a_shorter_limit_counts_the_same_clocks_again(bundle: Bundle) -> None:
    rule = bundle.rules.rule("R03")
    assert rule.amount == 48
    calendar = load_calendar(None, "Asia/Shanghai")

    def clock(answered_h: float | None, extended: int = 0) -> RunClock:
        due = START + timedelta(hours=48 + extended)
        closed = START + timedelta(hours=answered_h) if answered_h is not None else None
        return RunClock(1, "QS-2026-000001", "停水", "water", START, due, closed, extended)

    found = with_limit(
        rule,
        24,
        [clock(10), clock(30), clock(60), clock(30, 12), clock(None)],
        calendar,
        START + timedelta(hours=20),
    )
    assert (found.clocks, found.late_before, found.late_after, found.running) == (5, 1, 2, 1)
    assert [(one.late, one.due_at) for one in found.moved] == [
        (True, (START + timedelta(hours=24)).astimezone(UTC))
    ]
    longer = with_limit(rule, 72, [clock(60)], calendar, START)
    assert [one.late for one in longer.moved] == [False]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (Change(), "nothing is changed"),
        (Change(false_alarms_per_week=0), "false_alarms_per_week"),
        (Change(watched_domains=("moon",)), "no domain moon"),
        (Change(fast={"min_grav": 0.1}), "no limit min_grav"),
        (Change(fast={"min_grave": 2.0}), "a probability"),
        (Change(rules={"R99": 3}), "no rule R99"),
        (Change(rules={"S09": 3}), "no time that could be counted"),
        (Change(rules={"R03": 0}), "1 to 1000"),
    ],
)
def test_what_cannot_be_tried_is_told(db: Database, bundle: Bundle, change: Change, said: str) -> None:
    with pytest.raises(Problem, match=said):
        backtest.check(Installation(db, bundle, KEYS), change, START, END, END)


def test_a_period_in_the_future_or_backwards_is_refused(db: Database, bundle: Bundle) -> None:
    home, change = Installation(db, bundle, KEYS), Change(false_alarms_per_week=2)
    for since, until in ((END, START), (START, END + DAY), (END - 400 * DAY, END)):
        with pytest.raises(Problem, match="period"):
            backtest.check(home, change, since, until, END)


def test_a_change_survives_its_keeping() -> None:
    change = Change(2.5, ("housing", "health"), {"min_grave": 0.3}, {"R03": 24})
    assert Change.from_json(json.loads(json.dumps(change.as_json()))) == change
    assert Change().as_json() == {}
    assert not Change()


def test_the_command_line_reads_changes_and_names_the_wrong_one() -> None:
    change = backtest.read_changes(
        ["false_alarms_per_week=2", "watched_domains=housing, health", "fast.min_grave=0.3", "R03=24"]
    )
    assert change == Change(2.0, ("housing", "health"), {"min_grave": 0.3}, {"R03": 24})
    for wrong in ("R03", "R03=soon", "speed=3", "false_alarms_per_week=many"):
        with pytest.raises(Problem, match=wrong):
            backtest.read_changes([wrong])


def test_the_command_answers_in_words_and_as_data(tmp_path: Path) -> None:
    (tmp_path / "quansheng.toml").write_text('data_dir = "data"\n', "utf-8")
    runner = CliRunner()
    base = [
        "--config",
        str(tmp_path / "quansheng.toml"),
        "backtest",
        "--from",
        "2026-03-01",
        "--to",
        "2026-04-01",
    ]
    told = runner.invoke(cli.app, [*base, "--set", "false_alarms_per_week=4", "--set", "R03=24"])
    assert told.exit_code == 0, told.output
    assert "raised as it is 0, with the change 0" in told.output
    assert "R03: 48 -> 24 calendar_hours: of 0 clocks late 0 -> 0" in told.output
    data = runner.invoke(cli.app, [*base, "--set", "R03=24", "--json"])
    assert json.loads(data.output)["rules"][0]["amount_after"] == 24
    wrong = runner.invoke(cli.app, [*base, "--set", "R99=24"])
    assert (wrong.exit_code, "no rule R99" in wrong.output + str(wrong.exception)) == (1, True)


def test_limits_of_the_settings_are_those_of_the_fast_track_and_are_used(bundle: Bundle) -> None:
    from analysis.risk import FastLimits

    assert set(FAST_LIMITS) == set(FastLimits.__dataclass_fields__)
    grave = JudgeInput(
        1, "历下区幼儿园多名孩子食物中毒送医", "历下区甸柳庄幼儿园十几名孩子食物中毒，已送医院抢救", START
    )
    strict = {name: 1.0 for name in FAST_LIMITS if not name.startswith("review")}
    settings = bundle.settings.model_copy(update={"analysis": AnalysisSettings(fast=strict)})
    assert Judge.load(bundle.places).judge_batch([grave])[0].fast
    assert not job.judge_for(replace(bundle, settings=settings)).judge_batch([grave])[0].fast
    assert job.judge_for(bundle).judge_batch([grave])[0].fast


@pytest.mark.parametrize(
    ("value", "said"), [("{min_grav = 0.1}", "no such limit: min_grav"), ("{min_grave = 7}", "0 to 1")]
)
def test_a_wrong_limit_in_the_settings_is_told(tmp_path: Path, value: str, said: str) -> None:
    (tmp_path / "quansheng.toml").write_text(f"[analysis]\nfast = {value}\n", "utf-8")
    with pytest.raises(ConfigError, match=said):
        load_bundle(tmp_path / "quansheng.toml")


# --- the console -------------------------------------------------------------------------------------------------


@pytest.fixture
def town(any_db: Database, bundle: Bundle) -> World:
    made = World(any_db, bundle, now=END)
    made.account("fen", "analyst", name="冯析")
    made.account("lin", "duty", name="林东")
    made.account("clerk", "department", "market-regulation", "赵办")
    return made


def test_an_analyst_asks_the_house_answers_and_everybody_reads(town: World) -> None:
    browser = client(town, "fen")
    page = browser.get("/backtest").text
    ticks = {f"d-{name}": "1" for name in town.bundle.settings.analysis.watched_domains}
    made = submit(
        browser,
        page,
        "/backtest",
        first="2026-03-02",
        last="2026-04-05",
        rate="4",
        rule="R03",
        amount="24",
        note="夜里太吵",
        **ticks,
    )
    assert made.status_code == 303, made.text
    address = made.headers["location"]
    waiting = browser.get(address).text
    assert "等待计算" in waiting
    assert "每周误报 4" in waiting
    home = Installation(town.db, town.bundle, KEYS)
    assert backtest.run_waiting(home, lambda: END) == "backtest 1 answered"
    assert backtest.run_waiting(home, lambda: END) is None
    for login in ("fen", "lin"):
        told = client(town, login).get(address).text
        assert "0 件 → 0 件" in told
        assert "0 项时限中超时 0 项 → 0 项" in told
    assert "false_alarms_per_week = 4" in told
    assert "deadline: PT24H" in told
    english = client(town, "fen").get(f"{address}&lang=en").text
    assert "False alarms a week 4" in english
    with town.db.reading() as session:
        asked = [
            (event.actor, event.payload["change"])
            for event in events.events_after(session, 0)
            if event.kind == "backtest_asked"
        ]
    assert asked == [("fen", {"false_alarms_per_week": 4.0, "rules": {"R03": 24}})]


def test_who_may_ask_and_who_may_read(town: World) -> None:
    assert client(town, "clerk").get("/backtest").status_code == 403
    assert client(town, "clerk").get("/model").status_code == 403
    page = client(town, "lin").get("/backtest").text
    assert "开始回测" not in page
    fen = client(town, "fen")
    asked = submit(fen, fen.get("/backtest").text, "/backtest", first="", last="x")
    assert asked.status_code == 409
    assert client(town, "fen").get("/backtest/7").status_code == 404
    assert client(town, "fen").get("/backtest/abc").status_code == 404


def test_a_question_that_cannot_be_answered_keeps_its_words_and_is_told(town: World) -> None:
    browser = client(town, "fen")
    page = browser.get("/backtest").text
    ticks = {f"d-{name}": "1" for name in town.bundle.settings.analysis.watched_domains}
    for fields, said in (
        ({"rate": "many"}, "“many”不是数"),
        ({"rate": "nan"}, "“nan”不是数"),
        ({"rate": "700"}, "超出范围"),
        ({"f-min_grave": "3"}, "应在 0 与 1 之间"),
        ({}, "没有改动任何设置"),
    ):
        answer = submit(
            browser,
            page,
            "/backtest",
            first="2026-03-02",
            last="2026-04-05",
            note="为什么",
            **ticks,
            **fields,
        )
        assert (answer.status_code, said in answer.text, "为什么" in answer.text) == (409, True, True), said
    with town.db.reading() as session:
        assert backtests.listed(session) == []


def test_a_backtest_whose_process_died_is_answered_by_the_next_and_a_failed_one_does_not_come_again(
    town: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with town.db.transaction() as session:
        one = backtests.ask(
            session, Change(rules={"R03": 24}), START, END, actor="fen", channel="console", now=END
        )
        backtests.note_progress(session, one, 0.4)  # and the process dies
    home = Installation(town.db, town.bundle, KEYS)
    assert backtest.run_waiting(home, lambda: END) == f"backtest {one} answered"
    with town.db.transaction() as session:
        two = backtests.ask(
            session, Change(rules={"R03": 12}), START, END, actor="fen", channel="console", now=END
        )

    def broken(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(backtest, "answer", broken)
    with pytest.raises(RuntimeError):
        backtest.run_waiting(home, lambda: END)
    assert backtest.run_waiting(home, lambda: END) is None
    with town.db.reading() as session:
        found = backtests.get(session, two)
    assert found is not None
    assert (found.state, found.trouble) == ("failed", "RuntimeError: out of memory")
    assert "没有算出" in client(town, "lin").get(f"/backtest/{two}").text


def test_the_model_page_tells_figures_limits_and_what_waits_for_training(town: World) -> None:
    page = client(town, "fen").get("/model").text
    assert "没有等待训练的更正" in page
    assert "交人复核的严重概率" in page
    assert "未达到" in page  # figures below their target are told, too
    english = client(town, "lin").get("/model?lang=en").text
    assert "Limits in force" in english
