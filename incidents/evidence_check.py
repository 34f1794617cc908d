"""Do the files of the evidence folder, the texts of their posts and the record agree? For `audit verify`.

The record is the measure: the chain of events holds the digest of every file and of every text, so whoever changes a file, a row
or a text has to change the chain too. What retention removed is told with its date and rule, and is no fault.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from incidents import evidence
from incidents.chunks import chunks
from incidents.evidence import EvidenceView
from incidents.models import IncidentEvent, Post, PostRevision
from incidents.revisions import content_sha256
from incidents.vault import Damaged, Vault
from incidents.warc import read


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong. `kind`: missing, changed, truncated, swapped, extra, not_removed, text, unreadable."""

    kind: str
    name: str
    incidents: tuple[str, ...]
    posts: tuple[int, ...]
    sentence: str

    def __str__(self) -> str:
        return self.sentence


@dataclass(frozen=True)
class Removed:
    """What retention removed: no fault."""

    incident: str
    post: int
    name: str
    at: str
    rule: str
    event: int

    def __str__(self) -> str:
        return f"{self.incident}, post {self.post}: original purged on {self.at}, by rule {self.rule} (event {self.event})"


@dataclass(frozen=True)
class Findings:
    """Result of the check."""

    originals: int = 0  # of posts that have one
    files: int = 0
    bytes: int = 0
    texts: int = 0  # stored texts compared with their digest
    removed: list[Removed] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


def check(session: Session, vault: Vault) -> Findings:
    """Every file and every text of the evidence. The chain must have been verified before; nothing is written."""
    rows = _recorded(session)
    numbers = evidence.numbers(session, {row.incident_id for row in rows})
    active = [row for row in rows if row.purged_at is None]
    by_name: dict[str, list[EvidenceView]] = {}
    for row in active:
        by_name.setdefault(row.name, []).append(row)
    owners = {row.file_sha256: row for row in rows}
    faults: list[Fault] = []
    size = 0
    for name, group in sorted(by_name.items()):
        fault = _file(vault, name, group, owners, numbers)
        if fault is not None:
            faults.append(fault)
        else:
            size += group[0].size
    faults += _extra(vault, rows, set(by_name), owners, numbers)
    texts, wrong = _texts(session, active, numbers)
    return Findings(
        originals=len(active),
        files=len(by_name),
        bytes=size,
        texts=texts,
        removed=[
            Removed(
                numbers[row.incident_id],
                row.post_id,
                row.name,
                row.purged_at.date().isoformat(),
                row.purge_rule,
                row.purge_seq or 0,
            )
            for row in rows
            if row.purged_at is not None
        ],
        faults=[*faults, *wrong],
    )


def _recorded(session: Session) -> list[EvidenceView]:
    """The rows as the events give them, whatever the table says."""
    folded: dict[tuple[Any, ...], dict[str, Any]] = {}
    query = select(IncidentEvent).where(IncidentEvent.kind.in_([evidence.KEPT, evidence.PURGED]))
    for event in session.scalars(query.order_by(IncidentEvent.seq)):
        evidence.fold(folded, event)
    return [EvidenceView(post_id=post, name=name, **row) for (post, name), row in sorted(folded.items())]


def _file(
    vault: Vault,
    name: str,
    group: list[EvidenceView],
    owners: Mapping[str, EvidenceView],
    numbers: Mapping[int, str],
) -> Fault | None:
    """What is wrong with one file, None when it is as it was recorded."""
    first = group[0]

    def fault(kind: str, what: str) -> Fault:
        who = "; ".join(f"{numbers[row.incident_id]}, post {row.post_id}" for row in group)
        return Fault(
            kind,
            name,
            tuple(dict.fromkeys(numbers[row.incident_id] for row in group)),
            tuple(row.post_id for row in group),
            f"{who}: {what} ({name})",
        )

    try:
        path = vault.kept_path(name)
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        return fault("missing", "the original is missing")
    except OSError as exc:
        return fault("unreadable", f"the original cannot be read: {exc.strerror}")
    digest = hashlib.sha256(content).hexdigest()
    if digest != first.file_sha256:
        other = owners.get(digest)
        if other is not None:
            return fault(
                "swapped",
                f"the file holds the original of {numbers.get(other.incident_id, other.incident_id)}, post {other.post_id}",
            )
        if len(content) < first.size:
            return fault("truncated", f"the original was cut from {first.size} to {len(content)} bytes")
        return fault("changed", "the original was changed after it was kept")
    try:
        original = read(vault.open(name, content))
    except (Damaged, ValueError) as exc:
        return fault("unreadable", f"the original is as it was kept, but cannot be opened: {exc}")
    if not original.whole or original.named_digest != first.payload_sha256:
        return fault("changed", "the page in the original is not the one that was recorded")
    return None


def _extra(
    vault: Vault,
    rows: list[EvidenceView],
    active: set[str],
    owners: Mapping[str, EvidenceView],
    numbers: Mapping[int, str],
) -> Iterator[Fault]:
    """Files that should not be there, or not there."""
    purged = {row.name: row for row in rows if row.purged_at is not None}
    for path in vault.kept():
        name = path.name
        if name in active and path == vault.kept_path(name):
            continue
        where = path.relative_to(vault.folder)
        gone = purged.get(name) if name not in active else None
        if gone is not None:
            yield Fault(
                "not_removed",
                name,
                (numbers[gone.incident_id],),
                (gone.post_id,),
                f"{numbers[gone.incident_id]}, post {gone.post_id}: the original was purged by rule {gone.purge_rule} "
                f"(event {gone.purge_seq}), but {where} is still there; `quansheng purge` removes it",
            )
            continue
        twin = owners.get(_sha256(path))
        like = (
            f", a copy of the original of {numbers[twin.incident_id]}, post {twin.post_id}"
            if twin is not None
            else ""
        )
        yield Fault(
            "extra",
            name,
            (numbers[twin.incident_id],) if twin is not None else (),
            (twin.post_id,) if twin is not None else (),
            f"{where}: no event names this file{like}",
        )


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _texts(session: Session, rows: list[EvidenceView], numbers: Mapping[int, str]) -> tuple[int, list[Fault]]:
    """Posts whose stored text is not the one of which the digest was recorded."""
    compared, wrong = 0, []
    for part in chunks(rows):
        chunk = {row.post_id: row for row in part}
        before = _before_edits(session, list(chunk))
        query = select(Post.id, Post.title, Post.text).where(Post.id.in_(chunk))
        for id_, title, text in session.execute(query):
            compared += 1
            row = chunk[id_]
            if row.content_sha256 not in (content_sha256(title, text), *before.get(id_, ())):
                number = numbers[row.incident_id]
                wrong.append(
                    Fault(
                        "text",
                        row.name,
                        (number,),
                        (id_,),
                        f"{number}, post {id_}: the stored text is not the one that was recorded with its original",
                    )
                )
    return compared, wrong


def _before_edits(session: Session, post_ids: list[int]) -> dict[int, set[str]]:
    """Digests of the words that posts said before an edit that was noticed, counted from the words that were kept then."""
    query = select(PostRevision.post_id, PostRevision.old_title, PostRevision.old_text)
    found: dict[int, set[str]] = {}
    for post_id, title, text in session.execute(query.where(PostRevision.post_id.in_(post_ids))):
        found.setdefault(post_id, set()).add(content_sha256(title, text))
    return found
