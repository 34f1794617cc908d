"""What a row of a hotline's export says of its call-back 回访: solved or not, content or not, when. Words only; nobody is guessed at.

是 and 否 mean what their column asks; everything else means the same in every column. 默认满意 and the like are what a system filled in when
nobody answered, and so nothing. A word that is not known makes the call-back unclear, never the row.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from incidents.imported_calls import GivenCall
from spiders.dates import is_future, parse_when
from spiders.profiles import Profile
from spiders.source_run import zone_of

#: what a cell means, by its words without blanks and punctuation
WORDS: dict[str, tuple[str, ...]] = {
    "solved": ("已解决", "解决", "完全解决", "全部解决", "问题已解决", "诉求已解决"),
    "unsolved": ("未解决", "没解决", "没有解决", "尚未解决", "部分解决", "未完全解决", "未全部解决", "问题未解决", "诉求未解决"),
    "unknown": ("不清楚", "不确定", "不知道", "无法判断", "说不清"),
    "satisfied": ("满意", "非常满意", "很满意", "十分满意", "比较满意", "较满意"),
    "basically": ("基本满意", "一般", "一般满意"),
    "dissatisfied": ("不满意", "非常不满意", "很不满意", "十分不满意", "不太满意", "较不满意"),
    "nothing": (
        "未回访", "待回访", "无需回访", "不需回访", "不回访", "未评价", "未评", "不评价", "放弃评价", "未接通", "无法接通", "未接听", "无人接听", "拒接", "拒访",
        "拒绝回访", "拒绝评价", "关机", "停机", "空号", "无法联系", "联系不上", "默认满意", "默认好评", "默认评价", "系统默认", "已回访", "无", "其他",
    ),
}  # fmt: skip
_YES, _NO = ("是", "y", "yes", "true", "1"), ("否", "n", "no", "false", "0")
_SOLVED = ("solved", "unsolved", "unknown")
_JOINTS = re.compile(r"[\s,，、;；/|+]+")


@dataclass(frozen=True)
class Unclear:
    """A call-back that cannot be read: in which column, and why."""

    column: str
    reason: str


def said_of(
    values: Mapping[str, Any], columns: Mapping[str, tuple[str, ...]], profile: Profile, now: datetime
) -> GivenCall | Unclear | None:
    """What a row says of its call-back. None: it has no such column, nobody was called, or the caller said nothing."""
    words = {_plain(word): meaning for meaning, given in WORDS.items() for word in given}
    words |= {_plain(word): meaning for meaning, given in profile.says.items() for word in given}
    found = {"solved": "", "satisfied": ""}
    for name in ("solved", "satisfaction", "call_result"):
        column = columns.get(name, ("",))[0]
        cell = _cell(values.get(column))
        if not column or not cell:
            continue
        meanings = _meanings(name, cell, words)
        if meanings is None:
            return Unclear(
                column,
                f"{cell[:40]!r} says nothing that is known of a call-back; expected for example 是, 否, 已解决, 未解决, 满意, 基本满意, 不满意, "
                "未评价; other words go into `says` of the profile",
            )
        here: dict[str, str] = {}
        for meaning in meanings:
            about = "solved" if meaning in _SOLVED else "satisfied"
            if meaning != "nothing" and here.setdefault(about, meaning) != meaning:
                return Unclear(column, f"{cell[:40]!r} contradicts itself")
        # a column of its own says it better than a summary of the call
        found = {about: before or here.get(about, "") for about, before in found.items()}
    if not any(found.values()):
        return None
    column = columns.get("called_at", ("",))[0]
    given = values.get(column) if column else None
    when = None
    if _cell(given):
        zone = zone_of(profile.timezone)
        when = parse_when(given, now, zone)
        if when is None:
            why = "lies in the future" if is_future(given, now, zone) else "is no time that can be read"
            return Unclear(column, f"{str(given)[:60]!r} {why}; expected for example 2026-11-20 09:30")
    return GivenCall(found["solved"], found["satisfied"], when)


def _meanings(name: str, cell: str, words: Mapping[str, str]) -> list[str] | None:
    """What the words of a cell mean; None when one of them is not known."""
    whole = _one(name, cell, words)
    if whole:
        return [whole]
    parts = [_one(name, part, words) for part in _JOINTS.split(cell) if part]
    return [part for part in parts if part] if parts and all(parts) else None


def _one(name: str, word: str, words: Mapping[str, str]) -> str:
    plain = _plain(word)
    if name == "solved" and plain in (*_YES, *_NO):
        return "solved" if plain in _YES else "unsolved"
    if name == "satisfaction" and plain in (*_YES, *_NO):
        return "satisfied" if plain in _YES else "dissatisfied"
    return words.get(plain, "")


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "是" if value else "否"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = "" if value is None else str(value).strip()
    return "" if text in ("-", "--", "/", "—", "[已删除]") else text


def _plain(word: str) -> str:
    return re.sub(r"[\s\W_]+", "", unicodedata.normalize("NFKC", word)).casefold()
