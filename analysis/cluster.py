"""Which incident a post belongs to: one pass, online, in order of arrival, late posts allowed.

An incident is a concrete matter: same place or organisation and same problem. A post is compared with
the few incidents that share its rarest words or its places (a pruned inverted index), by boosted trees and a logistic
score over word likeness, rare pairs and triples of characters, shared or contradicting places, the same author and the
time between. Cost per post does not grow with the number of incidents: postings and candidates are bounded. The state of
an incident is its `Sketch`, a small JSON value, packed to about a kilobyte while it rests; an index rebuilt from the sketches,
in order of incident number, gives the same answers as the one that was lost.
"""

from __future__ import annotations

import base64
import heapq
import io
import json
import lzma
import math
import re
import struct
import zlib
from array import array
from bisect import bisect_left
from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from analysis.cluster_pack import (
    DAY,
    FEATURES,
    HEAD,
    compare_rows,
    member_row,
    name_ids,
    section,
    vote,
    word_id,
)
from analysis.copies import CopyFinder
from analysis.places import IDENTIFYING, Place, same_name
from analysis.trees import Trees
from analysis.words import cut, rarity

WEIGHTS = Path(__file__).parent / "models" / "cluster.json"
TREES = Path(__file__).parent / "models" / "cluster.npz.xz"
TITLE_WEIGHT = 3.0
BODY_CHARS = 220
TERMS_KEPT = 60  # of a centroid
MEMBER_TERMS = 30
MEMBERS_KEPT = 6
POSTING = 300  # newest incidents remembered per term
QUERY_TERMS = 10
CANDIDATES = 16
KEYS_KEPT = 60  # of one incident in the index
NAMES_KEPT, SUBJECTS_KEPT = 24, 16
#: unpacked sketches kept at hand
HOT = 2000
VERSION = 2  # of a stored sketch
#: the same words about another estate are another matter, and so is other trouble at the same place
RULES: Mapping[str, float] = {"other_subject": -14.0, "no_common_trouble": -2.5}
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
    #: its trouble, title and character triples as a row of an incident (`cluster_pack.member_row`)
    member: bytes
    #: [id, rarity * 20] of the words of the title
    words: Any
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
    members: deque[bytes]
    names: Counter[str]
    areas: Counter[str]
    authors: deque[int]
    first_at: float
    last_at: float
    posts: int = 1
    subjects: Counter[str] = field(default_factory=Counter)
    #: keys under which the index knows it
    keys: dict[int, None] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A JSON value that `from_json` turns back into an equal sketch."""
        return {
            "v": VERSION,
            "t": {word: round(weight, 4) for word, weight in self.terms.items()},
            "m": [base64.b64encode(row).decode("ascii") for row in self.members],
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
        """A sketch of this version, or of the one before (whose titles had no character triples).

        Raises KeyError, TypeError or ValueError when `data` is not a sketch.
        """
        if data.get("v", 1) not in (1, VERSION):
            raise ValueError(f"sketch of version {data['v']!r}")
        old = data.get("v", 1) == 1
        members = [
            member_row({w: min(1.0, float(x)) for w, x in m[0].items()}, m[1], "", "")
            if old
            else base64.b64decode(m, validate=True)
            for m in data["m"]
        ]
        return cls(
            terms=_steps({str(w): float(x) for w, x in data["t"].items()}),
            members=deque(members, MEMBERS_KEPT),
            names=Counter(data["n"]),
            areas=Counter(data["a"]),
            authors=deque(data["u"], AUTHORS_KEPT),
            first_at=float(data["f"]),
            last_at=float(data["l"]),
            posts=int(data["p"]),
            subjects=Counter(data["s"]),
            keys=dict.fromkeys(word_id(key) if old else int(key) for key in data["k"]),
        )


def pack(sketch: Sketch, title_names: Sequence[str] = ()) -> bytes:
    """A sketch as one row of 32-bit words (`cluster_pack`); `title_names` are marked, for a post that is to be compared."""
    terms = sorted((word_id(word), round(weight * 255)) for word, weight in sketch.terms.items())
    names: list[int] = []
    for name in dict.fromkeys([*sketch.names, *sketch.subjects, *title_names]):
        count, subject = min(sketch.names[name], 0xFFF), min(sketch.subjects[name], 0xFFF)
        names += [word_id(name), count | subject << 12 | (name in title_names) << 24]
    areas = [x for area, count in sketch.areas.items() for x in (word_id(area), count)]
    head = [
        VERSION,
        sketch.posts,
        round(max(0.0, sketch.first_at) * DAY),
        round(max(0.0, sketch.last_at) * DAY),
        len(terms),
        len(names) // 2,
        len(areas) // 2,
        len(sketch.authors),
        len(sketch.members),
        len(sketch.keys),
    ]
    rest = array("I", [*names, *areas, *sketch.authors, *sketch.keys])
    ids, weights = section([t[0] for t in terms], [t[1] for t in terms])
    return b"".join(
        [array("I", head).tobytes(), ids.tobytes(), weights.tobytes(), rest.tobytes(), *sketch.members]
    )


def unpack(row: bytes, words: Mapping[int, str]) -> Sketch:
    """The sketch of a row; `words` knows the words, names and areas behind the ids."""
    numbers = array("I", row)
    _, posts, first, last, terms, names, areas, authors, members, keys = numbers[:HEAD]
    at = HEAD + terms
    weights = numbers[at : at + (terms + 3) // 4].tobytes()
    found = {words[numbers[HEAD + i]]: weights[i] / 255 for i in range(terms)}
    at += (terms + 3) // 4
    sketch = Sketch(
        terms=found,
        members=deque(maxlen=MEMBERS_KEPT),
        names=Counter(),
        areas=Counter(),
        authors=deque(maxlen=AUTHORS_KEPT),
        first_at=first / DAY,
        last_at=last / DAY,
        posts=posts,
    )
    for _ in range(names):
        name, mark = words[numbers[at]], numbers[at + 1]
        if mark & 0xFFF:
            sketch.names[name] = mark & 0xFFF
        if mark >> 12 & 0xFFF:
            sketch.subjects[name] = mark >> 12 & 0xFFF
        at += 2
    for _ in range(areas):
        sketch.areas[words[numbers[at]]] = numbers[at + 1]
        at += 2
    sketch.authors.extend(numbers[at : at + authors])
    at += authors
    sketch.keys = dict.fromkeys(numbers[at : at + keys])
    at += keys
    for _ in range(members):
        size = 6 + numbers[at]
        sketch.members.append(row[4 * at : 4 * (at + size)])
        at += size
    return sketch


@dataclass(frozen=True)
class ClusterModel:
    """The comparison: a linear part that can be explained, boosted trees, and the threshold above which a post joins."""

    weights: Mapping[str, float]
    bias: float
    threshold: float
    version: str
    #: None for a model that is linear alone
    trees: Trees | None = None
    #: share of the trees in the log-odds, 0..1
    mix: float = 0.0
    #: set by hand, added to the log-odds: labelled messages hold too few templates sent from many estates to learn it
    rules: Mapping[str, float] = field(default_factory=lambda: RULES)

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> ClusterModel:
        """The shipped model."""
        data = json.loads(WEIGHTS.read_text("utf-8"))
        with np.load(io.BytesIO(lzma.decompress(TREES.read_bytes()))) as arrays:
            trees = Trees(**{name: arrays[name] for name in Trees.FIELDS})
        return cls(
            data["weights"],
            float(data["bias"]),
            float(data["threshold"]),
            str(data["version"]),
            trees,
            float(data["mix"]),
        )

    def scores(self, features: Any) -> Any:
        """Probability that both speak of one matter, for each line of a feature matrix (columns as `FEATURES`)."""
        z = features @ np.array([self.weights.get(name, 0.0) for name in FEATURES], np.float32) + self.bias
        if self.trees is not None:
            z = (1 - self.mix) * z + self.mix * self.trees.raw(features)[:, 0]
        for name, penalty in self.rules.items():
            z = z + penalty * features[:, FEATURES.index(name)]
        return 1.0 / (1.0 + np.exp(-np.clip(z, -60.0, 60.0)))

    def score(self, features: Mapping[str, float]) -> float:
        """Probability of one comparison."""
        line = np.array([[features.get(name, 0.0) for name in FEATURES]], np.float32)
        return float(self.scores(line)[0])


def _digest(author: str | None) -> int:
    """24 bits of an author's pseudonym: enough to notice a repeat, not to find a person."""
    return zlib.crc32(author.encode()) & 0xFFFFFF if author else -1


def _unit(counts: Mapping[str, float], keep: int) -> Vector:
    top = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:keep]
    norm = math.sqrt(sum(w * w for _, w in top))
    return _steps({t: w / norm for t, w in top}) if norm > 0 else {}


def _steps(weights: Vector) -> Vector:
    """Weights in steps of 1/255, as they are packed: a sketch read back is the sketch that was written."""
    stepped = {t: round(min(1.0, w) * 255) / 255 for t, w in weights.items()}
    return {t: w for t, w in stepped.items() if w > 0}


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
        member=member_row(_unit(trouble, MEMBER_TERMS), known, _plain(title), _plain(body)),
        words=np.array(
            [
                (word_id(w), round(20 * x))
                for w, x in ((w, _weight(w)) for w in dict.fromkeys(title_words))
                if x > 0
            ],
            np.uint32,
        ).reshape(-1, 2),
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


_MASKED = re.compile(r"[A-Z]\d{0,2}[市区县省]|西地省|·")


def _plain(text: str) -> str:
    """Without masked administrative names: they are everywhere and say nothing."""
    return _MASKED.sub(" ", text[:400])


@lru_cache(maxsize=1 << 16)
def _weight(word: str) -> float:
    """How much a word says about the matter: its rarity above that of everyday complaint words."""
    return 0.0 if word in BOILERPLATE else max(0.0, rarity(word) - EVERYDAY)


@lru_cache(maxsize=1 << 16)
def _same(a: str, b: str) -> bool:
    return same_name(a, b)


def main_names(sketch: Sketch) -> list[str]:
    """Places that a third of the posts name."""
    return [n for n, count in sketch.names.items() if count * 3 >= sketch.posts]


def sketch_of(reading: Read) -> Sketch:
    """The state of an incident of one post."""
    return Sketch(
        terms=dict(reading.vector),
        members=deque([reading.member], MEMBERS_KEPT),
        names=Counter(reading.names),
        areas=Counter(sorted(reading.areas)),
        authors=deque([reading.author] if reading.author >= 0 else [], AUTHORS_KEPT),
        first_at=reading.at,
        last_at=reading.at,
        subjects=Counter(reading.subjects),
    )


def compare_packed(reading: Read, rows: Sequence[bytes], words: Mapping[int, str]) -> Any:
    """Feature matrix of a post against packed incidents, a line each, columns as `FEATURES`."""
    post = np.frombuffer(pack(sketch_of(reading), reading.title_names), np.uint32)
    starts = np.zeros(len(rows), np.int64)
    np.cumsum([len(row) // 4 for row in rows[:-1]], out=starts[1:])
    joined = np.frombuffer(b"".join(rows), np.uint32)
    known: list[tuple[int, int]] = []
    if reading.names or reading.title_names or reading.subjects:
        held = np.empty(40 * len(rows), np.uint32)
        for key in set(held[: name_ids(joined, starts, held)].tolist()):
            name = words[key]
            bits = (
                any(_same(n, name) for n in reading.names)
                | any(_same(n, name) for n in reading.title_names) << 1
                | any(_same(n, name) for n in reading.subjects) << 2
            )
            if bits:
                known.append((key, bits))
    out = np.zeros((len(rows), len(FEATURES)), np.float32)
    compare_rows(post, reading.words, joined, starts, np.array(known, np.uint32).reshape(-1, 2), out)
    return out


def compare(post: Read, sketch: Sketch) -> dict[str, float]:
    """Features of one comparison, each about 0..1."""
    words = {word_id(name): name for name in [*sketch.names, *sketch.subjects]}
    line = compare_packed(post, [pack(sketch)], words)[0]
    return {name: float(value) for name, value in zip(FEATURES, line, strict=True)}


@dataclass(frozen=True)
class Match:
    """The best incident for a post, not yet joined. `incident` is None when the post opens a new one."""

    reading: Read
    incident: int | None
    score: float
    near_copy_of: str | None
    reasons: Mapping[str, float]


class Sketches(Mapping[int, Sketch]):
    """The live sketches by incident number: packed, and the last used ones at hand. A sketch read is a copy to look at."""

    def __init__(self) -> None:
        self.rows: dict[int, bytes] = {}
        #: words, names and areas behind the ids of the rows
        self.words: dict[int, str] = {}
        self._hot: OrderedDict[int, Sketch] = OrderedDict()
        self._tidy_at = 500_000

    def __getitem__(self, incident: int) -> Sketch:
        sketch = self._hot.get(incident)
        if sketch is None:
            sketch = unpack(self.rows[incident], self.words)
            self._keep(incident, sketch)
        return sketch

    def __iter__(self) -> Iterator[int]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def put(self, incident: int, sketch: Sketch) -> None:
        """Store a sketch as it is now."""
        for text in (*sketch.terms, *sketch.names, *sketch.subjects, *sketch.areas):
            self.words.setdefault(word_id(text), text)
        self.rows[incident] = pack(sketch)
        self._keep(incident, sketch)
        if len(self.words) > self._tidy_at:
            self._tidy()

    def drop(self, incident: int) -> Sketch | None:
        """Forget an incident; returns what was known of it."""
        if incident not in self.rows:
            return None
        sketch = self[incident]
        del self.rows[incident]
        self._hot.pop(incident, None)
        return sketch

    def last_day(self, incident: int) -> float:
        """When its last post was written, days since the epoch."""
        return float(struct.unpack_from("<I", self.rows[incident], 12)[0]) / DAY

    def _keep(self, incident: int, sketch: Sketch) -> None:
        self._hot[incident] = sketch
        self._hot.move_to_end(incident)
        if len(self._hot) > HOT:
            self._hot.popitem(last=False)

    def _tidy(self) -> None:
        """Drop the words that no live incident holds any more."""
        live: set[int] = set()
        for row in self.rows.values():
            live.update(array("I", row))  # more than its words, never less
        self.words = {key: word for key, word in self.words.items() if key in live}
        self._tidy_at = max(500_000, 2 * len(self.words))


class Clusterer:
    """The live incidents and the index over them. Not for two threads at once."""

    def __init__(self, model: ClusterModel | None = None, copies: CopyFinder | None = None) -> None:
        self.model = model or ClusterModel.load()
        self.copies = copies or CopyFinder()
        self.sketches = Sketches()
        self._postings: dict[int, array[int]] = {}
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
        found = self.candidates(reading)
        if not found:
            return Match(reading, None, 0.0, copy, {})
        incident, score, reasons = self._best(reading, found)
        if score < self.model.threshold:
            return Match(reading, None, round(score, 4), copy, {"nearest": float(incident), **reasons})
        return Match(reading, incident, round(score, 4), copy, reasons)

    def nearest(self, item: ClusterItem, since: float, until: float) -> tuple[int, float] | None:
        """The incident nearest to a text that is no post, with its score, among those with posts in [since, until]
        (days since the epoch). Nothing is remembered of the text."""
        reading = read_item(item)
        found = [
            incident
            for incident in self.candidates(reading)
            if self.sketches.last_day(incident) >= since and self.sketches[incident].first_at <= until
        ]
        if not found:
            return None
        incident, score, _ = self._best(reading, found)
        return incident, round(score, 4)

    def _best(self, reading: Read, found: Sequence[int]) -> tuple[int, float, dict[str, float]]:
        features = compare_packed(reading, [self.sketches.rows[i] for i in found], self.sketches.words)
        scores = self.model.scores(features)
        best = max(range(len(found)), key=lambda i: (scores[i], -found[i]))
        reasons = {
            name: round(float(value), 3)
            for name, value in zip(FEATURES, features[best], strict=True)
            if value
        }
        return found[best], float(scores[best]), reasons

    def open(self, reading: Read, number: int) -> Sketch:
        """A new incident of one post under a number not used before."""
        sketch = sketch_of(reading)
        self.restore(number, sketch)
        return sketch

    def restore(self, incident: int, sketch: Sketch) -> None:
        """Take an incident into the index."""
        self._last_number = max(self._last_number, incident)
        for key in sketch.keys:
            self._post(key, incident)
        self._index(incident, sketch)
        self.sketches.put(incident, sketch)

    def forget_before(self, day: float) -> list[int]:
        """Drop the incidents whose last post is older than `day` (days since the epoch); returns them."""
        old = [incident for incident in self.sketches if self.sketches.last_day(incident) < day]
        for incident in old:
            self.forget(incident)
        return old

    def forget(self, incident: int) -> None:
        """Drop one incident from the index; nothing happens when it is not there."""
        sketch = self.sketches.drop(incident)
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
        sketch.members.append(reading.member)
        sketch.names.update(reading.names)
        if len(sketch.names) > NAMES_KEPT:
            sketch.names = _most(sketch.names, 16)
        sketch.areas.update(sorted(reading.areas))
        sketch.subjects.update(reading.subjects)
        if len(sketch.subjects) > SUBJECTS_KEPT:
            sketch.subjects = _most(sketch.subjects, 12)
        if reading.author >= 0 and reading.author not in sketch.authors:
            sketch.authors.append(reading.author)
        sketch.first_at = min(sketch.first_at, reading.at)
        sketch.last_at = max(sketch.last_at, reading.at)
        sketch.posts = n + 1
        self._index(incident, sketch)
        self.sketches.put(incident, sketch)
        return sketch

    def _index(self, incident: int, sketch: Sketch) -> None:
        for key in _keys(sketch.terms, sketch.names):
            if key not in sketch.keys and len(sketch.keys) < KEYS_KEPT:
                sketch.keys[key] = None
                self._post(key, incident)

    def _post(self, key: int, incident: int) -> None:
        # sorted by number and cut at the low end: the content does not depend on the order of arrival
        posting = self._postings.get(key)
        if posting is None:
            self._postings[key] = array("I", [incident])
            return
        if posting[-1] < incident:
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
        parts, weights, starts = [], [], [0]
        for key, weight in _keys(reading.vector, reading.names).items():
            posting = self._postings.get(key)
            if posting is not None:
                parts.append(posting)
                weights.append(weight)
                starts.append(starts[-1] + len(posting))
        if not parts:
            return []
        best = np.empty(CANDIDATES, np.uint32)
        count = vote(
            np.frombuffer(b"".join(parts), np.uint32), np.array(starts), np.array(weights, np.float32), best
        )
        return [int(incident) for incident in best[:count]]


def _most(counts: Counter[str], keep: int) -> Counter[str]:
    """The most frequent entries; of equals the first by name, so that the order of arrival plays no part."""
    return Counter(dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:keep]))


def _keys(terms: Vector, names: Iterable[str]) -> dict[int, float]:
    """What an incident is found by, with weights: its heaviest words, and the tails of its places' names."""
    top = heapq.nsmallest(QUERY_TERMS, terms.items(), key=lambda pair: (-pair[1], pair[0]))
    keys = {word_id(term): weight for term, weight in top}
    for name in names:
        keys[word_id(f"@{name[-3:]}")] = NAME_VOTE
    return keys
