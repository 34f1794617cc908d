"""One crawl for each host on this machine, across processes: `quansheng crawl` beside a running product must not double the load.

A lock is held by the operating system for as long as the process lives, so `kill -9` leaves none behind.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def host_locks(folder: Path, hosts: Iterable[str]) -> Iterator[frozenset[str]]:
    """Lock what can be locked of `hosts`; yields those that another process is crawling now. Never waits."""
    folder.mkdir(parents=True, exist_ok=True)
    handles: list[int] = []
    busy: set[str] = set()
    try:
        for host in sorted(set(hosts)):
            name = hashlib.sha256(host.encode()).hexdigest()[:16]
            handle = os.open(folder / f"crawl-{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            handles.append(handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                busy.add(host)
        yield frozenset(busy)
    finally:
        for handle in handles:
            os.close(handle)
