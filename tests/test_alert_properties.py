"""Whatever people do and however long they wait: no rung too early, no page too many, no open incident without a clock."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alerts.job import TickSummary
from incidents import events, rebuild
from incidents.posts import NewPost
from incidents.session import Database
from incidents.states import (
    Acknowledge,
    Assign,
    Close,
    Command,
    Confirm,
    Evaluate,
    FalseAlarm,
    Refused,
    Reopen,
    Respond,
    Restore,
    Return,
    SetLevel,
    SignFor,
    State,
)
from tests.alert_office import T0, Office, bundle_for
from tests.conftest import AUDIT_KEY

COMMANDS: list[Command] = [
    Confirm(),
    Assign("education", reason="对口"),
    Assign("market-regulation", reason="转办"),
    SignFor("张"),
    Return("不属于本单位职责"),
    Respond("http://gov.example/1"),
    Evaluate(70),
    Close(),
    FalseAlarm("no_issue", "核实"),
    Restore("核实后属实"),
    SetLevel("major", "伤情"),
    SetLevel("general", "无伤情"),
]
STEPS = st.one_of(
    st.sampled_from(["tick", "send", "ack", "finish", "reopen"]),
    st.integers(1, 200),  # minutes that pass
    st.sampled_from(COMMANDS),
)


def take(office: Office, step: str | int | Command) -> None:
    """One step; what the life cycle refuses changes nothing."""
    if isinstance(step, int):
        office.later(minutes=step)
    elif step == "tick":
        office.tick()
        assert office.tick() == TickSummary(), "a second tick at the same time did something"
        check(office)
    elif step == "send":
        office.send()
    elif step == "finish":  # the long way to the end, which chance alone seldom walks
        for command in (
            Confirm(),
            Assign("education"),
            Respond("http://gov.example/1"),
            Evaluate(70),
            Close(),
        ):
            take(office, command)
    elif step == "reopen":
        take(office, "finish")
        take(office, Reopen("再次发生"))
    else:
        with suppress(Refused):
            if isinstance(step, str):
                office.do(Acknowledge(epoch=office.incident.epoch))
            else:
                office.do(step)


def check(office: Office) -> None:
    """The promises, looked up in what was recorded."""
    office.tick()
    history = office.history()
    incident = office.incident
    acknowledged = {e.epoch: e.recorded_at for e in reversed(history) if e.kind == "page_acknowledged"}
    for row in office.messages("page", "sent"):
        assert row.sent_at is not None
        assert row.epoch not in acknowledged or row.sent_at <= acknowledged[row.epoch], (
            "paged after the answer"
        )
    accepted: dict[tuple[int, int], list[timedelta]] = {}
    for event in history:
        if event.kind == "page_sent":
            key = (event.payload["epoch"], event.payload["step"])
            accepted.setdefault(key, []).append(event.occurred_at - T0)
        if event.kind == "rung_fired" and event.payload["cause"] == "unanswered":
            first = min(accepted[event.epoch, event.payload["step"] - 1])
            assert event.occurred_at - T0 >= first + timedelta(minutes=15), "a rung before its time"
    rungs = Counter((e.epoch, e.payload["step"]) for e in history if e.kind == "rung_fired")
    assert not rungs or max(rungs.values()) == 1
    clocks = list(office.deadlines().values())
    if incident.state in (State.DETECTED, State.CONFIRMED, State.ASSIGNED, State.ACKNOWLEDGED):
        current = [
            clock for clock in clocks if clock.round == incident.round and clock.rule_id.startswith("R")
        ]
        answered = incident.responded_at is not None
        assert answered or any(clock.state == "open" for clock in current), "an open incident without a clock"
    if incident.state in (State.CLOSED, State.FALSE_ALARM):
        assert all(clock.state != "open" for clock in clocks)
    missed = Counter(
        e.payload["rule"] + str(e.payload["round"]) for e in history if e.kind == "deadline_missed"
    )
    assert not missed or max(missed.values()) == 1
    for event in history:
        if event.kind == "deadline_missed":
            assert event.occurred_at.isoformat() == event.payload["due_at"]
    with office.db.transaction() as session:
        assert list(rebuild.differences(session)) == []
        assert events.verify(session, AUDIT_KEY).ok


@given(steps=st.lists(STEPS, min_size=5, max_size=30))
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_promises_hold_after_any_sequence(
    migrated_sqlite: Path, steps: list[str | int | Command]
) -> None:
    numbers = iter(range(1000))

    def make(text: str = "", **fields: object) -> NewPost:
        number = next(numbers)
        values: dict[str, object] = {
            "source_id": "forum",
            "external_id": f"t{number}",
            "url": "",
            "title": "",
            "text": text,
            "published_at": T0,
            "published_estimated": False,
            "fetched_at": T0,
            "author_key": f"a{number}",
            "place_hint": "",
            "engagement": {},
            "provenance": {},
        }
        return NewPost(**(values | fields))  # type: ignore[arg-type]

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        shutil.copyfile(migrated_sqlite, path / "q.db")
        db = Database(f"sqlite:///{path / 'q.db'}", audit_key=AUDIT_KEY)
        office = Office(db, bundle_for(path)).detect(make)
        for step in steps:
            take(office, step)
        check(office)
        db.close()
