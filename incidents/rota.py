"""Changes of the roster made at the console, and hand-overs: rows that are folds of their acts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, or_, select
from sqlalchemy.orm import Session

from incidents import lifecycle
from incidents.models import Handover, IncidentEvent, RosterChange
from incidents.states import Refused

KINDS = ("override", "swap", "leave")


@dataclass(frozen=True)
class Change:
    """One change. A leave and a stand-in hold at once; a swap only once the other person has taken it."""

    id: int
    kind: str
    role: str
    person: str
    stand_in: str
    start: datetime
    until: datetime
    reason: str
    state: str  # asked | taken | declined | withdrawn
    made_by: str
    made_at: datetime
    decided_by: str
    decided_at: datetime | None


@dataclass(frozen=True)
class HandoverView:
    """One hand-over. `given_at` and `taken_at` are the two receipts."""

    id: int
    role: str
    shift_end: datetime
    outgoing: str
    incoming: str
    offered_at: datetime
    given_at: datetime | None
    given_note: str
    taken_at: datetime | None
    taken_note: str
    open_incidents: tuple[str, ...]


#: asked at every tick: built once
_CHANGES = (
    select(RosterChange)
    .where(
        RosterChange.until > bindparam("since"), RosterChange.state.in_(bindparam("states", expanding=True))
    )
    .order_by(RosterChange.id)
)
_LAST = (
    select(Handover).where(Handover.role == bindparam("wanted")).order_by(Handover.shift_end.desc()).limit(1)
)


def _change(row: RosterChange) -> Change:
    return Change(
        row.id,
        row.kind,
        row.role,
        row.person,
        row.stand_in,
        row.start,
        row.until,
        row.reason,
        row.state,
        row.made_by,
        row.made_at,
        row.decided_by,
        row.decided_at,
    )


def changes(session: Session, since: datetime, *, states: tuple[str, ...] = ("taken",)) -> list[Change]:
    """Changes that end after `since`, in the order in which they were made."""
    return [_change(row) for row in session.scalars(_CHANGES, {"since": since, "states": list(states)})]


def add(
    session: Session,
    *,
    kind: str,
    role: str,
    person: str,
    stand_in: str,
    start: datetime,
    until: datetime,
    reason: str,
    by: str,
    channel: str,
    now: datetime,
) -> Change:
    """Ask for a swap, or enter a stand-in or a leave. Raises Refused, with what is wrong."""
    if kind not in KINDS:
        raise Refused("未知的变更种类。", f"unknown kind {kind!r}; one of {', '.join(KINDS)}")
    if until <= start:
        raise Refused("结束时间应晚于开始时间。", "the end must come after the beginning")
    if until <= now:
        raise Refused("不能变更已过去的班次。", "a shift that is over cannot be changed")
    if kind != "leave" and (not role or not stand_in or stand_in == person):
        raise Refused("请选择角色和另一位替班人员。", "choose a role and another person to stand in")
    if not reason.strip():
        raise Refused("请写明理由。", "give the reason")
    for other in changes(session, now, states=("taken", "asked")):
        overlaps = other.start < until and start < other.until
        if overlaps and kind != "leave" and other.kind != "leave" and other.role == role:
            raise Refused(
                "该时段该角色已有变更，请先撤回。",
                f"change {other.id} covers this time and role already; withdraw it first",
            )
        if overlaps and kind != "leave" and other.kind == "leave" and other.person == stand_in:
            raise Refused("替班人员该时段请假。", "the person who would stand in is on leave then")
    row = RosterChange(
        kind=kind,
        role="" if kind == "leave" else role,
        person=person,
        stand_in="" if kind == "leave" else stand_in,
        start=start,
        until=until,
        reason=reason.strip(),
        state="asked" if kind == "swap" else "taken",
        made_by=by,
        made_at=now,
    )
    session.add(row)
    session.flush()
    _note(session, row, by, channel, now)
    return _change(row)


def decide(session: Session, change_id: int, state: str, *, by: str, channel: str, now: datetime) -> Change:
    """Take or decline a swap, or withdraw a change. Raises Refused when it is not open to that any more."""
    row = session.get(RosterChange, change_id, with_for_update=True)
    if row is None:
        raise Refused("没有这项变更。", f"there is no change {change_id}")
    allowed = {"taken": ("asked",), "declined": ("asked",), "withdrawn": ("asked", "taken")}[state]
    if row.state not in allowed or row.until <= now:
        raise Refused("该变更已处理或已过期。", f"this change is {row.state}, or over")
    row.state, row.decided_by, row.decided_at = state, by, now
    session.flush()
    _note(session, row, by, channel, now)
    return _change(row)


_FIELDS = ("kind", "role", "person", "stand_in", "reason", "state", "made_by", "decided_by")
_TIMES = ("start", "until", "made_at", "decided_at")


def _note(session: Session, row: RosterChange, by: str, channel: str, now: datetime) -> None:
    payload: dict[str, Any] = {"id": row.id} | {name: getattr(row, name) for name in _FIELDS}
    payload |= {name: at.isoformat() if (at := getattr(row, name)) else None for name in _TIMES}
    lifecycle.record_act(session, "roster_changed", payload, actor=by, channel=channel, now=now)


def fold_changes(rows: dict[tuple[Any, ...], dict[str, Any]], event: IncidentEvent) -> None:
    """The table of changes as its events give it."""
    if event.kind == "roster_changed":
        given = event.payload
        rows[given["id"],] = {name: given[name] for name in _FIELDS} | {
            name: datetime.fromisoformat(given[name]) if given[name] else None for name in _TIMES
        }


# --- hand-overs ----------------------------------------------------------------------------------------------------


def _handover(row: Handover) -> HandoverView:
    return HandoverView(
        row.id,
        row.role,
        row.shift_end,
        row.outgoing,
        row.incoming,
        row.offered_at,
        row.given_at,
        row.given_note,
        row.taken_at,
        row.taken_note,
        tuple(row.open_incidents),
    )


def offer(
    session: Session,
    *,
    role: str,
    shift_end: datetime,
    outgoing: str,
    incoming: str,
    open_incidents: list[str],
    now: datetime,
) -> HandoverView | None:
    """Begin a hand-over; None when this one was begun before."""
    exists = session.scalar(select(Handover.id).where(Handover.role == role, Handover.shift_end == shift_end))
    if exists is not None:
        return None
    row = Handover(
        role=role,
        shift_end=shift_end,
        outgoing=outgoing,
        incoming=incoming,
        offered_at=now,
        open_incidents=open_incidents,
    )
    session.add(row)
    session.flush()
    lifecycle.record_act(
        session,
        "handover_offered",
        {
            "role": role,
            "shift_end": shift_end.isoformat(),
            "outgoing": outgoing,
            "incoming": incoming,
            "offered_at": now.isoformat(),
            "open_incidents": open_incidents,
        },
        actor="system",
        channel="system",
        now=now,
    )
    return _handover(row)


def sign(
    session: Session, handover_id: int, side: str, *, by: str, note: str, channel: str, now: datetime
) -> HandoverView:
    """交班 (`given`) or 接班 (`taken`), each once. Raises Refused for who is not that side's person."""
    row = session.get(Handover, handover_id, with_for_update=True)
    if row is None:
        raise Refused("没有这次交接班。", f"there is no hand-over {handover_id}")
    who = row.outgoing if side == "given" else row.incoming
    if by != who:
        raise Refused("只能由本人交班或接班。", f"only {who} can sign this side")
    if getattr(row, f"{side}_at") is not None:
        raise Refused("已登记过。", "signed already")
    setattr(row, f"{side}_at", now)
    setattr(row, f"{side}_note", note.strip())
    lifecycle.record_act(
        session,
        f"handover_{side}",
        {
            "role": row.role,
            "shift_end": row.shift_end.isoformat(),
            "at": now.isoformat(),
            "note": note.strip(),
        },
        actor=by,
        channel=channel,
        now=now,
    )
    session.flush()
    return _handover(row)


def find_handover(session: Session, role: str, shift_end: datetime) -> tuple[HandoverView, bool] | None:
    """The hand-over of a role at a change of shift, and whether a later one of that role has begun; None if there is none."""
    row = session.scalar(select(Handover).where(Handover.role == role, Handover.shift_end == shift_end))
    if row is None:
        return None
    later = select(Handover.id).where(Handover.role == role, Handover.shift_end > shift_end).limit(1)
    return _handover(row), session.scalar(later) is not None


def handovers(session: Session, since: datetime) -> list[HandoverView]:
    """Hand-overs since then, and older ones that nobody has taken, newest first."""
    rows = session.scalars(
        select(Handover)
        .where(or_(Handover.shift_end >= since, Handover.taken_at.is_(None)))
        .order_by(Handover.shift_end.desc(), Handover.role)
        .limit(60)
    )
    return [_handover(row) for row in rows]


def untaken(session: Session, role: str) -> HandoverView | None:
    """The last hand-over of a role if nobody has taken it yet."""
    row = session.scalar(_LAST, {"wanted": role})
    return _handover(row) if row is not None and row.taken_at is None else None


def fold_handovers(rows: dict[tuple[Any, ...], dict[str, Any]], event: IncidentEvent) -> None:
    """The table of hand-overs as its events give it."""
    given = event.payload
    if event.kind == "handover_offered":
        rows[given["role"], datetime.fromisoformat(given["shift_end"])] = {
            "outgoing": given["outgoing"],
            "incoming": given["incoming"],
            "offered_at": datetime.fromisoformat(given["offered_at"]),
            "open_incidents": given["open_incidents"],
            "given_at": None,
            "given_note": "",
            "taken_at": None,
            "taken_note": "",
        }
    elif event.kind in ("handover_given", "handover_taken"):
        side = event.kind.removeprefix("handover_")
        rows[given["role"], datetime.fromisoformat(given["shift_end"])].update(
            {f"{side}_at": datetime.fromisoformat(given["at"]), f"{side}_note": given["note"]}
        )
