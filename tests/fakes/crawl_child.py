"""Run by the kill test as a process of its own: crawl the given site once.

    python -m tests.fakes.crawl_child DATABASE_URL SITE_URL [commit:N | before:N]

With `commit:N` it kills itself right after the Nth commit, with `before:N` right before it.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import event

from incidents.session import Database
from spiders.importer import import_file
from spiders.job import run
from tests.fakes.crawl import CRAWL, KEYS, NOW, bundle, folder_of, source


def sources(site: str) -> list[Any]:
    """A feed, a paged API and a sitemap, more than one batch each where it matters."""
    return [
        source("feed", "rss", f"{site}/feed.xml"),
        source(
            "api",
            "json",
            f"{site}/api?page={{page}}",
            fields={"id": "id", "text": "t"},
            pagination={"kind": "page", "size": 40},
        ),
        source("map", "sitemap", f"{site}/map.xml"),
    ]


def main(url: str, site: str, death: str = "") -> None:
    """Crawl, or import when `site` is a file."""
    db = Database(url, audit_key=b"a key that signs nothing but tests")
    if death:
        die(db, *death.split(":"))
    if site.startswith("http"):
        run(
            db,
            bundle(*sources(site), crawl=CRAWL, data_dir=folder_of(db)),
            KEYS,
            NOW,
            only=("feed", "api", "map"),
            env={},
        )
    else:
        import_file(db, Path(site), None, KEYS.pseudonym, NOW)
    db.close()


def die(db: Database, moment: str, number: str) -> None:
    """Kill this process at the commit of that number."""
    left = [int(number)]

    def kill() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    if moment == "before":

        @event.listens_for(db.engine, "commit")
        def before(_connection: Any) -> None:
            kill()
    else:

        @event.listens_for(db._sessions, "after_commit")
        def after(_session: Any) -> None:
            kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
