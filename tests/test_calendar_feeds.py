"""Calendars of shifts behind secret addresses: who sees what, what a calendar program is told, and what revoking does."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from icalendar import Calendar

from alerts import calendar_feeds as shifts
from commands import roster as command
from config.tokens import FeedClaim, sign_feed
from incidents import calendar_feeds, rebuild, rota
from incidents.installation import Installation, Problem, open_installation
from incidents.session import Database
from incidents.states import Refused
from tests.alert_office import ROSTER, T0, bundle_for
from tests.console_world import KEYS, World, client, world

LIN, HE = "林东(示例)", "何南(示例)"


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    found = world(db, tmp_path)
    found.account("lin-dong", "duty", name=LIN)
    found.account("he-nan", "duty", name=HE)
    found.account("boss", "supervisor", name="督查员")
    found.account("eye", "analyst", name="分析员")
    found.account("chu", "department", "education", "储")
    return found


def logged_in(town: World, login: str) -> httpx.Client:
    """One browser for each login of a town: logging in is slow on purpose."""
    browsers: dict[str, httpx.Client] = town.__dict__.setdefault("browsers", {})
    if login not in browsers:
        browsers[login] = client(town, login)
    return browsers[login]


def change(town: World, login: str, person: str, act: str = "make") -> httpx.Response:
    browser = logged_in(town, login)
    page = browser.get("/roster").text
    token = re.search(r'name="csrf" value="([^"]+)"', page)
    assert token is not None
    fields = {"csrf": token.group(1), "person": person, "act": act}
    return browser.post("/roster/calendar", data=fields, headers={"Origin": "http://console.test"})


def address(town: World, person: str) -> str:
    """Path of the address that works for a person."""
    with town.db.reading() as session:
        (feed,) = [one for one in calendar_feeds.live(session) if one.person == person]
    found = shifts.address(town.bundle, KEYS, feed)
    assert found.startswith(town.bundle.settings.link_base)
    return found.removeprefix(town.bundle.settings.link_base)


def titles(content: str) -> set[str]:
    return {str(event["SUMMARY"]) for event in Calendar.from_ical(content).walk("VEVENT")}


def test_an_officer_subscribes_to_the_own_shifts_without_a_login(town: World) -> None:
    assert change(town, "lin-dong", "lin-dong").status_code == 303
    page = html.unescape(logged_in(town, "lin-dong").get("/roster?done=feed_make").text)
    path = address(town, "lin-dong")
    assert f'value="{town.bundle.settings.link_base}{path}"' in page
    assert f'href="webcal://{town.bundle.settings.link_base.partition("://")[2]}{path}"' in page
    stranger = client(town, None)
    answer = stranger.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    assert answer.headers["cache-control"] == "private, no-cache"
    assert "set-cookie" not in answer.headers
    assert titles(answer.text) <= {
        "主班",
        "副班",
        "带班领导",
        *(f"{r}（空档，由其接收）" for r in ("主班", "副班")),
    }
    events = Calendar.from_ical(answer.text).walk("VEVENT")
    assert len(events) > 20
    roster = town.bundle.roster
    for event in events:
        begin, end = event.decoded("DTSTART"), event.decoded("DTEND")
        assert begin.utcoffset() == timedelta(0), "a zone by name alone would need its rules in the file"
        role = {"主": "primary", "副": "secondary", "带": "leader"}[str(event["SUMMARY"])[0]]
        for moment in (begin, end - timedelta(minutes=1)):
            assert roster.on_duty(moment, role).person.id == "lin-dong"  # type: ignore[arg-type]
    uids = [str(event["UID"]) for event in events]
    assert len(uids) == len(set(uids))


def test_a_program_that_has_it_is_told_so_and_a_swap_changes_it(town: World) -> None:
    change(town, "lin-dong", "lin-dong")
    path, stranger = address(town, "lin-dong"), client(town, None)
    first = stranger.get(path)
    town.now += timedelta(hours=3)
    again = stranger.get(path, headers={"If-None-Match": f'"x", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    head = stranger.head(path)
    assert (head.status_code, head.headers["etag"]) == (200, first.headers["etag"])
    with town.db.transaction() as session:
        rota.add(
            session,
            kind="override",
            role="primary",
            person="lin-dong",
            stand_in="he-nan",
            start=town.now + timedelta(days=6),
            until=town.now + timedelta(days=8),
            reason="孩子住院",
            by="lin-dong",
            channel="console",
            now=town.now,
        )
    changed = stranger.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    middle = town.now + timedelta(days=7)
    assert not [
        event
        for event in Calendar.from_ical(changed.text).walk("VEVENT")
        if event["SUMMARY"] == "主班" and event.decoded("DTSTART") <= middle < event.decoded("DTEND")
    ]
    change(town, "boss", "he-nan")
    other = stranger.get(address(town, "he-nan")).text
    assert "孩子住院" not in other, "why somebody stands in is nobody's business"
    assert "林东" not in other


def test_everybody_s_shifts_name_people_and_no_way_to_reach_them(town: World) -> None:
    assert change(town, "lin-dong", "").status_code == 403, "the team's address is a keeper's"
    assert change(town, "boss", "").status_code == 303
    content = client(town, None).get(address(town, "")).text
    assert {LIN, HE} <= {title.removeprefix("主班") for title in titles(content) if title.startswith("主班")}
    assert "mailto" not in content.lower()
    assert not re.search(r"@(?!quansheng)", content)
    page = logged_in(town, "lin-dong").get("/roster").text
    assert "全队班次" in page, "who is on the roster may use it"
    assert "全队班次" not in logged_in(town, "eye").get("/roster").text


def test_a_revoked_or_replaced_address_stops_at_once_and_a_changed_one_never_worked(town: World) -> None:
    change(town, "lin-dong", "lin-dong")
    old, stranger = address(town, "lin-dong"), client(town, None)
    town.now += timedelta(seconds=1)
    assert change(town, "lin-dong", "lin-dong").status_code == 303
    new = address(town, "lin-dong")
    assert [stranger.get(path).status_code for path in (old, new)] == [410, 200]
    assert "已作废" in stranger.get(old).text
    assert change(town, "lin-dong", "lin-dong", "revoke").status_code == 303
    assert stranger.get(new).status_code == 410
    assert change(town, "lin-dong", "lin-dong", "revoke").status_code == 409
    assert stranger.get(new.replace(".ics", "x.ics")).status_code == 404
    spoilt = new[: len("/calendar/")] + "A" + new[len("/calendar/") + 1 :]
    assert stranger.get(spoilt).status_code == 404
    for claim in (FeedClaim(999, T0), FeedClaim(1, T0)):
        assert stranger.get(f"/calendar/{sign_feed(KEYS.links, claim)}.ics").status_code == 404
    assert stranger.post(old).status_code == 405


def test_only_keepers_manage_the_calendars_of_others(town: World) -> None:
    assert change(town, "lin-dong", "he-nan").status_code == 403
    assert change(town, "eye", "").status_code == 403
    assert change(town, "boss", "he-nan").status_code == 303
    assert change(town, "boss", "nobody").status_code == 409
    assert change(town, "boss", "he-nan", "sell").status_code == 409
    path = address(town, "he-nan")
    assert path not in logged_in(town, "lin-dong").get("/roster").text
    assert path in logged_in(town, "he-nan").get("/roster").text


def test_who_left_the_roster_leaves_no_calendar_behind(db: Database, tmp_path: Path) -> None:
    bundle = bundle_for(tmp_path, link_base="http://desk.jinan.example")
    with db.transaction() as session:
        feed = calendar_feeds.make(session, "gone", by="boss", channel="console", now=T0)
    town = World(db, bundle, T0)
    town.account("boss", "supervisor", name="督查员")
    path = shifts.address(bundle, KEYS, feed).removeprefix(bundle.settings.link_base)
    assert client(town, None).get(path).status_code == 410
    assert "已不在值班表" in logged_in(town, "boss").get("/roster").text
    assert change(town, "boss", "gone", "revoke").status_code == 303


def test_addresses_are_a_fold_of_their_acts(any_db: Database) -> None:
    with any_db.transaction() as session:
        first = calendar_feeds.make(session, "lin", by="lin", channel="console", now=T0)
        calendar_feeds.make(session, "", by="boss", channel="console", now=T0)
        second = calendar_feeds.make(session, "lin", by="boss", channel="cli", now=T0 + timedelta(hours=1))
        calendar_feeds.revoke(session, "", by="boss", channel="cli", now=T0 + timedelta(hours=2))
        with pytest.raises(Refused):
            calendar_feeds.revoke(session, "", by="boss", channel="cli", now=T0)
    with any_db.reading() as session:
        assert [feed.id for feed in calendar_feeds.live(session)] == [second.id]
        replaced = calendar_feeds.find(session, first.id)
        assert replaced is not None
        assert (replaced.revoked_by, replaced.revoked_at) == ("boss", T0 + timedelta(hours=1))
        assert list(rebuild.differences(session)) == []


# --- command line --------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Installation]:
    (tmp_path / "quansheng.toml").write_text("[alerts]\nlink_base = 'https://desk.jinan.example'\n", "utf-8")
    (tmp_path / "roster.yaml").write_text(ROSTER, "utf-8")
    found = open_installation(tmp_path / "quansheng.toml")
    yield found
    found.db.close()


def test_the_command_makes_an_address_once_and_anew_on_wish(home: Installation) -> None:
    made = command.calendar(home, "lin", T0, by="ops", new=False)
    assert made.address.startswith("https://desk.jinan.example/calendar/")
    assert made.address.endswith(".ics")
    assert command.calendar(home, "lin", T0 + timedelta(hours=1), by="ops", new=False) == made
    other = command.calendar(home, "lin", T0 + timedelta(hours=1), by="ops", new=True)
    assert other.address != made.address
    team = command.calendar(home, "", T0, by="ops", new=False)
    assert [one.as_dict()["person"] for one in command.calendars(home)] == ["", "lin"]
    assert team.as_dict()["made_at"] == datetime(2026, 11, 24, 7, 10, tzinfo=UTC).isoformat()
    command.revoke_calendar(home, "lin", T0 + timedelta(hours=2), by="ops")
    assert [one.person for one in command.calendars(home)] == [""]
    with pytest.raises(Problem, match="no calendar address to revoke"):
        command.revoke_calendar(home, "lin", T0, by="ops")
    with pytest.raises(Problem, match="nobody of the roster"):
        command.calendar(home, "wang", T0, by="ops", new=False)
