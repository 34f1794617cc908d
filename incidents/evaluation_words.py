"""The sentences of an evaluation in the reader's language: Chinese texts with holes, their English in this room's catalogue.

Stored evaluations hold the text and the values of its holes, so that every page and report says them in its own language.
A value `kind:code` (element:cause, rubric:untrue) is itself a word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from config.i18n import translator

INDICATORS = {
    "T": "及时性",
    "RP": "报告及时",
    "C": "诉求覆盖",
    "R": "相关性",
    "F": "完整性",
    "E": "可解释性",
    "A": "态度与得体",
    "U": "持续发布与承诺兑现",
    "V": "解决与满意",
    "O": "舆情走势",
}
BANDS = {"good": "良好", "pass": "合格", "improve": "待改进", "fail": "不合格", "none": "不评定"}
FLAGS = {"late_report": "报告不及时", "poor_handling": "处置不力", "improper_reply": "回应不妥当"}
RATES = {
    "on_time": "按时率",
    "first_contact": "响应率（时限内首次发布）",
    "solved": "解决率",
    "satisfied": "满意率",
}
ELEMENTS = {
    "facts": "事实核实",
    "cause": "原因",
    "measures": "已采取措施",
    "unit": "责任单位",
    "time_limit": "时限",
    "basis": "依据",
    "contact": "联系方式",
    "next_step": "下一步",
}
#: the rubric of 回应不妥当, as reviewers read it
RUBRIC = {
    "untrue": "与已查明的事实不符",
    "evasive": "回避核心诉求，或推诿而未转办",
    "blaming": "指责、嘲讽群众或网民",
    "private": "泄露个人信息或举报人情况",
    "contradictory": "与其他部门或此前的发布矛盾",
    "harmful": "措辞失当，引发新的舆情",
}
ITEMS = {
    "response": "政府响应",
    "transparency": "信息透明度",
    "credibility": "政府公信力",
    "order": "恢复秩序",
    "dynamic": "动态反应",
    "accountability": "官员问责",
    "improper": "回应不妥当",
    "total": "总分",
}
COLOURS = {"blue": "蓝", "yellow": "黄", "orange": "橙", "red": "红"}
KINDS = {"first": "首次", "update": "更新", "correction": "更正"}
#: what everybody who reads these figures should know (research notes on evaluation); shown wherever they are
CAUTIONS = (
    "声音变少不等于有成效：关注本来就会消退，应与同类未回应事件对照。",
    "已不可访问的帖子照常计入，不算改善；比例另行列出。",
    "舆情走势权重低，不鼓励以沉默换取分数。",
    "满意度只代表少数接受回访的人。",
    "不足最低件数的单位只列数字，不评定；任何时候都不排名。",
    "时限按自然小时之比计算，长假期间的超时比例会被拉大。",
    "对出面回应的工作人员要给予自主空间，宽容失误（国办发〔2016〕61号）；被评单位可以申诉。",
    "任何单一数字都不能触发通报批评、约谈整改，须由具名人员决定。",
)
#: the step of F that names an element that is not there
LACKING = "缺：{element}"
_WORDS = {"element": ELEMENTS, "rubric": RUBRIC, "item": ITEMS}
TABLES: dict[str, dict[str, str]] = {
    "indicator": INDICATORS,
    "band": BANDS,
    "flag": FLAGS,
    "rate": RATES,
    "colour": COLOURS,
    "kind": KINDS,
    **_WORDS,
}


class _Number(float):
    """A fraction that shows no more digits than it has."""

    def __format__(self, spec: str) -> str:
        return format(float(self), spec) if spec else f"{float(self):.4g}"


def say(text: str, given: Mapping[str, Any], language: str) -> str:
    """One stored sentence in a language."""
    translate = translator("incidents", language)

    def value(one: Any) -> Any:
        if isinstance(one, float):
            return _Number(one)
        kind, _, code = str(one).partition(":")
        return translate(_WORDS[kind][code]) if isinstance(one, str) and code in _WORDS.get(kind, {}) else one

    return translate(text).format(**{name: value(one) for name, one in given.items()})


def gist(indicator: str, lines: Sequence[tuple[str, Mapping[str, Any]]], language: str) -> str:
    """The arithmetic of an indicator in one sentence: its last step; of F the sum and what is missing."""
    if not lines:
        return ""
    if indicator != "F":
        return say(*lines[-1], language)
    translate = translator("incidents", language)
    lacking = [str(given["element"]) for text, given in lines if text == LACKING]
    total = say(*lines[0], language)
    if not lacking:
        return total
    comma, colon = (", ", "; ") if language.startswith("en") else ("、", "；")
    named = comma.join(translate(ELEMENTS.get(one.partition(":")[2], one)) for one in lacking)
    return total + colon + translate("缺：{element}").format(element=named)


def half_life(hours: float, language: str) -> str:
    """How long it took until six hours brought at most half of what the last six before the answer had brought."""
    translate = translator("incidents", language)
    if hours < 1:
        return translate("回应后最初 6 小时内")
    return translate("{n} 小时").format(n=f"{hours:g}")


def word(table: str, code: str, language: str) -> str:
    """What a code is called; an unknown one stands for itself."""
    found = TABLES[table].get(code)
    return translator("incidents", language)(found) if found else code


def cautions(language: str) -> list[str]:
    """What stands beside the figures."""
    return [translator("incidents", language)(one) for one in CAUTIONS]
