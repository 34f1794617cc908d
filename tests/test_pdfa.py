"""The weekly PDF keeps what ISO 19005-2 (PDF/A-2b) asks of a file, as far as its structure shows it.

No validator can be had from the package sources of this project, so the clauses that a report could break are looked at one by
one; the last test shows that the same looks find fault with a PDF that is none.
"""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import typst
from pypdf import PdfReader
from pypdf.generic import ArrayObject, ContentStream, DictionaryObject, IndirectObject, StreamObject

from incidents.session import Database
from reports.build import build_weekly
from reports.files import write
from reports.layout import Edition
from tests.conftest import AUDIT_KEY
from tests.fakes.week import MONDAY, WEEK, bundle_in, two_weeks

_RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
_PDFA = "{http://www.aiim.org/pdfa/ns/id/}"
#: what must not be in a file: programs, sounds, films, forms with scripts, references to outside
FORBIDDEN = {"/JavaScript", "/Launch", "/Sound", "/Movie", "/ResetForm", "/ImportData", "/Hide", "/SetOCGState", "/Rendition", "/Trans", "/GoTo3DView"}  # fmt: skip


def objects(reader: PdfReader) -> Iterator[Any]:
    """Every object that can be reached, each once."""
    seen: set[tuple[int, int]] = set()
    todo: list[Any] = [reader.trailer]
    while todo:
        one = todo.pop()
        if isinstance(one, IndirectObject):
            if (one.idnum, one.generation) in seen:
                continue
            seen.add((one.idnum, one.generation))
            one = one.get_object()
        yield one
        if isinstance(one, DictionaryObject):
            todo += [one.raw_get(key) for key in one]
        elif isinstance(one, ArrayObject):
            todo += list(one)


def problems(content: bytes) -> list[str]:
    """Clauses of ISO 19005-2 that the file breaks; empty when none was found."""
    reader = PdfReader(io.BytesIO(content))
    found = list(_file(content, reader))
    root = reader.trailer["/Root"]
    found += _metadata(root, reader)
    found += _intent(root)
    for one in objects(reader):
        if isinstance(one, DictionaryObject):
            found += _dictionary(one)
    for page in reader.pages:
        found += _page(page, reader)
    return sorted(set(found))


def _file(content: bytes, reader: PdfReader) -> Iterator[str]:
    if not re.match(rb"%PDF-1\.[0-7]\r?\n%[\x80-\xff]{4}", content):
        yield "6.1.2 header with a line of four high bytes"
    if "/ID" not in reader.trailer:
        yield "6.1.3 trailer without ID"
    if "/Encrypt" in reader.trailer:
        yield "6.1.3 encrypted"
    if not re.search(rb"%%EOF\r?\n?$", content):
        yield "6.1.3 data after the end of the file"


def _metadata(root: Any, reader: PdfReader) -> Iterator[str]:
    stream = root.get("/Metadata")
    if stream is None:
        yield "6.6.2 no metadata"
        return
    if "/Filter" in stream.get_object():
        yield "6.6.2 metadata is filtered"
    tree = ElementTree.fromstring(stream.get_object().get_data())
    about = list(tree.iter(f"{_RDF}Description"))

    def said(name: str) -> str:
        for one in about:
            if name in one.attrib:
                return one.attrib[name]
            child = one.find(name)
            if child is not None:
                return "".join(child.itertext()).strip()
        return ""

    if (said(f"{_PDFA}part"), said(f"{_PDFA}conformance")) != ("2", "B"):
        yield "6.6.4 the metadata does not say PDF/A-2b"
    info: dict[str, object] = dict(reader.metadata or {})
    title = said("{http://purl.org/dc/elements/1.1/}title")
    if str(info.get("/Title", title)) != title:
        yield "6.6.3 two titles"
    given, written = str(info.get("/CreationDate", "")), said("{http://ns.adobe.com/xap/1.0/}CreateDate")
    if given and re.sub(r"\D", "", given)[:14] != re.sub(r"\D", "", written)[:14]:
        yield "6.6.3 two dates of creation"


def _intent(root: Any) -> Iterator[str]:
    intents = [one.get_object() for one in root.get("/OutputIntents", [])]
    profiles = [one["/DestOutputProfile"].get_object() for one in intents if one.get("/S") == "/GTS_PDFA1"]
    if not profiles:
        yield "6.2.3 no output intent"
    for profile in profiles:
        data = profile.get_data()
        if data[36:40] != b"acsp" or data[16:20] != b"RGB " or profile["/N"] != 3 or data[8] > 4:
            yield "6.2.3 the output profile is no ICC profile of RGB"
    if "/AA" in root or "/NeedsRendering" in root:
        yield "6.5.2 actions of the document"
    if "/EmbeddedFiles" in root.get("/Names", {}):
        yield "6.8 embedded files"


def _dictionary(one: DictionaryObject) -> Iterator[str]:
    if one.get("/S") in FORBIDDEN or "/JS" in one:
        yield "6.5.1 an action that is not allowed"
    filters = one.get("/Filter", []) if isinstance(one, StreamObject) else []
    if {"/LZWDecode", "/Crypt"} & set(filters if isinstance(filters, list) else [filters]):
        yield "6.1.7 a filter that is not allowed"
    if "/F" in one and isinstance(one, StreamObject):
        yield "6.1.7 a stream outside of the file"
    if one.get("/Subtype") == "/Image" and (one.get("/Interpolate") or "/Alternates" in one or "/OPI" in one):
        yield "6.2.8 an image that is guessed or replaced"
    if one.get("/Subtype") == "/PS" or one.get("/Subtype2") == "/PS":
        yield "6.2.9 PostScript"
    if one.get("/Type") == "/ExtGState" and {"/TR", "/HTP"} & set(one):
        yield "6.2.5 a transfer function"
    if any(len(key.encode()) > 127 for key in one):
        yield "6.1.13 a name that is too long"
    if one.get("/Type") == "/Annot" and one.get("/Subtype") != "/Popup":
        flags = int(one.get("/F", 0))
        if not flags & 4 or flags & (1 | 2 | 32 | 256):
            yield "6.3.2 an annotation that is not printed"
    if one.get("/Type") == "/Font":
        yield from _font(one)


def _font(font: DictionaryObject) -> Iterator[str]:
    if font.get("/Subtype") in ("/Type0", "/Type3"):
        return  # a Type0 font is looked at by its descendant
    about = font.get("/FontDescriptor")
    about = about.get_object() if about is not None else {}
    if not {"/FontFile", "/FontFile2", "/FontFile3"} & set(about):
        yield "6.2.11.4 a font that is not embedded"
    if font.get("/Subtype") == "/CIDFontType2" and "/CIDToGIDMap" not in font:
        yield "6.2.11.3 a font without a map of its glyphs"
    if font.get("/Subtype") in ("/CIDFontType0", "/CIDFontType2") and "/CIDSystemInfo" not in font:
        yield "6.2.11.3 a font without the system of its characters"


def _page(page: Any, reader: PdfReader) -> Iterator[str]:
    if "/AA" in page:
        yield "6.5.2 actions of a page"
    depth = deepest = 0
    contents = page.get_contents()
    for operands, operator in ContentStream(contents, reader).operations if contents is not None else ():
        depth += {b"q": 1, b"Q": -1}.get(operator, 0)
        deepest = max(deepest, depth)
        if operator in (b"k", b"K") or (operator in (b"cs", b"CS") and operands == ["/DeviceCMYK"]):
            yield "6.2.4.3 ink of a press beside an output intent of a screen"
    if deepest > 28:
        yield "6.1.13 states nested too deeply"
    width, height = float(page.mediabox.width), float(page.mediabox.height)
    if not (3 <= width <= 14400 and 3 <= height <= 14400):
        yield "6.1.13 a page of no size"


@pytest.fixture(scope="module")
def weekly_pdf(migrated_sqlite: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("pdfa") / "town.db"
    shutil.copyfile(migrated_sqlite, path)
    db = Database(f"sqlite:///{path}", audit_key=AUDIT_KEY)
    two_weeks(db)
    with db.reading() as session:
        model = build_weekly(session, bundle_in(tmp_path_factory.mktemp("city")), WEEK, MONDAY)
    db.close()
    return write(model, Edition(), "zh_CN", issuer="市政府办公厅").papers["pdf"]


def test_the_weekly_pdf_breaks_no_clause(weekly_pdf: bytes) -> None:
    assert problems(weekly_pdf) == []
    fonts = [one for one in objects(PdfReader(io.BytesIO(weekly_pdf))) if isinstance(one, DictionaryObject) and one.get("/Type") == "/Font"]  # fmt: skip
    images = [one for one in objects(PdfReader(io.BytesIO(weekly_pdf))) if isinstance(one, DictionaryObject) and one.get("/Subtype") == "/Image"]  # fmt: skip
    assert fonts
    assert images


def test_the_looks_find_fault_with_a_pdf_that_is_none(weekly_pdf: bytes, tmp_path: Path) -> None:
    (tmp_path / "plain.typ").write_text("plain words", encoding="utf-8")
    plain = typst.compile(str(tmp_path / "plain.typ"), format="pdf")
    assert isinstance(plain, bytes)
    said = problems(plain)
    assert "6.2.3 no output intent" in said
    assert "6.6.4 the metadata does not say PDF/A-2b" in said
    for old, new, clause in (
        (b"/FontFile3", b"/FontFileX", "6.2.11.4 a font that is not embedded"),
        (b"/GTS_PDFA1", b"/GTS_PDFX1", "6.2.3 no output intent"),
        (b">B</pdfaid:conformance>", b">A</pdfaid:conformance>", "6.6.4 the metadata does not say PDF/A-2b"),
    ):
        assert clause in problems(weekly_pdf.replace(old, new)), clause
    assert "6.1.3 data after the end of the file" in problems(weekly_pdf + b"more")
