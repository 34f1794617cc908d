"""What became of the public talk after an answer 舆情走势: volume, negative share, half-life, second wave, matched comparison.

Pure functions over posts as numbers. One person who posts ten times is one voice: intervals resample authors, not posts.
Attention dies away by itself, so a fall alone proves nothing; the comparison with unanswered matters of the same kind asks
whether it fell faster than it would have. Posts that were deleted later stay in every count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from incidents.evaluation_numbers import CasePost, Peer

HOUR = timedelta(hours=1)
#: hours around the answer: before, and after a day in which the answer spreads and is itself talked about
BEFORE, AFTER_FROM, AFTER_TO = 24.0, 24.0, 72.0
#: days after the answer in which a second wave is looked for and the half-life is measured
WATCHED_DAYS = 7
#: hours of the sliding sums of half-life and waves, and posts in one of them below which nothing is said
SLIDE, LEAST_PEAK = 6, 6
#: below this share a fall of the negative share is measured against it, so that 2 % to 1 % is no triumph
LEAST_NEGATIVE = 0.05


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Window:
    """Posts between two instants. `deleted`: of these, no longer where they were."""

    posts: int
    judged: int
    negative: int
    deleted: int
    authors: int

    @property
    def share(self) -> float | None:
        """Share of negative posts among those judged; None without any."""
        return self.negative / self.judged if self.judged else None


@dataclass(frozen=True)
class Movement:
    """Before and after one answer. `volume` is the change of posts a day (-0.5: half as many), `negative` that of the share."""

    before: Window
    after: Window
    volume: Interval | None
    negative: Interval | None


@dataclass(frozen=True)
class Comparison:
    """How much more (or less) it changed than in matched unanswered matters. `volume` as a factor less one, `negative` in shares."""

    matched: int
    volume: Interval | None
    negative: Interval | None


def window(posts: Sequence[CasePost], since: datetime, until: datetime) -> Window:
    """What the posts in [since, until) are."""
    inside = [post for post in posts if since <= post.at < until]
    judged = [post for post in inside if post.negative is not None]
    named = {post.author for post in inside if post.author is not None}
    return Window(
        posts=len(inside),
        judged=len(judged),
        negative=sum(post.negative is True for post in judged),
        deleted=sum(post.gone for post in inside),
        authors=len(named) + sum(post.author is None for post in inside),
    )


def _windows(at: datetime) -> tuple[tuple[datetime, datetime], tuple[datetime, datetime]]:
    return (at - BEFORE * HOUR, at), (at + AFTER_FROM * HOUR, at + AFTER_TO * HOUR)


def _by_author(posts: Sequence[CasePost], at: datetime) -> NDArray[np.int64]:
    """A row an author: posts before, after, judged before, negative before, judged after, negative after."""
    (before_from, before_to), (after_from, after_to) = _windows(at)
    rows: dict[int, list[int]] = {}
    for index, post in enumerate(posts):
        before = before_from <= post.at < before_to
        if not before and not after_from <= post.at < after_to:
            continue
        # whoever is not named is somebody of their own
        row = rows.setdefault(post.author if post.author is not None else -1 - index, [0] * 6)
        row[0 if before else 1] += 1
        if post.negative is not None:
            row[2 if before else 4] += 1
            row[3 if before else 5] += post.negative
    return np.array(list(rows.values()), np.int64).reshape(-1, 6)


def _log_change(before: NDArray[np.float64], after: NDArray[np.float64]) -> NDArray[np.float64]:
    """Logarithm of posts a day after by posts a day before; half a post on each side keeps it finite."""
    days = (AFTER_TO - AFTER_FROM) / BEFORE
    return np.asarray(np.log((after + 0.5) / days) - np.log(before + 0.5))


def resampled(table: NDArray[np.int64], times: int, seed: int) -> NDArray[np.float64]:
    """Column sums of `times` samples of as many rows as the table has, drawn with replacement."""
    kinds, counts = np.unique(table, axis=0, return_counts=True)
    people = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(people, counts / people, size=times)
    return np.asarray(drawn @ kinds, np.float64)


def _interval(value: float, samples: NDArray[np.float64]) -> Interval:
    low, high = np.quantile(samples, (0.025, 0.975))
    return Interval(value, float(low), float(high))


def movement(posts: Sequence[CasePost], at: datetime, *, times: int, seed: int, least: int) -> Movement:
    """How volume and negative share moved from the day before `at` to the second and third day after it.

    An interval is given with `least` posts (for the share: judged posts) before and, for the share, after; for the volume an
    empty time after is a finding and no gap. Seeded: the same posts give the same interval.
    """
    (before_from, before_to), (after_from, after_to) = _windows(at)
    before, after = window(posts, before_from, before_to), window(posts, after_from, after_to)
    table = _by_author(posts, at)
    if before.posts < least or len(table) < 2:
        return Movement(before, after, None, None)
    sums = resampled(table, times, seed)
    one = table.sum(axis=0, dtype=np.float64).reshape(1, -1)
    change = _interval(
        float(_log_change(one[:, 0], one[:, 1])[0]), np.asarray(_log_change(sums[:, 0], sums[:, 1]))
    )
    volume = Interval(*(math.expm1(end) for end in (change.value, change.low, change.high)))
    share_before, share_after = before.share, after.share
    negative = None
    if share_before is not None and share_after is not None and min(before.judged, after.judged) >= least:
        whole = sums[(sums[:, 2] > 0) & (sums[:, 4] > 0)]
        if len(whole):
            moved = whole[:, 5] / whole[:, 4] - whole[:, 3] / whole[:, 2]
            negative = _interval(share_after - share_before, moved)
    return Movement(before, after, volume, negative)


def outlook(before: float, after: float) -> float:
    """The indicator O: .5 when the negative share stays, 1 when it is gone, 0 when it doubled."""
    return min(1.0, max(0.0, 0.5 + 0.5 * (before - after) / max(before, LEAST_NEGATIVE)))


# --- shape of the decline ------------------------------------------------------------------------------------------


def by_hour(posts: Sequence[CasePost], at: datetime, since_h: int, until_h: int) -> list[int]:
    """Posts in each hour from `since_h` to `until_h` hours relative to `at`."""
    counts = [0] * (until_h - since_h)
    for post in posts:
        hour = math.floor((post.at - at) / HOUR) - since_h
        if 0 <= hour < len(counts):
            counts[hour] += 1
    return counts


def _sliding(counts: Sequence[int]) -> list[int]:
    return [sum(counts[index : index + SLIDE]) for index in range(len(counts) - SLIDE + 1)]


def half_life(posts: Sequence[CasePost], at: datetime, as_of: datetime) -> float | None:
    """Hours after the answer until six hours bring at most half of what the last six before it brought.

    None: it has not come that far within a week (or until now), or there was too little to halve.
    """
    base = sum(by_hour(posts, at, -SLIDE, 0))
    watched = min(WATCHED_DAYS * 24, math.floor((as_of - at) / HOUR))
    if base < LEAST_PEAK or watched < SLIDE:
        return None
    sums = _sliding(by_hour(posts, at, 0, watched))
    return next((float(hour) for hour, posts_ in enumerate(sums) if posts_ <= base / 2), None)


def second_wave(posts: Sequence[CasePost], at: datetime, as_of: datetime) -> float | None:
    """Hours after the answer at which six hours again bring more than half of the peak, having been below it; None: not so.

    The peak is the fullest six hours until a day after the answer. Two thirds of a peak that never fell are no second wave.
    """
    if not posts:
        return None
    first = max(-30 * 24, math.floor((posts[0].at - at) / HOUR))
    watched = min(WATCHED_DAYS * 24, math.floor((as_of - at) / HOUR))
    if watched < SLIDE or first >= 24:
        return None
    peak = max(_sliding(by_hour(posts, at, min(first, -SLIDE), min(24, watched))), default=0)
    if peak < LEAST_PEAK:
        return None
    fell = False
    for hour, here in enumerate(_sliding(by_hour(posts, at, 0, watched))):
        if here > peak / 2 and fell:
            return float(hour + SLIDE)
        fell = fell or here <= peak / 2
    return None


# --- compared with what nobody answered ----------------------------------------------------------------------------


def matched(
    posts: Sequence[CasePost],
    first: datetime,
    at: datetime,
    peers: Sequence[Peer],
    *,
    as_of: datetime,
    size: float,
    least: int,
) -> list[tuple[Peer, datetime]]:
    """Peers that were as old and about as big, in all and in the last day, and had been told nothing; each with its moment."""
    age = at - first
    until = sum(post.at < at for post in posts)
    day = window(posts, at - BEFORE * HOUR, at).posts
    found = []
    for peer in peers:
        moment = peer.first_posted_at + age
        end = moment + AFTER_TO * HOUR
        if end > as_of or (peer.told_at is not None and peer.told_at < end):
            continue
        theirs = sum(post.at < moment for post in peer.posts)
        their_day = window(peer.posts, moment - BEFORE * HOUR, moment).posts
        near = until / size <= theirs <= until * size and day / size <= their_day <= day * size
        if near and their_day >= least:
            found.append((peer, moment))
    return found


def comparison(
    posts: Sequence[CasePost],
    at: datetime,
    partners: Sequence[tuple[Peer, datetime]],
    *,
    times: int,
    seed: int,
    least: int,
    least_matched: int,
) -> Comparison:
    """Difference in differences against matched matters, with the interval for one single answered matter.

    Matters differ among themselves by far more than authors do: the interval adds to the spread of one matter (the
    greater of that among the matched ones and of our own authors) the error of their mean, by Student's t.
    """
    n = len(partners)
    table = _by_author(posts, at)
    if n < least_matched or len(table) < 2 or int(table[:, 0].sum()) < least:
        return Comparison(n, None, None)
    sums = resampled(table, times, seed)
    total = table.sum(axis=0, dtype=np.float64).reshape(1, -1)
    others = [_by_author(peer.posts, moment).sum(axis=0, dtype=np.float64) for peer, moment in partners]
    theirs = np.array(others)
    volume = _against(
        float(_log_change(total[:, 0], total[:, 1])[0]),
        np.asarray(_log_change(sums[:, 0], sums[:, 1])),
        np.asarray(_log_change(theirs[:, 0], theirs[:, 1])),
    )
    factor = Interval(*(math.expm1(end) for end in (volume.value, volume.low, volume.high)))
    return Comparison(n, factor, _negative(total[0], sums, theirs, least, least_matched))


def _negative(
    own: NDArray[np.float64],
    sums: NDArray[np.float64],
    theirs: NDArray[np.float64],
    least: int,
    least_matched: int,
) -> Interval | None:
    enough = theirs[(theirs[:, 2] >= least) & (theirs[:, 4] > 0)]
    whole = sums[(sums[:, 2] > 0) & (sums[:, 4] > 0)]
    if min(own[2], own[4]) < least or len(enough) < least_matched or not len(whole):
        return None

    def moved(rows: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(rows[:, 5] / rows[:, 4] - rows[:, 3] / rows[:, 2])

    return _against(float(moved(own.reshape(1, -1))[0]), moved(whole), moved(enough))


def _against(own: float, samples: NDArray[np.float64], others: NDArray[np.float64]) -> Interval:
    from scipy.special import stdtrit  # type: ignore[import-untyped,import-not-found,unused-ignore]  # a house that compares nothing never loads it

    n = len(others)
    between = float(np.var(others, ddof=1))
    spread = max(between, float(np.var(samples))) + between / n
    half = float(stdtrit(n - 1, 0.975)) * math.sqrt(spread)
    value = own - float(np.mean(others))
    return Interval(value, value - half, value + half)
