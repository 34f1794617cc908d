"""Sentences of a report about the response evaluation, each with its incident numbers; made from the model alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from incidents import evaluation_words as said
from reports.evaluation_model import Estimate, HumanForm, Indicator, Line, TrendLine, UnitRow

if TYPE_CHECKING:
    from reports.words import Words


#: answers whose talk is told in sentences where lists are cut
TOLD = 6


def _stop(words: Words) -> str:
    return "。" if words.chinese else "."


def _semi(words: Words) -> str:
    return "；" if words.chinese else "; "


def stored(words: Words, line: Line) -> str:
    """A sentence that the evaluation kept."""
    return said.say(line.text, line.given, words.language)


def name(words: Words, table: str, code: str) -> str:
    """What a code of the evaluation is called."""
    return said.word(table, code, words.language)


def moved(value: float) -> str:
    """A relative change with its sign."""
    return f"{value:+.0%}".replace("-", "−") if round(value, 2) else "0%"


def points(value: float) -> str:
    """A change of a share, in percentage points, with its sign."""
    return f"{100 * value:+.1f}".replace("-", "−") if round(value, 3) else "0.0"


def interval(words: Words, found: Estimate | None, *, share: bool = False) -> str:
    """A change with its 95 % interval, or that there are not enough data."""
    _ = words._
    if found is None:
        return _("数据不足")
    text = _("{value}个百分点（95%区间{low}至{high}）") if share else _("{value}（95%区间{low}至{high}）")
    show = points if share else moved
    return text.format(value=show(found.value), low=show(found.low), high=show(found.high))


def unit(words: Words, row: UnitRow) -> str:
    """Name of a department; of nobody."""
    return words.model.department(row.department) if row.department else words._("未交办部门的事项")


def total(words: Words, row: UnitRow) -> str:
    """The computed score with its band, or why there is none."""
    if row.total is not None:
        return f"{row.total:.2f} {name(words, 'band', row.band)}"
    part = words.model.evaluation
    few = part is not None and row.cases < part.min_cases
    return words._("数据不足") if few else name(words, "band", "none")


def figure(one: Indicator) -> str:
    """An indicator with what it was counted on; a dash when it cannot be computed."""
    return "—" if one.value is None else f"{one.value:.2f} ({one.n})"


def human(words: Words, form: HumanForm | None) -> str:
    """What people said, in short; a dash when nobody said anything."""
    if form is None:
        return "—"
    _ = words._
    parts = []
    if form.score is not None:
        parts.append(_("{score}分（{n}件）").format(score=f"{form.score:.4g}", n=form.scored))
    if form.total is not None:
        parts.append(
            _("评审{total}分·{colour}（{n}人次）").format(
                total=f"{form.total:+.3g}".replace("-", "−"),
                colour=name(words, "colour", form.colour),
                n=form.raters,
            )
        )
    return ("，" if words.chinese else ", ").join(parts)


def unit_details(words: Words, row: UnitRow) -> str:
    """The indicators of a department, what cannot be computed, grounds, comparison, numbers."""
    _ = words._
    known = [f"{one.id} {figure(one)}" for one in row.indicators if one.value is not None]
    lacking = [one.id for one in row.indicators if one.value is None]
    parts = [" · ".join(known)] if known else []
    if not known:
        parts.append(_("各项指标都无法计算"))
    elif lacking:
        parts.append(_("无法计算：{list}").format(list=words.join(lacking)))
    for ground, n in row.flags.items():
        parts.append(_("事由“{ground}”{n}件").format(ground=name(words, "flag", ground), n=n))
    if row.matched_volume is not None:
        parts.append(
            _("回应后帖数与同类未回应事件相比{change}，{n}件").format(
                change=interval(words, row.matched_volume), n=row.compared
            )
        )
    if row.numbers:
        parts.append(words.cite(row.numbers).strip(" （）()"))
    return _semi(words).join(parts)


def unit_sentence(words: Words, row: UnitRow) -> str:
    """One department as a sentence, for the plain text."""
    _ = words._
    part = words.model.evaluation
    form = part.human.get(row.department) if part else None
    return _("{name}：{n}件，总分{total}，人工评估{human}；{details}").format(
        name=unit(words, row),
        n=row.cases,
        total=total(words, row),
        human=human(words, form) if form else _("尚无"),
        details=unit_details(words, row),
    ) + _stop(words)


def units(words: Words) -> list[UnitRow]:
    """Departments, each with all of its domains together; the sheet has the domains too."""
    part = words.model.evaluation
    return [row for row in part.rows if not row.domain] if part else []


def lead(words: Words) -> list[str]:
    """What stands above the table."""
    part, _ = words.model.evaluation, words._
    if part is None:
        return []
    if part.case is not None:
        return _case(words)
    if not part.computed:
        return [_("本周的评估尚未计算完毕；计算后见控制台“回应评估”。")]
    found = []
    for row in units(words):
        for ground, n in row.flags.items():
            found.append(
                _("{name}有{n}件出现“{ground}”事由，不计入总分，须具名人员判断{cite}。").format(
                    name=unit(words, row),
                    n=n,
                    ground=name(words, "flag", ground),
                    cite=words.cite(row.numbers),
                )
            )
    return found


def _case(words: Words) -> list[str]:
    part, _ = words.model.evaluation, words._
    case = part.case if part else None
    if part is None or case is None:
        return []
    if case.total is not None:
        text = _("系统评估{total}（{band}），可计算的指标占权重{share}").format(
            total=f"{case.total:.2f}",
            band=name(words, "band", case.band),
            share=f"{case.computable:.0%}",
        )
    else:
        text = _("系统不评定：{reason}").format(reason=stored(words, case.missing) if case.missing else "—")
    form = part.human.get("")
    text += _("；人工评估：{human}").format(human=human(words, form) if form else _("尚无"))
    found = [text + words.cite([case.number]) + _stop(words)]
    for flag in case.flags:
        told = [stored(words, line) for line in flag.lines]
        if flag.events:
            told.append(_("记录第{list}号").format(list=words.join([str(seq) for seq in flag.events])))
        found.append(
            _("事由“{ground}”（不计入总分，须具名人员判断）：{why}{cite}。").format(
                ground=name(words, "flag", flag.id),
                why=_semi(words).join(told),
                cite=words.cite([case.number]),
            )
        )
    for rate in case.rates:
        share = f"{rate.right / rate.n:.0%}" if rate.enough else _("数据不足")
        found.append(
            _("{name}：{right}/{n}，{share}{cite}。").format(
                name=name(words, "rate", rate.id),
                right=f"{rate.right:g}",
                n=rate.n,
                share=share,
                cite=words.cite([case.number]),
            )
        )
    return found


def reason(words: Words, one: Indicator) -> str:
    """How an indicator came about, or why there is none."""
    if one.missing is not None:
        return words._("无法计算：{reason}").format(reason=stored(words, one.missing))
    return said.gist(one.id, [(line.text, line.given) for line in one.lines], words.language)


def trend_sentence(words: Words, line: TrendLine) -> str:
    """What became of the talk after one answer."""
    _, trend = words._, line.trend
    parts = [
        _("{number}《{title}》于{at}回应").format(
            number=line.number, title=line.title, at=words.instant(trend.answered_at)
        ),
        _("回应前24小时帖文{before}条，回应后24至72小时{after}条").format(
            before=words.number(trend.before_posts), after=words.number(trend.after_posts)
        )
        if trend.complete
        else _("回应前24小时帖文{before}条，回应后未满72小时").format(
            before=words.number(trend.before_posts)
        ),
    ]
    if trend.complete:
        parts.append(_("日均帖数变化{change}").format(change=interval(words, trend.volume)))
        parts.append(_("负面占比变化{change}").format(change=interval(words, trend.negative, share=True)))
    parts.append(
        _("减半用时：{time}").format(time=said.half_life(trend.half_life_h, words.language))
        if trend.half_life_h is not None
        else _("未减半，或帖文太少")
    )
    if trend.second_wave_h is not None:
        parts.append(_("回应后{n}小时二次升温").format(n=f"{trend.second_wave_h:g}"))
    if trend.complete:
        parts.append(
            _("与{n}件同类未回应事件相比，帖数{change}").format(
                n=trend.matched, change=interval(words, trend.matched_volume)
            )
            if trend.matched_volume is not None
            else _("可比的同类未回应事件{n}件，不足以比较").format(n=trend.matched)
        )
    if trend.deleted:
        parts.append(_("其中{n}条已不可访问，照常计入").format(n=trend.deleted))
    return _semi(words).join(parts) + _stop(words)


def trends(words: Words) -> tuple[TrendLine, ...]:
    """Answers whose talk the report tells of; of a special report the incident itself."""
    part = words.model.evaluation
    if part is None:
        return ()
    case = part.case
    if case is None or case.trend is None:
        return part.trends
    title = words.model.new[0].title if words.model.new else ""
    return (TrendLine(number=case.number, title=title, department=case.department, trend=case.trend),)


def told_trends(words: Words) -> tuple[TrendLine, ...]:
    """Those that are told in sentences: where lists are cut, the ones most talked about; the sheet has all."""
    found = trends(words)
    return found if words.limit is None else found[: min(words.limit, TOLD)]


def rest_of_trends(words: Words) -> str:
    """How many were left out; empty when none was."""
    left = len(trends(words)) - len(told_trends(words))
    return words._("另有{n}件的走势见表格文件。").format(n=left) if left else ""


def notes(words: Words) -> list[str]:
    """How to read it: letters, brackets, what restricted matters do, cautions."""
    part, _ = words.model.evaluation, words._
    if part is None:
        return []
    letters = words.join([f"{code} {name(words, 'indicator', code)}" for code in said.INDICATORS])
    found = []
    if part.case is None and part.rows:
        found.append(
            _(
                "指标：{letters}。各项0至1，括号内为计算所依据的件数或项数；不足{n}件的部门只列数字，不评定；按配置顺序排列，不是排名。"
            ).format(letters=letters, n=part.min_cases)
        )
    if part.untold:
        found.append(_("另有限定知悉事项{n}件，计入数字，不列编号。").format(n=part.untold))
    agreed = [one for one in part.agreement if one.alpha is not None and one.item in ("total", "improper")]
    if agreed:
        told = [f"{name(words, 'item', one.item)} α={one.alpha:.2f} (n={one.units})" for one in agreed]
        found.append(_("评审一致性（Krippendorff α）：{list}。").format(list=words.join(told)))
    return [
        *found,
        _("解读时请注意：{list}").format(
            list=(" " if not words.chinese else "").join(said.cautions(words.language))
        ),
    ]


def drawn_trends(words: Words) -> list[TrendLine]:
    """Answers whose change of volume has an interval, the most talked about; drawn in the report of a period."""
    part = words.model.evaluation
    if part is None or part.case is not None:
        return []
    return [line for line in part.trends if line.trend.volume is not None][:TOLD]


def changes_alt(words: Words) -> str:
    """What the chart of changes shows."""
    _ = words._
    told = [f"{line.number} {interval(words, line.trend.volume)}" for line in drawn_trends(words)]
    return _("回应后日均帖数变化：{list}。").format(list=_semi(words).join(told)) if told else ""


def bars_alt(words: Words) -> str:
    """What the chart of posts around the answer shows."""
    shown = [line for line in trends(words) if line.trend.bars]
    if not shown:
        return ""
    trend = shown[0].trend
    top = max(trend.bars, key=lambda bar: bar.posts)
    return words._(
        "回应前两天至后七天的帖文，每{n}小时一格：共{posts}条，最多的一格始于回应{when}小时，{top}条。"
    ).format(
        n=trend.hours,
        posts=words.number(sum(bar.posts for bar in trend.bars)),
        when=f"{top.at:+d}".replace("-", "−"),
        top=words.number(top.posts),
    )
