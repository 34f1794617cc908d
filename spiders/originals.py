"""Answers of servers into the spool, while their posts go into the database. A disk that refuses costs originals, never posts."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from incidents import beats, evidence
from incidents.posts import NewPost
from incidents.session import Session
from incidents.vault import Vault
from incidents.warc import Exchange, build
from spiders.source_run import Again

log = logging.getLogger(__name__)


class Originals:
    """Belongs to one crawl and to the one thread that writes its batches."""

    def __init__(self, vault: Vault, *, spool: bool = True) -> None:
        self._vault = vault
        #: whether answers wait in the spool at all; without it only what is fetched again is written
        self._spool = spool
        #: why the last write failed, "" when it went well, None before the first
        self._trouble: str | None = None
        self._told: str | None = None

    def spool(
        self, posts: Sequence[NewPost], exchanges: Sequence[Exchange | None], known: set[str]
    ) -> list[NewPost]:
        """`posts` with the names of their originals. An answer whose posts are all known already is not written again."""
        if not self._spool:
            return list(posts)
        needed: dict[int, Exchange] = {}
        extractors: dict[int, set[str]] = {}
        for post, exchange in zip(posts, exchanges, strict=True):
            if exchange is not None and post.external_id not in known:
                needed[id(exchange)] = exchange
                extractors.setdefault(id(exchange), set()).add(
                    "/".join(filter(None, (str(post.provenance.get(k, "")) for k in ("kind", "extractor"))))
                )
        names = {
            key: self._write(exchange, "; ".join(sorted(extractors[key]))) for key, exchange in needed.items()
        }
        return [
            replace(post, original=names[id(exchange)])
            if id(exchange) in names and post.external_id not in known
            else post
            for post, exchange in zip(posts, exchanges, strict=True)
        ]

    def _write(self, exchange: Exchange, extractor: str) -> str:
        """The name of the new file, "" when the disk refuses it."""
        name = self._vault.new_name(exchange.source_id, exchange.at)
        about = {**exchange.about, "extractor": extractor}
        try:
            self._vault.put(name, build(replace(exchange, about=about)))
        except OSError as exc:
            self._trouble = f"{exc.filename or self._vault.folder}: {exc.strerror or exc}"
            return ""
        except ValueError as exc:  # an answer that no WARC can hold: its posts are stored all the same
            log.error("the answer of source %s cannot be kept: %s", exchange.source_id, exc)
            return ""
        self._trouble = ""
        return name

    def note(self, session: Session, again: Sequence[Again], at: datetime | None) -> None:
        """In the transaction of the posts: what was fetched again, and whether the spool can be written."""
        for one in again:
            if one.exchange is None:
                evidence.not_fetched(session, one.post_id, one.reason, one.at, final=one.final)
            elif name := self._write(one.exchange, "fetched again for the evidence"):
                evidence.fetched_again(session, one.post_id, name, one.at)
        if at is None or self._trouble is None or self._trouble == self._told:
            return
        last = beats.get_beat(session, evidence.SPOOL)
        if self._trouble:
            log.error("originals cannot be written: %s; posts are stored without them", self._trouble)
        if self._trouble or last is not None:
            beats.beat(session, evidence.SPOOL, at, {"reason": self._trouble})
        self._told = self._trouble
