"""What people said of hot titles: each word is an event, the latest one of a title stands in `hot_verdict`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents.chunks import chunks
from incidents.lifecycle import record_act
from incidents.models import HotTitle, HotVerdict, Incident, IncidentEvent
from incidents.states import Refused

#: the matter of incident N | ours, and nobody knew of it | not a matter of this city or not of a watched subject
VERDICTS = ("same", "missed", "not_ours")
EVENT = "hot_title"


@dataclass(frozen=True)
class Said:
    """The latest word on a title. `incident_id` with verdict `same` only."""

    verdict: str
    incident_id: int | None
    decided_by: str
    decided_at: datetime


def said(session: Session, titles: Sequence[int], as_of: datetime | None) -> dict[int, Said]:
    """The word in force of each of these titles that has one; with `as_of` the one that was in force just before it.

    What was changed later must not change the figures of a report that was sent: the earlier word stands in the events alone.
    """
    found: dict[int, Said] = {}
    for chunk in chunks(titles):
        for row in session.scalars(select(HotVerdict).where(HotVerdict.title_id.in_(chunk))):
            found[row.title_id] = Said(row.verdict, row.incident_id, row.decided_by, row.decided_at)
    if as_of is None or all(one.decided_at < as_of for one in found.values()):
        return found
    earlier: dict[tuple[Any, ...], dict[str, Any]] = {}
    query = select(IncidentEvent).where(IncidentEvent.kind == EVENT).order_by(IncidentEvent.seq)
    for event in session.scalars(query):
        if event.payload["title"] in found and datetime.fromisoformat(event.payload["decided_at"]) < as_of:
            fold(earlier, event)
    return {key[0]: Said(**row) for key, row in earlier.items()}


def decide(
    session: Session,
    title_id: int,
    verdict: str,
    *,
    number: str = "",
    actor: str,
    channel: str,
    now: datetime,
) -> None:
    """Write down what a person says of a title, as an event with its actor. `number`: the incident of `same`.

    Raises Refused for a title that is not there, an unknown verdict or a number that no incident has.
    """
    title = session.get(HotTitle, title_id)
    if title is None:
        raise Refused(
            "没有这条热榜标题，可能已超过保存期限。",
            "There is no such hot title; it may be past its retention.",
        )
    if verdict not in VERDICTS:
        raise Refused(
            "请选择：属于某一事件、漏报，或与本市无关。", "Choose: part of an incident, missed, or not ours."
        )
    incident_id: int | None = None
    if verdict == "same":
        incident_id = session.scalar(select(Incident.id).where(Incident.number == number.strip().upper()))
        if incident_id is None:
            raise Refused(
                f"没有编号为“{number.strip()}”的事件，请核对编号。",
                f"No incident has the number {number.strip()!r}; check it.",
            )
    held = session.get(HotVerdict, title_id)
    before = held.verdict if held is not None and held.decided_at >= title.first_seen_at else ""
    record_act(
        session,
        EVENT,
        {
            "title": title_id,
            "verdict": verdict,
            "of_incident": incident_id,
            "was": before,
            "decided_at": now.isoformat(),
        },
        actor=actor,
        channel=channel,
        now=now,
    )
    if held is None:
        held = HotVerdict(title_id=title_id)
        session.add(held)
    held.verdict, held.incident_id, held.decided_by, held.decided_at = verdict, incident_id, actor, now
    session.flush()


def fold(rows: dict[tuple[Any, ...], dict[str, Any]], event: IncidentEvent) -> None:
    """The row of `hot_verdict` that an event gives (incidents.rebuild)."""
    if event.kind == EVENT:
        given = event.payload
        rows[(given["title"],)] = {
            "verdict": given["verdict"],
            "incident_id": given["of_incident"],
            "decided_by": event.actor,
            "decided_at": datetime.fromisoformat(given["decided_at"]),
        }
