"""The figures of a report as a workbook: one sheet a table, numbers as numbers, units in the heads.

What people wrote is always a string cell: no title can become a formula, whatever it begins with.
"""

from __future__ import annotations

import io
from datetime import date, datetime

import xlsxwriter
from xlsxwriter.format import Format
from xlsxwriter.worksheet import Worksheet

from reports.tables import Cell, Column, Table

_FORMATS = {
    "text": {"text_wrap": True, "valign": "top"},
    "count": {"num_format": "#,##0", "valign": "top"},
    "share": {"num_format": "0.0%", "valign": "top"},
    "number": {"num_format": "0.00", "valign": "top"},
    "hours": {"num_format": "0.00", "valign": "top"},
    "time": {"num_format": "yyyy-mm-dd hh:mm", "valign": "top"},
    "date": {"num_format": "yyyy-mm-dd", "valign": "top"},
}
_HEAD = {"bold": True, "bottom": 2, "text_wrap": True, "valign": "vcenter", "bg_color": "#EEF1F4"}
#: widest column, characters
_WIDEST = 60
_LONGEST = 32_000


def as_xlsx(
    tables: tuple[Table, ...], title: str, notes: tuple[str, ...], at: datetime, cover_name: str
) -> bytes:
    """All tables; the first sheet says what this is. `at` (local) is the time of making written into the file."""
    target = io.BytesIO()
    book = xlsxwriter.Workbook(
        target,
        {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False},
    )  # fmt: skip
    book.set_properties({"title": title, "created": at.replace(tzinfo=None, microsecond=0)})
    formats = {kind: book.add_format(form) for kind, form in _FORMATS.items()}
    head = book.add_format(_HEAD)
    cover = book.add_worksheet(cover_name)
    cover.set_column(0, 0, 100)
    cover.write_string(0, 0, title, book.add_format({"bold": True, "font_size": 14}))
    for index, note in enumerate(notes, start=2):
        cover.write_string(index, 0, note, formats["text"])
    for table in tables:
        if table.page_only:
            continue
        _sheet(book.add_worksheet(table.name[:31]), table, head, formats)
    book.close()
    return target.getvalue()


def _sheet(sheet: Worksheet, table: Table, head: Format, formats: dict[str, Format]) -> None:
    for place, column in enumerate(table.columns):
        sheet.write_string(0, place, column.head, head)
        sheet.set_column(place, place, _width(column, [row[place] for row in table.rows[:200]]))
    for line, row in enumerate(table.rows, start=1):
        for place, cell in enumerate(row):
            _write(sheet, line, place, cell, table.columns[place], formats)
    sheet.freeze_panes(1, 1)
    sheet.autofilter(0, 0, max(1, len(table.rows)), len(table.columns) - 1)
    sheet.set_landscape()
    sheet.set_paper(9)  # A4
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)


def _write(
    sheet: Worksheet, line: int, place: int, cell: Cell, column: Column, formats: dict[str, Format]
) -> None:
    value = cell.value
    if value is None or value == "":
        return
    if isinstance(value, datetime | date):
        sheet.write_datetime(line, place, value, formats[column.kind])
    elif isinstance(value, int | float):
        sheet.write_number(line, place, value, formats[column.kind])
    else:
        # a cell takes 32,767 letters; more would be refused as a whole
        whole = value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"
        sheet.write_string(line, place, whole, formats["text"])


def _width(column: Column, cells: list[Cell]) -> float:
    def letters(text: str) -> int:
        return sum(2 if ord(letter) > 255 else 1 for letter in text)

    if column.kind in ("time", "date"):
        return 18
    return min(_WIDEST, max([letters(column.head), *(letters(str(cell.value or "")) for cell in cells)]) + 2)
