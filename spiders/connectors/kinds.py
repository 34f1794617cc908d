"""Which connector reads which kind of source."""

from __future__ import annotations

from config.sources import Source
from spiders.connectors.atproto import AtprotoConnector
from spiders.connectors.base import Connector
from spiders.connectors.column import ColumnConnector
from spiders.connectors.discuz import DiscuzConnector
from spiders.connectors.forum import ForumConnector
from spiders.connectors.hanweb import HanwebConnector
from spiders.connectors.json_api import JsonConnector
from spiders.connectors.liuyan import LiuyanConnector
from spiders.connectors.mastodon import MastodonConnector
from spiders.connectors.newsnow import NewsnowConnector
from spiders.connectors.rss import RssConnector
from spiders.connectors.rsshub import RsshubConnector
from spiders.connectors.sitemap import SitemapConnector
from spiders.connectors.weibo import WeiboConnector
from spiders.source_run import SourceRun

KINDS: dict[str, type[Connector]] = {
    "rss": RssConnector,
    "sitemap": SitemapConnector,
    "column": ColumnConnector,
    "forum": ForumConnector,
    "json": JsonConnector,
    "newsnow": NewsnowConnector,
    "rsshub": RsshubConnector,
    "mastodon": MastodonConnector,
    "atproto": AtprotoConnector,
    "weibo": WeiboConnector,
    "hanweb": HanwebConnector,
    "liuyan": LiuyanConnector,
    "discuz": DiscuzConnector,
}


def tells_counts(source: Source) -> bool:
    """Whether young posts of this source are looked at again for their counts."""
    return source.kind in KINDS and KINDS[source.kind].counts_of(source)


def connector_for(run: SourceRun) -> Connector:
    """The connector of a source, bound to one crawl."""
    found: Connector = (run.reader or KINDS[run.source.kind])(run)
    return found
