"""`quansheng judge` and `quansheng cluster`: JSON Lines in, JSON Lines out, no database.

In: id, title, text, published_at, [place], [source], [author]; one object a line. Out: one line per good
input line, in input order, the id echoed as it came. A bad line gives one sentence with its number on the
error stream, and the rest goes on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import islice
from multiprocessing import get_context
from typing import Any, TextIO

from analysis.cluster import Clusterer, ClusterItem
from analysis.features import clean
from analysis.judge import Judge, JudgeInput, gazetteer_of
from analysis.places import find_places
from config.places import Places

BATCH = 256
#: a time without a zone is read as China's
CHINA = timezone(timedelta(hours=8))
MAX_LINE = 8_000_000


class BadLine(ValueError):
    """One line that cannot be judged; the text is the sentence shown."""


@dataclass(frozen=True)
class Summary:
    """How many lines were answered and how many refused."""

    done: int
    bad: int


def read_time(value: Any) -> datetime | None:
    """An ISO 8601 time or date; None when there is none. Raises BadLine."""
    if value in (None, ""):
        return None
    if not isinstance(value, str):
        raise BadLine(
            f"published_at is {value!r}, expected an ISO 8601 string such as 2026-03-02T08:15:00+08:00"
        )
    try:
        parsed = datetime.fromisoformat(value.strip().replace("/", "-"))
    except ValueError:
        raise BadLine(
            f"published_at is {value[:40]!r}, expected ISO 8601 such as 2026-03-02T08:15:00+08:00"
        ) from None
    return parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=CHINA)


def read_line(line: str) -> JudgeInput:
    """One input line. Raises BadLine with what is wrong and what is expected."""
    if len(line) > MAX_LINE:
        raise BadLine(f"the line has {len(line):,} characters, at most {MAX_LINE:,} are read; shorten text")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadLine(f"not valid JSON ({str(error)[:80]}); expected one object a line") from None
    if not isinstance(row, dict):
        raise BadLine(f"a JSON {type(row).__name__}, expected an object with id, title, text, published_at")
    if row.get("id") in (None, ""):
        raise BadLine("id is missing; every post needs one")
    if not isinstance(row["id"], str | int):
        raise BadLine(f"id is {str(row['id'])[:40]!r}, expected text or a whole number")
    fields: dict[str, str] = {}
    for name in ("title", "text", "place", "source", "author"):
        value = row.get(name)
        if value is not None and not isinstance(value, str):
            raise BadLine(f"{name} is {str(value)[:40]!r}, expected text")
        fields[name] = value or ""
    if "title" not in row and "text" not in row:
        raise BadLine("neither title nor text is there; one of them is needed")
    return JudgeInput(
        id=row["id"],
        title=fields["title"],
        text=fields["text"],
        published_at=read_time(row.get("published_at")),
        place=fields["place"],
        source=fields["source"],
        author=fields["author"] or None,
    )


def _decode(raw: str | bytes) -> str:
    if isinstance(raw, str):
        return raw
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadLine(f"not UTF-8 at byte {error.start + 1}; convert the file to UTF-8") from None


def _read(lines: Iterable[str], err: TextIO, counter: list[int]) -> Iterator[JudgeInput]:
    # bytes where there are any: one line that is not UTF-8 must not end the stream
    source: Iterable[str | bytes] = getattr(lines, "buffer", lines)
    for number, raw in enumerate(source, 1):
        if not raw.strip():
            continue
        try:
            line = _decode(raw)
            yield read_line(line.lstrip("\ufeff") if number == 1 else line)
        except BadLine as bad:
            counter[0] += 1
            err.write(f"line {number}: {bad}\n")


def _batches(items: Iterator[JudgeInput]) -> Iterator[list[JudgeInput]]:
    while batch := list(islice(items, BATCH)):
        yield batch


def _dump(row: dict[str, Any]) -> str:
    # a lone surrogate cannot be written as UTF-8: such a line is written with \u escapes
    text = json.dumps(row, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = json.dumps(row)
    return text + "\n"


_worker: tuple[Judge, bool] | None = None


def _start_worker(places: Places | None, explain: bool) -> None:
    global _worker
    _worker = Judge.load(places), explain


def _work(batch: list[JudgeInput]) -> str:
    assert _worker is not None
    judge, explain = _worker
    return "".join(_dump(output.as_dict()) for output in judge.judge_batch(batch, explain=explain))


def judge_stream(
    fin: Iterable[str],
    fout: TextIO,
    *,
    places: Places | None = None,
    jobs: int = 1,
    explain: bool = False,
    err: TextIO | None = None,
) -> Summary:
    """Judge every line of `fin`. `jobs` worker processes share the work; the order stays.

    `explain` adds the words that moved each score (a third slower).
    """
    bad, done = [0], 0
    batches = _batches(_read(fin, err or sys.stderr, bad))
    if jobs <= 1:
        judge = Judge.load(places)
        for batch in batches:
            fout.write(
                "".join(_dump(output.as_dict()) for output in judge.judge_batch(batch, explain=explain))
            )
            done += len(batch)
    else:
        with get_context("spawn").Pool(jobs, _start_worker, (places, explain)) as pool:
            for text in pool.imap(_work, batches):
                fout.write(text)
                done += text.count("\n")
    fout.flush()
    return Summary(done, bad[0])


def cluster_stream(
    fin: Iterable[str], fout: TextIO, *, places: Places | None = None, err: TextIO | None = None
) -> Summary:
    """Put every line of `fin` into an incident, in the order given. A post without a time takes the one before."""
    bad, done = [0], 0
    clusterer = Clusterer()
    gazetteer = gazetteer_of(places) if places is not None else None
    last = datetime.combine(date(1970, 1, 1), datetime.min.time(), UTC)
    for post in _read(fin, err or sys.stderr, bad):
        last = post.published_at or last
        title, text = clean(post.title), clean(post.text)
        places_found, districts = find_places(f"{title}\n{text}", gazetteer)
        item = ClusterItem(
            id=str(post.id),
            title=title,
            text=text,
            published_at=last,
            places=tuple(places_found),
            author=post.author,
            districts=tuple(districts),
        )
        result = clusterer.assign(item)
        row: dict[str, Any] = {
            "id": post.id,
            "incident": f"I{result.incident:06d}",
            "similarity": result.similarity,
        }
        if result.near_copy_of is not None:
            row["near_copy_of"] = result.near_copy_of
        fout.write(_dump(row))
        done += 1
    fout.flush()
    return Summary(done, bad[0])
