"""Entries of a feed that have not changed are not read again; everything that changed, and everything once a day, is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select

from config.sources import Source
from incidents import source_health
from incidents.models import Post
from incidents.revisions import revisions_of
from incidents.session import Database
from incidents.sources import get_state
from spiders import source_run
from spiders.connectors import rss as connector
from spiders.feed_memory import parts_of
from tests.fakes.crawl import NOW, crawl, source
from tests.fakes.site import Site, rss

STEP = timedelta(minutes=30)


def entry(n: int, text: str = "") -> dict[str, str]:
    return {
        "title": f"停水{n}",
        "link": f"http://bbs.example/t/{n}",
        "guid": f"t{n}",
        "date": f"Mon, 02 Mar 2026 {8 + n // 60:02}:{n % 60:02}:00 +0800",
        "text": text or f"历下区某小区停水{n}天了，没人管",
        "author": f"用户{n}",
    }


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many entries each reading of a feed had to read."""
    counts: list[int] = []
    plain = connector.read_feed

    def counted(text: str) -> object:
        found = plain(text)
        counts.append(len(found.entries))
        return found

    monkeypatch.setattr(connector, "read_feed", counted)
    return counts


def feed(site: Site) -> Source:
    return source("f", "rss", f"{site.url}/feed")


def test_only_new_and_changed_entries_are_read_again(db: Database, read: list[int]) -> None:
    with Site() as site:
        site.page("/feed", rss([entry(n) for n in range(20)]), kind="text/xml")
        crawl(db, feed(site))
        site.page("/feed", rss([entry(n) for n in range(1, 21)]), kind="text/xml")
        summary = crawl(db, feed(site), now=NOW + STEP)
        assert read == [20, 1]
        assert (summary.new_posts, summary.sources[0].evidence) == (1, "20 entries, 1 new posts")
        site.page(
            "/feed",
            rss([entry(n, "改过的话，水来了" if n == 5 else "") for n in range(1, 21)]),
            kind="text/xml",
        )
        assert crawl(db, feed(site), now=NOW + 2 * STEP).new_posts == 0
        assert read == [20, 1, 1]
        with db.reading() as session:
            (changed,) = session.scalars(select(Post).where(Post.external_id == "t5"))
            assert changed.text == "改过的话，水来了"
            assert [one.old_text for one in revisions_of(session, changed.id)] == [entry(5)["text"]]


def test_the_evidence_of_a_reading_is_the_same_as_if_all_had_been_read(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    for whole in (False, True):
        if whole:
            monkeypatch.setattr(connector.RssConnector, "_changed", lambda *_: None)
        with Site() as site:
            one = feed(site).model_copy(update={"id": f"f{whole}"})
            for step in range(3):
                site.page("/feed", rss([entry(n) for n in range(step, step + 20)]), kind="text/xml")
                crawl(db, one, now=NOW + step * STEP)
        with db.reading() as session:
            state = get_state(session, one.id)
        memory = source_health.Memory.load((state.cursor or {})[source_health.KEY]).dump()
        told.append((state.state, state.evidence, memory, (state.cursor or {})["watermark"]))
    for key, value in told[0][2].items():
        assert key == "polls" or value == told[1][2][key], key
    drop = {"final", "body"}  # the two sites have other ports
    for mine, other in zip(told[0][2]["polls"], told[1][2]["polls"], strict=True):
        assert {k: v for k, v in mine.items() if k not in drop} == {
            k: v for k, v in other.items() if k not in drop
        }
    assert told[0][:2] + told[0][3:] == told[1][:2] + told[1][3:]


def test_all_entries_are_read_once_a_day_and_after_a_reading_that_was_not_finished(
    db: Database, read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Site() as site:
        site.page("/feed", rss([entry(n) for n in range(5)]), kind="text/xml")
        crawl(db, feed(site))
        site.page("/feed", rss([entry(n) for n in range(6)]), kind="text/xml")
        crawl(db, feed(site), now=NOW + timedelta(hours=25))
        assert read == [5, 6]
        site.page("/feed", rss([entry(n) for n in range(9)]), kind="text/xml")
        crawl(db, feed(site), now=NOW + timedelta(hours=26), max_items=2)  # stopped at its limit
        crawl(db, feed(site), now=NOW + timedelta(hours=27))
        assert read == [5, 6, 3, 9]
        with db.reading() as session:
            assert len(session.scalars(select(Post.id)).all()) == 9

        def broken(*_: object) -> None:
            raise RuntimeError("a bug")

        site.page("/feed", rss([entry(n) for n in range(10)]), kind="text/xml")
        with monkeypatch.context() as broke:
            broke.setattr(source_run, "to_post", broken)
            assert crawl(db, feed(site), now=NOW + timedelta(hours=28)).sources[0].state == "error"
        crawl(db, feed(site), now=NOW + timedelta(hours=40))
        with db.reading() as session:
            assert len(session.scalars(select(Post.id)).all()) == 10, "what was not stored is not remembered"


@pytest.mark.parametrize(
    "text",
    [
        "<rss><channel></channel></rss>",
        "<rss><channel><item><title>a</title></channel></rss>",
        "<rss><item><![CDATA[<item>]]></item></rss>",
        "<feed><entry></entry><item></item></feed>",
        "not a feed <item ",
    ],
)
def test_a_feed_that_cannot_be_cut_safely_is_read_as_a_whole(text: str) -> None:
    assert parts_of(text) is None


def test_a_cut_feed_is_the_feed_again() -> None:
    text = "<feed><title>t</title><entry a='1'>一</entry>\n <entry>二</entry><link rel='next'/></feed>"
    parts = parts_of(text)
    assert parts is not None
    assert parts.only(range(2)) == text
    assert parts.only([1]) == "<feed><title>t</title><entry>二</entry><link rel='next'/></feed>"
