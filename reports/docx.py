"""A report as DOCX for a clerk to edit: styles of the template, real headings, tables and pictures with their words.

The same report gives the same bytes: dates inside the file are those of the report.
"""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from docx.document import Document as Docx
from docx.enum.text import WD_ALIGN_PARAGRAPH
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Mm, Pt
from docx.table import Table
from docxtpl import DocxTemplate, InlineImage

from reports.document import Block, Document

TEMPLATE = Path(__file__).parent / "templates" / "report.docx"
#: width of the text block
_WIDTH_MM = 156
#: a mast of more letters than these is set smaller, to stay on one line
_MAST_LETTERS = 14
_NUMBER = re.compile(r"(QS-\d{4}-\d{6}|\d{4}-\d{2}-\d{2})")
_CITE = re.compile(r"(【[^】]{1,30}】)")
#: points of citations inside a letter, which whoever sends it may want to strike out
_CITE_PT = 10.5


def as_docx(document: Document, at: datetime) -> bytes:
    """The report as DOCX. `at` (local) is the time of making written into the file."""
    template = DocxTemplate(str(TEMPLATE))
    blocks: list[dict[str, Any]] = []
    for block in document.blocks:
        entry = asdict(block)
        if block.kind == "chart":
            picture = io.BytesIO(document.charts[block.chart])
            entry["image"] = InlineImage(template, picture, width=Mm(_WIDTH_MM))
        blocks.append(entry)
    template.render({"d": document, "blocks": blocks}, autoescape=True)
    doc: Docx = template.docx
    tables = [block for block in document.blocks if block.kind == "table"]
    for table, block in zip(doc.tables, tables, strict=True):
        _shape(table, block)
    charts = [block for block in document.blocks if block.kind == "chart"]
    for shape, block in zip(doc.inline_shapes, charts, strict=True):
        shape._inline.docPr.set("descr", block.text)
    if any(block.kind == "sign" for block in document.blocks):
        _letter(doc)
    _unbroken(doc)
    if document.language.startswith("en"):
        _english(doc)
    if len(document.mast) > _MAST_LETTERS:
        doc.styles["QS Mast"].font.size = Pt(22)
    properties = doc.core_properties
    properties.title, properties.author, properties.last_modified_by = (
        document.title,
        document.issuer,
        document.issuer,
    )
    properties.language = "en-GB" if document.language.startswith("en") else "zh-CN"
    properties.created = properties.modified = at.replace(tzinfo=None, microsecond=0)
    target = io.BytesIO()
    doc.save(target)
    return _undated(target.getvalue())


def _shape(table: Table, block: Block) -> None:
    """Widths, figures on the right, rules above and below, the head again on each page."""
    whole = sum(block.wides)
    widths = [Mm(_WIDTH_MM * wide / whole) for wide in block.wides]
    table.autofit = False
    for column, width in zip(table._tbl.tblGrid.gridCol_lst, widths, strict=True):
        column.w = width
    for index, row in enumerate(table._tbl.tr_lst):
        properties = row.get_or_add_trPr()
        whole_row = OxmlElement("w:cantSplit")
        properties.append(whole_row)
        if index == 0:
            properties.append(OxmlElement("w:tblHeader"))
        for place, cell in enumerate(row.tc_lst):
            cell.width = widths[place]
            if block.rights[place]:
                for paragraph in cell.p_lst:
                    paragraph.get_or_add_pPr().jc_val = WD_ALIGN_PARAGRAPH.RIGHT
    borders = OxmlElement("w:tblBorders")
    for side, size, colour in (("top", "8", "000000"), ("bottom", "8", "000000"), ("insideH", "2", "A0A0A0")):
        line = OxmlElement(f"w:{side}")
        for key, value in (("val", "single"), ("sz", size), ("space", "0"), ("color", colour)):
            line.set(qn(f"w:{key}"), value)
        borders.append(line)
    table._tbl.tblPr.append(borders)


def _letter(doc: Docx) -> None:
    """Citations small, and the signature never on a page of its own: the last words go with it."""
    before = None
    for paragraph in doc.paragraphs:
        style = paragraph.style.name if paragraph.style is not None else ""
        if style == "QS Sign" and before is not None:
            before.paragraph_format.keep_with_next = True
        if style == "QS Body":
            # dates and numbers do not break: spread over the whole line, the few words between them fall apart
            paragraph.alignment = WD_ALIGN_PARAGRAPH.LEFT
            parts = _CITE.split(paragraph.text)
            for run in paragraph.runs:
                paragraph._p.remove(run._r)
            for index, part in enumerate(parts):
                run = paragraph.add_run(part)
                if index % 2:  # odd parts are the citations
                    run.font.size = Pt(_CITE_PT)
        before = paragraph


def _unbroken(doc: Docx) -> None:
    """Word breaks lines at hyphens: those of incident numbers and dates become its own kind that it keeps together."""
    for text in list(doc.element.body.iter(qn("w:t"))):
        parts = _NUMBER.split(text.text or "")
        if len(parts) == 1:
            continue
        run, place = text.getparent(), text.getparent().index(text)
        run.remove(text)
        for index, part in enumerate(parts):
            pieces = part.split("-") if index % 2 else [part]  # odd parts are the numbers
            for piece_index, piece in enumerate(pieces):
                if piece_index:
                    run.insert(place, OxmlElement("w:noBreakHyphen"))
                    place += 1
                if piece:
                    said = OxmlElement("w:t")
                    said.set(qn("xml:space"), "preserve")
                    said.text = piece
                    run.insert(place, said)
                    place += 1


def _english(doc: Docx) -> None:
    """Latin text has no first-line indent and needs no 16 points."""
    for name, size, line in (("QS Body", 12, 19), ("QS Level 1", 13, 21), ("QS Level 2", 12, 19), ("QS Matter", 12, 19), ("QS To", 12, 19), ("QS Sign", 12, 19), ("QS Annex", 13, 21), ("QS Tags", 10, 14)):  # fmt: skip
        style = doc.styles[name]
        style.font.size = Pt(size)
        shape = style.paragraph_format
        shape.first_line_indent, shape.line_spacing, shape.alignment = (
            Pt(0),
            Pt(line),
            WD_ALIGN_PARAGRAPH.RIGHT if name == "QS Sign" else WD_ALIGN_PARAGRAPH.LEFT,
        )
        if name in ("QS Level 1", "QS Matter"):
            style.font.bold = True
            shape.space_before = Pt(6)


def _undated(content: bytes) -> bytes:
    """The same archive with one date for every part."""
    target = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(content)) as old,
        zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for name in old.namelist():
            part = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            part.compress_type = zipfile.ZIP_DEFLATED
            new.writestr(part, old.read(name))
    return target.getvalue()
