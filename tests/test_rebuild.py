"""Everything that is derived can be folded anew from the events alone, after whatever people and time have done."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select, text

from incidents import rebuild
from incidents.models import Deadline, Incident
from incidents.posts import NewPost
from incidents.session import Database
from incidents.states import Command, Merge, Refused, Unmerge
from tests.alert_office import Office, bundle_for
from tests.conftest import AUDIT_KEY
from tests.test_alert_properties import COMMANDS, take

#: histories of one run of the suite; `QUANSHENG_HISTORIES=1000` makes the whole proof
HISTORIES = int(os.environ.get("QUANSHENG_HISTORIES", "60"))


def wander(office: Office, chance: random.Random, steps: int) -> None:
    """Some days of an incident: people act, minutes and days pass, ticks come when they come."""
    for _ in range(steps):
        what = chance.choice(
            ["tick", "send", "ack", "time", "time", "act", "act", "act", "finish", "reopen", "merge"]
        )
        if what == "time":
            office.now += timedelta(minutes=chance.choice([1, 16, 200, 1500, 4000]))
        elif what == "act":
            take(office, chance.choice(COMMANDS))
        elif what == "merge":
            _merge(office, chance)
        elif what == "tick":
            office.tick()
        else:
            take(office, what)
    office.tick()


def _merge(office: Office, chance: random.Random) -> None:
    """Another incident goes into this one, or comes out again."""
    with office.db.reading() as session:
        others = [row.id for row in session.scalars(select(Incident)) if row.id != office.incident_id]
    if not others:
        return
    mine, office.incident_id = office.incident_id, chance.choice(others)
    with suppress(Refused):
        commands: list[Command] = [Merge(mine), Merge(mine), Unmerge("另一件事")]
        office.do(chance.choice(commands))
    office.incident_id = mine


@pytest.mark.slow
def test_random_histories_are_rebuilt_exactly(
    migrated_sqlite: Path, tmp_path: Path, post: Callable[..., NewPost]
) -> None:
    bundle = bundle_for(tmp_path)
    seen = 0
    for number in range(HISTORIES):
        chance = random.Random(number)
        file = tmp_path / f"{number}.db"
        shutil.copyfile(migrated_sqlite, file)
        db = Database(f"sqlite:///{file}", audit_key=AUDIT_KEY)
        office = Office(db, bundle)
        office.detect(post, level=chance.choice(["general", "major"]), title="另一件")
        office.detect(post, level=chance.choice(["general", "serious", "critical"]))
        wander(office, chance, chance.randint(5, 30))
        with db.reading() as session:
            assert [str(found) for found in rebuild.differences(session)] == [], f"history {number}"
            seen += len(list(session.scalars(select(Deadline))))
        db.close()
        file.unlink()
    assert seen > HISTORIES


def test_what_somebody_changed_by_hand_is_found_and_put_right(
    any_db: Database, tmp_path: Path, post: Callable[..., NewPost]
) -> None:
    office = Office(any_db, bundle_for(tmp_path)).detect(post, level="serious")
    office.work()
    with any_db.transaction() as session:
        before = session.execute(select(Deadline.rule_id, Deadline.due_at)).all()
        session.execute(text("UPDATE incident SET state = 'closed', department = 'education'"))
        session.execute(text("UPDATE deadline SET state = 'met'"))
    with any_db.reading() as session:
        found = {(item.table, item.column) for item in rebuild.differences(session)}
    assert found == {("incident", "state"), ("incident", "department"), ("deadline", "state")}
    with any_db.transaction() as session:
        assert len(rebuild.repair(session)) == 3
        session.execute(delete(Deadline))
    with any_db.transaction() as session:
        assert {item.column for item in rebuild.repair(session)} == {"row"}
        assert session.execute(select(Deadline.rule_id, Deadline.due_at)).all() == before
        session.add(
            Deadline(
                incident_id=office.incident_id,
                rule_id="R99",
                round=1,
                stops_on="responded",
                started_at=office.now,
                due_at=office.now,
            )
        )
    with any_db.transaction() as session:
        assert [str(item) for item in rebuild.repair(session)] == [
            f"deadline {office.incident_id} R99 1: row is 'there', by its events None"
        ]
    with any_db.reading() as session:
        assert list(rebuild.differences(session)) == []
    assert office.incident.state == "detected"
