"""The public edition 公开版 of one month as numbers: counts only, no text, no title, no place finer than a district."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PublicCell(_Part):
    """Posts of one district and domain; None: not told."""

    district: str  # "" names none, * names several, other: put together
    domain: str
    posts: int | None


class PublicSum(_Part):
    """Posts of a whole district or domain."""

    id: str
    posts: int


class PublicDepartment(_Part):
    """One department; all None: not told."""

    id: str
    name: str
    cases: int | None
    kept: int | None
    missed: int | None


class PublicLink(_Part):
    """One part of the way: median seconds of those that ended in the month; None with too few."""

    part: str
    n: int | None
    median: int | None


class PublicModel(_Part):
    """Everything that the public edition of a month says."""

    period: str
    city: str
    since: datetime
    until: datetime
    generated_at: datetime
    k: int
    posts: int
    cases: int
    kept: int
    missed: int
    cells: tuple[PublicCell, ...]
    districts: tuple[PublicSum, ...]
    domains: tuple[PublicSum, ...]
    joined: tuple[str, ...]  # districts and domains that stand in `other`
    departments: tuple[PublicDepartment, ...]
    links: tuple[PublicLink, ...]
    withheld: tuple[str, ...]  # tables that are not told at all: cells, departments

    @property
    def hidden(self) -> int:
        """Cells and departments that are not told."""
        return sum(one.posts is None for one in self.cells) + sum(
            one.cases is None for one in self.departments
        )

    def stored(self) -> dict[str, Any]:
        """The model as plain JSON."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """SHA-256 of what is told; approval is of this and of nothing else."""
        content = self.stored()
        content.pop("generated_at")
        text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
