"""Which posts the evidence job has still to look at: a short list, written when a post joins a raised incident.

Asking every stored post again and again whether it belongs to an incident and has its original would cost a second at a million
posts. The list is written in the transaction of its cause; `mend` finds once a day what a way into an incident may have forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, exists, insert, or_, select
from sqlalchemy.orm import Session

from incidents.chunks import SIZE, chunks
from incidents.models import Evidence, EvidenceDue, EvidenceWant, Incident, IncidentPost, Post

#: rule of a removal because the same answer held a post that was objected to: this one's page is fetched again
BY_NEIGHBOUR = "objection to another post in the file"


def lacking() -> ColumnElement[bool]:
    """Condition on post, its incident and its want (outer joined): came from a server, and its original is neither kept nor was."""
    kept = exists().where(
        Evidence.post_id == Post.id,
        # SQLite gives the id of a removed newest post again: what went before this post came was another one's
        or_(Evidence.purged_at.is_(None), Evidence.purged_at > Post.fetched_at),
        Evidence.purge_rule != BY_NEIGHBOUR,
    )
    return and_(
        Incident.state != "watching",
        Post.received.startswith("sha256:"),
        ~kept,
        or_(EvidenceWant.post_id.is_(None), EvidenceWant.name != ""),
    )


def every_post() -> Select[Any]:
    """The same asked of all posts, as ids."""
    return (
        select(Post.id)
        .join(IncidentPost, IncidentPost.post_id == Post.id)
        .join(Incident, Incident.id == IncidentPost.incident_id)
        .outerjoin(EvidenceWant, EvidenceWant.post_id == Post.id)
        .where(lacking())
    )


def _lacking_ids() -> Select[Any]:
    listed = exists().where(EvidenceDue.post_id == Post.id)
    return every_post().where(~listed)


def of_incident(session: Session, incident_id: int) -> None:
    """This incident was raised: the originals of its posts are to be kept."""
    _list(session, _lacking_ids().where(IncidentPost.incident_id == incident_id))


def of_posts(session: Session, ids: Sequence[int]) -> None:
    """These posts joined an incident, lost their evidence to a neighbour's objection, or were fetched again."""
    for chunk in chunks(ids):
        _list(session, _lacking_ids().where(Post.id.in_(chunk)))


def listed(session: Session, after: int, limit: int = SIZE) -> list[int]:
    """Ids on the list above `after`, in order."""
    query = select(EvidenceDue.post_id).where(EvidenceDue.post_id > after)
    return list(session.scalars(query.order_by(EvidenceDue.post_id).limit(limit)))


def done(session: Session, ids: Sequence[int]) -> None:
    """Nothing is to be done for these posts: kept, asked for again, or no longer in an incident."""
    for chunk in chunks(ids):
        session.execute(
            delete(EvidenceDue)
            .where(EvidenceDue.post_id.in_(chunk))
            .execution_options(synchronize_session=False)
        )


def mend(session: Session) -> int:
    """Look at every post once, list what is missing in the list; how many. Reads the whole table: once a day, no more."""
    ids = list(session.scalars(_lacking_ids()))
    of_posts(session, ids)
    return len(ids)


def _list(session: Session, lacking_ids: Select[Any]) -> None:
    session.flush()
    session.execute(insert(EvidenceDue).from_select(["post_id"], lacking_ids))
