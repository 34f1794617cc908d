"""Who kept whom waiting: the links of the chain, the legal clocks, the departments."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

from config.bundle import Bundle
from incidents.states import State
from incidents.weekly_numbers import Clock, Story
from reports.matters import Desk
from reports.model import DepartmentRow, LinkRow, MissedLine, RuleRow
from reports.story import LINKS, department_at, holders, is_over, rounds


def links(desk: Desk) -> tuple[LinkRow, ...]:
    """Each link: those that ended in the period, and those of open incidents that have begun and not ended.

    False alarms and merged incidents are left out: nobody owes them an answer. An answer older than the
    assignment waited for nothing: zero, not a negative time.
    """
    ended: dict[str, list[tuple[int, str]]] = defaultdict(list)
    waiting: dict[str, list[tuple[int, str]]] = defaultdict(list)
    since, as_of = desk.period.since, desk.period.as_of
    for story in desk.stories:
        now = desk.situations[story.id]
        if now.state in (State.FALSE_ALARM, State.MERGED):
            continue
        for round_ in rounds(story):
            for name, start, end in LINKS:
                begun, done = round_.times.get(start), round_.times.get(end)
                if begun is None:
                    continue
                known = round_.ended(end)
                if done is not None and known is not None and since <= known < as_of:
                    ended[name].append((max(0, int((done - begun).total_seconds())), story.number))
                elif done is None and not is_over(now.state) and round_.round == now.round:
                    waiting[name].append((int((as_of - begun).total_seconds()), story.number))
    return tuple(_link(name, ended[name], waiting[name]) for name, _, _ in LINKS)


def _link(name: str, ended: list[tuple[int, str]], waiting: list[tuple[int, str]]) -> LinkRow:
    # the longest first; of equal ones the older incident
    worst = min(ended, key=lambda pair: (-pair[0], pair[1])) if ended else None
    waiting = sorted(waiting, key=lambda pair: (-pair[0], pair[1]))
    return LinkRow(
        id=name,
        n=len(ended),
        median=int(median(seconds for seconds, _ in ended)) if ended else None,
        worst=worst[0] if worst else None,
        worst_number=worst[1] if worst else "",
        waiting=tuple(number for _, number in waiting),
        longest_wait=waiting[0][0] if waiting else None,
    )


@dataclass(frozen=True)
class Outcome:
    """How one clock ended, charged to who held the incident then."""

    number: str
    department: str
    kept: bool


def by_rule(
    desk: Desk, bundle: Bundle, clocks: Sequence[Clock]
) -> tuple[tuple[RuleRow, ...], tuple[MissedLine, ...], list[Outcome]]:
    """Clocks by rule, the missed ones one by one, and the outcomes for the department table."""
    since, as_of = desk.period.since, desk.period.as_of
    kept: dict[str, list[str]] = defaultdict(list)
    ran_out: dict[str, list[str]] = defaultdict(list)
    running: Counter[str] = Counter()
    lines: list[MissedLine] = []
    outcomes: list[Outcome] = []
    for clock in clocks:
        story = desk.by_id.get(clock.incident_id)
        if story is None:
            continue
        closed = clock.closed_at if clock.closed_at is not None and clock.closed_at < as_of else None
        if clock.due_at < min(closed or as_of, as_of):
            holder = department_at(story, clock.due_at)
            action = _rule(bundle, clock.rule_id)[0]
            lines.append(_missed(story, clock, closed, as_of, holder, action, earlier=clock.due_at < since))
            if clock.due_at >= since:
                ran_out[clock.rule_id].append(story.number)
                outcomes.append(Outcome(story.number, holder, kept=False))
        elif closed is not None:
            kept[clock.rule_id].append(story.number)
            outcomes.append(Outcome(story.number, department_at(story, closed), kept=True))
        else:
            running[clock.rule_id] += 1
    rows = []
    for rule_id in sorted(kept.keys() | ran_out.keys() | running.keys()):
        action, source, quote = _rule(bundle, rule_id)
        rows.append(
            RuleRow(
                rule=rule_id,
                action=action,
                source=source,
                quote=quote,
                kept=len(kept[rule_id]),
                missed=len(ran_out[rule_id]),
                running=running[rule_id],
                kept_numbers=tuple(sorted(kept[rule_id])),
                missed_numbers=tuple(sorted(ran_out[rule_id])),
            )
        )
    lines.sort(key=lambda line: (line.earlier, -line.late, line.number))
    return tuple(rows), tuple(lines), outcomes


def _rule(bundle: Bundle, rule_id: str) -> tuple[str, str, str]:
    """Action, source and quotation of a rule; empty for one that the configuration no longer has."""
    known = next((rule for rule in bundle.rules.rules() if rule.id == rule_id), None)
    return (known.action, known.source, known.quote) if known else ("", "", "")


def _missed(
    story: Story,
    clock: Clock,
    closed: datetime | None,
    as_of: datetime,
    holder: str,
    action: str,
    *,
    earlier: bool,
) -> MissedLine:
    return MissedLine(
        number=story.number,
        rule=clock.rule_id,
        action=action,
        department=holder,
        due_at=clock.due_at,
        answered_at=closed,
        late=int(((closed or as_of) - clock.due_at).total_seconds()),
        provisional=clock.provisional,
        earlier=earlier,
    )


def departments(desk: Desk, outcomes: Sequence[Outcome], names: dict[str, str]) -> tuple[DepartmentRow, ...]:
    """Departments that had anything to do in the period, those with most work first. No rank."""
    since, as_of = desk.period.since, desk.period.as_of
    counts: Counter[tuple[str, str]] = Counter()
    cited: dict[str, set[str]] = defaultdict(set)
    answers: dict[str, list[int]] = defaultdict(list)

    def add(department: str, what: str, number: str) -> None:
        if department:
            counts[department, what] += 1
            cited[department].add(number)

    for story in desk.stories:
        now = desk.situations[story.id]
        for event, before in holders(story):
            if since <= event.occurred_at < as_of and event.kind in ("assigned", "returned"):
                holder = str(event.payload["department"]) if event.kind == "assigned" else before
                add(holder, event.kind, story.number)
        if not is_over(now.state):
            add(now.department, "open", story.number)
        for round_ in rounds(story):
            answered, begun = round_.times.get("responded"), round_.times.get("assigned")
            known = round_.ended("responded")
            if answered is not None and known is not None and since <= known < as_of:
                add(round_.answered_by, "responded", story.number)
                if begun is not None and round_.answered_by:
                    answers[round_.answered_by].append(max(0, int((answered - begun).total_seconds())))
    for outcome in outcomes:
        add(outcome.department, "kept" if outcome.kept else "missed", outcome.number)
    rows = [
        DepartmentRow(
            id=department,
            name=names.get(department, department),
            assigned=counts[department, "assigned"],
            returned=counts[department, "returned"],
            responded=counts[department, "responded"],
            median=int(median(answers[department])) if answers[department] else None,
            worst=max(answers[department], default=None),
            kept=counts[department, "kept"],
            missed=counts[department, "missed"],
            open=counts[department, "open"],
            numbers=tuple(sorted(numbers_)),
        )
        for department, numbers_ in cited.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-len(row.numbers), row.id)))
