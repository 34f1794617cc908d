"""Proposals to merge or split incidents: questions to a person, decided once and never asked again.

The analysis stores them; a person accepts (carried out through the life cycle) or refuses (kept as a label).
A refused or accepted merge of two incidents is never proposed again; a split of an incident is proposed again
only when most of its posts were not part of the refused question.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from incidents.models import Incident, Proposal
from incidents.states import OPEN_STATES

STATES = ("open", "accepted", "refused", "stale")


@dataclass(frozen=True)
class NewProposal:
    """A question to a person. `score` is the probability of the machine; `reasons` are its features in numbers."""

    kind: str  # merge | split
    incident_id: int
    score: float
    other_id: int | None = None  # merge: with which incident
    posts: tuple[int, ...] = ()  # split: which posts would leave
    reasons: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ProposalView:
    """A stored proposal."""

    id: int
    kind: str
    incident_id: int
    other_id: int | None
    posts: tuple[int, ...]
    score: float
    reasons: dict[str, Any]
    state: str
    made_at: datetime
    decided_at: datetime | None
    decided_by: str
    decision_reason: str


def propose(session: Session, new: NewProposal, now: datetime) -> int | None:
    """Store an open proposal; returns its id, or None when it stands already or was answered.

    Of two incidents the older one is `incident_id`, whichever way round the question came.
    """
    if new.kind not in ("merge", "split") or (new.kind == "merge") != (new.other_id is not None):
        raise ValueError(f"a proposal to {new.kind!r} with other incident {new.other_id!r} makes no sense")
    if new.kind == "merge":
        return _propose_merge(session, new, now)
    return _propose_split(session, new, now)


def _propose_merge(session: Session, new: NewProposal, now: datetime) -> int | None:
    if new.other_id is None or new.other_id == new.incident_id:
        return None
    first, second = sorted((new.incident_id, new.other_id))
    known = session.scalar(
        select(Proposal).where(
            Proposal.kind == "merge", Proposal.incident_id == first, Proposal.other_id == second
        )
    )
    if known is None:
        return _store(session, new, first, second, (), now)
    if known.state in ("open", "stale"):
        known.score, known.reasons = new.score, new.reasons
    if known.state == "stale":  # e.g. the incident was closed meanwhile and opened again
        known.state, known.made_at, known.decided_at = "open", now, None
        return known.id
    return None


def _propose_split(session: Session, new: NewProposal, now: datetime) -> int | None:
    posts = set(new.posts)
    if not posts:
        return None
    query = select(Proposal).where(Proposal.kind == "split", Proposal.incident_id == new.incident_id)
    for known in session.scalars(query.order_by(Proposal.id)):
        if known.state == "open":
            known.posts, known.score, known.reasons = sorted(posts), new.score, new.reasons
            return None
        if known.state == "refused" and 2 * len(posts & set(known.posts)) >= len(posts):
            return None
    return _store(session, new, new.incident_id, None, tuple(sorted(posts)), now)


def _store(
    session: Session,
    new: NewProposal,
    incident_id: int,
    other_id: int | None,
    posts: Sequence[int],
    now: datetime,
) -> int:
    row = Proposal(
        kind=new.kind,
        incident_id=incident_id,
        other_id=other_id,
        posts=list(posts),
        score=new.score,
        reasons=new.reasons,
        state="open",
        made_at=now,
    )
    session.add(row)
    session.flush()
    return row.id


def get_proposal(session: Session, proposal_id: int) -> ProposalView | None:
    """One proposal, or None."""
    row = session.get(Proposal, proposal_id)
    return None if row is None else _view(row)


def open_proposals(
    session: Session, incident_id: int | None = None, *, limit: int = 100
) -> list[ProposalView]:
    """Proposals that wait for a person, the surest first; with `incident_id` those that concern it."""
    query = select(Proposal).where(Proposal.state == "open")
    if incident_id is not None:
        query = query.where(or_(Proposal.incident_id == incident_id, Proposal.other_id == incident_id))
    rows = session.scalars(query.order_by(Proposal.score.desc(), Proposal.id).limit(limit))
    return [_view(row) for row in rows]


def decide(
    session: Session, proposal_id: int, state: str, *, actor: str, reason: str, now: datetime
) -> ProposalView | None:
    """Answer an open proposal; None when somebody was faster or it became stale."""
    if state not in ("accepted", "refused"):
        raise ValueError(f"a proposal is accepted or refused, not {state!r}")
    query = select(Proposal).where(Proposal.id == proposal_id, Proposal.state == "open").with_for_update()
    row = session.scalar(query)
    if row is None:
        return None
    row.state, row.decided_at, row.decided_by, row.decision_reason = state, now, actor, reason
    session.flush()
    return _view(row)


def close_stale(session: Session, now: datetime, incidents: Iterable[int] | None = None) -> int:
    """Close open proposals whose incidents are not both open any more; returns how many.

    `incidents`: look only at proposals that concern these.
    """
    gone = select(Incident.id).where(Incident.state.in_([str(state) for state in OPEN_STATES]))
    query = update(Proposal).where(
        Proposal.state == "open",
        or_(
            Proposal.incident_id.not_in(gone),
            Proposal.other_id.is_not(None) & Proposal.other_id.not_in(gone),
        ),
    )
    if incidents is not None:
        ids = list(incidents)
        query = query.where(or_(Proposal.incident_id.in_(ids), Proposal.other_id.in_(ids)))
    closed = session.scalars(
        query.values(state="stale", decided_at=now)
        .returning(Proposal.id)
        .execution_options(synchronize_session="fetch")
    )
    return len(closed.all())


def forget_posts(session: Session, post_ids: Iterable[int], now: datetime) -> None:
    """Take posts that were purged or moved out of open proposals; one that has no post left is closed as stale."""
    gone = set(post_ids)
    for row in session.scalars(select(Proposal).where(Proposal.kind == "split", Proposal.state == "open")):
        if gone & set(row.posts):
            row.posts = [post for post in row.posts if post not in gone]
            if not row.posts:
                row.state, row.decided_at = "stale", now
    session.flush()


def forget_before(session: Session, until: datetime) -> int:
    """Remove answered and stale splits that are older, and blank the reasons of merges; returns how many changed.

    That two incidents are not one matter is kept as long as the incidents: the question must not come back.
    """
    old = Proposal.state != "open", Proposal.decided_at < until
    gone = session.scalars(
        delete(Proposal)
        .where(*old, or_(Proposal.kind == "split", Proposal.state == "stale"))
        .returning(Proposal.id)
        .execution_options(synchronize_session=False)
    ).all()
    blanked = [
        row for row in session.scalars(select(Proposal).where(*old, Proposal.kind == "merge")) if row.reasons
    ]
    for row in blanked:
        row.reasons = {}
    session.flush()
    return len(gone) + len(blanked)


def _view(row: Proposal) -> ProposalView:
    return ProposalView(
        id=row.id,
        kind=row.kind,
        incident_id=row.incident_id,
        other_id=row.other_id,
        posts=tuple(row.posts),
        score=row.score,
        reasons=dict(row.reasons),
        state=row.state,
        made_at=row.made_at,
        decided_at=row.decided_at,
        decided_by=row.decided_by,
        decision_reason=row.decision_reason,
    )
