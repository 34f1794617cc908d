"""A report as numbers: frozen, typed, complete. Every format (mail, text, PDF, DOCX, XLSX) is drawn from this alone.

Texts that the configuration holds (names of departments, clauses of rules) are copied in, so that a stored
report can be read years later without the configuration of its day. Durations are whole seconds.
"""

from __future__ import annotations

import hashlib
import json
from datetime import date, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

from reports.evaluation_model import EvaluationPart
from reports.period import Kind


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Volume(_Part):
    """Posts published in the week, and in the week before."""

    posts: int
    before: int
    copies: int  # of `posts`, near-copies of an earlier post
    judged: int  # of `posts`, those that have a judgement; tone shares are of these
    negative: int
    neutral: int
    positive: int
    judged_before: int
    negative_before: int


class DayRow(_Part):
    """One slot of the period that has begun, in local time: a day; of a day report an hour, of a year report a month."""

    day: date
    posts: int
    negative: int
    neutral: int
    positive: int
    before: int | None  # posts of the same slot one period earlier; None: that month had no such day
    hour: int | None = None


class CountRow(_Part):
    """Posts of one domain or district. A post that names two districts counts in both."""

    id: str
    posts: int
    before: int
    negative: int


class IncidentLine(_Part):
    """One incident as it stood at the end of the period."""

    number: str
    title: str
    domain: str
    district: str
    level: str
    state: str
    track: str
    why: dict[str, Any]  # the arithmetic of its detection, as recorded in the event
    department: str  # id; empty when nobody has it
    posts: int  # published in this week, merged incidents included
    posts_before: int
    first_posted_at: datetime
    detected_at: datetime
    responded_at: datetime | None
    closed_at: datetime | None
    score: float | None  # human evaluation, 0..100
    round: int


class FalseAlarmLine(_Part):
    """An alarm of ours that people found to be wrong in this week."""

    number: str
    title: str
    track: str
    reason: str  # typed reason
    note: str


class MergedLine(_Part):
    """An incident found in this week to be part of another one."""

    number: str
    parent: str


class LinkRow(_Part):
    """One link of the chain of response: those that ended in this week, and those still waited for."""

    id: str  # posted_detected ... assigned_responded, posted_responded
    n: int
    median: int | None  # seconds
    worst: int | None
    worst_number: str
    waiting: tuple[str, ...]  # incident numbers
    longest_wait: int | None


class RuleRow(_Part):
    """What became of the clocks of one rule in this week."""

    rule: str
    action: str
    source: str
    quote: str
    kept: int  # stopped in this week, in time
    missed: int  # ran out in this week
    running: int  # open at the end of the week, not yet due
    kept_numbers: tuple[str, ...]
    missed_numbers: tuple[str, ...]


class MissedLine(_Part):
    """One clock that ran out in this week, or earlier and was not answered when the week began."""

    number: str
    rule: str
    action: str  # what the rule asks for
    department: str  # who held the incident when the time ran out; empty: nobody had been given it
    due_at: datetime
    answered_at: datetime | None  # None: not answered by the end of the period
    late: int  # seconds between due time and answer (or end of the period)
    provisional: bool
    earlier: bool  # ran out before this week


class DepartmentRow(_Part):
    """One department in this week. No rank: see `min_sample` of the model."""

    id: str
    name: str
    assigned: int
    returned: int
    responded: int
    median: int | None  # assigned -> responded, seconds, of those answered in this week
    worst: int | None
    kept: int
    missed: int
    open: int
    numbers: tuple[str, ...]


class SourceRow(_Part):
    """One configured source, or one that gave posts and is no longer configured."""

    id: str
    name: str
    enabled: bool
    posts: int
    days: int
    last_at: datetime | None


class TopicLine(_Part):
    """One topic of the week. Near-copies count once."""

    key: str  # the same in every week
    title: str
    posts: int
    voices: int
    before: int  # posts in the week before
    trend: str  # first (no week before to compare) | new | growing | steady | fading
    example: str  # the beginning of one post, shortened


class TopicDomain(_Part):
    """What the posts of one watched domain were about."""

    id: str
    posts: int  # near-copies once; those in no topic are the rest
    few: bool  # too few posts to tell topics
    topics: tuple[TopicLine, ...]
    gone: tuple[str, ...]  # titles of topics of the week before that are no longer there


class HotMiss(_Part):
    """A matter of the city that was on a hot list before anybody here was told, or that nobody here knew."""

    title: str
    outcome: str  # after | unraised | missed | open
    number: str  # incident, "" when there is none


class HotLists(_Part):
    """What the hot lists of the week knew about the city's watched domains, a matter once, and whether the system knew before."""

    n: int
    before: int  # raised before they were hot
    after: int
    unraised: int  # their posts were collected, nothing was raised
    missed: int  # confirmed by a person
    open: int  # no match, not checked yet; counts as not known
    low: float  # 95 % interval of before / n
    high: float
    misses: tuple[HotMiss, ...]


class AuditHead(_Part):
    """The end of the event chain at the end of the period."""

    seq: int
    hash: str


class DayHead(_Part):
    """The end of the event chain at the end of one local day."""

    day: date
    seq: int
    hash: str


class StepLine(_Part):
    """One step in the handling of an incident, for its special report."""

    at: datetime
    number: str  # of the incident itself, or of one that was merged into it
    what: str  # kind of the event
    department: str  # id, of an assignment
    note: str


class LastYear(_Part):
    """The same period one year earlier; None: no data of that time."""

    period: str
    posts: int | None
    judged: int | None
    negative: int | None
    detected: int | None
    closed: int | None


class BlindSpots(_Part):
    """Watched domains by district, by who watches them at the time of writing."""

    cells: int
    blind: int  # no source
    dark: int  # all sources in trouble
    general: int  # none set up for it
    named: tuple[tuple[str, str], ...]  # (domain, district) of the first blind or dark ones
    silent: tuple[str, ...]  # names of sources without a relevant post where some were expected
    silent_count: int
    weeks: int


class ModelFigure(_Part):
    """A figure that training measured, with its target."""

    task: str
    name: str
    value: float
    target: float | None
    n: int | None


class OwnWord(_Part):
    """How often people of this city found the model right."""

    kind: str
    right: int
    n: int


class ModelFigures(_Part):
    """How good the model is that judges here."""

    version: str
    figures: tuple[ModelFigure, ...]
    said: tuple[OwnWord, ...]


class ChargeLine(_Part):
    """Clocks missed, charged to the link whose time it was."""

    link: str
    missed: int
    numbers: tuple[str, ...]


class UnitLine(_Part):
    """One department in the table of accountability. `share` None: too few clocks."""

    name: str
    kept: int
    missed: int
    share: float | None
    low: float | None
    high: float | None
    expected: float | None
    others: int
    appeals: int
    numbers: tuple[str, ...]


class Charges(_Part):
    """The table of accountability in short."""

    min_n: int
    near_ceiling: bool
    links: tuple[ChargeLine, ...]
    units: tuple[UnitLine, ...]


class ReportModel(_Part):
    """Everything that the report of a period says. [since, until) is the period in local time.

    "Week" in the words below stands for whatever the period is.
    """

    kind: Kind | Literal["special"] = "weekly"
    period: str  # 2026-W47, 2026-11-23, 2026-11, 2026; of a special report the incident's number
    city: str
    timezone: str
    since: datetime
    until: datetime
    as_of: datetime  # end of the period that was looked at: `until`, or earlier when the week still runs
    generated_at: datetime
    min_sample: int
    volume: Volume
    days: tuple[DayRow, ...]
    domains: tuple[CountRow, ...]
    districts: tuple[CountRow, ...]
    no_district: int  # posts that name no district
    detected: int  # incidents detected in the week, false alarms and merged ones included
    manual: int  # of these, raised by a person because the system had not
    confirmed: int  # incidents found to be real in the week, whenever they were detected
    new: tuple[IncidentLine, ...]
    growing: tuple[IncidentLine, ...]
    closed: tuple[IncidentLine, ...]
    other_open: tuple[IncidentLine, ...]  # open at the end, neither new nor growing
    reopened: tuple[str, ...]
    false_alarms: tuple[FalseAlarmLine, ...]
    merged: tuple[MergedLine, ...]
    links: tuple[LinkRow, ...]
    rules: tuple[RuleRow, ...]
    missed: tuple[MissedLine, ...]
    departments: tuple[DepartmentRow, ...]
    sources: tuple[SourceRow, ...]
    rules_version: str
    department_names: dict[str, str]  # department id -> name, as configured when the report was written
    audit: AuditHead
    partly_deleted: bool  # retention has reached posts of this week or the one before
    topics: tuple[TopicDomain, ...] = ()  # watched domains with posts; empty: no topics were made
    hot: HotLists | None = None  # None: no hot list is read
    heads: tuple[DayHead, ...] = ()  # of each day that is over; days before the first event are left out

    steps: tuple[StepLine, ...] = ()  # of a special report
    # as of the writing; see reports.self_check and reports.evaluation_part
    last_year: LastYear | None = None
    blind: BlindSpots | None = None
    judging: ModelFigures | None = None
    charges: Charges | None = None
    evaluation: EvaluationPart | None = None

    @model_validator(mode="before")
    @classmethod
    def _older(cls, data: Any) -> Any:
        """Reports of the time when there were weeks only."""
        if isinstance(data, dict) and "week" in data:
            return {"period" if key == "week" else key: value for key, value in data.items()}
        return data

    @property
    def preliminary(self) -> bool:
        """Whether the week was still running."""
        return self.as_of < self.until

    @property
    def empty(self) -> bool:
        """Whether there is nothing to tell: no post, no incident, no clock."""
        return not (
            self.volume.posts
            or self.detected
            or self.open_incidents
            or self.closed
            or self.false_alarms
            or self.rules
            or self.missed
        )

    @property
    def open_incidents(self) -> tuple[IncidentLine, ...]:
        """Incidents in which something is still to be done at the end of the period."""
        finished = ("closed", "false_alarm", "merged")
        lines = (*self.new, *self.growing, *self.other_open)
        return tuple(line for line in lines if line.state not in finished)

    @property
    def listed_sources(self) -> tuple[SourceRow, ...]:
        """Sources that are read or gave posts; the others that stand in the file say nothing."""
        return tuple(row for row in self.sources if row.enabled or row.posts)

    @property
    def kept(self) -> int:
        """Clocks stopped in time in this week."""
        return sum(row.kept for row in self.rules)

    @property
    def ran_out(self) -> int:
        """Clocks that ran out in this week."""
        return sum(row.missed for row in self.rules)

    def department(self, department_id: str) -> str:
        """Name of a department; its id when it is configured no longer."""
        return self.department_names.get(department_id, department_id)

    def stored(self) -> dict[str, Any]:
        """The model as plain JSON, for the report's row and for comparison."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """SHA-256 over what the report found: two equal digests say the same.

        Left out are the time of writing and what the configuration adds today: a source or department that is
        entered later does not correct the report of an earlier week.
        """
        today = (
            "generated_at", "rules_version", "department_names", "partly_deleted", "sources",
            "last_year", "blind", "judging", "charges", "evaluation",
        )  # fmt: skip
        content = {key: value for key, value in self.stored().items() if key not in today}
        content.pop("heads")  # `audit` seals them
        if self.kind != "special":
            content.pop("steps")
        else:  # a special report stands for the moment at which it is written
            for name in ("as_of", "until", "audit"):
                content.pop(name)
            for link in content["links"]:
                link.pop("longest_wait")
        if self.kind == "weekly":  # reports of the time when there were weeks only keep their digest
            content.pop("kind")
            content["week"] = content.pop("period")
            content["days"] = [{key: row[key] for key in row if key != "hour"} for row in content["days"]]
        if not self.topics:
            content.pop("topics")  # reports of the time before there were topics keep their digest
        if self.hot is None:
            content.pop("hot")
        content["sources"] = sorted((row.id, row.posts, row.days) for row in self.sources if row.posts)
        text = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()
