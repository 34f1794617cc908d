"""Precision and recall of redaction: `python -m benchmarks.redaction [develop|held|later] [-v]`.

Needs no data: `tests/data/redaction.jsonl` holds invented texts with the places of what must go; half of them hold
nothing that must go. The hash of a text says to which half of the set it belongs; faults of `develop` may be looked at
(`-v`), the figures that count are those of `held`. `later` (`redaction_later.jsonl`) was written in two rounds after the
patterns were done, scored once unseen, and read only then: docs/quality.md tells both figures.

A labelled piece is *found* when every character of it is taken out, under whatever kind: a name that is left over in
part is a leak. A piece taken out is *right* when at least half of it is labelled; the rest is text that was needed.
"""

from __future__ import annotations

import hashlib
import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from spiders.redact import find_personal

CASES = Path(__file__).parent.parent / "tests" / "data" / "redaction.jsonl"
LATER = CASES.with_name("redaction_later.jsonl")
Span = tuple[int, int, str]


@dataclass(frozen=True)
class Case:
    """An invented text and the pieces of it that must go."""

    text: str
    spans: tuple[Span, ...]

    @property
    def held(self) -> bool:
        """Whether its faults are never looked at."""
        return hashlib.sha256(self.text.encode()).digest()[0] % 2 == 1


@dataclass
class Score:
    """Pieces labelled, found, taken out, rightly taken out; exact: found with the very borders of the label."""

    labelled: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    exact: Counter[str] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    #: texts without personal data, and how many of them were left as they are
    clean: int = 0
    untouched: int = 0
    faults: list[tuple[str, str]] = field(default_factory=list)

    @property
    def recall(self) -> float:
        """Share of the labelled pieces that are gone."""
        return self.found.total() / self.labelled.total()

    @property
    def precision(self) -> float:
        """Share of the pieces taken out that had to go."""
        return self.right.total() / self.taken.total()


def load(path: Path = CASES) -> list[Case]:
    """All cases of the set."""
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [Case(row["text"], tuple((a, b, kind) for a, b, kind in row["spans"])) for row in rows]


def score(cases: list[Case]) -> Score:
    """Run redaction over `cases` and count."""
    total = Score()
    for case in cases:
        taken = find_personal(case.text)
        gone = {at for start, end, _ in taken for at in range(start, end)}
        wanted = {at for start, end, _ in case.spans for at in range(start, end)}
        if not case.spans:
            total.clean += 1
            total.untouched += not taken
        for start, end, kind in case.spans:
            total.labelled[kind] += 1
            total.exact[kind] += any(one[:2] == (start, end) for one in taken)
            if gone.issuperset(range(start, end)):
                total.found[kind] += 1
            else:
                total.faults.append((f"left {kind} {case.text[start:end]}", case.text))
        for start, end, kind in taken:
            total.taken[kind] += 1
            if 2 * len(wanted.intersection(range(start, end))) >= end - start:
                total.right[kind] += 1
            else:
                total.faults.append((f"took {kind} {case.text[start:end]}", case.text))
    return total


def table(total: Score) -> str:
    """Markdown rows, one for each kind."""
    lines = [
        "| kind | labelled | recall | exact borders | taken out | precision |",
        "|---|---|---|---|---|---|",
    ]
    for kind in sorted({*total.labelled, *total.taken}):
        there, out = total.labelled[kind], total.taken[kind]
        lines.append(
            f"| {kind} | {there} | {_share(total.found[kind], there)} | {_share(total.exact[kind], there)} "
            f"| {out} | {_share(total.right[kind], out)} |"
        )
    lines.append(
        f"| **all** | {total.labelled.total()} | {total.recall:.3f} | "
        f"{_share(total.exact.total(), total.labelled.total())} | {total.taken.total()} | {total.precision:.3f} |"
    )
    return "\n".join(lines)


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "–"


def main(arguments: list[str]) -> int:
    """Print the tables; with -v the faults of what may be looked at."""
    cases = load()
    wanted = [name for name in ("develop", "held", "later") if name in arguments] or [
        "develop",
        "held",
        "later",
    ]
    for name in wanted:
        part = load(LATER) if name == "later" else [case for case in cases if case.held == (name == "held")]
        begun = time.process_time()
        total = score(part)
        spent = time.process_time() - begun
        print(f"\n{name}: {len(part)} texts, {total.clean} of them clean, {total.untouched} of these left untouched, "
              f"{1000 * spent / len(part):.2f} ms a text\n")  # fmt: skip
        print(table(total))
        if "-v" in arguments and name != "held":
            for what, text in total.faults:
                print(f"  {what}    | {text}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
