"""A watched folder: finished files are taken in once each and moved to done/ or failed/, with a report beside them.

Order of events for one file: rows are saved in batches, then its receipt, then it is moved, then the receipt says so. A crash before
the receipt means that it is read again and its rows are known; a crash after it, that only the move is made good.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from config.sources import FolderSource
from incidents.intake import Receipt, find_receipt, mark_filed, write_receipt
from incidents.sources import SourceView
from spiders.importer import posts_of, rows_of
from spiders.intake.mapping import mapping_of, origin_of
from spiders.intake.reading import Counts, Look, SourceUnusable, Surroundings, store
from spiders.profiles import Profile
from spiders.redact import redact
from spiders.tables import UnreadableFile, file_sha256, told

DONE, FAILED, REPORT = "done", "failed", ".report.json"
#: where the memory of half-written files lies in the cursor
KEY = "folder"
_STAMP = re.compile(r"(\d{8}-\d{6})_")
_STAMP_FORM = "%Y%m%d-%H%M%S"
#: bytes of a name in done/ and failed/: with its stamp and with `.report.json` it still fits the 255 of a file system
_NAME_BYTES = 236
#: files that one look's sentence names
_NAMED = 3


class _NotNow(Exception):
    """The file cannot be read at present and stays where it is. `sentence` is empty for one that is simply still being written."""

    def __init__(self, note: str, *, trouble: bool = False) -> None:
        super().__init__(note)
        self.trouble = trouble


@dataclass
class _Folder:
    around: Surroundings
    source: FolderSource
    base: Path
    profile: Profile
    zone: tzinfo
    look: Look
    #: name -> size, time, inode, since when they are the same
    seen: dict[str, list[Any]]
    good: int = 0


def look_at_folder(
    around: Surroundings, source: FolderSource, state: SourceView, zone: tzinfo
) -> tuple[Look, dict[str, Any]]:
    """Take in what is finished; returns what was seen and the cursor to keep. `zone` is the city's, for names of filed files.

    Raises SourceUnusable when the folder itself cannot be used, Stopped, ConfigError for a wrong profile.
    """
    cursor = dict(state.cursor or {})
    memory = dict(cursor.get(KEY, {}))
    base = around.config_dir / source.folder
    profile = mapping_of(source, around.config_dir)
    entries = _entries(base, source)
    here = _Folder(around, source, base, profile, zone, Look(), dict(memory.get("seen", {})))
    here.look.again = timedelta(minutes=source.every_min)
    troubles: list[str] = []
    unfinished = 0
    for entry in entries:
        try:
            if sentence := _one(here, entry):
                troubles.append(sentence)
        except FileNotFoundError:
            continue  # somebody took it away
        except _NotNow as exc:
            if exc.trouble:
                troubles.append(str(exc))
            elif str(exc):
                here.look.notes.append(str(exc))
            else:
                unfinished += 1
            soon = timedelta(seconds=max(source.stable_s, 2.0))
            here.look.again = min(here.look.again, soon) if not exc.trouble else here.look.again
    if unfinished:
        here.look.notes.append(f"{unfinished} files are waited for until they are finished")
    names = {_key(entry.name) for entry in entries}
    here.seen = {name: kept for name, kept in here.seen.items() if name in names}
    _tidy(here)
    standing = _standing(here, troubles, str(memory.get("trouble", "")))
    cursor[KEY] = {"seen": here.seen, "trouble": standing}
    return here.look, cursor


def _standing(here: _Folder, troubles: list[str], before: str) -> str:
    """The trouble that lasts until a good file comes or somebody clears failed/; also puts it into the look."""
    look, left = here.look, _waiting_in_failed(here.base)
    if len(troubles) > _NAMED:
        troubles = [*troubles[:_NAMED], f"and {len(troubles) - _NAMED} more"]
    sentence = "; ".join(troubles)
    if here.good:
        if sentence:
            look.notes.append(sentence)
        sentence = ""
    elif not sentence and left:
        sentence = before
    if sentence:
        look.problem, look.sentence = "changed", sentence
    if left:
        look.notes.append(f"{left} files lie in {FAILED}/ and wait for somebody")
    return sentence


def _entries(base: Path, source: FolderSource) -> list[os.DirEntry[str]]:
    """What lies there, the smallest first (ten orders must not wait for an export of a year), without what is ignored."""
    try:
        with os.scandir(base) as found:
            entries = [
                entry
                for entry in found
                if not any(fnmatch(entry.name, pattern) for pattern in source.ignore)
                and not entry.name.endswith(REPORT)
                and entry.name not in (DONE, FAILED)
                and not entry.is_dir(follow_symlinks=False)
            ]
            return sorted(entries, key=lambda entry: (entry.stat(follow_symlinks=False).st_size, entry.name))
    except FileNotFoundError as exc:
        raise SourceUnusable("error", f"the folder {base} is not there: make it, or mount it again") from exc
    except NotADirectoryError as exc:
        raise SourceUnusable("error", f"{base} is no folder") from exc
    except OSError as exc:
        raise SourceUnusable("error", f"the folder {base} cannot be read: {exc.strerror}") from exc


def _one(here: _Folder, entry: os.DirEntry[str]) -> str:
    """Take one file in; returns what is wrong with it, else "". Raises _NotNow when it stays where it is."""
    path = here.base / entry.name
    name = told(entry.name)
    try:
        there = entry.stat(follow_symlinks=False)
    except OSError:
        return ""  # gone again
    if not stat.S_ISREG(there.st_mode):
        what = "a link" if stat.S_ISLNK(there.st_mode) else "no regular file"
        return _failed(here, path, f"{what}; only files that lie in the folder itself are read")
    now = here.around.clock()
    _finished(here, entry.name, there, now)
    if not there.st_size:
        return _failed(here, path, "the file is empty (0 bytes)")
    if there.st_size > here.source.max_file_mb * 1e6:
        return _failed(
            here,
            path,
            f"has {there.st_size / 1e6:.0f} MB, more than max_file_mb = {here.source.max_file_mb:g}; split it",
        )
    with _unlocked(here.base, entry.name):
        digest = file_sha256(path)
    with here.around.db.reading() as session:
        before = find_receipt(session, here.source.id, digest)
    if before is not None:
        return _again(here, path, before, digest)
    counts = Counts()
    origin = origin_of(here.source.id, f"{redact(name).text}#{digest[:8]}")
    try:
        rows = rows_of(path, here.profile)
        store(here.around, posts_of(rows, origin, here.profile, here.around.key, now), origin, counts)
    except UnreadableFile as exc:
        return _failed(here, path, str(exc).removeprefix(f"{path}: "), counts, digest)
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise _NotNow(f"{name}: cannot be read: {exc.strerror or exc}", trouble=True) from exc
    here.look.counts.add(counts)
    if _changed(path, there) or file_sha256(path) != digest:
        here.seen.pop(_key(entry.name), None)
        raise _NotNow(f"{name} was written to while it was read; it is read again when it is finished")
    if counts.rows and counts.aside == counts.rows:
        return _failed(here, path, _all_bad(counts), counts, digest)
    report = _report(here, name, digest, counts, "taken", counts.describe(), now)
    receipt = Receipt(
        here.source.id,
        digest,
        redact(name).text,
        now,
        counts.rows,
        counts.saved,
        counts.known,
        counts.aside,
        report,
    )
    with here.around.db.transaction() as session:
        write_receipt(session, receipt)
    here.good += 1
    if counts.calls_aside:
        here.look.notes.append(f"{name}: {counts.calls_aside} call-backs set aside")
    if counts.aside:
        here.look.notes.append(f"{name}: {counts.aside} rows set aside, first: {_first(counts)}")
    return _file(here, path, DONE, report, now, digest)


def _all_bad(counts: Counts) -> str:
    return f"none of its {counts.rows} rows could be used: {_first(counts)}"


def _first(counts: Counts) -> str:
    bad = counts.bad[0]
    return f"row {bad.row}" + (f", {bad.field}" if bad.field else "") + f": {bad.reason}"


def _again(here: _Folder, path: Path, before: Receipt, digest: str) -> str:
    """Its content was taken already: either a crash came between storing and moving, or somebody handed it over twice."""
    now = here.around.clock()
    here.good += 1
    if before.filed_at is None:
        return _file(here, path, DONE, before.report or {}, before.received_at, digest)
    when = before.received_at.astimezone(here.zone)
    sentence = f"the same content was taken at {when:%Y-%m-%d %H:%M} as {before.name}; nothing was read again"
    if before.aside:
        sentence += "; rows set aside then are tried again by `quansheng import --retry`"
    here.look.notes.append(f"{told(path.name)}: {sentence}")
    report = _report(here, told(path.name), digest, Counts(), "same again", sentence, now)
    return _file(here, path, DONE, report, now, "")


def _failed(here: _Folder, path: Path, why: str, counts: Counts | None = None, digest: str = "") -> str:
    now = here.around.clock()
    report = _report(here, told(path.name), digest, counts or Counts(), "failed", why, now)
    return _file(here, path, FAILED, report, now, "") or f"{told(path.name)}: {why}"


# --- is it finished, and may it be read?


def _finished(here: _Folder, name: str, there: os.stat_result, now: datetime) -> None:
    """Raise _NotNow until size, time and inode were the same at two looks that lie stable_s apart."""
    print_ = [there.st_size, there.st_mtime_ns, there.st_ino]
    before = here.seen.get(_key(name))
    if before is None or before[:3] != print_:
        here.seen[_key(name)] = [*print_, now.isoformat()]
        if here.source.stable_s > 0:
            raise _NotNow("")
    elif now - datetime.fromisoformat(before[3]) < timedelta(seconds=here.source.stable_s):
        raise _NotNow(f"{told(name)} is waited for until it is finished")


@contextmanager
def _unlocked(base: Path, name: str) -> Iterator[None]:
    """Raise _NotNow when the file may not be read, or another program holds it."""
    for lock in (f".~lock.{name}#", f"~${name}", f"~${name[2:]}"):
        if os.path.exists(base / lock):  # noqa: PTH110 (False also for a name that is too long)
            raise _NotNow(f"{told(name)} is open in an office program; it is read when it is closed")
    try:
        handle = os.open(base / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise  # gone again
    except OSError as exc:
        raise _NotNow(
            f"{told(name)}: cannot be read: {exc.strerror}; give this account the right to", trouble=True
        ) from exc
    try:
        for hold in (fcntl.flock, fcntl.lockf):
            try:
                hold(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                raise _NotNow(
                    f"{told(name)} is locked by another program; it is read when that lets go"
                ) from None
            except OSError:
                continue  # a file system without locks
        yield
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise _NotNow(f"{told(name)}: cannot be read: {exc.strerror or exc}", trouble=True) from exc
    finally:
        os.close(handle)


def _changed(path: Path, before: os.stat_result) -> bool:
    try:
        now = path.lstat()
    except OSError:
        return True
    return (now.st_size, now.st_mtime_ns, now.st_ino) != (before.st_size, before.st_mtime_ns, before.st_ino)


# --- where it goes


def _report(
    here: _Folder, name: str, digest: str, counts: Counts, state: str, sentence: str, at: datetime
) -> dict[str, Any]:
    """What lies beside the file: names file, row and field of everything that was not taken. Holds no caller."""
    return {
        "file": redact(name).text,
        "source": here.source.id,
        "state": state,
        "sentence": redact(sentence).text,
        "at": at.astimezone(here.zone).isoformat(timespec="seconds"),
        "sha256": digest,
        "profile": here.profile.name,
        "rows": counts.rows,
        "new posts": counts.saved,
        "known already": counts.known,
        "set aside": counts.aside,
        **({"call-backs set aside": counts.calls_aside} if counts.calls_aside else {}),
        "bad rows": [{"row": bad.row, "field": bad.field, "reason": bad.reason} for bad in counts.bad],
        **({"try them again": "quansheng import --retry"} if counts.bad else {}),
    }


def _file(here: _Folder, path: Path, goal: str, report: dict[str, Any], at: datetime, digest: str) -> str:
    """Report first, then the move, then the receipt says so. Returns what went wrong, else ""."""
    try:
        folder = here.base / goal
        folder.mkdir(exist_ok=True)
        stamp = at.astimezone(here.zone).strftime(_STAMP_FORM)
        name = _fitting(f"{stamp}_{told(path.name)}")
        number = 1
        while (folder / name).exists() or (folder / name).is_symlink():
            number += 1
            name = _fitting(f"{stamp}_{number}_{told(path.name)}")
        part = folder / f".{name}.part"
        part.write_text(json.dumps(report, ensure_ascii=False, indent=1) + "\n", "utf-8")
        part.replace(folder / f"{name}{REPORT}")
        path.rename(folder / name)
    except OSError as exc:
        stored = "its rows are stored and it is not read again" if goal == DONE else "it stays where it is"
        return f"{told(path.name)}: cannot be moved to {goal}/: {exc.strerror}; {stored}; give this account the right to"
    if digest:
        with here.around.db.transaction() as session:
            mark_filed(session, here.source.id, digest, here.around.clock())
    here.seen.pop(_key(path.name), None)
    return ""


def _key(name: str) -> str:
    """A file's name as the cursor keeps it: no two names are one, and every database takes it."""
    return name.encode("utf-8", "backslashreplace").decode()


def _fitting(name: str) -> str:
    """The name cut so that it and its report's are names that a file may have; its ending stays."""
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending.encode()) > 20:
        stem, dot, ending = name, "", ""
    room = _NAME_BYTES - len((dot + ending).encode())
    return stem.encode()[:room].decode("utf-8", "ignore") + dot + ending


def _waiting_in_failed(base: Path) -> int:
    try:
        with os.scandir(base / FAILED) as found:
            return sum(not one.name.endswith(REPORT) and not one.name.startswith(".") for one in found)
    except OSError:
        return 0


def _tidy(here: _Folder) -> None:
    """Delete what lies in done/ for longer than keep_days; the reports stay."""
    limit = here.around.clock() - timedelta(days=here.source.keep_days)
    try:
        found = list(os.scandir(here.base / DONE))
    except OSError:
        return
    for entry in found:
        stamp = _STAMP.match(entry.name)
        if stamp is None or entry.name.endswith(REPORT) or entry.is_dir(follow_symlinks=False):
            continue
        filed = datetime.strptime(stamp.group(1), _STAMP_FORM).replace(tzinfo=here.zone)
        if filed <= limit:
            try:
                Path(entry.path).unlink()
            except OSError as exc:
                here.look.notes.append(f"{DONE}/{entry.name} cannot be deleted: {exc.strerror}")
                return


__all__ = ["DONE", "FAILED", "REPORT", "look_at_folder"]
