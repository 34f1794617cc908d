"""Topics against plain KMeans and LDA: agreement with official classes, coherence, coverage, stability, speed.

QUANSHENG_DATA names the folder of real texts; nothing is written. Posts of posts_unlabelled.jsonl are not read.

    python -m benchmarks.analysis_topics [--titles N]
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import random
import resource
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import KMeans  # type: ignore[import-untyped]
from sklearn.decomposition import LatentDirichletAllocation  # type: ignore[import-untyped]
from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer  # type: ignore[import-untyped]
from sklearn.metrics import normalized_mutual_info_score  # type: ignore[import-untyped]
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from analysis.copies import CopyFinder
from analysis.judge import Judge, JudgeInput
from analysis.topics import KnownTopic, TopicPost, find_topics
from analysis.words import cut

#: topic -> (words strongest first, members)
Made = list[tuple[tuple[str, ...], list[int]]]


@dataclass
class Week:
    """Posts of one period, by id."""

    name: str
    posts: list[TopicPost]


def data(name: str) -> Path:
    return Path(os.environ["QUANSHENG_DATA"]) / name


def lines(name: str) -> Iterable[dict[str, Any]]:
    opener: Callable[..., Any] = gzip.open if name.endswith(".gz") else open
    with opener(data(name), "rt", encoding="utf-8") as stream:
        for line in stream:
            yield json.loads(line)


# --- methods -----------------------------------------------------------------------------------------------------


def ours(posts: Sequence[TopicPost]) -> Made:
    return [(topic.words, list(topic.posts)) for topic in find_topics(posts).topics]


def _texts(posts: Sequence[TopicPost]) -> list[str]:
    return [f"{post.title}\n{post.text[:600]}" for post in posts]


def _tops(names: Sequence[str], row: Any) -> tuple[str, ...]:
    return tuple(names[at] for at in np.argsort(-row, kind="stable")[:20])


def kmeans(posts: Sequence[TopicPost], topics: int) -> Made:
    maker = TfidfVectorizer(
        tokenizer=cut, token_pattern=None, lowercase=False, min_df=2, max_df=0.5, sublinear_tf=True
    )
    matrix = maker.fit_transform(_texts(posts))
    model = KMeans(topics, n_init=3, random_state=0).fit(matrix)
    return _made(
        posts,
        model.labels_,
        [_tops(list(maker.get_feature_names_out()), row) for row in model.cluster_centers_],
    )


def lda(posts: Sequence[TopicPost], topics: int) -> Made:
    maker = CountVectorizer(tokenizer=cut, token_pattern=None, lowercase=False, min_df=2, max_df=0.5)
    matrix = maker.fit_transform(_texts(posts))
    model = LatentDirichletAllocation(topics, random_state=0, max_iter=20)
    labels = model.fit_transform(matrix).argmax(axis=1)
    return _made(
        posts, labels, [_tops(list(maker.get_feature_names_out()), row) for row in model.components_]
    )


def _made(posts: Sequence[TopicPost], labels: Any, words: Sequence[tuple[str, ...]]) -> Made:
    made: Made = [(row, []) for row in words]
    for post, label in zip(posts, labels, strict=True):
        made[label][1].append(post.id)
    return [topic for topic in made if topic[1]]


# --- measures ----------------------------------------------------------------------------------------------------


def npmi(topics: Made, texts: Sequence[str], words: int = 8) -> float:
    """Mean normalised pointwise mutual information of word pairs of each topic over texts that made no topic.

    Pairs that never meet count -1; -1 .. 1.
    """
    wanted = {word for row, _ in topics for word in row[:words]}
    sets = [wanted.intersection(cut(text)) for text in texts]
    single, pairs = Counter[str](), Counter[tuple[str, str]]()
    for found in sets:
        single.update(found)
        ordered = sorted(found)
        pairs.update((a, b) for i, a in enumerate(ordered) for b in ordered[i + 1 :])
    n, scores = len(texts), []
    for row, _ in topics:
        top = [word for word in row[:words] if single[word]]
        values = []
        for i, a in enumerate(top):
            for b in top[i + 1 :]:
                both = pairs[(min(a, b), max(a, b))] / n
                values.append(
                    -1.0
                    if not both
                    else math.log(both / (single[a] / n * single[b] / n)) / max(-math.log(both), 1e-9)
                )
        if values:
            scores.append(sum(values) / len(values))
    return sum(scores) / max(len(scores), 1)


def agreement(topics: Made, label: Callable[[int], str]) -> tuple[float, float, int]:
    """NMI and purity over the posts that are in a topic, and how many these are."""
    truth = [label(post) for _, posts in topics for post in posts]
    found = [index for index, (_, posts) in enumerate(topics) for _ in posts]
    pure = sum(Counter(label(post) for post in posts).most_common(1)[0][1] for _, posts in topics)
    return float(normalized_mutual_info_score(truth, found)), pure / max(len(truth), 1), len(truth)


# --- the parts ---------------------------------------------------------------------------------------------------


def classes(size: int, rounds: int = 4) -> None:
    """Samples of complaints with one of seven official classes (part `test`: no setting was chosen on it)."""
    rows = [
        row for row in lines("complaint_classes.jsonl") if row["part"] == "test" and row["kind"] == "body"
    ]
    random.Random(11).shuffle(rows)
    told: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    other = [
        row["text"][:600]
        for row in lines("complaint_classes.jsonl")
        if row["part"] == "train" and row["kind"] == "body"
    ][:3000]  # in no sample
    for at in range(rounds):
        chosen = rows[at * size : (at + 1) * size]
        posts = [TopicPost(index, "", row["text"]) for index, row in enumerate(chosen)]
        labels = [str(row["label"]) for row in chosen]
        made = {"topics": ours(posts)}
        wide = len(made["topics"])
        made |= {"kmeans": kmeans(posts, wide), "lda": lda(posts, wide)}
        for name, topics in made.items():
            nmi, pure, held = agreement(topics, labels.__getitem__)
            told[name].append((len(topics), held / size, nmi, pure, npmi(topics, other)))
        # KMeans and LDA on the posts that we leave out of topics never count: the same posts for all
        inside = {post for _, members in made["topics"] for post in members}
        for name in ("kmeans", "lda"):
            same = [(row, [post for post in members if post in inside]) for row, members in made[name]]
            nmi, pure, held = agreement([t for t in same if t[1]], labels.__getitem__)
            told[f"{name} on our posts"].append((len(same), held / size, nmi, pure, float("nan")))
    for name, values in told.items():
        k, cover, nmi, pure, coherent = np.mean(np.array(values), axis=0)
        print(
            f"classes n={size} {name:22} k {k:4.1f} coverage {cover:.3f} NMI {nmi:.3f} purity {pure:.3f} NPMI {coherent:.3f}",
            flush=True,
        )


def folded(posts: Iterable[TopicPost]) -> list[TopicPost]:
    """Near-copies once."""
    finder = CopyFinder()
    return [post for post in posts if finder.find(str(post.id), post.title, post.text) is None]


def by_domain(weeks: Sequence[Week]) -> dict[str, list[Week]]:
    judge = Judge.load()
    found: dict[str, list[Week]] = defaultdict(list)
    for week in weeks:
        outputs = judge.judge_batch(
            [JudgeInput(post.id, post.title, post.text) for post in week.posts], explain=False
        )
        parts: dict[str, list[TopicPost]] = defaultdict(list)
        for post, output in zip(week.posts, outputs, strict=True):
            if output.domain != "none":
                parts[output.domain].append(post)
        for domain, posts in parts.items():
            found[domain].append(Week(week.name, posts))
    return found


def stable(name: str, domains: dict[str, list[Week]], show: list[tuple[str, list[str]]]) -> None:
    """Week after week with memory: coverage, keys that persist, whether a match is right, coherence on the other periods."""
    judge_words: list[float] = []
    chance: list[float] = []
    topics = kept = posts = held = few = periods = again = 0
    coherent: list[float] = []
    reference = [
        (week.name, f"{post.title}\n{post.text[:600]}")
        for weeks in domains.values()
        for week in weeks
        for post in week.posts
    ]
    for weeks in domains.values():
        known: list[KnownTopic] = []
        last: dict[str, list[str]] = {}
        for week in weeks:
            texts = {post.id: f"{post.title}\n{post.text[:600]}" for post in week.posts}
            periods += 1
            found = find_topics(week.posts, known, salt=week.name)
            if found.few:
                few += 1
                last = {}
                continue
            posts += len(week.posts)
            held += sum(len(topic.posts) for topic in found.topics)
            now = {topic.key: [texts[post] for post in topic.posts] for topic in found.topics}
            if last:
                topics += len(found.topics)
                kept += sum(topic.key in last for topic in found.topics)
                again += sum(1 for topic in found.topics if topic.known)
                for key, members in now.items():
                    if key in last:
                        right = likeness(members, last[key])
                        judge_words.append(right)
                        chance += [likeness(members, old) for other, old in last.items() if other != key]
            show += [(topic.title, now[topic.key]) for topic in found.topics]
            known = [KnownTopic(t.key, t.title, t.words) for t in found.topics] + [
                old for old in known if old.key not in now
            ]
            last = now
            others = [text for at, text in reference if at != week.name]
            if found.topics:
                coherent.append(npmi([(topic.words, []) for topic in found.topics], others))
    rights: Any = np.array(judge_words)
    limit = float(np.quantile(chance, 0.95)) if chance else 0.0
    print(
        f"{name}: {periods} domain-periods, {few} with too few posts; coverage {held / max(posts, 1):.3f}; "
        f"topics with a predecessor's key {kept}/{topics} ({kept / max(topics, 1):.2f}; any of the weeks before "
        f"{again / max(topics, 1):.2f}); matches more alike than 95 % of wrong pairs "
        f"{float((rights > limit).mean()) if len(rights) else float('nan'):.2f} "
        f"(likeness {rights.mean() if len(rights) else float('nan'):.3f}, wrong pairs "
        f"{np.mean(chance) if chance else float('nan'):.3f}); NPMI on the other periods {np.mean(coherent):.3f}",
        flush=True,
    )


def likeness(a: Sequence[str], b: Sequence[str]) -> float:
    """Cosine of the summed character bigrams of two heaps of posts: a judge that shares no words with the topics."""

    def heap(texts: Sequence[str]) -> Counter[str]:
        found = Counter[str]()
        for text in texts:
            found.update({text[i : i + 2] for i in range(len(text) - 1)})
        return Counter({gram: n / len(texts) for gram, n in found.items() if n > 1 or len(texts) < 4})

    x, y = heap(a), heap(b)
    dot = sum(value * y[gram] for gram, value in x.items())
    return dot / max(math.sqrt(sum(v * v for v in x.values()) * sum(v * v for v in y.values())), 1e-12)


def matched_classes(size: int = 400, rounds: int = 2) -> None:
    """Two disjoint samples as two weeks: is a topic that keeps its key about the same official class?"""
    rows = [
        row for row in lines("complaint_classes.jsonl") if row["part"] == "test" and row["kind"] == "body"
    ]
    random.Random(12).shuffle(rows)
    same = topics = kept = 0
    halves = []
    for at in range(rounds):
        first, second = (
            rows[at * 2 * size : (at * 2 + 1) * size],
            rows[(at * 2 + 1) * size : (at * 2 + 2) * size],
        )
        one = find_topics([TopicPost(i, "", row["text"]) for i, row in enumerate(first)], salt="1")
        known = [KnownTopic(t.key, t.title, t.words) for t in one.topics]
        two = find_topics([TopicPost(i, "", row["text"]) for i, row in enumerate(second)], known, salt="2")

        def main(posts: Sequence[int], heap: Sequence[dict[str, Any]]) -> str:
            return Counter(str(heap[post]["label"]) for post in posts).most_common(1)[0][0]

        before = {topic.key: main(topic.posts, first) for topic in one.topics}
        topics += len(two.topics)
        for topic in two.topics:
            if topic.key in before:
                kept += 1
                same += before[topic.key] == main(topic.posts, second)
        # the same posts in another order, and with a tenth missing
        posts = [TopicPost(i, "", row["text"]) for i, row in enumerate(first)]
        assert find_topics(posts[::-1], salt="1") == one, "the order of the posts changed the topics"
        less = find_topics([post for post in posts if post.id % 10], salt="1")
        inside = {post: index for index, topic in enumerate(less.topics) for post in topic.posts}
        both = [
            (index, inside[post])
            for index, topic in enumerate(one.topics)
            for post in topic.posts
            if post in inside
        ]
        halves.append(normalized_mutual_info_score([a for a, _ in both], [b for _, b in both]))
    print(
        f"two samples of {size}: keys kept {kept}/{topics} ({kept / topics:.2f}), of these with the same official class "
        f"{same}/{kept} ({same / max(kept, 1):.2f}); with a tenth of the posts missing NMI {np.mean(halves):.3f}",
        flush=True,
    )


def periods(rows: Iterable[tuple[str, TopicPost]]) -> list[Week]:
    found: dict[str, list[TopicPost]] = defaultdict(list)
    for name, post in rows:
        found[name].append(post)
    return [Week(name, folded(posts)) for name, posts in sorted(found.items())]


def week_name(day: str) -> str:
    year, week, _ = date.fromisoformat(day).isocalendar()
    return f"{year}-W{week:02d}"


def stream() -> tuple[list[Week], list[Week]]:
    """Citizens' messages of the first half of 2019, by week and by month."""
    posts = [
        (row["published_at"][:10], TopicPost(int(row["id"]), row["title"], row["text"], row["author"]))
        for row in lines("complaints_stream.jsonl")
        if "2019-01-01" <= row["published_at"][:10] < "2019-07-01"
    ]
    return (
        periods((week_name(day), post) for day, post in posts),
        periods((day[:7], post) for day, post in posts),
    )


def zhihu(until: str = "2021-03-01") -> list[Week]:
    return periods(
        (week_name(row["date"]), TopicPost(int(row["id"]), row["title"], row["text"]))
        for row in lines("zhihu_hot_questions.jsonl.gz")
        if "2021-01-04" <= row["date"] < until
    )


def weibo() -> list[Week]:
    return periods(
        (row["first"][:7], TopicPost(index, row["title"], row["description"] or ""))
        for index, row in enumerate(lines("weibo_hot_civic_episodes.jsonl"))
        if "2024-06" <= row["first"][:7] <= "2024-11"
    )


def speed() -> None:
    rows = [row for row in lines("complaint_classes.jsonl") if row["kind"] == "body"]
    posts = [TopicPost(index, "", row["text"]) for index, row in enumerate(rows[:10_000])]
    parts: dict[str, list[TopicPost]] = defaultdict(list)
    for post, output in zip(
        posts,
        Judge.load().judge_batch([JudgeInput(p.id, p.title, p.text) for p in posts], explain=False),
        strict=True,
    ):
        parts[output.domain].append(post)
    find_topics(posts[:50])
    with threadpool_limits(1):
        for name, heaps in (("by domain", list(parts.values())), ("as one domain", [posts])):
            begun = time.process_time()
            made = sum(len(find_topics(heap).topics) for heap in heaps)
            spent = time.process_time() - begun
            print(f"speed: {len(posts)} posts {name}: {spent:.1f} s of one core, {made} topics", flush=True)
        for method in (kmeans, lda):
            begun = time.process_time()
            method(posts, 30)
            print(
                f"speed: {method.__name__} k=30 as one domain: {time.process_time() - begun:.1f} s",
                flush=True,
            )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB", flush=True)


def main() -> None:
    import warnings

    warnings.simplefilter("ignore", ConvergenceWarning)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--titles", type=int, default=0, help="print so many titles, drawn by lot, to be read by a person"
    )
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    show: list[tuple[str, list[str]]] = []

    def wanted(part: str) -> bool:
        return options.only in ("", part)

    with threadpool_limits(1):
        if wanted("classes"):
            classes(300)
            classes(1000, 1)
        if wanted("matched"):
            matched_classes()
        if wanted("stream"):
            weeks, months = stream()
            stable("complaints by month and domain", by_domain(months), show)
            stable("complaints by month, undivided", {"all": months}, [])
            stable("complaints by week, undivided", {"all": weeks}, show)
        if wanted("zhihu"):
            stable("Zhihu by week and domain", by_domain(zhihu()), show)
        if wanted("weibo"):
            stable("Weibo hot search by month and domain", by_domain(weibo()), show)
        if wanted("speed"):
            speed()
    random.Random(5).shuffle(show)
    for title, texts in show[: options.titles]:
        print(f"{len(texts):4d} {title} | " + " / ".join(text[:28].replace("\n", " ") for text in texts[:6]))


if __name__ == "__main__":
    main()
