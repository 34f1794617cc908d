"""Words for telling matters apart, and how rare each is in the background.

The rarity table holds one byte a hashed bucket, counted over complaints and questions of the years before;
it is fixed, so that an assignment depends on the live incidents alone and a restart changes nothing.
"""

from __future__ import annotations

import lzma
import zlib
from functools import lru_cache
from pathlib import Path

import rjieba

TABLE = Path(__file__).parent / "models" / "idf.xz"
BITS = 16


def word_bucket(word: str) -> int:
    """Bucket of a word in the rarity table."""
    return zlib.crc32(word.encode("utf-8", "surrogatepass")) & ((1 << BITS) - 1)


@lru_cache(maxsize=1)
def _table() -> bytes:
    return lzma.decompress(TABLE.read_bytes())


@lru_cache(maxsize=65536)
def rarity(word: str) -> float:
    """Inverse document frequency of a word, natural log (0 in every text .. 10.6 never seen)."""
    return _table()[word_bucket(word)] / 20


def cut(text: str) -> list[str]:
    """Words of two characters or more (single letters, particles and punctuation say nothing)."""
    return [word for word in rjieba.cut(text, False) if len(word) > 1 and not word.isspace()]
