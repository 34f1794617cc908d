"""The HTTP API keeps to its own description, whatever is asked (the deep run is `make test-api`)."""

from __future__ import annotations

from pathlib import Path

from incidents.session import Database
from tests.contract import city, run


def test_no_question_breaks_the_api_and_answers_are_as_described(db: Database, tmp_path: Path) -> None:
    found = run(city(db, tmp_path), examples=4, seed_=7)
    assert found.wrong == []
    assert len(found.operations) >= 20
    assert found.requests > 100
    assert found.by_status[200] > 40, "questions that are allowed are answered"
    assert found.by_status[422] > 10, "broken ones are refused"
