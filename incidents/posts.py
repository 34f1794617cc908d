"""Posts in: each stored once, with its search index, whoever else is saving at the same moment.

Everything here works in the caller's transaction. Texts come in redacted; nothing personal is added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text, tuple_, update
from sqlalchemy.orm import Session

from incidents import hot_titles, stops
from incidents.chunks import chunks
from incidents.counts import Measure, keep_counts
from incidents.dialect import insert_into
from incidents.grams import storable
from incidents.index import IndexRow, add_to_index
from incidents.models import JsonDict, Post, Quarantine
from incidents.revisions import Reading, content_sha256, note_edits

#: key of PostgreSQL's advisory lock: one saver at a time, so that equal posts with two ids are seen
_SAVERS = 7_302_018_001
#: key of `provenance` that holds the number of the back-fill by which a post was collected
BACKFILL = "backfill"


@dataclass(frozen=True)
class NewPost:
    """One post as a source gave it, redacted and pseudonymised. Times are aware."""

    source_id: str
    external_id: str
    url: str
    title: str
    text: str
    published_at: datetime
    published_estimated: bool
    fetched_at: datetime
    author_key: str | None
    place_hint: str = ""
    engagement: JsonDict = field(default_factory=dict)
    provenance: JsonDict = field(default_factory=dict)
    #: digest of what was received, and the name of the original in the vault (see models.Post)
    received: str = ""
    original: str = ""
    #: the whole post as its source shows it now: other words than the stored ones are an edit
    whole: bool = False


_FIELDS = tuple(NewPost.__dataclass_fields__)


@dataclass(frozen=True)
class SaveResult:
    """What became of a batch. `ids` are the new posts in the order given; `saved` counts new hot titles too."""

    saved: int
    repeats: int
    ids: tuple[int, ...]
    #: posts not stored because their page was objected to (retention.object_to)
    objected: int = 0
    #: known posts that say something else now
    edited: tuple[int, ...] = ()


@dataclass(frozen=True)
class PostRow:
    """One stored post, as the judges need it."""

    id: int
    title: str
    text: str
    published_at: datetime
    fetched_at: datetime
    source_id: str
    author_key: str | None
    place_hint: str
    published_estimated: bool = False
    #: collected by a back-fill, on purpose and late: no news by itself
    backfilled: bool = False


@dataclass(frozen=True)
class QuarantineRow:
    """One input row that could not be taken. `row` is 1-based, the header line included."""

    id: int
    origin: str
    row: int | None
    field: str
    reason: str
    payload: JsonDict
    created_at: datetime
    resolved_at: datetime | None


def save_posts(session: Session, posts: Sequence[NewPost]) -> SaveResult:
    """Store what is new, index it, refresh the engagement of what is known, and notice where it says something else.
    Hot titles are no posts: they are kept apart.

    A repeat has the source and external id of a stored post, or its source, content and author (when the
    source names no author: its source, content and address). A repeat is not stored again.
    """
    if not posts:
        return SaveResult(0, 0, ())
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SAVERS})
    rows = [_values(post) for post in posts]
    # asked in the transaction that writes: an objection that came while a page was on its way counts
    objections = stops.in_force(session, "objection")
    welcome = [row for row in rows if not objections.of_post(row["source_id"], row["url"], row["author_key"])]
    titles = [row for row in welcome if hot_titles.is_title(row["provenance"])]
    hot = hot_titles.keep(
        session, [NewPost(**{name: row[name] for name in _FIELDS if name in row}) for row in titles]
    )
    new, repeats = _split(session, [row for row in welcome if not hot_titles.is_title(row["provenance"])])
    ids = _insert(session, new)
    _refresh_engagement(session, repeats)
    fresh = [
        Measure(id_, row["published_at"], row["fetched_at"], row["engagement"]) for id_, row in ids.items()
    ]
    keep_counts(session, [*fresh, *(_measure(id_, one) for id_, one in repeats.items())])
    whole = {_identity(row) for post, row in zip(posts, rows, strict=True) if post.whole}
    edited = note_edits(
        session,
        [
            Reading(id_, row["title"], row["text"], row["fetched_at"], row["provenance"])
            for id_, (stored, row) in repeats.items()
            if _identity(row) == _identity(stored)
            and _identity(row) in whole
            and row["content_sha256"] != stored["content_sha256"]
        ],
    )
    saved = len(ids) + hot
    return SaveResult(saved, len(welcome) - saved, tuple(ids), len(rows) - len(welcome), tuple(edited))


def other_texts(session: Session, posts: Sequence[NewPost]) -> set[tuple[str, str]]:
    """(source_id, external_id) of those `posts` that are stored with another text: save_posts would drop them as repeats."""
    given = {_identity(row): (post, row["content_sha256"]) for post in posts for row in [_values(post)]}
    found: set[tuple[str, str]] = set()
    for chunk in chunks(list(given)):
        query = select(Post.source_id, Post.external_id, Post.content_sha256).where(
            tuple_(Post.source_id, Post.external_id).in_(chunk)
        )
        for source, external, words in session.execute(query):
            post, ours = given[source, external]
            if words != ours:
                found.add((post.source_id, post.external_id))
    return found


def stored_ids(session: Session, posts: Sequence[NewPost]) -> list[int | None]:
    """Ids under which `posts` are stored by their own source and key, in the order given; None: not stored under it."""
    wanted = [_identity(_values(post)) for post in posts]
    known: dict[tuple[str, str], int] = {}
    for chunk in chunks(list(dict.fromkeys(wanted))):
        query = select(Post.id, Post.source_id, Post.external_id).where(
            tuple_(Post.source_id, Post.external_id).in_(chunk)
        )
        known |= {(source, external): id_ for id_, source, external in session.execute(query)}
    return [known.get(one) for one in wanted]


def is_stored(session: Session, post_id: int) -> bool:
    """Whether there is such a post (still)."""
    return session.scalar(select(Post.id).where(Post.id == post_id)) is not None


def _values(post: NewPost) -> dict[str, Any]:
    title, body = storable(post.title), storable(post.text)
    return {
        "source_id": post.source_id,
        "external_id": _short(storable(post.external_id)),
        "url": storable(post.url),
        "title": title,
        "text": body,
        "published_at": post.published_at,
        "published_estimated": post.published_estimated,
        "fetched_at": post.fetched_at,
        "judged_at": None,
        "author_key": post.author_key,
        "place_hint": storable(post.place_hint),
        "engagement": dict(post.engagement),
        "content_sha256": content_sha256(title, body),
        "provenance": storable_json(dict(post.provenance)),
        "received": post.received,
        "original": post.original,
        "unavailable_at": None,
    }


def _short(external_id: str) -> str:
    # some sources use whole addresses as ids; two that differ only at the end must stay two
    if len(external_id) <= 200:
        return external_id
    return f"{external_id[:135]}~{hashlib.sha256(external_id.encode()).hexdigest()}"


def _identity(row: dict[str, Any]) -> tuple[str, str]:
    return row["source_id"], row["external_id"]


def _content(row: dict[str, Any]) -> tuple[str, str, str, bool]:
    by_author = row["author_key"] is not None
    return row["source_id"], row["content_sha256"], row["author_key"] if by_author else row["url"], by_author


def _split(
    session: Session, rows: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], dict[int, tuple[dict[str, Any], dict[str, Any]]]]:
    """The rows to insert, and by id of a stored post: what is stored and what was read now."""
    columns = (
        Post.id,
        Post.source_id,
        Post.external_id,
        Post.content_sha256,
        Post.author_key,
        Post.url,
        Post.engagement,
        Post.published_at,
    )
    known: dict[tuple[Any, ...], dict[str, Any]] = {}
    identity = tuple_(Post.source_id, Post.external_id)
    conditions = []
    for chunk in chunks(rows):
        conditions.append(identity.in_([_identity(row) for row in chunk]))
        conditions.append(Post.content_sha256.in_([row["content_sha256"] for row in chunk]))
    for condition in conditions:
        for found in session.execute(select(*columns).where(condition)).mappings():
            stored = dict(found)
            known[_identity(stored)] = stored
            if _tells_apart(stored):
                known.setdefault(_content(stored), stored)
    new: list[dict[str, Any]] = []
    repeats: dict[int, tuple[dict[str, Any], dict[str, Any]]] = {}
    seen: set[tuple[Any, ...]] = set()
    for row in rows:
        keys = [_identity(row), *([_content(row)] if _tells_apart(row) else [])]
        hit = next((known[key] for key in keys if key in known), None)
        if hit is not None:
            repeats[hit["id"]] = (hit, row)
        elif not any(key in seen for key in keys):
            new.append(row)
        seen.update(keys)
    return new, repeats


def _tells_apart(row: dict[str, Any]) -> bool:
    # neither author nor address: two people may have written the same words in two work orders
    return row["author_key"] is not None or bool(row["url"])


def _insert(session: Session, rows: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """The new rows by their id, in their order."""
    ids: dict[tuple[str, str], int] = {}
    statement = (
        insert_into(session, Post)
        .on_conflict_do_nothing(index_elements=["source_id", "external_id"])
        .returning(Post.id, Post.source_id, Post.external_id)
    )
    for chunk in chunks(rows):
        for id_, source, external in session.execute(statement, list(chunk)):
            ids[source, external] = id_
    stored = [row for row in rows if _identity(row) in ids]
    add_to_index(session, [IndexRow(ids[_identity(row)], row["title"], row["text"]) for row in stored])
    return {ids[_identity(row)]: row for row in stored}


def _measure(id_: int, one: tuple[dict[str, Any], dict[str, Any]]) -> Measure:
    stored, seen = one
    return Measure(id_, stored["published_at"], seen["fetched_at"], seen["engagement"])


def _refresh_engagement(session: Session, repeats: dict[int, tuple[dict[str, Any], dict[str, Any]]]) -> None:
    for id_, (stored, seen) in repeats.items():
        merged = stored["engagement"] | seen["engagement"]
        if merged != stored["engagement"]:
            session.execute(update(Post).where(Post.id == id_).values(engagement=merged))


def unjudged(session: Session, limit: int) -> list[PostRow]:
    """Posts that wait for a judgement, in the order of their saving."""
    query = (
        select(
            Post.id,
            Post.title,
            Post.text,
            Post.published_at,
            Post.fetched_at,
            Post.source_id,
            Post.author_key,
            Post.place_hint,
            Post.published_estimated,
            Post.provenance,
        )
        .where(Post.judged_at.is_(None))
        .order_by(Post.id)
        .limit(limit)
    )
    rows: list[Any] = list(session.execute(query))
    return [PostRow(*[*row[:-1], BACKFILL in (row[-1] or {})]) for row in rows]


def count_unjudged(session: Session) -> int:
    """How many posts wait for a judgement: the lag of the judges."""
    return session.scalar(select(func.count()).select_from(Post).where(Post.judged_at.is_(None))) or 0


def set_aside(
    session: Session,
    origin: str,
    row: int | None,
    field: str,
    reason: str,
    payload: JsonDict,
    now: datetime,
) -> int:
    """Keep an input row that could not be taken, with the reason in words. `payload` must be redacted."""
    entry = Quarantine(
        origin=storable(origin),
        row=row,
        field=storable(field)[:120],
        reason=storable(reason),
        payload=storable_json(payload),
        created_at=now,
    )
    session.add(entry)
    session.flush()
    return entry.id


def storable_json(value: Any) -> Any:
    """A copy of a JSON value whose texts every database takes."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(str(key)): storable_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [storable_json(inner) for inner in value]
    return value


def list_quarantine(session: Session, limit: int = 200) -> list[QuarantineRow]:
    """Rows that wait for somebody, newest first."""
    query = (
        select(Quarantine).where(Quarantine.resolved_at.is_(None)).order_by(Quarantine.id.desc()).limit(limit)
    )
    return [
        QuarantineRow(
            entry.id,
            entry.origin,
            entry.row,
            entry.field,
            entry.reason,
            entry.payload,
            entry.created_at,
            entry.resolved_at,
        )
        for entry in session.scalars(query)
    ]


def resolve_quarantine(session: Session, entry_id: int, now: datetime) -> bool:
    """Take a row off the list (imported again, or discarded). False when it was not on it."""
    entry = session.get(Quarantine, entry_id)
    if entry is None or entry.resolved_at is not None:
        return False
    entry.resolved_at = now
    session.flush()
    return True
