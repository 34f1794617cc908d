"""Sentences about the house itself, the year before and whose time missed clocks were."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reports.model import UnitLine
    from reports.words import Words


def last_year_sentence(words: Words) -> str:
    """The same period one year earlier, or that there are not enough data of it."""
    found, _ = words.model.last_year, words._
    if found is None:
        return ""
    few = _("数据不足")
    if (found.posts, found.judged, found.detected, found.closed) == (None,) * 4:
        return _("去年同期（{period}）数据不足。").format(period=found.period)
    return _("去年同期（{period}）：帖文{posts}，负面占{share}，预警{detected}，办结{closed}。").format(
        period=found.period,
        posts=few if found.posts is None else words.number(found.posts),
        share=few if found.judged is None else words.share(found.negative or 0, found.judged),
        detected=few if found.detected is None else words.number(found.detected),
        closed=few if found.closed is None else words.number(found.closed),
    )


def blind_sentences(words: Words) -> list[str]:
    """What nobody watches."""
    found, _ = words.model.blind, words._
    if found is None:
        return []
    text = _(
        "重点领域与区县共{cells}格：无信源覆盖{blind}格，信源全部异常{dark}格，仅有综合信源{general}格"
    ).format(cells=found.cells, blind=found.blind, dark=found.dark, general=found.general)
    if found.named:
        names = words.join([f"{words.domain(domain)}·{district}" for domain, district in found.named])
        more = found.blind + found.dark - len(found.named)
        text += (
            f"（{names}{'…' if more > 0 else ''}）"
            if words.chinese
            else f" ({names}{'…' if more > 0 else ''})"
        )
    lines = [text + ("。" if words.chinese else ".")]
    if found.silent_count:
        lines.append(
            _("{n}个信源近{weeks}周在应有的领域或区县没有一条相关帖文：{names}。").format(
                n=found.silent_count, weeks=found.weeks, names=words.join(found.silent)
            )
        )
    return lines


def model_sentences(words: Words) -> list[str]:
    """How good the model is as measured, and what people here said of it."""
    found, _ = words.model.judging, words._
    if found is None:
        return []
    names = {
        "domain": _("领域"),
        "tone": _("情感"),
        "signal": _("信号"),
        "risk": _("风险"),
        "complaints": _("诉求七类"),
    }
    measures = {
        "macro_f1": _("宏平均F1"),
        "7 classes, macro_f1": _("宏平均F1"),
        "f1_y": "F1",
        "accuracy": _("准确率"),
        "weighted_kappa": _("加权κ"),
    }
    target = _("目标")
    parts = [
        f"{names.get(one.task, one.task)}{measures.get(one.name, one.name)} {one.value:.3f}（{target}≥{one.target:g}）"
        if words.chinese
        else f"{names.get(one.task, one.task)} {measures.get(one.name, one.name)} {one.value:.3f} (target >= {one.target:g})"
        for one in found.figures
    ]
    lines = [
        _("研判模型{version}，训练时交叉验证：{figures}。").format(
            version=found.version, figures=words.join(parts)
        )
    ]
    if found.said:
        said = [
            f"{names.get(one.kind, one.kind)} {words.share(one.right, one.n)}（{one.right}/{one.n}）"
            if words.chinese
            else f"{one.kind} {words.share(one.right, one.n)} ({one.right}/{one.n})"
            for one in found.said
        ]
        lines.append(
            _("本市人工核对，模型原判正确：{said}；人多查看像是错的，故为下限。").format(
                said=words.join(said)
            )
        )
    else:
        lines.append(_("本市尚无人工核对，模型在本市的准确率数据不足。"))
    return lines


def charge_sentences(words: Words) -> list[str]:
    """Whose time the missed clocks were, department by department, and which appeals wait."""
    found, _ = words.model.charges, words._
    if found is None:
        return []
    links = {
        "source": _("信源"), "system": _("系统"), "desk": _("值班环节"), "approver": _("审批环节"),
        "department": _("承办部门"), "shared": _("多个部门先后"),
    }  # fmt: skip
    lines = [
        _("超时时限按所占时间归责：{link}{n}项{cite}。").format(
            link=links.get(line.link, line.link), n=line.missed, cite=words.cite(line.numbers)
        )
        for line in found.links
        if line.missed
    ]
    lines += [_unit(words, line) for line in found.units[: words.limit]]
    if found.near_ceiling:
        lines.append(_("各部门按时率都已接近上限，其间差别多属偶然。"))
    waiting = [line for line in found.units if line.appeals]
    if waiting:
        named = words.join([f"{line.name}{words.gap}{line.appeals}" for line in waiting])
        lines.append(_("待决申诉：{named}。").format(named=named))
    return lines


def _unit(words: Words, line: UnitLine) -> str:
    _ = words._
    if line.share is None or line.low is None or line.high is None:
        rate = _("数据不足")
    else:
        rate = f"{line.share:.1%}"
        rate += _("（95%区间{low}–{high}").format(low=f"{line.low:.1%}", high=f"{line.high:.1%}")
        if line.expected is not None:
            rate += _("，同类事项全市应有{expected}").format(expected=f"{line.expected:.1%}")
        rate += "）" if words.chinese else ")"
    text = _("{name}：归本部门时限按时{kept}、超时{missed}{cite}，按时率{rate}").format(
        name=line.name, kept=line.kept, missed=line.missed, cite=words.cite(line.numbers), rate=rate
    )
    if line.others:
        text += _("；到期时在手而归其他环节{n}项").format(n=line.others)
    return text + ("。" if words.chinese else ".")
