"""The three grounds of the notice as flags beside the total: 报告不及时, 处置不力, 回应不妥当. Each names its events; none is a verdict.

A flag never decides anything: L6 and L7 need a named approver with a written reason (incidents.accountability).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from config.evaluation import EvaluationSettings
from incidents.ratings import Rating
from reports.evaluation_facts import Duty, Facts
from reports.evaluation_model import Flag, Line, line

Reason = tuple[Line, tuple[int, ...]]


def flags_of(facts: Facts, settings: EvaluationSettings) -> tuple[Flag, ...]:
    """The grounds that the record gives reasons for."""
    found = {
        "late_report": list(_late_reports(facts)),
        "poor_handling": [
            *_after_orders(facts, settings),
            *_repeated(facts, settings),
            *_broken(facts, settings),
        ],
        "improper_reply": list(_improper(facts, settings)),
    }
    return tuple(
        Flag(
            id=id_,
            lines=tuple(said for said, _ in reasons),
            events=tuple(sorted({seq for _, events in reasons for seq in events})),
        )
        for id_, reasons in found.items()
        if reasons
    )


def _missed(duty: Duty, facts: Facts) -> bool:
    return duty.due_at < min(duty.closed_at or facts.as_of, facts.as_of)


def _late_reports(facts: Facts) -> Iterator[Reason]:
    for duty in facts.reports:
        if _missed(duty, facts):
            yield line("报告时限 {rule} 已过而未报告", rule=duty.rule), duty.events


def _after_orders(facts: Facts, settings: EvaluationSettings) -> Iterator[Reason]:
    """A duty that was overdue when the order came and stayed undone beyond the time the order gives."""
    grace = timedelta(hours=settings.order_grace_h)
    numbers = dict(facts.order_events)
    for order in facts.orders:
        until = order.decided_at + grace
        for duty in facts.duties:
            late = duty.due_at < order.decided_at and (duty.closed_at or facts.as_of) > until
            if late:
                own = (numbers[order.key],) if order.key in numbers else ()
                text = "督办单下达后 {hours} 小时，{rule} 仍未完成"
                yield line(text, hours=settings.order_grace_h, rule=duty.rule), (*own, *duty.events)


def _repeated(facts: Facts, settings: EvaluationSettings) -> Iterator[Reason]:
    """So many callers say "not solved", no fewer than say solved, and the last who were asked do so too: a few of many who
    are not content are no neglect."""
    entries = sorted(facts.call_backs, key=lambda one: (one.made_at, one.seq))
    asked = [one for one in entries if one.said.answered]
    unsolved = sum(one.said.unsolved for one in asked)
    solved = sum(one.said.solved for one in asked)
    if unsolved >= max(settings.repeat_calls, solved) and asked[-1].said.unsolved:
        events = tuple(one.seq for one in asked if one.said.unsolved)
        text = "回访 {n} 人次未解决（已解决 {solved} 人次），最近一次仍未解决"
        yield line(text, n=unsolved, solved=solved), events


def _broken(facts: Facts, settings: EvaluationSettings) -> Iterator[Reason]:
    broken = [one for one in facts.pledges if one.state == "broken"]
    if len(broken) >= settings.broken_promises:
        yield (
            line("{n} 项承诺未兑现", n=len(broken)),
            tuple(seq for one in broken for seq in one.events),
        )


def _improper(facts: Facts, settings: EvaluationSettings) -> Iterator[Reason]:
    """Enough named people, more than found nothing wrong, agree on the same point of the rubric for the same round."""
    rounds: dict[int, list[Rating]] = {}
    for one in facts.ratings:
        rounds.setdefault(one.round, []).append(one)
    for round_, given in sorted(rounds.items()):
        against = [one for one in given if one.improper]
        if len(against) * 2 <= len(given):
            continue
        for point in dict.fromkeys(point for one in against for point in one.points):
            agreed = [one for one in against if point in one.points]
            if len(agreed) >= settings.reviewers:
                text = "第 {round} 轮：{n} 名评审一致认定“{point}”"
                said = line(text, round=round_, n=len(agreed), point=f"rubric:{point}")
                yield said, tuple(one.seq for one in agreed)
