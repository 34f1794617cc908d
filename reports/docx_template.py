"""Makes templates/report.docx: the paper on which reports.docx writes. Run `python -m reports.docx_template` after a change.

Measures after GB/T 9704-2012. Fonts are named as offices have them installed; where one is missing, Word takes another.
The grid has lines only: a grid of lines and characters blows up spacing in LibreOffice.
"""

from __future__ import annotations

from pathlib import Path

from docx import Document
from docx.document import Document as Docx
from docx.enum.style import WD_STYLE_TYPE
from docx.enum.text import WD_ALIGN_PARAGRAPH, WD_LINE_SPACING
from docx.oxml import OxmlElement
from docx.oxml.ns import qn
from docx.shared import Mm, Pt, RGBColor
from docx.styles.style import ParagraphStyle
from docx.text.paragraph import Paragraph

TARGET = Path(__file__).parent / "templates" / "report.docx"
_LATIN = "Times New Roman"
_RED = RGBColor(0xC0, 0, 0)
_LINE = 28.95  # points: 22 lines on 225 mm
#: style -> Chinese font, size, line, indent of two characters, alignment
_STYLES: dict[str, tuple[str, float, float, bool, WD_ALIGN_PARAGRAPH]] = {
    "QS Mast": ("方正小标宋简体", 34, 46, False, WD_ALIGN_PARAGRAPH.CENTER),
    "QS Issue": ("仿宋_GB2312", 16, _LINE, False, WD_ALIGN_PARAGRAPH.CENTER),
    "QS Sender": ("仿宋_GB2312", 16, _LINE, False, WD_ALIGN_PARAGRAPH.LEFT),
    "QS Title": ("方正小标宋简体", 22, 32, False, WD_ALIGN_PARAGRAPH.CENTER),
    "QS Subtitle": ("楷体_GB2312", 16, _LINE, False, WD_ALIGN_PARAGRAPH.CENTER),
    "QS Level 1": ("黑体", 16, _LINE, True, WD_ALIGN_PARAGRAPH.LEFT),
    "QS Level 2": ("楷体_GB2312", 16, _LINE, True, WD_ALIGN_PARAGRAPH.LEFT),
    "QS Body": ("仿宋_GB2312", 16, _LINE, True, WD_ALIGN_PARAGRAPH.JUSTIFY),
    "QS To": ("仿宋_GB2312", 16, _LINE, False, WD_ALIGN_PARAGRAPH.LEFT),
    "QS Sign": ("仿宋_GB2312", 16, _LINE, False, WD_ALIGN_PARAGRAPH.RIGHT),
    "QS Annex": ("黑体", 16, _LINE, False, WD_ALIGN_PARAGRAPH.LEFT),
    "QS Matter": ("黑体", 16, _LINE, True, WD_ALIGN_PARAGRAPH.LEFT),
    "QS Tags": ("仿宋_GB2312", 11, 16, True, WD_ALIGN_PARAGRAPH.LEFT),
    "QS Small": ("仿宋_GB2312", 10.5, 15, False, WD_ALIGN_PARAGRAPH.LEFT),
    "QS Notice": ("黑体", 12, 18, False, WD_ALIGN_PARAGRAPH.LEFT),
    "QS Cell": ("仿宋_GB2312", 10.5, 14, False, WD_ALIGN_PARAGRAPH.LEFT),
    "QS Head": ("黑体", 10.5, 14, False, WD_ALIGN_PARAGRAPH.LEFT),
    "QS Chart": ("仿宋_GB2312", 10.5, 0, False, WD_ALIGN_PARAGRAPH.CENTER),
    "QS Page": ("宋体", 14, 0, False, WD_ALIGN_PARAGRAPH.RIGHT),
}
#: block kind -> style
_BLOCKS = {
    "h1": "QS Level 1",
    "h2": "QS Level 2",
    "para": "QS Body",
    "small": "QS Small",
    "notice": "QS Notice",
    "to": "QS To",
    "sign": "QS Sign",
    "annex": "QS Annex",
}


def make() -> Docx:
    """The template with its loop over blocks."""
    doc = Document()
    for lang in doc.styles.element.iter(qn("w:lang")):
        # lines break, and spelling is checked, by the rules of Chinese; Latin words stay whole
        lang.set(qn("w:eastAsia"), "zh-CN")
    _page(doc)
    for name in _STYLES:
        _style(doc, name)
    for text, style in (
        ("{{ d.mast }}", "QS Mast"),
        ("{{ d.issue }}", "QS Issue"),
        ("{{ d.sender or d.issuer }}\t{{ d.date }}", "QS Sender"),
        ("{{ d.title }}", "QS Title"),
    ):
        paragraph = doc.add_paragraph(text, style)
        if style == "QS Sender":
            paragraph.paragraph_format.tab_stops.add_tab_stop(Mm(156), alignment=2)
            _rule(paragraph)
    doc.add_paragraph("{%p if d.subtitle %}")
    doc.add_paragraph("{{ d.subtitle }}", "QS Subtitle")
    doc.add_paragraph("{%p endif %}")
    doc.add_paragraph("{%p for b in blocks %}")
    for kind, style in _BLOCKS.items():
        _when(doc, kind, lambda style=style: doc.add_paragraph("{{ b.text }}", style))
    _when(doc, "matter", lambda: _matter(doc))
    _when(doc, "chart", lambda: doc.add_paragraph("{{ b.image }}", "QS Chart"))
    _when(doc, "table", lambda: _table(doc))
    doc.add_paragraph("{%p endfor %}")
    return doc


def _when(doc: Docx, kind: str, add: object) -> None:
    doc.add_paragraph(f"{{%p if b.kind == '{kind}' %}}")
    add()  # type: ignore[operator]
    doc.add_paragraph("{%p endif %}")


def _matter(doc: Docx) -> None:
    for text, style in (
        ("{{ b.text }}", "QS Matter"),
        ("{{ b.tags }}", "QS Tags"),
        ("{{ b.more }}", "QS Body"),
    ):
        paragraph = doc.add_paragraph(text, style)
        paragraph.paragraph_format.keep_with_next = style != "QS Body"


def _table(doc: Docx) -> None:
    table = doc.add_table(rows=4, cols=3)
    texts = (
        ("{%tc for cell in b.heads %}", "{{ cell }}", "{%tc endfor %}"),
        ("{%tr for row in b.rows %}", "", ""),
        ("{%tc for cell in row %}", "{{ cell }}", "{%tc endfor %}"),
        ("{%tr endfor %}", "", ""),
    )
    for index, row in enumerate(texts):
        for place, text in enumerate(row):
            paragraph = table.cell(index, place).paragraphs[0]
            paragraph.text = text
            paragraph.style = "QS Head" if index == 0 else "QS Cell"
    doc.add_paragraph("", "QS Small")


def _page(doc: Docx) -> None:
    section = doc.sections[0]
    section.page_width, section.page_height = Mm(210), Mm(297)
    section.top_margin, section.bottom_margin = Mm(37), Mm(35)
    section.left_margin, section.right_margin = Mm(28), Mm(26)
    section.footer_distance = Mm(28)
    for old in section._sectPr.findall(qn("w:docGrid")):
        section._sectPr.remove(old)
    grid = OxmlElement("w:docGrid")
    grid.set(qn("w:type"), "lines")
    grid.set(qn("w:linePitch"), str(round(_LINE * 20)))
    section._sectPr.append(grid)
    _style(doc, "QS Page")
    doc.settings.odd_and_even_pages_header_footer = True
    for footer, side in (
        (section.footer, WD_ALIGN_PARAGRAPH.RIGHT),
        (section.even_page_footer, WD_ALIGN_PARAGRAPH.LEFT),
    ):
        paragraph = footer.paragraphs[0]
        paragraph.style = "QS Page"
        paragraph.alignment = side
        paragraph.paragraph_format.left_indent = paragraph.paragraph_format.right_indent = Pt(14)
        paragraph.add_run("— ")
        for kind, text in (("begin", ""), ("", " PAGE "), ("end", "")):
            _field(paragraph, kind, text)
        paragraph.add_run(" —")


def _field(paragraph: Paragraph, kind: str, text: str) -> None:
    run = paragraph.add_run()
    part = OxmlElement("w:fldChar" if kind else "w:instrText")
    if kind:
        part.set(qn("w:fldCharType"), kind)
    else:
        part.set(qn("xml:space"), "preserve")
        part.text = text
    run._r.append(part)


def _style(doc: Docx, name: str) -> None:
    if name in doc.styles:
        return
    font, size, line, indent, alignment = _STYLES[name]
    style = doc.styles.add_style(name, WD_STYLE_TYPE.PARAGRAPH)
    assert isinstance(style, ParagraphStyle)
    style.font.name, style.font.size = _LATIN, Pt(size)
    style.element.get_or_add_rPr().get_or_add_rFonts().set(qn("w:eastAsia"), font)
    shape = style.paragraph_format
    shape.alignment = alignment
    shape.space_before = shape.space_after = Pt(0)
    if line:
        shape.line_spacing_rule, shape.line_spacing = WD_LINE_SPACING.EXACTLY, Pt(line)
    if indent:
        shape.first_line_indent = Pt(2 * size if name != "QS Tags" else 32)
    if name in ("QS Cell", "QS Head", "QS Chart", "QS Small", "QS Tags"):
        snap = OxmlElement("w:snapToGrid")
        snap.set(qn("w:val"), "0")
        style.element.get_or_add_pPr().append(snap)
    if name in ("QS Level 1", "QS Level 2"):
        shape.keep_with_next = True
        level = OxmlElement("w:outlineLvl")  # shown in Word's navigation
        level.set(qn("w:val"), "0" if name == "QS Level 1" else "1")
        style.element.get_or_add_pPr().append(level)
    if name == "QS Mast":
        style.font.color.rgb = _RED
    if name in ("QS Small", "QS Chart"):
        shape.space_before = shape.space_after = Pt(4)
    if name == "QS Title":
        shape.space_before = Pt(12)
    if name == "QS Subtitle":
        shape.space_after = Pt(12)
    if name == "QS To":
        shape.space_before = Pt(_LINE)
    if name == "QS Sign":  # four characters in from the right, and never alone on a page
        shape.right_indent, shape.keep_together = Pt(4 * size), True
    if name == "QS Annex":
        shape.page_break_before, shape.space_after = True, Pt(12)


def _rule(paragraph: Paragraph) -> None:
    """The red line below the mast."""
    border = OxmlElement("w:pBdr")
    line = OxmlElement("w:bottom")
    for key, value in (("val", "single"), ("sz", "14"), ("space", "4"), ("color", "C00000")):
        line.set(qn(f"w:{key}"), value)
    border.append(line)
    paragraph._p.get_or_add_pPr().append(border)


if __name__ == "__main__":
    make().save(str(TARGET))
