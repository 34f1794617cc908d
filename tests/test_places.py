"""Places: found by gazetteer and by pattern, and written one way. All names are invented or public names of Jinan."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest

from analysis.places import (
    SEARCHED,
    Gazetteer,
    find_places,
    find_spans,
    normal_name,
    same_name,
)

JINAN = Gazetteer(
    {"历下区": ["甸柳新村街道", "千佛山街道"], "市中区": ["大观园街道"], "天桥区": ["北坦街道"]},
    "济南市",
    aliases={"天桥区": ["天桥片区"]},
    named=[
        ("school", "泉城外国语学校", ["泉外"], "市中区"),
        ("estate", "泉林云上", ["云上泉林"], "天桥区"),
        ("district", "济南高新区", ["高新区"], ""),
    ],
)


def norms(text: str, kind: str | None = None) -> list[str]:
    places, _ = find_places(text, None)
    return [p.norm for p in places if p.kind != "district" and (kind is None or p.kind == kind)]


def mentions(text: str) -> list[tuple[str, str]]:
    return [(text[s.start : s.end], s.kind) for s in find_spans(text, None)]


@pytest.mark.parametrize(
    ("text", "kind", "norm"),
    [
        ("投诉泉景·天沅苑强行捆绑车位销售", "estate", "泉景天沅苑"),
        ("我是明湖丽发新城小区的一名业主", "estate", "明湖丽发新城"),
        ("家住在洪家楼第三小学旁边", "school", "洪家楼三小学"),
        ("位于花园路的饭店", "road", "花园路"),
        ("举报鲁泰置业有限公司违规", "organisation", "鲁泰置业"),
        ("我父亲在东关医院住院", "hospital", "东关医院"),
        ("听泉观邸三期的电梯坏了", "estate", "听泉观邸"),
        ("泉林云上二期一直不交房", "estate", "泉林云上"),
        ("住在和平新村十年了", "estate", "和平新村"),
        ("和平路上没有路灯", "road", "和平路"),
        ("望岳路路口总是堵", "road", "望岳路"),
        ("卧虎村民都没有拿到钱", "village", "卧虎村"),
        ("卧虎村村委会不公开账目", "village", "卧虎村"),
        ("“云麓”物业公司乱收费", "organisation", "云麓物业"),
        ("济南听泉餐饮管理有限公司拖欠工资", "organisation", "济南听泉餐饮管理"),
        ("济南市听泉文具有限公司拖欠工资", "organisation", "听泉文具"),
        ("泉城银行望岳路支行排队两小时", "organisation", "泉城银行望岳路支行"),
        ("听泉大学附属第二医院不退费", "hospital", "听泉大学附属第二医院"),
        ("375路公交车半小时不来", "road", "375路公交车"),
        ("地铁7号线什么时候开工", "road", "地铁7号线"),
        ("泉源市第四人民医院挂号难", "hospital", "泉源市第四人民医院"),
        ("晚上听泉KTV扰民", "organisation", "听泉KTV"),
        ("听泉公园的座椅坏了", "organisation", "听泉公园"),
        ("天天在淘宝买到假货", "brand", "淘宝"),
    ],
)
def test_names_are_found_by_their_pattern(text: str, kind: str, norm: str) -> None:
    assert norm in norms(text, kind)


@pytest.mark.parametrize(
    "text",
    [
        "我们小区停水",
        "该公司不退钱",
        "附近的学校很多",
        "相关公司",
        "马路上都是水",
        "市政府",
        "这个小区",
        "农村道路没人修",
        "城市建设要加快",
        "回家的路上没有路灯",
        "孩子上小学",
        "希望尽快解决",
        "物业公司和开发商互相推诿",
        "园林局砍了树",
        "某小区门口",
        "老城区改造",
        "大型超市关门了",
        "",
        "。。。",
        "😀😀😀",
    ],
)
def test_class_words_alone_are_no_place(text: str) -> None:
    assert norms(text) == []


def test_mentions_know_where_they_stand_and_never_overlap() -> None:
    text = "望岳路听泉花园小区旁的听泉花园幼儿园，和听泉花园物业"
    spans = find_spans(text, None)
    assert mentions(text) == [
        ("望岳路", "road"),
        ("听泉花园小区", "estate"),
        ("听泉花园幼儿园", "school"),
        ("听泉花园物业", "organisation"),
    ]
    assert all(a.end <= b.start for a, b in pairwise(spans))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("泉景·天沅苑小区", "泉景天沅苑"),
        ("泉景天沅苑", "泉景・天沅苑"),
        ("泉景天沅苑", "天沅苑"),
        ("泉景天沅苑二期", "泉景天沅苑"),
        ("泉景天沅苑2期", "泉景天沅苑三期"),
        ("泉景天沅苑12号楼", "泉景天沅苑"),
        ("“泉景天沅苑”", "泉景天沅苑"),
        ("泉景天沅苑北区", "泉景天沅苑"),
        ("ＫＴＶ听泉", "ktv听泉"),
        ("鲁泰置业有限公司", "鲁泰置业"),
        ("鲁泰置业有限责任公司", "鲁泰置业公司"),
        ("听泉物业服务有限公司", "听泉物业"),
        ("洪家楼小学二年级", "洪家楼小学"),
        ("洪家楼小学二年级3班", "洪家楼小学"),
        ("洪家楼第三小学", "洪家楼三小学"),
        ("泉城外国语学校", "泉外"),
        ("山东师范大学附属小学", "山师附小"),
        ("济南大学", "济大"),
        ("省实验中学", "省实验"),
        ("听泉集团(济南)", "听泉集团"),
    ],
)
def test_forms_of_one_name_meet(a: str, b: str) -> None:
    assert same_name(normal_name(a), normal_name(b))
    assert same_name(normal_name(b), normal_name(a))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("泉景天沅苑", "泉景天沅园"),  # 苑 and 园 are two estates
        ("泉景天沅苑", "明湖天沅府"),
        ("泉景", "景"),
        ("听泉花园", "听泉花园幼儿园"),
        ("听泉花园", "听泉花园路"),
        ("望岳路", "望岳路小学"),
        ("实验小学", "洪家楼实验小学"),
        ("第一中学", "听泉第一中学"),
        ("听泉东路", "听泉西路"),
        ("洪家楼第三小学", "洪家楼第四小学"),
        ("卧虎村", "卧龙村"),
        ("泉城外国语学校", "历外"),
        ("济南大学", "济宁大学附小"),
        ("山东师范大学附属小学", "山财附小"),
    ],
)
def test_different_places_stay_apart(a: str, b: str) -> None:
    assert not same_name(normal_name(a), normal_name(b))
    assert not same_name(normal_name(b), normal_name(a))


def test_street_tells_its_district() -> None:
    _, districts = find_places("甸柳新村街道的路灯坏了", JINAN)
    assert districts == ["历下区"]


def test_named_places_bring_their_district_and_one_norm() -> None:
    places, districts = find_places("孩子在泉外读书，家在云上泉林，天桥片区没有车", JINAN)
    assert districts == ["市中区", "天桥区"]
    assert [(p.kind, p.norm) for p in places] == [
        ("school", "泉城外国语"),
        ("estate", "泉林云上"),
        ("district", "天桥区"),
    ]


def test_functional_area_tells_no_district() -> None:
    places, districts = find_places("高新区的听泉大厦停电", JINAN)
    assert districts == []
    assert ("district", "济南高新区") in {(p.kind, p.norm) for p in places}


def test_words_that_only_look_like_districts_are_left_alone() -> None:
    _, districts = find_places("小区门口的人行天桥坏了，超市中也没有电", JINAN)
    assert districts == []


def test_masked_districts_are_read() -> None:
    places, districts = find_places("A7县星沙街道停电，A市没人管", None)
    assert districts == ["A7县"]
    assert [(p.kind, p.norm) for p in places] == [("district", "A7县"), ("street", "星沙街道")]


def test_unknown_districts_are_read_without_a_gazetteer() -> None:
    text = "我住在青云区，老家是望岳县，孩子在上城区"
    assert [name for name, kind in mentions(text) if kind == "district"] == ["青云区", "望岳县", "上城区"]


@pytest.mark.parametrize(
    "text",
    [
        "路" * 5000,
        "小区" * 3000,
        "泉" * 20000 + "小区",
        "听泉花园" * 2000,
        "“" * 4000 + "公司",
        "听 泉 花 园 小 区",
        "聽泉花園社區",
        "\x00\x01听泉花园\u200b小区",
        "A" * 3000 + "区",
        "1234567890" * 500 + "号线",
        "（" * 3000 + "有限公司",
        "".join(chr(c) for c in range(0x4E00, 0x5600)),
        "\ud800小区",
    ],
)
def test_hostile_texts_give_an_answer_at_once(text: str) -> None:
    begun = time.process_time()
    for gazetteer in (None, JINAN):
        spans = find_spans(text, gazetteer)
        assert all(0 <= s.start < s.end <= SEARCHED for s in spans)
        find_places(text, gazetteer)
    assert time.process_time() - begun < 0.5


def test_cost_does_not_grow_with_the_text() -> None:
    assert find_spans("字" * SEARCHED + "听泉花园小区停水", None) == []
