"""Figures of the fast track: `python -m benchmarks.analysis_fast`, once more after every refit.

Needs QUANSHENG_DATA. Recall on emergency reports and on gold posts of the highest risk that tell of a present event
(fast_labels.csv), by halves: words and limits were chosen on `development`, `test` is reported. "Heard" means hazard
words that no guard silenced, "fires" the whole rule with the models' probabilities. The guard against other cities is
left out where recall is measured, since the reports play in other cities; "moved" writes 本市 for every name of one.
The models have read the gold posts: `--out-of-fold FILE` (id,signal,r0,r1,r2,r3) gives honest probabilities. Precision is
read off 100,000 background posts and the labels of fast_sample.csv, whose keys are hashes of the posts' first words.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import math
import os
import random
import re
import sys
import tomllib
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from analysis.judge import Judge, JudgeInput
from analysis.risk import WORDS, RiskReading, track

HERE = Path(__file__).parent
BACKGROUND = 100_000
SAMPLE = 200
_DATE = re.compile(r"(\d{4})[年-](\d\d?)[月-](\d\d?)")


@dataclass(frozen=True)
class Case:
    """One post with what the fast track made of it."""

    key: str
    reading: RiskReading
    signal: float
    grave: float
    title: str = ""
    text: str = ""


def half(key: str) -> str:
    """Which half a report belongs to, fixed by its name."""
    return "test" if zlib.crc32(key.encode()) & 1 else "development"


def day(text: str) -> datetime | None:
    """The first date of a text."""
    found = _DATE.search(text or "")
    if found is None:
        return None
    year, month, date = (int(part) for part in found.groups())
    return datetime(year, month, date, tzinfo=UTC)


def judged(judge: Judge, posts: Sequence[tuple[str, str, str, str]]) -> list[Case]:
    """Posts (key, title, text, date) through the models."""
    cases: list[Case] = []
    for at in range(0, len(posts), 500):
        batch = posts[at : at + 500]
        outputs = judge.judge_batch([JudgeInput(k, t, x, day(d)) for k, t, x, d in batch], explain=False)
        for (key, title, text, _), o in zip(batch, outputs, strict=True):
            reading = RiskReading(o.hazards, o.where)  # type: ignore[arg-type]
            cases.append(Case(key, reading, o.signal_score, o.grave_score, title, text))
    return cases


def emergencies(data: Path) -> list[tuple[str, str, str, str, str]]:
    """(category, name, title, text, date) of every report."""
    csv.field_size_limit(10**9)
    with (data / "emergency_reports" / "docs.csv").open(encoding="utf-8", newline="") as stream:
        return [
            (row["category"], row["file"], row["title"], row["text"], row["report_time"])
            for row in csv.DictReader(stream)
        ]


def moved() -> Callable[[str], str]:
    """Writes 本市 for every name of another place that the guard knows."""
    names = [n for group in tomllib.loads(WORDS.read_text("utf-8"))["elsewhere"].values() for n in group]
    pattern = re.compile("|".join(sorted(map(re.escape, names), key=len, reverse=True)))
    return lambda text: pattern.sub("本市", text)


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON Lines file, gzip or not."""
    with (
        gzip.open(path, "rt", encoding="utf-8")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8") as stream
    ):
        for line in stream:
            yield json.loads(line)


def key_of(text: str) -> str:
    """The first words without spaces: two posts with the same ones count once."""
    return "".join(text.split())[:40]


def background(data: Path) -> list[tuple[str, str, str, str]]:
    """Distinct posts of the hot-search list, of questions, and of two sets of micro-blogs; labelled posts and posts
    kept aside for acceptance are left out."""
    taken = {
        key_of(row["title"] or row["text"])
        for name in ("posts_unlabelled.jsonl", "posts_gold.jsonl")
        for row in lines(data / name)
        if row["id"][0] in "PQ"
    }
    found: list[tuple[str, str, str, str]] = []

    def add(title: str, text: str, date: str) -> None:
        key = key_of(title or text)
        if key and key not in taken:
            taken.add(key)
            found.append((hashlib.sha256(key.encode()).hexdigest()[:12], title, text, date))

    for row in lines(data / "weibo_hot_hourly_2025H1.jsonl.gz"):
        add(row["title"], "", row["at"][:10])
    for row in lines(data / "zhihu_hot_questions.jsonl.gz"):
        add(row["title"], row.get("text") or "", row["date"])
    for path in sorted((data / "sentiment" / "ewect").glob("*.json")):
        for row in json.loads(path.read_text("utf-8")):
            add("", row["content"] or "", "2020-03-01")
    for row in lines(data / "posts_unlabelled.jsonl"):
        if row["id"][0] == "U" and row["kind"] == "weibo_river":
            add("", row["text"], row["published_at"])
    random.Random(7).shuffle(found)
    return found


def wilson(right: int, all_: int) -> tuple[float, float]:
    """95 % interval of a share."""
    if not all_:
        return 0.0, 1.0
    z, p = 1.96, right / all_
    middle, room = p + z * z / (2 * all_), z * math.sqrt(p * (1 - p) / all_ + z * z / (4 * all_ * all_))
    return (middle - room) / (1 + z * z / all_), (middle + room) / (1 + z * z / all_)


def share(part: int, whole: int) -> str:
    """'182/186 0.978'."""
    return f"{part}/{whole} {part / max(whole, 1):.3f}"


class Track:
    """The rule with the guard against other cities left out or kept."""

    def __init__(self, judge: Judge) -> None:
        self.words, self.limits = judge.reader.words, judge.thresholds.fast
        elsewhere = tomllib.loads(WORDS.read_text("utf-8"))["elsewhere"]
        self.abroad = re.compile("|".join(map(re.escape, [*elsewhere["abroad"], *elsewhere["abroad_more"]])))

    def heard(self, case: Case) -> bool:
        return bool(case.reading.heard(self.words))

    def at_home(self, case: Case) -> Case:
        """The case; one that names a place abroad fires in no city."""
        text = f"{case.title}\n{case.text}"
        if case.reading.where == "elsewhere" and self.abroad.search(text):
            return replace(case, reading=RiskReading((), "elsewhere"))
        return case

    def take(self, case: Case, *, anywhere: bool, **limits: float) -> str:
        reading = replace(case.reading, where="unknown") if anywhere and case.reading.hits else case.reading
        return track(reading, self.words, case.signal, case.grave, replace(self.limits, **limits))

    def line(self, name: str, cases: Sequence[Case]) -> str:
        """Heard, fires, fires or goes to a person."""
        taken = Counter(self.take(case, anywhere=True) for case in cases)
        return (
            f"{name:32} heard {share(sum(map(self.heard, cases)), len(cases)):16} fires {share(taken['fast'], len(cases)):16}"
            f" fires or to a person {share(taken['fast'] + taken['review'], len(cases))}"
        )


_HOMOPHONE = {
    "食物中毒": "喰物zhongdu",
    "中毒": "中du",
    "死亡": "si亡",
    "自杀": "zi杀",
    "跳楼": "跳lou",
    "杀人": "sha人",
}
_HOMOPHONE |= {
    "爆炸": "爆zha",
    "火灾": "火zai",
    "起火": "qi火",
    "坍塌": "坍ta",
    "受伤": "受shang",
    "强奸": "强jian",
}
_HOMOPHONE |= {
    "猥亵": "猥xie",
    "殴打": "ou打",
    "呕吐": "ou吐",
    "腹泻": "腹xie",
    "坠亡": "坠wang",
    "坠楼": "坠lou",
    "车祸": "车huo",
}
_HAN = re.compile(r"(?<=[\u4e00-\u9fff])(?=[\u4e00-\u9fff])")


def _symbols(text: str) -> str:
    dice = random.Random(len(text))
    return _HAN.sub(lambda _: dice.choice("@*^~") if dice.random() < 0.3 else "", text)


def _homophones(text: str) -> str:
    for word, said in _HOMOPHONE.items():
        text = text.replace(word, said)
    return text


def _traditional(text: str) -> str:
    tables = tomllib.loads((WORDS.parent / "traditional.toml").read_text("utf-8"))
    pairs: dict[int, str] = {}
    for table in tables.values():
        a, b = ("".join(table[k].split()) for k in ("traditional", "simplified"))
        pairs |= {ord(simple): trad for trad, simple in zip(a, b, strict=True) if ord(simple) not in pairs}
    return text.translate(pairs)


#: how people hide words, each applied to the whole post
DISGUISES: dict[str, Callable[[str], str]] = {
    "as written": lambda t: t,
    "a space between all characters": lambda t: _HAN.sub(" ", t),
    "a dot between all characters": lambda t: _HAN.sub(".", t),
    "zero-width between all": lambda t: _HAN.sub("\u200b", t),
    "a symbol after every third": _symbols,
    "homophones and pinyin": _homophones,
    "traditional characters": _traditional,
    "wide digits and letters": lambda t: re.sub("[0-9A-Za-z]", lambda m: chr(ord(m.group()) + 0xFEE0), t),
}


def recalls(judge: Judge, rule: Track, data: Path, out_of_fold: Path | None) -> list[Case]:
    """Print recall; returns the gold posts of the test half that tell of a present event."""
    reports = emergencies(data)
    for part in ("development", "test"):
        for name, change in (("as written", DISGUISES["as written"]), ("moved", moved())):
            mine = [r for r in reports if half(r[1]) == part]
            cases = judged(
                judge, [(key, change(title), change(text), date) for _, key, title, text, date in mine]
            )
            for category in dict.fromkeys(r[0] for r in mine):
                print(
                    rule.line(
                        f"{part[:4]} {category} {name}",
                        [c for r, c in zip(mine, cases, strict=True) if r[0] == category],
                    )
                )
            print(rule.line(f"{part} ALL {name}", cases))
    honest = {}
    if out_of_fold:
        with out_of_fold.open(encoding="utf-8", newline="") as stream:
            honest = {row["id"]: (float(row["signal"]), float(row["r3"])) for row in csv.DictReader(stream)}
    with (HERE / "fast_labels.csv").open(encoding="utf-8", newline="") as stream:
        labels = {row["id"]: row for row in csv.DictReader(stream)}
    rows = [
        (r["id"], r["title"], r["text"], r["published_at"])
        for r in lines(data / "posts_gold.jsonl")
        if r["id"] in labels
    ]
    cases = judged(judge, rows)
    kept: list[Case] = []
    for now, said in (("y", "present"), ("n", "past or no event")):
        for part in ("development", "test"):
            mine_ = [c for c in cases if labels[c.key]["now"] == now and labels[c.key]["part"] == part]
            print(rule.line(f"gold {said} {part[:4]} (read)", mine_))
            if honest:
                fresh = [replace(c, signal=honest[c.key][0], grave=honest[c.key][1]) for c in mine_]
                print(rule.line(f"gold {said} {part[:4]} out of fold", fresh))
            if (now, part) == ("y", "test"):
                kept = mine_
    return kept


def disguises(judge: Judge, rule: Track, cases: Sequence[Case]) -> None:
    """What is still heard when people hide their words."""
    for name, change in DISGUISES.items():
        hidden = judged(judge, [(c.key, change(c.title), change(c.text), "") for c in cases])
        print(rule.line(name, hidden))


def precision(judge: Judge, rule: Track, data: Path, sample: Path | None) -> None:
    """How many of the background posts fire, and how many of the labelled ones that fire are right."""
    # what plays abroad is no Chinese city's: that half of the guard stays
    cases = [rule.at_home(case) for case in judged(judge, background(data)[:BACKGROUND])]
    print(f"background: {len(cases)} posts, heard {sum(map(rule.heard, cases))}")
    fires: dict[bool, list[Case]] = {}
    for anywhere, said in ((True, "Chinese cities' guard left out"), (False, "as shipped")):
        taken = [rule.take(case, anywhere=anywhere) for case in cases]
        fires[anywhere] = [case for case, t in zip(cases, taken, strict=True) if t == "fast"]
        print(f"  {said}: fires {len(fires[anywhere])}, to a person {taken.count('review')}")
    if sample:
        drawn = sorted(fires[True], key=lambda c: c.key, reverse=True)[:SAMPLE]
        with sample.open("w", encoding="utf-8") as stream:
            for case in drawn:
                words = ",".join(hit.word for hit in case.reading.heard(rule.words)[:3])
                text = case.title or case.text
                stream.write(f"{case.key}\t{case.reading.where}\t{words}\t{text[:90]}\n".replace("\r", " "))
    labels_file = HERE / "fast_sample.csv"
    if not labels_file.exists():
        return
    with labels_file.open(encoding="utf-8", newline="") as stream:
        # the first sample showed what to silence, so it is not reported
        right = {row["key"]: row["right"] == "y" for row in csv.DictReader(stream) if row["part"] == "report"}
    for anywhere, said in ((True, "guard left out"), (False, "as shipped")):
        known = [right[c.key] for c in fires[anywhere] if c.key in right]
        low, high = wilson(sum(known), len(known))
        print(f"  precision, {said}: {share(sum(known), len(known))} (95 %: {low:.2f} to {high:.2f})")
    reports = judged(judge, [r[1:] for r in emergencies(data)])
    print(
        "  min_signal  min_grave x  emergencies fire  background fires (guard left out)  precision of the labelled"
    )
    for signal in (0.1, 0.2, 0.3, 0.5):
        for times in (0.5, 1.0, 2.0, 4.0):
            limits = {"min_signal": signal} | {
                name: min(0.95, getattr(rule.limits, name) * times)
                for name in ("min_grave", "min_grave_head", "min_grave_wide", "min_grave_stern")
            }
            found = [c for c in cases if rule.take(c, anywhere=True, **limits) == "fast"]
            known = [right[c.key] for c in found if c.key in right]
            hit = sum(rule.take(c, anywhere=True, **limits) == "fast" for c in reports)
            print(
                f"  {signal:10} {times:12} {share(hit, len(reports)):>17} {len(found):>10} {share(sum(known), len(known)):>38}"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Print every figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out-of-fold", type=Path, help="probabilities of gold posts from models that never saw them"
    )
    parser.add_argument(
        "--sample", type=Path, help="write 200 background posts that fire, to be read and labelled"
    )
    parser.add_argument("--recall-only", action="store_true", help="leave the background out")
    asked = parser.parse_args(argv)
    data = Path(os.environ.get("QUANSHENG_DATA", ""))
    if not (data / "posts_gold.jsonl").is_file():
        print("QUANSHENG_DATA names no folder with posts_gold.jsonl", file=sys.stderr)
        return 2
    judge = Judge.load()
    rule = Track(judge)
    print(f"model {judge.version}")
    gold = recalls(judge, rule, data, asked.out_of_fold)
    disguises(judge, rule, gold)
    if not asked.recall_only:
        precision(judge, rule, data, asked.sample)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
