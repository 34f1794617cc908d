"""What an evaluation is counted on, as plain values: duties, answers, promises, calls. Made from the record, or by hand in tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from config.evaluation import EvaluationSettings
from incidents.call_backs import Entry
from incidents.evaluation_numbers import PUBLISHED, Case, CaseEvent, CasePost, Order, Peer
from incidents.ratings import Rating
from incidents.states import State
from reports.story import department_at, situation

#: clocks that are a right and no duty: the time to send a matter back
_RIGHTS = ("returned",)
#: events that stop a clock by telling the public something
TOLD = PUBLISHED


@dataclass(frozen=True)
class Duty:
    """One legal clock. `department`: who held the matter when it ended or ran out. `events`: what the record says of its end."""

    number: str
    rule: str
    round: int
    stops_on: str
    started_at: datetime
    due_at: datetime
    closed_at: datetime | None
    department: str = ""
    events: tuple[int, ...] = ()


@dataclass(frozen=True)
class Reply:
    """One official answer as it was read by the machine (incidents.reply_readings)."""

    published_at: datetime
    department: str = ""
    relevance: float | None = None
    coverage: float | None = None
    elements: dict[str, bool] = field(default_factory=dict)
    citations: int = 0
    figures: int = 0
    buck_passing: bool = False
    template_of: int = 0
    blame: bool = False
    courtesy: bool = True
    seq: int | None = None


@dataclass(frozen=True)
class Pledge:
    """One promise that a person confirmed (incidents.promises): open, kept or broken."""

    due_at: datetime
    state: str
    department: str = ""
    key: str = ""
    events: tuple[int, ...] = ()


@dataclass(frozen=True)
class Facts:
    """Everything that one evaluation looks at."""

    number: str
    incident_id: int
    domain: str
    district: str
    department: str
    level: str
    state: State
    round: int
    as_of: datetime
    first_posted_at: datetime
    duties: tuple[Duty, ...] = ()
    reports: tuple[Duty, ...] = ()
    published: tuple[tuple[int, datetime], ...] = ()  # (round, when) of what was told to the public
    answered: tuple[tuple[int, datetime], ...] = ()  # (round, when) of answers
    answered_by: str = ""  # who held the matter at the first answer of the latest round that has one
    handed_on: tuple[datetime, ...] = ()  # returned or assigned to somebody else
    replies: tuple[Reply, ...] | None = None  # None: nobody has read answers on this installation
    pledges: tuple[Pledge, ...] = ()
    ratings: tuple[Rating, ...] = ()
    call_backs: tuple[Entry, ...] = ()
    orders: tuple[Order, ...] = ()
    order_events: tuple[tuple[str, int], ...] = ()
    posts: tuple[CasePost, ...] = ()
    posts_lost: int = 0  # counted once and no longer stored
    peers: tuple[Peer, ...] = ()

    @property
    def answer(self) -> tuple[int, datetime] | None:
        """Round and time of the first answer of the latest round that has one."""
        if not self.answered:
            return None
        latest = max(round_ for round_, _ in self.answered)
        return latest, min(at for round_, at in self.answered if round_ == latest)


def facts_of(
    case: Case,
    settings: EvaluationSettings,
    as_of: datetime,
    *,
    replies: Sequence[Reply] | None,
    pledges: Sequence[Pledge],
    peers: Sequence[Peer],
) -> Facts:
    """The record of one incident in the terms of the formulas."""
    duties = [
        _duty(case, clock_index, as_of)
        for clock_index, clock in enumerate(case.clocks)
        if clock.stops_on not in _RIGHTS and clock.started_at <= as_of
    ]
    reports = tuple(duty for duty in duties if duty.rule in settings.report_rules)
    told = [(event.round, when(event)) for event in case.events if event.kind in TOLD]
    # the row is today's; a past period is judged by what stood at its end
    then = situation(case.events)
    answers = [event for event in case.events if event.kind == "responded"]
    latest = max((event.round for event in answers), default=0)
    first = next((event for event in answers if event.round == latest), None)
    return Facts(
        number=case.number,
        incident_id=case.id,
        domain=case.domain,
        district=case.district,
        department=then.department,
        level=then.level,
        state=then.state,
        round=then.round,
        as_of=as_of,
        first_posted_at=case.first_posted_at,
        duties=tuple(duty for duty in duties if duty.rule not in settings.report_rules),
        reports=reports,
        published=tuple(sorted((one for one in told if one[1] <= as_of), key=lambda one: one[1])),
        answered=tuple((event.round, when(event)) for event in answers),
        answered_by=department_at(case.story, first.occurred_at) if first else "",
        handed_on=tuple(
            event.occurred_at
            for event in case.events
            if event.kind == "returned" or (event.kind == "assigned" and event.payload.get("reassigned"))
        ),
        replies=None if replies is None else _of_round(case, replies, as_of),
        pledges=tuple(pledges),
        ratings=case.ratings,
        call_backs=case.call_backs,
        orders=case.orders,
        order_events=tuple(
            (str(event.payload.get("key", "")), event.seq)
            for event in (*case.events, *(event for _, event in case.member_events))
            if event.kind == "accountability_decided"
        ),
        posts=case.posts,
        posts_lost=max(0, case.posts_counted - len(case.posts)),
        peers=tuple(peers),
    )


def when(event: CaseEvent) -> datetime:
    """When something was told to the public: the instant that is claimed, never later than it was recorded."""
    given = event.payload.get("published_at") or event.payload.get("held_at")
    return min(datetime.fromisoformat(given), event.occurred_at) if given else event.occurred_at


def _duty(case: Case, index: int, as_of: datetime) -> Duty:
    clock = case.clocks[index]
    closed = clock.closed_at if clock.closed_at is not None and clock.closed_at <= as_of else None
    ended = min(closed or clock.due_at, clock.due_at)
    history = (
        case.events
        if clock.incident_id == case.id
        else tuple(event for member, event in case.member_events if member == clock.incident_id)
    )
    about = (clock.rule_id, clock.round)
    events = tuple(
        event.seq
        for event in history
        if event.kind in ("deadline_missed", "deadline_met", "deadline_answered_late")
        and (event.payload.get("rule"), event.payload.get("round")) == about
    )
    return Duty(
        case.number,
        clock.rule_id,
        clock.round,
        clock.stops_on,
        clock.started_at,
        clock.due_at,
        closed,
        department_at(case.story, ended) or _answered_by(case, clock.round, closed),
        events,
    )


def _answered_by(case: Case, round_: int, closed: datetime | None) -> str:
    """Who entered the answer of the round, where it had been published before anybody was given the matter; else nobody."""
    if closed is None:
        return ""
    entered = (event for event in case.events if event.kind == "responded" and event.round == round_)
    first = next(entered, None)
    return department_at(case.story, first.occurred_at) if first else ""


def _of_round(case: Case, replies: Sequence[Reply], as_of: datetime) -> tuple[Reply, ...]:
    """Answers of the latest round that has one: what was said before a reopening was found wanting by it."""
    rounds = [event.round for event in case.events if event.kind == "responded"]
    latest = max(rounds, default=1)
    begun = [event.occurred_at for event in case.events if event.kind == "reopened" and event.round == latest]
    since = begun[0] if begun else None
    return tuple(
        reply
        for reply in replies
        if reply.published_at <= as_of and (since is None or reply.published_at >= since)
    )
