"""Whom a post complains about: an office, a school, a company or somebody else, where the text says it.

Words of a dozen lists (about_words.toml) are counted in the title, in the first sentences and in the rest; a small
multinomial model over these counts chooses. What asks or wishes blames nobody and stays empty, and so does what is unsure.
The lists can be read and corrected by hand; the weights are fitted by `python -m benchmarks.analysis_places fit`.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import ahocorasick_rs

from analysis.places import Place

#: what can be answered, in the order of the weights; "" blames nobody or does not say whom
PARTIES = ("", "department", "school", "company", "other")
WEIGHTS = Path(__file__).parent / "models" / "about.json"
#: characters read; the beginning says it, the rest repeats it
READ, BEGINNING = 400, 90
WORDS_SHOWN = 4

_LISTS: dict[str, list[str]] = tomllib.loads((Path(__file__).parent / "about_words.toml").read_text("utf-8"))
LISTS = tuple(_LISTS)
_OF_WORD: dict[str, list[int]] = {}
for _index, _words in enumerate(_LISTS.values()):
    for _word in _words:
        _OF_WORD.setdefault(_word.lower(), []).append(_index)
_WORDS = list(_OF_WORD)
_LISTS_OF = list(_OF_WORD.values())
_MATCHER = ahocorasick_rs.AhoCorasick(_WORDS, matchkind=ahocorasick_rs.MatchKind.LeftmostLongest)
#: names of the facts: a list's words in the title, at the beginning, in what is read, and the kinds of place in the title
FACTS = (
    *(f"{part}:{name}" for part in ("title", "begin", "all") for name in LISTS),
    *(
        f"place:{kind}"
        for kind in ("estate", "school", "hospital", "road", "village", "organisation", "brand")
    ),
)

_PLACE_FACTS = frozenset(fact for fact in FACTS if fact.startswith("place:"))


@dataclass(frozen=True)
class Finding:
    """`about` is one of PARTIES, `score` its probability, `words` those that spoke for it, the strongest first."""

    about: str
    score: float
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class AboutModel:
    """Weights of the facts for each party, and the probability below which nothing is said."""

    bias: Sequence[float]
    weights: Mapping[str, Sequence[float]]
    unsure: float
    version: str

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> AboutModel:
        """The shipped model. Raises KeyError when lists and weights do not belong together."""
        data = json.loads(WEIGHTS.read_text("utf-8"))
        weights = {fact: tuple(data["weights"][fact]) for fact in FACTS}
        return cls(tuple(data["bias"]), weights, float(data["unsure"]), str(data["version"]))

    def probabilities(self, counts: Mapping[str, float]) -> list[float]:
        """One probability a party."""
        z = list(self.bias)
        for fact, value in counts.items():
            for party, weight in enumerate(self.weights[fact]):
                z[party] += weight * value
        top = max(z)
        e = [math.exp(x - top) for x in z]
        total = sum(e)
        return [x / total for x in e]


def _found(title: str, body: str) -> list[tuple[str, str, int]]:
    """Every word of the lists with the part it stands in and its list."""
    found = []
    for part, text in (("title", title[:READ]), ("all", body[:READ])):
        for index, start, _ in _MATCHER.find_matches_as_indexes(text):
            for name in _LISTS_OF[index]:
                found.append((part, _WORDS[index], name))
                if part == "all" and start < BEGINNING:
                    found.append(("begin", _WORDS[index], name))
    return found


def facts(title: str, body: str, places: Iterable[Place] = ()) -> dict[str, float]:
    """The counts that the model weighs (log): only those that are not zero. Both texts normalised (features.prepare)."""
    counts: dict[str, int] = {}
    for part, _, name in _found(title, body):
        fact = f"{part}:{LISTS[name]}"
        counts[fact] = counts.get(fact, 0) + 1
    for place in places:
        if f"place:{place.kind}" in _PLACE_FACTS and place.name.lower() in title:
            counts[f"place:{place.kind}"] = 1
    return {fact: math.log1p(n) for fact, n in counts.items()}


def about(title: str, body: str, places: Iterable[Place] = (), model: AboutModel | None = None) -> Finding:
    """Whom the post complains about. Both texts normalised; `body` holds the title too."""
    model = model or AboutModel.load()
    counts = facts(title, body, places)
    p = model.probabilities(counts)
    best = max(range(len(p)), key=p.__getitem__)
    if best == 0 or p[best] < model.unsure:
        return Finding("", round(p[best], 4) if best == 0 else round(p[0], 4))
    spoke: dict[str, float] = {}
    for part, word, name in _found(title, body):
        weights = model.weights[f"{part}:{LISTS[name]}"]
        spoke[word] = spoke.get(word, 0.0) + weights[best] - sum(weights) / len(weights)
    words = sorted((w for w, share in spoke.items() if share > 0), key=lambda w: (-spoke[w], w))
    return Finding(PARTIES[best], round(p[best], 4), tuple(words[:WORDS_SHOWN]))
