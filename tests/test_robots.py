"""The robots.txt gate: nobody slips through, unreachable means forbidden."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import threading
from collections.abc import Callable

import pytest

from incidents.session import Database
from spiders.robots import RETRY_S, RobotsAnswer, RobotsGate, agent_token
from tests.fakes.crawl import crawl, source
from tests.fakes.site import Answer, Site, rss

AGENT = "QuanshengBot/0.1 (+https://example.invalid/bot)"
FORBIDDEN = b"User-agent: *\nDisallow: /\n"


def answering(*answers: RobotsAnswer, gate: asyncio.Event | None = None) -> Callable[[str], object]:
    """A fetch that gives one answer after the other, each when `gate` is set."""
    left = list(answers)

    async def fetch(url: str) -> RobotsAnswer:
        if gate is not None:
            await gate.wait()
        return left.pop(0) if len(left) > 1 else left[0]

    return fetch


def ask(gate: RobotsGate, fetch: object, url: str = "http://a.cn/x") -> bool:
    return asyncio.run(gate.verdict("http://a.cn", fetch)).allowed(url)  # type: ignore[arg-type]


def test_none_of_a_hundred_first_requests_slips_through() -> None:
    async def scene() -> tuple[int, int]:
        gate, slow = RobotsGate(AGENT), asyncio.Event()
        fetch = answering(RobotsAnswer(200, FORBIDDEN), gate=slow)
        waiting = [asyncio.create_task(gate.verdict("http://a.cn", fetch)) for _ in range(100)]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        slow.set()
        verdicts = await asyncio.gather(*waiting)
        return sum(v.allowed("http://a.cn/secret") for v in verdicts), gate.fetches

    assert asyncio.run(scene()) == (0, 1)


def test_waiters_are_refused_when_the_fetching_crawl_is_cut_off() -> None:
    async def scene() -> list[bool]:
        gate, never = RobotsGate(AGENT), asyncio.Event()
        fetch = answering(RobotsAnswer(200, b""), gate=never)
        first = asyncio.create_task(gate.verdict("http://a.cn", fetch))  # type: ignore[arg-type]
        others = [asyncio.create_task(gate.verdict("http://a.cn", fetch)) for _ in range(5)]  # type: ignore[arg-type]
        await asyncio.sleep(0)
        first.cancel()
        return [v.allowed("http://a.cn/") for v in await asyncio.gather(*others)]

    assert asyncio.run(scene()) == [False] * 5


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429, 0])
def test_unreachable_means_forbidden(status: int) -> None:
    assert not ask(RobotsGate(AGENT), answering(RobotsAnswer(status, b"User-agent: *\nAllow: /")))


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_missing_file_allows_everything(status: int) -> None:
    assert ask(RobotsGate(AGENT), answering(RobotsAnswer(status, FORBIDDEN)))


def test_an_unreachable_file_is_asked_for_again_after_five_minutes_and_a_good_one_after_a_day() -> None:
    now = [0.0]
    gate = RobotsGate(AGENT, ttl_s=86400, clock=lambda: now[0])
    fetch = answering(RobotsAnswer(503), RobotsAnswer(200, b""), RobotsAnswer(200, FORBIDDEN))
    assert not ask(gate, fetch)
    now[0] = RETRY_S - 1
    assert not ask(gate, fetch)
    assert gate.fetches == 1
    now[0] = RETRY_S + 1
    assert ask(gate, fetch)
    now[0] += 86399
    assert ask(gate, fetch)
    assert gate.fetches == 2
    now[0] += 2
    assert not ask(gate, fetch)


def test_our_own_name_is_obeyed_before_the_star() -> None:
    rules = b"User-agent: *\nDisallow:\n\nUser-agent: quanshengbot\nDisallow: /private\nCrawl-delay: 7\n"

    async def scene() -> tuple[bool, bool, float]:
        verdict = await RobotsGate(AGENT).verdict("http://a.cn", answering(RobotsAnswer(200, rules)))  # type: ignore[arg-type]
        return (
            verdict.allowed("http://a.cn/private/1"),
            verdict.allowed("http://a.cn/news"),
            verdict.crawl_delay,
        )

    assert asyncio.run(scene()) == (False, True, 7.0)


def test_the_agent_token_is_the_product_name() -> None:
    assert agent_token(AGENT) == "QuanshengBot"
    assert agent_token("济南舆情 (contact)") == "济南舆情"


def test_slow_robots_txt_leaks_no_page_of_eight_sources(db: Database) -> None:
    with Site() as site:
        site.page("/robots.txt", FORBIDDEN, kind="text/plain")
        for n in range(8):
            site.page(f"/{n}.xml", rss([{"title": "t", "guid": "g"}]))
        summary = crawl(db, *(source(f"s{n}", "rss", f"{site.url}/{n}.xml") for n in range(8)))
        assert {s.state for s in summary.sources} == {"robots"}
        assert all("forbids" in s.evidence and "QuanshengBot" in s.evidence for s in summary.sources)
        assert site.hits() == site.hits("/robots.txt") == 1


@pytest.mark.parametrize(
    "answer", [Answer(503), Answer(429, headers={"Retry-After": "60"}), Answer(drop=True)]
)
def test_a_site_whose_robots_txt_fails_is_not_read(db: Database, answer: Answer) -> None:
    with Site() as site:
        site.on("/robots.txt", answer)
        site.page("/feed.xml", rss([{"title": "t", "guid": "g"}]))
        summary = crawl(db, source("s", "rss", f"{site.url}/feed.xml"))
        assert summary.sources[0].state == "robots"
        assert "RFC 9309" in summary.sources[0].evidence
        assert site.hits("/feed.xml") == 0


def test_robots_txt_is_fetched_once_for_many_crawls(db: Database) -> None:
    with Site() as site:
        site.page("/robots.txt", "User-agent: *\nDisallow: /no\n", kind="text/plain")
        site.page("/feed.xml", rss([{"title": "停水", "guid": "g"}]))
        feed = source("s", "rss", f"{site.url}/feed.xml")
        for _ in range(3):
            crawl(db, feed, only=("s",))
        assert site.hits("/robots.txt") == 1
        assert site.hits("/feed.xml") == 3


def test_crawl_delay_spaces_the_requests(db: Database) -> None:
    with Site() as site:
        site.page("/robots.txt", "User-agent: *\nCrawl-delay: 0.4\n", kind="text/plain")
        for n in range(3):
            site.page(f"/{n}.xml", rss([{"title": f"停水{n}", "guid": f"{n}"}]))
        crawl(db, *(source(f"s{n}", "rss", f"{site.url}/{n}.xml") for n in range(3)))
        assert len(site.arrivals()) == 3
        assert site.too_near(0.4) == []


def test_a_forbidden_page_costs_that_page_only(db: Database) -> None:
    with Site() as site:
        site.page("/robots.txt", "User-agent: *\nDisallow: /secret\n", kind="text/plain")
        site.page(
            "/list",
            f'<ul><li><a href="{site.url}/secret/1.html">一</a></li><li><a href="{site.url}/open/1.html">二</a></li></ul>',
        )
        site.page(
            "/open/1.html", "<article><p>" + "历下区某小区自来水发黄，居民多次反映。" * 5 + "</p></article>"
        )
        summary = crawl(db, source("c", "column", f"{site.url}/list", link_pattern=r"\.html$"))
        assert (summary.sources[0].state, summary.new_posts) == ("ok", 1)
        assert site.hits("/secret/1.html") == 0


def test_of_a_hundred_first_requests_over_the_network_none_leaks(db: Database) -> None:
    """All are asked for while robots.txt is still on its way; it arrives when they have queued."""
    come = threading.Event()
    with Site() as site:
        site.page("/robots.txt", FORBIDDEN, kind="text/plain", wait=come)
        for n in range(100):
            site.page(f"/{n}.xml", rss([{"title": "t", "guid": "g"}]))
        timer = threading.Timer(0.6, come.set)
        timer.start()
        summary = crawl(db, *(source(f"s{n}", "rss", f"{site.url}/{n}.xml") for n in range(100)))
        timer.join()
        assert [s.state for s in summary.sources] == ["robots"] * 100
        assert site.hits() == site.hits("/robots.txt") == 1


def test_a_site_that_refuses_the_connection_to_robots_txt_is_not_read(db: Database) -> None:
    with Site() as site:
        address = site.url
    (told,) = crawl(db, source("s", "rss", f"{address}/feed.xml")).sources
    assert told.state == "robots"
    assert "connection refused" in told.evidence


def test_no_two_requests_are_nearer_than_the_crawl_delay_less_five_percent(db: Database) -> None:
    delay = 0.8
    with Site() as site:
        site.page("/robots.txt", f"User-agent: *\nCrawl-delay: {delay}\n", kind="text/plain")
        for n in range(6):
            site.page(f"/{n}.xml", rss([{"title": f"停水{n}", "guid": f"{n}"}]))
        crawl(db, *(source(f"s{n}", "rss", f"{site.url}/{n}.xml") for n in range(6)))
        gaps = [later - earlier for earlier, later in itertools.pairwise(site.arrivals())]
        assert len(gaps) == 5
        assert site.too_near(0.95 * delay) == []
        assert statistics.median(gaps) <= 1.5 * delay, gaps  # and it is no excuse for idling
