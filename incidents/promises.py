"""Promises 承诺 of official answers: the machine proposes, a person confirms or dismisses, and later enters kept or broken.

`proposed`: read out of an answer, counts for nothing; `open`: confirmed, with a date; `kept`, `broken`: entered by a person with a
link; `dismissed`: no promise. Rows are a fold of the events `reply_read` and `promise_*`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents import lifecycle
from incidents.chunks import chunks
from incidents.models import IncidentEvent
from incidents.models import Promise as Row
from incidents.states import Refused

STATES = ("proposed", "open", "kept", "broken", "dismissed")
#: characters of a promise that are kept
LONGEST = 200


@dataclass(frozen=True)
class Promise:
    """One promise of one department."""

    incident_id: int
    key: str
    answer: str  # key of the reading it comes from; "" when a person entered it
    department: str  # department id, or the name that the platform gives
    text: str
    made_at: datetime  # when the answer was published
    due_at: datetime | None  # None only while proposed in working days, or without a date
    workdays: int | None  # so many working days after `made_at`
    state: str
    decided_at: datetime | None
    decided_by: str
    link: str
    note: str
    overdue_noticed_at: datetime | None

    def overdue(self, now: datetime) -> bool:
        """Whether its day has passed and nobody has said what became of it."""
        return self.state == "open" and self.due_at is not None and self.due_at < now


@dataclass(frozen=True)
class Proposed:
    """A promise as the machine read it."""

    text: str
    due_at: datetime | None
    workdays: int | None


def as_payload(one: Proposed) -> dict[str, Any]:
    """A proposed promise as an event holds it. The same words of the same answer have the same key."""
    text = one.text[:LONGEST]
    due = one.due_at.isoformat() if one.due_at else None
    digest = hashlib.sha256(f"{text}|{due}|{one.workdays}".encode()).hexdigest()[:12]
    return {"key": digest, "text": text, "due_at": due, "workdays": one.workdays}


def _full_key(answer: str, key: str) -> str:
    return f"{answer}:{key}"


_FIELDS = tuple(Promise.__dataclass_fields__)


def _view(row: Row) -> Promise:
    return Promise(**{name: getattr(row, name) for name in _FIELDS})


def promises_of(session: Session, incident_ids: Iterable[int]) -> dict[int, tuple[Promise, ...]]:
    """Promises of these incidents, by their date, those without one last; incidents without any are left out."""
    wanted = sorted(set(incident_ids))
    found: dict[int, list[Promise]] = {}
    for chunk in chunks(wanted):
        for row in session.scalars(select(Row).where(Row.incident_id.in_(chunk))):
            found.setdefault(row.incident_id, []).append(_view(row))
    return {
        number: tuple(sorted(rows, key=lambda p: (p.due_at is None, p.due_at or p.made_at, p.key)))
        for number, rows in found.items()
    }


def get(session: Session, incident_id: int, key: str) -> Promise | None:
    """One promise, or None."""
    row = session.get(Row, (incident_id, key))
    return _view(row) if row else None


# --- what the machine proposes --------------------------------------------------------------------------------------


def withdrawn_by(session: Session, incident_id: int, answer: str, proposed: Sequence[Proposed]) -> list[str]:
    """Keys of what an earlier reading of this answer had proposed, nobody has answered to, and this one no longer finds."""
    kept = {_full_key(answer, as_payload(one)["key"]) for one in proposed}
    query = select(Row.key).where(
        Row.incident_id == incident_id, Row.answer == answer, Row.state == "proposed"
    )
    return sorted(set(session.scalars(query)) - kept)


def propose(session: Session, incident_id: int, payload: dict[str, Any]) -> None:
    """The rows that a `reply_read` event brings and takes away; the caller has recorded it."""
    for key in payload["withdrawn"]:
        session.delete(session.get_one(Row, (incident_id, key)))
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    _proposed(rows, incident_id, payload)
    for key, values in rows.items():
        if session.get(Row, key) is None:
            session.add(Row(incident_id=incident_id, key=key[1], **values))
    session.flush()


def _proposed(rows: dict[tuple[Any, ...], dict[str, Any]], incident_id: int, given: dict[str, Any]) -> None:
    for one in given["promises"]:
        rows[(incident_id, _full_key(given["key"], one["key"]))] = {
            "answer": given["key"],
            "department": given["department"],
            "text": one["text"],
            "made_at": datetime.fromisoformat(given["published_at"]),
            "due_at": datetime.fromisoformat(one["due_at"]) if one["due_at"] else None,
            "workdays": one["workdays"],
            "state": "proposed",
            "decided_at": None,
            "decided_by": "",
            "link": "",
            "note": "",
            "overdue_noticed_at": None,
        }


# --- what people say ------------------------------------------------------------------------------------------------


def _held(session: Session, incident_id: int, key: str, states: Sequence[str]) -> Row:
    row = session.get(Row, (incident_id, key), with_for_update=True)
    if row is None:
        raise Refused("没有这项承诺。", f"there is no promise {key!r} at this incident")
    if row.state not in states:
        raise Refused("该承诺已有他人处理，请刷新页面。", f"this promise is {row.state} already; reload")
    return row


def _decide(
    session: Session, row: Row, kind: str, payload: dict[str, Any], *, actor: str, channel: str, now: datetime
) -> Promise:
    payload = {"key": row.key, "decided_at": now.isoformat(), **payload}
    lifecycle.record(session, row.incident_id, kind, payload, actor=actor, channel=channel, now=now)
    for name, value in _decided(kind, payload, actor).items():
        setattr(row, name, value)
    session.flush()
    return _view(row)


def confirm(
    session: Session,
    incident_id: int,
    key: str,
    *,
    due_at: datetime,
    text: str = "",
    actor: str,
    channel: str,
    now: datetime,
) -> Promise:
    """A person says that this is a promise, due then. Of an open one it moves the date.

    Raises Refused when it was answered before or the date lies before the answer.
    """
    row = _held(session, incident_id, key, ("proposed", "open"))
    if due_at < row.made_at:
        raise Refused("承诺期限不能早于答复时间。", "the date lies before the answer")
    words = (text.strip() or row.text)[:LONGEST]
    payload = {
        "department": row.department,
        "text": words,
        "due_at": due_at.isoformat(),
        "was": row.due_at.isoformat() if row.due_at else None,
    }
    return _decide(session, row, "promise_confirmed", payload, actor=actor, channel=channel, now=now)


def enter(
    session: Session,
    incident_id: int,
    *,
    department: str,
    text: str,
    made_at: datetime,
    due_at: datetime,
    actor: str,
    channel: str,
    now: datetime,
) -> Promise:
    """A person enters a promise that the machine did not see. Raises Refused without words or with an impossible date."""
    if not text.strip():
        raise Refused("请填写承诺内容。", "say what was promised")
    if due_at < made_at:
        raise Refused("承诺期限不能早于答复时间。", "the date lies before the answer")
    one = as_payload(Proposed(text.strip(), due_at, None))
    key = _full_key("hand", one["key"])
    if session.get(Row, (incident_id, key)) is not None:
        raise Refused("该承诺已登记。", "this promise is entered already")
    payload = {
        "key": key,
        "entered": True,
        "department": department,
        "text": one["text"],
        "made_at": made_at.isoformat(),
        "due_at": due_at.isoformat(),
        "decided_at": now.isoformat(),
    }
    lifecycle.record(
        session, incident_id, "promise_confirmed", payload, actor=actor, channel=channel, now=now
    )
    row = Row(incident_id=incident_id, key=key, **_entered(payload, actor))
    session.add(row)
    session.flush()
    return _view(row)


def dismiss(
    session: Session, incident_id: int, key: str, *, note: str, actor: str, channel: str, now: datetime
) -> Promise:
    """A person says that this is no promise; of a confirmed one only with a reason. Raises Refused."""
    row = _held(session, incident_id, key, ("proposed", "open"))
    if row.state == "open" and not note.strip():
        raise Refused("撤销已确认的承诺须写明理由。", "taking back a confirmed promise needs a reason")
    payload = {"note": note.strip()}
    return _decide(session, row, "promise_dismissed", payload, actor=actor, channel=channel, now=now)


def settle(
    session: Session,
    incident_id: int,
    key: str,
    *,
    kept: bool,
    link: str,
    note: str = "",
    actor: str,
    channel: str,
    now: datetime,
) -> Promise:
    """A person enters what became of it, with a link or document number; a second entry corrects the first, with a reason.

    Raises Refused: no evidence, not confirmed, no change, no reason.
    """
    row = _held(session, incident_id, key, ("open", "kept", "broken"))
    state = "kept" if kept else "broken"
    if not link.strip():
        raise Refused("请填写链接或文号，作为凭证。", "give the link or document number as evidence")
    if row.state != "open" and not note.strip():
        raise Refused("更正须写明理由。", "a correction needs a reason")
    if not kept and row.due_at is not None and row.due_at > now and not note.strip():
        raise Refused(
            "期限未到，登记为未兑现须写明理由。", "its day has not come: calling it broken needs a reason"
        )
    payload = {"state": state, "link": link.strip(), "note": note.strip(), "was": row.state}
    return _decide(session, row, f"promise_{state}", payload, actor=actor, channel=channel, now=now)


def notice_overdue(session: Session, incident_id: int, key: str, now: datetime) -> bool:
    """Note that its day has passed and nobody has said what became of it; False when that is not so or was noted."""
    row = session.get(Row, (incident_id, key), with_for_update=True)
    if row is None or not _view(row).overdue(now) or row.overdue_noticed_at is not None:
        return False
    due = row.due_at
    lifecycle.record(
        session,
        incident_id,
        "promise_overdue",
        {"key": key, "due_at": due.isoformat() if due else None, "noticed_at": now.isoformat()},
        now=now,
        occurred_at=due,
    )
    row.overdue_noticed_at = now
    session.flush()
    return True


# --- fold (incidents.rebuild) ---------------------------------------------------------------------------------------


def _entered(given: dict[str, Any], actor: str) -> dict[str, Any]:
    return {
        "answer": "",
        "department": given["department"],
        "text": given["text"],
        "made_at": datetime.fromisoformat(given["made_at"]),
        "due_at": datetime.fromisoformat(given["due_at"]),
        "workdays": None,
        "state": "open",
        "decided_at": datetime.fromisoformat(given["decided_at"]),
        "decided_by": actor,
        "link": "",
        "note": "",
        "overdue_noticed_at": None,
    }


def _decided(kind: str, given: dict[str, Any], actor: str) -> dict[str, Any]:
    values: dict[str, Any] = {"decided_at": datetime.fromisoformat(given["decided_at"]), "decided_by": actor}
    if kind == "promise_confirmed":
        return {
            **values,
            "state": "open",
            "text": given["text"],
            "due_at": datetime.fromisoformat(given["due_at"]),
            "overdue_noticed_at": None,
        }
    if kind == "promise_dismissed":
        return {**values, "state": "dismissed", "note": given["note"]}
    return {**values, "state": given["state"], "link": given["link"], "note": given["note"]}


def fold(rows: dict[tuple[Any, ...], dict[str, Any]], event: IncidentEvent) -> None:
    """The rows of `promise` that an event gives."""
    given = event.payload
    if event.kind == "reply_read":
        for gone in given["withdrawn"]:
            rows.pop((event.incident_id, gone), None)
        fresh: dict[tuple[Any, ...], dict[str, Any]] = {}
        _proposed(fresh, event.incident_id or 0, given)
        for key, row in fresh.items():
            rows.setdefault(key, row)
        return
    if not event.kind.startswith("promise_"):
        return
    key = (event.incident_id, given["key"])
    if event.kind == "promise_overdue":
        rows[key]["overdue_noticed_at"] = datetime.fromisoformat(given["noticed_at"])
    elif given.get("entered"):
        rows[key] = _entered(given, event.actor)
    else:
        rows[key].update(_decided(event.kind, given, event.actor))
