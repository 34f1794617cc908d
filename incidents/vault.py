"""Files of raw answers, encrypted: a spool that is emptied after some hours, and what is kept as evidence of incidents.

One file holds one answer of one server. Each has a key of its own, derived from the installation's evidence key; its name is
authenticated with its content, so a file under another name cannot be opened. Knows nothing of the database or of WARC.

    evidence/spool/20261129T04/NAME      waits; a post of it may yet join an incident
    evidence/kept/202611/NAME            evidence; removed by retention only
    evidence/orphans/NAME                kept, but no row of the database names it
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import hmac
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_MAGIC = b"QSEV1\n"
_SALT, _NONCE = 16, 12
_HEAD = len(_MAGIC) + _SALT + _NONCE
#: instant (UTC), source (first digits of its hash), chance
_NAME = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}-[0-9a-f]{16}")
_HOUR = re.compile(r"\d{8}T\d{2}")
MEGABYTE = 1_000_000


class Damaged(Exception):
    """A file that cannot be opened: not ours, changed, cut, or under another name than it was written."""


@dataclass(frozen=True)
class Kept:
    """A file as it lies on the disk: its bytes, and the SHA-256 of these (encrypted) bytes."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Pruned:
    """What left the spool because it was too old or the spool too large."""

    files: int
    bytes: int
    #: whether the limit of megabytes took files before their hours were over
    early: bool = False


class Vault:
    """The evidence folder of one installation. Methods raise OSError when the disk refuses."""

    def __init__(self, folder: Path, key: bytes, *, min_free_mb: float = 0) -> None:
        self.folder = folder
        self._key = key
        self._min_free = min_free_mb * MEGABYTE
        #: hour folder -> (time of its last change, bytes): closed hours are not counted anew
        self._sizes: dict[str, tuple[int, int]] = {}

    # --- names and places

    @staticmethod
    def new_name(source_id: str, at: datetime) -> str:
        """A name for an answer of `source_id` that came at `at`."""
        source = hashlib.sha256(source_id.encode()).hexdigest()[:8]
        return f"{at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{source}-{secrets.token_hex(8)}"

    @staticmethod
    def is_name(text: str) -> bool:
        """Whether `text` is a name that this program gives."""
        return _NAME.fullmatch(text) is not None

    def kept_path(self, name: str) -> Path:
        """Where evidence of this name lies. Raises ValueError for a name that is none: it must not lead elsewhere."""
        return self.folder / "kept" / _checked(name)[:6] / name

    def _spool_path(self, name: str) -> Path:
        return self.folder / "spool" / _checked(name)[:11] / name

    def _orphan_path(self, name: str) -> Path:
        return self.folder / "orphans" / _checked(name)

    def find(self, name: str) -> Path | None:
        """The file of this name, wherever it lies; None when it is gone."""
        if not self.is_name(name):
            return None
        for path in (self.kept_path(name), self._spool_path(name), self._orphan_path(name)):
            if path.is_file():
                return path
        return None

    # --- writing and reading

    def put(self, name: str, content: bytes) -> None:
        """Write an answer into the spool, whole or not at all; not forced to the disk, because a lost one is fetched again."""
        if self._min_free and self._free() < self._min_free + len(content):
            raise OSError(
                errno.ENOSPC,
                f"less than evidence.min_free_mb = {self._min_free / MEGABYTE:g} MB are free",
                str(self.folder),
            )
        path = self._spool_path(name)
        self._make(path.parent)
        salt, nonce = secrets.token_bytes(_SALT), secrets.token_bytes(_NONCE)
        sealed = AESGCM(self._file_key(salt)).encrypt(nonce, content, name.encode())
        part = path.with_name(f".{name}.part")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
                stream.write(_MAGIC + salt + nonce + sealed)
            part.replace(path)
        except OSError:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise

    def read(self, name: str) -> bytes:
        """What was put under this name. Raises Damaged, or FileNotFoundError when it is gone."""
        path = self.find(name)
        if path is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.folder / name))
        return self.open(name, path.read_bytes())

    def open(self, name: str, sealed: bytes) -> bytes:
        """The content of an encrypted file. Raises Damaged."""
        if sealed[: len(_MAGIC)] != _MAGIC or len(sealed) < _HEAD:
            raise Damaged("it is no evidence file")
        salt = sealed[len(_MAGIC) : len(_MAGIC) + _SALT]
        nonce = sealed[len(_MAGIC) + _SALT : _HEAD]
        try:
            return AESGCM(self._file_key(salt)).decrypt(nonce, sealed[_HEAD:], name.encode())
        except InvalidTag as exc:
            raise Damaged("it was changed, cut or renamed, or the key is another one") from exc

    def keep(self, name: str) -> Kept:
        """Move an answer from the spool (or from the orphans) to the evidence, on the disk before this returns.

        Does no harm when it lies there already. Raises FileNotFoundError when it is gone.
        """
        found, target = self.find(name), self.kept_path(name)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(target))
        if found != target:
            self._make(target.parent)
            _force(found)
            found.replace(target)
            _force(target.parent)
        return self.measure(target)

    @staticmethod
    def measure(path: Path) -> Kept:
        """Size and digest of a file as it lies there."""
        content = path.read_bytes()
        return Kept(path.name, len(content), hashlib.sha256(content).hexdigest())

    # --- going through, and away

    def kept(self) -> Iterator[Path]:
        """Every file in the evidence folder, whatever its name."""
        yield from sorted(path for path in (self.folder / "kept").glob("**/*") if not path.is_dir())

    def spooled(self, source_id: str = "") -> Iterator[str]:
        """Names in the spool, of one source or of all."""
        source = hashlib.sha256(source_id.encode()).hexdigest()[:8] if source_id else ""
        for hour in self._hours():
            for entry in os.scandir(hour):
                if self.is_name(entry.name) and entry.name[17:].startswith(source):
                    yield entry.name

    def discard(self, name: str) -> bool:
        """Remove the file of this name, wherever it lies; False when there was none."""
        gone = False
        while (path := self.find(name)) is not None:
            path.unlink()
            gone = True
        return gone

    def set_apart(self, name: str) -> Kept:
        """Move a kept file to the orphans."""
        target = self._orphan_path(name)
        self._make(target.parent)
        self.kept_path(name).replace(target)
        return self.measure(target)

    def forget_orphans(self, until: datetime) -> int:
        """Delete orphans whose answer came before `until`; returns how many."""
        folder, gone = self.folder / "orphans", 0
        for path in list(folder.iterdir()) if folder.is_dir() else []:
            if self.is_name(path.name) and path.name < f"{until.astimezone(UTC):%Y%m%dT%H%M%SZ}":
                path.unlink()
                gone += 1
        return gone

    def prune(self, now: datetime, hours: float, megabytes: float) -> Pruned:
        """Empty the spool of hours that are over, oldest first, and further while it is larger than `megabytes`."""
        oldest = f"{now.astimezone(UTC) - timedelta(hours=hours):%Y%m%dT%H}"
        sizes = {hour: self._size(hour) for hour in self._hours()}
        total, files, freed, early = sum(sizes.values()), 0, 0, False
        for hour in sorted(sizes):
            too_old = hour.name < oldest
            if not too_old and total <= megabytes * MEGABYTE:
                break
            files += sum(1 for _ in hour.iterdir())
            shutil.rmtree(hour)
            self._sizes.pop(hour.name, None)
            total, freed, early = total - sizes[hour], freed + sizes[hour], early or not too_old
        return Pruned(files, freed, early)

    def _hours(self) -> list[Path]:
        spool = self.folder / "spool"
        return [hour for hour in spool.iterdir() if _HOUR.fullmatch(hour.name)] if spool.is_dir() else []

    def _size(self, hour: Path) -> int:
        changed = hour.stat().st_mtime_ns
        known = self._sizes.get(hour.name)
        if known is None or known[0] != changed:
            total = 0
            for entry in os.scandir(hour):
                with suppress(FileNotFoundError):  # a crawl may rename it at this moment
                    total += entry.stat().st_size
            known = changed, total
            self._sizes[hour.name] = known
        return known[1]

    @contextmanager
    def locked(self) -> Iterator[bool]:
        """Yields whether this process alone may now move and remove files; false while another one does. Never waits."""
        self._make(self.folder)
        handle = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True
        finally:
            os.close(handle)

    def _file_key(self, salt: bytes) -> bytes:
        return hmac.digest(self._key, b"file" + salt, hashlib.sha256)

    def _make(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def _free(self) -> int:
        self._make(self.folder)
        return shutil.disk_usage(self.folder).free


def vault_of(data_path: Path, key: bytes, min_free_mb: float) -> Vault:
    """The vault in the data folder of an installation."""
    return Vault(data_path / "evidence", key, min_free_mb=min_free_mb)


def _checked(name: str) -> str:
    if not Vault.is_name(name):
        raise ValueError(f"{name!r} is no name of an evidence file")
    return name


def _force(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
