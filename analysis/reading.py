"""One post read once: features, SnowNLP's value, risk words, places. Judging and training share it."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import ahocorasick_rs
import numpy as np

from analysis.fastsnow import Snow, value_of
from analysis.features import Featuriser, Prepared, clean, prepare
from analysis.places import Gazetteer, Place, find_places
from analysis.risk import RiskReading, RiskWords

_WORDS: dict[str, list[str]] = tomllib.loads((Path(__file__).parent / "domain_words.toml").read_text("utf-8"))
_DOMAINS = tuple(_WORDS)
_ENTRIES = [(word.lower(), index) for index, words in enumerate(_WORDS.values()) for word in words]
_MATCHER = ahocorasick_rs.AhoCorasick(
    [word for word, _ in _ENTRIES], matchkind=ahocorasick_rs.MatchKind.LeftmostLongest
)
_STYLE: dict[str, list[str]] = tomllib.loads((Path(__file__).parent / "style_words.toml").read_text("utf-8"))
_MANNERS = tuple(_STYLE)
_STYLE_WORDS: dict[str, list[int]] = {}
for _index, _words in enumerate(_STYLE.values()):
    for _word in _words:
        _STYLE_WORDS.setdefault(_word, []).append(_index)
_STYLE_OF = list(_STYLE_WORDS.values())
_STYLE_MATCHER = ahocorasick_rs.AhoCorasick(
    list(_STYLE_WORDS), matchkind=ahocorasick_rs.MatchKind.LeftmostLongest
)
_SEARCHED, _STYLE_HEAD = 800, 60
#: names of the dense facts that the upper layer of the model reads, in order
FACTS = (
    *("snow_log_odds", "snow_value", "body_length", "title_length"),
    *("hazard", "fast_hazard", "silenced", "elsewhere"),
    *(f"words:{domain}" for domain in _DOMAINS),
    *(f"share:{domain}" for domain in _DOMAINS),
    *(f"style:{manner}" for manner in _MANNERS),
    *(f"head:{manner}" for manner in _MANNERS),
    "no_title",
)


@dataclass(frozen=True)
class Reading:
    """What one pass over a post found. Features lie in the reader's scratch arrays until the next post."""

    post: Prepared
    used: int
    snow: float
    risk: RiskReading
    places: tuple[Place, ...]
    districts: tuple[str, ...]
    facts: Any


class Reader:
    """Reads posts one after the other. Not for two threads at once."""

    def __init__(self, snow: Snow, words: RiskWords, gazetteer: Gazetteer | None = None) -> None:
        self.featuriser = Featuriser(snow)
        self.words = words
        self.gazetteer = gazetteer
        self._own = (
            (gazetteer.city, gazetteer.city.removesuffix("市"))
            if gazetteer is not None and gazetteer.city
            else ()
        )

    def read(self, title: str, text: str, published_at: datetime | None = None, place: str = "") -> Reading:
        """Read one post; its features are in `featuriser.buckets` and `.counts` up to `used`."""
        post = prepare(title, text)
        used, neg, pos = self.featuriser.extract(post)
        where = f"{clean(place)}\n{post.raw}" if place else post.raw
        places, districts = find_places(where, self.gazetteer)
        risk = self.words.read(where, published_at, self._own, bool(districts) and self.gazetteer is not None)
        fired = risk.counted
        facts = np.array(
            [
                max(-5.0, min(5.0, (pos - neg) / math.sqrt(max(len(post.raw), 1)))),
                value_of(neg, pos),
                math.log1p(len(post.body)) / 3.0,
                math.log1p(len(post.title)) / 3.0,
                float(bool(fired)),
                float(bool(fired & self.words.fast)),
                float(risk.silenced),
                float(risk.known_elsewhere),
                *domain_facts(post),
                *style_facts(post),
                float(not post.title),
            ]
        )
        return Reading(post, used, float(value_of(neg, pos)), risk, tuple(places), tuple(districts), facts)


def domain_facts(post: Prepared) -> list[float]:
    """For each domain: how many of its words the post holds (log, at most 1.5), and its share of all such words.

    Words of the title count twice: it says what the post is about.
    """
    counts = [0] * len(_DOMAINS)
    for index, _, _ in _MATCHER.find_matches_as_indexes(post.body[:_SEARCHED]):
        counts[_ENTRIES[index][1]] += 1
    for index, _, _ in _MATCHER.find_matches_as_indexes(post.title):
        counts[_ENTRIES[index][1]] += 1
    total = max(sum(counts), 1)
    return [min(1.5, math.log1p(n) / 1.5) for n in counts] + [n / total for n in counts]


def style_facts(post: Prepared) -> list[float]:
    """For each list of style_words.toml: how many of its words (log, at most 2), and whether the head holds one."""
    counts, head = [0] * len(_MANNERS), [0.0] * len(_MANNERS)
    for index, start, _ in _STYLE_MATCHER.find_matches_as_indexes(post.body[:_SEARCHED]):
        for manner in _STYLE_OF[index]:
            counts[manner] += 1
            if start < _STYLE_HEAD:
                head[manner] = 1.0
    return [min(2.0, math.log1p(n)) for n in counts] + head
