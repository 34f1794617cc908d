"""Risk words with their guards: what the fast track hears, and why it keeps silent.

A hazard word counts when nothing near it says otherwise: negation right before it, a hypothetical clause
("一旦发生火灾"), a drill, a film, history, a denied rumour, a court report, an idiom ("累死"), or another city.
Words hidden by spaces, symbols, homophones or pinyin are heard as well (`unmask`). Every decision is kept as a
reading, so that "why was this not raised" has an answer; `track` decides between paging, asking a person, and neither.
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

from analysis.features import plain

WORDS = Path(__file__).parent / "risk_words.toml"
SEARCHED = 2000
_HEAD, _NEAR = 60, 40  # characters: a topic word in the head, or this near to the hazard, silences it
_BESIDE = 20  # characters: talk of law and statistics silences only what stands beside it
UNCOUNTED_PLACES = ("prefectures", "abroad_more")
UNCOUNTED = ("court:", "law:")  # guards of the fast track alone
Where = Literal["here", "elsewhere", "unknown"]

_CLAUSE = re.compile(r"[，。！？；,!?;\n…]")
_YEAR = re.compile(r"(?<!\d)((?:19|20)\d\d)\s?年")
# a space or symbols inside a word ("食@物中毒"); marks that end a sentence, and line ends, are none
_APART = re.compile(r"(?<=[\u4e00-\u9fff])[ \u3000\t.@*^~|_/\\+=&%$#°·•☆★○●■□-]{1,2}(?=[\u4e00-\u9fff])")
_GAP = re.compile(r"[ \u3000\t.@*^~|_/\\+=&%$#°·•☆★○●■□-](?=[\u4e00-\u9fff])")
_STREET = re.compile(r"[东西南北中一二三]?(?:路|街|大道)")
_OLD = re.compile(
    r"前年|大前年|[二三四五六七八九十两几\d]+\s?(?:年前|年后|个月后)|失踪\s?[二三四五六七八九十两几\d]+\s?年|困\s?\d+\s?年"
)


@dataclass(frozen=True)
class Hit:
    """One hazard word in its clause. `silenced_by` names the guard, empty when the word counts."""

    category: str
    word: str
    clause: str
    silenced_by: str = ""
    head: bool = False  # in the title or the first sentence
    core: bool = False  # one of the words that the model counts
    wide: bool = False  # one of the everyday words that need more to go with them
    toll: bool = False  # a number of dead


@dataclass(frozen=True)
class RiskReading:
    """All hazard words of a post and where the post says it plays."""

    hits: tuple[Hit, ...]
    where: Where
    elsewhere: str = ""  # the name that puts it outside
    known_elsewhere: bool = False  # by a name that the model counts

    @property
    def fired(self) -> tuple[Hit, ...]:
        """Hits that count."""
        return tuple(hit for hit in self.hits if not hit.silenced_by)

    def heard(self, words: RiskWords) -> tuple[Hit, ...]:
        """Hits that count for the fast track."""
        return tuple(hit for hit in self.fired if hit.category in words.fast or hit.category in words.stern)

    @property
    def counted(self) -> frozenset[str]:
        """Categories as the model counts them: core words, and no guard that it does not know."""
        return frozenset(
            hit.category
            for hit in self.hits
            if hit.core and (not hit.silenced_by or hit.silenced_by.startswith(UNCOUNTED))
        )

    @property
    def silenced(self) -> bool:
        """Whether a guard that the model knows silenced one of its words."""
        return any(
            hit.core and hit.silenced_by and not hit.silenced_by.startswith(UNCOUNTED) for hit in self.hits
        )

    @property
    def categories(self) -> frozenset[str]:
        """Categories of the hits that count."""
        return frozenset(hit.category for hit in self.fired)


@dataclass(frozen=True)
class FastLimits:
    """thresholds.toml, [fast]: what must go with a hazard word. `signal` and `grave` are calibrated probabilities."""

    min_signal: float
    min_grave: float
    min_grave_head: float
    min_grave_wide: float
    min_grave_stern: float
    sure_signal: float
    sure_grave: float
    solid_signal: float
    solid_grave: float
    real_signal: float
    real_grave: float
    review_grave: float
    review_grave_unheard: float

    @classmethod
    def of(cls, table: dict[str, Any]) -> FastLimits:
        """From the table. Raises KeyError when one is missing."""
        return cls(**{name: float(table[name]) for name in cls.__dataclass_fields__})


Track = Literal["fast", "review", ""]


def track(reading: RiskReading, words: RiskWords, signal: float, grave: float, limits: FastLimits) -> Track:
    """Page at once (fast), let a person look (review), or neither.

    A word alone does not page: the post must read as telling of something real and as grave, the more the vaguer the
    word is. What falls short of that but not by far goes to a person, with words or without, so that nothing grave is
    silently lost. What plays in another place does neither.
    """
    if reading.where == "elsewhere":
        return ""
    heard = reading.heard(words)
    if any(_pages(hit, words, signal, grave, limits) for hit in heard):
        return "fast"
    return "review" if grave >= (limits.review_grave if heard else limits.review_grave_unheard) else ""


def _pages(hit: Hit, words: RiskWords, signal: float, grave: float, limits: FastLimits) -> bool:
    if hit.head and hit.word in words.sure:
        return signal >= limits.sure_signal and grave >= limits.sure_grave
    plain_danger = hit.head and (hit.toll or hit.word in words.solid)
    if plain_danger and signal >= limits.solid_signal and grave >= limits.solid_grave:
        return True
    if hit.category in words.stern:
        needed = limits.min_grave_stern
    else:
        strong = limits.min_grave_head if hit.head else limits.min_grave
        needed = limits.min_grave_wide if hit.wide else strong
        if hit.head and signal >= limits.real_signal:
            needed = min(needed, limits.real_grave)
    return signal >= limits.min_signal and grave >= needed


class RiskWords:
    """The word lists of risk_words.toml as matchers."""

    def __init__(self, data: dict[str, Any]) -> None:
        lists = [
            (category, words) for name in ("hazard", "more", "wide") for category, words in data[name].items()
        ]
        self._category = {word: category for category, words in lists for word in words}
        everyday = [*data["tracks"]["everyday"], *(word for words in data["wide"].values() for word in words)]
        self._wide = frozenset(everyday)
        self._core = frozenset(word for words in data["hazard"].values() for word in words)
        self._disguised = {word: means for means, words in data["disguise"].items() for word in words}
        self._hazards, _ = _matcher([*self._category, *self._disguised])
        self._pairs = frozenset(word[i : i + 2] for word in self._category for i in range(len(word) - 1))
        self.fast: frozenset[str] = frozenset(data["tracks"]["fast"])
        guard: dict[str, list[str]] = data["guard"]
        self._negations, self._negation = _matcher(guard["negation"])
        self._hypothetical, self._hypothetical_words = _matcher(guard["hypothetical"])
        self._idioms, self._idiom_words = _matcher(guard["idiom"])
        self._whole = {
            word: name
            for name in ("drill", "fiction", "history", "rumour", "court", "law")
            for word in guard[name]
        }
        self._beside = frozenset(word.lower() for word in guard["law"])
        self._casualties = [(name, re.compile(rule)) for name, rule in data["casualties"].items()]
        self.sure: frozenset[str] = frozenset(data["tracks"]["sure"])
        self.solid: frozenset[str] = frozenset(data["tracks"]["solid"])
        self.stern: frozenset[str] = frozenset(data["tracks"]["stern"])
        self._places = {name: kind for kind, names in data["elsewhere"].items() for name in names}
        # one pass over a post finds the words of all three kinds
        kinds: dict[str, list[int]] = {}
        for kind, table in enumerate(([*self._category, *self._disguised], self._whole, self._places)):
            for word in table:
                kinds.setdefault(word.lower(), []).append(kind)
        self._all = ahocorasick_rs.AhoCorasick(list(kinds))
        self._kinds = list(kinds.values())
        self._whole = {word.lower(): name for word, name in self._whole.items()}
        self._places = {name.lower(): kind for name, kind in self._places.items()}

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
        text, spans = self._hear(text[:SEARCHED])
        found = [(self._category[_small(text[start:end])], start, end) for start, end in spans[0]]
        hits: list[Hit] = []
        said = len(found)  # words; numbers of dead and hurt come after them
        if "死" in text or "伤" in text:
            found += [
                (category, *match.span())
                for category, rule in self._casualties
                for match in rule.finditer(text)
            ]
        where, elsewhere, known = self._where(text, spans[2], own_names, named_here)
        if not found:
            return RiskReading((), where, elsewhere, known)
        topics = self._topic_guards(text, spans[1], published_at)
        seen: set[tuple[str, str]] = set()
        for number, (category, start, end) in enumerate(found):
            word, toll = text[start:end], number >= said and category == "death"
            clause, offset = _clause_around(text, start, end)
            guard = next((name for at, head, near, name in topics if at < head or abs(at - start) < near), "")
            guard = guard or self._near_guard(clause, start - offset, end - offset)
            if (word, guard) not in seen:
                seen.add((word, guard))
                hits.append(
                    Hit(
                        category,
                        word,
                        clause[:60],
                        guard,
                        start < _HEAD,
                        word.lower() in self._core,
                        word.lower() in self._wide,
                        toll,
                    )
                )
        return RiskReading(tuple(hits), where, elsewhere, known)

    def _where(
        self, text: str, names: Sequence[tuple[int, int]], own_names: Iterable[str], named_here: bool
    ) -> tuple[Where, str, bool]:
        """Here, elsewhere or unknown, the name that says elsewhere, and whether the model counts that name."""
        own = tuple(own_names)
        if named_here or any(name and name in text for name in own):
            return "here", "", False
        found = [(text[start:end], end) for start, end in names]
        found = [(name, end) for name, end in found if name not in own]
        if not found:
            return "unknown", "", False
        known = any(self._places[_small(name)] not in UNCOUNTED_PLACES for name, _ in found)
        # streets are named after cities: 延安路, 北京东路
        far = next((name for name, end in found if not _STREET.match(text, end)), "")
        return ("elsewhere", far, known) if far else ("unknown", "", known)

    def unmask(self, text: str) -> str:
        """The text with its words uncovered: what is hidden by letters, symbols, homophones or pinyin reads plainly.

        Ordinary text comes back as it is. Only a hazard word is put together again, and never over a sentence mark.
        """
        return self._hear(text)[0]

    def _hear(self, text: str) -> tuple[str, tuple[list[tuple[int, int]], ...]]:
        """The uncovered text, and where its hazard words, topic words and names of other places stand."""
        text = plain(text)
        if _GAP.search(text):
            text = _APART.sub(lambda gap: "" if self._hides(text, *gap.span()) else gap.group(), text)
        spans = self._spans(text)
        parts: list[str] = []
        last = 0
        for start, end in spans[0]:
            means = self._disguised.get(_small(text[start:end]))
            if means is not None and not _inside_word(text, start, end):
                parts += [text[last:start], means]
                last = end
        if parts:
            text = "".join([*parts, text[last:]])
            spans = self._spans(text)
        # pinyin inside of another word stays, and means nothing
        hazards = [(a, b) for a, b in spans[0] if _small(text[a:b]) in self._category]
        return text, (hazards, spans[1], spans[2])

    def _spans(self, text: str) -> tuple[list[tuple[int, int]], ...]:
        """Per kind the words found, the longest of those that begin together, none inside of another."""
        spans: tuple[list[tuple[int, int]], ...] = ([], [], [])
        matches = self._all.find_matches_as_indexes(_small(text), overlapping=True)
        for index, start, end in sorted(matches, key=_leftmost_longest):
            for kind in self._kinds[index]:
                found = spans[kind]
                if not found or start >= found[-1][1]:
                    found.append((start, end))
        return spans

    def _hides(self, text: str, start: int, end: int) -> bool:
        """Whether a hazard word stands across this gap."""
        if text[start - 1] + text[end] not in self._pairs:
            return False
        left = _APART.sub("", text[max(0, start - 8) : start])[-5:]
        right = _APART.sub("", text[end : end + 8])[:5]
        return any(
            a < len(left) < b
            for _, a, b in self._hazards.find_matches_as_indexes(left + right, overlapping=False)
        )

    def _topic_guards(
        self, text: str, said: Sequence[tuple[int, int]], published_at: datetime | None
    ) -> list[tuple[int, int, int, str]]:
        """(position, reach from the start of the post, reach to a hazard word, name) of what says that the whole is no
        event of today."""
        guards = []
        for start, end in said:
            word = _small(text[start:end])
            head, near = (0, _BESIDE) if word in self._beside else (_HEAD, _NEAR)
            guards.append((start, head, near, f"{self._whole[word]}:{word}"))
        if published_at is not None:
            years = [(int(match.group(1)), match.start()) for match in _YEAR.finditer(text)]
            if years and max(year for year, _ in years) < published_at.year - 1:
                guards.append((years[0][1], _HEAD, _NEAR, f"history:{years[0][0]}年"))
        if (
            "年前" in text
            or "年后" in text
            or "月后" in text
            or "前年" in text
            or ("失踪" in text and "年" in text)
        ):
            guards.extend(
                (match.start(), _HEAD, _NEAR, f"history:{match.group()}") for match in _OLD.finditer(text)
            )
        return guards

    def _near_guard(self, clause: str, start: int, end: int) -> str:
        if said := self._negations.find_matches_as_indexes(clause[max(0, start - 6) : start]):
            return f"negation:{self._negation[said[0][0]]}"
        if said := self._hypothetical.find_matches_as_indexes(clause):
            return f"hypothetical:{self._hypothetical_words[said[0][0]]}"
        word = clause[start:end]
        for index, _, _ in self._idioms.find_matches_as_indexes(clause[max(0, start - 3) : end + 3]):
            if self._idiom_words[index] not in word:  # "诺如病毒" holds an idiom and means what it says
                return f"idiom:{self._idiom_words[index]}"
        return ""


def _leftmost_longest(match: tuple[int, int, int]) -> tuple[int, int]:
    return match[1], -match[2]


def _small(text: str) -> str:
    small = text.lower()
    # a rare letter whose small form is longer would shift all positions
    return small if len(small) == len(text) else text


def _inside_word(text: str, start: int, end: int) -> bool:
    """Whether this pinyin is part of a longer word in Latin letters ("qihuodian")."""
    before, after = text[max(0, start - 1) : start + 1].lower(), text[end - 1 : end + 1].lower()
    return (len(before) == 2 and before.isascii() and before.isalpha()) or (
        len(after) == 2 and after.isascii() and after.isalpha()
    )


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
