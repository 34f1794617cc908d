"""Waiting for somebody's approval 送审: from when to when a unit could not act because it waited for another one's word.

Two events in the history of the case, `approval_asked` and `approval_given`; no clock is moved by them. They only say whose
time it was.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from incidents import lifecycle
from incidents.states import Refused, State


@dataclass(frozen=True)
class Waiting:
    """What waits for approval now."""

    what: str
    approver: str
    asked_by: str
    asked_at: datetime


def waiting(session: Session, incident_id: int) -> Waiting | None:
    """What this case waits for, None when it waits for nobody. Another assignment, a return or an answer ends the wait."""
    found: Waiting | None = None
    for event in lifecycle.history_of(session, incident_id):
        if event.kind == "approval_asked":
            given = event.payload
            found = Waiting(given["what"], given["approver"], event.actor, event.occurred_at)
        elif event.kind in (
            "approval_given",
            "assigned",
            "returned",
            "responded",
            "closed",
            "merged",
            "false_alarm",
        ):
            found = None
    return found


def ask(
    session: Session, incident_id: int, *, what: str, approver: str, by: str, channel: str, now: datetime
) -> None:
    """A unit hands something to an approver. Raises Refused without what or whom, twice, or when nobody works on the case."""
    situation = lifecycle.situation_of(session, incident_id)
    if situation.state not in (State.ASSIGNED, State.ACKNOWLEDGED):
        raise Refused(
            "只有正在办理的事件可以送审。", "only a case that somebody works on can wait for approval"
        )
    if not what.strip() or not approver.strip():
        raise Refused("请写明送审内容和审批人。", "say what is handed in and who approves it")
    if waiting(session, incident_id) is not None:
        raise Refused("已在等待审批。", "it waits for an approval already")
    payload = {"what": what.strip(), "approver": approver.strip()}
    lifecycle.record(session, incident_id, "approval_asked", payload, actor=by, channel=channel, now=now)


def give(
    session: Session, incident_id: int, *, granted: bool, note: str, by: str, channel: str, now: datetime
) -> None:
    """The approver's word is there, whichever it is. Raises Refused when nothing waits, or to whoever asked."""
    asked = waiting(session, incident_id)
    if asked is None:
        raise Refused("没有等待审批的事项。", "nothing waits for approval")
    if asked.asked_by == by:
        raise Refused("不能审批自己送审的事项。", "nobody approves what they handed in themselves")
    if not granted and not note.strip():
        raise Refused("不同意须写明理由。", "a refusal needs a reason")
    payload = {"granted": granted, "note": note.strip()}
    lifecycle.record(session, incident_id, "approval_given", payload, actor=by, channel=channel, now=now)
