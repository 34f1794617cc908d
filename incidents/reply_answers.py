"""Official answers that there are to read: those registered with their text, and those that a platform shows below a message.

New ones are found by the record (what happened to incidents since) and by the posts judged since; nothing asks every post.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from config.departments import Departments
from incidents import judged, lifecycle, queries
from incidents.chunks import chunks
from incidents.models import Incident, IncidentEvent, IncidentPost, Post, ReplyReading
from incidents.states import State

#: events looked at in one step
STEP = 400
#: what may bring an answer, or posts with one
BRINGS = ("detected", "responded", "note", "merged", "unmerged", "split", "post_removed")


@dataclass(frozen=True)
class Answer:
    """One official answer of one incident. `text` is redacted already; `mark` is the digest of what there is to read."""

    incident_id: int
    key: str
    seq: int | None
    post_id: int | None
    department: str
    text: str
    published_at: datetime
    mark: str


@dataclass(frozen=True)
class Place:
    """How far the reader has come: the last event, the last post."""

    seq: int = 0
    post: int = 0


@dataclass(frozen=True)
class Case:
    """A post of a case, as the reader compares answers with it."""

    post_id: int
    title: str
    text: str
    author: str | None


def touched(session: Session, after: Place) -> tuple[list[int], Place]:
    """Raised incidents that may hold an answer nobody has read, and how far that look went."""
    events = session.execute(
        select(IncidentEvent.seq, IncidentEvent.incident_id, IncidentEvent.kind)
        .where(IncidentEvent.seq > after.seq)
        .order_by(IncidentEvent.seq)
        .limit(STEP)
    ).all()
    first_unjudged = session.scalar(select(func.min(Post.id)).where(Post.judged_at.is_(None)))
    last = session.scalar(select(func.max(Post.id))) or 0
    upto = min(last, first_unjudged - 1 if first_unjudged is not None else last)
    upto = max(after.post, min(upto, after.post + 10 * STEP))
    joined = session.scalars(
        select(IncidentPost.incident_id)
        .join(Post, Post.id == IncidentPost.post_id)
        .where(Post.id > after.post, Post.id <= upto, _has_answer())
        .distinct()
    ).all()
    seen = {number for _, number, kind in events if number is not None and kind in BRINGS} | set(joined)
    roots = {judged.root_of(session, number) for number in seen}
    raised = [
        number
        for chunk in chunks(sorted(roots))
        for number in session.scalars(
            select(Incident.id).where(Incident.id.in_(chunk), Incident.state != State.WATCHING)
        )
    ]
    return sorted(raised), Place(events[-1].seq if events else after.seq, upto)


def _has_answer() -> ColumnElement[bool]:
    told: ColumnElement[bool] = Post.provenance["answer"]["text"].as_string().is_not(None)
    return told


def answers_of(session: Session, departments: Departments, incident_id: int) -> list[Answer]:
    """Every answer of an incident that has a text, of the incidents merged into it those that platforms show."""
    found = []
    department = ""
    for event in lifecycle.history_of(session, incident_id):
        if event.kind == "assigned":
            department = event.payload["department"]
        elif event.kind == "responded" and event.payload.get("text"):
            text = event.payload["text"]
            at = datetime.fromisoformat(event.payload["published_at"])
            found.append(
                Answer(
                    incident_id,
                    f"event:{event.seq}",
                    event.seq,
                    None,
                    department,
                    text,
                    at,
                    _mark(text, department),
                )
            )
    family = sorted(queries.family(session, incident_id))
    rows = session.execute(
        select(Post.id, Post.provenance, Post.fetched_at)
        .join(IncidentPost, IncidentPost.post_id == Post.id)
        .where(IncidentPost.incident_id.in_(family), _has_answer())
        .order_by(Post.id)
    )
    for number, provenance, fetched in rows:
        given = provenance["answer"]
        name = str(given.get("organization") or "")
        unit = departments.named(name)
        # a site names the office as it likes: the unit in charge is meant where the name is none of ours
        who = unit.id if unit else name[:60] or department
        noticed = provenance.get("answer_noticed_at")
        at = datetime.fromisoformat(noticed) if noticed else fetched
        text = str(given["text"])
        found.append(Answer(incident_id, f"post:{number}", None, number, who, text, at, _mark(text, who)))
    return found


def _mark(text: str, department: str) -> str:
    return hashlib.sha256(f"{department}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()


def text_of(session: Session, incident_id: int, key: str, mark: str) -> str | None:
    """The text of an answer that was read, None when it is gone or has been changed since."""
    kind, _, number = key.partition(":")
    if kind == "event":
        event = session.get(IncidentEvent, int(number))
        return event.payload.get("text") if event is not None and event.incident_id == incident_id else None
    post = session.get(Post, int(number))
    given = (post.provenance or {}).get("answer") if post is not None else None
    if not given:
        return None
    text = str(given.get("text", ""))
    return text if mark in (_mark(text, who) for who in _names(session, incident_id, key)) else None


def _names(session: Session, incident_id: int, key: str) -> Iterable[str]:
    row = session.get(ReplyReading, (incident_id, key))
    return (row.department,) if row is not None else ()


def cases_of(session: Session, incident_id: int, limit: int = 200) -> list[Case]:
    """Posts of a case and of what was merged into it, the oldest first."""
    family = sorted(queries.family(session, incident_id))
    rows = session.execute(
        select(Post.id, Post.title, Post.text, Post.author_key)
        .join(IncidentPost, IncidentPost.post_id == Post.id)
        .where(IncidentPost.incident_id.in_(family))
        .order_by(Post.published_at, Post.id)
        .limit(limit)
    )
    return [Case(*row) for row in rows]


def other_cases(session: Session, incident_id: int, *, most: int = 80, posts: int = 3) -> list[list[Case]]:
    """The latest other cases of the same domain, watched ones too, a few posts each: what an answer is compared with."""
    family = queries.family(session, incident_id)
    domain = session.scalar(select(Incident.domain).where(Incident.id == incident_id))
    ids = session.scalars(
        select(Incident.id)
        .where(Incident.domain == domain, Incident.id.not_in(family), Incident.state != State.MERGED)
        .order_by(Incident.last_post_at.desc(), Incident.id.desc())
        .limit(most)
    ).all()
    return [found for number in ids if (found := cases_of(session, number, posts))]


def answers_before(session: Session, most: int = 1500) -> list[tuple[str, str]]:
    """Answers that were read, the latest first, as (incident and key, text): what form letters are looked for in."""
    rows: Sequence[ReplyReading] = session.scalars(
        select(ReplyReading).order_by(ReplyReading.read_at.desc(), ReplyReading.key).limit(most)
    ).all()
    found = []
    for row in rows:
        text = text_of(session, row.incident_id, row.key, row.mark)
        if text:
            found.append((f"{row.incident_id}/{row.key}", text))
    return found
