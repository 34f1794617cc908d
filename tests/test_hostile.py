"""Servers that wish us ill: each trick ends in a state and a sentence, memory stays bounded, nothing good is lost, the others go on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from incidents.migrate import upgrade
from incidents.session import Database
from spiders.items import MAX_TEXT
from tests.fakes.crawl import NOW, crawl, source
from tests.fakes.hostile import Hostile, sources
from tests.fakes.site import Site, rss

TOO_LARGE = ("error", "larger than crawl.max_body_mb = 5 MB")
EXPECTED = {
    "good1": ("ok", "1 entries, 1 new posts"),
    "gzip": TOO_LARGE,
    "br": TOO_LARGE,
    "zstd": TOO_LARGE,
    "huge": TOO_LARGE,
    "liar": TOO_LARGE,
    "bigjson": TOO_LARGE,
    "loris": ("error", "no answer within 3 s"),
    "lorishead": ("error", "no answer within 3 s"),
    "headers": ("error", "its headers have no end"),
    "nonsense": ("error", "what comes back is not HTTP"),
    "loop": ("error", "redirects in a circle"),
    "private": ("error", "10.0.0.1 is a private address"),
    "metadata": ("error", "169.254.169.254 is a private address"),
    "mapped": ("error", "::ffff:10.0.0.1 is a private address"),
    "decimal": ("error", "167772161 is an address in disguise"),
    "file": ("error", "answered status 302"),
    "laughs": ("ok", "1 entries"),
    "quadratic": ("ok", "1 entries"),
    "outside": ("ok", "1 entries"),
    "entries": ("ok", "2000 new posts; the feed holds 100000 entries"),
    "noise": ("changed", "garbage"),
    "broken": ("empty", "no entry"),
    "charset": ("ok", "1 new posts"),
    "future": ("ok", "1 new posts"),
    "nested": ("changed", "something else instead of JSON"),
    "flat": ("ok", "30000 entries, 2000 new posts; stopped at its limit"),
    "mapgz": ("error", "unpacks to more than"),
    "lolmap": ("empty", "no entry"),
    "deep": ("changed", "no link matches"),
    "links": ("ok", "30000 entries"),
    "urls": ("ok", "30000 entries"),
    "good2": ("ok", "1 entries, 1 new posts"),
}


@dataclass(frozen=True)
class Outcome:
    """What the crawling process told, what the server saw, and where the posts lie."""

    told: dict[str, Any]
    hits: Counter[str]
    url: str


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    url = f"sqlite:///{tmp_path_factory.mktemp('hostile') / 'q.db'}"
    db = Database(url, audit_key=b"a key that signs nothing but tests")
    upgrade(db.engine)
    db.close()
    with Hostile() as site:
        child = subprocess.run(
            [sys.executable, "-m", "tests.fakes.hostile", url, str(site.port)],
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert child.returncode == 0, child.stderr[-2000:]
        return Outcome(json.loads(child.stdout), site.hits, url)


def posts(outcome: Outcome, source_id: str) -> list[Any]:
    db = Database(outcome.url, audit_key=b"a key that signs nothing but tests")
    with db.reading() as session:
        query = text("SELECT title, text, published_estimated, provenance FROM post WHERE source_id = :s")
        found = list(session.execute(query, {"s": source_id}))
    db.close()
    return found


def test_every_trick_has_its_line_in_the_table_below() -> None:
    assert {one.id for one in sources("http://127.0.0.1")} == set(EXPECTED)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPECTED)
def test_each_trick_ends_in_a_state_and_a_sentence(outcome: Outcome, name: str) -> None:
    state, words = EXPECTED[name]
    told = outcome.told["sources"][name]
    assert told[0] == state, told
    assert words in told[1]
    assert "please report it" not in told[1]  # no trick finds a bug of ours


@pytest.mark.slow
def test_memory_stays_bounded(outcome: Outcome) -> None:
    """More than a gigabyte was sent or unpacked; the crawler grew by a fraction of it."""
    assert outcome.told["peak_mb"] - outcome.told["before_mb"] < 250, outcome.told


@pytest.mark.slow
def test_entities_are_not_unfolded_and_no_file_is_read(outcome: Outcome) -> None:
    for name in ("laughs", "quadratic"):
        (row,) = posts(outcome, name)
        assert row.title.startswith("停水")
        assert len(row.text) <= MAX_TEXT
        assert "lollol" not in row.title + row.text
    (row,) = posts(outcome, "outside")
    host = Path("/etc/hostname")
    assert row.title.replace("&x;", "") in ("ab", "a b")
    assert not host.exists() or host.read_text().strip() not in row.title + row.text


@pytest.mark.slow
def test_a_wrong_charset_and_a_date_in_the_future_cost_nothing(outcome: Outcome) -> None:
    (row,) = posts(outcome, "charset")
    assert row.title == "历下区停水两天"
    (row,) = posts(outcome, "future")
    assert row.published_estimated
    assert "future_date" in row.provenance


@pytest.mark.slow
def test_a_feed_without_end_is_read_part_by_part(outcome: Outcome) -> None:
    state, evidence, new = outcome.told["again"]["entries"]
    assert (state, new) == ("ok", 1000)
    assert "from 2001 to 3000" in evidence
    assert outcome.told["again"]["good1"][0] == "unchanged"


@pytest.mark.slow
def test_no_page_that_a_redirect_leads_to_was_asked_for(outcome: Outcome) -> None:
    assert outcome.hits["/robots.txt"] == 1
    assert outcome.hits["/loop"] + outcome.hits["/loop2"] <= 6
    assert outcome.hits["/gzip"] == outcome.hits["/huge"] == outcome.hits["/liar"] == 1


def test_all_parts_of_a_long_feed_come_in_and_then_it_is_quiet(db: Database) -> None:
    entries = [{"title": f"停水{n}", "guid": str(n)} for n in range(2600)]
    with Site() as site:
        site.feed("/f", entries)
        feed = source("a", "rss", site.url + "/f", max_items=5000)
        found = [crawl(db, feed, only=("a",)) for _ in range(3)]
        assert [one.new_posts for one in found] == [2000, 600, 0]
        assert found[2].sources[0].state == "unchanged"
        site.page("/f", rss([{"title": "断电", "guid": "new"}, *entries]))
        assert crawl(db, feed, only=("a",)).new_posts == 1  # what is new stands on top


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data", "http://10.1.2.3/f", "http://[::1]/f", "http://[fe80::1]/f",
        "http://[::ffff:192.168.0.1]/f", "http://2130706433/f", "http://0x7f000001/f", "http://0177.0.0.1/f",
        "http://127.1/f", "http://0.0.0.0/f", "http://[64:ff9b::7f00:1]/f",
    ],
)  # fmt: skip
def test_a_source_that_points_into_the_private_network_is_refused(db: Database, url: str) -> None:
    (told,) = crawl(db, source("a", "rss", url), now=NOW, allow_private_hosts=()).sources
    assert told.state == "error"
    assert "private address" in told.evidence or "in disguise" in told.evidence
