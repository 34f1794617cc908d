"""Names of periods in the words of a report: the sentences speak of a week, and say day, month or year where it is one.

Only our own templates are turned, before figures, titles and names are put in: what people wrote stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Literal

from config.i18n import translator
from reports.model import ReportModel
from reports.period import Kind

_CHINESE: dict[str, tuple[tuple[str, str], ...]] = {
    "weekly": (),
    "daily": (
        ("本周", "当日"), ("上周", "前一日"), ("周末后", "次日"), ("周报", "日报"), ("首周", "首日"),
        ("每日帖文", "每小时帖文"), ("天有新帖", "小时有新帖"), ("有新帖天数", "有新帖小时"), ("有新帖（天）", "有新帖（小时）"),
    ),
    "monthly": (("本周", "本月"), ("上周", "上月"), ("周末后", "月末后"), ("周报", "月报"), ("首周", "首月")),
    "special": (("本周超时", "超时"), ("上周及以前到期", "此前到期"), ("本周", "期内"), ("期末", "目前")),
    "yearly": (
        ("本周", "本年"), ("上周", "上年"), ("周末后", "年末后"), ("周报", "年报"), ("首周", "首年"),
        ("每日帖文", "每月帖文"), ("每日末号", "每月末号"), ("天有新帖", "个月有新帖"), ("有新帖天数", "有新帖月数"),
        ("有新帖（天）", "有新帖（月）"),
    ),
}  # fmt: skip
_ENGLISH: dict[str, tuple[str, str]] = {
    "weekly": ("week", "weekly"),
    "daily": ("day", "daily"),
    "monthly": ("month", "monthly"),
    "yearly": ("year", "yearly"),
}


def translator_for(kind: Kind | Literal["special"], language: str) -> Callable[[str], str]:
    """Texts of the room in one language, speaking of the period of this kind."""
    plain = translator("reports", language)
    if kind == "weekly":
        return plain
    noun, adjective = _ENGLISH.get(kind, ("time", ""))

    def chinese(message: str) -> str:
        text = plain(message)
        for week, other in _CHINESE[kind]:
            text = text.replace(week, other)
        return text

    def english(message: str) -> str:
        text = plain(message)
        if kind == "special":
            text = text.replace(" this week", "")
        text = re.sub(r"\bWeek\b", noun.capitalize(), re.sub(r"\bweek\b", noun, text))
        text = re.sub(r"\bWeekly\b", adjective.capitalize(), re.sub(r"\bweekly\b", adjective, text))
        if kind in ("daily", "yearly"):
            slot = "hour" if kind == "daily" else "month"
            text = text.replace("Posts by day", f"Posts by {slot}").replace(
                "Days with posts", f"{slot.capitalize()}s with posts"
            )
            text = text.replace(" days", f" {slot}s")
        return text

    return english if language.startswith("en") else chinese


def issue(model: ReportModel, language: str) -> str:
    """Number of the issue, as the mast of a bulletin has it."""
    _ = translator("reports", language)
    if model.kind == "special":
        return _("专报 {number}").format(number=model.period)
    year = model.period[:4]
    if model.kind == "yearly":
        return _("{year}年度").format(year=year)
    number = (
        int(model.period[6:])
        if model.kind == "weekly"
        else int(model.period[5:])
        if model.kind == "monthly"
        else model.since.timetuple().tm_yday
    )
    return _("{year}年第{n}期").format(year=year, n=number)


def headline(model: ReportModel, language: str) -> str:
    """Title below the mast."""
    _ = translator("reports", language)
    first = model.since
    if model.kind == "special":
        return _("关于“{title}”的舆情专报").format(title=model.new[0].title)
    if model.kind == "weekly":
        return _("{year}年第{n}周政务舆情情况").format(year=model.period[:4], n=int(model.period[6:]))
    if model.kind == "daily":
        day = f"{first.month}月{first.day}日" if not language.startswith("en") else f"{first:%d %B %Y}"
        return _("{day}政务舆情情况").format(day=day)
    if model.kind == "monthly":
        return _("{year}年{n}月政务舆情情况").format(year=first.year, n=first.month)
    return _("{year}年政务舆情情况").format(year=first.year)


def span(model: ReportModel, language: str) -> str:
    """Which period this is, in the subject and below the title of the mail."""
    first = model.since.date()
    last = (model.until - timedelta(hours=12)).date()
    english = language.startswith("en")
    if model.kind == "special":
        return (
            f"{model.new[0].title} ({model.period})" if english else f"{model.new[0].title}（{model.period}）"
        )
    if model.kind == "daily":
        return f"{first:%d %b %Y}" if english else f"{first.year}年{first.month}月{first.day}日"
    if model.kind == "monthly":
        return f"{first:%B %Y}" if english else f"{first.year}年{first.month}月"
    if model.kind == "yearly":
        return f"{first.year}" if english else f"{first.year}年"
    year, week = model.period.split("-W")
    if not english:
        return f"{year}年第{int(week)}周（{first.year}年{first.month}月{first.day}日至{last.month}月{last.day}日）"
    return f"Week {int(week)} of {year} ({first:%d %b} to {last:%d %b %Y})"


def slot_name(model: ReportModel, index: int, language: str) -> str:
    """A bar of the chart of the course: 11/16 一, 08, 16, 3月."""
    row = model.days[index]
    if row.hour is not None:
        return f"{row.hour:02d}"
    if model.kind == "monthly":
        return str(row.day.day)
    if model.kind == "yearly":
        return f"{row.day:%b}" if language.startswith("en") else f"{row.day.month}月"
    names = (
        ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun") if language.startswith("en") else "一二三四五六日"
    )
    return f"{row.day.month}/{row.day.day} {names[row.day.weekday()]}"


def slots(model: ReportModel) -> int:
    """Bars of the whole period."""
    if model.kind == "special":
        return len(model.days)
    if model.kind == "daily":
        return 24
    return 12 if model.kind == "yearly" else (model.until.date() - model.since.date()).days
