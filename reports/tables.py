"""The figures of a report as tables: each cell holds the number itself (for a sheet) and how people read it (for a page).

One list of tables serves PDF, DOCX and XLSX, so that no format can say another figure than its neighbour.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Literal

from incidents import evaluation_words as evaluation_names
from reports import evaluation_words
from reports.evaluation_model import Estimate, UnitRow
from reports.model import CountRow, DayRow, IncidentLine, ReportModel
from reports.special_words import step_name
from reports.words import Words

#: text | whole number | number | share 0..1 | hours | local time | local date
Kind = Literal["text", "count", "share", "hours", "time", "date", "number"]
Value = str | int | float | datetime | date | None


@dataclass(frozen=True)
class Cell:
    """`value` as a sheet keeps it (None: there is no figure), `text` as a page shows it."""

    value: Value
    text: str


@dataclass(frozen=True)
class Column:
    """`head` ends with the unit in brackets where there is one; `wide`: share of the page beside the other columns.

    `sheet_only`: left out on pages, where the sentences around the table say it.
    """

    head: str
    kind: Kind = "text"
    wide: float = 1.0
    sheet_only: bool = False

    @property
    def short(self) -> str:
        """The head on a page, where the cells name their units."""
        return re.sub(r"\s*[（(][^（(]*[）)]$", "", self.head)


@dataclass(frozen=True)
class Table:
    """`name` is that of its sheet: at most 31 letters. `sheet_only`: too wide or too long for a page."""

    id: str
    name: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    sheet_only: bool = False
    page_only: bool = False  # the same figures stand in another sheet


class Cells:
    """Cells in the language and by the rules of one report."""

    def __init__(self, words: Words) -> None:
        self.words = words

    def text(self, value: str) -> Cell:
        """Words."""
        return Cell(value, value)

    def count(self, value: int | None) -> Cell:
        """A whole number; a dash when there is none."""
        return Cell(value, "—" if value is None else self.words.number(value))

    def share(self, part: int, whole: int) -> Cell:
        """A share, or "not enough data" below the minimum sample: in a sheet too."""
        shown = self.words.share(part, whole)
        return Cell(round(part / whole, 4) if whole >= self.words.model.min_sample else shown, shown)

    def change(self, now: int, before: int) -> Cell:
        """Change in per cent; below the minimum sample the page shows the difference and the sheet says so."""
        enough = before >= self.words.model.min_sample
        few = self.words._("数据不足")
        return Cell(round((now - before) / before, 4) if enough else few, self.words.change(now, before))

    def hours(self, seconds: int | None) -> Cell:
        """A duration."""
        return Cell(None if seconds is None else round(seconds / 3600, 2), self.words.duration(seconds))

    def time(self, at: datetime | None) -> Cell:
        """A local time."""
        return Cell(
            None if at is None else at.astimezone(self.words.zone).replace(tzinfo=None),
            self.words.instant(at),
        )

    def day(self, day: date) -> Cell:
        """A local date."""
        return Cell(day, f"{day.month}-{day.day}")

    def slot(self, row: DayRow) -> Cell:
        """A day, an hour or a month as a date or time."""
        at = row.day if row.hour is None else datetime.combine(row.day, time(row.hour))
        return Cell(at, self.words.slot(row))

    def numbers(self, numbers: Sequence[str]) -> Cell:
        """Incident numbers: all of them in a sheet, the first few on a page."""
        shown = self.words.join(numbers[:3])
        if len(numbers) > 3:
            shown = self.words._("{list} 等{n}件").format(list=shown, n=len(numbers))
        return Cell(self.words.join(numbers), shown)


def tables(model: ReportModel, words: Words) -> tuple[Table, ...]:
    """Every table that has rows, in the order of the report."""
    made = (make(model, words, Cells(words)) for make in _TABLES)
    return tuple(table for table in made if table.rows)


def _figures(model: ReportModel, words: Words, c: Cells) -> Table:
    _ = words._
    v = model.volume
    rows: list[tuple[str, int, int | None]] = [
        (_("公开帖文（条）"), v.posts, v.before),
        (_("已研判帖文（条）"), v.judged, v.judged_before),
        (_("负面帖文（条）"), v.negative, v.negative_before),
        (_("近似转发（条）"), v.copies, None),
        (_("预警事件（件）"), model.detected, None),
        (_("其中人工上报（件）"), model.manual, None),
        (_("研判属实（件）"), model.confirmed, None),
        (_("误报（件）"), len(model.false_alarms), None),
        (_("并入（件）"), len(model.merged), None),
        (_("新发现在办（件）"), len(model.new), None),
        (_("持续升温（件）"), len(model.growing), None),
        (_("办结（件）"), len(model.closed), None),
        (_("期末在办（件）"), len(model.open_incidents), None),
        (_("时限按时（项）"), model.kept, None),
        (_("时限超时（项）"), model.ran_out, None),
    ]
    then = model.last_year
    ago = {0: then.posts, 1: then.judged, 2: then.negative, 4: then.detected} if then else {}
    return Table(
        "figures",
        _("概况"),
        (
            Column(_("指标"), wide=2),
            Column(_("本周"), "count"),
            Column(_("上周"), "count"),
            Column(_("去年同期"), "count"),
        ),
        tuple(
            (
                c.text(name),
                c.count(now),
                c.count(None if model.kind == "special" else before),
                Cell(year if year is not None else _("数据不足"), "") if place in ago else c.count(None),
            )
            for place, (name, now, before) in enumerate(rows)
            for year in [ago.get(place)]
        ),
        sheet_only=True,
    )


def _days(model: ReportModel, words: Words, c: Cells) -> Table:
    _ = words._
    heads = (_("帖文（条）"), _("负面（条）"), _("中性（条）"), _("正面（条）"), _("上周（条）"))
    return Table(
        "days",
        _("每日帖文"),
        (
            Column(_("日期"), "time" if model.kind == "daily" else "date"),
            *(Column(head, "count") for head in heads),
        ),
        tuple(
            (c.slot(row), *map(c.count, (row.posts, row.negative, row.neutral, row.positive, row.before)))
            for row in model.days
            if model.volume.posts or model.volume.before
        ),
        sheet_only=True,
    )


def _counts(
    identity: str, name: str, head: str, rows: Iterable[CountRow], words: Words, label: Callable[[str], str]
) -> Table:
    _ = words._
    c = Cells(words)
    return Table(
        identity,
        name,
        (
            Column(head, wide=1.6),
            Column(_("本周（条）"), "count"),
            Column(_("上周（条）"), "count"),
            Column(_("变化"), "share"),
            Column(_("负面占比"), "share", 1.3),
        ),
        tuple(
            (
                c.text(label(row.id)),
                c.count(row.posts),
                c.count(row.before),
                c.change(row.posts, row.before),
                c.share(row.negative, row.posts),
            )
            for row in rows
        ),
    )


def _domains(model: ReportModel, words: Words, c: Cells) -> Table:
    return _counts("domains", words._("各领域"), words._("领域"), model.domains, words, words.domain)


def _districts(model: ReportModel, words: Words, c: Cells) -> Table:
    return _counts("districts", words._("各区县"), words._("区县"), model.districts, words, str)


def _topics(model: ReportModel, words: Words, c: Cells) -> Table:
    _ = words._
    return Table(
        "topics",
        _("话题"),
        (
            Column(_("领域")),
            Column(_("话题"), wide=2.4),
            Column(_("本周（条）"), "count"),
            Column(_("上周（条）"), "count"),
            Column(_("变化")),
        ),
        tuple(
            (
                c.text(words.domain(domain.id)),
                c.text(line.title),
                c.count(line.posts),
                c.count(None if line.trend in ("new", "first") else line.before),
                c.text(words.trend(line)),
            )
            for domain in model.topics
            for line in domain.topics
        ),
    )


def _incidents(model: ReportModel, words: Words, c: Cells) -> Table:
    _ = words._
    groups = (
        (_("新发现"), model.new),
        (_("持续升温"), model.growing),
        (_("本周办结"), model.closed),
        (_("其余在办事件"), model.other_open),
    )

    def row(group: str, line: IncidentLine) -> tuple[Cell, ...]:
        return (
            c.text(group),
            c.text(line.number),
            c.text(line.title),
            c.text(words.domain(line.domain)),
            c.text(line.district),
            c.text(words.level(line.level)),
            c.text(words.state(line.state)),
            c.text(words.track(line.track)),
            c.text(model.department(line.department)),
            c.count(line.posts),
            c.count(line.posts_before),
            c.time(line.first_posted_at),
            c.time(line.detected_at),
            c.time(line.responded_at),
            c.time(line.closed_at),
            Cell(line.score, "—" if line.score is None else f"{line.score:g}"),
        )

    return Table(
        "incidents",
        _("事件"),
        (
            Column(_("类别")),
            Column(_("编号"), wide=1.4),
            Column(_("标题"), wide=3),
            Column(_("领域")),
            Column(_("区县")),
            Column(_("等级")),
            Column(_("状态")),
            Column(_("发现方式")),
            Column(_("承办部门"), wide=1.6),
            Column(_("本周帖文（条）"), "count"),
            Column(_("上周帖文（条）"), "count"),
            Column(_("首帖时间"), "time"),
            Column(_("发现时间"), "time"),
            Column(_("首次回应时间"), "time"),
            Column(_("办结时间"), "time"),
            Column(_("评估（分）"), "count"),
        ),
        tuple(row(name, line) for name, lines in groups for line in lines),
        sheet_only=True,
    )


def _steps(model: ReportModel, words: Words, c: Cells) -> Table:
    _ = words._
    return Table(
        "steps",
        _("处置经过"),
        (
            Column(_("时间"), "time"),
            Column(_("编号"), wide=1.4),
            Column(_("经过"), wide=4),
            Column(_("承办部门"), wide=1.6),
            Column(_("备注"), wide=2),
        ),
        tuple(
            (
                c.time(step.at),
                c.text(step.number),
                c.text(step_name(words, step)),
                c.text(model.department(step.department)),
                c.text(step.note),
            )
            for step in model.steps
        ),
        sheet_only=True,
    )


def _links(model: ReportModel, words: Words, c: Cells) -> Table:
    _ = words._
    return Table(
        "links",
        _("响应用时"),
        (
            Column(_("环节"), wide=2.3),
            Column(_("责任方"), wide=1.2, sheet_only=True),
            Column(_("完成（次）"), "count", 0.55),
            Column(_("中位数（小时）"), "hours", 1.45),
            Column(_("最慢（小时）"), "hours", 1.45),
            Column(_("最慢事件"), wide=1.6),
            Column(_("等待（件）"), "count", 0.55),
            Column(_("最久等待（小时）"), "hours", 1.2, sheet_only=True),
            Column(_("等待事件"), wide=1.4, sheet_only=True),
        ),
        tuple(
            (
                c.text(words.link(link.id)[0]),
                c.text(words.link(link.id)[1]),
                c.count(link.n),
                c.hours(link.median),
                c.hours(link.worst),
                c.text(link.worst_number),
                c.count(len(link.waiting)),
                c.hours(link.longest_wait),
                c.numbers(link.waiting),
            )
            for link in model.links
            if link.n or link.waiting
        ),
    )


def _rules(model: ReportModel, words: Words, c: Cells) -> Table:
    _ = words._
    return Table(
        "clocks",
        _("法定时限"),
        (
            Column(_("条款"), wide=0.7),
            Column(_("要求"), wide=2.4),
            Column(_("按时（项）"), "count", 0.8),
            Column(_("超时（项）"), "count", 0.8),
            Column(_("运行中（项）"), "count", 0.9),
            Column(_("按时率"), "share", 1.4),
            Column(_("依据"), wide=2.4, sheet_only=True),
            Column(_("按时事件"), wide=1.5, sheet_only=True),
            Column(_("超时事件"), wide=1.5, sheet_only=True),
        ),
        tuple(
            (
                c.text(row.rule),
                c.text(row.action),
                c.count(row.kept),
                c.count(row.missed),
                c.count(row.running),
                c.share(row.kept, row.kept + row.missed),
                c.text(row.source or _("本市配置，非法定")),
                c.numbers(row.kept_numbers),
                c.numbers(row.missed_numbers),
            )
            for row in model.rules
        ),
    )


def _missed(model: ReportModel, words: Words, c: Cells) -> Table:
    _ = words._
    return Table(
        "missed",
        _("超时明细"),
        (
            Column(_("编号"), wide=1.4),
            Column(_("条款")),
            Column(_("要求"), wide=2),
            Column(_("到期时承办"), wide=1.6),
            Column(_("应于"), "time"),
            Column(_("回应于"), "time"),
            Column(_("超时（小时）"), "hours"),
            Column(_("上周及以前到期")),
            Column(_("日历暂定")),
        ),
        tuple(
            (
                c.text(line.number),
                c.text(line.rule),
                c.text(line.action),
                c.text(model.department(line.department) or _("未交办（值班环节）")),
                c.time(line.due_at),
                c.time(line.answered_at),
                c.hours(line.late),
                c.text(_("是") if line.earlier else _("否")),
                c.text(_("是") if line.provisional else _("否")),
            )
            for line in model.missed
        ),
        sheet_only=True,
    )


def _departments(model: ReportModel, words: Words, c: Cells) -> Table:
    _ = words._
    return Table(
        "departments",
        _("部门办理"),
        (
            Column(_("部门"), wide=1.9),
            Column(_("交办（件）"), "count", 1.1),
            Column(_("退回（件）"), "count", sheet_only=True),
            Column(_("回应（件）"), "count", 1.15),
            Column(_("中位数（小时）"), "hours", 1.9),
            Column(_("最慢（小时）"), "hours", 1.3, sheet_only=True),
            Column(_("时限按时（项）"), "count", 1.2),
            Column(_("时限超时（项）"), "count", 1.2),
            Column(_("按时率"), "share", 1.3),
            Column(_("在办（件）"), "count", 0.8),
            Column(_("事件"), wide=1.6, sheet_only=True),
        ),
        tuple(
            (
                c.text(row.name),
                c.count(row.assigned),
                c.count(row.returned),
                c.count(row.responded),
                c.hours(row.median),
                c.hours(row.worst),
                c.count(row.kept),
                c.count(row.missed),
                c.share(row.kept, row.kept + row.missed),
                c.count(row.open),
                c.numbers(row.numbers),
            )
            for row in model.departments
        ),
    )


def _charges(model: ReportModel, words: Words, c: Cells) -> Table:
    _ = words._
    units = model.charges.units if model.charges else ()

    def share(value: float | None) -> Cell:
        few = _("数据不足")
        return Cell(few if value is None else round(value, 4), few if value is None else f"{value:.1%}")

    return Table(
        "charges",
        _("时限归责"),
        (
            Column(_("部门"), wide=2),
            Column(_("时限按时（项）"), "count"),
            Column(_("时限超时（项）"), "count"),
            Column(_("按时率"), "share"),
            Column(_("95%区间下限"), "share"),
            Column(_("95%区间上限"), "share"),
            Column(_("同类事项全市应有"), "share"),
            Column(_("归其他环节（项）"), "count"),
            Column(_("待决申诉（件）"), "count"),
            Column(_("超时事件"), wide=1.5),
        ),
        tuple(
            (
                c.text(line.name),
                c.count(line.kept),
                c.count(line.missed),
                share(line.share),
                share(line.low),
                share(line.high),
                share(line.expected),
                c.count(line.others),
                c.count(line.appeals),
                c.numbers(line.numbers),
            )
            for line in units
        ),
        sheet_only=True,
    )


def _effect(model: ReportModel, words: Words, c: Cells) -> Table:
    """Departments by domain, every figure; pages show _units and _indicators."""
    _ = words._
    part = model.evaluation
    few = _("数据不足")

    def share(value: float | None, text: str) -> Cell:
        return Cell(few if value is None else round(value, 4), text)

    def changed(value: float | None) -> Cell:
        return Cell(None if value is None else round(value, 4), "—" if value is None else f"{value:+.0%}")

    def row(one: UnitRow) -> tuple[Cell, ...]:
        form = part.human.get(one.department) if part and not one.domain else None
        rates = {rate.id: rate for rate in one.rates}
        cells = [
            c.text(evaluation_words.unit(words, one)),
            c.text(words.domain(one.domain) if one.domain else _("全部领域")),
            c.count(one.cases),
            Cell(round(one.computable, 4), f"{one.computable:.0%}"),
            share(one.total, evaluation_words.total(words, one)),
            c.text(evaluation_words.name(words, "band", one.band)),
            Cell(form.score if form else None, evaluation_words.human(words, form)),
            c.count(form.scored if form else None),
            Cell(form.total if form else None, "—"),
            c.count(form.raters if form else None),
        ]
        for indicator in one.indicators:
            cells += [
                Cell(None if indicator.value is None else round(indicator.value, 4), "—"),
                c.count(indicator.n),
            ]
        cells += [c.count(one.flags.get(ground, 0)) for ground in evaluation_names.FLAGS]
        for id_ in evaluation_names.RATES:
            rate = rates.get(id_)
            told = rate is not None and rate.enough
            value = rate.right / rate.n if rate is not None and told else None
            cells += [
                share(value, "—") if rate is not None else c.count(None),
                c.count(rate.n if rate is not None else None),
                Cell(round(rate.low, 4) if rate is not None and told else None, "—"),
                Cell(round(rate.high, 4) if rate is not None and told else None, "—"),
            ]
        matched = one.matched_volume
        cells += [
            Cell(one.median_h, "—"),
            Cell(one.worst_overdue_h, "—"),
            c.text(one.worst_number),
            changed(matched.value if matched else None),
            changed(matched.low if matched else None),
            changed(matched.high if matched else None),
            c.count(one.compared),
            c.numbers(one.numbers),
        ]
        return tuple(cells)

    columns = [
        Column(_("部门"), wide=2),
        Column(_("领域")),
        Column(_("件数（件）"), "count"),
        Column(_("可计算权重"), "share"),
        Column(_("总分（0–1）"), "number"),
        Column(_("评定")),
        Column(_("人工评估（分）"), "number"),
        Column(_("人工评估（件）"), "count"),
        Column(_("评审均分"), "number"),
        Column(_("评审（人次）"), "count"),
    ]
    for code in evaluation_names.INDICATORS:
        label = evaluation_words.name(words, "indicator", code)
        columns += [
            Column(f"{code} {label}", "number"),
            Column(f"{code} n", "count"),
        ]
    for ground in evaluation_names.FLAGS:
        columns.append(
            Column(
                _("事由：{name}（件）").format(name=evaluation_words.name(words, "flag", ground)),
                "count",
            )
        )
    for id_ in evaluation_names.RATES:
        label = evaluation_words.name(words, "rate", id_)
        columns += [
            Column(label, "share"),
            Column(f"{label} n", "count"),
            Column(_("{name}95%区间下限").format(name=label), "share"),
            Column(_("{name}95%区间上限").format(name=label), "share"),
        ]
    columns += [
        Column(_("中位用时（小时）"), "hours"),
        Column(_("最长超时（小时）"), "hours"),
        Column(_("最长超时事件"), wide=1.4),
        Column(_("与同类未回应事件相比帖数变化"), "share"),
        Column(_("95%区间下限"), "share"),
        Column(_("95%区间上限"), "share"),
        Column(_("可比（件）"), "count"),
        Column(_("事件"), wide=1.6),
    ]
    rows = tuple(map(row, part.rows if part else ()))
    return Table("effect", _("效果评估"), tuple(columns), rows, sheet_only=True)


def _units(model: ReportModel, words: Words, c: Cells) -> Table:
    """The computed score of each department beside what people said."""
    _ = words._
    human = model.evaluation.human if model.evaluation else {}
    return Table(
        "units",
        "",
        (
            Column(_("部门"), wide=2.2),
            Column(_("件数（件）"), "count", 0.7),
            Column(_("系统评估"), wide=1.4),
            Column(_("人工评估"), wide=2.5),
            Column(_("事件"), wide=2.1),
        ),
        tuple(
            (
                c.text(evaluation_words.unit(words, row)),
                c.count(row.cases),
                Cell(row.total, evaluation_words.total(words, row)),
                c.text(evaluation_words.human(words, human.get(row.department))),
                c.numbers(row.numbers),
            )
            for row in evaluation_words.units(words)
        ),
        page_only=True,
    )


def _indicators(model: ReportModel, words: Words, c: Cells) -> Table:
    """The indicators of each department, for pages only; the sheet of _effect holds them with their domains."""
    return Table(
        "indicators",
        "",
        (
            Column(words._("部门"), wide=2.2),
            *(Column(code, "count", 1.0) for code in evaluation_names.INDICATORS),
        ),
        tuple(
            (
                c.text(evaluation_words.unit(words, row)),
                *(Cell(one.value, evaluation_words.figure(one)) for one in row.indicators),
            )
            for row in evaluation_words.units(words)
        ),
        page_only=True,
    )


def _case(model: ReportModel, words: Words, c: Cells) -> Table:
    """The indicators of the incident of a special report."""
    _ = words._
    case = model.evaluation.case if model.evaluation else None
    return Table(
        "case",
        _("效果评估"),
        (
            Column(_("指标"), wide=1.6),
            Column(_("权重"), "number", 0.6),
            Column(_("得分"), "number", 0.6),
            Column(_("依据数"), "count", 0.7),
            Column(_("说明"), wide=4.5),
        ),
        tuple(
            (
                c.text(f"{one.id} {evaluation_words.name(words, 'indicator', one.id)}"),
                Cell(one.weight, f"{one.weight:.2f}"),
                Cell(
                    None if one.value is None else round(one.value, 4),
                    "—" if one.value is None else f"{one.value:.2f}",
                ),
                c.count(one.n if one.value is not None else None),
                c.text(evaluation_words.reason(words, one)),
            )
            for one in (case.indicators if case else ())
        ),
    )


def _trends(model: ReportModel, words: Words, c: Cells) -> Table:
    """What became of the talk after each answer."""
    _ = words._

    def part(found: Estimate | None) -> tuple[Cell, ...]:
        few = Cell(_("数据不足"), "")
        if found is None:
            return few, Cell(None, ""), Cell(None, "")
        return Cell(found.value, ""), Cell(found.low, ""), Cell(found.high, "")

    def change(head: str) -> tuple[Column, ...]:
        return (
            Column(head, "share"),
            Column(_("{name}95%区间下限").format(name=head), "share"),
            Column(_("{name}95%区间上限").format(name=head), "share"),
        )

    return Table(
        "trends",
        _("回应后走势"),
        (
            Column(_("编号"), wide=1.4),
            Column(_("标题"), wide=3),
            Column(_("承办部门"), wide=1.6),
            Column(_("首次回应时间"), "time"),
            Column(_("前24小时帖文（条）"), "count"),
            Column(_("前24小时已研判（条）"), "count"),
            Column(_("前24小时负面（条）"), "count"),
            Column(_("后24至72小时帖文（条）"), "count"),
            Column(_("后24至72小时已研判（条）"), "count"),
            Column(_("后24至72小时负面（条）"), "count"),
            Column(_("已不可访问（条）"), "count"),
            *change(_("日均帖数变化")),
            *change(_("负面占比变化")),
            Column(_("减半用时（小时，0为最初6小时内）"), "hours"),
            Column(_("二次升温（回应后小时）"), "hours"),
            Column(_("可比同类未回应事件（件）"), "count"),
            *change(_("与同类相比帖数变化")),
            *change(_("与同类相比负面占比变化")),
        ),
        tuple(
            (
                c.text(line.number),
                c.text(line.title),
                c.text(model.department(line.department)),
                c.time(line.trend.answered_at),
                c.count(line.trend.before_posts),
                c.count(line.trend.before_judged),
                c.count(line.trend.before_negative),
                c.count(line.trend.after_posts),
                c.count(line.trend.after_judged),
                c.count(line.trend.after_negative),
                c.count(line.trend.deleted),
                *part(line.trend.volume),
                *part(line.trend.negative),
                Cell(line.trend.half_life_h, ""),
                Cell(line.trend.second_wave_h, ""),
                c.count(line.trend.matched),
                *part(line.trend.matched_volume),
                *part(line.trend.matched_negative),
            )
            for line in evaluation_words.trends(words)
        ),
        sheet_only=True,
    )


def _sources(model: ReportModel, words: Words, c: Cells) -> Table:
    _ = words._
    return Table(
        "sources",
        _("信源"),
        (
            Column(_("信源"), wide=2),
            Column(_("启用"), wide=0.6),
            Column(_("新帖（条）"), "count"),
            Column(_("有新帖（天）"), "count"),
            Column(_("最近采集"), "time", 1.3),
        ),
        tuple(
            (
                c.text(row.name),
                c.text(_("是") if row.enabled else _("否")),
                c.count(row.posts),
                c.count(row.days),
                c.time(row.last_at),
            )
            for row in model.listed_sources
        ),
    )


def _own(model: ReportModel, words: Words, c: Cells) -> Table:
    _ = words._
    wrong = [
        (_("误报"), line.number, line.title, words.track(line.track), words.reason(line.reason), line.note)
        for line in model.false_alarms
    ]
    merged = [(_("并入"), line.number, "", "", line.parent, "") for line in model.merged]
    return Table(
        "own",
        _("误报与并入"),
        (
            Column(_("类别")),
            Column(_("编号"), wide=1.4),
            Column(_("标题"), wide=2.4),
            Column(_("发现方式")),
            Column(_("误报原因或并入的事件"), wide=1.6),
            Column(_("备注"), wide=1.6),
        ),
        tuple(tuple(map(c.text, row)) for row in [*wrong, *merged]),
        sheet_only=True,
    )


def _heads(model: ReportModel, words: Words, c: Cells) -> Table:
    _ = words._
    return Table(
        "heads",
        _("事件记录"),
        (Column(_("日期"), "date"), Column(_("末号"), "count"), Column(_("校验值"), wide=4)),
        tuple((c.day(head.day), c.count(head.seq), c.text(head.hash)) for head in model.heads),
        sheet_only=True,
    )


_TABLES: tuple[Callable[[ReportModel, Words, Cells], Table], ...] = (
    _figures,
    _days,
    _domains,
    _districts,
    _topics,
    _incidents,
    _steps,
    _links,
    _rules,
    _missed,
    _departments,
    _charges,
    _effect,
    _units,
    _indicators,
    _case,
    _trends,
    _sources,
    _own,
    _heads,
)
