"""Run by the kill test as a process of its own: back-fill the given column, without waiting between pages.

python -m tests.fakes.backfill_child DATABASE_URL SITE_URL [commit:N | before:N]
"""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

from incidents.session import Database
from spiders import backfill
from tests.fakes.crawl import CRAWL, KEYS, NOW, bundle, folder_of, source
from tests.fakes.crawl_child import die

START, UNTIL = NOW - timedelta(days=20), NOW - timedelta(days=10)


def column(site: str) -> Any:
    """A column of many pages whose ordinary reading sees the first one only."""
    return source("col", "column", f"{site}/col/1", link_pattern="/art/", next_selector="a.next")


def main(url: str, site: str, death: str = "") -> None:
    """Back-fill to the end, or to the death."""
    db = Database(url, audit_key=b"a key that signs nothing but tests")
    if death:
        die(db, *death.split(":"))
    home = bundle(column(site), crawl=CRAWL, data_dir=folder_of(db))
    stop = backfill.run(db, home, KEYS, "col", START, UNTIL, lambda: NOW, sleep=lambda seconds: None, env={})
    db.close()
    if stop.state != "done":
        raise SystemExit(stop.sentence)


if __name__ == "__main__":
    main(*sys.argv[1:])
