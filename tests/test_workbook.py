"""Workbooks are read in a process of their own: a damaged or a boundless one takes nobody along."""

from __future__ import annotations

import resource
from contextlib import closing
from datetime import datetime
from pathlib import Path
from zipfile import ZipFile

import openpyxl
import pytest

from config.duty_tables import read
from config.roster import Roster
from config.settings import ConfigError
from config.workbook import BrokenBook, read_book
from spiders.importer import UnreadableFile, rows_of
from spiders.profiles import load_profile


def book(path: Path, *rows: list[object], stray: str = "") -> Path:
    made = openpyxl.Workbook()
    sheet = made.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    if stray:
        sheet[stray] = "x"
    made.create_sheet("第二页").append(["另一页"])
    made.save(path)
    return path


def test_cells_come_as_they_stand_sheet_by_sheet(tmp_path: Path) -> None:
    at = datetime(2026, 11, 28, 9, 0)  # noqa: DTZ001 (a sheet knows no zone)
    path = book(tmp_path / "a.xlsx", ["工单编号", "来电时间"], ["G1", at], [None, 2.5], [True, "停\u2028水"])
    rows = list(read_book(path))
    assert [row.cells for row in rows] == [
        ["工单编号", "来电时间"],
        ["G1", at],
        ["", 2.5],
        [True, "停\u2028水"],
        ["另一页"],
    ]
    assert [(row.sheet, row.number) for row in rows] == [(0, 1), (0, 2), (0, 3), (0, 4), (1, 1)]
    with closing(read_book(path)) as some:  # who has seen enough ends the child
        assert next(some).number == 1


def test_one_stray_cell_in_the_last_corner_ends_no_process_but_its_own(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", ["诉求内容"], ["停水"], stray="XFD1048576")
    with pytest.raises(BrokenBook, match="stray cell"):
        list(read_book(path))
    with pytest.raises(UnreadableFile, match=r"a\.xlsx: not readable as a workbook .*stray cell"):
        list(rows_of(path, load_profile()))
    with pytest.raises(ConfigError, match="stray cell"):
        read(path, Roster.model_construct(people=(), fallback=""))


def test_a_far_cell_costs_only_its_rows(tmp_path: Path) -> None:
    path = book(tmp_path / "a.xlsx", ["诉求内容"], ["停水"], stray="A30000")
    assert [row.values for row in rows_of(path, load_profile())] == [{"诉求内容": "停水"}, {"诉求内容": "x"}]
    with pytest.raises(ConfigError, match="more than 20000 rows"):
        read(path, Roster.model_construct(people=(), fallback=""))


@pytest.mark.parametrize("damage", ["cut", "no book", "half"])
def test_a_damaged_book_is_told_in_a_sentence(tmp_path: Path, damage: str) -> None:
    path = book(tmp_path / "a.xlsx", ["诉求内容"], ["停水"])
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:900])
    elif damage == "no book":
        path.write_bytes(b"PK\x03\x04 nothing")
    else:
        with ZipFile(path) as packed:
            parts = {name: packed.read(name) for name in packed.namelist()}
        with ZipFile(path, "w") as packed:
            for name, content in parts.items():
                packed.writestr(name, content[:300] if "worksheets" in name else content)
    with pytest.raises((BrokenBook, UnreadableFile)):
        assert list(rows_of(path, load_profile())) == []


def test_the_limit_is_the_childs_alone(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_AS)
    list(read_book(book(tmp_path / "a.xlsx", ["x"])))
    assert resource.getrlimit(resource.RLIMIT_AS) == before
