"""The formulas of an evaluation: recounted another way, within their ranges, and never better for being worse."""

from __future__ import annotations

import ast
import random
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from config.evaluation import INDICATORS, EvaluationSettings
from config.i18n import catalogue, untranslated
from incidents import evaluation_words as words
from incidents.call_backs import Entry, Said
from incidents.evaluation_numbers import CasePost, Order
from incidents.ratings import ITEMS, RUBRIC, Rating, colour
from incidents.reply_readings import ELEMENTS
from incidents.states import State
from reports import evaluation
from reports.evaluation import evaluate, promptness, used
from reports.evaluation_facts import Duty, Facts, Pledge, Reply
from reports.evaluation_model import CaseEvaluation, Estimate, line
from reports.evaluation_units import pooled, rows

ROOT = Path(__file__).parent.parent
NOW = datetime(2027, 1, 20, 4, tzinfo=UTC)
HOUR = timedelta(hours=1)
SETTINGS = EvaluationSettings(bootstrap=200)


def duty(allowed: float, took: float | None, *, ago: float = 300, rule: str = "R03", **more: object) -> Duty:
    """A clock of `allowed` hours that began `ago` hours before NOW and was stopped after `took` hours (None: it runs)."""
    start = NOW - ago * HOUR
    end = None if took is None else start + took * HOUR
    fields = {"number": "QS-1", "round": 1, "stops_on": "responded", "department": "education", **more}
    return Duty(rule=rule, started_at=start, due_at=start + allowed * HOUR, closed_at=end, **fields)  # type: ignore[arg-type]


def reply(**more: object) -> Reply:
    fields: dict[str, object] = {
        "published_at": NOW - 200 * HOUR,
        "department": "education",
        "relevance": 0.7,
        "coverage": 0.5,
        "elements": {name: index % 2 == 0 for index, name in enumerate(ELEMENTS)},
        "citations": 1,
        "figures": 1,
        **more,
    }
    return Reply(**fields)  # type: ignore[arg-type]


def posts(before: int, after: int, bad_before: int, bad_after: int, at: datetime) -> tuple[CasePost, ...]:
    """So many posts in the day before and in the second and third day after, of them so many negative; each of another author."""
    first = [CasePost(at - HOUR * (1 + n % 22), n, n < bad_before, False) for n in range(before)]
    last = [CasePost(at + HOUR * (25 + n % 46), 1000 + n, n < bad_after, False) for n in range(after)]
    return tuple(sorted([*first, *last], key=lambda post: post.at))


def facts(**more: object) -> Facts:
    at = NOW - 200 * HOUR
    fields: dict[str, object] = {
        "number": "QS-1",
        "incident_id": 1,
        "domain": "education",
        "district": "历下区",
        "department": "education",
        "level": "general",
        "state": State.CLOSED,
        "round": 1,
        "as_of": NOW,
        "first_posted_at": at - 50 * HOUR,
        "duties": (duty(48, 30), duty(120, 150, rule="H01")),
        "published": ((1, at),),
        "answered": ((1, at),),
        "answered_by": "education",
        "replies": (reply(),),
        "pledges": (
            Pledge(NOW - 10 * HOUR, "kept", "education"),
            Pledge(NOW - 5 * HOUR, "open", "education"),
        ),
        "posts": posts(40, 30, 20, 6, at),
        **more,
    }
    return Facts(**fields)  # type: ignore[arg-type]


def value(found: CaseEvaluation, id_: str) -> float:
    number = found.indicator(id_).value
    assert number is not None, found.indicator(id_).missing
    return number


# --- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"weights": {**EvaluationSettings().weights, "T": 0.3}}, "add up to 1.1"),
        ({"weights": {"T": 1.0}}, "exactly T, RP"),
        ({"weights": {**EvaluationSettings().weights, "T": -0.2, "C": 0.55}}, "negative"),
        ({"bands": (0.5, 0.7, 0.9)}, "falling"),
        ({"reviewers": 1}, "greater than or equal to 2"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        EvaluationSettings(**wrong)


# --- recounted -------------------------------------------------------------------------------------------------------


def test_a_whole_case_recounted_by_hand() -> None:
    calls = Entry(1, "a", 1, Said(8, 4, 3, 6, 4, 2), "", NOW - 50 * HOUR, "lin", 9)
    found = evaluate(facts(call_backs=(calls,)), SETTINGS)
    hand = {
        "T": (1 + (2 - 150 / 120)) / 2,
        "C": 0.5,
        "R": 0.7,
        "F": 4 / 8,
        "E": 2 / 3,
        "A": 1.0,
        "U": 1 / 2,
        "V": (8 / 12 + (6 + 0.5 * 4) / 12) / 2,
        "O": 0.5 + 0.5 * (20 / 40 - 6 / 30) / (20 / 40),
    }
    assert {one.id: one.value for one in found.indicators if one.value is not None} == {
        id_: pytest.approx(number, abs=1e-6) for id_, number in hand.items()
    }
    weights = {"T": 20, "C": 15, "R": 10, "F": 15, "E": 5, "A": 5, "U": 10, "V": 10, "O": 5}
    assert found.computable == pytest.approx(0.95)
    assert found.total == pytest.approx(sum(weights[i] * hand[i] for i in hand) / 95, abs=1e-4)
    assert found.band == "improve"
    assert found.indicator("RP").missing is not None
    assert {rate.id: (rate.right, rate.n) for rate in found.rates} == {
        "on_time": (1, 2),
        "first_contact": (0, 1),
        "solved": (8, 12),
        "satisfied": (8.0, 12),
    }
    assert not found.final, "a promise is still open"


def test_every_value_tells_its_arithmetic_and_every_gap_its_reason() -> None:
    for given in (
        facts(),
        facts(replies=None),
        facts(duties=(), pledges=(), posts=(), answered=(), replies=()),
    ):
        for one in evaluate(given, SETTINGS).indicators:
            assert (one.value is None) == (one.missing is not None), one.id
            assert one.lines or one.value is None, one.id


def test_less_than_the_least_weight_gives_no_total() -> None:
    found = evaluate(facts(replies=None), SETTINGS)
    assert (found.total, found.band) == (None, "none")
    assert found.computable == pytest.approx(0.35)
    assert found.missing is not None
    # exactly at the limit a total is given
    assert evaluate(facts(replies=None), SETTINGS.model_copy(update={"min_weight": 0.35})).total is not None


@pytest.mark.parametrize(
    ("total", "grade"),
    [(0.85, "good"), (0.8499, "pass"), (0.70, "pass"), (0.55, "improve"), (0.5499, "fail"), (0, "fail")],
)
def test_bands_include_their_lower_end(total: float, grade: str) -> None:
    assert evaluation.band(total, SETTINGS) == grade


# --- ranges and directions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(40))
def test_everything_stays_between_nothing_and_one(seed: int) -> None:
    chance = random.Random(seed)

    def maybe(number: float) -> float | None:
        return None if chance.random() < 0.3 else number

    given = facts(
        level=chance.choice(["general", "major"]),
        duties=tuple(
            duty(chance.uniform(1, 200), maybe(chance.uniform(-5, 400))) for _ in range(chance.randint(0, 5))
        ),
        reports=tuple(duty(2, maybe(chance.uniform(0, 9)), rule="R11") for _ in range(chance.randint(0, 2))),
        replies=tuple(
            reply(
                coverage=maybe(chance.random()),
                relevance=maybe(chance.random()),
                elements={name: chance.random() < 0.5 for name in ELEMENTS},
                citations=chance.randint(0, 5),
                figures=chance.randint(0, 9),
                buck_passing=chance.random() < 0.5,
                template_of=chance.randint(0, 9),
                blame=chance.random() < 0.5,
                courtesy=chance.random() < 0.5,
            )
            for _ in range(chance.randint(0, 3))
        ),
        pledges=tuple(
            Pledge(NOW + chance.uniform(-90, 90) * HOUR, chance.choice(["open", "kept", "broken"]))
            for _ in range(chance.randint(0, 4))
        ),
        posts=posts(
            chance.randint(0, 60),
            chance.randint(0, 60),
            chance.randint(0, 60),
            chance.randint(0, 60),
            NOW - 200 * HOUR,
        ),
        call_backs=(
            Entry(1, "a", 1, Said(*(chance.randint(0, 30) for _ in range(6))), "", NOW - HOUR, "lin", 9),
        ),
    )
    found = evaluate(given, SETTINGS)
    assert tuple(one.id for one in found.indicators) == INDICATORS
    assert all(0 <= one.value <= 1 for one in found.indicators if one.value is not None)
    assert found.total is None or 0 <= found.total <= 1
    known = [one for one in found.indicators if one.value is not None]
    share = sum(one.weight for one in known)
    assert found.computable == pytest.approx(share)
    if share >= 0.6:
        assert found.total == pytest.approx(
            sum(one.weight * (one.value or 0) for one in known) / share, abs=1e-4
        )
    assert all(rate.low <= rate.right / rate.n <= rate.high for rate in found.rates)


def test_a_later_answer_never_raises_timeliness() -> None:
    for allowed in (1.0, 48.0, 120.0):
        scores = [
            promptness(used(duty(allowed, took), NOW) or 0)
            for took in (0, 0.5, 1, 47, 48, 48.1, 60, 96, 150, 240, 299)
        ]
        assert scores == sorted(scores, reverse=True)
    # not answering at all is never better than any answer so far
    nothing = promptness(used(duty(48, None), NOW) or 0)
    assert nothing <= min(promptness(used(duty(48, took), NOW) or 0) for took in (10, 48, 60, 299))
    assert used(duty(400, None), NOW) is None, "what is not due yet says nothing"
    assert used(duty(48, -20), NOW) == 0, "an answer older than the clock"


def test_worse_is_never_better() -> None:
    base = evaluate(facts(), SETTINGS)
    worse: list[tuple[str, dict[str, object]]] = [
        ("F", {"replies": (reply(elements=dict.fromkeys(ELEMENTS, False)),)}),
        ("E", {"replies": (reply(citations=0),)}),
        ("C", {"replies": (reply(coverage=0.4),)}),
        ("C", {"replies": (reply(buck_passing=True, elements={**reply().elements, "measures": False}),)}),
        ("A", {"replies": (reply(), reply(blame=True))}),
        ("A", {"replies": (reply(buck_passing=True),)}),
        ("U", {"pledges": (Pledge(NOW - 10 * HOUR, "broken"), Pledge(NOW - 5 * HOUR, "open"))}),
        ("T", {"duties": (duty(48, 30), duty(120, 200, rule="H01"))}),
        ("O", {"posts": posts(40, 30, 20, 12, NOW - 200 * HOUR)}),
    ]
    for id_, change in worse:
        assert value(evaluate(facts(**change), SETTINGS), id_) < value(base, id_), (id_, change)
    # a department that hands on what is not its own does not pass the buck
    assert value(evaluate(facts(replies=(reply(buck_passing=True),), handed_on=(NOW,)), SETTINGS), "A") == 1.0


def test_template_and_courtesy_cost_what_they_cost() -> None:
    found = evaluate(facts(replies=(reply(template_of=5, courtesy=False),)), SETTINGS)
    assert value(found, "A") == pytest.approx(1 - 0.3 - 0.1)
    assert value(evaluate(facts(replies=(reply(template_of=4),)), SETTINGS), "A") == 1.0


def test_deletion_is_no_improvement() -> None:
    at = NOW - 200 * HOUR
    base = facts()
    bad = [post for post in base.posts if post.at > at and post.negative]
    some = tuple(replace(post, gone=post in bad) for post in base.posts)
    assert value(evaluate(facts(posts=some), SETTINGS), "O") == value(evaluate(base, SETTINGS), "O")
    # and when many are gone, the quiet counts for nothing
    most = tuple(replace(post, gone=post.at > at) for post in base.posts)
    found = evaluate(facts(posts=most), SETTINGS).indicator("O")
    assert found.value is None
    assert found.missing is not None
    assert found.missing.given["deleted"] == 30
    lost = evaluate(facts(posts_lost=3), SETTINGS).indicator("O")
    assert lost.missing is not None
    assert lost.missing.given["n"] == 3


def test_the_trend_waits_for_its_three_days_and_for_enough_posts() -> None:
    at = NOW - 60 * HOUR
    early = evaluate(facts(answered=((1, at),), posts=posts(40, 30, 20, 6, at)), SETTINGS)
    assert early.trend is not None
    assert not early.trend.complete
    assert early.trend.volume is None
    assert early.indicator("O").value is None
    few = evaluate(facts(posts=posts(9, 30, 5, 6, NOW - 200 * HOUR)), SETTINGS)
    assert few.indicator("O").value is None
    assert evaluate(facts(answered=(), replies=()), SETTINGS).trend is None


def test_updates_are_asked_of_grave_matters_only() -> None:
    at = NOW - 200 * HOUR
    told = ((1, at), (1, at + 12 * HOUR), (1, at + 60 * HOUR))
    grave = facts(level="major", published=told, answered=((1, at + 60 * HOUR),), pledges=())
    # 12 hours within a day, then 24 of 48
    assert evaluation.updated(grave, 24) == pytest.approx((12 + 24) / 60)
    assert evaluation.updated(replace(grave, level="serious"), 24) is None
    silent = replace(grave, answered=(), published=told[:1])
    assert evaluation.updated(silent, 24) == pytest.approx(24 / 200), "nothing since: until now"


def test_few_callers_give_no_score_but_are_told() -> None:
    few = Entry(1, "a", 1, Said(5, 4, 0, 3, 3, 3), "", NOW - HOUR, "lin", 9)
    found = evaluate(facts(call_backs=(few,)), SETTINGS).indicator("V")
    assert (found.value, found.n, len(found.lines)) == (None, 9, 2)
    # callers of the round before say nothing of the answer that came later
    old = replace(few, said=Said(50, 0, 0, 50, 0, 0), round=1)
    again = facts(call_backs=(old,), round=2, answered=((1, NOW - 400 * HOUR), (2, NOW - 200 * HOUR)))
    assert evaluate(again, SETTINGS).indicator("V").value is None


# --- flags -----------------------------------------------------------------------------------------------------------


def rating(by: str, *, improper: bool = True, points: tuple[str, ...] = ("evasive",), seq: int = 5) -> Rating:
    return Rating(1, 1, by, by, dict.fromkeys(ITEMS, 1.0), improper, points, "x", NOW, seq)


def grounds(**more: object) -> dict[str, tuple[int, ...]]:
    return {flag.id: flag.events for flag in evaluate(facts(**more), SETTINGS).flags}


def test_without_a_rule_for_reporting_the_reason_is_told() -> None:
    told = evaluate(facts(), SETTINGS).indicator("RP").missing
    assert told is not None
    assert "没有规定几小时内报告" in told.text
    told = evaluate(facts(), EvaluationSettings(report_rules=("R11",))).indicator("RP").missing
    assert told is not None
    assert told.text == "没有起算的内部报告时限"


def test_late_reports_are_a_ground() -> None:
    missed = duty(2, None, rule="R11", events=(77,))
    assert grounds(reports=(missed,)) == {"late_report": (77,)}
    assert grounds(reports=(duty(2, 1, rule="R11"),)) == {}
    found = evaluate(facts(reports=(duty(2, 3, rule="R11"),)), SETTINGS)
    assert value(found, "RP") == pytest.approx(2 - 3 / 2)


def test_an_order_that_helped_nothing_is_poor_handling() -> None:
    late = duty(48, None, ago=300, events=(12,))
    order = Order("L3:R03:1", "education", NOW - 100 * HOUR)
    assert grounds(duties=(late,), orders=(order,), order_events=(("L3:R03:1", 40),)) == {
        "poor_handling": (12, 40)
    }
    in_time = replace(late, closed_at=order.decided_at + 23 * HOUR)
    assert grounds(duties=(in_time,), orders=(order,)) == {}
    fresh = replace(order, decided_at=NOW - 5 * HOUR)
    assert grounds(duties=(late,), orders=(fresh,)) == {}, "the order's day is not over"


def test_repeated_calls_and_broken_promises_are_poor_handling() -> None:
    def call(n: int, said: Said) -> Entry:
        return Entry(1, str(n), 1, said, "", NOW - (9 - n) * HOUR, "lin", 100 + n)

    no, yes = Said(unsolved=1), Said(solved=1)
    assert grounds(call_backs=(call(1, no), call(2, no), call(3, no))) == {"poor_handling": (101, 102, 103)}
    assert grounds(call_backs=(call(1, no), call(2, no), call(3, no), call(4, yes))) == {}, (
        "solved in the end"
    )
    assert grounds(call_backs=(call(1, Said(97, 3)),)) == {}, "three of a hundred"
    broken = tuple(Pledge(NOW - n * HOUR, "broken", events=(n,)) for n in (5, 6))
    assert grounds(pledges=broken) == {"poor_handling": (5, 6)}
    assert grounds(pledges=broken[:1]) == {}


def test_only_people_who_agree_on_a_point_find_an_answer_improper() -> None:
    assert grounds(ratings=(rating("a", seq=5), rating("b", seq=6))) == {"improper_reply": (5, 6)}
    assert grounds(ratings=(rating("a"),)) == {}
    assert grounds(ratings=(rating("a"), rating("b", points=("untrue",)))) == {}, "each for another reason"
    outvoted = (
        rating("a"),
        rating("b"),
        rating("c", improper=False, points=()),
        rating("d", improper=False, points=()),
    )
    assert grounds(ratings=outvoted) == {}
    # the worst that a machine can read raises nothing by itself
    assert grounds(replies=(reply(blame=True, buck_passing=True, courtesy=False, template_of=9),)) == {}


def test_ratings_never_move_the_total() -> None:
    alone = evaluate(facts(), SETTINGS)
    rated = evaluate(facts(ratings=(rating("a"), rating("b"))), SETTINGS)
    assert rated.total == alone.total
    assert [one.value for one in rated.indicators] == [one.value for one in alone.indicators]
    assert {one.colour for one in rated.reviewers} == {"red"}
    assert [colour(total) for total in (20, 19.99, 15, 10, 9.99)] == [
        "blue",
        "yellow",
        "yellow",
        "orange",
        "red",
    ]


# --- departments -----------------------------------------------------------------------------------------------------

SINCE, UNTIL = NOW - 400 * HOUR, NOW


def city(count: int, **more: object) -> list[Facts]:
    return [
        facts(
            number=f"QS-{n}",
            incident_id=n,
            duties=(duty(48, 30 if n % 3 else 60, number=f"QS-{n}"),),
            **more,
        )
        for n in range(count)
    ]


def test_a_department_of_three_cases_gets_numbers_and_no_grade() -> None:
    whole, part = rows(city(3), SINCE, UNTIL, NOW, SETTINGS, ["education"])
    assert (whole.department, whole.domain, whole.cases) == ("education", "", 3)
    assert (whole.total, whole.band, part.total) == (None, "none", None)
    assert whole.missing is not None
    assert whole.missing.given == {"n": 3, "least": 10}
    on_time = next(rate for rate in whole.rates if rate.id == "on_time")
    assert ((on_time.right, on_time.n), on_time.enough) == ((2, 3), False)
    assert 0.2 < on_time.low < 0.25
    assert on_time.high > 0.9


def test_a_department_recounted() -> None:
    whole = rows(city(12), SINCE, UNTIL, NOW, SETTINGS, ["education"])[0]
    assert whole.cases == 12
    by_id = {one.id: one.value for one in whole.indicators}
    assert by_id["T"] == pytest.approx((8 * 1 + 4 * (2 - 60 / 48)) / 12, abs=1e-6)
    assert by_id["C"] == pytest.approx(0.5)
    assert by_id["U"] == pytest.approx(0.5)
    assert by_id["O"] == pytest.approx(0.8)
    assert whole.total is not None
    assert whole.median_h == 30.0
    assert (whole.worst_overdue_h, whole.worst_number) == (12.0, "QS-0")


def test_who_had_to_answer_and_did_not_covers_nothing() -> None:
    silent = facts(
        number="QS-99", incident_id=99, duties=(duty(48, None, number="QS-99"),), answered=(), replies=()
    )
    whole = rows([*city(4), silent], SINCE, UNTIL, NOW, SETTINGS, ["education"])[0]
    assert next(one for one in whole.indicators if one.id == "C").value == pytest.approx(4 * 0.5 / 5)


def test_work_of_two_departments_is_told_apart_and_nobody_is_ranked() -> None:
    shared = facts(duties=(duty(48, 30), duty(48, 90, department="health")))
    found = rows([shared], SINCE, UNTIL, NOW, SETTINGS, ["health", "education"])
    assert [row.department for row in found if not row.domain] == ["health", "education"], (
        "order of the configuration"
    )
    health = found[0]
    assert {one.id: one.value for one in health.indicators}["T"] == pytest.approx(2 - 90 / 48)
    assert {one.id: one.value for one in health.indicators}["O"] is None, (
        "the talk is the leading department's"
    )


def test_what_lies_outside_the_period_is_not_counted() -> None:
    # the clock over New Year ends, and counts, in January
    new_year = datetime(2026, 12, 31, 16, tzinfo=UTC)  # midnight in Jinan
    started = new_year - 10 * HOUR
    over = Duty("QS-1", "R03", 1, "responded", started, started + 48 * HOUR, new_year + 2 * HOUR, "education")
    given = facts(duties=(over,), replies=(), pledges=(), answered=(), posts=())
    assert rows([given], new_year - 31 * 24 * HOUR, new_year, new_year, SETTINGS, ["education"]) == ()
    january = rows([given], new_year, new_year + 31 * 24 * HOUR, NOW, SETTINGS, ["education"])
    assert [(row.domain, row.cases) for row in january] == [("", 1), ("education", 1)]


def test_pooled_comparisons_need_enough_cases() -> None:
    one = Estimate(value=-0.5, low=-0.7, high=-0.2)
    assert pooled([one] * 4, 5) is None
    several = pooled([one, one.model_copy(update={"value": -0.4})] * 3, 5)
    assert several is not None
    assert several.low < -0.44 < several.high < 0


# --- words -----------------------------------------------------------------------------------------------------------


def sentences() -> set[str]:
    """Every Chinese literal of the files that make evaluations. What reports say of them has a catalogue of its own (test_i18n)."""
    found = set()
    told = {ROOT / "reports" / name for name in ("evaluation_words.py", "evaluation_part.py")}
    assert all(file.is_file() for file in told)
    for file in set((ROOT / "reports").glob("evaluation*.py")) - told:
        tree = ast.parse(file.read_text("utf-8"))
        docs = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        found |= {
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docs
            and re.search(r"[\u4e00-\u9fff]", node.value)
        }
    return found


def test_every_sentence_has_its_english_with_the_same_holes() -> None:
    known = {str(one.id): str(one.string) for one in catalogue("incidents", "en") or () if one.id}
    wanted = sentences() | set(words.CAUTIONS)
    wanted |= {text for table in words.TABLES.values() for text in table.values()}
    assert len(sentences()) > 40
    assert wanted - set(known) == set()
    assert untranslated("incidents") == []
    for text, english in known.items():
        assert set(re.findall(r"{(\w+)", text)) == set(re.findall(r"{(\w+)", english)), text


def test_sentences_are_said_in_both_languages() -> None:
    one = line("缺：{element}", element="element:cause")
    assert words.say(one.text, one.given, "zh") == "缺：原因"
    assert words.say(one.text, one.given, "en") == "missing: cause"
    assert words.word("rubric", "nonsense", "en") == "nonsense"
    assert set(words.RUBRIC) == set(RUBRIC)
    assert set(words.ELEMENTS) == set(ELEMENTS)
    assert set(words.INDICATORS) == set(INDICATORS)
    for given in (facts(), facts(replies=None), facts(posts=())):
        for indicator in evaluate(given, SETTINGS).indicators:
            for step in (*indicator.lines, *([indicator.missing] if indicator.missing else [])):
                assert "{" not in words.say(step.text, step.given, "en")
                assert not re.search(r"[\u4e00-\u9fff]", words.say(step.text, step.given, "en")), step
