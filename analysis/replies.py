"""Reading an official answer 答复研读: does it answer this case, what does it say, what does it promise, is it a form letter?

Pure: case and answer in, what was found with its places out. Nothing here judges a department; a person reads the answer beside it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from analysis.asks import Ask, CasePost, asks_of, joined
from analysis.copies import jaccard, shingles
from analysis.likeness import Terms, cosine, covered, percentile, terms, together
from analysis.reply_parts import ELEMENTS, Citation, Parts, read_parts
from analysis.reply_promises import Promise, promises_in
from analysis.spans import Span, narrow

#: raise when patterns, weights or thresholds change: answers are then read anew
MODEL = "reply-2"
WEIGHTS = Path(__file__).parent / "models" / "replies.json"
#: with fewer other cases a percentile says nothing
FEWEST_OTHERS = 5
#: answers that share this much are one form letter
TEMPLATE = 0.8
#: share of an ask's words (by rarity) that must stand in what the answer says. Set on the training rows: an answer to another
#: case reaches it for one ask in twenty (docs/quality.md)
ANSWERED = 0.13


@dataclass(frozen=True)
class AskRead:
    """One ask and whether the answer takes it up. `score`: share of its words that the answer takes up."""

    ask: Ask
    score: float
    answered: bool


@dataclass(frozen=True)
class ReplyReading:
    """What one answer says. `relevance` and `coverage` are None where there is nothing to compare with, nothing asked."""

    relevance: float | None
    coverage: float | None
    asks: tuple[AskRead, ...]
    elements: dict[str, Span | None]
    citations: tuple[Citation, ...]
    figures: tuple[Span, ...]
    #: 推诿: where the person is sent elsewhere while the matter goes to nobody
    buck_passing: Span | None
    #: nothing but a referral or a transfer
    only_referral: bool
    template_of: int
    blame: Span | None
    greeting: Span | None
    closing: Span | None
    promises: tuple[Promise, ...]
    #: how likely a reader would say that the answer explains something (weights fitted on part of a public set)
    explained: float
    model: str = MODEL

    @property
    def valid_citations(self) -> int:
        """Citations whose law and article are known."""
        return sum(one.valid for one in self.citations)

    @property
    def courtesy(self) -> bool:
        """Greeted, and closed with thanks or a wish."""
        return self.greeting is not None and self.closing is not None

    @property
    def present(self) -> dict[str, bool]:
        """Each of the eight elements: there or not."""
        return {name: self.elements[name] is not None for name in ELEMENTS}


# --- form letters ---------------------------------------------------------------------------------------------------

_OWN_WORDS = re.compile(r"[“\"‘「『][^”\"’」』]{0,80}[”\"’」』]|[0-9]+|〔[^〕]*〕")


def _bare(text: str) -> set[str]:
    """Shingles of what is left without quotations and numbers: names and dates do not make a form letter another one."""
    return shingles(_OWN_WORDS.sub("", narrow(text)))


class TemplateIndex:
    """Other answers, to count how many of them one nearly equals."""

    def __init__(self) -> None:
        self._held: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return len(self._held)

    def add(self, key: str, text: str) -> None:
        """Remember an answer under its key; the same key again replaces it."""
        self._held[key] = _bare(text)

    def count(self, text: str, but: str = "") -> int:
        """How many remembered answers nearly equal this one, besides the one under key `but`."""
        grams = _bare(text)
        low, high = TEMPLATE * len(grams), len(grams) / TEMPLATE
        return sum(
            key != but and low <= len(other) <= high and jaccard(grams, other) >= TEMPLATE
            for key, other in self._held.items()
        )


# --- the answer beside the case ---------------------------------------------------------------------------------------


def case_terms(posts: Sequence[CasePost]) -> Terms:
    """The words of a case, for comparing answers with it."""
    return together(terms(joined(post.title, post.text)) for post in posts)


def relevance_of(reply: Terms, case: Terms, others: Sequence[Terms]) -> float | None:
    """Where the likeness of answer and case stands among the likenesses of this answer with other cases.

    A form letter is like all of them alike: about one half. None with too few other cases.
    """
    if len(others) < FEWEST_OTHERS:
        return None
    return percentile(cosine(reply, case), [cosine(reply, other) for other in others])


def _answered(asks: Sequence[Ask], text: str, parts: Parts) -> tuple[AskRead, ...]:
    """Asks against what the answer says of its own: what it only quotes is not answered."""
    own = terms("\n".join(_OWN_WORDS.sub(" ", span.of(text)) for span in parts.substance))
    found = []
    for ask in asks:
        score = covered(ask.words, own)
        found.append(AskRead(ask, round(score, 4), bool(parts.substance) and score >= ANSWERED))
    return tuple(found)


# --- the small trained layer ------------------------------------------------------------------------------------------

FEATURES = (
    *ELEMENTS,
    "citations",
    "figures",
    "only_referral",
    "referral",
    "courtesy",
    "substance",
    "characters",
    "ask_score",
    "likeness",
)


def features_of(parts: Parts, text: str, asks: Sequence[AskRead], likeness: float) -> dict[str, float]:
    """What the small model weighs: numbers of the reading alone, no word."""
    best = max((one.score for one in asks), default=0.0)
    return {
        **{name: float(parts.elements[name] is not None) for name in ELEMENTS},
        "citations": math.log1p(len(parts.citations)),
        "figures": math.log1p(len(parts.figures)),
        "only_referral": float(parts.only_referral),
        "referral": float(parts.referral is not None),
        "courtesy": float(parts.courtesy),
        "substance": math.log1p(len(parts.substance)),
        "characters": math.log1p(sum(span.end - span.start for span in parts.substance)) / 3,
        "ask_score": best,
        "likeness": likeness,
    }


@lru_cache(maxsize=1)
def _weights() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(WEIGHTS.read_text("utf-8"))
    if found["features"] != list(FEATURES):
        raise KeyError("analysis/models/replies.json belongs to other features; fit it again")
    return found


def probability(task: str, features: Mapping[str, float]) -> float:
    """How likely a reader says yes to `explained` or `complete`, by the shipped weights."""
    fitted = _weights()[task]
    z = fitted["bias"] + sum(w * features[name] for name, w in zip(FEATURES, fitted["weights"], strict=True))
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, z))))


def read_reply(
    posts: Sequence[CasePost],
    reply: str,
    *,
    published_at: datetime,
    zone: ZoneInfo,
    others: Sequence[Terms] = (),
    templates: TemplateIndex | None = None,
    key: str = "",
    known: Collection[str] = (),
) -> ReplyReading:
    """Read one answer beside its case.

    `others`: the words of other cases of the domain (`case_terms`); `templates`: other answers, `key` this one's key among them;
    `known`: documents that the city's rule file cites.
    """
    parts = read_parts(reply, known)
    case = case_terms(posts)
    asks = _answered(asks_of(posts), reply, parts)
    words = terms(reply)
    likeness = cosine(words, case)
    weight = sum(one.ask.weight for one in asks)
    promises = promises_in(reply, published_at, zone)
    elements = dict(parts.elements)
    if elements["time_limit"] is None and promises:
        elements["time_limit"] = promises[0].span
    features = features_of(parts, reply, asks, likeness)
    return ReplyReading(
        relevance=relevance_of(words, case, others),
        coverage=sum(one.ask.weight for one in asks if one.answered) / weight if weight else None,
        asks=asks,
        elements=elements,
        citations=parts.citations,
        figures=parts.figures,
        buck_passing=parts.buck_passing,
        only_referral=parts.only_referral,
        template_of=templates.count(reply, key) if templates is not None else 0,
        blame=parts.blame,
        greeting=parts.greeting,
        closing=parts.closing,
        promises=promises,
        explained=round(probability("explained", features), 4),
    )
