"""Which incident a post belongs to: one pass, online, in order of arrival, late posts allowed.

An incident is a concrete matter: same place or organisation and same problem. A post is compared with
the few incidents that share its rarest words or its places (a pruned inverted index), by a logistic
score over word likeness, shared or contradicting places, the same author and the time between. Cost per post
does not grow with the number of incidents: postings and candidates are bounded. The state of
an incident is its `Sketch`, a small JSON value; an index rebuilt from the sketches, in order of incident number,
gives the same answers as the one that was lost.
"""

from __future__ import annotations

import heapq
import json
import math
import re
import zlib
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from analysis.copies import CopyFinder
from analysis.places import IDENTIFYING, Place, same_name
from analysis.words import cut, rarity

WEIGHTS = Path(__file__).parent / "models" / "cluster.json"
TITLE_WEIGHT = 3.0
BODY_CHARS = 220
TERMS_KEPT = 60  # of a centroid
MEMBER_TERMS = 30
MEMBERS_KEPT = 6
POSTING = 300  # newest incidents remembered per term
QUERY_TERMS = 10
CANDIDATES = 16
KEYS_KEPT = 60  # of one incident in the index
NAME_VOTE = 0.4
#: rarity (natural log) of words that every complaint holds
EVERYDAY = 2.0
#: words of politeness and of complaining itself: they tell no matter from another
BOILERPLATE = frozenset(
    """尊敬 领导 您好 你好 请求 恳请 希望 反映 投诉 举报 咨询 建议 呼吁 请问 业主 小区 居民 市民 我们 我是 本人 相关 部门 有关部门
    处理 解决 问题 政府 书记 市长 多次 一直 至今 没有 尽快 谢谢 感谢 情况 要求 关于 再次 严重 这个 现在 已经 加快 加大 力度 步伐 建设 何时 能否""".split()  # noqa: SIM905
)
_NOISE = re.compile("|".join(sorted(BOILERPLATE, key=len, reverse=True)) + "|附近|旁边|[A-Z]\\d*[市区县]")
SUBJECTS = frozenset({"estate", "school", "hospital", "village"})
AUTHORS_KEPT = 16

Vector = dict[str, float]


@dataclass(frozen=True)
class ClusterItem:
    """What clustering reads of a post. `author` is a pseudonym; only a short digest of it is kept."""

    id: str
    title: str
    text: str
    published_at: datetime
    places: tuple[Place, ...] = ()
    author: str | None = None
    districts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Assignment:
    """Where a post went. `near_copy_of` is the id of the earlier post it repeats."""

    id: str
    incident: int
    similarity: float
    new: bool
    near_copy_of: str | None = None
    #: what spoke for it: features of the winning comparison
    reasons: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Read:
    """A post reduced to what is compared."""

    vector: Vector
    #: the words without those of place names: what is wrong, wherever
    problem: Vector
    title: frozenset[str]
    title_mass: float
    names: tuple[str, ...]  # identifying places
    title_names: tuple[str, ...]
    #: estates, schools ... of the title: what makes the same trouble elsewhere another matter
    subjects: tuple[str, ...]
    areas: frozenset[str]
    author: int
    at: float  # days since the epoch


@dataclass
class Sketch:
    """The clustering state of one incident: centroid, last members, places."""

    terms: Vector
    members: deque[tuple[Vector, frozenset[str], float]]
    names: Counter[str]
    areas: Counter[str]
    authors: deque[int]
    first_at: float
    last_at: float
    posts: int = 1
    subjects: Counter[str] = field(default_factory=Counter)
    #: keys under which the index knows it
    keys: dict[str, None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON value that `from_json` turns back into an equal sketch."""
        return {
            "t": dict(self.terms),
            "m": [[dict(vector), sorted(title), mass] for vector, title, mass in self.members],
            "n": dict(self.names),
            "a": dict(self.areas),
            "u": list(self.authors),
            "f": self.first_at,
            "l": self.last_at,
            "p": self.posts,
            "s": dict(self.subjects),
            "k": list(self.keys),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Sketch:
        """Raises KeyError or TypeError when `data` is not a sketch."""
        return cls(
            terms=dict(data["t"]),
            members=deque(
                ((dict(v), frozenset(title), float(mass)) for v, title, mass in data["m"]), MEMBERS_KEPT
            ),
            names=Counter(data["n"]),
            areas=Counter(data["a"]),
            authors=deque(data["u"], AUTHORS_KEPT),
            first_at=float(data["f"]),
            last_at=float(data["l"]),
            posts=int(data["p"]),
            subjects=Counter(data["s"]),
            keys=dict.fromkeys(data["k"]),
        )


@dataclass(frozen=True)
class ClusterModel:
    """Weights of the comparison and the threshold above which a post joins."""

    weights: Mapping[str, float]
    bias: float
    threshold: float
    version: str

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> ClusterModel:
        """The shipped model."""
        data = json.loads(WEIGHTS.read_text("utf-8"))
        return cls(data["weights"], float(data["bias"]), float(data["threshold"]), str(data["version"]))

    def score(self, features: Mapping[str, float]) -> float:
        """Probability that both speak of one matter."""
        z = self.bias + sum(self.weights.get(name, 0.0) * value for name, value in features.items())
        return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, z))))


def _digest(author: str | None) -> int:
    """24 bits of an author's pseudonym: enough to notice a repeat, not to find a person."""
    return zlib.crc32(author.encode()) & 0xFFFFFF if author else -1


def _unit(counts: Mapping[str, float], keep: int) -> Vector:
    top = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:keep]
    norm = math.sqrt(sum(w * w for _, w in top))
    # rounded as stored, so that a sketch read back is the sketch that was written
    return {t: round(w / norm, 5) for t, w in top} if norm > 0 else {}


def read_item(item: ClusterItem) -> Read:
    """Words with their weights, and places by role."""
    title, body = item.title, item.text
    if not title:
        title, body = body[:40], body
    counts: dict[str, float] = {}
    title_words = cut(title)
    for word in title_words:
        counts[word] = counts.get(word, 0.0) + TITLE_WEIGHT
    for word in cut(body[:BODY_CHARS]):
        counts[word] = counts.get(word, 0.0) + 1.0
    weighted = {word: (1.0 + math.log(n)) * _weight(word) for word, n in counts.items()}
    weighted = {word: w for word, w in weighted.items() if w > 0}
    names = [p.norm for p in item.places if p.kind in IDENTIFYING]
    where = "".join(dict.fromkeys(p.norm + p.name for p in item.places))
    trouble = {word: w for word, w in weighted.items() if word not in where and word.upper() not in where}
    known = _pairs(title, item.places)
    bare_title = title.replace("·", "").upper()
    in_title = [p for p in item.places if p.kind in IDENTIFYING and p.norm in bare_title]
    return Read(
        vector=_unit(weighted, TERMS_KEPT),
        problem=_unit(trouble, MEMBER_TERMS),
        title=known,
        title_mass=float(len(known)),
        names=tuple(dict.fromkeys(names))[:8],
        title_names=tuple(dict.fromkeys(p.norm for p in in_title))[:4],
        subjects=tuple(dict.fromkeys(p.norm for p in in_title if p.kind in SUBJECTS))[:4],
        areas=frozenset(item.districts)
        or frozenset(p.norm for p in item.places if p.kind == "district" and len(p.norm) > 2),
        author=_digest(item.author),
        at=round(item.published_at.timestamp() / 86400.0, 5),
    )


def _pairs(title: str, places: Iterable[Place]) -> frozenset[str]:
    """Pairs of neighbouring characters of a title without place names and boilerplate (搅拌站 meets 搅拌厂)."""
    bare = title.replace("·", "")
    for place in places:
        bare = bare.replace(place.name.replace("·", ""), " ").replace(place.norm, " ")
    bare = _NOISE.sub(" ", bare)
    return frozenset(bare[i : i + 2] for i in range(len(bare) - 1) if bare[i : i + 2].isalnum())


def _weight(word: str) -> float:
    """How much a word says about the matter: its rarity above that of everyday complaint words."""
    return 0.0 if word in BOILERPLATE else max(0.0, rarity(word) - EVERYDAY)


def _cosine(a: Vector, b: Vector) -> float:
    if len(a) > len(b):
        a, b = b, a
    return sum(weight * b[term] for term, weight in a.items() if term in b)


def _share(names: Sequence[str], others: Iterable[str]) -> bool:
    return any(same_name(a, b) for b in others for a in names)


def main_names(sketch: Sketch) -> list[str]:
    """Places that a third of the posts name."""
    return [n for n, count in sketch.names.items() if count * 3 >= sketch.posts]


def sketch_of(reading: Read) -> Sketch:
    """The state of an incident of one post."""
    return Sketch(
        terms=dict(reading.vector),
        members=deque([(reading.problem, reading.title, reading.title_mass)], MEMBERS_KEPT),
        names=Counter(reading.names),
        areas=Counter(reading.areas),
        authors=deque([reading.author] if reading.author >= 0 else [], AUTHORS_KEPT),
        first_at=reading.at,
        last_at=reading.at,
        subjects=Counter(reading.subjects),
    )


def compare(post: Read, sketch: Sketch) -> dict[str, float]:
    """Features of one comparison, each about 0..1."""
    centre = _cosine(post.vector, sketch.terms)
    best, overlap = 0.0, 0.0
    for vector, title, mass in sketch.members:
        best = max(best, _cosine(post.problem, vector))
        lighter = min(mass, post.title_mass)
        if lighter > 0:
            overlap = max(overlap, len(post.title & title) / max(lighter, 4.0))
    main = main_names(sketch)
    shared = _share(post.names, sketch.names)
    title_shared = _share(post.title_names, main)
    both = bool(post.names) and bool(main)
    gap = abs(post.at - sketch.last_at) if post.at > sketch.last_at else max(0.0, sketch.first_at - post.at)
    same_author = post.author >= 0 and post.author in sketch.authors
    # both titles name an estate, a school ...: another one, and the bodies do not bring them together
    other_subject = (
        bool(post.subjects)
        and bool(sketch.subjects)
        and not _share(post.subjects, sketch.names)
        and not _share(post.names, sketch.subjects)
    )
    areas_clash = bool(post.areas) and bool(sketch.areas) and not any(a in sketch.areas for a in post.areas)
    return {
        "centre": centre,
        "member": best,
        "title": overlap,
        "shared": float(shared),
        "title_shared": float(title_shared),
        "clash": float(both and not _share(post.names, main)),
        "other_subject": float(other_subject),
        "areas_clash": float(areas_clash),
        "author": float(same_author),
        "author_like": best if same_author else 0.0,
        "shared_like": best if shared else 0.0,
        "shared_unlike": max(0.0, 0.25 - best) * 4 if shared else 0.0,
        # the same place and not a word in common about what is wrong there
        "no_common_trouble": float(best < 0.05 and overlap < 0.1),
        "gap": math.log1p(gap) / 5.0,
        "size": math.log(sketch.posts) / 4.0,
        "copy": float(best > 0.95),
    }


@dataclass(frozen=True)
class Match:
    """The best incident for a post, not yet joined. `incident` is None when the post opens a new one."""

    reading: Read
    incident: int | None
    score: float
    near_copy_of: str | None
    reasons: Mapping[str, float]


class Clusterer:
    """The live incidents and the index over them. Not for two threads at once."""

    def __init__(self, model: ClusterModel | None = None, copies: CopyFinder | None = None) -> None:
        self.model = model or ClusterModel.load()
        self.copies = copies or CopyFinder()
        self.sketches: dict[int, Sketch] = {}
        self._postings: dict[str, list[int]] = {}
        self._last_number = 0

    def assign(self, item: ClusterItem) -> Assignment:
        """Put one post into the best incident, or open one with the next free number."""
        match = self.match(item)
        if match.incident is None:
            number = self._last_number + 1
            self.open(match.reading, number)
            return Assignment(item.id, number, 1.0, True, match.near_copy_of, match.reasons)
        self.add(match.incident, match.reading)
        return Assignment(item.id, match.incident, match.score, False, match.near_copy_of, match.reasons)

    def match(self, item: ClusterItem) -> Match:
        """Find the incident of one post. Only the memory of near-copies changes."""
        reading = read_item(item)
        copy = self.copies.find(item.id, item.title, item.text)
        best: tuple[float, int, dict[str, float]] | None = None
        for incident in self.candidates(reading):
            features = compare(reading, self.sketches[incident])
            score = self.model.score(features)
            if best is None or (score, -incident) > (best[0], -best[1]):
                best = (score, incident, features)
        if best is None:
            return Match(reading, None, 0.0, copy, {})
        score, incident, features = best
        reasons = {name: round(value, 3) for name, value in features.items() if value}
        if score < self.model.threshold:
            return Match(reading, None, round(score, 4), copy, {"nearest": float(incident), **reasons})
        return Match(reading, incident, round(score, 4), copy, reasons)

    def open(self, reading: Read, number: int) -> Sketch:
        """A new incident of one post under a number not used before."""
        sketch = sketch_of(reading)
        self.restore(number, sketch)
        return sketch

    def restore(self, incident: int, sketch: Sketch) -> None:
        """Take an incident into the index."""
        self.sketches[incident] = sketch
        self._last_number = max(self._last_number, incident)
        for key in sketch.keys:
            self._post(key, incident)
        self._index(incident, sketch)

    def forget_before(self, day: float) -> list[int]:
        """Drop the incidents whose last post is older than `day` (days since the epoch); returns them."""
        old = [incident for incident, sketch in self.sketches.items() if sketch.last_at < day]
        for incident in old:
            self.forget(incident)
        return old

    def forget(self, incident: int) -> None:
        """Drop one incident from the index; nothing happens when it is not there."""
        sketch = self.sketches.pop(incident, None)
        for key in sketch.keys if sketch is not None else ():
            posting = self._postings.get(key)
            if posting is not None and incident in posting:
                posting.remove(incident)
                if not posting:
                    del self._postings[key]

    def add(self, incident: int, reading: Read) -> Sketch:
        """Let a post shape its incident."""
        sketch = self.sketches[incident]
        n = sketch.posts
        blend = {term: weight * min(n, 30) for term, weight in sketch.terms.items()}
        for term, weight in reading.vector.items():
            blend[term] = blend.get(term, 0.0) + weight
        sketch.terms = _unit(blend, TERMS_KEPT)
        sketch.members.append((reading.problem, reading.title, reading.title_mass))
        sketch.names.update(reading.names)
        if len(sketch.names) > 24:
            sketch.names = Counter(dict(sketch.names.most_common(16)))
        sketch.areas.update(reading.areas)
        sketch.subjects.update(reading.subjects)
        if len(sketch.subjects) > 16:
            sketch.subjects = Counter(dict(sketch.subjects.most_common(12)))
        if reading.author >= 0 and reading.author not in sketch.authors:
            sketch.authors.append(reading.author)
        sketch.first_at = min(sketch.first_at, reading.at)
        sketch.last_at = max(sketch.last_at, reading.at)
        sketch.posts = n + 1
        self._index(incident, sketch)
        return sketch

    def _index(self, incident: int, sketch: Sketch) -> None:
        for key in _keys(sketch.terms, sketch.names):
            if key not in sketch.keys and len(sketch.keys) < KEYS_KEPT:
                sketch.keys[key] = None
                self._post(key, incident)

    def _post(self, key: str, incident: int) -> None:
        # sorted by number and cut at the low end: the content does not depend on the order of arrival
        posting = self._postings.setdefault(key, [])
        if not posting or posting[-1] < incident:
            posting.append(incident)
        else:
            at = bisect_left(posting, incident)
            if posting[at] == incident:
                return
            posting.insert(at, incident)
        if len(posting) > POSTING:
            del posting[0]

    def candidates(self, reading: Read) -> list[int]:
        """The incidents worth comparing: those that share the heaviest words or a place, by weight shared."""
        votes: dict[int, float] = {}
        for key in _keys(reading.vector, reading.names):
            weight = NAME_VOTE if key[0] == "@" else reading.vector[key]
            for incident in self._postings.get(key, ()):
                votes[incident] = votes.get(incident, 0.0) + weight
        ranked = heapq.nsmallest(CANDIDATES, votes.items(), key=lambda pair: (-pair[1], pair[0]))
        return [incident for incident, _ in ranked]


def _keys(terms: Vector, names: Iterable[str]) -> list[str]:
    """What an incident is found by: its heaviest words, and the tails of its places' names."""
    top = heapq.nsmallest(QUERY_TERMS, terms.items(), key=lambda pair: (-pair[1], pair[0]))
    return [*(term for term, _ in top), *dict.fromkeys(f"@{name[-3:]}" for name in names)]
