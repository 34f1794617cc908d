"""Rows as files: CSV, JSON Lines, XLSX and Parquet. Texts stay texts: no cell is one that a spreadsheet would run.

XLSX and Parquet are written here in their plainest form (strings and whole numbers, no styles, no compression of
columns), which needs no library and keeps only a few rows in memory.
"""

from __future__ import annotations

import csv
import io
import json
import re
import struct
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import IO
from xml.sax.saxutils import escape

Row = Sequence[object]
#: what a spreadsheet would run as a formula
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
#: a cell of a spreadsheet holds no more
_CELL = 32_767
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")


def guarded(value: object) -> str:
    """A cell that no spreadsheet takes for a formula."""
    text = str(value)
    return "'" + text if text.startswith(_FORMULA) else text


def csv_of(rows: Iterable[Row]) -> Iterator[str]:
    """Lines of a CSV file that every spreadsheet opens and none runs."""
    yield "\ufeff"  # Excel takes a file without this mark for GBK
    for row in rows:
        line = io.StringIO()
        csv.writer(line).writerow([cell if isinstance(cell, int) else guarded(cell) for cell in row])
        yield line.getvalue()


def json_lines(keys: Sequence[str], rows: Iterable[Row]) -> Iterator[str]:
    """One JSON object a line."""
    for row in rows:
        yield json.dumps(dict(zip(keys, row, strict=True)), ensure_ascii=False) + "\n"


_PARTS = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    '<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/>'
    '<Override PartName="/xl/worksheets/sheet1.xml" ContentType="application/vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml"/></Types>',
    "_rels/.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/_rels/workbook.xml.rels": '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
    '<Relationship Id="rId1" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
    "xl/workbook.xml": '<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships"><sheets>'
    '<sheet name="quansheng" sheetId="1" r:id="rId1"/></sheets></workbook>',
}
_XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'


def xlsx(stream: IO[bytes], head: Sequence[str], rows: Iterable[Row]) -> None:
    """A workbook of one sheet. Texts are cells of text, whatever they begin with."""
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as book:
        for name, text in _PARTS.items():
            book.writestr(name, _XML + text)
        with book.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            sheet.write(
                (
                    _XML
                    + '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
                ).encode()
            )
            for row in chain([head], rows):
                sheet.write(f"<row>{''.join(map(_cell, row))}</row>".encode())
            sheet.write(b"</sheetData></worksheet>")


def _cell(value: object) -> str:
    if isinstance(value, int):
        return f"<c><v>{value}</v></c>"
    text = _UNPRINTABLE.sub("", str(value))
    text = text if len(text) <= _CELL else text[: _CELL - 2] + "……"
    return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(text)}</t></is></c>'


# --- Parquet: https://parquet.apache.org/docs/file-format/ with plain, required columns and compact Thrift

_INT64, _BYTES = 2, 6
#: rows of one row group
_GROUP = 5_000


def parquet(stream: IO[bytes], head: Sequence[str], rows: Iterable[Row]) -> int:
    """A Parquet file; returns its rows. The first row says which columns are whole numbers (of no rows: none is)."""
    stream.write(b"PAR1")
    at, groups, total = 4, [], 0
    kinds: list[int] = []
    batch: list[Row] = []

    def flush() -> None:
        nonlocal at, total
        if not batch:
            return
        columns, begin = [], at
        for name, kind, values in zip(head, kinds, zip(*batch, strict=True), strict=True):
            data = _plain(kind, values)
            page = _struct(
                (1, _i32(0)), (2, _i32(len(data))), (3, _i32(len(data))), (5, _nested(_page(len(batch))))
            )
            stream.write(page + data)
            size = len(page) + len(data)
            meta = _struct(
                (1, _i32(kind)),
                (2, _list(5, [_zigzag(0)])),
                (3, _list(8, [_binary(name)])),
                (4, _i32(0)),
                (5, _i64(len(batch))),
                (6, _i64(size)),
                (7, _i64(size)),
                (9, _i64(at)),
            )
            columns.append(_struct((2, _i64(at)), (3, _nested(meta))))
            at += size
        groups.append(_struct((1, _list(12, columns)), (2, _i64(at - begin)), (3, _i64(len(batch)))))
        total += len(batch)
        batch.clear()

    for row in rows:
        kinds = kinds or [_INT64 if isinstance(cell, int) else _BYTES for cell in row]
        batch.append(row)
        if len(batch) == _GROUP:
            flush()
    flush()
    kinds = kinds or [_BYTES for _ in head]
    schema = [_struct((4, (8, _binary("quansheng"))), (5, _i32(len(head))))]
    for name, kind in zip(head, kinds, strict=True):
        utf8 = [(6, _i32(0))] if kind == _BYTES else []
        schema.append(_struct((1, _i32(kind)), (3, _i32(0)), (4, (8, _binary(name))), *utf8))
    footer = _struct(
        (1, _i32(1)),
        (2, _list(12, schema)),
        (3, _i64(total)),
        (4, _list(12, groups)),
        (6, (8, _binary("quansheng"))),
    )
    stream.write(footer + struct.pack("<I", len(footer)) + b"PAR1")
    return total


def _plain(kind: int, values: Sequence[object]) -> bytes:
    if kind == _INT64:
        return b"".join(struct.pack("<q", value) for value in values)
    coded = [str(value).encode("utf-8", "replace") for value in values]
    return b"".join(struct.pack("<I", len(one)) + one for one in coded)


def _page(count: int) -> bytes:
    return _struct((1, _i32(count)), (2, _i32(0)), (3, _i32(3)), (4, _i32(3)))


Typed = tuple[int, bytes]


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _zigzag(value: int) -> bytes:
    return _varint((value << 1) ^ (value >> 63))


def _i32(value: int) -> Typed:
    return 5, _zigzag(value)


def _i64(value: int) -> Typed:
    return 6, _zigzag(value)


def _binary(text: str) -> bytes:
    coded = text.encode()
    return _varint(len(coded)) + coded


def _nested(body: bytes) -> Typed:
    return 12, body


def _list(kind: int, items: Sequence[bytes]) -> Typed:
    size = bytes([len(items) << 4 | kind]) if len(items) < 15 else bytes([0xF0 | kind]) + _varint(len(items))
    return 9, size + b"".join(items)


def _struct(*fields: tuple[int, Typed]) -> bytes:
    """Fields in growing order; their numbers are written as differences."""
    out, last = b"", 0
    for number, (kind, value) in fields:
        out += bytes([(number - last) << 4 | kind]) + value
        last = number
    return out + b"\x00"
