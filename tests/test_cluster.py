"""Clustering: one matter, one incident; other places apart; a restart changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.cluster import Clusterer, ClusterItem, ClusterModel, Sketch, read_item
from analysis.cluster_pack import FEATURES, word_id
from analysis.cluster_proposals import merge_candidates, split_candidate
from analysis.copies import CopyFinder, jaccard, shingles
from analysis.places import find_places
from analysis.why import FEATURE

START = datetime(2026, 3, 1, tzinfo=UTC)
ESTATES = ("泉景天沅", "明湖丽苑", "鲁泰花园", "龙奥金座", "历山名郡")
TROUBLES = (
    ("车位捆绑销售", "开发商要求买房必须同时购买车位，不买车位就不签合同"),
    ("电梯经常故障", "三号楼电梯一周坏了四次，老人被关在里面，物业不修"),
    ("搅拌站噪音扰民", "旁边新建的搅拌站日夜施工，粉尘和噪音让业主无法开窗"),
    ("停水三天没人抢修", "水管爆裂后自来水公司一直不来，老人只能提水上楼"),
)


def post(number: int, estate: str, trouble: tuple[str, str], wording: str = "") -> ClusterItem:
    title, text = (
        f"投诉{estate}小区{trouble[0]}{wording}",
        f"我是{estate}小区的业主，{trouble[1]}。{wording}请求领导处理",
    )
    places, districts = find_places(f"{title}\n{text}", None)
    return ClusterItem(
        str(number),
        title,
        text,
        START + timedelta(hours=number),
        tuple(places),
        f"u{number}",
        tuple(districts),
    )


def stream() -> list[tuple[ClusterItem, tuple[str, str]]]:
    items = []
    number = 0
    for wording in ("", "已经反映多次了，", "希望尽快给个说法，"):
        for estate in ESTATES:
            for trouble in TROUBLES:
                number += 1
                items.append((post(number, estate, trouble, wording), (estate, trouble[0])))
    return items


def test_every_matter_is_one_incident_and_no_incident_holds_two() -> None:
    clusterer = Clusterer()
    incident_of: dict[tuple[str, str], set[int]] = {}
    matters_of: dict[int, set[tuple[str, str]]] = {}
    for item, matter in stream():
        incident = clusterer.assign(item).incident
        incident_of.setdefault(matter, set()).add(incident)
        matters_of.setdefault(incident, set()).add(matter)
    assert all(len(incidents) == 1 for incidents in incident_of.values())
    assert all(len(matters) == 1 for matters in matters_of.values())


def test_dots_and_suffixes_of_a_name_do_not_split_a_matter() -> None:
    clusterer = Clusterer()
    trouble = TROUBLES[0]
    first = clusterer.assign(post(1, "泉景天沅苑", trouble)).incident
    assert clusterer.assign(post(2, "泉景·天沅苑", trouble, "太霸道了，")).incident == first


def test_an_index_rebuilt_from_sketches_gives_the_same_answers() -> None:
    items = [item for item, _ in stream()]
    whole, cut = Clusterer(), Clusterer()
    expected = [whole.assign(item).incident for item in items]
    half = len(items) // 2
    got = [cut.assign(item).incident for item in items[:half]]
    again = Clusterer(copies=cut.copies)
    for number, sketch in cut.sketches.items():
        again.restore(number, Sketch.from_json(json.loads(json.dumps(sketch.to_json(), ensure_ascii=False))))
    got += [again.assign(item).incident for item in items[half:]]
    assert got == expected
    assert {n: s.to_json() for n, s in again.sketches.items()} == {
        n: s.to_json() for n, s in whole.sketches.items()
    }


def test_late_posts_are_taken() -> None:
    clusterer = Clusterer()
    items = [
        post(n, "泉景天沅", TROUBLES[2], w) for n, w in ((5, ""), (9, "忍无可忍，"), (1, "已经很久了，"))
    ]
    assert len({clusterer.assign(item).incident for item in items}) == 1
    assert clusterer.sketches[1].first_at < clusterer.sketches[1].last_at


def test_ended_incidents_are_forgotten() -> None:
    clusterer = Clusterer()
    first = clusterer.assign(post(1, "泉景天沅", TROUBLES[0])).incident
    assert clusterer.forget_before((START + timedelta(days=400)).timestamp() / 86400) == [first]
    assert clusterer.assign(post(2, "泉景天沅", TROUBLES[0])).new


def test_empty_posts_open_their_own_incident_without_an_error() -> None:
    clusterer = Clusterer()
    assert clusterer.assign(ClusterItem("1", "", "", START)).new
    assert clusterer.assign(ClusterItem("2", "", "😀", START)).new


def test_near_copies_are_found_and_others_are_not() -> None:
    finder = CopyFinder()
    text = "我是泉景天沅小区的业主，三号楼电梯一周坏了四次，老人被关在里面，物业一直不修，请求领导处理。"
    assert finder.find("1", "", text) is None
    assert finder.find("2", "", text) == "1"
    assert finder.find("3", "", text.replace("，", ", ") + "！！") == "1"
    assert finder.find("4", "", text.replace("四次", "五次")) == "1"
    assert (
        finder.find("5", "", "我是明湖丽苑的业主，楼下烧烤店油烟直排，晚上吵到两点，投诉多次没人管。") is None
    )


def test_the_same_post_is_not_its_own_copy() -> None:
    finder = CopyFinder()
    finder.find("1", "", "物业三个月没有打扫楼道卫生，垃圾成堆")
    assert finder.find("1", "", "物业三个月没有打扫楼道卫生，垃圾成堆") is None


def test_memory_of_copies_is_bounded() -> None:
    finder = CopyFinder(kept=3)
    texts = [f"第{word}小区的电梯坏了很久没有人来修理请领导关注" for word in "甲乙丙丁戊"]
    assert jaccard(shingles(texts[0]), shingles(texts[0])) == 1.0
    for number, text in enumerate(
        ["甲" * 30 + texts[0], "乙楼停水" * 9, "丙路堵车" * 9, "丁店油烟" * 9, "戊校补课" * 9]
    ):
        finder.find(str(number), "", text)
    assert finder.find("again", "", "甲" * 30 + texts[0]) is None


def test_two_fragments_of_one_matter_are_proposed_as_one_and_other_matters_are_not() -> None:
    clusterer = Clusterer()
    items = [item for item, _ in stream()]
    for item in items:
        clusterer.assign(item)
    fragment = post(900, ESTATES[0], TROUBLES[0], "真的忍无可忍，")
    twin = clusterer.assign(items[0]).incident
    clusterer.open(clusterer.match(fragment).reading, 900)
    proposals = merge_candidates(clusterer, 900)
    assert [p.other for p in proposals] == [twin]
    assert proposals[0].probability > 0.5
    assert proposals[0].reasons["places"]
    assert "车位" in proposals[0].reasons["words"]
    assert 900 not in {p.other for p in merge_candidates(clusterer, 900)}
    assert merge_candidates(clusterer, twin)[0].other == 900, "asked from the other side"
    before = {n: s.to_json() for n, s in clusterer.sketches.items()}
    merge_candidates(clusterer, twin)
    assert before == {n: s.to_json() for n, s in clusterer.sketches.items()}, "a question changes nothing"


def test_an_incident_of_two_matters_falls_apart_and_one_of_one_matter_does_not() -> None:
    parking = [
        post(n, ESTATES[0], TROUBLES[0], w) for n, w in ((1, ""), (2, "反映多次了，"), (5, "忍无可忍，"))
    ]
    noise = [post(n, ESTATES[1], TROUBLES[2], w) for n, w in ((3, ""), (4, "太吵了，"))]
    mixed = sorted([*parking, *noise], key=lambda item: int(item.id))
    found = split_candidate(mixed, ClusterModel.load())
    assert found is not None
    ids, probability, reasons = found
    assert ids == ["3", "4"]
    assert probability > 0.8
    assert "搅拌站" in reasons["leave"]["words"]
    assert split_candidate(parking, ClusterModel.load()) is None
    assert split_candidate(parking[:1], ClusterModel.load()) is None


@settings(max_examples=15, deadline=None)
@given(
    picks=st.lists(
        st.tuples(st.integers(0, 4), st.integers(0, 3), st.integers(-40, 40)), min_size=2, max_size=14
    ),
    cut=st.integers(1, 12),
)
def test_whatever_the_order_a_rebuilt_index_answers_like_the_lost_one(
    picks: list[tuple[int, int, int]], cut: int
) -> None:
    items = [
        ClusterItem(
            str(n), item.title, item.text, item.published_at + timedelta(days=late), item.places, item.author
        )
        for n, (estate, trouble, late) in enumerate(picks)
        for item in [post(n, ESTATES[estate], TROUBLES[trouble])]
    ]
    whole, lost = Clusterer(), Clusterer()
    expected = [whole.assign(item).incident for item in items]
    got = [lost.assign(item).incident for item in items[:cut]]
    again = Clusterer(copies=lost.copies)
    for number in sorted(lost.sketches, reverse=True):  # the order of rebuilding plays no part
        stored = json.dumps(lost.sketches[number].to_json(), ensure_ascii=False)
        again.restore(number, Sketch.from_json(json.loads(stored)))
    assert again.sketches.rows == lost.sketches.rows
    got += [again.assign(item).incident for item in items[cut:]]
    assert got == expected
    assert again.sketches.rows == whole.sketches.rows


def test_a_packed_sketch_is_the_sketch_and_reading_it_changes_nothing() -> None:
    clusterer = Clusterer()
    for item, _ in stream():
        clusterer.assign(item)
    fresh = Clusterer()
    for number, sketch in clusterer.sketches.items():
        fresh.sketches.words.update(clusterer.sketches.words)
        fresh.sketches.rows[number] = clusterer.sketches.rows[number]
        back = fresh.sketches[number]
        assert back.to_json() | {"t": sorted(back.to_json()["t"])} == sketch.to_json() | {
            "t": sorted(sketch.to_json()["t"])
        }


def test_a_sketch_of_the_version_before_still_takes_posts() -> None:
    item = post(1, ESTATES[0], TROUBLES[0])
    reading = read_item(item)
    old = {
        "t": dict(reading.vector),
        "m": [[dict(reading.vector), ["车位", "捆绑"], 2.0]],
        "n": dict.fromkeys(reading.names, 1),
        "a": {},
        "u": [],
        "f": reading.at,
        "l": reading.at,
        "p": 1,
        "s": dict.fromkeys(reading.subjects, 1),
        "k": ["车位", *(f"@{name[-3:]}" for name in reading.names)],
    }
    clusterer = Clusterer()
    clusterer.restore(7, Sketch.from_json(json.loads(json.dumps(old, ensure_ascii=False))))
    assert clusterer.assign(post(2, ESTATES[0], TROUBLES[0], "反映多次了，")).incident == 7
    stored = clusterer.sketches[7].to_json()
    assert stored["v"] == 2
    assert word_id("车位") in stored["k"]
    with pytest.raises(ValueError, match="version 9"):
        Sketch.from_json({**stored, "v": 9})


def test_swapped_characters_of_a_name_still_meet() -> None:
    clusterer = Clusterer()
    first = ClusterItem(
        "1", "利聚网平台不让提现，出借人血本无归", "利聚网平台从上月起不让提现，请立案侦查", START
    )
    second = ClusterItem(
        "2",
        "聚利网平台不让提现，请求立案",
        "聚利网平台不让提现，出借人请求立案侦查",
        START + timedelta(days=3),
    )
    assert clusterer.assign(first).incident == clusterer.assign(second).incident


def test_every_feature_of_the_comparison_has_a_name_that_people_read() -> None:
    assert set(FEATURES) <= set(FEATURE)
    assert set(ClusterModel.load().weights) <= set(FEATURES)


def test_nothing_is_compiled_while_a_batch_holds_the_lock_of_the_database() -> None:
    # a process of its own: in this one other tests have compiled everything
    code = (
        "from analysis import cluster_pack, job\n"
        "from analysis.cluster import Clusterer, ClusterItem\n"
        "from datetime import UTC, datetime\n"
        "ready = lambda: {n: len(f.signatures) for n, f in vars(cluster_pack).items() if hasattr(f, 'signatures')}\n"
        "job._compile()\n"
        "before = ready()\n"
        "clusterer = Clusterer()\n"
        "for n in range(4):\n"
        "    clusterer.assign(ClusterItem(str(n), '某路口红绿灯坏了' * (n % 2), '连续三天无人维修' * (n + 1), datetime(2026, 1, 2, tzinfo=UTC)))\n"
        "assert sum(before.values()) >= 3, before\n"
        "assert ready() == before, (before, ready())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parent.parent, timeout=240)
