"""Our clustering beside peers, on one stream and one gold: `python benchmarks/cluster_peers.py`.

Needs QUANSHENG_DATA. Every peer's parameters are the best of a small grid on the first half of the labelled messages; figures are
those of the second half, with our weights fitted on the first half alone. The nearest-earlier-message baseline needs
scikit-learn; the peers are not part of the product:

    pip install river bertopic hdbscan umap-learn

(BERTopic's wish for sentence-transformers can be left out with `--no-deps`: here it is given TF-IDF and SVD as embeddings.)
BERTopic sees the whole half at once; the others see one message after the other, as we do.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from analysis.cluster import TITLE_WEIGHT
from analysis.measures import bcubed
from analysis.train_cluster import json_rows, labelled, train_on, walk, with_threshold
from analysis.words import cut

Runner = Callable[[Sequence[list[str]], float], list[Any]]


def words_of(title: str, text: str) -> list[str]:
    """Words of a message as our own clustering weighs them: the title counts thrice."""
    return cut(title) * int(TITLE_WEIGHT) + cut(text[:220])


def nearest_earlier(docs: Sequence[list[str]], limit: float) -> list[Any]:
    """Join the event of the most similar earlier message when its TF-IDF cosine reaches `limit`."""
    from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]

    matrix = TfidfVectorizer(analyzer=lambda words: words, sublinear_tf=True).fit_transform(docs)
    out: list[Any] = []
    for number in range(len(docs)):
        if number:
            likeness = (matrix[:number] @ matrix[number].T).toarray().ravel()
            best = int(likeness.argmax())
            if likeness[best] >= limit:
                out.append(out[best])
                continue
        out.append(number)
    return out


def textclust(docs: Sequence[list[str]], radius: float) -> list[Any]:
    """river's TextClust over the same words, micro-clusters as events, nothing forgotten."""
    from river import cluster  # type: ignore[import-not-found]

    class Recording(cluster.TextClust):  # type: ignore[misc]
        """Remembers where the last message went."""

        last: int = 0

        def _get_closest_mc(self, mc: Any, idf: Any, distance: Any) -> Any:
            found = super()._get_closest_mc(mc, idf, distance)
            self.last = self._cluster_id if found[0] is None else found[0]
            return found

    # fading is switched off as far as it goes: matters last for months
    model = Recording(radius=radius, fading_factor=1e-9, tgap=10**6, real_time_fading=False, auto_merge=False)
    out: list[Any] = []
    for number, words in enumerate(docs):
        counts: dict[str, int] = {}
        for word in words:
            counts[word] = counts.get(word, 0) + 1
        model.learn_one(counts)
        out.append(model.last if counts else f"alone-{number}")
    return out


def bertopic(docs: Sequence[list[str]], size: float) -> list[Any]:
    """BERTopic over TF-IDF and SVD embeddings; a message without a topic is its own event."""
    from bertopic import BERTopic  # type: ignore[import-not-found]
    from hdbscan import HDBSCAN  # type: ignore[import-not-found]
    from sklearn.decomposition import TruncatedSVD  # type: ignore[import-untyped]
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from umap import UMAP  # type: ignore[import-not-found]

    texts = [" ".join(words) for words in docs]
    matrix = TfidfVectorizer(token_pattern=r"\S+", sublinear_tf=True).fit_transform(texts)
    vectors = TruncatedSVD(100, random_state=0).fit_transform(matrix)
    model = BERTopic(
        umap_model=UMAP(n_neighbors=5, n_components=10, metric="cosine", random_state=0),
        hdbscan_model=HDBSCAN(
            min_cluster_size=2, cluster_selection_method="leaf", cluster_selection_epsilon=size
        ),
        vectorizer_model=CountVectorizer(token_pattern=r"\S+"),
        min_topic_size=2,
    )
    topics, _ = model.fit_transform(texts, vectors)
    return [topic if topic >= 0 else f"alone-{number}" for number, topic in enumerate(topics)]


PEERS: dict[str, tuple[Runner, tuple[float, ...]]] = {
    "nearest earlier message, TF-IDF": (nearest_earlier, (0.25, 0.3, 0.35, 0.4, 0.45, 0.5)),
    "river TextClust": (textclust, (0.5, 0.6, 0.7)),
    "BERTopic (TF-IDF + SVD)": (bertopic, (0.0, 0.1, 0.2)),
}


def main() -> int:
    """Print the table."""
    folder = os.environ.get("QUANSHENG_DATA")
    if not folder:
        print("QUANSHENG_DATA is not set; it names the folder with complaints_stream.jsonl", file=sys.stderr)
        return 2
    data = Path(folder)
    readings, ids, events = labelled(data)
    texts = {r["id"]: words_of(r["title"], r["text"]) for r in json_rows(data / "complaints_stream.jsonl")}
    docs = [texts[i] for i in ids]
    half = len(ids) // 2
    print("| method | BCubed P / R / F1 | pairwise F1 | largest wrong merge | posts/s | parameter |")
    print("|---|---|---|---|---|---|")

    def line(name: str, assigned: Sequence[Any], seconds: float, parameter: object) -> None:
        gold = dict(zip(ids[half:], events[half:], strict=True))
        f = bcubed(dict(zip(ids[half:], assigned, strict=True)), gold)
        print(
            f"| {name} | {f['bcubed_precision']:.3f} / {f['bcubed_recall']:.3f} / {f['bcubed_f1']:.3f} | "
            f"{f['pair_f1']:.3f} | {f['largest_wrong_merge']} | {(len(ids) - half) / seconds:,.0f} | {parameter} |",
            flush=True,
        )

    model = with_threshold(train_on(readings[:half], events[:half], set()), 0.4)
    begun = time.process_time()
    assigned = walk(readings[half:], events[half:], model)["assigned"]
    line("ours (reading of words not timed)", assigned, time.process_time() - begun, 0.4)
    for name, (run, grid) in PEERS.items():
        try:
            best = max(grid, key=lambda p: _quality(run(docs[:half], p), ids[:half], events[:half]))
            begun = time.process_time()
            assigned = run(docs[half:], best)
        except ImportError as missing:
            print(
                f"| {name} | not installed ({missing.name}): pip install river bertopic hdbscan umap-learn | | | | |"
            )
            continue
        line(name, assigned, time.process_time() - begun, best)
    return 0


def _quality(assigned: Sequence[Any], ids: Sequence[str], events: Sequence[str]) -> float:
    f = bcubed(dict(zip(ids, assigned, strict=True)), dict(zip(ids, events, strict=True)))
    return f["bcubed_f1"] + 0.5 * f["pair_f1"]


if __name__ == "__main__":
    sys.exit(main())
