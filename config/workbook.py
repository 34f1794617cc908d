"""Rows of a workbook (XLSX, XLS, XLSB, ODS), read in a process of its own.

The reader of workbooks keeps a sheet from its first to its last used cell in memory. One stray cell in the last row and column
makes that 400 GB, and a damaged file may end the process that reads it: then only the child ends, and the file is told.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO, Any

#: bytes of address space that reading one workbook may take; a million rows of thirty columns need about half of it
MOST_MEMORY = 4 << 30
#: a sheet that is wider has lost its form: empty cells at the end of its rows are not handed over
_WIDE = 256


class BrokenBook(Exception):
    """The workbook cannot be read; the message says why."""


@dataclass(frozen=True)
class BookRow:
    """One row. `sheet` counts from 0, `number` from 1; `height` is the number of the sheet's last row."""

    sheet: int
    height: int
    number: int
    cells: list[Any]


def read_book(path: Path) -> Generator[BookRow]:
    """Every row of every sheet. Cells are texts, numbers, truth values or naive datetimes; an empty one is "".

    Raises BrokenBook, also while rows are read.
    """
    root = Path(__file__).parent.parent
    command = [sys.executable, "-m", "config.workbook", str(path.resolve())]
    with subprocess.Popen(  # noqa: S603 (our own module with the path of a file)
        command, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        try:
            yield from _rows(child.stdout)
            if child.wait() != 0:
                raise BrokenBook(
                    "it is damaged, or too large when unpacked: a stray cell in the last row or column does that"
                )
        finally:
            child.kill()


def _rows(stream: IO[bytes] | None) -> Iterator[BookRow]:
    sheet, height, number = -1, 0, 0
    for line in stream or ():
        try:
            told = json.loads(line)
        except ValueError:
            return  # cut: the child has ended in the middle of it
        if isinstance(told, list):
            number += 1
            yield BookRow(sheet, height, number, [_cell(cell) for cell in told])
        elif "error" in told:
            raise BrokenBook(str(told["error"]))
        else:
            sheet, height, number = sheet + 1, int(told["height"]), 0


def _cell(told: Any) -> Any:
    return datetime.fromisoformat(told["at"]) if isinstance(told, dict) else told


# --- the child ---------------------------------------------------------------------------------------------------


def _main(path: str) -> None:
    from python_calamine import CalamineWorkbook  # only the child may load what may end it

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    most = MOST_MEMORY if hard == resource.RLIM_INFINITY else min(MOST_MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    try:
        book = CalamineWorkbook.from_path(path)
        for sheet in [book.get_sheet_by_name(name) for name in book.sheet_names]:  # all or none
            _say({"height": sheet.total_height})
            for cells in sheet.to_python(skip_empty_area=False):
                _say([_told(cell) for cell in _shortened(cells)])
    except Exception as exc:  # noqa: BLE001 (the border: whatever a damaged file does, its reader is told)
        _say({"error": " ".join(str(exc).split())[:300] or type(exc).__name__})
    sys.stdout.flush()


def _say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")


def _shortened(cells: list[Any]) -> list[Any]:
    while len(cells) > _WIDE and cells[-1] == "":
        cells.pop()
    return cells


def _told(cell: Any) -> Any:
    if isinstance(cell, datetime):
        return {"at": cell.isoformat()}
    return cell if isinstance(cell, str | int | float | bool) else str(cell)


if __name__ == "__main__":
    with suppress(BrokenPipeError, KeyboardInterrupt):
        _main(sys.argv[1])
