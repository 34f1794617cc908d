"""The line of those who want to write to one SQLite file: first come, first served, across threads and processes.

SQLite does not queue those who wait for its one lock: each sleeps and tries again, and a writer that has batch after batch
ready takes it anew before a sleeper wakes. A person's click could so be refused after ten seconds. Here everybody draws
a number and waits until no smaller one is left. Each number is one byte of the file `<database>-line` that its holder has
locked; the kernel gives the byte back however a process ends, so nobody waits for the dead. The line keeps order only:
what keeps the data whole is SQLite's own lock, also against programs that stand in no line.
"""

from __future__ import annotations

import fcntl
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from incidents.trouble import DatabaseTrouble

#: where in the file: the next number, the number whose turn it is, the last one whose turn was in vain because somebody
#: outside the line holds the database, and the first number's byte
_NEXT, _SERVED, _IN_VAIN, _FIRST = 0, 8, 16, 24
#: struct flock of 64-bit Linux: type, whence, start, length, pid
_FLOCK = "hhqqi4x"
#: seconds between two looks of one who waits, at first and at most; the own process wakes its waiters at once
_LOOK_S, _LOOK_AT_MOST_S = 0.0005, 0.004


class Turn:
    """The right to write now."""

    def __init__(self, file: int | None = None, number: int = 0) -> None:
        self._file, self._number = file, number

    @property
    def wanted(self) -> bool:
        """Whether somebody stands in line behind: a long piece of work then ends early. False where there is no line."""
        return self._file is not None and _held(self._file, _FIRST + self._number + 1, 0)

    def in_vain(self) -> None:
        """Tell those behind that somebody outside the line holds the database: they need not each find it out anew."""
        if self._file is not None:
            _put(self._file, _IN_VAIN, self._number)


class Line:
    """The line before one SQLite file. Without a right to write beside the database there is none, and SQLite alone decides."""

    def __init__(self, database: Path, patience_s: float, busy_s: float) -> None:
        self._database = database
        self._path = Path(f"{database}-line")
        self._patience_s = patience_s
        self._busy_s = busy_s
        self._moved = threading.Condition()

    @contextmanager
    def turn(self) -> Iterator[Turn]:
        """Wait for everybody who came before.

        Raises DatabaseTrouble when nobody moved for `patience_s`, or when somebody in front was refused by a program that
        stands in no line, and this one has waited for `busy_s` as well: else ten in line would wait ten times as long to
        be told the same.
        """
        file = self._open()
        if file is None:
            yield Turn()
            return
        try:
            number = self._draw(file)
            self._wait(file, lambda: not _held(file, _FIRST, number))
            _put(file, _SERVED, number)
            yield Turn(file, number)
        finally:
            os.close(file)  # and with it the number
            with self._moved:
                self._moved.notify_all()

    def _open(self) -> int | None:
        """The file, made when it is missing; None where none can be made or nothing can be locked in it."""
        flags = os.O_RDWR | os.O_CLOEXEC
        try:
            try:
                file = os.open(self._path, flags)
            except FileNotFoundError:
                owner = self._database.stat()
                file = os.open(self._path, flags | os.O_CREAT, owner.st_mode & 0o777)
                if os.geteuid() == 0:
                    os.fchown(file, owner.st_uid, owner.st_gid)  # as SQLite does with its own files
        except OSError:
            return None
        try:
            _held(file, _FIRST, 0)
            os.posix_fallocate(file, 0, _FIRST)  # its room is sure from here on, also on a full disk
        except OSError:
            os.close(file)
            return None
        return file

    def _draw(self, file: int) -> int:
        self._wait(file, lambda: _lock(file, fcntl.F_WRLCK, _NEXT))
        try:
            # from 1: a length of 0 would mean "to the end"
            number = max(1, _number_at(file, _NEXT))
            _lock(file, fcntl.F_WRLCK, _FIRST + number)
            _put(file, _NEXT, number + 1)
        finally:
            _lock(file, fcntl.F_UNLCK, _NEXT)
        return number

    def _wait(self, file: int, free: Callable[[], bool]) -> None:
        """Until `free`; whoever was served last is looked at, so that a long line that moves tires nobody."""
        pause, served, begun = _LOOK_S, -1, time.monotonic()
        since, vain = begun, _number_at(file, _IN_VAIN)
        while not free():
            now = time.monotonic()
            if (now_served := _number_at(file, _SERVED)) != served:
                served, since = now_served, now
            elif now - since > self._patience_s:
                raise self._trouble(now - since)
            if now - begun > self._busy_s and _number_at(file, _IN_VAIN) != vain:
                raise self._trouble(now - begun)
            with self._moved:
                self._moved.wait(pause)
            pause = min(pause * 1.5, _LOOK_AT_MOST_S)

    def _trouble(self, waited_s: float) -> DatabaseTrouble:
        return DatabaseTrouble(
            f"{self._database}: another process has held it for {waited_s:.0f} s and does not let go; "
            "wait a minute, and end that process if this stays (database is locked)"
        )


def _lock(file: int, kind: int, at: int) -> bool:
    """Lock or free one byte; False while somebody else has it. The lock belongs to the open file, not to the process."""
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack(_FLOCK, kind, os.SEEK_SET, at, 1, 0))
    except (BlockingIOError, PermissionError):  # both mean "held by another"
        return False
    return True


def _held(file: int, begin: int, length: int) -> bool:
    """Whether somebody else holds a byte of this range; length 0: up to the end."""
    asked = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, begin, length, 0)
    kind: int = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_OFD_GETLK, asked))[0]
    return kind != fcntl.F_UNLCK


def _number_at(file: int, place: int) -> int:
    held = os.pread(file, 8, place)
    number: int = struct.unpack("q", held)[0] if len(held) == 8 else 0
    return number


def _put(file: int, place: int, number: int) -> None:
    os.pwrite(file, struct.pack("q", number), place)
