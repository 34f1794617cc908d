"""Text to hashed features: character 1–3-grams, SnowNLP words and word pairs, and the title once more.

Nothing of a text can be read back from a bucket number, which is why trained weights may be shipped.
A model is tied to these functions: change them and raise `FEATURES_VERSION`, then retrain.
"""

from __future__ import annotations

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
# quick: does any character stand between two gaps?
_GAP = re.compile(r"[ \u3000\t.·•,*_\-—~^|/\\+=&%$@#][\u4e00-\u9fff][ \u3000\t.·•,*_\-—~^|/\\+=&%$@#]")
_BETWEEN = re.compile(r"[^\u4e00-\u9fff]+")
_WIDE = {
    code: code - 0xFEE0 for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))
}
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
def step(h: Any, c: Any) -> Any:
    """The hash of a slice that is one character longer."""
    return (h ^ np.uint64(48 if 48 <= c <= 57 else c)) * np.uint64(0x100000001B3)  # every digit reads alike


@compiled
def _buckets_of(points: Any, salt: int, out: Any) -> None:
    """Buckets of the 1-, 2- and 3-gram at each character, one after the other; -1 where the text ends before."""
    n = len(points)
    start = np.uint64(0xCBF29CE484222325)
    one, two, three = start ^ np.uint64(salt + 1), start ^ np.uint64(salt + 2), start ^ np.uint64(salt + 3)
    for i in range(n):
        out[3 * i] = mix(step(one, np.int64(points[i])))
    for i in range(n - 1):
        out[3 * i + 1] = mix(step(step(two, np.int64(points[i])), np.int64(points[i + 1])))
    for i in range(n - 2):
        h = step(step(three, np.int64(points[i])), np.int64(points[i + 1]))
        out[3 * i + 2] = mix(step(h, np.int64(points[i + 2])))
    for i in range(max(0, n - 2), n):
        out[3 * i + 2] = -1
    if n > 0:
        out[3 * n - 2] = -1


@compiled
def _count(found: Any, size: int, place: Any, buckets: Any, counts: Any, used: int) -> int:
    """Count the buckets found[:size], each becomes the number of its feature (-1: none); how many there are now."""
    warm = np.int64(0)
    for k in range(size):  # many loads at a time; below each waits for a decision
        if found[k] >= 0:
            warm += place[found[k]]
    for k in range(size):
        bucket = np.int64(found[k])
        if bucket < 0:
            continue
        at = np.int64(place[bucket])
        if at < used and buckets[at] == bucket:
            counts[at] += 1
            found[k] = at
        elif used < len(buckets):
            place[bucket] = used
            buckets[used] = bucket
            counts[used] = 1
            found[k] = used
            used += 1
        else:
            found[k] = -1
    place[-1] = warm  # BUCKETS is no bucket: a use of what was loaded, or the compiler drops the loads
    return used


@compiled
def read_features(
    body: Any,
    title: Any,
    raw: Any,
    seg: Any,
    lex: Any,
    starts: Any,
    ends: Any,
    place: Any,
    buckets: Any,
    counts: Any,
    grams: Any,
) -> tuple[int, int, float, float]:
    """Fill `buckets` and `counts` with the distinct features of a post; `place` is scratch (BUCKETS + 1 long).

    Returns how many words and features there are, and SnowNLP's log probabilities of negative and positive.
    """
    words = split_words(raw, seg, ends, starts)
    neg, pos = bayes(raw, starts, ends, words, lex)
    _buckets_of(body, 0, grams)
    used = _count(grams, 3 * len(body), place, buckets, counts, 0)
    found = np.empty(max(3 * len(title), 2 * words), np.int32)
    _buckets_of(title, 16, found)
    used = _count(found, 3 * len(title), place, buckets, counts, used)
    before = np.uint64(0)
    for k in range(words):
        here = np.uint64(0xCBF29CE484222325) ^ np.uint64(64)
        for i in range(starts[k], ends[k]):
            here = step(here, np.int64(raw[i]))
        pair = (before * np.uint64(31)) ^ here ^ np.uint64(128)
        found[2 * k] = mix(here)
        found[2 * k + 1] = mix(pair * np.uint64(0x100000001B3))
        before = here
    if words > 0:
        found[1] = -1  # the first word has none before it
        used = _count(found, 2 * words, place, buckets, counts, used)
    return words, used, neg, pos


class Featuriser:
    """Reusable scratch arrays of one worker. Not for two threads at once."""

    def __init__(self, snow: Snow) -> None:
        self.snow = snow
        # two words a character at most, three grams each, twice for the title
        self.place: NDArray[Any] = np.zeros(BUCKETS + 1, np.int32)
        room = (MAX_HEAD + MAX_TAIL + 1) * 16
        self.buckets: NDArray[Any] = np.zeros(room, np.int32)
        self.counts: NDArray[Any] = np.zeros(room, np.int32)
        self.values: NDArray[Any] = np.zeros(room, np.float64)
        #: feature of the body's grams: [3 * position + length - 1]
        self.grams: NDArray[Any] = np.zeros(room, np.int32)
        self.body: NDArray[Any] = np.zeros(0, np.uint32)
        self.words = 0
        self.starts: NDArray[Any] = np.zeros(room, np.int64)
        self.ends: NDArray[Any] = np.zeros(room, np.int64)

    def extract(self, post: Prepared) -> tuple[int, float, float]:
        """Fill buckets and counts; returns how many, and SnowNLP's two log probabilities of the text as written."""
        self.body = body = codepoints(post.body)
        raw = body if post.raw == post.body else codepoints(post.raw)
        if 3 * len(body) > len(self.grams):  # one character may unfold into eighteen
            self.grams = np.zeros(3 * len(body), np.int32)
        self.words, used, neg, pos = read_features(
            body, codepoints(post.title), raw, self.snow.seg, self.snow.lex,
            self.starts, self.ends, self.place, self.buckets, self.counts, self.grams,
        )  # fmt: skip
        return used, neg, pos
