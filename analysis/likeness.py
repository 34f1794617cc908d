"""How alike two texts are in what they say: words weighed by how rare they are in the background, polite words left out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from analysis.features import clean, normalise
from analysis.words import cut, rarity

#: rarity (natural log) of words that every letter to an office holds; what is not rarer says nothing about the matter
EVERYDAY = 1.5
#: of every answer and every complaint, whatever it is about
_FORMS = frozenset(
    [
        "您好",
        "你好",
        "网友",
        "留言",
        "来信",
        "收悉",
        "反映",
        "问题",
        "回复",
        "答复",
        "如下",
        "情况",
        "感谢",
        "关心",
        "支持",
        "监督",
        "理解",
        "工作",
        "有关",
        "相关",
        "现将",
        "针对",
        "尊敬",
        "领导",
        "书记",
        "市长",
        "希望",
        "请问",
        "谢谢",
        "政府",
        "部门",
        "我们",
        "你们",
        "他们",
    ]
)

Terms = dict[str, float]


@lru_cache(maxsize=1 << 16)
def _weight(word: str) -> float:
    return 0.0 if word in _FORMS else max(0.0, rarity(word) - EVERYDAY)


def terms(text: str) -> Terms:
    """Words and neighbouring characters of a text with their weights; a word counts once, however often it stands there."""
    found: Terms = {}
    for word in cut(normalise(clean(text))):
        weight = _weight(word)
        if weight > 0:
            found[word] = weight
            # 搅拌站 meets 搅拌厂: half of a longer word's weight lies on its pairs of characters
            if len(word) > 2:
                for i in range(len(word) - 1):
                    found.setdefault(word[i : i + 2], weight / 2)
    return found


def together(parts: Iterable[Terms]) -> Terms:
    """The terms of several texts as one."""
    found: Terms = {}
    for part in parts:
        found.update(part)
    return found


def cosine(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """0 without a word in common .. 1 for the same words."""
    if not a or not b:
        return 0.0
    if len(b) < len(a):
        a, b = b, a
    shared = sum(w * w for word, w in a.items() if word in b)
    return shared / math.sqrt(sum(w * w for w in a.values()) * sum(w * w for w in b.values()))


def covered(part: Mapping[str, float], whole: Mapping[str, float]) -> float:
    """Share of the weight of `part` that stands in `whole` too; 0 for an empty part."""
    total = sum(part.values())
    return sum(w for word, w in part.items() if word in whole) / total if total else 0.0


def percentile(value: float, others: Sequence[float]) -> float | None:
    """Where `value` stands among `others`: share below it, ties by half; None without any."""
    if not others:
        return None
    below = sum(other < value for other in others)
    same = sum(other == value for other in others)
    return (below + same / 2) / len(others)
