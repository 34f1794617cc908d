"""Speed and memory of judging and clustering on one core: `python benchmarks/analysis_speed.py`.

Uses the complaints of QUANSHENG_DATA when it is set, else invented posts of the same length. Times are CPU seconds,
so that a busy machine does not blur them; stock SnowNLP runs in the same process last (its import alone costs 430 MB).
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from analysis.cluster import Clusterer, ClusterItem
from analysis.fastsnow import load_snow
from analysis.judge import Judge, JudgeInput
from analysis.places import find_places

START = datetime(2026, 1, 1, tzinfo=UTC)


def megabytes() -> int:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def invented(count: int) -> list[tuple[str, str]]:
    """Complaints of about 270 characters about `count` different estates."""
    first = [
        "泉景",
        "明湖",
        "鲁泰",
        "龙奥",
        "历山",
        "舜耕",
        "千佛",
        "大明",
        "趵突",
        "黑虎",
        "五龙",
        "珍珠",
        "华山",
        "药山",
        "匡山",
        "卧牛",
        "鹊山",
        "标山",
        "凤凰",
        "金牛",
    ]
    last = ["天沅", "丽苑", "名郡", "华庭", "锦园", "新城", "家园", "雅居", "公馆", "府邸"]
    troubles = [
        (
            "车位捆绑销售",
            "开发商要求买房必须同时购买车位，不买车位就不签合同，一个车位十几万元，业主普遍反对",
        ),
        ("电梯经常故障", "三号楼电梯一周坏了四次，老人被关在里面半个小时，物业说没有维修基金一直拖着不修"),
        ("搅拌站噪音扰民", "旁边新建的搅拌站日夜施工，粉尘和噪音让业主无法开窗，孩子咳嗽老人失眠"),
        ("停水无人处理", "已经停水三天，自来水公司和物业互相推诿，居民只能去很远的地方提水"),
        ("油烟直排", "楼下烧烤店油烟直接排到居民家中，营业到凌晨两点，城管来了也没有解决"),
    ]
    posts: list[tuple[str, str]] = []
    for number, (a, b, t) in enumerate(itertools.cycle(itertools.product(first, last, troubles))):
        if number >= count:
            return posts
        name = f"{a}{b}{number // 1000 or ''}"
        body = f"尊敬的领导，我是{name}小区的业主，{t[1]}。"
        posts.append(
            (
                f"投诉{name}小区{t[0]}",
                body + f"我们多次向{name}物业和街道反映，至今没有结果，恳请有关部门尽快调查处理。" * 4,
            )
        )
    return posts


def posts() -> list[tuple[str, str]]:
    """Real complaints when they are there."""
    data = os.environ.get("QUANSHENG_DATA")
    if data:
        rows = [
            json.loads(x)
            for x in (Path(data) / "complaints_stream.jsonl").read_text("utf-8").split("\n")
            if x
        ]
        return [(row["title"], row["text"]) for row in rows]
    return invented(4000)


def cluster_speed(live: int) -> tuple[float, int]:
    """Posts a second with so many live incidents, and memory."""
    clusterer = Clusterer()
    items = []
    for number, (title, text) in enumerate(invented(live + 1000)):
        places, _ = find_places(f"{title}\n{text}", None)
        unique = f"{title}{number % 9973}号"
        items.append(
            ClusterItem(str(number), unique, text[:120], START + timedelta(minutes=number), tuple(places))
        )
    for item in items[:live]:
        reading = clusterer.match(item).reading
        clusterer.open(reading, int(item.id) + 1)
    begun = time.process_time()
    for item in items[live:]:
        clusterer.match(item)
    return 1000 / (time.process_time() - begun), megabytes()


def main() -> int:
    """Print the table."""
    begun = time.process_time()
    judge = Judge.load()
    judge.judge_batch([JudgeInput(0, "", "预热")])
    print(
        f"load (after the first start has compiled): {time.process_time() - begun:.2f} s CPU, {megabytes()} MB"
    )
    items = [JudgeInput(n, title, text) for n, (title, text) in enumerate(posts())]
    length = sum(len(i.title) + len(i.text) for i in items) / len(items)
    for explain in (False, True):
        begun = time.process_time()
        for start in range(0, len(items), 256):
            judge.judge_batch(items[start : start + 256], explain=explain)
        rate = len(items) / (time.process_time() - begun)
        print(f"judge, explain={explain}: {rate:,.0f} posts/s of {length:.0f} characters, {megabytes()} MB")
    snow = load_snow()
    texts = [i.text for i in items]
    begun = time.process_time()
    for text in texts:
        snow.sentiment(text)
    fast = len(texts) / (time.process_time() - begun)
    for live in (1000, 10_000, 100_000):
        rate, memory = cluster_speed(live)
        print(f"cluster with {live:,} live incidents: {rate:,.0f} posts/s, {memory} MB")
    from snownlp import sentiment  # type: ignore[import-untyped]  # imported here: 2.6 s and 430 MB that the lines above must not show

    begun = time.process_time()
    for text in texts[:150]:
        sentiment.classify(text)
    stock = 150 / (time.process_time() - begun)
    print(f"SnowNLP's value: compiled {fast:,.0f}/s, stock {stock:,.1f}/s, {fast / stock:.0f} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
