"""SnowNLP's own segmentation and sentiment, evaluated exactly but compiled.

Same tables, same tie rules (dict order of tags, strict >, a character the model never saw keeps the last
predecessor), same order of additions as snownlp 0.12.3: words are equal, values differ by rounding only
(a test holds them to 1e-9). Logarithms are taken once, when the tables are loaded, and found by pairs and triples of
characters: about 550 times SnowNLP's speed. Texts without a word get SnowNLP's prior; SnowNLP itself raises
ZeroDivisionError on an empty text.
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
def _home(key: int, mask: int) -> Any:
    """Where a key's search begins in a table of mask + 1 rows."""
    h = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((h >> np.uint64(32)) & np.uint64(mask))


@compiled
def _number(key: int, table: Ints, count: int) -> Any:
    """Number of a key in the table of (key, number); an unknown one gets the number `count`."""
    mask = len(table) - 1
    at = _home(key, mask)
    while table[at, 1] >= 0:
        if table[at, 0] == key:
            return np.int64(table[at, 1])
        at = (at + 1) & mask
    table[at, 0] = key
    table[at, 1] = count
    return count


@compiled
def _look(key: int, table: Ints, at: Any) -> Any:
    """Number of a key whose search begins at `at`, or -1."""
    mask = len(table) - 1
    while table[at, 1] >= 0:
        if table[at, 0] == key:
            return np.int64(table[at, 1])
        at = (at + 1) & mask
    return -1


@compiled
def _build_steps(
    char_of: Ints,
    tag_of: Ints,
    chars: int,
    uni_val: Ints,
    bi_start: Ints,
    bi_second: Ints,
    bi_val: Ints,
    tri_start: Ints,
    tri_third: Ints,
    tri_val: Ints,
    pair_table: Ints,
    triple_table: Ints,
) -> Any:
    """Log probabilities by pair and by triple of characters: what the walk over a text needs at each step.

    A pair lists (tag of this character, tag of the one before) and the logarithm of unigram + bigram; a triple lists
    (this, before, before that) and the logarithm with the trigram. What is not listed has no such count.
    """
    base = chars + 1
    rows = len(bi_second)
    pair_of = np.empty(rows, np.int32)
    pairs = 0
    for f in range(len(char_of)):
        for r in range(bi_start[f], bi_start[f + 1]):
            n = _number(char_of[f] * base + char_of[bi_second[r]], pair_table, pairs)
            pairs = max(pairs, n + 1)
            pair_of[r] = n
    pair_start = np.zeros(pairs + 1, np.int32)
    for r in range(rows):
        pair_start[pair_of[r] + 1] += 1
    for n in range(pairs):
        pair_start[n + 1] += pair_start[n]
    fill = pair_start.copy()
    pair_slot = np.empty(rows, np.uint8)
    pair_log = np.empty(rows, np.float64)
    for f in range(len(char_of)):
        for r in range(bi_start[f], bi_start[f + 1]):
            g = bi_second[r]
            at = fill[pair_of[r]]
            fill[pair_of[r]] += 1
            pair_slot[at] = tag_of[g] * 4 + tag_of[f]
            pair_log[at] = math.log(uni_val[g] + bi_val[r])
    hits = len(tri_third)
    triple_of = np.empty(hits, np.int32)
    triples = 0
    for r in range(rows):
        for q in range(tri_start[r], tri_start[r + 1]):
            n = _number(np.int64(pair_of[r]) * base + char_of[tri_third[q]], triple_table, triples)
            triples = max(triples, n + 1)
            triple_of[q] = n
    triple_start = np.zeros(triples + 1, np.int32)
    for q in range(hits):
        triple_start[triple_of[q] + 1] += 1
    for n in range(triples):
        triple_start[n + 1] += triple_start[n]
    fill = triple_start.copy()
    triple_slot = np.empty(hits, np.uint8)
    triple_log = np.empty(hits, np.float64)
    for f in range(len(char_of)):
        for r in range(bi_start[f], bi_start[f + 1]):
            g = bi_second[r]
            for q in range(tri_start[r], tri_start[r + 1]):
                h = tri_third[q]
                pair = _find(bi_second, bi_start[g], bi_start[g + 1], h)
                plain = uni_val[h] + (bi_val[pair] if pair >= 0 else 0.0)
                at = fill[triple_of[q]]
                fill[triple_of[q]] += 1
                triple_slot[at] = tag_of[h] * 16 + tag_of[g] * 4 + tag_of[f]
                triple_log[at] = math.log(plain + tri_val[q])
    return pair_start, pair_slot, pair_log, triple_start, triple_slot, triple_log


@compiled
def _log(values: Ints) -> Ints:
    """Logarithm of each value; of nothing it is minus infinity."""
    out = np.empty(len(values))
    for i in range(len(values)):
        out[i] = math.log(values[i]) if values[i] > 0.0 else -np.inf
    return out


@compiled
def _look_up(
    text: Ints, lo: int, hi: int, seg: Any, number: Ints, pair: Ints, triple: Ints, home: Ints
) -> None:
    """Numbers of each character, pair and triple of the run text[lo:hi]; -1: never counted.

    Loops of independent loads: the memory answers many of them at a time.
    """
    number_of, _, _, pair_table, triple_table = seg[0], seg[1], seg[2], seg[3], seg[4]
    chars = seg[11]
    base = chars + 1
    mask = len(pair_table) - 1
    before = chars
    warm = 0
    for i in range(lo, hi):
        c = np.int64(number_of[np.int64(text[i]) - 0x4E00])
        number[i] = c
        home[i] = _home(before * base + c, mask)
        warm += pair_table[home[i], 0]
        before = c
    before = chars
    for i in range(lo, hi):
        c = np.int64(number[i])
        pair[i] = -1
        if c >= 0 and before >= 0:
            pair[i] = _look(before * base + c, pair_table, home[i])
        before = c
    mask = len(triple_table) - 1
    first = seg[12]
    for i in range(lo, hi):
        p = first if i == lo else np.int64(pair[i - 1])
        home[i] = _home(p * base + number[i], mask)
        warm += triple_table[home[i], 0]
    for i in range(lo, hi):
        p = first if i == lo else np.int64(pair[i - 1])
        triple[i] = -1
        if p >= 0 and number[i] >= 0:
            triple[i] = _look(p * base + number[i], triple_table, home[i])
    home[lo] = warm  # a use of what was loaded: the compiler must not drop the loads


@compiled
def _tag(text: Ints, lo: int, hi: int, seg: Any, room: Any, tags: Ints) -> None:
    """Viterbi over one run of Chinese characters text[lo:hi]; tags are written to tags[lo:hi].

    State [s * 4 + t]: this character has tag s, the one before t. Before the run stands one state only, [0].
    """
    number, pair, triple, home, back = room
    _look_up(text, lo, hi, seg, number, pair, triple, home)
    uni_log, keep = seg[1], seg[2]
    pair_start, pair_slot, pair_log = seg[5], seg[6], seg[7]
    triple_start, triple_slot, triple_log = seg[8], seg[9], seg[10]
    cur = np.full(16, -np.inf)
    cur[0] = 0.0
    new = np.empty(16)
    plain = np.empty(16)
    over = np.full(64, np.inf)  # inf: no trigram
    best_of = np.empty(4)
    for i in range(lo, hi):
        c = np.int64(number[i])
        if c < 0:
            # SnowNLP keeps the last predecessor of a character that it never saw
            k = 3 if i - lo > 1 else 0
            for s in range(4):
                for t2 in range(4):
                    new[s * 4 + t2] = cur[t2 * 4 + k]
            back[i] = np.uint32(0xFFFFFFFF) if k == 3 else np.uint32(0)
            for k in range(16):
                cur[k] = new[k]
            continue
        touched = 0
        row = 0
        for t2 in range(4):
            best, second, arg = cur[t2 * 4], -np.inf, 0
            for t1 in range(1, 4):
                p = cur[t2 * 4 + t1]
                if p > best:
                    second, best, arg = best, p, t1
                elif p > second:
                    second = p
            best_of[t2] = best
            row |= arg << (2 * t2)
            # so near that adding could round the difference away: decide it slot by slot
            if best - second < 1e-9:
                touched |= 0x1111 << t2
        for s in range(4):
            for t2 in range(4):
                plain[s * 4 + t2] = uni_log[c, s]
        if pair[i] >= 0:
            for e in range(pair_start[pair[i]], pair_start[pair[i] + 1]):
                plain[pair_slot[e]] = pair_log[e]
        for s in range(4):
            for t2 in range(4):
                new[s * 4 + t2] = best_of[t2] + plain[s * 4 + t2]
        bits: Any = np.int64(row * 0x01010101) & np.int64(keep[c])
        if triple[i] >= 0:
            for e in range(triple_start[triple[i]], triple_start[triple[i] + 1]):
                over[triple_slot[e]] = triple_log[e]
                touched |= 1 << (triple_slot[e] >> 2)
        if touched:
            for slot in range(16):
                if (touched >> slot) & 1:
                    t2 = slot & 3
                    best, arg = -np.inf, 0
                    for t1 in range(4):
                        known = over[slot * 4 + t1]
                        p = cur[t2 * 4 + t1] + (plain[slot] if known == np.inf else known)
                        if t1 == 0 or p > best:
                            best, arg = p, t1
                        over[slot * 4 + t1] = np.inf
                    new[slot] = best
                    bits = (bits & ~(3 << (2 * slot))) | (arg << (2 * slot))
        back[i] = bits
        for k in range(16):
            cur[k] = new[k]
    # the first of the best in dict order: tag of the last character first, then of the one before
    n = hi - lo
    width = 1 if n == 1 else 4
    best = -np.inf
    last: Any = 0
    before_last: Any = 0
    first = True
    for s in range(4):
        for t2 in range(width):
            if first or cur[s * 4 + t2] > best:
                best = cur[s * 4 + t2]
                last, before_last = s, t2
                first = False
    for i in range(hi - 1, lo - 1, -1):
        tags[i] = last
        earlier = (np.int64(back[i]) >> (2 * (last * 4 + before_last))) & 3
        last, before_last = before_last, earlier


@compiled
def split_words(text: Ints, seg: Any, ends: Ints, starts: Ints) -> int:
    """Write SnowNLP's words as [start, end) into the arrays (as long as text); returns how many."""
    n = len(text)
    tags = np.empty(n, np.int8)
    room = (
        np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int32), np.empty(n, np.int64), np.empty(n, np.uint32)
    )  # fmt: skip
    count = 0
    i = 0
    while i < n:
        c = text[i]
        if is_han(c):
            j = i
            while j < n and is_han(text[j]):
                j += 1
            _tag(text, i, j, seg, room, tags)
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
    """Table of words: upper half of the hash, then the number; -1 is free."""
    slots = np.full(mask + 1, -1, np.int64)
    for w in range(len(offsets) - 1):
        h = hash_slice(chars, offsets[w], offsets[w + 1])
        at = np.int64(h & np.uint64(mask))
        while slots[at] >= 0:
            at = (at + 1) & mask
        slots[at] = np.int64((h >> np.uint64(33)) << np.uint64(32)) | w
    return slots


@compiled
def _word_number(
    text: Ints, lo: int, hi: int, h: Any, slot: int, chars: Ints, offsets: Ints, slots: Ints
) -> int:
    """Number of the word text[lo:hi] with hash `h`, whose first slot was already read; -1: unknown."""
    mask = len(slots) - 1
    at = np.int64(h & np.uint64(mask))
    upper = np.int64(h >> np.uint64(33))
    while slot >= 0:
        if slot >> 32 == upper:
            w = slot & 0xFFFFFFFF
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
        slot = slots[at]
    return -1


@compiled
def bayes(text: Ints, starts: Ints, ends: Ints, count: int, lex: Any) -> tuple[float, float]:
    """(log P(neg, words), log P(pos, words)), added up in SnowNLP's order."""
    chars, offsets, slots, logs, prior_neg, prior_pos, none_neg, none_pos = lex
    hashes = np.empty(count, np.uint64)
    mask = np.uint64(len(slots) - 1)
    found = np.empty(count, np.int64)
    for k in range(count):
        hashes[k] = hash_slice(text, starts[k], ends[k])
        found[k] = slots[np.int64(hashes[k] & mask)]
    neg = prior_neg
    pos = prior_pos
    for k in range(count):
        w = _word_number(text, starts[k], ends[k], hashes[k], found[k], chars, offsets, slots)
        if w < 0:
            neg += none_neg
            pos += none_pos
        else:
            neg += logs[w, 0]
            pos += logs[w, 1]
    return neg, pos


@compiled
def value_of(neg: float, pos: float) -> float:
    """SnowNLP's sentiment value (0 negative .. 1 positive) from the two log probabilities."""
    p_neg = 0.0 if pos - neg > 709.78 else 1.0 / (1.0 + math.exp(pos - neg))
    p_pos = 0.0 if neg - pos > 709.78 else 1.0 / (math.exp(neg - pos) + 1.0)
    return p_pos if p_pos > p_neg else 1.0 - p_neg


def codepoints(text: str) -> Ints:
    """The text as an array of code points (read only); lone surrogates pass."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


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


def _table(rows: int) -> Ints:
    """An empty table of (key, number) with room for so many."""
    return np.full((1 << max(4, (rows * 5 // 4).bit_length()), 2), -1, np.int32)


def _segmenter(pack: Any) -> Any:
    l1, l2, l3 = (float(v) for v in pack["lambdas"])
    uni_count = pack["uni_count"].astype(np.float64)
    rank = pack["uni_rank"].astype(np.int64)  # of BOS, number 0, it is -1
    uni_val = l1 * (uni_count / float(pack["uni_total"][0]))
    bi_count = pack["bi_count"].astype(np.float64)
    bi_val = (l2 * bi_count) / np.repeat(uni_count, pack["bi_rows"])
    # SnowNLP divides by the count of the pair's *first* element, which for (s2, s3) is s2
    tri_val = (l3 * pack["tri_count"].astype(np.float64)) / np.repeat(bi_count, pack["tri_rows"])
    seen = np.unique(rank[1:] >> 2)
    chars = len(seen)  # BOS is the character after the last
    number_of = np.full(LAST - FIRST + 1, -1, np.int16)
    number_of[seen] = np.arange(chars, dtype=np.int16)
    char_of, tag_of = np.full(len(rank), chars, np.int64), np.zeros(len(rank), np.int64)
    char_of[1:], tag_of[1:] = number_of[rank[1:] >> 2], rank[1:] & 3
    uni_log = np.full((chars, 4), -np.inf)
    uni_log[char_of[1:], tag_of[1:]] = _log(uni_val)[1:]
    keep = np.zeros(chars, np.uint32)  # states of tags that the character never had point nowhere
    for tag in range(4):
        keep |= np.where(uni_log[:, tag] > -np.inf, 0xFF << (8 * tag), 0).astype(np.uint32)
    pairs, triples = _table(len(bi_val)), _table(len(tri_val))
    steps = _build_steps(
        char_of, tag_of, chars, uni_val, _starts(pack["bi_rows"]), pack["bi_second"], bi_val,
        _starts(pack["tri_rows"]), pack["tri_third"], tri_val, pairs, triples,
    )  # fmt: skip
    if (len(steps[0]) + 1) * (chars + 1) >= 1 << 31:
        raise ValueError(f"{PACK}: {len(steps[0]):,} pairs of characters, too many for a key of 32 bits")
    start = chars * (chars + 1) + chars
    bos_bos = int(_look(start, pairs, _home(start, len(pairs) - 1)))
    return (number_of, uni_log, keep, pairs, triples, *steps, chars, bos_bos)


def _lexicon(pack: Any) -> Any:
    words = pack["words"].tobytes().decode("utf-8").split("\0")
    chars = codepoints("".join(words))
    offsets = np.zeros(len(words) + 1, np.int64)
    np.cumsum([len(w) for w in words], out=offsets[1:])
    total, total_neg, total_pos = (float(v) for v in pack["totals"])
    # AddOneProb: an unknown word counts 1; a stop word adds nothing
    neg = np.where(pack["word_neg"] > 0, pack["word_neg"], 1).astype(np.float64)
    pos = np.where(pack["word_pos"] > 0, pack["word_pos"], 1).astype(np.float64)
    logs = np.column_stack([np.log(neg / total_neg), np.log(pos / total_pos)])
    logs[pack["word_stop"] != 0] = 0.0
    return (
        chars, offsets, _build_slots(chars, offsets, (1 << 17) - 1), logs,
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
