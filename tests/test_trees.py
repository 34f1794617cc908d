"""Boosted trees give the same sums however many posts are asked at once."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.trees import Trees


def grown(leaves: int, trees: int, seed: int) -> Trees:
    """Random trees in pre-order: a node's left child follows it."""
    rng = np.random.default_rng(seed)
    feature: list[int] = []
    threshold: list[float] = []
    left: list[int] = []
    right: list[int] = []
    value: list[float] = []
    roots: list[int] = []

    def grow(root: int, n: int) -> int:
        at = len(feature)
        feature.append(int(rng.integers(5)) if n > 1 else 0)
        threshold.append(float(rng.normal()) if n > 1 else 0.0)
        value.append(float(rng.normal()))
        left.append(0)
        right.append(0)
        if n > 1:
            share = int(rng.integers(1, n))
            left[at] = grow(root, share) - root
            right[at] = grow(root, n - share) - root
        return at

    for _ in range(trees):
        roots.append(len(feature))
        grow(len(feature), leaves)
    return Trees(
        np.array(feature, np.int16),
        np.array(threshold, np.float32),
        np.array(left, np.int16),
        np.array(right, np.int16),
        np.array(value, np.float32),
        np.array(roots, np.int32),
        np.arange(trees, dtype=np.int16) % 3,
        np.array([0.1, 0.2, 0.3]),
    )


@pytest.mark.parametrize("leaves", [1, 2, 10, 64, 65])
def test_a_batch_gives_the_sums_of_its_posts_one_by_one(leaves: int) -> None:
    trees = grown(leaves, 12, leaves)
    posts = np.random.default_rng(1).normal(size=(40, 5))
    posts[0, :] = trees.threshold[0]  # exactly on a threshold goes left
    together = trees.raw(posts)
    apart = np.vstack([trees.raw(posts[i : i + 1]) for i in range(len(posts))])
    assert together.shape == (40, 3)
    assert np.array_equal(together, apart)
    assert len(np.unique(together[:, 0])) > (1 if leaves > 1 else 0)
