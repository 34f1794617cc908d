"""Originals of posts: which there are, and out of the vault by somebody who gives a reason."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from commands.audit import incident_named, write_file
from incidents import evidence, queries
from incidents.evidence import EvidenceView, MissingView
from incidents.installation import Installation, Problem
from incidents.queries import IncidentView
from incidents.vault import Damaged
from incidents.warc import info
from spiders.evidence_job import vault
from spiders.exchange import product_version


@dataclass(frozen=True)
class Originals:
    """The originals of one incident and of those merged into it."""

    incident: IncidentView
    kept: list[EvidenceView]
    missing: list[MissingView]

    def lines(self) -> Iterator[str]:
        """For people."""
        there = [row for row in self.kept if row.purged_at is None]
        yield f"{self.incident.number or self.incident.id}: {len(there)} originals kept, {len(self.kept) - len(there)} purged, {len(self.missing)} missing"
        for row in self.kept:
            when = row.fetched_at.isoformat(timespec="seconds")
            how = "" if row.how == evidence.AT_FETCH else ", fetched later"
            gone = (
                f", purged on {row.purged_at.date().isoformat()}, by rule {row.purge_rule} (event {row.purge_seq})"
                if row.purged_at is not None
                else ""
            )
            yield f"  post {row.post_id}: {row.payload_sha256} received {when}{how}, {row.size} bytes, event {row.seq}{gone}"
        for one in self.missing:
            state = "given up" if one.given_up_at is not None else "to be fetched again"
            yield f"  post {one.post_id}: no original, {state}: {one.reason}"


def listed(home: Installation, key: str) -> Originals:
    """What is kept for incident `key`. Raises Problem for an unknown one."""
    with home.db.reading() as session:
        incident = incident_named(session, key)
        family = queries.family(session, incident.id)
        return Originals(
            incident, evidence.of_incidents(session, family), evidence.missing_of(session, family)
        )


def export(
    home: Installation, key: str, file: Path, *, post: int | None, reason: str, actor: str, now: datetime
) -> str:
    """Write the originals of an incident (or of one post) as one WARC that is not encrypted; returns what to tell.

    The reading is recorded with its reason before anything is written. Raises Problem.
    """
    if len(reason.strip()) < 4:
        raise Problem("--reason: say why the originals are needed (a file number, a request); it is recorded")
    if not file.name.endswith(".warc.gz"):
        raise Problem(f"{file}: the records are compressed; name a file that ends in .warc.gz")
    found = listed(home, key)
    rows = [row for row in found.kept if row.purged_at is None and (post is None or row.post_id == post)]
    if not rows:
        raise Problem(
            f"{key}{f', post {post}' if post is not None else ''}: no original is kept; `quansheng evidence list {key}` shows what there is"
        )
    with home.db.transaction() as session:
        evidence.record_reading(
            session, found.incident.id, rows, reason.strip(), actor=actor, channel="cli", now=now
        )
    store = vault(home.bundle, home.keys)
    parts, bad = [], []
    for name in sorted({row.name for row in rows}):
        try:
            parts.append(store.read(name))
        except (Damaged, OSError) as exc:
            bad.append(f"{name}: {exc}")
    if bad:
        raise Problem(
            f"{len(bad)} originals cannot be read, nothing was written: {'; '.join(bad[:3])}; `quansheng audit verify` tells more"
        )
    head = info(
        file.name,
        {
            "software": f"quansheng {product_version()}",
            "format": "WARC File Format 1.1",
            "isPartOf": found.incident.number or str(found.incident.id),
            "description": f"originals of {len({row.post_id for row in rows})} posts; not redacted",
        },
    )
    content = b"".join([head, *parts])
    write_file(file, content, private=True)
    return f"{file}: {len(parts)} answers with the originals of {len(rows)} posts, not redacted and not encrypted; delete it when it has served"


def as_dict(found: Originals) -> dict[str, Any]:
    """For --json."""
    return {
        "incident": found.incident.number or found.incident.id,
        "kept": found.kept,
        "missing": found.missing,
    }


__all__ = ["Originals", "as_dict", "export", "listed"]
