"""One crawl for each host on this machine, across processes: `quansheng crawl` beside a running product must not double the load.

A lock is held by the operating system for as long as the process lives, so `kill -9` leaves none behind. Each host is one byte of one file:
a file for each would need as many open files as there are hosts under way, and a city has thousands.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class HostLocks:
    """Locks of one holder. They belong to the open file, so two holders in one process see each other too. Never waits."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / "crawl-hosts.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, host: str) -> bool:
        """Whether `host` is ours now: False while another holder is crawling it."""
        try:
            self._set(fcntl.F_WRLCK, host)
        except BlockingIOError:
            return False
        return True

    def take_all(self, hosts: Iterable[str]) -> bool:
        """All of `hosts` or none."""
        taken: list[str] = []
        for host in sorted(set(hosts)):
            if not self.take(host):
                self.free(taken)
                return False
            taken.append(host)
        return True

    def free(self, hosts: Iterable[str]) -> None:
        """Give hosts back."""
        for host in hosts:
            self._set(fcntl.F_UNLCK, host)

    def close(self) -> None:
        """Give everything back."""
        os.close(self._file)

    def _set(self, kind: int, host: str) -> None:
        at = int.from_bytes(hashlib.sha256(host.encode()).digest()[:7], "big")
        # struct flock of 64-bit Linux: type, whence, start, length, pid
        fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, at, 1, 0))


@contextmanager
def host_locks(folder: Path, hosts: Iterable[str]) -> Iterator[frozenset[str]]:
    """Lock what can be locked of `hosts`; yields those that another process is crawling now. Never waits."""
    locks = HostLocks(folder)
    try:
        yield frozenset(host for host in sorted(set(hosts)) if not locks.take(host))
    finally:
        locks.close()
