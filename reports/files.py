"""One report in every format that leaves the house, from one model: page, text, PDF, DOCX, XLSX."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reports import evaluation_words
from reports.document import document
from reports.docx import as_docx
from reports.layout import Edition, footer, notices
from reports.model import ReportModel
from reports.pdf import as_pdf
from reports.render import LISTED, Rendered, render
from reports.tables import tables
from reports.words import Words
from reports.xlsx import as_xlsx


@dataclass(frozen=True)
class Written:
    """A report in one language. `papers`: PDF, DOCX and XLSX by their suffix."""

    rendered: Rendered
    papers: dict[str, bytes]


def write(
    model: ReportModel, edition: Edition, language: str, issuer: str = "", font_dir: Path | None = None
) -> Written:
    """The report in all formats. Raises Problem for a folder of fonts that is not there."""
    rendered = render(model, edition, language)
    short, whole = Words(model, language, LISTED), Words(model, language)
    at = model.generated_at.astimezone(whole.zone)
    charts = [(image.name, image.alt, image.png) for image in rendered.images]
    paper = document(model, short, edition, charts, issuer)
    told = (
        *notices(model, whole, edition),
        *whole.summary(),
        whole.audit(),
        *footer(model, whole),
        *evaluation_words.notes(whole),
    )
    return Written(
        rendered,
        {
            "pdf": as_pdf(paper, at, font_dir),
            "docx": as_docx(paper, at),
            "xlsx": as_xlsx(tables(model, whole), rendered.subject, told, at, whole._("报告")),
        },
    )
