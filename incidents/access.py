"""Need to know 限定知悉: which incidents a person must not see because a supervisor named others.

A restriction holds for the whole matter: for what is merged into it and for what it is merged into. Clocks, pages and
the ladder run on as they are; whoever is on duty is told all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents.chunks import chunks
from incidents.models import Account, Incident, IncidentPost
from incidents.queries import family
from incidents.states import Refused
from incidents.topics import Topic

#: who may name the people who may know, and lift it again
MAY_RESTRICT = frozenset({"supervisor", "leader"})

#: what stands instead of the title of what must not be told
UNTOLD = "限定知悉事件"


def hidden_from(session: Session, login: str, role: str) -> frozenset[int]:
    """Ids of incidents that this person must not see. One look at an index when nothing is restricted.

    Where nobody who could lift the restriction has a usable account any more, supervisors and leaders see it again.
    """
    rows = session.execute(
        select(Incident.id, Incident.parent_id, Incident.readers).where(Incident.restricted)
    ).all()
    if not rows:
        return frozenset()
    able = {
        row.login
        for row in session.execute(
            select(Account.login).where(Account.role.in_(MAY_RESTRICT), Account.disabled.is_(False))
        )
    }
    hidden: set[int] = set()
    for id_, _parent, readers in rows:
        orphaned = not able & set(readers)
        if login not in readers and not (orphaned and role in MAY_RESTRICT):
            hidden.update(matter_of(session, id_))
    return frozenset(hidden)


def matter_of(session: Session, incident_id: int) -> list[int]:
    """The incident, all that is merged into it, and all that it is merged into."""
    return family(session, _root(session, incident_id))


def _root(session: Session, incident_id: int) -> int:
    seen = {incident_id}
    while True:
        parent = session.scalar(select(Incident.parent_id).where(Incident.id == incident_id))
        if parent is None or parent in seen:
            return incident_id
        seen.add(parent)
        incident_id = parent


def visible_posts(session: Session, posts: Sequence[int], hidden: frozenset[int]) -> list[int]:
    """Those of the posts that belong to no hidden incident."""
    if not hidden:
        return list(posts)
    gone = set(
        session.scalars(
            select(IncidentPost.post_id).where(
                IncidentPost.post_id.in_(posts), IncidentPost.incident_id.in_(hidden)
            )
        )
    )
    return [post for post in posts if post not in gone]


def restricted(session: Session) -> frozenset[int]:
    """Ids of all incidents of restricted matters: what is mailed or printed is read by more people than were named."""
    ids = session.scalars(select(Incident.id).where(Incident.restricted)).all()
    return frozenset(one for id_ in ids for one in matter_of(session, id_))


def tell_topics(session: Session, topics: Sequence[Topic], hidden: frozenset[int]) -> list[Topic]:
    """The topics as somebody reads them who must not see the `hidden` incidents: counted all, told only if mostly of other posts.

    A topic's title is made of its posts' own words, so it would say what the restriction keeps.
    """
    if not hidden:
        return list(topics)
    wanted = sorted({post for topic in topics for post in topic.examples})
    there = {
        post
        for chunk in chunks(sorted(hidden))
        for post in session.scalars(select(IncidentPost.post_id).where(IncidentPost.incident_id.in_(chunk)))
    }.intersection(wanted)
    told = []
    for topic in topics:
        gone = there.intersection(topic.examples)
        if gone and 2 * len(gone) >= len(topic.examples):
            told.append(replace(topic, title=UNTOLD, words=(), examples=()))
        else:
            told.append(replace(topic, examples=tuple(one for one in topic.examples if one not in gone)))
    return told


def readers_of(session: Session, incident_id: int) -> tuple[str, ...]:
    """Who was named for this incident; empty when it is not restricted."""
    found = session.execute(
        select(Incident.restricted, Incident.readers).where(Incident.id == incident_id)
    ).one_or_none()
    return tuple(found.readers) if found is not None and found.restricted else ()


def check_people(session: Session, people: tuple[str, ...]) -> None:
    """Raises Refused for a name without a usable account, or when nobody named could lift the restriction."""
    known = {
        row.login: row.role
        for row in session.execute(
            select(Account.login, Account.role).where(Account.login.in_(people), Account.disabled.is_(False))
        )
    }
    missing = [name for name in people if name not in known]
    if missing:
        raise Refused(f"没有可用账号：{'、'.join(missing)}。", f"no usable account: {', '.join(missing)}")
    if not MAY_RESTRICT & set(known.values()):
        raise Refused(
            "知悉人员中至少要有一名督办员或带班领导，否则无人能解除限定。",
            "name at least one supervisor or leader, or nobody can lift the restriction",
        )
