"""The database side of crawls: one thread that writes what many crawls bring, several of them in one transaction.

A commit waits for the disk. With thousands of sources that are read every few minutes, most of which bring nothing but a new validator,
a commit for each would be most of the work.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from incidents import answers, backfills, revisits
from incidents.crawl_progress import keep_cursor, known_ids
from incidents.posts import NewPost, SaveResult, save_posts, set_aside
from incidents.session import Database, Session
from incidents.sources import record_crawl
from incidents.trouble import Problem
from spiders.originals import Originals
from spiders.source_run import BATCH, NEW, Batch

log = logging.getLogger(__name__)

#: batches in one transaction, and posts unless one batch alone holds more: SQLite's lock stays short
TOGETHER = 40


class DatabaseStore:
    """See spiders.source_run.Store. Its methods are called in the crawler's loop, which never waits for the disk."""

    def __init__(self, db: Database, originals: Originals | None = None) -> None:
        self._db = db
        self._originals = originals
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="crawl-writer")
        self._waiting: deque[tuple[Batch, asyncio.Future[SaveResult]]] = deque()
        self._writing: asyncio.Task[None] | None = None

    async def known(self, source_id: str, external_ids: Sequence[str]) -> set[str]:
        """See spiders.source_run.Store."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, self._known, source_id, list(external_ids)
        )

    async def save(self, batch: Batch) -> SaveResult:
        """See spiders.source_run.Store. Batches that come while another is written share the next transaction."""
        loop = asyncio.get_running_loop()
        written: asyncio.Future[SaveResult] = loop.create_future()
        self._waiting.append((batch, written))
        if self._writing is None or self._writing.done():
            self._writing = loop.create_task(self._write())
        return await written

    def close(self) -> None:
        """Wait for the last write."""
        self._thread.shutdown(wait=True)

    async def _write(self) -> None:
        while self._waiting:
            taken = [self._waiting.popleft()]
            posts = len(taken[0][0].posts)
            while self._waiting and len(taken) < TOGETHER:
                posts += len(self._waiting[0][0].posts)
                if posts > BATCH:
                    break
                taken.append(self._waiting.popleft())
            results: list[SaveResult | Exception]
            try:
                results = await asyncio.get_running_loop().run_in_executor(
                    self._thread, self._save_together, [batch for batch, _ in taken]
                )
            except Exception as exc:  # noqa: BLE001 (told to each crawl that waits)
                results = [exc] * len(taken)
            for (_, written), result in zip(taken, results, strict=True):
                if written.done():
                    continue  # its crawl was cut off
                if isinstance(result, Exception):
                    written.set_exception(result)
                else:
                    written.set_result(result)

    def _known(self, source_id: str, external_ids: list[str]) -> set[str]:
        with self._db.reading() as session:
            return known_ids(session, source_id, external_ids)

    def _save_together(self, batches: list[Batch]) -> list[SaveResult | Exception]:
        """One transaction for all. What one source brought must not cost the others theirs: on an error each is written alone."""
        # before the transaction: a file without a post does no harm, and the database is not locked meanwhile
        ready = [(batch, self._spooled(batch)) for batch in batches]
        try:
            with self._db.transaction() as session:
                return [self._save(session, batch, posts) for batch, posts in ready]
        except Problem:
            raise  # locked, full, taken over: the same for each
        except Exception:
            if len(batches) == 1:
                raise
            log.debug("a transaction of %d crawls failed; each is written alone", len(batches), exc_info=True)
        return [self._save_alone(batch, posts) for batch, posts in ready]

    def _save_alone(self, batch: Batch, posts: Sequence[NewPost]) -> SaveResult | Exception:
        try:
            with self._db.transaction() as session:
                return self._save(session, batch, posts)
        except Exception as exc:  # noqa: BLE001 (told to the crawl that waits)
            return exc

    def _spooled(self, batch: Batch) -> Sequence[NewPost]:
        if self._originals is None or not any(batch.exchanges):
            return batch.posts
        known = self._known(batch.source_id, [post.external_id for post in batch.posts])
        return self._originals.spool(batch.posts, batch.exchanges, known)

    def _save(self, session: Session, batch: Batch, posts: Sequence[NewPost]) -> SaveResult:
        result = save_posts(session, posts)
        answers.notice(session, posts)
        at = batch.ending.at if batch.ending is not None else None
        if self._originals is not None:
            self._originals.note(session, batch.again, at)
        for bad in batch.asides:
            when = at or (batch.posts[-1].fetched_at if batch.posts else None)
            if when is not None:
                set_aside(session, batch.source_id, None, bad.field, bad.reason, bad.payload, when)
        if batch.visits:
            revisits.record(session, batch.visits, counts=batch.counts)
        if batch.backfill_id:
            _save_back(session, batch, result.saved)
            return result
        if batch.ending is None:
            keep_cursor(session, batch.source_id, batch.cursor)
            return result
        new = batch.saved_before + result.saved
        record_crawl(
            session,
            batch.source_id,
            state=batch.ending.state,
            evidence=batch.ending.evidence.replace(NEW, str(new)),
            now=batch.ending.at,
            next_due_at=batch.ending.next_due_at,
            new_posts=new,
            cursor=batch.cursor,
        )
        return result


def _save_back(session: Session, batch: Batch, saved: int) -> None:
    """The source's own state stays as it is, unless its host told us to go away: that binds ordinary readings too."""
    if batch.back is None:
        backfills.count(session, batch.backfill_id, saved)
    else:
        backfills.advance(session, batch.back, saved)
    if batch.ending is not None and batch.ending.state == "blocked":
        record_crawl(
            session,
            batch.source_id,
            state="blocked",
            evidence=batch.ending.evidence.replace(NEW, str(saved)),
            now=batch.ending.at,
            next_due_at=batch.ending.next_due_at,
        )
