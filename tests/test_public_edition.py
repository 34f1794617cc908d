"""The public edition: nothing of fewer than ten authors is told or follows from what is told; attacked here as a reader would."""

from __future__ import annotations

import csv
import itertools
import random
import re
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog  # type: ignore[import-untyped,import-not-found,unused-ignore]
from sqlalchemy import text

from commands.public import publish
from incidents.events import verify
from incidents.installation import Installation, Problem
from incidents.public_numbers import Cell, cells
from incidents.session import Database
from reports.public import build_public, files
from reports.suppress import OTHER, Grid, protect, protect_line
from tests.console_world import AUDIT_KEY, World, client, world
from tests.fakes.ledger import MONDAY, ZONE, Ledger

K = 10
DECEMBER = datetime(2026, 12, 1, 8, tzinfo=ZONE)


# --- the attack -----------------------------------------------------------------------------------------------------


def town_table(chance: random.Random) -> dict[tuple[str, str], Cell]:
    """Posts of an invented month: a few big cells, many small ones, people who write in several places."""
    found: dict[tuple[str, str], Cell] = {}
    people = itertools.count()
    crowd = [next(people) for _ in range(300)]
    for row in "ABCDEF"[: chance.randint(2, 6)]:
        for column in "uvwxyz"[: chance.randint(2, 6)]:
            size = chance.choice([0, 0, 1, 2, 3, 5, 9, 12, 30, 80])
            if not size:
                continue
            own = [next(people) if chance.random() < 0.7 else chance.choice(crowd) for _ in range(size)]
            found[row, column] = Cell(size + chance.randint(0, 3), set(own))
    return found


def published(grid: Grid) -> tuple[list[tuple[str, str]], np.ndarray, np.ndarray]:
    """All that a reader knows: hidden cells as unknowns, one equation for each row and column with one of them."""
    hidden = [(r, c) for r in grid.rows for c in grid.columns if grid.shown(r, c) is None]
    left, right = [], []
    for line, total in [
        *(([(r, c) for c in grid.columns], grid.row_sum(r)) for r in grid.rows),
        *(([(r, c) for r in grid.rows], grid.column_sum(c)) for c in grid.columns),
    ]:
        known = [grid.shown(*key) for key in line]
        unknown = [key for key in line if grid.shown(*key) is None]
        if unknown:
            left.append([float(key in unknown) for key in hidden])
            right.append(total - sum(n for n in known if n is not None))
    return hidden, np.array(left), np.array(right)


@pytest.mark.parametrize("seed", range(60))
def test_a_reader_with_a_linear_programme_pins_no_small_cell(seed: int) -> None:
    original = town_table(random.Random(seed))
    grid = protect(original, K)
    if grid is None:
        return
    small = {key for key, cell in grid.cells.items() if len(cell.authors) < K and cell.posts}
    told = {key: n for key in grid.cells if (n := grid.shown(*key)) is not None}
    assert not small & set(told)
    hidden, left, right = published(grid)
    for key in small:
        goal = np.array([float(one == key) for one in hidden])
        least, most = (
            linprog(sign * goal, A_eq=left, b_eq=right, bounds=(0, None), method="highs").fun
            for sign in (1, -1)
        )
        assert -most - least >= K - 1e-6, f"{key} lies between {least} and {-most}"
    # what follows from one row or column by subtraction stands for at least ten people
    for line in [
        *([(r, c) for c in grid.columns] for r in grid.rows),
        *([(r, c) for r in grid.rows] for c in grid.columns),
    ]:
        unknown = [key for key in line if grid.shown(*key) is None]
        authors = set().union(*(grid.cells[key].authors for key in unknown if key in grid.cells))
        assert not unknown or (len(unknown) >= 2 and len(authors) >= K)
    # sums are right, and every row and column stands for at least ten people
    assert sum(grid.row_sum(r) for r in grid.rows) == sum(cell.posts for cell in original.values())
    for r in grid.rows:
        assert (
            len(set().union(*(grid.cells[r, c].authors for c in grid.columns if (r, c) in grid.cells))) >= K
        )


def test_the_document_tells_how_much_of_these_tables_is_hidden() -> None:
    grids = [protect(town_table(random.Random(seed)), K) for seed in range(60)]
    told = [grid for grid in grids if grid is not None]
    whole = sum(len(grid.rows) * len(grid.columns) for grid in told)
    hidden = sum(len(grid.hidden) for grid in told)
    small = sum(0 < len(cell.authors) < K for grid in told for cell in grid.cells.values())
    said = f"{hidden} of {whole} cells were hidden, {small} of them small ones"
    assert len(told) == 60
    assert said in (Path(__file__).parent.parent / "docs" / "accountability.md").read_text("utf-8")


def test_the_attack_finds_what_naive_hiding_gives_away() -> None:
    """The test above can fail: hiding only the small cells lets a reader compute one of them exactly."""
    crowd = set(range(100))
    table = {
        ("A", "u"): Cell(3, {201, 202, 203}),
        ("A", "v"): Cell(50, crowd),
        ("B", "u"): Cell(40, crowd),
        ("B", "v"): Cell(60, crowd),
    }
    naive = Grid(("A", "B"), ("u", "v"), table, frozenset({("A", "u")}), ())
    _, left, right = published(naive)
    least, most = (
        linprog([sign], A_eq=left, b_eq=right, bounds=(0, None), method="highs").fun for sign in (1, -1)
    )
    assert (least, -most) == (3.0, 3.0)
    safe = protect(table, K)
    assert safe is not None
    assert safe.hidden == set(table), "two by two: all four hide it"


def test_rows_of_too_few_people_are_put_together_and_too_few_in_all_are_not_told() -> None:
    crowd = set(range(100))
    table = {
        ("A", "u"): Cell(50, crowd),
        ("A", "v"): Cell(50, crowd),
        ("B", "u"): Cell(6, set(range(200, 206))),
        ("C", "u"): Cell(7, set(range(300, 307))),
    }
    grid = protect(table, K)
    assert grid is not None
    assert set(grid.rows) == {"A", OTHER}
    assert set(grid.joined) == {"B", "C"}
    assert protect({("A", "u"): Cell(50, {1, 2, 3})}, K) is None
    assert protect({}, K) is None


def test_one_line_hides_two_or_none() -> None:
    big = {"a": Cell(30, set(range(30))), "b": Cell(20, set(range(20)))}
    assert protect_line(big, K) == frozenset()
    small = {**big, "c": Cell(4, {900, 901})}
    hidden = protect_line(small, K)
    assert hidden == frozenset({"b", "c"})
    assert protect_line({"c": Cell(4, {900})}, K) is None


# --- a month of an invented city ------------------------------------------------------------------------------------


@pytest.fixture
def town(db: Database, tmp_path: Path) -> World:
    made = world(db, tmp_path)
    made.account("qian", "leader", name="钱")
    made.account("sun", "supervisor", name="孙")
    ledger = Ledger(db)
    with ledger.at_once():
        for index, (unit, domain, district, authors) in enumerate(
            (
                ("market-regulation", "food_safety", "历下区", 40),
                ("market-regulation", "food_safety", "市中区", 25),
                ("education", "schooling", "历下区", 30),
                ("education", "schooling", "市中区", 3),
                ("transport", "transport", "天桥区", 2),
                ("transport", "food_safety", "天桥区", 14),
                ("ecology", "environment", "槐荫区", 4),
                ("transport", "transport", "市中区", 15),
                ("education", "schooling", "天桥区", 20),
                ("market-regulation", "food_safety", "章丘区", 22),
                ("education", "schooling", "章丘区", 18),
                ("transport", "transport", "章丘区", 16),
                ("transport", "transport", "历下区", 12),
            )
        ):
            ledger.plain(
                unit, begun=MONDAY + timedelta(hours=index), domain=domain, district=district, authors=authors
            )
    made.now = DECEMBER
    return made


def home_of(town: World) -> Installation:
    return Installation(town.db, town.bundle, town.keys)


def test_the_month_is_told_without_a_small_cell_and_equals_a_recount(town: World) -> None:
    with town.db.reading() as session:
        model = build_public(session, town.bundle, "2026-11", town.now)
    with town.db.engine.connect() as connection:
        total = connection.execute(
            text(
                "SELECT count(*) FROM post p JOIN judgement j ON j.post_id = p.id WHERE p.published_at >= :a AND p.published_at < :b"
            ),
            {"a": "2026-10-31 16:00:00", "b": "2026-11-30 16:00:00"},
        ).scalar_one()
        rows = connection.execute(
            text(
                """SELECT json_extract(j.districts, '$[0]'), j.domain, count(*), count(DISTINCT p.author_key)
                   FROM post p JOIN judgement j ON j.post_id = p.id GROUP BY 1, 2"""
            )
        ).all()
    assert model.posts == total == sum(one.posts for one in model.districts) == 221
    counted = {(row[0], row[1]): (row[2], row[3]) for row in rows}
    told = [one for one in model.cells if one.posts]
    assert told
    for one in told:
        if OTHER not in (one.district, one.domain):
            posts, authors = counted[one.district, one.domain]
            assert (one.posts, authors >= K) == (posts, True)
    assert model.hidden >= 4
    names = {one.id: one for one in model.departments}
    assert names["ecology"].cases is None
    assert names["market-regulation"].cases is None, "hidden with it, or the sum would give it away"
    assert (names["education"].cases, names["transport"].cases) == (4, 5)


def test_only_whole_months_that_are_over(town: World) -> None:
    for wrong in ("2026-W47", "2026-Q4", "2026-12", "2026", "nonsense"):
        with pytest.raises(Problem):
            publish(home_of(town), wrong, None, "root", town.now)


def test_nothing_is_written_before_a_named_leader_has_approved_exactly_this(
    town: World, tmp_path: Path
) -> None:
    home, out = home_of(town), tmp_path / "open"
    with pytest.raises(Problem, match="nobody has approved"):
        publish(home, "2026-11", out, "root", town.now)
    assert not out.exists()
    digest = publish(home, "2026-11", None, "root", town.now).digest
    qian, sun = client(town, "qian"), client(town, "sun")
    page = qian.get("/accountability").text
    assert "待批准" in page
    shown = qian.get("/accountability/public/2026-11")
    assert digest in shown.text
    token = page.split('name="csrf" value="', 1)[1].split('"', 1)[0]

    def send(browser: object, key: str, **fields: str) -> int:
        given = {"csrf": key, "decision": "approve", "approver": "钱主任", "reason": "已核", "digest": digest}
        answer = browser.post(  # type: ignore[attr-defined]
            "/accountability/public/2026-11",
            data={**given, **fields},
            headers={"Origin": "http://console.test"},
        )
        return int(answer.status_code)

    other = sun.get("/accountability").text.split('name="csrf" value="', 1)[1].split('"', 1)[0]
    assert send(sun, other) == 403
    assert send(qian, token, digest="0" * 64) == 409
    assert send(qian, token, approver=" ") == 409
    assert send(qian, token, reason=" ") == 409
    assert send(qian, token) == 303
    done = publish(home, "2026-11", out, "root", town.now)
    assert done.approved_by == "钱主任"
    assert {path.name for path in done.written} == {
        "index.html",
        "index.en.html",
        "cells.csv",
        "departments.csv",
        "links.csv",
        "dictionary.csv",
    }
    # late data make another edition: the old approval does not cover it
    ledger = Ledger(town.db, posts=1000)
    ledger.plain("education", begun=MONDAY, domain="schooling", authors=12)
    with pytest.raises(Problem, match="nobody has approved"):
        publish(home, "2026-11", out, "root", town.now)
    with town.db.reading() as session:
        assert verify(session, AUDIT_KEY).ok


def test_the_files_hold_counts_only_and_every_column_is_explained(town: World) -> None:
    with town.db.reading() as session:
        model = build_public(session, town.bundle, "2026-11", town.now)
        stored = cells(session, datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert stored
    made = files(model)
    everything = "".join(content.decode() for content in made.values())
    assert "虚构" not in everything, "no title, no post"
    assert not re.search(r"QS-\d{4}|https?://|街道|author_key|\ba\d+\b", everything)
    explained = {(row[0], row[1]) for row in csv.reader(StringIO(made["dictionary.csv"].decode("utf-8-sig")))}
    for name, content in made.items():
        if name.endswith(".csv") and name != "dictionary.csv":
            head = next(csv.reader(StringIO(content.decode("utf-8-sig"))))
            assert {(name, column) for column in head if column != "period"} <= explained
    assert "未公布" in made["index.html"].decode()
    english = made["index.en.html"].decode()
    shown = re.sub(r"<[^>]+>", " ", english)
    assert set(re.findall(r"[\u4e00-\u9fff]+", shown)) <= {
        "济南市",
        "中文",
        *(one.name for one in model.departments),
        *(one.id for one in model.districts),
        *model.joined,
    }
