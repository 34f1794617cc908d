"""Forget what need not be known any more: posts past their time, and posts whose authors objected.

Numbers stay (counts of incidents, hours, events); texts, pseudonyms, judgements and search tokens go. Every act
leaves one event with counts in the record, and nothing of what was removed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import cast

from sqlalchemy import delete, func, or_, select, text, update
from sqlalchemy.orm import Session

from config.settings import PrivacySettings
from incidents import evidence, hot_titles, imported_calls, proposals, stops
from incidents.beats import beat, get_beat
from incidents.chunks import chunks
from incidents.index import remove_from_index, want_compact
from incidents.lifecycle import record_act
from incidents.models import (
    HotTitle,
    Incident,
    IncidentEvent,
    IncidentHour,
    IncidentPost,
    Judgement,
    LoginSession,
    Post,
    Quarantine,
)
from incidents.stops import Scope, Stops, spellings

#: sign of life of the daily look whether objections are kept
CHECKED = "objections.check"


@dataclass(frozen=True)
class PurgeReport:
    """What was removed."""

    posts: int  # outside any incident
    incident_posts: int  # evidence of incidents long over
    clusters: int  # clusters that never emerged and have no post left
    quarantine: int  # input rows set aside
    sessions: int  # console sessions past their end
    originals: int = 0  # evidence files of posts; those of open incidents never go
    hot_titles: int = 0  # titles of hot lists

    @property
    def anything(self) -> bool:
        """Whether there was anything to remove."""
        return any(asdict(self).values())


@dataclass(frozen=True)
class ObjectionReport:
    """What an objection removed. Its target stays barred even when there was nothing."""

    posts: int
    #: originals marked as removed, other posts' in the same answers included
    originals: int = 0
    #: files that may hold the post and have to go now (incidents.vault)
    names: tuple[str, ...] = field(default=(), compare=False, repr=False)
    set_aside: int = 0


def purge(session: Session, now: datetime, privacy: PrivacySettings, *, actor: str = "system") -> PurgeReport:
    """Remove what is older than `privacy` allows; age counts from the fetch.

    A post outside any incident (or in a cluster that never emerged) lives `post_days`. The posts of an incident
    stay while it is open and `incident_post_days` after its last event; a merged one follows its parent. Their originals
    stay `evidence_days` after it, at most as long as the posts. Files are not touched here: spiders.evidence_job.sweep
    removes those that no row needs any more.
    """
    free_until = now - timedelta(days=privacy.post_days)
    evidence_until = now - timedelta(days=privacy.incident_post_days)
    _erase_on_disk(session)
    over = _over_since(session, now - timedelta(days=privacy.evidence_days))
    originals = evidence.purge_over(session, over, now, actor=actor)
    old = _of_incidents_over(session, evidence_until)
    free = _free(session, free_until)
    originals += evidence.purge_with_posts(session, [*old, *free], evidence.WITH_POST, now, actor=actor)
    _remove_posts(session, [*old, *free], now)
    if titles := hot_titles.move_old(session):
        originals += evidence.purge_with_posts(session, titles, evidence.WITH_POST, now, actor=actor)
        _remove_posts(session, titles, now)
    hot = hot_titles.forget(session, free_until)
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
    report = PurgeReport(len(free), len(old), clusters, len(aside), len(ended), originals, hot)
    want_compact(session)  # every night: new posts come in small parts that take more room
    if report.anything:
        record_act(session, "purged", asdict(report), actor=actor, channel="system", now=now)
    return report


def object_to(
    session: Session,
    url: str,
    now: datetime,
    *,
    reason: str = "objection to one page",
    actor: str = "operator",
    channel: str = "cli",
    files: Iterable[str] = (),
) -> ObjectionReport:
    """Remove every post at this address and never fetch or store it again (an author's objection).

    Scheme, trailing slash and fragment make no difference. Only a hash of the address is kept. `files` are further answers
    that hold the post (spiders.traces.mentions): their originals go too, whatever other posts they hold.
    """
    return objection(session, "page", url, now, reason=reason, actor=actor, channel=channel, files=files)


def objection(
    session: Session,
    scope: Scope,
    target: str,
    now: datetime,
    *,
    reason: str,
    actor: str,
    channel: str,
    files: Iterable[str] = (),
) -> ObjectionReport:
    """Somebody objects: remove what is stored of it, for good, and let nothing of it be fetched or stored any more.

    `scope` is host, prefix, page, source or author (by pseudonym). Posts go with judgement, labels and search index as
    in a purge, set-aside rows of the same origin or address too; numbers of incidents stay. Raises incidents.states.Refused
    for a target that cannot be meant or an empty reason.
    """
    stop = stops.make(
        session, "objection", scope, target, reason=reason, actor=actor, channel=channel, now=now
    )
    return enforce(session, stop, now, actor=actor, channel=channel, address=target, files=files)


def enforce(
    session: Session,
    stop: stops.Stop,
    now: datetime,
    *,
    actor: str,
    channel: str,
    address: str = "",
    files: Iterable[str] = (),
) -> ObjectionReport:
    """Remove what is stored in spite of an objection that is in force; leaves its counts in the record.

    The caller deletes the originals that the report names (incidents.vault).
    """
    scope = cast("Scope", stop.scope)
    _erase_on_disk(session)
    ids = _concerned(session, scope, stop.target, address)
    names = evidence.names_of_posts(session, ids) | set(files)
    originals = evidence.purge_with_posts(session, ids, evidence.BY_OBJECTION, now, actor=actor)
    originals += evidence.purge_names(session, names, evidence.BY_NEIGHBOUR, now, actor=actor)
    _remove_posts(session, ids, now)
    titles = hot_titles.object_to(session, _titles(session, scope, stop.target))
    if ids:
        want_compact(session)
    aside = _remove_set_aside(session, scope, stop.target)
    about = {
        "scope": scope,
        "target": stop.target,
        "posts": len(ids) + titles,
        "originals": originals,
        "set_aside": aside,
    }
    record_act(session, "objection_enforced", about, actor=actor, channel=channel, now=now)
    return ObjectionReport(len(ids) + titles, originals, tuple(sorted(names)), aside)


def _titles(session: Session, scope: Scope, target: str) -> list[str]:
    """Addresses of hot-list titles that an objection concerns."""
    asked = _only(scope, target)
    rows = session.execute(select(HotTitle.source_id, HotTitle.url))
    return [row.url for row in rows if asked.of_source(row.source_id) or asked.of_url(row.url)]


def objected_posts(session: Session, scope: Scope, target: str) -> list[int]:
    """Ids of the stored posts that an objection concerns. Raises Refused for a target that cannot be meant."""
    return _concerned(session, scope, stops.target_of(scope, target), target)


def _concerned(session: Session, scope: Scope, kept: str, address: str = "") -> list[int]:
    """The same of a target as it is kept; `address` of a page, where it is known, spares asking every post."""
    if scope == "author":
        return list(session.scalars(select(Post.id).where(Post.author_key == kept).order_by(Post.id)))
    if scope == "source":
        return list(session.scalars(select(Post.id).where(Post.source_id == kept).order_by(Post.id)))
    if scope == "page" and address.strip() != kept and address:
        written = {*spellings(address), *spellings(stops.meant(address))}
        addresses = sorted(written | {one.partition("://")[2] or one for one in written})
        begins = (Post.url.startswith(f"{one}#", autoescape=True) for one in addresses)
        likely = or_(Post.url.in_(addresses), *begins)
    elif scope == "page":
        likely = Post.url != ""
    else:
        host = kept.removeprefix("*.").partition("/")[0]
        likely = func.lower(Post.url).contains(host, autoescape=True)
    asked = _only(scope, kept)
    rows = session.execute(select(Post.id, Post.url).where(likely).order_by(Post.id))
    return [row.id for row in rows if asked.of_url(row.url) is not None]


def _only(scope: Scope, target: str) -> Stops:
    """This one objection, to be asked for addresses."""
    return Stops((stops.Stop("objection", scope, target, "", "", datetime.min.replace(tzinfo=UTC)),))


def _remove_set_aside(session: Session, scope: Scope, target: str) -> int:
    """Rows set aside of the same origin or address; they hold no author, so an author's cannot be found."""
    asked = _only(scope, target)
    ids = [
        row.id
        for row in session.execute(select(Quarantine.id, Quarantine.origin, Quarantine.payload))
        # rows that a source of its own hands over: "orders/2026.csv#..."
        if asked.of_source(row.origin.partition("/")[0])
        or any(asked.of_url(one) for one in _addresses(row.payload))
    ]
    for chunk in chunks(ids):
        session.execute(delete(Quarantine).where(Quarantine.id.in_(chunk)))
    return len(ids)


def _addresses(payload: dict[str, object]) -> list[str]:
    """Web addresses in a row that was set aside: those of a file stand under the names of its own columns."""
    named = [payload.get(name) for name in ("url", "link")]
    webby = [value for value in payload.values() if str(value).startswith(("http://", "https://"))]
    return [str(value) for value in (*named, *webby) if value]


def overlooked(session: Session) -> list[tuple[stops.Stop, int]]:
    """Objections in force of which posts are stored nevertheless (a restored backup, a row changed by hand), with their number."""
    found = []
    pages: dict[str, stops.Stop] = {}
    for stop in stops.active(session, "objection"):
        if stop.scope == "page":
            pages[stop.target] = stop
        elif ids := _concerned(session, cast("Scope", stop.scope), stop.target):
            found.append((stop, len(ids)))
    if pages:  # only hashes are known: every stored address is asked once
        counts = Counter(
            key
            for url in session.scalars(select(Post.url))
            if url
            for key in {stops.page_key(url), stops.page_key(stops.meant(url))}
        )
        found += [(stop, counts[key]) for key, stop in pages.items() if counts[key]]
    return found


def note_check(session: Session, found: Sequence[tuple[stops.Stop, int]], now: datetime) -> None:
    """Remember what `overlooked` found: it asks every stored address, so pages show its last answer and do not ask."""
    beat(session, CHECKED, now, {"posts": sum(number for _, number in found)})


def last_check(session: Session) -> tuple[datetime, int] | None:
    """When it was last looked whether objections are kept, and how many posts were stored in spite of one."""
    last = get_beat(session, CHECKED)
    return (last.ok_at, int(last.value.get("posts", 0))) if last is not None else None


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


def _of_incidents_over(session: Session, until: datetime) -> list[int]:
    ids = _over_since(session, until)
    found: list[int] = []
    for chunk in chunks(ids):
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
        .where(Incident.state.in_(evidence.OVER))
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
        imported_calls.forget(session, ids)
    for chunk in chunks(ids):
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
    for chunk in chunks(ids):
        session.execute(delete(IncidentHour).where(IncidentHour.incident_id.in_(chunk)))
        session.execute(delete(Incident).where(Incident.id.in_(chunk)))
    return len(ids)
