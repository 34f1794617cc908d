"""Reading answers: each finding with its place, and a floor for how well it goes on invented answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from analysis.asks import CasePost, asks_of, joined
from analysis.likeness import covered, percentile, terms
from analysis.replies import FEATURES, TemplateIndex, case_terms, probability, read_reply
from analysis.reply_parts import ELEMENTS, article_number, laws, read_parts
from analysis.reply_promises import promises_in

ZONE = ZoneInfo("Asia/Shanghai")
AT = datetime(2026, 11, 24, 10, 0, tzinfo=ZONE)
FILE = Path(__file__).parent / "data" / "replies_invented.txt"
LETTERS = dict(zip("fcmutbkn", ELEMENTS, strict=True))
#: what was reached when this was written; EPSILON is half of what one of the 63 answers is worth
FLOORS = {"elements_f1": 0.901, "explained": 0.857, "promises_f1": 1.0, "buck_passing_f1": 0.769}
EPSILON = 0.008


@dataclass(frozen=True)
class Labelled:
    elements: frozenset[str]
    explained: bool
    promises: frozenset[str]
    buck_passing: bool
    case: str
    reply: str


def rows() -> Iterator[Labelled]:
    for line in FILE.read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            elements, explained, promised, buck, case, reply = line.split("|")
            yield Labelled(
                frozenset(LETTERS[c] for c in elements if c != "-"),
                explained == "1",
                frozenset(promised.split(",")) - {"-"},
                buck == "1",
                case,
                reply,
            )


def days(text: str, at: datetime = AT) -> list[str]:
    """Promised days of a text, or NwD."""
    return [
        f"{(p.due_at - timedelta(minutes=1)).astimezone(ZONE):%Y-%m-%d}" if p.due_at else f"{p.number}wD"
        for p in promises_in(text, at, ZONE)
    ]


def f1(hit: int, found: int, wanted: int) -> float:
    return 2 * hit / (found + wanted)


def figures() -> dict[str, float]:
    """How well the invented answers are read."""
    counts = {"elements_f1": [0, 0, 0], "promises_f1": [0, 0, 0], "buck_passing_f1": [0, 0, 0]}
    right = total = 0
    for row in rows():
        reading = read_reply([CasePost(1, row.case, "")], row.reply, published_at=AT, zone=ZONE)
        found = {
            "elements_f1": (frozenset(k for k, there in reading.present.items() if there), row.elements),
            "promises_f1": (frozenset(days(row.reply)), row.promises),
            "buck_passing_f1": (
                frozenset({"1"} if reading.buck_passing else ()),
                frozenset({"1"} if row.buck_passing else ()),
            ),
        }
        for name, (got, wanted) in found.items():
            for i, n in enumerate((len(got & wanted), len(got), len(wanted))):
                counts[name][i] += n
        right += (reading.explained >= 0.5) == row.explained
        total += 1
    assert total >= 60
    return {name: f1(*n) for name, n in counts.items()} | {"explained": right / total}


def test_invented_answers_are_read_no_worse_than_before() -> None:
    found = figures()
    assert {name: value for name, value in found.items() if value < FLOORS[name] - EPSILON} == {}, found


FULL = (
    "家长您好！经区市场监管局现场核查，情况属实，系清洗不彻底造成。已责令学校停用该食堂，根据《食品安全法》第一百二十六条立案调查，"
    "12月15日前公布结果。下一步将开展全区排查，咨询电话12315。感谢监督！"
)


def test_every_finding_names_its_place() -> None:
    reading = read_reply([CasePost(1, "食堂吃出虫子", "请查处食堂")], FULL, published_at=AT, zone=ZONE)
    assert {name: span is not None for name, span in reading.elements.items()} == dict.fromkeys(
        ELEMENTS, True
    )
    basis, contact = reading.elements["basis"], reading.elements["contact"]
    assert basis is not None
    assert "食品安全法" in basis.of(FULL)
    assert contact is not None
    assert "12315" in contact.of(FULL) or "电话" in contact.of(FULL)
    assert [span.of(FULL) for span in reading.figures] == ["12月15日"]
    assert [p.span.of(FULL) for p in reading.promises] == ["12月15日前公布结果。"]
    assert reading.courtesy


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("根据《食品安全法》第一百五十四条", True),
        ("根据《中华人民共和国食品安全法》第10条", True),
        ("根据《食品安全法》第一百五十五条", False),  # the law has 154 articles
        ("根据《食品安全法》", False),  # a law alone is no ground
        ("根据《幸福小区管理公约》第三条", False),
        ("根据《民法典》第一千一百九十八条", True),
    ],
)
def test_a_citation_counts_when_law_and_article_are_known(text: str, valid: bool) -> None:
    (one,) = read_parts(text + "的规定办理。").citations
    assert one.valid is valid


def test_documents_of_the_rule_file_count_without_an_article() -> None:
    (one,) = read_parts(
        "按照《济南市12345市民服务热线条例》办理。", ["济南市12345市民服务热线条例"]
    ).citations
    assert one.valid


def test_chinese_and_arabic_articles_are_the_same() -> None:
    numbers = {
        "一": 1,
        "十": 10,
        "二十三": 23,
        "一百零五": 105,
        "一百二十": 120,
        "一千一百九十八": 1198,
        "47": 47,
    }
    assert {word: article_number(word) for word in numbers} == numbers
    assert laws()["食品安全法"] == 154


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("预计明年6月前完成改造。", ["2027-05-31"]),
        ("将于12月底前整改到位。", ["2026-12-31"]),
        ("力争月底前解决。", ["2026-11-30"]),
        ("承诺10日内退款。", ["2026-12-04"]),
        ("两个月内开通使用。", ["2027-01-24"]),
        ("5个工作日内答复您。", ["5wD"]),
        ("确保国庆节前通车。", ["2027-09-30"]),
        ("计划2027年第二季度开工。", ["2027-06-30"]),
        ("预计明年上半年动工。", ["2027-06-30"]),
        ("预计2027年建成。", ["2027-12-31"]),
        ("责令该店于2026年12月3日之前改正违法行为。", ["2026-12-03"]),
        ("我局已责令该公司在12月底前完成清退。", ["2026-12-31"]),
        ("社区已计划在今年12月份成立物业服务站。", ["2026-12-31"]),
        ("工程由原计划2026年底开通推迟至2027年年底通车。", ["2027-12-31"]),
        ("所欠工资2026年底前全部付清。", ["2026-12-31"]),
        ("水改已完成，电改在12月份即将完工。", ["2026-12-31"]),
        ("12月底可以正式开工建设。", ["2026-12-31"]),
        ("争取于今年动工。", ["2026-12-31"]),
        ("按计划推进，今年开展前期工作。", []),
        ("公交车将从十二月十六号开始恢复停靠。", ["2026-12-16"]),
        ("因年底天气原因暂未动工建设。", []),
        ("取得许可证后10日内必须开放销售。", []),
        ("该路已于10月底完成改造。", []),
        ("申请人应当自收到通知之日起30日内办理。", []),
        ("没有承诺三年内完成拆迁。", []),
        ("2月30日前完成。", []),
        ("去年12月31日前已完成施工。", []),
        ("请于12月20日前携带身份证办理。", []),
    ],
)
def test_promises_have_a_day_to_come(text: str, wanted: list[str]) -> None:
    assert days(text) == wanted


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        promises_in("明年完成。", datetime(2026, 1, 1), ZONE)  # noqa: DTZ001 (that is the point)


def test_form_letters_are_known_whatever_they_quote() -> None:
    letter = "网友您好！您反映的“{}”问题已收悉，我局高度重视，已责成有关科室认真核实，将依法依规处理，感谢您的支持与监督！{}月{}日"
    index = TemplateIndex()
    for n, what in enumerate(("路灯不亮", "垃圾堆积", "停车难")):
        index.add(str(n), letter.format(what, 11, n + 1))
    assert index.count(letter.format("噪声扰民", 12, 9)) == 3
    assert index.count(letter.format("路灯不亮", 11, 1), "0") == 2
    assert index.count("本局已于昨日修复三号楼前的路灯。") == 0


def test_what_is_asked_is_weighed_by_voices_and_says_where_it_stands() -> None:
    posts = [
        CasePost(1, "幸福里电梯", "电梯坏了三个月，请尽快维修电梯。停车费为什么涨价？", "a"),
        CasePost(2, "", "请物业尽快维修电梯！", "b"),
        CasePost(3, "", "电梯什么时候能维修好，老人下不了楼", "b"),
    ]
    asks = asks_of(posts)
    assert asks[0].weight == 1.0
    assert "电梯" in asks[0].text
    assert all(0 < ask.weight <= 1 for ask in asks)
    by_key = {post.key: post for post in posts}
    assert all(
        ask.span.of(joined(by_key[ask.post].title, by_key[ask.post].text)).strip() in ask.text for ask in asks
    )


def test_relevance_is_a_place_among_other_cases_and_none_without_them() -> None:
    others = [
        case_terms([CasePost(n, words, "")])
        for n, words in enumerate(
            ("公交线路调整", "医院挂号难", "停车收费高", "油烟扰民", "欠薪", "自来水发黄")
        )
    ]
    posts = [CasePost(1, "幸福里电梯停运", "电梯坏了请维修")]

    def place(reply: str, compared: list[dict[str, float]]) -> float | None:
        return read_reply(posts, reply, published_at=AT, zone=ZONE, others=compared).relevance

    assert place("电梯已安排维修。", others) == 1.0
    assert place("您好，留言已收悉。", others) == 0.5
    assert place("电梯已安排维修。", others[:4]) is None
    assert percentile(1.0, []) is None


def test_nothing_asked_and_nothing_said_is_no_error() -> None:
    empty = read_reply([], "", published_at=AT, zone=ZONE)
    assert (empty.coverage, empty.relevance, empty.promises) == (None, None, ())
    odd = read_reply([CasePost(1, "", "\ud800🙂")], "《》第条〔〕" * 200, published_at=AT, zone=ZONE)
    assert not any(odd.present.values())
    assert covered({}, terms("电梯")) == 0.0


def test_the_weights_belong_to_the_features() -> None:
    nothing = dict.fromkeys(FEATURES, 0.0)
    assert 0 < probability("explained", nothing) < 1
