"""Which clocks an event starts: by the incident's grade, and by the way on which the matter reached the city.

All run side by side and none moves another. What the law gives no number for is never started here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from alerts.calendar import load_calendar
from alerts.clocks import Text, compute_deadline
from config.bundle import Bundle
from config.i18n import translator
from config.rules import Rule, RuleSet
from incidents.clocks import DeadlineView

#: events that answer the public; the earliest of their clocks is the first duty
_ANSWERS = ("informed", "press_held", "responded")


def ways_in(bundle: Bundle, source_ids: Collection[str]) -> tuple[str, ...]:
    """On which ways a matter with posts of these sources came; a source that is no longer configured counts as public."""
    found = {source.way for source_id in source_ids if (source := bundle.source(source_id))}
    return tuple(sorted(found or {"public"}))


def rules_started_by(rules: RuleSet, moment: str, level: str, ways: Collection[str]) -> tuple[Rule, ...]:
    """Countable rules whose clock begins when `moment` (detected, assigned ...) happens to such an incident."""
    started = (*rules.opened_by(moment, level), *rules.opened_by_way(moment, ways))
    return tuple({rule.id: rule for rule in started}.values())


@dataclass(frozen=True)
class Governing:
    """Which of the clocks that run side by side decides what is to be done next.

    `first_response`: the earliest one that an answer to the public ends. `close`: the statute's, by the way on which
    the matter came (12345: H01); None when no statute sets a time for closing.
    """

    first_response: DeadlineView | None
    close: DeadlineView | None


def governing(rules: RuleSet, clocks: Collection[DeadlineView]) -> Governing:
    """The governing clocks among the open ones. Nothing is moved: every clock keeps its own end."""
    running = sorted((clock for clock in clocks if clock.state == "open"), key=lambda c: (c.due_at, c.id))
    first = next((clock for clock in running if clock.stops_on in _ANSWERS), None)
    close = next(
        (
            clock
            for clock in running
            if clock.stops_on in ("responded", "closed") and _of_statute(rules, clock.rule_id)
        ),
        None,
    )
    return Governing(first, close)


def _of_statute(rules: RuleSet, rule_id: str) -> bool:
    try:
        rule = rules.rule(rule_id)
    except KeyError:
        return False
    return bool(rule.ways) or rule.starts_on == "told"


def stops_on(rule: Rule) -> str:
    """The event that ends the clock; a rule that says "external" is ended by the published answer."""
    return "responded" if rule.stops_on == "external" else rule.stops_on


def deadline_json(
    rule_id: str, start: datetime, bundle: Bundle, language: str | None = None
) -> dict[str, Any]:
    """What `quansheng deadline RULE --from ...` prints.

    Raises KeyError for an unknown rule, alerts.clocks.NoClock for one without a number.
    """
    settings = bundle.settings
    calendar = load_calendar(settings.config_dir, settings.city.timezone)
    text: Text = translator("alerts", language or settings.city.language)
    due = compute_deadline(bundle.rules.rule(rule_id), start, calendar, text)
    return {
        "rule": rule_id,
        "from": start.astimezone(calendar.zone).isoformat(),
        "due_at": due.due_at.astimezone(calendar.zone).isoformat(),
        "provisional": due.provisional,
        "trace": list(due.trace),
    }
