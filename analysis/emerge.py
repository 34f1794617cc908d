"""When a cluster becomes an incident: the fast track, the burst track, and the arithmetic of both.

Fast: one credible post of a death, poisoning, injury, collapse, fire or abuse, here and now, in a watched domain.
Burst: more distinct voices than the background explains (analysis.counts), rarer than the limit that keeps
`false_alarms_per_week` (analysis.alarms). Sentiment alone never raises anything: it only stands in the sentence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from analysis.alarms import Limit, by_model
from analysis.counts import BASELINE_DAYS, LONGEST_H, Look, Profile, looks, ordinary_of
from analysis.heat import live_categories, propose_level
from analysis.judge import JudgeOutput

#: voices needed before the city's own weeks have shown how often two come together by chance, and afterwards
MIN_VOICES, WARM_VOICES = 3, 2
#: nothing more likely than this is ever raised, however many alarms are allowed
LARGEST_P = 0.05
#: a domain off the watch list must be this much rarer
UNWATCHED_FACTOR = 0.3
MIN_SIGNAL_SHARE = 0.5
#: what is ordinary: the last days against the weeks before, hours of the week from so far back
RECENT, BASELINE, PROFILE = timedelta(days=14), timedelta(days=84), timedelta(days=56)
#: a raised burst of more voices is beyond every limit
FOLLOWED_VOICES = 30
#: hours of its past that a decision needs: the longest window and the baseline before it
PAST = timedelta(hours=LONGEST_H, days=BASELINE_DAYS)


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
    squares: float = 0.0  # sum of the squared follow-ups of these clusters
    profile: Profile | None = None  # hours of the week; None: every hour alike


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
    #: burst track: -log10 of how often a week chance would show this; None when it could not be raised at any limit
    score: float | None = None


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


def surge_of(recent: int, baseline: int) -> float:
    """How much more than ordinary the last 14 days held, against the 84 before; at least 1, with 24 of them known."""
    return max(1.0, (max(0, recent) / 2) / (baseline / 12)) if baseline >= 24 else 1.0


def tests_per_week(background: Background, watched: bool) -> float:
    """By how many looks a week a chance is multiplied; a domain off the list counts for more of them."""
    return max(background.posts_per_week, 7.0) / (1.0 if watched else UNWATCHED_FACTOR)


def burst(growth: Growth, background: Background, policy: Policy, limit: Limit | None = None) -> Decision:
    """Decide on one cluster after a new post; the why holds the look that speaks most clearly.

    `limit` comes from the ledger of the weeks before; without one the count model alone keeps the setting.
    """
    limit = limit or by_model(policy.false_alarms_per_week)
    watched = growth.domain in policy.watched
    needed = WARM_VOICES if limit.warm else MIN_VOICES
    ordinary = ordinary_of(background.clusters, background.follow_ups, background.squares, background.surge)
    found = looks(
        [(h.hour, h.voices) for h in growth.hours],
        growth.first_posted_at,
        growth.at,
        ordinary,
        background.profile or _FLAT,
    )
    tests = tests_per_week(background, watched)
    rarest = min((look.p for look in found), default=1.0)
    # a look with enough voices is preferred to a rarer one with too few
    best = min(found, key=lambda look: (look.extra + 1 < needed, look.p), default=None) or Look(
        growth.at, 0, 0.0, ordinary.size, 1.0, 0, 0
    )
    allowed_p = min(LARGEST_P, 10 ** -max(limit.score, -3.0) / tests)
    enough, real = best.extra + 1 >= needed, growth.signal_share >= MIN_SIGNAL_SHARE
    raised = enough and real and best.p < allowed_p
    span_h = max(1, math.ceil((growth.at - best.start) / timedelta(hours=1)))
    span_h = span_h if span_h < 48 else 24 * math.ceil(span_h / 24)  # said in days
    inside = [h for h in growth.hours if h.hour + timedelta(hours=1) > best.start]
    voices, expected = best.extra + 1, best.expected + 1  # the first voice is given: it opened the window
    why: dict[str, Any] = {
        "track": "burst",
        "window_h": span_h,
        "voices": voices,
        "posts": max(sum(h.posts for h in inside), voices),
        "expected": round(expected, 3),
        "negative": sum(h.negative for h in inside),
        "p": float(f"{best.p:.3g}"),
        "limit": float(f"{allowed_p:.3g}"),
        "per_week": float(f"{min(best.p * tests, tests):.3g}"),
        "false_alarms_per_week": policy.false_alarms_per_week,
        "limit_weeks": round(limit.weeks, 1),
        "upper_bound": limit.thin or not limit.warm,
        "posts_per_week": round(background.posts_per_week, 1),
        "dispersion": round(best.size, 3),
        "surge": round(ordinary.surge, 2),
        "yesterday": best.yesterday,
        "last_week": best.last_week,
        "signal_share": round(growth.signal_share, 3),
        "sources": growth.sources,
        "domain": growth.domain,
        "watched": watched,
    }
    why["sentence_zh"], why["sentence_en"] = _burst_sentences(why, raised, needed if not enough else 0, real)
    factor = max(1.0, voices / expected)
    return Decision(
        raised,
        "burst",
        propose_level(voices, factor, 2 if raised else 0, frozenset()),
        why,
        -math.log10(rarest * tests) if real and rarest < LARGEST_P else None,
    )


_FLAT = Profile.flat(UTC)


def _span(hours: int) -> tuple[str, str]:
    if hours < 48:
        return f"{hours} 小时", f"{hours} h"
    return f"{math.ceil(hours / 24)} 天", f"{math.ceil(hours / 24)} days"


def _burst_sentences(why: Mapping[str, Any], raised: bool, too_few: int, real: bool) -> tuple[str, str]:
    span_zh, span_en = _span(why["window_h"])
    share = min(1.0, why["negative"] / max(why["posts"], 1))
    bound_zh = "每周误报不超过" if why["upper_bound"] else "每周误报"
    bound_en = "at most " if why["upper_bound"] else ""
    zh = (
        f"{span_zh}内 {why['voices']} 位作者发出 {why['posts']} 条，平常应有 {why['expected']:.1f} 位；"
        f"偶然如此的概率 {why['p']:.2g}，界限 {why['limit']:.2g}（{bound_zh} {why['false_alarms_per_week']:g} 次）；"
        f"负面 {share:.0%}，来源 {why['sources']} 个"
    )
    en = (
        f"{why['posts']} posts from {why['voices']} authors in {span_en}, expected {why['expected']:.1f}; "
        f"chance {why['p']:.2g} against a limit of {why['limit']:.2g} "
        f"({bound_en}{why['false_alarms_per_week']:g} false alarms a week); "
        f"{share:.0%} negative; {why['sources']} sources"
    )
    if why["yesterday"] or why["last_week"]:
        zh += f"；昨日同时段 {why['yesterday']} 位，上周同时段 {why['last_week']} 位"
        en += f"; same hours yesterday {why['yesterday']}, last week {why['last_week']}"
    if raised:
        return f"{zh}。", f"{en}."
    if too_few:
        return f"{zh}；未报：少于 {too_few} 位作者。", f"{en}; not raised: fewer than {too_few} authors."
    if not real:
        return f"{zh}；未报：多数帖子不是诉求。", f"{en}; not raised: most posts tell of no real problem."
    off = "" if why["watched"] else "（非重点领域，界限更严）"
    off_en = "" if why["watched"] else " (not a watched domain: stricter limit)"
    return f"{zh}；未报：概率未低于界限{off}。", f"{en}; not raised: not rarer than the limit{off_en}."
