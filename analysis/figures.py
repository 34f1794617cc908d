"""Every figure of judging beside its target and a baseline, each with how it was obtained; what cannot be had says why.

Three kinds of figures: stored in the model file by training (cross-validated on the shared labelled posts), computed now on
the invented frozen posts, and computed now on the folder of shared data. Nothing here reads the database.
"""

from __future__ import annotations

import csv
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from analysis.adapt import Guess
from analysis.cluster import Clusterer, ClusterItem
from analysis.judge import Judge, JudgeInput, JudgeOutput
from analysis.linear import TASKS, LinearModel
from analysis.measures import bcubed, expected_calibration_error, macro_f1, report_task
from analysis.places import find_places
from analysis.verdict import answer_of, frozen_posts, judge_frozen

STORED = "stored by training: 5-fold cross-validation, near-duplicates together"
INVENTED = "now, on the invented frozen posts"
NOW = "now, on the shared data"
ABSENT = "absent: QUANSHENG_DATA not set (or --data)"


@dataclass(frozen=True)
class Figure:
    """One figure. `least` or `most` is the target; `value` None: not to be had here, `how` says why."""

    area: str
    name: str
    value: float | None
    how: str
    n: int | None = None
    least: float | None = None
    most: float | None = None
    baseline: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the target is reached; None without a target or a value."""
        if self.value is None or (self.least is None and self.most is None):
            return None
        return (self.least is None or self.value >= self.least) and (
            self.most is None or self.value <= self.most
        )

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {**asdict(self), "met": self.met}

    def cells(self) -> list[str]:
        """For a table: area, name, value, target, reached, baseline, n, how."""
        value = (
            "-"
            if self.value is None
            else f"{self.value:,.0f}"
            if abs(self.value) >= 100
            else f"{self.value:.3f}"
        )
        target = (
            f">= {self.least:g}"
            if self.least is not None
            else f"<= {self.most:g}"
            if self.most is not None
            else ""
        )
        reached = {True: "yes", False: "NO", None: ""}[self.met]
        count = "" if self.n is None else f"{self.n:,}"
        return [self.area, self.name, value, target, reached, self.baseline, count, self.how]


COLUMNS = ["area", "figure", "value", "target", "met", "baseline", "n", "how"]
#: task, name in report_task, target, what two careful people reach
_TASKS: tuple[tuple[str, str, float | None, str], ...] = (
    ("tone", "accuracy", None, "two people 0.92"),
    ("tone", "macro_f1", 0.86, ""),
    ("tone", "f1_neg", None, ""),
    ("signal", "accuracy", None, "two people 0.97"),
    ("signal", "f1_y", 0.95, "character SVM 0.886"),
    ("domain", "accuracy", 0.88, "character SVM 0.78; two people 0.93"),
    ("domain", "f1_schooling", 0.92, "character SVM 0.79"),
    ("domain", "f1_housing", 0.92, "character SVM 0.86"),
    ("domain", "f1_food_safety", 0.88, "character SVM 0.70"),
    ("risk", "accuracy", None, "character SVM 0.85; two people 0.91"),
    ("risk", "weighted_kappa", 0.85, "two people 0.93"),
    ("risk", "recall_3", 0.95, ""),
)


def stored(model: LinearModel) -> list[Figure]:
    """What training measured and wrote into the model file."""
    figures = model.figures
    n = int(figures.get("posts", 0)) or None
    how = STORED
    if figures.get("adapted"):
        how += " (of the model before it was adapted to corrections)"
    snow = figures.get("snownlp", {})
    out = []
    for task, name, least, baseline in _TASKS:
        if task == "tone" and name in snow:
            baseline = "; ".join(part for part in (f"SnowNLP alone {snow[name]:.3f}", baseline) if part)
        value = figures[task]["with_offsets"].get(name)
        out.append(Figure(task, name, value, how, n, least, baseline=baseline))
    out += [Figure(task, "calibration error", figures[task].get("ece"), how, n, most=0.05) for task in TASKS]
    classes = figures.get("complaint_classes", {})
    how_classes = "stored by training: fixed part `test` of the complaint classes, same features; not part of the product"
    out.append(
        Figure(
            "complaints",
            "7 classes, macro_f1",
            classes.get("macro_f1"),
            how_classes,
            None,
            0.94,
            baseline="published 0.93, SVC 0.92",
        )
    )
    out.append(
        Figure(
            "complaints",
            "the same without near-copies of `train`",
            classes.get("macro_f1_without_near_duplicates"),
            how_classes,
        )
    )
    return out


def invented(judge: Judge) -> list[Figure]:
    """The frozen posts, judged now; SnowNLP beside."""
    rows, outputs = frozen_posts(), judge_frozen(judge)
    out = []
    snow_guess = ["neg" if o.snownlp_score < 0.5 else "pos" for o in outputs]
    answers = [(str(row["tone"]),) for row in rows]
    snow = report_task("tone", snow_guess, answers)
    for task, name, least, _ in _TASKS:
        report = report_task(task, [answer_of(o, task) for o in outputs], [(str(r[task]),) for r in rows])
        baseline = f"SnowNLP alone {snow[name]:.3f}" if task == "tone" and name in snow else ""
        out.append(Figure(task, name, report[name], INVENTED, len(rows), least, baseline=baseline))
    fires = [row for row in rows if row["fast"]]
    heard = sum(o.fast for row, o in zip(rows, outputs, strict=True) if row["fast"])
    raised = sum(o.fast for o in outputs)
    out.append(Figure("fast track", "recall", heard / max(len(fires), 1), INVENTED, len(fires), 0.98))
    out.append(Figure("fast track", "precision", heard / max(raised, 1), INVENTED, raised))
    out.append(
        Figure(
            "judging",
            "share sent to a person",
            sum(o.abstain for o in outputs) / len(rows),
            INVENTED,
            len(rows),
        )
    )
    return out


def tone_of_snownlp(judge: Judge, data: Path) -> list[Figure]:
    """How well SnowNLP's own value ranks negative posts."""
    gold = _lines(data / "posts_gold.jsonl")
    scores = [o.snownlp_score for o in _judged(judge, gold)]
    negative = np.array(["neg" in row["tone"].split("|") for row in gold])
    value = auc([-score for score in scores], negative)
    return [Figure("tone", "SnowNLP alone, AUC for negative", value, NOW, len(gold), baseline="0.74")]


def auc(score: Sequence[float], truth: Any) -> float:
    """Area under the ROC curve by ranks; ties count half."""
    _, inverse, counts = np.unique(np.asarray(score), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[inverse]
    t = np.asarray(truth, bool)
    positives = int(t.sum())
    if not positives or positives == len(t):
        return float("nan")
    return float((ranks[t].sum() - positives * (positives + 1) / 2) / (positives * (len(t) - positives)))


def message_item(row: Mapping[str, Any]) -> ClusterItem:
    """A message of `complaints_stream.jsonl` as clustering reads it."""
    places, districts = find_places(f"{row['title']}\n{row['text']}", None)
    return ClusterItem(
        row["id"],
        row["title"],
        row["text"],
        datetime.fromisoformat(row["published_at"]),
        tuple(places),
        row["author"],
        tuple(districts),
    )


def clustering(data: Path) -> list[Figure]:
    """One pass over the stream of messages against the gold events (on which the weights were fitted)."""
    stream = _lines(data / "complaints_stream.jsonl")
    with (data / "complaints_events.csv").open(encoding="utf-8", newline="") as handle:
        gold = {row["id"]: row["event"] for row in csv.DictReader(handle)}
    clusterer, found = Clusterer(), {}
    for row in stream:
        if row["id"] not in gold:
            continue  # later messages are kept aside
        found[row["id"]] = clusterer.assign(message_item(row)).incident
    seen = {key: gold[key] for key in found}
    ours, apart = bcubed(found, seen), bcubed({key: n for n, key in enumerate(seen)}, seen)
    how = (
        NOW
        + " (messages before July 2019: its weights were fitted on them; held-out figures in docs/quality.md)"
    )
    return [
        Figure(
            "incidents",
            "BCubed F1",
            ours["bcubed_f1"],
            how,
            len(seen),
            0.965,
            baseline=f"all apart {apart['bcubed_f1']:.3f}, TF-IDF nearest 0.922, two people 0.988",
        ),
        Figure(
            "incidents",
            "pairwise F1",
            ours["pair_f1"],
            how,
            len(seen),
            0.9,
            baseline="TF-IDF nearest 0.662, two people 0.980",
        ),
        Figure(
            "incidents", "largest wrong merge", float(ours["largest_wrong_merge"]), how, len(seen), most=3
        ),
    ]


def emergencies(judge: Judge, data: Path) -> list[Figure]:
    """Hazard words heard in reports on emergencies (they play in other cities: that guard is left out)."""
    with (data / "emergency_reports" / "docs.csv").open(encoding="utf-8", newline="") as handle:
        reports = [f"{row['title']}\n{row['text']}" for row in csv.DictReader(handle)]
    words = judge.reader.words
    heard = sum(bool(words.read(text).categories & words.fast) for text in reports)
    return [
        Figure("fast track", "emergency reports heard", heard / max(len(reports), 1), NOW, len(reports), 0.98)
    ]


def speed(judge: Judge) -> list[Figure]:
    """Judging on one core, posts of 270 characters put together from the frozen ones; memory of this process."""
    texts = [row["text"] for row in frozen_posts()]
    posts: list[JudgeInput] = []
    at = 0
    while len(posts) < 600:
        text = ""
        while len(text) < 270:
            text += texts[at % len(texts)] + "。"
            at += 1
        posts.append(JudgeInput(len(posts), "", text[:270]))
    judge.judge_batch(posts[:50])
    begun = time.process_time()
    for start in range(0, len(posts), 200):
        judge.judge_batch(posts[start : start + 200], explain=False)
    rate = len(posts) / max(time.process_time() - begun, 1e-9)
    how = "now, CPU seconds of one core"
    out = [
        Figure("speed", "posts/s, 270 characters", rate, how, len(posts), 2000, baseline="stock SnowNLP 22.7")
    ]
    memory = resident_mb()
    if memory is not None:
        out.append(Figure("speed", "resident memory, MB", memory, "now, this process", None, most=400))
    return out


def resident_mb() -> float | None:
    """Memory of this process, or None where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


#: figures whose measuring takes minutes: what, target, script of a source checkout that measures it
LONG: tuple[tuple[str, str, float | None, float | None, str], ...] = (
    ("incidents", "peers from PyPI, cost at up to 1,000,000 incidents", None, None, "cluster_peers.py"),
    ("places", "precision and recall; complaint about whom", None, None, "analysis_places.py"),
    ("fast track", "recall on gold emergencies, precision on 100,000 posts", 0.98, None, "analysis_fast.py"),
    (
        "emergence",
        "false alarms a week against the setting; delay and recall",
        None,
        1.5,
        "analysis_emergence.py",
    ),
    ("topics", "stability and labels", None, None, "analysis_topics.py"),
    ("speed", "judging and clustering beside stock SnowNLP", 2000, None, "analysis_speed.py"),
)


def elsewhere(scripts: Path) -> list[Figure]:
    """Figures that only a benchmark gives, with the command."""
    out = []
    for area, name, least, most, script in LONG:
        how = f"not computed here: python benchmarks/{script} (or quansheng eval --full); figures in docs/quality.md"
        if not (scripts / script).is_file():
            how = f"not computed here: benchmarks/{script} is not in this installation; figures in docs/quality.md"
        out.append(Figure(area, name, None, how, None, least, most))
    return out


def taught(guess: Guess, answers: Sequence[dict[str, str]], how: str) -> list[Figure]:
    """A model against what people of this installation said."""
    out = []
    for task in TASKS:
        rows = [(i, said[task]) for i, said in enumerate(answers) if task in said]
        if not rows:
            continue
        best = guess.best(task)
        right = np.array([best[i] == label for i, label in rows])
        labels = [(label,) for _, label in rows]
        p = guess.p[task][[i for i, _ in rows]]
        out += [
            Figure("your city", f"{task} accuracy", float(right.mean()), how, len(rows)),
            Figure(
                "your city",
                f"{task} macro_f1",
                macro_f1(np.array([label for _, label in rows]), np.array([best[i] for i, _ in rows])),
                how,
                len(rows),
            ),
            Figure(
                "your city",
                f"{task} calibration error",
                expected_calibration_error(p, guess.labels[task], labels),
                how,
                len(rows),
            ),
        ]
    return out


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def _judged(judge: Judge, rows: Iterable[dict[str, Any]]) -> list[JudgeOutput]:
    items = [JudgeInput(row["id"], row["title"], row["text"]) for row in rows]
    out: list[JudgeOutput] = []
    for start in range(0, len(items), 256):
        out += judge.judge_batch(items[start : start + 256], explain=False)
    return out
