"""Letters of supervision 督办文书: drafted from evidence, edited, then approved or rejected by a named person; orders are answered.

A row is a fold of `letter_drafted`, `letter_edited`, `letter_decided`, `letter_received`, `letter_answered` and
`letter_overdue`; every version stands in its event. Each sentence cites evidence of the letter in 【】, or is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents import clocks, lifecycle
from incidents.accountability import APPROVED_FROM, GROUNDED_FROM, GROUNDS
from incidents.models import Accountability, Incident, IncidentEvent, Letter
from incidents.states import Refused

#: which letters a level of the ladder may lead to; praise has no level
KINDS: dict[str, tuple[str, ...]] = {
    "L3": ("order",),
    "L4": ("order",),
    "L5": ("circular",),
    "L6": ("talk", "circular"),
    "L7": ("referral",),
}
#: the timer that watches for an answer
TIMER = "letter"
_GRAVE = ("major", "critical")
_SENTENCE = re.compile(r"[^。！？!?\n]+?(?:[。！？!?\n]|\.(?=\s|$|【)|$)(?:\s*【[^】]*】)*")
_CITE = re.compile(r"【([^】]*)】")


@dataclass(frozen=True)
class LetterView:
    """One letter. `state`: draft | approved | rejected."""

    id: int
    incident_id: int
    number: str
    kind: str
    department: str
    proposal_key: str
    level: str
    body: tuple[str, ...]
    evidence: dict[str, Any]
    version: int
    state: str
    made_by: str
    made_at: datetime
    edited_by: str
    decided_by: str
    decided_at: datetime | None
    decision_reason: str
    reply_due_at: datetime | None
    provisional: bool
    trace: tuple[str, ...]
    received_at: datetime | None
    received_by: str
    answered_at: datetime | None
    answered_by: str
    answer: str
    answer_url: str
    overdue_noticed_at: datetime | None

    @property
    def rank(self) -> int:
        """3 for L3 to 7 for L7; 0 for praise."""
        return int(self.level[1:]) if self.level else 0

    def late(self, now: datetime) -> bool:
        """Whether its answer is overdue, or came late."""
        return self.reply_due_at is not None and self.reply_due_at < (self.answered_at or now)


def _view(row: Letter, number: str | None) -> LetterView:
    return LetterView(
        row.id,
        row.incident_id,
        number or "",
        row.kind,
        row.department,
        row.proposal_key,
        row.level,
        tuple(row.body),
        row.evidence,
        row.version,
        row.state,
        row.made_by,
        row.made_at,
        row.edited_by,
        row.decided_by,
        row.decided_at,
        row.decision_reason,
        row.reply_due_at,
        row.provisional,
        tuple(row.trace),
        row.received_at,
        row.received_by,
        row.answered_at,
        row.answered_by,
        row.answer,
        row.answer_url,
        row.overdue_noticed_at,
    )


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, each with the citations that follow it."""
    return [found.group().strip() for found in _SENTENCE.finditer(paragraph) if found.group().strip()]


def ungrounded(body: Sequence[str], evidence: Mapping[str, Any]) -> list[str]:
    """Sentences that cite nothing, or something that is not among the evidence."""
    wrong = []
    for paragraph in body:
        for sentence in sentences(paragraph):
            cited = _CITE.findall(sentence)
            if not cited or any(code not in evidence for code in cited):
                wrong.append(sentence)
    return wrong


def _check(body: Sequence[str], evidence: Mapping[str, Any]) -> list[str]:
    kept = [paragraph.strip() for paragraph in body if paragraph.strip()]
    if not kept:
        raise Refused("文书没有内容。", "the letter is empty")
    wrong = ungrounded(kept, evidence)
    if wrong:
        raise Refused(
            f"每句话都要注明依据（【编号】须在依据清单中）：{wrong[0]}",
            f"every sentence cites evidence of the letter as 【code】; this one does not: {wrong[0]}",
        )
    return kept


def draft(
    session: Session,
    *,
    incident_id: int,
    kind: str,
    department: str,
    proposal_key: str,
    body: Sequence[str],
    evidence: Mapping[str, Any],
    by: str,
    channel: str,
    now: datetime,
) -> int:
    """Keep the first version of a letter. Raises Refused for a kind that its step does not allow, or a second draft of it."""
    level = ""
    if kind != "praise":
        step = _step(session, incident_id, proposal_key)
        if step is None or kind not in KINDS.get(step.level, ()):
            raise Refused("该措施不能起草此类文书。", f"this step leads to no letter of kind {kind!r}")
        if step.state not in ("open", "approved"):
            raise Refused("该建议已不采纳或撤回。", f"the step was {step.state}")
        level, department = step.level, step.department
    if not department:
        raise Refused("尚未交办，没有受文单位。", "nobody was assigned: the letter has no addressee")
    same = session.scalar(
        select(Letter.id).where(
            Letter.incident_id == incident_id,
            Letter.kind == kind,
            Letter.proposal_key == proposal_key,
            Letter.department == department,
            Letter.state != "rejected",
        )
    )
    if same is not None:
        raise Refused("已有同类文书。", f"there is such a letter already: {same}")
    row = Letter(
        incident_id=incident_id,
        kind=kind,
        department=department,
        proposal_key=proposal_key,
        level=level,
        body=_check(body, evidence),
        evidence=dict(evidence),
        version=1,
        made_by=by,
        made_at=now,
    )
    session.add(row)
    session.flush()
    said = {
        "kind": kind,
        "department": department,
        "key": proposal_key,
        "level": level,
        "body": row.body,
        "evidence": row.evidence,
        "made_at": now.isoformat(),
    }
    _record(session, row, "letter_drafted", said, by, channel, now)
    return row.id


def edit(
    session: Session,
    letter_id: int,
    *,
    body: Sequence[str],
    version: int,
    by: str,
    channel: str,
    now: datetime,
) -> LetterView:
    """A person writes another version; the earlier ones stay in their events. Raises Refused as `draft` does."""
    row = _open(session, letter_id)
    if version != row.version:
        raise Refused("文书刚被他人修改，请刷新后再改。", "somebody else changed the letter meanwhile")
    kept = _check(body, row.evidence)
    if kept == row.body:
        raise Refused("内容没有变化。", "nothing was changed")
    row.body, row.version, row.edited_by = kept, row.version + 1, by
    _record(session, row, "letter_edited", {"version": row.version, "body": kept}, by, channel, now)
    return _seen(session, row)


def _open(session: Session, letter_id: int) -> Letter:
    row = session.scalar(select(Letter).where(Letter.id == letter_id).with_for_update())
    if row is None:
        raise Refused("没有这份文书。", f"there is no letter {letter_id}")
    if row.state != "draft":
        raise Refused("该文书已有决定。", f"this letter is {row.state} already")
    return row


def _step(session: Session, incident_id: int, key: str) -> Accountability | None:
    return session.scalar(
        select(Accountability).where(Accountability.incident_id == incident_id, Accountability.key == key)
    )


def decide(
    session: Session,
    letter_id: int,
    *,
    approve: bool,
    name: str,
    reason: str,
    version: int,
    reply_due_at: datetime | None = None,
    provisional: bool = False,
    trace: Sequence[str] = (),
    by: str,
    channel: str,
    now: datetime,
) -> LetterView:
    """A named person lets a letter go out, or rejects it. An order begins to wait for its answer until `reply_due_at`.

    Raises Refused: no name or reason, another version than was read, a step that nobody approved, from L6 on without one of
    the three grounds or for a matter that is not major, and where the approver wrote the last version of such a letter.
    """
    row = _open(session, letter_id)
    if not name.strip():
        raise Refused("请注明批准人。", "name the approver")
    if not reason.strip():
        raise Refused("请写明理由。", "give the reason")
    if version != row.version:
        raise Refused("文书刚被他人修改，请刷新后再定。", "somebody else changed the letter meanwhile")
    if approve:
        _may_go(session, row, by)
    row.state = "approved" if approve else "rejected"
    row.decided_at, row.decided_by, row.decision_reason = now, name.strip(), reason.strip()
    if approve and row.kind == "order":
        if reply_due_at is None:
            raise ValueError("an order needs the time until which it is to be answered")
        row.reply_due_at, row.provisional, row.trace = reply_due_at, provisional, list(trace)
        clocks.add_timer(
            session, incident_id=row.incident_id, kind=TIMER, epoch=1, step=row.id, due_at=reply_due_at
        )
    said = {
        "state": row.state,
        "by": row.decided_by,
        "reason": row.decision_reason,
        "version": row.version,
        "reply_due_at": row.reply_due_at.isoformat() if row.reply_due_at else None,
        "provisional": row.provisional,
        "trace": row.trace or [],
        "decided_at": now.isoformat(),
    }
    _record(session, row, "letter_decided", said, by, channel, now)
    return _seen(session, row)


def _may_go(session: Session, row: Letter, by: str) -> None:
    author = row.edited_by or row.made_by
    if row.kind == "praise":
        if by == author:
            raise Refused("须由起草人以外的人批准。", "somebody else than its author approves it")
        return
    step = _step(session, row.incident_id, row.proposal_key)
    if step is None or step.state != "approved":
        raise Refused("须先批准该项措施，再签发文书。", "the step has to be approved before its letter")
    rank = int(row.level[1:])
    if rank >= APPROVED_FROM and by == author:
        raise Refused("须由起草人以外的人批准。", "somebody else than its author approves it")
    if rank >= GROUNDED_FROM:
        if step.ground not in GROUNDS:
            raise Refused(
                "须认定处置不力、回应不妥当、报告不及时之一。",
                f"one of the three grounds of the notice is needed: {', '.join(GROUNDS)}",
            )
        if session.get_one(Incident, row.incident_id).level not in _GRAVE:
            raise Refused("仅适用于重大以上政务舆情。", "only for major or critical matters")


def receive(
    session: Session, letter_id: int, *, person: str, by: str, channel: str, now: datetime
) -> LetterView:
    """The department has it in its hands; `person` signs for it."""
    row = _issued(session, letter_id)
    if row.received_at is not None:
        raise Refused("已登记签收。", "its receipt was entered already")
    if not person.strip():
        raise Refused("请填写签收人。", "name who signs for it")
    row.received_at, row.received_by = now, person.strip()
    said = {"person": row.received_by, "received_at": now.isoformat()}
    _record(session, row, "letter_received", said, by, channel, now)
    return _seen(session, row)


def answer(
    session: Session, letter_id: int, *, text: str, url: str, by: str, channel: str, now: datetime
) -> LetterView:
    """The department answers an order: what was done, with a link or document number."""
    row = _issued(session, letter_id)
    if row.kind != "order":
        raise Refused("该文书不要求回复。", "this letter asks for no answer")
    if row.answered_at is not None:
        raise Refused("已登记回复。", "its answer was entered already")
    if not text.strip() or not url.strip():
        raise Refused("请填写办理情况和链接或文号。", "say what was done and give a link or document number")
    row.answered_at, row.answered_by, row.answer, row.answer_url = now, by, text.strip(), url.strip()
    said = {"answer": row.answer, "url": row.answer_url, "answered_at": now.isoformat()}
    _record(session, row, "letter_answered", said, by, channel, now)
    return _seen(session, row)


def _issued(session: Session, letter_id: int) -> Letter:
    row = session.scalar(select(Letter).where(Letter.id == letter_id).with_for_update())
    if row is None:
        raise Refused("没有这份文书。", f"there is no letter {letter_id}")
    if row.state != "approved":
        raise Refused("该文书尚未签发。", "this letter was not issued")
    return row


def notice_overdue(session: Session, letter_id: int, now: datetime) -> LetterView | None:
    """Note that an order was not answered in time; None when it was, or is noted already."""
    row = session.get(Letter, letter_id)
    if row is None or row.answered_at is not None or row.reply_due_at is None or row.overdue_noticed_at:
        return None
    row.overdue_noticed_at = now
    said = {"due_at": row.reply_due_at.isoformat(), "noticed_at": now.isoformat()}
    _record(session, row, "letter_overdue", said, "system", "system", now)
    return _seen(session, row)


def _record(
    session: Session, row: Letter, kind: str, about: dict[str, Any], actor: str, channel: str, now: datetime
) -> None:
    lifecycle.record(
        session, row.incident_id, kind, {"letter": row.id, **about}, actor=actor, channel=channel, now=now
    )
    session.flush()


def _seen(session: Session, row: Letter) -> LetterView:
    return _view(row, session.scalar(select(Incident.number).where(Incident.id == row.incident_id)))


def get(session: Session, letter_id: int) -> LetterView | None:
    """One letter."""
    row = session.get(Letter, letter_id)
    return None if row is None else _seen(session, row)


def listed(
    session: Session, *, department: str = "", issued: bool = False, limit: int = 200
) -> list[LetterView]:
    """Letters (of one department, only those that went out), drafts first, the newest on top."""
    query = select(Letter, Incident.number).join(Incident, Incident.id == Letter.incident_id)
    if department:
        query = query.where(Letter.department == department)
    if issued:
        query = query.where(Letter.state == "approved")
    order = (Letter.state != "draft", Letter.id.desc())
    return [_view(row, number) for row, number in session.execute(query.order_by(*order).limit(limit))]


def versions(session: Session, letter: LetterView) -> list[tuple[int, datetime, str, tuple[str, ...]]]:
    """Every version of a letter with its time and author, the first one first."""
    found = session.scalars(
        select(IncidentEvent)
        .where(
            IncidentEvent.incident_id == letter.incident_id,
            IncidentEvent.kind.in_(("letter_drafted", "letter_edited")),
        )
        .order_by(IncidentEvent.seq)
    )
    return [
        (event.payload.get("version", 1), event.occurred_at, event.actor, tuple(event.payload["body"]))
        for event in found
        if event.payload["letter"] == letter.id
    ]


def _time(text: Any) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def fold(rows: dict[tuple[Any, ...], dict[str, Any]], event: IncidentEvent) -> None:
    """What the record says of letters (incidents.rebuild)."""
    given = event.payload
    if event.kind == "letter_drafted":
        rows[(given["letter"],)] = {
            "incident_id": event.incident_id,
            "kind": given["kind"],
            "department": given["department"],
            "proposal_key": given["key"],
            "level": given["level"],
            "body": given["body"],
            "evidence": given["evidence"],
            "version": 1,
            "state": "draft",
            "made_by": event.actor,
            "made_at": _time(given["made_at"]),
            "edited_by": "",
            "decided_by": "",
            "decided_at": None,
            "decision_reason": "",
            "reply_due_at": None,
            "provisional": False,
            "trace": [],
            "received_at": None,
            "received_by": "",
            "answered_at": None,
            "answered_by": "",
            "answer": "",
            "answer_url": "",
            "overdue_noticed_at": None,
        }
        return
    change = _CHANGES.get(event.kind)
    if change is not None:
        rows[(given["letter"],)].update(change(event))


_CHANGES: dict[str, Any] = {
    "letter_edited": lambda event: {
        "body": event.payload["body"],
        "version": event.payload["version"],
        "edited_by": event.actor,
    },
    "letter_decided": lambda event: {
        "state": event.payload["state"],
        "decided_by": event.payload["by"],
        "decided_at": _time(event.payload["decided_at"]),
        "decision_reason": event.payload["reason"],
        "reply_due_at": _time(event.payload["reply_due_at"]),
        "provisional": event.payload["provisional"],
        "trace": event.payload["trace"],
    },
    "letter_received": lambda event: {
        "received_at": _time(event.payload["received_at"]),
        "received_by": event.payload["person"],
    },
    "letter_answered": lambda event: {
        "answered_at": _time(event.payload["answered_at"]),
        "answered_by": event.actor,
        "answer": event.payload["answer"],
        "answer_url": event.payload["url"],
    },
    "letter_overdue": lambda event: {"overdue_noticed_at": _time(event.payload["noticed_at"])},
}
