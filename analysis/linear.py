"""The trained reader: linear weights over hashed features, then a small calibrated layer. Inference only.

Level 0 gives one margin a column (tone 3, signal 1, domain 15, risk 3); level 1 is a multinomial logistic
regression and a set of boosted trees a task over all margins and dense facts (SnowNLP's value, lengths, risk
words, manner of speaking); the mean of their probabilities is the calibrated one. `analysis.train` writes the file.
"""

from __future__ import annotations

import io
import json
import lzma
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.compiled import compiled
from analysis.features import FEATURES_VERSION, mix, slice_hash
from analysis.trees import Trees, shares

MODEL = Path(__file__).parent / "models" / "posts.npz.xz"
TASKS = ("tone", "signal", "domain", "risk")
Floats = NDArray[Any]


@compiled
def margins(buckets: Any, values: Any, used: int, weights: Any, out: Any) -> None:
    """out[c] += sum of value * weight (int8) over the post's features."""
    columns = weights.shape[1]
    for k in range(used):
        row = buckets[k]
        v = values[k]
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

    weights: NDArray[np.int8]  # [BUCKETS, columns]
    scale: Floats
    bias: Floats
    idf: Floats
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
                weights=np.ascontiguousarray(pack["weights"]),
                scale=pack["scale"].astype(np.float64),
                bias=pack["bias"].astype(np.float64),
                idf=pack["idf"].astype(np.float64) / 20.0,
                labels={task: tuple(names) for task, names in meta["labels"].items()},
                top=top,
                trees=trees,
                columns=tuple(meta["columns"]),
                version=meta["version"],
                figures=meta["figures"],
            )

    def level0(self, buckets: Floats, values: Floats, used: int) -> Floats:
        """Margins of one post."""
        out = np.zeros(self.weights.shape[1])
        margins(buckets, values, used, self.weights, out)
        return out * self.scale + self.bias

    def probabilities(self, margins_and_facts: Floats) -> dict[str, Floats]:
        """Calibrated probabilities of each task for a matrix of posts."""
        result = {}
        for task, (coef, bias) in self.top.items():
            z = np.repeat(bias[None, :], len(margins_and_facts), axis=0)
            dense(margins_and_facts, coef, z)
            result[task] = (shares(z) + shares(self.trees[task].raw(margins_and_facts))) / 2.0
        return result


@compiled
def char_shares(body: Any, place: Any, counts: Any, values: Any, weights: Any, column: int, out: Any) -> None:
    """How much each character of the body moved one margin: the weights of the grams it stands in, shared out."""
    for i in range(len(body)):
        for size in range(1, 4):
            if i + size <= len(body):
                bucket = mix(slice_hash(body, i, i + size, size))
                k = place[bucket]
                share = values[k] * weights[bucket, column] / (counts[k] * size)
                for j in range(i, i + size):
                    out[j] += share
