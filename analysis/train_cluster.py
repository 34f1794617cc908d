"""`python -m analysis.train_cluster --data DIR [--install]`: fits the comparison of clustering to labelled events.

Figures are cross-fitted by event: the weights that place a post have seen neither its event nor comparisons with it. The
threshold is chosen on the events of the other folds. Needs scikit-learn; `DIR` holds `complaints_stream.jsonl`, `complaints_events.csv`,
and for the rarity of character pairs and triples `complaint_classes.jsonl` and `posts_unlabelled.jsonl`.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import lzma
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from analysis.cluster import (
    TREES,
    WEIGHTS,
    Clusterer,
    ClusterModel,
    Read,
    compare_packed,
    read_item,
)
from analysis.cluster_pack import FEATURES, GRAM_BITS, GRAMS, codes, gram_ids
from analysis.figures import message_item
from analysis.trees import Trees, flatten

VERSION = "cluster-3"
FOLDS = 5
THRESHOLDS = (0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6)
MIX = 0.7
BOOST: dict[str, Any] = {
    "max_iter": 150,
    "learning_rate": 0.05,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 15,
    "l2_regularization": 5.0,
    "max_features": 0.4,
    "early_stopping": False,
    "random_state": 0,
}


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def json_rows(path: Path) -> Iterator[dict[str, Any]]:
    """A JSON Lines file."""
    for line in path.read_text("utf-8").split("\n"):
        if line:
            yield json.loads(line)


def count_grams(texts: Iterator[str]) -> bytes:
    """Rarity of hashed character pairs and unordered triples over background texts, 1/20 natural log, one byte each."""
    seen = np.zeros(1 << GRAM_BITS, np.int64)
    total = 0
    for text in texts:
        points = codes(text[:400])
        out = np.empty(2 * len(points) + 2, np.uint32)
        pairs = gram_ids(points, False, out)
        triples = gram_ids(points, True, out[pairs:])
        seen[np.unique(out[: pairs + triples] & np.uint32((1 << GRAM_BITS) - 1))] += 1
        total += 1
    return np.clip(np.round(20 * np.log(total / (1.0 + seen))), 0, 250).astype(np.uint8).tobytes()


def background(data: Path) -> Iterator[str]:
    """Texts for rarities; nothing that is kept aside for acceptance."""
    for row in json_rows(data / "complaint_classes.jsonl"):
        if row["part"] == "train":
            yield f"{row.get('title') or ''} {row.get('text') or ''}"
    for row in json_rows(data / "posts_unlabelled.jsonl"):
        if row["id"][0] not in "PQ":
            yield f"{row.get('title') or ''} {row.get('text') or ''}"


def labelled(data: Path) -> tuple[list[Read], list[str], list[str]]:
    """Readings of the labelled messages in time order, their ids and events."""
    with (data / "complaints_events.csv").open(encoding="utf-8", newline="") as handle:
        events = {row["id"]: row["event"] for row in csv.DictReader(handle)}
    readings, ids = [], []
    for row in json_rows(data / "complaints_stream.jsonl"):
        if row["id"] not in events:
            continue
        readings.append(read_item(message_item(row)))
        ids.append(row["id"])
    return readings, ids, [events[i] for i in ids]


def walk(readings: Sequence[Read], events: Sequence[str], model: ClusterModel | None) -> dict[str, Any]:
    """One pass. With a model its decisions are taken, without one the labels'. Returns assignments and every comparison."""
    clusterer = Clusterer(model or ClusterModel({}, 0.0, 0.5, ""))
    assigned: list[int] = []
    inside: dict[int, Counter[str]] = defaultdict(Counter)
    of_event: dict[str, int] = {}
    lines, posts, others = [], [], []
    for number, reading in enumerate(readings):
        found = clusterer.candidates(reading)
        chosen = None
        if found:
            features = compare_packed(
                reading, [clusterer.sketches.rows[i] for i in found], clusterer.sketches.words
            )
            lines.append(features)
            posts += [number] * len(found)
            others += [inside[i].most_common(1)[0][0] for i in found]
            if model is not None:
                scores = model.scores(features)
                best = max(range(len(found)), key=lambda i: (scores[i], -found[i]))
                chosen = found[best] if scores[best] >= model.threshold else None
        if model is None:
            chosen = of_event.get(events[number])
        if chosen is None:
            chosen = len(inside) + 1
            clusterer.open(reading, chosen)
        else:
            clusterer.add(chosen, reading)
        of_event.setdefault(events[number], chosen)
        inside[chosen][events[number]] += 1
        assigned.append(chosen)
    return {
        "assigned": assigned,
        "features": np.vstack(lines),
        "posts": np.array(posts),
        "others": np.array(others),
    }


def fit(features: Any, same: Any, seed: int = 0) -> ClusterModel:
    """A logistic regression and boosted trees over the same comparisons."""
    from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]

    scale = np.maximum(features.std(axis=0), 1e-3)
    linear = LogisticRegression(C=0.3, max_iter=3000).fit(features / scale, same)
    weights = linear.coef_[0] / scale
    trees = HistGradientBoostingClassifier(**{**BOOST, "random_state": seed}).fit(features, same)
    return ClusterModel(
        {name: round(float(w), 4) for name, w in zip(FEATURES, weights, strict=True)},
        round(float(linear.intercept_[0]), 4),
        0.5,
        VERSION,
        flatten(trees),
        MIX,
    )


def with_threshold(model: ClusterModel, threshold: float) -> ClusterModel:
    """The same comparison with another threshold."""
    return ClusterModel(model.weights, model.bias, threshold, model.version, model.trees, model.mix)


def tally(assigned: Sequence[int], events: Sequence[str], of: Sequence[int]) -> Any:
    """Sums behind BCubed and pairwise figures for the posts `of`, compared with all posts, and the largest wrong merge."""
    cluster: dict[int, set[int]] = defaultdict(set)
    event: dict[str, set[int]] = defaultdict(set)
    for number, (c, e) in enumerate(zip(assigned, events, strict=True)):
        cluster[c].add(number)
        event[e].add(number)
    sums, worst = np.zeros(6), 0
    for number in of:
        mine, true = cluster[assigned[number]], event[events[number]]
        both = len(mine & true)
        sums += (both / len(mine), both / len(true), both - 1, len(mine) - 1, len(true) - 1, 1)
        worst = max(worst, len(mine) - max(Counter(events[i] for i in mine).values()))
    return sums, worst


def figures(sums: Any) -> dict[str, float]:
    """BCubed and pairwise precision, recall and F1 of summed tallies."""
    p, r = sums[0] / sums[5], sums[1] / sums[5]
    pair_p, pair_r = sums[2] / max(sums[3], 1), sums[2] / max(sums[4], 1)
    out = {
        "bcubed_precision": p,
        "bcubed_recall": r,
        "bcubed_f1": 2 * p * r / (p + r),
        "pair_precision": pair_p,
        "pair_recall": pair_r,
        "pair_f1": 2 * pair_p * pair_r / max(pair_p + pair_r, 1e-9),
    }
    return {name: round(float(value), 4) for name, value in out.items()}


def train_on(
    readings: Sequence[Read], events: Sequence[str], held: set[str], rounds: int = 0
) -> ClusterModel:
    """Weights from comparisons that touch no event of `held`: first beside the labels, then on the model's own way too."""
    gathered = [walk(readings, events, None)]
    names = np.array(events)

    def refit() -> ClusterModel:
        lines, same = [], []
        for part in gathered:
            mine = names[part["posts"]]
            kept = ~np.isin(mine, list(held)) & ~np.isin(part["others"], list(held))
            lines.append(part["features"][kept])
            same.append((mine == part["others"])[kept])
        return fit(np.vstack(lines), np.concatenate(same))

    model = refit()
    for _ in range(rounds):
        gathered.append(walk(readings, events, with_threshold(model, 0.45)))
        model = refit()
    return model


def cross_fit(readings: Sequence[Read], events: Sequence[str], seed: int, rounds: int) -> dict[str, Any]:
    """Cross-fitted figures; the threshold of a fold is the one that was best on the other folds' events."""
    order = sorted(set(events))
    np.random.default_rng(seed).shuffle(order)
    fold_of = {event: i % FOLDS for i, event in enumerate(order)}
    sums: dict[float, list[Any]] = {t: [] for t in THRESHOLDS}
    for fold in range(FOLDS):
        model = train_on(readings, events, {e for e in order if fold_of[e] == fold}, rounds)
        mine = [n for n, e in enumerate(events) if fold_of[e] == fold]
        for t in THRESHOLDS:
            sums[t].append(tally(walk(readings, events, with_threshold(model, t))["assigned"], events, mine))
    total, worst, chosen = np.zeros(6), 0, []
    for fold in range(FOLDS):
        quality = {t: figures(sum(s for i, (s, _) in enumerate(sums[t]) if i != fold)) for t in THRESHOLDS}
        best = max(THRESHOLDS, key=lambda t: quality[t]["bcubed_f1"] + 0.5 * quality[t]["pair_f1"])
        chosen.append(best)
        total += sums[best][fold][0]
        worst = max(worst, sums[best][fold][1])
    return {
        **figures(total),
        "largest_wrong_merge": worst,
        "thresholds": chosen,
        "by_threshold": {
            t: {**figures(sum(s for s, _ in sums[t])), "worst": max(w for _, w in sums[t])}
            for t in THRESHOLDS
        },
    }


def by_time(
    readings: Sequence[Read], ids: Sequence[str], events: Sequence[str], threshold: float, rounds: int
) -> dict[str, Any]:
    """Weights from the first two thirds of the messages, figures on the last third alone."""
    cut = len(readings) * 2 // 3
    model = train_on(readings[:cut], events[:cut], set(), rounds)
    assigned = walk(readings, events, with_threshold(model, threshold))["assigned"]
    sums, worst = tally(assigned, events, range(cut, len(readings)))
    return {**figures(sums), "largest_wrong_merge": worst}


def install(model: ClusterModel, measured: Mapping[str, Any]) -> None:
    """Write the model files beside the code."""
    assert model.trees is not None
    pack = io.BytesIO()
    np.savez(pack, **{name: getattr(model.trees, name) for name in Trees.FIELDS})
    TREES.write_bytes(lzma.compress(pack.getvalue(), preset=9))
    WEIGHTS.write_text(
        json.dumps(
            {
                "version": model.version,
                "bias": model.bias,
                "threshold": model.threshold,
                "mix": model.mix,
                "weights": dict(model.weights),
                "figures": dict(measured),
            },
            ensure_ascii=False,
            indent=1,
        )
        + "\n",
        "utf-8",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and install when told to."""
    parser = argparse.ArgumentParser(prog="python -m analysis.train_cluster", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--install", action="store_true", help="write the model files")
    parser.add_argument("--grams", action="store_true", help="count the rarity of characters anew (first)")
    parser.add_argument("--rounds", type=int, default=0, help="refits on the model's own decisions")
    parser.add_argument("--seeds", type=int, default=1, help="repetitions of the cross-fit")
    given = parser.parse_args(argv)
    if given.grams:
        GRAMS.write_bytes(lzma.compress(count_grams(background(given.data)), preset=9))
    readings, ids, events = labelled(given.data)
    _say(f"{len(readings)} messages, {len(set(events))} events")
    measured: dict[str, Any] = {}
    for seed in range(given.seeds):
        measured = cross_fit(readings, events, seed, given.rounds)
        for t, line in measured.pop("by_threshold").items():
            _say(f"  threshold {t}: {line}")
        _say(f"cross-fitted by event, seed {seed}: {measured}")
    threshold = sorted(measured["thresholds"])[len(measured["thresholds"]) // 2]
    later = by_time(readings, ids, events, threshold, given.rounds)
    _say(f"fitted on the first two thirds, measured on the rest: {later}")
    if given.install:
        model = with_threshold(train_on(readings, events, set(), given.rounds), threshold)
        install(model, {"by_event": measured, "by_time": later, "messages": len(readings)})
        _say(f"installed {VERSION}, threshold {threshold}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
