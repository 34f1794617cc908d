"""Whose time it was: the history of one incident cut into stretches, each charged to one link, and one link for each missed clock.

Pure folds over events. Links: `source` (posted until fetched), `system` (fetched until detected and told), `desk` (told until
acknowledged, acknowledged until assigned, returned or reopened until assigned anew), `department` (assigned until signed,
signed until answered; each department its own), `approver` (somebody's approval was waited for). After an answer nobody's
time runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from incidents.weekly_numbers import Clock, Story, StoryEvent
from reports.story import published_at

LINKS = ("source", "system", "desk", "department", "approver")
#: parts of the links, in the order of a matter's way
PARTS = (
    ("posted_fetched", "source"),
    ("posted_detected", "system"),  # when the posts are gone: source and system cannot be told apart
    ("fetched_detected", "system"),
    ("detected_alerted", "system"),
    ("alerted_acknowledged", "desk"),
    ("acknowledged_assigned", "desk"),
    ("returned_assigned", "desk"),
    ("reopened_assigned", "desk"),
    ("assigned_signed", "department"),
    ("signed_answered", "department"),
    ("approval", "approver"),
)
LINK_OF = dict(PARTS)
#: a miss that no single link explains
SHARED = "shared"
#: events after which a matter is with nobody
_OVER = ("false_alarm", "merged", "closed")


@dataclass(frozen=True)
class Stretch:
    """Time [start, end) of one incident, charged to one link. `done`: the part came to its end, not just the period."""

    part: str
    department: str  # of `department` only; of `approver` the one that waited
    start: datetime
    end: datetime
    round: int
    done: bool = True

    @property
    def link(self) -> str:
        """The link that the time is charged to."""
        return LINK_OF[self.part]

    @property
    def length(self) -> timedelta:
        """How long it lasted."""
        return self.end - self.start

    def within(self, since: datetime, until: datetime) -> timedelta:
        """How much of it lies in a period."""
        return max(timedelta(0), min(self.end, until) - max(self.start, since))


@dataclass(frozen=True)
class Tenure:
    """Time in which one department led a matter. `ended_by`: returned | reassigned | reopened | over | "" (not ended)."""

    department: str
    co: tuple[str, ...]
    start: datetime
    end: datetime | None
    ended_by: str
    round: int


class _Walk:
    """Goes through the events of one incident; `now` is what runs at the moment."""

    def __init__(self, story: Story) -> None:
        self.found: list[Stretch] = []
        self.part, self.department, self.since = "", "", story.first_posted_at
        self.before: tuple[str, str] = ("", "")  # what an approval or a merge has interrupted
        self.round = 1

    def turn(self, part: str, at: datetime, department: str = "") -> None:
        """The part that runs ends at `at`, another one begins."""
        at = max(at, self.since)
        if self.part:
            self.found.append(Stretch(self.part, self.department, self.since, at, self.round))
        self.part, self.department, self.since = part, department, at

    def cut(self, at: datetime) -> None:
        """What ran was over at `at` already: an answer is entered later than it was published."""
        kept = []
        for one in self.found:
            if one.round != self.round or one.end <= at:
                kept.append(one)
            else:
                # an answer older than the assignment waited for nothing: the part took no time, and ended
                kept.append(replace(one, end=max(at, one.start)))
        self.found = kept


def stretches(story: Story, fetched_at: datetime | None, as_of: datetime) -> list[Stretch]:
    """The history until `as_of`, without gaps while somebody had to act. `fetched_at`: when its first post reached us."""
    walk = _Walk(story)
    for event in story.events:
        if event.occurred_at >= as_of:
            break
        _step(walk, story, event, fetched_at)
    if walk.part and as_of > walk.since:
        walk.found.append(Stretch(walk.part, walk.department, walk.since, as_of, walk.round, done=False))
    return walk.found


def _step(walk: _Walk, story: Story, event: StoryEvent, fetched_at: datetime | None) -> None:
    kind, at = event.kind, event.occurred_at
    if kind == "detected":
        _detected(walk, story, fetched_at, at)
    elif kind == "page_sent" and walk.part == "detected_alerted":
        walk.turn("alerted_acknowledged", at)
    elif kind in ("page_acknowledged", "confirmed") and walk.part in (
        "detected_alerted",
        "alerted_acknowledged",
    ):
        walk.turn("acknowledged_assigned", at)
    elif kind == "assigned":
        walk.turn("assigned_signed", at, str(event.payload["department"]))
    elif kind == "signed" and walk.part == "assigned_signed":
        walk.turn("signed_answered", at, walk.department)
    elif kind == "returned":
        walk.turn("returned_assigned", at)
    elif kind == "reopened":
        walk.turn("", at)
        walk.round = event.round
        walk.turn("reopened_assigned", at)
    elif kind == "responded":
        _answered(walk, event)
    elif kind in _OVER:
        walk.before = (walk.part, walk.department)
        walk.turn("", at)
    elif kind == "unmerged" and not walk.part:
        walk.turn(walk.before[0], at, walk.before[1])
    elif kind == "restored":
        walk.turn("acknowledged_assigned", at)
    elif kind == "approval_asked" and LINK_OF.get(walk.part) == "department":
        walk.before = (walk.part, walk.department)
        walk.turn("approval", at, walk.department)
    elif kind == "approval_given" and walk.part == "approval":
        walk.turn(walk.before[0], at, walk.before[1])


def _detected(walk: _Walk, story: Story, fetched_at: datetime | None, at: datetime) -> None:
    walk.since = min(story.first_posted_at, at)
    if fetched_at is None:
        walk.part = "posted_detected"
    else:
        walk.part = "posted_fetched"
        walk.turn("fetched_detected", min(max(fetched_at, walk.since), at))
    walk.turn("detected_alerted", at)


def _answered(walk: _Walk, event: StoryEvent) -> None:
    published = published_at(event)
    running = walk.part
    walk.turn("", event.occurred_at)
    if running:
        walk.cut(published)


def tenures(story: Story, as_of: datetime) -> list[Tenure]:
    """Who led the matter from when to when, oldest first; a reassigned one is each department's for its own time."""
    found: list[Tenure] = []
    running: Tenure | None = None

    def end(at: datetime, why: str) -> None:
        nonlocal running
        if running is not None:
            found.append(replace(running, end=at, ended_by=why))
        running = None

    suspended: Tenure | None = None
    for event in story.events:
        if event.occurred_at >= as_of:
            break
        if event.kind == "assigned":
            end(event.occurred_at, "reassigned")
            running = Tenure(
                str(event.payload["department"]),
                tuple(event.payload.get("co", ())),
                event.occurred_at,
                None,
                "",
                event.round,
            )
        elif event.kind in ("returned", "reopened"):
            end(event.occurred_at, event.kind)
        elif event.kind in _OVER:
            suspended = running
            end(event.occurred_at, "over")
        elif event.kind == "unmerged" and suspended is not None:
            running = replace(suspended, start=event.occurred_at)
    if running is not None:
        found.append(running)
    return found


def holder_at(tenures_: Sequence[Tenure], at: datetime) -> str:
    """Who led the matter at `at`, its first and its last moment included; "" for nobody."""
    holders = [one.department for one in tenures_ if one.start <= at and (one.end is None or at <= one.end)]
    return holders[-1] if holders else ""


@dataclass(frozen=True)
class Charge:
    """What one missed clock is charged to, and the seconds of every link between its start and its stop."""

    link: str
    department: str  # "" unless the link is a department
    seconds: dict[tuple[str, str], int]  # (link, department) -> seconds


def charge(clock: Clock, found: Sequence[Stretch], stop: datetime, allowance: timedelta) -> Charge:
    """Who missed a clock: never a department for the time of others.

    A department answers for it when its own time alone, with no more than `allowance` of all the others', is longer than
    the clock allows. Else one of the others does, when without what they used beyond the allowance the clock would have been
    kept: the one with most of the time. Else it is shared: several departments one after the other, none of them alone.
    """
    used: defaultdict[tuple[str, str], timedelta] = defaultdict(timedelta)
    for one in found:
        length = one.within(clock.started_at, stop)
        if length:
            used[one.link, one.department if one.link == "department" else ""] += length
    seconds = {key: round(length.total_seconds()) for key, length in sorted(used.items())}
    allowed, whole = clock.due_at - clock.started_at, stop - clock.started_at
    units = {key: length for key, length in used.items() if key[0] == "department"}
    others = {key: length for key, length in used.items() if key[0] != "department"}
    chargeable = [key for key, length in units.items() if length + min(allowance, whole - length) > allowed]
    if chargeable:
        key = max(chargeable, key=lambda name: (units[name], name))
        return Charge(*key, seconds)
    excess = max(timedelta(0), sum(others.values(), timedelta(0)) - allowance)
    if others and (not units or whole - excess <= allowed):
        key = max(others, key=lambda name: (others[name], name))
        return Charge(*key, seconds)
    return Charge(SHARED, "", seconds)
