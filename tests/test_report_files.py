"""PDF, DOCX and XLSX say what the mail says, from the same model; nothing written by people can become a formula or markup."""

from __future__ import annotations

import io
import re
import shutil
import zipfile
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import openpyxl
import pytest
from docx import Document as read_docx
from pypdf import PdfReader
from sqlalchemy import text

from incidents.session import Database
from incidents.trouble import Problem
from reports.build import build_weekly
from reports.docx_template import TARGET, make
from reports.files import Written, write
from reports.layout import Edition
from reports.model import ReportModel
from reports.pdf import ROLES, families
from reports.tables import tables
from reports.words import Words
from tests.conftest import AUDIT_KEY
from tests.fakes.week import MONDAY, WEEK, bundle_in, two_weeks

MM = 72 / 25.4


@pytest.fixture(scope="module")
def model(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> ReportModel:
    path = tmp_path_factory.mktemp("files") / "town.db"
    shutil.copyfile(migrated_sqlite, path)
    db = Database(f"sqlite:///{path}", audit_key=AUDIT_KEY)
    two_weeks(db)
    with db.transaction() as session:
        session.execute(
            text("UPDATE incident SET title = '=HYPERLINK(\"http://x\") <b>#set & {{ d }}' WHERE id = 5")
        )
    with db.reading() as session:
        built = build_weekly(session, bundle_in(tmp_path_factory.mktemp("city")), WEEK, MONDAY)
    db.close()
    return built


@pytest.fixture(scope="module")
def written(model: ReportModel) -> Written:
    return write(model, Edition(), "zh_CN", issuer="市政府办公厅")


@pytest.fixture(scope="module")
def english(model: ReportModel) -> Written:
    return write(model, Edition(), "en")


def pdf_text(content: bytes) -> str:
    """The words of all pages without blanks: typst sets gaps where Chinese meets Latin."""
    pages = PdfReader(io.BytesIO(content)).pages
    return re.sub(r"\s+", "", "".join(page.extract_text() for page in pages))


def docx_text(content: bytes) -> str:
    doc = read_docx(io.BytesIO(content))
    cells = [cell.text for table in doc.tables for row in table.rows for cell in row.cells]
    return "\n".join([*(paragraph.text for paragraph in doc.paragraphs), *cells])


def test_every_format_holds_the_summary_and_each_incident(model: ReportModel, written: Written) -> None:
    words = Words(model, "zh_CN")
    pdf, docx = pdf_text(written.papers["pdf"]), docx_text(written.papers["docx"])
    book = openpyxl.load_workbook(io.BytesIO(written.papers["xlsx"]))
    cover = "\n".join(str(row[0].value) for row in book.worksheets[0].iter_rows())
    for sentence in words.summary():
        assert re.sub(r"\s+", "", sentence) in pdf
        assert sentence in docx
        assert sentence in cover
    listed = {row[1].value for row in book["事件"].iter_rows(min_row=2)}
    for line in (*model.new, *model.growing, *model.closed, *model.other_open):
        assert line.number in pdf
        assert line.number in docx
        assert line.number in listed


def test_the_pdf_is_laid_out_as_official_documents_are(written: Written) -> None:
    reader = PdfReader(io.BytesIO(written.papers["pdf"]))
    assert {(round(page.mediabox.width / MM), round(page.mediabox.height / MM)) for page in reader.pages} == {
        (210, 297)
    }
    places: list[tuple[float, float]] = []

    def visit(said: str, cm: list[float], tm: list[float], _font: object, _size: float) -> None:
        if said.strip():
            x = tm[4] * cm[0] + tm[5] * cm[2] + cm[4]
            places.append((x, tm[4] * cm[1] + tm[5] * cm[3] + cm[5]))

    reader.pages[1].extract_text(visitor_text=visit)
    body = [place for place in places if place[1] > 35 * MM]
    assert min(x for x, _ in body) == pytest.approx(28 * MM, abs=0.5)
    assert max(y for _, y in body) == pytest.approx(842 - 37 * MM - 0.8 * 16, abs=0.5)
    baselines = sorted({round(y, 1) for _, y in body}, reverse=True)
    pitches = {round(above - below, 1) for above, below in pairwise(baselines)}
    assert 29.0 in pitches  # 22 lines on 225 mm
    fonts = [
        font.get_object()["/DescendantFonts"][0].get_object()["/FontDescriptor"].get_object()
        for page in reader.pages
        for font in page["/Resources"]["/Font"].values()  # type: ignore[index]
    ]
    assert fonts
    assert all("/FontFile3" in font or "/FontFile2" in font for font in fonts)
    assert "pdfaid:part" in (reader.xmp_metadata.stream.get_data().decode() if reader.xmp_metadata else "")
    first, second = (re.sub(r"\s+", "", page.extract_text()) for page in reader.pages[:2])
    assert "—1—" in first
    assert "—2—" in second
    assert "2026年第47期" in first
    assert "市政府办公厅2026年11月23日" in first


def test_the_same_report_gives_the_same_bytes(model: ReportModel, written: Written) -> None:
    assert write(model, Edition(), "zh_CN", issuer="市政府办公厅").papers == written.papers


def test_what_people_wrote_is_no_formula_and_no_markup(written: Written) -> None:
    title = '=HYPERLINK("http://x") <b>#set & {{ d }}'
    book = openpyxl.load_workbook(io.BytesIO(written.papers["xlsx"]))
    (cell,) = (row[2] for row in book["事件"].iter_rows(min_row=2) if row[2].value == title)
    assert cell.data_type == "s"
    sheets = [
        name for name in zipfile.ZipFile(io.BytesIO(written.papers["xlsx"])).namelist() if "sheet" in name
    ]
    with zipfile.ZipFile(io.BytesIO(written.papers["xlsx"])) as archive:
        assert not any(b"<f>" in archive.read(name) or b"<hyperlink" in archive.read(name) for name in sheets)
    assert title in docx_text(written.papers["docx"])
    assert title.replace(" ", "") in pdf_text(written.papers["pdf"])


def test_the_sheet_holds_numbers_with_units_and_says_where_data_are_too_few(
    model: ReportModel, written: Written
) -> None:
    book = openpyxl.load_workbook(io.BytesIO(written.papers["xlsx"]))
    figures = {row[0].value: row[1].value for row in book["概况"].iter_rows(min_row=2)}
    assert figures["公开帖文（条）"] == model.volume.posts
    assert figures["时限超时（项）"] == model.ran_out
    links = list(book["响应用时"].iter_rows(values_only=True))
    assert links[0][3] == "中位数（小时）"
    assert links[5][3] == 20.0
    rates = {row[0]: row[8] for row in book["部门办理"].iter_rows(min_row=2, values_only=True)}
    assert set(rates.values()) == {"数据不足"}
    domains = list(book["各领域"].iter_rows(min_row=2, values_only=True))
    assert [row[1] for row in domains] == [row.posts for row in model.domains]
    assert domains[0][4] == pytest.approx(model.domains[0].negative / model.domains[0].posts, abs=1e-4)
    incidents = next(book["事件"].iter_rows(min_row=2, values_only=True))
    assert isinstance(incidents[12], datetime)


def test_a_clerk_finds_headings_pictures_with_words_and_repeating_heads(
    model: ReportModel, written: Written
) -> None:
    doc = read_docx(io.BytesIO(written.papers["docx"]))
    styles = [paragraph.style.name for paragraph in doc.paragraphs if paragraph.style is not None]
    assert styles.count("QS Level 1") == 7
    alts = [shape._inline.docPr.get("descr") for shape in doc.inline_shapes]
    assert alts == [image.alt for image in written.rendered.images]
    assert all(
        table._tbl.tr_lst[0].trPr is not None and "tblHeader" in table._tbl.tr_lst[0].xml
        for table in doc.tables
    )
    section = doc.sections[0]
    assert section.page_width is not None
    assert round(section.page_width.mm) == 210
    assert "{{" not in docx_text(written.papers["docx"]).replace("{{ d }}", "")


def test_the_template_is_what_its_script_makes() -> None:
    target = io.BytesIO()
    make().save(target)
    with zipfile.ZipFile(target) as made, zipfile.ZipFile(TARGET) as kept:
        for part in ("word/document.xml", "word/styles.xml", "word/settings.xml", "word/footer1.xml"):
            assert made.read(part) == kept.read(part), part


def test_english_holds_no_chinese_heads(model: ReportModel, english: Written) -> None:
    book = openpyxl.load_workbook(io.BytesIO(english.papers["xlsx"]))
    heads = [str(cell.value) for sheet in book.worksheets[1:] for cell in sheet[1]]
    assert len(heads) > 60
    assert [head for head in [*heads, *book.sheetnames] if re.search("[\u4e00-\u9fff]", head)] == []
    assert "Publicopinioninweek47of2026" in pdf_text(english.papers["pdf"])


def test_fonts_of_the_office_go_before_those_that_ship(tmp_path: Path) -> None:
    shipped = families(None)
    assert set(shipped) == set(ROLES)
    assert all(len(names) == 1 for names in shipped.values())
    (tmp_path / "empty").mkdir()
    assert families(tmp_path / "empty") == shipped


def test_a_folder_of_fonts_that_is_not_there_is_told(model: ReportModel, tmp_path: Path) -> None:
    with pytest.raises(Problem, match=r"fonts.*no such folder"):
        write(model, Edition(), "zh_CN", font_dir=tmp_path / "fonts")


def test_an_empty_week_is_a_document_too(db: Database, tmp_path: Path) -> None:
    with db.reading() as session:
        empty = build_weekly(session, bundle_in(tmp_path / "city"), WEEK, MONDAY)
    papers = write(empty, Edition(), "zh_CN").papers
    assert "本周没有采集到帖文" in pdf_text(papers["pdf"])
    assert "本周没有采集到帖文" in docx_text(papers["docx"])
    assert "days" not in {table.id for table in tables(empty, Words(empty, "zh_CN"))}
