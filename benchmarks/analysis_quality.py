"""Figures of judging and clustering against labels: `python benchmarks/analysis_quality.py`.

Needs QUANSHENG_DATA. Prints, each beside its baseline: the cross-validated figures stored in the model file (folds never
split near-duplicates), SnowNLP alone, clustering against the gold events (messages before July 2019, on which its
weights were fitted), the two largest matters of the later stream, and the fast track on emergency reports.
"""

from __future__ import annotations

import csv
import io
import json
import lzma
import os
import sys
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from analysis.cluster import Clusterer, ClusterItem
from analysis.judge import Judge, JudgeInput
from analysis.linear import MODEL
from analysis.measures import bcubed
from analysis.places import find_places


def rows(path: Path) -> list[dict[str, Any]]:
    """A JSON Lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def stored_figures() -> dict[str, Any]:
    """What training measured by cross-validation."""
    with np.load(io.BytesIO(lzma.decompress(MODEL.read_bytes()))) as pack:
        figures: dict[str, Any] = json.loads(str(pack["meta"][0]))["figures"]
    return figures


def auc(score: list[float], truth: list[bool]) -> float:
    """Area under the ROC curve by ranks; ties count half."""
    _, inverse, counts = np.unique(np.array(score), return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks = (ends - (counts - 1) / 2)[inverse]
    t = np.array(truth)
    positives = int(t.sum())
    return float((ranks[t].sum() - positives * (positives + 1) / 2) / (positives * (len(t) - positives)))


def clusters(stream: list[dict[str, Any]], *, author: bool) -> dict[str, int]:
    """id -> incident, one pass."""
    clusterer, out = Clusterer(), {}
    for row in stream:
        places, districts = find_places(f"{row['title']}\n{row['text']}", None)
        item = ClusterItem(
            row["id"],
            row["title"],
            row["text"],
            datetime.fromisoformat(row["published_at"]),
            tuple(places),
            row["author"] if author else None,
            tuple(districts),
        )
        out[row["id"]] = clusterer.assign(item).incident
    return out


def matter(
    stream: list[dict[str, Any]], assigned: dict[str, int], name: str, problem: str, since: str
) -> str:
    """How one known matter was grouped."""
    mine = [
        r["id"]
        for r in stream
        if r["published_at"] >= since and name in r["title"] + r["text"] and problem in r["title"] + r["text"]
    ]
    top, count = Counter(assigned[i] for i in mine).most_common(1)[0]
    foreign = sum(1 for i, c in assigned.items() if c == top and i not in set(mine))
    return f"{len(mine)} messages name it, {count} in one incident, {foreign} others in that incident"


def main() -> int:
    """Print everything."""
    folder = os.environ.get("QUANSHENG_DATA")
    if not folder:
        print("QUANSHENG_DATA is not set; it names the folder with posts_gold.jsonl", file=sys.stderr)
        return 2
    data = Path(folder)
    figures = stored_figures()
    print("cross-validated (5 folds, near-duplicates together), posts:", figures["posts"])
    for task in ("tone", "signal", "domain", "risk"):
        print(f"  {task}: {figures[task]['with_offsets']}  calibration error {figures[task]['ece']}")
    print(f"  SnowNLP alone, below 0.5 negative else positive: {figures['snownlp']}")
    gold = rows(data / "posts_gold.jsonl")
    judge = Judge.load()
    outputs = []
    for start in range(0, len(gold), 256):
        part = gold[start : start + 256]
        outputs += judge.judge_batch(
            [JudgeInput(r["id"], r["title"], r["text"]) for r in part], explain=False
        )
    negative = ["neg" in r["tone"].split("|") for r in gold]
    print(
        f"  SnowNLP's value as a score of 'negative': AUC {auc([-o.snownlp_score for o in outputs], negative):.3f}"
    )
    stream = rows(data / "complaints_stream.jsonl")
    with (data / "complaints_events.csv").open(encoding="utf-8", newline="") as handle:
        events = {row["id"]: row["event"] for row in csv.DictReader(handle)}
    for author in (True, False):
        assigned = clusters(stream, author=author)
        print(f"clustering, author {'known' if author else 'unknown'}: {bcubed(assigned, events)}")
    print("  everything apart:", bcubed({i: n for n, i in enumerate(events)}, events))
    assigned = clusters(stream, author=True)
    print("  parking spaces:", matter(stream, assigned, "滨河", "车位", "2019-07-01"))
    print("  mixing plant:", matter(stream, assigned, "丽发", "搅拌", "2019-11-01"))
    with (data / "emergency_reports" / "docs.csv").open(encoding="utf-8", newline="") as handle:
        reports = list(csv.DictReader(handle))
    fired = 0
    for report in reports:
        # the reports play in other cities: the guard against them is left out here
        text = f"{report['title']}\n{report['text']}"
        fired += bool(judge.reader.words.read(text).categories & judge.reader.words.fast)
    print(f"fast track, hazard words on {len(reports)} emergency reports: {fired / len(reports):.3f} heard")
    raised = [o for o in outputs if o.fast]
    grave = [r["risk"] for r, o in zip(gold, outputs, strict=True) if o.fast]
    print(
        f"fast track on the labelled posts (training rows): {len(raised)} raised, risk {dict(Counter(grave))}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
