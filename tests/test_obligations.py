"""The register of the notice's duties: opened ahead, reminded of, overdue with the true time, met with evidence."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from alerts import obligations as duties
from alerts.calendar import load_calendar
from alerts.desk import Desk
from config.departments import Contact, Departments
from incidents import events, obligations, outbox, rebuild
from incidents.models import IncidentEvent
from incidents.session import Database, Session
from incidents.states import Refused
from tests.alert_office import KEYS, Office, bundle_for


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+08:00")


@pytest.fixture
def office(db: Database, tmp_path: Path) -> Office:
    """An office whose units all have an address."""
    bundle = bundle_for(tmp_path)
    reached = tuple(
        unit.model_copy(update={"contact": Contact(email=f"{unit.id}@units.example.invalid")})
        for unit in bundle.departments.departments
    )
    departments = Departments(**{**dict(bundle.departments), "departments": reached})
    return Office(db, replace(bundle, departments=departments), now=at("2026-11-20T10:00"))


def desk(office: Office, session: Session) -> Desk:
    settings = office.bundle.settings
    calendar = load_calendar(settings.config_dir, settings.city.timezone)
    return Desk(session, office.bundle, KEYS, calendar, office.now)


def rows(office: Office, **wanted: object) -> list[obligations.ObligationView]:
    with office.db.reading() as session:
        return obligations.listed(session, office.now, limit=5000, **wanted)  # type: ignore[arg-type]


def record(office: Office, kind: str) -> list[IncidentEvent]:
    with office.db.reading() as session:
        return [event for event in events.all_events(session) if event.kind == kind]


def sent_to_units(office: Office) -> list[outbox.OutboxRow]:
    with office.db.reading() as session:
        return [row for row in outbox.latest(session, 5000) if row.kind == duties.KIND]


def test_every_recurring_duty_of_the_notice_is_opened_for_its_running_period(office: Office) -> None:
    office.tick()
    found = {(row.rule_id, row.period) for row in rows(office)}
    monthly = {(rule, "2026-11") for rule in ("S04", "S06", "S07", "S16", "S17", "S19", "H09")}
    quarterly = {(rule, "2026-Q4") for rule in ("S08", "S09", "S11", "S12", "S36")}
    yearly = {("S15", "2026"), ("S31", "2026#1"), ("S31", "2026#2"), ("S35", "2026#1")}
    assert found == monthly | quarterly | yearly
    # days of 2018 have passed: they are no duties of today
    assert not {row.rule_id for row in rows(office)} & {"S30", "S32", "S33", "S34"}


def test_units_of_2018_are_departments_of_today_and_all_districts(office: Office) -> None:
    office.tick()
    districts = {d.id for d in office.bundle.departments.departments if d.kind == "district"}
    assert len(districts) == 12
    assert {row.unit for row in rows(office, rule_id="S04")} == districts | {"health-commission"}
    assert {row.unit for row in rows(office, rule_id="S09")} == {"housing-fund"}
    assert all(not duties.units_of(office.bundle, rule)[1] for rule in office.bundle.rules.rules())


@pytest.mark.parametrize(
    ("rule", "day", "period", "last"),
    [
        ("S04", "2026-02-10", "2026-02", "2026-02-28"),
        ("S04", "2028-02-10", "2028-02", "2028-02-29"),
        ("S04", "2026-12-31", "2026-12", "2026-12-31"),
        ("S08", "2026-05-01", "2026-Q2", "2026-06-30"),
        ("S08", "2026-12-01", "2026-Q4", "2026-12-31"),
        ("S15", "2026-12-01", "2026", "2026-12-31"),
    ],
)
def test_periods_end_on_their_last_day(office: Office, rule: str, day: str, period: str, last: str) -> None:
    (found,) = duties.periods(office.bundle.rules.rule(rule), date.fromisoformat(day))
    assert (found.name, found.last) == (period, date.fromisoformat(last))


def test_dated_duties_of_2018_were_opened_in_2018_only(office: Office) -> None:
    (then,) = duties.periods(office.bundle.rules.rule("S30"), date(2018, 11, 1))
    assert then.last == date(2018, 12, 31)
    assert duties.periods(office.bundle.rules.rule("S30"), date(2019, 1, 1)) == []


def test_a_tick_again_opens_nothing_and_the_next_month_opens_its_own(office: Office) -> None:
    office.tick()
    first, told = len(rows(office)), len(record(office, "obligation_opened"))
    office.tick()
    office.later(hours=30).tick()
    assert (len(rows(office)), len(record(office, "obligation_opened"))) == (first, told)
    office.now = at("2026-12-01T00:00")
    office.tick()
    new = [row for row in rows(office) if row.period == "2026-12"]
    assert {row.rule_id for row in new} == {"S04", "S06", "S07", "S16", "S17", "S19", "H09"}
    assert all(row.due_at == at("2027-01-01T00:00") for row in new)


def test_what_runs_out_is_overdue_from_its_true_end_though_noticed_later(office: Office) -> None:
    office.tick()
    office.now = at("2026-12-03T07:00")  # the engine was off for days
    office.tick()
    missed = record(office, "obligation_missed")
    assert len(missed) == len([row for row in rows(office) if row.period == "2026-11"])
    assert {event.occurred_at for event in missed} == {at("2026-12-01T00:00")}
    assert {event.payload["noticed_at"] for event in missed} == {office.now.isoformat()}
    assert all(row.overdue(office.now) for row in rows(office, state="overdue"))
    # the oldest end on top
    assert rows(office)[0].due_at == min(row.due_at for row in rows(office))


def test_evidence_meets_a_duty_in_time_or_late_and_annuls_a_miss(office: Office) -> None:
    office.tick()
    one, two, three = rows(office, rule_id="S04")[:3]
    with office.db.transaction() as session:
        for wrong in ("", "  "):
            with pytest.raises(Refused, match="evidence"):
                obligations.meet(session, one.id, evidence=wrong, met_at=office.now, actor="lin", channel="cli", now=office.now)  # fmt: skip
        with pytest.raises(Refused, match="future"):
            obligations.meet(session, one.id, evidence="x", met_at=office.now + timedelta(1), actor="lin", channel="cli", now=office.now)  # fmt: skip
        obligations.meet(session, one.id, evidence="https://gov.example/1", met_at=office.now, actor="lin", channel="cli", now=office.now)  # fmt: skip
        with pytest.raises(Refused, match="met already"):
            obligations.meet(session, one.id, evidence="https://gov.example/1", met_at=office.now, actor="lin", channel="cli", now=office.now)  # fmt: skip
    office.now = at("2026-12-02T09:00")
    office.tick()
    with office.db.transaction() as session:
        late = obligations.meet(session, two.id, evidence="济字1号", met_at=office.now, actor="lin", channel="cli", now=office.now)  # fmt: skip
        told = obligations.meet(session, three.id, evidence="济字2号", met_at=at("2026-11-30T23:59"), actor="lin", channel="cli", now=office.now)  # fmt: skip
    assert (late.state, told.state) == ("late", "met")
    met = [event.payload for event in record(office, "obligation_met")]
    assert [("annuls" in payload) for payload in met] == [False, False, True]
    with office.db.reading() as session:
        found = obligations.summary_by_unit(
            session, office.now, at("2026-11-01T00:00"), at("2026-12-02T00:00")
        )
    mine = next(one_ for one_ in found if one_.unit == two.unit)
    assert (mine.late, mine.met) == (1, 0)
    assert mine.overdue == mine.due - 1


def test_a_recall_is_due_in_24_hours_a_document_in_three_working_days(office: Office) -> None:
    office.now = at("2026-09-30T15:00")
    office.tick()
    with office.db.transaction() as session:
        recall = duties.add(desk(office, session), "S01", "市市场监督管理局", "召回2026-7号", at("2026-09-30T14:00"), actor="lin", channel="cli")  # fmt: skip
        paper = duties.add(desk(office, session), "S02", "education", "济教字9号", at("2026-09-30T09:00"), actor="lin", channel="cli")  # fmt: skip
        change = duties.add(desk(office, session), "S03", "approval", "审批3号", at("2026-09-30T09:00"), actor="lin", channel="cli")  # fmt: skip
    assert recall.due_at == at("2026-10-01T14:00")  # around the clock, holidays included
    assert paper.due_at == at("2026-10-11T00:00")  # 8, 9, 10 October; the 10th is a make-up Saturday
    assert change.due_at == at("2026-10-09T00:00")
    assert paper.calendar_version
    assert paper.trace
    told = {row.recipient for row in sent_to_units(office) if row.message["subject"].endswith("1项待办")}
    assert told >= {
        f"{unit}@units.example.invalid" for unit in ("market-regulation", "education", "approval")
    }


@pytest.mark.parametrize(
    ("rule", "unit", "trigger", "when", "sentence"),
    [
        ("S04", "health-commission", "x", "2026-11-20T09:00", "no duty that an act sets off"),
        ("S01", "education", "x", "2026-11-20T09:00", "no duty of education"),
        ("S01", "nobody", "x", "2026-11-20T09:00", "no unit"),
        ("S01", "market-regulation", " ", "2026-11-20T09:00", "name what set it off"),
        ("S01", "market-regulation", "x", "2026-11-20T11:00", "future"),
    ],
)
def test_what_cannot_be_entered_is_refused(
    office: Office, rule: str, unit: str, trigger: str, when: str, sentence: str
) -> None:
    with office.db.transaction() as session, pytest.raises(Refused, match=sentence):
        duties.add(desk(office, session), rule, unit, trigger, at(when), actor="lin", channel="cli")
    assert record(office, "obligation_opened") == []


def test_the_same_occasion_is_entered_once(office: Office) -> None:
    for n in range(2):
        with office.db.transaction() as session:
            if n:
                with pytest.raises(Refused, match="stands there"):
                    duties.add(desk(office, session), "S01", "market-regulation", "召回1号", office.now, actor="lin", channel="cli")  # fmt: skip
            else:
                duties.add(desk(office, session), "S01", "market-regulation", "召回1号", office.now, actor="lin", channel="cli")  # fmt: skip


def test_reminders_are_one_message_a_unit_on_working_mornings(office: Office) -> None:
    office.tick()
    assert sent_to_units(office) == []  # Friday 20 November: nothing ends before the next working day is over
    office.now = at("2026-11-30T08:00")
    office.tick()
    assert sent_to_units(office) == []
    office.now = at("2026-11-30T08:31")  # Monday, the last day of the month
    office.tick()
    owing = {row.unit for row in rows(office) if row.period == "2026-11"}
    first = sent_to_units(office)
    assert len(first) == len(owing)
    assert all(row.priority == 8 for row in first)
    office.later(hours=1).tick()
    assert len(sent_to_units(office)) == len(first)
    office.now = at("2026-12-01T09:00")  # overdue since midnight
    office.tick()
    again = sent_to_units(office)
    assert len(again) == 2 * len(first)
    assert all("逾期" in row.message["subject"] for row in again if row.created_at >= office.now)
    office.now = at("2026-12-02T09:00")  # said once, then weekly
    office.tick()
    assert len(sent_to_units(office)) == len(again)
    office.now = at("2026-12-05T09:00")  # Saturday
    office.tick()
    assert len(sent_to_units(office)) == len(again)
    office.now = at("2026-12-07T09:00")
    office.tick()
    assert len(sent_to_units(office)) == len(again) + len(owing)


def test_units_without_an_address_are_told_to_the_duty_officer_in_one_message(
    db: Database, tmp_path: Path
) -> None:
    office = Office(db, bundle_for(tmp_path), now=at("2026-11-30T09:00"))
    office.tick()
    (only,) = sent_to_units(office)
    assert only.recipient == "lin@jinan.example"
    assert "未配置联系方式的单位" in only.message["subject"]


def test_a_new_notice_moves_only_duties_that_it_touches_and_keeps_the_old_end(office: Office) -> None:
    office.now = at("2026-12-30T10:00")
    office.tick()
    with office.db.transaction() as session:
        duties.add(desk(office, session), "S02", "education", "济教字10号", office.now, actor="lin", channel="cli")  # fmt: skip
        duties.add(desk(office, session), "S01", "market-regulation", "召回8号", office.now, actor="lin", channel="cli")  # fmt: skip
    (before,) = rows(office, rule_id="S02")
    assert before.provisional
    assert before.due_at == at("2027-01-06T00:00")  # 31, 4 and 5 January
    (office.bundle.settings.config_dir / "calendar.yaml").write_text(
        "notices: [{year: 2027, title: 通知, rest: {2027-01-01: 元旦, 2027-01-04: 元旦}, work: [2027-01-02]}]",
        "utf-8",
    )
    office.tick()
    (after,) = rows(office, rule_id="S02")
    assert not after.provisional
    assert after.due_at == at("2027-01-06T00:00")
    (moved,) = record(office, "obligation_moved")
    assert (moved.payload["rule"], moved.payload["from"]) == ("S02", before.due_at.isoformat())
    office.tick()
    assert len(record(office, "obligation_moved")) == 1


def test_the_register_is_a_fold_of_its_events(office: Office) -> None:
    test_evidence_meets_a_duty_in_time_or_late_and_annuls_a_miss(office)
    with office.db.transaction() as session:
        (one, *_) = obligations.listed(session, office.now, state="open", limit=1)
        obligations.cancel(session, one.id, reason="不适用", actor="he", channel="console", now=office.now)
    with office.db.reading() as session:
        assert list(rebuild.differences(session)) == []


def test_the_heartbeat_tells_how_many_are_due_and_overdue(office: Office) -> None:
    office.tick()
    office.now = at("2026-12-01T09:00")
    office.tick()
    with office.db.reading() as session:
        line = duties.heartbeat_line(desk(office, session))
    over = len(rows(office, state="overdue"))
    assert line == f"公开义务：7天内到期0项，已逾期{over}项。"
