"""Cursors: opaque, stable names of a place in a list. One belongs to its list and its filters and is refused elsewhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from console.api.problems import ApiProblem

#: longer ones are none of ours
LONGEST = 400


def _mark(kind: str, filters: Mapping[str, Any]) -> str:
    asked = json.dumps([kind, filters], sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def encode(kind: str, filters: Mapping[str, Any], place: Sequence[int | str]) -> str:
    """The cursor behind the last row of a page; `place` is that row's key in the order of the list."""
    text = json.dumps([1, _mark(kind, filters), *place], separators=(",", ":"), ensure_ascii=False)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(kind: str, filters: Mapping[str, Any], cursor: str, types: Sequence[type]) -> list[Any] | None:
    """The place that a cursor names, None for the beginning. Raises ApiProblem 422 for any other text.

    `types` are int, str or datetime, one for each part of the place.
    """
    if not cursor:
        return None
    try:
        raw = base64.urlsafe_b64decode(cursor[:LONGEST].encode("ascii") + b"=" * (-len(cursor[:LONGEST]) % 4))
        version, mark, *place = json.loads(raw)
        if version != 1 or len(place) != len(types):
            raise ValueError
        found = [_part(kind_, value) for kind_, value in zip(types, place, strict=True)]
    except (ValueError, TypeError, UnicodeError, RecursionError):
        raise ApiProblem(422, "游标无法识别，请原样使用上一页的 next。", at="query.cursor") from None
    if mark != _mark(kind, filters):
        raise ApiProblem(422, "游标属于另一次查询：翻页时其他条件不能改变。", at="query.cursor")
    return found


def _part(kind: type, value: Any) -> Any:
    if kind is datetime:
        when = datetime.fromisoformat(value)
        if when.tzinfo is None:
            raise ValueError
        return when
    if kind is int and not isinstance(value, bool) and isinstance(value, int) and abs(value) < 2**62:
        return value
    if kind is str and isinstance(value, str) and "\x00" not in value:
        return value
    raise ValueError
