"""Two people unmask: one asks with a reason to see what is masked for the own role, another grants it for a while."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents import lifecycle
from incidents.models import Incident, IncidentEvent, Unmask
from incidents.states import Refused

#: an answer is expected within this time; later the question has to be asked again
WAITS = timedelta(hours=24)


@dataclass(frozen=True)
class UnmaskView:
    """One request and what became of it. `state`: asked | granted | refused; `until`: end of what was granted."""

    id: int
    incident_id: int
    number: str
    asked_by: str
    asked_at: datetime
    reason: str
    state: str
    decided_by: str
    decided_at: datetime | None
    decision_reason: str
    until: datetime | None

    def holds(self, now: datetime) -> bool:
        """Whether it lets the person see at this moment."""
        return self.state == "granted" and self.until is not None and now < self.until

    def waits(self, now: datetime) -> bool:
        """Whether an answer is still expected."""
        return self.state == "asked" and now < self.asked_at + WAITS


def _view(row: Unmask, number: str | None) -> UnmaskView:
    return UnmaskView(
        row.id,
        row.incident_id,
        number or "",
        row.asked_by,
        row.asked_at,
        row.reason,
        row.state,
        row.decided_by,
        row.decided_at,
        row.decision_reason,
        row.until,
    )


def ask(session: Session, incident_id: int, *, by: str, reason: str, channel: str, now: datetime) -> int:
    """Ask to see. Raises Refused without a reason, or while an earlier request of the person waits or holds."""
    if not reason.strip():
        raise Refused("申请查看须写明理由。", "a request to see needs a reason")
    mine = latest(session, incident_id, by)
    if mine is not None and (mine.waits(now) or mine.holds(now)):
        raise Refused("您的申请正在等待批准或仍在有效期内。", "your earlier request waits or still holds")
    row = Unmask(incident_id=incident_id, asked_by=by, asked_at=now, reason=reason)
    session.add(row)
    session.flush()
    _record(session, row, "unmask_asked", {"reason": reason}, by, channel, now)
    return row.id


def decide(
    session: Session,
    unmask_id: int,
    *,
    by: str,
    grant: bool,
    reason: str,
    lasts: timedelta,
    channel: str,
    now: datetime,
) -> UnmaskView:
    """Grant for `lasts`, or refuse. Raises Refused for one's own request, and when it does not wait any more."""
    row = session.scalar(select(Unmask).where(Unmask.id == unmask_id).with_for_update())
    if row is None:
        raise Refused("没有这项申请。", f"there is no request {unmask_id}")
    if row.asked_by == by:
        raise Refused("不能批准自己的申请，须由另一人决定。", "nobody decides on their own request")
    if not _view(row, "").waits(now):
        raise Refused("该申请已有决定或已过期。", "the request was decided, or has expired")
    if not grant and not reason.strip():
        raise Refused("不批准须写明理由。", "a refusal needs a reason")
    row.state, row.decided_by, row.decided_at = ("granted" if grant else "refused"), by, now
    row.decision_reason, row.until = reason, now + lasts if grant else None
    about = {"for": row.asked_by, "reason": reason, "until": row.until.isoformat() if row.until else None}
    _record(session, row, "unmask_granted" if grant else "unmask_refused", about, by, channel, now)
    session.flush()
    return _view(row, _number(session, row.incident_id))


def latest(session: Session, incident_id: int, login: str) -> UnmaskView | None:
    """The newest request of one person for one incident."""
    row = session.scalar(
        select(Unmask)
        .where(Unmask.incident_id == incident_id, Unmask.asked_by == login)
        .order_by(Unmask.id.desc())
        .limit(1)
    )
    return _view(row, _number(session, incident_id)) if row is not None else None


def waiting(session: Session, now: datetime, incident_id: int | None = None) -> list[UnmaskView]:
    """Requests that wait for an answer, the oldest first."""
    query = select(Unmask).where(Unmask.state == "asked", Unmask.asked_at > now - WAITS).order_by(Unmask.id)
    if incident_id is not None:
        query = query.where(Unmask.incident_id == incident_id)
    return [_view(row, _number(session, row.incident_id)) for row in session.scalars(query)]


def recent(session: Session, limit: int = 50) -> list[UnmaskView]:
    """Decided requests, the newest first."""
    rows = session.scalars(
        select(Unmask).where(Unmask.state != "asked").order_by(Unmask.id.desc()).limit(limit)
    )
    return [_view(row, _number(session, row.incident_id)) for row in rows]


def _number(session: Session, incident_id: int) -> str | None:
    return session.scalar(select(Incident.number).where(Incident.id == incident_id))


def _record(
    session: Session, row: Unmask, kind: str, about: dict[str, Any], actor: str, channel: str, now: datetime
) -> None:
    lifecycle.record_act(
        session,
        kind,
        {"request": row.id, **about},
        actor=actor,
        channel=channel,
        now=now,
        incident_id=row.incident_id,
    )


def fold(rows: dict[tuple[Any, ...], dict[str, Any]], event: IncidentEvent) -> None:
    """What the record says of requests (incidents.rebuild)."""
    given = event.payload
    if event.kind == "unmask_asked":
        rows[(given["request"],)] = {
            "incident_id": given["incident_id"],
            "asked_by": event.actor,
            "asked_at": event.occurred_at,
            "reason": given["reason"],
            "state": "asked",
            "decided_by": "",
            "decided_at": None,
            "decision_reason": "",
            "until": None,
        }
    elif event.kind in ("unmask_granted", "unmask_refused"):
        until = given["until"]
        rows[(given["request"],)].update(
            state=event.kind.removeprefix("unmask_"),
            decided_by=event.actor,
            decided_at=event.occurred_at,
            decision_reason=given["reason"],
            until=datetime.fromisoformat(until) if until else None,
        )
