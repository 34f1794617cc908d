"""A test message to one person: marked, through each of their channels, with what each channel said."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from alerts import trial
from alerts.calendar import load_calendar
from console.views.roster import month
from demo.fake_slack import FakeSlack
from incidents import events, outbox
from incidents.session import Database
from incidents.states import Refused
from tests.alert_office import T0, Office, bundle_for
from tests.console_world import World, client, submit
from tests.fakes.mail import FakeMailServer


@pytest.fixture
def office(db: Database, tmp_path: Path, slack: FakeSlack, mail: FakeMailServer) -> Office:
    return Office(db, bundle_for(tmp_path, slack=slack.base_url, mail_port=mail.port))


def begin(office: Office, person: str = "he", channel: str = "") -> list[str]:
    with office.db.transaction() as session:
        return trial.start(session, office.bundle, person, channel, by="lin", through="cli", now=office.now)


def outcome(office: Office) -> dict[str, tuple[str, str, bool]]:
    with office.db.reading() as session:
        found = trial.results(session, office.now - timedelta(hours=1))
    return {one.row.channel: (one.row.state, one.said, one.settled) for one in found}


def test_every_channel_gets_one_marked_message_and_says_what_became_of_it(
    office: Office, slack: FakeSlack, mail: FakeMailServer
) -> None:
    assert len(begin(office)) == 2
    assert outcome(office) == {"email": ("pending", "", False), "slack": ("pending", "", False)}
    office.send()
    found = outcome(office)
    assert [(state, settled) for state, _, settled in found.values()] == [("sent", True)] * 2
    assert found["slack"][1].startswith("C0QUANSHENG:")
    (letter,) = mail.received
    assert (letter["Subject"], mail.recipients) == ("【测试】值班提醒渠道测试：何南", ["he@jinan.example"])
    assert "无须处理" in letter.get_body(("plain",)).get_content()  # type: ignore[union-attr]
    (message,) = slack.messages
    assert message["text"].startswith("【测试】")
    with office.db.reading() as session:
        acts = [
            (event.actor, event.payload)
            for event in events.events_after(session, 0, 100)
            if event.kind == trial.EVENT
        ]
    assert acts == [("lin", {"person": "he", "channels": ["email", "slack"]})]


def test_a_channel_that_refuses_says_why_and_one_that_waits_too(
    office: Office, slack: FakeSlack, mail: FakeMailServer
) -> None:
    slack.token = "revoked"
    mail.answer = "451 4.3.0 try later"
    begin(office)
    office.send()
    found = outcome(office)
    assert found["slack"] == ("refused", "Slack: invalid_auth", True)
    state, said, settled = found["email"]
    assert (state, settled) == ("pending", True)
    assert "451" in said


def test_nobody_unknown_no_channel_that_does_not_lead_there_and_not_twice_a_minute(office: Office) -> None:
    with pytest.raises(Refused, match="ghost") as caught:
        begin(office, "ghost")
    assert caught.value.zh == "值班表中没有该人员。"
    with pytest.raises(Refused, match="there are: email, slack"):
        begin(office, channel="wecom")
    begin(office, channel="email")
    with pytest.raises(Refused, match="less than a minute"):
        begin(office)
    begin(office, channel="slack")  # another channel, nobody is bothered twice
    office.later(seconds=61)
    assert len(begin(office)) == 2


def test_without_any_channel_the_folder_takes_it(db: Database, tmp_path: Path) -> None:
    office = Office(db, bundle_for(tmp_path))
    begin(office)
    office.send()
    assert {channel: state for channel, (state, _, _) in outcome(office).items()} == {"folder": "sent"}


def test_test_messages_are_never_put_into_a_bundle_with_pages(office: Office, mail: FakeMailServer) -> None:
    for _ in range(8):
        begin(office, channel="email")
        office.later(seconds=61)
    office.send()
    assert len(mail.received) == 8


# --- console -------------------------------------------------------------------------------------------------------


def test_an_officer_tests_the_own_channels_and_a_keeper_those_of_others(db: Database, tmp_path: Path) -> None:
    town = World(db, bundle_for(tmp_path, link_base="http://console.test"))
    town.account("lin", name="林东")
    town.account("wang", "leader", name="王带班")
    lin, wang = client(town, "lin"), client(town, "wang")

    def press(browser: httpx.Client, **fields: str) -> httpx.Response:
        return submit(browser, browser.get("/roster").text, "/roster/test", **fields)

    assert "向我发送测试消息" in lin.get("/roster").text
    assert press(lin).status_code == 303
    assert "渠道测试" in lin.get("/roster").text
    assert press(lin, person="he").status_code == 403
    again = press(lin)
    assert again.status_code == 409
    assert "一分钟内刚测试过" in again.text
    assert press(wang, person="he").status_code == 303
    assert press(wang, person="ghost").status_code == 409
    with db.reading() as session:
        rows = outbox.of_kind(session, trial.KIND, town.now - timedelta(hours=1))
    assert sorted(row.person for row in rows) == ["he", "lin"]


# --- the page of the month and of the system's state ---------------------------------------------------------------


def test_the_month_shows_every_day_who_goes_on_and_who_takes_over(tmp_path: Path) -> None:
    bundle = bundle_for(tmp_path)
    calendar = load_calendar(None, "Asia/Shanghai")
    days = month(bundle.roster, calendar, T0, 30)
    assert [day.day.date() for day in days] == [date(2026, 11, 24) + timedelta(days=n) for n in range(30)]
    shown = [
        (f"{turn.at:%H:%M}" if turn.at else "", turn.duty.person.id) for turn in days[5].turns["primary"]
    ]
    assert shown == [("", "he"), ("08:00", "lin"), ("20:00", "he")]
    assert [turn.duty.person.id for turn in days[5].turns["leader"]] == ["zhou"]
    assert [(day.rest, day.names[0]) for day in days[3:6]] == [
        (False, "周五"),
        (True, "周六"),
        (True, "周日"),
    ]
    october = month(bundle.roster, calendar, datetime(2026, 10, 1, 12, tzinfo=calendar.zone), 10)
    assert october[0].special == ("国庆节", "National Day")
    assert october[9].special == ("调休上班", "make-up working day")
    assert not october[9].rest


def test_the_page_that_an_alarm_links_to_says_what_is_wrong_since_when(db: Database, tmp_path: Path) -> None:
    town = World(db, bundle_for(tmp_path, link_base="http://console.test"))
    town.account("lin")
    browser = client(town, "lin")
    page = browser.get("/system")
    assert page.status_code == 200
    assert "时钟超过1分钟没有正常运行" in page.text
    town.bundle.settings.data_path.mkdir(exist_ok=True)
    Office(db, town.bundle, town.now).work()
    page = browser.get("/system")
    assert "一切正常" in page.text
    assert "没有正常运行" not in page.text
