"""Desk and incident page: what a person sees and does, without JavaScript, from detection to closing."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from config.tokens import AckClaim, sign_ack
from incidents import desk, events, queries
from incidents.session import Database
from incidents.states import Acknowledge, Assign, Close, Confirm, Evaluate, Respond, SignFor
from tests.console_world import AUDIT_KEY, KEYS, World, client, hidden, submit, world


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(db, tmp_path)
    made.account()
    return made


TEXTS = ["学校食堂吃坏肚子了", "孩子吃完食堂就吐", "求查一查这个食堂"]


def test_an_empty_desk_says_that_nothing_is_needed(town: World) -> None:
    html = client(town).get("/").text
    assert "现在没有需要处理的事件" in html
    assert "尚未配置邮件和 Slack" in html


def test_the_desk_shows_the_most_urgent_first(town: World) -> None:
    town.now -= timedelta(hours=46)
    old = town.incident("旧事件临近时限", TEXTS, at=town.now)
    town.run()
    town.act(old, Acknowledge(old.epoch), Confirm(), Assign("education"))
    town.now += timedelta(hours=42)
    major = town.incident("重大事件五小时", TEXTS, level="major", at=town.now)
    town.run()
    town.act(major, Acknowledge(major.epoch), Confirm(), Assign("education"))
    town.now += timedelta(hours=4)
    fresh = town.incident("刚发现的事件", TEXTS, at=town.now)
    town.run()
    html = client(town).get("/").text
    order = [html.index(title) for title in ("刚发现的事件", "重大事件五小时", "旧事件临近时限")]
    assert order == sorted(order), "an unanswered page first, then by the legal clock"
    assert "剩 2 小时" in html
    assert "剩 1 小时" in html
    assert f"i-{fresh.id}" in html


def test_a_refresh_brings_nothing_when_nothing_happened(town: World) -> None:
    incident = town.incident("测试事件", TEXTS)
    browser = client(town)
    first = browser.get("/desk/live").text
    found = re.search(r'data-mark="([^"]+)"', first)
    assert found
    seen = {"X-Quansheng-Seen": found[1]}
    assert browser.get("/desk/live", headers=seen).status_code == 204
    town.act(incident, Confirm())
    again = browser.get("/desk/live", headers=seen)
    assert again.status_code == 200
    assert "属实待交办" in again.text


def test_a_full_desk_still_shows_what_is_new_and_counts_all(
    any_db: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    town = world(any_db, tmp_path)
    town.account()
    for name in ("一号", "二号", "三号"):
        # overdue for days, confirmed: more urgent by the clock than anything new
        view = town.incident(name, TEXTS, began=timedelta(days=6), at=town.now - timedelta(days=6))
        town.act(view, Acknowledge(epoch=view.epoch), Confirm())
    town.incident("新来的", TEXTS, began=timedelta(minutes=40), every=timedelta(minutes=9))
    answered = town.incident("已确认收到的", TEXTS, began=timedelta(minutes=40), every=timedelta(minutes=9))
    town.act(answered, Acknowledge(epoch=answered.epoch))
    monkeypatch.setattr("console.views.desk.MOST_SHOWN", 2)
    html = client(town).get("/").text
    assert html.count('<article class="row') == 3
    assert "新来的" in html, "what nobody answered stands on the desk, however many older ones are overdue"
    assert "已确认收到的" not in html
    assert re.search(r'<div class="stat"><b>5</b>', html), "all are counted"
    assert re.search(r'<div class="stat alarm"><b>3</b><span>已超时限', html)
    assert "只列最急的和新提醒的 3 起" in html


def test_level_is_told_in_words_and_by_shape_not_only_by_colour(town: World) -> None:
    town.incident("重大事件", TEXTS, level="major")
    html = client(town).get("/").text
    tag = re.search(r'class="tag lv-major">(.*?)</span>', html)
    assert tag
    assert "#major" in tag[1]
    assert "重大" in tag[1]


def test_one_press_acknowledges_and_the_desk_says_who(town: World) -> None:
    incident = town.incident("测试事件", TEXTS)
    town.run()
    browser = client(town)
    html = browser.get("/").text
    answer = submit(browser, html, f"/incidents/{incident.number}/ack")
    assert answer.status_code == 303
    assert answer.headers["location"] == f"/?done=ack&n={incident.number}#i-{incident.id}"
    after = browser.get("/?done=ack").text
    assert "林东 已确认收到" in after
    assert f"/incidents/{incident.number}/ack" not in after
    with town.db.reading() as session:
        event = queries.events_of(session, incident.id)[-1]
    assert (event.kind, event.actor, event.channel) == ("page_acknowledged", "lin", "console")
    assert event.payload["on_behalf"] is True, "lin was not the one who was paged"


def test_pressing_twice_acts_once(town: World) -> None:
    incident = town.incident("测试事件", TEXTS)
    browser = client(town)
    html = browser.get("/").text
    for _ in range(2):
        assert submit(browser, html, f"/incidents/{incident.number}/confirm").status_code == 303
    with town.db.reading() as session:
        kinds = [event.kind for event in queries.events_of(session, incident.id)]
    assert kinds.count("confirmed") == 1


def test_an_act_on_an_old_page_is_refused_in_a_sentence_and_changes_nothing(town: World) -> None:
    incident = town.incident("测试事件", TEXTS)
    browser = client(town)
    html = browser.get("/").text
    town.act(incident, Confirm())
    action = f"/incidents/{incident.number}/false_alarm"
    answer = submit(browser, html, action, reason="no_issue", note="")
    assert answer.status_code == 409
    assert "事件刚被他人更新" in answer.text
    assert town.get(incident.id).state == "confirmed"
    with town.db.reading() as session:
        assert queries.latest_events(session, kinds=["refused"])[0].actor == "lin"


def test_a_refused_form_keeps_what_was_typed(town: World) -> None:
    incident = town.act(town.incident("测试事件", TEXTS), Confirm(), Assign("market-regulation"), SignFor())
    browser = client(town)
    page = f"/incidents/{incident.number}"
    html = browser.get(page).text
    answer = submit(
        browser,
        html,
        f"{page}/respond",
        url="https://jinan.example.invalid/1",
        summary="已停业整改",
        published_at="2027-01-01T08:00",
    )
    assert answer.status_code == 409
    assert "时间不能晚于现在" in answer.text
    assert "已停业整改" in answer.text
    assert "https://jinan.example.invalid/1" in answer.text


def test_the_whole_path_from_detection_to_closing_by_forms(town: World) -> None:
    incident = town.incident("测试事件", TEXTS)
    browser = client(town)
    page = f"/incidents/{incident.number}"
    department = town.bundle.departments.suggest("food_safety", "历下区").department
    steps: list[tuple[str, dict[str, str], str]] = [
        ("confirm", {"note": "已核实"}, "confirmed"),
        ("assign", {"department": department.id, "officer": "", "reason": ""}, "assigned"),
        ("sign", {"officer": "王科员"}, "acknowledged"),
        (
            "respond",
            {"url": "https://jinan.example.invalid/1", "summary": "", "published_at": ""},
            "responded",
        ),
        ("evaluate", {"score": "88", "note": "及时"}, "evaluated"),
        ("close", {"note": ""}, "closed"),
    ]
    for act, fields, state in steps:
        html = browser.get(page).text
        answer = submit(browser, html, f"{page}/{act}", **fields)
        assert answer.status_code == 303, (act, answer.text)
        assert town.get(incident.id).state == state
        town.now += timedelta(minutes=20)
        town.run()
    html = browser.get(page).text
    for word in ("系统发现", "研判属实", "交办部门", "王科员", "88 分", "重新开启"):
        assert word in html
    submit(browser, html, f"{page}/reopen", reason="又有新投诉")
    assert town.get(incident.id).round == 2


def test_only_acts_that_the_state_allows_are_offered(town: World) -> None:
    incident = town.incident("测试事件", TEXTS)
    html = client(town).get(f"/incidents/{incident.number}").text
    offered = set(re.findall(rf'action="/incidents/{incident.number}/(\w+)"', html))
    assert offered == {
        "ack",
        "complained",
        "confirm",
        "false_alarm",
        "inform",
        "level",
        "note",
        "press",
        "split",
    }, "nothing to merge into yet"


def test_the_suggested_department_comes_with_its_reason(town: World) -> None:
    incident = town.act(town.incident("测试事件", TEXTS), Confirm())
    suggestion = town.bundle.departments.suggest("food_safety", "历下区")
    browser = client(town)
    for path in ("/", f"/incidents/{incident.number}"):
        html = browser.get(path).text
        assert f'value="{suggestion.department.id}" selected' in html
        assert "济政办发〔2018〕25号" in html


def test_an_unknown_department_is_refused(town: World) -> None:
    incident = town.act(town.incident("测试事件", TEXTS), Confirm())
    browser = client(town)
    page = f"/incidents/{incident.number}"
    answer = submit(browser, browser.get(page).text, f"{page}/assign", department="nobody", reason="")
    assert answer.status_code == 409
    assert "部门表中没有该部门" in answer.text


def test_the_incident_page_explains_folds_and_counts(town: World) -> None:
    incident = town.incident("测试事件", TEXTS, copies=3, level="major")
    town.run()
    html = client(town).get(f"/incidents/{incident.number}").text
    assert "另有 3 条近似转载" in html
    assert html.count("（转）") == 0, "copies are folded into their original"
    assert "3 人发声" in html.replace("<b>", "").replace("</b>", "")
    assert "最迟要在5小时内发布权威信息" in html, "the clause, word for word"
    assert "5个自然小时" in html, "the trace of the computation"
    assert "平常应有" in html, "the arithmetic of the detection"


def test_the_incident_page_tells_answers_places_and_proof(town: World) -> None:
    incident = town.incident("测试事件", TEXTS, copies=2)
    browser = client(town)
    page = f"/incidents/{incident.number}"
    html = browser.get(page).text
    assert "还没有公开回应" in html
    assert re.search(r"历下区</span><meter[^>]* value=\"5\"", html), "copies are posts of their place too"
    folded = html.split("近似转载 2 条", 1)[1].split("</details>", 1)[0]
    assert folded.count("原文") == 2
    town.act(town.get(incident.id), Confirm(), Assign("market-regulation"), SignFor("王科员"))
    town.act(
        town.get(incident.id),
        Respond("https://jinan.example.invalid/9", "已责令整改"),
        Evaluate(71, "基本及时"),
    )
    html = browser.get(page).text
    answers = html.split('id="answers"', 1)[1].split("</section>", 1)[0]
    for words in ("https://jinan.example.invalid/9", "已责令整改", "71 分", "基本及时"):
        assert words in answers
    proof = html.split('id="proof"', 1)[1].split("</section>", 1)[0]
    assert "均与签名一致" in proof
    town.account("clerk", "department", department="market-regulation", name="经办")
    shown = client(town, "clerk").get(page).text
    assert "近似转载" in shown
    assert "bbs.example.invalid" not in shown, "no address of a post, nor of a copy of one"


def test_a_changed_record_is_told_on_the_page(town: World) -> None:
    incident = town.incident("测试事件", TEXTS)
    with town.db.engine.begin() as connection:
        connection.execute(text("DROP TRIGGER incident_event_no_update"))
        connection.execute(
            text(
                "UPDATE incident_event SET actor = 'somebody' WHERE incident_id = :id AND kind = 'detected'"
            ),
            {"id": incident.id},
        )
    html = client(town).get(f"/incidents/{incident.number}").text
    proof = html.split('id="proof"', 1)[1].split("</section>", 1)[0]
    assert "可能被改动" in proof
    assert "均与签名一致" not in proof


def test_every_view_of_posts_is_recorded_and_moves_no_version(town: World) -> None:
    """Once an hour for each person and incident (decision 22): a desk that is reloaded all day drowns nobody."""
    incident = town.incident("测试事件", TEXTS)
    browser = client(town)
    for _ in range(2):
        browser.get(f"/incidents/{incident.number}")
    town.now += timedelta(hours=1)
    client(town).get(f"/incidents/{incident.number}")
    with town.db.reading() as session:
        seen = queries.latest_events(session, kinds=["viewed"])
        assert events.verify(session, AUDIT_KEY).ok
    assert [(event.actor, event.payload["number"], event.payload["posts"]) for event in seen] == [
        ("lin", incident.number, 3)
    ] * 2
    assert town.get(incident.id).version == incident.version


def test_text_of_posts_cannot_become_markup(town: World) -> None:
    incident = town.incident(
        "<script>alert(1)</script>", ['<img src=x onerror="alert(2)">', "javascript:alert(3)"]
    )
    browser = client(town)
    for path in ("/", f"/incidents/{incident.number}", "/search?q=img", "/search?kind=incidents"):
        html = browser.get(path).text
        assert "<script>alert" not in html, path
        assert "<img src=x" not in html, path


def test_a_department_clerk_sees_and_moves_only_own_cases(town: World) -> None:
    other = town.incident("别人的事件", TEXTS, domain="housing")
    mine = town.act(town.incident("我们的事件", TEXTS), Confirm(), Assign("market-regulation"))
    town.account("clerk", "department", department="market-regulation", name="经办")
    browser = client(town, "clerk")
    html = browser.get("/").text
    assert "我们的事件" in html
    assert "别人的事件" not in html
    assert browser.get(f"/incidents/{other.number}").status_code == 404
    assert browser.get(f"/api/incidents/{other.number}").status_code == 404
    assert browser.get("/search").status_code == 403
    assert browser.get("/api/posts").status_code == 403
    page = f"/incidents/{mine.number}"
    html = browser.get(page).text
    assert f"{page}/evaluate" not in html
    fields = hidden(html, f"{page}/sign")
    denied = browser.post(f"{page}/level", data={**fields, "level": "major"})
    assert denied.status_code == 403
    assert submit(browser, html, f"{page}/sign", officer="").status_code == 303
    assert town.get(mine.id).state == "acknowledged"


def test_an_auditor_reads_and_cannot_act(town: World) -> None:
    incident = town.incident("测试事件", TEXTS)
    town.account("audit", "auditor", name="审计")
    browser = client(town, "audit")
    html = browser.get(f"/incidents/{incident.number}").text
    assert f'action="/incidents/{incident.number}/' not in html
    token = hidden(html, "/logout")["csrf"]
    answer = browser.post(f"/incidents/{incident.number}/confirm", data={"csrf": token})
    assert answer.status_code == 403
    assert town.get(incident.id).state == "detected"


def link(
    town: World, incident: queries.IncidentView, *, epoch: int = 1, person: str = "lin-dong", hours: int = 24
) -> str:
    claim = AckClaim(incident.id, epoch, 1, person, town.now + timedelta(hours=hours))
    return f"/a/{sign_ack(KEYS.links, claim)}"


def test_a_link_shows_on_get_and_acknowledges_only_on_post(town: World) -> None:
    incident = town.incident("测试事件", TEXTS)
    town.run()
    browser, address = client(town, None), link(town, incident)
    html = browser.get(address).text
    assert browser.head(address).status_code in (200, 405)
    assert town.get(incident.id).acknowledged_at is None, "mail scanners open every link"
    assert "林东(示例)" in html
    answer = submit(browser, html, address)
    assert answer.status_code == 303
    again = browser.get(answer.headers["location"]).text
    assert "已确认收到" in again
    assert 'method="post"' not in again
    with town.db.reading() as session:
        event = queries.events_of(session, incident.id)[-1]
    assert (event.kind, event.actor, event.channel) == ("page_acknowledged", "lin-dong", "link")


def test_an_old_link_says_to_whom_the_matter_went(town: World) -> None:
    incident = town.incident("测试事件", TEXTS)
    town.act(incident, Confirm(), Assign("market-regulation"))
    browser, address = client(town, None), link(town, incident)
    html = browser.get(address).text
    assert "已转办" in html
    assert town.bundle.departments.zh("market-regulation") in html
    assert "林东(示例)" in html
    assert 'method="post"' not in html


def test_a_post_to_an_old_link_changes_nothing(town: World) -> None:
    incident = town.incident("测试事件", TEXTS)
    browser, address = client(town, None), link(town, incident)
    html = browser.get(address).text
    town.act(incident, Confirm(), Assign("market-regulation"))
    answer = submit(browser, html, address)
    assert answer.status_code == 409
    assert "已转办" in answer.text


@pytest.mark.parametrize("damage", ["/a/x", "/a/x.y", "/a/%00.%00", "/a/中文.中文"])
def test_a_damaged_link_is_explained(town: World, damage: str) -> None:
    answer = client(town, None).get(damage)
    assert answer.status_code == 404
    assert "链接无效" in answer.text


def test_an_expired_link_is_explained(town: World) -> None:
    incident = town.incident("测试事件", TEXTS)
    address = link(town, incident, hours=1)
    town.now += timedelta(hours=2)
    answer = client(town, None).get(address)
    assert answer.status_code == 410
    assert "链接已过期" in answer.text


def test_desk_rows_follow_page_and_growth_on_both_databases(any_db: Database, tmp_path: Path) -> None:
    town = world(any_db, tmp_path)
    incident = town.incident("测试事件", TEXTS, began=timedelta(hours=2), every=timedelta(minutes=30))
    with any_db.reading() as session:
        (row,) = desk.desk(session, town.now)
    assert row.page.waits(row.incident.state)
    assert sum(row.growth) == 3
    town.run()
    town.act(incident, Acknowledge(1))
    with any_db.reading() as session:
        (row,) = desk.desk(session, town.now)
        assert desk.desk(session, town.now, department="market-regulation") == []
        assert desk.today(session, town.now - timedelta(hours=10)).detected == 1
    assert row.page.acknowledged_by == "lin-dong"
    assert not row.page.waits(row.incident.state)
    assert row.clock is not None
    assert row.clock.rule_id == "R03"
    done = town.act(
        incident, Confirm(), Assign("market-regulation"), Respond("https://x.invalid"), Evaluate(80), Close()
    )
    assert done.state == "closed"
    with any_db.reading() as session:
        assert desk.desk(session, town.now) == []
        assert desk.today(session, town.now - timedelta(hours=10)).closed == 1


def test_confirming_names_the_grade(town: World) -> None:
    incident = town.incident("测试事件", TEXTS, level="major")
    browser = client(town)
    page = f"/incidents/{incident.number}"
    html = browser.get(page).text
    assert 'id="f-confirm-level"' in html
    answer = submit(browser, html, f"{page}/confirm", note="已核实", level="serious")
    assert answer.status_code == 303
    assert (town.get(incident.id).state, town.get(incident.id).level) == ("confirmed", "serious")
