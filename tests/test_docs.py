"""The documentation names every command, setting, state, error and file there is."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from pydantic import BaseModel

from cli import app
from config.accounts import ROLES
from config.settings import Settings
from incidents.states import FALSE_ALARM_REASONS, LEVELS, State

ROOT = Path(__file__).parent.parent
ROOMS = ("alerts", "analysis", "commands", "config", "console", "demo", "incidents", "reports", "spiders")


def document(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands() -> Iterator[str]:
    for name, command in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        subcommands = getattr(command, "commands", None)
        yield from (f"{name} {sub}" for sub in subcommands) if subcommands else [name]


def settings_keys() -> Iterator[str]:
    for name, info in Settings.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from (f"{name}.{key}" for key in info.annotation.model_fields)
        else:
            yield name


def project_files() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))] + sorted(
        ROOT.glob("*.py")
    )


def exceptions() -> Iterator[tuple[str, str]]:
    for path in project_files():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                bases = {ast.unparse(base).split(".")[-1] for base in node.bases}
                if any(base.endswith(("Error", "Exception")) for base in bases) and not node.name.startswith(
                    "_"
                ):
                    yield node.name, path.relative_to(ROOT).as_posix()


def test_every_command_is_documented() -> None:
    text = document("docs/operations.md")
    names = list(commands())
    assert len(names) >= 15
    assert [name for name in names if f"quansheng {name}" not in text] == []


def test_every_setting_is_documented() -> None:
    text = document("docs/configuration.md")
    keys = list(settings_keys())
    assert len(keys) > 30
    assert [key for key in keys if f"`{key}`" not in text] == []


def test_every_state_level_reason_and_role_is_in_the_glossary() -> None:
    text = document("docs/glossary.md")
    assert [word for word in (*State, *LEVELS, *FALSE_ALARM_REASONS, *ROLES) if f"`{word}`" not in text] == []


def test_every_error_is_documented_with_its_cure() -> None:
    text = document("docs/operations.md")
    found = list(exceptions())
    assert len(found) > 3
    assert [f"{name} ({path})" for name, path in found if f"`{name}`" not in text] == []


def test_every_file_has_a_caption() -> None:
    text = document("docs/architecture.md")
    missing = [
        path.relative_to(ROOT).as_posix()
        for path in project_files()
        if f"`{path.relative_to(ROOT).as_posix()}`" not in text and path.name != "__init__.py"
    ]
    assert missing == []


def test_links_between_documents_lead_somewhere() -> None:
    broken = []
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            if not target.startswith(("http", "mailto:")) and not (path.parent / target).exists():
                broken.append(f"{path.relative_to(ROOT)}: {target}")
    assert broken == []


@pytest.mark.parametrize("readme", ["README.md", "README.zh-CN.md"])
def test_the_readme_names_real_commands(readme: str) -> None:
    known = {name.split()[0] for name in commands()}
    used = set(re.findall(r"^ {4}quansheng (\w+)", document(readme), flags=re.MULTILINE))
    assert used
    assert used <= known
    targets = set(re.findall(r"^([a-z-]+):", document("Makefile"), flags=re.MULTILINE))
    assert set(re.findall(r"^ {4}make ([a-z-]+)", document(readme), flags=re.MULTILINE)) <= targets


def test_documents_write_options_where_the_command_takes_them() -> None:
    wrong = re.compile(r"quansheng [a-z]+(?: [a-z]+)? (?:--config|-c|--verbose|-v) ")
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    assert [path.name for path in pages if wrong.search(path.read_text(encoding="utf-8"))] == []


def test_no_page_names_the_machine_it_was_written_on() -> None:
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    told = re.compile(r"/work/|/tmp/w|/root/")
    found = [
        name
        for name in listed
        if name.endswith((".py", ".md", ".yaml", ".toml", ".html", ".css", "Makefile"))
        and name != "tests/test_docs.py"
        and told.search(document(name))
    ]
    assert found == []
