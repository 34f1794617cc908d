"""Whatever is done to a configuration file, reading it ends with a value or with sentences, never with a crash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.departments import load_departments
from config.files import DEFAULTS
from config.places import load_places
from config.roster import load_roster
from config.routes import load_routes
from config.rules import load_rules
from config.settings import ConfigError
from config.sources import load_sources

READERS: dict[str, Callable[[Path], Any]] = {
    "sources.yaml": load_sources,
    "departments.yaml": load_departments,
    "roster.yaml": load_roster,
    "routes.yaml": load_routes,
    "rules/jinan.yaml": load_rules,
    "places/jinan.yaml": load_places,
}


def lines_of(name: str) -> list[str]:
    return (DEFAULTS / name).read_text("utf-8").splitlines()


def read(name: str, path: Path) -> None:
    problems: list[str] | None = None
    try:
        READERS[name](path)
    except ConfigError as exc:
        problems = exc.problems
    if problems is not None:
        assert problems
        for problem in problems:
            assert problem.startswith(str(path)), problem
            assert "\n" not in problem, problem


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_damaged_line_gives_sentences(name: str, tmp_path: Path, data: st.DataObject) -> None:
    lines = lines_of(name)
    # The longest files are cut to their first lines: the damage is what matters.
    lines = lines[: data.draw(st.integers(1, min(len(lines), 60)))]
    at = data.draw(st.integers(0, len(lines) - 1))
    line = lines[at]
    cut = data.draw(st.integers(0, len(line)))
    put = data.draw(
        st.sampled_from(
            ["", "x", ":", "[", "}", '"', "- ", "null", "-1", "\t", "&a ", "*a", "!!map ", "\x00", "《"]
        )
    )
    lines[at] = line[:cut] + put + line[cut + data.draw(st.integers(0, 6)) :]
    path = tmp_path / "damaged.yaml"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    read(name, path)


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(raw=st.binary(max_size=200))
def test_noise_gives_sentences(name: str, tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "noise.yaml"
    path.write_bytes(raw)
    read(name, path)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize(
    "text",
    [
        "a: &x [*x]\n",
        "sources: &x\n  - *x\n",
        "routes: [null]\n",
        "people: {}\nweekly: 3\nfallback: []\n",
        "a: &a [1]\nb: &b [*a, *a]\nc: &c [*b, *b]\n",
        "---\na: 1\n---\nb: 2\n",
        "meta: 1\ndomains: text\n",
        "a: !!int x\n",
        "a: !!bool x\n",
        "a: !!int ''\n",
        "a: !!binary x\n",
        "a: !!set {b, c}\n",
        "!!int x: 1\n",
        "!!bool x: 1\n",
        "1: a\n",
        "<<: 1\n",
        "a: &b {c: 1}\nd:\n  <<: *b\n",
        "a: !!timestamp x\n",
        "[" * 5000,
    ],
)
def test_odd_shapes_give_sentences(name: str, tmp_path: Path, text: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text, "utf-8")
    read(name, path)
