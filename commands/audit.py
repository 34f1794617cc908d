"""The record: case files out, and back in to be checked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from console.casefile import as_json, as_pdf, reader
from incidents import casefile, events, evidence_check, heads, lifecycle, queries
from incidents import rebuild as derived
from incidents.events import Head
from incidents.installation import Installation, Problem
from incidents.queries import IncidentView
from incidents.session import Session
from spiders.evidence_job import vault


def export(home: Installation, key: str, file: Path, *, actor: str, now: datetime, language: str = "") -> str:
    """Write the case file of incident `key`; returns what to tell. Raises Problem for an unknown one or another form."""
    form = file.suffix.lower()
    if form not in (".json", ".pdf"):
        raise Problem(f"{file}: name a file that ends in .json (signed record) or .pdf (to print)")
    if language not in ("", "zh_CN", "en"):
        raise Problem(f"--language {language}: zh_CN or en")
    with home.db.reading() as session:
        incident = incident_named(session, key)
        case = casefile.collect(session, incident)
    content = (
        as_pdf(reader(home.db, home.bundle, home.keys, now, language), case)
        if form == ".pdf"
        else as_json(case, home.bundle)
    )
    write_file(file, content)
    with home.db.transaction() as session:
        lifecycle.record_act(
            session,
            "exported",
            {"file": file.name},
            actor=actor,
            channel="cli",
            now=now,
            incident_id=incident.id,
        )
    there = sum(one["purged_at"] is None for one in case.evidence)
    return f"{file}: {len(case.events)} events, {len(case.posts)} posts, {len(case.messages)} messages, {there} originals listed"


def incident_named(session: Session, key: str) -> IncidentView:
    """The incident with this number or row id. Raises Problem when there is none."""
    # a row id has at most 18 digits; "²" is a digit to Python, but no number
    is_id = key.isascii() and key.isdigit() and len(key) <= 18
    incident = queries.get_incident(session, int(key) if is_id else key)
    if incident is None:
        raise Problem(f"{key}: no such incident; `quansheng incidents list --all` shows their numbers")
    return incident


def write_file(file: Path, content: bytes, *, private: bool = False) -> None:
    """Whole or not at all; `private`: nobody but this account may read it."""
    part = file.with_name(f".{file.name}.part")
    try:
        part.touch(0o600 if private else 0o666)
        part.write_bytes(content)
        part.replace(file)
    except OSError as exc:
        part.unlink(missing_ok=True)
        raise Problem(f"{file}: cannot be written: {exc.strerror}; choose another place") from exc


def check(file: Path, key: bytes) -> str:
    """Whether an exported case file is as it was written. Raises Problem when not, naming the first wrong event."""
    try:
        document = json.loads(file.read_bytes())
        if not isinstance(document, dict):
            raise ValueError("this is no case file")
        verdict = casefile.check(document, key)
    except OSError as exc:
        raise Problem(f"{file}: cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise Problem(f"{file}: {exc}; choose a .json that `quansheng audit export` wrote") from exc
    if not verdict.ok:
        raise Problem(f"{file}: {verdict.wrong}; compare it with the incident in the database")
    return f"Good: {verdict.events} events of this file carry this installation's signature"


@dataclass(frozen=True)
class Verified:
    """What `audit verify` found. Not ok: `wrong` says what, in sentences."""

    ok: bool
    events: int
    head: Head
    broken_at: int | None
    reason: str
    evidence: evidence_check.Findings
    wrong: tuple[str, ...] = ()


#: lines of one kind that are shown
_SHOWN = 50


def verify(home: Installation, noted: Head | None) -> Verified:
    """The chain, the heads noted of it, the tables derived from it, and the files and texts of the evidence."""
    with home.db.reading() as session:
        verdict = events.verify(session, home.keys.audit, known_head=noted)
        found, wrong = evidence_check.Findings(), []
        if not verdict.ok:
            wrong.append(
                f"the record is broken at event {verdict.broken_at}: {verdict.reason}; "
                "keep the database as it is, restore the last good backup beside it and compare"
            )
        elif cut := heads.broken(session):
            wrong.append(f"the record is broken: {cut}; restore the last good backup beside it and compare")
        else:
            found = evidence_check.check(session, vault(home.bundle, home.keys))
            if found.faults:
                shown = "\n".join(f"  {fault}" for fault in found.faults[:_SHOWN])
                more = f"\n  and {len(found.faults) - _SHOWN} more" if len(found.faults) > _SHOWN else ""
                wrong.append(
                    f"the record is whole, but {len(found.faults)} things in the evidence are not as it says:\n{shown}{more}\n"
                    "keep the folder as it is, restore the evidence folder of the last good backup beside it and compare"
                )
            if (differing := next(derived.differences(session), None)) is not None:
                wrong.append(
                    f"the record is whole, but a table differs from it: {differing}; `quansheng audit rebuild` tells everything"
                )
    ok = verdict.ok and not wrong
    return Verified(ok, verdict.events, verdict.head, verdict.broken_at, verdict.reason, found, tuple(wrong))


def told(found: Verified) -> Iterator[str]:
    """What to say of a good record."""
    yield f"Good: {found.events} events, head {found.head.seq}:{found.head.hash}"
    there = found.evidence
    if there.originals or there.removed:
        yield (
            f"Evidence: {there.originals} originals in {there.files} files ({there.bytes / 1e6:.1f} MB), "
            f"{there.texts} stored texts compared, {len(there.removed)} originals purged"
        )
    for one in there.removed[-_SHOWN:]:
        yield f"  {one}"


def rebuild(home: Installation, *, repair: bool, actor: str, now: datetime) -> str:
    """Compare the derived tables with their events, and with `repair` put them right.

    Raises Problem when they differ and nothing was written, or when the events themselves are broken.
    """
    with home.db.reading() as session:
        verdict = events.verify(session, home.keys.audit)
        if not verdict.ok:
            raise Problem(
                f"the record is broken at event {verdict.broken_at}: {verdict.reason}; nothing can be rebuilt from it"
            )
        wrong = list(derived.differences(session))
    if not wrong:
        return f"Good: every derived row is what its {verdict.events} events give"
    shown = "\n".join(f"  {item}" for item in wrong[:20])
    more = f"\n  and {len(wrong) - 20} more" if len(wrong) > 20 else ""
    if not repair:
        raise Problem(
            f"{len(wrong)} values differ from their events:\n{shown}{more}\n"
            "`quansheng audit rebuild --repair` writes what the events give (stop `quansheng run` first)"
        )
    with home.db.transaction() as session:
        wrong = derived.repair(session)
        lifecycle.record_act(
            session,
            "rebuilt",
            {"values": len(wrong), "examples": [str(item) for item in wrong[:20]]},
            actor=actor,
            channel="cli",
            now=now,
        )
    return f"{len(wrong)} values were put right:\n{shown}{more}"
