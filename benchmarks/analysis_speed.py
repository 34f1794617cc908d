"""Speed and memory of judging and clustering on one core: `python benchmarks/analysis_speed.py`.

Uses the complaints of QUANSHENG_DATA when it is set, else invented posts of the same length. Times are CPU seconds,
so that a busy machine does not blur them; stock SnowNLP runs in the same process last (its import alone costs
430 MB). `--judging` leaves clustering out, `--cluster N` measures only clustering with N live incidents.
"""

from __future__ import annotations

import itertools
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from analysis.cluster import Clusterer, ClusterItem, read_item
from analysis.fastsnow import load_snow
from analysis.judge import Judge, JudgeInput
from analysis.places import find_places
from analysis.streams import Workers, judge_items

START = datetime(2026, 1, 1, tzinfo=UTC)


def megabytes() -> int:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def invented(count: int) -> list[tuple[str, str]]:
    """Complaints of about 270 characters about `count` different estates."""
    return list(itertools.islice(_invented_from(0), count))


def _invented_from(start: int) -> Iterator[tuple[str, str]]:
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
    turns = list(itertools.product(first, last, troubles))
    for number in itertools.count(start):
        a, b, t = turns[number % len(turns)]
        name = f"{a}{b}{number // 1000 or ''}"
        said = f"尊敬的领导，我是{name}小区的业主，{t[1]}。"
        yield (
            f"投诉{name}小区{t[0]}",
            said + f"我们多次向{name}物业和街道反映，至今没有结果，恳请有关部门尽快调查处理。" * 4,
        )


def resident() -> int:
    """Resident memory now, in MB (Linux); elsewhere the peak."""
    status = Path("/proc/self/statm")
    if not status.exists():
        return megabytes()
    return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 2**20


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


def _items(first: int, count: int) -> list[ClusterItem]:
    items = []
    for number, (title, text) in enumerate(itertools.islice(_invented_from(first), count), first):
        places, _ = find_places(f"{title}\n{text}", None)
        unique = f"{title}{number % 9973}号"
        items.append(
            ClusterItem(str(number), unique, text[:120], START + timedelta(minutes=number), tuple(places))
        )
    return items


def cluster_speed(live: int) -> tuple[float, float, int]:
    """With so many live incidents: posts compared a second, posts compared and taken in a second, resident MB.

    Run it in a process of its own: what it measures is the memory of the process.
    """
    clusterer = Clusterer()
    for start in range(0, live, 5000):
        for item in _items(start, min(5000, live - start)):
            clusterer.open(read_item(item), int(item.id) + 1)
    fresh = _items(live, 3000)
    begun = time.process_time()
    for item in fresh[:1500]:
        clusterer.match(item)
    matched = 1500 / (time.process_time() - begun)
    begun = time.process_time()
    for item in fresh[1500:]:
        clusterer.assign(item)
    return matched, 1500 / (time.process_time() - begun), resident()


def cluster_lines(sizes: tuple[int, ...]) -> None:
    """One line a size, each measured in a process of its own."""
    for live in sizes:
        command = [sys.executable, __file__, "--cluster", str(live)]
        subprocess.run(command, check=True)


def of_length(source: list[tuple[str, str]], length: int, count: int) -> list[JudgeInput]:
    """Posts of exactly so many characters with their titles: long ones cut, short ones joined."""
    items: list[JudgeInput] = []
    texts = itertools.cycle(source)
    while len(items) < count:
        title, text = next(texts)
        title = title[: length // 3]
        while len(title) + len(text) < length:
            text += next(texts)[1]
        items.append(JudgeInput(len(items), title, text[: length - len(title)]))
    return items


def fastest(work: Callable[[], object], rounds: int = 3) -> float:
    """CPU seconds of the best round: neighbours on the machine can only slow a round down."""
    best = float("inf")
    for _ in range(rounds):
        begun = time.process_time()
        work()
        best = min(best, time.process_time() - begun)
    return best


def judge_speed(judge: Judge, items: list[JudgeInput], explain: bool) -> float:
    """Posts a CPU second in batches of 256."""

    def work() -> None:
        for start in range(0, len(items), 256):
            judge.judge_batch(items[start : start + 256], explain=explain)

    return len(items) / fastest(work)


def value_speed(value: Callable[[str], float], texts: list[str]) -> float:
    """Texts a CPU second of one SnowNLP."""
    return len(texts) / fastest(lambda: [value(text) for text in texts], 2)


def shared_memory() -> int:
    """Proportional memory (PSS) of this process and its children in MB: shared pages count once. 0 where unknown."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if os.getpid() in (parent, int(folder.name)):
                rows = (folder / "smaps_rollup").read_text().splitlines()
                total += int(next(row for row in rows if row.startswith("Pss:")).split()[1])
        except (OSError, StopIteration):
            continue
    return total // 1024


def workers_speed(items: list[JudgeInput], jobs: int) -> tuple[float, float, float, int]:
    """Two workers: CPU seconds of this process, of the workers, wall-clock seconds, and PSS of all while they work."""
    memory = 0
    before = os.times()
    with Workers(jobs) as workers:
        batches = [items[start : start + 256] for start in range(0, len(items), 256)]
        for number, _ in enumerate(workers.map(judge_items, batches)):
            if number == len(batches) // 2:
                memory = shared_memory()
    after = os.times()
    return (
        after.user + after.system - before.user - before.system,
        after.children_user + after.children_system - before.children_user - before.children_system,
        after.elapsed - before.elapsed,
        memory,
    )


def main() -> int:
    """Print the table. All times are CPU seconds of one core unless they say wall-clock."""
    if "--cluster" in sys.argv:
        live = int(sys.argv[sys.argv.index("--cluster") + 1])
        matched, taken, used = cluster_speed(live)
        print(
            f"cluster with {live:,} live incidents: {matched:,.0f} posts/s compared, "
            f"{taken:,.0f} posts/s compared and taken in, {used} MB"
        )
        return 0
    begun = time.process_time()
    judge = Judge.load()
    judge.judge_batch([JudgeInput(0, "", "预热")])
    print(
        f"load (after the first start has compiled): {time.process_time() - begun:.2f} s CPU, {megabytes()} MB"
    )
    source = posts()
    speeds = {}
    for length in (100, 270, 1000):
        items = of_length(source, length, 300_000 // length)
        speeds[length] = [judge_speed(judge, items, explain) for explain in (False, True)]
        print(
            f"judge {length} characters: {speeds[length][0]:,.0f} posts/s, "
            f"with explanations {speeds[length][1]:,.0f}, {megabytes()} MB"
        )
    del judge
    snow = load_snow()
    texts = [text for _, text in source]
    fast = value_speed(snow.sentiment, texts)
    items = of_length(source, 270, 8000)
    own, children, wall, memory = workers_speed(items, 2)
    print(
        f"two workers, 8,000 posts of 270 characters with explanations: {own:.1f} s CPU in the main process, "
        f"{children:.1f} s in the workers, {wall:.1f} s wall-clock, {memory} MB together (PSS)"
    )
    if "--judging" not in sys.argv:
        sys.stdout.flush()
        cluster_lines((1000, 10_000, 100_000))
    from snownlp import sentiment  # type: ignore[import-untyped]  # imported here: 2.6 s and 430 MB that the lines above must not show

    for length in (100, 270, 1000):
        some = [f"{item.title}\n{item.text}" for item in of_length(source, length, 15_000 // length)]
        stock = value_speed(sentiment.classify, some)
        alone = value_speed(snow.sentiment, some)
        print(
            f"{length} characters: SnowNLP's value, stock {stock:,.1f}/s, compiled {alone:,.0f}/s "
            f"({alone / stock:.0f} times); the whole judgement {speeds[length][0]:,.0f}/s ({speeds[length][0] / stock:.0f} times)"
        )
    stock = value_speed(sentiment.classify, texts[:150])
    print(f"complaints as they are: compiled {fast:,.0f}/s, stock {stock:,.1f}/s, {fast / stock:.0f} times")
    return 0


if __name__ == "__main__":
    sys.exit(main())
