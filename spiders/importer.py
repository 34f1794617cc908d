"""Posts from files: hotline work orders, vendor exports, archives. Good rows go in, bad rows are set aside with their reason.

Importing the same file twice changes nothing, so an import that was killed is simply started again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from dataclasses import field as default
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from incidents import imported_calls
from incidents.crawl_progress import keep_cursor
from incidents.imported_calls import GivenCall
from incidents.posts import (
    NewPost,
    SaveResult,
    is_stored,
    other_texts,
    resolve_quarantine,
    save_posts,
    stored_ids,
)
from incidents.quarantine import set_aside_once, waiting
from incidents.session import Database, Session
from incidents.sources import get_state
from spiders.captures import read_capture
from spiders.dates import is_future, parse_when
from spiders.exchange import row_digest
from spiders.items import PostItem, Unusable
from spiders.pagetext import plain
from spiders.pipelines import external_id, to_post
from spiders.profiles import CALLS, COUNTS, Profile, load_profile
from spiders.redact import redact, redact_value
from spiders.said import Unclear, said_of
from spiders.source_run import zone_of
from spiders.tables import RawRow, UnreadableFile, file_sha256, read_rows, told

__all__ = [
    "BadRow",
    "Found",
    "ImportReport",
    "RetryReport",
    "UnreadableFile",
    "batches",
    "import_file",
    "posts_of",
    "read_posts",
    "retry_set_aside",
    "rows_of",
    "save_found",
]

log = logging.getLogger(__name__)

#: posts in one transaction
BATCH = 400
#: bad rows that a report lists; all of them are set aside
LISTED = 200
#: key of a set-aside row under which the digest of the row as it came is kept
RECEIVED = "received digest"
#: key of a set-aside call-back under which the number of its post is kept: the post itself was taken
CALL_OF = "call-back of post"
#: stands in set-aside rows where a person's data stood
REMOVED = "[已删除]"


@dataclass(frozen=True)
class BadRow:
    """A row that cannot become a post. `row` counts from 1 with the header; `payload` is redacted."""

    file: str
    row: int
    field: str
    reason: str
    payload: dict[str, Any] = default(default_factory=dict)

    def sentence(self) -> str:
        """File, row, field, reason."""
        return f"{self.file}, row {self.row}" + (f", {self.field}" if self.field else "") + f": {self.reason}"


@dataclass
class ImportReport:
    """What an import did, or would do (`dry_run`)."""

    file: str
    profile: str
    dry_run: bool
    rows: int = 0
    saved: int = 0
    repeats: int = 0
    bad: int = 0
    #: call-backs of good rows that could not be read
    calls_aside: int = 0
    #: the first LISTED bad rows
    bad_rows: list[BadRow] = default(default_factory=list)
    #: field -> columns of the file that fill it
    columns: dict[str, tuple[str, ...]] = default(default_factory=dict)
    sha256: str = ""

    def describe(self) -> str:
        """One line for people."""
        verb = "would be saved" if self.dry_run else "saved"
        calls = f", {self.calls_aside} call-backs set aside" if self.calls_aside else ""
        return f"{self.file}: {self.rows} rows, {self.saved} posts {verb}, {self.repeats} known already, {self.bad} set aside{calls}"


@dataclass(frozen=True)
class RetryReport:
    """What became of set-aside rows that were tried again."""

    tried: int
    saved: int
    #: addresses that the next crawl of their source asks for again
    asked_again: int
    still_bad: tuple[str, ...]


Progress = Callable[[int, float], None]


class Found(NamedTuple):
    """What a row gave, the row, which of its columns fill which field, and what it says of a call-back."""

    post: NewPost | BadRow
    raw: RawRow
    columns: dict[str, tuple[str, ...]]
    call: GivenCall | Unclear | None = None


def read_posts(
    path: Path,
    key: bytes,
    now: datetime,
    profile: Profile | None = None,
    *,
    with_fraction: Callable[[float], None] | None = None,
) -> Iterator[NewPost | BadRow]:
    """The posts of a file in its order, redacted and pseudonymised, not saved; `fetched_at` is `now`.

    For replay: each post's own time is `published_at`. Raises UnreadableFile; a bad row comes as BadRow.
    """
    return (found.post for found in _read(path, key, now, profile or load_profile(), with_fraction))


def _read(
    path: Path,
    key: bytes,
    now: datetime,
    mapping: Profile,
    with_fraction: Callable[[float], None] | None,
) -> Iterator[Found]:
    return posts_of(rows_of(path, mapping), told(path.name), mapping, key, now, with_fraction)


def rows_of(path: Path, mapping: Profile) -> Iterator[RawRow]:
    """The rows of a file as its profile reads it: a table or a capture. Raises UnreadableFile, also while it is read."""
    if mapping.reader == "table":
        rows = read_rows(path, lambda cells: "text" in mapping.match(cells), mapping.encoding)
    else:
        rows = read_capture(path, mapping.reader, mapping.captured_at, mapping.encoding)
    return _to_the_end(path, rows)


def _to_the_end(path: Path, rows: Iterator[RawRow]) -> Iterator[RawRow]:
    """`rows`; whatever a damaged file does to its reader is told as one that cannot be read, so that the next file gets its turn."""
    try:
        yield from rows
    except (UnreadableFile, OSError, GeneratorExit):
        raise
    except Exception as exc:
        log.exception("%s could not be read to its end", path)
        raise UnreadableFile(
            f"{path}: damaged ({type(exc).__name__}); save it again where it comes from"
        ) from exc


def posts_of(
    rows: Iterable[RawRow],
    origin: str,
    mapping: Profile,
    key: bytes,
    now: datetime,
    with_fraction: Callable[[float], None] | None = None,
) -> Iterator[Found]:
    """What each row gives, redacted and pseudonymised, not saved. `origin` names the rows' file or source in what is told of them."""
    seen: dict[tuple[str, str], tuple[int, str]] = {}
    columns: dict[str, tuple[str, ...]] = {}
    header: tuple[str, ...] = ()
    for raw in rows:
        if with_fraction is not None:
            with_fraction(raw.fraction)
        if RECEIVED in raw.values or CALL_OF in raw.values:
            # ours alone to write: a row must not choose what it is compared with
            own = {name: value for name, value in raw.values.items() if name not in (RECEIVED, CALL_OF)}
            raw = replace(raw, values=own)
        names = tuple(raw.values)
        if names != header:
            header, columns = names, mapping.match(names)
        found = _row_to_post_or_bad(origin, raw, columns, mapping, key, now)
        if isinstance(found, NewPost):
            found = _unless_conflict(found, raw, columns, origin, seen)
        call = said_of(raw.values, columns, mapping, now) if isinstance(found, NewPost) else None
        yield Found(found, raw, columns, call)


def import_file(
    db: Database,
    path: Path,
    profile: Profile | None,
    key: bytes,
    now: datetime,
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> ImportReport:
    """Save the posts of a file; `profile` None takes the packaged one. Raises UnreadableFile when nothing can be read.

    `dry_run` reads and judges every row and writes nothing. `progress(rows, share of the file)` is called after each batch.
    """
    mapping = profile or load_profile()
    report = ImportReport(told(path.name), mapping.name, dry_run)
    behind = [0.0]

    def at(fraction: float) -> None:
        behind[0] = fraction

    for batch in batches(_read(path, key, now, mapping, at)):
        _save_batch(db, batch, report, now)
        if progress is not None:
            progress(report.rows, behind[0])
    report.sha256 = file_sha256(path)
    return report


def batches(found: Iterable[Found]) -> Iterator[list[Found]]:
    """Pieces of BATCH rows, each for one transaction."""
    batch: list[Found] = []
    for item in found:
        batch.append(item)
        if len(batch) >= BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _save_batch(db: Database, batch: Sequence[Found], report: ImportReport, now: datetime) -> None:
    report.rows += len(batch)
    if report.dry_run:
        with db.reading() as session:
            taken, bad = _sorted_out(session, batch, report.file)
        _note_bad(report, bad, _unclear(report.file, taken))
        report.saved += len(taken)
        return
    with db.transaction() as session:
        result, bad, unclear = save_found(session, batch, report.file, now)
    _note_bad(report, bad, unclear)
    report.saved += result.saved
    report.repeats += result.repeats


def save_found(
    session: Session, batch: Sequence[Found], origin: str, now: datetime
) -> tuple[SaveResult, list[BadRow], list[BadRow]]:
    """Save the posts of a batch with what their callers said, and set aside its bad rows and the call-backs of good rows that
    cannot be read, in the caller's transaction."""
    taken, bad = _sorted_out(session, batch, origin)
    posts = [found for found, _ in taken]
    result = save_posts(session, posts)
    ids = stored_ids(session, posts) if any(one.call is not None for _, one in taken) else []
    known = [(id_, one) for id_, (_, one) in zip(ids, taken, strict=False) if id_ is not None]
    calls = [(id_, one.call) for id_, one in known if isinstance(one.call, GivenCall)]
    imported_calls.keep(session, calls, now)
    numbers = {id(one): id_ for id_, one in known}
    unclear = _unclear(origin, taken, numbers)
    for row in (*bad, *unclear):
        set_aside_once(session, row.file, row.row, row.field, row.reason, row.payload, now)
    return result, bad, unclear


def _unclear(
    origin: str, taken: Sequence[tuple[NewPost, Found]], numbers: Mapping[int, int] | None = None
) -> list[BadRow]:
    """Call-backs that cannot be read, of rows whose posts were taken: their cells alone, redacted, and the number of the post."""
    found = []
    for _, one in taken:
        if isinstance(one.call, Unclear):
            cells = {
                column: redact_value(one.raw.values.get(column))
                for name in CALLS
                for column in one.columns.get(name, ())
            }
            if numbers is not None and id(one) in numbers:
                cells[CALL_OF] = numbers[id(one)]
            found.append(BadRow(origin, one.raw.number, one.call.column, redact(one.call.reason).text, cells))
    return found


def _note_bad(report: ImportReport, bad: Sequence[BadRow], unclear: Sequence[BadRow]) -> None:
    report.bad += len(bad)
    report.calls_aside += len(unclear)
    report.bad_rows += [*bad, *unclear][: max(0, LISTED - len(report.bad_rows))]


def _sorted_out(
    session: Session, batch: Sequence[Found], file: str
) -> tuple[list[tuple[NewPost, Found]], list[BadRow]]:
    """Posts to save, each with its row, and rows to set aside: a row whose id is known with another text would vanish as a repeat."""
    clashing = other_texts(session, [one.post for one in batch if isinstance(one.post, NewPost)])
    posts: list[tuple[NewPost, Found]] = []
    bad: list[BadRow] = []
    for one in batch:
        found, raw, columns, _ = one
        if isinstance(found, BadRow):
            bad.append(found)
        elif (found.source_id, found.external_id) in clashing:
            reason = (
                f"a post with the id {redact(found.external_id).text!r} and another text is known already; "
                "if this export numbers its rows anew, give it a source of its own (source_id of its profile)"
            )
            column = columns["id"][0] if "id" in columns else "id"
            bad.append(
                BadRow(file, raw.number, column, reason, {**_kept(raw, columns), RECEIVED: found.received})
            )
        else:
            posts.append((found, one))
    return posts, bad


def _row_to_post_or_bad(
    file: str, raw: RawRow, columns: dict[str, tuple[str, ...]], profile: Profile, key: bytes, now: datetime
) -> NewPost | BadRow:
    """`_row_to_post`; a row that no rule here foresaw is set aside like any other bad one and stops nobody."""
    try:
        return _row_to_post(file, raw, columns, profile, key, now)
    except Exception as exc:  # noqa: BLE001 (the border of one row: the others are read)
        # its words stay out of the log: they may be personal
        log.error("%s, row %d could not be read: %s", file, raw.number, type(exc).__name__)
        reason = f"could not be read ({type(exc).__name__}); please report it"
        return BadRow(file, raw.number, "", reason, _kept(raw, columns, key))


def _row_to_post(
    file: str, raw: RawRow, columns: dict[str, tuple[str, ...]], profile: Profile, key: bytes, now: datetime
) -> NewPost | BadRow:
    def bad(name: str, reason: str) -> BadRow:
        return BadRow(file, raw.number, name, redact(reason).text, _kept(raw, columns, key))

    if raw.problem:
        return bad("", raw.problem)
    values = {
        name: _joined(raw.values, names) if name == "place" else _value(raw.values, names)
        for name, names in columns.items()
    }
    for name, value in values.items():
        if isinstance(value, dict | list):
            return bad(columns[name][0], "is a list or an object; expected a text or a number")
    for name in profile.require:
        if values.get(name) in (None, "") and not (name == "text" and values.get("title")):
            wanted = columns.get(name) or profile.columns.get(name, (name,))
            return bad(
                wanted[0],
                "is empty"
                if name in columns
                else f"no column for {name}; expected one of {', '.join(wanted[:6])}",
            )
    zone = zone_of(profile.timezone)
    raw_time = values.get("published_at")
    when = None
    if raw_time not in (None, ""):
        when = parse_when(raw_time, now, zone)
        if when is None:
            why = (
                "lies in the future"
                if is_future(raw_time, now, zone)
                else "is no time that can be read; expected for example 2026-11-20 09:30"
            )
            return bad(columns["published_at"][0], f"{str(raw_time)[:60]!r} {why}")
    title, text = plain(str(values.get("title") or "")), plain(str(values.get("text") or ""))
    source = (str(values.get("source") or "").strip() or profile.source_id)[:80]
    given = str(values.get("id") if values.get("id") is not None else "").strip()
    ident = (
        external_id(given)
        if given
        else external_id(title, text, str(raw_time or ""), str(values.get("author") or ""))
    )
    found = to_post(
        PostItem(
            source_id=source,
            external_id=ident,
            url=str(values.get("url") or "").strip(),
            title=title,
            text=text,
            published_at=when,
            author_raw=_author(values.get("author")),
            place_hint=str(values.get("place") or ""),
            engagement={name: number for name in COUNTS if (number := _count(values.get(name))) is not None},
            provenance={"kind": "import", "profile": profile.name, "file": redact(file).text[:120]},
        ),
        key,
        now,
    )
    if isinstance(found, Unusable):
        return bad(found.field, found.reason)
    return replace(found, received=_received(raw.values, key))


def _received(values: dict[str, Any], key: bytes) -> str:
    """Digest of the row as it came; a row that was set aside brings the one that was taken then."""
    return str(values.get(RECEIVED) or row_digest(key, values))


def _unless_conflict(
    post: NewPost,
    raw: RawRow,
    columns: dict[str, tuple[str, ...]],
    file: str,
    seen: dict[tuple[str, str], tuple[int, str]],
) -> NewPost | BadRow:
    """One id with two texts in one file: the second would vanish as a repeat, so it is set aside instead."""
    words = hashlib.sha256(f"{post.title}\n{post.text}".encode()).hexdigest()[:16]
    first = seen.setdefault((post.source_id, post.external_id), (raw.number, words))
    if first[1] == words:
        return post
    reason = f"row {first[0]} has the same id {redact(post.external_id).text!r} and another text"
    return BadRow(
        file,
        raw.number,
        columns["id"][0] if "id" in columns else "id",
        reason,
        {**_kept(raw, columns), RECEIVED: post.received},
    )


def _kept(raw: RawRow, columns: dict[str, tuple[str, ...]], key: bytes = b"") -> dict[str, Any]:
    """What is kept of a bad row: redacted values of the columns we read, never the author, never a column we do not know.

    In a row with too many values nothing stands where its header says, so only the id is kept.
    """
    wanted = ("id",) if raw.problem else tuple(name for name in columns if name != "author")
    kept = {
        column: redact_value(raw.values.get(column)) for name in wanted for column in columns.get(name, ())
    }
    unread = [redact(str(name)).text[:60] for name in raw.values if name not in kept and name != RECEIVED][
        :60
    ]
    if key:
        kept[RECEIVED] = _received(raw.values, key)
    return {**kept, "unread columns": unread} if unread else kept


def _value(row: dict[str, Any], names: Sequence[str]) -> Any:
    value = row.get(names[0])
    if isinstance(value, str):
        value = value.strip()
    return None if value == REMOVED else value


def _joined(row: dict[str, Any], names: Sequence[str]) -> str:
    parts = [str(row.get(name) or "").strip() for name in names]
    return " ".join(dict.fromkeys(part for part in parts if part and part != REMOVED))


def _author(value: Any) -> str | None:
    return None if value in (None, "", REMOVED) else str(value)


def _count(value: Any) -> int | None:
    try:
        return max(0, int(float(value)))
    except (TypeError, ValueError, OverflowError):
        return None


# --- rows that were set aside


def retry_set_aside(
    db: Database,
    profile: Profile | None,
    key: bytes,
    now: datetime,
    ids: Sequence[int] = (),
    own: Callable[[str], Profile | None] = lambda origin: None,
) -> RetryReport:
    """Try set-aside rows again (all, or the given ones), for example after the profile or a selector was corrected.

    `own` gives the profile of rows that a source of its own handed over (folder, push, sql); None: `profile`.

    A row of a file becomes a post if it can now; its author was removed and stays unknown. An entry of a crawled source is taken
    off the list and its address is asked for again by the next crawl. What fails again stays on the list.
    """
    mapping = profile or load_profile()
    tried = saved = asked = 0
    still_bad: list[str] = []
    with db.transaction() as session:
        for entry in waiting(session, ids):
            tried += 1
            if entry.row is None:
                asked += _ask_again(session, entry.origin, dict(entry.payload))
                resolve_quarantine(session, entry.id, now)
                continue
            values = dict(entry.payload)
            fits = own(entry.origin) or mapping
            if isinstance(number := values.pop(CALL_OF, None), int):
                call = said_of(values, fits.match(values), fits, now)
                if isinstance(call, Unclear):
                    still_bad.append(
                        BadRow(entry.origin, entry.row, call.column, redact(call.reason).text).sentence()
                    )
                    continue
                if call is not None and is_stored(session, number):
                    imported_calls.keep(session, [(number, call)], now)
                resolve_quarantine(session, entry.id, now)
                continue
            row = RawRow(entry.row, values)
            found = _row_to_post_or_bad(entry.origin, row, fits.match(values), fits, key, now)
            # an id that is known with another text: as a repeat the row would vanish
            _, clashing = _sorted_out(session, [Found(found, row, fits.match(values))], entry.origin)
            if clashing:
                still_bad.append(clashing[0].sentence())
                continue
            assert isinstance(found, NewPost)  # what is bad comes back as bad
            saved += save_posts(session, [found]).saved
            call = said_of(values, fits.match(values), fits, now)
            if isinstance(call, GivenCall):
                numbers = [(id_, call) for id_ in stored_ids(session, [found]) if id_ is not None]
                imported_calls.keep(session, numbers, now)
            resolve_quarantine(session, entry.id, now)
    return RetryReport(tried, saved, asked, tuple(still_bad))


def _ask_again(session: Session, source_id: str, payload: dict[str, Any]) -> int:
    """Forget that an address of a source is to be skipped; the next crawl reads its list in full."""
    state = get_state(session, source_id)
    cursor = dict(state.cursor or {})
    ident = payload.get("external_id")
    skip = dict(cursor.get("skip", {}))
    if not isinstance(ident, str) or skip.pop(ident, None) is None:
        return 0
    keep_cursor(session, source_id, {**cursor, "skip": skip, "unfinished": True})
    return 1
