"""What the desk and the page of supervision list and count, held against the plain way of computing it, on both databases."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from incidents import clocks, desk, events, queries
from incidents.models import Deadline, Incident
from incidents.session import Database
from incidents.states import OPEN_STATES
from tests.conftest import AUDIT_KEY

NOW = datetime(2026, 3, 10, 2, 0, tzinfo=UTC)
DAY = timedelta(hours=24)
UNITS = ("", "water", "housing")


@pytest.fixture
def rows(any_db: Database) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    """A hundred incidents in all states, most with some clocks, of which some are stopped."""
    rng = random.Random(4)
    states = [*(str(state) for state in OPEN_STATES), "closed", "watching"]
    incidents: list[dict[str, object]] = [
        {
            "id": number,
            "number": f"QS-2026-{number:06d}",
            "title": f"第{number}件",
            "domain": "housing",
            "district": "历下区",
            "state": rng.choice(states),
            "department": rng.choice(UNITS),
            "first_posted_at": NOW,
            "last_post_at": NOW,
            "detected_at": NOW - timedelta(minutes=rng.randrange(5000)),
            "sketch": {},
        }
        for number in range(1, 101)
    ]
    deadlines: list[dict[str, object]] = [
        {
            "incident_id": number,
            "rule_id": rule,
            "round": 1,
            "stops_on": "returned" if rule == "R05" else "responded",
            "started_at": NOW - 2 * DAY,
            # few different ends: equal ones are told apart by the incident
            "due_at": NOW + timedelta(hours=rng.randrange(-30, 60, 6)),
            "provisional": False,
            "calendar_version": "test",
            "trace": [],
            "state": rng.choice(("open", "open", "met")),
        }
        for number in range(1, 101)
        for rule in rng.sample(("R03", "R05", "R09"), rng.randrange(4))
    ]
    with any_db.transaction() as session:
        session.execute(insert(Incident), incidents)
        session.execute(insert(Deadline), deadlines)
        for row in incidents:
            if row["department"] == "water" and row["state"] == "assigned":
                payload = {"department": "water", "co": ["housing"]}
                number = int(str(row["id"]))
                events.append(
                    session, AUDIT_KEY, kind="assigned", actor="a", channel="console", now=NOW,
                    payload=payload, incident_id=number, version=1,
                )  # fmt: skip
    return incidents, deadlines


def first_due(deadlines: list[dict[str, object]]) -> dict[object, datetime]:
    """Earliest open clock of each incident, by looking at all."""
    found: dict[object, datetime] = {}
    for row in deadlines:
        if row["state"] == "open":
            due = row["due_at"]
            assert isinstance(due, datetime)
            found[row["incident_id"]] = min(due, found.get(row["incident_id"], due))
    return found


@pytest.mark.parametrize(("limit", "unit"), [(5, ""), (30, ""), (500, ""), (500, "housing"), (3, "housing")])
def test_the_most_urgent_come_first_whatever_the_limit(
    any_db: Database, rows: tuple[list[dict[str, object]], list[dict[str, object]]], limit: int, unit: str
) -> None:
    incidents, deadlines = rows
    due, states = first_due(deadlines), {str(state) for state in OPEN_STATES}
    wanted = [
        row
        for row in incidents
        if row["state"] in states
        and (
            not unit
            or row["department"] == unit
            or (row["department"] == "water" and row["state"] == "assigned")
        )
    ]
    last = NOW + 1000 * DAY
    wanted.sort(key=lambda row: (due.get(row["id"], last), int(str(row["id"]))))
    with any_db.reading() as session:
        found = queries.list_by_urgency(session, limit=limit, department=unit)
    assert [(view.id, at) for view, at in found] == [
        (row["id"], due.get(row["id"])) for row in wanted[:limit]
    ]
    assert len(found) == min(limit, len(wanted)) > 0


def test_counts_are_of_all_that_are_open(
    any_db: Database, rows: tuple[list[dict[str, object]], list[dict[str, object]]]
) -> None:
    incidents, deadlines = rows
    states = {str(state) for state in OPEN_STATES}
    due = {row["id"]: first_due(deadlines).get(row["id"]) for row in incidents if row["state"] in states}
    ends = [at for at in due.values() if at is not None]
    with any_db.reading() as session:
        found = desk.totals(session, NOW, DAY)
        new = desk.unanswered(session, 4)
    assert found == desk.Totals(
        len(due), sum(at < NOW for at in ends), sum(NOW <= at < NOW + DAY for at in ends)
    )
    detected = [row for row in incidents if row["state"] == "detected"]
    detected.sort(key=lambda row: (row["detected_at"], row["id"]), reverse=True)
    assert [view.id for view in new] == [row["id"] for row in detected[:4]]


def test_running_clocks_are_those_of_open_incidents_that_somebody_has_to_meet(
    any_db: Database, rows: tuple[list[dict[str, object]], list[dict[str, object]]]
) -> None:
    incidents, deadlines = rows
    states = {str(state) for state in OPEN_STATES}
    is_open = {row["id"] for row in incidents if row["state"] in states}
    wanted = sorted(
        str(row["due_at"])
        for row in deadlines
        if row["state"] == "open" and row["stops_on"] != "returned" and row["incident_id"] in is_open
    )
    with any_db.reading() as session:
        found = clocks.running(session, 1000)
        told = clocks.deadlines(session, [one.id for one in found[:3]])
    assert [str(one.due_at) for one in found] == wanted
    assert [told[one.id].due_at for one in found[:3]] == [one.due_at for one in found[:3]]
    assert all((one.used(NOW) > 1) == (one.due_at < NOW) for one in found)
