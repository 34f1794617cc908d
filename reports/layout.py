"""What both the mail and its plain text hold: editions, notices, sections, footer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from config.i18n import translator
from reports.model import IncidentLine, ReportModel
from reports.self_words import last_year_sentence
from reports.words import Words


@dataclass(frozen=True)
class Edition:
    """Which edition of a period this is.

    `kind`: first; preview (the week still runs); final (after a preview had been sent); correction (after a final
    edition had been sent); sequel (of a special report, after one had been sent). `changes`: what differs from the edition it replaces, as (name, old, new).
    """

    revision: int = 1
    kind: Literal["first", "preview", "final", "correction", "sequel"] = "first"
    replaces_at: datetime | None = None
    changes: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Section:
    id: str
    heading: str


def change_names(language: str) -> dict[str, str]:
    """Figures that a correction compares, with their names."""
    _ = translator("reports", language)
    return {
        "posts": _("帖文"),
        "negative": _("负面帖文"),
        "new": _("新发现事件"),
        "closed": _("办结事件"),
        "false_alarms": _("误报"),
        "kept": _("按时时限"),
        "ran_out": _("超时时限"),
    }


def notices(model: ReportModel, words: Words, edition: Edition) -> list[str]:
    """What a reader must know before anything else."""
    _ = words._
    lines = []
    if model.preliminary:
        lines.append(
            _("本周尚未结束：数据截至{at}，上周数字取同期，周末后另发完整版。").format(
                at=words.instant(model.as_of)
            )
        )
    if model.partly_deleted and model.kind == "special":
        lines.append(_("部分帖文已按保存期限删除：总数和负面数仍为当时的计数，其余情感和信源不再可知。"))
    elif model.partly_deleted:
        lines.append(_("本期所涉帖文已部分按保存期限删除，帖文数字偏低。"))
    if edition.kind == "sequel" and edition.replaces_at is not None:
        lines.append(
            _("续报：本期为第{n}版，接{at}发出的专报，内容有更新。").format(
                n=edition.revision, at=words.instant(edition.replaces_at)
            )
        )
    if edition.kind in ("correction", "final") and edition.replaces_at is not None:
        template = (
            _("更正：本期为第{n}版，取代{at}发出的版本。")
            if edition.kind == "correction"
            else _("完整版：本期为第{n}版，取代{at}发出的阶段版。")
        )
        text = template.format(n=edition.revision, at=words.instant(edition.replaces_at))
        if edition.changes:
            changed = [f"{name} {old}→{new}" for name, old, new in edition.changes]
            text += _("变化：{changes}。").format(changes=words.join(changed))
        elif edition.kind == "correction":
            text += _("主要数字不变，明细有更新。")
        lines.append(text)
    return lines


def sections(model: ReportModel, words: Words) -> list[Section]:
    _ = words._
    special = model.kind == "special"
    wanted = [
        ("matters", _("事件概况") if special else _("重点事件"), not model.empty),
        ("steps", _("处置经过"), bool(model.steps)),
        ("volume", _("帖文总量与情感"), model.volume.posts > 0 or model.volume.before > 0),
        ("topics", _("本周话题"), any(row.topics for row in model.topics)),
        ("links", _("响应用时"), any(link.n or link.waiting for link in model.links)),
        ("clocks", _("法定时限"), bool(model.rules or model.missed)),
        ("departments", _("部门办理"), bool(model.departments)),
        ("evaluation", _("回应效果评估"), model.evaluation is not None),
        ("own", _("监测覆盖与自查"), not special),
    ]
    numerals = "一二三四五六七八九十" if words.chinese else "123456789"
    shown = [(name, heading) for name, heading, show in wanted if show]
    mark = "、" if words.chinese else ". "
    return [Section(name, f"{numerals[index]}{mark}{heading}") for index, (name, heading) in enumerate(shown)]


def footer(model: ReportModel, words: Words) -> list[str]:
    _ = words._
    return [
        _("规则版本{rules}；数据截至{as_of}，生成于{at}。").format(
            rules=model.rules_version, as_of=words.instant(model.as_of), at=words.instant(model.generated_at)
        ),
        _(
            "本报告由系统按事件记录汇总，每个数字可由所列事件编号核对；只评价办理，不评价发帖人。样本少于{n}的比率写“数据不足”。"
        ).format(n=model.min_sample),
    ]


def tone_line(model: ReportModel, words: Words) -> str:
    v = model.volume
    text = words._(
        "已研判{judged}条：负面{negative}，中性{neutral}，正面{positive}；近似转发{copies}条。"
    ).format(
        judged=words.number(v.judged),
        negative=f"{words.number(v.negative)} ({words.share(v.negative, v.judged)})",
        neutral=words.number(v.neutral),
        positive=words.number(v.positive),
        copies=words.number(v.copies),
    )
    if v.posts > v.judged:
        text += words._("尚未研判{n}条。").format(n=words.number(v.posts - v.judged))
    return text + words.gap + last_year_sentence(words)


def groups(model: ReportModel, words: Words) -> list[tuple[str, tuple[IncidentLine, ...], str]]:
    _ = words._
    if model.kind == "special":
        return [("", model.new, "new")]
    return [
        (_("新发现"), model.new, "new"),
        (_("持续升温"), model.growing, "growing"),
        (_("本周办结"), model.closed, "closed"),
    ]
