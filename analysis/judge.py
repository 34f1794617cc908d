"""Text in, judgement out: domain, tone, signal, risk, places, each with its probability. No database.

    judge = Judge.load(places)
    outputs = judge.judge_batch(items)

A `Judge` belongs to one thread. `analysis.streams.Workers` judges batches in several processes that share one loaded
judge (about 0.8 s to load; two workers and the main process hold 251 MB together).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from analysis.about import Finding, about
from analysis.fastsnow import load_snow
from analysis.linear import TASKS, LinearModel
from analysis.model_store import in_force
from analysis.places import Gazetteer, Named, Place
from analysis.reading import Reader, Reading
from analysis.risk import FastLimits, Hit, RiskWords, track
from config.places import Places

THRESHOLDS = Path(__file__).parent / "thresholds.toml"
EXPLAINED_WORDS = 4


@dataclass(frozen=True)
class JudgeInput:
    """One post as judging sees it. `id` is handed back untouched."""

    id: Any
    title: str = ""
    text: str = ""
    published_at: datetime | None = None
    place: str = ""
    source: str = ""
    author: str | None = None


@dataclass(frozen=True)
class JudgeOutput:
    """What the models say. Scores are calibrated probabilities: of the chosen domain, of negative tone, of a
    signal, of the chosen risk. `snownlp_score` is SnowNLP's own value (0 negative .. 1 positive)."""

    id: Any
    domain: str
    domain_score: float
    tone: str
    tone_score: float
    snownlp_score: float
    signal: bool
    signal_score: float
    risk: int
    risk_score: float
    grave_score: float  # probability of risk 3
    abstain: bool
    districts: tuple[str, ...]
    places: tuple[Place, ...]
    where: str  # here | elsewhere | unknown
    hazards: tuple[Hit, ...]
    fast: bool
    reasons: Mapping[str, Any] = field(default_factory=dict)
    model: str = ""
    #: whom it complains about (about.PARTIES) and how sure that is; "" without a signal or when the text does not say it
    about: str = ""
    about_score: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The line of `quansheng judge`."""
        return {
            "id": self.id,
            "domain": self.domain,
            "domain_score": round(self.domain_score, 4),
            "tone": self.tone,
            "tone_score": round(self.tone_score, 4),
            "snownlp_score": round(self.snownlp_score, 6),
            "signal": self.signal,
            "signal_score": round(self.signal_score, 4),
            "risk": self.risk,
            "risk_score": round(self.risk_score, 4),
            "abstain": self.abstain,
            "fast": self.fast,
            "about": self.about,
            "about_score": round(self.about_score, 4),
            "districts": list(self.districts),
            "places": [place.as_dict() for place in self.places],
            "reasons": dict(self.reasons),
            "model": self.model,
        }


@dataclass(frozen=True)
class Thresholds:
    """thresholds.toml."""

    model: str
    unsure: Mapping[str, float]
    offsets: Mapping[str, Mapping[str, float]]
    fast: FastLimits
    cluster_signal: float

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> Thresholds:
        """The shipped thresholds. Raises KeyError when one is missing."""
        data = tomllib.loads(THRESHOLDS.read_text("utf-8"))
        return cls(
            model=data["model"],
            unsure={task: float(data[task]["unsure"]) for task in TASKS},
            offsets={task: {k: float(v) for k, v in data[task]["offsets"].items()} for task in TASKS},
            fast=FastLimits.of(data["fast"]),
            cluster_signal=float(data["cluster"]["min_signal"]),
        )

    def with_fast(self, limits: Mapping[str, float]) -> Thresholds:
        """These thresholds with some limits of the fast track replaced (setting `analysis.fast`)."""
        return replace(self, fast=replace(self.fast, **limits)) if limits else self

    def of(self, model: LinearModel) -> Thresholds:
        """These thresholds with the offsets that were fitted with a model of this installation."""
        if model.version == self.model:
            return self
        return replace(
            self,
            model=model.version,
            offsets={
                task: {label: float(value) for label, value in model.figures[task]["offsets"].items()}
                for task in TASKS
            },
        )


def gazetteer_of(places: Places) -> Gazetteer:
    """The matcher for the city's own districts, streets, functional areas and named places."""
    districts = {d.name: [s.name for s in d.streets] for d in places.districts}
    # an area crosses districts, so it tells none; a short alias such as 南山 is part of other names
    named: list[Named] = [
        *(("district", a.name, [x for x in a.aliases if len(x) > 2], "") for a in places.areas),
        *((n.kind, n.name, n.aliases, n.district) for n in places.named),
    ]
    return Gazetteer(
        districts, places.city, aliases={d.name: d.aliases for d in places.districts}, named=named
    )


class Judge:
    """Reads posts in batches. Not for two threads at once."""

    def __init__(self, model: LinearModel, reader: Reader, thresholds: Thresholds) -> None:
        self.model, self.reader, self.thresholds = model, reader, thresholds
        self.version = f"{model.version}+snownlp-{reader.featuriser.snow.version}"
        names = model.columns
        self._domains = [c for c, name in enumerate(names) if name.startswith("domain:")]
        self._explained = (names.index("tone:neg"), names.index("signal"))
        self._offsets = {
            task: np.array([thresholds.offsets[task].get(label, 0.0) for label in model.labels[task]])
            for task in TASKS
        }

    @classmethod
    def load(
        cls,
        places: Places | None = None,
        models: Path | None = None,
        fast: Mapping[str, float] | None = None,
    ) -> Judge:
        """The model in force with the city's places; without places no district is recognised.

        `models`: where an installation keeps its own models (model_store.folder_of); without it the shipped one judges.
        `fast`: limits of the fast track that replace the shipped ones (setting `analysis.fast`).
        """
        gazetteer = gazetteer_of(places) if places is not None else None
        model = in_force(models).model
        limits = Thresholds.load().with_fast(fast or {}).of(model)
        return cls(model, Reader(load_snow(), RiskWords.load(), gazetteer), limits)

    def judge_batch(self, items: Sequence[JudgeInput], *, explain: bool = True) -> list[JudgeOutput]:
        """One output per input, in order."""
        if not items:
            return []
        features = self.reader.featuriser
        readings: list[Reading] = []
        words: list[dict[str, list[str]]] = []
        rows = []
        for item in items:
            reading = self.reader.read(item.title, item.text, item.published_at, item.place)
            margins = self.model.level0(features, reading.used)
            readings.append(reading)
            words.append(self._words(reading, margins) if explain else {})
            rows.append(np.concatenate([margins, reading.facts]))
        probabilities = self.model.probabilities(np.array(rows))
        chosen = {task: self._choose(task, probabilities[task]) for task in TASKS}
        return [
            self._output(
                item,
                readings[i],
                words[i],
                {task: (chosen[task][0][i], chosen[task][1][i]) for task in TASKS},
            )
            for i, item in enumerate(items)
        ]

    def _choose(self, task: str, p: Any) -> tuple[list[str], Any]:
        """Chosen labels and the probabilities after the offsets of thresholds.toml."""
        z = np.log(p + 1e-12) + self._offsets[task]
        e = np.exp(z - z.max(axis=1, keepdims=True))
        adjusted = e / e.sum(axis=1, keepdims=True)
        labels = self.model.labels[task]
        return [labels[k] for k in adjusted.argmax(axis=1)], adjusted

    def _output(
        self, item: JudgeInput, reading: Reading, words: dict[str, list[str]], chosen: Mapping[str, Any]
    ) -> JudgeOutput:
        def p(task: str, label: str) -> float:
            return float(chosen[task][1][self.model.labels[task].index(label)])

        domain, tone, risk = chosen["domain"][0], chosen["tone"][0], int(chosen["risk"][0])
        signal = chosen["signal"][0] == "y"
        grave = p("risk", "3")
        best = {task: float(chosen[task][1].max()) for task in TASKS}
        unsure = [
            task
            for task in TASKS
            if best[task] < self.thresholds.unsure[task] and (signal or task == "signal")
        ]
        empty = not reading.post.body.strip()
        taken = track(reading.risk, self.reader.words, p("signal", "y"), grave, self.thresholds.fast)
        reasons: dict[str, Any] = {key: value for key, value in words.items() if value}
        if reading.risk.hits:
            reasons["hazards"] = [
                {
                    "category": h.category,
                    "word": h.word,
                    "clause": h.clause,
                    **({"silenced_by": h.silenced_by} if h.silenced_by else {}),
                }
                for h in reading.risk.hits[:6]
            ]
        if reading.risk.elsewhere:
            reasons["elsewhere"] = reading.risk.elsewhere
        whom = about(reading.post.title, reading.post.body, reading.places) if signal else Finding("", 0.0)
        if whom.words:
            reasons["about"] = list(whom.words)
        if unsure or empty:
            reasons["unsure"] = unsure or ["empty"]
        # hazard words or a grave reading just below the limit: a person looks, nothing is lost
        if taken == "review":
            reasons["review"] = ["grave"]
        return JudgeOutput(
            id=item.id,
            domain=domain,
            domain_score=p("domain", domain),
            tone=tone,
            tone_score=p("tone", "neg"),
            snownlp_score=reading.snow,
            signal=signal,
            signal_score=p("signal", "y"),
            risk=risk,
            risk_score=p("risk", str(risk)),
            grave_score=grave,
            abstain=bool(unsure) or empty or taken == "review",
            districts=reading.districts,
            places=reading.places[:12],
            where=reading.risk.where,
            hazards=reading.risk.hits,
            fast=taken == "fast",
            reasons=reasons,
            model=self.version,
            about=whom.about,
            about_score=whom.score,
        )

    def _words(self, reading: Reading, margins: Any) -> dict[str, list[str]]:
        """The words that moved tone, signal and domain most, out of the post itself."""
        domain = self._domains[int(margins[self._domains].argmax())]
        named = (*self._explained, domain)
        found = self.model.moved(self.reader.featuriser, reading.post, named, EXPLAINED_WORDS)
        return dict(zip(("tone", "signal", "domain"), found, strict=True))
