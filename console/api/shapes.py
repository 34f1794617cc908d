"""What values of a request look like, and what every list answers."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Generic, TypeVar

from fastapi import Query
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from console.api.problems import ApiProblem
from console.context import clean

Item = TypeVar("Item")


class Out(BaseModel):
    """A row of an answer, read from a view of the database by its names."""

    model_config = ConfigDict(from_attributes=True)


class Page(BaseModel, Generic[Item]):
    """One page of a list. `next` is the cursor of the page after it, null on the last one."""

    items: list[Item]
    next: str | None = Field(description="give it back as `cursor`, all other values unchanged")


def _instant(value: datetime | None) -> datetime | None:
    if value is None:
        return None
    if value.tzinfo is None:
        raise ValueError("needs a zone, as in 2026-11-24T00:00:00+08:00")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("lies outside the calendar") from None


def _blank(value: object) -> object:
    return None if value == "" else value


Cursor = Annotated[str, Query(max_length=400, description="`next` of the page before")]
Limit = Annotated[int, Query(ge=1, le=500, description="rows of a page at most")]
Instant = Annotated[
    datetime | None,
    BeforeValidator(_blank),
    AfterValidator(_instant),
    Query(description="with a zone: 2026-11-24T00:00:00+08:00"),
]
Short = Annotated[str, AfterValidator(clean), Query(max_length=80)]
Words = Annotated[
    str,
    AfterValidator(clean),
    Query(max_length=500, description="words, 与 或 非, “phrase”, A ~10 B, brackets; empty finds everything"),
]


def absent(what: str) -> ApiProblem:
    """There is none, or the person may not see it: nobody is told which."""
    return ApiProblem(404, "没有找到：{what}。", what=what[:60])
