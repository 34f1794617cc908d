"""Clocks by the way in, the resolver of parallel clocks, extensions within the clause, and a date told to the caller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from alerts import extensions, resolver
from alerts.calendar import load_calendar
from alerts.desk import Desk
from config.sources import WayIn
from console.passwords import hash_password
from incidents import accounts, clocks, queries, rebuild
from incidents.models import Timer
from incidents.posts import NewPost
from incidents.session import Database, Session
from incidents.states import (  # fmt: skip
    Assign,
    Close,
    Confirm,
    Evaluate,
    HoldPress,
    Inform,
    Refused,
    Respond,
    Return,
    SetLevel,
    SignFor,
)
from tests.alert_office import KEYS, T0, Office, bundle_for

Posts = Callable[..., NewPost]
_HASH = hash_password("not-a-real-password")


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+08:00")


def office_with(db: Database, folder: Path, way: WayIn) -> Office:
    """An office one of whose sources brings matters in this way."""
    bundle = bundle_for(folder)
    source = bundle.sources[0].model_copy(update={"id": "desk", "way": way})
    office = Office(db, replace(bundle, sources=(source,)))
    with db.transaction() as session:
        for login, role in (("wang", "leader"), ("du", "supervisor"), ("an", "analyst")):
            accounts.create_account(
                session, login=login, display_name=login, role=role, password_hash=_HASH, now=T0
            )
    return office


def desk(office: Office, session: Session) -> Desk:
    settings = office.bundle.settings
    return Desk(
        session, office.bundle, KEYS, load_calendar(settings.config_dir, settings.city.timezone), office.now
    )


def extend(office: Office, rule: str, units: int, approver: str = "wang", reason: str = "情况复杂", late: str = "") -> None:  # fmt: skip
    with office.db.transaction() as session:
        extensions.extend(
            desk(office, session), office.incident_id, rule, units, approver=approver, reason=reason,
            late_reason=late, actor="lin", channel="console",
        )  # fmt: skip


@pytest.fixture
def office(db: Database, tmp_path: Path) -> Office:
    """The office with public sources only."""
    return Office(db, bundle_for(tmp_path))


# --- which event starts and stops what ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way", "at_once", "assigned", "signed"),
    [
        ("public", {"R03"}, set(), set()),
        ("hotline", {"R03"}, {"H01", "H04"}, set()),
        ("business_hotline", {"R03"}, {"H06", "H04"}, set()),
        ("message_board", {"R03", "R09"}, set(), set()),
        ("correction", {"R03", "R10"}, set(), set()),
        ("market_hotline", {"R03", "R13"}, set(), {"R13.mediation"}),
        ("market_report", {"R03", "R13.report_check"}, set(), set()),
        ("petition", {"R03", "R07"}, {"R08", "R07.reject"}, set()),
    ],
)
def test_the_way_in_decides_which_clocks_run_side_by_side(
    db: Database,
    tmp_path: Path,
    post: Posts,
    way: WayIn,
    at_once: set[str],
    assigned: set[str],
    signed: set[str],
) -> None:
    office = office_with(db, tmp_path, way)
    office.detect(post, source="desk").work()
    assert set(office.deadlines()) == at_once
    office.do(Confirm()).do(Assign("education")).work()
    assert set(office.deadlines()) == at_once | assigned
    office.do(SignFor("张")).work()
    assert set(office.deadlines()) == at_once | assigned | signed


def test_each_statute_clock_ends_with_the_event_that_its_rule_names(
    db: Database, tmp_path: Path, post: Posts
) -> None:
    office = office_with(db, tmp_path, "petition")
    office.detect(post, source="desk").do(Confirm()).do(Assign("education")).work()
    found = {rule: clock.state for rule, clock in office.deadlines().items()}
    assert found == {"R03": "open", "R07": "met", "R07.reject": "open", "R08": "open"}
    office.do(SignFor("张")).do(Respond("http://gov.example/1")).work()
    assert office.deadlines()["R08"].state == "open"  # an answer does not close a petition
    office.do(Evaluate(80)).do(Close()).work()
    assert office.deadlines()["R08"].state == "met"


@pytest.mark.parametrize(
    ("way", "rule", "confirmed"),
    [("market_report", "R13.report_check", "met"), ("market_hotline", "R13", "open")],
)
def test_a_report_is_checked_by_confirming_a_complaint_accepted_by_signing(
    db: Database, tmp_path: Path, post: Posts, way: WayIn, rule: str, confirmed: str
) -> None:
    office = office_with(db, tmp_path, way)
    office.detect(post, source="desk").work()
    office.do(Confirm()).work()
    assert office.deadlines()[rule].state == confirmed
    office.do(Assign("market-regulation")).do(SignFor("张")).work()
    assert office.deadlines()[rule].state == "met"


def test_of_clocks_that_run_together_each_keeps_its_end_and_the_earliest_governs(
    db: Database, tmp_path: Path, post: Posts
) -> None:
    office = office_with(db, tmp_path, "hotline")
    office.detect(post, source="desk", level="major").work()
    office.do(Confirm()).do(Assign("education")).work()
    with office.db.reading() as session:
        running = clocks.deadlines_of(session, office.incident_id)
    found = resolver.governing(office.bundle.rules, running)
    assert found.first_response
    assert found.first_response.rule_id == "R01"
    assert found.close
    assert found.close.rule_id == "H01"
    ends = {rule: clock.due_at for rule, clock in office.deadlines().items()}
    extend(office, "H01", 3)
    after = {rule: clock.due_at for rule, clock in office.deadlines().items()}
    assert {rule for rule in ends if ends[rule] != after[rule]} == {"H01"}  # never another one


def test_a_grade_raised_after_the_answer_counts_what_was_published_before(
    office: Office, post: Posts
) -> None:
    office.detect(post).work()
    office.later(hours=2).do(Inform("http://gov.example/1")).work()
    office.later(hours=1).do(SetLevel("major", "死亡1人")).work()
    found = {rule: clock.state for rule, clock in office.deadlines().items()}
    assert found == {"R01": "met", "R02": "open", "R03": "open"}
    office.do(HoldPress("http://gov.example/p")).work()
    assert office.deadlines()["R02"].state == "met"


def test_the_time_to_send_back_begins_anew_with_each_holder(
    db: Database, tmp_path: Path, post: Posts
) -> None:
    office = office_with(db, tmp_path, "hotline")
    office.detect(post, source="desk").work()
    office.do(Confirm()).do(Assign("education")).work()
    first = office.deadlines()["H04"].due_at
    answer = office.deadlines()["H01"].due_at
    office.later(days=1).do(Return("不属于本单位职责")).work()
    assert office.deadlines()["H04"].state == "met"
    office.later(days=1).do(Assign("health-commission")).work()
    again = office.deadlines()["H04"]
    assert (again.state, again.due_at > first) == ("open", True)
    assert office.deadlines()["H01"].due_at == answer  # the citizen's time does not begin anew
    office.later(days=1).do(Return("也不属于本单位")).work()
    assert office.deadlines()["H04"].state == "met"
    with office.db.reading() as session:
        assert list(rebuild.differences(session)) == []


# --- extension ---------------------------------------------------------------------------------------------------


def test_an_extension_moves_the_end_by_working_days_and_keeps_the_first_one(
    db: Database, tmp_path: Path, post: Posts
) -> None:
    office = office_with(db, tmp_path, "hotline")
    office.detect(post, source="desk").do(Confirm()).do(Assign("education")).work()
    before = office.deadlines()["H01"]
    assert before.due_at == at("2026-12-02T00:00")  # 25, 26, 27, 30 November, 1 December
    extend(office, "H01", 10)
    after = office.deadlines()["H01"]
    assert after.due_at == at("2026-12-16T00:00")
    assert (after.original_due_at, after.extended_by) == (before.due_at, 10)
    assert any("第12-15个" in line or "15个工作日" in line for line in after.trace)
    assert "wang批准延长10个工作日" in after.trace[-1]
    (event,) = office.history("clock_extended")
    assert (event.payload["approver"], event.payload["units"], event.actor) == ("wang", 10, "lin")
    (moved,) = office.history("deadline_moved")
    assert (moved.payload["why"], moved.payload["old_due_at"]) == ("extended", before.due_at.isoformat())
    with office.db.reading() as session:
        assert list(rebuild.differences(session)) == []
        timers = session.scalars(select(Timer).where(Timer.kind == "yellow", Timer.step == after.id))
        assert [(row.due_at, row.done_at) for row in timers] == [(at("2026-12-15T08:30"), None)]
    office.work()
    assert [row for row in office.messages("update") if "时限变更" in row.message["subject"]]


def test_a_card_comes_again_for_the_new_end_and_once_only(db: Database, tmp_path: Path, post: Posts) -> None:
    office = office_with(db, tmp_path, "hotline")
    office.detect(post, source="desk").do(Confirm()).do(Assign("education")).work()
    office.now = at("2026-12-01T09:00")
    office.work()
    clock = office.deadlines()["H01"].id
    first = [row for row in office.messages("yellow") if row.step == clock]
    assert first
    extend(office, "H01", 5)
    office.work()
    assert [row for row in office.messages("yellow") if row.step == clock] == first
    office.now = at("2026-12-08T09:00")
    office.work()
    again = [row for row in office.messages("yellow") if row.step not in (clock,) and row.step < 0]
    assert len(again) == len(first)
    office.later(hours=1).work()
    assert len([row for row in office.messages("yellow") if row.step < 0]) == len(again)


@pytest.mark.parametrize(
    ("rule", "units", "approver", "reason", "sentence"),
    [
        ("H01", 11, "wang", "复杂", "1 to 10"),
        ("H01", 0, "wang", "复杂", "1 to 10"),
        ("H01", 5, "an", "复杂", "may not grant"),
        ("H01", 5, "nobody", "复杂", "no usable account"),
        ("H01", 5, "", "复杂", "no usable account"),
        ("H01", 5, "wang", " ", "needs a reason"),
        ("R03", 5, "wang", "复杂", "no clause allows"),
        ("R09", 5, "wang", "复杂", "no clock of R09 runs"),
    ],
)
def test_what_no_clause_allows_is_refused_and_changes_nothing(
    db: Database,
    tmp_path: Path,
    post: Posts,
    rule: str,
    units: int,
    approver: str,
    reason: str,
    sentence: str,
) -> None:
    office = office_with(db, tmp_path, "hotline")
    office.detect(post, source="desk").do(Confirm()).do(Assign("education")).work()
    before = office.deadlines()
    with pytest.raises(Refused, match=sentence):
        extend(office, rule, units, approver, reason)
    assert office.deadlines() == before
    assert office.history("clock_extended") == []


def test_only_once_and_by_whom_the_clause_names(db: Database, tmp_path: Path, post: Posts) -> None:
    office = office_with(db, tmp_path, "business_hotline")
    office.detect(post, source="desk").do(Confirm()).do(Assign("education")).work()
    with pytest.raises(Refused, match="H06 names leader"):
        extend(office, "H06", 3, "du")
    extend(office, "H06", 3)
    with pytest.raises(Refused, match="extended once already"):
        extend(office, "H06", 3)


def test_an_extension_after_the_end_must_be_explained_and_annuls_the_miss_openly(
    db: Database, tmp_path: Path, post: Posts
) -> None:
    office = office_with(db, tmp_path, "hotline")
    office.detect(post, source="desk").do(Confirm()).do(Assign("education")).work()
    office.now = at("2026-12-02T09:00")
    office.work()
    missed = [e for e in office.history("deadline_missed") if e.payload["rule"] == "H01"]
    assert missed
    with pytest.raises(Refused, match="say why it was not extended before"):
        extend(office, "H01", 5)
    extend(office, "H01", 2, late="批准文书11月30日已签，今日补录")
    (moved,) = office.history("deadline_moved")
    assert moved.payload["annuls"] == f"{office.incident_id}:missed:{office.deadlines()['H01'].id}"
    assert moved.payload["late"]
    office.now = at("2026-12-04T09:00")
    office.work()
    again = [e for e in office.history("deadline_missed") if e.payload["rule"] == "H01"]
    assert [e.occurred_at for e in again] == [at("2026-12-02T00:00"), at("2026-12-04T00:00")]
    with office.db.reading() as session:
        assert list(rebuild.differences(session)) == []


def test_a_petition_is_extended_in_days_and_its_last_day_moves_off_a_holiday(
    db: Database, tmp_path: Path, post: Posts
) -> None:
    office = office_with(db, tmp_path, "petition")
    office.now = at("2026-07-03T10:00")
    office.detect(post, source="desk").do(Confirm()).do(Assign("education")).work()
    assert office.deadlines()["R08"].due_at == at("2026-09-02T00:00")  # 60 days: 1 September
    extend(office, "R08", 30)  # 90 days: 1 October, a holiday; the first day after it is 8 October
    assert office.deadlines()["R08"].due_at == at("2026-10-09T00:00")


# --- a date told to the caller -----------------------------------------------------------------------------------


def test_telling_the_caller_ends_the_time_to_answer_and_starts_the_promise(
    db: Database, tmp_path: Path, post: Posts
) -> None:
    office = office_with(db, tmp_path, "hotline")
    office.detect(post, source="desk").do(Confirm()).do(Assign("education")).work()
    office.later(days=2)
    with office.db.transaction() as session:
        extensions.tell_caller(
            desk(office, session), office.incident_id, "H03", until=date(2026, 12, 20), url="电话记录77",
            measures="管网改造12月中旬完工", actor="lin", channel="console",
        )  # fmt: skip
    office.work()
    found = office.deadlines()
    assert (found["H01"].state, found["H03"].state) == ("met", "open")
    assert found["H03"].due_at == at("2026-12-21T00:00")
    with office.db.transaction() as session, pytest.raises(Refused, match="told a date"):
        extensions.tell_caller(
            desk(office, session), office.incident_id, "H03", until=date(2027, 2, 1), url="x",
            measures="再等等", actor="lin", channel="console",
        )  # fmt: skip
    with pytest.raises(Refused, match="no clause allows"):
        extend(office, "H03", 5)
    office.do(Respond("http://gov.example/1")).do(Evaluate(80)).do(Close()).work()
    assert office.deadlines()["H03"].state == "met"
    with office.db.reading() as session:
        assert list(rebuild.differences(session)) == []


# --- a notice that changes known days ----------------------------------------------------------------------------


def test_a_notice_in_mid_year_moves_only_the_clocks_it_touches(
    db: Database, tmp_path: Path, post: Posts
) -> None:
    office = office_with(db, tmp_path, "hotline")
    office.detect(post, source="desk").do(Confirm()).do(Assign("education")).work()
    before = office.deadlines()
    # a day off on Friday 27 November, as in 2020-01 and 2019-03
    (tmp_path / "calendar.yaml").write_text(
        "overrides: [{day: 2026-11-27, working: false, reason: 市政府通知放假一天}]"
    )
    office.work()
    after = office.deadlines()
    assert after["R03"] == before["R03"]  # hours do not stop
    assert after["H04"] == before["H04"]  # its two days lie before: nothing but the version would change
    assert after["H01"].due_at == at("2026-12-03T00:00")
    moved = office.history("deadline_moved")
    assert {event.payload["rule"] for event in moved} == {"H01"}
    count = len(moved)
    office.work()
    office.later(minutes=5).work()
    assert len(office.history("deadline_moved")) == count
    with office.db.reading() as session:
        assert list(rebuild.differences(session)) == []


def test_a_notice_takes_back_a_miss_only_by_an_event_that_says_so(
    db: Database, tmp_path: Path, post: Posts
) -> None:
    office = office_with(db, tmp_path, "hotline")
    office.detect(post, source="desk").do(Confirm()).do(Assign("education")).work()
    office.now = at("2026-12-02T00:10")
    office.work()
    (missed,) = [e for e in office.history("deadline_missed") if e.payload["rule"] == "H01"]
    (tmp_path / "calendar.yaml").write_text(
        "overrides: [{day: 2026-12-01, working: false, reason: 暴雪停工}]"
    )
    office.work()
    (moved,) = [e for e in office.history("deadline_moved") if e.payload["rule"] == "H01"]
    assert moved.payload["annuls"] == f"{office.incident_id}:missed:{office.deadlines()['H01'].id}"
    assert missed.occurred_at == at("2026-12-02T00:00")
    assert office.deadlines()["H01"].overdue_noticed_at is None
    office.now = at("2026-12-03T00:10")
    office.work()
    assert [e.occurred_at for e in office.history("deadline_missed") if e.payload["rule"] == "H01"] == [
        at("2026-12-02T00:00"),
        at("2026-12-03T00:00"),
    ]


@pytest.mark.parametrize(("step", "moves"), [(1, 100), (500, 1)])
def test_more_clocks_than_one_step_are_all_counted_again_one_step_a_tick(
    db: Database, tmp_path: Path, post: Posts, monkeypatch: pytest.MonkeyPatch, step: int, moves: int
) -> None:
    monkeypatch.setattr("alerts.recount.STEP", step)
    monkeypatch.setattr("alerts.recount.MOVES", moves)
    office = office_with(db, tmp_path, "hotline")
    office.detect(post, source="desk").do(Confirm()).do(Assign("education")).work()
    (tmp_path / "calendar.yaml").write_text("overrides: [{day: 2026-11-25, working: false, reason: 停工}]")
    office.tick()
    assert len(office.history("deadline_moved")) <= 1  # a change of the calendar keeps no page waiting
    for _ in range(200 if step == 1 else 3):
        office.tick()
    assert sorted(event.payload["rule"] for event in office.history("deadline_moved")) == ["H01", "H04"]


def test_first_post_and_detection_both_stand_in_the_record(office: Office, post: Posts) -> None:
    office.detect(post).work()
    (opened,) = office.history("deadline_opened")
    with office.db.reading() as session:
        incident = queries.get_incident(session, office.incident_id)
    assert incident is not None
    assert opened.payload["first_posted_at"] == incident.first_posted_at.isoformat()
    assert opened.payload["started_at"] == (incident.detected_at or T0 + timedelta(1)).isoformat()
