"""How far reviewers agree: Krippendorff's alpha, which takes any number of reviewers and leaves out what somebody did not rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Alpha:
    """Agreement over `units` that two or more people rated. `value` is None where all said the same one thing of everything:
    there is nothing that chance could have got wrong."""

    value: float | None
    units: int
    reviewers: int  # most that rated one unit


def interval_distance(one: float, other: float) -> float:
    """Of numbers."""
    return (one - other) ** 2


def nominal_distance(one: float, other: float) -> float:
    """Of names: the same or not."""
    return 0.0 if one == other else 1.0


def alpha(units: Sequence[Sequence[float]], distance: Callable[[float, float], float]) -> Alpha:
    """Krippendorff's alpha: 1 - observed disagreement / disagreement by chance. Each unit holds the values that it was given.

    1 is agreement in everything, 0 what chance gives, below 0 is contradiction. Units with one value are left out.
    """
    rated = [list(unit) for unit in units if len(unit) > 1]
    if not rated:
        return Alpha(None, 0, 0)
    pooled = Counter(value for unit in rated for value in unit)
    n = sum(pooled.values())
    observed = sum(_pairs(Counter(unit), distance) / (len(unit) - 1) for unit in rated) / n
    expected = _pairs(pooled, distance) / (n * (n - 1))
    value = None if expected == 0 else 1 - observed / expected
    return Alpha(value, len(rated), max(map(len, rated)))


def _pairs(counts: Counter[float], distance: Callable[[float, float], float]) -> float:
    """Sum of the distances of all ordered pairs."""
    return sum(a * b * distance(one, other) for one, a in counts.items() for other, b in counts.items())
