"""Clocks, messages and their sending in one database, whatever breaks on the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from alerts import facts, health, job
from alerts.message import Facts
from alerts.resolver import deadline_json
from config.bundle import Bundle
from config.tokens import verify_ack
from demo.fake_slack import FakeSlack
from incidents import clocks, events, outbox
from incidents.posts import NewPost
from incidents.queries import IncidentView
from incidents.session import Database, Session
from incidents.states import (
    Acknowledge,
    AskAgain,
    Assign,
    Close,
    Confirm,
    Evaluate,
    FalseAlarm,
    HoldPress,
    Inform,
    Merge,
    Refused,
    Reopen,
    Respond,
    Restore,
    Return,
    SetLevel,
    SignFor,
    Unmerge,
)
from tests.alert_office import KEYS, T0, Office, bundle_for
from tests.fakes.mail import FakeMailServer

Posts = Callable[..., NewPost]


@pytest.fixture
def office(db: Database, tmp_path: Path) -> Office:
    return Office(db, bundle_for(tmp_path))


@pytest.fixture
def wired(db: Database, tmp_path: Path, slack: FakeSlack, mail: FakeMailServer) -> Office:
    return Office(db, bundle_for(tmp_path, slack=slack.base_url, mail_port=mail.port))


# --- clocks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "rules"),
    [
        ("general", {"R03": 48}),
        ("serious", {"R03": 48}),
        ("major", {"R01": 5, "R02": 24}),
        ("critical", {"R01": 5, "R02": 24}),
    ],
)
def test_the_grade_decides_which_clocks_run(
    office: Office, post: Posts, level: str, rules: dict[str, int]
) -> None:
    office.detect(post, level=level).work()
    assert {rule: clock.due_at - T0 for rule, clock in office.deadlines().items()} == {
        rule: timedelta(hours=hours) for rule, hours in rules.items()
    }


def test_a_hotline_matter_gets_its_working_days_when_it_is_handed_over(office: Office, post: Posts) -> None:
    office.detect(post, source="12345").work()
    assert set(office.deadlines()) == {"R03"}
    office.later(hours=1).do(Confirm()).do(Assign("market-regulation")).work()
    running = office.deadlines()
    assert set(running) == {"R03", "H01", "H04"}
    assert running["H01"].due_at == datetime.fromisoformat("2026-12-02T00:00+08:00")
    office.do(SignFor("张")).work()
    assert office.deadlines()["H04"].state == "cancelled"
    assert office.deadlines()["H01"].state == "open"


def test_an_answer_in_time_meets_its_clocks_and_a_late_one_misses_them(office: Office, post: Posts) -> None:
    office.detect(post, level="major").work()
    office.later(hours=6).do(Confirm()).do(Assign("education")).do(Respond("http://gov.example/1")).work()
    assert {rule: clock.state for rule, clock in office.deadlines().items()} == {
        "R01": "missed",
        "R02": "open",  # an answer is no press conference
    }
    office.later(hours=2).do(HoldPress("http://gov.example/press")).work()
    assert office.deadlines()["R02"].state == "met"
    assert office.history("deadline_missed")[0].occurred_at == T0 + timedelta(hours=5)


def test_authoritative_information_stops_the_five_hours_and_nothing_else(office: Office, post: Posts) -> None:
    office.detect(post, level="critical").work()
    office.later(hours=3).do(Inform("http://gov.example/notice")).work()
    assert {rule: clock.state for rule, clock in office.deadlines().items()} == {"R01": "met", "R02": "open"}
    assert office.incident.state == "detected"


def test_who_acknowledged_and_did_nothing_is_asked_again_in_a_new_epoch(office: Office, post: Posts) -> None:
    office.detect(post).work()
    with pytest.raises(Refused, match="nobody has acknowledged"):
        office.do(AskAgain("无人确认"), actor="system", channel="system")
    office.do(Acknowledge(epoch=1)).work()
    office.later(hours=2).do(AskAgain("确认后120分钟无进展"), actor="system", channel="system").work()
    assert office.incident.epoch == 2
    assert [row.step for row in office.messages("page", "sent") if row.epoch == 2] == [1]


def test_a_clock_that_runs_out_is_noticed_once_with_its_true_time(office: Office, post: Posts) -> None:
    office.detect(post).work()
    office.later(hours=50)
    assert office.work().overdue == 1
    assert office.work().overdue == 0
    missed = office.history("deadline_missed")
    assert len(missed) == 1
    assert missed[0].occurred_at == T0 + timedelta(hours=48)
    assert missed[0].recorded_at == T0 + timedelta(hours=50)
    assert office.deadlines()["R03"].overdue_noticed_at == office.now


def test_an_answer_published_in_time_but_entered_late_annuls_the_overdue_event(
    office: Office, post: Posts
) -> None:
    office.detect(post).work()
    office.later(hours=49).work()
    office.do(Confirm()).do(Assign("education"))
    office.do(Respond("http://gov.example/1", published_at=T0 + timedelta(hours=47))).work()
    assert office.deadlines()["R03"].state == "met"
    assert "annuls" in office.history("deadline_met")[0].payload


def test_half_time_yellow_and_red_come_once_each_and_go_to_those_in_charge(
    office: Office, post: Posts
) -> None:
    office.detect(post, level="major").work()
    office.do(Acknowledge(epoch=1)).work()
    for _ in range(12):
        office.later(minutes=30).work()
    kinds = [row.kind for row in office.messages() if row.kind in ("remind", "yellow", "red")]
    assert kinds == ["remind", "yellow", "red", "red"]
    # 20:10 by then: the night shift and the leader
    assert {row.recipient for row in office.messages("red")} == {"he@jinan.example", "zhou@jinan.example"}
    assert "已超时" in office.messages("red")[0].message["subject"]


def test_a_reminder_whose_time_has_passed_is_skipped_for_the_stronger_word(
    office: Office, post: Posts
) -> None:
    office.detect(post, level="major").work()
    office.do(Acknowledge(epoch=1)).work()
    office.later(hours=4, minutes=10).work()
    assert [row.kind for row in office.messages() if row.kind in ("remind", "yellow", "red")] == ["yellow"]


def test_cards_of_day_clocks_wait_for_the_office_to_open(office: Office, post: Posts) -> None:
    office.detect(post, source="12345").work()
    office.do(Confirm()).do(Assign("education")).do(SignFor()).work()
    hotline = office.deadlines()["H01"]  # ends Tuesday 1 December, 24:00
    sent: list[datetime] = []
    while office.now < hotline.due_at + timedelta(days=1):
        office.later(hours=2).work()
        sent += [
            row.created_at
            for row in office.messages()
            if row.kind in ("yellow", "red") and row.step == hotline.id and row.created_at == office.now
        ]
    local = sorted({moment.astimezone(ZoneInfo("Asia/Shanghai")).isoformat()[:16] for moment in sent})
    assert local == ["2026-12-01T09:10", "2026-12-02T09:10"]


def test_a_false_alarm_cancels_and_a_restoration_resumes_from_the_old_start(
    office: Office, post: Posts
) -> None:
    office.detect(post).work()
    office.later(hours=1).do(FalseAlarm("no_issue")).work()
    assert office.deadlines()["R03"].state == "cancelled"
    office.later(hours=1).do(Restore("核实后属实")).work()
    clock = office.deadlines()["R03"]
    assert (clock.state, clock.due_at) == ("open", T0 + timedelta(hours=48))


def test_a_merge_leaves_the_parent_with_the_earlier_end_and_an_unmerge_resumes(
    office: Office, post: Posts
) -> None:
    office.detect(post).work()
    first = office.incident_id
    office.later(hours=3).detect(post).work()
    second = office.incident_id
    office.incident_id = first
    office.do(Merge(second)).work()
    assert office.deadlines()["R03"].state == "cancelled"
    office.incident_id = second
    assert office.deadlines()["R03"].due_at == T0 + timedelta(hours=48)
    moved = office.history("deadline_moved")[0].payload
    assert moved["old_due_at"] == (T0 + timedelta(hours=51)).isoformat()
    office.incident_id = first
    office.do(Unmerge()).work()
    assert office.deadlines()["R03"].state == "open"


def test_a_higher_grade_adds_the_stricter_clocks_from_the_detection_and_tells_the_leader(
    office: Office, post: Posts
) -> None:
    office.detect(post).work()
    office.later(hours=1).do(SetLevel("major")).work()
    assert office.deadlines()["R01"].due_at == T0 + timedelta(hours=5)
    assert office.deadlines()["R03"].state == "open"
    assert "zhou@jinan.example" in {row.recipient for row in office.messages("update")}
    office.do(SetLevel("general", "核实后无伤情")).work()
    assert office.deadlines()["R01"].state == "cancelled"
    assert office.deadlines()["R03"].state == "open"


def test_a_reopened_incident_gets_clocks_of_its_new_round(office: Office, post: Posts) -> None:
    office.detect(post).work()
    office.do(Confirm()).do(Assign("education")).do(Respond("http://gov.example/1")).do(Evaluate(80)).do(
        Close()
    ).work()
    office.later(days=2).do(Reopen("再次发生")).work()
    assert [(c.round, c.due_at) for c in office.deadlines().values()] == [
        (2, office.now + timedelta(hours=48))
    ]


def test_after_an_outage_each_round_keeps_its_own_clocks(office: Office, post: Posts) -> None:
    office.detect(post)
    office.do(Confirm()).do(Assign("education")).do(Respond("http://gov.example/1")).do(Evaluate(80)).do(
        Close()
    )
    office.later(hours=1).do(Reopen("再次发生")).work()  # all of it in one tick
    with office.db.reading() as session:
        found = [(c.round, c.state) for c in clocks.deadlines_of(session, office.incident_id)]
    assert sorted(found) == [(1, "met"), (2, "open")]


def test_a_new_holiday_notice_recounts_provisional_clocks_and_keeps_the_old_end(
    db: Database, tmp_path: Path, post: Posts
) -> None:
    office = Office(db, bundle_for(tmp_path), now=datetime.fromisoformat("2026-12-28T10:00+08:00"))
    office.detect(post, source="12345").work()
    office.do(Confirm()).do(Assign("education")).work()
    before = office.deadlines()["H01"]
    assert before.provisional
    (tmp_path / "calendar.yaml").write_text(
        "notices: [{year: 2027, title: 通知, rest: {2027-01-01: 元旦, 2027-01-02: 元旦, 2027-01-03: 元旦}, work: [2026-12-27]}]"
    )
    office.work()
    after = office.deadlines()["H01"]
    assert not after.provisional
    assert after.due_at == before.due_at  # the notice confirms what was assumed
    (moved,) = [e.payload for e in office.history("deadline_moved") if e.payload["rule"] == "H01"]
    assert moved["old_due_at"] == before.due_at.isoformat()
    assert set(office.deadlines()) == {"R03", "H01", "H04"}
    assert {e.payload["rule"] for e in office.history("deadline_moved")} == {
        "H01",
        "H04",
    }  # hours do not move


# --- one transaction, idempotent ---------------------------------------------------------------------------------


def test_running_a_tick_again_changes_nothing(office: Office, post: Posts) -> None:
    office.detect(post, level="critical")
    assert office.tick().rungs == 1
    with office.db.reading() as session:
        before = events.count(session), len(outbox.latest(session))
    for _ in range(3):
        again = office.tick()
        assert again == job.TickSummary()
    with office.db.reading() as session:
        assert (events.count(session), len(outbox.latest(session))) == before


def test_a_tick_that_dies_leaves_nothing_half_done(
    office: Office, post: Posts, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.detect(post)

    def die(*_: object) -> None:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr("alerts.job.obligations.work", die)
        with pytest.raises(RuntimeError):
            office.tick()
    assert office.deadlines() == {}
    assert office.messages() == []
    assert list(office.kinds()) == ["detected"]
    office.work()
    assert list(office.kinds()) == [
        "detected",
        "deadline_opened",
        "ladder_started",
        "rung_fired",
        "page_sent",
    ]


def test_one_event_that_cannot_be_worked_off_keeps_no_other_from_it_and_is_reported(
    office: Office, post: Posts, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.detect(post)
    first = office.incident_id
    office.detect(post)
    real = facts.facts_of

    def broken(session: Session, bundle: Bundle, incident: IncidentView) -> Facts:
        if incident.id == first:
            raise KeyError("a rule that is gone")
        return real(session, bundle, incident)

    monkeypatch.setattr(facts, "facts_of", broken)
    office.work()
    assert office.paged("sent") == [(1, "lin@jinan.example")]
    found = {finding.check: finding for finding in health.health(office.db, office.bundle, office.now)}
    assert found["alerts.failed"].level == "error"
    assert "a rule that is gone" in found["alerts.failed"].text
    office.incident_id = first
    assert office.deadlines() == {}  # nothing half done either


def test_many_events_are_worked_off_in_portions(office: Office, post: Posts) -> None:
    for _ in range(60):
        office.detect(post)
    assert office.tick().rungs == 60


def test_the_whole_way_works_on_both_databases(any_db: Database, tmp_path: Path, post: Posts) -> None:
    office = Office(any_db, bundle_for(tmp_path)).detect(post, source="12345")
    office.work()
    office.later(minutes=15).work()
    office.do(Acknowledge(epoch=1), actor="he").do(Confirm()).do(Assign("education")).work()
    office.later(hours=60).work()
    with pytest.raises(Refused, match="the time for sending it back ended"):
        office.do(Return("不属于本单位职责"))
    office.do(Return("不属于本单位职责", late_approved_by="督查室李")).work()
    office.do(Assign("civil-affairs")).do(Respond("http://gov.example/1")).do(Evaluate(50)).do(Close()).work()
    assert office.incident.state == "closed"
    assert {clock.state for clock in office.deadlines().values()} <= {"met", "missed", "cancelled"}
    with any_db.reading() as session:
        assert events.verify(session, any_db.audit_key).ok


# --- messages out --------------------------------------------------------------------------------------------------


def test_a_page_goes_to_slack_and_mail_with_a_link_that_only_names_its_reader(
    wired: Office, post: Posts, slack: FakeSlack, mail: FakeMailServer
) -> None:
    wired.detect(post, level="major").work()
    assert len(slack.messages) == 1
    assert mail.recipients == ["lin@jinan.example"]
    body = mail.received[0].get_body(("plain",))
    assert body is not None
    text = body.get_content()
    token = text.split("https://desk.jinan.example/a/")[1].split()[0]
    claim = verify_ack(KEYS.links, token, T0)
    assert (claim.incident_id, claim.epoch, claim.step, claim.person) == (wired.incident_id, 1, 1, "lin")
    assert wired.incident.alerted_at == T0


def test_escalations_are_replies_in_the_thread_and_the_root_shows_who_acknowledged(
    wired: Office, post: Posts, slack: FakeSlack
) -> None:
    wired.detect(post).work()
    wired.later(minutes=15).work()
    root, reply = slack.messages
    assert reply["thread_ts"] == root["ts"]
    assert reply["reply_broadcast"] is True
    wired.do(Acknowledge(epoch=1, step=2), actor="he", channel="link").work()
    assert "已确认收到" in slack.messages[0]["text"]
    assert "何南" in slack.messages[-1]["text"]
    assert slack.messages[-1]["thread_ts"] == root["ts"]


def test_the_thread_keeps_the_order_of_events_and_the_root_shows_the_latest(
    wired: Office, post: Posts, slack: FakeSlack
) -> None:
    wired.detect(post).work()
    wired.do(Acknowledge(epoch=1)).do(Confirm()).do(Assign("education")).do(SignFor()).work()
    said = [message["text"].partition(":")[0] for message in slack.messages[1:]]
    assert said == ["已确认收到", "属实", "交办", "签收"]
    assert "签收" in slack.messages[0]["text"]
    assert slack.edits == 1


def test_those_who_were_woken_too_learn_that_it_is_taken_care_of(
    wired: Office, post: Posts, mail: FakeMailServer
) -> None:
    wired.detect(post).work()
    wired.later(minutes=15).work()
    wired.do(Acknowledge(epoch=1, step=2), actor="he").work()
    assert mail.recipients == ["lin@jinan.example", "he@jinan.example", "lin@jinan.example"]


def test_a_lost_answer_of_slack_never_makes_a_second_message(
    wired: Office, post: Posts, slack: FakeSlack
) -> None:
    slack.moods.extend(["drop_after_accept"] * 1)
    wired.detect(post).work()
    assert [row.state for row in wired.messages("page") if row.channel == "slack"] == ["pending"]
    wired.later(seconds=20).work()
    assert len(slack.messages) == 1
    assert [row.state for row in wired.messages("page") if row.channel == "slack"] == ["sent"]


def test_a_mail_that_may_have_arrived_is_repeated_once_and_says_so(
    wired: Office, post: Posts, mail: FakeMailServer
) -> None:
    mail.drop_after_accept = 1
    wired.detect(post).work()
    wired.later(seconds=20).work()
    wired.later(minutes=5).work()
    subjects = [str(received["Subject"]) for received in mail.received]
    assert len(subjects) == 2
    assert not subjects[0].startswith("【补发")
    assert subjects[1].startswith("【补发·第2次】")
    assert len({received["Message-ID"] for received in mail.received}) == 1


def test_a_crash_after_sending_is_cleared_up_by_looking(wired: Office, post: Posts, slack: FakeSlack) -> None:
    wired.detect(post).tick()
    with wired.db.transaction() as session:
        outbox.claim(session, wired.now, lease_s=60, channels=["slack"])  # claimed, sent, then killed
    row = next(row for row in wired.messages("page") if row.channel == "slack")
    slack.answer(
        "chat.postMessage",
        {"channel": row.recipient, "text": "x", "metadata": {"event_payload": {"outbox_id": row.id}}},
        slack.token,
    )
    wired.later(minutes=2).send()
    assert len(slack.messages) == 1
    assert outbox_state(wired, row.id) == "sent"


def test_a_doubtful_page_is_looked_for_where_it_was_sent_although_the_thread_began_meanwhile(
    wired: Office, post: Posts, slack: FakeSlack
) -> None:
    slack.moods.extend(["drop_after_accept"])
    wired.detect(post).tick()
    wired.send()  # the first page is there, its answer is lost
    with wired.db.transaction() as session:
        outbox.enqueue(
            session,
            id="00000000-0000-5000-8000-000000000001",
            incident_id=wired.incident.id,
            kind="update",
            recipient="C0QUANSHENG",
            channel="slack",
            priority=0,
            message={"text": "x", "blocks": []},
            now=wired.now,
        )
    wired.send()  # this one begins a thread, for nothing is known to be there
    wired.later(seconds=20).work()
    assert len(slack.messages) == 2
    assert {row.state for row in wired.messages("page") if row.channel == "slack"} == {"sent"}


def outbox_state(office: Office, row_id: str) -> str:
    with office.db.reading() as session:
        row = outbox.get(session, row_id)
    assert row is not None
    return row.state


def test_retry_after_is_obeyed_for_the_whole_channel(wired: Office, post: Posts, slack: FakeSlack) -> None:
    slack.retry_after_s = 30
    slack.moods.append("rate_limited")
    wired.detect(post).detect(post).work()
    assert len([call for call in slack.calls if call[0] == "chat.postMessage"]) == 1
    wired.later(seconds=29).send()
    assert slack.messages == []
    wired.later(seconds=1).send()
    assert len(slack.messages) == 2


def test_a_refused_mail_goes_on_to_slack_or_else_to_the_next_rung(
    db: Database, tmp_path: Path, post: Posts, slack: FakeSlack, mail: FakeMailServer
) -> None:
    only_mail = "routes: [{name: 邮件, channels: [email], ladder: [primary, secondary, leader]}]"
    mail.refuse.add("lin@jinan.example")
    office = Office(
        db, bundle_for(tmp_path, slack=slack.base_url, mail_port=mail.port, routes=only_mail)
    ).detect(post)
    office.work()
    assert office.history("page_refused")[0].payload["channel"] == "email"
    assert office.send().sent == 0
    assert len(slack.messages) == 1  # the same page through another channel, in the same minute
    assert [event.payload["channel"] for event in office.history("page_sent")] == ["slack"]


def test_when_every_channel_refuses_the_next_rung_is_asked_at_once(
    db: Database, tmp_path: Path, post: Posts, mail: FakeMailServer
) -> None:
    mail.refuse.add("lin@jinan.example")
    office = Office(db, bundle_for(tmp_path, mail_port=mail.port)).detect(post)
    office.work()
    assert mail.recipients == ["he@jinan.example"]
    assert [e.payload["cause"] for e in office.history("rung_fired")] == ["new", "unreachable"]
    assert len(list((tmp_path / "var" / "outbox").glob("*.eml"))) == 1  # what was refused is kept


def test_without_channels_pages_lie_in_the_folder_and_doctor_says_so(
    office: Office, post: Posts, tmp_path: Path
) -> None:
    office.detect(post).work()
    assert len(list((tmp_path / "var" / "outbox").glob("*.eml"))) == 1
    found = {finding.check: finding for finding in health.health(office.db, office.bundle, office.now)}
    assert found["channels"].level == "warning"
    assert found["channel.folder"].level == "ok"


def test_an_assignment_reaches_the_department_or_the_officer_is_told_to(office: Office, post: Posts) -> None:
    office.detect(post).work()
    office.do(Confirm()).do(Assign("market-regulation")).work()
    rows = office.messages("assignment")
    assert [row.recipient for row in rows] == ["lin@jinan.example"]
    assert "没有配置邮箱" in rows[0].message["text"]


# --- heartbeat and health -----------------------------------------------------------------------------------------


def test_the_heartbeat_comes_exactly_once_a_day(db: Database, tmp_path: Path) -> None:
    office = Office(
        db, bundle_for(tmp_path, heartbeat_at="08:30"), now=datetime.fromisoformat("2026-11-24T08:00+08:00")
    )
    beats = []
    for _ in range(3 * 24):
        beats.append((office.now, office.tick().heartbeat))
        office.send()
        office.later(minutes=60)
    assert [moment.hour for moment, beaten in beats if beaten] == [9, 9, 9]
    with db.reading() as session:
        rows = [row for row in outbox.latest(session) if row.kind == "heartbeat"]
    assert len(rows) == 3
    assert "系统正常" in rows[0].message["subject"]


def test_a_heartbeat_with_a_backlog_does_not_say_that_all_is_well(
    db: Database, tmp_path: Path, post: Posts
) -> None:
    office = Office(db, bundle_for(tmp_path, heartbeat_at="15:30")).detect(post)
    office.tick()
    office.later(minutes=30).tick()
    with db.reading() as session:
        row = next(row for row in outbox.latest(session) if row.kind == "heartbeat")
    assert "需处理" in row.message["subject"]


def test_health_finds_roster_gaps_a_revoked_token_and_a_sleeping_sender(
    db: Database, tmp_path: Path, slack: FakeSlack
) -> None:
    slack.token = "xoxb-another"
    gap = 'fallback: a\npeople: [{id: a, name: 甲, email: a@jinan.example}]\nweekly: [{days: [mon], from: "08:00", until: "20:00", primary: a}]'
    office = Office(db, bundle_for(tmp_path, slack=slack.base_url, roster=gap))
    office.work()
    office.later(hours=1)
    found = {finding.check: finding for finding in health.health(db, office.bundle, office.now)}
    assert found["channel.slack"].level == "error"
    assert found["roster"].level == "warning"
    assert found["lag.alerts.tick"].level == "error"
    assert found["calendar"].level == "warning"  # 60 days on lies in 2027


def test_the_command_prints_what_the_clock_computes(office: Office) -> None:
    start = datetime.fromisoformat("2026-09-30T10:00+08:00")
    answer = deadline_json("H01", start, office.bundle)
    assert answer["rule"] == "H01"
    assert answer["due_at"] == "2026-10-14T00:00:00+08:00"
    assert answer["provisional"] is False
    assert len(answer["trace"]) == 7
    with pytest.raises(KeyError):
        deadline_json("X99", start, office.bundle)
