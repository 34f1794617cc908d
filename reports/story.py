"""What the events of one incident say at the end of a period: pure folds, no database.

Each round (a reopening starts a new one) has its own chain of instants, so that lateness is charged to the
right link: source and system until detection and page, duty desk until assignment, department until the answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from incidents.states import Fact, Situation, State, evolve
from incidents.weekly_numbers import Story, StoryEvent

#: the links of the chain, in order: (id, instant it starts at, instant it ends at)
LINKS = (
    ("posted_detected", "posted", "detected"),
    ("detected_alerted", "detected", "alerted"),
    ("alerted_acknowledged", "alerted", "acknowledged"),
    ("acknowledged_assigned", "acknowledged", "assigned"),
    ("assigned_responded", "assigned", "responded"),
    ("posted_responded", "posted", "responded"),
)
#: event kind -> instant that its first occurrence in a round sets
_INSTANTS = {
    "detected": "detected",
    "page_sent": "alerted",
    "page_acknowledged": "acknowledged",
    "assigned": "assigned",
}


@dataclass
class Round:
    """The instants of one round."""

    round: int
    times: dict[str, datetime] = field(default_factory=dict)
    answered_by: str = ""  # department that held the incident when it was answered
    #: when the answer was entered; its publication (`times`) may lie days before that
    answer_known: datetime | None = None

    def ended(self, instant: str) -> datetime | None:
        """When an instant became known: the week in which a link counts. An answer entered late counts late, not never."""
        return self.answer_known if instant == "responded" else self.times.get(instant)


def situation(events: tuple[StoryEvent, ...]) -> Situation:
    """The fold of the life cycle itself."""
    now = Situation()
    for event in events:
        now = evolve(now, Fact(event.kind, event.payload, event.epoch, event.round), event.occurred_at)
    return now


def rounds(story: Story) -> list[Round]:
    """The chain of instants of every round.

    Only the first round has a first post, a detection and a page; a later one begins with the reopening, so
    that of its links only assignment -> answer is counted.
    """
    found: dict[int, Round] = {}
    department = ""
    for event in story.events:
        department = _holder(department, event)
        if event.round < 1:
            continue
        round_ = found.setdefault(event.round, Round(event.round))
        if event.round == 1:
            round_.times.setdefault("posted", story.first_posted_at)
        if event.kind == "responded" and "responded" not in round_.times:
            round_.times["responded"] = published_at(event)
            round_.answered_by, round_.answer_known = department, event.occurred_at
        elif event.kind in _INSTANTS:
            round_.times.setdefault(_INSTANTS[event.kind], event.occurred_at)
    return [found[number] for number in sorted(found)]


def published_at(event: StoryEvent) -> datetime:
    """When an answer was published: the instant it claims, never later than it was recorded."""
    claimed = event.payload.get("published_at")
    return min(datetime.fromisoformat(claimed), event.occurred_at) if claimed else event.occurred_at


def _holder(department: str, event: StoryEvent) -> str:
    if event.kind == "assigned":
        return str(event.payload["department"])
    return "" if event.kind in ("returned", "reopened") else department


def department_at(story: Story, at: datetime) -> str:
    """Who held the incident at `at`; empty when nobody had been given it, or it had been handed back."""
    department = ""
    for event in story.events:
        if event.occurred_at > at:
            break
        department = _holder(department, event)
    return department


def holders(story: Story) -> list[tuple[StoryEvent, str]]:
    """Every event with the department that held the incident just before it."""
    department, found = "", []
    for event in story.events:
        found.append((event, department))
        department = _holder(department, event)
    return found


def within(story: Story, kind: str, since: datetime, until: datetime) -> list[StoryEvent]:
    """Events of one kind in the period, oldest first."""
    return [event for event in story.events if event.kind == kind and since <= event.occurred_at < until]


def detection(story: Story) -> StoryEvent:
    """The event that raised the incident."""
    return next(event for event in story.events if event.kind == "detected")


def last(story: Story, kind: str) -> dict[str, Any]:
    """Payload of the latest event of a kind; empty when there is none."""
    return next((event.payload for event in reversed(story.events) if event.kind == kind), {})


def is_over(state: State) -> bool:
    """Whether nothing is left to do."""
    return state in (State.CLOSED, State.FALSE_ALARM, State.MERGED)
