"""`python -m config [quansheng.toml]`: check every file and print what is wrong, one sentence a line."""

from __future__ import annotations

import sys
from pathlib import Path

from config.bundle import load_bundle
from config.settings import ConfigError

if __name__ == "__main__":
    try:
        load_bundle(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
    except ConfigError as problem:
        sys.exit("\n".join(problem.problems))
