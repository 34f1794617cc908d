"""Recall and precision of the search against plain substring search, on the real texts and on both databases.

    QUANSHENG_DATA=... python -m benchmarks.search_recall [TEXTS] [QUERIES]

Queries are random pieces of 1 to 8 characters of the texts (so each is somewhere), and pieces with their characters
shuffled (so most are nowhere). Every third text and every third query is written in traditional hanzi, by the table
backwards. Truth: comparable(query) in comparable(text), by Python.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.search_stock import AUDIT_KEY, texts
from incidents.grams import comparable
from incidents.hanzi import SIMPLIFIED
from incidents.posts import NewPost, save_posts
from incidents.search import parse, search_posts
from incidents.session import Database
from incidents.store import open_database
from tests.postgres_guard import shared_server

T0 = datetime(2026, 3, 2, tzinfo=UTC)


def main(number: int = 20_000, queries: int = 800) -> None:
    """Fill both databases, ask, and print misses and false finds by length."""
    rng = random.Random(11)
    every = [text for text in texts(Path(os.environ["QUANSHENG_DATA"])) if len(text) >= 4]
    chosen = rng.sample(every, min(number, len(every)))
    chosen = [_traditional(text) if n % 3 == 0 else text for n, text in enumerate(chosen)]
    asked = []
    for n in range(queries):
        text = rng.choice(chosen)
        length = n % 8 + 1
        at = rng.randrange(max(len(text) - length, 0) + 1)
        piece = text[at : at + length]
        if n % 5 == 4:
            piece = "".join(rng.sample(piece, len(piece)))
        if n % 3 == 0:
            piece = _traditional(piece)
        if comparable(piece) and not set(piece) & set('"＂“”'):
            asked.append(piece)
    with shared_server("search-recall") as server, tempfile.TemporaryDirectory() as folder:
        for name, url in (("SQLite", f"sqlite:///{folder}/recall.db"), ("PostgreSQL", server)):
            database = open_database(url, audit_key=AUDIT_KEY)
            print(f"{name}: {_measure(database, chosen, asked)}", flush=True)
            database.close()


def _traditional(text: str) -> str:
    """The text as somebody writes it who knows the first traditional form of each hanzi."""
    return text.translate(_BACK)


_BACK = {ord(simple): chr(code) for code, simple in reversed(SIMPLIFIED.items())}


def _measure(database: Database, chosen: list[str], asked: list[str]) -> str:
    stored: dict[int, str] = {}
    for at in range(0, len(chosen), 1000):
        batch = chosen[at : at + 1000]
        rows = [
            NewPost("s", f"r{at + n}", f"http://r.invalid/{at + n}", "", text, T0, False, T0, f"a{at + n}")
            for n, text in enumerate(batch)
        ]
        with database.transaction() as session:
            ids = save_posts(session, rows).ids
        stored |= {id_: comparable(text) for id_, text in zip(ids, batch, strict=True)}
    missed = wrong = right = 0
    began = time.process_time()
    with database.reading() as session:
        for piece in asked:
            hits = search_posts(session, parse(f"“{piece}”"), limit=1)
            assert hits.counted is not None
            found = {int(id_) for id_ in hits.counted.ids}
            truth = {id_ for id_, text in stored.items() if comparable(piece) in text}
            missed += len(truth - found)
            wrong += len(found - truth)
            right += len(truth & found)
    return (
        f"{len(stored)} texts, {len(asked)} queries of 1 to 8 characters, {right} found rightly, {missed} missed, "
        f"{wrong} wrongly found: recall {right / max(right + missed, 1):.4f}, precision {right / max(right + wrong, 1):.4f} "
        f"({time.process_time() - began:.0f} s CPU, truth included)"
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
