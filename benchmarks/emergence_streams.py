"""Dated streams for `benchmarks.analysis_emergence`: read from QUANSHENG_DATA, judged and clustered as the product does it.

Three sources: complaints to a city, the hourly hot list (a title is one voice, at the hour it was first seen), and
daily questions (a question is one voice). Shuffled copies keep the profile: times change places within four weeks only.
"""

from __future__ import annotations

import gzip
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from analysis.cluster import Clusterer, ClusterItem
from analysis.judge import Judge, JudgeInput
from analysis.playback import Message

BLOCK = timedelta(days=28)


def judged(items: Sequence[JudgeInput]) -> list[Message]:
    """Judge and cluster in the given order."""
    judge, clusterer, out = Judge.load(), Clusterer(), []
    for start in range(0, len(items), 256):
        part = items[start : start + 256]
        for item, output in zip(part, judge.judge_batch(part, explain=False), strict=True):
            assert item.published_at is not None
            found = clusterer.assign(
                ClusterItem(
                    item.id,
                    item.title,
                    item.text,
                    item.published_at,
                    output.places,
                    item.author,
                    output.districts,
                )
            )
            out.append(
                Message(
                    item.id,
                    item.published_at,
                    item.author or "",
                    found.incident,
                    output.domain,
                    output.signal,
                    output.tone == "neg",
                    output.districts[0] if output.districts else "",
                )
            )
    return out


def complaints(data: Path) -> list[Message]:
    """The complaint stream from 2019 on, where it is dense; clustered from its beginning."""
    rows = [
        json.loads(line) for line in (data / "complaints_stream.jsonl").read_text("utf-8").split("\n") if line
    ]
    items = [
        JudgeInput(
            r["id"], r["title"], r["text"], datetime.fromisoformat(r["published_at"]), author=r["author"]
        )
        for r in rows
    ]
    return [m for m in judged(items) if m.at.year >= 2019]


def hot_titles(data: Path) -> tuple[list[Message], list[Message]]:
    """The hot list twice: by keyword cluster, and in fixed cells of the list's category and the judged domain."""
    first: dict[str, tuple[datetime, str]] = {}
    with gzip.open(data / "weibo_hot_hourly_2025H1.jsonl.gz", "rt", encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            first.setdefault(row["title"], (datetime.fromisoformat(row["at"]), row["category"]))
    titles = sorted(first, key=lambda title: (first[title][0], title))
    items = [JudgeInput(str(n), "", t, first[t][0], author=str(n)) for n, t in enumerate(titles)]
    clustered = judged(items)
    cells: dict[tuple[str, str], int] = {}
    fixed = [
        replace(m, cluster=cells.setdefault((first[t][1], m.domain), len(cells)))
        for m, t in zip(clustered, titles, strict=True)
    ]
    return clustered, fixed


def questions(data: Path, start: str = "2022-01-01", end: str = "2025-01-01") -> list[Message]:
    """Questions at their first day, at a drawn hour of it: the source gives days only."""
    draw, seen, items = random.Random(1), set(), []
    with gzip.open(data / "zhihu_hot_questions.jsonl.gz", "rt", encoding="utf-8") as stream:
        for line in stream:
            row = json.loads(line)
            if row["id"] in seen or not start <= row["date"] < end:
                continue
            seen.add(row["id"])
            at = datetime.fromisoformat(f"{row['date']}T00:00:00+08:00") + timedelta(
                minutes=draw.randrange(1440)
            )
            items.append(JudgeInput(row["id"], row["title"], row["text"], at, author=row["id"]))
    return judged(sorted(items, key=lambda item: (item.published_at, item.id)))


def shuffled(messages: Sequence[Message], seed: int) -> list[Message]:
    """Times exchanged within blocks of four weeks: volume and hours of the week stay, matters no longer burst."""
    blocks: dict[int, list[Message]] = defaultdict(list)
    for m in messages:
        blocks[(m.at - messages[0].at) // BLOCK].append(m)
    draw = random.Random(seed)
    out: list[Message] = []
    for number in sorted(blocks):
        block = blocks[number]
        order = list(block)
        draw.shuffle(order)
        out.extend(replace(m, at=at.at) for at, m in zip(block, order, strict=True))
    return out


def weeks_of(messages: Iterable[Message]) -> float:
    """Length in weeks."""
    times = [m.at for m in messages]
    return max((max(times) - min(times)) / timedelta(days=7), 1.0)
