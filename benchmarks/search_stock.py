"""A large database for the search benchmarks: posts joined from real sentences, with judgements and incidents.

    QUANSHENG_DATA=... python -m benchmarks.search_stock FOLDER [POSTS] [INCIDENTS]

Made once through the product's own functions and kept in FOLDER; an unfinished one goes on where it stopped. The real
texts give the words and how often they occur; how they are joined, places, times and judgements are drawn (seed 7).
"""

from __future__ import annotations

import csv
import gzip
import json
import os
import random
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from config.bundle import load_bundle
from config.domains import IDS
from incidents import judgements, lifecycle
from incidents.posts import NewPost, save_posts
from incidents.queries import count_by_state
from incidents.search import search_posts
from incidents.session import Database
from incidents.states import Command, Confirm, Detect
from incidents.store import open_database

AUDIT_KEY = b"a key that signs nothing but benchmarks"
#: the first post; the last one is posted two years later
BEGIN = datetime(2024, 11, 1, tzinfo=UTC)
SPAN = timedelta(days=730)
_BATCH = 2_000
_POSTS_OF_INCIDENT = 10


def texts(folder: Path) -> Iterator[str]:
    """The real texts under QUANSHENG_DATA, one after the other."""
    for name in (
        "complaint_classes.jsonl",
        "posts_unlabelled.jsonl",
        "replies.jsonl",
        "zhihu_hot_questions.jsonl.gz",
    ):
        path = folder / name
        opener = gzip.open if name.endswith(".gz") else open
        with opener(path, "rt", encoding="utf-8") as stream:
            for line in stream:
                row = json.loads(line)
                for key in ("title", "text", "complaint"):
                    if row.get(key):
                        yield str(row[key])
    for path in sorted((folder / "sentiment" / "weibo2018").glob("*.txt")):
        yield from path.read_text(encoding="utf-8").splitlines()
    with (folder / "sentiment" / "waimai_10k.csv").open(encoding="utf-8-sig", newline="") as stream:
        yield from (row[-1] for row in csv.reader(stream))


def sentences(folder: Path) -> list[str]:
    """Pieces of 4 to 60 characters, with the mark that ends them."""
    found = []
    for text in texts(folder):
        for piece in re.findall(r"[^。！？；\n]{4,60}[。！？；]?", text):
            found.append(piece.strip())
    return [piece for piece in found if len(piece) >= 4]


def place(folder: Path, posts: int) -> Path:
    """Where the stock of this size lies."""
    return folder / f"search-{posts}.db"


def stock(folder: Path, posts: int = 1_000_000, incidents: int = 10_000, *, url: str = "") -> Database:
    """Open the stock, making what is missing. `url` names another database than the file in `folder`."""
    database = open_database(url or f"sqlite:///{place(folder, posts)}", audit_key=AUDIT_KEY)
    with database.reading() as session:
        newest = search_posts(session, "", limit=1, counts=False).rows
        states = count_by_state(session)
    have = newest[0].id if newest else 0
    if have < posts or sum(states.values()) < incidents:
        _make(
            database,
            sentences(Path(os.environ["QUANSHENG_DATA"])),
            have,
            posts,
            sum(states.values()),
            incidents,
        )
    return database


def _make(database: Database, pieces: list[str], have: int, posts: int, grouped: int, incidents: int) -> None:
    rng = random.Random(7 + have)
    bundle = load_bundle(None)
    sources = [source.id for source in bundle.sources]
    weights = [1 / (n + 1) for n in range(len(sources))]
    districts = list(bundle.places.names)
    for begin in range(have, posts, _BATCH):
        numbers = range(begin, min(begin + _BATCH, posts))
        rows = [_post(rng, pieces, number, posts, rng.choices(sources, weights)[0]) for number in numbers]
        with database.transaction() as session:
            ids = save_posts(session, rows).ids
            now = rows[-1].fetched_at
            judgements.save_judgements(session, [_judgement(rng, id_, districts) for id_ in ids], now)
        if begin % 50_000 == 0:
            print(f"{begin + len(numbers)} posts", flush=True)
    step = max(posts // max(incidents, 1), 1)
    for number in range(grouped, incidents):
        _incident(database, rng, number, number * step + 1, posts, districts)
        if number % 1000 == 0:
            print(f"{number} incidents", flush=True)


def _when(number: int, posts: int) -> datetime:
    return BEGIN + SPAN * (number / posts)


def _post(rng: random.Random, pieces: list[str], number: int, posts: int, source: str) -> NewPost:
    wanted, body = rng.randint(30, 130), ""
    while len(body) < wanted:
        body += rng.choice(pieces)
    at = _when(number, posts)
    return NewPost(
        source_id=source,
        external_id=f"b{number}",
        url=f"https://bbs.example.invalid/t/{number}",
        title="",
        text=body,
        published_at=at,
        published_estimated=False,
        fetched_at=at + timedelta(minutes=4),
        author_key=f"author-{number}",
    )


def _judgement(rng: random.Random, post_id: int, districts: list[str]) -> judgements.NewJudgement:
    return judgements.NewJudgement(
        post_id=post_id,
        domain=rng.choices(IDS, [3, 4, 3, 2, 1, 1, 1, 3, 3, 2, 1, 2, 2, 4, 20])[0],
        domain_score=0.9,
        tone=rng.choices(("neg", "neu", "pos"), (4, 4, 2))[0],
        tone_score=0.8,
        snownlp_score=0.2,
        signal=True,
        signal_score=0.7,
        risk=rng.choices((0, 1, 2, 3), (60, 30, 9, 1))[0],
        risk_score=0.3,
        model_version="drawn",
        districts=rng.sample(districts, rng.choices((0, 1, 2), (5, 4, 1))[0]),
    )


def _incident(
    database: Database, rng: random.Random, number: int, first: int, posts: int, districts: list[str]
) -> None:
    at = _when(first, posts)
    with database.transaction() as session:
        rows = search_posts(session, "", limit=1, before_id=first + 1, counts=False).rows
        incident = judgements.open_watching(
            session,
            title=rows[0].text[:30],
            domain=rng.choice(IDS[:-1]),
            district=rng.choice(districts),
            first_posted_at=at,
            sketch={},
        )
        for post_id in range(first, min(first + _POSTS_OF_INCIDENT, posts)):
            judgements.add_post(
                session,
                incident,
                post_id,
                similarity=0.8,
                voice=True,
                published_at=_when(post_id, posts),
                negative=True,
                now=at,
            )
        now = at + timedelta(hours=1)
        moves: list[Command] = [Detect("burst", {"posts": _POSTS_OF_INCIDENT}, "general")]
        if number % 3 == 0:
            moves.append(Confirm())
        for move in moves:
            lifecycle.handle(session, incident, move, actor="system", channel="system", now=now)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    stock(Path(arguments[0]), *map(int, arguments[1:3])).close()
