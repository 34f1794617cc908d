"""A process that looks into a watched folder and is killed at a point that the test names."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from incidents.session import Database
from spiders import importer
from spiders.intake import folder, job, reading
from tests.console_world import AUDIT_KEY, KEYS
from tests.test_intake_folder import NOW, Town


def die(*_given: Any, **_named: Any) -> Any:
    """As `kill -9` does it."""
    os.kill(os.getpid(), signal.SIGKILL)


def main(url: str, root: str, death: str) -> None:
    """Look once; never comes back."""
    what, _, number = death.partition(":")
    if what == "batch":
        left = [int(number)]

        def save(*given: Any) -> Any:
            left[0] -= 1
            return die() if left[0] < 0 else importer.save_found(*given)

        vars(reading)["save_found"] = save
    else:
        name = {"receipt": "write_receipt", "move": "_file", "filed": "mark_filed"}[what]
        vars(folder)[name] = die
    town = Town(Database(url, audit_key=AUDIT_KEY), Path(root), stable_s=0)
    job.run(town.db, town.bundle, KEYS, NOW)


if __name__ == "__main__":
    main(*sys.argv[1:])
