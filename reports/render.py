"""Draw a report: mail (HTML with inline pictures and a plain-text part) and a page to open in a browser.

Pure: model in, texts and PNG bytes out. Style sheets are turned into style attributes, because mail clients drop
<style>; nothing is loaded from outside.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import css_inline
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from reports import evaluation_words
from reports.charts import answer_chart, changes_chart, days_chart, pairs_chart
from reports.evaluation_model import Estimate
from reports.kinds import slot_name, slots
from reports.layout import Edition, footer, groups, notices, sections, tone_line
from reports.model import CountRow, ReportModel
from reports.plain import plain_text
from reports.special_words import step_sentence
from reports.words import TOPICS, Words

#: domains drawn; the table below the chart holds all
DRAWN = 8
#: incidents and missed clocks of each kind that a mail lists
LISTED = 15
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
    """A report in one language. `mail` shows pictures by cid, `page` by file name.

    The mail lists at most LISTED entries of each kind, so that it stays far below a megabyte; page and text list all.
    """

    subject: str
    title: str
    mail: str
    mail_text: str
    page: str
    text: str
    images: tuple[Image, ...]


def render(model: ReportModel, edition: Edition, language: str) -> Rendered:
    """The whole report in one language (zh_CN or en)."""
    whole, short = Words(model, language), Words(model, language, LISTED)
    images = _images(model, whole)
    subject = _subject(whole, edition)

    def html(words: Words, source: Callable[[Image], str]) -> str:
        places = {"days": "", "domains": "", "trend": "", "changes": ""} | {
            image.name.removesuffix(".png"): source(image) for image in images
        }
        return _INLINER.inline(
            _ENVIRONMENT.get_template("report.html").render(
                **_context(model, words, edition), subject=subject, images=places
            )
        )

    return Rendered(
        subject=subject,
        title=whole.title() if whole.chinese else whole.title().replace(": ", " "),
        mail=html(short, lambda image: f"cid:{image.cid}"),
        mail_text=plain_text(model, short, edition),
        page=html(whole, lambda image: image.name),
        text=plain_text(model, whole, edition),
        images=images,
    )


def _subject(words: Words, edition: Edition) -> str:
    _ = words._
    mark = {
        "first": "",
        "final": "",
        "preview": _("【阶段】"),
        "correction": _("【更正】"),
        "sequel": _("【续报】"),
    }[edition.kind]
    return f"{mark}{words.title()}{'' if words.chinese else ': '}{words.period()}"


def _kpis(model: ReportModel, words: Words) -> list[tuple[str, str, bool]]:
    _ = words._
    link = next(link for link in model.links if link.id == "assigned_responded")
    return [
        (words.number(model.volume.posts), _("公开帖文"), False),
        (words.number(len(model.new)), _("新发现事件"), False),
        (words.number(model.ran_out), _("本周超时时限"), model.ran_out > 0),
        (words.duration(link.median), _("回应用时中位数"), False),
    ]


def _context(model: ReportModel, words: Words, edition: Edition) -> dict[str, object]:
    return {
        "m": model,
        "w": words,
        "_": words._,
        "notices": notices(model, words, edition),
        "sections": sections(model, words),
        "kpis": _kpis(model, words),
        "matter_groups": groups(model, words),
        "any_matter": bool(model.new or model.growing or model.closed),
        "tone_line": tone_line(model, words),
        "top_domains": _drawn(model),
        "footer": footer(model, words),
        "shown_topics": TOPICS,
        "step_sentence": step_sentence,
        "slots": slots(model),
        "effect": evaluation_words,
    }


def _drawn(model: ReportModel) -> tuple[CountRow, ...]:
    return tuple(row for row in model.domains if row.id != "none")[:DRAWN]


def _images(model: ReportModel, words: Words) -> tuple[Image, ...]:
    """The charts that have something to show."""
    _ = words._
    found = []
    if model.volume.posts or model.volume.before:
        png = days_chart(
            [slot_name(model, index, words.language) for index in range(len(model.days))],
            [(row.negative, row.neutral, row.positive) for row in model.days],
            [row.posts for row in model.days],
            [row.before for row in model.days],
            (_("负面"), _("中性"), _("正面"), _("未研判"), _("上周合计")),
            slots(model),
        )
        found.append(Image("days.png", words.days_alt(), png))
    rows = _drawn(model)
    if rows and model.kind != "special":
        png = pairs_chart(
            [words.domain(row.id) for row in rows],
            [row.posts for row in rows],
            [row.before for row in rows],
            (_("本周"), _("上周")),
        )
        found.append(Image("domains.png", words.domains_alt(rows), png))
    found += [*_answer_image(words), *_changes_image(words)]
    return tuple(found)


def _changes_image(words: Words) -> list[Image]:
    """How the talk changed after each answer, of the report of a period."""
    lines = evaluation_words.drawn_trends(words)
    if not lines:
        return []

    def ends(one: Estimate | None) -> tuple[float, float, float] | None:
        return None if one is None else (one.value, one.low, one.high)

    own = [found for line in lines if (found := ends(line.trend.volume)) is not None]
    png = changes_chart(
        [line.number for line in lines],
        own,
        [ends(line.trend.matched_volume) for line in lines],
        (words._("日均帖数变化"), words._("与同类相比帖数变化")),
    )
    return [Image("changes.png", evaluation_words.changes_alt(words), png)]


def _answer_image(words: Words) -> list[Image]:
    """Posts around the answer, of a special report."""
    _ = words._
    shown = [
        line.trend for line in evaluation_words.trends(words) if any(bar.posts for bar in line.trend.bars)
    ]
    if not shown:
        return []
    trend = shown[0]
    bars = [(bar.at, bar.posts, bar.negative) for bar in trend.bars]
    last = bars[-1][0] + trend.hours
    day = timedelta(hours=1)
    ticks = [
        (at, (trend.answered_at + at * day).astimezone(words.zone).strftime("%m-%d %H:%M"))
        for at in (-24, *range(0, last + 1, 48))
    ]
    names = (_("负面"), _("其他"), _("首次回应"))
    return [
        Image("trend.png", evaluation_words.bars_alt(words), answer_chart(bars, trend.hours, names, ticks))
    ]
