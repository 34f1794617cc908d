"""Heat index 热度 and the 0–100 grade score with its parts; overrides that send a matter to a person at once.

Score: severity 40, reach 25, growth 20, media 15; bands 40 较大, 65 重大, 85 特别重大. All of it is a proposal: a person
confirms 重大 and above. docs/heat.md has the formulas with their reasons.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from analysis.judge import JudgeOutput
from incidents.states import LEVELS
from incidents.stops import hostname

BANDS = (("critical", 85.0), ("major", 65.0), ("serious", 40.0))
#: hours in which a voice loses half of its heat
HALF_LIFE_H = 24.0
#: ill people in a food case from which the matter is 较大 at least (research: food poisoning plans count from 30)
MANY_ILL = 30
#: parts of host names: media of the whole country, and of a province or city
_CENTRAL = ("people.com.cn", "xinhuanet.com", "news.cn", "cctv.com", "chinanews.com", "gmw.cn", "thepaper.cn")
_LOCAL = ("iqilu.com", "dzwww.com", "e23.cn", "jinan.gov.cn", "sdnews.com.cn", "qlwb.com.cn", "bandao.cn")
#: the notice's 五(二): changes of great policies, trust in party and government, the bottom line of morals
_FOCUS: Mapping[str, tuple[str, ...]] = {
    "policy": ("政策调整", "政策改变", "学区调整", "划片调整", "医保改革", "取消补贴", "延迟退休"),
    "trust": ("暴力执法", "官商勾结", "保护伞", "贪污", "受贿", "打击报复", "瞒报", "虚报数据", "钓鱼执法"),
    "morals": ("虐童", "性侵", "猥亵", "虐待老人", "拐卖", "见死不救", "弃养", "侮辱烈士"),
}
_DIGITS = {c: n for n, c in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
_NUMBER = r"(\d{1,5}|[零〇一二两三四五六七八九十百]{1,6})"
_PEOPLE = r"(?:余|多|来)?(?:名|个|位|人)"
_ILL = re.compile(
    _NUMBER
    + _PEOPLE
    + r"[^，。！？；\d]{0,14}(?:中毒|呕吐|腹泻|住院|就医|送医|不适|发病|拉肚子|患病|发烧|入院)"
)
_ILL_AFTER = re.compile(
    r"(?:中毒|呕吐|腹泻|住院|就医|送医|发病|患病|入院)[^，。！？；\d]{0,8}?" + _NUMBER + _PEOPLE
)


@dataclass(frozen=True)
class Reading:
    """What a text says of harm: most ill people it names, and which focus of the notice it touches."""

    ill: int = 0
    focus: tuple[str, ...] = ()


@dataclass(frozen=True)
class Overrides:
    """Why a matter is 较大 at least and goes to a person now, whatever its score; empty when nothing says so."""

    reasons: tuple[str, ...] = ()
    level: str = "general"


def number_of(written: str) -> int:
    """A number in digits or Chinese numerals up to 999; 0 when it is none."""
    if written.isdigit():
        return int(written)
    total, digit = 0, 0
    for char in written:
        if char in "十百":
            total += (digit or 1) * (10 if char == "十" else 100)
            digit = 0
        elif char in _DIGITS:
            digit = _DIGITS[char]
        else:
            return 0
    return total + digit


def read_harm(text: str) -> Reading:
    """Read one post's text (its first 2,000 characters)."""
    text = text[:2000]
    counts = [number_of(found.group(1)) for pattern in (_ILL, _ILL_AFTER) for found in pattern.finditer(text)]
    focus = tuple(name for name, words in _FOCUS.items() if any(word in text for word in words))
    return Reading(max(counts, default=0), focus)


def overrides(
    categories: frozenset[str], domain: str, readings: Iterable[Reading], linked_level: str = ""
) -> Overrides:
    """The hard rules over all posts of an incident. `linked_level`: grade of an emergency that a person linked."""
    reasons: list[str] = []
    ill, focus = 0, set()
    for reading in readings:
        ill = max(ill, reading.ill)
        focus |= set(reading.focus)
    if "death" in categories:
        reasons.append("death")
    if ill >= MANY_ILL and (domain == "food_safety" or "poisoning" in categories):
        reasons.append(f"ill:{ill}")
    elif "poisoning" in categories:
        reasons.append("poisoning")
    reasons.extend(f"focus:{name}" for name in sorted(focus))
    level = "serious" if reasons else "general"
    if linked_level in LEVELS:
        reasons.append(f"emergency:{linked_level}")
        level = max(level, linked_level, "serious", key=LEVELS.index)
    return Overrides(tuple(reasons), level)


_REASON_WORDS = {
    "death": ("提到有人死亡", "a death is spoken of"),
    "poisoning": ("提到中毒", "a poisoning is spoken of"),
    "focus:policy": ("涉及重大政策调整", "touches a change of policy"),
    "focus:trust": ("影响党和政府公信力", "touches trust in the authorities"),
    "focus:morals": ("冲击道德底线", "touches the bottom line of morals"),
}
_LEVEL_WORDS = {"general": "一般", "serious": "较大", "major": "重大", "critical": "特别重大"}


def reason_words(reason: str) -> tuple[str, str]:
    """One override in Chinese and English."""
    if reason.startswith("ill:"):
        count = reason.removeprefix("ill:")
        return f"提到 {count} 人患病（30 人以上）", f"{count} people ill (30 or more)"
    if reason.startswith("emergency:"):
        level = reason.removeprefix("emergency:")
        return f"关联的突发事件为{_LEVEL_WORDS[level]}", f"the linked emergency is graded {level}"
    return _REASON_WORDS[reason]


def live_categories(post: JudgeOutput) -> frozenset[str]:
    """Hazard categories of a post that no guard silenced."""
    return frozenset(hit.category for hit in post.hazards if not hit.silenced_by)


def media_share(urls: Iterable[str]) -> float:
    """0 no media, 0.5 media of this province, 1 media of the whole country, by the hosts of the posts."""
    found = 0.0
    for url in urls:
        host = hostname(url)
        if any(host == name or host.endswith(f".{name}") for name in _CENTRAL):
            return 1.0
        if any(host == name or host.endswith(f".{name}") for name in _LOCAL):
            found = 0.5
    return found


def robust_growth(hours: Sequence[tuple[datetime, int]], at: datetime) -> float:
    """Robust z of the voices of the last 24 hours against the 14 days before: (now - median) / (1.4826 MAD, at least 1)."""
    days = [0] * 15
    for hour, voices in hours:
        age = (at - hour) // timedelta(days=1)
        if 0 <= age < 15:
            days[age] += voices
    before = sorted(days[1:])
    median = (before[6] + before[7]) / 2
    off = sorted(abs(n - median) for n in before)
    return (days[0] - median) / max(1.4826 * (off[6] + off[7]) / 2, 1.0)


def heat(hours: Sequence[tuple[datetime, int, int]], at: datetime) -> float:
    """热度, 0–100: 25 x log10(1 + H), H = voices + a fifth of their further posts, each halved every 24 hours.

    `hours`: (hour, voices, posts). More authors never lower it, waiting never raises it; 10 voices of now give 26, 100 give 50.
    """
    total = 0.0
    for hour, voices, posts in hours:
        age = max(0.0, (at - hour) / timedelta(hours=1))
        total += (voices + 0.2 * max(0, posts - voices)) * 0.5 ** (age / HALF_LIFE_H)
    return round(min(100.0, 25 * math.log10(1 + total)), 1)


def grade(
    voices: int,
    growth: float,
    risk: int,
    categories: frozenset[str],
    media: float = 0.0,
    interactions: float | None = None,
) -> dict[str, float]:
    """The 0–100 score and its parts: severity 40, reach 25, growth 20, media 15.

    `growth` 1 is ordinary, 64 fills its part. `interactions`: the share of recent posts that had fewer likes, comments
    and reposts; None when the sources tell of none, and reach then is made of authors alone.
    """
    severity = {0: 0.0, 1: 0.25, 2: 0.55, 3: 0.9}[max(0, min(3, risk))]
    if categories & {"death", "poisoning", "collapse", "abuse"}:
        severity = max(severity, 0.9)
    elif categories & {"fire", "injury", "unrest"}:
        severity = max(severity, 0.7)
    reach = min(1.0, math.log10(max(voices, 1)) / 3.0)  # 1,000 voices fill it
    if interactions is not None:
        # interactions add to what the authors give and never take away
        reach += (1.0 - reach) * 0.3 * min(1.0, max(0.0, interactions))
    speed = min(1.0, math.log2(max(growth, 1.0)) / 6.0)  # 64 times the ordinary fills it
    parts = {
        "severity": 40 * severity,
        "reach": 25 * reach,
        "growth": 20 * speed,
        "media": 15 * min(1.0, max(0.0, media)),
    }
    return {name: round(value, 1) for name, value in parts.items()} | {"score": round(sum(parts.values()), 1)}


def level_of(score: float, over: Overrides = Overrides()) -> str:
    """general < 40 <= serious < 65 <= major < 85 <= critical, and at least what the overrides ask for."""
    level = next((name for name, least in BANDS if score >= least), "general")
    return max(level, over.level, key=LEVELS.index)


def propose_level(
    voices: int, growth: float, risk: int, categories: frozenset[str], media: float = 0.0
) -> str:
    """The grade of a matter of which nothing more is known. A proposal only: a person confirms major and critical."""
    over = Overrides(("death",), "serious") if categories & {"death", "poisoning"} else Overrides()
    return level_of(grade(voices, growth, risk, categories, media)["score"], over)


def explain(parts: Mapping[str, float], heat_now: float, over: Overrides, level: str) -> dict[str, Any]:
    """The keys that a detection's why gets: heat, grade with its parts, whether a person has to look now and why."""
    zh = (
        f"评分 {parts['score']:g}（严重 {parts['severity']:g}/40，范围 {parts['reach']:g}/25，"
        f"增速 {parts['growth']:g}/20，媒体 {parts['media']:g}/15），热度 {heat_now:g}，拟定{_LEVEL_WORDS[level]}"
    )
    en = (
        f"score {parts['score']:g} (severity {parts['severity']:g}/40, reach {parts['reach']:g}/25, "
        f"growth {parts['growth']:g}/20, media {parts['media']:g}/15), heat {heat_now:g}, proposed grade {level}"
    )
    review = bool(over.reasons) or level in ("major", "critical")
    if over.reasons:
        words = [reason_words(reason) for reason in over.reasons]
        zh += f"；{'、'.join(w[0] for w in words)}：至少较大，须立即人工研判"
        en += f"; {', '.join(w[1] for w in words)}: serious at least, a person has to look now"
    elif review:
        zh += "；重大及以上须人工确认"
        en += "; major and above needs a person's confirmation"
    return {
        "heat": heat_now,
        "grade": dict(parts),
        "review_now": review,
        "review_reasons": list(over.reasons),
        "grade_zh": f"{zh}。",
        "grade_en": f"{en}.",
    }
