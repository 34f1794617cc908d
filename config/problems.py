"""Sentences about wrong settings: which file or variable, which line, which key, what is expected."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from dotenv import dotenv_values
from pydantic import BaseModel

PREFIX = "QUANSHENG_"
_SECRET_WORDS = ("token", "password", "secret", "headers")


def known_names(model: type[BaseModel], seen: set[type[BaseModel]] | None = None) -> set[str]:
    """Every field name (alias where it has one) of a model and of the models in it: candidates for "did you mean"."""
    seen = set() if seen is None else seen
    if model in seen:
        return set()
    seen.add(model)
    names = {info.alias or name for name, info in model.model_fields.items()}
    stack: list[Any] = [info.annotation for info in model.model_fields.values()]
    while stack:
        hint = stack.pop()
        if isinstance(hint, type) and issubclass(hint, BaseModel):
            names |= known_names(hint, seen)
        else:
            stack.extend(get_args(hint))
    return names


def unknown_key(name: str, names: set[str]) -> str:
    """The sentence for a key that nobody reads, with the nearest one that exists."""
    near = difflib.get_close_matches(name, sorted(names), n=1)
    return "unknown key" + (f"; did you mean `{near[0]}`?" if near else "")


def shown(value: Any, key: str) -> str:
    """A value as it stands in a sentence: short, and never a secret."""
    told = f"{key} {list(value)}" if isinstance(value, dict) else key
    if any(word in told.lower() for word in _SECRET_WORDS):
        return "***"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def toml_line(text: str, location: tuple[str, ...]) -> int | None:
    """The line (from 1) of a key in a TOML text with plain sections, None if it is not found so simply."""
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if (head := re.match(r"\s*\[([^\[\]]+)\]", line)) is not None:
            section = head[1].strip()
            if location == (section,):
                return number
        elif (key := re.match(r'\s*"?([\w-]+)"?\s*=', line)) is not None:
            here = (section, key[1]) if section else (key[1],)
            if location[: len(here)] == here:
                return number
    return None


#: what stands in a pattern of ours -> what a person is told to write
_FORMS = (
    ("(mon|tue|wed", "expected a day and a time such as mon 08:07"),
    ("2[0-3]", "expected a time of day such as 08:30"),
    ("[^@", "expected a mail address such as zhiban@example.gov.cn"),
    ("[CG]", "expected a Slack channel id such as C0123ABCD"),
    ("[UW]", "expected a Slack member id such as U0123ABCD"),
    ("\\d{4}-\\d\\d-\\d\\d", "expected a date such as 2026-10-01"),
    ("[a-z]", "expected small letters and digits, beginning with a letter"),
)


def in_words(problem: Mapping[str, Any]) -> str:
    """What pydantic expected, without its regular expressions."""
    if problem["type"] == "string_pattern_mismatch":
        pattern = str(problem.get("ctx", {}).get("pattern", ""))
        return next((words for part, words in _FORMS if part in pattern), f"expected the form {pattern}")
    message = str(problem["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


class Origin:
    """Finds out which of environment, .env and settings file gave a value."""

    def __init__(self, file: Path, environ: Mapping[str, str]) -> None:
        self.file = file
        self.dotenv = file.parent / ".env"
        self._environ = {name.upper(): name for name in environ}
        self._dotenv = (
            {name.upper(): name for name in dotenv_values(self.dotenv)} if self.dotenv.is_file() else {}
        )
        self._text = file.read_text("utf-8", errors="replace") if file.is_file() else ""

    def sentence(self, problem: Mapping[str, Any], model: type[BaseModel]) -> str:
        """One sentence for one error of pydantic: where, key, value, expectation."""
        location = tuple(str(part) for part in problem["loc"])
        key = ".".join(location) or "(whole file)"
        value = shown(problem.get("input"), key)
        expectation = in_words(problem)
        if problem["type"] == "extra_forbidden":
            expectation = unknown_key(location[-1], known_names(model))
            if self.dotenv_name(location[-1]):
                return f"{self.dotenv}: {self.dotenv_name(location[-1])}: unknown; expected {PREFIX}<SECTION>__<KEY>"
        return f"{self.place(location)}: {key} = {value}: {expectation}"

    def place(self, location: tuple[str, ...]) -> str:
        """The variable or the file (with its line) that gave the value at `location`."""
        for end in range(len(location), 0, -1):
            name = (PREFIX + "__".join(location[:end])).upper()
            if name in self._environ:
                return f"environment, {self._environ[name]}"
            if name in self._dotenv:
                return f"{self.dotenv}, {self._dotenv[name]}"
        line = toml_line(self._text, location)
        return f"{self.file}, line {line}" if line else str(self.file)

    def dotenv_name(self, lowered: str) -> str | None:
        """The name in .env that pydantic reports as an unknown key, in the spelling of the file."""
        return self._dotenv.get(lowered.upper())


def bad_variables(environ: Mapping[str, str], model: type[BaseModel]) -> Iterator[str]:
    """Sentences for variables that are read wrongly or not at all: unknown section, list that is not JSON.

    Names without `__` are left alone: QUANSHENG_DATA and the like belong to tests and tools.
    """
    for name, value in environ.items():
        upper = name.upper()
        if not upper.startswith(PREFIX) or "__" not in upper:
            continue
        section, _, key = upper.removeprefix(PREFIX).lower().partition("__")
        info = model.model_fields.get(section)
        inner = info.annotation if info else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            yield f"environment, {name}: {unknown_key(section, set(model.model_fields))}"
            continue
        field = inner.model_fields.get(key)
        if field is not None and get_origin(field.annotation) is tuple and not _is_json_list(value):
            yield f'environment, {name} = {shown(value, key)}: expected a list in JSON: ["a", "b"]'


def _is_json_list(value: str) -> bool:
    try:
        return isinstance(json.loads(value), list)
    except ValueError:
        return False
