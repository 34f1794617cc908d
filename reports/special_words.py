"""Sentences of the special report about one incident; each cites its number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.model import StepLine

if TYPE_CHECKING:
    from reports.words import Words


def special_summary(words: Words) -> list[str]:
    """What it is about, how it spread, what was done, what runs out."""
    model, _ = words.model, words._
    (line,) = model.new
    lines = [
        _("{number}《{title}》：{tags}。").format(
            number=line.number, title=line.title, tags=words.tags(line)
        ),
        special_volume(words),
    ]
    if model.merged:
        pairs = words.cite([f"{merge.number}→{merge.parent}" for merge in model.merged])
        lines.append(_("并入其他事件{n}件{pairs}。").format(n=len(model.merged), pairs=pairs))
    lines.append(
        words.clock_sentence()
        if model.rules or model.missed
        else _("没有运行中的法定时限{cite}。").format(cite=words.cite([line.number]))
    )
    answered = words.answer_sentence()
    return [*lines, answered or _("尚未回应{cite}。").format(cite=words.cite([line.number]))]


def special_volume(words: Words) -> str:
    """How many posts, from how many sources, and their tone."""
    v, _ = words.model.volume, words._
    return _(
        "截至{at}，采集公开帖文{posts}条，来自{sources}个信源；负面占{share}（已研判{judged}条）{cite}。"
    ).format(
        at=words.instant(words.model.as_of),
        posts=words.number(v.posts),
        sources=len(words.model.sources),
        share=words.share(v.negative, v.judged),
        judged=words.number(v.judged),
        cite=words.cite([words.model.period]),
    )


def step_name(words: Words, step: StepLine) -> str:
    """What was done."""
    _ = words._
    names = {
        "detected": _("发现"),
        "page_sent": _("预警送达"),
        "page_acknowledged": _("值班确认"),
        "confirmed": _("研判属实"),
        "assigned": _("交办"),
        "acknowledged": _("签收"),
        "returned": _("退回"),
        "responded": _("回应"),
        "evaluated": _("评估"),
        "closed": _("办结"),
        "reopened": _("重开"),
        "merged": _("并入"),
        "false_alarm": _("误报"),
    }
    return names[step.what]


def step_sentence(words: Words, step: StepLine) -> str:
    """One step: when, what, by whom, why."""
    text = f"{words.instant(step.at)} {step.number} {step_name(words, step)}"
    if step.department:
        text += f"{'：' if words.chinese else ': '}{words.model.department(step.department)}"
    if step.note:
        text += f"（{step.note}）" if words.chinese else f" ({step.note})"
    return text
