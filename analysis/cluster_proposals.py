"""Second looks at incidents: which two may be one matter, and which posts do not belong to theirs.

Pure functions: they change nothing, they ask a person. Both use the comparison that places posts
(`analysis/cluster.py`), the other way round: whole incidents with each other, and the posts of one incident among themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.cluster import (
    Clusterer,
    ClusterItem,
    ClusterModel,
    Read,
    Sketch,
    compare_packed,
    main_names,
    pack,
    read_item,
    sketch_of,
)
from analysis.cluster_pack import word_id
from analysis.places import same_name
from analysis.words import rarity

#: two incidents are proposed as one from this probability on
MERGE_FROM = 0.3
#: a group leaves when its posts and the others' belong together with less than this probability
SPLIT_BELOW = 0.15
#: posts looked at for a split; of a larger incident the last ones
SPLIT_POSTS = 120
WORDS_SHOWN = 6


@dataclass(frozen=True)
class Proposal:
    """Another incident that may be the same matter.

    `probability` is that of the comparison. `reasons` holds `words` (what both speak of), `places` (names that both
    hold), `days` (between the two, 0 when they overlap) and `areas` (districts of both).
    """

    other: int
    probability: float
    reasons: Mapping[str, Any]


def merge_candidates(clusterer: Clusterer, incident: int, limit: int = 5) -> list[Proposal]:
    """Live incidents that may be the same matter as `incident`, the likeliest first, at most `limit`.

    Raises KeyError when the clusterer does not hold `incident`.
    """
    mine = clusterer.sketches[incident]
    readings = _as_posts(mine)
    others = sorted({o for reading in readings[:1] for o in clusterer.candidates(reading)} - {incident})
    if not others:
        return []
    held = clusterer.sketches
    there = np.mean(
        [
            clusterer.model.scores(compare_packed(r, [held.rows[o] for o in others], held.words))
            for r in readings
        ],
        axis=0,
    )
    found: list[Proposal] = []
    for other, forth in zip(others, there, strict=True):
        if forth < MERGE_FROM:
            continue
        back = [
            clusterer.model.scores(compare_packed(r, [held.rows[incident]], held.words))[0]
            for r in _as_posts(held[other])
        ]
        score = float(min(forth, np.mean(back)))
        if score >= MERGE_FROM:
            found.append(Proposal(other, round(score, 4), _common(mine, held[other])))
    found.sort(key=lambda p: (-p.probability, p.other))
    return found[:limit]


def split_candidate(
    members: Sequence[ClusterItem], model: ClusterModel
) -> tuple[list[str], float, dict[str, Any]] | None:
    """Posts that do not belong with the others, when an incident falls into two groups; None when it holds together.

    Returns the ids of the smaller group in the order given, the probability that the two groups are two matters, and
    the reasons: `words` and `places` of the part that leaves and of the part that stays.
    """
    members = members[-SPLIT_POSTS:]
    if len(members) < 2:
        return None
    readings = [read_item(item) for item in members]
    likely = _pairwise(readings, model)
    groups = _two_groups(likely)
    first, second = (sorted(g) for g in groups)
    # posts that only one chain of likeness holds together still belong: the best link of every post across counts
    cross = likely[np.ix_(first, second)]
    bond = float((cross.max(axis=1).mean() + cross.max(axis=0).mean()) / 2)
    if bond >= SPLIT_BELOW:
        return None
    leave, stay = (first, second) if len(first) < len(second) else (second, first)
    reasons = {
        "leave": _about([readings[i] for i in leave]),
        "stay": _about([readings[i] for i in stay]),
    }
    return [members[i].id for i in leave], round(1.0 - bond, 4), reasons


def _as_posts(sketch: Sketch) -> list[Read]:
    """An incident as if it were posts: its centroid with each of its last members' trouble."""
    main = main_names(sketch)
    names = tuple(dict.fromkeys([*main, *(n for n, _ in sketch.names.most_common(8))]))[:8]
    titles = [(word_id(w), round(20 * rarity(w))) for w in list(sketch.terms)[:8]]
    return [
        Read(
            vector=sketch.terms,
            member=member,
            words=np.array(titles, np.uint32).reshape(-1, 2),
            names=names,
            title_names=tuple(main)[:4],
            subjects=tuple(s for s, _ in sketch.subjects.most_common(4)),
            areas=frozenset(sketch.areas),
            author=sketch.authors[-1] if len(sketch.authors) == 1 else -1,
            at=sketch.first_at,
        )
        for member in reversed(sketch.members)
    ]


def _common(a: Sketch, b: Sketch) -> dict[str, Any]:
    shared = {t: w * b.terms[t] for t, w in a.terms.items() if t in b.terms}
    gap = max(0.0, a.first_at - b.last_at, b.first_at - a.last_at)
    return {
        "words": sorted(shared, key=lambda t: (-shared[t], t))[:WORDS_SHOWN],
        "places": [n for n in a.names if any(same_name(n, m) for m in b.names)][:WORDS_SHOWN],
        "days": round(gap, 1),
        "areas": sorted(set(a.areas) & set(b.areas)),
    }


def _about(readings: Sequence[Read]) -> dict[str, list[str]]:
    words: Counter[str] = Counter()
    for reading in readings:
        words.update(reading.vector)  # weights add up like counts
    names = Counter(name for reading in readings for name in reading.names)
    return {
        "words": [w for w, _ in sorted(words.items(), key=lambda p: (-p[1], p[0]))[:WORDS_SHOWN]],
        "places": [n for n, _ in sorted(names.items(), key=lambda p: (-p[1], p[0]))[:WORDS_SHOWN]],
    }


def _pairwise(readings: Sequence[Read], model: ClusterModel) -> Any:
    """Probability of every pair of posts, symmetric; the later post is compared with the earlier."""
    n = len(readings)
    out = np.ones((n, n))
    rows = [pack(sketch_of(reading)) for reading in readings]
    words = {word_id(name): name for r in readings for name in (*r.names, *r.subjects)}
    for i in range(1, n):
        out[i, :i] = out[:i, i] = model.scores(compare_packed(readings[i], rows[:i], words))
    return out


def _two_groups(likely: Any) -> tuple[list[int], list[int]]:
    """Average-link clustering down to two groups."""
    groups = [[i] for i in range(len(likely))]
    link = likely.copy().astype(float)
    np.fill_diagonal(link, -1.0)
    while len(groups) > 2:
        a, b = divmod(int(link.argmax()), len(groups))
        a, b = min(a, b), max(a, b)
        na, nb = len(groups[a]), len(groups[b])
        link[a] = link[:, a] = (link[a] * na + link[b] * nb) / (na + nb)
        link[a, a] = -1.0
        groups[a] += groups.pop(b)
        link = np.delete(np.delete(link, b, 0), b, 1)
    return groups[0], groups[1]
