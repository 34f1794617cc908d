"""The report as a sequence of blocks: what PDF and DOCX set on paper, each in its own type.

Sentences come from `reports.words` and figures from `reports.tables`, as in the mail. Long lists are cut as there; the
sheet holds all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from reports import evaluation_words
from reports.layout import Edition, footer, groups, notices, sections, tone_line
from reports.model import ReportModel
from reports.special_words import step_sentence
from reports.tables import Table, tables
from reports.words import TOPICS, Words

#: `to`, `sign` and `annex` are of letters: the addressee, a line of the signature, a heading on a new page
Kind = Literal["h1", "h2", "para", "small", "notice", "matter", "table", "chart", "to", "sign", "annex"]


@dataclass(frozen=True)
class Block:
    """One paragraph, heading, table or chart.

    `text`: the words; of a chart its alternative text, of a matter its title. `tags` and `more` are of a matter.
    """

    kind: Kind
    text: str = ""
    tags: str = ""
    more: str = ""
    heads: tuple[str, ...] = ()
    rights: tuple[bool, ...] = ()  # which columns stand on the right: figures
    wides: tuple[float, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    chart: str = ""  # file name


@dataclass(frozen=True)
class Document:
    """A report to be set: head and blocks."""

    language: str
    mast: str  # in red
    issue: str
    issuer: str
    date: str
    title: str
    subtitle: str
    blocks: tuple[Block, ...]
    charts: dict[str, bytes] = field(default_factory=dict)  # PNG by file name
    sender: str = ""  # at the left of the red line; empty: the issuer


def table_block(table: Table, limit: int | None = None) -> Block:
    """The columns that a page has room for."""
    shown = [index for index, column in enumerate(table.columns) if not column.sheet_only]
    return Block(
        "table",
        heads=tuple(table.columns[index].short for index in shown),
        rights=tuple(table.columns[index].kind in ("count", "share", "hours", "number") for index in shown),
        wides=tuple(table.columns[index].wide for index in shown),
        rows=tuple(tuple(row[index].text for index in shown) for row in table.rows[:limit]),
    )


def document(
    model: ReportModel, words: Words, edition: Edition, charts: Sequence[tuple[str, str, bytes]], issuer: str
) -> Document:
    """The report on paper. `charts`: file name, alternative text, PNG."""
    alts = {name: alt for name, alt, _png in charts}
    blocks = [Block("notice", line) for line in notices(model, words, edition)]
    blocks += [Block("para", line) for line in words.summary()]
    made = {table.id: table for table in tables(model, words)}
    for section in sections(model, words):
        blocks.append(Block("h1", section.heading))
        blocks += _section(section.id, model, words, made, alts)
    blocks += [Block("small", line) for line in [words.audit(), *words.heads(), *footer(model, words)]]
    return Document(
        language=words.language,
        mast=words.title(),
        issue=words.issue(),
        issuer=issuer or model.city,
        date=words.day(model.generated_at),
        title=words.headline(),
        subtitle=words.dates(),
        blocks=tuple(blocks),
        charts={name: png for name, _alt, png in charts},
    )


def _section(
    section: str, model: ReportModel, words: Words, made: dict[str, Table], alts: dict[str, str]
) -> list[Block]:
    _ = words._

    def table(name: str) -> list[Block]:
        return [table_block(made[name])] if name in made else []

    def chart(name: str) -> list[Block]:
        return [Block("chart", alts[name], chart=name)] if name in alts else []

    if section == "matters":
        return _matters(model, words)
    if section == "steps":
        return [Block("para", step_sentence(words, step)) for step in model.steps]
    if section == "volume" and model.kind == "special":
        return [*chart("days.png"), Block("small", tone_line(model, words)), *table("sources")]
    if section == "volume":
        blocks = [Block("para", words.volume_sentence()), *chart("days.png")]
        blocks += [
            Block("small", tone_line(model, words)),
            _h2(words, 0, _("各领域")),
            *chart("domains.png"),
            *table("domains"),
        ]
        return [*blocks, _h2(words, 1, _("各区县")), *table("districts")] if "districts" in made else blocks
    if section == "topics":
        return _topics(model, words)
    if section == "links":
        note = _("各环节按完成时间计入本周；误报和并入的事件不计。")
        return [*table("links"), Block("small", note)]
    if section == "clocks":
        clauses = [
            Block("small", f"{row.rule} {row.action}{'：' if words.chinese else ': '}{words.clause(row)}")
            for row in model.rules
        ]
        missed = [Block("para", words.missed_sentence(line)) for line in model.missed[: words.limit]]
        return [
            Block("para", words.clock_sentence()),
            *table("clocks"),
            *clauses,
            *missed,
            *_rest(words, len(model.missed)),
        ]
    if section == "departments":
        charged = [Block("small", line) for line in words.charges()]
        return [*table("departments"), Block("small", words.departments_note()), *charged]
    if section == "evaluation":
        return _evaluation(words, made, [*chart("trend.png"), *chart("changes.png")])
    own = [Block("para", words.coverage()), *table("sources")]
    return own + [Block("para", line) for line in words.own_errors()]


def _h2(words: Words, index: int, heading: str) -> Block:
    return Block("h2", f"（{'一二三四五六七八九十'[index]}）{heading}" if words.chinese else heading)


def _rest(words: Words, whole: int) -> list[Block]:
    left_out = words.rest(whole)
    return [Block("small", left_out)] if left_out else []


def _matters(model: ReportModel, words: Words) -> list[Block]:
    _ = words._
    shown = [*groups(model, words), (_("其余在办事件"), model.other_open, "open")]
    blocks: list[Block] = []
    for index, (name, lines, _bar) in enumerate(group for group in shown if group[1]):
        if name:
            blocks.append(_h2(words, index, name))
        for line in lines[: words.limit]:
            tags = f"{line.number} · {words.tags(line)}"
            blocks.append(Block("matter", line.title, tags, words.matter(line)))
        blocks += _rest(words, len(lines))
    return blocks or [Block("para", _("本周没有新发现、升温或办结的事件。"))]


def _evaluation(words: Words, made: dict[str, Table], chart: list[Block]) -> list[Block]:
    told = [
        Block("para", evaluation_words.trend_sentence(words, line))
        for line in evaluation_words.told_trends(words)
    ]
    blocks = [Block("para", line) for line in evaluation_words.lead(words)]
    blocks += [table_block(made[name]) for name in ("units", "indicators", "case") if name in made]
    if told:
        blocks += [*([_h2(words, 0, words._("回应后的舆情走势"))] if "units" in made else []), *chart, *told]
    left_out = evaluation_words.rest_of_trends(words)
    small = [*([left_out] if left_out else []), *evaluation_words.notes(words)]
    return blocks + [Block("small", line) for line in small]


def _topics(model: ReportModel, words: Words) -> list[Block]:
    _ = words._
    blocks: list[Block] = []
    for index, domain in enumerate(row for row in model.topics if not row.few):
        blocks.append(_h2(words, index, words.domain(domain.id)))
        if domain.topics:
            blocks.append(
                Block(
                    "table",
                    heads=(_("话题"), _("本周"), _("上周"), _("变化")),
                    rights=(False, True, True, False),
                    wides=(4, 1, 1, 1),
                    rows=tuple(
                        (
                            line.title,
                            words.number(line.posts),
                            words.number(line.before) if line.trend not in ("new", "first") else "—",
                            words.trend(line),
                        )
                        for line in domain.topics[:TOPICS]
                    ),
                )
            )
        said = f"{words.topic_sum(domain, TOPICS)} {words.gone(domain)}".strip()
        blocks.append(Block("small", said))
    few = words.topic_few()
    if few:
        blocks.append(Block("small", few))
    return [*blocks, Block("small", _("话题由系统按用词归纳，近似转发只计一次；例句为缩略。"))]
