"""The evidence of a source is stored in English and told in the reader's language: every sentence that a crawl can say is known."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.i18n import catalogue, retold, untranslated

ROOT = Path(__file__).parent.parent
CALLS = {"SourceProblem", "Changed", "Blocked", "LoginWall", "RobotsDenied", "Refused", "Verdict"}
#: said of nothing but a variable: what stands there is made elsewhere
BARE = re.compile(r"^[^A-Za-z]*(\w+[^A-Za-z]*)?$")


def sentences(node: ast.expr) -> list[str]:
    """Every text that an expression can be, its values written as X1."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        found = [""]
        for part in node.values:
            more = [str(part.value)] if isinstance(part, ast.Constant) else ["X1"]
            found = [begun + text for begun in found for text in more]
        return found
    if isinstance(node, ast.IfExp):
        return [*sentences(node.body), *sentences(node.orelse)]
    return []


def said() -> Iterator[tuple[str, str]]:
    """(file, sentence) of every problem, verdict and note in the crawler."""
    for file in [*sorted((ROOT / "spiders").rglob("*.py")), ROOT / "incidents" / "source_health.py"]:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
            holder = getattr(node.func, "value", None)
            noted = name == "append" and "notes" in (getattr(holder, "attr", ""), getattr(holder, "id", ""))
            for argument in node.args if name in CALLS or noted else ():
                for text in sentences(argument):
                    if " " in text and not BARE.match(text.replace("X1", "")):
                        yield file.name, text


def left_english(text: str) -> list[str]:
    """Parts of a retold sentence in which no Chinese character stands."""
    return [part for part in text.split("；") if not re.search("[\u4e00-\u9fff]", part) and part.strip("X1 ")]


def test_every_sentence_of_the_crawler_is_known_in_chinese() -> None:
    texts = sorted(set(said()))
    assert len(texts) > 70
    unknown = [pair for pair in texts if left_english(retold("spiders", pair[1], "zh_CN"))]
    assert unknown == [], (
        "add them to spiders/locale/en/LC_MESSAGES/spiders.po: msgid Chinese, msgstr the English sentence"
    )
    assert untranslated("spiders") == []


def test_both_sides_of_a_text_have_the_same_places() -> None:
    for message in catalogue("spiders", "en") or ():
        if message.id:
            holes = re.findall(r"\{\w+\}", str(message.string))
            assert sorted(holes) == sorted(re.findall(r"\{\w+\}", str(message.id))), message.id


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        ("20 entries, 3 new posts", "20 条，新帖 3 条"),
        (
            "nothing new for 6.0 h, where 9.1 posts were to be expected by its own history (chance 0.0002; limit 3.0 h); 20 entries, 0 new posts",
            "已 6.0 h 没有新帖，按其自身规律应有 9.1 条（概率 0.0002；上限 3.0 h）；20 条，新帖 0 条",
        ),
        (
            "the list holds no entry, and it always did before; something new; 2 pages failed and are asked again",
            "列表为空，而以前从不为空；something new；2 个页面读取失败，将重试",
        ),
        ("", ""),
    ],
)
def test_parts_are_told_one_by_one_and_what_is_unknown_stays(stored: str, told: str) -> None:
    assert retold("spiders", stored, "zh_CN") == told
    assert retold("spiders", stored, "en") == stored
