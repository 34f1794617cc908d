"""Rows of a file as dictionaries: CSV and TSV (utf-8, then gb18030), XLSX/XLS/ODS, JSON Lines, JSON arrays."""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import IO, Any, TextIO
from zipfile import BadZipFile, ZipFile

from config.workbook import BrokenBook, read_book
from incidents.grams import storable

#: characters of one CSV field; a work order with a long history has some thousands
csv.field_size_limit(10_000_000)
#: rows in which the header is looked for: exports begin with a title line or two
HEADER_ROWS = 10
#: bytes of one line of JSON; more is no post
LONGEST_LINE = 10_000_000
#: bytes of a workbook when unpacked; a small file that unpacks to more is a bomb, and reading it would take all memory
LARGEST_BOOK = 1_000_000_000
_ARCHIVES = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".tar")
#: how much of a file is checked for its encoding: all of it, in pieces of this many bytes
_PIECE = 1 << 20


class UnreadableFile(Exception):
    """The file as a whole cannot be read; the message names the file and what to do."""


@dataclass(frozen=True)
class RawRow:
    """One row. `number` counts from 1 with the header; `problem` says why it could not be read as a row."""

    number: int
    values: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    #: share of the file that lies behind us, 0 to 1
    fraction: float = 0.0


#: tells whether a row is the header: it names the text column
IsHeader = Callable[[list[str]], bool]


def told(name: str) -> str:
    """A file's name in letters: other systems write names in GB18030, which this one shows as broken bytes no database takes."""
    raw = os.fsencode(name)
    for charset in ("utf-8", "gb18030"):
        try:
            return raw.decode(charset)
        except UnicodeDecodeError:
            continue
    return raw.decode("utf-8", "replace")


def read_rows(path: Path, is_header: IsHeader, encoding: str = "") -> Iterator[RawRow]:
    """Every row of `path`, one after the other; a broken row is told and the rest goes on.

    Raises UnreadableFile: no such file, unknown kind, unknown encoding, damaged workbook, no header.
    """
    if not path.is_file():
        raise UnreadableFile(f"{path}: no such file")
    kind = path.suffix.lower()
    if kind in _ARCHIVES:
        raise UnreadableFile(f"{path}: an archive; unpack it and hand over the files in it")
    if kind in (".csv", ".tsv", ".txt"):
        _no_workbook(path)
        return _csv(path, is_header, encoding)
    if kind in (".xlsx", ".xlsm", ".xls", ".ods", ".xlsb"):
        return _sheet(path, is_header)
    if kind in (".jsonl", ".ndjson"):
        return _json_lines(path, encoding)
    if kind == ".json":
        return _json(path, encoding)
    raise UnreadableFile(
        f"{path}: {kind or 'a file without suffix'} is not known; expected .csv, .tsv, .xlsx, .xls, .ods, .jsonl or .json"
    )


def find_encoding(path: Path, given: str = "") -> str:
    """utf-16 if its mark stands first (Excel's "Unicode text"), utf-8-sig, else gb18030: the first that can decode every byte.

    Raises UnreadableFile.
    """
    errors = []
    with path.open("rb") as raw:
        if not given and raw.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            given = "utf-16"
    for name in (given,) if given else ("utf-8-sig", "gb18030"):
        try:
            with path.open("r", encoding=name, errors="strict", newline="") as stream:
                while stream.read(_PIECE):
                    pass
        except UnicodeDecodeError as exc:
            errors.append(f"{name}: {exc.reason}")
            continue
        return name
    raise UnreadableFile(
        f"{path}: not readable as text ({'; '.join(errors)}); save it as UTF-8, or name its encoding in the profile"
    )


def _open(path: Path, encoding: str) -> tuple[IO[bytes], io.TextIOWrapper, int]:
    found = find_encoding(path, encoding)
    raw = path.open("rb")
    return raw, io.TextIOWrapper(raw, encoding=found, newline=""), max(1, path.stat().st_size)


def _no_workbook(path: Path) -> None:
    """Some systems write a workbook under the name .csv; as text it would only be garbage."""
    with path.open("rb") as raw:
        begin = raw.read(4)
    if begin in (b"PK\x03\x04", b"\xd0\xcf\x11\xe0"):
        raise UnreadableFile(
            f"{path}: a workbook or an archive under the name {path.suffix}; rename or unpack it"
        )


def _csv(path: Path, is_header: IsHeader, encoding: str) -> Iterator[RawRow]:
    raw, stream, size = _open(path, encoding)
    with stream:
        found = False
        for row in csv_rows(stream, is_header, lambda: min(1.0, raw.tell() / size)):
            found = found or row is None
            if row is not None:
                yield row
    if not found:
        raise UnreadableFile(_no_header(path))


def csv_rows(stream: TextIO, is_header: IsHeader, share: Callable[[], float]) -> Iterator[RawRow | None]:
    """The rows of CSV text, broken ones with their problem; None stands for the header, and nothing comes when there is none.

    `share` tells how much of the text lies behind us.
    """
    begin = stream.read(20_000)
    stream.seek(0)
    head = "\n".join(begin.split("\n")[:HEADER_ROWS])
    lines = _Lines(stream)
    reader = csv.reader(lines, delimiter=max(",\t;|", key=head.count))
    header: list[str] = []
    while True:
        line = reader.line_num + 1
        lines.quotes = 0
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as exc:
            yield RawRow(line, problem=f"not readable as CSV: {exc}")
            continue
        if not header:
            if is_header(cells):
                header = _unique(cells)
                yield None
            elif line > HEADER_ROWS:
                break
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if lines.ended and lines.quotes % 2 and reader.line_num > line:
            # everything to the end of the file has become one field
            swallowed = reader.line_num - line
            yield RawRow(
                line,
                problem=f"a quotation mark is not closed; the {swallowed} lines after it were not read",
            )
            continue
        yield _with_header(header, cells, line, share())


class _Lines:
    """The lines of a file without NUL; counts quotation marks, so that one that is never closed is found."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.quotes = 0
        self.ended = False

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._stream, None)
        if line is None:
            self.ended = True
            raise StopIteration
        self.quotes += line.count('"')
        return line.replace("\0", "")


def _sheet(path: Path, is_header: IsHeader) -> Iterator[RawRow]:
    _no_bomb(path)
    found = False
    header: list[str] = []
    at = 0
    try:
        for row in read_book(path):
            if row.sheet != at:
                header, at = [], row.sheet
            if not header:
                texts = [str(_cell(cell)) for cell in row.cells] if row.number <= HEADER_ROWS else []
                if is_header(texts):
                    header, found = _unique(texts), True
                continue
            if any(cell not in ("", None) for cell in row.cells):
                cells = [_cell(cell) for cell in row.cells]
                yield _with_header(header, cells, row.number, min(1.0, row.number / max(1, row.height)))
    except BrokenBook as exc:
        raise UnreadableFile(
            f"{path}: not readable as a workbook ({exc}); open it and save it again as .xlsx"
        ) from exc
    if not found:
        raise UnreadableFile(_no_header(path))


def _no_bomb(path: Path) -> None:
    try:
        with ZipFile(path) as packed:
            size = sum(part.file_size for part in packed.infolist())
    except (BadZipFile, OSError, ValueError, NotImplementedError):
        return  # .xls, or damaged: the reader of workbooks says so
    if size > LARGEST_BOOK:
        raise UnreadableFile(
            f"{path}: unpacks to {size / 1e6:.0f} MB (allowed: {LARGEST_BOOK / 1e6:.0f}); split it, or save it as CSV"
        )


def _cell(value: Any) -> Any:
    """Numbers that are whole lose their ".0": an order number must come out as it stands in the sheet."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    if isinstance(value, datetime):
        return value
    return value if isinstance(value, int | str | float) else str(value)


def _json_lines(path: Path, encoding: str) -> Iterator[RawRow]:
    name = _encoding_of_lines(path, encoding)
    size = max(1, path.stat().st_size)
    if name == "utf-16":  # its line ends are two bytes
        with path.open("r", encoding=name, errors="replace") as stream:
            for number, text in enumerate(stream, start=1):
                if text.strip():
                    yield json_row(text, number, 0.0)
        return
    with path.open("rb") as raw:
        number = 0
        while line := raw.readline(LONGEST_LINE):
            number += 1
            fraction = min(1.0, raw.tell() / size)
            if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
                while (more := raw.readline(LONGEST_LINE)) and not more.endswith(b"\n"):
                    pass
                yield RawRow(number, {}, f"longer than {LONGEST_LINE // 1_000_000} MB", fraction)
                continue
            try:
                text = line.decode(name)
            except UnicodeDecodeError as exc:
                yield RawRow(number, {}, f"byte {exc.start + 1} of the line is not {name}", fraction)
                continue
            if text.strip():
                yield json_row(text, number, fraction)


def _encoding_of_lines(path: Path, given: str) -> str:
    """The encoding of the file, or of its first line when a later line is damaged: that line is told, the rest goes on.

    Raises UnreadableFile when the first line cannot be decoded either.
    """
    try:
        return find_encoding(path, given)
    except UnreadableFile:
        with path.open("rb") as raw:
            first = raw.readline(LONGEST_LINE)
        for name in (given,) if given else ("utf-8-sig", "gb18030"):
            try:
                first.decode(name)
            except UnicodeDecodeError:
                continue
            return name
        raise


def json_row(line: str, number: int, fraction: float) -> RawRow:
    """One line of JSON as a row."""
    try:
        value = json.loads(line)
    except ValueError as exc:
        return RawRow(number, {}, f"not JSON: {exc}", fraction)
    except RecursionError:
        return RawRow(number, {}, "not usable JSON: nested too deeply", fraction)
    if not isinstance(value, dict):
        return RawRow(number, {}, "expected an object { ... }", fraction)
    if "\\u" in line:  # an escape may hold half a character or NUL
        value = {storable(key): storable(v) if isinstance(v, str) else v for key, v in value.items()}
    return RawRow(number, value, fraction=fraction)


def file_sha256(path: Path) -> str:
    """By what a file is known again, whatever its name."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _json(path: Path, encoding: str) -> Iterator[RawRow]:
    with path.open("r", encoding=find_encoding(path, encoding)) as stream:
        begin = stream.read(1000).lstrip()
        stream.seek(0)
        try:
            whole = json.load(stream)
        except (ValueError, RecursionError) as exc:
            if begin.startswith("{"):  # JSON Lines under another name
                yield from _json_lines(path, encoding)
                return
            raise UnreadableFile(f"{path}: not JSON: {exc}") from exc
    if isinstance(whole, dict):
        lists = [value for value in whole.values() if isinstance(value, list)]
        whole = lists[0] if len(lists) == 1 else [whole]
    if not isinstance(whole, list):
        raise UnreadableFile(f"{path}: expected a list of objects")
    for number, value in enumerate(whole, start=1):
        fraction = number / len(whole)
        if isinstance(value, dict):
            yield RawRow(number, value, fraction=fraction)
        else:
            yield RawRow(number, {}, "expected an object { ... }", fraction)


def _with_header(header: list[str], cells: list[Any], number: int, fraction: float) -> RawRow:
    extra = [cell for cell in cells[len(header) :] if str(cell).strip()]
    values = dict(zip(header, cells, strict=False))
    if extra:
        return RawRow(
            number,
            values,
            f"{len(cells)} values for {len(header)} columns; a field with a comma needs quotation marks",
            fraction,
        )
    return RawRow(number, values, fraction=fraction)


def _unique(names: list[str]) -> list[str]:
    """Column names as they stand; a repeated or empty one gets its position."""
    seen: set[str] = set()
    result = []
    for position, name in enumerate(names, start=1):
        plain = name.strip().lstrip("﻿")
        plain = plain if plain and plain not in seen else f"{plain}#{position}"
        seen.add(plain)
        result.append(plain)
    return result


def _no_header(path: Path) -> str:
    if path.stat().st_size == 0:
        return f"{path}: the file is empty"
    return f"{path}: no header found in the first {HEADER_ROWS} rows: no column is named like the text of a post; name it in a mapping profile (--profile)"
