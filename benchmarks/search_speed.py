"""What a search costs on the stock of benchmarks.search_stock: pages, the API, eight clients at once, the index, and peers.

    QUANSHENG_DATA=... python -m benchmarks.search_speed FOLDER [POSTS] [INCIDENTS]

Prints wall and CPU: on a busy machine only the CPU says something. The peers (FTS5 trigram, PostgreSQL pg_trgm) hold
the newest PEERS posts, and so does a copy of our own index beside them.
"""

from __future__ import annotations

import os
import re
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx
import uvicorn
from sqlalchemy import create_engine, text

import scheduler
from benchmarks.search_stock import AUDIT_KEY, place, stock
from config.bundle import load_bundle
from config.keys import Keys
from console.app import create_app
from console.passwords import hash_password
from incidents import accounts
from incidents.fields import names_of
from incidents.search import CAP, parse, search_posts
from incidents.session import Database
from tests.postgres_guard import shared_server

PASSWORD = "Only-for-benchmarks-1"
PEERS = 100_000
#: words of 2 to 4 characters as analysts ask them, with and without fields; a few of one character and without words
QUERIES = (
    "停水",
    "停电",
    "学校",
    "食堂",
    "物业",
    "噪音",
    "医院",
    "公交车",
    "食品安全",
    "没人管",
    "房产证",
    "幼儿园",
    "停水 -广告",
    "停水 | 停电",
    "医院 ~10 孩子",
    "学校 情绪:负面",
    "物业 区县:历下",
    "小区 风险:>=2",
    "食品安全 日期:2026",
    "“业主，”",
    "水",
    "路",
    "领域:就学",
    "区县:历下 风险:3",
    "",
)
#: in about half of all posts
FREQUENT = ("的", "的 情绪:负面")


def main(folder: Path, posts: int = 1_000_000, incidents: int = 10_000) -> None:
    """Measure everything once."""
    database = stock(folder, posts, incidents)
    sizes(database)
    _alone(database, QUERIES, "usual words")
    _alone(database, FREQUENT, "a word of half of all posts")
    _account(database)
    database.close()
    _served(folder, posts)
    peers(folder, posts)


def _p95(values: Sequence[float]) -> float:
    return sorted(values)[int(len(values) * 0.95)]


def _told(name: str, wall: Sequence[float], cpu: Sequence[float] = ()) -> None:
    parts = [
        f"{what} p50 {statistics.median(some) * 1e3:.0f} / p95 {_p95(some) * 1e3:.0f} ms"
        for what, some in (("wall", wall), ("CPU", cpu))
        if some
    ]
    print(f"{name}: {'; '.join(parts)} ({len(wall or cpu)} times)", flush=True)


def sizes(database: Database) -> None:
    """How large the index is beside the text."""
    with database.reading() as session:
        index = session.scalar(text("SELECT sum(length(block)) FROM post_fts_data")) or 0
        words = session.scalar(text("SELECT sum(length(CAST(text AS BLOB))) FROM post")) or 0
        posts = session.scalar(text("SELECT count(*) FROM post")) or 0
        incidents = session.scalar(text("SELECT count(*) FROM incident")) or 0
        combos = session.scalar(text("SELECT count(*) FROM facet_combo")) or 0
    print(
        f"{posts} posts, {incidents} incidents, {combos} combinations; text {words / 1e6:.0f} MB, "
        f"full-text index {index / 1e6:.0f} MB: {index / words:.2f} x text",
        flush=True,
    )


def _alone(database: Database, queries: Sequence[str], name: str) -> None:
    """The search of a page, without the page."""
    names = names_of(load_bundle(None), datetime.now(UTC))
    wall, cpu, list_cpu = [], [], []
    for turn in range(4):
        for query in queries:
            asked = parse(query, names)
            with database.reading() as session:
                began, used = time.perf_counter(), time.thread_time()
                search_posts(session, asked, cap=CAP)
                if turn:  # the first one reads from the disk
                    wall.append(time.perf_counter() - began)
                    cpu.append(time.thread_time() - used)
                used = time.thread_time()
                search_posts(session, asked, counts=False)
                list_cpu.append(time.thread_time() - used)
    _told(f"{name}, page with all counts", wall, cpu)
    _told(f"{name}, list without counts", (), list_cpu)


def _account(database: Database) -> None:
    with database.transaction() as session:
        if not any(row.login == "bench" for row in accounts.list_accounts(session)):
            accounts.create_account(
                session,
                login="bench",
                display_name="bench",
                role="analyst",
                department="",
                password_hash=hash_password(PASSWORD),
                must_change=False,
                now=datetime.now(UTC),
            )


def serve(url: str, port: int) -> None:
    """The console over the stock, in a process of its own."""
    database = Database(url, audit_key=AUDIT_KEY)
    app = create_app(
        database,
        load_bundle(None),
        Keys.derive(b"only for benchmarks, 32 bytes of it"),
        lambda: datetime.now(UTC),
    )
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    with scheduler.stop_signal() as stop:
        serving = threading.Thread(target=server.run, daemon=True)
        serving.start()
        scheduler.until(stop)  # as the product does
        server.should_exit = True
        serving.join()


def _served(folder: Path, posts: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"sqlite:///{place(folder, posts)}"
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.search_speed", "serve", url, str(port)])
    try:
        base = f"http://127.0.0.1:{port}"
        wait(base)
        cookies = log_in(base)
        for name, path in (
            ("page", "/search"),
            ("API list", "/api/posts"),
            ("API count", "/api/posts/count"),
        ):
            with httpx.Client(base_url=base, cookies=cookies, timeout=60) as client:
                _ask(client, path, QUERIES[:3])
                used = _cpu(server.pid)
                wall = _ask(client, path, QUERIES)
                took = (_cpu(server.pid) - used) / len(wall)
            _told(name, wall)
            print(f"  CPU of the server {took * 1e3:.0f} ms a request", flush=True)
        _many(base, cookies, server.pid)
    finally:
        server.terminate()
        server.wait()


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait(base: str) -> None:
    """Until the console answers."""
    for _ in range(600):
        try:
            httpx.get(f"{base}/login", timeout=5)
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise SystemExit("the server did not start")


def log_in(base: str, login: str = "bench") -> httpx.Cookies:
    """Cookies of a session of this account."""
    with httpx.Client(base_url=base, timeout=60) as client:
        token = re.findall(r'name="csrf" value="([^"]*)"', client.get("/login").text)
        fields = {"login": login, "password": PASSWORD, "csrf": token[0] if token else ""}
        answer = client.post("/login", data=fields, headers={"Origin": base})
        if answer.status_code != 303:
            raise SystemExit(f"log-in answered {answer.status_code}")
        return client.cookies


def _ask(client: httpx.Client, path: str, queries: Sequence[str]) -> list[float]:
    wall = []
    for query in queries:
        began = time.perf_counter()
        answer = client.get(path, params={"q": query})
        if answer.status_code != 200:
            raise SystemExit(f"{path}?q={query} answered {answer.status_code}: {answer.text[:200]}")
        wall.append(time.perf_counter() - began)
    return wall


def _many(base: str, cookies: httpx.Cookies, pid: int, clients: int = 8) -> None:
    wall: list[float] = []

    def one(number: int) -> None:
        with httpx.Client(base_url=base, cookies=cookies, timeout=120) as client:
            turned = [*QUERIES[number:], *QUERIES[:number]]
            wall.extend(_ask(client, "/api/posts", turned))

    used, began = _cpu(pid), time.perf_counter()
    threads = [threading.Thread(target=one, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    _told(f"{clients} clients at once, API list", wall)
    print(
        f"  {len(wall) / took:.0f} requests/s; CPU of the server {(_cpu(pid) - used) / len(wall) * 1e3:.0f} ms a request",
        flush=True,
    )


def peers(folder: Path, posts: int) -> None:
    """FTS5 trigram and pg_trgm over the newest PEERS posts: count of two-character words, and the size."""
    words = [
        query for query in QUERIES if query and " " not in query and ":" not in query and "“" not in query
    ]
    short, longer = [word for word in words if len(word) == 2], [word for word in words if len(word) > 2]
    source = create_engine(f"sqlite:///{place(folder, posts)}")
    with source.connect() as connection:
        rows = connection.execute(
            text("SELECT id, text FROM post ORDER BY id DESC LIMIT :n"), {"n": PEERS}
        ).all()
    size = sum(len(row.text.encode()) for row in rows)
    trigram = create_engine("sqlite://")
    with trigram.begin() as connection:
        connection.execute(text("CREATE VIRTUAL TABLE t USING fts5(body, content='', tokenize='trigram')"))
        connection.execute(
            text("INSERT INTO t(rowid, body) VALUES (:id, :body)"),
            [{"id": row.id, "body": row.text} for row in rows],
        )
        held = connection.scalar(text("SELECT sum(length(block)) FROM t_data")) or 0
        connection.execute(text("CREATE TABLE p (id INTEGER PRIMARY KEY, body TEXT)"))
        connection.execute(
            text("INSERT INTO p VALUES (:id, :body)"), [{"id": row.id, "body": row.text} for row in rows]
        )
        print(f"FTS5 trigram, {len(rows)} posts: {held / size:.2f} x text", flush=True)
        found = sum(
            connection.scalar(text("SELECT count(*) FROM t WHERE t MATCH :q"), {"q": f'"{w}"'}) or 0
            for w in short
        )
        print(f"  two characters by MATCH: {found} found", flush=True)
        _peer(
            lambda word: connection.scalar(text("SELECT count(*) FROM p WHERE instr(body, :q)"), {"q": word}),
            short,
            "  two characters by scan",
        )
        _peer(
            lambda word: connection.scalar(
                text("SELECT count(*) FROM t WHERE t MATCH :q"), {"q": f'"{word}"'}
            ),
            longer,
            "  three and more by MATCH",
        )
    with shared_server("search-speed") as server:
        engine = create_engine(server)
        with engine.begin() as connection:
            connection.execute(text("CREATE EXTENSION IF NOT EXISTS pg_trgm"))
            connection.execute(text("CREATE TEMP TABLE p (id bigint PRIMARY KEY, body text)"))
            connection.execute(
                text("INSERT INTO p VALUES (:id, :body)"), [{"id": row.id, "body": row.text} for row in rows]
            )
            connection.execute(text("CREATE INDEX p_trgm ON p USING gin (body gin_trgm_ops)"))
            connection.execute(text("ANALYZE p"))
            held = connection.scalar(text("SELECT pg_relation_size('p_trgm')")) or 0
            print(f"PostgreSQL pg_trgm, {len(rows)} posts: {held / size:.2f} x text", flush=True)
            count = text("SELECT count(*) FROM p WHERE body LIKE :q")
            _peer(
                lambda word: connection.scalar(count, {"q": f"%{word}%"}), short, "  two characters by LIKE"
            )
            _peer(
                lambda word: connection.scalar(count, {"q": f"%{word}%"}), longer, "  three and more by LIKE"
            )
        engine.dispose()


def _peer(ask: Callable[[str], object], words: Sequence[str], name: str) -> None:
    wall = []
    for word in (*words, *words):
        began = time.perf_counter()
        ask(word)
        wall.append(time.perf_counter() - began)
    _told(name, wall)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        main(Path(sys.argv[1]), *map(int, sys.argv[2:4]))
