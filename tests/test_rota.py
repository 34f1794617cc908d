"""The roster in force: turns, leave, sheets, calendars, swaps, hand-overs; against a minute-by-minute count."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from icalendar import Calendar

from alerts import budget
from alerts import rota as alerts_rota
from alerts.calendar import load_calendar
from config.roster import ROLES, Roster, load_roster
from config.settings import ConfigError
from incidents import outbox, rebuild, rota
from incidents.posts import NewPost
from incidents.session import Database
from incidents.states import Refused
from tests.alert_office import ROSTER, T0, Office, bundle_for
from tests.console_world import client, submit, world

ZONE = ZoneInfo("Asia/Shanghai")
PEOPLE = """
version: v1
fallback: zhou
people:
  - {id: lin, name: 林东, email: lin@jinan.example}
  - {id: he, name: 何南, email: he@jinan.example}
  - {id: zhou, name: 周北, email: zhou@jinan.example}
"""


def roster_of(folder: Path, text: str) -> Roster:
    path = folder / "roster.yaml"
    path.write_text(PEOPLE + text, "utf-8")
    return load_roster(path).with_calendar(alerts_rota._classes_of(load_calendar(None, "Asia/Shanghai")))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


def primary(roster: Roster, text: str) -> str:
    return roster.on_duty(at(text), "primary").person.id


# --- turns, leave, kinds of days -----------------------------------------------------------------------------------


def test_turns_of_days_weeks_and_months(tmp_path: Path) -> None:
    turns = "rotations:\n  - {role: primary, people: [lin, he, zhou], since: %s, unit: %s, every: %d, from: '08:00', until: '08:00'}"
    daily = roster_of(tmp_path, turns % ("2026-11-23", "day", 1))
    assert [primary(daily, f"2026-11-{day} 12:00") for day in (23, 24, 25, 26)] == [
        "lin",
        "he",
        "zhou",
        "lin",
    ]
    assert primary(daily, "2026-11-24 07:59") == "lin", (
        "the night belongs to the day on which the shift began"
    )
    weekly = roster_of(tmp_path, turns % ("2026-11-23", "week", 2))
    assert [primary(weekly, f"2026-{day} 12:00") for day in ("11-23", "12-06", "12-07", "12-21")] == [
        "lin",
        "lin",
        "he",
        "zhou",
    ]
    monthly = roster_of(tmp_path, turns % ("2026-01-31", "month", 1))
    found = [primary(monthly, f"2026-{day} 12:00") for day in ("01-31", "02-27", "02-28", "03-30", "03-31")]
    assert found == ["lin", "lin", "he", "he", "zhou"], "the 31st is the last day of a shorter month"
    assert primary(daily, "2026-11-22 12:00") == "zhou", "before the first turn the fallback"


def test_holidays_and_make_up_days_have_their_own_lines(tmp_path: Path) -> None:
    roster = roster_of(
        tmp_path,
        """
weekly:
  - {name: 节假日, on: [holiday], from: "00:00", until: "24:00", primary: he}
  - {name: 补班, on: [makeup], from: "00:00", until: "24:00", primary: zhou}
  - {name: 平日, from: "00:00", until: "24:00", primary: lin}
""",
    )
    assert primary(roster, "2026-10-01 09:00") == "he", "National Day, a Thursday"
    assert primary(roster, "2026-10-10 09:00") == "zhou", "a Saturday on which people work"
    assert primary(roster, "2026-10-09 09:00") == "lin"
    assert primary(roster, "2026-10-17 09:00") == "he", "an ordinary Saturday"


def test_nobody_on_leave_is_told_and_the_next_line_is(tmp_path: Path) -> None:
    roster = roster_of(
        tmp_path,
        """
weekly:
  - {from: "00:00", until: "24:00", primary: lin}
  - {from: "00:00", until: "24:00", primary: he}
leaves:
  - {person: lin, from: 2026-11-24 08:00, until: 2026-11-25 08:00, reason: 事假}
  - {person: he, from: 2026-11-24 20:00, until: 2026-11-24 22:00}
""",
    )
    assert [primary(roster, f"2026-11-24 {hour}:00") for hour in ("07", "08", "21", "23")] == [
        "lin",
        "he",
        "zhou",
        "he",
    ]
    gaps = roster.gaps(at("2026-11-24 00:00"), at("2026-11-25 00:00"))
    assert [gap.start for gap in gaps if gap.role == "primary"] == [at("2026-11-24 20:00")]


PERSON = st.sampled_from(["lin", "he", "zhou"])
CLOCK = st.sampled_from(["00:00", "06:30", "08:00", "13:00", "20:00"])
MOMENT = st.datetimes(
    datetime(2026, 9, 29),  # noqa: DTZ001 (local, without a zone)
    datetime(2026, 10, 6),  # noqa: DTZ001 (local, without a zone)
).map(lambda d: d.replace(second=0, microsecond=0))


@st.composite
def rosters(draw: st.DrawFn) -> Roster:
    def span() -> dict[str, Any]:
        start = draw(MOMENT)
        return {"from": start, "until": start + timedelta(minutes=draw(st.integers(1, 3000)))}

    def hours() -> dict[str, Any]:
        return {
            "from": draw(CLOCK),
            "until": draw(CLOCK),
            "on": draw(st.sampled_from([[], ["holiday"], ["workday"]])),
        }

    return Roster.model_validate(
        {
            "fallback": "zhou",
            "people": [{"id": p, "name": p, "email": f"{p}@x.example"} for p in ("lin", "he", "zhou")],
            "weekly": [{**hours(), "primary": draw(PERSON)} for _ in range(draw(st.integers(0, 2)))],
            "rotations": [
                {
                    **hours(),
                    "role": "primary",
                    "people": draw(st.lists(PERSON, min_size=1, max_size=3)),
                    "since": date(2026, 9, 1),
                    "unit": draw(st.sampled_from(["day", "week", "month"])),
                    "every": draw(st.integers(1, 3)),
                }
                for _ in range(draw(st.integers(0, 2)))
            ],
            "overrides": [
                {**span(), "role": "primary", "person": draw(PERSON)} for _ in range(draw(st.integers(0, 3)))
            ],
            "leaves": [{**span(), "person": draw(PERSON)} for _ in range(draw(st.integers(0, 2)))],
        }
    ).with_calendar(alerts_rota._classes_of(load_calendar(None, "Asia/Shanghai")))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rosters())
def test_stretches_and_gaps_are_those_of_a_minute_by_minute_count(roster: Roster) -> None:
    start, until = at("2026-09-30 00:00"), at("2026-10-03 00:00")
    stretches = roster.stretches("primary", start, until)
    gaps = [gap for gap in roster.gaps(start, until) if gap.role == "primary"]
    assert stretches[0][0] == start
    assert stretches[-1][1] == until
    moment = start
    while moment < until:
        (mine,) = [duty for begin, end, duty in stretches if begin <= moment < end]
        assert mine.person.id == roster.on_duty(moment, "primary").person.id
        assert any(gap.start <= moment < gap.until for gap in gaps) == (
            roster.rostered(moment, "primary") is None
        )
        moment += timedelta(minutes=7)


# --- sheets and calendars ------------------------------------------------------------------------------------------


def test_a_sheet_and_a_calendar_are_read(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (
        ["日期", "班次", "主班", "带班领导"],
        [date(2026, 11, 24), "白班", "何南", "周北"],
        ["2026年11月24日", "夜班", "林东", ""],
    ):
        sheet.append(row)
    book.save(tmp_path / "rota.xlsx")
    (tmp_path / "rota.csv").write_bytes("日期,班次,主班\n2026/11/25,09:00-17:00,周北\n".encode("gb18030"))
    (tmp_path / "rota.ics").write_text(
        """BEGIN:VCALENDAR
VERSION:2.0
PRODID:x
BEGIN:VTIMEZONE
TZID:China Standard Time
BEGIN:STANDARD
DTSTART:16010101T000000
TZOFFSETFROM:+0800
TZOFFSETTO:+0800
END:STANDARD
END:VTIMEZONE
BEGIN:VEVENT
UID:1
SUMMARY:林东 副班
DTSTART;VALUE=DATE:20261201
DTEND;VALUE=DATE:20261203
END:VEVENT
BEGIN:VEVENT
UID:2
SUMMARY:何南 主班
DTSTART;TZID=China Standard Time:20261207T080000
DTEND;TZID=China Standard Time:20261207T200000
RRULE:FREQ=DAILY;COUNT=3
END:VEVENT
BEGIN:VEVENT
UID:2
RECURRENCE-ID;TZID=China Standard Time:20261208T080000
SUMMARY:周北 主班
DTSTART;TZID=China Standard Time:20261208T120000
DTEND;TZID=China Standard Time:20261208T200000
END:VEVENT
BEGIN:VEVENT
UID:3
SUMMARY:林东
DTSTART:20261210T080000
DTEND:20261210T200000
END:VEVENT
END:VCALENDAR
""".replace("\n", "\r\n"),
        "utf-8",
    )
    roster = roster_of(tmp_path, "tables: [rota.xlsx, rota.csv, rota.ics]")
    assert [primary(roster, f"2026-11-24 {hour}") for hour in ("10:00", "23:00")] == ["he", "lin"]
    assert primary(roster, "2026-11-25 07:00") == "lin", "the night shift ends in the morning"
    assert primary(roster, "2026-11-25 10:00") == "zhou"
    assert "rota.xlsx 第2行" in roster.on_duty(at("2026-11-24 10:00"), "primary").reason
    assert roster.on_duty(at("2026-12-02 23:59"), "secondary").person.id == "lin"
    assert roster.rostered(at("2026-12-03 00:00"), "secondary") is None, "DTEND is exclusive"
    assert [primary(roster, f"2026-12-0{day} 09:00") for day in (7, 8, 9)] == ["he", "zhou", "he"]
    assert roster.rostered(at("2026-12-08 09:00"), "primary") is None, "the edited shift began at noon"
    assert roster.rostered(at("2026-12-08 13:00"), "primary") is not None
    assert primary(roster, "2026-12-10 09:00") == "lin", "a floating time is meant here"


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", "日期,班次,主班\n2026-13-01,白班,林东\n", "row 2, 日期"),
        ("a.csv", "日期,班次,主班\n2026-11-01,早班,林东\n", "row 2, 班次"),
        ("a.csv", "日期,班次,主班\n2026-11-01,白班,王五\n", "row 2, 主班: '王五' is nobody"),
        ("a.csv", "谁,何时\n", "expected the columns"),
        ("a.ics", "nonsense", "no calendar file"),
        (
            "a.ics",
            "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nUID:1\r\nSUMMARY:王五\r\nDTSTART:20261201T080000\r\nDTEND:20261201T090000\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n",
            "names nobody",
        ),
        ("a.doc", "x", "is .csv, .xlsx or .ics"),
        ("a.csv", "x" * 1_000_001, "more than 1 MB"),
        ("a.xlsx", "no sheet", "cannot be read as a sheet"),
    ],
)
def test_a_table_that_is_wrong_names_file_row_and_field(
    tmp_path: Path, name: str, content: str, words: str
) -> None:
    (tmp_path / name).write_text(content, "utf-8")
    with pytest.raises(ConfigError, match=words):
        roster_of(tmp_path, f"tables: [{name}]")
    with pytest.raises(ConfigError, match="no such file"):
        roster_of(tmp_path, "tables: [missing.csv]")


def test_what_goes_out_as_a_calendar_comes_back_as_the_same_duty(tmp_path: Path) -> None:
    roster = roster_of(tmp_path, ROSTER[ROSTER.index("weekly:") :])
    content = alerts_rota.as_ical(roster, at("2026-11-24 00:00"), days=7, person="lin")
    assert all("林东" in str(event["SUMMARY"]) for event in Calendar.from_ical(content).walk("VEVENT"))
    (tmp_path / "all.ics").write_bytes(alerts_rota.as_ical(roster, at("2026-11-24 00:00"), days=7))
    again = roster_of(tmp_path, "tables: [all.ics]")
    for hour in range(0, 24 * 6, 5):
        moment = at("2026-11-24 00:00") + timedelta(hours=hour)
        for role in ROLES:
            assert again.on_duty(moment, role).person.id == roster.on_duty(moment, role).person.id


# --- changes at the console ----------------------------------------------------------------------------------------


@pytest.fixture
def office(any_db: Database, tmp_path: Path) -> Office:
    return Office(any_db, bundle_for(tmp_path))


def change(office: Office, **fields: Any) -> rota.Change:
    values: dict[str, Any] = {
        "kind": "override",
        "role": "primary",
        "person": "lin",
        "stand_in": "he",
        "start": office.now - timedelta(hours=1),
        "until": office.now + timedelta(hours=3),
        "reason": "出差",
        "by": "lin",
        "channel": "console",
        "now": office.now,
    }
    with office.db.transaction() as session:
        return rota.add(session, **(values | fields))


def paged(office: Office) -> list[str]:
    return [recipient for _, recipient in office.paged("sent")]


def test_a_stand_in_is_paged_and_the_page_says_why(office: Office, post: Callable[..., NewPost]) -> None:
    change(office)
    office.detect(post).work()
    assert paged(office) == ["he@jinan.example"]
    assert "代班: 出差" in office.history("rung_fired")[0].payload["people"][0]["reason"]


def test_a_swap_holds_only_once_the_other_has_taken_it(office: Office, post: Callable[..., NewPost]) -> None:
    asked = change(office, kind="swap")
    office.detect(post).work()
    assert paged(office) == ["lin@jinan.example"]
    with office.db.transaction() as session:
        assert (
            rota.decide(session, asked.id, "taken", by="he", channel="console", now=office.now).state
            == "taken"
        )
    office.detect(post).work()
    assert paged(office) == ["he@jinan.example"]
    with office.db.transaction() as session, pytest.raises(Refused, match="taken, or over"):
        rota.decide(session, asked.id, "declined", by="he", channel="console", now=office.now)
    with office.db.reading() as session:
        assert list(rebuild.differences(session)) == []


def test_who_is_on_leave_is_not_paged(office: Office, post: Callable[..., NewPost]) -> None:
    change(office, kind="leave", role="", stand_in="")
    office.detect(post).work()
    assert paged(office) == ["zhou@jinan.example"], "the fallback"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"until": T0 - timedelta(hours=2)}, "the end must come after"),
        ({"start": T0 - timedelta(days=2), "until": T0 - timedelta(days=1)}, "is over"),
        ({"stand_in": "lin"}, "another person"),
        ({"stand_in": ""}, "another person"),
        ({"reason": " "}, "give the reason"),
        ({"kind": "holiday"}, "unknown kind"),
    ],
)
def test_a_change_that_makes_no_sense_is_refused(office: Office, fields: dict[str, Any], words: str) -> None:
    with pytest.raises(Refused, match=words):
        change(office, **fields)


def test_two_changes_of_one_shift_and_a_stand_in_on_leave_are_refused(office: Office) -> None:
    change(office)
    with pytest.raises(Refused, match="covers this time"):
        change(office, stand_in="zhou")
    change(office, kind="leave", person="zhou", role="", stand_in="")
    with pytest.raises(Refused, match="on leave"):
        change(office, role="secondary", stand_in="zhou")


# --- hand-over -----------------------------------------------------------------------------------------------------


def handover_messages(office: Office) -> list[tuple[str, int]]:
    with office.db.reading() as session:
        rows = [row for row in outbox.latest(session, 100) if row.kind == "handover"]
    return sorted((row.recipient, row.step) for row in rows)


def test_the_end_of_a_shift_offers_a_hand_over_to_both_and_reminds_once(
    office: Office, post: Callable[..., NewPost]
) -> None:
    office.now = at("2026-11-24 19:50").astimezone(UTC)
    office.detect(post).work()
    for _ in range(40):
        office.later(minutes=1).work()
    assert handover_messages(office) == [
        ("he@jinan.example", 0),
        ("he@jinan.example", 1),
        ("lin@jinan.example", 0),
        ("lin@jinan.example", 1),
    ]
    with office.db.transaction() as session:
        (offered,) = rota.handovers(session, office.now - timedelta(hours=2))
        assert (offered.outgoing, offered.incoming) == ("lin", "he")
        assert offered.shift_end == at("2026-11-24 20:00")
        assert offered.open_incidents == (office.incident.number,)
        with pytest.raises(Refused, match="only lin"):
            rota.sign(session, offered.id, "given", by="he", note="", channel="console", now=office.now)
        rota.sign(
            session, offered.id, "given", by="lin", note="注意食堂事件", channel="console", now=office.now
        )
        done = rota.sign(session, offered.id, "taken", by="he", note="", channel="console", now=office.now)
        assert (done.given_note, done.taken_at) == ("注意食堂事件", office.now)
        with pytest.raises(Refused, match="signed already"):
            rota.sign(session, offered.id, "taken", by="he", note="", channel="console", now=office.now)
    with office.db.reading() as session:
        assert list(rebuild.differences(session)) == []


@pytest.mark.parametrize(
    ("required", "paged_first"), [(False, "he@jinan.example"), (True, "lin@jinan.example")]
)
def test_until_somebody_takes_over_the_outgoing_officer_answers_where_the_office_wants_it_so(
    any_db: Database, tmp_path: Path, post: Callable[..., NewPost], required: bool, paged_first: str
) -> None:
    office = Office(any_db, bundle_for(tmp_path, handover_required=required))
    office.now = at("2026-11-24 19:59").astimezone(UTC)
    office.work()
    office.later(minutes=2).work()
    office.detect(post).work()
    assert paged(office) == [paged_first]
    with any_db.transaction() as session:
        (offered,) = rota.handovers(session, office.now - timedelta(hours=2))
        rota.sign(session, offered.id, "taken", by="he", note="", channel="console", now=office.now)
    office.detect(post).work()
    assert paged(office) == ["he@jinan.example"]


def test_the_budget_of_a_shift_is_counted_and_beyond_it_messages_are_bundled(
    db: Database, tmp_path: Path, post: Callable[..., NewPost]
) -> None:
    office = Office(db, bundle_for(tmp_path, budget_per_shift=3))
    for number in range(6):
        office.detect(post, title=f"第{number}件").work()
        office.later(seconds=30)
    with db.reading() as session:
        (use,) = [item for item in budget.used(session, office.bundle, office.now) if item.role == "primary"]
        kinds = [
            row.kind for row in outbox.latest(session, 100) if row.state == "sent" and not row.bundled_in
        ]
    assert use.since == at("2026-11-24 08:00")
    assert (use.messages, use.allowed, use.over) == (6, 3, True)
    assert "bundle" not in kinds, "one at a time is no storm"
    for number in range(2):
        office.detect(post, title=f"成对{number}件")
    office.work()
    with db.reading() as session:
        kinds = [row.kind for row in outbox.latest(session, 100) if row.state == "sent"]
    assert "bundle" not in kinds, "of two one stays by itself: a bundle of one would spare nobody"
    for number in range(3):
        office.detect(post, title=f"又{number}件")
    office.work()
    with db.reading() as session:
        (use,) = [item for item in budget.used(session, office.bundle, office.now) if item.role == "primary"]
    assert (use.messages, use.bundled) == (10, 2), "the most urgent one, and the others as one"


# --- readiness and page --------------------------------------------------------------------------------------------


def test_readiness_tells_what_to_mend(tmp_path: Path) -> None:
    calendar = load_calendar(None, "Asia/Shanghai")
    roster = roster_of(tmp_path, 'weekly:\n  - {from: "08:00", until: "20:00", primary: lin, secondary: lin}')
    kinds = {item.kind for item in alerts_rota.readiness(roster, calendar, at("2026-09-20 09:00"))}
    assert kinds == {"gap", "double", "holiday"}
    whole = roster_of(
        tmp_path,
        'weekly:\n  - {from: "00:00", until: "24:00", primary: lin, secondary: he, leader: zhou}',
    )
    found = alerts_rota.readiness(whole, calendar, at("2026-09-20 09:00"))
    assert {item.kind for item in found} == {"long"}, "one person day and night for a month"


def test_the_page_shows_duty_and_takes_changes_and_receipts(db: Database, tmp_path: Path) -> None:
    town = world(db, tmp_path)
    town.account("lin-dong", "duty", name="林东(示例)")
    town.account("he-nan", "duty", name="何南(示例)")
    town.account("chu", "department", "education", "储")
    lin, he = client(town, "lin-dong"), client(town, "he-nan")
    assert client(town, "chu").get("/roster").status_code == 403
    html = lin.get("/roster").text
    assert "现在值班" in html
    answer = submit(
        lin,
        html,
        "/roster/change",
        kind="swap",
        role="primary",
        stand_in="he-nan",
        start="2026-11-25T08:00",
        until="2026-11-25T20:00",
        reason="看病",
    )
    assert answer.status_code == 303, answer.text
    bad = submit(
        lin,
        html,
        "/roster/change",
        kind="swap",
        role="primary",
        stand_in="he-nan",
        start="x",
        until="",
        reason="r",
    )
    assert bad.status_code == 409
    with db.reading() as session:
        (asked,) = rota.changes(session, town.now, states=("asked",))
    own = submit(lin, lin.get("/roster").text, f"/roster/change/{asked.id}", decision="taken")
    assert own.status_code == 403, "the other person has to agree"
    taken = submit(he, he.get("/roster").text, f"/roster/change/{asked.id}", decision="taken")
    assert taken.status_code == 303
    ics = lin.get("/roster.ics?person=he-nan").text
    assert "何南" in ics
    assert "林东" not in ics
    foreign = submit(
        lin,
        html,
        "/roster/change",
        kind="leave",
        person="he-nan",
        start="2026-11-26T08:00",
        until="2026-11-26T20:00",
        reason="x",
    )
    assert foreign.status_code == 403
