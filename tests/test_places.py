"""Places: found by gazetteer and by pattern, and written one way."""

from __future__ import annotations

import pytest

from analysis.places import Gazetteer, find_names, find_places, normal_name, same_name

JINAN = Gazetteer(
    {"历下区": ["甸柳新村街道", "千佛山街道"], "市中区": ["大观园街道"], "天桥区": ["北坦街道"]}, "济南市"
)


def norms(text: str, kind: str | None = None) -> list[str]:
    return [p.norm for p in find_names(text) if kind is None or p.kind == kind]


@pytest.mark.parametrize(
    ("text", "kind", "norm"),
    [
        ("投诉泉景·天沅苑强行捆绑车位销售", "estate", "泉景天沅苑"),
        ("我是明湖丽发新城小区的一名业主", "estate", "明湖丽发新城"),
        ("家住在洪家楼第三小学旁边", "school", "洪家楼第三小学"),
        ("位于花园路的饭店", "road", "花园路"),
        ("举报鲁泰置业有限公司违规", "organisation", "鲁泰置业"),
        ("我父亲在东关医院住院", "hospital", "东关医院"),
    ],
)
def test_names_are_found_by_their_pattern(text: str, kind: str, norm: str) -> None:
    assert norm in norms(text, kind)


@pytest.mark.parametrize(
    "text",
    ["我们小区停水", "该公司不退钱", "附近的学校很多", "相关公司", "马路上都是水", "市政府", "这个小区"],
)
def test_class_words_alone_are_no_place(text: str) -> None:
    assert norms(text) == []


def test_forms_of_one_name_meet() -> None:
    assert normal_name("泉景·天沅苑小区") == normal_name("泉景天沅苑") == normal_name("泉景・天沅苑")
    assert same_name("泉景天沅苑", "天沅苑")
    assert not same_name("泉景天沅苑", "明湖天沅府")
    assert not same_name("泉景", "景")


def test_street_tells_its_district() -> None:
    _, districts = find_places("甸柳新村街道的路灯坏了", JINAN)
    assert districts == ["历下区"]


def test_words_that_only_look_like_districts_are_left_alone() -> None:
    _, districts = find_places("小区门口的人行天桥坏了，超市中也没有电", JINAN)
    assert districts == []


def test_masked_districts_are_read() -> None:
    places, districts = find_places("A7县星沙街道停电，A市没人管", None)
    assert districts == ["A7县"]
    assert {p.norm for p in places if p.kind == "district"} == {"A7县", "A市"}
