"""Deadlines of the rule file in typed form."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.deadlines import Amount, parse_amount, parse_deadline


@pytest.mark.parametrize(
    ("text", "unit", "amount"),
    [("PT5H", "calendar_hours", 5), ("P5WD", "workdays", 5), ("P60D", "natural_days", 60)],
)
def test_each_unit_is_read(text: str, unit: str, amount: int) -> None:
    due = parse_deadline(text)
    assert due.amount == Amount(unit, amount)  # type: ignore[arg-type]
    assert due.extension is None
    assert due.text is None


@given(st.sampled_from(["PT{}H", "P{}WD", "P{}D"]), st.integers(1, 10_000))
def test_an_amount_is_written_as_it_was_read(pattern: str, number: int) -> None:
    assert str(parse_amount(pattern.format(number))) == pattern.format(number)


def test_extension_stands_in_brackets_or_beside() -> None:
    inside = parse_deadline("P20WD(+P20WD)")
    beside = parse_deadline("P20WD", extension="P20WD")
    assert inside.extension == beside.extension == Amount("workdays", 20)
    assert inside.total == Amount("workdays", 40)


def test_extension_to_is_the_sum_not_the_part() -> None:
    due = parse_deadline("P7WD", total="P15WD")
    assert due.extension == Amount("workdays", 8)
    assert due.total == Amount("workdays", 15)


def test_an_extension_may_stand_alone() -> None:
    due = parse_deadline("", extension="P10WD")
    assert due.amount is None
    assert due.extension == Amount("workdays", 10)


@pytest.mark.parametrize("text", ["monthly", "quarterly", "annual", "periodic", "always"])
def test_recurring_duties_have_a_period_and_no_number(text: str) -> None:
    due = parse_deadline(text)
    assert due.period == text
    assert due.amount is None


def test_dates_and_counts_are_read() -> None:
    assert parse_deadline("2018-12-31").day == date(2018, 12, 31)
    assert parse_deadline(">=2/年").per_year == 2


def test_promptly_gets_no_invented_number() -> None:
    due = parse_deadline("及时(按 R02/R03)")
    assert due.amount is None
    assert due.text == "及时(按 R02/R03)"
    assert due.refers_to == ("R02", "R03")


@pytest.mark.parametrize(
    "text", ["P5", "PT5M", "P0WD", "PT05H", "P5WD(+PT5H)", "P5WD(+5)", "2018-13-01", "P1.5D"]
)
def test_what_looks_like_a_number_but_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|one unit|month"):
        parse_deadline(text)


def test_an_extension_to_less_than_the_deadline_is_refused() -> None:
    with pytest.raises(ValueError, match="longer"):
        parse_deadline("P15WD", total="P7WD")


@pytest.mark.parametrize(("text", "zh"), [("PT5H", "5小时"), ("P5WD", "5个工作日"), ("P60D", "60日")])
def test_an_amount_is_told_in_chinese(text: str, zh: str) -> None:
    assert parse_amount(text).zh == zh
