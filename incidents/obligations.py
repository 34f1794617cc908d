"""The register of duties of the notice: who owes what by when, with what evidence it was met. Row and event in one go.

`open`: nothing met it yet; `met`: in time; `late`: met after its end; `cancelled`: entered by mistake, with a reason.
A row is unique by rule, unit and period, so that opening it again does nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import BindParameter, ColumnElement, and_, bindparam, func, insert, select
from sqlalchemy.orm import Session

from incidents import events
from incidents.models import DutyObligation, IncidentEvent
from incidents.states import Refused

Row = dict[str, Any]
Key = tuple[Any, ...]
Wanted = Literal["open", "overdue", "met", "late", "cancelled", "all"]


@dataclass(frozen=True)
class ObligationView:
    """One duty of one unit for one period."""

    id: int
    rule_id: str
    unit: str
    period: str
    trigger: str
    started_at: datetime
    due_at: datetime
    provisional: bool
    calendar_version: str
    trace: tuple[str, ...]
    state: str
    met_at: datetime | None
    evidence: str
    entered_by: str
    overdue_noticed_at: datetime | None

    def overdue(self, now: datetime) -> bool:
        """Whether its time has passed and nothing met it."""
        return self.state == "open" and self.due_at < now


@dataclass(frozen=True)
class UnitSummary:
    """One unit's duties whose end lies in a span of time, and those it owes now."""

    unit: str
    due: int
    met: int
    late: int
    overdue: int  # open and past their end

    @property
    def on_time(self) -> float | None:
        """Share met in time of those that were due, None without any."""
        return self.met / self.due if self.due else None


def _view(row: DutyObligation) -> ObligationView:
    return ObligationView(
        id=row.id,
        rule_id=row.rule_id,
        unit=row.unit,
        period=row.period,
        trigger=row.trigger,
        started_at=row.started_at,
        due_at=row.due_at,
        provisional=row.provisional,
        calendar_version=row.calendar_version,
        trace=tuple(row.trace),
        state=row.state,
        met_at=row.met_at,
        evidence=row.evidence,
        entered_by=row.entered_by,
        overdue_noticed_at=row.overdue_noticed_at,
    )


def _note(
    session: Session,
    kind: str,
    payload: Row,
    *,
    actor: str,
    channel: str,
    now: datetime,
    at: datetime | None = None,
) -> None:
    events.append(
        session,
        session.info["audit_key"],
        kind=kind,
        actor=actor,
        channel=channel,
        now=now,
        payload=payload,
        occurred_at=at,
    )


def _named(row: DutyObligation) -> Row:
    return {"rule": row.rule_id, "unit": row.unit, "period": row.period}


def open_period(
    session: Session,
    rule_id: str,
    units: Sequence[str],
    period: str,
    *,
    trigger: str,
    started_at: datetime,
    due_at: datetime,
    provisional: bool,
    calendar_version: str,
    trace: Sequence[str],
    now: datetime,
    actor: str = "system",
    channel: str = "system",
) -> list[str]:
    """Open one duty for each of `units` that does not have it yet; one event for all. Returns the units opened."""
    there = set(
        session.scalars(
            select(DutyObligation.unit).where(
                DutyObligation.rule_id == rule_id, DutyObligation.period == period
            )
        )
    )
    new = [unit for unit in dict.fromkeys(units) if unit not in there]
    if not new:
        return []
    payload = {
        "rule": rule_id,
        "units": new,
        "period": period,
        "trigger": trigger,
        "started_at": started_at.isoformat(),
        "due_at": due_at.isoformat(),
        "provisional": provisional,
        "calendar": calendar_version,
        "trace": list(trace),
        "by": "" if actor == "system" else actor,
    }
    rows: dict[Key, Row] = {}
    _opened(rows, payload)
    session.execute(
        insert(DutyObligation),
        [{"rule_id": rule, "unit": unit, "period": which, **v} for (rule, unit, which), v in rows.items()],
    )
    _note(session, "obligation_opened", payload, actor=actor, channel=channel, now=now)
    session.flush()
    return new


def _open_row(session: Session, obligation_id: int) -> DutyObligation:
    row = session.execute(
        select(DutyObligation).where(DutyObligation.id == obligation_id).with_for_update()
    ).scalar_one_or_none()
    if row is None:
        raise Refused("台账中没有这一项。", f"there is no obligation {obligation_id}")
    if row.state != "open":
        raise Refused(
            "该项已登记办结或撤销，不能再次登记。", f"obligation {obligation_id} is {row.state} already"
        )
    return row


def meet(
    session: Session,
    obligation_id: int,
    *,
    evidence: str,
    met_at: datetime,
    actor: str,
    channel: str,
    now: datetime,
) -> ObligationView:
    """A person enters that a duty was met, with link or document number. Refused without evidence or in the future."""
    row = _open_row(session, obligation_id)
    if not evidence.strip():
        raise Refused("请填写公开链接或文号，作为凭证。", "give the link or document number as evidence")
    if met_at > now:
        raise Refused("办结时间不能晚于现在。", "its time lies in the future")
    if met_at < row.started_at:
        raise Refused("办结时间早于该义务的起算时间。", "its time lies before the duty began")
    payload = {
        **_named(row),
        "evidence": evidence.strip(),
        "met_at": met_at.isoformat(),
        "due_at": row.due_at.isoformat(),
        "state": "met" if met_at <= row.due_at else "late",
    }
    if payload["state"] == "met" and row.overdue_noticed_at is not None:
        payload["annuls"] = "obligation_missed"  # it had been called overdue before its evidence was entered
    row.state, row.met_at, row.evidence = str(payload["state"]), met_at, evidence.strip()
    _note(session, "obligation_met", payload, actor=actor, channel=channel, now=now)
    session.flush()
    return _view(row)


def cancel(
    session: Session, obligation_id: int, *, reason: str, actor: str, channel: str, now: datetime
) -> ObligationView:
    """Take back a duty that does not exist (entered by mistake, unit not concerned). Refused without a reason."""
    row = _open_row(session, obligation_id)
    if not reason.strip():
        raise Refused("撤销须写明理由。", "taking it back needs a reason")
    row.state = "cancelled"
    payload = {**_named(row), "reason": reason.strip()}
    _note(session, "obligation_cancelled", payload, actor=actor, channel=channel, now=now)
    session.flush()
    return _view(row)


def _unnoticed(now: datetime | BindParameter[Any]) -> ColumnElement[bool]:
    return and_(
        DutyObligation.state == "open",
        DutyObligation.due_at < now,
        DutyObligation.overdue_noticed_at.is_(None),
    )


#: asked at every tick: built once
_ANY_MISSED = select(DutyObligation.id).where(_unnoticed(bindparam("now"))).limit(1)


def any_missed(session: Session, now: datetime) -> bool:
    """Whether `notice_missed` would find one."""
    return session.scalar(_ANY_MISSED, {"now": now}) is not None


def notice_missed(session: Session, now: datetime, limit: int = 100) -> int:
    """Note duties that have run out since: an event at their true end. Returns how many."""
    rows = list(
        session.scalars(
            select(DutyObligation)
            .where(_unnoticed(now))
            .order_by(DutyObligation.due_at, DutyObligation.id)
            .limit(limit)
        )
    )
    for row in rows:
        row.overdue_noticed_at = now
        payload = {**_named(row), "due_at": row.due_at.isoformat(), "noticed_at": now.isoformat()}
        _note(session, "obligation_missed", payload, actor="system", channel="system", now=now, at=row.due_at)
    session.flush()
    return len(rows)


def move(
    session: Session,
    obligation_id: int,
    *,
    why: str,
    due_at: datetime,
    provisional: bool,
    calendar_version: str,
    trace: Sequence[str],
    now: datetime,
) -> None:
    """A holiday notice gives an open duty another end; old and new stand in the event."""
    row = session.get_one(DutyObligation, obligation_id)
    payload = {
        **_named(row),
        "why": why,
        "from": row.due_at.isoformat(),
        "to": due_at.isoformat(),
        "old_calendar": row.calendar_version,
        "calendar": calendar_version,
        "provisional": provisional,
        "trace": list(trace),
    }
    if row.overdue_noticed_at is not None and due_at >= now:
        payload["annuls"] = "obligation_missed"
        row.overdue_noticed_at = None
    row.due_at, row.provisional = due_at, provisional
    row.calendar_version, row.trace = calendar_version, list(trace)
    _note(session, "obligation_moved", payload, actor="system", channel="system", now=now)
    session.flush()


def get(session: Session, obligation_id: int) -> ObligationView | None:
    """One row of the register."""
    row = session.get(DutyObligation, obligation_id)
    return _view(row) if row else None


def listed(
    session: Session,
    now: datetime,
    *,
    state: Wanted = "all",
    unit: str = "",
    rule_id: str = "",
    limit: int = 500,
) -> list[ObligationView]:
    """Rows of the register: overdue ones first, then by their end."""
    query = select(DutyObligation)
    if state == "overdue":
        query = query.where(DutyObligation.state == "open", DutyObligation.due_at < now)
    elif state != "all":
        query = query.where(DutyObligation.state == state)
    if unit:
        query = query.where(DutyObligation.unit == unit)
    if rule_id:
        query = query.where(DutyObligation.rule_id == rule_id)
    # what is still to be done comes first, the oldest end on top
    order = (DutyObligation.state != "open", DutyObligation.due_at, DutyObligation.rule_id, DutyObligation.id)
    return [_view(row) for row in session.scalars(query.order_by(*order).limit(limit))]


def open_due_before(session: Session, until: datetime) -> list[ObligationView]:
    """Open duties that end before `until`, overdue ones included, the oldest first."""
    return [
        _view(row)
        for row in session.scalars(
            select(DutyObligation)
            .where(DutyObligation.state == "open", DutyObligation.due_at <= until)
            .order_by(DutyObligation.due_at, DutyObligation.rule_id, DutyObligation.id)
        )
    ]


def open_after(session: Session, after_id: int, limit: int) -> list[ObligationView]:
    """Open duties with a number above `after_id`, ascending: for going through all of them in steps."""
    query = select(DutyObligation).where(DutyObligation.state == "open", DutyObligation.id > after_id)
    return [_view(row) for row in session.scalars(query.order_by(DutyObligation.id).limit(limit))]


def summary_by_unit(session: Session, now: datetime, since: datetime, until: datetime) -> list[UnitSummary]:
    """For each unit: duties whose end lies in [since, until), met in time, late, and overdue now; by unit."""
    rows = session.execute(
        select(DutyObligation.unit, DutyObligation.state, func.count())
        .where(DutyObligation.due_at >= since, DutyObligation.due_at < until)
        .where(DutyObligation.state != "cancelled")
        .group_by(DutyObligation.unit, DutyObligation.state)
    ).all()
    running = session.execute(
        select(DutyObligation.unit, func.count())
        .where(DutyObligation.state == "open", DutyObligation.due_at < now)
        .group_by(DutyObligation.unit)
    ).all()
    late_now: dict[str, int] = {row[0]: row[1] for row in running}
    counts: dict[str, dict[str, int]] = {unit: {} for unit in late_now}
    for unit, state, number in rows:
        counts.setdefault(unit, {})[state] = number
    return [
        UnitSummary(unit, sum(c.values()), c.get("met", 0), c.get("late", 0), late_now.get(unit, 0))
        for unit, c in sorted(counts.items())
    ]


# --- fold: the register as its events give it (incidents.rebuild) --------------------------------------------------


def _time(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _opened(rows: dict[Key, Row], given: Row) -> None:
    for unit in given["units"]:
        rows[(given["rule"], unit, given["period"])] = {
            "trigger": given["trigger"],
            "started_at": _time(given["started_at"]),
            "due_at": _time(given["due_at"]),
            "provisional": given["provisional"],
            "calendar_version": given["calendar"],
            "trace": given["trace"],
            "state": "open",
            "met_at": None,
            "evidence": "",
            "entered_by": given["by"],
            "overdue_noticed_at": None,
        }


def fold(rows: dict[Key, Row], event: IncidentEvent) -> None:
    """Apply one event to the register."""
    given = event.payload
    if event.kind == "obligation_opened":
        _opened(rows, given)
        return
    row = rows.get((given.get("rule"), given.get("unit"), given.get("period")))
    if row is None:
        return
    if event.kind == "obligation_met":
        row.update(state=given["state"], met_at=_time(given["met_at"]), evidence=given["evidence"])
    elif event.kind == "obligation_cancelled":
        row.update(state="cancelled")
    elif event.kind == "obligation_missed":
        row.update(overdue_noticed_at=_time(given["noticed_at"]))
    elif event.kind == "obligation_moved":
        row.update(
            due_at=_time(given["to"]),
            provisional=given["provisional"],
            calendar_version=given["calendar"],
            trace=given["trace"],
        )
        if "annuls" in given:
            row.update(overdue_noticed_at=None)
