"""`quansheng judge` and `quansheng cluster`: JSON Lines in, JSON Lines out, no database.

In: id, title, text, published_at, [place], [source], [author]; one object a line. Out: one line per good
input line, in input order, the id echoed as it came. A bad line gives one sentence with its number on the
error stream, and the rest goes on.
"""

from __future__ import annotations

import gc
import json
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import Any, TextIO, TypeVar

from analysis.cluster import Clusterer, ClusterItem
from analysis.features import clean
from analysis.judge import Judge, JudgeInput, JudgeOutput, gazetteer_of
from analysis.places import find_places
from config.places import Places

BATCH = 256
CHUNK_SIZE = 4_000_000  # characters or bytes after which a chunk of long lines is closed
AHEAD = 4  # batches a worker that are read before the first is awaited
#: a time without a zone is read as China's
CHINA = timezone(timedelta(hours=8))
MAX_LINE = 8_000_000
Batch = TypeVar("Batch")
Result = TypeVar("Result")


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


def _source(lines: Iterable[str]) -> Iterable[str | bytes]:
    # bytes where there are any: one line that is not UTF-8 must not end the stream
    source: Iterable[str | bytes] = getattr(lines, "buffer", lines)
    return source


def _read(numbered: Iterable[tuple[int, str | bytes]], bad: list[str]) -> Iterator[JudgeInput]:
    """Posts of numbered lines; what is wrong with the others is added to `bad`."""
    for number, raw in numbered:
        if not raw.strip():
            continue
        try:
            line = _decode(raw)
            yield read_line(line.lstrip("\ufeff") if number == 1 else line)
        except BadLine as reason:
            bad.append(f"line {number}: {reason}\n")


@dataclass(frozen=True)
class Chunk:
    """Neighbouring lines as they came, and the number of the first."""

    first: int
    lines: list[str | bytes]


def _chunks(lines: Iterable[str]) -> Iterator[Chunk]:
    first, size, held = 1, 0, list[str | bytes]()
    for line in _source(lines):
        held.append(line)
        size += len(line)
        if len(held) == BATCH or size >= CHUNK_SIZE:
            yield Chunk(first, held)
            first, size, held = first + len(held), 0, []
    if held:
        yield Chunk(first, held)


def _dump(row: dict[str, Any]) -> str:
    # a lone surrogate cannot be written as UTF-8: such a line is written with \u escapes
    text = json.dumps(row, ensure_ascii=False)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = json.dumps(row)
    return text + "\n"


@dataclass(frozen=True)
class Answer:
    """What one chunk gave: lines to write, sentences about bad lines, and how many posts were judged."""

    out: str
    bad: tuple[str, ...]
    done: int


def answer(judge: Judge, chunk: Chunk) -> Answer:
    """Read, judge and write one chunk: all of it happens in the worker, the main process only passes bytes on."""
    bad: list[str] = []
    posts = list(_read(enumerate(chunk.lines, chunk.first), bad))
    return Answer(
        "".join(_dump(o.as_dict()) for o in judge.judge_batch(posts, explain=False)), tuple(bad), len(posts)
    )


def answer_explained(judge: Judge, chunk: Chunk) -> Answer:
    """The same with the words that moved each score."""
    bad: list[str] = []
    posts = list(_read(enumerate(chunk.lines, chunk.first), bad))
    return Answer("".join(_dump(o.as_dict()) for o in judge.judge_batch(posts)), tuple(bad), len(posts))


def judge_items(judge: Judge, items: list[JudgeInput]) -> list[JudgeOutput]:
    """Work for `Workers`: judge a batch of posts, with explanations."""
    return judge.judge_batch(items)


_shared: Judge | None = None


def _adopt(places: Places | None, models: Path | None, fast: Mapping[str, float] | None) -> None:
    """In a worker: the judge that came with the fork, or one of its own where processes are not forked."""
    global _shared
    if _shared is None:
        _shared = Judge.load(places, models, fast)


def _serve(work: Callable[[Judge, Any], Any], batch: Any) -> Any:
    assert _shared is not None
    return work(_shared, batch)


class Workers:
    """Worker processes that share one loaded judge; the batch interface for any program that has much to judge.

        with Workers(jobs=2, places=places) as workers:
            for outputs in workers.map(judge_items, batches_of_256):
                ...

    The judge is loaded once, before the processes fork: its tables are shared memory (spawned where a process
    cannot fork or already runs threads; then each loads its own). `map` keeps the order and holds a
    few batches a worker, so a stream without end needs no more memory than a short one. With `jobs` 1 there is no process.
    """

    def __init__(
        self,
        jobs: int,
        places: Places | None = None,
        models: Path | None = None,
        fast: Mapping[str, float] | None = None,
    ) -> None:
        global _shared
        self.jobs = jobs
        self._judge = Judge.load(places, models, fast) if jobs <= 1 else None
        self._pool: ProcessPoolExecutor | None = None
        if jobs > 1:
            forks = "fork" in get_all_start_methods() and threading.active_count() == 1
            if forks:
                _shared = Judge.load(places, models, fast)
                gc.collect()
                gc.freeze()  # a collection in a worker would touch, and so copy, every shared page
            self._pool = ProcessPoolExecutor(
                jobs, get_context("fork" if forks else "spawn"), _adopt, (places, models, fast)
            )

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        global _shared
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            gc.unfreeze()
            _shared = None

    def map(self, work: Callable[[Judge, Batch], Result], batches: Iterable[Batch]) -> Iterator[Result]:
        """work(judge, batch) of every batch, in order. `work` is a function of a module, batch and result are pickled.

        Raises BrokenProcessPool when a worker dies.
        """
        if self._pool is None:
            assert self._judge is not None
            for batch in batches:
                yield work(self._judge, batch)
            return
        waiting: deque[Future[Result]] = deque()
        for batch in batches:
            waiting.append(self._pool.submit(_serve, work, batch))
            if len(waiting) >= AHEAD * self.jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def judge_stream(
    fin: Iterable[str],
    fout: TextIO,
    *,
    places: Places | None = None,
    jobs: int = 1,
    explain: bool = False,
    err: TextIO | None = None,
    models: Path | None = None,
    fast: Mapping[str, float] | None = None,
) -> Summary:
    """Judge every line of `fin`. `jobs` worker processes share the work; the order stays.

    `explain` adds the words that moved each score (about a tenth slower); `models`, `fast`: see Judge.load.
    """
    told = err or sys.stderr
    bad, done = 0, 0
    with Workers(jobs, places, models, fast) as workers:
        for given in workers.map(answer_explained if explain else answer, _chunks(fin)):
            fout.write(given.out)
            told.write("".join(given.bad))
            done += given.done
            bad += len(given.bad)
    fout.flush()
    return Summary(done, bad)


def cluster_stream(
    fin: Iterable[str], fout: TextIO, *, places: Places | None = None, err: TextIO | None = None
) -> Summary:
    """Put every line of `fin` into an incident, in the order given. A post without a time takes the one before."""
    told = err or sys.stderr
    bad, wrong, done = list[str](), 0, 0

    def tell() -> int:
        count = len(bad)
        told.write("".join(bad))
        bad.clear()
        return count

    clusterer = Clusterer()
    gazetteer = gazetteer_of(places) if places is not None else None
    last = datetime.combine(date(1970, 1, 1), datetime.min.time(), UTC)
    for post in _read(enumerate(_source(fin), 1), bad):
        wrong += tell()
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
    wrong += tell()
    fout.flush()
    return Summary(done, wrong)
