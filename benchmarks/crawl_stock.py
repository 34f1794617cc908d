"""The peer of the crawl benchmarks: a spider as Scrapy's tutorial would have it, with the settings of `scrapy startproject`.

It reads the same list, follows the links to pages and writes what it finds as JSON lines. It knows nothing of known posts, validators, redaction,
source states or a database, so it does less than ours for each poll, and fetches more.

    python -m benchmarks.crawl_stock feed 5 http://n0.bench:8000/v/feed ...     all in one reactor, each list five times
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import scrapy
from scrapy.crawler import AsyncCrawlerRunner
from scrapy.utils.reactor import install_reactor
from twisted.internet._resolver import GAIResolver

#: what `scrapy startproject` writes into settings.py, but for the second between two requests to a site, which is waiting and not work
STOCK: dict[str, Any] = {"ROBOTSTXT_OBEY": True, "FEED_EXPORT_ENCODING": "utf-8", "LOG_LEVEL": "INFO"}


def resolve_locally() -> None:
    """Names of the invented town lead to this machine, by way of the reactor's threads as any other name. Before the reactor."""
    real = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        return real("127.0.0.1" if str(name).endswith(".bench") else host, *args, **kwargs)

    GAIResolver.__init__.__defaults__ = (None, getaddrinfo)


class StockSpider(scrapy.Spider):
    """One list and, for columns and forums, its pages."""

    name = "stock"

    def __init__(self, url: str, kind: str = "feed", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.url, self.kind = url, kind

    async def start(self) -> AsyncIterator[Any]:
        """The list."""
        yield scrapy.Request(self.url, callback=getattr(self, f"parse_{self.kind}"))

    def parse_feed(self, response: Any) -> Iterator[Any]:
        """Entries of a feed."""
        for item in response.xpath("//item"):
            yield {
                name: item.xpath(f"{name}/text()").get()
                for name in ("title", "link", "guid", "pubDate", "author", "description")
            }

    def parse_api(self, response: Any) -> Iterator[Any]:
        """Entries of an API."""
        yield from json.loads(response.body)["data"]

    def parse_column(self, response: Any) -> Iterator[Any]:
        """Pages of a column."""
        yield from response.follow_all(css="ul.list a", callback=self.parse_page)

    def parse_forum(self, response: Any) -> Iterator[Any]:
        """Threads of a board."""
        yield from response.follow_all(css="a.xst", callback=self.parse_page)

    def parse_page(self, response: Any) -> Iterator[Any]:
        """Title and text of a page."""
        text = response.css(".content p::text, [id^=postmessage_] p::text").getall()
        yield {"url": response.url, "title": response.css("h1::text").get(), "text": "\n".join(text)}


def main(kind: str, rounds: int, urls: list[str], out: Path) -> None:
    """Crawl every list `rounds` times, 16 crawls at once, and print the CPU milliseconds of one crawl."""
    logging.disable(logging.CRITICAL)
    resolve_locally()
    install_reactor("twisted.internet.asyncioreactor.AsyncioSelectorReactor")
    from twisted.internet import reactor as installed

    reactor: Any = installed
    runner = AsyncCrawlerRunner({**STOCK, "FEEDS": {str(out): {"format": "jsonlines"}}})

    async def one(url: str, limit: asyncio.Semaphore) -> None:
        async with limit:
            await runner.crawl(StockSpider, url=url, kind=kind)

    async def all_of_them() -> None:
        limit = asyncio.Semaphore(16)
        await asyncio.gather(*(one(url, limit) for url in urls))  # as ours: the first reading is not counted
        begun = time.process_time()
        for _ in range(rounds):
            await asyncio.gather(*(one(url, limit) for url in urls))
        print(json.dumps({"ms": 1000 * (time.process_time() - begun) / rounds / len(urls)}))
        reactor.stop()

    reactor.callWhenRunning(lambda: asyncio.ensure_future(all_of_them()))
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[4:], Path(sys.argv[3]))
