"""Text to hashed features: character 1–3-grams, SnowNLP words and word pairs, and the title once more.

Nothing of a text can be read back from a bucket number, which is why trained weights may be shipped.
A model is tied to these functions: change them and raise `FEATURES_VERSION`, then retrain.
"""

from __future__ import annotations

import math
import re
import tomllib
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.compiled import compiled
from analysis.fastsnow import Snow, bayes, codepoints, split_words

FEATURES_VERSION = 2
BITS = 18
BUCKETS = 1 << BITS
#: longer posts are read at both ends only: a complaint says what it is about first, and what it wants last
MAX_HEAD, MAX_TAIL = 3000, 1000

_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff\ufe0e\ufe0f]"
)
_SPACED_OUT = re.compile(r"(?<=[\u4e00-\u9fff])[ \u3000\t]+(?=[\u4e00-\u9fff])")
_LINK = re.compile(r"https?://[^\s\u4e00-\u9fff]+")
_NUMBER = re.compile(r"\d")

_TABLES = tomllib.loads((Path(__file__).parent / "traditional.toml").read_text("utf-8"))
_PAIRS = {name: ["".join(t[k].split()) for k in ("traditional", "simplified")] for name, t in _TABLES.items()}
_TRADITIONAL = re.compile(f"[{_PAIRS['marks'][0]}]")
_SIMPLIFIED = {ord(a): b for pair in _PAIRS.values() for a, b in zip(*pair, strict=True)}
_MARKS_NEEDED = 2  # one such character alone may be a name
# four single characters or more with a mark between each two: "食.物.中.毒", "食 物 中 毒"; not a comma, a stop or a list
_SPELLED = re.compile(
    r"(?<![\u4e00-\u9fff])(?:[\u4e00-\u9fff][ \u3000\t.·•,*_\-—~^|/\\+=&%$@#]{1,3}){3,}[\u4e00-\u9fff](?![\u4e00-\u9fff])"
)
_GAP = re.compile(r"[ \u3000\t.·•,*_\-—~^|/\\+=&%$@#](?=[\u4e00-\u9fff])")  # quick: is there anything to look at?
_BETWEEN = re.compile(r"[^\u4e00-\u9fff]+")
_WIDE = {code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}
_ODD = re.compile(f"[\uff10-\uff19\uff21-\uff3a\uff41-\uff5a{_INVISIBLE.pattern[1:-1]}{_PAIRS['marks'][0]}]")


def plain(text: str) -> str:
    """Undo what hides words without changing them: wide letters, invisible characters, traditional characters, words
    spelled out character by character. Ordinary text comes back unchanged."""
    if text.isascii():
        return text
    if _ODD.search(text):
        text = _simplified(_INVISIBLE.sub("", text.translate(_WIDE)))
    return _joined(text)


def _joined(text: str) -> str:
    if _GAP.search(text) is None:
        return text
    return _SPELLED.sub(lambda match: _BETWEEN.sub("", match.group()), text)


def _simplified(text: str) -> str:
    marks = _TRADITIONAL.finditer(text)
    if sum(1 for _, _ in zip(marks, range(_MARKS_NEEDED), strict=False)) < _MARKS_NEEDED:
        return text
    return text.translate(_SIMPLIFIED)


def normalise(text: str) -> str:
    """One form for what reads alike: full-width forms, case, invisible characters, spaces between Chinese."""
    if len(text) > MAX_HEAD + MAX_TAIL:
        text = text[:MAX_HEAD] + "\n" + text[-MAX_TAIL:]
    text = unicodedata.normalize("NFKC", text).lower()
    text = _INVISIBLE.sub("", text)
    text = _LINK.sub("\u0001", text)
    text = _joined(_simplified(text))
    return _SPACED_OUT.sub("", text)


def clean(text: str) -> str:
    """The text without lone surrogates, which no matcher takes."""
    if text.isascii():
        return text
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode("utf-8")
    return text


@dataclass(frozen=True)
class Prepared:
    """A post made ready: what the models read. `raw` is the text as written, for SnowNLP and for places."""

    raw: str
    title: str
    body: str


def prepare(title: str, text: str) -> Prepared:
    """Join title and text; a text that only repeats its title is read once."""
    title, text = clean(title), clean(text)
    title_n, text_n = normalise(title), normalise(text)
    raw = text if not title or text.startswith(title) else f"{title}\n{text}" if text else title
    if len(raw) > MAX_HEAD + MAX_TAIL:
        raw = raw[:MAX_HEAD] + "\n" + raw[-MAX_TAIL:]
    if not text_n or text_n == title_n:
        return Prepared(raw, title_n, title_n)
    body = text_n if not title_n or text_n.startswith(title_n) else f"{title_n}\n{text_n}"
    return Prepared(raw, title_n, body)


@compiled
def mix(h: np.uint64) -> np.int64:
    h = (h ^ (h >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64(h >> np.uint64(64 - 18))


@compiled
def slice_hash(points: Any, lo: int, hi: int, salt: int) -> np.uint64:
    h = np.uint64(0xCBF29CE484222325) ^ np.uint64(salt)
    for i in range(lo, hi):
        c = points[i]
        if 48 <= c <= 57:
            c = 48  # every digit reads alike
        h = (h ^ np.uint64(c)) * np.uint64(0x100000001B3)
    return h


@compiled
def _count(bucket: Any, place: Any, buckets: Any, counts: Any, used: int) -> int:
    at = place[bucket]
    if at < used and buckets[at] == bucket:
        counts[at] += 1
        return used
    if used < len(buckets):
        place[bucket] = used
        buckets[used] = bucket
        counts[used] = 1
        return used + 1
    return used


@compiled
def hashed(
    body: Any, title: Any, raw: Any, starts: Any, ends: Any, words: int, place: Any, buckets: Any, counts: Any
) -> int:
    """Fill `buckets` and `counts` with the distinct features; returns how many. `place` is scratch (BUCKETS long)."""
    used = 0
    n = len(body)
    for i in range(n):
        for size in range(1, 4):
            if i + size <= n:
                used = _count(mix(slice_hash(body, i, i + size, size)), place, buckets, counts, used)
    for i in range(len(title)):
        for size in range(1, 4):
            if i + size <= len(title):
                used = _count(mix(slice_hash(title, i, i + size, 16 + size)), place, buckets, counts, used)
    before = np.uint64(0)
    for k in range(words):
        here = slice_hash(raw, starts[k], ends[k], 64)
        used = _count(mix(here), place, buckets, counts, used)
        if k > 0:
            pair = (before * np.uint64(31)) ^ here ^ np.uint64(128)
            used = _count(mix(pair * np.uint64(0x100000001B3)), place, buckets, counts, used)
        before = here
    return used


@compiled
def weigh(buckets: Any, counts: Any, used: int, idf: Any, values: Any) -> None:
    """values = (1 + log tf) * idf, scaled to length 1."""
    total = 0.0
    for k in range(used):
        v = (1.0 + math.log(counts[k])) * idf[buckets[k]]
        values[k] = v
        total += v * v
    scale = 1.0 / math.sqrt(total) if total > 0.0 else 0.0
    for k in range(used):
        values[k] *= scale


class Featuriser:
    """Reusable scratch arrays of one worker. Not for two threads at once."""

    def __init__(self, snow: Snow) -> None:
        self.snow = snow
        # two words a character at most, three grams each, twice for the title
        self.place: NDArray[Any] = np.zeros(BUCKETS, np.int64)
        room = (MAX_HEAD + MAX_TAIL + 1) * 16
        self.buckets: NDArray[Any] = np.zeros(room, np.int64)
        self.counts: NDArray[Any] = np.zeros(room, np.int64)
        self.values: NDArray[Any] = np.zeros(room, np.float64)
        self.body: NDArray[Any] = np.zeros(0, np.int64)
        self.words = 0
        self._starts = np.zeros(room, np.int64)
        self._ends = np.zeros(room, np.int64)

    def extract(self, post: Prepared) -> tuple[int, float, float]:
        """Fill buckets and counts; returns how many, and SnowNLP's two log probabilities of the text as written."""
        body, title, raw = codepoints(post.body), codepoints(post.title), codepoints(post.raw)
        starts, ends = self._starts, self._ends
        words = split_words(raw, self.snow.seg, ends, starts)
        neg, pos = bayes(raw, starts, ends, words, self.snow.lex)
        self.body, self.words = body, words
        used = hashed(body, title, raw, starts, ends, words, self.place, self.buckets, self.counts)
        return int(used), float(neg), float(pos)

    def spans(self) -> list[tuple[int, int]]:
        """Words of the raw text extracted last, as slices."""
        return [(int(self._starts[k]), int(self._ends[k])) for k in range(self.words)]
