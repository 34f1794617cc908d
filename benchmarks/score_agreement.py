"""How far the computed score agrees with people: `python -m benchmarks.score_agreement`.

Needs QUANSHENG_DATA (replies.jsonl: complaints with a department's answer; people's label `explained` on all rows, `complete` on 100). Of
the ten indicators these data let the five be computed that are read out of an answer: C, R, F, E, A, by the product's own formulas. Figures
are of part `test` as in benchmarks.replies; cuts come from part `train`. Intervals: 95 %, bootstrap over sources (the place that the
message is about, as the data mask it), since answers of one office resemble each other. Nothing is fitted and nothing written.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from analysis.likeness import cosine, percentile
from analysis.replies import TemplateIndex
from analysis.reply_promises import promises_in
from benchmarks.replies import ZONE, Read, Row, complete, explained, load, part_of
from config.evaluation import EvaluationSettings
from incidents.states import State
from reports.evaluation import answers
from reports.evaluation_facts import Facts, Reply

SETTINGS = EvaluationSettings()
RESAMPLES, OTHERS, SEED = 2000, 200, 20261130
IDS = ("C", "R", "F", "E", "A")
_PLACE = re.compile(r"[A-Z]\d{0,2}(?=[市县区])")
_NOW = datetime(2020, 1, 31, tzinfo=UTC)


def source_of(row: Row) -> str:
    """The masked district or county that is named most often in message and answer; its own id where none is."""
    named = Counter(_PLACE.findall(f"{row['title']} {row['text']} {row['reply']}"))
    # a district says more than its city, whose letter every answer of the city carries
    near = Counter({place: n for place, n in named.items() if place[1:]}) or named
    return near.most_common(1)[0][0] if near else str(row["id"])


def scored(one: Read, others: Sequence[Read], templates: TemplateIndex) -> dict[str, float]:
    """The indicators of one answer, and the score over them (weights of the product), each 0 to 1."""
    parts = one.parts
    weight = sum(ask.ask.weight for ask in one.asks)
    promised = promises_in(one.row["reply"], datetime.fromisoformat(one.row["replied_at"]), ZONE)
    elements = {name: span is not None for name, span in parts.elements.items()}
    elements["time_limit"] = elements["time_limit"] or bool(promised)
    reply = Reply(
        published_at=_NOW,
        relevance=percentile(one.likeness, [cosine(one.reply, other.case) for other in others]),
        coverage=sum(a.ask.weight for a in one.asks if a.answered) / weight if weight else None,
        elements=elements,
        citations=sum(cited.valid for cited in parts.citations),
        figures=len(parts.figures),
        buck_passing=parts.buck_passing is not None,
        template_of=templates.count(one.row["reply"], one.row["id"]),
        blame=parts.blame is not None,
        courtesy=parts.greeting is not None and parts.closing is not None,
    )
    facts = Facts(
        number="",
        incident_id=0,
        domain="",
        district="",
        department="",
        level="general",
        state=State.RESPONDED,
        round=1,
        as_of=_NOW,
        first_posted_at=_NOW,
        replies=(reply,),
        answered=((1, _NOW),),
    )
    found = {made.id: made.value for made in answers(facts, SETTINGS) if made.value is not None}
    weights = {id_: SETTINGS.weights[id_] for id_ in found}
    total = sum(found[id_] * weights[id_] for id_ in found) / sum(weights.values())
    return {**found, "score": total, "length": float(len(one.row["reply"]))}


# --- measures


def ranks(values: Any) -> Any:
    """Ranks with ties at their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[inverse]


def spearman(values: Any, truth: Any) -> float:
    """Spearman's rho; NaN where one side is constant."""
    a, b = ranks(values), ranks(truth)
    if a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])


def kappa_of(guess: Any, truth: Any) -> float:
    """Cohen's kappa (of two classes the weighted one is the same); NaN where chance leaves nothing to agree on."""
    chance = guess.mean() * truth.mean() + (1 - guess.mean()) * (1 - truth.mean())
    return float(((guess == truth).mean() - chance) / (1 - chance)) if chance < 1 else float("nan")


def best_cut(values: Any, truth: Any) -> float:
    """The cut with the best kappa on these rows (train rows only)."""
    steps = np.unique(np.quantile(values, np.linspace(0.02, 0.98, 49)))
    kappas = [np.nan_to_num(kappa_of(values >= cut, truth), nan=-1.0) for cut in steps]
    return float(steps[int(np.argmax(kappas))])


def interval(measure: Callable[[Any], float], groups: Sequence[str]) -> tuple[float, float]:
    """95 % of `measure` (of row numbers) over whole sources drawn with replacement."""
    members: dict[str, list[int]] = {}
    for at, name in enumerate(groups):
        members.setdefault(name, []).append(at)
    blocks = [np.array(rows) for rows in members.values()]
    dice = np.random.default_rng(SEED)
    found = [
        measure(np.concatenate([blocks[at] for at in dice.integers(0, len(blocks), len(blocks))]))
        for _ in range(RESAMPLES)
    ]
    low, high = np.nanpercentile(found, [2.5, 97.5])
    return float(low), float(high)


def table(
    name: str,
    known: Sequence[tuple[dict[str, float], bool]],
    held: Sequence[tuple[dict[str, float], bool]],
    groups: Sequence[str],
    which: Sequence[str],
) -> None:
    """One label: Spearman and kappa of each figure with it."""
    counts = Counter(grade for _, grade in held)
    print(f"\n{name}: train {len(known)}, test {len(held)} rows of {len(set(groups))} sources; test grades {dict(sorted(counts.items()))}")  # fmt: skip
    print("| | Spearman (95 %) | kappa (95 %) | cut from train |\n|---|---|---|---|")
    truth = np.array([grade for _, grade in held])
    for figure in which:
        there = [at for at, (made, _) in enumerate(held) if figure in made]
        values, real = np.array([held[at][0][figure] for at in there]), truth[there]
        trained = [(made[figure], grade) for made, grade in known if figure in made]
        cut = best_cut(np.array([v for v, _ in trained]), np.array([g for _, g in trained]))
        guess, names = values >= cut, [groups[at] for at in there]
        rho = _told(lambda rows, v=values, r=real: spearman(v[rows], r[rows]), names)  # type: ignore[misc]
        kappa = _told(lambda rows, g=guess, r=real: kappa_of(g[rows], r[rows]), names)  # type: ignore[misc]
        print(f"| {figure} (n = {len(there)}) | {rho} | {kappa} | {cut:.2f} |")


def _told(measure: Callable[[Any], float], groups: Sequence[str]) -> str:
    if np.isnan(measure(np.arange(len(groups)))):
        return "the same for all rows"
    low, high = interval(measure, groups)
    return f"{measure(np.arange(len(groups))):.2f} ({low:.2f} to {high:.2f})"


def main() -> None:
    """Print the tables."""
    reads = [Read(row) for row in load()]
    templates = TemplateIndex()
    for one in reads:
        templates.add(one.row["id"], one.row["reply"])
    made: dict[str, list[tuple[Read, dict[str, float]]]] = {}
    for part in ("train", "test"):
        rows = [one for one in reads if part_of(one.row["id"]) == part]
        step = max(1, len(rows) // OTHERS)
        made[part] = [
            (one, scored(one, [other for other in rows[at % step :: step] if other is not one], templates))
            for at, one in enumerate(rows)
        ]

    for name, label, which in (
        ("explained", explained, ("E", *[i for i in IDS if i != "E"], "score", "length")),
        ("complete", complete, ("F", *[i for i in IDS if i != "F"], "score", "length")),
    ):
        known = [(figures, yes) for one, figures in made["train"] if (yes := label(one.row)) is not None]
        graded = [(one, figures, yes) for one, figures in made["test"] if (yes := label(one.row)) is not None]
        held = [(figures, yes) for _, figures, yes in graded]
        table(name, known, held, [source_of(one.row) for one, _, _ in graded], which)


if __name__ == "__main__":
    main()
