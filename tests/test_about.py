"""Whom a post complains about. All texts are invented."""

from __future__ import annotations

import pytest

from analysis.about import FACTS, PARTIES, AboutModel, about, facts
from analysis.features import prepare
from analysis.places import find_places


def told(title: str, text: str = "") -> str:
    post = prepare(title, text)
    return about(post.title, post.body, find_places(post.raw, None)[0]).about


@pytest.mark.parametrize(
    ("title", "text", "party"),
    [
        ("投诉听泉花园开发商捆绑销售车位", "开发商不买车位就不给签购房合同，物业也不管。", "company"),
        ("听泉置业有限公司拖欠农民工工资", "公司老板拖欠工资半年，一直不给。", "company"),
        ("听泉花园楼下烧烤店油烟扰民", "烧烤店每天营业到凌晨，噪音油烟扰民。", "company"),
        ("听泉小学违规补课收费", "学校老师周末组织补课，每个学生收费两千元。", "school"),
        ("听泉幼儿园乱收费", "幼儿园园长要求家长交各种费用，老师打骂孩子。", "school"),
        ("派出所不立案", "我到派出所报案，民警不受理也不立案，公安局互相推诿不作为。", "department"),
        ("村委会贪污征地补偿", "村干部把征地补偿款分给亲戚，镇政府不作为。", "department"),
    ],
)
def test_the_blamed_party_is_named(title: str, text: str, party: str) -> None:
    assert told(title, text) == party


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("请问怎么办理身份证", "想咨询一下需要什么材料，谢谢。"),
        ("建议增加一趟公交车", "能否增加一趟公交车，谢谢领导。"),
        ("今天天气很好", ""),
        ("", ""),
        ("😀😀", "😀"),
    ],
)
def test_questions_wishes_and_chat_blame_nobody(title: str, text: str) -> None:
    assert told(title, text) == ""


def test_the_words_that_spoke_stand_in_the_text() -> None:
    post = prepare("投诉听泉花园物业", "物业乱收停车费，开发商也不管。")
    finding = about(post.title, post.body)
    assert finding.about == "company"
    assert 0.4 <= finding.score <= 1.0
    assert finding.words
    assert all(word in post.body for word in finding.words)
    assert "物业" in finding.words


def test_what_is_unsure_stays_empty() -> None:
    post = prepare("投诉听泉花园物业", "物业乱收停车费。")
    model = AboutModel.load()
    strict = AboutModel(model.bias, model.weights, 1.01, "strict")
    assert about(post.title, post.body, (), strict).about == ""


def test_probabilities_add_up_and_cost_does_not_grow() -> None:
    p = AboutModel.load().probabilities(facts("投诉学校", "学校" * 50_000))
    assert len(p) == len(PARTIES)
    assert sum(p) == pytest.approx(1.0)
    assert set(AboutModel.load().weights) == set(FACTS)
