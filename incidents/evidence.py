"""Which originals are kept for the posts of incidents: what waits, what was kept, what retention removed.

Rows and events only; the files lie in incidents.vault. `evidence_kept` and `evidence_purged` hold every digest, so the chain of
events proves the files, and says of a removed one when and by which rule it went.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select, case, func, select
from sqlalchemy.orm import Session

from incidents import evidence_due
from incidents.chunks import chunks
from incidents.evidence_due import BY_NEIGHBOUR as BY_NEIGHBOUR
from incidents.lifecycle import record_act
from incidents.models import (
    Evidence,
    EvidenceWant,
    Incident,
    IncidentEvent,
    IncidentPost,
    Post,
)

KEPT, PURGED, READ, ORPHAN = "evidence_kept", "evidence_purged", "evidence_read", "evidence_orphan"
#: signs of life of spool and evidence folder; `reason` is "" while files can be written there
SPOOL, KEEP = "evidence.spool", "evidence.keep"
#: how an original came: with the post, or when it was fetched again after the post had joined an incident
AT_FETCH, LATER = "at_fetch", "later"
#: rules by which an original goes
BY_TIME, WITH_POST, BY_OBJECTION = "privacy.evidence_days", "privacy.incident_post_days", "objection"
#: states in which an incident is over
OVER = ("closed", "false_alarm")
#: fetches of one original that may fail, the pause after the first (doubled after each), and when nobody tries any more
MAX_TRIES, PAUSE, GIVE_UP = 5, timedelta(hours=1), timedelta(days=14)
Row = dict[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A post of an incident without evidence. `name` may have left the spool by now."""

    post_id: int
    incident_id: int
    source_id: str
    url: str
    name: str
    received: str
    content_sha256: str
    fetched_at: datetime
    how: str
    #: the incident is still being worked on, so a lost original is worth asking for again
    open: bool


@dataclass(frozen=True)
class Found:
    """A candidate whose file lies in the evidence folder."""

    candidate: Candidate
    size: int
    file_sha256: str
    payload_sha256: str


@dataclass(frozen=True)
class Wanted:
    """A post whose page a crawl of its source shall fetch again."""

    post_id: int
    url: str


@dataclass(frozen=True)
class EvidenceView:
    """One original of one post, kept or removed."""

    post_id: int
    name: str
    incident_id: int
    source_id: str
    size: int
    file_sha256: str
    payload_sha256: str
    content_sha256: str
    fetched_at: datetime
    how: str
    kept_at: datetime
    seq: int
    purged_at: datetime | None
    purge_rule: str
    purge_seq: int | None


@dataclass(frozen=True)
class MissingView:
    """A post without its original. `given_up_at` None: it is still being tried."""

    post_id: int
    since: datetime
    tries: int
    reason: str
    given_up_at: datetime | None


# --- keeping


def candidates(session: Session, limit: int) -> list[Candidate]:
    """Posts of incidents whose original came from a server and is neither kept nor was, oldest first.

    Only the posts on the list of incidents.evidence_due are looked at, however many are stored.
    """
    found: list[Candidate] = []
    after = 0
    # ids first: a database that has no statistics of a list that is nearly always empty takes it for a long one
    while len(found) < limit and (ids := evidence_due.listed(session, after)):
        found += _waiting(session, ids)
        after = ids[-1]
    return found[:limit]


def _waiting(session: Session, ids: Sequence[int]) -> list[Candidate]:
    query = (
        select(Post, IncidentPost.incident_id, Incident.state, EvidenceWant)
        .join(IncidentPost, IncidentPost.post_id == Post.id)
        .join(Incident, Incident.id == IncidentPost.incident_id)
        .outerjoin(EvidenceWant, EvidenceWant.post_id == Post.id)
        .where(Post.id.in_(ids), evidence_due.lacking())
        .order_by(Post.id)
    )
    found = []
    for post, incident_id, state, want in session.execute(query):
        again = want is not None and want.name
        found.append(
            Candidate(
                post_id=post.id,
                incident_id=incident_id,
                source_id=post.source_id,
                url=post.url,
                name=want.name if again else post.original,
                received=post.received,
                content_sha256=post.content_sha256,
                fetched_at=want.fetched_at or post.fetched_at if again else post.fetched_at,
                how=LATER if again else AT_FETCH,
                open=state not in OVER,
            )
        )
    return found


def keep(session: Session, found: Sequence[Found], now: datetime) -> int:
    """Record that these files are evidence, one event for each incident; returns how many.

    A post that was removed, moved or recorded since it was looked up is left to the next look.
    """
    ids = [one.candidate.post_id for one in found]
    still = {item.post_id: item for chunk in chunks(ids) for item in _waiting(session, chunk)}
    by_incident: dict[int, list[Found]] = {}
    for one in found:
        if still.get(one.candidate.post_id) == one.candidate:
            by_incident.setdefault(one.candidate.incident_id, []).append(one)
    for incident_id, group in sorted(by_incident.items()):
        records = [_record(one) for one in group]
        event = record_act(
            session,
            KEPT,
            {"records": records},
            actor="system",
            channel="system",
            now=now,
            incident_id=incident_id,
        )
        for record in records:
            session.add(Evidence(post_id=record["post"], name=record["name"], **_kept_row(record, event)))
    for one in (one for group in by_incident.values() for one in group):
        want = session.get(EvidenceWant, one.candidate.post_id)
        if want is not None:
            session.delete(want)
    session.flush()
    evidence_due.done(session, [one.candidate.post_id for group in by_incident.values() for one in group])
    return sum(map(len, by_incident.values()))


def _record(found: Found) -> Row:
    one = found.candidate
    return {
        "post": one.post_id,
        "name": one.name,
        "source": one.source_id,
        "size": found.size,
        "file": found.file_sha256,
        "payload": found.payload_sha256,
        "content": one.content_sha256,
        "fetched_at": one.fetched_at.astimezone(UTC).isoformat(),
        "how": one.how,
    }


def _kept_row(record: Row, event: IncidentEvent) -> Row:
    return {
        "incident_id": event.payload["incident_id"],
        "source_id": record["source"],
        "size": record["size"],
        "file_sha256": record["file"],
        "payload_sha256": record["payload"],
        "content_sha256": record["content"],
        "fetched_at": datetime.fromisoformat(record["fetched_at"]),
        "how": record["how"],
        "kept_at": event.occurred_at,
        "seq": event.seq,
        "purged_at": None,
        "purge_rule": "",
        "purge_seq": None,
    }


def fold(rows: dict[tuple[Any, ...], Row], event: IncidentEvent) -> None:
    """The table `evidence` as its events give it."""
    if event.kind == KEPT:
        for record in event.payload["records"]:
            rows[record["post"], record["name"]] = _kept_row(record, event)
    elif event.kind == PURGED:
        for record in event.payload["records"]:
            row = rows.get((record["post"], record["name"]))
            if row is not None:
                row.update(purged_at=event.occurred_at, purge_rule=event.payload["rule"], purge_seq=event.seq)


# --- fetching again


def want(session: Session, posts: Iterable[Candidate], reason: str, now: datetime) -> int:
    """Note that the originals of these posts have to be fetched again, or with a candidate that is not open, that there is none."""
    noted: list[int] = []
    for one in posts:
        row = session.get(EvidenceWant, one.post_id)
        if row is None:
            row = EvidenceWant(post_id=one.post_id, source_id=one.source_id, since=now, tries=0)
            session.add(row)
        row.reason, row.name, row.fetched_at, row.next_at = reason, "", None, now
        row.given_up_at = None if one.open and one.url else now
        noted.append(one.post_id)
    session.flush()
    evidence_due.done(session, noted)
    return len(noted)


def wanted(session: Session, source_id: str, now: datetime, limit: int) -> list[Wanted]:
    """Pages that a crawl of this source shall fetch again, those first that were tried least."""
    query = (
        select(Post.id, Post.url)
        .join(EvidenceWant, EvidenceWant.post_id == Post.id)
        .where(
            EvidenceWant.source_id == source_id,
            EvidenceWant.given_up_at.is_(None),
            EvidenceWant.name == "",
            EvidenceWant.next_at <= now,
        )
        .order_by(EvidenceWant.tries, EvidenceWant.post_id)
        .limit(limit)
    )
    return [Wanted(*row) for row in session.execute(query)]


def fetched_again(session: Session, post_id: int, name: str, now: datetime) -> None:
    """The page of a wanted post came and lies in the spool under `name`."""
    row = session.get(EvidenceWant, post_id)
    if row is not None:
        row.tries += 1
        row.name, row.fetched_at = name, now
        evidence_due.of_posts(session, [post_id])


def not_fetched(session: Session, post_id: int, reason: str, now: datetime, *, final: bool) -> None:
    """The page of a wanted post did not come; after MAX_TRIES, or when it is gone for good (`final`), it is given up."""
    row = session.get(EvidenceWant, post_id)
    if row is not None:
        row.next_at = now + PAUSE * 2**row.tries
        row.tries += 1
        row.reason = reason[:500]
        if final or row.tries >= MAX_TRIES:
            row.given_up_at = now


def _old(now: datetime) -> Select[EvidenceWant]:
    return select(EvidenceWant).where(
        EvidenceWant.given_up_at.is_(None), EvidenceWant.name == "", EvidenceWant.since < now - GIVE_UP
    )


def any_old(session: Session, now: datetime) -> bool:
    """Whether `give_up_old` has anything to do."""
    return session.scalar(_old(now).limit(1)) is not None


def give_up_old(session: Session, now: datetime) -> int:
    """Stop asking for what nobody could fetch in GIVE_UP (a source that was taken out, a host that stays away)."""
    rows = list(session.scalars(_old(now)))
    for row in rows:
        row.given_up_at = now
        row.reason = f"{row.reason}; not fetched again within {GIVE_UP.days} days"
    session.flush()
    return len(rows)


# --- removing


def purge_over(session: Session, over: Sequence[int], now: datetime, *, actor: str) -> int:
    """Mark the originals of these incidents as removed by time; their files go with the next `spiders.evidence_job.sweep`."""
    rows: list[Evidence] = []
    holder = func.coalesce(IncidentPost.incident_id, Evidence.incident_id)
    for chunk in chunks(over):
        query = (
            select(Evidence)
            .outerjoin(IncidentPost, IncidentPost.post_id == Evidence.post_id)
            .where(Evidence.purged_at.is_(None), holder.in_(chunk))
        )
        rows += session.scalars(query)
    return _purge(session, rows, BY_TIME, now, actor)


def purge_with_posts(session: Session, ids: Sequence[int], rule: str, now: datetime, *, actor: str) -> int:
    """Mark the originals of posts that are about to be removed."""
    rows: list[Evidence] = []
    for chunk in chunks(ids):
        query = select(Evidence).where(Evidence.purged_at.is_(None), Evidence.post_id.in_(chunk))
        rows += session.scalars(query)
    return _purge(session, rows, rule, now, actor)


def purge_names(session: Session, names: Iterable[str], rule: str, now: datetime, *, actor: str) -> int:
    """Mark every original in these files: an answer that held one post may hold others."""
    rows: list[Evidence] = []
    for chunk in chunks(sorted(names)):
        query = select(Evidence).where(Evidence.purged_at.is_(None), Evidence.name.in_(chunk))
        rows += session.scalars(query)
    return _purge(session, rows, rule, now, actor)


def _purge(session: Session, rows: Sequence[Evidence], rule: str, now: datetime, actor: str) -> int:
    by_incident: dict[int, list[Evidence]] = {}
    for row in rows:
        by_incident.setdefault(row.incident_id, []).append(row)
    for incident_id, group in sorted(by_incident.items()):
        records = [
            {"post": row.post_id, "name": row.name, "file": row.file_sha256, "payload": row.payload_sha256}
            for row in group
        ]
        event = record_act(
            session,
            PURGED,
            {"rule": rule, "records": records},
            actor=actor,
            channel="system",
            now=now,
            incident_id=incident_id,
        )
        for row in group:
            row.purged_at, row.purge_rule, row.purge_seq = event.occurred_at, rule, event.seq
    session.flush()
    if rule == BY_NEIGHBOUR:
        evidence_due.of_posts(session, sorted({row.post_id for row in rows}))
    return len(rows)


def names_of_posts(session: Session, ids: Sequence[int]) -> set[str]:
    """Names under which the originals of these posts may lie, in spool or evidence."""
    names: set[str] = set()
    for chunk in chunks(ids):
        names.update(session.scalars(select(Post.original).where(Post.id.in_(chunk))))
        names.update(session.scalars(select(Evidence.name).where(Evidence.post_id.in_(chunk))))
        names.update(session.scalars(select(EvidenceWant.name).where(EvidenceWant.post_id.in_(chunk))))
    return names - {""}


def named(session: Session) -> dict[str, bool]:
    """Name of every file that is or was evidence, and whether some post still needs it."""
    query = select(Evidence.name, func.max(case((Evidence.purged_at.is_(None), 1), else_=0))).group_by(
        Evidence.name
    )
    return {name: bool(active) for name, active in session.execute(query)}


def orphan(session: Session, name: str, sha256: str, now: datetime) -> None:
    """Note that a file which no post needs was set apart."""
    record_act(session, ORPHAN, {"name": name, "file": sha256}, actor="system", channel="system", now=now)


# --- reading


def of_incidents(session: Session, incident_ids: Iterable[int]) -> list[EvidenceView]:
    """Originals of the posts of these incidents, removed ones too, by post."""
    ids = sorted(incident_ids)
    query = (
        select(Evidence)
        .outerjoin(IncidentPost, IncidentPost.post_id == Evidence.post_id)
        .where(func.coalesce(IncidentPost.incident_id, Evidence.incident_id).in_(ids))
        .order_by(Evidence.post_id, Evidence.seq)
    )
    return [_view(row) for row in session.scalars(query)]


def all_rows(session: Session) -> list[EvidenceView]:
    """Every row, by post."""
    return [_view(row) for row in session.scalars(select(Evidence).order_by(Evidence.post_id, Evidence.seq))]


def missing_of(session: Session, incident_ids: Iterable[int]) -> list[MissingView]:
    """Posts of these incidents whose original is not there, with the reason."""
    query = (
        select(EvidenceWant)
        .join(IncidentPost, IncidentPost.post_id == EvidenceWant.post_id)
        .where(IncidentPost.incident_id.in_(sorted(incident_ids)), EvidenceWant.name == "")
        .order_by(EvidenceWant.post_id)
    )
    return [
        MissingView(row.post_id, row.since, row.tries, row.reason, row.given_up_at)
        for row in session.scalars(query)
    ]


def numbers(session: Session, incident_ids: Iterable[int]) -> Mapping[int, str]:
    """Number of each incident, else its id."""
    ids = sorted(set(incident_ids))
    found: dict[int, str] = {}
    for chunk in chunks(ids):
        query = select(Incident.id, Incident.number).where(Incident.id.in_(chunk))
        found |= {row.id: row.number or str(row.id) for row in session.execute(query)}
    return {id_: found.get(id_, str(id_)) for id_ in ids}


def record_reading(
    session: Session,
    incident_id: int,
    rows: Sequence[EvidenceView],
    reason: str,
    *,
    actor: str,
    channel: str,
    now: datetime,
) -> None:
    """Who is about to read which originals, and why. Committed before anything is handed out."""
    record_act(
        session,
        READ,
        {
            "reason": reason,
            "posts": sorted({row.post_id for row in rows}),
            "files": len({r.name for r in rows}),
        },
        actor=actor,
        channel=channel,
        now=now,
        incident_id=incident_id,
    )


def _view(row: Evidence) -> EvidenceView:
    return EvidenceView(**{name: getattr(row, name) for name in EvidenceView.__dataclass_fields__})
