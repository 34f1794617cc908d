"""`quansheng eval`: every figure of judging beside target and baseline, and how well the model does on this city's corrections."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from analysis import figures
from analysis.figures import Figure
from analysis.judge import Judge
from analysis.linear import TASKS
from analysis.model_store import folder_of, in_force
from config.bundle import Bundle
from config.files import DEFAULTS
from config.places import load_places
from incidents import labels
from incidents.installation import Installation, Problem
from incidents.proportions import wilson
from incidents.session import Session

#: where the scripts of a source checkout lie
SCRIPTS = Path(__file__).parent.parent / "benchmarks"
#: minutes one script may take
SCRIPT_MINUTES = 20
CONFUSIONS = 8


@dataclass(frozen=True)
class Verdicts:
    """What people said of judgements, by kind: how often the machine had been right, of the posts they spoke of."""

    kind: str
    right: int
    n: int

    def sentence(self) -> str:
        """With its interval."""
        low, high = wilson(self.right, self.n)
        return f"{self.kind:<8} right {self.right} of {self.n}: {self.right / self.n:.3f} (95 %: {low:.3f} to {high:.3f})"


@dataclass
class Report:
    """Everything eval says."""

    model: str
    trouble: str = ""
    figures: list[Figure] = field(default_factory=list)
    verdicts: list[Verdicts] = field(default_factory=list)
    confusions: list[tuple[str, str, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    scripts: dict[str, str] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """For scripts."""
        return {
            "model": self.model,
            "trouble": self.trouble,
            "figures": [figure.as_dict() for figure in self.figures],
            "corrections": [
                {"kind": v.kind, "right": v.right, "n": v.n, "interval": wilson(v.right, v.n)}
                for v in self.verdicts
            ],
            "domain_confusions": [{"machine": a, "person": b, "posts": n} for a, b, n in self.confusions],
            "notes": self.notes,
            "scripts": self.scripts,
        }


def evaluate(
    bundle: Bundle,
    home: Installation | None,
    data: Path | None,
    *,
    quick: bool = False,
    full: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Report:
    """Compute what can be computed here. `home` None: there is no installation whose corrections could be read."""
    if data is not None and not (data / "posts_gold.jsonl").is_file():
        raise Problem(
            f"{data}: holds no posts_gold.jsonl; give the folder of the shared data, or leave --data away"
        )
    folder = folder_of(bundle.settings.data_path)
    here = in_force(folder)
    report = Report(here.model.version, here.trouble)
    # the frozen posts play in Jinan, wherever this installation stands
    judge = Judge.load(load_places(DEFAULTS / "places" / "jinan.yaml"), folder)
    report.figures += figures.stored(here.model)
    report.figures += figures.invented(judge)
    if not quick:
        say("speed")
        report.figures += figures.speed(judge)
    if data is None:
        report.figures += [
            Figure("tone", "SnowNLP alone, AUC for negative", None, figures.ABSENT),
            Figure("incidents", "BCubed F1", None, figures.ABSENT, None, 0.965),
            Figure("incidents", "pairwise F1", None, figures.ABSENT, None, 0.9),
            Figure("incidents", "largest wrong merge", None, figures.ABSENT, None, most=3),
            Figure("fast track", "emergency reports heard", None, figures.ABSENT, None, 0.98),
        ]
    elif not quick:
        say("labelled posts, stream of messages, emergency reports")
        measures: list[Callable[[], list[Figure]]] = [
            partial(figures.tone_of_snownlp, judge, data),
            partial(figures.clustering, data),
            partial(figures.emergencies, judge, data),
        ]
        for measure in measures:
            try:
                report.figures += measure()
            except FileNotFoundError as exc:
                report.notes.append(f"{exc.filename}: no such file; its figures are left out")
    report.figures += figures.elsewhere(SCRIPTS)
    if home is not None:
        with home.db.reading() as session:
            _taught(session, report)
    else:
        report.notes.append("no database here: figures on this city's own corrections are left out")
    if full:
        _scripts(report, data, say)
    return report


def _taught(session: Session, report: Report) -> None:
    """What the machine had said before the first person spoke, against the last word: no model has seen that before."""
    found = labels.verdicts(session)
    report.verdicts = [
        Verdicts(kind, *found.by_kind[kind]) for kind in (*TASKS, "about") if kind in found.by_kind
    ]
    domains = {pair[1:]: n for pair, n in found.confusions.items() if pair[0] == "domain"}
    report.confusions = [(a, b, n) for (a, b), n in list(domains.items())[:CONFUSIONS]]
    if not found.posts:
        report.notes.append(
            "nobody has corrected or confirmed a judgement yet: no figures of this city's own"
        )
    else:
        report.notes.append(
            f"{found.posts} posts with a person's word. People open what looks wrong and only changed values are labelled unless "
            "the whole judgement is confirmed: the shares of this city are lower bounds"
        )


def _scripts(report: Report, data: Path | None, say: Callable[[str], None]) -> None:
    if not SCRIPTS.is_dir():
        raise Problem("--full: the benchmarks come with the source only; run it in a checkout of the source")
    for *_, script in figures.LONG:
        path = SCRIPTS / script
        if not path.is_file():
            continue
        say(f"benchmarks/{script}")
        try:
            done = subprocess.run(  # noqa: S603  # our own script
                [sys.executable, str(path)],
                capture_output=True,
                text=True,
                timeout=SCRIPT_MINUTES * 60,
                cwd=SCRIPTS.parent,
                env=_environment(data),
                check=False,
            )
        except subprocess.TimeoutExpired:
            report.scripts[script] = f"given up after {SCRIPT_MINUTES} minutes"
            continue
        report.scripts[script] = done.stdout or done.stderr


def _environment(data: Path | None) -> dict[str, str]:
    extra = {"QUANSHENG_DATA": str(data)} if data is not None else {}
    return {**os.environ, "PYTHONPATH": str(SCRIPTS.parent), **extra}
