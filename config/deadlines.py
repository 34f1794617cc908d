"""The deadlines of the rule file in typed form: `PT5H`, `P5WD`, `P60D`, `P20WD(+P20WD)`, `monthly`, `及时`.

ISO 8601 has no working day; `WD` is this project's unit for it. Whatever holds no number stays text: the law often
says 及时 (promptly), and a number must not be invented for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from typing import Literal

Unit = Literal["calendar_hours", "workdays", "natural_days", "calendar", "count", "gate", "config", "none"]
Period = Literal["monthly", "quarterly", "annual", "periodic", "always"]
PERIODS: tuple[Period, ...] = ("monthly", "quarterly", "annual", "periodic", "always")

_AMOUNT = re.compile(r"^(?:PT(?P<hours>[1-9]\d*)H|P(?P<workdays>[1-9]\d*)WD|P(?P<days>[1-9]\d*)D)$")
_COUNT = re.compile(r"^>=(?P<count>[1-9]\d*)/年$")
_RULE = re.compile(r"\b[RHS]\d\d\b")


@dataclass(frozen=True)
class Amount:
    """A number with its unit: hours of calendar time, working days or natural days."""

    unit: Unit
    amount: int

    def __str__(self) -> str:
        return {"calendar_hours": f"PT{self.amount}H", "workdays": f"P{self.amount}WD"}.get(
            self.unit, f"P{self.amount}D"
        )

    @property
    def zh(self) -> str:
        """5小时, 5个工作日, 60日."""
        return {"calendar_hours": f"{self.amount}小时", "workdays": f"{self.amount}个工作日"}.get(
            self.unit, f"{self.amount}日"
        )


@dataclass(frozen=True)
class Deadline:
    """A deadline as the rule file gives it. `raw` is that text; exactly one of the kinds below holds, or `text`."""

    raw: str
    amount: Amount | None = None
    extension: Amount | None = None  # may be added to `amount`
    total: Amount | None = None  # longest with extension, where the law gives the sum ("延长至15个工作日")
    period: Period | None = None
    day: date | None = None
    per_year: int | None = None  # at least so many times a year
    text: str | None = None  # words without a number: 及时, 决策前, config
    refers_to: tuple[str, ...] = ()  # rules whose number is used: 及时(按 R02/R03)


def parse_amount(text: str) -> Amount:
    """`PT5H`, `P5WD` or `P60D`. Raises ValueError with the expectation."""
    match = _AMOUNT.match(text)
    if match is None:
        raise ValueError(f"{text!r}: expected hours (PT5H), working days (P5WD) or natural days (P60D)")
    if match["hours"]:
        return Amount("calendar_hours", int(match["hours"]))
    if match["workdays"]:
        return Amount("workdays", int(match["workdays"]))
    return Amount("natural_days", int(match["days"]))


def parse_deadline(raw: str, *, extension: str | None = None, total: str | None = None) -> Deadline:
    """A deadline with its extension. Raises ValueError for what looks like a number but is none (`P5`, `PT5M`)."""
    body, _, added = raw.partition("(+")
    added = added.removesuffix(")") if added else (extension or "")
    extra = parse_amount(added) if added else None
    longest = parse_amount(total) if total else None
    if re.match(r"^PT?\d", body):
        amount = parse_amount(body)
        for other in (extra, longest):
            if other is not None and other.unit != amount.unit:
                raise ValueError(f"{raw!r}: deadline and extension must have one unit")
        if longest is not None:
            if longest.amount <= amount.amount:
                raise ValueError(f"extension_to {total!r} must be longer than {body!r}")
            extra = Amount(amount.unit, longest.amount - amount.amount)
        if extra is not None and longest is None:
            longest = Amount(amount.unit, amount.amount + extra.amount)
        return Deadline(raw, amount=amount, extension=extra, total=longest)
    for period in PERIODS:
        if raw == period:
            return Deadline(raw, period=period, extension=extra)
    if re.match(r"^\d{4}-", raw):
        return Deadline(raw, day=date.fromisoformat(raw))
    if (count := _COUNT.match(raw)) is not None:
        return Deadline(raw, per_year=int(count["count"]))
    return Deadline(raw, text=raw or None, extension=extra, refers_to=tuple(_RULE.findall(raw)))
