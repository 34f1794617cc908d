"""The register and the page of clocks in the console: what is shown, who may enter what, what a refusal looks like."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from alerts.job import tick
from config.bundle import load_bundle
from incidents import lifecycle, obligations
from incidents.queries import IncidentView
from incidents.session import Database
from incidents.states import Assign, Confirm
from tests.console_world import KEYS, World, client

_TOKEN = re.compile(r'name="csrf" value="([^"]+)"')


class Browser:
    """A person at the console who sends forms with the session's token and is not led on to the next page."""

    def __init__(self, town: World, login: str) -> None:
        self._client = client(town, login)
        self._token = ""

    def get(self, address: str) -> httpx.Response:
        return self._client.get(address)

    def post(self, address: str, fields: dict[str, str]) -> httpx.Response:
        found = _TOKEN.search(self.get("/obligations").text)
        assert found
        return self._client.post(address, data={"csrf": found[1], **fields}, follow_redirects=False)


@pytest.fixture
def world(db: Database, tmp_path: Path) -> World:
    bundle = load_bundle(None, config_dir=tmp_path, data_dir=tmp_path)
    hotline = next(source for source in bundle.sources if source.id == "forum-column")
    sources = (hotline.model_copy(update={"way": "hotline"}),)
    made = World(db, replace(bundle, sources=sources))
    made.account()
    made.account("wang", "leader", name="王领导")
    made.account("clerk", "department", "market-regulation", "赵办")
    tick(made.db, made.bundle, KEYS, made.now)
    return made


def rows(world: World, rule: str) -> list[obligations.ObligationView]:
    with world.db.reading() as session:
        return obligations.listed(session, world.now, rule_id=rule)


def hotline_case(world: World) -> IncidentView:
    """A matter from the hotline in the hands of a department."""
    incident = world.incident("某小区停水", ["停水三天没人管", "还是没水"], level="general")
    tick(world.db, world.bundle, KEYS, world.now)
    for command in (Confirm(), Assign("market-regulation")):
        with world.db.transaction() as session:
            lifecycle.handle(session, incident.id, command, actor="lin", channel="console", now=world.now)
    tick(world.db, world.bundle, KEYS, world.now)
    return incident


def test_the_register_shows_what_is_open_and_what_cannot_be_counted(world: World) -> None:
    page = Browser(world, "lin").get("/obligations").text
    assert "没有逾期" in page
    assert "网站发布疫情信息" in page
    assert "市卫生健康委员会" in page
    assert "2026-11-30 24:00" in page
    assert "决策前公开草案依据" in page  # a gate: listed, not counted


def test_an_occasion_is_entered_met_and_overdue_ones_stand_on_top(world: World) -> None:
    browser = Browser(world, "lin")
    answer = browser.post(
        "/obligations",
        {"rule": "S01", "unit": "market-regulation", "trigger": "召回〔2026〕7号", "at": "2026-11-23T09:00"},
    )
    assert answer.status_code == 303
    (row,) = rows(world, "S01")
    assert row.due_at - row.started_at == timedelta(hours=24)
    tick(world.db, world.bundle, KEYS, world.now)
    page = browser.get("/obligations").text
    assert "逾期 1 项" in page
    assert page.index("召回〔2026〕7号") < page.index("2026-11-30 24:00")
    wrong = browser.post(f"/obligations/{row.id}/met", {"evidence": " "})
    assert wrong.status_code == 409
    assert "凭证" in wrong.text
    done = browser.post(f"/obligations/{row.id}/met", {"evidence": "https://gov.example/7"})
    assert done.status_code == 303
    assert rows(world, "S01")[0].state == "late"
    assert 'href="https://gov.example/7"' in browser.get("/obligations?state=late").text


def test_a_clerk_sees_and_enters_for_the_own_unit_only(world: World) -> None:
    browser = Browser(world, "clerk")
    page = browser.get("/obligations?unit=health-commission").text
    assert "网站发布疫情信息" not in page.split("登记触发事项")[-1].split("不能计时")[0]
    other = rows(world, "S04")[0]
    assert browser.post(f"/obligations/{other.id}/met", {"evidence": "x"}).status_code == 403
    assert (
        browser.post("/obligations", {"rule": "S02", "unit": "education", "trigger": "x"}).status_code == 403
    )
    mine = {"rule": "S01", "unit": "market-regulation", "trigger": "召回8号"}
    assert browser.post("/obligations", mine).status_code == 303


def test_taking_back_is_for_supervision_and_leaders(world: World) -> None:
    row = rows(world, "S09")[0]
    address = f"/obligations/{row.id}/cancel"
    assert Browser(world, "lin").post(address, {"reason": "x"}).status_code == 403
    assert Browser(world, "wang").post(address, {"reason": "不适用"}).status_code == 303
    assert rows(world, "S09")[0].state == "cancelled"


def test_an_extension_is_entered_on_the_page_of_clocks(world: World) -> None:
    incident = hotline_case(world)
    browser = Browser(world, "lin")
    address = f"/incidents/{incident.number}/clocks"
    page = browser.get(address).text
    assert "以哪一个为准" in page
    assert "延期时限一般不超过10个工作日" in page
    assert "王领导" in page
    form = {"rule": "H01", "units": "11", "approver": "wang", "reason": "情况复杂"}
    refused = browser.post(f"{address}/extend", form)
    assert refused.status_code == 409
    assert "延长应为1至10个工作日" in refused.text
    assert "情况复杂" in refused.text  # what was typed stays
    assert browser.post(f"{address}/extend", {**form, "units": "5"}).status_code == 303
    after = browser.get(f"{address}?done=extend").text
    assert "已延期，原截止 2026-12-01 24:00" in after
    assert "2026-12-08 24:00" in after
    assert "经王领导批准延长5个工作日" in after


def test_the_caller_is_told_a_date_on_the_page_of_clocks(world: World) -> None:
    incident = hotline_case(world)
    browser = Browser(world, "clerk")
    address = f"/incidents/{incident.number}/clocks"
    assert browser.post(f"{address}/extend", {"rule": "H01", "units": "5"}).status_code == 403
    form = {"rule": "H03", "measures": "更换管网", "until": "2026-12-15", "url": "电话记录3"}
    assert browser.post(f"{address}/told", {**form, "until": "soon"}).status_code == 409
    assert browser.post(f"{address}/told", form).status_code == 303
    assert "承诺解决日期：2026-12-15" in browser.get(address).text


@pytest.mark.parametrize("address", ["/obligations", "/incidents/{number}/clocks"])
def test_the_pages_speak_english_completely(world: World, address: str) -> None:
    incident = hotline_case(world)
    browser = Browser(world, "lin")
    page = browser.get(address.format(number=incident.number) + "?lang=en").text
    assert "Register of disclosure duties" in page or "Which one governs" in page
    assert "责任单位" not in page
    assert "延期" not in page.replace("延期时限", "").replace("可延长", "")
