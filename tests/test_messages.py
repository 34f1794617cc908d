"""Messages say what, where, how bad and by when in their first line, in both languages, and are safe to show."""

from __future__ import annotations

import ast
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from string import Formatter
from zoneinfo import ZoneInfo

import pytest

import alerts
from alerts.facts import why_sentence
from alerts.message import Clock, Facts, Message, Occasion, write
from alerts.wording import Wording
from config.i18n import catalogue, untranslated
from demo.fake_slack import _block_problem

ZONE = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 24, 7, 10, tzinfo=UTC)
CHINESE = re.compile(r"[\u4e00-\u9fff]")
FACTS = Facts(
    number="QS-2026-000017",
    title="某小学食堂午餐后十余名学生呕吐",
    place="历下区",
    domain="食品安全",
    level="major",
    first_posted_at=NOW - timedelta(hours=2),
    detected_at=NOW - timedelta(minutes=3),
    posts=23,
    voices=19,
    sources=2,
    why="近1小时19位发帖人，平常0.4位",
    sure="机器研判，须人工核实",
    responsible="尚未交办；建议 市市场监督管理局",
    clocks=[
        Clock(
            "R02",
            "举行新闻发布会",
            NOW + timedelta(hours=24),
            "24小时",
            "国办发〔2016〕61号",
            "最迟应在24小时内",
        ),
        Clock(
            "R01",
            "发布权威信息",
            NOW + timedelta(hours=5),
            "5小时",
            "鲁政办发〔2018〕18号",
            "最迟要在5小时内",
        ),
    ],
    console_url="https://desk.jinan.example/incidents/QS-2026-000017",
    example="孩子吃完饭回来就吐",
)
PAGE = Occasion(
    "新事件",
    ask="15分钟内无人确认将提醒副班何南。",
    link="https://desk.jinan.example/a/abc.def",
    button="确认收到",
    duty="值班表 v3 主班: 林东",
)


def written(facts: Facts = FACTS, occasion: Occasion = PAGE, language: str = "zh_CN") -> Message:
    return write(facts, occasion, now=NOW, language=language, zone=ZONE)


def test_the_first_line_says_how_bad_where_what_and_by_when() -> None:
    assert (
        written().subject
        == "【重大·新事件】历下区 某小学食堂午餐后十余名学生呕吐，11月24日(周二) 20:10 前发布权威信息"
    )
    assert written().text.splitlines()[0] == written().subject


def test_a_long_title_leaves_room_for_the_time() -> None:
    subject = written(replace(FACTS, title="很长的标题" * 40)).subject
    assert subject.index("20:10") < 60


def test_every_part_of_the_message_holds_what_the_duty_needs() -> None:
    message = written()
    for wanted in (
        "首帖 11月24日(周二) 13:10",
        "23帖，19位不同发帖人，2个来源",
        "须人工核实",
        "近1小时19位发帖人，平常0.4位",
        "建议 市市场监督管理局",
        "值班表 v3 主班: 林东",
        "鲁政办发〔2018〕18号",
        "最迟要在5小时内",
        "https://desk.jinan.example/a/abc.def",
    ):
        assert wanted in message.text
        assert wanted in message.html
        assert wanted in str(message.blocks)


def test_an_overdue_clock_leads_and_says_by_how_much() -> None:
    late = replace(FACTS, clocks=[replace(FACTS.clocks[1], due_at=NOW - timedelta(hours=1, minutes=5))])
    assert "已超时1小时5分" in written(late).subject


def test_a_provisional_end_is_marked() -> None:
    facts = replace(FACTS, clocks=[replace(FACTS.clocks[0], provisional=True)])
    assert "（暂定）" in written(facts).text


def test_a_message_about_no_clock_still_says_what_and_where() -> None:
    assert written(replace(FACTS, clocks=[])).subject.endswith("历下区 某小学食堂午餐后十余名学生呕吐")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]


HOSTILE = "<script>alert(1)</script><img src=x onerror=y> <!channel> <@U123> *fett*\r\nBcc: all@x.example"


def test_what_people_post_is_shown_and_never_obeyed() -> None:
    message = written(replace(FACTS, title=HOSTILE, example=HOSTILE, why=HOSTILE))
    page = Tags()
    page.feed(message.html)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "\n" not in message.subject
    assert "\r" not in message.subject
    shown = [part for part in message.blocks if part["type"] == "section"]
    assert "<!channel>" not in str(shown)
    assert "<@U123>" not in message.for_channel("slack", "")["text"]


def test_slack_accepts_the_blocks_whatever_their_length() -> None:
    long = "长" * 5000
    facts = replace(FACTS, title=long, why=long, responsible=long, clocks=list(FACTS.clocks) * 20)
    assert _block_problem(written(facts, replace(PAGE, ask=long)).blocks) == ""
    assert _block_problem(written().blocks) == ""


def test_a_mail_asks_for_nothing_from_outside() -> None:
    page = Tags()
    page.feed(written().html)
    assert not {"link", "script", "img", "iframe"} & set(page.tags)
    assert all(link.startswith("https://desk.jinan.example/") for link in page.links)


@pytest.mark.parametrize(
    ("minutes", "zh", "en"),
    [
        (0, "0分钟", "0 min"),
        (59, "59分钟", "59 min"),
        (60, "1小时", "1 h"),
        (292, "4小时52分", "4 h 52 min"),
        (1440 * 2 + 61, "2天1小时", "2 d 1 h"),
    ],
)
def test_spans_read_naturally(minutes: int, zh: str, en: str) -> None:
    assert Wording("zh_CN", ZONE).span(timedelta(minutes=minutes)) == zh
    assert Wording("en", ZONE).span(timedelta(minutes=minutes)) == en


def test_midnight_is_24_of_the_day_that_ends() -> None:
    end = datetime(2026, 12, 1, 16, 0, tzinfo=UTC)
    assert Wording("zh_CN", ZONE).at(end) == "12月1日(周二) 24:00"
    assert Wording("en", ZONE).at(end) == "1 Dec (Tue) 24:00"


def test_the_reason_of_the_detection_comes_in_the_readers_language() -> None:
    why = {"p": 0.001, "sentence_zh": "平常0.4位", "sentence_en": "0.4 expected"}
    assert why_sentence(why, english=False) == "平常0.4位"
    assert why_sentence(why, english=True) == "0.4 expected"
    assert why_sentence({"window_h": 1, "voices": 19}, english=False) == "window_h=1, voices=19"


# --- English -------------------------------------------------------------------------------------------------------


def msgids() -> set[str]:
    """Every Chinese text that the room's code hands to a translator."""
    found = set()
    names = {"say", "text", "self"}
    for path in Path(alerts.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in names:
                found |= {
                    part.value
                    for part in node.args
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                }
    return {text for text in found if CHINESE.search(text)}


def fields(text: str) -> set[str | None]:
    return {name for _, name, _, _ in Formatter().parse(text) if name}


def test_every_text_has_an_english_one_with_the_same_blanks() -> None:
    known = catalogue("alerts", "en")
    assert known is not None
    table = {str(message.id): str(message.string) for message in known if message.id}
    wanted = msgids()
    assert len(wanted) > 80, "the walk found hardly any text"
    assert sorted(wanted - set(table)) == []
    assert untranslated("alerts") == []
    assert [zh for zh, en in table.items() if fields(zh) != fields(en)] == []


def test_an_english_message_has_no_chinese_of_ours() -> None:
    facts = replace(
        FACTS,
        title="Pupils ill",
        place="Lixia",
        domain="Food safety",
        why="x",
        sure="y",
        responsible="z",
        example="",
    )
    clocks = [replace(clock, limit="5 hours", clause="", quote="") for clock in facts.clocks]
    page = Occasion("new", "", "ask", "https://desk.jinan.example/a/x", "Acknowledge", "primary Lin")
    message = written(replace(facts, clocks=clocks), page, "en")
    assert not CHINESE.search(message.text + message.html + str(message.blocks))
    assert (
        message.subject
        == "[major·new] Lixia Pupils ill; publish authoritative information by 24 Nov (Tue) 20:10"
    )
