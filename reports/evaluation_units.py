"""Evaluation of departments by domain and period: the same indicators over the parts of cases that fall into the period.

Rows come in the order of the configuration. There is no rank, and below the minimum of cases no total and no band.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from statistics import mean, variance

from config.evaluation import INDICATORS, EvaluationSettings
from incidents.call_backs import Said
from reports.evaluation import (
    answers,
    between,
    call_rates,
    called,
    contacts,
    kept,
    median_hours,
    no_report,
    on_time,
    overdue,
    rate,
    rounded,
    said_by,
    talk,
    timeliness,
    trend_of,
    updated,
    weighed,
)
from reports.evaluation_facts import Facts
from reports.evaluation_flags import flags_of
from reports.evaluation_model import Estimate, Indicator, Rate, Trend, UnitRow, line
from reports.trend import AFTER_TO, HOUR

#: indicators read out of answers
READ = ("C", "R", "F", "E", "A")


@dataclass(frozen=True)
class Share:
    """What one department has of one case in the period. `whole` is the case itself, `part` what falls into the period."""

    department: str
    lead: bool  # it answered, or has the matter: what is said of the case as a whole is said of it
    whole: Facts
    part: Facts
    trend: Trend | None  # where the three days after the answer ended in the period
    answered: bool  # it told the public something in the period
    unanswered: bool  # a duty to tell the public ran out in the period and nothing was told by now


def shares(facts: Facts, since: datetime, until: datetime, settings: EvaluationSettings) -> list[Share]:
    """Departments that this case says something about in the period; \"\" is work that nobody had been given."""
    everything = between(facts, since, until)
    names = {one.department for one in (*everything.duties, *everything.reports)}
    names |= {pledge.department for pledge in everything.pledges}
    names |= {reply.department for reply in everything.replies or ()}
    answered = facts.answer is not None and since <= facts.answer[1] < until
    watched = facts.answer is not None and since <= facts.answer[1] + AFTER_TO * HOUR < until
    holder = facts.answered_by or facts.department
    told = trend_of(facts, settings) if watched else None
    # a year has tens of thousands of cases: what only the trend is made of is not kept
    whole = replace(facts, posts=(), peers=())
    if answered or watched or everything.call_backs:
        names.add(holder)
    found = []
    for name in sorted(names):
        part = between(whole, since, until, name)
        lead = name == holder
        if not lead:
            # calls and the public's talk are about the department that has the matter
            part = replace(part, call_backs=())
        ran_out = any(
            duty.stops_on in ("informed", "press_held", "responded") and duty.closed_at is None
            for duty in part.duties
        )
        found.append(
            Share(
                name,
                lead,
                whole,
                part,
                told if lead else None,
                bool(part.replies) or (answered and lead),
                ran_out,
            )
        )
    return found


def row(
    department: str, domain: str, parts: Sequence[Share], settings: EvaluationSettings, as_of: datetime
) -> UnitRow:
    """One department in one domain, \"\" standing for all."""
    weights, least = settings.weights, settings.min_cases
    numbers = tuple(sorted({one.whole.number for one in parts}))
    duties = [duty for one in parts for duty in one.part.duties]
    reports = [duty for one in parts for duty in one.part.reports]
    said = sum((said_by(one.part) for one in parts), Said())
    by_id = {
        "T": timeliness(duties, as_of, "T", weights["T"], line("没有起算的法定时限")),
        "RP": timeliness(reports, as_of, "RP", weights["RP"], no_report(settings)),
        **_read(parts, settings),
        "U": _upheld(parts, settings, as_of),
        "V": called(said, settings),
        "O": _talk(parts, settings),
    }
    indicators = tuple(rounded(by_id[id_]) for id_ in INDICATORS)
    computable, total, grade, missing = weighed(indicators, settings)
    if len(numbers) < least:
        total, grade = None, "none"
        missing = line("只有 {n} 件，不足 {least} 件，数据不足", n=len(numbers), least=least)
    late = overdue([*duties, *reports], as_of)
    flags: dict[str, int] = {}
    for one in {share.whole.number: share.whole for share in parts if share.lead}.values():
        for flag in flags_of(one, settings):
            flags[flag.id] = flags.get(flag.id, 0) + 1
    compared = [one.trend.matched_volume for one in parts if one.trend and one.trend.matched_volume]
    return UnitRow(
        department=department,
        domain=domain,
        cases=len(numbers),
        numbers=numbers,
        indicators=indicators,
        computable=computable,
        total=None if total is None else round(total, 4),
        band=grade,
        missing=missing,
        flags=flags,
        rates=_rates(parts, said, settings, as_of),
        median_h=median_hours(duties, as_of),
        worst_overdue_h=late[0][0] if late else None,
        worst_number=late[0][1] if late else "",
        matched_volume=pooled(compared, settings.min_matched),
        compared=len(compared),
    )


def _rates(
    parts: Sequence[Share], said: Said, settings: EvaluationSettings, as_of: datetime
) -> tuple[Rate, ...]:
    least = settings.min_cases
    duties = [duty for one in parts for duty in one.part.duties]
    good = n = 0
    for one in parts:
        kept_, due = contacts(one.part)
        good, n = good + kept_, n + due
    found = [on_time(duties, as_of, least), rate("first_contact", good, n, least), *call_rates(said, least)]
    return tuple(one for one in found if one is not None)


def _read(parts: Sequence[Share], settings: EvaluationSettings) -> dict[str, Indicator]:
    """Means over the cases whose answers were read; for C a case that had to be answered and was not counts as nothing covered."""
    read = [{one.id: one for one in answers(share.part, settings)} for share in parts if share.part.replies]
    silent = sum(share.unanswered and not share.answered for share in parts)
    found = {}
    for id_ in READ:
        weight = settings.weights[id_]
        values = [value for one in read if (value := one[id_].value) is not None]
        nothing = silent if id_ == "C" else 0
        n = len(values) + nothing
        if not n:
            found[id_] = Indicator(id=id_, weight=weight, value=None, missing=line("没有已研读的回应"))
            continue
        value = sum(values) / n
        text = "{n} 件平均 {value}"
        lines = [line(text, n=n, value=value)]
        if nothing:
            lines.insert(0, line("应答未答 {n} 件，按 0 计", n=nothing))
        found[id_] = Indicator(id=id_, weight=weight, value=value, n=n, lines=tuple(lines))
    return found


def _upheld(parts: Sequence[Share], settings: EvaluationSettings, as_of: datetime) -> Indicator:
    weight = settings.weights["U"]
    good, due = kept([pledge for one in parts for pledge in one.part.pledges], as_of)
    gaps = [
        share
        for one in parts
        if one.answered and (share := updated(one.whole, settings.update_gap_h)) is not None
    ]
    values, lines = [], []
    if due:
        values.append(good / due)
        lines.append(line("承诺：到期 {n} 项，兑现 {k} 项，得 {value}", n=due, k=good, value=good / due))
    if gaps:
        values.append(mean(gaps))
        lines.append(line("持续发布：{n} 件重大事件平均 {value}", n=len(gaps), value=mean(gaps)))
    if not values:
        missing = line("没有到期的承诺，也没有须持续发布的时段")
        return Indicator(id="U", weight=weight, value=None, missing=missing)
    value = mean(values)
    lines.append(line("平均 {value}", value=value))
    return Indicator(id="U", weight=weight, value=value, n=due + len(gaps), lines=tuple(lines))


def _talk(parts: Sequence[Share], settings: EvaluationSettings) -> Indicator:
    values = [
        value
        for one in parts
        if one.trend is not None and (value := talk(one.whole, one.trend, settings).value) is not None
    ]
    weight = settings.weights["O"]
    if not values:
        missing = line("没有一件事件的回应前后都有足够的帖子")
        return Indicator(id="O", weight=weight, value=None, missing=missing)
    value = mean(values)
    return Indicator(
        id="O",
        weight=weight,
        value=value,
        n=len(values),
        lines=(line("{n} 件平均 {value}", n=len(values), value=value),),
    )


def pooled(found: Sequence[Estimate], least: int) -> Estimate | None:
    """Mean of the comparisons of several cases, with Student's interval; their matched matters overlap, so that the error of
    each one's own comparison is added as if all shared it."""
    from scipy.special import stdtrit  # type: ignore[import-untyped,import-not-found,unused-ignore]  # a house that compares nothing never loads it

    n = len(found)
    if n < least:
        return None
    logs = [math.log1p(one.value) for one in found]
    shared = mean(((math.log1p(one.high) - math.log1p(one.low)) / 4) ** 2 for one in found) / n
    half = float(stdtrit(n - 1, 0.975)) * math.sqrt(variance(logs) / n + shared)
    middle = mean(logs)
    return Estimate(
        value=round(math.expm1(middle), 4),
        low=round(math.expm1(middle - half), 4),
        high=round(math.expm1(middle + half), 4),
    )


def rows(
    cases: Iterable[Facts],
    since: datetime,
    until: datetime,
    as_of: datetime,
    settings: EvaluationSettings,
    departments: Sequence[str],
) -> tuple[UnitRow, ...]:
    """Every department with its domains and its sum, in the order of `departments`; work without a department last."""
    found = [share for facts in cases for share in shares(facts, since, until, settings)]
    order = {name: index for index, name in enumerate(departments)}
    names = sorted(
        {share.department for share in found}, key=lambda name: (not name, order.get(name, len(order)), name)
    )
    result = []
    for name in names:
        mine = [share for share in found if share.department == name]
        domains = sorted({share.whole.domain for share in mine})
        result.append(row(name, "", mine, settings, as_of))
        result += [
            row(name, domain, [share for share in mine if share.whole.domain == domain], settings, as_of)
            for domain in domains
        ]
    return tuple(result)
