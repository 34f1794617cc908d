"""What the crawl tests share: a bundle with given sources, and a crawl of a loopback site."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any, cast

from config.bundle import Bundle
from config.keys import Keys
from config.settings import CrawlSettings, Settings
from config.sources import ColumnSource, JsonSource, RssSource, SitemapSource, Source
from incidents.session import Database
from spiders.job import CrawlSummary, run

KEYS = Keys.derive(b"a secret that protects nothing but tests")
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=timezone(timedelta(hours=8)))
#: no waiting between requests, and the loopback site may be asked
CRAWL = CrawlSettings(delay_s=0, allow_private_hosts=("127.0.0.1",), timeout_s=10)

_KINDS = {"rss": RssSource, "sitemap": SitemapSource, "column": ColumnSource, "json": JsonSource}


def source(id_: str, kind: str, url: str, **more: Any) -> Source:
    """An enabled source with its papers in order."""
    papers = {
        "name": id_,
        "legal_basis": "法定职责",
        "impact_note": "一次一页",
        "owner_unit": "测试单位",
        "enabled": True,
    }
    return cast("Source", _KINDS[kind](**{"id": id_, "kind": kind, "url": url, **papers, **more}))


@dataclass(frozen=True)
class _Sources:
    settings: Settings
    sources: tuple[Source, ...]

    def source(self, source_id: str) -> Source | None:
        return next((item for item in self.sources if item.id == source_id), None)


def bundle(*sources: Source, crawl: CrawlSettings = CRAWL, **changed: Any) -> Bundle:
    """A bundle that holds only what the spiders read."""
    settings = Settings.model_construct(crawl=crawl.model_copy(update=changed))
    return cast("Bundle", _Sources(settings, sources))


def crawl(
    db: Database,
    *sources: Source,
    now: datetime = NOW,
    only: tuple[str, ...] = (),
    clock: Callable[[], datetime] | None = None,
    env: dict[str, str] | None = None,
    **changed: Any,
) -> CrawlSummary:
    """One call of the job."""
    return run(db, bundle(*sources, **changed), KEYS, now, only=only, clock=clock, env=env or {})
