"""The evidence stage: originals of posts that joined an incident leave the spool and are kept. The only file here besides
job.py that opens transactions.

The file is moved and forced to the disk first, then its event is committed. A kill in between leaves a file that the next run
finds and records; a file that nobody needs any more is set apart and told.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from config.bundle import Bundle
from config.keys import Keys
from incidents import beats, evidence, evidence_due
from incidents.evidence import Candidate, Found
from incidents.session import Database
from incidents.vault import Damaged, Vault, vault_of
from incidents.warc import read

log = logging.getLogger(__name__)

#: posts of one run; the next one follows soon
BATCH = 200
#: orphans stay this long for somebody to look at
ORPHAN_DAYS = 30


@dataclass(frozen=True)
class EvidenceSummary:
    """What one run did."""

    kept: int = 0
    #: posts whose original has left the spool; the next crawl of their source asks for the page again
    to_fetch_again: int = 0
    damaged: int = 0
    orphans: int = 0
    deleted: int = 0
    pruned: int = 0
    trouble: str = ""


def vault(bundle: Bundle, keys: Keys) -> Vault:
    """The evidence folder of this installation."""
    settings = bundle.settings
    return vault_of(settings.data_path, keys.evidence, settings.evidence.min_free_mb)


def run(db: Database, bundle: Bundle, keys: Keys, now: datetime) -> EvidenceSummary | None:
    """Keep what joined an incident, note what has to be fetched again, empty the spool. None when another process is at it.

    A disk that refuses is a trouble in the summary and for the watch, no error: everything is tried again in the next run.
    """
    store = vault(bundle, keys)
    try:
        with store.locked() as alone:
            if not alone:
                return None
            kept, lost, damaged = _keep(db, store, now)
            settings = bundle.settings.evidence
            pruned = store.prune(now, settings.spool_h, settings.spool_mb)
    except OSError as exc:
        trouble = f"{exc.filename or store.folder}: {exc.strerror or exc}"
        log.error("evidence cannot be kept: %s", trouble)
        _tell(db, trouble, now)
        return EvidenceSummary(trouble=trouble)
    _tell(db, "", now)
    with db.reading() as session:
        old = evidence.any_old(session, now)
    if old:
        with db.transaction() as session:
            evidence.give_up_old(session, now)
    if pruned.early:
        log.warning(
            "the spool of originals is full (evidence.spool_mb): %d younger than evidence.spool_h were dropped",
            pruned.files,
        )
    return EvidenceSummary(kept, lost, damaged, pruned=pruned.files)


def _keep(db: Database, store: Vault, now: datetime) -> tuple[int, int, int]:
    """Number of originals kept, lost and damaged."""
    with db.reading() as session:
        waiting = evidence.candidates(session, BATCH)
    if not waiting:
        return 0, 0, 0
    found: list[Found] = []
    gone: dict[str, list[Candidate]] = {}
    damaged = 0
    for one in waiting:
        try:
            found.append(_moved(store, one))
        except FileNotFoundError:
            gone.setdefault("its original was not there any more when it was needed", []).append(one)
        except Damaged as exc:
            damaged += 1
            log.error("original %s of post %d is damaged: %s", one.name, one.post_id, exc)
            gone.setdefault(f"its original was damaged in the spool: {exc}", []).append(one)
    with db.transaction() as session:
        kept = evidence.keep(session, found, now)
        for reason, posts in gone.items():
            evidence.want(session, posts, reason, now)
    return kept, sum(map(len, gone.values())), damaged


def _moved(store: Vault, one: Candidate) -> Found:
    """Move one original to the evidence, after a look that it is what was received."""
    if not one.name:
        raise FileNotFoundError
    try:
        original = read(store.read(one.name))
    except ValueError as exc:
        raise Damaged(str(exc)) from exc
    if not original.whole or (
        one.how == evidence.AT_FETCH and f"sha256:{original.named_digest}" != one.received
    ):
        raise Damaged("its content is not what was received")
    kept = store.keep(one.name)
    return Found(one, kept.size, kept.sha256, original.named_digest)


def _tell(db: Database, trouble: str, now: datetime) -> None:
    with db.transaction() as session:
        last = beats.get_beat(session, evidence.KEEP)
        if trouble or (last is not None and last.value.get("reason")):
            beats.beat(session, evidence.KEEP, now, {"reason": trouble})


def sweep(db: Database, bundle: Bundle, keys: Keys, now: datetime) -> EvidenceSummary:
    """Bring the folder into line with the record: delete files whose last original was removed, set apart files of ours that
    nothing names, delete orphans older than ORPHAN_DAYS. A file that is not ours stays, for `audit verify` to name. Posts that were
    forgotten on the list of what is to be kept are put on it.
    """
    store = vault(bundle, keys)
    deleted = orphans = 0
    try:
        with store.locked() as alone:
            if not alone:
                return EvidenceSummary(trouble="another process is working in the evidence folder")
            with db.transaction() as session:
                if forgotten := evidence_due.mend(session):
                    log.warning("%d posts of incidents were not on the list of originals to keep", forgotten)
            with db.reading() as session:
                named = evidence.named(session)
                coming = {one.name for one in evidence.candidates(session, 100_000)}
            for path in list(store.kept()):
                name = path.name
                if name in coming or named.get(name) or not store.is_name(name):
                    continue
                if name in named:
                    deleted += store.discard(name)
                    continue
                try:
                    store.open(name, path.read_bytes())
                except Damaged:
                    continue
                apart = store.set_apart(name)
                log.warning(
                    "%s: no post needs this original; it was set apart in %s", path, store.folder / "orphans"
                )
                with db.transaction() as session:
                    evidence.orphan(session, name, apart.sha256, now)
                orphans += 1
            deleted += store.forget_orphans(now - timedelta(days=ORPHAN_DAYS))
    except OSError as exc:
        return EvidenceSummary(deleted=deleted, orphans=orphans, trouble=f"{exc.filename}: {exc.strerror}")
    return EvidenceSummary(deleted=deleted, orphans=orphans)
