"""The report as plain text: what a text-only mail client and a screen reader get."""

from __future__ import annotations

from collections.abc import Callable

from reports import evaluation_words
from reports.kinds import slots
from reports.layout import Edition, footer, notices, sections, tone_line
from reports.model import CountRow, ReportModel
from reports.special_words import step_sentence
from reports.words import TOPICS, Words


def plain_text(model: ReportModel, words: Words, edition: Edition) -> str:
    """The same report as plain text: what a text-only client and a screen reader get."""
    lines = [words.title(), words.period(), ""]
    lines += notices(model, words, edition)
    lines += words.summary()
    for section in sections(model, words):
        lines += ["", section.heading, *_SECTION_TEXT[section.id](model, words)]
    lines += ["", words.audit(), *words.heads(), *footer(model, words)]
    return "\n".join(lines) + "\n"


def _matters_text(model: ReportModel, words: Words) -> list[str]:
    _ = words._
    lines = []
    for heading, group in (
        (_("新发现"), model.new),
        (_("持续升温"), model.growing),
        (_("本周办结"), model.closed),
        (_("其余在办事件"), model.other_open),
    ):
        if group and model.kind != "special":
            lines.append(f"[{heading}]")
        for line in group[: words.limit]:
            lines += [f"{line.number} {line.title}", f"  {words.tags(line)}", f"  {words.matter(line)}"]
        lines += filter(None, [words.rest(len(group))])
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


def _volume_text(model: ReportModel, words: Words) -> list[str]:
    return [
        words.days_alt(),
        tone_line(model, words),
        *_counts_text(model.domains, words, words.domain),
        *_counts_text(model.districts, words, str),
    ]


def _topics_text(model: ReportModel, words: Words) -> list[str]:
    lines = []
    for domain in (row for row in model.topics if not row.few):
        lines.append(f"[{words.domain(domain.id)}] {words.topic_sum(domain, TOPICS)}")
        lines += [
            (
                words._("  {title}：{posts}条，{trend}")
                if line.trend in ("new", "first")
                else words._("  {title}：{posts}条，上周{before}条，{trend}")
            ).format(
                title=line.title,
                posts=words.number(line.posts),
                before=words.number(line.before),
                trend=words.trend(line),
            )
            + (words._("；如：{text}").format(text=line.example) if line.example else "")
            for line in domain.topics[:TOPICS]
        ]
        lines += filter(None, [words.gone(domain)])
    lines += filter(None, [words.topic_few()])
    return [*lines, words._("话题由系统按用词归纳，近似转发只计一次；例句为缩略。")]


def _clocks_text(model: ReportModel, words: Words) -> list[str]:
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
    missed = [words.missed_sentence(line) for line in model.missed[: words.limit]]
    return [*rows, *missed, *filter(None, [words.rest(len(model.missed))])]


def _departments_text(model: ReportModel, words: Words) -> list[str]:
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
    ] + words.charges()


def _own_text(model: ReportModel, words: Words) -> list[str]:
    sources = [
        words._("{name}：新帖{posts}条，{days}/{all}天有新帖").format(
            name=row.name, posts=words.number(row.posts), days=row.days, all=slots(model)
        )
        for row in model.listed_sources
    ]
    return [words.coverage(), *sources, *words.own_errors()]


def _evaluation_text(model: ReportModel, words: Words) -> list[str]:
    part = model.evaluation
    case = part.case if part else None
    lines = evaluation_words.lead(words)
    lines += [evaluation_words.unit_sentence(words, row) for row in evaluation_words.units(words)]
    for one in case.indicators if case else ():
        lines.append(
            f"{one.id} {evaluation_words.name(words, 'indicator', one.id)}"
            f"  {evaluation_words.figure(one)}  {evaluation_words.reason(words, one)}"
        )
    lines += [evaluation_words.trend_sentence(words, line) for line in evaluation_words.told_trends(words)]
    lines += filter(None, [evaluation_words.rest_of_trends(words), evaluation_words.bars_alt(words)])
    return [*lines, *evaluation_words.notes(words)]


def _steps_text(model: ReportModel, words: Words) -> list[str]:
    return [step_sentence(words, step) for step in model.steps]


_SECTION_TEXT: dict[str, Callable[[ReportModel, Words], list[str]]] = {
    "matters": _matters_text,
    "steps": _steps_text,
    "volume": _volume_text,
    "topics": _topics_text,
    "links": lambda model, words: [words.link_sentence(link) for link in model.links],
    "clocks": _clocks_text,
    "departments": _departments_text,
    "evaluation": _evaluation_text,
    "own": _own_text,
}
