"""Risk words: what is heard, what silences it, what hidden words look like uncovered, and who is told."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from analysis.cluster import Clusterer, ClusterItem
from analysis.features import normalise, plain, prepare
from analysis.judge import Judge, JudgeInput, Thresholds
from analysis.risk import RiskReading, RiskWords, track

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
WORDS = RiskWords.load()
LIMITS = Thresholds.load().fast


@pytest.fixture(scope="module")
def judge() -> Judge:
    return Judge.load()


def heard(text: str) -> frozenset[str]:
    """Categories that the fast track hears in a text."""
    return frozenset(hit.category for hit in WORDS.read(text, NOW).heard(WORDS))


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("实验小学三十多个学生午饭后上吐下泻，校门口停了三辆救护车", "poisoning"),
        ("刚才花园路小区六号楼起火了，浓烟往上冒，楼上还有人", "fire"),
        ("工地塔吊倒塌，两名工人被埋，正在救", "collapse"),
        ("有人从十七楼跳下来了，物业在拦着不让拍", "death"),
        ("公交车侧翻，十几个人受伤", "injury"),
        ("高架桥上三车追尾致2死5伤", "death"),
        ("农贸市场有人持刀追着人砍", "attack"),
        ("刚刚震感明显，吊灯都在晃", "quake"),
        ("幼儿园老师用针扎孩子，胳膊上全是针眼", "abuse"),
        ("化工厂氯气泄漏，附近居民在往外跑", "fire"),
        ("孩子在水库边失联一天了，求扩散", "death"),
        ("食堂的肉发臭生蛆，家长都去了学校", "food"),
        ("一家四口一氧化碳中毒，两个在抢救", "poisoning"),
        ("外卖员被掉下来的外墙砖砸中，头上全是血", "injury"),
    ],
)
def test_what_happens_now_is_heard(text: str, category: str) -> None:
    assert category in heard(text)


@pytest.mark.parametrize(
    "text",
    [
        "这部电影里爆炸的场面太假了，主角怎么都不死",
        "昨晚追剧看到大结局，女主角坠楼身亡，哭到半夜",
        "这个游戏副本的火灾关卡谁打得过，一进门就被炸死",
        "消防演练圆满结束，模拟火灾疏散八百名师生",
        "社区举办讲座，教大家燃气泄漏怎么办",
        "一九七六年的往事，那年地震的时候我还小",
        "三年前的那场火灾，我到今天还记得",
        "网传学校学生中毒死亡，警方辟谣：系谣言",
        "有人造谣说水厂投毒，已被处理",
        "今天加班累死了，明天还要早起",
        "这个笑话笑死我了",
        "这首歌突然火爆全网，评论区炸锅了",
        "听到这个消息我肺都气炸了",
        "一旦发生火灾，这条通道根本跑不出去",
        "要是有人被砸伤了谁负责",
        "幸好没有人员伤亡",
        "为防止发生溺水，河边装了护栏",
        "刑法规定，放火致人死亡的从重处罚",
        "据统计，交通事故死亡率比上年下降",
        "男子故意伤害致人死亡案一审宣判，被判有期徒刑十二年",
        "火灾遇难者家属索赔案开庭",
        "抗战胜利纪念日，缅怀当年遇难同胞",
        "地震十周年，人们来到遗址默哀",
        "瞳孔地震，这个价格也太离谱了",
        "我的电脑中毒了，谁会修",
        "他的演技真是实力碾压对手",
        "昨晚梦见自己坠楼，吓出一身汗",
        "别用道德绑架别人",
    ],
)
def test_what_is_no_event_of_today_is_not_heard(text: str) -> None:
    assert not heard(text), WORDS.read(text, NOW).fired


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("泉州一酒店坍塌，多人被困", "泉州"),
        ("辽阳一饭店起火已致多人遇难", "辽阳"),
        ("柬埔寨园区有人坠楼", "柬埔寨"),
    ],
)
def test_another_city_neither_pages_nor_goes_to_a_person(text: str, name: str) -> None:
    reading = WORDS.read(text, NOW)
    assert (reading.where, reading.elsewhere) == ("elsewhere", name)
    assert track(reading, WORDS, 0.99, 0.99, LIMITS) == ""


def test_our_own_streets_named_after_other_cities_are_here() -> None:
    assert WORDS.read("北京路和延安东路路口两车相撞", NOW).where == "unknown"
    assert WORDS.read("北京一商场起火", NOW).where == "elsewhere"


def test_our_own_city_named_keeps_the_post_here() -> None:
    assert WORDS.read("济南来的游客说，上海的亲戚在我市坠楼", NOW, ("济南",)).where == "here"


@pytest.mark.parametrize(
    "text",
    [
        "学校食堂食 物 中 毒",
        "学校食堂食.物.中.毒",
        "学校食堂食@物中毒",
        "学校食堂食*物*中*毒",
        "学校食堂食·物·中·毒了",
        "学校食堂食\u200b物\u200b中毒",
        "学校食堂喰物中毒",
        "学校食堂shiwu zhongdu",
        "学校食堂ShiWu ZhongDu了",
        "学校食堂SWZD",
        "學校食堂發生食物中毒",
        "学校食堂食物中du",
    ],
)
def test_hidden_words_are_uncovered(text: str) -> None:
    assert "poisoning" in heard(text)
    assert "中毒" in WORDS.unmask(text)


@pytest.mark.parametrize(
    "text",
    [
        "他今天很死。亡羊补牢也好",
        "别提中\n毒品危害大家都知道",
        "着！火锅店今天开业",
        "qihuodian是一家店的名字",
        "好饿 想吃饭 明天去公园",
        "转给@中山公园管理处 请看",
        "油.盐.酱",
    ],
)
def test_nothing_is_joined_over_a_sentence_or_inside_a_name(text: str) -> None:
    assert WORDS.unmask(text) == text
    assert not heard(text)


@pytest.mark.parametrize(
    "text",
    [
        "小区停水三天了，物业没人管",
        "请看附件 A.1 和 B.2，电话 0531-12345",
        "今天天气真好😀 出去玩 吃火锅",
        "乾隆年间的著名建筑",
    ],
)
def test_ordinary_text_is_left_as_it_is(text: str) -> None:
    assert plain(text) == text
    assert WORDS.unmask(text) == text


def test_traditional_text_reads_like_simplified() -> None:
    assert normalise("學校食堂飯菜發霉，學生集體嘔吐") == normalise("学校食堂饭菜发霉，学生集体呕吐")


def test_vaguer_words_need_more() -> None:
    strong, wide, food = (WORDS.read(t, NOW) for t in ("楼下火灾", "有人送医", "肉发臭了"))
    attack = WORDS.read("有人持刀进了学校", NOW)
    assert track(wide, WORDS, LIMITS.real_signal, LIMITS.real_grave, LIMITS) == "fast"
    assert track(food, WORDS, LIMITS.real_signal, LIMITS.real_grave, LIMITS) == "review"
    assert track(attack, WORDS, LIMITS.sure_signal, LIMITS.sure_grave, LIMITS) == "fast"
    assert track(strong, WORDS, LIMITS.min_signal, LIMITS.min_grave_head, LIMITS) == "fast"
    assert track(wide, WORDS, LIMITS.min_signal, LIMITS.min_grave_head, LIMITS) == "review"
    assert track(wide, WORDS, LIMITS.min_signal, LIMITS.min_grave_wide, LIMITS) == "fast"
    assert track(food, WORDS, LIMITS.min_signal, LIMITS.min_grave_wide, LIMITS) == "review"
    assert track(food, WORDS, LIMITS.min_signal, LIMITS.min_grave_stern, LIMITS) == "fast"


def test_everything_grave_pages_or_goes_to_a_person() -> None:
    nothing = RiskReading((), "unknown")
    assert track(nothing, WORDS, 0.9, LIMITS.review_grave_unheard, LIMITS) == "review"
    assert track(nothing, WORDS, 0.9, LIMITS.review_grave_unheard - 0.01, LIMITS) == ""
    silenced = WORDS.read("消防演练中有人受伤", NOW)
    assert not silenced.heard(WORDS)
    assert track(silenced, WORDS, 0.9, 0.9, LIMITS) == "review"
    heard_low = WORDS.read("有人被撞", NOW)
    assert track(heard_low, WORDS, 0.0, LIMITS.review_grave, LIMITS) == "review"
    assert track(replace(heard_low, where="elsewhere"), WORDS, 0.0, 0.9, LIMITS) == ""


def test_a_post_just_below_the_limit_is_marked_for_a_person(judge: Judge) -> None:
    high = Judge(
        judge.model,
        judge.reader,
        replace(judge.thresholds, fast=replace(LIMITS, min_signal=1.01, solid_signal=1.01)),
    )
    post = JudgeInput(1, "", "工地塔吊砸死一名工人，家属在门口")
    fires, stays = judge.judge_batch([post])[0], high.judge_batch([post])[0]
    assert fires.fast
    assert "review" not in fires.reasons
    assert not stays.fast
    assert stays.abstain
    assert stays.reasons["review"] == ["grave"]


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300))
@example("\ud800食物中毒\udfff")
@example("İ食物中du" * 30)
@example("食" + " " * 500 + "物")
@example("食.物" * 200)
def test_any_text_is_read_without_an_exception(judge: Judge, text: str) -> None:
    reading = WORDS.read(text.encode("utf-8", "replace").decode("utf-8"), NOW)
    assert all(hit.word and hit.category for hit in reading.hits)
    output = judge.judge_batch([JudgeInput("x", text[:40], text, NOW)], explain=False)[0]
    assert 0.0 <= output.grave_score <= 1.0
    prepare(text[:40], text)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(["utf-8", "gb18030", "big5", "latin-1", "utf-16"]))
def test_any_bytes_decoded_are_judged_and_grouped(judge: Judge, raw: bytes, encoding: str) -> None:
    text = raw.decode(encoding, "replace")
    output = judge.judge_batch([JudgeInput("x", "", text, NOW)])[0]
    match = Clusterer().assign(ClusterItem("x", "", text, NOW, output.places, None, output.districts))
    assert match.incident is not None


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(["食物中毒", "坍塌", "火灾", "跳楼", "性侵"]),
    st.sampled_from([" ", ".", "*", "@", "·", "\u200b", "_"]),
)
def test_a_hazard_word_with_marks_between_its_characters_is_heard(word: str, mark: str) -> None:
    assert heard(f"昨天学校{mark.join(word)}了") == heard(f"昨天学校{word}了") != frozenset()


@pytest.mark.parametrize("piece", ["食物中毒。", "食 ", "@食*", "9人死", "😀", "死", "\u200b", "學", "a.b "])
def test_a_megabyte_of_anything_is_quick_and_fine(judge: Judge, piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    output = judge.judge_batch([JudgeInput("x", "", text, NOW)])[0]
    assert len(output.hazards) < 100


def test_a_shuffled_heap_of_hazard_words_is_fine(judge: Judge) -> None:
    dice = random.Random(3)
    words = ["死亡", "火灾", "没有", "演练", "年前", "上海", "3死", " ", ".", "，"]
    text = "".join(dice.choice(words) for _ in range(1500))
    assert judge.judge_batch([JudgeInput("x", "", text, NOW)])[0].hazards
