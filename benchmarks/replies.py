"""Figures of reading answers: `python -m benchmarks.replies [fit]`.

Needs QUANSHENG_DATA (complaints with a department's answer, `explained` labelled by one team on all rows, `complete` on 100). The rows
are split by a hash of their id: patterns, thresholds and weights were made on part `train` alone, every figure is of part `test`.
`reply_promises.csv` holds ids and due days, no text: answers of part `test` read by one person for what they promise. `fit` fits the
weights of analysis/replies.py on part `train` and writes them; it needs scikit-learn.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from analysis.asks import CasePost, asks_of
from analysis.likeness import cosine, percentile, terms
from analysis.replies import (
    ANSWERED,
    FEATURES,
    WEIGHTS,
    TemplateIndex,
    case_terms,
    features_of,
    probability,
)
from analysis.replies import _answered as answered
from analysis.reply_parts import ELEMENTS, read_parts
from analysis.reply_promises import promises_in

HERE = Path(__file__).parent
ZONE = ZoneInfo("Asia/Shanghai")
Row = dict[str, Any]


def part_of(ident: str) -> str:
    """`train` or `test`, fixed by the id."""
    return "test" if hashlib.sha256(ident.encode()).digest()[0] % 2 else "train"


def load() -> list[Row]:
    """The rows of replies.jsonl, or a plain word that they are not there."""
    folder = os.environ.get("QUANSHENG_DATA")
    if not folder:
        sys.exit(
            "QUANSHENG_DATA is not set: these figures need the folder with replies.jsonl, which is not part of this project"
        )
    path = Path(folder) / "replies.jsonl"
    if not path.is_file():
        sys.exit(f"{path} is not there")
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


class Read:
    """One row as the reading sees it."""

    def __init__(self, row: Row) -> None:
        self.row = row
        self.post = CasePost(1, row["title"], row["text"])
        self.case = case_terms([self.post])
        self.reply = terms(row["reply"])
        self.parts = read_parts(row["reply"])
        self.likeness = cosine(self.reply, self.case)
        self.asks = answered(asks_of([self.post]), row["reply"], self.parts)
        self.features = features_of(self.parts, row["reply"], self.asks, self.likeness)


# --- the public baseline ------------------------------------------------------------------------------------------------

#: as the public solution counts completeness: polite, date, agency, telephone, thanks
_MARKS = (
    re.compile("[您你]好|尊敬的"),
    re.compile(r"\d{4}年\d{1,2}月\d{1,2}日"),
    re.compile("局|委|办|政府|街道|中心|公司"),
    re.compile(r"电话|\d{7,11}"),
    re.compile("感谢|谢谢"),
)


def marks(reply: str) -> int:
    """How many of the five marks of form an answer has."""
    return sum(1 for mark in _MARKS if mark.search(reply))


def best_cut(values: Sequence[float], truth: Sequence[bool]) -> float:
    """The threshold with the best accuracy on these rows (train rows only)."""
    return max(
        sorted(set(values)), key=lambda cut: sum((v >= cut) == t for v, t in zip(values, truth, strict=True))
    )


# --- measures -----------------------------------------------------------------------------------------------------------


def measures(guess: Sequence[bool], truth: Sequence[bool]) -> dict[str, float]:
    """Accuracy, F1 of both classes as mean, F1 of the rarer class, kappa."""
    g, t = np.array(guess), np.array(truth)
    accuracy = float((g == t).mean())
    ones = [_f1(g, t), _f1(~g, ~t)]
    chance = float(g.mean() * t.mean() + (1 - g.mean()) * (1 - t.mean()))
    return {
        "accuracy": accuracy,
        "macro_f1": sum(ones) / 2,
        "f1_no": ones[1],
        "kappa": (accuracy - chance) / (1 - chance) if chance < 1 else 0.0,
    }


def _f1(guess: Any, truth: Any) -> float:
    hit = int((guess & truth).sum())
    return 2 * hit / (int(guess.sum()) + int(truth.sum())) if guess.any() or truth.any() else 0.0


def _line(name: str, found: dict[str, float]) -> str:
    cells = " | ".join(f"{found[k]:.3f}" for k in ("accuracy", "macro_f1", "f1_no", "kappa"))
    return f"| {name} | {cells} |"


def agreement(
    train: Sequence[Read], test: Sequence[Read], task: str, value: Callable[[Row], bool | None]
) -> None:
    """The table of one human label: ours beside the baseline and the commonest answer."""
    known = [r for r in train if value(r.row) is not None]
    held = [r for r in test if value(r.row) is not None]
    told, truth = [bool(value(r.row)) for r in known], [bool(value(r.row)) for r in held]
    print(f"\n{task}: train {len(known)} ({sum(told)} yes), test {len(held)} ({sum(truth)} yes)")
    print("| | accuracy | macro F1 | F1 of 'no' | kappa |\n|---|---|---|---|---|")
    print(_line("always yes", measures([True] * len(held), truth)))
    if task == "explained":
        mean = float(np.mean([r.row["reply"].count("《") for r in known]))
        print(
            _line(
                "baseline: 《 over the mean",
                measures([r.row["reply"].count("《") > mean for r in held], truth),
            )
        )
    else:
        cut = best_cut([marks(r.row["reply"]) for r in known], told)
        print(
            _line(
                f"baseline: marks of form ≥ {cut}",
                measures([marks(r.row["reply"]) >= cut for r in held], truth),
            )
        )
    cut = best_cut([r.likeness for r in known], told)
    print(_line("baseline: cosine ≥ best on train", measures([r.likeness >= cut for r in held], truth)))
    cut = best_cut([len(r.row["reply"]) for r in known], told)
    print(_line(f"length alone ≥ {cut:.0f}", measures([len(r.row["reply"]) >= cut for r in held], truth)))
    counts = [sum(r.parts.elements[e] is not None for e in ELEMENTS) for r in known]
    cut = best_cut(counts, told)
    print(
        _line(
            f"reading: elements ≥ {cut}",
            measures([sum(r.parts.elements[e] is not None for e in ELEMENTS) >= cut for r in held], truth),
        )
    )
    if task == "explained":
        print(
            _line(
                "reading: says more than a referral", measures([bool(r.parts.substance) for r in held], truth)
            )
        )
    print(
        _line(
            "reading: fitted on train", measures([probability(task, r.features) >= 0.5 for r in held], truth)
        )
    )


def relevance(test: Sequence[Read], others: int = 200) -> None:
    """How often an answer is nearer to its own case than to other cases, and the other way round."""
    own: list[float] = []
    rows: list[float] = []
    forms: list[float] = []
    step = max(1, len(test) // others)
    for at, one in enumerate(test):
        rest = [other for other in test[at % step :: step] if other is not one]
        place = percentile(one.likeness, [cosine(one.reply, other.case) for other in rest]) or 0.0
        own.append(place)
        rows.append(percentile(one.likeness, [cosine(other.reply, one.case) for other in rest]) or 0.0)
        if one.parts.only_referral:
            forms.append(place)
    print(
        f"\nrelevance, {len(test)} test answers against about {others} other cases each (no domain is given in the data)"
    )
    print(
        f"mean percentile (AUC) of the own case among other cases: {np.mean(own):.3f}; median {np.median(own):.3f}"
    )
    print(f"mean percentile of the true answer among other answers: {np.mean(rows):.3f}")
    print(f"mean percentile of the {len(forms)} answers that only refer: {np.mean(forms):.3f}")
    print(f"own case nearest of all: {np.mean([place >= 1 - 1e-9 for place in own]):.3f}")


def coverage(name: str, reads: Sequence[Read]) -> None:
    """Asks that an answer takes up: its own case's against those of another case."""
    own = [one.answered for r in reads for one in r.asks]
    strange: list[bool] = []
    for at, one in enumerate(reads):
        for other in answered(asks_of([reads[at - 7].post]), one.row["reply"], one.parts):
            strange.append(other.answered)
    print(
        f"asks ({name}): {len(own)}; answered by the own answer {np.mean(own):.3f}, by the answer to another case "
        f"{np.mean(strange):.3f} (threshold {ANSWERED})"
    )


def promises(rows: Iterable[Row]) -> None:
    """Promises found against the labels: due days of each labelled answer."""
    wanted: dict[str, list[tuple[str, bool]]] = {}
    with (HERE / "reply_promises.csv").open(encoding="utf-8", newline="") as handle:
        for line in csv.DictReader(handle):
            due = wanted.setdefault(line["id"], [])
            if line["due"]:
                due.append((line["due"], line["sure"] == "1"))
    hit = miss = false = answers = 0
    for row in rows:
        if row["id"] not in wanted:
            continue
        answers += 1
        given = wanted[row["id"]]
        for one in promises_in(row["reply"], datetime.fromisoformat(row["replied_at"]), ZONE):
            day = (
                (one.due_at.astimezone(ZONE) - timedelta(days=1)).date().isoformat()
                if one.due_at
                else "workdays"
            )
            match = next((g for g in given if g[0] == day), None)
            if match is None:
                false += 1
            else:
                given.remove(match)
                hit += match[1]
        miss += sum(sure for _, sure in given)
    print(
        f"\npromises: {answers} answers read, {hit + miss} promises with a day; found with the right day {hit}, "
        f"missed {miss}, wrong {false}: precision {hit / max(1, hit + false):.2f}, recall {hit / max(1, hit + miss):.2f}"
    )


def templates(reads: Sequence[Read]) -> None:
    """Share of answers that nearly equal others, and of what the reading finds."""
    index = TemplateIndex()
    for r in reads:
        index.add(r.row["id"], r.row["reply"])
    counts = [index.count(r.row["reply"], r.row["id"]) for r in reads]
    print(
        f"\nform letters among {len(reads)} answers: like one other {np.mean([n >= 1 for n in counts]):.3f}, "
        f"like five others or more {np.mean([n >= 5 for n in counts]):.3f}"
    )
    for name, value in (
        ("only a referral or a receipt", [not r.parts.substance for r in reads]),
        ("推诿", [r.parts.buck_passing is not None for r in reads]),
        ("blame words", [r.parts.blame is not None for r in reads]),
        ("greeting and closing", [r.parts.courtesy for r in reads]),
        ("a citation with article", [any(c.article for c in r.parts.citations) for r in reads]),
        ("a citation that is known", [any(c.valid for c in r.parts.citations) for r in reads]),
        *((f"element {e}", [r.parts.elements[e] is not None for r in reads]) for e in ELEMENTS),
    ):
        print(f"  {name}: {np.mean(value):.3f}")


def fit(train: Sequence[Read]) -> None:
    """Logistic weights on part `train`, written to analysis/models/replies.json."""
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.model_selection import cross_val_score  # type: ignore[import-untyped]

    found: dict[str, Any] = {"version": "reply-1", "features": list(FEATURES)}
    for task, value, balance in (("explained", explained, None), ("complete", complete, "balanced")):
        known = [r for r in train if value(r.row) is not None]
        # 50 rows carry one feature: on train the length of what is said was better than with any other beside it
        used = list(FEATURES) if task == "explained" else ["characters"]
        x = np.array([[r.features[name] for name in used] for r in known])
        y = np.array([bool(value(r.row)) for r in known])
        model = LogisticRegression(class_weight=balance, max_iter=2000)
        print(
            task,
            len(known),
            "accuracy in 5 folds of train",
            cross_val_score(model, x, y, cv=5).mean().round(4),
        )
        model.fit(x, y)
        found[task] = {
            "bias": round(float(model.intercept_[0]), 4),
            "weights": [
                dict(zip(used, model.coef_[0].round(4).tolist(), strict=True)).get(f, 0.0) for f in FEATURES
            ],
        }
    WEIGHTS.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


def explained(row: Row) -> bool | None:
    """The team's label on every row."""
    return None if row["explained"] is None else str(row["explained"]) == "1"


def complete(row: Row) -> bool | None:
    """The label that 100 rows have."""
    return None if row["complete"] is None else float(row["complete"]) == 1.0


def main() -> None:
    """Print every figure, or fit the weights."""
    rows = load()
    reads = [Read(row) for row in rows if part_of(row["id"]) == "train" or "fit" not in sys.argv]
    train = [r for r in reads if part_of(r.row["id"]) == "train"]
    if "fit" in sys.argv:
        fit(train)
        coverage("train", train)
        return
    test = [r for r in reads if part_of(r.row["id"]) == "test"]
    agreement(train, test, "explained", explained)
    agreement(train, test, "complete", complete)
    relevance(test)
    coverage("test", test)
    promises(r.row for r in test)
    templates(reads)


if __name__ == "__main__":
    main()
