"""An evaluation as numbers: frozen, typed, complete. Pages, the command line and reports are drawn from this alone.

Every value carries its arithmetic as lines (a Chinese text with holes, and what goes into them), and what could not be
computed carries its reason. Texts are said by incidents.evaluation_words.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

Given = dict[str, str | int | float]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Line(_Part):
    """One sentence: the Chinese text and the values of its holes."""

    text: str
    given: Given = {}


def line(text: str, **given: str | int | float) -> Line:
    """A sentence; long fractions are cut to what is worth reading, so that stored figures do not wobble."""
    return Line(
        text=text,
        given={name: round(value, 4) if isinstance(value, float) else value for name, value in given.items()},
    )


class Indicator(_Part):
    """One indicator 0..1, or None with `missing`. `n`: how many things it was counted on."""

    id: str
    weight: float
    value: float | None
    n: int = 0
    lines: tuple[Line, ...] = ()
    missing: Line | None = None


class Rate(_Part):
    """A share with its counts and Wilson's 95 % interval; shown beside the indicators."""

    id: str  # on_time | first_contact | solved | satisfied
    right: float  # satisfied counts 基本满意 half
    n: int
    low: float
    high: float
    enough: bool


class Flag(_Part):
    """A ground of the notice, outside the sum: late_report 报告不及时, poor_handling 处置不力, improper_reply 回应不妥当."""

    id: str
    lines: tuple[Line, ...]
    events: tuple[int, ...]  # numbers in the record


class Reviewer(_Part):
    """What one named person said of one round."""

    name: str
    round: int
    scores: dict[str, float]
    total: float
    colour: str
    improper: bool
    points: tuple[str, ...]
    note: str
    at: datetime


class Agreement(_Part):
    """How far reviewers agree on one item, over all matters that several of them rated. None: too few, or nothing to tell."""

    item: str
    alpha: float | None
    units: int
    missing: Line | None = None


class Estimate(_Part):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


class Hours(_Part):
    """Posts of one stretch of `hours` hours, by how far its beginning is from the answer."""

    at: int
    posts: int
    negative: int


class Trend(_Part):
    """What became of the talk after the answer. Shares are of judged posts; volume is a change per day (-0.5: half)."""

    answered_at: datetime
    before_posts: int
    before_judged: int
    before_negative: int
    after_posts: int
    after_judged: int
    after_negative: int
    deleted: int  # posts of both windows that are no longer there
    volume: Estimate | None
    negative: Estimate | None
    half_life_h: float | None
    second_wave_h: float | None
    matched: int
    matched_volume: Estimate | None
    matched_negative: Estimate | None
    hours: int  # of one bar
    bars: tuple[Hours, ...]
    complete: bool  # the three days after the answer are over


class CaseEvaluation(_Part):
    """One incident. `total` None: 不评定, `missing` says why; `final`: nothing but late data can change it any more."""

    number: str
    incident_id: int
    domain: str
    district: str
    department: str
    level: str
    state: str
    round: int
    as_of: datetime
    answered_at: datetime | None
    indicators: tuple[Indicator, ...]
    computable: float  # share of the weights
    total: float | None
    band: str  # good | pass | improve | fail | none
    missing: Line | None
    flags: tuple[Flag, ...]
    rates: tuple[Rate, ...]
    reviewers: tuple[Reviewer, ...]
    agreement: tuple[Agreement, ...]
    trend: Trend | None
    final: bool

    def indicator(self, id_: str) -> Indicator:
        """One of them by its letter."""
        return next(one for one in self.indicators if one.id == id_)

    def stored(self) -> dict[str, Any]:
        """As JSON."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """What it says, whenever it was said."""
        return digest_of(self.stored())


class UnitRow(_Part):
    """One department (\"\": all) in one domain (\"\": all) in a period. No total and no band below `min_cases`, and never a rank."""

    department: str
    domain: str
    cases: int
    numbers: tuple[str, ...]
    indicators: tuple[Indicator, ...]
    computable: float
    total: float | None
    band: str
    missing: Line | None
    flags: dict[str, int]  # ground -> cases
    rates: tuple[Rate, ...]
    median_h: float | None  # hours used by duties that ended
    worst_overdue_h: float | None
    worst_number: str
    matched_volume: Estimate | None  # mean over its cases
    compared: int


class PeriodEvaluation(_Part):
    """Every department and domain that had anything to do in a week or month."""

    period: str
    since: datetime
    until: datetime
    as_of: datetime
    min_cases: int
    rows: tuple[UnitRow, ...]
    agreement: tuple[Agreement, ...]
    final: bool

    def stored(self) -> dict[str, Any]:
        """As JSON."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """What it says, whenever it was said."""
        return digest_of(self.stored())


class HumanForm(_Part):
    """What people said, beside the computed score and never part of it; nobody is named. Means over incidents that have a word."""

    scored: int  # incidents with a score 0..100 in force
    score: float | None
    rated: int  # incidents that reviewers rated
    raters: int
    total: float | None  # mean over incidents of the mean over reviewers, -41..41
    colour: str  # blue | yellow | orange | red, "" for none
    improper: int  # reviewers who found an answer improper


class TrendLine(_Part):
    """What became of the talk after the answer to one incident, whose three days after it ended in the period."""

    number: str
    title: str
    department: str
    trend: Trend


class EvaluationPart(_Part):
    """What a report says of the response. Restricted matters are counted in the figures and named nowhere.

    `computed` False: the evaluation of this period has not been computed yet, so that nothing is said of it.
    """

    computed: bool
    min_cases: int
    as_of: datetime
    rows: tuple[UnitRow, ...] = ()
    human: dict[str, HumanForm] = {}  # by department; of a special report under ""
    agreement: tuple[Agreement, ...] = ()
    trends: tuple[TrendLine, ...] = ()
    untold: int = 0  # restricted matters that the figures hold
    case: CaseEvaluation | None = None  # of a special report


def digest_of(said: dict[str, Any]) -> str:
    """SHA-256 of everything but the time of looking."""
    content = {name: value for name, value in said.items() if name != "as_of"}
    return hashlib.sha256(
        json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()
    ).hexdigest()
