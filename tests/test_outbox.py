"""The outbox: each message once, claimed under a lease, its outcome written down."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from incidents import outbox
from incidents.session import Database

T0 = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)


def put(
    db: Database, recipient: str = "li-na", *, priority: int = 5, minutes: int = 0, kind: str = "page"
) -> str:
    key = outbox.message_id(None, 1, 0, recipient, "email", kind)
    with db.transaction() as session:
        outbox.enqueue(
            session,
            id=key,
            incident_id=None,
            kind=kind,
            recipient=recipient,
            channel="email",
            message={"subject": "测试"},
            now=T0 + timedelta(minutes=minutes),
            epoch=1,
            priority=priority,
        )
    return key


def claim(db: Database, minutes: float = 1) -> list[outbox.OutboxRow]:
    with db.transaction() as session:
        return outbox.claim(session, T0 + timedelta(minutes=minutes), lease_s=60)


def test_the_same_message_is_enqueued_once(any_db: Database) -> None:
    assert put(any_db) == put(any_db)
    with any_db.reading() as session:
        assert len(outbox.latest(session)) == 1


def test_the_urgent_goes_first(any_db: Database) -> None:
    put(any_db, "report", priority=9)
    put(any_db, "first-page", priority=0, minutes=1)
    assert [row.recipient for row in claim(any_db)] == ["first-page", "report"]


def test_a_claimed_message_is_not_claimed_again_within_its_lease(any_db: Database) -> None:
    put(any_db)
    first = claim(any_db)
    assert [row.uncertain for row in first] == [False]
    assert claim(any_db, 1.5) == []
    cut_off = claim(any_db, 3)
    assert [(row.attempts, row.uncertain) for row in cut_off] == [(2, True)]


def test_results_are_kept(any_db: Database) -> None:
    key = put(any_db)
    claim(any_db)
    with any_db.transaction() as session:
        outbox.record(session, key, "retry", now=T0, detail="429", retry_at=T0 + timedelta(minutes=5))
    assert claim(any_db, 4) == []
    assert [row.uncertain for row in claim(any_db, 6)] == [False]
    with any_db.transaction() as session:
        outbox.record(
            session, key, "unknown", now=T0, detail="connection lost", retry_at=T0 + timedelta(minutes=7)
        )
    assert [row.uncertain for row in claim(any_db, 8)] == [True]
    with any_db.transaction() as session:
        outbox.record(session, key, "sent", now=T0 + timedelta(minutes=8), provider_ref="<id@x>")
        row = outbox.get(session, key)
    assert row is not None
    assert (row.state, row.attempts, row.provider_ref) == ("sent", 3, "<id@x>")
    assert claim(any_db, 60) == []


def test_a_retry_without_a_time_is_a_mistake(db: Database) -> None:
    key = put(db)
    claim(db)
    with pytest.raises(ValueError, match="needs retry_at"), db.transaction() as session:
        outbox.record(session, key, "retry", now=T0)


def test_a_message_that_is_no_longer_needed_is_withdrawn(any_db: Database) -> None:
    key = outbox.message_id(7, 1, 0, "li-na", "email")
    with any_db.transaction() as session:
        outbox.enqueue(
            session,
            id=key,
            incident_id=7,
            kind="page",
            recipient="li-na",
            channel="email",
            message={},
            now=T0,
            epoch=1,
        )
        assert outbox.supersede(session, 7, T0, kinds=["reminder"]) == 0
        assert outbox.supersede(session, 7, T0, kinds=["page"], below_epoch=2) == 1
        row = outbox.get(session, key)
        assert row is not None
        assert row.state == "superseded"
    assert claim(any_db) == []


def test_the_backlog_counts_what_is_late(any_db: Database) -> None:
    put(any_db)
    with any_db.reading() as session:
        assert outbox.backlog(session, T0).overdue == 0
        late = outbox.backlog(session, T0 + timedelta(minutes=2))
    assert (late.waiting, late.overdue, late.oldest_due) == (1, 1, T0)


# --- how much a robot bears ----------------------------------------------------------------------------------------


def used(db: Database, minutes: float, within_s: float = 60) -> int:
    now = T0 + timedelta(minutes=minutes)
    with db.reading() as session:
        return sum(outbox.used(session, ["email:li-na"], now - timedelta(seconds=within_s), now).values())


def test_a_sender_that_died_does_not_shut_its_robot_for_ever(any_db: Database) -> None:
    for kind in ("page", "update", "reminder"):
        put(any_db, kind=kind)
    claim(any_db, 1)
    assert (
        used(any_db, 1.01, within_s=1) == used(any_db, 1.9, within_s=1) == 3
    )  # under way, however short the window
    assert used(any_db, 2.5, within_s=1) == 0  # the lease is over: they can be taken again
    assert used(any_db, 2.1, within_s=60) == 3  # they left some seconds after they were claimed, if at all
    assert used(any_db, 2.2, within_s=60) == 0
    assert used(any_db, 2.01, within_s=120) == 3  # they may have arrived


def test_a_doubtful_try_counts_and_a_failed_one_does_not(any_db: Database) -> None:
    keys = [put(any_db, kind=kind) for kind in ("page", "update")]
    claim(any_db, 1)
    later = T0 + timedelta(minutes=10)
    at = T0 + timedelta(minutes=1)
    with any_db.transaction() as session:
        outbox.record(session, keys[0], "unknown", now=at, retry_at=later)
        outbox.record(session, keys[1], "retry", now=at, retry_at=later)
    assert used(any_db, 1.5) == 1
    assert used(any_db, 2.5) == 0


def test_no_more_is_claimed_than_a_robot_has_room_for_and_the_others_are_not_hidden_behind_it(
    any_db: Database,
) -> None:
    for number in range(30):
        put(any_db, "full", priority=0, kind=f"page-{number}")
    put(any_db, "free", priority=9)
    with any_db.transaction() as session:
        now = T0 + timedelta(minutes=1)
        taken = outbox.claim(session, now, lease_s=60, limit=5, left={"email:full": 2})
    assert sorted(row.recipient for row in taken) == ["free", "full", "full"]


def test_members_of_a_refused_bundle_wait_by_themselves_again(any_db: Database) -> None:
    keys = [put(any_db, kind=kind) for kind in ("a", "b")]
    into = put(any_db, kind="bundle")
    with any_db.transaction() as session:
        outbox.bundle(session, keys, into)
        outbox.record(session, into, "refused", now=T0, detail="too long")
        outbox.unbundle(session, into, T0)
        rows = [outbox.get(session, key) for key in keys]
    assert [(row.state, row.bundled_in, row.error) for row in rows if row] == [
        ("pending", None, outbox.FELL_APART)
    ] * 2
