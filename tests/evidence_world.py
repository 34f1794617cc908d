"""What the evidence tests share: a loopback site whose posts are crawled and put into an incident, and the check of the folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from config.bundle import Bundle
from config.settings import EvidenceSettings, PrivacySettings
from incidents import evidence_check, judgements, lifecycle
from incidents.evidence_check import Findings
from incidents.models import Post
from incidents.session import Database
from incidents.states import Command, Detect
from incidents.vault import Vault
from spiders import evidence_job, job
from spiders.evidence_job import EvidenceSummary
from spiders.reactor import crawler_thread
from tests.fakes.crawl import KEYS, NOW, bundle, source
from tests.fakes.site import Site, article

PRIVACY = PrivacySettings(post_days=180, incident_post_days=1095, evidence_days=365)
WORDS = (
    "历下区某小区自来水发黄已经三天，居民多次拨打热线反映，物业表示正在检修。联系人张三，电话13812345678。\n"
    * 4
)


@dataclass
class Town:
    """A site with pages, and the product that reads it. `evidence` changes its settings."""

    db: Database
    folder: Path
    site: Site
    evidence: dict[str, Any] = field(default_factory=dict)
    pages: int = 0

    def __post_init__(self) -> None:
        crawler_thread().forget_robots()  # ports are used again
        self._list()

    def _list(self) -> None:
        urls = "".join(f"<url><loc>{self.site.url}/art/{n}</loc></url>" for n in range(self.pages))
        self.site.page(
            "/map.xml",
            f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">{urls}</urlset>',
            kind="text/xml",
        )

    def publish(self, count: int) -> None:
        """So many more pages on the site."""
        for n in range(self.pages, self.pages + count):
            self.site.page(f"/art/{n}", article(f"自来水发黄{n}", f"{WORDS}{n}"))
        self.pages += count
        self._list()

    @property
    def bundle(self) -> Bundle:
        """Its configuration."""
        pages = source("map", "sitemap", f"{self.site.url}/map.xml")
        # pages read again for their counts would be mistaken for those fetched again as evidence
        made = bundle(pages, data_dir=self.folder, revisits=0)
        settings = made.settings.model_copy(
            update={"evidence": EvidenceSettings(**{"min_free_mb": 0, **self.evidence}), "privacy": PRIVACY}
        )
        made.__dict__["settings"] = settings
        return made

    def crawl(self, now: datetime = NOW) -> None:
        """Read the site once."""
        job.run(self.db, self.bundle, KEYS, now, only=("map",), env={})

    def ids(self) -> list[int]:
        """Every stored post."""
        with self.db.reading() as session:
            return list(session.scalars(select(Post.id).order_by(Post.id)))

    def incident(self, posts: Sequence[int], now: datetime = NOW) -> int:
        """A new incident of these posts."""
        with self.db.transaction() as session:
            made = judgements.open_watching(
                session, title="水黄", domain="services", district="历下区", first_posted_at=now, sketch={}
            )
            for id_ in posts:
                judgements.add_post(
                    session, made, id_, similarity=1, voice=True, published_at=now, negative=True, now=now
                )
            act = Detect("burst", {})
            lifecycle.handle(session, made, act, actor="system", channel="system", now=now)
        return made

    def do(self, incident: int, command: Command, now: datetime) -> None:
        """Somebody acts."""
        with self.db.transaction() as session:
            lifecycle.handle(session, incident, command, actor="li-na", channel="console", now=now)

    def keep(self, now: datetime = NOW) -> EvidenceSummary:
        """The evidence stage once."""
        done = evidence_job.run(self.db, self.bundle, KEYS, now)
        assert done is not None
        return done

    @property
    def vault(self) -> Vault:
        """Its evidence folder."""
        return evidence_job.vault(self.bundle, KEYS)

    def check(self) -> Findings:
        """What `audit verify` says of the evidence."""
        with self.db.reading() as session:
            return evidence_check.check(session, self.vault)

    def kinds(self) -> list[str]:
        """Kinds of fault that the check finds."""
        return sorted(fault.kind for fault in self.check().faults)


def later(**span: float) -> datetime:
    """So long after the first crawl."""
    return NOW + timedelta(**span)
