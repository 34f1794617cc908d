"""Proposals to merge or split, laid side by side for a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from incidents import proposals, queries
from incidents.corrections import merge_order
from incidents.dossier import Dossier, dossier
from incidents.session import Session
from incidents.states import Refused

#: posts shown on each side
POSTS = 3


@dataclass(frozen=True)
class Side:
    """One half of a question: an incident, or a part of one."""

    incident: queries.IncidentView
    posts: tuple[queries.PostView | Dossier, ...]
    count: int  # how many posts this half has in all


@dataclass(frozen=True)
class Card:
    """One open question with both halves. `into`: of a merge, the incident that would stay."""

    asked: proposals.ProposalView
    left: Side
    right: Side
    into: int | None


def cards(
    session: Session,
    incident_id: int | None = None,
    limit: int = 10,
    *,
    hidden: frozenset[int] = frozenset(),
) -> list[Card]:
    """Open questions, the surest first; those of one incident, or of all; none about a `hidden` incident."""
    asked = [
        one
        for one in proposals.open_proposals(session, incident_id, limit=limit + len(hidden))
        if not {one.incident_id, one.other_id} & hidden
    ][:limit]
    return [card for card in (_card(session, one) for one in asked) if card is not None]


def _card(session: Session, asked: proposals.ProposalView) -> Card | None:
    incident = queries.get_incident(session, asked.incident_id)
    if incident is None:
        return None
    if asked.kind == "split":
        leaving = [
            post for post in (dossier(session, id_) for id_ in asked.posts[:POSTS]) if post is not None
        ]
        staying = [post for post in queries.posts_of(session, incident.id) if post.id not in set(asked.posts)]
        return Card(
            asked,
            _side(incident, staying, max(0, incident.posts - len(asked.posts))),
            _side(incident, leaving, len(asked.posts)),
            None,
        )
    other = queries.get_incident(session, asked.other_id or 0)
    if other is None:
        return None
    try:
        _, into = merge_order(session, asked)
    except Refused:
        return None  # both are being dealt with by now: nothing to ask
    sides = [
        _side(view, queries.posts_of(session, view.id, limit=POSTS), view.posts) for view in (incident, other)
    ]
    return Card(asked, sides[0], sides[1], into)


def _side(incident: queries.IncidentView, posts: Sequence[queries.PostView | Dossier], count: int) -> Side:
    return Side(incident, tuple(posts[:POSTS]), count)
