"""Figures of a judgement against labels: accuracy, F1, weighted kappa, calibration, BCubed. Plain numpy."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Answers = Sequence[tuple[str, ...]]
WATCHED = ("schooling", "housing", "food_safety")


def f1(truth: Any, guess: Any) -> float:
    """F1 of two boolean arrays; 0 when nothing is there to find."""
    hit = float((truth & guess).sum())
    total = float(truth.sum() + guess.sum())
    return 2 * hit / total if total else 0.0


def settle(guess: Sequence[str], answers: Answers) -> Any:
    """The truth to compare with: the guess itself where it is among the accepted answers."""
    return np.array([g if g in a else a[0] for g, a in zip(guess, answers, strict=True)])


def weighted_kappa(truth: Any, guess: Any, classes: int = 4) -> float:
    """Cohen's kappa with quadratic weights over 0..classes-1."""
    seen = np.zeros((classes, classes))
    for t, g in zip(truth, guess, strict=True):
        seen[int(t), int(g)] += 1
    grid = (np.arange(classes)[:, None] - np.arange(classes)[None, :]) ** 2.0
    chance = np.outer(seen.sum(axis=1), seen.sum(axis=0)) / max(seen.sum(), 1)
    return float(1 - (grid * seen).sum() / max((grid * chance).sum(), 1e-12))


def macro_f1(truth: Any, guess: Any) -> float:
    """Mean F1 of the classes that occur in either."""
    return float(np.mean([f1(truth == c, guess == c) for c in np.unique(np.concatenate([truth, guess]))]))


def report_task(task: str, guess: Any, answers: Answers) -> dict[str, float]:
    """The figures of one task."""
    guess = np.asarray(guess).astype(str)
    truth = settle(list(guess), answers)
    out = {"accuracy": float((truth == guess).mean()), "macro_f1": macro_f1(truth, guess)}
    if task == "tone":
        out |= {f"f1_{c}": f1(truth == c, guess == c) for c in ("neg", "neu", "pos")}
    elif task == "signal":
        out["f1_y"] = f1(truth == "y", guess == "y")
    elif task == "domain":
        out |= {f"f1_{c}": f1(truth == c, guess == c) for c in WATCHED}
    elif task == "risk":
        out["weighted_kappa"] = weighted_kappa(truth, guess)
        out["recall_3"] = float(((truth == "3") & (guess == "3")).sum() / max((truth == "3").sum(), 1))
    return {name: round(value, 4) for name, value in out.items()}


def expected_calibration_error(p: Any, labels: Any, answers: Answers, bins: int = 10) -> float:
    """Mean gap between the confidence of the best class and how often it is right."""
    best = p.argmax(axis=1)
    confidence = p.max(axis=1)
    right = np.array([str(labels[b]) in a for b, a in zip(best, answers, strict=True)])
    total = 0.0
    for low in np.linspace(0, 1, bins, endpoint=False):
        inside = (confidence > low) & (confidence <= low + 1 / bins)
        if inside.any():
            total += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
    return float(total)


def search_offsets(p: Any, labels: Any, answers: Answers, task: str) -> Any:
    """Log-odds added to each class so that the task's own figure is best (coordinate search)."""
    logs = np.log(p + 1e-12)
    offsets = np.zeros(len(labels))
    names = np.asarray(labels).astype(str)

    def figure(candidate: Any) -> float:
        out = report_task(task, names[(logs + candidate).argmax(axis=1)], answers)
        return (
            out["weighted_kappa"] + 0.5 * out["macro_f1"]
            if task == "risk"
            else out["macro_f1"] + out["accuracy"]
        )

    best = figure(offsets)
    for _ in range(2):
        for c in range(len(labels)):
            for step in (-0.6, -0.4, -0.2, 0.2, 0.4, 0.6, 0.9):
                trial = offsets.copy()
                trial[c] += step
                value = figure(trial)
                if value > best + 1e-4:
                    best, offsets = value, trial
    return offsets


def bcubed(guess: Mapping[str, Any], gold: Mapping[str, Any]) -> dict[str, float]:
    """BCubed and pairwise figures of a clustering over the ids of `gold`, and its largest wrong merge."""
    cluster: dict[Any, set[str]] = defaultdict(set)
    event: dict[Any, set[str]] = defaultdict(set)
    for key, name in gold.items():
        cluster[guess[key]].add(key)
        event[name].add(key)
    precision = recall = 0.0
    for key, name in gold.items():
        common = len(cluster[guess[key]] & event[name])
        precision += common / len(cluster[guess[key]])
        recall += common / len(event[name])
    n = max(len(gold), 1)
    precision, recall = precision / n, recall / n
    together = sum(
        k * (k - 1) // 2 for k in Counter((guess[key], name) for key, name in gold.items()).values()
    )
    said = sum(len(c) * (len(c) - 1) // 2 for c in cluster.values())
    true = sum(len(e) * (len(e) - 1) // 2 for e in event.values())
    pair_p, pair_r = together / max(said, 1), together / max(true, 1)
    wrong = max((len(c) - max(Counter(gold[key] for key in c).values()) for c in cluster.values()), default=0)
    return {
        "bcubed_precision": round(precision, 4),
        "bcubed_recall": round(recall, 4),
        "bcubed_f1": round(2 * precision * recall / max(precision + recall, 1e-12), 4),
        "pair_precision": round(pair_p, 4),
        "pair_recall": round(pair_r, 4),
        "pair_f1": round(2 * pair_p * pair_r / max(pair_p + pair_r, 1e-12), 4),
        "clusters": len(cluster),
        "largest_wrong_merge": wrong,
    }
