"""Topics: found in invented posts, the same in any order, found again next week, named without persons."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from analysis.topics import (
    MIN_POSTS,
    MIN_VOICES,
    KnownTopic,
    TopicPost,
    find_topics,
    is_person,
)

#: invented matters: what is said of each, in several wordings
MATTERS = {
    "lift": [
        "电梯维修一直拖着，三号楼电梯停运",
        "小区电梯故障频繁，电梯维修没人管",
        "电梯停运半个月，老人爬楼，电梯维修要等基金",
        "物业说电梯维修没有基金，电梯故障天天有",
    ],
    "bus": [
        "公交车间隔太长，早高峰公交车挤不上",
        "希望增加公交车班次，公交线路太少",
        "公交线路调整以后，公交车等了四十分钟",
        "公交车班次少，公交线路绕远",
    ],
    "noise": [
        "工地夜间施工噪音扰民，孩子睡不着",
        "夜间施工到凌晨两点，噪音扰民",
        "施工噪音扰民，工地夜间打桩",
        "工地噪音大，夜间施工没有公告",
    ],
}
PLACES = ("槐荫花园", "泉景雅居", "历山名郡", "燕子佳苑", "甸柳新居", "舜玉公寓", "洪楼大院", "解放佳园")
ODD = [
    "捡到一串钥匙放在门卫",
    "请教怎么开无犯罪证明",
    "公园里的荷花谢得早",
    "图书馆借书卡升级后打不开",
]


def posts(
    seed: int = 1, each: int = 9, first: int = 1, matters: tuple[str, ...] = tuple(MATTERS)
) -> list[TopicPost]:
    """Posts of each matter by different voices, and a few that belong to nothing."""
    draw = random.Random(seed)
    texts = [
        f"{draw.choice(PLACES)}，{draw.choice(MATTERS[matter])}，{draw.choice(PLACES)}也一样"
        for matter in matters
        for _ in range(each)
    ] + ODD
    return [
        TopicPost(first + index, text[:14], text, f"voice-{first + index}")
        for index, text in enumerate(texts)
    ]


def test_each_matter_is_a_topic_and_odd_posts_belong_to_none() -> None:
    found = find_topics(posts())
    assert len(found.topics) == 3
    for topic, words in zip(
        sorted(found.topics, key=lambda topic: topic.posts),
        ("电梯", "公交", "施工"),
        strict=False,
    ):
        assert topic.title
        assert words
    titles = " ".join(topic.title for topic in found.topics)
    assert "电梯" in titles
    assert "公交" in titles
    assert "施工" in titles or "噪音" in titles
    # matter by matter, whole: ids 1-9, 10-18, 19-27
    assert sorted(sorted(topic.posts)[0] for topic in found.topics) == [1, 10, 19]
    for topic in found.topics:
        assert len({(post - 1) // 9 for post in topic.posts}) == 1
    assert set(range(28, 32)) <= set(found.other)


def test_order_and_repeated_rows_change_nothing() -> None:
    given = posts()
    mixed = list(given)
    random.Random(3).shuffle(mixed)
    assert find_topics(given, salt="w") == find_topics([*mixed, *mixed[:5]], salt="w")


def test_every_post_is_in_one_topic_or_in_none() -> None:
    given = posts()
    found = find_topics(given)
    placed = [post for topic in found.topics for post in topic.posts]
    assert sorted([*placed, *found.other]) == [post.id for post in given]


def test_few_posts_are_no_topic() -> None:
    found = find_topics(posts()[: MIN_POSTS - 1])
    assert found.few
    assert found.topics == ()
    assert len(found.other) == MIN_POSTS - 1
    assert not find_topics(posts()[:MIN_POSTS]).few


def test_one_voice_makes_no_topic() -> None:
    loud = [TopicPost(post.id, post.title, post.text, "one") for post in posts()]
    assert find_topics(loud).topics == ()


def test_next_week_a_topic_keeps_key_and_title_and_a_new_one_gets_its_own() -> None:
    first = find_topics(posts(1, matters=("lift", "bus")), salt="w1")
    known = [KnownTopic(topic.key, topic.title, topic.words) for topic in first.topics]
    second = find_topics(posts(2, first=100, matters=("lift", "noise")), known, salt="w2")
    by_title = {topic.title: topic for topic in second.topics}
    (lift,) = [topic for topic in first.topics if "电梯" in topic.title]
    assert by_title[lift.title].key == lift.key
    assert by_title[lift.title].known
    (noise,) = [topic for topic in second.topics if topic.key != lift.key]
    assert not noise.known
    assert noise.key not in {topic.key for topic in first.topics}


def test_keys_of_two_domains_differ() -> None:
    one, two = find_topics(posts(), salt="w/housing"), find_topics(posts(), salt="w/transport")
    assert not {topic.key for topic in one.topics} & {topic.key for topic in two.topics}


def test_no_person_becomes_a_title() -> None:
    named = [
        TopicPost(post.id, "", f"王小明 王伟 {post.text} 王伟 李娜", post.voice) for post in posts(each=12)
    ]
    found = find_topics(named)
    assert found.topics
    for topic in found.topics:
        for name in ("王", "李娜", "小明"):
            assert name not in topic.title
            assert not any(name in word for word in topic.words)
    assert is_person("王伟", "nr")
    assert not is_person("红绿灯", "nr")
    assert not is_person("王伟", "n")


def test_the_words_of_a_title_are_those_of_several_voices() -> None:
    given = posts(each=12)
    for topic in find_topics(given).topics:
        inside = [post for post in given if post.id in topic.posts]
        for part in topic.title.split("、"):
            assert len({post.voice for post in inside if part in post.text}) >= MIN_VOICES


@pytest.mark.parametrize(
    "text",
    ["", "　", "😀" * 30, "a" * 5000, "\x00\x01", "１２３４５", "[手机号][姓名]", "的了在是", "繁體電梯維修"],
)
def test_strange_posts_are_no_exception(text: str) -> None:
    found = find_topics([TopicPost(index, text, text, None) for index in range(20)])
    assert sorted([*found.other, *(post for topic in found.topics for post in topic.posts)]) == list(
        range(20)
    )


def test_scikit_learn_is_loaded_by_the_work_alone() -> None:
    code = "import sys, analysis.topics, analysis.topics_job; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
