"""Rates beside what the case mix would have made expect, and which of them can be told apart. Pure arithmetic."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from incidents.proportions import wilson
from reports.accountability_model import Rate

#: kept and missed clocks by cell
Cells = Mapping[tuple[str, str], tuple[int, int]]


def rate(kept: int, missed: int, min_n: int) -> Rate:
    """The share kept with its interval; below `min_n` clocks only the counts."""
    n = kept + missed
    if n < min_n:
        return Rate(kept=kept, missed=missed, share=None, low=None, high=None)
    low, high = wilson(kept, n)
    return Rate(kept=kept, missed=missed, share=kept / n, low=low, high=high)


def expected(own: Cells, every: Cells) -> float | None:
    """Indirect standardisation: the share that all departments together, cell by cell, would have kept of `own`'s clocks.

    None without a clock.
    """
    total, kept = 0, 0.0
    for cell, (own_kept, own_missed) in own.items():
        n = own_kept + own_missed
        if not n:
            continue
        all_kept, all_missed = every[cell]
        total += n
        kept += n * all_kept / (all_kept + all_missed)
    return kept / total if total else None


def together(parts: Iterable[Cells]) -> dict[tuple[str, str], tuple[int, int]]:
    """The cells of all departments added up."""
    found: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for cells in parts:
        for cell, (kept, missed) in cells.items():
            found[cell][0] += kept
            found[cell][1] += missed
    return {cell: (kept, missed) for cell, (kept, missed) in found.items()}


def groups(rates: Sequence[tuple[str, Rate]]) -> dict[str, int]:
    """Departments in groups whose intervals do not touch, 1 the best. Rates without an interval are in none.

    Whoever overlaps with one of a group belongs to it: between groups no interval overlaps with any other's.
    """
    known = [(one.high, one.low, name) for name, one in rates if one.high is not None and one.low is not None]
    found: dict[str, int] = {}
    group, floor = 0, 2.0  # lowest end of the present group
    for high, low, name in sorted(known, key=lambda entry: (-entry[0], -entry[1], entry[2])):
        if high < floor:
            group, floor = group + 1, low
        floor = min(floor, low)
        found[name] = group
    return found
