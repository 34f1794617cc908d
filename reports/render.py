"""Draw the weekly report: mail (HTML with inline pictures and a plain-text part) and a page to open in a browser.

Pure: model in, texts and PNG bytes out. Style sheets are turned into style attributes, because mail clients drop
<style>; nothing is loaded from outside.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

import css_inline
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from config.i18n import translator
from reports.charts import days_chart, pairs_chart
from reports.model import CountRow, WeeklyModel
from reports.words import Words

#: domains drawn; the table below the chart holds all
DRAWN = 8
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_NUMBER = re.compile(r"QS-\d{4}-\d{6}")


def _unbroken(text: str) -> Markup:
    """Incident numbers that no line break may cut, in text that is escaped first."""
    return Markup(_NUMBER.sub(r'<span class="nb">\g<0></span>', str(escape(text))))  # noqa: S704 (escaped)


_ENVIRONMENT.filters["unbroken"] = _unbroken
_INLINER = css_inline.CSSInliner(keep_style_tags=False, load_remote_stylesheets=False)


@dataclass(frozen=True)
class Edition:
    """Which edition of a period this is.

    `kind`: first; preview (the week still runs); final (after a preview had been sent); correction (after a final
    edition had been sent). `changes`: what differs from the edition it replaces, as (name, old, new).
    """

    revision: int = 1
    kind: Literal["first", "preview", "final", "correction"] = "first"
    replaces_at: datetime | None = None
    changes: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class Image:
    """One chart. `name` is its file name and, in mails, the local part of its content id."""

    name: str
    alt: str
    png: bytes

    @property
    def cid(self) -> str:
        """Content id in the mail."""
        return f"{self.name.removesuffix('.png')}@quansheng"


@dataclass(frozen=True)
class Rendered:
    """A report in one language. `mail` shows pictures by cid, `page` by file name."""

    subject: str
    mail: str
    page: str
    text: str
    images: tuple[Image, ...]


@dataclass(frozen=True)
class _Section:
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


def render(model: WeeklyModel, edition: Edition, language: str) -> Rendered:
    """The whole report in one language (zh_CN or en)."""
    words = Words(model, language)
    images = _images(model, words)
    subject = _subject(words, edition)

    def html(source: Callable[[Image], str]) -> str:
        places = {"days": "", "domains": ""} | {
            image.name.removesuffix(".png"): source(image) for image in images
        }
        return _INLINER.inline(
            _ENVIRONMENT.get_template("weekly.html").render(
                **_context(model, words, edition), subject=subject, images=places
            )
        )

    return Rendered(
        subject=subject,
        mail=html(lambda image: f"cid:{image.cid}"),
        page=html(lambda image: image.name),
        text=_text(model, words, edition),
        images=images,
    )


def _subject(words: Words, edition: Edition) -> str:
    _ = words._
    mark = {
        "first": "",
        "final": "",
        "preview": _("【阶段】"),
        "correction": _("【更正】"),
    }[edition.kind]
    return f"{mark}{words.title()}{'' if words.chinese else ': '}{words.period()}"


def _notices(model: WeeklyModel, words: Words, edition: Edition) -> list[str]:
    """What a reader must know before anything else."""
    _ = words._
    lines = []
    if model.preliminary:
        lines.append(
            _("本周尚未结束：数据截至{at}，周末后另发完整版。").format(at=words.instant(model.as_of))
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


def _sections(model: WeeklyModel, words: Words) -> list[_Section]:
    _ = words._
    wanted = [
        ("matters", _("重点事件"), not model.empty),
        ("volume", _("帖文总量与情感"), model.volume.posts > 0 or model.volume.before > 0),
        ("links", _("响应用时"), any(link.n or link.waiting for link in model.links)),
        ("clocks", _("法定时限"), bool(model.rules or model.missed)),
        ("departments", _("部门办理"), bool(model.departments)),
        ("own", _("监测覆盖与自查"), True),
    ]
    numerals = "一二三四五六七" if words.chinese else "1234567"
    shown = [(name, heading) for name, heading, show in wanted if show]
    mark = "、" if words.chinese else ". "
    return [
        _Section(name, f"{numerals[index]}{mark}{heading}") for index, (name, heading) in enumerate(shown)
    ]


def _footer(model: WeeklyModel, words: Words) -> list[str]:
    _ = words._
    return [
        _("规则版本{rules}；数据截至{as_of}，生成于{at}。").format(
            rules=model.rules_version, as_of=words.instant(model.as_of), at=words.instant(model.generated_at)
        ),
        _(
            "本报告由系统按事件记录汇总，每个数字可由所列事件编号核对；只评价办理，不评价发帖人。样本少于{n}的比率写“数据不足”。"
        ).format(n=model.min_sample),
    ]


def _tone_line(model: WeeklyModel, words: Words) -> str:
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
    return text


def _kpis(model: WeeklyModel, words: Words) -> list[tuple[str, str, bool]]:
    _ = words._
    link = next(link for link in model.links if link.id == "assigned_responded")
    return [
        (words.number(model.volume.posts), _("公开帖文"), False),
        (words.number(len(model.new)), _("新发现事件"), False),
        (words.number(model.ran_out), _("本周超时时限"), model.ran_out > 0),
        (words.duration(link.median), _("回应用时中位数"), False),
    ]


def _groups(model: WeeklyModel, words: Words) -> list[tuple[str, tuple[object, ...], str]]:
    _ = words._
    return [
        (_("新发现"), model.new, "new"),
        (_("持续升温"), model.growing, "growing"),
        (_("本周办结"), model.closed, "closed"),
    ]


def _context(model: WeeklyModel, words: Words, edition: Edition) -> dict[str, object]:
    return {
        "m": model,
        "w": words,
        "_": words._,
        "notices": _notices(model, words, edition),
        "sections": _sections(model, words),
        "kpis": _kpis(model, words),
        "matter_groups": _groups(model, words),
        "any_matter": bool(model.new or model.growing or model.closed),
        "tone_line": _tone_line(model, words),
        "top_domains": _drawn(model),
        "footer": _footer(model, words),
    }


def _drawn(model: WeeklyModel) -> tuple[CountRow, ...]:
    return tuple(row for row in model.domains if row.id != "none")[:DRAWN]


def _images(model: WeeklyModel, words: Words) -> tuple[Image, ...]:
    """The charts that have something to show."""
    _ = words._
    found = []
    if model.volume.posts or model.volume.before:
        png = days_chart(
            [f"{row.day.month}/{row.day.day} {_weekday(words, row.day.weekday())}" for row in model.days],
            [(row.negative, row.neutral, row.positive) for row in model.days],
            [row.posts for row in model.days],
            [row.before for row in model.days],
            (_("负面"), _("中性"), _("正面"), _("未研判"), _("上周合计")),
        )
        found.append(Image("days.png", words.days_alt(), png))
    rows = _drawn(model)
    if rows:
        png = pairs_chart(
            [words.domain(row.id) for row in rows],
            [row.posts for row in rows],
            [row.before for row in rows],
            (_("本周"), _("上周")),
        )
        found.append(Image("domains.png", words.domains_alt(rows), png))
    return tuple(found)


def _weekday(words: Words, index: int) -> str:
    return (
        ("一二三四五六日"[index])
        if words.chinese
        else ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[index]
    )


# --- plain text ------------------------------------------------------------------------------------------------


def _text(model: WeeklyModel, words: Words, edition: Edition) -> str:
    """The same report as plain text: what a text-only client and a screen reader get."""
    lines = [words.title(), words.period(), ""]
    lines += _notices(model, words, edition)
    lines += words.summary()
    for section in _sections(model, words):
        lines += ["", section.heading, *_SECTION_TEXT[section.id](model, words)]
    lines += ["", words.audit(), *_footer(model, words)]
    return "\n".join(lines) + "\n"


def _matters_text(model: WeeklyModel, words: Words) -> list[str]:
    _ = words._
    lines = []
    for heading, group in (
        (_("新发现"), model.new),
        (_("持续升温"), model.growing),
        (_("本周办结"), model.closed),
        (_("其余在办事件"), model.other_open),
    ):
        if group:
            lines.append(f"[{heading}]")
        for line in group:
            lines += [f"{line.number} {line.title}", f"  {words.tags(line)}", f"  {words.matter(line)}"]
    return lines or [_("本周没有新发现、升温或办结的事件。")]


def _counts_text(rows: tuple[CountRow, ...], words: Words, name: Callable[[str], str]) -> list[str]:
    return [
        words._("{name}：{posts}条，上周{before}条，{change}；负面{share}").format(
            name=name(row.id),
            posts=words.number(row.posts),
            before=words.number(row.before),
            change=words.change(row.posts, row.before),
            share=words.share(row.negative, row.posts),
        )
        for row in rows
    ]


def _volume_text(model: WeeklyModel, words: Words) -> list[str]:
    return [
        words.days_alt(),
        _tone_line(model, words),
        *_counts_text(model.domains, words, words.domain),
        *_counts_text(model.districts, words, str),
    ]


def _clocks_text(model: WeeklyModel, words: Words) -> list[str]:
    rows = [
        words._("{rule} {action}：按时{kept}，超时{missed}，运行中{running}，按时率{rate}；{clause}").format(
            rule=row.rule,
            action=row.action,
            kept=row.kept,
            missed=row.missed,
            running=row.running,
            rate=words.on_time(row),
            clause=words.clause(row),
        )
        for row in model.rules
    ]
    return rows + [words.missed_sentence(line) for line in model.missed]


def _departments_text(model: WeeklyModel, words: Words) -> list[str]:
    return [
        words._(
            "{name}：交办{assigned}，退回{returned}，回应{responded}，用时中位数{median}，时限按时{kept}、超时{missed}，按时率{rate}，在办{open}{cite}"
        ).format(
            name=row.name,
            assigned=row.assigned,
            returned=row.returned,
            responded=row.responded,
            median=words.duration(row.median),
            kept=row.kept,
            missed=row.missed,
            rate=words.on_time(row),
            open=row.open,
            cite=words.cite(row.numbers),
        )
        for row in model.departments
    ]


def _own_text(model: WeeklyModel, words: Words) -> list[str]:
    sources = [
        words._("{name}：新帖{posts}条，{days}/7天有新帖").format(
            name=row.name, posts=words.number(row.posts), days=row.days
        )
        for row in model.sources
    ]
    return [words.coverage(), *sources, *words.own_errors()]


_SECTION_TEXT: dict[str, Callable[[WeeklyModel, Words], list[str]]] = {
    "matters": _matters_text,
    "volume": _volume_text,
    "links": lambda model, words: [words.link_sentence(link) for link in model.links],
    "clocks": _clocks_text,
    "departments": _departments_text,
    "own": _own_text,
}
