"""Fit the shipped model from labelled posts: `python -m analysis.train --data DIR [--install]`.

Needs scikit-learn, which the product itself does not. DIR is a folder with `posts_gold.jsonl` and, when they
are there, the helper sets named below. Level 0 is a linear SVM a label over hashed features, helped by the
directions of a latent semantic analysis of unlabelled posts and by the margins of SVMs trained on the helper
sets; both helpers are linear, so they fold into one weight a bucket and cost nothing at run time. Level 1
is the mean of a logistic regression and boosted trees on out-of-fold margins. `more_labels.csv` labels further posts
of the same collections by id: each read once by one reader, so they weigh less and are never measured on. Posts that
repeat a row of series P or Q of `posts_unlabelled.jsonl` (acceptance rows) are refused. All figures come from cross-validation whose folds never split
a group of near-duplicates. Nothing of a text is stored: weights belong to hashed buckets.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import lzma
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp  # type: ignore[import-untyped,import-not-found,unused-ignore]
from scipy.sparse.csgraph import connected_components  # type: ignore[import-untyped,import-not-found,unused-ignore]
from sklearn.decomposition import TruncatedSVD  # type: ignore[import-untyped,import-not-found,unused-ignore]
from sklearn.ensemble import HistGradientBoostingClassifier  # type: ignore[import-untyped,import-not-found,unused-ignore]
from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped,import-not-found,unused-ignore]
from sklearn.preprocessing import normalize  # type: ignore[import-untyped,import-not-found,unused-ignore]
from sklearn.svm import LinearSVC  # type: ignore[import-untyped,import-not-found,unused-ignore]

from analysis.fastsnow import load_snow
from analysis.features import BUCKETS, FEATURES_VERSION
from analysis.linear import MODEL, TASKS
from analysis.measures import expected_calibration_error, macro_f1, report_task, search_offsets
from analysis.reading import FACTS, Reader
from analysis.risk import RiskWords
from analysis.trees import Trees, flatten, shares

FOLDS = 5
DUPLICATE = 0.55  # cosine above which two posts stand in one fold
LSA_TERMS, LSA_SIZE = 60_000, 128
LSA_SHARE, HELPER_SHARE = 0.7, 0.15
#: level 0 problems that word directions do not help (food safety lost 0.03 F1)
WITHOUT_LSA = ("domain",)
SHORT_WEIGHT = 0.3  # of a shortened copy of a labelled post
MORE_LABELS = Path(__file__).parent / "more_labels.csv"
#: of a post with one reader's label; the first reader saw only the beginning of a post
MORE_WEIGHT, FIRST_READER_WEIGHT = 0.8, 0.7
NO_LABEL = {"tone": "neu", "signal": "n", "domain": "none", "risk": "0"}
CORRECTION_WEIGHT = 1.0  # of a label that a person of the city set
C, C_CLASSES = 1.0, 3.0
HOT_TITLES = 150  # a category of the hot list with fewer titles is left out
TREES: dict[str, Any] = {
    "max_iter": 150,
    "learning_rate": 0.05,
    "max_leaf_nodes": 10,
    "l2_regularization": 5.0,
    "min_samples_leaf": 30,
    "random_state": 0,
}
Matrix = Any


@dataclass(frozen=True)
class Read:
    """A set of posts as counts [posts, BUCKETS] and dense facts."""

    counts: Matrix
    facts: Any


def read_posts(reader: Reader, posts: Iterable[tuple[str, str]]) -> Read:
    """Features of (title, text) pairs."""
    columns, values, ends, facts = [], [], [0], []
    for title, text in posts:
        reading = reader.read(title, text)
        columns.append(reader.featuriser.buckets[: reading.used].astype(np.int32))
        values.append(reader.featuriser.counts[: reading.used].astype(np.float32))
        ends.append(ends[-1] + reading.used)
        facts.append(reading.facts)
    matrix = sp.csr_matrix(
        (np.concatenate(values), np.concatenate(columns), ends), shape=(len(facts), BUCKETS)
    )
    matrix.sort_indices()
    return Read(matrix, np.array(facts))


def lines(path: Path) -> list[dict[str, Any]]:
    """Rows of a JSON Lines file, gzip or not; none when it is absent."""
    if not path.is_file():
        return []
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in raw.decode("utf-8").split("\n") if line.strip()]


def helper_sets(data: Path) -> dict[str, list[tuple[str, str]]]:
    """name -> [(text, label)] of other labelled collections; absent ones are left out."""
    sets: dict[str, list[tuple[str, str]]] = {}
    classes = [
        (row["text"], row["label"])
        for row in lines(data / "complaint_classes.jsonl")
        if row["part"] == "train"
    ]
    ewect = []
    for path in sorted((data / "sentiment" / "ewect").glob("*.json")):
        ewect += [(row["content"], row["label"]) for row in json.loads(path.read_text("utf-8"))]
    weibo = []
    for path in sorted((data / "sentiment" / "weibo2018").glob("*.txt")):
        parts = [line.split(",", 2) for line in path.read_text("utf-8").split("\n")]
        weibo += [(row[2], row[1]) for row in parts if len(row) == 3]
    takeaway = data / "sentiment" / "waimai_10k.csv"
    waimai = []
    if takeaway.is_file():
        with takeaway.open(encoding="utf-8", newline="") as stream:
            waimai = [(row["review"], row["label"]) for row in csv.DictReader(stream)]
    categories: dict[str, str] = {}
    for entry in [
        *lines(data / "weibo_hot_hourly_2025H1.jsonl.gz"),
        *lines(data / "weibo_hot_civic_episodes.jsonl"),
    ]:
        words = (entry.get("category") or "").split("-")[0].split()
        categories.setdefault(entry["title"], words[0] if words else "")
    sizes = Counter(categories.values())
    # 暂无 is "none yet"; a category of a few titles teaches nothing
    hot = [(t, c) for t, c in categories.items() if c not in ("", "暂无") and sizes[c] >= HOT_TITLES]
    for name, rows in (
        ("hot_categories", hot),
        ("complaint_classes", classes),
        ("ewect", ewect),
        ("weibo2018", weibo),
        ("waimai", waimai),
    ):
        if rows:
            sets[name] = rows
    return sets


def background(data: Path) -> list[tuple[str, str]]:
    """Unlabelled (title, text) for word statistics."""
    posts: list[tuple[str, str]] = []
    for name in (
        "posts_unlabelled.jsonl",
        "complaints_stream.jsonl",
        "replies.jsonl",
        "zhihu_hot_questions.jsonl.gz",
    ):
        posts += [(row.get("title") or "", row.get("text") or "") for row in lines(data / name)]
    posts += [
        (row["title"], row.get("description") or "") for row in lines(data / "weibo_hot_civic_episodes.jsonl")
    ]
    return posts


class Weigher:
    """tf-idf with the very numbers that inference uses (idf in steps of 0.05)."""

    def __init__(self, counts: Matrix) -> None:
        df = np.asarray((counts > 0).sum(axis=0)).ravel()
        self.df = df
        self.steps = np.clip(np.round((np.log((counts.shape[0] + 1) / (df + 1)) + 1) * 20), 0, 255).astype(
            np.uint8
        )

    def __call__(self, counts: Matrix) -> Matrix:
        m = counts.copy()
        m.data = 1 + np.log(m.data)
        return normalize(m.multiply((self.steps / 20.0)[None, :]).tocsr()).astype(np.float32)


@dataclass(frozen=True)
class Helpers:
    """Linear maps from weighted features to helper columns: LSA directions and margins of helper SVMs."""

    terms: Any
    directions: Any  # [terms, LSA_SIZE]
    weights: Any  # [BUCKETS, helper columns]
    bias: Any

    def extend(self, x: Matrix, lsa_share: float) -> Matrix:
        """[x, LSA, helper margins]."""
        lsa = np.asarray(x[:, self.terms] @ self.directions) * lsa_share
        margins = (np.asarray(x @ self.weights) + self.bias) * HELPER_SHARE
        return sp.hstack([x, sp.csr_matrix(np.hstack([lsa, margins]).astype(np.float32))]).tocsr()

    def fold(self, coef: Any, intercept: Any, lsa_share: float) -> tuple[Any, Any]:
        """Weights over extended features -> weights over buckets."""
        plain = np.array(coef[:, :BUCKETS]).T
        lsa = coef[:, BUCKETS : BUCKETS + self.directions.shape[1]]
        margins = coef[:, BUCKETS + self.directions.shape[1] :]
        plain[self.terms] += lsa_share * (self.directions @ lsa.T)
        plain += HELPER_SHARE * (self.weights @ margins.T)
        return plain, intercept + HELPER_SHARE * (self.bias @ margins.T)


def fit_helpers(weigh: Weigher, unlabelled: Matrix, sets: dict[str, tuple[Matrix, list[str]]]) -> Helpers:
    """LSA over all unlabelled posts and one SVM a helper set."""
    terms = np.sort(np.argsort(-weigh.df)[100 : 100 + LSA_TERMS])
    x = weigh(unlabelled)
    svd = TruncatedSVD(LSA_SIZE, n_iter=4, random_state=0).fit(x[:, terms])
    directions = svd.components_.T.astype(np.float32)
    spread = np.asarray(x[:4000][:, terms] @ directions)
    directions *= 1 / np.sqrt((spread**2).sum(axis=1).mean())
    weights, biases = [np.zeros((BUCKETS, 0))], [np.zeros(0)]
    for matrix, labels in sets.values():
        svm = LinearSVC(C=C).fit(weigh(matrix), np.array(labels))
        weights.append(svm.coef_.T)
        biases.append(svm.intercept_)
    return Helpers(terms, directions, np.hstack(weights).astype(np.float32), np.concatenate(biases))


def more_labels(data: Path) -> list[dict[str, Any]]:
    """Posts that `more_labels.csv` labels, with the weight of their reader; those of absent collections are left out.

    Ids: `U…` of posts_unlabelled, `Z…` question id, `W…` and `C…` row of the hot-search and class files, `T…` message
    id, `E…` file and id of the emotion set. Raises ValueError when one of them repeats an acceptance row.
    """
    with MORE_LABELS.open(encoding="utf-8", newline="") as stream:
        labels = {row["id"]: row for row in csv.DictReader(stream)}
    unlabelled = lines(data / "posts_unlabelled.jsonl")
    acceptance = {_opening(post) for post in unlabelled if post["id"][0] in "PQ"}
    found = []
    for key, post in _named_posts(data, unlabelled):
        row = labels.pop(key, None)  # a question can stand in the list on several days
        if row is None:
            continue
        if _opening(post) in acceptance:
            raise ValueError(f"{MORE_LABELS.name}: {key} repeats an acceptance row; take its line out")
        weight = FIRST_READER_WEIGHT if row["reader"] == "1" else MORE_WEIGHT
        found.append({**post, **{task: row[task] for task in TASKS}, "weight": weight})
    return found


def _opening(post: dict[str, Any]) -> str:
    """The first letters of a post, without marks: equal for a post and its repeats."""
    return "".join(char for char in post["title"] + post["text"] if char.isalnum())[:60]


def _named_posts(data: Path, unlabelled: list[dict[str, Any]]) -> Iterable[tuple[str, dict[str, Any]]]:
    """(id, title and text) of every post that `more_labels.csv` may name."""
    for post in unlabelled:
        if post["id"][0] == "U":
            yield post["id"], {"title": post.get("title") or "", "text": post.get("text") or ""}
    for row in lines(data / "zhihu_hot_questions.jsonl.gz"):
        yield f"Z{row['id']}", {"title": row["title"], "text": row.get("text") or ""}
    for at, row in enumerate(lines(data / "weibo_hot_civic_episodes.jsonl")):
        yield f"W{at}", {"title": row["title"], "text": row.get("description") or row["title"]}
    for row in lines(data / "complaints_stream.jsonl"):
        yield f"T{row['id']}", {"title": row["title"], "text": row["text"]}
    for at, row in enumerate(lines(data / "complaint_classes.jsonl")):
        if row["part"] == "train":
            yield f"C{at}", {"title": "", "text": row["text"]}
    for path in sorted((data / "sentiment" / "ewect").glob("*.json")):
        for row in json.loads(path.read_text("utf-8")):
            yield f"E{path.stem}:{row['id']}", {"title": "", "text": row["content"]}


def targets(gold: Sequence[dict[str, Any]]) -> dict[str, list[tuple[str, ...]]]:
    """Accepted answers of each post: 'a|b' means that either is right."""
    return {task: [tuple(str(row[task]).split("|")) for row in gold] for task in TASKS}


def level0_labels(answers: dict[str, list[tuple[str, ...]]]) -> list[tuple[str, Any]]:
    """(name, y) of the level 0 problems: tone, signal, domain as they are, risk as three steps."""
    first = {task: np.array([a[0] for a in rows]) for task, rows in answers.items()}
    risk = first["risk"].astype(int)
    return [("tone", first["tone"]), ("signal", first["signal"]), ("domain", first["domain"])] + [
        (f"risk>={step}", (risk >= step).astype(int)) for step in (1, 2, 3)
    ]


def share_of(name: str) -> float:
    """How much of the LSA a level 0 problem reads."""
    return 0.0 if name in WITHOUT_LSA else LSA_SHARE


def fit_svm(x: Matrix, y: Any, weight: Any) -> Any:
    """One level 0 problem."""
    return LinearSVC(C=C, class_weight="balanced").fit(x, y, sample_weight=weight)


def columns_of(name: str, classes: Any) -> list[str]:
    """Names of the margins of one level 0 problem."""
    return [f"{name}:{c}" for c in classes] if len(classes) > 2 else [name]


def groups(x: Matrix) -> Any:
    """Fold number of each post; near-duplicates share one."""
    likeness = (x @ x.T).tocsr()
    likeness.data[likeness.data < DUPLICATE] = 0
    likeness.eliminate_zeros()
    count, group = connected_components(likeness)
    return np.random.RandomState(0).randint(0, FOLDS, count)[group]


def shortened(row: dict[str, Any]) -> list[tuple[str, str]]:
    """The same post as a hurried person would write it: the title alone, the first sentence alone."""
    title, text = row["title"], row["text"]
    first = text[:45]
    short = [("", title)] if title and len(text) > len(title) + 20 else []
    return [*short, ("", first)] if len(text) > 90 else short


def out_of_fold(x: Matrix, y: Any, fold: Any, weight: Any) -> Any:
    """Level 0 margins of every row from models that never saw its fold."""
    width = len(np.unique(y)) if len(np.unique(y)) > 2 else 1
    out = np.zeros((len(y), width))
    for k in range(FOLDS):
        seen = fold != k
        margins = fit_svm(x[seen], y[seen], weight[seen]).decision_function(x[~seen])
        out[~seen] = margins.reshape(-1, width)
    return out


def fit_top(inputs: Any, y: Any, weight: Any) -> Any:
    """Level 1 of one task, its linear half."""
    return LogisticRegression(C=0.3, max_iter=3000).fit(inputs, y, sample_weight=weight)


def fit_trees(inputs: Any, y: Any, weight: Any) -> Any:
    """Level 1 of one task, its other half."""
    return HistGradientBoostingClassifier(**TREES).fit(inputs, y, sample_weight=weight)


def complaint_classes(reader: Reader, weigh: Weigher, data: Path, train: Matrix) -> dict[str, float]:
    """Macro-F1 on the fixed `test` part, also without its near-duplicates of the `train` part; for comparison only."""
    rows = lines(data / "complaint_classes.jsonl")
    labels = np.array([row["label"] for row in rows if row["part"] == "train"])
    test = [row for row in rows if row["part"] == "test"]
    x, seen = weigh(read_posts(reader, [("", row["text"]) for row in test]).counts), weigh(train)
    truth = np.array([row["label"] for row in test])
    guess = LinearSVC(C=C_CLASSES).fit(seen, labels).predict(x)
    fresh = np.asarray((x @ seen.T).tocsr().max(axis=1).todense()).ravel() < DUPLICATE
    return {
        "accuracy": round(float((truth == guess).mean()), 4),
        "macro_f1": round(macro_f1(truth, guess), 4),
        "macro_f1_without_near_duplicates": round(macro_f1(truth[fresh], guess[fresh]), 4),
        "near_duplicates": round(float(1 - fresh.mean()), 4),
    }


def cross_validate(
    inputs: Any, fold: Any, weights: Mapping[str, Any], answers: dict[str, list[tuple[str, ...]]], whole: int
) -> dict[str, Any]:
    """Figures of out-of-fold probabilities of level 1, over the first `whole` rows (the posts as written)."""
    figures: dict[str, Any] = {}
    for task in TASKS:
        y = np.array([a[0] for a in answers[task]])
        labels = np.unique(y)
        p = np.zeros((len(y), len(labels)))
        for k in range(FOLDS):
            seen = fold != k
            asked = np.flatnonzero(~seen[:whole])  # only these are measured
            for fit in (fit_top, fit_trees):
                fitted = fit(inputs[seen], y[seen], weights[task][seen])
                columns = np.searchsorted(labels, fitted.classes_)
                p[asked[:, None], columns] += fitted.predict_proba(inputs[asked]) / 2.0
        p, accepted = p[:whole], answers[task][:whole]
        offsets = search_offsets(p, labels, accepted, task)
        moved = labels[(np.log(p + 1e-12) + offsets).argmax(axis=1)]
        figures[task] = {
            "plain": report_task(task, labels[p.argmax(axis=1)], accepted),
            "offsets": {str(label): round(float(o), 2) for label, o in zip(labels, offsets, strict=True)},
            "with_offsets": report_task(task, moved, accepted),
            "ece": round(expected_calibration_error(p, labels, accepted), 4),
        }
    return figures


def pack(
    weigh: Weigher,
    weights: Any,
    bias: Any,
    tops: dict[str, Any],
    trees: dict[str, Trees],
    columns: list[str],
    figures: dict[str, Any],
    version: str,
) -> bytes:
    """The model file: int8 weights, small float arrays, and a JSON of names and figures."""
    # not the maximum: one large weight would cost all others their precision
    scale = np.maximum(np.percentile(np.abs(weights), 99.97, axis=0) / 127.0, 1e-9)
    small = np.clip(np.round(weights / scale), -127, 127).astype(np.int8)
    meta = {
        "version": version,
        "features_version": FEATURES_VERSION,
        "columns": columns,
        "facts": FACTS,
        "labels": {task: [str(c) for c in top.classes_] for task, top in tops.items()},
        "figures": figures,
    }
    buffer = io.BytesIO()
    arrays = {f"{task}_coef": top.coef_.astype(np.float32) for task, top in tops.items()}
    arrays |= {f"{task}_bias": top.intercept_.astype(np.float32) for task, top in tops.items()}
    arrays |= {
        f"{task}_tree_{name}": getattr(tree, name) for task, tree in trees.items() for name in Trees.FIELDS
    }
    np.savez(
        buffer,
        weights=small,
        scale=scale.astype(np.float32),
        bias=bias.astype(np.float32),
        idf=weigh.steps,
        meta=np.array([json.dumps(meta, ensure_ascii=False)]),
        **arrays,
    )
    return lzma.compress(buffer.getvalue(), preset=6)


def train(
    data: Path, version: str, say: Any, extra: Sequence[Mapping[str, Any]] = ()
) -> tuple[bytes, dict[str, Any]]:
    """Fit everything; returns the model file and its cross-validated figures, which never measure `extra`.

    `extra` are a city's corrections: title, text, and a label for some of the tasks.
    """
    gold = lines(data / "posts_gold.jsonl")
    if not gold:
        raise FileNotFoundError(
            f"{data / 'posts_gold.jsonl'}: no labelled posts; set QUANSHENG_DATA or --data"
        )
    reader = Reader(load_snow(), RiskWords.load())
    more = more_labels(data)
    posts = [*gold, *more, *({"weight": CORRECTION_WEIGHT, **row} for row in extra)]
    short = [(i, pair) for i, row in enumerate(gold) for pair in shortened(row)]
    rows = [*range(len(posts)), *(i for i, _ in short)]  # which labelled post a row comes from
    read = read_posts(reader, [*((row["title"], row["text"]) for row in posts), *(pair for _, pair in short)])
    base = np.array([post.get("weight", 1.0) for post in posts] + [SHORT_WEIGHT] * len(short))
    # a correction weighs nothing in the tasks that it does not speak of
    weights_of = {
        task: base * np.array([bool(posts[i].get(task)) for i in rows], dtype=float) for task in TASKS
    }
    say(
        f"{len(gold)} labelled posts read, {len(more)} more, {len(extra)} corrections, {len(short)} shortened copies"
    )
    plain = read_posts(reader, background(data))
    sets = {}
    for name, pairs in helper_sets(data).items():
        sets[name] = (
            read_posts(reader, [("", text) for text, _ in pairs]).counts,
            [label for _, label in pairs],
        )
    say(f"{plain.counts.shape[0]} unlabelled posts, helper sets {', '.join(sets) or 'none'}")
    weigh = Weigher(sp.vstack([read.counts, plain.counts, *(m for m, _ in sets.values())]).tocsr())
    helpers = fit_helpers(weigh, plain.counts, sets)
    x = weigh(read.counts)
    fold = groups(x[: len(posts)])[rows]
    # the label of a task without one is any that exists: its weight is nothing
    answers = targets([{**NO_LABEL, **posts[i]} for i in rows])
    margins, weights, biases, columns = [], [], [], []
    for name, y in level0_labels(answers):
        say(f"level 0: {name}")
        weight = weights_of[name.split(">")[0]]
        extended = helpers.extend(x, share_of(name))
        margins.append(out_of_fold(extended, y, fold, weight))
        svm = fit_svm(extended, y, weight)
        w, b = helpers.fold(svm.coef_, svm.intercept_, share_of(name))
        weights.append(w)
        biases.append(b)
        columns += columns_of(name, svm.classes_)
    inputs = np.hstack([*margins, read.facts])
    say("level 1")
    figures = cross_validate(inputs, fold, weights_of, answers, len(gold))
    first = {task: np.array([a[0] for a in answers[task]]) for task in TASKS}
    tops = {task: fit_top(inputs, first[task], weights_of[task]) for task in TASKS}
    boosted = {task: fit_trees(inputs, first[task], weights_of[task]) for task in TASKS}
    trees = {task: flatten(fitted) for task, fitted in boosted.items()}
    for task, fitted in boosted.items():
        gap = float(np.abs(shares(trees[task].raw(inputs[:500])) - fitted.predict_proba(inputs[:500])).mean())
        if gap > 1e-3:
            raise ArithmeticError(
                f"trees of {task}: written differently from what was fitted (mean gap {gap:.4f})"
            )
    figures["posts"] = len(gold)
    figures["posts_more_labels"] = len(more)
    figures["corrections"] = len(extra)
    figures["snownlp"] = snownlp_alone(read.facts[: len(gold)], answers["tone"][: len(gold)])
    if "complaint_classes" in sets:
        figures["complaint_classes"] = complaint_classes(reader, weigh, data, sets["complaint_classes"][0])
    packed = pack(weigh, np.hstack(weights), np.concatenate(biases), tops, trees, columns, figures, version)
    return packed, figures


def snownlp_alone(facts: Any, answers: list[tuple[str, ...]]) -> dict[str, float]:
    """SnowNLP's own value as a tone: below 0.5 negative, else positive; for comparison."""
    return report_task("tone", np.where(facts[:, FACTS.index("snow_value")] < 0.5, "neg", "pos"), answers)


def main(argv: Sequence[str] | None = None) -> int:
    """Train, print the figures, and install when asked."""
    parser = argparse.ArgumentParser(
        prog="python -m analysis.train", description=__doc__.split("\n")[0] if __doc__ else ""
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with posts_gold.jsonl")
    parser.add_argument("--version", default="posts-3", help="name written on every judgement")
    parser.add_argument("--install", action="store_true", help="write the model into the project")
    options = parser.parse_args(argv)

    def say(text: str) -> None:
        sys.stderr.write(f"{text}\n")

    packed, figures = train(options.data, options.version, say)
    sys.stdout.write(json.dumps(figures, ensure_ascii=False, indent=1) + "\n")
    if options.install:
        MODEL.write_bytes(packed)
        say(f"{MODEL}: {len(packed):,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
