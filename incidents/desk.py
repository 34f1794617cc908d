"""What the duty desk shows about each open incident beyond its row: clock, page, growth. Read-only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from incidents import clocks, queries
from incidents.models import Deadline, Incident, IncidentEvent, IncidentHour
from incidents.states import OPEN_STATES, State

#: hours of growth that a row of the desk draws
GROWTH_HOURS = 24
#: new incidents without an answer that a full desk shows beyond the most urgent ones
NEW_SHOWN = 40


@dataclass(frozen=True)
class PageState:
    """Whether anybody was told in the present epoch, and who said that they know."""

    paged_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str = ""

    def waits(self, state: State) -> bool:
        """Whether an acknowledgement is still due: nobody gave one, and the matter is new or somebody was paged."""
        return self.acknowledged_at is None and (state == State.DETECTED or self.paged_at is not None)


@dataclass(frozen=True)
class DeskRow:
    """One open incident on the desk."""

    incident: queries.IncidentView
    clock: clocks.DeadlineView | None  # the earliest open one
    page: PageState
    growth: tuple[int, ...]  # posts in each of the last GROWTH_HOURS hours, oldest first


def page_states(session: Session, epochs: dict[int, int]) -> dict[int, PageState]:
    """For each incident id and its present epoch: the first page sent and the first acknowledgement."""
    found: dict[int, PageState] = {}
    query = (
        select(
            IncidentEvent.incident_id,
            IncidentEvent.kind,
            IncidentEvent.epoch,
            IncidentEvent.payload,
            IncidentEvent.occurred_at,
            IncidentEvent.actor,
        )
        .where(
            IncidentEvent.incident_id.in_(list(epochs)),
            IncidentEvent.kind.in_(("page_sent", "page_acknowledged")),
        )
        .order_by(IncidentEvent.seq)
    )
    for incident_id, kind, epoch, payload, at, actor in session.execute(query):
        if incident_id is None:
            continue
        # a page that was accepted late belongs to the epoch it was written for
        if payload.get("epoch", epoch) != epochs[incident_id]:
            continue
        was = found.get(incident_id, PageState())
        if kind == "page_sent" and was.paged_at is None:
            found[incident_id] = PageState(at, was.acknowledged_at, was.acknowledged_by)
        elif kind == "page_acknowledged" and was.acknowledged_at is None:
            found[incident_id] = PageState(was.paged_at, at, actor)
    return found


def growth_of_many(
    session: Session, incident_ids: Sequence[int], now: datetime, hours: int = GROWTH_HOURS
) -> dict[int, tuple[int, ...]]:
    """Posts per hour over the last `hours` hours for each incident (merged ones not counted)."""
    end = now.replace(minute=0, second=0, microsecond=0)
    start = end - timedelta(hours=hours - 1)
    counts = {incident_id: [0] * hours for incident_id in incident_ids}
    query = select(IncidentHour.incident_id, IncidentHour.hour, IncidentHour.posts).where(
        IncidentHour.incident_id.in_(list(incident_ids)), IncidentHour.hour >= start
    )
    for incident_id, hour, posts in session.execute(query):
        index = int((hour - start).total_seconds() // 3600)
        if 0 <= index < hours:
            counts[incident_id][index] = posts
    return {incident_id: tuple(row) for incident_id, row in counts.items()}


def desk(session: Session, now: datetime, *, department: str = "", limit: int = 200) -> list[DeskRow]:
    """Open incidents in order of legal urgency: the earliest running clock first, those without a clock last.

    Where there are more than `limit`, new ones whose page nobody has answered stand on the desk nevertheless, the newest
    NEW_SHOWN of them. `department`: those that it leads or helps with.
    """
    rows = [
        view
        for view, _ in queries.list_by_urgency(
            session, limit=5000 if department else limit, department=department
        )
    ]
    if not department and len(rows) == limit:
        known = {view.id for view in rows}
        rows += [view for view in unanswered(session) if view.id not in known]
    ids = [view.id for view in rows]
    first = clocks.first_open(session, ids)
    pages = page_states(session, {view.id: view.epoch for view in rows})
    growth = growth_of_many(session, ids, now)
    return [
        DeskRow(view, first.get(view.id), pages.get(view.id, PageState()), growth[view.id]) for view in rows
    ]


def unanswered(session: Session, limit: int = NEW_SHOWN) -> list[queries.IncidentView]:
    """New incidents that nobody has acknowledged in their present epoch, the newest first."""
    answered = (
        select(IncidentEvent.seq)
        .where(
            IncidentEvent.incident_id == Incident.id,
            # an expression, so that the few events of the incident are read and not all acknowledgements of years
            func.coalesce(IncidentEvent.kind, "") == "page_acknowledged",
            IncidentEvent.epoch == Incident.epoch,
        )
        .exists()
    )
    query = (
        select(Incident)
        .where(Incident.state == State.DETECTED.value, ~answered)
        .order_by(Incident.detected_at.desc(), Incident.id.desc())
        .limit(limit)
    )
    return [queries.view_of(row) for row in session.scalars(query)]


@dataclass(frozen=True)
class Totals:
    """How many incidents are open in all, and how their earliest clocks stand."""

    open: int
    over: int
    soon: int


def totals(session: Session, now: datetime, soon: timedelta) -> Totals:
    """Counted over all open incidents, however many the desk shows."""
    about = Deadline.incident_id.distinct()
    over, before = session.execute(
        select(func.count(about).filter(Deadline.due_at < now), func.count(about))
        .join(Incident, Incident.id == Deadline.incident_id)
        # an expression: the index of open clocks is to be read, only as far as the time goes
        .where(
            Deadline.state == "open",
            Deadline.due_at < now + soon,
            func.coalesce(Incident.state, "").in_([str(state) for state in OPEN_STATES]),
        )
    ).one()
    states = queries.count_by_state(session)
    return Totals(sum(states.get(str(state), 0) for state in OPEN_STATES), over, before - over)


@dataclass(frozen=True)
class Today:
    """What happened since the day began."""

    detected: int
    closed: int
    false_alarms: int


def today(session: Session, since: datetime) -> Today:
    """Counts since `since` (local midnight)."""

    def events(kind: str) -> int:
        return (
            session.scalar(
                select(func.count())
                .select_from(IncidentEvent)
                .where(IncidentEvent.kind == kind, IncidentEvent.recorded_at >= since)
            )
            or 0
        )

    return Today(detected=events("detected"), closed=events("closed"), false_alarms=events("false_alarm"))


#: acts that change nothing a desk shows: people who look, log in or are refused
LOOKS = (
    "viewed",
    "posts_searched",
    "exported",
    "refused",
    "logged_in",
    "logged_out",
    "login_failed",
    "password_changed",
    "heartbeat",
)


def newest_change(session: Session) -> int:
    """Number of the last event that a desk may show: those of people who only look are passed over."""
    return (
        session.scalar(
            select(IncidentEvent.seq)
            .where(IncidentEvent.kind.not_in(LOOKS))
            .order_by(IncidentEvent.seq.desc())
            .limit(1)
        )
        or 0
    )
