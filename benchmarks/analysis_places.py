"""Figures of places and of whom a post complains about: `python -m benchmarks.analysis_places [dev|test|fit]`.

Needs QUANSHENG_DATA. `place_labels.csv` and `about_labels.csv` hold ids, character offsets (in title, line break, text,
cut at 400 characters) and labels, no text; a row of kind `none` is a post that names no place. Ids: of the stream of
complaints, of series U of the unlabelled posts, and E<n> for row n of the hot-search episodes. Half of the posts,
part `test`, was labelled before the code was run on it and was never used to change it. `fit` fits the weights of
analysis/about.py on part `dev` and writes them.
"""

from __future__ import annotations

import csv
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from analysis.about import FACTS, PARTIES, WEIGHTS, about, facts
from analysis.features import Prepared, prepare
from analysis.places import Gazetteer, Place, find_places, find_spans, normal_name

HERE = Path(__file__).parent
READ = 400
KINDS = ("district", "street", "estate", "school", "hospital", "road", "village", "organisation")
#: what the places file of the two cities would hold that the message board and the micro-blog posts come from
DISTRICTS = {
    "杭州市": "上城区 拱墅区 西湖区 滨江区 萧山区 余杭区 临平区 钱塘区 富阳区 临安区 桐庐县 淳安县 建德市 江干区 下城区",
    "福州市": "鼓楼区 台江区 仓山区 晋安区 马尾区 长乐区 闽侯县 连江县 罗源县 闽清县 永泰县 平潭县 福清市",
}
Mention = tuple[int, int, str]


def rows(path: Path) -> list[dict[str, Any]]:
    """A JSON Lines file."""
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def table(path: Path) -> list[dict[str, str]]:
    """A CSV file with a head line."""
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


def texts(data: Path, wanted: set[str]) -> dict[str, tuple[str, str]]:
    """Title and text of every labelled post."""
    found = {r["id"]: (r["title"] or "", r["text"] or "") for r in rows(data / "complaints_stream.jsonl")}
    found |= {r["id"]: (r["title"] or "", r["text"] or "") for r in rows(data / "posts_unlabelled.jsonl")}
    for number, row in enumerate(rows(data / "weibo_hot_civic_episodes.jsonl")):
        found[f"E{number}"] = (row["title"], row["description"] or "")
    return {i: found[i] for i in wanted}


def baseline(text: str) -> list[Mention]:
    """What a first try gives: two to four Chinese characters before a class word."""
    classes = {
        "estate": "小区|花园|公寓|家园|新城|苑|府", "school": "小学|中学|幼儿园|大学|学校|学院",
        "hospital": "医院|诊所", "road": "路|大道|街|大桥", "village": "村", "street": "街道|镇|乡",
        "organisation": "公司|银行|酒店|超市|市场|公园", "district": "区|县",
    }  # fmt: skip
    pattern = "|".join(f"(?P<{kind}>{words})" for kind, words in classes.items())
    return [
        (m.start(), m.end(), str(m.lastgroup))
        for m in re.finditer(f"[A-Z\u4e00-\u9fff][0-9\u4e00-\u9fff]{{1,3}}?(?:{pattern})", text)
    ]


def spans(text: str, gazetteer: Gazetteer | None = None) -> list[Mention]:
    """Ours; a firm known all over the country is an organisation."""
    return [
        (s.start, s.end, "organisation" if s.kind == "brand" else s.kind) for s in find_spans(text, gazetteer)
    ]


def f1(p: float, r: float) -> float:
    """Harmonic mean."""
    return 2 * p * r / (p + r) if p + r else 0.0


def meets(mention: Mention, others: Iterable[Mention]) -> bool:
    """Whether one of the others is of its kind and shares a character with it."""
    return any(mention[2] == k and mention[0] < e and s < mention[1] for s, e, k in others)


def score(gold: dict[str, list[Mention]], found: dict[str, list[Mention]], kind: str | None) -> str:
    """Exact and overlapping precision, recall, F1 of one kind, or of all (micro)."""
    exact = overlap = hit = predicted = labelled = 0
    for post, truth in gold.items():
        ours = [m for m in found[post] if kind in (None, m[2])]
        right = [m for m in truth if kind in (None, m[2])]
        predicted += len(ours)
        labelled += len(right)
        exact += len(set(ours) & set(right))
        overlap += sum(meets(m, right) for m in ours)
        hit += sum(meets(m, ours) for m in right)
    ep, er = exact / max(predicted, 1), exact / max(labelled, 1)
    op, orr = overlap / max(predicted, 1), hit / max(labelled, 1)
    return (
        f"{labelled:5d} labelled {predicted:5d} found   exact {ep:.3f} {er:.3f} {f1(ep, er):.3f}"
        f"   overlapping {op:.3f} {orr:.3f} {f1(op, orr):.3f}"
    )


def names(mentions: Sequence[Mention], text: str) -> set[tuple[str, str]]:
    """Kind and normal form of each distinct place: what is stored with a judgement."""
    return {(kind, normal_name(text[start:end])) for start, end, kind in mentions}


def places(data: Path, part: str) -> None:
    """Print the figures of places on one part."""
    labels = [r for r in table(HERE / "place_labels.csv") if r["part"] == part]
    gold: dict[str, list[Mention]] = {r["id"]: [] for r in labels}
    for r in labels:
        if r["kind"] != "none":
            gold[r["id"]].append((int(r["start"]), int(r["end"]), r["kind"]))
    body = {i: "\n".join(pair)[:READ] for i, pair in texts(data, set(gold)).items()}
    own = Gazetteer({d: () for names in DISTRICTS.values() for d in names.split()})
    ways: dict[str, Callable[[str], list[Mention]]] = {
        "two to four characters before a class word": baseline,
        "ours, no gazetteer": spans,
        "ours, districts of the two cities known": lambda text: spans(text, own),
    }
    print(f"places, part {part}, {len(gold)} posts (precision recall F1)")
    for name, way in ways.items():
        found = {i: way(text) for i, text in body.items()}
        print(f"  {name:45s} {score(gold, found, None)}")
        kept = {i: names(m, body[i]) for i, m in found.items()}
        truth = {i: names(m, body[i]) for i, m in gold.items()}
        right = sum(len(kept[i] & truth[i]) for i in gold)
        precision, recall = right / sum(map(len, kept.values())), right / sum(map(len, truth.values()))
        print(f"  {'':45s} distinct names: {precision:.3f} {recall:.3f} {f1(precision, recall):.3f}")
    found = {i: spans(text) for i, text in body.items()}
    for kind in KINDS:
        print(f"  {kind:45s} {score(gold, found, kind)}")
    for source, belongs in (
        ("complaints to a city, anonymised", str.isdigit),
        ("message board and micro-blog, questions", lambda i: i.startswith("U")),
        ("hot-search entries", lambda i: i.startswith("E")),
    ):
        some = {i: m for i, m in gold.items() if belongs(i)}
        print(f"  {source:45s} {score(some, found, None)}")


def complaints(data: Path, part: str) -> list[tuple[Prepared, list[Place], str]]:
    """Every post of a part made ready, its places, and whom it complains about."""
    labels = {r["id"]: r["about"] for r in table(HERE / "about_labels.csv") if r["part"] == part}
    ready = [
        (prepare(title, text[:READ]), party)
        for (title, text), party in ((pair, labels[i]) for i, pair in texts(data, set(labels)).items())
    ]
    return [(post, find_places(post.raw, None)[0], party) for post, party in ready]


def fit(data: Path) -> None:
    """Fit the weights on part `dev`, say what cross-validation gives, and write them."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]
    from sklearn.model_selection import StratifiedKFold, cross_val_predict  # type: ignore[import-untyped]

    posts = complaints(data, "dev")
    counts = [facts(post.title, post.body, found) for post, found, _ in posts]
    x = np.array([[row.get(fact, 0.0) for fact in FACTS] for row in counts])
    y = np.array([PARTIES.index(party) for _, _, party in posts])
    model = LogisticRegression(C=0.3, max_iter=2000)
    folds = StratifiedKFold(10, shuffle=True, random_state=0)
    told = [PARTIES[k] for k in cross_val_predict(model, x, y, cv=folds)]
    print("cross-validated on part dev:", parties([p for *_, p in posts], told))
    model.fit(x, y)
    weights = {fact: [round(float(w), 3) for w in model.coef_[:, n]] for n, fact in enumerate(FACTS)}
    bias = [round(float(b), 3) for b in model.intercept_]
    data_out = {"version": "about-1", "unsure": 0.4, "bias": bias, "weights": weights}
    WEIGHTS.write_text(json.dumps(data_out, indent=0) + "\n", "utf-8")


def parties(truth: Sequence[str], told: Sequence[str]) -> str:
    """Accuracy, macro-F1, F1 of each party, coverage and precision of what is named."""
    pairs = list(zip(truth, told, strict=True))
    scores = {}
    for party in PARTIES:
        right = sum(a == b == party for a, b in pairs)
        said, meant = sum(b == party for _, b in pairs), sum(a == party for a, _ in pairs)
        scores[party or "nobody"] = f1(right / max(said, 1), right / max(meant, 1))
    named = [(a, b) for a, b in pairs if b]
    blaming = [(a, b) for a, b in pairs if a]
    return (
        f"{len(pairs)} posts, accuracy {sum(a == b for a, b in pairs) / len(pairs):.3f}"
        f" macro-F1 {sum(scores.values()) / len(scores):.3f} "
        + " ".join(f"{name} {value:.3f}" for name, value in scores.items())
        + f"; named {len(named)}, of these right {sum(a == b for a, b in named) / max(len(named), 1):.3f};"
        f" of {len(blaming)} that blame somebody {sum(bool(b) for _, b in blaming) / max(len(blaming), 1):.3f} named,"
        f" {sum(a == b for a, b in blaming) / max(len(blaming), 1):.3f} rightly"
    )


def whom(data: Path, part: str) -> None:
    """Print the figures of whom a post complains about."""
    posts = complaints(data, part)
    truth = [party for *_, party in posts]
    print(f"about whom, part {part}")
    print("  everybody blames a company:", parties(truth, ["company"] * len(truth)))
    told = [about(post.title, post.body, found).about for post, found, _ in posts]
    print("  ours:", parties(truth, told))
    begun = time.process_time()
    for _ in range(5):
        for post, found, _party in posts:
            about(post.title, post.body, found)
    print(f"  {(time.process_time() - begun) / len(posts) / 5 * 1000:.3f} ms a post")


def speed(data: Path) -> None:
    """Milliseconds a complaint."""
    posts = [f"{r['title']}\n{r['text']}" for r in rows(data / "complaints_stream.jsonl")[:2000]]
    best = 9.0
    for _ in range(5):
        begun = time.process_time()
        for text in posts:
            find_places(text, None)
        best = min(best, time.process_time() - begun)
    length = sum(map(len, posts)) / len(posts)
    print(f"find_places: {best / len(posts) * 1000:.3f} ms a post of {length:.0f} characters (best of 5)")


def main() -> int:
    """Print everything."""
    folder = os.environ.get("QUANSHENG_DATA")
    if not folder:
        print("QUANSHENG_DATA is not set; it names the folder with complaints_stream.jsonl", file=sys.stderr)
        return 2
    part = sys.argv[1] if len(sys.argv) > 1 else "test"
    if part == "fit":
        fit(Path(folder))
        return 0
    places(Path(folder), part)
    whom(Path(folder), part)
    speed(Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
