"""Steps of the accountability ladder L3 to L7: the software proposes, a named person decides, both stand in the record.

Rows are a fold of the events `accountability_proposed`, `accountability_decided` and `accountability_withdrawn`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents import lifecycle
from incidents.models import Accountability, Incident
from incidents.states import Refused

#: grounds of the notice, part 五(二): 处置不力, 回应不妥当, 报告不及时; nothing else is one
GROUNDS = ("poor_handling", "improper_reply", "late_report")
#: levels whose decision needs a named approver with a written reason
APPROVED_FROM = 4
#: levels that are proposals to accuse: only with one of the grounds, only for grave matters
GROUNDED_FROM = 6


@dataclass(frozen=True)
class Proposal:
    """One proposed or decided step."""

    id: int
    incident_id: int
    number: str
    title: str
    key: str
    level: str
    department: str
    ground: str
    evidence: dict[str, Any]
    state: str
    made_at: datetime
    decided_at: datetime | None
    decided_by: str
    decision_reason: str

    @property
    def rank(self) -> int:
        """3 for L3 to 7 for L7."""
        return int(self.level[1:])


def _view(row: Accountability, incident: Incident) -> Proposal:
    return Proposal(
        row.id,
        row.incident_id,
        incident.number or "",
        incident.title,
        row.key,
        row.level,
        row.department,
        row.ground,
        row.evidence,
        row.state,
        row.made_at,
        row.decided_at,
        row.decided_by,
        row.decision_reason,
    )


def propose(
    session: Session,
    incident_id: int,
    *,
    key: str,
    level: str,
    department: str,
    evidence: dict[str, Any],
    now: datetime,
) -> bool:
    """Propose one step; False when the same cause was proposed before, whatever became of it."""
    payload = {
        "key": key,
        "level": level,
        "department": department,
        "evidence": evidence,
        "made_at": now.isoformat(),
    }
    if not lifecycle.record(
        session,
        incident_id,
        "accountability_proposed",
        payload,
        now=now,
        idempotency_key=f"{incident_id}:accountability:{key}",
    ):
        return False
    session.add(
        Accountability(
            incident_id=incident_id,
            key=key,
            level=level,
            department=department,
            evidence=evidence,
            made_at=now,
        )
    )
    session.flush()
    return True


def decide(
    session: Session,
    proposal_id: int,
    *,
    approve: bool,
    by: str,
    name: str,
    reason: str,
    ground: str,
    channel: str,
    now: datetime,
) -> Proposal:
    """A person decides. `by` is the account, `name` the person who answers for it.

    Raises Refused: decided before, no reason, no ground where one is needed.
    """
    row = session.get(Accountability, proposal_id, with_for_update=True)
    if row is None:
        raise Refused("没有这项建议。", f"there is no proposal {proposal_id}")
    incident = session.get_one(Incident, row.incident_id)
    if row.state != "open":
        raise Refused("该建议已处理。", f"this proposal is {row.state} already")
    rank = int(row.level[1:])
    if not reason.strip():
        raise Refused("请写明理由。", "give the reason")
    if rank >= APPROVED_FROM and not name.strip():
        raise Refused("请注明批准人。", "name the approver")
    if approve and rank >= GROUNDED_FROM:
        if ground not in GROUNDS:
            raise Refused(
                "须认定处置不力、回应不妥当、报告不及时之一。",
                f"one of the three grounds of the notice is needed: {', '.join(GROUNDS)}",
            )
        if incident.level not in ("major", "critical"):
            raise Refused("仅适用于重大以上政务舆情。", "only for major or critical matters")
    else:
        ground = ""
    row.state = "approved" if approve else "declined"
    row.decided_at, row.decided_by, row.decision_reason = now, name.strip() or by, reason.strip()
    row.ground = ground
    lifecycle.record(
        session,
        row.incident_id,
        "accountability_decided",
        {
            "key": row.key,
            "level": row.level,
            "state": row.state,
            "by": row.decided_by,
            "reason": row.decision_reason,
            "ground": ground,
            "decided_at": now.isoformat(),
        },
        actor=by,
        channel=channel,
        now=now,
        idempotency_key=f"{row.incident_id}:accountability-decided:{row.key}",
    )
    session.flush()
    return _view(row, incident)


def withdraw(session: Session, incident_id: int, *, why: str, now: datetime, about: str | None = None) -> int:
    """Take open proposals of an incident back because their cause is gone; returns how many.

    `about` limits it to keys that end so (":R03:1").
    """
    rows = session.scalars(
        select(Accountability).where(
            Accountability.incident_id == incident_id, Accountability.state == "open"
        )
    )
    count = 0
    for row in rows:
        if about is not None and not row.key.endswith(about):
            continue
        row.state, row.decided_at, row.decided_by, row.decision_reason = "withdrawn", now, "system", why
        lifecycle.record(
            session,
            incident_id,
            "accountability_withdrawn",
            {"key": row.key, "level": row.level, "why": why, "decided_at": now.isoformat()},
            now=now,
            idempotency_key=f"{incident_id}:accountability-withdrawn:{row.key}",
        )
        count += 1
    session.flush()
    return count


def get(session: Session, proposal_id: int) -> Proposal | None:
    """One proposed or decided step, or None."""
    row = session.get(Accountability, proposal_id)
    return None if row is None else _view(row, session.get_one(Incident, row.incident_id))


def of_incident(session: Session, incident_id: int) -> list[Proposal]:
    """Every step proposed for one incident, oldest first."""
    return _list(session, select(Accountability, Incident).where(Accountability.incident_id == incident_id))


def listed(session: Session, states: Sequence[str] = ("open",), limit: int = 200) -> list[Proposal]:
    """Steps in these states, the gravest first."""
    return _list(
        session, select(Accountability, Incident).where(Accountability.state.in_(states)).limit(limit)
    )


def _list(session: Session, query: Any) -> list[Proposal]:
    rows = session.execute(
        query.join(Incident, Incident.id == Accountability.incident_id).order_by(
            Accountability.level.desc(), Accountability.made_at, Accountability.id
        )
    )
    return [_view(row, incident) for row, incident in rows]
