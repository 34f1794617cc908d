"""Reading one YAML file of the configuration: where a value stands, and one sentence for each thing that is wrong.

YAML 1.1 turns `20:00` into 1200, `no` into False and `2026-10-01` into a date. Rosters and rules are full of
such values, so this loader keeps them as text: only true/false, null, plain decimal numbers and text exist.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from config.problems import in_words, known_names, shown, unknown_key
from config.settings import ConfigError

#: Packaged defaults, used for each file that the configuration folder does not hold.
DEFAULTS = Path(__file__).parent / "defaults"

Location = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound=BaseModel)


class Record(BaseModel):
    """Base of everything read from a configuration file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class _Loader(yaml.SafeLoader):
    """SafeLoader with the plain scalars of YAML 1.2 and without repeated keys."""


_Loader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in (
    ("bool", r"^(?:true|false)$", "tf"),
    ("null", r"^(?:null|~|)$", ("n", "~", "")),
    ("int", r"^[-+]?(?:0|[1-9][0-9]*)$", "-+0123456789"),
    ("float", r"^[-+]?(?:0|[1-9][0-9]*)\.[0-9]+$", "-+0123456789"),
    ("merge", r"^<<$", "<"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


@dataclass(frozen=True)
class Document:
    """One YAML file: its data and the line (from 1) of every key and list entry."""

    path: Path
    data: Any
    lines: dict[Location, int] = field(default_factory=dict)

    def problem(self, location: Location, expectation: str, value: Any = ...) -> str:
        """One sentence: file, line, key, value, expectation."""
        key = ".".join(str(part) for part in location) or "(whole file)"
        line = self._line(location)
        place = f"{self.path}, line {line}" if line else str(self.path)
        if value is ...:
            return f"{place}: {key}: {expectation}"
        return f"{place}: {key} = {shown(value, key)}: {expectation}"

    def _line(self, location: Location) -> int | None:
        for end in range(len(location), -1, -1):
            if location[:end] in self.lines:
                return self.lines[location[:end]]
        return None


def read_yaml(path: Path) -> Document:
    """The file as data with line numbers.

    Raises ConfigError with file, line and column for broken YAML, a repeated key or text that is not UTF-8.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError as exc:
        raise ConfigError([f"{path}: no such file; `quansheng init {path.parent}` writes one"]) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError([f"{path}: byte {exc.start + 1} is not UTF-8; save the file as UTF-8"]) from exc
    except OSError as exc:
        raise ConfigError([f"{path}: cannot be read: {exc.strerror}"]) from exc
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        lines: dict[Location, int] = {}
        if node is None:
            return Document(path, {}, lines)
        _walk(loader, node, (), lines, set())
        data = loader.construct_document(node)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError([f"{path}{where}: not valid YAML: {exc.problem or exc.context}"]) from exc
    except (yaml.YAMLError, ValueError) as exc:  # unprintable characters; `!!int x`
        raise ConfigError([f"{path}: not valid YAML: {' '.join(str(exc).split())}"]) from exc
    except RecursionError as exc:
        raise ConfigError([f"{path}: not valid YAML: nested too deeply"]) from exc
    return Document(path, data, lines)


def _walk(loader: _Loader, node: yaml.Node, at: Location, lines: dict[Location, int], done: set[int]) -> None:
    """Notes the line of every entry below `node`; refuses tags and a mapping that holds a key twice.

    A node that an alias repeats is walked once: aliases may be nested or even hold themselves.
    """
    lines.setdefault(at, node.start_mark.line + 1)
    if id(node) in done:
        return
    done.add(id(node))
    _refuse_tag(loader, node)
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _walk(loader, item, (*at, index), lines, done)
    elif isinstance(node, yaml.MappingNode):
        seen: set[Hashable] = set()
        for key, value in node.value:
            _refuse_tag(loader, key)
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None:
                raise yaml.MarkedYAMLError(problem="a key must be plain text", problem_mark=key.start_mark)
            if name in seen and name != "<<":
                raise yaml.MarkedYAMLError(
                    problem=f"the key {name!r} stands here twice", problem_mark=key.start_mark
                )
            seen.add(name)
            lines[(*at, name)] = key.start_mark.line + 1
            _walk(loader, value, (*at, name), lines, done)


def _refuse_tag(loader: _Loader, node: yaml.Node) -> None:
    """`!!binary x` and the like: a value is what it looks like."""
    plain = isinstance(node, yaml.ScalarNode) and node.style is None
    expected = loader.resolve(type(node), node.value, (plain, not plain))  # type: ignore[no-untyped-call]
    if node.tag != expected:
        raise yaml.MarkedYAMLError(
            problem=f"the tag {node.tag} is not for here", problem_mark=node.start_mark
        )


def parse(model: type[ModelT], document: Document, data: Any = ...) -> ModelT:
    """`document` as `model`. Raises ConfigError with one entry per wrong value.

    `data` replaces the document's own data where a reader has reshaped it.
    """
    given = document.data if data is ... else data
    if not isinstance(given, dict):
        raise ConfigError([document.problem((), "expected `key: value` lines at the top of the file", given)])
    try:
        return model.model_validate(given)
    except ValidationError as exc:
        found = [dict(p) for p in exc.errors(include_url=False)]
        raise ConfigError([_sentence(model, document, p) for p in found if not _follows(p, found)]) from exc


def _sentence(model: type[BaseModel], document: Document, problem: dict[str, Any]) -> str:
    # A tagged union puts its tag into the path; it is no key of the file.
    location = tuple(problem["loc"])
    kept = tuple(part for i, part in enumerate(location) if not _is_tag(document, location, i))
    kind = problem["type"]
    if kind == "missing":
        return document.problem(kept, "this key is missing")
    if kind == "extra_forbidden":
        return document.problem(kept, unknown_key(str(location[-1]), known_names(model)))
    if kind == "string_type" and isinstance(problem.get("input"), bool | int | float):
        return document.problem(kept, "expected text; write it in quotes", problem["input"])
    return document.problem(kept, in_words(problem), problem.get("input"))


def _follows(problem: Mapping[str, Any], others: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a list is called too short only because its entries are wrong, which is told already."""
    here = problem["loc"]
    return problem["type"] == "too_short" and any(
        len(other["loc"]) > len(here) and other["loc"][: len(here)] == here for other in others
    )


def _is_tag(document: Document, location: Location, index: int) -> bool:
    """Whether the part at `index` is a union tag: it is the `kind` of the list entry before it, which has no such key."""
    part = location[index]
    if index == 0 or not isinstance(part, str) or not isinstance(location[index - 1], int):
        return False
    entry = document.data
    for step in location[:index]:
        try:
            entry = entry[step]
        except (KeyError, IndexError, TypeError):
            return False
    return isinstance(entry, Mapping) and entry.get("kind") == part and part not in entry


def repeated(ids: list[str]) -> list[str]:
    """The entries that stand in a list more than once, in order of their repetition."""
    return [name for i, name in enumerate(ids) if name in ids[:i]]
