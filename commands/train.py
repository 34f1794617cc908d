"""`quansheng train`: refit from corrections (and shared labels), compare with the model in force, install or refuse, go back."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from analysis import adapt
from analysis.adapt import Taught
from analysis.cluster import Clusterer, ClusterItem
from analysis.fastsnow import load_snow
from analysis.judge import Judge, Thresholds
from analysis.linear import TASKS, LinearModel
from analysis.model_store import InForce, ModelStore, Stored, folder_of, in_force
from analysis.places import Place
from analysis.reading import Reader
from analysis.risk import RiskWords
from analysis.verdict import (
    Paired,
    compare_frozen,
    compare_taught,
    judge_frozen,
    missed_emergencies,
    refusals,
)
from config.files import DEFAULTS
from config.places import load_places
from incidents import judged, labels, lifecycle
from incidents.dossier import dossier
from incidents.installation import Installation, Problem
from incidents.session import Session

Say = Callable[[str], None]

#: fewer corrected posts teach nothing that could be measured
FEWEST = 20
#: posts whose change is shown, out of so many looked at
SHOWN, LOOKED_AT = 10, 400
#: from so many corrected posts on, a whole refit keeps a fifth of them out, to be measured on
HELD_FROM, HELD_EVERY = 50, 5
PAIRS_READ = 500
GOLD = "gold"  # base of a model that was fitted anew


@dataclass(frozen=True)
class Agreement:
    """How often clustering, shown two posts alone, decides as people did. It is measured, not refitted."""

    same: int = 0
    same_right: int = 0
    apart: int = 0
    apart_right: int = 0


@dataclass(frozen=True)
class Trial:
    """A model that was fitted and compared, not yet in force."""

    version: str
    base: str
    packed: bytes
    table: tuple[Paired, ...]
    gold: tuple[dict[str, Any], ...]
    refused: tuple[str, ...]
    changed: tuple[str, ...]
    pairs: Agreement
    posts: int
    labels: int
    notes: tuple[str, ...] = ()

    def figures(self) -> dict[str, Any]:
        """What is kept beside the model and in the record."""
        return {
            "table": [asdict(row) for row in self.table],
            "gold": list(self.gold),
            "pairs": asdict(self.pairs),
            "posts": self.posts,
            "labels": self.labels,
        }

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "version": self.version,
            "base": self.base,
            **self.figures(),
            "refused": list(self.refused),
            "changed": list(self.changed),
            "notes": list(self.notes),
        }

    def lines(self) -> list[str]:
        """For a terminal: the table, what changed, the verdict."""
        out = [
            f"{self.version}, made from {self.base}: {self.posts} corrected posts, {self.labels} labels",
            "",
            f"{'measured on':<14}{'task':<9}{'posts':>6}{'before':>9}{'after':>8}{'gained':>8}{'lost':>6}",
        ]
        out += [
            f"{row.part:<14}{row.task:<9}{row.n:>6}{row.before:>9.3f}{row.after:>8.3f}{row.gained:>8}{row.lost:>6}"
            + ("  WORSE" if row.worse else "")
            for row in self.table
        ]
        out += [
            f"{'gold, 5 folds':<14}{row['figure']:<9}{row['n']:>6}{row['before']:>9.3f}{row['after']:>8.3f}"
            + ("  WORSE" if row["worse"] else "")
            for row in self.gold
        ]
        if self.pairs.same + self.pairs.apart:
            out += [
                "",
                f"pairs of posts that people put together: clustering agrees on {self.pairs.same_right} of {self.pairs.same}; "
                f"took apart: {self.pairs.apart_right} of {self.pairs.apart} (measured; clustering is not refitted)",
            ]
        if self.changed:
            out += [
                "",
                "what would be judged otherwise, for example:",
                *(f"  {text}" for text in self.changed),
            ]
        out += [*([""] if self.notes else []), *self.notes, ""]
        return out


@dataclass
class _Given:
    """What people taught in this installation, and posts that nobody corrected."""

    taught: list[Taught] = field(default_factory=list)
    labels: int = 0
    left_out: int = 0  # values that this model has no class for
    anchors: list[tuple[str, str]] = field(default_factory=list)
    pairs: Agreement = Agreement()


def train(home: Installation, data: Path | None, now: datetime, say: Say) -> Trial:
    """Fit and compare; nothing is installed. The caller holds `store(home).lock()`. Raises Problem.

    `data`: folder with the shared labelled posts: everything is fitted anew; without it the present model is adapted.
    """
    folder = folder_of(home.settings.data_path)
    here = in_force(folder)
    if here.trouble:
        say(f"{here.trouble}; starting from the shipped model")
    with home.db.reading() as session:
        given = _given(session, here.model)
    say(f"{len(given.taught)} corrected posts, {len(given.anchors)} judged posts that nobody corrected")
    version = ModelStore(folder).next_version(LinearModel.load().version)
    if data is not None:
        return _refit(here, given, data, version, say)
    if here.stored is not None and here.stored.base == GOLD:
        raise Problem(
            f"the model in force ({here.model.version}) was fitted with the shared labelled posts; give --data DIR again, "
            "or go back to the former model with --rollback"
        )
    if len(given.taught) < FEWEST:
        raise Problem(
            f"only {len(given.taught)} posts carry a correction, at least {FEWEST} are needed: correct or confirm posts in the "
            "console, or give --data DIR with the shared labelled posts"
        )
    return _adapted(here, given, version, say)


def _given(session: Session, model: LinearModel) -> _Given:
    found = _Given()
    posts: dict[int, tuple[str, str]] = {}
    said: dict[int, dict[str, str]] = {}
    for label in labels.training_labels(session):
        if label.kind not in TASKS:
            continue  # whom a complaint is about is read by rules
        value = {"yes": "y", "no": "n"}.get(label.value, label.value)
        if value not in model.labels[label.kind]:
            found.left_out += 1
            continue
        posts[label.post_id] = (label.title, label.text)
        said.setdefault(label.post_id, {})[label.kind] = value
        found.labels += 1
    found.taught = [Taught(id_, *posts[id_], answers) for id_, answers in sorted(said.items())]
    recent = judged.recent_texts(session, adapt.MOST_ANCHORS + adapt.MEASURED_ANCHORS + len(posts))
    found.anchors = [(text.title, text.text) for text in recent if text.id not in posts]
    found.pairs = agreement(session)
    return found


def agreement(session: Session) -> Agreement:
    """Show clustering each pair of posts that people brought together or took apart, alone."""
    pairs = labels.pair_labels(session)[-PAIRS_READ:]
    items: dict[int, ClusterItem | None] = {}
    same = right = apart = kept = 0
    for pair in pairs:
        for id_ in (pair.a, pair.b):
            if id_ not in items:
                items[id_] = _item(session, id_)
        one, other = items[pair.a], items[pair.b]
        if one is None or other is None:
            continue  # purged meanwhile
        clusterer = Clusterer()
        together = clusterer.assign(one).incident == clusterer.assign(other).incident
        if pair.same:
            same, right = same + 1, right + together
        else:
            apart, kept = apart + 1, kept + (not together)
    return Agreement(same, right, apart, kept)


def _item(session: Session, post_id: int) -> ClusterItem | None:
    post = dossier(session, post_id)
    if post is None or post.judgement is None:
        return None
    places = tuple(Place(p["kind"], p["name"], p["norm"]) for p in post.judgement.places)
    return ClusterItem(
        str(post.id),
        post.title,
        post.text,
        post.published_at,
        places,
        None,
        tuple(post.judgement.districts),
    )


def _offsets(model: LinearModel) -> dict[str, dict[str, float]]:
    return {task: dict(values) for task, values in Thresholds.load().of(model).offsets.items()}


def _adapted(here: InForce, given: _Given, version: str, say: Say) -> Trial:
    # always from the shipped model: corrections are all there still, and a change of a change would drift
    shipped = in_force(None)
    reader = Reader(load_snow(), RiskWords.load())
    before_offsets = _offsets(shipped.model)
    done = adapt.adapt(shipped.path, before_offsets, given.taught, given.anchors, version, reader, say)
    table = compare_taught(done.before, done.after, [t.answers for t in given.taught])
    notes = []
    if here.stored is not None:
        notes.append(
            f"on the corrections, `before` is the shipped model {shipped.model.version}: the one in force has seen them"
        )
    return _compared(here, given, version, shipped.model.version, done.packed, table, (), notes, reader)


def _refit(here: InForce, given: _Given, data: Path, version: str, say: Say) -> Trial:
    try:
        from analysis.train import train as fit  # scikit-learn, which judging must not load
    except ImportError as exc:
        raise Problem(f"{exc.name} is not installed; `pip install scikit-learn scipy`") from exc
    held: list[Taught] = []
    if len(given.taught) >= HELD_FROM:
        held = [t for t in given.taught if t.id % HELD_EVERY == 0]
    kept_out = {t.id for t in held}
    extra = [{"title": t.title, "text": t.text, **t.answers} for t in given.taught if t.id not in kept_out]
    try:
        packed, figures = fit(data, version, say, extra)
    except FileNotFoundError as exc:
        raise Problem(str(exc)) from exc
    reader = Reader(load_snow(), RiskWords.load())
    table: list[Paired] = []
    notes = []
    if held:
        posts = [(t.title, t.text) for t in held]
        before = adapt.judge_posts(here.path, _offsets(here.model), posts, reader)
        with _as_file(packed) as path:
            after = adapt.judge_posts(path, _offsets(LinearModel.load(path)), posts, reader)
        table = compare_taught(before, after, [t.answers for t in held])
        if here.stored is not None:
            notes.append("on the corrections, the model in force may have seen them: `before` flatters it")
    else:
        notes.append(f"fewer than {HELD_FROM} corrected posts: none were held out to measure on")
    gold = compare_gold(here.model.figures, figures)
    return _compared(here, given, version, GOLD, packed, table, gold, notes, reader)


def compare_gold(before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """Cross-validated accuracy of both models on the shared labelled posts; worse by a standard error is worse."""
    rows = []
    for task in TASKS:
        was, now = before[task]["with_offsets"]["accuracy"], after[task]["with_offsets"]["accuracy"]
        n = int(after["posts"])
        error = (was * (1 - was) / max(n, 1)) ** 0.5
        rows.append({"figure": task, "n": n, "before": was, "after": now, "worse": bool(now < was - error)})
    return tuple(rows)


class _as_file:
    """A model in memory as a file for a while: models are read from files."""

    def __init__(self, packed: bytes) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="quansheng-model-")
        self.path = Path(self._folder.name) / "trial.npz.xz"
        self.path.write_bytes(packed)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *error: object) -> None:
        self._folder.cleanup()


def _compared(
    here: InForce,
    given: _Given,
    version: str,
    base: str,
    packed: bytes,
    table: Sequence[Paired],
    gold: tuple[dict[str, Any], ...],
    notes: Sequence[str],
    reader: Reader,
) -> Trial:
    # the frozen posts play in Jinan, wherever this installation stands
    places = load_places(DEFAULTS / "places" / "jinan.yaml")
    thresholds = Thresholds.load()
    with _as_file(packed) as path:
        model = LinearModel.load(path)
        judge = Judge.load(places)
        old = judge_frozen(Judge(here.model, judge.reader, thresholds.of(here.model)))
        new = judge_frozen(Judge(model, judge.reader, thresholds.of(model)))
        asked = [(t.title, t.text) for t in given.taught[-LOOKED_AT:]] + given.anchors[-LOOKED_AT:]
        was = adapt.judge_posts(here.path, _offsets(here.model), asked, reader)
        will = adapt.judge_posts(path, _offsets(model), asked, reader)
    whole = (*compare_frozen(old, new), *table)
    refused = [*refusals(whole, missed_emergencies(old, new))]
    refused += [
        f"{row['figure']} on the shared labelled posts: accuracy {row['before']:.3f} to {row['after']:.3f}, "
        "more than one standard error"
        for row in gold
        if row["worse"]
    ]
    if given.left_out:
        notes = [
            *notes,
            f"{given.left_out} labels name a class that the model does not have; they were left out",
        ]
    return Trial(
        version,
        base,
        packed,
        whole,
        gold,
        tuple(refused),
        tuple(_changed(asked, was, will)),
        given.pairs,
        len(given.taught),
        given.labels,
        tuple(notes),
    )


def _changed(posts: Sequence[tuple[str, str]], was: adapt.Guess, will: adapt.Guess) -> list[str]:
    shown = []
    before = {task: was.best(task) for task in TASKS}
    after = {task: will.best(task) for task in TASKS}
    for i, (title, text) in enumerate(posts):
        moved = [
            f"{task} {before[task][i]} > {after[task][i]}"
            for task in TASKS
            if before[task][i] != after[task][i]
        ]
        if moved:
            words = " ".join((title or text).split())[:36]
            shown.append(f"{words}: {', '.join(moved)}")
        if len(shown) == SHOWN:
            break
    return shown


def store(home: Installation) -> ModelStore:
    """The models of this installation."""
    return ModelStore(folder_of(home.settings.data_path))


def install(home: Installation, trial: Trial, *, actor: str, now: datetime) -> Stored:
    """Put the model in force and write that into the record. Raises Problem for a model that was refused."""
    if trial.refused:
        raise Problem("not installed: " + "; ".join(trial.refused))
    models = store(home)
    stored = models.put(
        trial.packed, version=trial.version, base=trial.base, now=now, figures=trial.figures()
    )
    models.load(stored)  # read back what was written before anything relies on it
    with home.db.transaction() as session:
        lifecycle.record_act(
            session,
            "model_installed",
            {"version": stored.version, "base": stored.base, "sha256": stored.sha256, **trial.figures()},
            actor=actor,
            channel="cli",
            now=now,
        )
        models.use(stored)  # last: what cannot be recorded does not judge
    return stored


def roll_back(home: Installation, *, actor: str, now: datetime) -> tuple[str, str]:
    """Take the installed model away; returns its version and the version that judges now."""
    models = store(home)
    with models.lock(), home.db.transaction() as session:
        listed = models.listed()
        if not listed:
            raise Problem("the shipped model judges already: there is nothing to go back from")
        gone = listed[-1].version
        left = listed[-2].version if len(listed) > 1 else LinearModel.load().version
        lifecycle.record_act(
            session,
            "model_rolled_back",
            {"version": gone, "now": left},
            actor=actor,
            channel="cli",
            now=now,
        )
        models.rollback()
    return gone, left
