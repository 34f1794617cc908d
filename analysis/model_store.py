"""Which model judges here: the shipped one, or one that this installation trained; how it is put in place and taken back.

Models of an installation lie in `<data>/models/posts/`: one file a version, and `current.json`, which lists them, the
last one in force. A file is written whole and synced before the list names it, and the list is replaced in one step: after a
crash the former list stands. A model that is damaged or made for other features does not judge; the shipped one does then.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from analysis.linear import MODEL, LinearModel
from incidents.trouble import Problem

log = logging.getLogger(__name__)

#: how many former models stand ready for going back
FORMER_KEPT = 5
POINTER = "current.json"
_NAME = re.compile(r"(?P<root>.+?)-city(?P<number>\d+)")
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile)


@dataclass(frozen=True)
class Stored:
    """One model of this installation. `figures`: what was measured before it was installed."""

    version: str
    file: str
    sha256: str
    base: str  # version it was made from, or "gold" for a whole refit
    made_at: str  # ISO 8601
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class InForce:
    """The model that judges. `trouble`: why it is not the installation's own one, where it should be."""

    model: LinearModel
    path: Path
    stored: Stored | None = None
    trouble: str = ""


def folder_of(data_path: Path) -> Path:
    """Where an installation keeps its models."""
    return data_path / "models" / "posts"


def token(folder: Path | None) -> tuple[int, int, int] | None:
    """Changes when another model comes into force; costs one stat."""
    if folder is None:
        return None
    try:
        found = (folder / POINTER).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


class ModelStore:
    """The models in one folder. Writers hold `lock`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextmanager
    def lock(self) -> Iterator[None]:
        """One training at a time. Raises Problem when another one is at work."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "train.lock").open("a+") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as exc:
                held.seek(0)
                holder = held.read().strip() or "unknown"
                raise Problem(
                    f"{self.folder}: another `quansheng train` is at work (process {holder}); wait until it has ended"
                ) from exc
            held.truncate(0)
            held.write(str(os.getpid()))
            held.flush()
            yield

    def listed(self) -> list[Stored]:
        """The installation's models, the last one in force. Raises Problem when the list is damaged."""
        path = self.folder / POINTER
        try:
            rows = json.loads(path.read_text("utf-8"))["models"]
            return [Stored(**row) for row in rows]
        except FileNotFoundError:
            return []
        except _UNREADABLE as exc:
            raise Problem(
                f"{path}: cannot be read ({exc}); `quansheng train` writes it anew, or delete it to stay with the shipped model"
            ) from exc

    def next_version(self, base: str) -> str:
        """A name never given before here: the base model's name and a running number."""
        numbers = [0]
        for name in [path.name for path in self.folder.glob("*.npz.xz")] + [
            stored.version for stored in self._known()
        ]:
            match = _NAME.match(name)
            if match:
                numbers.append(int(match["number"]))
        counter = self.folder / "counter"
        if counter.is_file():
            numbers.append(int(counter.read_text("ascii").strip() or 0))
        match = _NAME.fullmatch(base)
        return f"{match['root'] if match else base}-city{max(numbers) + 1}"

    def put(
        self, packed: bytes, *, version: str, base: str, now: datetime, figures: Mapping[str, Any]
    ) -> Stored:
        """Write a model beside the others; it does not judge until `use`. Raises Problem when the folder cannot be written."""
        stored = Stored(
            version=version,
            file=f"{version}.npz.xz",
            sha256=hashlib.sha256(packed).hexdigest(),
            base=base,
            made_at=now.isoformat(),
            figures=figures,
        )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self.folder / stored.file, packed)
            match = _NAME.fullmatch(version)
            if match:
                _write(self.folder / "counter", match["number"].encode("ascii"))
        except OSError as exc:
            raise Problem(f"{self.folder}: cannot be written: {exc.strerror}; nothing was changed") from exc
        return stored

    def use(self, stored: Stored) -> None:
        """Put a model in force that was `put` before; the last FORMER_KEPT ones stay ready."""
        models = [*self._known(), stored][-(FORMER_KEPT + 1) :]
        self._point(models)
        named = {model.file for model in models}
        for path in self.folder.glob("*.npz.xz"):
            if path.name not in named:
                path.unlink(missing_ok=True)

    def rollback(self) -> tuple[Stored, Stored | None]:
        """Take the model in force away; returns it and the one that judges now (None: the shipped one)."""
        models = self.listed()
        if not models:
            raise Problem("the shipped model judges already: there is nothing to go back from")
        self._point(models[:-1])  # its file stays until the next training: a judge may be reading it
        return models[-1], models[-2] if len(models) > 1 else None

    def _known(self) -> list[Stored]:
        """The list, or nothing when it is damaged: a new one is begun then."""
        try:
            return self.listed()
        except Problem as problem:
            log.warning("%s", problem)
            return []

    def _point(self, models: list[Stored]) -> None:
        value = {"models": [asdict(model) for model in models]}
        try:
            _write(self.folder / POINTER, json.dumps(value, ensure_ascii=False, indent=1).encode("utf-8"))
        except OSError as exc:
            raise Problem(f"{self.folder}: cannot be written: {exc.strerror}; nothing was changed") from exc

    def load(self, stored: Stored) -> LinearModel:
        """Read one model. Raises Problem when it is absent, damaged or made for other features."""
        path = self.folder / stored.file
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as exc:
            raise Problem(f"{path}: cannot be read: {exc.strerror}") from exc
        if digest != stored.sha256:
            raise Problem(f"{path}: is not the file that was installed (its checksum differs)")
        try:
            return LinearModel.load(path)
        except _UNREADABLE as exc:
            raise Problem(f"{path}: cannot be used ({exc})") from exc


def in_force(folder: Path | None) -> InForce:
    """The installation's newest model if it is whole, else the shipped one and what is wrong."""
    trouble, stored = "", None
    if folder is not None:
        store = ModelStore(folder)
        try:
            models = store.listed()
            if models:
                stored = models[-1]
                return InForce(store.load(stored), folder / stored.file, stored)
        except Problem as problem:
            trouble = str(problem)
            log.warning("%s; the shipped model judges", trouble)
    return InForce(LinearModel.load(), MODEL, None, trouble)


def finding(folder: Path) -> tuple[Literal["ok", "warning"], str]:
    """For the doctor: which model judges, and what to do when it is not the one that was installed."""
    here = in_force(folder)
    if here.trouble:
        return "warning", (
            f"{here.trouble}; the shipped model {here.model.version} judges meanwhile: restore the file from your backup, "
            "`quansheng train` anew, or `quansheng train --rollback`"
        )
    if here.stored is None:
        return "ok", f"{here.model.version}, as shipped"
    shipped = LinearModel.load().version
    root = _NAME.fullmatch(here.model.version)
    if root and root["root"] != shipped:
        return "warning", (
            f"{here.model.version} was made from an older model than the shipped {shipped}; "
            "run `quansheng train` so that your corrections go into the newer one"
        )
    return "ok", f"{here.model.version}, trained here on {here.stored.made_at[:10]}"


def _write(path: Path, content: bytes) -> None:
    """The whole file or nothing, also after a crash."""
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    handle = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(handle)  # the name too must survive
    finally:
        os.close(handle)
