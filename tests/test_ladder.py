"""Somebody is always asked, in order, once each, and the ladder stops when one of them says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from incidents.posts import NewPost
from incidents.session import Database
from incidents.states import (
    Acknowledge,
    Assign,
    Close,
    Confirm,
    Evaluate,
    FalseAlarm,
    Reopen,
    Respond,
    Restore,
    Return,
)
from tests.alert_office import ROSTER, Office, bundle_for

Posts = Callable[..., NewPost]


@pytest.fixture
def office(db: Database, tmp_path: Path, post: Posts) -> Office:
    return Office(db, bundle_for(tmp_path)).detect(post)


def test_the_primary_is_asked_first_and_alone(office: Office) -> None:
    office.work()
    assert office.paged() == [(1, "lin@jinan.example")]
    fired = office.history("rung_fired")[0].payload
    assert fired["people"][0]["id"] == "lin"
    assert "白班" in fired["people"][0]["reason"]


def test_each_rung_is_asked_when_the_one_before_stays_silent(office: Office) -> None:
    office.work()
    for _ in range(3):
        office.later(minutes=15).work()
    assert office.paged("sent") == [
        (1, "lin@jinan.example"),
        (2, "he@jinan.example"),
        (3, "zhou@jinan.example"),
        (4, "he@jinan.example"),
        (4, "lin@jinan.example"),
        (4, "zhou@jinan.example"),
    ]
    assert [e.payload["cause"] for e in office.history("rung_fired")] == ["new"] + ["unanswered"] * 3


def test_after_everybody_was_asked_in_vain_the_record_says_so_and_nobody_is_called_on(office: Office) -> None:
    office.work()
    for _ in range(8):
        office.later(minutes=15).work()
    assert office.history("rung_fired")[-1].payload.get("exhausted") is True
    assert max(step for step, _ in office.paged()) == 4


def test_no_rung_fires_before_its_time(office: Office) -> None:
    office.work()
    office.later(minutes=14, seconds=59).work()
    assert office.paged() == [(1, "lin@jinan.example")]


def test_the_window_begins_when_the_page_was_accepted_not_when_it_was_written(office: Office) -> None:
    office.tick()
    office.later(minutes=1).send()
    office.later(minutes=14, seconds=30).work()
    assert len(office.paged()) == 1
    office.later(seconds=30).work()
    assert len(office.paged()) == 2


def test_a_page_that_no_channel_took_is_unreachable_not_unanswered(office: Office) -> None:
    office.tick()  # nothing is sent: the sender stands still
    office.later(minutes=2).tick()
    fired = office.history("rung_fired")
    assert [event.payload["cause"] for event in fired] == ["new", "unreachable"]
    text = office.messages("page")[-1].message["text"]
    assert "未能送达主班林东" in text


def test_an_acknowledgement_stops_the_ladder_and_nothing_else(office: Office) -> None:
    office.work()
    office.later(minutes=5).do(Acknowledge(epoch=1, step=1)).work()
    office.later(hours=10).work()
    assert [step for step, _ in office.paged()] == [1]
    assert office.deadlines()["R03"].state == "open"


def test_a_page_that_was_not_sent_yet_is_withdrawn_by_an_acknowledgement(office: Office) -> None:
    office.tick()
    office.do(Acknowledge(epoch=1, step=1))
    office.tick()
    assert [row.state for row in office.messages("page")] == ["superseded"]
    assert office.send().sent == 0


def test_a_page_claimed_just_after_the_acknowledgement_is_not_sent(office: Office) -> None:
    office.tick()
    office.do(Acknowledge(epoch=1, step=1))
    summary = office.send()  # before any tick has read the acknowledgement
    assert summary.withdrawn == 1
    assert [row.state for row in office.messages("page")] == ["superseded"]


@pytest.mark.parametrize("command", [Confirm(), FalseAlarm("no_issue")])
def test_whoever_acts_on_the_incident_has_seen_it(office: Office, command: Confirm | FalseAlarm) -> None:
    office.work()
    office.do(command).later(hours=1).work()
    assert [step for step, _ in office.paged()] == [1]


def test_a_return_by_the_department_asks_again_from_the_first_rung(office: Office) -> None:
    office.work()
    office.do(Acknowledge(epoch=1)).do(Confirm()).do(Assign("market-regulation")).work()
    office.later(hours=1).do(Return("不属于本单位职责")).work()
    pages = [row for row in office.messages("page") if row.epoch == office.incident.epoch]
    assert [row.step for row in pages] == [1]
    assert "部门退回" in pages[0].message["subject"]
    office.later(minutes=15).work()
    assert [row.step for row in office.messages("page") if row.epoch == office.incident.epoch] == [1, 2]


def test_a_reopened_or_restored_incident_is_paged_again(office: Office) -> None:
    office.work()
    office.do(FalseAlarm("no_issue")).work()
    office.do(Restore("核实后属实")).work()
    assert sorted(row.epoch for row in office.messages("page")) == [1, 2]
    office.do(Assign("education")).do(Respond("http://gov.example/1")).do(Evaluate(80)).do(Close()).work()
    office.do(Reopen("再次发生")).work()
    assert max(row.epoch for row in office.messages("page")) == office.incident.epoch == 4


def test_an_empty_roster_pages_the_fallback_and_says_that_nobody_was_on_duty(
    db: Database, tmp_path: Path, post: Posts
) -> None:
    empty = ROSTER[: ROSTER.index("weekly:")]
    office = Office(db, bundle_for(tmp_path, roster=empty)).detect(post)
    office.work()
    assert office.paged("sent") == [(1, "zhou@jinan.example")]
    assert office.history("no_one_on_duty")[0].payload["fallback"] == "zhou"


def test_at_night_the_night_shift_is_asked(office: Office, post: Posts, db: Database) -> None:
    night = Office(db, office.bundle, now=office.now.replace(hour=19)).detect(post)
    night.work()
    assert night.paged() == [(1, "he@jinan.example")]


def test_a_long_outage_does_not_call_everybody_at_once(office: Office) -> None:
    office.work()
    office.later(hours=6).work()
    # the window of rung 1 is long over: rung 2 is asked, and gets its own window from now on
    assert [step for step, _ in office.paged()] == [1, 2]
