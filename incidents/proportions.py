"""How sure a share is."""

from __future__ import annotations


def wilson(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of the share `right` of `n`; (0, 1) of nothing."""
    if n == 0:
        return 0.0, 1.0
    share = right / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * (share * (1 - share) / n + z * z / (4 * n * n)) ** 0.5 / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)
