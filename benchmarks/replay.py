"""The whole pipeline on a real dated stream: `QUANSHENG_DATA=... python -m benchmarks.replay [--report out.json]`.

Runs `quansheng replay` on complaints_stream.jsonl in a process of its own and prints what was flagged and when, posts
a second and memory. Then it looks at the two largest known matters: each has to be ONE detected incident that holds at
least 80 % of the messages naming its place and problem. Exit code 1 if one is not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

SHARE = 0.8


@dataclass(frozen=True)
class Matter:
    """A matter that people know of: words of its place and problem, and when it began."""

    what: str
    place: str
    problem: str
    since: str


MATTERS = (
    Matter("forced sale of parking spaces", "伊景园", "车位", "2019-07"),
    Matter("concrete mixing plant beside an estate", "丽发新城", "搅拌", "2019-11"),
)


def messages_of(stream: list[dict[str, Any]], matter: Matter) -> dict[str, str]:
    """Messages that name place and problem: id -> time."""
    return {
        row["id"]: row["published_at"]
        for row in stream
        if row["published_at"] >= matter.since
        and matter.place in row["title"] + row["text"]
        and matter.problem in row["title"] + row["text"]
    }


def look_at(matter: Matter, stream: list[dict[str, Any]], report: dict[str, Any]) -> bool:
    """Print how one matter was flagged; True if it is one incident."""
    mine = messages_of(stream, matter)
    home = {post: item["id"] for item in report["incidents"] for post in item["post_ids"]}
    held = Counter(home[post] for post in mine if post in home)
    by_id = {item["id"]: item for item in report["incidents"]}
    if not held:
        print(f"{matter.what}: {len(mine)} messages, NOT DETECTED")
        return False
    top, count = held.most_common(1)[0]
    detected = datetime.fromisoformat(by_id[top]["detected_at"])
    first = datetime.fromisoformat(min(mine.values()))
    before = sum(datetime.fromisoformat(at) <= detected for at in mine.values())
    one = len(held) == 1 and count >= SHARE * len(mine)
    print(
        f"{matter.what}: {len(mine)} messages name place and problem, {count} of them in {top} (of {by_id[top]['posts']} posts), "
        f"detected incidents that hold any: {len(held)}; {(detected - first).total_seconds() / 86400:.1f} days after the first "
        f"message, at message {before}: {'ONE incident' if one else 'NOT ONE INCIDENT'}"
    )
    return one


def main() -> int:
    """Run the replay and look at it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", type=Path, help="keep the replay's report here")
    given = parser.parse_args()
    folder = os.environ.get("QUANSHENG_DATA")
    if not folder:
        print("QUANSHENG_DATA is not set; it names the folder with complaints_stream.jsonl", file=sys.stderr)
        return 2
    file = Path(folder) / "complaints_stream.jsonl"
    with tempfile.TemporaryDirectory() as here:
        target = given.report.resolve() if given.report else Path(here) / "report.json"
        command = [sys.executable, "-m", "cli", "replay", str(file), "--report", str(target)]
        done = subprocess.run(command, check=False, cwd=Path(__file__).parent.parent)
        if done.returncode != 0:
            return done.returncode
        report = json.loads(target.read_text("utf-8"))
    stream = [json.loads(line) for line in file.read_text("utf-8").splitlines() if line.strip()]
    weeks = (
        datetime.fromisoformat(max(row["published_at"] for row in stream))
        - datetime.fromisoformat(min(row["published_at"] for row in stream))
    ).days / 7
    tracks = Counter(item["track"] for item in report["incidents"])
    print(f"{len(report['incidents'])} incidents in {weeks:.0f} weeks: {dict(tracks)}")
    good = [look_at(matter, stream, report) for matter in MATTERS]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
