"""Forget what need not be known any more: posts past their time, and posts whose authors objected.

Numbers stay (counts of incidents, hours, events); texts, pseudonyms, judgements and search tokens go. Every act
leaves one event with counts in the record, and nothing of what was removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select, text, update
from sqlalchemy.orm import Session

from config.settings import PrivacySettings
from incidents import proposals
from incidents.index import compact_index, remove_from_index
from incidents.lifecycle import record_act
from incidents.models import (
    Incident,
    IncidentEvent,
    IncidentHour,
    IncidentPost,
    Judgement,
    LoginSession,
    Meta,
    Post,
    Quarantine,
)
from incidents.posts import objection_key, spellings

_BATCH = 500
#: states in which an incident is over
_OVER = ("closed", "false_alarm")


@dataclass(frozen=True)
class PurgeReport:
    """What was removed."""

    posts: int  # outside any incident
    incident_posts: int  # evidence of incidents long over
    clusters: int  # clusters that never emerged and have no post left
    quarantine: int  # input rows set aside
    sessions: int  # console sessions past their end

    @property
    def anything(self) -> bool:
        """Whether there was anything to remove."""
        return any(asdict(self).values())


@dataclass(frozen=True)
class ObjectionReport:
    """How many stored posts an objection removed. The address stays barred even when there was none."""

    posts: int


def purge(session: Session, now: datetime, privacy: PrivacySettings, *, actor: str = "system") -> PurgeReport:
    """Remove what is older than `privacy` allows; age counts from the fetch.

    A post outside any incident (or in a cluster that never emerged) lives `post_days`. The posts of an incident
    stay while it is open and `incident_post_days` after its last event; a merged one follows its parent.
    """
    free_until = now - timedelta(days=privacy.post_days)
    evidence_until = now - timedelta(days=privacy.incident_post_days)
    _erase_on_disk(session)
    evidence = _evidence(session, evidence_until)
    free = _free(session, free_until)
    _remove_posts(session, [*evidence, *free], now)
    proposals.forget_before(session, free_until)
    clusters = _remove_empty_clusters(session, free_until)
    aside = session.scalars(
        delete(Quarantine)
        .where(or_(Quarantine.created_at < free_until, Quarantine.resolved_at < free_until))
        .returning(Quarantine.id)
    ).all()
    ended = session.scalars(
        delete(LoginSession).where(LoginSession.expires_at < now).returning(LoginSession.account_id)
    ).all()
    report = PurgeReport(len(free), len(evidence), clusters, len(aside), len(ended))
    if evidence or free:
        compact_index(session)
    if report.anything:
        record_act(session, "purged", asdict(report), actor=actor, channel="system", now=now)
    return report


def object_to(
    session: Session, url: str, now: datetime, *, actor: str = "operator", channel: str = "cli"
) -> ObjectionReport:
    """Remove every post at this address and never store it again (an author's objection).

    Scheme, trailing slash and fragment make no difference. Only a hash of the address is kept.
    """
    _erase_on_disk(session)
    addresses = spellings(url)
    found = [Post.url.in_(addresses), *(Post.url.startswith(f"{one}#", autoescape=True) for one in addresses)]
    ids = list(session.scalars(select(Post.id).where(or_(*found))))
    _remove_posts(session, ids, now)
    if ids:
        compact_index(session)
    key = objection_key(url)
    if session.get(Meta, key) is None:
        session.add(Meta(key=key, value=now.isoformat()))
        session.flush()
    about = {"posts": len(ids), "address_sha256": key.removeprefix("objection:")}
    record_act(session, "objection", about, actor=actor, channel=channel, now=now)
    return ObjectionReport(len(ids))


def _erase_on_disk(session: Session) -> None:
    # SQLite would leave deleted texts readable in free pages of the file
    if session.get_bind().dialect.name == "sqlite":
        session.execute(text("PRAGMA secure_delete = ON"))


def _free(session: Session, until: datetime) -> list[int]:
    kept = (
        select(IncidentPost.post_id)
        .join(Incident, Incident.id == IncidentPost.incident_id)
        .where(Incident.state != "watching", IncidentPost.post_id == Post.id)
    )
    query = select(Post.id).where(Post.fetched_at < until, ~kept.exists()).order_by(Post.id)
    return list(session.scalars(query))


def _evidence(session: Session, until: datetime) -> list[int]:
    ids = _over_since(session, until)
    found: list[int] = []
    for chunk in _chunks(ids):
        query = (
            select(Post.id)
            .join(IncidentPost, IncidentPost.post_id == Post.id)
            .where(IncidentPost.incident_id.in_(chunk), Post.fetched_at < until)
        )
        found += session.scalars(query.order_by(Post.id))
    return found


def _over_since(session: Session, until: datetime) -> list[int]:
    """Incidents that are over and had their last event before `until`, with those merged into them."""
    last = func.max(IncidentEvent.occurred_at)
    query = (
        select(Incident.id)
        .join(IncidentEvent, IncidentEvent.incident_id == Incident.id)
        .where(Incident.state.in_(_OVER))
        .group_by(Incident.id)
        .having(last < until)
    )
    found = set(session.scalars(query))
    parents = select(Incident.id, Incident.parent_id).where(Incident.state == "merged")
    merged = {row.id: row.parent_id for row in session.execute(parents)}
    for child in merged:
        root, seen = child, {child}
        while root in merged and merged[root] is not None and merged[root] not in seen:
            root = merged[root] or root
            seen.add(root)
        if root in found:
            found.add(child)
    return sorted(found)


def _remove_posts(session: Session, ids: Sequence[int], now: datetime) -> None:
    if ids:
        proposals.forget_posts(session, ids, now)
    for chunk in _chunks(ids):
        remove_from_index(session, chunk)
        session.execute(
            update(Judgement)
            .where(Judgement.near_copy_of.in_(chunk))
            .values(near_copy_of=None)
            .execution_options(synchronize_session=False)
        )
        # judgement, membership and labels go with their post (ON DELETE CASCADE)
        session.execute(delete(Post).where(Post.id.in_(chunk)).execution_options(synchronize_session=False))
    session.expire_all()


def _remove_empty_clusters(session: Session, until: datetime) -> int:
    held = select(IncidentPost.post_id).where(IncidentPost.incident_id == Incident.id)
    query = select(Incident.id).where(
        Incident.state == "watching", Incident.last_post_at < until, ~held.exists()
    )
    ids = list(session.scalars(query))
    for chunk in _chunks(ids):
        session.execute(delete(IncidentHour).where(IncidentHour.incident_id.in_(chunk)))
        session.execute(delete(Incident).where(Incident.id.in_(chunk)))
    return len(ids)


def _chunks(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[at : at + _BATCH] for at in range(0, len(ids), _BATCH))
