"""The trained reader: linear weights over hashed features, then a small calibrated layer. Inference only.

Level 0 gives one margin a column (tone 3, signal 1, domain 15, risk 3); level 1 is a multinomial logistic
regression and a set of boosted trees a task over all margins and dense facts (SnowNLP's value, lengths, risk
words, manner of speaking); the mean of their probabilities is the calibrated one. `analysis.train` writes the file.
"""

from __future__ import annotations

import io
import json
import lzma
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.compiled import compiled
from analysis.fastsnow import codepoints
from analysis.features import FEATURES_VERSION, Featuriser, Prepared, mix, step
from analysis.trees import Trees, shares

MODEL = Path(__file__).parent / "models" / "posts.npz.xz"
TASKS = ("tone", "signal", "domain", "risk")
Floats = NDArray[Any]
LANES = 16  # a row of weights is filled up to a multiple: it then lies in one line of the processor's cache
_LOGS = np.array([0.0, *(1.0 + math.log(count) for count in range(1, 256))])
_IDF = np.arange(256) / 20.0


@compiled
def margins(
    buckets: Any, counts: Any, used: int, logs: Any, idf: Any, steps: Any, values: Any, weights: Any, out: Any
) -> None:
    """values = (1 + log count) * idf, scaled to length 1; out[c] += sum of value * weight over the post's features."""
    total = 0.0
    warm = np.int64(0)
    for k in range(used):
        count = counts[k]
        v = (logs[count] if count < len(logs) else 1.0 + math.log(count)) * idf[steps[buckets[k]]]
        values[k] = v
        total += v * v
        warm += weights[buckets[k], 0]  # many loads at a time, before the loop that needs the rows
    scale = 1.0 / math.sqrt(total) if total > 0.0 else 0.0
    columns = weights.shape[1]
    if used < len(values):
        values[used] = warm  # a use of what was loaded, or the compiler drops the loads
    for k in range(used):
        row = buckets[k]
        v = values[k] * scale
        values[k] = v
        for c in range(columns):
            out[c] += v * weights[row, c]


@compiled
def dense(inputs: Any, coef: Any, out: Any) -> None:
    """out += inputs x coef, one post after the other: the rounding of a matrix product would depend on the batch."""
    for i in range(inputs.shape[0]):
        for c in range(coef.shape[0]):
            total = 0.0
            for k in range(coef.shape[1]):
                total += inputs[i, k] * coef[c, k]
            out[i, c] += total


@dataclass(frozen=True)
class LinearModel:
    """Weights of both levels. `labels[task]` are the classes in the order of the probabilities."""

    weights: NDArray[np.int8]  # [BUCKETS, columns], columns filled up with zeros to whole blocks of LANES
    scale: Floats
    bias: Floats
    idf: NDArray[np.uint8]  # by bucket, in steps of 0.05
    labels: dict[str, tuple[str, ...]]
    top: dict[str, tuple[Floats, Floats]]  # task -> (coefficients [classes, inputs], intercepts)
    trees: dict[str, Trees]
    columns: tuple[str, ...]
    version: str
    figures: dict[str, Any]  # what training measured by cross-validation

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls, path: Path = MODEL) -> LinearModel:
        """Read the shipped model. Raises FileNotFoundError with the cure."""
        try:
            raw = lzma.decompress(path.read_bytes())
        except (OSError, lzma.LZMAError) as error:
            raise FileNotFoundError(
                f"{path}: cannot be read ({error}); `python -m analysis.train` writes it"
            ) from error
        with np.load(io.BytesIO(raw)) as pack:
            meta = json.loads(str(pack["meta"][0]))
            if meta["features_version"] != FEATURES_VERSION:
                raise ValueError(
                    f"{path}: trained for features {meta['features_version']}, this code has {FEATURES_VERSION}: retrain"
                )
            top = {
                task: (pack[f"{task}_coef"].astype(np.float64), pack[f"{task}_bias"].astype(np.float64))
                for task in TASKS
            }
            trees = {
                task: Trees(**{name: pack[f"{task}_tree_{name}"] for name in Trees.FIELDS}) for task in TASKS
            }
            return cls(
                weights=_widened(pack["weights"]),
                scale=pack["scale"].astype(np.float64),
                bias=pack["bias"].astype(np.float64),
                idf=pack["idf"].astype(np.uint8),
                labels={task: tuple(names) for task, names in meta["labels"].items()},
                top=top,
                trees=trees,
                columns=tuple(meta["columns"]),
                version=meta["version"],
                figures=meta["figures"],
            )

    def level0(self, features: Featuriser, used: int) -> Floats:
        """Margins of the post whose `used` features were extracted last; fills `features.values`."""
        out = np.zeros(self.weights.shape[1])
        margins(
            features.buckets, features.counts, used, _LOGS, _IDF, self.idf, features.values, self.weights, out
        )
        return out[: len(self.bias)] * self.scale + self.bias

    def moved(
        self, features: Featuriser, post: Prepared, columns: Sequence[int], most: int
    ) -> list[list[str]]:
        """The words of the post judged last that moved each column up most, at most so many, the strongest first."""
        raw, starts, ends = post.raw, features.starts, features.ends
        low = raw.lower()
        if (
            len(low) != len(raw) or "Σ" in raw
        ):  # a letter that becomes two, or one that looks at its neighbours
            spans = zip(starts[: features.words].tolist(), ends[: features.words].tolist(), strict=True)
            words = [raw[start:end].lower() if end - start > 1 else "" for start, end in spans]
            low = "".join(words)
            ends = np.cumsum([len(word) for word in words], dtype=np.int64)
            starts = ends - np.array([len(word) for word in words], np.int64)
        out = np.empty((len(columns), most, 2), np.int64)
        strongest(
            features.body, codepoints(low), starts, ends, features.words, features.grams,
            features.buckets, features.counts, features.values, self.weights, np.array(columns, np.int64), out,
        )  # fmt: skip
        return [[post.body[start:end] for start, end in rows if end > start] for rows in out.tolist()]

    def probabilities(self, margins_and_facts: Floats) -> dict[str, Floats]:
        """Calibrated probabilities of each task for a matrix of posts."""
        result = {}
        for task, (coef, bias) in self.top.items():
            z = np.repeat(bias[None, :], len(margins_and_facts), axis=0)
            dense(margins_and_facts, coef, z)
            result[task] = (shares(z) + shares(self.trees[task].raw(margins_and_facts))) / 2.0
        return result


def _widened(weights: Any) -> NDArray[np.int8]:
    width = -(-weights.shape[1] // LANES) * LANES
    out = np.zeros((len(weights), width), np.int8)
    out[:, : weights.shape[1]] = weights
    return out


@compiled
def _less(points: Any, a: int, a_end: int, b: int, b_end: int) -> bool:
    """Whether the slice at `a` comes before the one at `b`, by code points."""
    while a < a_end and b < b_end:
        if points[a] != points[b]:
            return bool(points[a] < points[b])
        a += 1
        b += 1
    return a == a_end and b < b_end


@compiled
def _located(body: Any, low: Any, starts: Any, ends: Any, words: int, begin: Any, end: Any) -> int:
    """Where words of the raw text stand in the normalised body, in order; words of one character are left out."""
    n, at, found = len(body), 0, 0
    for k in range(words):
        size = ends[k] - starts[k]
        if size < 2:
            continue
        first = low[starts[k]]
        for i in range(at, n - size + 1):
            if body[i] == first:
                j = 1
                while j < size and body[i + j] == low[starts[k] + j]:
                    j += 1
                if j == size:
                    begin[found] = i
                    end[found] = i + size
                    found += 1
                    at = i + size
                    break
    return found


@compiled
def _distinct(body: Any, begin: Any, end: Any, found: int, same: Any) -> None:
    """same[k] = the first slice that holds the same characters as slice k."""
    mask = 15
    while mask < 2 * found:
        mask = mask * 2 + 1
    slots = np.full(mask + 1, -1, np.int32)
    for k in range(found):
        h = np.uint64(end[k] - begin[k])
        for i in range(begin[k], end[k]):
            h = step(h, np.int64(body[i]))
        at = mix(h) & mask
        while True:
            other = np.int64(slots[at])
            if other < 0:
                slots[at] = k
                same[k] = k
                break
            if end[other] - begin[other] == end[k] - begin[k]:
                j = 0
                while begin[k] + j < end[k] and body[begin[k] + j] == body[begin[other] + j]:
                    j += 1
                if begin[k] + j == end[k]:
                    same[k] = other
                    break
            at = (at + 1) & mask


@compiled
def strongest(
    body: Any,
    low: Any,
    starts: Any,
    ends: Any,
    words: int,
    grams: Any,
    buckets: Any,
    counts: Any,
    values: Any,
    weights: Any,
    columns: Any,
    out: Any,
) -> None:
    """out[column, rank] = [start, end) in the body of the words that moved a margin up most; an empty slice: none.

    A gram's weight is shared out among its characters, a word moves what its characters do, wherever it stands.
    """
    n = len(body)
    begin, end, same = np.empty(words, np.int64), np.empty(words, np.int64), np.empty(words, np.int64)
    found = _located(body, low, starts, ends, words, begin, end)
    _distinct(body, begin, end, found, same)
    total = np.empty(n + 1)
    score = np.empty(found)
    for which in range(len(columns)):
        column = columns[which]
        total[:] = 0.0
        for i in range(n):
            for size in range(1, min(3, n - i) + 1):
                k: Any = np.int64(grams[3 * i + size - 1])
                if k >= 0:
                    share = values[k] * weights[buckets[k], column] / (counts[k] * size)
                    for j in range(i, i + size):
                        total[j + 1] += share
        for i in range(n):
            total[i + 1] += total[i]
        score[:] = 0.0
        for k in range(found):
            score[same[k]] += total[end[k]] - total[begin[k]]
        for rank in range(out.shape[1]):
            best: Any = -1
            for k in range(found):
                if same[k] == k and score[k] > 0.0:
                    ahead = best < 0 or score[k] > score[best]
                    if not ahead and score[k] == score[best]:
                        ahead = _less(body, begin[k], end[k], begin[best], end[best])
                    if ahead:
                        best = k
            out[which, rank, 0] = begin[best] if best >= 0 else 0
            out[which, rank, 1] = end[best] if best >= 0 else 0
            if best >= 0:
                score[best] = 0.0
