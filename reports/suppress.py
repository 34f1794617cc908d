"""Which cells of a published table stay hidden, so that no cell and no sum that follows from it stands for fewer than k authors.

Primary: cells with posts of fewer than k authors. Complementary: more cells, until in every row and column the hidden ones are
at least two and together of at least k authors (their sum follows by subtraction), and until a linear programme over everything
published cannot narrow a primary cell to fewer than k values. Rows and columns that are too small by themselves are put together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog  # type: ignore[import-untyped,import-not-found,unused-ignore]

from incidents.public_numbers import Cell

Key = tuple[str, str]
#: rows and columns put together because each alone stands for too few authors
OTHER = "other"
#: what a solver may be off by
_TINY = 1e-6


@dataclass(frozen=True)
class Grid:
    """A table with its sums; `hidden` cells are not told. `joined` rows and columns stand together in OTHER."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    cells: dict[Key, Cell]
    hidden: frozenset[Key]
    joined: tuple[str, ...]

    def posts(self, row: str, column: str) -> int:
        """Posts of a cell, told or not."""
        return self.cells[row, column].posts if (row, column) in self.cells else 0

    def shown(self, row: str, column: str) -> int | None:
        """Posts of a cell as published."""
        return None if (row, column) in self.hidden else self.posts(row, column)

    def row_sum(self, row: str) -> int:
        """Posts of a row: always of at least k authors."""
        return sum(self.posts(row, column) for column in self.columns)

    def column_sum(self, column: str) -> int:
        """Posts of a column: always of at least k authors."""
        return sum(self.posts(row, column) for row in self.rows)


def _authors(cells: Iterable[Cell]) -> set[int]:
    return set().union(*(cell.authors for cell in cells))


def _join(cells: Mapping[Key, Cell], axis: int, k: int) -> tuple[dict[Key, Cell], list[str]]:
    """Put rows (axis 0) or columns (axis 1) of fewer than k authors together, and more of the smallest until that is enough."""
    lines: dict[str, set[int]] = {}
    for key, cell in cells.items():
        lines.setdefault(key[axis], set()).update(cell.authors)
    order = sorted(lines, key=lambda name: (len(lines[name]), name))
    joined = [name for name in order if len(lines[name]) < k]
    rest = [name for name in order if name not in joined]
    while joined and len(set().union(*(lines[name] for name in joined))) < k and rest:
        joined.append(rest.pop(0))
    found: dict[Key, Cell] = {}
    for key, cell in cells.items():
        name = OTHER if key[axis] in joined else key[axis]
        into = found.setdefault((name, key[1]) if axis == 0 else (key[0], name), Cell())
        into.posts += cell.posts
        into.authors |= cell.authors
    return found, joined


def protect(cells: Mapping[Key, Cell], k: int) -> Grid | None:
    """The table that may be told; None when it may not be told at all (fewer than k authors, or no way to protect it)."""
    if len(_authors(cells.values())) < k:
        return None
    joined: list[str] = []
    found: dict[Key, Cell] = {key: cell for key, cell in cells.items() if cell.posts}
    for axis in (0, 1):
        found, more = _join(found, axis, k)
        joined += more
    rows = tuple(sorted({row for row, _ in found}))
    columns = tuple(sorted({column for _, column in found}))
    primary = {key for key, cell in found.items() if len(cell.authors) < k}
    grid = Grid(rows, columns, found, frozenset(primary), tuple(joined))
    for _ in range(len(rows) * len(columns) + 1):
        grid = _complement(grid, k)
        weak = _weak(grid, primary, k)
        if weak is None:
            return grid
        more_hidden = _next(grid, [*_line(grid, weak, 0), *_line(grid, weak, 1)])
        if more_hidden is None:
            return None
        grid = _hide(grid, more_hidden)
    return None


def _hide(grid: Grid, key: Key) -> Grid:
    return Grid(grid.rows, grid.columns, grid.cells, grid.hidden | {key}, grid.joined)


def _line(grid: Grid, key: Key, axis: int) -> list[Key]:
    """All cells of the row (axis 0) or column (axis 1) of a cell."""
    if axis == 0:
        return [(key[0], column) for column in grid.columns]
    return [(row, key[1]) for row in grid.rows]


def _next(grid: Grid, line: Iterable[Key]) -> Key | None:
    """The smallest cell of some that is still told; empty ones last, since they protect least."""
    open_ones = [key for key in line if key not in grid.hidden]
    return min(open_ones, key=lambda key: (not grid.posts(*key), grid.posts(*key), key), default=None)


def _complement(grid: Grid, k: int) -> Grid:
    """Hide more, until every line with a hidden cell has two of them, together of at least k authors."""
    changed = True
    while changed:
        changed = False
        lines = [[(row, column) for column in grid.columns] for row in grid.rows]
        lines += [[(row, column) for row in grid.rows] for column in grid.columns]
        for line in lines:
            hidden = [key for key in line if key in grid.hidden]
            together = _authors(grid.cells[key] for key in hidden if key in grid.cells)
            if not hidden or (len(hidden) >= 2 and len(together) >= k):
                continue
            more = _next(grid, line)
            if more is not None:
                grid, changed = _hide(grid, more), True
    return grid


def bounds(grid: Grid, key: Key) -> tuple[float, float]:
    """The least and the most that a hidden cell can be, for somebody who knows all that is told and that nothing is negative."""
    hidden = sorted(grid.hidden)
    place = {name: index for index, name in enumerate(hidden)}
    lines: list[tuple[list[Key], int]] = [
        ([(row, column) for column in grid.columns], grid.row_sum(row)) for row in grid.rows
    ]
    lines += [([(row, column) for row in grid.rows], grid.column_sum(column)) for column in grid.columns]
    left, right = [], []
    for line, total in lines:
        unknown = [name for name in line if name in place]
        if unknown:
            row = np.zeros(len(hidden))
            row[[place[name] for name in unknown]] = 1
            left.append(row)
            right.append(total - sum(grid.posts(*name) for name in line if name not in place))
    goal = np.zeros(len(hidden))
    goal[place[key]] = 1
    least, most = (
        linprog(sign * goal, A_eq=np.array(left), b_eq=np.array(right), bounds=(0, None), method="highs").fun
        for sign in (1.0, -1.0)
    )
    return float(least), -float(most)


def _weak(grid: Grid, primary: Iterable[Key], k: int) -> Key | None:
    """A primary cell that somebody could narrow to fewer than k values; None when there is none."""
    for key in sorted(primary):
        low, high = bounds(grid, key)
        if high - low < k - _TINY:
            return key
    return None


def protect_line(cells: Mapping[str, Cell], k: int) -> frozenset[str] | None:
    """Which parts of one line with a told sum stay hidden; None when the line may not be told at all."""
    hidden = {name for name, cell in cells.items() if len(cell.authors) < k and cell.posts}
    while hidden and (len(hidden) < 2 or len(_authors(cells[name] for name in hidden)) < k):
        rest = sorted(
            (name for name in cells if name not in hidden), key=lambda name: (cells[name].posts, name)
        )
        if not rest:
            return None
        hidden.add(next((name for name in rest if cells[name].posts), rest[0]))
    return frozenset(hidden)
