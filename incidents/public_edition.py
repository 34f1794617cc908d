"""Approval of a public edition: an event that names the person, the month and the digest of exactly what may be told."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents import lifecycle, report_runs
from incidents.models import IncidentEvent
from incidents.states import Refused

REPORT = "public"


@dataclass(frozen=True)
class Decision:
    """The latest word on one edition."""

    period: str
    digest: str
    approved: bool
    name: str
    reason: str
    at: datetime


def decision(session: Session, period: str, digest: str) -> Decision | None:
    """What was decided on this edition of this month; None when nobody has."""
    rows = session.scalars(
        select(IncidentEvent).where(IncidentEvent.kind == "public_decided").order_by(IncidentEvent.seq.desc())
    )
    for event in rows:
        given = event.payload
        if (given["period"], given["digest"]) == (period, digest):
            return Decision(
                period, digest, given["approved"], given["name"], given["reason"], event.occurred_at
            )
    return None


def decide(
    session: Session,
    period: str,
    digest: str,
    *,
    approve: bool,
    name: str,
    reason: str,
    by: str,
    channel: str,
    now: datetime,
) -> None:
    """A named person lets exactly this edition be published, or not. Raises Refused for another one than the newest."""
    runs = report_runs.runs(session, REPORT, period)
    if not runs or runs[-1].digest != digest:
        raise Refused("公开版已更新，请重新查看后再定。", "the edition has changed since: read it again")
    if not name.strip():
        raise Refused("请注明批准人。", "name the approver")
    if not reason.strip():
        raise Refused("请写明理由。", "give the reason")
    lifecycle.record_act(
        session,
        "public_decided",
        {
            "period": period,
            "digest": digest,
            "approved": approve,
            "name": name.strip(),
            "reason": reason.strip(),
        },
        actor=by,
        channel=channel,
        now=now,
    )
