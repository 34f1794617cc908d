"""Risk words with their guards: what the fast track hears, and why it keeps silent.

A hazard word counts when nothing near it says otherwise: negation right before it, a hypothetical clause
("一旦发生火灾"), a drill, a film, history, a denied rumour, an idiom ("累死"), or another city. Every
decision is kept as a reading, so that "why was this not raised" has an answer.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import ahocorasick_rs

WORDS = Path(__file__).parent / "risk_words.toml"
SEARCHED = 2000
_HEAD, _NEAR = 60, 40  # characters: a topic word in the head, or this near to the hazard, silences it
Where = Literal["here", "elsewhere", "unknown"]

_CLAUSE = re.compile(r"[，。！？；,!?;\n…]")
_YEAR = re.compile(r"(?<!\d)((?:19|20)\d\d)\s?年")
_OLD = re.compile(r"前年|大前年|[二三四五六七八九十两几\d]+年前")


@dataclass(frozen=True)
class Hit:
    """One hazard word in its clause. `silenced_by` names the guard, empty when the word counts."""

    category: str
    word: str
    clause: str
    silenced_by: str = ""
    head: bool = False  # in the title or the first sentence


@dataclass(frozen=True)
class RiskReading:
    """All hazard words of a post and where the post says it plays."""

    hits: tuple[Hit, ...]
    where: Where
    elsewhere: str = ""  # the name that puts it outside

    @property
    def fired(self) -> tuple[Hit, ...]:
        """Hits that count."""
        return tuple(hit for hit in self.hits if not hit.silenced_by)

    @property
    def categories(self) -> frozenset[str]:
        """Categories of the hits that count."""
        return frozenset(hit.category for hit in self.fired)


class RiskWords:
    """The word lists of risk_words.toml as matchers."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._category = {word: category for category, words in data["hazard"].items() for word in words}
        self._hazards, self._hazard_words = _matcher(self._category)
        self.fast: frozenset[str] = frozenset(data["tracks"]["fast"])
        guard: dict[str, list[str]] = data["guard"]
        self._negation = tuple(guard["negation"])
        self._hypothetical = tuple(guard["hypothetical"])
        self._idioms = tuple(guard["idiom"])
        self._whole = {
            word: name for name in ("drill", "fiction", "history", "rumour") for word in guard[name]
        }
        self._whole_matcher, self._whole_words = _matcher(self._whole)
        self._places = {name: kind for kind, names in data["elsewhere"].items() for name in names}
        self._elsewhere, self._elsewhere_names = _matcher(self._places)

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> RiskWords:
        """The shipped lists."""
        return cls(tomllib.loads(WORDS.read_text("utf-8")))

    def read(
        self,
        text: str,
        published_at: datetime | None = None,
        own_names: Iterable[str] = (),
        named_here: bool = False,
    ) -> RiskReading:
        """Read one post. `own_names`: names of the city; `named_here`: a district or street of the city was found."""
        text = text[:SEARCHED]
        hits: list[Hit] = []
        found = self._hazards.find_matches_as_indexes(text)
        where, elsewhere = self._where(text, own_names, named_here)
        if not found:
            return RiskReading((), where, elsewhere)
        topics = self._topic_guards(text, published_at)
        seen: set[tuple[str, str]] = set()
        for index, start, end in found:
            word = self._hazard_words[index]
            clause, offset = _clause_around(text, start, end)
            guard = next((name for at, name in topics if at < _HEAD or abs(at - start) < _NEAR), "")
            guard = guard or self._near_guard(clause, start - offset, end - offset)
            if (word, guard) not in seen:
                seen.add((word, guard))
                hits.append(Hit(self._category[word], word, clause[:60], guard, start < _HEAD))
        return RiskReading(tuple(hits), where, elsewhere)

    def _where(self, text: str, own_names: Iterable[str], named_here: bool) -> tuple[Where, str]:
        own = tuple(own_names)
        if named_here or any(name and name in text for name in own):
            return "here", ""
        for index, _, _ in self._elsewhere.find_matches_as_indexes(text):
            name = self._elsewhere_names[index]
            if name not in own:
                return "elsewhere", name
        return "unknown", ""

    def _topic_guards(self, text: str, published_at: datetime | None) -> list[tuple[int, str]]:
        """(position, name) of what says that the whole is no event of today."""
        guards = []
        for index, start, _ in self._whole_matcher.find_matches_as_indexes(text):
            word = self._whole_words[index]
            guards.append((start, f"{self._whole[word]}:{word}"))
        if published_at is not None:
            years = [(int(match.group(1)), match.start()) for match in _YEAR.finditer(text)]
            if years and max(year for year, _ in years) < published_at.year - 1:
                guards.append((years[0][1], f"history:{years[0][0]}年"))
        guards.extend((match.start(), f"history:{match.group()}") for match in _OLD.finditer(text))
        return guards

    def _near_guard(self, clause: str, start: int, end: int) -> str:
        before = clause[max(0, start - 6) : start]
        for word in self._negation:
            if word in before:
                return f"negation:{word}"
        for word in self._hypothetical:
            if word in clause:
                return f"hypothetical:{word}"
        around = clause[max(0, start - 3) : end + 3]
        for word in self._idioms:
            if word in around:
                return f"idiom:{word}"
        return ""


def _matcher(words: Iterable[str]) -> tuple[ahocorasick_rs.AhoCorasick, Sequence[str]]:
    table = list(words)
    return ahocorasick_rs.AhoCorasick(table, matchkind=ahocorasick_rs.MatchKind.LeftmostLongest), table


def _clause_around(text: str, start: int, end: int) -> tuple[str, int]:
    left = 0
    for match in _CLAUSE.finditer(text, max(0, start - 80), start):
        left = match.end()
    left = max(left, start - 80)
    right = _CLAUSE.search(text, end)
    return text[left : min(right.start() if right else len(text), end + 80)], left
