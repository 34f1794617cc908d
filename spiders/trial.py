"""A reading of one source that stores nothing: for people who look at a site before they add it. Robots, rate and guard hold as always."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from scrapy import Request
from scrapy.http import Response

from config.settings import CrawlSettings
from config.sources import ColumnSource, Source
from incidents.posts import NewPost, SaveResult
from incidents.stops import Stops
from spiders.connectors.base import Connector, Found
from spiders.page_class import wall_of
from spiders.pagetext import decode
from spiders.reactor import crawler_thread
from spiders.robots import Verdict
from spiders.source_run import NEW, Batch, SourceRun
from spiders.stopping import StopBoard

#: legal fields of a source that was only looked at
PAPERS = {"legal_basis": "trial", "impact_note": "trial", "owner_unit": "trial"}


@dataclass(frozen=True)
class Seen:
    """One page as it came back. `status` 0: nothing came back, `why` says why."""

    url: str
    final: str = ""
    status: int = 0
    kind: str = ""
    text: str = ""
    why: str = ""


@dataclass(frozen=True)
class Reading:
    """What one trial reading of a source gave."""

    source: Source
    state: str
    evidence: str
    posts: tuple[NewPost, ...]
    found: int = 0


class _Memory:
    """Takes what would be stored."""

    def __init__(self) -> None:
        self.posts: list[NewPost] = []

    async def known(self, source_id: str, external_ids: Sequence[str]) -> set[str]:
        """See spiders.source_run.Store."""
        return {post.external_id for post in self.posts} & set(external_ids)

    async def save(self, batch: Batch) -> SaveResult:
        """See spiders.source_run.Store."""
        self.posts += batch.posts
        return SaveResult(len(batch.posts), 0, ())


@dataclass
class Explorer:
    """Asks for pages and reads sources, within the crawler's rules."""

    settings: CrawlSettings
    key: bytes
    clock: Callable[[], datetime]
    stops: Stops = field(default_factory=Stops)

    def robots(self, origin: str) -> Verdict | None:
        """What robots.txt of an origin said, if it was asked by now."""
        return crawler_thread().robots_of(origin, self.settings)

    def look(self, urls: Sequence[str], hosts: Sequence[str] = ()) -> list[Seen]:
        """Ask for pages of one host, one after the other; each comes back or says why not."""
        first = ColumnSource(
            id="trial", name="trial", kind="column", url=urls[0], allow_hosts=tuple(hosts), **PAPERS
        )
        run, _ = self._run(first)
        seen: dict[str, Seen] = {}
        run.reader = lambda bound: _Looker(bound, list(urls), seen)
        self._crawl([run])
        problem = run.problem.sentence if run.problem is not None else "it was not asked for"
        return [seen.get(url) or Seen(url, why=_reason(run, url) or problem) for url in urls]

    def read(self, source: Source) -> Reading:
        """Read a source once, as the product would."""
        run, memory = self._run(source)
        self._crawl([run])
        if run.ending is None:
            stop = run.halted.sentence if run.halted is not None else run.error or "the crawl was cut off"
            return Reading(source, "error", stop, ())
        evidence = run.ending.evidence.replace(NEW, str(run.tally.saved))
        return Reading(source, run.ending.state, evidence, tuple(memory.posts), run.tally.found)

    def _run(self, source: Source) -> tuple[SourceRun, _Memory]:
        memory = _Memory()
        return SourceRun(source, self.settings, memory, self.key, self.clock), memory

    def _crawl(self, runs: list[SourceRun]) -> None:
        crawler_thread().crawl([runs], self.settings, self.clock, StopBoard(self.stops))


class _Looker(Connector):
    """Asks for given pages and remembers them; a page that fails costs only itself."""

    def __init__(self, run: SourceRun, urls: list[str], seen: dict[str, Seen]) -> None:
        super().__init__(run)
        self._urls = urls
        self._seen = seen

    def start(self) -> Iterator[Request]:
        """One request for each address."""
        for url in self._urls:
            yield self.ask(url, self._step(url), page=url)

    def _step(self, url: str) -> Callable[[Response], AsyncIterator[Found]]:
        async def step(response: Response) -> AsyncIterator[Found]:
            kind = (response.headers.get("Content-Type") or b"").decode("latin-1")
            text, _ = decode(response.body, kind)
            wall = wall_of(url, response.url, text)
            why = f"a {wall[0]} page (“{wall[1]}”)" if wall else ""
            self._seen[url] = Seen(url, response.url, response.status, kind.split(";")[0], text, why)
            return
            yield  # an asynchronous generator that finds nothing

        return step


def _reason(run: SourceRun, url: str) -> str:
    return run.failed_pages.get(url, "")


def origin_of(url: str) -> str:
    """Scheme and host of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def link_shape(link: str) -> str:
    """A regular expression for addresses of the same form: numbers stand for any number."""
    parts = urlsplit(link)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    return re.sub(r"\d+", lambda _: r"\d+", re.escape(path).replace(r"\-", "-").replace(r"\_", "_"))
