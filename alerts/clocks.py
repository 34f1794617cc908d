"""When a duty runs out: three units of time, each with a trace that a person can check line by line.

calendar_hours  run day and night, holidays included, from the instant of the event.
workdays        China's working days with make-up days; the day of the event is not counted (民法典第201条),
                the last one ends at 24:00 local time.
natural_days    every day counts from the next one on; a last day on a day of rest moves on (民法典第203条).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import Protocol

from alerts.calendar import Day, WorkCalendar


class NoClock(ValueError):
    """The rule gives no number of hours or days ("及时", "每月"): it cannot be counted down."""


class ClockRule(Protocol):
    """What is needed of a rule (config.rules.Rule has more)."""

    @property
    def id(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def amount(self) -> int | None: ...


@dataclass(frozen=True)
class DueAt:
    """The end of a clock. `trace` says how it was found; `provisional` is shown as 暂定."""

    due_at: datetime  # UTC; for days: the midnight that ends the last day
    provisional: bool
    calendar_version: str
    trace: tuple[str, ...]
    last_day: date | None = None  # the day that ends at 24:00; None for hours
    counted: int = 0  # hours or days counted; equals the rule's amount


Text = Callable[[str], str]


def _chinese(text: str) -> str:
    return text


_WEEKDAYS = ("周一", "周二", "周三", "周四", "周五", "周六", "周日")


class _Writer:
    """Dates and sentences of a trace in one language."""

    def __init__(self, text: Text) -> None:
        self.text = text
        self.english = text("周一") != "周一"

    def day(self, day: date) -> str:
        return f"{day.isoformat()}({self.text(_WEEKDAYS[day.weekday()])})"

    def span(self, days: list[Day]) -> str:
        first, last = days[0].date, days[-1].date
        return self.day(first) if first == last else f"{self.day(first)} - {self.day(last)}"

    def name(self, day: Day) -> str:
        if day.reason == "weekend":
            return self.text("周末")
        return day.name_en if self.english else day.name

    def instant(self, at: datetime, calendar: WorkCalendar) -> str:
        local = at.astimezone(calendar.zone)
        return f"{self.day(local.date())} {local:%H:%M}"


def compute_deadline(
    rule: ClockRule, start: datetime, calendar: WorkCalendar, text: Text = _chinese
) -> DueAt:
    """The end of `rule`'s clock started at `start` (aware). `text` translates the trace.

    Raises NoClock when the rule names no number, ValueError for a naive `start`.
    """
    if start.tzinfo is None:
        raise ValueError(f"naive start {start!r}: pass an aware datetime")
    if rule.amount is None or rule.amount < 1:
        raise NoClock(
            f"rule {rule.id} has no countable time limit (unit {rule.unit!r}); choose a rule in hours or days"
        )
    writer = _Writer(text)
    if rule.unit == "calendar_hours":
        return _hours(rule.amount, start, calendar, writer)
    if rule.unit == "workdays":
        return _workdays(rule.amount, start, calendar, writer)
    if rule.unit == "natural_days":
        return _natural_days(rule.amount, start, calendar, writer)
    raise NoClock(
        f"rule {rule.id} is counted in {rule.unit!r}, which is no clock; choose a rule in hours or days"
    )


def end_of_day(day: date, calendar: WorkCalendar) -> datetime:
    """24:00 of a local day as UTC."""
    return datetime.combine(day + timedelta(days=1), time(), calendar.zone).astimezone(UTC)


def _hours(amount: int, start: datetime, calendar: WorkCalendar, writer: _Writer) -> DueAt:
    due = start.astimezone(UTC) + timedelta(hours=amount)
    trace = (
        writer.text("起算：{start}").format(start=writer.instant(start, calendar)),
        writer.text("{n}个自然小时，昼夜连续计算，节假日不停").format(n=amount),
        writer.text("截止：{due}").format(due=writer.instant(due, calendar)),
    )
    return DueAt(due, False, calendar.version, trace, None, amount)


def _workdays(amount: int, start: datetime, calendar: WorkCalendar, writer: _Writer) -> DueAt:
    first = calendar.local_day(start)
    days: list[Day] = []
    counted = 0
    cursor = first
    while counted < amount:
        cursor += timedelta(days=1)
        found = calendar.day(cursor)
        days.append(found)
        counted += found.working
    return _end(start, days, counted, calendar, writer, _trace_workdays(days, writer))


def _natural_days(amount: int, start: datetime, calendar: WorkCalendar, writer: _Writer) -> DueAt:
    first = calendar.local_day(start)
    last = calendar.day(first + timedelta(days=amount))
    span = writer.span([calendar.day(first + timedelta(days=1)), last])
    lines = [writer.text("{span}：{n}个自然日，逐日计算").format(span=span, n=amount)]
    looked_at = [last]
    while not last.working:
        moved = calendar.day(last.date + timedelta(days=1))
        lines.append(
            writer.text("末日{day}为{name}，顺延至次日").format(
                day=writer.day(last.date), name=writer.name(last)
            )
        )
        looked_at.append(moved)
        last = moved
    return _end(start, looked_at, amount, calendar, writer, lines)


def _end(
    start: datetime,
    looked_at: list[Day],
    counted: int,
    calendar: WorkCalendar,
    writer: _Writer,
    lines: list[str],
) -> DueAt:
    last = looked_at[-1].date
    unsure = [day for day in looked_at if not day.certain]
    trace = [
        writer.text("起算：{start}，当日不计入").format(start=writer.instant(start, calendar)),
        *lines,
        writer.text("截止：{day} 24:00").format(day=writer.day(last)),
    ]
    if unsure:
        trace.append(
            writer.text(
                "暂定：{span}的放假安排尚未见国务院办公厅通知，暂按法定节假日推算，通知发布后重算"
            ).format(span=writer.span(unsure))
        )
    return DueAt(end_of_day(last, calendar), bool(unsure), calendar.version, tuple(trace), last, counted)


def _trace_workdays(days: Iterable[Day], writer: _Writer) -> list[str]:
    """One line for each run of days of the same kind; the counted numbers add up to the rule's amount."""
    lines = []
    number = 0
    for (working, name), group in groupby(days, key=lambda day: (day.working, _kind(day))):
        run = list(group)
        span = writer.span(run)
        if not working:
            shown = writer.name(run[0])
            lines.append(writer.text("{span}：{name}，不计入").format(span=span, name=shown))
            continue
        first, number = number + 1, number + len(run)
        note = writer.text("（{name}）").format(name=writer.name(run[0])) if name else ""
        which = str(first) if len(run) == 1 else f"{first}-{number}"
        lines.append(writer.text("{span}：第{which}个工作日{note}").format(span=span, which=which, note=note))
    return lines


def _kind(day: Day) -> str:
    """Days of one kind stand in one line: plain working days, weekends, one holiday."""
    return "" if day.reason == "workday" else day.name or day.reason
