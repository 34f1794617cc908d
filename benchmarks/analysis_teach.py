"""What a city's corrections are worth: `python benchmarks/analysis_teach.py [kinds] [posts measured]`.

Needs QUANSHENG_DATA. The labelled posts of some kinds (default: complaints to a city) play the city; a model is fitted
without them, from the other labelled posts alone. Then 50, 100, 200 and 400 of the city's posts are "corrected" (all their labels are
given), the model is adapted (analysis/adapt.py) with uncorrected posts of all kinds around, and measured on other posts of the city and
on posts of the other kinds that no model saw. Takes some minutes.
"""

from __future__ import annotations

import csv
import json
import os
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

from analysis import adapt
from analysis.adapt import Guess, Taught
from analysis.fastsnow import load_snow
from analysis.judge import Thresholds
from analysis.linear import TASKS, LinearModel
from analysis.measures import expected_calibration_error, report_task
from analysis.reading import Reader
from analysis.risk import RiskWords
from analysis.train import lines, train

MORE_LABELS = Path(adapt.__file__).parent / "more_labels.csv"
SIZES = (50, 100, 200, 400)
OTHERS, CITY_AROUND, OTHERS_AROUND = 900, 350, 700


def described(guess: Guess, rows: list[dict[str, Any]]) -> str:
    """The figures of one model on some posts."""
    out = []
    for task in TASKS:
        answers = [tuple(str(row[task]).split("|")) for row in rows]
        report = report_task(task, guess.best(task), answers)
        wanted = {
            "tone": ("accuracy", "macro_f1"),
            "signal": ("f1_y",),
            "domain": ("accuracy",),
            "risk": ("accuracy", "weighted_kappa", "recall_3"),
        }[task]
        error = expected_calibration_error(guess.p[task], guess.labels[task], answers)
        out.append(
            f"{task} " + " ".join(f"{name} {report[name]:.3f}" for name in wanted) + f" ece {error:.3f}"
        )
    return "; ".join(out)


def main(argv: list[str]) -> int:
    """Fit, adapt, measure."""
    folder = os.environ.get("QUANSHENG_DATA")
    if not folder:
        print("QUANSHENG_DATA is not set; it names the folder with posts_gold.jsonl", file=sys.stderr)
        return 2
    kinds = set((argv[0] if argv else "teddy_f2,teddy_f3,teddy_f4").split(","))
    measured = int(argv[1]) if len(argv) > 1 else 500
    gold, unlabelled = (
        lines(Path(folder) / "posts_gold.jsonl"),
        [row for row in lines(Path(folder) / "posts_unlabelled.jsonl") if row["id"][0] == "U"],
    )
    with MORE_LABELS.open(encoding="utf-8", newline="") as stream:
        labels = {row["id"]: row for row in csv.DictReader(stream)}
    chance = random.Random(0)
    city = [row for row in gold if row["kind"] in kinds]
    chance.shuffle(city)
    named = [
        {**row, **labels[row["id"]]} for row in unlabelled if row["id"] in labels and row["kind"] not in kinds
    ]
    chance.shuffle(named)
    others = named[:OTHERS]
    plain = [row for row in unlabelled if row["id"] not in labels]
    chance.shuffle(plain)
    around = [row for row in plain if row["kind"] in kinds][:CITY_AROUND]
    around += [row for row in plain if row["kind"] not in kinds][:OTHERS_AROUND]
    chance.shuffle(around)
    anchors = [(row["title"], row["text"]) for row in around]
    reader, offsets = Reader(load_snow(), RiskWords.load()), Thresholds.load().offsets
    with tempfile.TemporaryDirectory() as name:
        base, moved = Path(name) / "base.npz.xz", Path(name) / "moved.npz.xz"
        for file, rows in (
            ("posts_gold.jsonl", [row for row in gold if row["kind"] not in kinds]),
            ("posts_unlabelled.jsonl", [row for row in plain if row["kind"] not in kinds]),
        ):
            (Path(name) / file).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        packed, _ = train(Path(name), "without-the-city", lambda text: print(text, file=sys.stderr))
        base.write_bytes(packed)
        test, pool = city[:measured], city[measured:]
        sets = {"city": test, "others": others}
        for part, rows in sets.items():
            guess = adapt.judge_posts(base, offsets, [(r["title"], r["text"]) for r in rows], reader)
            print(f"before, {part} ({len(rows)}): {described(guess, rows)}", flush=True)
        for size in SIZES:
            if size > len(pool):
                break
            taught = [
                Taught(n, row["title"], row["text"], {task: row[task].split("|")[0] for task in TASKS})
                for n, row in enumerate(pool[:size])
            ]
            done = adapt.adapt(base, offsets, taught, anchors, "adapted", reader)
            moved.write_bytes(done.packed)
            LinearModel.load.cache_clear()
            for part, rows in sets.items():
                guess = adapt.judge_posts(
                    moved, done.offsets, [(r["title"], r["text"]) for r in rows], reader
                )
                print(f"{size} corrections, {part} ({len(rows)}): {described(guess, rows)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
