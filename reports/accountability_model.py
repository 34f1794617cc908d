"""The department table of one period as numbers: frozen, typed, complete; pages, files and letters are drawn from this alone.

Names and clauses are copied in, so that a stored table can be read years later. Durations are whole seconds. A figure that
the data does not hold is None. `after` figures leave out what an appeal has taken away.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MixCell(_Part):
    """Cases of one domain and grade, and what became of their clocks."""

    domain: str
    level: str
    cases: int
    kept: int
    missed: int


class Rate(_Part):
    """Share of clocks kept, with its 95 % interval (Wilson); everything None when there are too few."""

    kept: int
    missed: int
    share: float | None
    low: float | None
    high: float | None


class Took(_Part):
    """How long something took, of those that ended in the period."""

    n: int
    median: int | None
    worst: int | None
    worst_number: str


class Used(_Part):
    """Seconds that one link used of one clock."""

    link: str
    department: str
    seconds: int


class Miss(_Part):
    """One clock that ran out in the period, and whose time it was."""

    number: str
    rule: str
    round: int
    action: str
    source: str
    quote: str
    started_at: datetime
    due_at: datetime
    closed_at: datetime | None  # None: not answered by the end of the period
    late: int
    provisional: bool
    holder: str  # who had the matter when the time ran out
    link: str  # what it is charged to: department, another link, or shared
    department: str
    used: tuple[Used, ...]
    appeal: str  # "" | filed | upheld | changed | dismissed
    changed_to: str  # link that an appeal charged instead


class DepartmentLine(_Part):
    """One department in this period. No rank: `group` says what can be told apart."""

    id: str
    name: str
    former: tuple[str, ...]  # names in the notice of 2018
    led: int
    co: int
    mix: tuple[MixCell, ...]
    rate: Rate
    expected: float | None  # share that all departments together would have kept of the same mix
    group: int | None  # 1 is best; None: not enough data, or everybody is in one group
    after: Rate  # without what upheld appeals took away
    shared: int  # clocks missed by several departments one after the other, this one among them
    others: int  # clocks that ran out while it had the matter and are charged to another link
    hours: int  # seconds that the matter lay with it in the period
    sign: Took
    answer: Took
    returned: int
    reassigned: int
    yellow: int
    red: int
    red_not_own: int  # of `red`, cards of clocks that are not charged to it
    reopened: int
    promises_broken: int | None  # None: not known
    measures: int
    measures_after: int
    open: int
    appeals_waiting: int
    remarks: tuple[str, ...]  # what appeals against this line had decided, word for word
    kept_numbers: tuple[str, ...]
    missed_numbers: tuple[str, ...]
    numbers: tuple[str, ...]


class LinkLine(_Part):
    """One part of the way, of all incidents: time used in the period, those that ended in it, misses charged to its link."""

    part: str
    link: str
    seconds: int  # in the period
    took: Took


class LinkCharge(_Part):
    """Missed clocks charged to one link."""

    link: str
    missed: int
    numbers: tuple[str, ...]


class AccountabilityModel(_Part):
    """Everything that the accountability table says of [since, until), in local time."""

    period: str
    kind: str  # week | month | quarter | year
    city: str
    timezone: str
    since: datetime
    until: datetime
    as_of: datetime
    generated_at: datetime
    min_n: int
    ceiling: float
    others_h: float
    cases: int
    rate: Rate  # of all departments together
    near_ceiling: bool
    one_group: bool  # no department can be told apart from all others
    departments: tuple[DepartmentLine, ...]
    mix: tuple[MixCell, ...]
    links: tuple[LinkLine, ...]
    charges: tuple[LinkCharge, ...]
    misses: tuple[Miss, ...]
    rules_version: str
    seq: int  # last event that had been recorded by the end of the period
    hash: str

    @property
    def running(self) -> bool:
        """Whether the period was not over."""
        return self.as_of < self.until

    @property
    def empty(self) -> bool:
        """Whether there is nothing to tell."""
        return not self.departments and not self.cases

    def department(self, department_id: str) -> DepartmentLine | None:
        """The line of one department."""
        return next((line for line in self.departments if line.id == department_id), None)

    def stored(self) -> dict[str, Any]:
        """The model as plain JSON."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """SHA-256 over what was found; the time of writing and what the configuration calls things are left out."""
        content = self.stored()
        for name in ("generated_at", "rules_version", "city"):
            content.pop(name)
        for line in content["departments"]:
            line.pop("name"), line.pop("former")
        for miss in content["misses"]:
            miss.pop("action"), miss.pop("source"), miss.pop("quote")
        if content["as_of"] < content["until"]:
            content.pop("as_of")  # while it runs, a table with the same figures is the same table
            for line in content["departments"]:
                line.pop("hours")
            for link in content["links"]:
                link.pop("seconds")
            for miss in content["misses"]:
                miss.pop("late"), miss.pop("used")
            content.pop("seq"), content.pop("hash")
        text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
