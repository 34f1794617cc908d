"""The wheel holds what it should: hatchling drops a misspelt folder without a word."""

from __future__ import annotations

import tomllib
from pathlib import Path

import config

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_root_package_and_module_is_in_the_wheel() -> None:
    listed = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"])
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    modules = {path.name for path in ROOT.glob("*.py")}
    assert listed == packages | modules


def test_type_checker_and_coverage_look_at_all_of_it() -> None:
    listed = set(PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"])
    assert listed <= set(PROJECT["tool"]["mypy"]["files"])
    assert {name.removesuffix(".py") for name in listed} == set(PROJECT["tool"]["coverage"]["run"]["source"])


def test_the_imported_packages_are_this_project_s() -> None:
    assert Path(config.__file__).is_relative_to(ROOT), "another package named config shadows ours"


def test_every_dependency_says_what_it_is_for() -> None:
    lines = (ROOT / "pyproject.toml").read_text().splitlines()
    start = lines.index("dependencies = [")
    end = next(i for i, line in enumerate(lines) if line.startswith("[project.scripts]"))
    entries = [line for line in lines[start + 1 : end] if line.strip().startswith('"')]
    assert len(entries) > 30
    assert [line for line in entries if "#" not in line] == []


def test_locks_carry_hashes_and_no_index_address() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text()
        assert "--hash=sha256:" in text
        assert "://" not in text.replace("via", ""), f"{name} names an address"
        pinned = [line for line in text.splitlines() if "==" in line and not line.startswith((" ", "#"))]
        assert all(line.rstrip().endswith("\\") for line in pinned)
        assert len(pinned) > 60


def test_each_declared_dependency_is_locked() -> None:
    locked = {
        line.split("==")[0].split("[")[0].lower()
        for line in (ROOT / "requirements-dev.lock").read_text().splitlines()
        if "==" in line and not line.startswith((" ", "#"))
    }
    wanted = [*PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"]["dev"]]
    names = {entry.split(">")[0].split("=")[0].split("[")[0].lower().replace("_", "-") for entry in wanted}
    assert {name for name in names if name not in {item.replace("_", "-") for item in locked}} == set()
