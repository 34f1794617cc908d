"""When a cluster becomes an incident: the fast track, the burst track, and the arithmetic of both.

Fast: one credible post of a death, poisoning, injury, collapse, fire or abuse, here and now, in a watched domain.
Burst: more distinct voices in a window than the background explains. The count of voices a cluster gathers by
chance is negative binomial (over-dispersed) around what clusters of its domain gather, or what it gathered
itself before; the limit on the tail probability follows from `false_alarms_per_week` and from how many
clusters are looked at a week. Sentiment alone never raises anything: it only stands in the sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from analysis.judge import JudgeOutput

#: hours; the longest is what the real complaint stream needed (3 voices in 14 days)
WINDOWS_H = (6, 24, 72, 336)
#: how many independent tests the nested windows of one arrival are worth
WINDOWS_WORTH = 1.0
MIN_VOICES = 3
#: follow-up voices that an ordinary cluster gathers in 14 days, and their over-dispersion (NB size); from the
#: complaint messages before July 2019 of `complaints_stream.jsonl`, see docs/quality.md
PRIOR_FOLLOW_UPS = 0.05
PRIOR_WEIGHT = 200.0  # clusters' worth of belief in the prior
DISPERSION = 0.8
#: a domain off the watch list must be this much rarer
UNWATCHED_FACTOR = 0.3
MIN_SIGNAL_SHARE = 0.5
BASELINE_DAYS = 28


@dataclass(frozen=True)
class Hour:
    """Voices, posts and negative posts of a cluster in the hour beginning at `hour`."""

    hour: datetime
    voices: int
    posts: int
    negative: int


@dataclass(frozen=True)
class Growth:
    """A cluster as the burst track sees it at `at`, the time of its newest post."""

    at: datetime
    first_posted_at: datetime
    hours: Sequence[Hour]
    domain: str
    signal_share: float
    sources: int = 1


@dataclass(frozen=True)
class Background:
    """What is ordinary. Counted over the last weeks before the cluster's time."""

    posts_per_week: float
    clusters: float = 0.0  # clusters opened in the domain in the baseline
    follow_ups: float = 0.0  # voices that joined them within 14 days
    surge: float = 1.0  # volume of the domain or place in the last days against its baseline, at least 1


@dataclass(frozen=True)
class Policy:
    """What the operator set."""

    false_alarms_per_week: float
    watched: frozenset[str]


@dataclass(frozen=True)
class Decision:
    """Raise or not, on which track, at which proposed level, and the arithmetic."""

    raised: bool
    track: str
    level: str
    why: Mapping[str, Any]


def nb_tail(k: int, mean: float, size: float = DISPERSION) -> float:
    """P(N >= k) for a negative binomial with this mean and size (variance mean + mean^2/size)."""
    if k <= 0:
        return 1.0
    if mean <= 0:
        return 0.0
    p = size / (size + mean)
    log_term = size * math.log(p)
    total = math.exp(log_term)
    for n in range(1, k):
        log_term += math.log((n - 1 + size) / n) + math.log(1 - p)
        total += math.exp(log_term)
    if 1.0 - total > 1e-9:
        return 1.0 - total
    # the sum has swallowed the tail: add the tail itself up
    tail, n = 0.0, k
    while n < k + 400:
        log_term += math.log((n - 1 + size) / n) + math.log(1 - p)
        term = math.exp(log_term)
        tail += term
        if term < tail * 1e-6:
            break
        n += 1
    return tail


def fast_track(post: JudgeOutput, watched: frozenset[str]) -> Decision:
    """Decide on one post. The arithmetic names the words and, when silent, what silenced them."""
    live = [hit for hit in post.hazards if not hit.silenced_by]
    silenced = [hit for hit in post.hazards if hit.silenced_by]
    in_domain = post.domain in watched
    raised = post.fast and in_domain
    words = "、".join(dict.fromkeys(hit.word for hit in live)) or "、".join(
        dict.fromkeys(hit.word for hit in silenced)
    )
    if raised:
        zh = f"一条帖子提到“{words}”，涉及重点领域，属实概率 {post.signal_score:.0%}，严重概率 {post.grave_score:.0%}，无否定、演练、影视、历史或外地说法。"
        en = f"one post speaks of {words} in a watched domain; {post.signal_score:.0%} likely real, {post.grave_score:.0%} likely grave; no negation, drill, fiction, history or other city."
    else:
        zh, en = _silence(post, live, silenced, in_domain, words)
    why = {
        "track": "fast",
        "words": [{"word": h.word, "category": h.category, "clause": h.clause} for h in live[:4]],
        "silenced": [{"word": h.word, "by": h.silenced_by} for h in silenced[:4]],
        "signal": round(post.signal_score, 3),
        "grave": round(post.grave_score, 3),
        "where": post.where,
        "domain": post.domain,
        "watched": in_domain,
        "sentence_zh": zh,
        "sentence_en": en,
    }
    return Decision(
        raised, "fast", propose_level(1, 1.0, post.risk, live_categories(post)) if raised else "general", why
    )


def live_categories(post: JudgeOutput) -> frozenset[str]:
    """Hazard categories of a post that no guard silenced."""
    return frozenset(hit.category for hit in post.hazards if not hit.silenced_by)


def _silence(
    post: JudgeOutput, live: Sequence[Any], silenced: Sequence[Any], in_domain: bool, words: str
) -> tuple[str, str]:
    if not post.hazards:
        return "没有出现危险词。", "no hazard word."
    if not live:
        guard = silenced[0].silenced_by
        return f"危险词“{words}”被排除（{guard}）。", f"hazard word {words} silenced by {guard}."
    if post.where == "elsewhere":
        return f"“{words}”说的是外地。", f"{words} plays in another place."
    if not in_domain:
        return (
            f"“{words}”不在重点领域（{post.domain}）。",
            f"{words} is outside the watched domains ({post.domain}).",
        )
    return (
        f"“{words}”的可信度不够：属实概率 {post.signal_score:.0%}，严重概率 {post.grave_score:.0%}。",
        f"{words} is not credible enough: {post.signal_score:.0%} likely real, {post.grave_score:.0%} likely grave.",
    )


def limit_of(background: Background, policy: Policy, watched: bool) -> float:
    """Tail probability below which a burst is raised."""
    tests = max(background.posts_per_week, 7.0) * WINDOWS_WORTH
    return min(0.2, policy.false_alarms_per_week / tests) * (1.0 if watched else UNWATCHED_FACTOR)


def expected_voices(growth: Growth, background: Background, window_h: int) -> float:
    """Voices beyond the first that the background explains in the window."""
    share = min(1.0, window_h / 336)
    ordinary = (background.follow_ups + PRIOR_FOLLOW_UPS * PRIOR_WEIGHT) / (
        background.clusters + PRIOR_WEIGHT
    )
    start = growth.at - timedelta(hours=window_h)
    before = growth.at - timedelta(days=BASELINE_DAYS) - timedelta(hours=window_h)
    age_h = (start - max(growth.first_posted_at, before)).total_seconds() / 3600
    own = 0.0
    if age_h > 24:
        earlier = sum(h.voices for h in growth.hours if before <= h.hour < start)
        own = max(0.0, earlier - 1) / age_h * window_h
    # arrivals are densest right after the first post: an ordinary follow-up comes within a day half of the time
    return max(ordinary * math.sqrt(share) * background.surge, own, 1e-4)


def burst(growth: Growth, background: Background, policy: Policy) -> Decision:
    """Decide on one cluster after a new post; the why holds the window that speaks most clearly."""
    watched = growth.domain in policy.watched
    limit = limit_of(background, policy, watched)
    best: dict[str, Any] | None = None
    for window in WINDOWS_H:
        start = growth.at - timedelta(hours=window)
        inside = [h for h in growth.hours if start <= h.hour + timedelta(hours=1) and h.hour <= growth.at]
        voices, posts = sum(h.voices for h in inside), sum(h.posts for h in inside)
        opened_inside = growth.first_posted_at >= start
        extra = voices - 1 if opened_inside else voices
        expected = expected_voices(growth, background, window)
        tail = nb_tail(extra, expected)
        # a window with enough voices is preferred to a rarer one with too few
        if best is None or (voices < MIN_VOICES, tail) < (best["voices"] < MIN_VOICES, best["p"]):
            best = {
                "window_h": window,
                "voices": voices,
                "posts": posts,
                "expected": round(expected + (1 if opened_inside else 0), 3),
                "p": tail,
                "negative": sum(h.negative for h in inside),
            }
    assert best is not None
    enough = best["voices"] >= MIN_VOICES
    real = growth.signal_share >= MIN_SIGNAL_SHARE
    raised = enough and real and best["p"] < limit
    why = {
        "track": "burst",
        **best,
        "p": float(f"{best['p']:.3g}"),
        "limit": float(f"{limit:.3g}"),
        "false_alarms_per_week": policy.false_alarms_per_week,
        "posts_per_week": round(background.posts_per_week, 1),
        "signal_share": round(growth.signal_share, 3),
        "sources": growth.sources,
        "domain": growth.domain,
        "watched": watched,
    }
    why["sentence_zh"], why["sentence_en"] = _burst_sentences(why, raised, enough, real)
    return Decision(
        raised,
        "burst",
        propose_level(
            best["voices"],
            max(1.0, best["voices"] / max(why["expected"], 0.1)),
            2 if raised else 0,
            frozenset(),
        ),
        why,
    )


def _burst_sentences(why: Mapping[str, Any], raised: bool, enough: bool, real: bool) -> tuple[str, str]:
    hours = why["window_h"]
    span_zh = f"{hours // 24} 天" if hours >= 48 else f"{hours} 小时"
    span_en = f"{hours // 24} days" if hours >= 48 else f"{hours} h"
    share = why["negative"] / max(why["posts"], 1)
    zh = (
        f"{span_zh}内 {why['voices']} 位作者发出 {why['posts']} 条，平常应有 {why['expected']:.1f} 位；"
        f"偶然如此的概率 {why['p']:.2g}，界限 {why['limit']:.2g}（每周误报不超过 {why['false_alarms_per_week']:g} 次）；"
        f"负面 {share:.0%}，来源 {why['sources']} 个"
    )
    en = (
        f"{why['posts']} posts from {why['voices']} authors in {span_en}, expected {why['expected']:.1f}; "
        f"chance {why['p']:.2g} against a limit of {why['limit']:.2g} ({why['false_alarms_per_week']:g} false alarms a week); "
        f"{share:.0%} negative; {why['sources']} sources"
    )
    if raised:
        return f"{zh}。", f"{en}."
    if not enough:
        return (
            f"{zh}；未报：少于 {MIN_VOICES} 位作者。",
            f"{en}; not raised: fewer than {MIN_VOICES} authors.",
        )
    if not real:
        return f"{zh}；未报：多数帖子不是诉求。", f"{en}; not raised: most posts tell of no real problem."
    off = "" if why["watched"] else "（非重点领域，界限更严）"
    off_en = "" if why["watched"] else " (not a watched domain: stricter limit)"
    return f"{zh}；未报：概率未低于界限{off}。", f"{en}; not raised: not rarer than the limit{off_en}."


def grade(
    voices: int, growth: float, risk: int, categories: frozenset[str], media: float = 0.0
) -> dict[str, float]:
    """The 0–100 score and its parts: severity 40, reach 25, growth 20, media 15."""
    severity = {0: 0.0, 1: 0.25, 2: 0.55, 3: 0.9}[max(0, min(3, risk))]
    if categories & {"death", "poisoning", "collapse", "abuse"}:
        severity = max(severity, 0.9)
    elif categories & {"fire", "injury", "unrest"}:
        severity = max(severity, 0.7)
    reach = min(1.0, math.log10(max(voices, 1)) / 3.0)  # 1,000 voices fill it
    speed = min(1.0, math.log2(max(growth, 1.0)) / 6.0)  # 64 times the ordinary fills it
    parts = {
        "severity": 40 * severity,
        "reach": 25 * reach,
        "growth": 20 * speed,
        "media": 15 * min(1.0, max(0.0, media)),
    }
    return {name: round(value, 1) for name, value in parts.items()} | {"score": round(sum(parts.values()), 1)}


def propose_level(
    voices: int, growth: float, risk: int, categories: frozenset[str], media: float = 0.0
) -> str:
    """general < 40 <= serious < 65 <= major < 85 <= critical; a death or a poisoning is serious at least.

    A proposal only: a person confirms major and critical.
    """
    score = grade(voices, growth, risk, categories, media)["score"]
    level = "general" if score < 40 else "serious" if score < 65 else "major" if score < 85 else "critical"
    if level == "general" and categories & {"death", "poisoning"}:
        return "serious"
    return level
