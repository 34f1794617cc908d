"""Assigning: who is proposed and who has to stand back, helpers with their boxes, and what each department is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from config.bundle import Bundle
from config.departments import Departments
from incidents import lifecycle, queries
from incidents.posts import NewPost
from incidents.session import Database
from incidents.states import Assign, Confirm, Merge, NameComplained, Refused, Return, SignFor
from tests.alert_office import Office, bundle_for
from tests.console_world import World, client, submit, world

Posts = Callable[..., NewPost]
ACCUSING = ["食堂的肉有味道", "向市场监管局反映多次，没人管", "孩子吐了"]


def with_contacts(bundle: Bundle, *without: str) -> Bundle:
    """Every department has a mail address, but those named."""
    data = bundle.departments.model_dump()
    for one in data["departments"]:
        if one["id"] not in without:
            one["contact"] = {"email": f"{one['id']}@dept.example"}
    return replace(bundle, departments=Departments.model_validate(data))


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(db, tmp_path)
    made.account()
    return made


@pytest.fixture
def office(db: Database, tmp_path: Path) -> Office:
    made = Office(db, with_contacts(bundle_for(tmp_path)))
    db.know(made.bundle.departments)
    return made


def ticked(html: str) -> list[str]:
    return sorted(re.findall(r'name="co-([a-z-]+)" value="1" checked', html))


# --- the form ------------------------------------------------------------------------------------------------------


def test_suggested_helpers_are_ticked_and_assigned_without_a_script(town: World) -> None:
    incident = town.act(town.incident("食堂", ["食堂的肉有味道"] * 2), Confirm())
    browser, page = client(town), f"/incidents/{incident.number}"
    html = browser.get(page).text
    assert ticked(html) == ["health-commission", "lixia"]
    assert 'value="market-regulation" selected' in html
    boxes = {"co-health-commission": "1", "co-education": "1"}
    answer = submit(browser, html, f"{page}/assign", department="market-regulation", **boxes)
    assert answer.status_code == 303
    moved = town.get(incident.id)
    assert (moved.department, moved.co) == ("market-regulation", ("education", "health-commission"))
    html = browser.get(page).text
    assert "协办：市教育局、市卫生健康委员会" in html


def test_the_box_of_the_unit_that_was_made_the_lead_does_no_harm(town: World) -> None:
    incident = town.act(town.incident("食堂", ["食堂的肉有味道"] * 2), Confirm())
    browser, page = client(town), f"/incidents/{incident.number}"
    answer = submit(
        browser,
        browser.get(page).text,
        f"{page}/assign",
        department="lixia",
        **{"co-lixia": "1", "co-education": "1"},
    )
    assert answer.status_code == 303
    assert (town.get(incident.id).department, town.get(incident.id).co) == ("lixia", ("education",))


def test_a_reassignment_keeps_who_helps_unless_told_otherwise(town: World) -> None:
    incident = town.act(
        town.incident("食堂", ["食堂的肉有味道"] * 2),
        Confirm(),
        Assign("market-regulation", co=("education",)),
    )
    html = client(town).get(f"/incidents/{incident.number}").text
    assert ticked(html) == ["education"]
    town.act(incident, NameComplained(("education",), (), "来电人说的"))
    assert ticked(client(town).get(f"/incidents/{incident.number}").text) == []


def test_a_refused_form_keeps_the_boxes_as_they_were(town: World) -> None:
    incident = town.act(town.incident("食堂", ["食堂的肉有味道"] * 2), Confirm())
    browser, page = client(town), f"/incidents/{incident.number}"
    answer = submit(
        browser, browser.get(page).text, f"{page}/assign", department="nobody", **{"co-police": "1"}
    )
    assert answer.status_code == 409
    assert ticked(answer.text) == ["police"]


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_form_passes_over_whom_the_posts_complain_about(town: World, lang: str) -> None:
    incident = town.act(town.incident("食堂", ACCUSING), Confirm())
    browser = client(town, lang=lang)
    for path in ("/", f"/incidents/{incident.number}"):
        html = browser.get(path).text
        assert 'value="health-commission" selected' in html, path
        assert 'value="market-regulation" disabled' in html, path
        assert 'name="co-market-regulation"' not in html, path
        words = {
            "zh": "回避: 诉求涉及市市场监督管理局",
            "en": "passed over because the complaint is about them",
        }
        assert words[lang] in html, path
        assert "济南市12345市民服务热线条例第32条" in html, path
    assert "向市场监管局反映多次，没人管" in browser.get(f"/incidents/{incident.number}").text


@pytest.mark.parametrize("lang", ["zh", "en"])
@pytest.mark.parametrize("back", ["", "desk"])
def test_a_form_that_was_made_by_hand_is_refused_with_the_clause(town: World, lang: str, back: str) -> None:
    incident = town.act(town.incident("食堂", ACCUSING), Confirm())
    browser, page = client(town, lang=lang), f"/incidents/{incident.number}"
    html = browser.get(page).text
    for fields in (
        {"department": "market-regulation"},
        {"department": "health-commission", "co-market-regulation": "1"},
    ):
        answer = submit(browser, html, f"{page}/assign", back=back, **fields)
        assert answer.status_code == 409
        sentence = {"zh": "诉求涉及市市场监督管理局，不能由其承办或协办", "en": "can neither lead nor help"}[
            lang
        ]
        assert sentence in answer.text
        assert "济南市12345市民服务热线条例第32条" in answer.text
    assert town.get(incident.id).department == ""


def test_a_person_clears_a_unit_and_adds_another(town: World) -> None:
    incident = town.act(town.incident("食堂", ACCUSING), Confirm())
    browser, page = client(town), f"/incidents/{incident.number}"
    html = browser.get(page).text
    assert 'name="is-market-regulation" value="1" checked' in html
    answer = submit(browser, html, f"{page}/complained", add="police", reason="")
    assert answer.status_code == 409
    assert "更正投诉对象须写明理由" in answer.text
    assert (
        submit(browser, html, f"{page}/complained", add="police", reason="来电人说的是派出所").status_code
        == 303
    )
    html = browser.get(page).text
    assert 'value="market-regulation" selected' in html
    assert 'value="police" disabled' in html
    assert "经核不是投诉对象" in html
    assert "人工认定" in html
    assert "投诉对象：市公安局；不是投诉对象：市市场监督管理局" in html
    # ticked again, and the added one taken out
    boxes = {"is-market-regulation": "1"}
    assert submit(browser, html, f"{page}/complained", reason="更正", **boxes).status_code == 303
    with town.db.reading() as session:
        said = lifecycle.situation_of(session, incident.id)
    assert (said.named, said.cleared) == ((), ())


def test_what_was_found_after_the_page_was_read_is_not_cleared(town: World) -> None:
    incident = town.act(town.incident("食堂", ["食堂的肉有味道", "孩子吐了"]), Confirm())
    browser, page = client(town), f"/incidents/{incident.number}"
    html = browser.get(page).text
    other = town.act(town.incident("又一件", ["投诉市场监管局"]), Confirm())

    town.act(other, Merge(incident.id))
    assert submit(browser, html, f"{page}/complained", add="police", reason="来电人说的").status_code == 303
    with town.db.reading() as session:
        about = lifecycle.complained_of(session, town.bundle.departments, incident.id, incident.district)
    assert about.units == {"market-regulation", "police"}


def test_where_nobody_is_left_the_form_asks_who_decides(town: World) -> None:
    incident = town.act(town.incident("其他", ["投诉市政府办公厅"] * 2, domain="other"), Confirm())
    town.account("du", "supervisor", name="督办张")
    page = f"/incidents/{incident.number}"
    browser = client(town)
    html = browser.get(page).text
    assert '<option value="">请选择</option>' in html
    assert re.search(r'name="decided_by" required[^>]*value=""', html)
    assert "没有可以回避后承办的单位" in html
    answer = submit(browser, html, f"{page}/assign", department="justice", reason="", decided_by="")
    assert answer.status_code == 409
    assert "须由督办人员或上级机关指定" in answer.text
    # supervision stands in its own form by name
    browser = client(town, "du")
    html = browser.get(page).text
    assert re.search(r'name="decided_by" required[^>]*value="督办张"', html)
    answer = submit(browser, html, f"{page}/assign", department="justice", reason="指定", decided_by="督办张")
    assert answer.status_code == 303
    assert "回避：市政府办公厅；指定：督办张" in browser.get(page).text


def test_a_unit_in_charge_that_is_complained_of_later_is_shown_as_a_conflict(town: World) -> None:
    incident = town.act(
        town.incident("食堂", ["食堂的肉有味道"] * 2), Confirm(), Assign("market-regulation", co=("lixia",))
    )
    browser, page = client(town), f"/incidents/{incident.number}"
    assert "现被投诉" not in browser.get(page).text
    town.act(incident, NameComplained(("lixia",), (), "新帖投诉区政府"))
    assert "回避：历下区政府现被投诉，不能继续承办或协办，请转办" in browser.get(page).text


# --- what departments are told ---------------------------------------------------------------------------------------


def told(office: Office, kind: str) -> dict[str, str]:
    """Texts of one kind by recipient."""
    return {row.recipient: row.message["text"] for row in office.messages(kind)}


def test_helpers_are_told_that_they_help_and_who_leads(office: Office, post: Posts) -> None:
    office.detect(post).do(Confirm()).do(
        Assign("market-regulation", co=("health-commission", "lixia"))
    ).work()
    assert list(told(office, "assignment")) == ["market-regulation@dept.example"]
    assert "协办 市卫生健康委员会、历下区政府" in told(office, "assignment")["market-regulation@dept.example"]
    helping = told(office, "co_assignment")
    assert set(helping) == {"health-commission@dept.example", "lixia@dept.example"}
    text = helping["lixia@dept.example"]
    assert "交由市市场监督管理局主办，历下区政府协办" in text
    assert "确定一个主办单位办理，其他承办单位应当予以配合" in text
    assert "签收、回应由主办单位负责" in text
    assert all(row.state == "sent" for row in office.messages("co_assignment"))


def test_who_has_no_address_is_named_to_the_duty_officer(db: Database, tmp_path: Path, post: Posts) -> None:
    office = Office(db, with_contacts(bundle_for(tmp_path), "lixia"))
    office.detect(post).do(Confirm()).do(
        Assign("market-regulation", co=("health-commission", "lixia"))
    ).work()
    helping = told(office, "co_assignment")
    assert set(helping) == {"health-commission@dept.example", "lin@jinan.example"}
    assert "历下区政府没有配置邮箱或群组" in helping["lin@jinan.example"]


def test_a_reassignment_tells_whom_it_drops_and_nothing_of_the_matter(office: Office, post: Posts) -> None:
    office.detect(post).do(Confirm()).do(
        Assign("market-regulation", co=("health-commission", "lixia"))
    ).work()
    office.later(hours=1).do(Assign("education", reason="学校食堂", co=("lixia",))).work()
    dropped = told(office, "release")
    assert set(dropped) == {"market-regulation@dept.example", "health-commission@dept.example"}
    number = office.incident.number
    assert f"市卫生健康委员会不再协办 {number}" in dropped["health-commission@dept.example"]
    assert f"市市场监督管理局不再承办 {number}" in dropped["market-regulation@dept.example"]
    for text in dropped.values():
        assert "食堂" not in text
        assert "呕吐" not in text
    # the helper that stays is told anew, because the lead changed
    assert [
        row.epoch for row in office.messages("co_assignment") if row.recipient == "lixia@dept.example"
    ] == [2, 3]
    # and nobody hears twice that they are dropped
    office.later(hours=1).do(Assign("civil-affairs", reason="再转")).work()
    rows = [(row.recipient, row.epoch) for row in office.messages("release")]
    assert rows.count(("market-regulation@dept.example", 3)) == 1
    assert sorted(address for address, epoch in rows if epoch == 4) == [
        "education@dept.example",
        "lixia@dept.example",
    ]


def test_a_return_tells_the_helpers_and_not_who_sent_it_back(office: Office, post: Posts) -> None:
    office.detect(post).do(Confirm()).do(Assign("market-regulation", co=("lixia",))).work()
    office.later(hours=1).do(Return("不属于我局职责")).work()
    assert set(told(office, "release")) == {"lixia@dept.example"}
    office.later(hours=1).do(Assign("education")).work()
    assert set(told(office, "release")) == {"lixia@dept.example"}


def test_who_was_never_told_is_not_told_that_they_are_dropped(office: Office, post: Posts) -> None:
    office.detect(post).work()
    # an outage: both assignments are seen at once
    office.do(Confirm()).do(Assign("market-regulation", co=("lixia",))).do(
        Assign("education", reason="转")
    ).work()
    assert told(office, "co_assignment") == {}
    assert told(office, "release") == {}
    assert list(told(office, "assignment")) == ["education@dept.example"]


def test_nothing_is_sent_to_a_unit_once_it_is_complained_of(office: Office, post: Posts) -> None:
    office.detect(post).do(Confirm()).do(Assign("market-regulation", co=("lixia",))).work()
    before = len(office.messages())
    office.later(hours=1).do(NameComplained(("market-regulation",), (), "新帖投诉该局")).work()
    (told_row,) = [row for row in office.messages("update") if row.step == office.incident.version]
    assert told_row.recipient == "lin@jinan.example"
    assert "市市场监督管理局现被投诉，不能继续承办或协办" in told_row.message["text"]
    assert "济南市12345市民服务热线条例第32条" in told_row.message["text"]
    for _hours in range(60):
        office.later(hours=1).work()
    later = office.messages()[before:]
    assert {row.kind for row in later} >= {"remind", "yellow", "red"}, "the duty officer is told all the same"
    assert not [row for row in later if row.recipient == "market-regulation@dept.example"]
    card = next(row for row in later if row.kind == "red")
    assert "市市场监督管理局现被投诉，应当回避，请转办" in card.message["text"]


def test_what_waits_for_a_unit_is_withdrawn_when_it_is_named(office: Office, post: Posts) -> None:
    office.detect(post).do(Confirm()).do(Assign("market-regulation", co=("lixia",)))
    office.tick()
    office.do(NameComplained(("lixia",), (), "来电人投诉区政府"))
    office.tick()
    office.send()
    states = {
        row.recipient: row.state for row in office.messages() if row.kind in ("assignment", "co_assignment")
    }
    assert states["lixia@dept.example"] == "superseded"
    assert states["market-regulation@dept.example"] == "sent"


def test_the_page_proposes_whom_the_posts_do_not_complain_about(office: Office, post: Posts) -> None:
    office.detect(lambda text, **more: post(f"{text}，投诉市场监管局", **more)).work()
    (page,) = office.messages("page")
    assert "建议 市卫生健康委员会、历下区政府（已回避被投诉单位）" in page.message["text"]


def test_every_way_in_meets_the_same_refusal(office: Office, post: Posts) -> None:
    office.detect(lambda text, **more: post(f"{text}，投诉市场监管局", **more)).do(Confirm()).work()
    for channel in ("console", "slack", "link", "cli", "api", "system"):
        with pytest.raises(Refused, match="can neither lead nor help"):
            lifecycle.handle_or_refuse(
                office.db,
                office.incident_id,
                Assign("market-regulation"),
                actor="lin",
                channel=channel,
                now=office.now,
            )
    office.do(Assign("health-commission")).do(SignFor())
    with pytest.raises(Refused, match="can neither lead nor help"):
        office.do(Assign("market-regulation", reason="转办"))
    with office.db.reading() as session:
        refused = [event for event in queries.latest_events(session) if event.kind == "refused"]
    assert len(refused) == 6
