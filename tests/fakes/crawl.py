"""What the crawl tests share: a bundle with given sources, and a crawl of a loopback site."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, cast
from weakref import WeakSet

from config.bundle import Bundle
from config.keys import Keys
from config.settings import CrawlSettings, PrivacySettings, Settings
from config.sources import (
    AtprotoSource,
    ColumnSource,
    DiscuzSource,
    ForumSource,
    HanwebSource,
    JsonSource,
    LiuyanSource,
    MastodonSource,
    NewsnowSource,
    RsshubSource,
    RssSource,
    SitemapSource,
    Source,
    WeiboSource,
)
from incidents.session import Database
from spiders.job import CrawlSummary, run
from spiders.reactor import crawler_thread

KEYS = Keys.derive(b"a secret that protects nothing but tests")
NOW = datetime(2026, 11, 24, 10, 0, tzinfo=timezone(timedelta(hours=8)))
#: no waiting between requests, and the loopback site may be asked
CRAWL = CrawlSettings(delay_s=0, allow_private_hosts=("127.0.0.1",), timeout_s=10)

_SEEN: WeakSet[Database] = WeakSet()
_KINDS = {
    "rss": RssSource,
    "sitemap": SitemapSource,
    "column": ColumnSource,
    "forum": ForumSource,
    "json": JsonSource,
    "hanweb": HanwebSource,
    "liuyan": LiuyanSource,
    "discuz": DiscuzSource,
    "newsnow": NewsnowSource,
    "rsshub": RsshubSource,
    "mastodon": MastodonSource,
    "atproto": AtprotoSource,
    "weibo": WeiboSource,
}


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


def bundle(
    *sources: Source, crawl: CrawlSettings = CRAWL, data_dir: Path | None = None, **changed: Any
) -> Bundle:
    """A bundle that holds only what the spiders read."""
    settings = Settings.model_construct(
        crawl=crawl.model_copy(update=changed),
        privacy=PrivacySettings(),
        data_dir=data_dir or Path(tempfile.gettempdir()) / "quansheng-tests",
    )
    return cast("Bundle", _Sources(settings, sources))


def folder_of(db: Database) -> Path | None:
    """The folder of a SQLite database: each test has its own."""
    return Path(db.url.removeprefix("sqlite:///")).parent if db.is_sqlite else None


def crawl(
    db: Database,
    *sources: Source,
    now: datetime = NOW,
    only: tuple[str, ...] = (),
    clock: Callable[[], datetime] | None = None,
    env: dict[str, str] | None = None,
    **changed: Any,
) -> CrawlSummary:
    """One call of the job. The first one for a database begins without any robots.txt: ports are used again."""
    if db not in _SEEN:
        _SEEN.add(db)
        crawler_thread().forget_robots()
    return run(
        db,
        bundle(*sources, data_dir=folder_of(db), **changed),
        KEYS,
        now,
        only=only,
        clock=clock,
        env=env or {},
    )
