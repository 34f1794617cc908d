"""What a feed's entries were, byte by byte, when they were last read: an entry that has not changed need not be read again.

Of the twenty entries of a feed with something new, nineteen are those of the last reading. Reading, redacting and comparing them anew was
most of the work of such a poll. The memory stands in the source's cursor and counts only after a complete reading, like its validators.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from spiders.items import PostItem

_ENTRY = re.compile(r"<(item|entry)[\s>]")
#: where in the cursor it stands
KEY = "entries"
#: what of an entry is counted as there, in the order of the bits
HAVE = ("title", "text", "published_at", "author")


@dataclass(frozen=True)
class Parts:
    """A feed cut at its entries: what stands before, each entry, what comes after the last."""

    head: str
    entries: tuple[str, ...]
    tail: str

    def only(self, chosen: Sequence[int]) -> str:
        """The feed with these entries alone."""
        return self.head + "".join(self.entries[place] for place in chosen) + self.tail


@dataclass(frozen=True)
class Known:
    """What is remembered of an entry that was read."""

    external_id: str
    published_at: datetime | None
    have: tuple[str, ...]


def entry_starts(text: str) -> list[int]:
    """Where the entries of a feed begin."""
    return [found.start() for found in _ENTRY.finditer(text)]


def parts_of(text: str) -> Parts | None:
    """The parts of a feed; None when it cannot be cut safely (an entry inside an entry, none at all, an end that is not there)."""
    found = list(_ENTRY.finditer(text))
    if not found:
        return None
    name = found[0].group(1)
    close = f"</{name}>"
    end = text.rfind(close)
    if end < found[-1].start():
        return None
    end += len(close)
    bounds = [one.start() for one in found] + [end]
    entries = tuple(text[a:b] for a, b in pairwise(bounds))
    if any(one.group(1) != name for one in found) or any(entry.count(close) != 1 for entry in entries):
        return None
    return Parts(text[: bounds[0]], entries, text[end:])


def digest(entry: str) -> str:
    """What tells one entry from another, and from itself when a character has changed."""
    return hashlib.sha256(entry.strip().encode("utf-8", "surrogatepass")).hexdigest()[:20]


def remembered(memory: dict[str, Any]) -> dict[str, Known]:
    """Digest -> entry, out of a cursor."""
    return {
        mark: Known(
            key,
            datetime.fromisoformat(when) if when else None,
            tuple(name for bit, name in enumerate(HAVE) if have >> bit & 1),
        )
        for mark, (key, when, have) in dict(memory.get("seen", {})).items()
    }


def row(known: Known) -> list[Any]:
    """As it stands in the cursor."""
    when = known.published_at.astimezone(UTC).isoformat() if known.published_at is not None else ""
    return [known.external_id, when, sum(1 << HAVE.index(name) for name in known.have)]


def worth_remembering(item: PostItem) -> Known | None:
    """What is kept of an entry; None of one whose counts may have to be noted again, or whose time is still to come."""
    if item.engagement or item.provenance.get("future_date"):
        return None
    there = (item.title, item.text, item.published_at, item.author_raw)
    return Known(
        item.external_id,
        item.published_at,
        tuple(name for name, value in zip(HAVE, there, strict=True) if value),
    )
