"""The compiled loops of judging against the same sums written plainly: features, margins and explaining words."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from analysis.fastsnow import load_snow
from analysis.features import BITS, Featuriser, Prepared, prepare
from analysis.linear import LinearModel

#: invented: repeats, digits, full-width forms, letters that become two, emoji, one character, nothing
POSTS = [
    ("小区停水三天没人管", "物业不接电话，停水三天，老人孩子没法做饭！停水停水停水。"),
    ("", "学校食堂吃出虫子，孩子拉肚子，家长很气愤，老师说没事。"),
    ("投诉泉景天沅3号楼电梯", "投诉泉景天沅3号楼电梯\n２０２６年３月１２日，电梯坏了4次，ＡＢＣ公司不修"),
    ("", "İstanbul ΑΣ 开了一家新餐厅，味道很好 ΑΣ İstanbul"),
    ("好", "好"),
    ("", "😀😀"),
    ("", ""),
    ("很长的一条", "业主多次反映搅拌站噪音粉尘扰民，街道推诿，请求处理。" * 150),
]
WRAP = (1 << 64) - 1


def mixed(h: int) -> int:
    return (((h ^ (h >> 32)) * 0x9E3779B97F4A7C15) & WRAP) >> (64 - BITS)


def hash_of(text: str, salt: int) -> int:
    h = 0xCBF29CE484222325 ^ salt
    for c in text:
        h = ((h ^ ord("0" if "0" <= c <= "9" else c)) * 0x100000001B3) & WRAP
    return h


def plain_counts(post: Prepared, words: list[str]) -> Counter[int]:
    found: Counter[int] = Counter()
    for text, salt in ((post.body, 0), (post.title, 16)):
        for size in (1, 2, 3):
            found.update(mixed(hash_of(text[i : i + size], salt + size)) for i in range(len(text) - size + 1))
    hashes = [hash_of(word, 64) for word in words]
    found.update(mixed(h) for h in hashes)
    pairs = [(a * 31 & WRAP) ^ b ^ 128 for a, b in pairwise(hashes)]
    found.update(mixed(pair * 0x100000001B3 & WRAP) for pair in pairs)
    return found


def plain_words(post: Prepared, words: list[str], values: dict[int, float], column: int) -> list[str]:
    """Words that moved one margin up: weights of grams shared out among characters, then added up by word."""
    weights, body = LinearModel.load().weights, post.body
    shares = [0.0] * len(body)
    counts = plain_counts(post, words)
    for i in range(len(body)):
        for size in range(1, min(3, len(body) - i) + 1):
            bucket = mixed(hash_of(body[i : i + size], size))
            for j in range(i, i + size):
                shares[j] += values[bucket] * float(weights[bucket, column]) / (counts[bucket] * size)
    best: dict[str, float] = {}
    at = 0
    for word in words:
        low = word.lower()
        here = body.find(low, at) if len(word) > 1 else -1
        if here >= 0:
            at = here + len(low)
            best[low] = best.get(low, 0.0) + sum(shares[here:at])
    ranked = sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))[:4]
    return [word for word, share in ranked if share > 0]


@pytest.mark.parametrize("number", range(len(POSTS)))
def test_compiled_loops_give_the_plain_sums(number: int) -> None:
    snow, model = load_snow(), LinearModel.load()
    features = Featuriser(snow)
    for title, text in POSTS[: number + 1]:  # scratch of earlier posts must not show
        post = prepare(title, text)
        used, _, _ = features.extract(post)
    words = snow.words(post.raw)
    counts = plain_counts(post, words)
    buckets = features.buckets[:used].tolist()
    assert dict(zip(buckets, features.counts[:used].tolist(), strict=True)) == dict(counts)

    margins = model.level0(features, used)
    plain = {b: (1 + math.log(n)) * float(model.idf[b]) / 20.0 for b, n in counts.items()}
    length = math.sqrt(sum(v * v for v in plain.values())) or 1.0
    values = {b: v / length for b, v in plain.items()}
    total = np.zeros(len(model.bias))
    for b, v in values.items():
        total += v * model.weights[b, : len(model.bias)]
    assert margins == pytest.approx(total * model.scale + model.bias, abs=1e-9)

    columns = list(range(0, len(model.bias), 5))
    found = model.moved(features, post, columns, 4)
    assert found == [plain_words(post, words, values, column) for column in columns]
