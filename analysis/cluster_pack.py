"""Posts and incidents as arrays of 32-bit words, and the compiled comparison of a post with many incidents.

An incident is one row of words: a head of counts, the centroid's words with their weights, names, areas, authors, the keys of
the index, and its last posts. A new post has the same form. Words and names stand as their CRC-32; whoever needs
to show one looks it up in the table of the live index (`WordTable`).
"""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from analysis.compiled import compiled

GRAMS = Path(__file__).parent / "models" / "grams.xz"
GRAM_BITS = 19
#: head of a row: version, posts, first_at, last_at, then counts of what follows
HEAD = 10
#: head of a member: words that follow, then counts of problem words, pairs, bigrams, title and body trigrams
MEMBER_HEAD = 6
TITLE_GRAMS = 48
BODY_GRAMS = 60
MAX_TITLE = 64  # characters of a title that are compared
BODY_CHARS = 300
#: days are kept as whole hundred-thousandths
DAY = 100_000

FEATURES = (
    "centre",
    "member",
    "member_2nd",
    "title",
    "shared",
    "title_shared",
    "clash",
    "other_subject",
    "areas_clash",
    "areas_same",
    "author",
    "author_like",
    "shared_like",
    "shared_unlike",
    "no_common_trouble",
    "gap",
    "size",
    "copy",
    "bigrams",
    "bigrams_2nd",
    "bigrams_all",
    "rarest_bigram",
    "trigrams",
    "trigrams_2nd",
    "rarest_trigram",
    "body",
    "body_2nd",
    "title_in_body",
    "body_has_title",
    "both_ways",
    "rarest_in_body",
    "names",
    "main_shared",
    "title_name_known",
    "has_title_name",
    "has_name",
    "incident_has_name",
    "span",
    "title_length",
    "rarest_word",
    "rarest_missing",
)


def word_id(word: str) -> int:
    """The 32 bits under which a word or name is known."""
    return zlib.crc32(word.encode("utf-8", "surrogatepass"))


@lru_cache(maxsize=1)
def gram_table() -> Any:
    """Rarity of hashed character pairs and unordered triples, 1/20 natural log, one byte a bucket."""
    return np.frombuffer(lzma.decompress(GRAMS.read_bytes()), np.uint8)


def codes(text: str) -> Any:
    """Code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


@compiled
def _mix(a: Any, b: Any, c: Any) -> Any:
    h = np.uint64(a) * np.uint64(0x9E3779B1) + np.uint64(b) * np.uint64(0x85EBCA77C2B2AE63)
    h += np.uint64(c) * np.uint64(0xC2B2AE3D27D4EB4F)
    h ^= h >> np.uint64(29)
    h *= np.uint64(0xBF58476D1CE4E5B9)
    h ^= h >> np.uint64(32)
    return np.uint32(h & np.uint64(0xFFFFFFFF))


@compiled
def _spoken(c: Any) -> Any:
    return (
        (0x4E00 <= c <= 0x9FFF)
        or (48 <= c <= 57)
        or (65 <= c <= 90)
        or (97 <= c <= 122)
        or (0x3400 <= c <= 0x4DBF)
    )


@compiled
def gram_ids(text: Any, triples: Any, out: Any) -> Any:
    """Distinct ids of neighbouring pairs (in order) or triples (in whatever order), sorted; returns how many.

    Triples without their order let 聚利网 meet 利聚网: names are misspelt by swapping characters.
    """
    n = 0
    width = 3 if triples else 2
    for i in range(len(text) - width + 1):
        a, b = text[i], text[i + 1]
        if not (_spoken(a) and _spoken(b)):
            continue
        if triples:
            c = text[i + 2]
            if not _spoken(c):
                continue
            low, high = min(a, b, c), max(a, b, c)
            out[n] = _mix(low, a + b + c - low - high, high)
        else:
            out[n] = _mix(a, b, np.uint32(0))
        n += 1
    part = np.sort(out[:n])
    kept = 0
    for i in range(n):
        if i == 0 or part[i] != part[i - 1]:
            out[kept] = part[i]
            kept += 1
    return kept


@compiled
def _rare(ids: Any, n: Any, table: Any, keep: Any, floor: Any, out: Any, weight: Any) -> Any:
    """The `keep` rarest ids with a rarity above `floor`, sorted by id, into `out` and `weight`; returns how many."""
    mask = np.uint32(len(table) - 1)
    order = np.empty(n, np.int64)
    m = 0
    for i in range(n):
        w = table[ids[i] & mask]
        if w > floor:
            # rarest first, then by id
            order[m] = (np.int64(255 - w) << 32) | np.int64(ids[i])
            m += 1
    top = np.sort(order[:m])[:keep]
    m = len(top)
    chosen = np.empty(m, np.int64)
    for i in range(m):
        chosen[i] = ((top[i] & np.int64(0xFFFFFFFF)) << 8) | (np.int64(255) - (top[i] >> 32))
    chosen = np.sort(chosen)
    for i in range(m):
        out[i] = np.uint32(chosen[i] >> 8)
        weight[i] = np.uint8(chosen[i] & 255)
    return m


@compiled
def grams(title: Any, body: Any, table: Any, out: Any, weight: Any, counts: Any) -> None:
    """Pairs and triples of the title, triples of title and body: ids and rarities side by side, counts of each."""
    ids = np.empty(max(len(title), len(body)) + 1, np.uint32)
    n = gram_ids(title, False, ids)
    counts[0] = _rare(ids, n, table, 48, 50, out, weight)
    n = gram_ids(title, True, ids)
    counts[1] = _rare(ids, n, table, 48, 60, out[counts[0] :], weight[counts[0] :])
    at = counts[0] + counts[1]
    n = gram_ids(body, True, ids)
    counts[2] = _rare(ids, n, table, 60, 80, out[at:], weight[at:])


def section(ids: Any, weights: Any) -> list[Any]:
    """Ids and their one-byte weights as 32-bit words."""
    padded = np.zeros(-(-len(ids) // 4) * 4, np.uint8)
    padded[: len(ids)] = weights
    return [np.asarray(ids, np.uint32), padded.view(np.uint32)]


def weighted(words: Mapping[str, float]) -> list[Any]:
    """A vector of words as a section, sorted by id; weights in 1/255."""
    pairs = sorted((word_id(word), round(weight * 255)) for word, weight in words.items())
    return section([p[0] for p in pairs], [p[1] for p in pairs])


def member_row(problem: Mapping[str, float], pairs: Any, title: str, body: str) -> bytes:
    """One post as a member: problem words, title pairs without places, character pairs and triples."""
    head = codes(title[:MAX_TITLE])
    whole = codes(f"{title[:MAX_TITLE]} {body[:BODY_CHARS]}")
    out, weight, counts = np.empty(180, np.uint32), np.empty(180, np.uint8), np.empty(3, np.int64)
    grams(head, whole, gram_table(), out, weight, counts)
    a, b, c = int(counts[0]), int(counts[1]), int(counts[2])
    pair_ids = np.array(sorted(word_id(pair) for pair in pairs), np.uint32)
    parts = [
        *weighted(problem),
        pair_ids,
        *section(out[:a], weight[:a]),
        *section(out[a : a + b], weight[a : a + b]),
        *section(out[a + b : a + b + c], weight[a + b : a + b + c]),
    ]
    size = sum(len(part) for part in parts)
    row = np.concatenate([np.array([size, len(problem), len(pair_ids), a, b, c], np.uint32), *parts])
    return row.tobytes()


@compiled
def _weight(row: Any, at: Any, i: Any) -> Any:
    return (row[at + (i >> 2)] >> np.uint32(8 * (i & 3))) & np.uint32(255)


@compiled
def _dot(a: Any, at: Any, n: Any, b: Any, bt: Any, m: Any) -> Any:
    """Cosine of two weighted sections."""
    total, own, other = 0.0, 0.0, 0.0
    i, j = 0, 0
    aw, bw = at + n, bt + m
    for k in range(n):
        w = float(_weight(a, aw, k))
        own += w * w
    for k in range(m):
        w = float(_weight(b, bw, k))
        other += w * w
    while i < n and j < m:
        x, y = a[at + i], b[bt + j]
        if x == y:
            total += float(_weight(a, aw, i)) * float(_weight(b, bw, j))
            i += 1
            j += 1
        elif x < y:
            i += 1
        else:
            j += 1
    return total / np.sqrt(own * other) if total > 0 else 0.0


@compiled
def _common(a: Any, at: Any, n: Any, b: Any, bt: Any, m: Any, out: Any) -> None:
    """out = [sum of the first's weights that the second has too, the largest of them, the sum of all of the first's]."""
    i, j = 0, 0
    aw = at + n
    out[0] = out[1] = out[2] = 0.0
    for k in range(n):
        out[2] += float(_weight(a, aw, k)) / 20.0
    while i < n and j < m:
        x, y = a[at + i], b[bt + j]
        if x == y:
            w = float(_weight(a, aw, i)) / 20.0
            out[0] += w
            out[1] = max(out[1], w)
            i += 1
            j += 1
        elif x < y:
            i += 1
        else:
            j += 1


@compiled
def _overlap(a: Any, at: Any, n: Any, b: Any, bt: Any, m: Any) -> Any:
    """How many ids two plain sorted lists share."""
    i, j, hits = 0, 0, 0
    while i < n and j < m:
        x, y = a[at + i], b[bt + j]
        if x == y:
            hits += 1
            i += 1
            j += 1
        elif x < y:
            i += 1
        else:
            j += 1
    return hits


@compiled
def _width(n: Any) -> Any:
    return n + ((n + 3) >> 2)


@compiled
def _lookup(known: Any, wanted: Any) -> Any:
    for k in range(len(known)):
        if known[k, 0] == wanted:
            return known[k, 1]
    return np.uint32(0)


@compiled
def name_ids(rows: Any, starts: Any, out: Any) -> Any:
    """Ids of all names of the rows, as they come; returns how many were written."""
    n = 0
    for s in starts:
        at = s + 10 + _width(rows[s + 4])
        for k in range(rows[s + 5]):
            if n < len(out):
                out[n] = rows[at + 2 * k]
                n += 1
    return n


@compiled
def compare_rows(post: Any, words: Any, rows: Any, starts: Any, known: Any, out: Any) -> None:
    """Features of a post's row against incident rows that start at `starts` in `rows`; one line of `out` each.

    `known` lists [name id, bits]: the incident's names that mean a name (1), a title name (2) or a subject (4) of the post.
    `words` lists [word id, rarity * 20] of the post's title.
    """
    share = np.zeros(3)
    v, nv = 10, np.int64(post[4])
    pn = v + _width(nv)
    p_names, p_title, p_subjects = 0, 0, 0
    for k in range(post[5]):
        mark = post[pn + 2 * k + 1]
        p_names += 1 if mark & np.uint32(0xFFF) else 0
        p_subjects += 1 if (mark >> np.uint32(12)) & np.uint32(0xFFF) else 0
        p_title += 1 if mark >> np.uint32(24) else 0
    pa = pn + 2 * np.int64(post[5])
    pu = pa + 2 * np.int64(post[6])
    pm = pu + np.int64(post[7]) + np.int64(post[9])
    pp = pm + 6
    np_, nk, nt, nu, nb = (
        np.int64(post[pm + 1]),
        np.int64(post[pm + 2]),
        np.int64(post[pm + 3]),
        np.int64(post[pm + 4]),
        np.int64(post[pm + 5]),
    )
    pk = pp + _width(np_)
    pt = pk + nk
    pU = pt + _width(nt)
    pB = pU + _width(nu)
    title_sum = 0.0
    for k in range(nt):
        title_sum += float(_weight(post, pt + nt, k)) / 20.0
    at_post = float(post[2])
    for line in range(len(starts)):
        s = starts[line]
        f = out[line]
        posts = float(rows[s + 1])
        first, last = float(rows[s + 2]), float(rows[s + 3])
        iv, ivn = s + 10, np.int64(rows[s + 4])
        f[0] = _dot(post, v, nv, rows, iv, ivn)
        i_n = iv + _width(ivn)
        shared, title_shared, main_shared, main, subjects, subject_known, names_subject, title_known = (
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        )
        hits = 0
        any_name = 0
        for k in range(rows[s + 5]):
            mark = rows[i_n + 2 * k + 1]
            bits = _lookup(known, rows[i_n + 2 * k])
            count = float(mark & np.uint32(0xFFF))
            if count > 0:
                any_name = 1
                is_main = count * 3 >= posts
                main += 1 if is_main else 0
                if bits & np.uint32(1):
                    shared = 1
                    hits += 1
                    main_shared = 1 if is_main or main_shared else 0
                if bits & np.uint32(2):
                    title_known = 1
                    if is_main:
                        title_shared = 1
                if bits & np.uint32(4):
                    subject_known = 1
            if (mark >> np.uint32(12)) & np.uint32(0xFFF):
                subjects += 1
                if bits & np.uint32(1):
                    names_subject = 1
        i_a = i_n + 2 * np.int64(rows[s + 5])
        same_area = 0
        for k in range(rows[s + 6]):
            for j in range(post[6]):
                if rows[i_a + 2 * k] == post[pa + 2 * j]:
                    same_area = 1
        i_u = i_a + 2 * np.int64(rows[s + 6])
        same_author = 0
        for k in range(rows[s + 7]):
            for j in range(post[7]):
                if rows[i_u + k] == post[pu + j]:
                    same_author = 1
        m = i_u + np.int64(rows[s + 7]) + np.int64(rows[s + 9])
        for k in range(1, 4):
            f[k] = 0.0
        for k in range(18, 31):
            f[k] = 0.0
        for _ in range(rows[s + 8]):
            q = m + 6
            qn, qk, qt, qu, qb = (
                np.int64(rows[m + 1]),
                np.int64(rows[m + 2]),
                np.int64(rows[m + 3]),
                np.int64(rows[m + 4]),
                np.int64(rows[m + 5]),
            )
            k_at = q + _width(qn)
            t_at = k_at + qk
            u_at = t_at + _width(qt)
            b_at = u_at + _width(qu)
            like = _dot(post, pp, np_, rows, q, qn)
            if like > f[1]:
                f[2], f[1] = f[1], like
            elif like > f[2]:
                f[2] = like
            lighter = min(nk, qk)
            if lighter > 0:
                f[3] = max(f[3], _overlap(post, pk, nk, rows, k_at, qk) / max(lighter, 4.0))
            _common(rows, t_at, qt, post, pt, nt, share)
            other_sum = share[2]
            contained = share[0] / max(min(title_sum, other_sum), 20.0)
            if contained > f[18]:
                f[19], f[18] = f[18], contained
            elif contained > f[19]:
                f[19] = contained
            f[20] = max(f[20], share[0] / max(title_sum + other_sum - share[0], 1.0))
            f[21] = max(f[21], share[1] / 10.0)
            _common(rows, u_at, qu, post, pU, nu, share)
            own = share[2]
            both, top = share[0], share[1]
            _common(post, pU, nu, rows, b_at, qb, share)
            mine = share[2]
            forth = share[0] / max(mine, 20.0)
            rare = share[1]
            inside = both / max(min(own, mine), 20.0)
            if inside > f[22]:
                f[23], f[22] = f[22], inside
            elif inside > f[23]:
                f[23] = inside
            f[24] = max(f[24], top / 10.0)
            _common(rows, u_at, qu, post, pB, nb, share)
            back = share[0] / max(own, 20.0)
            rare = max(rare, share[1])
            near = _dot(post, pB, nb, rows, b_at, qb)
            if near > f[25]:
                f[26], f[25] = f[25], near
            elif near > f[26]:
                f[26] = near
            f[27] = max(f[27], forth)
            f[28] = max(f[28], back)
            f[29] = max(f[29], min(forth, back))
            f[30] = max(f[30], rare / 10.0)
            m += 6 + np.int64(rows[m])
        best, overlap = f[1], f[3]
        f[4], f[5] = shared, title_shared
        f[6] = 1.0 if p_names and main and not main_shared else 0.0
        f[7] = 1.0 if p_subjects and subjects and not subject_known and not names_subject else 0.0
        f[8] = 1.0 if post[6] and rows[s + 6] and not same_area else 0.0
        f[9] = same_area
        f[10] = same_author
        f[11] = best if same_author else 0.0
        f[12] = best if shared else 0.0
        f[13] = max(0.0, 0.25 - best) * 4 if shared else 0.0
        f[14] = 1.0 if best < 0.05 and overlap < 0.1 else 0.0
        gap = max(0.0, at_post - last, first - at_post) / 100000.0
        f[15] = np.log1p(gap) / 5.0
        f[16] = np.log(posts) / 4.0
        f[17] = 1.0 if best > 0.95 else 0.0
        f[31] = min(hits, 4) / 4.0
        f[32] = main_shared
        f[33] = title_known
        f[34] = 1.0 if p_title else 0.0
        f[35] = 1.0 if p_names else 0.0
        f[36] = any_name
        f[37] = np.log1p((last - first) / 100000.0) / 5.0
        f[38] = nt / 48.0
        f[39] = f[40] = 0.0
        for k in range(len(words)):
            low, high = np.int64(0), ivn
            while low < high:
                mid = (low + high) >> 1
                if rows[iv + mid] < words[k, 0]:
                    low = mid + 1
                else:
                    high = mid
            found: Any = low < ivn and rows[iv + low] == words[k, 0]
            if found:
                f[39] = max(f[39], words[k, 1] / 200.0)
            else:
                f[40] = max(f[40], words[k, 1] / 200.0)


@compiled
def vote(postings: Any, starts: Any, weights: Any, best: Any) -> Any:
    """The incidents that gather the most weight over concatenated postings, into `best`, heaviest first; returns how many.

    Postings are counted in a hash table of their own total size: the cost follows what is read, not what is live.
    """
    total = starts[-1]
    size = 64
    while size < 2 * total:
        size *= 2
    ids = np.zeros(size, np.uint32)
    sums = np.zeros(size, np.float32)
    mask = size - 1
    for k in range(len(weights)):
        for i in range(starts[k], starts[k + 1]):
            incident = postings[i]
            at: Any = (np.int64(incident) * 2654435761) & mask
            while ids[at] != 0 and ids[at] != incident:
                at = (at + 1) & mask
            ids[at] = incident
            sums[at] += weights[k]
    held: Any = np.int64(0)
    top = np.zeros(len(best), np.float32)
    for slot in range(size):
        incident = ids[slot]
        if incident == 0:
            continue
        w = sums[slot]
        if held == len(best) and (w < top[held - 1] or (w == top[held - 1] and incident > best[held - 1])):
            continue
        j = held if held < len(best) else held - 1
        while j > 0 and (w > top[j - 1] or (w == top[j - 1] and incident < best[j - 1])):
            top[j], best[j] = top[j - 1], best[j - 1]
            j -= 1
        top[j], best[j] = w, incident
        held = min(held + 1, len(best))
    return held
