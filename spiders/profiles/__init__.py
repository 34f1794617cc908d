"""Mapping profiles: which column of a file is which field of a post."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, field_validator

from config.files import Record, parse, read_yaml
from spiders.source_run import zone_of

#: fields that a column may fill
FIELDS = (
    "id",
    "title",
    "text",
    "published_at",
    "place",
    "source",
    "author",
    "url",
    "likes",
    "dislikes",
    "comments",
    "reposts",
    "views",
    "solved",
    "satisfaction",
    "called_at",
    "call_result",
)
#: fields that say what a caller said when called back (spiders.said)
CALLS = ("solved", "satisfaction", "called_at", "call_result")
COUNTS = ("likes", "dislikes", "comments", "reposts", "views")
#: what a cell can say of a call-back; `nothing`: nobody was reached, nobody judged
SaidWord = Literal["solved", "unsolved", "unknown", "satisfied", "basically", "dissatisfied", "nothing"]
DEFAULT = Path(__file__).with_name("default.yaml")


class Profile(Record):
    """A mapping profile; see profiles/default.yaml for its words."""

    name: str = Field(min_length=1, max_length=60, description="Name in reports and provenance.")
    reader: Literal["table", "weibo", "tieba"] = Field(
        "table", description="What the file is: a table, or a capture of a site (spiders.captures)."
    )
    captured_at: AwareDatetime | None = Field(
        None, description="When a capture was taken; times such as 昨天 count from it."
    )
    source_id: str = Field(
        "import", min_length=1, max_length=80, description="Source of rows that name none."
    )
    timezone: str = Field("+08:00", description="Zone of times that carry none.")
    encoding: str = Field("", description="Encoding of CSV files; empty: utf-8, then gb18030.")
    require: tuple[str, ...] = Field(("text",), description="Fields without which a row is set aside.")
    columns: dict[str, tuple[str, ...]] = Field(description="Field -> names that its column may have.")
    says: dict[SaidWord, tuple[str, ...]] = Field(
        {},
        description="Further words of this export's call-backs: solved, unsolved, unknown, satisfied, basically, dissatisfied, nothing -> values of its cells.",
    )

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            zone_of(value)
        except (ValueError, KeyError, OSError) as exc:
            raise ValueError(
                "expected an offset such as +08:00 or an IANA zone such as Asia/Shanghai"
            ) from exc
        return value

    @field_validator("encoding")
    @classmethod
    def _encoding(cls, value: str) -> str:
        try:
            "".encode(value or "utf-8")
        except LookupError as exc:
            raise ValueError("expected an encoding such as utf-8 or gb18030") from exc
        return value

    @field_validator("columns")
    @classmethod
    def _columns(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if unknown := [name for name in value if name not in FIELDS]:
            raise ValueError(f"unknown field {unknown[0]!r}; expected {', '.join(FIELDS)}")
        if "text" not in value:
            raise ValueError("no column is named for `text`")
        return value

    @field_validator("require")
    @classmethod
    def _require(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [name for name in value if name not in FIELDS]:
            raise ValueError(f"unknown field {unknown[0]!r}; expected {', '.join(FIELDS)}")
        return value

    def match(self, header: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Field -> the columns of a file that fill it, best first."""
        by_name: dict[str, str] = {}
        for column in header:
            by_name.setdefault(plain_name(column), column)
        found = {}
        for field, names in self.columns.items():
            columns = tuple(by_name[key] for name in names if (key := plain_name(name)) in by_name)
            if columns:
                found[field] = columns if field == "place" else columns[:1]
        return found


def plain_name(name: object) -> str:
    """A column name without blanks, punctuation, case and width."""
    return re.sub(r"[\s\W_]+", "", unicodedata.normalize("NFKC", str(name))).casefold()


def load_profile(path: Path | None = None) -> Profile:
    """The profile in `path`, or the packaged one of that name (weibo, tieba; default without a path).

    Raises ConfigError with one entry per wrong value.
    """
    if path is not None and not path.exists() and path.name == str(path):
        packaged = DEFAULT.with_name(f"{path.name}.yaml")
        path = packaged if packaged.is_file() else path
    return parse(Profile, read_yaml(path or DEFAULT))
