"""Call-backs that a hotline's export brings with its work orders: kept by post, counted in the incident that holds it, once each.

A row is what one work order says of its caller: two words and a time, no text and no identity. It is kept at the import and counted
by `settle` once the incident is answered, as entries of incidents.call_backs with their source: one for each incident, source, round and
day, so that a thousand callers are a few events. A later export puts a row right, and the entries that it touched are written anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.orm import Session

from incidents import call_backs, judged
from incidents.call_backs import ASKED_IN, Said
from incidents.chunks import chunks
from incidents.models import ImportedCall, Incident, IncidentEvent, IncidentPost, Post
from incidents.states import State

#: calls that are counted in one transaction, so that nobody waits long for the writer
AT_ONCE = 2000
#: so long after its closing an incident still takes in what exports say of its callers
LATE = timedelta(days=90)


@dataclass(frozen=True)
class GivenCall:
    """What an export says of one caller: solved, unsolved or unknown; satisfied, basically or dissatisfied ("": nothing);
    and when the call was made, if it says so."""

    solved: str = ""
    satisfied: str = ""
    called_at: datetime | None = None

    @property
    def says_something(self) -> bool:
        """Whether the caller said anything."""
        return bool(self.solved or self.satisfied)


def keep(session: Session, given: Iterable[tuple[int, GivenCall]], now: datetime) -> int:
    """Keep what was said of stored posts, in the caller's transaction; returns how many rows are new or say something else.

    A call of an earlier time than the one that is kept changes nothing: an old export was imported again. Nor does silence.
    """
    changed = 0
    for post_id, said in given:
        if not said.says_something:
            continue
        row = session.get(ImportedCall, post_id)
        if row is None:
            session.add(
                ImportedCall(
                    post_id=post_id,
                    solved=said.solved,
                    satisfied=said.satisfied,
                    called_at=said.called_at or now,
                    timed=said.called_at is not None,
                    noticed_at=now,
                    counted=False,
                )
            )
            session.flush()
            changed += 1
        elif _put_right(row, said, now):
            changed += 1
    session.flush()
    return changed


def _put_right(row: ImportedCall, said: GivenCall, now: datetime) -> bool:
    if row.timed and (said.called_at is None or said.called_at < row.called_at):
        return False
    same_call = said.called_at is None or (row.timed and said.called_at == row.called_at)
    solved = said.solved or (row.solved if same_call else "")
    satisfied = said.satisfied or (row.satisfied if same_call else "")
    at = said.called_at or row.called_at
    if (solved, satisfied, at, said.called_at is not None) == (
        row.solved,
        row.satisfied,
        row.called_at,
        row.timed,
    ):
        return False
    row.solved, row.satisfied, row.called_at, row.timed = solved, satisfied, at, said.called_at is not None
    row.noticed_at, row.counted = now, False
    return True


def waiting(session: Session, now: datetime) -> dict[int, int | None]:
    """Calls that do not stand where they belong, by post: the incident in which they count now, or None while there is none.

    A call counts in the incident that holds its post, or into which that was merged, once it is answered.
    """
    open_still = or_(Incident.closed_at.is_(None), Incident.closed_at >= now - LATE)
    counts_in = [*map(str, ASKED_IN), str(State.MERGED)]
    lost = and_(
        ImportedCall.incident_id.is_not(None),
        or_(
            ImportedCall.holder_id != IncidentPost.incident_id,
            # it was merged when the call was counted, and is a matter of its own again
            and_(Incident.state != str(State.MERGED), ImportedCall.incident_id != Incident.id),
        ),
    )
    held = (
        select(ImportedCall.post_id, IncidentPost.incident_id)
        .join(IncidentPost, IncidentPost.post_id == ImportedCall.post_id)
        .join(Incident, Incident.id == IncidentPost.incident_id)
        .where(open_still, or_(and_(ImportedCall.counted.is_(False), Incident.state.in_(counts_in)), lost))
    )
    # a person took the post out of the incident; a post that retention took leaves its number
    taken_out = (
        select(ImportedCall.post_id)
        .join(Incident, Incident.id == ImportedCall.incident_id)
        .join(Post, Post.id == ImportedCall.post_id)
        .outerjoin(IncidentPost, IncidentPost.post_id == ImportedCall.post_id)
        .where(open_still, IncidentPost.post_id.is_(None))
    )
    holders: dict[int, int] = {row.post_id: row.incident_id for row in session.execute(held)}
    roots = {holder: judged.root_of(session, holder) for holder in set(holders.values())}
    answered = set[int]()
    for chunk in chunks(sorted(set(roots.values()))):
        states = Incident.state.in_([*map(str, ASKED_IN)])
        answered.update(session.scalars(select(Incident.id).where(Incident.id.in_(chunk), states)))
    found: dict[int, int | None] = dict.fromkeys(session.scalars(taken_out))
    counted = _counted(session, [post for post, holder in holders.items() if roots[holder] not in answered])
    for post, holder in holders.items():
        if roots[holder] in answered:
            found[post] = holder
        elif post in counted:
            found[post] = None
    return found


def _counted(session: Session, posts: Sequence[int]) -> set[int]:
    """Those of these posts whose calls stand in some incident."""
    found = set[int]()
    for chunk in chunks(posts):
        counted = ImportedCall.incident_id.is_not(None)
        found.update(
            session.scalars(select(ImportedCall.post_id).where(ImportedCall.post_id.in_(chunk), counted))
        )
    return found


def settle(session: Session, now: datetime, zone: tzinfo, limit: int = AT_ONCE) -> tuple[int, int]:
    """Count what waits, at most `limit` calls, in the caller's transaction; returns how many calls found their place and how
    many entries were written. `zone` says where a day begins."""
    places = waiting(session, now)
    # calls of one incident together, so that its entries are written once
    chosen = sorted(places, key=lambda post: (places[post] or 0, post))[:limit]
    touched: dict[tuple[int, str], None] = {}
    roots: dict[int, tuple[int, list[tuple[int, datetime]]]] = {}
    for chunk in chunks(chosen):
        query = select(ImportedCall, Post.source_id).join(Post, Post.id == ImportedCall.post_id)
        for row, source in session.execute(query.where(ImportedCall.post_id.in_(chunk))).all():
            holder = places[row.post_id]
            if row.incident_id is not None:
                touched[row.incident_id, row.entry] = None
            if holder is None:
                row.incident_id, row.holder_id, row.entry, row.counted = None, None, "", False
                continue
            if holder not in roots:
                root = judged.root_of(session, holder)
                roots[holder] = root, _rounds(session, root)
            target, starts = roots[holder]
            row.round = max((number for number, since in starts if since <= row.called_at), default=1)
            row.entry = _key(source, row.round, row.called_at.astimezone(zone).strftime("%Y-%m-%d"))
            row.source_id, row.incident_id, row.holder_id, row.counted = source, target, holder, True
            touched[target, row.entry] = None
    session.flush()
    written = sum(_write(session, incident_id, entry, now) for incident_id, entry in touched)
    return len(chosen), written


def _rounds(session: Session, incident_id: int) -> list[tuple[int, datetime]]:
    query = select(IncidentEvent.round, IncidentEvent.occurred_at).where(
        IncidentEvent.incident_id == incident_id, IncidentEvent.kind == "reopened"
    )
    return [(round_, since) for round_, since in session.execute(query)]


def _key(source: str, round_: int, day: str) -> str:
    name = source if len(source) <= 40 else hashlib.sha256(source.encode()).hexdigest()[:32]
    return f"import:{name}:{round_}:{day}"


def _write(session: Session, incident_id: int, entry: str, now: datetime) -> bool:
    """Write one entry as its rows give it; False when it says so already or a person withdrew it."""
    mine = (ImportedCall.incident_id == incident_id, ImportedCall.entry == entry)
    counts: dict[str, int] = {}
    for column in (ImportedCall.solved, ImportedCall.satisfied):
        found = session.execute(select(column, func.count()).where(*mine, column != "").group_by(column))
        counts |= {row[0]: row[1] for row in found}
    made = select(
        func.max(ImportedCall.called_at), func.max(ImportedCall.source_id), func.max(ImportedCall.round)
    )
    latest, source, round_ = session.execute(made.where(*mine)).one()
    return call_backs.enter_imported(
        session,
        incident_id,
        Said(**counts),
        key=entry,
        source=source or "",
        round_=round_ or 0,
        made_at=latest or now,
        now=now,
    )


def forget(session: Session, post_ids: Sequence[int]) -> None:
    """Drop what was said of posts that go, unless it was counted: those are numbers of their incident and hold no text."""
    for chunk in chunks(post_ids):
        session.execute(
            delete(ImportedCall)
            .where(ImportedCall.post_id.in_(chunk), ImportedCall.incident_id.is_(None))
            .execution_options(synchronize_session=False)
        )
