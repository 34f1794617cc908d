"""Ratings of the handling by named people, beside the computed score and never part of it; and the written rubric of 回应不妥当.

The six items and their ranges are those of the ranking that 人民网舆情监测室 published on 2009-07-24. A rating is an event `rated`; the row
in `incident_rating` is its fold: the latest word of a reviewer on a round counts, the earlier ones stay in the record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents import lifecycle
from incidents.chunks import chunks
from incidents.models import Incident, IncidentEvent, IncidentRating
from incidents.states import Refused, State

EVENT = "rated"
#: item -> ends of its range: 政府响应, 信息透明度, 政府公信力, 恢复秩序, 动态反应, 官员问责
ITEMS: dict[str, int] = {
    "response": 10,
    "transparency": 10,
    "credibility": 10,
    "order": 5,
    "dynamic": 3,
    "accountability": 3,
}
#: points of the rubric of 回应不妥当; a reviewer who finds an answer improper names at least one
RUBRIC = ("untrue", "evasive", "blaming", "private", "contradictory", "harmful")
#: lower ends of 蓝, 黄 and 橙 of that ranking; below the last one is 红. Colours of the handling, never of a hazard
COLOURS = (("blue", 20.0), ("yellow", 15.0), ("orange", 10.0))
#: states in which there is something to rate
RATED_IN = (State.RESPONDED, State.EVALUATED, State.CLOSED)


@dataclass(frozen=True)
class Rating:
    """The word in force of one reviewer on one round."""

    incident_id: int
    round: int
    reviewer: str
    name: str
    scores: dict[str, float]
    improper: bool
    points: tuple[str, ...]
    note: str
    rated_at: datetime
    seq: int

    @property
    def total(self) -> float:
        """Sum of the six items, -41 to 41."""
        return sum(self.scores.values())


def colour(total: float) -> str:
    """blue, yellow, orange or red, as the ranking of 2009 graded the handling."""
    return next((name for name, least in COLOURS if total >= least), "red")


def rate(
    session: Session,
    incident_id: int,
    *,
    scores: Mapping[str, float],
    improper: bool,
    points: Sequence[str],
    note: str,
    by: str,
    name: str,
    channel: str,
    now: datetime,
) -> bool:
    """Write down a reviewer's rating of the present round; False when it says what the one before said.

    Raises Refused: nothing answered yet, an item missing or out of its range, improper without a point and a reason.
    """
    incident = session.get(Incident, incident_id)
    if incident is None:
        raise Refused("没有这个事件。", f"there is no incident {incident_id}")
    if incident.state not in RATED_IN:
        raise Refused(
            "事件尚未回应，不能评分。", f"incident {incident.number} has no answer in this round yet"
        )
    given = {item: float(scores[item]) for item in ITEMS if item in scores}
    if len(given) != len(ITEMS):
        raise Refused("请填写全部六项评分。", "all six items need a score")
    # written so that a score that is no number is out of every range
    out = [item for item, end in ITEMS.items() if not -end <= given[item] <= end]
    if out:
        end = ITEMS[out[0]]
        raise Refused(f"评分超出范围（−{end} 至 {end}）。", f"{out[0]} must lie between {-end} and {end}")
    if set(points) - set(RUBRIC):
        raise Refused("未知的认定要点。", f"unknown points; one of {', '.join(RUBRIC)}")
    if improper and not (points and note.strip()):
        raise Refused(
            "认定回应不妥当须勾选要点并写明理由。",
            "an improper answer needs a point of the rubric and a reason",
        )
    payload = {
        "round": incident.round,
        "name": name,
        "scores": given,
        "improper": improper,
        "points": [point for point in RUBRIC if point in points] if improper else [],
        "note": note.strip(),
        "rated_at": now.isoformat(),
    }
    row = session.get(IncidentRating, (incident_id, incident.round, by))
    if row is not None and all(getattr(row, field) == payload[field] for field in _SAID):
        return False
    event = lifecycle.record(session, incident_id, EVENT, payload, actor=by, channel=channel, now=now)
    assert event is not None  # no key of once only
    if row is None:
        row = IncidentRating(incident_id=incident_id, round=incident.round, reviewer=by)
        session.add(row)
    for field in (*_SAID, "name"):
        setattr(row, field, payload[field])
    row.rated_at, row.seq = now, event.seq
    session.flush()
    return True


_SAID = ("scores", "improper", "points", "note")


def ratings_of(session: Session, incident_ids: Sequence[int]) -> dict[int, tuple[Rating, ...]]:
    """Ratings of these incidents, by round and reviewer; incidents without one are left out."""
    found: dict[int, list[Rating]] = {}
    for chunk in chunks(sorted(set(incident_ids))):
        for row in session.scalars(select(IncidentRating).where(IncidentRating.incident_id.in_(chunk))):
            found.setdefault(row.incident_id, []).append(_view(row))
    return _sorted(found)


def all_ratings(session: Session) -> dict[int, tuple[Rating, ...]]:
    """Every rating: what the agreement of reviewers is measured on."""
    found: dict[int, list[Rating]] = {}
    for row in session.scalars(select(IncidentRating)):
        found.setdefault(row.incident_id, []).append(_view(row))
    return _sorted(found)


def _sorted(found: dict[int, list[Rating]]) -> dict[int, tuple[Rating, ...]]:
    return {key: tuple(sorted(rows, key=lambda r: (r.round, r.reviewer))) for key, rows in found.items()}


def _view(row: IncidentRating) -> Rating:
    return Rating(
        row.incident_id,
        row.round,
        row.reviewer,
        row.name,
        {item: float(row.scores[item]) for item in ITEMS},
        row.improper,
        tuple(row.points),
        row.note,
        row.rated_at,
        row.seq,
    )


def fold(rows: dict[tuple[Any, ...], dict[str, Any]], event: IncidentEvent) -> None:
    """The row that an event gives (incidents.rebuild)."""
    if event.kind == EVENT:
        given = event.payload
        rows[event.incident_id, given["round"], event.actor] = {
            "name": given["name"],
            "scores": given["scores"],
            "improper": given["improper"],
            "points": given["points"],
            "note": given["note"],
            "rated_at": datetime.fromisoformat(given["rated_at"]),
            "seq": event.seq,
        }
