"""What another time limit would have made of the past: the clocks that ran, counted again with it.

Only the length changes: when a clock began and when somebody answered stays what it was. That people would have hurried
under a shorter limit cannot be known, so the number of late ones is an upper bound.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerts.calendar import WorkCalendar
from alerts.clocks import compute_deadline
from config.rules import Rule
from incidents.backtests import RunClock


@dataclass(frozen=True)
class Moved:
    """One clock whose outcome the other limit changes."""

    clock: RunClock
    due_at: datetime
    late: bool  # with the other limit


@dataclass(frozen=True)
class RuleOutcome:
    """Clocks of one rule in the period: how many were late as it was, and how many with the other limit.

    Clocks that still run and are not late in either way are `running`: nobody knows their end.
    """

    rule: str
    amount_before: int
    amount_after: int
    unit: str
    clocks: int
    running: int
    late_before: int
    late_after: int
    moved: tuple[Moved, ...]

    def as_dict(self) -> dict[str, Any]:
        """For keeping."""
        return {
            "rule": self.rule,
            "unit": self.unit,
            "amount_before": self.amount_before,
            "amount_after": self.amount_after,
            "clocks": self.clocks,
            "running": self.running,
            "late_before": self.late_before,
            "late_after": self.late_after,
            "moved": [
                {
                    "number": one.clock.number,
                    "title": one.clock.title,
                    "department": one.clock.department,
                    "started_at": one.clock.started_at.isoformat(),
                    "was_due_at": one.clock.due_at.isoformat(),
                    "due_at": one.due_at.isoformat(),
                    "closed_at": one.clock.closed_at.isoformat() if one.clock.closed_at else None,
                    "late": one.late,
                }
                for one in self.moved
            ],
        }


def with_limit(
    rule: Rule, amount: int, clocks: Iterable[RunClock], calendar: WorkCalendar, now: datetime
) -> RuleOutcome:
    """Count the clocks of `rule` again with `amount` of its units; an extension that was granted is added to either.

    Raises NoClock when the rule cannot be counted.
    """
    assert rule.amount is not None
    count = running = before = after = 0
    moved = []
    for clock in clocks:
        count += 1
        due = compute_deadline(
            rule.model_copy(update={"amount": amount + clock.extended_by}), clock.started_at, calendar
        ).due_at
        end = clock.closed_at or now
        was, will = end > clock.due_at, end > due
        running += clock.closed_at is None and not (was or will)
        before += was
        after += will
        if was != will:
            moved.append(Moved(clock, due, will))
    return RuleOutcome(rule.id, rule.amount, amount, rule.unit, count, running, before, after, tuple(moved))
