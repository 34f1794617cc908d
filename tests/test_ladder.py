"""Somebody is always asked, in order, once each, and the ladder stops when one of them says so."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from incidents import clocks, lifecycle
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
    SetLevel,
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
    assert [event.payload["step"] for event in office.history("ladder_ended")] == [5]
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
    office.later(hours=3).work()
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


# --- frozen rungs, several acknowledgements, the outer clock ----------------------------------------------------------

TWO = """
routes:
  - name: 重大
    channels: [email]
    ladder: [primary, secondary, leader]
    required: [primary, leader]
"""


def changed(office: Office, tmp_path: Path, **files: Any) -> Office:
    """The same office after somebody has edited its files."""
    office.bundle = bundle_for(tmp_path, **files)
    return office


def test_a_running_ladder_keeps_its_rungs_when_the_routes_are_edited(office: Office, tmp_path: Path) -> None:
    office.work()
    changed(office, tmp_path, routes="routes: [{name: 新, channels: [folder], ladder: [leader]}]")
    office.later(minutes=15).work()
    assert office.paged("sent")[-1] == (2, "he@jinan.example"), "the second rung of the old ladder"
    started = office.history("ladder_started")
    assert [event.payload["route"] for event in started] == ["其他"]
    office.do(Acknowledge(epoch=1)).do(Confirm()).do(Assign("education")).do(Return("不归我")).work()
    assert office.history("ladder_started")[-1].payload["route"] == "新", "the next epoch has the new one"


def test_the_roster_of_a_running_ladder_is_the_one_of_the_moment(office: Office, tmp_path: Path) -> None:
    office.work()
    changed(office, tmp_path, roster=ROSTER.replace("secondary: he", "secondary: zhou"))
    office.later(minutes=15).work()
    assert office.paged("sent")[-1] == (2, "zhou@jinan.example")


def test_a_person_who_is_gone_from_the_roster_never_leaves_a_rung_empty(
    office: Office, tmp_path: Path
) -> None:
    changed(office, tmp_path, routes="routes: [{name: 某, channels: [email], ladder: [he, primary]}]")
    office.work()
    without = ROSTER.replace("  - {id: he, name: 何南, email: he@jinan.example}\n", "").replace(
        ": he,", ": lin,"
    )
    changed(office, tmp_path, roster=without)
    office.do(Confirm()).do(Assign("education")).do(Return("不归我")).work()
    assert office.paged("sent")[-1][1] == "lin@jinan.example"


def test_two_required_acknowledgements_are_both_waited_for(office: Office, tmp_path: Path) -> None:
    changed(office, tmp_path, routes=TWO).work()
    office.later(minutes=2).do(Acknowledge(epoch=1), actor="lin", channel="link").work()
    assert office.incident.state == "detected"
    office.later(minutes=14).work()
    assert office.paged("sent")[-1] == (2, "he@jinan.example"), "the leader is still missing"
    office.later(minutes=16).work()
    assert office.paged("sent")[-1] == (3, "zhou@jinan.example")
    office.later(minutes=1).do(Acknowledge(epoch=1), actor="zhou", channel="link").work()
    count = len(office.paged("sent"))
    office.later(minutes=60).work()
    assert len(office.paged("sent")) == count, "nobody is missing any more"


def test_who_has_acknowledged_is_not_asked_again_in_the_joint_round(office: Office, tmp_path: Path) -> None:
    changed(office, tmp_path, routes=TWO).work()
    office.do(Acknowledge(epoch=1), actor="lin", channel="link").work()
    for _ in range(4):
        office.later(minutes=16).work()
    joint = [row for row in office.messages("page", "sent") if row.step == 4]
    assert sorted(row.recipient for row in joint) == ["he@jinan.example", "zhou@jinan.example"]


def test_somebody_who_was_not_asked_stands_in_for_one_of_the_required(office: Office, tmp_path: Path) -> None:
    changed(office, tmp_path, routes=TWO).work()
    for person in ("wang", "li"):
        office.do(Acknowledge(epoch=1, on_behalf=True), actor=person).work()
    office.later(minutes=20).work()
    assert [step for step, _ in office.paged("sent")] == [1]


def test_acknowledged_and_forgotten_is_asked_again(office: Office) -> None:
    office.work()
    office.do(Acknowledge(epoch=1)).work()
    office.later(minutes=239).work()
    assert office.incident.epoch == 1
    office.later(minutes=2).work()
    assert office.incident.epoch == 2
    page = office.messages("page", "sent")[-1]
    assert (page.epoch, page.step) == (2, 1)
    assert "确认后无进展" in str(page.message["subject"])
    office.do(Acknowledge(epoch=2)).do(Confirm()).do(Assign("education")).work()
    office.later(hours=9).work()
    assert office.incident.epoch == 3, "only the assignment itself began another epoch"


def test_the_outer_clock_is_moved_by_nothing_but_an_assessment(office: Office) -> None:
    office.work()
    for _ in range(3):  # acknowledged and forgotten, again and again
        office.do(Acknowledge(epoch=office.incident.epoch)).work()
        office.later(minutes=239).work()
    assert office.history("outer_passed") == []
    office.later(minutes=5).work()
    (passed,) = office.history("outer_passed")
    assert passed.payload["people"] == ["he", "lin", "zhou"]
    told = {row.recipient for row in office.messages("outer", "sent")}
    assert told == {"he@jinan.example", "lin@jinan.example", "zhou@jinan.example"}
    office.later(hours=20).work()
    assert len(office.history("outer_passed")) == 1


def test_an_assessment_in_time_keeps_the_outer_clock_quiet(office: Office) -> None:
    office.work()
    office.do(Confirm()).work()
    office.later(hours=20).work()
    assert office.history("outer_passed") == []


def test_a_grave_matter_is_asked_about_jointly_several_times(
    office: Office, post: Callable[..., NewPost]
) -> None:
    office.detect(post, level="major").work()
    for _ in range(40):
        office.later(minutes=10).work()
    joint = sorted({row.step for row in office.messages("page", "sent")})
    assert joint == [1, 2, 3, 4, 5, 6, 7], "three rungs, one joint round, three repeats"
    times = [event.occurred_at for event in office.history("rung_fired") if event.payload["step"] in (5, 6)]
    assert times[1] - times[0] >= timedelta(minutes=30)


@pytest.mark.parametrize(("level", "asked"), [("serious", 5), ("major", 7), ("critical", 10)])
def test_a_higher_grade_takes_a_ladder_up_where_it_ended(office: Office, level: str, asked: int) -> None:
    office.work()
    for _ in range(8):
        office.later(minutes=15).work()
    assert max(step for step, _ in office.paged()) == 4
    office.do(SetLevel(level, "伤情")).work()
    assert max(step for step, _ in office.paged()) == 5, "at once"
    for _ in range(40):
        office.later(minutes=10).work()
    steps = [event.payload["step"] for event in office.history("rung_fired")]
    assert steps == list(range(1, asked + 1))
    assert [event.payload["step"] for event in office.history("ladder_ended")] == [5, asked + 1]


@pytest.mark.parametrize(("level", "asked"), [("serious", 5), ("major", 7), ("critical", 10)])
def test_a_ladder_that_ended_under_an_older_version_goes_on_when_the_grade_rises(
    office: Office, level: str, asked: int
) -> None:
    office.work()
    for _ in range(3):
        office.later(minutes=15).work()
    assert max(step for step, _ in office.paged()) == 4
    office.later(minutes=15)
    with office.db.transaction() as session:  # what that version did when the joint round's window was over
        ended = {"step": 5, "cause": "unanswered", "route": "其他", "people": [], "exhausted": True}
        key = f"{office.incident_id}:rung:1:5"
        lifecycle.record(
            session, office.incident_id, "rung_fired", ended, now=office.now, idempotency_key=key
        )
        clocks.cancel_timers(
            session, office.incident_id, office.now, kinds=("ladder", "reach"), up_to_epoch=1
        )
    for _ in range(4):
        office.later(minutes=15).work()
    assert max(step for step, _ in office.paged()) == 4, "the same grade: nobody is asked again"
    office.do(SetLevel(level, "伤情")).work()
    assert {address for step, address in office.paged("sent") if step == 5} == {
        "he@jinan.example",
        "lin@jinan.example",
        "zhou@jinan.example",
    }, "at once, and everybody"
    for _ in range(40):
        office.later(minutes=10).work()
    steps = [event.payload["step"] for event in office.history("rung_fired")]
    assert steps == [1, 2, 3, 4, 5, *range(5, asked + 1)]
    assert [event.payload["step"] for event in office.history("ladder_ended")] == [asked + 1]
