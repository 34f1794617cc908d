"""The alert budget of a shift: how many messages an officer has been given since it began, against what a person bears.

A first page of a grave matter is never held back. Beyond the budget everything else is bundled from the second message
on, and the roster page and the daily message say so: too many pages are a fault of the thresholds, not of the officer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from config.bundle import Bundle
from config.roster import ROLES, Role
from incidents import outbox
from incidents.session import Session

#: a shift without an end in sight is counted from here
_LONGEST = timedelta(hours=24)


@dataclass(frozen=True)
class Use:
    """What one officer got since the present shift began."""

    person: str
    role: Role
    since: datetime
    allowed: int
    messages: int  # that reached the officer, bundles counted as one
    bundled: int  # said by those bundles
    refused: int

    @property
    def over(self) -> bool:
        """Whether the budget is used up."""
        return self.messages >= self.allowed


def used(session: Session, bundle: Bundle, now: datetime) -> list[Use]:
    """The use of the budget by each officer on duty now. `bundle` carries the roster in force."""
    found = []
    for role in ROLES:
        start = bundle.roster.stretches(role, now - _LONGEST, now + timedelta(minutes=1))[-1]
        since, person = start[0], start[2].person
        counts = outbox.told(session, person.id, since)
        found.append(
            Use(
                person.id,
                role,
                since,
                bundle.settings.alerts.budget_per_shift,
                counts.messages,
                counts.bundled,
                counts.refused,
            )
        )
    return found


def over(session: Session, bundle: Bundle, now: datetime) -> frozenset[str]:
    """Officers on duty whose budget is used up."""
    return frozenset(use.person for use in used(session, bundle, now) if use.over)
