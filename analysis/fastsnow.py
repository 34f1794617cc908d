"""SnowNLP's own segmentation and sentiment, evaluated exactly but compiled.

Same tables, same tie rules (dict order of tags, strict >, a character the model never saw keeps the last
predecessor), same order of additions as snownlp 0.12.3: words are equal, values differ by rounding only
(a test holds them to 1e-9). Its speed is about 300 times SnowNLP's. Texts without a word get
SnowNLP's prior; SnowNLP itself raises ZeroDivisionError on an empty text.
"""

from __future__ import annotations

import io
import lzma
import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.compiled import compiled
from analysis.snowpack import FIRST, LAST, PACK

Ints = NDArray[Any]


@compiled
def is_space(c: int) -> bool:
    """What Python's str.split() splits at."""
    if c < 128:
        return c == 32 or 9 <= c <= 13 or 28 <= c <= 31
    return (
        c == 0x85 or c == 0xA0 or c == 0x1680 or 0x2000 <= c <= 0x200A
        or c == 0x2028 or c == 0x2029 or c == 0x202F or c == 0x205F or c == 0x3000
    )  # fmt: skip


@compiled
def is_han(c: int) -> bool:
    """SnowNLP's idea of a Chinese character."""
    return 0x4E00 <= c <= 0x9FA5


@compiled
def _find(values: Ints, lo: int, hi: int, wanted: int) -> int:
    """Position of `wanted` in the sorted slice, or -1."""
    while hi - lo > 8:
        mid = (lo + hi) >> 1
        if values[mid] <= wanted:
            lo = mid
        else:
            hi = mid
    for i in range(lo, hi):
        if values[i] == wanted:
            return i
    return -1


@compiled
def _tag(text: Ints, lo: int, hi: int, seg: Any, back: Ints, tags: Ints) -> None:
    """Viterbi over one run of Chinese characters text[lo:hi]; tags are written to tags[lo:hi]."""
    uni_id, uni_val, bi_start, bi_second, bi_val, tri_start, tri_third, tri_val, bos_bos = seg
    cur = np.zeros(16)
    new = np.zeros(16)
    pair = np.full(16, -1, np.int64)  # [t2 * 4 + t1] -> row of ((c-1, t1), (c, t2)) in bi
    new_pair = np.full(16, -1, np.int64)
    for i in range(lo, hi):
        t = i - lo
        base = (text[i] - 0x4E00) * 4
        unseen = uni_id[base] < 0 and uni_id[base + 1] < 0 and uni_id[base + 2] < 0 and uni_id[base + 3] < 0
        firsts = 1 if t == 0 else 4  # how many tags the character before may have
        seconds = 1 if t <= 1 else 4
        prev = 0 if t == 0 else (text[i - 1] - 0x4E00) * 4
        for s in range(4):
            me = uni_id[base + s]
            uni = uni_val[me] if me >= 0 else 0.0
            for t2 in range(firsts):
                before = 0 if t == 0 else uni_id[prev + t2]
                at = -1
                if me >= 0 and before >= 0:
                    at = _find(bi_second, bi_start[before], bi_start[before + 1], me)
                slot = s * 4 + t2
                new_pair[slot] = at
                if unseen:
                    new[slot] = cur[t2 * 4 + seconds - 1]
                    back[i, slot] = seconds - 1
                    continue
                plain = uni + (bi_val[at] if at >= 0 else 0.0)
                plain_log = math.log(plain) if plain > 0.0 else -np.inf
                best = -np.inf
                chosen = 0
                for t1 in range(seconds):
                    if t == 0:
                        prefix = bos_bos
                    elif t == 1:
                        prefix = pair[t2 * 4]
                    else:
                        prefix = pair[t2 * 4 + t1]
                    log_p = plain_log
                    if prefix >= 0 and me >= 0:
                        hit = _find(tri_third, tri_start[prefix], tri_start[prefix + 1], me)
                        if hit >= 0:
                            log_p = math.log(plain + tri_val[hit])
                    p = cur[t2 * 4 + t1] + log_p
                    if t1 == 0 or p > best:
                        best = p
                        chosen = t1
                new[slot] = best
                back[i, slot] = chosen
        for k in range(16):
            cur[k] = new[k]
            pair[k] = new_pair[k]
    # the first of the best in dict order: tag of the last character first, then of the one before
    n = hi - lo
    width = 1 if n == 1 else 4
    best = -np.inf
    last, before_last = 0, 0
    first = True
    for s in range(4):
        for t2 in range(width):
            if first or cur[s * 4 + t2] > best:
                best = cur[s * 4 + t2]
                last, before_last = s, t2
                first = False
    for i in range(hi - 1, lo - 1, -1):
        tags[i] = last
        earlier = back[i, last * 4 + before_last]
        last, before_last = before_last, earlier


@compiled
def split_words(text: Ints, seg: Any, ends: Ints, starts: Ints) -> int:
    """Write SnowNLP's words as [start, end) into the arrays (as long as text); returns how many."""
    n = len(text)
    tags = np.zeros(n, np.int8)
    back = np.zeros((n, 16), np.int8)
    count = 0
    i = 0
    while i < n:
        c = text[i]
        if is_han(c):
            j = i
            while j < n and is_han(text[j]):
                j += 1
            _tag(text, i, j, seg, back, tags)
            open_at = -1
            for k in range(i, j):
                tag = tags[k]
                if tag == 2:  # e
                    starts[count] = k if open_at < 0 else open_at
                    ends[count] = k + 1
                    count += 1
                    open_at = -1
                elif tag == 0 or tag == 3:  # b or s
                    if open_at >= 0:
                        starts[count] = open_at
                        ends[count] = k
                        count += 1
                    open_at = k
                elif open_at < 0:
                    open_at = k
            if open_at >= 0:
                starts[count] = open_at
                ends[count] = j
                count += 1
            i = j
        elif is_space(c):
            i += 1
        else:
            j = i
            while j < n and not is_han(text[j]) and not is_space(text[j]):
                j += 1
            starts[count] = i
            ends[count] = j
            count += 1
            i = j
    return count


@compiled
def hash_slice(text: Ints, lo: int, hi: int) -> np.uint64:
    """FNV-1a over code points."""
    h = np.uint64(0xCBF29CE484222325)
    for i in range(lo, hi):
        h = (h ^ np.uint64(text[i])) * np.uint64(0x100000001B3)
    return h ^ (h >> np.uint64(29))


@compiled
def _build_slots(chars: Ints, offsets: Ints, mask: int) -> Ints:
    slots = np.full(mask + 1, -1, np.int32)
    for w in range(len(offsets) - 1):
        at = np.int64(hash_slice(chars, offsets[w], offsets[w + 1]) & np.uint64(mask))
        while slots[at] >= 0:
            at = (at + 1) & mask
        slots[at] = w
    return slots


@compiled
def _word_number(text: Ints, lo: int, hi: int, chars: Ints, offsets: Ints, slots: Ints) -> Any:
    mask = len(slots) - 1
    at = np.int64(hash_slice(text, lo, hi) & np.uint64(mask))
    while slots[at] >= 0:
        w = np.int64(slots[at])
        start = offsets[w]
        if offsets[w + 1] - start == hi - lo:
            same = True
            for k in range(hi - lo):
                if chars[start + k] != text[lo + k]:
                    same = False
                    break
            if same:
                return w
        at = (at + 1) & mask
    return -1


@compiled
def bayes(text: Ints, starts: Ints, ends: Ints, count: int, lex: Any) -> tuple[float, float]:
    """(log P(neg, words), log P(pos, words)), added up in SnowNLP's order."""
    chars, offsets, slots, stop, log_neg, log_pos, prior_neg, prior_pos, none_neg, none_pos = lex
    neg = prior_neg
    pos = prior_pos
    for k in range(count):
        w = _word_number(text, starts[k], ends[k], chars, offsets, slots)
        if w < 0:
            neg += none_neg
            pos += none_pos
        elif stop[w] == 0:
            neg += log_neg[w]
            pos += log_pos[w]
    return neg, pos


@compiled
def value_of(neg: float, pos: float) -> float:
    """SnowNLP's sentiment value (0 negative .. 1 positive) from the two log probabilities."""
    p_neg = 0.0 if pos - neg > 709.78 else 1.0 / (1.0 + math.exp(pos - neg))
    p_pos = 0.0 if neg - pos > 709.78 else 1.0 / (math.exp(neg - pos) + 1.0)
    return p_pos if p_pos > p_neg else 1.0 - p_neg


def codepoints(text: str) -> Ints:
    """The text as an array of code points; lone surrogates pass."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)


@dataclass(frozen=True)
class Snow:
    """SnowNLP's tables as arrays. `seg` and `lex` are what the compiled functions take."""

    seg: Any
    lex: Any
    version: str

    def words(self, text: str) -> list[str]:
        """SnowNLP(text).words."""
        points = codepoints(text)
        starts, ends = np.empty(len(points), np.int64), np.empty(len(points), np.int64)
        count = split_words(points, self.seg, ends, starts)
        return [text[starts[k] : ends[k]] for k in range(count)]

    def sentiment(self, text: str) -> float:
        """SnowNLP(text).sentiments; an empty text gives the prior."""
        points = codepoints(text)
        starts, ends = np.empty(len(points), np.int64), np.empty(len(points), np.int64)
        count = split_words(points, self.seg, ends, starts)
        neg, pos = bayes(points, starts, ends, count, self.lex)
        return float(value_of(neg, pos))


def _starts(rows: Ints) -> Ints:
    out = np.zeros(len(rows) + 1, np.int32)
    np.cumsum(rows, out=out[1:])
    return out


def _segmenter(pack: Any) -> Any:
    l1, l2, l3 = (float(v) for v in pack["lambdas"])
    uni_count = pack["uni_count"].astype(np.float64)
    uni_id = np.full((LAST - FIRST + 1) * 4, -1, np.int32)
    rank = pack["uni_rank"]
    uni_id[rank[1:]] = np.arange(1, len(rank), dtype=np.int32)
    uni_val = l1 * (uni_count / float(pack["uni_total"][0]))
    bi_count = pack["bi_count"].astype(np.float64)
    bi_val = (l2 * bi_count) / np.repeat(uni_count, pack["bi_rows"])
    # SnowNLP divides by the count of the pair's *first* element, which for (s2, s3) is s2
    tri_val = (l3 * pack["tri_count"].astype(np.float64)) / np.repeat(bi_count, pack["tri_rows"])
    bi_start = _starts(pack["bi_rows"])
    second = pack["bi_second"]
    row = np.flatnonzero(second[: bi_start[1]] == 0)
    bos_bos = int(row[0]) if len(row) else -1
    return (
        uni_id, uni_val, bi_start, second, bi_val, _starts(pack["tri_rows"]), pack["tri_third"], tri_val, bos_bos,
    )  # fmt: skip


def _lexicon(pack: Any) -> Any:
    words = pack["words"].tobytes().decode("utf-8").split("\0")
    chars = codepoints("".join(words))
    offsets = np.zeros(len(words) + 1, np.int64)
    np.cumsum([len(w) for w in words], out=offsets[1:])
    total, total_neg, total_pos = (float(v) for v in pack["totals"])
    # AddOneProb: an unknown word counts 1
    neg = np.where(pack["word_neg"] > 0, pack["word_neg"], 1).astype(np.float64)
    pos = np.where(pack["word_pos"] > 0, pack["word_pos"], 1).astype(np.float64)
    return (
        chars.astype(np.int32), offsets, _build_slots(chars, offsets, (1 << 17) - 1), pack["word_stop"],
        np.log(neg / total_neg), np.log(pos / total_pos),
        math.log(total_neg) - math.log(total), math.log(total_pos) - math.log(total),
        math.log(1.0 / total_neg), math.log(1.0 / total_pos),
    )  # fmt: skip


@lru_cache(maxsize=1)
def load_snow() -> Snow:
    """The packed tables (one copy a process, about 15 MB)."""
    try:
        raw = lzma.decompress(PACK.read_bytes())
    except (OSError, lzma.LZMAError) as error:
        raise FileNotFoundError(
            f"{PACK}: cannot be read ({error}); `python -m analysis.snowpack` writes it"
        ) from error
    with np.load(io.BytesIO(raw)) as pack:
        arrays = {name: pack[name] for name in pack.files}
    return Snow(_segmenter(arrays), _lexicon(arrays), str(arrays["version"][0]))
