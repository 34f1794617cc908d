"""Appeals 申诉: a unit objects to what it is charged with, another person than the one who first decided decides.

A row is a fold of `appeal_filed` and `appeal_decided`. `about` says what it is against: `clock:R03:1` (a missed clock of a
case), `measure:L3:R03:1` (an approved step of the ladder), `row:2026-11` (the unit's line of a period).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents import lifecycle
from incidents.models import Accountability, Appeal, Deadline, Incident, IncidentEvent, ReportRun
from incidents.states import Refused

OUTCOMES = ("upheld", "changed", "dismissed")
#: outcomes after which the unit no longer answers for what it appealed against
TAKEN_AWAY = ("upheld", "changed")


@dataclass(frozen=True)
class AppealView:
    """One appeal. `state`: filed | upheld | changed | dismissed."""

    id: int
    unit: str
    about: str
    incident_id: int | None
    number: str
    filed_by: str
    filed_at: datetime
    reason: str
    evidence: str
    decide_due_at: datetime
    provisional: bool
    trace: tuple[str, ...]
    state: str
    decided_by: str
    decided_at: datetime | None
    decision_reason: str
    changed_to: str

    @property
    def kind(self) -> str:
        """clock, measure or row."""
        return self.about.partition(":")[0]

    @property
    def key(self) -> str:
        """What it is about, without its kind."""
        return self.about.partition(":")[2]

    def overdue(self, now: datetime) -> bool:
        """Whether it should have been decided by now."""
        return self.decide_due_at < (self.decided_at or now)


@dataclass(frozen=True)
class Notice:
    """What an appeal is against: since when the unit could know, and who had decided (logins; empty: nobody did)."""

    at: datetime
    deciders: tuple[str, ...]


def _view(row: Appeal, number: str | None) -> AppealView:
    return AppealView(
        row.id,
        row.unit,
        row.about,
        row.incident_id,
        number or "",
        row.filed_by,
        row.filed_at,
        row.reason,
        row.evidence,
        row.decide_due_at,
        row.provisional,
        tuple(row.trace),
        row.state,
        row.decided_by,
        row.decided_at,
        row.decision_reason,
        row.changed_to,
    )


def notice_of(
    session: Session, about: str, unit: str, incident_id: int | None, names: Sequence[str] = ()
) -> Notice:
    """When the unit could know of it. Raises Refused when there is nothing of this unit to appeal against.

    `names`: other names under which events may speak of the unit.
    """
    kind, _, key = about.partition(":")
    nothing = Refused("没有可以申诉的事项。", f"there is nothing of {unit} to appeal against: {about}")
    if kind == "row":
        return _row_notice(session, key, nothing)
    if incident_id is None:
        raise nothing
    if kind == "clock":
        return _clock_notice(session, key, {unit, *names}, incident_id, nothing)
    if kind == "measure":
        return _measure_notice(session, key, {unit, *names}, incident_id, nothing)
    raise nothing


def _row_notice(session: Session, period: str, nothing: Refused) -> Notice:
    runs = session.scalars(
        select(ReportRun)
        .where(ReportRun.report == "accountability", ReportRun.period == period)
        .order_by(ReportRun.revision)
    )
    whole = [run for run in runs if str(run.model["as_of"]) >= str(run.model["until"])]
    if not whole:
        raise nothing  # a table that still runs is no decision
    return Notice(whole[-1].created_at, ())


def _clock_notice(session: Session, key: str, units: set[str], incident_id: int, nothing: Refused) -> Notice:
    rule, _, round_ = key.rpartition(":")
    if not re.fullmatch(r"[1-9][0-9]{0,5}", round_):
        raise nothing  # one clock has one name: 01 or a full-width 1 would be a second appeal
    clock = session.scalar(
        select(Deadline).where(
            Deadline.incident_id == incident_id,
            Deadline.rule_id == rule,
            Deadline.round == int(round_),
        )
    )
    assigned = session.scalars(
        select(IncidentEvent).where(
            IncidentEvent.incident_id == incident_id, IncidentEvent.kind == "assigned"
        )
    )
    if clock is None or not any(event.payload.get("department") in units for event in assigned):
        raise nothing
    missed = clock.state == "missed" or (clock.state == "open" and clock.overdue_noticed_at is not None)
    if not missed:
        raise Refused("该时限没有超时，无须申诉。", "this clock was not missed")
    return Notice(clock.overdue_noticed_at or clock.closed_at or clock.due_at, ())


def _measure_notice(
    session: Session, key: str, units: set[str], incident_id: int, nothing: Refused
) -> Notice:
    step = session.scalar(
        select(Accountability).where(Accountability.incident_id == incident_id, Accountability.key == key)
    )
    if step is None or step.department not in units:
        raise nothing
    if step.state != "approved" or step.decided_at is None:
        raise Refused("该措施尚未批准，无须申诉。", "this step was not approved")
    decided = session.scalars(
        select(IncidentEvent).where(
            IncidentEvent.incident_id == incident_id, IncidentEvent.kind == "accountability_decided"
        )
    )
    by = tuple(event.actor for event in decided if event.payload["key"] == key)
    return Notice(step.decided_at, by)


def file(
    session: Session,
    *,
    unit: str,
    about: str,
    incident_id: int | None,
    names: Sequence[str] = (),
    reason: str,
    evidence: str,
    file_due_at: datetime,
    decide_due_at: datetime,
    provisional: bool,
    trace: Sequence[str],
    by: str,
    channel: str,
    now: datetime,
) -> int:
    """A unit appeals. Raises Refused: nothing to appeal against, too late, no reason or evidence, appealed before."""
    notice_of(session, about, unit, incident_id, names)
    if not reason.strip():
        raise Refused("申诉须写明理由。", "an appeal needs a reason")
    if not evidence.strip():
        raise Refused("申诉须附证据链接或文号。", "an appeal needs a link or document number as evidence")
    if now > file_due_at:
        raise Refused(
            f"申诉期限已于 {file_due_at.isoformat()} 届满。",
            f"the time to appeal ended at {file_due_at.isoformat()}",
        )
    if _same(session, unit, about, incident_id) is not None:
        raise Refused("同一事项只能申诉一次。", "the same thing can be appealed against once")
    row = Appeal(
        unit=unit,
        about=about,
        incident_id=incident_id,
        filed_by=by,
        filed_at=now,
        reason=reason.strip(),
        evidence=evidence.strip(),
        decide_due_at=decide_due_at,
        provisional=provisional,
        trace=list(trace),
    )
    session.add(row)
    session.flush()
    _record(
        session,
        row,
        "appeal_filed",
        {
            "unit": unit,
            "about": about,
            "reason": row.reason,
            "evidence": row.evidence,
            "file_due_at": file_due_at.isoformat(),
            "decide_due_at": decide_due_at.isoformat(),
            "provisional": provisional,
            "trace": list(trace),
            "filed_at": now.isoformat(),
        },
        by,
        channel,
        now,
    )
    return row.id


def _same(session: Session, unit: str, about: str, incident_id: int | None) -> Appeal | None:
    same = Appeal.incident_id.is_(None) if incident_id is None else Appeal.incident_id == incident_id
    return session.scalar(select(Appeal).where(Appeal.unit == unit, Appeal.about == about, same))


def decide(
    session: Session,
    appeal_id: int,
    *,
    outcome: str,
    reason: str,
    changed_to: str = "",
    by: str,
    channel: str,
    now: datetime,
) -> AppealView:
    """A person decides: upheld, changed (charged to `changed_to` instead) or dismissed, always with a reason.

    Raises Refused for whoever filed it or decided first, and when it was decided before.
    """
    row = session.scalar(select(Appeal).where(Appeal.id == appeal_id).with_for_update())
    if row is None:
        raise Refused("没有这项申诉。", f"there is no appeal {appeal_id}")
    if row.state != "filed":
        raise Refused("该申诉已有决定。", f"this appeal is {row.state} already")
    if outcome not in OUTCOMES:
        raise Refused("请选择申诉结果。", f"unknown outcome {outcome!r}; one of {', '.join(OUTCOMES)}")
    if not reason.strip():
        raise Refused("决定须写明理由。", "a decision needs a reason")
    if outcome == "changed" and not changed_to.strip():
        raise Refused("改记须写明改由哪个环节承担。", "a change needs what it is charged to instead")
    first = _first_deciders(session, row)
    if by == row.filed_by or by in first:
        raise Refused(
            "申诉须由原决定人、申诉人以外的人决定。",
            "an appeal is decided by somebody who neither filed it nor decided first",
        )
    row.state, row.decided_by, row.decided_at = outcome, by, now
    row.decision_reason = reason.strip()
    row.changed_to = changed_to.strip() if outcome == "changed" else ""
    _record(
        session,
        row,
        "appeal_decided",
        {
            "state": outcome,
            "reason": row.decision_reason,
            "changed_to": row.changed_to,
            "decided_at": now.isoformat(),
        },
        by,
        channel,
        now,
    )
    session.flush()
    return _view(row, _number(session, row.incident_id))


def _first_deciders(session: Session, row: Appeal) -> tuple[str, ...]:
    """Who had decided what is appealed against; a measure that is gone by now had been decided all the same."""
    kind, _, key = row.about.partition(":")
    if kind != "measure":
        return ()
    decided = session.scalars(
        select(IncidentEvent).where(
            IncidentEvent.incident_id == row.incident_id, IncidentEvent.kind == "accountability_decided"
        )
    )
    return tuple(event.actor for event in decided if event.payload["key"] == key)


def _number(session: Session, incident_id: int | None) -> str | None:
    return (
        session.scalar(select(Incident.number).where(Incident.id == incident_id))
        if incident_id is not None
        else None
    )


def _record(
    session: Session, row: Appeal, kind: str, about: dict[str, Any], actor: str, channel: str, now: datetime
) -> None:
    """In the history of its case; of a row without a case among the acts that concern none."""
    payload = {"appeal": row.id, **about}
    if row.incident_id is None:
        lifecycle.record_act(session, kind, payload, actor=actor, channel=channel, now=now)
        return
    lifecycle.record(
        session,
        row.incident_id,
        kind,
        payload,
        actor=actor,
        channel=channel,
        now=now,
        idempotency_key=f"{kind}:{row.id}",
    )


def get(session: Session, appeal_id: int) -> AppealView | None:
    """One appeal."""
    row = session.get(Appeal, appeal_id)
    return None if row is None else _view(row, _number(session, row.incident_id))


def listed(
    session: Session, *, unit: str = "", before: datetime | None = None, limit: int = 5000
) -> list[AppealView]:
    """Appeals (of one unit, filed before a time), those that wait first, the oldest on top."""
    query = select(Appeal, Incident.number).outerjoin(Incident, Incident.id == Appeal.incident_id)
    if unit:
        query = query.where(Appeal.unit == unit)
    if before is not None:
        query = query.where(Appeal.filed_at < before)
    order = (Appeal.state != "filed", Appeal.decide_due_at, Appeal.id)
    return [_view(row, number) for row, number in session.execute(query.order_by(*order).limit(limit))]


def fold(rows: dict[tuple[Any, ...], dict[str, Any]], event: IncidentEvent) -> None:
    """What the record says of appeals (incidents.rebuild)."""
    given = event.payload
    if event.kind == "appeal_filed":
        rows[(given["appeal"],)] = {
            "unit": given["unit"],
            "about": given["about"],
            "incident_id": event.incident_id,
            "filed_by": event.actor,
            "filed_at": datetime.fromisoformat(given["filed_at"]),
            "reason": given["reason"],
            "evidence": given["evidence"],
            "decide_due_at": datetime.fromisoformat(given["decide_due_at"]),
            "provisional": given["provisional"],
            "trace": given["trace"],
            "state": "filed",
            "decided_by": "",
            "decided_at": None,
            "decision_reason": "",
            "changed_to": "",
        }
    elif event.kind == "appeal_decided":
        rows[(given["appeal"],)].update(
            state=given["state"],
            decided_by=event.actor,
            decided_at=datetime.fromisoformat(given["decided_at"]),
            decision_reason=given["reason"],
            changed_to=given["changed_to"],
        )
