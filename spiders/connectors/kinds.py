"""Which connector reads which kind of source."""

from __future__ import annotations

from spiders.connectors.base import Connector
from spiders.connectors.column import ColumnConnector
from spiders.connectors.json_api import JsonConnector
from spiders.connectors.rss import RssConnector
from spiders.connectors.sitemap import SitemapConnector
from spiders.source_run import SourceRun

KINDS: dict[str, type[Connector]] = {
    "rss": RssConnector,
    "sitemap": SitemapConnector,
    "column": ColumnConnector,
    "json": JsonConnector,
}


def connector_for(run: SourceRun) -> Connector:
    """The connector of a source, bound to one crawl."""
    return KINDS[run.source.kind](run)
