"""Posts in: each stored once, with its search index, whoever else is saving at the same moment.

Everything here works in the caller's transaction. Texts come in redacted; nothing personal is added.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urldefrag

from sqlalchemy import func, select, text, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from incidents.grams import storable
from incidents.index import IndexRow, add_to_index
from incidents.models import JsonDict, Meta, Post, Quarantine

#: rows per statement; SQLite takes 32,766 parameters
_CHUNK = 400
#: key of PostgreSQL's advisory lock: one saver at a time, so that equal posts with two ids are seen
_SAVERS = 7_302_018_001


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


@dataclass(frozen=True)
class SaveResult:
    """What became of a batch. `ids` are the new rows in the order in which their posts were given."""

    saved: int
    repeats: int
    ids: tuple[int, ...]
    #: posts not stored because their page was objected to (retention.object_to)
    objected: int = 0


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


def content_sha256(title: str, body: str) -> str:
    """The fingerprint by which exact repeats of a text are known."""
    return hashlib.sha256(f"{title}\n{body}".encode()).hexdigest()


def spellings(url: str) -> list[str]:
    """The address with and without a final slash, by http and by https, without its fragment."""
    plain = urldefrag(url.strip()).url.removesuffix("/")
    rest = plain.partition("://")[2]
    forms = [f"http://{rest}", f"https://{rest}"] if plain.startswith(("http://", "https://")) else [plain]
    return [form + slash for form in forms for slash in ("", "/")]


def objection_key(url: str) -> str:
    """Row of `meta` that remembers an objection; the address itself is not kept."""
    return "objection:" + hashlib.sha256(spellings(url)[0].encode()).hexdigest()[:30]


def save_posts(session: Session, posts: Sequence[NewPost]) -> SaveResult:
    """Store what is new, index it, and refresh the engagement of what is known.

    A repeat has the source and external id of a stored post, or its source, content and author (when the
    source names no author: its source, content and address). A repeat is not stored again.
    """
    if not posts:
        return SaveResult(0, 0, ())
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _SAVERS})
    rows = [_values(post) for post in posts]
    objected = _objected(session, {row["url"] for row in rows if row["url"]})
    welcome = [row for row in rows if row["url"] not in objected]
    new, repeats = _split(session, welcome)
    ids = _insert(session, new)
    _refresh_engagement(session, repeats)
    return SaveResult(len(ids), len(welcome) - len(ids), tuple(ids), len(rows) - len(welcome))


def other_texts(session: Session, posts: Sequence[NewPost]) -> set[tuple[str, str]]:
    """(source_id, external_id) of those `posts` that are stored with another text: save_posts would drop them as repeats."""
    given = {_identity(row): (post, row["content_sha256"]) for post in posts for row in [_values(post)]}
    found: set[tuple[str, str]] = set()
    for chunk in _chunks(list(given)):
        query = select(Post.source_id, Post.external_id, Post.content_sha256).where(
            tuple_(Post.source_id, Post.external_id).in_(chunk)
        )
        for source, external, words in session.execute(query):
            post, ours = given[source, external]
            if words != ours:
                found.add((post.source_id, post.external_id))
    return found


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
        "provenance": dict(post.provenance),
        "unavailable_at": None,
    }


def _short(external_id: str) -> str:
    # some sources use whole addresses as ids; two that differ only at the end must stay two
    if len(external_id) <= 200:
        return external_id
    return f"{external_id[:135]}~{hashlib.sha256(external_id.encode()).hexdigest()}"


def _chunks(items: Sequence[Any], size: int = _CHUNK) -> Iterable[Sequence[Any]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _objected(session: Session, urls: set[str]) -> set[str]:
    keys = {url: objection_key(url) for url in urls}
    barred: set[str] = set()
    for chunk in _chunks(sorted(set(keys.values()))):
        barred.update(session.scalars(select(Meta.key).where(Meta.key.in_(chunk))))
    return {url for url, key in keys.items() if key in barred}


def _identity(row: dict[str, Any]) -> tuple[str, str]:
    return row["source_id"], row["external_id"]


def _content(row: dict[str, Any]) -> tuple[str, str, str, bool]:
    by_author = row["author_key"] is not None
    return row["source_id"], row["content_sha256"], row["author_key"] if by_author else row["url"], by_author


def _split(
    session: Session, rows: list[dict[str, Any]]
) -> tuple[list[dict[str, Any]], dict[int, tuple[JsonDict, JsonDict]]]:
    """The rows to insert, and by id of a stored post: its engagement as stored and as seen now."""
    columns = (
        Post.id,
        Post.source_id,
        Post.external_id,
        Post.content_sha256,
        Post.author_key,
        Post.url,
        Post.engagement,
    )
    known: dict[tuple[Any, ...], tuple[int, JsonDict]] = {}
    identity = tuple_(Post.source_id, Post.external_id)
    conditions = []
    for chunk in _chunks(rows):
        conditions.append(identity.in_([_identity(row) for row in chunk]))
        conditions.append(Post.content_sha256.in_([row["content_sha256"] for row in chunk]))
    for condition in conditions:
        for found in session.execute(select(*columns).where(condition)).mappings():
            stored = dict(found)
            known[_identity(stored)] = (stored["id"], stored["engagement"])
            if _tells_apart(stored):
                known.setdefault(_content(stored), (stored["id"], stored["engagement"]))
    new: list[dict[str, Any]] = []
    repeats: dict[int, tuple[JsonDict, JsonDict]] = {}
    seen: set[tuple[Any, ...]] = set()
    for row in rows:
        keys = [_identity(row), *([_content(row)] if _tells_apart(row) else [])]
        hit = next((known[key] for key in keys if key in known), None)
        if hit is not None:
            repeats[hit[0]] = (hit[1], row["engagement"])
        elif not any(key in seen for key in keys):
            new.append(row)
        seen.update(keys)
    return new, repeats


def _tells_apart(row: dict[str, Any]) -> bool:
    # neither author nor address: two people may have written the same words in two work orders
    return row["author_key"] is not None or bool(row["url"])


def _insert(session: Session, rows: list[dict[str, Any]]) -> list[int]:
    ids: dict[tuple[str, str], int] = {}
    insert = postgresql.insert if session.get_bind().dialect.name == "postgresql" else sqlite.insert
    statement = (
        insert(Post)
        .on_conflict_do_nothing(index_elements=["source_id", "external_id"])
        .returning(Post.id, Post.source_id, Post.external_id)
    )
    for chunk in _chunks(rows):
        for id_, source, external in session.execute(statement, list(chunk)):
            ids[source, external] = id_
    stored = [row for row in rows if _identity(row) in ids]
    add_to_index(session, [IndexRow(ids[_identity(row)], row["title"], row["text"]) for row in stored])
    return [ids[_identity(row)] for row in stored]


def _refresh_engagement(session: Session, repeats: dict[int, tuple[JsonDict, JsonDict]]) -> None:
    for id_, (stored, seen) in repeats.items():
        merged = stored | seen
        if merged != stored:
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
        )
        .where(Post.judged_at.is_(None))
        .order_by(Post.id)
        .limit(limit)
    )
    return [PostRow(*row) for row in session.execute(query)]


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
        payload=_storable_json(payload),
        created_at=now,
    )
    session.add(entry)
    session.flush()
    return entry.id


def _storable_json(value: Any) -> Any:
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, dict):
        return {storable(str(key)): _storable_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_storable_json(inner) for inner in value]
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
