"""G4: eighteen invariants over many thousand steps, and bugs on purpose that each break one of them.

Every run plays a hundred thousand steps of the same histories; `make test-machine SEED=1000` plays others.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.machine import world
from tests.machine.bugs import BUGS, Bug
from tests.machine.harness import Broken, harness
from tests.machine.machine import explore

SHARDS, RULES, STEPS = 32, 100, int(os.environ.get("QUANSHENG_STEPS", "100000"))
#: of the first history
SEED = int(os.environ.get("QUANSHENG_SEED", "0"))
#: a history of a hundred rules has about a hundred and thirty steps
HISTORIES = STEPS // SHARDS // 130 + 1


@pytest.fixture(scope="module", autouse=True)
def _clean() -> Iterator[None]:
    yield
    world.remove()


@pytest.mark.slow
@pytest.mark.no_cover  # counting lines made every step half as long again; the other tests count them
@pytest.mark.parametrize("seed", range(SEED, SEED + SHARDS))
def test_the_invariants_hold_whatever_happens(seed: int) -> None:
    steps = explore(seed, HISTORIES, RULES)
    more = 0
    while steps < STEPS / SHARDS:  # chance has made short ones
        more += 1
        steps += explore(SEED + SHARDS + 100 * (seed - SEED) + more, 4, RULES)


@pytest.mark.slow
def test_the_invariants_hold_on_postgresql(postgres_server: str) -> None:
    with world.on_server(postgres_server):
        assert explore(1000, 12) > 500


def play(bug: Bug) -> None:
    with harness() as told:
        bug.history(told)
        told.end()


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.title)
def test_a_bug_on_purpose_breaks_its_promise(bug: Bug) -> None:
    play(bug)
    with bug.seeded(), pytest.raises(Broken) as broken:
        play(bug)
    assert broken.value.number in bug.promises, str(broken.value)
