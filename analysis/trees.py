"""Boosted trees as arrays: how they are walked, and how scikit-learn's are written down (which needs no scikit-learn)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from analysis.compiled import compiled

Floats = NDArray[Any]


@compiled
def climb(
    inputs: Any,
    feature: Any,
    threshold: Any,
    left: Any,
    right: Any,
    value: Any,
    roots: Any,
    classes: Any,
    out: Any,
) -> None:
    """out[post, class] += leaf value of every tree. `left` and `right` count from the tree's root; a leaf has left 0.

    One tree for all posts before the next: a tree then stays in the processor's cache.
    """
    for t in range(len(roots)):
        root, column = roots[t], classes[t]
        for i in range(len(inputs)):
            node = root
            while left[node] != 0:
                node = root + (left[node] if inputs[i, feature[node]] <= threshold[node] else right[node])
            out[i, column] += value[node]


@dataclass(frozen=True)
class Trees:
    """Boosted trees of one task, all nodes in one row of arrays. `base` is where the sums start."""

    feature: NDArray[np.int16]
    threshold: NDArray[np.float32]
    left: NDArray[np.int16]
    right: NDArray[np.int16]
    value: NDArray[np.float32]
    roots: NDArray[np.int32]
    classes: NDArray[np.int16]
    base: Floats

    FIELDS: ClassVar[tuple[str, ...]] = (
        "feature",
        "threshold",
        "left",
        "right",
        "value",
        "roots",
        "classes",
        "base",
    )

    def raw(self, inputs: Floats) -> Floats:
        """Sums of leaves for a matrix of posts [posts, classes]; one column for two classes."""
        out = np.repeat(self.base[None, :].astype(np.float64), len(inputs), axis=0)
        climb(
            inputs,
            self.feature,
            self.threshold,
            self.left,
            self.right,
            self.value,
            self.roots,
            self.classes,
            out,
        )
        return out


def shares(z: Floats) -> Floats:
    """Log-odds to probabilities: a softmax, or for one column a logistic of [no, yes]."""
    if z.shape[1] == 1:
        p = 1.0 / (1.0 + np.exp(-z[:, 0]))
        return np.column_stack([1.0 - p, p])
    e = np.exp(z - z.max(axis=1, keepdims=True))
    result: Floats = e / e.sum(axis=1, keepdims=True)
    return result


def flatten(fitted: Any) -> Trees:
    """scikit-learn's trees as the arrays that inference reads. No input is ever missing, so that side is dropped."""
    nodes, roots, classes = [], [], []
    total = 0
    for step in fitted._predictors:
        for column, tree in enumerate(step):
            nodes.append(tree.nodes)
            roots.append(total)
            classes.append(column)
            total += len(tree.nodes)
    row = np.concatenate(nodes)
    leaf = row["is_leaf"].astype(bool)
    return Trees(
        feature=np.where(leaf, 0, row["feature_idx"]).astype(np.int16),
        threshold=np.where(leaf, 0.0, row["num_threshold"]).astype(np.float32),
        left=np.where(leaf, 0, row["left"]).astype(np.int16),
        right=np.where(leaf, 0, row["right"]).astype(np.int16),
        value=row["value"].astype(np.float32),
        roots=np.array(roots, np.int32),
        classes=np.array(classes, np.int16),
        base=np.asarray(fitted._baseline_prediction, np.float64).ravel(),
    )
