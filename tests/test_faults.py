"""G6: each of the 90 cells of faults and channels has the one outcome that is right."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.faults import CHANNELS, FAULTS, Lab, allowed, lab


@pytest.fixture(scope="module")
def laboratory() -> Iterator[Lab]:
    """All services once for all cells."""
    with lab() as made:
        yield made


@pytest.mark.slow
@pytest.mark.parametrize("channel", CHANNELS)
def test_every_fault_has_its_one_outcome_and_no_page_is_lost(laboratory: Lab, channel: str) -> None:
    wrong = {}
    for fault in FAULTS:
        cell = laboratory.cell(fault, channel)
        if cell not in allowed(fault, channel):
            wrong[fault] = f"{cell}; allowed: {' or '.join(map(str, allowed(fault, channel)))}"
    assert wrong == {}
