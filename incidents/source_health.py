"""Is a source still alive? Its state from the evidence of the last readings, and its silence against its own habits.

Pure: `judge` decides, `learn` remembers; the memory is plain JSON and lies in the source's cursor, written in the transaction of the posts.
An answer with status 200 proves little: a frozen feed, a login page, a rebuilt page and a garbled one all have it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

#: every state a source can be in after a reading
STATES = ("ok", "unchanged", "few", "empty", "frozen", "blocked", "changed", "robots", "login", "error")
#: where the memory lies in the cursor
KEY = "health"
#: what is less likely than this in a day, by the source's own history, is not chance
TAIL = 0.001
#: coverage is compared in every reading and for four fields, so it has to be surer
COVERAGE_TAIL = 0.0001
#: share of a field's posts that may be lost without a word
COVERAGE_DROP = 0.20
#: history from which on hours of the week are believed; before that, averages by hour of the day
MATURE = timedelta(days=14)
#: history from which on anything is expected at all
INFANT = timedelta(days=2)
#: what an immature expectation is worth: week-ends are not known yet
IMMATURE_WEIGHT = 0.5
#: silence of a source that was never seen to bring anything new
NEVER = timedelta(days=14)
#: weight of the newest hour in the average by hour of the day
EWMA = 0.3
#: hours of the week are smoothed with as many weeks of the mean of that hour of all days
PRIOR_WEEKS = 2.0
HALF_LIFE = timedelta(days=28)
#: share of undecodable characters in a list from which on it is garbage
GARBLED = 0.05
#: few: at most this share of what was to be expected, and less likely than FEW_TAIL in one of FEW_DAYS days up to now
FEW_SHARE, FEW_TAIL, FEW_DAYS = 0.5, 1e-5, (1, 3, 7)
#: nothing is told of fewer than so many expected posts, nor before the habit has seen every hour of the week three times
FEW_EXPECTED, FEW_AGE = 10.0, timedelta(days=21)
#: one better day is no end of it
FEW_OVER = timedelta(days=2)
#: what a source gives varies by so much from day to day beyond its own scatter, and the habit itself is so uncertain
DAY_SPREAD, HABIT_SPREAD = 0.20, 0.10
#: hours of one block of the counts that `few` looks at
BLOCK = 6
#: readings kept as evidence; gaps kept for the habit
POLLS, GAPS = 12, 200
FIELDS = ("title", "text", "published_at", "author")
_WEEK, _HOUR = 168, 3600.0
#: new posts found after a pause are spread over at most so many hours
_SPREAD_H = 168


@dataclass(frozen=True)
class Poll:
    """What one reading saw. Counts are of this reading only; hashes are the first 12 digits of sha256."""

    at: datetime
    requests: int = 1
    status: int = 0  # of the last list; 0: no answer
    final: str = ""  # where the last list was found in the end, without its query
    marker: str = ""  # the words of a wall
    body: str = ""  # hash of the first list
    items: str = ""  # hash of the entries' keys
    length: int = 0  # bytes of the first list
    lists: int = 0
    unchanged: int = 0
    indexes: int = 0
    found: int = 0
    new: int = 0
    taken: int = 0  # posts read, known ones included
    have: Mapping[str, int] = field(default_factory=dict)  # posts that have each of FIELDS
    future: int = 0  # posts whose date lies ahead
    pages: int = 0  # article pages that answered
    unreadable: int = 0  # of these, without any text
    walls: int = 0  # of these, with the words of a wall
    garbled: float = 0.0  # share of undecodable characters in the lists
    problem: str = ""  # state that the reading itself ended in
    sentence: str = ""  # its reason

    def dump(self) -> dict[str, Any]:
        """As JSON; what is empty is left out."""
        raw = asdict(self) | {"at": _text(self.at)}
        return {key: value for key, value in raw.items() if value}


@dataclass(frozen=True)
class Verdict:
    """A state and the reason in a sentence; empty when there is nothing to say beyond the counts."""

    state: str
    why: str = ""


@dataclass
class Memory:
    """What the readings of one source taught. `bins`: new posts and hours watched, for each hour of the week (UTC)."""

    first: datetime | None = None  # first reading that went well
    last: datetime | None = None  # last one
    last_new: datetime | None = None
    bins: list[list[float]] = field(default_factory=lambda: [[0.0, 0.0] for _ in range(_WEEK)])
    hour: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])  # running hour, posts, part watched
    spread: list[float] = field(default_factory=lambda: [0.0, 0.0])  # sums for the over-dispersion
    daily: list[float | None] = field(default_factory=lambda: [None] * 24)
    gaps: list[float] = field(default_factory=list)  # minutes between readings with something new
    have: dict[str, list[float]] = field(default_factory=dict)
    filled: list[float] = field(
        default_factory=lambda: [0.0, 0.0]
    )  # full readings with entries, full readings
    #: blocks of the last 7 days: number, posts, expected by the habit of before, hours watched; and sums for their over-dispersion
    blocks: list[list[float]] = field(default_factory=list)
    block_spread: list[float] = field(default_factory=lambda: [0.0, 0.0])
    few_since: datetime | None = None
    few_last: datetime | None = None
    standing: str = ""  # trouble that lasts until a full reading shows better
    standing_why: str = ""
    polls: list[dict[str, Any]] = field(default_factory=list)  # the newest last

    @classmethod
    def load(cls, raw: Any) -> Memory:
        """From `dump`; a memory that is not there, or of another form, begins anew."""
        if not isinstance(raw, dict) or len(raw.get("bins", ())) != _WEEK:
            return cls()
        known = {name: raw[name] for name in cls.__dataclass_fields__ if name in raw}
        for name in ("first", "last", "last_new", "few_since", "few_last"):
            known[name] = datetime.fromisoformat(known[name]) if known.get(name) else None
        known["bins"] = [list(pair) for pair in known["bins"]]
        known["blocks"] = [list(block) for block in known.get("blocks", ())]
        for name in ("hour", "spread", "daily", "gaps", "filled", "polls", "block_spread"):
            if name in known:
                known[name] = list(known[name])
        known["have"] = {name: list(pair) for name, pair in dict(known.get("have", {})).items()}
        return cls(**known)

    def dump(self) -> dict[str, Any]:
        """As JSON, rounded: some 7 KB."""
        raw = dict(vars(self))
        for name in ("first", "last", "last_new", "few_since", "few_last"):
            raw[name] = _text(raw[name]) if raw[name] else ""
        raw["bins"] = [
            [round(a, 6), round(b, 6)] for a, b in self.bins
        ]  # coarser and a reading's fading would be rounded away
        raw["hour"] = [round(x, 4) for x in self.hour]
        raw["spread"] = [round(x, 3) for x in self.spread]
        raw["blocks"] = [[round(x, 2) for x in block] for block in self.blocks]
        raw["block_spread"] = [round(x, 2) for x in self.block_spread]
        raw["daily"] = [None if x is None else round(x, 3) for x in self.daily]
        raw["have"] = {name: [round(a, 2), round(b, 2)] for name, (a, b) in self.have.items()}
        return raw


@dataclass(frozen=True)
class Silence:
    """How long nothing new came, and whether that is unusual. `chance` is 1 while nothing is known."""

    since: datetime
    lasts: timedelta
    limit: timedelta
    expected: float
    chance: float
    unusual: bool


# --- the verdict


def judge(memory: Memory, poll: Poll, every: timedelta) -> Verdict:
    """The state of a source after `poll`. `every` is its interval."""
    if poll.problem:
        return Verdict(poll.problem, poll.sentence)
    if not poll.requests:
        return Verdict("error", "the crawl ended without a single request; nothing was asked")
    if not poll.lists and not poll.indexes:
        return Verdict("error", "the crawl ended before the source was asked; it is asked again next time")
    if poll.garbled > GARBLED:
        return Verdict(
            "changed",
            f"{poll.garbled:.0%} of the characters are garbage; name the right `charset` in sources.yaml",
        )
    recent = [*_same_trouble(memory), poll.dump()]
    for found in (_unreadable(recent), _future(recent), _coverage(memory, recent)):
        if found is not None and (poll.taken or poll.pages):
            return found
    full = not (poll.lists and poll.lists == poll.unchanged)
    if full and not poll.found:
        return _empty(memory)
    no_proof = not full or not (poll.taken or poll.pages)
    if memory.standing and no_proof and not (memory.standing == "empty" and full):
        return Verdict(memory.standing, memory.standing_why)
    if not poll.new and (quiet := silence(memory, poll.at, every)) is not None and quiet.unusual:
        return Verdict("frozen", _frozen(quiet))
    if (scarce := scarcity(memory, poll.at)) is not None:
        return Verdict("few", _few(scarce))
    return Verdict("ok" if full else "unchanged")


def _same_trouble(memory: Memory) -> list[dict[str, Any]]:
    """The last few readings that held posts."""
    return [poll for poll in memory.polls if poll.get("taken") or poll.get("pages")][-4:]


def _sum(polls: Iterable[Mapping[str, Any]], key: str) -> int:
    return sum(int(poll.get(key, 0)) for poll in polls)


def _unreadable(polls: list[dict[str, Any]]) -> Verdict | None:
    """Three pages in a row, of one reading or several, without any text."""
    asked = [poll for poll in polls if poll.get("pages")]
    if not asked or not polls[-1].get("pages"):
        return None
    taken = [asked[-1]]
    for poll in reversed(asked[:-1]):
        if _sum(taken, "pages") >= 3:
            break
        taken.append(poll)
    pages, walls = _sum(taken, "pages"), _sum(taken, "walls")
    if pages < 3 or _sum(taken, "unreadable") < pages:
        return None
    if walls * 2 > pages:
        return Verdict("login", f"{walls} of {pages} article pages ask for a login instead of showing a text")
    return Verdict(
        "changed", f"none of {pages} article pages gave a text; the pages were rebuilt, name a text_selector"
    )


def _future(polls: list[dict[str, Any]]) -> Verdict | None:
    last = [poll for poll in polls if poll.get("taken")][-2:]
    if not last or not polls[-1].get("future"):
        return None
    taken = last if _sum(last[-1:], "taken") < 3 else last[-1:]
    posts = _sum(taken, "taken")
    if posts < 3 or _sum(taken, "future") < posts:
        return None
    return Verdict(
        "changed", f"the dates of all {posts} posts lie in the future; check `timezone` and the date's field"
    )


def _coverage(memory: Memory, polls: list[dict[str, Any]]) -> Verdict | None:
    """A field that most posts had is gone."""
    taken: list[dict[str, Any]] = []
    for poll in reversed([poll for poll in polls if poll.get("taken")]):
        taken.append(poll)
        if _sum(taken, "taken") >= 20 or len(taken) == 2:
            break
    posts = _sum(taken, "taken")
    for name in FIELDS:
        had, seen = memory.have.get(name, [0.0, 0.0])
        if seen < 30 or posts < 3:
            continue
        usual = had / seen
        now = sum(int(poll.get("have", {}).get(name, 0)) for poll in taken)
        if (
            usual - now / posts > COVERAGE_DROP
            and binomial_tail(now, posts, min(usual, 0.999)) < COVERAGE_TAIL
        ):
            return Verdict(
                "changed",
                f"only {now} of {posts} posts have {name}, {usual:.0%} had it before; the page or its fields changed",
            )
    return None


def _empty(memory: Memory) -> Verdict:
    filled, full = memory.filled
    if filled and filled / full < 0.9:
        return Verdict("ok", "the list holds no entry, which happens often here")
    return Verdict(
        "empty",
        "the list holds no entry, and it always did before" if filled else "the list holds no entry",
    )


def _frozen(quiet: Silence) -> str:
    if quiet.chance >= 1:
        return f"nothing new since it was first read {quiet.lasts.days} days ago"
    return (
        f"nothing new for {_hours(quiet.lasts)}, where {quiet.expected:.1f} posts were to be expected by its own history"
        f" (chance {max(quiet.chance, 1e-9):.1g}; limit {_hours(quiet.limit)})"
    )


def _few(found: Scarcity) -> str:
    return (
        f"only {found.posts:.0f} new posts in {found.days} days, where {found.expected:.0f} were to be expected by its own history"
        f" (chance {max(found.chance, 1e-9):.1g}); a part of the list may be lost"
    )


# --- silence and scarcity


@dataclass(frozen=True)
class Scarcity:
    """New posts of the last `days` days that are unusually few, though not none."""

    days: int
    posts: float
    expected: float
    chance: float


def scarcity(memory: Memory, now: datetime) -> Scarcity | None:
    """Whether the source gives unusually few posts; None when it does not, or too little is known.

    Whole blocks up to now are held against what was expected before they came. The last day has to be low too: a source
    that gives again what it gave is well at once. The variance is that of its own blocks, of days, and of the habit itself.
    """
    if memory.first is None or now - memory.first < FEW_AGE:
        return None
    end = math.floor(now.timestamp() / _HOUR / BLOCK)
    found: Scarcity | None = None
    for days in FEW_DAYS:
        held = [block for block in memory.blocks if end - days * 24 / BLOCK <= block[0] < end]
        if sum(block[3] for block in held) < 0.75 * 24 * days:
            return found  # not watched throughout
        posts, wanted = sum(block[1] for block in held), sum(block[2] for block in held)
        if days == 1 and posts > FEW_SHARE * wanted:
            return None
        if wanted < FEW_EXPECTED or posts > FEW_SHARE * wanted:
            continue
        chance = few_chance(math.ceil(posts), held, memory.block_spread)
        if chance < FEW_TAIL and (found is None or chance < found.chance):
            found = Scarcity(days, posts, wanted, chance)
    return found


def few_chance(posts: int, blocks: Sequence[Sequence[float]], spread: Sequence[float]) -> float:
    """Chance of at most `posts` in these blocks: negative binomial with the sum of their variances."""
    squares, excess = spread
    burst = max(0.0, excess / squares) if squares > 0 else 0.0
    by_day: dict[int, float] = {}
    mean = variance = 0.0
    for number, _, wanted, _ in blocks:
        mean += wanted
        variance += wanted + burst * wanted * wanted
        day = int(number * BLOCK // 24)
        by_day[day] = by_day.get(day, 0.0) + wanted
    variance += sum((DAY_SPREAD * wanted) ** 2 for wanted in by_day.values()) + (HABIT_SPREAD * mean) ** 2
    return negative_binomial_tail(posts, mean, variance)


def silence(memory: Memory, now: datetime, every: timedelta) -> Silence | None:
    """The silence up to `now`; None before the first good reading.

    Unusual: longer than four times the 95th percentile of the gaps and than three intervals, and by the hours of the week (which know
    nights and week-ends) less likely than TAIL shared out among the gaps of a day.
    """
    since = memory.last_new or memory.first
    if since is None or memory.first is None:
        return None
    lasts = max(timedelta(0), now - since)
    limit = max(timedelta(minutes=4 * percentile(memory.gaps, 0.95)), 3 * every)
    if not memory.gaps:
        return Silence(since, lasts, max(NEVER, limit), 0.0, 1.0, lasts > max(NEVER, limit))
    expected, chance = expect(memory, since, now)
    # every gap is a trial: TAIL is the chance of a false alarm in a day, not in a gap
    a_day = max(1.0, 1440 * len(memory.gaps) / max(1.0, sum(memory.gaps)))
    return Silence(since, lasts, limit, expected, chance, lasts > limit and chance < TAIL / a_day)


def expect(memory: Memory, since: datetime, until: datetime) -> tuple[float, float]:
    """New posts to be expected between two times, and the chance of none: negative binomial by hour, Poisson where nothing scatters more."""
    age = until - memory.first if memory.first is not None else timedelta(0)
    if age < INFANT:
        return 0.0, 1.0
    rates = rates_of(memory, mature=age >= MATURE)
    size = dispersion(memory)
    total, log_chance = 0.0, 0.0
    for hour, part in _hours_between(since, until):
        rate = rates[hour % _WEEK] * part
        total += rate
        log_chance -= rate if size is None else size * part * math.log1p(rate / (size * part))
    return total, math.exp(log_chance)


def rates_of(memory: Memory, *, mature: bool) -> list[float]:
    """New posts an hour for each hour of the week, counted from the epoch's (a Thursday, 00:00 UTC)."""
    if not mature:
        return [IMMATURE_WEIGHT * (memory.daily[hour % 24] or 0.0) for hour in range(_WEEK)]
    days = []
    for hour in range(24):
        same = [memory.bins[at] for at in range(hour, _WEEK, 24)]
        watched = sum(pair[1] for pair in same)
        days.append(sum(pair[0] for pair in same) / watched if watched else 0.0)
    return [
        (posts + PRIOR_WEEKS * days[hour % 24]) / (watched + PRIOR_WEEKS)
        for hour, (posts, watched) in enumerate(memory.bins)
    ]


def dispersion(memory: Memory) -> float | None:
    """Size of the negative binomial of one hour (small: posts come in bursts); None: Poisson."""
    squares, excess = memory.spread
    if squares <= 0 or excess <= 0:
        return None
    return min(max(squares / excess, 0.05), 1000.0)


def silence_of(cursor: Mapping[str, Any] | None, now: datetime, every_min: float) -> Silence | None:
    """The silence of a source by its stored cursor; None when it was never read well."""
    return silence(Memory.load((cursor or {}).get(KEY)), now, timedelta(minutes=every_min))


def last_readings(cursor: Mapping[str, Any] | None) -> tuple[dict[str, Any], ...]:
    """The evidence of the last readings, the newest first; each is a `Poll.dump` with its `state`."""
    return tuple(reversed(Memory.load((cursor or {}).get(KEY)).polls))


# --- learning


def learn(memory: Memory, poll: Poll, verdict: Verdict) -> Memory:
    """The memory after `poll`. Only good readings teach what is usual: a dead source must not become the habit."""
    after = Memory.load(memory.dump())
    good = verdict.state in ("ok", "unchanged", "few")
    after.polls = [*after.polls, poll.dump() | {"state": verdict.state}][-POLLS:]
    full = poll.lists > 0 and poll.lists != poll.unchanged
    if verdict.state in ("empty", "changed", "login") and not poll.problem:
        after.standing, after.standing_why = verdict.state, verdict.why
    elif good or verdict.state == "frozen":
        after.standing = after.standing_why = ""
    if full and not poll.problem and (poll.found or good or not after.filled[0]):
        after.filled = [min(after.filled[0], 40.0) + bool(poll.found), min(after.filled[1], 40.0) + 1]
        if after.filled[1] > 40:
            after.filled = [40 * after.filled[0] / after.filled[1], 40.0]
    if verdict.state == "few":
        after.few_since, after.few_last = after.few_since or poll.at, poll.at
        if poll.at - after.few_since > HALF_LIFE:
            _begin_anew(after)
    elif after.few_last is not None and poll.at - after.few_last > FEW_OVER:
        after.few_since = after.few_last = None
    if good:
        _learn_counts(after, poll, teach=verdict.state != "few")
        _learn_fields(after, poll)
    if poll.new and good:
        if after.last_new is not None and after.first != after.last_new:
            after.gaps = [*after.gaps, round((poll.at - after.last_new) / timedelta(minutes=1), 1)][-GAPS:]
        elif after.last_new is not None and poll.at > after.last_new:
            after.gaps = [round((poll.at - after.last_new) / timedelta(minutes=1), 1)]
        after.last_new = poll.at
    return after


def _begin_anew(memory: Memory) -> None:
    """Four weeks of few posts are the source's new habit: it is learnt from the beginning."""
    blank = Memory()
    memory.first = memory.last = memory.few_since = memory.few_last = None
    memory.bins, memory.hour, memory.spread, memory.daily = blank.bins, blank.hour, blank.spread, blank.daily
    memory.blocks, memory.block_spread, memory.gaps = blank.blocks, blank.block_spread, blank.gaps


def _learn_counts(memory: Memory, poll: Poll, *, teach: bool) -> None:
    """Count the new posts. Not `teach`: they are held against the habit, but must not become it."""
    if memory.last is None:
        memory.first = memory.last = poll.at  # what lay there already says nothing of the habit
        return
    if poll.at <= memory.last:
        return
    since = max(memory.last, poll.at - timedelta(hours=_SPREAD_H))
    if teach:
        fade = 0.5 ** ((poll.at - memory.last) / HALF_LIFE)
        memory.bins = [[a * fade, b * fade] for a, b in memory.bins]
    length = (poll.at - since) / timedelta(hours=1)
    # after an outage of ours the list no longer holds all that came meanwhile: those blocks are not held against the source
    blind = math.floor(since.timestamp() / _HOUR) if length > BLOCK else math.inf
    for hour, part in _hours_between(since, poll.at):
        posts = poll.new * part / length
        if teach:
            memory.bins[hour % _WEEK][0] += posts
            memory.bins[hour % _WEEK][1] += part
        if hour != memory.hour[0]:
            _close_hour(memory, teach=teach, block=memory.hour[0] < blind)
            memory.hour = [float(hour), 0.0, 0.0]
        memory.hour[1] += posts
        memory.hour[2] += part
    memory.last = poll.at


def _close_hour(memory: Memory, *, teach: bool, block: bool) -> None:
    hour, posts, watched = int(memory.hour[0]), memory.hour[1], memory.hour[2]
    if watched < 0.5:
        return
    seen = posts / watched
    known = memory.daily[hour % 24]
    if known is not None:
        pair = memory.bins[hour % _WEEK]
        # by what was known without this hour: it must not explain itself
        if teach:
            memory.bins[hour % _WEEK] = [max(0.0, pair[0] - posts), max(0.0, pair[1] - watched)]
        usual = rates_of(memory, mature=True)[hour % _WEEK]
        memory.bins[hour % _WEEK] = pair
        if teach:
            memory.spread = [
                memory.spread[0] * 0.999 + usual * usual,
                memory.spread[1] * 0.999 + (seen - usual) ** 2 - usual,
            ]
        if block:
            _into_block(memory, hour, posts, usual * watched, watched, teach=teach)
    if not teach:
        return
    memory.daily[hour % 24] = seen if known is None else known + EWMA * (seen - known)


def _into_block(
    memory: Memory, hour: int, posts: float, wanted: float, watched: float, *, teach: bool
) -> None:
    number = hour // BLOCK
    if not memory.blocks or memory.blocks[-1][0] != number:
        if memory.blocks and teach:
            _, seen, usual, _ = memory.blocks[-1]
            memory.block_spread = [
                memory.block_spread[0] * 0.997 + usual * usual,
                memory.block_spread[1] * 0.997 + (seen - usual) ** 2 - usual,
            ]
        kept = [block for block in memory.blocks if block[0] > number - _WEEK // BLOCK - 1]
        memory.blocks = [*kept, [float(number), 0.0, 0.0, 0.0]]
    block = memory.blocks[-1]
    block[1], block[2], block[3] = block[1] + posts, block[2] + wanted, block[3] + watched


def _learn_fields(memory: Memory, poll: Poll) -> None:
    for name in FIELDS if poll.taken else ():
        had, seen = memory.have.get(name, [0.0, 0.0])
        had, seen = had + poll.have.get(name, 0), seen + poll.taken
        if seen > 500:
            had, seen = 500 * had / seen, 500.0
        memory.have[name] = [had, seen]


# --- arithmetic


def binomial_tail(k: int, n: int, p: float) -> float:
    """Chance of at most `k` of `n`."""
    if p <= 0:
        return 1.0
    logs = (
        math.lgamma(n + 1)
        - math.lgamma(i + 1)
        - math.lgamma(n - i + 1)
        + i * math.log(p)
        + (n - i) * math.log1p(-p)
        for i in range(k + 1)
    )
    return min(1.0, sum(math.exp(value) for value in logs))


def negative_binomial_tail(k: int, mean: float, variance: float) -> float:
    """Chance of at most `k` where posts have this mean and variance; Poisson when they scatter no more than that."""
    if mean <= 0:
        return 1.0
    if variance <= mean * (1 + 1e-9):
        logs = (i * math.log(mean) - mean - math.lgamma(i + 1) for i in range(k + 1))
    else:
        size = mean * mean / (variance - mean)
        good, bad = math.log(size / (size + mean)), math.log(mean / (size + mean))
        logs = (
            math.lgamma(i + size) - math.lgamma(size) - math.lgamma(i + 1) + size * good + i * bad
            for i in range(k + 1)
        )
    return min(1.0, sum(math.exp(value) for value in logs))


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest value that `share` of the values do not exceed; 0 of none."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def _hours_between(since: datetime, until: datetime) -> Iterable[tuple[int, float]]:
    """Hours since the epoch that lie between, each with its part."""
    start, end = since.timestamp() / _HOUR, until.timestamp() / _HOUR
    hour = math.floor(start)
    while hour < end:
        part = min(end, hour + 1) - max(start, hour)
        if part > 1e-9:
            yield hour, part
        hour += 1


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds")


def _hours(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
