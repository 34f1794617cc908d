"""A small change of the model in force, learnt from what people corrected; without the posts it was first trained on.

The weights stay, and moved margins are added beside them: for each corrected post the level 0 margins that are wrong or small
are wanted larger, for judged posts that nobody corrected no change is wanted, and the smallest change that
does both is a ridge regression over the hashed features (solved over posts, of which there are few, not over features). Then
each class gets an offset, held near its former one. How strong the change is, each task by itself and down to none, is
chosen by cross-validation; the figures come from an outer cross-validation around that choice.
The result is a file of the same form as the shipped model.
"""

from __future__ import annotations

import io
import json
import lzma
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.features import BUCKETS
from analysis.linear import TASKS, LinearModel
from analysis.reading import Reader

Floats = NDArray[Any]
Say = Callable[[str], None]

#: margin that a right answer should have; a smaller one is raised to it
ENOUGH = 1.0
#: ridge strengths tried, from a bold change to a timid one; None: no change
RIDGES: tuple[float | None, ...] = (0.3, 1.0, 3.0, 10.0, None)
#: of a post that nobody corrected, against a correction
ANCHOR_WEIGHT = 0.3
#: how easily a margin moves for all posts at once
COMMON = 0.05
#: spread of the change of a class offset, in log-odds
OFFSET_SPREAD = 0.6
FOLDS, INNER = 5, 3
#: more are not read: the newest ones count (kernel of this size: some hundred MB, a few minutes)
MOST_CORRECTIONS, MOST_ANCHORS = 3000, 1000
MEASURED_ANCHORS = 300
#: people correct what is wrong, so corrections alone would teach that everything is: together, the measured anchors
#: count at least so many times as much as all corrections
ANCHORS_COUNT = 2.0


@dataclass(frozen=True)
class Taught:
    """A post and what a person said of it: task -> label. Tasks that nobody judged are absent."""

    id: int
    title: str
    text: str
    answers: Mapping[str, str]


@dataclass(frozen=True)
class Guess:
    """What a model says of posts: probabilities [posts, classes] after the offsets, for each task."""

    p: Mapping[str, Floats]
    labels: Mapping[str, Sequence[str]]

    def best(self, task: str) -> list[str]:
        """The chosen label of each post."""
        return [self.labels[task][k] for k in self.p[task].argmax(axis=1)]


@dataclass(frozen=True)
class Adapted:
    """The new model file, and both judgements of every corrected post: `after` from models that never saw the post."""

    packed: bytes
    before: Guess
    after: Guess
    strengths: Mapping[str, float | None]
    offsets: Mapping[str, Mapping[str, float]]


@dataclass
class _Posts:
    """Posts as the model reads them."""

    x: Any  # [posts, BUCKETS], sparse, each row of length 1
    margins: Floats
    facts: Floats
    wanted: Floats = field(default_factory=lambda: np.zeros(0))


def adapt(
    base: Path,
    offsets: Mapping[str, Mapping[str, float]],
    taught: Sequence[Taught],
    anchors: Sequence[tuple[str, str]],
    version: str,
    reader: Reader,
    say: Say = lambda text: None,
) -> Adapted:
    """Learn from `taught`; `anchors` are (title, text) of judged posts that nobody corrected.

    `base` is the model file in force and `offsets` are those it judges with. Raises ValueError without corrections.
    """
    if not taught:
        raise ValueError("no corrections: there is nothing to learn from")
    taught, anchors = taught[-MOST_CORRECTIONS:], anchors[-MOST_ANCHORS - MEASURED_ANCHORS :]
    model = LinearModel.load(base)
    pack = _Pack.read(base)
    both = read(pack, reader, [*((t.title, t.text) for t in taught), *anchors])
    work = _Work(model, offsets, both, [dict(t.answers) for t in taught], len(anchors))
    everybody = np.arange(len(taught))
    before = work.guess(everybody, None, work.offsets)
    fold = np.random.RandomState(0).permutation(len(taught)) % min(FOLDS, max(len(taught), 2))
    after = {task: p.copy() for task, p in before.p.items()}
    for k in range(int(fold.max()) + 1):
        held, seen = np.flatnonzero(fold == k), np.flatnonzero(fold != k)
        if not len(seen):
            continue
        chosen, moved = work.choose(seen)
        change = work.change(seen, chosen)
        got = work.guess(held, work.effect(change, seen, held), moved)
        for task in TASKS:
            after[task][held] = got.p[task]
        say(f"part {k + 1} of {int(fold.max()) + 1} measured")
    chosen, moved = work.choose(everybody)
    delta, shift = work.weights(work.change(everybody, chosen), everybody)
    say("strength: " + ", ".join(f"{task} {value or 'none'}" for task, value in chosen.items()))
    named = {
        task: {
            label: round(float(value), 4)
            for label, value in zip(model.labels[task], moved[task], strict=True)
        }
        for task in TASKS
    }
    packed = pack.moved(delta, shift, version, named, len(taught))
    return Adapted(packed, before, Guess(after, model.labels), chosen, named)


def judge_posts(
    path: Path, offsets: Mapping[str, Mapping[str, float]], posts: Sequence[tuple[str, str]], reader: Reader
) -> Guess:
    """What a model file says of (title, text) pairs."""
    model = LinearModel.load(path)
    found = read(_Pack.read(path), reader, posts)
    work = _Work(model, offsets, found, [{} for _ in posts], 0)
    return work.guess(np.arange(len(posts)), None, work.offsets)


def read(pack: _Pack, reader: Reader, posts: Iterable[tuple[str, str]]) -> _Posts:
    """Features of posts, weighed as the model does, with its margins."""
    import scipy.sparse as sp  # type: ignore[import-untyped,import-not-found,unused-ignore]  # judging must not load it

    columns, values, ends, facts = [], [], [0], []
    for title, text in posts:
        reading = reader.read(title, text)
        buckets = reader.featuriser.buckets[: reading.used].astype(np.int32)
        weight = (1 + np.log(reader.featuriser.counts[: reading.used])) * pack.idf[buckets]
        columns.append(buckets)
        values.append(weight / max(float(np.sqrt((weight**2).sum())), 1e-12))
        ends.append(ends[-1] + reading.used)
        facts.append(reading.facts)
    if not facts:
        return _Posts(sp.csr_matrix((0, BUCKETS)), np.zeros((0, len(pack.bias))), np.zeros((0, 0)))
    x = sp.csr_matrix((np.concatenate(values), np.concatenate(columns), ends), shape=(len(facts), BUCKETS))
    return _Posts(x, np.asarray(x @ pack.weights) + pack.bias, np.array(facts))


class _Pack:
    """A model file as named arrays."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        self.arrays = arrays
        self.meta: dict[str, Any] = json.loads(str(arrays["meta"][0]))
        self.weights = arrays["weights"].astype(np.float32) * arrays["scale"].astype(np.float32)
        self.bias = arrays["bias"].astype(np.float64)
        self.idf = arrays["idf"].astype(np.float64) / 20.0

    @classmethod
    def read(cls, path: Path) -> _Pack:
        with np.load(io.BytesIO(lzma.decompress(path.read_bytes()))) as pack:
            return cls({name: pack[name] for name in pack.files})

    def moved(
        self,
        delta: Floats,
        shift: Floats,
        version: str,
        offsets: Mapping[str, Mapping[str, float]],
        rows: int,
    ) -> bytes:
        """The same model with moved margins as further columns, each read by the upper layer of its own task only.

        The upper layer of a task reads the margins of all tasks; those it knew stay, so that a word about domains does
        not change what counts as grave.
        """
        known: list[str] = self.meta["columns"]
        taken = [c for c in range(len(known)) if np.abs(delta[:, c]).max() > 0]
        extra = self.weights[:, taken] + delta[:, taken]
        # as in training: not the maximum, one large weight would cost all others their precision
        scale = (
            np.maximum(np.percentile(np.abs(extra), 99.97, axis=0) / 127.0, 1e-9) if taken else np.zeros(0)
        )
        small = np.clip(np.round(extra / scale), -127, 127).astype(np.int8)
        arrays = dict(self.arrays)
        arrays["weights"] = np.hstack([arrays["weights"], small])
        arrays["scale"] = np.concatenate([arrays["scale"], scale]).astype(np.float32)
        arrays["bias"] = np.concatenate([arrays["bias"], self.bias[taken] + shift[taken]]).astype(np.float32)
        for task in TASKS:
            place = np.arange(len(known))  # where this task now finds each margin
            for at, column in enumerate(taken):
                if column in columns_of(known, task):
                    place[column] = len(known) + at
            coef = arrays[f"{task}_coef"]
            wide = np.zeros((len(coef), coef.shape[1] + len(taken)), coef.dtype)
            wide[:, place] = coef[:, : len(known)]
            wide[:, len(known) + len(taken) :] = coef[:, len(known) :]
            arrays[f"{task}_coef"] = wide
            feature = arrays[f"{task}_tree_feature"]
            inputs = np.concatenate([place, np.arange(len(known), coef.shape[1]) + len(taken)])
            arrays[f"{task}_tree_feature"] = inputs[feature].astype(feature.dtype)
        figures = {task: {**self.meta["figures"][task], "offsets": dict(offsets[task])} for task in TASKS}
        meta = {
            **self.meta,
            "version": version,
            "columns": [*known, *(_moved_name(known[c]) for c in taken)],
            "figures": {**self.meta["figures"], **figures, "adapted": rows},
        }
        arrays["meta"] = np.array([json.dumps(meta, ensure_ascii=False)])
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return lzma.compress(buffer.getvalue(), preset=0)  # as small to a tenth, twenty times as fast


class _Work:
    """What the steps of one adaptation share. Rows: the taught posts, then the anchors."""

    def __init__(
        self,
        model: LinearModel,
        offsets: Mapping[str, Mapping[str, float]],
        posts: _Posts,
        answers: list[dict[str, str]],
        anchors: int,
    ) -> None:
        self.model, self.posts = model, posts
        self.alone = {
            task: replace(model, top={task: model.top[task]}, trees={task: model.trees[task]})
            for task in TASKS
        }
        self.offsets = {
            task: np.array([float(offsets.get(task, {}).get(label, 0.0)) for label in model.labels[task]])
            for task in TASKS
        }
        taught = len(answers)
        rest = np.arange(taught, taught + anchors)
        # those that hold the change back are not those on which its harm is measured
        self.watched = rest[:: max(2, anchors // MEASURED_ANCHORS + 1)][:MEASURED_ANCHORS]
        self.anchors = np.setdiff1d(rest, self.watched)
        self.right = {
            task: np.array(
                [
                    model.labels[task].index(a[task]) if a.get(task) in model.labels[task] else -1
                    for a in answers
                ],
                dtype=np.int64,
            )
            for task in TASKS
        }
        self.wanted = np.vstack(
            [
                wanted(model.columns, posts.margins[:taught], answers),
                np.zeros((anchors, len(model.columns))),
            ]
        )
        self._kernel: Floats | None = None

    @property
    def kernel(self) -> Floats:
        """Likeness of every two posts, as the margins see it."""
        if self._kernel is None:
            self._kernel = np.asarray((self.posts.x @ self.posts.x.T).todense()) + COMMON
        return self._kernel

    def guess(self, rows: Floats, moves: Floats | None, offsets: Mapping[str, Floats]) -> Guess:
        """Probabilities of these rows, their margins moved, with these offsets. Each task sees its own moves only."""
        margins, facts = self.posts.margins[rows], self.posts.facts[rows]
        p = {}
        for task in TASKS:
            own = margins
            if moves is not None:
                mine = columns_of(self.model.columns, task)
                own = margins.copy()
                own[:, mine] += moves[:, mine]
            p[task] = _offset(self.alone[task].probabilities(np.hstack([own, facts]))[task], offsets[task])
        return Guess(p, self.model.labels)

    def dual(self, rows: Floats, ridge: float) -> Floats:
        """How much each post of `rows` and each anchor pulls on each margin."""
        from scipy.linalg import solve  # type: ignore[import-untyped,import-not-found,unused-ignore]  # see read()

        pulling = np.concatenate([rows, self.anchors])
        weight = np.concatenate([np.ones(len(rows)), np.full(len(self.anchors), ANCHOR_WEIGHT)])
        system = self.kernel[np.ix_(pulling, pulling)] + np.diag(ridge / weight)
        found: Floats = solve(system, self.wanted[pulling], assume_a="pos")
        return found

    def change(self, rows: Floats, chosen: Mapping[str, float | None]) -> Floats:
        """The pull of every post, each task's margins with the strength chosen for it."""
        out = np.zeros((len(rows) + len(self.anchors), len(self.model.columns)))
        for ridge in {value for value in chosen.values() if value is not None}:
            pull = self.dual(rows, ridge)
            for task, value in chosen.items():
                if value == ridge:
                    mine = columns_of(self.model.columns, task)
                    out[:, mine] = pull[:, mine]
        return out

    def effect(self, pull: Floats, rows: Floats, asked: Floats) -> Floats:
        """By how much the margins of `asked` move."""
        moved: Floats = self.kernel[np.ix_(asked, np.concatenate([rows, self.anchors]))] @ pull
        return moved

    def weights(self, pull: Floats, rows: Floats) -> tuple[Floats, Floats]:
        """The pull of posts as a change of weights [BUCKETS, columns] and of biases."""
        pulling = np.concatenate([rows, self.anchors])
        delta = np.asarray(self.posts.x[pulling].T @ pull.astype(np.float32))
        return delta, COMMON * pull.sum(axis=0)

    def choose(self, rows: Floats) -> tuple[dict[str, float | None], dict[str, Floats]]:
        """Strength of each task and its class offsets, by cross-validation over `rows`."""
        fold = np.random.RandomState(1).permutation(len(rows)) % min(INNER, max(len(rows), 2))
        ask = len(self.watched)
        plain: dict[float | None, dict[str, Floats]] = {}
        zero = {task: np.zeros(len(self.model.labels[task])) for task in TASKS}
        parts = [
            (np.flatnonzero(fold == k), np.flatnonzero(fold != k))
            for k in range(int(fold.max(initial=0)) + 1)
        ]
        for ridge in RIDGES:
            p = {task: np.zeros((len(rows) + ask, len(self.model.labels[task]))) for task in TASKS}
            for held, seen in parts:
                asked = np.concatenate([rows[held], self.watched]).astype(np.int64)
                moves = None
                if ridge is not None and len(seen):
                    moves = self.effect(self.dual(rows[seen], ridge), rows[seen], asked)
                got = self.guess(asked, moves, zero)
                for task in TASKS:
                    p[task][held] = got.p[task][: len(held)]
                    p[task][len(rows) :] += got.p[task][len(held) :] / len(parts)
            plain[ridge] = p
        chosen: dict[str, float | None] = {}
        moved: dict[str, Floats] = {}
        for task in TASKS:
            labelled = np.flatnonzero(self.right[task][rows] >= 0)
            truth = self.right[task][rows][labelled]
            former = plain[None][task][len(rows) :]

            def loss(
                ridge: float | None,
                extra: Floats,
                task: str = task,
                labelled: Floats = labelled,
                truth: Floats = truth,
                former: Floats = former,
            ) -> float:
                offsets = self.offsets[task]
                now = _offset(plain[ridge][task], offsets + extra)
                right = -np.log(now[labelled, truth] + 1e-9).sum()
                was = _offset(former, offsets)
                kept = _divergence(was, now[len(rows) :])
                share = max(1.0, ANCHORS_COUNT * len(labelled) / max(ask, 1))
                return float(right + share * kept + 0.5 * ((extra / OFFSET_SPREAD) ** 2).sum())

            none = np.zeros(len(self.model.labels[task]))
            if not len(labelled):
                chosen[task], moved[task] = None, self.offsets[task]
                continue
            best = min(RIDGES, key=lambda ridge: loss(ridge, none))
            chosen[task] = best
            bounds = _bounds(task, self.model.labels[task])
            moved[task] = self.offsets[task] + _smallest(lambda extra: loss(best, extra), none, bounds)  # noqa: B023
        return chosen, moved


def wanted(columns: Sequence[str], margins: Floats, answers: Sequence[Mapping[str, str]]) -> Floats:
    """By how much each level 0 margin should move: as far as it falls short of ENOUGH on the right side."""
    out = np.zeros_like(margins)
    for i, said in enumerate(answers):
        for c, name in enumerate(columns):
            task = name.split(":")[0].split(">=")[0]
            if task not in said:
                continue
            if ":" in name:
                yes = said[task] == name.split(":", 1)[1]
            elif ">=" in name:
                yes = int(said[task]) >= int(name.split(">=")[1])
            else:
                yes = said[task] == "y"
            side = 1.0 if yes else -1.0
            out[i, c] = side * max(0.0, ENOUGH - side * margins[i, c])
    return out


def columns_of(columns: Sequence[str], task: str) -> list[int]:
    """Which margins belong to a task."""
    return [c for c, name in enumerate(columns) if name.split(":")[0].split(">=")[0] == task]


def _moved_name(column: str) -> str:
    """What a moved margin is called, so that nothing takes it for the one it was made from."""
    task = column.split(":")[0].split(">=")[0]
    return f"{task}@city{column[len(task) :]}"


def _offset(p: Floats, offsets: Floats) -> Floats:
    z = np.log(p + 1e-12) + offsets
    e = np.exp(z - z.max(axis=1, keepdims=True))
    result: Floats = e / e.sum(axis=1, keepdims=True)
    return result


def _divergence(was: Floats, now: Floats) -> float:
    """How far probabilities went from what they were, summed over posts (nats)."""
    return float((was * (np.log(was + 1e-9) - np.log(now + 1e-9))).sum())


def _bounds(task: str, labels: Sequence[str]) -> list[tuple[float | None, float | None]]:
    """The offset of the gravest risk never falls against the others: a few corrections must not silence what pages people."""
    if task != "risk":
        return [(None, None)] * len(labels)
    return [(0.0, None) if label == labels[-1] else (None, 0.0) for label in labels]


def _smallest(
    loss: Callable[[Floats], float], start: Floats, bounds: list[tuple[float | None, float | None]]
) -> Floats:
    from scipy.optimize import minimize  # type: ignore[import-untyped,import-not-found,unused-ignore]  # see read()

    found: Floats = minimize(loss, start, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40}).x
    return found
