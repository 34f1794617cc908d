"""What the posts of a week were about: topics of one domain, with a title out of their own words.

Words weighted by TF-IDF; the seeds of the topics are chosen greedily by how many posts each would cover that no
other covers, until the next would gain too little (so the posts choose the number); NMF refines them; a post that
is like no topic stays apart. Topics of earlier weeks are tried first and found again by the likeness of their words
(Hungarian matching), so that a topic keeps its key and its title. Pure, deterministic, independent of the order of
the posts. scikit-learn is loaded when topics are made and not before.
"""

from __future__ import annotations

import hashlib
import math
import re
import tomllib
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rjieba

from analysis.features import clean
from analysis.words import rarity

MODEL = "topics-1"
#: posts of a domain below which nothing is said about topics
MIN_POSTS = 12
#: posts, and different voices, that make a topic; a title's words stand in the posts of as many voices
MIN_TOPIC, MIN_VOICES = 4, 3
#: share of a domain's posts below which a subject is no topic, however many posts that are
MIN_SHARE = 0.012
#: a bound for the work, seldom reached: the posts choose the number
MAX_TOPICS = 40
#: likeness that a post must win by a new topic to count for it, and that a new topic must win in all, per post needed
CLEARLY, GAIN = 0.1, 0.5
#: words kept of a topic
WORDS = 20
#: characters of a post that are read: what it is about stands early
READ = 600
#: likeness of a post to its topic's words, 0..1, below which it belongs to nothing
LIKE = 0.13
#: likeness of words from which a topic is the one of an earlier week
SAME = 0.25
#: likeness of two topics of one week that makes them one
MERGE = 0.45
#: posts from which seeds are chosen (larger domains: a fixed sample)
SAMPLE = 2500
#: share of a topic's posts that must use two of its five strongest words: less is a heap, not a subject
FOCUS = 0.4
TITLE_LIMIT = 24
_ROUNDS = 40

_LISTS: dict[str, frozenset[str]] = {
    name: frozenset(part["words"].split())
    for name, part in tomllib.loads((Path(__file__).parent / "topic_words.toml").read_text("utf-8")).items()
}
_SURNAMES = frozenset(
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何高林罗郑梁谢宋唐许韩冯邓曹彭曾肖田董袁潘于蒋蔡余杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖"
    "贾夏韦付方白邹孟熊秦邱江尹薛闫段雷侯龙史陶黎贺顾毛郝龚邵万钱严覃武戴莫孔向汤欧常温康施文牛樊葛邢安齐易乔伍庞颜倪庄聂章鲁岳翟殷詹申耿关兰焦俞左柳甘祝包宁尚符舒阮柯纪梅童凌毕单季裴霍涂成苗谷盛曲翁冉骆蓝路游辛靳欧阳管柴蒙鲍华喻祁蒲房滕屈饶解牟艾尤阳时穆农司卓古吉缪简车项连芦麦褚娄窦戚岑景党宫费卜冷晏席卫米柏宗瞿桂全佟应臧闵苟邬边卞姬师和仇栾隋商刁沙荣巫寇桑郎甄丛仲虞敖巩明佘池查麻苑迟邝"
)
_TOKEN = re.compile(r"\[[^\[\]]{2,6}\]|https?://\S+|#")
_PERSON_TAGS = frozenset({"nr", "nrt", "nrfg"})
#: parts of speech that name a subject: nouns, verbs, adjectives, idioms, abbreviations
_TELLING = frozenset(
    {"n", "v", "vn", "a", "an", "l", "i", "j", "nt", "nz", "nr", "nrt", "b", "vd", "ad", "ns", "s"}
)
_HAN = re.compile(r"[\u4e00-\u9fff]+")
#: single words that a title may hold but not begin with
_NO_START = (_LISTS["edge"] - _LISTS["single"]) | frozenset("和与的多少区口")
_OFFICE = re.compile(r"(?:[省市区县乡镇]|街道|书记|市长|政府|部门|领导|同志|先生|女士)$")

Token = tuple[str, str]


@dataclass(frozen=True)
class TopicPost:
    """One post, near-copies folded. `voice` tells authors apart; None: the source names none, a voice of its own."""

    id: int
    title: str
    text: str
    voice: str | None = None


@dataclass(frozen=True)
class KnownTopic:
    """A topic of an earlier week. `words` strongest first."""

    key: str
    title: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class FoundTopic:
    """A topic of this week. `posts`: ids of all its posts, the most typical first. `known`: found again by its words."""

    key: str
    title: str
    words: tuple[str, ...]
    posts: tuple[int, ...]
    voices: int
    known: bool


@dataclass(frozen=True)
class Topics:
    """What a domain's posts were about. `other`: ids of posts that belong to no topic; `few`: too few posts to tell."""

    topics: tuple[FoundTopic, ...]
    other: tuple[int, ...]
    few: bool = False


@dataclass(frozen=True)
class _Read:
    """A post in words: segments between punctuation as (word, part of speech); the title's segments come first."""

    post: TopicPost
    segments: tuple[tuple[Token, ...], ...]
    headline: int  # segments of the title
    phrases: dict[
        str, tuple[tuple[Token, ...], bool]
    ]  # what may be a title, and whether the post's title holds it


def find_topics(posts: Sequence[TopicPost], known: Sequence[KnownTopic] = (), *, salt: str = "") -> Topics:
    """The topics of one domain in one week. `salt` (week and domain) makes keys of new topics differ from others'.

    `known`: topics of earlier weeks of the domain, the latest first. The same posts in any order give the same topics.
    """
    ordered = sorted({post.id: post for post in posts}.values(), key=lambda post: post.id)
    if len(ordered) < MIN_POSTS:
        return Topics((), tuple(post.id for post in ordered), few=True)
    read = [_read(post) for post in ordered]
    matrix, vocabulary = _vectors(read)
    if not vocabulary:
        return Topics((), tuple(post.id for post in ordered))
    old = _known_rows(known, vocabulary)
    rows = _components(matrix, old)
    rows, member, like = _settle(matrix, rows, ordered)
    matched = _match(rows, old)
    used = Counter(phrase for one in read for phrase in one.phrases)
    topics = []
    taken: set[str] = set()
    for index in range(len(rows)):
        inside = sorted(_where(member, index), key=lambda at: (-like[at], ordered[at].id))
        words = tuple(
            vocabulary[at] for at in np.argsort(-rows[index], kind="stable")[:WORDS] if rows[index, at] > 0
        )
        earlier = known[matched[index]] if index in matched else None
        title = _title(read, inside, used, words, earlier, taken)
        if not title:  # no word that enough voices share: nothing that may be shown
            member[inside] = -1
            continue
        taken.add(title)
        topics.append(
            FoundTopic(
                key=earlier.key if earlier else _key(salt, words),
                title=title,
                words=words,
                posts=tuple(ordered[at].id for at in inside),
                voices=_voices(ordered, inside),
                known=earlier is not None,
            )
        )
    topics.sort(key=lambda topic: (-len(topic.posts), topic.key))
    return Topics(tuple(topics), tuple(ordered[at].id for at in _where(member, -1)))


def _where(member: Any, index: int) -> list[int]:
    """The posts of one topic; -1: those of none."""
    return [int(at) for at in np.flatnonzero(member == index)]


def _key(salt: str, words: Sequence[str]) -> str:
    return hashlib.blake2b(
        "\n".join((salt, *words)).encode("utf-8", "surrogatepass"), digest_size=8
    ).hexdigest()


def _voices(posts: Sequence[TopicPost], inside: Iterable[int]) -> int:
    return len({posts[at].voice or posts[at].id for at in inside})


# --- words -------------------------------------------------------------------------------------------------------


def _segments(text: str) -> Iterator[tuple[Token, ...]]:
    """Runs of words between punctuation, digits and foreign letters."""
    run: list[Token] = []
    for word, tag in rjieba.tag(_TOKEN.sub("\n", text), False):
        if _HAN.fullmatch(word):
            run.append((word, tag))
        elif run:
            yield tuple(run)
            run = []
    if run:
        yield tuple(run)


def _read(post: TopicPost) -> _Read:
    title, text = clean(post.title)[:READ], clean(post.text)[:READ]
    if title and text.startswith(title):
        text = text[len(title) :]
    head = tuple(_segments(title))
    segments = (*head, *_segments(text))
    return _Read(post, segments, len(head), dict(_phrases(segments, len(head))))


def _tells(word: str, tag: str) -> bool:
    """Whether a word may make a topic: it names a subject, is no place of administration and no person."""
    return (
        len(word) > 1
        and tag in _TELLING
        and word not in _LISTS["empty"]
        and word not in _LISTS["weak"]
        and not is_person(word, tag)
        and not _OFFICE.search(word)
        and rarity(word) > 2.4
    )


def is_person(word: str, tag: str) -> bool:
    """Whether a word looks like a person's name: marked as one, with a surname first, and no known other word."""
    return (
        tag in _PERSON_TAGS
        and word not in _LISTS["not_persons"]
        and len(word) <= 4
        and (word[0] in _SURNAMES or len(word) == 1)
    )


def _vectors(read: Sequence[_Read]) -> tuple[Any, list[str]]:
    """Posts as unit vectors of TF-IDF over the words that at least two and not nearly all of them use."""
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]

    counts = []
    for one in read:
        count: Counter[str] = Counter()
        for index, segment in enumerate(one.segments):
            for word, tag in segment:
                if _tells(word, tag):
                    count[word] += 2 if index < one.headline else 1
        counts.append(count)
    spread = Counter(word for count in counts for word in count)
    # a single matter may fill most of a week: only what nearly all posts say tells nothing
    most = max(len(read) * 0.85, 3)
    least = 2 if len(read) < 400 else 3 if len(read) < 2000 else 5
    vocabulary = sorted(word for word, n in spread.items() if least <= n <= most)
    column = {word: at for at, word in enumerate(vocabulary)}
    idf = np.array([math.log((1 + len(read)) / (1 + spread[word])) + 0.5 for word in vocabulary])
    data, columns, starts = [], [], [0]
    for count in counts:
        here = sorted((column[word], n) for word, n in count.items() if word in column)
        weights = np.array([(1 + math.log(n)) * idf[at] for at, n in here])
        data += list(weights / np.linalg.norm(weights)) if here else []
        columns += [at for at, _ in here]
        starts.append(len(columns))
    return csr_matrix((data, columns, starts), shape=(len(read), len(vocabulary))), vocabulary


# --- topics ------------------------------------------------------------------------------------------------------


def _known_rows(known: Sequence[KnownTopic], vocabulary: Sequence[str]) -> Any:
    """Earlier topics as rows over today's words: the stronger a word was, the more it weighs."""
    column = {word: at for at, word in enumerate(vocabulary)}
    rows = np.zeros((len(known), len(vocabulary)))
    for index, topic in enumerate(known):
        whole = math.sqrt(sum(1 / (rank + 1) for rank in range(len(topic.words)))) or 1.0
        for rank, word in enumerate(topic.words):
            if word in column:
                # words that nobody uses today count as missing: the row is shorter than one
                rows[index, column[word]] = 1 / math.sqrt(rank + 1) / whole
    return rows


def _components(matrix: Any, old: Any) -> Any:
    """Rows of word weights: seeds by coverage, earlier topics first in line, refined by NMF."""
    from scipy.sparse import csr_matrix, vstack
    from sklearn.decomposition import NMF  # type: ignore[import-untyped]
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]
    from sklearn.preprocessing import normalize  # type: ignore[import-untyped]
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    sample = matrix
    if matrix.shape[0] > SAMPLE:
        sample = matrix[:: math.ceil(matrix.shape[0] / SAMPLE)]
    likeness = (sample @ sample.T).toarray()
    least = _least(sample.shape[0])
    np.fill_diagonal(likeness, 0.0)
    # a post's neighbours, not the post alone, say what a topic is
    near = csr_matrix(np.where(likeness >= LIKE, likeness, 0.0))
    seeds = normalize(sample + 0.5 * (near @ sample))
    candidates = vstack([csr_matrix(old), seeds]).tocsr() if len(old) else seeds
    cover = (candidates @ sample.T).toarray()
    cover[cover < LIKE] = 0.0
    if len(old):
        cover[: len(old)] *= 1.15  # of two that explain the posts alike, the known one
    chosen = _greedy(cover, least)
    if not chosen:
        return np.zeros((0, matrix.shape[1]))
    start = np.maximum(candidates[chosen].toarray(), 1e-6)
    weights = np.maximum(np.asarray(matrix @ start.T), 1e-6)
    # a background row takes the words that are everywhere, so that no topic has to
    start = np.vstack([start, np.maximum(np.asarray(matrix.mean(axis=0)), 1e-6)])
    weights = np.hstack([weights, np.full((matrix.shape[0], 1), 0.05)])
    model = NMF(len(start), init="custom", solver="cd", tol=1e-3, max_iter=_ROUNDS, shuffle=False)
    # more threads only wait for each other at this size
    with warnings.catch_warnings(), threadpool_limits(1):
        # a few rounds from good seeds are wanted; "not converged" is no news
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit_transform(matrix, W=np.ascontiguousarray(weights), H=np.ascontiguousarray(start))
    rows = np.asarray(model.components_)[:-1]
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _least(posts: int) -> int:
    return max(MIN_TOPIC, round(MIN_SHARE * posts))


def _greedy(cover: Any, least: int) -> list[int]:
    """Indexes of candidates, each the one that adds most to the posts' best likeness; stops when too little is won."""
    best = np.zeros(cover.shape[1])
    chosen: list[int] = []
    while len(chosen) < MAX_TOPICS:
        more = cover - best
        gains = np.where((more > CLEARLY).sum(axis=1) >= least, np.maximum(more, 0.0).sum(axis=1), 0.0)
        at = int(np.argmax(np.round(gains, 9)))
        if gains[at] < least * GAIN:
            break
        chosen.append(at)
        best = np.maximum(best, cover[at])
    return chosen


def _settle(matrix: Any, rows: Any, posts: Sequence[TopicPost]) -> tuple[Any, Any, Any]:
    """Merge what is alike, give each post to its topic, drop topics that too few speak of, once more."""
    rows = _sharp(_merged(rows))
    least = _least(len(posts))
    while True:
        member, like = _assign(matrix, rows)
        sizes = [
            (len(_where(member, index)), _voices(posts, _where(member, index))) for index in range(len(rows))
        ]
        firm = [_focus(matrix, row, _where(member, index)) for index, row in enumerate(rows)]
        weak = [
            index
            for index, (size, voices) in enumerate(sizes)
            if size < least or voices < MIN_VOICES or firm[index] < FOCUS
        ]
        if not weak:
            return rows, member, like
        # the weakest alone: its posts may make another one strong enough
        rows = np.delete(rows, min(weak, key=lambda index: sizes[index]), axis=0)


def _focus(matrix: Any, row: Any, inside: Sequence[int]) -> float:
    """Share of a topic's posts that use at least two of its five strongest words."""
    if not inside:
        return 0.0
    strong = [at for at in np.argsort(-row, kind="stable")[:5] if row[at] > 0]
    return float((np.diff((matrix[inside][:, strong] > 0).tocsr().indptr) >= 2).mean())


def _merged(rows: Any) -> Any:
    rows = list(rows)
    while len(rows) > 1:
        like = np.array([[float(a @ b) for b in rows] for a in rows])
        np.fill_diagonal(like, 0.0)
        a, b = divmod(int(np.argmax(np.round(like, 9))), len(rows))
        if like[a, b] < MERGE:
            break
        both = rows[a] + rows[b]
        rows[min(a, b)] = both / np.linalg.norm(both)
        del rows[max(a, b)]
    return np.array(rows) if rows else np.zeros((0, 0))


def _sharp(rows: Any) -> Any:
    """Only the strongest words of each topic, at length one."""
    if not len(rows):
        return rows
    out = np.zeros_like(rows)
    for index, row in enumerate(rows):
        strong = np.argsort(-row, kind="stable")[: 2 * WORDS]
        out[index, strong] = row[strong]
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)


def _assign(matrix: Any, rows: Any) -> tuple[Any, Any]:
    """Topic of each post (-1: none) and its likeness to it."""
    if not len(rows):
        return np.full(matrix.shape[0], -1), np.zeros(matrix.shape[0])
    like = np.asarray(matrix @ rows.T)
    best = np.argmax(np.round(like, 9), axis=1)
    top = like[np.arange(len(best)), best]
    return np.where(top >= LIKE, best, -1), top


def _match(rows: Any, old: Any) -> dict[int, int]:
    """Which earlier topic each of today's is, by the best matching as a whole."""
    if not len(rows) or not len(old):
        return {}
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

    like = rows @ old.T
    # what they have in common must be what both are about, not a place or a word in passing
    strong = [[set(np.argsort(-row, kind="stable")[:5]) for row in side] for side in (rows, old)]
    for a, mine in enumerate(strong[0]):
        for b, theirs in enumerate(strong[1]):
            if not any(rows[a, at] > 0 and old[b, at] > 0 for at in mine & theirs):
                like[a, b] = 0.0
    today, before = linear_sum_assignment(-like)
    return {int(a): int(b) for a, b in zip(today, before, strict=True) if like[a, b] >= SAME}


# --- titles ------------------------------------------------------------------------------------------------------


def _phrases(
    segments: Sequence[tuple[Token, ...]], headline: int
) -> Iterator[tuple[str, tuple[tuple[Token, ...], bool]]]:
    """Runs of up to five words that may be a title, those of the post's title last (they win in a dict)."""
    for index in reversed(range(len(segments))):
        run: list[Token] = []
        for token in (*segments[index], ("", "")):
            if _inside_title(*token):
                run.append(token)
                continue
            for start in range(len(run)):
                if run[start][0] in _NO_START:
                    continue
                text = ""
                for end in range(start, min(start + 5, len(run))):
                    text += run[end][0]
                    if len(text) > 12:
                        break
                    if len(text) > 1 and run[end][0] not in _LISTS["edge"] and text not in _LISTS["weak"]:
                        yield text, (tuple(run[start : end + 1]), index < headline)
            run = []


def _inside_title(word: str, tag: str) -> bool:
    if not word or is_person(word, tag) or word in _LISTS["empty"] or _OFFICE.search(word):
        return False
    return len(word) > 1 or word in _LISTS["single"]


def _title(
    read: Sequence[_Read],
    inside: Sequence[int],
    used: Counter[str],
    words: Sequence[str],
    earlier: KnownTopic | None,
    taken: set[str],
) -> str:
    """One or two phrases out of the posts that tell most of them from the others; the earlier title while it holds.

    `used`: in how many posts of the domain a phrase stands.
    """
    here, away = _spread(read, inside), len(read) - len(inside)
    if earlier and earlier.title not in taken and _holds(earlier.title, here, len(inside), words):
        return earlier.title
    weight = {word: 1 / math.sqrt(rank + 1) for rank, word in enumerate(words)}
    scored = []
    for phrase, (found, holders, posts, heads) in here.items():
        if len(holders) < MIN_VOICES:
            continue
        telling = sum(weight.get(word, 0.0) for word, _ in found)
        if not telling:
            continue
        share = posts / len(inside)
        lift = math.log((share + 0.02) / ((used[phrase] - posts) / (away + 1) + 0.02))
        if lift <= 0.3:
            continue
        length = 0.2 + 0.8 * min(len(phrase), 6) / 4
        score = share**0.6 * lift * (0.5 + telling) * length * (1 + 0.5 * heads / posts)
        scored.append((round(score, 9), phrase))
    scored.sort(key=lambda pair: (-pair[0], -len(pair[1]), pair[1]))
    return _compose([phrase for _, phrase in scored], here, len(inside), words, taken)


_Spread = dict[str, tuple[tuple[Token, ...], set[int | str], int, int]]


def _spread(read: Sequence[_Read], inside: Sequence[int]) -> _Spread:
    """Phrases of these posts: their words, the voices that use them, posts that do, posts that have it in the title."""
    found: _Spread = {}
    for at in inside:
        voice = read[at].post.voice or read[at].post.id
        for text, (phrase, headline) in read[at].phrases.items():
            _, holders, posts, heads = found.get(text, (phrase, set[int | str](), 0, 0))
            holders.add(voice)
            found[text] = (phrase, holders, posts + 1, heads + headline)
    return found


def _holds(title: str, here: _Spread, size: int, words: Sequence[str]) -> bool:
    """Whether an earlier title still tells what the posts are about.

    Its first part is used by enough of them and holds one of the strongest words; its second is not gone.
    """
    first, *second = title.split("、")
    return (
        first in here
        and len(here[first][1]) >= MIN_VOICES
        and here[first][2] >= 0.2 * size
        and any(word in first for word in words[:4])
        and all(part in here for part in second)
    )


def _compose(phrases: Sequence[str], here: _Spread, size: int, words: Sequence[str], taken: set[str]) -> str:
    """The best phrase (none: ""), longer where the longer one is nearly as common, and a second one where the first is bare."""
    chosen: list[str] = []
    posts = 0
    for phrase in phrases[:80]:
        longer = [
            other
            for other in phrases
            if phrase in other and other != phrase and here[other][2] >= 0.4 * here[phrase][2]
        ]
        best = max(longer, key=lambda text: (len(text), text), default=phrase)
        if not chosen:
            chosen, posts = [best], here[best][2]
            if len(best) >= 6 and posts >= 0.6 * size and best not in taken:
                break
        elif not set(best) & set(chosen[0]) and here[best][2] >= max(MIN_VOICES, 0.2 * posts):
            chosen.append(best)
            break
    if not chosen:
        chosen = [word for word in words[:8] if word in here and len(here[word][1]) >= MIN_VOICES][:2]
    elif len(chosen) == 1 and len(chosen[0]) < 4:
        # a bare word says little: the next strong word that several voices use stands beside it
        chosen += [
            word
            for word in words[:8]
            if word in here and len(here[word][1]) >= MIN_VOICES and not set(word) & set(chosen[0])
        ][:1]
    title = "、".join(chosen)
    return title if len(title) <= TITLE_LIMIT else chosen[0][:TITLE_LIMIT]
