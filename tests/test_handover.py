"""Hand-over 交接班: what both officers are told at a change of shift, and the signed link by which each confirms."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest

from config.tokens import AckClaim, HandoverClaim, sign_ack, sign_handover
from incidents import outbox, queries, rebuild, rota
from incidents.outbox import OutboxRow
from incidents.posts import NewPost
from incidents.rota import HandoverView
from incidents.session import Database
from tests.alert_office import KEYS, ROSTER, Office, bundle_for
from tests.console_world import World, client, submit

CHANGE = datetime(2026, 11, 24, 20, 0, tzinfo=ZoneInfo("Asia/Shanghai"))
BASE = "http://desk.jinan.example"


def at_change(db: Database, folder: Path, *, minutes: int = 1, **settings: Any) -> Office:
    """An office just after 林东 has gone and 何南 has come."""
    office = Office(db, bundle_for(folder, link_base=BASE, **settings))
    office.now = (CHANGE - timedelta(minutes=2)).astimezone(UTC)
    office.tick()
    office.now = (CHANGE + timedelta(minutes=minutes)).astimezone(UTC)
    return office


def told(office: Office, step: int = 0) -> dict[str, OutboxRow]:
    """The messages of a hand-over, by the person that they are for."""
    with office.db.reading() as session:
        rows = [row for row in outbox.latest(session, 100) if row.kind == "handover" and row.step == step]
    return {str(row.message["person"]): row for row in rows}


def the_handover(office: Office) -> HandoverView:
    with office.db.reading() as session:
        return rota.handovers(session, office.now - timedelta(days=1))[0]


def browser(office: Office) -> httpx.Client:
    """Somebody without a login, at the office's time."""
    return client(World(office.db, office.bundle, office.now, KEYS), None)


def path_of(row: OutboxRow) -> str:
    link = str(row.message["link"])
    assert link.startswith(f"{BASE}/handover/")
    return link.removeprefix(BASE)


def confirm(office: Office, path: str, note: str = "") -> httpx.Response:
    there = browser(office)
    return submit(there, there.get(path).text, path, note=note)


# --- messages ------------------------------------------------------------------------------------------------------


def test_each_side_is_told_in_the_first_line_what_changes_and_confirms_by_a_link_of_its_own(
    db: Database, tmp_path: Path, post: Callable[..., NewPost]
) -> None:
    office = at_change(db, tmp_path)
    office.now -= timedelta(hours=1)
    office.detect(post, title="某小学食堂多人呕吐").work()
    office.now += timedelta(hours=1)
    office.tick()
    messages = told(office)
    assert (
        messages["he"].message["subject"] == "【接班】11月24日(周二) 20:00起由您任主班（接林东），未办结1件"
    )
    assert messages["lin"].message["subject"] == "【交班】11月24日(周二) 20:00由何南接您的主班，未办结1件"
    assert messages["he"].recipient == "he@jinan.example"
    for person, button in (("he", "确认接班"), ("lin", "确认交班")):
        row = messages[person].message
        lines = str(row["text"]).split("\n")
        assert lines[2] == f"{button}：{row['link']}", "the link stands above the list"
        assert f'href="{row["link"]}"' in str(row["html"])
        assert "某小学食堂多人呕吐" in str(row["text"])
        assert f"{BASE}/incidents/{office.incident.number}" in str(row["text"])
    assert path_of(messages["he"]) != path_of(messages["lin"])
    assert "提醒已改发给您" in str(messages["he"].message["text"])


def test_after_a_quarter_of_an_hour_both_are_reminded_and_who_has_confirmed_is_asked_nothing(
    db: Database, tmp_path: Path
) -> None:
    office = at_change(db, tmp_path, handover_required=True)
    office.tick()
    assert "确认接班之前，提醒仍发给林东" in str(told(office)["he"].message["text"])
    assert confirm(office, path_of(told(office)["lin"]), "3号线食堂家长在等电话").status_code == 303
    office.later(minutes=16).tick()
    again = told(office, 1)
    assert again["he"].message["subject"] == (
        "【接班·再次提醒】11月24日(周二) 20:00起由您任主班，15分钟仍未确认接班"
    )
    assert "交班说明：3号线食堂家长在等电话" in str(again["he"].message["text"])
    assert path_of(again["he"])
    assert again["lin"].message["subject"] == "【交班】何南15分钟仍未确认接班，请与其联系"
    assert again["lin"].message["link"] == "", "林东 has handed over already"
    office.later(minutes=1).tick()
    assert len(told(office, 1)) == 2


def test_after_an_outage_only_the_last_change_of_shift_is_told(db: Database, tmp_path: Path) -> None:
    office = at_change(db, tmp_path)
    office.later(hours=36).tick()
    with db.reading() as session:
        assert len(rota.handovers(session, office.now - timedelta(days=3))) == 4, "the record has all of them"
    messages = told(office)
    assert {person: row.message["subject"] for person, row in messages.items()} == {
        "lin": "【接班】11月26日(周四) 08:00起由您任主班（接何南），未办结0件",
        "he": "【交班】11月26日(周四) 08:00由林东接您的主班，未办结0件",
    }


def test_two_officers_behind_one_robot_get_a_message_each(db: Database, tmp_path: Path) -> None:
    routes = "routes:\n  - {name: 其他, channels: [wecom], ladder: [primary, secondary]}\n"
    robots = {"wecom": {"robots": {"desk": "key-of-a-robot"}}}
    roster = ROSTER.replace("email: he@jinan.example", "email: he@jinan.example, wecom_user: HeNan")
    office = at_change(db, tmp_path, routes=routes, more=robots, roster=roster)
    office.tick()
    messages = told(office)
    assert {(row.channel, row.recipient) for row in messages.values()} == {("wecom", "desk")}
    assert [messages[person].message.get("mention") for person in ("he", "lin")] == ["HeNan", None]
    assert "确认接班：" in str(messages["he"].message["text"])
    office.later(minutes=16).tick()
    assert set(told(office, 1)) == {"he", "lin"}


def test_a_house_with_slack_alone_tells_each_officer_there(db: Database, tmp_path: Path) -> None:
    roster = ROSTER.replace(", email: he@jinan.example", ", slack_user: U0HE")
    office = at_change(db, tmp_path, slack="http://127.0.0.1:9/api/", roster=roster)
    office.tick()
    row = told(office)["he"]
    assert (row.channel, row.recipient) == ("slack", "U0HE")
    assert f"<{row.message['link']}|确认接班>" in str(row.message["blocks"])
    assert told(office)["lin"].channel == "email"


# --- the link ------------------------------------------------------------------------------------------------------


def test_looking_changes_nothing_and_pressing_confirms_once_in_the_name_of_who_was_asked(
    db: Database, tmp_path: Path
) -> None:
    office = at_change(db, tmp_path)
    office.tick()
    path, there = path_of(told(office)["he"]), browser(office)
    for _ in range(3):
        shown = there.get(path)
        assert shown.status_code == 200
    assert "确认接班（何南）" in shown.text
    for method in ("HEAD", "PUT", "DELETE", "OPTIONS"):
        there.request(method, path)
    assert there.post(path, data={"note": "x"}).status_code == 403, "not from our page"
    assert the_handover(office).taken_at is None
    assert confirm(office, path, "知悉").status_code == 303
    first = the_handover(office)
    assert (first.taken_at, first.taken_note, first.given_at) == (office.now, "知悉", None)
    assert "何南 已确认接班" in there.get(path).text
    office.later(minutes=5)
    page = browser(office).get(path).text
    assert "<form" not in page
    token = path.removeprefix("/handover/")
    again = there.post(path, data={"csrf": _token(token)}, headers={"Origin": "http://console.test"})
    assert again.status_code == 303
    assert the_handover(office) == first
    with db.reading() as session:
        (event,) = queries.latest_events(session, 10, ["handover_taken"])
        assert (event.actor, event.channel) == ("he", "link")
        assert list(rebuild.differences(session)) == []


def _token(token: str) -> str:
    from console.security import form_token

    return form_token(KEYS.sessions, f"handover/{token}")


def test_old_foreign_and_spoilt_links_do_nothing(db: Database, tmp_path: Path) -> None:
    office = at_change(db, tmp_path)
    office.tick()
    path = path_of(told(office)["he"])
    page = browser(office).get(path).text
    office.now = (CHANGE + timedelta(hours=12, minutes=1)).astimezone(UTC)
    office.tick()
    late = submit(browser(office), page, path)
    assert late.status_code == 409
    assert "之后已有新的交接班" in late.text
    assert "<form" not in browser(office).get(path).text
    fresh = office.now + timedelta(hours=1)
    he = HandoverClaim("primary", CHANGE, "taken", "he", fresh)
    lin = HandoverClaim("primary", CHANGE + timedelta(hours=12), "given", "lin", fresh)
    gone = HandoverClaim("primary", CHANGE + timedelta(hours=1), "given", "lin", fresh)
    tokens = {
        sign_handover(b"another key of the right length", he): 404,
        sign_ack(KEYS.links, AckClaim(1, 1, 1, "he", fresh)): 404,
        f"{sign_handover(KEYS.links, he)}x": 404,
        sign_handover(KEYS.links, gone): 404,
        # genuine, but of somebody who is not that side's person any more
        sign_handover(KEYS.links, lin): 409,
    }
    for token, status in tokens.items():
        answer = browser(office).post(
            f"/handover/{token}", data={"csrf": _token(token)}, headers={"Origin": "http://console.test"}
        )
        assert answer.status_code == status, token
    office.now += timedelta(hours=72)
    assert browser(office).get(path).status_code == 410
    with db.reading() as session:
        assert queries.latest_events(session, 10, ["handover_taken", "handover_given"]) == []


def test_a_confirmed_hand_over_moves_the_pages(
    db: Database, tmp_path: Path, post: Callable[..., NewPost]
) -> None:
    office = at_change(db, tmp_path, handover_required=True)
    office.tick()
    office.detect(post).work()
    assert [recipient for _, recipient in office.paged("sent")] == ["lin@jinan.example"]
    confirm(office, path_of(told(office)["he"]))
    office.detect(post, title="某小区停水").work()
    assert [recipient for _, recipient in office.paged("sent")] == ["he@jinan.example"]


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_page_reads_whole_in_both_languages(db: Database, tmp_path: Path, lang: str) -> None:
    office = at_change(db, tmp_path)
    office.tick()
    there = client(World(office.db, office.bundle, office.now, KEYS), None, lang=lang)
    shown = there.get(path_of(told(office)["lin"])).text
    assert ("确认交班（林东）" if lang == "zh" else "Confirm handing over (林东)") in shown
