"""Whom a text complains about: the units of departments.yaml by their names of 2018 and now, and who is only named."""

from __future__ import annotations

import pytest

from config.departments import Departments, load_departments
from config.files import DEFAULTS


@pytest.fixture(scope="module")
def jinan() -> Departments:
    return load_departments(DEFAULTS / "departments.yaml")


def read(jinan: Departments, text: str, *, about: str = "", district: str = "历下区") -> dict[str, bool]:
    """Units complained of; True: in so many words."""
    found = jinan.reader.complaints("", text, about=about, district=district)
    return {one.unit: one.plain for one in found}


@pytest.mark.parametrize(
    ("text", "units"),
    [
        # names of 2018, of now, and those that people write
        ("投诉市食品药品监管局", {"market-regulation"}),
        ("我要举报市场监管局", {"market-regulation"}),
        ("济南市市场监督管理局不处理", {"market-regulation"}),
        ("食药局包庇黑作坊", {"market-regulation"}),
        ("市环保局不作为", {"ecology"}),
        ("生态环境局监管不力", {"ecology"}),
        ("济南市卫健委态度恶劣", {"health-commission"}),
        ("卫生健康委员会不回复", {"health-commission"}),
        ("被投诉单位：市公安局", {"police"}),
        ("举报城管暴力执法", {"urban-management"}),
        # whom a receiver did not answer
        ("向城管局反映多次没人管", {"urban-management"}),
        ("举报到市场监管局，没有回复", {"market-regulation"}),
        ("向教育局反映，城管局不作为", {"urban-management"}),
        ("找了住建委、房管局都没人管", {"housing-construction"}),
        ("人社局和教育局互相推诿", {"human-resources", "education"}),
        # districts and areas
        ("历下区教育局乱收费", {"lixia"}),
        ("市中区住建局推诿", {"shizhong"}),
        ("历下城管局不作为", {"lixia"}),
        ("莱芜市教育局不处理", {"laiwu"}),
        ("投诉区教育局", {"lixia"}),
        ("区政府不管", {"lixia"}),
        ("投诉历下区人民政府", {"lixia"}),
        ("高新区城管局不作为", {"gaoxin"}),
        ("投诉高新区管委会", {"gaoxin"}),
        # the office that supervises
        ("市政府办公厅不受理", {"city-office"}),
    ],
)
def test_who_is_accused(jinan: Departments, text: str, units: set[str]) -> None:
    assert read(jinan, text) == dict.fromkeys(units, True)


@pytest.mark.parametrize(
    "text",
    [
        "请教育局查一查这所学校",
        "希望市食品药品监管局不要推诿",
        "向教育局反映学校乱收费",
        "已向住建局反映物业不作为",
        "建议城管局加强巡查，摊贩不管不顾",
        "感谢市教育局",
        "开发商以教育局政策为由，拒绝解决上学问题",
        "价格是通过市住建委审批的，拒绝提供清单",
        "教育局宿舍停水，没人管",
        "市公安局附近的工地没人管",
        "青岛市教育局不作为",
        "余杭区市场监管局行政不作为",
        "福州高新区管委会不作为",
        "省教育厅不回复",
        "国家卫健委没有回复",
        "小区政府补贴没人管",
        "当前教育局面复杂，没有结果",
        "金融办法没有下文",
        "有关部门不作为",
        "",
    ],
)
def test_who_is_only_named_or_is_somebody_else(jinan: Departments, text: str) -> None:
    assert read(jinan, text, district="") == {}
    # and a judgement that speaks of an office does not turn a request for help or a place into a complaint
    assert read(jinan, text, about="department", district="") == {}


def test_a_post_about_an_office_complains_about_the_one_that_it_names(jinan: Departments) -> None:
    text = "市教育局的积分入学政策不公平"
    assert read(jinan, text) == {}
    assert read(jinan, text, about="department") == {"education": False}
    assert read(jinan, text, about="school") == {}


def test_a_district_bureau_without_its_district_is_nobodys(jinan: Departments) -> None:
    assert read(jinan, "投诉区教育局", district="") == {}
    assert read(jinan, "投诉县教育局", district="平阴县") == {"pingyin": True}


def test_a_bureau_of_a_district_that_is_listed_stands_for_itself() -> None:
    own = Departments.model_validate(
        {
            "supervision": "office",
            "departments": [
                {"id": "office", "name": "市政府办公厅", "kind": "supervision"},
                {"id": "education", "name": "市教育局"},
                {"id": "lixia", "name": "历下区政府", "kind": "district", "districts": ["历下区"]},
                {"id": "lixia-education", "name": "历下区教育局", "superior": "lixia"},
            ],
            "duties": [{"domain": "schooling", "lead": "education"}],
        }
    )
    found = own.reader.complaints("", "投诉历下区教育局", district="历下区")
    assert [one.unit for one in found] == ["lixia-education"]
    # the government above it may handle; the bureau may not
    assert own.touched("lixia-education", {"lixia-education"})
    assert not own.touched("lixia", {"lixia-education"})
    assert own.above("lixia", {"lixia-education"})
    assert not own.above("education", {"lixia-education"})


def test_the_sentence_and_the_name_are_kept_as_written(jinan: Departments) -> None:
    found = jinan.reader.complaints(
        "食堂", "孩子吐了。打了三次电话，市食药监局一直推诿！求关注", district="历下区"
    )
    assert [(one.written, one.quote, one.plain) for one in found] == [
        ("市食药监局", "打了三次电话，市食药监局一直推诿", True)
    ]


def test_a_long_text_is_read_to_its_limit_and_quickly(jinan: Departments) -> None:
    text = "食堂的肉有味道。" * 400 + "投诉市教育局"
    assert jinan.reader.complaints("", text) == ()
    assert [one.unit for one in jinan.reader.complaints("投诉市教育局", text)] == ["education"]


def test_every_unit_is_found_by_each_of_its_names(jinan: Departments) -> None:
    for department in jinan.departments:
        for name in (department.name, *department.name_2018, *department.aliases):
            found = jinan.reader.complaints("", f"投诉{name}", district="")
            assert [one.unit for one in found] == [department.id], name
