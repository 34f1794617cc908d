"""Which clocks an event starts: by the incident's grade, and by the way on which the matter reached the city.

All run side by side and none moves another. What the law gives no number for is never started here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from alerts.calendar import load_calendar
from alerts.clocks import Text, compute_deadline
from config.bundle import Bundle
from config.i18n import translator
from config.rules import Rule, RuleSet

#: part of a source's id -> rules of that way in (12345 work order, message board of a government site, 12315, 信访)
_BY_SOURCE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("12345", ("H01", "H04")),
    ("liuyan", ("R09",)),
    ("message-board", ("R09",)),
    ("12315", ("R13",)),
    ("xinfang", ("R07", "R08")),
)


def rules_started_by(
    rules: RuleSet, moment: str, level: str, source_ids: Collection[str]
) -> tuple[Rule, ...]:
    """Countable rules whose clock begins when `moment` (detected, assigned ...) happens to such an incident."""
    started = {rule.id: rule for rule in rules.opened_by(moment, level)}
    for word, ids in _BY_SOURCE:
        if not any(word in source for source in source_ids):
            continue
        for rule in _known(rules, ids):
            begins = "detected" if rule.starts_on == "external" else rule.starts_on
            if rule.countable and begins == moment:
                started[rule.id] = rule
    return tuple(started.values())


def _known(rules: RuleSet, ids: Sequence[str]) -> list[Rule]:
    """The rules of these ids that this city's file has."""
    return [rule for rule in rules.rules() if rule.id in ids]


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
