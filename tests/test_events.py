"""The chain of events: any change, gap or cut is found, and the tables refuse it in the first place."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from incidents import events
from incidents.judgements import open_watching
from incidents.lifecycle import handle, record_act
from incidents.session import Database
from incidents.states import Detect

T0 = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


def write(db: Database, count: int) -> None:
    with db.transaction() as session:
        for number in range(count):
            record_act(
                session,
                "note",
                {"text": f"第{number}条", "number": number / 3},
                actor="test",
                channel="cli",
                now=T0 + timedelta(seconds=number),
            )


def lift_triggers(db: Database) -> None:
    """What an attacker with the database's password would do first."""
    with db.transaction() as session:
        if db.is_sqlite:
            for (name,) in session.execute(
                text("SELECT name FROM sqlite_master WHERE type='trigger' AND tbl_name='incident_event'")
            ).all():
                session.execute(text(f"DROP TRIGGER {name}"))
        else:
            session.execute(text("ALTER TABLE incident_event DISABLE TRIGGER USER"))


def test_an_untouched_chain_verifies(any_db: Database) -> None:
    write(any_db, 30)
    with any_db.reading() as session:
        verdict = events.verify(session, any_db.audit_key)
        assert verdict.ok
        assert (verdict.events, verdict.head) == (30, events.head(session))


@pytest.mark.parametrize(
    "statement",
    ["UPDATE incident_event SET actor = 'x' WHERE seq = 2", "DELETE FROM incident_event WHERE seq = 2"],
)
def test_the_table_refuses_changes(any_db: Database, statement: str) -> None:
    write(any_db, 3)
    with pytest.raises(DatabaseError), any_db.transaction() as session:
        session.execute(text(statement))
    with any_db.reading() as session:
        assert events.verify(session, any_db.audit_key).events == 3


TAMPERINGS = (
    "UPDATE incident_event SET actor = 'someone' WHERE seq = :n",
    "UPDATE incident_event SET channel = 'link' WHERE seq = :n",
    "UPDATE incident_event SET kind = 'closed' WHERE seq = :n",
    'UPDATE incident_event SET payload = \'{"text": "nothing happened"}\' WHERE seq = :n',
    "UPDATE incident_event SET incident_id = 5 WHERE seq = :n",
    "UPDATE incident_event SET recorded_at = '2020-01-01 00:00:00+00:00' WHERE seq = :n",
    "UPDATE incident_event SET hash = prev_hash WHERE seq = :n",
    "DELETE FROM incident_event WHERE seq = :n",
)


@pytest.mark.parametrize("statement", TAMPERINGS)
def test_every_tampering_past_the_triggers_is_found(any_db: Database, statement: str) -> None:
    write(any_db, 20)
    lift_triggers(any_db)
    number = random.randint(1, 19)
    with any_db.transaction() as session:
        session.execute(text(statement), {"n": number})
    with any_db.reading() as session:
        verdict = events.verify(session, any_db.audit_key)
    assert not verdict.ok
    assert verdict.broken_at == number
    assert str(number) in verdict.reason


def test_a_cut_tail_is_found_with_a_noted_head(db: Database) -> None:
    write(db, 10)
    with db.reading() as session:
        noted = events.head(session)
    lift_triggers(db)
    with db.transaction() as session:
        session.execute(text("DELETE FROM incident_event WHERE seq > 7"))
    with db.reading() as session:
        assert events.verify(session, db.audit_key).ok, "the shorter chain is sound in itself"
        verdict = events.verify(session, db.audit_key, known_head=noted)
    assert not verdict.ok
    assert "cut off" in verdict.reason


def test_another_key_does_not_verify(db: Database) -> None:
    write(db, 2)
    with db.reading() as session:
        assert not events.verify(session, b"x" * 32).ok


def test_recorded_time_never_falls_when_the_clock_is_set_back(db: Database) -> None:
    write(db, 3)
    with db.transaction() as session:
        record_act(session, "note", {}, actor="test", channel="cli", now=T0 - timedelta(hours=1))
        times = [event.recorded_at for event in events.events_after(session, 0)]
    assert times == sorted(times)


@pytest.mark.parametrize(
    "statement", ["DELETE FROM incident_event WHERE seq > 3", "DELETE FROM incident_event"]
)
def test_a_cut_tail_is_found_by_an_incident_that_had_got_further(any_db: Database, statement: str) -> None:
    write(any_db, 3)
    with any_db.transaction() as session:
        incident = open_watching(
            session, title="停水", domain="housing", district="历下区", first_posted_at=T0, sketch={}
        )
        handle(session, incident, Detect("fast", {}, "serious"), actor="system", channel="system", now=T0)
    with any_db.reading() as session:
        assert events.verify(session, any_db.audit_key).ok
    lift_triggers(any_db)
    with any_db.transaction() as session:
        session.execute(text(statement))
    with any_db.reading() as session:
        verdict = events.verify(session, any_db.audit_key)
    assert not verdict.ok
    assert "cut off" in verdict.reason


@pytest.mark.parametrize("change", ["payload = 'not json'", "occurred_at = 'garbage'"])
def test_a_row_that_cannot_be_read_is_a_broken_record(db: Database, change: str) -> None:
    write(db, 3)
    lift_triggers(db)
    with db.transaction() as session:
        session.execute(text(f"UPDATE incident_event SET {change} WHERE seq = 2"))
    with db.reading() as session:
        verdict = events.verify(session, db.audit_key)
    assert not verdict.ok
    assert "cannot be read" in verdict.reason


def test_a_savepoint_that_is_rolled_back_leaves_no_gap(any_db: Database) -> None:
    with any_db.transaction() as session:
        for number in range(3):
            now = T0 + timedelta(seconds=number)
            record_act(session, "note", {"number": number}, actor="test", channel="cli", now=now)
            lost = session.begin_nested()
            for _ in range(2):
                record_act(session, "note", {"number": -1}, actor="test", channel="cli", now=now)
            lost.rollback()
    write(any_db, 2)
    with any_db.transaction() as session:
        assert [event.seq for event in events.all_events(session)] == [1, 2, 3, 4, 5]
        assert events.verify(session, any_db.audit_key).ok
