"""Texts made from the settings themselves, so that they cannot drift: the commented quansheng.toml, the example of
the secrets file, and the tables of docs/configuration.md.

`python -m config.reference` rewrites the tables of docs/configuration.md after a setting or a field was changed.
"""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from config.departments import Contact, Department, Departments, Duty
from config.places import Area, District, Named, Places, Street
from config.roster import Override, Person, Roster, Shift
from config.routes import Match, Route
from config.rules import HotlineRule, Obligation, ResponseRule
from config.settings import Settings
from config.sources import (
    AtprotoSource,
    ColumnSource,
    CommonSource,
    DiscuzSource,
    FolderSource,
    ForumSource,
    HanwebSource,
    JsonSource,
    LiuyanSource,
    MastodonSource,
    NewsnowSource,
    Pagination,
    PushSource,
    RsshubSource,
    RssSource,
    SitemapSource,
    SqlSource,
    Transform,
    WeiboSource,
)

DOCS = Path(__file__).parent.parent / "docs" / "configuration.md"
#: Set by the program itself, never in the file.
_SET_BY_COMMAND = {"config_dir"}

_TOML_HEAD = """\
# Settings of Quansheng. A line with # in front shows the default; take the # away to change it.
#
# Stronger than this file: the environment and the file .env beside it, QUANSHENG_<SECTION>__<KEY>, for instance
# QUANSHENG_CONSOLE__PORT=8700. Secrets (token, password) belong only there; see env.example.
# `quansheng check` tells every mistake of every file at once.
"""
_ENV_HEAD = """\
# Secrets of Quansheng. Copy this file to .env beside quansheng.toml and keep it readable for its owner only (chmod 600).
# An empty value means: this channel is off.
"""


def _sections() -> Iterator[tuple[str, str, dict[str, FieldInfo]]]:
    """Name, meaning and fields of the top level (name "") and of every section."""
    top: dict[str, FieldInfo] = {}
    sections: list[tuple[str, str, dict[str, FieldInfo]]] = []
    for name, info in Settings.model_fields.items():
        kind = info.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            sections.append((name, (kind.__doc__ or "").strip(), dict(kind.model_fields)))
        elif name not in _SET_BY_COMMAND:
            top[name] = info
    yield "", "General", top
    yield from sections


def setting_keys() -> list[str]:
    """Every key a person may set, as `section.key`."""
    return [f"{section}.{name}" if section else name for section, _, fields in _sections() for name in fields]


def _secret(info: FieldInfo) -> bool:
    return info.annotation in (SecretStr, dict[str, SecretStr])


def _toml(value: Any) -> str:
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(str(value), ensure_ascii=False)


def _wrapped(text: str, width: int = 110) -> Iterator[str]:
    line = "#"
    for word in text.split():
        if len(line) + 1 + len(word) > width and line != "#":
            yield line
            line = "#"
        line += " " + word
    yield line


def settings_toml() -> str:
    """A quansheng.toml in which every setting stands with its meaning and default, commented out."""
    lines = [_TOML_HEAD]
    for section, meaning, fields in _sections():
        if section:
            lines += ["", f"# {meaning}", f"[{section}]"]
        for name, info in fields.items():
            if _secret(info):
                lines.append(
                    f"# {name}: secret, set QUANSHENG_{section.upper()}__{name.upper()} instead (env.example)"
                )
                continue
            lines += [*_wrapped(info.description or ""), f"#{name} = {_toml(info.default)}"]
    return "\n".join(lines) + "\n"


def secrets_env() -> str:
    """The names of the secrets with empty values: env.example."""
    lines = [_ENV_HEAD]
    for section, _, fields in _sections():
        for name, info in fields.items():
            if _secret(info):
                lines += [*_wrapped(info.description or ""), f"#QUANSHENG_{section.upper()}__{name.upper()}="]
    return "\n".join(lines) + "\n"


def _type_name(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " \\| ".join(f"`{choice}`" for choice in inner)
    if origin in (Union, types.UnionType):
        return " or ".join("nothing" if item is type(None) else _type_name(item) for item in inner)
    if origin is tuple:
        return f"list of {_type_name(inner[0])}"
    if origin is dict:
        return f"key: {_type_name(inner[1])}"
    names = {
        str: "text",
        int: "whole number",
        float: "number",
        bool: "true/false",
        Path: "folder",
        SecretStr: "secret",
    }
    return names.get(kind, "local time" if getattr(kind, "__name__", "") == "datetime" else "entries (below)")


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "**required**"
    value = info.get_default()
    if isinstance(value, SecretStr) or value in ("", (), None, {}):
        return "empty"
    if isinstance(value, BaseModel):
        return "see below"
    return f"`{_toml(value)}`"


def _table(fields: dict[str, FieldInfo], prefix: str = "") -> list[str]:
    rows = ["| key | kind | default | meaning, unit, reason |", "|---|---|---|---|"]
    for name, info in fields.items():
        kind, default = _type_name(info.annotation), _default(info)
        meaning = (info.description or "").replace("|", "\\|")
        rows.append(f"| `{prefix}{info.alias or name}` | {kind} | {default} | {meaning} |")
    return rows


def _settings_tables() -> str:
    parts: list[str] = []
    for section, meaning, fields in _sections():
        parts += [f"### `[{section}]` {meaning}" if section else "### General", ""]
        parts += [*_table(fields, f"{section}." if section else ""), ""]
    return "\n".join(parts).rstrip()


_MODELS: dict[str, tuple[tuple[str, type[BaseModel]], ...]] = {
    "sources": (
        ("Every source", CommonSource),
        ("`kind: rss`, further keys", RssSource),
        ("`kind: sitemap`, further keys", SitemapSource),
        ("`kind: column`, further keys", ColumnSource),
        ("`kind: forum`, further keys", ForumSource),
        ("`kind: json`, further keys", JsonSource),
        ("`kind: hanweb`, further keys", HanwebSource),
        ("`kind: liuyan`, further keys", LiuyanSource),
        ("`kind: discuz`, further keys", DiscuzSource),
        ("`pagination` of json", Pagination),
        ("`kind: newsnow`, further keys", NewsnowSource),
        ("`kind: rsshub`, further keys", RsshubSource),
        ("`transform` of rsshub", Transform),
        ("`kind: mastodon`, further keys", MastodonSource),
        ("`kind: atproto`, further keys", AtprotoSource),
        ("`kind: weibo`, further keys", WeiboSource),
        ("`kind: folder`, further keys", FolderSource),
        ("`kind: push`, further keys", PushSource),
        ("`kind: sql`, further keys", SqlSource),
    ),
    "departments": (
        ("The file", Departments),
        ("An entry of `departments`", Department),
        ("`contact`", Contact),
        ("An entry of `duties`", Duty),
    ),
    "rules": (
        ("An entry of `obligations`", Obligation),
        ("An entry of `response_rules`", ResponseRule),
        ("An entry of `hotline_rules`", HotlineRule),
    ),
    "roster": (
        ("The file", Roster),
        ("An entry of `people`", Person),
        ("An entry of `weekly`", Shift),
        ("An entry of `overrides`", Override),
    ),
    "routes": (("An entry of `routes`", Route), ("`match`", Match)),
    "places": (
        ("The file", Places),
        ("An entry of `districts`", District),
        ("An entry of `streets`", Street),
        ("An entry of `areas`", Area),
        ("An entry of `named`", Named),
    ),
}


def _model_tables(name: str) -> str:
    parts: list[str] = []
    common = CommonSource.model_fields
    for title, model in _MODELS[name]:
        own = model is not CommonSource and issubclass(model, CommonSource)
        fields = {
            key: info
            for key, info in model.model_fields.items()
            if not own or key not in common or repr(info) != repr(common[key])  # also what a kind changes
        }
        parts += [f"**{title}**", "", *_table(fields), ""]
    return "\n".join(parts).rstrip()


def fill(text: str) -> str:
    """`text` with the tables between `<!-- table: NAME -->` and `<!-- end -->` made anew. Raises ValueError if one is missing."""
    for name in ("settings", *_MODELS):
        start, end = f"<!-- table: {name} -->", "<!-- end -->"
        before, found, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"docs/configuration.md: expected `{start}` and `{end}`")
        table = _settings_tables() if name == "settings" else _model_tables(name)
        text = f"{before}{start}\n{table}\n{end}{after}"
    return text


if __name__ == "__main__":
    DOCS.write_text(fill(DOCS.read_text("utf-8")), "utf-8")
