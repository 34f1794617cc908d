"""Evaluating the response 效果评估: ten indicators between 0 and 1, each with its arithmetic, or with the reason why there is none.

Pure: facts in, figures out. Weights and limits come from the settings (`evaluation`); all of them are proposals. A total is
given when the computable indicators carry enough weight. Grounds of the notice are flags beside the total
(reports.evaluation_flags). For other reports: `reports.evaluation_job.stored_case` and `stored_period` give these models back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import mean, median

from config.evaluation import INDICATORS, EvaluationSettings
from incidents.call_backs import Said
from incidents.proportions import wilson
from incidents.ratings import Rating, colour
from incidents.states import State
from reports import trend
from reports.evaluation_facts import TOLD, Duty, Facts, Pledge, Reply
from reports.evaluation_flags import flags_of
from reports.evaluation_model import (
    Agreement,
    CaseEvaluation,
    Estimate,
    Given,
    Hours,
    Indicator,
    Line,
    Rate,
    Reviewer,
    Trend,
    line,
)

#: of a long list of duties or promises so many are told one by one
TOLD_ONE_BY_ONE = 20
#: penalties of A: passing on without handing over, a template, blame or derision, neither greeting nor closing
PENALTIES = {"buck_passing": 0.4, "template": 0.3, "blame": 0.4, "courtesy": 0.1}
GRAVE = ("major", "critical")
#: hours of one bar of the trend's picture
BAR_H = 6
BANDS = ("good", "pass", "improve", "fail")


# --- T and RP --------------------------------------------------------------------------------------------------------


def used(duty: Duty, as_of: datetime) -> float | None:
    """Share of its time that a duty took: 1 is the last moment. None: it runs and is not due yet.

    The end is the one in force (an extension that was granted counts). An answer older than the clock took nothing.
    """
    if duty.closed_at is None and duty.due_at >= as_of:
        return None
    allowed = max((duty.due_at - duty.started_at).total_seconds(), 1.0)
    return max(0.0, ((duty.closed_at or as_of) - duty.started_at).total_seconds()) / allowed


def promptness(ratio: float) -> float:
    """1 in time, falling to 0 at twice the time allowed."""
    return 1.0 if ratio <= 1 else max(0.0, 2.0 - ratio)


def timeliness(duties: Sequence[Duty], as_of: datetime, id_: str, weight: float, none: Line) -> Indicator:
    """Mean promptness of the duties that ended or ran out."""
    ended = [(duty, ratio) for duty in duties if (ratio := used(duty, as_of)) is not None]
    running = len(duties) - len(ended)
    if not ended:
        missing = line("{n} 项时限尚未届满，也未完成", n=running) if running else none
        return Indicator(id=id_, weight=weight, value=None, missing=missing)
    lines = [_duty_line(duty, ratio, as_of) for duty, ratio in ended[:TOLD_ONE_BY_ONE]]
    value = mean(promptness(ratio) for _, ratio in ended)
    lines.append(
        line("平均 {value}（{n} 项；尚未届满 {running} 项不计）", value=value, n=len(ended), running=running)
    )
    return Indicator(id=id_, weight=weight, value=value, n=len(ended), lines=tuple(lines))


def no_report(settings: EvaluationSettings) -> Line:
    """Why RP cannot be computed where no duty to report ran: no rule gives such a time at all, or none was opened."""
    if settings.report_rules:
        return line("没有起算的内部报告时限")
    return line(
        "通知把“报告不及时”列为问责情形，但没有规定几小时内报告，现行规则中也没有政务舆情上报的时限；本地文件有规定的，写入规则文件并列入 evaluation.report_rules 后即可计算"
    )


def _duty_line(duty: Duty, ratio: float, as_of: datetime) -> Line:
    given: Given = {
        "number": duty.number,
        "rule": duty.rule,
        "used": hours((duty.closed_at or as_of) - duty.started_at),
        "allowed": hours(duty.due_at - duty.started_at),
        "r": ratio,
        "s": promptness(ratio),
    }
    if duty.closed_at is None:
        return line(
            "{number} {rule}：已用 {used} 小时仍未完成，时限 {allowed} 小时，r = {r}，得 {s}", **given
        )
    return line("{number} {rule}：用时 {used} 小时，时限 {allowed} 小时，r = {r}，得 {s}", **given)


def hours(span: timedelta) -> float:
    """Hours, to a tenth."""
    return round(span / timedelta(hours=1), 1)


def on_time(duties: Sequence[Duty], as_of: datetime, least: int) -> Rate | None:
    """Share of ended duties that were kept, with Wilson's interval."""
    ratios = [ratio for duty in duties if (ratio := used(duty, as_of)) is not None]
    return rate("on_time", sum(ratio <= 1 for ratio in ratios), len(ratios), least)


def rate(id_: str, right: float, n: int, least: int) -> Rate | None:
    """A share with its interval; None of nothing. Half counts (基本满意) go into the interval as they are."""
    if not n:
        return None
    share = right / n
    low, high = wilson(round(right), n) if right == round(right) else _between(share, n)
    return Rate(id=id_, right=right, n=n, low=low, high=high, enough=n >= least)


def _between(share: float, n: int) -> tuple[float, float]:
    below, above = wilson(math.floor(share * n), n), wilson(math.ceil(share * n), n)
    return below[0], above[1]


def overdue(duties: Sequence[Duty], as_of: datetime) -> list[tuple[float, str]]:
    """Hours by which duties were late, with the incident's number, the worst first."""
    late = [
        (hours((duty.closed_at or as_of) - duty.due_at), duty.number)
        for duty in duties
        if (ratio := used(duty, as_of)) is not None and ratio > 1
    ]
    return sorted(late, key=lambda one: (-one[0], one[1]))


def median_hours(duties: Sequence[Duty], as_of: datetime) -> float | None:
    """Median of the hours that finished duties took."""
    took = [hours(max(timedelta(0), duty.closed_at - duty.started_at)) for duty in duties if duty.closed_at]
    return median(took) if took else None


# --- C, R, F, E, A: what the answers say -----------------------------------------------------------------------------


def answers(facts: Facts, settings: EvaluationSettings) -> list[Indicator]:
    """The five indicators that are read out of the answers' words."""
    ids, weights = ("C", "R", "F", "E", "A"), settings.weights
    if not facts.replies:
        why = (
            line("尚无公开回应")
            if not facts.answered and not facts.replies
            else line("回应正文尚未研读，或系统没有正文")
        )
        return [Indicator(id=id_, weight=weights[id_], value=None, missing=why) for id_ in ids]
    replies = facts.replies
    return [
        _covered(replies, weights["C"]),
        _relevant(replies, weights["R"]),
        _complete(replies, weights["F"]),
        _explained(replies, weights["E"], settings.explained_by),
        _proper(replies, facts.handed_on, weights["A"], settings.template_of),
    ]


def _covered(replies: Sequence[Reply], weight: float) -> Indicator:
    """The best answer counts; one that only passes the matter on answers nothing."""
    known = [(reply, reply.coverage) for reply in replies if reply.coverage is not None]
    if not known:
        return Indicator(id="C", weight=weight, value=None, missing=line("帖子中没有找到可以对照的诉求"))
    scored = [(0.0 if _only_referred(reply) else share, reply) for reply, share in known]
    lines = tuple(
        line("第 {i} 次回应：只作转办、没有措施，按未答复计", i=i)
        if _only_referred(reply)
        else line("第 {i} 次回应：答复了按发声人数加权的诉求 {share:.0%}", i=i, share=share)
        for i, (share, reply) in enumerate(scored, 1)
    )
    value = max(share for share, _ in scored)
    return Indicator(
        id="C",
        weight=weight,
        value=value,
        n=len(scored),
        lines=(*lines, line("取最高的一次：{value}", value=value)),
    )


def _only_referred(reply: Reply) -> bool:
    return reply.buck_passing and not reply.elements.get("measures")


def _relevant(replies: Sequence[Reply], weight: float) -> Indicator:
    known = [reply.relevance for reply in replies if reply.relevance is not None]
    if not known:
        missing = line("同领域其他事件的回应太少，无从比较")
        return Indicator(id="R", weight=weight, value=None, missing=missing)
    value = max(known)
    text = "与本事件的相似度高于同领域其他事件回应的 {value:.0%}（{n} 次回应取最高）"
    return Indicator(
        id="R", weight=weight, value=value, n=len(known), lines=(line(text, value=value, n=len(known)),)
    )


def _complete(replies: Sequence[Reply], weight: float) -> Indicator:
    """Elements of all answers of the round together: a later one may add what the first could not say yet."""
    names = list(dict.fromkeys(name for reply in replies for name in reply.elements))
    if not names:
        return Indicator(id="F", weight=weight, value=None, missing=line("回应正文尚未研读，或系统没有正文"))
    there = [name for name in names if any(reply.elements.get(name) for reply in replies)]
    value = len(there) / len(names)
    lines = [line("有 {k} 项，共 {n} 项", k=len(there), n=len(names))]
    lines += [
        line("有：{element}" if name in there else "缺：{element}", element=f"element:{name}")
        for name in names
    ]
    return Indicator(id="F", weight=weight, value=value, n=len(names), lines=tuple(lines))


def _explained(replies: Sequence[Reply], weight: float, enough: int) -> Indicator:
    best = max(replies, key=lambda reply: (reply.citations + reply.figures, reply.citations))
    value = min(1.0, (best.citations + best.figures) / enough)
    text = "（有效法规引用 {citations} + 具体数字与日期 {figures}）÷ {enough}，最多 1，得 {value}"
    given = {"citations": best.citations, "figures": best.figures, "enough": enough, "value": value}
    return Indicator(id="E", weight=weight, value=value, n=len(replies), lines=(line(text, **given),))


def _proper(replies: Sequence[Reply], handed_on: Sequence[datetime], weight: float, copies: int) -> Indicator:
    """1 less the penalties; the worst answer of the round counts."""
    scored = []
    for index, reply in enumerate(replies, 1):
        lost = []
        if reply.buck_passing and not handed_on:
            lost.append(("第 {i} 次回应：有推诿用语而未转办，扣 {points}", PENALTIES["buck_passing"]))
        if reply.template_of >= copies:
            lost.append(("第 {i} 次回应：与另外 {copies} 份回应近乎相同，扣 {points}", PENALTIES["template"]))
        if reply.blame:
            lost.append(("第 {i} 次回应：命中指责、嘲讽词表（须人工核对），扣 {points}", PENALTIES["blame"]))
        if not reply.courtesy:
            lost.append(("第 {i} 次回应：没有称呼或结语，扣 {points}", PENALTIES["courtesy"]))
        value = max(0.0, 1.0 - sum(points for _, points in lost))
        lines = [line(text, i=index, points=points, copies=reply.template_of) for text, points in lost]
        scored.append((value, lines or [line("第 {i} 次回应：无扣分", i=index)]))
    value = min(one for one, _ in scored)
    lines = [one for _, told in scored for one in told]
    return Indicator(
        id="A",
        weight=weight,
        value=value,
        n=len(replies),
        lines=(*lines, line("取最低的一次：{value}", value=value)),
    )


# --- U and V ---------------------------------------------------------------------------------------------------------


def kept(pledges: Sequence[Pledge], as_of: datetime) -> tuple[int, int]:
    """Promises kept, and promises that had to be kept by now; one that nobody has reported on after its day is not kept."""
    due = [
        one
        for one in pledges
        if one.state in ("kept", "broken") or (one.state == "open" and one.due_at < as_of)
    ]
    return sum(one.state == "kept" for one in due), len(due)


def updated(facts: Facts, gap_h: float) -> float | None:
    """Of the hours from the first publication to the last answer (or now), the share in which the latest word was no older
    than `gap_h`. Asked of major and critical matters only; None where there was one word or none."""
    if facts.level not in GRAVE or not facts.published:
        return None
    latest = max(round_ for round_, _ in facts.published)
    times = sorted(at for round_, at in facts.published if round_ == latest)
    if not any(round_ == latest for round_, _ in facts.answered):
        times.append(facts.as_of)
    spans = [hours(later - at) for at, later in pairwise(times)]
    return sum(min(span, gap_h) for span in spans) / sum(spans) if sum(spans) > 0 else None


def upheld(facts: Facts, settings: EvaluationSettings) -> Indicator:
    """U: promises kept, and in grave matters updates in time; the mean of those that can be told."""
    good, due = kept(facts.pledges, facts.as_of)
    share = updated(facts, settings.update_gap_h)
    parts, lines = [], []
    if due:
        parts.append(good / due)
        lines.append(line("承诺：到期 {n} 项，兑现 {k} 项，得 {value}", n=due, k=good, value=good / due))
    if share is not None:
        parts.append(share)
        text = "持续发布：首次发布至最近回应之间，{value:.0%} 的时间距上次发布不超过 {gap} 小时"
        lines.append(line(text, value=share, gap=settings.update_gap_h))
    weight = settings.weights["U"]
    if not parts:
        missing = line("没有到期的承诺，也没有须持续发布的时段")
        return Indicator(id="U", weight=weight, value=None, missing=missing)
    value = mean(parts)
    return Indicator(
        id="U", weight=weight, value=value, n=due, lines=(*lines, line("平均 {value}", value=value))
    )


def called(said: Said, settings: EvaluationSettings) -> Indicator:
    """V: mean of the share solved and the share satisfied; below the minimum of callers there is no score."""
    weight, least = settings.weights["V"], settings.min_cases
    if not said.answered and not said.judged:
        return Indicator(id="V", weight=weight, value=None, missing=line("没有登记回访"))
    parts, lines = [], []
    if said.answered:
        solved = said.solved / said.answered
        text = "解决率：已解决 {k} ÷ 有效回访 {n} = {value}（不清楚 {unknown} 人不计）"
        lines.append(line(text, k=said.solved, n=said.answered, value=solved, unknown=said.unknown))
        if said.answered >= least:
            parts.append(solved)
    if said.judged:
        pleased = (said.satisfied + 0.5 * said.basically) / said.judged
        text = "满意率：（满意 {a} + 0.5 × 基本满意 {b}）÷ 有效评价 {n} = {value}"
        lines.append(line(text, a=said.satisfied, b=said.basically, n=said.judged, value=pleased))
        if said.judged >= least:
            parts.append(pleased)
    n = max(said.answered, said.judged)
    if not parts:
        missing = line("有效回访 {n} 人，不足 {least} 人，不计分", n=n, least=least)
        return Indicator(id="V", weight=weight, value=None, n=n, lines=tuple(lines), missing=missing)
    value = mean(parts)
    return Indicator(
        id="V", weight=weight, value=value, n=n, lines=(*lines, line("平均 {value}", value=value))
    )


def call_rates(said: Said, least: int) -> list[Rate]:
    """Solved and satisfied, each by itself."""
    found = [
        rate("solved", said.solved, said.answered, least),
        rate("satisfied", said.satisfied + 0.5 * said.basically, said.judged, least),
    ]
    return [one for one in found if one is not None]


def contacts(facts: Facts) -> tuple[int, int]:
    """Rounds with a duty to tell the public: in how many the first word came by the earliest of their ends, and how many are due."""
    due: dict[int, datetime] = {}
    for duty in facts.duties:
        if duty.stops_on in TOLD and duty.number == facts.number:
            due[duty.round] = min(duty.due_at, due.get(duty.round, duty.due_at))
    good = n = 0
    for round_, end in due.items():
        first = min((at for in_, at in facts.published if in_ == round_), default=None)
        if first is not None or end < facts.as_of:
            n += 1
            good += first is not None and first <= end
    return good, n


def said_by(facts: Facts, rounds: Iterable[int] | None = None) -> Said:
    """What callers said, all together or of some rounds."""
    wanted = None if rounds is None else set(rounds)
    return sum((one.said for one in facts.call_backs if wanted is None or one.round in wanted), Said())


# --- O ---------------------------------------------------------------------------------------------------------------


def trend_of(facts: Facts, settings: EvaluationSettings) -> Trend | None:
    """What became of the talk after the first answer of the latest answered round; None without an answer."""
    if facts.answer is None or facts.answer[1] > facts.as_of:
        return None
    at = facts.answer[1]
    least = settings.min_posts
    how = {"times": settings.bootstrap, "seed": facts.incident_id, "least": least}
    over = at + trend.AFTER_TO * trend.HOUR <= facts.as_of
    moved = trend.movement(facts.posts, at, **how)
    partners = trend.matched(
        facts.posts,
        facts.first_posted_at,
        at,
        facts.peers,
        as_of=facts.as_of,
        size=settings.match_size,
        least=least,
    )
    against = trend.comparison(facts.posts, at, partners, **how, least_matched=settings.min_matched)
    return Trend(
        answered_at=at,
        before_posts=moved.before.posts,
        before_judged=moved.before.judged,
        before_negative=moved.before.negative,
        after_posts=moved.after.posts,
        after_judged=moved.after.judged,
        after_negative=moved.after.negative,
        deleted=moved.before.deleted + moved.after.deleted,
        volume=_estimate(moved.volume) if over else None,
        negative=_estimate(moved.negative) if over else None,
        half_life_h=trend.half_life(facts.posts, at, facts.as_of),
        second_wave_h=trend.second_wave(facts.posts, at, facts.as_of),
        matched=against.matched,
        matched_volume=_estimate(against.volume) if over else None,
        matched_negative=_estimate(against.negative) if over else None,
        hours=BAR_H,
        bars=_bars(facts, at),
        complete=over,
    )


def _estimate(found: trend.Interval | None) -> Estimate | None:
    if found is None:
        return None
    return Estimate(value=round(found.value, 4), low=round(found.low, 4), high=round(found.high, 4))


def _bars(facts: Facts, at: datetime) -> tuple[Hours, ...]:
    """Posts from two days before the answer to a week after it (or to now)."""
    counts: dict[int, list[int]] = {}
    last = math.floor(min(trend.WATCHED_DAYS * 24.0, (facts.as_of - at) / trend.HOUR) / BAR_H) * BAR_H
    for begin in range(-48, last + 1, BAR_H):
        counts[begin] = [0, 0]
    for post in facts.posts:
        begin = math.floor((post.at - at) / trend.HOUR / BAR_H) * BAR_H
        if begin in counts:
            counts[begin][0] += 1
            counts[begin][1] += post.negative is True
    return tuple(Hours(at=begin, posts=posts, negative=bad) for begin, (posts, bad) in sorted(counts.items()))


def talk(facts: Facts, found: Trend | None, settings: EvaluationSettings) -> Indicator:
    """O: the negative share before and after. Never better by deletion: deleted posts stay in both counts."""
    weight, least = settings.weights["O"], settings.min_posts

    def none(missing: Line) -> Indicator:
        return Indicator(id="O", weight=weight, value=None, missing=missing)

    if found is None:
        return none(line("尚无公开回应"))
    if not found.complete:
        return none(line("回应后未满 72 小时"))
    if facts.posts_lost:
        return none(line("{n} 条帖子已按保存期限清除，无法再计算", n=facts.posts_lost))
    posts = found.before_posts + found.after_posts
    if posts and found.deleted / posts > settings.max_deleted:
        text = "回应前后 {posts} 条帖子中 {deleted} 条已不可访问，超过 {limit:.0%}：声音变少不能算作成效"
        return none(line(text, posts=posts, deleted=found.deleted, limit=settings.max_deleted))
    if min(found.before_judged, found.after_judged) < least:
        text = "回应前 24 小时 {before} 条、回应后 24 至 72 小时 {after} 条，各须至少 {least} 条，数据不足"
        return none(line(text, before=found.before_judged, after=found.after_judged, least=least))
    before = found.before_negative / found.before_judged
    after = found.after_negative / found.after_judged
    value = trend.outlook(before, after)
    lines = (
        line(
            "回应前 24 小时负面 {k} ÷ {n} = {share}",
            k=found.before_negative,
            n=found.before_judged,
            share=before,
        ),
        line(
            "回应后 24 至 72 小时负面 {k} ÷ {n} = {share}",
            k=found.after_negative,
            n=found.after_judged,
            share=after,
        ),
        line("其中已不可访问 {n} 条，照常计入", n=found.deleted),
        line("0.5 + 0.5 ×（前 − 后）÷ max（前，0.05），限于 0 至 1，得 {value}", value=value),
    )
    return Indicator(id="O", weight=weight, value=value, n=posts, lines=lines)


# --- together --------------------------------------------------------------------------------------------------------


def weighed(
    indicators: Sequence[Indicator], settings: EvaluationSettings
) -> tuple[float, float | None, str, Line | None]:
    """Share of the weights that is computable, the total and its band, or why there is none."""
    known = [(one.weight, one.value) for one in indicators if one.value is not None]
    share = round(sum(weight for weight, _ in known), 6)
    if share < settings.min_weight - 1e-9:
        text = "可计算的指标只占权重 {share:.0%}，不足 {least:.0%}，不评定"
        return share, None, "none", line(text, share=share, least=settings.min_weight)
    total = sum(weight * value for weight, value in known) / share
    return share, total, band(total, settings), None


def band(total: float, settings: EvaluationSettings) -> str:
    """good 良好, pass 合格, improve 待改进, fail 不合格."""
    # half a millionth forgives the last digit of a sum of fractions
    return next(
        (name for name, least in zip(BANDS, settings.bands, strict=False) if total >= least - 5e-7), "fail"
    )


def rounded(one: Indicator) -> Indicator:
    """Cut to what is stored: a last digit that another order of summing changes is no new revision."""
    return one if one.value is None else one.model_copy(update={"value": round(one.value, 6)})


def evaluate(
    facts: Facts, settings: EvaluationSettings, agreement: Sequence[Agreement] = ()
) -> CaseEvaluation:
    """One incident."""
    weights = settings.weights
    found = trend_of(facts, settings)
    latest = facts.answer[0] if facts.answer else facts.round
    by_id = {
        one.id: rounded(one)
        for one in (
            timeliness(facts.duties, facts.as_of, "T", weights["T"], line("没有起算的法定时限")),
            timeliness(facts.reports, facts.as_of, "RP", weights["RP"], no_report(settings)),
            *answers(facts, settings),
            upheld(facts, settings),
            called(said_by(facts, [latest]), settings),
            talk(facts, found, settings),
        )
    }
    indicators = tuple(by_id[id_] for id_ in INDICATORS)
    computable, total, grade, missing = weighed(indicators, settings)
    good, due = contacts(facts)
    rates = [
        on_time(facts.duties, facts.as_of, settings.min_cases),
        rate("first_contact", good, due, settings.min_cases),
        *call_rates(said_by(facts, [latest]), settings.min_cases),
    ]
    return CaseEvaluation(
        number=facts.number,
        incident_id=facts.incident_id,
        domain=facts.domain,
        district=facts.district,
        department=facts.department,
        level=facts.level,
        state=str(facts.state),
        round=facts.round,
        as_of=facts.as_of,
        answered_at=facts.answer[1] if facts.answer else None,
        indicators=indicators,
        computable=computable,
        total=None if total is None else round(total, 4),
        band=grade,
        missing=missing,
        flags=flags_of(facts, settings),
        rates=tuple(one for one in rates if one is not None),
        reviewers=tuple(reviewer(one) for one in facts.ratings),
        agreement=tuple(agreement),
        trend=found,
        final=facts.state == State.CLOSED and watched_out(facts),
    )


def watched_out(facts: Facts) -> bool:
    """Whether time alone can change nothing any more: the week after the answer is over, no promise waits for its day."""
    waits = any(one.state == "open" for one in facts.pledges)
    week = facts.answer is None or facts.answer[1] + timedelta(days=trend.WATCHED_DAYS) <= facts.as_of
    return week and not waits


def reviewer(one: Rating) -> Reviewer:
    """A rating as a page shows it."""
    return Reviewer(
        name=one.name,
        round=one.round,
        scores=one.scores,
        total=one.total,
        colour=colour(one.total),
        improper=one.improper,
        points=one.points,
        note=one.note,
        at=one.rated_at,
    )


def between(facts: Facts, since: datetime, until: datetime, department: str | None = None) -> Facts:
    """The part of an incident that belongs to a period, and to one department: duties that ended in it, answers, promises
    due, calls made. None as department: whoever it was."""

    def mine(name: str) -> bool:
        return department is None or name == department

    def ended(duty: Duty) -> bool:
        """Kept in the period, or run out in it, as the weekly report counts them."""
        if duty.due_at < min(duty.closed_at or facts.as_of, facts.as_of):
            return since <= duty.due_at < until
        return duty.closed_at is not None and since <= duty.closed_at < until

    return replace(
        facts,
        duties=tuple(one for one in facts.duties if ended(one) and mine(one.department)),
        reports=tuple(one for one in facts.reports if ended(one) and mine(one.department)),
        replies=None
        if facts.replies is None
        else tuple(
            one for one in facts.replies if since <= one.published_at < until and mine(one.department)
        ),
        pledges=tuple(one for one in facts.pledges if since <= one.due_at < until and mine(one.department)),
        call_backs=tuple(one for one in facts.call_backs if since <= one.made_at < until),
    )
