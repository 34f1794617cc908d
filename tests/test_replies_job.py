"""From an answer in the database to its reading, its promises, the reminder, and the page; each reader sees what is theirs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete

from alerts.promises import due_of
from analysis import replies_job
from incidents import answers, promises, rebuild, reply_answers, reply_readings
from incidents.models import Promise, ReplyReading
from incidents.posts import NewPost
from incidents.queries import IncidentView
from incidents.session import Database
from incidents.states import Assign, Confirm, Note, Respond, SignFor
from tests.console_world import ZONE, World, client, submit, world

TEXT = (
    "网友您好！您反映的楼道长期漏水问题已收悉。经我局现场核查，情况属实，系屋面防水层老化导致。已责令物业公司制定维修方案，"
    "根据《物业管理条例》第五十五条的规定由责任人承担维修费用。预计12月15日前完成维修，3个工作日内公布方案。"
    "下一步将继续督促落实，联系电话：12345。感谢您的监督！"
)
ASKED = "幸福里小区三号楼楼道漏水两年了，请问什么时候能维修？希望有关部门督促物业。另外电梯经常停运，请尽快检修电梯。"


@pytest.fixture
def town(any_db: Database, tmp_path: Path) -> World:
    town = world(any_db, tmp_path)
    town.account()
    for n, words in enumerate(
        ("供暖不热", "停车收费太高", "夜间施工噪声", "电动车棚失火", "自来水发黄", "道路积水严重")
    ):
        town.incident(f"某小区{words}", [f"第{n}个小区{words}，请解决"], domain="housing")
    return town


def answered(town: World, text: str = TEXT, title: str = "幸福里小区楼道漏水") -> IncidentView:
    incident = town.incident(title, [ASKED, "三号楼楼道漏水没人修，物业不管"], domain="housing")
    town.act(incident, Confirm(), Assign("housing-construction"), SignFor())
    town.now += timedelta(hours=1)
    return town.act(incident, Respond("https://gov.example.invalid/1", "已核查", text=text))


def read(town: World) -> replies_job.RepliesSummary:
    return replies_job.run(town.db, town.bundle, town.now)


def test_an_answer_is_read_once_with_its_grounds_and_its_promises(town: World) -> None:
    incident = answered(town)
    assert read(town) == replies_job.RepliesSummary(1, 2)
    assert read(town) == replies_job.RepliesSummary(0, 0)
    with town.db.reading() as session:
        (one,) = reply_readings.readings_of(session, [incident.id])[incident.id]
        (detail,) = reply_readings.detailed(session, incident.id)
        made = promises.promises_of(session, [incident.id])[incident.id]
        text = reply_answers.text_of(session, incident.id, detail.key, detail.mark)
        assert list(rebuild.differences(session)) == []
    assert text == TEXT
    assert one.department == "housing-construction"
    assert one.citations == 1
    assert one.elements == dict.fromkeys(reply_readings.ELEMENTS, True)
    assert one.relevance is not None
    assert one.relevance > 0.9
    assert one.coverage is not None
    assert 0 < one.coverage < 1
    assert (one.buck_passing, one.template_of, one.blame, one.courtesy) == (False, 0, False, True)
    assert {p.state for p in made} == {"proposed"}
    assert [p.due_at and p.due_at.astimezone(ZONE).isoformat() for p in made] == [
        "2026-12-16T00:00:00+08:00",
        None,
    ]
    assert [p.workdays for p in made] == [None, 3]
    # no word of a post or of the answer but the promises themselves stands in the event
    assert ASKED[:8] not in str(detail.details)
    assert "防水层" not in str(detail.details)


def test_readings_and_promises_are_made_again_from_the_events(town: World) -> None:
    incident = answered(town)
    read(town)
    with town.db.transaction() as session:
        before = (
            reply_readings.readings_of(session, [incident.id]),
            promises.promises_of(session, [incident.id]),
        )
        session.execute(delete(ReplyReading))
        session.execute(delete(Promise))
    with town.db.transaction() as session:
        assert len(rebuild.repair(session)) == 3
        after = (
            reply_readings.readings_of(session, [incident.id]),
            promises.promises_of(session, [incident.id]),
        )
    assert after == before


def test_a_response_without_its_text_and_older_events_are_not_read(town: World) -> None:
    incident = town.incident("另一件", ["楼道漏水，请维修"], domain="housing")
    town.act(
        incident,
        Confirm(),
        Assign("housing-construction"),
        SignFor(),
        Respond("https://gov.example.invalid/2", "已办"),
    )
    assert read(town).answers == 0
    with town.db.reading() as session:
        assert reply_readings.readings_of(session, [incident.id]) == {}


def test_an_answer_on_a_platform_is_read_when_it_comes_and_again_when_it_changes(
    town: World, post: Callable[..., NewPost]
) -> None:
    incident = town.incident("幸福里小区漏水", [ASKED], domain="housing")
    with town.db.reading() as session:
        (case,) = reply_answers.cases_of(session, incident.id)
    assert read(town).answers == 0
    shown = {"organization": "市住房和城乡建设局", "text": "您好！已转市住房和城乡建设局处理。"}

    def come(text: str) -> None:
        town.now += timedelta(hours=3)
        new = post(ASKED, source_id="forum-column", external_id="t7", fetched_at=town.now)
        given = replace(new, provenance={"answer": {**shown, "text": text}})
        with town.db.transaction() as session:
            assert answers.notice(session, [given]) == 1

    come(shown["text"])
    assert read(town).answers == 1
    with town.db.reading() as session:
        (first,) = reply_readings.readings_of(session, [incident.id])[incident.id]
    assert (first.post_id, first.seq, first.published_at) == (case.post_id, None, town.now)
    assert sum(first.elements.values()) == 0
    assert not first.buck_passing
    come(TEXT)
    assert read(town) == replies_job.RepliesSummary(1, 2)
    with town.db.reading() as session:
        (second,) = reply_readings.readings_of(session, [incident.id])[incident.id]
        assert list(rebuild.differences(session)) == []
    assert second.elements["facts"]


def test_the_seventh_copy_of_a_form_letter_is_known_as_one(town: World) -> None:
    for n in range(6):
        answered(town, TEXT.replace("12月15日", f"12月{10 + n}日"), f"第{n}小区漏水")
        read(town)
    last = answered(town, TEXT, "最后一个小区漏水")
    read(town)
    with town.db.reading() as session:
        (one,) = reply_readings.readings_of(session, [last.id])[last.id]
    assert one.template_of == 6


def test_working_days_are_counted_by_the_calendar(town: World) -> None:
    from alerts.calendar import load_calendar

    incident = answered(town)
    read(town)
    with town.db.reading() as session:
        soon = promises.promises_of(session, [incident.id])[incident.id][-1]
    # answered on Tuesday 24 November 2026
    assert due_of(soon, load_calendar(None, "Asia/Shanghai")) == datetime(2026, 11, 28, tzinfo=ZONE)


def confirm(town: World, number: str, due: str) -> None:
    browser = client(town)
    page = browser.get(f"/incidents/{number}").text
    assert submit(browser, page, f"/promises/{number}/confirm", due=due).status_code == 303


def test_a_person_confirms_and_is_reminded_once_when_the_day_has_passed(town: World) -> None:
    incident = answered(town)
    read(town)
    town.run()
    confirm(town, incident.number, "2026-11-26")
    town.run()

    def told() -> list[str]:
        from incidents import outbox

        with town.db.reading() as session:
            return [
                m.message["text"] for m in outbox.messages_of(session, incident.id) if m.kind == "promise"
            ]

    assert told() == []
    town.now += timedelta(days=3)
    town.run()
    first = told()
    assert first
    assert "12月15日前完成维修" in first[0]
    assert "是否兑现尚未登记" in first[0]
    town.now += timedelta(days=3)
    town.run()
    assert told() == first
    browser = client(town)
    page = browser.get(f"/incidents/{incident.number}").text
    assert "已到期，请登记是否兑现" in page
    done = submit(
        browser, page, f"/promises/{incident.number}/kept", link="https://gov.example.invalid/3", note=""
    )
    assert done.status_code == 303
    with town.db.reading() as session:
        states = [p.state for p in promises.promises_of(session, [incident.id])[incident.id]]
        assert list(rebuild.differences(session)) == []
    assert sorted(states) == ["kept", "proposed"]


def test_kept_in_time_nobody_is_reminded(town: World) -> None:
    incident = answered(town)
    read(town)
    confirm(town, incident.number, "2026-11-26")
    town.run()
    with town.db.transaction() as session:
        opened = next(
            p for p in promises.promises_of(session, [incident.id])[incident.id] if p.state == "open"
        )
        promises.settle(
            session,
            incident.id,
            opened.key,
            kept=True,
            link="文号",
            actor="lin",
            channel="console",
            now=town.now,
        )
    town.now += timedelta(days=5)
    town.run()
    with town.db.reading() as session:
        from incidents import outbox

        assert [m for m in outbox.messages_of(session, incident.id) if m.kind == "promise"] == []


def test_the_page_says_what_is_there_what_is_missing_and_what_was_asked(town: World) -> None:
    incident = answered(town, TEXT.replace("，系屋面防水层老化导致", "").replace("联系电话：12345。", ""))
    read(town)
    page = client(town).get(f"/incidents/{incident.number}").text
    panel = page.split('id="replies"')[1].split('id="record"')[0]
    assert '<li class="missing"><b>联系方式' in panel
    assert '<li class="there"><b>' in panel
    assert "检修电梯" in panel
    assert "系统没有找到答复的诉求" in panel
    assert "待人确认" in panel
    assert "12月15日前完成维修" in panel
    english = client(town, lang="en").get(f"/incidents/{incident.number}").text
    assert "Asks for which no answer was found" in english
    assert "To be confirmed" in english


def test_wrong_days_and_strangers_are_refused(town: World) -> None:
    incident = answered(town)
    read(town)
    browser = client(town)
    page = browser.get(f"/incidents/{incident.number}").text
    wrong = submit(browser, page, f"/promises/{incident.number}/confirm", due="bald")
    assert wrong.status_code == 409
    assert "请填写承诺期限" in wrong.text
    early = submit(browser, page, f"/promises/{incident.number}/confirm", due="2026-11-01")
    assert early.status_code == 409
    assert "不能早于答复时间" in early.text
    assert browser.post(f"/promises/{incident.number}/eat", data={}).status_code in (403, 404)
    town.account("ann", "analyst", name="分析员")
    other = client(town, "ann")
    assert 'action="/promises/' not in other.get(f"/incidents/{incident.number}").text
    assert "待人确认" in other.get(f"/incidents/{incident.number}").text


def test_clerks_see_the_reading_of_their_own_case_and_nobody_else_s(town: World) -> None:
    incident = answered(town)
    read(town)
    town.account("fang", "department", "housing-construction", "住建科员")
    town.account("jiao", "department", "education", "教育科员")
    mine = client(town, "fang").get(f"/incidents/{incident.number}")
    assert mine.status_code == 200
    assert 'id="replies"' in mine.text
    assert 'action="/promises/' not in mine.text
    assert client(town, "jiao").get(f"/incidents/{incident.number}").status_code == 404


def test_auditors_read_what_was_found_without_the_words_of_citizens(town: World) -> None:
    incident = answered(town, TEXT.replace("维修", "处置"))
    read(town)
    town.account("shen", "auditor", name="审计员")
    page = client(town, "shen").get(f"/incidents/{incident.number}").text
    panel = page.split('id="replies"')[1].split('id="record"')[0]
    assert "事实核实" in panel
    assert "检修电梯" not in panel


def test_an_answer_that_is_typed_is_redacted_before_it_is_written(town: World) -> None:
    incident = town.incident("幸福里小区漏水", [ASKED], domain="housing")
    town.act(incident, Confirm(), Assign("housing-construction"), SignFor())
    browser = client(town)
    page = browser.get(f"/incidents/{incident.number}").text
    text = TEXT + "已电话联系来电人13912345678。"
    done = submit(
        browser, page, f"/incidents/{incident.number}/respond", url="https://gov.example.invalid/1", text=text
    )
    assert done.status_code == 303
    with town.db.reading() as session:
        (answer,) = reply_answers.answers_of(session, town.bundle.departments, incident.id)
    assert "13912345678" not in answer.text
    assert "现场核查" in answer.text


def test_notes_and_closed_matters_bring_nothing_new(town: World) -> None:
    incident = answered(town)
    read(town)
    town.act(incident, Note("电话已回访"))
    assert read(town).answers == 0
