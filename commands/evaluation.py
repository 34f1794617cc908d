"""`quansheng evaluate`: one incident, or the departments of a week or month, at this moment; nothing is kept."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from incidents import evaluation_words as words
from incidents import queries
from incidents.installation import Installation, Problem
from incidents.states import State
from reports.evaluation_job import case_now, period_now
from reports.evaluation_model import CaseEvaluation, Indicator, Line, PeriodEvaluation, UnitRow
from reports.period import PeriodError

#: columns of the table of a period
COLUMNS = ("department", "domain", "cases", "total", "band", *words.INDICATORS, "on time", "flags")


def case(home: Installation, number: str, now: datetime) -> CaseEvaluation:
    """One incident. Raises Problem for one that is not there or is not evaluated, with the reason."""
    with home.db.reading() as session:
        incident = queries.get_incident(session, number.strip().upper())
        if incident is None:
            raise Problem(f"there is no incident {number!r}; `quansheng incidents list` shows their numbers")
        found = case_now(session, home.bundle, incident.id, now)
        parent = queries.get_incident(session, incident.parent_id) if incident.parent_id else None
    if found is not None:
        return found
    if incident.state == State.MERGED and parent is not None:
        raise Problem(
            f"{incident.number} was merged into {parent.number}: `quansheng evaluate {parent.number}`"
        )
    raise Problem(f"{incident.number} is {incident.state}: there is nothing to evaluate")


def period(home: Installation, name: str, now: datetime, department: str) -> PeriodEvaluation:
    """A week or month. Raises Problem for one that does not exist and for an unknown department."""
    known = [one.id for one in home.bundle.departments.departments]
    if department and department not in known:
        raise Problem(f"there is no department {department!r}; departments.yaml has {', '.join(known)}")
    try:
        with home.db.reading() as session:
            return period_now(session, home.bundle, name, now, department or None)
    except PeriodError as exc:
        raise Problem(str(exc)) from exc


def told(found: CaseEvaluation, language: str) -> list[str]:
    """An incident's evaluation line by line."""

    def say(one: Line) -> str:
        return words.say(one.text, one.given, language)

    lines = [f"{found.number}  {_total(found.total)}  {words.word('band', found.band, language)}"]
    if found.missing:
        lines.append(say(found.missing))
    for one in found.indicators:
        lines.append("")
        name = words.word("indicator", one.id, language)
        lines.append(f"{one.id:<2} {name}  {_value(one)}  ×{one.weight:.2f}")
        lines += [
            f"     {say(sentence)}" for sentence in (*one.lines, *([one.missing] if one.missing else []))
        ]
    for flag in found.flags:
        lines += ["", f"!  {words.word('flag', flag.id, language)}"]
        lines += [f"     {say(sentence)}" for sentence in flag.lines]
        lines.append(f"     #{', #'.join(map(str, flag.events))}" if flag.events else "")
    lines.append("")
    lines += [rate_line(rate, language) for rate in found.rates]
    for person in found.reviewers:
        lines.append(f"{person.name}  {person.total:g}  {words.word('colour', person.colour, language)}")
    lines += ["", *(f"* {sentence}" for sentence in words.cautions(language))]
    return [line for index, line in enumerate(lines) if line or (index and lines[index - 1])]


def rate_line(rate: Any, language: str) -> str:
    """A share with its counts and interval."""
    name = words.word("rate", rate.id, language)
    return f"{name}  {rate.right:g}/{rate.n}  95% {rate.low:.2f}–{rate.high:.2f}"


def table(found: PeriodEvaluation, language: str) -> list[list[str]]:
    """Rows of the table of a period; the words of COLUMNS stand above."""
    return [_row(one, language) for one in found.rows]


def _row(row: UnitRow, language: str) -> list[str]:
    on_time = next((rate for rate in row.rates if rate.id == "on_time"), None)
    return [
        row.department or "-",
        row.domain or "*",
        str(row.cases),
        _total(row.total),
        words.word("band", row.band, language)
        if row.missing is None
        else words.say(row.missing.text, row.missing.given, language),
        *(_value(one) for one in row.indicators),
        f"{on_time.right:g}/{on_time.n} ({on_time.low:.2f}-{on_time.high:.2f})" if on_time else "-",
        " ".join(f"{words.word('flag', id_, language)} {n}" for id_, n in row.flags.items()) or "-",
    ]


def _value(one: Indicator) -> str:
    return "-" if one.value is None else f"{one.value:.2f}"


def _total(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
