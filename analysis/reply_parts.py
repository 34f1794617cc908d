"""What stands in an official answer: the eight elements of completeness, citations, figures, manner; each with its place in the text.

Patterns stand in reply_words.toml, laws in laws.toml; both can be read and corrected by hand. Pure.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from analysis.spans import Span, narrow, sentences

ELEMENTS = ("facts", "cause", "measures", "unit", "time_limit", "basis", "contact", "next_step")
_HERE = Path(__file__).parent
_WORDS: dict[str, dict[str, list[str]]] = tomllib.loads((_HERE / "reply_words.toml").read_text("utf-8"))


def _any(patterns: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns))


_ELEMENT = {name: _any(patterns) for name, patterns in _WORDS["elements"].items()}
_MANNER = {name: _any(patterns) for name, patterns in _WORDS["manner"].items()}
_UNIT, _ACTS, _OWN = (_any(_WORDS["unit"][name]) for name in ("name", "acts", "own"))
_DATE, _COUNT = (_any(_WORDS["figures"][name]) for name in ("date", "number"))
_CITATION = re.compile(
    r"《(?P<name>[^《》]{2,60})》(?:[(（][^)）]{0,40}[)）])?(?P<between>[^。；《]{0,16}?)(?:第?(?P<article>[一二三四五六七八九十百千零〇两\d]{1,9})条)?"
)
_ARTICLE = re.compile(r"^[^。；《]{0,16}?第(?P<article>[一二三四五六七八九十百千零〇两\d]{1,9})条")
_DOCUMENT = re.compile(r"[〔﹝\[【（(](?:19|20)\d{2}[〕﹞\]】）)]\s*第?\d+号")
#: characters at either end in which greetings and closings stand
_EDGE = 120


@dataclass(frozen=True)
class Citation:
    """A law or document named in the answer. `valid`: its name is known, and it has such an article."""

    name: str
    article: int | None
    valid: bool
    span: Span


@dataclass(frozen=True)
class Parts:
    """What stands where. An element that is missing has no place."""

    elements: dict[str, Span | None]
    citations: tuple[Citation, ...]
    figures: tuple[Span, ...]
    referral: Span | None
    #: the matter went on to somebody
    transfer: Span | None
    blame: Span | None
    greeting: Span | None
    closing: Span | None
    #: sentences that say more than that the message came, who is thanked and where to turn
    substance: tuple[Span, ...]

    @property
    def courtesy(self) -> bool:
        """Greeted, and closed with thanks or a wish."""
        return self.greeting is not None and self.closing is not None

    @property
    def only_referral(self) -> bool:
        """Nothing but that the matter or the person is sent elsewhere."""
        return self.referral is not None and not self.substance

    @property
    def buck_passing(self) -> Span | None:
        """推诿: the person is sent elsewhere, the matter is handed to nobody, and nothing else is said."""
        return self.referral if self.only_referral and self.transfer is None else None


@lru_cache(maxsize=1)
def laws() -> dict[str, int]:
    """Known laws and documents by name: how many articles; 0 where that is not known."""
    table: dict[str, Any] = tomllib.loads((_HERE / "laws.toml").read_text("utf-8"))
    return {_law_name(name): int(articles) for name, articles in table["articles"].items()}


def _law_name(name: str) -> str:
    return re.sub(r"[\s（(][^）)]*[）)]$|\s|^中华人民共和国|^国务院", "", name)


_CN = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}


def article_number(words: str) -> int:
    """第一百二十条 and 第120条 are the same; 0 for what is no number."""
    if words.isdigit():
        return int(words)
    total = digit = 0
    for char in words:
        if char in _CN:
            digit = _CN[char]
        elif char in "十百千":
            total += (digit or 1) * {"十": 10, "百": 100, "千": 1000}[char]
            digit = 0
        else:
            return 0
    return total + digit


def _citations(plain: str, known: Collection[str]) -> tuple[Citation, ...]:
    own = {_law_name(name) for name in known}
    found: dict[tuple[str, int | None], Citation] = {}
    for match in _CITATION.finditer(plain):
        name = match["name"].strip()
        behind = _ARTICLE.match(plain[match.end("name") + 1 :])
        article = article_number(behind["article"]) if behind else None
        bare = _law_name(name)
        articles = laws().get(bare)
        exists = bare in own or articles is not None
        valid = exists and (article is None or not articles or 1 <= article <= articles)
        # a law alone is no ground; a document of one's own with its number is one
        valid = valid and (article is not None or bare in own)
        end = match.end("name") + 1 + (behind.end() if behind else 0)
        found.setdefault((bare, article), Citation(name, article, valid, Span(match.start(), end)))
    return tuple(found.values())


def _figures(plain: str, body: Iterable[Span]) -> tuple[Span, ...]:
    """Dates and numbers with what they count, each once, in the sentences that say something."""
    found: dict[str, Span] = {}
    for sentence in body:
        words = sentence.of(plain)
        taken: list[tuple[int, int]] = []
        for pattern in (_DATE, _COUNT):
            for match in pattern.finditer(words):
                if any(match.start() < end and start < match.end() for start, end in taken):
                    continue
                taken.append((match.start(), match.end()))
                found.setdefault(
                    match.group(), Span(sentence.start + match.start(), sentence.start + match.end())
                )
    return tuple(sorted(found.values(), key=lambda span: span.start))


def _first(pattern: re.Pattern[str], plain: str, within: Iterable[Span]) -> Span | None:
    for span in within:
        match = pattern.search(plain, span.start, span.end)
        if match:
            return Span(match.start(), match.end())
    return None


#: characters that are left of a sentence which says something of its own, and of one that holds a finding at least
_SOMETHING, _LITTLE = 14, 4


def _says_something(words: str) -> bool:
    """Whether a sentence is more than receipt, thanks, date, signature and referral."""
    return _left(words) >= _SOMETHING


def _may_hold(words: str) -> bool:
    """Whether a sentence may show an element: short ones do (情况属实), what only sends elsewhere does not."""
    return _says_something(words) or (_left(words) >= _LITTLE and not _MANNER["referral"].search(words))


def _left(words: str) -> int:
    """Chinese characters left when receipt, thanks, quotations, dates and referral are taken away."""
    rest = words
    for name in ("receipt", "closing", "greeting"):
        rest = _MANNER[name].sub("", rest)
    if _MANNER["referral"].search(words) and not _ELEMENT["facts"].search(words):
        rest = _MANNER["referral"].sub("", rest)
    rest = re.sub(r"[“\"][^”\"]*[”\"]|《[^》]*》|\d{4}年\d{1,2}月\d{1,2}日?|〔[^〕]*〕", "", rest)
    return sum("\u4e00" <= char <= "\u9fff" for char in rest)


def _unit(plain: str, body: Iterable[Span]) -> Span | None:
    """A unit that is said to do something."""
    for sentence in body:
        words = sentence.of(plain)
        for pattern in (_UNIT, _OWN):
            for match in pattern.finditer(words):
                around = words[max(0, match.start() - 8) : match.end() + 16]
                if _ACTS.search(around):
                    return Span(sentence.start + match.start(), sentence.start + match.end())
    return None


def read_parts(text: str, known: Collection[str] = ()) -> Parts:
    """What stands in the answer. `known`: names of documents that the city's rule file cites."""
    plain = narrow(text)
    whole = list(sentences(plain))
    body = [span for span in whole if _says_something(span.of(plain))]
    holding = [span for span in whole if _may_hold(span.of(plain))]
    # what sends elsewhere, thanks and dates a letter is not looked through for facts, but holds telephones
    elements: dict[str, Span | None] = {
        name: _first(pattern, plain, whole if name == "contact" else holding)
        for name, pattern in _ELEMENT.items()
    }
    elements["unit"] = _unit(plain, holding)
    edges = (Span(0, min(len(plain), _EDGE)), Span(max(0, len(plain) - _EDGE), len(plain)))
    return Parts(
        elements={name: elements[name] for name in ELEMENTS},
        citations=_citations(plain, known),
        figures=_figures(plain, body),
        referral=_first(_MANNER["referral"], plain, whole),
        transfer=_first(_MANNER["transfer"], plain, whole),
        blame=_first(_MANNER["blame"], plain, whole),
        greeting=_first(_MANNER["greeting"], plain, edges[:1]),
        closing=_first(_MANNER["closing"], plain, edges),
        substance=tuple(body),
    )
