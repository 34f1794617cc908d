"""What looking for merges and splits costs the analysis: milliseconds per incident, on invented posts.

python -m benchmarks.propose_speed [INCIDENTS]
"""

from __future__ import annotations

import random
import sys
import time
from datetime import UTC, datetime, timedelta

from analysis.cluster import Clusterer, ClusterItem, ClusterModel, read_item
from analysis.cluster_proposals import merge_candidates, split_candidate
from analysis.job import SPLIT_MEMBERS

T0 = datetime(2026, 3, 2, tzinfo=UTC)
TROUBLES = (
    "停水三天没人管",
    "电梯坏了半个月",
    "食堂饭菜有异味",
    "夜间施工噪音扰民",
    "暖气不热只有十度",
    "路灯全坏了很危险",
)
NAMES = "春夏秋冬东南西北金银山水云雪梅兰竹菊"


def post(number: int, rng: random.Random) -> ClusterItem:
    """An invented complaint about one of many estates."""
    estate = "".join(rng.choices(NAMES, k=3)) + "家园"
    trouble = rng.choice(TROUBLES)
    return ClusterItem(
        str(number),
        f"{estate}{trouble}",
        f"我是{estate}的业主，{trouble}，老人孩子受不了，请求有关部门尽快处理，已反映{number % 9}次。",
        T0 + timedelta(minutes=number),
    )


def main(incidents: int) -> None:
    """Fill an index, then look at some of its incidents, and at one of the largest size that is looked at."""
    rng = random.Random(7)
    clusterer = Clusterer()
    for number in range(1, incidents + 1):
        sketch = clusterer.open(read_item(post(number, rng)), number)
        for _ in range(5):  # a few members each, as real incidents have
            sketch = clusterer.add(number, read_item(post(number, rng)))
        assert sketch.posts == 6
    chosen = rng.sample(sorted(clusterer.sketches), 200)
    times = []
    for incident in chosen:
        began = time.process_time()
        merge_candidates(clusterer, incident, 5)
        times.append(time.process_time() - began)
    times.sort()
    print(
        f"merge candidates at {len(clusterer.sketches)} incidents: median {times[100] * 1e3:.1f} ms, p95 {times[190] * 1e3:.1f} ms"
    )
    members = [post(n, rng) for n in range(SPLIT_MEMBERS)]
    times = []
    for _ in range(5):
        began = time.process_time()
        split_candidate(members, ClusterModel.load())
        times.append(time.process_time() - began)
    print(f"split of {SPLIT_MEMBERS} posts: {min(times) * 1e3:.0f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3_000)
