"""Boosted trees as arrays: how they are walked, and how scikit-learn's are written down (which needs no scikit-learn)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from analysis.compiled import compiled

Floats = NDArray[Any]
#: a de Bruijn number: times a power of two, the upper six bits tell which power
SPREAD = np.uint64(0x03F79D71B4CB0A89)
FEW = 8  # posts; fewer are walked one by one


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


@compiled
def leaves_right(left: Any, right: Any, ends: Any, roots: Any) -> Any:
    """For each inner node the leaves that are still possible when its answer is "greater": one bit a leaf.

    Also the leaf's own node at [tree * 64 + (bit * SPREAD >> 58)]. Both are empty when a tree has more than 64 leaves.
    """
    masks = np.full(len(left), -1, np.int64)
    nodes = np.zeros(len(roots) * 64, np.int32)
    stack = np.empty(len(left) + 1, np.int64)
    first = np.zeros(len(left), np.int64)  # number of the first leaf under a node
    for t in range(len(roots)):
        root = roots[t]
        # leaves get their bits from left to right: a node's left leaves stand in one row
        depth, bits = 1, 0
        stack[0] = root
        while depth > 0:
            depth -= 1
            node = stack[depth]
            first[node] = bits
            if left[node] == 0:
                if bits == 64:
                    return masks[:0], nodes[:0]
                nodes[t * 64 + np.int64(((np.uint64(1) << np.uint64(bits)) * SPREAD) >> np.uint64(58))] = node
                bits += 1
            else:
                stack[depth] = root + right[node]
                stack[depth + 1] = root + left[node]
                depth += 2
        for node in range(root, ends[t]):
            if left[node] != 0:
                for bit in range(first[node], first[root + right[node]]):
                    masks[node] &= ~(np.int64(1) << bit)
    return masks, nodes


@compiled
def sweep(
    columns: Any, feature: Any, threshold: Any, left: Any, value: Any, roots: Any, ends: Any, classes: Any,
    masks: Any, nodes: Any, out: Any,
) -> None:  # fmt: skip
    """The same sums as `climb` for posts [fact, post]: every node asks all posts at once, without a branch.

    The leaf reached is the first that no answer excludes.
    """
    posts = columns.shape[1]
    possible = np.empty(posts, np.int64)
    for t in range(len(roots)):
        possible[:] = -1
        for node in range(roots[t], ends[t]):
            if left[node] != 0:
                limit, mask, facts = np.float64(threshold[node]), masks[node], columns[feature[node]]
                for i in range(posts):
                    possible[i] &= np.int64(-1) if facts[i] <= limit else mask
        row = out[classes[t]]
        for i in range(posts):
            lowest = np.uint64(possible[i] & -possible[i])
            row[i] += value[nodes[t * 64 + np.int64((lowest * SPREAD) >> np.uint64(58))]]


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
        masks, nodes, ends = self._answers
        if len(inputs) >= FEW and len(nodes) > 0:
            sums = np.repeat(self.base[:, None].astype(np.float64), len(inputs), axis=1)
            sweep(
                np.ascontiguousarray(inputs.T), self.feature, self.threshold, self.left, self.value, self.roots,
                ends, self.classes, masks, nodes, sums,
            )  # fmt: skip
            return np.ascontiguousarray(sums.T)
        out = np.repeat(self.base[None, :].astype(np.float64), len(inputs), axis=0)
        climb(
            inputs, self.feature, self.threshold, self.left, self.right, self.value, self.roots, self.classes, out
        )  # fmt: skip
        return out

    @cached_property
    def _answers(self) -> tuple[Any, Any, Any]:
        """Masks and leaves for `sweep`, and where each tree ends."""
        ends = np.append(self.roots[1:], len(self.left)).astype(np.int32)
        return (*leaves_right(self.left, self.right, ends, self.roots), ends)


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
