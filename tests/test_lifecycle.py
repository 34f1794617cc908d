"""Commands against the database: one transaction, one outcome, whoever else acts at the same moment."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest

from incidents import events, lifecycle, queries, rebuild
from incidents.judgements import open_watching
from incidents.session import Database
from incidents.states import (
    Acknowledge,
    Assign,
    Confirm,
    Detect,
    FalseAlarm,
    Merge,
    Note,
    Refused,
    SetLevel,
    State,
    Unmerge,
)

T0 = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


def watch(db: Database, title: str = "历下区某校食堂学生呕吐") -> int:
    with db.transaction() as session:
        return open_watching(
            session, title=title, domain="food_safety", district="历下区", first_posted_at=T0, sketch={}
        )


def detect(db: Database, title: str = "历下区某校食堂学生呕吐") -> int:
    incident = watch(db, title)
    act(db, incident, Detect("fast", {"rule": "呕吐"}, "serious"))
    return incident


def act(
    db: Database, incident: int, command: object, *, actor: str = "li-na", minutes: int = 1, **options: object
) -> lifecycle.Outcome:
    return lifecycle.handle_or_refuse(
        db,
        incident,
        command,  # type: ignore[arg-type]
        actor=actor,
        channel="console",
        now=T0 + timedelta(minutes=minutes),
        **options,  # type: ignore[arg-type]
    )


def test_detection_gives_a_number_and_caches_the_fold(any_db: Database) -> None:
    incident = detect(any_db)
    with any_db.reading() as session:
        view = queries.get_incident(session, incident)
        assert view is not None
        assert (view.number, view.state, view.level, view.version) == (
            "QS-2026-000001",
            State.DETECTED,
            "serious",
            1,
        )
        assert view.detected_at == T0 + timedelta(minutes=1)
        assert queries.get_incident(session, "QS-2026-000001") == view
    assert detect(any_db, "另一件事") != incident
    with any_db.reading() as session:
        assert queries.get_incident(session, "QS-2026-000002") is not None


def test_a_refused_command_leaves_nothing_but_an_audit_row(any_db: Database) -> None:
    incident = detect(any_db)
    with pytest.raises(Refused):
        act(any_db, incident, Assign("edu"))
    with any_db.reading() as session:
        view = queries.get_incident(session, incident)
        assert view is not None
        assert view.version == 1
        last = queries.latest_events(session, 1)[0]
        assert (last.kind, last.incident_id, last.payload["incident_id"]) == ("refused", None, incident)
        assert last.payload["command"] == "Assign"
        assert events.verify(session, any_db.audit_key).ok


def test_the_same_key_acts_once(any_db: Database) -> None:
    incident = detect(any_db)
    first = act(any_db, incident, Confirm(), idempotency_key="press-1")
    again = act(any_db, incident, Confirm(), idempotency_key="press-1")
    assert not first.repeated
    assert again.repeated
    assert first.version == again.version == 2


def test_a_stale_form_is_refused_but_a_page_sent_meanwhile_does_not_make_it_stale(any_db: Database) -> None:
    incident = detect(any_db)
    with any_db.transaction() as session:
        lifecycle.record(
            session, incident, "page_sent", {"recipient": "li-na"}, now=T0 + timedelta(minutes=1)
        )
    act(any_db, incident, Confirm(), expected_version=1)
    with pytest.raises(Refused, match="changed by somebody else"):
        act(any_db, incident, FalseAlarm("no_issue"), expected_version=2)
    with pytest.raises(Refused, match="changed by somebody else"):
        act(any_db, incident, Note("x"), expected_version=99)


def test_events_of_the_system_are_recorded_once_for_each_key(any_db: Database) -> None:
    incident = detect(any_db)
    with any_db.transaction() as session:
        assert lifecycle.record(
            session,
            incident,
            "deadline_missed",
            {"rule": "R03"},
            now=T0 + timedelta(hours=50),
            occurred_at=T0 + timedelta(hours=48),
            idempotency_key="d1",
        )
        assert not lifecycle.record(
            session,
            incident,
            "deadline_missed",
            {"rule": "R03"},
            now=T0 + timedelta(hours=51),
            idempotency_key="d1",
        )
        event = queries.events_of(session, incident)[-1]
    assert event.occurred_at == T0 + timedelta(hours=48)
    assert event.recorded_at == T0 + timedelta(hours=50)


def test_merging_is_acyclic_and_counts_the_child_s_posts(any_db: Database) -> None:
    one, two, three = detect(any_db, "甲"), detect(any_db, "乙"), detect(any_db, "丙")
    act(any_db, one, Merge(two))
    with pytest.raises(Refused):
        act(any_db, two, Merge(two))
    with pytest.raises(Refused):
        act(any_db, two, Merge(one))
    with pytest.raises(Refused, match="no incident 999"):
        act(any_db, three, Merge(999))
    act(any_db, two, Merge(three))
    with any_db.reading() as session:
        assert sorted(queries.family(session, three)) == sorted([one, two, three])
    act(any_db, one, Unmerge())
    with any_db.reading() as session:
        view = queries.get_incident(session, one)
        assert view is not None
        assert (view.state, view.parent_id) == (State.DETECTED, None)


def test_one_first_acknowledgement_among_many_at_once(any_db: Database) -> None:
    incident = detect(any_db)
    failures: list[BaseException] = []

    def press(number: int) -> None:
        try:
            act(any_db, incident, Acknowledge(epoch=1), actor=f"officer-{number}")
        except BaseException as error:  # noqa: BLE001 (shown below, in the main thread)
            failures.append(error)

    threads = [threading.Thread(target=press, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    with any_db.reading() as session:
        acknowledged = [
            event for event in queries.events_of(session, incident) if event.kind == "page_acknowledged"
        ]
        assert len(acknowledged) == 12
        assert sum(event.payload["first"] for event in acknowledged) == 1
        assert events.verify(session, any_db.audit_key).ok


def test_a_rebuilt_table_equals_the_cached_one(any_db: Database) -> None:
    incident = detect(any_db)
    act(any_db, incident, Confirm(), minutes=2)
    act(any_db, incident, Assign("edu", reason="学校食堂"), minutes=3)
    act(any_db, incident, SetLevel("major", "3 children in hospital"), minutes=4)
    with any_db.transaction() as session:
        assert list(rebuild.differences(session)) == []


def test_an_unknown_incident_is_a_refusal(any_db: Database) -> None:
    with pytest.raises(Refused, match="no incident 4711"):
        act(any_db, 4711, Confirm())
