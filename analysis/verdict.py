"""Is a new model worse than the one in force? Paired counts on posts that neither was fitted to, and the rule.

Frozen posts (`frozen_posts.jsonl`) are invented and never trained on. The rule: of the posts on which the two
models differ, a fair coin would give each half, so a difference of one standard error (the root of their number) is
chance; a new model that loses more than that on any task, or misses an emergency of the frozen posts that the present one
hears, is worse. A model that wins nothing on the corrections held out from it is not worth a change.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis.adapt import Guess
from analysis.judge import Judge, JudgeInput, JudgeOutput
from analysis.linear import TASKS

FROZEN = Path(__file__).parent / "frozen_posts.jsonl"


@dataclass(frozen=True)
class Paired:
    """One task before and after, on the same posts. `gained`, `lost`: posts that only one of the two has right."""

    part: str  # frozen | corrections
    task: str
    n: int
    before: float
    after: float
    gained: int
    lost: int

    @property
    def worse(self) -> bool:
        """Whether the loss is more than chance."""
        return self.lost - self.gained > math.sqrt(self.lost + self.gained)


def frozen_posts() -> list[dict[str, Any]]:
    """The invented posts with their labels: id, text, tone, domain, signal, risk, fast."""
    return [json.loads(line) for line in FROZEN.read_text("utf-8").split("\n") if line]


def judge_frozen(judge: Judge) -> list[JudgeOutput]:
    """What a judge says of the frozen posts."""
    return judge.judge_batch(
        [JudgeInput(row["id"], "", row["text"]) for row in frozen_posts()], explain=False
    )


def answer_of(output: JudgeOutput, task: str) -> str:
    """A judgement in the words of the labels."""
    if task == "signal":
        return "y" if output.signal else "n"
    return str(getattr(output, task))


def paired(part: str, task: str, before: Sequence[str], after: Sequence[str], truth: Sequence[str]) -> Paired:
    """Count; posts without a truth ("") are passed over."""
    rows = [(b == t, a == t) for b, a, t in zip(before, after, truth, strict=True) if t]
    n = len(rows)
    return Paired(
        part,
        task,
        n,
        sum(b for b, _ in rows) / max(n, 1),
        sum(a for _, a in rows) / max(n, 1),
        sum(a and not b for b, a in rows),
        sum(b and not a for b, a in rows),
    )


def compare_frozen(before: Sequence[JudgeOutput], after: Sequence[JudgeOutput]) -> list[Paired]:
    """The frozen posts, task by task."""
    rows = frozen_posts()
    return [
        paired(
            "frozen",
            task,
            [answer_of(o, task) for o in before],
            [answer_of(o, task) for o in after],
            [str(row[task]) for row in rows],
        )
        for task in TASKS
    ]


def compare_taught(before: Guess, after: Guess, answers: Sequence[Mapping[str, str]]) -> list[Paired]:
    """Corrected posts that the new model did not see, task by task."""
    return [
        paired(
            "corrections", task, before.best(task), after.best(task), [said.get(task, "") for said in answers]
        )
        for task in TASKS
    ]


def missed_emergencies(before: Sequence[JudgeOutput], after: Sequence[JudgeOutput]) -> list[str]:
    """Texts of frozen emergencies that the present model hears and the new one does not."""
    return [
        row["text"]
        for row, b, a in zip(frozen_posts(), before, after, strict=True)
        if row["fast"] and b.fast and not a.fast
    ]


def refusals(table: Sequence[Paired], missed: Sequence[str]) -> list[str]:
    """Why the new model must not be installed; empty when it may."""
    found = [
        f"{row.task} on the {row.part}: {row.lost} posts lost, {row.gained} gained of {row.n} "
        f"({row.before:.3f} to {row.after:.3f})"
        for row in table
        if row.worse
    ]
    found += [f"an emergency is no longer heard: {text}" for text in missed]
    held = [row for row in table if row.part == "corrections"]
    if held and sum(row.gained - row.lost for row in held) <= 0:
        found.append(
            f"on the corrections held out from it nothing is won ({sum(r.gained for r in held)} gained, "
            f"{sum(r.lost for r in held)} lost): give more corrections first"
        )
    return found
