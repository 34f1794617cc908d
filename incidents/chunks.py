"""A long list of ids in parts: a statement takes only so many values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
#: values of one statement, or rows where a row has a score of them: SQLite takes 32,766 parameters
SIZE = 400


def chunks(items: Sequence[T], size: int = SIZE) -> Iterator[Sequence[T]]:
    """`items` in order, `size` at a time."""
    return (items[at : at + size] for at in range(0, len(items), size))
