"""Near-copies: exact after normalising, or nearly exact by MinHash-LSH with an exact check.

A re-post is one voice, not two. The finder remembers the last `KEPT` posts; older copies still fall into
the same incident by likeness.
"""

from __future__ import annotations

import hashlib
import zlib
from array import array
from collections import OrderedDict

from rensa import RMinHash, RMinHashLSH  # type: ignore[import-untyped]

from analysis.features import normalise

KEPT = 20_000
SHINGLE = 3
THRESHOLD = 0.6
_PERMUTATIONS, _BANDS = 64, 16
_LIMIT = 1000  # characters compared


def _bare(text: str) -> str:
    """The text without case, forms, punctuation and spaces."""
    return "".join(c for c in normalise(text)[:_LIMIT] if c.isalnum())


def shingles(text: str) -> set[str]:
    """Distinct character 3-grams of the bare text; a shorter text is its own shingle."""
    body = _bare(text)
    return {body[i : i + SHINGLE] for i in range(len(body) - SHINGLE + 1)} or {body}


def jaccard(a: set[str], b: set[str]) -> float:
    """Share of common shingles, 0..1."""
    return len(a & b) / len(a | b) if a or b else 1.0


def _packed(grams: set[str]) -> array[int]:
    """Shingles as sorted 32-bit hashes: a tenth of the memory, the same share to one in a million."""
    return array("I", sorted({zlib.crc32(gram.encode("utf-8", "surrogatepass")) for gram in grams}))


def _packed_jaccard(a: array[int], b: array[int]) -> float:
    left, right = set(a), set(b)
    return len(left & right) / len(left | right)


class CopyFinder:
    """Finds the earliest remembered post that a new one repeats."""

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._exact: dict[bytes, str] = {}
        self._recent: OrderedDict[int, tuple[str, array[int], bytes, RMinHash]] = OrderedDict()
        self._lsh = RMinHashLSH(threshold=THRESHOLD, num_perm=_PERMUTATIONS, num_bands=_BANDS)
        self._number = 0

    def find(self, key: str, title: str, text: str) -> str | None:
        """The id of an earlier post with the same words, or None; remembers this one."""
        body = _bare(text if len(text) > len(title) else f"{title}{text}")
        exact = hashlib.blake2b(body.encode("utf-8", "surrogatepass"), digest_size=12).digest()
        earlier = self._exact.get(exact)
        if earlier is not None:
            return earlier if earlier != key else None
        grams = {body[i : i + SHINGLE] for i in range(len(body) - SHINGLE + 1)} or {body}
        packed = _packed(grams)
        sketch = RMinHash(num_perm=_PERMUTATIONS, seed=42)
        sketch.update(sorted(grams))
        found: str | None = None
        if len(grams) >= 8:
            for number in sorted(self._lsh.query(sketch)):
                held = self._recent.get(number)
                if held is not None and _packed_jaccard(packed, held[1]) >= THRESHOLD:
                    found = held[0]
                    break
        self._remember(found or key, packed, exact, sketch)
        return found if found != key else None

    def _remember(self, key: str, grams: array[int], exact: bytes, sketch: RMinHash) -> None:
        self._number += 1
        self._exact[exact] = key
        self._recent[self._number] = (key, grams, exact, sketch)
        self._lsh.insert(self._number, sketch)
        if len(self._recent) > self._kept:
            number, (_, _, old, _) = self._recent.popitem(last=False)
            self._lsh.remove(number)
            self._exact.pop(old, None)
