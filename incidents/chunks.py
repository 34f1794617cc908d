"""A long list of ids in parts: a statement takes only so many values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
#: values of one statement; SQLite of old took 999
SIZE = 400


def chunks(items: Sequence[T], size: int = SIZE) -> Iterator[Sequence[T]]:
    """`items` in order, `size` at a time."""
    return (items[at : at + size] for at in range(0, len(items), size))
